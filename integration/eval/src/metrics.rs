//! The figures of `detect_eval.py`, from the answers to a stream.

use std::collections::BTreeMap;

use crate::score::Answer;
use crate::truth::Record;

/// Share of normal lines, and of normal ticks, that may score above the threshold an incident has to pass.
const LINE_BUDGET: f64 = 0.001;
const TICK_BUDGET: f64 = 0.02;

/// How many of how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) found: u32,
    pub(crate) of: u32,
}

impl Part {
    pub(crate) fn share(self) -> f64 {
        f64::from(self.found) / f64::from(self.of.max(1))
    }

    fn add(&mut self, other: Self) {
        self.found += other.found;
        self.of += other.of;
    }
}

/// Figures of one stream, or of several together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    /// Incidents found at one false alert in a thousand, by kind; without silence.
    pub(crate) found: BTreeMap<String, Part>,
    /// Incidents that raised an alert of their own.
    pub(crate) alerted: BTreeMap<String, Part>,
    /// Silences found at the tick budget, and with no false tick.
    pub(crate) silences: Part,
    pub(crate) silences_without_false_tick: Part,
    /// Silences told, and false ticks told, at oddline's own threshold.
    pub(crate) silences_told: Part,
    pub(crate) false_ticks: Part,
    /// Sums over streams; see [`Self::average_precision`].
    precision_sum: f64,
    auc_sum: f64,
    streams: u32,
    /// Scored lines, and those that were anomalies.
    pub(crate) lines: u64,
    pub(crate) alerts: u64,
}

impl Metrics {
    /// Of the answers to the records of one stream.
    pub(crate) fn of(records: &[Record], answers: &[Answer]) -> Self {
        let scored: Vec<_> = records.iter().zip(answers).filter(|(record, _)| record.is_scored()).collect();
        let (ticks, lines): (Vec<_>, Vec<_>) = scored.into_iter().partition(|(record, _)| record.is_tick());
        let (average_precision, auc) =
            ranking(lines.iter().map(|(record, answer)| (answer.score, record.is_odd())).collect());
        let mut metrics = Self {
            precision_sum: average_precision,
            auc_sum: auc,
            streams: 1,
            lines: lines.len() as u64,
            alerts: lines.iter().filter(|(_, answer)| answer.is_anomaly).count() as u64,
            ..Self::default()
        };
        let shown = |answer: &Answer| if answer.suppressed { 0.0 } else { answer.score };
        let normal = lines.iter().filter(|(record, _)| !record.is_odd()).map(|(_, answer)| shown(answer)).collect();
        let threshold = threshold(normal, LINE_BUDGET);
        metrics.found = incidents(&lines, |answer| shown(answer) > threshold);
        metrics.alerted = incidents(&lines, |answer| answer.is_anomaly);
        metrics.take_ticks(&ticks);
        metrics
    }

    fn take_ticks(&mut self, ticks: &[(&Record, &Answer)]) {
        let normal: Vec<_> = ticks.iter().filter(|(record, _)| !record.is_odd()).collect();
        let scores = || normal.iter().map(|(_, answer)| answer.score).collect();
        let silences =
            |is_found: &dyn Fn(&Answer) -> bool| incidents(ticks, is_found).get("silence").copied().unwrap_or_default();
        let (some, none) = (threshold(scores(), TICK_BUDGET), threshold(scores(), 0.0));
        self.silences = silences(&|answer| answer.score > some);
        self.silences_without_false_tick = silences(&|answer| answer.score > none);
        self.silences_told = silences(&|answer| answer.is_anomaly);
        let told = normal.iter().filter(|(_, answer)| answer.is_anomaly).count();
        self.false_ticks = Part { found: told as u32, of: normal.len() as u32 };
    }

    /// Takes in the figures of another stream.
    pub(crate) fn add(&mut self, other: &Self) {
        let merge = |into: &mut BTreeMap<String, Part>, from: &BTreeMap<String, Part>| {
            from.iter().for_each(|(kind, part)| into.entry(kind.clone()).or_default().add(*part));
        };
        merge(&mut self.found, &other.found);
        merge(&mut self.alerted, &other.alerted);
        self.silences.add(other.silences);
        self.silences_without_false_tick.add(other.silences_without_false_tick);
        self.silences_told.add(other.silences_told);
        self.false_ticks.add(other.false_ticks);
        self.precision_sum += other.precision_sum;
        self.auc_sum += other.auc_sum;
        self.streams += other.streams;
        self.lines += other.lines;
        self.alerts += other.alerts;
    }

    /// Of several streams together.
    pub(crate) fn sum<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        all.into_iter().for_each(|metrics| sum.add(metrics));
        sum
    }

    /// Share of the incidents found, of all kinds but silence.
    pub(crate) fn recall(&self) -> f64 {
        let mut all = Part::default();
        self.found.values().for_each(|part| all.add(*part));
        all.share()
    }

    /// The same at oddline's own threshold.
    pub(crate) fn own_recall(&self) -> f64 {
        let mut all = Part::default();
        self.alerted.values().for_each(|part| all.add(*part));
        all.share()
    }

    /// Share of one kind found.
    pub(crate) fn recall_of(&self, kind: &str) -> f64 {
        self.found.get(kind).copied().unwrap_or_default().share()
    }

    /// Of lines by score, suppressed or not; the mean over streams.
    pub(crate) fn average_precision(&self) -> f64 {
        self.precision_sum / f64::from(self.streams.max(1))
    }

    /// Area under the curve of true over false positives; the mean over streams.
    pub(crate) fn auc(&self) -> f64 {
        self.auc_sum / f64::from(self.streams.max(1))
    }

    /// Alerts a line.
    pub(crate) fn alert_rate(&self) -> f64 {
        self.alerts as f64 / self.lines.max(1) as f64
    }
}

/// The smallest score that no more than `budget` of the scores lie above.
fn threshold(mut scores: Vec<f64>, budget: f64) -> f64 {
    scores.sort_by(|a, b| b.total_cmp(a));
    let place = (budget * scores.len() as f64) as usize;
    scores.get(place.min(scores.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// Incidents any of whose records is found, by kind.
fn incidents(records: &[(&Record, &Answer)], is_found: impl Fn(&Answer) -> bool) -> BTreeMap<String, Part> {
    let mut found: BTreeMap<(&str, u32), bool> = BTreeMap::new();
    for (record, answer) in records.iter().filter(|(record, _)| record.is_odd()) {
        *found.entry((&record.kind, record.incident)).or_default() |= is_found(answer);
    }
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    for ((kind, _), found) in found {
        parts.entry(kind.to_owned()).or_default().add(Part { found: u32::from(found), of: 1 });
    }
    parts
}

/// Average precision and area under the ROC curve; equal scores stand together.
fn ranking(mut scores: Vec<(f64, bool)>) -> (f64, f64) {
    scores.sort_by(|a, b| b.0.total_cmp(&a.0));
    let odd = scores.iter().filter(|(_, is_odd)| *is_odd).count() as f64;
    let normal = scores.len() as f64 - odd;
    let (mut precision, mut auc) = (0.0, 0.0);
    let (mut hits, mut misses) = (0.0, 0.0);
    for ties in scores.chunk_by(|a, b| a.0 == b.0) {
        let found = ties.iter().filter(|(_, is_odd)| *is_odd).count() as f64;
        let wrong = ties.len() as f64 - found;
        auc += wrong / normal * (hits + found / 2.0) / odd;
        hits += found;
        misses += wrong;
        precision += found / odd * hits / (hits + misses);
    }
    (precision, auc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranking_agrees_with_figures_worked_out_by_hand() {
        // Scores 4+, 3−, 2+, 2−, 1−: precision 1 at the first, 2/4 at the tie.
        let (precision, auc) = ranking(vec![(4.0, true), (3.0, false), (2.0, true), (2.0, false), (1.0, false)]);
        assert!((precision - 0.75).abs() < 1e-9, "{precision}");
        // Of six pairs four are in order and one is a tie.
        assert!((auc - 4.5 / 6.0).abs() < 1e-9, "{auc}");
        let (precision, auc) = ranking(vec![(2.0, true), (1.0, false)]);
        assert_eq!((precision, auc), (1.0, 1.0));
    }

    #[test]
    fn a_threshold_leaves_no_more_than_the_budget_above() {
        assert_eq!(threshold((0..1_000).map(f64::from).collect(), 0.01), 989.0);
        assert_eq!(threshold(vec![1.0, 5.0], 0.0), 5.0);
        assert_eq!(threshold(Vec::new(), 0.5), 0.0);
    }
}
