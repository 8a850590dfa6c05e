//! The values of one event's fields, offered to an adapter one by one in the order of the table.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::fields::{FIELDS, FieldId};
use crate::config::Fields;
use crate::engine::SimilarIncident;
use crate::event::{DETECTORS, DetectorKind, EventId, Measure, State, TemplateId, Verdict};

/// Decimals a number is rounded to: a millionth is far below what a score can tell apart.
const SCALE: f64 = 1e6;

/// A value to be written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// True or false.
    Flag(bool),
    /// Finite, rounded to six decimals; negative only in what was observed.
    Number(f64),
    /// Text.
    Text(&'a str),
    /// A list of texts, perhaps empty.
    Texts(&'a [Cow<'a, str>]),
    /// A map from names to numbers as in [`Value::Number`], never empty.
    Numbers(&'a [(&'static str, f64)]),
    /// A list of maps from names to [`Value::Number`] and [`Value::Text`], never empty, nor is one of them.
    Maps(&'a [Vec<MapEntry<'a>>]),
}

/// An entry of a map of [`Value::Maps`].
pub type MapEntry<'a> = (&'static str, Value<'a>);

/// What is written to one event.
#[derive(Clone, Debug)]
pub struct Enrichment<'a> {
    detail: Fields,
    score: f64,
    is_anomaly: bool,
    suppressed: bool,
    synthetic: bool,
    state: State,
    reasons: SmallVec<[Cow<'a, str>; 4]>,
    /// In nats, by detector; rounded for those who ask.
    evidence: [f32; DETECTORS],
    template: Option<(TemplateId, &'a str)>,
    event_id: Option<EventId>,
    measure: Option<Measure>,
    parameters: Option<&'a [Cow<'a, str>]>,
    rule: Option<&'a str>,
    sample_ratio: Option<f64>,
    similar: &'a [SimilarIncident],
}

fn rounded(number: f64) -> f64 {
    // A comparison, since the maximum of the two zeros may be the negative one.
    if number.is_finite() && number > 0.0 { (number * SCALE).round() / SCALE } else { 0.0 }
}

/// As [`rounded`], for numbers of the message: they may be negative, and too large to be rounded, which have no decimals.
fn signed(number: f64) -> f64 {
    let scaled = (number * SCALE).round() / SCALE;
    match (scaled.is_finite(), number.is_finite()) {
        (true, _) => scaled + 0.0,
        (false, true) => number,
        (false, false) => 0.0,
    }
}

impl<'a> Enrichment<'a> {
    /// For an event that was not scored: score 0 and no template.
    pub fn unscored(detail: Fields, state: State) -> Self {
        Self {
            detail,
            score: 0.0,
            is_anomaly: false,
            suppressed: false,
            synthetic: false,
            state,
            reasons: SmallVec::new(),
            evidence: [0.0; DETECTORS],
            template: None,
            event_id: None,
            measure: None,
            parameters: None,
            rule: None,
            sample_ratio: None,
            similar: &[],
        }
    }

    /// For a scored event; `template` is the template's text, when the engine still has it.
    pub fn new(detail: Fields, verdict: &Verdict, template: Option<&'a str>) -> Self {
        Self {
            score: rounded(verdict.score.min(1.0)),
            is_anomaly: verdict.is_anomaly,
            suppressed: verdict.suppressed,
            reasons: verdict.reasons().map(|reason| Cow::Borrowed(reason.as_str())).collect(),
            evidence: verdict.evidence,
            template: template.map(|text| (verdict.template, text)),
            event_id: Some(verdict.event_id),
            measure: verdict.measure,
            sample_ratio: verdict.sample_ratio,
            ..Self::unscored(detail, verdict.state)
        }
    }

    /// Adds the parameters.
    #[must_use]
    pub fn with_parameters(self, parameters: Option<&'a [Cow<'a, str>]>) -> Self {
        Self { parameters, ..self }
    }

    /// Adds the name of the rule that decided.
    #[must_use]
    pub fn with_rule(self, rule: Option<&'a str>) -> Self {
        Self { rule, ..self }
    }

    /// Adds past incidents like this one.
    #[must_use]
    pub fn with_similar(self, similar: &'a [SimilarIncident]) -> Self {
        Self { similar, ..self }
    }

    /// With the ratio of an event that was not scored: all of them are worth keeping.
    #[must_use]
    pub fn kept(self) -> Self {
        Self { sample_ratio: Some(1.0), ..self }
    }

    /// Marks the event as oddline's own.
    #[must_use]
    pub fn synthetic(self) -> Self {
        Self { synthetic: true, ..self }
    }

    /// The template's text, when the event has one.
    pub fn template(&self) -> Option<&'a str> {
        self.template.map(|(_, text)| text)
    }

    fn detectors(&self) -> [(&'static str, f64); DETECTORS] {
        DetectorKind::ALL
            .map(|kind| (kind.as_str(), self.evidence.get(kind as usize).map_or(0.0, |nats| rounded(f64::from(*nats)))))
    }

    /// Calls `write` with the name and value of each field this event gets, in the order of the table.
    pub fn for_each(&self, mut write: impl FnMut(&'static str, Value<'_>)) {
        let notable = self.is_anomaly || self.suppressed || self.synthetic;
        for field in FIELDS.iter().filter(|field| field.when.applies(self.detail, notable)) {
            self.value(field.id, |value| write(field.name, value));
        }
    }

    fn value(&self, id: FieldId, write: impl FnOnce(Value<'_>)) {
        match id {
            FieldId::Score => write(Value::Number(self.score)),
            FieldId::IsAnomaly => write(Value::Flag(self.is_anomaly)),
            FieldId::Reasons => write(Value::Texts(&self.reasons)),
            FieldId::State => write(Value::Text(self.state.as_str())),
            FieldId::Detectors => write(Value::Numbers(&self.detectors())),
            FieldId::Suppressed => write(Value::Flag(self.suppressed)),
            FieldId::Synthetic => write(Value::Flag(self.synthetic)),
            FieldId::Template => {
                if let Some((_, text)) = self.template {
                    write(Value::Text(text));
                }
            }
            FieldId::TemplateId => {
                if let Some((id, _)) = self.template {
                    let digits = hex(id.0);
                    write(Value::Text(std::str::from_utf8(&digits).unwrap_or_default()));
                }
            }
            FieldId::Parameters => {
                if let Some(parameters) = self.parameters {
                    write(Value::Texts(parameters));
                }
            }
            FieldId::Expected => {
                if let Some(measure) = self.measure {
                    write(Value::Text(&measure.expected()));
                }
            }
            FieldId::Observed => {
                if let Some(measure) = self.measure {
                    write(Value::Number(signed(measure.observed())));
                }
            }
            FieldId::Rule => {
                if let Some(rule) = self.rule {
                    write(Value::Text(rule));
                }
            }
            FieldId::SampleRatio => {
                if let Some(ratio) = self.sample_ratio {
                    // Rounded up: a ratio of 0 would drop what is to be seen now and then.
                    write(Value::Number(rounded(ratio).max(1.0 / SCALE)));
                }
            }
            FieldId::Similar => {
                if !self.similar.is_empty() {
                    let maps: Vec<Vec<MapEntry<'_>>> = self.similar.iter().map(parts).collect();
                    write(Value::Maps(&maps));
                }
            }
            FieldId::EventId => {
                if let Some(id) = self.event_id {
                    write(Value::Text(&id.to_string()));
                }
            }
        }
    }
}

/// As [`SIMILAR`](super::fields::SIMILAR) says.
fn parts(incident: &SimilarIncident) -> Vec<MapEntry<'_>> {
    let SimilarIncident { event_id, time, score, distance, note } = incident;
    let score = score.map(|score| ("score", Value::Number(rounded(score.min(1.0)))));
    let distance = Value::Number(rounded(f64::from(*distance).min(1.0)));
    let note = note.as_deref().map(|note| ("note", Value::Text(note)));
    let known = [("event_id", Value::Text(event_id)), ("time", Value::Text(time))];
    known.into_iter().chain(score).chain([("distance", distance)]).chain(note).collect()
}

/// As `{:016x}` writes it, without the formatting machinery: this is done for every event.
fn hex(id: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|place| DIGITS[(id >> (60 - 4 * place)) as usize & 15])
}

#[cfg(test)]
mod tests {
    use super::super::fields::{Kind, SIMILAR};
    use super::*;

    fn names(enrichment: &Enrichment<'_>) -> Vec<&'static str> {
        let mut names = Vec::new();
        enrichment.for_each(|name, _| names.push(name));
        names
    }

    fn sample(detail: Fields, is_anomaly: bool) -> Enrichment<'static> {
        Enrichment {
            is_anomaly,
            template: Some((TemplateId(0x0123_4567_89ab_cdef), "user <*> logged in")),
            event_id: Some(EventId::default()),
            ..Enrichment::unscored(detail, State::Ready)
        }
    }

    #[test]
    fn each_setting_of_fields_writes_what_the_table_says() {
        assert_eq!(names(&sample(Fields::Minimal, true)), ["score", "is_anomaly", "reasons"]);
        let standard = ["score", "is_anomaly", "reasons", "template", "template_id", "state"];
        assert_eq!(names(&sample(Fields::Standard, false)), standard);
        let rest = ["detectors", "suppressed", "event_id", "synthetic"];
        assert_eq!(names(&sample(Fields::Standard, true)), [&standard[..], &rest].concat());
        assert_eq!(names(&sample(Fields::Full, false)), [&standard[..], &rest].concat());
        assert_eq!(names(&sample(Fields::Standard, false).synthetic()), [&standard[..], &rest].concat());
        let asked = sample(Fields::Standard, false).with_parameters(Some(&[]));
        assert_eq!(names(&asked), [&standard[..], &["parameters"]].concat());
    }

    #[test]
    fn what_an_alert_is_like_has_the_parts_of_the_table_and_lacks_what_is_not_known() {
        let noted = SimilarIncident {
            event_id: "event-1".to_owned(),
            time: "2025-03-14T10:00:00.000000Z".to_owned(),
            score: Some(2.0),
            distance: 1.0 / 3.0,
            note: Some("a leak".to_owned()),
        };
        let names = |incident: &SimilarIncident| parts(incident).iter().map(|(name, _)| *name).collect::<Vec<_>>();
        assert_eq!(names(&noted), SIMILAR.map(|part| part.name));
        let numbers = parts(&noted).iter().filter(|(_, value)| matches!(value, Value::Number(_))).count();
        assert_eq!(numbers, SIMILAR.iter().filter(|part| part.kind == Kind::Share).count());
        assert_eq!(parts(&noted)[2..4], [("score", Value::Number(1.0)), ("distance", Value::Number(0.333333))]);
        let bare = SimilarIncident { score: None, note: None, ..noted };
        assert_eq!(names(&bare), ["event_id", "time", "distance"]);
    }

    #[test]
    fn a_template_id_is_sixteen_hex_digits_as_everywhere() {
        for id in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(std::str::from_utf8(&hex(id)).unwrap(), TemplateId(id).to_string());
        }
    }

    #[test]
    fn numbers_are_finite_not_negative_and_short() {
        assert_eq!(rounded(f64::NAN), 0.0);
        assert_eq!(rounded(f64::INFINITY), 0.0);
        assert_eq!(rounded(-1.0), 0.0);
        assert!(rounded(-0.0).is_sign_positive());
        assert_eq!(rounded(1.0 / 3.0), 0.333333);
        assert_eq!((signed(-1.0 / 3.0), signed(f64::MAX), signed(-f64::MAX)), (-0.333333, f64::MAX, -f64::MAX));
        assert_eq!((signed(f64::INFINITY), signed(f64::NAN)), (0.0, 0.0));
    }
}
