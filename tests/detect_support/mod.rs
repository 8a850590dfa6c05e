//! What tests of the detectors share.

use oddline::detect::budget::AlertBudget;
use oddline::detect::clock::Source;
use oddline::detect::{ModelOptions, Weights};

/// How whole streams are scored.
pub(crate) const OPTIONS: ModelOptions = ModelOptions {
    alert_budget: AlertBudget::Share(0.001),
    learning_events: 10_000,
    learning_secs: 1_000,
    hold_secs: 60,
    half_life_events: 50_000,
    calibration_half_life_events: 20_000,
    weights: Weights([1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 0.0]),
    clock: Source::Event,
};
