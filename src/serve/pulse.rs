//! What is under way on a connection, and when it is closed for want of anything.
//!
//! | on the connection | closed after |
//! |---|---|
//! | nothing yet, or a part of HTTP/2's preface | `head` since it was opened |
//! | a part of the head of a request (HTTP/1) | `head` since that began |
//! | nothing since the last answer, or in HTTP/2 since the preface; pings and half a head of HTTP/2 are nothing | `idle` |
//! | requests | `request` since the oldest came, and `head` since the head of its answer was sent: who does not take an answer |
//!
//! Half a head that came with the request before it, in one piece, counts as nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Bytes that HTTP/2 begins with.
const PREFACE_BYTES: usize = 24;
/// What they begin with; no method of HTTP/1 does.
const PREFACE: [u8; 3] = *b"PRI";

/// How long what may last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) head: Duration,
    pub(super) idle: Duration,
    pub(super) request: Duration,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Pulse {
    limits: Limits,
    state: Mutex<State>,
    wanted: Notify,
}

#[derive(Debug)]
struct State {
    /// The first bytes that came.
    first: [u8; PREFACE.len()],
    /// How many came.
    bytes: usize,
    has_request: bool,
    /// Since when no request is under way.
    idle_since: Instant,
    /// The first byte since then.
    head_since: Option<Instant>,
    next: u64,
    /// When requests that are under way must be over.
    open: BTreeMap<u64, Instant>,
}

impl Pulse {
    pub(super) fn new(limits: Limits) -> Self {
        let state = State {
            first: [0; PREFACE.len()],
            bytes: 0,
            has_request: false,
            idle_since: Instant::now(),
            head_since: None,
            next: 0,
            open: BTreeMap::new(),
        };
        Self { limits, state: Mutex::new(state), wanted: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These came.
    pub(super) fn read(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.state();
        let had = state.bytes;
        for (place, byte) in state.first.iter_mut().skip(had).zip(bytes) {
            *place = *byte;
        }
        state.bytes = had.saturating_add(bytes.len());
        if state.open.is_empty() {
            state.head_since.get_or_insert_with(Instant::now);
        }
    }

    /// A request came; it is under way until what this gives is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.has_request = true;
        state.head_since = None;
        state.open.insert(number, Instant::now() + self.limits.request);
        drop(state);
        UnderWay { pulse: Arc::clone(self), number }
    }

    /// Whether a request ever came.
    pub(super) fn has_request(&self) -> bool {
        self.state().has_request
    }

    /// Since when nothing is under way, if that is so.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        state.open.is_empty().then_some(state.idle_since)
    }

    /// Room is needed: [`Self::ended`] returns.
    pub(super) fn want(&self) {
        self.wanted.notify_one();
    }

    fn due(&self) -> Instant {
        let (state, Limits { head, idle, .. }) = (self.state(), self.limits);
        let is_http2 = state.first == PREFACE;
        if let Some(oldest) = state.open.values().min() {
            *oldest
        } else if is_http2 && state.bytes >= PREFACE_BYTES {
            state.idle_since + idle
        } else {
            match state.head_since.filter(|_| !is_http2) {
                Some(since) => since + head,
                None if state.has_request => state.idle_since + idle,
                None => state.idle_since + head,
            }
        }
    }

    /// Returns when the connection is to be closed; up to the shorter of the limits late where something began meanwhile.
    pub(super) async fn ended(&self) {
        let step = self.limits.head.min(self.limits.idle);
        loop {
            let (due, now) = (self.due(), Instant::now());
            if due <= now {
                return;
            }
            tokio::select! {
                () = sleep_until(due.min(now + step)) => {}
                () = self.wanted.notified() => return,
            }
        }
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct UnderWay {
    pulse: Arc<Pulse>,
    number: u64,
}

impl UnderWay {
    /// Its answer begins.
    pub(super) fn answered(&self) {
        let due = Instant::now() + self.pulse.limits.head;
        self.pulse.state().open.insert(self.number, due);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.pulse.state();
        state.open.remove(&self.number);
        if state.open.is_empty() {
            (state.idle_since, state.head_since) = (Instant::now(), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { head: Duration::from_secs(30), idle: Duration::from_secs(120), request: Duration::from_secs(140) };

    /// Seconds from `since` until it is closed when nothing more happens.
    async fn lasts(pulse: &Pulse, since: Instant) -> u64 {
        pulse.ended().await;
        since.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_of_silence_has_its_limit() {
        for (came, secs) in [
            (&[][..], 30),
            (&["GE"], 30),
            (&["GET /health HTTP/1.1\r\nhost: localhost\r\nx-y: "], 30),
            (&["P", "RI * HT"], 30),
            (&["PR", "I * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 120),
            (&["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "frames"], 120),
        ] {
            let (pulse, begun) = (Pulse::new(LIMITS), Instant::now());
            for bytes in came {
                pulse.read(bytes.as_bytes());
            }
            assert_eq!(lasts(&pulse, begun).await, secs, "{came:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_holds_the_connection_and_what_comes_behind_it_counts_from_its_end() {
        let pulse = Arc::new(Pulse::new(LIMITS));
        pulse.read(b"GET / HTTP/1.1\r\n\r\n");
        let request = pulse.begin();
        assert!(pulse.idle_since().is_none());
        assert!(tokio::time::timeout(Duration::from_secs(100), pulse.ended()).await.is_err());
        drop(request);
        let ended = Instant::now();
        assert_eq!(pulse.idle_since(), Some(ended));
        assert_eq!(lasts(&pulse, ended).await, 120);
        let (pulse, ended) = (Arc::new(Pulse::new(LIMITS)), Instant::now());
        drop(pulse.begin());
        pulse.read(b"GET / HT");
        assert_eq!(lasts(&pulse, ended).await, 30, "half a head");
    }

    #[tokio::test(start_paused = true)]
    async fn neither_a_request_nor_an_answer_lasts_for_ever() {
        let (pulse, begun) = (Arc::new(Pulse::new(LIMITS)), Instant::now());
        let first = pulse.begin();
        let second = pulse.begin();
        second.answered();
        assert_eq!(lasts(&pulse, begun).await, 30);
        drop(second);
        assert_eq!(lasts(&pulse, begun).await, 140);
        drop(first);
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_made_at_once() {
        let (pulse, begun) = (Pulse::new(LIMITS), Instant::now());
        pulse.want();
        assert_eq!(lasts(&pulse, begun).await, 0);
    }
}
