//! Events that another lane saw, as if they had come here one after another: they age what was learned, and the earlier ones of them have aged.

/// Nothing that was learned is left when it has aged by this: 2^512.
const MOST_GROWTH: f64 = 1.340_780_792_994_259_7e154;

/// What a number of events comes to where the weight of one grows by a factor with each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Block {
    /// How much more an event weighs after them.
    pub(super) growth: f64,
    /// What each of them weighs on average, of the weight of one after them.
    pub(super) part: f64,
}

impl Block {
    /// Of so many events; `growth` is that of one, 1 or more.
    pub(super) fn new(growth: f64, events: u64) -> Self {
        let grown = power(growth, events);
        let faded = 1.0 - 1.0 / growth;
        let sum = if faded > 0.0 { (1.0 - 1.0 / grown) / faded } else { events as f64 };
        Self { growth: grown, part: if events > 0 { (sum / events as f64).min(1.0) } else { 1.0 } }
    }
}

/// By squaring, so that it is the same to the last bit on every machine.
fn power(base: f64, mut exponent: u64) -> f64 {
    let (mut power, mut square) = (1.0, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = f64::min(power * square, MOST_GROWTH);
        }
        square = f64::min(square * square, MOST_GROWTH);
        exponent >>= 1;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_weighs_what_its_events_would_one_by_one() {
        for (half_life, events) in
            [(100u64, 1u64), (100, 50), (100, 1_000), (50_000, 3), (50_000, 200_000), (1_000_000_000, 7)]
        {
            let growth = (1.0 / half_life as f64).exp2();
            let (mut weight, mut sum) = (1.0, 0.0);
            for _ in 0..events {
                weight *= growth;
                sum += weight;
            }
            let block = Block::new(growth, events);
            assert!((block.growth / weight - 1.0).abs() < 1e-6, "{half_life} {events}: {block:?}, not {weight}");
            let all = block.part * block.growth * events as f64;
            assert!((all / sum - 1.0).abs() < 1e-6, "{half_life} {events}: {all}, not {sum}");
        }
    }

    #[test]
    fn no_number_of_events_and_no_half_life_gives_what_is_not_a_number() {
        for growth in [1.0, 1.0 + f64::EPSILON, 2.0, 1e300] {
            for events in [0, 1, 2, u64::from(u32::MAX), u64::MAX] {
                let Block { growth: grown, part } = Block::new(growth, events);
                assert!(
                    (1.0..=MOST_GROWTH).contains(&grown) && (0.0..=1.0).contains(&part),
                    "{growth} {events} {grown} {part}"
                );
            }
        }
    }
}
