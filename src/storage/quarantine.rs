//! `quarantine/<path within the data dir>`: damaged files, out of the way and yet there. Nothing is ever deleted from it; a name that is taken gets a
//! number.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::atomic;
use super::error::StorageError;
use super::fs::FileSystem;

const DIR: &str = "quarantine";

/// Copies a file there; durable when it returns. Returns the copy's path.
pub fn copy(fs: &dyn FileSystem, data_dir: &Path, path: &Path) -> Result<PathBuf, StorageError> {
    let (dir, name) = free_place(fs, data_dir, path)?;
    let bytes = fs.read(path).map_err(StorageError::io("read", path))?;
    atomic::write(fs, &dir, &name, &bytes)
}

/// Moves a file there, which takes no room; durable when it returns. Returns where it is.
pub fn set_aside(fs: &dyn FileSystem, data_dir: &Path, path: &Path) -> Result<PathBuf, StorageError> {
    let (dir, name) = free_place(fs, data_dir, path)?;
    let target = dir.join(name);
    match fs.rename(path, &target) {
        // Another file system is mounted below the data dir.
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            copy(fs, data_dir, path)?;
            fs.remove(path).map_err(StorageError::io("remove", path))?;
        }
        renamed => renamed.map_err(StorageError::io("rename", path))?,
    }
    // Where it is before where it was: a power cut leaves it in both places rather than in none.
    for dir in [Some(dir.as_path()), path.parent()].into_iter().flatten() {
        fs.sync_dir(dir).map_err(StorageError::io("sync directory", dir))?;
    }
    Ok(target)
}

/// A name in the quarantine that is not taken; its directory is there then.
fn free_place(fs: &dyn FileSystem, data_dir: &Path, path: &Path) -> Result<(PathBuf, String), StorageError> {
    let within = path.strip_prefix(data_dir).unwrap_or(path);
    let dir = data_dir.join(DIR).join(within.parent().unwrap_or(Path::new("")));
    fs.create_dir_all(&dir).map_err(StorageError::io("create directory", &dir))?;
    let taken: BTreeSet<String> = match fs.list(&dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => BTreeSet::new(),
        listed => listed.map_err(StorageError::io("list", &dir))?.into_iter().map(|entry| entry.name).collect(),
    };
    let name = within.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let numbered = (1u64..).map(|number| format!("{name}.{number}"));
    let free = std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains(name));
    Ok((dir, free.unwrap_or(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemFs;
    use crate::storage::mem_fs::Faults;

    #[test]
    fn a_file_is_set_aside_on_a_full_disk_and_two_of_one_name_are_both_kept() {
        let (fs, data_dir) = (MemFs::new(), Path::new("/data"));
        let path = data_dir.join("state/one.checkpoint");
        let mut places = Vec::new();
        for content in [&b"first"[..], b"second"] {
            fs.put(&path, content);
            fs.set_faults(Faults { capacity_bytes: Some(0), ..Faults::default() });
            places.push(set_aside(&fs, data_dir, &path).unwrap());
            assert!(fs.read(&path).is_err());
        }
        let after = fs.durable_copy();
        assert!(after.read(&path).is_err());
        assert_eq!(
            places,
            ["one.checkpoint", "one.checkpoint.1"].map(|name| data_dir.join("quarantine/state").join(name))
        );
        assert_eq!(after.read(&places[0]).unwrap(), b"first");
        assert_eq!(after.read(&places[1]).unwrap(), b"second");
    }
}
