//! What `/metrics` says: the sidecar's counters, and its component's figures.

use std::fmt::Write as _;

use crate::plugin::{ComponentStats, prometheus};
use crate::serve::stats::Counted;

pub(super) use crate::plugin::prometheus::CONTENT_TYPE;

/// The whole text.
pub(super) fn text(component: Option<&ComponentStats>, counted: &Counted) -> String {
    let mut text = String::new();
    for (name, value, help) in counted.iter() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP oddline_serve_{name} {}", help.trim());
        prometheus::metric(&mut text, &format!("oddline_serve_{name}"), "counter", value);
    }
    text + &component.map(prometheus::text).unwrap_or_default()
}
