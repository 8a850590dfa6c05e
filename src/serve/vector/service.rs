//! The service Vector's `vector` sink calls.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use prost::Message as _;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::Grpc;
use tonic::{Code, Status};
use tower_service::Service;

use super::batch::{self, BatchError, Enriched};
use super::forward::Forward;
use super::proto::{HEALTH_CHECK, HealthCheckResponse, PUSH_EVENTS, Raw, ServingStatus};
use crate::serve::http::timed::{Pace, Timed};
use crate::serve::lanes::{Lanes, Lost, scoring_ends};
use crate::serve::options::VectorOptions;
use crate::serve::stats::{Stats, add};
use crate::serve::turn::Turns;

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// The service; a clone is the same service.
#[derive(Clone)]
pub(crate) struct VectorService(Arc<Shared>);

struct Shared {
    lanes: Lanes,
    forward: Forward,
    turns: Turns,
    max_message_bytes: usize,
    max_events: usize,
    max_scored_bytes: usize,
    pace: Pace,
    request_timeout: Duration,
    is_stopping: Arc<AtomicBool>,
    stats: Arc<Stats>,
}

impl VectorService {
    pub(crate) fn new(
        options: &VectorOptions,
        forward: Forward,
        lanes: Lanes,
        is_stopping: Arc<AtomicBool>,
        stats: Arc<Stats>,
    ) -> Self {
        Self(Arc::new(Shared {
            lanes,
            forward,
            turns: Turns::new(options.concurrency, Duration::from_secs(options.receive_timeout_secs), &stats),
            max_message_bytes: options.max_message_bytes,
            max_events: options.max_events,
            max_scored_bytes: options.max_scored_bytes,
            pace: options.pace(),
            request_timeout: Duration::from_secs(options.request_timeout_secs),
            is_stopping,
            stats,
        }))
    }
}

impl Service<Request<Incoming>> for VectorService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let (shared, request) = (Arc::clone(&self.0), request.map(Body::new));
        Box::pin(async move {
            Ok(match request.uri().path() {
                PUSH_EVENTS => shared.push_events(request).await,
                HEALTH_CHECK => Grpc::new(Raw).unary(HealthCheck(shared), request).await,
                other => Status::unimplemented(format!("expected {PUSH_EVENTS} or {HEALTH_CHECK}, found {other}"))
                    .into_http(),
            })
        })
    }
}

impl Shared {
    /// The permit comes before the body is read: whoever waits for one is held by flow control.
    async fn push_events(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let _permit = match self.turns.take().await {
            Ok(permit) => permit,
            Err(busy) => return Status::unavailable(busy.to_string()).into_http(),
        };
        add(&self.stats.requests_total, 1);
        let pace = self.pace;
        let request = request.map(|body| Body::new(Timed::new(body, pace)));
        let limit = self.max_message_bytes;
        let mut grpc = Grpc::new(Raw)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .max_decoding_message_size(limit);
        let mut response = grpc.unary(PushEvents(Arc::clone(&self)), request).await;
        self.refused(&mut response, limit);
        response
    }

    /// What was refused before it came to us is counted, and what is too large gets a code that Vector does not try
    /// again, and the name of the limit.
    fn refused(&self, response: &mut Response<Body>, limit: usize) {
        let headers = response.headers_mut();
        let Some(code) = headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes())) else { return };
        if headers.remove(OURS).is_some() {
            return;
        }
        add(&self.stats.requests_refused_total, 1);
        if matches!(code, Code::OutOfRange | Code::ResourceExhausted) {
            let text =
                format!("expected a request of at most {limit} bytes, as sent and decompressed (max_message_bytes)");
            headers.insert("grpc-status", HeaderValue::from(Code::OutOfRange as i32));
            if let Ok(text) = HeaderValue::try_from(text.replace(' ', "%20")) {
                headers.insert("grpc-message", text);
            }
        }
    }

    /// What may be learned and then refused is the first parts of a request whose scored events are too large.
    async fn enrich(&self, request: &Bytes, until: Instant) -> Result<Enriched, Status> {
        let refused = |error: &BatchError| {
            add(&self.stats.requests_refused_total, 1);
            match error {
                BatchError::TooMany { .. } => Status::out_of_range(error.to_string()),
                _ => Status::invalid_argument(error.to_string()),
            }
        };
        let layout = self.lanes.layout().ok_or_else(|| Status::unavailable(Lost::Ending.to_string()))?;
        let (mut out, mut events) = (BytesMut::new(), 0);
        for part in batch::parts(request, &layout, self.max_events).map_err(|error| refused(&error))? {
            match self.lanes.enrich(part, until).await {
                Ok(Ok(part)) => {
                    out.extend_from_slice(&part.request);
                    events += part.events;
                }
                Ok(Err(error)) => return Err(refused(&error)),
                Err(lost @ (Lost::Ending | Lost::Late)) => {
                    add(&self.stats.requests_turned_away_total, 1);
                    return Err(Status::unavailable(lost.to_string()));
                }
                Err(Lost::Lane) => {
                    add(&self.stats.requests_unscored_total, 1);
                    return Ok(Enriched { request: request.clone(), events: 0 });
                }
            }
            if out.len() > self.max_scored_bytes {
                add(&self.stats.requests_refused_total, 1);
                let limit = self.max_scored_bytes;
                let text = format!(
                    "expected at most {limit} bytes of scored events (max_scored_bytes): send them in several requests"
                );
                return Err(Status::out_of_range(text));
            }
        }
        Ok(Enriched { request: out.freeze(), events })
    }

    async fn push(&self, request: Bytes) -> Result<(), Status> {
        // From here on the sender's patience is spent.
        let deadline = Instant::now() + self.request_timeout;
        let enriched = self.enrich(&request, scoring_ends(self.request_timeout)).await?;
        self.forward.push(enriched.request, deadline, &self.stats).await.inspect_err(|status| {
            add(&self.stats.forward_failures_total, 1);
            tracing::warn!(%status, "a request could not be passed on");
        })?;
        add(&self.stats.events_sent_total, enriched.events);
        Ok(())
    }
}

/// Marks a failure that has been counted; it does not leave the process.
const OURS: &str = "oddline-counted";

struct PushEvents(Arc<Shared>);

impl Service<tonic::Request<Bytes>> for PushEvents {
    type Response = tonic::Response<Bytes>;
    type Error = Status;
    type Future = Answer<tonic::Response<Bytes>, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            // `PushEventsResponse` is empty.
            shared.push(request.into_inner()).await.map(|()| tonic::Response::new(Bytes::new())).map_err(
                |mut status| {
                    status.metadata_mut().insert(OURS, tonic::metadata::MetadataValue::from_static("1"));
                    status
                },
            )
        })
    }
}

struct HealthCheck(Arc<Shared>);

impl Service<tonic::Request<Bytes>> for HealthCheck {
    type Response = tonic::Response<Bytes>;
    type Error = Status;
    type Future = std::future::Ready<Result<tonic::Response<Bytes>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: tonic::Request<Bytes>) -> Self::Future {
        let is_stopping = self.0.is_stopping.load(Ordering::Acquire);
        let status = if is_stopping { ServingStatus::NotServing } else { ServingStatus::Serving };
        let answer = HealthCheckResponse { status: status.into() }.encode_to_vec();
        std::future::ready(Ok(tonic::Response::new(answer.into())))
    }
}
