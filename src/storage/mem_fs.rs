//! A file system in memory, for tests: it fails where it is told to, and it can crash.
//!
//! [`MemFs::crash`] keeps what was durable by the rules of [`FileSystem`] and forgets the rest: unsynced bytes, and creates,
//! renames and removes whose directory was not synced. [`MemFs::power_cut`] keeps any part of the rest: of the changes since the last sync some
//! reached the disk and some did not, in no order, and a write may have reached it in part. Directories are durable at once, or cannot be made
//! while syncs fail.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fs::{DirEntry, FileSystem, OpenMode, WriteFile, removed};

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
    /// Appending fails with [`EIO`] after half of the bytes.
    pub write: bool,
    /// Of what changes something or syncs it, so many succeed, one fails with [`EIO`], and all after it succeed.
    pub one_after: Option<u64>,
}

/// What a disk that cannot write says; std has no kind for it.
pub const EIO: i32 = 5;

/// What a disk writes in one piece.
const SECTOR_BYTES: usize = 512;

#[derive(Debug, Default)]
struct Inode {
    data: Vec<u8>,
    durable: Vec<u8>,
    /// Changes since the last sync.
    pending: Vec<Change>,
}

/// A change of a file.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

impl Change {
    /// Makes the change, or what of it reached the disk.
    fn apply(&self, data: &mut Vec<u8>, choose: &mut dyn FnMut(u64) -> u64) {
        match self {
            Self::Truncate(length) => data.resize(*length, 0),
            Self::Write { offset, bytes } => {
                let sectors = bytes.len().div_ceil(SECTOR_BYTES) as u64;
                let whole = usize::try_from(choose(sectors + 1)).unwrap_or(usize::MAX);
                let reached = whole.saturating_mul(SECTOR_BYTES).min(bytes.len());
                if data.len() < offset + reached {
                    data.resize(offset + reached, 0);
                }
                let target = data.iter_mut().skip(*offset);
                target.zip(bytes.iter().take(reached)).for_each(|(old, new)| *old = *new);
            }
        }
    }
}

/// A change of a directory, all or nothing.
#[derive(Debug, Clone)]
struct Moved {
    dir: PathBuf,
    gone: Option<PathBuf>,
    there: Option<(PathBuf, usize)>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    live: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
    /// Changes of directories since each was synced.
    moved: Vec<Moved>,
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

    /// Forgets everything that was not durable; faults are lifted. Files still open write into the void, and cannot be synced.
    pub fn crash(&self) {
        let mut state = self.state();
        state.faults = Faults::default();
        let survivors = state.durable.clone();
        let contents: Vec<_> = survivors.into_iter().map(|(path, id)| (path, state.durable_bytes(id))).collect();
        state.live.clear();
        state.durable.clear();
        state.moved.clear();
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

    /// Another one with what a power cut may leave in this one: everything durable by now, and of the rest what `choose` says. `choose(n)` is
    /// a number below `n`: of each change how much of it reached the disk.
    pub fn power_cut(&self, choose: &mut dyn FnMut(u64) -> u64) -> Self {
        let state = self.state();
        let mut names = state.durable.clone();
        for moved in &state.moved {
            if choose(2) == 1 {
                if let Some(path) = &moved.gone {
                    names.remove(path);
                }
                names.extend(moved.there.clone());
            }
        }
        let mut files = Vec::new();
        for (path, id) in &names {
            let Some(inode) = state.inodes.get(*id) else { continue };
            let mut data = inode.durable.clone();
            for change in &inode.pending {
                if choose(3) > 0 {
                    change.apply(&mut data, choose);
                }
            }
            files.push((path, data));
        }
        Self::holding(&state.dirs, files.into_iter())
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
        let mut state = self.state();
        fail_when(state.faults.read_only, ErrorKind::ReadOnlyFilesystem)?;
        state.count_down()?;
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
        let id = self.add(Inode { durable: data.clone(), data, pending: Vec::new() });
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
                let inode = self.inode(id)?;
                inode.data.clear();
                inode.pending.push(Change::Truncate(0));
                Ok(id)
            }
            None => {
                let id = self.add(Inode::default());
                self.live.insert(path.to_owned(), id);
                self.note_move(path, None, Some((path.to_owned(), id)));
                Ok(id)
            }
        }
    }

    fn note_move(&mut self, within: &Path, gone: Option<PathBuf>, there: Option<(PathBuf, usize)>) {
        let dir = within.parent().unwrap_or(Path::new("")).to_owned();
        self.moved.push(Moved { dir, gone, there });
    }

    /// The one failure that is to pass.
    fn count_down(&mut self) -> io::Result<()> {
        match self.faults.one_after {
            Some(0) => {
                self.faults.one_after = None;
                Err(io::Error::from_raw_os_error(EIO))
            }
            left => {
                self.faults.one_after = left.map(|left| left - 1);
                Ok(())
            }
        }
    }

    fn remove_dir(&mut self, dir: &Path) -> io::Result<()> {
        fail_when(self.faults.remove, ErrorKind::Other)?;
        self.require_dir(dir)?;
        self.live.retain(|path, _| !path.starts_with(dir));
        self.durable.retain(|path, _| !path.starts_with(dir));
        self.moved.retain(|moved| !moved.dir.starts_with(dir));
        self.dirs.retain(|path| !path.starts_with(dir));
        Ok(())
    }

    fn append(&mut self, id: usize, bytes: &[u8]) -> io::Result<()> {
        let room = self.faults.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()));
        let most = if self.faults.write { bytes.len() / 2 } else { bytes.len() };
        let fits = most.min(usize::try_from(room).unwrap_or(usize::MAX));
        let written = bytes.get(..fits).unwrap_or_default();
        let inode = self.inode(id)?;
        inode.pending.push(Change::Write { offset: inode.data.len(), bytes: written.to_vec() });
        inode.data.extend_from_slice(written);
        if self.faults.write {
            return Err(io::Error::from_raw_os_error(EIO));
        }
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
        if !state.live.values().any(|id| *id == self.id) {
            return Err(removed());
        }
        let inode = state.inode(self.id)?;
        inode.durable = inode.data.clone();
        inode.pending.clear();
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.fs.writable()?;
        fail_when(state.faults.truncate, ErrorKind::Other)?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let inode = state.inode(self.id)?;
        inode.data.resize(length, 0);
        inode.pending.push(Change::Truncate(length));
        Ok(())
    }

    fn second(&self) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(Self { fs: self.fs.clone(), id: self.id }))
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
        state.note_move(to, Some(from.to_owned()), Some((to.to_owned(), id)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.writable()?;
        fail_when(state.faults.remove, ErrorKind::Other)?;
        state.live.remove(path).ok_or_else(|| not_found(path))?;
        state.note_move(path, Some(path.to_owned()), None);
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.writable()?;
        let mut within = state.live.keys().chain(&state.dirs);
        let is_empty = !within.any(|path| path.parent() == Some(dir));
        fail_when(!is_empty, ErrorKind::DirectoryNotEmpty)?;
        state.remove_dir(dir)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.writable()?.remove_dir(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.writable()?;
        let blocked = dir.ancestors().any(|path| state.live.contains_key(path));
        fail_when(blocked, ErrorKind::NotADirectory)?;
        let is_new = !state.dirs.contains(dir);
        fail_when(is_new && (state.faults.sync || state.faults.sync_dir), ErrorKind::Other)?;
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
        state.moved.retain(|moved| moved.dir != dir);
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
    fn a_power_cut_keeps_any_part_of_what_was_not_synced_and_all_of_the_rest() {
        let fs = MemFs::new();
        let dir = Path::new("/d");
        fs.create_dir_all(dir).unwrap();
        let mut file = fs.open(&dir.join("file"), OpenMode::New).unwrap();
        file.append(b"durable").unwrap();
        file.sync().unwrap();
        fs.sync_dir(dir).unwrap();
        file.append(&[b'a'; 600]).unwrap();
        file.append(b"last").unwrap();
        fs.rename(&dir.join("file"), &dir.join("renamed")).unwrap();
        let cut = |numbers: &[u64]| {
            let mut numbers = numbers.iter();
            let after = fs.power_cut(&mut |sides| numbers.next().map_or(0, |number| number % sides));
            let name = fs_names(&after, dir).pop().unwrap();
            (name.clone(), after.read(&dir.join(name)).unwrap())
        };
        assert_eq!(cut(&[0, 0, 0]), ("file".to_owned(), b"durable".to_vec()));
        let all = cut(&[1, 1, 2, 1, 1]);
        assert_eq!((all.0.as_str(), all.1.len()), ("renamed", 611));
        let (_, torn) = cut(&[0, 1, 1, 0]);
        assert_eq!(torn.len(), 7 + 512, "one sector of the first write");
        let (_, hole) = cut(&[0, 0, 1, 1]);
        assert_eq!((&hole[..8], &hole[607..]), (&b"durable\0"[..], &b"last"[..]), "the second write without the first");
    }

    fn fs_names(fs: &MemFs, dir: &Path) -> Vec<String> {
        fs.list(dir).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn a_disk_that_cannot_write_writes_in_part_and_one_failure_passes() {
        let fs = MemFs::new();
        let mut file = fs.open(Path::new("/f"), OpenMode::New).unwrap();
        fs.set_faults(Faults { write: true, ..Faults::default() });
        assert_eq!(file.append(b"1234").unwrap_err().raw_os_error(), Some(EIO));
        fs.set_faults(Faults { one_after: Some(1), ..Faults::default() });
        file.append(b"5").unwrap();
        assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(EIO));
        file.sync().unwrap();
        assert_eq!(fs.read(Path::new("/f")).unwrap(), b"125");
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
