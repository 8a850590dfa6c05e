//! What `/metrics` says: the sidecar's counters, and its component's figures.

use std::fmt::Write as _;

use crate::plugin::{ComponentStats, prometheus};
use crate::serve::stats::Stats;

pub(super) use crate::plugin::prometheus::CONTENT_TYPE;

/// The whole text.
pub(super) fn text(component: Option<&ComponentStats>, stats: &Stats, is_stopping: bool) -> String {
    let mut text = String::new();
    let mut figure = |kind, (name, value, help): (&str, u64, &str)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP oddline_serve_{name} {}", help.trim());
        prometheus::metric(&mut text, &format!("oddline_serve_{name}"), kind, value);
    };
    stats.counted().iter().for_each(|counter| figure("counter", counter));
    stats.levels.iter().for_each(|level| figure("gauge", level));
    figure("gauge", ("stopping", u64::from(is_stopping), "1 once it was told to end."));
    text + &component.map(prometheus::text).unwrap_or_default()
}
