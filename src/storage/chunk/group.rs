//! Events as columns: the payload of a group's frame.
//!
//! ```text
//! lane u8 | run u32 | sequence u64 | first_event u64 | events varint | min_time i64 | max_time i64 | column × 6
//! column: raw_len varint | stored_len varint | stored, zstd of raw_len bytes
//!
//! columns, in this order, n = events:
//!   templates   id u64 …, as first seen in the group
//!   times       zigzag varint × n, each the wrapping difference to the one before, the first to 0
//!   template    varint × n, number in `templates`
//!   statistic   n × 4 bytes: the lowest byte of all, then the second …, of the f32's bits
//!   stream      count varint | key u64 × count | varint × n, number among the keys
//!   meta        severity u8 × n | flags u8 × n
//! ```
//!
//! Event `k` of the group is event `first_event + k` of lane and run. `sequence` is the segment its first event was in.

use super::dictionary::Dictionary;
use super::{compressed, put_compressed};
use crate::event::{StreamKey, TemplateId, Timestamp};
use crate::storage::StorageError;
use crate::storage::bytes::ByteReader;
use crate::storage::varint;
use crate::storage::wal::WalEvent;

/// Most events of a group. With it a frame's limit holds whatever the events are, and a merge needs 3 MiB for one.
pub const MOST_EVENTS: u64 = 1 << 16;

/// Which events a group holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    /// The lane.
    pub lane: u8,
    /// The segment of the lane's log that the first event was in.
    pub sequence: u64,
    /// How often the data dir had been opened.
    pub run: u32,
    /// Number of the first event in lane and run.
    pub first_event: u64,
}

/// A group that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Which one.
    pub id: GroupId,
    /// Its events in the order they were observed.
    pub events: Vec<WalEvent>,
}

/// Events on their way into a group: 10 bytes each, about.
#[derive(Debug, Default)]
pub(super) struct GroupBuilder {
    id: GroupId,
    events: u64,
    templates: Dictionary<TemplateId>,
    streams: Dictionary<StreamKey>,
    times: Vec<u8>,
    numbers: Vec<u8>,
    statistics: [Vec<u8>; 4],
    stream_numbers: Vec<u8>,
    severities: Vec<u8>,
    flags: Vec<u8>,
    /// Time of the last event.
    last: i64,
    span: Option<(i64, i64)>,
}

impl GroupBuilder {
    pub(super) fn new(id: GroupId) -> Self {
        Self { id, ..Self::default() }
    }

    pub(super) const fn id(&self) -> GroupId {
        self.id
    }

    pub(super) const fn events(&self) -> u64 {
        self.events
    }

    /// Earliest and latest time; the epoch without events.
    pub(super) fn span(&self) -> (Timestamp, Timestamp) {
        self.span.map_or_else(Default::default, |(min, max)| (Timestamp(min), Timestamp(max)))
    }

    /// Whether events from this number on, in lane and run, are the next.
    pub(super) fn goes_on_with(&self, lane: u8, run: u32, number: u64) -> bool {
        (self.id.lane, self.id.run) == (lane, run) && self.id.first_event.checked_add(self.events) == Some(number)
    }

    /// How many events there is room for.
    pub(super) fn room(&self) -> usize {
        MOST_EVENTS.saturating_sub(self.events) as usize
    }

    /// Appends events, for which there must be room; column by column, which is much the faster way.
    pub(super) fn extend(&mut self, events: &[WalEvent]) {
        self.events += events.len() as u64;
        for event in events {
            let time = event.timestamp.0;
            let (min, max) = self.span.unwrap_or((time, time));
            self.span = Some((min.min(time), max.max(time)));
            varint::put_signed(&mut self.times, time.wrapping_sub(self.last));
            self.last = time;
        }
        for event in events {
            varint::put(&mut self.numbers, u64::from(self.templates.number(event.template)));
        }
        for event in events {
            varint::put(&mut self.stream_numbers, u64::from(self.streams.number(event.stream)));
        }
        for (place, plane) in self.statistics.iter_mut().enumerate() {
            plane.extend(events.iter().map(|event| (event.statistic.to_bits() >> (8 * place)) as u8));
        }
        self.severities.extend(events.iter().map(|event| event.severity));
        self.flags.extend(events.iter().map(|event| event.flags));
    }

    /// The payload.
    pub(super) fn encode(&self, level: i32) -> Result<Vec<u8>, StorageError> {
        let mut out = Vec::new();
        out.push(self.id.lane);
        out.extend_from_slice(&self.id.run.to_le_bytes());
        out.extend_from_slice(&self.id.sequence.to_le_bytes());
        out.extend_from_slice(&self.id.first_event.to_le_bytes());
        varint::put(&mut out, self.events);
        let (min, max) = self.span();
        out.extend_from_slice(&min.0.to_le_bytes());
        out.extend_from_slice(&max.0.to_le_bytes());
        let templates: Vec<u8> = self.templates.values().iter().flat_map(|id| id.0.to_le_bytes()).collect();
        let meta = [self.severities.as_slice(), &self.flags].concat();
        let columns = [&templates, &self.times, &self.numbers, &self.statistics.concat(), &self.streams(), &meta];
        columns.into_iter().try_for_each(|column| put_compressed(&mut out, column, level))?;
        Ok(out)
    }

    fn streams(&self) -> Vec<u8> {
        let mut out = Vec::new();
        varint::put(&mut out, self.streams.values().len() as u64);
        self.streams.values().iter().for_each(|key| out.extend_from_slice(&key.0.to_le_bytes()));
        out.extend_from_slice(&self.stream_numbers);
        out
    }
}

/// Reads the payload of a group's frame. All or nothing.
pub(super) fn decode(payload: &[u8]) -> Result<Group, &'static str> {
    let mut reader = ByteReader::new(payload);
    let (id, events) = head(&mut reader).ok_or("a group that ends in its head")?;
    if events > MOST_EVENTS {
        return Err("a group of too many events");
    }
    let columns = Columns::parse(&mut reader)?;
    let events = columns.rows(events as usize).ok_or("columns that do not fit together")?;
    Ok(Group { id, events })
}

fn head(reader: &mut ByteReader<'_>) -> Option<(GroupId, u64)> {
    let (lane, run) = (reader.u8()?, reader.u32()?);
    let id = GroupId { lane, run, sequence: reader.u64()?, first_event: reader.u64()? };
    let events = reader.varint()?;
    // Its span: for who reads the file with other means.
    reader.array::<16>()?;
    Some((id, events))
}

#[derive(Debug)]
struct Columns {
    templates: Vec<u8>,
    times: Vec<u8>,
    numbers: Vec<u8>,
    statistics: Vec<u8>,
    streams: Vec<u8>,
    meta: Vec<u8>,
}

impl Columns {
    fn parse(reader: &mut ByteReader<'_>) -> Result<Self, &'static str> {
        let columns = Self {
            templates: compressed(reader)?,
            times: compressed(reader)?,
            numbers: compressed(reader)?,
            statistics: compressed(reader)?,
            streams: compressed(reader)?,
            meta: compressed(reader)?,
        };
        if reader.is_empty() { Ok(columns) } else { Err("bytes follow the last column") }
    }

    /// The rows, when every column holds exactly `count` of them.
    fn rows(&self, count: usize) -> Option<Vec<WalEvent>> {
        if self.statistics.len() != count.checked_mul(4)? || self.meta.len() != count.checked_mul(2)? {
            return None;
        }
        let templates = keys(&mut ByteReader::new(&self.templates), self.templates.len() / 8)?;
        let mut streams = ByteReader::new(&self.streams);
        let stream_count = streams.size()?;
        let stream_keys = keys(&mut streams, stream_count)?;
        let (mut times, mut numbers) = (ByteReader::new(&self.times), ByteReader::new(&self.numbers));
        let mut time = 0i64;
        let mut events = Vec::with_capacity(count);
        for row in 0..count {
            time = time.wrapping_add(times.signed()?);
            events.push(WalEvent {
                timestamp: Timestamp(time),
                template: TemplateId(*templates.get(numbers.size()?)?),
                statistic: self.statistic(row, count)?,
                stream: StreamKey(*stream_keys.get(streams.size()?)?),
                severity: *self.meta.get(row)?,
                flags: *self.meta.get(row + count)?,
                ..WalEvent::default()
            });
        }
        let is_used_up = times.is_empty() && numbers.is_empty() && streams.is_empty();
        (is_used_up && self.templates.len().is_multiple_of(8)).then_some(events)
    }

    fn statistic(&self, row: usize, count: usize) -> Option<f32> {
        let byte = |plane: usize| self.statistics.get(row + plane * count).copied();
        Some(f32::from_bits(u32::from_le_bytes([byte(0)?, byte(1)?, byte(2)?, byte(3)?])))
    }
}

fn keys(reader: &mut ByteReader<'_>, count: usize) -> Option<Vec<u64>> {
    if count > reader.rest().len() / 8 {
        return None;
    }
    (0..count).map(|_| reader.u64()).collect()
}
