//! A file system in memory, for tests: it fails where it is told to, and it can crash.
//!
//! [`MemFs::crash`] keeps what was durable by the rules of [`FileSystem`] and forgets the rest: unsynced bytes, and creates,
//! renames and removes whose directory was not synced. Directories are durable at once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fs::{DirEntry, FileSystem, OpenMode, WriteFile};

/// What goes wrong from now on; the default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Bytes all files together may hold; a write beyond is cut short and fails with `StorageFull`.
    pub capacity_bytes: Option<u64>,
    /// Syncing a file or directory fails.
    pub sync: bool,
    /// Syncing a directory fails.
    pub sync_dir: bool,
    /// Renaming fails.
    pub rename: bool,
    /// Truncating fails.
    pub truncate: bool,
    /// Removing fails.
    pub remove: bool,
    /// Reading a file fails.
    pub read: bool,
    /// Everything that writes fails with `ReadOnlyFilesystem`.
    pub read_only: bool,
}

#[derive(Debug, Default)]
struct Inode {
    data: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    live: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
    faults: Faults,
}

/// A file system in memory. Clones share it.
#[derive(Debug, Default, Clone)]
pub struct MemFs(Arc<Mutex<State>>);

impl MemFs {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what fails from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Forgets everything that was not durable; faults are lifted. Files still open write into the void.
    pub fn crash(&self) {
        let mut state = self.state();
        state.faults = Faults::default();
        let survivors = state.durable.clone();
        let contents: Vec<_> = survivors.into_iter().map(|(path, id)| (path, state.durable_bytes(id))).collect();
        state.live.clear();
        state.durable.clear();
        contents.into_iter().for_each(|(path, data)| state.place(&path, data));
    }

    /// Another one with what a killed process leaves in this one: everything written by now, in one moment.
    pub fn live_copy(&self) -> Self {
        let state = self.state();
        let data = |id: usize| state.inodes.get(id).map(|inode| inode.data.clone()).unwrap_or_default();
        Self::holding(&state.dirs, state.live.iter().map(|(path, id)| (path, data(*id))))
    }

    /// Another one with what a power cut leaves in this one: everything durable by now.
    pub fn durable_copy(&self) -> Self {
        let state = self.state();
        Self::holding(&state.dirs, state.durable.iter().map(|(path, id)| (path, state.durable_bytes(*id))))
    }

    fn holding<'p>(dirs: &BTreeSet<PathBuf>, files: impl Iterator<Item = (&'p PathBuf, Vec<u8>)>) -> Self {
        let mut state = State { dirs: dirs.clone(), ..State::default() };
        files.for_each(|(path, data)| state.place(path, data));
        Self(Arc::new(Mutex::new(state)))
    }

    /// Puts a file there, durably, with its directories and in spite of faults.
    pub fn put(&self, path: &Path, data: &[u8]) {
        let mut state = self.state();
        let parents: Vec<PathBuf> = path.ancestors().skip(1).map(Path::to_owned).collect();
        state.dirs.extend(parents);
        state.place(path, data.to_vec());
    }

    /// Bytes all files hold.
    pub fn used_bytes(&self) -> u64 {
        self.state().used()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writable(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        fail_when(state.faults.read_only, ErrorKind::ReadOnlyFilesystem)?;
        Ok(state)
    }
}

fn fail_when(fault: bool, kind: ErrorKind) -> io::Result<()> {
    if fault { Err(io::Error::new(kind, "injected fault")) } else { Ok(()) }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(ErrorKind::NotFound, format!("no such file or directory: {}", path.display()))
}

impl State {
    fn durable_bytes(&self, id: usize) -> Vec<u8> {
        self.inodes.get(id).map(|inode| inode.durable.clone()).unwrap_or_default()
    }

    fn place(&mut self, path: &Path, data: Vec<u8>) {
        let id = self.add(Inode { durable: data.clone(), data });
        self.live.insert(path.to_owned(), id);
        self.durable.insert(path.to_owned(), id);
    }

    fn add(&mut self, inode: Inode) -> usize {
        self.inodes.push(inode);
        self.inodes.len() - 1
    }

    fn used(&self) -> u64 {
        self.live.values().filter_map(|&id| self.inodes.get(id)).map(|inode| inode.data.len() as u64).sum()
    }

    fn inode(&mut self, id: usize) -> io::Result<&mut Inode> {
        self.inodes.get_mut(id).ok_or_else(|| io::Error::from(ErrorKind::NotFound))
    }

    fn find(&self, path: &Path) -> io::Result<&Inode> {
        self.live.get(path).and_then(|&id| self.inodes.get(id)).ok_or_else(|| not_found(path))
    }

    fn require_dir(&self, dir: &Path) -> io::Result<()> {
        let is_root = dir.parent().is_none();
        if is_root || self.dirs.contains(dir) { Ok(()) } else { Err(not_found(dir)) }
    }

    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<usize> {
        self.require_dir(path.parent().unwrap_or(Path::new("")))?;
        fail_when(self.dirs.contains(path), ErrorKind::IsADirectory)?;
        match self.live.get(path).copied() {
            Some(_) if mode == OpenMode::New => Err(ErrorKind::AlreadyExists.into()),
            Some(id) if mode == OpenMode::Append => Ok(id),
            Some(id) => {
                self.inode(id)?.data.clear();
                Ok(id)
            }
            None => {
                let id = self.add(Inode::default());
                self.live.insert(path.to_owned(), id);
                Ok(id)
            }
        }
    }

    fn append(&mut self, id: usize, bytes: &[u8]) -> io::Result<()> {
        let room = self.faults.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()));
        let fits = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        self.inode(id)?.data.extend(bytes.iter().take(fits));
        fail_when(fits < bytes.len(), ErrorKind::StorageFull)
    }
}

#[derive(Debug)]
struct MemFile {
    fs: MemFs,
    id: usize,
}

impl WriteFile for MemFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.fs.writable()?.append(self.id, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.fs.writable()?;
        fail_when(state.faults.sync, ErrorKind::Other)?;
        let inode = state.inode(self.id)?;
        inode.durable = inode.data.clone();
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.fs.writable()?;
        fail_when(state.faults.truncate, ErrorKind::Other)?;
        state.inode(self.id)?.data.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        Ok(())
    }
}

impl FileSystem for MemFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn WriteFile>> {
        let id = self.writable()?.open(path, mode)?;
        Ok(Box::new(MemFile { fs: self.clone(), id }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state();
        fail_when(state.faults.read, ErrorKind::Other)?;
        Ok(state.find(path)?.data.clone())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(self.state().find(path)?.data.len() as u64)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state();
        state.require_dir(dir)?;
        let entry = |path: &Path, bytes, is_dir| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            (path.parent() == Some(dir)).then_some(DirEntry { name, bytes, is_dir })
        };
        let dirs = state.dirs.iter().filter_map(|path| entry(path, 0, true));
        let size = |id: usize| state.inodes.get(id).map_or(0, |inode| inode.data.len() as u64);
        let files = state.live.iter().filter_map(|(path, &id)| entry(path, size(id), false));
        let mut entries: Vec<_> = dirs.chain(files).collect();
        entries.sort_unstable();
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.writable()?;
        fail_when(state.faults.rename, ErrorKind::Other)?;
        let id = state.live.remove(from).ok_or_else(|| not_found(from))?;
        state.live.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.writable()?;
        fail_when(state.faults.remove, ErrorKind::Other)?;
        state.live.remove(path).map(|_| ()).ok_or_else(|| not_found(path))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.writable()?;
        fail_when(state.faults.remove, ErrorKind::Other)?;
        state.require_dir(dir)?;
        state.live.retain(|path, _| !path.starts_with(dir));
        state.durable.retain(|path, _| !path.starts_with(dir));
        state.dirs.retain(|path| !path.starts_with(dir));
        Ok(())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.writable()?;
        let blocked = dir.ancestors().any(|path| state.live.contains_key(path));
        fail_when(blocked, ErrorKind::NotADirectory)?;
        state.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.writable()?;
        fail_when(state.faults.sync || state.faults.sync_dir, ErrorKind::Other)?;
        state.require_dir(dir)?;
        state.durable.retain(|path, _| path.parent() != Some(dir));
        let now: Vec<_> =
            state.live.iter().filter(|(path, _)| path.parent() == Some(dir)).map(|(p, id)| (p.clone(), *id)).collect();
        state.durable.extend(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_forgets_what_was_not_synced() {
        let fs = MemFs::new();
        let dir = Path::new("/d");
        fs.create_dir_all(dir).unwrap();
        let mut kept = fs.open(&dir.join("kept"), OpenMode::New).unwrap();
        kept.append(b"durable").unwrap();
        kept.sync().unwrap();
        fs.sync_dir(dir).unwrap();
        kept.append(b" lost").unwrap();
        fs.open(&dir.join("unlinked"), OpenMode::New).unwrap().sync().unwrap();
        fs.rename(&dir.join("kept"), &dir.join("renamed")).unwrap();
        fs.crash();
        assert_eq!(fs.read(&dir.join("kept")).unwrap(), b"durable");
        assert_eq!(fs.list(dir).unwrap().len(), 1);
    }

    #[test]
    fn a_full_disk_cuts_the_write_short() {
        let fs = MemFs::new();
        fs.set_faults(Faults { capacity_bytes: Some(4), ..Faults::default() });
        let mut file = fs.open(Path::new("/f"), OpenMode::New).unwrap();
        assert_eq!(file.append(b"123456").unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(fs.read(Path::new("/f")).unwrap(), b"1234");
    }
}
