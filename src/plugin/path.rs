//! Paths to the fields of an event: `message`, `log.message`, `kubernetes.labels."app.kubernetes.io/name"`.
//!
//! A path of several segments names a nested member (`{"log":{"message":…}}`) and, where an event has it,
//! the one key that is spelt with the dots (`{"log.message":…}`); the key with the dots is taken first.

use std::fmt;

/// The most segments a path may have.
pub const MAX_SEGMENTS: usize = 16;

/// A path to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: String,
    segments: Vec<String>,
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Nothing between two dots, or nothing at all.
    #[error("field path {path:?}: expected a name at byte {at}, found nothing")]
    EmptySegment {
        /// The whole path.
        path: String,
        /// Where the name was expected.
        at: usize,
    },
    /// A `"` without its partner, or text right behind a quoted name.
    #[error("field path {path:?}: expected a closing '\"' followed by '.' or the end for the quote at byte {at}")]
    Quote {
        /// The whole path.
        path: String,
        /// Where the quoted name starts.
        at: usize,
    },
    /// Too many segments.
    #[error("field path {path:?}: expected at most {MAX_SEGMENTS} names, found {found}")]
    TooDeep {
        /// The whole path.
        path: String,
        /// How many names it has.
        found: usize,
    },
}

impl Path {
    /// Reads a path. A leading dot is allowed, as Vector's users write it.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let body = text.strip_prefix('.').unwrap_or(text);
        let mut segments = Vec::new();
        let mut rest = body;
        loop {
            let at = text.len() - rest.len();
            let (name, behind) = match rest.strip_prefix('"') {
                Some(quoted) => {
                    let broken = || PathError::Quote { path: text.to_owned(), at };
                    let (name, behind) = quoted.split_once('"').ok_or_else(broken)?;
                    if !behind.is_empty() && !behind.starts_with('.') {
                        return Err(broken());
                    }
                    (name, behind)
                }
                None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
            };
            if name.is_empty() {
                return Err(PathError::EmptySegment { path: text.to_owned(), at });
            }
            segments.push(name.to_owned());
            match behind.strip_prefix('.') {
                Some(next) => rest = next,
                None => break,
            }
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(PathError::TooDeep { path: text.to_owned(), found: segments.len() });
        }
        Ok(Self { text: body.to_owned(), segments })
    }

    /// The names, outermost first; never empty.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The path as one key, dots and all.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether one of the two is the other or lies within it.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.segments.iter().zip(&other.segments).all(|(a, b)| a == b)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_dots_outside_quotes_and_takes_a_leading_dot() {
        for (text, expected) in [
            ("message", vec!["message"]),
            (".message", vec!["message"]),
            ("log.message", vec!["log", "message"]),
            ("k8s.labels.\"app.kubernetes.io/name\".x", vec!["k8s", "labels", "app.kubernetes.io/name", "x"]),
            ("@timestamp", vec!["@timestamp"]),
        ] {
            assert_eq!(Path::parse(text).unwrap().segments(), expected, "{text}");
        }
    }

    #[test]
    fn says_where_a_path_is_broken() {
        let message = |text: &str| Path::parse(text).unwrap_err().to_string();
        assert_eq!(message(""), "field path \"\": expected a name at byte 0, found nothing");
        assert_eq!(message("a..b"), "field path \"a..b\": expected a name at byte 2, found nothing");
        assert_eq!(message("a."), "field path \"a.\": expected a name at byte 2, found nothing");
        assert!(message("a.\"b").contains("byte 2"));
        assert!(message("a.\"b\"c").contains("byte 2"));
        assert!(message(&["a"; 17].join(".")).contains("found 17"));
    }

    #[test]
    fn overlap_is_being_the_same_or_lying_within() {
        let path = |text| Path::parse(text).unwrap();
        assert!(path("a.b").overlaps(&path("a")));
        assert!(path("a").overlaps(&path("a.b")));
        assert!(!path("a.b").overlaps(&path("a.c")));
        assert!(!path("ab").overlaps(&path("a")));
    }
}
