//! Models of several lanes and hosts as one; what that means for each detector is said in [`joining`](crate::detect::joining).

use super::Model;
use crate::detect::joining::{Moves, Scope};
use crate::event::Timestamp;

impl Model {
    /// As if what `other` saw had been seen, too. Call [`Self::settle`] after the last.
    pub fn join(&mut self, other: &Self, moves: &Moves, scope: Scope) {
        self.numeric.join(&other.numeric, moves);
        self.categorical.join(&other.categorical, moves);
        self.sequence.join(&other.sequence, moves);
        self.calibrations.join(&other.calibrations);
        self.season.join(&other.season, moves);
        if scope == Scope::Host {
            let (own, theirs) = (self.events() as f64, other.events() as f64);
            self.threshold.join(&other.threshold, theirs / (own + theirs).max(1.0));
            self.rarity.join(&other.rarity, moves);
            self.rate.join(&other.rate, moves);
            self.calibration.join(&other.calibration);
            self.shares.join(&other.shares);
            self.learned.elapsed_micros = self.learned.elapsed_micros.max(other.learned.elapsed_micros);
        }
        self.is_ready |= other.is_ready;
    }

    /// Brings what was joined down to what one host can have learned; `slots` is one more than the highest slot.
    pub fn settle(&mut self, slots: usize) {
        self.rate.settle();
        self.numeric.settle(slots);
        self.rarity.settle();
        self.calibrations.settle();
        self.calibration.settle();
        self.shares.settle();
        self.threshold.settle();
    }

    /// What was usual at an hour of the week until `from` is so at the same hour of the week of `to`, too.
    pub fn move_seasons_on(&mut self, from: Timestamp, to: Timestamp) {
        self.season.move_on(from, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Input;
    use crate::detect::joining::Moved;
    use crate::detect::model::tests::OPTIONS;
    use crate::detect::value::Values;
    use crate::event::State;

    fn input(model: &Model, n: u64, slot: usize) -> Input {
        let text = format!("{}ms", 10 + n % 5);
        let values = Values::of([text.as_bytes(), b"root"].into_iter(), model.wanted_words(slot));
        Input { slot, timestamp: Timestamp(n as i64 * 100_000), values, ..Input::default() }
    }

    fn learned(slots: std::ops::Range<usize>, events: u64) -> Model {
        let mut model = Model::new(OPTIONS);
        for n in 0..events {
            let slot = slots.start + n as usize % slots.len();
            model.observe(&input(&model, n, slot));
        }
        model
    }

    fn moved_by(by: usize, slots: usize) -> Moves {
        Moves::new((0..slots).map(|slot| Some(Moved { slot: slot + by, keeps_wildcards: true })).collect())
    }

    fn bytes(model: &Model) -> Vec<u8> {
        let mut bytes = Vec::new();
        model.checkpoint(&mut bytes);
        bytes
    }

    #[test]
    fn one_host_joined_to_nothing_scores_as_it_did() {
        let mut old = learned(0..7, 20_000);
        let mut new = Model::new(OPTIONS);
        new.join(&old, &moved_by(3, 7), Scope::Host);
        new.settle(10);
        assert_eq!((new.state(), new.events()), (State::Ready, 20_000));
        let (mut alerts, mut different) = (0, 0);
        for n in 20_000..24_000u64 {
            let before = old.observe(&input(&old, n, n as usize % 7));
            let after = new.observe(&input(&new, n, n as usize % 7 + 3));
            alerts += u32::from(after.is_anomaly);
            different += u32::from((before.statistic - after.statistic).abs() > 0.2);
        }
        assert!(alerts <= 8 && different < 400, "{alerts} alerts, {different} of 4,000 scored otherwise");
        let odd = new.observe(&input(&new, 24_000, 99));
        assert!(odd.is_anomaly, "{odd:?}");
    }

    #[test]
    fn a_host_that_does_what_one_of_two_did_is_quiet() {
        let mut both = Model::new(OPTIONS);
        both.join(&learned(0..7, 20_000), &moved_by(0, 7), Scope::Host);
        both.join(&learned(0..5, 20_000), &moved_by(7, 5), Scope::Host);
        both.settle(12);
        assert_eq!(both.state(), State::Ready);
        assert!((both.decayed_count(0) - both.decayed_count(11) * 5.0 / 7.0).abs() < 1.0);
        for (first, slots) in [(0, 7), (7, 5)] {
            let mut model = both.clone();
            let alerts = (0..12_000u64).filter(|n| {
                let slot = first + *n as usize % slots;
                model.observe(&input(&model, *n, slot)).is_anomaly
            });
            let alerts = alerts.count();
            assert!(alerts <= 24, "{alerts} of 12,000 from slot {first} on");
        }
    }

    #[test]
    fn joined_in_the_same_order_it_is_the_same_to_the_bit() {
        let join = || {
            let mut model = Model::new(OPTIONS);
            model.join(&learned(0..7, 5_000), &moved_by(0, 7), Scope::Host);
            model.join(&learned(0..5, 3_000), &moved_by(2, 5), Scope::Host);
            model.settle(7);
            bytes(&model)
        };
        assert_eq!(join(), join());
    }

    #[test]
    fn lanes_of_one_engine_do_not_count_twice_what_they_exchange() {
        let (mut first, mut second) = (learned(0..7, 5_000), learned(0..7, 5_000));
        let outbox = second.take_outbox();
        first.absorb(&outbox, |slot| Some(slot as usize), true);
        let events = first.events();
        first.join(&second, &moved_by(0, 7), Scope::Lane);
        first.settle(7);
        assert_eq!(first.events(), events);
    }
}
