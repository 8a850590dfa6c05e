//! A progress bar on standard error while files are read, when that is a terminal.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::feed;
use super::input::Source;

/// Shows how many of the inputs' bytes were read.
pub(crate) struct Progress {
    bar: ProgressBar,
    read: Arc<AtomicU64>,
}

impl Progress {
    /// A bar over all `sources`; a spinner if the size of one is not known.
    pub(crate) fn new(sources: &[Source], read: &Arc<AtomicU64>) -> Self {
        let total = sources.iter().map(Source::size).sum::<Option<u64>>();
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(5));
        let template = match total {
            Some(_) => "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
            None => "{spinner} {bytes} {bytes_per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, read: Arc::clone(read) }
    }

    /// Brings the bar up to date.
    pub(crate) fn update(&self) {
        self.bar.set_position(feed::bytes(&self.read));
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
