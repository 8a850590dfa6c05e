//! What the README says of fields and configuration is what the code says.
//!
//! `ODDLINE_UPDATE_DOCS=1 cargo test --test readme` writes it anew.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use oddline::plugin::manifest::{Manifest, capability_table};

/// The README with the text between `<!-- generated: name -->` and `<!-- end -->` replaced.
fn with_generated(readme: &str, name: &str, text: &str) -> String {
    let start = format!("<!-- generated: {name} -->\n");
    let (before, rest) = readme.split_once(&start).unwrap_or_else(|| panic!("README.md has no place for {name}"));
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    format!("{before}{start}{}\n<!-- end -->{after}", text.trim_end())
}

/// What ways into an agent can do, as their manifests say.
fn capabilities(ways: &[&str]) -> String {
    let manifests = ways.iter().map(|name| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("plugin-manifests/{name}.yaml"));
        Manifest::parse(name, &std::fs::read_to_string(path).unwrap()).unwrap()
    });
    capability_table(&manifests.collect::<Vec<_>>())
}

#[test]
fn generated_parts_of_the_readme_are_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let current = with_generated(&readme, "fields", &oddline::plugin::fields::reference_markdown());
    let current = with_generated(&current, "config", &oddline::config::reference_markdown());
    let vector = capabilities(&["vector-native", "vector-sidecar", "vector-lua"]);
    let current = with_generated(&current, "capabilities in Vector", &vector);
    let fluent_bit = capabilities(&["fluent-bit-filter", "fluent-bit-output", "fluent-bit-lua"]);
    let current = with_generated(&current, "capabilities in Fluent Bit", &fluent_bit);
    let others = capabilities(&["opentelemetry", "rsyslog", "syslog-ng", "telegraf", "journald"]);
    let current = with_generated(&current, "capabilities elsewhere", &others);
    for file in std::fs::read_dir(path.with_file_name("plugin-manifests")).unwrap() {
        let name = file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        assert!([&vector, &fluent_bit, &others].iter().any(|table| table.contains(&format!("| {name} |"))), "{name}");
    }
    if readme != current && std::env::var_os("ODDLINE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    assert!(readme == current, "README.md is out of date: ODDLINE_UPDATE_DOCS=1 cargo test --test readme");
}

#[test]
fn the_readme_names_the_commands_the_gate_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let gate = std::fs::read_to_string(root.join(".ci/run")).unwrap();
    for (shown, run) in [
        ("cargo run --release -- demo", "cargo run --release --locked -- demo"),
        ("cargo test --workspace", "cargo test --workspace --locked"),
    ] {
        assert!(readme.contains(shown) && gate.contains(run), "{shown}");
    }
}
