//! A number far from what its wildcard held before.
//!
//! Numbers are half-octaves ([`super::value`]). Of each wildcard the range is kept, which widens at once and shrinks slowly
//! towards the mean, the mean distance from the mean, and how often the range was left: a counter that only grows leaves it at every event, and that is
//! no surprise. Evidence of a number beyond the range: most of −ln of that share, and one and a half nats a step beyond, measured in mean distances.
//! A number below the range has to be twice as far and counts half: smaller is rarely worse. What leaves the range again and again is usual none the less
//! (`recurring`).

mod join;
mod recurring;

use super::extremes::{larger, smaller};
use super::logarithm::ln;
use super::runs::Runs;
use super::value;
use super::{Detector, Input, StateError, StateReader};
use crate::event::DetectorKind;
use recurring::{Octave, Recurring};

/// Numbers to have seen in a wildcard before one is called far.
const LEAST_NUMBERS: f32 = 100.0;

/// From here on the share of numbers outside the range is counted.
const RANGE_NUMBERS: f32 = 20.0;

/// What is kept of the count of numbers with each further one: a half-life of some 1,400.
const KEPT: f32 = 1.0 - 1.0 / 2_000.0;

/// How much of its distance from the mean the range loses with each number.
const SHRINK: f32 = 0.01;

/// Least weight of a number in the means.
const LEAST_WEIGHT: f32 = 0.005;

/// Of −ln of the share of numbers outside the range.
const SHARE_WEIGHT: f32 = 0.9;

/// Nats a step beyond.
const STEP_NATS: f32 = 1.5;

/// What a number below the range counts.
const BELOW: f32 = 0.5;

/// Wildcards that are looked at together.
const LANES: usize = 4;

/// One figure of each of them.
type Lanes = [f32; LANES];
const _: () = assert!(LANES == 4, "they are named one by one");

/// What is known of the numbers of a few neighbouring wildcards: one figure after the other, so that the processor works on all at once.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(align(32))]
struct Group {
    numbers: Lanes,
    outside: Lanes,
    high: Lanes,
    low: Lanes,
    mean: Lanes,
    distance: Lanes,
}

/// A number and the range it left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlier {
    /// Which wildcard.
    pub place: usize,
    /// The range, as codes.
    pub low: f32,
    /// The range, as codes.
    pub high: f32,
}

/// Ranges of every template's wildcards.
#[derive(Debug, Clone, Default)]
pub struct Numeric {
    groups: Runs<Group>,
    recurring: Recurring,
    outlier: Option<Outlier>,
}

impl Group {
    /// Whether a number may be far from its range; `codes` has 0 where there is none.
    #[inline]
    fn is_left(&self, codes: &Lanes) -> bool {
        let one = |lane: usize| {
            let (code, above, below) = (codes[lane], codes[lane] - self.high[lane], self.low[lane] - codes[lane]);
            (code > 0.0) & (self.numbers[lane] >= LEAST_NUMBERS) & ((above > 1.0) | (below * BELOW > 1.0))
        };
        // Each is worked out, whatever the others say: there is nothing to foresee.
        one(0) | one(1) | one(2) | one(3)
    }

    /// Evidence of a lane's number before slack; 0 within the range.
    fn evidence(&self, lane: usize, number: f32) -> f32 {
        let (above, below) = (number - self.high[lane], (self.low[lane] - number) * BELOW);
        let beyond = larger(above, below);
        if number <= 0.0 || beyond <= 1.0 || self.numbers[lane] < LEAST_NUMBERS {
            return 0.0;
        }
        let share = (self.outside[lane] + 1.0) / (self.numbers[lane] + 2.0);
        let evidence = SHARE_WEIGHT * -ln(share) + STEP_NATS * (beyond - 1.0) / (self.distance[lane] + 1.0);
        if above > 0.0 { evidence } else { evidence * BELOW }
    }

    /// The lane whose number gives the most evidence, and how much; those that are usual give none. `octave` is that of a lane's number.
    #[cold]
    fn strongest(
        &self,
        codes: &Lanes,
        recurring: &mut Recurring,
        octave: impl Fn(usize, f32) -> Octave,
    ) -> (usize, f32) {
        let mut most = (0, 0.0);
        for (lane, code) in codes.iter().enumerate() {
            let evidence = self.evidence(lane, *code);
            let outward = if *code > self.high[lane] { 1 } else { -1 };
            if evidence > 0.0 && !recurring.see(octave(lane, *code), outward) && evidence > most.1 {
                most = (lane, evidence);
            }
        }
        most
    }

    /// Without branches but for first numbers: lanes that have none take what is chosen for them.
    #[inline]
    #[expect(clippy::needless_range_loop, reason = "seven arrays go side by side")]
    fn learn(&mut self, codes: &Lanes) {
        let begins = |lane: usize| (codes[lane] > 0.0) & (self.numbers[lane] == 0.0);
        if begins(0) | begins(1) | begins(2) | begins(3) {
            self.begin(codes);
        }
        for lane in 0..LANES {
            let code = codes[lane];
            let (high, low, mean) = (self.high[lane], self.low[lane], self.mean[lane]);
            let (numbers, outside, distance) = (self.numbers[lane], self.outside[lane], self.distance[lane]);
            let is_outside = (code > high + 1.0) | (code < low - 2.0);
            let left = outside * KEPT + if is_outside { 1.0 } else { 0.0 };
            let left = if numbers >= RANGE_NUMBERS { left } else { outside };
            let count = numbers * KEPT + 1.0;
            let weight = larger(1.0 / count, LEAST_WEIGHT);
            let middle = mean + (code - mean) * weight;
            let spread = distance + ((code - middle).abs() - distance) * weight;
            let top = larger(code, high - (high - larger(middle, code)) * SHRINK);
            let bottom = smaller(code, low + (smaller(middle, code) - low) * SHRINK);
            let chosen = |new: f32, old: f32| if code > 0.0 { new } else { old };
            self.numbers[lane] = chosen(count, numbers);
            self.outside[lane] = chosen(left, outside);
            self.high[lane] = chosen(top, high);
            self.low[lane] = chosen(bottom, low);
            self.mean[lane] = chosen(middle, mean);
            self.distance[lane] = chosen(spread, distance);
        }
    }

    /// Lanes whose first numbers these are: they are all there is to compare with.
    #[cold]
    fn begin(&mut self, codes: &Lanes) {
        for (lane, code) in codes.iter().enumerate() {
            if *code > 0.0 && self.numbers[lane] == 0.0 {
                (self.high[lane], self.low[lane], self.mean[lane]) = (*code, *code, *code);
            }
        }
    }

    fn figures(&self) -> [&Lanes; 6] {
        [&self.numbers, &self.outside, &self.high, &self.low, &self.mean, &self.distance]
    }

    fn figures_mut(&mut self) -> [&mut Lanes; 6] {
        let Self { numbers, outside, high, low, mean, distance } = self;
        [numbers, outside, high, low, mean, distance]
    }
}

impl Numeric {
    /// The number the last event's evidence rests on, if it gave any.
    pub fn outlier(&self) -> Option<Outlier> {
        self.outlier
    }

    /// The range of each wildcard of a slot, low and high, for the other lanes; where no number was seen, low is above high.
    pub(super) fn ranges(&self, slot: usize) -> impl Iterator<Item = (f32, f32)> + '_ {
        self.groups.get(slot).iter().flat_map(|group| {
            (0..LANES)
                .map(|lane| if group.numbers[lane] > 0.0 { (group.low[lane], group.high[lane]) } else { (1.0, 0.0) })
        })
    }

    /// As [`restore`](Detector::restore), of what was written before it was known what leaves its range again and again.
    pub(super) fn restore_ranges(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        *self = Self { groups: groups_of(from)?, ..Self::default() };
        Ok(())
    }

    /// Widens the ranges of a slot by what another lane saw.
    pub(super) fn absorb(&mut self, slot: usize, ranges: &[(f32, f32)]) {
        let groups = self.groups.of(slot, ranges.len().div_ceil(LANES));
        for (group, ranges) in groups.iter_mut().zip(ranges.chunks(LANES)) {
            for (lane, (low, high)) in ranges.iter().enumerate() {
                if group.numbers[lane] > 0.0 && low <= high {
                    group.high[lane] = group.high[lane].max(*high);
                    group.low[lane] = group.low[lane].min(*low);
                }
            }
        }
    }
}

impl Detector for Numeric {
    const KIND: DetectorKind = DetectorKind::Numeric;

    #[inline]
    fn observe(&mut self, input: &Input) -> f32 {
        self.outlier = None;
        let numbers = &input.values.numbers;
        let length = value::length(numbers);
        if length == 0 {
            return 0.0;
        }
        self.recurring.pass();
        let mut strongest = 0.0;
        let recurring = &mut self.recurring;
        let groups = self.groups.of(input.slot, length.div_ceil(LANES));
        for (first, (group, numbers)) in (0..).step_by(LANES).zip(groups.iter_mut().zip(numbers.chunks_exact(LANES))) {
            let codes = std::array::from_fn(|lane| numbers.get(lane).copied().map_or(0.0, f32::from));
            if group.is_left(&codes) {
                let octave = |lane: usize, code: f32| Octave::of(input.slot, first + lane, code);
                let (lane, evidence) = group.strongest(&codes, recurring, octave);
                if evidence > strongest {
                    strongest = evidence;
                    self.outlier = Some(Outlier { place: first + lane, low: group.low[lane], high: group.high[lane] });
                }
            }
            group.learn(&codes);
        }
        strongest
    }

    fn merge(&mut self, from: usize, into: usize) {
        let gone: Vec<Group> = self.groups.get(from).to_vec();
        self.groups.forget(from);
        self.recurring.merge(from, into);
        // Places stay what they were; where they did not, nothing is known of them.
        let kept = self.groups.of(into, gone.len());
        kept.iter_mut().zip(&gone).for_each(|(group, gone)| group.unite(gone));
    }

    fn forget(&mut self, slot: usize) {
        self.groups.forget(slot);
        self.recurring.forget(slot);
    }

    fn checkpoint(&self, out: &mut Vec<u8>) {
        self.groups.checkpoint(out, |group, out| {
            group.figures().into_iter().flatten().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        });
        self.recurring.checkpoint(out);
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let groups = groups_of(from)?;
        *self = Self { groups, recurring: Recurring::restore(from)?, outlier: None };
        Ok(())
    }
}

fn groups_of(from: &mut StateReader<'_>) -> Result<Runs<Group>, StateError> {
    let what = "numeric ranges";
    Runs::restore(from, what, 24 * LANES, |from| {
        let mut group = Group::default();
        for value in group.figures_mut().into_iter().flatten() {
            *value = from.f32(what)?;
        }
        Ok(group)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::arithmetic::next_random;
    use crate::detect::value::Values;

    /// State bytes as they were before it was known what leaves its range again and again.
    pub(in crate::detect) fn ranges_only(numeric: &Numeric) -> Vec<u8> {
        let (mut bytes, mut recurring) = (Vec::new(), Vec::new());
        numeric.checkpoint(&mut bytes);
        numeric.recurring.checkpoint(&mut recurring);
        bytes.truncate(bytes.len() - recurring.len());
        bytes
    }

    /// A lane by itself, with a branch for what is no number and for the first.
    fn learn_one(group: &mut Group, lane: usize, code: f32) {
        if code <= 0.0 {
            return;
        }
        if group.numbers[lane] == 0.0 {
            (group.high[lane], group.low[lane], group.mean[lane]) = (code, code, code);
        }
        let (high, low) = (group.high[lane], group.low[lane]);
        if group.numbers[lane] >= RANGE_NUMBERS {
            let is_outside = code > high + 1.0 || code < low - 2.0;
            group.outside[lane] = group.outside[lane] * KEPT + if is_outside { 1.0 } else { 0.0 };
        }
        group.numbers[lane] = group.numbers[lane] * KEPT + 1.0;
        let weight = larger(1.0 / group.numbers[lane], LEAST_WEIGHT);
        group.mean[lane] += (code - group.mean[lane]) * weight;
        let middle = group.mean[lane];
        group.distance[lane] += ((code - middle).abs() - group.distance[lane]) * weight;
        group.high[lane] = larger(code, high - (high - larger(middle, code)) * SHRINK);
        group.low[lane] = smaller(code, low + (smaller(middle, code) - low) * SHRINK);
    }

    #[test]
    fn four_lanes_at_once_learn_what_each_would_by_itself() {
        let (mut state, mut group, mut twin) = (3u64, Group::default(), Group::default());
        for _ in 0..20_000 {
            let random = next_random(&mut state);
            // No number in one lane of four, and in the last none for long.
            let code = |lane: usize| (random >> (16 * lane)) as u8 % (50 + 60 * lane as u8);
            let is_here = |lane: usize| random >> (16 * lane + 8) & 3 != 0 && (lane < 3 || random >> 56 < 4);
            let codes: Lanes = std::array::from_fn(|lane| if is_here(lane) { f32::from(code(lane)) } else { 0.0 });
            group.learn(&codes);
            (0..LANES).for_each(|lane| learn_one(&mut twin, lane, codes[lane]));
            let bits = |group: &Group| group.figures().map(|figure| figure.map(f32::to_bits));
            assert_eq!(bits(&group), bits(&twin), "{codes:?}");
        }
    }

    fn see(numeric: &mut Numeric, text: &str) -> f32 {
        let values = Values::of([&b"root"[..], text.as_bytes()].into_iter(), 0);
        numeric.observe(&Input { values, ..Input::default() })
    }

    #[test]
    fn a_thousandfold_is_told_and_a_tenth_more_is_not() {
        let mut numeric = Numeric::default();
        assert!((0..500).all(|n| see(&mut numeric, &format!("{}ms", 10 + n % 5)) == 0.0));
        assert_eq!(see(&mut numeric, "15ms"), 0.0);
        assert!(see(&mut numeric, "12s") > 8.0, "a thousand times as long");
        assert_eq!(see(&mut numeric, "16ms"), 0.0);
    }

    #[test]
    fn the_first_numbers_and_text_are_no_outliers() {
        let mut numeric = Numeric::default();
        assert!((0..90).all(|n| see(&mut numeric, &"9".repeat(1 + n % 17)) == 0.0));
        assert_eq!(see(&mut numeric, "NaN"), 0.0);
        assert_eq!(see(&mut numeric, &"9".repeat(400)), 0.0);
    }

    #[test]
    fn a_template_with_fewer_numbers_brings_what_it_knows() {
        let mut numeric = Numeric::default();
        let see = |numeric: &mut Numeric, slot: usize, texts: &[&str]| {
            let values = Values::of(texts.iter().map(|text| text.as_bytes()), 0);
            numeric.observe(&Input { slot, values, ..Input::default() })
        };
        (0..500).for_each(|n| _ = see(&mut numeric, 1, &[&(100 + n % 100).to_string()]));
        see(&mut numeric, 0, &["a", "b", "c", "d", "7"]);
        numeric.merge(1, 0);
        assert!(see(&mut numeric, 0, &["99000000"]) > 8.0);
        assert_eq!(see(&mut numeric, 1, &["99000000"]), 0.0, "nothing is left where it was");
    }

    #[test]
    fn a_number_of_a_hundred_digits_is_far_from_one_of_three_and_hostile_ones_are_fine() {
        let mut numeric = Numeric::default();
        (0..500).for_each(|n| _ = see(&mut numeric, &(100 + n % 100).to_string()));
        for digits in [19, 20, 38, 39, 100, 400, 60_000] {
            let evidence = see(&mut numeric.clone(), &"9".repeat(digits));
            assert!(evidence > 8.0 && evidence.is_finite(), "{digits}: {evidence}");
        }
        for odd in ["NaN", "inf", "-inf", "1e400", "99999999999999999999e9", ""] {
            assert_eq!(see(&mut numeric.clone(), odd), 0.0, "{odd}");
        }
        // Ids of nineteen and twenty digits are as usual as they come.
        let mut ids = Numeric::default();
        (0..500u64).for_each(|n| _ = see(&mut ids, &(u64::MAX - n * 1_000_000_007).to_string()));
        assert_eq!(see(&mut ids, "18446744073709551615"), 0.0);
    }

    #[test]
    fn a_first_line_without_a_number_at_a_wildcard_does_not_blind_it() {
        let mut numeric = Numeric::default();
        let mut see = |last: &str| {
            let texts = [b"a", b"b", b"c", b"d", last.as_bytes()];
            numeric.observe(&Input { values: Values::of(texts.into_iter(), 0), ..Input::default() })
        };
        see("10.0.0.1");
        assert!((0..500).all(|n| see(&(100 + n % 100).to_string()) == 0.0));
        assert!(see("99000000") > 8.0);
    }

    /// Integers from 1 to 1,000, evenly, as text.
    fn evenly(count: u64) -> impl Iterator<Item = String> {
        let mut state = 3u64;
        (0..count).map(move |_| {
            let number = next_random(&mut state) % 1_000 + 1;
            number.to_string()
        })
    }

    #[test]
    fn values_seen_many_times_are_usual_however_seldom_they_come_and_one_beyond_them_is_told() {
        let mut numeric = Numeric::default();
        let texts: Vec<_> = evenly(60_000).collect();
        texts[..20_000].iter().for_each(|text| _ = see(&mut numeric, text));
        let odd: Vec<_> = texts[20_000..].iter().filter(|text| see(&mut numeric, text) > 0.0).collect();
        assert!(odd.is_empty(), "{odd:?}");
        assert!(see(&mut numeric, "1000000") > 5.0);
    }

    #[test]
    fn what_was_far_for_a_while_is_told_again_when_it_comes_back_long_after() {
        let mut numeric = Numeric::default();
        (0..500).for_each(|_| _ = see(&mut numeric, "10"));
        let incident = |numeric: &mut Numeric| -> f32 {
            (0..200).map(|n| see(numeric, if n % 40 == 0 { "100000" } else { "10" })).fold(0.0, f32::max)
        };
        assert!(incident(&mut numeric) > 8.0);
        (0..5_000).for_each(|_| _ = see(&mut numeric, "10"));
        assert!(incident(&mut numeric) > 5.0);
    }

    #[test]
    fn what_is_usual_goes_over_to_what_takes_a_template_in_and_is_forgotten_with_it_and_kept_in_a_checkpoint() {
        let mut numeric = Numeric::default();
        evenly(20_000).for_each(|text| _ = see(&mut numeric, &text));
        let in_slot = |numeric: &mut Numeric, slot: usize, text: &str| {
            let values = Values::of([&b"root"[..], text.as_bytes()].into_iter(), 0);
            numeric.observe(&Input { slot, values, ..Input::default() })
        };
        numeric.merge(0, 5);
        let (mut bytes, mut again) = (Vec::new(), Numeric::default());
        numeric.checkpoint(&mut bytes);
        again.restore(&mut StateReader::new(&bytes)).unwrap();
        let narrow = |numeric: &mut Numeric, slot: usize| {
            (0..500).for_each(|_| _ = in_slot(numeric, slot, "900"));
            in_slot(numeric, slot, "2")
        };
        assert_eq!(narrow(&mut again, 5), 0.0);
        numeric.forget(5);
        assert!(narrow(&mut numeric, 5) > 0.0);
    }

    #[test]
    fn a_growing_counter_is_no_surprise_and_a_range_shrinks_back() {
        let mut numeric = Numeric::default();
        let strongest = (1..60u64).map(|n| see(&mut numeric, &(1u64 << n).to_string())).fold(0.0, f32::max);
        assert!(strongest < 3.0, "{strongest}");
        let mut numeric = Numeric::default();
        (0..500).for_each(|_| _ = see(&mut numeric, "10"));
        let first = see(&mut numeric, "100000");
        (0..2_000).for_each(|_| _ = see(&mut numeric, "10"));
        let again = see(&mut numeric, "100000");
        assert!(first > 8.0 && again > first * 0.5, "{first} {again}");
    }
}
