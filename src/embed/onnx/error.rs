//! Why a model cannot be used.

use std::io;
use std::path::PathBuf;

use super::files::{MOST_DIMENSIONS, MOST_MODEL_BYTES};
use super::runtime::LEAST_MINOR;

/// A model or its runtime cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A file is missing or cannot be read.
    #[error("cannot read {}: {source}; a model directory has model.onnx and tokenizer.json", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is far larger than any of its kind.
    #[error("{} has {found} bytes: expected at most {most}; is this the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes it has.
        found: u64,
        /// Bytes accepted: [`MOST_MODEL_BYTES`] for a model.
        most: u64,
    },
    /// What the model says of itself cannot be read, or is not supported.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is accepted.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The tokenizer cannot be read.
    #[error("{} is no tokenizer: {reason}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tokenizer has more tokens than the model, so it belongs to another.
    #[error(
        "the tokenizer in {} has {tokenizer} tokens and the model {model} (vocab_size of config.json): they do not belong together",
        dir.display()
    )]
    Vocabulary {
        /// The directory.
        dir: PathBuf,
        /// Tokens of the tokenizer.
        tokenizer: u64,
        /// Tokens of the model.
        model: u64,
    },
    /// No runtime was found.
    #[error("no ONNX Runtime was found; name it with embedder_runtime or ORT_DYLIB_PATH. Looked for {}", looked_for.join(", "))]
    NoRuntime {
        /// Files and directories.
        looked_for: Vec<String>,
    },
    /// Libraries were found, and none can be used.
    #[error("no ONNX Runtime that fits was found; name one with embedder_runtime or ORT_DYLIB_PATH. Found: {}", found.join("; "))]
    NoneFits {
        /// What is wrong with each.
        found: Vec<String>,
    },
    /// tract is named and not there.
    #[error("embedder_runtime: tract needs an oddline built with the feature `onnx-tract`, which this one is not")]
    NoTract,
    /// tract is named for a model it is no use for.
    #[error(
        "{} is quantised, and tract runs such models many times slower or not at all: take the model in fp32, or an ONNX Runtime (embedder_runtime)",
        path.display()
    )]
    Quantised {
        /// The model.
        path: PathBuf,
    },
    /// What should be a runtime is none for this machine.
    #[error("{} is no ONNX Runtime for this machine: {reason}", path.display())]
    NotARuntime {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// The runtime is too old.
    #[error("{} is ONNX Runtime {found}: expected 1.{LEAST_MINOR} or later of 1", path.display())]
    OldRuntime {
        /// The file.
        path: PathBuf,
        /// What it says of itself.
        found: String,
    },
    /// One runtime is loaded into a process, and stays.
    #[error("{} cannot be loaded: this process runs {} already", wanted.display(), loaded.display())]
    AnotherRuntime {
        /// What was asked for.
        wanted: PathBuf,
        /// What is there.
        loaded: PathBuf,
    },
    /// The runtime refuses the model.
    #[error("{} cannot be loaded: {reason}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What the runtime says.
        reason: String,
    },
    /// The model is none that makes vectors of tokens.
    #[error("{} has other {what} than a sentence model: expected {expected}, found {found}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// `inputs` or `outputs`.
        what: &'static str,
        /// What would have been accepted.
        expected: &'static str,
        /// Names, types and shapes.
        found: String,
    },
    /// The model fails on what its tokenizer can give.
    #[error(
        "the model in {} fails on token {last_token}, the last its tokenizer has: {reason}; do they belong together?",
        dir.display()
    )]
    Trial {
        /// The directory.
        dir: PathBuf,
        /// The token's id.
        last_token: u32,
        /// What the runtime says.
        reason: String,
    },
    /// The vectors have a length that none has.
    #[error("the model in {} makes vectors of {found} numbers: expected 1 to {MOST_DIMENSIONS}", dir.display())]
    Dimensions {
        /// The directory.
        dir: PathBuf,
        /// Numbers of a vector.
        found: usize,
    },
}

const _: () = assert!(MOST_MODEL_BYTES < 1 << 31, "what one protobuf message can hold");
