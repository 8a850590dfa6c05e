//! Taking connections with TLS. Handshakes are shaken beside each other and within a time, so that one who does not
//! finish keeps nobody else out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

/// Handshakes under way at a time.
const HANDSHAKES: usize = 256;
/// Connections that wait to be served.
const WAITING: usize = 16;
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
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
    pub(crate) fn start(listener: TcpListener, config: Arc<ServerConfig>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (done, taken) = mpsc::channel(WAITING);
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(config), done));
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

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, done: mpsc::Sender<Taken>) {
    let permits = Arc::new(Semaphore::new(HANDSHAKES));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (acceptor, done) = (acceptor.clone(), done.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, shake(acceptor, stream)).await {
                // An error: the listener is gone, and with it the connection.
                Ok(Ok(stream)) => drop(done.send((stream, peer)).await),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a handshake failed"),
                Err(_) => tracing::debug!(%peer, "a handshake was not finished"),
            }
            drop(permit);
        });
    }
}

async fn shake(acceptor: TlsAcceptor, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    acceptor.accept(stream).await
}
