//! Reading a request's body: not too large, not too slow, unpacked.

use std::io::{self, Read};

use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use super::timed::{Pace, Timed};

/// Why a request was not taken.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    /// Seconds after which it may come again, when somebody said so.
    pub(crate) retry_after_secs: Option<u64>,
}

impl Refused {
    pub(crate) const fn new(status: StatusCode, text: String) -> Self {
        Self { status, text, retry_after_secs: None }
    }
}

fn too_large(limit: usize) -> Refused {
    let text = format!("expected a request of at most {limit} bytes, as sent and unpacked (max_message_bytes)");
    Refused::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}

/// All of `body`, unpacked as `encoding` says.
pub(super) async fn receive(
    body: axum::body::Body,
    encoding: Option<&str>,
    limit: usize,
    pace: Pace,
) -> Result<Bytes, Refused> {
    let mut body = Timed::new(body, pace);
    let mut taken = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refused::new(StatusCode::REQUEST_TIMEOUT, error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if taken.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        taken.extend_from_slice(&data);
    }
    let taken = taken.freeze();
    // RFC 9110, 8.4.1: whatever their case.
    match encoding.map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        None | Some("" | "identity") => Ok(taken),
        Some("gzip") => unpack(flate2::read::MultiGzDecoder::new(&*taken), limit),
        Some("zstd") => unpack(zstd::Decoder::new(&*taken).map_err(|error| broken(&error))?, limit),
        Some(other) => Err(Refused::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("Content-Encoding: expected gzip or zstd, found {other:?}"),
        )),
    }
}

fn broken(error: &io::Error) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, format!("cannot unpack the request: {error}"))
}

fn unpack(packed: impl Read, limit: usize) -> Result<Bytes, Refused> {
    let mut out = Vec::new();
    // One byte more than is accepted tells that there is more.
    packed.take(limit as u64 + 1).read_to_end(&mut out).map_err(|error| broken(&error))?;
    if out.len() > limit { Err(too_large(limit)) } else { Ok(out.into()) }
}
