//! The threads that run a model over templates, while nobody waits for them.
//!
//! Nothing is handed to them: they look at the template store, every [`ROUND`], in slices that hold its lock for some tens of microseconds, and take what has no vector into a queue of
//! [`QUEUE`] texts. A storm of new templates thus changes nothing for who scores: it is embedded when its turn comes, and what came and went meanwhile is not. Until
//! then, and with a model that cannot be used, a template has the hashing embedder's vector, which is made when it is asked for.
//!
//! One run embeds as many texts as are kept ([`vectors::MOST`]). Vectors are written every [`WRITE_EVERY`] while there are new ones, and when the engine ends.
//!
//! A search borrows what they have loaded ([`Embedders::borrow`]), so that a model is in memory `embedders` times and no more, however often it is asked. Templates wait for it,
//! not it for them: a thread is between two texts within milliseconds. Who scores has no part in any of this.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::core::Core;
use super::embedding;
use super::error::EngineError;
use super::vectors::{self, Entries, TextKey, Vectors};
use crate::config::{Config, EmbedderKind};
use crate::embed::Embedder;

/// Between two looks at the templates.
const ROUND: Duration = Duration::from_secs(2);

/// Texts that wait.
const QUEUE: usize = 256;

/// Templates looked at while the store is locked.
const SLICE: usize = 256;

/// Between two writes.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// How long a search waits for a model that is being loaded: most are within a second.
const LOADING: Duration = Duration::from_secs(10);

/// What makes the vectors of templates, and how far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EmbedderStats {
    /// `hashing` or `onnx`, as configured.
    pub kind: &'static str,
    /// `ready`, `loading`, `failed` (then templates have hashing vectors), or `unused` (a model, and no data dir to keep vectors in).
    pub state: &'static str,
    /// The model's name; none for `hashing`, and until it is loaded.
    pub model: Option<String>,
    /// Templates that have a vector of it.
    pub vectors: u64,
    /// Templates found without one, of which the first wait in the queue.
    pub waiting: u64,
    /// Why the model cannot be used.
    pub failure: Option<String>,
}

impl EmbedderStats {
    /// Of a configuration that nothing is done for yet.
    pub(super) fn of(config: &Config) -> Self {
        let state = match (config.embedder, &config.data_dir) {
            (EmbedderKind::Hashing, _) => "ready",
            (EmbedderKind::Onnx, Some(_)) => "loading",
            (EmbedderKind::Onnx, None) => "unused",
        };
        Self { kind: config.embedder.as_str(), state, ..Self::default() }
    }

    /// Loads the model to see whether it can be used.
    pub(super) fn tried(core: &Core) -> Self {
        let mut stats = Self::of(&core.config);
        match embedding::open(&core.config) {
            Ok(None) => {}
            Ok(Some(model)) => {
                let kept = core.config.data_dir.as_deref().map(|dir| vectors::read(&*core.environment.fs, dir));
                let kept = kept.and_then(Result::ok).flatten().filter(|kept| kept.are_of(&*model));
                stats.state = "ready";
                stats.model = Some(model.model());
                stats.vectors = kept.map_or(0, |kept| kept.all.len() as u64);
            }
            Err(error) => stats.failed(error.to_string()),
        }
        stats
    }

    fn failed(&mut self, reason: String) {
        self.state = "failed";
        self.failure = Some(reason);
    }
}

/// The threads of one engine.
#[derive(Debug)]
pub(super) struct Embedders {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    core: Arc<Core>,
    dir: PathBuf,
    work: Mutex<Work>,
    /// Told when the engine ends, a model is loaded or fails, or a search is over.
    changed: Condvar,
    /// One thread looks for templates at a time, and one writes.
    looking: Mutex<()>,
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Work {
    stop: bool,
    stats: EmbedderStats,
    /// What the threads have loaded, and which of them a search takes next.
    models: Vec<Arc<dyn Embedder>>,
    next_model: usize,
    /// Searches that make vectors at this moment.
    searches: usize,
    /// Texts that have a vector, or are about to.
    known: HashSet<TextKey>,
    queue: VecDeque<String>,
    /// Changes of the store when all of it had been looked at.
    seen_changes: Option<u64>,
    /// Not written yet.
    new: Entries,
    written_at: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Embedders {
    /// None where no model is configured.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(super) fn start(core: &Arc<Core>, dir: PathBuf) -> Result<Option<Self>, EngineError> {
        if core.config.embedder == EmbedderKind::Hashing {
            return Ok(None);
        }
        let work = Work { stats: EmbedderStats::of(&core.config), ..Work::default() };
        let shared = Arc::new(Shared {
            core: Arc::clone(core),
            dir,
            work: Mutex::new(work),
            changed: Condvar::new(),
            looking: Mutex::default(),
            writing: Mutex::default(),
        });
        let mut started = Self { shared, threads: Vec::new() };
        for _ in 0..core.config.embedders {
            let shared = Arc::clone(&started.shared);
            let thread = std::thread::Builder::new().name("oddline-embed".into()).spawn(move || shared.run());
            started.threads.push(thread.map_err(EngineError::Thread)?);
        }
        Ok(Some(started))
    }

    /// A model for a search; waits for one that is being loaded.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn borrow(&self) -> Result<Borrowed<'_>, String> {
        Ok(Borrowed { model: self.shared.borrow()?, shared: &self.shared })
    }

    pub(super) fn stats(&self) -> EmbedderStats {
        let work = lock(&self.shared.work);
        EmbedderStats {
            vectors: (work.known.len().saturating_sub(work.queue.len())) as u64,
            waiting: work.queue.len() as u64,
            ..work.stats.clone()
        }
    }
}

/// A loaded model, for as long as a search uses it.
#[derive(Debug)]
pub(super) struct Borrowed<'e> {
    model: Arc<dyn Embedder>,
    shared: &'e Shared,
}

impl Borrowed<'_> {
    pub(super) fn model(&self) -> &dyn Embedder {
        &*self.model
    }

    /// Vectors of it that are not written yet.
    pub(super) fn fresh(&self) -> Entries {
        lock(&self.shared.work).new.clone()
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        lock(&self.shared.work).searches -= 1;
        self.shared.changed.notify_all();
    }
}

impl Drop for Embedders {
    /// Ends the threads after the text each is at, and writes what is new.
    fn drop(&mut self) {
        lock(&self.shared.work).stop = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that embeds panicked");
            }
        }
        self.shared.write();
    }
}

impl Shared {
    fn run(&self) {
        match embedding::open(&self.core.config) {
            Ok(Some(model)) => {
                let model: Arc<dyn Embedder> = model.into();
                self.ready(&model);
                self.embed_all(&*model);
            }
            Ok(None) => {}
            Err(error) => self.fail(&error.to_string()),
        }
    }

    fn fail(&self, reason: &str) {
        tracing::warn!(reason, "the embedder fails: templates have hashing vectors");
        metrics::counter!("oddline_embedder_errors_total").increment(1);
        let mut work = lock(&self.work);
        work.stats.failed(reason.to_owned());
        work.models.clear();
        drop(work);
        self.changed.notify_all();
    }

    /// Lends the model, and takes up what it made before.
    fn ready(&self, model: &Arc<dyn Embedder>) {
        self.take_up(&**model);
        lock(&self.work).models.push(Arc::clone(model));
        self.changed.notify_all();
    }

    fn take_up(&self, model: &dyn Embedder) {
        let name = model.model();
        let kept = vectors::read(&*self.core.environment.fs, &self.dir).unwrap_or_else(|error| {
            self.core.note_failure(&format!("vectors are made anew: {error}"));
            None
        });
        let mut work = lock(&self.work);
        if work.stats.model.is_some() {
            return;
        }
        match kept {
            Some(kept) if kept.are_of(model) => work.known = kept.all.iter().map(|(text, _)| *text).collect(),
            Some(kept) => {
                let (was, count) = (kept.model, kept.all.len());
                tracing::warn!(was, is = name, count, "the vectors on disk are another model's: they are made anew");
            }
            None => {}
        }
        work.stats.state = "ready";
        work.stats.model = Some(name);
    }

    fn embed_all(&self, model: &dyn Embedder) {
        loop {
            if self.give_way() {
                return;
            }
            match self.next() {
                Some(text) => {
                    if let Err(reason) = self.embed(model, &text) {
                        return self.fail(&reason);
                    }
                }
                None => self.wait(),
            }
            self.write_when_due();
        }
    }

    fn embed(&self, model: &dyn Embedder, text: &str) -> Result<(), String> {
        let vector = model.vector(text).map_err(|error| error.to_string())?;
        lock(&self.work).new.push((TextKey::of(text), vector.into()));
        Ok(())
    }

    fn wait(&self) {
        drop(self.wait_while(ROUND, |work| !work.stop));
    }

    /// Lets searches go first, though not for ever; tells whether the engine ends.
    fn give_way(&self) -> bool {
        self.wait_while(ROUND, |work| work.searches > 0 && !work.stop).stop
    }

    fn wait_while(&self, most: Duration, is_so: impl FnMut(&mut Work) -> bool) -> MutexGuard<'_, Work> {
        let waited = self.changed.wait_timeout_while(lock(&self.work), most, is_so);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The next of the models that are loaded.
    ///
    /// # Errors
    /// Why there is none.
    fn borrow(&self) -> Result<Arc<dyn Embedder>, String> {
        let is_loading = |work: &mut Work| work.models.is_empty() && work.stats.failure.is_none() && !work.stop;
        let mut work = self.wait_while(LOADING, is_loading);
        let at = work.next_model.checked_rem(work.models.len()).unwrap_or(0);
        let Some(model) = work.models.get(at).cloned() else {
            let reason = work.stats.failure.clone();
            return Err(reason.unwrap_or_else(|| "the model is still being loaded".to_owned()));
        };
        work.next_model = at + 1;
        work.searches += 1;
        Ok(model)
    }

    /// The next text without a vector; none when there is none now.
    fn next(&self) -> Option<String> {
        if let Some(text) = lock(&self.work).queue.pop_front() {
            return Some(text);
        }
        let looking = lock(&self.looking);
        self.look();
        drop(looking);
        lock(&self.work).queue.pop_front()
    }

    /// Fills the queue from the store, unless nothing has changed there since it was seen whole.
    fn look(&self) {
        let changes = self.core.store().changes_since(u64::MAX).1;
        if lock(&self.work).seen_changes == Some(changes) {
            return;
        }
        let mut from = 0;
        loop {
            let texts = self.texts(from);
            from += texts.len();
            let mut work = lock(&self.work);
            if texts.is_empty() || work.known.len() >= vectors::MOST {
                work.seen_changes = Some(changes);
                return;
            }
            for text in texts {
                if work.queue.len() >= QUEUE {
                    return;
                }
                if work.known.insert(TextKey::of(&text)) {
                    work.queue.push_back(text);
                }
            }
        }
    }

    /// Some texts of the store.
    fn texts(&self, from: usize) -> Vec<String> {
        let store = self.core.store();
        let text = |template: &crate::template::StoredTemplate| String::from_utf8_lossy(&template.text).into_owned();
        store.templates().skip(from).take(SLICE).map(text).collect()
    }

    fn write_when_due(&self) {
        let is_due = {
            let mut work = lock(&self.work);
            let since = *work.written_at.get_or_insert_with(Instant::now);
            !work.new.is_empty() && since.elapsed() >= WRITE_EVERY
        };
        if is_due {
            self.write();
        }
    }

    /// What cannot be written now is tried again with what comes. Until it is written a search has it from here.
    fn write(&self) {
        let _one_at_a_time = lock(&self.writing);
        let (all, model) = {
            let mut work = lock(&self.work);
            work.written_at = Some(Instant::now());
            (work.new.clone(), work.stats.model.clone().unwrap_or_default())
        };
        let Some(dimensions) = all.first().map(|(_, vector)| vector.len()) else { return };
        let (written, environment) = (all.len(), &self.core.environment);
        let new = Vectors { model, dimensions, all };
        match vectors::add(&*environment.fs, &self.dir, &new, environment.clock.now()) {
            Ok(()) => drop(lock(&self.work).new.drain(..written)),
            Err(error) => self.core.note_failure(&format!("vectors are not written: {error}")),
        }
    }
}
