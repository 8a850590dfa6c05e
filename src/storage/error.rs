//! What can go wrong with files, and whether one can go on.

use std::io;
use std::path::{Path, PathBuf};

/// A storage operation failed. Scoring goes on without it; each variant says what that means for persistence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The file system refused. A full disk may pass ([`Self::is_disk_full`]); what was durable before still is.
    #[error("cannot {operation} {path}: {source}", path = path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// Written by a newer oddline. Nothing was changed; go on with that version, or with another data dir.
    #[error("{path} is {what} of version {found}, this oddline reads up to version {supported}", path = path.display())]
    NewerVersion {
        /// The kind of file.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version this build reads.
        supported: u32,
    },
    /// The content does not check out. Other files are not affected.
    #[error("{path} is damaged at byte {offset}: {reason}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage was noticed.
        offset: u64,
        /// What was expected and not found.
        reason: &'static str,
    },
    /// An earlier fsync or repair failed: what the file holds is unknown, so this writer refuses to write on.
    /// Opening a new writer after recovery is the way back.
    #[error("{path} takes no more writes: an earlier sync or repair failed and its content is unknown", path = path.display())]
    Poisoned {
        /// The file.
        path: PathBuf,
    },
    /// More than the format can hold. Nothing was written.
    #[error("{what} of {bytes} bytes is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What was to be written.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The most the format takes.
        limit: u64,
    },
    /// The frames were encoded for another segment than the open one: a rotation is missing. Nothing was written.
    #[error("these frames do not belong to the open segment {path}: encoder and writer must rotate together", path = path.display())]
    ForeignFrames {
        /// The open segment.
        path: PathBuf,
    },
    /// Segments must be opened in ascending order. Nothing was written.
    #[error("segment {found} cannot follow segment {open} of lane {lane}: expected a higher number of the same lane")]
    SegmentOrder {
        /// The lane.
        lane: u8,
        /// The open segment.
        open: u64,
        /// The one asked for.
        found: u64,
    },
}

impl StorageError {
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, path: path.to_owned(), source }
    }

    /// No space is left: trying again later makes sense.
    pub fn is_disk_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Io { source, .. } if full.contains(&source.kind()))
    }

    /// The writer this came from will refuse everything from now on.
    pub fn is_poisoned(&self) -> bool {
        matches!(self, Self::Poisoned { .. })
    }
}
