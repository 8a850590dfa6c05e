//! Shapes of text that look beyond one word, or at the whole of a short one.

use std::ops::Range;

use super::mask::class;

/// Brackets or quotes with nothing between them, standing alone.
pub(super) fn is_empty_pair(text: &[u8]) -> bool {
    matches!(text, b"()" | b"[]" | b"{}" | b"\"\"" | b"''")
}

/// Length of the size unit a token begins with, when nothing but closing punctuation follows.
#[inline]
pub(super) fn size_unit(text: &[u8]) -> Option<usize> {
    // Most short words are told by their first letter.
    if !matches!(text.first()?, b'B' | b'K' | b'k' | b'M' | b'G' | b'T' | b'P') {
        return None;
    }
    let letters = text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let closing = text.iter().skip(letters).all(u8::is_ascii_punctuation);
    let (unit, _) = text.split_at_checked(letters)?;
    let prefix = unit.strip_suffix(b"B").map(|unit| unit.strip_suffix(b"i").unwrap_or(unit));
    let known = matches!(prefix, Some([] | [b'K' | b'k' | b'M' | b'G' | b'T' | b'P']));
    (known && closing).then_some(letters)
}

/// Length of a leading `HTTP/1.1`.
#[inline]
pub(super) fn protocol_version(text: &[u8]) -> Option<usize> {
    let version = text.strip_prefix(b"HTTP/")?;
    let digits = version.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    (digits > 0).then_some(5 + digits)
}

/// The text between the quotes of `key="…"`, blanks included, at most `max_bytes` long; nothing when the key is one
/// whose value tells what happened.
pub(super) fn quoted_value(message: &[u8], start: usize, end: usize, max_bytes: usize) -> Option<Range<usize>> {
    let text = message.get(start..end)?;
    let equals = text.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    let quote = *text.get(equals + 1).filter(|byte| matches!(byte, b'"' | b'\''))?;
    if is_telling(text.get(..equals)?) {
        return None;
    }
    let value = start + equals + 2;
    let window = message.get(value..).map(|rest| rest.get(..max_bytes).unwrap_or(rest))?;
    memchr::memchr(quote, window).map(|length| value..value + length)
}

/// Keys whose value is prose or one of a few words, by the customs of logfmt and JSON logs: such a value is read as
/// text, since it is what makes the line one of its kind.
pub(super) fn is_telling(key: &[u8]) -> bool {
    const KEYS: [&str; 34] = [
        "action",
        "category",
        "code",
        "component",
        "description",
        "detail",
        "details",
        "err",
        "error",
        "event",
        "exception",
        "kind",
        "level",
        "log",
        "logger",
        "lvl",
        "message",
        "method",
        "module",
        "msg",
        "op",
        "operation",
        "outcome",
        "phase",
        "reason",
        "result",
        "severity",
        "stage",
        "state",
        "status",
        "step",
        "text",
        "title",
        "type",
    ];
    let key = key.rsplit(|byte| !byte.is_ascii_alphanumeric()).next().unwrap_or_default();
    KEYS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(key))
}

/// The word `user`, after a quote or a bracket or not.
#[inline(always)]
pub(super) fn is_user(text: &[u8]) -> bool {
    let Some((before, word)) = text.split_last_chunk::<4>() else { return false };
    word.eq_ignore_ascii_case(b"user") && before.iter().all(|byte| matches!(byte, b'"' | b'\'' | b'(' | b'['))
}

/// A word after which `user` is followed by who it is: of a sentence about the user it may be anything.
pub(super) fn introduces_user(token: &[u8]) -> bool {
    const WORDS: [&str; 6] = ["for", "of", "by", "as", "from", "to"];
    let word = token.rsplit(|byte| !byte.is_ascii_alphabetic()).next().unwrap_or_default();
    WORDS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(word))
}

/// The name in a token that follows the word `user`: between quotes or brackets and closing punctuation; letters and
/// what names have between them. Words that continue a sentence are none.
pub(super) fn user_name(text: &[u8]) -> Option<Range<usize>> {
    const NO_NAMES: [&str; 34] = [
        "account",
        "agent",
        "and",
        "as",
        "at",
        "authentication",
        "by",
        "cannot",
        "data",
        "does",
        "for",
        "from",
        "has",
        "id",
        "in",
        "input",
        "interface",
        "is",
        "logged",
        "mode",
        "name",
        "not",
        "of",
        "on",
        "or",
        "process",
        "request",
        "session",
        "space",
        "to",
        "unknown",
        "was",
        "with",
        "without",
    ];
    let start = text.iter().position(|byte| !matches!(byte, b'\'' | b'"' | b'<' | b'(' | b'['))?;
    let end = text.iter().rposition(u8::is_ascii_alphanumeric)? + 1;
    let name = text.get(start..end)?;
    let is_word = name.iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_' | b'.' | b'$'));
    let is_no_name = NO_NAMES.iter().any(|word| word.as_bytes().eq_ignore_ascii_case(name));
    (is_word && !is_no_name).then_some(start..end)
}

pub(super) fn is_calendar_word(text: &[u8]) -> bool {
    is_weekday(text) || is_month(text)
}

fn is_weekday(text: &[u8]) -> bool {
    matches!(text, b"Mon" | b"Tue" | b"Wed" | b"Thu" | b"Fri" | b"Sat" | b"Sun")
}

fn is_month(text: &[u8]) -> bool {
    matches!(
        text,
        b"Jan" | b"Feb" | b"Mar" | b"Apr" | b"May" | b"Jun" | b"Jul" | b"Aug" | b"Sep" | b"Oct" | b"Nov" | b"Dec"
    )
}

/// End of `[Www ]Mmm D hh:mm[:ss][ zone][ yyyy]` at `start`.
pub(super) fn calendar_time(message: &[u8], start: usize) -> Option<usize> {
    let mut words = Words { message, at: start };
    let mut word = words.next()?;
    if is_weekday(slice_usize(message, &word)) {
        word = words.next()?;
    }
    let is = |word: &Range<usize>, test: fn(&[u8]) -> bool| test(slice_usize(message, word));
    if !is(&word, is_month) || !is(&words.next()?, is_day) {
        return None;
    }
    let time = words.next().filter(|word| is(word, is_time_of_day))?;
    let mut end = time.end;
    if let Some(next) = words.next() {
        if is(&next, is_year) {
            end = next.end;
        } else if is(&next, is_zone)
            && let Some(year) = words.next().filter(|word| is(word, is_year))
        {
            end = year.end;
        }
    }
    Some(end)
}

fn slice_usize<'m>(message: &'m [u8], range: &Range<usize>) -> &'m [u8] {
    message.get(range.clone()).unwrap_or_default()
}

fn is_day(text: &[u8]) -> bool {
    matches!(text.len(), 1 | 2) && text.iter().all(u8::is_ascii_digit)
}

fn is_year(text: &[u8]) -> bool {
    text.len() == 4 && text.iter().all(u8::is_ascii_digit)
}

fn is_zone(text: &[u8]) -> bool {
    matches!(text.len(), 3 | 4) && text.iter().all(u8::is_ascii_uppercase)
}

fn is_time_of_day(text: &[u8]) -> bool {
    matches!(text.len(), 5 | 8..=15)
        && text.get(2) == Some(&b':')
        && text.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b','))
}

/// Words between blanks.
struct Words<'m> {
    message: &'m [u8],
    at: usize,
}

impl Iterator for Words<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let blank = |byte: &u8| class::of(*byte) & class::BLANK != 0;
        let rest = self.message.get(self.at..)?;
        let start = self.at + rest.iter().position(|byte| !blank(byte))?;
        let length = self.message.get(start..)?.iter().take_while(|byte| !blank(byte)).count();
        self.at = start + length;
        Some(start..self.at)
    }
}
