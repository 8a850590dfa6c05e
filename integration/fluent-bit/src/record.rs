//! The records of a chunk.
//!
//! ```text
//! v1      [time, body]
//! v2      [[time, metadata], body]
//! time    unsigned or float seconds, or extension type 0 of 8 bytes: seconds and nanoseconds, 32 bits each
//! group   a v2 record whose seconds are 0xffffffff (start) or 0xfffffffe (end); its body describes the group
//! ```
//!
//! Only the start of a body's map changes, and what is put behind its last entry: every other byte goes as it came.

use oddline::event::Timestamp;

use crate::msgpack::{Map, Reader, Token};

/// Seconds that mark the start of a group.
const GROUP_START: u32 = u32::MAX;
/// Seconds that mark its end.
const GROUP_END: u32 = u32::MAX - 1;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A log event.
    Log,
    /// The start of a group.
    GroupStart,
    /// The end of a group.
    GroupEnd,
}

/// A record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'b> {
    /// What stands before the body.
    pub(crate) head: &'b [u8],
    /// The body.
    pub(crate) body: Map<'b>,
    /// When it happened, where that is a time.
    pub(crate) time: Option<Timestamp>,
    /// What it is.
    pub(crate) kind: Kind,
    /// Whether it has metadata.
    pub(crate) is_v2: bool,
}

/// The next thing of a chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item<'b> {
    /// A record, and its bytes.
    Record(Record<'b>, &'b [u8]),
    /// A value that is no record.
    Other(&'b [u8]),
}

/// The next item; nothing at the end, or where the bytes mean nothing (they are in the reader's rest then).
pub(crate) fn next<'b>(reader: &mut Reader<'b>) -> Option<Item<'b>> {
    let start = reader.rest();
    let mut inside = *reader;
    if let Some((head, is_v2, time, kind)) = head(&mut inside)
        && let Some(body) = inside.map()
    {
        let whole = start.get(..start.len() - inside.rest().len())?;
        *reader = inside;
        let head = start.get(..head)?;
        return Some(Item::Record(Record { head, body, time, kind, is_v2 }, whole));
    }
    reader.value().map(Item::Other)
}

/// The bytes before the body, whether there is metadata, the time and the kind.
fn head(reader: &mut Reader<'_>) -> Option<(usize, bool, Option<Timestamp>, Kind)> {
    let start = reader.rest().len();
    if reader.token()? != Token::Array(2) {
        return None;
    }
    let first = reader.token()?;
    let is_v2 = first == Token::Array(2);
    let token = if is_v2 { reader.token()? } else { first };
    let (time, kind) = time(token)?;
    if is_v2 {
        reader.map()?;
    }
    Some((start - reader.rest().len(), is_v2, time, kind))
}

fn time(token: Token<'_>) -> Option<(Option<Timestamp>, Kind)> {
    match token {
        Token::Unsigned(seconds) => {
            Some((i64::try_from(seconds).ok().and_then(|s| s.checked_mul(1_000_000)).map(Timestamp), Kind::Log))
        }
        Token::Float(seconds) => Some(((seconds.abs() < 9e12).then_some(Timestamp((seconds * 1e6) as i64)), Kind::Log)),
        Token::Extension(0, bytes) => event_time(bytes),
        _ => None,
    }
}

fn event_time(bytes: &[u8]) -> Option<(Option<Timestamp>, Kind)> {
    let (seconds, nanos) = bytes.split_first_chunk::<4>()?;
    let (seconds, nanos) = (u32::from_be_bytes(*seconds), u32::from_be_bytes(*nanos.first_chunk::<4>()?));
    if bytes.len() != 8 {
        return None;
    }
    Some(match seconds {
        GROUP_START => (None, Kind::GroupStart),
        GROUP_END => (None, Kind::GroupEnd),
        _ => (Some(Timestamp(i64::from(seconds) * 1_000_000 + i64::from(nanos / 1_000))), Kind::Log),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn record(bytes: &[u8]) -> Record<'_> {
        let mut reader = Reader::new(bytes);
        let Some(Item::Record(record, whole)) = next(&mut reader) else { panic!("no record") };
        assert_eq!(whole, bytes);
        assert!(reader.rest().is_empty());
        for end in 0..bytes.len() {
            assert!(next(&mut Reader::new(&bytes[..end])).is_none(), "cut at {end}");
        }
        record
    }

    #[test]
    fn both_formats_are_told_apart_with_their_times() {
        let v1 = record(b"\x92\xce\x65\x53\xf1\x00\x81\xa1a\x01");
        assert_eq!((v1.time, v1.kind, v1.is_v2), (Some(Timestamp(1_700_000_000_000_000)), Kind::Log, false));
        assert_eq!((v1.head.len(), v1.body.len), (6, 1));
        let v2 = record(b"\x92\x92\xd7\x00\x65\x53\xf1\x00\x0e\xe6\xb2\x80\x81\xa1m\x01\x80");
        assert_eq!((v2.time, v2.kind, v2.is_v2), (Some(Timestamp(1_700_000_000_250_000)), Kind::Log, true));
        assert_eq!(v2.body.len, 0);
        let float = record(b"\x92\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\x80");
        assert_eq!(float.time, Some(Timestamp(1_500_000)));
        // As forward clients of old send it: extension with its length in a byte of its own.
        let old = record(b"\x92\xc7\x08\x00\x65\x53\xf1\x00\x00\x00\x00\x00\x80");
        assert_eq!(old.time, Some(Timestamp(1_700_000_000_000_000)));
    }

    #[test]
    fn marks_of_groups_are_no_events() {
        let start = record(b"\x92\x92\xd7\x00\xff\xff\xff\xff\x00\x00\x00\x00\x80\x81\xa8resource\x80");
        assert_eq!((start.kind, start.time), (Kind::GroupStart, None));
        let end = record(b"\x92\x92\xd7\x00\xff\xff\xff\xfe\x00\x00\x00\x00\x80\x80");
        assert_eq!(end.kind, Kind::GroupEnd);
    }

    #[test]
    fn what_is_no_record_is_passed_over_as_a_whole() {
        for bytes in [
            &b"\x05"[..],
            b"\x92\x01\x02",
            b"\x92\xff\x80",
            b"\x92\xd6\x00\x00\x00\x00\x00\x80",
            b"\x92\xd7\x01\x00\x00\x00\x00\x00\x00\x00\x00\x80",
            b"\x92\x92\x01\x02\x80",
            b"\x93\x01\x80\x80",
            b"\x92\x93\x01\x80\x80\x80",
            b"\x92\x01\xa1x",
            b"\x92\x01\x91\x80",
        ] {
            let mut reader = Reader::new(bytes);
            assert!(matches!(next(&mut reader), Some(Item::Other(whole)) if whole == bytes), "{bytes:x?}");
        }
    }

    #[test]
    fn times_out_of_range_are_none() {
        assert_eq!(record(b"\x92\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x80").time, None);
        assert_eq!(record(b"\x92\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00\x80").time, None);
        assert_eq!(record(b"\x92\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\x80").time, None);
    }
}
