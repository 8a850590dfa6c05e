//! `oddline stats`: what a data dir holds, in numbers.

use clap::Args;
use oddline::engine::{Engine, Environment};
use serde_json::Value;

use super::error::CliError;
use super::output::{self, OutputFormat};
use super::settings::{self, EngineArgs};

/// Flags of `oddline stats`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// How to print the numbers.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

const EXAMPLES: &str = "\
Fails while another process uses the data dir, and names it.

Examples:
  oddline stats --data-dir /var/lib/oddline
  oddline stats --data-dir /var/lib/oddline --format json | jq .events_total";

/// Runs the command.
pub(crate) fn run(args: &StatsArgs) -> Result<(), CliError> {
    let config = settings::checked(settings::load(&args.engine)?)?;
    settings::existing_data_dir(&config)?;
    let engine = Engine::inspect(&config, Environment::system())?;
    let stats = engine.stats();
    let printed = match args.format {
        OutputFormat::Json => output::print_json(&stats),
        OutputFormat::Text => output::print(&lines(&serde_json::to_value(&stats).unwrap_or_default())),
    };
    engine.close()?;
    printed
}

/// One line a key.
pub(crate) fn lines(value: &Value) -> String {
    let Value::Object(map) = value else { return value.to_string() };
    let width = map.keys().map(String::len).max().unwrap_or(0);
    map.iter().map(|(key, value)| format!("{key:<width$}  {}\n", plain(value))).collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
