//! A row of bars for counts over time.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One bar a count, the highest count full; zero is a dot so that nothing and little differ.
pub(crate) fn sparkline(counts: &[u64]) -> String {
    let highest = counts.iter().copied().max().unwrap_or(0);
    counts.iter().map(|&count| bar(count, highest)).collect()
}

fn bar(count: u64, highest: u64) -> char {
    if count == 0 {
        return '·';
    }
    let step = (u128::from(count) * BARS.len() as u128).div_ceil(u128::from(highest.max(1)));
    BARS[(step as usize).clamp(1, BARS.len()) - 1]
}

/// How many of `values` fall into each of `buckets` equal parts of `from ..= to`.
pub(crate) fn histogram(values: impl Iterator<Item = i64>, from: i64, to: i64, buckets: usize) -> Vec<u64> {
    let mut counts = vec![0; buckets];
    let span = (i128::from(to) - i128::from(from)).max(0) + 1;
    for value in values.filter(|v| (from..=to).contains(v)) {
        let bucket = (i128::from(value) - i128::from(from)) * buckets as i128 / span;
        if let Some(count) = counts.get_mut(bucket as usize) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nothing_little_and_most_differently() {
        assert_eq!(sparkline(&[0, 1, 50, 100]), "·▁▄█");
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[u64::MAX, 0]), "█·");
    }

    #[test]
    fn counts_the_ends_of_the_range_too() {
        assert_eq!(histogram([0, 4, 5, 9, 10].into_iter(), 0, 9, 2), [2, 2]);
        assert_eq!(histogram([7, 7].into_iter(), 7, 7, 3), [2, 0, 0]);
        assert_eq!(histogram([i64::MIN, i64::MAX].into_iter(), i64::MIN, i64::MAX, 2), [1, 1]);
    }
}
