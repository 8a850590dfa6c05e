//! How odd an event must be to alert: −ln of the budget, corrected by how many alerts there were.
//!
//! A budget of one event in 10,000 is met twice while the calibration's half-life passes: too rarely for the calibration to notice that it
//! promises too much or too little. So the threshold is led by integral control, as in adaptive conformal inference (Gibbs and Candès,
//! NeurIPS 2021; on the scale of scores, Angelopoulos, Candès and Tibshirani, "Conformal PID Control", 2023): each alert raises it by a
//! step, and each event lowers it by the budget's share of that step, so that over a long time alerts come as often as the budget says.
//! The step is what lets the threshold move by a nat in a quarter of the calibration's half-life, and is bounded, as is the correction: an
//! incident that alerts again and again must not drown the next one.
//!
//! A budget may also be a number of alerts an hour. It is then the share that this is of the events that come in an hour, by the events' time.

mod join;

use super::extremes::{larger, smaller};
use super::rate::OUTAGE_SECS;
use super::{StateError, StateReader};
use crate::event::Timestamp;

/// What may alert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AlertBudget {
    /// A share of events: nothing at 0, everything at 1.
    Share(f64),
    /// Alerts an hour.
    PerHour(f64),
}

impl From<f64> for AlertBudget {
    fn from(share: f64) -> Self {
        Self::Share(share)
    }
}

/// Of the calibration's half-life, the events in which the threshold can move by a nat.
const PACE: f32 = 0.25;

/// The most one alert raises the threshold, nats.
const MOST_STEP: f32 = 2.0;

/// The threshold is raised by a step or this much at the most, nats …
const MOST_RAISED: f32 = 0.3;

/// … and lowered by this much.
const MOST_LOWERED: f32 = 1.5;

/// The speed of events is that of the last hour or two.
const SPEED_SECS: f64 = 3_600.0;

/// No event was seen on this host.
const NEVER: i64 = i64::MIN;

/// Events between two looks at how fast they come.
const LOOK_EVENTS: u32 = 64;

/// Events by time, older ones counting half.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Speed {
    last: i64,
    events: f64,
    secs: f64,
    unlooked: u32,
}

impl Speed {
    /// Seconds an event takes, when it is time to look again.
    fn pass(&mut self, now: Timestamp) -> Option<f64> {
        self.unlooked += 1;
        if self.unlooked < LOOK_EVENTS && self.events > 0.0 {
            return None;
        }
        let gap = if self.events > 0.0 && self.last != NEVER { now.0.saturating_sub(self.last) } else { 0 };
        let most = OUTAGE_SECS.saturating_mul(1_000_000).saturating_mul(i64::from(self.unlooked));
        self.secs += gap.clamp(0, most) as f64 * 1e-6;
        self.events += f64::from(self.unlooked);
        self.last = now.0;
        self.unlooked = 0;
        if self.secs >= 2.0 * SPEED_SECS {
            self.secs *= 0.5;
            self.events *= 0.5;
        }
        // When all came at once, they came within a second.
        Some(self.secs.max(1.0) / self.events)
    }
}

/// The threshold.
#[derive(Debug, Clone)]
pub(super) struct Threshold {
    budget: AlertBudget,
    half_life_events: u64,
    share: f32,
    /// −ln of the share, nats.
    limit: f32,
    step: f32,
    /// What the threshold is lowered by, nats; negative when it is raised.
    lowered: f32,
    speed: Speed,
}

impl Threshold {
    pub(super) fn new(budget: AlertBudget, calibration_half_life_events: u64) -> Self {
        let half_life_events = calibration_half_life_events.max(1);
        let speed = Speed::default();
        let mut threshold = Self { budget, half_life_events, share: 0.0, limit: 0.0, step: 0.0, lowered: 0.0, speed };
        // Of alerts an hour none is due before events have come.
        threshold.set_share(if let AlertBudget::Share(share) = budget { share } else { 0.0 });
        threshold
    }

    fn set_share(&mut self, share: f64) {
        // What is not a number is nothing.
        self.share = if share > 0.0 { share.min(1.0) as f32 } else { 0.0 };
        self.limit = -self.share.ln();
        let events = self.half_life_events as f32 * PACE;
        self.step = (1.0 / (self.share * events)).min(MOST_STEP);
    }

    /// −ln of the budget: what an alert's −ln p is about. Infinite when nothing may alert.
    pub(super) fn limit(&self) -> f32 {
        self.limit
    }

    /// Whether an event with this −ln p alerts when it repeats none.
    #[inline]
    pub(super) fn is_over(&self, nats: f32) -> bool {
        nats + self.lowered >= self.limit
    }

    /// Whether it would, had there not been alerts already.
    #[inline]
    pub(super) fn is_odd(&self, nats: f32) -> bool {
        nats + self.lowered.max(0.0) >= self.limit
    }

    /// Time passes.
    #[inline]
    pub(super) fn pass(&mut self, now: Timestamp) {
        if let AlertBudget::PerHour(alerts) = self.budget
            && let Some(secs) = self.speed.pass(now)
        {
            self.set_share(alerts / 3_600.0 * secs);
        }
    }

    /// Learns whether an event alerted.
    #[inline]
    pub(super) fn learn(&mut self, is_alert: bool) {
        let due = self.share - f32::from(u8::from(is_alert));
        self.lowered = bounded(self.lowered + self.step * due, larger(self.step, MOST_RAISED));
    }

    pub(super) fn checkpoint(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.lowered.to_bits().to_le_bytes());
        out.extend_from_slice(&self.speed.last.to_le_bytes());
        out.extend_from_slice(&self.speed.events.to_le_bytes());
        out.extend_from_slice(&self.speed.secs.to_le_bytes());
        out.extend_from_slice(&self.speed.unlooked.to_le_bytes());
        out.extend_from_slice(&self.share.to_le_bytes());
    }

    /// Takes in what [`Self::checkpoint`] wrote; the budget stays.
    pub(super) fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let what = "alert budget";
        self.lowered = bounded(f32::from_bits(from.u32(what)?), MOST_STEP);
        self.speed = Speed {
            last: from.i64(what)?,
            events: from.amount(what)?,
            secs: from.amount(what)?,
            unlooked: from.u32(what)?.min(LOOK_EVENTS),
        };
        let share = from.f32(what)?;
        if matches!(self.budget, AlertBudget::PerHour(_)) {
            self.set_share(f64::from(share));
        }
        Ok(())
    }
}

/// Raised by no more than `raised`.
#[inline]
fn bounded(lowered: f32, raised: f32) -> f32 {
    larger(smaller(lowered, MOST_LOWERED), -raised)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exponential variates from a linear congruential generator (Knuth's MMIX).
    fn nats(count: usize) -> impl Iterator<Item = f32> {
        let mut state = 1u64;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            -(((state >> 40) as f32 + 0.5) / 16_777_216.0).ln()
        })
        .take(count)
    }

    fn alerts(threshold: &mut Threshold, count: usize, off: f32) -> usize {
        let one = |nats: f32| {
            let is_alert = threshold.is_over(nats * off);
            threshold.learn(is_alert);
            usize::from(is_alert)
        };
        nats(count).map(one).sum()
    }

    #[test]
    fn a_calibration_that_promises_too_much_or_too_little_is_corrected() {
        for (budget, off) in [(1e-3, 0.85), (1e-3, 1.0), (1e-4, 0.85), (1e-4, 1.0), (1e-4, 1.15)] {
            let mut threshold = Threshold::new(AlertBudget::Share(budget), 20_000);
            let found = alerts(&mut threshold, 1_000_000, off) as f64 / (1e6 * budget);
            assert!((0.5..2.0).contains(&found), "{budget} {off}: {found}");
        }
    }

    #[test]
    fn an_incident_raises_the_threshold_no_more_than_a_step_and_quiet_lowers_it_no_more_than_one_and_a_half() {
        for budget in [1e-2, 1e-3, 1e-4] {
            let mut threshold = Threshold::new(AlertBudget::Share(budget), 20_000);
            (0..10_000).for_each(|_| threshold.learn(true));
            assert!(threshold.is_over(threshold.limit() + MOST_STEP), "{budget}");
            (0..(4.0 / (threshold.step * threshold.share)) as u64).for_each(|_| threshold.learn(false));
            assert!(!threshold.is_over(threshold.limit() - MOST_LOWERED - 0.01), "{budget}");
        }
    }

    #[test]
    fn budgets_of_nothing_and_of_everything_mean_that() {
        let mut none = Threshold::new(AlertBudget::Share(0.0), 1);
        let mut all = Threshold::new(AlertBudget::Share(1.0), 0);
        for n in 0..1_000 {
            assert!(!none.is_over(f32::MAX) && all.is_over(0.0), "event {n}");
            none.learn(false);
            all.learn(true);
        }
    }

    #[test]
    fn five_an_hour_is_the_share_that_five_are_of_an_hours_events_however_fast_they_come() {
        for (micros, share) in [(1_000_000, 5.0 / 3_600.0), (1_000, 5.0 / 3.6e6), (3_600_000_000, 1.0)] {
            let mut threshold = Threshold::new(AlertBudget::PerHour(5.0), 20_000);
            (0..100_000).for_each(|n| threshold.pass(Timestamp(n * micros)));
            // An event an hour is one a minute at the most: no event for longer is an outage.
            let share: f64 = if share == 1.0 { 5.0 / 60.0 } else { share };
            assert!((f64::from(threshold.share) / share - 1.0).abs() < 0.05, "{micros} {}", threshold.share);
        }
    }

    #[test]
    fn a_clock_that_jumps_changes_the_share_little_and_events_at_one_moment_may_hardly_alert() {
        let mut threshold = Threshold::new(AlertBudget::PerHour(60.0), 20_000);
        (0..3_600).for_each(|n| threshold.pass(Timestamp(n * 1_000_000)));
        for jump in [i64::MIN, i64::MAX, 0, -1] {
            threshold.pass(Timestamp(jump));
        }
        assert!((0.01..0.04).contains(&threshold.share), "{}", threshold.share);
        let mut at_once = Threshold::new(AlertBudget::PerHour(60.0), 20_000);
        (0..100_000).for_each(|_| at_once.pass(Timestamp(7)));
        assert!(at_once.share > 0.0 && at_once.share < 1e-6);
    }

    #[test]
    fn a_restored_threshold_goes_on_where_it_was() {
        let mut threshold = Threshold::new(AlertBudget::PerHour(60.0), 20_000);
        (0..5_000).for_each(|n| {
            threshold.pass(Timestamp(n * 1_000_000));
            threshold.learn(n % 100 == 0);
        });
        let mut bytes = Vec::new();
        threshold.checkpoint(&mut bytes);
        let mut again = Threshold::new(AlertBudget::PerHour(60.0), 20_000);
        again.restore(&mut StateReader::new(&bytes)).unwrap();
        assert_eq!((again.limit, again.step, again.lowered), (threshold.limit, threshold.step, threshold.lowered));
        assert_eq!(again.speed, threshold.speed);
    }
}
