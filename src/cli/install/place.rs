//! What stands at each place, and putting files there.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use super::error::{InstallError, failed};
use super::packages;
use super::receipt::{self, RECEIPT, Receipt, sha256};
use super::release::Item;

/// What is done with one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    /// It was not there.
    Put,
    /// What an earlier release put there goes.
    Replace,
    /// What somebody made of ours goes, and stays beside it.
    Aside,
    /// It is there, and ours.
    Same,
    /// It is there and the same, but somebody else put it there.
    Foreign,
    /// Removed.
    Remove,
    /// Gone already.
    Gone,
    /// Not removed: somebody changed it.
    Changed,
    /// Not removed: another agent has it too.
    Shared,
    /// Not removed: a package of the system has it.
    Packaged,
}

/// What is done with one file, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    pub(super) action: Action,
    pub(super) path: PathBuf,
}

impl Step {
    pub(super) fn is_change(&self) -> bool {
        matches!(self.action, Action::Put | Action::Replace | Action::Aside | Action::Remove)
    }

    pub(super) fn is_kept(&self) -> bool {
        self.action == Action::Changed
    }
}

impl Step {
    /// In words: what was done, or in a dry run what would be.
    pub(super) fn told(&self, is_dry: bool) -> String {
        if is_dry { self.planned() } else { self.to_string() }
    }

    fn planned(&self) -> String {
        let action = match self.action {
            Action::Put => "would put",
            Action::Replace => "would replace",
            Action::Aside => "would replace, yours beside it as NAME.oddline-old",
            Action::Remove => "would remove",
            Action::Changed => "would keep, changed since",
            Action::Shared => "would keep for another agent",
            Action::Packaged => "would keep, a package has it",
            Action::Same | Action::Foreign | Action::Gone => return self.to_string(),
        };
        format!("{action}: {}", self.path.display())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::Put => "put",
            Action::Replace => "replaced",
            Action::Aside => "replaced, yours beside it as NAME.oddline-old",
            Action::Same => "unchanged",
            Action::Foreign => "already there",
            Action::Remove => "removed",
            Action::Gone => "already gone",
            Action::Changed => "kept, changed since",
            Action::Shared => "kept for another agent",
            Action::Packaged => "kept, a package has it",
        };
        write!(f, "{action}: {}", self.path.display())
    }
}

/// What becomes of a file of ours that somebody changed, when there is a newer one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Changed {
    /// Nothing is written, and the file is named.
    #[default]
    Refuse,
    /// It stays; ours is put beside it as NAME.oddline-new.
    Keep,
    /// Ours is put there; it is kept beside it as NAME.oddline-old.
    Replace,
}

/// `target` with an ending more.
fn beside(target: &Path, ending: &str) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

const CHANGED_SINCE: &str = "changed since it was installed";
const NEW: &str = ".oddline-new";
const OLD: &str = ".oddline-old";

/// What is to be done.
pub(super) struct Placing<'r> {
    root: &'r Path,
    items: Vec<(Item, Action)>,
}

/// What stands at a place.
pub(super) enum Found {
    Nothing,
    /// A file with this SHA-256.
    File(String),
    /// A directory, a link, a device.
    Other,
}

/// What stands at `path`, itself: a link is not followed, unless to a file beside it, as packages have it where two names are one library.
pub(super) fn look(path: &Path) -> Result<Found, InstallError> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() || is_link_beside(path) => {
            Ok(Found::File(sha256(&fs::read(path).map_err(failed("read", path))?)))
        }
        Ok(_) => Ok(Found::Other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(failed("look at", path)(error)),
    }
}

/// Whether `path` is a link to a file of its own directory.
fn is_link_beside(path: &Path) -> bool {
    let beside = |target: PathBuf| {
        let name = Path::new(target.file_name()?) == target;
        fs::symlink_metadata(path.parent()?.join(target)).ok().filter(|meta| name && meta.is_file())
    };
    fs::read_link(path).ok().and_then(beside).is_some()
}

impl<'r> Placing<'r> {
    /// Looks at every place.
    ///
    /// # Errors
    /// All places that are taken by what is not ours.
    pub(super) fn plan(
        root: &'r Path,
        items: Vec<Item>,
        receipt: &Receipt,
        changed: Changed,
    ) -> Result<Self, InstallError> {
        let (mut planned, mut occupied, mut is_changed) = (Vec::new(), Vec::new(), false);
        let packaged = packages::paths(root)?;
        for item in items {
            stays_within(root, &item.target)?;
            let done = match action(root, &item, receipt, &packaged)? {
                Ok(Action::Changed) => on_changed(root, &item, receipt, &packaged, changed)?,
                action => action.map(|action| vec![(item.clone(), action)]),
            };
            match done {
                Ok(steps) => planned.extend(steps),
                Err(reason) => {
                    is_changed |= reason == CHANGED_SINCE;
                    occupied.push(format!("{} ({reason})", root.join(&item.target).display()));
                }
            }
        }
        if occupied.is_empty() {
            Ok(Self { root, items: planned })
        } else {
            Err(InstallError::Occupied { files: occupied, is_changed })
        }
    }

    /// What is done, file by file.
    pub(super) fn steps(&self) -> Vec<Step> {
        let step = |(item, action): &(Item, Action)| Step { action: *action, path: Path::new("/").join(&item.target) };
        self.items.iter().map(step).collect()
    }

    /// Does it.
    pub(super) fn carry_out(self, mut receipt: Receipt, agent: &str) -> Result<(), InstallError> {
        let before = receipt.clone();
        for (item, action) in &self.items {
            if !matches!(action, Action::Foreign | Action::Changed) {
                let entry = receipt.files.entry(item.target.clone()).or_default();
                entry.agents.insert(agent.to_owned());
                entry.sha256.insert(item.sha256.clone());
                receipt.dirs.extend(missing_dirs(self.root, &item.target));
            }
        }
        if receipt.files.is_empty() {
            return Ok(());
        }
        if receipt != before {
            receipt.dirs.extend(missing_dirs(self.root, Path::new(RECEIPT)));
            make_dirs(self.root, Path::new(RECEIPT))?;
            receipt.save(self.root)?;
        }
        for (item, action) in &self.items {
            if *action == Action::Changed {
                continue;
            }
            if matches!(action, Action::Put | Action::Replace | Action::Aside) {
                make_dirs(self.root, &item.target)?;
                let path = self.root.join(&item.target);
                if *action == Action::Aside {
                    receipt::set_aside(&path, &beside(&path, OLD))?;
                }
                let is_linked = match twin(self.root, item, &receipt)? {
                    Some(twin) => receipt::link(&twin, &path).is_ok(),
                    None => false,
                };
                if !is_linked {
                    receipt::write(&path, &item.bytes, item.is_executable)?;
                }
            }
            if let Some(entry) = receipt.files.get_mut(&item.target) {
                entry.sha256 = [item.sha256.clone()].into();
            }
        }
        if receipt != before { receipt.save(self.root) } else { Ok(()) }
    }
}

/// What is done with files, or what is in the way.
type Planned = Result<Vec<(Item, Action)>, &'static str>;

/// What is done where a file of ours was changed, or what is in the way of that.
fn on_changed(
    root: &Path,
    item: &Item,
    receipt: &Receipt,
    packaged: &BTreeSet<PathBuf>,
    changed: Changed,
) -> Result<Planned, InstallError> {
    match changed {
        Changed::Refuse => Ok(Err(CHANGED_SINCE)),
        Changed::Keep => {
            let new = Item { target: beside(&item.target, NEW), ..item.clone() };
            let action = action(root, &new, receipt, packaged)?;
            // Whatever is there by that name is ours to write again only if we wrote it.
            let is_ours =
                |action| if action == Action::Changed { Err("NAME.oddline-new was changed, too") } else { Ok(action) };
            Ok(action.and_then(is_ours).map(|action| vec![(item.clone(), Action::Changed), (new, action)]))
        }
        Changed::Replace => {
            let (theirs, old) = (look(&root.join(&item.target))?, look(&root.join(beside(&item.target, OLD)))?);
            Ok(match (theirs, old) {
                (_, Found::Nothing) => Ok(vec![(item.clone(), Action::Aside)]),
                // An installation that was cut off had got so far.
                (Found::File(theirs), Found::File(old)) if theirs == old => Ok(vec![(item.clone(), Action::Aside)]),
                _ => Err("NAME.oddline-old is there already"),
            })
        }
    }
}

/// A file of ours beside the place of `item` that is the same: the two become one file, since a library that a process loads by two names is one
/// library only then.
fn twin(root: &Path, item: &Item, receipt: &Receipt) -> Result<Option<PathBuf>, InstallError> {
    if !item.is_executable {
        // Two texts that are alike today are two texts.
        return Ok(None);
    }
    for path in receipt.files.keys().filter(|path| **path != item.target && path.parent() == item.target.parent()) {
        let path = root.join(path);
        if matches!(look(&path)?, Found::File(sum) if sum == item.sha256) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// What to do with `item`, or what is in its way. What a package has by now is the package's, also when it was ours.
fn action(
    root: &Path,
    item: &Item,
    receipt: &Receipt,
    packaged: &BTreeSet<PathBuf>,
) -> Result<Result<Action, &'static str>, InstallError> {
    let is_packaged = packaged.contains(&item.target);
    let ours = receipt.files.get(&item.target).filter(|_| !is_packaged);
    Ok(match (look(&root.join(&item.target))?, ours) {
        (Found::Nothing, _) => Ok(Action::Put),
        (Found::Other, _) => Err("no file"),
        (Found::File(sum), None) if sum == item.sha256 => Ok(Action::Foreign),
        (Found::File(sum), Some(_)) if sum == item.sha256 => Ok(Action::Same),
        (Found::File(sum), Some(entry)) if entry.sha256.contains(&sum) => Ok(Action::Replace),
        (Found::File(_), _) if is_packaged => Err("a package of the system has it: upgrade or remove that package"),
        (Found::File(_), Some(_)) => Ok(Action::Changed),
        (Found::File(_), None) => Err("another file"),
    })
}

/// The directories above `target` that are not there, outermost first.
fn missing_dirs(root: &Path, target: &Path) -> Vec<PathBuf> {
    let dirs = target.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty());
    let mut missing: Vec<_> = dirs.take_while(|dir| !root.join(dir).exists()).map(Path::to_owned).collect();
    missing.reverse();
    missing
}

fn make_dirs(root: &Path, target: &Path) -> Result<(), InstallError> {
    let dir = root.join(target);
    let dir = dir.parent().unwrap_or(root);
    fs::create_dir_all(dir).map_err(failed("make", dir))
}

/// A link among the directories above `target` may lead anywhere, but not out of the root.
pub(super) fn stays_within(root: &Path, target: &Path) -> Result<(), InstallError> {
    let real_root = fs::canonicalize(root).map_err(failed("look at", root))?;
    let above = target.ancestors().skip(1).map(|dir| root.join(dir)).find(|dir| dir.exists());
    let above = above.unwrap_or_else(|| root.to_owned());
    let real = fs::canonicalize(&above).map_err(failed("look at", &above))?;
    if real.starts_with(&real_root) {
        return Ok(());
    }
    Err(InstallError::Outside { path: above, root: root.to_owned() })
}
