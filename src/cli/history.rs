//! `oddline history`: what was seen when, from the files of a data dir, beside an engine that may be running on it.

use clap::Args;
use oddline::config::Config;
use oddline::engine::Environment;
use oddline::engine::history::{self, History, HistoryEvent, Query, TemplateHistory};
use oddline::engine::reasons::{self, Asked};
use oddline::engine::stream::Stream;
use oddline::event::{Reason, TemplateId, Timestamp};
use serde::Serialize;

use super::error::CliError;
use super::incidents::config;
use super::output::{self, OutputFormat};
use super::report_text::{cut, grouped, more_templates};
use super::settings::{self, EngineArgs, PeriodArgs, StreamArgs};
use super::sparkline::sparkline;

/// Bars of a sparkline.
const BARS: usize = 40;

/// Flags of `oddline history`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    period: PeriodArgs,
    #[command(flatten)]
    stream: StreamArgs,
    /// Only the last part of what happened until now, as 90m, 24h or 7d.
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with_all = ["since", "until"])]
    last: Option<i64>,
    /// Only this template: its template_id, 16 hex digits.
    #[arg(long, value_name = "ID", value_parser = template)]
    template: Option<TemplateId>,
    /// Count alerts that gave this reason instead, from the journal of incidents; `oddline incidents --reason` lists them.
    #[arg(long, value_name = "REASON", value_parser = super::incidents::reason, conflicts_with = "events")]
    reason: Option<Reason>,
    /// How many templates are printed, those with the most events first.
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "events")]
    top: usize,
    /// Print the newest events instead, at most N.
    #[arg(long, value_name = "N")]
    events: Option<usize>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

const EXAMPLES: &str = "\
Times are those of the events, to the length of a window (window_secs). What a running engine has seen in the last seconds may not be \
in the files yet. With --stream every event of the time asked for is read.

Examples:
  oddline history --data-dir /var/lib/oddline --since 7d
  oddline history --data-dir /var/lib/oddline --since 7d --reason rate_spike --stream host=db1
  oddline history --data-dir /var/lib/oddline --template 4f1d3c5a77b0e2a9 --format json
  oddline history --data-dir /var/lib/oddline --events 50";

/// A template's id is not one.
#[derive(Debug, thiserror::Error)]
#[error("expected a template_id, 16 hex digits")]
struct NotATemplate;

fn template(text: &str) -> Result<TemplateId, NotATemplate> {
    let number = u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16);
    number.map(TemplateId).ok_or(NotATemplate)
}

/// A duration is not one.
#[derive(Debug, thiserror::Error)]
#[error("expected a whole number and s, m, h or d, as in 90m")]
struct NotADuration;

/// Microseconds.
fn duration(text: &str) -> Result<i64, NotADuration> {
    let unit = text.chars().last().ok_or(NotADuration)?;
    let secs = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(NotADuration),
    };
    let number: i64 = text.strip_suffix(unit).and_then(|digits| digits.parse().ok()).ok_or(NotADuration)?;
    number.checked_mul(secs * 1_000_000).filter(|micros| *micros > 0).ok_or(NotADuration)
}

/// Runs the command.
pub(crate) fn run(args: &HistoryArgs) -> Result<(), CliError> {
    let config = config(&args.engine)?;
    let dir = settings::existing_data_dir(&config)?;
    let environment = Environment::system();
    let stream = args.stream.read(&config)?;
    let query = query(args, stream.as_ref(), environment.clock.now())?;
    if let Some(most) = args.events {
        let events = history::newest_events(&*environment.fs, dir, &config, &query, most)?;
        return match args.format {
            OutputFormat::Json => output::print_json(&events),
            OutputFormat::Text => output::print(&event_lines(&events)),
        };
    }
    let found = match args.reason {
        Some(reason) => of_reason(&config, &environment, query, stream, reason)?,
        None => history::read(&*environment.fs, dir, &config, &query)?,
    };
    for damage in &found.damaged {
        output::warn(format_args!("passed over: {damage}"));
    }
    let shown = Shown::new(&found, &config, args.top);
    match args.format {
        OutputFormat::Json => output::print_json(&shown),
        OutputFormat::Text => output::print(&shown.text()),
    }
}

fn of_reason(
    config: &Config,
    environment: &Environment,
    query: Query,
    stream: Option<Stream>,
    reason: Reason,
) -> Result<History, CliError> {
    if !config.journal.enabled {
        return Err(CliError::Usage("reasons are kept in the journal, which is off: journal.enabled"));
    }
    let streams = stream.map(|stream| stream.names).unwrap_or_default();
    Ok(reasons::read(config, &environment.fs, &Asked { query, streams, reason })?)
}

fn query(args: &HistoryArgs, stream: Option<&Stream>, now: Timestamp) -> Result<Query, CliError> {
    let (since, until) = args.period.read(now)?;
    let last = args.last.map(|micros| Timestamp(now.0.saturating_sub(micros)));
    Ok(Query {
        from: since.or(last).unwrap_or(Query::ALL.from),
        until: until.unwrap_or(Query::ALL.until),
        templates: args.template.into_iter().collect(),
        stream: stream.map(|stream| stream.key),
    })
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Shown {
    /// Events of all templates found, printed or not.
    events: u64,
    anomalies: u64,
    templates_total: usize,
    unlisted_events: u64,
    files: u64,
    damaged: usize,
    from: Option<String>,
    until: Option<String>,
    /// Seconds one entry of `counts` stands for.
    step_secs: i64,
    templates: Vec<ShownTemplate>,
}

#[derive(Debug, Serialize)]
struct ShownTemplate {
    template_id: String,
    template: String,
    events: u64,
    anomalies: u64,
    /// Of the event; with `since` or `until` it may be the start of its window.
    first_seen: String,
    last_seen: String,
    counts: Vec<u64>,
}

impl Shown {
    fn new(found: &History, config: &Config, top: usize) -> Self {
        let window = i64::try_from(config.window_secs).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let windows = || found.templates.iter().map(|template| &template.points);
        let from = windows().filter_map(|points| points.first()).map(|(start, _)| *start).min();
        let last = windows().filter_map(|points| points.last()).map(|(start, _)| *start).max();
        let span = from.zip(last).map_or(0, |(from, last)| last.0.saturating_sub(from.0));
        // Whole windows, as few of them as make at most as many bars as there are.
        let windows = span.checked_div(window.saturating_mul(BARS as i64)).unwrap_or(0).saturating_add(1);
        let step = windows.saturating_mul(window).max(1);
        let shown = found.templates.iter().take(top);
        Self {
            events: found.templates.iter().map(|template| template.events).sum(),
            anomalies: found.templates.iter().map(|template| template.anomalies).sum(),
            templates_total: found.templates.len(),
            unlisted_events: found.unlisted_events,
            files: found.files,
            damaged: found.damaged.len(),
            from: from.map(instant),
            until: last.map(|last| instant(Timestamp(last.0.saturating_add(window)))),
            step_secs: step / 1_000_000,
            templates: shown.map(|template| ShownTemplate::new(template, from.unwrap_or_default(), step)).collect(),
        }
    }

    fn text(&self) -> String {
        let (from, until) = (self.from.as_deref().unwrap_or("-"), self.until.as_deref().unwrap_or("-"));
        let mut text = format!(
            "{} events, {} anomalies, {} templates from {from} until {until}; a bar is {} s\n",
            grouped(self.events),
            grouped(self.anomalies),
            grouped(self.templates_total as u64),
            self.step_secs,
        );
        if self.unlisted_events > 0 {
            text += &format!("{} more of templates too many to list\n", grouped(self.unlisted_events));
        }
        for template in &self.templates {
            let (events, anomalies) = (grouped(template.events), grouped(template.anomalies));
            let (bars, shown) = (sparkline(&template.counts), cut(&template.template));
            text +=
                &format!("\n{events:>13}  {anomalies:>7}  {}  {bars}\n               {shown}\n", template.template_id);
        }
        let left_out = self.templates_total - self.templates.len();
        if left_out > 0 {
            text += &format!("\n{} (--top shows more)\n", more_templates(left_out));
        }
        text
    }
}

impl ShownTemplate {
    fn new(template: &TemplateHistory, from: Timestamp, step: i64) -> Self {
        let mut counts = Vec::new();
        for (start, events) in &template.points {
            let at = usize::try_from(start.0.saturating_sub(from.0) / step).unwrap_or(0).min(BARS);
            if at >= counts.len() {
                counts.resize(at + 1, 0);
            }
            if let Some(count) = counts.get_mut(at) {
                *count += events;
            }
        }
        Self {
            template_id: template.id.to_string(),
            template: template.text.clone(),
            events: template.events,
            anomalies: template.anomalies,
            first_seen: instant(template.first_seen),
            last_seen: instant(template.last_seen),
            counts,
        }
    }
}

pub(super) fn event_lines(events: &[HistoryEvent]) -> String {
    let line = |event: &HistoryEvent| {
        let mark = if event.is_anomaly { "ODD" } else { "   " };
        let (time, id, template) = (instant(Timestamp(event.time)), &event.event_id, &event.template_id);
        format!("{time}  {mark}  {:>6.2}  {template}  {id}\n", event.statistic)
    };
    events.iter().map(line).collect()
}

/// A time for people; one beyond every calendar as the nearest that is not.
fn instant(time: Timestamp) -> String {
    let clamped = time.0.clamp(jiff::Timestamp::MIN.as_microsecond(), jiff::Timestamp::MAX.as_microsecond());
    jiff::Timestamp::from_microsecond(clamped).map_or_else(|_| clamped.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(duration("90m").unwrap(), 5_400_000_000);
        assert_eq!(duration("7d").unwrap(), 604_800_000_000);
        for bad in ["", "m", "90", "-5m", "0s", "9é", "99999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_are_put_into_at_most_as_many_bars_as_there_are() {
        let points: Vec<_> = (0..1_000).map(|n| (Timestamp(n * 10_000_000), 2)).collect();
        let template = TemplateHistory {
            events: 2_000,
            last_seen: points.last().unwrap().0,
            points,
            ..TemplateHistory::default()
        };
        let found = History { templates: vec![template], ..History::default() };
        let shown = Shown::new(&found, &Config::default(), 5);
        assert_eq!(shown.step_secs, 250);
        assert_eq!(shown.templates[0].counts, vec![50; 40]);
        assert!(shown.text().contains("2,000 events"));
    }

    #[test]
    fn times_beyond_every_calendar_are_shown() {
        let extremes = [Timestamp(i64::MIN), Timestamp(i64::MAX)];
        let points = extremes.map(|time| (time, 1)).to_vec();
        let [first_seen, last_seen] = extremes;
        let template = TemplateHistory { events: 2, first_seen, last_seen, points, ..TemplateHistory::default() };
        let found = History { templates: vec![template], ..History::default() };
        let shown = Shown::new(&found, &Config::default(), 5);
        assert!(
            shown.text().contains("9999") && shown.templates[0].counts.iter().sum::<u64>() == 2,
            "{}",
            shown.text()
        );
    }
}
