//! What a sentence model takes and gives, whatever runs it: the names, the types, the shapes.

use std::fmt;
use std::path::Path;

use super::error::OnnxError;
use super::pooling::Pooling;

/// What a sentence model is asked with; the last is left out by many.
const INPUTS: [&str; 3] = ["input_ids", "attention_mask", "token_type_ids"];

/// What the vectors of tokens are called.
const OUTPUTS: [&str; 2] = ["last_hidden_state", "token_embeddings"];

/// Ports named in an error.
const SHOWN: usize = 8;

/// What the numbers of a tensor are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Element {
    Int64,
    Float32,
    /// As the runtime calls it.
    Other(String),
}

/// An input or an output.
#[derive(Debug, Clone)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) element: Element,
    /// None for what is no tensor, or of no rank that is known.
    pub(super) rank: Option<usize>,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name: String = self.name.chars().take(60).collect();
        let element = match &self.element {
            Element::Other(text) => text.clone(),
            known => format!("{known:?}"),
        };
        match self.rank {
            Some(rank) => write!(f, "{name} ({element} of rank {rank})"),
            None => write!(f, "{name} ({element})"),
        }
    }
}

/// Which of [`INPUTS`] a model takes, in its own order.
///
/// # Errors
/// When it takes something else.
pub(super) fn inputs(path: &Path, found: &[Port]) -> Result<Vec<&'static str>, OnnxError> {
    let known = |port: &Port| {
        let name = INPUTS.into_iter().find(|name| *name == port.name)?;
        (port.element == Element::Int64 && port.rank == Some(2)).then_some(name)
    };
    let names: Option<Vec<&'static str>> = found.iter().map(known).collect();
    names.filter(|names| names.contains(&"input_ids")).ok_or_else(|| OnnxError::Shape {
        path: path.to_owned(),
        what: "inputs",
        expected: "input_ids, and of attention_mask and token_type_ids what it takes, each Int64 of rank 2",
        found: listed(found),
    })
}

/// Which of its outputs has the vectors of tokens: the place, and the name.
///
/// # Errors
/// When none has.
pub(super) fn output(path: &Path, found: &[Port]) -> Result<(usize, &'static str), OnnxError> {
    let is_one =
        |port: &Port, name: &str| port.name == name && port.element == Element::Float32 && port.rank == Some(3);
    let place = |name: &'static str| found.iter().position(|port| is_one(port, name)).map(|place| (place, name));
    OUTPUTS.into_iter().find_map(place).ok_or_else(|| OnnxError::Shape {
        path: path.to_owned(),
        what: "outputs",
        expected: "last_hidden_state or token_embeddings, Float32 of rank 3",
        found: listed(found),
    })
}

/// The first of them, in words.
fn listed(ports: &[Port]) -> String {
    let shown: Vec<String> = ports.iter().take(SHOWN).map(Port::to_string).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

/// What an input is given for a row of tokens, none of them padding and all of one text.
pub(super) fn row(name: &str, tokens: &[i64]) -> Vec<i64> {
    match name {
        "input_ids" => tokens.to_vec(),
        "attention_mask" => vec![1; tokens.len()],
        _ => vec![0; tokens.len()],
    }
}

/// Pools an output of some shape, of so many tokens.
///
/// # Errors
/// When it has not a vector for each.
pub(super) fn pooled(shape: &[i64], cells: &[f32], tokens: usize, pooling: Pooling) -> Result<Vec<f32>, String> {
    match shape {
        [1, rows, width] if *rows as usize == tokens && *width > 0 => Ok(pooling.of(cells, *width as usize)),
        other => Err(format!("expected numbers for each of {tokens} tokens, found a shape of {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, element: Element, rank: usize) -> Port {
        Port { name: name.to_owned(), element, rank: Some(rank) }
    }

    #[test]
    fn inputs_and_outputs_of_sentence_models_are_known_and_others_are_named() {
        let path = Path::new("model.onnx");
        let ids = port("input_ids", Element::Int64, 2);
        let mask = port("attention_mask", Element::Int64, 2);
        assert_eq!(inputs(path, &[mask.clone(), ids.clone()]).unwrap(), ["attention_mask", "input_ids"]);
        let other = port("pixels", Element::Other("Uint8".to_owned()), 4);
        let told = inputs(path, &[ids.clone(), other.clone()]).unwrap_err().to_string();
        assert!(told.contains("pixels (Uint8 of rank 4)") && told.contains("input_ids (Int64 of rank 2)"), "{told}");
        assert!(inputs(path, &[mask]).is_err() && inputs(path, &[]).unwrap_err().to_string().contains("none"));
        let vectors = port("token_embeddings", Element::Float32, 3);
        assert_eq!(output(path, &[other, vectors]).unwrap(), (1, "token_embeddings"));
        for (element, rank) in [(Element::Float32, 2), (Element::Int64, 3)] {
            assert!(output(path, &[port("last_hidden_state", element, rank)]).is_err());
        }
    }

    #[test]
    fn only_a_vector_for_each_token_is_pooled() {
        let cells = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(pooled(&[1, 2, 2], &cells, 2, Pooling::Mean).unwrap(), [2.0, 3.0]);
        for shape in [&[1, 2, 2][..], &[2, 1, 2], &[1, 4], &[1, 3, 0], &[1, -1, 4]] {
            assert!(pooled(shape, &cells, 3, Pooling::Mean).is_err(), "{shape:?}");
        }
    }
}
