//! What streams are called, for what is told of one when none of its events is at hand: a silence.
//!
//! A name is learned where a series of a template on a stream begins or has an odd gap ([`Model::asks_for_stream`]), which is off the way of most events. Names of streams
//! that the model has no series of any more go when there is no more room; a stream whose name is not here is told by its key.
//!
//! Limits: [`MOST_NAMES`] streams, [`MOST_BYTES`] of text, [`MOST_NAME_BYTES`] for one. Bytes in checkpoints (section `streams`), little endian, ascending by key:
//! `count u32 | (key u64, values u8, (0 | 1, length u16, UTF-8)*)*`.
//!
//! [`Model::asks_for_stream`]: crate::detect::Model::asks_for_stream

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::detect::{StateError, StateReader};
use crate::event::StreamKey;

/// Twice as many as a model has series: room has not to be made for each newcomer.
pub(super) const MOST_NAMES: usize = 16_384;

/// Bytes of all names.
const MOST_BYTES: usize = 1 << 20;

/// Bytes of one name; a longer one is not kept.
const MOST_NAME_BYTES: usize = 512;

const WHAT: &str = "names of streams";

/// The values a stream is told apart by.
pub(super) type Values = Arc<[Option<Box<str>>]>;

/// Names by stream. A copy is as cheap as a pointer until one of the two learns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StreamNames {
    known: Arc<HashMap<StreamKey, Values>>,
    bytes: usize,
}

fn bytes_of(values: &[Option<Box<str>>]) -> usize {
    values.iter().flatten().map(|value| value.len()).sum()
}

impl StreamNames {
    /// The values of a stream, if they are known.
    pub(super) fn get(&self, stream: StreamKey) -> Option<&Values> {
        self.known.get(&stream)
    }

    /// The stream of this name, as [`StreamKey::name_of`] makes it.
    pub(super) fn key_of(&self, name: &str) -> Option<StreamKey> {
        self.known.iter().find(|(_, values)| StreamKey::name_of(values) == name).map(|(key, _)| *key)
    }

    /// Notes a stream's values; where there is no room those go first of streams that `alive` does not have.
    pub(super) fn note(
        &mut self,
        stream: StreamKey,
        values: Vec<Option<String>>,
        alive: impl FnOnce() -> HashSet<StreamKey>,
    ) {
        let values: Values = values.into_iter().map(|value| value.map(String::into_boxed_str)).collect();
        let bytes = bytes_of(&values);
        if bytes > MOST_NAME_BYTES || values.iter().all(Option::is_none) {
            return;
        }
        if self.is_full(bytes) {
            self.keep(&alive());
        }
        if !self.is_full(bytes) {
            self.insert(stream, values);
        }
    }

    fn is_full(&self, more: usize) -> bool {
        self.known.len() >= MOST_NAMES || self.bytes + more > MOST_BYTES
    }

    fn keep(&mut self, alive: &HashSet<StreamKey>) {
        let known = Arc::make_mut(&mut self.known);
        known.retain(|stream, _| alive.contains(stream));
        self.bytes = known.values().map(|values| bytes_of(values)).sum();
    }

    fn insert(&mut self, stream: StreamKey, values: Values) {
        let more = bytes_of(&values);
        let before = Arc::make_mut(&mut self.known).insert(stream, values);
        self.bytes = self.bytes + more - before.map_or(0, |before| bytes_of(&before));
    }

    /// The bytes of what several lanes know; none when they know nothing.
    pub(super) fn to_bytes<'n>(parts: impl Iterator<Item = &'n Self>) -> Option<Vec<u8>> {
        let all: BTreeMap<StreamKey, &Values> =
            parts.flat_map(|part| part.known.iter()).map(|(key, values)| (*key, values)).collect();
        let mut out = (all.len() as u32).to_le_bytes().to_vec();
        for (stream, values) in &all {
            out.extend_from_slice(&stream.0.to_le_bytes());
            out.push(values.len() as u8);
            for value in values.iter() {
                out.push(u8::from(value.is_some()));
                if let Some(value) = value {
                    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
                    out.extend_from_slice(value.as_bytes());
                }
            }
        }
        (!all.is_empty()).then_some(out)
    }

    /// Reads them back, as many as one lane keeps.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let from = &mut StateReader::new(bytes);
        let mut names = Self::default();
        for _ in 0..from.length(WHAT, u32::MAX as usize, 9)? {
            let stream = StreamKey(from.u64(WHAT)?);
            let values: Values = (0..from.u8(WHAT)?).map(|_| read_value(from)).collect::<Result<_, _>>()?;
            if !names.is_full(bytes_of(&values)) {
                names.insert(stream, values);
            }
        }
        Ok(names)
    }
}

fn read_value(from: &mut StateReader<'_>) -> Result<Option<Box<str>>, StateError> {
    if from.u8(WHAT)? == 0 {
        return Ok(None);
    }
    let length = usize::from(u16::from_le_bytes([from.u8(WHAT)?, from.u8(WHAT)?]));
    Ok(Some(String::from_utf8_lossy(from.bytes(WHAT, length)?).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(host: &str) -> Vec<Option<String>> {
        vec![Some(host.to_owned()), None]
    }

    fn noted(hosts: std::ops::Range<u64>) -> StreamNames {
        let mut names = StreamNames::default();
        hosts.for_each(|n| names.note(StreamKey(n), values(&format!("host-{n}")), HashSet::new));
        names
    }

    #[test]
    fn a_million_streams_take_no_more_room_and_those_alive_stay() {
        let mut names = StreamNames::default();
        for n in 0..1_000_000 {
            names.note(StreamKey(n), values(&format!("host-{n}")), || HashSet::from([StreamKey(7)]));
            assert!(names.known.len() <= MOST_NAMES && names.bytes <= MOST_BYTES);
        }
        assert_eq!(names.get(StreamKey(7)).map(|values| StreamKey::name_of(values)), Some("host-7/-".to_owned()));
        assert_eq!(names.key_of("host-7/-"), Some(StreamKey(7)));
        assert!(names.get(StreamKey(8)).is_none() && names.get(StreamKey(999_999)).is_some());
        let counted: usize = names.known.values().map(|values| bytes_of(values)).sum();
        assert_eq!(names.bytes, counted);
    }

    #[test]
    fn a_name_too_long_and_one_of_no_value_are_not_kept() {
        let mut names = noted(0..3);
        names.note(StreamKey(9), values(&"x".repeat(MOST_NAME_BYTES + 1)), HashSet::new);
        names.note(StreamKey(10), vec![None, None], HashSet::new);
        assert_eq!(names, noted(0..3));
    }

    #[test]
    fn golden_bytes_and_what_is_cut_is_refused() {
        let mut names = StreamNames::default();
        names.note(StreamKey(0x0102), vec![Some("db1".to_owned()), None], HashSet::new);
        let bytes = StreamNames::to_bytes([&names, &names].into_iter()).unwrap();
        let expected = [1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 2, 1, 3, 0, b'd', b'b', b'1', 0];
        assert_eq!(bytes, expected);
        assert_eq!(StreamNames::from_bytes(&bytes).unwrap(), names);
        assert!((0..bytes.len()).all(|end| StreamNames::from_bytes(&bytes[..end]).is_err()));
        assert_eq!(StreamNames::to_bytes(std::iter::empty()), None);
    }
}
