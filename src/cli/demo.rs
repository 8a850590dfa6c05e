//! `oddline demo`: a story without files or network, to see what oddline does.

use clap::Args;
use oddline::config::{Config, TimeSource};
use oddline::event::{Timestamp, Verdict};
use serde::Serialize;

use super::error::CliError;
use super::output::{self, OutputFormat};
use super::reader;
use super::report::{Report, ReportBuilder};
use super::report_text::{ReportText, cut, grouped};
use super::story::{self, StoryEvent};

/// Events the demo learns from: two and a half of its ten minutes.
const LEARNING_EVENTS: u64 = 3000;
/// Alerts shown as they came.
const ALERTS_SHOWN: usize = 20;
/// Groups in the report.
const GROUPS_SHOWN: usize = 6;

/// Flags of `oddline demo`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// How to print the story.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
    /// Print the story's events as NDJSON, without scoring them: something to try the other commands on.
    #[arg(long, conflicts_with = "format")]
    events: bool,
}

const EXAMPLES: &str = "\
Ten minutes of a small web shop (nginx, an application, postgres, cron, sshd) with an incident in it, replayed at \
once: what is added to the events, what would have alerted, and the report at the end. The same every time.

Examples:
  oddline demo
  oddline demo --events > shop.ndjson && oddline scan shop.ndjson";

/// An alert as it came.
#[derive(Debug, Serialize)]
struct Alert {
    timestamp: String,
    service: &'static str,
    score: f64,
    reasons: Vec<&'static str>,
    message: String,
}

/// What the demo shows.
#[derive(Debug, Serialize)]
struct Demo {
    events: usize,
    /// An everyday event, before and after.
    routine: (String, String),
    /// The first anomaly, before and after.
    anomaly: Option<(String, String)>,
    alerts: Vec<Alert>,
    report: Report,
}

/// Runs the command.
pub(crate) fn run(args: &DemoArgs) -> Result<(), CliError> {
    let events = story::story();
    if args.events {
        return print_events(&events);
    }
    let demo = replay(&events)?;
    match args.format {
        OutputFormat::Json => output::print_json(&demo),
        OutputFormat::Text => output::print(&text(&demo)),
    }
}

fn print_events(events: &[StoryEvent]) -> Result<(), CliError> {
    let mut out = output::Output::stdout();
    for event in events {
        out.buffer().extend_from_slice(event.to_json().as_bytes());
        out.buffer().push(b'\n');
        out.appended()?;
    }
    out.flush()
}

fn replay(events: &[StoryEvent]) -> Result<Demo, CliError> {
    let config = Config { learning_events: LEARNING_EVENTS, time: TimeSource::Event, ..Config::default() };
    let (mut scorer, clock) = reader::in_memory(config, Timestamp::from_millis(story::START_MILLIS))?;
    let mut report = ReportBuilder::default();
    let (mut routine, mut anomaly, mut alerts) = (None, None, Vec::new());
    let mut out = Vec::new();
    for event in events {
        let time = Timestamp::from_millis(event.millis);
        clock.set(time);
        out.clear();
        let before = event.to_json();
        let outcome = scorer.json(before.as_bytes(), &mut out);
        let shown = format!("{:<8} {}", event.service, event.message);
        report.add(shown.as_bytes(), Some(time), outcome.stream, outcome.verdict.as_ref());
        let Some(verdict) = outcome.verdict else { continue };
        let after = || String::from_utf8_lossy(&out).into_owned();
        if verdict.is_anomaly {
            alerts.push(alert(event, &verdict));
            anomaly.get_or_insert_with(|| (before.clone(), after()));
        } else if is_everyday(event, &verdict) {
            routine.get_or_insert_with(|| (before.clone(), after()));
        }
    }
    let facts = reader::facts(scorer.into_component())?;
    let report = report.finish(GROUPS_SHOWN, 0, &facts);
    Ok(Demo { events: events.len(), routine: routine.unwrap_or_default(), anomaly, alerts, report })
}

/// Good for showing: short, past learning.
fn is_everyday(event: &StoryEvent, verdict: &Verdict) -> bool {
    verdict.state != oddline::event::State::Learning && event.message.contains("signed in")
}

fn alert(event: &StoryEvent, verdict: &Verdict) -> Alert {
    Alert {
        timestamp: super::report::rfc3339(Timestamp::from_millis(event.millis)),
        service: event.service,
        score: verdict.score,
        reasons: verdict.reasons().map(|reason| reason.as_str()).collect(),
        message: event.message.clone(),
    }
}

fn text(demo: &Demo) -> String {
    let mut text = format!(
        "Ten minutes of a small web shop, replayed at once: {} events of nginx, shop, postgres, cron and sshd.\n\
         The first {} only teach what is normal here.\n\n",
        grouped(demo.events as u64),
        grouped(demo.report.learning_lines)
    );
    text += "WHAT IT ADDS TO AN EVENT\n\n";
    text += &before_after("an everyday event", &demo.routine);
    if let Some(anomaly) = &demo.anomaly {
        text += &before_after("the first odd one", anomaly);
    }
    text += "WHAT WOULD HAVE ALERTED, AS IT CAME\n\n";
    for alert in demo.alerts.iter().take(ALERTS_SHOWN) {
        let time = alert.timestamp.get(11..19).unwrap_or_default();
        text += &format!("{time}  {:.2}  {:<8}  {}\n", alert.score, alert.service, cut(&alert.message));
    }
    if demo.alerts.len() > ALERTS_SHOWN {
        text += &format!("… and {} more\n", demo.alerts.len() - ALERTS_SHOWN);
    }
    let report = ReportText { report: &demo.report, colours: output::colours() };
    text += &format!("\nTHE REPORT AT THE END\n\n{report}\n");
    text += "Now with a file of yours:  oddline scan FILE\n";
    text += "Or live:                   tail -F FILE | oddline score --only-anomalies\n";
    text
}

fn before_after(title: &str, (before, after): &(String, String)) -> String {
    format!("{title}, before:\n  {before}\nafter:\n  {after}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_incident_is_found_and_its_cause_is_the_first_alert_of_it() {
        let demo = replay(&story::story()).unwrap();
        let services: Vec<_> = demo.alerts.iter().map(|a| a.service).collect();
        let first = demo.alerts.iter().find(|a| a.message.contains("sales-report"));
        assert!(first.is_some(), "{services:?}");
        for word in ["FATAL", "pool exhausted", "upstream timed out", "circuit breaker"] {
            assert!(demo.alerts.iter().any(|a| a.message.contains(word)), "{word}");
        }
        let start =
            super::super::report::rfc3339(Timestamp::from_millis(story::START_MILLIS + story::INCIDENT_SECOND * 1000));
        let early = demo.alerts.iter().filter(|a| a.timestamp < start).count();
        // The budget is one event in a thousand, and some five thousand come between learning and the incident.
        assert!(early <= 6, "{early} alerts before anything happened");
    }
}
