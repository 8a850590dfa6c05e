//! `rules`: what the user wants called an anomaly, or not, whatever its score.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::table::Mask;
use super::value::{Entry, Setting, Value};

/// One of `rules`: the first whose `match` an event meets decides whether the event is an anomaly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventRule {
    /// Name of the rule: lower-case letters, digits and `_`; unique.
    pub name: String,
    /// What the rule is about.
    #[serde(rename = "match")]
    pub matches: RuleMatch,
    /// What becomes of the events it is about.
    #[serde(rename = "do")]
    pub action: RuleAction,
}

/// What a rule is about: one of the three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum RuleMatch {
    /// The events of one template.
    Template {
        /// Its id, 16 hex digits; also that of a template that was merged into it.
        template: String,
    },
    /// The events of templates whose text, variables written `<*>`, the pattern is found in.
    Regex {
        /// The pattern, in the syntax of the Rust `regex` crate.
        regex: String,
    },
    /// The events with this value in this field.
    Field {
        /// Path of the field, parts joined by dots.
        field: String,
        /// The whole value; a number as its digits, a flag as `true` or `false`.
        value: String,
    },
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RuleAction {
    /// The event is scored and learned, and never an anomaly.
    #[serde(rename = "never")]
    Never,
    /// The event is an anomaly each time, with the reason `rule`.
    #[serde(rename = "always")]
    Always,
}

impl EventRule {
    pub(super) const NAME: &'static str = Mask::NAME;
    pub(super) const MATCH: &'static str = "match";
    pub(super) const DO: &'static str = "do";
    pub(super) const KEYS: [&'static str; 3] = [Self::NAME, Self::MATCH, Self::DO];
    /// The most fields that rules look at.
    pub const MOST_FIELDS: usize = 8;
}

impl RuleMatch {
    pub(super) const TEMPLATE: &'static str = "template";
    pub(super) const REGEX: &'static str = Mask::REGEX;
    pub(super) const FIELD: &'static str = "field";
    pub(super) const VALUE: &'static str = "value";
    pub(super) const KEYS: [&'static str; 4] = [Self::TEMPLATE, Self::REGEX, Self::FIELD, Self::VALUE];
    pub(super) const TEMPLATE_PATTERN: &'static str = "^[0-9a-f]{16}$";
    /// The longest value, in characters.
    pub(super) const VALUE_CHARS: usize = 1_024;
    pub(super) const ACCEPTED: &'static str = "a map of template, of regex, or of field and value";
}

impl RuleAction {
    /// The words, in the order of the documentation.
    pub const NAMES: &'static [&'static str] = &["never", "always"];

    /// The word the configuration uses for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Always => "always",
        }
    }
}

fn entry(key: &str, value: Value) -> Entry {
    Entry { key: key.to_owned(), line: None, node: value.unplaced() }
}

fn find<'v>(entries: &'v [Entry], key: &str) -> Option<&'v Value> {
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node.value)
}

impl Setting for RuleAction {
    fn to_value(&self) -> Value {
        Value::Text(self.as_str().to_owned())
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => [Self::Never, Self::Always].into_iter().find(|action| action.as_str() == text),
            _ => None,
        }
    }
}

impl Setting for RuleMatch {
    fn to_value(&self) -> Value {
        Value::Map(match self {
            Self::Template { template } => vec![entry(Self::TEMPLATE, template.to_value())],
            Self::Regex { regex } => vec![entry(Self::REGEX, regex.to_value())],
            Self::Field { field, value } => {
                vec![entry(Self::FIELD, field.to_value()), entry(Self::VALUE, value.to_value())]
            }
        })
    }

    fn from_value(value: &Value) -> Option<Self> {
        let Value::Map(entries) = value else { return None };
        let text = |key: &str| find(entries, key).and_then(String::from_value);
        match (text(Self::TEMPLATE), text(Self::REGEX), text(Self::FIELD), text(Self::VALUE)) {
            (Some(template), None, None, None) => Some(Self::Template { template }),
            (None, Some(regex), None, None) => Some(Self::Regex { regex }),
            (None, None, Some(field), Some(value)) => Some(Self::Field { field, value }),
            _ => None,
        }
    }
}

impl Setting for EventRule {
    fn to_value(&self) -> Value {
        Value::Map(vec![
            entry(Self::NAME, self.name.to_value()),
            entry(Self::MATCH, self.matches.to_value()),
            entry(Self::DO, self.action.to_value()),
        ])
    }

    fn from_value(value: &Value) -> Option<Self> {
        let Value::Map(entries) = value else { return None };
        Some(Self {
            name: find(entries, Self::NAME).and_then(String::from_value)?,
            matches: find(entries, Self::MATCH).and_then(RuleMatch::from_value)?,
            action: find(entries, Self::DO).and_then(RuleAction::from_value)?,
        })
    }
}
