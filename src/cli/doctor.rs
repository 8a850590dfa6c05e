//! `oddline doctor`: can this data dir be used, how much does it hold, what would be restored from it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use oddline::config::{Config, Durability, EmbedderKind};
use oddline::engine::baseline::{self, Manifest};
use oddline::engine::embedding;
use oddline::engine::incidents;
use oddline::engine::repair::{self, DamagedFile};
use oddline::engine::vectors::{self, Kept};
use oddline::engine::{Engine, EngineError, Environment, RecoveryReport};
use oddline::storage::{FileSystem, RealFs, StorageError, chunk_dir};
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
    /// Repair what is damaged: move it to quarantine/ in the data dir, and keep what is whole of it in its place.
    #[arg(long)]
    repair: bool,
    /// How to print the findings.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

const EXAMPLES: &str = "\
Checks the configuration and the data dir, reads it like a run would and says what is restored, and reads every chunk \
of the history; without --repair nothing in it is changed. Exit code 1 when something is wrong; a data dir in use by another process counts \
as wrong, since no second one can use it.

Examples:
  oddline doctor --data-dir /var/lib/oddline
  oddline doctor --data-dir /var/lib/oddline --repair
  oddline doctor --config oddline.yaml --format json";

/// The check of the model.
const EMBEDDER: &str = "embedder";

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
    sizes: BTreeMap<String, u64>,
    recovery: Value,
    stats: Value,
    /// What was repaired.
    repaired: Vec<DamagedFile>,
}

/// Runs the command.
pub(crate) fn run(args: &DoctorArgs) -> Result<(), CliError> {
    let mut findings = Findings::default();
    match settings::load(&args.engine).and_then(settings::checked) {
        Ok(config) => {
            if args.repair {
                settings::existing_data_dir(&config)?;
                findings.repaired = repair::repair(&config, Environment::system())?;
            }
            examine(&config, &mut findings)?;
        }
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
    findings.checks.extend(baseline(config));
    let model = embedder(config, findings);
    if !dir.exists() {
        findings.checks.push(Check::new("data dir", can_be_made(dir)));
        return Ok(());
    }
    findings.checks.push(Check::new("data dir", writable(dir)));
    // A model that cannot be used keeps nobody from using the data dir.
    if findings.checks.iter().all(|check| check.ok || check.name == EMBEDDER) {
        findings.sizes = sizes(dir);
        let restored = restore(config, findings);
        findings.checks.push(Check::new("restore", restored));
        findings.checks.push(Check::new("history", history(&dir.join("chunks"))));
        findings.checks.extend(vectors(dir, model.as_ref()));
        if config.journal.enabled {
            findings.checks.push(Check::new("journal", journal(config)));
        }
        findings.checks.push(Check::new::<CliError>("a crash now", Ok(at_stake(config, &findings.recovery))));
    }
    Ok(())
}

/// Loads the model; its name and the numbers of its vectors, where there is one.
fn embedder(config: &Config, findings: &mut Findings) -> Option<(String, usize)> {
    if config.embedder == EmbedderKind::Hashing {
        return None;
    }
    let checked = embedding::check(config);
    findings.checks.push(Check::new(EMBEDDER, checked.as_ref().map(|checked| checked.text.clone())));
    checked.ok()?.model
}

/// Reads the vectors a model made of templates; none where there are none and none are wanted.
fn vectors(dir: &Path, model: Option<&(String, usize)>) -> Option<Check> {
    let told = match vectors::check(&RealFs, dir) {
        Ok(None) => return model.map(|_| Check::new::<CliError>("vectors", Ok("none yet".to_owned()))),
        Ok(Some(kept)) => Ok(kept_vectors(&kept, model)),
        Err(error) => Err(error),
    };
    Some(Check::new("vectors", told))
}

fn kept_vectors(kept: &Kept, model: Option<&(String, usize)>) -> String {
    let Kept { model: made_by, dimensions, vectors } = kept;
    let told = match model {
        Some((name, wanted)) if (name, wanted) == (made_by, dimensions) => "",
        Some(_) => ": not the model that is configured, so that a run makes them anew, as oddline reembed does at once",
        None => ": not used, since no model is configured or it cannot be used",
    };
    format!("{vectors} of {dimensions} numbers by {made_by}{told}")
}

/// Reads the baseline that a start now would begin with.
fn baseline(config: &Config) -> Option<Check> {
    config.baseline.as_ref()?;
    let planned = baseline::planned(&RealFs, config).map(|planned| match planned {
        Some(Manifest { templates, events, origins, .. }) => {
            format!("{templates} templates, {events} events of {} hosts: what a start now begins with", origins.len())
        }
        None => "not looked at: the data dir has a checkpoint".to_owned(),
    });
    Some(Check::new("baseline", planned))
}

/// Reads every object of the journal.
fn journal(config: &Config) -> Result<String, String> {
    let fs: Arc<dyn FileSystem> = Arc::new(RealFs);
    let found = incidents::verify(config, &fs).map_err(|error| error.to_string())?;
    if found.is_whole() {
        return Ok(format!("{} incidents", found.incidents));
    }
    let (lines, objects, told) = (found.damaged_lines, found.damaged_objects, found.told.join("; "));
    Err(format!("{} incidents; {lines} damaged lines, {objects} damaged objects: {told}", found.incidents))
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

fn restore(config: &Config, findings: &mut Findings) -> Result<String, Problem> {
    let engine = Engine::inspect(config, Environment::system())?;
    let recovery = engine.recovery().clone();
    findings.recovery = serde_json::to_value(&recovery).unwrap_or_default();
    findings.stats = serde_json::to_value(engine.stats()).unwrap_or_default();
    engine.close()?;
    if recovery.is_damaged() { Err(Problem::Damaged(damage(&recovery))) } else { Ok(restored(&recovery)) }
}

/// Why a data dir would not be restored whole.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("damaged, the rest was restored: {0}")]
    Damaged(String),
}

fn restored(recovery: &RecoveryReport) -> String {
    let checkpoint = match recovery.checkpoint {
        Some(number) => format!("checkpoint {number} with {} templates", recovery.checkpoint_templates),
        None => "no checkpoint".to_owned(),
    };
    let group = &recovery.group;
    let in_common = match group.segments {
        0 => String::new(),
        segments => format!(", {segments} logs completed from the {} records of the log in common", group.records),
    };
    format!("{checkpoint}, {} events replayed from the log{in_common}", recovery.events_replayed)
}

/// What was damaged, in words.
pub(crate) fn damage(recovery: &RecoveryReport) -> String {
    let damaged_lanes = recovery.lanes.iter().filter(|lane| lane.damage_total > 0);
    let lanes = damaged_lanes.map(|lane| {
        let (lane_number, places, lost) = (lane.lane, lane.damage_total, lane.records_lost);
        format!("log of lane {lane_number}: {places} places, {lost} records lost")
    });
    let places = recovery
        .group
        .damage
        .iter()
        .map(|place| format!("{} byte {}: {}", place.path.display(), place.offset, place.reason));
    let group = Some(recovery.group.damage_total).filter(|total| *total > 0);
    let in_common =
        group.map(|total| format!("log in common: {total} places ({})", places.collect::<Vec<_>>().join(", ")));
    recovery.damaged_checkpoints.iter().cloned().chain(in_common).chain(lanes).collect::<Vec<_>>().join("; ")
}

/// What a crash at this moment, with nobody writing, and one during a run would lose.
fn at_stake(config: &Config, recovery: &Value) -> String {
    let replayed = recovery["events_replayed"].as_u64().unwrap_or(0);
    let of_a_run = match config.durability {
        Durability::None => {
            "what was not handed to the kernel, and after a power cut what that had not written".to_owned()
        }
        Durability::Interval => format!("at most the last {} ms", config.flush_interval_ms),
        Durability::Always => "nothing that was answered".to_owned(),
    };
    format!(
        "would lose nothing, {replayed} events would be replayed; during a run with durability {} it loses {of_a_run}",
        config.durability
    )
}

/// Reads every chunk: a run does not look at what is sealed, and would not notice.
fn history(chunks_dir: &Path) -> Result<String, HistoryError> {
    if !chunks_dir.exists() {
        return Ok("no chunks yet".to_owned());
    }
    let (mut sound, mut damaged) = (0, Vec::new());
    for hour in chunk_dir::hours(&RealFs, chunks_dir)? {
        let files = chunk_dir::open_hour(&RealFs, chunks_dir, hour)?;
        damaged.extend(files.damaged.iter().map(ToString::to_string));
        for reader in &files.readers {
            match reader.verify(&RealFs) {
                Ok(_) => sound += 1,
                Err(error) => damaged.push(error.to_string()),
            }
        }
    }
    match damaged.first() {
        None => Ok(format!("{sound} chunks, all whole")),
        Some(first) => {
            Err(HistoryError::Damaged { damaged: damaged.len(), all: damaged.len() + sound, first: first.clone() })
        }
    }
}

/// Why the history of events cannot be read whole.
#[derive(Debug, thiserror::Error)]
enum HistoryError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{damaged} of {all} chunks damaged (what was learned does not depend on them), the first: {first}")]
    Damaged { damaged: usize, all: usize, first: String },
}

/// Bytes below each entry of `dir`.
fn sizes(dir: &Path) -> BTreeMap<String, u64> {
    let Ok(entries) = fs::read_dir(dir) else { return BTreeMap::new() };
    let size_of = |entry: fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), size(&entry.path()));
    entries.flatten().map(size_of).collect()
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
    for file in &findings.repaired {
        let kept = file.events_kept.map(|events| format!(", {events} events of it kept")).unwrap_or_default();
        let counted = file.events_counted.map(|events| format!(", {events} counted")).unwrap_or_default();
        let target = file.quarantined.as_deref().unwrap_or(Path::new("-")).display();
        text += &format!("fixed  {}: {}; now in {target}{kept}{counted}\n", file.path.display(), file.reason);
    }
    for (name, bytes) in &findings.sizes {
        text += &format!("       {name}: {bytes} bytes\n");
    }
    if !findings.stats.is_null() {
        text += &format!("\nholds\n{}", super::stats::lines(&findings.stats));
    }
    text
}
