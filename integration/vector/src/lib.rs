//! oddline inside Vector: the transform `score_anomalies` and the sink `oddline`.
//!
//! | part | file |
//! |---|---|
//! | the options of both, made from oddline's table of keys by `build.rs` | `config` |
//! | Vector's log event as oddline reads and writes it | `event` |
//! | the types of the fields that are added, for Vector's schemas | `schema` |
//! | the transform | `transform` |
//! | the sink | `sink` |
//! | metrics and errors, as Vector's component specification asks | `telemetry` |
//!
//! Linking this crate registers both components; a `main` of its own starts Vector with [`extra_context`]. Without that
//! mark, as in `vector validate` and `vector test`, nothing reads or writes a data dir: what is learned stays in memory.

mod config;
mod event;
mod schema;
mod sink;
mod telemetry;
mod transform;

use vector::extra_context::ExtraContext;

pub use config::{OddlineConfig, ScoreAnomaliesConfig};

/// The mark of a Vector that runs its configuration instead of looking at it.
#[derive(Clone, Copy, Debug)]
struct Live;

/// What the `main` of a Vector with these components hands to `Application::run`.
pub fn extra_context() -> ExtraContext {
    ExtraContext::single_value(Live)
}

fn is_live(context: &ExtraContext) -> bool {
    context.get::<Live>().is_some()
}
