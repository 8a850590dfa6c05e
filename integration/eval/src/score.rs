//! What the engine, or a baseline, says of a stream.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use oddline::config::{Config, TimeSource};
use oddline::engine::EngineError;
use oddline::event::{DetectorKind, Observation, State, StreamKey, TemplateId, Timestamp};
use oddline::{Engine, Environment};

use crate::truth::{Record, Stream};

/// Microseconds since the epoch at which streams start, as `join.py` has it: 2026-01-01.
const START: i64 = 1_767_225_600_000_000;

/// What was said of one record. Scores are rounded as in an event.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) score: f64,
    pub(crate) is_anomaly: bool,
    pub(crate) suppressed: bool,
    pub(crate) template: TemplateId,
    /// What the detector `semantic` alone said, nats; with its weight above 0.
    pub(crate) semantic: f64,
}

fn time(record: &Record) -> Timestamp {
    Timestamp(START + (record.ts * 1e3).round() as i64 * 1_000)
}

fn stream_key(host: &str) -> StreamKey {
    StreamKey(BuildHasherDefault::<DefaultHasher>::default().hash_one(host).max(1))
}

/// Scores every record as `oddline score --time event` does; a tick has what fell silent since the tick before it.
pub(crate) fn with_engine(config: &Config, stream: &Stream) -> Result<Vec<Answer>, EngineError> {
    let config = Config { time: TimeSource::Event, ..config.clone() };
    let engine = Engine::open(&config, Environment::system())?;
    let mut lane = engine.lane()?;
    let is_partitioned = !config.partition_by.is_empty();
    let mut silent = Vec::new();
    let mut is_fitted = config.semantic_weight == 0.0;
    let mut answers = vec![Answer::default(); stream.records.len()];
    for (record, answer) in stream.records.iter().zip(&mut answers).filter(|(record, _)| !record.is_tick()) {
        let mut observation = Observation::new(record.message.as_bytes(), time(record));
        if is_partitioned {
            observation.stream = stream_key(&record.host);
        }
        let verdict = lane.observe(&observation);
        *answer = Answer {
            score: rounded(verdict.score),
            is_anomaly: verdict.is_anomaly,
            suppressed: verdict.suppressed,
            template: verdict.template,
            semantic: verdict.evidence.get(DetectorKind::Semantic as usize).copied().map_or(0.0, f64::from),
        };
        if !is_fitted && verdict.state == State::Ready {
            is_fitted = true;
            // As its ticks would: what is fitted is waited for, so that the figures are the same each time.
            silent.extend(lane.tick(Timestamp(0)));
            engine.calibrated();
            silent.extend(lane.tick(Timestamp(60_000_000)));
        }
    }
    silent.extend(lane.tick(Timestamp(0)));
    let mut silent = silent.into_iter().peekable();
    for (record, answer) in stream.records.iter().zip(&mut answers).filter(|(record, _)| record.is_tick()) {
        let until = Timestamp(time(record).0 + 1_000);
        while let Some(event) = silent.next_if(|event| event.timestamp <= until) {
            answer.score = answer.score.max(rounded(event.verdict.score));
            answer.is_anomaly |= event.verdict.is_anomaly;
        }
    }
    Ok(answers)
}

fn rounded(score: f64) -> f64 {
    (score * 1e6).round() / 1e6
}

/// A template scores when it was never seen before.
pub(crate) fn first_seen(answers: &[Answer]) -> Vec<Answer> {
    by_count(answers, |count, _| f64::from(u8::from(count == 0.0)))
}

/// A template scores by −ln of its share of all events so far.
pub(crate) fn surprisal(answers: &[Answer]) -> Vec<Answer> {
    by_count(answers, |count, total| -((count + 1.0) / (total + 1.0)).ln())
}

/// A line scores by what `semantic` alone said of it.
pub(crate) fn by_meaning(answers: &[Answer]) -> Vec<Answer> {
    const MOST_NATS: f64 = 6.0 * std::f64::consts::LN_10;
    let one = |answer: &Answer| Answer {
        score: rounded(answer.semantic / MOST_NATS),
        is_anomaly: answer.semantic > 0.0,
        suppressed: false,
        ..*answer
    };
    answers.iter().map(one).collect()
}

fn by_count(answers: &[Answer], score: impl Fn(f64, f64) -> f64) -> Vec<Answer> {
    let mut counts: HashMap<TemplateId, f64> = HashMap::new();
    let mut total = 0.0;
    let one = |answer: &Answer| {
        if answer.template == TemplateId::default() {
            return Answer::default();
        }
        let count = counts.entry(answer.template).or_default();
        let scored = Answer { score: score(*count, total), template: answer.template, ..Answer::default() };
        *count += 1.0;
        total += 1.0;
        scored
    };
    answers.iter().map(one).collect()
}
