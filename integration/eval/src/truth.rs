//! Streams with injected incidents, as `make_incidents.py` makes them.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// A record of a stream: an event, or a tick of its clock.
#[derive(Debug, Deserialize)]
pub(crate) struct Record {
    /// Seconds from the start.
    pub(crate) ts: f64,
    pub(crate) host: String,
    pub(crate) message: String,
    /// 1: of an incident.
    pub(crate) label: u8,
    pub(crate) kind: String,
    pub(crate) incident: u32,
    /// 1: of the warm-up.
    pub(crate) warm: u8,
}

impl Record {
    pub(crate) fn is_odd(&self) -> bool {
        self.label == 1
    }

    pub(crate) fn is_scored(&self) -> bool {
        self.warm == 0
    }

    /// A tick, during a silence or not.
    pub(crate) fn is_tick(&self) -> bool {
        matches!(self.kind.as_str(), "tick" | "silence")
    }
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) system: String,
    pub(crate) seed: u32,
    pub(crate) records: Vec<Record>,
}

/// Where streams come from, and where they are kept once made.
#[derive(Debug)]
pub(crate) struct Source {
    /// Holds `eval/make_incidents.py` and `data/loghub`.
    pub(crate) shared: PathBuf,
    pub(crate) cache: PathBuf,
}

impl Source {
    /// The systems whose lines are there.
    pub(crate) fn systems(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.loghub())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    pub(crate) fn loghub(&self) -> PathBuf {
        self.shared.join("data/loghub")
    }

    /// A stream, made unless it is kept already; a quiet one has no incidents and is longer.
    pub(crate) fn stream(&self, system: &str, seed: u32, is_quiet: bool) -> io::Result<Stream> {
        fs::create_dir_all(&self.cache)?;
        let name = if is_quiet { "quiet" } else { "incidents" };
        let path = self.cache.join(format!("{name}-{system}-{seed}.jsonl"));
        if !path.exists() {
            self.make(system, seed, is_quiet, &path)?;
        }
        let records = BufReader::new(File::open(&path)?).lines().map(|line| Ok(serde_json::from_str(&line?)?));
        Ok(Stream { system: system.to_owned(), seed, records: records.collect::<io::Result<_>>()? })
    }

    fn make(&self, system: &str, seed: u32, is_quiet: bool, path: &Path) -> io::Result<()> {
        let mut command = Command::new("python3");
        command.arg(self.shared.join("eval/make_incidents.py"));
        command.args(["--system", system, "--seed", &seed.to_string()]);
        if is_quiet {
            command.args(["--no-incidents", "--duration", "3000"]);
        }
        let output = command.output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        // Renamed when complete, so that an interrupted run leaves nothing half made.
        let unfinished = path.with_extension("part");
        File::create(&unfinished)?.write_all(&output.stdout)?;
        fs::rename(unfinished, path)
    }
}
