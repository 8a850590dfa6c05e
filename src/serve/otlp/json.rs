//! OTLP in JSON: our attributes are spliced in, every other byte stays.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::record::{Attribute, Fate, Flat, LogRecord, MAX_DEPTH, Record, joined};
use crate::plugin::{Component, Layout, Scalar, Written};

/// Members of an object, as they stand there; of one that is there twice the last.
type Members<'a> = BTreeMap<String, &'a RawValue>;

/// A record of a request.
struct Found<'a> {
    text: &'a str,
    record: Record<'static>,
    /// Which resource, by its place among those of the request.
    resource: usize,
}

/// Scores every record of `request`; the request with our attributes, and how many records it has.
pub(super) fn enrich(request: &[u8], component: &mut Component) -> Result<(Vec<u8>, usize), serde_json::Error> {
    let whole: &RawValue = serde_json::from_slice(request)?;
    let text = whole.get();
    let (resources, found) = read(text)?;
    let layout = component.layout();
    let mut edits = Vec::with_capacity(found.len());
    for Found { text: record_text, record, resource } in &found {
        let mut added = Vec::new();
        let none = Flat::default();
        let resource = resources.get(*resource).unwrap_or(&none);
        let mut event = LogRecord { record, resource, layout: &layout, push, out: &mut added };
        if component.process(&mut event).written == Written::Fields {
            edits.push(edit(text, record_text, record, &layout, &added)?);
        }
    }
    Ok((apply(text, edits), found.len()))
}

/// The attributes of each resource, and all records.
fn read(text: &str) -> Result<(Vec<Flat<'static>>, Vec<Found<'_>>), serde_json::Error> {
    let (mut resources, mut found) = (Vec::new(), Vec::new());
    for resource_logs in list(text, "resourceLogs")? {
        let mut flat = Flat::default();
        let resource: Json = member(resource_logs, "resource")?.map_or(Ok(Json::Null), serde_json::from_str)?;
        attributes_into(&mut flat, "", resource.get("attributes"), 0);
        for scope_logs in list(resource_logs, "scopeLogs")? {
            for text in list(scope_logs, "logRecords")? {
                let record = Record::from_json(&serde_json::from_str(text)?);
                // Looked at now, so that nothing is refused once something was learned.
                list(text, "attributes")?.into_iter().try_for_each(|entry| members(entry).map(|_| ()))?;
                found.push(Found { text, record, resource: resources.len() });
            }
        }
        resources.push(flat);
    }
    Ok((resources, found))
}

fn members(object: &str) -> Result<Members<'_>, serde_json::Error> {
    serde_json::from_str(object)
}

/// A member that is there and not null.
fn member<'a>(object: &'a str, name: &str) -> Result<Option<&'a str>, serde_json::Error> {
    let text = members(object)?.get(name).map(|raw| raw.get());
    Ok(text.filter(|text| *text != "null"))
}

/// The items of a list that is a member; none when there is no such member.
fn list<'a>(object: &'a str, name: &str) -> Result<Vec<&'a str>, serde_json::Error> {
    let Some(text) = member(object, name)? else { return Ok(Vec::new()) };
    let items: Vec<&RawValue> = serde_json::from_str(text)?;
    Ok(items.into_iter().map(RawValue::get).collect())
}

/// A change: what stands there is replaced.
type Edit = (Range<usize>, Vec<u8>);

/// Where `inner` stands in `outer`, of which it is a part.
fn place(outer: &str, inner: &str) -> Range<usize> {
    let start = (inner.as_ptr() as usize).saturating_sub(outer.as_ptr() as usize);
    start..start + inner.len()
}

/// Puts `added`, attributes behind commas, into a record.
fn edit(
    whole: &str,
    text: &str,
    record: &Record<'_>,
    layout: &Layout,
    added: &[u8],
) -> Result<Edit, serde_json::Error> {
    let members = members(text)?;
    let Some(attributes) = members.get("attributes").map(|raw| raw.get()) else {
        let end = place(whole, text).end - 1;
        let comma: &[u8] = if members.is_empty() { b"" } else { b"," };
        return Ok((end..end, [comma, b"\"attributes\":[", after_comma(added), b"]"].concat()));
    };
    let range = place(whole, attributes);
    if attributes == "null" {
        return Ok((range, [b"[", after_comma(added), b"]"].concat()));
    }
    if record.keys.is_empty() {
        return Ok((range.end - 1..range.end - 1, after_comma(added).to_vec()));
    }
    if !record.has_ours(layout) {
        return Ok((range.end - 1..range.end - 1, added.to_vec()));
    }
    let mut kept = Vec::new();
    for entry in list(text, "attributes")? {
        kept_entry(&mut kept, entry, record, layout)?;
    }
    kept.extend_from_slice(added);
    Ok((range, [b"[", after_comma(&kept), b"]"].concat()))
}

/// Appends a comma and what stays of an attribute.
fn kept_entry(out: &mut Vec<u8>, entry: &str, record: &Record<'_>, layout: &Layout) -> Result<(), serde_json::Error> {
    let key: Option<String> = member(entry, "key")?.map(serde_json::from_str).transpose()?;
    match record.fate(key.as_deref().unwrap_or_default(), layout) {
        Fate::Goes => {}
        Fate::Stays => out.extend_from_slice(format!(",{entry}").as_bytes()),
        Fate::Renamed(name) => {
            let value = member(entry, "value")?.unwrap_or("null");
            out.extend_from_slice(format!(",{{\"key\":{},\"value\":{value}}}", Json::from(name)).as_bytes());
        }
    }
    Ok(())
}

fn after_comma(added: &[u8]) -> &[u8] {
    added.strip_prefix(b",").unwrap_or(added)
}

/// Edits stand in the order of the text.
fn apply(text: &str, edits: Vec<Edit>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + edits.iter().map(|(_, added)| added.len()).sum::<usize>());
    let mut at = 0;
    for (range, added) in edits {
        out.extend_from_slice(text.as_bytes().get(at..range.start).unwrap_or_default());
        out.extend_from_slice(&added);
        at = range.end;
    }
    out.extend_from_slice(text.as_bytes().get(at..).unwrap_or_default());
    out
}

/// Appends a comma and an attribute.
fn push(out: &mut Vec<u8>, key: &str, attribute: Attribute<'_>) {
    let value = match attribute {
        Attribute::Flag(flag) => serde_json::json!({"boolValue": flag}),
        Attribute::Number(number) => serde_json::json!({"doubleValue": number}),
        Attribute::Text(text) => serde_json::json!({"stringValue": text}),
        Attribute::Texts(texts) => {
            let values: Vec<_> = texts.iter().map(|text| serde_json::json!({"stringValue": text})).collect();
            serde_json::json!({"arrayValue": {"values": values}})
        }
    };
    out.extend_from_slice(format!(",{}", serde_json::json!({"key": key, "value": value})).as_bytes());
}

/// Adds a list of `KeyValue`; what lies too deep is left out.
fn attributes_into(flat: &mut Flat<'static>, prefix: &str, list: Option<&Json>, depth: usize) {
    for entry in list.and_then(Json::as_array).into_iter().flatten() {
        let key = entry.get("key").and_then(Json::as_str).unwrap_or_default();
        let key = joined(prefix, Cow::Owned(key.to_owned()));
        let value = entry.get("value").unwrap_or(&Json::Null);
        match (scalar(value), map(value)) {
            (Some(scalar), _) => flat.push(key, scalar),
            (None, Some(map)) if depth < MAX_DEPTH => attributes_into(flat, &key, Some(map), depth + 1),
            _ => {}
        }
    }
}

fn map(value: &Json) -> Option<&Json> {
    value.get("kvlistValue")?.get("values")
}

/// An `AnyValue` that is a scalar. 64-bit integers are text in OTLP's JSON, or numbers.
fn scalar(value: &Json) -> Option<Scalar<'static>> {
    let (kind, value) = value.as_object()?.iter().next()?;
    let owned = |text: String| Cow::Owned(text);
    match (kind.as_str(), value) {
        ("stringValue" | "bytesValue", Json::String(text)) => Some(Scalar::Text(Cow::Owned(text.clone().into_bytes()))),
        ("boolValue", Json::Bool(flag)) => Some(Scalar::Flag(*flag)),
        ("intValue" | "doubleValue", Json::String(text)) => Some(Scalar::Number(owned(text.clone()))),
        ("intValue" | "doubleValue", Json::Number(number)) => Some(Scalar::Number(owned(number.to_string()))),
        _ => None,
    }
}

impl Record<'static> {
    fn from_json(json: &Json) -> Self {
        let nanos = |name: &str| match json.get(name) {
            Some(Json::String(text)) => text.parse().unwrap_or(0),
            Some(Json::Number(number)) => number.as_u64().unwrap_or(0),
            _ => 0,
        };
        let mut record = Self {
            severity: json.get("severityText").and_then(Json::as_str).map(|text| Cow::Owned(text.to_owned())),
            time_unix_nano: nanos("timeUnixNano"),
            observed_time_unix_nano: nanos("observedTimeUnixNano"),
            ..Self::default()
        };
        if let Some(body) = json.get("body") {
            record.body = scalar(body);
            attributes_into(&mut record.fields, "", map(body), 1);
        }
        let attributes = json.get("attributes");
        attributes_into(&mut record.attributes, "", attributes, 0);
        let keys = attributes.and_then(Json::as_array).into_iter().flatten();
        let key = |entry: &Json| Cow::Owned(entry.get("key").and_then(Json::as_str).unwrap_or_default().to_owned());
        record.keys = keys.map(key).collect();
        record
    }
}
