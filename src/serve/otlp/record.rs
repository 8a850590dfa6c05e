//! A log record, whatever it is encoded in: what is read of it, and which attributes it gets.

use std::borrow::Cow;

use crate::config::OnExisting;
use crate::event::Timestamp;
use crate::plugin::event::renamed;
use crate::plugin::{Enrichment, Event, Input, Layout, Scalar, Value, Written};

/// OpenTelemetry's name for the template.
const TEMPLATE: &str = "log.record.template";
/// The record's own severity, as a path.
const SEVERITY: &str = "severity_text";
/// The most maps within maps that are looked into.
pub(super) const MAX_DEPTH: usize = 16;

/// Keys and scalars; of maps the keys inside, joined by dots.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Flat<'a>(Vec<(Cow<'a, str>, Scalar<'a>)>);

impl<'a> Flat<'a> {
    pub(super) fn push(&mut self, key: Cow<'a, str>, value: Scalar<'a>) {
        self.0.push((key, value));
    }

    /// The last of a key counts.
    fn get(&self, key: &str) -> Option<&Scalar<'a>> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

/// `key` below `prefix`.
pub(super) fn joined<'a>(prefix: &str, key: Cow<'a, str>) -> Cow<'a, str> {
    if prefix.is_empty() { key } else { Cow::Owned(format!("{prefix}.{key}")) }
}

/// What is read of a record.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Record<'a> {
    /// A body that is a scalar.
    pub(super) body: Option<Scalar<'a>>,
    /// One that is a map.
    pub(super) fields: Flat<'a>,
    pub(super) attributes: Flat<'a>,
    pub(super) severity: Option<Cow<'a, str>>,
    pub(super) time_unix_nano: u64,
    pub(super) observed_time_unix_nano: u64,
    /// Keys of attributes, also of those that are no scalars.
    pub(super) keys: Vec<Cow<'a, str>>,
}

impl Record<'_> {
    fn time(&self) -> Option<Timestamp> {
        let nanos = [self.time_unix_nano, self.observed_time_unix_nano].into_iter().find(|nanos| *nanos > 0)?;
        i64::try_from(nanos / 1_000).ok().map(Timestamp)
    }

    /// Whether an attribute has one of our names.
    pub(super) fn has_ours(&self, layout: &Layout) -> bool {
        self.keys.iter().any(|key| is_ours(key, layout))
    }

    /// What becomes of an attribute that was there: as it is, gone, or under another name.
    pub(super) fn fate(&self, key: &str, layout: &Layout) -> Fate {
        if !is_ours(key, layout) {
            return Fate::Stays;
        }
        match layout.on_existing {
            OnExisting::Keep => Fate::Stays,
            OnExisting::Replace => Fate::Goes,
            OnExisting::Rename => Fate::Renamed(renamed(key, |name| self.keys.iter().any(|key| key == name))),
        }
    }
}

/// What becomes of an attribute.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    Goes,
    Renamed(String),
}

/// Whether `key` is one of those we write; what was renamed before is not.
fn is_ours(key: &str, layout: &Layout) -> bool {
    let below = key.strip_prefix(layout.target.as_str());
    let is_below = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    is_below && !key.contains("_original") || key == TEMPLATE || layout.template_field.as_deref() == Some(key)
}

/// The value of an attribute of ours.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attribute<'a> {
    Flag(bool),
    Number(f64),
    Text(&'a str),
    Texts(&'a [Cow<'a, str>]),
}

/// Keys of attributes, one after the other in the same memory.
struct Key {
    text: String,
    /// How much of it is the target.
    target: usize,
}

impl Key {
    fn below(target: &str) -> Self {
        Self { text: target.to_owned(), target: target.len() }
    }

    fn of(&mut self, names: &[&str]) -> &str {
        self.text.truncate(self.target);
        for name in names {
            self.text.push('.');
            self.text.push_str(name);
        }
        &self.text
    }
}

/// A record as the component reads and writes it; attributes are appended to `out` by `push`.
pub(super) struct LogRecord<'r, 'a> {
    pub(super) record: &'r Record<'a>,
    pub(super) resource: &'r Flat<'a>,
    pub(super) layout: &'r Layout,
    pub(super) push: fn(&mut Vec<u8>, &str, Attribute<'_>),
    pub(super) out: &'r mut Vec<u8>,
}

impl LogRecord<'_, '_> {
    fn field(&self, path: &str) -> Option<Scalar<'_>> {
        let known = match path {
            "host" => Some("host.name"),
            "service" => Some("service.name"),
            _ => None,
        };
        let Record { attributes, fields, .. } = self.record;
        let places = [attributes, self.resource, fields];
        let names = std::iter::once(path).chain(known);
        let found = names.flat_map(|name| places.into_iter().filter_map(move |place| place.get(name))).next();
        found.cloned()
    }
}

impl Event for LogRecord<'_, '_> {
    fn read(&self, input: Input) -> Option<Scalar<'_>> {
        if input == Input::Timestamp {
            return self.record.time().map(Scalar::Time);
        }
        let path = self.layout.path(input)?.as_str();
        match input {
            Input::Message if self.record.body.is_some() => self.record.body.clone(),
            _ if path == SEVERITY => {
                self.record.severity.as_deref().map(|text| Scalar::Text(Cow::Borrowed(text.as_bytes())))
            }
            _ => self.field(path),
        }
    }

    fn write(&mut self, enrichment: &Enrichment<'_>) -> Written {
        if self.layout.on_existing == OnExisting::Keep && self.record.has_ours(self.layout) {
            return Written::Kept;
        }
        let (out, push, mut key) = (&mut *self.out, self.push, Key::below(self.layout.target.as_str()));
        enrichment.for_each(|name, value| match value {
            Value::Text(text) if name == "template" => push(out, TEMPLATE, Attribute::Text(text)),
            Value::Flag(flag) => push(out, key.of(&[name]), Attribute::Flag(flag)),
            Value::Number(number) => push(out, key.of(&[name]), Attribute::Number(number)),
            Value::Text(text) => push(out, key.of(&[name]), Attribute::Text(text)),
            Value::Texts(texts) => push(out, key.of(&[name]), Attribute::Texts(texts)),
            Value::Numbers(numbers) => {
                for (inner, number) in numbers {
                    push(out, key.of(&[name, inner]), Attribute::Number(*number));
                }
            }
        });
        let template =
            self.layout.template_field.as_deref().filter(|name| *name != TEMPLATE).zip(enrichment.template());
        if let Some((name, text)) = template {
            push(out, name, Attribute::Text(text));
        }
        Written::Fields
    }
}
