//! The log in common: what several lanes appended, written once more in one place, so that one fsync makes all of it durable.
//!
//! ```text
//! wal/group/<sequence:016x>.wal
//! offset size
//!      0   40  header of a segment ([`segment`](super::segment)) of lane FF, which no lane has; its crc is the seed of every frame that follows
//!     40       frame, kind 4 …: lane u8 | sequence u64 | offset u64 | bytes: these bytes are at this offset of this segment
//! ```
//!
//! **Order.** Bytes are appended to their lane's segment, unsynced, and to the log in common, which is synced: from then on they are promised. When the
//! log in common has grown ([`GROUP_BYTES`]), all segments are synced, and only then it is removed and a new one begun.
//!
//! **Recovery** comes before that of the lanes ([`redo`]): what a segment lacks, or has otherwise (a power cut leaves any part of what was
//! not synced), is put in place, the segment synced, and then the log in common is removed. It can be done again after a crash at any moment: a
//! segment that differs where the log in common says something was not synced since, so that nothing promised can follow there but what the log in
//! common has as well. Records are in order; one that does not check out, or would leave a gap, is passed over. Segments that are gone are
//! covered by a checkpoint.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::segment::{self, SegmentHeader, SegmentSequence};
use super::{LaneWal, writer};
use crate::event::Timestamp;
use crate::storage::bytes::ByteReader;
use crate::storage::error::StorageError;
use crate::storage::frame::{self, Frames, Step};
use crate::storage::fs::{FileSystem, OpenMode};

/// When the log in common has grown to this, the lanes' own are synced and a new one is begun.
pub const GROUP_BYTES: u64 = 8 << 20;
/// The lane in its header.
const NO_LANE: u8 = 0xff;
const DIR: &str = "group";
const KIND: u8 = 4;

/// Writes the log in common. Lanes' bytes wait in memory until [`Self::commit`].
#[derive(Debug)]
pub struct GroupLog {
    fs: Arc<dyn FileSystem>,
    /// Of the group's own.
    dir: PathBuf,
    file: Option<LaneWal>,
    next: SegmentSequence,
    /// There may be files.
    has_files: bool,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    lane: u8,
    sequence: SegmentSequence,
    offset: u64,
    bytes: Vec<u8>,
}

impl GroupLog {
    /// Begins no file yet. Recovery must have been done.
    pub fn new(fs: Arc<dyn FileSystem>, wal_dir: &Path) -> Self {
        Self { fs, dir: wal_dir.join(DIR), file: None, next: SegmentSequence(0), has_files: false, waiting: Vec::new() }
    }

    /// Notes what was appended to a segment at `offset`.
    pub fn note(&mut self, lane: u8, sequence: SegmentSequence, offset: u64, bytes: &[u8]) {
        self.waiting.push(Waiting { lane, sequence, offset, bytes: bytes.to_vec() });
    }

    /// The only lane with bytes that wait; `None` when there are several, or none.
    pub fn only_lane(&self) -> Option<u8> {
        let first = self.waiting.first()?.lane;
        self.waiting.iter().all(|waiting| waiting.lane == first).then_some(first)
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets what waits: the segments themselves were synced.
    pub fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Makes what waits durable. After an error nothing of it is promised, and the next commit begins a new file.
    pub fn commit(&mut self, run: u32, now: Timestamp) -> Result<(), StorageError> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let committed = self.open(run, now).and_then(|file| {
            file.append(&frames(file.seed(), &waiting))?;
            file.sync()
        });
        if committed.is_err() {
            self.file = None;
        }
        committed
    }

    fn open(&mut self, run: u32, now: Timestamp) -> Result<&mut LaneWal, StorageError> {
        if self.file.is_none() {
            let sequence = self.next;
            (self.next, self.has_files) = (sequence.next(), true);
            let header = SegmentHeader { lane: NO_LANE, sequence, run, created: now };
            self.file = Some(LaneWal::open_in(Arc::clone(&self.fs), &self.dir, header)?);
        }
        self.file.as_mut().ok_or_else(|| StorageError::Poisoned { path: self.dir.clone() })
    }

    /// Whether all segments should be synced, and then [`Self::clear`] called.
    pub fn is_full(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.segment_bytes() >= GROUP_BYTES)
    }

    /// Removes it: all segments were synced.
    pub fn clear(&mut self) -> Result<(), StorageError> {
        self.waiting.clear();
        if self.has_files {
            self.file = None;
            remove_all(&*self.fs, &self.dir)?;
            self.has_files = false;
        }
        Ok(())
    }
}

fn frames(seed: u32, waiting: &[Waiting]) -> Vec<u8> {
    let mut out = Vec::with_capacity(waiting.iter().map(|waiting| waiting.bytes.len() + 32).sum());
    for Waiting { lane, sequence, offset, bytes } in waiting {
        let start = frame::begin(&mut out, KIND);
        out.push(*lane);
        out.extend_from_slice(&sequence.0.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(bytes);
        frame::finish(&mut out, seed, start);
    }
    out
}

/// What [`redo`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Redone {
    /// Records read.
    pub records: u64,
    /// Segments that lacked something.
    pub segments: u64,
}

/// Puts what the log in common promised into the segments it belongs to, and removes it.
///
/// Fails when a file cannot be read or written, and on a newer version; it can be called again then.
pub fn redo(fs: &dyn FileSystem, wal_dir: &Path) -> Result<Redone, StorageError> {
    let dir = wal_dir.join(DIR);
    let mut redone = Redone::default();
    let mut segments: BTreeMap<(u8, SegmentSequence), Vec<Piece>> = BTreeMap::new();
    let files = writer::list(fs, &dir)?;
    for sequence in files.keys() {
        let path = dir.join(segment::file_name(*sequence));
        let bytes = fs.read(&path).map_err(StorageError::io("read", &path))?;
        for (segment, offset, bytes) in records(&path, &bytes)? {
            redone.records += 1;
            segments.entry(segment).or_default().push((offset, bytes));
        }
    }
    for ((lane, sequence), records) in segments {
        let path = segment::lane_dir(wal_dir, lane).join(segment::file_name(sequence));
        redone.segments += u64::from(restore(fs, &path, &records)?);
    }
    if !files.is_empty() {
        remove_all(fs, &dir)?;
    }
    Ok(redone)
}

/// Bytes and their offset.
type Piece = (u64, Vec<u8>);

/// A piece and its segment.
type At = ((u8, SegmentSequence), u64, Vec<u8>);

fn records(path: &Path, bytes: &[u8]) -> Result<Vec<At>, StorageError> {
    let seed = match SegmentHeader::parse(bytes) {
        Ok(header) if header.lane == NO_LANE => header.seed(),
        Err(segment::HeaderFault::Newer(found)) => {
            let path = path.to_owned();
            return Err(StorageError::NewerVersion {
                what: "a log in common",
                path,
                found,
                supported: segment::VERSION,
            });
        }
        // The header was synced before anything was promised by it: this file never promised, or is damaged.
        _ => return Ok(Vec::new()),
    };
    let record = |step| match step {
        Step::Frame(frame) if frame.kind == KIND => {
            let mut reader = ByteReader::new(frame.payload);
            let (lane, sequence, offset) = (reader.u8()?, SegmentSequence(reader.u64()?), reader.u64()?);
            Some(((lane, sequence), offset, reader.rest().to_vec()))
        }
        _ => None,
    };
    Ok(Frames::new(bytes, seed, segment::HEADER_BYTES).filter_map(record).collect())
}

/// Puts records into a segment; true when it lacked something.
fn restore(fs: &dyn FileSystem, path: &Path, records: &[Piece]) -> Result<bool, StorageError> {
    let there = match fs.read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        read => read.map_err(StorageError::io("read", path))?,
    };
    let mut wanted = there.clone();
    for (offset, bytes) in records {
        let Some(offset) = usize::try_from(*offset).ok().filter(|offset| *offset <= wanted.len()) else { continue };
        let overlap = bytes.len().min(wanted.len() - offset);
        let (over, beyond) = bytes.split_at(overlap);
        wanted.iter_mut().skip(offset).zip(over).for_each(|(old, new)| *old = *new);
        wanted.extend_from_slice(beyond);
    }
    let same = there.iter().zip(&wanted).take_while(|(there, wanted)| there == wanted).count();
    let lacks = same < wanted.len();
    let written = fs.open(path, OpenMode::Append).and_then(|mut file| {
        if lacks {
            file.truncate(same as u64)?;
            file.append(wanted.get(same..).unwrap_or_default())?;
        }
        // What a killed process left may be whole, and yet not on the disk.
        file.sync()
    });
    written.map_err(StorageError::io("restore", path))?;
    Ok(lacks)
}

fn remove_all(fs: &dyn FileSystem, dir: &Path) -> Result<(), StorageError> {
    let files = writer::list(fs, dir)?;
    for sequence in files.keys() {
        writer::remove(fs, dir, *sequence)?;
    }
    if files.is_empty() { Ok(()) } else { fs.sync_dir(dir).map_err(StorageError::io("sync directory", dir)) }
}
