//! What packages of the system have: the lists of dpkg, and what rpm lists.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::{InstallError, failed};

/// Where dpkg keeps, for each package, `NAME.list`: a path from `/` on a line.
const INFO: &str = "var/lib/dpkg/info";

/// Where distributions have rpm keep what it knows; the rpm that is asked may be another one's, and look elsewhere.
const RPM: [&str; 2] = ["usr/lib/sysimage/rpm", "var/lib/rpm"];

/// Every path that a package of `root` has, below the root; none where there is neither dpkg nor rpm.
///
/// # Errors
/// A list that is there and cannot be read: what it names would pass for nobody's.
pub(super) fn paths(root: &Path) -> Result<BTreeSet<PathBuf>, InstallError> {
    let mut paths = of_dpkg(root)?;
    let is_used = |dir: &&str| fs::read_dir(root.join(dir)).is_ok_and(|mut files| files.next().is_some());
    if let Some(known) = RPM.into_iter().find(is_used) {
        paths.extend(of_rpm(root, known)?);
    }
    Ok(paths)
}

/// All files of all packages: asked about one, rpm looks for it on this system, whatever the root is.
fn of_rpm(root: &Path, known: &str) -> Result<BTreeSet<PathBuf>, InstallError> {
    let real = fs::canonicalize(root).map_err(failed("look at", root))?;
    let mut rpm = Command::new("rpm");
    rpm.arg("--root").arg(real).arg("--dbpath").arg(Path::new("/").join(known)).args(["--query", "--all", "--list"]);
    let known = root.join(known);
    let output = rpm.env("LC_ALL", "C").stdin(Stdio::null()).output().map_err(failed("have rpm list", &known))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed("have rpm list", &known)(io::Error::other(said)));
    }
    Ok(below_root(&output.stdout))
}

/// The paths of a list, one from `/` on a line; what is none, as a word for a package without files, is nobody's path either.
fn below_root(list: &[u8]) -> BTreeSet<PathBuf> {
    String::from_utf8_lossy(list).lines().map(|line| PathBuf::from(line.trim_start_matches('/'))).collect()
}

fn of_dpkg(root: &Path) -> Result<BTreeSet<PathBuf>, InstallError> {
    let info = root.join(INFO);
    let entries = match fs::read_dir(&info) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries.map_err(failed("list", &info))?,
    };
    let mut paths = BTreeSet::new();
    for entry in entries {
        let list = entry.map_err(failed("list", &info))?.path();
        if list.extension().is_some_and(|end| end == "list") {
            paths.extend(below_root(&fs::read(&list).map_err(failed("read", &list))?));
        }
    }
    Ok(paths)
}
