//! Whether a value is accepted: types, bounds, texts, masks.

use std::collections::HashSet;

use super::budget::AlertBudget;
use super::choice::EmbedderKind;
use super::error::{ConfigError, Place};
use super::journal::Journal;
use super::nearest::nearest;
use super::rule::{EventRule, RuleAction, RuleMatch};
use super::sampling::Sampling;
use super::table::{Config, Field, Kind, Mask, Shape};
use super::value::{Entry, Node, Setting, Value};

impl Shape {
    pub(super) fn accepts(self, text: &str) -> bool {
        matches(text, self.pattern(), self.max_chars().unwrap_or(usize::MAX))
    }
}

/// Whether `text` matches `pattern` and has at most `max_chars` characters.
fn matches(text: &str, pattern: &str, max_chars: usize) -> bool {
    text.chars().count() <= max_chars && regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
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

    /// The error of a value that passed as one for `field` and yet cannot be taken.
    pub(super) fn not_accepted(self, field: &Field, node: &Node) -> ConfigError {
        self.wrong_type(field.key, field.accepted(), node)
    }

    /// Whether `node` is a value for `field`.
    pub(super) fn value(self, field: &Field, node: &Node) -> Result<(), ConfigError> {
        let wrong_type = || Err(self.wrong_type(field.key, field.accepted(), node));
        let within = |accepted: bool| {
            if accepted { Ok(()) } else { Err(self.out_of_range(field.key, field.accepted(), node)) }
        };
        match (&field.kind, &node.value) {
            (Kind::Flag, Value::Bool(_)) | (Kind::OptionalText(_) | Kind::Sampling, Value::Null) => Ok(()),
            (Kind::Integer { min, max }, value) => i128::from_value(value)
                .map_or_else(wrong_type, |number| within((i128::from(*min)..=i128::from(*max)).contains(&number))),
            (Kind::Number { min, max }, value) => {
                f64::from_value(value).map_or_else(wrong_type, |number| within((*min..=*max).contains(&number)))
            }
            (Kind::Budget, value) => {
                AlertBudget::from_value(value).map_or_else(wrong_type, |budget| within(budget.is_accepted()))
            }
            (Kind::Choice(words), Value::Text(text)) => within(words.contains(&text.as_str())),
            (Kind::Text(shape) | Kind::OptionalText(shape), Value::Text(text)) => within(shape.accepts(text)),
            (Kind::Texts { shape, max_items }, Value::List(items)) => {
                within(items.len() <= *max_items)?;
                let accepted = || shape.accepted();
                self.texts(field.key, items, accepted, |text| shape.accepts(text))
            }
            (Kind::Choices(words), Value::List(items)) => {
                let accepted = || format!("one of {}", words.join(", "));
                self.texts(field.key, items, accepted, |text| words.contains(&text))
            }
            (Kind::Masks { max_items }, Value::List(items)) => {
                within(items.len() <= *max_items)?;
                self.masks(field.key, items)
            }
            // Lua cannot tell an empty map from an empty list.
            (Kind::Sampling | Kind::Journal, Value::List(items)) if items.is_empty() => Ok(()),
            (Kind::Sampling, Value::Map(entries)) => self.sampling(field.key, entries),
            (Kind::Journal, Value::Map(entries)) => self.journal(entries),
            (Kind::Rules { max_items }, Value::List(items)) => {
                within(items.len() <= *max_items)?;
                self.rules(field.key, items)
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

    /// Whether each item is a text that `accepts` and stands once.
    fn texts(
        self,
        key: &str,
        items: &[Node],
        accepted: impl Fn() -> String,
        accepts: impl Fn(&str) -> bool,
    ) -> Result<(), ConfigError> {
        let mut seen = HashSet::new();
        for (index, item) in items.iter().enumerate() {
            let key = format!("{key}[{index}]");
            let text = self.text(&key, accepted(), item)?;
            if !accepts(text) {
                return Err(self.out_of_range(key, accepted(), item));
            }
            if !seen.insert(text) {
                return Err(self.out_of_range(key, "each once".to_owned(), item));
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
            let name = self.name(&key, item, entries)?;
            self.mask_regex(&key, item, entries)?;
            if !names.insert(name.value.describe()) {
                return Err(self.out_of_range(format!("{key}.{}", Mask::NAME), "each name once".to_owned(), name));
            }
        }
        Ok(())
    }

    /// The name of a mask or a rule.
    fn name<'n>(self, key: &str, whole: &Node, entries: &'n [Entry]) -> Result<&'n Node, ConfigError> {
        let key = format!("{key}.{}", Mask::NAME);
        let accepted = || format!("1 to {} lower-case ASCII letters, digits and _", Mask::NAME_CHARS);
        let node = self.part(&key, Mask::NAME, accepted(), whole, entries)?;
        let text = self.text(&key, accepted(), node)?;
        if !matches(text, Mask::NAME_PATTERN, Mask::NAME_CHARS) {
            return Err(self.out_of_range(key, accepted(), node));
        }
        Ok(node)
    }

    fn mask_regex(self, key: &str, mask: &Node, entries: &[Entry]) -> Result<(), ConfigError> {
        let key = format!("{key}.{}", Mask::REGEX);
        let accepted =
            || format!("a pattern of at most {} characters that does not match the empty text", Mask::REGEX_CHARS);
        let node = self.part(&key, Mask::REGEX, accepted(), mask, entries)?;
        let pattern = self.pattern(&key, accepted(), node)?;
        // A pattern that matches nothing would find a variable between any two characters.
        if pattern.is_match("") { Err(self.out_of_range(key, accepted(), node)) } else { Ok(()) }
    }

    fn pattern(self, key: &str, accepted: String, node: &Node) -> Result<regex::Regex, ConfigError> {
        let text = self.text(key, accepted.clone(), node)?;
        if text.chars().count() > Mask::REGEX_CHARS {
            return Err(self.out_of_range(key, accepted, node));
        }
        regex::Regex::new(text).map_err(|source| ConfigError::Pattern {
            place: self.place(node.line),
            key: key.to_owned(),
            source: Box::new(source),
        })
    }

    fn journal(self, entries: &[Entry]) -> Result<(), ConfigError> {
        self.keys(entries, Journal::KEYS)?;
        let named = Journal::KEYS.iter().zip(Journal::FIELDS);
        let field_of = |entry: &Entry| named.clone().find(|(key, _)| **key == entry.key).map(|(_, field)| field);
        entries
            .iter()
            .filter_map(|entry| Some((field_of(entry)?, entry)))
            .try_for_each(|(field, entry)| self.value(field, &entry.node))
    }

    fn sampling(self, key: &str, entries: &[Entry]) -> Result<(), ConfigError> {
        self.keys(entries, &Sampling::KEYS)?;
        for entry in entries {
            let key = format!("{key}.{}", entry.key);
            let ((fewest, most), (least, all)) = (Sampling::KEEP_BOUNDS, Sampling::RATIO_BOUNDS);
            let (kind, is_within) = if entry.key == Sampling::KEEP {
                let number = i128::from_value(&entry.node.value);
                let is_within = number.map(|number| (i128::from(fewest)..=i128::from(most)).contains(&number));
                (Kind::Integer { min: fewest, max: most }, is_within)
            } else {
                let number = f64::from_value(&entry.node.value);
                (Kind::Number { min: least, max: all }, number.map(|number| (least..=all).contains(&number)))
            };
            match is_within {
                Some(true) => {}
                Some(false) => return Err(self.out_of_range(key, kind.accepted(), &entry.node)),
                None => return Err(self.wrong_type(key, kind.accepted(), &entry.node)),
            }
        }
        Ok(())
    }

    fn rules(self, key: &str, items: &[Node]) -> Result<(), ConfigError> {
        let (mut names, mut fields) = (HashSet::new(), HashSet::new());
        for (index, item) in items.iter().enumerate() {
            let key = format!("{key}[{index}]");
            let Value::Map(entries) = &item.value else {
                return Err(self.wrong_type(key, format!("a map of {}", EventRule::KEYS.join(", ")), item));
            };
            self.keys(entries, &EventRule::KEYS)?;
            let name = self.name(&key, item, entries)?;
            if !names.insert(name.value.describe()) {
                return Err(self.out_of_range(format!("{key}.{}", EventRule::NAME), "each name once".to_owned(), name));
            }
            if let Some(field) = self.rule_match(&format!("{key}.{}", EventRule::MATCH), item, entries)? {
                fields.insert(field.value.describe());
                if fields.len() > EventRule::MOST_FIELDS {
                    let accepted = format!("at most {} different fields over all rules", EventRule::MOST_FIELDS);
                    return Err(self.out_of_range(format!("{key}.{}", EventRule::MATCH), accepted, field));
                }
            }
            self.rule_action(&format!("{key}.{}", EventRule::DO), item, entries)?;
        }
        Ok(())
    }

    /// The path of the field, when the rule is about one.
    fn rule_match<'n>(self, key: &str, rule: &Node, entries: &'n [Entry]) -> Result<Option<&'n Node>, ConfigError> {
        let accepted = || RuleMatch::ACCEPTED.to_owned();
        let node = self.part(key, EventRule::MATCH, accepted(), rule, entries)?;
        let Value::Map(parts) = &node.value else { return Err(self.wrong_type(key, accepted(), node)) };
        self.keys(parts, &RuleMatch::KEYS)?;
        let part = |name: &str| parts.iter().find(|entry| entry.key == name).map(|entry| &entry.node);
        let key_of = |name: &str| format!("{key}.{name}");
        match RuleMatch::KEYS.map(part) {
            [Some(template), None, None, None] => {
                let expected = "16 hex digits, lower case";
                self.shaped(&key_of(RuleMatch::TEMPLATE), expected, template, RuleMatch::TEMPLATE_PATTERN, 16)?;
                Ok(None)
            }
            [None, Some(regex), None, None] => {
                let expected = format!("a pattern of at most {} characters", Mask::REGEX_CHARS);
                self.pattern(&key_of(RuleMatch::REGEX), expected, regex)?;
                Ok(None)
            }
            [None, None, Some(field), Some(value)] => {
                let shape = Shape::FieldPath;
                self.shaped(&key_of(RuleMatch::FIELD), &shape.accepted(), field, shape.pattern(), Shape::FIELD_CHARS)?;
                let expected = format!("a text of at most {} characters", RuleMatch::VALUE_CHARS);
                self.shaped(&key_of(RuleMatch::VALUE), &expected, value, "", RuleMatch::VALUE_CHARS)?;
                Ok(Some(field))
            }
            _ => Err(self.out_of_range(key, accepted(), node)),
        }
    }

    fn rule_action(self, key: &str, rule: &Node, entries: &[Entry]) -> Result<(), ConfigError> {
        let accepted = || format!("one of {}", RuleAction::NAMES.join(", "));
        let node = self.part(key, EventRule::DO, accepted(), rule, entries)?;
        let text = self.text(key, accepted(), node)?;
        if RuleAction::NAMES.contains(&text) { Ok(()) } else { Err(self.out_of_range(key, accepted(), node)) }
    }

    fn shaped(self, key: &str, accepted: &str, node: &Node, pattern: &str, chars: usize) -> Result<(), ConfigError> {
        let text = self.text(key, accepted.to_owned(), node)?;
        if matches(text, pattern, chars) { Ok(()) } else { Err(self.out_of_range(key, accepted.to_owned(), node)) }
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
        if self.embedder == EmbedderKind::Onnx && self.embedder_model.is_none() {
            let key = "embedder_model";
            let node = Node { line: line_of(key).or_else(|| line_of("embedder")), value: Value::Null };
            return Err(check.out_of_range(key, "a directory, with embedder onnx".to_owned(), &node));
        }
        self.seeds_fit(check, &line_of)?;
        if self.wal_segment_bytes <= self.max_disk_bytes {
            return Ok(());
        }
        let key = "wal_segment_bytes";
        let node = Node { line: line_of(key), value: self.wal_segment_bytes.to_value() };
        Err(check.out_of_range(key, format!("at most max_disk_bytes, which is {}", self.max_disk_bytes), &node))
    }

    /// Seeds beyond `max_templates` would push one another out, without a word.
    fn seeds_fit(&self, check: Check<'_>, line_of: impl Fn(&str) -> Option<usize>) -> Result<(), ConfigError> {
        let seeds = self.seed_templates.len() + self.seed_logs.len();
        if seeds <= self.max_templates {
            return Ok(());
        }
        let key = "max_templates";
        let line = line_of(key).or_else(|| line_of("seed_templates")).or_else(|| line_of("seed_logs"));
        let node = Node { line, value: self.max_templates.to_value() };
        Err(check.out_of_range(
            key,
            format!("at least as many as seed_templates and seed_logs have together, {seeds}"),
            &node,
        ))
    }
}
