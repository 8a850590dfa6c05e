//! What can end a command early, and the exit code each has: 0 done, 1 failed, 2 wrong usage.

use std::io;
use std::path::PathBuf;

use oddline::config::ConfigError;
use oddline::engine::EngineError;
use oddline::engine::baseline::BaselineError;
use oddline::engine::feedback::FeedbackError;
use oddline::engine::incidents::JournalError;
use oddline::engine::notes::NoteError;
use oddline::engine::reembed::ReembedError;
use oddline::engine::search::SearchError;
use oddline::engine::stream::NotAStream;
use oddline::plugin::ComponentError;

/// Why a command stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CliError {
    /// An input could not be read, or not to its end.
    #[error("cannot read {}: {source}", path.display())]
    Input {
        /// The file, or `-` for standard input.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Output could not be written.
    #[error("cannot write {what}: {source}")]
    Output {
        /// Where to.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Whoever read our output has gone: the end of the work, not a failure.
    #[error("the reader of our output closed it")]
    ClosedPipe,
    /// The flags contradict each other or miss something only seen after parsing.
    #[error("{0}")]
    Usage(&'static str),
    /// Flags about fields, and an input that has none.
    #[error("lines of text have no fields: {flags} cannot be used with --input lines")]
    NeedsFields {
        /// The flags.
        flags: String,
    },
    /// Neither a template id nor an event id.
    #[error("{text:?} is no id: expected 16 hex digits (template_id) or 12, 8 and 10 joined by '-' (event_id)")]
    NotAnId {
        /// What was given.
        text: String,
    },
    /// Neither the history nor, of silences, the journal has such an event.
    #[error(
        "event {id} is not in the history of the data dir, and is no silence of its journal: it is older than what is kept, or not written yet; \
         give its template_id instead"
    )]
    UnknownEvent {
        /// The event's id.
        id: String,
    },
    /// Nothing to take back.
    #[error("nothing was said of template {id}: nothing was removed")]
    NothingSaid {
        /// The template's id.
        id: String,
    },
    /// Feedback cannot be kept.
    #[error(transparent)]
    Feedback(#[from] FeedbackError),
    /// Not an event id.
    #[error("{text:?} is no event id: expected 12, 8 and 10 hex digits joined by '-', as in the field event_id")]
    NotAnEventId {
        /// What was given.
        text: String,
    },
    /// Neither a time nor how long ago.
    #[error(
        "{text:?} is no time: expected RFC 3339, as in 2025-03-14T10:00:00Z, or how long ago, as in 90s, 15m, 2h, 7d"
    )]
    NotATime {
        /// What was given.
        text: String,
    },
    /// Nothing is known of an event.
    #[error(
        "event {id} is neither in the journal nor in the history of the data dir: it is older than what is kept, or not written yet"
    )]
    UnknownIncident {
        /// The event's id.
        id: String,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A note cannot be kept.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A search cannot be made.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// A stream cannot be meant.
    #[error(transparent)]
    Stream(#[from] NotAStream),
    /// Vectors cannot be made.
    #[error(transparent)]
    Reembed(#[from] ReembedError),
    /// A baseline cannot be made, read or used.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// There was no line to measure.
    #[error("no lines to measure: the input is empty")]
    NothingToMeasure,
    /// The end was asked for before there was a result.
    #[error("interrupted before there was a result")]
    Interrupted,
    /// A signal handler could not be installed.
    #[error("cannot install signal handlers: {0}")]
    Signals(io::Error),
    /// A configuration file was not accepted.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The flags gave the configuration a value that is not accepted.
    #[error(transparent)]
    Flags(ConfigError),
    /// The engine could not be opened or saved.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The configuration does not make a component.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// The sidecar does not start, or ended with a failure.
    #[cfg(feature = "serve")]
    #[error(transparent)]
    Serve(#[from] oddline::serve::ServeError),
    /// The options of the sidecar are not accepted.
    #[cfg(feature = "serve")]
    #[error("{}: {message}", path.display())]
    ServeConfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Nothing could be put in place, or taken away.
    #[error(transparent)]
    Install(#[from] super::install::InstallError),
    /// The work was done as far as it could be; what went wrong has been told already.
    #[error("finished with errors")]
    AlreadyTold,
}

impl CliError {
    /// A failure to write to standard output, or the quiet end of it.
    pub(crate) fn stdout(source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            Self::ClosedPipe
        } else {
            Self::Output { what: "standard output".into(), source }
        }
    }

    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::Usage(_)
            | Self::Flags(_)
            | Self::NeedsFields { .. }
            | Self::NotAnId { .. }
            | Self::NotAnEventId { .. }
            | Self::NotATime { .. }
            | Self::Note(NoteError::Length { .. })
            | Self::Stream(_)
            | Self::Search(SearchError::NoWords { .. }) => 2,
            Self::Interrupted => super::signals::INTERRUPTED,
            _ => 1,
        }
    }

    /// Whether there is something to tell on standard error.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::ClosedPipe | Self::AlreadyTold)
    }
}
