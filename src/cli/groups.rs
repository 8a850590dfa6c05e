//! Odd lines, grouped: by template, and by time where repeats hours apart are two stories.
//!
//! In time, the same template again within [`EPISODE_SECONDS`] (or [`EPISODE_LINES`] where lines have no time)
//! belongs to the same group. A group shows its strongest line with its neighbours. Memory is bounded: long texts
//! are cut, and of too many groups the weakest go.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};

use oddline::event::{DetectorKind, StreamKey, TemplateId, Timestamp, Verdict};
use serde::Serialize;

use super::reader::TIMELESS_LINE_MILLIS;
use super::related::Also;
use super::report::{Templates, rfc3339};

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

impl Example {
    /// Whether lines after line `number` belong to it.
    fn waits_after(&self, number: u64) -> bool {
        self.after.len() < NEIGHBOURS && number < self.line.number + NEIGHBOURS as u64
    }
}

/// Lines of one template that belong together.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Group {
    /// 16 hex digits.
    pub(crate) template_id: String,
    /// The template, as it was at the end.
    pub(crate) template: String,
    /// Lines in the group, those that did not come among them.
    pub(crate) lines: u64,
    /// Anomalies among them: what alerted.
    pub(crate) anomalies: u64,
    /// Repeats within the hold time of an anomaly.
    pub(crate) suppressed: u64,
    /// How often the template occurred in all.
    pub(crate) occurrences: u64,
    /// The first line.
    pub(crate) first_line: u64,
    /// The last line.
    pub(crate) last_line: u64,
    /// Time of the first line.
    pub(crate) first_timestamp: Option<String>,
    /// Time of the last line.
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
    /// Other templates of the same incident: odd at the same time, on the same stream, for the same reason.
    pub(crate) also: Vec<Also>,
    /// The strongest line's stream.
    #[serde(skip)]
    pub(crate) stream: StreamKey,
    /// The strongest line's time.
    #[serde(skip)]
    pub(crate) example_time: Option<Timestamp>,
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

/// A line, where it stands and what it was judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged<'a> {
    /// Its number.
    pub(crate) number: u64,
    /// Its bytes.
    pub(crate) line: &'a [u8],
    /// Its time, if it has one.
    pub(crate) time: Option<Timestamp>,
    /// Its stream.
    pub(crate) stream: StreamKey,
    /// The answer for it.
    pub(crate) verdict: &'a Verdict,
}

/// What ends a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// A pause.
    Episodes,
    /// Nothing: one group a template.
    Templates,
}

/// The last lines read: what stands before the next one.
#[derive(Debug, Default)]
pub(crate) struct RecentLines(VecDeque<ShownLine>);

impl RecentLines {
    /// Keeps one more; reuses the texts' memory.
    pub(crate) fn push(&mut self, number: u64, line: &[u8]) {
        let mut oldest = match self.0.len() {
            NEIGHBOURS.. => self.0.pop_front(),
            _ => None,
        }
        .unwrap_or(ShownLine { number: 0, text: String::new() });
        oldest.number = number;
        oldest.text.clear();
        append_cut(&mut oldest.text, line);
        self.0.push_back(oldest);
    }
}

/// Gathers groups.
#[derive(Debug)]
pub(crate) struct Groups {
    grouping: Grouping,
    all: Vec<Group>,
    newest: HashMap<TemplateId, usize>,
    waiting: Vec<usize>,
    dropped: u64,
}

impl Groups {
    /// No groups yet.
    pub(crate) fn new(grouping: Grouping) -> Self {
        Self { grouping, all: Vec::new(), newest: HashMap::new(), waiting: Vec::new(), dropped: 0 }
    }

    /// Tells of every line, before it is judged: examples wait for what stands after them.
    pub(crate) fn next_line(&mut self, number: u64, line: &[u8]) {
        if self.waiting.is_empty() {
            return;
        }
        let shown = shown(number, line);
        let groups = &mut self.all;
        self.waiting.retain(|&index| {
            let Some(group) = groups.get_mut(index) else { return false };
            group.example.after.push(shown.clone());
            group.example.after.len() < NEIGHBOURS
        });
        if self.all.len() >= MOST_GROUPS {
            self.drop_weakest(number);
        }
    }

    /// Takes a line, as the example if none of its group is stronger.
    pub(crate) fn add(&mut self, judged: &Judged<'_>, recent: &RecentLines) {
        let index = self.current(judged).unwrap_or_else(|| self.start(judged));
        let Some(group) = self.all.get_mut(index) else { return };
        group.lines += 1;
        group.anomalies += u64::from(judged.verdict.is_anomaly);
        group.seen(judged);
        if judged.verdict.p_value < group.p_value || group.lines == 1 {
            group.show(judged, recent);
            self.waiting.retain(|&waiting| waiting != index);
            self.waiting.push(index);
        }
    }

    /// Takes a repeat held back, if the group it repeats is known.
    pub(crate) fn repeat(&mut self, judged: &Judged<'_>) {
        if let Some(group) = self.current(judged).and_then(|index| self.all.get_mut(index)) {
            group.lines += 1;
            group.suppressed += 1;
            group.seen(judged);
        }
    }

    /// The template's newest group, if it is not over.
    fn current(&self, judged: &Judged<'_>) -> Option<usize> {
        let index = *self.newest.get(&judged.verdict.template)?;
        let group = self.all.get(index)?;
        let same = match (self.grouping, judged.time, group.last_time) {
            (Grouping::Templates, ..) => true,
            (Grouping::Episodes, Some(now), Some(last)) => now.seconds_since(last).abs() <= EPISODE_SECONDS,
            (Grouping::Episodes, ..) => judged.number - group.last_line <= EPISODE_LINES,
        };
        same.then_some(index)
    }

    fn start(&mut self, judged: &Judged<'_>) -> usize {
        let index = self.all.len();
        self.newest.insert(judged.verdict.template, index);
        self.all.push(Group::new(judged));
        index
    }

    /// Positions change: who still waits for lines after line `number` is found anew.
    fn drop_weakest(&mut self, number: u64) {
        self.all.sort_by(stronger_first);
        self.dropped += (self.all.len() - MOST_GROUPS / 2) as u64;
        self.all.truncate(MOST_GROUPS / 2);
        self.newest.clear();
        self.waiting.clear();
        for (index, group) in self.all.iter().enumerate() {
            let newest = self.newest.entry(group.template_key).or_insert(index);
            if self.all.get(*newest).is_some_and(|other| other.last_line < group.last_line) {
                *newest = index;
            }
            if group.example.waits_after(number) {
                self.waiting.push(index);
            }
        }
    }

    /// All groups, the strongest first, with what is known of their templates by now; how many were dropped.
    pub(crate) fn finish(mut self, templates: &Templates) -> (Vec<Group>, u64) {
        for group in &mut self.all {
            group.finish(templates);
        }
        self.all.sort_by(stronger_first);
        (self.all, self.dropped)
    }
}

impl Group {
    fn new(judged: &Judged<'_>) -> Self {
        Self {
            template_id: judged.verdict.template.to_string(),
            template: String::new(),
            lines: 0,
            anomalies: 0,
            suppressed: 0,
            occurrences: 0,
            first_line: judged.number,
            last_line: judged.number,
            first_timestamp: judged.time.map(rfc3339),
            last_timestamp: None,
            score: 0.0,
            p_value: 1.0,
            reasons: Vec::new(),
            detectors: Vec::new(),
            example: Example { line: shown(judged.number, judged.line), before: Vec::new(), after: Vec::new() },
            also: Vec::new(),
            stream: judged.stream,
            example_time: judged.time,
            template_key: judged.verdict.template,
            last_time: judged.time,
        }
    }

    fn seen(&mut self, judged: &Judged<'_>) {
        self.last_line = judged.number;
        self.last_time = judged.time.or(self.last_time);
    }

    fn show(&mut self, judged: &Judged<'_>, recent: &RecentLines) {
        self.score = judged.verdict.score;
        self.p_value = judged.verdict.p_value;
        self.reasons = judged.verdict.reasons().map(|reason| reason.as_str()).collect();
        self.detectors = evidence(judged.verdict);
        self.stream = judged.stream;
        self.example_time = judged.time;
        self.example = Example {
            line: shown(judged.number, judged.line),
            before: recent.0.iter().cloned().collect(),
            after: Vec::with_capacity(NEIGHBOURS),
        };
    }

    fn finish(&mut self, templates: &Templates) {
        self.last_timestamp = self.last_time.map(rfc3339);
        if let Some(template) = templates.get(self.template_key) {
            self.template_id = template.id.to_string();
            self.template = template.text.to_string();
            self.occurrences = template.count;
        }
    }

    fn severity(&self) -> f32 {
        let severity = DetectorKind::Severity.as_str();
        self.detectors.iter().find(|e| e.detector == severity).map_or(0.0, |e| e.nats)
    }

    fn evidence(&self) -> f32 {
        self.detectors.iter().map(|e| e.nats).sum()
    }
}

/// Least likely first, then the more severe, the more frequent alerts, the stronger evidence, the earlier.
fn stronger_first(a: &Group, b: &Group) -> Ordering {
    a.p_value
        .total_cmp(&b.p_value)
        .then_with(|| b.severity().total_cmp(&a.severity()))
        .then_with(|| (b.anomalies + b.suppressed).cmp(&(a.anomalies + a.suppressed)))
        .then_with(|| b.evidence().total_cmp(&a.evidence()))
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

#[cfg(test)]
mod tests {
    use oddline::config::Config;

    use super::super::reader::{Reader, Timing};
    use super::*;

    #[test]
    fn where_every_line_is_odd_the_strongest_groups_stay_with_their_neighbours_and_memory_is_bounded() {
        let mut reader = Reader::new(Config::default(), None, Timing::None).unwrap();
        let mut verdict = reader.read(b"a line").verdict.unwrap();
        let (mut groups, mut recent) = (Groups::new(Grouping::Templates), RecentLines::default());
        let count = 3 * MOST_GROUPS as u64;
        for number in 1..=count {
            let line = format!("line {number}");
            groups.next_line(number, line.as_bytes());
            verdict.template = TemplateId(number);
            verdict.p_value = if number % 1000 == 0 { 1e-9 } else { 1e-3 };
            let stream = StreamKey::default();
            groups.add(&Judged { number, line: line.as_bytes(), time: None, stream, verdict: &verdict }, &recent);
            recent.push(number, line.as_bytes());
            assert!(groups.all.len() <= MOST_GROUPS && groups.waiting.len() <= NEIGHBOURS);
        }
        let (told, dropped) = groups.finish(&Templates::default());
        assert_eq!(told.len() as u64 + dropped, count);
        let strong: Vec<_> = told.iter().take_while(|group| group.p_value < 1e-8).collect();
        assert_eq!(strong.len() as u64, count / 1000);
        for group in strong {
            let number = group.example.line.number;
            let around: Vec<_> = group.example.before.iter().chain(&group.example.after).map(|l| l.number).collect();
            assert_eq!(around, [number - 2, number - 1, number + 1, number + 2]);
        }
    }
}
