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
//! not synced), is put in place, the segment synced, and then the log in common is removed: one that is damaged goes to the
//! [`quarantine`]. It can be done again after a crash at any moment: a
//! segment that differs where the log in common says something was not synced since, so that nothing promised can follow there but what the log in
//! common has as well. Records are in order; one that does not check out, or would leave a gap, is passed over. Segments that are gone are
//! covered by a checkpoint.
//!
//! **Damage** is what does not check out with a record after it, or behind a header that was synced; it is reported with its place. A torn tail is none: what
//! is not whole was not promised. (A power cut while several lanes' records were being written may leave a later one without an earlier: it is
//! reported, though nothing of it was promised.)

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::recover::{MAX_DAMAGE_LISTED, WalDamage};
use super::segment::{self, SegmentHeader, SegmentSequence};
use super::{LaneWal, writer};
use crate::event::Timestamp;
use crate::storage::bytes::ByteReader;
use crate::storage::error::StorageError;
use crate::storage::frame::{self, Frame, Frames, Step};
use crate::storage::fs::{FileSystem, OpenMode};
use crate::storage::quarantine;

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

/// What [`redo`] found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Redone {
    /// Records read.
    pub records: u64,
    /// Segments that lacked something.
    pub segments: u64,
    /// Damage found, as far as listed.
    pub damage: Vec<WalDamage>,
    /// Damage found, all of it.
    pub damage_total: u64,
    /// Where damaged files are now, in their order.
    pub quarantined: Vec<PathBuf>,
}

impl Redone {
    fn damage(&mut self, path: &Path, offset: usize, skipped_to: usize, reason: &'static str) {
        self.damage_total += 1;
        if self.damage.len() < MAX_DAMAGE_LISTED {
            let (offset, skipped_to) = (offset as u64, skipped_to as u64);
            self.damage.push(WalDamage { path: path.to_owned(), offset, skipped_to, reason, is_tail: false });
        }
    }
}

/// Puts what the log in common promised into the segments it belongs to, and removes it; damaged files go to the quarantine beside `wal_dir`.
///
/// Fails when a file cannot be read or written, and on a newer version; it can be called again then.
pub fn redo(fs: &dyn FileSystem, wal_dir: &Path) -> Result<Redone, StorageError> {
    let dir = wal_dir.join(DIR);
    let mut redone = Redone::default();
    let mut segments: BTreeMap<(u8, SegmentSequence), Vec<Piece>> = BTreeMap::new();
    let mut damaged = Vec::new();
    let files = writer::list(fs, &dir)?;
    for sequence in files.keys() {
        let before = redone.damage_total;
        let path = dir.join(segment::file_name(*sequence));
        for (segment, offset, bytes) in records(fs, &path, &mut redone)? {
            segments.entry(segment).or_default().push((offset, bytes));
        }
        if redone.damage_total > before {
            damaged.push(path);
        }
    }
    for ((lane, sequence), records) in segments {
        let path = segment::lane_dir(wal_dir, lane).join(segment::file_name(sequence));
        redone.segments += u64::from(restore(fs, &path, &records)?);
    }
    for path in &damaged {
        redone.quarantined.push(quarantine::set_aside(fs, wal_dir.parent().unwrap_or(wal_dir), path)?);
    }
    if !files.is_empty() {
        remove_all(fs, &dir)?;
    }
    Ok(redone)
}

/// What is damaged of the log in common, as [`redo`] would find it; changes nothing.
///
/// Fails when a file cannot be read, and on a newer version.
pub fn damage(fs: &dyn FileSystem, wal_dir: &Path) -> Result<Vec<WalDamage>, StorageError> {
    let dir = wal_dir.join(DIR);
    let mut found = Redone::default();
    for sequence in writer::list(fs, &dir)?.keys() {
        records(fs, &dir.join(segment::file_name(*sequence)), &mut found)?;
    }
    Ok(found.damage)
}

/// Bytes and their offset.
type Piece = (u64, Vec<u8>);

/// A piece and its segment.
type At = ((u8, SegmentSequence), u64, Vec<u8>);

/// The records of a file; they, and what is damaged, are counted.
fn records(fs: &dyn FileSystem, path: &Path, found: &mut Redone) -> Result<Vec<At>, StorageError> {
    let bytes = fs.read(path).map_err(StorageError::io("read", path))?;
    let seed = match SegmentHeader::parse(&bytes) {
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
        // The header was synced before anything followed it: alone, this file never promised.
        _ if bytes.len() <= segment::HEADER_BYTES => return Ok(Vec::new()),
        header => {
            let reason = match header {
                Err(segment::HeaderFault::Damaged(reason)) => reason,
                _ => "the header is not that of a log in common",
            };
            found.damage(path, 0, bytes.len(), reason);
            return Ok(Vec::new());
        }
    };
    let mut records = Vec::new();
    for step in Frames::new(&bytes, seed, segment::HEADER_BYTES) {
        match step {
            Step::Frame(frame) => match record(&frame) {
                Some(record) => records.push(record),
                None => {
                    let end = frame.offset + frame::HEADER_BYTES + frame.payload.len();
                    found.damage(path, frame.offset, end, "a record of a kind this version does not know");
                }
            },
            Step::Damaged { offset, skipped_to } => found.damage(path, offset, skipped_to, "no valid frame"),
            Step::TornTail { .. } => {}
        }
    }
    found.records += records.len() as u64;
    Ok(records)
}

fn record(frame: &Frame<'_>) -> Option<At> {
    let mut reader = ByteReader::new(frame.payload);
    let (lane, sequence, offset) = (reader.u8()?, SegmentSequence(reader.u64()?), reader.u64()?);
    (frame.kind == KIND).then(|| ((lane, sequence), offset, reader.rest().to_vec()))
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
