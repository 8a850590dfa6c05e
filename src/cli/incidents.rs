//! `oddline incidents` and `oddline journal compact`: what was odd, as the journal has it.

use std::sync::Arc;

use clap::{Args, Subcommand};
use oddline::clock::{Clock, SystemClock};
use oddline::config::Config;
use oddline::engine::incidents;
use oddline::event::Reason;
use oddline::storage::journal::{Found, Incident, Reading};
use oddline::storage::{FileSystem, RealFs};
use serde::Serialize;

use super::error::CliError;
use super::output::{self, Output, OutputFormat};
use super::report_text::{cut, grouped};
use super::settings::{self, EngineArgs, PeriodArgs, StreamArgs};

/// Flags of `oddline incidents`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct IncidentsArgs {
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    period: PeriodArgs,
    #[command(flatten)]
    stream: StreamArgs,
    /// Of this host alone, where one journal has several.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// With this among their reasons alone.
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Option<Reason>,
    /// The newest N; 0: all.
    #[arg(long, value_name = "N", default_value_t = 100)]
    top: usize,
    /// How to print them.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

const EXAMPLES: &str = "\
Lists the journal of a data dir, oldest first, also while an agent uses it: then without what that has not written yet \
(journal.interval_secs, 10 s). The journals of many hosts are one table for whatever reads Hive-partitioned NDJSON or Parquet: \
with DuckDB, select * from read_json('JOURNAL/*/*/*/*.ndjson', hive_partitioning = true, union_by_name = true), or \
read_parquet('JOURNAL/*/*/*/*.parquet', hive_partitioning = true, union_by_name = true). Later versions may add columns: \
union_by_name unites objects of several ages.

Examples:
  oddline incidents --data-dir /var/lib/oddline --since 2h --stream host=db1
  oddline incidents --data-dir /var/lib/oddline --format json | jq '.[] | select(.score > 0.9).message'
  oddline show 019aa3c0f1e2-00000103-0000000a3f --data-dir /var/lib/oddline";

/// A reason is not one.
#[derive(Debug, thiserror::Error)]
#[error("expected one of {}", Reason::ALL.map(Reason::as_str).join(", "))]
pub(super) struct NotAReason;

/// A reason on the command line.
pub(super) fn reason(text: &str) -> Result<Reason, NotAReason> {
    Reason::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or(NotAReason)
}

/// Flags of `oddline journal`.
#[derive(Debug, Args)]
pub(crate) struct JournalArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make one object of the many of each hour: the merged one is stored first, then the others are deleted.
    Compact {
        #[command(flatten)]
        engine: EngineArgs,
        /// How to print what was done.
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
}

/// Runs `journal`.
pub(crate) fn journal(args: &JournalArgs) -> Result<(), CliError> {
    let Action::Compact { engine, format } = &args.action;
    let config = config(engine)?;
    let report = incidents::compact(&config, &fs())?;
    report.left.iter().for_each(|left| output::warn(format_args!("left as it is: {left}")));
    match format {
        OutputFormat::Json => output::print_json(&report),
        OutputFormat::Text => output::print(&format!(
            "{} hours compacted: {} objects became {}, {} duplicates removed",
            grouped(report.partitions),
            grouped(report.deleted),
            grouped(report.written),
            grouped(report.duplicates)
        )),
    }
}

/// The configuration with a data dir that is there.
pub(super) fn config(engine: &EngineArgs) -> Result<Config, CliError> {
    let config = settings::checked(settings::load(engine)?)?;
    settings::existing_data_dir(&config)?;
    Ok(config)
}

/// The machine's files.
pub(super) fn fs() -> Arc<dyn FileSystem> {
    Arc::new(RealFs)
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    host: &'a str,
    #[serde(flatten)]
    incident: &'a Incident,
}

/// Runs `incidents`.
pub(crate) fn run(args: &IncidentsArgs) -> Result<(), CliError> {
    let config = config(&args.engine)?;
    let (since, until) = args.period.read(SystemClock.now())?;
    let reading = Reading {
        since,
        until,
        host: args.host.clone(),
        streams: args.stream.read(&config)?.map(|stream| stream.names).unwrap_or_default(),
        reason: args.reason,
        limit: (args.top > 0).then_some(args.top),
        ..Reading::default()
    };
    let found = incidents::read(&config, &fs(), &reading)?;
    tell_damage(&found);
    let shown = &found.incidents;
    match args.format {
        OutputFormat::Json => {
            let rows: Vec<Row<'_>> = shown.iter().map(|(host, incident)| Row { host, incident }).collect();
            output::print_json(&rows)
        }
        OutputFormat::Text => print_text(&found),
    }
}

/// Says what could not be read.
pub(super) fn tell_damage(found: &Found) {
    if found.damaged_lines > 0 {
        output::warn(format_args!("{} damaged places in the journal were passed over", found.damaged_lines));
    }
    found.damaged_objects.iter().for_each(|damaged| output::warn(format_args!("not read: {damaged}")));
}

fn print_text(found: &Found) -> Result<(), CliError> {
    if found.incidents.is_empty() {
        return output::print("no incidents");
    }
    let mut out = Output::stdout();
    for (host, incident) in &found.incidents {
        out.buffer().extend_from_slice(line(host, incident).as_bytes());
        out.appended()?;
    }
    out.flush()?;
    if let Some(older) = older(found) {
        output::note(&format!("{older} (--top 0 shows all)\n"));
    }
    Ok(())
}

/// What there is besides, as far as it was looked at.
fn older(found: &Found) -> Option<String> {
    let (left_out, unread) = (grouped(found.left_out), grouped(found.unread_objects));
    match (found.left_out, found.unread_objects) {
        (0, 0) => None,
        (_, 0) => Some(format!("{left_out} older ones are left out")),
        (0, _) => Some(format!("older ones in {unread} objects are left out")),
        _ => Some(format!("{left_out} older ones are left out, and those of {unread} objects")),
    }
}

fn line(host: &str, incident: &Incident) -> String {
    let Incident { time, event_id, score, .. } = incident;
    let place = if incident.stream.is_empty() { host } else { &incident.stream };
    let what = incident.message.as_deref().unwrap_or(&incident.template);
    let reasons = incident.reasons.join(", ");
    format!("{time}  {score:.2}  {event_id}  {}  {reasons}\n    {}\n", cut(place), cut(what))
}
