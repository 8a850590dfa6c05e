//! Whether a value is accepted: types, bounds, texts, masks.

use std::collections::HashSet;

use super::error::{ConfigError, Place};
use super::table::{Config, Field, Kind, Mask, Shape};
use super::value::{Entry, Node, Setting, Value};

/// The longest field path, in bytes.
const FIELD_PATH_BYTES: usize = 256;
/// The longest mask name, in bytes.
const MASK_NAME_BYTES: usize = 64;

impl Kind {
    /// What is accepted, in words: for errors and for the reference.
    pub fn accepted(&self) -> String {
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Text(shape) => shape.accepted(),
            Self::OptionalText(shape) => format!("{}, or nothing", shape.accepted()),
            Self::FieldPaths { max_items } => format!("a list of at most {max_items} field paths"),
            Self::Masks { max_items } => {
                format!("a list of at most {max_items} masks, each with {}", Mask::KEYS.join(" and "))
            }
        }
    }
}

impl Shape {
    fn accepted(self) -> String {
        match self {
            Self::FilePath => "a path".to_owned(),
            Self::FieldPath => format!("a field path of 1 to {FIELD_PATH_BYTES} bytes without control characters"),
            Self::Target => format!(
                "identifiers (letters, digits and _, no digit first) joined by dots, of at most {FIELD_PATH_BYTES} bytes"
            ),
        }
    }

    fn accepts(self, text: &str) -> bool {
        let fits = !text.is_empty() && text.len() <= FIELD_PATH_BYTES;
        match self {
            Self::FilePath => !text.is_empty() && !text.contains('\0'),
            Self::FieldPath => fits && !text.chars().any(char::is_control),
            Self::Target => fits && text.split('.').all(is_identifier),
        }
    }
}

fn is_identifier(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(word) && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// Checks values that came from `origin`.
#[derive(Clone, Copy)]
pub(super) struct Check<'a> {
    pub(super) origin: Option<&'a str>,
}

impl Check<'_> {
    fn place(self, line: Option<usize>) -> Place {
        Place::new(self.origin, line)
    }

    fn wrong_type(self, key: impl Into<String>, expected: String, node: &Node) -> ConfigError {
        let found = node.value.describe();
        ConfigError::WrongType { place: self.place(node.line), key: key.into(), expected, found }
    }

    fn out_of_range(self, key: impl Into<String>, accepted: String, node: &Node) -> ConfigError {
        let found = node.value.describe();
        ConfigError::OutOfRange { place: self.place(node.line), key: key.into(), found, accepted }
    }

    /// Whether `node` is a value for `field`.
    pub(super) fn value(self, field: &Field, node: &Node) -> Result<(), ConfigError> {
        let wrong_type = || Err(self.wrong_type(field.key, field.accepted(), node));
        let within = |accepted: bool| {
            if accepted { Ok(()) } else { Err(self.out_of_range(field.key, field.accepted(), node)) }
        };
        match (&field.kind, &node.value) {
            (Kind::Flag, Value::Bool(_)) | (Kind::OptionalText(_), Value::Null) => Ok(()),
            (Kind::Integer { min, max }, value) => i128::from_value(value)
                .map_or_else(wrong_type, |number| within((i128::from(*min)..=i128::from(*max)).contains(&number))),
            (Kind::Number { min, max }, value) => {
                f64::from_value(value).map_or_else(wrong_type, |number| within((*min..=*max).contains(&number)))
            }
            (Kind::Choice(words), Value::Text(text)) => within(words.contains(&text.as_str())),
            (Kind::Text(shape) | Kind::OptionalText(shape), Value::Text(text)) => within(shape.accepts(text)),
            (Kind::FieldPaths { max_items }, Value::List(items)) => {
                within(items.len() <= *max_items)?;
                self.field_paths(field.key, items)
            }
            (Kind::Masks { max_items }, Value::List(items)) => {
                within(items.len() <= *max_items)?;
                self.masks(field.key, items)
            }
            _ => wrong_type(),
        }
    }

    fn text<'n>(self, key: &str, expected: String, node: &'n Node) -> Result<&'n str, ConfigError> {
        match &node.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong_type(key, expected, node)),
        }
    }

    fn field_paths(self, key: &str, items: &[Node]) -> Result<(), ConfigError> {
        let mut seen = HashSet::new();
        for (index, item) in items.iter().enumerate() {
            let key = format!("{key}[{index}]");
            let text = self.text(&key, Shape::FieldPath.accepted(), item)?;
            if !Shape::FieldPath.accepts(text) {
                return Err(self.out_of_range(key, Shape::FieldPath.accepted(), item));
            }
            if !seen.insert(text) {
                return Err(self.out_of_range(key, "each field path once".to_owned(), item));
            }
        }
        Ok(())
    }

    fn masks(self, key: &str, items: &[Node]) -> Result<(), ConfigError> {
        let mut names = HashSet::new();
        for (index, item) in items.iter().enumerate() {
            let key = format!("{key}[{index}]");
            let Value::Map(entries) = &item.value else {
                return Err(self.wrong_type(key, format!("a map of {}", Mask::KEYS.join(" and ")), item));
            };
            self.keys(entries, &Mask::KEYS)?;
            let name = self.mask_name(&key, item, entries)?;
            self.mask_regex(&key, item, entries)?;
            if !names.insert(name.value.describe()) {
                return Err(self.out_of_range(format!("{key}.{}", Mask::NAME), "each name once".to_owned(), name));
            }
        }
        Ok(())
    }

    fn mask_name<'n>(self, key: &str, mask: &Node, entries: &'n [Entry]) -> Result<&'n Node, ConfigError> {
        let key = format!("{key}.{}", Mask::NAME);
        let accepted = || format!("1 to {MASK_NAME_BYTES} lower-case letters, digits and _");
        let node = self.part(&key, Mask::NAME, accepted(), mask, entries)?;
        let text = self.text(&key, accepted(), node)?;
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if text.is_empty() || text.len() > MASK_NAME_BYTES || !text.bytes().all(word) {
            return Err(self.out_of_range(key, accepted(), node));
        }
        Ok(node)
    }

    fn mask_regex(self, key: &str, mask: &Node, entries: &[Entry]) -> Result<(), ConfigError> {
        let key = format!("{key}.{}", Mask::REGEX);
        let accepted = || "a pattern that does not match the empty text".to_owned();
        let node = self.part(&key, Mask::REGEX, accepted(), mask, entries)?;
        let pattern = regex::Regex::new(self.text(&key, accepted(), node)?).map_err(|source| ConfigError::Pattern {
            place: self.place(node.line),
            key: key.clone(),
            source: Box::new(source),
        })?;
        // A pattern that matches nothing would find a variable between any two characters.
        if pattern.is_match("") { Err(self.out_of_range(key, accepted(), node)) } else { Ok(()) }
    }

    fn part<'n>(
        self,
        key: &str,
        name: &str,
        expected: String,
        whole: &Node,
        entries: &'n [Entry],
    ) -> Result<&'n Node, ConfigError> {
        entries.iter().find(|entry| entry.key == name).map(|entry| &entry.node).ok_or_else(|| ConfigError::MissingKey {
            place: self.place(whole.line),
            key: key.to_owned(),
            expected,
        })
    }

    /// Whether every key is one of `known` and stands once.
    pub(super) fn keys(self, entries: &[Entry], known: &[&'static str]) -> Result<(), ConfigError> {
        for (index, entry) in entries.iter().enumerate() {
            if !known.contains(&entry.key.as_str()) {
                return Err(ConfigError::UnknownKey {
                    place: self.place(entry.line),
                    key: entry.key.clone(),
                    nearest: nearest(&entry.key, known),
                    known: known.to_vec(),
                });
            }
            if let Some(first) = entries.iter().take(index).find(|other| other.key == entry.key) {
                return Err(ConfigError::DuplicateKey {
                    place: self.place(entry.line),
                    key: entry.key.clone(),
                    first_line: first.line,
                });
            }
        }
        Ok(())
    }
}

impl Field {
    /// What is accepted, in words and with the unit: for errors and for the reference.
    pub fn accepted(&self) -> String {
        let accepted = self.kind.accepted();
        if self.unit.is_empty() { accepted } else { format!("{accepted} ({})", self.unit) }
    }
}

impl Config {
    /// Whether every value is accepted. The error names key, value and accepted range; it has no
    /// file or line, since a struct has none.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = Check { origin: None };
        for (field, value) in self.values() {
            check.value(field, &value.unplaced())?;
        }
        self.check_together(check, |_| None)
    }

    /// Checks that concern two keys; `line_of` tells where a key stands.
    pub(super) fn check_together(
        &self,
        check: Check<'_>,
        line_of: impl Fn(&str) -> Option<usize>,
    ) -> Result<(), ConfigError> {
        if self.wal_segment_bytes <= self.max_disk_bytes {
            return Ok(());
        }
        let key = "wal_segment_bytes";
        let node = Node { line: line_of(key), value: self.wal_segment_bytes.to_value() };
        Err(check.out_of_range(key, format!("at most max_disk_bytes, which is {}", self.max_disk_bytes), &node))
    }
}

/// The known key nearest to `key` by edit distance, when one is near enough to have been meant.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    // A key much longer than any known one is no slip of the finger, and need not be measured.
    let longest = known.iter().map(|known| known.len()).max().unwrap_or(0);
    if key.len() > 2 * longest {
        return None;
    }
    let plain = key.to_lowercase().replace(['-', ' ', '.'], "_");
    known
        .iter()
        .map(|known| (distance(&plain, known), *known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .map(|(_, known)| known)
}

/// Optimal string alignment distance: insertions, deletions, changes and swaps of neighbours, in characters.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::table::FIELDS;
    use super::*;

    #[test]
    fn distance_counts_insertions_deletions_changes_and_swaps() {
        for (a, b, expected) in [("", "", 0), ("", "ab", 2), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "xbcd", 2)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_slip_finds_its_key_and_something_else_finds_none() {
        let keys: Vec<_> = FIELDS.iter().map(|field| field.key).collect();
        for (slip, meant) in [
            ("alert_buget", Some("alert_budget")),
            ("alert-budget", Some("alert_budget")),
            ("Durability", Some("durability")),
            ("retention_days", Some("retention_hours")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(slip, &keys), meant, "{slip}");
        }
        assert_eq!(nearest(&"a".repeat(1_000_000), &keys), None);
    }

    #[test]
    fn the_default_is_valid() {
        Config::default().validate().unwrap();
    }
}
