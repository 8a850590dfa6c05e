//! Cuts a line into tokens and lets the rules look at each: the order of the rules is here, their shapes in
//! [`mask`] and [`shapes`](super::shapes).

use std::ops::Range;

use super::hash;
use super::mask::{self, Variable, Variables, class};
use super::rule::Rule;
use super::shapes::{
    calendar_time, introduces_user, is_calendar_word, is_empty_pair, is_user, protocol_version, quoted_value,
    size_unit, user_name,
};
use super::tokenise::{Masking, Scanned, Token, WILDCARD, WILDCARD_TOKEN, hash_pieces, slice};

pub(super) struct Scanner<'a> {
    pub(super) message: &'a [u8],
    pub(super) masking: &'a Masking,
    /// What is found.
    pub(super) scanned: &'a mut Scanned,
    /// Matches of the user's masks, ascending.
    pub(super) forced: &'a [Range<usize>],
    /// The token before is the word `user`.
    pub(super) after_user: bool,
}

/// Bytes of a line's text; what follows is one variable. No template is much longer: one line must not take the place of all
/// others.
const MOST_TEXT_BYTES: usize = 64 << 10;

/// Bytes before the first blank, and their classes. Not inlined, since amid all the rules what it adds up would not stay in registers.
#[inline(never)]
fn word(text: &[u8]) -> (usize, u8) {
    let mut seen = 0;
    for (length, byte) in text.iter().enumerate() {
        let bits = class::of(*byte);
        if bits & class::BLANK != 0 {
            return (length, seen);
        }
        seen |= bits;
    }
    (text.len(), seen)
}

impl<'a> Scanner<'a> {
    pub(super) fn run(mut self) {
        let mut at = 0;
        if !self.allows(Rule::FirstToken) {
            at = self.first_token(self.skip_blanks(0));
        }
        loop {
            at = self.skip_blanks(at);
            if at >= self.message.len() {
                return;
            }
            if self.is_full(at) {
                self.push_variable(at..self.message.len(), Rule::RestOfLine);
                return;
            }
            at = self.token(at);
        }
    }

    /// Whether no token may begin at `at`.
    #[inline(always)]
    pub(super) fn is_full(&self, at: usize) -> bool {
        self.scanned.tokens.len() >= self.masking.max_tokens || (at > MOST_TEXT_BYTES && self.is_long())
    }

    #[cold]
    fn is_long(&self) -> bool {
        let length = |range: Range<u32>| (range.end - range.start) as usize;
        let tokens: usize = self.scanned.tokens.iter().map(|token| length(token.start..token.end) + 1).sum();
        let variables: usize = self.scanned.variables.iter().map(|variable| length(variable.range())).sum();
        (tokens + WILDCARD.len() * self.scanned.variables.len()).saturating_sub(variables) > MOST_TEXT_BYTES
    }

    #[inline(always)]
    pub(super) fn skip_blanks(&self, mut at: usize) -> usize {
        while self.message.get(at).is_some_and(|byte| class::of(*byte) & class::BLANK != 0) {
            at += 1;
        }
        at
    }

    /// End of the token that begins at `start`, and the classes of its bytes.
    #[inline(always)]
    pub(super) fn token_end(&self, start: usize) -> (usize, u8) {
        let (length, seen) = word(self.message.get(start..).unwrap_or_default());
        (start + length, seen)
    }

    /// Takes the token that begins at `start`; returns where it ended.
    #[inline(always)]
    fn token(&mut self, start: usize) -> usize {
        let (end, seen) = self.token_end(start);
        if seen & class::OTHER != 0 && self.is_json(start) {
            return self.json(start);
        }
        if self.is_matched(start..end) {
            return self.forced_token(start, end, seen);
        }
        if seen & (class::DIGIT | class::SLASH | class::EQUALS | class::OPEN_ANGLE) != 0 {
            return self.masked_token(start, end, seen);
        }
        self.plain_token(start, end, seen)
    }

    /// Takes a line's first token for constant, unless it is an object of JSON or a match of the user's.
    #[cold]
    fn first_token(&mut self, start: usize) -> usize {
        let (end, seen) = self.token_end(start);
        let is_json = seen & class::OTHER != 0 && self.is_json(start);
        if start == end || is_json || self.is_matched(start..end) || end - start > self.masking.max_token_bytes {
            return start;
        }
        self.after_user = is_user(self.message.get(start..end).unwrap_or_default());
        self.finish_spelled(start..end, self.scanned.variables.len());
        end
    }

    /// A token in which nothing but its whole can be variable.
    #[inline(always)]
    fn plain_token(&mut self, start: usize, end: usize, seen: u8) -> usize {
        let text = self.message.get(start..end).unwrap_or_default();
        let after_user = std::mem::take(&mut self.after_user);
        if text.len() <= 5 {
            self.after_user = is_user(text);
            if is_empty_pair(text) && self.allows(Rule::EmptyValue) {
                self.push_variable_within(start + 1..start + 1, start..end, Rule::EmptyValue);
                return end;
            }
            if text.len() == 3
                && is_calendar_word(text)
                && self.allows(Rule::CalendarTime)
                && let Some(end) = calendar_time(self.message, start)
                && !self.is_matched(start..end)
            {
                self.push_variable(start..end, Rule::CalendarTime);
                return end;
            }
            if let Some(unit) = size_unit(text)
                && self.allows(Rule::Size)
                && self.previous_is_number()
            {
                self.extend_variable(start + unit, end, Rule::Size);
                return end;
            }
        } else if mask::is_bare_hex(text) && self.allows(Rule::Hex) {
            self.push_variable(start..end, Rule::Hex);
            return end;
        } else if text.len() > self.masking.max_token_bytes {
            self.push_variable(start..end, Rule::LongToken);
            return end;
        } else if seen & class::JOINER != 0 && text.len() >= mask::SHORTEST_ADDRESS && mask::has_address(text) {
            return self.masked_token(start, end, seen);
        }
        if after_user
            && self.allows(Rule::UserName)
            && let Some(name) = user_name(text)
            && (name.start > 0 || self.is_user_introduced())
        {
            self.push_variable_within(start + name.start..start + name.end, start..end, Rule::UserName);
            return end;
        }
        let at = self.scanned.variables.len() as u32;
        self.scanned.tokens.push(Token {
            start: start as u32,
            end: end as u32,
            variables: (at, at),
            hash: hash::bytes(text),
        });
        end
    }

    /// Whether the token before `user`, the last, says that a name follows: `User escalated privileges` has none.
    #[cold]
    fn is_user_introduced(&self) -> bool {
        let before = self.scanned.tokens.iter().nth_back(1);
        before.is_some_and(|token| introduces_user(slice(self.message, &(token.start..token.end))))
    }

    fn masked_token(&mut self, start: usize, end: usize, seen: u8) -> usize {
        self.after_user = false;
        let text = self.message.get(start..end).unwrap_or_default();
        if text.len() > self.masking.max_token_bytes {
            self.push_variable(start..end, Rule::LongToken);
            return end;
        }
        if let Some(version) = protocol_version(text)
            && seen & class::OPEN_ANGLE == 0
            && self.allows(Rule::Protocol)
            && self.previous_is_path()
        {
            self.extend_variable(start + version, end, Rule::Protocol);
            return end;
        }
        if seen & class::EQUALS != 0
            && let Some(end) = self.quoted(start, end)
        {
            return end;
        }
        let rules = self.masking.rules;
        self.push_token(start..end, |message, variables| mask::mask_token(message, start..end, seen, rules, variables));
        self.join_list();
        self.after_user = text.ends_with(b"\"user");
        end
    }

    /// Takes the token that begins with `key="…"`, blanks included.
    fn quoted(&mut self, start: usize, end: usize) -> Option<usize> {
        if !self.allows(Rule::QuotedValue) {
            return None;
        }
        let value = quoted_value(self.message, start, end, self.masking.max_token_bytes)?;
        let end = self.token_end(value.end).0;
        let matches = self.matches(start..end);
        if matches.iter().any(|found| found.start < value.start || found.end > value.end) {
            return None;
        }
        if end - start - value.len() > self.masking.max_token_bytes {
            self.push_variable(start..end, Rule::LongToken);
            return Some(end);
        }
        let first = self.scanned.variables.len();
        let rule = if matches == [value.clone()] { Rule::UserMask } else { Rule::QuotedValue };
        self.scanned.variables.push(Variable::new(value, rule));
        self.finish_spelled(start..end, first);
        Some(end)
    }

    /// Makes one variable of the last two tokens when both are ids of one kind.
    fn join_list(&mut self) {
        let [.., before, last] = self.scanned.tokens.as_slice() else { return };
        if last.hash != WILDCARD_TOKEN || before.hash != WILDCARD_TOKEN {
            return;
        }
        let id = |token: &Token| id_prefix(slice(self.message, &(token.start..token.end)));
        if id(before).is_none_or(|prefix| id(last) != Some(prefix)) || !self.allows(Rule::List) {
            return;
        }
        if self.scanned.variables_of(before).iter().any(|variable| variable.rule == Rule::UserMask) {
            return;
        }
        let end = last.end;
        self.scanned.tokens.pop();
        self.scanned.variables.pop();
        if let (Some(token), Some(variable)) = (self.scanned.tokens.last_mut(), self.scanned.variables.last_mut()) {
            token.end = end;
            *variable = Variable { end, rule: Rule::List, ..*variable };
        }
    }

    /// The matches of the user's masks that have a byte in a stretch.
    #[inline(always)]
    pub(super) fn matches(&self, stretch: Range<usize>) -> &'a [Range<usize>] {
        let first = self.forced.partition_point(|found| found.end <= stretch.start);
        let rest = self.forced.get(first..).unwrap_or_default();
        rest.get(..rest.partition_point(|found| found.start < stretch.end)).unwrap_or_default()
    }

    #[inline(always)]
    pub(super) fn is_matched(&self, stretch: Range<usize>) -> bool {
        !self.forced.is_empty() && !self.matches(stretch).is_empty()
    }

    /// Where a token that would end at `end` does when matches go beyond: where neither a token nor a match goes on.
    pub(super) fn forced_end(&self, start: usize, mut end: usize) -> usize {
        for found in self.matches(start..self.message.len()) {
            if found.start >= end {
                break;
            }
            if found.end > end {
                end = self.token_end(found.end).0;
            }
        }
        end
    }

    /// A token that matches of the user's reach into.
    fn forced_token(&mut self, start: usize, end: usize, seen: u8) -> usize {
        self.after_user = false;
        if seen & class::EQUALS != 0
            && let Some(end) = self.quoted(start, end)
        {
            return end;
        }
        let end = self.forced_end(start, end);
        let first = self.scanned.variables.len();
        self.mask_matched(start..end);
        self.finish_token(start..end, first);
        end
    }

    /// Masks a stretch of a token, the user's matches first; one that is too long without them is a variable as a whole.
    pub(super) fn mask_matched(&mut self, stretch: Range<usize>) {
        let (message, rules) = (self.message, self.masking.rules);
        let matches = self.matches(stretch.clone());
        let variables = &mut self.scanned.variables;
        let clipped = |found: &Range<usize>| found.start.max(stretch.start)..found.end.min(stretch.end);
        let matched: usize = matches.iter().map(|found| clipped(found).len()).sum();
        if stretch.len() - matched > self.masking.max_token_bytes {
            mask::push(message, variables, Variable::new(stretch, Rule::LongToken));
            return;
        }
        let mut at = stretch.start;
        for found in matches.iter().map(clipped) {
            mask::mask_token(message, at..found.start, u8::MAX, rules, variables);
            at = found.end;
            mask::push(message, variables, Variable::new(found, Rule::UserMask));
        }
        mask::mask_token(message, at..stretch.end, u8::MAX, rules, variables);
    }

    fn push_token(&mut self, token: Range<usize>, mask: impl FnOnce(&[u8], &mut Variables)) {
        // A variable of this token must not be joined to one of the token before.
        let first = self.scanned.variables.len();
        mask(self.message, &mut self.scanned.variables);
        self.finish_token(token, first);
    }

    /// As [`Self::finish_token`], for a token that may spell out a wildcard beside its variables.
    pub(super) fn finish_spelled(&mut self, token: Range<usize>, first: usize) {
        let text = self.message.get(token.clone()).unwrap_or_default();
        if memchr::memmem::find(text, WILDCARD.as_bytes()).is_some() {
            let found = self.scanned.variables.split_off(first);
            let mut at = token.start;
            for variable in found {
                self.push_spelled(at..variable.start as usize);
                at = variable.end as usize;
                self.scanned.variables.push(variable);
            }
            self.push_spelled(at..token.end);
        }
        self.finish_token(token, first);
    }

    fn push_spelled(&mut self, constant: Range<usize>) {
        let text = self.message.get(constant.clone()).unwrap_or_default();
        for at in memchr::memmem::find_iter(text, WILDCARD) {
            let start = constant.start + at;
            self.scanned.variables.push(Variable::new(start..start + WILDCARD.len(), Rule::Wildcard));
        }
    }

    /// Adds the token whose variables begin at number `first`.
    pub(super) fn finish_token(&mut self, token: Range<usize>, first: usize) {
        if !self.allows(Rule::Glued) {
            self.make_whole(token.clone(), first);
        }
        let last = self.scanned.variables.len();
        let (start, end) = (token.start as u32, token.end as u32);
        let variables = self.scanned.variables.get(first..).unwrap_or_default();
        let hash = hash_pieces(self.message, start..end, variables);
        self.scanned.tokens.push(Token { start, end, variables: (first as u32, last as u32), hash });
    }

    /// Makes one variable of a token that has any.
    #[cold]
    fn make_whole(&mut self, token: Range<usize>, first: usize) {
        if let Some(variable) = self.scanned.variables.get(first).copied() {
            self.scanned.variables.truncate(first);
            self.scanned.variables.push(Variable::new(token, variable.rule));
        }
    }

    fn allows(&self, rule: Rule) -> bool {
        self.masking.rules.contains(rule)
    }

    fn push_variable(&mut self, range: Range<usize>, rule: Rule) {
        self.push_variable_within(range.clone(), range, rule);
    }

    fn push_variable_within(&mut self, variable: Range<usize>, token: Range<usize>, rule: Rule) {
        self.push_token(token, |_, variables| variables.push(Variable::new(variable, rule)));
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

    /// The token before, and its last variable unless that is a match of the user's.
    fn last_variable(&self) -> Option<(&Token, Range<u32>)> {
        let token = self.scanned.tokens.last()?;
        let variable = self.scanned.variables_of(token).last().filter(|variable| variable.rule != Rule::UserMask)?;
        Some((token, variable.range()))
    }

    /// Lets the last token go on until `end`, and its last variable until `variable_end`.
    fn extend_variable(&mut self, variable_end: usize, end: usize, rule: Rule) {
        let Some(token) = self.scanned.tokens.last_mut() else { return };
        if let Some(variable) = self.scanned.variables.last_mut() {
            variable.end = if self.masking.rules.contains(Rule::Glued) { variable_end } else { end } as u32;
            variable.rule = rule;
        }
        token.end = end as u32;
        let token = *token;
        let hash = hash_pieces(self.message, token.start..token.end, self.scanned.variables_of(&token));
        if let Some(token) = self.scanned.tokens.last_mut() {
            token.hash = hash;
        }
    }
}

/// The letters that an id begins with: two or more, `_` among them.
fn id_prefix(id: &[u8]) -> Option<&[u8]> {
    let letters = id.iter().take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'_').count();
    id.get(..letters).filter(|prefix| prefix.len() >= 2)
}
