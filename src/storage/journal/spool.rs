//! Objects that the store has not taken yet: files of the data dir, one an object.
//!
//! `<dir>/<key, "/" as "+">`, written aside, synced and renamed ([`atomic`]): whole or not there. Removed once the store has it. The order of names is that of
//! keys: below a host by time, oldest first.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use crate::storage::atomic::{self, TMP_SUFFIX};
use crate::storage::error::StorageError;
use crate::storage::fs::FileSystem;

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

    /// Keys of what is there, oldest first.
    pub(super) fn keys(&mut self) -> Result<Vec<String>, StorageError> {
        let entries = match self.fs.list(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            listed => listed.map_err(StorageError::io("list", &self.dir))?,
        };
        let whole: Vec<_> = entries.into_iter().filter(|e| !e.is_dir && !e.name.ends_with(TMP_SUFFIX)).collect();
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
