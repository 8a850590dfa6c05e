//! `oddline baseline`: what was learned, exported, merged, compared, and loaded by a new host.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use oddline::config::Config;
use oddline::engine::baseline::{self, Baseline, Difference, Manifest};
use oddline::engine::{Engine, EngineError, Environment};
use oddline::storage::{LockError, RealFs, host_name};
use serde::Serialize;

use super::error::CliError;
use super::output::{self, OutputFormat};
use super::report_text::{cut, grouped};
use super::settings::{self, EngineArgs};

/// Templates shown where there may be many.
const SHOWN: usize = 20;

/// Flags of `oddline baseline`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BaselineArgs {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
A baseline is what a host learned, in one file: templates with their ids, counts, what the detectors learned, the calibration. A host that starts from \
one is ready at once. Merged baselines know what all their hosts know: templates are unified by structure, counts added, calibrations pooled; the order \
of the files does not matter, and the same state gives the same bytes. Masks and limits of a line must be the same everywhere. Silences, alerts held \
and history are a host's own and stay there; what users accepted or flagged goes along, a flag before an acceptance. A baseline \
that is read may be a URL: s3://, gs://, az://, https:// with the feature object-store, file:// always.

Examples:
  oddline baseline export web1.baseline --data-dir /var/lib/oddline   also while an agent runs: then its newest checkpoint
  oddline baseline merge web1.baseline web2.baseline web3.baseline -o web.baseline
  oddline baseline diff web.baseline web4.baseline
  oddline baseline import web.baseline --data-dir /var/lib/oddline    on a new host; or `baseline: web.baseline` in its configuration
  oddline baseline show s3://fleet/web.baseline";

#[derive(Debug, Subcommand)]
enum Action {
    /// Write what a data dir has learned to a file.
    Export {
        /// The file to write; what is there is replaced.
        file: PathBuf,
        #[command(flatten)]
        engine: EngineArgs,
        /// What to call the origin; without it the machine's name.
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
    },
    /// Make a new data dir of a baseline; one that has learned already is refused.
    Import {
        /// The baseline.
        file: PathBuf,
        #[command(flatten)]
        engine: EngineArgs,
    },
    /// Say what two baselines have and have not in common.
    Diff {
        /// The first.
        first: PathBuf,
        /// The second.
        second: PathBuf,
        /// Templates to show of each kind.
        #[arg(long, value_name = "N", default_value_t = SHOWN)]
        top: usize,
        /// How to print it; as JSON all of them.
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Make one baseline of several.
    Merge {
        /// The baselines.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The file to write; what is there is replaced.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Configuration file, for how fast is forgotten and when templates merge; without it the defaults.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Say what a baseline holds and where it comes from.
    Show {
        /// The baseline.
        file: PathBuf,
        /// Templates to show, the most frequent first.
        #[arg(long, value_name = "N", default_value_t = SHOWN)]
        top: usize,
        /// How to print it; as JSON with all templates.
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
}

/// Runs the command.
pub(crate) fn run(args: &BaselineArgs) -> Result<(), CliError> {
    match &args.action {
        Action::Export { file, engine, host } => export(file, engine, host.as_deref()),
        Action::Import { file, engine } => import(file, engine),
        Action::Diff { first, second, top, format } => diff(first, second, *top, *format),
        Action::Merge { files, output, config } => merge(files, output, config.as_deref()),
        Action::Show { file, top, format } => show(file, *top, *format),
    }
}

fn export(file: &Path, engine: &EngineArgs, host: Option<&str>) -> Result<(), CliError> {
    let config = settings::checked(settings::load(engine)?)?;
    let dir = settings::existing_data_dir(&config)?;
    let host = host.map_or_else(host_name, str::to_owned);
    // A baseline to start from is not what was learned here.
    let config = Config { baseline: None, ..config.clone() };
    let baseline = match Engine::inspect(&config, Environment::system()) {
        Ok(engine) => {
            if engine.recovery().is_damaged() {
                output::warn(format_args!("the data dir is damaged (see oddline doctor): what is whole is exported"));
            }
            if engine.stats().templates == 0 {
                return Err(baseline::BaselineError::NothingLearned { path: dir.to_owned() }.into());
            }
            Baseline::of_engine(&engine, &host)?
        }
        Err(EngineError::Lock(LockError::HeldByProcess { .. })) => {
            output::warn("the data dir is in use: its newest checkpoint is exported");
            Baseline::of_checkpoint(&RealFs, &config, dir, &host)?
        }
        Err(error) => return Err(error.into()),
    };
    baseline.write(&RealFs, file)?;
    output::print(&summary(file, baseline.manifest()))
}

fn import(file: &Path, engine: &EngineArgs) -> Result<(), CliError> {
    let config = settings::checked(settings::load(engine)?)?;
    if config.data_dir.is_none() {
        return Err(CliError::Usage("name the data dir to make: --data-dir DIR, or a --config FILE with data_dir"));
    }
    let manifest = baseline::import(&config, Environment::system(), file)?;
    output::print(&summary(file, &manifest))
}

fn merge(files: &[PathBuf], to: &Path, config: Option<&Path>) -> Result<(), CliError> {
    let config = settings::checked(settings::from_file(config)?)?;
    let mut parts: Vec<(String, Baseline)> = Vec::new();
    for file in files {
        let baseline = Baseline::read(&RealFs, &config, file)?;
        for (name, other) in &parts {
            let shared = baseline.manifest().shared_origins(other.manifest());
            if !shared.is_empty() {
                let (hosts, file) = (shared.join(", "), file.display());
                output::warn(format_args!("{file} and {name} both come from {hosts}: what they share counts twice"));
            }
        }
        parts.push((file.display().to_string(), baseline));
    }
    let merged = Baseline::merge(&config, parts)?;
    merged.write(&RealFs, to)?;
    output::print(&summary(to, merged.manifest()))
}

fn summary(file: &Path, manifest: &Manifest) -> String {
    let state = if manifest.is_ready { "ready" } else { "learning" };
    let hosts: Vec<&str> = manifest.origins.iter().map(|origin| origin.host.as_str()).collect();
    let (file, templates, events) = (file.display(), grouped(manifest.templates), grouped(manifest.events));
    format!("{file}: {templates} templates, {events} events of {}; {state}\n", hosts.join(", "))
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    manifest: &'a Manifest,
    all_templates: Vec<baseline::BaselineTemplate>,
}

fn show(file: &Path, top: usize, format: OutputFormat) -> Result<(), CliError> {
    let baseline = Baseline::read(&RealFs, &Config::default(), file)?;
    let (manifest, all_templates) = (baseline.manifest(), baseline.templates());
    if format == OutputFormat::Json {
        return output::print_json(&Shown { manifest, all_templates });
    }
    let mut text = summary(file, manifest);
    if manifest.feedback > 0 {
        let _infallible = writeln!(text, "{} templates accepted or flagged by users", grouped(manifest.feedback));
    }
    let _infallible = writeln!(text, "written by oddline {}, tokeniser {}\n", manifest.oddline, manifest.tokeniser);
    for origin in &manifest.origins {
        let (events, incidents) = (grouped(origin.events), grouped(origin.incidents));
        let (host, templates) = (&origin.host, grouped(origin.templates));
        let _infallible = writeln!(text, "{host}: {events} events, {incidents} anomalies, {templates} templates");
    }
    text.push('\n');
    for template in all_templates.iter().take(top) {
        text.push_str(&line(template));
    }
    text.push_str(&rest(all_templates.len(), top));
    output::print(&text)
}

fn line(template: &baseline::BaselineTemplate) -> String {
    let (count, share) = (grouped(template.count), 100.0 * template.share);
    format!("{count:>12}  {share:>6.2} %  {}  {}\n", template.template_id, cut(&template.template))
}

fn rest(all: usize, shown: usize) -> String {
    if all > shown { format!("… and {} more\n", all - shown) } else { String::new() }
}

fn diff(first: &Path, second: &Path, top: usize, format: OutputFormat) -> Result<(), CliError> {
    let config = Config::default();
    let read = |path: &Path| Baseline::read(&RealFs, &config, path);
    let difference = baseline::diff(&config, &read(first)?, &read(second)?)?;
    match format {
        OutputFormat::Json => output::print_json(&difference),
        OutputFormat::Text => output::print(&diff_text(first, second, top, &difference)),
    }
}

fn diff_text(first: &Path, second: &Path, top: usize, difference: &Difference) -> String {
    let mut text = String::new();
    for (file, only) in [(first, &difference.only_in_first), (second, &difference.only_in_second)] {
        let _infallible = writeln!(text, "{} templates in {} alone", grouped(only.len() as u64), file.display());
        only.iter().take(top).for_each(|template| text.push_str(&line(template)));
        text.push_str(&rest(only.len(), top));
        text.push('\n');
    }
    let both = &difference.in_both;
    let _infallible = writeln!(text, "{} templates in both, those whose share differs most first", both.len());
    for template in both.iter().take(top) {
        let (before, after) = (100.0 * template.first_share, 100.0 * template.second_share);
        let (id, shown) = (&template.template_id, cut(&template.template));
        let _infallible = writeln!(text, "{before:>7.2} % → {after:>6.2} %  {id}  {shown}");
    }
    text.push_str(&rest(both.len(), top));
    text
}
