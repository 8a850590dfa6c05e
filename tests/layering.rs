//! Imports point down only, and each layer touches only what is its business.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Modules a module may use, besides itself; what is not named here may use nothing.
const MAY_USE: [(&str, &[&str]); 14] = [
    ("arithmetic", &[]),
    ("quantity", &[]),
    ("event", &[]),
    ("clock", &["event"]),
    ("config", &[]),
    ("template", &["event", "clock", "arithmetic", "quantity"]),
    ("detect", &["event", "clock", "arithmetic", "quantity"]),
    ("embed", &["arithmetic"]),
    ("index", &["arithmetic"]),
    ("storage", &["event", "clock"]),
    ("engine", &["template", "detect", "embed", "index", "storage", "event", "clock", "config", "quantity"]),
    ("plugin", &["engine", "event", "clock", "config", "arithmetic"]),
    ("serve", &["plugin", "engine", "event", "clock", "config"]),
    ("cli", &["serve", "plugin", "engine", "template", "config", "clock", "event", "storage"]),
];

/// What only some files may name.
const ONLY_IN: [(&str, &[&str]); 12] = [
    ("turbovec::", &["index/turbo.rs"]),
    ("use ort::", &["embed/onnx/model.rs"]),
    ("ort::init", &["embed/onnx/runtime.rs"]),
    ("tract_onnx::", &["embed/onnx/tract.rs"]),
    ("tokenizers::", &["embed/onnx/tokens.rs"]),
    ("libloading::", &["embed/onnx/library.rs"]),
    ("allow(unsafe_code)", &["embed/onnx/library.rs"]),
    // The runtime and the tokenizer read a model's files themselves, or as a whole.
    ("std::fs", &["storage/", "cli/", "config/load.rs", "plugin/manifest.rs", "serve/files.rs", "embed/onnx/files.rs"]),
    // Made elsewhere, a directory of a data dir is gone after a power cut with all that is in it.
    ("fs::create_dir_all", &["storage/fs.rs", "cli/"]),
    ("SystemTime::now", &["clock.rs"]),
    ("Utc::now", &[]),
    ("Timestamp::now", &[]),
];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found
}

/// Relative path and code (without comments and test modules) of each source file.
fn code() -> BTreeMap<String, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let of = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        (path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/"), code.join("\n"))
    };
    sources(&src).into_iter().map(of).collect()
}

fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Modules of this crate that `code` names.
fn used(code: &str) -> Vec<&str> {
    let name = |rest: &'static str| move |part| (rest, part);
    let after = |root: &'static str| code.split(root).skip(1).map(name(root));
    let parts = after("crate::").chain(after("oddline::"));
    parts
        .map(|(_, part): (&str, &str)| {
            part.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap_or_default()
        })
        .filter(|name| MAY_USE.iter().any(|(module, _)| module == name))
        .collect()
}

#[test]
fn modules_use_only_those_below_them() {
    let code = code();
    let mut seen = 0;
    for (file, code) in &code {
        let own = module_of(file);
        let Some((_, allowed)) = MAY_USE.iter().find(|(module, _)| *module == own) else {
            assert!(["lib", "main"].contains(&own), "{file}: {own} has no place in the layers");
            continue;
        };
        for name in used(code) {
            seen += 1;
            assert!(name == own || allowed.contains(&name), "{file} uses {name}: {own} may use only {allowed:?}");
        }
    }
    assert!(seen > 100, "only {seen} uses were found: this test no longer sees the code");
}

#[test]
fn files_and_clocks_are_touched_only_where_they_may_be() {
    for (file, code) in code() {
        for (what, allowed) in ONLY_IN {
            let may = allowed.iter().any(|place| file.starts_with(place));
            assert!(may || !code.contains(what), "{file} names {what}: only {allowed:?} may");
        }
    }
}

#[test]
fn adapters_use_the_plugin_seam_alone() {
    let integration = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration");
    let mut files = 0;
    for path in sources(&integration).iter().filter(|path| path.components().any(|part| part.as_os_str() == "src")) {
        files += 1;
        let text = std::fs::read_to_string(path).unwrap();
        for part in text.split("oddline::").skip(1) {
            let name = part.split(|c: char| !c.is_ascii_lowercase()).next().unwrap();
            // Values of the seam's own signatures: the configuration, the environment, times.
            let allowed = ["plugin", "config", "engine", "event", ""];
            assert!(allowed.contains(&name), "{} uses oddline::{name}", path.display());
        }
    }
    assert!(files > 0);
}
