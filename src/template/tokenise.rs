//! Line → [`Skeleton`]: tokens, the variable parts of each, and one hash over all that is constant.
//!
//! Tokens are what runs of blanks separate. Rules that look beyond one token:
//!
//! | rule | example | becomes |
//! |---|---|---|
//! | calendar time | `Mon Jul  4 14:52:27 2005` | `<*>` |
//! | number and unit of size | `14.2 KB)` | `<*>)` |
//! | path and protocol version | `"GET /a/b HTTP/1.1"` | `"GET <*>"` |
//! | an empty value | `()`, `""` alone | `(<*>)`, `"<*>"` |
//! | quoted value of a key | `tag="View Lock",` | `tag="<*>",` |
//!
//! Bounds: after [`MAX_TOKENS`] tokens the rest of the line is one variable, and so is a token longer than
//! [`MAX_TOKEN_BYTES`]; a line longer than 4 GiB is cut there.
//!
//! A skeleton is scratch space: one per lane, reused, so that a known shape allocates nothing.

use std::borrow::Cow;
use std::ops::Range;

use super::hash;
use super::mask::{self, UserMasks, class};

/// How a variable is written in a template.
pub const WILDCARD: &str = "<*>";

/// Tokens looked at one by one; the rest of the line is one variable.
pub const MAX_TOKENS: usize = 128;

/// A longer token is a variable as a whole.
pub const MAX_TOKEN_BYTES: usize = 1_024;

/// Hash of a token that is a variable as a whole.
pub(super) const WILDCARD_TOKEN: u64 = hash::combine(0, hash::WILDCARD_HASH);

/// One token of a line.
#[derive(Clone, Copy, Debug)]
struct Token {
    start: u32,
    end: u32,
    /// Range of the token's variable parts in [`Skeleton::variables`].
    variables: (u32, u32),
    hash: u64,
}

/// What is constant and what is variable in one line; reused from line to line.
#[derive(Debug, Default)]
pub struct Skeleton {
    tokens: Vec<Token>,
    variables: mask::Variables,
    hash: u64,
}

impl Skeleton {
    /// An empty skeleton.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the content by the skeleton of `message`.
    pub fn scan(&mut self, message: &[u8], masks: &UserMasks) {
        self.tokens.clear();
        self.variables.clear();
        let message = message.get(..u32::MAX as usize).unwrap_or(message);
        let forced = if masks.is_empty() { Vec::new() } else { masks.ranges(message) };
        Scanner { message, skeleton: self, forced: &forced }.run();
        self.hash = self.token_hashes().fold(0, hash::combine);
    }

    /// Hash over all that is constant, and where the variables stand.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// No tokens: the line was empty or blank.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// One hash a token, in order.
    pub(super) fn token_hashes(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.tokens.iter().map(|token| token.hash)
    }

    /// The skeleton's text: tokens joined by one blank, variables as [`WILDCARD`].
    pub fn text(&self, message: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(message.len().min(512));
        for token in &self.tokens {
            if !text.is_empty() {
                text.push(b' ');
            }
            for piece in self.pieces(token) {
                match piece {
                    Piece::Constant(range) => text.extend_from_slice(slice(message, &range)),
                    Piece::Variable(_) => text.extend_from_slice(WILDCARD.as_bytes()),
                }
            }
        }
        text
    }

    /// The text at each variable of a template that this skeleton belongs to; `is_whole` tells of each token whether
    /// the template has a wildcard in the place of the whole of it.
    pub(super) fn parameters<'m>(&self, message: &'m [u8], is_whole: impl Fn(usize) -> bool) -> Vec<Cow<'m, str>> {
        let mut found = Vec::new();
        for (number, token) in self.tokens.iter().enumerate() {
            if is_whole(number) {
                found.push(String::from_utf8_lossy(slice(message, &(token.start..token.end))));
                continue;
            }
            for piece in self.pieces(token) {
                if let Piece::Variable(range) = piece {
                    found.push(String::from_utf8_lossy(slice(message, &range)));
                }
            }
        }
        found
    }

    fn pieces(&self, token: &Token) -> impl Iterator<Item = Piece> {
        pieces(token.start..token.end, variables_of(&self.variables, token))
    }
}

fn variables_of<'v>(variables: &'v [Range<u32>], token: &Token) -> &'v [Range<u32>] {
    variables.get(token.variables.0 as usize..token.variables.1 as usize).unwrap_or_default()
}

fn slice<'m>(message: &'m [u8], range: &Range<u32>) -> &'m [u8] {
    message.get(range.start as usize..range.end as usize).unwrap_or_default()
}

/// A stretch of a token.
enum Piece {
    Constant(Range<u32>),
    Variable(Range<u32>),
}

/// The stretches of `token`, in order, given its variable ones.
fn pieces(token: Range<u32>, variables: &[Range<u32>]) -> impl Iterator<Item = Piece> {
    let mut at = token.start;
    let end = token.end;
    variables.iter().cloned().map(Some).chain([None]).flat_map(move |variable| {
        let until = variable.as_ref().map_or(end, |variable| variable.start);
        let constant = (at < until).then_some(Piece::Constant(at..until));
        at = variable.as_ref().map_or(end, |variable| variable.end);
        constant.into_iter().chain(variable.map(Piece::Variable))
    })
}

fn hash_pieces(message: &[u8], token: Range<u32>, variables: &[Range<u32>]) -> u64 {
    if variables.is_empty() {
        return hash::bytes(slice(message, &token));
    }
    pieces(token, variables).fold(0, |seen, piece| match piece {
        Piece::Constant(range) => hash::combine(seen, hash::bytes(slice(message, &range))),
        Piece::Variable(_) => hash::combine(seen, hash::WILDCARD_HASH),
    })
}

/// Hashes of the tokens of a template's text, as [`Skeleton::scan`] would give them for a line of that template.
pub(super) fn hashes_of_text(text: &[u8]) -> Vec<u64> {
    let wildcard = memchr::memmem::Finder::new(WILDCARD);
    let mut tokens = Vec::new();
    for token in text.split(|byte| *byte == b' ').filter(|token| !token.is_empty()) {
        let variables: Vec<_> = wildcard.find_iter(token).map(|at| at as u32..(at + WILDCARD.len()) as u32).collect();
        tokens.push(hash_pieces(token, 0..token.len() as u32, &variables));
    }
    tokens
}

/// Hash of a whole skeleton from the hashes of its tokens.
pub(super) fn skeleton_hash(tokens: impl IntoIterator<Item = u64>) -> u64 {
    tokens.into_iter().fold(0, hash::combine)
}

struct Scanner<'a> {
    message: &'a [u8],
    skeleton: &'a mut Skeleton,
    /// Matches of the user's masks, ascending.
    forced: &'a [Range<usize>],
}

impl Scanner<'_> {
    fn run(mut self) {
        let mut at = 0;
        loop {
            at = self.skip_blanks(at);
            if at >= self.message.len() {
                return;
            }
            if self.skeleton.tokens.len() == MAX_TOKENS {
                self.push_variable(at..self.message.len());
                return;
            }
            at = self.token(at);
        }
    }

    #[inline(always)]
    fn skip_blanks(&self, mut at: usize) -> usize {
        while self.message.get(at).is_some_and(|byte| class::of(*byte) & class::BLANK != 0) {
            at += 1;
        }
        at
    }

    /// End of the token that begins at `start`, and the classes of its bytes.
    #[inline(always)]
    fn token_end(&self, start: usize) -> (usize, u8) {
        let mut seen = 0;
        let mut end = start;
        while let Some(byte) = self.message.get(end) {
            let bits = class::of(*byte);
            if bits & class::BLANK != 0 {
                break;
            }
            seen |= bits;
            end += 1;
        }
        (end, seen)
    }

    /// Takes the token that begins at `start`; returns where it ended.
    #[inline(always)]
    fn token(&mut self, start: usize) -> usize {
        let (end, seen) = self.token_end(start);
        if !self.forced.is_empty() {
            return self.forced_token(start, end);
        }
        if seen & (class::DIGIT | class::SLASH | class::EQUALS | class::OPEN_ANGLE) != 0 {
            return self.masked_token(start, end);
        }
        self.plain_token(start, end)
    }

    /// A token in which nothing but its whole can be variable.
    #[inline(always)]
    fn plain_token(&mut self, start: usize, end: usize) -> usize {
        let text = self.message.get(start..end).unwrap_or_default();
        if text.len() <= 5 {
            if is_empty_pair(text) {
                self.push_variable_within(start + 1..start + 1, start..end);
                return end;
            }
            if text.len() == 3
                && is_calendar_word(text)
                && let Some(end) = calendar_time(self.message, start)
            {
                self.push_variable(start..end);
                return end;
            }
            if let Some(unit) = size_unit(text)
                && self.previous_is_number()
            {
                self.extend_variable(start + unit, end);
                return end;
            }
        } else if text.len() > MAX_TOKEN_BYTES || mask::is_bare_hex(text) {
            self.push_variable(start..end);
            return end;
        }
        let at = self.skeleton.variables.len() as u32;
        self.skeleton.tokens.push(Token {
            start: start as u32,
            end: end as u32,
            variables: (at, at),
            hash: hash::bytes(text),
        });
        end
    }

    fn masked_token(&mut self, start: usize, end: usize) -> usize {
        let text = self.message.get(start..end).unwrap_or_default();
        if text.len() > MAX_TOKEN_BYTES {
            self.push_variable(start..end);
            return end;
        }
        if let Some(version) = protocol_version(text)
            && self.previous_is_path()
        {
            self.extend_variable(start + version, end);
            return end;
        }
        if let Some((value, closing)) = quoted_value(self.message, start, end) {
            let end = self.token_end(closing).0;
            self.push_token(start..end, |_, variables| variables.push(value as u32..closing as u32));
            return end;
        }
        self.push_token(start..end, |message, variables| mask::mask_token(message, start..end, variables));
        end
    }

    /// A token that user masks may reach into or beyond: it ends where neither a token nor a match goes on.
    fn forced_token(&mut self, start: usize, mut end: usize) -> usize {
        let touching = |range: &&Range<usize>, end: usize| range.start < end && range.end > start;
        while let Some(beyond) = self.forced.iter().find(|range| touching(range, end) && range.end > end) {
            end = self.token_end(beyond.end).0;
        }
        let forced = self.forced;
        self.push_token(start..end, |message, variables| {
            let mut at = start;
            for range in forced.iter().filter(|range| touching(range, end)) {
                mask::mask_token(message, at..range.start.max(at), variables);
                variables.push(range.start.max(start) as u32..range.end as u32);
                at = range.end;
            }
            mask::mask_token(message, at..end, variables);
        });
        end
    }

    fn push_token(&mut self, token: Range<usize>, mask: impl FnOnce(&[u8], &mut mask::Variables)) {
        // A variable of this token must not be joined to one of the token before.
        let first = self.skeleton.variables.len();
        mask(self.message, &mut self.skeleton.variables);
        let last = self.skeleton.variables.len();
        let (start, end) = (token.start as u32, token.end as u32);
        let variables = self.skeleton.variables.get(first..).unwrap_or_default();
        let hash = hash_pieces(self.message, start..end, variables);
        self.skeleton.tokens.push(Token { start, end, variables: (first as u32, last as u32), hash });
    }

    fn push_variable(&mut self, range: Range<usize>) {
        self.push_variable_within(range.clone(), range);
    }

    fn push_variable_within(&mut self, variable: Range<usize>, token: Range<usize>) {
        self.push_token(token, |_, variables| variables.push(variable.start as u32..variable.end as u32));
    }

    /// The token before is a number and nothing after it.
    fn previous_is_number(&self) -> bool {
        self.last_variable().is_some_and(|(token, variable)| {
            token.end == variable.end
                && slice(self.message, &variable).iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
        })
    }

    /// The token before ends in a path.
    fn previous_is_path(&self) -> bool {
        self.last_variable().is_some_and(|(token, variable)| {
            token.end == variable.end && slice(self.message, &variable).contains(&b'/')
        })
    }

    fn last_variable(&self) -> Option<(&Token, Range<u32>)> {
        let token = self.skeleton.tokens.last()?;
        let variable = variables_of(&self.skeleton.variables, token).last()?;
        Some((token, variable.clone()))
    }

    /// Lets the last token go on until `end`, and its last variable until `variable_end`.
    fn extend_variable(&mut self, variable_end: usize, end: usize) {
        let Some(token) = self.skeleton.tokens.last_mut() else { return };
        if let Some(variable) = self.skeleton.variables.last_mut() {
            variable.end = variable_end as u32;
        }
        token.end = end as u32;
        let token = *token;
        let hash = hash_pieces(self.message, token.start..token.end, variables_of(&self.skeleton.variables, &token));
        if let Some(token) = self.skeleton.tokens.last_mut() {
            token.hash = hash;
        }
    }
}

/// Brackets or quotes with nothing between them, standing alone.
fn is_empty_pair(text: &[u8]) -> bool {
    matches!(text, b"()" | b"[]" | b"{}" | b"\"\"" | b"''")
}

/// Length of the size unit a token begins with, when nothing but closing punctuation follows.
fn size_unit(text: &[u8]) -> Option<usize> {
    let letters = text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let closing = text.iter().skip(letters).all(u8::is_ascii_punctuation);
    let (unit, _) = text.split_at_checked(letters)?;
    let prefix = unit.strip_suffix(b"B").map(|unit| unit.strip_suffix(b"i").unwrap_or(unit));
    let known = matches!(prefix, Some([] | [b'K' | b'k' | b'M' | b'G' | b'T' | b'P']));
    (known && closing).then_some(letters)
}

/// Length of a leading `HTTP/1.1`.
fn protocol_version(text: &[u8]) -> Option<usize> {
    let version = text.strip_prefix(b"HTTP/")?;
    let digits = version.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    (digits > 0).then_some(5 + digits)
}

/// Start and end of the text between the quotes of `key="…"`, when the token ends within them.
fn quoted_value(message: &[u8], start: usize, end: usize) -> Option<(usize, usize)> {
    let text = message.get(start..end)?;
    let equals = text.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    let quote = *text.get(equals + 1).filter(|byte| matches!(byte, b'"' | b'\''))?;
    let value = start + equals + 2;
    if message.get(value..end)?.contains(&quote) {
        return None;
    }
    let window = message.get(value..).map(|rest| rest.get(..MAX_TOKEN_BYTES).unwrap_or(rest))?;
    memchr::memchr(quote, window).map(|length| (value, value + length))
}

fn is_calendar_word(text: &[u8]) -> bool {
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
fn calendar_time(message: &[u8], start: usize) -> Option<usize> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(line: &str) -> String {
        let mut skeleton = Skeleton::new();
        skeleton.scan(line.as_bytes(), &UserMasks::default());
        String::from_utf8_lossy(&skeleton.text(line.as_bytes())).into_owned()
    }

    #[test]
    fn masks_across_tokens_as_the_table_promises() {
        for (line, expected) in [
            ("at Mon Jul  4 14:52:27 2005", "at <*>"),
            ("at Jul 4 14:52:27 UTC 2005 done", "at <*> done"),
            ("Mon is not a date", "Mon is not a date"),
            ("size 4.0 KB, free 14.2 MB)", "size <*>, free <*>)"),
            ("about KB", "about KB"),
            ("\"GET /a/b HTTP/1.1\" status: 200", "\"GET <*>\" status: <*>"),
            ("tag=\"View Lock\", ws=null", "tag=\"<*>\", ws=null"),
            ("from () at \"\"", "from (<*>) at \"<*>\""),
            ("tag=\"\" x", "tag=\"\" x"),
            ("tag=\"never closed", "tag=\"never closed"),
            ("  two   blanks  ", "two blanks"),
            ("", ""),
            (" \t ", ""),
        ] {
            assert_eq!(text(line), expected, "{line}");
        }
    }

    #[test]
    fn a_line_of_a_million_tokens_or_one_huge_token_is_bounded() {
        let many = "a ".repeat(1_000_000);
        assert_eq!(text(&many).split(' ').count(), MAX_TOKENS + 1);
        assert_eq!(text(&"x".repeat(10_000_000)), WILDCARD);
        assert_eq!(text(&"=1".repeat(5_000_000)), WILDCARD);
    }

    #[test]
    fn user_masks_join_what_blanks_separate() {
        let masks = UserMasks::new([("order", "ord [a-z]+"), ("all", "zz.*")]).unwrap();
        let line = b"take (ord abc), then stop zz top";
        let mut skeleton = Skeleton::new();
        skeleton.scan(line, &masks);
        assert_eq!(skeleton.text(line), b"take (<*>), then stop <*>");
        assert_eq!(skeleton.parameters(line, |_| false), ["ord abc", "zz top"]);
    }

    proptest! {
        #[test]
        fn text_and_scan_agree_on_the_hashes(line in "[a-z0-9=/<*> .,:\"(){}A-Z-]{0,80}") {
            let mut skeleton = Skeleton::new();
            skeleton.scan(line.as_bytes(), &UserMasks::default());
            let text = skeleton.text(line.as_bytes());
            prop_assert_eq!(hashes_of_text(&text), skeleton.token_hashes().collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_scanned_without_panic(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut skeleton = Skeleton::new();
            skeleton.scan(&line, &UserMasks::default());
            let pieces: usize = skeleton.tokens.iter().map(|t| (t.end - t.start) as usize).sum();
            prop_assert!(pieces <= line.len());
        }
    }
}
