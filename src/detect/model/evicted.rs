//! What had to go from the tables by stream, whose room is bounded.

use super::Model;

/// What had to go, since there is room for so many of a kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Evicted {
    /// Counts of a template on one stream.
    pub rate_series: u64,
    /// Gaps of a template on one stream.
    pub silence_series: u64,
    /// Where a stream is in its order.
    pub stream_orders: u64,
}

impl Evicted {
    /// What went since it was `before`. A model that took the place of another begins anew.
    pub fn since(self, before: Self) -> Self {
        let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Self {
            rate_series: since(self.rate_series, before.rate_series),
            silence_series: since(self.silence_series, before.silence_series),
            stream_orders: since(self.stream_orders, before.stream_orders),
        }
    }
}

impl Model {
    /// What had to go for others in the bounded tables by stream, since this model is in memory.
    pub fn evicted(&self) -> Evicted {
        Evicted {
            rate_series: self.rate.evicted(),
            silence_series: self.silence.evicted(),
            stream_orders: self.sequence.evicted(),
        }
    }
}
