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

/// Words after which a level comes, wherever they stand.
const LEVEL_KEYS: [&str; 4] = ["level", "severity", "lvl", "loglevel"];

/// Of each letter, by its low five bits, a bit for each letter that comes after it at the beginning of a keyword or a key of a level, and in the upper half
/// one for each that comes then. Nearly everywhere in a text that is all there is to look at.
static BEGINNINGS: [u64; 32] = beginnings(&LEVEL_KEYS, beginnings(&KEYWORDS, [0; 32]));

const fn beginnings(words: &[&str], mut of: [u64; 32]) -> [u64; 32] {
    let mut number = 0;
    while number < words.len() {
        let word = words[number].as_bytes();
        assert!(word.len() >= 3);
        of[word[0] as usize & 31] |= 1 << (word[1] & 31) | 1 << (32 + (word[2] & 31));
        number += 1;
    }
    of
}

/// What of a text is looked for at each of its bytes.
#[derive(Default)]
struct Seen {
    keyword: bool,
    /// What begins as a key of a level does, be it a word by itself or not.
    level_key: bool,
}

fn look_through(text: &[u8]) -> Seen {
    let may_begin = |letters: &[u8]| {
        let [first, second, third] = letters else { return false };
        let after = BEGINNINGS[usize::from(first & 31)];
        after >> (second & 31) & after >> (32 + (third & 31)) & 1 == 1
    };
    let mut seen = Seen::default();
    for (at, _) in text.windows(3).enumerate().filter(|(_, letters)| may_begin(letters)) {
        let rest = text.get(at..).unwrap_or_default();
        seen.keyword |= begins_with_one_of(rest, &KEYWORDS);
        seen.level_key |= begins_with_one_of(rest, &LEVEL_KEYS);
    }
    seen
}

/// In any case.
fn begins_with_one_of(text: &[u8], words: &[&str]) -> bool {
    let begins = |word: &str| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()));
    words.iter().any(|word| begins(word))
}

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
        let seen = look_through(text);
        let words = if seen.level_key { usize::MAX } else { LEVEL_WORDS };
        let severity = Self(level_of_text(text, words) as u8 | if seen.keyword { KEYWORD } else { 0 });
        #[cfg(fuzzing)]
        assert_eq!(severity, naive(text));
        severity
    }

    /// With the level an event's own field names, when that is worse.
    #[must_use]
    pub fn with_level(self, level: &str) -> Self {
        let named = level_of_word(level.trim().as_bytes());
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

/// Of a text in which no key of a level comes behind the first `most` words.
fn level_of_text(text: &[u8], most: usize) -> Level {
    let glog = match text {
        [letter] | [letter, b' ', ..] => match letter.to_ascii_lowercase() {
            b'f' => Level::Fatal,
            b'e' => Level::Error,
            b'w' => Level::Warning,
            _ => Level::None,
        },
        _ => Level::None,
    };
    let mut found = glog;
    let mut after_key = false;
    let words = text.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    for (number, word) in words.take(most).enumerate() {
        if number < LEVEL_WORDS || after_key {
            found = found.max(level_of_word(word));
        }
        after_key = is_one_of(word, &LEVEL_KEYS);
    }
    found
}

fn level_of_word(word: &[u8]) -> Level {
    let levels: [(Level, &[&str]); 3] = [
        (Level::Warning, &["warn", "warning"]),
        (Level::Error, &["error", "err", "severe"]),
        (Level::Fatal, &["fatal", "critical", "crit", "panic", "alert", "emerg", "emergency"]),
    ];
    levels.into_iter().find(|(_, names)| is_one_of(word, names)).map_or(Level::None, |(level, _)| level)
}

/// Whether a word is one of some, in any case.
#[inline]
fn is_one_of(word: &[u8], names: &[&str]) -> bool {
    names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
}

/// The twin of [`Severity::of_template`]: in a text of small letters, word by word.
#[cfg(any(test, fuzzing))]
fn naive(text: &[u8]) -> Severity {
    let lower = String::from_utf8_lossy(text).to_ascii_lowercase();
    let level = |word: &str| match word {
        "warn" | "warning" => 1,
        "error" | "err" | "severe" => 2,
        "fatal" | "critical" | "crit" | "panic" | "alert" | "emerg" | "emergency" => 3,
        _ => 0,
    };
    let glog = [("w", 1), ("e", 2), ("f", 3)].into_iter().find(|(letter, _)| lower.split(' ').next() == Some(letter));
    let mut found = glog.map_or(0, |(_, level)| level);
    let mut after_key = false;
    let words = lower.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    for (number, word) in words.enumerate() {
        if number < LEVEL_WORDS || after_key {
            found = found.max(level(word));
        }
        after_key = matches!(word, "level" | "severity" | "lvl" | "loglevel");
    }
    Severity(found | if KEYWORDS.iter().any(|word| lower.contains(word)) { KEYWORD } else { 0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Words that mean something in some case, parts of them, and anything else.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let word = "(?i)(error|err|fail|fatal|timed out|timeout|out of memory|warn|crit|panic|level|lvl|severity|denie|d|e|f|w)";
        prop_oneof![4 => word.prop_map(String::into_bytes), 3 => "[ =:\\[]".prop_map(String::into_bytes), 1 => proptest::collection::vec(any::<u8>(), 0..4)]
    }

    proptest! {
        #[test]
        fn what_a_text_says_is_what_its_small_letters_say(pieces in proptest::collection::vec(piece(), 0..14)) {
            let text = pieces.concat();
            prop_assert_eq!(Severity::of_template(&text), naive(&text));
        }
    }

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
