//! `GET /v1/incidents`: what is in the journal, that not written yet among it.
//!
//! | parameter | | default |
//! |---|---|---|
//! | `since`, `until` | a time (RFC 3339) or how long ago (`90s`, `15m`, `2h`, `7d`); `since` is taken in, `until` is not | all |
//! | `host`, `stream` | of this one alone | all |
//! | `limit` | the newest so many, up to [`MOST`] | 100 |
//!
//! The answer is `{"incidents": […], "left_out": N, "damaged_lines": N, "damaged_objects": […]}`, oldest first, with the columns of the
//! journal and `host`.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::{Shared, failure};
use crate::clock::{Clock, SystemClock, moment};
use crate::engine::incidents::{Found, Incident, Reading};
use crate::event::Timestamp;

/// Incidents in one answer at the most.
const MOST: usize = 10_000;

const DEFAULT: usize = 100;

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    since: Option<String>,
    until: Option<String>,
    host: Option<String>,
    stream: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    host: &'a str,
    #[serde(flatten)]
    incident: &'a Incident,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    incidents: Vec<Row<'a>>,
    left_out: usize,
    damaged_lines: u64,
    damaged_objects: &'a [String],
}

impl Asked {
    fn reading(&self, now: Timestamp) -> Result<Reading, String> {
        let time = |name: &str, text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            let expected =
                || format!("{name}: expected a time (RFC 3339) or how long ago (90s, 15m, 2h, 7d), found {text:?}");
            moment(text, now).map(Some).ok_or_else(expected)
        };
        Ok(Reading { since: time("since", &self.since)?, until: time("until", &self.until)?, host: self.host.clone() })
    }

    fn limit(&self) -> Result<usize, String> {
        let limit = self.limit.unwrap_or(DEFAULT);
        if (1..=MOST).contains(&limit) { Ok(limit) } else { Err(format!("limit: expected 1 to {MOST}, found {limit}")) }
    }

    fn answer(&self, found: &Found, limit: usize) -> serde_json::Result<String> {
        let wanted = |row: &&(String, Incident)| self.stream.as_ref().is_none_or(|stream| row.1.stream == *stream);
        let rows: Vec<Row<'_>> =
            found.incidents.iter().filter(wanted).map(|(host, incident)| Row { host, incident }).collect();
        let left_out = rows.len().saturating_sub(limit);
        serde_json::to_string(&Answer {
            incidents: rows.into_iter().skip(left_out).collect(),
            left_out,
            damaged_lines: found.damaged_lines,
            damaged_objects: &found.damaged_objects,
        })
    }
}

/// Answers; the journal is read on a thread that may wait for its store.
pub(super) async fn incidents(
    State(shared): State<Arc<Shared>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let asked = match asked {
        Ok(Query(asked)) => asked,
        Err(rejection) => return failure(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let (reading, limit) = match (asked.reading(SystemClock.now()), asked.limit()) {
        (Ok(reading), Ok(limit)) => (reading, limit),
        (Err(text), _) | (_, Err(text)) => return failure(StatusCode::BAD_REQUEST, &text),
    };
    let engine = shared.lanes.engine();
    let read = tokio::task::spawn_blocking(move || {
        let found = engine.map_or_else(|| Ok(Found::default()), |engine| engine.incidents(&reading));
        let found = found.map_err(|error| error.to_string())?;
        asked.answer(&found, limit).map_err(|error| error.to_string())
    });
    match read.await {
        Ok(Ok(body)) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Ok(Err(text)) => failure(StatusCode::BAD_GATEWAY, &text),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}
