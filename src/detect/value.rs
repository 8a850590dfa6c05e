//! The text at a wildcard, as the detectors see it: two bytes.
//!
//! | byte | is | so that |
//! |---|---|---|
//! | number | half-octave of the amount in base units (microseconds, bytes, one); 0: not a number | a thousandfold is 20 steps, jitter of a tenth is none or one |
//! | word | 8-bit hash of the text; 0: not asked for | a value never seen in a small closed set is told |
//!
//! What is a number `quantity` says. Amounts beyond 2^125 all have one code.
//!
//! Two bytes and not the text, so that the log can keep what the detectors learn from: a replay then learns the same.

use std::ops::Range;

use crate::arithmetic::{set_bits, word_code};
use crate::quantity::{Forms, MOST_SHORT, Quantity, short_whole};

/// Wildcards of a line that are looked at; those beyond are not.
pub const SLOTS: usize = 8;

const _: () = assert!(SLOTS == u8::BITS as usize, "`wanted` and `Forms` have a bit for each");

/// Code of the amount 1: the codes below are for less than one.
const CODE_OF_ONE: i32 = 4;

impl Quantity {
    /// Half-octave of the amount, 1 and up; the sign does not count.
    pub(crate) fn code(&self) -> u8 {
        code_of_amount(self.number.abs() * self.unit.scale)
    }

    /// The least amount a code stands for, in this quantity's unit.
    pub(crate) fn amount_of(&self, code: f32) -> f64 {
        let base = f64::from((code - CODE_OF_ONE as f32) * 0.5).exp2() - 0.5;
        base.max(0.0) / self.unit.scale
    }
}

#[inline]
fn code_of_amount(amount: f64) -> u8 {
    // A half added makes zero the neighbour of small amounts instead of infinitely far from them.
    let bits = ((amount + 0.5) as f32).to_bits();
    ((bits >> 22) as i32 - (127 << 1) + CODE_OF_ONE).clamp(1, 255) as u8
}

/// How many of the wildcards have something: up to the last that is not 0.
#[inline]
pub(super) fn length(bytes: &[u8; SLOTS]) -> usize {
    // The first wildcard is the lowest byte.
    SLOTS - u64::from_le_bytes(*bytes).leading_zeros() as usize / 8
}

/// The wildcards of one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// By wildcard, 0: not a number or not there.
    pub numbers: [u8; SLOTS],
    /// By wildcard, 0: not asked for or not there.
    pub words: [u8; SLOTS],
}

impl Values {
    /// Of the texts at a line's wildcards; `wanted` has a bit for each whose word is asked for.
    pub fn of<'m>(texts: impl Iterator<Item = &'m [u8]>, wanted: u8) -> Self {
        Self::of_places(texts.map(Some), std::iter::empty(), wanted)
    }

    /// The same, where a line need not have something at each, and then of the `words` at places that words alone differ at: no numbers, whatever
    /// they look like.
    #[inline]
    pub fn of_places<'m>(
        texts: impl Iterator<Item = Option<&'m [u8]>>,
        words_alone: impl Iterator<Item = &'m [u8]>,
        wanted: u8,
    ) -> Self {
        // In registers: eight bytes written one by one and read at once are waited for.
        let (mut numbers, mut words, mut places) = (0u64, 0u64, 0);
        let code = |place: usize, text| {
            if wanted >> place & 1 != 0 { u64::from(word_code(text)) << (8 * place) } else { 0 }
        };
        for text in texts.take(SLOTS) {
            if let Some(text) = text {
                numbers |= u64::from(number_of(text)) << (8 * places);
                words |= code(places, text);
            }
            places += 1;
        }
        for (place, text) in (places..SLOTS).zip(words_alone) {
            words |= code(place, text);
        }
        Self { numbers: numbers.to_le_bytes(), words: words.to_le_bytes() }
    }

    /// As [`Self::of`], of `count` variables of a message, of whose texts something is known already.
    #[inline]
    pub(crate) fn of_known(
        message: &[u8],
        count: usize,
        range: impl Fn(usize) -> Range<usize>,
        forms: Forms,
        wanted: u8,
    ) -> Self {
        let here = ((1u32 << count.min(SLOTS)) - 1) as u8;
        let (mut numbers, mut words) = (0u64, 0u64);
        for place in set_bits(u64::from(here & !forms.no_numbers)) {
            let range = range(place);
            let code = match forms.number_in(place, message, &range) {
                Some(number) => code_of_amount(number),
                None => number_of(message.get(range).unwrap_or_default()),
            };
            numbers |= u64::from(code) << (8 * place);
        }
        for place in set_bits(u64::from(here & wanted)) {
            words |= u64::from(word_code(message.get(range(place)).unwrap_or_default())) << (8 * place);
        }
        Self { numbers: numbers.to_le_bytes(), words: words.to_le_bytes() }
    }

    /// As the log keeps them: the numbers, then the words.
    pub fn to_bytes(self) -> [u8; 2 * SLOTS] {
        let mut bytes = [0; 2 * SLOTS];
        let (numbers, words) = bytes.split_at_mut(SLOTS);
        numbers.copy_from_slice(&self.numbers);
        words.copy_from_slice(&self.words);
        bytes
    }

    /// The inverse of [`Self::to_bytes`].
    pub fn from_bytes(bytes: [u8; 2 * SLOTS]) -> Self {
        let mut values = Self::default();
        let (numbers, words) = bytes.split_at(SLOTS);
        values.numbers.copy_from_slice(numbers);
        values.words.copy_from_slice(words);
        values
    }
}

/// The code of a text, 0 when it is no number. What most variables are, words and whole numbers, is told by a look.
#[inline]
fn number_of(text: &[u8]) -> u8 {
    match text.first() {
        Some(b'0'..=b'9') if text.len() <= MOST_SHORT => match short_whole(text) {
            Some(whole) => code_of_amount(f64::from(whole)),
            None => Quantity::parse(text).map_or(0, |quantity| quantity.code()),
        },
        Some(b'0'..=b'9' | b'+' | b'-') => Quantity::parse(text).map_or(0, |quantity| quantity.code()),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_known_of_texts_beforehand_changes_no_value(
            texts in prop::collection::vec("[0-9]{1,10}|[0-9]{1,9}[.][0-9]{1,8}|-?[0-9]{0,3}(ms|[.][0-9]| KB)?|[a-z0-9]{0,9}|[0-9]{1,3}([.][0-9]{1,3}){3}", 0..11),
            wanted: u8,
        ) {
            let mut message = String::new();
            let ranges: Vec<_> = texts.iter().map(|text| {
                message.push(' ');
                message.push_str(text);
                message.len() - text.len()..message.len()
            }).collect();
            let bytes = || texts.iter().map(String::as_bytes);
            let known = |forms| Values::of_known(message.as_bytes(), texts.len(), |at| ranges[at].clone(), forms, wanted);
            let expected = Values::of(bytes(), wanted);
            prop_assert_eq!((known(Forms::of(bytes())), known(Forms::default())), (expected, expected));
        }
    }

    fn code(text: &str) -> Option<u8> {
        Quantity::parse(text.as_bytes()).map(|quantity| quantity.code())
    }

    #[test]
    fn the_same_amount_has_one_code_in_every_unit() {
        assert_eq!(code("1500ms"), code("1.5s"));
        assert_eq!(code("2048"), code("2 KiB"));
        assert_eq!(code("4.0 KB"), code("4096 B"));
        assert_eq!(code("-12"), code("12"));
    }

    #[test]
    fn codes_grow_with_the_digits_up_to_the_last_one() {
        let huge = "9".repeat(400);
        assert_eq!((code(&huge), code(&format!("{huge} days"))), (Some(255), Some(255)));
        assert!(Quantity::parse(huge.as_bytes()).unwrap().amount_of(255.0).is_finite());
        let codes: Vec<u8> = (1..60).map(|digits| code(&"9".repeat(digits)).unwrap()).collect();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1] || pair == [255, 255]), "{codes:?}");
    }

    #[test]
    fn a_thousandfold_is_far_and_a_tenth_is_near() {
        let steps = |a, b| i32::from(code(b).unwrap()) - i32::from(code(a).unwrap());
        assert!((18..=22).contains(&steps("37", "37000")));
        assert!(steps("100", "110") <= 1 && steps("0", "1") <= 3);
        assert!(steps("0", "999999999999999999") > 100, "the largest still fits");
    }

    #[test]
    fn a_code_stands_for_an_amount_no_more_than_the_quantity() {
        for text in ["1", "3", "250", "12ms", "4.2s", "64 MB"] {
            let quantity = Quantity::parse(text.as_bytes()).unwrap();
            let least = quantity.amount_of(f32::from(quantity.code()));
            assert!(least <= quantity.number * 1.01 && least >= quantity.number * 0.3, "{text}: {least}");
        }
    }

    #[test]
    fn length_reaches_to_the_last_that_is_not_zero() {
        for (bytes, expected) in [([0; SLOTS], 0), ([0, 0, 9, 0, 0, 0, 0, 0], 3), ([1; SLOTS], SLOTS)] {
            assert_eq!(length(&bytes), expected);
        }
    }

    #[test]
    fn values_come_back_from_their_bytes_and_words_only_when_wanted() {
        let texts: [&[u8]; 3] = [b"12", b"root", b"7ms"];
        let values = Values::of(texts.into_iter(), 0b010);
        assert_eq!(Values::from_bytes(values.to_bytes()), values);
        assert!(values.words[1] > 0 && values.words[0] == 0 && values.numbers[1] == 0 && values.numbers[2] > 0);
        let many = Values::of(std::iter::repeat_n(texts[0], 100), 255);
        assert!(many.words.iter().all(|word| *word == many.words[0]));
    }
}
