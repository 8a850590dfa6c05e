//! JSON within a line: templated by its keys.
//!
//! From a token that begins with `{"` (or `{`, blanks, `"`) on, until the brace is closed:
//!
//! | part | becomes |
//! |---|---|
//! | key, `true`, `false`, `null` | itself |
//! | number | `<*>` |
//! | string | `"<*>"`, blanks included |
//! | … of a key that [tells what happened](super::shapes::is_telling) | text, read word by word |
//! | array without an object in it | `[<*>]` |
//!
//! Blanks outside strings part tokens as everywhere. A match of the user's masks within a string or a word is a variable, and so
//! is one that goes beyond, but there the JSON ends. What stops being JSON (a string that is not closed) is read on as
//! text. No recursion: a string is a key when a colon follows.

use std::ops::Range;

use super::mask::{Variable, class};
use super::rule::Rule;
use super::scanner::Scanner;
use super::shapes::is_telling;

/// Constant bytes of a token of JSON; with more of them the token is a variable as a whole. As many keys as
/// [`Masking::max_token_bytes`](super::Masking::max_token_bytes) of text, and some more.
const CONSTANTS: usize = 4;

/// A token of JSON that is not at its end yet.
struct Open {
    start: usize,
    /// Its variables begin here.
    variables: usize,
    /// It has had more variables than a token with as many constants as may be.
    is_long: bool,
}

/// Why JSON is not read on.
enum Stop {
    /// It is none: a string is not closed, or a match of the user's goes beyond it.
    Broken,
    /// There are as many tokens as may be, or no more; what follows [`Open::start`] has not been taken.
    Full,
}

impl Scanner<'_> {
    /// Whether JSON begins at `start`, where a token does.
    #[inline(always)]
    pub(super) fn is_json(&self, start: usize) -> bool {
        self.message.get(start) == Some(&b'{')
            && self.message.get(self.skip_blanks(start + 1)) == Some(&b'"')
            && self.masking.rules.contains(Rule::Json)
            && !self.is_matched(start..start + 1)
    }

    /// Takes the tokens of the JSON that begins at `start`; returns where it ended.
    pub(super) fn json(&mut self, start: usize) -> usize {
        let mut open = self.open(start);
        let mut depth = 0_usize;
        let mut telling = false;
        let mut at = start;
        while let Some(&byte) = self.message.get(at) {
            self.bound(&mut open);
            if self.is_matched(at..at + 1) {
                return self.leave(at, &open);
            }
            at = match byte {
                b'"' => match self.string(at, &mut telling, &mut open) {
                    Ok(end) => end,
                    Err(Stop::Broken) => return self.leave(at, &open),
                    Err(Stop::Full) => return open.start,
                },
                b'{' => {
                    depth += 1;
                    at + 1
                }
                b'}' if depth <= 1 => return self.leave(at + 1, &open),
                b'}' => {
                    depth -= 1;
                    at + 1
                }
                b'[' if !telling => self.array(at),
                _ if class::of(byte) & class::BLANK != 0 => {
                    if self.part(at, &mut open).is_err() {
                        return open.start;
                    }
                    open.start
                }
                b',' | b':' | b']' | b'[' => at + 1,
                _ => self.literal(at),
            };
        }
        self.close(&open, self.message.len());
        self.message.len()
    }

    fn open(&self, start: usize) -> Open {
        Open { start, variables: self.scanned.variables.len(), is_long: false }
    }

    /// Constant bytes a token may have.
    fn most_constants(&self) -> usize {
        self.masking.max_token_bytes.saturating_mul(CONSTANTS)
    }

    /// Lets the variables go of a token that has too many: between any two of them is a constant.
    fn bound(&mut self, open: &mut Open) {
        if self.scanned.variables.len() - open.variables > self.most_constants() + 1 {
            self.scanned.variables.truncate(open.variables);
            open.is_long = true;
        }
    }

    /// Ends the token at the blank at `at` and opens the next.
    fn part(&mut self, at: usize, open: &mut Open) -> Result<(), Stop> {
        self.close(open, at);
        *open = self.open(self.skip_blanks(at));
        let is_room = open.start < self.message.len() && !self.is_full(open.start);
        if is_room { Ok(()) } else { Err(Stop::Full) }
    }

    /// Ends the JSON at `at`; what is left of the token is text.
    fn leave(&mut self, at: usize, open: &Open) -> usize {
        let end = self.forced_end(at, self.token_end(at).0);
        self.mask_matched(at..end);
        self.close(open, end);
        end
    }

    fn close(&mut self, open: &Open, end: usize) {
        let variables = self.scanned.variables.get(open.variables..).unwrap_or_default();
        let variable: usize = variables.iter().map(|variable| (variable.end - variable.start) as usize).sum();
        if open.is_long || end - open.start > variable + self.most_constants() {
            self.scanned.variables.truncate(open.variables);
            self.scanned.variables.push(Variable::new(open.start..end, Rule::LongToken));
        }
        self.finish_spelled(open.start..end, open.variables);
    }

    /// Takes the string whose quote is at `at`; returns what follows it.
    fn string(&mut self, at: usize, telling: &mut bool, open: &mut Open) -> Result<usize, Stop> {
        let end = closing_quote(self.message, at + 1).ok_or(Stop::Broken)?;
        let text = at + 1..end;
        let matches = self.matches(text.clone());
        if matches.last().is_some_and(|found| found.end > end) {
            return Err(Stop::Broken);
        }
        if self.message.get(self.skip_blanks(end + 1)) == Some(&b':') {
            *telling = self.message.get(text.clone()).is_some_and(is_telling);
            self.words(text, false, open)?;
        } else if *telling {
            self.words(text, true, open)?;
        } else {
            let rule = if matches == [text.clone()] { Rule::UserMask } else { Rule::Json };
            self.scanned.variables.push(Variable::new(text, rule));
        }
        Ok(end + 1)
    }

    /// Takes the words of a string, which are constant unless they are `masked`.
    fn words(&mut self, text: Range<usize>, masked: bool, open: &mut Open) -> Result<(), Stop> {
        let mut at = text.start;
        while at < text.end {
            // Not the end of the token, which may be far beyond the string.
            let rest = self.message.get(at..text.end).unwrap_or_default();
            let is_blank = |byte: &u8| class::of(*byte) & class::BLANK != 0;
            let end = at + rest.iter().position(is_blank).unwrap_or(rest.len());
            let word = at..self.forced_end(at, end).min(text.end);
            at = word.end;
            if masked || self.is_matched(word.clone()) {
                self.mask_matched(word);
            }
            self.bound(open);
            if at < text.end {
                self.part(at, open)?;
                at = open.start;
            }
        }
        Ok(())
    }

    /// Takes an array of scalars as one variable, the bracket alone of any other.
    fn array(&mut self, at: usize) -> usize {
        let mut end = at + 1;
        while let Some(byte) = self.message.get(end) {
            match byte {
                b']' => {
                    self.scanned.variables.push(Variable::new(at + 1..end, Rule::Json));
                    return end + 1;
                }
                b'{' | b'[' | b'}' => break,
                b'"' => match closing_quote(self.message, end + 1) {
                    Some(quote) => end = quote + 1,
                    None => break,
                },
                _ => end += 1,
            }
        }
        at + 1
    }

    /// Takes a word outside of strings: variable when it has a digit or is a wildcard.
    fn literal(&mut self, at: usize) -> usize {
        let ends =
            |byte: &u8| matches!(byte, b',' | b'}' | b']' | b'"' | b'[' | b'{') || class::of(*byte) & class::BLANK != 0;
        let rest = self.message.get(at..).unwrap_or_default();
        let end = at + rest.iter().position(ends).unwrap_or(rest.len()).max(1);
        let word = self.message.get(at..end).unwrap_or_default();
        if word.iter().any(u8::is_ascii_digit) || word == b"<*>" {
            self.scanned.variables.push(Variable::new(at..end, Rule::Json));
        } else if self.is_matched(at..end) {
            self.mask_matched(at..end);
        }
        end
    }
}

/// Where the string that begins at `from` is closed; a quote after a backslash does not close it.
fn closing_quote(message: &[u8], from: usize) -> Option<usize> {
    let rest = message.get(from..)?;
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', rest.get(at..)?)?;
        if rest.get(at) == Some(&b'"') {
            return Some(from + at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use crate::template::{Masking, Skeleton};

    fn text(line: &str) -> String {
        let mut skeleton = Skeleton::new();
        skeleton.scan(line.as_bytes(), &Masking::default());
        String::from_utf8(skeleton.text(line.as_bytes())).unwrap()
    }

    #[test]
    fn keys_stay_and_values_go_but_those_that_tell_what_happened() {
        for (line, expected) in [
            (
                r#"{"level":"info","msg":"user ann logged in from 10.0.0.1","user":"ann b","n":-1.5e3,"ok":true}"#,
                r#"{"level":"info","msg":"user ann logged in from <*>","user":"<*>","n":<*>,"ok":true}"#,
            ),
            (r#"{"user": "ann b", "level": "warn"} done 17"#, r#"{"user": "<*>", "level": "warn"} done <*>"#),
            (r#"{ "a" : { "b" : "x" } , "c":null}"#, r#"{ "a" : { "b" : "<*>" } , "c":null}"#),
            (
                r#"{"tags":["a","b]"],"ids":[1, 2],"many":[{"k":"v"}]}"#,
                r#"{"tags":[<*>],"ids":[<*>],"many":[{"k":"<*>"}]}"#,
            ),
            (r#"{"msg":"say \"hi\" now","x":"a\\"}"#, r#"{"msg":"say \"hi\" now","x":"<*>"}"#),
            (r#"{"a  key":"x y","msg  ":"in  4"}"#, r#"{"a key":"<*>","msg ":"<*>"}"#),
            (r#"got {"user":"ann"}, 12ms"#, r#"got {"user":"<*>"}, <*>"#),
            (r#"{"user":"never closed"#, r#"{"user":"never closed"#),
            (r#"{"user":"open"#, r#"{"user":"open"#),
            (r#"{"a":<*>,"b":"<*>"}"#, r#"{"a":<*>,"b":"<*>"}"#),
            (r#"{"a":"1"}}{"b":"2"}"#, r#"{"a":"<*>"}}{"b":"<*>"}"#),
            ("{not json}", "{not json}"),
            ("{\"", "{\""),
        ] {
            assert_eq!(text(line), expected, "{line}");
        }
    }

    #[test]
    fn an_object_of_a_million_keys_and_one_nested_a_million_times_are_bounded() {
        let keys: String = (0..1_000_000).map(|n| format!("\"k{n}\":1,")).collect();
        assert_eq!(text(&format!("{{{keys}\"z\":1}}")), "<*>");
        assert_eq!(text(&"{\"a\":".repeat(1_000_000)), "<*>");
        assert_eq!(text(&format!("{{\"a\":\"{}\"}}", "x".repeat(10_000_000))), "{\"a\":\"<*>\"}");
        let messages = "\"msg\":\"x\",".repeat(1_000_000);
        assert_eq!(text(&format!("{{{messages}\"z\":1}}")), "<*>");
        let words = format!("{{\"msg\":\"{}\"}}", "a ".repeat(1_000_000));
        assert_eq!(text(&words).split(' ').count(), Masking::default().max_tokens + 1);
        assert!(text(&"{\"\\\"".repeat(1_000_000)).len() < 100_000);
    }
}
