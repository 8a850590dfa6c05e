//! Pushing requests on to the next hop.

use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::proto::{PUSH_EVENTS, Raw};
use crate::serve::backoff::Backoff;
use crate::serve::error::ServeError;
use crate::serve::options::{Compression, VectorOptions};
use crate::serve::stats::{Stats, add};
use crate::serve::tls::{self, Secured};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that answers no ping for this long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The next hop. Connects when there is something to send, and again whenever the connection was lost.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    client: Grpc<Channel>,
    uri: String,
}

impl Forward {
    /// Reads the options; connects to nothing.
    pub(crate) fn new(options: &VectorOptions) -> Result<Self, ServeError> {
        let uri = options.forward.clone();
        let refused = || ServeError::Option {
            key: "vector.forward",
            expected: "http://host:port or https://host:port".to_owned(),
            found: uri.clone(),
        };
        let address: Uri = uri.parse().map_err(|_| refused())?;
        if !matches!(address.scheme_str(), Some("http" | "https")) || address.authority().is_none() {
            return Err(refused());
        }
        let tls = tls::client("vector.forward_tls", &address, options.forward_tls.as_ref(), tls::GRPC)?;
        let plain = tls::with_scheme(&address, Scheme::HTTP);
        let endpoint = Endpoint::from(plain)
            .origin(address)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let channel = match tls {
            Some(tls) => endpoint.connect_with_connector_lazy(Secured(tls.connector())),
            None => endpoint.connect_lazy(),
        };
        let client = match options.compression {
            Compression::None => Grpc::new(channel),
            Compression::Gzip => Grpc::new(channel).send_compressed(CompressionEncoding::Gzip),
            Compression::Zstd => Grpc::new(channel).send_compressed(CompressionEncoding::Zstd),
        };
        Ok(Self { client, uri })
    }

    async fn attempt(&self, request: Bytes) -> Result<(), Status> {
        let mut client = self.client.clone();
        client.ready().await.map_err(|error| Status::unavailable(cause(&error)))?;
        let path = PathAndQuery::from_static(PUSH_EVENTS);
        client.unary(Request::new(request), path, Raw).await.map(|_: tonic::Response<Bytes>| ())
    }

    /// Returns when the next hop has the request; tries again what may succeed, until `deadline`.
    ///
    /// # Errors
    /// What the next hop said when it refuses for good; else `UNAVAILABLE`, which tells the sender to come again.
    pub(crate) async fn push(&self, request: Bytes, deadline: Instant, stats: &Stats) -> Result<(), Status> {
        let mut last = None;
        for pause in Backoff::default() {
            match timeout_at(deadline, self.attempt(request.clone())).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(status)) if is_final(status.code()) => return Err(self.named(status.code(), status.message())),
                Ok(Err(status)) => last = Some(status),
                Err(_) => break,
            }
            if Instant::now() + pause >= deadline {
                break;
            }
            add(&stats.forward_retries_total, 1);
            sleep(pause).await;
        }
        let why = last.map_or_else(|| "no answer in time".to_owned(), |status| status.message().to_owned());
        Err(self.named(Code::Unavailable, &why))
    }

    fn named(&self, code: Code, message: &str) -> Status {
        Status::new(code, format!("next hop {}: {message}", self.uri))
    }
}

/// What no other attempt will change; the list Vector's own sink has.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::NotFound
            | Code::InvalidArgument
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Unauthenticated
            | Code::DataLoss
    )
}

/// The innermost cause: the outer ones say "transport error".
fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
