//! One object behind a URL as bytes: of a bucket ([`bucket`]), or of a web server (`http://`, `https://`; redirects are followed, and the
//! query of a signed URL is sent).
//!
//! Bounded in time, [`DEADLINE_SECS`] for all of it, and in memory: what is larger than the caller takes is given up at its announced length, or
//! where it exceeds it. A web server that cannot be reached or fails (5xx) is asked [`ATTEMPTS`] times within that time; a bucket as its client does.
//! What came is not believed for coming by TLS or not: that is for who reads it.
//!
//! It works on a thread of its own, so that it may be called from within an asynchronous runtime, which it holds up.

use std::io;
use std::path::Path;
use std::time::Duration;

use object_store::ObjectStoreExt;
use tokio::runtime::Builder;
use tokio_stream::StreamExt;

use super::bucket;
use super::error::StorageError;
use super::shown_url;

/// For everything.
pub const DEADLINE_SECS: u64 = 30;

/// How often a web server is asked.
const ATTEMPTS: u32 = 4;

/// Between the first two of them; doubled after each.
const PAUSE: Duration = Duration::from_millis(500);

/// The object that `url` names; `what` it is stands in the error when it is larger than `most_bytes`.
///
/// # Errors
/// When it cannot be had in time, or is too large. A query and credentials of the URL are not told.
pub fn fetch(url: &str, what: &'static str, most_bytes: u64) -> Result<Vec<u8>, StorageError> {
    let (own, limit) = (url.to_owned(), Limit { what, most_bytes });
    let thread = std::thread::Builder::new().name("oddline-fetch".to_owned()).spawn(move || in_time(&own, limit));
    let fetched = thread.map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("it panicked").into())));
    let shown = shown_url(url);
    fetched.unwrap_or_else(|error| Err(error.into())).map_err(|failure| match failure {
        Failure::Storage(error) => error,
        Failure::Io(error) => StorageError::io("fetch", Path::new(&shown))(error),
    })
}

#[derive(Debug)]
enum Failure {
    Storage(StorageError),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<object_store::Error> for Failure {
    fn from(error: object_store::Error) -> Self {
        Self::Io(error.into())
    }
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    what: &'static str,
    most_bytes: u64,
}

impl Limit {
    fn check(self, bytes: u64) -> Result<(), Failure> {
        let Self { what, most_bytes: limit } = self;
        if bytes <= limit { Ok(()) } else { Err(Failure::Storage(StorageError::TooLarge { what, bytes, limit })) }
    }

    fn add(self, to: &mut Vec<u8>, part: &[u8]) -> Result<(), Failure> {
        self.check(to.len() as u64 + part.len() as u64)?;
        to.extend_from_slice(part);
        Ok(())
    }
}

fn in_time(url: &str, limit: Limit) -> Result<Vec<u8>, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let deadline = Duration::from_secs(DEADLINE_SECS);
    let fetched = runtime.block_on(async { tokio::time::timeout(deadline, any(url, limit)).await });
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("not had within {DEADLINE_SECS} s"));
    fetched.unwrap_or_else(|_| Err(late().into()))
}

async fn any(url: &str, limit: Limit) -> Result<Vec<u8>, Failure> {
    if url.starts_with("http://") || url.starts_with("https://") {
        return of_server(url, limit).await;
    }
    let (remote, path) = bucket::open(url).map_err(Failure::Storage)?;
    let found = remote.get(&path).await?;
    limit.check(found.meta.size)?;
    let mut bytes = Vec::new();
    let mut parts = found.into_stream();
    while let Some(part) = parts.next().await {
        limit.add(&mut bytes, &part?)?;
    }
    Ok(bytes)
}

async fn of_server(url: &str, limit: Limit) -> Result<Vec<u8>, Failure> {
    bucket::use_ring();
    let failed = |error: reqwest::Error| io::Error::other(error.without_url());
    let client = reqwest::Client::builder().build().map_err(failed)?;
    let mut pause = PAUSE;
    for attempt in 1.. {
        let mut answer = match client.get(url).send().await {
            Err(error) if error.is_connect() && attempt < ATTEMPTS => None,
            Ok(answer) if answer.status().is_server_error() && attempt < ATTEMPTS => None,
            answer => Some(answer.and_then(reqwest::Response::error_for_status).map_err(failed)?),
        };
        if let Some(answer) = &mut answer {
            limit.check(answer.content_length().unwrap_or(0))?;
            let mut bytes = Vec::new();
            while let Some(part) = answer.chunk().await.map_err(failed)? {
                limit.add(&mut bytes, &part)?;
            }
            return Ok(bytes);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Err(io::Error::other("not had").into())
}
