//! The ONNX Runtime: a library of the machine, loaded when a model is opened.
//!
//! It is looked at before it is handed on: what loads it for us hangs or panics over one that is missing, old, or for another machine.
//!
//! What is named, by the configuration or by `ORT_DYLIB_PATH`, is what must be there; otherwise the usual places are looked through, and the first library that fits is taken: an old one
//! of the distribution hides no newer one elsewhere.

use std::collections::HashSet;
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
        Some(named) if named.is_dir() => anywhere(&[named]),
        Some(named) => check(&named),
        None => anywhere(&places()),
    }
}

fn places() -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
    let searched = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let triplet = PathBuf::from(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let searched: Vec<PathBuf> = std::env::split_paths(&searched).filter(|path| path.is_absolute()).collect();
    beside.into_iter().chain(searched).chain([triplet]).chain(PLACES.map(PathBuf::from)).collect()
}

/// The first library that fits: directories in their order, in each the highest version first.
fn anywhere(places: &[PathBuf]) -> Result<Runtime, OnnxError> {
    let mut wrong = Vec::new();
    let mut seen = HashSet::new();
    for path in places.iter().flat_map(|dir| newest_first(dir)) {
        if !seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
            continue;
        }
        match check(&path) {
            Ok(runtime) => return Ok(runtime),
            Err(error) => wrong.push(error),
        }
    }
    let pattern = |dir: &PathBuf| format!("{}/{}{}*", dir.display(), NAME.0, NAME.1);
    match (wrong.pop(), wrong.is_empty()) {
        (None, _) => Err(OnnxError::NoRuntime { looked_for: places.iter().map(pattern).collect() }),
        // The one there is has an error of its own.
        (Some(only), true) => Err(only),
        (Some(last), false) => {
            let found = wrong.iter().chain([&last]).map(ToString::to_string).collect();
            Err(OnnxError::NoneFits { found })
        }
    }
}

/// The libraries in a directory, that of the highest version first: `libonnxruntime.so.1.31.1`, `libonnxruntime.so` …
fn newest_first(dir: &Path) -> Vec<PathBuf> {
    let version = |name: &str| -> Option<Vec<u32>> {
        let rest = name.strip_prefix(NAME.0)?;
        let numbers: String = rest.replacen(NAME.1, "", 1);
        let is_ours = rest.contains(NAME.1) && numbers.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        is_ours.then(|| numbers.split('.').filter_map(|number| number.parse().ok()).collect())
    };
    let mut named: Vec<_> = files::names(dir).into_iter().filter_map(|name| Some((version(&name)?, name))).collect();
    named.sort_unstable_by(|a, b| b.cmp(a));
    named.into_iter().map(|(_, name)| dir.join(name)).collect()
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
    fn of_several_in_a_directory_the_highest_version_is_the_first() {
        let dir = tempfile::tempdir().unwrap();
        assert!(newest_first(dir.path()).is_empty());
        for name in ["libonnxruntime_providers_shared.so", "libonnxruntime.a", "libother.so.9"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert!(newest_first(dir.path()).is_empty());
        for name in ["libonnxruntime.so", "libonnxruntime.so.1.9.0", "libonnxruntime.so.1.31.1", "libonnxruntime.so.1"]
        {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let names = ["libonnxruntime.so.1.31.1", "libonnxruntime.so.1.9.0", "libonnxruntime.so.1", "libonnxruntime.so"];
        assert_eq!(newest_first(dir.path()), names.map(|name| dir.path().join(name)));
    }

    #[test]
    fn where_none_fits_every_one_is_named_with_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let places = ["a", "b", "c"].map(|name| dir.path().join(name));
        places.iter().for_each(|place| std::fs::create_dir(place).unwrap());
        let name = format!("{}{}", NAME.0, NAME.1);
        std::fs::write(places[0].join(&name), "no library").unwrap();
        let only = anywhere(&places).unwrap_err();
        assert!(matches!(&only, OnnxError::NotARuntime { path, .. } if *path == places[0].join(&name)), "{only}");
        std::fs::write(places[2].join(&name), "nor this").unwrap();
        let none = anywhere(&places).unwrap_err().to_string();
        for place in [&places[0], &places[2]] {
            assert!(none.contains(&format!("{} is no ONNX Runtime", place.join(&name).display())), "{none}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_pipe_or_a_device_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("libonnxruntime.so");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe, dir.path().to_owned(), "/dev/zero".into()] {
            let (told, heard) = std::sync::mpsc::channel();
            std::thread::spawn(move || told.send(find(Some(&path)).unwrap_err().to_string()));
            let error = heard.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
            assert!(error.contains("not a regular file"), "{error}");
        }
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
