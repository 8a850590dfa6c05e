//! Where objects are: the seam, and a directory of the file system.

use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::storage::atomic::{self, TMP_SUFFIX};
use crate::storage::error::StorageError;
use crate::storage::fs::FileSystem;

/// What became of an object to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored, durably.
    Stored,
    /// There is one of that key already; nothing was written.
    AlreadyThere,
}

/// An object that is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectMeta {
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
}

/// A flat store of immutable objects. Keys are `/`-separated, of letters, digits, `.`, `_`, `-` and `=`.
pub trait ObjectStore: Send + Sync + Debug {
    /// Stores an object under a key that has none; whole or not at all.
    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put, StorageError>;
    /// The whole object.
    fn get(&self, key: &str) -> Result<Vec<u8>, StorageError>;
    /// All objects below `prefix`, which ends at a `/` or is empty, by key.
    fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StorageError>;
    /// Deletes an object; one that is not there is fine.
    fn delete(&self, key: &str) -> Result<(), StorageError>;
}

/// A directory, its files the objects.
#[derive(Clone, Debug)]
pub struct LocalStore {
    fs: Arc<dyn FileSystem>,
    root: PathBuf,
}

impl LocalStore {
    /// Objects below `root`, which is made with the first.
    pub fn new(fs: Arc<dyn FileSystem>, root: PathBuf) -> Self {
        Self { fs, root }
    }

    fn path(&self, key: &str) -> PathBuf {
        key.split('/').fold(self.root.clone(), |path, part| path.join(part))
    }

    fn walk(&self, dir: &Path, prefix: &str, found: &mut Vec<ObjectMeta>) -> Result<(), StorageError> {
        let entries = match self.fs.list(dir) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
            listed => listed.map_err(StorageError::io("list", dir))?,
        };
        for entry in entries {
            let key = format!("{prefix}{}", entry.name);
            if entry.is_dir && key.bytes().filter(|byte| *byte == b'/').count() < 3 {
                self.walk(&dir.join(&entry.name), &format!("{key}/"), found)?;
            } else if !entry.is_dir && !entry.name.ends_with(TMP_SUFFIX) {
                found.push(ObjectMeta { key, bytes: entry.bytes });
            }
        }
        Ok(())
    }
}

impl ObjectStore for LocalStore {
    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put, StorageError> {
        let path = self.path(key);
        match self.fs.len(&path) {
            Ok(_) => return Ok(Put::AlreadyThere),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(StorageError::io("look at", &path)(source)),
        }
        let nameless = || io::Error::new(ErrorKind::InvalidInput, "a key names a directory and an object in it");
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(StorageError::io("write", &path)(nameless()));
        };
        self.fs.create_dir_all(dir).map_err(StorageError::io("create directory", dir))?;
        atomic::write(&*self.fs, dir, &name.to_string_lossy(), bytes)?;
        Ok(Put::Stored)
    }

    fn get(&self, key: &str) -> Result<Vec<u8>, StorageError> {
        let path = self.path(key);
        self.fs.read(&path).map_err(StorageError::io("read", &path))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StorageError> {
        let mut found = Vec::new();
        let dir = self.path(prefix.trim_end_matches('/'));
        self.walk(&dir, prefix, &mut found)?;
        found.sort_unstable();
        Ok(found)
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        let path = self.path(key);
        match self.fs.remove(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            removed => removed.map_err(StorageError::io("remove", &path))?,
        }
        let Some(dir) = path.parent() else { return Ok(()) };
        self.fs.sync_dir(dir).map_err(StorageError::io("sync directory", dir))
    }
}
