//! OTLP in protobuf: walked, not decoded. What grows is written again with its new length; everything else is copied.

use std::borrow::Cow;

use super::part::Plan;
use super::record::{Attribute, Fate, Fates, Flat, Found, LogRecord, MAX_DEPTH, Record, Wanted, scalar_of};
use crate::engine::Synthetic;
use crate::plugin::component::{synthetic_message, synthetic_values};
use crate::plugin::{Component, Event as _, Layout, MapEntry, Scalar, Written};
use crate::serve::wire::{self, Malformed, Wire};

const RESOURCE_LOGS: u64 = 1;
const RESOURCE: u64 = 1;
const SCOPE_LOGS: u64 = 2;
const LOG_RECORDS: u64 = 2;
const RESOURCE_ATTRIBUTES: u64 = 1;
const TIME: u64 = 1;
const SEVERITY_NUMBER: u64 = 2;
const SEVERITY_TEXT: u64 = 3;
const BODY: u64 = 5;
const ATTRIBUTES: u64 = 6;
const OBSERVED_TIME: u64 = 11;
const EVENT_NAME: u64 = 12;
const KEY: u64 = 1;
const VALUE: u64 = 2;
const STRING: u64 = 1;
const BOOL: u64 = 2;
const INT: u64 = 3;
const DOUBLE: u64 = 4;
const ARRAY: u64 = 5;
const MAP: u64 = 6;
const BYTES: u64 = 7;
/// Items of an `ArrayValue` or a `KeyValueList`.
const ITEMS: u64 = 1;

/// What is done with each message of one number: it, and where it is written to.
type Inner<'v> = dyn FnMut(&[u8], &mut Vec<u8>) -> Result<(), Malformed> + 'v;

/// What is done with each message of one number: it, and where it stands.
type Placed<'v> = dyn FnMut(&[u8], usize) -> Result<(), Malformed> + 'v;

/// Where the records of `request` are. All of it is read, so that nothing is refused once something was learned.
pub(super) fn plan(request: &[u8], limit: usize) -> Result<Plan, Malformed> {
    let (mut plan, wanted) = (Plan::new(limit), Wanted::default());
    each(request, 0, RESOURCE_LOGS, &mut |resource_logs, at| {
        resource(resource_logs, &mut Flat::new(&wanted))?;
        each(resource_logs, at, SCOPE_LOGS, &mut |scope_logs, at| {
            each(scope_logs, at, LOG_RECORDS, &mut |record, at| {
                plan.record(at..at + record.len());
                Record::parse(record, &wanted).map(drop)
            })
        })?;
        plan.resource(at..at + resource_logs.len());
        Ok(())
    })?;
    Ok(plan)
}

/// Calls `inner` for each message of `message` with that number, with where it stands when `message` stands at `base`.
fn each(message: &[u8], base: usize, number: u64, inner: &mut Placed<'_>) -> Result<(), Malformed> {
    for field in wire::fields(message) {
        let field = field?;
        if let (Wire::Bytes(bytes), true) = (field.value, field.number == number) {
            inner(bytes, base + field.span.end - bytes.len())?;
        }
    }
    Ok(())
}

/// Appends `bytes`, a record, with our attributes.
pub(super) fn score(
    bytes: &[u8],
    resource: &Flat<'_, '_>,
    layout: &Layout,
    component: &mut Component,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let record = Record::parse(bytes, resource.wanted)?;
    let mut added = Vec::new();
    let mut event = LogRecord { record: &record, resource, layout, push, out: &mut added };
    if component.process(&mut event).written != Written::Fields {
        added.clear();
    }
    if added.is_empty() || !record.has_ours(layout) {
        out.extend_from_slice(bytes);
    } else {
        without_old(bytes, &record, layout, out)?;
    }
    out.extend_from_slice(&added);
    Ok(())
}

/// `request` with `records` in the place of its own.
pub(super) fn with_records<'r>(
    request: &[u8],
    mut records: impl Iterator<Item = &'r [u8]>,
    size: usize,
) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(size + size / 16);
    within(request, RESOURCE_LOGS, &mut out, &mut |resource_logs, out| {
        within(resource_logs, SCOPE_LOGS, out, &mut |scope_logs, out| {
            within(scope_logs, LOG_RECORDS, out, &mut |record, out| {
                out.extend_from_slice(records.next().unwrap_or(record));
                Ok(())
            })
        })
    })?;
    Ok(out)
}

/// Copies `message`, with what `inner` makes of each of its messages with that number.
fn within(message: &[u8], number: u64, out: &mut Vec<u8>, inner: &mut Inner<'_>) -> Result<(), Malformed> {
    for field in wire::fields(message) {
        let field = field?;
        match field.value {
            Wire::Bytes(bytes) if field.number == number => {
                let mut result = Ok(());
                wire::message(out, number, |out| result = inner(bytes, out));
                result?;
            }
            _ => out.extend_from_slice(message.get(field.span).unwrap_or_default()),
        }
    }
    Ok(())
}

/// Adds the attributes of the resource of a `ResourceLogs`.
pub(super) fn resource<'a>(resource_logs: &'a [u8], flat: &mut Flat<'_, 'a>) -> Result<(), Malformed> {
    for field in wire::fields(resource_logs) {
        if let (RESOURCE, Wire::Bytes(resource)) = numbered(field?) {
            for field in wire::fields(resource) {
                if let (RESOURCE_ATTRIBUTES, Wire::Bytes(entry)) = numbered(field?) {
                    entry_into(flat, None, entry, 0)?;
                }
            }
        }
    }
    Ok(())
}

fn numbered(field: wire::Field<'_>) -> (u64, Wire<'_>) {
    (field.number, field.value)
}

/// Text that is not UTF-8 stands with U+FFFD in what is read, and as it is in what goes on.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn key_value(entry: &[u8]) -> Result<(Cow<'_, str>, &[u8]), Malformed> {
    let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
    for field in wire::fields(entry) {
        match numbered(field?) {
            (KEY, Wire::Bytes(bytes)) => key = bytes,
            (VALUE, Wire::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok((text(key), value))
}

/// Adds a `KeyValue` when it is wanted; what lies too deep is left out.
fn entry_into<'w, 'a>(
    flat: &mut Flat<'w, 'a>,
    prefix: Option<&'w str>,
    entry: &'a [u8],
    depth: usize,
) -> Result<(), Malformed> {
    let (key, value) = key_value(entry)?;
    let Found { scalar: place, inside } = flat.wanted.find(prefix, &key);
    match any(value)? {
        Some(Any::Scalar(scalar)) => _ = place.map(|place| flat.put(place, scalar)),
        Some(Any::Map(map)) if depth < MAX_DEPTH && inside.is_some() => map_into(flat, inside, map, depth + 1)?,
        _ => {}
    }
    Ok(())
}

fn map_into<'w, 'a>(
    flat: &mut Flat<'w, 'a>,
    prefix: Option<&'w str>,
    map: &'a [u8],
    depth: usize,
) -> Result<(), Malformed> {
    for field in wire::fields(map) {
        if let (ITEMS, Wire::Bytes(entry)) = numbered(field?) {
            entry_into(flat, prefix, entry, depth)?;
        }
    }
    Ok(())
}

enum Any<'a> {
    Scalar(Scalar<'a>),
    Map(&'a [u8]),
}

/// An `AnyValue`; nothing for lists and for none.
fn any(value: &[u8]) -> Result<Option<Any<'_>>, Malformed> {
    let mut found = None;
    for field in wire::fields(value) {
        found = match numbered(field?) {
            (STRING | BYTES, Wire::Bytes(text)) => Some(Any::Scalar(Scalar::Text(Cow::Borrowed(text)))),
            (BOOL, Wire::Varint(flag)) => Some(Any::Scalar(Scalar::Flag(flag != 0))),
            (INT, Wire::Varint(bits)) => Some(Any::Scalar(Scalar::Number(Cow::Owned((bits as i64).to_string())))),
            (DOUBLE, Wire::Fixed64(bits)) => {
                Some(Any::Scalar(Scalar::Number(Cow::Owned(format!("{:?}", f64::from_bits(bits))))))
            }
            (MAP, Wire::Bytes(map)) => Some(Any::Map(map)),
            (ARRAY, _) => None,
            _ => found,
        };
    }
    Ok(found)
}

impl<'w, 'a> Record<'w, 'a> {
    fn parse(bytes: &'a [u8], wanted: &'w Wanted) -> Result<Self, Malformed> {
        let mut record = Self::new(wanted);
        for field in wire::fields(bytes) {
            match numbered(field?) {
                (TIME, Wire::Fixed64(nanos)) => record.time_unix_nano = nanos,
                (OBSERVED_TIME, Wire::Fixed64(nanos)) => record.observed_time_unix_nano = nanos,
                (SEVERITY_NUMBER, Wire::Varint(number)) => record.severity_number = number,
                (SEVERITY_TEXT, Wire::Bytes(severity)) => record.severity_text = Some(text(severity)),
                (EVENT_NAME, Wire::Bytes(name)) => record.event_name = Some(text(name)).filter(|name| !name.is_empty()),
                (BODY, Wire::Bytes(body)) => record.body(body)?,
                (ATTRIBUTES, Wire::Bytes(entry)) => {
                    record.note(key_value(entry)?.0);
                    entry_into(&mut record.attributes, None, entry, 0)?;
                }
                _ => {}
            }
        }
        Ok(record)
    }

    fn body(&mut self, body: &'a [u8]) -> Result<(), Malformed> {
        match any(body)? {
            Some(Any::Scalar(scalar)) => self.body = Some(scalar),
            Some(Any::Map(map)) => map_into(&mut self.fields, None, map, 1)?,
            None => {}
        }
        Ok(())
    }
}

/// Copies a record, but for the attributes that make room for ours.
fn without_old(bytes: &[u8], record: &Record<'_, '_>, layout: &Layout, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut fates = Fates::of(record, layout);
    for field in wire::fields(bytes) {
        let field = field?;
        let fate = match (field.number, field.value) {
            (ATTRIBUTES, Wire::Bytes(entry)) => fates.of_key(&key_value(entry)?.0),
            _ => Fate::Stays,
        };
        let whole = bytes.get(field.span.clone()).unwrap_or_default();
        match (fate, field.value) {
            (Fate::Goes, _) => {}
            // Of a scalar that stands there twice the last counts.
            (Fate::Renamed(name), Wire::Bytes(entry)) => wire::message(out, ATTRIBUTES, |out| {
                out.extend_from_slice(entry);
                wire::bytes(out, KEY, name.as_bytes());
            }),
            _ => out.extend_from_slice(whole),
        }
    }
    Ok(())
}

/// Appends an attribute.
fn push(out: &mut Vec<u8>, key: &str, attribute: Attribute<'_>) {
    wire::message(out, ATTRIBUTES, |out| {
        wire::bytes(out, KEY, key.as_bytes());
        wire::message(out, VALUE, |out| value(out, attribute));
    });
}

fn value(out: &mut Vec<u8>, attribute: Attribute<'_>) {
    match attribute {
        Attribute::Flag(flag) => wire::number(out, BOOL, u64::from(flag)),
        Attribute::Number(number) => wire::double(out, DOUBLE, number),
        Attribute::Text(text) => wire::bytes(out, STRING, text.as_bytes()),
        Attribute::Texts(texts) => wire::message(out, ARRAY, |out| {
            for text in texts {
                wire::message(out, ITEMS, |out| wire::bytes(out, STRING, text.as_bytes()));
            }
        }),
        Attribute::Maps(maps) => wire::message(out, ARRAY, |out| {
            for map in maps {
                wire::message(out, ITEMS, |out| wire::message(out, MAP, |out| parts(out, map)));
            }
        }),
    }
}

fn parts(out: &mut Vec<u8>, map: &[MapEntry<'_>]) {
    for (name, part) in map {
        wire::message(out, ITEMS, |out| {
            wire::bytes(out, KEY, name.as_bytes());
            wire::message(out, VALUE, |out| value(out, scalar_of(*part)));
        });
    }
}

/// A request with events of oddline's own.
pub(super) fn synthetic(events: &[Synthetic], component: &Component) -> Vec<u8> {
    let layout = component.layout();
    let mut out = Vec::new();
    wire::message(&mut out, RESOURCE_LOGS, |out| {
        wire::message(out, SCOPE_LOGS, |out| {
            wire::message(out, 1, |out| wire::bytes(out, 1, b"oddline"));
            for synthetic in events {
                wire::message(out, LOG_RECORDS, |out| own_record(out, synthetic, component, &layout));
            }
        });
    });
    out
}

fn own_record(out: &mut Vec<u8>, synthetic: &Synthetic, component: &Component, layout: &Layout) {
    let nanos = u64::try_from(synthetic.timestamp.0).unwrap_or(0).saturating_mul(1_000);
    for number in [TIME, OBSERVED_TIME] {
        wire::varint(out, number << 3 | 1);
        out.extend_from_slice(&nanos.to_le_bytes());
    }
    wire::message(out, BODY, |out| wire::bytes(out, STRING, synthetic_message(synthetic).as_bytes()));
    for (path, value) in synthetic_values(synthetic, layout) {
        push(out, path.as_str(), Attribute::Text(value));
    }
    let wanted = Wanted::default();
    let (record, resource) = (Record::new(&wanted), Flat::new(&wanted));
    LogRecord { record: &record, resource: &resource, layout, push, out }.write(&component.describe(synthetic));
}
