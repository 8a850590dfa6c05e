//! From a vector for each token to one for the text.

/// How the vectors of tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    /// Their mean.
    Mean,
    /// The first, of the token that stands for the whole.
    Cls,
    /// The largest of each dimension.
    Max,
}

impl Pooling {
    pub(super) const ALL: [Self; 3] = [Self::Mean, Self::Cls, Self::Max];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Max => "max",
        }
    }

    /// Pools `cells`, the vectors of all tokens one after another, each of `width` numbers. No token is padding.
    pub(super) fn of(self, cells: &[f32], width: usize) -> Vec<f32> {
        let mut rows = cells.chunks_exact(width.max(1));
        let count = rows.len();
        let mut pooled = rows.next().map(<[f32]>::to_vec).unwrap_or_default();
        match self {
            Self::Cls => {}
            Self::Max => rows.for_each(|row| each(&mut pooled, row, |cell, other| *cell = cell.max(other))),
            Self::Mean => {
                rows.for_each(|row| each(&mut pooled, row, |cell, other| *cell += other));
                pooled.iter_mut().for_each(|cell| *cell /= count as f32);
            }
        }
        pooled
    }
}

fn each(pooled: &mut [f32], row: &[f32], change: impl Fn(&mut f32, f32)) {
    pooled.iter_mut().zip(row).for_each(|(cell, other)| change(cell, *other));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_pools_the_vectors_of_all_tokens() {
        let cells = [1.0, -4.0, 3.0, -2.0, 2.0, 0.0];
        assert_eq!(Pooling::Mean.of(&cells, 2), [2.0, -2.0]);
        assert_eq!(Pooling::Cls.of(&cells, 2), [1.0, -4.0]);
        assert_eq!(Pooling::Max.of(&cells, 2), [3.0, 0.0]);
        for pooling in Pooling::ALL {
            assert!(pooling.of(&[], 2).is_empty() && pooling.of(&[1.0], 0) == [1.0]);
        }
    }
}
