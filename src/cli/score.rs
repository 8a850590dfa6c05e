//! `oddline score`: every line in, the same line with what oddline thinks of it out, in order, as they come.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use oddline::config::Config;
use oddline::engine::Environment;
use oddline::engine::Synthetic;
use oddline::plugin::{Component, Counts, LineScorer};

use super::doctor;
use super::dropped::{Dropped, ReportFormat};
use super::error::CliError;
use super::feed::{self, Work};
use super::input;
use super::output::{self, Output};
use super::reader::LineFormat;
use super::settings::{self, EngineArgs, EventArgs, FieldArgs};
use super::signals::Stop;

/// Flags of `oddline score`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ScoreArgs {
    /// Files to read one after another, also .gz and .zst, and directories; standard input without any or with `-`.
    files: Vec<PathBuf>,
    /// What the lines are; without it the first byte tells: `{` begins JSON.
    #[arg(long, value_enum)]
    input: Option<LineFormat>,
    /// Print anomalies only.
    #[arg(long)]
    only_anomalies: bool,
    /// Leave out what the event's `sample_ratio` says is not worth keeping, and tell at the end on standard error how much of each template that was.
    #[arg(long, conflicts_with = "only_anomalies")]
    sample: bool,
    /// How to tell what was left out.
    #[arg(long, value_enum, default_value_t, requires = "sample")]
    sample_report: ReportFormat,
    /// Answer as a program that a daemon asks expects it, instead of with the event.
    #[arg(long, value_enum, conflicts_with_all = ["only_anomalies", "sample"])]
    reply: Option<Reply>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    event: EventArgs,
    #[command(flatten)]
    field: FieldArgs,
}

/// The most names of an event's fields that a warning tells.
const MOST_NAMES_TOLD: usize = 12;

/// A protocol of answers: just one for each line, in order, at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Reply {
    /// rsyslog's mmexternal: `{"$!":{"anomaly":{…}}}`, which rsyslog adds to the message.
    Rsyslog,
}

impl Reply {
    /// What stands around the object of fields.
    fn around(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Self::Rsyslog => (b"{\"$!\":", b"}"),
        }
    }
}

const EXAMPLES: &str = "\
Every line comes out again, in order: a JSON object with all its fields, or {\"message\": …} for a line of text, and \
under `anomaly` a score from 0 to 1 (0.5: one event in a thousand is this odd, 1.0: one in a million), is_anomaly, \
reasons, the template. Lines are answered as they come. Until enough was learned (10,000 events or 1,000 seconds) \
`state` is `learning` and nothing is an anomaly; with --data-dir that happens once.

Examples:
  tail -F app.log | oddline score --only-anomalies
  oddline score --input json --message-field msg --partition-by host,service events.ndjson
  oddline score --sample --sample-report json app.log > kept.ndjson 2> dropped.json
  oddline score --data-dir /var/lib/oddline old.log.gz new.log > scored.ndjson

With --sample most of the routine is left out, by `sampling` of the configuration or its defaults: all anomalies, new and rare templates, \
and what follows an alert on its stream for 60 s stay. Of every run of 1/sample_ratio lines of a template one stays; the same events give the same \
lines.

With --reply a daemon asks and waits: one answer for each line, with the fields alone, at once, and no silences, which nobody asked about (they \
are in the journal of --data-dir). For rsyslog: interface.input=\"fulljson\", --input json --message-field msg --partition-by hostname,programname.

--message-field, --timestamp-field, --level-field and --partition-by are about fields: with --input lines they are \
wrong usage, and when the input turns out to be text a warning says that they are not used. With --time event the \
time of a line of text is looked for at its beginning.

SIGINT, SIGTERM and SIGHUP (unless started with nohup) end it cleanly: what was read is answered (for 5 s at the most: a warning counts what is left), what was learned is saved.";

/// Runs the command.
pub(crate) fn run(args: &ScoreArgs) -> Result<(), CliError> {
    args.event.fit(args.input)?;
    let mut config = settings::load(&args.engine)?;
    args.event.apply(&mut config);
    args.field.apply(&mut config);
    if args.sample {
        config.sampling.get_or_insert_default();
    }
    let config = settings::checked(config)?;
    let mut notes = Vec::new();
    let sources = input::sources(&args.files, &mut notes)?;
    notes.iter().for_each(output::warn);
    let stop = Stop::on_signals()?;
    let mut scoring = Scoring::new(config, args)?;
    let read = feed::run(sources, feed::uncounted(), &stop, &mut scoring);
    scoring.finish(read)
}

struct Scoring {
    scorer: LineScorer,
    format: Option<LineFormat>,
    only_anomalies: bool,
    dropped: Option<Dropped>,
    reply: Option<Reply>,
    out: Output,
    last_tick: Instant,
    tick_every: Duration,
    /// Why the last commit failed, if it did.
    failure: Option<String>,
    /// Whether it was told that an event has no message.
    told_of_missing: bool,
}

impl Scoring {
    fn new(config: Config, args: &ScoreArgs) -> Result<Self, CliError> {
        let mut component = Component::new(config, Environment::system())?;
        // Left alone it would open the data dir at the first event, and go on without one.
        component.open()?;
        if let Some(failure) = component.engine().and_then(|engine| engine.recovery().baseline_failure.clone()) {
            output::warn(format_args!("there is no baseline to start from, learning begins with nothing: {failure}"));
        }
        if let Some(engine) = component.engine().filter(|engine| engine.recovery().is_damaged()) {
            let damage = doctor::damage(engine.recovery());
            output::warn(format_args!("the data dir is damaged, the rest of it was restored: {damage}"));
        }
        if let Some(format) = args.input {
            settings::warn_of_unused(component.config(), format);
        }
        Ok(Self {
            tick_every: component.config().tick_interval(),
            dropped: args.sample.then(|| Dropped::new(component.config().max_templates, args.sample_report)),
            scorer: LineScorer::new(component),
            format: args.input,
            only_anomalies: args.only_anomalies,
            reply: args.reply,
            out: Output::stdout(),
            last_tick: Instant::now(),
            failure: None,
            told_of_missing: false,
        })
    }

    /// Told at the first such event: a stream that is followed has no end to be told at.
    fn warn_of_missing_message(&mut self, line: &[u8]) {
        let component = self.scorer.component();
        if component.counts().events_without_message_total == 0 {
            return;
        }
        let names: Vec<String> = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line)
            .map(|object| object.into_iter().map(|(name, _)| name).take(MOST_NAMES_TOLD).collect())
            .unwrap_or_default();
        let wanted = &component.config().message_field;
        output::warn(format_args!(
            "an event without {wanted:?} goes on without a score (see --message-field); it has {}",
            if names.is_empty() { "no fields".to_owned() } else { names.join(", ") }
        ));
        self.told_of_missing = true;
    }

    fn tick(&mut self) -> Result<(), CliError> {
        self.last_tick = Instant::now();
        let component = self.scorer.component();
        let now = component.now();
        let synthetic = component.tick(now);
        self.tell_synthetic(&synthetic);
        self.out.flush()
    }

    /// Bounds what is known of templates that were sampled.
    fn tidy(&mut self) {
        if let Some(dropped) = self.dropped.as_mut().filter(|dropped| dropped.is_full())
            && let Some(engine) = self.scorer.component().engine()
            && let Some(told) = dropped.tidy(&engine.templates())
        {
            output::note(&told);
        }
    }

    fn tell_synthetic(&mut self, synthetic: &[Synthetic]) {
        if self.reply.is_some() {
            return;
        }
        for synthetic in synthetic {
            match self.format {
                Some(LineFormat::Json) => self.scorer.json_synthetic(synthetic, self.out.buffer()),
                _ => self.scorer.text_synthetic(synthetic, self.out.buffer()),
            }
            self.out.buffer().push(b'\n');
        }
    }

    fn detect(&mut self, line: &[u8]) {
        self.format = LineFormat::detect(line);
        if let Some(format) = self.format {
            settings::warn_of_unused(self.scorer.component().config(), format);
        }
    }

    /// Makes what was scored as durable as configured before it is answered. Failing to is told once and stops nothing.
    fn commit(&mut self) {
        let failure = self.scorer.component().flush().err().map(|error| error.to_string());
        if let Some(error) = &failure
            && self.failure.is_none()
        {
            output::warn(error);
        }
        self.failure = failure;
    }

    /// Saves what was learned, whatever became of the reading.
    fn finish(self, read: Result<feed::Ended, CliError>) -> Result<(), CliError> {
        let mut component = self.scorer.into_component();
        let counts = component.stats().counts;
        if let (Some(dropped), Some(engine)) = (self.dropped, component.engine()) {
            output::note(&dropped.report(&engine.templates()));
        }
        let saved = component.shutdown();
        // A closed pipe ends in silence, unless saving failed.
        let ended = read.inspect(|_| tell(&counts));
        saved?;
        ended?.report()
    }
}

impl Work for Scoring {
    fn line(&mut self, line: &[u8]) -> Result<(), CliError> {
        if self.format.is_none() {
            self.detect(line);
        }
        let buffer = self.out.buffer();
        let start = buffer.len();
        let is_json = self.format == Some(LineFormat::Json);
        let outcome = match self.reply.map(Reply::around) {
            None if is_json => self.scorer.json(line, buffer),
            None => self.scorer.text(line, buffer),
            Some((before, behind)) => {
                buffer.extend_from_slice(before);
                let outcome =
                    if is_json { self.scorer.json_fields(line, buffer) } else { self.scorer.text_fields(line, buffer) };
                buffer.extend_from_slice(behind);
                outcome
            }
        };
        if outcome.verdict.is_none() && !self.told_of_missing {
            self.warn_of_missing_message(line);
        }
        let buffer = self.out.buffer();
        let is_kept = match (&mut self.dropped, &outcome.verdict) {
            (Some(dropped), Some(verdict)) => dropped.is_kept(verdict),
            _ => !self.only_anomalies || outcome.is_anomaly(),
        };
        if is_kept {
            buffer.push(b'\n');
        } else {
            buffer.truncate(start);
        }
        self.tidy();
        if !self.out.is_full() {
            return Ok(());
        }
        // An answer goes out when its event is as durable as configured, here too.
        self.commit();
        self.out.flush()
    }

    fn pause(&mut self) -> Result<(), CliError> {
        self.commit();
        if self.last_tick.elapsed() >= self.tick_every {
            return self.tick();
        }
        let synthetic = self.scorer.component().take_synthetic();
        self.tell_synthetic(&synthetic);
        self.out.flush()
    }

    fn idle(&mut self) -> Result<(), CliError> {
        self.tick()
    }
}

/// What the user would not notice otherwise.
fn tell(counts: &Counts) {
    let told = [
        (counts.invalid_utf8_total, "lines with bytes that are not UTF-8, which stand as U+FFFD in the output"),
        (counts.events_without_message_total, "events without a message, not scored (see --message-field)"),
        (counts.timestamps_missing_total, "events without a timestamp that is understood (see --timestamp-field)"),
        (counts.events_unscored_total, "events passed on without a score"),
        (counts.write_failures_total, "events that could not be written to, passed on as they were"),
        (counts.panics_total, "internal errors, please report them"),
    ];
    for (count, what) in told.into_iter().filter(|(count, _)| *count > 0) {
        output::warn(format_args!("{what}: {count}"));
    }
}
