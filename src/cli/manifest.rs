//! `oddline manifest check`: whether plugin manifests are right.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use oddline::plugin::manifest::{Manifest, ManifestError};
use serde::Serialize;

use super::error::CliError;
use super::output::{self, OutputFormat};

/// Flags of `oddline manifest`.
#[derive(Debug, Args)]
pub(crate) struct ManifestArgs {
    #[command(subcommand)]
    command: ManifestCommand,
}

#[derive(Debug, Subcommand)]
enum ManifestCommand {
    /// Say whether plugin manifests are right, and if not, what is wrong where.
    #[command(after_help = EXAMPLES)]
    Check(CheckArgs),
}

const EXAMPLES: &str = "\
A manifest describes one way into an agent: versions, files, entry points, capabilities, metrics, data dir. It is a \
YAML file named after it.

Examples:
  oddline manifest check plugin-manifests/*.yaml
  oddline manifest check --format json my-agent.yaml

Exit code 1 when a file is not right.";

#[derive(Debug, Args)]
struct CheckArgs {
    /// Manifests (.yaml).
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// What was found out about one file.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    file: &'a Path,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Runs the subcommand.
pub(crate) fn run(args: &ManifestArgs) -> Result<(), CliError> {
    match &args.command {
        ManifestCommand::Check(args) => check(args),
    }
}

fn check(args: &CheckArgs) -> Result<(), CliError> {
    let checked: Vec<_> = args.files.iter().map(|file| checked(file)).collect();
    match args.format {
        OutputFormat::Json => output::print_json(&checked)?,
        OutputFormat::Text => checked.iter().try_for_each(tell)?,
    }
    if checked.iter().all(|result| result.ok) { Ok(()) } else { Err(CliError::AlreadyTold) }
}

fn tell(result: &Checked<'_>) -> Result<(), CliError> {
    match &result.error {
        None => output::print(&format!("{}: ok", result.file.display())),
        Some(error) => {
            output::error(format_args!("{}: {error}", result.file.display()));
            Ok(())
        }
    }
}

fn checked(file: &Path) -> Checked<'_> {
    let wrong = |key, error| Checked { file, ok: false, key, error: Some(error) };
    let Some(name) = file.file_name().and_then(|name| name.to_str()?.strip_suffix(".yaml")) else {
        return wrong(None, "expected a name ending in .yaml".to_owned());
    };
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return wrong(None, format!("cannot read the manifest: {error}")),
    };
    match Manifest::parse(name, &text) {
        Ok(_) => Checked { file, ok: true, key: None, error: None },
        Err(ManifestError::Value { key, expected, found, .. }) => {
            wrong(Some(key), format!("{key}: expected {expected}, found {found:?}"))
        }
        Err(ManifestError::Format { source, .. }) => wrong(None, source.to_string()),
        Err(other) => wrong(None, other.to_string()),
    }
}
