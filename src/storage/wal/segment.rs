//! Names and headers of segments.
//!
//! ```text
//! wal/<lane:02x>/<sequence:016x>.wal
//! offset size
//!      0    8  magic     "ODLNWAL1"
//!      8    4  version   1
//!     12    1  lane
//!     13    3  zero
//!     16    8  sequence  ascending within a lane
//!     24    4  run
//!     28    8  created   µs since the Unix epoch
//!     36    4  crc       crc32c(bytes 0..36); the seed of every frame that follows
//! ```
//!
//! Every version keeps these 40 bytes. The crc is checked before the version is believed. A segment whose header is damaged is lost
//! as a whole: its frames cannot be told from others without the seed.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::event::Timestamp;
use crate::storage::bytes::ByteReader;

/// First bytes of a segment.
pub const MAGIC: [u8; 8] = *b"ODLNWAL1";
/// The version written.
pub const VERSION: u32 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 40;
const EXTENSION: &str = "wal";

/// Number of a segment, ascending within a lane and never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct SegmentSequence(pub u64);

impl SegmentSequence {
    /// The one after.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for SegmentSequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a segment says of itself. Encoder and writer must be given the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The lane.
    pub lane: u8,
    /// The segment.
    pub sequence: SegmentSequence,
    /// How often the data dir had been opened.
    pub run: u32,
    /// When the segment was begun. Also what makes the seed of its frames hard to guess.
    pub created: Timestamp,
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    TooShort,
    Damaged(&'static str),
    Newer(u32),
}

impl SegmentHeader {
    /// The header of the segment after this one.
    pub const fn next(self, created: Timestamp) -> Self {
        Self { sequence: self.sequence.next(), created, ..self }
    }

    /// The 40 bytes at the start of the segment.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[self.lane, 0, 0, 0]);
        out.extend_from_slice(&self.sequence.0.to_le_bytes());
        out.extend_from_slice(&self.run.to_le_bytes());
        out.extend_from_slice(&self.created.0.to_le_bytes());
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// The seed of the segment's frames.
    pub fn seed(self) -> u32 {
        self.to_bytes().last_chunk().map_or(0, |crc| u32::from_le_bytes(*crc))
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(HeaderFault::TooShort)?;
        let mut reader = ByteReader::new(header);
        let (Some(checked), Some(crc)) = (reader.take(HEADER_BYTES - 4), reader.u32()) else {
            return Err(HeaderFault::TooShort);
        };
        if !checked.starts_with(&MAGIC) {
            return Err(HeaderFault::Damaged("expected the magic ODLNWAL1"));
        }
        if crc32c::crc32c(checked) != crc {
            return Err(HeaderFault::Damaged("the header's checksum does not match"));
        }
        Self::fields(checked).ok_or(HeaderFault::TooShort)?
    }

    fn fields(checked: &[u8]) -> Option<Result<Self, HeaderFault>> {
        let mut reader = ByteReader::new(checked);
        reader.take(MAGIC.len())?;
        let version = reader.u32()?;
        if version > VERSION {
            return Some(Err(HeaderFault::Newer(version)));
        }
        let [lane, zero @ ..] = reader.array::<4>()?;
        if version == 0 || zero != [0; 3] {
            return Some(Err(HeaderFault::Damaged(
                "the header has a version or a reserved field that no oddline writes",
            )));
        }
        let (sequence, run, created) = (SegmentSequence(reader.u64()?), reader.u32()?, Timestamp(reader.i64()?));
        Some(Ok(Self { lane, sequence, run, created }))
    }
}

/// Directory of a lane's segments.
pub fn lane_dir(wal_dir: &Path, lane: u8) -> PathBuf {
    wal_dir.join(format!("{lane:02x}"))
}

/// File name of a segment.
pub fn file_name(sequence: SegmentSequence) -> String {
    format!("{sequence}.{EXTENSION}")
}

/// The segment a file name stands for; `None` for a file that is none.
pub fn parse_file_name(name: &str) -> Option<SegmentSequence> {
    let digits = name.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let sequence = u64::from_str_radix(digits, 16).ok().map(SegmentSequence)?;
    (file_name(sequence) == name).then_some(sequence)
}
