//! The larger and the smaller of two numbers in one instruction each: unlike [`f32::max`], they do not care which is not a number, since none is.

/// The larger one; `b` when either is not a number.
#[inline]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The smaller one; `b` when either is not a number.
#[inline]
pub(super) fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_numbers_they_give_the_same_as_the_standard_library() {
        for (a, b) in [(1.0, 2.0), (2.0, 1.0), (-1.0, 0.0), (f32::INFINITY, 3.0), (f32::NEG_INFINITY, 3.0)] {
            assert_eq!((larger(a, b), smaller(a, b)), (a.max(b), a.min(b)));
        }
        assert_eq!((larger(f32::NAN, 1.0), smaller(f32::NAN, 1.0)), (1.0, 1.0));
    }
}
