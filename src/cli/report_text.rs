//! A [`Report`] for people.

use std::fmt::{self, Display, Formatter};

use super::groups::{Group, ShownLine};
use super::related::Also;
use super::report::Report;
use super::sparkline::sparkline;

/// Longest line printed, in characters.
const WIDTH: usize = 150;
/// Other templates of an incident printed.
const MOST_ALSO: usize = 5;
/// Beyond this the figure says no more than "never".
const MOST_EVENTS: f64 = 1e9;

/// Formats a report; with `colours` using the terminal's.
pub(crate) struct ReportText<'a> {
    /// What to tell.
    pub(crate) report: &'a Report,
    /// Whether to use colours.
    pub(crate) colours: bool,
}

impl Display for ReportText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.report;
        self.head(f)?;
        if report.groups.is_empty() {
            writeln!(f, "\n{}", nothing(report))?;
        }
        for (index, group) in report.groups.iter().enumerate() {
            writeln!(f)?;
            self.group(f, index + 1, group)?;
        }
        if report.groups_left_out > 0 {
            writeln!(f, "\n{} more, less odd (--top shows more)", grouped(report.groups_left_out))?;
        }
        self.oddest(f)
    }
}

impl ReportText<'_> {
    fn head(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.report;
        writeln!(f, "lines      {} ({} learned from first)", grouped(report.lines), grouped(report.learning_lines))?;
        writeln!(f, "templates  {}", grouped(report.templates))?;
        match (&report.first_timestamp, &report.last_timestamp) {
            (Some(first), Some(last)) => writeln!(f, "time       {first} to {last}")?,
            _ => writeln!(f, "time       hardly any line has one that is understood")?,
        }
        write!(f, "anomalies  {}", grouped(report.anomalies))?;
        if report.suppressed > 0 {
            write!(f, " and {} repeats held back", grouped(report.suppressed))?;
        }
        writeln!(f)?;
        if report.anomalies > 0 {
            writeln!(f, "alerts     {}  over {}", sparkline(&report.alert_rate.counts), report.alert_rate.over)?;
        }
        Ok(())
    }

    fn group(&self, f: &mut Formatter<'_>, rank: usize, group: &Group) -> fmt::Result {
        let template = cut(&group.template);
        writeln!(f, "{rank:>2}. {}", self.style("1", &template))?;
        writeln!(f, "    score {:.2}: {}", group.score, expectation(group))?;
        writeln!(f, "    why: {} ({})", group.reasons.join(", "), detectors(group))?;
        writeln!(f, "    when: {}", when(group))?;
        for line in &group.example.before {
            self.line(f, ' ', line, "2")?;
        }
        self.line(f, '>', &group.example.line, "31")?;
        for line in &group.example.after {
            self.line(f, ' ', line, "2")?;
        }
        self.also(f, &group.also)
    }

    /// What else was odd in the same incident.
    fn also(&self, f: &mut Formatter<'_>, also: &[Also]) -> fmt::Result {
        if also.is_empty() {
            return Ok(());
        }
        writeln!(f, "    and {} of the same incident:", more_templates(also.len()))?;
        for other in also.iter().take(MOST_ALSO) {
            let Also { first_line, score, .. } = other;
            writeln!(f, "      {:>8}  {score:.2}  {}", first_line, cut(&other.template))?;
        }
        if also.len() > MOST_ALSO { writeln!(f, "      …") } else { Ok(()) }
    }

    /// What did not alert, briefly.
    fn oddest(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Report { groups, oddest_without_alert: oddest, .. } = self.report;
        if oddest.is_empty() {
            return Ok(());
        }
        let of = if groups.is_empty() {
            "The oddest lines, none of them an alert:"
        } else {
            "The oddest of the rest, none of them an alert:"
        };
        writeln!(f, "\n{of}")?;
        for group in oddest {
            writeln!(
                f,
                "  {:.2}  {} ({}); {}",
                group.score,
                group.reasons.join(", "),
                expectation(group),
                when(group)
            )?;
            self.line(f, ' ', &group.example.line, "0")?;
        }
        Ok(())
    }

    fn line(&self, f: &mut Formatter<'_>, mark: char, line: &ShownLine, code: &str) -> fmt::Result {
        let text = cut(&line.text);
        writeln!(f, "    {mark} {:>8}  {}", line.number, self.style(code, &text))
    }

    /// `text` in the style of an SGR code.
    fn style(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn nothing(report: &Report) -> &'static str {
    match report.lines {
        0 => "Nothing was read.",
        lines if lines == report.learning_lines => "All lines were learned from; too few to tell what is odd.",
        _ if report.oddest_without_alert.is_empty() => "Nothing odd.",
        _ => "Nothing beyond the alert budget.",
    }
}

/// Expected against observed.
fn expectation(group: &Group) -> String {
    let expected = match 1.0 / group.p_value {
        rare if rare > MOST_EVENTS => "practically never expected".to_owned(),
        often => format!("expected once in {} events", grouped(often.round() as u64)),
    };
    let times =
        if group.occurrences == 1 { "once".to_owned() } else { format!("{} times", grouped(group.occurrences)) };
    format!("{expected}; this template was seen {times} in all")
}

fn detectors(group: &Group) -> String {
    let parts: Vec<_> =
        group.detectors.iter().filter(|e| e.nats > 0.0).map(|e| format!("{} {:.1} nats", e.detector, e.nats)).collect();
    parts.join(", ")
}

fn when(group: &Group) -> String {
    let lines = match (group.first_line, group.last_line) {
        (first, last) if first == last => format!("line {first}"),
        (first, last) => format!("lines {first} to {last}"),
    };
    let times = match (&group.first_timestamp, &group.last_timestamp) {
        (Some(first), Some(last)) if first == last => format!(", {first}"),
        (Some(first), Some(last)) => format!(", {first} to {last}"),
        _ => String::new(),
    };
    let count = group.lines;
    let often = if count == 1 { String::new() } else { format!(", {} times", grouped(count)) };
    format!("{lines}{times}{often}")
}

/// Text of a log in one line fit for a terminal, which would obey control characters: U+FFFD in their place.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(clean).collect()
}

fn clean(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// The same, not too wide.
pub(crate) fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(WIDTH).map(clean).collect();
    if text.chars().nth(WIDTH).is_some() {
        cut.push('…');
    }
    cut
}

/// `1 more template`, `1,234 more templates`.
pub(crate) fn more_templates(number: usize) -> String {
    let noun = if number == 1 { "template" } else { "templates" };
    format!("{} more {noun}", grouped(number as u64))
}

/// A number with commas between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_thousands() {
        let all = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        assert!(all.iter().all(|&(number, text)| grouped(number) == text));
    }

    #[test]
    fn takes_the_terminals_controls_out_of_log_lines() {
        assert_eq!(cut("a\x1b[31mb\0"), "a\u{fffd}[31mb\u{fffd}");
        assert_eq!(cut(&"x".repeat(WIDTH + 1)).chars().count(), WIDTH + 1);
    }
}
