//! The single events of the history around a time, for who looks at one of them.

use std::path::Path;

use super::history;
use super::lane::FLAG_ANOMALY;
use super::whole::{Segments, whole};
use crate::event::{EventId, StreamKey, TemplateId, Timestamp};
use crate::storage::chunk::ChunkReader;
use crate::storage::chunk::summary::GroupPlace;
use crate::storage::wal::WalEvent;
use crate::storage::{FileSystem, StorageError};

/// Bytes of history files read at the most.
const MOST_BYTES: u64 = 32 << 20;

/// Bits of an event id's run and number.
const RUN_BITS: u32 = 0xff_ffff;
const NUMBER_BITS: u64 = 0xff_ffff_ffff;

/// An event of the history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PastEvent {
    /// Its id.
    pub(super) id: EventId,
    /// When it happened.
    pub(super) time: Timestamp,
    /// Its template, as it was called then.
    pub(super) template: TemplateId,
    /// Its stream.
    pub(super) stream: StreamKey,
    /// It was an anomaly.
    pub(super) is_anomaly: bool,
}

/// Tells the events of the history near `time`, in no particular order, each once: all of the log, and of files the groups that reach
/// within `most_away` microseconds (and the millisecond that an id is exact to), [`MOST_BYTES`] of them, those nearest to the time first. What is damaged is passed over.
///
/// # Errors
/// When the directories cannot be read.
pub(super) fn visit(
    fs: &dyn FileSystem,
    data_dir: &Path,
    time: Timestamp,
    most_away: i64,
    tell: &mut dyn FnMut(PastEvent),
) -> Result<(), StorageError> {
    let mut damaged = Vec::new();
    let mut readers: Vec<ChunkReader> = Vec::new();
    let sealed = history::visit_files(fs, data_dir, &mut damaged, &mut |reader| {
        readers.push(reader.without_counts());
        Ok(())
    })?;
    damaged.iter().for_each(|error| tracing::warn!(%error, "a file of the history is passed over"));
    let groups = |reader| ChunkReader::summary(reader).groups.iter().map(move |place| (reader, place));
    let mut places: Vec<(&ChunkReader, &GroupPlace)> = readers.iter().flat_map(groups).collect();
    places.retain(|(_, place)| distance(place, time) <= most_away.max(1_000));
    places.sort_by_key(|(_, place)| distance(place, time));
    let mut left = MOST_BYTES;
    for (reader, place) in places {
        let Some(rest) = left.checked_sub(place.length) else { break };
        left = rest;
        match reader.group(fs, place) {
            Ok(group) => {
                let numbered = group.events.iter().zip(group.id.first_event..);
                numbered.for_each(|(event, number)| tell(past(group.id.lane, group.id.run, number, event)));
            }
            Err(error) => tracing::warn!(%error, "a part of the history is passed over"),
        }
    }
    history::visit_log(fs, data_dir, sealed, &mut |id, event| tell(past(id.lane, id.run, id.number, &event)))?;
    Ok(())
}

/// What was seen of some templates within a stretch of time.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// First and last time of any event, of all templates; none when there was none.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// Times, or starts of windows, and events; in no order.
    pub(super) points: Vec<(Timestamp, u64)>,
}

impl Seen {
    pub(super) fn reach(&mut self, from: Timestamp, to: Timestamp) {
        let (first, last) = self.span.unwrap_or((from, to));
        self.span = Some((first.min(from), last.max(to)));
    }
}

/// What was seen from `from` to `until`, both included, of the templates wanted. Read from summaries: a gigabyte of history costs
/// little.
///
/// # Errors
/// When the directories cannot be read.
pub(super) fn seen(
    fs: &dyn FileSystem,
    data_dir: &Path,
    (from, until): (Timestamp, Timestamp),
    is_wanted: &dyn Fn(TemplateId) -> bool,
) -> Result<Seen, StorageError> {
    whole(fs, data_dir, || look(fs, data_dir, (from, until), is_wanted))
}

fn look(
    fs: &dyn FileSystem,
    data_dir: &Path,
    (from, until): (Timestamp, Timestamp),
    is_wanted: &dyn Fn(TemplateId) -> bool,
) -> Result<(Seen, Segments), StorageError> {
    let mut seen = Seen::default();
    let is_within = |time: Timestamp| from <= time && time <= until;
    let mut damaged = Vec::new();
    let sealed = history::visit_files(fs, data_dir, &mut damaged, &mut |reader| {
        let summary = reader.summary();
        for place in summary.groups.iter().filter(|place| place.max_time >= from && place.min_time <= until) {
            seen.reach(place.min_time.max(from), place.max_time.min(until));
        }
        for counts in summary.templates.iter().filter(|counts| is_wanted(counts.id)) {
            let points = summary.points(counts).filter(|point| is_within(point.start));
            seen.points.extend(points.map(|point| (point.start, point.events)));
        }
        Ok(())
    })?;
    damaged.iter().for_each(|error| tracing::warn!(%error, "a file of the history is passed over"));
    let met = history::visit_log(fs, data_dir, sealed, &mut |_, event| {
        if is_within(event.timestamp) {
            seen.reach(event.timestamp, event.timestamp);
            if is_wanted(event.template) {
                seen.points.push((event.timestamp, 1));
            }
        }
    })?;
    Ok((seen, met))
}

/// Microseconds between a time and the nearest event of a group.
fn distance(place: &GroupPlace, time: Timestamp) -> i64 {
    let before = place.min_time.0.saturating_sub(time.0);
    let after = time.0.saturating_sub(place.max_time.0);
    before.max(after).max(0)
}

fn past(lane: u8, run: u32, number: u64, event: &WalEvent) -> PastEvent {
    let millis = event.timestamp.unsigned_millis();
    PastEvent {
        id: EventId { millis, run: run & RUN_BITS, lane, number: number & NUMBER_BITS },
        time: event.timestamp,
        template: event.template,
        stream: event.stream,
        is_anomaly: event.flags & FLAG_ANOMALY != 0,
    }
}
