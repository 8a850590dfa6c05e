//! What all lanes of an engine share.
//!
//! Locks, none of them taken for a known template: `store` (a new template), `picture` (a fold), `parked` (taking and giving back a
//! lane). Order where two are needed: `store`, then `picture`; `parked` is never held together with another.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::learned::Learned;
use super::open::Environment;
use crate::config::Config;
use crate::detect::{ModelOptions, Outbox, Weights};
use crate::event::{State, TemplateId, Timestamp};
use crate::storage::wal::{Position, SegmentSequence, WalEncoder};
use crate::template::TemplateStore;

/// Deltas kept for lanes that have not folded lately; one that folds later misses the oldest.
const DELTAS_KEPT: usize = 256;

/// Used buffers kept for lanes.
const SPARE_BUFFERS: usize = 16;

/// Counts of one template over all lanes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TemplateCount {
    pub(super) count: u64,
    pub(super) first_seen: Timestamp,
    pub(super) last_seen: Timestamp,
}

/// What one lane counted between two folds.
#[derive(Debug)]
pub(super) struct Delta {
    lane: u8,
    /// Of each count in `seen`, the template: slots are a lane's own.
    pub(super) ids: Vec<TemplateId>,
    pub(super) seen: Outbox,
    pub(super) is_ready: bool,
}

/// The picture folded from all lanes.
#[derive(Debug, Default)]
pub(super) struct Picture {
    pub(super) templates: HashMap<TemplateId, TemplateCount>,
    pub(super) events_total: u64,
    pub(super) incidents_total: u64,
    pub(super) state: State,
    deltas: VecDeque<Arc<Delta>>,
    deltas_total: u64,
}

/// What a lane adds to the picture besides its delta.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FoldedEvents {
    pub(super) events: u64,
    pub(super) incidents: u64,
    pub(super) newest: Timestamp,
}

impl Picture {
    /// Takes in what a lane counted; returns what other lanes counted since `seen`, and how far it has now seen.
    pub(super) fn fold(&mut self, lane: u8, delta: Delta, events: FoldedEvents, seen: u64) -> (Vec<Arc<Delta>>, u64) {
        self.events_total += events.events;
        self.incidents_total += events.incidents;
        if delta.is_ready {
            self.state = State::Ready;
        }
        for (id, (_, count)) in delta.ids.iter().zip(&delta.seen.counts) {
            if *id == TemplateId::default() {
                continue;
            }
            let entry = self
                .templates
                .entry(*id)
                .or_insert_with(|| TemplateCount { first_seen: events.newest, ..TemplateCount::default() });
            entry.count += u64::from(*count);
            entry.last_seen = entry.last_seen.max(events.newest);
        }
        if !delta.ids.is_empty() {
            if self.deltas.len() == DELTAS_KEPT {
                self.deltas.pop_front();
            }
            self.deltas.push_back(Arc::new(delta));
            self.deltas_total += 1;
        }
        let kept_from = self.deltas_total - self.deltas.len() as u64;
        let unseen = self.deltas.iter().skip(seen.saturating_sub(kept_from) as usize);
        (unseen.filter(|delta| delta.lane != lane).cloned().collect(), self.deltas_total)
    }

    /// Deltas ever folded: where a new lane starts.
    pub(super) fn deltas_total(&self) -> u64 {
        self.deltas_total
    }

    /// Drops counts of templates the store no longer has; counts of merged ones move.
    pub(super) fn tidy(&mut self, store: &TemplateStore) {
        let gone: Vec<TemplateId> =
            self.templates.keys().filter(|id| store.by_id(**id).is_none_or(|t| t.id != **id)).copied().collect();
        for id in gone {
            let Some(old) = self.templates.remove(&id) else { continue };
            if let Some(template) = store.by_id(id) {
                let entry = self.templates.entry(template.id).or_insert(TemplateCount { count: 0, ..old });
                entry.count += old.count;
                entry.first_seen = entry.first_seen.min(old.first_seen);
                entry.last_seen = entry.last_seen.max(old.last_seen);
            }
        }
    }
}

impl Delta {
    pub(super) fn of(lane: u8, learned: &mut Learned) -> Self {
        let seen = learned.model.take_outbox();
        let ids = seen.counts.iter().map(|(slot, _)| learned.id_of(*slot).unwrap_or_default()).collect();
        Self { lane, ids, seen, is_ready: learned.model.state() == State::Ready }
    }
}

/// What a lane learned up to a place in its log.
#[derive(Debug, Clone)]
pub(super) struct LaneState {
    pub(super) number: u8,
    pub(super) learned: Learned,
    /// The log holds nothing of `learned` that comes from here on.
    pub(super) position: Position,
    pub(super) deltas_seen: u64,
}

/// A lane that no thread holds.
#[derive(Debug)]
pub(super) struct ParkedLane {
    pub(super) state: LaneState,
    pub(super) next_segment: SegmentSequence,
    /// Of the segment that is still open, when this run wrote to it.
    pub(super) encoder: Option<WalEncoder>,
}

/// Lanes by whether a thread holds them.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) parked: Vec<ParkedLane>,
    pub(super) next_number: u16,
    /// Of each lane, what the next checkpoint holds.
    pub(super) latest: BTreeMap<u8, LaneState>,
}

/// Figures the writer keeps for whoever asks.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) wal_bytes: AtomicU64,
    pub(super) disk_bytes: AtomicU64,
    pub(super) checkpoints_total: AtomicU64,
    pub(super) chunks_total: AtomicU64,
    pub(super) wal_dropped_bytes_total: AtomicU64,
    pub(super) storage_errors_total: AtomicU64,
    /// Bytes the lanes hold, about.
    pub(super) lane_bytes: AtomicU64,
}

/// Shared by the engine, its lanes and its writer.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) model_options: ModelOptions,
    pub(super) environment: Environment,
    pub(super) run: u32,
    store: Mutex<TemplateStore>,
    picture: Mutex<Picture>,
    lanes: Mutex<Lanes>,
    pub(super) gauges: Gauges,
    /// Buffers the writer is done with.
    spares: Mutex<Vec<Vec<u8>>>,
    degraded: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Core {
    pub(super) fn new(
        config: Config,
        environment: Environment,
        run: u32,
        store: TemplateStore,
        picture: Picture,
        lanes: Lanes,
    ) -> Self {
        Self {
            model_options: model_options(&config),
            config,
            environment,
            run,
            store: Mutex::new(store),
            picture: Mutex::new(picture),
            lanes: Mutex::new(lanes),
            gauges: Gauges::default(),
            spares: Mutex::default(),
            degraded: AtomicBool::new(false),
            failure: Mutex::default(),
        }
    }

    pub(super) fn store(&self) -> MutexGuard<'_, TemplateStore> {
        lock(&self.store)
    }

    pub(super) fn picture(&self) -> MutexGuard<'_, Picture> {
        lock(&self.picture)
    }

    pub(super) fn lanes(&self) -> MutexGuard<'_, Lanes> {
        lock(&self.lanes)
    }

    /// A buffer to encode into; one that was used before, when there is one and nobody is at them.
    pub(super) fn spare_buffer(&self) -> Vec<u8> {
        self.spares.try_lock().ok().and_then(|mut spares| spares.pop()).unwrap_or_default()
    }

    /// Gives a buffer back.
    pub(super) fn recycle(&self, buffer: Vec<u8>) {
        let mut spares = lock(&self.spares);
        if spares.len() < SPARE_BUFFERS {
            spares.push(buffer);
        }
    }

    /// Whether persistence has failed and not recovered.
    #[inline]
    pub(super) fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Relaxed)
    }

    pub(super) fn degrade(&self, reason: String) {
        self.gauges.storage_errors_total.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("oddline_storage_errors_total").increment(1);
        tracing::warn!(reason, "persistence fails; scoring goes on");
        lock(&self.failure).get_or_insert(reason);
        self.degraded.store(true, Ordering::Relaxed);
    }

    pub(super) fn recover(&self) {
        if self.degraded.swap(false, Ordering::Relaxed) {
            tracing::info!("persistence works again");
            *lock(&self.failure) = None;
        }
    }

    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }
}

/// A panic elsewhere does not make shared state useless: every critical section leaves it consistent enough to go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn model_options(config: &Config) -> ModelOptions {
    ModelOptions {
        alert_budget: config.alert_budget,
        learning_events: config.learning_events,
        learning_secs: config.learning_secs,
        hold_secs: config.hold_secs,
        half_life_events: config.half_life_events,
        calibration_half_life_events: config.calibration_half_life_events,
        weights: weights(config),
    }
}

fn weights(config: &Config) -> Weights {
    Weights([
        config.rarity_weight as f32,
        config.rate_weight as f32,
        config.numeric_weight as f32,
        config.categorical_weight as f32,
        config.sequence_weight as f32,
        config.severity_weight as f32,
        config.silence_weight as f32,
    ])
}
