//! The seam between formats and files: [`FileSystem`], and [`RealFs`], the operating system's.
//!
//! A write is durable once the file was synced; a create, rename or remove once its directory was synced. Directories made by
//! [`FileSystem::create_dir_all`] are durable when it returns; when it fails, those it made are gone again. On Windows a directory cannot be synced: there the order of
//! metadata operations is the file system's.
//!
//! What [`RealFs`] creates is its user's alone, whatever the umask is: log texts stand in it. What is there keeps its mode. (Unix; elsewhere a
//! directory hands down who may read.)

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// How a file is opened for writing; writes go to its end in every mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Keep what is there, create what is not.
    Append,
    /// Empty what is there.
    Replace,
    /// Fail with `AlreadyExists` when something is there.
    New,
}

/// A file open for writing at its end.
pub trait WriteFile: Send + Debug {
    /// Writes all of `bytes` at the end; after an error any prefix may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns once everything written is durable. A file that no name leads to any more cannot be made durable (`NotFound`): nobody would find it
    /// again. (On Windows an open file keeps its name.)
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `length` bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Another handle on the same file, so that a thread can sync it while another one appends. An error that a sync of one tells the other may
    /// not tell again.
    fn second(&self) -> io::Result<Box<dyn WriteFile>>;
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// File name, without directories; replacement characters where it is not UTF-8.
    pub name: String,
    /// Bytes of a file, 0 for a directory.
    pub bytes: u64,
    /// A directory (a link to one is not).
    pub is_dir: bool,
}

/// What storage needs of a file system.
pub trait FileSystem: Send + Sync + Debug {
    /// Opens a file for writing; its directory must exist.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn WriteFile>>;
    /// The whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// All bytes of a file; `None` when it is not there.
    fn read_if_there(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match self.read(path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            read => read.map(Some),
        }
    }
    /// Up to `length` bytes of a file from `offset` on; fewer where it ends.
    fn read_range(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let bytes = self.read(path)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let to = from.saturating_add(length).min(bytes.len());
        Ok(bytes.get(from..to).unwrap_or_default().to_vec())
    }
    /// Bytes of a file.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// Entries of a directory, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Moves a file, replacing what has the new name, in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory that is empty; `DirectoryNotEmpty` when it is not.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Removes a directory and what is in it.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Creates a directory and its parents, durably; one that exists is fine.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes creates, renames and removes in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealFs;

impl WriteFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()?;
        if has_name(self)? { Ok(()) } else { Err(removed()) }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn second(&self) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(self.try_clone()?))
    }
}

impl FileSystem for RealFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn WriteFile>> {
        // Always O_APPEND: after `truncate` the next write must land at the new end, not where the old one was.
        let file = creating().append(true).create_new(mode == OpenMode::New).open(path)?;
        if mode == OpenMode::Replace {
            file.set_len(0)?;
        }
        Ok(Box::new(file))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn read_range(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = fs::read_dir(dir)?
            .filter_map(|entry| entry.and_then(describe).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        entries.sort_unstable();
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        make_dirs(dir, |parent| match self.sync_dir(parent) {
            // Who may not read a directory cannot sync it, and would never get further.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::warn!(path = %parent.display(), %error, "cannot make sure that a new directory outlives a power cut");
                Ok(())
            }
            synced => synced,
        })
    }

    #[cfg(unix)]
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        File::open(dir)?.sync_all()
    }

    #[cfg(not(unix))]
    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a directory has the file.
#[cfg(unix)]
fn has_name(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(file.metadata()?.nlink() > 0)
}

#[cfg(not(unix))]
fn has_name(_file: &File) -> io::Result<bool> {
    Ok(true)
}

/// What [`WriteFile::sync`] says of a file that is gone.
pub(super) fn removed() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the file was removed while it was open")
}

/// Opens a file, or creates one that its user alone may read and write.
pub(super) fn creating() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true);
    #[cfg(unix)]
    options.mode(0o600);
    options
}

/// Makes directories, with their parents, that their user alone may enter.
fn dir_builder() -> fs::DirBuilder {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    builder.mode(0o700);
    builder
}

/// Makes `dir` and its parents, and has the parent of each new one synced.
fn make_dirs(dir: &Path, mut sync: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|d| !d.as_os_str().is_empty() && !d.is_dir()).collect();
    let mut parents = missing.iter().filter_map(|made| made.parent());
    let made = dir_builder().create(dir).and_then(|()| parents.try_for_each(&mut sync));
    if made.is_err() {
        // The next attempt would take them for durable. One that is not empty is in use by now, one that is not there was never made.
        missing.iter().for_each(|made| drop(fs::remove_dir(made)));
    }
    made
}

/// `None` for an entry that went away while the directory was listed.
fn describe(entry: fs::DirEntry) -> io::Result<Option<DirEntry>> {
    let metadata = match entry.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_dir = metadata.is_dir();
    let bytes = if is_dir { 0 } else { metadata.len() };
    Ok(Some(DirEntry { name: entry.file_name().to_string_lossy().into_owned(), bytes, is_dir }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_file_that_was_removed_is_not_called_durable() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        let mut file = RealFs.open(&path, OpenMode::New).unwrap();
        file.append(b"1").unwrap();
        file.sync().unwrap();
        let mut second = file.second().unwrap();
        fs::remove_file(&path).unwrap();
        file.append(b"2").unwrap();
        for file in [&mut file, &mut second] {
            assert_eq!(file.sync().unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn the_parent_of_each_new_directory_is_synced_and_again_after_a_failure() {
        let root = tempfile::tempdir().unwrap();
        let (one, two, three) = (root.path().join("1"), root.path().join("1/2"), root.path().join("1/2/3"));
        let mut synced = Vec::new();
        let failed = make_dirs(&three, |parent| {
            synced.push(parent.to_owned());
            if parent == root.path() { Err(io::Error::other("the disk is tired")) } else { Ok(()) }
        });
        assert!(failed.is_err() && !one.exists(), "what is not durable is not taken for it");
        let expected = [two, one, root.path().to_owned()];
        assert_eq!(synced, expected);
        synced.clear();
        for _ in 0..2 {
            make_dirs(&three, |parent| {
                synced.push(parent.to_owned());
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(synced, expected, "once");
    }
}
