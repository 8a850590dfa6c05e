//! Files below a directory.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// All of them whose path ends so, in the order of their paths.
pub(crate) fn files(root: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { pending.push(path) } else { found.push(path) }
        }
    }
    found.retain(|path| path.to_str().unwrap().ends_with(end));
    found.sort();
    found
}
