//! `oddline reembed`: the vectors of a data dir, made with the model that is configured.

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use oddline::clock::SystemClock;
use oddline::engine::reembed::{self, Reembedded};

use super::error::CliError;
use super::incidents::{config, fs};
use super::output::{self, OutputFormat};
use super::report_text::grouped;
use super::settings::EngineArgs;

/// Flags of `oddline reembed`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReembedArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// How to print what was done.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

const EXAMPLES: &str = "\
For `embedder: onnx` (built with the feature `onnx`): after a model was configured, or another one, gives every template of the data dir a vector of it, a few milliseconds \
each, so that `oddline search` can use them at once. An agent on the data dir does the same in the background for the templates it knows; both may run. \
Vectors of another model go. Interrupted, it goes on where it was.

Example:
  oddline reembed --config oddline.yaml";

/// Runs the command.
pub(crate) fn run(args: &ReembedArgs) -> Result<(), CliError> {
    let config = config(&args.engine)?;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} templates {eta} left") {
        bar.set_style(style);
    }
    let mut tell = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let done = reembed::reembed(&config, &fs(), &SystemClock, &mut tell);
    bar.finish_and_clear();
    let done = done?;
    match args.format {
        OutputFormat::Json => output::print_json(&done),
        OutputFormat::Text => output::print(&text(&done)),
    }
}

fn text(done: &Reembedded) -> String {
    let Reembedded { model, embedded, kept, replaced } = done;
    let (embedded, kept) = (grouped(*embedded as u64), grouped(*kept as u64));
    let replaced = replaced.as_ref().map(|was| format!("\nthe vectors of {was} are gone")).unwrap_or_default();
    format!("{embedded} templates embedded, {kept} had a vector; the model is {model}{replaced}")
}
