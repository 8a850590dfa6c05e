//! What packages of the system have: the lists of dpkg.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{InstallError, failed};

/// Where dpkg keeps, for each package, `NAME.list`: a path from `/` on a line.
const INFO: &str = "var/lib/dpkg/info";

/// Every path that a package of `root` has, below the root; none where there is no dpkg.
///
/// # Errors
/// A list that is there and cannot be read: what it names would pass for nobody's.
pub(super) fn paths(root: &Path) -> Result<BTreeSet<PathBuf>, InstallError> {
    let info = root.join(INFO);
    let entries = match fs::read_dir(&info) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries.map_err(failed("list", &info))?,
    };
    let mut paths = BTreeSet::new();
    for entry in entries {
        let list = entry.map_err(failed("list", &info))?.path();
        if list.extension().is_some_and(|end| end == "list") {
            let text = fs::read(&list).map_err(failed("read", &list))?;
            paths
                .extend(String::from_utf8_lossy(&text).lines().map(|line| PathBuf::from(line.trim_start_matches('/'))));
        }
    }
    Ok(paths)
}
