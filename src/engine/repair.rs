//! Repairing a data dir that accidents happened to.
//!
//! Order, so that a crash at any moment loses nothing that is whole and can be repaired again:
//!
//! 1. under the data dir's lock every damaged file is copied to `quarantine/<its path>`, durably ([`atomic`]); one that is there already keeps its
//!    place and the new one gets a number; damaged vectors, which can be made anew, are removed then and there;
//! 2. the data dir is opened as a run would, which restores and replays what is whole, makes history of it and writes a checkpoint;
//! 3. damaged files of the history are replaced by what is whole of them, and the rest of what was copied is removed.
//!
//! Nothing is ever deleted from `quarantine/`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::EngineError;
use super::lane::FLAG_ANOMALY;
use super::open::{Engine, Environment};
use super::{feedback, notes, vectors};
use crate::config::Config;
use crate::event::Timestamp;
use crate::storage::chunk::{self, ChunkOptions, Level};
use crate::storage::wal;
use crate::storage::{DataDirLock, FileSystem, StorageError, atomic, checkpoint, chunk_dir};

const QUARANTINE: &str = "quarantine";

/// A file that is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedFile {
    /// Where it is, or was.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
    /// Where it was copied to; none before a repair.
    pub quarantined: Option<PathBuf>,
    /// Events of it that were kept, when it is part of the history.
    pub events_kept: Option<u64>,
}

/// Every file of the data dir that is damaged, found by reading all of them.
///
/// # Errors
/// When a file cannot be read, or is of a newer version.
pub fn damaged_files(fs: &dyn FileSystem, data_dir: &Path) -> Result<Vec<DamagedFile>, EngineError> {
    let mut found = Vec::new();
    damaged_checkpoints(fs, &data_dir.join("state"), &mut found)?;
    damaged_segments(fs, &data_dir.join("wal"), &mut found)?;
    damaged_history(fs, &data_dir.join("chunks"), &mut found)?;
    if let Some(bytes) = feedback::read_file(fs, data_dir)?
        && let Err(error) = feedback::decode_file(data_dir, &bytes)
    {
        found.push(damaged(feedback::file_path(data_dir), error.to_string()));
    }
    if let Err(error) = notes::read(fs, data_dir) {
        found.push(damaged(notes::file_path(data_dir), error.to_string()));
    }
    match vectors::read(fs, data_dir) {
        Err(error @ StorageError::Damaged { .. }) => {
            found.push(damaged(vectors::file_path(data_dir), error.to_string()));
        }
        read => drop(read?),
    }
    Ok(found)
}

fn damaged(path: PathBuf, reason: String) -> DamagedFile {
    DamagedFile { path, reason, quarantined: None, events_kept: None }
}

fn damaged_checkpoints(fs: &dyn FileSystem, dir: &Path, found: &mut Vec<DamagedFile>) -> Result<(), StorageError> {
    for sequence in checkpoint::list(fs, dir)? {
        let path = dir.join(checkpoint::file_name(sequence));
        let bytes = fs.read(&path).map_err(StorageError::io("read", &path))?;
        match checkpoint::decode(&path, &bytes) {
            Err(error @ StorageError::Damaged { .. }) => found.push(damaged(path, error.to_string())),
            Err(error) => return Err(error),
            Ok(checkpoint) if checkpoint.sequence != sequence => {
                found.push(damaged(path, "the header names another sequence than the file's name".to_owned()));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

fn damaged_segments(fs: &dyn FileSystem, wal_dir: &Path, found: &mut Vec<DamagedFile>) -> Result<(), StorageError> {
    for lane in wal::lanes(fs, wal_dir)? {
        for sequence in wal::segments(fs, wal_dir, lane)? {
            let read = wal::read_segment(fs, wal_dir, lane, sequence, &mut |_, _| {})?;
            // A tail that a crash tore is no damage.
            let damage = read.damage.iter().find(|damage| !damage.is_tail);
            if let Some(first) = damage {
                let reason = format!("byte {}: {}", first.offset, first.reason);
                found.push(damaged(first.path.clone(), reason));
            }
        }
    }
    Ok(())
}

fn damaged_history(fs: &dyn FileSystem, chunks_dir: &Path, found: &mut Vec<DamagedFile>) -> Result<(), StorageError> {
    for hour in chunk_dir::hours(fs, chunks_dir)? {
        let l1 = chunk_dir::chunks_of(fs, chunks_dir, hour)?.into_iter().map(|file| file.path);
        for path in l1.chain(chunk_dir::l2_of(fs, chunks_dir, hour)?) {
            match chunk::ChunkReader::open(fs, &path).and_then(|reader| reader.verify(fs)) {
                Err(error @ StorageError::Damaged { .. }) => found.push(damaged(path, error.to_string())),
                read => drop(read?),
            }
        }
    }
    Ok(())
}

/// Repairs `config.data_dir`; returns what was damaged and what became of it. Without damage nothing is changed.
///
/// # Errors
/// When the data dir is in use or cannot be read or written. It can be called again then.
pub fn repair(config: &Config, environment: Environment) -> Result<Vec<DamagedFile>, EngineError> {
    let Some(dir) = config.data_dir.as_deref() else { return Ok(Vec::new()) };
    let fs = &*environment.fs;
    let now = environment.clock.now();
    let lock = DataDirLock::acquire(dir, now)?;
    let mut found = damaged_files(fs, dir)?;
    if found.is_empty() {
        return Ok(found);
    }
    for file in &mut found {
        file.quarantined = Some(quarantine(fs, dir, &file.path)?);
    }
    if found.iter().any(|file| file.path == vectors::file_path(dir)) {
        vectors::remove(fs, dir, now)?;
    }
    drop(lock);
    let engine = Engine::open(config, environment.clone())?;
    engine.checkpoint()?;
    drop(engine);
    let _lock = DataDirLock::acquire(dir, now)?;
    let chunks_dir = dir.join("chunks");
    for file in &mut found {
        if file.path.starts_with(&chunks_dir) {
            file.events_kept = Some(replace_by_whole(fs, &file.path, config, now)?);
        } else {
            remove(fs, &file.path)?;
        }
    }
    Ok(found)
}

/// Copies a file to the quarantine; durable when it returns.
fn quarantine(fs: &dyn FileSystem, data_dir: &Path, path: &Path) -> Result<PathBuf, StorageError> {
    let within = path.strip_prefix(data_dir).unwrap_or(path);
    let target = data_dir.join(QUARANTINE).join(within);
    let (Some(dir), Some(name)) = (target.parent(), target.file_name()) else { return Ok(target) };
    let bytes = fs.read(path).map_err(StorageError::io("read", path))?;
    fs.create_dir_all(dir).map_err(StorageError::io("create directory", dir))?;
    let taken: BTreeMap<String, ()> =
        fs.list(dir).map_err(StorageError::io("list", dir))?.into_iter().map(|entry| (entry.name, ())).collect();
    let name = name.to_string_lossy().into_owned();
    let numbered = (1u64..).map(|number| format!("{name}.{number}"));
    let free = std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains_key(name));
    atomic::write(fs, dir, &free.unwrap_or(name), &bytes)
}

/// Puts what is whole of a damaged file of the history in its place; returns the events of it.
fn replace_by_whole(fs: &dyn FileSystem, path: &Path, config: &Config, now: Timestamp) -> Result<u64, StorageError> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(0) };
    let options = ChunkOptions {
        level: Level::L2,
        created: now,
        window_secs: u32::try_from(config.window_secs).unwrap_or(u32::MAX),
        marked_flag: FLAG_ANOMALY,
        keeps_events: true,
    };
    match chunk::salvage(fs, path, dir, &name.to_string_lossy(), options)? {
        Some(written) => Ok(written.events),
        None => remove(fs, path).map(|()| 0),
    }
}

/// One that is gone already (a checkpoint made it superfluous) is fine.
fn remove(fs: &dyn FileSystem, path: &Path) -> Result<(), StorageError> {
    match fs.remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StorageError::io("remove", path)(error)),
        _ => path.parent().map_or(Ok(()), |dir| fs.sync_dir(dir).map_err(StorageError::io("sync directory", dir))),
    }
}
