//! Files that appear whole or not at all.
//!
//! Commit order: write `<name>.tmp`, fsync it, rename it to `<name>`, fsync the directory. A crash leaves the old file (or none)
//! and perhaps a `.tmp`, which nobody reads.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::error::StorageError;
use super::fs::{FileSystem, OpenMode, WriteFile};

/// What a file not yet committed ends with.
pub const TMP_SUFFIX: &str = ".tmp";

/// Writes `bytes` as `dir/name`, replacing what is there; durable when it returns. `dir` must exist.
///
/// After an error the file is what it was before, or complete (when only the directory's fsync failed).
pub fn write(fs: &dyn FileSystem, dir: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, StorageError> {
    let tmp = tmp_path(dir, name);
    let path = dir.join(name);
    let written = write_synced(fs, &tmp, bytes)
        .map_err(StorageError::io("write", &tmp))
        .and_then(|()| fs.rename(&tmp, &path).map_err(StorageError::io("rename", &tmp)));
    if let Err(error) = written {
        discard(fs, &tmp);
        return Err(error);
    }
    fs.sync_dir(dir).map_err(StorageError::io("sync directory", dir))?;
    Ok(path)
}

/// A file that is written bit by bit and appears when it is committed. Dropped before that, it leaves nothing.
#[derive(Debug)]
pub struct Staged<'f> {
    fs: &'f dyn FileSystem,
    dir: PathBuf,
    name: String,
    file: Box<dyn WriteFile>,
    bytes: u64,
    is_committed: bool,
}

impl<'f> Staged<'f> {
    /// Begins what [`Self::commit`] makes `dir/name`. `dir` must exist.
    pub fn create(fs: &'f dyn FileSystem, dir: &Path, name: &str) -> Result<Self, StorageError> {
        let tmp = tmp_path(dir, name);
        let file = fs.open(&tmp, OpenMode::Replace).map_err(StorageError::io("create", &tmp))?;
        Ok(Self { fs, dir: dir.to_owned(), name: name.to_owned(), file, bytes: 0, is_committed: false })
    }

    /// Writes on.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let written = self.file.append(bytes);
        written.map_err(|error| StorageError::io("write", &tmp_path(&self.dir, &self.name))(error))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Bytes written.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes it what its name says, replacing what is there; durable when it returns. Errors are as with [`write()`].
    pub fn commit(mut self) -> Result<PathBuf, StorageError> {
        let (tmp, path) = (tmp_path(&self.dir, &self.name), self.dir.join(&self.name));
        self.file.sync().map_err(StorageError::io("sync", &tmp))?;
        self.fs.rename(&tmp, &path).map_err(StorageError::io("rename", &tmp))?;
        self.is_committed = true;
        self.fs.sync_dir(&self.dir).map_err(StorageError::io("sync directory", &self.dir))?;
        Ok(path)
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if !self.is_committed {
            discard(self.fs, &tmp_path(&self.dir, &self.name));
        }
    }
}

fn tmp_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}{TMP_SUFFIX}"))
}

fn write_synced(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs.open(path, OpenMode::Replace)?;
    file.append(bytes)?;
    file.sync()
}

/// Removes what a failed write left behind. The failure itself is what the caller reports.
pub(crate) fn discard(fs: &dyn FileSystem, path: &Path) {
    match fs.remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove an unfinished file");
        }
        _ => {}
    }
}
