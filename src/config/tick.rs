//! How often time asks for something.

use std::time::Duration;

use super::Config;
use super::choice::Durability;

/// Folding, checkpoints and silences need no more.
const SLOWEST: Duration = Duration::from_secs(1);

impl Config {
    /// How often a lane is to be ticked: at least once a second, and with `durability: interval` twice every `flush_interval_ms`. What a lane has
    /// not handed over by its last tick is what a killed process loses.
    pub fn tick_interval(&self) -> Duration {
        match self.durability {
            Durability::Interval => SLOWEST.min(Duration::from_millis(self.flush_interval_ms / 2)),
            Durability::None | Durability::Always => SLOWEST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_half_of_what_may_be_lost_and_at_most_a_second() {
        let of = |durability, flush_interval_ms| {
            Config { durability, flush_interval_ms, ..Config::default() }.tick_interval().as_millis()
        };
        assert_eq!(of(Durability::Interval, 200), 100);
        assert_eq!(of(Durability::Interval, 60_000), 1_000);
        assert_eq!(of(Durability::Always, 200), 1_000);
    }
}
