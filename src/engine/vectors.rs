//! The vectors a model made of templates, on disk: a model takes milliseconds a text, so that none is made twice.
//!
//! `<data dir>/vectors/vectors` is a file of the checkpoints' container ([`checkpoint`]), replaced as a whole ([`atomic`]) by who holds the lock of its directory, which is
//! not that of the data dir: an engine, and `oddline reembed` beside it, both add to it. It is no section of the checkpoint since it is large (1.5 kB a template) and seldom
//! changes. Losing it loses time.
//!
//! ```text
//! section model:   the name of the model, UTF-8
//! section vectors: dimensions u32 | (text u64 | dimensions × f32)…, the oldest first
//! text: the first 8 bytes of SHA-256 of the template's text, variables `<*>`
//! ```
//!
//! A vector is found by the text, so that it is never older than that, whatever became of the template. One file has the vectors of one model: what another
//! model wrote is not read, and goes when this one writes.
//!
//! Limit: as many vectors as `most` says. Beyond it those go that no template is called any more, then the oldest: whoever writes reads all of the file and holds it twice.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::error::EngineError;
use crate::config::Config;
use crate::embed::Embedder;
use crate::event::Timestamp;
use crate::storage::{DataDirLock, FileSystem, StorageError, atomic, bytes, checkpoint};

/// Vectors kept, at the least and at the most.
const LEAST: usize = 1_000;
const MOST: usize = 100_000;

/// Vectors kept with a configuration: for each template that can be known one, and one for what the history has besides.
pub(super) fn most(config: &Config) -> usize {
    config.max_templates.saturating_mul(2).clamp(LEAST, MOST)
}

/// What stays where not all can.
pub(super) struct Keep<'k> {
    /// Vectors at most.
    pub(super) most: usize,
    /// Those of these texts rather than others.
    pub(super) first: &'k dyn Fn(TextKey) -> bool,
}

const DIR: &str = "vectors";
const FILE: &str = "vectors";
const MODEL: &str = "model";
const VECTORS: &str = "vectors";

/// Stands for a template's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TextKey(u64);

impl TextKey {
    pub(super) fn of(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        Self(digest.first_chunk().map_or(0, |head| u64::from_le_bytes(*head)))
    }
}

/// Texts, and a vector of each.
pub(super) type Entries = Vec<(TextKey, Arc<[f32]>)>;

/// Vectors of one model.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Vectors {
    pub(super) model: String,
    pub(super) dimensions: usize,
    /// The oldest first.
    pub(super) all: Entries,
}

impl Vectors {
    pub(super) fn new(model: String, dimensions: usize) -> Self {
        Self { model, dimensions, all: Vec::new() }
    }

    /// Whether a model made them, so that they can be compared with what it makes now.
    pub(super) fn are_of(&self, model: &dyn Embedder) -> bool {
        self.model == model.model() && self.dimensions == model.dimensions()
    }

    /// By text.
    pub(super) fn by_text(&self) -> HashMap<TextKey, &[f32]> {
        self.all.iter().map(|(text, vector)| (*text, &**vector)).collect()
    }

    /// Adds vectors, in place of those the texts had.
    fn add(&mut self, new: &[(TextKey, Arc<[f32]>)], keep: &Keep<'_>) {
        let texts: HashSet<TextKey> = new.iter().map(|(text, _)| *text).collect();
        self.all.retain(|(text, _)| !texts.contains(text));
        self.all.extend(new.iter().filter(|(_, vector)| vector.len() == self.dimensions).cloned());
        let mut beyond = self.all.len().saturating_sub(keep.most);
        self.all.retain(|(text, _)| {
            let goes = beyond > 0 && !(keep.first)(*text);
            beyond -= usize::from(goes);
            !goes
        });
        self.all.drain(..beyond);
    }

    fn encode(&self, now: Timestamp) -> Result<Vec<u8>, StorageError> {
        let mut section = Vec::with_capacity(4 + self.all.len() * (8 + self.dimensions * 4));
        section.extend((self.dimensions as u32).to_le_bytes());
        for (text, vector) in &self.all {
            section.extend(text.0.to_le_bytes());
            vector.iter().for_each(|cell| section.extend(cell.to_le_bytes()));
        }
        checkpoint::encode(0, now, &[(MODEL, self.model.as_bytes()), (VECTORS, &section)])
    }

    fn decode(path: &Path, bytes: &[u8]) -> Result<Self, StorageError> {
        let file = checkpoint::decode(path, bytes)?;
        let damaged = |reason| StorageError::Damaged { path: path.to_owned(), offset: 0, reason };
        let text = |name| file.section(name).ok_or(damaged("a section is missing"));
        let model = String::from_utf8(text(MODEL)?.to_vec()).map_err(|_| damaged("the model's name is no text"))?;
        let mut reader = bytes::ByteReader::new(text(VECTORS)?);
        let dimensions = reader.u32().ok_or(damaged("the section is cut short"))? as usize;
        let mut read = Self::new(model, dimensions);
        while !reader.is_empty() {
            let (text, cells) =
                reader.u64().zip(reader.take(dimensions * 4)).ok_or(damaged("a vector is cut short"))?;
            let cells = cells.chunks_exact(4).filter_map(|cell| Some(f32::from_le_bytes(*cell.first_chunk()?)));
            let cells: Arc<[f32]> = cells.collect();
            if cells.iter().any(|cell| !cell.is_finite()) {
                return Err(damaged("a vector holds what is no number"));
            }
            read.all.push((TextKey(text), cells));
        }
        Ok(read)
    }
}

/// Where the vectors of a data dir are.
pub(super) fn file_path(data_dir: &Path) -> PathBuf {
    data_dir.join(DIR).join(FILE)
}

/// The vectors of a data dir, whatever model's they are; none when there is no file.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub(super) fn read(fs: &dyn FileSystem, data_dir: &Path) -> Result<Option<Vectors>, StorageError> {
    let path = file_path(data_dir);
    match fs.read(&path) {
        Ok(bytes) => Vectors::decode(&path, &bytes).map(Some),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(StorageError::io("read", &path)(source)),
    }
}

/// Adds vectors to those of a data dir, durably; those of another model, and a file that is damaged, are replaced.
///
/// # Errors
/// When the directory is locked, or the file cannot be written.
pub(super) fn add(
    fs: &dyn FileSystem,
    data_dir: &Path,
    new: &Vectors,
    keep: &Keep<'_>,
    now: Timestamp,
) -> Result<(), EngineError> {
    let dir = data_dir.join(DIR);
    let lock = DataDirLock::acquire(&dir, now)?;
    let kept = match read(fs, data_dir) {
        Ok(kept) => kept.filter(|kept| (&kept.model, kept.dimensions) == (&new.model, new.dimensions)),
        Err(StorageError::Damaged { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let mut kept = kept.unwrap_or_else(|| Vectors::new(new.model.clone(), new.dimensions));
    kept.add(&new.all, keep);
    let bytes = kept.encode(now)?;
    fs.create_dir_all(&dir).map_err(StorageError::io("create directory", &dir))?;
    atomic::write(fs, &dir, FILE, &bytes)?;
    drop(lock);
    Ok(())
}

/// Holds the vectors of a data dir: nobody else reads or writes them meanwhile.
///
/// # Errors
/// When somebody else holds them.
pub(super) fn lock(data_dir: &Path, now: Timestamp) -> Result<DataDirLock, EngineError> {
    Ok(DataDirLock::acquire(&data_dir.join(DIR), now)?)
}

/// What is kept of a data dir's vectors, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The model that made them.
    pub model: String,
    /// Numbers of each.
    pub dimensions: usize,
    /// How many there are.
    pub vectors: usize,
}

/// Reads all vectors of a data dir; none when there is no file.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub fn check(fs: &dyn FileSystem, data_dir: &Path) -> Result<Option<Kept>, StorageError> {
    let kept = read(fs, data_dir)?;
    Ok(kept.map(|Vectors { model, dimensions, all }| Kept { model, dimensions, vectors: all.len() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::RealFs;

    fn some(model: &str, vectors: &[(&str, [f32; 2])]) -> Vectors {
        let all = vectors.iter().map(|(text, vector)| (TextKey::of(text), vector.as_slice().into()));
        Vectors { all: all.collect(), ..Vectors::new(model.to_owned(), 2) }
    }

    #[test]
    fn golden_key_and_bytes() {
        assert_eq!(TextKey::of("disk <*> almost full").0, GOLDEN_KEY, "vectors on disk are not found any more");
        let bytes = some("m", &[("", [1.0, -2.0])]).encode(Timestamp(0)).unwrap();
        let file = checkpoint::decode(Path::new("f"), &bytes).unwrap();
        assert_eq!(file.section(MODEL), Some(&b"m"[..]));
        let mut expected = 2u32.to_le_bytes().to_vec();
        expected.extend(TextKey::of("").0.to_le_bytes());
        expected.extend([1.0f32, -2.0].iter().flat_map(|cell| cell.to_le_bytes()));
        assert_eq!(file.section(VECTORS), Some(&*expected));
    }

    const GOLDEN_KEY: u64 = 0x6aed_8fa5_0ce0_e508;

    #[test]
    fn vectors_are_added_to_and_another_models_are_never_mixed_in() {
        let dir = tempfile::tempdir().unwrap();
        let read = || read(&RealFs, dir.path()).unwrap();
        let keep = Keep { most: 10, first: &|_| true };
        let add = |new: &Vectors| add(&RealFs, dir.path(), new, &keep, Timestamp(1)).unwrap();
        assert_eq!(read(), None);
        add(&some("one", &[("a", [1.0, 0.0]), ("b", [0.0, 1.0])]));
        add(&some("one", &[("a", [0.5, 0.5]), ("c", [1.0, 1.0])]));
        let expected = some("one", &[("b", [0.0, 1.0]), ("a", [0.5, 0.5]), ("c", [1.0, 1.0])]);
        assert_eq!(read(), Some(expected));
        let other = some("two", &[("a", [0.0, 0.0])]);
        add(&other);
        assert_eq!(read(), Some(other.clone()));
        std::fs::write(dir.path().join(DIR).join(FILE), "damaged").unwrap();
        assert!(super::read(&RealFs, dir.path()).is_err());
        add(&other);
        assert_eq!(read(), Some(other));
    }

    #[test]
    fn a_file_cut_or_changed_anywhere_is_refused() {
        let bytes = some("m", &[("a", [1.0, 0.0])]).encode(Timestamp(0)).unwrap();
        for at in 0..bytes.len() {
            assert!(Vectors::decode(Path::new("f"), &bytes[..at]).is_err(), "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Vectors::decode(Path::new("f"), &flipped).is_err(), "flipped at {at}");
        }
        let odd = checkpoint::encode(0, Timestamp(0), &[(MODEL, b"m"), (VECTORS, &[2, 0, 0, 0, 9])]).unwrap();
        assert!(Vectors::decode(Path::new("f"), &odd).is_err());
    }

    #[test]
    fn beyond_the_limit_those_go_that_nobody_is_called_then_the_oldest() {
        let all: Entries = (0..20).map(|n| (TextKey(n), Arc::from([]))).collect();
        let left = |most, first: &dyn Fn(TextKey) -> bool| -> Vec<u64> {
            let (mut vectors, keep) = (Vectors::new("m".to_owned(), 0), Keep { most, first });
            vectors.add(&all[..10], &keep);
            vectors.add(&all[10..], &keep);
            vectors.all.iter().map(|(text, _)| text.0).collect()
        };
        assert_eq!(left(15, &|_| true), (5..20).collect::<Vec<_>>());
        let is_even = |text: TextKey| text.0.is_multiple_of(2);
        assert_eq!(left(15, &is_even), [0, 2, 4, 6, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
        assert_eq!(left(8, &is_even), [4, 6, 8, 10, 12, 14, 16, 18], "of what is left the oldest");
        assert_eq!(left(0, &is_even), [] as [u64; 0]);
    }

    #[test]
    fn as_many_are_kept_as_there_can_be_templates_and_as_many_again() {
        let of = |max_templates| most(&Config { max_templates, ..Config::default() });
        assert_eq!([1, 10_000, 1_000_000].map(of), [LEAST, 20_000, MOST]);
    }
}
