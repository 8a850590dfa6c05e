//! SIGINT and SIGTERM ask for a clean end; a second one ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::error::CliError;

/// Exit code after a second signal, the shells' 128 + SIGINT.
const IMPATIENT: i32 = 130;

/// Set once somebody asked for the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A stop that SIGINT and SIGTERM set.
    pub(crate) fn on_signals() -> Result<Self, CliError> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // Order matters: at the first signal the flag is still clear for the conditional exit.
            flag::register_conditional_shutdown(signal, IMPATIENT, Arc::clone(&stop.0)).map_err(CliError::Signals)?;
            flag::register(signal, Arc::clone(&stop.0)).map_err(CliError::Signals)?;
        }
        Ok(stop)
    }

    /// Whether the end was asked for.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
