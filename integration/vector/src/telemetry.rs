//! Metrics and errors, as Vector's component specification asks.
//!
//! What comes in and goes out of a transform is counted by Vector. Ours: oddline's counters and gauges under the names they have
//! everywhere (`oddline_events_total` …), and `component_errors_total` for trouble. Events are never dropped.
//! Registered and emitted within the component's span, which gives them `component_id` and the like.

use metrics::{Counter, Gauge};
use oddline::plugin::ComponentStats;
use vector_lib::internal_event::{CounterName, error_stage, error_type};

/// What is told so far.
pub(crate) struct Telemetry {
    counters: Vec<(Counter, Seen)>,
    gauges: Vec<(&'static str, Gauge)>,
    open_failures: Seen,
    panics: Seen,
    write_failures: Seen,
}

/// How far a counter that only grows was looked at.
#[derive(Default)]
struct Seen(u64);

impl Seen {
    /// By how much it has grown since.
    fn growth(&mut self, now: u64) -> u64 {
        now.saturating_sub(std::mem::replace(&mut self.0, now))
    }
}

impl Telemetry {
    /// To be called within the component's span.
    pub(crate) fn new() -> Self {
        Self {
            counters: Vec::new(),
            gauges: Vec::new(),
            open_failures: Seen::default(),
            panics: Seen::default(),
            write_failures: Seen::default(),
        }
    }

    /// Tells what changed since the last time.
    pub(crate) fn update(&mut self, stats: &ComponentStats) {
        if self.counters.is_empty() {
            let counter = |(name, _)| (metrics::counter!(format!("oddline_{name}")), Seen::default());
            self.counters = stats.counts.iter().map(counter).collect();
        }
        for ((counter, seen), (_, value)) in self.counters.iter_mut().zip(stats.counts.iter()) {
            counter.increment(seen.growth(value));
        }
        if self.gauges.is_empty() {
            self.gauges = stats.gauges().map(|(name, _)| (name, metrics::gauge!(format!("oddline_{name}")))).collect();
        }
        for ((_, gauge), (_, value)) in self.gauges.iter().zip(stats.gauges()) {
            gauge.set(value as f64);
        }
        self.trouble(stats);
    }

    fn trouble(&mut self, stats: &ComponentStats) {
        let counts = &stats.counts;
        let reason = stats.last_error.as_deref().unwrap_or("no reason was kept");
        let open = self.open_failures.growth(counts.open_failures_total);
        failed(open, "Data dir cannot be opened, events pass without scores.", reason, error_type::IO_FAILED);
        let panics = self.panics.growth(counts.panics_total);
        failed(panics, "Internal error, please report it.", reason, error_type::CONDITION_FAILED);
        let writes = self.write_failures.growth(counts.write_failures_total);
        let whole = "neither the event nor its metadata is a map";
        failed(writes, "Fields cannot be written, events pass as they are.", whole, error_type::CONVERSION_FAILED);
    }
}

fn failed(times: u64, message: &'static str, error: &str, error_type: &'static str) {
    if times > 0 {
        tracing::error!(message, %error, error_type, stage = error_stage::PROCESSING);
        count(times, error_type);
    }
}

/// What could not be saved, with what it was.
pub(crate) fn not_saved(error: &dyn std::error::Error) {
    let (message, error_type) = ("What was learned could not be saved.", error_type::WRITER_FAILED);
    tracing::error!(message, %error, error_type, stage = error_stage::PROCESSING);
    count(1, error_type);
}

fn count(times: u64, error_type: &'static str) {
    let name = CounterName::ComponentErrorsTotal;
    vector_lib::counter!(name, "error_type" => error_type, "stage" => error_stage::PROCESSING).increment(times);
}
