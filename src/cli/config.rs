//! `oddline config`: check a configuration, print its schema or a commented example.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use oddline::config::{self, Config, ConfigError, Format};
use oddline::engine::embedding;
use serde::Serialize;

use super::error::CliError;
use super::output::{self, OutputFormat};

/// Flags of `oddline config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say whether configuration files are right, and if not, what is wrong where.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Print the JSON Schema of the configuration, for editors and agents.
    Schema,
    /// Print a configuration with every key, its meaning and its default.
    Example(ExampleArgs),
}

const CHECK_EXAMPLES: &str = "\
Examples:
  oddline config check oddline.yaml
  oddline config check --format json *.toml

Exit code 1 when a file is not right.";

#[derive(Debug, Args)]
struct CheckArgs {
    /// Configuration files (.yaml, .yml, .toml, .json).
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

#[derive(Debug, Args)]
struct ExampleArgs {
    /// The language to write it in; JSON has no comments, so it gives keys and defaults only.
    #[arg(long, value_enum, default_value_t)]
    format: ConfigFormat,
}

/// The languages of a configuration.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum ConfigFormat {
    #[default]
    Yaml,
    Toml,
    Json,
}

impl From<ConfigFormat> for Format {
    fn from(format: ConfigFormat) -> Self {
        match format {
            ConfigFormat::Yaml => Self::Yaml,
            ConfigFormat::Toml => Self::Toml,
            ConfigFormat::Json => Self::Json,
        }
    }
}

/// What was found out about one file.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    file: &'a Path,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Config>,
    /// The model that was loaded, and what runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
}

impl<'a> Checked<'a> {
    fn new(file: &'a Path, loaded: Result<Config, ConfigError>) -> Self {
        match loaded {
            Ok(config) => {
                Self { file, ok: true, error: None, line: None, key: None, config: Some(config), model: None }
            }
            Err(error) => Self {
                file,
                ok: false,
                line: error.line(),
                key: error.key().map(str::to_owned),
                error: Some(error.to_string()),
                config: None,
                model: None,
            },
        }
    }
}

impl Checked<'_> {
    /// Whether what it names outside of itself can be used: the model.
    fn usable(self) -> Self {
        let Some(checked) = self.config.as_ref().map(embedding::check) else { return self };
        match checked {
            Ok(checked) => Self { model: checked.model.is_some().then_some(checked.text), ..self },
            Err(error) => {
                let error = format!("{}: {error}", self.file.display());
                Self { ok: false, error: Some(error), key: Some("embedder".to_owned()), ..self }
            }
        }
    }

    /// For a file that is right.
    fn told(&self) -> String {
        let model = self.model.iter().map(|model| format!(", {model}")).collect::<String>();
        format!("{}: ok{model}", self.file.display())
    }
}

/// Runs the subcommand.
pub(crate) fn run(args: &ConfigArgs) -> Result<(), CliError> {
    match &args.command {
        ConfigCommand::Check(args) => check(args),
        ConfigCommand::Schema => output::print_json(&config::json_schema()),
        ConfigCommand::Example(args) => output::print(&config::example_in(args.format.into())),
    }
}

fn check(args: &CheckArgs) -> Result<(), CliError> {
    let checked: Vec<_> = args.files.iter().map(|file| Checked::new(file, Config::from_path(file)).usable()).collect();
    match args.format {
        OutputFormat::Json => output::print_json(&checked)?,
        OutputFormat::Text => {
            for result in &checked {
                match &result.error {
                    None => output::print(&result.told())?,
                    Some(error) => output::error(error),
                }
            }
        }
    }
    if checked.iter().all(|result| result.ok) { Ok(()) } else { Err(CliError::AlreadyTold) }
}
