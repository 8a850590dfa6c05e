//! Connections of a listener: how many, for how long, and how they end.
//!
//! At most `max_connections` are open at a time ([`places`](super::places)), each for as long as something is under way on it
//! ([`pulse`](super::pulse)). At a stop nothing is accepted any more, those without a request are closed and the others once their requests are
//! answered. Peers of HTTP/2 that answer no ping are gone.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service;

use super::places::{Peer, Place, Places};
use super::pulse::{Pulse, UnderWay};

/// Streams of one connection at a time; what waits beyond the permits costs a window each.
const MAX_STREAMS: u32 = 128;
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// A peer that answers no ping for this long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long a peer of HTTP/2 has to take note of the end of an idle connection.
const FAREWELL: Duration = Duration::from_secs(1);

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1 and HTTP/2.
    Http,
    /// HTTP/2 alone.
    Grpc,
}

impl Protocol {
    fn builder(self) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        // One limit would be for a head and for the time between two requests.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
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
    places: Places,
}

impl Connections {
    pub(super) fn new(protocol: Protocol, places: Places) -> Self {
        Self { builder: protocol.builder(), places }
    }

    /// Takes connections until `stopped`, then waits for those that are open. They end with the future.
    pub(super) async fn serve<L, S, B>(self, mut listener: L, service: S, stopped: impl Future<Output = ()>)
    where
        L: Listener,
        L::Addr: Peer,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body + Unpin + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (stop, mut open) = (watch::Sender::new(false), JoinSet::new());
        let mut stopped = pin!(stopped);
        loop {
            let accepted = async {
                let (io, address) = listener.accept().await;
                (io, self.places.take(address.peer()).await)
            };
            let (io, place) = tokio::select! {
                accepted = accepted => accepted,
                () = &mut stopped => break,
            };
            while open.try_join_next().is_some() {}
            // Who has as many as may be is closed at once.
            let Some(place) = place else { continue };
            open.spawn(connection(self.builder.clone(), io, service.clone(), stop.subscribe(), place));
        }
        drop(listener);
        stop.send_replace(true);
        while open.join_next().await.is_some() {}
    }
}

async fn connection<I, S, B>(
    builder: Builder<TokioExecutor>,
    io: I,
    service: S,
    mut stop: watch::Receiver<bool>,
    place: Place,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let pulse = Arc::clone(&place.pulse);
    let service = service_fn(move |request| {
        let under_way = pulse.begin();
        let answer = service.clone().call(request);
        async move {
            let answer = answer.await?;
            under_way.answered();
            Ok::<_, Infallible>(answer.map(|body| Watched { body, _under_way: under_way }))
        }
    });
    let io = TokioIo::new(Counted { io, pulse: Arc::clone(&place.pulse) });
    let mut served = pin!(builder.serve_connection(io, service));
    // What a connection ends with is its peer's affair.
    tokio::select! {
        _ = served.as_mut() => {}
        () = place.pulse.ended() => {
            if place.pulse.idle_since().is_some() && place.pulse.has_request() {
                served.as_mut().graceful_shutdown();
                // A request that came before its peer knew is finished.
                while timeout(FAREWELL, served.as_mut()).await.is_err() && place.pulse.idle_since().is_none() {}
            }
        }
        () = stopped(&mut stop) => {
            if place.pulse.has_request() {
                served.as_mut().graceful_shutdown();
                let _ended = served.await;
            }
        }
    }
}

/// An error: the listener is gone, which is as good as a stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// An answer; its request is under way until all of it was taken.
struct Watched<B> {
    body: B,
    _under_way: UnderWay,
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Tells what is read.
struct Counted<I> {
    io: I,
    pulse: Arc<Pulse>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Counted<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        self.pulse.read(buf.filled().get(before..).unwrap_or_default());
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
