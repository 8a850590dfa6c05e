//! Tokens to numbers: a session of the runtime, its inputs and outputs looked at when it is opened.

use std::path::Path;

use ort::session::{Session, SessionInputValue};
use ort::value::{Outlet, Tensor, TensorElementType, ValueType};

use super::error::OnnxError;
use super::pooling::Pooling;

/// What a sentence model is asked with; the last is left out by many.
const INPUTS: [&str; 3] = ["input_ids", "attention_mask", "token_type_ids"];

/// What the vectors of tokens are called.
const OUTPUTS: [&str; 2] = ["last_hidden_state", "token_embeddings"];

/// A model that was loaded.
#[derive(Debug)]
pub(super) struct Model {
    session: Session,
    /// Which of [`INPUTS`] it takes.
    inputs: Vec<&'static str>,
    output: &'static str,
}

impl Model {
    /// # Errors
    /// When the runtime refuses it, or its inputs or outputs are others.
    pub(super) fn open(path: &Path) -> Result<Self, OnnxError> {
        let session = session(path).map_err(|reason| OnnxError::Model { path: path.to_owned(), reason })?;
        let inputs = inputs(path, session.inputs())?;
        let output = output(path, session.outputs())?;
        Ok(Self { session, inputs, output })
    }

    /// The pooled vector of a row of tokens.
    ///
    /// # Errors
    /// What the runtime says.
    pub(super) fn run(&mut self, tokens: &[i64], pooling: Pooling) -> Result<Vec<f32>, String> {
        let input = |name: &'static str| -> Result<_, ort::Error> {
            let row = match name {
                "input_ids" => tokens.to_vec(),
                "attention_mask" => vec![1; tokens.len()],
                _ => vec![0; tokens.len()],
            };
            Ok((name, SessionInputValue::from(Tensor::from_array(([1, tokens.len()], row))?)))
        };
        let inputs: Result<Vec<_>, _> = self.inputs.iter().map(|name| input(name)).collect();
        let outputs = self.session.run(inputs.map_err(said)?).map_err(said)?;
        let output = outputs.get(self.output).ok_or("it gave no output")?;
        let (shape, cells) = output.try_extract_tensor::<f32>().map_err(said)?;
        match shape.as_ref() {
            [1, rows, width] if *rows as usize == tokens.len() && *width > 0 => Ok(pooling.of(cells, *width as usize)),
            other => Err(format!("expected numbers for each of {} tokens, found a shape of {other:?}", tokens.len())),
        }
    }
}

/// What the runtime says, without the places in its own source.
fn said<T>(error: ort::Error<T>) -> String {
    error.to_string().chars().take(300).collect()
}

/// One thread, the caller's: an agent has others to run.
fn session(path: &Path) -> Result<Session, String> {
    let builder = Session::builder().map_err(said)?;
    let builder = builder.with_intra_threads(1).map_err(said)?.with_inter_threads(1).map_err(said)?;
    let builder = builder.with_intra_op_spinning(false).map_err(said)?;
    let mut builder = builder.with_log_level(ort::logging::LogLevel::Fatal).map_err(said)?;
    builder.commit_from_file(path).map_err(said)
}

fn inputs(path: &Path, found: &[Outlet]) -> Result<Vec<&'static str>, OnnxError> {
    let known = |outlet: &Outlet| {
        let name = INPUTS.into_iter().find(|name| *name == outlet.name())?;
        is(outlet, TensorElementType::Int64, 2).then_some(name)
    };
    let names: Option<Vec<&'static str>> = found.iter().map(known).collect();
    names.filter(|names| names.contains(&"input_ids")).ok_or_else(|| OnnxError::Shape {
        path: path.to_owned(),
        what: "inputs",
        expected: "input_ids, and of attention_mask and token_type_ids what it takes, each Int64 of rank 2",
        found: listed(found),
    })
}

fn output(path: &Path, found: &[Outlet]) -> Result<&'static str, OnnxError> {
    let has =
        |name: &&str| found.iter().any(|outlet| outlet.name() == *name && is(outlet, TensorElementType::Float32, 3));
    OUTPUTS.into_iter().find(has).ok_or_else(|| OnnxError::Shape {
        path: path.to_owned(),
        what: "outputs",
        expected: "last_hidden_state or token_embeddings, Float32 of rank 3",
        found: listed(found),
    })
}

fn is(outlet: &Outlet, element: TensorElementType, rank: usize) -> bool {
    matches!(outlet.dtype(), ValueType::Tensor { ty, shape, .. } if *ty == element && shape.len() == rank)
}

/// The first of them, in words.
fn listed(outlets: &[Outlet]) -> String {
    const SHOWN: usize = 8;
    let one = |outlet: &Outlet| {
        let name: String = outlet.name().chars().take(60).collect();
        match outlet.dtype() {
            ValueType::Tensor { ty, shape, .. } => format!("{name} ({ty:?} of rank {})", shape.len()),
            _ => format!("{name} (no tensor)"),
        }
    };
    let shown: Vec<String> = outlets.iter().take(SHOWN).map(one).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}
