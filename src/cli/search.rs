//! `oddline search`: templates nearest in meaning to some words, from the files of a data dir, beside an engine that may be running on it.

use std::fmt::Write as _;

use clap::Args;
use oddline::clock::{Clock, SystemClock};
use oddline::engine::history::Query;
use oddline::engine::search::{self, Found, Hit, Search};
use serde::Serialize;

use super::error::CliError;
use super::history::event_lines;
use super::incidents::{config, fs};
use super::output::{self, Output, OutputFormat};
use super::report_text::{cut, grouped};
use super::settings::{EngineArgs, PeriodArgs, StreamArgs};

/// Flags of `oddline search`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SearchArgs {
    /// What to search for, in words; digits and signs are not searched.
    #[arg(value_name = "WORDS", required = true)]
    words: Vec<String>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    period: PeriodArgs,
    #[command(flatten)]
    stream: StreamArgs,
    /// How many templates are found at most.
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = at_least_one)]
    k: usize,
    /// List the newest events of the templates found instead, at most N.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "50", require_equals = true)]
    events: Option<usize>,
    /// How to print it; with json one object a line.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

const EXAMPLES: &str = "\
Finds the templates of the history (chunks on disk, and the log that is not a chunk yet) that are nearest to the words: by whole words, how seldom each is among \
the templates, pairs of words, and the letters in them, so that \"exhausted connections\" finds `connection pool exhausted`. Other words for the same thing are known \
to be the same with a sentence model alone (embedder: onnx). Messages are not kept: an example is the last message the journal of incidents has of a template. Works while an agent uses the data dir, for \
what that has written (seconds). With --stream every event of the time asked for is read. First and last times are those of the events; where --since or --until cuts through a file of \
the history, which counts by window (`window_secs`), the start of the window, and the output says so (`first_within_secs`, `last_within_secs`). Each line of JSON names what made the \
vectors (`model`), and why that is not the model configured (`fallback`).

Examples:
  oddline search \"connection pool exhausted\" --data-dir /var/lib/oddline --since 24h
  oddline search \"disk full\" --data-dir /var/lib/oddline --stream host=db1 --k 3 --events
  oddline search \"login failed\" --data-dir /var/lib/oddline --format json | jq .template";

const NONE: &str =
    "no template was seen in the time and on the stream asked for, or nothing was scored into this data dir yet";

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "expected a whole number from 1 on".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &SearchArgs) -> Result<(), CliError> {
    let config = config(&args.engine)?;
    let fs = fs();
    let (since, until) = args.period.read(SystemClock.now())?;
    let search = Search {
        words: args.words.join(" "),
        from: since.unwrap_or(Query::ALL.from),
        until: until.unwrap_or(Query::ALL.until),
        stream: args.stream.read(&config)?,
        most: args.k,
    };
    let found = search::search(&config, &fs, &search)?;
    if let Some(reason) = &found.fallback {
        output::warn(format_args!("searched by words alone: {reason}"));
    }
    found.damaged.iter().for_each(|damage| output::warn(format_args!("passed over: {damage}")));
    let Some(most) = args.events else {
        return match args.format {
            OutputFormat::Json => print_lines(&found, &found.templates),
            OutputFormat::Text => output::print(&text(&found)),
        };
    };
    let events = search::newest_events(&config, &fs, &search, &found, most)?;
    match args.format {
        OutputFormat::Json => print_lines(&found, &events),
        OutputFormat::Text if events.is_empty() => output::print("no events"),
        OutputFormat::Text => output::print(&event_lines(&events)),
    }
}

/// A line of JSON: what was found, and what made the vectors.
#[derive(Debug, Serialize)]
struct Row<'r, T> {
    #[serde(flatten)]
    found: &'r T,
    model: &'r str,
    fallback: Option<&'r str>,
}

fn print_lines<T: Serialize>(found: &Found, rows: &[T]) -> Result<(), CliError> {
    let mut out = Output::stdout();
    let (model, fallback) = (found.model.as_str(), found.fallback.as_deref());
    for row in rows {
        let written = serde_json::to_writer(&mut *out.buffer(), &Row { found: row, model, fallback });
        written.map_err(|error| CliError::Output { what: "JSON".into(), source: error.into() })?;
        out.buffer().push(b'\n');
        out.appended()?;
    }
    out.flush()
}

fn text(found: &Found) -> String {
    let mut text = String::new();
    found.templates.iter().for_each(|hit| add(&mut text, hit));
    let searched = grouped(found.templates_searched as u64);
    let _infallible = match found.templates.len() {
        0 if found.templates_searched == 0 => writeln!(text, "{NONE}"),
        0 => writeln!(text, "nothing like it among {searched} templates, by {}", found.model),
        _ => writeln!(text, "\nof {searched} templates, by {}", found.model),
    };
    if found.unlisted_events > 0 {
        let _infallible = writeln!(text, "{} events of templates too many to list", grouped(found.unlisted_events));
    }
    text
}

/// Of times that are but those of windows, how long these are.
fn within(hit: &Hit) -> String {
    let said = |secs: u64| format!("{secs} s from there on");
    match (hit.first_within_secs, hit.last_within_secs) {
        (0, 0) => String::new(),
        (first, 0) => format!(" (first within {})", said(first)),
        (0, last) => format!(" (last within {})", said(last)),
        (first, _) => format!(" (each within {})", said(first)),
    }
}

fn add(text: &mut String, hit: &Hit) {
    let Hit { similarity, template_id, first_seen, last_seen, .. } = hit;
    let (template, events, anomalies) = (cut(&hit.template), grouped(hit.events), grouped(hit.anomalies));
    let mut line = format!("{similarity:.2}  {template}\n      {template_id}  {events} events, {anomalies} anomalies");
    if first_seen == last_seen {
        line += &format!("  {first_seen}");
    } else {
        line += &format!("  {first_seen} to {last_seen}");
    }
    line += &within(hit);
    if let Some(example) = &hit.example {
        line += &format!("\n      as in: {}", cut(example));
    }
    text.push_str(&line);
    text.push('\n');
}
