//! Files that appear whole or not at all.
//!
//! Commit order: write `<name>.tmp`, fsync it, rename it to `<name>`, fsync the directory. A crash leaves the old file (or none)
//! and perhaps a `.tmp`, which nobody reads.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::error::StorageError;
use super::fs::{FileSystem, OpenMode};

/// What a file not yet committed ends with.
pub const TMP_SUFFIX: &str = ".tmp";

/// Writes `bytes` as `dir/name`, replacing what is there; durable when it returns. `dir` must exist.
///
/// After an error the file is what it was before, or complete (when only the directory's fsync failed).
pub fn write(fs: &dyn FileSystem, dir: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, StorageError> {
    let tmp = dir.join(format!("{name}{TMP_SUFFIX}"));
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
