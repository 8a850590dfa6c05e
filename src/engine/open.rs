//! Opening an engine: lock, restore, replay, go on.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use serde::Serialize;

use super::core::{Core, Delta, FoldedEvents, LaneState, Lanes, ParkedLane, Picture, model_options};
use super::error::EngineError;
use super::lane::{FLAG_ANOMALY, Lane};
use super::learned::Learned;
use super::stats::{Stats, TemplateSummary};
use super::writer::{Command, Start, Writer};
use super::{registry, sections, seed};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Wildcards};
use crate::detect::Input;
use crate::detect::severity::Severity;
use crate::detect::value::Values;
use crate::storage::checkpoint::{self, Checkpoint};
use crate::storage::wal::{self, Position, Record, SegmentSequence, WalEvent};
use crate::storage::{DataDirLock, FileSystem, RealFs, disk_usage};
use crate::template::{Masking, Rule, RuleSet, TemplateOptions, TemplateStore, UserMasks};

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
    /// Checkpoints that could not be used, newest first, each with its reason.
    pub damaged_checkpoints: Vec<String>,
    /// The log, by lane.
    pub lanes: Vec<wal::RecoveryReport>,
    /// Events replayed from the log.
    pub events_replayed: u64,
    /// Events of templates that no longer exist.
    pub events_unresolved: u64,
}

impl RecoveryReport {
    /// Something was damaged: what it held is lost, what follows is not.
    pub fn is_damaged(&self) -> bool {
        !self.damaged_checkpoints.is_empty() || self.lanes.iter().any(|lane| lane.damage_total > 0)
    }
}

/// Behind every handle of an engine and each of its lanes.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) core: Arc<Core>,
    pub(super) writer: Option<Writer>,
    recovery: RecoveryReport,
    /// Released last.
    _lock: Option<DataDirLock>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let sections = sections::compose(&self.core);
        if let Some(writer) = &mut self.writer {
            writer.send(Command::Checkpoint(sections));
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
    /// Opens the data dir `config.data_dir`, or an engine in memory without one. `config` is taken as valid
    /// ([`Config::validate`]).
    ///
    /// # Errors
    /// When the data dir is in use, cannot be used, or is of a newer version; when a mask does not compile.
    pub fn open(config: &Config, environment: Environment) -> Result<Self, EngineError> {
        let options = template_options(config)?;
        let Some(dir) = config.data_dir.clone() else {
            let recovered = Recovery::new(config, options).in_memory();
            let core = Core::new(config.clone(), environment, 0, recovered.store, recovered.picture, recovered.lanes);
            let inner = Inner { core: Arc::new(core), writer: None, recovery: RecoveryReport::default(), _lock: None };
            return Ok(Self::from_inner(Arc::new(inner)));
        };
        let lock = DataDirLock::acquire(&dir, environment.clock.now())?;
        let recovered = Recovery::run(&dir, config, options, &*environment.fs)?;
        let start = recovered.start;
        let core =
            Core::new(config.clone(), environment, recovered.run, recovered.store, recovered.picture, recovered.lanes);
        core.gauges.wal_bytes.store(disk_usage(&*core.environment.fs, &dir.join("wal"))?, Ordering::Relaxed);
        core.gauges.disk_bytes.store(disk_usage(&*core.environment.fs, &dir)?, Ordering::Relaxed);
        let core = Arc::new(core);
        let replayed = recovered.report.events_replayed > 0;
        let writer = Writer::start(Arc::clone(&core), dir, start)?;
        if replayed {
            writer.send(Command::Checkpoint(sections::compose(&core)));
        }
        let inner = Inner { core, writer: Some(writer), recovery: recovered.report, _lock: Some(lock) };
        Ok(Self::from_inner(Arc::new(inner)))
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

    pub(super) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    /// A lane for one thread.
    ///
    /// # Errors
    /// When 255 are taken.
    pub fn lane(&self) -> Result<Lane, EngineError> {
        let core = &self.inner.core;
        let parked = core.lanes().take()?;
        let parked = match parked {
            Taken::Parked(parked) => *parked,
            Taken::New(number, like) => {
                let store = core.store();
                let (learned, deltas_seen) = like.map_or_else(
                    || (Learned::new(core.model_options, &store), core.picture().deltas_total()),
                    |state| (state.learned, state.deltas_seen),
                );
                let position = Position { run: core.run, record: 0 };
                let state = LaneState { number, learned, position, deltas_seen };
                ParkedLane { state, next_segment: SegmentSequence::default(), encoder: None }
            }
        };
        Ok(Lane::new(Arc::clone(&self.inner), parked))
    }

    /// Figures, as of the lanes' last ticks.
    pub fn stats(&self) -> Stats {
        self.inner.core.stats()
    }

    /// Every template with its counts, as of the lanes' last ticks.
    pub fn templates(&self) -> Vec<TemplateSummary> {
        self.inner.core.template_summaries()
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
        writer.sync().map_err(|reason| EngineError::Degraded { reason, retry_secs: super::lane::REOPEN_SECS })
    }

    /// Saves everything; with the last handle gone and no lane left the data dir is released.
    ///
    /// # Errors
    /// When what was learned cannot be saved.
    pub fn close(self) -> Result<(), EngineError> {
        self.checkpoint()
    }
}

enum Taken {
    Parked(Box<ParkedLane>),
    New(u8, Option<Box<LaneState>>),
}

impl Lanes {
    fn take(&mut self) -> Result<Taken, EngineError> {
        let lowest = self.parked.iter().enumerate().min_by_key(|(_, parked)| parked.state.number).map(|(at, _)| at);
        if let Some(at) = lowest {
            return Ok(Taken::Parked(Box::new(self.parked.swap_remove(at))));
        }
        if self.next_number >= MOST_LANES {
            return Err(EngineError::TooManyLanes);
        }
        let number = self.next_number as u8;
        self.next_number += 1;
        Ok(Taken::New(number, self.latest.first_key_value().map(|(_, state)| Box::new(state.clone()))))
    }
}

fn template_options(config: &Config) -> Result<TemplateOptions, EngineError> {
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
        merge_after: config.merge_after,
        merge_names_after: config.merge_names_after,
        masking,
        typed: config.wildcards == Wildcards::Typed,
    })
}

struct Recovered {
    run: u32,
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
    report: RecoveryReport,
}

impl<'a> Recovery<'a> {
    fn new(config: &'a Config, options: TemplateOptions) -> Self {
        Self {
            config,
            store: TemplateStore::new(options),
            picture: Picture::default(),
            states: BTreeMap::new(),
            report: RecoveryReport::default(),
        }
    }

    /// Nothing to restore.
    fn in_memory(mut self) -> Recovered {
        self.plant_seeds();
        let lanes = self.park(0, &BTreeMap::new());
        let start = Start::default();
        Recovered { run: 0, store: self.store, picture: self.picture, lanes, start, report: self.report }
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
            deltas_seen: 0,
        }
    }

    fn run(
        dir: &Path,
        config: &'a Config,
        options: TemplateOptions,
        fs: &dyn FileSystem,
    ) -> Result<Recovered, EngineError> {
        let read = checkpoint::read_newest(fs, &dir.join("state"))?;
        let mut recovery = Self::new(config, options.clone());
        recovery.report.damaged_checkpoints =
            read.damage.iter().map(|damage| format!("{}: {}", damage.path.display(), damage.reason)).collect();
        let mut last_run = read.checkpoint.as_ref().and_then(|checkpoint| recovery.restore(checkpoint, options));
        recovery.plant_seeds();
        let covered = recovery.states.values().map(|state| (state.number, state.position)).collect();
        let wal_dir = dir.join("wal");
        let mut leftovers = Vec::new();
        let mut next_segments = BTreeMap::new();
        let lanes = wal::lanes(fs, &wal_dir)?;
        let shares_templates = lanes.len() > 1;
        for lane in lanes.iter().filter(|_| shares_templates) {
            recovery.learn_templates(fs, &wal_dir, *lane)?;
        }
        for lane in lanes {
            let report = recovery.replay(fs, &wal_dir, lane)?;
            last_run = last_run.max(report.last_run);
            next_segments.insert(lane, report.next_sequence);
            leftovers.extend(wal::segments(fs, &wal_dir, lane)?.into_iter().map(|segment| (lane, segment)));
            recovery.report.lanes.push(report);
        }
        let run = last_run.map_or(0, |last| last.wrapping_add(1));
        recovery.picture.tidy(&recovery.store);
        let lanes = recovery.park(run, &next_segments);
        let start = Start { next_checkpoint: read.next_sequence, covered, leftovers };
        Ok(Recovered { run, store: recovery.store, picture: recovery.picture, lanes, start, report: recovery.report })
    }

    /// Takes a checkpoint in; one that does not fit (other options, damage its checksums do not show) is reported and left.
    fn restore(&mut self, checkpoint: &Checkpoint, options: TemplateOptions) -> Option<u32> {
        match sections::restore(checkpoint, self.config, options) {
            Ok(restored) => {
                self.report.checkpoint = Some(checkpoint.sequence);
                self.report.checkpoint_templates = restored.store.len() as u64;
                self.store = restored.store;
                self.picture = restored.picture;
                self.states = restored.lanes.into_iter().map(|state| (state.number, state)).collect();
                Some(restored.run)
            }
            Err(error) => {
                self.report.damaged_checkpoints.push(format!("checkpoint {}: {error}", checkpoint.sequence));
                None
            }
        }
    }

    fn learn_templates(&mut self, fs: &dyn FileSystem, wal_dir: &Path, lane: u8) -> Result<(), EngineError> {
        let from = self.states.get(&lane).map(|state| state.position).unwrap_or_default();
        let store = &mut self.store;
        wal::recover_lane(fs, wal_dir, lane, from, &mut |_, record| {
            if let Record::Template { text, .. } = record {
                store.learn_text(text);
            }
        })?;
        Ok(())
    }

    fn replay(&mut self, fs: &dyn FileSystem, wal_dir: &Path, lane: u8) -> Result<wal::RecoveryReport, EngineError> {
        let mut state = self.states.remove(&lane).unwrap_or_else(|| self.nothing_learned(lane));
        let mut events = FoldedEvents::default();
        let mut unresolved = 0;
        let store = &mut self.store;
        let learned = &mut state.learned;
        let report = wal::recover_lane(fs, wal_dir, lane, state.position, &mut |_, record| match record {
            Record::Template { text, .. } => {
                let found = store.learn_text(text);
                learned.sync(store);
                learned.note_slot(found.slot, found.id);
            }
            Record::Event(event) => {
                unresolved += u64::from(!replay_event(store, learned, &event, &mut events));
            }
            Record::Decision { .. } => {}
        })?;
        self.report.events_replayed += events.events;
        self.report.events_unresolved += unresolved;
        let delta = Delta::of(lane, &mut state.learned);
        state.deltas_seen = self.picture.fold(lane, delta, events, self.picture.deltas_total()).1;
        self.states.insert(lane, state);
        Ok(report)
    }

    /// Every lane waits to be taken, its log to go on in this run.
    fn park(&mut self, run: u32, next_segments: &BTreeMap<u8, SegmentSequence>) -> Lanes {
        let mut lanes = Lanes::default();
        for (number, mut state) in std::mem::take(&mut self.states) {
            state.learned.sync(&self.store);
            state.position = Position { run, record: 0 };
            lanes.next_number = lanes.next_number.max(u16::from(number) + 1);
            lanes.latest.insert(number, state.clone());
            let next_segment = next_segments.get(&number).copied().unwrap_or_default();
            lanes.parked.push(ParkedLane { state, next_segment, encoder: None });
        }
        lanes
    }
}

/// The same as [`Lane::observe`] does with what the log kept of an event; false when its template is gone.
fn replay_event(store: &TemplateStore, learned: &mut Learned, event: &WalEvent, events: &mut FoldedEvents) -> bool {
    let Some(template) = store.by_id(event.template) else { return false };
    store.touch(template.slot);
    learned.note_slot(template.slot, template.id);
    learned.observe(&Input {
        slot: template.slot.index(),
        timestamp: event.timestamp,
        stream: event.stream,
        severity: Severity::from_code(event.severity),
        values: Values::from_bytes(event.values),
        ..Input::default()
    });
    events.events += 1;
    events.incidents += u64::from(event.flags & FLAG_ANOMALY != 0);
    events.newest = events.newest.max(event.timestamp);
    true
}
