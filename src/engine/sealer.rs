//! The thread that makes closed segments history, so that no flush or commit waits while one is compressed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::error::EngineError;
use super::historian::Historian;
use crate::storage::StorageError;
use crate::storage::wal::SegmentSequence;

/// A segment of a lane's log.
pub(super) type Segment = (u8, SegmentSequence);

/// What became of a segment.
pub(super) type Sealed = (Segment, Result<(), StorageError>);

/// Hands segments to the thread. What waits is bounded by the segments there are.
#[derive(Debug)]
pub(super) struct Sealer {
    jobs: Sender<Segment>,
    done: Receiver<Sealed>,
    in_progress: BTreeSet<Segment>,
    thread: JoinHandle<()>,
}

impl Sealer {
    pub(super) fn start(historian: Arc<Historian>) -> Result<Self, EngineError> {
        let (jobs, segments) = channel::<Segment>();
        let (results, done) = channel();
        let work = move || {
            for segment in segments {
                let sealed = historian.seal(segment.0, segment.1);
                if results.send((segment, sealed)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("oddline-seal".into()).spawn(work);
        Ok(Self { jobs, done, in_progress: BTreeSet::new(), thread: thread.map_err(EngineError::Thread)? })
    }

    /// Begins with a segment, unless that is under way; it must not be removed before it is done.
    pub(super) fn submit(&mut self, segment: Segment) {
        if self.in_progress.insert(segment) && self.jobs.send(segment).is_err() {
            // The thread panicked: the segment stays as it is, and the next run seals it.
            self.in_progress.remove(&segment);
        }
    }

    /// What was done since the last time.
    pub(super) fn finished(&mut self) -> Option<Sealed> {
        let sealed = self.done.try_recv().ok()?;
        self.in_progress.remove(&sealed.0);
        Some(sealed)
    }

    /// The next that is done, waiting for it; `None` when nothing is under way.
    pub(super) fn wait(&mut self) -> Option<Sealed> {
        if self.in_progress.is_empty() {
            return None;
        }
        let Ok(sealed) = self.done.recv() else {
            self.in_progress.clear();
            return None;
        };
        self.in_progress.remove(&sealed.0);
        Some(sealed)
    }

    /// Ends the thread after what is under way.
    pub(super) fn stop(self) {
        drop(self.jobs);
        if self.thread.join().is_err() {
            tracing::error!("the sealing thread panicked");
        }
    }
}
