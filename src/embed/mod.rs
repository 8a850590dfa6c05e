//! Text → vector, so that texts of near meaning are near.
//!
//! | part | file |
//! |---|---|
//! | [`Embedder`]: what makes vectors | here |
//! | the one that needs no files | [`hashing`] |
//! | what counts as a word | `words` |
//! | how seldom a word is | [`frequency`] |
//! | what every embedder must do | [`conformance`] |
//! | sentence models, with the feature `onnx` | `onnx` |
//!
//! A vector belongs to a template, never to an event. Vectors of two models are never compared: whoever keeps vectors keeps
//! [`Embedder::model`] with them.

pub mod conformance;
pub mod frequency;
pub mod hashing;
#[cfg(feature = "onnx")]
pub mod onnx;
mod words;

pub use hashing::HashingEmbedder;

/// A vector cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// The place for it has another length.
    #[error("expected room for {expected} numbers, found {found}")]
    Room {
        /// What [`Embedder::dimensions`] says.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// The model failed on the text.
    #[error("model {model} fails: {reason}")]
    Model {
        /// Its name.
        model: String,
        /// What it said.
        reason: String,
    },
}

/// Makes vectors of texts. One text always has the same vector, on every machine.
pub trait Embedder: std::fmt::Debug + Send + Sync {
    /// Names everything a vector depends on besides the text: two embedders of one name give one text the same vector.
    fn model(&self) -> String;

    /// What runs the model, for who reads it: `ONNX Runtime 1.31.1 (/usr/lib/libonnxruntime.so.1)`, `tract`. None where this library needs nothing else for it.
    fn runner(&self) -> Option<String> {
        None
    }

    /// Length of a vector.
    fn dimensions(&self) -> usize;

    /// Writes the vector of `text` to `out`: of unit length, or all zero when the model has nothing to say of the text. Every text is taken; of a long one
    /// the beginning counts.
    ///
    /// # Errors
    /// When `out` has another length than [`Self::dimensions`], or a model fails; `out` is then as it was.
    fn embed(&self, text: &str, out: &mut [f32]) -> Result<(), EmbedError>;

    /// The vector of `text`.
    ///
    /// # Errors
    /// As [`Self::embed`].
    fn vector(&self, text: &str) -> Result<Vec<f32>, EmbedError> {
        let mut vector = vec![0.0; self.dimensions()];
        self.embed(text, &mut vector)?;
        Ok(vector)
    }
}

/// Brings a vector to unit length; one that has none stays.
pub(crate) fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|cell| cell * cell).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|cell| *cell /= length);
    }
}
