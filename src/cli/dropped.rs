//! `oddline score --sample`: what was dropped, by template, so that totals can be restored.
//!
//! As many templates are kept as an engine can know, and as many again. When there are more, what was merged since counts for what it became, and what is no more
//! is told at once (as JSON: a document of its own, like the last one; as text: in a line of the last one) and forgotten: nobody counts for it again, and
//! the sum over all that is told is exact.

use std::collections::HashMap;
use std::fmt::Write;

use clap::ValueEnum;
use oddline::engine::TemplateSummary;
use oddline::event::{TemplateId, Verdict};
use oddline::plugin::sample::Choice;
use serde::Serialize;

use super::report_text::{cut, more_templates};

/// How to tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people: the templates most was dropped of.
    #[default]
    Text,
    /// For programs: a JSON document on one line, every template; of templates that are no more one before it each time that room is made.
    Json,
}

/// Templates told of as text.
const SHOWN: usize = 20;

/// Events of one template.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Count {
    kept: u64,
    dropped: u64,
}

/// Chooses what is kept, and counts it.
#[derive(Debug)]
pub(crate) struct Dropped {
    templates: HashMap<TemplateId, (Choice, Count)>,
    /// Templates that can be known at once.
    known_most: usize,
    format: ReportFormat,
    gone: Gone,
}

/// Of templates that are no more, as text.
#[derive(Clone, Copy, Debug, Default)]
struct Gone {
    templates: u64,
    count: Count,
}

#[derive(Debug, Serialize)]
struct Line {
    template_id: String,
    template: String,
    #[serde(flatten)]
    count: Count,
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    total: Count,
    templates: Vec<Line>,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.kept += other.kept;
        self.dropped += other.dropped;
    }

    fn events(self) -> u64 {
        self.kept + self.dropped
    }
}

impl Dropped {
    /// Nothing yet, of an engine that knows no more templates than so many at once.
    pub(crate) fn new(known_most: usize, format: ReportFormat) -> Self {
        Self { templates: HashMap::new(), known_most, format, gone: Gone::default() }
    }

    /// Whether there are more templates than can be known: [`tidy`](Self::tidy) makes room.
    pub(crate) fn is_full(&self) -> bool {
        self.templates.len() > self.known_most.saturating_mul(2)
    }

    /// Leaves what is known now; what is to be told of the rest, if anything.
    pub(crate) fn tidy(&mut self, known: &[TemplateSummary]) -> Option<String> {
        for template in known {
            for alias in &template.aliases {
                let Some((_, merged)) = self.templates.remove(alias) else { continue };
                let fresh = || (Choice::new(template.id), Count::default());
                self.templates.entry(template.id).or_insert_with(fresh).1.add(merged);
            }
        }
        let mut rest = std::mem::take(&mut self.templates);
        self.templates = known.iter().filter_map(|template| rest.remove_entry(&template.id)).collect();
        let gone: Vec<Line> = rest.into_iter().map(Line::of_gone).collect();
        if self.format == ReportFormat::Text {
            self.gone.templates += gone.len() as u64;
            gone.iter().for_each(|line| self.gone.count.add(line.count));
            return None;
        }
        Some(Report::of(gone, Gone::default()).to_json())
    }

    /// Whether the event is kept; counts it.
    pub(crate) fn is_kept(&mut self, verdict: &Verdict) -> bool {
        let fresh = || (Choice::new(verdict.template), Count::default());
        let (choice, count) = self.templates.entry(verdict.template).or_insert_with(fresh);
        let is_kept = choice.is_kept(verdict.sample_ratio.unwrap_or(1.0));
        if is_kept {
            count.kept += 1;
        } else {
            count.dropped += 1;
        }
        is_kept
    }

    /// What became of all that was not told yet; templates that were merged since count as what they were merged into.
    pub(crate) fn report(mut self, known: &[TemplateSummary]) -> String {
        let mut lines = Vec::new();
        for template in known {
            let mut count = Count::default();
            for id in std::iter::once(&template.id).chain(&template.aliases) {
                count.add(self.templates.remove(id).map_or_else(Count::default, |(_, count)| count));
            }
            lines.push(Line { template_id: template.id.to_string(), template: template.text.clone(), count });
        }
        lines.extend(self.templates.drain().map(Line::of_gone));
        let report = Report::of(lines, self.gone);
        match self.format {
            ReportFormat::Json => report.to_json(),
            ReportFormat::Text => report.text(self.gone),
        }
    }
}

impl Line {
    /// Evicted since: its text is gone.
    fn of_gone((id, (_, count)): (TemplateId, (Choice, Count))) -> Self {
        Self { template_id: id.to_string(), template: String::new(), count }
    }
}

impl Report {
    /// The lines that count anything, most dropped first; `gone` counts in the total.
    fn of(mut lines: Vec<Line>, gone: Gone) -> Self {
        lines.retain(|line| line.count.events() > 0);
        lines.sort_by(|a, b| b.count.dropped.cmp(&a.count.dropped).then_with(|| a.template_id.cmp(&b.template_id)));
        let mut total = gone.count;
        lines.iter().for_each(|line| total.add(line.count));
        Self { total, templates: lines }
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    fn text(&self, gone: Gone) -> String {
        let all = self.total.events();
        let mut out = format!("sampled: {} of {all} events kept, {} dropped\n", self.total.kept, self.total.dropped);
        let most = self.templates.iter().filter(|line| line.count.dropped > 0);
        for line in most.clone().take(SHOWN) {
            let (dropped, events) = (line.count.dropped, line.count.events());
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{dropped:>10} of {events:<10} {}  {}", line.template_id, cut(&line.template));
        }
        let rest = most.count().saturating_sub(SHOWN);
        if rest > 0 {
            let _ = writeln!(out, "and {}: --sample-report json tells all", more_templates(rest));
        }
        if gone.count.dropped > 0 {
            let (dropped, events) = (gone.count.dropped, gone.count.events());
            let _ = writeln!(out, "{dropped:>10} of {events:<10} of {} templates that are no more", gone.templates);
        }
        out
    }
}
