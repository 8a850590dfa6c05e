//! Start and stop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::http::{Request, Response};
use axum::serve::ListenerExt as _;
use hyper::body::Incoming;
use listenfd::ListenFd;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tower_service::Service;

use super::connections::{Connections, Protocol};
use super::error::ServeError;
use super::http::body::Body;
use super::http::forward::HttpForward;
use super::http::{self};
use super::lanes::{self, Lanes, Own, Threads};
use super::listen::Listener;
use super::options::{HttpOptions, Options, VectorOptions};
use super::otlp::Payload;
use super::places::Places;
use super::stats::Stats;
use super::vector::batch::Enriched;
use super::vector::forward::Forward;
use super::vector::service::VectorService;
use super::{files, tls};
use crate::config::Config;
use crate::engine::Environment;

/// Reports of silence that wait for the next hop.
const OWN_QUEUE: usize = 16;
/// How long the last ones may take once everything is saved.
const LAST_REPORTS: Duration = Duration::from_secs(2);
/// How long a report of silence is tried.
const OWN_TIMEOUT: Duration = Duration::from_secs(50);

type Listening = Pin<Box<dyn Future<Output = Result<(), ServeError>> + Send>>;

/// A sidecar that listens; it takes requests once it runs.
pub struct Server {
    lanes: Lanes,
    threads: Threads,
    listening: Vec<Listening>,
    own: Own,
    own_tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    is_stopping: Arc<AtomicBool>,
    drain: Duration,
    shutdown: Duration,
    vector_address: Option<SocketAddr>,
    http_address: Option<SocketAddr>,
}

/// How a sidecar ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whether every request under way was finished; else `shutdown_secs` were over.
    pub drained: bool,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("vector_address", &self.vector_address)
            .field("http_address", &self.http_address)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Checks the options, opens the engine and listens. Sockets of systemd are taken from the environment.
    ///
    /// # Errors
    /// Whatever of that fails; nothing listens then.
    pub async fn bind(config: Config, options: &Options, environment: Environment) -> Result<Self, ServeError> {
        options.validate()?;
        let stats = Arc::new(Stats::default());
        let mut inherited = ListenFd::from_env();
        let vector = match &options.vector {
            Some(vector) => Some(BoundVector::bind(vector, &mut inherited, &stats).await?),
            None => None,
        };
        let http = match &options.http {
            Some(http) => Some(BoundHttp::bind(http, &mut inherited, &stats).await?),
            None => None,
        };
        let count = options.lanes;
        // Opening replays what a crash left, which may take a while.
        let opened = tokio::task::spawn_blocking(move || lanes::start(config, environment, count)).await;
        let (lanes, threads) =
            opened.map_err(|error| ServeError::Ended { what: "opening", message: error.to_string() })??;
        let mut server = Self {
            lanes,
            threads,
            listening: Vec::new(),
            own: Own::default(),
            own_tasks: Vec::new(),
            stop: watch::Sender::new(false),
            is_stopping: Arc::default(),
            drain: Duration::from_secs(options.drain_secs),
            shutdown: options.shutdown(),
            vector_address: vector.as_ref().and_then(|bound| bound.listener.address()),
            http_address: http.as_ref().and_then(|bound| bound.listener.address()),
        };
        if let Some(bound) = vector {
            server.add_vector(bound, &stats);
        }
        if let Some(bound) = http {
            server.add_http(bound, &stats);
        }
        Ok(server)
    }

    /// Where gRPC is listened for; nothing for none or a unix socket.
    pub fn vector_address(&self) -> Option<SocketAddr> {
        self.vector_address
    }

    /// Where HTTP is listened for; nothing for none or a unix socket.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            // An error: the server is gone, which is as good as a stop.
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }

    fn add_vector(&mut self, bound: BoundVector<'_>, stats: &Arc<Stats>) {
        let BoundVector { listener, options, forward } = bound;
        let (own, reports) = mpsc::channel(OWN_QUEUE);
        self.own.vector = Some(own);
        self.own_tasks.push(tokio::spawn(push_own(reports, forward.clone(), Arc::clone(stats))));
        let (lanes, is_stopping) = (self.lanes.clone(), Arc::clone(&self.is_stopping));
        let service = VectorService::new(options, forward, lanes, is_stopping, Arc::clone(stats));
        let connections = Connections::new(Protocol::Grpc, options.places(stats));
        self.listening.push(Box::pin(listen(listener, connections, service, self.stopped())));
    }

    fn add_http(&mut self, bound: BoundHttp<'_>, stats: &Arc<Stats>) {
        let BoundHttp { listener, options, token, forward, otlp } = bound;
        if let Some(forward) = forward.clone() {
            let (own, reports) = mpsc::channel(OWN_QUEUE);
            self.own.http = Some(own);
            self.own_tasks.push(tokio::spawn(post_own(reports, forward, Arc::clone(stats))));
        }
        if let Some(forward) = otlp.clone() {
            let (own, reports) = mpsc::channel(OWN_QUEUE);
            self.own.otlp = Some(own);
            self.own_tasks.push(tokio::spawn(export_own(reports, forward, Arc::clone(stats))));
        }
        let (lanes, is_stopping) = (self.lanes.clone(), Arc::clone(&self.is_stopping));
        let shared =
            http::Shared::new(options, token, http::Hops { forward, otlp }, lanes, is_stopping, Arc::clone(stats));
        let connections = Connections::new(Protocol::Http, options.places(stats));
        self.listening.push(Box::pin(listen(listener, connections, http::router(shared), self.stopped())));
    }

    /// Takes requests until `stop` is done or a listener fails, and for `drain_secs` more, in which it says that it is not ready; finishes those
    /// under way, saves.
    ///
    /// # Errors
    /// When a listener failed or what was learned could not be saved.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Ended, ServeError> {
        let mut listeners: JoinSet<_> = self.listening.into_iter().collect();
        let ticking = tokio::spawn(self.lanes.clone().tick(self.own.clone()));
        let failed = tokio::select! {
            () = stop => None,
            ended = listeners.join_next() => ended,
        };
        self.is_stopping.store(true, Ordering::Release);
        let failed = match failed {
            None if !self.drain.is_zero() => timeout(self.drain, listeners.join_next()).await.unwrap_or(None),
            failed => failed,
        };
        self.stop.send_replace(true);
        let drained = timeout(self.shutdown, drain(&mut listeners)).await;
        listeners.abort_all();
        ticking.abort();
        let saved = self.lanes.close(self.threads, self.own).await;
        finish(self.own_tasks).await;
        if let Some(failed) = failed {
            flat(failed)?;
        }
        saved?;
        match drained {
            Ok(result) => result.map(|()| Ended { drained: true }),
            Err(_) => Ok(Ended { drained: false }),
        }
    }
}

/// The last reports of silence get a short time to go out; their queues are closed by now.
async fn finish(own_tasks: Vec<JoinHandle<()>>) {
    let deadline = Instant::now() + LAST_REPORTS;
    for mut task in own_tasks {
        if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
            task.abort();
        }
    }
}

fn flat(joined: Result<Result<(), ServeError>, tokio::task::JoinError>) -> Result<(), ServeError> {
    joined.unwrap_or_else(|error| Err(ServeError::Ended { what: "a listener", message: error.to_string() }))
}

async fn drain(listeners: &mut JoinSet<Result<(), ServeError>>) -> Result<(), ServeError> {
    let mut result = Ok(());
    while let Some(joined) = listeners.join_next().await {
        result = result.and(flat(joined));
    }
    result
}

struct BoundVector<'o> {
    listener: Listener,
    options: &'o VectorOptions,
    forward: Forward,
}

impl<'o> BoundVector<'o> {
    async fn bind(
        options: &'o VectorOptions,
        inherited: &mut ListenFd,
        stats: &Arc<Stats>,
    ) -> Result<Self, ServeError> {
        let forward = Forward::new(options)?;
        let tls = tls::server("vector.tls", options.tls.as_ref(), tls::GRPC)?;
        let handshakes = Places::of_handshakes(options.max_connections_per_peer, stats);
        let listener = Listener::bind("vector.listen", &options.listen, inherited).await?;
        let listener = listener.with_tls("vector.tls", tls, handshakes)?;
        Ok(Self { listener, options, forward })
    }
}

struct BoundHttp<'o> {
    listener: Listener,
    options: &'o HttpOptions,
    token: Option<String>,
    forward: Option<HttpForward>,
    otlp: Option<HttpForward>,
}

impl<'o> BoundHttp<'o> {
    async fn bind(options: &'o HttpOptions, inherited: &mut ListenFd, stats: &Arc<Stats>) -> Result<Self, ServeError> {
        let hop = |key, uri| HttpForward::new(key, uri, options.compression, options.forward_tls.as_ref());
        let token = files::token(options)?;
        let forward = options.forward.as_deref().map(|uri| hop("http.forward", uri)).transpose()?;
        let otlp = options.otlp_forward.as_deref().map(|uri| hop("http.otlp_forward", uri)).transpose()?;
        let tls = tls::server("http.tls", options.tls.as_ref(), tls::HTTP)?;
        let handshakes = Places::of_handshakes(options.max_connections_per_peer, stats);
        let listener = Listener::bind("http.listen", &options.listen, inherited).await?;
        let listener = listener.with_tls("http.tls", tls, handshakes)?;
        Ok(Self { listener, options, token, forward, otlp })
    }
}

/// Answers are small and wait for nobody.
fn no_delay(stream: &mut tokio::net::TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection may delay what is sent");
    }
}

async fn listen<S, B>(
    listener: Listener,
    connections: Connections,
    service: S,
    stopped: impl Future<Output = ()> + Send,
) -> Result<(), ServeError>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match listener {
        Listener::Tls(listener) => connections.serve(listener, service, stopped).await,
        Listener::Tcp(listener) => connections.serve(listener.tap_io(no_delay), service, stopped).await,
        Listener::Unix(listener) => connections.serve(listener, service, stopped).await,
    }
    Ok(())
}

/// Reports of silence have no sender that would send them again: they are tried for a while.
async fn push_own(mut reports: mpsc::Receiver<Enriched>, forward: Forward, stats: Arc<Stats>) {
    while let Some(report) = reports.recv().await {
        if let Err(error) = forward.push(report.request, Instant::now() + OWN_TIMEOUT, &stats).await {
            tracing::warn!(%error, events = report.events, "reports of silence were dropped");
        }
    }
}

async fn post_own(mut reports: mpsc::Receiver<Body>, forward: HttpForward, stats: Arc<Stats>) {
    while let Some(report) = reports.recv().await {
        let deadline = Instant::now() + OWN_TIMEOUT;
        if let Err(error) = forward.post(report.content_type(), &report.bytes, deadline, &stats).await {
            tracing::warn!(error = error.text, events = report.events, "reports of silence were dropped");
        }
    }
}

async fn export_own(mut reports: mpsc::Receiver<Payload>, forward: HttpForward, stats: Arc<Stats>) {
    while let Some(report) = reports.recv().await {
        let deadline = Instant::now() + OWN_TIMEOUT;
        if let Err(error) = forward.post(report.encoding.content_type(), &report.bytes, deadline, &stats).await {
            tracing::warn!(error = error.text, events = report.records, "reports of silence were dropped");
        }
    }
}
