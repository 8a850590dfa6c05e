//! `oddline completions`: a completion script for a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::error::CliError;
use super::output::Output;

/// Flags of `oddline completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell to write for.
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs) -> Result<(), CliError> {
    let mut out = Output::stdout();
    clap_complete::generate(args.shell, &mut Cli::command(), "oddline", out.buffer());
    out.flush()
}
