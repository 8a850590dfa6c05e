//! OTLP in JSON: read in one pass, our attributes are spliced in, every other byte stays.
//!
//! Requests, resources' logs, scopes' logs and records are objects, in lists; attributes of a record are a list of objects, or null.
//! Whatever else is not as OTLP has it counts as not there. Of a member that is there twice the last counts.

use std::borrow::Cow;
use std::ops::Range;

use super::base64;
use super::cursor::{Cursor, Unexpected};
use super::part::Plan;
use super::record::{Attribute, Fate, Fates, Flat, Found, LogRecord, MAX_DEPTH, Record, Wanted, scalar_of};
use crate::plugin::json::write;
use crate::plugin::{Component, Layout, MapEntry, Scalar, Written};

/// Where the records of `request` are. All of it is read, so that nothing is refused once something was learned.
pub(super) fn plan(request: &[u8], limit: usize) -> Result<Plan, Unexpected> {
    let text = text(request)?;
    let (mut plan, mut cursor) = (Plan::new(limit), Cursor::new(text));
    cursor.members(|cursor, name| {
        if name != "resourceLogs" {
            return cursor.skip().map(drop);
        }
        plan.clear();
        list(cursor, |cursor| resource_logs(cursor, &mut plan))
    })?;
    cursor.end()?;
    Ok(plan)
}

fn text(bytes: &[u8]) -> Result<&str, Unexpected> {
    std::str::from_utf8(bytes).map_err(|error| Unexpected { expected: "UTF-8", at: error.valid_up_to() })
}

fn resource_logs(cursor: &mut Cursor<'_>, plan: &mut Plan) -> Result<(), Unexpected> {
    let (first, mut resource) = (plan.len(), 0..0);
    cursor.members(|cursor, name| match name {
        "resource" => {
            resource = cursor.skip()?;
            Ok(())
        }
        "scopeLogs" => {
            plan.truncate(first);
            list(cursor, |cursor| scope_logs(cursor, plan))
        }
        _ => cursor.skip().map(drop),
    })?;
    plan.resource(resource);
    Ok(())
}

fn scope_logs(cursor: &mut Cursor<'_>, plan: &mut Plan) -> Result<(), Unexpected> {
    let first = plan.len();
    cursor.members(|cursor, name| {
        if name != "logRecords" {
            return cursor.skip().map(drop);
        }
        plan.truncate(first);
        list(cursor, |cursor| {
            plan.record(checked(cursor)?);
            Ok(())
        })
    })?;
    Ok(())
}

/// Passes over a record that [`LogObject::read`] will read. Where it stands.
fn checked(cursor: &mut Cursor<'_>) -> Result<Range<usize>, Unexpected> {
    let (place, _) = cursor.members(|cursor, name| match name {
        "attributes" if cursor.peek() != b'n' => cursor.items(|cursor| Entry::read(cursor).map(drop)).map(drop),
        _ => cursor.skip().map(drop),
    })?;
    Ok(place)
}

/// Adds the attributes of a resource; of anything but an object, none.
pub(super) fn resource<'a>(resource: &'a [u8], flat: &mut Flat<'_, 'a>) -> Result<(), Unexpected> {
    if resource.is_empty() {
        return Ok(());
    }
    members(&mut Cursor::new(text(resource)?), |cursor, name| match name {
        "attributes" => {
            flat.clear();
            entries(cursor, flat, None, 0)
        }
        _ => cursor.skip().map(drop),
    })
}

/// Appends `bytes`, a record, with our attributes.
pub(super) fn score(
    bytes: &[u8],
    resource: &Flat<'_, '_>,
    layout: &Layout,
    component: &mut Component,
    out: &mut Vec<u8>,
) -> Result<(), Unexpected> {
    let text = text(bytes)?;
    let object = LogObject::read(text, resource.wanted)?;
    let mut added = Vec::new();
    let mut event = LogRecord { record: &object.record, resource, layout, push, out: &mut added };
    let mut edited = Edited { text, at: 0, out };
    if component.process(&mut event).written == Written::Fields {
        edited.add(&object, layout, &added)?;
    }
    edited.end();
    Ok(())
}

/// `request` with other bytes in some places, which come in its order.
pub(super) fn with_records<'r>(
    request: &[u8],
    records: impl Iterator<Item = (Range<usize>, &'r [u8])>,
    size: usize,
) -> Vec<u8> {
    let (mut out, mut at) = (Vec::with_capacity(size), 0);
    for (place, record) in records {
        out.extend_from_slice(request.get(at..place.start).unwrap_or_default());
        out.extend_from_slice(record);
        at = place.end;
    }
    out.extend_from_slice(request.get(at..).unwrap_or_default());
    out
}

/// A record, and where things stand in its text.
struct LogObject<'w, 'a> {
    record: Record<'w, 'a>,
    end: usize,
    is_empty: bool,
    /// Where its list of attributes stands, or null.
    attributes: Option<Range<usize>>,
}

impl<'w, 'a> LogObject<'w, 'a> {
    fn read(text: &'a str, wanted: &'w Wanted) -> Result<Self, Unexpected> {
        let (mut record, mut attributes) = (Record::new(wanted), None);
        let (place, is_empty) = Cursor::new(text).members(|cursor, name| {
            match name {
                "timeUnixNano" => record.time_unix_nano = unsigned(cursor)?,
                "observedTimeUnixNano" => record.observed_time_unix_nano = unsigned(cursor)?,
                "severityNumber" => record.severity_number = unsigned(cursor)?,
                "severityText" => record.severity_text = string(cursor)?,
                "eventName" => record.event_name = string(cursor)?.filter(|name| !name.is_empty()),
                "body" => {
                    record.fields.clear();
                    record.body = any_value(cursor, &mut record.fields, None, 1)?;
                }
                "attributes" => attributes = Some(record.read_attributes(cursor)?),
                _ => _ = cursor.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { record, end: place.end, is_empty, attributes })
    }
}

impl<'a> Record<'_, 'a> {
    /// Where they stand.
    fn read_attributes(&mut self, cursor: &mut Cursor<'a>) -> Result<Range<usize>, Unexpected> {
        self.clear_attributes();
        if cursor.peek() == b'n' {
            return cursor.skip();
        }
        cursor.items(|cursor| {
            let Entry { key, value, .. } = Entry::read(cursor)?;
            value_into(cursor, &mut self.attributes, None, &key, value, 0)?;
            self.note(key);
            Ok(())
        })
    }
}

/// A `KeyValue`.
struct Entry<'a> {
    /// Empty when there is none.
    key: Cow<'a, str>,
    /// Where its value stands.
    value: Option<Range<usize>>,
    /// Where all of it stands.
    place: Range<usize>,
}

impl<'a> Entry<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, Unexpected> {
        let (mut key, mut value) = (Cow::Borrowed(""), None);
        let (place, _) = cursor.members(|cursor, name| {
            match name {
                "key" => key = string(cursor)?.unwrap_or_default(),
                "value" => value = Some(cursor.skip()?),
                _ => _ = cursor.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { key, value, place })
    }
}

/// Reads an object; passes over anything else.
fn members<'a>(
    cursor: &mut Cursor<'a>,
    each: impl FnMut(&mut Cursor<'a>, &str) -> Result<(), Unexpected>,
) -> Result<(), Unexpected> {
    if cursor.peek() == b'{' { cursor.members(each).map(drop) } else { cursor.skip().map(drop) }
}

/// Reads a list; null is an empty one.
fn list<'a>(
    cursor: &mut Cursor<'a>,
    each: impl FnMut(&mut Cursor<'a>) -> Result<(), Unexpected>,
) -> Result<(), Unexpected> {
    if cursor.peek() == b'n' { cursor.skip().map(drop) } else { cursor.items(each).map(drop) }
}

/// Reads a string; passes over anything else.
fn string<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Cow<'a, str>>, Unexpected> {
    if cursor.peek() == b'"' { cursor.string("a string").map(Some) } else { cursor.skip().map(|_| None) }
}

/// Reads a number, which may be text, as 64-bit integers are in OTLP's JSON; passes over anything else.
fn number<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Cow<'a, str>>, Unexpected> {
    if matches!(cursor.peek(), b'-' | b'0'..=b'9') {
        let place = cursor.skip()?;
        return Ok(cursor.slice(place).map(Cow::Borrowed));
    }
    string(cursor)
}

fn unsigned(cursor: &mut Cursor<'_>) -> Result<u64, Unexpected> {
    Ok(number(cursor)?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Adds those of a list of `KeyValue` that are wanted; what is none, or lies too deep, is left out.
fn entries<'w, 'a>(
    cursor: &mut Cursor<'a>,
    flat: &mut Flat<'w, 'a>,
    prefix: Option<&'w str>,
    depth: usize,
) -> Result<(), Unexpected> {
    if cursor.peek() != b'[' {
        return cursor.skip().map(drop);
    }
    let each = |cursor: &mut Cursor<'a>| {
        if cursor.peek() != b'{' {
            return cursor.skip().map(drop);
        }
        let Entry { key, value, .. } = Entry::read(cursor)?;
        value_into(cursor, flat, prefix, &key, value, depth)
    };
    cursor.items(each).map(drop)
}

/// Adds the `AnyValue` that stands at `value`, of which it is known that it is JSON, when it is wanted.
fn value_into<'w, 'a>(
    cursor: &mut Cursor<'a>,
    flat: &mut Flat<'w, 'a>,
    prefix: Option<&'w str>,
    key: &str,
    value: Option<Range<usize>>,
    depth: usize,
) -> Result<(), Unexpected> {
    let (Some(value), Found { scalar: place, inside }) = (value, flat.wanted.find(prefix, key)) else { return Ok(()) };
    // Of what nothing goes into, the inside is passed over.
    let depth = if inside.is_some() { depth + 1 } else { MAX_DEPTH + 1 };
    if place.is_none() && inside.is_none() {
        return Ok(());
    }
    let scalar = cursor.again(value.start, |cursor| any_value(cursor, flat, inside, depth))?;
    if let (Some(place), Some(scalar)) = (place, scalar) {
        flat.put(place, scalar);
    }
    Ok(())
}

/// Reads an `AnyValue`: one that is a scalar; of one that is a map what is in it is added below `prefix`, down to [`MAX_DEPTH`].
fn any_value<'w, 'a>(
    cursor: &mut Cursor<'a>,
    flat: &mut Flat<'w, 'a>,
    prefix: Option<&'w str>,
    depth: usize,
) -> Result<Option<Scalar<'a>>, Unexpected> {
    let mut found = None;
    members(cursor, |cursor, name| {
        let first = cursor.peek();
        match name {
            "stringValue" if first == b'"' => found = Some(Scalar::Text(cursor.bytes("a string")?)),
            "bytesValue" if first == b'"' => {
                found = base64::decode(&cursor.bytes("a string")?).map(|bytes| Scalar::Text(Cow::Owned(bytes)));
            }
            "boolValue" if matches!(first, b't' | b'f') => {
                cursor.skip()?;
                found = Some(Scalar::Flag(first == b't'));
            }
            "intValue" | "doubleValue" => found = number(cursor)?.map(Scalar::Number),
            "kvlistValue" if depth <= MAX_DEPTH => members(cursor, |cursor, name| match name {
                "values" => entries(cursor, flat, prefix, depth),
                _ => cursor.skip().map(drop),
            })?,
            _ => _ = cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(found)
}

/// A text with changes, which come in its order.
struct Edited<'t, 'o> {
    text: &'t str,
    /// Up to where the text is in `out`.
    at: usize,
    out: &'o mut Vec<u8>,
}

impl Edited<'_, '_> {
    fn copy_to(&mut self, end: usize) {
        self.out.extend_from_slice(self.text.as_bytes().get(self.at..end).unwrap_or_default());
        self.at = end;
    }

    fn put(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }

    fn end(mut self) {
        self.copy_to(self.text.len());
    }

    /// Puts `added`, attributes behind commas, into a record.
    fn add(&mut self, found: &LogObject<'_, '_>, layout: &Layout, added: &[u8]) -> Result<(), Unexpected> {
        let is_null = |place: &Range<usize>| self.text.as_bytes().get(place.start) == Some(&b'n');
        match &found.attributes {
            None => {
                self.copy_to(found.end - 1);
                self.put(if found.is_empty { b"\"attributes\":[" } else { b",\"attributes\":[" });
                self.put(after_comma(added));
                self.put(b"]");
            }
            Some(place) if is_null(place) => {
                self.copy_to(place.start);
                self.at = place.end;
                self.put(b"[");
                self.put(after_comma(added));
                self.put(b"]");
            }
            Some(place) if !found.record.has_ours(layout) => {
                self.copy_to(place.end - 1);
                self.put(if found.record.has_attributes { added } else { after_comma(added) });
            }
            Some(place) => {
                let (mut kept, mut fates) = (Vec::new(), Fates::of(&found.record, layout));
                let mut cursor = Cursor::new(self.text);
                cursor.again(place.start, |cursor| cursor.items(|cursor| kept_entry(&mut kept, cursor, &mut fates)))?;
                kept.extend_from_slice(added);
                self.copy_to(place.start + 1);
                self.at = place.end - 1;
                self.put(after_comma(&kept));
            }
        }
        Ok(())
    }
}

/// Appends a comma and what stays of an attribute.
fn kept_entry(out: &mut Vec<u8>, cursor: &mut Cursor<'_>, fates: &mut Fates<'_>) -> Result<(), Unexpected> {
    let Entry { key, value, place } = Entry::read(cursor)?;
    match fates.of_key(&key) {
        Fate::Goes => {}
        Fate::Stays => {
            out.push(b',');
            out.extend_from_slice(cursor.slice(place).unwrap_or_default().as_bytes());
        }
        Fate::Renamed(name) => {
            let value = value.and_then(|value| cursor.slice(value)).unwrap_or("null");
            out.extend_from_slice(b",{\"key\":");
            write::string(out, name);
            out.extend_from_slice(b",\"value\":");
            out.extend_from_slice(value.as_bytes());
            out.push(b'}');
        }
    }
    Ok(())
}

fn after_comma(added: &[u8]) -> &[u8] {
    added.strip_prefix(b",").unwrap_or(added)
}

/// Appends a comma and an attribute.
fn push(out: &mut Vec<u8>, key: &str, attribute: Attribute<'_>) {
    out.extend_from_slice(b",{\"key\":");
    write::string(out, key);
    out.extend_from_slice(b",\"value\":");
    value(out, attribute);
    out.push(b'}');
}

fn value(out: &mut Vec<u8>, attribute: Attribute<'_>) {
    match attribute {
        Attribute::Flag(flag) => {
            out.extend_from_slice(if flag { b"{\"boolValue\":true}" } else { b"{\"boolValue\":false}" });
        }
        Attribute::Number(number) => {
            out.extend_from_slice(b"{\"doubleValue\":");
            // Writing to a Vec cannot fail.
            let _infallible = serde_json::to_writer(&mut *out, &number);
            out.push(b'}');
        }
        Attribute::Text(text) => text_value(out, text),
        Attribute::Texts(texts) => {
            out.extend_from_slice(b"{\"arrayValue\":{\"values\":[");
            for (index, text) in texts.iter().enumerate() {
                out.extend_from_slice(if index > 0 { b"," } else { b"" });
                text_value(out, text);
            }
            out.extend_from_slice(b"]}}");
        }
        Attribute::Maps(maps) => {
            out.extend_from_slice(b"{\"arrayValue\":{\"values\":[");
            for (index, map) in maps.iter().enumerate() {
                out.extend_from_slice(if index > 0 { b"," } else { b"" });
                map_value(out, map);
            }
            out.extend_from_slice(b"]}}");
        }
    }
}

fn map_value(out: &mut Vec<u8>, map: &[MapEntry<'_>]) {
    out.extend_from_slice(b"{\"kvlistValue\":{\"values\":[");
    for (index, (name, part)) in map.iter().enumerate() {
        out.extend_from_slice(if index > 0 { b",{\"key\":" } else { b"{\"key\":" });
        write::string(out, name);
        out.extend_from_slice(b",\"value\":");
        value(out, scalar_of(*part));
        out.push(b'}');
    }
    out.extend_from_slice(b"]}}");
}

fn text_value(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"{\"stringValue\":");
    write::string(out, text);
    out.push(b'}');
}

#[cfg(test)]
mod tests;
