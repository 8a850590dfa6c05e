//! Frames to records: the inverse of [`encode`](super::encode), for bytes that may be anything.

use super::encode::*;
use super::{VALUES, WalEvent};
use crate::event::{StreamKey, TemplateId, Timestamp};
use crate::storage::bytes::ByteReader;

/// The start of every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) first_record: u64,
    pub(crate) first_event: u64,
}

impl Numbers {
    pub(crate) fn read(reader: &mut ByteReader<'_>) -> Option<Self> {
        Some(Self { first_record: reader.varint()?, first_event: reader.varint()? })
    }
}

/// A template record after its [`Numbers`].
pub(crate) fn template<'a>(reader: &mut ByteReader<'a>) -> Option<(TemplateId, Timestamp, &'a [u8])> {
    Some((TemplateId(reader.u64()?), Timestamp(reader.signed()?), reader.rest()))
}

/// Why events were not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undecoded {
    /// They build on events that are missing.
    MissingContext,
    /// The bytes are not what an encoder writes.
    Malformed,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    template: TemplateId,
    statistic: u32,
    meta: [u8; 2],
    values: [u8; VALUES],
}

/// The state of a block. Starts out without one.
#[derive(Debug, Default)]
pub(crate) struct EventDecoder {
    in_block: bool,
    templates: Vec<Known>,
    streams: Vec<StreamKey>,
    stream: StreamKey,
    time: i64,
}

impl EventDecoder {
    /// Decodes nothing more until a block begins.
    pub(crate) fn leave_block(&mut self) {
        self.in_block = false;
    }

    /// Appends the events of one frame, all or none.
    pub(crate) fn decode(&mut self, reader: &mut ByteReader<'_>, out: &mut Vec<WalEvent>) -> Result<(), Undecoded> {
        let before = out.len();
        let decoded = self.enter(reader).and_then(|()| self.events(reader, out));
        if decoded.is_err() {
            out.truncate(before);
            self.leave_block();
        }
        decoded
    }

    fn enter(&mut self, reader: &mut ByteReader<'_>) -> Result<(), Undecoded> {
        match reader.u8() {
            Some(BLOCK_STARTS) => {
                self.templates.clear();
                self.streams.clear();
                (self.in_block, self.stream, self.time) = (true, StreamKey::default(), 0);
                Ok(())
            }
            Some(BLOCK_CONTINUES) if self.in_block => Ok(()),
            Some(BLOCK_CONTINUES) => Err(Undecoded::MissingContext),
            _ => Err(Undecoded::Malformed),
        }
    }

    fn events(&mut self, reader: &mut ByteReader<'_>, out: &mut Vec<WalEvent>) -> Result<(), Undecoded> {
        while !reader.is_empty() {
            out.push(self.event(reader).ok_or(Undecoded::Malformed)?);
        }
        Ok(())
    }

    fn event(&mut self, reader: &mut ByteReader<'_>) -> Option<WalEvent> {
        let head = reader.u8()?;
        self.time = self.time.wrapping_add(time_delta(head, reader)?);
        let number = self.template_number(head, reader)?;
        self.read_stream(head, reader)?;
        let meta = if head & META_GIVEN != 0 { Some(reader.array()?) } else { None };
        let xor = statistic_xor(head, reader)?;
        let known = self.templates.get_mut(number)?;
        known.meta = meta.unwrap_or(known.meta);
        known.statistic ^= xor;
        let [severity, flags] = known.meta;
        if flags & HAS_VALUES != 0 {
            read_values(reader, &mut known.values)?;
        }
        Some(WalEvent {
            timestamp: Timestamp(self.time),
            template: known.template,
            statistic: f32::from_bits(known.statistic),
            stream: self.stream,
            severity,
            flags: flags & !HAS_VALUES,
            values: known.values,
        })
    }

    fn template_number(&mut self, head: u8, reader: &mut ByteReader<'_>) -> Option<usize> {
        if head & TEMPLATE_NEW == 0 {
            return reader.size();
        }
        let number = self.templates.len();
        self.templates.push(Known {
            template: TemplateId(reader.u64()?),
            statistic: 0,
            meta: [0; 2],
            values: [0; VALUES],
        });
        Some(number)
    }

    fn read_stream(&mut self, head: u8, reader: &mut ByteReader<'_>) -> Option<()> {
        match (head & STREAM_GIVEN != 0, head & STREAM_NEW != 0) {
            (false, false) => {}
            (true, false) => self.stream = *self.streams.get(reader.size()?)?,
            (true, true) => {
                self.stream = StreamKey(reader.u64()?);
                self.streams.push(self.stream);
            }
            (false, true) => return None,
        }
        Some(())
    }
}

fn time_delta(head: u8, reader: &mut ByteReader<'_>) -> Option<i64> {
    match head & TIME_MASK {
        TIME_SAME => Some(0),
        TIME_MICROS => reader.signed(),
        TIME_MILLIS => reader.signed().map(|millis| millis.wrapping_mul(1_000)),
        _ => None,
    }
}

fn statistic_xor(head: u8, reader: &mut ByteReader<'_>) -> Option<u32> {
    Some(match head & STATISTIC_MASK {
        0 => 0,
        1 => u32::from(reader.u16()?),
        2 => u32::from(reader.u16()?) << 16,
        _ => reader.u32()?,
    })
}

fn read_values(reader: &mut ByteReader<'_>, values: &mut [u8; VALUES]) -> Option<()> {
    let mut left = reader.varint()?;
    if left >> VALUES != 0 {
        return None;
    }
    while left != 0 {
        *values.get_mut(left.trailing_zeros() as usize)? = reader.u8()?;
        left &= left - 1;
    }
    Some(())
}
