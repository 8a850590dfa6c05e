//! What the sidecar counts, besides what its component counts.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counters; each only grows.
        #[derive(Debug, Default)]
        pub(crate) struct Stats {
            $($(#[doc = $doc])+ pub(super) $name: AtomicU64,)+
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
    /// Requests that were passed on as they came, since no lane answered.
    requests_unscored_total,
    /// Events that were passed on or answered.
    events_sent_total,
    /// Attempts to pass a request on that failed and were made again.
    forward_retries_total,
    /// Requests that could not be passed on and were answered with a failure.
    forward_failures_total,
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
    fn manifests_know_every_counter() {
        let names: Vec<_> = Counted::default().iter().map(|(name, ..)| format!("oddline_serve_{name}")).collect();
        assert_eq!(names, SIDECAR_METRICS);
    }
}
