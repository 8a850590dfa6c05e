//! The protobuf wire format, as much of it as passing events on needs.
//!
//! ```text
//! message  = field*
//! field    = tag value            tag = varint(number << 3 | type)
//! value    = varint               type 0
//!          | 8 bytes, little end  type 1
//!          | varint(n) n bytes    type 2: text, bytes, messages, entries of maps
//!          | 4 bytes, little end  type 5
//!          | field* tag           type 3: a group, up to the tag of its number and type 4
//! ```
//!
//! Groups do not occur in proto3 but may be fields nobody here knows; they are passed over, down to [`MAX_GROUPS`] within each other. Two encodings of one message, one after the other,
//! are one message: later scalars win, messages within merge, maps and lists grow. Adding fields rests on that.

use std::ops::Range;

/// Bytes that are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no protobuf message: expected {expected} at byte {at}")]
pub struct Malformed {
    /// What would have been accepted.
    pub expected: &'static str,
    /// Where, from the beginning of the message that was read.
    pub at: usize,
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
    Group,
}

/// Groups within groups; what other readers of protobuf take, too.
const MAX_GROUPS: usize = 100;

/// One field: its number, its value and where all of it stands in the message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) value: Wire<'a>,
    pub(super) span: Range<usize>,
}

/// The fields of a message, in order; ends after the first error.
pub(super) struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

/// The fields of `message`.
pub(super) fn fields(message: &[u8]) -> Fields<'_> {
    Fields { message, at: 0 }
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, Malformed> {
        let start = self.at;
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let Some(byte) = self.message.get(self.at) else { break };
            self.at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed { expected: "a number of at most ten bytes", at: start })
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let taken = usize::try_from(len)
            .ok()
            .and_then(|len| self.at.checked_add(len))
            .and_then(|end| self.message.get(self.at..end));
        let taken = taken.ok_or(Malformed { expected: "as many bytes as the length before says", at: self.at })?;
        self.at += taken.len();
        Ok(taken)
    }

    fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let start = self.at;
        let tag = self.tag()?;
        let value = match tag & 7 {
            3 => self.group(tag >> 3).map(|()| Wire::Group)?,
            _ => self.value(tag, start)?,
        };
        Ok(Field { number: tag >> 3, value, span: start..self.at })
    }

    fn tag(&mut self) -> Result<u64, Malformed> {
        let start = self.at;
        let tag = self.varint()?;
        if tag >> 3 == 0 {
            return Err(Malformed { expected: "a field number above 0", at: start });
        }
        Ok(tag)
    }

    /// The value of a field that is no group.
    fn value(&mut self, tag: u64, start: usize) -> Result<Wire<'a>, Malformed> {
        Ok(match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(self.take(8)?.try_into().map_or(0, u64::from_le_bytes)),
            2 => {
                let len = self.varint()?;
                Wire::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Wire::Fixed32)?,
            _ => return Err(Malformed { expected: "a field of type 0, 1, 2, 3 or 5", at: start }),
        })
    }

    /// Passes over the rest of a group.
    fn group(&mut self, number: u64) -> Result<(), Malformed> {
        let mut open = vec![number];
        while let Some(inner) = open.last().copied() {
            let start = self.at;
            let tag = self.tag()?;
            match tag & 7 {
                3 if open.len() < MAX_GROUPS => open.push(tag >> 3),
                4 if tag >> 3 == inner => _ = open.pop(),
                _ => _ = self.value(tag, start)?,
            }
        }
        Ok(())
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.message.len() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.at = self.message.len();
        }
        Some(field)
    }
}

/// Appends a number.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a field of type 0.
pub(super) fn number(out: &mut Vec<u8>, number: u64, value: u64) {
    varint(out, number << 3);
    varint(out, value);
}

/// Appends a field of type 1.
pub(super) fn double(out: &mut Vec<u8>, number: u64, value: f64) {
    varint(out, number << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a field of type 2.
pub(super) fn bytes(out: &mut Vec<u8>, number: u64, value: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Appends a field of type 2 whose bytes `write` appends.
pub(super) fn message(out: &mut Vec<u8>, number: u64, write: impl FnOnce(&mut Vec<u8>)) {
    varint(out, number << 3 | 2);
    let at = out.len();
    out.push(0);
    write(out);
    let len = out.len() - at - 1;
    if let (Ok(short @ 0..0x80), Some(place)) = (u8::try_from(len), out.get_mut(at)) {
        *place = short;
        return;
    }
    // Most messages are short; the others are moved to make room for their length.
    let mut prefix = Vec::with_capacity(10);
    varint(&mut prefix, len as u64);
    out.splice(at..=at, prefix);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_whatever_its_length() {
        for len in [0, 1, 126, 127, 128, 129, 16_383, 16_384, 70_000] {
            let text = vec![b'x'; len];
            let mut out = b"before".to_vec();
            message(&mut out, 3, |out| bytes(out, 15, &text));
            number(&mut out, 16, u64::MAX);
            double(&mut out, 1, 0.5);
            let read: Vec<_> = fields(&out[6..]).map(Result::unwrap).collect();
            let Wire::Bytes(inner) = read[0].value else { panic!("{read:?}") };
            assert_eq!(fields(inner).next().unwrap().unwrap().value, Wire::Bytes(&text));
            assert_eq!((read[0].number, read[1].number, read[2].number, read.len()), (3, 16, 1, 3));
            assert_eq!(read[1].value, Wire::Varint(u64::MAX));
            assert_eq!(read[2].value, Wire::Fixed64(0.5_f64.to_bits()));
        }
    }

    #[test]
    fn a_group_is_one_field_up_to_its_own_end() {
        // 1: { 2: { 3: 300 }, 4: "ab" }, 5: 7
        let grouped = [0x0b, 0x13, 0x18, 0xac, 0x02, 0x14, 0x22, 2, b'a', b'b', 0x0c, 0x28, 7];
        let read: Vec<_> = fields(&grouped).map(Result::unwrap).collect();
        assert_eq!(read[0], Field { number: 1, value: Wire::Group, span: 0..11 });
        assert_eq!((read[1].value, read.len()), (Wire::Varint(7), 2));
    }

    #[test]
    fn every_cut_and_every_wrong_byte_is_an_error_or_a_message_and_never_a_panic() {
        let mut good = Vec::new();
        message(&mut good, 1, |out| bytes(out, 2, b"abc"));
        number(&mut good, 2, 300);
        for cut in 1..good.len() {
            let read: Vec<_> = fields(&good[..cut]).collect();
            assert!(cut == 7 || read.last().unwrap().is_err(), "{cut}");
        }
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bad = good.clone();
                bad[at] = byte;
                assert!(fields(&bad).count() <= bad.len());
            }
        }
        assert!(fields(&[0x0b]).next().unwrap().is_err(), "a group without an end");
        assert!(fields(&[0x0b, 0x14]).next().unwrap().is_err(), "a group with the end of another");
        assert!(fields(&[0x0b; 1_000_000]).next().unwrap().is_err(), "groups within groups");
        assert!(fields(&[0xff; 11]).next().unwrap().is_err(), "a number without an end");
        assert!(fields(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).next().unwrap().is_err());
    }
}
