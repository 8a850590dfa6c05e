//! What a stretch of log looked like: gathered while its lines are scored, told at the end.
//!
//! Anomalies are grouped by template and time: the same template again within [`EPISODE_SECONDS`] (or
//! [`EPISODE_LINES`] where lines have no time) belongs to the same group. A group shows its strongest line
//! with its neighbours. Memory is bounded: long texts are cut, and of too many groups the weakest go.

use std::collections::{HashMap, VecDeque};

use oddline::engine::TemplateSummary;
use oddline::event::{DetectorKind, State, TemplateId, Timestamp, Verdict};
use serde::Serialize;

use super::reader::TIMELESS_LINE_MILLIS;
use super::sparkline::histogram;

/// Longest pause within a group, in seconds.
const EPISODE_SECONDS: f64 = 300.0;
/// Longest pause within a group where lines have no time: as long.
const EPISODE_LINES: u64 = (EPISODE_SECONDS * 1000.0) as u64 / TIMELESS_LINE_MILLIS as u64;
/// Lines shown before and after an example.
const NEIGHBOURS: usize = 2;
/// Bytes of a line kept for showing.
const SHOWN_BYTES: usize = 400;
/// Groups at which the weakest half is dropped.
const MOST_GROUPS: usize = 4096;
/// Parts the alert rate is told in.
const BUCKETS: usize = 60;

/// A line with its number, counted from 1 over all inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ShownLine {
    /// Its number.
    pub(crate) number: u64,
    /// Its text, cut and with replacement characters where needed.
    pub(crate) text: String,
}

/// The strongest line of a group and what stands around it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Example {
    /// The line.
    pub(crate) line: ShownLine,
    /// What stands before it.
    pub(crate) before: Vec<ShownLine>,
    /// What stands after it.
    pub(crate) after: Vec<ShownLine>,
}

/// Anomalies of one template that belong together.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Group {
    /// 16 hex digits.
    pub(crate) template_id: String,
    /// The template, as it was at the end.
    pub(crate) template: String,
    /// Anomalies.
    pub(crate) anomalies: u64,
    /// Repeats within the hold time of an anomaly.
    pub(crate) suppressed: u64,
    /// How often the template occurred in all.
    pub(crate) occurrences: u64,
    /// Line of the first anomaly.
    pub(crate) first_line: u64,
    /// Line of the last anomaly or repeat.
    pub(crate) last_line: u64,
    /// Time of the first anomaly.
    pub(crate) first_timestamp: Option<String>,
    /// Time of the last anomaly or repeat.
    pub(crate) last_timestamp: Option<String>,
    /// Highest score.
    pub(crate) score: f64,
    /// Lowest p-value: among how many events one so odd is expected is its inverse.
    pub(crate) p_value: f64,
    /// Reasons of the strongest line, strongest first.
    pub(crate) reasons: Vec<&'static str>,
    /// Evidence of the strongest line in nats.
    pub(crate) detectors: Vec<Evidence>,
    /// The strongest line.
    pub(crate) example: Example,
    #[serde(skip)]
    template_key: TemplateId,
    #[serde(skip)]
    last_time: Option<Timestamp>,
}

/// What one detector says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Evidence {
    /// The detector.
    pub(crate) detector: &'static str,
    /// Its evidence.
    pub(crate) nats: f32,
}

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
    /// Lines without a time of their own.
    pub(crate) lines_without_timestamp: u64,
    /// Lines with bytes that are not UTF-8.
    pub(crate) invalid_utf8: u64,
}

/// Gathers a [`Report`].
#[derive(Debug, Default)]
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
    recent: VecDeque<ShownLine>,
    groups: Vec<Group>,
    newest_group: HashMap<TemplateId, usize>,
    waiting: Vec<usize>,
    dropped: u64,
}

impl ReportBuilder {
    /// Takes the next line, its own time if it has one, and the answer for it.
    ///
    /// A line nobody could judge has no answer: it counts, and shows up beside others.
    pub(crate) fn add(&mut self, line: &[u8], time: Option<Timestamp>, verdict: Option<&Verdict>) {
        self.lines += 1;
        self.bytes += line.len() as u64;
        self.note_time(time);
        self.give_to_waiting(line);
        if let Some(verdict) = verdict {
            self.judge(line, time, verdict);
        } else {
            self.unscored += 1;
        }
        self.remember(line);
    }

    fn judge(&mut self, line: &[u8], time: Option<Timestamp>, verdict: &Verdict) {
        self.learning += u64::from(verdict.state == State::Learning);
        if verdict.is_anomaly {
            self.alerts.push((self.lines, time));
            self.anomaly(line, time, verdict);
        } else if verdict.suppressed {
            self.suppressed += 1;
            self.repeat(time, verdict);
        }
    }

    fn note_time(&mut self, time: Option<Timestamp>) {
        let Some(time) = time else { return };
        let (first, last) = self.times.unwrap_or((time, time));
        self.times = Some((first.min(time), last.max(time)));
        self.out_of_order += u64::from(self.last_time.is_some_and(|last| time < last));
        self.last_time = Some(time);
    }

    fn give_to_waiting(&mut self, line: &[u8]) {
        if self.waiting.is_empty() {
            return;
        }
        let shown = shown(self.lines, line);
        let groups = &mut self.groups;
        self.waiting.retain(|&index| {
            let Some(group) = groups.get_mut(index) else { return false };
            group.example.after.push(shown.clone());
            group.example.after.len() < NEIGHBOURS
        });
        if self.waiting.is_empty() && self.groups.len() >= MOST_GROUPS {
            self.drop_weakest();
        }
    }

    /// Keeps the last lines; reuses the texts' memory.
    fn remember(&mut self, line: &[u8]) {
        let mut oldest = match self.recent.len() {
            NEIGHBOURS.. => self.recent.pop_front(),
            _ => None,
        }
        .unwrap_or(ShownLine { number: 0, text: String::new() });
        oldest.number = self.lines;
        oldest.text.clear();
        append_cut(&mut oldest.text, line);
        self.recent.push_back(oldest);
    }

    fn anomaly(&mut self, line: &[u8], time: Option<Timestamp>, verdict: &Verdict) {
        let example = Example {
            line: shown(self.lines, line),
            before: self.recent.iter().cloned().collect(),
            after: Vec::with_capacity(NEIGHBOURS),
        };
        let index = match self.current_group(time, verdict.template) {
            Some(index) => index,
            None => self.new_group(time, verdict, example.clone()),
        };
        let Some(group) = self.groups.get_mut(index) else { return };
        group.anomalies += 1;
        group.seen(self.lines, time);
        if verdict.p_value < group.p_value || group.anomalies == 1 {
            group.score = verdict.score;
            group.p_value = verdict.p_value;
            group.reasons = verdict.reasons().map(|reason| reason.as_str()).collect();
            group.detectors = evidence(verdict);
            group.example = example;
            self.waiting.retain(|&waiting| waiting != index);
            self.waiting.push(index);
        }
    }

    fn repeat(&mut self, time: Option<Timestamp>, verdict: &Verdict) {
        let lines = self.lines;
        if let Some(group) = self.current_group(time, verdict.template).and_then(|index| self.groups.get_mut(index)) {
            group.suppressed += 1;
            group.seen(lines, time);
        }
    }

    /// The template's newest group, if it is not over.
    fn current_group(&self, time: Option<Timestamp>, template: TemplateId) -> Option<usize> {
        let index = *self.newest_group.get(&template)?;
        let group = self.groups.get(index)?;
        let same = match (time, group.last_time) {
            (Some(now), Some(last)) => now.seconds_since(last).abs() <= EPISODE_SECONDS,
            _ => self.lines - group.last_line <= EPISODE_LINES,
        };
        same.then_some(index)
    }

    fn new_group(&mut self, time: Option<Timestamp>, verdict: &Verdict, example: Example) -> usize {
        let index = self.groups.len();
        self.newest_group.insert(verdict.template, index);
        self.groups.push(Group {
            template_id: verdict.template.to_string(),
            template: String::new(),
            anomalies: 0,
            suppressed: 0,
            occurrences: 0,
            first_line: self.lines,
            last_line: self.lines,
            first_timestamp: time.map(rfc3339),
            last_timestamp: None,
            score: verdict.score,
            p_value: verdict.p_value,
            reasons: Vec::new(),
            detectors: Vec::new(),
            example,
            template_key: verdict.template,
            last_time: time,
        });
        index
    }

    /// Only while no group waits for lines: positions change.
    fn drop_weakest(&mut self) {
        self.groups.sort_by(stronger_first);
        self.dropped += (self.groups.len() - MOST_GROUPS / 2) as u64;
        self.groups.truncate(MOST_GROUPS / 2);
        self.newest_group.clear();
        for (index, group) in self.groups.iter().enumerate() {
            let newest = self.newest_group.entry(group.template_key).or_insert(index);
            if self.groups.get(*newest).is_some_and(|other| other.last_line < group.last_line) {
                *newest = index;
            }
        }
    }

    /// The report, with at most `top` groups.
    pub(crate) fn finish(mut self, top: usize, facts: &Facts) -> Report {
        let alert_rate = self.alert_rate();
        self.groups.sort_by(stronger_first);
        let left_out = self.dropped + self.groups.len().saturating_sub(top) as u64;
        self.groups.truncate(top);
        for group in &mut self.groups {
            group.last_timestamp = group.last_time.map(rfc3339);
            if let Some(template) = facts.templates.get(group.template_key) {
                group.template_id = template.id.to_string();
                group.template = template.text.to_string();
                group.occurrences = template.count;
            }
        }
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
            groups: self.groups,
            groups_left_out: left_out,
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

impl Group {
    fn seen(&mut self, line: u64, time: Option<Timestamp>) {
        self.last_line = line;
        self.last_time = time.or(self.last_time);
    }

    fn severity(&self) -> f32 {
        let severity = DetectorKind::Severity.as_str();
        self.detectors.iter().find(|e| e.detector == severity).map_or(0.0, |e| e.nats)
    }
}

/// Least likely first, then the more severe, the more frequent, the earlier.
fn stronger_first(a: &Group, b: &Group) -> std::cmp::Ordering {
    a.p_value
        .total_cmp(&b.p_value)
        .then_with(|| b.severity().total_cmp(&a.severity()))
        .then_with(|| (b.anomalies + b.suppressed).cmp(&(a.anomalies + a.suppressed)))
        .then_with(|| a.first_line.cmp(&b.first_line))
}

fn evidence(verdict: &Verdict) -> Vec<Evidence> {
    let all = DetectorKind::ALL.iter().zip(verdict.evidence);
    all.map(|(kind, nats)| Evidence { detector: kind.as_str(), nats }).collect()
}

fn shown(number: u64, line: &[u8]) -> ShownLine {
    let mut text = String::new();
    append_cut(&mut text, line);
    ShownLine { number, text }
}

fn append_cut(text: &mut String, line: &[u8]) {
    let part = line.get(..SHOWN_BYTES).unwrap_or(line);
    match std::str::from_utf8(part) {
        Ok(clean) => text.push_str(clean),
        Err(_) => text.push_str(&String::from_utf8_lossy(part)),
    }
    if part.len() < line.len() {
        text.push('…');
    }
}

/// RFC 3339 in UTC, or the number itself for times no calendar reaches.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.0).map_or_else(|_| time.0.to_string(), |time| time.to_string())
}
