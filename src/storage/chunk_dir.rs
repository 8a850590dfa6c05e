//! Where the history lies: `chunks/<YYYYMMDDTHH>/`, the hour in UTC in which a segment of the log was begun.
//!
//! ```text
//! <lane:02x>-<sequence:016x>.chunk   L1, a segment of the log
//! hour.l2                            L2, what was L1 before the hour was merged
//! ```
//!
//! Files are written as [`atomic`](super::atomic) says; writing one again replaces it. A segment that both name counts once, from L2: a crash
//! came between writing L2 and removing L1. Names that are neither are left alone and not listed.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::chunk::{self, ChunkOptions, ChunkReader, ChunkWriter, Merged};
use super::error::StorageError;
use super::fs::{DirEntry, FileSystem};
use super::hour::Hour;

const SUFFIX: &str = ".chunk";
const L2_NAME: &str = "hour.l2";

/// An L1 file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkFile {
    /// The lane.
    pub lane: u8,
    /// Its segment.
    pub sequence: u64,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// Begins the L1 file of a segment.
pub fn create_l1<'f>(
    fs: &'f dyn FileSystem,
    chunks_dir: &Path,
    hour: Hour,
    (lane, sequence): (u8, u64),
    options: ChunkOptions,
) -> Result<ChunkWriter<'f>, StorageError> {
    let dir = chunks_dir.join(hour.to_string());
    fs.create_dir_all(&dir).map_err(StorageError::io("create directory", &dir))?;
    let mut writer = ChunkWriter::create(fs, &dir, &file_name(lane, sequence), options)?;
    writer.add_source(lane, sequence);
    Ok(writer)
}

/// Hours that have a directory, oldest first. A missing directory has none.
pub fn hours(fs: &dyn FileSystem, chunks_dir: &Path) -> Result<Vec<Hour>, StorageError> {
    let entries = list(fs, chunks_dir)?;
    let mut hours: Vec<Hour> = entries.iter().filter(|e| e.is_dir).filter_map(|e| e.name.parse().ok()).collect();
    hours.sort_unstable();
    Ok(hours)
}

/// L1 files of an hour, by lane and sequence.
pub fn chunks_of(fs: &dyn FileSystem, chunks_dir: &Path, hour: Hour) -> Result<Vec<ChunkFile>, StorageError> {
    let dir = chunks_dir.join(hour.to_string());
    let file = |entry: DirEntry| {
        let (lane, sequence) = parse_file_name(&entry.name).filter(|_| !entry.is_dir)?;
        Some(ChunkFile { lane, sequence, path: dir.join(entry.name), bytes: entry.bytes })
    };
    let mut files: Vec<ChunkFile> = list(fs, &dir)?.into_iter().filter_map(file).collect();
    files.sort_unstable();
    Ok(files)
}

/// The L2 file of an hour, when there is one.
pub fn l2_of(fs: &dyn FileSystem, chunks_dir: &Path, hour: Hour) -> Result<Option<PathBuf>, StorageError> {
    let dir = chunks_dir.join(hour.to_string());
    let is_there = list(fs, &dir)?.iter().any(|entry| !entry.is_dir && entry.name == L2_NAME);
    Ok(is_there.then(|| dir.join(L2_NAME)))
}

/// What an hour holds.
#[derive(Debug, Default)]
pub struct HourFiles {
    /// Files that can be opened; no event is in two of them.
    pub readers: Vec<ChunkReader>,
    /// Files that cannot.
    pub damaged: Vec<StorageError>,
}

/// How often an hour is looked at again because it was being merged.
const LOOKS: usize = 4;

/// Opens the files of an hour, which may be merged or expire meanwhile.
pub fn open_hour(fs: &dyn FileSystem, chunks_dir: &Path, hour: Hour) -> Result<HourFiles, StorageError> {
    let mut look = 0;
    loop {
        look += 1;
        let mut files = HourFiles::default();
        let mut all_there = true;
        // L1 is listed first: what is merged between the two listings is in L2 then.
        let l1 = chunks_of(fs, chunks_dir, hour)?;
        if let Some(path) = l2_of(fs, chunks_dir, hour)? {
            all_there &= files.open(fs, &path)?;
        }
        let merged: BTreeSet<(u8, u64)> = files.sources().collect();
        for file in l1.iter().filter(|file| !merged.contains(&(file.lane, file.sequence))) {
            all_there &= files.open(fs, &file.path)?;
        }
        if all_there || look >= LOOKS {
            return Ok(files);
        }
    }
}

impl HourFiles {
    /// False when it is gone.
    fn open(&mut self, fs: &dyn FileSystem, path: &Path) -> Result<bool, StorageError> {
        match ChunkReader::open(fs, path) {
            Ok(reader) => self.readers.push(reader),
            Err(StorageError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error @ StorageError::Damaged { .. }) => self.damaged.push(error),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn sources(&self) -> impl Iterator<Item = (u8, u64)> + '_ {
        self.readers.iter().flat_map(|reader| reader.summary().sources.iter().copied())
    }
}

/// Makes the names of all files of the history durable: a run that was killed may have left some that are not.
pub fn sync(fs: &dyn FileSystem, chunks_dir: &Path) -> Result<(), StorageError> {
    let hours = hours(fs, chunks_dir)?;
    let dirs = hours.iter().map(|hour| chunks_dir.join(hour.to_string()));
    dirs.chain((!hours.is_empty()).then(|| chunks_dir.to_owned()))
        .try_for_each(|dir| fs.sync_dir(&dir).map_err(StorageError::io("sync directory", &dir)))
}

/// Segments of the log that are in the history, by lane and sequence. A damaged file stands for the segment it is named after.
pub fn sealed_segments(fs: &dyn FileSystem, chunks_dir: &Path) -> Result<BTreeSet<(u8, u64)>, StorageError> {
    let mut found = BTreeSet::new();
    for hour in hours(fs, chunks_dir)? {
        found.extend(chunks_of(fs, chunks_dir, hour)?.into_iter().map(|file| (file.lane, file.sequence)));
        if let Some(path) = l2_of(fs, chunks_dir, hour)? {
            match ChunkReader::open(fs, &path) {
                Ok(reader) => found.extend(reader.summary().sources.iter().copied()),
                Err(StorageError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

/// Makes the hour's L1 files part of its L2 file, durably, then removes them. Nothing is done for an hour without L1 files; `None` then.
///
/// With a damaged L2 file nothing is done, since it would have to be replaced; with a damaged L1 file the others are merged.
pub fn merge_hour(
    fs: &dyn FileSystem,
    chunks_dir: &Path,
    hour: Hour,
    options: ChunkOptions,
) -> Result<Option<Merged>, StorageError> {
    let l1 = chunks_of(fs, chunks_dir, hour)?;
    if l1.is_empty() {
        return Ok(None);
    }
    let dir = chunks_dir.join(hour.to_string());
    let l2 = l2_of(fs, chunks_dir, hour)?;
    let merged_before: BTreeSet<(u8, u64)> = match &l2 {
        Some(path) => ChunkReader::open(fs, path)?.summary().sources.iter().copied().collect(),
        None => BTreeSet::new(),
    };
    let (covered, new): (Vec<_>, Vec<_>) =
        l1.into_iter().partition(|file| merged_before.contains(&(file.lane, file.sequence)));
    if !covered.is_empty() {
        // The merge before this one may have failed after L2 had its name: it has to keep it before anything goes.
        fs.sync_dir(&dir).map_err(StorageError::io("sync directory", &dir))?;
    }
    remove_all(fs, &dir, covered.iter().map(|file| &file.path))?;
    if new.is_empty() {
        return Ok(None);
    }
    if let Some(path) = &l2 {
        ChunkReader::open(fs, path)?.verify(fs)?;
    }
    let inputs: Vec<PathBuf> = l2.iter().cloned().chain(new.into_iter().map(|file| file.path)).collect();
    let merged = chunk::merge(fs, &dir, L2_NAME, options, &inputs)?;
    remove_all(fs, &dir, merged.merged.iter().filter(|path| Some(*path) != l2.as_ref()))?;
    Ok(Some(merged))
}

fn remove_all<'p>(
    fs: &dyn FileSystem,
    dir: &Path,
    paths: impl Iterator<Item = &'p PathBuf>,
) -> Result<(), StorageError> {
    let mut removed = false;
    for path in paths {
        fs.remove(path).map_err(StorageError::io("remove", path))?;
        removed = true;
    }
    if removed { fs.sync_dir(dir).map_err(StorageError::io("sync directory", dir)) } else { Ok(()) }
}

fn list(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<DirEntry>, StorageError> {
    match fs.list(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(StorageError::io("list", dir)),
    }
}

fn file_name(lane: u8, sequence: u64) -> String {
    format!("{lane:02x}-{sequence:016x}{SUFFIX}")
}

fn parse_file_name(name: &str) -> Option<(u8, u64)> {
    let (lane, sequence) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let (lane, sequence) = (u8::from_str_radix(lane, 16).ok()?, u64::from_str_radix(sequence, 16).ok()?);
    (file_name(lane, sequence) == name).then_some((lane, sequence))
}
