//! One pass over JSON text: the grammar of RFC 8259 is checked in full, nothing is built, and what is passed over does not recurse.

use std::borrow::Cow;
use std::ops::Range;

use crate::plugin::json::scan::{NotAnObject, literal, number_end, skip_space, string_end, unescape};

/// The text is not JSON, or not JSON of the shape it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at byte {at}")]
pub(crate) struct Unexpected {
    /// What would have been accepted.
    pub(crate) expected: &'static str,
    /// Where.
    pub(crate) at: usize,
}

/// Where in a text reading is. What reads a value leaves it behind that value.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// The brackets that close what [`Cursor::skip`] is in.
    open: Vec<u8>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, open: Vec::new() }
    }

    /// Calls `read` where the value at `start` begins, which was read before, and goes on where it is now.
    pub(super) fn again<T>(&mut self, start: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        let at = std::mem::replace(&mut self.at, start);
        let read = read(self);
        self.at = at;
        read
    }

    /// The first byte of what comes next; 0 at the end.
    pub(super) fn peek(&mut self) -> u8 {
        self.at = skip_space(self.text.as_bytes(), self.at);
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// What stands at `place`.
    pub(super) fn slice(&self, place: Range<usize>) -> Option<&'a str> {
        self.text.get(place)
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == byte;
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Unexpected> {
        if self.takes(byte) { Ok(()) } else { Err(Unexpected { expected, at: self.at }) }
    }

    /// Nothing but white space comes.
    pub(super) fn end(&mut self) -> Result<(), Unexpected> {
        self.peek();
        if self.at == self.text.len() { Ok(()) } else { Err(Unexpected { expected: "the end", at: self.at }) }
    }

    /// Reads an object: `each` reads the value of each member, whose name it is given. Where the object stands, and whether it has no members.
    pub(super) fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, &str) -> Result<(), Unexpected>,
    ) -> Result<(Range<usize>, bool), Unexpected> {
        self.expect(b'{', "an object")?;
        let start = self.at - 1;
        if self.takes(b'}') {
            return Ok((start..self.at, true));
        }
        loop {
            let name = self.string("a name")?;
            self.expect(b':', "a colon")?;
            each(self, &name)?;
            if self.takes(b'}') {
                return Ok((start..self.at, false));
            }
            self.expect(b',', "a comma or the end of an object")?;
        }
    }

    /// Reads a list: `each` reads each item. Where the list stands.
    pub(super) fn items(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), Unexpected>,
    ) -> Result<Range<usize>, Unexpected> {
        self.expect(b'[', "a list")?;
        let start = self.at - 1;
        if self.takes(b']') {
            return Ok(start..self.at);
        }
        loop {
            each(self)?;
            if self.takes(b']') {
                return Ok(start..self.at);
            }
            self.expect(b',', "a comma or the end of a list")?;
        }
    }

    /// Reads a string: its bytes, which are UTF-8; half a surrogate pair becomes U+FFFD.
    pub(super) fn bytes(&mut self, expected: &'static str) -> Result<Cow<'a, [u8]>, Unexpected> {
        if self.peek() != b'"' {
            return Err(Unexpected { expected, at: self.at });
        }
        let (start, (end, is_escaped)) = (self.at + 1, self.checked("a string", string_end)?);
        self.at = end;
        let raw = self.text.as_bytes().get(start..end - 1).unwrap_or_default();
        Ok(if is_escaped { unescape(raw) } else { Cow::Borrowed(raw) })
    }

    /// Reads a string.
    pub(super) fn string(&mut self, expected: &'static str) -> Result<Cow<'a, str>, Unexpected> {
        Ok(match self.bytes(expected)? {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        })
    }

    /// Passes over a value, however deep. Where it stands.
    pub(super) fn skip(&mut self) -> Result<Range<usize>, Unexpected> {
        self.peek();
        let start = self.at;
        self.open.clear();
        loop {
            if self.enters()? {
                continue;
            }
            loop {
                let Some(close) = self.open.last().copied() else { return Ok(start..self.at) };
                if !self.takes(close) {
                    self.expect(b',', "a comma or a closing bracket")?;
                    self.name_in(close)?;
                    break;
                }
                self.open.pop();
            }
        }
    }

    /// Passes over a scalar or what has nothing in it; goes into anything else, to its first value.
    fn enters(&mut self) -> Result<bool, Unexpected> {
        let close = match self.peek() {
            b'{' => b'}',
            b'[' => b']',
            _ => return self.scalar().map(|()| false),
        };
        self.at += 1;
        if self.takes(close) {
            return Ok(false);
        }
        self.open.push(close);
        self.name_in(close)?;
        Ok(true)
    }

    /// Passes over a name and its colon, in what `close` closes, when that is an object.
    fn name_in(&mut self, close: u8) -> Result<(), Unexpected> {
        if close != b'}' {
            return Ok(());
        }
        self.peek();
        (self.at, _) = self.checked("a name", string_end_of_name)?;
        self.expect(b':', "a colon")
    }

    fn scalar(&mut self) -> Result<(), Unexpected> {
        self.at = match self.peek() {
            b'"' => self.checked("a string", string_end)?.0,
            b't' => self.checked("true", |text, at| literal(text, at, b"true"))?,
            b'f' => self.checked("false", |text, at| literal(text, at, b"false"))?,
            b'n' => self.checked("null", |text, at| literal(text, at, b"null"))?,
            _ => self.checked("a value", number_end)?,
        };
        Ok(())
    }

    fn checked<T>(
        &self,
        expected: &'static str,
        read: impl FnOnce(&[u8], usize) -> Result<T, NotAnObject>,
    ) -> Result<T, Unexpected> {
        read(self.text.as_bytes(), self.at).map_err(|NotAnObject(at)| Unexpected { expected, at })
    }
}

fn string_end_of_name(text: &[u8], at: usize) -> Result<(usize, bool), NotAnObject> {
    if text.get(at) == Some(&b'"') { string_end(text, at) } else { Err(NotAnObject(at)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    fn is_json(text: &str) -> bool {
        let mut cursor = Cursor::new(text);
        cursor.skip().is_ok() && cursor.end().is_ok()
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = 1_000_000;
        assert!(is_json(&("[".repeat(deep) + &"]".repeat(deep))));
        assert!(!is_json(&("[".repeat(deep) + &"]".repeat(deep - 1))));
        assert!(is_json(&("{\"a\":[".repeat(deep) + &"]}".repeat(deep))));
    }

    #[test]
    fn text_of_a_string_is_what_serde_json_reads() {
        for text in [r#""plain""#, r#""a \"b\" \\ \/ \n \u00e9 \ud83d\ude00 é""#, r#""""#] {
            let read = Cursor::new(text).string("a string").unwrap();
            assert_eq!(read, serde_json::from_str::<String>(text).unwrap());
        }
        assert_eq!(Cursor::new(r#""\ud83d""#).string("a string").unwrap(), "\u{fffd}");
    }

    /// Pieces of JSON, in any order.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"\\u00e9\"",
            "\"\\x\"",
            "\"",
            "1",
            "-0.5e3",
            "01",
            "1.",
            "true",
            "tru",
            "null",
            " ",
            "\n",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_is_passed_over_is_what_serde_json_takes_for_json(text in pieces()) {
            prop_assert_eq!(is_json(&text), serde_json::from_str::<&RawValue>(&text).is_ok(), "{}", text);
        }

        #[test]
        fn every_value_is_passed_over(value in any_json()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                prop_assert!(is_json(&text), "{}", text);
            }
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
