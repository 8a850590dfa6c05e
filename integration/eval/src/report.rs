//! `docs/accuracy.md`.

use std::fmt::Write as _;

use crate::metrics::Metrics;

/// Kinds of incidents, in the order of the tables.
pub(crate) const KINDS: [(&str, &str); 5] = [
    ("novel_err", "new error"),
    ("novel_rare", "rare"),
    ("spike", "spike"),
    ("numeric", "numeric"),
    ("order", "order"),
];

/// One way of scoring all streams.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) metrics: Metrics,
}

/// How often one budget was used up, stream by stream.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) budget: f64,
    /// Alerts a line over the budget.
    pub(crate) ratios: Vec<f64>,
    /// Of all streams together.
    pub(crate) together: f64,
}

/// Everything measured.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) systems: Vec<String>,
    pub(crate) seeds: Vec<u32>,
    pub(crate) quiet_seeds: Vec<u32>,
    pub(crate) variants: Vec<Variant>,
    pub(crate) by_system: Vec<Variant>,
    pub(crate) by_seed: Vec<Variant>,
    /// With all hosts of a system in one stream.
    pub(crate) one_stream: Option<Variant>,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) bgl: Metrics,
}

impl Report {
    /// As Markdown.
    pub(crate) fn markdown(&self, preface: &str) -> String {
        let mut text = preface.to_owned();
        self.put(&mut text).unwrap_or_default();
        text
    }

    fn put(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "Systems: {}. Seeds with incidents: {:?}; without: {:?}.\n",
            self.systems.join(", "),
            self.seeds,
            self.quiet_seeds
        )?;
        writeln!(out, "## What finds what\n")?;
        table(out, "scored by", &self.variants)?;
        writeln!(out, "\n## By system\n")?;
        table(out, "system", &self.by_system)?;
        writeln!(out, "\n## By seed\n")?;
        table(out, "seed", &self.by_seed)?;
        self.put_silence(out)?;
        self.put_one_stream(out)?;
        self.put_budgets(out)?;
        writeln!(out, "\n## BGL_2k\n")?;
        writeln!(
            out,
            "Labelled lines of a real log, scored after a warm-up of 200: AUC {:.3}, AP {:.3}.",
            self.bgl.auc(),
            self.bgl.average_precision()
        )
    }

    fn put_silence(&self, out: &mut String) -> std::fmt::Result {
        let Some(full) = self.variants.first().map(|variant| &variant.metrics) else { return Ok(()) };
        writeln!(out, "\n## Silence\n")?;
        silence(out, full)
    }

    fn put_one_stream(&self, out: &mut String) -> std::fmt::Result {
        let (Some(one), Some(full)) = (&self.one_stream, self.variants.first()) else { return Ok(()) };
        writeln!(out, "\n## All hosts in one stream\n")?;
        writeln!(
            out,
            "The same events where nothing tells the hosts of a system apart. Order, rates and silences are then those of all hosts together.\n"
        )?;
        let told_apart = Variant { name: "by host (the default)".to_owned(), metrics: full.metrics.clone() };
        table(out, "streams", [&told_apart, one])?;
        writeln!(out)?;
        silence(out, &one.metrics)
    }

    fn put_budgets(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n## Alert rate against budget\n")?;
        writeln!(out, "Alerts a line on streams without incidents, over `alert_budget`; 1 is as promised.\n")?;
        writeln!(
            out,
            "| budget | all streams together | least | most | streams within a factor of 2 |\n|---|---|---|---|---|"
        )?;
        for budget in &self.budgets {
            let extreme = |pick: fn(f64, f64) -> f64, start| budget.ratios.iter().copied().fold(start, pick);
            let within = budget.ratios.iter().filter(|ratio| (0.5..=2.0).contains(*ratio)).count();
            let (least, most) = (extreme(f64::min, f64::INFINITY), extreme(f64::max, 0.0));
            writeln!(
                out,
                "| {} | {:.2} | {least:.2} | {most:.2} | {within} of {} |",
                budget.budget,
                budget.together,
                budget.ratios.len()
            )?;
        }
        Ok(())
    }
}

fn silence(out: &mut String, metrics: &Metrics) -> std::fmt::Result {
    writeln!(
        out,
        "Told: {:.2} of {} silences, with {} false ticks of {}. Found with no false tick in a stream: {:.2}.",
        metrics.silences_told.share(),
        metrics.silences_told.of,
        metrics.false_ticks.found,
        metrics.false_ticks.of,
        metrics.silences_without_false_tick.share(),
    )
}

fn table<'v>(out: &mut String, first: &str, variants: impl IntoIterator<Item = &'v Variant>) -> std::fmt::Result {
    write!(out, "| {first} | recall |")?;
    KINDS.iter().try_for_each(|(_, name)| write!(out, " {name} |"))?;
    writeln!(out, " line AP | recall at own threshold |\n|---|---|{}---|---|", "---|".repeat(KINDS.len()))?;
    for Variant { name, metrics } in variants {
        write!(out, "| {name} | {:.3} |", metrics.recall())?;
        KINDS.iter().try_for_each(|(kind, _)| write!(out, " {:.2} |", metrics.recall_of(kind)))?;
        writeln!(out, " {:.3} | {:.3} |", metrics.average_precision(), metrics.own_recall())?;
    }
    Ok(())
}
