//! A stream as people name it: `host=db1,service=shop`, the values of `partition_by`.

use std::path::Path;

use super::incidents::key_text;
use super::open::Engine;
use super::sections;
use super::stream_names::StreamNames;
use crate::config::Config;
use crate::event::StreamKey;
use crate::storage::{FileSystem, checkpoint};

/// A stream that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// As the history has it.
    pub key: StreamKey,
    /// What the journal may call it: by its values, or by its key where these were not at hand (a silence).
    pub names: Vec<String>,
}

/// A stream is not named as streams are told apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a stream as {}, found {found:?}", streams(partition_by))]
pub struct NotAStream {
    /// What tells streams apart.
    pub partition_by: Vec<String>,
    /// What was given, cut.
    pub found: String,
}

fn streams(partition_by: &[String]) -> String {
    if partition_by.is_empty() {
        return "nothing (partition_by is empty)".to_owned();
    }
    partition_by.iter().map(|field| format!("{field}=VALUE")).collect::<Vec<_>>().join(",")
}

impl Stream {
    /// The stream that `text` names: values of `config.partition_by`; a field that is left out is one the events do not have.
    ///
    /// # Errors
    /// When a part is no pair, names what is not in `partition_by`, or names it twice.
    pub fn parse(config: &Config, text: &str) -> Result<Self, NotAStream> {
        let fields = &config.partition_by;
        let error = || NotAStream { partition_by: fields.clone(), found: text.chars().take(200).collect() };
        let mut values: Vec<Option<&str>> = vec![None; fields.len()];
        for part in text.split(',') {
            let (field, value) = part.split_once('=').ok_or_else(error)?;
            let place = fields.iter().position(|name| name == field).ok_or_else(error)?;
            let place = values.get_mut(place).filter(|place| place.is_none()).ok_or_else(error)?;
            *place = Some(value);
        }
        let key = StreamKey::of_values(values.iter().copied());
        Ok(Self { key, names: vec![StreamKey::name_of(&values), key_text(key)] })
    }
}

/// The stream that the journal calls `name`: as the newest checkpoint has it, or else by its key or its values; nothing when that leaves open which.
pub(super) fn named(fs: &dyn FileSystem, data_dir: &Path, config: &Config, name: &str) -> Option<StreamKey> {
    known(fs, data_dir).key_of(name).or_else(|| key_of_text(name)).or_else(|| key_of_values(config, name))
}

fn known(fs: &dyn FileSystem, data_dir: &Path) -> StreamNames {
    let newest = checkpoint::read_newest(fs, &data_dir.join("state"));
    let newest = newest.inspect_err(|error| tracing::warn!(%error, "names of streams")).ok();
    let names = newest.and_then(|read| read.checkpoint).and_then(|newest| sections::stream_names(&newest).ok());
    names.unwrap_or_default()
}

/// As [`key_text`] makes it.
fn key_of_text(text: &str) -> Option<StreamKey> {
    u64::from_str_radix(text, 16).ok().map(StreamKey).filter(|key| key_text(*key) == text)
}

/// A value may have a `/`, too.
fn key_of_values(config: &Config, name: &str) -> Option<StreamKey> {
    let value = |text| if text == "-" { None } else { Some(text) };
    let values: Vec<Option<&str>> = match config.partition_by.len() {
        1 => vec![value(name)],
        _ => name.split('/').map(value).collect(),
    };
    (values.len() == config.partition_by.len()).then(|| StreamKey::of_values(values.into_iter()))
}

impl Engine {
    /// The stream that a text names, see [`Stream::parse`].
    ///
    /// # Errors
    /// As [`Stream::parse`].
    pub fn stream(&self, text: &str) -> Result<Stream, NotAStream> {
        Stream::parse(&self.core().config, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_by_the_values_it_is_told_apart_by() {
        let of = |fields: &[&str]| Config {
            partition_by: fields.iter().map(|field| (*field).to_owned()).collect(),
            ..Config::default()
        };
        let two = of(&["host", "service"]);
        for (text, values, name) in [
            ("host=db1,service=a=b", [Some("db1"), Some("a=b")], "db1/a=b"),
            ("service=shop", [None, Some("shop")], "-/shop"),
            ("host=", [Some(""), None], "/-"),
        ] {
            let stream = Stream::parse(&two, text).unwrap();
            assert_eq!(stream.key, StreamKey::of_values(values.into_iter()));
            assert_eq!(stream.names, [name.to_owned(), format!("{:016x}", stream.key.0)]);
        }
        for bad in ["", "db1", "host", "pod=x", "host=a,host=b", "host=a,"] {
            let error = Stream::parse(&two, bad).unwrap_err().to_string();
            assert!(error.contains("host=VALUE,service=VALUE"), "{error}");
        }
        assert_eq!(key_of_values(&two, "db1/-"), Some(StreamKey::of_values([Some("db1"), None].into_iter())));
        assert_eq!(key_of_values(&two, "a/b/c"), None, "which of the two has the slash?");
        assert_eq!(key_of_values(&of(&["host"]), "a/b"), Some(StreamKey::of_values([Some("a/b")].into_iter())));
        assert_eq!((key_of_text("00000000000000ab"), key_of_text("ab")), (Some(StreamKey(0xab)), None));
        assert!(Stream::parse(&of(&[]), "host=db1").unwrap_err().to_string().contains("partition_by is empty"));
    }
}
