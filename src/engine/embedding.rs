//! The embedder that the configuration asks for.

use crate::config::{Config, EmbedderKind};
use crate::embed::Embedder;
#[cfg(feature = "onnx")]
use crate::embed::onnx::{OnnxEmbedder, OnnxError};

/// The embedder that is configured cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedderError {
    /// This build cannot run models.
    #[error("embedder: onnx needs an oddline built with the feature `onnx`, which this one is not")]
    NotBuilt,
    /// No model is named.
    #[error("embedder: onnx needs embedder_model, a directory with model.onnx and tokenizer.json")]
    NoModel,
    /// The model or its runtime cannot be used.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(#[from] OnnxError),
}

/// Whether this build has what is configured; no file is looked at.
///
/// # Errors
/// [`EmbedderError::NotBuilt`].
pub(super) fn built(config: &Config) -> Result<(), EmbedderError> {
    if config.embedder == EmbedderKind::Onnx && !cfg!(feature = "onnx") {
        return Err(EmbedderError::NotBuilt);
    }
    Ok(())
}

/// The model that is configured, loaded and tried; none with `embedder: hashing`.
///
/// # Errors
/// When it cannot be used.
pub(super) fn open(config: &Config) -> Result<Option<Box<dyn Embedder>>, EmbedderError> {
    match config.embedder {
        EmbedderKind::Hashing => Ok(None),
        EmbedderKind::Onnx => onnx_model(config).map(Some),
    }
}

#[cfg(feature = "onnx")]
fn onnx_model(config: &Config) -> Result<Box<dyn Embedder>, EmbedderError> {
    let dir = config.embedder_model.as_deref().ok_or(EmbedderError::NoModel)?;
    Ok(Box::new(OnnxEmbedder::open(dir, config.embedder_runtime.as_deref())?))
}

#[cfg(not(feature = "onnx"))]
fn onnx_model(_: &Config) -> Result<Box<dyn Embedder>, EmbedderError> {
    Err(EmbedderError::NotBuilt)
}

/// What makes vectors, in words and by what they are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// For who reads it.
    pub text: String,
    /// The model's name and the numbers of its vectors; none without a model.
    pub model: Option<(String, usize)>,
}

/// Loads what is configured and says what it is, for who wants to know before the first event.
///
/// # Errors
/// When it cannot be used.
pub fn check(config: &Config) -> Result<Checked, EmbedderError> {
    let Some(model) = open(config)? else {
        return Ok(Checked { text: "hashed words: no model".to_owned(), model: None });
    };
    let (name, dimensions) = (model.model(), model.dimensions());
    let runner = model.runner().map_or_else(String::new, |runner| format!(", {runner}"));
    let text = format!("model {name} of {dimensions} dimensions{runner}");
    Ok(Checked { text, model: Some((name, dimensions)) })
}
