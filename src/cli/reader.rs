//! Lines scored in memory, for commands that answer at the end: what each line was judged and when it happened.
//!
//! Time is that of the lines. A line without one (a stack trace) happens when the line above it did. Where hardly any
//! line has one, numbers that only look like times would send the clock through the decades: there each line
//! takes [`TIMELESS_LINE_MILLIS`].

use std::sync::Arc;

use clap::ValueEnum;
use oddline::clock::{Clock, ManualClock, SystemClock};
use oddline::config::{Config, Fields, TimeSource};
use oddline::engine::{Environment, Synthetic};
use oddline::event::{StreamKey, Timestamp, Verdict};
use oddline::plugin::{Component, LineScorer, timestamp};
use oddline::template::explain::Explanation;

use super::error::CliError;
use super::report::{Facts, Templates};

/// What a line takes where lines have no time: as long as a line of a log of three lines a second.
pub(crate) const TIMELESS_LINE_MILLIS: i64 = 300;
/// One line in so many must have a time for the input to have one.
const TIMED_PART: usize = 20;

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

/// Whether lines say when they happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timing {
    /// They do, or enough of them.
    Own,
    /// They do not.
    None,
}

impl Timing {
    /// Told by the beginning of the input. JSON has a field for it: what stands there is meant as a time.
    pub(crate) fn detect<'l>(format: Option<LineFormat>, head: impl Iterator<Item = &'l [u8]>) -> Self {
        let now = SystemClock.now();
        let (mut lines, mut timed, mut format) = (0, 0, format);
        for line in head.filter(|line| !line.is_empty()) {
            format = format.or_else(|| LineFormat::detect(line));
            lines += 1;
            timed += usize::from(timestamp::from_line(line, now).is_some());
        }
        if format == Some(LineFormat::Json) || timed * TIMED_PART >= lines { Self::Own } else { Self::None }
    }
}

/// What became of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scored {
    /// The answer; none for a JSON object without a message.
    pub(crate) verdict: Option<Verdict>,
    /// When it happened; none before the first line that says so.
    pub(crate) time: Option<Timestamp>,
    /// Its stream.
    pub(crate) stream: StreamKey,
}

/// Scores lines in memory.
pub(crate) struct Reader {
    scorer: LineScorer,
    clock: Arc<ManualClock>,
    started: Timestamp,
    format: Option<LineFormat>,
    timing: Timing,
    lines: u64,
    out: Vec<u8>,
}

impl Reader {
    /// A reader that has learned nothing; `config`'s data dir and choice of time and fields are not used.
    pub(crate) fn new(config: Config, format: Option<LineFormat>, timing: Timing) -> Result<Self, CliError> {
        let started = SystemClock.now();
        let time = match timing {
            Timing::Own => TimeSource::Event,
            Timing::None => TimeSource::Arrival,
        };
        let config = Config { data_dir: None, time, fields: Fields::Minimal, ..config };
        let (scorer, clock) = in_memory(config, started)?;
        Ok(Self { scorer, clock, started, format, timing, lines: 0, out: Vec::new() })
    }

    /// Scores the next line.
    pub(crate) fn read(&mut self, line: &[u8]) -> Scored {
        self.out.clear();
        self.lines += 1;
        self.format = self.format.or_else(|| LineFormat::detect(line));
        let outcome = match self.format {
            Some(LineFormat::Json) => self.scorer.json(line, &mut self.out),
            Some(LineFormat::Lines) | None => self.scorer.text(line, &mut self.out),
        };
        Scored { verdict: outcome.verdict, time: self.pass_time(outcome.timestamp), stream: outcome.stream }
    }

    /// What fell silent by the lines so far, each told once.
    pub(crate) fn take_silences(&mut self) -> Vec<Synthetic> {
        self.scorer.component().take_synthetic()
    }

    /// Moves the clock; the time of the line that was just read.
    fn pass_time(&mut self, scored_with: Option<Timestamp>) -> Option<Timestamp> {
        if self.timing == Timing::None {
            self.clock.set(Timestamp(self.clock.now().0 + TIMELESS_LINE_MILLIS * 1000));
            return None;
        }
        if let Some(time) = scored_with {
            self.clock.set(time);
        }
        let time = self.clock.now();
        (time != self.started).then_some(time)
    }

    /// How a line would be read, given the lines so far; of an object its message.
    pub(crate) fn explain(&mut self, line: &[u8]) -> Result<Explanation, CliError> {
        let format = self.format.or_else(|| LineFormat::detect(line));
        let message = if format == Some(LineFormat::Json) { self.scorer.message_of(line) } else { None };
        Ok(self.scorer.component().explain(message.as_deref().unwrap_or(line))?)
    }

    /// Texts and counts of all templates, and how many lines had no time.
    pub(crate) fn finish(self) -> Result<Facts, CliError> {
        let mut facts = facts(self.scorer.into_component())?;
        if self.timing == Timing::None {
            facts.lines_without_timestamp = self.lines;
        }
        Ok(facts)
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
    let (engine, max_templates) = (component.engine(), component.config().max_templates);
    component.shutdown()?;
    Ok(Facts {
        templates_evicted: engine.as_ref().map_or(0, |engine| engine.stats().templates_evicted_total),
        max_templates,
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
        let mut reader = Reader::new(Config::default(), None, Timing::Own).unwrap();
        assert_eq!(reader.read(b"no time yet").time, None);
        let first = reader.read(b"2025-03-14T10:00:00Z failed").time.unwrap();
        assert_eq!(first, Timestamp::from_millis(1_741_946_400_000));
        assert_eq!(reader.read(b"    at Shop.main").time, Some(first));
        assert_eq!(reader.finish().unwrap().lines_without_timestamp, 2);
    }

    #[test]
    fn numbers_that_look_like_times_make_no_timed_log() {
        let mut lines = vec![&b"fetched block 17"[..]; 99];
        lines.push(b"1131566461 bytes fetched");
        assert_eq!(Timing::detect(None, lines.iter().copied()), Timing::None);
        assert_eq!(Timing::detect(Some(LineFormat::Json), lines.iter().copied()), Timing::Own);
        let traced = [&b"2025-03-14 10:00:00 failed"[..], b"  at a", b"  at b", b"  at c"];
        assert_eq!(Timing::detect(None, traced.into_iter()), Timing::Own);
        let mut reader = Reader::new(Config::default(), None, Timing::None).unwrap();
        assert!(lines.iter().all(|line| reader.read(line).time.is_none()));
        assert_eq!(reader.finish().unwrap().lines_without_timestamp, 100);
    }
}
