//! One alert, not a hundred: a repeat of a template that alerted within the hold time is suppressed, unless it is
//! stronger by a nat.

use hashbrown::HashMap;

use super::extremes::larger;
use super::{StateError, StateReader};
use crate::event::Timestamp;

/// How much stronger a repeat must be to alert again, nats.
pub const STRONGER_BY: f32 = 1.0;

/// Alerts remembered; beyond that the expired ones go, then the oldest.
const MOST: usize = 4_096;

/// What was odd, and whether it alerted: above a raised threshold alone something may be odd that does not.
#[derive(Debug, Clone, Copy)]
struct Alert {
    at: Timestamp,
    statistic: f32,
    is_raised: bool,
}

/// What something odd is a repeat of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Of nothing.
    Nothing,
    /// Of something as odd, which did not alert.
    Odd,
    /// Of an alert.
    Alert,
}

/// Alerts within the hold time, by what alerted: a template slot or a stream.
#[derive(Debug, Clone)]
pub struct Hold {
    seconds: f64,
    alerts: HashMap<u64, Alert, foldhash::fast::FixedState>,
}

impl Hold {
    /// No alert yet; 0 seconds hold nothing.
    pub fn new(hold_secs: u64) -> Self {
        Self { seconds: hold_secs as f64, alerts: HashMap::default() }
    }

    /// What something of this strength repeats. What repeats nothing is noted; what repeats no alert and `alerts` is noted as one.
    pub fn see(&mut self, key: u64, at: Timestamp, statistic: f32, alerts: bool) -> Seen {
        if let Some(last) = self.alerts.get_mut(&key)
            && at.seconds_since(last.at).abs() < self.seconds
            && statistic < last.statistic + STRONGER_BY
        {
            if last.is_raised {
                return Seen::Alert;
            }
            if alerts {
                *last = Alert { at, statistic, is_raised: true };
            }
            return Seen::Odd;
        }
        self.make_room(at);
        self.alerts.insert(key, Alert { at, statistic, is_raised: alerts });
        Seen::Nothing
    }

    /// What alerted under this key is no more.
    pub fn forget(&mut self, key: u64) {
        self.alerts.remove(&key);
    }

    /// What alerted under `from` alerted under `into`. Of two within the hold time the alert counts, of two alike the stronger, from the later one on;
    /// else the later one.
    pub fn merge(&mut self, from: u64, into: u64) {
        let Some(gone) = self.alerts.remove(&from) else { return };
        let merged = self.alerts.get(&into).map_or(gone, |known| self.merged(*known, gone));
        self.alerts.insert(into, merged);
    }

    fn merged(&self, a: Alert, b: Alert) -> Alert {
        let (earlier, later) = if a.at <= b.at { (a, b) } else { (b, a) };
        if later.at.seconds_since(earlier.at).abs() >= self.seconds || !earlier.is_raised && later.is_raised {
            return later;
        }
        if earlier.is_raised && !later.is_raised {
            return earlier;
        }
        Alert { statistic: larger(earlier.statistic, later.statistic), ..later }
    }

    fn make_room(&mut self, now: Timestamp) {
        if self.alerts.len() < MOST {
            return;
        }
        let seconds = self.seconds;
        self.alerts.retain(|_, alert| now.seconds_since(alert.at).abs() < seconds);
        if self.alerts.len() >= MOST
            && let Some(oldest) =
                self.alerts.iter().min_by_key(|(slot, alert)| (alert.at, **slot)).map(|(slot, _)| *slot)
        {
            self.alerts.remove(&oldest);
        }
    }

    /// Appends everything remembered, by slot. The sign of a strength tells what did not alert.
    pub fn checkpoint(&self, out: &mut Vec<u8>) {
        let mut alerts: Vec<_> = self.alerts.iter().collect();
        alerts.sort_unstable_by_key(|(slot, _)| **slot);
        out.extend_from_slice(&(alerts.len() as u32).to_le_bytes());
        for (slot, alert) in alerts {
            out.extend_from_slice(&slot.to_le_bytes());
            out.extend_from_slice(&alert.at.0.to_le_bytes());
            let strength = if alert.is_raised { alert.statistic } else { -alert.statistic };
            out.extend_from_slice(&strength.to_bits().to_le_bytes());
        }
    }

    /// Takes in what [`Self::checkpoint`] wrote.
    ///
    /// # Errors
    /// When the bytes are cut short; nothing is changed then.
    pub fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let length = from.length("alerts held", MOST, 20)?;
        let mut alerts = HashMap::default();
        for _ in 0..length {
            let slot = from.u64("what alerted")?;
            let at = Timestamp(from.i64("time of an alert")?);
            let strength = f32::from_bits(from.u32("statistic of an alert")?);
            let is_raised = strength.is_sign_positive();
            alerts.insert(slot, Alert { at, statistic: strength.abs(), is_raised });
        }
        self.alerts = alerts;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn second(s: i64) -> Timestamp {
        Timestamp(s * 1_000_000)
    }

    #[test]
    fn holds_repeats_for_the_hold_time_unless_they_are_stronger() {
        let mut hold = Hold::new(60);
        assert!(hold.see(1, second(0), 5.0, true) == Seen::Nothing);
        assert!(hold.see(1, second(59), 5.9, true) == Seen::Alert);
        assert!(hold.see(2, second(59), 5.0, true) == Seen::Nothing, "another template");
        assert!(hold.see(1, second(59), 6.1, true) == Seen::Nothing, "stronger by more than a nat");
        assert!(hold.see(1, second(119), 6.0, true) == Seen::Nothing, "60 s after the last one that went out");
        hold.forget(1);
        assert!(hold.see(1, second(119), 6.0, true) == Seen::Nothing);
        assert!(Hold::new(0).see(1, second(0), 1.0, true) == Seen::Nothing);
    }

    #[test]
    fn what_becomes_part_of_another_is_held_with_it() {
        let seen = |a: (i64, f32, bool), b: (i64, f32, bool), then: (i64, f32)| {
            let mut hold = Hold::new(60);
            hold.see(1, second(a.0), a.1, a.2);
            hold.see(2, second(b.0), b.1, b.2);
            hold.merge(1, 2);
            assert_eq!(hold.alerts.len(), 1);
            hold.see(2, second(then.0), then.1, true)
        };
        assert_eq!(seen((0, 5.0, true), (30, 3.0, true), (80, 5.5)), Seen::Alert, "as strong as the stronger");
        assert_eq!(seen((30, 5.0, true), (0, 3.0, true), (80, 5.5)), Seen::Alert, "whichever it was");
        assert_eq!(seen((0, 5.0, true), (30, 7.0, false), (40, 5.5)), Seen::Alert, "an alert goes over what was odd");
        assert_eq!(seen((0, 9.0, true), (80, 3.0, true), (90, 6.0)), Seen::Nothing, "what is past is past");
        let mut hold = Hold::new(60);
        hold.see(1, second(0), 5.0, true);
        hold.merge(1, 2);
        hold.merge(7, 2);
        assert_eq!(
            (hold.see(2, second(1), 5.0, true), hold.see(1, second(1), 5.0, true)),
            (Seen::Alert, Seen::Nothing)
        );
    }

    #[test]
    fn what_was_odd_and_did_not_alert_holds_no_alert() {
        let mut hold = Hold::new(60);
        assert!(hold.see(1, second(0), 5.0, false) == Seen::Nothing);
        assert!(hold.see(1, second(1), 5.0, false) == Seen::Odd);
        let mut bytes = Vec::new();
        hold.checkpoint(&mut bytes);
        hold.restore(&mut StateReader::new(&bytes)).unwrap();
        assert!(hold.see(1, second(2), 5.5, true) == Seen::Odd, "and alerts");
        assert!(hold.see(1, second(3), 5.5, true) == Seen::Alert);
    }

    #[test]
    fn a_clock_that_jumps_back_a_day_does_not_hold_alerts_for_a_day() {
        let mut hold = Hold::new(60);
        assert!(hold.see(1, second(86_400), 5.0, true) == Seen::Nothing);
        assert!(hold.see(1, second(0), 5.0, true) == Seen::Nothing);
    }

    #[test]
    fn memory_is_bounded() {
        let mut hold = Hold::new(86_400);
        (0..10_000).for_each(|slot| assert!(hold.see(slot, second(slot as i64), 5.0, true) == Seen::Nothing));
        assert!(hold.alerts.len() <= MOST);
        let mut bytes = Vec::new();
        hold.checkpoint(&mut bytes);
        let mut again = Hold::new(86_400);
        again.restore(&mut StateReader::new(&bytes)).unwrap();
        assert!(again.see(9_999, second(10_000), 5.0, true) == Seen::Alert);
    }
}
