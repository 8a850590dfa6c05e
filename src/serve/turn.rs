//! The turns of requests: so many are under way, the others wait for a while, first come first served.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The permits of a listener.
#[derive(Debug)]
pub(crate) struct Turns {
    permits: Arc<Semaphore>,
    patience: Duration,
}

/// None ended in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a turn within {secs} s (receive_timeout_secs), as many requests as may be (concurrency) are under way: come again"
)]
pub(crate) struct Busy {
    secs: u64,
}

impl Turns {
    pub(crate) fn new(concurrency: usize, patience: Duration) -> Self {
        Self { permits: Arc::new(Semaphore::new(concurrency)), patience }
    }

    /// Waits for a turn, which is over when the permit is dropped.
    pub(crate) async fn take(&self) -> Result<OwnedSemaphorePermit, Busy> {
        // The semaphore is never closed.
        let permit = timeout(self.patience, Arc::clone(&self.permits).acquire_owned()).await.ok().and_then(Result::ok);
        permit.ok_or(Busy { secs: self.patience.as_secs() })
    }
}
