//! What the examples for Vector say fits together and fits the code.
//!
//! Vector itself checks and runs them in `integration/e2e/run`, where there is one.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use oddline::config::Config;
use oddline::plugin::fields::{FIELDS, Kind};
use serde_json::Value as Json;

/// Where `oddline serve` listens and sends in every example; `tests/serve_command.rs` holds the defaults to it.
const IN: &str = "127.0.0.1:6100";
const OUT: &str = "127.0.0.1:6101";

/// Files that are no configuration of Vector.
const OTHERS: [&str; 3] = ["sidecar-serve.toml", "oddline-journald.toml", "elasticsearch-template.json"];

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config-examples/vector")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(dir().join(name)).unwrap()
}

/// Name, text and configuration of each example.
fn examples() -> Vec<(String, String, Json)> {
    let names = std::fs::read_dir(dir()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut examples: Vec<_> = names
        .filter(|name| !OTHERS.contains(&name.as_str()))
        .map(|name| {
            let text = read(&name);
            let parsed: Json = match name.rsplit_once('.').unwrap().1 {
                "toml" => toml::from_str(&text).unwrap(),
                _ => serde_saphyr::from_str(&text).unwrap(),
            };
            let config = parsed.get("customConfig").cloned().unwrap_or(parsed);
            (name, text, config)
        })
        .collect();
    examples.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(examples.len() >= 9, "{examples:?}");
    examples
}

fn components<'c>(config: &'c Json, kind: &str) -> impl Iterator<Item = (&'c String, &'c Json)> {
    config.get(kind).and_then(Json::as_object).into_iter().flatten()
}

fn texts(value: &Json) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Json::as_str).collect()
}

/// Everything that an input can name: sources, transforms, and the outputs of `route`.
fn outputs(config: &Json) -> BTreeSet<String> {
    let mut outputs = BTreeSet::new();
    for (id, component) in components(config, "sources").chain(components(config, "transforms")) {
        if component["type"] == "route" {
            let routes = component["route"].as_object().unwrap().keys().map(String::as_str);
            outputs.extend(routes.chain(["_unmatched"]).map(|route| format!("{id}.{route}")));
        } else {
            outputs.insert(id.clone());
        }
    }
    outputs
}

#[test]
fn every_input_names_an_output_and_every_output_is_used() {
    for (name, _, config) in examples() {
        let outputs = outputs(&config);
        let mut used = BTreeSet::new();
        for (id, component) in components(&config, "transforms").chain(components(&config, "sinks")) {
            let inputs = texts(&component["inputs"]);
            assert!(!inputs.is_empty(), "{name}: {id} has no inputs");
            for input in inputs {
                assert!(outputs.contains(input), "{name}: {id} reads {input}, there is {outputs:?}");
                used.insert(input.to_owned());
            }
        }
        assert_eq!(used, outputs, "{name}: what nobody reads is lost");
    }
}

#[test]
fn the_tests_in_the_examples_name_what_is_there() {
    let mut tests = 0;
    for (name, _, config) in examples() {
        let outputs = outputs(&config);
        for test in config["tests"].as_array().into_iter().flatten() {
            tests += 1;
            for input in test["inputs"].as_array().unwrap() {
                let at = input["insert_at"].as_str().unwrap();
                assert!(config["transforms"].get(at).is_some(), "{name}: insert_at {at}");
            }
            let checked =
                test["outputs"].as_array().into_iter().flatten().map(|out| out["extract_from"].as_str().unwrap());
            let checked: Vec<_> = checked.chain(texts(&test["no_outputs_from"])).collect();
            assert!(!checked.is_empty(), "{name}: a test that checks nothing");
            for output in checked {
                assert!(outputs.contains(output), "{name}: {output}");
            }
        }
    }
    assert!(tests >= 4, "{tests}");
}

/// The names that follow `anomaly.` in `text`.
fn mentioned(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    text.match_indices("anomaly.").filter_map(move |(at, found)| {
        let rest = &text[at + found.len()..];
        let name = &rest[..rest.find(|c: char| !is_name(c)).unwrap_or(rest.len())];
        (!name.is_empty() && !text[..at].ends_with("loki.")).then_some(name)
    })
}

#[test]
fn every_field_of_ours_that_an_example_reads_is_in_the_table() {
    let mut seen = BTreeSet::new();
    for (file, text, _) in examples() {
        for name in mentioned(&text) {
            assert!(FIELDS.iter().any(|field| field.name == name), "{file}: anomaly.{name}");
            seen.insert(name.to_owned());
        }
    }
    assert!(seen.len() >= 4, "{seen:?}");
}

#[test]
fn the_sidecar_is_where_vector_looks_for_it_and_acknowledgements_go_all_the_way() {
    let mut sidecars = 0;
    for (name, text, config) in examples() {
        let Some(sink) = config["sinks"].get("to_oddline") else { continue };
        sidecars += 1;
        assert_eq!((&sink["type"], &sink["address"]), (&Json::from("vector"), &Json::from(IN)), "{name}");
        let source = &config["sources"]["oddline"];
        assert_eq!((&source["type"], &source["address"]), (&Json::from("vector"), &Json::from(OUT)), "{name}");
        assert!(text.contains(&format!("--listen {IN}")) || text.contains(&format!("--listen={IN}")), "{name}");
        assert!(text.contains(&format!("http://{OUT}")), "{name}");
        for (id, sink) in components(&config, "sinks") {
            assert_eq!(sink["acknowledgements"]["enabled"], true, "{name}: {id}");
        }
    }
    assert!(sidecars >= 7, "{sidecars}");
}

#[test]
fn labels_for_loki_have_few_values() {
    let config: Json = toml::from_str(&read("loki.toml")).unwrap();
    let labels: Vec<_> = config["sinks"]["loki"]["labels"].as_object().unwrap().values().collect();
    assert_eq!(labels, ["{{ loki.anomaly }}", "{{ host }}", "vector"]);
}

#[test]
fn the_index_template_has_every_field_with_its_type() {
    let template: Json = serde_json::from_str(&read("elasticsearch-template.json")).unwrap();
    let mappings = &template["template"]["mappings"];
    let properties = mappings["properties"]["anomaly"]["properties"].as_object().unwrap();
    for field in &FIELDS {
        let expected = match field.kind {
            Kind::Share => "float",
            // What a message held may need more digits than a score.
            Kind::Number => "double",
            Kind::Flag => "boolean",
            Kind::Text | Kind::Texts => "keyword",
            Kind::Numbers | Kind::Maps(_) => "object",
        };
        let found = properties.get(field.name).unwrap_or_else(|| panic!("{} is missing", field.name));
        assert_eq!(found["type"], expected, "{}", field.name);
        let Kind::Maps(parts) = field.kind else { continue };
        for part in parts {
            let expected = match (part.name, part.kind) {
                ("time", _) => "date",
                ("note", _) => "text",
                (_, Kind::Share) => "float",
                _ => "keyword",
            };
            assert_eq!(found["properties"][part.name]["type"], expected, "{}.{}", field.name, part.name);
        }
        assert_eq!(found["properties"].as_object().unwrap().len(), parts.len());
    }
    let names: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
    assert!(properties.keys().all(|name| names.contains(&name.as_str())), "{properties:?}");
    assert_eq!(mappings["dynamic_templates"][0]["detectors"]["mapping"]["type"], "float");
    let index = toml::from_str::<Json>(&read("elasticsearch.toml")).unwrap();
    let index = index["sinks"]["elasticsearch"]["bulk"]["index"].as_str().unwrap().to_owned();
    let pattern = template["index_patterns"][0].as_str().unwrap().trim_end_matches('*');
    assert!(index.starts_with(pattern), "{index} {pattern}");
}

#[test]
fn oddlines_own_options_in_the_examples_are_accepted() {
    let config = Config::from_path(&dir().join("oddline-journald.toml")).unwrap();
    let journald = read("journald.toml");
    for line in read("oddline-journald.toml").lines().filter(|line| line.contains(" = ")) {
        assert!(journald.contains(&format!("#   {line}\n")), "{line}");
    }
    assert_eq!(config.level_field.as_deref(), Some("level"));
    let flags = ["--partition-by host", "--partition-by=kubernetes.pod_namespace,kubernetes.container_name"];
    let texts: String = examples().into_iter().map(|(_, text, _)| text).collect();
    for flag in flags {
        assert!(texts.contains(flag), "{flag}");
    }
}

#[test]
fn every_example_is_named_by_a_manifest() {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugin-manifests");
    let named: String = std::fs::read_dir(manifests)
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    for (name, ..) in examples() {
        assert!(named.contains(&format!("config-examples/vector/{name}")), "{name}");
    }
}
