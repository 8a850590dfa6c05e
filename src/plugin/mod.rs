//! What agent adapters build on.
//!
//! An adapter implements [`Event`] for the agent's own event and calls a [`Component`]: `process` for each event,
//! `tick` every `Config::tick_interval`, `flush` and `shutdown`. Everything else (which fields, what to do with what is there
//! already, when the engine is opened, what happens when it cannot be) is decided here, once, and
//! [`conformance`] checks that an adapter keeps to it. Lines of JSON and text have their adapter here: [`json`].

pub mod component;
pub mod conformance;
pub mod enrichment;
pub mod event;
pub mod fields;
pub mod json;
pub mod manifest;
pub mod path;
pub mod prometheus;
mod ruled;
pub mod sample;
mod texts;
pub mod timestamp;

pub use component::{Component, ComponentError, ComponentStats, Counts, Outcome, Panicked, guard};
pub use enrichment::{Enrichment, MapEntry, Value};
pub use event::{Event, Input, Layout, LayoutError, Scalar, Written};
pub use json::LineScorer;
pub use path::{Path, PathError};
