//! The configuration from what Fluent Bit hands over: keys and texts.
//!
//! Keys are oddline's own, in any case (Fluent Bit's are so). A key within a map is written with a dot: `journal.url`. Values are read by what
//! the key takes:
//!
//! | takes | written |
//! |---|---|
//! | flag | `true`, `on`, `yes`, `1`, `false`, `off`, `no`, `0` |
//! | number, text | as it is |
//! | list of texts | several, as a YAML list; or one text with commas; or `["a", "b"]` |
//! | `alert_budget` | `0.001` or `5/hour` |
//! | map, list of maps | one text, YAML or JSON |
//!
//! One key is Fluent Bit's alone: `metrics_file`, a path.

use std::path::PathBuf;

use oddline::config::{Config, ConfigError, FIELDS, Field, Format, Kind};
use oddline::plugin::{Layout, LayoutError};
use serde_json::{Map, Value, json};

/// A key and its value, as Fluent Bit has them.
pub(crate) type Property = (String, String);

/// Why a configuration is not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// oddline's own checks say so.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its paths cannot be used together.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Fluent Bit has no place of its own for what plugins keep.
    #[error(
        "{0}: data_dir: expected a directory for what is learned, such as /var/lib/fluent-bit/oddline, found nothing"
    )]
    NoDataDir(String),
    /// A key that takes one value stands more than once.
    #[error("{origin}: {key}: expected one value, found {found}")]
    Several {
        /// The plugin.
        origin: String,
        /// The key.
        key: String,
        /// How many values.
        found: usize,
    },
}

/// The key of the file with an instance's figures.
const METRICS_FILE: &str = "metrics_file";

/// What an instance is told.
#[derive(Debug)]
pub(crate) struct Settings {
    /// oddline's own keys.
    pub(crate) config: Config,
    /// Where its figures go.
    pub(crate) metrics_file: Option<PathBuf>,
}

/// Reads and checks the properties of `origin`, the plugin as messages name it.
pub(crate) fn read(properties: &[Property], origin: &str) -> Result<Settings, Refused> {
    let is_ours = |(key, _): &&Property| key.eq_ignore_ascii_case(METRICS_FILE);
    let (ours, rest): (Vec<&Property>, Vec<&Property>) = properties.iter().partition(is_ours);
    if ours.len() > 1 {
        return Err(Refused::Several { origin: origin.to_owned(), key: METRICS_FILE.to_owned(), found: ours.len() });
    }
    let rest: Vec<Property> = rest.into_iter().cloned().collect();
    let metrics_file = ours.first().map(|(_, path)| PathBuf::from(path));
    Ok(Settings { config: config(&rest, origin)?, metrics_file })
}

fn config(properties: &[Property], origin: &str) -> Result<Config, Refused> {
    let mut root = Map::new();
    for (index, (key, _)) in properties.iter().enumerate() {
        let same = |(other, _): &&Property| other.eq_ignore_ascii_case(key);
        if properties.iter().take(index).any(|other| same(&other)) {
            continue;
        }
        let values: Vec<&str> = properties.iter().filter(same).map(|(_, value)| value.as_str()).collect();
        let (key, inner) = split(key);
        let field = FIELDS.iter().find(|field| field.key == key);
        let is_list = field.is_some_and(|field| matches!(field.kind, Kind::Texts { .. } | Kind::Choices(_)));
        if values.len() > 1 && (!is_list || inner.is_some()) {
            return Err(Refused::Several { origin: origin.to_owned(), key, found: values.len() });
        }
        match inner {
            None => drop(root.insert(key.clone(), value(field, &values, origin)?)),
            Some(inner) => {
                let map = root.entry(key).or_insert_with(|| json!({}));
                if let Some(map) = map.as_object_mut() {
                    map.insert(inner, values.first().map_or(Value::Null, |text| scalar(text)));
                }
            }
        }
    }
    let config = Config::from_value(&Value::Object(root), origin)?;
    Layout::new(&config)?;
    match config.data_dir {
        Some(_) => Ok(config),
        None => Err(Refused::NoDataDir(origin.to_owned())),
    }
}

/// A known key as it is known, and the key within its map.
fn split(key: &str) -> (String, Option<String>) {
    let known = |name: &str| FIELDS.iter().any(|field| field.key == name);
    let lower = key.to_ascii_lowercase();
    match lower.split_once('.') {
        Some((outer, inner)) if known(outer) => (outer.to_owned(), Some(inner.to_owned())),
        _ if known(&lower) => (lower, None),
        _ => (key.to_owned(), None),
    }
}

fn value(field: Option<&Field>, values: &[&str], origin: &str) -> Result<Value, ConfigError> {
    let text = values.first().copied().unwrap_or_default();
    let Some(field) = field else { return Ok(json!(text)) };
    Ok(match field.kind {
        Kind::Flag => flag(text).map_or_else(|| json!(text), Value::Bool),
        Kind::Integer { .. } | Kind::Number { .. } => number(text).unwrap_or_else(|| json!(text)),
        Kind::Budget => number(text).unwrap_or_else(|| json!(text)),
        Kind::Texts { .. } | Kind::Choices(_) => texts(values),
        Kind::Masks { .. } | Kind::Rules { .. } | Kind::Sampling | Kind::Journal => nested(field, text, origin)?,
        _ => json!(text),
    })
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

fn number(text: &str) -> Option<Value> {
    let float = || text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number);
    text.parse::<u64>().ok().map(Value::from).or_else(float)
}

/// What a text within a map is: there is no table of those keys to ask.
fn scalar(text: &str) -> Value {
    match text {
        "true" | "false" => Value::Bool(text == "true"),
        _ => number(text).unwrap_or_else(|| json!(text)),
    }
}

fn texts(values: &[&str]) -> Value {
    match values {
        [one] if one.trim_start().starts_with('[') => serde_json::from_str(one).unwrap_or_else(|_| json!(one)),
        [one] => one.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect(),
        several => several.iter().copied().map(Value::from).collect(),
    }
}

/// A map or list of maps, through the parser that configuration files have.
fn nested(field: &Field, text: &str, origin: &str) -> Result<Value, ConfigError> {
    let mut document = format!("{}:\n", field.key);
    for line in text.lines() {
        document.push_str("  ");
        document.push_str(line);
        document.push('\n');
    }
    let config = Config::from_str(&document, Format::Yaml, &format!("{origin}: {}", field.key))?;
    let mut all = serde_json::to_value(config).unwrap_or_default();
    Ok(all.get_mut(field.key).map(Value::take).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Vec<Property> {
        let all = [("data_dir", "/d")].iter().chain(pairs);
        all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[track_caller]
    fn accepted(pairs: &[(&str, &str)]) -> Config {
        read(&properties(pairs), "filter oddline").unwrap().config
    }

    #[track_caller]
    fn refused(pairs: &[(&str, &str)]) -> String {
        read(&properties(pairs), "filter oddline").unwrap_err().to_string()
    }

    fn as_file(yaml: &str) -> Config {
        Config::from_str(&format!("data_dir: /d\n{yaml}"), Format::Yaml, "file").unwrap()
    }

    #[test]
    fn each_kind_of_value_is_what_it_is_in_a_file() {
        let config = accepted(&[
            ("Parameters", "On"),
            ("learning_events", "500"),
            ("hold_secs", "0"),
            ("severity_weight", "1.5"),
            ("fields", "full"),
            ("message_field", "log"),
            ("alert_budget", "5/hour"),
            ("partition_by", "host, service"),
            ("rules", "- name: backup\n  match: {regex: 'backup of'}\n  do: never"),
            ("masks", r#"[{"name": "order", "regex": "ORD-[0-9]+"}]"#),
            ("sampling.keep_per_minute", "5"),
            ("journal", "format: ndjson\ninterval_secs: 60"),
        ]);
        let file = as_file(
            "parameters: true\nlearning_events: 500\nhold_secs: 0\nseverity_weight: 1.5\nfields: full\nmessage_field: log\nalert_budget: 5/hour\n\
             partition_by: [host, service]\nrules: [{name: backup, match: {regex: 'backup of'}, do: never}]\n\
             masks: [{name: order, regex: 'ORD-[0-9]+'}]\nsampling: {keep_per_minute: 5}\njournal: {format: ndjson, interval_secs: 60}",
        );
        assert_eq!(config, file);
    }

    #[test]
    fn a_list_may_be_several_values_or_json() {
        let file = as_file("partition_by: [host, service]");
        assert_eq!(accepted(&[("partition_by", "host"), ("PARTITION_BY", "service")]), file);
        assert_eq!(accepted(&[("partition_by", r#"["host", "service"]"#)]), file);
        assert_eq!(accepted(&[("partition_by", "")]), as_file("partition_by: []"));
    }

    #[test]
    fn every_key_can_be_set_from_the_text_a_file_has() {
        for field in FIELDS {
            let text = field.default_text();
            if text.is_empty() || field.key == "data_dir" {
                continue;
            }
            let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&text).to_owned();
            assert_eq!(accepted(&[(field.key, &text)]), as_file(""), "{} {text}", field.key);
        }
    }

    #[test]
    fn wrong_keys_are_refused_with_the_nearest_known_one() {
        let error = refused(&[("alert_buget", "0.1")]);
        assert!(error.contains("alert_buget") && error.contains("alert_budget"), "{error}");
        let error = refused(&[("sampling.keep_per_minut", "5")]);
        assert!(error.contains("keep_per_minute"), "{error}");
        let error = refused(&[("rules", "- name: x\n  mach: 1")]);
        assert!(error.contains("mach"), "{error}");
    }

    #[test]
    fn wrong_values_are_refused_by_key() {
        for (key, value) in [
            ("learning_events", "many"),
            ("learning_events", "-1"),
            ("severity_weight", "nan"),
            ("parameters", "perhaps"),
            ("fields", "most"),
            ("alert_budget", "5/moon"),
            ("partition_by", "[1"),
            ("rules", "{{{"),
            ("journal", "url: [1]"),
            ("target", "message"),
        ] {
            let error = refused(&[(key, value)]);
            assert!(error.contains(key), "{key}: {error}");
        }
    }

    #[test]
    fn one_value_is_not_two() {
        let error = refused(&[("fields", "full"), ("Fields", "minimal")]);
        assert!(error.contains("fields") && error.contains('2'), "{error}");
    }

    #[test]
    fn a_data_dir_must_be_named() {
        let error = read(&[("fields".to_owned(), "full".to_owned())], "filter oddline").unwrap_err().to_string();
        assert!(error.contains("data_dir"), "{error}");
    }

    /// Every stanza of `name: oddline` below `value`, as the properties Fluent Bit makes of it.
    fn stanzas(value: &Value, found: &mut Vec<Vec<Property>>) {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match value {
            Value::Array(items) => items.iter().for_each(|item| stanzas(item, found)),
            Value::Object(map) if map.get("name") == Some(&json!("oddline")) => {
                let ours = |key: &&String| !["name", "match", "workers", "retry_limit"].contains(&key.as_str());
                let of = |key: &String| match &map[key] {
                    Value::Array(items) => items.iter().map(|item| (key.clone(), text(item))).collect(),
                    value => vec![(key.clone(), text(value))],
                };
                found.push(map.keys().filter(ours).flat_map(of).collect());
            }
            Value::Object(map) => map.values().for_each(|value| stanzas(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_example_is_accepted() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config-examples/fluent-bit");
        let mut seen = 0;
        for file in std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()) {
            let text = std::fs::read_to_string(&file).unwrap();
            let mut found = Vec::new();
            if file.extension().is_some_and(|end| end == "conf") {
                let filter = text
                    .split("[FILTER]")
                    .find(|part| part.contains("oddline\n"))
                    .unwrap()
                    .split("\n\n")
                    .next()
                    .unwrap();
                let pair = |line: &str| {
                    line.trim().split_once(' ').map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
                };
                found
                    .push(filter.lines().filter_map(pair).filter(|(key, _)| key != "Name" && key != "Match").collect());
            } else {
                let parsed: Value = serde_saphyr::from_str(&text).unwrap();
                stanzas(&parsed, &mut found);
                if file.ends_with("lua.yaml") {
                    continue;
                }
            }
            assert!(!found.is_empty(), "{}", file.display());
            for properties in found {
                seen += 1;
                let config =
                    read(&properties, "example").unwrap_or_else(|error| panic!("{}: {error}", file.display())).config;
                assert!(config.data_dir.unwrap().starts_with("/var/lib/fluent-bit"));
                assert_eq!(config.message_field, "log", "{}: what `tail` calls a line", file.display());
            }
        }
        assert!(seen >= 6, "{seen}");
    }
}
