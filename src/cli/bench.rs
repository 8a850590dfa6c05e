//! `oddline bench`: how fast oddline is on the user's own log and machine, stage by stage.
//!
//! The file is read into memory first, so that reading it is not measured. Each stage starts from nothing:
//! `tokenise` finds the variables in each line; `template` also finds or learns its template; `score` is the whole
//! engine in memory; `log` the same with a data dir, of whose log no segment is closed, so that there is no history, nor the checkpoint of each segment (a lane closes one
//! after eight million events or five minutes all the same); `whole_path` with segments as they are configured, a checkpoint each, and history, which a thread of its own
//! makes of them. Each thread takes its share of the lines and has its own lane. With `--warm` the lines are gone over once before the clock starts, and then as often as
//! it takes to measure [`WARM_LINES`] lines.

use std::fs;
use std::hint::black_box;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use oddline::clock::{Clock, SystemClock};
use oddline::config::Config;
use oddline::engine::{Engine, Environment, Lane, template_options};
use oddline::event::Observation;
use oddline::template::{LaneMatcher, TemplateOptions, TemplateStore, Tokeniser};
use serde::Serialize;

use super::error::CliError;
use super::feed::{self, Work};
use super::input;
use super::lines::LineStore;
use super::output::{self, OutputFormat};
use super::report_text::grouped;
use super::settings;
use super::signals::Stop;

/// Lines measured at least with `--warm`.
const WARM_LINES: usize = 2_000_000;
/// Lines between two looks at whether to stop.
const LINES_BETWEEN_STOPS: usize = 1 << 14;
/// Lines between two looks at the clock.
const LINES_A_BLOCK: usize = 256;
/// Names of directories of killed processes that are passed over.
const MOST_LEFT_BEHIND: u32 = 1000;
/// The largest segment of the log that a configuration may ask for.
const LARGEST_SEGMENT: u64 = 1 << 30;
/// How often a lane is ticked.
const TICK: Duration = Duration::from_secs(1);

/// Flags of `oddline bench`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// Files, also .gz and .zst, and directories; all of it is held in memory.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Threads, each with its share of the lines.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=255))]
    threads: u16,
    /// Go over the lines once before measuring, so that every template is known.
    #[arg(long)]
    warm: bool,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
    /// Configuration file: YAML, TOML or JSON; its data_dir is not used.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Stages, each including the one before: tokenise (find the variables), template (find or learn the template), score \
(the engine in memory), log (with a write-ahead log in a data dir below TMPDIR, removed again, of which no segment is \
closed before eight million events a thread or five minutes), whole_path (segments are closed as configured, with a \
checkpoint each, and turned into history by a thread that wants a core of its own). Every line is taken as text, JSON too.

Examples:
  oddline bench --warm app.log
  oddline bench --threads 4 --format json app.log | jq .whole_path.lines_per_second";

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    lines: usize,
    bytes: usize,
    threads: u16,
    tokenise: Speed,
    template: Speed,
    score: Speed,
    log: Speed,
    whole_path: Speed,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Speed {
    lines_per_second: f64,
    megabytes_per_second: f64,
}

/// Runs the command.
pub(crate) fn run(args: &BenchArgs) -> Result<(), CliError> {
    let config = Config { data_dir: None, ..settings::checked(settings::from_file(args.config.as_deref())?)? };
    let stop = Stop::on_signals()?;
    let lines = read(args, &stop)?;
    if lines.len() == 0 {
        return Err(CliError::NothingToMeasure);
    }
    let bench =
        Bench { lines: &lines, threads: args.threads, warm: args.warm, options: template_options(&config)?, stop };
    let scratch = Scratch::new()?;
    let measured = Measured {
        lines: lines.len(),
        bytes: lines.bytes(),
        threads: args.threads,
        tokenise: bench.tokenise()?,
        template: bench.template()?,
        score: bench.engine(&config)?,
        log: bench.engine(&in_one_segment(Config { data_dir: Some(scratch.0.join("log")), ..config.clone() })?)?,
        whole_path: bench.engine(&Config { data_dir: Some(scratch.0.join("whole_path")), ..config.clone() })?,
    };
    match args.format {
        OutputFormat::Json => output::print_json(&measured),
        OutputFormat::Text => output::print(&text(&measured)),
    }
}

/// With segments that their size does not close.
fn in_one_segment(config: Config) -> Result<Config, CliError> {
    settings::checked(Config { wal_segment_bytes: config.max_disk_bytes.min(LARGEST_SEGMENT), ..config })
}

/// Everything at once, so that no stage waits for the disk.
fn read(args: &BenchArgs, stop: &Stop) -> Result<LineStore, CliError> {
    struct Keep(LineStore);
    impl Work for Keep {
        fn line(&mut self, line: &[u8]) -> Result<(), CliError> {
            self.0.push(line);
            Ok(())
        }
    }
    let mut notes = Vec::new();
    let sources = input::sources(&args.files, &mut notes)?;
    notes.iter().for_each(output::warn);
    let mut keep = Keep(LineStore::default());
    feed::run(sources, feed::uncounted(), stop, &mut keep)?.report()?;
    if stop.is_set() { Err(CliError::Interrupted) } else { Ok(keep.0) }
}

/// A directory that goes away with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, CliError> {
        let mut number = 0;
        loop {
            let dir = std::env::temp_dir().join(format!("oddline-bench-{}-{number}", std::process::id()));
            match fs::create_dir(&dir) {
                Ok(()) => return Ok(Self(dir)),
                // Left behind by a killed process of the same id, which in a container is likely.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MOST_LEFT_BEHIND => number += 1,
                Err(source) => return Err(CliError::Output { what: dir.display().to_string(), source }),
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            output::warn(format_args!("cannot remove {}: {error}", self.0.display()));
        }
    }
}

struct Bench<'a> {
    lines: &'a LineStore,
    threads: u16,
    warm: bool,
    /// The engine's own for this configuration.
    options: TemplateOptions,
    stop: Stop,
}

/// One thread's part of a stage.
trait Stage: Send {
    /// Goes over some lines.
    fn pass<'l>(&mut self, lines: impl Iterator<Item = &'l [u8]>) -> Result<(), CliError>;

    /// Ends the thread's part; still measured.
    fn end(self) -> Result<(), CliError>;
}

impl Bench<'_> {
    fn tokenise(&self) -> Result<Speed, CliError> {
        self.measure(|| Ok(Tokenise(Tokeniser::new(&self.options.masking))))
    }

    fn template(&self) -> Result<Speed, CliError> {
        let store = Mutex::new(TemplateStore::new(self.options.clone()));
        self.measure(|| {
            let matcher = LaneMatcher::new(&store.lock().unwrap_or_else(PoisonError::into_inner));
            Ok(Template { matcher, store: &store })
        })
    }

    fn engine(&self, config: &Config) -> Result<Speed, CliError> {
        let engine = Engine::open(config, Environment::system())?;
        let speed = self.measure(|| Ok(Score { lane: engine.lane()?, ticked: Instant::now() }))?;
        engine.close()?;
        Ok(speed)
    }

    /// Times `stage` over the lines, on all threads.
    fn measure<S: Stage>(&self, mut stage: impl FnMut() -> Result<S, CliError>) -> Result<Speed, CliError> {
        let mut stages: Vec<S> = (0..self.threads).map(|_| stage()).collect::<Result<_, _>>()?;
        let mut passes = 1;
        if self.warm {
            self.pass(&mut stages, 1)?;
            passes = WARM_LINES.div_ceil(self.lines.len().max(1)).max(1);
        }
        let start = Instant::now();
        self.pass(&mut stages, passes)?;
        stages.into_iter().try_for_each(Stage::end)?;
        Ok(self.speed(passes, start.elapsed()))
    }

    fn pass<S: Stage>(&self, stages: &mut [S], passes: usize) -> Result<(), CliError> {
        thread::scope(|scope| {
            let threads: Vec<_> = stages
                .iter_mut()
                .enumerate()
                .map(|(index, stage)| {
                    let share = self.share(index);
                    scope.spawn(move || self.passes(stage, passes, share))
                })
                .collect();
            threads.into_iter().try_for_each(|thread| match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    /// One thread's passes, in blocks, so that a request to stop is heard and the directory removed.
    fn passes(&self, stage: &mut impl Stage, passes: usize, share: Range<usize>) -> Result<(), CliError> {
        for _ in 0..passes {
            let mut from = share.start;
            while from < share.end {
                let to = share.end.min(from + LINES_BETWEEN_STOPS);
                stage.pass(self.lines.range(from..to))?;
                if self.stop.is_set() {
                    return Err(CliError::Interrupted);
                }
                from = to;
            }
        }
        Ok(())
    }

    /// The lines of thread `index`.
    fn share(&self, index: usize) -> Range<usize> {
        let (lines, threads) = (self.lines.len(), usize::from(self.threads));
        lines * index / threads..lines * (index + 1) / threads
    }

    fn speed(&self, passes: usize, elapsed: Duration) -> Speed {
        let per_second = |amount: usize| (amount * passes) as f64 / elapsed.as_secs_f64().max(1e-9);
        Speed {
            lines_per_second: per_second(self.lines.len()).round(),
            megabytes_per_second: (per_second(self.lines.bytes()) / 1e4).round() / 100.0,
        }
    }
}

struct Tokenise(Tokeniser);

impl Stage for Tokenise {
    fn pass<'l>(&mut self, lines: impl Iterator<Item = &'l [u8]>) -> Result<(), CliError> {
        for line in lines {
            self.0.scan(line);
            black_box(self.0.skeleton().hash());
        }
        Ok(())
    }

    fn end(self) -> Result<(), CliError> {
        Ok(())
    }
}

struct Template<'s> {
    matcher: LaneMatcher,
    store: &'s Mutex<TemplateStore>,
}

impl Stage for Template<'_> {
    fn pass<'l>(&mut self, lines: impl Iterator<Item = &'l [u8]>) -> Result<(), CliError> {
        for line in lines {
            if let Some(found) = self.matcher.find(line) {
                black_box(found.id);
                continue;
            }
            let learned =
                self.store.lock().unwrap_or_else(PoisonError::into_inner).learn(self.matcher.skeleton(), line);
            black_box(self.matcher.remember(learned).id);
        }
        Ok(())
    }

    fn end(self) -> Result<(), CliError> {
        Ok(())
    }
}

struct Score {
    lane: Lane,
    ticked: Instant,
}

impl Stage for Score {
    fn pass<'l>(&mut self, lines: impl Iterator<Item = &'l [u8]>) -> Result<(), CliError> {
        let mut now = SystemClock.now();
        for (number, line) in lines.enumerate() {
            if number % LINES_A_BLOCK == 0 {
                now = SystemClock.now();
                if self.ticked.elapsed() >= TICK {
                    self.ticked = Instant::now();
                    black_box(self.lane.tick(now));
                }
            }
            black_box(&self.lane.observe(&Observation::new(line, now)));
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), CliError> {
        self.lane.commit()?;
        Ok(self.lane.close()?)
    }
}

fn text(measured: &Measured) -> String {
    let stages = [
        ("tokenise", measured.tokenise),
        ("template", measured.template),
        ("score", measured.score),
        ("log", measured.log),
        ("whole_path", measured.whole_path),
    ];
    let mut text = format!(
        "{} lines, {} bytes, {} threads\n",
        grouped(measured.lines as u64),
        grouped(measured.bytes as u64),
        measured.threads
    );
    for (name, speed) in stages {
        let lines = grouped(speed.lines_per_second as u64);
        text += &format!("{name:<10}  {lines:>12} lines/s  {:>9.2} MB/s\n", speed.megabytes_per_second);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the log's newest segment after so many events.
    fn newest_segment(config: &Config, events: usize) -> String {
        let engine = Engine::open(config, Environment::system()).unwrap();
        let mut lane = engine.lane().unwrap();
        for n in 0..events {
            lane.observe(&Observation::new(format!("request {n} took {} ms", n % 977).as_bytes(), SystemClock.now()));
        }
        lane.sync().unwrap();
        let segments = fs::read_dir(config.data_dir.as_ref().unwrap().join("wal/00")).unwrap();
        let newest = segments.map(|entry| entry.unwrap().file_name().into_string().unwrap()).max().unwrap();
        lane.close().unwrap();
        engine.close().unwrap();
        newest
    }

    #[test]
    fn the_log_is_measured_without_closing_a_segment() {
        let dir = tempfile::tempdir().unwrap();
        let config = |name| Config {
            data_dir: Some(dir.path().join(name)),
            wal_segment_bytes: 1 << 16,
            max_disk_bytes: 1 << 25,
            ..Config::default()
        };
        let first = newest_segment(&in_one_segment(config("log")).unwrap(), 60_000);
        let later = newest_segment(&config("whole_path"), 60_000);
        assert!(first.starts_with("0000000000000000.") && later > first, "{first} {later}");
    }
}
