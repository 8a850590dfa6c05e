//! SIGINT, SIGTERM and SIGHUP ask for a clean end; a second one ends the process at once.
//!
//! Who starts a process with SIGHUP ignored (`nohup`) wants it to outlive the terminal: then it stays ignored.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::error::CliError;

/// Exit code of work that was interrupted, the shells' 128 + SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

/// Set once somebody asked for the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A stop that the signals set.
    pub(crate) fn on_signals() -> Result<Self, CliError> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| *signal != SIGHUP || !is_ignored(SIGHUP)) {
            // Order matters: at the first signal the flag is still clear for the conditional exit.
            flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&stop.0))
                .map_err(CliError::Signals)?;
            flag::register(signal, Arc::clone(&stop.0)).map_err(CliError::Signals)?;
        }
        Ok(stop)
    }

    /// Asks for the end.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the end was asked for.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether this process was started with `signal` ignored; no where the system does not tell.
fn is_ignored(signal: i32) -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, signal))
}

/// proc_pid_status(5): `SigIgn` is a hexadecimal mask, signal 1 its lowest bit.
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask.checked_shr(signal.unsigned_abs().saturating_sub(1)).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read_from_the_lowest_bit() {
        let status = "Name:\toddline\nSigIgn:\t0000000000001003\n";
        assert!(ignores(status, SIGHUP) && ignores(status, SIGINT) && !ignores(status, SIGTERM));
        assert!(!ignores("", SIGHUP));
    }
}
