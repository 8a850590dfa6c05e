//! A log record, whatever it is encoded in: what is read of it, and which attributes it gets.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::config::OnExisting;
use crate::event::Timestamp;
use crate::plugin::event::renamed;
use crate::plugin::path::Path;
use crate::plugin::{Enrichment, Event, Input, Layout, MapEntry, Scalar, Value, Written};

/// OpenTelemetry's name for the template.
const TEMPLATE: &str = "log.record.template";
/// The record's own severity, as paths.
const SEVERITY_TEXT: &str = "severity_text";
const SEVERITY_NUMBER: &str = "severity_number";
/// The most maps within maps that are looked into.
pub(super) const MAX_DEPTH: usize = 16;

/// The fields that are looked at; whatever else a record has is passed over, so that hardly anything is kept of what somebody sends.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// As they stand in the configuration, and OpenTelemetry's names for some of them.
    paths: Vec<String>,
    /// What keys of attributes that are ours begin with.
    ours: Vec<String>,
}

/// What a key leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'w> {
    /// The place of a scalar that stands there.
    pub(super) scalar: Option<usize>,
    /// The beginning of a path that goes into a map that stands there.
    pub(super) inside: Option<&'w str>,
}

impl Wanted {
    pub(super) fn of(layout: &Layout) -> Self {
        let configured =
            std::iter::once(&layout.message).chain(&layout.level).chain(&layout.partition).chain(&layout.ruled);
        let configured = configured.map(Path::as_str);
        let paths = configured.flat_map(|path| std::iter::once(path).chain(conventional(path))).map(str::to_owned);
        let ours = [layout.target.as_str(), TEMPLATE].into_iter().chain(layout.template_field.as_deref());
        Self { paths: paths.collect(), ours: ours.map(str::to_owned).collect() }
    }

    #[cfg(test)]
    pub(super) fn these(paths: &[&str]) -> Self {
        Self { paths: paths.iter().map(|path| (*path).to_owned()).collect(), ours: vec![String::new()] }
    }

    /// What `key` leads to, at the top or below `prefix`.
    pub(super) fn find(&self, prefix: Option<&str>, key: &str) -> Found<'_> {
        let mut found = Found { scalar: None, inside: None };
        for (place, path) in self.paths.iter().enumerate() {
            let rest = match prefix {
                None => Some(path.as_str()),
                Some(prefix) => path.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')),
            };
            match rest.and_then(|rest| rest.strip_prefix(key)) {
                Some("") => found.scalar = found.scalar.or(Some(place)),
                Some(more) if more.starts_with('.') => found.inside = path.get(..path.len() - more.len()),
                _ => {}
            }
        }
        found
    }

    fn may_be_ours(&self, key: &str) -> bool {
        self.ours.iter().any(|ours| key.starts_with(ours.as_str()))
    }
}

/// OpenTelemetry's name for what others call so.
fn conventional(path: &str) -> Option<&'static str> {
    match path {
        "host" => Some("host.name"),
        "service" => Some("service.name"),
        _ => None,
    }
}

/// Scalars at the places of wanted paths.
#[derive(Clone, Debug)]
pub(super) struct Flat<'w, 'a> {
    pub(super) wanted: &'w Wanted,
    values: Vec<Option<Scalar<'a>>>,
}

impl<'w, 'a> Flat<'w, 'a> {
    pub(super) const fn new(wanted: &'w Wanted) -> Self {
        Self { wanted, values: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.values.clear();
    }

    /// The last of a path counts.
    pub(super) fn put(&mut self, place: usize, value: Scalar<'a>) {
        if self.values.len() <= place {
            self.values.resize(place + 1, None);
        }
        if let Some(kept) = self.values.get_mut(place) {
            *kept = Some(value);
        }
    }

    pub(super) fn get(&self, path: &str) -> Option<&Scalar<'a>> {
        let place = self.wanted.paths.iter().position(|wanted| wanted == path)?;
        self.values.get(place)?.as_ref()
    }
}

/// What is read of a record.
#[derive(Debug)]
pub(super) struct Record<'w, 'a> {
    /// A body that is a scalar.
    pub(super) body: Option<Scalar<'a>>,
    /// One that is a map.
    pub(super) fields: Flat<'w, 'a>,
    pub(super) attributes: Flat<'w, 'a>,
    pub(super) event_name: Option<Cow<'a, str>>,
    pub(super) severity_number: u64,
    pub(super) severity_text: Option<Cow<'a, str>>,
    pub(super) time_unix_nano: u64,
    pub(super) observed_time_unix_nano: u64,
    /// Whether there are any attributes.
    pub(super) has_attributes: bool,
    /// Keys of attributes that may have one of our names, also of those that are no scalars.
    pub(super) keys: Vec<Cow<'a, str>>,
}

impl<'w, 'a> Record<'w, 'a> {
    pub(super) const fn new(wanted: &'w Wanted) -> Self {
        Self {
            body: None,
            fields: Flat::new(wanted),
            attributes: Flat::new(wanted),
            event_name: None,
            severity_number: 0,
            severity_text: None,
            time_unix_nano: 0,
            observed_time_unix_nano: 0,
            has_attributes: false,
            keys: Vec::new(),
        }
    }

    /// Forgets the attributes.
    pub(super) fn clear_attributes(&mut self) {
        self.attributes.clear();
        self.keys.clear();
        self.has_attributes = false;
    }

    /// Notes the key of an attribute.
    pub(super) fn note(&mut self, key: Cow<'a, str>) {
        self.has_attributes = true;
        if self.attributes.wanted.may_be_ours(&key) {
            self.keys.push(key);
        }
    }

    fn time(&self) -> Option<Timestamp> {
        let nanos = [self.time_unix_nano, self.observed_time_unix_nano].into_iter().find(|nanos| *nanos > 0)?;
        i64::try_from(nanos / 1_000).ok().map(Timestamp)
    }

    /// The name of the range that the number is in.
    const fn level(&self) -> Option<&'static str> {
        match self.severity_number {
            1..=4 => Some("TRACE"),
            5..=8 => Some("DEBUG"),
            9..=12 => Some("INFO"),
            13..=16 => Some("WARN"),
            17..=20 => Some("ERROR"),
            21..=24 => Some("FATAL"),
            _ => None,
        }
    }

    /// What the source called its level, unless that is nothing.
    fn level_text(&self) -> Option<&str> {
        self.severity_text.as_deref().filter(|text| !text.trim().is_empty())
    }

    /// Whether an attribute has one of our names.
    pub(super) fn has_ours(&self, layout: &Layout) -> bool {
        self.keys.iter().any(|key| is_ours(key, layout))
    }
}

/// What becomes of an attribute that was there: as it is, gone, or under another name.
pub(super) struct Fates<'r> {
    layout: &'r Layout,
    taken: HashSet<&'r str>,
    /// Each name is made once, however often its key is there.
    renamed: HashMap<String, String>,
}

impl<'r> Fates<'r> {
    pub(super) fn of(record: &'r Record<'_, '_>, layout: &'r Layout) -> Self {
        Self { layout, taken: record.keys.iter().map(|key| &**key).collect(), renamed: HashMap::new() }
    }

    pub(super) fn of_key(&mut self, key: &str) -> Fate<'_> {
        if !is_ours(key, self.layout) {
            return Fate::Stays;
        }
        match self.layout.on_existing {
            OnExisting::Keep => Fate::Stays,
            OnExisting::Replace => Fate::Goes,
            OnExisting::Rename => {
                let taken = &self.taken;
                let name = || renamed(key, |name| taken.contains(name));
                Fate::Renamed(self.renamed.entry(key.to_owned()).or_insert_with(name))
            }
        }
    }
}

/// What becomes of an attribute.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate<'f> {
    Stays,
    Goes,
    Renamed(&'f str),
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
    Maps(&'a [Vec<MapEntry<'a>>]),
}

/// A part of a map, which is a text or a number.
pub(super) fn scalar_of(part: Value<'_>) -> Attribute<'_> {
    match part {
        Value::Flag(flag) => Attribute::Flag(flag),
        Value::Number(number) => Attribute::Number(number),
        Value::Text(text) => Attribute::Text(text),
        Value::Texts(_) | Value::Numbers(_) | Value::Maps(_) => Attribute::Text(""),
    }
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
pub(super) struct LogRecord<'r, 'w, 'a> {
    pub(super) record: &'r Record<'w, 'a>,
    pub(super) resource: &'r Flat<'w, 'a>,
    pub(super) layout: &'r Layout,
    pub(super) push: fn(&mut Vec<u8>, &str, Attribute<'_>),
    pub(super) out: &'r mut Vec<u8>,
}

impl LogRecord<'_, '_, '_> {
    fn field(&self, path: &str) -> Option<Scalar<'_>> {
        let Record { attributes, fields, .. } = self.record;
        let places = [attributes, self.resource, fields];
        let names = std::iter::once(path).chain(conventional(path));
        let found = names.flat_map(|name| places.into_iter().filter_map(move |place| place.get(name))).next();
        found.cloned()
    }

    fn level(&self, path: &str) -> Option<Scalar<'_>> {
        let (text, number) = (self.record.level_text(), self.record.level());
        let level = match path {
            SEVERITY_TEXT => text.or(number),
            SEVERITY_NUMBER => number.or(text),
            _ => return self.field(path),
        };
        level.map(scalar)
    }
}

fn scalar(text: &str) -> Scalar<'_> {
    Scalar::Text(Cow::Borrowed(text.as_bytes()))
}

impl Event for LogRecord<'_, '_, '_> {
    fn read(&self, input: Input) -> Option<Scalar<'_>> {
        if input == Input::Timestamp {
            return self.record.time().map(Scalar::Time);
        }
        let path = self.layout.path(input)?.as_str();
        match input {
            Input::Message if self.record.body.is_some() => self.record.body.clone(),
            Input::Message => self.field(path).or_else(|| self.record.event_name.as_deref().map(scalar)),
            Input::Level => self.level(path),
            _ => self.field(path),
        }
    }

    fn own_level(&self) -> Option<Scalar<'_>> {
        self.level(SEVERITY_NUMBER)
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
            Value::Maps(maps) => push(out, key.of(&[name]), Attribute::Maps(maps)),
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
