//! How odd is this event? Arithmetic only: no I/O, no clock, no text but a template's.
//!
//! Each [`Detector`] gives evidence in nats. What most of them say is calibrated by what they said before ([`calibration`]), so that one that
//! often cries says little; [`Model`] combines them,
//!
//! > T = max(evidence other than severity) + λ·severity + 0.001·Σ evidence,
//!
//! turns T into a p-value by what T was for past events, and holds back repeats ([`hold`]). An event is scored with what was known before it
//! came, then learned. Calibrations learn what would have alerted, repeats left out: the share of events at or above a threshold is then
//! the share that alerts, and a long incident is learned as the few alerts it raises and not as its thousands of lines.
//!
//! | detector | looks at | kept per | several lanes |
//! |---|---|---|---|
//! | [`rarity`] | the template | template | exchanged |
//! | [`rate`] | its count in a window | template, and template and stream | templates exchanged |
//! | `season` | rarity and rate, by the hour of the week | template that stood out | own |
//! | [`numeric`] | numbers at wildcards | template and wildcard | ranges exchanged |
//! | [`categorical`] | words at wildcards | template and wildcard | own |
//! | [`sequence`] | the templates before it | stream, transitions over all | own |
//! | [`severity`] | level words | | |
//! | [`Input::is_like_incident`] | likeness to what was flagged | | |
//! | [`semantic`] | what its template means; off unless it is given a weight | all, frozen | shared, not learned on |
//! | [`silence`] | time since the last one | template, and template and stream | own |
//!
//! What time an event is of is decided once, by the lane's [`clock`]: detectors see a time that does not run back, however hosts' clocks differ.
//!
//! # Order and reproducibility
//! All state changes are functions of the sequence of [`Input`]s: the same inputs in the same order give the same
//! bits, and [`Model::checkpoint`] keeps every bit. A restart therefore replays inputs and arrives where it was.
//!
//! # Templates that become one
//! What was learned of a template goes over to the one that takes it in: counts, windows that run and that closed, ranges, sets of values, hours,
//! what was said of late and what is held. The words they differ in are values from then on. Of the order what neighbours are found (a bounded search), of the gaps between events those of the more regular one: see
//! there.
//!
//! # Several lanes
//! A lane's model holds its own events and, at each fold, those of others ([`Outbox`], [`Model::absorb`]), as if they had come since the last fold: what is
//! exchanged ages by the events of all lanes, so that its half-life is of as many events as with one. What the table calls a lane's own is learned
//! by each lane from its own events, and ages by them: a stream should stay with a lane.

mod aging;
pub mod budget;
pub mod calibration;
pub mod categorical;
pub mod clock;
mod extremes;
pub mod hold;
pub mod joining;
mod logarithm;
mod model;
pub mod numeric;
pub mod rarity;
pub mod rate;
mod repeats;
mod runs;
mod season;
pub mod semantic;
pub mod sequence;
pub mod severity;
pub mod silence;
mod state;
mod streams;
mod table;
pub mod value;

pub use model::{Evicted, Grounds, Model, ModelOptions, Outbox, Scored, Weights};
pub use state::{StateError, StateReader};

use crate::event::{DetectorKind, StreamKey, Timestamp};

/// More templates than a store can hold: bounds what is read back.
const MOST_TEMPLATES: usize = 1 << 24;

/// What detectors see of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Input {
    /// Index of the template's counts.
    pub slot: usize,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The stream it belongs to.
    pub stream: StreamKey,
    /// Level words and keywords, see [`severity`].
    pub severity: severity::Severity,
    /// What is at its wildcards.
    pub values: value::Values,
    /// How much it surprised where it came in its stream's order, 0 to 1: for who asks [`rate`] alone; the model has it from [`sequence`].
    pub surprise: f32,
    /// Its template is like one the user flagged.
    pub is_like_incident: bool,
    /// How odd its template's meaning is, see [`semantic`].
    pub oddness: semantic::Oddness,
    /// The user wants no alert of it: it is scored and learned, and neither alerts nor counts as an alert.
    pub is_muted: bool,
}

/// One source of evidence: O(1) an event, bounded memory.
pub trait Detector {
    /// Its place among the evidence.
    const KIND: DetectorKind;

    /// How surprising the event is under what was learned before it: nats, finite, ≥ 0. Then takes the event in.
    fn observe(&mut self, input: &Input) -> f32;

    /// What was learned of `from` now belongs to `into`.
    fn merge(&mut self, from: usize, into: usize);

    /// The slot is about to hold another template.
    fn forget(&mut self, slot: usize);

    /// Appends everything learned, bit for bit.
    fn checkpoint(&self, out: &mut Vec<u8>);

    /// Takes in what [`Self::checkpoint`] wrote.
    ///
    /// # Errors
    /// When the bytes are cut short or hold impossible values; the detector is then as it was.
    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError>;
}
