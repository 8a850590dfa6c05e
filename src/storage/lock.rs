//! One process at a time: the `LOCK` file of a data dir.
//!
//! `LOCK` holds two lines of text for people and error messages:
//!
//! ```text
//! pid 4711
//! since 1764000000000000
//! ```
//!
//! (`since`: microseconds since the Unix epoch.) The truth is the operating system's advisory lock on the file, which goes away
//! with its process however that ends: a stale `LOCK` blocks nobody, and a pid that was given out again confuses nobody. The
//! file stays when the lock is released; removing it would let two holders lock two files of one name. Where somebody removes it all the same,
//! or the data dir with it, the lock is of a file that nobody else finds: [`DataDirLock::hold`] notices, and takes the one there is now.
//! Advisory locks are not to be trusted on some network file systems: a data dir belongs on a local disk.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::fs::{self, FileSystem as _, RealFs};
use crate::event::Timestamp;

/// Name of the lock file in the data dir.
pub const LOCK_FILE: &str = "LOCK";

/// Why a data dir cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process has it.
    #[error("data dir {path} is in use by another process ({})", pid.map_or("pid unknown".into(), |pid| format!("pid {pid}")), path = path.display())]
    HeldByProcess {
        /// The data dir.
        path: PathBuf,
        /// Who holds it; `None` when the lock file does not say.
        pid: Option<u32>,
    },
    /// This process has it already; share that engine.
    #[error("data dir {path} is already open in this process (pid {pid})", path = path.display())]
    HeldHere {
        /// The data dir.
        path: PathBuf,
        /// This process.
        pid: u32,
    },
    /// There is something else by that name.
    #[error("data dir {path} is not a directory", path = path.display())]
    NotADirectory {
        /// The path asked for.
        path: PathBuf,
    },
    /// It does not exist and could not be made.
    #[error("data dir {path} does not exist and cannot be created: {source}", path = path.display())]
    NotCreatable {
        /// The path asked for.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// It exists, but this user may not write there.
    #[error("data dir {path} is not writable: {source}", path = path.display())]
    NotWritable {
        /// The data dir.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// Anything else the file system said.
    #[error("cannot lock data dir {path}: {source}", path = path.display())]
    Io {
        /// The data dir.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

/// Holds a data dir until it is dropped or the process ends.
#[derive(Debug)]
pub struct DataDirLock {
    dir: PathBuf,
    // Closing the file releases the lock.
    file: Mutex<File>,
}

impl DataDirLock {
    /// Takes the data dir `dir`, creating it, durably, when it does not exist. Never waits.
    pub fn acquire(dir: &Path, now: Timestamp) -> Result<Self, LockError> {
        Ok(Self { dir: dir.to_owned(), file: Mutex::new(locked(dir, now)?) })
    }

    /// Makes sure that what is locked is what others find: a `LOCK` that was removed, also with its data dir, or another one in its place is
    /// taken as [`Self::acquire`] does. True when that was so: what this process wrote to the data dir may be gone.
    ///
    /// # Errors
    /// When it cannot be taken, as when another process has it by now. The data dir is not this process's then.
    pub fn hold(&self, now: Timestamp) -> Result<bool, LockError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.dir.join(LOCK_FILE);
        if is_at(&file, &path).map_err(|source| LockError::Io { path: self.dir.clone(), source })? {
            return Ok(false);
        }
        *file = locked(&self.dir, now)?;
        Ok(true)
    }

    /// The data dir held.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn locked(dir: &Path, now: Timestamp) -> Result<File, LockError> {
    ensure_dir(dir)?;
    let path = dir.join(LOCK_FILE);
    let opened = fs::creating().read(true).write(true).truncate(false).open(&path);
    let mut file = opened.map_err(|source| refused(dir, source))?;
    file.try_lock().map_err(|error| not_locked(dir, &path, error))?;
    // The lock holds without its text, which a full disk has no room for.
    if let Err(error) = describe_holder(&mut file, now) {
        tracing::warn!(path = %path.display(), %error, "cannot say in the lock file who holds it");
    }
    Ok(file)
}

/// Whether `path` is a name of `file`.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(found) => is_same(&file.metadata()?, &found),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn is_same(a: &std::fs::Metadata, b: &std::fs::Metadata) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    Ok((a.dev(), a.ino()) == (b.dev(), b.ino()))
}

/// Elsewhere a file that is open keeps its name.
#[cfg(not(unix))]
fn is_same(_: &std::fs::Metadata, _: &std::fs::Metadata) -> io::Result<bool> {
    Ok(true)
}

fn ensure_dir(dir: &Path) -> Result<(), LockError> {
    let path = dir.to_owned();
    match std::fs::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(LockError::NotADirectory { path }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            RealFs.create_dir_all(dir).map_err(|source| LockError::NotCreatable { path, source })
        }
        Err(source) => Err(LockError::NotCreatable { path, source }),
    }
}

fn refused(dir: &Path, source: io::Error) -> LockError {
    let path = dir.to_owned();
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => LockError::NotWritable { path, source },
        _ => LockError::Io { path, source },
    }
}

fn not_locked(dir: &Path, lock: &Path, error: TryLockError) -> LockError {
    let path = dir.to_owned();
    match error {
        TryLockError::Error(source) => LockError::Io { path, source },
        TryLockError::WouldBlock => match holder(lock) {
            Some(pid) if pid == std::process::id() => LockError::HeldHere { path, pid },
            pid => LockError::HeldByProcess { path, pid },
        },
    }
}

/// The pid in a lock file. A file that cannot be read (Windows locks reading, too) names nobody.
fn holder(lock: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(lock).ok()?;
    text.lines().find_map(|line| line.strip_prefix("pid ")).and_then(|pid| pid.trim().parse().ok())
}

fn describe_holder(file: &mut File, now: Timestamp) -> io::Result<()> {
    file.set_len(0)?;
    write!(file, "pid {}\nsince {}\n", std::process::id(), now.0)
}
