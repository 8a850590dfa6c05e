//! Taking away what was put in place.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{InstallError, failed};
use super::packages;
use super::place::{Action, Found, Step, look, stays_within};
use super::receipt::{Entry, Receipt};

/// Removes what `receipt` says was put there for `agent` alone and is as it was put there; says what became of each file.
/// A file that was changed is its owner's from now on, and one that a package has too, even if it is the same, is the package's.
pub(super) fn remove(root: &Path, mut receipt: Receipt, agent: &str, is_dry: bool) -> Result<Vec<Step>, InstallError> {
    let (mut steps, packaged) = (Vec::new(), packages::paths(root)?);
    for (path, entry) in receipt.files.iter().filter(|(_, entry)| entry.agents.contains(agent)) {
        stays_within(root, path)?;
        steps.push(Step { action: action(root, path, entry, &packaged)?, path: path.clone() });
    }
    if steps.is_empty() {
        return Err(InstallError::NotInstalled { agent: agent.to_owned(), root: root.to_owned() });
    }
    if !is_dry {
        carry_out(root, &steps, &mut receipt, agent)?;
    }
    for step in &mut steps {
        step.path = Path::new("/").join(&step.path);
    }
    Ok(steps)
}

fn action(root: &Path, path: &Path, entry: &Entry, packaged: &BTreeSet<PathBuf>) -> Result<Action, InstallError> {
    if entry.agents.len() > 1 {
        return Ok(Action::Shared);
    }
    Ok(match look(&root.join(path))? {
        Found::Nothing => Action::Gone,
        _ if packaged.contains(path) => Action::Packaged,
        Found::File(sum) if entry.sha256.contains(&sum) => Action::Remove,
        Found::File(_) | Found::Other => Action::Changed,
    })
}

/// Files first, the receipt then: cut off in between, the next run finds them gone.
fn carry_out(root: &Path, steps: &[Step], receipt: &mut Receipt, agent: &str) -> Result<(), InstallError> {
    for step in steps {
        let path = root.join(&step.path);
        match step.action {
            Action::Remove => fs::remove_file(&path).map_err(failed("remove", &path))?,
            Action::Shared => {
                receipt.files.get_mut(&step.path).map(|entry| entry.agents.remove(agent));
                continue;
            }
            _ => {}
        }
        receipt.files.remove(&step.path);
    }
    receipt.save(root)?;
    let kept = remove_empty(root, receipt)?;
    if kept != receipt.dirs.len() && !receipt.files.is_empty() { receipt.save(root) } else { Ok(()) }
}

/// Removes directories that were made for us and hold nothing any more, innermost first; returns how many there were.
fn remove_empty(root: &Path, receipt: &mut Receipt) -> Result<usize, InstallError> {
    let before = receipt.dirs.len();
    for dir in receipt.dirs.clone().iter().rev() {
        let path = root.join(dir);
        match fs::remove_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => continue,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &path)(error)),
            _ => receipt.dirs.remove(dir),
        };
    }
    Ok(before)
}
