//! Addresses and what listens on them: TCP, unix sockets, sockets that systemd hands over.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::rustls::ServerConfig;

use super::error::ServeError;
use super::files;
use super::places::Places;
use super::tls::TlsListener;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `host:port`.
    Tcp(String),
    /// `unix:PATH`; a socket nobody listens on any more is replaced, anything else that is there stays.
    Unix(PathBuf),
    /// `fd:N`: the Nth socket, from 0, of systemd's socket activation.
    Inherited(usize),
}

impl Address {
    /// Reads the value of the option `key`.
    ///
    /// # Errors
    /// When it is none of the three.
    pub fn parse(key: &'static str, text: &str) -> Result<Self, ServeError> {
        let refused =
            || ServeError::Option { key, expected: "host:port, unix:PATH or fd:N".to_owned(), found: text.to_owned() };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(refused()) } else { Ok(Self::Unix(path.into())) };
        }
        if let Some(index) = text.strip_prefix("fd:") {
            return index.parse().map(Self::Inherited).map_err(|_| refused());
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(Self::Tcp(text.to_owned())),
            _ => Err(refused()),
        }
    }

    /// Whether others than this machine may reach it. What is handed over may be anything.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Unix(_) => false,
            Self::Inherited(_) => true,
            Self::Tcp(text) => {
                let host = text.rsplit_once(':').map_or("", |(host, _)| host);
                !is_loopback(host)
            }
        }
    }
}

/// Whether a host, as it stands in an address (IPv6 in brackets), is this machine for itself.
pub(super) fn is_loopback(host: &str) -> bool {
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

/// What listens.
pub(super) enum Listener {
    Tcp(TcpListener),
    Tls(TlsListener),
    Unix(UnixListener),
}

impl Listener {
    /// Listens on the value of the option `key`.
    pub(super) async fn bind(key: &'static str, text: &str, inherited: &mut ListenFd) -> Result<Self, ServeError> {
        let bound = match Address::parse(key, text)? {
            Address::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Address::Unix(path) => unix(&path).map(Self::Unix),
            Address::Inherited(index) => taken(inherited, index),
        };
        bound.map_err(|source| ServeError::Listen { key, address: text.to_owned(), source })
    }

    /// With TLS, when there is any, and handshakes in places of their own; what systemd hands over may turn out to be a unix socket, which has none.
    pub(super) fn with_tls(
        self,
        key: &'static str,
        tls: Option<Arc<ServerConfig>>,
        handshakes: Places,
    ) -> Result<Self, ServeError> {
        match (self, tls) {
            (listener, None) => Ok(listener),
            (Self::Tcp(listener), Some(tls)) => {
                let address = listener.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
                let started = TlsListener::start(listener, tls, handshakes).map(Self::Tls);
                started.map_err(|source| ServeError::Listen { key, address, source })
            }
            (Self::Tls(_) | Self::Unix(_), Some(_)) => {
                let expected = "a TCP address to listen on".to_owned();
                Err(ServeError::Option { key, expected, found: "a unix socket".to_owned() })
            }
        }
    }

    /// The address, where it has one.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tls(listener) => Some(listener.address()),
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// A socket nobody listens on any more is left over from a process that was killed; one that answers is in use.
fn unix(path: &std::path::Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match std::os::unix::net::UnixStream::connect(path) {
            // A file that is no socket refuses a connection with the same error.
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                files::remove_socket(path)?;
                UnixListener::bind(path)
            }
            _ => Err(error),
        },
        bound => bound,
    }
}

fn taken(inherited: &mut ListenFd, index: usize) -> io::Result<Listener> {
    if let Ok(Some(listener)) = inherited.take_tcp_listener(index) {
        listener.set_nonblocking(true)?;
        return TcpListener::from_std(listener).map(Listener::Tcp);
    }
    match inherited.take_unix_listener(index)? {
        Some(listener) => {
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener).map(Listener::Unix)
        }
        None => Err(io::Error::other(format!("{} sockets were handed over", inherited.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_and_what_is_none_is_refused() {
        let parse = |text: &str| Address::parse("http.listen", text);
        assert_eq!(parse("unix:/run/x").unwrap(), Address::Unix("/run/x".into()));
        assert_eq!(parse("fd:1").unwrap(), Address::Inherited(1));
        assert_eq!(parse("[::1]:80").unwrap(), Address::Tcp("[::1]:80".to_owned()));
        for wrong in ["", "127.0.0.1", ":80", "host:port", "unix:", "fd:x", "host:99999"] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("http.listen: expected host:port, unix:PATH or fd:N"), "{wrong}: {error}");
        }
    }
}
