//! What can go wrong around an engine; scoring itself never fails.

use crate::storage::{LockError, StorageError};
use crate::template::MaskError;

/// An engine cannot be opened, closed or made durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The data dir cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Something in the data dir cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A mask of the configuration does not compile.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// A rule of the configuration does not compile.
    #[error("rule {name:?}: {source}")]
    Rule {
        /// Its name.
        name: String,
        /// What is wrong with its pattern.
        source: Box<regex::Error>,
    },
    /// The baseline that a new data dir is to start from is not accepted.
    #[error("baseline: {0}")]
    Baseline(#[from] super::baseline::BaselineError),
    /// The journal of incidents cannot be had.
    #[error(transparent)]
    Journal(#[from] super::incidents::JournalError),
    /// This build has not the embedder that is configured.
    #[error(transparent)]
    Embedder(#[from] super::embedding::EmbedderError),
    /// There is nothing to calibrate by.
    #[error("no template with a word in it is known yet: there is nothing to calibrate by")]
    NothingToCalibrate,
    /// All 255 lanes are taken.
    #[error("all 255 lanes of this engine are taken: give one back before taking another")]
    TooManyLanes,
    /// The writer's thread cannot be started.
    #[error("cannot start the storage thread: {0}")]
    Thread(std::io::Error),
    /// What was asked for is not durable, since persistence failed earlier; scoring goes on.
    #[error("not durable: {reason}; scoring goes on, writing is tried again, at least every {retry_secs} s")]
    Degraded {
        /// The first failure.
        reason: String,
        /// Seconds between two attempts at most.
        retry_secs: i64,
    },
}
