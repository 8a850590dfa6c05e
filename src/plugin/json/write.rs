//! Writing JSON: strings, numbers, and the object of fields.

use std::io::Write as _;

use super::scan::plain_run;
use crate::plugin::enrichment::{Enrichment, Value};

/// Writes `text` as a JSON string, quotes and all.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    let text = text.as_bytes();
    out.push(b'"');
    let mut at = 0;
    loop {
        let run = plain_run(text, at);
        out.extend_from_slice(text.get(at..at + run).unwrap_or_default());
        at += run;
        let Some(byte) = text.get(at) else { break };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(DIGITS[usize::from(byte >> 4)]);
                out.push(DIGITS[usize::from(byte & 15)]);
            }
        }
        at += 1;
    }
    out.push(b'"');
}

/// Writes a number of at most six decimals, always with a point: a store that guesses types from the first event
/// it sees must not take `0` for an integer.
fn number(out: &mut Vec<u8>, number: f64) {
    const SCALE: f64 = 1e6;
    let scaled = (number * SCALE).round();
    if !(0.0..1e15).contains(&scaled) {
        // Evidence beyond 1e9 nats: not reached, and still written as a number.
        let finite = if number.is_finite() { number } else { 0.0 };
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{finite:?}");
        return;
    }
    let scaled = scaled as u64;
    digits(out, scaled / 1_000_000, 1);
    out.push(b'.');
    let mut fraction = scaled % 1_000_000;
    let mut places = 6;
    while places > 1 && fraction.is_multiple_of(10) {
        fraction /= 10;
        places -= 1;
    }
    digits(out, fraction, places);
}

fn digits(out: &mut Vec<u8>, mut number: u64, at_least: usize) {
    let mut buffer = [b'0'; 20];
    let mut start = buffer.len();
    while number > 0 || buffer.len() - start < at_least {
        start -= 1;
        buffer[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&buffer[start..]);
}

fn list<T>(out: &mut Vec<u8>, ends: [u8; 2], items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    out.push(ends[0]);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(ends[1]);
}

fn value(out: &mut Vec<u8>, written: Value<'_>) {
    match written {
        Value::Flag(true) => out.extend_from_slice(b"true"),
        Value::Flag(false) => out.extend_from_slice(b"false"),
        Value::Number(value) => number(out, value),
        Value::Text(text) => string(out, text),
        Value::Texts(texts) => list(out, *b"[]", texts.iter(), |out, text| string(out, text)),
        Value::Numbers(numbers) => list(out, *b"{}", numbers.iter(), |out, (name, value)| {
            string(out, name);
            out.push(b':');
            number(out, *value);
        }),
        Value::Maps(maps) => list(out, *b"[]", maps.iter(), |out, map| {
            list(out, *b"{}", map.iter(), |out, (name, part)| {
                string(out, name);
                out.push(b':');
                value(out, *part);
            });
        }),
    }
}

/// Writes the fields as one object.
pub(crate) fn object(out: &mut Vec<u8>, enrichment: &Enrichment<'_>) {
    let mut separator = b'{';
    enrichment.for_each(|name, field| {
        out.push(separator);
        separator = b',';
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        value(out, field);
    });
    if separator == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

/// Writes `"a":{"b":{…}}` for the names of a target.
pub(crate) fn member(out: &mut Vec<u8>, names: &[String], enrichment: &Enrichment<'_>) {
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(b'{');
        }
        string(out, name);
        out.push(b':');
    }
    object(out, enrichment);
    out.extend(std::iter::repeat_n(b'}', names.len().saturating_sub(1)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: f64) -> String {
        let mut out = Vec::new();
        number(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_short_and_keep_their_point() {
        for (value, expected) in
            [(0.0, "0.0"), (1.0, "1.0"), (0.5, "0.5"), (0.000001, "0.000001"), (12.34, "12.34"), (1e9, "1000000000.0")]
        {
            assert_eq!(written(value), expected);
        }
        for value in [f64::NAN, f64::INFINITY, -1.5, 1e300] {
            assert!(serde_json::from_str::<f64>(&written(value)).is_ok(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_rounded_number_is_read_back_as_itself(millionths in 0_u64..2_000_000_000) {
            let value = millionths as f64 / 1e6;
            prop_assert_eq!(written(value).parse::<f64>(), Ok(value));
        }

        #[test]
        fn a_string_is_read_back_as_itself(text in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
