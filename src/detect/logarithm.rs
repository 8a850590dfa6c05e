//! A logarithm and its inverse that are the same to the last bit on every machine, and cost no call.
//!
//! The system's own differ from one libc to the next, and so would what is learned.

/// Fraction bits of a number, and the lowest of the range it is brought to: √½ … √2.
const FRACTION: u32 = 0x007f_ffff;
const SQRT_HALF: u32 = 0x3f35_04f3;

/// Parts the range is divided into, by the upper bits of the fraction.
const PARTS: usize = 128;
const PART_BITS: u32 = 23 - PARTS.ilog2();

/// A number in the middle of a part, one over it, and its logarithm.
#[derive(Debug, Clone, Copy)]
struct Part {
    middle: f32,
    inverse: f32,
    ln: f32,
}

static TABLE: [Part; PARTS] = table();

const fn table() -> [Part; PARTS] {
    let mut parts = [Part { middle: 1.0, inverse: 1.0, ln: 0.0 }; PARTS];
    let mut number = 0;
    while number < PARTS {
        let first = SQRT_HALF + ((number as u32) << PART_BITS);
        let one = 1.0f32.to_bits();
        // So that the logarithm of 1 is 0.
        if one < first || one >= first + (1 << PART_BITS) {
            let middle = f32::from_bits(first + (1 << (PART_BITS - 1)));
            parts[number] = Part { middle, inverse: 1.0 / middle, ln: ln_by_series(middle as f64) as f32 };
        }
        number += 1;
    }
    parts
}

/// `ln x = 2 artanh s`, `s = (x − 1) / (x + 1)`, for x within √½ … √2: the term after the last is below 1e-18.
const fn ln_by_series(x: f64) -> f64 {
    let s = (x - 1.0) / (x + 1.0);
    let mut sum = 0.0;
    let mut power = 25.0;
    while power >= 1.0 {
        sum = sum * s * s + 1.0 / power;
        power -= 2.0;
    }
    2.0 * s * sum
}

/// Natural logarithm of a positive, normal number, within 2 units in the last place or 1e-7, whichever is more.
///
/// The fraction is brought to √½ … √2 and looked up by its upper bits (Tang, ACM TOMS 16, 1990); what it is beyond the middle of its part, which is
/// exact, goes into three terms of a series, whose next is below 1e-9. Shorter than a division, and events wait for it.
#[inline]
pub(super) fn ln(x: f32) -> f32 {
    // High and low part of ln 2: the exponent times the high one is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let shifted = x.to_bits().wrapping_add(1.0f32.to_bits() - SQRT_HALF);
    let exponent = ((shifted >> 23) as i32 - 127) as f32;
    let m = f32::from_bits((shifted & FRACTION) + SQRT_HALF);
    let Part { middle, inverse, ln } = TABLE[(shifted >> PART_BITS) as usize % PARTS];
    let r = (m - middle) * inverse;
    exponent * LN_2_HIGH + ((ln + exponent * LN_2_LOW) + (r + r * r * (r * 0.333_333_34 - 0.5)))
}

/// e^−x, within 1e-9 of itself; 0 beyond 700, 1 for what is not a number.
///
/// `x = k ln 2 + r`, |r| ≤ ½ ln 2, and Taylor's polynomial of degree 8 for r, whose next term is below 3e-10.
#[inline]
pub(super) fn exp_of_minus(x: f32) -> f64 {
    use std::f64::consts::{LN_2, LOG2_E};
    const COEFFICIENTS: [f64; 8] =
        [1.0 / 40_320.0, 1.0 / 5_040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0];
    if x > 700.0 {
        return 0.0;
    }
    let x = f64::from(if x > 0.0 { x } else { 0.0 });
    let k = (x * LOG2_E + 0.5) as i32;
    let r = f64::from(k) * LN_2 - x;
    let series = COEFFICIENTS.iter().fold(0.0, |sum, coefficient| sum * r + coefficient) * r + 1.0;
    series * f64::from_bits(((1_023 - k) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_logarithm_from_the_smallest_normal_number_to_the_largest() {
        let mut bits = f32::MIN_POSITIVE.to_bits();
        while bits < f32::INFINITY.to_bits() {
            let x = f32::from_bits(bits);
            let exact = f64::from(x).ln();
            let allowed = (exact.abs() * f64::from(f32::EPSILON)).max(1e-7);
            assert!((f64::from(ln(x)) - exact).abs() <= allowed, "{x}: {} for {exact}", ln(x));
            bits += 4_099;
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn e_to_minus_is_right_from_nothing_to_the_smallest_probability() {
        for step in 0..65_000u16 {
            let x = f32::from(step) * 0.01;
            let exact = (-f64::from(x)).exp();
            assert!((exp_of_minus(x) / exact - 1.0).abs() < 1e-9, "{x}: {} for {exact}", exp_of_minus(x));
        }
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, f32::MAX].map(exp_of_minus);
        assert_eq!(odd, [1.0, 0.0, 1.0, 1.0, 0.0]);
    }
}
