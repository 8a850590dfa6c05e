//! A Vector event on the wire, as the component reads and writes it.
//!
//! Reading walks the bytes; nothing is decoded that is not asked for. Writing appends: what [`LogEvent`] adds is the
//! encoding of an `EventWrapper` with our entries alone, to stand behind the bytes of the event. Of two entries of
//! one key in a map the last counts, so a field that is replaced is only written again; a map that is written into is
//! written again with what it held before ours. What is not under the target or the template field is not touched.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::proto::number;
use crate::config::OnExisting;
use crate::event::Timestamp;
use crate::plugin::event::renamed;
use crate::plugin::{Enrichment, Event, Input, Layout, MapEntry, Path, Scalar, Value, Written};
use crate::serve::wire::{self, Malformed, Wire};

/// The entries of a map, as they came: a key may stand there twice, the last counts.
#[derive(Debug, Default)]
struct Entries<'a>(SmallVec<[(&'a [u8], &'a [u8]); 16]>);

impl<'a> Entries<'a> {
    fn get(&self, key: &str) -> Option<&'a [u8]> {
        self.0.iter().rev().find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| *value)
    }

    fn push(&mut self, entry: &'a [u8]) -> Result<(), Malformed> {
        let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
        for field in wire::fields(entry) {
            let field = field?;
            match (field.number, field.value) {
                (number::KEY, Wire::Bytes(bytes)) => key = bytes,
                (number::VALUE, Wire::Bytes(bytes)) => value = bytes,
                _ => {}
            }
        }
        self.0.push((key, value));
        Ok(())
    }

    /// Adds the entries of a `ValueMap`.
    fn extend(&mut self, map: &'a [u8]) -> Result<(), Malformed> {
        for field in wire::fields(map) {
            let field = field?;
            if let (number::ITEMS, Wire::Bytes(entry)) = (field.number, field.value) {
                self.push(entry)?;
            }
        }
        Ok(())
    }
}

/// The kind of a `Value` that counts: the last.
fn kind(value: &[u8]) -> Option<(u64, Wire<'_>)> {
    let known = number::BYTES..=number::NULL;
    let fields = wire::fields(value).map_while(Result::ok);
    fields.filter(|field| known.contains(&field.number)).last().map(|field| (field.number, field.value))
}

/// The entries of a `Value` that is a map. Maps that follow one another are one.
fn map(value: &[u8]) -> Option<Entries<'_>> {
    let mut entries = None;
    for field in wire::fields(value) {
        let field = field.ok()?;
        match (field.number, field.value) {
            (number::MAP, Wire::Bytes(map)) => entries.get_or_insert_with(Entries::default).extend(map).ok()?,
            (number::BYTES..=number::NULL, _) => entries = None,
            _ => {}
        }
    }
    entries
}

fn scalar(value: &[u8]) -> Option<Scalar<'_>> {
    Some(match kind(value)? {
        (number::BYTES, Wire::Bytes(text)) => Scalar::Text(Cow::Borrowed(text)),
        (number::INTEGER, Wire::Varint(bits)) => Scalar::Number(Cow::Owned((bits as i64).to_string())),
        (number::FLOAT, Wire::Fixed64(bits)) => Scalar::Number(Cow::Owned(format!("{:?}", f64::from_bits(bits)))),
        (number::BOOLEAN, Wire::Varint(flag)) => Scalar::Flag(flag != 0),
        (number::TIMESTAMP, Wire::Bytes(time)) => Scalar::Time(timestamp(time)?),
        _ => return None,
    })
}

fn timestamp(message: &[u8]) -> Option<Timestamp> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    for field in wire::fields(message) {
        let field = field.ok()?;
        match (field.number, field.value) {
            (number::SECONDS, Wire::Varint(bits)) => seconds = bits as i64,
            (number::NANOS, Wire::Varint(bits)) => nanos = i64::from(bits as i32),
            _ => {}
        }
    }
    seconds.checked_mul(1_000_000)?.checked_add(nanos / 1_000).map(Timestamp)
}

/// A log event: its bytes, and where its additions go.
#[derive(Debug)]
pub(crate) struct LogEvent<'a> {
    root: Entries<'a>,
    /// The fields are in `value`, not in `fields`.
    in_value: bool,
    /// The event is no map: it has no fields, and none can be added.
    is_scalar: bool,
    layout: &'a Layout,
    out: &'a mut Vec<u8>,
}

impl<'a> LogEvent<'a> {
    /// The log event that `wrapper` is; nothing when it is a metric or a trace. Additions are appended to `out`.
    pub(super) fn parse(
        wrapper: &'a [u8],
        layout: &'a Layout,
        out: &'a mut Vec<u8>,
    ) -> Result<Option<Self>, Malformed> {
        let mut event = Self { root: Entries::default(), in_value: false, is_scalar: false, layout, out };
        let mut is_log = false;
        for field in wire::fields(wrapper) {
            let field = field?;
            match (field.number, field.value) {
                (number::LOG, Wire::Bytes(log)) => {
                    event.log(log)?;
                    is_log = true;
                }
                (2..=3, _) => is_log = false,
                _ => {}
            }
        }
        Ok(is_log.then_some(event))
    }

    fn log(&mut self, log: &'a [u8]) -> Result<(), Malformed> {
        for field in wire::fields(log) {
            let field = field?;
            match (field.number, field.value) {
                (number::LOG_FIELDS, Wire::Bytes(entry)) if !self.in_value => self.root.push(entry)?,
                (number::LOG_VALUE, Wire::Bytes(value)) => self.value(value),
                _ => {}
            }
        }
        Ok(())
    }

    /// `value` stands for the whole event; what `fields` says does not count then.
    fn value(&mut self, value: &'a [u8]) {
        let found = map(value);
        if !self.in_value || self.is_scalar {
            self.root = Entries::default();
        }
        self.in_value = true;
        self.is_scalar = found.is_none();
        self.root.0.extend(found.unwrap_or_default().0);
    }

    fn find(&self, path: &Path) -> Option<&'a [u8]> {
        let (first, inner) = path.segments().split_first()?;
        if !inner.is_empty()
            && let Some(value) = self.root.get(path.as_str())
        {
            return Some(value);
        }
        inner.iter().try_fold(self.root.get(first)?, |value, name| map(value)?.get(name))
    }
}

impl Event for LogEvent<'_> {
    fn read(&self, input: Input) -> Option<Scalar<'_>> {
        scalar(self.find(self.layout.path(input)?)?)
    }

    fn write(&mut self, enrichment: &Enrichment<'_>) -> Written {
        if self.is_scalar {
            return Written::Failed;
        }
        let Some(edit) = Edit::plan(self, enrichment) else { return Written::Kept };
        let out = &mut *self.out;
        let in_value = self.in_value;
        wire::message(out, number::LOG, |out| {
            if in_value {
                wire::message(out, number::LOG_VALUE, |out| {
                    wire::message(out, number::MAP, |out| edit.apply(out));
                });
            } else {
                // An entry of `fields` has the number an entry of a `ValueMap` has.
                edit.apply(out);
            }
        });
        Written::Fields
    }
}

/// What is added to an event.
struct Edit<'a, 'e, 'v> {
    /// Maps on the way to the target that are there, outermost first: name, and the value as it was.
    through: SmallVec<[(&'a str, &'a [u8]); 2]>,
    /// Names of the target below those.
    missing: &'a [String],
    /// What stood at the first of `missing` and its new name.
    moved: Option<(String, &'a [u8])>,
    /// The same for the template field, with that field.
    template: Option<(&'a str, &'v str)>,
    moved_template: Option<(String, &'a [u8])>,
    enrichment: &'e Enrichment<'v>,
}

/// What stands at a name that is to be written to.
enum Room<'a> {
    /// Nothing, or what may go.
    Free,
    /// Something that gets another name.
    Moved(String, &'a [u8]),
    /// Something that is to be kept.
    Kept,
}

fn room<'a>(entries: &Entries<'a>, name: &str, on_existing: OnExisting) -> Room<'a> {
    match (entries.get(name), on_existing) {
        (None, _) | (Some(_), OnExisting::Replace) => Room::Free,
        (Some(_), OnExisting::Keep) => Room::Kept,
        (Some(old), OnExisting::Rename) => Room::Moved(renamed(name, |name| entries.get(name).is_some()), old),
    }
}

impl<'a, 'e, 'v> Edit<'a, 'e, 'v> {
    /// Nothing when what is at the target is to be kept.
    fn plan(event: &LogEvent<'a>, enrichment: &'e Enrichment<'v>) -> Option<Self> {
        let layout = event.layout;
        let names = layout.target.segments();
        let mut through = SmallVec::new();
        let mut place: Option<Entries<'a>> = None;
        let mut missing = names;
        while let [name, rest @ ..] = missing {
            let Some(value) = place.as_ref().unwrap_or(&event.root).get(name).filter(|_| !rest.is_empty()) else {
                break;
            };
            let Some(entries) = map(value) else { break };
            through.push((name.as_str(), value));
            (place, missing) = (Some(entries), rest);
        }
        let entries = place.as_ref().unwrap_or(&event.root);
        let moved = match room(entries, missing.first()?, layout.on_existing) {
            Room::Kept => return None,
            Room::Free => None,
            Room::Moved(name, old) => Some((name, old)),
        };
        let mut edit = Self { through, missing, moved, template: None, moved_template: None, enrichment };
        edit.plan_template(event);
        Some(edit)
    }

    fn plan_template(&mut self, event: &LogEvent<'a>) {
        let Some(field) = event.layout.template_field.as_deref().zip(self.enrichment.template()) else { return };
        match room(&event.root, field.0, event.layout.on_existing) {
            Room::Kept => return,
            Room::Free => {}
            Room::Moved(name, old) => self.moved_template = Some((name, old)),
        }
        self.template = Some(field);
    }

    /// Appends entries of the event's root.
    fn apply(&self, out: &mut Vec<u8>) {
        self.through(out, &self.through);
        if let Some((name, old)) = &self.moved_template {
            entry(out, name, |out| out.extend_from_slice(old));
        }
        if let Some((name, text)) = self.template {
            entry(out, name, |out| wire::bytes(out, number::BYTES, text.as_bytes()));
        }
    }

    fn through(&self, out: &mut Vec<u8>, names: &[(&str, &[u8])]) {
        let Some(((name, old), inner)) = names.split_first() else { return self.at_place(out) };
        entry(out, name, |out| {
            out.extend_from_slice(old);
            wire::message(out, number::MAP, |out| self.through(out, inner));
        });
    }

    fn at_place(&self, out: &mut Vec<u8>) {
        if let Some((name, old)) = &self.moved {
            entry(out, name, |out| out.extend_from_slice(old));
        }
        self.below(out, self.missing);
    }

    fn below(&self, out: &mut Vec<u8>, names: &[String]) {
        let Some((name, inner)) = names.split_first() else { return self.fields(out) };
        entry(out, name, |out| wire::message(out, number::MAP, |out| self.below(out, inner)));
    }

    fn fields(&self, out: &mut Vec<u8>) {
        self.enrichment.for_each(|name, value| entry(out, name, |out| field(out, value)));
    }
}

/// Appends an entry of a map whose value `write` appends.
fn entry(out: &mut Vec<u8>, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
    wire::message(out, number::ITEMS, |out| {
        wire::bytes(out, number::KEY, key.as_bytes());
        wire::message(out, number::VALUE, write);
    });
}

/// Appends the kind of a `Value`.
fn field(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Flag(flag) => wire::number(out, number::BOOLEAN, u64::from(flag)),
        Value::Number(number) => wire::double(out, number::FLOAT, number),
        Value::Text(text) => wire::bytes(out, number::BYTES, text.as_bytes()),
        Value::Texts(texts) => wire::message(out, number::ARRAY, |out| {
            for text in texts {
                wire::message(out, number::ITEMS, |out| wire::bytes(out, number::BYTES, text.as_bytes()));
            }
        }),
        Value::Numbers(numbers) => wire::message(out, number::MAP, |out| {
            for (name, number) in numbers {
                entry(out, name, |out| wire::double(out, number::FLOAT, *number));
            }
        }),
        Value::Maps(maps) => wire::message(out, number::ARRAY, |out| {
            for map in maps {
                wire::message(out, number::ITEMS, |out| wire::message(out, number::MAP, |out| parts(out, map)));
            }
        }),
    }
}

fn parts(out: &mut Vec<u8>, map: &[MapEntry<'_>]) {
    map.iter().for_each(|(name, part)| entry(out, name, |out| field(out, *part)));
}

/// Appends an entry of a map with a text, or of maps within maps as `names` say.
fn nested_text(out: &mut Vec<u8>, names: &[String], text: &str) {
    let Some((name, inner)) = names.split_first() else { return };
    entry(out, name, |out| match inner {
        [] => wire::bytes(out, number::BYTES, text.as_bytes()),
        _ => wire::message(out, number::MAP, |out| nested_text(out, inner, text)),
    });
}

/// Appends the `EventWrapper` of an event of oddline's own, the fields to follow: texts where events have them, each under a name of its own, and the time
/// where Vector looks for it.
pub(super) fn synthetic(out: &mut Vec<u8>, texts: &[(&Path, &str)], time: Timestamp) {
    wire::message(out, number::LOG, |out| {
        texts.iter().for_each(|(at, text)| nested_text(out, at.segments(), text));
        entry(out, "timestamp", |out| {
            wire::message(out, number::TIMESTAMP, |out| {
                wire::number(out, number::SECONDS, time.0.div_euclid(1_000_000) as u64);
                wire::number(out, number::NANOS, (time.0.rem_euclid(1_000_000) * 1_000) as u64);
            });
        });
    });
}
