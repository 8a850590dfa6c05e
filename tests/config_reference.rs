//! Example, schema, reference and shipped files say what the struct says.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use oddline::config::{Config, FIELDS, Format, Journal, Kind, example, example_in, json_schema, reference_markdown};
use serde_json::Value;

fn keys_of_struct() -> Vec<String> {
    // A struct serializes in the order of its fields; serde_json's map would sort.
    let text = serde_json::to_string_pretty(&Config::default()).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("  \"")?.split_once('"')).map(|(key, _)| key.to_owned()).collect()
}

#[test]
fn the_table_has_every_key_of_the_struct_once_and_in_order() {
    let table: Vec<_> = FIELDS.iter().map(|field| field.key.to_owned()).collect();
    assert_eq!(table, keys_of_struct());
    assert_eq!(table.iter().collect::<BTreeSet<_>>().len(), FIELDS.len());
    for field in FIELDS {
        assert!(field.description.ends_with('.') && field.description.len() > 20, "{}", field.key);
        match field.kind {
            Kind::Integer { min, max } => assert!(min < max, "{}", field.key),
            Kind::Number { min, max } => assert!(min < max, "{}", field.key),
            _ => {}
        }
    }
}

#[test]
fn a_key_with_a_unit_in_its_name_has_that_unit() {
    for (ending, unit) in
        [("_secs", "seconds"), ("_ms", "milliseconds"), ("_bytes", "bytes"), ("_hours", "hours"), ("_events", "events")]
    {
        for field in FIELDS.iter().filter(|field| field.key.ends_with(ending)) {
            assert_eq!(field.unit, unit, "{}", field.key);
        }
    }
}

#[test]
fn the_example_loads_to_the_defaults_in_every_format() {
    for format in [Format::Yaml, Format::Toml, Format::Json] {
        let text = example_in(format);
        assert_eq!(Config::from_str(&text, format, "example").unwrap(), Config::default(), "{text}");
    }
    assert_eq!(example(), example_in(Format::Yaml));
}

#[test]
fn the_example_shows_every_key_and_those_commented_out_load_when_uncommented() {
    for (format, separator) in [(Format::Yaml, ": "), (Format::Toml, " = ")] {
        let text = example_in(format);
        for field in FIELDS {
            let start = format!("{}{separator}", field.key);
            let line = text
                .lines()
                .map(|line| line.strip_prefix("# ").unwrap_or(line))
                .find(|line| line.starts_with(&start))
                .unwrap_or_else(|| panic!("{} is missing", field.key));
            Config::from_str(line, format, "example").unwrap();
        }
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    }
}

#[test]
fn shipped_examples_are_those_the_code_writes() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config-examples");
    for (name, format) in [("oddline.yaml", Format::Yaml), ("oddline.toml", Format::Toml)] {
        let path = dir.join(name);
        if std::env::var_os("ODDLINE_UPDATE_DOCS").is_some() {
            std::fs::write(&path, example_in(format)).unwrap();
        }
        let shipped = std::fs::read_to_string(&path).unwrap();
        assert_eq!(shipped, example_in(format), "{name} is out of date: ODDLINE_UPDATE_DOCS=1 writes it anew");
        assert_eq!(Config::from_path(&path).unwrap(), Config::default());
    }
}

#[test]
fn the_reference_has_a_row_for_every_key_with_default_and_bounds() {
    let reference = reference_markdown();
    let rows: Vec<_> = reference.lines().skip(2).collect();
    assert_eq!(rows.len(), FIELDS.len());
    let defaults = serde_json::to_value(Config::default()).unwrap();
    for (row, field) in rows.iter().zip(FIELDS) {
        assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
        assert!(row.starts_with(&format!("| `{}` | {} |", field.key, field.accepted())), "{row}");
        let default = match &defaults[field.key] {
            Value::Null => "unset".to_owned(),
            _ if field.kind == Kind::Journal => "`{}`".to_owned(),
            value => format!("`{value}`"),
        };
        assert!(row.contains(&format!("| {default} |")), "{row} {default}");
        assert!(row.ends_with(&format!("| {} |", field.description)), "{row}");
    }
}

#[test]
fn the_schema_says_what_the_table_says() {
    let schema = json_schema();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["$defs"]["Mask"]["additionalProperties"], false);
    for key in ["name", "regex"] {
        assert!(schema["$defs"]["Mask"]["properties"][key]["maxLength"].is_u64(), "{key}");
    }
    assert_eq!(schema["required"], Value::Null);
    let properties = schema["properties"].as_object().unwrap();
    assert_eq!(properties.len(), FIELDS.len());
    let defaults = serde_json::to_value(Config::default()).unwrap();
    for field in FIELDS {
        let property = &properties[field.key];
        assert_eq!(property["description"], field.description, "{}", field.key);
        assert_eq!(property.get("default"), Some(&defaults[field.key]), "{}", field.key);
        match field.kind {
            Kind::Flag => assert_eq!(property["type"], "boolean", "{}", field.key),
            Kind::Integer { min, max } => {
                assert_eq!(property["type"], "integer", "{}", field.key);
                assert_eq!((property["minimum"].as_u64(), property["maximum"].as_u64()), (Some(min), Some(max)));
            }
            Kind::Number { min, max } => {
                assert_eq!(property["type"], "number", "{}", field.key);
                assert_eq!((property["minimum"].as_f64(), property["maximum"].as_f64()), (Some(min), Some(max)));
            }
            Kind::Choice(words) => {
                let name = property["$ref"].as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                let choices = schema["$defs"][name]["oneOf"].as_array().unwrap();
                let choices: Vec<_> = choices.iter().map(|choice| choice["const"].as_str().unwrap()).collect();
                assert_eq!(choices, words, "{}", field.key);
            }
            Kind::Text(_) => {
                assert_eq!(property["type"], "string", "{}", field.key);
                assert!(property["pattern"].is_string(), "{}", field.key);
            }
            Kind::OptionalText(_) => {
                assert_eq!(property["type"], serde_json::json!(["string", "null"]), "{}", field.key);
                assert!(property["pattern"].is_string(), "{}", field.key);
            }
            Kind::Texts { max_items, .. } => {
                assert_eq!(property["maxItems"], max_items);
                assert!(property["items"]["pattern"].is_string());
            }
            Kind::Choices(words) => {
                let name = property["items"]["$ref"].as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                let choices = schema["$defs"][name]["oneOf"].as_array().unwrap();
                let choices: Vec<_> = choices.iter().map(|choice| choice["const"].as_str().unwrap()).collect();
                assert_eq!(choices, words, "{}", field.key);
                assert_eq!(property["uniqueItems"], true);
            }
            Kind::Masks { max_items } => {
                assert_eq!(property["maxItems"], max_items);
                assert_eq!(property["items"]["$ref"], "#/$defs/Mask");
            }
            Kind::Rules { max_items } => {
                assert_eq!(property["maxItems"], max_items);
                assert_eq!(property["items"]["$ref"], "#/$defs/EventRule");
                let kinds = schema["$defs"]["RuleMatch"]["anyOf"].as_array().unwrap();
                assert_eq!(kinds.len(), 3);
                for kind in kinds {
                    assert_eq!(kind["additionalProperties"], false);
                    assert!(kind["properties"].as_object().unwrap().values().all(|part| part["maxLength"].is_u64()));
                }
            }
            Kind::Sampling => {
                let properties = &schema["$defs"]["Sampling"]["properties"];
                for (key, min) in [("keep_per_minute", 1.0), ("minimum_ratio", 1e-6)] {
                    assert_eq!(properties[key]["minimum"].as_f64(), Some(min), "{key}");
                    assert!(properties[key]["maximum"].is_number(), "{key}");
                }
            }
            Kind::Budget => {
                let kinds = property["anyOf"].as_array().unwrap();
                assert_eq!((kinds[0]["minimum"].as_f64(), kinds[0]["maximum"].as_f64()), (Some(1e-6), Some(0.1)));
                assert!(kinds[1]["pattern"].is_string());
            }
            Kind::Journal => {
                let journal = &schema["$defs"]["Journal"];
                assert_eq!(journal["additionalProperties"], false);
                let defaults = serde_json::to_value(Journal::default()).unwrap();
                assert_eq!(journal["properties"].as_object().unwrap().len(), defaults.as_object().unwrap().len());
                for key in ["batch_incidents", "interval_secs", "spool_bytes", "max_bytes"] {
                    assert!(journal["properties"][key]["maximum"].is_number(), "{key}");
                    assert!(field.accepted().contains(&format!("{key} (a whole number")), "{}", field.accepted());
                }
                assert!(journal["properties"]["url"]["pattern"].is_string());
                assert!(field.accepted().contains("default 10)"), "the default of interval_secs");
            }
            other => panic!("{other:?} has no check here"),
        }
    }
}
