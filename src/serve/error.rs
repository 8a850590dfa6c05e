//! Why the sidecar does not start, or ends with a failure.

use std::io;
use std::path::PathBuf;

use crate::plugin::ComponentError;

/// What keeps the sidecar from running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// An option is not accepted.
    #[error("{key}: expected {expected}, found {found:?}")]
    Option {
        /// Its key.
        key: &'static str,
        /// What would be accepted.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A file that an option names cannot be read.
    #[error("{key}: cannot read {}: {source}", path.display())]
    File {
        /// The option.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An address cannot be listened on.
    #[error("{key}: cannot listen on {address}: {source}")]
    Listen {
        /// The option.
        key: &'static str,
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("{key}: {source}")]
    Tls {
        /// The option.
        key: &'static str,
        /// What is wrong.
        source: tokio_rustls::rustls::Error,
    },
    /// A listener ended with a failure.
    #[error("{what} ended: {message}")]
    Ended {
        /// Which.
        what: &'static str,
        /// Why.
        message: String,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The engine cannot be opened or saved.
    #[error(transparent)]
    Component(#[from] ComponentError),
}
