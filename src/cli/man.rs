//! `oddline man`: the manual pages, in roff.

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use super::Cli;
use super::error::CliError;
use super::output::Output;

/// Flags of `oddline man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write one page a command (oddline.1, oddline-score.1, …) into this directory instead of printing the main page.
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
}

/// Prints the main page or writes all of them.
pub(crate) fn run(args: &ManArgs) -> Result<(), CliError> {
    match &args.out_dir {
        None => {
            let mut out = Output::stdout();
            Man::new(Cli::command()).render(out.buffer()).map_err(CliError::stdout)?;
            out.flush()
        }
        Some(dir) => {
            let failed = |source| CliError::Output { what: dir.display().to_string(), source };
            fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir)).map_err(failed)
        }
    }
}
