//! What goes into scoring and what comes out: [`Observation`], [`Verdict`], and the ids they carry.
//!
//! All of it is plain data without I/O. A [`Verdict`] is `Copy`: the hot path hands it out without
//! allocating, and texts (template, parameters) are asked for by those who need them.

use std::fmt;
use std::str::FromStr;

/// A point in time: microseconds since the Unix epoch, UTC, negative before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From whole milliseconds since the Unix epoch; saturates.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Whole milliseconds since the Unix epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The same, 0 before the epoch: what an event's id has.
    pub(crate) const fn unsigned_millis(self) -> u64 {
        if self.0 > 0 { self.0.cast_unsigned() / 1_000 } else { 0 }
    }

    /// Seconds from `earlier` to `self`; negative when `self` comes first.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1e6
    }
}

/// Stable 64-bit id of a template, given when the template is first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateId(pub u64);

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Hash of whatever `partition_by` names; [`StreamKey::default`] is the one stream of an unpartitioned input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey(pub u64);

impl StreamKey {
    /// The stream of events with these values at `partition_by`: FNV-1a over them, each behind a mark of whether it is there and before
    /// its length. It is stored, so it must never change.
    pub fn of_values<V: AsRef<[u8]>>(values: impl ExactSizeIterator<Item = Option<V>>) -> Self {
        if values.len() == 0 {
            return Self::default();
        }
        let fold = |hash: u64, bytes: &[u8]| {
            bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
        };
        let one = |hash, value: Option<V>| match value {
            Some(value) => {
                let value = value.as_ref();
                fold(fold(fold(hash, &[1]), value), &(value.len() as u64).to_le_bytes())
            }
            None => fold(hash, &[0]),
        };
        Self(values.fold(0xcbf2_9ce4_8422_2325, one))
    }

    /// What such a stream is called: the values joined by `/`, `-` for one the events do not have; empty when they have none.
    pub fn name_of<V: AsRef<str>>(values: &[Option<V>]) -> String {
        if values.iter().all(Option::is_none) {
            return String::new();
        }
        values.iter().map(|value| value.as_ref().map_or("-", AsRef::as_ref)).collect::<Vec<_>>().join("/")
    }
}

/// Time-ordered id of an event, unique across restarts of one data dir.
///
/// Text form: `tttttttttttt-rrrrrrll-nnnnnnnnnn` in hex: milliseconds since the epoch (48 bits), the
/// run (how often the data dir was opened, 24 bits), the lane (8 bits), the event's number in that lane
/// and run (40 bits). Comparing texts compares times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Milliseconds since the Unix epoch; 0 for earlier times.
    pub millis: u64,
    /// How often the data dir had been opened.
    pub run: u32,
    /// The lane that scored the event.
    pub lane: u8,
    /// Number of the event in its lane and run, from 0.
    pub number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:012x}-{:06x}{:02x}-{:010x}",
            self.millis & 0xffff_ffff_ffff,
            self.run & 0xff_ffff,
            self.lane,
            self.number & 0xff_ffff_ffff
        )
    }
}

/// The text is not an [`EventId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an event id: expected 12, 8 and 10 hex digits joined by '-', as in 019aa3c0f1e2-00000100-0000000a3f")]
pub struct ParseEventIdError;

impl FromStr for EventId {
    type Err = ParseEventIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |part: Option<&str>, digits: usize| {
            part.filter(|p| p.len() == digits && p.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|p| u64::from_str_radix(p, 16).ok())
                .ok_or(ParseEventIdError)
        };
        let mut parts = text.split('-');
        let millis = hex(parts.next(), 12)?;
        let run_lane = hex(parts.next(), 8)?;
        let number = hex(parts.next(), 10)?;
        if parts.next().is_some() {
            return Err(ParseEventIdError);
        }
        Ok(Self { millis, run: (run_lane >> 8) as u32, lane: run_lane as u8, number })
    }
}

/// What a stream is called, for who wants to read it: asked for only when an event is an incident, or its stream may be new.
pub trait StreamName: fmt::Debug {
    /// The values the stream is told apart by, such as the host's name; nothing for one the event does not have.
    fn values(&self) -> Vec<Option<String>>;

    /// The name, as [`StreamKey::name_of`].
    fn name(&self) -> String {
        StreamKey::name_of(&self.values())
    }
}

/// What scoring needs of an event.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// The message, any bytes; what is not UTF-8 is scored as it is and shown with replacement characters.
    pub message: &'a [u8],
    /// When the event happened (or arrived, where that is asked for).
    pub timestamp: Timestamp,
    /// The stream the event belongs to.
    pub stream: StreamKey,
    /// Text of the event's own level field, when it has one (`"ERROR"`, `"warn"`).
    pub level: Option<&'a str>,
    /// What the stream is called, when somebody knows.
    pub stream_name: Option<&'a dyn StreamName>,
}

impl<'a> Observation<'a> {
    /// A message of the default stream without a level of its own.
    pub fn new(message: &'a [u8], timestamp: Timestamp) -> Self {
        Self { message, timestamp, stream: StreamKey::default(), level: None, stream_name: None }
    }
}

/// What overrides the score of an event: a rule of the configuration, or what the user said of its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ruling {
    by: Option<u16>,
    is_always: bool,
}

impl Ruling {
    /// By the rule with this number among `rules`: always an anomaly, or never.
    pub const fn rule(number: u16, is_always: bool) -> Self {
        Self { by: Some(number), is_always }
    }

    /// By what the user said of the template.
    pub const fn feedback(is_always: bool) -> Self {
        Self { by: None, is_always }
    }

    /// The number of the rule among `rules`; none for feedback.
    pub const fn number(self) -> Option<u16> {
        self.by
    }

    /// Of two, the one with the lower order decides.
    pub(crate) fn order(self) -> u32 {
        self.by.map_or(u32::MAX, u32::from)
    }

    /// The event is an anomaly whatever its score, or else never one.
    pub const fn is_always(self) -> bool {
        self.is_always
    }
}

/// Why an event stands out; the text form is what the `reasons` field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Reason {
    /// A template never seen before.
    NewTemplate,
    /// A template seen rarely.
    RareTemplate,
    /// Too many of a template at once.
    RateSpike,
    /// Too few of a template.
    RateDrop,
    /// A regular template stopped.
    Silence,
    /// A number far from what its place held before.
    NumericOutlier,
    /// A value never seen in a place that held few.
    NewValue,
    /// Events of a stream out of their order.
    UnusualOrder,
    /// Level words or error keywords.
    Severity,
    /// It is like what the user flagged.
    SimilarIncident,
    /// It means something else than all that was known.
    Semantic,
    /// A rule of the user's says so.
    Rule,
}

impl Reason {
    /// Every reason, in the order of the field table.
    pub const ALL: [Self; 12] = [
        Self::NewTemplate,
        Self::RareTemplate,
        Self::RateSpike,
        Self::RateDrop,
        Self::Silence,
        Self::NumericOutlier,
        Self::NewValue,
        Self::UnusualOrder,
        Self::Severity,
        Self::SimilarIncident,
        Self::Semantic,
        Self::Rule,
    ];

    /// The text of the `reasons` field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewTemplate => "new_template",
            Self::RareTemplate => "rare_template",
            Self::RateSpike => "rate_spike",
            Self::RateDrop => "rate_drop",
            Self::Silence => "silence",
            Self::NumericOutlier => "numeric_outlier",
            Self::NewValue => "new_value",
            Self::UnusualOrder => "unusual_order",
            Self::Severity => "severity",
            Self::SimilarIncident => "similar_incident",
            Self::Semantic => "semantic",
            Self::Rule => "rule",
        }
    }
}

/// How far a verdict can be trusted; the text form is what the `state` field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum State {
    /// Not enough seen yet: events are scored, none alerts.
    #[default]
    Learning,
    /// Calibrated.
    Ready,
    /// Scoring works, something else (persistence) does not.
    Degraded,
}

impl State {
    /// The text of the `state` field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Learning => "learning",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
        }
    }
}

/// Number of detectors; index into [`Verdict::evidence`] by [`DetectorKind`].
pub const DETECTORS: usize = 9;

/// Reasons a verdict carries at the most.
pub const REASONS: usize = 4;

/// The detectors, in the order of [`Verdict::evidence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DetectorKind {
    /// How rare the template is.
    Rarity = 0,
    /// How many of it there are at once.
    Rate = 1,
    /// How far a number is from its like.
    Numeric = 2,
    /// Whether a value is new where there are few.
    Categorical = 3,
    /// How far the order of events is from the usual.
    Sequence = 4,
    /// Level words and error keywords.
    Severity = 5,
    /// How long a regular template has not been seen.
    Silence = 6,
    /// Whether the template is like one the user flagged.
    Similar = 7,
    /// How far the template's meaning is from all that was known.
    Semantic = 8,
}

impl DetectorKind {
    /// Every detector, in the order of [`Verdict::evidence`].
    pub const ALL: [Self; DETECTORS] = [
        Self::Rarity,
        Self::Rate,
        Self::Numeric,
        Self::Categorical,
        Self::Sequence,
        Self::Severity,
        Self::Silence,
        Self::Similar,
        Self::Semantic,
    ];

    /// The key in the `detectors` field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rarity => "rarity",
            Self::Rate => "rate",
            Self::Numeric => "numeric",
            Self::Categorical => "categorical",
            Self::Sequence => "sequence",
            Self::Severity => "severity",
            Self::Silence => "silence",
            Self::Similar => "similar_incident",
            Self::Semantic => "semantic",
        }
    }
}

/// What was seen and what would have been usual, in the line's own units.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Measure {
    /// Events of a template in a window.
    Rate {
        /// Seen.
        observed: f64,
        /// Seldom more than this, or less.
        expected: f64,
        /// Length of the window.
        window_secs: u32,
        /// There were too few.
        is_drop: bool,
        /// Of the template on the event's stream; there are more of it on others.
        of_stream: bool,
    },
    /// A number in the message.
    Amount {
        /// Seen.
        observed: f64,
        /// Lower end of the usual range.
        low: f64,
        /// Upper end of the usual range.
        high: f64,
        /// Unit of all three, as the message writes it; empty for none.
        unit: &'static str,
    },
    /// Time without an event.
    Gap {
        /// So far.
        observed_secs: f64,
        /// The longest before.
        expected_secs: f64,
    },
}

impl Measure {
    /// What was seen, as a number.
    pub const fn observed(&self) -> f64 {
        match self {
            Self::Rate { observed, .. } | Self::Amount { observed, .. } => *observed,
            Self::Gap { observed_secs, .. } => *observed_secs,
        }
    }

    /// What would have been usual, in words: `≤ 14 per 10 s`, `12 to 40 ms`.
    pub fn expected(&self) -> String {
        match self {
            Self::Rate { expected, window_secs, is_drop, of_stream, .. } => {
                let (sign, bound) = if *is_drop { ('≥', expected.floor()) } else { ('≤', expected.ceil()) };
                let whose = if *of_stream { " on its stream" } else { "" };
                format!("{sign} {} per {window_secs} s{whose}", short(bound))
            }
            Self::Amount { low, high, unit, .. } => {
                format!("{} to {} {unit}", short(*low), short(*high)).trim_ascii_end().to_owned()
            }
            Self::Gap { expected_secs, .. } => format!("≤ {} s between events", short(*expected_secs)),
        }
    }
}

/// Three digits, no more than needed.
fn short(number: f64) -> String {
    let magnitude = if number == 0.0 { 0.0 } else { number.abs().log10().floor() };
    let decimals = (2.0 - magnitude).clamp(0.0, 6.0);
    let text = format!("{number:.*}", decimals as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The answer for one event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// `min(1, −log10 p / 6)`: 0.5 is one in a thousand, 1.0 one in a million.
    pub score: f64,
    /// Probability of an event at least this odd under what was learned, in (0, 1]: repeats are counted once, as far as that makes it no less than a
    /// tenth of their share of all events.
    pub p_value: f64,
    /// `p_value` within `alert_budget`, as led by how many alerts there were; past the learning period, and not `suppressed`; or as `ruling` says.
    pub is_anomaly: bool,
    /// A repeat within the hold time of an alert already raised.
    pub suppressed: bool,
    /// How far to trust it.
    pub state: State,
    /// Evidence in nats by [`DetectorKind`], before weights.
    pub evidence: [f32; DETECTORS],
    pub(crate) reasons: [Option<Reason>; REASONS],
    /// What a rate, numeric or silence reason rests on.
    pub measure: Option<Measure>,
    /// What overrode the score.
    pub ruling: Option<Ruling>,
    /// With `sampling`: the share of events like this one that is worth keeping, in (0, 1].
    pub sample_ratio: Option<f64>,
    /// The event's template.
    pub template: TemplateId,
    /// Time-ordered id of the event.
    pub event_id: EventId,
}

impl Verdict {
    /// Reasons, strongest first; empty for an event without evidence.
    pub fn reasons(&self) -> impl Iterator<Item = Reason> + '_ {
        self.reasons.iter().filter_map(|r| *r)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_of_an_event_are_rounded_down_and_none_before_the_epoch() {
        for micros in [i64::MIN, -1_001, -1_000, -1, 0, 999, 1_000, i64::MAX] {
            let time = Timestamp(micros);
            assert_eq!(time.unsigned_millis(), u64::try_from(time.as_millis()).unwrap_or(0), "{micros}");
        }
    }

    #[test]
    fn what_was_expected_is_told_in_few_digits() {
        let rate = |is_drop: bool, of_stream: bool| {
            let observed = if is_drop { 2.0 } else { 212.0 };
            Measure::Rate { observed, expected: 13.2, window_secs: 10, is_drop, of_stream }
        };
        assert_eq!(rate(false, true).expected(), "≤ 14 per 10 s on its stream");
        let (rate, drop) = (rate(false, false), rate(true, false));
        assert_eq!((drop.observed(), drop.expected().as_str()), (2.0, "≥ 13 per 10 s"));
        assert_eq!((rate.expected().as_str(), rate.observed()), ("≤ 14 per 10 s", 212.0));
        let amount = Measure::Amount { observed: 9.0e4, low: 0.51234, high: 1234.5, unit: "ms" };
        assert_eq!(amount.expected(), "0.512 to 1234 ms");
        let bare = Measure::Amount { observed: 9.0e4, low: 0.0, high: 10.0, unit: "" };
        assert_eq!(bare.expected(), "0 to 10");
        assert_eq!(Measure::Gap { observed_secs: 60.0, expected_secs: 5.5 }.expected(), "≤ 5.5 s between events");
    }

    #[test]
    fn event_id_text_round_trips_and_sorts_by_time() {
        let early = EventId { millis: 0x19a_a3c0_f1e2, run: 1, lane: 3, number: 0xa3f };
        let late = EventId { millis: early.millis + 1, run: 0, lane: 0, number: 0 };
        assert_eq!(early.to_string(), "019aa3c0f1e2-00000103-0000000a3f");
        assert_eq!(early.to_string().parse(), Ok(early));
        assert!(early.to_string() < late.to_string());
        for bad in ["", "019aa3c0f1e2", "019aa3c0f1e2-00000103-0000000a3f-0", "+19aa3c0f1e2-00000103-0000000a3f"] {
            assert_eq!(bad.parse::<EventId>(), Err(ParseEventIdError), "{bad}");
        }
    }
}
