//! The manifests that are shipped, and manifests that are wrong.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use oddline::plugin::manifest::{Manifest, capability_table};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn shipped() -> Vec<(String, String)> {
    let files = std::fs::read_dir(Path::new(ROOT).join("plugin-manifests")).unwrap();
    let files = files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "yaml"));
    let mut files: Vec<_> = files
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn every_shipped_manifest_is_accepted_and_its_examples_exist() {
    for (name, text) in shipped() {
        let manifest = Manifest::parse(&name, &text).unwrap();
        for example in &manifest.config.examples {
            assert!(Path::new(ROOT).join(example).is_file(), "{name}: {example}");
        }
        assert!(capability_table(&[manifest]).contains(&format!("| {name} |")));
    }
}

#[test]
fn the_lua_manifest_names_what_the_wrapper_has() {
    let (name, text) = shipped().into_iter().find(|(name, _)| name == "vector-lua").unwrap();
    let manifest = Manifest::parse(&name, &text).unwrap();
    let wrapper = std::fs::read_to_string(Path::new(ROOT).join("integration/vector-lua/oddline.lua")).unwrap();
    for (hook, function) in manifest.entry_points.iter().filter(|(hook, _)| *hook != "source") {
        assert!(wrapper.contains(&format!("function hooks.{hook}(")), "{function}");
        assert_eq!(*function, format!("oddline.{hook}"));
    }
}

#[test]
fn the_sidecars_manifests_name_paths_the_sidecar_has() {
    let source = |file: &str| std::fs::read_to_string(Path::new(ROOT).join("src/serve").join(file)).unwrap();
    let code = source("http/mod.rs") + &source("vector/proto.rs");
    for (name, text) in
        shipped().into_iter().filter(|(name, _)| ["vector-sidecar", "opentelemetry"].contains(&name.as_str()))
    {
        let manifest = Manifest::parse(&name, &text).unwrap();
        for (entry, path) in &manifest.entry_points {
            assert!(code.contains(&format!("\"{path}\"")), "{name}: {entry}: {path}");
        }
    }
}

#[test]
fn the_manifests_of_pipes_name_commands_their_examples_use() {
    for name in ["rsyslog", "syslog-ng", "telegraf", "journald"] {
        let (_, text) = shipped().into_iter().find(|(found, _)| found == name).unwrap();
        let manifest = Manifest::parse(name, &text).unwrap();
        let read = |example: &String| std::fs::read_to_string(Path::new(ROOT).join(example)).unwrap();
        // A list of arguments, as Telegraf has it, is a command like any other.
        let examples = manifest.config.examples.iter().map(read).collect::<String>().replace("\", \"", " ");
        for (entry, command) in &manifest.entry_points {
            assert!(examples.contains(&format!("/usr/bin/{command}")), "{name}: {entry}: {command}");
        }
    }
}

#[test]
fn the_fluent_bit_manifests_name_symbols_the_library_exports_and_every_example() {
    let source =
        |file: &str| std::fs::read_to_string(Path::new(ROOT).join("integration/fluent-bit").join(file)).unwrap();
    let code = source("src/ffi/filter.rs") + &source("src/ffi/output.rs");
    let wrapper = source("oddline_fluent_bit.lua");
    let mut named = Vec::new();
    for (name, text) in shipped().into_iter().filter(|(name, _)| name.starts_with("fluent-bit-")) {
        let manifest = Manifest::parse(&name, &text).unwrap();
        for symbol in manifest.entry_points.values() {
            let is_there = match name.as_str() {
                "fluent-bit-lua" => wrapper.contains(symbol),
                _ => code.contains(&format!(" fn {symbol}(")) || code.contains(&format!(" static {symbol}:")),
            };
            assert!(is_there, "{name}: {symbol}");
        }
        named.extend(manifest.config.examples);
    }
    for file in std::fs::read_dir(Path::new(ROOT).join("config-examples/fluent-bit")).unwrap() {
        let name = format!("config-examples/fluent-bit/{}", file.unwrap().file_name().to_str().unwrap());
        assert!(named.contains(&name), "{name}");
    }
}

#[test]
fn the_vector_examples_are_well_formed_and_the_same_in_yaml_and_toml() {
    let read = |file: &str| std::fs::read_to_string(Path::new(ROOT).join("config-examples/vector").join(file)).unwrap();
    let yaml: serde_json::Value = serde_saphyr::from_str(&read("lua-minimal.yaml")).unwrap();
    let toml: serde_json::Value = toml::from_str(&read("lua-minimal.toml")).unwrap();
    assert_eq!(yaml, toml);
}

#[test]
fn a_wrong_manifest_is_refused_and_told_where() {
    let good = shipped().into_iter().find(|(name, _)| name == "vector-lua").unwrap().1;
    for (from, to, expected) in [
        ("schema: 1", "schema: 2", "schema: expected 1, found \"2\""),
        ("name: vector-lua", "name: other", "\"vector-lua\""),
        ("\"0.57\"", "\"0.x\"", "agent.min_version"),
        ("files: [oddline_native.so, oddline.lua]", "files: []", "artefact.files"),
        ("sha256: {}", "sha256: {oddline.lua: abc}", "64 lower-case hex digits"),
        ("sha256: {}", "sha256: {other.so: abc}", "a file of artefact.files"),
        ("oddline_panics_total", "oddline_wonders_total", "oddline_wonders_total"),
        ("kind: lua_module", "kind: spell", "kind"),
        ("limits:", "limit:", "limit"),
    ] {
        assert!(good.contains(from), "{from}");
        let error = Manifest::parse("vector-lua", &good.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
        assert!(error.starts_with("vector-lua:"), "{error}");
    }
}
