//! What the journal keeps of an incident: one row of its table.

use serde::{Deserialize, Serialize};

use crate::event::{DETECTORS, DetectorKind, Timestamp};

/// Bytes of a message that are kept.
const MOST_MESSAGE_BYTES: usize = 8 << 10;

/// Bytes of a parameter that are kept.
const MOST_PARAMETER_BYTES: usize = 1 << 10;

/// Parameters that are kept.
const MOST_PARAMETERS: usize = 128;

/// One incident. Names and types are those of the columns; `host`, `date` and `hour` stand in the object's key.
///
/// What a row lacks, since it was written before there was such a column, has its default; only without an `event_id` it is none. A column is added
/// behind the last, and never moved, removed or given another type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Incident {
    /// Time-ordered id, unique in a data dir.
    pub event_id: String,
    /// When it happened: RFC 3339, UTC, microseconds.
    pub time: String,
    /// The stream it is of: the values of `partition_by` joined by `/`, or the stream's key (16 hex digits); empty for the one stream there is without.
    pub stream: String,
    /// `min(1, −log10 p / 6)`.
    pub score: f64,
    /// Probability of an event at least this odd.
    pub p_value: f64,
    /// Why, strongest first.
    pub reasons: Vec<String>,
    /// Evidence by detector, nats.
    pub detectors: Detectors,
    /// 16 hex digits.
    pub template_id: String,
    /// The template's text when it happened.
    pub template: String,
    /// The message, cut at 8 KiB; none unless `journal_message: full`.
    pub message: Option<String>,
    /// A hash of the whole message, 16 hex digits, to find it again elsewhere; with `journal_message: hash`.
    pub message_hash: Option<String>,
    /// The texts at the template's wildcards; none unless `journal_message: full`.
    pub parameters: Vec<String>,
    /// The parameter that was odd, where one was.
    pub odd_parameter: Option<String>,
    /// What would have been usual, in the line's own unit.
    pub expected: Option<String>,
    /// What was seen.
    pub observed: Option<f64>,
    /// The rule that made it an incident, if one did.
    pub rule: Option<String>,
    /// An event of oddline's own: a silence.
    pub synthetic: bool,
}

macro_rules! detectors {
    ($($(#[doc = $doc:literal])+ $name:ident = $kind:ident,)+) => {
        /// Evidence by detector, nats.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Detectors {
            $($(#[doc = $doc])+ pub $name: f32,)+
        }

        // A detector without a column would be lost.
        const _: () = assert!([$(DetectorKind::$kind as usize),+].len() == DETECTORS);

        impl Detectors {
            /// From a verdict's evidence.
            pub fn of(evidence: &[f32; DETECTORS]) -> Self {
                Self { $($name: evidence[DetectorKind::$kind as usize],)+ }
            }

            /// Names and values, in the order of the columns.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, f32)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }

            /// Sets one by its name; false when there is none of that name.
            pub fn set(&mut self, name: &str, nats: f32) -> bool {
                match name {
                    $(stringify!($name) => self.$name = nats,)+
                    _ => return false,
                }
                true
            }
        }
    };
}

detectors! {
    /// How rare the template is.
    rarity = Rarity,
    /// How many of it there are at once.
    rate = Rate,
    /// How far a number is from its like.
    numeric = Numeric,
    /// Whether a value is new where there are few.
    categorical = Categorical,
    /// How far the order of events is from the usual.
    sequence = Sequence,
    /// Level words and error keywords.
    severity = Severity,
    /// How long a regular template has not been seen.
    silence = Silence,
    /// How like it is to what was flagged.
    similar_incident = Similar,
    /// How far the template's meaning is from all that was known.
    semantic = Semantic,
}

/// What is kept of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageMode {
    /// The message and its parameters.
    #[default]
    Full,
    /// The template alone.
    Template,
    /// A hash of the message.
    Hash,
}

/// What of a message stands in an [`Incident`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessagePart {
    /// See [`Incident::message`].
    pub message: Option<String>,
    /// See [`Incident::message_hash`].
    pub message_hash: Option<String>,
    /// See [`Incident::parameters`].
    pub parameters: Vec<String>,
    /// See [`Incident::odd_parameter`].
    pub odd_parameter: Option<String>,
}

impl MessagePart {
    /// What `mode` keeps of a message; parameters are asked for only when they are kept.
    pub fn new(
        mode: MessageMode,
        message: &[u8],
        parameters: impl FnOnce() -> Vec<String>,
        odd_parameter: Option<&[u8]>,
    ) -> Self {
        match mode {
            MessageMode::Full => Self {
                message: Some(cut(message, MOST_MESSAGE_BYTES)),
                parameters: parameters()
                    .into_iter()
                    .take(MOST_PARAMETERS)
                    .map(|text| cut(text.as_bytes(), MOST_PARAMETER_BYTES))
                    .collect(),
                odd_parameter: odd_parameter.map(|text| cut(text, MOST_PARAMETER_BYTES)),
                message_hash: None,
            },
            MessageMode::Template => Self::default(),
            MessageMode::Hash => Self { message_hash: Some(message_hash(message)), ..Self::default() },
        }
    }
}

/// FNV-1a, 64 bits, as 16 hex digits (Fowler, Noll and Vo): to find a line again where it is kept, not to keep it secret.
pub fn message_hash(message: &[u8]) -> String {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", message.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// UTF-8 with replacement characters, cut at a number of bytes.
fn cut(text: &[u8], most: usize) -> String {
    let mut shown = String::from_utf8_lossy(text.get(..most).unwrap_or(text)).into_owned();
    if text.len() > most {
        shown.push('…');
    }
    shown
}

/// Times kept are of these years: 1970 to 9999.
const TIMES: (i64, i64) = (0, 253_402_207_200_000_000);

/// A time within what can be written in four digits of a year.
pub(super) fn bounded(time: Timestamp) -> Timestamp {
    Timestamp(time.0.clamp(TIMES.0, TIMES.1))
}

/// A time as [`Incident::time`] has it.
pub fn time_text(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_microsecond(bounded(time).0).unwrap_or_default();
    format!("{time:.6}")
}

/// The inverse of [`time_text`]; `None` when the text is no time.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|time| Timestamp(time.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_so_that_they_sort_and_come_back() {
        assert_eq!(time_text(Timestamp(1_741_946_400_000_001)), "2025-03-14T10:00:00.000001Z");
        assert_eq!(time_text(Timestamp(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(time_text(Timestamp(i64::MAX)), "9999-12-30T22:00:00.000000Z");
        assert_eq!(time_text(Timestamp(i64::MIN)), time_text(Timestamp(0)));
        assert_eq!(parse_time("2025-03-14T10:00:00.000001Z"), Some(Timestamp(1_741_946_400_000_001)));
        assert_eq!(parse_time("yesterday"), None);
    }

    #[test]
    fn of_a_message_is_kept_what_was_chosen() {
        let of = |mode| MessagePart::new(mode, b"user ann \xff", || vec!["ann".to_owned()], Some(b"ann"));
        assert_eq!(of(MessageMode::Full).message.as_deref(), Some("user ann \u{fffd}"));
        assert_eq!(of(MessageMode::Full).parameters, ["ann"]);
        assert_eq!(of(MessageMode::Template), MessagePart::default());
        let hash = of(MessageMode::Hash);
        assert_eq!((hash.message, hash.parameters.len(), hash.odd_parameter), (None, 0, None));
        assert_eq!(message_hash(b"foobar"), "85944171f73967e8", "the test vector of its authors");
        let long = MessagePart::new(MessageMode::Full, &vec![b'x'; 1 << 20], Vec::new, None);
        assert!(long.message.unwrap().len() <= MOST_MESSAGE_BYTES + 4);
    }
}
