//! From a file, a text or a parsed value to a checked [`Config`].

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::check::Check;
use super::error::{ConfigError, Place};
use super::table::{Config, FIELDS, Field};
use super::value::{Entry, Node, Value, printable};
use super::{json, toml, yaml};

/// The most bytes that are parsed: a thousand times what a configuration needs.
const MAX_BYTES: usize = 1 << 20;

/// The deepest nesting that is looked into. A list of maps in a map needs three; the YAML parser takes
/// tens of kilobytes of stack a level, and an agent's threads are small.
pub(super) const MAX_DEPTH: usize = 6;

/// The formats a configuration can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// YAML 1.2, one document.
    Yaml,
    /// TOML 1.
    Toml,
    /// JSON, one object.
    Json,
}

impl Format {
    /// Endings of file names, without the dot, and the format each stands for.
    const ENDINGS: [(&'static str, Self); 4] =
        [("yaml", Self::Yaml), ("yml", Self::Yaml), ("toml", Self::Toml), ("json", Self::Json)];

    /// The endings of file names that tell a format.
    pub const ACCEPTED_ENDINGS: &'static [&'static str] =
        &[Self::ENDINGS[0].0, Self::ENDINGS[1].0, Self::ENDINGS[2].0, Self::ENDINGS[3].0];

    /// The format that the ending of `path` stands for.
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?;
        Self::ENDINGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending)).map(|(_, format)| *format)
    }

    /// Its name in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yaml => "YAML",
            Self::Toml => "TOML",
            Self::Json => "JSON",
        }
    }
}

/// A text that a parser refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) line: Option<usize>,
    pub(super) message: String,
}

/// Lines by byte offset.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        Self(memchr::memchr_iter(b'\n', text.as_bytes()).collect())
    }

    /// Line of the byte at `offset`, from 1.
    pub(super) fn at(&self, offset: usize) -> usize {
        1 + self.0.partition_point(|&end| end < offset)
    }
}

impl Config {
    /// Reads a `.yaml`, `.yml`, `.toml` or `.json` file and checks it. An empty file gives the defaults.
    ///
    /// # Errors
    /// Whatever keeps the file from being a configuration, with file, line and key where they are known.
    pub fn from_path(path: &Path) -> Result<Self, ConfigError> {
        let origin = path.display().to_string();
        let Some(format) = Format::of(path) else {
            return Err(ConfigError::UnknownFormat { origin, accepted: Format::ACCEPTED_ENDINGS });
        };
        let mut bytes = Vec::new();
        File::open(path)
            // One byte more than is accepted tells that there is more, whatever the file pretends to be.
            .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
            .map_err(|source| ConfigError::Read { origin: origin.clone(), source })?;
        Self::from_bytes(&bytes, format, &origin)
    }

    fn from_bytes(bytes: &[u8], format: Format, origin: &str) -> Result<Self, ConfigError> {
        too_large(bytes.len(), origin)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::from_str(text, format, origin),
            Err(error) => {
                let line = 1 + memchr::memchr_iter(b'\n', &bytes[..error.valid_up_to()]).count();
                Err(ConfigError::NotText { place: Place::new(Some(origin), Some(line)) })
            }
        }
    }

    /// Parses and checks `text`; `origin` is the file or whatever else errors shall name.
    /// An empty text gives the defaults.
    ///
    /// # Errors
    /// As [`Config::from_path`], but for reading.
    pub fn from_str(text: &str, format: Format, origin: &str) -> Result<Self, ConfigError> {
        too_large(text.len(), origin)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let parsed = match format {
            Format::Yaml => yaml::parse(text),
            Format::Toml => toml::parse(text),
            Format::Json => json::parse(text),
        };
        let root = parsed.map_err(|Refused { line, message }| ConfigError::Syntax {
            place: Place::new(Some(origin), line),
            format: format.as_str(),
            message: printable(&message),
        })?;
        Self::from_node(&root, origin)
    }

    /// Checks a configuration that someone else parsed, as an agent does with a plugin's stanza;
    /// `origin` is what errors shall name, since lines are not known.
    ///
    /// # Errors
    /// As [`Config::from_str`], but for syntax.
    pub fn from_value(value: &serde_json::Value, origin: &str) -> Result<Self, ConfigError> {
        Self::from_node(&json::from_value(value, MAX_DEPTH), origin)
    }

    fn from_node(root: &Node, origin: &str) -> Result<Self, ConfigError> {
        let check = Check { origin: Some(origin) };
        let entries: &[Entry] = match &root.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            other => {
                return Err(ConfigError::WrongType {
                    place: Place::new(Some(origin), root.line),
                    key: "the configuration".to_owned(),
                    expected: "a map of keys to values".to_owned(),
                    found: other.describe(),
                });
            }
        };
        let known: Vec<&'static str> = FIELDS.iter().map(|field| field.key).collect();
        check.keys(entries, &known)?;
        let mut config = Self::default();
        for entry in entries {
            config.take(entry, check)?;
        }
        let line_of = |key: &str| entries.iter().find(|entry| entry.key == key).and_then(|entry| entry.node.line);
        config.check_together(check, line_of)?;
        Ok(config)
    }

    fn take(&mut self, entry: &Entry, check: Check<'_>) -> Result<(), ConfigError> {
        let Some(field) = Field::find(&entry.key) else { return Ok(()) };
        check.value(field, &entry.node)?;
        if self.set(field.key, &entry.node.value) { Ok(()) } else { Err(check.not_accepted(field, &entry.node)) }
    }
}

fn too_large(bytes: usize, origin: &str) -> Result<(), ConfigError> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(ConfigError::TooLarge { place: Place::new(Some(origin), None), limit: MAX_BYTES })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one_and_end_with_their_newline() {
        let lines = Lines::of("a\nb\n\nc");
        for (offset, line) in [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (99, 4)] {
            assert_eq!(lines.at(offset), line, "{offset}");
        }
    }

    #[test]
    fn every_value_that_passes_the_checks_can_be_set() {
        let sample = Config::sample();
        sample.validate().unwrap();
        let mut config = Config::default();
        for (field, value) in sample.values() {
            assert!(config.set(field.key, &value), "{}", field.key);
        }
        assert_eq!(config, sample);
    }
}
