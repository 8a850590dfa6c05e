//! Objects that the store has not taken yet: files of the data dir, one an object.
//!
//! `<dir>/<key, "/" as "+">`, written aside, synced and renamed ([`atomic`]): whole or not there. Removed once the store has it. What was damaged since
//! does not match the checksum in its key: it stays, is read as far as it can be, and counts towards the cap. The order of names is that of
//! keys: below a host by time, oldest first.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use crate::storage::atomic::{self, TMP_SUFFIX};
use crate::storage::error::StorageError;
use crate::storage::fs::{DirEntry, FileSystem};

/// A directory of objects to be stored, up to a cap.
#[derive(Debug)]
pub(super) struct Spool {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    most_bytes: u64,
    /// Bytes of what is there; none before the directory was looked at.
    bytes: Option<u64>,
}

impl Spool {
    pub(super) fn new(fs: Arc<dyn FileSystem>, dir: PathBuf, most_bytes: u64) -> Self {
        Self { fs, dir, most_bytes, bytes: None }
    }

    /// Removes what a process that died had begun to write. Nobody may be writing.
    pub(super) fn sweep(&self) -> Result<(), StorageError> {
        let unfinished = self.entries()?.into_iter().filter(|entry| entry.name.ends_with(TMP_SUFFIX));
        unfinished.for_each(|entry| atomic::discard(&*self.fs, &self.dir.join(entry.name)));
        Ok(())
    }

    /// The files of the directory; none when there is no directory.
    fn entries(&self) -> Result<Vec<DirEntry>, StorageError> {
        let mut entries = match self.fs.list(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            listed => listed.map_err(StorageError::io("list", &self.dir))?,
        };
        entries.retain(|entry| !entry.is_dir);
        Ok(entries)
    }

    /// Keys of what is there, oldest first.
    pub(super) fn keys(&mut self) -> Result<Vec<String>, StorageError> {
        let mut whole = self.entries()?;
        whole.retain(|entry| !entry.name.ends_with(TMP_SUFFIX));
        self.bytes = Some(whole.iter().map(|entry| entry.bytes).sum());
        Ok(whole.into_iter().map(|entry| entry.name.replace('+', "/")).collect())
    }

    /// Keeps an object; false when there is no room.
    pub(super) fn put(&mut self, key: &str, bytes: &[u8]) -> Result<bool, StorageError> {
        let used = match self.bytes {
            Some(used) => used,
            None => {
                self.keys()?;
                self.bytes.unwrap_or(0)
            }
        };
        let after = used.saturating_add(bytes.len() as u64);
        if after > self.most_bytes {
            return Ok(false);
        }
        self.fs.create_dir_all(&self.dir).map_err(StorageError::io("create directory", &self.dir))?;
        atomic::write(&*self.fs, &self.dir, &name(key), bytes)?;
        self.bytes = Some(after);
        Ok(true)
    }

    pub(super) fn get(&self, key: &str) -> Result<Vec<u8>, StorageError> {
        let path = self.dir.join(name(key));
        self.fs.read(&path).map_err(StorageError::io("read", &path))
    }

    pub(super) fn remove(&mut self, key: &str) -> Result<(), StorageError> {
        let path = self.dir.join(name(key));
        self.bytes = None;
        self.fs.remove(&path).map_err(StorageError::io("remove", &path))
    }
}

fn name(key: &str) -> String {
    key.replace('/', "+")
}
