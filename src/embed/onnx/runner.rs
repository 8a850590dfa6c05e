//! What runs a model: a library of the machine, or tract, which is part of the build.

use std::fmt;
use std::path::Path;

use super::error::OnnxError;
use super::model::Model;
use super::pooling::Pooling;
use super::runtime::{self, Runtime};
#[cfg(feature = "onnx-tract")]
use super::tract::TractModel;

/// What is named in place of a library to have a model run by tract, with the feature `onnx-tract`. A directory of that name is `./tract`.
pub const TRACT: &str = "tract";

/// A model that was loaded, and what runs it.
pub(super) trait Running: fmt::Debug + Send {
    /// The pooled vector of a row of tokens.
    ///
    /// # Errors
    /// What it says.
    fn run(&mut self, tokens: &[i64], pooling: Pooling) -> Result<Vec<f32>, String>;
}

/// What can run models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Runner {
    Library(Runtime),
    #[cfg(feature = "onnx-tract")]
    Tract,
}

impl Runner {
    /// The one that is named, or the library that is found; no model is looked at.
    ///
    /// # Errors
    /// As [`runtime::find`], and when tract is named and not part of this build.
    pub(super) fn named(name: Option<&Path>) -> Result<Self, OnnxError> {
        if name == Some(Path::new(TRACT)) { tract() } else { runtime::find(name).map(Self::Library) }
    }

    /// # Errors
    /// When it cannot be started or refuses the model, or the model is none that makes vectors of tokens.
    pub(super) fn open(&self, model: &Path) -> Result<Box<dyn Running>, OnnxError> {
        match self {
            Self::Library(runtime) => {
                runtime.start()?;
                Ok(Box::new(Model::open(model)?))
            }
            #[cfg(feature = "onnx-tract")]
            Self::Tract => Ok(Box::new(TractModel::open(model)?)),
        }
    }
}

#[cfg(feature = "onnx-tract")]
const fn tract() -> Result<Runner, OnnxError> {
    Ok(Runner::Tract)
}

#[cfg(not(feature = "onnx-tract"))]
const fn tract() -> Result<Runner, OnnxError> {
    Err(OnnxError::NoTract)
}

impl fmt::Display for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(Runtime { path, version }) => write!(f, "ONNX Runtime {version} ({})", path.display()),
            #[cfg(feature = "onnx-tract")]
            Self::Tract => f.write_str(TRACT),
        }
    }
}
