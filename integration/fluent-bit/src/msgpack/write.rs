//! Writing: what is added to a record.

use oddline::event::Timestamp;
use oddline::plugin::Value;

/// Bytes of the longest header of a map that has a one-byte length in it.
const FIX_MAX: u32 = 15;

/// The header of a map of `len` entries, of at least `width` bytes (1, 3 or 5): a map that had a wide header keeps it.
pub(crate) fn map_header(out: &mut Vec<u8>, len: u32, width: usize) {
    if len <= FIX_MAX && width <= 1 {
        out.push(0x80 | len as u8);
    } else if len <= 0xffff && width <= 3 {
        out.push(0xde);
        out.extend_from_slice(&(len as u16).to_be_bytes());
    } else {
        out.push(0xdf);
        out.extend_from_slice(&len.to_be_bytes());
    }
}

/// Makes the one byte at `at` the header of the map of `len` entries that follows it.
pub(crate) fn patch_map_header(out: &mut Vec<u8>, at: usize, len: u32) {
    if len <= FIX_MAX {
        if let Some(byte) = out.get_mut(at) {
            *byte = 0x80 | len as u8;
        }
        return;
    }
    let mut header = Vec::with_capacity(5);
    map_header(&mut header, len, 3);
    out.splice(at..=at, header);
}

/// The header of a list of `len` values.
pub(crate) fn array_header(out: &mut Vec<u8>, len: usize) {
    match len {
        0..=15 => out.push(0x90 | len as u8),
        16..=0xffff => {
            out.push(0xdc);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdd);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}

/// A text. One of 4 GiB and more, which no message is, is cut.
pub(crate) fn text(out: &mut Vec<u8>, text: &[u8]) {
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    match len {
        0..=31 => out.push(0xa0 | len as u8),
        32..=0xff => out.extend_from_slice(&[0xd9, len as u8]),
        0x100..=0xffff => {
            out.push(0xda);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdb);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    out.extend_from_slice(text.get(..len as usize).unwrap_or_default());
}

fn number(out: &mut Vec<u8>, number: f64) {
    out.push(0xcb);
    out.extend_from_slice(&number.to_be_bytes());
}

/// A value of a field.
pub(crate) fn value(out: &mut Vec<u8>, written: Value<'_>) {
    match written {
        Value::Flag(flag) => out.push(0xc2 | u8::from(flag)),
        Value::Number(value) => number(out, value),
        Value::Text(value) => text(out, value.as_bytes()),
        Value::Texts(texts) => {
            array_header(out, texts.len());
            texts.iter().for_each(|item| text(out, item.as_bytes()));
        }
        Value::Numbers(numbers) => {
            map_header(out, u32::try_from(numbers.len()).unwrap_or(u32::MAX), 1);
            for (name, value) in numbers {
                text(out, name.as_bytes());
                number(out, *value);
            }
        }
        Value::Maps(maps) => {
            array_header(out, maps.len());
            for map in maps {
                map_header(out, u32::try_from(map.len()).unwrap_or(u32::MAX), 1);
                for (name, part) in map {
                    text(out, name.as_bytes());
                    value(out, *part);
                }
            }
        }
    }
}

/// A time as Fluent Bit has it: extension type 0, seconds and nanoseconds in 32 bits each. A time outside 1970 to 2106 becomes 1970.
pub(crate) fn event_time(out: &mut Vec<u8>, time: Timestamp) {
    let seconds = u32::try_from(time.0.div_euclid(1_000_000)).unwrap_or(0);
    let nanos = (time.0.rem_euclid(1_000_000) * 1_000) as u32;
    out.extend_from_slice(&[0xd7, 0x00]);
    out.extend_from_slice(&seconds.to_be_bytes());
    out.extend_from_slice(&nanos.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::{Reader, Token};
    use super::*;

    #[test]
    fn headers_and_texts_are_read_back_at_every_width() {
        for len in [0_u32, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
            let mut out = Vec::new();
            map_header(&mut out, len, 1);
            array_header(&mut out, len as usize);
            text(&mut out, &vec![b'x'; len as usize]);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.token(), Some(Token::Map(len)));
            assert_eq!(reader.token(), Some(Token::Array(len)));
            assert_eq!(reader.token(), Some(Token::Text(&vec![b'x'; len as usize])));
            assert!(reader.rest().is_empty());
        }
    }

    #[test]
    fn a_wide_header_stays_wide() {
        for (width, bytes) in [(1, &[0x82][..]), (3, &[0xde, 0, 2]), (5, &[0xdf, 0, 0, 0, 2])] {
            let mut out = Vec::new();
            map_header(&mut out, 2, width);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn a_header_is_patched_when_the_count_is_known() {
        for len in [3_u32, 20] {
            let mut out = vec![7, 0];
            out.resize(2 + 2 * len as usize, 1);
            patch_map_header(&mut out, 1, len);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.token(), Some(Token::Unsigned(7)));
            assert_eq!(reader.map().map(|map| map.len), Some(len));
            assert!(reader.rest().is_empty());
        }
    }

    #[test]
    fn a_time_has_the_bytes_fluent_bit_gives_it() {
        let mut out = Vec::new();
        event_time(&mut out, Timestamp(1_700_000_000_250_000));
        assert_eq!(out, [0xd7, 0x00, 0x65, 0x53, 0xf1, 0x00, 0x0e, 0xe6, 0xb2, 0x80]);
        out.clear();
        event_time(&mut out, Timestamp(-1));
        assert_eq!(out[2..6], [0; 4]);
    }
}
