//! The output: learns from chunks and keeps their history, and sends nothing anywhere.
//!
//! A flush is answered with [`Answer::Ok`] when everything learned from the chunk is on disk, whatever `durability` says, and with [`Answer::Retry`] while it cannot
//! be written. Flushes come from coroutines and, with several workers, at once: all of them hand their chunk to the output's own
//! thread and wait. Chunks that wait together are made durable together.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use oddline::engine::Environment;
use oddline::plugin::{Component, guard};

use crate::chunk::Scorer;
use crate::config::{self, Property, Settings};
use crate::filter::NotMade;
use crate::metrics_file::MetricsFile;
use crate::trouble::{Level, Message, Watch, farewell};

/// What messages and errors call it.
pub(crate) const ORIGIN: &str = "output oddline";

/// The most chunks that are made durable together.
const MAX_TOGETHER: usize = 64;

/// What Fluent Bit is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Answer {
    /// The chunk is lost to this output.
    Error = 0,
    /// It is on disk.
    Ok = 1,
    /// Not now.
    Retry = 2,
}

struct Job {
    chunk: Vec<u8>,
    answer: SyncSender<Answer>,
}

struct Worker {
    jobs: SyncSender<Job>,
    thread: JoinHandle<Box<Kept>>,
}

/// An instance of the output.
pub(crate) struct Output {
    /// Taken by the thread, which starts with the first flush. Boxed: it is moved on a coroutine's stack.
    kept: Mutex<Option<Box<Kept>>>,
    worker: OnceLock<Option<Worker>>,
    messages: Arc<Mutex<Vec<Message>>>,
}

impl Output {
    /// Checks the properties. Touches no file.
    pub(crate) fn new(properties: &[Property]) -> Result<Self, NotMade> {
        let Settings { config, metrics_file } = config::read(properties, ORIGIN)?;
        let component = Component::new(config, Environment::system())?;
        let messages = Arc::default();
        let (scorer, watch) = (Scorer::new(component), Watch::new(metrics_file.map(MetricsFile::new)));
        let kept = Box::new(Kept { scorer, watch, messages: Arc::clone(&messages) });
        Ok(Self { kept: Mutex::new(Some(kept)), worker: OnceLock::new(), messages })
    }

    /// Learns from a chunk and returns when that is on disk, or cannot be.
    pub(crate) fn flush(&self, chunk: &[u8]) -> Answer {
        let answered = || {
            let worker = self.worker.get_or_init(|| self.start()).as_ref()?;
            let (answer, answered) = sync_channel(1);
            worker.jobs.send(Job { chunk: chunk.to_vec(), answer }).ok()?;
            answered.recv().ok()
        };
        answered().unwrap_or(Answer::Retry)
    }

    fn start(&self) -> Option<Worker> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let (jobs, received) = sync_channel(MAX_TOGETHER);
        let thread = std::thread::Builder::new().name("oddline-output".to_owned());
        match thread.spawn(move || kept.run(&received)) {
            Ok(thread) => Some(Worker { jobs, thread }),
            Err(error) => {
                tell(&self.messages, [(Level::Error, format!("expected a thread: {error}"))]);
                None
            }
        }
    }

    /// What is to be told since the last time.
    pub(crate) fn messages(&self) -> Vec<Message> {
        std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Saves what was learned and returns the last words.
    pub(crate) fn close(self) -> Vec<Message> {
        let idle = self.kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        let kept = match self.worker.into_inner().flatten() {
            Some(Worker { jobs, thread }) => {
                drop(jobs);
                thread.join().ok()
            }
            None => idle,
        };
        let mut messages = std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(mut kept) = kept else { return messages };
        let stats = kept.scorer.component().stats();
        messages.extend(kept.watch.look(&stats));
        messages.push(farewell(&stats.counts));
        let component = kept.scorer.into_component();
        if let Err(error) = component.shutdown() {
            messages.push((Level::Error, format!("what was learned is not saved: {error}")));
        }
        messages
    }
}

fn tell(messages: &Mutex<Vec<Message>>, told: impl IntoIterator<Item = Message>) {
    messages.lock().unwrap_or_else(PoisonError::into_inner).extend(told);
}

/// What the output's thread has.
struct Kept {
    scorer: Scorer,
    watch: Watch,
    messages: Arc<Mutex<Vec<Message>>>,
}

impl Kept {
    fn run(mut self: Box<Self>, jobs: &Receiver<Job>) -> Box<Self> {
        let interval = self.scorer.component().config().tick_interval();
        let mut next = Instant::now() + interval;
        loop {
            match jobs.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(job) => {
                    let waiting: Vec<Job> =
                        std::iter::once(job).chain(jobs.try_iter().take(MAX_TOGETHER - 1)).collect();
                    let answer = guard(|| self.keep(&waiting)).unwrap_or(Answer::Retry);
                    for job in waiting {
                        // Whoever waited may be gone.
                        let _ = job.answer.send(answer);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self,
            }
            if Instant::now() >= next {
                next = Instant::now() + interval;
                // A panic here is counted by the component.
                let _ = guard(|| self.tick());
            }
        }
    }

    fn keep(&mut self, waiting: &[Job]) -> Answer {
        // A chunk that is sent again counts again in what is learned: while nothing can be written, nothing is learned.
        if self.scorer.component().ready().is_err() {
            return Answer::Retry;
        }
        for job in waiting {
            self.scorer.learn(&job.chunk);
        }
        if self.scorer.component().sync().is_ok() { Answer::Ok } else { Answer::Retry }
    }

    fn tick(&mut self) {
        self.scorer.tick();
        if self.watch.is_due() {
            let told = self.watch.look(&self.scorer.component().stats());
            tell(&self.messages, told);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use oddline::config::Config;
    use oddline::engine::Engine;

    use super::*;

    #[test]
    fn nothing_is_handed_over_while_another_holds_the_data_dir_and_everything_after() {
        let dir = tempfile::tempdir().unwrap();
        let held = File::create(dir.path().join("LOCK")).unwrap();
        held.lock().unwrap();
        let config = Config { data_dir: Some(dir.path().to_owned()), ..Config::default() };
        let component = Component::new(config.clone(), Environment::system()).unwrap();
        let mut kept = Kept { scorer: Scorer::new(component), watch: Watch::new(None), messages: Arc::default() };
        let record = b"\x92\x92\xd7\x00\x65\x53\xf1\x00\0\0\0\0\x80\x81\xa7message\xa5hello";
        let jobs = [Job { chunk: record.repeat(10), answer: sync_channel(1).0 }];
        assert_eq!(kept.keep(&jobs), Answer::Retry);
        // Else opening could succeed between learning and syncing, and the chunk would be lost.
        assert_eq!(kept.scorer.component().counts().events_total, 0);
        drop(held);
        assert_eq!(kept.keep(&jobs), Answer::Ok);
        assert_eq!(kept.scorer.component().counts().events_unscored_total, 0);
        kept.scorer.into_component().shutdown().unwrap();
        assert_eq!(Engine::open(&config, Environment::system()).unwrap().stats().events_total, 10);
    }
}
