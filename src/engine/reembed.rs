//! Making the vectors of all templates of a data dir with the model that is configured.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;

use super::EngineError;
use super::embedding::{self, EmbedderError};
use super::history::{self, Query};
use super::vectors::{self, Keep, TextKey, Vectors};
use crate::clock::Clock;
use crate::config::Config;
use crate::embed::EmbedError;
use crate::storage::{FileSystem, StorageError};

/// Vectors made between two writes.
const BATCH: usize = 1_000;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reembedded {
    /// The model that the data dir's vectors are of now.
    pub model: String,
    /// Templates that got a vector.
    pub embedded: usize,
    /// Templates that had one of this model.
    pub kept: usize,
    /// The model whose vectors went.
    pub replaced: Option<String>,
}

/// Vectors cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReembedError {
    /// No model is configured.
    #[error(
        "with embedder: hashing there is nothing to convert: its vectors are made when they are asked for, and not kept"
    )]
    Hashing,
    /// There is nothing to make vectors for.
    #[error("there are no templates without a data dir")]
    NoDataDir,
    /// The model that is configured cannot be used.
    #[error(transparent)]
    Embedder(#[from] EmbedderError),
    /// The model fails.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The templates cannot be read, or the vectors not written.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The vectors cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Gives every template of `config.data_dir` a vector of the model that is configured, beside an engine that may be running on it; `tell` is told how many of how many are done. What is done when it
/// ends early is kept, but for what is not written: at most a thousand vectors.
///
/// # Errors
/// When there is no model, or it cannot be used, or the data dir not read or written.
pub fn reembed(
    config: &Config,
    fs: &Arc<dyn FileSystem>,
    clock: &dyn Clock,
    tell: &mut dyn FnMut(usize, usize),
) -> Result<Reembedded, ReembedError> {
    let dir = config.data_dir.as_deref().ok_or(ReembedError::NoDataDir)?;
    let model = embedding::open(config)?.ok_or(ReembedError::Hashing)?;
    let name = model.model();
    let (kept, replaced) = match vectors::read(&**fs, dir) {
        Ok(Some(kept)) if kept.are_of(&*model) => (kept.all.iter().map(|(text, _)| *text).collect(), None),
        Ok(other) => (HashSet::new(), other.map(|other| other.model)),
        Err(StorageError::Damaged { .. }) => (HashSet::new(), None),
        Err(error) => return Err(error.into()),
    };
    let Texts { all, named } = Texts::read(config, &**fs)?;
    let keep = Keep { most: vectors::most(config), first: &|text| named.contains(&text) };
    let missing: Vec<&String> = all.iter().filter(|text| !kept.contains(&TextKey::of(text))).collect();
    let mut embedded = 0;
    for texts in missing.chunks(BATCH) {
        let mut new = Vectors::new(name.clone(), model.dimensions());
        for text in texts {
            tell(embedded, missing.len());
            new.all.push((TextKey::of(text), model.vector(text)?.into()));
            embedded += 1;
        }
        vectors::add(&**fs, dir, &new, &keep, clock.now())?;
    }
    Ok(Reembedded { model: name, embedded, kept: all.len() - missing.len(), replaced })
}

/// Of the checkpoint, the log and the history.
struct Texts {
    /// Each once.
    all: Vec<String>,
    /// Those that templates of the checkpoint have.
    named: HashSet<TextKey>,
}

impl Texts {
    fn read(config: &Config, fs: &dyn FileSystem) -> Result<Self, ReembedError> {
        let dir = config.data_dir.as_deref().ok_or(ReembedError::NoDataDir)?;
        let (history, names) = history::totals(fs, dir, config, &Query::ALL)?;
        let mut all: Vec<String> = names.all().map(|(_, text)| text).collect();
        let named = all.iter().map(|text| TextKey::of(text)).collect();
        all.extend(history.templates.iter().map(|template| names.plain_of(template)));
        all.sort();
        all.dedup();
        Ok(Self { all, named })
    }
}
