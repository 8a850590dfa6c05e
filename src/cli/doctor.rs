//! `oddline doctor`: can this data dir be used, how much does it hold, what would be restored from it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use clap::Args;
use oddline::config::Config;
use oddline::engine::{Engine, Environment};
use serde::Serialize;
use serde_json::Value;

use super::error::CliError;
use super::output::{self, OutputFormat};
use super::settings::{self, EngineArgs};

/// Flags of `oddline doctor`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// How to print the findings.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

const EXAMPLES: &str = "\
Checks the configuration and the data dir, opens it like a run would (a torn end of a log is cut off, as a run \
would), and says what is restored. Exit code 1 when something is wrong; a data dir in use by another process counts \
as wrong, since no second one can use it.

Examples:
  oddline doctor --data-dir /var/lib/oddline
  oddline doctor --config oddline.yaml --format json";

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
}

impl Check {
    fn new<E: std::fmt::Display>(name: &'static str, result: Result<String, E>) -> Self {
        match result {
            Ok(detail) => Self { name, ok: true, detail },
            Err(error) => Self { name, ok: false, detail: error.to_string() },
        }
    }
}

/// Everything that was found.
#[derive(Debug, Default, Serialize)]
struct Findings {
    ok: bool,
    checks: Vec<Check>,
    /// Bytes by part of the data dir.
    sizes: Vec<(String, u64)>,
    recovery: Value,
    stats: Value,
}

/// Runs the command.
pub(crate) fn run(args: &DoctorArgs) -> Result<(), CliError> {
    let mut findings = Findings::default();
    match settings::load(&args.engine).and_then(settings::checked) {
        Ok(config) => examine(&config, &mut findings)?,
        Err(error) => findings.checks.push(Check::new("configuration", Err(error))),
    }
    findings.ok = findings.checks.iter().all(|check| check.ok);
    match args.format {
        OutputFormat::Json => output::print_json(&findings)?,
        OutputFormat::Text => output::print(&text(&findings))?,
    }
    if findings.ok { Ok(()) } else { Err(CliError::AlreadyTold) }
}

fn examine(config: &Config, findings: &mut Findings) -> Result<(), CliError> {
    findings.checks.push(Check::new::<CliError>("configuration", Ok("accepted".into())));
    let Some(dir) = config.data_dir.as_deref() else {
        return Err(CliError::Usage("name the data dir: --data-dir DIR, or a --config FILE with data_dir"));
    };
    if !dir.exists() {
        findings.checks.push(Check::new("data dir", can_be_made(dir)));
        return Ok(());
    }
    findings.checks.push(Check::new("data dir", writable(dir)));
    if findings.checks.iter().all(|check| check.ok) {
        findings.sizes = sizes(dir);
        let restored = restore(config, findings);
        findings.checks.push(Check::new("restore", restored));
    }
    Ok(())
}

/// The nearest directory above that exists must take new entries.
fn can_be_made(dir: &Path) -> io::Result<String> {
    let absolute = std::path::absolute(dir)?;
    let parent = absolute.ancestors().skip(1).find(|parent| parent.exists()).unwrap_or(Path::new("/"));
    writable(parent)?;
    Ok(format!("{} does not exist yet and would be made", dir.display()))
}

fn writable(dir: &Path) -> io::Result<String> {
    if !fs::metadata(dir)?.is_dir() {
        let what = format!("{} is not a directory", dir.display());
        return Err(io::Error::new(io::ErrorKind::NotADirectory, what));
    }
    let probe = dir.join(format!(".oddline-doctor-{}", std::process::id()));
    let in_dir = |error: io::Error| io::Error::new(error.kind(), format!("cannot write in {}: {error}", dir.display()));
    File::create_new(&probe).and_then(|file| file.sync_all()).map_err(in_dir)?;
    fs::remove_file(&probe).map_err(in_dir)?;
    Ok(format!("{} can be written to", dir.display()))
}

fn restore(config: &Config, findings: &mut Findings) -> Result<String, CliError> {
    let engine = Engine::open(config, Environment::system())?;
    findings.recovery = serde_json::to_value(engine.recovery()).unwrap_or_default();
    findings.stats = serde_json::to_value(engine.stats()).unwrap_or_default();
    engine.close()?;
    Ok("opened".into())
}

/// Bytes below each entry of `dir`.
fn sizes(dir: &Path) -> Vec<(String, u64)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut sizes: Vec<_> = entries
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), size(&entry.path())))
        .collect();
    sizes.sort();
    sizes
}

fn size(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => {
            fs::read_dir(path).map_or(0, |entries| entries.flatten().map(|entry| size(&entry.path())).sum())
        }
        Ok(meta) => meta.len(),
        Err(_) => 0,
    }
}

fn text(findings: &Findings) -> String {
    let mut text = String::new();
    for check in &findings.checks {
        let mark = if check.ok { "ok   " } else { "WRONG" };
        text += &format!("{mark}  {}: {}\n", check.name, check.detail);
    }
    for (name, bytes) in &findings.sizes {
        text += &format!("       {name}: {bytes} bytes\n");
    }
    for (title, value) in [("restored", &findings.recovery), ("holds", &findings.stats)] {
        if !value.is_null() {
            text += &format!("\n{title}\n{}", super::stats::lines(value));
        }
    }
    text
}
