//! Vector's log event as oddline reads and writes it, in place: metadata and finalizers stay as they are.
//!
//! | the event is | message | fields go to |
//! |---|---|---|
//! | a map (the legacy namespace, and most of Vector's) | `message_field` | `target` |
//! | a text as a whole (Vector's namespace, from text sources) | the text | `target` in the event's metadata: `%anomaly` |
//!
//! A path that begins with `%` names metadata, as in VRL. A message, timestamp or host that is not where the defaults say is
//! looked for where Vector's schema says it is.

use std::borrow::Cow;

use bytes::Bytes;
use oddline::config::{Config, OnExisting};
use oddline::engine::Synthetic;
use oddline::event::Timestamp;
use oddline::plugin::component::synthetic_values;
use oddline::plugin::event::renamed;
use oddline::plugin::{Enrichment, Event, Input, Layout, MapEntry, Path, Scalar, Value as Field, Written};
use vector_lib::event::{LogEvent, ObjectMap, Value};

/// What an event is read and written by: the paths, and which of them are the defaults.
#[derive(Debug)]
pub(crate) struct Map {
    layout: std::sync::Arc<Layout>,
    message_is_default: bool,
    timestamp_is_default: bool,
}

impl Map {
    pub(crate) fn new(config: &Config, layout: std::sync::Arc<Layout>) -> Self {
        let default = Config::default();
        Self {
            message_is_default: config.message_field == default.message_field,
            timestamp_is_default: config.timestamp_field == default.timestamp_field,
            layout,
        }
    }

    /// Gives an event of oddline's own its message: where `message_field` says that events have it, or by default where Vector's schema does.
    pub(crate) fn set_message(&self, log: &mut LogEvent, message: Value) {
        let path = &self.layout.message;
        match log.as_map_mut() {
            Some(root) if !self.message_is_default && !path.as_str().starts_with('%') => {
                insert(root, path.segments(), OnExisting::Replace, || message);
            }
            _ => drop(log.maybe_insert(vector_lib::config::log_schema().message_key_target_path(), message)),
        }
    }

    /// Gives an event of oddline's own what names the stream it is about, where the stream's events have it. A text as a whole has no place for it.
    pub(crate) fn set_stream(&self, log: &mut LogEvent, synthetic: &Synthetic) {
        let Some(root) = log.as_map_mut() else { return };
        for (path, value) in synthetic_values(synthetic, &self.layout) {
            if !path.as_str().starts_with('%') {
                insert(root, path.segments(), OnExisting::Keep, || Value::from(value.to_owned()));
            }
        }
    }

    fn read<'l>(&self, log: &'l LogEvent, input: Input) -> Option<&'l Value> {
        let path = self.layout.path(input)?;
        if let Some(value) = find(log, path) {
            return Some(value);
        }
        match input {
            Input::Message if self.message_is_default => match log.value() {
                Value::Object(_) => log.get_message(),
                whole => Some(whole),
            },
            Input::Timestamp if self.timestamp_is_default => log.get_timestamp(),
            Input::Partition(_) if path.as_str() == "host" => log.get_host(),
            _ => None,
        }
    }
}

/// An event that is scored and gets the fields.
pub(crate) struct Scored<'e> {
    pub(crate) log: &'e mut LogEvent,
    pub(crate) map: &'e Map,
}

impl Event for Scored<'_> {
    fn read(&self, input: Input) -> Option<Scalar<'_>> {
        self.map.read(self.log, input).and_then(scalar)
    }

    fn write(&mut self, enrichment: &Enrichment<'_>) -> Written {
        let layout = &*self.map.layout;
        let root =
            if self.log.value().is_object() { self.log.value_mut() } else { self.log.metadata_mut().value_mut() };
        let Value::Object(root) = root else { return Written::Failed };
        if !insert(root, layout.target.segments(), layout.on_existing, || fields(enrichment)) {
            return Written::Kept;
        }
        if let (Some(name), Some(template)) = (&layout.template_field, enrichment.template()) {
            insert(root, std::slice::from_ref(name), layout.on_existing, || text(template));
        }
        Written::Fields
    }
}

/// An event that is only learned from.
pub(crate) struct Learned<'e> {
    pub(crate) log: &'e LogEvent,
    pub(crate) map: &'e Map,
}

impl Event for Learned<'_> {
    fn read(&self, input: Input) -> Option<Scalar<'_>> {
        self.map.read(self.log, input).and_then(scalar)
    }

    fn write(&mut self, _: &Enrichment<'_>) -> Written {
        Written::Fields
    }
}

/// The value at `path`: of the one key with the dots, or else of the nested maps.
fn find<'l>(log: &'l LogEvent, path: &Path) -> Option<&'l Value> {
    let (root, key) = match path.as_str().strip_prefix('%') {
        Some(key) => (log.metadata().value(), key),
        None => (log.value(), path.as_str()),
    };
    let root = root.as_object()?;
    if let Some(value) = root.get(key) {
        return Some(value);
    }
    let (first, rest) = path.segments().split_first()?;
    let first = root.get(first.strip_prefix('%').unwrap_or(first))?;
    rest.iter().try_fold(first, |value, name| value.as_object()?.get(name.as_str()))
}

fn scalar(value: &Value) -> Option<Scalar<'_>> {
    match value {
        Value::Bytes(bytes) => Some(Scalar::Text(Cow::Borrowed(bytes))),
        Value::Regex(regex) => Some(Scalar::Text(Cow::Borrowed(regex.as_bytes_slice()))),
        Value::Integer(number) => Some(Scalar::Number(Cow::Owned(number.to_string()))),
        Value::Float(number) => Some(Scalar::Number(Cow::Owned(format!("{:?}", number.into_inner())))),
        Value::Boolean(flag) => Some(Scalar::Flag(*flag)),
        Value::Timestamp(time) => Some(Scalar::Time(Timestamp(time.timestamp_micros()))),
        Value::Object(_) | Value::Array(_) | Value::Null => None,
    }
}

/// Puts a value where `names` lead, making maps on the way; false when something is there and is to be kept.
fn insert(place: &mut ObjectMap, names: &[String], existing: OnExisting, value: impl FnOnce() -> Value) -> bool {
    let Some((first, rest)) = names.split_first() else { return false };
    if !rest.is_empty()
        && let Some(Value::Object(inner)) = place.get_mut(first.as_str())
    {
        return insert(inner, rest, existing, value);
    }
    match existing {
        OnExisting::Keep if place.contains_key(first.as_str()) => return false,
        OnExisting::Rename => rename(place, first),
        OnExisting::Keep | OnExisting::Replace => {}
    }
    let nested = |value, name: &String| Value::Object(ObjectMap::from([(name.as_str().into(), value)]));
    place.insert(first.as_str().into(), rest.iter().rev().fold(value(), nested));
    true
}

fn rename(place: &mut ObjectMap, name: &str) {
    if let Some(old) = place.remove(name) {
        let new = renamed(name, |name| place.contains_key(name));
        place.insert(new.into(), old);
    }
}

fn fields(enrichment: &Enrichment<'_>) -> Value {
    let mut fields = ObjectMap::new();
    enrichment.for_each(|name, value| drop(fields.insert(name.into(), field(value))));
    Value::Object(fields)
}

fn field(value: Field<'_>) -> Value {
    match value {
        Field::Flag(flag) => Value::Boolean(flag),
        Field::Number(number) => Value::from_f64_or_zero(number),
        Field::Text(value) => text(value),
        Field::Texts(texts) => Value::Array(texts.iter().map(|value| text(value)).collect()),
        Field::Numbers(numbers) => {
            let entry = |(name, number): &(&'static str, f64)| ((*name).into(), Value::from_f64_or_zero(*number));
            Value::Object(numbers.iter().map(entry).collect())
        }
        Field::Maps(maps) => Value::Array(maps.iter().map(|entries| map(entries)).collect()),
    }
}

fn map(parts: &[MapEntry<'_>]) -> Value {
    Value::Object(parts.iter().map(|(name, part)| ((*name).into(), field(*part))).collect())
}

fn text(text: &str) -> Value {
    Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}
