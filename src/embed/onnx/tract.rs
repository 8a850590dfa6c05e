//! Tokens to numbers by tract: all of it Rust, and no library of the machine.
//!
//! It takes fp32 models alone: a quantised one it runs far slower, or not at all, so that one is refused with advice. A text may have any number of tokens, which is a symbol to it; shapes that
//! a model states of its outputs are left aside, since they have other symbols. All of a model is in its one file, since that is what it is named by. tract's panics, over a file that is none of
//! its kind, are errors here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tract_onnx::model::ParseResult;
use tract_onnx::pb::{ModelProto, TypeProto, ValueInfoProto, type_proto};
use tract_onnx::prelude::{
    Datum as _, Framework as _, InferenceFact, InferenceModelExt as _, IntoTValue as _, TValue, TVec, Tensor,
    ToDim as _, TractResult, TypedModel, TypedRunnableModel, tvec,
};
use tract_onnx::tract_core::internal::ensure;

use super::error::OnnxError;
use super::files::{self, MOST_MODEL_BYTES};
use super::pooling::Pooling;
use super::ports::{self, Element, Port};
use super::runner::Running;

/// A model that was loaded.
#[derive(Debug)]
pub(super) struct TractModel {
    plan: TypedRunnableModel<TypedModel>,
    inputs: Vec<&'static str>,
}

impl TractModel {
    /// # Errors
    /// When tract refuses it, it is quantised, or its inputs or outputs are others.
    pub(super) fn open(path: &Path) -> Result<Self, OnnxError> {
        let refused = |reason| OnnxError::Model { path: path.to_owned(), reason };
        let proto = guarded(|| read(path)).map_err(refused)?;
        if is_quantised(&proto) {
            return Err(OnnxError::Quantised { path: path.to_owned() });
        }
        let inputs = ports::inputs(path, &inputs(&proto))?;
        let (place, _) = ports::output(path, &outputs(&proto))?;
        if !has_sound_sizes(&proto) {
            return Err(refused("it has weights of more numbers than a file can hold".to_owned()));
        }
        let plan = guarded(|| plan(proto, place)).map_err(refused)?;
        Ok(Self { plan, inputs })
    }
}

impl Running for TractModel {
    fn run(&mut self, tokens: &[i64], pooling: Pooling) -> Result<Vec<f32>, String> {
        let input = |name: &&str| -> TractResult<TValue> {
            Ok(Tensor::from_shape(&[1, tokens.len()], &ports::row(name, tokens))?.into_tvalue())
        };
        let outputs = guarded(|| self.plan.run(self.inputs.iter().map(input).collect::<TractResult<TVec<TValue>>>()?))?;
        let output = outputs.first().ok_or("it gave no output")?;
        let shape: Vec<i64> = output.shape().iter().map(|size| *size as i64).collect();
        let cells = output.as_slice::<f32>().map_err(|error| error.to_string())?;
        ports::pooled(&shape, cells, tokens.len(), pooling)
    }
}

/// What tract says when it fails, and when it panics.
///
/// # Errors
/// What it says, in 300 characters at most.
fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    let done = catch_unwind(AssertUnwindSafe(work)).map_err(|_| "tract panicked over it".to_owned())?;
    done.map_err(|error| format!("{error:#}").chars().take(300).collect())
}

/// Not by its path: that would map the file into memory, and who cuts it meanwhile would end the process.
fn read(path: &Path) -> TractResult<ModelProto> {
    tract_onnx::onnx().proto_model_for_read(&mut files::model(path)?)
}

fn plan(proto: ModelProto, output: usize) -> TractResult<TypedRunnableModel<TypedModel>> {
    let onnx = tract_onnx::onnx().with_ignore_output_shapes(true);
    let ParseResult { mut model, unresolved_inputs, .. } = onnx.parse(&proto, None)?;
    ensure!(unresolved_inputs.is_empty(), "nothing gives {unresolved_inputs:?}");
    // The weights are in the model by now: a copy less at the peak.
    drop(proto);
    let outlet = model.output_outlets()?.get(output).copied();
    model.set_output_outlets(outlet.as_slice())?;
    // Of one text always. With that as a number, tract takes it for two sizes when a tensor is cut up (`Reshape` by zeros, as models have it for their heads).
    let texts = model.symbols.sym("texts");
    let tokens = model.symbols.sym("tokens");
    for place in 0..model.input_outlets()?.len() {
        let shape = tvec!(texts.to_dim(), tokens.to_dim());
        model.set_input_fact(place, InferenceFact::dt_shape(i64::datum_type(), shape))?;
    }
    model.into_optimized()?.into_runnable()
}

/// One of its operators works on numbers of fewer bits.
fn is_quantised(proto: &ModelProto) -> bool {
    let is_so = |operator: &str| {
        ["Quantize", "Dequantize", "DynamicQuantize", "QLinear"].iter().any(|start| operator.starts_with(start))
            || operator.ends_with("Integer")
    };
    proto.graph.iter().flat_map(|graph| &graph.node).any(|node| is_so(&node.op_type))
}

/// tract multiplies the sizes of a tensor unchecked, and reads by them.
fn has_sound_sizes(proto: &ModelProto) -> bool {
    let constants = proto.graph.iter().flat_map(|graph| &graph.node).flat_map(|node| &node.attribute);
    let weights = proto.graph.iter().flat_map(|graph| &graph.initializer);
    weights.chain(constants.filter_map(|attribute| attribute.t.as_ref())).all(|tensor| {
        let cells = |so_far: u64, size: &i64| so_far.checked_mul(u64::try_from(*size).ok()?);
        tensor.dims.iter().try_fold(1, cells).is_some_and(|cells| cells <= MOST_MODEL_BYTES)
    })
}

/// In the order tract takes them: weights, which old models name among them, are none.
fn inputs(proto: &ModelProto) -> Vec<Port> {
    let Some(graph) = &proto.graph else { return Vec::new() };
    let is_weight = |port: &&ValueInfoProto| graph.initializer.iter().any(|weight| weight.name == port.name);
    graph.input.iter().filter(|port| !is_weight(port)).map(port).collect()
}

fn outputs(proto: &ModelProto) -> Vec<Port> {
    proto.graph.iter().flat_map(|graph| &graph.output).map(port).collect()
}

fn port(value: &ValueInfoProto) -> Port {
    /// `TensorProto.DataType` of `onnx.proto`.
    const FLOAT: i32 = 1;
    const INT64: i32 = 7;
    let (element, rank) = match &value.r#type {
        Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), .. }) => {
            let element = match tensor.elem_type {
                INT64 => Element::Int64,
                FLOAT => Element::Float32,
                other => Element::Other(format!("type {other}")),
            };
            (element, tensor.shape.as_ref().map(|shape| shape.dim.len()))
        }
        _ => (Element::Other("no tensor".to_owned()), None),
    };
    Port { name: value.name.clone(), element, rank }
}
