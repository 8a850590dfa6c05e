//! Vectors of a sentence model in a directory: all-MiniLM-L6-v2 or another of the BERT family, in ONNX.
//!
//! | part | file |
//! |---|---|
//! | [`OnnxEmbedder`] | here |
//! | why one cannot be had | `error` |
//! | the directory: what is in it, and what it says of itself | `files` |
//! | text to tokens | `tokens` |
//! | what runs a model: a library, or tract | `runner` |
//! | the library: where it is, whether it will do | `runtime` |
//! | whether a file is a library for this machine, and whole | `elf` |
//! | its version, asked of itself: the only unsafe code | `library` |
//! | what a model takes and gives, whatever runs it | `ports` |
//! | tokens to numbers | `model`; with the feature `onnx-tract`, `tract` |
//! | numbers to one vector | `pooling` |
//!
//! A directory has `model.onnx` and `tokenizer.json`, and beside them what sentence-transformers publishes: `1_Pooling/config.json` (how the vectors of tokens become
//! one; the mean where it is missing), `sentence_bert_config.json`, `tokenizer_config.json`, `config.json` (how many tokens a text may have).
//! The text is cut to that, not padded, run alone through the model, pooled over the attention mask, and brought to unit length: what sentence-transformers does with `normalize_embeddings`.
//!
//! Everything is tried when it is opened, a text among it, so that a model that does not fit fails there and not later. Nothing is downloaded.

mod elf;
mod error;
mod files;
mod library;
mod model;
mod pooling;
mod ports;
mod runner;
mod runtime;
mod tokens;
#[cfg(feature = "onnx-tract")]
mod tract;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

pub use error::OnnxError;
pub use files::MOST_MODEL_BYTES;
pub use runner::TRACT;
pub use runtime::{LEAST_MINOR, Runtime, find};

use self::files::Settings;
use self::runner::{Runner, Running};
use self::tokens::Tokens;
use super::{EmbedError, Embedder, normalise};

/// Counted up whenever the same model gives a text another vector.
const VERSION: u32 = 1;

/// A sentence model and what it is run by.
#[derive(Debug)]
pub struct OnnxEmbedder {
    name: String,
    runner: Runner,
    dimensions: usize,
    settings: Settings,
    tokens: Tokens,
    /// A session runs one text at a time.
    model: Mutex<Box<dyn Running>>,
}

impl OnnxEmbedder {
    /// The model in `dir`, run by the ONNX Runtime at `runtime` (a library, or a directory that has it), or by the one [`find`] finds, or, where
    /// `runtime` is [`TRACT`], by that. Takes a tenth of a second to a second, and memory for the weights.
    ///
    /// # Errors
    /// When the directory lacks something, the model is none that makes vectors of texts, does not fit its tokenizer, or there is no runtime
    /// that can run it.
    pub fn open(dir: &Path, runtime: Option<&Path>) -> Result<Self, OnnxError> {
        let found = files::look(dir)?;
        let tokens = Tokens::open(&found)?;
        let runner = Runner::named(runtime)?;
        let model = Mutex::new(runner.open(&found.model)?);
        let name = format!("onnx-{VERSION}-{}", found.name());
        Self { name, runner, dimensions: 0, settings: found.settings, tokens, model }.tried(dir)
    }

    /// Runs it once, over the last token of the vocabulary: a model of a smaller one does not know it.
    fn tried(self, dir: &Path) -> Result<Self, OnnxError> {
        let last = self.tokens.last_id();
        let vector = self.run(&[i64::from(last)]).map_err(|reason| OnnxError::Trial {
            dir: dir.to_owned(),
            last_token: last,
            reason,
        })?;
        if vector.is_empty() || vector.len() > files::MOST_DIMENSIONS {
            return Err(OnnxError::Dimensions { dir: dir.to_owned(), found: vector.len() });
        }
        Ok(Self { dimensions: vector.len(), ..self })
    }

    /// The vector of a row of tokens, before it is brought to unit length.
    fn run(&self, tokens: &[i64]) -> Result<Vec<f32>, String> {
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        model.run(tokens, self.settings.pooling)
    }
}

impl Embedder for OnnxEmbedder {
    /// Of the model's and the tokenizer's bytes and how they are used. Another runtime, or another processor, may differ in the last bits of a vector.
    fn model(&self) -> String {
        self.name.clone()
    }

    fn runner(&self) -> Option<String> {
        Some(self.runner.to_string())
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn embed(&self, text: &str, out: &mut [f32]) -> Result<(), EmbedError> {
        if out.len() != self.dimensions {
            return Err(EmbedError::Room { expected: self.dimensions, found: out.len() });
        }
        let failed = |reason| EmbedError::Model { model: self.name.clone(), reason };
        let tokens = self.tokens.of(text).map_err(failed)?;
        let mut vector = self.run(&tokens).map_err(failed)?;
        if vector.len() != out.len() || vector.iter().any(|cell| !cell.is_finite()) {
            return Err(failed("it answered with no vector of its length, or with what is no number".to_owned()));
        }
        normalise(&mut vector);
        out.copy_from_slice(&vector);
        Ok(())
    }
}
