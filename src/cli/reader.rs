//! Lines scored in memory, for commands that answer at the end: what each line was judged and when it happened.
//!
//! Time is that of the lines. A line without one (a stack trace) happens when the line above it did.

use std::sync::Arc;

use clap::ValueEnum;
use oddline::clock::{Clock, ManualClock, SystemClock};
use oddline::config::{Config, Fields, TimeSource};
use oddline::engine::Environment;
use oddline::event::{Timestamp, Verdict};
use oddline::plugin::{Component, LineScorer};

use super::error::CliError;
use super::report::{Facts, Templates};

/// What the lines of the input are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LineFormat {
    /// Text, each line a message.
    Lines,
    /// A JSON object on each line.
    Json,
}

impl LineFormat {
    /// Told by the first byte that is not white space; nothing if there is none.
    pub(crate) fn detect(line: &[u8]) -> Option<Self> {
        let first = line.iter().find(|byte| !byte.is_ascii_whitespace())?;
        Some(if *first == b'{' { Self::Json } else { Self::Lines })
    }
}

/// What became of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scored {
    /// The answer; none for a JSON object without a message.
    pub(crate) verdict: Option<Verdict>,
    /// When it happened; none before the first line that says so.
    pub(crate) time: Option<Timestamp>,
}

/// Scores lines in memory.
pub(crate) struct Reader {
    scorer: LineScorer,
    clock: Arc<ManualClock>,
    started: Timestamp,
    format: Option<LineFormat>,
    out: Vec<u8>,
}

impl Reader {
    /// A reader that has learned nothing; `config`'s data dir and choice of time and fields are not used.
    pub(crate) fn new(config: Config, format: Option<LineFormat>) -> Result<Self, CliError> {
        let started = SystemClock.now();
        let config = Config { data_dir: None, time: TimeSource::Event, fields: Fields::Minimal, ..config };
        let (scorer, clock) = in_memory(config, started)?;
        Ok(Self { scorer, clock, started, format, out: Vec::new() })
    }

    /// Scores the next line.
    pub(crate) fn read(&mut self, line: &[u8]) -> Scored {
        self.out.clear();
        self.format = self.format.or_else(|| LineFormat::detect(line));
        let outcome = match self.format {
            Some(LineFormat::Json) => self.scorer.json(line, &mut self.out),
            Some(LineFormat::Lines) | None => self.scorer.text(line, &mut self.out),
        };
        if let Some(time) = outcome.timestamp {
            self.clock.set(time);
        }
        let time = self.clock.now();
        Scored { verdict: outcome.verdict, time: (time != self.started).then_some(time) }
    }

    /// Texts and counts of all templates, and how many lines had no time.
    pub(crate) fn finish(self) -> Result<Facts, CliError> {
        facts(self.scorer.into_component())
    }
}

/// A scorer whose state goes with it, and its clock, which shows `start`.
pub(crate) fn in_memory(config: Config, start: Timestamp) -> Result<(LineScorer, Arc<ManualClock>), CliError> {
    let clock = Arc::new(ManualClock::new(start));
    let environment = Environment { clock: Arc::<ManualClock>::clone(&clock), ..Environment::system() };
    let mut component = Component::new(config, environment)?;
    component.open()?;
    Ok((LineScorer::new(component), clock))
}

/// What a report asks of a component at its end. Giving the lane back brings its counts into the shared picture.
pub(crate) fn facts(mut component: Component) -> Result<Facts, CliError> {
    let counts = component.stats().counts;
    let engine = component.engine();
    component.shutdown()?;
    Ok(Facts {
        templates: Templates::new(engine.map(|engine| engine.templates()).unwrap_or_default()),
        lines_without_timestamp: counts.timestamps_missing_total,
        invalid_utf8: counts.invalid_utf8_total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells_json_from_text() {
        assert_eq!(LineFormat::detect(b"  {\"a\":1}"), Some(LineFormat::Json));
        assert_eq!(LineFormat::detect(b"[1]"), Some(LineFormat::Lines));
        assert_eq!(LineFormat::detect(b" \t"), None);
    }

    #[test]
    fn a_line_without_a_time_happens_when_the_line_above_did() {
        let mut reader = Reader::new(Config::default(), None).unwrap();
        assert_eq!(reader.read(b"no time yet").time, None);
        let first = reader.read(b"2025-03-14T10:00:00Z failed").time.unwrap();
        assert_eq!(first, Timestamp::from_millis(1_741_946_400_000));
        assert_eq!(reader.read(b"    at Shop.main").time, Some(first));
        assert_eq!(reader.finish().unwrap().lines_without_timestamp, 2);
    }
}
