//! What a stretch of log looked like: gathered while its lines are scored, told at the end.
//!
//! Anomalies come in groups. A log too short, or too calm, to hold any still has lines that are odder than the rest:
//! they are told apart from anomalies and never called so.

use std::collections::{HashMap, HashSet};

use oddline::engine::{Synthetic, TemplateSummary};
use oddline::event::{State, StreamKey, TemplateId, Timestamp, Verdict};
use oddline::plugin::component::synthetic_message;
use serde::Serialize;

use super::groups::{Group, Grouping, Groups, Judged, RecentLines};
use super::related;
use super::sparkline::histogram;

/// Parts the alert rate is told in.
const BUCKETS: usize = 60;

/// Alerts over time, or over lines where there is no time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AlertRate {
    /// `time` or `line`.
    pub(crate) over: &'static str,
    /// Alerts in each of equal parts.
    pub(crate) counts: Vec<u64>,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Lines read.
    pub(crate) lines: u64,
    /// Bytes read, without line ends.
    pub(crate) bytes: u64,
    /// Different templates.
    pub(crate) templates: u64,
    /// Lines at the beginning that were learned from before any could be an anomaly.
    pub(crate) learning_lines: u64,
    /// Earliest time.
    pub(crate) first_timestamp: Option<String>,
    /// Latest time.
    pub(crate) last_timestamp: Option<String>,
    /// Lines without a time of their own.
    pub(crate) lines_without_timestamp: u64,
    /// JSON objects without a message: not scored.
    pub(crate) lines_without_message: u64,
    /// Lines with bytes that are not UTF-8.
    pub(crate) invalid_utf8_lines: u64,
    /// Lines whose time lies before that of the line above.
    pub(crate) lines_out_of_order: u64,
    /// Anomalies, without repeats.
    pub(crate) anomalies: u64,
    /// Repeats within the hold time of an anomaly.
    pub(crate) suppressed: u64,
    /// When alerts came.
    pub(crate) alert_rate: AlertRate,
    /// What matters most first.
    pub(crate) groups: Vec<Group>,
    /// Groups left out.
    pub(crate) groups_left_out: u64,
    /// Where `groups` are few: the oddest of the lines that are no anomalies, the oddest first.
    pub(crate) oddest_without_alert: Vec<Group>,
}

/// Templates as they are at the end.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    all: Vec<TemplateSummary>,
    by_id: HashMap<TemplateId, usize>,
}

impl Templates {
    /// Also found by the ids of those merged into them.
    pub(crate) fn new(all: Vec<TemplateSummary>) -> Self {
        let mut by_id = HashMap::with_capacity(all.len());
        for (index, template) in all.iter().enumerate() {
            by_id.extend(template.aliases.iter().chain([&template.id]).map(|id| (*id, index)));
        }
        Self { all, by_id }
    }

    /// The template a line with this id belongs to.
    pub(crate) fn get(&self, id: TemplateId) -> Option<&TemplateSummary> {
        self.all.get(*self.by_id.get(&id)?)
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[TemplateSummary] {
        &self.all
    }
}

/// What the report is told at its end.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Templates.
    pub(crate) templates: Templates,
    /// Templates that had to make room for others.
    pub(crate) templates_evicted: u64,
    /// As configured.
    pub(crate) max_templates: usize,
    /// Lines without a time of their own.
    pub(crate) lines_without_timestamp: u64,
    /// Lines with bytes that are not UTF-8.
    pub(crate) invalid_utf8: u64,
}

/// Gathers a [`Report`].
#[derive(Debug)]
pub(crate) struct ReportBuilder {
    lines: u64,
    bytes: u64,
    learning: u64,
    times: Option<(Timestamp, Timestamp)>,
    last_time: Option<Timestamp>,
    unscored: u64,
    out_of_order: u64,
    suppressed: u64,
    alerts: Vec<(u64, Option<Timestamp>)>,
    recent: RecentLines,
    anomalies: Groups,
    rest: Groups,
}

impl Default for ReportBuilder {
    fn default() -> Self {
        Self {
            lines: 0,
            bytes: 0,
            learning: 0,
            times: None,
            last_time: None,
            unscored: 0,
            out_of_order: 0,
            suppressed: 0,
            alerts: Vec::new(),
            recent: RecentLines::default(),
            anomalies: Groups::new(Grouping::Episodes),
            rest: Groups::new(Grouping::Templates),
        }
    }
}

impl ReportBuilder {
    /// Takes the next line, its own time if it has one, its stream, and the answer for it.
    ///
    /// A line nobody could judge has no answer: it counts, and shows up beside others.
    pub(crate) fn add(&mut self, line: &[u8], time: Option<Timestamp>, stream: StreamKey, verdict: Option<&Verdict>) {
        self.lines += 1;
        self.bytes += line.len() as u64;
        self.note_time(time);
        self.anomalies.next_line(self.lines, line);
        self.rest.next_line(self.lines, line);
        match verdict {
            Some(verdict) => self.judge(&Judged { number: self.lines, line, time, stream, verdict }),
            None => self.unscored += 1,
        }
        self.recent.push(self.lines, line);
    }

    /// Takes a regular line that did not come: it stands after the line that was read last.
    pub(crate) fn add_silence(&mut self, silence: &Synthetic) {
        let (message, verdict) = (synthetic_message(silence), &silence.verdict);
        let (time, stream) = (Some(silence.timestamp), silence.stream);
        self.judge(&Judged { number: self.lines, line: message.as_bytes(), time, stream, verdict });
    }

    fn judge(&mut self, judged: &Judged<'_>) {
        let verdict = judged.verdict;
        if verdict.is_anomaly {
            self.alerts.push((judged.number, judged.time));
            self.anomalies.add(judged, &self.recent);
        } else if verdict.suppressed {
            self.suppressed += 1;
            self.anomalies.repeat(judged);
        } else if verdict.state == State::Learning {
            self.learning += 1;
        } else if verdict.score > 0.0 && verdict.reasons().next().is_some() {
            self.rest.add(judged, &self.recent);
        }
    }

    fn note_time(&mut self, time: Option<Timestamp>) {
        let Some(time) = time else { return };
        let (first, last) = self.times.unwrap_or((time, time));
        self.times = Some((first.min(time), last.max(time)));
        self.out_of_order += u64::from(self.last_time.is_some_and(|last| time < last));
        self.last_time = Some(time);
    }

    /// The report, with at most `top` groups, and filled up to `fill` with lines that are no anomalies.
    pub(crate) fn finish(self, top: usize, fill: usize, facts: &Facts) -> Report {
        let alert_rate = self.alert_rate();
        let (groups, dropped) = self.anomalies.finish(&facts.templates);
        let mut groups = related::fold(groups);
        let (rest, _) = self.rest.finish(&facts.templates);
        let oddest_without_alert = not_told(rest, &groups, fill.saturating_sub(groups.len()));
        let groups_left_out = dropped + groups.len().saturating_sub(top) as u64;
        groups.truncate(top);
        Report {
            lines: self.lines,
            bytes: self.bytes,
            templates: facts.templates.all().len() as u64,
            learning_lines: self.learning,
            first_timestamp: self.times.map(|(first, _)| rfc3339(first)),
            last_timestamp: self.times.map(|(_, last)| rfc3339(last)),
            lines_without_timestamp: facts.lines_without_timestamp,
            lines_without_message: self.unscored,
            invalid_utf8_lines: facts.invalid_utf8,
            lines_out_of_order: self.out_of_order,
            anomalies: self.alerts.len() as u64,
            suppressed: self.suppressed,
            alert_rate,
            groups,
            groups_left_out,
            oddest_without_alert,
        }
    }

    fn alert_rate(&self) -> AlertRate {
        match self.times {
            Some((first, last)) if last > first => {
                let times = self.alerts.iter().filter_map(|(_, time)| *time).map(|time| time.0);
                AlertRate { over: "time", counts: histogram(times, first.0, last.0, BUCKETS) }
            }
            _ => {
                let lines = self.alerts.iter().map(|(line, _)| *line as i64);
                AlertRate { over: "line", counts: histogram(lines, 1, self.lines.max(1) as i64, BUCKETS) }
            }
        }
    }
}

/// The first `most` of `groups` whose templates `told` does not have.
fn not_told(groups: Vec<Group>, told: &[Group], most: usize) -> Vec<Group> {
    let also = told.iter().flat_map(|group| &group.also).map(|also| also.template_id.as_str());
    let told: HashSet<&str> = told.iter().map(|group| group.template_id.as_str()).chain(also).collect();
    groups.into_iter().filter(|group| !told.contains(group.template_id.as_str())).take(most).collect()
}

/// RFC 3339 in UTC, or the number itself for times no calendar reaches.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.0).map_or_else(|_| time.0.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use oddline::config::Config;

    use super::super::reader::{Reader, Timing};
    use super::super::report_text::ReportText;
    use super::*;

    /// The verdict of a line never seen before, as if after learning and with `score`.
    fn verdict(text: &str, score: f64) -> Verdict {
        let mut reader = Reader::new(Config::default(), None, Timing::None).unwrap();
        let mut verdict = reader.read(text.as_bytes()).verdict.unwrap();
        assert!(verdict.reasons().next().is_some());
        verdict.state = State::Ready;
        verdict.score = score;
        verdict.p_value = 10f64.powf(-6.0 * score);
        verdict
    }

    fn report(lines: &[(&str, Verdict)], top: usize) -> Report {
        let mut builder = ReportBuilder::default();
        for (text, verdict) in lines {
            builder.add(text.as_bytes(), None, StreamKey::default(), Some(verdict));
        }
        builder.finish(top, top, &Facts::default())
    }

    #[test]
    fn without_an_alert_the_oddest_lines_are_told_strongest_first_and_not_as_alerts() {
        let mut lines = Vec::new();
        for (text, score) in [("disk is slow", 0.2), ("clock went back twice", 0.4), ("disk is slow", 0.3)] {
            lines.push((text, verdict(text, score)));
        }
        let mut learning = verdict("learned from", 0.5);
        learning.state = State::Learning;
        lines.push(("learned from", learning));
        lines.push(("as usual today again", verdict("as usual today again", 0.0)));
        let report = report(&lines, 10);
        assert!(report.groups.is_empty() && report.anomalies == 0);
        let told: Vec<_> = report
            .oddest_without_alert
            .iter()
            .map(|g| (g.example.line.text.as_str(), g.score, g.lines, g.anomalies))
            .collect();
        assert_eq!(told, [("clock went back twice", 0.4, 1, 0), ("disk is slow", 0.3, 2, 0)]);
        let text = ReportText { report: &report, colours: false }.to_string();
        let (nothing, oddest) = text.split_once("The oddest lines, none of them an alert:").unwrap();
        assert!(nothing.contains("Nothing beyond the alert budget."), "{text}");
        assert!(oddest.contains("0.40") && oddest.contains("clock went back twice"), "{text}");
    }

    #[test]
    fn a_template_that_alerted_is_not_told_again_among_the_oddest() {
        let weak = verdict("disk is slow", 0.3);
        let mut strong = verdict("disk is slow", 0.9);
        strong.is_anomaly = true;
        let other = verdict("clock went back twice", 0.2);
        let lines = [("disk is slow", strong), ("disk is slow", weak), ("clock went back twice", other)];
        let told = report(&lines, 10);
        assert_eq!((told.groups.len(), told.oddest_without_alert.len()), (1, 1));
        assert_eq!(told.oddest_without_alert[0].template_id, other.template.to_string());
        assert!(ReportText { report: &told, colours: false }.to_string().contains("The oddest of the rest"));
        assert!(report(&lines, 1).oddest_without_alert.is_empty(), "alerts fill the report first");
    }

    #[test]
    fn templates_odd_at_the_same_time_on_the_same_stream_for_the_same_reason_are_one_entry() {
        let alert = |text: &str, score: f64| {
            let mut verdict = verdict(text, score);
            verdict.is_anomaly = true;
            verdict
        };
        let lines =
            [("disk is slow", 0.9), ("fan has stopped", 0.7), ("no route home", 0.8), ("disk is gone now", 0.6)];
        let built = |streams: [u64; 4], seconds: [i64; 4]| {
            let mut builder = ReportBuilder::default();
            for ((text, score), (stream, second)) in lines.iter().zip(streams.into_iter().zip(seconds)) {
                let time = Some(Timestamp(second * 1_000_000));
                builder.add(text.as_bytes(), time, StreamKey(stream), Some(&alert(text, *score)));
            }
            builder.finish(10, 10, &Facts::default())
        };
        let entries = |report: &Report| -> Vec<(String, usize)> {
            report.groups.iter().map(|group| (group.example.line.text.clone(), group.also.len())).collect()
        };
        let one = built([1; 4], [0, 10, 20, 59]);
        assert_eq!(entries(&one), [("disk is slow".to_owned(), 3)]);
        assert_eq!(one.anomalies, 4);
        let text = ReportText { report: &one, colours: false }.to_string();
        assert!(text.contains("3 more templates of the same incident"), "{text}");
        let streams = built([1, 2, 1, 2], [0, 10, 20, 59]);
        assert_eq!(entries(&streams), [("disk is slow".to_owned(), 1), ("fan has stopped".to_owned(), 1)]);
        let late = built([1; 4], [0, 10, 200, 210]);
        assert_eq!(entries(&late), [("disk is slow".to_owned(), 1), ("no route home".to_owned(), 1)]);
    }

    #[test]
    fn a_log_without_anything_odd_is_told_to_have_nothing() {
        let report = report(&[("as usual", verdict("as usual", 0.0))], 10);
        assert!(ReportText { report: &report, colours: false }.to_string().ends_with("Nothing odd.\n"));
    }
}
