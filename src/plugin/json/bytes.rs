//! A text as a list of its bytes: `[27, 91, 49, 109]`, as `journalctl -o json` has texts with control characters or without a known encoding.

/// The bytes that `list`, a JSON array, stands for; nothing when it is empty or has something else in it than whole numbers up to 255.
pub(super) fn text(list: &[u8]) -> Option<Vec<u8>> {
    let inside = list.strip_prefix(b"[")?.strip_suffix(b"]")?;
    inside.split(|byte| *byte == b',').map(|item| std::str::from_utf8(item.trim_ascii()).ok()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn bytes_are_a_text_and_nothing_else_is() {
        assert_eq!(text(b"[104,105]").as_deref(), Some(&b"hi"[..]));
        assert_eq!(text(b"[ 27 ,\t91\n]").as_deref(), Some(&b"\x1b["[..]));
        for other in ["[]", "[256]", "[-1]", "[1.5]", "[104,\"i\"]", "[[104]]", "[1e1]", "[null]", "[104,105,{}]"] {
            assert_eq!(text(other.as_bytes()), None, "{other}");
        }
    }
}
