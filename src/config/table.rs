//! The table of keys: the only place that states a type, a default, a bound or a meaning.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::AlertBudget;
use super::choice::{BuiltinMask, Durability, EmbedderKind, Fields, JournalMessage, OnExisting, TimeSource, Wildcards};
use super::journal::Journal;
use super::rule::{EventRule, RuleAction, RuleMatch};
use super::sampling::Sampling;
use super::value::{Setting, Value};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const EIB: u64 = 1 << 60;
const BILLION: u64 = 1_000_000_000;

/// A pattern of the user's own whose matches are variables, such as an order number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// Name of the mask: lower-case letters, digits and `_`; unique.
    pub name: String,
    /// The pattern, in the syntax of the Rust `regex` crate; it must not match the empty text.
    pub regex: String,
}

impl Mask {
    pub(super) const NAME_PATTERN: &'static str = "^[a-z0-9_]+$";
    /// The longest name, in characters.
    pub(super) const NAME_CHARS: usize = 64;
    /// The longest pattern, in characters.
    pub(super) const REGEX_CHARS: usize = 1_024;
    pub(super) const NAME: &'static str = "name";
    pub(super) const REGEX: &'static str = "regex";
    pub(super) const KEYS: [&'static str; 2] = [Self::NAME, Self::REGEX];
}

/// What a text must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// A path in the file system.
    FilePath,
    /// A path in the file system, or a URL.
    FilePathOrUrl,
    /// Path of a field of the event, parts joined by dots: `message`, `log.level`.
    FieldPath,
    /// Path of a field that oddline writes: identifiers joined by dots.
    Target,
    /// One line of a log, or a template.
    Line,
    /// Where objects are stored.
    StoreUrl,
}

impl Shape {
    /// The longest field path, in characters.
    pub(super) const FIELD_CHARS: usize = 256;
    /// The longest URL, in characters.
    pub(super) const URL_CHARS: usize = 2_048;
    /// The longest line, in characters.
    pub(super) const LINE_CHARS: usize = 16_384;

    /// What the whole text must match, in the syntax that Rust and JSON Schema share.
    pub(super) const fn pattern(self) -> &'static str {
        match self {
            Self::FilePath | Self::FilePathOrUrl => r"^[^\x00]+$",
            Self::FieldPath => r"^[^\x00-\x1f\x7f-\x9f]+$",
            Self::Target => r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$",
            Self::Line => r"^[^\x00\n\r]*[^\x00-\x20][^\x00\n\r]*$",
            Self::StoreUrl => r"^(file:///|(s3|s3a|gs|az|adl|azure|abfs|abfss)://)[^\x00-\x20\x7f]+$",
        }
    }

    /// The longest text, in characters.
    pub(super) const fn max_chars(self) -> Option<usize> {
        match self {
            Self::FilePath | Self::FilePathOrUrl => None,
            Self::FieldPath | Self::Target => Some(Self::FIELD_CHARS),
            Self::StoreUrl => Some(Self::URL_CHARS),
            Self::Line => Some(Self::LINE_CHARS),
        }
    }

    pub(super) fn accepted(self) -> String {
        match self {
            Self::FilePath => "a path".to_owned(),
            Self::FilePathOrUrl => "a path or a URL".to_owned(),
            Self::FieldPath => {
                format!("a field path of 1 to {} characters, none a control character", Self::FIELD_CHARS)
            }
            Self::Target => format!(
                "identifiers (ASCII letters, digits and _, no digit first) joined by dots, at most {} characters",
                Self::FIELD_CHARS
            ),
            Self::StoreUrl => {
                format!("a URL of at most {} characters: s3://…, gs://…, az://… or file:///…", Self::URL_CHARS)
            }
            Self::Line => format!("a line that is not blank, of at most {} characters", Self::LINE_CHARS),
        }
    }

    /// The same of several.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::FilePath => "paths",
            Self::FilePathOrUrl => "paths or URLs",
            Self::FieldPath => "field paths",
            Self::Target => "target paths",
            Self::Line => "lines",
            Self::StoreUrl => "URLs",
        }
    }
}

/// Type and bounds of a key's value.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number, bounds included.
    Integer {
        /// The least accepted.
        min: u64,
        /// The greatest accepted.
        max: u64,
    },
    /// A number, bounds included; NaN is never accepted.
    Number {
        /// The least accepted.
        min: f64,
        /// The greatest accepted.
        max: f64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text that must be there.
    Text(Shape),
    /// A text or nothing.
    OptionalText(Shape),
    /// A list of texts, each once.
    Texts {
        /// What each must look like.
        shape: Shape,
        /// The most accepted.
        max_items: usize,
    },
    /// A list of these words, each once.
    Choices(&'static [&'static str]),
    /// A list of [`Mask`]s.
    Masks {
        /// The most accepted.
        max_items: usize,
    },
    /// An [`AlertBudget`].
    Budget,
    /// A [`Sampling`] or nothing.
    Sampling,
    /// A [`Journal`].
    Journal,
    /// A list of [`EventRule`]s.
    Rules {
        /// The most accepted.
        max_items: usize,
    },
}

impl Kind {
    /// What is accepted, in words.
    pub fn accepted(&self) -> String {
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Text(shape) => shape.accepted(),
            Self::OptionalText(shape) => format!("{}, or nothing", shape.accepted()),
            Self::Texts { shape, max_items } => format!("a list of at most {max_items} {}", shape.plural()),
            Self::Choices(words) => format!("a list of any of {}", words.join(", ")),
            Self::Masks { max_items } => {
                format!("a list of at most {max_items} masks, each with {}", Mask::KEYS.join(" and "))
            }
            Self::Budget => AlertBudget::accepted(),
            Self::Sampling => {
                let ((fewest, most), (least, all)) = (Sampling::KEEP_BOUNDS, Sampling::RATIO_BOUNDS);
                format!(
                    "a map of {} ({fewest} to {most}) and {} ({least} to {all}), or nothing",
                    Sampling::KEEP,
                    Sampling::RATIO
                )
            }
            Self::Journal => {
                let keys = Journal::KEYS.iter().zip(Journal::FIELDS).zip(Journal::defaults());
                let key = |((key, field), default): ((&&str, &Field), String)| {
                    format!("{key} ({}; default {default})", field.accepted())
                };
                let keys: Vec<String> = keys.map(key).collect();
                format!("a map of {}", keys.join(", "))
            }
            Self::Rules { max_items } => {
                let (keys, fields) = (EventRule::KEYS.join(", "), EventRule::MOST_FIELDS);
                format!("a list of at most {max_items} rules, each with {keys}, over at most {fields} fields")
            }
        }
    }
}

/// One key of the configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Field {
    /// The key.
    pub key: &'static str,
    /// Type and bounds.
    pub kind: Kind,
    /// Unit of the value, empty when it has none.
    pub unit: &'static str,
    /// What it means, Markdown, without type, default and bounds.
    pub description: &'static str,
}

impl Field {
    /// The field of this key.
    pub fn find(key: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.key == key)
    }

    /// What is accepted, in words and with the unit: for errors and for the reference.
    pub fn accepted(&self) -> String {
        let accepted = self.kind.accepted();
        if self.unit.is_empty() { accepted } else { format!("{accepted} ({})", self.unit) }
    }
}

macro_rules! either {
    (, $default:expr) => {
        $default
    };
    ($sample:expr, $default:expr) => {
        $sample
    };
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr, $kind:expr, unit $unit:literal $(, sample $sample:expr)?;)+) => {
        /// What a user can set. [`Config::default`] is a working configuration that keeps its state in memory.
        ///
        /// Deserializing checks names and types, not bounds: [`Config::validate`] does. The loaders
        /// ([`Config::from_path`], [`Config::from_str`]) do both and say where the fault is.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $key: $type,)+
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        /// Every key, in the order of the documentation.
        pub const FIELDS: &[Field] = &[$(Field {
            key: stringify!($key),
            kind: $kind,
            unit: $unit,
            description: concat!($($doc),+).trim_ascii(),
        }),+];

        impl Config {
            /// The default, but that every key which is unset or empty there has a value to show.
            pub(super) fn sample() -> Self {
                Self { $($key: either!($($sample)?, $default),)+ }
            }

            /// The value of every key, in the order of [`FIELDS`].
            pub(super) fn values(&self) -> Vec<(&'static Field, Value)> {
                FIELDS.iter().zip([$(self.$key.to_value()),+]).collect()
            }

            /// Sets `key`; false when there is no such key or the value is not of its type.
            pub(super) fn set(&mut self, key: &str, value: &Value) -> bool {
                match key {
                    $(stringify!($key) => Setting::from_value(value).map(|value| self.$key = value).is_some(),)+
                    _ => false,
                }
            }
        }
    };
}

settings! {
    /// Directory for everything learned, so that it survives a restart. Unset: kept in memory only.
    data_dir: Option<PathBuf> = None, Kind::OptionalText(Shape::FilePath), unit "", sample Some("/var/lib/oddline".into());
    /// A baseline (`oddline baseline export`) to start from when nothing was learned yet: a data dir without a checkpoint, or none. A path or a URL: `file:///`, or
    /// (built with the feature `object-store`, credentials from the environment) `s3://`, `gs://`, `az://`, `https://`. A file that is missing, damaged, or of
    /// other masks or limits of a line, is an error; behind a URL it is not: the host starts with nothing learned, and tells so in its log, in
    /// `stats` and in `doctor`. A URL is given 30 seconds, and either 256 MiB. Once there is a checkpoint it is not looked at.
    baseline: Option<PathBuf> = None, Kind::OptionalText(Shape::FilePathOrUrl), unit "", sample Some("/etc/oddline/fleet.baseline".into());
    /// How much may be called an anomaly: a share of events, or alerts in a stretch of time (`"5/hour"`, each scoring thread; by the events' time, as far
    /// as there is something to alert of). The threshold on the p-value is this share, led by how many alerts there were.
    alert_budget: AlertBudget = AlertBudget::Share(0.001), Kind::Budget, unit "";
    /// No alerts before this many events. Learning ends when either this or `learning_secs` is reached.
    learning_events: u64 = 10_000, Kind::Integer { min: 0, max: BILLION }, unit "events";
    /// No alerts before this much time, of which a gap between two events is at most a tenth. Learning ends when either this or
    /// `learning_events` is reached.
    learning_secs: u64 = 1_000, Kind::Integer { min: 0, max: 31_536_000 }, unit "seconds";
    /// Repeats of an alert within this time are marked `suppressed` instead of raised again. 0: never.
    hold_secs: u64 = 60, Kind::Integer { min: 0, max: 86_400 }, unit "seconds";
    /// After this many events, what was learned of a template counts half: short follows change, long remembers rare things. Events of all threads
    /// that score; of the order of templates those of each by itself.
    half_life_events: u64 = 50_000, Kind::Integer { min: 100, max: BILLION }, unit "events";
    /// After this many events, what was learned of how unusual the usual is (the calibration of the p-value) counts half. Events of all
    /// threads that score; of what single detectors say those of each by itself.
    calibration_half_life_events: u64 = 20_000, Kind::Integer { min: 100, max: BILLION }, unit "events";
    /// Weight of level words and error keywords in the score. 0: they do not count.
    severity_weight: f64 = 0.5, Kind::Number { min: 0.0, max: 10.0 }, unit "";
    /// Weight of rare and new templates in the score. 0: they do not count.
    rarity_weight: f64 = 1.0, Kind::Number { min: 0.0, max: 10.0 }, unit "";
    /// Weight of too many events of a template at once, or too few.
    rate_weight: f64 = 1.0, Kind::Number { min: 0.0, max: 10.0 }, unit "";
    /// Weight of numbers far from what their place held before.
    numeric_weight: f64 = 1.0, Kind::Number { min: 0.0, max: 10.0 }, unit "";
    /// Weight of new values in a place that held few.
    categorical_weight: f64 = 1.0, Kind::Number { min: 0.0, max: 10.0 }, unit "";
    /// Weight of events out of the order their stream usually has; see `partition_by`.
    sequence_weight: f64 = 1.0, Kind::Number { min: 0.0, max: 10.0 }, unit "";
    /// Weight of a regular template's silence. 0: it is not told.
    silence_weight: f64 = 1.0, Kind::Number { min: 0.0, max: 10.0 }, unit "";
    /// Weight of a template's likeness to one that was flagged (`oddline flag`): most of their words are the same. 0: it does not count.
    similar_incident_weight: f64 = 1.0, Kind::Number { min: 0.0, max: 10.0 }, unit "";
    /// Weight of how far a template's meaning is from all that was known when learning ended (and after `oddline recalibrate`), by the words it has. 0: it is not
    /// looked at, which costs nothing. It was measured to find hardly more incidents (docs/accuracy.md).
    semantic_weight: f64 = 0.0, Kind::Number { min: 0.0, max: 10.0 }, unit "";
    /// Where the message is in the event.
    message_field: String = "message".to_owned(), Kind::Text(Shape::FieldPath), unit "";
    /// Where the timestamp is in the event. Used with `time: event`.
    timestamp_field: String = "timestamp".to_owned(), Kind::Text(Shape::FieldPath), unit "";
    /// Where the level (`ERROR`, `warn`) is in the event. Unset: only the message tells.
    level_field: Option<String> = None, Kind::OptionalText(Shape::FieldPath), unit "", sample Some("level".to_owned());
    /// Fields whose values together name the stream an event belongs to: the order of events, silences and how much comes are learned by stream. An event
    /// that has none of them belongs to one stream with all others of its kind. Empty: all events are one stream.
    partition_by: Vec<String> = vec!["host".to_owned()], Kind::Texts { shape: Shape::FieldPath, max_items: 16 }, unit "", sample vec!["host".to_owned(), "service".to_owned()];
    /// Which time counts: `arrival` (when oddline sees the event) or `event` (its own timestamp: for replays, and for hosts
    /// whose events come late). Clocks of hosts may differ; one that is minutes off counts as the others tell.
    time: TimeSource = TimeSource::default(), Kind::Choice(TimeSource::NAMES), unit "";
    /// Where the results are written in the event.
    target: String = "anomaly".to_owned(), Kind::Text(Shape::Target), unit "";
    /// How many fields are written: `minimal` (score, is_anomaly, reasons), `standard` (also template, template_id and state,
    /// and on anomalies the rest), `full` (everything on every event).
    fields: Fields = Fields::default(), Kind::Choice(Fields::NAMES), unit "";
    /// Also write the variable parts of the message.
    parameters: bool = false, Kind::Flag, unit "";
    /// Also write the template to this field.
    template_field: Option<String> = None, Kind::OptionalText(Shape::Target), unit "", sample Some("log.record.template".to_owned());
    /// When the event already has something at `target`: `keep` it and write nothing, `replace` it, or `rename` the old.
    on_existing: OnExisting = OnExisting::default(), Kind::Choice(OnExisting::NAMES), unit "";
    /// How many templates are kept; beyond it the least recently used goes.
    max_templates: usize = 10_000, Kind::Integer { min: 1, max: 1_000_000 }, unit "templates";
    /// Memory to keep to. A quarter of it is for the texts of templates: at that limit the least recently used go, as at
    /// `max_templates`. An eighth is for the newest events in memory: at that limit they are dropped there, and counted. Buffers, queues and caches have fixed bounds of their own; events are never held up or lost.
    memory_limit_bytes: u64 = 64 * MIB, Kind::Integer { min: 4 * MIB, max: TIB }, unit "bytes";
    /// When what was learned reaches the disk: `none` (when the system pleases), `interval` (every `flush_interval_ms`),
    /// `always` (at every commit).
    durability: Durability = Durability::default(), Kind::Choice(Durability::NAMES), unit "";
    /// Time between two flushes with `durability: interval`: what a power cut can lose.
    flush_interval_ms: u64 = 200, Kind::Integer { min: 10, max: 60_000 }, unit "milliseconds";
    /// Time between two checkpoints: how much has to be replayed after a crash.
    checkpoint_interval_secs: u64 = 60, Kind::Integer { min: 1, max: 86_400 }, unit "seconds";
    /// Size at which a file of the write-ahead log is closed and the next begun; at most `max_disk_bytes`.
    wal_segment_bytes: u64 = 2 * MIB, Kind::Integer { min: 64 * KIB, max: GIB }, unit "bytes";
    /// Length of a window: the step of the counts by template in the history, and how often a lane's newest events are sealed for readers.
    window_secs: u64 = 10, Kind::Integer { min: 1, max: 3_600 }, unit "seconds";
    /// How long the history of events is kept.
    retention_hours: u64 = 168, Kind::Integer { min: 1, max: 87_600 }, unit "hours";
    /// Disk for the data dir; at the limit the oldest history goes first.
    max_disk_bytes: u64 = GIB, Kind::Integer { min: 16 * MIB, max: EIB }, unit "bytes";
    /// Where incidents are kept, and how. They are gathered in memory and written as one object when there are `batch_incidents`, after `interval_secs`, or when oddline
    /// ends; an object is never rewritten. Keys are those of a Hive-partitioned table (`host=…/date=…/hour=…`), so that DuckDB, ClickHouse, Spark or Trino read the journals of many
    /// hosts as one. Without `url` they are in the data dir; with one (`s3://`, `gs://`, `az://`: built with the feature `object-store`, credentials from the environment;
    /// `file:///`) what cannot be stored waits in the data dir, up to `spool_bytes`. `host` is what the origin is called (unset: the machine's name); `parquet` needs the
    /// feature `parquet`. What is left out of the map has its default. Without a data dir there is no journal.
    journal: Journal = Journal::default(), Kind::Journal, unit "", sample Journal { url: Some("s3://logs/oddline".to_owned()), ..Journal::default() };
    /// What the journal keeps of a message: `full` (the message, cut at 8 KiB, and its parameters), `template` (only the template), `hash` (the template and a 64-bit
    /// FNV-1a hash of the message, to find it again elsewhere; it does not keep a secret).
    journal_message: JournalMessage = JournalMessage::default(), Kind::Choice(JournalMessage::NAMES), unit "";
    /// What makes the vectors by which `oddline search` finds templates near in meaning: `hashing` (words; no files, nothing kept), or `onnx`, a sentence model that
    /// knows other words for the same thing (built with the feature `onnx`; 70 to 170 MB of memory, 2 to 10 ms a template, on a thread of its own).
    /// With a model that cannot be used, oddline runs on `hashing`, and tells so in its log, in `stats` and in `doctor`. Alerts do not depend on it.
    embedder: EmbedderKind = EmbedderKind::default(), Kind::Choice(EmbedderKind::NAMES), unit "";
    /// The model for `embedder: onnx`: a directory with `model.onnx` and `tokenizer.json`, as sentence models are published.
    embedder_model: Option<PathBuf> = None, Kind::OptionalText(Shape::FilePath), unit "", sample Some("/var/lib/oddline-models/all-MiniLM-L6-v2".into());
    /// The ONNX Runtime for `embedder: onnx`, 1.17 or later: the library (`libonnxruntime.so.1.31.1`), or a directory that has it. Unset: what `ORT_DYLIB_PATH` names, or what is
    /// beside oddline, in `LD_LIBRARY_PATH`, or in the usual directories for libraries, the first that fits. `tract` in place of a path: no library is needed, for models in fp32 (built with the feature `onnx-tract`).
    embedder_runtime: Option<PathBuf> = None, Kind::OptionalText(Shape::FilePath), unit "", sample Some("/opt/onnxruntime/lib".into());
    /// Threads that run the model for `embedder: onnx`, each with the model in memory once more.
    embedders: u64 = 1, Kind::Integer { min: 1, max: 16 }, unit "threads";
    /// Patterns of your own whose matches are variables, each a `name` (lower-case letters, digits and `_`, unique) and a
    /// `regex` (Rust `regex` syntax) that matches whole characters, and not the empty text: with `(?-u)` what could match a part of a character
    /// is refused (`(?-u:\xff)`, `(?-u).`), since templates are text. They come before the built-in ones, in this order.
    /// They are looked for in the first 8 KiB of a message, and all together read at most 1 MiB for one: a search may read from the match before it
    /// to the end. What a mask finds no more is left to the built-in ones; short lines never get there. Patterns that compile to more than
    /// 16 KiB count more, those of more than 256 KiB are looked for in fewer bytes: `\w{1,63}` is 4 MiB and costs 256 times a `\w+`.
    masks: Vec<Mask> = Vec::new(), Kind::Masks { max_items: 64 }, unit "", sample vec![Mask { name: "order".to_owned(), regex: "ORD-[0-9]+".to_owned() }];
    /// Built-in masks that do not apply. There are: `path` (paths, URLs), `key_value` (values of `key=value`), `number` (words with a digit),
    /// `hex` (eight hex digits or more), `calendar_time`, `size` (a number and its unit), `protocol` (the version after a path),
    /// `empty_value` (nothing between brackets), `quoted_value`, `user_name` (the word after `for user`, `by user` and the like, or in quotes after `user`), `list` (ids of one kind in
    /// a row), `json` (values in JSON, but of keys like `level` and `msg`), `glued` (parts of a word: without it a word with a variable in it is a
    /// variable as a whole) and `first_token` (a line's first word is a word like any other: without it that is no variable).
    disabled_masks: Vec<BuiltinMask> = Vec::new(), Kind::Choices(BuiltinMask::NAMES), unit "", sample vec![BuiltinMask::Path];
    /// Templates that must differ in one word before that word is a variable. Lower: fewer templates, but `GET` and `POST` may
    /// become one; higher: names stay apart longer. Lines of more than 64 words, and templates of which nothing but variables would be left
    /// (`HOST <*>`), never merge, whatever this is (why: docs/templates.md); masks of your own can do it.
    merge_after: usize = 8, Kind::Integer { min: 2, max: 1_000 }, unit "templates";
    /// The same for words that look like the name of a file, a class or a host: with a dot, a slash or an `@` inside.
    merge_names_after: usize = 2, Kind::Integer { min: 2, max: 1_000 }, unit "templates";
    /// Words of a line that are looked at one by one; the rest of the line is one variable.
    max_line_tokens: usize = 128, Kind::Integer { min: 1, max: 4_096 }, unit "words";
    /// A longer word is a variable as a whole.
    max_token_bytes: usize = 1_024, Kind::Integer { min: 8, max: 65_536 }, unit "bytes";
    /// Templates known from the start, variables written `<*>`: they are not new when they are first met. In place of a word `<*>` stands for any,
    /// as part of one (`<*>ms`, `blk_<*>`) for a number there. `<num>`, `<ip>` and the like, as `wildcards: typed` shows them, say the same as `<*>`.
    /// All seeds together are at most `max_templates`.
    seed_templates: Vec<String> = Vec::new(), Kind::Texts { shape: Shape::Line, max_items: 10_000 }, unit "", sample vec!["session opened for user <*>".to_owned()];
    /// Log lines whose templates are known from the start.
    seed_logs: Vec<String> = Vec::new(), Kind::Texts { shape: Shape::Line, max_items: 10_000 }, unit "", sample vec!["session closed for user root".to_owned()];
    /// Events that are never or always an anomaly, whatever their score: the first rule that an event meets decides. Each has a `name`
    /// (lower-case letters, digits and `_`, unique), a `match`, one of `template` (an id of 16 hex digits), `regex` (found in the
    /// template's text, variables written `<*>`) or `field` with `value` (equal to the whole value), and a `do`: `never` (scored and learned, but no
    /// anomaly) or `always` (an anomaly with the reason `rule`, also while learning).
    rules: Vec<EventRule> = Vec::new(), Kind::Rules { max_items: 256 }, unit "", sample vec![EventRule { name: "backup".to_owned(), matches: RuleMatch::Regex { regex: "backup of <\\*> finished".to_owned() }, action: RuleAction::Never }];
    /// Writes `sample_ratio` on every event: 1 for anomalies, what is odder than one event in a thousand, new and rare templates, and what is
    /// on a stream for 60 s after an alert (what came before it has been answered by then; 5,000 events at once, and half a percent for long); for
    /// the rest what keeps about `keep_per_minute` events of a template a minute and scoring thread, at least `minimum_ratio`. What is left
    /// out of the map has its default (60 and 0.01). Unset: no ratio is written.
    sampling: Option<Sampling> = None, Kind::Sampling, unit "", sample Some(Sampling::default());
    /// How variables are shown in templates: `plain` (all `<*>`) or `typed` (`<ip>`, `<num>`, the name of a mask of yours …; a mask
    /// named `ip` adds to what is shown as `<ip>`).
    wildcards: Wildcards = Wildcards::default(), Kind::Choice(Wildcards::NAMES), unit "";
}
