//! Values by number, for columns and series.

use std::collections::HashMap;
use std::hash::Hash;

use crate::event::{StreamKey, TemplateId};

/// Places for values met of late.
const RECENT: usize = 1_024;
/// No value has this number.
const NONE: u32 = u32::MAX;

/// What is numbered.
pub(super) trait Value: Copy + Default + Eq + Hash {
    /// Bits that differ where values differ, as a rule: hashes have them.
    fn bits(self) -> u64;
}

impl Value for TemplateId {
    fn bits(self) -> u64 {
        self.0
    }
}

impl Value for StreamKey {
    fn bits(self) -> u64 {
        self.0
    }
}

/// Numbers values in the order they first appear. The number of one that was asked for lately is found without a search.
#[derive(Debug)]
pub(super) struct Dictionary<V> {
    values: Vec<V>,
    numbers: HashMap<V, u32, foldhash::fast::FixedState>,
    /// By the low bits of a value, the one met there last.
    recent: Box<[(V, u32)]>,
}

impl<V: Value> Default for Dictionary<V> {
    fn default() -> Self {
        Self { values: Vec::new(), numbers: HashMap::default(), recent: vec![(V::default(), NONE); RECENT].into() }
    }
}

impl<V: Value> FromIterator<V> for Dictionary<V> {
    fn from_iter<I: IntoIterator<Item = V>>(values: I) -> Self {
        let mut dictionary = Self::default();
        values.into_iter().for_each(|value| _ = dictionary.number(value));
        dictionary
    }
}

impl<V: Value> Dictionary<V> {
    /// In the order of their numbers.
    pub(super) fn values(&self) -> &[V] {
        &self.values
    }

    /// The number of a value: the next one, when it is new.
    #[inline]
    pub(super) fn number(&mut self, value: V) -> u32 {
        let place = value.bits() as usize % RECENT;
        match self.recent.get(place) {
            Some((recent, number)) if *recent == value && *number != NONE => *number,
            _ => self.look_up(value, place),
        }
    }

    #[inline(never)]
    fn look_up(&mut self, value: V, place: usize) -> u32 {
        let next = self.values.len() as u32;
        let number = *self.numbers.entry(value).or_insert(next);
        if number == next {
            self.values.push(value);
        }
        if let Some(recent) = self.recent.get_mut(place) {
            *recent = (value, number);
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_has_the_number_of_its_first_appearance(values in proptest::collection::vec(0u64..2_000, 0..500)) {
            let mut dictionary = Dictionary::default();
            let mut seen = Vec::new();
            for value in values {
                // Half of them meet another one in their place.
                let value = StreamKey(value / 2 + value % 2 * RECENT as u64);
                let first = seen.iter().position(|seen| *seen == value);
                let expected = first.unwrap_or(seen.len());
                prop_assert_eq!(dictionary.number(value) as usize, expected);
                if first.is_none() {
                    seen.push(value);
                }
            }
            prop_assert_eq!(dictionary.values(), seen);
        }
    }
}
