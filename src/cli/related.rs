//! Groups of one incident: what was odd at the same time, on the same stream and for the same reason is told as one entry.
//!
//! Groups come strongest first. One joins the strongest before it whose example is on the same stream, no further away in time than
//! [`INCIDENT_SECONDS`] and led by the same reason; what it says is kept short. Where lines have no time, as many lines count as that time usually has.

use std::collections::HashMap;

use oddline::event::StreamKey;
use serde::Serialize;

use super::groups::Group;
use super::reader::TIMELESS_LINE_MILLIS;

/// Examples of one incident are no further apart.
const INCIDENT_SECONDS: f64 = 60.0;
const INCIDENT_LINES: u64 = (INCIDENT_SECONDS * 1000.0) as u64 / TIMELESS_LINE_MILLIS as u64;

/// A group that belongs to a stronger one.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Also {
    /// 16 hex digits.
    pub(crate) template_id: String,
    /// The template.
    pub(crate) template: String,
    /// Lines in the group.
    pub(crate) lines: u64,
    /// Anomalies among them.
    pub(crate) anomalies: u64,
    /// Highest score.
    pub(crate) score: f64,
    /// The first line.
    pub(crate) first_line: u64,
}

impl Also {
    fn of(group: Group) -> Self {
        let Group { template_id, template, lines, anomalies, score, first_line, .. } = group;
        Self { template_id, template, lines, anomalies, score, first_line }
    }
}

/// One entry for each incident, in the order of the strongest group of each.
pub(crate) fn fold(groups: Vec<Group>) -> Vec<Group> {
    let mut entries: Vec<Group> = Vec::new();
    let mut by_cause: HashMap<(StreamKey, &'static str), Vec<usize>> = HashMap::new();
    for group in groups {
        let Some(cause) = group.reasons.first().copied() else {
            entries.push(group);
            continue;
        };
        let of_cause = by_cause.entry((group.stream, cause)).or_default();
        let found = of_cause.iter().copied().find(|at| entries.get(*at).is_some_and(|entry| is_near(entry, &group)));
        match found.and_then(|at| entries.get_mut(at)) {
            Some(entry) => entry.also.push(Also::of(group)),
            None => {
                of_cause.push(entries.len());
                entries.push(group);
            }
        }
    }
    entries
}

fn is_near(entry: &Group, group: &Group) -> bool {
    match (entry.example_time, group.example_time) {
        (Some(a), Some(b)) => a.seconds_since(b).abs() <= INCIDENT_SECONDS,
        _ => entry.example.line.number.abs_diff(group.example.line.number) <= INCIDENT_LINES,
    }
}
