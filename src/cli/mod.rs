//! The command: one file a subcommand, and one for each thing several of them need.
//!
//! | file | role |
//! |---|---|
//! | `score`, `serve` (feature `serve`), `scan`, `templates`, `stats`, `history`, `search`, `reembed`, `feedback`, `recalibrate`, `baseline`, `incidents`, `note`, `show`, `config`, `manifest`, `install/`, `doctor`, `bench`, `demo`, `completions`, `man` | the subcommands |
//! | `input`, `lines`, `feed` | what is read, how it becomes lines, the loop that reads it |
//! | `settings`, `reader` | the configuration of a run; lines scored in memory |
//! | `dropped` | what `score --sample` leaves out |
//! | `output`, `error`, `signals`, `progress` | what is written where, exit codes, a clean end |
//! | `report`, `groups`, `related`, `report_text`, `sparkline` | what `scan` and `demo` say at the end |
//! | `story`, `random` | what `demo` replays |
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage,
//! 130 interrupted without a result.

mod baseline;
mod bench;
mod completions;
mod config;
mod demo;
mod doctor;
mod dropped;
mod error;
mod explain;
mod feed;
mod feedback;
mod groups;
mod history;
mod incidents;
mod input;
mod install;
mod lines;
mod man;
mod manifest;
mod note;
mod output;
mod progress;
mod random;
mod reader;
mod recalibrate;
mod reembed;
mod related;
mod report;
mod report_text;
mod scan;
mod score;
mod search;
#[cfg(feature = "serve")]
mod serve;
mod settings;
mod show;
mod signals;
mod sparkline;
mod stats;
mod story;
mod templates;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use oddline::engine::feedback::Opinion;
use tracing_subscriber::EnvFilter;

use self::error::CliError;

/// Environment variable that sets what is logged to standard error.
const LOG_VARIABLE: &str = "ODDLINE_LOG";

/// Finds the odd line in a log stream.
#[derive(Debug, Parser)]
#[command(version, about, long_about = LONG_ABOUT, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "\
Finds the odd line in a log stream.

oddline learns what a host's logs look like, gives every event an anomaly score with a reason, and keeps what it \
learned on disk. No training data, no rules to write, no network.";

const EXAMPLES: &str = "\
Examples:
  oddline demo                                       a story with an incident in it; needs no file
  oddline scan /var/log/syslog                       what is odd in this file?
  tail -F app.log | oddline score --only-anomalies   only the odd lines, as they come
  oddline score --data-dir /var/lib/oddline app.log  remember what was learned for the next run

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted without a result. Set ODDLINE_LOG=debug to see what happens inside.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Score events: lines or NDJSON in, the same events with an `anomaly` field out, as they come.
    Score(score::ScoreArgs),
    /// Score events that come over a socket: between Vector's `vector` sink and source, or over HTTP.
    #[cfg(feature = "serve")]
    Serve(serve::ServeArgs),
    /// Report what is odd in files.
    Scan(scan::ScanArgs),
    /// List the templates a log consists of.
    Templates(templates::TemplatesArgs),
    /// Print what a data dir holds, in numbers.
    Stats(stats::StatsArgs),
    /// Print what was seen when: counts of templates over time, or the newest events.
    History(history::HistoryArgs),
    /// Find templates in words: nearest in meaning, when they were seen and how often.
    Search(search::SearchArgs),
    /// Make the vectors of all templates with the model that is configured.
    Reembed(reembed::ReembedArgs),
    /// Say that a template is normal: its events are no anomalies any more.
    Accept(feedback::SayArgs),
    /// Say that a template is to be told every time.
    Flag(feedback::SayArgs),
    /// List what was said of templates, or take it back.
    Feedback(feedback::FeedbackArgs),
    /// Fit what the detector `semantic` measures by anew.
    Recalibrate(recalibrate::RecalibrateArgs),
    /// List the incidents of a data dir.
    Incidents(incidents::IncidentsArgs),
    /// Say what was behind an incident: told again with the next one like it.
    Note(note::NoteArgs),
    /// Print the whole story of one event.
    Show(show::ShowArgs),
    /// Compact the journal of incidents.
    Journal(incidents::JournalArgs),
    /// Export, merge, compare and load what hosts have learned.
    Baseline(baseline::BaselineArgs),
    /// Check a configuration, print its schema or an example.
    Config(config::ConfigArgs),
    /// Check plugin manifests.
    Manifest(manifest::ManifestArgs),
    /// Put what an agent needs in place and print what to add to its configuration.
    Install(install::InstallArgs),
    /// Take away what `install` put in place, and nothing else.
    Uninstall(install::UninstallArgs),
    /// Say whether a data dir can be used and what would be restored from it.
    Doctor(doctor::DoctorArgs),
    /// Measure how fast oddline is on a log of yours, on this machine.
    Bench(bench::BenchArgs),
    /// Replay a built-in story with an incident in it.
    Demo(demo::DemoArgs),
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArgs),
    /// Print the manual page.
    Man(man::ManArgs),
}

/// Parses the command line, runs the command, tells what failed.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    log_to_stderr();
    match run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_silent() {
                output::error(&error);
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: &Command) -> Result<(), CliError> {
    match command {
        Command::Score(args) => score::run(args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args),
        Command::Scan(args) => scan::run(args),
        Command::Templates(args) => templates::run(args),
        Command::Stats(args) => stats::run(args),
        Command::History(args) => history::run(args),
        Command::Search(args) => search::run(args),
        Command::Reembed(args) => reembed::run(args),
        Command::Accept(args) => feedback::say(args, Opinion::Accept),
        Command::Flag(args) => feedback::say(args, Opinion::Flag),
        Command::Feedback(args) => feedback::run(args),
        Command::Recalibrate(args) => recalibrate::run(args),
        Command::Incidents(args) => incidents::run(args),
        Command::Note(args) => note::run(args),
        Command::Show(args) => show::run(args),
        Command::Journal(args) => incidents::journal(args),
        Command::Baseline(args) => baseline::run(args),
        Command::Config(args) => config::run(args),
        Command::Manifest(args) => manifest::run(args),
        Command::Install(args) => install::run(args),
        Command::Uninstall(args) => install::uninstall(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}

/// Prints help, version or what is wrong with the flags.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed pipe behind `--help` is no failure.
    error.print().unwrap_or_default();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

fn log_to_stderr() {
    let wanted = std::env::var(LOG_VARIABLE).unwrap_or_default();
    let usual = || EnvFilter::new("warn");
    let filter = match EnvFilter::try_new(&wanted) {
        _ if wanted.is_empty() => usual(),
        Ok(filter) => filter,
        Err(error) => {
            output::warn(format_args!(
                "{LOG_VARIABLE} is not understood ({error}): expected error, warn, info, debug or trace"
            ));
            usual()
        }
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
