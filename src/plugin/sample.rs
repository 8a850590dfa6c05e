//! Which events are kept at their `sample_ratio`, so that those kept stand for all.

use crate::arithmetic::next_random;
use crate::event::TemplateId;

/// Ratios within a factor of two are chosen among for themselves, those below 2⁻⁷ together.
const STRATA: usize = 8;

/// Chooses among the events of one template, in their order: each with just the probability that its ratio says, and of every run of events
/// of about the same ratio, whose ratios add up to one, one.
///
/// What kept events stand for, 1/ratio each, is thus off by about one event's worth, however many there are; had each been chosen for itself,
/// it would be by the root of how many. The choice depends on the template and the ratios alone: the same events give the same answers.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// State of the generator.
    random: u64,
    strata: [Stratum; STRATA],
}

/// The ratios laid end to end cover a line. On every unit of it lies one point by chance, and the event it falls on is kept: Deville and
/// Tillé's ordered pivotal sampling (2000) in its equivalent form after Chauvet (2012).
#[derive(Clone, Copy, Debug, Default)]
struct Stratum {
    /// Where on the running unit the next event begins, 0 to 1.
    place: f64,
    /// Where on it the point lies; before `place` if its event is past.
    point: f64,
}

impl Choice {
    /// For the events of `template`.
    pub fn new(template: TemplateId) -> Self {
        let mut choice = Self { random: template.0, strata: [Stratum::default(); STRATA] };
        let strata = std::array::from_fn(|_| Stratum { place: 0.0, point: chance(&mut choice.random) });
        Self { strata, ..choice }
    }

    /// Whether the next event, of this ratio, is kept. All at 1, none at 0.
    pub fn is_kept(&mut self, ratio: f64) -> bool {
        if ratio >= 1.0 {
            return true;
        }
        // What is no number is 0, and no index.
        let ratio = ratio.max(0.0);
        let random = &mut self.random;
        let stratum = (-ratio.log2()) as usize;
        self.strata.get_mut(stratum.min(STRATA - 1)).is_some_and(|stratum| stratum.is_kept(ratio, random))
    }
}

impl Stratum {
    fn is_kept(&mut self, ratio: f64, random: &mut u64) -> bool {
        let (start, end) = (self.place, self.place + ratio);
        let is_kept = (start..end).contains(&self.point);
        self.place = end;
        if end < 1.0 { is_kept } else { self.on_to_next_unit(start, end - 1.0, is_kept, random) }
    }

    /// The event began at `start` and ends at `end` of the next unit. Kept already, it is not hit again; else it is as often as makes up for that.
    fn on_to_next_unit(&mut self, start: f64, end: f64, is_kept: bool, random: &mut u64) -> bool {
        let chance = chance(random);
        let hit = if is_kept { 0.0 } else { end / start };
        self.place = end;
        self.point = if chance < hit { 0.0 } else { end + (chance - hit) / (1.0 - hit) * (1.0 - end) };
        is_kept || chance < hit
    }
}

/// A number from 0 to less than 1 by chance.
fn chance(random: &mut u64) -> f64 {
    // The upper 53 bits: all that a float holds.
    const SCALE: f64 = 1.0 / (1_u64 << 53) as f64;
    (next_random(random) >> 11) as f64 * SCALE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each of the ratios' events was kept, of so many templates.
    fn kept(ratios: &[f64], templates: u64) -> Vec<u64> {
        let mut kept = vec![0; ratios.len()];
        for template in 0..templates {
            let mut choice = Choice::new(TemplateId(template));
            for (kept, ratio) in kept.iter_mut().zip(ratios) {
                *kept += u64::from(choice.is_kept(*ratio));
            }
        }
        kept
    }

    #[test]
    fn each_event_is_kept_as_often_as_its_ratio_says() {
        let ratios = [0.3, 0.9, 1.0, 0.01, 0.5, 0.999, 0.0, 0.4, 0.4, 0.4, 0.7, 0.02, 0.95, 0.6];
        let templates = 100_000.0;
        for (ratio, kept) in ratios.into_iter().zip(kept(&ratios, 100_000)) {
            // Four standard deviations.
            let off = 4.0 * (templates * ratio * (1.0 - ratio)).sqrt();
            assert!((kept as f64 - templates * ratio).abs() <= off, "{ratio}: {kept}");
        }
    }

    #[test]
    fn what_is_kept_of_one_template_stands_for_all_but_one_events_worth() {
        for ratio in [0.01, 0.03, 0.1, 0.37, 0.9] {
            for template in 0..100 {
                let mut choice = Choice::new(TemplateId(template));
                let kept = (0..5_000).filter(|_| choice.is_kept(ratio)).count();
                assert!((kept as f64 / ratio - 5_000.0).abs() <= 1.0 / ratio + 1e-6, "{ratio}: {kept}");
            }
        }
    }

    #[test]
    fn ratios_that_change_from_event_to_event_restore_as_well() {
        let mut choice = Choice::new(TemplateId(1));
        let ratios = (0..10_000).map(|n| if n % 7 == 0 { 0.4 } else { 0.01 });
        let restored: f64 = ratios.filter(|ratio| choice.is_kept(*ratio)).map(|ratio| 1.0 / ratio).sum();
        assert!((restored - 10_000.0).abs() <= 1.0 / 0.4 + 1.0 / 0.01 + 1e-6, "{restored}");
    }

    #[test]
    fn events_that_take_turns_are_not_always_the_same_one() {
        let mut choice = Choice::new(TemplateId(7));
        let kept: Vec<bool> = (0..20_000).map(|_| choice.is_kept(0.01)).collect();
        let of_each = [0, 1].map(|turn| kept.iter().skip(turn).step_by(2).filter(|kept| **kept).count());
        assert!(of_each.iter().all(|kept| (60..140).contains(kept)), "{of_each:?}");
    }

    #[test]
    fn odd_ratios_are_answered() {
        let mut choice = Choice::new(TemplateId(0));
        for ratio in [f64::NAN, -1.0, 0.0, f64::NEG_INFINITY] {
            assert!(!choice.is_kept(ratio), "{ratio}");
        }
        assert!(choice.is_kept(f64::INFINITY) && choice.is_kept(7.0));
        assert!((0..10_000).filter(|_| choice.is_kept(1e-6)).count() <= 1);
    }
}
