//! Line → [`Skeleton`]: tokens, the variable parts of each, and one hash over all that is constant.
//!
//! Tokens are what runs of blanks separate. Rules that look beyond one token:
//!
//! | rule | example | becomes |
//! |---|---|---|
//! | calendar time | `Mon Jul  4 14:52:27 2005` | `<*>` |
//! | number and unit of size | `14.2 KB)` | `<*>)` |
//! | path and protocol version | `"GET /a/b HTTP/1.1"` | `"GET <*>"` |
//! | … of one separator it is no path | `GET /login HTTP/1.1` | `GET /login HTTP/<*>` |
//! | an empty value | `()`, `""` alone | `(<*>)`, `"<*>"` |
//! | quoted value of a key, but of one that tells what happened | `unit="Main Pump",`, `msg="all done"` | `unit="<*>",`, itself |
//! | name after `user`, in quotes or after `for`, `of`, `by`, `as`, `from` or `to` | `for user ann,`, `user 'ann'` | `for user <*>,`, `user '<*>'` |
//! | ids of one kind in a row | `job_1 job_2` | `<*>` |
//!
//! Bounds ([`Masking`]): after `max_tokens` tokens, or 64 KiB of text without the variables, the rest of the line is one
//! variable, and so is a token that is longer than `max_token_bytes` without what the user's masks match in it; a line longer
//! than 4 GiB is cut there.
//!
//! A match of the user's masks is a variable whatever it looks like. A rule of the table that finds a longer variable around
//! it applies as if it was not there; one that would cut it does not apply.
//!
//! A skeleton is scratch space: one per lane, reused, so that a known shape allocates nothing.

use std::ops::Range;

use super::hash;
use super::keyed;
use super::mask::{UserMasks, Variable, Variables};
use super::rule::{Rule, RuleSet};
use super::scanner::Scanner;
use crate::quantity::Forms;

/// How a variable is written in a template.
pub const WILDCARD: &str = "<*>";

/// Hash of a token that is a variable as a whole.
pub(super) const WILDCARD_TOKEN: u64 = hash::combine(0, hash::WILDCARD_HASH);

/// In place of the hash of a token that is not known yet.
pub(super) const UNKNOWN_HASH: u64 = 0;

/// Room for variables that is kept from line to line.
const MOST_VARIABLES_KEPT: usize = 1 << 14;

/// What in a line is taken for a variable.
#[derive(Clone, Debug)]
pub struct Masking {
    /// The user's own masks; they come first.
    pub user: UserMasks,
    /// The built-in rules that apply.
    pub rules: RuleSet,
    /// Tokens looked at one by one, at least 1; the rest of the line is one variable.
    pub max_tokens: usize,
    /// A longer token is a variable as a whole.
    pub max_token_bytes: usize,
}

impl Default for Masking {
    fn default() -> Self {
        Self { user: UserMasks::default(), rules: RuleSet::ALL, max_tokens: 128, max_token_bytes: 1_024 }
    }
}

/// One token of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Range of the token's variable parts in [`Skeleton::variables`].
    pub(super) variables: (u32, u32),
    pub(super) hash: u64,
}

/// Tokens and their variable parts, of one line or of several, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub(super) tokens: Vec<Token>,
    pub(super) variables: Variables,
}

impl Scanned {
    /// The variable parts of a token.
    pub(super) fn variables_of(&self, token: &Token) -> &[Variable] {
        within(&self.variables, token)
    }
}

/// The variable parts of a token of those of its line.
fn within<'a>(variables: &'a [Variable], token: &Token) -> &'a [Variable] {
    variables.get(token.variables.0 as usize..token.variables.1 as usize).unwrap_or_default()
}

/// Where a line is among those [kept](Skeleton::keep), and what is known of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeptLine {
    hash: u64,
    tokens: u32,
    variables: u32,
    /// Length of the line; here, where there is room, for a kept line is to fill a cache line.
    pub(super) bytes: u16,
    token_count: u8,
    variable_count: u8,
    /// A constant has a digit: the hash is not that of every line with other digits.
    pub(super) has_digits: bool,
    /// Of its variables.
    forms: Forms,
}

impl KeptLine {
    fn tokens(&self) -> Range<usize> {
        self.tokens as usize..self.tokens as usize + usize::from(self.token_count)
    }

    fn variables(&self) -> Range<usize> {
        self.variables as usize..self.variables as usize + usize::from(self.variable_count)
    }
}

/// What is constant and what is variable in one line; reused from line to line.
#[derive(Debug, Default)]
pub struct Skeleton {
    /// The line last scanned.
    scanned: Scanned,
    /// Lines met before ([`memo`](super::memo)), up to the room there was from the start.
    kept_lines: Scanned,
    /// That of them which the skeleton is of; none: it is that of the line last scanned.
    recalled: Option<KeptLine>,
    /// What is known of the texts of the variables.
    forms: Forms,
    /// Matches of the user's masks, while a line is scanned.
    forced: Vec<Range<usize>>,
    hash: u64,
}

impl Skeleton {
    /// An empty skeleton.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that can keep lines.
    pub(super) fn with_room(tokens: usize, variables: usize) -> Self {
        let (tokens, variables) = (Vec::with_capacity(tokens), Vec::with_capacity(variables));
        Self { kept_lines: Scanned { tokens, variables }, ..Self::default() }
    }

    /// Replaces the content by the skeleton of `message`.
    pub fn scan(&mut self, message: &[u8], masking: &Masking) {
        let scanned = &mut self.scanned;
        scanned.tokens.clear();
        scanned.variables.clear();
        if scanned.variables.capacity() > MOST_VARIABLES_KEPT {
            scanned.variables = Variables::new();
        }
        (self.recalled, self.forms) = (None, Forms::default());
        let message = message.get(..u32::MAX as usize).unwrap_or(message);
        let mut forced = std::mem::take(&mut self.forced);
        if !masking.user.is_empty() {
            masking.user.find(message, &mut forced);
        }
        Scanner { message, masking, scanned, forced: &forced, after_user: false }.run();
        self.forced = forced;
        self.hash = self.token_hashes().fold(0, hash::combine);
    }

    /// Tokens and variables there is room for.
    #[cfg(test)]
    pub(super) fn room(&self) -> (usize, usize) {
        (self.kept_lines.tokens.capacity(), self.kept_lines.variables.capacity())
    }

    /// Keeps the line last scanned, if there is room and it has 255 tokens and variables and 65,535 bytes at the most.
    pub(super) fn keep(&mut self, message: &[u8]) -> Option<KeptLine> {
        let Self { scanned, kept_lines: kept, hash, .. } = self;
        let (tokens, variables) = (&scanned.tokens, &scanned.variables);
        let has_room = kept.tokens.capacity() - kept.tokens.len() >= tokens.len()
            && kept.variables.capacity() - kept.variables.len() >= variables.len();
        if !has_room {
            return None;
        }
        let has_digits = |token: &Token| {
            let digit = |range: Range<u32>| slice(message, &range).iter().any(u8::is_ascii_digit);
            constants(token.start..token.end, scanned.variables_of(token)).any(digit)
        };
        let place = KeptLine {
            hash: *hash,
            tokens: kept.tokens.len() as u32,
            variables: kept.variables.len() as u32,
            bytes: u16::try_from(message.len()).ok()?,
            token_count: u8::try_from(tokens.len()).ok()?,
            variable_count: u8::try_from(variables.len()).ok()?,
            has_digits: tokens.iter().any(has_digits),
            forms: Forms::of(variables.iter().map(|variable| slice(message, &variable.range()))),
        };
        let known = |token: &Token| Token { hash: if has_digits(token) { UNKNOWN_HASH } else { token.hash }, ..*token };
        kept.tokens.extend(tokens.iter().map(known));
        kept.variables.extend_from_slice(variables);
        Some(place)
    }

    /// Whether more than half of the room is taken.
    pub(super) fn is_half_full(&self) -> bool {
        let Scanned { tokens, variables } = &self.kept_lines;
        2 * tokens.len() > tokens.capacity() || 2 * variables.len() > variables.capacity()
    }

    /// Makes room: no line is kept any more.
    pub(super) fn forget_kept(&mut self) {
        self.recalled = None;
        self.kept_lines.tokens.clear();
        self.kept_lines.variables.clear();
    }

    /// Replaces the content by a line that was kept, of which `message` differs in digits only.
    #[inline]
    pub(super) fn recall(&mut self, line: &KeptLine, message: &[u8]) {
        self.forms = line.forms;
        if line.has_digits {
            self.recall_anew(line, message);
        } else {
            self.recalled = Some(*line);
            self.hash = line.hash;
        }
    }

    /// The same, where hashes are [not known](UNKNOWN_HASH).
    fn recall_anew(&mut self, line: &KeptLine, message: &[u8]) {
        let Self { scanned, kept_lines: kept, .. } = self;
        scanned.tokens.clear();
        scanned.tokens.extend_from_slice(kept.tokens.get(line.tokens()).unwrap_or_default());
        scanned.variables.clear();
        scanned.variables.extend_from_slice(kept.variables.get(line.variables()).unwrap_or_default());
        for token in scanned.tokens.iter_mut().filter(|token| token.hash == UNKNOWN_HASH) {
            token.hash = hash_pieces(message, token.start..token.end, within(&scanned.variables, token));
        }
        self.recalled = None;
        self.hash = self.token_hashes().fold(0, hash::combine);
    }

    /// The tokens, in order.
    #[inline]
    pub(super) fn tokens(&self) -> &[Token] {
        match &self.recalled {
            Some(line) => self.kept_lines.tokens.get(line.tokens()).unwrap_or_default(),
            None => &self.scanned.tokens,
        }
    }

    /// The variable parts of all tokens, in order.
    #[inline]
    pub(super) fn variable_parts(&self) -> &[Variable] {
        match &self.recalled {
            Some(line) => self.kept_lines.variables.get(line.variables()).unwrap_or_default(),
            None => &self.scanned.variables,
        }
    }

    /// Hash over all that is constant, and where the variables stand.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens().len()
    }

    /// No tokens: the line was empty or blank.
    pub fn is_empty(&self) -> bool {
        self.tokens().is_empty()
    }

    /// One hash a token, in order.
    pub(super) fn token_hashes(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.tokens().iter().map(|token| token.hash)
    }

    /// The texts at the line's variable parts, in order; a token that is variable only by its template is not among them.
    pub fn variables<'m>(&self, message: &'m [u8]) -> impl Iterator<Item = &'m [u8]> {
        self.variable_parts().iter().map(move |variable| slice(message, &variable.range()))
    }

    /// How many variable parts the line has, and where each is.
    #[inline]
    pub(crate) fn variable_ranges(&self) -> (usize, impl Fn(usize) -> Range<usize>) {
        let parts = self.variable_parts();
        (parts.len(), |part| parts.get(part).map_or(0..0, |variable| variable.start as usize..variable.end as usize))
    }

    /// What is known of their texts, since lines that differ in digits alone were met before.
    #[inline]
    pub(crate) fn forms(&self) -> Forms {
        self.forms
    }

    /// The skeleton's text: tokens joined by one blank, variables as [`WILDCARD`].
    pub fn text(&self, message: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(message.len().min(512));
        self.write_text(message, &mut text);
        text
    }

    /// The same in place of what is in `text`.
    pub fn write_text(&self, message: &[u8], text: &mut Vec<u8>) {
        text.clear();
        // What is in the message as it is in the text is copied at once: of most lines that is nearly all.
        let mut same: Option<Range<u32>> = None;
        for token in self.tokens() {
            if self.variables_of(token).is_empty() {
                same = Some(match same {
                    Some(same) if slice(message, &(same.end..token.start)) == b" " => same.start..token.end,
                    same => {
                        put(text, message, same);
                        separate(text);
                        token.start..token.end
                    }
                });
                continue;
            }
            put(text, message, same.take());
            separate(text);
            for piece in self.pieces(token) {
                match piece {
                    Piece::Constant(range) => text.extend_from_slice(slice(message, &range)),
                    Piece::Variable => text.extend_from_slice(WILDCARD.as_bytes()),
                }
            }
        }
        put(text, message, same);
        #[cfg(fuzzing)]
        assert_eq!(*text, self.naive_text(message));
    }

    /// The twin of [`Self::write_text`]: every piece by itself.
    #[cfg(any(test, fuzzing))]
    fn naive_text(&self, message: &[u8]) -> Vec<u8> {
        let piece = |piece| match piece {
            Piece::Constant(range) => slice(message, &range).to_vec(),
            Piece::Variable => WILDCARD.into(),
        };
        let token = |token| self.pieces(token).flat_map(piece).collect::<Vec<u8>>();
        self.tokens().iter().map(token).collect::<Vec<_>>().join(&b' ')
    }

    pub(super) fn pieces(&self, token: &Token) -> impl Iterator<Item = Piece> {
        pieces(token.start..token.end, self.variables_of(token))
    }

    /// The variable parts of a token.
    pub(super) fn variables_of(&self, token: &Token) -> &[Variable] {
        within(self.variable_parts(), token)
    }

    /// What stands at each wildcard of a template that this skeleton belongs to, given the hashes of the template's tokens;
    /// without them, of its own. `message` is the one last scanned.
    pub(super) fn values<'m>(&self, message: &'m [u8], template: &[u64]) -> impl Iterator<Item = Value<'m>> {
        self.tokens().iter().enumerate().flat_map(move |(number, token)| {
            let variables = self.variables_of(token);
            let bytes = slice(message, &(token.start..token.end));
            let is_word = |template: &u64| *template != token.hash;
            let word = template.get(number).filter(|template| is_word(template)).map(|template| match *template {
                WILDCARD_TOKEN => bytes,
                _ => keyed::value(bytes).and_then(|value| bytes.get(value)).unwrap_or(bytes),
            });
            let own = if word.is_some() { &[] } else { variables };
            let value =
                |variable: &Variable| Value { rule: Some(variable.rule), bytes: slice(message, &variable.range()) };
            word.map(|bytes| Value { rule: None, bytes }).into_iter().chain(own.iter().map(value))
        })
    }
}

pub(super) fn slice<'m>(message: &'m [u8], range: &Range<u32>) -> &'m [u8] {
    message.get(range.start as usize..range.end as usize).unwrap_or_default()
}

/// Appends a stretch of the message, if there is one.
fn put(text: &mut Vec<u8>, message: &[u8], stretch: Option<Range<u32>>) {
    text.extend_from_slice(slice(message, &stretch.unwrap_or_default()));
}

/// Begins another token.
fn separate(text: &mut Vec<u8>) {
    if !text.is_empty() {
        text.push(b' ');
    }
}

/// What stands at a wildcard.
pub(super) struct Value<'m> {
    /// The rule that made it a variable; `None` for a whole token that only the template says is one.
    pub(super) rule: Option<Rule>,
    pub(super) bytes: &'m [u8],
}

/// A stretch of a token.
pub(super) enum Piece {
    Constant(Range<u32>),
    Variable,
}

/// The stretches of `token`, in order, given its variable ones.
fn pieces(token: Range<u32>, variables: &[Variable]) -> impl Iterator<Item = Piece> {
    let mut at = token.start;
    let end = token.end;
    variables.iter().map(|variable| Some(variable.range())).chain([None]).flat_map(move |variable| {
        let until = variable.as_ref().map_or(end, |variable| variable.start);
        let constant = (at < until).then_some(Piece::Constant(at..until));
        at = variable.as_ref().map_or(end, |variable| variable.end);
        constant.into_iter().chain(variable.map(|_| Piece::Variable))
    })
}

/// The constant stretches of `token`, in order, given its variable ones.
fn constants(token: Range<u32>, variables: &[Variable]) -> impl Iterator<Item = Range<u32>> {
    pieces(token, variables).filter_map(|piece| match piece {
        Piece::Constant(range) => Some(range),
        Piece::Variable => None,
    })
}

/// Hash of a token: over its constant stretches and the places of its variables.
pub(super) fn hash_pieces(message: &[u8], token: Range<u32>, variables: &[Variable]) -> u64 {
    match variables {
        [] => return hash::bytes(slice(message, &token)),
        [whole] if whole.range() == token => return WILDCARD_TOKEN,
        _ => {}
    }
    let mut seen = 0;
    let mut at = token.start;
    for variable in variables {
        if at < variable.start {
            seen = hash::combine(seen, hash::bytes(slice(message, &(at..variable.start))));
        }
        seen = hash::combine(seen, hash::WILDCARD_HASH);
        at = variable.end;
    }
    if at < token.end {
        seen = hash::combine(seen, hash::bytes(slice(message, &(at..token.end))));
    }
    seen
}

/// Hashes of the tokens of a template's text, as [`Skeleton::scan`] would give them for a line of that template.
pub(super) fn hashes_of_text(text: &[u8]) -> Vec<u64> {
    let wildcard = memchr::memmem::Finder::new(WILDCARD);
    let mut tokens = Vec::new();
    for token in text.split(|byte| *byte == b' ').filter(|token| !token.is_empty()) {
        let variables: Vec<_> =
            wildcard.find_iter(token).map(|at| Variable::new(at..at + WILDCARD.len(), Rule::Wildcard)).collect();
        tokens.push(hash_pieces(token, 0..token.len() as u32, &variables));
    }
    tokens
}

/// Hash of a whole skeleton from the hashes of its tokens.
pub(super) fn skeleton_hash(tokens: impl IntoIterator<Item = u64>) -> u64 {
    tokens.into_iter().fold(0, hash::combine)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(line: &str) -> String {
        let mut skeleton = Skeleton::new();
        skeleton.scan(line.as_bytes(), &Masking::default());
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
            ("\"GET /login HTTP/1.1\" status: 200", "\"GET /login HTTP/<*>\" status: <*>"),
            ("unit=\"Main Pump\", at=null", "unit=\"<*>\", at=null"),
            ("from () at \"\"", "from (<*>) at \"<*>\""),
            ("tag=\"\" x", "tag=\"<*>\" x"),
            ("tag=\"one\", x", "tag=\"<*>\", x"),
            ("level=info msg=\"login by user ann\"", "level=info msg=\"login by user <*>\""),
            ("for user ann, by", "for user <*>, by"),
            ("User 'www-data'", "User '<*>'"),
            ("User escalated privileges", "User escalated privileges"),
            ("when the user escalated privileges", "when the user escalated privileges"),
            ("user unknown", "user unknown"),
            ("user 17 x", "user <*> x"),
            ("ask job_1 job_-2 job_3 now", "ask <*> now"),
            ("job_1 node-2", "<*> <*>"),
            ("1 2 3", "<*> <*> <*>"),
            ("tag=\"never closed", "tag=\"never closed"),
            ("  two   blanks  ", "two blanks"),
            ("", ""),
            (" \t ", ""),
        ] {
            assert_eq!(text(line), expected, "{line}");
        }
    }

    #[test]
    fn without_glued_a_token_with_a_variable_is_one_and_without_first_token_the_first_is_none() {
        let user = UserMasks::new([("order", "ORD-[0-9]")]).unwrap();
        let text = |line: &str, rule: Rule| {
            let masking = Masking { user: user.clone(), rules: RuleSet::ALL.without(rule), ..Masking::default() };
            let mut skeleton = Skeleton::new();
            skeleton.scan(line.as_bytes(), &masking);
            let text = skeleton.text(line.as_bytes());
            assert_eq!(hashes_of_text(&text), skeleton.token_hashes().collect::<Vec<_>>(), "{line}");
            assert_eq!(skeleton.parts(line.as_bytes(), &[]).rebuild(&text).unwrap(), line.as_bytes());
            String::from_utf8(text).unwrap()
        };
        for (line, expected) in [
            ("uid=0, pid:17 a|3|c", "<*> <*> <*>"),
            ("size 14.2 KB) unit=\"Main Pump\",", "size <*> <*>"),
            ("{\"took\":17} x", "<*> x"),
            ("plain words", "plain words"),
            ("at ORD-1: x<*>y", "at <*> <*>"),
        ] {
            assert_eq!(text(line, Rule::Glued), expected, "{line}");
        }
        for (line, expected) in [
            ("17 17", "17 <*>"),
            ("  uid=0  uid=0", "uid=0 uid=<*>"),
            ("user 'ann', by", "user '<*>', by"),
            ("by user ann, by", "by user <*>, by"),
            ("Mon Jul  4 14:52:27 2005 Jul", "Mon <*> Jul"),
            ("{\"took\":17} x", "{\"took\":<*>} x"),
            ("x<*>1 1", "x<*>1 <*>"),
            ("ORD-1: 1", "<*>: <*>"),
            ("17", "17"),
            ("", ""),
        ] {
            assert_eq!(text(line, Rule::FirstToken), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn stretches_copied_at_once_give_the_text_that_pieces_give(line in "([a-z]{1,3}(=[0-9])?|[0-9]{1,2}|k=\"a b\"|\\(\\))([ \t]{1,2}([a-z]{1,3}[0-9:=]{0,2}|[0-9a-f]{8})){0,12} ?") {
            let mut skeleton = Skeleton::new();
            skeleton.scan(line.as_bytes(), &Masking::default());
            prop_assert_eq!(skeleton.text(line.as_bytes()), skeleton.naive_text(line.as_bytes()));
        }
    }

    #[test]
    fn a_line_of_a_million_tokens_or_one_huge_token_is_bounded() {
        let many = "a ".repeat(1_000_000);
        assert_eq!(text(&many).split(' ').count(), Masking::default().max_tokens + 1);
        assert_eq!(text(&"x".repeat(10_000_000)), WILDCARD);
        assert_eq!(text(&"=1".repeat(5_000_000)), WILDCARD);
    }

    #[test]
    fn a_line_with_millions_of_user_mask_hits_is_scanned_in_one_pass() {
        let user = UserMasks::new([("digit", "[0-9]"), ("chain", "b c")]).unwrap();
        let masking = Masking { user, ..Masking::default() };
        let mut skeleton = Skeleton::new();
        for (line, expected) in [
            ("1-".repeat(1_000_000), "<*>".to_owned()),
            ("1 ".repeat(1_000_000), ["<*>"; 129].join(" ")),
            ("1".repeat(10_000_000), "<*>".to_owned()),
            (format!("1 {}", "zx".repeat(8_000_000)), "<*> <*>".to_owned()),
            (format!("{{\"msg\":\"1 {}\"}}", "zx".repeat(8_000_000)), "{\"msg\":\"<*> <*>\"}".to_owned()),
            (format!("{{\"msg\":\"{}\"}}", "=1".repeat(8_000_000)), "{\"msg\":\"<*>\"}".to_owned()),
            (format!("a=\"b c\"{}", "zx".repeat(8_000_000)), "<*>".to_owned()),
        ] {
            skeleton.scan(line.as_bytes(), &masking);
            assert_eq!(String::from_utf8(skeleton.text(line.as_bytes())).unwrap(), expected, "{line:.40}");
        }
        skeleton.scan(b"cb ".repeat(1_000_000).as_slice(), &masking);
        assert!(skeleton.len() <= masking.max_tokens + 1);
    }

    #[test]
    fn no_line_has_a_text_much_longer_than_64_kib_nor_does_one_leave_much_memory_behind() {
        let user = UserMasks::new([("any", "[a-z]")]).unwrap();
        let mut skeleton = Skeleton::new();
        for masking in [Masking::default(), Masking { user, ..Masking::default() }] {
            for part in ["a=1,", "{\"a\":1,\"b\":[", "{\"msg\":\"", "\"msg\":\"a=1;", "a", "x-1=", "{ \"k\": \"\", "] {
                let long = part.repeat(100_000);
                for line in [long.clone(), format!("{{\"a\":1,{long}"), format!("{} ", part.repeat(400)).repeat(200)] {
                    skeleton.scan(line.as_bytes(), &masking);
                    assert!(skeleton.text(line.as_bytes()).len() < 96 << 10, "{line:.40}");
                    assert!(
                        skeleton.scanned.variables.capacity() <= 1 << 17,
                        "{line:.40}: {}",
                        skeleton.scanned.variables.capacity()
                    );
                }
            }
            skeleton.scan(b"a line as any other", &masking);
            assert!(skeleton.scanned.variables.capacity() <= MOST_VARIABLES_KEPT);
        }
    }

    #[test]
    fn a_match_of_the_user_s_leaves_the_other_rules_alone() {
        let user = UserMasks::new([("order", "ORD-[0-9]+"), ("pair", "p [a-z]+"), ("cut", "cut\" .")]).unwrap();
        let masking = Masking { user, ..Masking::default() };
        let mut skeleton = Skeleton::new();
        for (line, expected) in [
            (
                r#"{"level":"info","msg":"order placed","user":"bob smith","order":"ORD-17"}"#,
                r#"{"level":"info","msg":"order placed","user":"<*>","order":"<*>"}"#,
            ),
            (r#"{"msg":"did p abc, ORD-17x","n":17}"#, r#"{"msg":"did <*>, <*>x","n":<*>}"#),
            (r#"{"ORD-17":"a b","n":null}"#, r#"{"<*>":"<*>","n":null}"#),
            (r#"{"a":"x cut" b c"}"#, r#"{"a":"x <*> c"}"#),
            (r#"ORD-17 {"a":"b c"} tag="x y" d"#, r#"<*> {"a":"<*>"} tag="<*>" d"#),
            (r#"tag="ORD-17 x" id="ORD-17" d"#, r#"tag="<*>" id="<*>" d"#),
            (r#"tag="x cut" b d"#, r#"tag="x <*> d"#),
            ("ORD-17 at Mon Jul  4 14:52:27 2005 for user ann", "<*> at <*> for user <*>"),
            ("ORD-17 4.0 KB \"GET /a/b HTTP/1.1\" blk_1 blk_2 ()", "<*> <*> \"GET <*>\" <*> (<*>)"),
            ("ORD-17ORD-18,ORD-19 KB", "<*> KB"),
        ] {
            skeleton.scan(line.as_bytes(), &masking);
            let text = skeleton.text(line.as_bytes());
            assert_eq!(String::from_utf8_lossy(&text), expected, "{line}");
            assert_eq!(skeleton.parts(line.as_bytes(), &[]).rebuild(&text).as_deref(), Some(line.as_bytes()));
        }
    }

    #[test]
    fn a_wildcard_that_a_line_spells_out_is_one_wherever_it_stands() {
        let mut skeleton = Skeleton::new();
        for line in
            ["<*>=\"\"", "a=\"\"<*>", "{\"\"<*>(}", "{\"<*>\":<*>}", "GET /a/b HTTP/1.1<*>", "a<*>=\"x<*>y\"<*>z"]
        {
            skeleton.scan(line.as_bytes(), &Masking::default());
            let text = skeleton.text(line.as_bytes());
            assert_eq!(hashes_of_text(&text), skeleton.token_hashes().collect::<Vec<_>>(), "{line}");
            assert_eq!(skeleton.parts(line.as_bytes(), &[]).rebuild(&text).as_deref(), Some(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn user_masks_join_what_blanks_separate() {
        let masks = UserMasks::new([("order", "ord [a-z]+"), ("all", "zz.*")]).unwrap();
        let line = b"take (ord abc), then stop zz top";
        let mut skeleton = Skeleton::new();
        skeleton.scan(line, &Masking { user: masks, ..Masking::default() });
        assert_eq!(skeleton.text(line), b"take (<*>), then stop <*>");
        assert_eq!(skeleton.parts(line, &[]).parameters, [&b"ord abc"[..], b"zz top"]);
    }

    proptest! {
        #[test]
        fn text_and_scan_agree_on_the_hashes(line in "[a-z0-9=/<*> .,:\"(){}A-Z-]{0,80}") {
            let mut skeleton = Skeleton::new();
            skeleton.scan(line.as_bytes(), &Masking::default());
            let text = skeleton.text(line.as_bytes());
            prop_assert_eq!(hashes_of_text(&text), skeleton.token_hashes().collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_scanned_without_panic(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut skeleton = Skeleton::new();
            skeleton.scan(&line, &Masking::default());
            let pieces: usize = skeleton.tokens().iter().map(|t| (t.end - t.start) as usize).sum();
            prop_assert!(pieces <= line.len());
        }
    }
}
