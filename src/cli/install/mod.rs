//! `oddline install` and `oddline uninstall`: what an agent needs, put in place and taken away again.
//!
//! ```text
//! DIR (--from)                                        ROOT/usr
//!   share/oddline/plugin-manifests/NAME.yaml   ──▶    the same paths: what a manifest names
//!   bin/  lib/oddline/  lib/systemd/system/           lib/oddline/receipt.json: what was put there, with checksums
//!   share/doc/oddline/examples/
//! ```
//!
//! # Order
//! 1. The manifests of the agent, and that every file they name is there with the checksum they give.
//! 2. What stands at each place: nothing, the same, ours from before, or somebody else's (also what was ours and a package has by now), which ends it. Nothing was
//!    written until here.
//! 3. The receipt, with what was there of ours and what will be; the files, each under a name of its own and then renamed; the
//!    receipt with what is there now. Whatever is cut off, the next run or `uninstall` knows which files are ours.
//!
//! No file of a user or of another package is ever written to or removed: not what was there before, not what was changed since.
//!
//! | file | role |
//! |---|---|
//! | `release` | what a release has for an agent |
//! | `place` | what stands at each place, and putting files there |
//! | `receipt` | what was put there |
//! | `remove` | taking it away |
//! | `packages` | what packages of the system have |
//! | `error` | why not |

mod error;
mod packages;
mod place;
mod receipt;
mod release;
mod remove;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use oddline::plugin::manifest::Manifest;
use serde::Serialize;

pub(crate) use self::error::InstallError;
use self::place::{Changed, Placing, Step};
use self::receipt::Receipt;
use self::release::Release;
use super::error::CliError;
use super::output::{self, OutputFormat};

/// An agent there are ways into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Agent {
    /// Vector.
    Vector,
    /// Fluent Bit.
    FluentBit,
    /// rsyslog.
    Rsyslog,
    /// syslog-ng.
    SyslogNg,
    /// OpenTelemetry.
    Opentelemetry,
    /// Telegraf.
    Telegraf,
    /// The journal.
    Journald,
}

impl Agent {
    /// As manifests name it.
    fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::FluentBit => "fluent-bit",
            Self::Rsyslog => "rsyslog",
            Self::SyslogNg => "syslog-ng",
            Self::Opentelemetry => "opentelemetry",
            Self::Telegraf => "telegraf",
            Self::Journald => "journald",
        }
    }
}

/// Flags of `oddline install`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InstallArgs {
    /// The agent to install for.
    #[arg(long, value_enum)]
    agent: Agent,
    /// Install these ways in only, by the names of their manifests.
    #[arg(long = "plugin", value_name = "NAME")]
    plugins: Vec<String>,
    /// The unpacked release to take files from; without it the one this program is in.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// The root of the system to install into.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// What becomes of a file that was installed and that somebody changed since.
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    changed: Changed,
    /// Say what would be done and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// How to print what was done.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// Flags of `oddline uninstall`.
#[derive(Debug, Args)]
pub(crate) struct UninstallArgs {
    /// The agent to uninstall for.
    #[arg(long, value_enum)]
    agent: Agent,
    /// The root of the system to uninstall from.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Say what would be done and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// How to print what was done.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

const EXAMPLES: &str = "\
Files go below ROOT/usr: libraries to lib/oddline, programs to bin, units to lib/systemd/system, examples to share/doc/oddline/examples. \
No configuration is edited and nothing is started: what to add to the agent's configuration is printed. What is there already and is not ours, \
or belongs to a package of the system by now, ends it before anything is written. Running it again changes nothing; a newer release replaces what an older one put there.
A file that was installed and that somebody changed since ends it, too, unless --changed says what becomes of it: `keep` leaves it and puts ours \
beside it as NAME.oddline-new, `replace` puts ours there and keeps it beside as NAME.oddline-old, which stays when ours is uninstalled.

Examples:
  oddline install --agent vector --dry-run
  oddline install --agent vector --plugin vector-lua --root /mnt/image
  oddline uninstall --agent vector

`uninstall` removes what the receipt (ROOT/usr/lib/oddline/receipt.json) names, unless it was changed since or a package of the system has it by now: that is \
kept and named.";

/// What was done, or would be.
#[derive(Debug, Serialize)]
struct Report {
    changed: bool,
    /// Nothing was done: this is what would be.
    dry_run: bool,
    steps: Vec<Step>,
    /// What to add to the agent's configuration, by way in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stanzas: Vec<Stanza>,
    /// What is left to do as root where files for systemd were put, in order; nothing of it was done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commands: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Stanza {
    plugin: String,
    stanza: String,
    examples: Vec<String>,
}

/// Installs.
pub(crate) fn run(args: &InstallArgs) -> Result<(), CliError> {
    let release = Release::open(args.from.as_deref())?;
    let ways = release.ways(args.agent.name(), &args.plugins)?;
    let items = release.items(&ways)?;
    let receipt = Receipt::load(&args.root)?;
    let placing = Placing::plan(&args.root, items, &receipt, args.changed)?;
    let steps = placing.steps();
    if !args.dry_run {
        placing.carry_out(receipt, args.agent.name())?;
    }
    let (stanzas, commands) = (release.stanzas(&ways)?, commands(&ways));
    let (changed, dry_run) = (steps.iter().any(Step::is_change), args.dry_run);
    tell(&Report { changed, dry_run, steps, stanzas, commands }, args.format)
}

/// Uninstalls.
pub(crate) fn uninstall(args: &UninstallArgs) -> Result<(), CliError> {
    let receipt = Receipt::load(&args.root)?;
    let steps = remove::remove(&args.root, receipt, args.agent.name(), args.dry_run)?;
    for step in steps.iter().filter(|step| step.is_kept()) {
        output::warn(step.told(args.dry_run));
    }
    let changed = steps.iter().any(Step::is_change);
    let report = Report { changed, dry_run: args.dry_run, steps, stanzas: Vec::new(), commands: Vec::new() };
    tell(&report, args.format)
}

/// What systemd has to be told of the files it has got.
fn commands(ways: &[&Manifest]) -> Vec<String> {
    let mut files: Vec<&str> = ways.iter().flat_map(|way| &way.artefact.systemd).map(String::as_str).collect();
    files.sort_unstable();
    files.dedup();
    let users = files.iter().any(|file| file.starts_with("sysusers.d/")).then(|| "systemd-sysusers".to_owned());
    let units: Vec<_> = files.iter().filter_map(|file| file.strip_prefix("systemd/system/")).collect();
    let reload = (!units.is_empty()).then(|| "systemctl daemon-reload".to_owned());
    let enable = units.iter().map(|unit| format!("systemctl enable --now {unit}"));
    users.into_iter().chain(reload).chain(enable).collect()
}

fn tell(report: &Report, format: OutputFormat) -> Result<(), CliError> {
    if format == OutputFormat::Json {
        return output::print_json(report);
    }
    let mut text: String = report.steps.iter().map(|step| step.told(report.dry_run) + "\n").collect();
    for Stanza { plugin, stanza, examples } in &report.stanzas {
        text += &format!("\n# {plugin}: add to the agent's configuration, with inputs of yours\n\n{stanza}\n");
        if let Some(example) = examples.first() {
            text += &format!("# whole: {example}\n");
        }
    }
    if !report.commands.is_empty() {
        text += "\n# then, as root; what a unit listens on and where events go is in its head (ODDLINE_SERVE in /etc/default/oddline)\n";
        report.commands.iter().for_each(|command| text += &format!("{command}\n"));
    }
    output::print(&text)
}
