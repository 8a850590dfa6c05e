//! Incidents: what lanes tell the journal, and reading it.
//!
//! A lane hands an incident to the journal's queue and goes on; a thread of the journal's own writes it
//! ([`storage::journal`](crate::storage::journal)). Engines in memory keep none. Reading needs no engine and no lock: [`read`] works beside a
//! process that runs, for what that process has written; an engine also has what is in its memory ([`Engine::incidents`]).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::error::EngineError;
use super::open::Engine;
use crate::config::{Config, JournalFormat, JournalMessage};
use crate::event::{Observation, Ruling, StreamKey, Timestamp, Verdict};
use crate::storage::journal::{
    self, Detectors, Format, Journal, LocalStore, MessageMode, MessagePart, ObjectStore, Options, Status, time_text,
};
pub use crate::storage::journal::{Found, Incident, Reading};
use crate::storage::{FileSystem, StorageError, host_name};

/// The journal cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// This oddline was built without what the configuration asks for.
    #[error("journal: {what} needs an oddline built with the feature `{feature}`")]
    NotBuilt {
        /// The value in the configuration.
        what: String,
        /// The feature.
        feature: &'static str,
    },
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A compaction failed.
    #[error(transparent)]
    Compact(#[from] journal::CompactError),
    /// Its thread cannot be started.
    #[error("cannot start the journal's thread: {0}")]
    Thread(std::io::Error),
    /// There is no data dir to keep it in.
    #[error("there is no journal without a data dir")]
    NoDataDir,
}

/// The way from lanes to the journal.
#[derive(Debug)]
pub(super) struct Reporter {
    journal: Journal,
    store: Arc<dyn ObjectStore>,
    mode: MessageMode,
    host: String,
}

/// The format of a configuration.
pub fn format_of(config: &Config) -> Format {
    match config.journal.format {
        JournalFormat::Ndjson => Format::Ndjson,
        JournalFormat::Parquet => Format::Parquet,
    }
}

/// Whether this build can keep the journal of a configuration.
///
/// # Errors
/// When it was built without the format or the kind of store.
pub fn check(config: &Config) -> Result<(), JournalError> {
    if !format_of(config).is_built() {
        return Err(JournalError::NotBuilt { what: "format parquet".to_owned(), feature: "parquet" });
    }
    match &config.journal.url {
        Some(url) if !url.starts_with(FILE_URL) && !cfg!(feature = "object-store") => {
            Err(JournalError::NotBuilt { what: format!("url {url}"), feature: "object-store" })
        }
        _ => Ok(()),
    }
}

const FILE_URL: &str = "file://";

/// The store of a configuration's journal; nothing is asked of it yet.
///
/// # Errors
/// When there is no data dir, or the URL is not understood by this build.
pub fn store(config: &Config, fs: &Arc<dyn FileSystem>) -> Result<Arc<dyn ObjectStore>, JournalError> {
    check(config)?;
    let dir = config.data_dir.as_deref().ok_or(JournalError::NoDataDir)?;
    let local = |root: &Path| -> Arc<dyn ObjectStore> { Arc::new(LocalStore::new(Arc::clone(fs), root.to_owned())) };
    match config.journal.url.as_deref() {
        None => Ok(local(&dir.join(journal::DIR))),
        Some(url) => match url.strip_prefix(FILE_URL) {
            Some(path) => Ok(local(Path::new(path))),
            None => remote(url),
        },
    }
}

#[cfg(feature = "object-store")]
fn remote(url: &str) -> Result<Arc<dyn ObjectStore>, JournalError> {
    Ok(Arc::new(journal::RemoteStore::open(url)?))
}

#[cfg(not(feature = "object-store"))]
fn remote(url: &str) -> Result<Arc<dyn ObjectStore>, JournalError> {
    Err(JournalError::NotBuilt { what: format!("url {url}"), feature: "object-store" })
}

/// What the journal's host is called.
pub fn host_of(config: &Config) -> String {
    config.journal.host.clone().unwrap_or_else(host_name)
}

impl Reporter {
    /// Starts the journal of a data dir; none when it is switched off.
    pub(super) fn start(config: &Config, fs: &Arc<dyn FileSystem>, dir: &Path) -> Result<Option<Self>, JournalError> {
        if !config.journal.enabled {
            return Ok(None);
        }
        let store = store(config, fs)?;
        let host = host_of(config);
        let options = Options {
            host: host.clone(),
            format: format_of(config),
            batch_incidents: usize::try_from(config.journal.batch_incidents).unwrap_or(usize::MAX),
            interval: Duration::from_secs(config.journal.interval_secs),
            spool_dir: dir.join(journal::SPOOL_DIR),
            spool_bytes: config.journal.spool_bytes,
            most_bytes: config.journal.url.is_none().then_some(config.journal.max_bytes),
        };
        let journal = Journal::start(Arc::clone(&store), Arc::clone(fs), options).map_err(JournalError::Thread)?;
        let mode = match config.journal_message {
            JournalMessage::Full => MessageMode::Full,
            JournalMessage::Template => MessageMode::Template,
            JournalMessage::Hash => MessageMode::Hash,
        };
        Ok(Some(Self { journal, store, mode, host }))
    }

    /// What of a message is kept.
    pub(super) fn mode(&self) -> MessageMode {
        self.mode
    }

    /// Takes an incident; never waits for the store.
    pub(super) fn report(&self, incident: Incident) {
        self.journal.push(incident);
    }

    pub(super) fn flush(&self) {
        self.journal.flush();
    }

    pub(super) fn status(&self) -> Status {
        self.journal.status()
    }
}

/// What is known of an incident besides its verdict.
#[derive(Debug)]
pub(super) struct Circumstances {
    pub(super) time: Timestamp,
    pub(super) stream: String,
    pub(super) template: String,
    pub(super) message: MessagePart,
    pub(super) rule: Option<String>,
    pub(super) synthetic: bool,
}

/// A row of the journal.
pub(super) fn incident(verdict: &Verdict, of: Circumstances) -> Incident {
    let MessagePart { message, message_hash, parameters, odd_parameter } = of.message;
    Incident {
        event_id: verdict.event_id.to_string(),
        time: time_text(of.time),
        stream: of.stream,
        score: verdict.score,
        p_value: verdict.p_value,
        reasons: verdict.reasons().map(|reason| reason.as_str().to_owned()).collect(),
        detectors: Detectors::of(&verdict.evidence),
        template_id: verdict.template.to_string(),
        template: of.template,
        message,
        message_hash,
        parameters,
        odd_parameter,
        expected: verdict.measure.map(|measure| measure.expected()),
        observed: verdict.measure.map(|measure| measure.observed()).filter(|observed| observed.is_finite()),
        rule: of.rule,
        synthetic: of.synthetic,
    }
}

/// What a stream is called in the journal.
pub(super) fn stream_text(observation: &Observation<'_>) -> String {
    match observation.stream_name {
        Some(stream) => stream.name(),
        None => key_text(observation.stream),
    }
}

/// The same where only its key is known.
pub(super) fn key_text(stream: StreamKey) -> String {
    if stream == StreamKey::default() { String::new() } else { format!("{:016x}", stream.0) }
}

/// The name of what overruled a score.
pub(super) fn rule_text(config: &Config, ruling: Option<Ruling>) -> Option<String> {
    let ruling = ruling?;
    match ruling.number() {
        Some(number) => config.rules.get(usize::from(number)).map(|rule| rule.name.clone()),
        None => Some(if ruling.is_always() { "feedback:flag" } else { "feedback:accept" }.to_owned()),
    }
}

/// Incidents of the journal of `config.data_dir`, without what a running process has in memory.
///
/// # Errors
/// When the store cannot be read.
pub fn read(config: &Config, fs: &Arc<dyn FileSystem>, reading: &Reading) -> Result<Found, JournalError> {
    let dir = config.data_dir.as_deref().ok_or(JournalError::NoDataDir)?;
    let store = store(config, fs)?;
    Ok(journal::read(&*store, (fs, &dir.join(journal::SPOOL_DIR)), ("", &[]), reading)?)
}

/// Opens every object of the journal of `config.data_dir`, one at a time.
///
/// # Errors
/// When the store cannot be read.
pub fn verify(config: &Config, fs: &Arc<dyn FileSystem>) -> Result<journal::Checked, JournalError> {
    let dir = config.data_dir.as_deref().ok_or(JournalError::NoDataDir)?;
    let store = store(config, fs)?;
    Ok(journal::check(&*store, (fs, &dir.join(journal::SPOOL_DIR)))?)
}

/// Compacts the journal of `config.data_dir`.
///
/// # Errors
/// When the store fails on the way.
pub fn compact(config: &Config, fs: &Arc<dyn FileSystem>) -> Result<journal::CompactReport, JournalError> {
    let store = store(config, fs)?;
    Ok(journal::compact(&*store, format_of(config))?)
}

impl Engine {
    /// Incidents of the journal, those in memory among them; none of an engine without one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn incidents(&self, reading: &Reading) -> Result<Found, EngineError> {
        Ok(self.journal(reading)?)
    }

    pub(super) fn journal(&self, reading: &Reading) -> Result<Found, JournalError> {
        let (Some(reporter), Some(dir)) = (self.reporter(), &self.core().config.data_dir) else {
            return Ok(Found::default());
        };
        let pending = reporter.journal.pending();
        let fs = &self.core().environment.fs;
        let spool = dir.join(journal::SPOOL_DIR);
        Ok(journal::read(&*reporter.store, (fs, &spool), (&reporter.host, &pending), reading)?)
    }
}
