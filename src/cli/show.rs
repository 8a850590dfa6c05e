//! `oddline show`: the whole story of one event.

use std::fmt::Write as _;

use clap::Args;
use oddline::engine::story::{self, Similar, Story};
use oddline::event::EventId;
use oddline::storage::journal::Incident;

use super::error::CliError;
use super::incidents::{config, fs};
use super::output::{self, OutputFormat};
use super::report_text::{cut, grouped};
use super::settings::EngineArgs;
use super::sparkline::sparkline;

/// Flags of `oddline show`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ShowArgs {
    /// The event, as in the field `event_id`.
    event_id: String,
    #[command(flatten)]
    engine: EngineArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

const EXAMPLES: &str = "\
Prints the line, its template with the parameter that was odd marked »so«, the reasons and how strong each is, what was expected and what was seen, how often the \
template came before and after, the events around it on the same stream (their templates: lines of other events are not kept), and past incidents that were \
like it. What the journal has not or no longer is left out; an event that was no anomaly is told of from the history alone. Works while an agent \
uses the data dir, for what that has written (journal.interval_secs, 10 s).

Examples:
  oddline show 019aa3c0f1e2-00000103-0000000a3f --data-dir /var/lib/oddline
  oddline show 019aa3c0f1e2-00000103-0000000a3f --data-dir /var/lib/oddline --format json | jq .similar";

/// Runs the command.
pub(crate) fn run(args: &ShowArgs) -> Result<(), CliError> {
    let not_an_id = |_| CliError::NotAnEventId { text: args.event_id.clone() };
    let event: EventId = args.event_id.parse().map_err(not_an_id)?;
    let config = config(&args.engine)?;
    let story = story::tell(&config, &fs(), event).map_err(CliError::from)?;
    let story = story.ok_or_else(|| CliError::UnknownIncident { id: args.event_id.clone() })?;
    match args.format {
        OutputFormat::Json => output::print_json(&story),
        OutputFormat::Text => output::print(&Text { colours: output::colours() }.story(&story)),
    }
}

struct Text {
    colours: bool,
}

impl Text {
    fn story(&self, story: &Story) -> String {
        let mut text = String::new();
        self.head(&mut text, story);
        if let Some(incident) = &story.incident {
            self.why(&mut text, incident);
        }
        history(&mut text, story);
        self.around(&mut text, story);
        similar(&mut text, story);
        text
    }

    /// `text` in the style of an SGR code.
    fn style(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn head(&self, text: &mut String, story: &Story) {
        let incident = story.incident.as_ref();
        let of = |label: &str, value: Option<&str>| {
            value
                .filter(|value| !value.is_empty())
                .map_or_else(String::new, |value| format!("  {label} {}", cut(value)))
        };
        let host = of("host", story.host.as_deref());
        let stream = of("stream", incident.map(|incident| incident.stream.as_str()));
        add(text, format_args!("{}  {}{host}{stream}\n\n", story.event_id, story.time));
        match incident.and_then(|incident| incident.message.as_deref()) {
            Some(message) => add(text, format_args!("  {}\n", self.style("1", &cut(message)))),
            None => add(text, format_args!("  (the line is not kept{})\n", no_line(incident))),
        }
        let template = story.template.as_deref().unwrap_or("(its text is not in the newest checkpoint)");
        let marked = incident.map_or_else(|| template.to_owned(), |incident| self.marked(template, incident));
        add(text, format_args!("  {marked}\n  template {}\n", story.template_id));
        if let Some(note) = &story.note {
            add(text, format_args!("  note: {}\n", self.style("1", &cut(note))));
        }
    }

    /// The template with the odd parameter in its place.
    fn marked(&self, template: &str, incident: &Incident) -> String {
        let place = incident.parameters.iter().position(|text| Some(text) == incident.odd_parameter.as_ref());
        let wildcards = template.match_indices("<*>").map(|(at, wildcard)| (at, wildcard.len()));
        match (incident.odd_parameter.as_deref(), place.and_then(|place| wildcards.clone().nth(place))) {
            (Some(odd), Some((at, length))) => {
                let (before, after) = (template.get(..at).unwrap_or(""), template.get(at + length..).unwrap_or(""));
                format!("{}{}{}", cut(before), self.style("1;31", &format!("»{}«", cut(odd))), cut(after))
            }
            (Some(odd), None) => format!("{}   {}", cut(template), self.style("1;31", &format!("»{}«", cut(odd)))),
            (None, _) => cut(template),
        }
    }

    fn why(&self, text: &mut String, incident: &Incident) {
        let once = grouped((1.0 / incident.p_value.max(1e-12)).round() as u64);
        add(text, format_args!("\nscore {:.2}: once in {once} events\n", incident.score));
        for reason in &incident.reasons {
            add(text, format_args!("  {:<16} {}\n", self.style("1", reason), meaning(reason)));
        }
        let evidence = incident.detectors.iter().filter(|(_, nats)| *nats > 0.0);
        let evidence: Vec<String> = evidence.map(|(name, nats)| format!("{name} {nats:.1}")).collect();
        add(text, format_args!("  evidence in nats: {}\n", evidence.join(", ")));
        if let Some(expected) = &incident.expected {
            let observed = incident.observed.map_or_else(|| "?".to_owned(), |observed| observed.to_string());
            add(text, format_args!("  expected {}, observed {}\n", cut(expected), cut(&observed)));
        }
        if let Some(rule) = &incident.rule {
            add(text, format_args!("  by rule {}\n", cut(rule)));
        }
    }

    fn around(&self, text: &mut String, story: &Story) {
        if story.around.is_empty() {
            return;
        }
        let silence = story.incident.as_ref().filter(|incident| incident.synthetic);
        let is_of_all = silence.is_some_and(|silence| silence.stream.is_empty());
        text.push_str(if is_of_all { "\naround it on all streams\n" } else { "\naround it on the same stream\n" });
        for event in &story.around {
            let mark = if event.is_this { '>' } else { ' ' };
            let odd = if event.is_anomaly { '!' } else { ' ' };
            let template = event.template.as_deref().map_or_else(|| event.template_id.clone(), cut);
            let absent = if event.is_this && silence.is_some() { "did not come: " } else { "" };
            let line = format!("{mark}{odd} {}  {absent}{template}", event.time);
            let line = if event.is_this { self.style("31", &line) } else { line };
            add(text, format_args!("  {line}\n"));
        }
    }
}

fn add(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _infallible = text.write_fmt(what);
}

fn no_line(incident: Option<&Incident>) -> String {
    match incident {
        Some(incident) if incident.synthetic => ": it is an event that did not come".to_owned(),
        Some(Incident { message_hash: Some(hash), .. }) => format!(", its hash is {}", cut(hash)),
        Some(_) => ": journal_message is template".to_owned(),
        None => ": the event is not in the journal".to_owned(),
    }
}

fn history(text: &mut String, story: &Story) {
    let Some(history) = &story.history else {
        text.push_str("\nthe history of events does not reach there\n");
        return;
    };
    let total = grouped(history.counts.iter().sum());
    let on = if history.of_stream { " on this stream" } else { "" };
    add(text, format_args!("\nits template{on}, {total} events in parts of {:.0} s\n", history.part_secs.max(1.0)));
    add(text, format_args!("  {}\n", sparkline(&history.counts)));
    let column = history.event_part.min(history.counts.len());
    add(text, format_args!("  {}^ here\n", " ".repeat(column)));
    add(text, format_args!("  {} to {}\n", history.from, history.to));
}

fn similar(text: &mut String, story: &Story) {
    let (looked_at, since) = (grouped(story.looked_at as u64), story.looked_at_since.as_deref());
    match (story.similar.is_empty(), since) {
        (true, None) => return,
        (true, Some(since)) => {
            add(text, format_args!("\nno past incident like it among the last {looked_at}, from {since} on\n"))
        }
        (false, None) => text.push_str("\npast incidents like it\n"),
        (false, Some(since)) => {
            add(text, format_args!("\npast incidents like it, of the last {looked_at}, from {since} on\n"))
        }
    }
    for incident in &story.similar {
        let alike = match incident.alike_in {
            "template" => "same template".to_owned(),
            "meaning" => format!("distance {:.2}", incident.distance),
            _ => "same reasons".to_owned(),
        };
        let what = incident.message.as_deref().unwrap_or(&incident.template);
        let Similar { time, score, event_id, host, .. } = incident;
        add(text, format_args!("  {time}  {score:.2}  {event_id}  {}  {alike}\n    {}\n", cut(host), cut(what)));
        if let Some(note) = &incident.note {
            add(text, format_args!("    note: {}\n", cut(note)));
        }
    }
}

/// A reason in words.
fn meaning(reason: &str) -> &'static str {
    match reason {
        "new_template" => "a line of this shape was never seen before",
        "rare_template" => "lines of this shape are rare",
        "rate_spike" => "more of these lines at once than there usually are",
        "rate_drop" => "fewer of these lines than there usually are",
        "silence" => "a line that comes regularly did not come",
        "numeric_outlier" => "a number far from those that stood in its place before",
        "new_value" => "a value never seen in a place that held few",
        "unusual_order" => "lines of this stream usually come in another order",
        "severity" => "level words or error keywords",
        "similar_incident" => {
            "lines of this shape are much like some that were flagged, or like an incident with a note"
        }
        "semantic" => "what this shape of line says is unlike all that was known when learning ended",
        "rule" => "a rule of yours, or feedback, says so",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_odd_parameter_is_marked_where_it_stood() {
        let text = Text { colours: false };
        let incident = |odd: Option<&str>| Incident {
            parameters: vec!["ann".to_owned(), "5100".to_owned()],
            odd_parameter: odd.map(str::to_owned),
            ..Incident::default()
        };
        let template = "user <*> waited <*> ms";
        assert_eq!(text.marked(template, &incident(Some("5100"))), "user <*> waited »5100« ms");
        assert_eq!(text.marked(template, &incident(Some("other"))), "user <*> waited <*> ms   »other«");
        assert_eq!(text.marked(template, &incident(None)), template);
    }

    #[test]
    fn every_reason_has_words() {
        for reason in oddline::event::Reason::ALL {
            assert!(!meaning(reason.as_str()).is_empty(), "{}", reason.as_str());
        }
    }
}
