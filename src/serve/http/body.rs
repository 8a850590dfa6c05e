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

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::engine::Synthetic;
use crate::plugin::{LineScorer, Outcome};

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

    /// Scores every event.
    pub(crate) fn score(&self, scorer: &mut LineScorer) -> Result<Self, BodyError> {
        match self.format {
            Format::Ndjson => Ok(self.lines(|line, out| scorer.json(line, out))),
            Format::Text => Ok(self.lines(|line, out| scorer.text(line, out))),
            Format::List => self.list(scorer),
            Format::Object => {
                let mut out = Vec::with_capacity(self.bytes.len() + 512);
                scorer.json(self.bytes.trim_ascii(), &mut out);
                Ok(Self { format: Format::Object, bytes: out.into(), events: 1 })
            }
        }
    }

    fn lines(&self, mut score: impl FnMut(&[u8], &mut Vec<u8>) -> Outcome) -> Self {
        let mut out = Vec::with_capacity(self.bytes.len() * 3);
        let mut events = 0;
        for line in self.bytes.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                score(line, &mut out);
                out.push(b'\n');
                events += 1;
            }
        }
        Self { format: Format::Ndjson, bytes: out.into(), events }
    }

    fn list(&self, scorer: &mut LineScorer) -> Result<Self, BodyError> {
        let items: Vec<&RawValue> = serde_json::from_slice(&self.bytes).map_err(BodyError::List)?;
        let mut out = Vec::with_capacity(self.bytes.len() * 3);
        out.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            scorer.json(item.get().as_bytes(), &mut out);
        }
        out.push(b']');
        Ok(Self { format: Format::List, bytes: out.into(), events: items.len() })
    }
}
