//! The built-in masking rules by name, so that each can be turned off and an explanation can say which one fired.

use std::fmt;

/// Why some bytes of a line are a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Rule {
    /// A path, a URL, a request target.
    Path,
    /// The value of `key=value`, unless it is letters alone.
    KeyValue,
    /// A word with a digit: number, id, address, time.
    Number,
    /// Eight hex digits or more, none of them a decimal digit.
    Hex,
    /// `Mon Jul  4 14:52:27 2005`.
    CalendarTime,
    /// A number and the unit of size after it.
    Size,
    /// The protocol version after a path.
    Protocol,
    /// Nothing between brackets or quotes that stand alone.
    EmptyValue,
    /// The quoted value of a key, blanks included.
    QuotedValue,
    /// The name after the word `user`.
    UserName,
    /// Ids of one kind in a row: `job_1 job_2 job_3`.
    List,
    /// A value in JSON.
    Json,
    /// Parts of a token by themselves: without it a token with a variable in it is one as a whole. Gives no variable of its own.
    Glued,
    /// A line's first token like any other: without it that is no variable. Gives no variable of its own.
    FirstToken,
    /// The text of a wildcard itself; cannot be turned off.
    Wildcard,
    /// A token too long to look into; cannot be turned off.
    LongToken,
    /// What follows the last token that is looked at; cannot be turned off.
    RestOfLine,
    /// A mask of the user's.
    UserMask,
}

impl Rule {
    /// The rules that can be turned off, in the order of the documentation.
    pub const OPTIONAL: [Self; 14] = [
        Self::Path,
        Self::KeyValue,
        Self::Number,
        Self::Hex,
        Self::CalendarTime,
        Self::Size,
        Self::Protocol,
        Self::EmptyValue,
        Self::QuotedValue,
        Self::UserName,
        Self::List,
        Self::Json,
        Self::Glued,
        Self::FirstToken,
    ];

    /// The name in configuration and explanations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::KeyValue => "key_value",
            Self::Number => "number",
            Self::Hex => "hex",
            Self::CalendarTime => "calendar_time",
            Self::Size => "size",
            Self::Protocol => "protocol",
            Self::EmptyValue => "empty_value",
            Self::QuotedValue => "quoted_value",
            Self::UserName => "user_name",
            Self::List => "list",
            Self::Json => "json",
            Self::Glued => "glued",
            Self::FirstToken => "first_token",
            Self::Wildcard => "wildcard",
            Self::LongToken => "long_token",
            Self::RestOfLine => "rest_of_line",
            Self::UserMask => "user_mask",
        }
    }
}

impl serde::Serialize for Rule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of the rules that can be turned off; every other is in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleSet(u16);

impl RuleSet {
    /// Every rule.
    pub const ALL: Self = Self(u16::MAX);

    /// The same without `rule`, if that can be turned off.
    pub const fn without(self, rule: Rule) -> Self {
        Self(self.0 & !bit(rule))
    }

    /// Whether `rule` is among them.
    #[inline(always)]
    pub const fn contains(self, rule: Rule) -> bool {
        bit(rule) == 0 || self.0 & bit(rule) != 0
    }
}

/// The bit of a rule that can be turned off; those come first.
#[inline(always)]
const fn bit(rule: Rule) -> u16 {
    if (rule as usize) < Rule::OPTIONAL.len() { 1 << rule as u16 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_lacks_what_was_taken_out() {
        let set = RuleSet::ALL.without(Rule::Hex).without(Rule::Path);
        assert!(!set.contains(Rule::Hex) && !set.contains(Rule::Path));
        assert!(set.contains(Rule::Number) && set.contains(Rule::UserMask));
        let none = Rule::OPTIONAL.into_iter().fold(RuleSet::ALL, RuleSet::without);
        assert!(Rule::OPTIONAL.into_iter().all(|rule| !none.contains(rule)));
        for rule in [Rule::Wildcard, Rule::LongToken, Rule::RestOfLine, Rule::UserMask] {
            assert!(none.without(rule).contains(rule), "{rule}");
        }
    }
}
