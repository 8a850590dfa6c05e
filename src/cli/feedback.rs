//! `oddline accept`, `oddline flag` and `oddline feedback`: what the user says of templates.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use oddline::clock::{Clock, SystemClock};
use oddline::config::Config;
use oddline::engine::feedback::{FeedbackFile, Opinion, Said, silence_of, template_named, template_of};
use oddline::event::{EventId, TemplateId, Timestamp};
use oddline::plugin::timestamp;
use oddline::storage::{FileSystem, RealFs};

use super::error::CliError;
use super::output::{self, OutputFormat};
use super::report_text::cut;
use super::settings::{self, EngineArgs};

/// Flags of `oddline accept` and `oddline flag`.
#[derive(Debug, Args)]
#[command(after_help = SAY_EXAMPLES)]
pub(crate) struct SayArgs {
    /// Template ids (16 hex digits) or event ids, as in the fields `template_id` and `event_id`.
    #[arg(required = true, value_name = "TEMPLATE_ID|EVENT_ID")]
    ids: Vec<String>,
    #[command(flatten)]
    engine: EngineArgs,
}

const SAY_EXAMPLES: &str = "\
`accept` says that a template is normal: its events are scored and learned, and are no anomalies. `flag` says that it is to be told \
every time: its events are anomalies with the reason `rule`. What was said last counts; `rules` in the configuration go over it. It is kept in the data dir; \
a process that uses the data dir takes it up within about ten seconds, and nothing needs to be stopped. An event id is looked up in the history of the data dir. \
Of a silence's event id it is said of the template's silences on that stream alone, and not of its events: `accept` lets them pass, `flag` tells each, also \
within hold_secs and where the template is accepted.

Examples:
  oddline accept 6336270e787cf47f --data-dir /var/lib/oddline
  oddline flag 019aa3c0f1e2-00000103-0000000a3f --data-dir /var/lib/oddline
  oddline feedback list --data-dir /var/lib/oddline --format json";

/// Flags of `oddline feedback`.
#[derive(Debug, Args)]
pub(crate) struct FeedbackArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List what was said, in the order it was said.
    List {
        #[command(flatten)]
        engine: EngineArgs,
        /// How to print it.
        #[arg(long, value_enum, default_value_t)]
        format: OutputFormat,
    },
    /// Take back what was said.
    Remove {
        /// Template ids (16 hex digits); what was said of silences of the template goes, too.
        #[arg(required = true, value_name = "TEMPLATE_ID")]
        ids: Vec<String>,
        #[command(flatten)]
        engine: EngineArgs,
    },
}

/// Runs `accept` or `flag`.
pub(crate) fn say(args: &SayArgs, opinion: Opinion) -> Result<(), CliError> {
    let config = settings::checked(settings::load(&args.engine)?)?;
    let dir = settings::existing_data_dir(&config)?;
    let fs: Arc<dyn FileSystem> = Arc::new(RealFs);
    let said: Vec<Resolved> =
        args.ids.iter().map(|id| resolve(&fs, dir, &config, id, opinion)).collect::<Result<_, _>>()?;
    FeedbackFile::edit(fs, dir, SystemClock.now(), |feedback| -> Result<(), CliError> {
        for Resolved { said, ids } in &said {
            feedback.say_of(ids, said.clone())?;
        }
        Ok(())
    })?;
    output::print(&said.iter().map(|resolved| line(&resolved.said)).collect::<String>())
}

/// Runs `feedback`.
pub(crate) fn run(args: &FeedbackArgs) -> Result<(), CliError> {
    match &args.action {
        Action::List { engine, format } => list(settings::existing_data_dir(&config(engine)?)?, *format),
        Action::Remove { ids, engine } => remove(&config(engine)?, ids),
    }
}

fn config(engine: &EngineArgs) -> Result<Config, CliError> {
    settings::checked(settings::load(engine)?)
}

fn list(dir: &Path, format: OutputFormat) -> Result<(), CliError> {
    let file = FeedbackFile::read(Arc::new(RealFs), dir)?;
    let said = file.feedback().said();
    match format {
        OutputFormat::Json => output::print_json(&said),
        OutputFormat::Text if said.is_empty() => output::print("nothing was said yet"),
        OutputFormat::Text => output::print(&said.iter().map(line).collect::<String>()),
    }
}

fn remove(config: &Config, ids: &[String]) -> Result<(), CliError> {
    let dir = settings::existing_data_dir(config)?;
    let fs: Arc<dyn FileSystem> = Arc::new(RealFs);
    let all = ids.iter().map(|text| all_ids(&*fs, dir, config, text)).collect::<Result<Vec<_>, _>>()?;
    FeedbackFile::edit(fs, dir, SystemClock.now(), |feedback| {
        ids.iter().zip(&all).try_for_each(|(id, all)| {
            if feedback.remove_any(all) { Ok(()) } else { Err(CliError::NothingSaid { id: id.clone() }) }
        })
    })
}

/// Every id of the template that goes by this one; none of what is no id.
fn all_ids(fs: &dyn FileSystem, dir: &Path, config: &Config, text: &str) -> Result<Vec<TemplateId>, CliError> {
    let Ok(id) = template_id(text) else { return Ok(Vec::new()) };
    Ok(template_named(fs, dir, config, id)?.map_or_else(|| vec![id], |named| named.ids))
}

fn line(said: &Said) -> String {
    let opinion = match said.opinion {
        Opinion::Accept => "accept",
        Opinion::Flag => "flag",
    };
    let when = timestamp::format(Timestamp::from_millis(said.said_at_ms));
    let text = said.template.as_deref().map_or_else(|| "(not in the newest checkpoint)".to_owned(), cut);
    let silence = match said.silence.as_deref() {
        None => String::new(),
        Some("") => "its silence: ".to_owned(),
        Some(stream) => format!("its silence on {}: ", cut(stream)),
    };
    format!("{opinion:<6}  {}  {when}  {silence}{text}\n", said.template_id)
}

/// What is said, and all ids of the template it is said of.
struct Resolved {
    said: Said,
    ids: Vec<TemplateId>,
}

/// Of a template that was merged into another since it is said of that one.
fn resolve(
    fs: &Arc<dyn FileSystem>,
    dir: &Path,
    config: &Config,
    text: &str,
    opinion: Opinion,
) -> Result<Resolved, CliError> {
    let (template, event_id, silence) = match text.parse::<EventId>() {
        Ok(event) => {
            let (template, silence) = meant_by(fs, dir, config, event)?;
            (template, Some(event.to_string()), silence)
        }
        Err(_) => (template_id(text)?, None, None),
    };
    let (ids, text) = match template_named(&**fs, dir, config, template)? {
        Some(named) => (named.ids, Some(named.text)),
        None => (vec![template], None),
    };
    let template_id = ids.first().unwrap_or(&template).to_string();
    let said_at_ms = SystemClock.now().as_millis();
    Ok(Resolved { said: Said { template_id, opinion, template: text, event_id, said_at_ms, silence }, ids })
}

/// The template of an event, and of a silence its stream.
fn meant_by(
    fs: &Arc<dyn FileSystem>,
    dir: &Path,
    config: &Config,
    event: EventId,
) -> Result<(TemplateId, Option<String>), CliError> {
    if let Some(template) = template_of(&**fs, dir, event)? {
        return Ok((template, None));
    }
    let silence = silence_of(config, fs, event)?;
    let (template, stream) = silence.ok_or_else(|| CliError::UnknownEvent { id: event.to_string() })?;
    Ok((template, Some(stream)))
}

fn template_id(text: &str) -> Result<TemplateId, CliError> {
    let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = if is_hex { u64::from_str_radix(text, 16).ok() } else { None };
    id.map(TemplateId).ok_or_else(|| CliError::NotAnId { text: text.to_owned() })
}
