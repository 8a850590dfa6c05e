//! Events in the body of an HTTP request, and the same with our fields.
//!
//! | `Content-Type` | body | answer |
//! |---|---|---|
//! | `application/x-ndjson` (also `application/ndjson`, `application/jsonl`) | a JSON object a line | NDJSON |
//! | `application/json` | a list of objects; one object; NDJSON | a list; an object; NDJSON |
//! | `text/plain` | a message a line | NDJSON |
//! | another or none | as the first byte says: `[` a list, `{` NDJSON, else messages | |
//!
//! Empty lines are left out. What is no object is taken for a message, as everywhere.

use std::fmt;
use std::iter;
use std::ops::Range;

use axum::http::StatusCode;
use bytes::Bytes;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::engine::Synthetic;
use crate::plugin::LineScorer;

/// Events of a job, and about the bytes of one: others get their turn after it.
pub(crate) const PART_EVENTS: usize = 1_000;
pub(crate) const PART_BYTES: usize = 512 << 10;

/// What one event grows by, about.
const GROWTH_BYTES: usize = 256;

/// How events stand in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// An object a line.
    Ndjson,
    /// A JSON list.
    List,
    /// One JSON object.
    Object,
    /// A message a line.
    Text,
}

/// A content type without its parameters, in lower case, as their case does not matter (RFC 9110, 8.3.1).
pub(crate) fn essence(content_type: Option<&str>) -> String {
    content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase()
}

/// Why a body is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// It is no JSON list.
    #[error("expected a JSON list of objects: {0}")]
    List(serde_json::Error),
    /// It has too many events; nothing was learned.
    #[error("expected at most {limit} events (max_events), found {found}: send them in several requests")]
    TooMany { limit: usize, found: usize },
    /// Its events are too large with our fields.
    #[error("expected at most {limit} bytes of scored events (max_scored_bytes): send them in several requests")]
    TooLarge { limit: usize },
}

impl BodyError {
    /// What it is answered with.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::List(_) => StatusCode::BAD_REQUEST,
            Self::TooMany { .. } | Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }
}

/// Events, as they stand in a body.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) format: Format,
    pub(crate) bytes: Bytes,
    /// Events in it, once they were scored.
    pub(crate) events: usize,
}

impl Body {
    /// Tells the format from the content type and the first byte.
    pub(crate) fn new(content_type: Option<&str>, bytes: Bytes) -> Self {
        let essence = essence(content_type);
        let first = bytes.trim_ascii_start().first().copied();
        let format = match (essence.as_str(), first) {
            ("application/x-ndjson" | "application/ndjson" | "application/jsonl", _) => Format::Ndjson,
            ("text/plain", _) => Format::Text,
            (_, Some(b'[')) => Format::List,
            ("application/json", _) if serde_json::from_slice::<&RawValue>(&bytes).is_ok() => Format::Object,
            ("application/json", _) | (_, Some(b'{')) => Format::Ndjson,
            _ => Format::Text,
        };
        Self { format, bytes, events: 0 }
    }

    /// Events of oddline's own.
    pub(crate) fn synthetic(events: &[Synthetic], scorer: &LineScorer) -> Self {
        let mut out = Vec::new();
        for synthetic in events {
            scorer.json_synthetic(synthetic, &mut out);
            out.push(b'\n');
        }
        Self { format: Format::Ndjson, bytes: out.into(), events: events.len() }
    }

    /// The content type of the body as it is.
    pub(crate) const fn content_type(&self) -> &'static str {
        match self.format {
            Format::Ndjson => "application/x-ndjson",
            Format::List | Format::Object => "application/json",
            Format::Text => "text/plain; charset=utf-8",
        }
    }

    /// Its events as jobs of lanes, each short, in their order.
    pub(crate) fn parts(&self, max_events: usize) -> Result<Vec<Part>, BodyError> {
        let events = self.events(max_events)?;
        let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
        for event in events {
            bytes += event.len();
            part.push(event);
            if part.len() >= PART_EVENTS || bytes >= PART_BYTES {
                parts.push(self.part(std::mem::take(&mut part)));
                bytes = 0;
            }
        }
        if !part.is_empty() {
            parts.push(self.part(part));
        }
        Ok(parts)
    }

    fn part(&self, events: Vec<Range<usize>>) -> Part {
        Part { format: self.format, bytes: self.bytes.clone(), events }
    }

    /// Where they stand.
    fn events(&self, limit: usize) -> Result<Vec<Range<usize>>, BodyError> {
        let (events, found) = match self.format {
            Format::Ndjson | Format::Text => {
                let mut lines = self.lines();
                let first: Vec<_> = lines.by_ref().take(limit).collect();
                let found = first.len() + lines.count();
                (first, found)
            }
            Format::List => self.items(limit).map_err(BodyError::List)?,
            Format::Object => (iter::once(0..self.bytes.len()).collect(), 1),
        };
        if found > limit { Err(BodyError::TooMany { limit, found }) } else { Ok(events) }
    }

    fn lines(&self) -> impl Iterator<Item = Range<usize>> {
        let mut next = 0;
        let place = move |line: &[u8]| {
            let start = next;
            next += line.len() + 1;
            start..start + line.strip_suffix(b"\r").unwrap_or(line).len()
        };
        self.bytes.split(|byte| *byte == b'\n').map(place).filter(|line| !line.is_empty())
    }

    /// The first so many items of a list, and how many there are.
    fn items(&self, limit: usize) -> serde_json::Result<(Vec<Range<usize>>, usize)> {
        let mut reader = serde_json::Deserializer::from_slice(&self.bytes);
        let items = reader.deserialize_seq(Items { text: &self.bytes, limit })?;
        reader.end()?;
        Ok(items)
    }
}

/// Reads a list without keeping more than its first items.
struct Items<'t> {
    text: &'t [u8],
    limit: usize,
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = (Vec<Range<usize>>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut places = Vec::new();
        while places.len() < self.limit {
            let Some(item) = list.next_element::<&'de RawValue>()? else { break };
            // It is borrowed from the text.
            let start = item.get().as_ptr().addr() - self.text.as_ptr().addr();
            places.push(start..start + item.get().len());
        }
        let mut found = places.len();
        while list.next_element::<IgnoredAny>()?.is_some() {
            found += 1;
        }
        Ok((places, found))
    }
}

/// Events of a body, a job of a lane.
pub(crate) struct Part {
    format: Format,
    bytes: Bytes,
    events: Vec<Range<usize>>,
}

impl Part {
    /// Events in it.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Scores every event; each is followed by what parts it from the next.
    pub(crate) fn score(&self, scorer: &mut LineScorer) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.events.iter().map(|event| event.len() + GROWTH_BYTES).sum());
        for event in &self.events {
            let event = self.bytes.get(event.clone()).unwrap_or_default();
            match self.format {
                Format::Text => scorer.text(event, &mut out),
                Format::Ndjson | Format::List | Format::Object => scorer.json(event.trim_ascii(), &mut out),
            };
            match self.format {
                Format::Ndjson | Format::Text => out.push(b'\n'),
                Format::List => out.push(b','),
                Format::Object => {}
            }
        }
        out
    }
}

/// The scored parts of a body, put together.
pub(crate) struct Scored {
    format: Format,
    out: Vec<u8>,
    events: usize,
    limit: usize,
}

impl Scored {
    /// At most `limit` bytes of the events of `body`.
    pub(crate) fn new(body: &Body, limit: usize) -> Self {
        let (format, out) = match body.format {
            Format::Ndjson | Format::Text => (Format::Ndjson, Vec::new()),
            Format::List => (Format::List, vec![b'[']),
            Format::Object => (Format::Object, Vec::new()),
        };
        Self { format, out, events: 0, limit }
    }

    pub(crate) fn add(&mut self, part: &[u8], events: usize) -> Result<(), BodyError> {
        if self.out.len() + part.len() > self.limit {
            return Err(BodyError::TooLarge { limit: self.limit });
        }
        self.out.extend_from_slice(part);
        self.events += events;
        Ok(())
    }

    pub(crate) fn end(mut self) -> Body {
        if self.format == Format::List {
            self.out.pop_if(|byte| *byte == b',');
            self.out.push(b']');
        }
        Body { format: self.format, bytes: self.out.into(), events: self.events }
    }
}
