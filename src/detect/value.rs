//! The text at a wildcard, as the detectors see it: two bytes.
//!
//! | byte | is | so that |
//! |---|---|---|
//! | number | half-octave of the amount in base units (microseconds, bytes, one); 0: not a number | a thousandfold is 20 steps, jitter of a tenth is none or one |
//! | word | 8-bit hash of the text; 0: not asked for | a value never seen in a small closed set is told |
//!
//! A number is a run of digits with or without a sign, a fraction and a unit, as long as it may be: of amounts beyond 2^125 all have one code, and what is too
//! large for a double is the largest one. `NaN`, `inf`, `1e9` and `0x1f` are no numbers: more often than a number they are words and parts of ids.
//!
//! Two bytes and not the text, so that the log can keep what the detectors learn from: a replay then learns the same.

use crate::arithmetic::word_code;

/// Wildcards of a line that are looked at; those beyond are not.
pub const SLOTS: usize = 8;

/// Digits of a number that surely fits 32 bits, and of one that surely fits 64.
const MOST_SHORT: usize = 9;
const MOST_EXACT: usize = 18;

/// The longest unit with a blank before it, in bytes.
const LONGEST_UNIT: usize = 8;

/// Code of the amount 1: the codes below are for less than one.
const CODE_OF_ONE: i32 = 4;

/// A unit a number can have, and what one of it is in base units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// As written behind the number.
    pub name: &'static str,
    scale: f64,
}

const KIB: f64 = 1024.0;

impl Unit {
    const NONE: Self = Self { name: "", scale: 1.0 };

    /// The unit that is the next word of a line, when the number before it has none of its own: `12 ms`. Punctuation may follow.
    pub fn next_word(rest: &[u8]) -> Option<Self> {
        let word = rest.strip_prefix(b" ")?;
        let is_end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b';' | b':' | b'.' | b')' | b']');
        let end = word.iter().position(is_end).unwrap_or(word.len());
        Self::of(word.get(..end)?)
    }

    #[inline]
    fn of(name: &[u8]) -> Option<Self> {
        let (name, scale) = match name {
            b"%" => ("%", 1.0),
            b"ns" => ("ns", 1e-3),
            b"us" => ("us", 1.0),
            b"\xc2\xb5s" => ("µs", 1.0),
            b"ms" => ("ms", 1e3),
            b"s" => ("s", 1e6),
            b"sec" => ("sec", 1e6),
            b"secs" => ("secs", 1e6),
            b"seconds" => ("seconds", 1e6),
            b"minutes" => ("minutes", 6e7),
            b"hours" => ("hours", 3.6e9),
            b"days" => ("days", 8.64e10),
            b"m" => ("m", 6e7),
            b"min" => ("min", 6e7),
            b"h" => ("h", 3.6e9),
            b"d" => ("d", 8.64e10),
            b"B" => ("B", 1.0),
            b"bytes" => ("bytes", 1.0),
            b"k" => ("k", KIB),
            b"K" => ("K", KIB),
            b"kB" => ("kB", KIB),
            b"KB" => ("KB", KIB),
            b"KiB" => ("KiB", KIB),
            b"M" => ("M", KIB * KIB),
            b"MB" => ("MB", KIB * KIB),
            b"MiB" => ("MiB", KIB * KIB),
            b"G" => ("G", KIB * KIB * KIB),
            b"GB" => ("GB", KIB * KIB * KIB),
            b"GiB" => ("GiB", KIB * KIB * KIB),
            b"T" => ("T", KIB * KIB * KIB * KIB),
            b"TB" => ("TB", KIB * KIB * KIB * KIB),
            b"TiB" => ("TiB", KIB * KIB * KIB * KIB),
            _ => return None,
        };
        Some(Self { name, scale })
    }
}

/// A number with its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity {
    /// As written.
    pub number: f64,
    /// As written.
    pub unit: Unit,
}

impl Quantity {
    /// Reads `12`, `-3.5`, `12ms`, `4.0 KB`; nothing else may be in the text. The number is finite.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
        let (whole, rest) = digits(unsigned)?;
        let (fraction, rest) = match rest.strip_prefix(b".") {
            Some(rest) => digits(rest).map(|(fraction, rest)| (fraction.as_fraction(), rest))?,
            None => (0.0, rest),
        };
        let number = whole.as_whole() + fraction;
        Some(Self { number: if text.starts_with(b"-") { -number } else { number }, unit: unit_of(rest)? })
    }

    /// Half-octave of the amount, 1 and up; the sign does not count.
    pub fn code(&self) -> u8 {
        code_of_amount(self.number.abs() * self.unit.scale)
    }

    /// The least amount a code stands for, in this quantity's unit.
    pub fn amount_of(&self, code: f32) -> f64 {
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

static TENS: [f64; MOST_EXACT + 1] =
    [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18];

/// A run of digits.
#[derive(Clone, Copy)]
struct Digits<'t> {
    /// The first [`MOST_EXACT`] as a number, and how many they are.
    value: u64,
    count: usize,
    /// Those beyond.
    more: &'t [u8],
}

impl Digits<'_> {
    fn as_whole(self) -> f64 {
        if self.more.is_empty() { self.value as f64 } else { self.as_large() }
    }

    #[cold]
    fn as_large(self) -> f64 {
        let number = self.more.iter().fold(self.value as f64, |number, byte| number * 10.0 + f64::from(byte - b'0'));
        number.min(f64::MAX)
    }

    /// Behind a point; what is beyond does not count.
    fn as_fraction(self) -> f64 {
        self.value as f64 / TENS.get(self.count).copied().unwrap_or(1.0)
    }
}

/// One digit or more, and what comes after.
fn digits(text: &[u8]) -> Option<(Digits<'_>, &[u8])> {
    let (mut value, mut count) = (0, 0);
    while let Some(digit) = text.get(count).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        if count == MOST_EXACT {
            break;
        }
        value = value * 10 + u64::from(digit);
        count += 1;
    }
    let rest = text.get(count..).unwrap_or_default();
    let beyond = if count == MOST_EXACT { rest.iter().take_while(|byte| byte.is_ascii_digit()).count() } else { 0 };
    let (more, rest) = rest.split_at_checked(beyond)?;
    (count > 0).then_some((Digits { value, count, more }, rest))
}

fn unit_of(text: &[u8]) -> Option<Unit> {
    let Some(first) = text.first() else { return Some(Unit::NONE) };
    // Most of what follows a digit is more of an address or a time.
    if text.len() > LONGEST_UNIT || matches!(first, b'.' | b':' | b'-' | b'/' | b'0'..=b'9') {
        return None;
    }
    let name = text.trim_ascii_start();
    if name.is_empty() { Some(Unit::NONE) } else { Unit::of(name) }
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
        Some(b'0'..=b'9') if text.len() <= MOST_SHORT => match short_number(text) {
            Some(whole) => code_of_amount(f64::from(whole)),
            None => Quantity::parse(text).map_or(0, |quantity| quantity.code()),
        },
        Some(b'0'..=b'9' | b'+' | b'-') => Quantity::parse(text).map_or(0, |quantity| quantity.code()),
        _ => 0,
    }
}

/// A whole number of [`MOST_SHORT`] digits at the most.
#[inline]
fn short_number(text: &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.wrapping_mul(10).wrapping_add(u32::from(digit));
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<u8> {
        Quantity::parse(text.as_bytes()).map(|quantity| quantity.code())
    }

    #[test]
    fn units_are_understood_and_what_is_not_a_number_is_not() {
        assert_eq!(code("1500ms"), code("1.5s"));
        assert_eq!(code("2048"), code("2 KiB"));
        assert_eq!(code("4.0 KB"), code("4096 B"));
        assert_eq!(code("-12"), code("12"));
        for text in
            ["", "-", "12.", ".5", "1.2.3", "10.0.0.1:80", "0x1f", "12 parsecs", "blk_1", "NaN", "inf", "-inf", "1e9"]
        {
            assert_eq!(code(text), None, "{text}");
        }
        for text in [
            "9".repeat(100) + "x",
            "9".repeat(19) + ".",
            "9".repeat(19) + ".5.5",
            "1.".to_owned() + &"0".repeat(400) + ":",
        ] {
            assert_eq!(code(&text), None, "{text}");
        }
    }

    #[test]
    fn a_number_of_any_length_is_one_and_as_large_as_it_says() {
        let number = |text: &str| Quantity::parse(text.as_bytes()).unwrap().number;
        for text in [
            "1234567890123456789",
            "18446744073709551615",
            "-340282366920938463463374607431768211455",
            "1234567890123456789.25",
        ] {
            assert!((number(text) / text.parse::<f64>().unwrap() - 1.0).abs() < 1e-15, "{text}: {}", number(text));
        }
        let zeros = "0".repeat(400);
        assert_eq!((number(&format!("{zeros}17")), number(&format!("1.{zeros}1"))), (17.0, 1.0));
        assert_eq!(number("0.1234567890123456789"), 0.123_456_789_012_345_68);
        // More than a double holds.
        let huge = "9".repeat(400);
        assert_eq!((number(&huge), number(&format!("-{huge}TiB"))), (f64::MAX, -f64::MAX));
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
