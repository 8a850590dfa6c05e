//! `oddline score --sample`: what was dropped, by template, so that totals can be restored.

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
    /// For programs: one JSON document on one line, every template.
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
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    templates: HashMap<TemplateId, (Choice, Count)>,
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

impl Dropped {
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

    /// What became of all; templates that were merged since count as what they were merged into.
    pub(crate) fn report(mut self, known: &[TemplateSummary], format: ReportFormat) -> String {
        let mut lines = Vec::new();
        for template in known {
            let mut count = Count::default();
            for id in std::iter::once(&template.id).chain(&template.aliases) {
                let (_, found) = self.templates.remove(id).unwrap_or((Choice::new(*id), Count::default()));
                count = Count { kept: count.kept + found.kept, dropped: count.dropped + found.dropped };
            }
            lines.push(Line { template_id: template.id.to_string(), template: template.text.clone(), count });
        }
        // Evicted since: their texts are gone.
        let gone = |(id, (_, count)): (TemplateId, (Choice, Count))| Line {
            template_id: id.to_string(),
            template: String::new(),
            count,
        };
        lines.extend(self.templates.drain().map(gone));
        lines.retain(|line| line.count.kept + line.count.dropped > 0);
        lines.sort_by(|a, b| b.count.dropped.cmp(&a.count.dropped).then_with(|| a.template_id.cmp(&b.template_id)));
        let sum = |of: fn(&Count) -> u64| lines.iter().map(|line| of(&line.count)).sum();
        let total = Count { kept: sum(|count| count.kept), dropped: sum(|count| count.dropped) };
        let report = Report { total, templates: lines };
        match format {
            ReportFormat::Json => serde_json::to_string(&report).unwrap_or_default() + "\n",
            ReportFormat::Text => report.text(),
        }
    }
}

impl Report {
    fn text(&self) -> String {
        let all = self.total.kept + self.total.dropped;
        let mut out = format!("sampled: {} of {all} events kept, {} dropped\n", self.total.kept, self.total.dropped);
        let most = self.templates.iter().filter(|line| line.count.dropped > 0);
        for line in most.clone().take(SHOWN) {
            let Count { kept, dropped } = line.count;
            // Writing to a String cannot fail.
            let _ =
                writeln!(out, "{dropped:>10} of {:<10} {}  {}", kept + dropped, line.template_id, cut(&line.template));
        }
        let rest = most.count().saturating_sub(SHOWN);
        if rest > 0 {
            let _ = writeln!(out, "and {}: --sample-report json tells all", more_templates(rest));
        }
        out
    }
}
