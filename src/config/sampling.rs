//! `sampling`: how much of the routine is worth keeping.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::{Entry, Setting, Value};

/// How much of the routine is worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Events of a template and minute that are kept, about; more only at `minimum_ratio`.
    pub keep_per_minute: u64,
    /// The least share of a template's events that is kept, however many there are.
    pub minimum_ratio: f64,
}

impl Sampling {
    pub(super) const KEEP: &'static str = "keep_per_minute";
    pub(super) const RATIO: &'static str = "minimum_ratio";
    pub(super) const KEYS: [&'static str; 2] = [Self::KEEP, Self::RATIO];
    /// Bounds of `keep_per_minute`.
    pub(super) const KEEP_BOUNDS: (u64, u64) = (1, 1_000_000);
    /// Bounds of `minimum_ratio`.
    pub(super) const RATIO_BOUNDS: (f64, f64) = (1e-6, 1.0);
}

impl Default for Sampling {
    fn default() -> Self {
        Self { keep_per_minute: 60, minimum_ratio: 0.01 }
    }
}

impl Setting for Sampling {
    fn to_value(&self) -> Value {
        let entry = |key: &str, value: Value| Entry { key: key.to_owned(), line: None, node: value.unplaced() };
        Value::Map(vec![
            entry(Self::KEEP, self.keep_per_minute.to_value()),
            entry(Self::RATIO, self.minimum_ratio.to_value()),
        ])
    }

    fn from_value(value: &Value) -> Option<Self> {
        let entries: &[Entry] = match value {
            Value::Map(entries) => entries,
            Value::List(items) if items.is_empty() => &[],
            _ => return None,
        };
        let mut sampling = Self::default();
        for entry in entries {
            match entry.key.as_str() {
                Self::KEEP => sampling.keep_per_minute = u64::from_value(&entry.node.value)?,
                Self::RATIO => sampling.minimum_ratio = f64::from_value(&entry.node.value)?,
                _ => return None,
            }
        }
        Some(sampling)
    }
}
