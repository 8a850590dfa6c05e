//! Why a configuration was not accepted.

use std::fmt;
use std::io;

use super::value::{printable, quoted};

/// Where in which configuration; displayed as `oddline.yaml:12: `, or as nothing when unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// File, or whatever the text came from; `None` for a configuration built in code.
    pub origin: Option<String>,
    /// Line, from 1.
    pub line: Option<usize>,
}

impl Place {
    pub(super) fn new(origin: Option<&str>, line: Option<usize>) -> Self {
        Self { origin: origin.map(str::to_owned), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.line) {
            (Some(origin), Some(line)) => write!(f, "{origin}:{line}: "),
            (Some(origin), None) => write!(f, "{origin}: "),
            (None, Some(line)) => write!(f, "line {line}: "),
            (None, None) => Ok(()),
        }
    }
}

/// A configuration that was not accepted. None of it takes effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{origin}: cannot read the configuration: {source}")]
    Read {
        /// The file.
        origin: String,
        /// What the system said.
        source: io::Error,
    },
    /// Far longer than any configuration; nothing was parsed.
    #[error("{place}the configuration is longer than {limit} bytes: is this the right file?")]
    TooLarge {
        /// The file.
        place: Place,
        /// The most that is read, in bytes.
        limit: usize,
    },
    /// The text is not UTF-8.
    #[error("{place}expected UTF-8 text, found bytes that are not: is this the right file?")]
    NotText {
        /// File and line of the first such byte.
        place: Place,
    },
    /// The file name tells no format.
    #[error("{origin}: cannot tell the format of the configuration: expected a name ending in {}", accepted.join(", "))]
    UnknownFormat {
        /// The file.
        origin: String,
        /// The endings that would have been accepted.
        accepted: &'static [&'static str],
    },
    /// The text is not of the format.
    #[error("{place}not valid {format}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// The format it was read as.
        format: &'static str,
        /// What the parser says.
        message: String,
    },
    /// There is no such key.
    #[error("{place}unknown key {}{}", quoted(key), hint(*nearest, known))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key found.
        key: String,
        /// The known key it may have been meant to be.
        nearest: Option<&'static str>,
        /// All that would have been accepted there.
        known: Vec<&'static str>,
    },
    /// A key stands twice.
    #[error("{place}key {} is set twice{}", quoted(key), first_line.map_or_else(String::new, |line| format!(", first on line {line}")))]
    DuplicateKey {
        /// Where it stands the second time.
        place: Place,
        /// The key.
        key: String,
        /// Where it stands the first time.
        first_line: Option<usize>,
    },
    /// A key that must be there is not.
    #[error("{place}{key} is missing: expected {expected}")]
    MissingKey {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// What should be there.
        expected: String,
    },
    /// The value is of the wrong type.
    #[error("{place}{key}: expected {expected}, found {found}")]
    WrongType {
        /// Where.
        place: Place,
        /// The key, or a part of it: `masks[2].name`.
        key: String,
        /// What is accepted.
        expected: String,
        /// What was found.
        found: String,
    },
    /// The value is of the right type but not accepted.
    #[error("{place}{key}: {found} is out of range: expected {accepted}")]
    OutOfRange {
        /// Where.
        place: Place,
        /// The key, or a part of it: `masks[2].name`.
        key: String,
        /// What was found.
        found: String,
        /// What is accepted.
        accepted: String,
    },
    /// A mask's pattern does not compile.
    #[error("{place}{key}: not a valid pattern: {}", printable(&source.to_string()))]
    Pattern {
        /// Where.
        place: Place,
        /// The key: `masks[2].regex`.
        key: String,
        /// What is wrong and where in the pattern.
        source: Box<regex::Error>,
    },
}

fn hint(nearest: Option<&str>, known: &[&str]) -> String {
    nearest.map_or_else(|| format!("; known keys: {}", known.join(", ")), |key| format!("; did you mean {key:?}?"))
}

impl ConfigError {
    /// Line of the fault, from 1, when it came from a text.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Read { .. } | Self::UnknownFormat { .. } => None,
            Self::TooLarge { place, .. }
            | Self::NotText { place }
            | Self::Syntax { place, .. }
            | Self::UnknownKey { place, .. }
            | Self::DuplicateKey { place, .. }
            | Self::MissingKey { place, .. }
            | Self::WrongType { place, .. }
            | Self::OutOfRange { place, .. }
            | Self::Pattern { place, .. } => place.line,
        }
    }

    /// The key at fault, when it is one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::UnknownKey { key, .. }
            | Self::DuplicateKey { key, .. }
            | Self::MissingKey { key, .. }
            | Self::WrongType { key, .. }
            | Self::OutOfRange { key, .. }
            | Self::Pattern { key, .. } => Some(key),
            _ => None,
        }
    }
}
