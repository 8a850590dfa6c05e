//! How much a directory holds.

use std::io::ErrorKind;
use std::path::Path;

use super::error::StorageError;
use super::fs::FileSystem;

/// Bytes of all files below `dir`; 0 when it does not exist.
///
/// Sizes are what files hold, not the blocks they occupy. What goes away while it is counted counts as 0.
pub fn disk_usage(fs: &dyn FileSystem, dir: &Path) -> Result<u64, StorageError> {
    let mut total = 0;
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        let entries = match fs.list(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(StorageError::io("list", &dir)(error)),
        };
        total += entries.iter().map(|entry| entry.bytes).sum::<u64>();
        pending.extend(entries.iter().filter(|entry| entry.is_dir).map(|entry| dir.join(&entry.name)));
    }
    Ok(total)
}
