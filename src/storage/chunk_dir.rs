//! Where chunks lie: `chunks/<YYYYMMDDTHH>/<lane:02x>-<sequence:016x>.chunk`, the hour in UTC.
//!
//! Written as [`atomic`] says; writing a chunk again replaces it. Names that are no hour or no chunk are left alone and not listed.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::atomic;
use super::chunk::{self, Chunk};
use super::error::StorageError;
use super::fs::{DirEntry, FileSystem};
use super::hour::Hour;

const SUFFIX: &str = ".chunk";

/// A chunk's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkFile {
    /// The lane.
    pub lane: u8,
    /// Its number in the lane.
    pub sequence: u64,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// Writes an encoded chunk; durable when it returns.
pub fn write(
    fs: &dyn FileSystem,
    chunks_dir: &Path,
    hour: Hour,
    lane: u8,
    sequence: u64,
    bytes: &[u8],
) -> Result<PathBuf, StorageError> {
    let dir = chunks_dir.join(hour.to_string());
    fs.create_dir_all(&dir).map_err(StorageError::io("create directory", &dir))?;
    atomic::write(fs, &dir, &file_name(lane, sequence), bytes)
}

/// Reads a chunk. Fails when it is damaged or of a newer version.
pub fn read(fs: &dyn FileSystem, path: &Path) -> Result<Chunk, StorageError> {
    let bytes = fs.read(path).map_err(StorageError::io("read", path))?;
    chunk::decode(path, &bytes)
}

/// Hours that have a directory, oldest first. A missing directory has none.
pub fn hours(fs: &dyn FileSystem, chunks_dir: &Path) -> Result<Vec<Hour>, StorageError> {
    let entries = list(fs, chunks_dir)?;
    let mut hours: Vec<Hour> = entries.iter().filter(|e| e.is_dir).filter_map(|e| e.name.parse().ok()).collect();
    hours.sort_unstable();
    Ok(hours)
}

/// Chunks of an hour, by lane and sequence.
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
