//! `GET /v1/incidents`: what is in the journal, that not written yet among it.
//!
//! | parameter | | default |
//! |---|---|---|
//! | `since`, `until` | a time (RFC 3339) or how long ago (`90s`, `15m`, `2h`, `7d`); `since` is taken in, `until` is not | all |
//! | `host` | of this one alone | all |
//! | `stream` | of this one alone: values of `partition_by`, as `host=db1` | all |
//! | `reason` | with this among their reasons | all |
//! | `limit` | the newest so many, up to [`MOST`] | 100 |
//!
//! The answer is `{"incidents": […], "left_out": N, "unread_objects": N, "damaged_lines": N, "damaged_objects": […]}`, oldest first, with the
//! columns of the journal and `host`. The journal is read from its newest hour back and no further than needed: `left_out` are older incidents
//! that were read, `unread_objects` older objects that were not; damage is told of what was read.
//!
//! [`AT_ONCE`] requests read at a time, each with up to [`MOST`] incidents in memory; another one is answered 503 with `Retry-After`: who asks for a
//! dashboard comes again, and a queue of readers would be what an overload needs least.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::{Shared, failure};
use crate::clock::{Clock, SystemClock, moment};
use crate::engine::Engine;
use crate::engine::incidents::{Found, Incident, Reading};
use crate::event::{Reason, Timestamp};

/// Incidents in one answer at the most.
const MOST: usize = 10_000;

const DEFAULT: usize = 100;

/// Requests that read at the same time.
pub(super) const AT_ONCE: usize = 2;

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    since: Option<String>,
    until: Option<String>,
    host: Option<String>,
    stream: Option<String>,
    reason: Option<String>,
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
    left_out: u64,
    unread_objects: u64,
    damaged_lines: u64,
    damaged_objects: &'a [String],
}

impl Asked {
    fn reading(&self, engine: Option<&Engine>, now: Timestamp) -> Result<Reading, String> {
        let time = |name: &str, text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            let expected =
                || format!("{name}: expected a time (RFC 3339) or how long ago (90s, 15m, 2h, 7d), found {text:?}");
            moment(text, now).map(Some).ok_or_else(expected)
        };
        let stream = self.stream.as_deref().zip(engine).map(|(text, engine)| engine.stream(text)).transpose();
        Ok(Reading {
            since: time("since", &self.since)?,
            until: time("until", &self.until)?,
            host: self.host.clone(),
            streams: stream.map_err(|error| error.to_string())?.map(|stream| stream.names).unwrap_or_default(),
            reason: self.reason()?,
            limit: Some(self.limit()?),
            ..Reading::default()
        })
    }

    fn reason(&self) -> Result<Option<Reason>, String> {
        let Some(text) = &self.reason else { return Ok(None) };
        let found = Reason::ALL.into_iter().find(|reason| reason.as_str() == text);
        let expected = || Reason::ALL.map(Reason::as_str).join(", ");
        found.map(Some).ok_or_else(|| format!("reason: expected one of {}, found {text:?}", expected()))
    }

    fn limit(&self) -> Result<usize, String> {
        let limit = self.limit.unwrap_or(DEFAULT);
        if (1..=MOST).contains(&limit) { Ok(limit) } else { Err(format!("limit: expected 1 to {MOST}, found {limit}")) }
    }
}

fn answer(found: &Found) -> serde_json::Result<String> {
    serde_json::to_string(&Answer {
        incidents: found.incidents.iter().map(|(host, incident)| Row { host, incident }).collect(),
        left_out: found.left_out,
        unread_objects: found.unread_objects,
        damaged_lines: found.damaged_lines,
        damaged_objects: &found.damaged_objects,
    })
}

fn busy() -> Response {
    failure(StatusCode::SERVICE_UNAVAILABLE, &format!("{AT_ONCE} requests read the journal already: come again"))
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
    let engine = shared.lanes.engine();
    let reading = match asked.reading(engine.as_ref(), SystemClock.now()) {
        Ok(reading) => reading,
        Err(text) => return failure(StatusCode::BAD_REQUEST, &text),
    };
    // It is given back when the reading ends, also when nobody waits for the answer any more.
    let Ok(permit) = Arc::clone(&shared.readers).try_acquire_owned() else { return busy() };
    let read = tokio::task::spawn_blocking(move || {
        let found = engine.map_or_else(|| Ok(Found::default()), |engine| engine.incidents(&reading));
        let found = found.map_err(|error| error.to_string())?;
        let answered = answer(&found).map_err(|error| error.to_string());
        drop(permit);
        answered
    });
    match read.await {
        Ok(Ok(body)) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Ok(Err(text)) => failure(StatusCode::BAD_GATEWAY, &text),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}
