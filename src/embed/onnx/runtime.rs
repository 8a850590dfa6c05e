//! The ONNX Runtime: a library of the machine, loaded when a model is opened.
//!
//! It is looked at before it is handed on: what loads it for us hangs or panics over one that is missing, old, or for another machine.
//!
//! What is named, by the configuration or by `ORT_DYLIB_PATH`, is what must be there; otherwise the usual places are looked through.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::OnnxError;
use super::{elf, files, library};

/// The least minor version of runtime 1 that has the functions we call: ort's feature `api-17`.
pub const LEAST_MINOR: u32 = ort::MINOR_VERSION;

/// Environment variable that names the library.
const VARIABLE: &str = "ORT_DYLIB_PATH";

#[cfg(target_os = "macos")]
const NAME: (&str, &str) = ("libonnxruntime", ".dylib");
#[cfg(not(target_os = "macos"))]
const NAME: (&str, &str) = ("libonnxruntime", ".so");

/// Where libraries are; what `LD_LIBRARY_PATH` names comes before.
const PLACES: [&str; 6] =
    ["/usr/local/lib", "/usr/lib", "/usr/lib64", "/opt/onnxruntime/lib", "/usr/lib/oddline", "/opt/homebrew/lib"];

/// The runtime this process has loaded.
static LOADED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// A library that can run models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// The library.
    pub path: PathBuf,
    /// What it says of itself: `1.31.1`.
    pub version: String,
}

/// The runtime that is named, or the one `ORT_DYLIB_PATH` names, or that of the usual places; a directory stands for the library in it.
///
/// # Errors
/// When there is none, or it is not for this machine, or too old.
pub fn find(named: Option<&Path>) -> Result<Runtime, OnnxError> {
    let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    match named.map(Path::to_owned).or(variable) {
        Some(named) => check(&in_directory(&named)?),
        None => check(&anywhere(&places())?),
    }
}

fn places() -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
    let searched = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let triplet = PathBuf::from(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let searched: Vec<PathBuf> = std::env::split_paths(&searched).filter(|path| path.is_absolute()).collect();
    beside.into_iter().chain(searched).chain([triplet]).chain(PLACES.map(PathBuf::from)).collect()
}

fn anywhere(places: &[PathBuf]) -> Result<PathBuf, OnnxError> {
    let looked_for = || places.iter().map(|dir| format!("{}/{}{}*", dir.display(), NAME.0, NAME.1)).collect();
    places.iter().find_map(|dir| newest(dir)).ok_or_else(|| OnnxError::NoRuntime { looked_for: looked_for() })
}

/// The library in a directory, or the path itself when it is none.
fn in_directory(path: &Path) -> Result<PathBuf, OnnxError> {
    if path.is_dir() { anywhere(&[path.to_owned()]) } else { Ok(path.to_owned()) }
}

/// The library of the highest version: `libonnxruntime.so`, `libonnxruntime.so.1.31.1` …
fn newest(dir: &Path) -> Option<PathBuf> {
    let version = |name: &str| -> Option<Vec<u32>> {
        let rest = name.strip_prefix(NAME.0)?;
        let numbers: String = rest.replacen(NAME.1, "", 1);
        let is_ours = rest.contains(NAME.1) && numbers.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        is_ours.then(|| numbers.split('.').filter_map(|number| number.parse().ok()).collect())
    };
    let named = files::names(dir).into_iter().filter_map(|name| Some((version(&name)?, name)));
    named.max().map(|(_, name)| dir.join(name))
}

fn check(path: &Path) -> Result<Runtime, OnnxError> {
    let not_one = |reason| OnnxError::NotARuntime { path: path.to_owned(), reason };
    let (head, length) = match files::head(path, elf::HEAD_BYTES) {
        Ok(head) => head,
        Err(_) if !path.exists() => return Err(OnnxError::NoRuntime { looked_for: vec![path.display().to_string()] }),
        Err(source) => return Err(not_one(source.to_string())),
    };
    if cfg!(target_os = "linux") {
        elf::check(&head, length).map_err(not_one)?;
    }
    let path = path.canonicalize().map_err(|source| not_one(source.to_string()))?;
    let not_one = |reason| OnnxError::NotARuntime { path: path.clone(), reason };
    let version = library::version(&path).map_err(not_one)?;
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    match (numbers.next(), numbers.next()) {
        (Some(1), Some(minor)) if minor >= LEAST_MINOR => Ok(Runtime { path, version }),
        _ => Err(OnnxError::OldRuntime { path, found: version.chars().take(40).collect() }),
    }
}

impl Runtime {
    /// Hands it to what calls it. It stays for as long as the process lives.
    pub(super) fn start(&self) -> Result<(), OnnxError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        match loaded.as_deref() {
            Some(path) if path == self.path => return Ok(()),
            Some(path) => return Err(OnnxError::AnotherRuntime { wanted: self.path.clone(), loaded: path.to_owned() }),
            None => {}
        }
        let refused = |reason: String| OnnxError::NotARuntime { path: self.path.clone(), reason };
        let environment = ort::init_from(&self.path).map_err(|error| refused(error.to_string()))?;
        environment.with_name("oddline").with_telemetry(false).commit();
        *loaded = Some(self.path.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_no_library_is_named_with_what_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let error = |path: &Path| find(Some(path)).unwrap_err().to_string();
        let missing = dir.path().join("libonnxruntime.so.9");
        assert!(error(&missing).contains("libonnxruntime.so.9") && error(&missing).contains("embedder_runtime"));
        assert!(error(dir.path()).contains(&format!("{}/libonnxruntime", dir.path().display())));
        std::fs::write(&missing, "no library").unwrap();
        assert!(error(&missing).contains("no ONNX Runtime for this machine"), "{}", error(&missing));
        let usual = anywhere(&[dir.path().join("a"), dir.path().join("b")]).unwrap_err().to_string();
        assert!(usual.contains("/a/libonnxruntime") && usual.contains("/b/libonnxruntime"), "{usual}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn of_several_in_a_directory_the_highest_version_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(newest(dir.path()), None);
        for name in ["libonnxruntime_providers_shared.so", "libonnxruntime.a", "libother.so.9"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(newest(dir.path()), None);
        for name in ["libonnxruntime.so", "libonnxruntime.so.1.9.0", "libonnxruntime.so.1.31.1", "libonnxruntime.so.1"]
        {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(newest(dir.path()), Some(dir.path().join("libonnxruntime.so.1.31.1")));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_library_that_is_another_one_is_refused() {
        let libc = std::fs::read_to_string("/proc/self/maps").unwrap();
        let libc = libc.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libc.so"));
        let error = find(Some(Path::new(libc.unwrap()))).unwrap_err().to_string();
        assert!(error.contains("OrtGetApiBase"), "{error}");
    }
}
