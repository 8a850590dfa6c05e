//! A file system as it is, for looking at: writes are accepted and forgotten.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::fs::{DirEntry, FileSystem, OpenMode, WriteFile};

/// Reads from another file system and never changes it. What was written cannot be read back.
#[derive(Debug, Clone)]
pub struct Untouched(pub Arc<dyn FileSystem>);

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

impl FileSystem for Untouched {
    fn open(&self, _path: &Path, _mode: OpenMode) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(Forgotten))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.read(path)
    }

    fn read_range(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.0.read_range(path, offset, length)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.0.len(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.list(dir)
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
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
