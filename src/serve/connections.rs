//! Connections of a listener: how many, for how long, and how they end.
//!
//! At most [`MOST`] are open at a time; others wait in the system's queue. One that has not sent the head of a request (HTTP/1, also between
//! two requests) or the preface of HTTP/2 within a time is closed. At a stop nothing is accepted any more, those without a request are
//! closed and the others once their requests are answered. Peers of HTTP/2 that answer no ping are gone.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower_service::Service;

/// Connections of a listener that are open at a time.
const MOST: usize = 256;
/// Streams of one connection at a time; what waits beyond the permits costs a window each.
const MAX_STREAMS: u32 = 128;
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// A peer that answers no ping for this long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Bytes that HTTP/2 begins with; its own pings and HTTP/1's own timer begin no later than behind so many.
const PREFACE_BYTES: usize = 24;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1 and HTTP/2.
    Http,
    /// HTTP/2 alone.
    Grpc,
}

impl Protocol {
    fn builder(self, timeout: Duration) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(timeout);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        match self {
            Self::Http => builder,
            Self::Grpc => builder.http2_only(),
        }
    }
}

/// How connections are served.
#[derive(Clone)]
pub(super) struct Connections {
    builder: Builder<TokioExecutor>,
    timeout: Duration,
}

impl Connections {
    /// `timeout` is for the first byte and each head of a request.
    pub(super) fn new(protocol: Protocol, timeout: Duration) -> Self {
        Self { builder: protocol.builder(timeout), timeout }
    }

    /// Takes connections until `stopped`, then waits for those that are open. They end with the future.
    pub(super) async fn serve<L, S, B>(self, mut listener: L, service: S, stopped: impl Future<Output = ()>)
    where
        L: Listener,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (stop, permits, mut open) = (watch::Sender::new(false), Arc::new(Semaphore::new(MOST)), JoinSet::new());
        let mut stopped = pin!(stopped);
        loop {
            let accepted = async {
                let permit = Arc::clone(&permits).acquire_owned().await;
                (permit, listener.accept().await.0)
            };
            let (permit, io) = tokio::select! {
                // The semaphore is never closed.
                (Ok(permit), io) = accepted => (permit, io),
                () = &mut stopped => break,
            };
            while open.try_join_next().is_some() {}
            open.spawn(self.clone().connection(io, service.clone(), stop.subscribe(), permit));
        }
        drop(listener);
        stop.send_replace(true);
        while open.join_next().await.is_some() {}
    }

    async fn connection<I, S, B>(
        self,
        io: I,
        service: S,
        mut stop: watch::Receiver<bool>,
        _permit: OwnedSemaphorePermit,
    ) where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let spoken = Arc::new(Spoken::default());
        let seen = Arc::clone(&spoken);
        let service = service_fn(move |request| {
            seen.has_request.store(true, Ordering::Relaxed);
            service.clone().call(request)
        });
        let io = TokioIo::new(Counted { io, spoken: Arc::clone(&spoken) });
        let mut served = pin!(self.builder.serve_connection(io, service));
        // What a connection ends with is its peer's affair.
        tokio::select! {
            _ = served.as_mut() => return,
            () = silent(&spoken, self.timeout) => return,
            _ = stop.wait_for(|stop| *stop) => {}
        }
        if spoken.has_request.load(Ordering::Relaxed) {
            served.as_mut().graceful_shutdown();
            let _ended = served.await;
        }
    }
}

/// Returns after `timeout` when nothing worth waiting for has come by then.
async fn silent(spoken: &Spoken, timeout: Duration) {
    sleep(timeout).await;
    if spoken.bytes.load(Ordering::Relaxed) >= PREFACE_BYTES || spoken.has_request.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

/// What has come on a connection.
#[derive(Debug, Default)]
struct Spoken {
    bytes: AtomicUsize,
    has_request: AtomicBool,
}

/// Counts what is read.
struct Counted<I> {
    io: I,
    spoken: Arc<Spoken>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Counted<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        self.spoken.bytes.fetch_add(buf.filled().len() - before, Ordering::Relaxed);
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Counted<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
