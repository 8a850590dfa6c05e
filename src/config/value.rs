//! A parsed configuration before it is checked: values of any shape, each with its line.

use std::path::PathBuf;

use super::choice::{
    BuiltinMask, Durability, EmbedderKind, Fields, JournalFormat, JournalMessage, OnExisting, TimeSource, Wildcards,
};
use super::table::Mask;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Line in the file, from 1; `None` for what did not come from a text.
    pub(super) line: Option<usize>,
    pub(super) value: Value,
}

/// What the three formats have in common.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Something no key takes, by its name (a TOML date).
    Other(&'static str),
}

/// One `key: value` of a map; duplicates are kept so that they can be reported.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: Option<usize>,
    pub(super) node: Node,
}

impl Value {
    pub(super) fn unplaced(self) -> Node {
        Node { line: None, value: self }
    }

    /// The value as an error message shows it, cut to a readable length.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing (null)".to_owned(),
            Self::Bool(flag) => flag.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => quoted(text),
            Self::List(items) => format!("a list of {}", items.len()),
            Self::Map(entries) => format!("a map of {}", entries.len()),
            Self::Other(name) => (*name).to_owned(),
        }
    }
}

/// `text` in quotes, escaped, and cut after 60 characters.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut characters = text.chars();
    let head: String = characters.by_ref().take(SHOWN).collect();
    let cut = if characters.next().is_some() { "…" } else { "" };
    format!("{head:?}{cut}")
}

/// What a parser says, fit for a terminal: control characters but newlines escaped, and cut after 2,000 characters.
pub(super) fn printable(message: &str) -> String {
    const SHOWN: usize = 2_000;
    let mut shown = String::new();
    for character in message.chars().take(SHOWN) {
        if character.is_control() && character != '\n' {
            shown.extend(character.escape_debug());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A Rust type that a key can have, to and from [`Value`].
pub(super) trait Setting: Sized {
    fn to_value(&self) -> Value;
    /// `None` when `value` is not of this type.
    fn from_value(value: &Value) -> Option<Self>;
}

impl Setting for bool {
    fn to_value(&self) -> Value {
        Value::Bool(*self)
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }
}

impl Setting for i128 {
    fn to_value(&self) -> Value {
        Value::Integer(*self)
    }

    /// Whole numbers written with a point or an exponent (`1e9`) are whole numbers, as in JSON Schema.
    fn from_value(value: &Value) -> Option<Self> {
        const EXACT: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;
        match value {
            Value::Integer(number) => Some(*number),
            Value::Number(number) if number.fract() == 0.0 && number.abs() <= EXACT => Some(*number as i128),
            _ => None,
        }
    }
}

macro_rules! unsigned {
    ($($type:ty),+) => {$(
        impl Setting for $type {
            fn to_value(&self) -> Value {
                Value::Integer(*self as i128)
            }

            fn from_value(value: &Value) -> Option<Self> {
                i128::from_value(value).and_then(|number| Self::try_from(number).ok())
            }
        }
    )+};
}

unsigned!(u64, usize);

impl Setting for f64 {
    fn to_value(&self) -> Value {
        Value::Number(*self)
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Some(*number),
            Value::Integer(number) => Some(*number as f64),
            _ => None,
        }
    }
}

impl Setting for String {
    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl Setting for PathBuf {
    /// For checking only: bytes that are not UTF-8 are replaced.
    fn to_value(&self) -> Value {
        Value::Text(self.to_string_lossy().into_owned())
    }

    fn from_value(value: &Value) -> Option<Self> {
        String::from_value(value).map(Self::from)
    }
}

impl<T: Setting> Setting for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_value)
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            _ => T::from_value(value).map(Some),
        }
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn to_value(&self) -> Value {
        Value::List(self.iter().map(|item| item.to_value().unplaced()).collect())
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::List(items) => items.iter().map(|item| T::from_value(&item.value)).collect(),
            _ => None,
        }
    }
}

impl Setting for Mask {
    fn to_value(&self) -> Value {
        let entry =
            |key: &str, text: &String| Entry { key: key.to_owned(), line: None, node: text.to_value().unplaced() };
        Value::Map(vec![entry(Self::NAME, &self.name), entry(Self::REGEX, &self.regex)])
    }

    fn from_value(value: &Value) -> Option<Self> {
        let Value::Map(entries) = value else { return None };
        let text = |key: &str| {
            entries.iter().find(|entry| entry.key == key).and_then(|entry| String::from_value(&entry.node.value))
        };
        Some(Self { name: text(Self::NAME)?, regex: text(Self::REGEX)? })
    }
}

macro_rules! choices {
    ($($type:ty),+) => {$(
        impl Setting for $type {
            fn to_value(&self) -> Value {
                Value::Text(self.as_str().to_owned())
            }

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Text(text) => text.parse().ok(),
                    _ => None,
                }
            }
        }
    )+};
}

choices!(
    BuiltinMask,
    Durability,
    EmbedderKind,
    Fields,
    JournalFormat,
    JournalMessage,
    OnExisting,
    TimeSource,
    Wildcards
);
