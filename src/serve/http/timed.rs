//! A request body that must come in at some pace: it holds a permit meanwhile.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a body may come at any pace.
const GRACE: Duration = Duration::from_secs(5);

/// How fast a body must come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// All of it, since it was first waited for.
    pub(crate) timeout: Duration,
    /// On average, after [`GRACE`]; 0 for none.
    pub(crate) bytes_per_sec: u64,
}

impl Pace {
    /// How long what is still to come is waited for, when so many bytes have come.
    fn allows(self, bytes: u64) -> Duration {
        let earned = bytes.saturating_mul(1_000).checked_div(self.bytes_per_sec).map(Duration::from_millis);
        earned.map_or(self.timeout, |earned| earned.saturating_add(GRACE).min(self.timeout))
    }
}

/// Fails when not all of it has come in time, however steadily it comes, or when it comes too slowly.
#[derive(Debug)]
pub(crate) struct Timed<B> {
    body: Pin<Box<B>>,
    pace: Pace,
    begun: Instant,
    bytes: u64,
    due: Pin<Box<Sleep>>,
}

/// It did not come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TooSlow {
    /// In time.
    #[error("expected all of the request within {secs} s (receive_timeout_secs)")]
    Late { secs: u64 },
    /// At the pace.
    #[error("expected {bytes_per_sec} bytes a second (min_receive_bytes_per_sec), found {bytes} bytes in {secs} s")]
    Slow { bytes_per_sec: u64, bytes: u64, secs: u64 },
}

impl<B> Timed<B> {
    pub(crate) fn new(body: B, pace: Pace) -> Self {
        let begun = Instant::now();
        let due = Box::pin(sleep_until(begun + pace.allows(0)));
        Self { body: Box::pin(body), pace, begun, bytes: 0, due }
    }

    fn came(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.due.as_mut().reset(self.begun + self.pace.allows(self.bytes));
    }

    fn too_slow(&self) -> TooSlow {
        let secs = self.begun.elapsed().as_secs();
        if self.pace.allows(self.bytes) >= self.pace.timeout {
            return TooSlow::Late { secs: self.pace.timeout.as_secs() };
        }
        TooSlow::Slow { bytes_per_sec: self.pace.bytes_per_sec, bytes: self.bytes, secs }
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
            if let Some(Ok(frame)) = &frame {
                this.came(frame.data_ref().map_or(0, Bytes::len));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(this.due.as_mut().poll(cx));
        Poll::Ready(Some(Err(Box::new(this.too_slow()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    const PACE: Pace = Pace { timeout: Duration::from_secs(30), bytes_per_sec: 100 };

    /// A body of so many bytes at each of these times, in seconds.
    fn body(
        bytes: usize,
        at: impl Iterator<Item = u64> + Send + 'static,
    ) -> impl Body<Data = Bytes, Error = io::Error> {
        let (send, pieces) = mpsc::channel(1);
        tokio::spawn(async move {
            let begun = Instant::now();
            for secs in at {
                tokio::time::sleep_until(begun + Duration::from_secs(secs)).await;
                // Nobody listens any more.
                let Ok(()) = send.send(Ok(Frame::data(Bytes::from(vec![b' '; bytes])))).await else { return };
            }
        });
        StreamBody::new(ReceiverStream::new(pieces))
    }

    /// So many bytes every second, for ever: how long they are taken, and what is said then.
    async fn given_up(bytes: usize, pace: Pace) -> (u64, String) {
        let (mut body, begun) = (Timed::new(body(bytes, 0..), pace), Instant::now());
        loop {
            if let Err(error) = body.frame().await.unwrap() {
                return (begun.elapsed().as_secs(), error.to_string());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_drips_is_given_up_soon_and_who_is_steady_at_the_end_of_the_time() {
        let (secs, said) = given_up(1, PACE).await;
        assert!(
            secs == 5 && said.starts_with("expected 100 bytes a second (min_receive_bytes_per_sec), found"),
            "{said}"
        );
        let (secs, said) = given_up(60, PACE).await;
        assert!((10..=14).contains(&secs) && said.contains("min_receive_bytes_per_sec"), "{secs} s: {said}");
        let late = (30, "expected all of the request within 30 s (receive_timeout_secs)".to_owned());
        assert_eq!(given_up(100, PACE).await, late);
        assert_eq!(given_up(1, Pace { bytes_per_sec: 0, ..PACE }).await, late);
        let short = Pace { timeout: Duration::from_secs(2), ..PACE };
        assert_eq!(given_up(1, short).await.0, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_early_is_time_for_what_comes_late() {
        let body = Timed::new(body(1_000, [0, 14].into_iter()), PACE);
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 2_000);
    }
}
