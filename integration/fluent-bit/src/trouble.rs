//! What is told of trouble: rarely, and only when it is new.

use oddline::plugin::{ComponentStats, Counts};

use crate::metrics_file::MetricsFile;

/// How grave a message is, as Fluent Bit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Level {
    /// Something that should be seen to.
    Error = 1,
    /// Something that may be.
    Warning = 2,
    /// Something to know.
    Info = 3,
}

/// A message for Fluent Bit's log.
pub(crate) type Message = (Level, String);

/// Ticks (about seconds) between two looks at the figures.
const LOOK_EVERY: u32 = 5;

/// What was told last.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    ticks: u32,
    failure: Option<String>,
    counts: Counts,
    metrics: Option<MetricsFile>,
}

impl Watch {
    /// One that also writes the figures it looks at.
    pub(crate) fn new(metrics: Option<MetricsFile>) -> Self {
        Self { metrics, ..Self::default() }
    }

    /// Whether it is time to look.
    pub(crate) fn is_due(&mut self) -> bool {
        self.ticks = (self.ticks + 1) % LOOK_EVERY;
        self.ticks == 1
    }

    /// What is new in `stats`.
    pub(crate) fn look(&mut self, stats: &ComponentStats) -> Vec<Message> {
        let mut told = Vec::new();
        let failed = stats.last_error.clone().map(|error| format!("events pass without scores: {error}"));
        let engine = stats.engine.as_ref().and_then(|engine| engine.failure.clone());
        let failure = failed.or_else(|| engine.map(|error| format!("what is learned is not saved: {error}")));
        if failure != self.failure {
            match &failure {
                Some(failure) => told.push((Level::Error, failure.clone())),
                None => told.push((Level::Info, "what is learned is saved again".to_owned())),
            }
            self.failure = failure;
        }
        let grown = |of: fn(&Counts) -> u64| of(&stats.counts).saturating_sub(of(&self.counts));
        let panics = grown(|counts| counts.panics_total);
        if panics > 0 {
            told.push((
                Level::Error,
                format!("{panics} internal errors, please report them; their events passed unchanged"),
            ));
        }
        let unwritten = grown(|counts| counts.write_failures_total);
        if unwritten > 0 {
            told.push((Level::Warning, format!("{unwritten} events could not be written to and passed unchanged")));
        }
        self.counts = stats.counts;
        told.extend(self.metrics.as_mut().and_then(|file| file.write(stats)));
        told
    }
}

/// The last word.
pub(crate) fn farewell(counts: &Counts) -> Message {
    let told: Vec<String> =
        counts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {count}")).collect();
    (Level::Info, if told.is_empty() { "no events came".to_owned() } else { told.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(last_error: Option<&str>, panics_total: u64) -> ComponentStats {
        let counts = Counts { panics_total, ..Counts::default() };
        ComponentStats { counts, engine: None, last_error: last_error.map(str::to_owned) }
    }

    #[test]
    fn trouble_is_told_once_and_its_end_too() {
        let mut watch = Watch::default();
        assert!(watch.look(&stats(None, 0)).is_empty());
        let told = watch.look(&stats(Some("the disk is full"), 0));
        assert!(matches!(&told[..], [(Level::Error, text)] if text.contains("the disk is full")), "{told:?}");
        assert!(watch.look(&stats(Some("the disk is full"), 0)).is_empty());
        assert_eq!(watch.look(&stats(None, 0)).len(), 1);
        assert!(watch.look(&stats(None, 0)).is_empty());
    }

    #[test]
    fn a_count_is_told_as_far_as_it_grew() {
        let mut watch = Watch::default();
        assert!(watch.look(&stats(None, 3))[0].1.contains('3'));
        assert!(watch.look(&stats(None, 3)).is_empty());
        assert!(watch.look(&stats(None, 5))[0].1.starts_with('2'));
    }

    #[test]
    fn figures_are_looked_at_now_and_then() {
        let mut watch = Watch::default();
        let due = (0..10).filter(|_| watch.is_due()).count();
        assert_eq!(due, 2);
    }
}
