//! Files that options name: certificates, keys, tokens.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use super::error::ServeError;
use super::options::HttpOptions;

/// The most bytes such a file may have.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a file.
pub(super) fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, ServeError> {
    let fail = |source| ServeError::File { key, path: path.to_owned(), source };
    let len = std::fs::metadata(path).map_err(fail)?.len();
    if len > MAX_BYTES {
        return Err(fail(std::io::Error::other(format!("expected at most {MAX_BYTES} bytes, found {len}"))));
    }
    std::fs::read(path).map_err(fail)
}

/// The token that HTTP requests must bring, if any.
pub(super) fn token(options: &HttpOptions) -> Result<Option<String>, ServeError> {
    let (key, text) = match (&options.token_file, &options.token_env) {
        (Some(path), _) => ("http.token_file", String::from_utf8_lossy(&read("http.token_file", path)?).into_owned()),
        (None, Some(name)) => ("http.token_env", std::env::var(name).unwrap_or_default()),
        (None, None) => return Ok(None),
    };
    match text.trim() {
        "" => Err(ServeError::Option { key, expected: "a token".to_owned(), found: String::new() }),
        token => Ok(Some(token.to_owned())),
    }
}

/// Removes a unix socket nobody listens on.
///
/// # Errors
/// When `path` is anything but a socket, which stays, or cannot be removed.
pub(super) fn remove_socket(path: &Path) -> std::io::Result<()> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        let text = format!("expected no file or a unix socket at {}, found something else", path.display());
        return Err(std::io::Error::other(text));
    }
    std::fs::remove_file(path)
}
