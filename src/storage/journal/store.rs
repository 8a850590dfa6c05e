//! Where objects are: the seam, and a directory of the file system.
//!
//! In a directory an object is written aside, synced and renamed ([`atomic`]), and the directory synced. One that is found there is as durable as one that is
//! written now: its directory is synced again, since the sync behind an earlier attempt may have failed. With the last object of an hour its
//! directories go.

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
    /// There is one of that key already, durably; nothing was written.
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
    /// Removes what writers that died left below `prefix`. Nobody may be writing there.
    fn sweep(&self, _prefix: &str) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Whether these bytes are what is stored under `key` now: written by this, or found. When it is false others are there, and stay.
pub(super) fn put_sure(store: &dyn ObjectStore, key: &str, bytes: &[u8]) -> Result<bool, StorageError> {
    Ok(match store.put_new(key, bytes)? {
        Put::Stored => true,
        Put::AlreadyThere => store.get(key)? == bytes,
    })
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

    fn sync_dir(&self, dir: &Path) -> Result<(), StorageError> {
        self.fs.sync_dir(dir).map_err(StorageError::io("sync directory", dir))
    }

    /// Removes `dir`, and those around it below the root, as far as they are empty; returns the first that stays.
    fn remove_empty<'d>(&self, dir: &'d Path) -> &'d Path {
        match dir.parent() {
            Some(parent) if dir != self.root && self.is_removed(dir) => self.remove_empty(parent),
            _ => dir,
        }
    }

    /// Whether the directory was empty and is gone. One that cannot be removed costs no more than its name.
    fn is_removed(&self, dir: &Path) -> bool {
        let removed = self.fs.remove_dir(dir);
        if let Err(error) = &removed
            && !matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound)
        {
            tracing::debug!(path = %dir.display(), %error, "cannot remove an empty directory");
        }
        removed.is_ok()
    }

    fn sweep_dir(&self, dir: &Path, depth: usize) -> Result<(), StorageError> {
        let entries = match self.fs.list(dir) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
            listed => listed.map_err(StorageError::io("list", dir))?,
        };
        for entry in entries {
            let path = dir.join(&entry.name);
            if entry.is_dir && depth < 3 {
                self.sweep_dir(&path, depth + 1)?;
            } else if !entry.is_dir && entry.name.ends_with(TMP_SUFFIX) {
                atomic::discard(&*self.fs, &path);
            }
        }
        self.remove_empty(dir);
        Ok(())
    }
}

impl ObjectStore for LocalStore {
    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put, StorageError> {
        let path = self.path(key);
        let nameless = || io::Error::new(ErrorKind::InvalidInput, "a key names a directory and an object in it");
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(StorageError::io("write", &path)(nameless()));
        };
        match self.fs.len(&path) {
            Ok(_) => return self.sync_dir(dir).map(|()| Put::AlreadyThere),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(StorageError::io("look at", &path)(source)),
        }
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
        path.parent().map_or(Ok(()), |dir| self.sync_dir(self.remove_empty(dir)))
    }

    fn sweep(&self, prefix: &str) -> Result<(), StorageError> {
        self.sweep_dir(&self.path(prefix.trim_end_matches('/')), prefix.matches('/').count())
    }
}
