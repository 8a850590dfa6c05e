//! A lane's open segment, on a background thread.
//!
//! Commit order: a segment's file is created, its header written and synced, its directory synced; only then frames are appended. Rotating syncs
//! the segment it leaves, so only the last segment can have a torn tail.
//!
//! A failed append is undone by truncating; what it held is lost, and the encoder must [begin a block](super::WalEncoder::begin_block) (or a
//! segment) for what follows to be readable at once. A failed sync or a failed undo poisons the writer: after a failed fsync nobody
//! knows which bytes reached the disk, and trying again reports success for bytes that are gone.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::segment::{self, SegmentHeader, SegmentSequence};
use crate::storage::error::StorageError;
use crate::storage::fs::{FileSystem, OpenMode, WriteFile};
use crate::storage::{atomic, frame};

/// Appends to the log of one lane.
#[derive(Debug)]
pub struct LaneWal {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    open: OpenSegment,
    /// Bytes of the segments before the open one.
    earlier: BTreeMap<SegmentSequence, u64>,
    poisoned: bool,
}

#[derive(Debug)]
struct OpenSegment {
    header: SegmentHeader,
    seed: u32,
    path: PathBuf,
    file: Box<dyn WriteFile>,
    length: u64,
    is_dirty: bool,
}

impl LaneWal {
    /// Starts the segment `header` of its lane. Recover the lane first: its report says which sequence comes next.
    pub fn open(fs: Arc<dyn FileSystem>, wal_dir: &Path, header: SegmentHeader) -> Result<Self, StorageError> {
        Self::open_in(fs, &segment::lane_dir(wal_dir, header.lane), header)
    }

    /// As [`Self::open`], in a directory of its own.
    pub(super) fn open_in(fs: Arc<dyn FileSystem>, dir: &Path, header: SegmentHeader) -> Result<Self, StorageError> {
        let dir = dir.to_owned();
        fs.create_dir_all(&dir).map_err(StorageError::io("create directory", &dir))?;
        let earlier = list(&*fs, &dir)?;
        if let Some((&last, _)) = earlier.last_key_value().filter(|(last, _)| **last >= header.sequence) {
            return Err(order_error(last, header));
        }
        let open = OpenSegment::create(&*fs, &dir, header)?;
        Ok(Self { fs, dir, open, earlier, poisoned: false })
    }

    /// Appends whole frames, as the encoder gave them for this segment. Not durable before [`Self::sync`].
    pub fn append(&mut self, frames: &[u8]) -> Result<(), StorageError> {
        self.check()?;
        if frames.is_empty() {
            return Ok(());
        }
        if frame::parse(frames, self.open.seed).is_none() {
            return Err(StorageError::ForeignFrames { path: self.open.path.clone() });
        }
        self.open.append(frames).inspect_err(|_| self.undo_append())
    }

    /// Returns once everything appended is durable.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        self.check()?;
        self.open.sync().inspect_err(|_| self.poisoned = true)
    }

    /// A handle on the open segment, for another thread to sync while this one appends; `None` when there is nothing to sync.
    /// [`Self::end_sync`] must come before the next sync or rotation: the failure of a sync is told once, to whom asks first.
    pub fn begin_sync(&mut self) -> Result<Option<Box<dyn WriteFile>>, StorageError> {
        self.check()?;
        if !self.open.is_dirty {
            return Ok(None);
        }
        match self.open.file.second() {
            Ok(file) => {
                self.open.is_dirty = false;
                Ok(Some(file))
            }
            // No handle is left: it is done here and now.
            Err(_) => self.sync().map(|()| None),
        }
    }

    /// Takes in what became of the sync that [`Self::begin_sync`] began.
    pub fn end_sync(&mut self, result: io::Result<()>) -> Result<(), StorageError> {
        result.map_err(StorageError::io("sync", &self.open.path)).inspect_err(|_| self.poisoned = true)
    }

    /// Syncs the open segment and starts `header`; returns the one left. When the new one cannot be started the old one stays open,
    /// and rotating can be tried again.
    pub fn rotate(&mut self, header: SegmentHeader) -> Result<SegmentSequence, StorageError> {
        let left = self.open.header;
        if header.lane != left.lane || header.sequence <= left.sequence {
            return Err(order_error(left.sequence, header));
        }
        self.sync()?;
        let next = OpenSegment::create(&*self.fs, &self.dir, header)?;
        self.earlier.insert(left.sequence, self.open.length);
        self.open = next;
        Ok(left.sequence)
    }

    /// Removes a segment, never the open one; one that is gone already is fine. Only what a durable checkpoint covers may go.
    pub fn remove(&mut self, sequence: SegmentSequence) -> Result<(), StorageError> {
        if !self.earlier.contains_key(&sequence) {
            return Ok(());
        }
        remove(&*self.fs, &self.dir, sequence)?;
        self.earlier.remove(&sequence);
        Ok(())
    }

    /// Bytes of this lane's segments on disk.
    pub fn bytes(&self) -> u64 {
        self.earlier.values().sum::<u64>() + self.open.length
    }

    /// The seed of the open segment's frames.
    pub(super) const fn seed(&self) -> u32 {
        self.open.seed
    }

    /// Bytes of the open segment.
    pub const fn segment_bytes(&self) -> u64 {
        self.open.length
    }

    /// The open segment.
    pub const fn sequence(&self) -> SegmentSequence {
        self.open.header.sequence
    }

    /// An earlier failure made this writer refuse everything.
    pub const fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    fn check(&self) -> Result<(), StorageError> {
        if self.poisoned { Err(StorageError::Poisoned { path: self.open.path.clone() }) } else { Ok(()) }
    }

    fn undo_append(&mut self) {
        if let Err(error) = self.open.file.truncate(self.open.length) {
            tracing::warn!(path = %self.open.path.display(), %error, "cannot undo a failed append");
            self.poisoned = true;
        }
    }
}

impl OpenSegment {
    fn create(fs: &dyn FileSystem, dir: &Path, header: SegmentHeader) -> Result<Self, StorageError> {
        let path = dir.join(segment::file_name(header.sequence));
        let file = fs.open(&path, OpenMode::New).map_err(StorageError::io("create", &path))?;
        let mut segment = Self { header, seed: header.seed(), path, file, length: 0, is_dirty: false };
        segment.start(fs, dir).inspect_err(|_| atomic::discard(fs, &segment.path))?;
        Ok(segment)
    }

    fn start(&mut self, fs: &dyn FileSystem, dir: &Path) -> Result<(), StorageError> {
        self.append(&self.header.to_bytes())?;
        self.sync()?;
        fs.sync_dir(dir).map_err(StorageError::io("sync directory", dir))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.file.append(bytes).map_err(StorageError::io("append to", &self.path))?;
        self.length += bytes.len() as u64;
        self.is_dirty = true;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        if self.is_dirty {
            self.file.sync().map_err(StorageError::io("sync", &self.path))?;
            self.is_dirty = false;
        }
        Ok(())
    }
}

/// Removes a segment from a lane's directory; one that is gone already is fine.
pub(crate) fn remove(fs: &dyn FileSystem, dir: &Path, sequence: SegmentSequence) -> Result<(), StorageError> {
    let path = dir.join(segment::file_name(sequence));
    match fs.remove(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StorageError::io("remove", &path)(error)),
        _ => Ok(()),
    }
}

/// Segments in a lane's directory and their bytes.
pub(crate) fn list(fs: &dyn FileSystem, dir: &Path) -> Result<BTreeMap<SegmentSequence, u64>, StorageError> {
    let entries = match fs.list(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        listed => listed.map_err(StorageError::io("list", dir))?,
    };
    let files = entries.into_iter().filter(|entry| !entry.is_dir);
    Ok(files.filter_map(|entry| Some((segment::parse_file_name(&entry.name)?, entry.bytes))).collect())
}

fn order_error(open: SegmentSequence, header: SegmentHeader) -> StorageError {
    StorageError::SegmentOrder { lane: header.lane, open: open.0, found: header.sequence.0 }
}
