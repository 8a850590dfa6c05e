//! What is asked for without reading events: the payload of the summary's frame.
//!
//! ```text
//! raw_len varint | stored_len varint | stored, zstd of raw_len bytes:
//!
//! window_micros varint | unlisted_events varint | evicted_series varint | dropped_events varint
//! sources    count varint | (lane u8 | sequence varint) …
//! groups     count varint | (offset varint | length varint | lane u8 | run u32 | sequence varint | first_event varint | events varint |
//!                            min_time i64 | max_time i64) …
//! templates  count varint | (id u64 | events varint | marked varint | first i64 | last i64 | text_len varint | text) …, by id
//! series     of each template: points varint | (window zigzag varint, the difference to the one before | count varint | marked varint) …
//! ```
//!
//! A window of number `w` is the time from `w · window_micros` on.

use super::group::GroupId;
use super::{compressed, put_compressed};
use crate::event::{TemplateId, Timestamp};
use crate::storage::StorageError;
use crate::storage::bytes::ByteReader;
use crate::storage::varint;

const COMPRESSION_LEVEL: i32 = 3;

/// Where a group is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupPlace {
    /// Of its frame, from the start of the file.
    pub offset: u64,
    /// Of its frame.
    pub length: u64,
    /// Which events it holds.
    pub id: GroupId,
    /// How many.
    pub events: u64,
    /// The earliest.
    pub min_time: Timestamp,
    /// The latest.
    pub max_time: Timestamp,
}

/// One template's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateCounts {
    /// The template.
    pub id: TemplateId,
    /// Its events.
    pub events: u64,
    /// Of these, how many had the flag that [`ChunkOptions::marked_flag`](super::ChunkOptions::marked_flag) names.
    pub marked: u64,
    /// The earliest.
    pub first: Timestamp,
    /// The latest.
    pub last: Timestamp,
    /// Its text, as the caller gave it; empty when none was given.
    pub text: Vec<u8>,
    /// By window, ascending.
    pub(super) points: Vec<WindowCount>,
}

/// One template's events in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WindowCount {
    /// Number of the window.
    pub(super) window: i64,
    pub(super) events: u64,
    pub(super) marked: u64,
}

/// One template's events from some time on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Start of the window.
    pub start: Timestamp,
    /// Events in it.
    pub events: u64,
    /// Of these, how many are marked.
    pub marked: u64,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Length of a window.
    pub window_micros: i64,
    /// Events of templates that are not listed, since there were too many.
    pub unlisted_events: u64,
    /// Series that went for others.
    pub evicted_series: u64,
    /// Events counted here that are in no group.
    pub dropped_events: u64,
    /// Segments of the log the file stands for: lane and sequence.
    pub sources: Vec<(u8, u64)>,
    /// Its groups.
    pub groups: Vec<GroupPlace>,
    /// Its templates, by id.
    pub templates: Vec<TemplateCounts>,
}

impl Summary {
    /// The windows in which the template was seen, ascending.
    pub fn points<'a>(&self, counts: &'a TemplateCounts) -> impl DoubleEndedIterator<Item = Point> + 'a {
        let micros = self.window_micros;
        counts.points.iter().map(move |point| Point {
            start: Timestamp(point.window.saturating_mul(micros)),
            events: point.events,
            marked: point.marked,
        })
    }

    /// Events counted.
    pub fn events(&self) -> u64 {
        self.templates.iter().map(|counts| counts.events).fold(self.unlisted_events, u64::saturating_add)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, StorageError> {
        let mut raw = Vec::new();
        for number in [self.window_micros as u64, self.unlisted_events, self.evicted_series, self.dropped_events] {
            varint::put(&mut raw, number);
        }
        varint::put(&mut raw, self.sources.len() as u64);
        for (lane, sequence) in &self.sources {
            raw.push(*lane);
            varint::put(&mut raw, *sequence);
        }
        varint::put(&mut raw, self.groups.len() as u64);
        self.groups.iter().for_each(|place| put_place(&mut raw, place));
        varint::put(&mut raw, self.templates.len() as u64);
        self.templates.iter().for_each(|counts| put_counts(&mut raw, counts));
        self.templates.iter().for_each(|counts| put_points(&mut raw, &counts.points));
        let mut out = Vec::new();
        put_compressed(&mut out, &raw, COMPRESSION_LEVEL)?;
        Ok(out)
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, &'static str> {
        let mut reader = ByteReader::new(payload);
        let raw = compressed(&mut reader)?;
        if !reader.is_empty() {
            return Err("bytes follow the summary");
        }
        Self::parse(&mut ByteReader::new(&raw)).ok_or("a summary that no oddline writes")
    }

    fn parse(reader: &mut ByteReader<'_>) -> Option<Self> {
        let window_micros = i64::try_from(reader.varint()?).ok().filter(|micros| *micros > 0)?;
        let mut summary = Self {
            window_micros,
            unlisted_events: reader.varint()?,
            evicted_series: reader.varint()?,
            dropped_events: reader.varint()?,
            ..Self::default()
        };
        summary.sources = list(reader, |reader| Some((reader.u8()?, reader.varint()?)))?;
        summary.groups = list(reader, place)?;
        summary.templates = list(reader, counts)?;
        for counts in &mut summary.templates {
            counts.points = points(reader)?;
        }
        reader.is_empty().then_some(summary)
    }
}

/// `count varint`, then as many of what `item` reads. Nothing is set aside for a count that the bytes cannot hold.
fn list<T>(reader: &mut ByteReader<'_>, item: fn(&mut ByteReader<'_>) -> Option<T>) -> Option<Vec<T>> {
    let count = reader.size()?;
    if count > reader.rest().len() {
        return None;
    }
    (0..count).map(|_| item(reader)).collect()
}

fn put_place(raw: &mut Vec<u8>, place: &GroupPlace) {
    varint::put(raw, place.offset);
    varint::put(raw, place.length);
    raw.push(place.id.lane);
    raw.extend_from_slice(&place.id.run.to_le_bytes());
    varint::put(raw, place.id.sequence);
    varint::put(raw, place.id.first_event);
    varint::put(raw, place.events);
    raw.extend_from_slice(&place.min_time.0.to_le_bytes());
    raw.extend_from_slice(&place.max_time.0.to_le_bytes());
}

fn place(reader: &mut ByteReader<'_>) -> Option<GroupPlace> {
    let (offset, length) = (reader.varint()?, reader.varint()?);
    let (lane, run) = (reader.u8()?, reader.u32()?);
    let id = GroupId { lane, run, sequence: reader.varint()?, first_event: reader.varint()? };
    let events = reader.varint()?;
    let (min_time, max_time) = (Timestamp(reader.i64()?), Timestamp(reader.i64()?));
    Some(GroupPlace { offset, length, id, events, min_time, max_time })
}

fn put_counts(raw: &mut Vec<u8>, counts: &TemplateCounts) {
    raw.extend_from_slice(&counts.id.0.to_le_bytes());
    varint::put(raw, counts.events);
    varint::put(raw, counts.marked);
    raw.extend_from_slice(&counts.first.0.to_le_bytes());
    raw.extend_from_slice(&counts.last.0.to_le_bytes());
    varint::put(raw, counts.text.len() as u64);
    raw.extend_from_slice(&counts.text);
}

fn counts(reader: &mut ByteReader<'_>) -> Option<TemplateCounts> {
    let (id, events, marked) = (TemplateId(reader.u64()?), reader.varint()?, reader.varint()?);
    let (first, last) = (Timestamp(reader.i64()?), Timestamp(reader.i64()?));
    let text_len = reader.size()?;
    let text = reader.take(text_len)?.to_vec();
    Some(TemplateCounts { id, events, marked, first, last, text, points: Vec::new() })
}

fn put_points(raw: &mut Vec<u8>, points: &[WindowCount]) {
    varint::put(raw, points.len() as u64);
    let mut before = 0i64;
    for point in points {
        varint::put_signed(raw, point.window.wrapping_sub(before));
        varint::put(raw, point.events);
        varint::put(raw, point.marked);
        before = point.window;
    }
}

fn points(reader: &mut ByteReader<'_>) -> Option<Vec<WindowCount>> {
    let point = |reader: &mut ByteReader<'_>| {
        Some(WindowCount { window: reader.signed()?, events: reader.varint()?, marked: reader.varint()? })
    };
    let mut before = 0i64;
    let mut points = list(reader, point)?;
    for point in &mut points {
        point.window = before.wrapping_add(point.window);
        before = point.window;
    }
    Some(points)
}
