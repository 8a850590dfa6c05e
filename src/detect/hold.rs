//! One alert, not a hundred: a repeat of a template that alerted within the hold time is suppressed, unless it is
//! stronger by a nat.

use hashbrown::HashMap;

use super::{StateError, StateReader};
use crate::event::Timestamp;

/// How much stronger a repeat must be to alert again, nats.
pub const STRONGER_BY: f32 = 1.0;

/// Alerts remembered; beyond that the expired ones go, then the oldest.
const MOST: usize = 4_096;

#[derive(Debug, Clone, Copy)]
struct Alert {
    at: Timestamp,
    statistic: f32,
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

    /// Whether an alert of this strength is a repeat; if it is not, it is noted.
    pub fn is_repeat(&mut self, key: u64, at: Timestamp, statistic: f32) -> bool {
        if let Some(last) = self.alerts.get(&key)
            && at.seconds_since(last.at).abs() < self.seconds
            && statistic < last.statistic + STRONGER_BY
        {
            return true;
        }
        self.make_room(at);
        self.alerts.insert(key, Alert { at, statistic });
        false
    }

    /// What alerted under this key is no more.
    pub fn forget(&mut self, key: u64) {
        self.alerts.remove(&key);
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

    /// Appends everything remembered, by slot.
    pub fn checkpoint(&self, out: &mut Vec<u8>) {
        let mut alerts: Vec<_> = self.alerts.iter().collect();
        alerts.sort_unstable_by_key(|(slot, _)| **slot);
        out.extend_from_slice(&(alerts.len() as u32).to_le_bytes());
        for (slot, alert) in alerts {
            out.extend_from_slice(&slot.to_le_bytes());
            out.extend_from_slice(&alert.at.0.to_le_bytes());
            out.extend_from_slice(&alert.statistic.to_bits().to_le_bytes());
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
            let statistic = f32::from_bits(from.u32("statistic of an alert")?);
            alerts.insert(slot, Alert { at, statistic });
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
        assert!(!hold.is_repeat(1, second(0), 5.0));
        assert!(hold.is_repeat(1, second(59), 5.9));
        assert!(!hold.is_repeat(2, second(59), 5.0), "another template");
        assert!(!hold.is_repeat(1, second(59), 6.1), "stronger by more than a nat");
        assert!(!hold.is_repeat(1, second(119), 6.0), "60 s after the last one that went out");
        hold.forget(1);
        assert!(!hold.is_repeat(1, second(119), 6.0));
        assert!(!Hold::new(0).is_repeat(1, second(0), 1.0));
    }

    #[test]
    fn a_clock_that_jumps_back_a_day_does_not_hold_alerts_for_a_day() {
        let mut hold = Hold::new(60);
        assert!(!hold.is_repeat(1, second(86_400), 5.0));
        assert!(!hold.is_repeat(1, second(0), 5.0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut hold = Hold::new(86_400);
        (0..10_000).for_each(|slot| assert!(!hold.is_repeat(slot, second(slot as i64), 5.0)));
        assert!(hold.alerts.len() <= MOST);
        let mut bytes = Vec::new();
        hold.checkpoint(&mut bytes);
        let mut again = Hold::new(86_400);
        again.restore(&mut StateReader::new(&bytes)).unwrap();
        assert!(again.is_repeat(9_999, second(10_000), 5.0));
    }
}
