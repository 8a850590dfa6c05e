//! Trouble, told on standard error: standard output may be a sink's.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Time between two reports of the same kind of trouble.
const PAUSE: Duration = Duration::from_secs(60);

/// When each kind of trouble was told last.
#[derive(Debug, Default)]
pub(crate) struct Reporter(HashMap<String, Instant>);

impl Reporter {
    /// Tells of `what`, unless that was told lately.
    pub(crate) fn tell(&mut self, what: &str, message: &str, now: Instant) {
        if self.0.get(what).is_some_and(|told| now.saturating_duration_since(*told) < PAUSE) {
            return;
        }
        self.0.insert(what.to_owned(), now);
        // There may be nobody to hear it.
        let _ = writeln!(std::io::stderr(), "oddline: {what}: {message}");
    }
}
