//! OTLP in JSON: read in one pass, our attributes are spliced in, every other byte stays.
//!
//! Requests, resources' logs, scopes' logs and records are objects, in lists; attributes of a record are a list of objects, or null.
//! Whatever else is not as OTLP has it counts as not there. Of a member that is there twice the last counts.

use std::borrow::Cow;
use std::ops::Range;

use super::OtlpError;
use super::cursor::{Cursor, Unexpected};
use super::record::{Attribute, Fate, Flat, LogRecord, MAX_DEPTH, Record, joined};
use crate::plugin::json::write;
use crate::plugin::{Component, Layout, Scalar, Written};

/// A record of a request.
#[derive(Default)]
struct Found<'a> {
    record: Record<'a>,
    /// Which resource, by its place among those of the request.
    resource: usize,
    /// Where its object stands.
    place: Range<usize>,
    is_empty: bool,
    /// Where its list of attributes stands, or null.
    attributes: Option<Range<usize>>,
}

/// What is read of a request.
#[derive(Default)]
struct Request<'a> {
    /// The attributes of each resource.
    resources: Vec<Flat<'a>>,
    found: Vec<Found<'a>>,
    /// How many of each are kept.
    limit: usize,
    /// Records and resources that came, whichever are more.
    seen: usize,
}

/// Scores every record of `request`; the request with our attributes, and how many records it has.
pub(super) fn enrich(request: &[u8], limit: usize, component: &mut Component) -> Result<(Vec<u8>, usize), OtlpError> {
    let text =
        std::str::from_utf8(request).map_err(|error| Unexpected { expected: "UTF-8", at: error.valid_up_to() })?;
    // All of it, so that nothing is refused once something was learned.
    let Request { resources, found, seen, .. } = Request::read(text, limit)?;
    if seen > limit {
        return Err(OtlpError::TooMany { limit, found: seen });
    }
    let layout = component.layout();
    let mut edited = Edited { text, at: 0, out: Vec::with_capacity(text.len() * 2) };
    let (mut added, none) = (Vec::new(), Flat::default());
    for found in &found {
        added.clear();
        let resource = resources.get(found.resource).unwrap_or(&none);
        let mut event = LogRecord { record: &found.record, resource, layout: &layout, push, out: &mut added };
        if component.process(&mut event).written == Written::Fields {
            edited.add(found, &layout, &added)?;
        }
    }
    Ok((edited.end(), found.len()))
}

impl<'a> Request<'a> {
    fn read(text: &'a str, limit: usize) -> Result<Self, Unexpected> {
        let mut request = Self { limit, ..Self::default() };
        let mut cursor = Cursor::new(text);
        cursor.members(|cursor, name| {
            if name != "resourceLogs" {
                return cursor.skip().map(drop);
            }
            request = Self { limit, seen: request.seen, ..Self::default() };
            list(cursor, |cursor| request.resource_logs(cursor))
        })?;
        cursor.end()?;
        Ok(request)
    }

    /// Whether one more than `kept` is kept; a request with more is refused.
    fn keeps(&mut self, kept: usize) -> bool {
        self.seen = self.seen.max(kept + 1);
        kept < self.limit
    }

    fn resource_logs(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Unexpected> {
        let first = self.found.len();
        let mut resource = Flat::default();
        cursor.members(|cursor, name| match name {
            "resource" => {
                resource = Flat::default();
                members(cursor, |cursor, name| match name {
                    "attributes" => {
                        resource = Flat::default();
                        entries(cursor, &mut resource, "", 0)
                    }
                    _ => cursor.skip().map(drop),
                })
            }
            "scopeLogs" => {
                self.found.truncate(first);
                list(cursor, |cursor| self.scope_logs(cursor))
            }
            _ => cursor.skip().map(drop),
        })?;
        if self.keeps(self.resources.len()) {
            self.resources.push(resource);
        }
        Ok(())
    }

    fn scope_logs(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Unexpected> {
        let first = self.found.len();
        cursor.members(|cursor, name| {
            if name != "logRecords" {
                return cursor.skip().map(drop);
            }
            self.found.truncate(first);
            list(cursor, |cursor| {
                let found = Found { resource: self.resources.len(), ..Found::read(cursor)? };
                if self.keeps(self.found.len()) {
                    self.found.push(found);
                }
                Ok(())
            })
        })?;
        Ok(())
    }
}

impl<'a> Found<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, Unexpected> {
        let (mut record, mut attributes) = (Record::default(), None);
        let (place, is_empty) = cursor.members(|cursor, name| {
            match name {
                "timeUnixNano" => record.time_unix_nano = nanos(cursor)?,
                "observedTimeUnixNano" => record.observed_time_unix_nano = nanos(cursor)?,
                "severityText" => record.severity = string(cursor)?,
                "body" => {
                    record.fields = Flat::default();
                    record.body = any_value(cursor, &mut record.fields, "", 1)?;
                }
                "attributes" => attributes = Some(record.read_attributes(cursor)?),
                _ => _ = cursor.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { record, resource: 0, place, is_empty, attributes })
    }
}

impl<'a> Record<'a> {
    /// Where they stand.
    fn read_attributes(&mut self, cursor: &mut Cursor<'a>) -> Result<Range<usize>, Unexpected> {
        (self.attributes, self.keys) = (Flat::default(), Vec::new());
        if cursor.peek() == b'n' {
            return cursor.skip();
        }
        cursor.items(|cursor| {
            let Entry { key, value, .. } = Entry::read(cursor)?;
            self.keys.push(key.clone());
            value_into(cursor, &mut self.attributes, key, value, 0)
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

fn nanos(cursor: &mut Cursor<'_>) -> Result<u64, Unexpected> {
    Ok(number(cursor)?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Adds a list of `KeyValue`; what is none, or lies too deep, is left out.
fn entries<'a>(cursor: &mut Cursor<'a>, flat: &mut Flat<'a>, prefix: &str, depth: usize) -> Result<(), Unexpected> {
    if cursor.peek() != b'[' {
        return cursor.skip().map(drop);
    }
    let each = |cursor: &mut Cursor<'a>| {
        if cursor.peek() != b'{' {
            return cursor.skip().map(drop);
        }
        let Entry { key, value, .. } = Entry::read(cursor)?;
        value_into(cursor, flat, joined(prefix, key), value, depth)
    };
    cursor.items(each).map(drop)
}

/// Adds the `AnyValue` that stands at `value`, of which it is known that it is JSON.
fn value_into<'a>(
    cursor: &mut Cursor<'a>,
    flat: &mut Flat<'a>,
    key: Cow<'a, str>,
    value: Option<Range<usize>>,
    depth: usize,
) -> Result<(), Unexpected> {
    let Some(value) = value else { return Ok(()) };
    if let Some(scalar) = cursor.again(value.start, |cursor| any_value(cursor, flat, &key, depth + 1))? {
        flat.push(key, scalar);
    }
    Ok(())
}

/// Reads an `AnyValue`: one that is a scalar; of one that is a map what is in it is added below `prefix`, down to [`MAX_DEPTH`].
fn any_value<'a>(
    cursor: &mut Cursor<'a>,
    flat: &mut Flat<'a>,
    prefix: &str,
    depth: usize,
) -> Result<Option<Scalar<'a>>, Unexpected> {
    let mut found = None;
    members(cursor, |cursor, name| {
        let first = cursor.peek();
        match name {
            "stringValue" | "bytesValue" if first == b'"' => found = Some(Scalar::Text(cursor.bytes("a string")?)),
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
struct Edited<'t> {
    text: &'t str,
    /// Up to where the text is in `out`.
    at: usize,
    out: Vec<u8>,
}

impl Edited<'_> {
    fn copy_to(&mut self, end: usize) {
        self.out.extend_from_slice(self.text.as_bytes().get(self.at..end).unwrap_or_default());
        self.at = end;
    }

    fn put(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }

    fn end(mut self) -> Vec<u8> {
        self.copy_to(self.text.len());
        self.out
    }

    /// Puts `added`, attributes behind commas, into a record.
    fn add(&mut self, found: &Found<'_>, layout: &Layout, added: &[u8]) -> Result<(), Unexpected> {
        let is_null = |place: &Range<usize>| self.text.as_bytes().get(place.start) == Some(&b'n');
        match &found.attributes {
            None => {
                self.copy_to(found.place.end - 1);
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
                self.put(if found.record.keys.is_empty() { after_comma(added) } else { added });
            }
            Some(place) => {
                let mut kept = Vec::new();
                let mut cursor = Cursor::new(self.text);
                cursor
                    .again(place.start, |cursor| cursor.items(|cursor| kept_entry(&mut kept, cursor, found, layout)))?;
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
fn kept_entry(
    out: &mut Vec<u8>,
    cursor: &mut Cursor<'_>,
    found: &Found<'_>,
    layout: &Layout,
) -> Result<(), Unexpected> {
    let Entry { key, value, place } = Entry::read(cursor)?;
    match found.record.fate(&key, layout) {
        Fate::Goes => {}
        Fate::Stays => {
            out.push(b',');
            out.extend_from_slice(cursor.slice(place).unwrap_or_default().as_bytes());
        }
        Fate::Renamed(name) => {
            let value = value.and_then(|value| cursor.slice(value)).unwrap_or("null");
            out.extend_from_slice(b",{\"key\":");
            write::string(out, &name);
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
    }
    out.push(b'}');
}

fn text_value(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"{\"stringValue\":");
    write::string(out, text);
    out.push(b'}');
}

#[cfg(test)]
mod tests;
