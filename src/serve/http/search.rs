//! `GET /v1/search`: templates of the history that are nearest in meaning to some words, and when they were seen.
//!
//! | parameter | | default |
//! |---|---|---|
//! | `q` | the words | must be there |
//! | `since`, `until` | a time (RFC 3339) or how long ago (`90s`, `15m`, `2h`, `7d`); `since` is taken in, `until` is not | all |
//! | `stream` | of this one alone: values of `partition_by`, as `host=db1` | all |
//! | `k` | templates at most, up to [`MOST`] | 10 |
//!
//! The answer is `{"templates": […], "templates_searched": N, "model": "…", "fallback": null, "unlisted_events": N, "damaged": […]}`, the nearest first; `fallback` says why the
//! model that is configured was not used. First and last times are exact where `first_within_secs` and `last_within_secs` are 0, else starts of windows of so many seconds. [`AT_ONCE`] searches run at a time; one more is answered 503. A request line of more than 64 KiB is answered 414.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::{Shared, failure};
use crate::clock::{Clock, SystemClock, moment};
use crate::engine::Engine;
use crate::engine::history;
use crate::engine::search::{Search, SearchError};
use crate::event::Timestamp;

/// Searches that run at a time: each reads files, and has a thread of its own meanwhile.
pub(super) const AT_ONCE: usize = 2;

/// Templates in one answer at the most.
const MOST: usize = 1_000;

const DEFAULT: usize = 10;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    q: String,
    since: Option<String>,
    until: Option<String>,
    stream: Option<String>,
    k: Option<usize>,
}

type Refused = (StatusCode, String);

fn wrong(text: String) -> Refused {
    (StatusCode::BAD_REQUEST, text)
}

impl Asked {
    fn search(&self, engine: &Engine, now: Timestamp) -> Result<Search, Refused> {
        let time = |name: &str, text: &Option<String>, otherwise: Timestamp| {
            let Some(text) = text else { return Ok(otherwise) };
            let expected =
                || format!("{name}: expected a time (RFC 3339) or how long ago (90s, 15m, 2h, 7d), found {text:?}");
            moment(text, now).ok_or_else(|| wrong(expected()))
        };
        let k = self.k.unwrap_or(DEFAULT);
        if !(1..=MOST).contains(&k) {
            return Err(wrong(format!("k: expected 1 to {MOST}, found {k}")));
        }
        let stream = self.stream.as_deref().map(|text| engine.stream(text)).transpose();
        Ok(Search {
            words: self.q.clone(),
            from: time("since", &self.since, history::Query::ALL.from)?,
            until: time("until", &self.until, history::Query::ALL.until)?,
            stream: stream.map_err(|error| wrong(error.to_string()))?,
            most: k,
        })
    }

    fn answer(&self, engine: &Engine) -> Result<String, Refused> {
        let search = self.search(engine, SystemClock.now())?;
        let found = engine.search(&search).map_err(|error| {
            let status = match error {
                SearchError::NoWords { .. } => StatusCode::BAD_REQUEST,
                SearchError::NoDataDir => StatusCode::NOT_FOUND,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, error.to_string())
        })?;
        serde_json::to_string(&found).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    }
}

/// Answers; files are read on a thread that may wait for them.
pub(super) async fn search(State(shared): State<Arc<Shared>>, asked: Result<Query<Asked>, QueryRejection>) -> Response {
    let asked = match asked {
        Ok(Query(asked)) => asked,
        Err(rejection) => return failure(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let Some(engine) = shared.lanes.engine() else {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "the engine is not open");
    };
    let Ok(permit) = Arc::clone(&shared.searches).try_acquire_owned() else {
        return failure(StatusCode::SERVICE_UNAVAILABLE, &format!("{AT_ONCE} searches run already: try again"));
    };
    let work = tokio::task::spawn_blocking(move || {
        // Kept until the work is done, even if nobody waits for it any more.
        let _permit = permit;
        asked.answer(&engine)
    });
    match work.await {
        Ok(Ok(body)) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Ok(Err((status, text))) => failure(status, &text),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}
