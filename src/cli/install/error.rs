//! Why nothing was installed or removed.

use std::io;
use std::path::{Path, PathBuf};

use oddline::plugin::manifest::ManifestError;

/// Why nothing was installed or removed. Whatever ends an installation before its first write says so by naming what is in the way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum InstallError {
    /// There is no release to install from.
    #[error(
        "expected the manifests of a release in {}, found none: --from names the directory a release was unpacked to",
        dir.display()
    )]
    NoRelease {
        /// Where manifests were looked for.
        dir: PathBuf,
    },
    /// A manifest of the release is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The release has no such way in.
    #[error("{what}: this release has {}", if has.is_empty() { "none".to_owned() } else { has.join(", ") })]
    NoWay {
        /// What was asked for.
        what: String,
        /// The ways there are into the agent.
        has: Vec<String>,
    },
    /// The agent has to be built with it: there is nothing to put in place.
    #[error("{name} is a crate that {agent} is built with, not a file to install: see its README")]
    IsCrate {
        /// The way in.
        name: String,
        /// Its agent.
        agent: String,
    },
    /// Files that manifests name are not in the release.
    #[error("missing in the release: {}", list(files))]
    Missing {
        /// All of them, each with the manifest that names it.
        files: Vec<String>,
    },
    /// A file of the release is not the one its manifest means.
    #[error("{}: expected SHA-256 {expected}, found {found}: the release is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the manifest says.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Places are taken.
    #[error("not ours and in the way, nothing was written: {}{}", list(files), if *is_changed { CHANGED } else { "" })]
    Occupied {
        /// All of them, each with what it is.
        files: Vec<String>,
        /// Whether one of them was ours and changed, and nobody said what is to become of it.
        is_changed: bool,
    },
    /// A directory of the root leads out of it.
    #[error("{} leads out of {}", path.display(), root.display())]
    Outside {
        /// The directory.
        path: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// Nothing was put there for this agent.
    #[error("nothing is installed for {agent} in {}", root.display())]
    NotInstalled {
        /// The agent.
        agent: String,
        /// The root.
        root: PathBuf,
    },
    /// The receipt is not what we write.
    #[error("{}: {message}", path.display())]
    Receipt {
        /// The receipt.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What can be done about files that were changed.
const CHANGED: &str = ". With --changed keep a file that was changed stays, and the new one is put beside it as NAME.oddline-new; with --changed replace \
                       the new one is put there, and yours is kept beside it as NAME.oddline-old";

fn list(files: &[String]) -> String {
    files.join("; ")
}

/// For `map_err`: what was tried on `path`.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::Io { action, path, source }
}
