//! Level words and error keywords.
//!
//! | found | nats |
//! |---|---|
//! | level warning | 0.6 |
//! | level error | 2 |
//! | level fatal, critical, panic, alert, emergency | 3 |
//! | a keyword: error, fail, exception, refused, denied, timeout … | + 1 |
//!
//! A level word is one of the first [`LEVEL_WORDS`] words of a template, or the word after `level` or `severity`, in any case; or
//! the single letter with which logcat and glog begin a line. Keywords count anywhere in the template. The text looked at is the
//! template's, so this is done once a template and not once an event.

/// Words of a template in which a level is looked for.
pub const LEVEL_WORDS: usize = 5;

const KEYWORDS: [&str; 17] = [
    "error",
    "fail",
    "exception",
    "fatal",
    "refused",
    "denied",
    "timeout",
    "timed out",
    "unable",
    "invalid",
    "corrupt",
    "panic",
    "abort",
    "broken",
    "unreachable",
    "segfault",
    "out of memory",
];

/// How severe an event claims to be; one byte on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Severity(u8);

/// The level part of a [`Severity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Level {
    None,
    Warning,
    Error,
    Fatal,
}

const KEYWORD: u8 = 4;

impl Severity {
    /// Neither level nor keyword.
    pub const NONE: Self = Self(0);

    /// Of a template's text.
    pub fn of_template(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text).to_ascii_lowercase();
        let keyword = if KEYWORDS.iter().any(|word| text.contains(word)) { KEYWORD } else { 0 };
        Self(level_of_text(&text) as u8 | keyword)
    }

    /// With the level an event's own field names, when that is worse.
    #[must_use]
    pub fn with_level(self, level: &str) -> Self {
        let named = level_of_word(&level.trim().to_ascii_lowercase());
        Self((self.0 & KEYWORD) | (self.0 & 3).max(named as u8))
    }

    /// Evidence in nats.
    pub fn nats(self) -> f32 {
        let level = [0.0, 0.6, 2.0, 3.0].get(usize::from(self.0 & 3)).copied().unwrap_or(0.0);
        if self.0 & KEYWORD == 0 { level } else { level + 1.0 }
    }

    /// The byte on disk.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// From the byte on disk; unknown bits are dropped.
    pub const fn from_code(code: u8) -> Self {
        Self(code & 7)
    }
}

fn level_of_text(lower: &str) -> Level {
    let glog = match lower.split(' ').next() {
        Some("f") => Level::Fatal,
        Some("e") => Level::Error,
        Some("w") => Level::Warning,
        _ => Level::None,
    };
    let mut found = glog;
    let mut after_key = false;
    for (number, word) in lower.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty()).enumerate() {
        if number < LEVEL_WORDS || after_key {
            found = found.max(level_of_word(word));
        }
        after_key = matches!(word, "level" | "severity" | "lvl" | "loglevel");
    }
    found
}

fn level_of_word(lower: &str) -> Level {
    match lower {
        "warn" | "warning" => Level::Warning,
        "error" | "err" | "severe" => Level::Error,
        "fatal" | "critical" | "crit" | "panic" | "alert" | "emerg" | "emergency" => Level::Fatal,
        _ => Level::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_levels_and_keywords() {
        for (text, nats) in [
            ("RAS KERNEL FATAL data storage interrupt", 4.0),
            ("[error] mod_jk child in error state <*>", 3.0),
            ("INFO all is well", 0.0),
            ("WARN disk almost full", 0.6),
            ("connection refused by peer", 1.0),
            ("E WindowManager: gone", 2.0),
            ("{\"msg\":\"a b c d e f\",\"level\":\"warning\"}", 0.6),
            ("a b c d e f g alert", 0.0),
            ("", 0.0),
        ] {
            assert_eq!(Severity::of_template(text.as_bytes()).nats(), nats, "{text}");
        }
    }

    #[test]
    fn an_events_own_level_counts_when_it_is_worse() {
        let failed = Severity::of_template(b"it failed");
        assert_eq!(failed.with_level(" ERROR ").nats(), 3.0);
        assert_eq!(failed.with_level("info"), failed);
        assert_eq!(Severity::from_code(failed.with_level("fatal").code()).nats(), 4.0);
    }
}
