//! Where a baseline comes from: a file, or a URL.
//!
//! | given | needs |
//! |---|---|
//! | a path, `file:///…` | |
//! | `s3://…`, `gs://…`, `az://…` | the feature `object-store`; credentials from the environment, as for the journal |
//! | `https://…`, `http://…` | the feature `object-store`; over `http` whoever is on the way can say what is normal |
//!
//! # When it cannot be had
//! A file is there or not when a host is set up: that it is missing or damaged is an error, before anything is made. What is behind a URL changes by
//! itself, and for all hosts at once: a bucket that cannot be reached within [`fetch::DEADLINE_SECS`](crate::storage::fetch), or that holds something
//! damaged, too large or of other masks, must not keep a host from starting. The host starts with nothing learned (state `learning`), and says so:
//! a warning in the log, `baseline_failure` in stats, a finding of `oddline doctor`. It is asked again at each start until there is a
//! checkpoint. A URL that this build can never use is an error, as is every failure of a command that was asked for this one baseline.

use std::path::{Path, PathBuf};

use super::baseline::BaselineError;
use crate::storage::{FileSystem, StorageError};

/// Largest file that is read. A baseline of 50,000 templates takes some 10 MiB.
const MOST_BYTES: u64 = 256 << 20;

/// What a baseline is called where it is too large.
const WHAT: &str = "a baseline";

const FILE: &str = "file://";
const SCHEMES: [&str; 10] = ["s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "http", "https"];

/// A place that a configuration or command names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source<'a> {
    File(&'a Path),
    Url(&'a str),
}

impl<'a> Source<'a> {
    /// What `given` means.
    ///
    /// # Errors
    /// When it is a URL of a kind that this build, or any, cannot read.
    pub(super) fn of(given: &'a Path) -> Result<Self, BaselineError> {
        let Some((scheme, path)) = given.to_str().and_then(|text| Some((text.split_once("://")?.0, text))) else {
            return Ok(Self::File(given));
        };
        if let Some(path) = path.strip_prefix(FILE) {
            return Ok(Self::File(Path::new(path)));
        }
        if !SCHEMES.contains(&scheme) {
            return Err(BaselineError::Scheme { path: given.to_owned() });
        }
        if cfg!(feature = "object-store") {
            return Ok(Self::Url(path));
        }
        Err(BaselineError::NotBuilt { path: shown(given), feature: "object-store" })
    }

    /// Whether what it holds, and whether it can be reached, may change while nobody looks.
    pub(super) fn is_elsewhere(self) -> bool {
        matches!(self, Self::Url(_))
    }

    /// The bytes.
    ///
    /// # Errors
    /// When they cannot be had, or are more than [`MOST_BYTES`].
    pub(super) fn read(self, fs: &dyn FileSystem) -> Result<Vec<u8>, StorageError> {
        match self {
            Self::File(path) => read_file(fs, path),
            Self::Url(url) => fetch(url),
        }
    }
}

fn read_file(fs: &dyn FileSystem, path: &Path) -> Result<Vec<u8>, StorageError> {
    let failed = || StorageError::io("read baseline", path);
    let bytes = fs.len(path).map_err(failed())?;
    if bytes > MOST_BYTES {
        return Err(StorageError::TooLarge { what: WHAT, bytes, limit: MOST_BYTES });
    }
    fs.read(path).map_err(failed())
}

#[cfg(feature = "object-store")]
fn fetch(url: &str) -> Result<Vec<u8>, StorageError> {
    crate::storage::fetch::fetch(url, WHAT, MOST_BYTES)
}

#[cfg(not(feature = "object-store"))]
fn fetch(url: &str) -> Result<Vec<u8>, StorageError> {
    // Never asked for: there is no such source.
    let unsupported = std::io::Error::from(std::io::ErrorKind::Unsupported);
    Err(StorageError::io("fetch", Path::new(url))(unsupported))
}

/// As it may be told: a signed URL's query is a secret.
pub(super) fn shown(given: &Path) -> PathBuf {
    match given.to_str() {
        Some(text) if text.contains("://") => PathBuf::from(crate::storage::shown_url(text)),
        _ => given.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_urls_are_told_apart() {
        for path in ["fleet.baseline", "/etc/a:b//c", "C:\\fleet", ""] {
            assert_eq!(Source::of(Path::new(path)).unwrap(), Source::File(Path::new(path)));
        }
        assert_eq!(Source::of(Path::new("file:///etc/a")).unwrap(), Source::File(Path::new("/etc/a")));
        let error = Source::of(Path::new("ftp://host/a")).unwrap_err().to_string();
        assert!(error.contains("ftp://host/a") && error.contains("s3://") && error.contains("https://"), "{error}");
    }

    #[test]
    fn a_url_needs_the_feature_and_the_error_names_it() {
        for url in ["s3://b/k", "gs://b/k", "az://b/k", "https://user:secret@host/k?signature=secret"] {
            match Source::of(Path::new(url)) {
                Ok(source) => assert!(cfg!(feature = "object-store") && source.is_elsewhere(), "{url}"),
                Err(error) => {
                    let error = error.to_string();
                    assert!(!cfg!(feature = "object-store") && error.contains("`object-store`"), "{error}");
                    assert!(!error.contains("secret"), "{error}");
                }
            }
        }
    }
}
