//! The figures of an instance as a file, for whoever collects metrics from files.
//!
//! Fluent Bit's own metrics are made through its library cmetrics, whose structures are no interface that a plugin without headers can rely on.

use std::io;
use std::path::{Path, PathBuf};

use oddline::plugin::{ComponentStats, prometheus};

use crate::trouble::{Level, Message};

/// The file, written anew each time: a reader sees the old one or the new one, never a part.
#[derive(Debug)]
pub(crate) struct MetricsFile {
    path: PathBuf,
    has_failed: bool,
}

impl MetricsFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, has_failed: false }
    }

    /// Writes the figures; what is to be told of it, once.
    pub(crate) fn write(&mut self, stats: &ComponentStats) -> Option<Message> {
        let result = replace(&self.path, &prometheus::text(stats));
        let had_failed = std::mem::replace(&mut self.has_failed, result.is_err());
        let error = result.err().filter(|_| !had_failed)?;
        Some((Level::Warning, format!("metrics_file {}: {error}", self.path.display())))
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    // Collectors take files whose name ends in .prom.
    new.push(format!(".{}", std::process::id()));
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use oddline::plugin::Counts;

    use super::*;

    fn stats(events_total: u64) -> ComponentStats {
        ComponentStats { counts: Counts { events_total, ..Counts::default() }, engine: None, last_error: None }
    }

    #[test]
    fn the_file_has_the_last_figures_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = MetricsFile::new(dir.path().join("oddline.prom"));
        assert!(file.write(&stats(3)).is_none() && file.write(&stats(7)).is_none());
        let text = std::fs::read_to_string(dir.path().join("oddline.prom")).unwrap();
        assert!(text.contains("# TYPE oddline_events_total counter\noddline_events_total 7\n"), "{text}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told_once_and_again_after_it_could() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("later");
        let mut file = MetricsFile::new(place.join("oddline.prom"));
        assert!(file.write(&stats(1)).is_some_and(|(level, text)| level == Level::Warning && text.contains("later")));
        assert!(file.write(&stats(1)).is_none());
        std::fs::create_dir(&place).unwrap();
        assert!(file.write(&stats(1)).is_none());
        std::fs::remove_dir_all(&place).unwrap();
        assert!(file.write(&stats(1)).is_some());
    }
}
