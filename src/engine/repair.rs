//! Repairing a data dir that accidents happened to.
//!
//! Under the data dir's lock every file is read; without damage nothing is changed. Otherwise, in an order that loses nothing that is whole, whenever it is cut
//! short, and lets it be done again:
//!
//! 1. files of the history and objects of the journal: what is whole is written beside (`<name>.whole`, of the journal under the key it has then), the damaged
//!    file is moved to the [`quarantine`], and what was written takes its place; the next repair completes one that was cut short between;
//! 2. where the log is damaged, or no checkpoint is sound, what is whole is restored, replayed and made history, and one checkpoint is written
//!    (`Engine::settle`);
//! 3. the damaged checkpoints, segments and other files are moved to the quarantine.
//!
//! It keeps house for nobody: whatever the configuration says of caps and ages (it may not be the one the data dir is used with), no hour is merged or
//! expires, no template goes, the journal is not compacted, and the user's newest sound checkpoint stays.
//!
//! Counts of the history are kept where the file's summary reads, else they are those of the events that do. A journal that is in a bucket, or anywhere else
//! but in the data dir, is not repaired.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::error::EngineError;
use super::lane::FLAG_ANOMALY;
use super::open::{Engine, Environment, template_options};
use super::{feedback, notes, repair_journal, sections, vectors};
use crate::config::Config;
use crate::event::Timestamp;
use crate::storage::chunk::{self, ChunkOptions, Level};
use crate::storage::wal;
use crate::storage::wal::recover::WalDamage;
use crate::storage::{DataDirLock, FileSystem, StorageError, atomic, checkpoint, chunk_dir, quarantine};

/// Ends the name of what is whole of a file of the history until it takes the file's place.
const WHOLE_SUFFIX: &str = ".whole";

/// What kind of file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Of what was learned.
    Checkpoint,
    /// Of a lane's log.
    Log,
    /// Of the log in common.
    LogInCommon,
    /// Of the history.
    History,
    /// Of the journal, or of what waits to go there.
    Journal,
    /// What the user said or noted.
    Said,
    /// Of templates, by a model: they are made anew.
    Vectors,
}

/// A file that is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedFile {
    /// Where it is, or was.
    pub path: PathBuf,
    /// What kind of file.
    pub part: Part,
    /// What is wrong with it.
    pub reason: String,
    /// Where it is now; none before a repair.
    pub quarantined: Option<PathBuf>,
    /// Events of it that were kept, when it is part of the history; incidents, when it is of the journal.
    pub events_kept: Option<u64>,
    /// Events of it that are counted, kept or not, when it is part of the history.
    pub events_counted: Option<u64>,
}

/// Every file of `config.data_dir` that is damaged, found by reading all of them.
///
/// # Errors
/// When a file cannot be read, or is of a newer version.
pub fn damaged_files(config: &Config, fs: &Arc<dyn FileSystem>) -> Result<Vec<DamagedFile>, EngineError> {
    let Some(dir) = config.data_dir.as_deref() else { return Ok(Vec::new()) };
    let (store, fs) = (fs, &**fs);
    let mut found = Vec::new();
    damaged_checkpoints(fs, config, &dir.join("state"), &mut found)?;
    damaged_log(fs, &dir.join("wal"), &mut found)?;
    damaged_history(fs, &dir.join("chunks"), &mut found)?;
    let objects = repair_journal::find(store, dir)?;
    found.extend(objects.into_iter().map(|object| damaged(Part::Journal, object.path, object.reason)));
    if let Some(bytes) = feedback::read_file(fs, dir)?
        && let Err(error) = feedback::decode_file(dir, &bytes)
    {
        found.push(damaged(Part::Said, feedback::file_path(dir), error.to_string()));
    }
    if let Err(error) = notes::read(fs, dir) {
        found.push(damaged(Part::Said, notes::file_path(dir), error.to_string()));
    }
    match vectors::read(fs, dir) {
        Err(error @ StorageError::Damaged { .. }) => {
            found.push(damaged(Part::Vectors, vectors::file_path(dir), error.to_string()));
        }
        read => drop(read?),
    }
    Ok(found)
}

fn damaged(part: Part, path: PathBuf, reason: String) -> DamagedFile {
    DamagedFile { path, part, reason, quarantined: None, events_kept: None, events_counted: None }
}

fn damaged_checkpoints(
    fs: &dyn FileSystem,
    config: &Config,
    dir: &Path,
    found: &mut Vec<DamagedFile>,
) -> Result<(), EngineError> {
    let options = template_options(config)?;
    for sequence in checkpoint::list(fs, dir)? {
        let path = dir.join(checkpoint::file_name(sequence));
        let bytes = fs.read(&path).map_err(StorageError::io("read", &path))?;
        let reason = match checkpoint::decode(&path, &bytes) {
            Err(error @ StorageError::Damaged { .. }) => error.to_string(),
            Err(error) => return Err(error.into()),
            Ok(read) if read.sequence != sequence => {
                "the header names another sequence than the file's name".to_owned()
            }
            Ok(read) => match sections::restore(&read, config, options.clone()) {
                Ok(_) => continue,
                Err(error) => {
                    let reason = error.to_string();
                    error.refused(&path)?;
                    reason
                }
            },
        };
        found.push(damaged(Part::Checkpoint, path, reason));
    }
    Ok(())
}

fn damaged_log(fs: &dyn FileSystem, wal_dir: &Path, found: &mut Vec<DamagedFile>) -> Result<(), StorageError> {
    for lane in wal::lanes(fs, wal_dir)? {
        let segments = wal::segments(fs, wal_dir, lane)?;
        for sequence in &segments {
            let read = wal::read_segment(fs, wal_dir, lane, *sequence, &mut |_, _| {})?;
            // A tail that a crash tore is no damage, where nothing follows.
            let is_last = segments.last() == Some(sequence);
            let damage = read.damage.iter().find(|damage| !(damage.is_tail && is_last));
            found.extend(damage.map(|first| damaged_by(Part::Log, first)));
        }
    }
    let mut in_common = wal::group::damage(fs, wal_dir)?;
    in_common.dedup_by(|later, earlier| later.path == earlier.path);
    found.extend(in_common.iter().map(|first| damaged_by(Part::LogInCommon, first)));
    Ok(())
}

fn damaged_by(part: Part, first: &WalDamage) -> DamagedFile {
    damaged(part, first.path.clone(), format!("byte {}: {}", first.offset, first.reason))
}

fn damaged_history(fs: &dyn FileSystem, chunks_dir: &Path, found: &mut Vec<DamagedFile>) -> Result<(), StorageError> {
    for hour in chunk_dir::hours(fs, chunks_dir)? {
        let l1 = chunk_dir::chunks_of(fs, chunks_dir, hour)?.into_iter().map(|file| file.path);
        for path in l1.chain(chunk_dir::l2_of(fs, chunks_dir, hour)?) {
            match chunk::ChunkReader::open(fs, &path).and_then(|reader| reader.verify(fs)) {
                Err(error @ StorageError::Damaged { .. }) => {
                    found.push(damaged(Part::History, path, error.to_string()));
                }
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
    let fs = Arc::clone(&environment.fs);
    let now = environment.clock.now();
    let mut lock = DataDirLock::acquire(dir, now)?;
    complete(&*fs, &dir.join("chunks"))?;
    let mut found = damaged_files(config, &fs)?;
    for file in &mut found {
        match file.part {
            Part::History => replace_chunk(&*fs, dir, file, now)?,
            Part::Journal => replace_object(&*fs, dir, file)?,
            _ => {}
        }
    }
    if must_settle(&*fs, dir, &found)? {
        drop(lock);
        let report = Engine::settle(config, environment)?;
        lock = DataDirLock::acquire(dir, now)?;
        let in_common = found.iter_mut().filter(|file| file.part == Part::LogInCommon);
        in_common.zip(report.group.quarantined).for_each(|(file, place)| file.quarantined = Some(place));
    }
    for file in found.iter_mut().filter(|file| file.quarantined.is_none()) {
        let _vectors = (file.part == Part::Vectors).then(|| vectors::lock(dir, now)).transpose()?;
        file.quarantined = set_aside(&*fs, dir, &file.path)?;
    }
    drop(lock);
    Ok(found)
}

/// Whether what is whole of the log must be in a checkpoint before damaged files go.
fn must_settle(fs: &dyn FileSystem, dir: &Path, found: &[DamagedFile]) -> Result<bool, StorageError> {
    let of = |part: Part| found.iter().filter(|file| file.part == part).count();
    let checkpoints = checkpoint::list(fs, &dir.join("state"))?.len();
    Ok(of(Part::Log) + of(Part::LogInCommon) > 0 || (checkpoints > 0 && of(Part::Checkpoint) == checkpoints))
}

/// One that is gone already is fine.
fn set_aside(fs: &dyn FileSystem, dir: &Path, path: &Path) -> Result<Option<PathBuf>, StorageError> {
    match fs.len(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        _ => quarantine::set_aside(fs, dir, path).map(Some),
    }
}

/// Puts what is whole of a damaged file of the history in its place.
fn replace_chunk(
    fs: &dyn FileSystem,
    data_dir: &Path,
    file: &mut DamagedFile,
    now: Timestamp,
) -> Result<(), StorageError> {
    let (Some(dir), Some(name)) = (file.path.parent(), file.path.file_name()) else { return Ok(()) };
    let options =
        ChunkOptions { level: Level::L2, created: now, window_secs: 1, marked_flag: FLAG_ANOMALY, keeps_events: true };
    let name = format!("{}{WHOLE_SUFFIX}", name.to_string_lossy());
    let written = chunk::salvage(fs, &file.path, dir, &name, options)?;
    file.quarantined = Some(quarantine::set_aside(fs, data_dir, &file.path)?);
    let (mut kept, mut counted) = (0, 0);
    if let Some(written) = written {
        (kept, counted) = (written.events.saturating_sub(written.dropped_events), written.events);
        rename(fs, dir, &written.path, &file.path)?;
    }
    (file.events_kept, file.events_counted) = (Some(kept), Some(counted));
    Ok(())
}

/// Completes what a repair that was cut short left in the history.
fn complete(fs: &dyn FileSystem, chunks_dir: &Path) -> Result<(), StorageError> {
    for hour in chunk_dir::hours(fs, chunks_dir)? {
        let dir = chunks_dir.join(hour.to_string());
        for entry in fs.list(&dir).map_err(StorageError::io("list", &dir))? {
            let Some(name) = entry.name.strip_suffix(WHOLE_SUFFIX) else { continue };
            let (whole, path) = (dir.join(&entry.name), dir.join(name));
            match fs.len(&path) {
                // The damaged file is in the quarantine.
                Err(error) if error.kind() == ErrorKind::NotFound => rename(fs, &dir, &whole, &path)?,
                _ => atomic::discard(fs, &whole),
            }
        }
    }
    Ok(())
}

fn rename(fs: &dyn FileSystem, dir: &Path, from: &Path, to: &Path) -> Result<(), StorageError> {
    fs.rename(from, to).map_err(StorageError::io("rename", from))?;
    fs.sync_dir(dir).map_err(StorageError::io("sync directory", dir))
}

fn replace_object(fs: &dyn FileSystem, data_dir: &Path, file: &mut DamagedFile) -> Result<(), StorageError> {
    let (place, kept) = repair_journal::replace(fs, data_dir, &file.path)?;
    (file.quarantined, file.events_kept) = (Some(place), Some(kept));
    Ok(())
}
