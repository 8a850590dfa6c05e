//! The threads that run a model over templates, while nobody waits for them.
//!
//! Nothing is handed to them: they look at the template store, every [`ROUND`], in slices that hold its lock for some tens of microseconds, and take what has no vector into a queue of
//! [`QUEUE`] texts. A storm of new templates thus changes nothing for who scores: it is embedded when its turn comes, and what came and went meanwhile is not. Until
//! then, and with a model that cannot be used, a template has the hashing embedder's vector, which is made when it is asked for.
//!
//! As many vectors are kept as [`vectors::most`] says; beyond that those of texts that no template has any more go. They are written when there are [`NEW_PART`] more than on disk and at least [`WRITE_EVERY`] has
//! passed, or [`WRITE_AT_LAST`], and when the engine ends: the file is written as a whole.
//!
//! A text that the model fails on is passed over; [`MOST_FAILURES`] in a row, or a panic, and the model is not used any more.
//!
//! A search borrows what they have loaded ([`Embedders::borrow`]), so that a model is in memory `embedders` times and no more, however often it is asked. Templates wait for it,
//! not it for them: a thread is between two texts within milliseconds. Who scores has no part in any of this.

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::core::Core;
use super::embedding;
use super::error::EngineError;
use super::vectors::{self, Entries, Keep, TextKey, Vectors};
use crate::config::{Config, EmbedderKind};
use crate::embed::Embedder;
use crate::template::Slot;

/// Between two looks at the templates.
const ROUND: Duration = Duration::from_secs(2);

/// Texts that wait.
const QUEUE: usize = 256;

/// Templates looked at while the store is locked.
const SLICE: usize = 256;

/// Between two writes.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// Few new vectors wait so long.
const WRITE_AT_LAST: Duration = Duration::from_secs(600);

/// What is few: less than this part of those there are.
const NEW_PART: usize = 16;

/// Texts in a row that a model may fail on.
const MOST_FAILURES: usize = 8;

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
    /// What runs it: an ONNX Runtime and where it is, or `tract`; none where there is no name.
    pub runner: Option<String>,
    /// Templates that have a vector of it.
    pub vectors: u64,
    /// Templates found without one, of which the first wait in the queue.
    pub waiting: u64,
    /// Templates that the model failed on: they have no vector of it.
    pub failed: u64,
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
                stats.runner = model.runner();
                stats.vectors = kept.map_or(0, |kept| kept.all.len() as u64);
            }
            Err(error) => stats.fail(error.to_string()),
        }
        stats
    }

    fn fail(&mut self, reason: String) {
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
    /// The store when all of it had been looked at.
    seen: Option<Seen>,
    /// Of the texts that are known, those that the model failed on; and how many came one after the other.
    failed: HashSet<TextKey>,
    failures_in_a_row: usize,
    /// Not written yet.
    new: Entries,
    written_at: Option<Instant>,
}

/// What tells a store from what it was: a new template is one more, or in place of one that went, which is a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    changes: u64,
    templates: usize,
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
        let shared = Arc::new(Shared::new(core, dir, work));
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
        work.stats()
    }

    /// Bytes held, about, without the models.
    pub(super) fn memory_bytes(&self) -> usize {
        let work = lock(&self.shared.work);
        let new = work.new.iter().map(|(_, vector)| size_of_val(&**vector) + 40).sum::<usize>();
        let texts = work.queue.iter().map(String::len).sum::<usize>();
        work.known.capacity() * (size_of::<TextKey>() + 1) + new + texts
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

impl Work {
    fn stats(&self) -> EmbedderStats {
        let [known, waiting, failed] =
            [self.known.len(), self.queue.len(), self.failed.len()].map(|length| length as u64);
        EmbedderStats { vectors: known.saturating_sub(waiting + failed), waiting, failed, ..self.stats.clone() }
    }

    /// Whether what is new is worth a write, so long after the last one.
    fn is_write_due(&self, since: Duration) -> bool {
        let is_many = self.new.len() * NEW_PART >= self.known.len();
        !self.new.is_empty() && since >= if is_many { WRITE_EVERY } else { WRITE_AT_LAST }
    }
}

impl Shared {
    fn new(core: &Arc<Core>, dir: PathBuf, work: Work) -> Self {
        Self {
            core: Arc::clone(core),
            dir,
            work: Mutex::new(work),
            changed: Condvar::new(),
            looking: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    fn run(&self) {
        match embedding::open(&self.core.config) {
            Ok(Some(model)) => self.run_with(&model.into()),
            Ok(None) => {}
            Err(error) => self.fail(&error.to_string(), None),
        }
    }

    /// Embeds until the engine ends or the model fails. What a model is made of comes from files: a panic over it is a failure of the model.
    fn run_with(&self, model: &Arc<dyn Embedder>) {
        let work = AssertUnwindSafe(|| {
            self.ready(model);
            self.embed_all(&**model)
        });
        let worked = catch_unwind(work).unwrap_or_else(|_| Err("it panicked".to_owned()));
        if let Err(reason) = worked {
            self.fail(&reason, Some(model));
        }
    }

    /// Takes back a model; the engine has none when it was the last.
    fn fail(&self, reason: &str, model: Option<&Arc<dyn Embedder>>) {
        tracing::warn!(reason, "the embedder fails: templates have hashing vectors");
        metrics::counter!("oddline_embedder_errors_total").increment(1);
        let mut work = lock(&self.work);
        work.models.retain(|other| !model.is_some_and(|model| Arc::ptr_eq(model, other)));
        if work.models.is_empty() {
            work.stats.fail(reason.to_owned());
        }
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
        work.stats.runner = model.runner();
    }

    /// # Errors
    /// Why the model is not used any more.
    fn embed_all(&self, model: &dyn Embedder) -> Result<(), String> {
        while !self.give_way() {
            match self.next() {
                Some(text) => self.embed(model, &text)?,
                None => self.wait(),
            }
            self.write_when_due();
        }
        Ok(())
    }

    /// A text that the model fails on stays without a vector, so that one text does not cost all others theirs.
    ///
    /// # Errors
    /// When the model fails on one text after the other.
    fn embed(&self, model: &dyn Embedder, text: &str) -> Result<(), String> {
        let vector = model.vector(text);
        let mut work = lock(&self.work);
        match vector {
            Ok(vector) => {
                work.failures_in_a_row = 0;
                work.new.push((TextKey::of(text), vector.into()));
            }
            Err(error) => {
                tracing::warn!(%error, "a template has no vector of the model");
                metrics::counter!("oddline_embedder_errors_total").increment(1);
                work.failed.insert(TextKey::of(text));
                work.failures_in_a_row += 1;
                if work.failures_in_a_row >= MOST_FAILURES {
                    return Err(error.to_string());
                }
            }
        }
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
        let seen = self.state_of_store();
        if lock(&self.work).seen == Some(seen) {
            return;
        }
        while let Some((live, is_full)) = self.look_through() {
            // What found no room is looked for once more where there is some now.
            if !is_full || !self.make_room(&live) {
                lock(&self.work).seen = Some(seen);
                return;
            }
        }
    }

    /// Puts what has no vector into the queue. All texts, and whether there was no room for some; none when the queue was full before the end.
    fn look_through(&self) -> Option<(HashSet<TextKey>, bool)> {
        let (mut live, mut is_full) = (HashSet::new(), false);
        for from in (0..).step_by(SLICE) {
            let Some(texts) = self.texts(from) else { break };
            for text in texts {
                let key = TextKey::of(&text);
                live.insert(key);
                let mut work = lock(&self.work);
                if work.queue.len() >= QUEUE {
                    return None;
                }
                let is_known = work.known.contains(&key);
                if !is_known && work.known.len() < self.most() {
                    work.known.insert(key);
                    work.queue.push_back(text);
                } else {
                    is_full |= !is_known;
                }
            }
        }
        Some((live, is_full))
    }

    /// Forgets what no template is called any more; what is kept of it goes with the next write. Whether there was any.
    fn make_room(&self, live: &HashSet<TextKey>) -> bool {
        let mut work = lock(&self.work);
        let before = work.known.len();
        work.known.retain(|key| live.contains(key));
        work.failed.retain(|key| live.contains(key));
        work.known.len() < before
    }

    fn state_of_store(&self) -> Seen {
        let store = self.core.store();
        Seen { changes: store.changes_since(u64::MAX).1, templates: store.len() }
    }

    /// Vectors kept at most.
    fn most(&self) -> usize {
        vectors::most(&self.core.config)
    }

    /// The texts of some slots of the store; none beyond the last.
    fn texts(&self, from: usize) -> Option<Vec<String>> {
        let store = self.core.store();
        let slots = from..store.slots().min(from + SLICE);
        if slots.is_empty() {
            return None;
        }
        let text = |slot: usize| {
            store.by_slot(Slot(slot as u32)).map(|found| String::from_utf8_lossy(&found.text).into_owned())
        };
        Some(slots.filter_map(text).collect())
    }

    fn write_when_due(&self) {
        let is_due = {
            let mut work = lock(&self.work);
            let since = *work.written_at.get_or_insert_with(Instant::now);
            work.is_write_due(since.elapsed())
        };
        if is_due {
            self.write();
        }
    }

    /// What cannot be written now is tried again with what comes. Until it is written a search has it from here.
    fn write(&self) {
        let _one_at_a_time = lock(&self.writing);
        let (all, model, known) = {
            let mut work = lock(&self.work);
            work.written_at = Some(Instant::now());
            (work.new.clone(), work.stats.model.clone().unwrap_or_default(), work.known.clone())
        };
        let Some(dimensions) = all.first().map(|(_, vector)| vector.len()) else { return };
        let (written, environment) = (all.len(), &self.core.environment);
        let new = Vectors { model, dimensions, all };
        let keep = Keep { most: self.most(), first: &|text| known.contains(&text) };
        match vectors::add(&*environment.fs, &self.dir, &new, &keep, environment.clock.now()) {
            Ok(()) => drop(lock(&self.work).new.drain(..written)),
            Err(error) => self.core.note_failure(&format!("vectors are not written: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::EmbedError;
    use crate::engine::{Engine, Environment, Lane};
    use crate::event::{Observation, Timestamp};

    /// Makes the same vector of every text, but for what it is told.
    #[derive(Debug)]
    struct Fake(fn(&str) -> Result<(), &'static str>);

    impl Embedder for Fake {
        fn model(&self) -> String {
            "fake".to_owned()
        }

        fn dimensions(&self) -> usize {
            2
        }

        fn embed(&self, text: &str, out: &mut [f32]) -> Result<(), EmbedError> {
            out.fill(0.5);
            (self.0)(text).map_err(|reason| EmbedError::Model { model: self.model(), reason: reason.to_owned() })
        }
    }

    struct Bed {
        shared: Shared,
        lane: Lane,
        dir: tempfile::TempDir,
    }

    fn bed(max_templates: usize) -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: Some(dir.path().to_owned()), max_templates, ..Config::default() };
        let engine = Engine::open(&config, Environment::system()).unwrap();
        let work = Work { stats: EmbedderStats::of(&config), ..Work::default() };
        Bed { shared: Shared::new(engine.core(), dir.path().to_owned(), work), lane: engine.lane().unwrap(), dir }
    }

    impl Bed {
        fn observe(&mut self, text: &str) {
            self.lane.observe(&Observation::new(text.as_bytes(), Timestamp(1_000_000)));
        }

        /// Embeds all that is waiting; how many there were.
        fn embed(&self) -> usize {
            let model = Fake(|_| Ok(()));
            let embed = |text: String| self.shared.embed(&model, &text).unwrap();
            std::iter::from_fn(|| self.shared.next()).map(embed).count()
        }

        fn stats(&self) -> EmbedderStats {
            lock(&self.shared.work).stats()
        }

        /// The texts of the store that have no vector on disk.
        fn missing(&self) -> usize {
            let kept = vectors::read(&*self.shared.core.environment.fs, self.dir.path()).unwrap().unwrap();
            let by_text = kept.by_text();
            let store = self.shared.core.store();
            let texts = store.templates().map(|found| String::from_utf8_lossy(&found.text).into_owned());
            texts.filter(|text| !by_text.contains_key(&TextKey::of(text))).count()
        }
    }

    /// A line of words without digits, others for each number.
    fn line(number: usize) -> String {
        let word = |salt: usize| -> String {
            let number = number.wrapping_mul(2_654_435_761).wrapping_add(salt * 40_503) ^ salt << 20;
            (0..7).map(|at| char::from(b'a' + (number >> (at * 4) & 15) as u8)).collect()
        };
        format!("{} {} {} {}", word(1), word(2), word(3), word(4))
    }

    #[test]
    fn a_template_that_is_found_when_all_had_a_vector_gets_one_too() {
        let mut bed = bed(100);
        (0..3).for_each(|n| bed.observe(&line(n)));
        assert_eq!(bed.embed(), 3);
        bed.observe(&line(3));
        assert_eq!(bed.embed(), 1, "nothing was merged and nothing went: it is new");
        assert_eq!((bed.embed(), bed.stats().vectors), (0, 4));
    }

    #[test]
    fn however_many_templates_come_and_go_those_that_are_known_have_vectors_and_no_more_are_kept_than_can_be() {
        let mut bed = bed(600);
        lock(&bed.shared.work).stats.model = Some("fake".to_owned());
        for n in 0..4_000 {
            bed.observe(&line(n));
            if n % 400 == 399 {
                bed.embed();
                bed.shared.write();
                assert_eq!(bed.missing(), 0, "after {n}");
                assert!(lock(&bed.shared.work).known.len() <= 1_200);
            }
        }
        let kept = vectors::check(&*bed.shared.core.environment.fs, bed.dir.path()).unwrap().unwrap();
        assert!((600..=1_200).contains(&kept.vectors), "{kept:?}");
    }

    #[test]
    fn a_text_that_the_model_fails_on_costs_no_other_text_its_vector() {
        let mut bed = bed(100);
        ["disk full", "poison", "link down now"].iter().for_each(|text| bed.observe(text));
        let model = Fake(|text| if text == "poison" { Err("no number") } else { Ok(()) });
        while let Some(text) = bed.shared.next() {
            bed.shared.embed(&model, &text).unwrap();
        }
        let stats = bed.stats();
        assert_eq!((stats.vectors, stats.failed, stats.waiting), (2, 1, 0));
    }

    fn unusable(say: fn(&str) -> Result<(), &'static str>) -> EmbedderStats {
        let mut bed = bed(100);
        (0..20).for_each(|n| bed.observe(&line(n)));
        let model: Arc<dyn Embedder> = Arc::new(Fake(say));
        bed.shared.run_with(&model);
        assert!(bed.shared.borrow().is_err(), "nobody waits for it");
        bed.stats()
    }

    #[test]
    fn a_model_that_fails_on_one_text_after_the_other_or_panics_is_not_used_any_more() {
        let stats = unusable(|_| Err("out of order"));
        assert_eq!((stats.state, stats.vectors), ("failed", 0));
        assert!(stats.failure.unwrap().contains("out of order"));
        let stats = unusable(|text| panic!("over {text}"));
        assert_eq!((stats.state, stats.failure.as_deref()), ("failed", Some("it panicked")));
    }

    #[test]
    fn a_few_new_vectors_wait_for_more_before_all_are_written_again() {
        let known = |known: u64, new: usize| Work {
            known: (0..known).map(|n| TextKey::of(&n.to_string())).collect(),
            new: vec![(TextKey::of(""), Arc::from([0.0])); new],
            ..Work::default()
        };
        let is_due = |work: &Work, secs| work.is_write_due(Duration::from_secs(secs));
        assert!(!is_due(&known(100, 50), 59) && is_due(&known(100, 50), 60));
        assert!(!is_due(&known(1_000, 5), 599) && is_due(&known(1_000, 5), 600));
        assert!(!is_due(&known(1_000, 0), 6_000));
    }
}
