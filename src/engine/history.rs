//! The history of events: what chunks and the log hold, for who looks back.
//!
//! Reads beside a process that runs, without a lock. A segment that is a chunk already is often still there: each event is told once, by lane, run and
//! number. What is damaged is passed over. At most [`MOST_BYTES`] of chunks are read, those of hours nearest to the time asked for first.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;

use crate::event::{EventId, StreamKey, TemplateId, Timestamp};
use crate::storage::hour::Hour;
use crate::storage::wal::{self, Record, WalEvent};
use crate::storage::{FileSystem, StorageError, chunk_dir};

use super::lane::FLAG_ANOMALY;

/// Bytes of chunks read at the most.
const MOST_BYTES: u64 = 32 << 20;

/// Bits of an event id's run and number.
const RUN_BITS: u32 = 0xff_ffff;
const NUMBER_BITS: u64 = 0xff_ffff_ffff;

/// An event of the history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PastEvent {
    /// Its id.
    pub id: EventId,
    /// When it happened.
    pub time: Timestamp,
    /// Its template, as it was called then.
    pub template: TemplateId,
    /// Its stream.
    pub stream: StreamKey,
    /// It was an anomaly.
    pub is_anomaly: bool,
}

/// Tells every event of the history near `time`, in no particular order, each once.
///
/// # Errors
/// When the directories cannot be read.
pub fn visit(
    fs: &dyn FileSystem,
    data_dir: &Path,
    time: Timestamp,
    tell: &mut dyn FnMut(PastEvent),
) -> Result<(), StorageError> {
    let mut logged: HashSet<(u8, u32, u64)> = HashSet::new();
    visit_log(fs, &data_dir.join("wal"), &mut |lane, run, number, event| {
        if logged.insert((lane, run, number)) {
            tell(past(lane, run, number, event));
        }
    })?;
    visit_chunks(fs, &data_dir.join("chunks"), time, &mut |lane, run, number, event| {
        if !logged.contains(&(lane, run, number)) {
            tell(past(lane, run, number, event));
        }
    })
}

fn past(lane: u8, run: u32, number: u64, event: &WalEvent) -> PastEvent {
    let millis = u64::try_from(event.timestamp.as_millis()).unwrap_or(0);
    PastEvent {
        id: EventId { millis, run: run & RUN_BITS, lane, number: number & NUMBER_BITS },
        time: event.timestamp,
        template: event.template,
        stream: event.stream,
        is_anomaly: event.flags & FLAG_ANOMALY != 0,
    }
}

fn visit_log(
    fs: &dyn FileSystem,
    dir: &Path,
    tell: &mut dyn FnMut(u8, u32, u64, &WalEvent),
) -> Result<(), StorageError> {
    for lane in wal::lanes(fs, dir)? {
        for sequence in wal::segments(fs, dir, lane)? {
            let read = wal::read_segment(fs, dir, lane, sequence, &mut |at, record| {
                if let Record::Event(event) = record {
                    tell(lane, at.position.run, at.event_number, &event);
                }
            });
            match read {
                // It has become a chunk by now.
                Err(StorageError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, "a segment is passed over"),
                Ok(_) => {}
            }
        }
    }
    Ok(())
}

fn visit_chunks(
    fs: &dyn FileSystem,
    dir: &Path,
    time: Timestamp,
    tell: &mut dyn FnMut(u8, u32, u64, &WalEvent),
) -> Result<(), StorageError> {
    let wanted = Hour::of(time);
    let mut hours = chunk_dir::hours(fs, dir)?;
    hours.sort_by_key(|hour| hour.hours_since(wanted).abs());
    let mut left = MOST_BYTES;
    for hour in hours {
        for file in chunk_dir::chunks_of(fs, dir, hour)? {
            let Some(rest) = left.checked_sub(file.bytes) else { return Ok(()) };
            left = rest;
            match chunk_dir::read(fs, &file.path) {
                Ok(chunk) => {
                    let numbered = chunk.events.iter().zip(chunk.id.first_event..);
                    numbered.for_each(|(event, number)| tell(chunk.id.lane, chunk.id.run, number, event));
                }
                Err(error) => tracing::warn!(%error, "a chunk is passed over"),
            }
        }
    }
    Ok(())
}
