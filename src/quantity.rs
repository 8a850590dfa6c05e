//! Numbers with a unit, as they stand in lines: `12`, `-3.5`, `12ms`, `4.0 KB`.
//!
//! A number is a run of digits with or without a sign, a fraction and a unit, as long as it may be: what is too large for a double is the largest one. `NaN`, `inf`, `1e9`
//! and `0x1f` are no numbers: more often than a number they are words and parts of ids.
//!
//! What of a text is a number does not depend on which digits are in it. So it is known beforehand of lines that were met with other digits (`Forms`).

use std::ops::Range;

/// Digits of a number that surely fits 32 bits, and of one that surely fits 64.
pub(crate) const MOST_SHORT: usize = 9;
const MOST_EXACT: usize = 18;

/// Digits that are read at once.
const ABREAST: usize = 8;

/// The longest unit with a blank before it, in bytes.
const LONGEST_UNIT: usize = 8;

/// A unit a number can have, and what one of it is in base units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Unit {
    /// As written behind the number.
    pub(crate) name: &'static str,
    /// What one of it is: in microseconds, bytes, or ones.
    pub(crate) scale: f64,
}

const KIB: f64 = 1024.0;

impl Unit {
    const NONE: Self = Self { name: "", scale: 1.0 };

    /// The unit that is the next word of a line, when the number before it has none of its own: `12 ms`. Punctuation may follow.
    pub(crate) fn next_word(rest: &[u8]) -> Option<Self> {
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
pub(crate) struct Quantity {
    /// As written.
    pub(crate) number: f64,
    /// As written.
    pub(crate) unit: Unit,
}

impl Quantity {
    /// Reads `12`, `-3.5`, `12ms`, `4.0 KB`; nothing else may be in the text. The number is finite.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
        let (whole, rest) = digits(unsigned)?;
        let (fraction, rest) = match rest.strip_prefix(b".") {
            Some(rest) => digits(rest).map(|(fraction, rest)| (fraction.as_fraction(), rest))?,
            None => (0.0, rest),
        };
        let number = whole.as_whole() + fraction;
        Some(Self { number: if text.starts_with(b"-") { -number } else { number }, unit: unit_of(rest)? })
    }
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

/// A whole number of up to [`MOST_SHORT`] digits; 0 of none.
#[inline]
pub(crate) fn short_whole(text: &[u8]) -> Option<u32> {
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

/// What is known of the texts at the first eight variables of a line, whatever digits they have; a bit for each. Nothing is known of what is in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forms {
    /// Eight digits at the most, and nothing else.
    pub(crate) wholes: u8,
    /// Eight digits at the most, a point, and seven digits at the most.
    pub(crate) decimals: u8,
    /// Not a [`Quantity`].
    pub(crate) no_numbers: u8,
}

impl Forms {
    /// The number at a place, whose range this is, as far as it is known how to read it soon.
    #[inline]
    pub(crate) fn number_in(self, place: usize, message: &[u8], range: &Range<usize>) -> Option<f64> {
        if is_among(self.wholes, place) {
            whole_in(message, range).map(f64::from)
        } else if is_among(self.decimals, place) {
            decimal_in(message, range)
        } else {
            None
        }
    }

    /// Whether it is known how to read the number at a place soon.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn is_short_number(self, place: usize) -> bool {
        is_among(self.wholes | self.decimals, place)
    }

    /// Of such texts.
    pub(crate) fn of<'m>(texts: impl Iterator<Item = &'m [u8]>) -> Self {
        let mut forms = Self::default();
        for (place, text) in (0..u8::BITS).zip(texts) {
            let is_whole =
                |text: &[u8], most: usize| (1..=most).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
            let mut parts = text.splitn(2, |byte| *byte == b'.');
            let is_next = |part: Option<&[u8]>, most: usize| part.is_some_and(|part| is_whole(part, most));
            let is_decimal = is_next(parts.next(), ABREAST) && is_next(parts.next(), ABREAST - 1);
            forms.wholes |= u8::from(is_whole(text, ABREAST)) << place;
            forms.decimals |= u8::from(is_decimal) << place;
            forms.no_numbers |= u8::from(Quantity::parse(text).is_none()) << place;
        }
        forms
    }
}

/// Whether a place has its bit.
#[inline]
fn is_among(places: u8, place: usize) -> bool {
    place < u8::BITS as usize && places >> place & 1 != 0
}

/// The whole number at a range of one to eight digits, read with what stands before it; none where eight bytes up to its end are more than there are, and of no other length.
/// Of other texts that long it is any number: [`Forms`] tells. Of digits its twin is [`short_whole`].
///
/// Two, then four, then eight digits become a number at a time: after D. Lemire, "Quickly parsing eight digits", 2018.
#[inline]
fn whole_in(message: &[u8], range: &Range<usize>) -> Option<u32> {
    let text = last_eight(message, range.end)?;
    let before = ABREAST.checked_sub(range.end.checked_sub(range.start)?)? as u32;
    // The last digit is the highest byte.
    let digits = text & 0x0f0f_0f0f_0f0f_0f0f & u64::MAX.checked_shl(8 * before)?;
    let pairs = (digits.wrapping_mul(10 << 8 | 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000 << 32 | 1) >> 32) as u32)
}

/// The number at a range of digits, a point and up to seven digits, as [`whole_in`] reads it, and none where that reads none. Its twin is [`Quantity::parse`].
#[inline]
fn decimal_in(message: &[u8], range: &Range<usize>) -> Option<f64> {
    const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const POINTS: u64 = 0x2e2e_2e2e_2e2e_2e2e;
    let others = last_eight(message, range.end)? ^ POINTS;
    // The upper bit of each byte that is 0: where there is a point.
    let points = !((others & LOW_BITS).wrapping_add(LOW_BITS) | others | LOW_BITS);
    let places = (points.leading_zeros() / u8::BITS) as usize;
    let point = range.end.checked_sub(places)?.checked_sub(1)?;
    let whole = whole_in(message, &(range.start..point))?;
    let fraction = whole_in(message, &(point + 1..range.end))?;
    Some(f64::from(whole) + f64::from(fraction) / TENS.get(places)?)
}

/// The eight bytes of a message up to an end, the last one the highest.
#[inline]
fn last_eight(message: &[u8], end: usize) -> Option<u64> {
    let bytes = message.get(end.checked_sub(ABREAST)?..end)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_whole_number_in_a_message_is_what_its_twin_reads(before in ".{0,12}", number in "[0-9]{1,8}", after in ".{0,4}") {
            let message = format!("{before}{number}{after}");
            let range = before.len()..before.len() + number.len();
            let expected = (range.end >= ABREAST).then(|| short_whole(number.as_bytes()).unwrap());
            prop_assert_eq!(whole_in(message.as_bytes(), &range), expected);
        }

        #[test]
        fn a_decimal_in_a_message_is_what_its_twin_reads(
            before in ".{0,12}", whole in "[0-9]{1,8}", fraction in "[0-9]{1,7}", after in ".{0,4}",
        ) {
            let number = format!("{whole}.{fraction}");
            let message = format!("{before}{number}{after}");
            let range = before.len()..before.len() + number.len();
            let is_read = before.len() + whole.len() >= ABREAST;
            let expected = is_read.then(|| Quantity::parse(number.as_bytes()).unwrap().number);
            prop_assert_eq!(decimal_in(message.as_bytes(), &range), expected);
        }

        #[test]
        fn of_any_text_at_any_range_a_decimal_is_some_number_or_none(
            message in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'7'), any::<u8>()], 0..24),
            range in (0..26usize, 0..26usize),
        ) {
            let number = decimal_in(&message, &(range.0..range.1));
            prop_assert!(number.is_none_or(f64::is_finite));
        }

        #[test]
        fn whatever_the_digits_of_a_text_its_form_is_the_same(
            text in prop_oneof![
                "[-+]?[0-9]{1,22}([.][0-9]{0,22})?( ?(ms|KB|MiB|µs|%|days|x|[.:]))?",
                "[-+.0-9a-zKMB%µ :/]{0,24}",
            ],
            digits in prop::collection::vec(0..10u8, 48),
        ) {
            let mut digits = digits.into_iter().cycle();
            let mut other = |c: char| if c.is_ascii_digit() { char::from(b'0' + digits.next().unwrap()) } else { c };
            let other: String = text.chars().map(&mut other).collect();
            let forms = |text: &str| Forms::of([text.as_bytes()].into_iter());
            prop_assert_eq!(forms(&text), forms(&other), "{} {}", text, other);
        }
    }

    #[test]
    fn what_is_not_a_number_with_a_unit_that_is_known_is_none() {
        let odd =
            ["", "-", "12.", ".5", "1.2.3", "10.0.0.1:80", "0x1f", "12 parsecs", "blk_1", "NaN", "inf", "-inf", "1e9"];
        let long = [
            "9".repeat(100) + "x",
            "9".repeat(19) + ".",
            "9".repeat(19) + ".5.5",
            "1.".to_owned() + &"0".repeat(400) + ":",
        ];
        for text in odd.into_iter().chain(long.iter().map(String::as_str)) {
            assert_eq!(Quantity::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_number_has_its_sign_and_its_unit() {
        let size = Quantity::parse(b"-4.5 KB").unwrap();
        assert_eq!((size.number, size.unit.name, size.unit.scale), (-4.5, "KB", 1024.0));
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
    }

    #[test]
    fn ranges_of_other_lengths_and_outside_a_message_are_none() {
        let message = b"took 123456789 ms";
        for range in [5..14, 9..9, 0..4, 16..99, 0..usize::MAX] {
            assert_eq!((whole_in(message, &range), decimal_in(message, &range)), (None, None), "{range:?}");
        }
    }

    #[test]
    fn the_forms_of_eight_texts_are_told() {
        let texts: [&[u8]; 9] = [b"12345678", b"123456789", b"4ms", b"root", b"", b"1.5", b"10.0.0.1", b"-7", b"9"];
        let forms = Forms::of(texts.into_iter());
        assert_eq!((forms.wholes, forms.no_numbers), (0b0000_0001, 0b0101_1000), "the ninth is not looked at");
        let decimals: [&[u8]; 8] =
            [b"12345678.1234567", b"123456789.1", b"1.12345678", b"1.", b".5", b"1.5.5", b"-1.5", b"0.5"];
        assert_eq!(Forms::of(decimals.into_iter()).decimals, 0b1000_0001);
    }

    #[test]
    fn numbers_are_read_by_their_forms_where_eight_bytes_are_before_their_end() {
        let message = b"took 123 1234 12.75 -7 0.5";
        let ranges = [5..8, 9..13, 14..19, 20..22, 23..26];
        let forms = Forms::of(ranges.iter().map(|range| &message[range.clone()]));
        let numbers = [0, 1, 2, 3, 4].map(|place| forms.number_in(place, message, &ranges[place]));
        assert_eq!(numbers, [Some(123.0), Some(1234.0), Some(12.75), None, Some(0.5)]);
        assert_eq!([forms.number_in(0, b"123", &(0..3)), forms.number_in(8, message, &ranges[0])], [None, None]);
    }
}
