//! Whether an event is kept at its `sample_ratio`: by its id, so that it is the same answer whenever it is asked.

use crate::arithmetic::mix;
use crate::event::EventId;

/// Whether the event is kept. Of many events about `ratio` are, whichever they are; at 1 all.
pub fn is_kept(event: EventId, ratio: f64) -> bool {
    // The upper 53 bits as a share: all that a float holds.
    const SCALE: f64 = 1.0 / (1_u64 << 53) as f64;
    ratio >= 1.0 || (mixed(event) >> 11) as f64 * SCALE < ratio
}

/// Every bit depends on every bit.
fn mixed(event: EventId) -> u64 {
    let place = u64::from(event.run) << 8 | u64::from(event.lane);
    mix(mix(mix(event.number.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ place) ^ event.millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(ratio: f64) -> usize {
        let id = |number| EventId { millis: 1_700_000_000_000 + number / 3, run: 1, lane: 0, number };
        (0..100_000).filter(|number| is_kept(id(*number), ratio)).count()
    }

    #[test]
    fn about_the_ratio_is_kept_and_always_the_same() {
        for ratio in [0.01, 0.1, 0.5, 0.9] {
            let (expected, found) = (ratio * 100_000.0, kept(ratio) as f64);
            // Four standard deviations.
            assert!((found - expected).abs() < 4.0 * (expected * (1.0 - ratio)).sqrt(), "{ratio}: {found}");
            assert_eq!(kept(ratio) as f64, found);
        }
        assert_eq!((kept(1.0), kept(0.0)), (100_000, 0));
    }
}
