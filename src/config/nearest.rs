//! The known key that an unknown one may have been meant to be.

/// The known key nearest to `key` by edit distance, when one is near enough to have been meant.
pub(super) fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    // A key much longer than any known one is no slip of the finger, and need not be measured.
    let longest = known.iter().map(|known| known.len()).max().unwrap_or(0);
    if key.len() > 2 * longest {
        return None;
    }
    let plain = key.to_lowercase().replace(['-', ' ', '.'], "_");
    known
        .iter()
        .map(|known| (distance(&plain, known), *known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .map(|(_, known)| known)
}

/// Optimal string alignment distance: insertions, deletions, changes and swaps of neighbours, in characters.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::table::FIELDS;
    use super::*;

    #[test]
    fn distance_counts_insertions_deletions_changes_and_swaps() {
        for (a, b, expected) in [("", "", 0), ("", "ab", 2), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "xbcd", 2)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_slip_finds_its_key_and_something_else_finds_none() {
        let keys: Vec<_> = FIELDS.iter().map(|field| field.key).collect();
        for (slip, meant) in [
            ("alert_buget", Some("alert_budget")),
            ("alert-budget", Some("alert_budget")),
            ("Durability", Some("durability")),
            ("retention_days", Some("retention_hours")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(slip, &keys), meant, "{slip}");
        }
        assert_eq!(nearest(&"a".repeat(1_000_000), &keys), None);
    }
}
