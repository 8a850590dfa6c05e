//! OpenTelemetry logs (OTLP): an `ExportLogsServiceRequest` in, the same with our attributes out.
//!
//! ```text
//! ExportLogsServiceRequest { repeated ResourceLogs = 1 }
//! ResourceLogs { Resource resource = 1; repeated ScopeLogs = 2; … }      Resource { repeated KeyValue attributes = 1; … }
//! ScopeLogs    { scope = 1; repeated LogRecord = 2; … }
//! LogRecord    { fixed64 time_unix_nano = 1; severity_number = 2; string severity_text = 3; AnyValue body = 5;
//!                repeated KeyValue attributes = 6; …; fixed64 observed_time_unix_nano = 11; string event_name = 12; … }
//! KeyValue     { string key = 1; AnyValue value = 2 }
//! AnyValue     = oneof { string 1; bool 2; int64 3; double 4; ArrayValue 5; KeyValueList 6; bytes 7 }
//! ArrayValue   { repeated AnyValue values = 1 }      KeyValueList { repeated KeyValue values = 1 }
//! ```
//! In JSON the same names in lower camel case.
//!
//! # What is read
//! The message is the body; of a body that is a map, what `message_field` names. Other configured fields are looked for among the
//! attributes of the record, those of its resource, and in a body that is a map, in this order, as one key with its dots
//! (`service.name`) or going inside; `host` and `service` are also `host.name` and `service.name`. `level_field: severity_text` is the
//! record's own severity as its source called it, `severity_number` by OpenTelemetry's ranges; where either is missing the other counts, and with
//! no `level_field` the number does, then the text. A record without a body is known by its `eventName`. The time is `timeUnixNano`, or else `observedTimeUnixNano`.
//!
//! # What is written
//! Attributes of the record: `anomaly.score`, `anomaly.is_anomaly` … (`target` and the field's name; `anomaly.detectors.rarity` of a map),
//! and the template as `log.record.template`. Everything else keeps every byte it has: in protobuf our attributes stand
//! behind the record, in JSON at the end of its list. An attribute that has our name already is treated as `on_existing` says.

mod answer;
mod base64;
mod cursor;
mod json;
mod part;
mod protobuf;
mod record;

use axum::http::StatusCode;
use bytes::Bytes;

pub(crate) use self::answer::rejected;
use self::cursor::Unexpected;
pub(crate) use self::part::{Part, Scored, ScoredPart};
use super::wire::Malformed;
use crate::engine::Synthetic;
use crate::plugin::Component;

/// How a request is encoded; the answer is, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

impl Encoding {
    /// By the content type without its parameters, in lower case; nothing when it is neither.
    pub(crate) fn of(essence: &str) -> Option<Self> {
        match essence {
            "application/x-protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }

    /// The content type.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OtlpError {
    /// Not the protobuf message it should be.
    #[error("expected an ExportLogsServiceRequest: {0}")]
    Protobuf(#[from] Malformed),
    /// Not the JSON it should be.
    #[error("expected an ExportLogsServiceRequest: {0}")]
    Json(#[from] Unexpected),
    /// It has too many records; nothing was learned.
    #[error("expected at most {limit} records (max_events), found {found}: send them in several requests")]
    TooMany { limit: usize, found: usize },
    /// It is too large with our attributes.
    #[error("expected at most {limit} bytes of scored records (max_scored_bytes): send them in several requests")]
    TooLarge { limit: usize },
}

impl OtlpError {
    /// What it is answered with.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Protobuf(_) | Self::Json(_) => StatusCode::BAD_REQUEST,
            Self::TooMany { .. } | Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    pub(crate) encoding: Encoding,
    pub(crate) bytes: Bytes,
    /// Records in it, once they were scored.
    pub(crate) records: usize,
}

impl Payload {
    /// Its records as jobs of lanes, and what puts together what they make of them: at most so many records, and with our attributes at most
    /// so many bytes. A request that is refused here has taught nothing.
    pub(crate) fn parts(&self, max_records: usize, max_bytes: usize) -> Result<(Vec<Part>, Scored), OtlpError> {
        part::split(self, max_records, max_bytes)
    }

    /// Events of oddline's own.
    pub(crate) fn synthetic(events: &[Synthetic], component: &Component) -> Self {
        let bytes = protobuf::synthetic(events, component).into();
        Self { encoding: Encoding::Protobuf, bytes, records: events.len() }
    }
}
