//! The thread that syncs logs while the storage thread goes on appending.
//!
//! One batch at a time: a handle of each log with something to sync. The next is begun when this one's results were taken, so that whoever must know
//! what became of a log waits for them first: a failed fsync is told once, on whichever handle asks.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::error::EngineError;
use crate::storage::fs::WriteFile;

/// Logs by lane.
pub(super) type Batch = Vec<(u8, Box<dyn WriteFile>)>;

/// What became of them.
pub(super) type Synced = Vec<(u8, io::Result<()>)>;

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Syncer {
    sender: Option<SyncSender<Batch>>,
    results: Receiver<Synced>,
    /// Lanes of the batch whose results were not taken yet.
    running: Vec<u8>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start() -> Result<Self, EngineError> {
        let (sender, batches) = sync_channel::<Batch>(1);
        let (done, results) = sync_channel(1);
        let work = move || {
            for batch in batches {
                let synced = batch.into_iter().map(|(lane, mut file)| (lane, file.sync())).collect();
                if done.send(synced).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("oddline-sync".into()).spawn(work);
        let thread = Some(thread.map_err(EngineError::Thread)?);
        Ok(Self { sender: Some(sender), results, running: Vec::new(), thread })
    }

    /// No batch runs.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Begins a batch; none may run.
    pub(super) fn begin(&mut self, batch: Batch) {
        self.running = batch.iter().map(|(lane, _)| *lane).collect();
        if !batch.is_empty()
            && let Some(sender) = &self.sender
            && sender.send(batch).is_err()
        {
            tracing::error!("the thread that syncs logs is gone");
        }
    }

    /// The results of the batch, if it has ended.
    pub(super) fn finished(&mut self) -> Option<Synced> {
        if self.is_idle() {
            return None;
        }
        match self.results.try_recv() {
            Ok(synced) => Some(self.taken(synced)),
            Err(std::sync::mpsc::TryRecvError::Empty) => None,
            Err(std::sync::mpsc::TryRecvError::Disconnected) => Some(self.lost()),
        }
    }

    /// The results of the batch, once it has ended; `None` when none runs.
    pub(super) fn wait(&mut self) -> Option<Synced> {
        if self.is_idle() {
            return None;
        }
        match self.results.recv() {
            Ok(synced) => Some(self.taken(synced)),
            Err(_) => Some(self.lost()),
        }
    }

    fn taken(&mut self, synced: Synced) -> Synced {
        self.running.clear();
        synced
    }

    /// Nobody knows what became of them.
    fn lost(&mut self) -> Synced {
        let gone = || io::Error::other("the thread that syncs logs is gone");
        self.running.drain(..).map(|lane| (lane, Err(gone()))).collect()
    }

    /// Ends the thread after the batch that runs.
    pub(super) fn stop(&mut self) {
        self.sender = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that syncs logs panicked");
        }
    }
}
