//! Thresholds of several hosts pooled.

use super::{AlertBudget, NEVER, SPEED_SECS, Threshold};

impl Threshold {
    /// As if the events of `other` had been seen, too, which are `part` of both: the correction is averaged, and so is the speed of events. The
    /// budget stays.
    pub(in crate::detect) fn join(&mut self, other: &Self, part: f64) {
        let part = if part.is_finite() { part.clamp(0.0, 1.0) as f32 } else { 0.0 };
        self.lowered += (other.lowered - self.lowered) * part;
        self.speed.events += other.speed.events;
        self.speed.secs += other.speed.secs;
        // Their last event is not this host's.
        (self.speed.last, self.speed.unlooked) = (NEVER, 0);
        if let (AlertBudget::PerHour(alerts), true) = (self.budget, self.speed.events > 0.0) {
            self.set_share(alerts / 3_600.0 * self.speed.secs.max(1.0) / self.speed.events);
        }
    }

    /// As much time as one host remembers.
    pub(in crate::detect) fn settle(&mut self) {
        if self.speed.secs > 2.0 * SPEED_SECS {
            self.speed.events *= 2.0 * SPEED_SECS / self.speed.secs;
            self.speed.secs = 2.0 * SPEED_SECS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;

    fn with_events_every(micros: i64) -> Threshold {
        let mut threshold = Threshold::new(AlertBudget::PerHour(5.0), 20_000);
        (0..100_000).for_each(|n| threshold.pass(Timestamp(n * micros)));
        threshold
    }

    #[test]
    fn corrections_are_averaged_by_events_and_nothing_joined_changes_nothing() {
        let mut both = Threshold::new(AlertBudget::Share(0.001), 20_000);
        let mut other = both.clone();
        (0..10_000).for_each(|_| other.learn(false));
        both.join(&other, 1.0);
        assert_eq!(both.lowered, other.lowered);
        both.join(&Threshold::new(AlertBudget::Share(0.001), 20_000), 0.25);
        assert!((both.lowered - other.lowered * 0.75).abs() < 1e-6 && other.lowered > 0.0);
        both.join(&other, f64::NAN);
        assert!(both.lowered.is_finite());
    }

    #[test]
    fn alerts_an_hour_begin_with_the_hosts_mean_speed_and_a_first_event_years_later_changes_little() {
        let mut both = Threshold::new(AlertBudget::PerHour(5.0), 20_000);
        both.join(&with_events_every(1_000_000), 1.0);
        both.join(&with_events_every(1_000_000), 0.5);
        both.settle();
        assert!((f64::from(both.share) * 720.0 - 1.0).abs() < 0.05, "{}", both.share);
        (0..200).for_each(|n| both.pass(Timestamp(i64::MAX / 2 + n * 1_000_000)));
        assert!((f64::from(both.share) * 720.0 - 1.0).abs() < 0.1, "{}", both.share);
    }
}
