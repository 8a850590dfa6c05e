//! What an adapter implements: an event that is read by role and written to as one set of fields.

use std::borrow::Cow;

use super::enrichment::Enrichment;
use super::path::{Path, PathError};
use super::timestamp;
use crate::config::{Config, Fields, OnExisting, RuleMatch, TimeSource};
use crate::event::Timestamp;

/// What scoring reads of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The message (`message_field`).
    Message,
    /// When it happened (`timestamp_field`).
    Timestamp,
    /// Its own level (`level_field`).
    Level,
    /// One of `partition_by`, by its position there.
    Partition(usize),
    /// One of the fields that `rules` look at, by its position in [`Layout::ruled`].
    Ruled(usize),
}

/// A value as the event holds it. Null, lists and maps are no scalars: reading one gives nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// Text, any bytes.
    Text(Cow<'a, [u8]>),
    /// A number, as text.
    Number(Cow<'a, str>),
    /// True or false.
    Flag(bool),
    /// A point in time, where the host has a type for it.
    Time(Timestamp),
}

impl<'a> Scalar<'a> {
    /// The text of it; a number is its digits, a time its RFC 3339 text.
    pub fn into_text(self) -> Cow<'a, [u8]> {
        match self {
            Self::Text(text) => text,
            Self::Number(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
            Self::Number(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
            Self::Flag(true) => Cow::Borrowed(b"true"),
            Self::Flag(false) => Cow::Borrowed(b"false"),
            Self::Time(time) => Cow::Owned(timestamp::format(time).into_bytes()),
        }
    }
}

/// What became of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// They stand under the target.
    Fields,
    /// The event had something at the target and `on_existing` says to keep it: nothing was added.
    Kept,
    /// The event could not be written to; it is as it was.
    Failed,
}

/// An event of an agent. What is not read or written through this trait is not touched.
pub trait Event {
    /// The value of `input`; nothing when the event has none, or none that is a scalar.
    fn read(&self, input: Input) -> Option<Scalar<'_>>;

    /// When the event says it happened; `now` helps where its text has no year.
    fn time(&self, now: Timestamp) -> Option<Timestamp> {
        match self.read(Input::Timestamp)? {
            Scalar::Time(time) => Some(time),
            Scalar::Text(text) => timestamp::parse(&text, now),
            Scalar::Number(text) => timestamp::epoch(text.as_bytes()),
            Scalar::Flag(_) => None,
        }
    }

    /// The level that the event's format has of itself, for where no `level_field` is set.
    fn own_level(&self) -> Option<Scalar<'_>> {
        None
    }

    /// Writes every field of `enrichment` under the target, as `on_existing` says.
    fn write(&mut self, enrichment: &Enrichment<'_>) -> Written;
}

/// The part of the configuration that concerns an event's fields, with its paths read.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Where the message is.
    pub message: Path,
    /// Where the timestamp is.
    pub timestamp: Path,
    /// Where the level is, when the event has one of its own.
    pub level: Option<Path>,
    /// What parts the input into streams.
    pub partition: Vec<Path>,
    /// What rules look at, each once.
    pub ruled: Vec<Path>,
    /// Where the fields go.
    pub target: Path,
    /// The one key at the top of the event that gets the template's text as well.
    pub template_field: Option<String>,
    /// What to do with what is at the target already.
    pub on_existing: OnExisting,
    /// How much is written.
    pub detail: Fields,
    /// Whether parameters are written.
    pub parameters: bool,
    /// Which time an event is given.
    pub time: TimeSource,
}

/// Why a configuration's paths cannot be used together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A text is no path.
    #[error("{key}: {source}")]
    Path {
        /// The config key.
        key: &'static str,
        /// What is wrong with it.
        source: PathError,
    },
    /// Writing would destroy what is read.
    #[error("target {target:?}: expected a place of its own, but {key} ({path:?}) is there")]
    Overlap {
        /// The target.
        target: String,
        /// The config key whose path overlaps.
        key: &'static str,
        /// That path.
        path: String,
    },
}

impl Layout {
    /// Reads the paths of `config` and checks that what is written does not lie over what is read.
    pub fn new(config: &Config) -> Result<Self, LayoutError> {
        let path = |key, text: &str| Path::parse(text).map_err(|source| LayoutError::Path { key, source });
        let layout = Self {
            message: path("message_field", &config.message_field)?,
            timestamp: path("timestamp_field", &config.timestamp_field)?,
            level: config.level_field.as_deref().map(|text| path("level_field", text)).transpose()?,
            partition: config.partition_by.iter().map(|text| path("partition_by", text)).collect::<Result<_, _>>()?,
            ruled: ruled_fields(config).into_iter().map(|text| path("rules", text)).collect::<Result<_, _>>()?,
            target: path("target", &config.target)?,
            template_field: config.template_field.clone(),
            on_existing: config.on_existing,
            detail: config.fields,
            parameters: config.parameters,
            time: config.time,
        };
        layout.check()?;
        Ok(layout)
    }

    fn check(&self) -> Result<(), LayoutError> {
        let overlap = |target: &str, key, path: &Path| {
            Err(LayoutError::Overlap { target: target.to_owned(), key, path: path.to_string() })
        };
        let flat = self.template_field.as_ref();
        for (key, path) in self.inputs() {
            if self.target.overlaps(path) {
                return overlap(self.target.as_str(), key, path);
            }
            if let Some(flat) = flat.filter(|flat| *flat == path.as_str()) {
                return overlap(flat, key, path);
            }
        }
        match flat.filter(|flat| self.target.segments().first() == Some(*flat)) {
            Some(flat) => overlap(flat, "target", &self.target),
            None => Ok(()),
        }
    }

    fn inputs(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        [("message_field", &self.message), ("timestamp_field", &self.timestamp)]
            .into_iter()
            .chain(self.level.iter().map(|path| ("level_field", path)))
            .chain(self.partition.iter().map(|path| ("partition_by", path)))
            .chain(self.ruled.iter().map(|path| ("rules", path)))
    }

    /// The path `input` is read from; nothing for a level or a partition that is not configured.
    pub fn path(&self, input: Input) -> Option<&Path> {
        match input {
            Input::Message => Some(&self.message),
            Input::Timestamp => Some(&self.timestamp),
            Input::Level => self.level.as_ref(),
            Input::Partition(index) => self.partition.get(index),
            Input::Ruled(index) => self.ruled.get(index),
        }
    }
}

/// The fields that rules look at, each once, in the order they first appear.
pub(super) fn ruled_fields(config: &Config) -> Vec<&str> {
    let mut fields = Vec::new();
    for rule in &config.rules {
        if let RuleMatch::Field { field, .. } = &rule.matches
            && !fields.contains(&field.as_str())
        {
            fields.push(field.as_str());
        }
    }
    fields
}

/// The name an existing field gets under `on_existing: rename`: `anomaly_original`, and when an event has that
/// too, `anomaly_original_2` and so on.
pub fn renamed(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let first = format!("{name}_original");
    if !taken(&first) {
        return first;
    }
    (2_u64..).map(|n| format!("{first}_{n}")).find(|name| !taken(name)).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_over_what_is_read_is_refused() {
        for (target, key) in [("message", "message_field"), ("log", "timestamp_field"), ("host", "partition_by")] {
            let config = Config {
                target: target.to_owned(),
                timestamp_field: "log.timestamp".to_owned(),
                partition_by: vec!["host".to_owned()],
                ..Config::default()
            };
            let error = Layout::new(&config).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(target), "{error}");
        }
    }

    #[test]
    fn a_renamed_field_never_takes_a_name_in_use() {
        assert_eq!(renamed("anomaly", |_| false), "anomaly_original");
        assert_eq!(renamed("anomaly", |name| name == "anomaly_original"), "anomaly_original_2");
    }
}
