//! What was put in place: `usr/lib/oddline/receipt.json` below the root.
//!
//! ```text
//! {"schema": 1,
//!  "files": {PATH: {"sha256": [SUM …], "agents": [NAME …]}},     below the root; any of the sums is ours
//!  "dirs": [PATH …]}                                             made for them
//! ```
//! Two sums stand there only while a file is being replaced. What reaches out of the root is refused: the receipt says what is
//! removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::error::{InstallError, failed};

/// Where it is, below the root.
pub(super) const RECEIPT: &str = "usr/lib/oddline/receipt.json";

const SCHEMA: u32 = 1;

/// What was put in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Receipt {
    schema: u32,
    /// By path below the root.
    pub(super) files: BTreeMap<PathBuf, Entry>,
    /// Directories that were made, below the root.
    pub(super) dirs: BTreeSet<PathBuf>,
}

/// A file that was put in place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// SHA-256 of what we put there.
    pub(super) sha256: BTreeSet<String>,
    /// The agents it is there for.
    pub(super) agents: BTreeSet<String>,
}

impl Default for Receipt {
    fn default() -> Self {
        Self { schema: SCHEMA, files: BTreeMap::new(), dirs: BTreeSet::new() }
    }
}

impl Receipt {
    /// The receipt of `root`; an empty one when there is none.
    pub(super) fn load(root: &Path) -> Result<Self, InstallError> {
        if !root.is_dir() {
            let source = io::Error::new(io::ErrorKind::NotADirectory, "expected a directory that is there");
            return Err(InstallError::Io { action: "use --root", path: root.to_owned(), source });
        }
        let path = root.join(RECEIPT);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let wrong = |message: String| InstallError::Receipt { path: path.clone(), message };
        let receipt: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if receipt.schema != SCHEMA {
            return Err(wrong(format!("schema: expected {SCHEMA}, found {}", receipt.schema)));
        }
        match receipt.files.keys().chain(&receipt.dirs).find(|path| !is_below(path)) {
            Some(path) => Err(wrong(format!("expected paths below the root, found {}", path.display()))),
            None => Ok(receipt),
        }
    }

    /// Writes it; one that names nothing is removed.
    pub(super) fn save(&self, root: &Path) -> Result<(), InstallError> {
        let path = root.join(RECEIPT);
        if self.files.is_empty() {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
                _ => Ok(()),
            };
        }
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| InstallError::Receipt { path: path.clone(), message: error.to_string() })?;
        write(&path, &text, false)
    }
}

fn is_below(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// SHA-256 in lower-case hex digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes beside `path` and renames: whoever runs or reads the old file goes on with it.
pub(super) fn write(path: &Path, bytes: &[u8], is_executable: bool) -> Result<(), InstallError> {
    let mode = if is_executable { 0o755 } else { 0o644 };
    renamed(path, |fresh| put(fresh, bytes, mode))
}

/// Makes `path` another name of the file `twin`, in the same way. Not every file system can.
pub(super) fn link(twin: &Path, path: &Path) -> Result<(), InstallError> {
    renamed(path, |fresh| {
        absent(fresh)?;
        fs::hard_link(twin, fresh)
    })
}

/// Keeps what is at `path` under the name `old` too, so that it can be written over; one that an installation which was cut off left there goes.
pub(super) fn set_aside(path: &Path, old: &Path) -> Result<(), InstallError> {
    // Not every file system has a second name for a file.
    renamed(old, |fresh| {
        absent(fresh)?;
        fs::hard_link(path, fresh).or_else(|_| fs::copy(path, fresh).map(drop))
    })
}

fn renamed(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), InstallError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".oddline-new");
    let fresh = dir.join(name);
    let written = make(&fresh).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // What failed is told; that its rest is there too may fail for the same reason.
        fs::remove_file(&fresh).unwrap_or_default();
    }
    written.and_then(|()| File::open(dir)?.sync_all()).map_err(failed("write", path))
}

fn absent(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn put(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    absent(path)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    // Whatever the umask is, an agent under another user must read it.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}
