//! What a release has for an agent.

use std::fs;
use std::path::{Path, PathBuf};

use oddline::plugin::manifest::Manifest;

use super::Stanza;
use super::error::{InstallError, failed};
use super::receipt::sha256;

/// Where manifests are, below a release and below `/usr`.
const MANIFESTS: &str = "share/oddline/plugin-manifests";
/// Where `config-examples/` of the repository is.
const EXAMPLES: &str = "share/doc/oddline/examples";
/// What files for systemd are relative to.
const LIB: &str = "lib";

/// A directory with a release in it.
#[derive(Debug)]
pub(super) struct Release {
    dir: PathBuf,
    manifests: Vec<Manifest>,
}

/// A file of a release.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Where it is to be, below the root.
    pub(super) target: PathBuf,
    pub(super) bytes: Vec<u8>,
    pub(super) sha256: String,
    /// A program or a library; else text.
    pub(super) is_executable: bool,
}

impl Release {
    /// The release in `dir`, or the one this program belongs to.
    pub(super) fn open(dir: Option<&Path>) -> Result<Self, InstallError> {
        let dir = dir.map_or_else(own, |dir| Ok(dir.to_owned()))?;
        let place = dir.join(MANIFESTS);
        let none = || InstallError::NoRelease { dir: place.clone() };
        let mut manifests = Vec::new();
        for entry in fs::read_dir(&place).map_err(|_| none())? {
            let path = entry.map_err(failed("read", &place))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".yaml")) else { continue };
            let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
            manifests.push(Manifest::parse(name, &text)?);
        }
        manifests.sort_by(|a, b| a.name.cmp(&b.name));
        if manifests.is_empty() { Err(none()) } else { Ok(Self { dir, manifests }) }
    }

    /// The ways into `agent` that are called `names`; all that can be installed without any.
    pub(super) fn ways(&self, agent: &str, names: &[String]) -> Result<Vec<&Manifest>, InstallError> {
        let of_agent = || self.manifests.iter().filter(|way| way.agent.name == agent);
        let none = |what| InstallError::NoWay { what, has: of_agent().map(|way| way.name.clone()).collect() };
        if names.is_empty() {
            let ways: Vec<_> = of_agent().filter(|way| way.artefact.kind.install_dir().is_some()).collect();
            return if ways.is_empty() { Err(none(format!("no way into {agent}"))) } else { Ok(ways) };
        }
        let find = |name: &String| {
            of_agent()
                .find(|way| way.name == *name)
                .ok_or_else(|| none(format!("no way into {agent} is called {name}")))
        };
        names.iter().map(find).collect()
    }

    /// The files of `ways`, each once.
    ///
    /// # Errors
    /// All files that are missing, or the first that is damaged.
    pub(super) fn items(&self, ways: &[&Manifest]) -> Result<Vec<Item>, InstallError> {
        let (mut items, mut missing) = (Vec::<Item>::new(), Vec::new());
        for way in ways {
            for (path, expected) in files(way)? {
                let target = Path::new("usr").join(&path);
                if items.iter().any(|item| item.target == target) {
                    continue;
                }
                match self.item(&path, target, expected)? {
                    Some(item) => items.push(item),
                    None => missing.push(format!("{} ({})", self.dir.join(path).display(), way.name)),
                }
            }
        }
        if missing.is_empty() { Ok(items) } else { Err(InstallError::Missing { files: missing }) }
    }

    /// Nothing when it is not there.
    fn item(&self, path: &Path, target: PathBuf, expected: Option<&str>) -> Result<Option<Item>, InstallError> {
        let source = self.dir.join(path);
        if !source.is_file() {
            return Ok(None);
        }
        let bytes = fs::read(&source).map_err(failed("read", &source))?;
        let found = sha256(&bytes);
        match expected {
            Some(expected) if expected != found => {
                Err(InstallError::Damaged { path: source, expected: expected.to_owned(), found })
            }
            _ => {
                let is_executable = path.starts_with("bin") || path.extension().is_some_and(|end| end == "so");
                Ok(Some(Item { target, bytes, sha256: found, is_executable }))
            }
        }
    }

    /// What to add to the agent's configuration: what the manifest says, or else the first example.
    pub(super) fn stanzas(&self, ways: &[&Manifest]) -> Result<Vec<Stanza>, InstallError> {
        let stanza = |way: &&Manifest| {
            let stanza = match (&way.config.stanza, way.config.examples.first()) {
                (Some(stanza), _) => stanza.clone(),
                (None, Some(example)) => {
                    let path = self.dir.join(installed_example(example));
                    fs::read_to_string(&path).map_err(failed("read", &path))?
                }
                (None, None) => String::new(),
            };
            let shown = |example: &String| Path::new("/usr").join(installed_example(example)).display().to_string();
            let examples = way.config.examples.iter().map(shown).collect();
            Ok(Stanza { plugin: way.name.clone(), stanza, examples })
        };
        ways.iter().map(stanza).collect()
    }
}

/// The directory above the one this program is in.
fn own() -> Result<PathBuf, InstallError> {
    let program = std::env::current_exe().map_err(failed("find", Path::new("oddline")))?;
    Ok(program.ancestors().nth(2).unwrap_or(Path::new("/")).to_owned())
}

fn installed_example(example: &str) -> PathBuf {
    Path::new(EXAMPLES).join(example.strip_prefix("config-examples/").unwrap_or(example))
}

/// What `way` names, below a release, with checksums where it gives them.
fn files(way: &Manifest) -> Result<Vec<(PathBuf, Option<&str>)>, InstallError> {
    let artefact = &way.artefact;
    let dir = artefact
        .kind
        .install_dir()
        .ok_or_else(|| InstallError::IsCrate { name: way.name.clone(), agent: way.agent.name.clone() })?;
    let sum = |file: &String| artefact.sha256.get(file).map(String::as_str);
    let mut files: Vec<_> = artefact.files.iter().map(|file| (Path::new(dir).join(file), sum(file))).collect();
    files.push((Path::new(MANIFESTS).join(format!("{}.yaml", way.name)), None));
    files.extend(artefact.systemd.iter().map(|file| (Path::new(LIB).join(file), None)));
    files.extend(way.config.examples.iter().map(|example| (installed_example(example), None)));
    Ok(files)
}
