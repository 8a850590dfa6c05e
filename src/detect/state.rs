//! Little-endian state bytes: what detectors write into a checkpoint and read back.

/// State that cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The bytes end too early.
    #[error("{what}: expected {expected} more bytes, {found} are left")]
    Short {
        /// What was being read.
        what: &'static str,
        /// Bytes needed.
        expected: usize,
        /// Bytes there.
        found: usize,
    },
    /// A value that no state can have.
    #[error("{what}: expected {expected}, found {found}")]
    Impossible {
        /// What was being read.
        what: &'static str,
        /// What is possible.
        expected: String,
        /// What was found.
        found: String,
    },
    /// Written by a newer oddline.
    #[error("{what} {found}, this oddline reads up to {supported}")]
    Newer {
        /// What was being read.
        what: &'static str,
        /// Its format.
        found: u32,
        /// The newest this build reads.
        supported: u32,
    },
}

/// Reads state bytes from the front.
#[derive(Debug, Clone)]
pub struct StateReader<'a> {
    rest: &'a [u8],
}

impl<'a> StateReader<'a> {
    /// From the beginning of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], StateError> {
        let short = StateError::Short { what, expected: N, found: self.rest.len() };
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(short)?;
        self.rest = rest;
        Ok(*head)
    }

    /// The next byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, StateError> {
        self.array(what).map(u8::from_le_bytes)
    }

    /// The next `u32`.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, StateError> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// The next `u64`.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, StateError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// The next `i64`.
    pub fn i64(&mut self, what: &'static str) -> Result<i64, StateError> {
        self.array(what).map(i64::from_le_bytes)
    }

    /// The next `f64`; it must be finite and not negative.
    pub fn amount(&mut self, what: &'static str) -> Result<f64, StateError> {
        let value = f64::from_le_bytes(self.array(what)?);
        if value.is_finite() && value >= 0.0 {
            return Ok(value);
        }
        Err(StateError::Impossible { what, expected: "a finite number ≥ 0".into(), found: value.to_string() })
    }

    /// The next `f32`; it must be finite and not negative.
    pub fn f32(&mut self, what: &'static str) -> Result<f32, StateError> {
        let value = f32::from_le_bytes(self.array(what)?);
        if value.is_finite() && value >= 0.0 {
            return Ok(value);
        }
        Err(StateError::Impossible { what, expected: "a finite number ≥ 0".into(), found: value.to_string() })
    }

    /// The next `f32`; it must be finite.
    pub fn finite(&mut self, what: &'static str) -> Result<f32, StateError> {
        let value = f32::from_le_bytes(self.array(what)?);
        if value.is_finite() {
            return Ok(value);
        }
        Err(StateError::Impossible { what, expected: "a finite number".into(), found: value.to_string() })
    }

    /// The next `length` bytes.
    pub fn bytes(&mut self, what: &'static str, length: usize) -> Result<&'a [u8], StateError> {
        let short = StateError::Short { what, expected: length, found: self.rest.len() };
        let (head, rest) = self.rest.split_at_checked(length).ok_or(short)?;
        self.rest = rest;
        Ok(head)
    }

    /// An index below `end`.
    pub fn index(&mut self, what: &'static str, end: usize) -> Result<usize, StateError> {
        let found = self.u32(what)? as usize;
        if found < end {
            return Ok(found);
        }
        Err(StateError::Impossible { what, expected: format!("an index below {end}"), found: found.to_string() })
    }

    /// A length, at most `most` and no more than the bytes left can hold at `size` bytes each.
    pub fn length(&mut self, what: &'static str, most: usize, size: usize) -> Result<usize, StateError> {
        let found = self.u32(what)? as usize;
        if found <= most && found.saturating_mul(size) <= self.rest.len() {
            return Ok(found);
        }
        let expected = format!("at most {} entries", most.min(self.rest.len() / size.max(1)));
        Err(StateError::Impossible { what, expected, found: found.to_string() })
    }
}
