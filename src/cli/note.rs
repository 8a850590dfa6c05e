//! `oddline note`: what was behind an incident, for the next one like it.

use clap::Args;
use oddline::clock::{Clock, SystemClock};
use oddline::engine::notes;
use oddline::event::EventId;

use super::error::CliError;
use super::incidents::{config, fs};
use super::output;
use super::report_text::cut;
use super::settings::EngineArgs;

/// Flags of `oddline note`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct NoteArgs {
    /// The incident, as in the field `event_id`.
    event_id: String,
    /// What to keep of it.
    #[arg(value_name = "TEXT", required_unless_present = "remove")]
    text: Option<String>,
    /// Take back what was said.
    #[arg(long, conflicts_with = "text")]
    remove: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

const EXAMPLES: &str = "\
Notes are kept in the data dir, one an incident, the last counts. An alert that is like a noted incident (of the same template, or of one near in meaning) has the reason \
`similar_incident` and the note in the field `similar`; `oddline show` tells it of both. A note outlives the incident in the journal. A process that uses the data dir takes it up \
within about ten seconds.

Examples:
  oddline note 019aa3c0f1e2-00000103-0000000a3f \"root cause: connection leak in orders 4.2\" --data-dir /var/lib/oddline
  oddline note 019aa3c0f1e2-00000103-0000000a3f --remove --data-dir /var/lib/oddline";

/// Runs the command.
pub(crate) fn run(args: &NoteArgs) -> Result<(), CliError> {
    let not_an_id = |_| CliError::NotAnEventId { text: args.event_id.clone() };
    let event: EventId = args.event_id.parse().map_err(not_an_id)?;
    let config = config(&args.engine)?;
    let now = SystemClock.now();
    match &args.text {
        None => Ok(notes::remove(&config, &fs(), event, now)?),
        Some(text) => {
            let note = notes::note(&config, &fs(), event, text, now)?;
            output::print(&format!(
                "{}  {}  {}\n  note: {}",
                note.event_id,
                note.time,
                cut(&note.template),
                cut(&note.note)
            ))
        }
    }
}
