//! Writes a file of the history, as many events at a time as there are; what is held of it meanwhile is one group and the summary.

use std::path::{Path, PathBuf};

use super::group::{GroupBuilder, GroupId};
use super::series::SeriesTable;
use super::summary::{GroupPlace, Summary};
use super::{END_MAGIC, HEADER_BYTES, KIND_GROUP, KIND_SUMMARY, MAGIC, VERSION};
use crate::event::{TemplateId, Timestamp};
use crate::storage::atomic::Staged;
use crate::storage::bytes::ByteReader;
use crate::storage::wal::WalEvent;
use crate::storage::{FileSystem, StorageError, frame};

/// Most bytes of texts in a file.
const MOST_TEXT_BYTES: usize = 4 << 20;
/// zstd: L1 is written while events come, L2 once an hour.
const L1_COMPRESSION: i32 = 3;
const L2_COMPRESSION: i32 = 6;

/// How much of the history a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A closed segment of the log.
    L1,
    /// What an hour's L1 files held.
    L2,
}

impl Level {
    const fn code(self) -> u8 {
        match self {
            Self::L1 => 1,
            Self::L2 => 2,
        }
    }

    const fn compression(self) -> i32 {
        match self {
            Self::L1 => L1_COMPRESSION,
            Self::L2 => L2_COMPRESSION,
        }
    }
}

/// What a file is to be.
#[derive(Clone, Copy, Debug)]
pub struct ChunkOptions {
    /// How much it holds.
    pub level: Level,
    /// When it is begun.
    pub created: Timestamp,
    /// Seconds a point of a series stands for.
    pub window_secs: u32,
    /// Events with this flag are counted apart.
    pub marked_flag: u8,
    /// Whether events are kept, or only counted.
    pub keeps_events: bool,
}

/// Where an event stands in the log.
#[derive(Clone, Copy, Debug)]
pub struct EventAt {
    /// The lane.
    pub lane: u8,
    /// How often the data dir had been opened.
    pub run: u32,
    /// The segment.
    pub sequence: u64,
    /// Its number in lane and run.
    pub number: u64,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Events it counts.
    pub events: u64,
    /// Of these, how many are in no group.
    pub dropped_events: u64,
}

/// Writes one file. Nothing is to be seen of it before [`Self::finish`], nor of one that is dropped.
#[derive(Debug)]
pub struct ChunkWriter<'f> {
    staged: Staged<'f>,
    seed: u32,
    options: ChunkOptions,
    open: Option<GroupBuilder>,
    series: SeriesTable,
    sources: Vec<(u8, u64)>,
    groups: Vec<GroupPlace>,
    dropped_events: u64,
}

impl<'f> ChunkWriter<'f> {
    /// Begins `dir/name`; the directory must exist.
    pub fn create(fs: &'f dyn FileSystem, dir: &Path, name: &str, options: ChunkOptions) -> Result<Self, StorageError> {
        let mut staged = Staged::create(fs, dir, name)?;
        let (header, seed) = header(options);
        staged.append(&header)?;
        Ok(Self {
            staged,
            seed,
            options,
            open: None,
            series: SeriesTable::new(options.window_secs),
            sources: Vec::new(),
            groups: Vec::new(),
            dropped_events: 0,
        })
    }

    /// Notes that the file stands for a segment of the log.
    pub fn add_source(&mut self, lane: u8, sequence: u64) {
        self.sources.push((lane, sequence));
    }

    /// Takes an event in, into a group and into the series: [`Self::extend`] by one.
    pub fn push(&mut self, at: EventAt, event: &WalEvent) -> Result<(), StorageError> {
        self.extend(at, std::slice::from_ref(event))
    }

    /// Takes events in that follow one another; the first is at `first`.
    pub fn extend(&mut self, first: EventAt, events: &[WalEvent]) -> Result<(), StorageError> {
        events.iter().for_each(|event| {
            let is_marked = event.flags & self.options.marked_flag != 0;
            self.series.count(event.template, event.timestamp, is_marked);
        });
        self.keep(first, events)
    }

    /// Takes such events into groups alone: their counts come with [`Self::absorb`].
    pub fn keep(&mut self, first: EventAt, events: &[WalEvent]) -> Result<(), StorageError> {
        if !self.options.keeps_events {
            self.dropped_events = self.dropped_events.saturating_add(events.len() as u64);
            return Ok(());
        }
        let EventAt { lane, run, sequence, number: mut first_event } = first;
        let mut rest = events;
        while !rest.is_empty() {
            let goes_on = |group: &GroupBuilder| group.goes_on_with(lane, run, first_event) && group.room() > 0;
            if !self.open.as_ref().is_some_and(goes_on) {
                self.close_group()?;
            }
            let begin = || GroupBuilder::new(GroupId { lane, sequence, run, first_event });
            let group = self.open.get_or_insert_with(begin);
            let (taken, left) = rest.split_at(rest.len().min(group.room()));
            group.extend(taken);
            first_event = first_event.saturating_add(taken.len() as u64);
            rest = left;
        }
        Ok(())
    }

    /// Takes the counts and sources of another file in.
    pub fn absorb(&mut self, summary: &Summary) {
        self.series.absorb(summary);
        self.sources.extend_from_slice(&summary.sources);
        self.dropped_events = self.dropped_events.saturating_add(summary.dropped_events);
    }

    /// Notes that so many of the events counted are in no group.
    pub(super) fn note_dropped(&mut self, events: u64) {
        self.dropped_events = self.dropped_events.saturating_add(events);
    }

    fn close_group(&mut self) -> Result<(), StorageError> {
        let Some(group) = self.open.take() else { return Ok(()) };
        let payload = group.encode(self.options.level.compression())?;
        let offset = self.staged.bytes();
        self.put_frame(KIND_GROUP, &payload)?;
        let (min_time, max_time) = group.span();
        let (id, events) = (group.id(), group.events());
        let length = self.staged.bytes() - offset;
        self.groups.push(GroupPlace { offset, length, id, events, min_time, max_time });
        Ok(())
    }

    fn put_frame(&mut self, kind: u8, payload: &[u8]) -> Result<(), StorageError> {
        let limit = frame::MAX_PAYLOAD_BYTES;
        if payload.len() > limit {
            let bytes = payload.len() as u64;
            return Err(StorageError::TooLarge { what: "a part of a chunk", bytes, limit: limit as u64 });
        }
        let mut bytes = Vec::with_capacity(payload.len() + frame::HEADER_BYTES);
        frame::put(&mut bytes, self.seed, kind, payload);
        self.staged.append(&bytes)
    }

    /// Completes the file; durable when it returns. `text` is asked for each template once.
    pub fn finish(mut self, text: &mut dyn FnMut(TemplateId) -> Option<Vec<u8>>) -> Result<Written, StorageError> {
        self.close_group()?;
        let series = std::mem::replace(&mut self.series, SeriesTable::new(1));
        let mut summary = series.into_summary();
        summary.groups = std::mem::take(&mut self.groups);
        summary.sources = std::mem::take(&mut self.sources);
        summary.sources.sort_unstable();
        summary.sources.dedup();
        summary.dropped_events = self.dropped_events;
        let mut room = MOST_TEXT_BYTES;
        for counts in &mut summary.templates {
            let fits = |text: &Vec<u8>| text.len() <= room;
            counts.text = text(counts.id).filter(fits).unwrap_or_default();
            room -= counts.text.len();
        }
        let summary_offset = self.staged.bytes();
        self.put_frame(KIND_SUMMARY, &summary.encode()?)?;
        let total = self.staged.bytes() + super::FOOTER_BYTES as u64;
        self.staged.append(&footer(self.seed, summary_offset, total))?;
        let (events, dropped_events) = (summary.events(), summary.dropped_events);
        Ok(Written { path: self.staged.commit()?, bytes: total, events, dropped_events })
    }
}

fn header(options: ChunkOptions) -> ([u8; HEADER_BYTES], u32) {
    let mut out = [0; HEADER_BYTES];
    let (checked, crc) = out.split_at_mut(HEADER_BYTES - 4);
    let fields =
        [&MAGIC[..], &VERSION.to_le_bytes(), &[options.level.code(), 0, 0, 0], &options.created.0.to_le_bytes()];
    checked.copy_from_slice(&fields.concat());
    let seed = crc32c::crc32c(checked);
    crc.copy_from_slice(&seed.to_le_bytes());
    (out, seed)
}

fn footer(seed: u32, summary_offset: u64, total: u64) -> Vec<u8> {
    let mut out = summary_offset.to_le_bytes().to_vec();
    out.extend_from_slice(&total.to_le_bytes());
    let crc = crc32c::crc32c_append(seed, &out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&END_MAGIC);
    out
}

/// The seed of a file's frames; fails on what is no header of this format.
pub(super) fn parse_header(path: &Path, bytes: &[u8]) -> Result<u32, StorageError> {
    let damaged = |reason| StorageError::Damaged { path: path.to_owned(), offset: 0, reason };
    let header = bytes.first_chunk::<HEADER_BYTES>().ok_or_else(|| damaged("the file ends within its header"))?;
    let (checked, crc) = header.split_last_chunk::<4>().ok_or_else(|| damaged("the file ends within its header"))?;
    if !checked.starts_with(&MAGIC) {
        return Err(damaged("expected the magic ODLNCHK2"));
    }
    let seed = u32::from_le_bytes(*crc);
    if crc32c::crc32c(checked) != seed {
        return Err(damaged("the header's checksum does not match"));
    }
    let mut reader = ByteReader::new(checked.get(MAGIC.len()..).unwrap_or_default());
    match reader.u32() {
        Some(VERSION) => Ok(seed),
        Some(found) if found > VERSION => {
            Err(StorageError::NewerVersion { what: "a chunk", path: path.to_owned(), found, supported: VERSION })
        }
        _ => Err(damaged("the header has a version that no oddline writes")),
    }
}

/// Where the summary is, by the last bytes of a file of `total` bytes.
pub(super) fn parse_footer(seed: u32, bytes: &[u8], total: u64) -> Result<u64, &'static str> {
    const SHORT: &str = "the file is too short for a chunk";
    let (rest, end_magic) = bytes.split_last_chunk::<8>().ok_or(SHORT)?;
    let (places, crc) = rest.split_last_chunk::<4>().ok_or(SHORT)?;
    if *end_magic != END_MAGIC {
        return Err("expected the end magic ODLNCHKE");
    }
    if crc32c::crc32c_append(seed, places) != u32::from_le_bytes(*crc) {
        return Err("the footer's checksum does not match");
    }
    let mut reader = ByteReader::new(places);
    let (offset, length) = (reader.u64().ok_or(SHORT)?, reader.u64().ok_or(SHORT)?);
    if length == total && offset < total { Ok(offset) } else { Err("a footer that does not fit the file") }
}
