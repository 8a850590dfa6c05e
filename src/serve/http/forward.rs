//! Posting scored events to the next hop.

use std::io::{self, Write as _};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, sleep, timeout_at};

use super::receive::Refused;
use crate::serve::backoff::Backoff;
use crate::serve::error::ServeError;
use crate::serve::options::{Compression, Tls};
use crate::serve::stats::{Stats, add};
use crate::serve::tls::{self, Secure};

/// Bytes of an answer that are looked at.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// The next hop.
#[derive(Clone, Debug)]
pub(crate) struct HttpForward {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    compression: Compression,
}

impl HttpForward {
    /// Reads the address; connects to nothing.
    pub(crate) fn new(
        key: &'static str,
        uri: &str,
        compression: Compression,
        tls: Option<&Tls>,
    ) -> Result<Self, ServeError> {
        let is_address = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
        let parsed = uri.parse::<Uri>().ok().filter(is_address);
        let uri = parsed.ok_or_else(|| ServeError::Option {
            key,
            expected: "http://host:port/path or https://host:port/path".to_owned(),
            found: uri.to_owned(),
        })?;
        const KEY: &str = "http.forward_tls";
        let secure = tls::client(KEY, &uri, tls, tls::HTTP_FORWARD)?.map_or_else(|| Secure::none(KEY), Ok)?;
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(secure.connector()), uri, compression })
    }

    /// As it goes on. It takes its time: not on a thread that waits for sockets.
    async fn packed(&self, bytes: &Bytes) -> Result<Packed, String> {
        let (compression, plain) = (self.compression, bytes.clone());
        if compression == Compression::None {
            return Ok(Packed { encoding: None, bytes: plain });
        }
        let packing = tokio::task::spawn_blocking(move || packed(compression, &plain));
        packing.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    async fn attempt(&self, content_type: &'static str, body: &Packed) -> Result<Answer, String> {
        let mut request = Request::post(self.uri.clone()).header(header::CONTENT_TYPE, content_type);
        if let Some(encoding) = body.encoding {
            request = request.header(header::CONTENT_ENCODING, encoding);
        }
        let request = request.body(Full::new(body.bytes.clone())).map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let retry_after_secs = retry_after(answer.headers());
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        // What was said with a status that counts is worth less than the status.
        Ok(Answer { status, retry_after_secs, body: body.map_or_else(|_| Bytes::new(), Collected::to_bytes) })
    }

    /// Returns when the next hop has the events, with what it said; tries again what may succeed, no sooner than the next hop asks for, until
    /// `deadline`.
    ///
    /// # Errors
    /// The next hop's own status when it refuses for good; else 503, which tells the sender to come again, and when the next hop wants it.
    pub(crate) async fn post(
        &self,
        content_type: &'static str,
        bytes: &Bytes,
        deadline: Instant,
        stats: &Stats,
    ) -> Result<Bytes, Refused> {
        let packed = self.packed(bytes).await;
        let packed = packed.map_err(|error| self.refused(StatusCode::SERVICE_UNAVAILABLE, &error))?;
        let mut last = "no answer in time".to_owned();
        let mut retry_after_secs = None;
        for pause in Backoff::default() {
            retry_after_secs = None;
            match timeout_at(deadline, self.attempt(content_type, &packed)).await {
                Ok(Ok(answer)) if answer.status.is_success() => return Ok(answer.body),
                Ok(Ok(Answer { status, .. })) if is_final(status) => {
                    return Err(self.refused(status, &status.to_string()));
                }
                Ok(Ok(answer)) => (last, retry_after_secs) = (answer.status.to_string(), answer.retry_after_secs),
                Ok(Err(error)) => last = error,
                Err(_) => break,
            }
            let pause = pause.max(Duration::from_secs(retry_after_secs.unwrap_or(0)));
            if Instant::now() + pause >= deadline {
                break;
            }
            add(&stats.forward_retries_total, 1);
            sleep(pause).await;
        }
        Err(Refused { retry_after_secs, ..self.refused(StatusCode::SERVICE_UNAVAILABLE, &last) })
    }

    fn refused(&self, status: StatusCode, why: &str) -> Refused {
        Refused::new(status, format!("next hop {}: {why}", self.uri))
    }
}

/// A body as it goes on.
struct Packed {
    encoding: Option<&'static str>,
    bytes: Bytes,
}

/// At the fastest level: logs pack well at any, and whoever sent them waits.
fn packed(compression: Compression, plain: &Bytes) -> io::Result<Packed> {
    let (encoding, bytes) = match compression {
        Compression::None => (None, plain.clone()),
        Compression::Gzip => {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(plain)?;
            (Some("gzip"), packer.finish()?.into())
        }
        Compression::Zstd => (Some("zstd"), zstd::encode_all(&**plain, 1)?.into()),
    };
    Ok(Packed { encoding, bytes })
}

/// The longest that is waited for because a next hop says so.
const MAX_RETRY_AFTER_SECS: u64 = 3_600;

/// Seconds of a `Retry-After`; one that is a date is left out.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let secs: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(secs.min(MAX_RETRY_AFTER_SECS))
}

/// What the next hop said.
struct Answer {
    status: StatusCode,
    retry_after_secs: Option<u64>,
    body: Bytes,
}

fn is_final(status: StatusCode) -> bool {
    !status.is_server_error() && status != StatusCode::REQUEST_TIMEOUT && status != StatusCode::TOO_MANY_REQUESTS
}
