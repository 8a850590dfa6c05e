//! HTTP: scoring, health, figures.
//!
//! | path | | token |
//! |---|---|---|
//! | `POST /v1/score` | events in ([`body`]); the same events scored, as the answer or on to `http.forward` | yes |
//! | `POST /v1/logs` | OpenTelemetry's logs ([`otlp`]), on to `http.otlp_forward` | yes |
//! | `GET /metrics` | [`metrics`] | yes |
//! | `GET /v1/stats` | the same figures and more, as JSON | yes |
//! | `GET /v1/incidents` | [`incidents`] | yes |
//! | `GET /v1/search` | [`search`] | yes |
//! | `GET /health` | 200: the process answers | no |
//! | `GET /ready` | 200: events are taken; 503: it is ending | no |
//!
//! Failures are `{"error": "…"}`, a 503 has `Retry-After`. 400: no JSON list, wrong parameters; 401: token; 403: a page of
//! elsewhere ([`guard`]); 408: too slow; 413: too large or too many events; 415: packed in an unknown
//! way; 503: ending, not scored in time, too many requests under way, the next hop cannot be reached, or too many read incidents at once: send again.

mod answer;
pub(super) mod body;
pub(super) mod forward;
mod guard;
mod incidents;
pub(super) mod metrics;
mod otlp;
mod receive;
mod search;
pub(super) mod timed;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::answer::Pieces;
use self::body::{Body, BodyError, Scored};
use self::forward::HttpForward;
use self::guard::Guard;
use self::timed::Pace;
use super::lanes::{Lanes, Lost, scoring_ends};
use super::options::HttpOptions;
use super::stats::{Stats, add};
use super::turn::{Busy, Turn, Turns};

/// What the handlers share.
pub(super) struct Shared {
    lanes: Lanes,
    hops: Hops,
    turns: Turns,
    /// For those who read the journal.
    readers: Arc<Semaphore>,
    searches: Arc<Semaphore>,
    max_message_bytes: usize,
    max_events: usize,
    max_scored_bytes: usize,
    pace: Pace,
    request_timeout: Duration,
    token: Option<String>,
    guard: Guard,
    is_stopping: Arc<AtomicBool>,
    stats: Arc<Stats>,
}

/// Where scored events go on to.
pub(super) struct Hops {
    pub(super) forward: Option<HttpForward>,
    pub(super) otlp: Option<HttpForward>,
}

impl Shared {
    pub(super) fn new(
        options: &HttpOptions,
        token: Option<String>,
        hops: Hops,
        lanes: Lanes,
        is_stopping: Arc<AtomicBool>,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            lanes,
            hops,
            turns: Turns::new(options.concurrency, Duration::from_secs(options.receive_timeout_secs), &stats),
            readers: Arc::new(Semaphore::new(incidents::AT_ONCE)),
            searches: Arc::new(Semaphore::new(search::AT_ONCE)),
            max_message_bytes: options.max_message_bytes,
            max_events: options.max_events,
            max_scored_bytes: options.max_scored_bytes,
            pace: options.pace(),
            request_timeout: Duration::from_secs(options.request_timeout_secs),
            token,
            guard: Guard::new(options),
            is_stopping,
            stats,
        }
    }
}

/// The routes.
pub(super) fn router(shared: Shared) -> Router {
    let shared = Arc::new(shared);
    Router::new()
        .route("/v1/score", post(score))
        .route("/v1/logs", post(otlp::logs))
        .route("/v1/stats", get(stats))
        .route("/v1/incidents", get(incidents::incidents))
        .route("/v1/search", get(search::search))
        .route("/metrics", get(figures))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&shared), authorised))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&shared), guard::guarded))
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .fallback(|| async { failure(StatusCode::NOT_FOUND, "no such path") })
        .with_state(shared)
}

fn failure(status: StatusCode, text: &str) -> Response {
    let body = json!({"error": text}).to_string();
    again((status, [(header::CONTENT_TYPE, "application/json")], body).into_response(), None)
}

/// When another one may come, unless somebody says so.
const RETRY_AFTER_SECS: u64 = 1;

/// With `Retry-After`, when it is a 503.
fn again(mut response: Response, retry_after_secs: Option<u64>) -> Response {
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        let secs = retry_after_secs.unwrap_or(RETRY_AFTER_SECS);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}

/// 503; whoever gets it comes again.
fn busy(busy: Busy) -> receive::Refused {
    receive::Refused::new(StatusCode::SERVICE_UNAVAILABLE, busy.to_string())
}

/// Compares all of it whatever differs: how long it takes tells nothing about where.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// The token of `Bearer TOKEN`; the scheme in any case (RFC 9110, 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

async fn authorised(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let Some(token) = &shared.token else { return next.run(request).await };
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    if given.is_some_and(|given| is_equal(given, token.as_bytes())) {
        return next.run(request).await;
    }
    add(&shared.stats.requests_unauthorized_total, 1);
    let mut refused = failure(StatusCode::UNAUTHORIZED, "expected the header Authorization: Bearer TOKEN");
    refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    refused
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    if shared.is_stopping.load(Ordering::Acquire) {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "the sidecar is ending");
    }
    "ready\n".into_response()
}

async fn figures(State(shared): State<Arc<Shared>>) -> Response {
    let is_stopping = shared.is_stopping.load(Ordering::Acquire);
    let text = metrics::text(shared.lanes.stats().as_ref(), &shared.stats, is_stopping);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn stats(State(shared): State<Arc<Shared>>) -> Response {
    let body = json!({"serve": shared.stats.counted(), "component": shared.lanes.stats()}).to_string();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn score(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match shared.score(request).await {
        Ok(Some((body, turn))) => {
            let pieces = axum::body::Body::new(Pieces::new(body.bytes.clone(), turn));
            ([(header::CONTENT_TYPE, body.content_type())], pieces).into_response()
        }
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(refused) => again(failure(refused.status, &refused.text), refused.retry_after_secs),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

impl Shared {
    /// The scored events and the turn, which lasts until they are taken, unless they went on to the next hop.
    async fn score(&self, request: Request) -> Result<Option<(Body, Turn)>, receive::Refused> {
        let turn = self.turns.take().await.map_err(busy)?;
        add(&self.stats.requests_total, 1);
        let body = self.body(request).await.inspect_err(|_| add(&self.stats.requests_refused_total, 1))?;
        let deadline = Instant::now() + self.request_timeout;
        let until = if self.hops.forward.is_some() { scoring_ends(self.request_timeout) } else { deadline };
        let scored = self.scored(&body, until).await?;
        let Some(forward) = &self.hops.forward else {
            add(&self.stats.events_sent_total, scored.events);
            return Ok(Some((scored, turn)));
        };
        forward.post(scored.content_type(), &scored.bytes, deadline, &self.stats).await.inspect_err(|error| {
            add(&self.stats.forward_failures_total, 1);
            tracing::warn!(error = error.text, "a request could not be passed on");
        })?;
        add(&self.stats.events_sent_total, scored.events);
        Ok(None)
    }

    /// The events of `body`, part by part, so that others get their turn in between.
    async fn scored(&self, body: &Body, until: Instant) -> Result<Body, receive::Refused> {
        let refused = |error: BodyError| {
            add(&self.stats.requests_refused_total, 1);
            receive::Refused::new(error.status(), error.to_string())
        };
        let mut scored = Scored::new(body, self.max_scored_bytes);
        for part in body.parts(self.max_events).map_err(refused)? {
            let events = part.len();
            match self.lanes.score(part, until).await {
                Ok(bytes) => scored.add(&bytes, events).map_err(refused)?,
                Err(lost @ (Lost::Ending | Lost::Late)) => {
                    add(&self.stats.requests_turned_away_total, 1);
                    return Err(receive::Refused::new(StatusCode::SERVICE_UNAVAILABLE, lost.to_string()));
                }
                Err(Lost::Lane) => {
                    add(&self.stats.requests_unscored_total, 1);
                    return Ok(body.clone());
                }
            }
        }
        Ok(scored.end())
    }

    async fn body(&self, request: Request) -> Result<Body, receive::Refused> {
        let (headers, bytes) = self.receive(request).await?;
        Ok(Body::new(text(&headers, &header::CONTENT_TYPE), bytes))
    }

    /// The headers and the unpacked body.
    async fn receive(&self, request: Request) -> Result<(HeaderMap, Bytes), receive::Refused> {
        let (parts, body) = request.into_parts();
        let encoding = text(&parts.headers, &header::CONTENT_ENCODING);
        let bytes = receive::receive(body, encoding, self.max_message_bytes, self.pace).await?;
        Ok((parts.headers, bytes))
    }
}
