//! `oddline recalibrate`: fits what the detector `semantic` measures by anew.

use clap::Args;
use oddline::config::{Config, Journal};
use oddline::engine::{Calibrated, Engine, Environment, Recalibration};
use serde::Serialize;

use super::error::CliError;
use super::output::{self, OutputFormat};
use super::settings::{self, EngineArgs};

/// Flags of `oddline recalibrate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RecalibrateArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

const EXAMPLES: &str = "\
With a `semantic_weight` above 0 (the default is 0: then nothing is fitted, and what this command fits changes no score), what is far from all that was known when learning ended counts as odd. What was known then is frozen: nothing of it is learned \
anew unless you say so, with this command, after a host was given another role or its software changed. No other process may use the data dir meanwhile.

Examples:
  oddline recalibrate --data-dir /var/lib/oddline
  oddline recalibrate --config /etc/oddline/oddline.yaml --format json";

const UNUSED: &str = "semantic_weight is 0, so that nothing is measured by this: no score changes. It is kept in the data dir, and counts once the \
configuration gives semantic_weight a number above 0; oddline recalibrate then fits it to what is known by that time";

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    changed: &'a Recalibration,
    /// 0: no score changes.
    semantic_weight: f64,
}

/// Runs the command.
pub(crate) fn run(args: &RecalibrateArgs) -> Result<(), CliError> {
    let config = settings::checked(settings::load(&args.engine)?)?;
    settings::existing_data_dir(&config)?;
    let semantic_weight = config.semantic_weight;
    if semantic_weight == 0.0 {
        output::warn(UNUSED);
    }
    // Incidents that wait for their store are the business of who raises them; what is not learned yet is not fitted to.
    let journal = Journal { enabled: false, ..config.journal.clone() };
    let engine = Engine::open(&Config { journal, baseline: None, ..config }, Environment::system())?;
    if engine.recovery().is_damaged() {
        output::warn("the data dir is damaged (see oddline doctor): what is whole is fitted to");
    }
    let changed = engine.recalibrate()?;
    engine.close()?;
    match args.format {
        OutputFormat::Json => output::print_json(&Answer { changed: &changed, semantic_weight }),
        OutputFormat::Text => output::print(&told(&changed)),
    }
}

fn told(Recalibration { before, after }: &Recalibration) -> String {
    let line = |what: &str, figures: &Calibrated| {
        let Calibrated { fitted_at, templates, clusters, median, threshold } = figures;
        format!(
            "{what:<7} {fitted_at}  {clusters} centroids of {templates} templates, odd from a distance of {threshold:.3} on (median {median:.3})\n"
        )
    };
    let before =
        before.as_ref().map_or_else(|| "before  nothing was fitted\n".to_owned(), |before| line("before", before));
    before + &line("now", after)
}
