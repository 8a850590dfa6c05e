//! Base64, as protobuf's JSON has bytes: the standard alphabet or the one for URLs, padded or not (RFC 4648, 4 and 5).

/// The bytes; nothing for what is no base64.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let digits = match text {
        [digits @ .., b'=', b'='] if text.len().is_multiple_of(4) => digits,
        [digits @ .., b'='] if text.len().is_multiple_of(4) => digits,
        digits => digits,
    };
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let bits = group.iter().try_fold(0_u32, |bits, digit| Some(bits << 6 | u32::from(value(*digit)?)))?;
        let [_, first, second, third] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        match group.len() {
            4 => out.extend([first, second, third]),
            3 => out.extend([first, second]),
            2 => out.push(first),
            _ => return None,
        }
    }
    Some(out)
}

const fn value(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A bit at a time, with `alphabet` and as much padding as is asked for.
    fn naive(bytes: &[u8], alphabet: &[u8; 64], is_padded: bool) -> String {
        let bits: Vec<bool> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
        let digit = |bits: &[bool]| (0..6).fold(0, |value, at| value << 1 | usize::from(bits.get(at) == Some(&true)));
        let mut text: String = bits.chunks(6).map(|bits| char::from(alphabet[digit(bits)])).collect();
        while is_padded && !text.len().is_multiple_of(4) {
            text.push('=');
        }
        text
    }

    const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const OF_URLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    #[test]
    fn the_vectors_of_rfc_4648_are_read() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("fooba", "Zm9vYmE"),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(plain.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_no_base64_is_nothing() {
        for text in
            ["Z", "Zg=", "Zg===", "Z===", "=", "====", "Zm9v\n", "Zm 9v", "Zg==Zg==", "\u{e4}bcd", "disk failed"]
        {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_a_plain_encoder_wrote_is_read(bytes: Vec<u8>, is_padded: bool) {
            for alphabet in [STANDARD, OF_URLS] {
                prop_assert_eq!(decode(naive(&bytes, alphabet, is_padded).as_bytes()), Some(bytes.clone()));
            }
        }
    }
}
