//! The part of a repair that is the journal's, where it is in the data dir: objects of which something does not read.
//!
//! An object is never written again. The lines of it that check out become an object of their own in the same place, and then the damaged one goes to
//! the [`quarantine`]: a crash between leaves incidents twice, which who reads removes. Of a damaged Parquet object nothing reads.

use std::io::ErrorKind;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::sync::Arc;

use crate::storage::journal::{self, Format, FormatError, LocalStore, ObjectStore, Partition};
use crate::storage::{FileSystem, StorageError, atomic, quarantine};

/// An object of which something does not read.
#[derive(Debug)]
pub(super) struct DamagedObject {
    pub(super) path: PathBuf,
    pub(super) reason: String,
}

/// The damaged objects of the journal in `data_dir` and of what waits to go to another store. What this build cannot read is passed over.
pub(super) fn find(fs: &Arc<dyn FileSystem>, data_dir: &Path) -> Result<Vec<DamagedObject>, StorageError> {
    let root = data_dir.join(journal::DIR);
    let stored = LocalStore::new(Arc::clone(fs), root.clone()).list("")?.into_iter().map(|object| object.key);
    let spool = data_dir.join(journal::SPOOL_DIR);
    let spooled = match fs.list(&spool) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(StorageError::io("list", &spool))?,
    };
    let places = stored.map(|key| (root.join(&key), key));
    let places = places.chain(spooled.into_iter().map(|entry| (spool.join(&entry.name), entry.name.replace('+', "/"))));
    let mut found = Vec::new();
    for (path, key) in places.filter(|(_, key)| Partition::of_key(key).is_some()) {
        let bytes = fs.read(&path).map_err(StorageError::io("read", &path))?;
        let reason = match journal::decode(&key, &bytes) {
            Ok((_, 0)) | Err(FormatError::NoParquet) => continue,
            Ok((_, lines)) => format!("damaged lines: {lines}"),
            Err(error) => error.to_string(),
        };
        found.push(DamagedObject { path, reason });
    }
    Ok(found)
}

/// Keeps what is whole of an object; returns where the object is now, and how many incidents were kept.
pub(super) fn replace(fs: &dyn FileSystem, data_dir: &Path, path: &Path) -> Result<(PathBuf, u64), StorageError> {
    let (spool, root) = (data_dir.join(journal::SPOOL_DIR), data_dir.join(journal::DIR));
    let is_spooled = path.starts_with(&spool);
    let within = path.strip_prefix(if is_spooled { &spool } else { &root }).unwrap_or(path);
    let key = within.to_string_lossy().replace(if is_spooled { '+' } else { MAIN_SEPARATOR }, "/");
    let bytes = fs.read(path).map_err(StorageError::io("read", path))?;
    let whole = journal::decode(&key, &bytes).map(|(incidents, _)| incidents).unwrap_or_default();
    let partition = Partition::of_key(&key);
    if let (Some(first), Some(partition), Ok(bytes)) =
        (whole.first(), partition, journal::encode(Format::Ndjson, &whole))
    {
        let key = journal::object_key(&partition, &first.event_id, &bytes, Format::Ndjson.extension());
        let name = if is_spooled { key.replace('/', "+") } else { last(&key) };
        atomic::write(fs, path.parent().unwrap_or(data_dir), &name, &bytes)?;
    }
    Ok((quarantine::set_aside(fs, data_dir, path)?, whole.len() as u64))
}

fn last(key: &str) -> String {
    key.rsplit('/').next().unwrap_or(key).to_owned()
}
