//! A request body that must have come in some time after it was first waited for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// Fails when not all of it has come in time, however steadily it comes: a permit is held meanwhile.
#[derive(Debug)]
pub(crate) struct Timed<B> {
    body: Pin<Box<B>>,
    timeout: Duration,
    due: Pin<Box<Sleep>>,
}

/// It did not come.
#[derive(Debug, thiserror::Error)]
#[error("expected all of the request within {secs} s (receive_timeout_secs)")]
pub(crate) struct TooSlow {
    secs: u64,
}

impl<B> Timed<B> {
    pub(crate) fn new(body: B, timeout: Duration) -> Self {
        Self { body: Box::pin(body), timeout, due: Box::pin(sleep(timeout)) }
    }
}

impl<B> Body for Timed<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(this.due.as_mut().poll(cx));
        Poll::Ready(Some(Err(Box::new(TooSlow { secs: this.timeout.as_secs() }))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
