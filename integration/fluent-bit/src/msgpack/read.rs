//! Reading: one token at a time, and over whole values.

/// A value, or the start of a list or map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token<'b> {
    /// Nothing.
    Nil,
    /// True or false.
    Flag(bool),
    /// A whole number that is not negative.
    Unsigned(u64),
    /// A negative whole number.
    Negative(i64),
    /// A number.
    Float(f64),
    /// Text, or what is said to be text; any bytes.
    Text(&'b [u8]),
    /// Bytes.
    Binary(&'b [u8]),
    /// A type of somebody's own.
    Extension(i8, &'b [u8]),
    /// So many values follow.
    Array(u32),
    /// So many keys, each with a value, follow.
    Map(u32),
}

/// A map whose entries are all there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map<'b> {
    /// Bytes of its header: 1, 3 or 5.
    pub(crate) header: usize,
    /// How many entries it has.
    pub(crate) len: u32,
    /// The entries, one behind another.
    pub(crate) entries: &'b [u8],
}

/// What is still to be read. Every method gives nothing when the bytes end too early or mean nothing; [`Reader::value`] leaves
/// what it did not read then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'b [u8] {
        self.rest
    }

    fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn number<const N: usize>(&mut self) -> Option<u64> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn len<const N: usize>(&mut self) -> Option<usize> {
        usize::try_from(self.number::<N>()?).ok()
    }

    fn signed<const N: usize>(&mut self) -> Option<Token<'b>> {
        let bits = 64 - 8 * N as u32;
        // Moved up and down again, so that the sign fills the upper bits.
        let number = ((self.number::<N>()? << bits) as i64) >> bits;
        Some(u64::try_from(number).map_or(Token::Negative(number), Token::Unsigned))
    }

    fn extension(&mut self, len: usize) -> Option<Token<'b>> {
        let kind = self.number::<1>()? as u8 as i8;
        Some(Token::Extension(kind, self.take(len)?))
    }

    /// The next token.
    pub(crate) fn token(&mut self) -> Option<Token<'b>> {
        let first = self.number::<1>()? as u8;
        Some(match first {
            0x00..=0x7f => Token::Unsigned(u64::from(first)),
            0x80..=0x8f => Token::Map(u32::from(first & 0x0f)),
            0x90..=0x9f => Token::Array(u32::from(first & 0x0f)),
            0xa0..=0xbf => Token::Text(self.take(usize::from(first & 0x1f))?),
            0xc0 => Token::Nil,
            // Never used.
            0xc1 => return None,
            0xc2 => Token::Flag(false),
            0xc3 => Token::Flag(true),
            0xc4 => sized(self, Self::len::<1>, Token::Binary)?,
            0xc5 => sized(self, Self::len::<2>, Token::Binary)?,
            0xc6 => sized(self, Self::len::<4>, Token::Binary)?,
            0xc7 => self.len::<1>().and_then(|len| self.extension(len))?,
            0xc8 => self.len::<2>().and_then(|len| self.extension(len))?,
            0xc9 => self.len::<4>().and_then(|len| self.extension(len))?,
            0xca => Token::Float(f64::from(f32::from_bits(self.number::<4>()? as u32))),
            0xcb => Token::Float(f64::from_bits(self.number::<8>()?)),
            0xcc => Token::Unsigned(self.number::<1>()?),
            0xcd => Token::Unsigned(self.number::<2>()?),
            0xce => Token::Unsigned(self.number::<4>()?),
            0xcf => Token::Unsigned(self.number::<8>()?),
            0xd0 => self.signed::<1>()?,
            0xd1 => self.signed::<2>()?,
            0xd2 => self.signed::<4>()?,
            0xd3 => self.signed::<8>()?,
            0xd4..=0xd8 => self.extension(1 << (first - 0xd4))?,
            0xd9 => sized(self, Self::len::<1>, Token::Text)?,
            0xda => sized(self, Self::len::<2>, Token::Text)?,
            0xdb => sized(self, Self::len::<4>, Token::Text)?,
            0xdc => Token::Array(self.number::<2>()? as u32),
            0xdd => Token::Array(self.number::<4>()? as u32),
            0xde => Token::Map(self.number::<2>()? as u32),
            0xdf => Token::Map(self.number::<4>()? as u32),
            0xe0..=0xff => Token::Negative(i64::from(first as i8)),
        })
    }

    /// The bytes of the next whole value, however deep it is.
    pub(crate) fn value(&mut self) -> Option<&'b [u8]> {
        let (mut inside, start) = (*self, self.rest);
        // A count of what is still missing is all the nesting there is to remember.
        let mut missing = 1_u64;
        while missing > 0 {
            missing -= 1;
            match inside.token()? {
                Token::Array(len) => missing += u64::from(len),
                Token::Map(len) => missing += 2 * u64::from(len),
                _ => {}
            }
        }
        *self = inside;
        start.get(..start.len() - self.rest.len())
    }

    /// The next value, when it is a map and whole.
    pub(crate) fn map(&mut self) -> Option<Map<'b>> {
        let start = self.rest.len();
        let Token::Map(len) = self.token()? else { return None };
        let header = start - self.rest.len();
        let entries = self.rest;
        for _ in 0..2 * u64::from(len) {
            self.value()?;
        }
        Some(Map { header, len, entries: entries.get(..entries.len() - self.rest.len())? })
    }
}

/// A length, and what has that length.
fn sized<'b>(
    reader: &mut Reader<'b>,
    len: impl FnOnce(&mut Reader<'b>) -> Option<usize>,
    token: impl FnOnce(&'b [u8]) -> Token<'b>,
) -> Option<Token<'b>> {
    let len = len(reader)?;
    Some(token(reader.take(len)?))
}

/// An entry of a map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'b> {
    /// The key's bytes.
    pub(crate) key: &'b [u8],
    /// The value's bytes.
    pub(crate) value: &'b [u8],
    /// Both.
    pub(crate) whole: &'b [u8],
}

impl<'b> Entry<'b> {
    /// The key, when it is text.
    pub(crate) fn name(&self) -> Option<&'b [u8]> {
        match Reader::new(self.key).token()? {
            Token::Text(name) => Some(name),
            _ => None,
        }
    }
}

impl<'b> Map<'b> {
    /// The map at the start of `bytes`.
    pub(crate) fn of(bytes: &'b [u8]) -> Option<Self> {
        Reader::new(bytes).map()
    }

    /// Its entries, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry<'b>> + use<'b> {
        let mut reader = Reader::new(self.entries);
        std::iter::from_fn(move || {
            let start = reader.rest;
            let (key, value) = (reader.value()?, reader.value()?);
            Some(Entry { key, value, whole: start.get(..key.len() + value.len())? })
        })
    }

    /// The value called `name`: of several, the last, which is what Fluent Bit takes.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&'b [u8]> {
        self.iter().filter(|entry| entry.name() == Some(name)).last().map(|entry| entry.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn reads(bytes: &[u8], expected: Token<'_>) {
        let mut reader = Reader::new(bytes);
        assert_eq!(reader.token(), Some(expected));
        assert!(reader.rest().is_empty());
        for end in 0..bytes.len() {
            assert_eq!(Reader::new(&bytes[..end]).token(), None, "cut at {end}");
        }
    }

    #[test]
    fn every_format_is_read_and_none_when_cut() {
        reads(&[0x7f], Token::Unsigned(127));
        reads(&[0xff], Token::Negative(-1));
        reads(&[0xe0], Token::Negative(-32));
        reads(&[0xc0], Token::Nil);
        reads(&[0xc2], Token::Flag(false));
        reads(&[0xc3], Token::Flag(true));
        reads(&[0xcc, 200], Token::Unsigned(200));
        reads(&[0xcd, 1, 0], Token::Unsigned(256));
        reads(&[0xce, 1, 0, 0, 0], Token::Unsigned(1 << 24));
        reads(&[0xcf, 255, 255, 255, 255, 255, 255, 255, 255], Token::Unsigned(u64::MAX));
        reads(&[0xd0, 0x80], Token::Negative(-128));
        reads(&[0xd0, 5], Token::Unsigned(5));
        reads(&[0xd1, 0xff, 0xfe], Token::Negative(-2));
        reads(&[0xd2, 0x80, 0, 0, 0], Token::Negative(i64::from(i32::MIN)));
        reads(&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], Token::Negative(i64::MIN));
        reads(&[0xca, 0x3f, 0x80, 0, 0], Token::Float(1.0));
        reads(&[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], Token::Float(1.5));
        reads(b"\xa2ab", Token::Text(b"ab"));
        reads(b"\xd9\x02ab", Token::Text(b"ab"));
        reads(b"\xda\x00\x02ab", Token::Text(b"ab"));
        reads(b"\xdb\x00\x00\x00\x02ab", Token::Text(b"ab"));
        reads(b"\xc4\x02ab", Token::Binary(b"ab"));
        reads(b"\xc5\x00\x02ab", Token::Binary(b"ab"));
        reads(b"\xc6\x00\x00\x00\x02ab", Token::Binary(b"ab"));
        reads(b"\xd4\x05a", Token::Extension(5, b"a"));
        reads(b"\xd5\xffab", Token::Extension(-1, b"ab"));
        reads(b"\xd7\x0012345678", Token::Extension(0, b"12345678"));
        reads(b"\xd8\x000123456789abcdef", Token::Extension(0, b"0123456789abcdef"));
        reads(b"\xc7\x03\x01abc", Token::Extension(1, b"abc"));
        reads(b"\xc8\x00\x03\x01abc", Token::Extension(1, b"abc"));
        reads(b"\xc9\x00\x00\x00\x03\x01abc", Token::Extension(1, b"abc"));
        reads(&[0x92], Token::Array(2));
        reads(&[0xdc, 1, 0], Token::Array(256));
        reads(&[0xdd, 0, 1, 0, 0], Token::Array(65_536));
        reads(&[0x82], Token::Map(2));
        reads(&[0xde, 1, 0], Token::Map(256));
        reads(&[0xdf, 0, 1, 0, 0], Token::Map(65_536));
        assert_eq!(Reader::new(&[0xc1]).token(), None);
    }

    #[test]
    fn a_value_nested_a_million_deep_is_walked_over() {
        let mut bytes = vec![0x91; 1_000_000];
        bytes.extend([0xc0, 0x07]);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.value().map(<[u8]>::len), Some(1_000_001));
        assert_eq!(reader.rest(), [7]);
        assert_eq!(Reader::new(&bytes[..1_000_000]).value(), None);
    }

    #[test]
    fn lengths_that_are_not_there_are_not_believed() {
        for bytes in
            [&[0xdf, 255, 255, 255, 255][..], &[0xdd, 255, 255, 255, 255, 1], &[0xdb, 255, 255, 255, 255, b'a']]
        {
            assert_eq!(Reader::new(bytes).value(), None);
            assert!(Reader::new(bytes).map().is_none());
        }
    }

    #[test]
    fn of_a_key_that_stands_twice_the_last_value_counts_and_other_keys_are_no_names() {
        let map = Map::of(b"\x84\xa1a\x01\x05\x02\xa1a\x03\xc4\x01b\x04").unwrap();
        assert_eq!(map.get(b"a"), Some(&[3][..]));
        assert_eq!(map.get(b"b"), None);
        assert_eq!(map.iter().count(), 4);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (mut reader, mut read) = (Reader::new(&bytes), 0);
            while let Some(value) = reader.value() {
                prop_assert!(!value.is_empty());
                read += value.len();
                if let Some(map) = Map::of(value) {
                    prop_assert_eq!(map.iter().count(), map.len as usize);
                }
            }
            prop_assert_eq!(reader.rest(), &bytes[read..]);
        }
    }
}
