//! The field table: what is written under `target`. Documentation, JSON Schema and every adapter come from it.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use crate::config::Fields;
use crate::event::{DetectorKind, Reason, State};

/// Which field; the order is that of [`FIELDS`], and of the fields in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldId {
    /// How odd.
    Score,
    /// Alert or not.
    IsAnomaly,
    /// Why.
    Reasons,
    /// The skeleton of the message.
    Template,
    /// Its id.
    TemplateId,
    /// How far to trust the score.
    State,
    /// The texts at the wildcards.
    Parameters,
    /// What each detector says.
    Detectors,
    /// What would have been usual.
    Expected,
    /// What was seen.
    Observed,
    /// A repeat of an alert.
    Suppressed,
    /// The handle for `oddline show`.
    EventId,
    /// Made by oddline.
    Synthetic,
    /// The rule that decided.
    Rule,
    /// How much is worth keeping.
    SampleRatio,
    /// What it is like.
    Similar,
}

/// Type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Number,
    /// A number from 0 to 1; always written with a decimal point, so that no store takes it for an integer.
    Share,
    /// True or false.
    Flag,
    /// Text.
    Text,
    /// A list of texts.
    Texts,
    /// A map from names to numbers.
    Numbers,
    /// A list of maps with these parts.
    Maps(&'static [Part]),
}

/// One part of the maps of [`Kind::Maps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// Its type: [`Kind::Text`] or [`Kind::Share`].
    pub kind: Kind,
    /// It is always there.
    pub is_required: bool,
    /// What it says.
    pub meaning: &'static str,
}

const fn part(name: &'static str, kind: Kind, is_required: bool, meaning: &'static str) -> Part {
    Part { name, kind, is_required, meaning }
}

/// What is said of a past incident, in the order it is written.
pub static SIMILAR: [Part; 5] = [
    part("event_id", Kind::Text, true, "its id, for `oddline show`"),
    part("time", Kind::Text, true, "when it happened, RFC 3339"),
    part("score", Kind::Share, false, "its score, where it is known"),
    part("distance", Kind::Share, true, "how far apart the templates are in meaning: 0 is the same"),
    part("note", Kind::Text, false, "what `oddline note` said of it"),
];

/// From which setting of `fields` on a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On every event.
    Minimal,
    /// On every event, but for `minimal`.
    Standard,
    /// With `standard` on notable events (anomalies, suppressed repeats, oddline's own), with `full` on every event.
    Notable,
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Which one.
    pub id: FieldId,
    /// Its name under the target.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// When it is written.
    pub when: When,
    /// A further condition, in words; empty for none.
    pub condition: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

const fn field(id: FieldId, name: &'static str, kind: Kind, when: When, meaning: &'static str) -> Field {
    Field { id, name, kind, when, condition: "", meaning }
}

/// Every field, in the order they are written.
pub static FIELDS: [Field; 16] = [
    field(
        FieldId::Score,
        "score",
        Kind::Share,
        When::Minimal,
        "how odd the event is: `min(1, −log10 p / 6)`, so 0.5 is one in a thousand and 1.0 one in a million",
    ),
    field(
        FieldId::IsAnomaly,
        "is_anomaly",
        Kind::Flag,
        When::Minimal,
        "the event is within `alert_budget`, learning is over, and it is not `suppressed`; `rules` and feedback go over it",
    ),
    field(FieldId::Reasons, "reasons", Kind::Texts, When::Minimal, "why, strongest first"),
    field(
        FieldId::Template,
        "template",
        Kind::Text,
        When::Standard,
        "the constant skeleton of the message, `<*>` for its variables",
    ),
    field(
        FieldId::TemplateId,
        "template_id",
        Kind::Text,
        When::Standard,
        "stable id of the template, 16 hex digits; it stays when the template's text generalises",
    ),
    field(FieldId::State, "state", Kind::Text, When::Standard, "how far the score can be trusted"),
    Field {
        condition: "with `parameters: true`",
        ..field(
            FieldId::Parameters,
            "parameters",
            Kind::Texts,
            When::Standard,
            "the texts at the template's `<*>`, in order",
        )
    },
    field(
        FieldId::Detectors,
        "detectors",
        Kind::Numbers,
        When::Notable,
        "evidence by detector, in nats (−ln p), before weights",
    ),
    Field {
        condition: "for rate, numeric and silence reasons",
        ..field(
            FieldId::Expected,
            "expected",
            Kind::Text,
            When::Notable,
            "what would have been usual, in the line's own unit, such as `≤ 14 per 10 s`",
        )
    },
    Field {
        condition: "for rate, numeric and silence reasons",
        ..field(
            FieldId::Observed,
            "observed",
            Kind::Number,
            When::Notable,
            "what was seen, in the unit of `expected`; seconds for a silence",
        )
    },
    field(
        FieldId::Suppressed,
        "suppressed",
        Kind::Flag,
        When::Notable,
        "a repeat within `hold_secs` of an alert already raised",
    ),
    field(
        FieldId::EventId,
        "event_id",
        Kind::Text,
        When::Notable,
        "time-ordered id, unique across restarts of one data dir",
    ),
    field(
        FieldId::Synthetic,
        "synthetic",
        Kind::Flag,
        When::Notable,
        "the event is oddline's own, not one of the input",
    ),
    Field {
        condition: "when one of `rules` or feedback decided",
        ..field(
            FieldId::Rule,
            "rule",
            Kind::Text,
            When::Notable,
            "name of the rule that made it an anomaly, or kept it from being one; `feedback:flag` or `feedback:accept` for what was said by these commands",
        )
    },
    Field {
        condition: "with `sampling`",
        ..field(
            FieldId::SampleRatio,
            "sample_ratio",
            Kind::Share,
            When::Minimal,
            "the share of events like this one that is worth keeping, above 0; Vector's `sample` transform takes it as `ratio_field`",
        )
    },
    Field {
        condition: "where there are any",
        ..field(
            FieldId::Similar,
            "similar",
            Kind::Maps(&SIMILAR),
            When::Notable,
            "past incidents like an alert, at most three, noted ones first, then the nearest",
        )
    },
];

impl When {
    /// Whether a field is written on an event that is `notable` or not.
    pub const fn applies(self, detail: Fields, notable: bool) -> bool {
        match self {
            Self::Minimal => true,
            Self::Standard => !matches!(detail, Fields::Minimal),
            Self::Notable => matches!(detail, Fields::Full) || (notable && matches!(detail, Fields::Standard)),
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::Minimal => "always",
            Self::Standard => "`standard`, `full`",
            Self::Notable => "`standard`: on anomalies, suppressed repeats and oddline's own events; `full`: always",
        }
    }
}

impl Kind {
    const fn in_words(self) -> &'static str {
        match self {
            Self::Number => "float",
            Self::Share => "float, 0 to 1",
            Self::Flag => "bool",
            Self::Text => "string",
            Self::Texts => "list of strings",
            Self::Numbers => "map of floats",
            Self::Maps(_) => "list of objects",
        }
    }
}

impl Field {
    /// The values a text may have, where they are fixed.
    fn words(&self) -> Vec<&'static str> {
        match self.id {
            FieldId::Reasons => Reason::ALL.iter().map(|reason| reason.as_str()).collect(),
            FieldId::State => [State::Learning, State::Ready, State::Degraded].map(State::as_str).to_vec(),
            FieldId::Detectors => DetectorKind::ALL.iter().map(|kind| kind.as_str()).collect(),
            _ => Vec::new(),
        }
    }

    fn parts_in_words(&self) -> String {
        let Kind::Maps(parts) = self.kind else { return String::new() };
        let one = |part: &Part| format!("`{}` ({}: {})", part.name, part.kind.in_words(), part.meaning);
        format!(": {}", parts.iter().map(one).collect::<Vec<_>>().join(", "))
    }

    fn schema(&self) -> Json {
        let words = self.words();
        let text = if words.is_empty() { json!({"type": "string"}) } else { json!({"type": "string", "enum": words}) };
        let mut schema = match self.kind {
            Kind::Number => json!({"type": "number"}),
            Kind::Share => json!({"type": "number", "minimum": 0, "maximum": 1}),
            Kind::Flag => json!({"type": "boolean"}),
            Kind::Text if self.id == FieldId::TemplateId => json!({"type": "string", "pattern": "^[0-9a-f]{16}$"}),
            Kind::Text => text,
            Kind::Texts => json!({"type": "array", "items": text}),
            Kind::Numbers => json!({
                "type": "object",
                "propertyNames": {"enum": words},
                "additionalProperties": {"type": "number", "minimum": 0},
            }),
            Kind::Maps(parts) => json!({"type": "array", "items": object_schema(parts)}),
        };
        if let Json::Object(map) = &mut schema {
            map.insert("description".to_owned(), json!(self.meaning));
        }
        schema
    }
}

impl Part {
    fn schema(&self) -> Json {
        match self.kind {
            Kind::Share => json!({"type": "number", "minimum": 0, "maximum": 1, "description": self.meaning}),
            _ => json!({"type": "string", "description": self.meaning}),
        }
    }
}

fn object_schema(parts: &[Part]) -> Json {
    let properties: Map<String, Json> = parts.iter().map(|part| (part.name.to_owned(), part.schema())).collect();
    let required: Vec<_> = parts.iter().filter(|part| part.is_required).map(|part| part.name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// JSON Schema of the object under the target.
pub fn json_schema() -> Json {
    let properties: Map<String, Json> = FIELDS.iter().map(|field| (field.name.to_owned(), field.schema())).collect();
    let required: Vec<_> = FIELDS
        .iter()
        .filter(|field| field.when == When::Minimal && field.condition.is_empty())
        .map(|field| field.name)
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "oddline fields",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// The table as Markdown.
pub fn reference_markdown() -> String {
    let mut text = String::from("| field | type | written | meaning |\n|---|---|---|---|\n");
    for field in &FIELDS {
        let words = field.words();
        let words = if words.is_empty() {
            String::new()
        } else {
            format!(": {}", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
        };
        let parts = field.parts_in_words();
        let condition = if field.condition.is_empty() { String::new() } else { format!(", {}", field.condition) };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {}{condition} | {}{words}{parts} |",
            field.name,
            field.kind.in_words(),
            field.when.in_words(),
            field.meaning,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_table_is_in_order_of_its_ids() {
        for (index, field) in FIELDS.iter().enumerate() {
            assert_eq!(field.id as usize, index, "{}", field.name);
            assert!(!FIELDS[..index].iter().any(|other| other.name == field.name), "{}", field.name);
        }
    }

    #[test]
    fn reference_and_schema_hold_every_field() {
        let (markdown, schema) = (reference_markdown(), json_schema());
        for field in &FIELDS {
            assert!(markdown.contains(&format!("| `{}` |", field.name)), "{}", field.name);
            assert_eq!(schema["properties"][field.name]["description"], field.meaning);
        }
        assert_eq!(markdown.lines().count(), FIELDS.len() + 2);
        assert_eq!(schema["required"], json!(["score", "is_anomaly", "reasons"]));
    }
}
