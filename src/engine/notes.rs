//! What was said of incidents: "root cause: …".
//!
//! `<data dir>/notes/notes` is a file of the checkpoints' container ([`checkpoint`]) with one section, `notes`: a JSON list of [`Note`]. It is replaced as a whole
//! ([`atomic`]) by who holds the lock of its directory, which is not that of the data dir: an engine may be running. An engine reads it when it opens and
//! every ten seconds. A note holds what is needed to know its incident again, so that it outlives the journal's rows.
//!
//! Limits: [`MOST`] notes of [`MOST_BYTES`] bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::EngineError;
use super::incidents::{self, Incident, JournalError, Reading};
use crate::config::Config;
use crate::event::{EventId, Timestamp};
use crate::storage::{DataDirLock, FileSystem, StorageError, atomic, checkpoint};

/// Notes at most.
pub const MOST: usize = 1_000;

/// Bytes of a note's text at most.
pub const MOST_BYTES: usize = 4 << 10;

const DIR: &str = "notes";
const FILE: &str = "notes";
const SECTION: &str = "notes";

/// An incident's row is looked for this far from the time in its id, microseconds.
const NEAR: i64 = 3_600_000_000;

/// What was said of one incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// The incident's id.
    pub event_id: String,
    /// What was said.
    pub note: String,
    /// When it was said, milliseconds since the Unix epoch.
    pub noted_at_ms: i64,
    /// When the incident happened, as the journal has it.
    pub time: String,
    /// Its score.
    pub score: f64,
    /// Its template, 16 hex digits.
    pub template_id: String,
    /// Its template's text.
    pub template: String,
}

/// A note cannot be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The directory is locked.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The file is whole and yet not what it should be.
    #[error("notes in {}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Nothing was said, or too much.
    #[error("expected a note of 1 to {MOST_BYTES} bytes, found {found}")]
    Length {
        /// Bytes without the blanks around them.
        found: usize,
    },
    /// As many as can be kept.
    #[error("{MOST} notes are kept already: remove some (oddline note EVENT_ID --remove)")]
    Full,
    /// The journal has no such incident.
    #[error(
        "event {id} is not in the journal of the data dir: it was no incident, is older than what is kept, or not written yet"
    )]
    UnknownIncident {
        /// The event's id.
        id: String,
    },
    /// There is no note to remove.
    #[error("there is no note on event {id}: nothing was removed")]
    NothingNoted {
        /// The event's id.
        id: String,
    },
}

/// Where the file is.
pub(super) fn file_path(data_dir: &Path) -> PathBuf {
    data_dir.join(DIR).join(FILE)
}

/// The bytes of the file; `None` when there is none.
pub(super) fn read_file(fs: &dyn FileSystem, data_dir: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    let path = file_path(data_dir);
    fs.read_if_there(&path).map_err(StorageError::io("read", &path))
}

/// What the bytes of the file say.
pub(super) fn decode(data_dir: &Path, bytes: &[u8]) -> Result<Vec<Note>, NoteError> {
    let path = file_path(data_dir);
    let file = checkpoint::decode(&path, bytes)?;
    serde_json::from_slice(file.section(SECTION).unwrap_or(b"[]")).map_err(|source| NoteError::Content { path, source })
}

/// All notes of a data dir, in the order they were made.
///
/// # Errors
/// When the file cannot be read.
pub fn read(fs: &dyn FileSystem, data_dir: &Path) -> Result<Vec<Note>, NoteError> {
    read_file(fs, data_dir)?.map_or(Ok(Vec::new()), |bytes| decode(data_dir, &bytes))
}

/// Notes `text` on an incident of the journal, in place of what was noted before; durable when it returns.
///
/// # Errors
/// When the journal does not have it, there is no text or too much of it, or the file cannot be read or written.
pub fn note(
    config: &Config,
    fs: &Arc<dyn FileSystem>,
    event: EventId,
    text: &str,
    now: Timestamp,
) -> Result<Note, NoteError> {
    let text = text.trim();
    if text.is_empty() || text.len() > MOST_BYTES {
        return Err(NoteError::Length { found: text.len() });
    }
    let id = event.to_string();
    let incident = find(config, fs, event)?.ok_or_else(|| NoteError::UnknownIncident { id: id.clone() })?;
    let note = Note {
        event_id: id.clone(),
        note: text.to_owned(),
        noted_at_ms: now.as_millis(),
        time: incident.time,
        score: incident.score,
        template_id: incident.template_id,
        template: incident.template,
    };
    edit(config, fs, now, |notes| {
        notes.retain(|note| note.event_id != id);
        if notes.len() >= MOST {
            return Err(NoteError::Full);
        }
        notes.push(note.clone());
        Ok(())
    })?;
    Ok(note)
}

/// Takes a note back; durable when it returns.
///
/// # Errors
/// When there is none, or the file cannot be read or written.
pub fn remove(config: &Config, fs: &Arc<dyn FileSystem>, event: EventId, now: Timestamp) -> Result<(), NoteError> {
    let id = event.to_string();
    edit(config, fs, now, |notes| {
        let before = notes.len();
        notes.retain(|note| note.event_id != id);
        if notes.len() < before { Ok(()) } else { Err(NoteError::NothingNoted { id }) }
    })
}

/// The incident's row: of this data dir's host, or else of another, since one store may be of thousands of hosts.
fn find(config: &Config, fs: &Arc<dyn FileSystem>, event: EventId) -> Result<Option<Incident>, NoteError> {
    let id = event.to_string();
    let near = i64::try_from(event.millis).unwrap_or(i64::MAX).saturating_mul(1_000);
    let around = |micros: i64| Some(Timestamp(near.saturating_add(micros)));
    for host in [Some(incidents::host_of(config)), None] {
        let reading = Reading { since: around(-NEAR), until: around(NEAR), host, ..Reading::default() };
        let rows = incidents::read(config, fs, &reading)?.incidents;
        if let Some((_, row)) = rows.into_iter().find(|(_, row)| row.event_id == id) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// Reads, lets `change` change, and writes. One at a time: the directory is locked meanwhile.
fn edit(
    config: &Config,
    fs: &Arc<dyn FileSystem>,
    now: Timestamp,
    change: impl FnOnce(&mut Vec<Note>) -> Result<(), NoteError>,
) -> Result<(), NoteError> {
    let data_dir = config.data_dir.as_deref().ok_or(JournalError::NoDataDir)?;
    let dir = data_dir.join(DIR);
    let lock = DataDirLock::acquire(&dir, now).map_err(EngineError::from)?;
    let mut notes = read(&**fs, data_dir)?;
    change(&mut notes)?;
    // Texts, numbers and lists of them cannot fail to be written.
    let json = serde_json::to_vec(&notes).unwrap_or_default();
    let bytes = checkpoint::encode(0, now, &[(SECTION, &json)])?;
    fs.create_dir_all(&dir).map_err(StorageError::io("create directory", &dir))?;
    atomic::write(&**fs, &dir, FILE, &bytes)?;
    drop(lock);
    Ok(())
}
