//! What a template or a stream said lately, so that a calibration learns an incident once and not at each of its lines.

use super::extremes::larger;
use super::hold::STRONGER_BY;
use super::{StateError, StateReader};
use crate::event::Timestamp;

/// The strongest within the hold time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Recent {
    /// Seconds since the epoch, plus one, in a circle of 136 years; 0: never.
    second: u32,
    nats: f32,
}

impl Recent {
    /// Bytes of [`Self::checkpoint`].
    pub(super) const BYTES: usize = 8;

    /// What is to be learned of `nats`: all of it, or nothing when it repeats what came within `hold_secs`.
    #[inline]
    pub(super) fn fresh(&mut self, at: Timestamp, nats: f32, hold_secs: u32) -> f32 {
        let second = second_of(at);
        if self.second != 0 && second.abs_diff(self.second) < hold_secs && nats < self.nats + STRONGER_BY {
            return 0.0;
        }
        *self = Self { second, nats };
        nats
    }

    /// Takes in what became part of this: within the hold time the stronger from the later one on, else the later one.
    pub(super) fn merge(&mut self, gone: Self, hold_secs: u32) {
        let (earlier, later) = if self.second <= gone.second { (*self, gone) } else { (gone, *self) };
        let is_held = later.second - earlier.second < hold_secs && earlier.second != 0;
        *self = Self { nats: if is_held { larger(later.nats, earlier.nats) } else { later.nats }, ..later };
    }

    pub(super) fn checkpoint(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.second.to_le_bytes());
        out.extend_from_slice(&self.nats.to_le_bytes());
    }

    pub(super) fn restore(from: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok(Self { second: from.u32("second of a repeat")?, nats: from.f32("nats of a repeat")? })
    }
}

/// As [`Recent::second`] keeps it.
#[inline]
fn second_of(at: Timestamp) -> u32 {
    // Most times are after the epoch, where it takes fewer instructions.
    let seconds = if at.0 >= 0 { at.0.cast_unsigned() / 1_000_000 } else { at.0.div_euclid(1_000_000).cast_unsigned() };
    (seconds as u32).wrapping_add(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_down_before_the_epoch_and_after_and_never_none() {
        for micros in [i64::MIN, -1_000_001, -1_000_000, -1, 0, 999_999, 1_000_000, i64::MAX] {
            let expected = (micros.div_euclid(1_000_000) as u32).wrapping_add(1).max(1);
            assert_eq!(second_of(Timestamp(micros)), expected, "{micros}");
        }
    }

    #[test]
    fn a_repeat_within_the_hold_time_is_not_learned_unless_it_is_stronger() {
        let at = |second: i64| Timestamp(second * 1_000_000);
        let mut recent = Recent::default();
        assert_eq!(recent.fresh(at(0), 5.0, 60), 5.0);
        assert_eq!(recent.fresh(at(59), 5.9, 60), 0.0);
        assert_eq!(recent.fresh(at(59), 6.0, 60), 6.0);
        assert_eq!(recent.fresh(at(119), 1.0, 60), 1.0);
        assert_eq!(recent.fresh(at(119), 1.0, 0), 1.0);
        let future = 253_402_300_000;
        assert_eq!(recent.fresh(at(future), 5.0, 60), 5.0);
        assert_eq!(recent.fresh(at(future + 59), 5.0, 60), 0.0);
        assert_eq!(recent.fresh(at(future + 61), 5.0, 60), 5.0);
    }

    #[test]
    fn what_becomes_part_of_another_is_no_news_of_it() {
        let said = |second: u32, nats: f32| Recent { second, nats };
        for (a, b, merged) in [
            (said(100, 5.0), said(130, 3.0), said(130, 5.0)),
            (said(130, 3.0), said(100, 5.0), said(130, 5.0)),
            (said(100, 5.0), said(200, 3.0), said(200, 3.0)),
            (said(0, 0.0), said(20, 3.0), said(20, 3.0)),
            (said(20, 3.0), said(0, 0.0), said(20, 3.0)),
        ] {
            let mut recent = a;
            recent.merge(b, 60);
            assert_eq!(recent, merged);
        }
    }
}
