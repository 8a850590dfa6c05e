//! How an object's bytes are written.

use std::str::FromStr;

use super::incident::Incident;
use super::key::checksum_of_key;
use super::ndjson;

/// A format of objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Lines of JSON.
    #[default]
    Ndjson,
    /// Apache Parquet, with the feature `parquet`.
    Parquet,
}

/// Objects of this format cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// This oddline was built without it.
    #[error("this oddline was built without the feature `parquet`: journal.format parquet cannot be written or read")]
    NoParquet,
    /// The object is damaged, or no journal's.
    #[error("the object does not read as Parquet of a journal: {reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
}

impl Format {
    /// What keys of objects end with, behind a dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
        }
    }

    /// The format of an object, by its key.
    pub fn of_key(key: &str) -> Option<Self> {
        key.rsplit_once('.').and_then(|(_, extension)| extension.parse().ok())
    }

    /// Whether this build writes and reads it.
    pub const fn is_built(self) -> bool {
        cfg!(feature = "parquet") || matches!(self, Self::Ndjson)
    }
}

impl FromStr for Format {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Ndjson, Self::Parquet].into_iter().find(|format| format.extension() == text).ok_or(())
    }
}

/// The bytes of an object.
///
/// # Errors
/// When the format was not built in.
pub fn encode(format: Format, incidents: &[Incident]) -> Result<Vec<u8>, FormatError> {
    match format {
        Format::Ndjson => Ok(ndjson::encode(incidents)),
        #[cfg(feature = "parquet")]
        Format::Parquet => super::parquet::encode(incidents),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => Err(FormatError::NoParquet),
    }
}

/// The incidents in the object of this key, and how many places in it are damaged.
///
/// # Errors
/// When the format was not built in, or nothing of the object can be believed.
pub fn decode(key: &str, bytes: &[u8]) -> Result<(Vec<Incident>, u64), FormatError> {
    let is_whole = checksum_of_key(key) == Some(crc32c::crc32c(bytes));
    match Format::of_key(key) {
        Some(Format::Ndjson) => {
            let (incidents, damaged) = ndjson::decode(bytes);
            // Lines that are missing leave no other trace.
            Ok((incidents, if is_whole { damaged } else { damaged.max(1) }))
        }
        Some(Format::Parquet) if !is_whole => {
            Err(FormatError::Damaged { reason: "its checksum is not that of its key".to_owned() })
        }
        #[cfg(feature = "parquet")]
        Some(Format::Parquet) => super::parquet::decode(bytes).map(|incidents| (incidents, 0)),
        #[cfg(not(feature = "parquet"))]
        Some(Format::Parquet) => Err(FormatError::NoParquet),
        None => Ok((Vec::new(), 0)),
    }
}
