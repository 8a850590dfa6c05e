//! What the sidecar counts, besides what its component counts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counters, of which each only grows, and levels.
        #[derive(Debug, Default)]
        pub(crate) struct Stats {
            $($(#[doc = $doc])+ pub(super) $name: AtomicU64,)+
            /// What is so at the moment.
            pub(super) levels: Levels,
        }

        /// The counters at one time.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub(crate) struct Counted {
            $($(#[doc = $doc])+ pub(super) $name: u64,)+
        }

        impl Stats {
            pub(super) fn counted(&self) -> Counted {
                Counted { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }

        impl Counted {
            /// Names, values and what they count.
            pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64, &'static str)> {
                [$((stringify!($name), self.$name, concat!($($doc),+)),)+].into_iter()
            }
        }
    };
}

stats! {
    /// Requests with events that came.
    requests_total,
    /// Requests that were refused: no protobuf or JSON, too large, too slow.
    requests_refused_total,
    /// Requests that were turned away for want of the token, or since a page of elsewhere sent them.
    requests_unauthorized_total,
    /// Requests that were told to come again (503) with nothing of them sent on: no turn, no lane in time, or the end.
    requests_turned_away_total,
    /// Requests that were passed on as they came, since no lane answered.
    requests_unscored_total,
    /// Events that were passed on or answered.
    events_sent_total,
    /// Of those passed on, records that the next hop rejected (OTLP's partial success).
    events_rejected_total,
    /// Attempts to pass a request on that failed and were made again.
    forward_retries_total,
    /// Requests that could not be passed on and were answered with a failure.
    forward_failures_total,
    /// Connections that were closed at once, since their address had as many as it may.
    connections_refused_total,
}

/// What is so at the moment.
#[derive(Debug, Default)]
pub(super) struct Levels {
    /// Connections that are open.
    pub(super) connections: AtomicU64,
    /// Handshakes of TLS that are under way.
    pub(super) handshakes: AtomicU64,
    /// Requests that wait for their turn.
    pub(super) waiting: AtomicU64,
    /// Requests that have it.
    pub(super) under_way: AtomicU64,
}

impl Levels {
    /// Names, values and what they are.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64, &'static str)> {
        let level = |name, level: &AtomicU64, help| (name, level.load(Ordering::Relaxed), help);
        [
            level("connections", &self.connections, "Connections that are open."),
            level(
                "handshakes",
                &self.handshakes,
                "Handshakes of TLS that are under way, or done and waiting for a connection's place.",
            ),
            level("requests_waiting", &self.waiting, "Requests that wait for their turn (concurrency)."),
            level("requests_under_way", &self.under_way, "Requests that have their turn."),
        ]
        .into_iter()
    }
}

/// One more of a level, until it is dropped.
pub(super) struct Raised {
    stats: Arc<Stats>,
    level: fn(&Levels) -> &AtomicU64,
}

impl fmt::Debug for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raised").finish_non_exhaustive()
    }
}

impl Raised {
    pub(super) fn new(stats: &Arc<Stats>, level: fn(&Levels) -> &AtomicU64) -> Self {
        level(&stats.levels).fetch_add(1, Ordering::Relaxed);
        Self { stats: Arc::clone(stats), level }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        (self.level)(&self.stats.levels).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::manifest::SIDECAR_METRICS;

    #[test]
    fn manifests_know_every_figure() {
        let (counted, levels) = (Counted::default(), Levels::default());
        let names = counted.iter().chain(levels.iter()).map(|(name, ..)| format!("oddline_serve_{name}"));
        let names: Vec<_> = names.chain(["oddline_serve_stopping".to_owned()]).collect();
        assert_eq!(names, SIDECAR_METRICS);
    }
}
