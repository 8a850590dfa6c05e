//! What all lanes of an engine share.
//!
//! Locks, none of them taken for a known template: `store` (a new template), `picture` (a fold), `parked` (taking and giving back a
//! lane), `recall` (an alert; never held together with another). Order where two are needed: `store`, then `picture`; `parked` is never held together with another.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::feedback::{self, Feedback};
use super::log::Log;
use super::meaning::Meanings;
use super::notes;
use super::open::Environment;
use super::picture::Picture;
use super::recall::{Noted, Recall};
use super::ruling::TemplateRules;
use super::unsynced::Unsynced;
use super::window::Windows;
use crate::config::{self, Config, TimeSource};
use crate::detect::budget::AlertBudget;
use crate::detect::clock::Source;
use crate::detect::{Evicted, ModelOptions, Weights};
use crate::template::TemplateStore;

/// Used buffers kept for lanes.
const SPARE_BUFFERS: usize = 16;

/// A lane that no thread holds; what it learned is in the picture.
#[derive(Debug)]
pub(super) struct ParkedLane {
    pub(super) number: u8,
    /// Number of its next event in this run.
    pub(super) next_event: u64,
    /// Its side of the log, when this run wrote to it.
    pub(super) log: Option<Log>,
}

/// Lanes that no thread holds.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) parked: Vec<ParkedLane>,
    pub(super) next_number: u16,
}

/// Figures the writer keeps for whoever asks.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) wal_bytes: AtomicU64,
    pub(super) wal_unsynced_bytes: AtomicU64,
    /// Since when the oldest of them is unsynced, microseconds since [`Core::started`], and one; 0: nothing is.
    pub(super) wal_unsynced_since: AtomicU64,
    pub(super) disk_bytes: AtomicU64,
    pub(super) checkpoints_total: AtomicU64,
    pub(super) chunks_total: AtomicU64,
    pub(super) merges_total: AtomicU64,
    pub(super) history_bytes: AtomicU64,
    pub(super) history_dropped_events_total: AtomicU64,
    pub(super) wal_dropped_bytes_total: AtomicU64,
    pub(super) storage_errors_total: AtomicU64,
    pub(super) rate_series_evicted_total: AtomicU64,
    pub(super) silence_series_evicted_total: AtomicU64,
    pub(super) stream_orders_evicted_total: AtomicU64,
    /// Bytes the lanes hold, about: as of the last checkpoint.
    pub(super) lane_bytes: AtomicU64,
}

/// Shared by the engine, its lanes and its writer.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) environment: Environment,
    pub(super) run: u32,
    pub(super) rules: TemplateRules,
    feedback: Mutex<Arc<Feedback>>,
    /// Of the feedback: how often it has changed.
    feedback_changes: AtomicU64,
    store: Mutex<TemplateStore>,
    picture: Mutex<Picture>,
    recall: Mutex<Recall>,
    /// What `semantic` measures by.
    pub(super) meanings: Meanings,
    lanes: Mutex<Lanes>,
    pub(super) gauges: Gauges,
    /// Each checkpoint that was composed and is not written yet holds a clone.
    pub(super) composed: Arc<()>,
    /// When this engine was opened.
    pub(super) started: Instant,
    /// The newest events.
    pub(super) windows: Arc<Windows>,
    /// Buffers the writer is done with.
    spares: Mutex<Vec<Vec<u8>>>,
    degraded: AtomicBool,
    /// Another process has the data dir by now.
    is_shut_out: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Gauges {
    /// Adds what had to go in a lane's tables by stream.
    pub(super) fn add_evicted(&self, evicted: Evicted) {
        if evicted == Evicted::default() {
            return;
        }
        let Evicted { rate_series, silence_series, stream_orders } = evicted;
        self.rate_series_evicted_total.fetch_add(rate_series, Ordering::Relaxed);
        self.silence_series_evicted_total.fetch_add(silence_series, Ordering::Relaxed);
        self.stream_orders_evicted_total.fetch_add(stream_orders, Ordering::Relaxed);
        metrics::counter!("oddline_rate_series_evicted_total").increment(rate_series);
        metrics::counter!("oddline_silence_series_evicted_total").increment(silence_series);
        metrics::counter!("oddline_stream_orders_evicted_total").increment(stream_orders);
    }
}

impl Core {
    /// Checkpoints that were composed and are not written yet: megabytes each.
    pub(super) fn checkpoints_waiting(&self) -> usize {
        Arc::strong_count(&self.composed) - 1
    }

    /// Notes what of the logs is not durable.
    pub(super) fn note_unsynced(&self, unsynced: &Unsynced) {
        let since = unsynced.since().map(|since| since.saturating_duration_since(self.started).as_micros() as u64 + 1);
        self.gauges.wal_unsynced_bytes.store(unsynced.bytes(), Ordering::Relaxed);
        self.gauges.wal_unsynced_since.store(since.unwrap_or(0), Ordering::Relaxed);
    }

    /// For how long the oldest of the logs that is not durable has not been.
    pub(super) fn sync_lag(&self) -> Duration {
        match self.gauges.wal_unsynced_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.started.elapsed().saturating_sub(Duration::from_micros(since - 1)),
        }
    }

    pub(super) fn new(
        config: Config,
        environment: Environment,
        run: u32,
        rules: TemplateRules,
        store: TemplateStore,
        picture: Picture,
        lanes: Lanes,
    ) -> Self {
        let windows = Arc::new(Windows::new(config.memory_limit_bytes));
        Self {
            config,
            environment,
            run,
            rules,
            feedback: Mutex::default(),
            feedback_changes: AtomicU64::new(0),
            store: Mutex::new(store),
            picture: Mutex::new(picture),
            recall: Mutex::default(),
            meanings: Meanings::default(),
            lanes: Mutex::new(lanes),
            gauges: Gauges::default(),
            composed: Arc::default(),
            started: Instant::now(),
            windows,
            spares: Mutex::default(),
            degraded: AtomicBool::new(false),
            is_shut_out: AtomicBool::new(false),
            failure: Mutex::default(),
        }
    }

    /// Everything that lanes, writer and readers share behind a lock.
    #[cfg(test)]
    pub(super) fn hold_every_lock(&self) -> impl Sized {
        let learned = (lock(&self.store), lock(&self.picture), lock(&self.recall), lock(&self.feedback));
        (learned, lock(&self.lanes), lock(&self.spares), lock(&self.failure))
    }

    pub(super) fn store(&self) -> MutexGuard<'_, TemplateStore> {
        lock(&self.store)
    }

    pub(super) fn picture(&self) -> MutexGuard<'_, Picture> {
        lock(&self.picture)
    }

    pub(super) fn recall(&self) -> MutexGuard<'_, Recall> {
        lock(&self.recall)
    }

    /// Takes up what was restored of past incidents.
    pub(super) fn set_recall(&self, recall: Recall) {
        *self.recall() = recall;
    }

    /// Takes up what was noted of incidents since; `read` is what was read last. What cannot be read changes nothing.
    pub(super) fn reread_notes(&self, data_dir: &Path, read: &mut Option<Vec<u8>>) {
        let bytes = match notes::read_file(&*self.environment.fs, data_dir) {
            Ok(Some(bytes)) if read.as_ref() != Some(&bytes) => bytes,
            Ok(_) => return,
            Err(error) => return self.note_failure(&error.to_string()),
        };
        match notes::decode(data_dir, &bytes) {
            Ok(notes) => {
                let noted = Noted::of(notes);
                self.recall().set_notes(noted);
            }
            Err(error) => self.note_failure(&error.to_string()),
        }
        *read = Some(bytes);
    }

    /// What the user said.
    pub(super) fn feedback(&self) -> Arc<Feedback> {
        Arc::clone(&lock(&self.feedback))
    }

    /// How often that has changed.
    pub(super) fn feedback_changes(&self) -> u64 {
        self.feedback_changes.load(Ordering::Acquire)
    }

    pub(super) fn set_feedback(&self, feedback: Feedback) {
        *lock(&self.feedback) = Arc::new(feedback);
        self.feedback_changes.fetch_add(1, Ordering::Release);
    }

    /// Takes up what was said since; `read` is what was read last. What cannot be read changes nothing.
    pub(super) fn reread_feedback(&self, data_dir: &Path, read: &mut Option<Vec<u8>>) {
        let bytes = match feedback::read_file(&*self.environment.fs, data_dir) {
            Ok(Some(bytes)) if read.as_ref() != Some(&bytes) => bytes,
            Ok(_) => return,
            Err(error) => return self.note_failure(&error.to_string()),
        };
        match feedback::decode_file(data_dir, &bytes) {
            Ok(feedback) if feedback != *self.feedback() => self.set_feedback(feedback),
            Ok(_) => {}
            Err(error) => self.note_failure(&error.to_string()),
        }
        *read = Some(bytes);
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

    /// Whether another process has the data dir by now: nothing may be written to it, nor removed.
    pub(super) fn is_shut_out(&self) -> bool {
        self.is_shut_out.load(Ordering::Relaxed)
    }

    pub(super) fn shut_out(&self, is_so: bool) {
        self.is_shut_out.store(is_so, Ordering::Relaxed);
    }

    /// Notes a failure that loses nothing: it is tried again.
    pub(super) fn note_failure(&self, reason: &str) {
        self.gauges.storage_errors_total.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("oddline_storage_errors_total").increment(1);
        tracing::warn!(reason, "storage");
    }

    pub(super) fn degrade(&self, reason: String) {
        self.note_failure(&reason);
        // State and text change together.
        let mut failure = lock(&self.failure);
        if !self.degraded.swap(true, Ordering::Relaxed) {
            tracing::warn!("persistence fails; scoring goes on");
        }
        failure.get_or_insert(reason);
    }

    pub(super) fn count_dropped(&self, bytes: u64) {
        self.gauges.wal_dropped_bytes_total.fetch_add(bytes, Ordering::Relaxed);
        metrics::counter!("oddline_wal_dropped_bytes_total").increment(bytes);
    }

    pub(super) fn recover(&self) {
        let mut failure = lock(&self.failure);
        if self.degraded.swap(false, Ordering::Relaxed) {
            tracing::info!("persistence works again");
            *failure = None;
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
        alert_budget: budget(config.alert_budget),
        learning_events: config.learning_events,
        learning_secs: config.learning_secs,
        hold_secs: config.hold_secs,
        half_life_events: config.half_life_events,
        calibration_half_life_events: config.calibration_half_life_events,
        weights: weights(config),
        clock: match config.time {
            TimeSource::Arrival => Source::Arrival,
            TimeSource::Event => Source::Event,
        },
    }
}

fn budget(budget: config::AlertBudget) -> AlertBudget {
    match (budget, budget.alerts_per_hour()) {
        (config::AlertBudget::Share(share), _) => AlertBudget::Share(share),
        (_, alerts) => AlertBudget::PerHour(alerts.unwrap_or(0.0)),
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
        config.similar_incident_weight as f32,
        config.semantic_weight as f32,
    ])
}
