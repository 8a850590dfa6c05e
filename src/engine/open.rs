//! Opening an engine: lock, restore, replay, go on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use serde::Serialize;

use super::baseline::{self, Given};
use super::core::{Core, Lanes, ParkedLane, model_options};
use super::embedders::{EmbedderStats, Embedders};
use super::embedding;
use super::error::EngineError;
use super::feedback::{self, Feedback};
use super::incidents::{self, Reporter};
use super::lane::{FLAG_ANOMALY, Lane};
use super::learned::Learned;
use super::meaning::Meaning;
use super::picture::{Delta, FoldedEvents, LaneState, Picture};
use super::recall::{Recall, Remembered};
use super::registry::Closing;
use super::replay::{self, Known};
use super::ruling::TemplateRules;
use super::stats::{Stats, TemplateSummary};
use super::window::SealedWindow;
use super::writer::{Command, Start, Writer};
use super::{registry, sections, seed};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Wildcards};
use crate::event::EventId;
use crate::storage::checkpoint;
use crate::storage::wal::{self, Position, Record, SegmentSequence, WalEvent};
use crate::storage::{DataDirLock, FileSystem, RealFs, Untouched, disk_usage};
use crate::template::{Masking, Rule, RuleSet, TemplateOptions, TemplateStore, UserMasks};

/// Part of the memory limit that the texts of templates may take.
const TEMPLATES_PART: u64 = 4;

/// Lanes at most: their number is a byte.
const MOST_LANES: u16 = 255;

/// Where time and files come from.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The files.
    pub fs: Arc<dyn FileSystem>,
}

impl Environment {
    /// The machine's own.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock), fs: Arc::new(RealFs) }
    }
}

/// What opening a data dir restored, replayed and repaired.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RecoveryReport {
    /// Number of the checkpoint restored; none in a new data dir.
    pub checkpoint: Option<u64>,
    /// Templates in it.
    pub checkpoint_templates: u64,
    /// The baseline that the data dir, which is new, starts from.
    pub baseline: Option<baseline::Manifest>,
    /// Why the baseline that is configured could not be had, where that is no error.
    pub baseline_failure: Option<String>,
    /// Checkpoints that could not be used, newest first, each with its reason.
    pub damaged_checkpoints: Vec<String>,
    /// What the log in common held, which is put in place before the lanes' own are read.
    pub group: wal::group::Redone,
    /// The log, by lane.
    pub lanes: Vec<wal::RecoveryReport>,
    /// Events replayed from the log.
    pub events_replayed: u64,
    /// Events among them of templates that no longer exist: counted, not learned.
    pub events_unresolved: u64,
}

impl RecoveryReport {
    /// Something was damaged: what it held is lost, what follows is not.
    pub fn is_damaged(&self) -> bool {
        !self.damaged_checkpoints.is_empty()
            || self.group.damage_total > 0
            || self.lanes.iter().any(|lane| lane.damage_total > 0)
    }
}

/// Behind every handle of an engine and each of its lanes.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) core: Arc<Core>,
    pub(super) writer: Option<Writer>,
    /// Writes what it holds when it is dropped.
    pub(super) reporter: Option<Reporter>,
    /// The same.
    embedders: Option<Embedders>,
    /// How the model did when it was tried, where no thread runs it.
    embedder_tried: Option<EmbedderStats>,
    recovery: RecoveryReport,
    /// Released when everything is written.
    _lock: Option<Arc<DataDirLock>>,
    /// Dropped last: tells who waits for the data dir.
    _closing: Option<Closing>,
}

impl Inner {
    /// Without threads.
    fn quiet(core: Arc<Core>, recovery: RecoveryReport, lock: Option<Arc<DataDirLock>>) -> Self {
        let (writer, reporter, embedders, embedder_tried) = (None, None, None, None);
        Self { core, writer, reporter, embedders, embedder_tried, recovery, _lock: lock, _closing: None }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.core.meanings.settle();
        if let Some(writer) = &mut self.writer {
            writer.send(Command::Checkpoint(sections::compose(&self.core)));
            writer.stop();
        }
    }
}

/// Templates, detectors and storage behind one handle, cheap to clone; see the [crate] for an example.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

impl Engine {
    /// See [`Core::hold_every_lock`].
    #[cfg(test)]
    pub(super) fn hold_every_lock(&self) -> impl Sized {
        self.inner.core.hold_every_lock()
    }

    /// Opens the data dir `config.data_dir`, or an engine in memory without one. `config` is taken as valid
    /// ([`Config::validate`]).
    ///
    /// # Errors
    /// When the data dir is in use, cannot be used, or is of a newer version; when a mask or a rule does not compile.
    pub fn open(config: &Config, environment: Environment) -> Result<Self, EngineError> {
        Self::open_announced(config, environment, None)
    }

    /// As [`Self::open`]; `closing` is dropped once the data dir can be opened again.
    pub(super) fn open_announced(
        config: &Config,
        environment: Environment,
        closing: Option<Closing>,
    ) -> Result<Self, EngineError> {
        // Before anything is made: a baseline that is not accepted changes nothing.
        let given = baseline::for_new(&environment, config)?;
        Self::open_given(config, environment, closing, given)
    }

    /// As [`Self::open_announced`], whatever baseline the configuration names.
    pub(super) fn open_given(
        config: &Config,
        environment: Environment,
        closing: Option<Closing>,
        given: Given,
    ) -> Result<Self, EngineError> {
        let options = template_options(config)?;
        let mut inner = match config.data_dir.clone() {
            Some(dir) => Self::restored(dir, config, environment, options, given)?,
            None => Self::in_memory(config, environment, options, given)?,
        };
        inner._closing = closing;
        Ok(Self::from_inner(Arc::new(inner)))
    }

    /// What opening the data dir would restore, to look at: no file but `LOCK` is changed, whatever the other options are, and what lanes of
    /// this engine learn is not kept.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn inspect(config: &Config, environment: Environment) -> Result<Self, EngineError> {
        let options = template_options(config)?;
        let given = baseline::for_new(&environment, config)?;
        let inner = match config.data_dir.clone() {
            Some(dir) => {
                let fs = Arc::new(Untouched::new(environment.fs));
                let mut inner = Self::recovered(&dir, config, Environment { fs, ..environment }, options, given)?.0;
                inner.embedder_tried = Some(EmbedderStats::tried(&inner.core));
                inner
            }
            None => Self::in_memory(config, environment, options, given)?,
        };
        Ok(Self::from_inner(Arc::new(inner)))
    }

    /// Restores and replays what is whole in the data dir, whatever caps are configured, makes history of closed segments, and writes one checkpoint. Nothing is
    /// merged, expires or goes for want of room; neither the journal nor an embedder is started.
    ///
    /// # Errors
    /// As [`Self::open`], and when something cannot be written.
    pub(super) fn settle(config: &Config, environment: Environment) -> Result<RecoveryReport, EngineError> {
        let Some(dir) = config.data_dir.clone() else { return Ok(RecoveryReport::default()) };
        let newest = checkpoint::read_newest(&*environment.fs, &dir.join("state"))?.checkpoint;
        let held =
            newest.as_ref().and_then(|newest| TemplateStore::slots_of(newest.section(sections::TEMPLATES)?).ok());
        let options = template_options(config)?;
        let max_templates = options.max_templates.saturating_add(held.unwrap_or(0));
        let options = TemplateOptions { max_templates, max_bytes: usize::MAX, ..options };
        // At its cap the history would make room, or keep counts alone.
        let config = Config { max_disk_bytes: u64::MAX, ..config.clone() };
        let (inner, start) = Self::recovered(&dir, &config, environment, options, Given::default())?;
        let mut writer = Writer::start(Arc::clone(&inner.core), dir, Start { keeps_up: false, ..start })?;
        writer.send(Command::Checkpoint(sections::compose(&inner.core)));
        let settled = writer.settle();
        writer.stop();
        settled.map_err(not_durable)?;
        Ok(inner.recovery.clone())
    }

    fn in_memory(
        config: &Config,
        environment: Environment,
        options: TemplateOptions,
        given: Given,
    ) -> Result<Inner, EngineError> {
        embedding::built(config)?;
        let rules = TemplateRules::new(config)?;
        let Recovered { feedback, store, picture, lanes, report, .. } = Recovery::new(config, options).in_memory(given);
        let core = Core::new(config.clone(), environment, 0, rules, store, picture, lanes);
        core.set_feedback(feedback);
        let core = Arc::new(core);
        Ok(Inner::quiet(core, report, None))
    }

    /// An engine as restored, without a thread that writes, and what that thread is to start from.
    fn recovered(
        dir: &Path,
        config: &Config,
        environment: Environment,
        options: TemplateOptions,
        given: Given,
    ) -> Result<(Inner, Start), EngineError> {
        let rules = TemplateRules::new(config)?;
        let lock = Arc::new(DataDirLock::acquire(dir, environment.clock.now())?);
        let Recovered { run, feedback, recall, meaning, store, picture, lanes, start, report } =
            Recovery::run(dir, config, options, &*environment.fs, given)?;
        let core = Core::new(config.clone(), environment, run, rules, store, picture, lanes);
        core.set_feedback(feedback);
        core.set_recall(recall);
        meaning.into_iter().for_each(|meaning| core.meanings.set(meaning));
        core.reread_notes(dir, &mut None);
        core.gauges.wal_bytes.store(disk_usage(&*core.environment.fs, &dir.join("wal"))?, Ordering::Relaxed);
        core.gauges.history_bytes.store(disk_usage(&*core.environment.fs, &dir.join("chunks"))?, Ordering::Relaxed);
        core.gauges.disk_bytes.store(disk_usage(&*core.environment.fs, dir)?, Ordering::Relaxed);
        let core = Arc::new(core);
        let start = Start { lock: Some(Arc::clone(&lock)), ..start };
        Ok((Inner::quiet(core, report, Some(lock)), start))
    }

    fn restored(
        dir: PathBuf,
        config: &Config,
        environment: Environment,
        options: TemplateOptions,
        given: Given,
    ) -> Result<Inner, EngineError> {
        // Before anything is made, as with all that the configuration may have wrong.
        incidents::check(config)?;
        embedding::built(config)?;
        let (mut inner, start) = Self::recovered(&dir, config, environment, options, given)?;
        inner.reporter = Reporter::start(config, &inner.core.environment.fs, &dir)?;
        inner.embedders = Embedders::start(&inner.core, dir.clone())?;
        let writer = inner.writer.insert(Writer::start(Arc::clone(&inner.core), dir, start)?);
        if inner.recovery.events_replayed > 0 || inner.recovery.baseline.is_some() {
            writer.send(Command::Checkpoint(sections::compose(&inner.core)));
        }
        Ok(inner)
    }

    /// As [`Self::open`], but when this process has the data dir open already, the same engine, with the options it was opened with.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn shared(config: &Config, environment: Environment) -> Result<Self, EngineError> {
        registry::shared(config, environment)
    }

    pub(super) fn from_inner(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.inner.core
    }

    pub(super) fn reporter(&self) -> Option<&Reporter> {
        self.inner.reporter.as_ref()
    }

    /// None where no model runs.
    pub(super) fn embedders(&self) -> Option<&Embedders> {
        self.inner.embedders.as_ref()
    }

    pub(super) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    /// A lane for one thread.
    ///
    /// # Errors
    /// When 255 are taken.
    pub fn lane(&self) -> Result<Lane, EngineError> {
        let parked = self.inner.core.lanes().take()?;
        Ok(Lane::new(Arc::clone(&self.inner), parked))
    }

    /// Figures, as of the lanes' last ticks.
    pub fn stats(&self) -> Stats {
        let journal = self.reporter().map(|reporter| reporter.status().into());
        let baseline_failure = self.inner.recovery.baseline_failure.clone();
        let running = self.inner.embedders.as_ref().map(Embedders::stats);
        let mut stats = Stats { journal, baseline_failure, ..self.inner.core.stats() };
        if let Some(embedder) = running.or(self.inner.embedder_tried.clone()) {
            stats.embedder = embedder;
        }
        stats.memory_bytes += self.inner.embedders.as_ref().map_or(0, Embedders::memory_bytes) as u64;
        stats
    }

    /// Every template with its counts, as of the lanes' last ticks.
    pub fn templates(&self) -> Vec<TemplateSummary> {
        self.inner.core.template_summaries()
    }

    /// The newest events of all lanes, by window, oldest first, as far as memory holds them: windows are sealed every `window_secs` at a tick.
    /// Waits for nobody. Nothing without a data dir.
    pub fn sealed_windows(&self) -> Arc<Vec<Arc<SealedWindow>>> {
        self.inner.core.windows.snapshot()
    }

    /// What opening the data dir found.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.inner.recovery
    }

    /// Writes a checkpoint of what the lanes last published (at a tick, or when closed) and waits until it is durable.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn checkpoint(&self) -> Result<(), EngineError> {
        let Some(writer) = &self.inner.writer else { return Ok(()) };
        writer.send(Command::Checkpoint(sections::compose(&self.inner.core)));
        writer.settle().map_err(not_durable)
    }

    /// Saves everything; with the last handle gone and no lane left the data dir is released.
    ///
    /// # Errors
    /// When what was learned cannot be saved.
    pub fn close(self) -> Result<(), EngineError> {
        if let Some(reporter) = self.reporter() {
            reporter.flush();
        }
        self.checkpoint()
    }
}

impl Lanes {
    fn take(&mut self) -> Result<ParkedLane, EngineError> {
        let lowest = self.parked.iter().enumerate().min_by_key(|(_, parked)| parked.number).map(|(at, _)| at);
        if let Some(at) = lowest {
            return Ok(self.parked.swap_remove(at));
        }
        if self.next_number >= MOST_LANES {
            return Err(EngineError::TooManyLanes);
        }
        let number = self.next_number as u8;
        self.next_number += 1;
        Ok(ParkedLane { number, next_event: 0, log: None })
    }
}

fn not_durable(reason: String) -> EngineError {
    EngineError::Degraded { reason, retry_secs: super::lane::MOST_REOPEN_SECS }
}

/// How templates are mined under `config`.
///
/// # Errors
/// When a mask of the user's does not compile.
pub fn template_options(config: &Config) -> Result<TemplateOptions, EngineError> {
    let masks = config.masks.iter().map(|mask| (mask.name.as_str(), mask.regex.as_str()));
    let disabled = |rule: &Rule| config.disabled_masks.iter().any(|mask| mask.as_str() == rule.as_str());
    let masking = Masking {
        user: UserMasks::new(masks)?,
        rules: Rule::OPTIONAL.into_iter().filter(disabled).fold(RuleSet::ALL, RuleSet::without),
        max_tokens: config.max_line_tokens,
        max_token_bytes: config.max_token_bytes,
    };
    Ok(TemplateOptions {
        max_templates: config.max_templates,
        max_bytes: usize::try_from(config.memory_limit_bytes / TEMPLATES_PART).unwrap_or(usize::MAX),
        merge_after: config.merge_after,
        merge_names_after: config.merge_names_after,
        masking,
        typed: config.wildcards == Wildcards::Typed,
    })
}

struct Recovered {
    run: u32,
    feedback: Feedback,
    recall: Recall,
    meaning: Option<Arc<Meaning>>,
    store: TemplateStore,
    picture: Picture,
    lanes: Lanes,
    start: Start,
    report: RecoveryReport,
}

/// Restoring and replaying, before any thread is started.
struct Recovery<'a> {
    config: &'a Config,
    store: TemplateStore,
    picture: Picture,
    states: BTreeMap<u8, LaneState>,
    /// What was replayed, by lane: the other lanes learn it, too.
    replayed: Vec<Arc<Delta>>,
    /// Tails that were cut off when templates were learned.
    torn_tails: BTreeMap<u8, Vec<wal::TornTail>>,
    feedback: Feedback,
    recall: Recall,
    meaning: Option<Arc<Meaning>>,
    report: RecoveryReport,
}

impl<'a> Recovery<'a> {
    fn new(config: &'a Config, options: TemplateOptions) -> Self {
        Self {
            config,
            store: TemplateStore::new(options),
            picture: Picture::default(),
            states: BTreeMap::new(),
            replayed: Vec::new(),
            torn_tails: BTreeMap::new(),
            feedback: Feedback::default(),
            recall: Recall::default(),
            meaning: None,
            report: RecoveryReport::default(),
        }
    }

    /// Nothing to restore.
    fn in_memory(mut self, given: Given) -> Recovered {
        self.start_from(given);
        self.plant_seeds();
        let lanes = self.park(0);
        let start = Start::default();
        Recovered {
            run: 0,
            feedback: self.feedback,
            recall: self.recall,
            meaning: self.meaning,
            store: self.store,
            picture: self.picture,
            lanes,
            start,
            report: self.report,
        }
    }

    /// Takes a baseline in, in place of nothing.
    fn start_from(&mut self, given: Given) {
        self.report.baseline_failure = given.failure;
        let Some(baseline) = given.baseline else { return };
        let start = baseline.start(self.config, TemplateOptions::clone(self.store.options()), given.now);
        self.feedback = start.feedback;
        self.store = start.store;
        self.picture = start.picture;
        self.states.insert(start.lane.number, start.lane);
        self.report.baseline = Some(baseline.manifest().clone());
    }

    fn plant_seeds(&mut self) {
        let planted = seed::plant(self.config, &mut self.store);
        if planted.is_empty() {
            return;
        }
        if self.states.is_empty() {
            let state = self.nothing_learned(0);
            self.states.insert(0, state);
        }
        for state in self.states.values_mut() {
            seed::count(&planted, &mut state.learned, &self.store);
        }
    }

    fn nothing_learned(&self, number: u8) -> LaneState {
        LaneState {
            number,
            learned: Learned::new(model_options(self.config), &self.store),
            position: Position::default(),
            next_segment: SegmentSequence::default(),
            deltas_seen: 0,
        }
    }

    fn run(
        dir: &Path,
        config: &'a Config,
        options: TemplateOptions,
        fs: &dyn FileSystem,
        given: Given,
    ) -> Result<Recovered, EngineError> {
        let mut recovery = Self::new(config, options.clone());
        let (mut last_run, next_checkpoint) = recovery.restore_newest(fs, &dir.join("state"), &options)?;
        if next_checkpoint == 0 {
            recovery.start_from(given);
        }
        recovery.plant_seeds();
        let covered = recovery.states.values().map(|state| (state.number, state.position)).collect();
        let wal_dir = dir.join("wal");
        recovery.report.group = wal::group::redo(fs, &wal_dir)?;
        let mut leftovers = Vec::new();
        let lanes = wal::lanes(fs, &wal_dir)?;
        let shares_templates = lanes.len() > 1;
        for lane in lanes.iter().filter(|_| shares_templates) {
            recovery.learn_templates(fs, &wal_dir, *lane)?;
        }
        for lane in lanes {
            let report = recovery.replay(fs, &wal_dir, lane)?;
            last_run = last_run.max(report.last_run);
            leftovers.extend(wal::segments(fs, &wal_dir, lane)?.into_iter().map(|segment| (lane, segment)));
            recovery.report.lanes.push(report);
        }
        let run = last_run.map_or(0, |last| last.wrapping_add(1));
        recovery.picture.tidy(&recovery.store);
        let lanes = recovery.park(run);
        recovery.read_feedback(fs, dir);
        let (feedback, recall, meaning) = (recovery.feedback, recovery.recall, recovery.meaning);
        let start = Start { next_checkpoint, covered, leftovers, keeps_up: true, lock: None };
        Ok(Recovered {
            run,
            feedback,
            recall,
            meaning,
            store: recovery.store,
            picture: recovery.picture,
            lanes,
            start,
            report: recovery.report,
        })
    }

    /// Takes the newest checkpoint in that reads; those that do not (damage, whether checksums show it or not) are reported. Returns its run, and the
    /// number of the next checkpoint.
    fn restore_newest(
        &mut self,
        fs: &dyn FileSystem,
        dir: &Path,
        options: &TemplateOptions,
    ) -> Result<(Option<u32>, u64), EngineError> {
        let mut before = u64::MAX;
        loop {
            let read = checkpoint::read_before(fs, dir, before)?;
            let damage = read.damage.iter().map(|damage| format!("{}: {}", damage.path.display(), damage.reason));
            self.report.damaged_checkpoints.extend(damage);
            let Some(checkpoint) = read.checkpoint else { return Ok((None, read.next_sequence)) };
            match sections::restore(&checkpoint, self.config, options.clone()) {
                Ok(restored) => return Ok((Some(self.take_up(checkpoint.sequence, restored)), read.next_sequence)),
                Err(error) => {
                    let path = dir.join(checkpoint::file_name(checkpoint.sequence));
                    self.report.damaged_checkpoints.push(format!("{}: {error}", path.display()));
                    error.refused(&path)?;
                }
            }
            before = checkpoint.sequence;
        }
    }

    /// Returns the run.
    fn take_up(&mut self, sequence: u64, restored: sections::Restored) -> u32 {
        self.report.checkpoint = Some(sequence);
        self.report.checkpoint_templates = restored.store.len() as u64;
        self.store = restored.store;
        self.picture = restored.picture;
        self.feedback = restored.feedback;
        self.recall = restored.recall;
        self.meaning = restored.meaning;
        self.states = restored.lanes.into_iter().map(|state| (state.number, state)).collect();
        restored.run
    }

    /// The file counts, and the checkpoint's copy where it cannot be read.
    fn read_feedback(&mut self, fs: &dyn FileSystem, dir: &Path) {
        match feedback::of_file(fs, dir, self.feedback.clone()) {
            Ok(feedback) => self.feedback = feedback,
            Err(error) => self.report.damaged_checkpoints.push(format!("feedback: {error}")),
        }
    }

    /// Learns the templates of a lane's log before any lane is replayed: a lane's events may be of a template that another lane found.
    fn learn_templates(&mut self, fs: &dyn FileSystem, wal_dir: &Path, lane: u8) -> Result<(), EngineError> {
        let from = self.states.get(&lane).map(|state| state.position).unwrap_or_default();
        let store = &mut self.store;
        let torn_tails = wal::recover_templates(fs, wal_dir, lane, from, &mut |text| _ = store.learn_text(text))?;
        self.torn_tails.insert(lane, torn_tails);
        Ok(())
    }

    fn replay(&mut self, fs: &dyn FileSystem, wal_dir: &Path, lane: u8) -> Result<wal::RecoveryReport, EngineError> {
        let mut state = self.states.remove(&lane).unwrap_or_else(|| self.nothing_learned(lane));
        let mut events = FoldedEvents::default();
        let mut unresolved = 0;
        let store = &mut self.store;
        let learned = &mut state.learned;
        let recall = &mut self.recall;
        let mut known = Known::default();
        // Lanes replayed before may have moved templates.
        learned.sync(store);
        let mut report = wal::recover_lane_ahead(fs, wal_dir, lane, state.position, &mut |at, record| match record {
            Record::Template { text, .. } => {
                known.forget();
                let found = store.learn_text(text);
                learned.sync(store);
                learned.note_slot(found.slot, found.id);
            }
            Record::Event(event) => {
                let scored = replay::event(store, &mut known, learned, &event, &mut events);
                unresolved += u64::from(scored.is_none());
                if let Some(scored) = scored.filter(|_| event.flags & FLAG_ANOMALY != 0) {
                    remember(recall, store, (lane, &at), (&event, scored.score()));
                }
            }
            Record::Decision { .. } => {}
        })?;
        report.torn_tails.splice(0..0, self.torn_tails.remove(&lane).unwrap_or_default());
        self.report.events_replayed += events.events;
        self.report.events_unresolved += unresolved;
        let delta = Delta::of(lane, &mut state.learned);
        self.picture.count(&delta, events);
        self.replayed.push(Arc::new(delta));
        state.next_segment = state.next_segment.max(report.next_sequence);
        self.states.insert(lane, state);
        Ok(report)
    }

    /// Every lane knows what every lane saw, and waits to be taken, its log to go on in this run.
    fn park(&mut self, run: u32) -> Lanes {
        let mut lanes = Lanes::default();
        for (number, mut state) in std::mem::take(&mut self.states) {
            let others = self.replayed.iter().filter(|delta| delta.lane != number);
            state.learned.absorb(&others.cloned().collect::<Vec<_>>(), &self.store);
            state.position = Position { run, record: 0 };
            lanes.next_number = lanes.next_number.max(u16::from(number) + 1);
            lanes.parked.push(ParkedLane { number, next_event: 0, log: None });
            self.picture.publish(Arc::new(state));
            self.picture.park(number);
        }
        lanes
    }
}

/// As the lane did that raised the alert.
fn remember(
    recall: &mut Recall,
    store: &TemplateStore,
    (lane, at): (u8, &wal::RecordAt),
    (event, score): (&WalEvent, f64),
) {
    let Some(template) = store.by_id(event.template) else { return };
    let millis = event.timestamp.unsigned_millis();
    let id = EventId { millis, run: at.position.run, lane, number: at.event_number };
    recall.remember(Remembered::new(id, event.timestamp, template, score));
}
