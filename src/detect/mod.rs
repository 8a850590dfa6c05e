//! How odd is this event? Arithmetic only: no I/O, no clock, no text but a template's.
//!
//! Each [`Detector`] gives evidence in nats (−ln p under what it learned). [`Model`] combines them,
//!
//! > T = max(evidence other than severity) + λ·severity + 0.001·Σ evidence,
//!
//! turns T into a p-value by what T was for past events ([`calibration`]), and holds back repeats ([`hold`]). An
//! event is scored with what was known before it came, then learned.
//!
//! # Order and reproducibility
//! All state changes are functions of the sequence of [`Input`]s: the same inputs in the same order give the same
//! bits, and [`Model::checkpoint`] keeps every bit. A restart therefore replays inputs and arrives where it was.
//!
//! # Several lanes
//! A lane's model holds its own events and, at each fold, those of others ([`Outbox`], [`Model::absorb`]): counts are
//! added at the current weight, so what was learned elsewhere counts as having just happened.

pub mod calibration;
pub mod hold;
mod model;
pub mod rarity;
pub mod severity;
mod state;

pub use model::{Model, ModelOptions, Outbox, Scored};
pub use state::{StateError, StateReader};

use crate::event::{DetectorKind, Timestamp};

/// What detectors see of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// Index of the template's counts.
    pub slot: usize,
    /// When it happened.
    pub timestamp: Timestamp,
    /// Level words and keywords, see [`severity`].
    pub severity: severity::Severity,
}

/// One source of evidence: O(1) an event, bounded memory.
pub trait Detector {
    /// Its place among the evidence.
    const KIND: DetectorKind;

    /// How surprising the event is under what was learned before it: nats, finite, ≥ 0.
    fn evidence(&self, input: &Input) -> f32;

    /// Takes the event in.
    fn learn(&mut self, input: &Input);

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
