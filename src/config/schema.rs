//! JSON Schema of the configuration, for editors and for agents that check a stanza before we see it.

use serde_json::{Map, Value, json};

use super::journal::Journal;
use super::rule::RuleMatch;
use super::sampling::Sampling;
use super::table::{Config, FIELDS, Field, Kind, Mask, Shape};

/// JSON Schema (2020-12) of a whole configuration, with meanings, defaults and bounds; unknown keys are refused.
///
/// It accepts what [`Config::from_str`] accepts, but for what a schema cannot say: that mask names are
/// unique, that a mask's pattern compiles and does not match the empty text, the same of rules, and how two keys go together.
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(Config).to_value();
    schema["title"] = json!("oddline");
    schema["description"] = json!("Configuration of oddline; every key can be left out.");
    for field in FIELDS {
        if let Some(property) = object(&mut schema, &["properties", field.key]) {
            describe(property, field);
        }
    }
    for named in ["Mask", "EventRule"] {
        if let Some(name) = object(&mut schema, &["$defs", named, "properties", Mask::NAME]) {
            name.insert("pattern".to_owned(), json!(Mask::NAME_PATTERN));
            name.insert("maxLength".to_owned(), json!(Mask::NAME_CHARS));
        }
    }
    let sampling = [
        (Sampling::KEEP, json!(Sampling::KEEP_BOUNDS.0), json!(Sampling::KEEP_BOUNDS.1)),
        (Sampling::RATIO, json!(Sampling::RATIO_BOUNDS.0), json!(Sampling::RATIO_BOUNDS.1)),
    ];
    for (key, min, max) in sampling {
        if let Some(property) = object(&mut schema, &["$defs", "Sampling", "properties", key]) {
            bounds(property, min, max);
        }
    }
    for (key, field) in Journal::KEYS.iter().zip(Journal::FIELDS) {
        if let Some(property) = object(&mut schema, &["$defs", "Journal", "properties", key]) {
            describe(property, field);
        }
    }
    if let Some(kinds) = schema.pointer_mut("/$defs/RuleMatch/anyOf").and_then(Value::as_array_mut) {
        kinds.iter_mut().for_each(rule_match);
    }
    if let Some(regex) = object(&mut schema, &["$defs", "Mask", "properties", Mask::REGEX]) {
        regex.insert("minLength".to_owned(), json!(1));
        regex.insert("maxLength".to_owned(), json!(Mask::REGEX_CHARS));
    }
    schema
}

fn rule_match(kind: &mut Value) {
    let bounds = [
        (RuleMatch::TEMPLATE, Some(RuleMatch::TEMPLATE_PATTERN), 16),
        (RuleMatch::REGEX, None, Mask::REGEX_CHARS),
        (RuleMatch::FIELD, Some(Shape::FieldPath.pattern()), Shape::FIELD_CHARS),
        (RuleMatch::VALUE, None, RuleMatch::VALUE_CHARS),
    ];
    for (key, pattern, chars) in bounds {
        if let Some(property) = object(kind, &["properties", key]) {
            property.insert("maxLength".to_owned(), json!(chars));
            property.extend(pattern.map(|pattern| ("pattern".to_owned(), json!(pattern))));
        }
    }
}

fn object<'s>(schema: &'s mut Value, path: &[&str]) -> Option<&'s mut Map<String, Value>> {
    path.iter().try_fold(schema, |schema, part| schema.get_mut(part))?.as_object_mut()
}

fn describe(property: &mut Map<String, Value>, field: &Field) {
    property.insert("description".to_owned(), json!(field.description));
    match field.kind {
        Kind::Flag | Kind::Choice(_) | Kind::Sampling | Kind::Budget | Kind::Journal => {}
        Kind::Integer { min, max } => bounds(property, json!(min), json!(max)),
        Kind::Number { min, max } => bounds(property, json!(min), json!(max)),
        Kind::Text(shape) | Kind::OptionalText(shape) => text(property, shape),
        Kind::Texts { shape, max_items } => {
            property.insert("maxItems".to_owned(), json!(max_items));
            property.insert("uniqueItems".to_owned(), json!(true));
            if let Some(items) = property.get_mut("items").and_then(Value::as_object_mut) {
                text(items, shape);
            }
        }
        Kind::Choices(_) => {
            property.insert("uniqueItems".to_owned(), json!(true));
        }
        Kind::Masks { max_items } | Kind::Rules { max_items } => {
            property.insert("maxItems".to_owned(), json!(max_items));
        }
    }
}

fn bounds(property: &mut Map<String, Value>, min: Value, max: Value) {
    property.insert("minimum".to_owned(), min);
    property.insert("maximum".to_owned(), max);
}

fn text(property: &mut Map<String, Value>, shape: Shape) {
    property.insert("pattern".to_owned(), json!(shape.pattern()));
    if let Some(max) = shape.max_chars() {
        property.insert("maxLength".to_owned(), json!(max));
    }
}
