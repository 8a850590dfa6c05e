//! A `vector` source to push to, a client that pushes, and sidecars between them, over loopback sockets.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod otlp;
pub(crate) mod proto;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use oddline::config::Config;
use oddline::engine::Environment;
use oddline::serve::options::{HttpOptions, VectorOptions};
use oddline::serve::vector::proto::Raw;
use oddline::serve::{Ended, Options, ServeError, Server};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, ServerTlsConfig};
use tonic::{Code, Status};
use tower_service::Service;

use self::proto::{EventWrapper, PushEventsRequest};

pub(crate) fn tls_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/serve_support/tls").join(name)
}

/// What the next hop does with a request, decided by its number (from 0).
pub(crate) type Behaviour = Arc<dyn Fn(usize) -> Reaction + Send + Sync>;

#[derive(Clone)]
pub(crate) enum Reaction {
    Take,
    /// Takes it and keeps nothing of it, as for a measurement.
    Drop,
    Refuse(Code),
    /// Takes it after this long.
    Slow(Duration),
    /// Takes it once somebody says so.
    Wait(Arc<Notify>),
}

/// What the next hop got.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) requests: Mutex<Vec<PushEventsRequest>>,
    pub(crate) attempts: AtomicUsize,
    pub(crate) under_way: AtomicUsize,
    pub(crate) most_under_way: AtomicUsize,
    pub(crate) bytes: AtomicU64,
}

impl Taken {
    pub(crate) fn events(&self) -> Vec<EventWrapper> {
        self.requests.lock().unwrap().iter().flat_map(|request| request.events.clone()).collect()
    }
}

/// A `vector` source.
pub(crate) struct NextHop {
    pub(crate) address: SocketAddr,
    pub(crate) taken: Arc<Taken>,
    task: JoinHandle<()>,
}

impl Drop for NextHop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl NextHop {
    pub(crate) async fn start() -> Self {
        Self::behaving(Arc::new(|_| Reaction::Take)).await
    }

    pub(crate) async fn taking() -> Self {
        Self::behaving(Arc::new(|_| Reaction::Drop)).await
    }

    pub(crate) async fn behaving(behaviour: Behaviour) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), behaviour, None)
    }

    pub(crate) fn on(listener: TcpListener, behaviour: Behaviour, tls: Option<ServerTlsConfig>) -> Self {
        let address = listener.local_addr().unwrap();
        let taken = Arc::new(Taken::default());
        let service = Source { taken: Arc::clone(&taken), behaviour };
        let mut server = tonic::transport::Server::builder();
        if let Some(tls) = tls {
            server = server.tls_config(tls).unwrap();
        }
        // As Vector's source: without it an answer waits for the sender's delayed acknowledgement.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving = server.serve_with_incoming_shutdown(service, incoming, std::future::pending());
        Self { address, taken, task: tokio::spawn(async move { serving.await.unwrap() }) }
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.address)
    }
}

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

#[derive(Clone)]
struct Source {
    taken: Arc<Taken>,
    behaviour: Behaviour,
}

impl Service<http::Request<Body>> for Source {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert_eq!(request.uri().path(), "/vector.Vector/PushEvents");
        let mut grpc = Grpc2::new(Raw)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .max_decoding_message_size(usize::MAX);
        let push = Push(self.clone());
        Box::pin(async move { Ok(grpc.unary(push, request).await) })
    }
}

use tonic::server::Grpc as Grpc2;

struct Push(Source);

impl Service<tonic::Request<Bytes>> for Push {
    type Response = tonic::Response<Bytes>;
    type Error = Status;
    type Future = Answer<tonic::Response<Bytes>, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let Source { taken, behaviour } = self.0.clone();
        Box::pin(async move {
            let bytes = request.into_inner();
            let number = taken.attempts.fetch_add(1, Ordering::SeqCst);
            let now = taken.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            taken.most_under_way.fetch_max(now, Ordering::SeqCst);
            let under_way = UnderWay(&taken.under_way);
            match behaviour(number) {
                Reaction::Take => {}
                Reaction::Drop => return Ok(tonic::Response::new(Bytes::new())),
                Reaction::Refuse(code) => return Err(Status::new(code, "as the test says")),
                Reaction::Slow(time) => tokio::time::sleep(time).await,
                Reaction::Wait(until) => until.notified().await,
            }
            drop(under_way);
            taken.bytes.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            let request = PushEventsRequest::decode(bytes).map_err(|error| Status::internal(error.to_string()))?;
            taken.requests.lock().unwrap().push(request);
            Ok(tonic::Response::new(Bytes::new()))
        })
    }
}

struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What pushes, as Vector's sink does.
#[derive(Clone)]
pub(crate) struct Client(pub(crate) Grpc<Channel>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Self(Grpc::new(endpoint.connect().await.unwrap()))
    }

    pub(crate) async fn call(&self, path: &'static str, bytes: Bytes) -> Result<Bytes, Status> {
        let mut grpc = self.0.clone();
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let request = tonic::Request::new(bytes);
        grpc.unary(request, PathAndQuery::from_static(path), Raw).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn raw(&self, bytes: impl Into<Bytes>) -> Result<(), Status> {
        self.call("/vector.Vector/PushEvents", bytes.into()).await.map(drop)
    }

    pub(crate) async fn push(&self, events: Vec<EventWrapper>) -> Result<(), Status> {
        self.raw(PushEventsRequest { events }.encode_to_vec()).await
    }
}

/// A sidecar of a test.
pub(crate) struct Sidecar {
    pub(crate) vector: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Ended, ServeError>>,
}

impl Sidecar {
    pub(crate) async fn start(config: Config, options: Options) -> Self {
        Self::on(config, options, Environment::system()).await
    }

    pub(crate) async fn on(config: Config, options: Options, environment: Environment) -> Self {
        let server = Server::bind(config, &options, environment).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        Self {
            vector: server.vector_address(),
            http: server.http_address(),
            stop,
            task: tokio::spawn(server.run(async {
                let _ = stopped.await;
            })),
        }
    }

    /// Why a sidecar with these options does not start.
    pub(crate) async fn refused(config: Config, options: Options) -> String {
        Server::bind(config, &options, Environment::system()).await.unwrap_err().to_string()
    }

    /// gRPC alone, in memory.
    pub(crate) async fn vector(forward: String) -> Self {
        Self::start(Config::default(), vector_options(forward)).await
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.vector.unwrap()).await
    }

    /// Asks for the end; the sidecar goes on until it is over.
    pub(crate) fn stop(self) -> JoinHandle<Result<Ended, ServeError>> {
        self.stop.send(()).unwrap();
        self.task
    }

    pub(crate) async fn end(self) -> Ended {
        self.stop().await.unwrap().unwrap()
    }
}

pub(crate) fn vector_options(forward: String) -> Options {
    let vector = VectorOptions { listen: "127.0.0.1:0".to_owned(), forward, ..VectorOptions::default() };
    Options { vector: Some(vector), http: None, ..Options::default() }
}

pub(crate) fn http_options() -> HttpOptions {
    HttpOptions { listen: "127.0.0.1:0".to_owned(), ..HttpOptions::default() }
}
