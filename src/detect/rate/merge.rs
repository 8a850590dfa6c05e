//! Windows of a template that another one takes in: those that run are added, those that closed as if both had come by themselves.

use super::{Counts, Rate, Sums, WINDOWS, Window};

impl Sums {
    /// The square of a sum has twice the product in it; of both, apart from chance, the product of the means.
    fn take_in(&mut self, gone: Self, windows: f32) {
        let product = if windows > 0.0 { self.sum * gone.sum / windows } else { 0.0 };
        self.squares += gone.squares + 2.0 * product;
        self.sum += gone.sum;
    }
}

impl Window {
    fn take_in(&mut self, gone: &Self) {
        self.windows = self.windows.max(gone.windows);
        self.counted.take_in(gone.counted, self.windows);
        self.plain.take_in(gone.plain, self.windows);
        self.running += gone.running;
        self.before += gone.before;
        self.events += gone.events;
        self.events_before += gone.events_before;
        self.set_limit();
    }
}

impl Counts {
    fn go_to(&mut self, number: i64, decays: [f32; WINDOWS]) {
        if self.number != number {
            self.turn(number, decays);
        }
    }

    /// What became a part of this.
    pub(super) fn take_in(&mut self, mut gone: Self, decays: [f32; WINDOWS]) {
        if self.number == 0 {
            *self = gone;
            return;
        }
        let number = self.number.max(gone.number);
        self.go_to(number, decays);
        gone.go_to(number, decays);
        self.whole_from = self.whole_from.min(gone.whole_from);
        self.windows.iter_mut().zip(&gone.windows).for_each(|(window, gone)| window.take_in(gone));
    }
}

impl Rate {
    /// What was learned of the template in `from` is that of the one in `into`.
    pub(super) fn take_in(&mut self, from: usize, into: usize) {
        let Some(gone) = self.templates.get_mut(from).map(std::mem::take).filter(|gone| gone.number != 0) else {
            return;
        };
        let decays = self.decays;
        if let Some(counts) = self.counts(into) {
            counts.take_in(gone, decays);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Detector, Input};
    use crate::event::Timestamp;

    fn see(rate: &mut Rate, millis: i64, slot: usize) -> f32 {
        rate.observe(&Input { slot, timestamp: Timestamp::from_millis(millis), surprise: 1.0, ..Input::default() })
    }

    /// For an hour three events of 0 every ten seconds, and of 1 as many as may come.
    fn two() -> Rate {
        let mut rate = Rate::default();
        for n in 0..360i64 {
            (0..3).for_each(|k| _ = see(&mut rate, n * 10_000 + k * 3_000 + 1, 0));
            (0..n % 5).for_each(|k| _ = see(&mut rate, n * 10_000 + k * 2_000 + 2, 1));
        }
        rate
    }

    #[test]
    fn a_window_that_runs_goes_on_in_the_template_that_takes_it_in() {
        let (mut one, mut merged) = (two(), two());
        for n in 0..40 {
            see(&mut one, 3_600_000 + n * 10, 0);
            see(&mut merged, 3_600_000 + n * 10, 0);
        }
        merged.merge(0, 1);
        let (alone, together) = (see(&mut one, 3_600_500, 0), see(&mut merged, 3_600_500, 1));
        assert!(alone > 4.0 && together > 4.0, "{alone} {together}");
        assert!(merged.excess().unwrap().observed > 40.0, "{:?}", merged.excess());
        assert_eq!(see(&mut merged, 3_600_600, 0), 0.0, "nothing is left where it was");
    }

    #[test]
    fn what_is_usual_of_two_together_is_what_it_would_have_been_of_one() {
        let (mut apart, mut as_one) = (two(), Rate::default());
        for n in 0..360i64 {
            (0..3).for_each(|k| _ = see(&mut as_one, n * 10_000 + k * 3_000 + 1, 0));
            (0..n % 5).for_each(|k| _ = see(&mut as_one, n * 10_000 + k * 2_000 + 2, 0));
        }
        apart.merge(1, 0);
        let windows = |rate: &Rate| rate.templates[0].windows;
        for (merged, known) in windows(&apart).iter().zip(windows(&as_one)) {
            for (merged, known) in [(merged.counted, known.counted), (merged.plain, known.plain)] {
                assert!((merged.sum / known.sum - 1.0).abs() < 0.02, "{merged:?} {known:?}");
                assert!((merged.squares / known.squares - 1.0).abs() < 0.05, "{merged:?} {known:?}");
            }
            assert!((merged.limit / known.limit - 1.0).abs() < 0.05, "{merged:?} {known:?}");
        }
    }

    #[test]
    fn what_was_seen_long_ago_is_brought_to_now_and_what_never_was_changes_nothing() {
        let mut rate = two();
        let before = rate.templates[0];
        rate.merge(7, 0);
        assert_eq!(rate.templates[0], before);
        rate.merge(0, 9);
        assert_eq!(rate.templates[9], before);
        (0..10).for_each(|n| _ = see(&mut rate, 4_500_000 + n * 100, 3));
        rate.merge(3, 9);
        let [short, _] = rate.templates[9].windows;
        assert!(short.running == 10.0 && short.before == 0.0 && short.counted.sum < before.windows[0].counted.sum);
    }
}
