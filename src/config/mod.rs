//! The configuration: one stanza of keys, the same in every agent and in YAML, TOML and JSON.
//!
//! `table` states every key once: type, default, bounds, unit, meaning. The struct, its defaults,
//! the checks, the JSON Schema, the commented example and the Markdown reference are made from it.
//!
//! A key that is not known, a value of the wrong type and a value out of range are errors that name
//! file, line and key, what was found and what is accepted.

mod budget;
mod check;
mod choice;
mod error;
mod journal;
mod json;
mod load;
mod nearest;
mod reference;
mod rule;
mod sampling;
mod schema;
mod table;
mod tick;
mod toml;
mod value;
mod yaml;

pub use budget::{AlertBudget, ParseBudgetError, Per};
pub use choice::{
    BuiltinMask, Durability, EmbedderKind, Fields, JournalFormat, JournalMessage, OnExisting, TimeSource,
    UnknownChoice, Wildcards,
};
pub use error::{ConfigError, Place};
pub use journal::Journal;
pub use load::Format;
pub use reference::{example, example_in, reference_markdown};
pub use rule::{EventRule, RuleAction, RuleMatch};
pub use sampling::Sampling;
pub use schema::json_schema;
pub use table::{Config, FIELDS, Field, Kind, Mask, Shape};
