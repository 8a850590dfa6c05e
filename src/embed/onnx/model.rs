//! Tokens to numbers: a session of the ONNX Runtime, its inputs and outputs looked at when it is opened.

use std::path::Path;

use ort::session::{Session, SessionInputValue};
use ort::value::{Outlet, Tensor, TensorElementType, ValueType};

use super::error::OnnxError;
use super::pooling::Pooling;
use super::ports::{self, Element, Port};
use super::runner::Running;

/// A model that was loaded.
#[derive(Debug)]
pub(super) struct Model {
    session: Session,
    inputs: Vec<&'static str>,
    output: &'static str,
}

impl Model {
    /// # Errors
    /// When the runtime refuses it, or its inputs or outputs are others.
    pub(super) fn open(path: &Path) -> Result<Self, OnnxError> {
        let session = session(path).map_err(|reason| OnnxError::Model { path: path.to_owned(), reason })?;
        let all = |outlets: &[Outlet]| outlets.iter().map(port).collect::<Vec<_>>();
        let inputs = ports::inputs(path, &all(session.inputs()))?;
        let (_, output) = ports::output(path, &all(session.outputs()))?;
        Ok(Self { session, inputs, output })
    }
}

impl Running for Model {
    fn run(&mut self, tokens: &[i64], pooling: Pooling) -> Result<Vec<f32>, String> {
        let input = |name: &'static str| -> Result<_, ort::Error> {
            let row = ports::row(name, tokens);
            Ok((name, SessionInputValue::from(Tensor::from_array(([1, tokens.len()], row))?)))
        };
        let inputs: Result<Vec<_>, _> = self.inputs.iter().map(|name| input(name)).collect();
        let outputs = self.session.run(inputs.map_err(said)?).map_err(said)?;
        let output = outputs.get(self.output).ok_or("it gave no output")?;
        let (shape, cells) = output.try_extract_tensor::<f32>().map_err(said)?;
        ports::pooled(shape.as_ref(), cells, tokens.len(), pooling)
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

fn port(outlet: &Outlet) -> Port {
    let (element, rank) = match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Int64, shape, .. } => (Element::Int64, Some(shape.len())),
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => (Element::Float32, Some(shape.len())),
        ValueType::Tensor { ty, shape, .. } => (Element::Other(format!("{ty:?}")), Some(shape.len())),
        _ => (Element::Other("no tensor".to_owned()), None),
    };
    Port { name: outlet.name().to_owned(), element, rank }
}
