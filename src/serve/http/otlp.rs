//! OTLP/HTTP: `POST /v1/logs`, protobuf or JSON, and on to the next hop in the same encoding.
//!
//! Success is answered only after the next hop took the request, with what it said (`partialSuccess`). Failures are a `google.rpc.Status`
//! in the request's encoding. Of those a sender tries 429, 502, 503 and 504 again and drops what it has for others; 503 is ours for a next hop
//! that cannot be reached (with its own `Retry-After`, if any), for an end, for want of a turn, and for a body that came too slowly. While storage
//! is degraded, logs are scored and sent on.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use super::body::essence;
use super::receive::Refused;
use super::{Shared, again, busy, text};
use crate::serve::lanes::{Lost, scoring_ends};
use crate::serve::otlp::{self, Encoding, OtlpError, Payload};
use crate::serve::stats::add;
use crate::serve::wire;

pub(super) async fn logs(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let encoding = Encoding::of(&essence(text(request.headers(), &header::CONTENT_TYPE)));
    let Some(encoding) = encoding else {
        let expected = "Content-Type: expected application/x-protobuf or application/json";
        add(&shared.stats.requests_refused_total, 1);
        return status(Encoding::Json, &Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, expected.to_owned()));
    };
    match shared.export(encoding, request).await {
        Ok(answer) => ([(header::CONTENT_TYPE, encoding.content_type())], answer).into_response(),
        Err(refused) => status(encoding, &refused),
    }
}

/// Codes of gRPC.
fn grpc_code(status: StatusCode) -> u8 {
    match status.as_u16() {
        400 | 415 => 3,
        404 => 12,
        413 | 429 => 8,
        503 => 14,
        _ => 2,
    }
}

fn status(encoding: Encoding, refused: &Refused) -> Response {
    // Whoever was too slow would drop what he has for a 408.
    let status = match refused.status {
        StatusCode::REQUEST_TIMEOUT => StatusCode::SERVICE_UNAVAILABLE,
        status => status,
    };
    let (code, text) = (grpc_code(status), refused.text.as_str());
    let body = match encoding {
        Encoding::Json => json!({"code": code, "message": text}).to_string().into_bytes(),
        Encoding::Protobuf => {
            let mut body = Vec::new();
            wire::number(&mut body, 1, u64::from(code));
            wire::bytes(&mut body, 2, text.as_bytes());
            body
        }
    };
    let response = (status, [(header::CONTENT_TYPE, encoding.content_type())], body).into_response();
    again(response, refused.retry_after_secs)
}

impl Shared {
    /// What the next hop answered.
    async fn export(&self, encoding: Encoding, request: Request) -> Result<Bytes, Refused> {
        let Some(forward) = &self.hops.otlp else {
            return Err(Refused::new(
                StatusCode::NOT_FOUND,
                "http.otlp_forward is not set: there is nowhere to send logs on to".to_owned(),
            ));
        };
        let _permit = self.turns.take().await.map_err(busy)?;
        add(&self.stats.requests_total, 1);
        let refused = |_: &Refused| add(&self.stats.requests_refused_total, 1);
        let (_, bytes) = self.receive(request).await.inspect_err(refused)?;
        let deadline = Instant::now() + self.request_timeout;
        let payload = Payload { encoding, bytes, records: 0 };
        let scored = self.scored_records(payload, scoring_ends(self.request_timeout)).await?;
        let answer = forward.post(encoding.content_type(), &scored.bytes, deadline, &self.stats).await;
        let answer = answer.inspect_err(|error| {
            add(&self.stats.forward_failures_total, 1);
            tracing::warn!(error = error.text, "a request could not be passed on");
        })?;
        add(&self.stats.events_sent_total, scored.records);
        Ok(self.told(encoding, answer))
    }

    /// The next hop's answer as the sender gets it: it was a success, whatever is said besides.
    fn told(&self, encoding: Encoding, answer: Bytes) -> Bytes {
        let rejected = otlp::rejected(encoding, &answer);
        let answer = rejected.map_or_else(Bytes::new, |_| answer);
        match rejected {
            None => tracing::warn!("what the next hop answered is not OTLP; it took the request all the same"),
            Some(0) => {}
            Some(records) => {
                add(&self.stats.events_rejected_total, records);
                tracing::warn!(records, "the next hop rejected records");
            }
        }
        // An empty message is `{}` in JSON, also from who sends no body.
        if answer.is_empty() && encoding == Encoding::Json { Bytes::from_static(b"{}") } else { answer }
    }

    /// The records of `payload`, part by part, so that others get their turn in between.
    async fn scored_records(&self, payload: Payload, until: Instant) -> Result<Payload, Refused> {
        let refused = |error: OtlpError| {
            add(&self.stats.requests_refused_total, 1);
            Refused::new(error.status(), error.to_string())
        };
        let (parts, mut scored) = payload.parts(self.max_events, self.max_scored_bytes).map_err(refused)?;
        for part in parts {
            match self.lanes.otlp(part, until).await {
                Ok(part) => scored.add(part).map_err(refused)?,
                Err(lost @ (Lost::Ending | Lost::Late)) => {
                    add(&self.stats.requests_turned_away_total, 1);
                    return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, lost.to_string()));
                }
                Err(Lost::Lane) => {
                    add(&self.stats.requests_unscored_total, 1);
                    return Ok(payload);
                }
            }
        }
        scored.end().map_err(refused)
    }
}
