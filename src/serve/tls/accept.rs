//! Taking connections with TLS. Handshakes are shaken beside each other, within a time and in places of their own ([`Places::of_handshakes`]), so
//! that those who do not finish keep nobody else out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use crate::serve::places::{Peer as _, Place, Places};

/// Connections that wait to be served.
const WAITING: usize = 16;
/// Pause when no connection can be taken, as without file descriptors.
const PAUSE: Duration = Duration::from_secs(1);

type Taken = (TlsStream<TcpStream>, SocketAddr);

/// Connections whose handshake is over.
pub(crate) struct TlsListener {
    taken: mpsc::Receiver<Taken>,
    address: SocketAddr,
    _accepting: Accepting,
}

/// The task that accepts; it ends with whoever holds this.
struct Accepting(JoinHandle<()>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl TlsListener {
    /// Takes connections of `listener` until it is dropped.
    pub(crate) fn start(listener: TcpListener, config: Arc<ServerConfig>, handshakes: Places) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (done, taken) = mpsc::channel(WAITING);
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(config), handshakes, done));
        Ok(Self { taken, address, _accepting: Accepting(accepting) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.taken.recv().await {
            Some(taken) => taken,
            // Nobody accepts any more: the runtime is ending.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, handshakes: Places, done: mpsc::Sender<Taken>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Who has as many under way as may be is closed at once.
        let Some(place) = handshakes.take(peer.peer()).await else { continue };
        tokio::spawn(take(acceptor.clone(), stream, peer, place, done.clone()));
    }
}

async fn take(acceptor: TlsAcceptor, stream: TcpStream, peer: SocketAddr, place: Place, done: mpsc::Sender<Taken>) {
    let shaken = tokio::select! {
        shaken = shake(acceptor, stream) => shaken,
        () = place.pulse.ended() => return tracing::debug!(%peer, "a handshake was not finished"),
    };
    // It is over, and its place not to be had for another one's sake any more.
    let _over = place.pulse.begin();
    match shaken {
        // An error: the listener is gone, and with it the connection.
        Ok(stream) => drop(done.send((stream, peer)).await),
        Err(error) => tracing::debug!(%peer, %error, "a handshake failed"),
    }
}

async fn shake(acceptor: TlsAcceptor, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    acceptor.accept(stream).await
}
