//! Plugin manifests: one YAML file for each way into an agent (`plugin-manifests/*.yaml`).
//!
//! It says which agent and versions, what to install, what calls it, what it can and cannot do, which metrics it
//! has and what it keeps on disk. The README's table of ways in comes from these.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::component::{ComponentStats, Counts};

/// The version of the manifest's own format.
pub const SCHEMA: u32 = 1;

/// What the sidecar counts beside what its component does.
pub const SIDECAR_METRICS: [&str; 15] = [
    "oddline_serve_requests_total",
    "oddline_serve_requests_refused_total",
    "oddline_serve_requests_unauthorized_total",
    "oddline_serve_requests_turned_away_total",
    "oddline_serve_requests_unscored_total",
    "oddline_serve_events_sent_total",
    "oddline_serve_events_rejected_total",
    "oddline_serve_forward_retries_total",
    "oddline_serve_forward_failures_total",
    "oddline_serve_connections_refused_total",
    "oddline_serve_connections",
    "oddline_serve_handshakes",
    "oddline_serve_requests_waiting",
    "oddline_serve_requests_under_way",
    "oddline_serve_stopping",
];

/// Every metric there is on some way.
fn metrics() -> Vec<String> {
    let counters = Counts::default().iter().map(|(name, _)| name).collect::<Vec<_>>();
    let ours = counters.into_iter().chain(ComponentStats::GAUGES).map(|name| format!("oddline_{name}"));
    ours.chain(SIDECAR_METRICS.map(str::to_owned)).collect()
}

/// One way into an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: [`SCHEMA`].
    pub schema: u32,
    /// The name of this way: the file's name without `.yaml`.
    pub name: String,
    /// What it is, in a sentence.
    pub summary: String,
    /// The agent it is for.
    pub agent: Agent,
    /// What is installed.
    pub artefact: Artefact,
    /// What the agent calls: hook name to function or symbol.
    pub entry_points: BTreeMap<String, String>,
    /// What it can do and what it cannot.
    pub capabilities: Capabilities,
    /// How it is configured.
    pub config: ConfigReference,
    /// Names of its metrics.
    pub metrics: Vec<String>,
    /// What it keeps on disk.
    pub data_dir: DataDir,
    /// What a user must know before choosing it.
    #[serde(default)]
    pub limits: Vec<String>,
}

/// The agent, and which versions of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// The lowest version, as in `0.30`.
    pub min_version: String,
    /// The first version it does not work with; none known when missing.
    pub before_version: Option<String>,
    /// Builds of the agent it works with.
    pub builds: Vec<String>,
}

/// A file to install.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artefact {
    /// What kind of file the agent loads.
    pub kind: ArtefactKind,
    /// The files, relative to where they are installed.
    pub files: Vec<String>,
    /// SHA-256 of each file of a release by its name; empty in the source tree.
    #[serde(default)]
    pub sha256: BTreeMap<String, String>,
    /// The newest glibc symbol version it may ask for, where it is linked against glibc.
    pub glibc: Option<String>,
    /// What systemd needs of it, relative to `/usr/lib`: units, users.
    #[serde(default)]
    pub systemd: Vec<String>,
}

/// What an artefact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtefactKind {
    /// A Lua module with a native part.
    LuaModule,
    /// A shared library the agent loads.
    SharedLibrary,
    /// A program.
    Executable,
    /// A crate linked into the agent.
    Crate,
}

impl ArtefactKind {
    /// Where its files belong, below `/usr` and in a release; nowhere when the agent has to be built with it.
    pub fn install_dir(self) -> Option<&'static str> {
        match self {
            Self::LuaModule | Self::SharedLibrary => Some("lib/oddline"),
            Self::Executable => Some("bin"),
            Self::Crate => None,
        }
    }
}

/// What a way in can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// Acknowledgements pass from the sink back to the source.
    pub acknowledgements: bool,
    /// Metadata of events stays.
    pub metadata: bool,
    /// Types JSON does not have (timestamps) stay.
    pub types: bool,
    /// Works with agents linked against musl.
    pub musl: bool,
    /// Uses several threads.
    pub concurrent: bool,
    /// Keeps what it learned when the agent reloads its configuration.
    pub reload: bool,
    /// Can send events of its own (silences).
    pub synthetic_events: bool,
}

/// Where the configuration is described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigReference {
    /// The command that prints the schema.
    pub schema: String,
    /// Examples, relative to the repository.
    pub examples: Vec<String>,
    /// What to add to the agent's configuration: a part of the first example.
    pub stanza: Option<String>,
}

/// What is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataDir {
    /// Who names it.
    pub from: String,
    /// A typical place.
    pub typical: String,
    /// What is in it, by path.
    pub layout: BTreeMap<String, String>,
}

/// Why a manifest is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It is no YAML of this shape.
    #[error("{name}: {source}")]
    Format {
        /// The file.
        name: String,
        /// What is wrong, with its place.
        source: Box<serde_saphyr::Error>,
    },
    /// A value is not accepted.
    #[error("{name}: {key}: expected {expected}, found {found:?}")]
    Value {
        /// The file.
        name: String,
        /// The key.
        key: &'static str,
        /// What would be accepted.
        expected: String,
        /// What is there.
        found: String,
    },
}

/// Whether a path stays below where it begins.
fn is_below(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

impl Manifest {
    /// Reads and checks the text of the manifest file `name`.yaml.
    pub fn parse(name: &str, text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = serde_saphyr::from_str(text)
            .map_err(|source| ManifestError::Format { name: name.to_owned(), source: Box::new(source) })?;
        manifest.check(name)?;
        Ok(manifest)
    }

    fn check(&self, name: &str) -> Result<(), ManifestError> {
        let fail = |key, expected: &str, found: &str| {
            Err(ManifestError::Value {
                name: name.to_owned(),
                key,
                expected: expected.to_owned(),
                found: found.to_owned(),
            })
        };
        if self.schema != SCHEMA {
            return fail("schema", &SCHEMA.to_string(), &self.schema.to_string());
        }
        if self.name != name {
            return fail("name", &format!("the file's name, {name:?}"), &self.name);
        }
        let versions = std::iter::once(("agent.min_version", &self.agent.min_version))
            .chain(self.agent.before_version.iter().map(|version| ("agent.before_version", version)));
        for (key, version) in versions {
            if version.split('.').any(|part| part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit())) {
                return fail(key, "numbers joined by dots", version);
            }
        }
        if self.artefact.files.is_empty() {
            return fail("artefact.files", "at least one file", "none");
        }
        let named = [
            ("artefact.files", &self.artefact.files),
            ("artefact.systemd", &self.artefact.systemd),
            ("config.examples", &self.config.examples),
        ];
        for (key, files) in named {
            if let Some(file) = files.iter().find(|file| !is_below(file)) {
                return fail(key, "a relative path without . and ..", file);
            }
        }
        for (file, sum) in &self.artefact.sha256 {
            if !self.artefact.files.contains(file) {
                return fail("artefact.sha256", "a file of artefact.files", file);
            }
            if sum.len() != 64 || !sum.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                return fail("artefact.sha256", "64 lower-case hex digits", sum);
            }
        }
        if self.entry_points.is_empty() {
            return fail("entry_points", "at least one", "none");
        }
        let counted = metrics();
        match self.metrics.iter().find(|metric| !counted.contains(metric)) {
            Some(metric) => fail("metrics", &format!("one of {}", counted.join(", ")), metric),
            None => Ok(()),
        }
    }
}

/// The capabilities of several ways in, as a Markdown table.
pub fn capability_table(manifests: &[Manifest]) -> String {
    type Capability = (&'static str, fn(&Capabilities) -> bool);
    const ROWS: [Capability; 7] = [
        ("acknowledgements pass through", |c| c.acknowledgements),
        ("event metadata stays", |c| c.metadata),
        ("types of fields stay", |c| c.types),
        ("works with musl builds", |c| c.musl),
        ("several threads", |c| c.concurrent),
        ("learning survives a reload", |c| c.reload),
        ("reports silences", |c| c.synthetic_events),
    ];
    let mut text = String::from("| |");
    for manifest in manifests {
        let _ = write!(text, " {} |", manifest.name);
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(manifests.len()));
    for (title, has) in ROWS {
        let _ = write!(text, "\n| {title} |");
        for manifest in manifests {
            text.push_str(if has(&manifest.capabilities) { " yes |" } else { " no |" });
        }
    }
    text.push('\n');
    text
}
