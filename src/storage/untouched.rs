//! A file system as it is, for looking at: nothing of it is changed.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fs::{DirEntry, FileSystem, OpenMode, WriteFile};
use super::mem_fs::MemFs;

/// Reads from another file system and never changes it. What is done to files that are there (bytes appended or cut off, removal) is done in
/// memory and seen by who reads, so that a recovery that is looked at finds what one in earnest would. New files, files that are replaced and renames
/// are accepted and forgotten.
#[derive(Debug, Clone)]
pub struct Untouched {
    under: Arc<dyn FileSystem>,
    /// Files that would have changed.
    changed: MemFs,
    removed: Arc<Mutex<BTreeSet<PathBuf>>>,
}

#[derive(Debug)]
struct Forgotten;

impl WriteFile for Forgotten {
    fn append(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn second(&self) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(Self))
    }
}

impl Untouched {
    /// What `under` holds.
    pub fn new(under: Arc<dyn FileSystem>) -> Self {
        Self { under, changed: MemFs::new(), removed: Arc::default() }
    }

    fn removed(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.removed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the file is read.
    fn of(&self, path: &Path) -> io::Result<&dyn FileSystem> {
        if self.removed().contains(path) {
            return Err(io::Error::new(ErrorKind::NotFound, format!("no such file: {}", path.display())));
        }
        if self.changed.len(path).is_ok() { Ok(&self.changed) } else { Ok(&*self.under) }
    }
}

impl FileSystem for Untouched {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn WriteFile>> {
        if mode != OpenMode::Append {
            return Ok(Box::new(Forgotten));
        }
        match self.read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Box::new(Forgotten)),
            bytes => {
                self.changed.put(path, &bytes?);
                self.changed.open(path, mode)
            }
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.of(path)?.read(path)
    }

    fn read_range(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.of(path)?.read_range(path, offset, length)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.of(path)?.len(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let removed = self.removed();
        let mut entries = self.under.list(dir)?;
        entries.retain(|entry| !removed.contains(&dir.join(&entry.name)));
        for entry in &mut entries {
            entry.bytes = self.changed.len(&dir.join(&entry.name)).unwrap_or(entry.bytes);
        }
        Ok(entries)
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.removed().insert(path.to_owned());
        Ok(())
    }

    fn remove_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_to_a_file_is_seen_and_not_done() {
        let real = MemFs::new();
        let (cut, gone) = (Path::new("/d/cut"), Path::new("/d/gone"));
        [cut, gone].iter().for_each(|path| real.put(path, b"whole"));
        let fs = Untouched::new(Arc::new(real.clone()));
        let mut file = fs.open(cut, OpenMode::Append).unwrap();
        file.truncate(2).unwrap();
        file.append(b"!").unwrap();
        fs.remove(gone).unwrap();
        assert_eq!(fs.read(cut).unwrap(), b"wh!");
        assert_eq!(fs.read_range(cut, 1, 9).unwrap(), b"h!");
        assert_eq!(fs.read(gone).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs.list(Path::new("/d")).unwrap().iter().map(|entry| entry.bytes).collect::<Vec<_>>(), [3]);
        assert_eq!((real.read(cut).unwrap(), real.read(gone).unwrap()), (b"whole".to_vec(), b"whole".to_vec()));
    }
}
