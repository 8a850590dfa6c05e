//! Everything one lane learned, and the combined score.

use super::calibration::{self, BINS, Calibration};
use super::hold::Hold;
use super::rarity::Rarity;
use super::{Detector, Input, StateError, StateReader};
use crate::event::{DETECTORS, DetectorKind, Reason, State, Timestamp};

/// Weight of the sum of all evidence beside the strongest one.
const SUM_WEIGHT: f32 = 0.001;

/// Weighted evidence below this gives no reason, nats.
const REASON_AT: f32 = 0.25;

/// How a model scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelOptions {
    /// Share of events that may alert.
    pub alert_budget: f64,
    /// Learning ends after this many events …
    pub learning_events: u64,
    /// … or this many seconds, whichever is first.
    pub learning_secs: u64,
    /// A template that alerted is held this long.
    pub hold_secs: u64,
    /// Half-life of template counts.
    pub half_life_events: u64,
    /// Half-life of the calibration.
    pub calibration_half_life_events: u64,
    /// λ.
    pub severity_weight: f64,
}

/// The answer for one input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Evidence in nats by detector.
    pub evidence: [f32; DETECTORS],
    /// The combined statistic T, nats.
    pub statistic: f32,
    /// Share of past events with a T at least as large.
    pub p_value: f64,
    /// An alert.
    pub is_anomaly: bool,
    /// Would be an alert, but repeats one.
    pub suppressed: bool,
    /// Learning or ready.
    pub state: State,
    /// Strongest first.
    pub reasons: [Option<Reason>; 4],
}

/// What a lane saw since it was last asked, for the other lanes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// Events by template slot.
    pub counts: Vec<(u32, u32)>,
    /// Events by bin of the calibration.
    pub bins: Vec<(u16, u32)>,
}

/// Counters that are emptied as a whole, without touching what is zero.
#[derive(Debug, Clone, Default)]
struct Tally {
    counts: Vec<u32>,
    touched: Vec<u32>,
}

impl Tally {
    fn add(&mut self, index: usize) {
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(index) {
            if *count == 0 {
                self.touched.push(index as u32);
            }
            *count = count.saturating_add(1);
        }
    }

    fn take(&mut self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let counts = &mut self.counts;
        self.touched.drain(..).filter_map(|index| {
            let count = std::mem::take(counts.get_mut(index as usize)?);
            (count > 0).then_some((index, count))
        })
    }

    fn merge(&mut self, from: usize, into: usize) {
        let moved = self.counts.get(from).copied().unwrap_or(0);
        if moved > 0 {
            self.clear(from);
            self.add(into);
            if let Some(count) = self.counts.get_mut(into) {
                *count = count.saturating_add(moved - 1);
            }
        }
    }

    fn clear(&mut self, index: usize) {
        if let Some(count) = self.counts.get_mut(index) {
            *count = 0;
        }
    }
}

/// What one lane learned.
#[derive(Debug, Clone)]
pub struct Model {
    options: ModelOptions,
    rarity: Rarity,
    calibration: Calibration,
    hold: Hold,
    first_event: Option<Timestamp>,
    is_ready: bool,
    seen_counts: Tally,
    seen_bins: Tally,
}

impl Model {
    /// Nothing learned yet.
    pub fn new(options: ModelOptions) -> Self {
        Self {
            rarity: Rarity::new(options.half_life_events),
            calibration: Calibration::new(options.calibration_half_life_events),
            hold: Hold::new(options.hold_secs),
            first_event: None,
            is_ready: false,
            seen_counts: Tally::default(),
            seen_bins: Tally::default(),
            options,
        }
    }

    /// Scores an event by what was learned before it, then learns it.
    pub fn observe(&mut self, input: &Input) -> Scored {
        let is_new = self.rarity.is_new(input.slot);
        let mut evidence = [0.0; DETECTORS];
        evidence[DetectorKind::Rarity as usize] = self.rarity.evidence(input);
        evidence[DetectorKind::Severity as usize] = input.severity.nats();
        let statistic = self.combine(&evidence);
        let p_value = self.calibration.p_value(statistic);
        let state = self.state_at(input.timestamp);
        let is_odd = state == State::Ready && p_value <= self.options.alert_budget;
        let suppressed = is_odd && self.hold.is_repeat(input.slot, input.timestamp, statistic);
        self.learn(input, statistic);
        Scored {
            evidence,
            statistic,
            p_value,
            is_anomaly: is_odd && !suppressed,
            suppressed,
            state,
            reasons: self.reasons(&evidence, is_new),
        }
    }

    fn combine(&self, evidence: &[f32; DETECTORS]) -> f32 {
        let severity = evidence[DetectorKind::Severity as usize];
        let strongest = evidence[DetectorKind::Rarity as usize];
        strongest + self.options.severity_weight as f32 * severity + SUM_WEIGHT * evidence.iter().sum::<f32>()
    }

    fn reasons(&self, evidence: &[f32; DETECTORS], is_new: bool) -> [Option<Reason>; 4] {
        let rarity = evidence[DetectorKind::Rarity as usize];
        let severity = evidence[DetectorKind::Severity as usize] * self.options.severity_weight as f32;
        let rare = if is_new { Reason::NewTemplate } else { Reason::RareTemplate };
        let rare = (rarity >= REASON_AT || is_new).then_some(rare);
        let severe = (severity >= REASON_AT).then_some(Reason::Severity);
        match (rare, severe) {
            (Some(rare), Some(severe)) if severity > rarity => [Some(severe), Some(rare), None, None],
            (Some(rare), severe) => [Some(rare), severe, None, None],
            (None, severe) => [severe, None, None, None],
        }
    }

    fn state_at(&mut self, now: Timestamp) -> State {
        if self.is_ready {
            return State::Ready;
        }
        let first = *self.first_event.get_or_insert(now);
        self.is_ready = self.calibration.events() >= self.options.learning_events
            || now.seconds_since(first) >= self.options.learning_secs as f64;
        if self.is_ready { State::Ready } else { State::Learning }
    }

    fn learn(&mut self, input: &Input, statistic: f32) {
        self.rarity.learn(input);
        self.calibration.learn(statistic);
        self.seen_counts.add(input.slot);
        self.seen_bins.add(calibration::bin(statistic));
    }

    /// Learning or ready.
    pub fn state(&self) -> State {
        if self.is_ready { State::Ready } else { State::Learning }
    }

    /// Events learned, ever.
    pub fn events(&self) -> u64 {
        self.calibration.events()
    }

    /// Decayed number of events of a template.
    pub fn decayed_count(&self, slot: usize) -> f64 {
        self.rarity.decayed_count(slot)
    }

    /// What was seen since the last call.
    pub fn take_outbox(&mut self) -> Outbox {
        Outbox {
            counts: self.seen_counts.take().collect(),
            bins: self.seen_bins.take().map(|(bin, count)| (bin as u16, count)).collect(),
        }
    }

    /// Learns what another lane saw; `slot_of` tells where its templates are now, if they still are.
    pub fn absorb(&mut self, counts: impl IntoIterator<Item = (usize, u32)>, bins: &[(u16, u32)], is_ready: bool) {
        for (slot, events) in counts {
            self.rarity.absorb(slot, events);
        }
        for (bin, events) in bins {
            self.calibration.absorb(usize::from(*bin).min(BINS - 1), *events);
        }
        self.is_ready |= is_ready;
    }

    /// What was learned of `from` now belongs to `into`.
    pub fn merge(&mut self, from: usize, into: usize) {
        self.rarity.merge(from, into);
        self.hold.forget(from);
        self.seen_counts.merge(from, into);
    }

    /// The slot is about to hold another template.
    pub fn forget(&mut self, slot: usize) {
        self.rarity.forget(slot);
        self.hold.forget(slot);
        self.seen_counts.clear(slot);
    }

    /// Appends everything learned, bit for bit.
    pub fn checkpoint(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first_event.map_or(i64::MIN, |time| time.0).to_le_bytes());
        out.extend_from_slice(&u32::from(self.is_ready).to_le_bytes());
        self.rarity.checkpoint(out);
        self.calibration.checkpoint(out);
        self.hold.checkpoint(out);
    }

    /// Takes in what [`Self::checkpoint`] wrote.
    ///
    /// # Errors
    /// When the bytes are cut short or hold impossible values; nothing is changed then.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let mut from = StateReader::new(bytes);
        let mut restored = Self::new(self.options);
        let first = from.i64("time of the first event")?;
        restored.first_event = (first != i64::MIN).then_some(Timestamp(first));
        restored.is_ready = from.u32("ready")? != 0;
        restored.rarity.restore(&mut from)?;
        restored.calibration.restore(&mut from)?;
        restored.hold.restore(&mut from)?;
        *self = restored;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::severity::Severity;

    const OPTIONS: ModelOptions = ModelOptions {
        alert_budget: 0.001,
        learning_events: 2_000,
        learning_secs: 1_000,
        hold_secs: 60,
        half_life_events: 50_000,
        calibration_half_life_events: 20_000,
        severity_weight: 0.5,
    };

    fn input(n: u64, slot: usize) -> Input {
        Input { slot, timestamp: Timestamp(n as i64 * 1_000), severity: Severity::NONE }
    }

    fn routine(model: &mut Model, events: std::ops::Range<u64>) {
        for n in events {
            model.observe(&input(n, (n % 7) as usize));
        }
    }

    #[test]
    fn a_new_template_after_learning_is_an_anomaly_with_its_reason_and_its_repeat_is_held() {
        let mut model = Model::new(OPTIONS);
        routine(&mut model, 0..20_000);
        let odd = model.observe(&input(20_000, 99));
        assert!(odd.is_anomaly && !odd.suppressed);
        assert_eq!(odd.reasons[0], Some(Reason::NewTemplate));
        let again = model.observe(&input(20_001, 99));
        assert!(!again.is_anomaly && again.suppressed);
    }

    #[test]
    fn nothing_alerts_while_learning() {
        let mut model = Model::new(OPTIONS);
        routine(&mut model, 0..1_000);
        let odd = model.observe(&input(500, 99));
        assert_eq!((odd.is_anomaly, odd.state), (false, State::Learning));
    }

    #[test]
    fn a_restored_model_goes_on_bit_for_bit() {
        let mut model = Model::new(OPTIONS);
        routine(&mut model, 0..5_000);
        model.observe(&input(5_000, 99));
        let mut bytes = Vec::new();
        model.checkpoint(&mut bytes);
        let mut again = Model::new(OPTIONS);
        again.restore(&bytes).unwrap();
        for n in 5_001..9_000 {
            let slot = if n % 997 == 0 { 50 + n as usize } else { (n % 7) as usize };
            assert_eq!(model.observe(&input(n, slot)), again.observe(&input(n, slot)), "event {n}");
        }
    }

    #[test]
    fn state_bytes_cut_anywhere_are_refused_and_change_nothing() {
        let mut model = Model::new(OPTIONS);
        routine(&mut model, 0..100);
        let mut bytes = Vec::new();
        model.checkpoint(&mut bytes);
        let mut other = Model::new(OPTIONS);
        for cut in (0..bytes.len()).step_by(7) {
            assert!(other.restore(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(other.events(), 0);
        let mut huge = bytes.clone();
        huge[36..40].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(other.restore(&huge).unwrap_err().to_string().contains("rarity counts"));
    }

    #[test]
    fn two_models_that_exchange_what_they_saw_agree_on_counts() {
        let (mut left, mut right) = (Model::new(OPTIONS), Model::new(OPTIONS));
        routine(&mut left, 0..3_000);
        let outbox = left.take_outbox();
        right.absorb(outbox.counts.iter().map(|(slot, n)| (*slot as usize, *n)), &outbox.bins, true);
        assert_eq!(right.events(), 3_000);
        assert!((right.decayed_count(3) / left.decayed_count(3) - 1.0).abs() < 0.1);
        assert_eq!(left.take_outbox(), Outbox::default());
    }
}
