//! Typed masking inside one token: which of its bytes are a variable.
//!
//! The rules, first match wins; none knows a system, a host or a vendor:
//!
//! | rule | example | becomes |
//! |---|---|---|
//! | path, two or more separators, `./` before it, or a query | `(/etc/httpd/conf)`, `C:\a\b`, `hdfs://nn:9000/x`, `/find?q=x` | `(<*>)`, `<*>` |
//! | value of `key=value`, unless it is letters and `_` alone | `uid=0,`, `{name=a.b` | `uid=<*>,`, `{name=<*>` |
//! | word with a digit (number, hex, uuid, ip, id, time), without a `.` or `:` at its end | `job_-42`, `10.0.0.1:80`, `12ms`, `17:` | `<*>`, `<*>:` |
//! | … and a list of such | `10.0.0.1,10.0.0.2` | `<*>` |
//! | MAC or IPv6 address that begins with letters or `::` | `ac:de:48:00:11:22`, `[fd::1]:443` | `<*>`, `[<*>]:<*>` |
//! | … after `word:`, `word/` or leader dots | `pid:17`, `HTTP/1.1`, `slot...7` | `pid:<*>`, `HTTP/<*>`, `slot...<*>` |
//! | hex of eight digits or more, without a digit | `deadbeef` | `<*>` |
//! | the text of a wildcard itself | `<*>` | `<*>` |
//! | a name with one short number between letters is a name | `io2_open()`, `log4j` | itself |
//! | so are letters with one digit at the end, unless they are a value | `eth0`, `R1`, `tty2` | itself |
//!
//! A name of the last kind has ten forms; more than a few of them in one place become a variable as other words do.

use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};

use super::kind::Kind;
use super::rule::{Rule, RuleSet};

/// A pattern of the user's that is not a regular expression.
#[derive(Debug, thiserror::Error)]
#[error("mask {name:?} is not a regular expression: {source}")]
pub struct MaskError {
    name: String,
    source: regex::Error,
}

/// Bytes of a message in which the user's masks are looked for.
const MOST_SEARCHED_BYTES: usize = 8 << 10;

/// What all searches of the user's masks in one message may cost: bytes from where each begins to where the searched text ends,
/// which it may read all, times the pattern's [weight](weight_of).
const MOST_WORK: usize = 1 << 20;

/// What one search may cost: a pattern of more than 256 KiB is looked for in fewer bytes.
const MOST_WORK_A_SEARCH: usize = 128 << 10;

/// Size of a compiled pattern up to which a byte costs 1.
const LIGHT_PATTERN_BYTES: usize = 16 << 10;

/// The user's own masks: what they match is one variable, whatever it looks like.
///
/// A pattern may read on from each of its matches to the end, and what a byte costs goes by the pattern's size. Both count against one budget a
/// message of a MiB, in the order of the masks; where it is spent a mask has no more matches. It does not depend on time, so that the
/// same lines give the same templates.
#[derive(Clone, Debug, Default)]
pub struct UserMasks {
    patterns: Vec<Pattern>,
    names: Vec<String>,
}

#[derive(Clone, Debug)]
struct Pattern {
    regex: Regex,
    weight: usize,
}

impl UserMasks {
    /// Compiles `(name, pattern)` pairs; earlier ones win where matches overlap.
    ///
    /// # Errors
    /// Names the first pattern that does not compile, with the place in it.
    pub fn new<'a>(masks: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, MaskError> {
        let mut compiled = Self::default();
        for (name, pattern) in masks {
            let pattern = Pattern::new(pattern).map_err(|source| MaskError { name: name.to_owned(), source })?;
            compiled.patterns.push(pattern);
            compiled.names.push(name.to_owned());
        }
        Ok(compiled)
    }

    /// No masks.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The names, in order.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The kind of what the first mask found that matches the whole of `value`: one of its own, or the built-in one it is named as. No mask does
    /// when that is longer than what it is looked for in.
    pub(super) fn kind_of(&self, value: &[u8]) -> Kind {
        let is_whole = |pattern: &Pattern| {
            value.len() <= pattern.searched_bytes()
                && pattern.regex.find(value).is_some_and(|hit| hit.range() == (0..value.len()))
        };
        let Some(at) = self.patterns.iter().position(is_whole) else { return Kind::Any };
        let built_in = self.names.get(at).and_then(|name| Kind::named(name.as_bytes()));
        built_in.or(u8::try_from(at).ok().map(Kind::User)).unwrap_or(Kind::Any)
    }

    /// Puts the non-empty, non-overlapping matches in `message` into `found`, ascending. A match that goes on where the
    /// search ends is taken to go on to the end of the message.
    pub(super) fn find(&self, message: &[u8], found: &mut Vec<Range<usize>>) {
        found.clear();
        let mut work = MOST_WORK;
        for pattern in &self.patterns {
            // Hits of one pattern never overlap; those of the patterns before are in order.
            let before = found.len();
            let searched = message.get(..pattern.searched_bytes()).unwrap_or(message);
            let (mut hits, mut at) = (pattern.regex.find_iter(searched), 0);
            while let Some(left) = work.checked_sub((searched.len() - at) * pattern.weight) {
                work = left;
                let Some(hit) = hits.next() else { break };
                at = hit.end();
                let end = if hit.end() == searched.len() { message.len() } else { hit.end() };
                let known = found.get(..before).unwrap_or_default();
                let next = known.get(known.partition_point(|known| known.end <= hit.start()));
                if !hit.is_empty() && next.is_none_or(|next| next.start >= end) {
                    found.push(hit.start()..end);
                }
            }
            found.sort_unstable_by_key(|range| range.start);
        }
    }
}

impl Pattern {
    fn new(pattern: &str) -> Result<Self, regex::Error> {
        let regex = Regex::new(pattern)?;
        Ok(Self { regex, weight: weight_of(pattern) })
    }

    fn searched_bytes(&self) -> usize {
        MOST_SEARCHED_BYTES.min(MOST_WORK_A_SEARCH / self.weight)
    }
}

/// What a byte of a search costs at the worst: the size of the compiled pattern, in units of [`LIGHT_PATTERN_BYTES`], as a power of two. The
/// crate tells that size only by whether it is within a limit.
fn weight_of(pattern: &str) -> usize {
    let fits = |weight: &usize| RegexBuilder::new(pattern).size_limit(weight * LIGHT_PATTERN_BYTES).build().is_ok();
    const MOST: u32 = 10;
    (0..MOST).map(|power| 1 << power).find(fits).unwrap_or(1 << MOST)
}

/// Classes of bytes, one bit each.
pub(super) mod class {
    /// `0`–`9`.
    pub(crate) const DIGIT: u8 = 1;
    /// ASCII letters and `_`; `$` counts as one.
    pub(crate) const LETTER: u8 = 2;
    /// Joins parts of one word: `. - : / @ # % + * \ & ~` and bytes beyond ASCII.
    pub(crate) const JOINER: u8 = 4;
    /// `/` and `\`.
    pub(crate) const SLASH: u8 = 8;
    /// `=`.
    pub(crate) const EQUALS: u8 = 16;
    /// Blank, tab, and the other ASCII white space.
    pub(crate) const BLANK: u8 = 32;
    /// `<`, with which the text of a wildcard begins.
    pub(crate) const OPEN_ANGLE: u8 = 64;
    /// Whatever no other class names: brackets, quotes, commas.
    pub(crate) const OTHER: u8 = 128;

    /// Class bits by byte.
    pub(crate) static OF: [u8; 256] = table();

    const fn table() -> [u8; 256] {
        let mut of = [OTHER; 256];
        let mut byte = 0;
        while byte < 256 {
            of[byte] = match byte as u8 {
                b'0'..=b'9' => DIGIT,
                b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' => LETTER,
                b'<' => OPEN_ANGLE,
                b'/' | b'\\' => JOINER | SLASH,
                b'.' | b'-' | b':' | b'@' | b'#' | b'%' | b'+' | b'*' | b'&' | b'~' | 0x80..=0xff => JOINER,
                b'=' => EQUALS,
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => BLANK,
                _ => OTHER,
            };
            byte += 1;
        }
        of
    }

    /// Class bits of one byte.
    #[inline(always)]
    pub(crate) fn of(byte: u8) -> u8 {
        OF[byte as usize]
    }
}

/// Some bytes of a message that are a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) start: u32,
    pub(super) end: u32,
    /// The rule that said so; of joined ones the first.
    pub(super) rule: Rule,
}

impl Variable {
    pub(super) fn new(range: Range<usize>, rule: Rule) -> Self {
        Self { start: range.start as u32, end: range.end as u32, rule }
    }

    pub(super) fn range(&self) -> Range<u32> {
        self.start..self.end
    }
}

/// Receives the variable parts of a token, ascending and disjoint, as offsets into the message.
pub(super) type Variables = Vec<Variable>;

/// Appends the variable parts of `message[token]`; the token is free of blanks, and `seen` has the class bits of its
/// bytes, or more.
pub(super) fn mask_token(message: &[u8], token: Range<usize>, seen: u8, rules: RuleSet, variables: &mut Variables) {
    let Some(text) = message.get(token.clone()) else { return };
    if seen & class::SLASH != 0
        && rules.contains(Rule::Path)
        && let Some(path) = path(text)
    {
        push(message, variables, Variable::new(token.start + path.start..token.start + path.end, Rule::Path));
        return;
    }
    let mut at = 0;
    let mut value_follows = false;
    while at < text.len() {
        let Some(&byte) = text.get(at) else { break };
        if byte == b'<' && text.get(at..at + 3) == Some(b"<*>") {
            push(message, variables, Variable::new(token.start + at..token.start + at + 3, Rule::Wildcard));
            at += 3;
            continue;
        }
        if class::of(byte) & (class::DIGIT | class::LETTER | class::JOINER) == 0 {
            value_follows = byte == b'=' && at > 0 && ends_a_key(text, at);
            at += 1;
            continue;
        }
        let (end, seen) = if begins_an_address(byte) && is_address(text, at) {
            address_end(text, at)
        } else {
            word_end(text, at, value_follows)
        };
        let word = text.get(at..end).unwrap_or_default();
        if let Some(rule) = rule_of(word, seen, value_follows, rules) {
            let closing = word.iter().rev().take_while(|byte| matches!(byte, b'.' | b':')).count();
            push(message, variables, Variable::new(token.start + at..token.start + end - closing, rule));
        }
        value_follows = false;
        at = end;
    }
}

/// Adds a variable, joined to the one before when they touch or only a comma is between them.
pub(super) fn push(message: &[u8], variables: &mut Variables, variable: Variable) {
    match variables.last_mut() {
        Some(last) if last.end == variable.start => last.end = variable.end,
        Some(last) if last.end + 1 == variable.start && message.get(last.end as usize) == Some(&b',') => {
            last.end = variable.end;
        }
        _ => variables.push(variable),
    }
}

fn ends_a_key(text: &[u8], equals: usize) -> bool {
    text.get(equals - 1).is_some_and(|byte| class::of(*byte) & class::LETTER != 0)
}

/// End of the word that begins at `start`, and the classes of its bytes. A word without a digit ends after its `:` or
/// `/`, so that what follows is looked at by itself; a value keeps them.
fn word_end(text: &[u8], start: usize, is_value: bool) -> (usize, u8) {
    let mut seen = 0;
    let mut at = start;
    while seen & class::DIGIT == 0 && !is_value {
        let Some((byte, bits)) = word_byte(text, at) else { return (at, seen) };
        seen |= bits;
        at += 1;
        if byte == b':' || byte == b'/' {
            return (at, seen);
        }
        if byte == b'.' && text.get(at) == Some(&b'.') {
            return (at + text.iter().skip(at).take_while(|byte| **byte == b'.').count(), seen);
        }
    }
    while let Some((_, bits)) = word_byte(text, at) {
        seen |= bits;
        at += 1;
    }
    (at, seen)
}

/// Bytes of an address of letters alone.
pub(super) const SHORTEST_ADDRESS: usize = 15;

/// Whether an address may begin with `byte` that [`word_end`] would take apart: one with a digit before the first `:` it does not.
#[inline(always)]
fn begins_an_address(byte: u8) -> bool {
    matches!(byte, b'a'..=b'f' | b'A'..=b'F' | b':')
}

/// Whether a MAC or an IPv6 address begins at `start`: groups of hex digits with `:` between them. Six of two digits; eight
/// of up to four; or fewer with one `::` among them, and a decimal digit, since words have that, too (`cafe::add`).
fn is_address(text: &[u8], start: usize) -> bool {
    const MOST_GROUPS: usize = 8;
    let (mut groups, mut pairs, mut gaps, mut has_digit) = (0, 0, 0, false);
    let mut rest = text.get(start..).unwrap_or_default();
    if rest.first() == Some(&b':') {
        let Some(after) = rest.strip_prefix(b"::") else { return false };
        (rest, gaps) = (after, 1);
    }
    loop {
        let digits = rest.iter().take(5).take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (group, after) = rest.split_at(digits.min(rest.len()));
        has_digit |= group.iter().any(u8::is_ascii_digit);
        let is_whole = after.first().is_none_or(|byte| class::of(*byte) & (class::DIGIT | class::LETTER) == 0);
        if digits > 4 || !is_whole {
            return false;
        }
        groups += usize::from(digits > 0);
        pairs += usize::from(digits == 2);
        match after {
            [b':', b':', ..] if digits > 0 => {
                gaps += 1;
                rest = after.get(2..).unwrap_or_default();
            }
            [b':', next, ..] if digits > 0 && next.is_ascii_hexdigit() && groups < MOST_GROUPS => {
                rest = after.get(1..).unwrap_or_default();
            }
            _ => break,
        }
    }
    match gaps {
        0 => groups == MOST_GROUPS || (groups == 6 && pairs == 6),
        _ => gaps == 1 && groups > 0 && groups < MOST_GROUPS && has_digit,
    }
}

/// End of the word that begins with an address, a zone or a length after it included, and the classes of its bytes.
fn address_end(text: &[u8], start: usize) -> (usize, u8) {
    let mut seen = 0;
    let mut at = start;
    while let Some((_, bits)) = word_byte(text, at) {
        seen |= bits;
        at += 1;
    }
    (at, seen)
}

/// Whether a token without a digit has an address of letters alone.
pub(super) fn has_address(text: &[u8]) -> bool {
    const LEAST_COLONS: usize = 5;
    let colons = text.iter().filter(|byte| **byte == b':').count();
    let may_begin = |at: usize| at == 0 || text.get(at - 1).is_some_and(|byte| !byte.is_ascii_alphanumeric());
    colons >= LEAST_COLONS && (0..text.len()).any(|at| may_begin(at) && is_address(text, at))
}

/// A byte of a word, and its class bits.
#[inline(always)]
fn word_byte(text: &[u8], at: usize) -> Option<(u8, u8)> {
    let byte = *text.get(at)?;
    let bits = class::of(byte);
    (bits & (class::DIGIT | class::LETTER | class::JOINER) != 0).then_some((byte, bits))
}

/// Letters and `_` alone: the value of a key may be one of a few words, and how many there are is not for one line to tell.
fn is_plain_word(word: &[u8]) -> bool {
    word.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
}

/// The rule that makes a word a variable; `seen` are the classes of its bytes.
fn rule_of(word: &[u8], seen: u8, is_value: bool, rules: RuleSet) -> Option<Rule> {
    let has_digit = seen & class::DIGIT != 0;
    let is_variable = if has_digit {
        !(is_name(word) || (!is_value && is_numbered(word)))
    } else {
        is_bare_hex(word) || (word.len() >= SHORTEST_ADDRESS && is_address(word, 0))
    };
    let rule = if has_digit { Rule::Number } else { Rule::Hex };
    if is_variable && rules.contains(rule) {
        return Some(rule);
    }
    (is_value && rules.contains(Rule::KeyValue) && !is_plain_word(word)).then_some(Rule::KeyValue)
}

/// Eight hex digits or more, all of them letters.
pub(super) fn is_bare_hex(word: &[u8]) -> bool {
    word.len() >= 8 && word.iter().all(u8::is_ascii_hexdigit)
}

/// One run of one or two digits with a letter on both sides, and no other joiner than `.` and `-`.
fn is_name(word: &[u8]) -> bool {
    let Some(first) = word.iter().position(u8::is_ascii_digit).filter(|first| *first > 0) else { return false };
    let digits = word.iter().skip(first).take_while(|byte| byte.is_ascii_digit()).count();
    let after = word.get(first + digits..).unwrap_or_default();
    let letter = |byte: Option<&u8>| byte.is_some_and(|b| class::of(*b) & class::LETTER != 0);
    let plain = |byte: &u8| class::of(*byte) & class::LETTER != 0 || matches!(byte, b'.' | b'-');
    digits <= 2
        && letter(word.get(first - 1))
        && letter(after.first())
        && word.get(..first).is_some_and(|before| before.iter().all(plain))
        && after.iter().all(plain)
}

/// Letters and one digit at the end.
fn is_numbered(word: &[u8]) -> bool {
    let Some((last, letters)) = word.split_last() else { return false };
    last.is_ascii_digit() && !letters.is_empty() && letters.iter().all(u8::is_ascii_alphabetic)
}

/// The path in a token, between opening brackets or quotes and closing punctuation.
fn path(text: &[u8]) -> Option<Range<usize>> {
    let start = text.iter().position(|b| !matches!(b, b'(' | b'[' | b'{' | b'<' | b'"' | b'\''))?;
    let end = text
        .iter()
        .rposition(|b| !matches!(b, b')' | b']' | b'}' | b'>' | b'"' | b'\'' | b',' | b';' | b':' | b'.'))?
        + 1;
    let body = text.get(start..end)?;
    if [&b"./"[..], b"../", b"~/"].iter().any(|relative| body.starts_with(relative)) {
        return Some(start..end);
    }
    let is_slash = |byte: &u8| class::of(*byte) & class::SLASH != 0;
    if !body.get(root(body)?).is_some_and(is_slash) {
        return None;
    }
    // Not a search for both: what that is made ready with takes longer than most tokens.
    if memchr::memchr_iter(b'\\', body).any(|at| body.get(at + 1) == Some(&b'"')) {
        return None;
    }
    let has_second_slash = body.iter().filter(|byte| is_slash(byte)).nth(1).is_some();
    (has_second_slash || body.contains(&b'?') && body.contains(&b'=')).then_some(start..end)
}

/// Where a path's first separator must stand: after `scheme:` or `X:`, or at the start.
fn root(body: &[u8]) -> Option<usize> {
    let letters = body.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    match body.get(letters) {
        _ if letters == 0 => Some(0),
        Some(b':') if letters <= 8 => Some(letters + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table's naive twin.
    fn class_of(byte: u8) -> u8 {
        let letter = byte.is_ascii_alphabetic() || byte == b'_' || byte == b'$';
        let joiner = b".-/:@#%+*\\&~".contains(&byte) || byte >= 0x80;
        let slash = byte == b'/' || byte == b'\\';
        let blank = byte.is_ascii_whitespace() || byte == 0x0b;
        let bits = [
            (byte.is_ascii_digit(), class::DIGIT),
            (letter, class::LETTER),
            (joiner, class::JOINER),
            (slash, class::SLASH),
            (byte == b'=', class::EQUALS),
            (blank, class::BLANK),
            (byte == b'<', class::OPEN_ANGLE),
        ];
        let bits = bits.into_iter().filter(|(is, _)| *is).fold(0, |all, (_, bit)| all | bit);
        if bits == 0 { class::OTHER } else { bits }
    }

    #[test]
    fn the_table_of_classes_says_of_every_byte_what_its_naive_twin_says() {
        (0..=255).for_each(|byte| assert_eq!(class::of(byte), class_of(byte), "{byte:#04x}"));
    }

    fn masked(token: &str) -> String {
        let mut variables = Vec::new();
        mask_token(token.as_bytes(), 0..token.len(), u8::MAX, RuleSet::ALL, &mut variables);
        let mut out = token.to_owned();
        for variable in variables.iter().rev() {
            out.replace_range(variable.start as usize..variable.end as usize, "<*>");
        }
        out
    }

    #[test]
    fn masks_what_the_table_promises() {
        for (token, expected) in [
            ("(/etc/httpd/conf)", "(<*>)"),
            ("C:\\a\\b.dll,", "<*>,"),
            ("hdfs://nn:9000/x", "<*>"),
            ("/find?q=wool", "<*>"),
            ("and/or", "and/or"),
            ("\\\"hi\\\"", "\\\"hi\\\""),
            ("./run:", "<*>:"),
            ("eth0", "eth0"),
            ("(tty2)", "(tty2)"),
            ("eth12", "<*>"),
            ("uid=a1", "uid=<*>"),
            ("17:", "<*>:"),
            ("10.0.0.1.", "<*>."),
            ("...", "..."),
            ("action=ACTION_UP,", "action=ACTION_UP,"),
            ("uid=0,", "uid=<*>,"),
            ("{name=a.b", "{name=<*>"),
            ("a=1,b=2", "a=<*>,b=<*>"),
            ("force=false,", "force=false,"),
            ("10.0.0.1,10.0.0.2", "<*>"),
            ("slot.........7", "slot.........<*>"),
            ("ruser=", "ruser="),
            ("job_-4207516339021487753", "<*>"),
            ("10.0.0.1:80", "<*>"),
            ("pid:17", "pid:<*>"),
            ("HTTP/1.1", "HTTP/<*>"),
            ("ac:de:48:00:11:22", "<*>"),
            ("(AC:DE:48:00:11:22),", "(<*>),"),
            ("de:ad:be:ef:ca:fe", "<*>"),
            ("hwaddr:de:ad:be:ef:ca:fe.", "hwaddr:<*>."),
            ("00:1a:2b:3c:4d:5e", "<*>"),
            ("::1", "<*>"),
            ("fdaa:bbcc::1", "<*>"),
            ("[fdaa::1]:443", "[<*>]:<*>"),
            ("fe80::a%eth0:", "<*>:"),
            ("::ffff:10.0.0.1", "<*>"),
            ("fd00:b:c:d:e:f:a:b/64", "<*>"),
            ("fdaa:b:c:d:e:f:a:b", "<*>"),
            ("add:dead:", "add:dead:"),
            ("add:17", "add:<*>"),
            ("cafe::add", "cafe::add"),
            ("a:b:c:d:e:f", "a:b:c:d:e:f"),
            ("ab:cd:ef:ab:cd:efg", "ab:cd:ef:ab:cd:efg"),
            ("face::bad::1", "face::<*>"),
            ("std::io::Error", "std::io::Error"),
            ("::", "::"),
            (":::1", ":<*>"),
            ("deadbeef", "<*>"),
            ("feedback", "feedback"),
            ("io2_open()", "io2_open()"),
            ("log4j", "log4j"),
            ("node-246", "<*>"),
            ("(12ms)", "(<*>)"),
            ("succeeded", "succeeded"),
            ("=", "="),
            ("<<*>>", "<<*>>"),
            ("", ""),
        ] {
            assert_eq!(masked(token), expected, "{token}");
        }
    }

    #[test]
    fn a_wrong_user_mask_names_itself_and_the_place() {
        let error = UserMasks::new([("order_id", "ord-(")]).unwrap_err().to_string();
        assert!(error.contains("order_id") && error.contains("unclosed group"), "{error}");
    }

    #[test]
    fn empty_matches_and_overlaps_of_user_masks_are_dropped() {
        let masks = UserMasks::new([("empty", "x*"), ("a", "bc"), ("b", "cd")]).unwrap();
        assert_eq!(found(&masks, b"abcdx"), [1..3, 4..5]);
    }

    fn found(masks: &UserMasks, message: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::from([0..1, 3..4]);
        masks.find(message, &mut found);
        found
    }

    #[test]
    fn a_pattern_that_reads_on_from_every_match_takes_bounded_time() {
        let masks = UserMasks::new([("reads_on", "[0-9](.*end)?"), ("rest", "x.*")]).unwrap();
        let line = [&b"1 ".repeat(5_000_000)[..], b"x y"].concat();
        let hits = found(&masks, &line).len();
        assert_eq!(hits, 130, "130 × 8 KiB are a MiB, nearly: of each byte there are so many looks at the most");
        let line = [b"x", &b" 1".repeat(5_000_000)[..]].concat();
        let rest = found(&UserMasks::new([("rest", "x.*")]).unwrap(), &line);
        assert_eq!((rest.len(), &rest[0]), (1, &(0..line.len())), "to the end");
    }

    #[test]
    fn all_masks_together_take_what_one_may_and_the_first_come_first() {
        let line = b"1 x ".repeat(2_000);
        let one = found(&UserMasks::new([("one", "[0-9](.*end)?")]).unwrap(), &line);
        let names: Vec<String> = (0..64).map(|n| format!("m{n}")).collect();
        let masks = names
            .iter()
            .enumerate()
            .map(|(n, name)| (name.as_str(), if n == 0 { "[0-9](.*end)?" } else { "x(.*end)?" }));
        assert_eq!(found(&UserMasks::new(masks).unwrap(), &line), one);
        let short = b"1 x ".repeat(50);
        assert_eq!(found(&UserMasks::new([("one", "[0-9]"), ("two", "x")]).unwrap(), &short).len(), 100);
    }

    #[test]
    fn a_large_pattern_is_looked_for_in_less_and_less_often() {
        assert_eq!([r"ORD-[0-9]+", r"(?:[a-z ]{1,40}){1,10}X", r"\w{1,63}"].map(weight_of), [1, 4, 256]);
        let line = b"a ".repeat(4_000);
        let hits = |pattern| found(&UserMasks::new([("mask", pattern)]).unwrap(), &line).len();
        assert_eq!(hits("(?:[a-z ]{1,40}){1,10}X|[a-z]"), 32);
        assert_eq!(hits(r"\w{1,63}"), 8);
        let all = found(&UserMasks::new([("mask", r"\w{1,63}x|a.*")]).unwrap(), &line);
        assert_eq!((all.len(), &all[0]), (1, &(0..line.len())), "a match to the end of what is looked at goes on");
    }
}
