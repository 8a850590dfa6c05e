//! `oddline scan`: reads all, then says what was odd.
//!
//! One pass, in memory. How long to learn depends on how many lines there are, so the beginning is held
//! back until there are enough lines for the full learning period, or the input ends: then a tenth of it is
//! learned from. What is held back is bounded by [`HEAD_BYTES`].

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use oddline::config::Config;

use super::error::CliError;
use super::feed::{self, Work};
use super::input;
use super::lines::LineStore;
use super::output::{self, OutputFormat};
use super::progress::Progress;
use super::reader::{LineFormat, Reader, Timing};
use super::report::{Report, ReportBuilder};
use super::report_text::ReportText;
use super::settings::{self, EventArgs};
use super::signals::Stop;

/// Most bytes of the beginning held back.
const HEAD_BYTES: usize = 64 << 20;
/// One in this many lines is learned from when the input is short.
const LEARNING_PART: u64 = 10;
/// Longest learning period in seconds the configuration takes: here lines count, not time.
const NO_TIME_LIMIT: u64 = 31_536_000;

/// Flags of `oddline scan`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ScanArgs {
    /// Files, also .gz and .zst, and directories; standard input without any or with `-`.
    files: Vec<PathBuf>,
    /// What the lines are; without it the first byte tells: `{` begins JSON.
    #[arg(long, value_enum)]
    input: Option<LineFormat>,
    /// How to print the report.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
    /// Groups to show.
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// Configuration file: YAML, TOML or JSON; its data_dir is not used.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    event: EventArgs,
}

const EXAMPLES: &str = "\
Reads everything in one pass, keeps nothing, and reports: lines, templates, time span, and the anomalies that matter \
most, grouped by template and time (what was odd at the same time, on the same stream and for the same reason is one entry), each with its reasons, how expected it was, and an example with its neighbours. \
Where lines have times, a regular line that did not come stands among them, after the line that was read when it was missed. \
The first tenth of the lines, at most learning_events (10,000), is learned from and holds no anomalies. When there are \
fewer groups than --top, the oddest of the other lines follow: they are within the budget of the usual and no alerts.

Examples:
  oddline scan /var/log/syslog
  oddline scan app.log.2.gz app.log.1 app.log
  oddline scan --format json /var/log/shop | jq '.groups[].example.line.text'
  journalctl -b | oddline scan --top 20";

/// Runs the command.
pub(crate) fn run(args: &ScanArgs) -> Result<(), CliError> {
    args.event.fit(args.input)?;
    let mut config = settings::from_file(args.config.as_deref())?;
    args.event.apply(&mut config);
    let config = settings::checked(config)?;
    let mut notes = Vec::new();
    let sources = input::sources(&args.files, &mut notes)?;
    notes.iter().for_each(output::warn);
    let stop = Stop::on_signals()?;
    let read = Arc::default();
    let progress = Progress::new(&sources, &read);
    let mut scan = Scan { config, format: args.input, head: LineStore::default(), scanner: None, progress };
    let ended = feed::run(sources, read, &stop, &mut scan)?;
    if ended.stopped {
        output::warn("interrupted: the report covers what was read");
    }
    let report = scan.finish(args.top)?;
    match args.format {
        OutputFormat::Json => output::print_json(&report)?,
        OutputFormat::Text => {
            output::print(&ReportText { report: &report, colours: output::colours() }.to_string())?;
        }
    }
    ended.report()
}

struct Scan {
    config: Config,
    format: Option<LineFormat>,
    head: LineStore,
    scanner: Option<Scanner>,
    progress: Progress,
}

impl Scan {
    /// How long to learn is known: scores what was held back.
    fn start(&mut self) -> Result<Scanner, CliError> {
        let head = std::mem::take(&mut self.head);
        let learning_events = learning_events(&self.config, head.len() as u64);
        let config = Config { data_dir: None, learning_events, learning_secs: NO_TIME_LIMIT, ..self.config.clone() };
        if let Some(format) = self.format.or_else(|| head.iter().find_map(LineFormat::detect)) {
            settings::warn_of_unused(&config, format);
        }
        let timing = Timing::detect(self.format, head.iter());
        let reader = Reader::new(config, self.format, timing)?;
        let mut scanner = Scanner { reader, report: ReportBuilder::default() };
        head.iter().for_each(|line| scanner.line(line));
        Ok(scanner)
    }

    fn finish(mut self, top: usize) -> Result<Report, CliError> {
        let scanner = match self.scanner.take() {
            Some(scanner) => scanner,
            None => self.start()?,
        };
        self.progress.clear();
        let facts = scanner.reader.finish()?;
        Ok(scanner.report.finish(top, top, &facts))
    }
}

impl Work for Scan {
    fn line(&mut self, line: &[u8]) -> Result<(), CliError> {
        if let Some(scanner) = &mut self.scanner {
            scanner.line(line);
            return Ok(());
        }
        self.head.push(line);
        let enough = self.config.learning_events.saturating_mul(LEARNING_PART);
        if self.head.len() as u64 >= enough || self.head.bytes() >= HEAD_BYTES {
            self.scanner = Some(self.start()?);
        }
        Ok(())
    }

    fn pause(&mut self) -> Result<(), CliError> {
        self.progress.update();
        Ok(())
    }
}

fn learning_events(config: &Config, head_lines: u64) -> u64 {
    config.learning_events.min(head_lines.div_ceil(LEARNING_PART))
}

struct Scanner {
    reader: Reader,
    report: ReportBuilder,
}

impl Scanner {
    fn line(&mut self, line: &[u8]) {
        let scored = self.reader.read(line);
        self.report.add(line, scored.time, scored.stream, scored.verdict.as_ref());
        self.reader.take_silences().iter().for_each(|silence| self.report.add_silence(silence));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_from_a_tenth_of_a_short_input_and_no_more_than_configured() {
        let config = Config::default();
        assert_eq!(learning_events(&config, 2000), 200);
        assert_eq!(learning_events(&config, 10_000_000), config.learning_events);
        assert_eq!(learning_events(&config, 0), 0);
    }
}
