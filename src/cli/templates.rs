//! `oddline templates`: which templates a log consists of, and which one each line belongs to.
//!
//! `--per-line` reads the input twice: a template goes on generalising while lines are learned, and the early lines
//! should get the ids that the finished templates give. Ids are kept (16 bytes a line), texts are printed at the end.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use oddline::config::{Config, Wildcards};
use oddline::event::TemplateId;
use oddline::template::explain::Explanation;
use serde::Serialize;

use super::error::CliError;
use super::explain;
use super::feed::{self, Ended, Work};
use super::input::{self, Source};
use super::output::{self, Output, OutputFormat};
use super::progress::Progress;
use super::reader::{LineFormat, Reader, Timing};
use super::report::Templates;
use super::report_text::{cut, grouped, more_templates, printable};
use super::settings;
use super::signals::Stop;

/// Template text of a line whose template had to make room for others (`max_templates`), or that has no message.
const UNKNOWN: &str = "<*>";

/// Flags of `oddline templates`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TemplatesArgs {
    /// Files, also .gz and .zst, and directories; standard input without any or with `-`.
    files: Vec<PathBuf>,
    /// For each line print `template_id<TAB>template`, with the final templates (reads the input twice).
    #[arg(long, conflicts_with_all = ["format", "top"])]
    per_line: bool,
    /// With --per-line: ids as they were when each line came (one pass); then says how many were merged away later, and how many
    /// are of templates that had to make room.
    #[arg(long, requires = "per_line")]
    as_emitted: bool,
    /// Show how this line is read after the files: what is masked by which rule, which template it meets and why.
    /// Without a file nothing is learned first. A JSON object is read as the files are: its message counts.
    #[arg(long, value_name = "LINE", conflicts_with_all = ["per_line", "top"])]
    explain: Option<OsString>,
    /// Show what variables look like: <ip>, <num>, the name of a mask of yours; without it all are <*>.
    #[arg(long)]
    typed: bool,
    /// Print only the most frequent.
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// What the lines are; without it the first byte tells: `{` begins JSON.
    #[arg(long, value_enum)]
    input: Option<LineFormat>,
    /// Field of a JSON event that holds the message; dots go into objects.
    #[arg(long, value_name = "PATH")]
    message_field: Option<String>,
    /// How to print the templates.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
    /// Configuration file: YAML, TOML or JSON; its data_dir is not used.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const EXAMPLES: &str = "\
A template is the constant skeleton of a message, with <*> for what varies: `user <*> logged in from <*>`. Its id is \
given when it is first seen and stays when its text generalises.

Examples:
  oddline templates --top 20 app.log
  oddline templates --format json /var/log/nginx | jq '.[] | select(.count == 1)'
  oddline templates --per-line app.log | paste - app.log
  oddline templates --explain 'user ann logged in from 10.0.0.1' app.log";

#[derive(Debug, Serialize)]
struct Template<'a> {
    template_id: String,
    template: &'a str,
    count: u64,
}

/// Runs the command.
pub(crate) fn run(args: &TemplatesArgs) -> Result<(), CliError> {
    if args.message_field.is_some() && args.input == Some(LineFormat::Lines) {
        return Err(CliError::NeedsFields { flags: "--message-field".into() });
    }
    let mut config = settings::from_file(args.config.as_deref())?;
    if let Some(path) = &args.message_field {
        config.message_field.clone_from(path);
    }
    if args.typed {
        config.wildcards = Wildcards::Typed;
    }
    let config = Config { data_dir: None, ..settings::checked(config)? };
    let stop = Stop::on_signals()?;
    let sources = sources(args, &stop)?;
    // What was copied before the end was asked for is still to be answered.
    let first_stop = if stop.is_set() { Stop::default() } else { stop.clone() };
    let mut learning = Learning::new(Reader::new(config, args.input, Timing::None)?);
    learning.ids = args.as_emitted.then(Vec::new);
    let ended = learning.pass(&sources, &first_stop)?;
    if args.per_line && !args.as_emitted {
        learning.most_ids = learning.lines;
        learning.ids = Some(Vec::new());
        let all_read = learning.all_read.clone();
        learning.pass(&sources, &all_read)?;
    }
    if stop.is_set() {
        output::warn("interrupted: this is what was read so far");
    }
    if let Some(line) = &args.explain {
        print_explanation(args, &learning.reader.explain(line.as_encoded_bytes())?)?;
        return ended.report();
    }
    let facts = learning.reader.finish()?;
    match &learning.ids {
        Some(ids) => print_per_line(args, ids, &facts.templates)?,
        None => print_templates(args, &facts.templates)?,
    }
    if facts.templates_evicted > 0 {
        let (evicted, most) = (grouped(facts.templates_evicted), grouped(facts.max_templates as u64));
        output::warn(format_args!(
            "{evicted} templates had to make room for others and are not here: max_templates is {most}"
        ));
    }
    ended.report()
}

/// What to read; a line to explain does not wait for standard input.
fn sources(args: &TemplatesArgs, stop: &Stop) -> Result<Vec<Source>, CliError> {
    if args.explain.is_some() && args.files.is_empty() {
        return Ok(Vec::new());
    }
    let mut notes = Vec::new();
    let mut sources = input::sources(&args.files, &mut notes)?;
    notes.iter().for_each(output::warn);
    if args.per_line && !args.as_emitted {
        input::spool(&mut sources, stop)?;
    }
    Ok(sources)
}

fn print_explanation(args: &TemplatesArgs, explanation: &Explanation) -> Result<(), CliError> {
    match args.format {
        OutputFormat::Json => output::print_json(explanation),
        OutputFormat::Text => output::print(&explain::text(explanation)),
    }
}

struct Learning {
    reader: Reader,
    progress: Option<Progress>,
    /// Lines of a pass that keeps no ids.
    lines: usize,
    /// The second pass reads no more lines than the first did, though the file may have grown.
    most_ids: usize,
    ids: Option<Vec<Option<TemplateId>>>,
    all_read: Stop,
}

impl Learning {
    fn new(reader: Reader) -> Self {
        Self { reader, progress: None, lines: 0, most_ids: usize::MAX, ids: None, all_read: Stop::default() }
    }

    fn pass(&mut self, sources: &[Source], stop: &Stop) -> Result<Ended, CliError> {
        let read = Arc::default();
        self.progress = Some(Progress::new(sources, &read));
        let ended = feed::run(sources.to_vec(), read, stop, self);
        if let Some(progress) = self.progress.take() {
            progress.clear();
        }
        ended
    }
}

impl Work for Learning {
    fn line(&mut self, line: &[u8]) -> Result<(), CliError> {
        let Some(ids) = &mut self.ids else {
            self.lines += 1;
            self.reader.read(line);
            return Ok(());
        };
        if ids.len() < self.most_ids {
            ids.push(self.reader.read(line).verdict.map(|verdict| verdict.template));
        } else {
            self.all_read.set();
        }
        Ok(())
    }

    fn pause(&mut self) -> Result<(), CliError> {
        self.progress.iter().for_each(Progress::update);
        Ok(())
    }
}

fn print_per_line(args: &TemplatesArgs, ids: &[Option<TemplateId>], templates: &Templates) -> Result<(), CliError> {
    let mut prepared: HashMap<Option<TemplateId>, String> = HashMap::new();
    let mut out = Output::stdout();
    for id in ids {
        let line = prepared.entry(*id).or_insert_with(|| line_of(*id, args.as_emitted, templates));
        out.buffer().extend_from_slice(line.as_bytes());
        out.appended()?;
    }
    if args.as_emitted {
        let merged = |id: &&Option<TemplateId>| id.is_some_and(|id| templates.get(id).is_some_and(|t| t.id != id));
        let count = ids.iter().filter(merged).count();
        let share = 100.0 * count as f64 / ids.len().max(1) as f64;
        eprintln!("{} of {} lines have an id that was merged away later ({share:.2} %)", count, ids.len());
    }
    let gone = |id: &&Option<TemplateId>| id.is_some_and(|id| templates.get(id).is_none());
    let count = ids.iter().filter(gone).count();
    if count > 0 {
        output::warn(format_args!(
            "{count} of {} lines are of templates that had to make room for others, and have {UNKNOWN} for a text",
            ids.len()
        ));
    }
    out.flush()
}

fn line_of(id: Option<TemplateId>, as_emitted: bool, templates: &Templates) -> String {
    let emitted = id.unwrap_or_default();
    match templates.get(emitted) {
        Some(template) => {
            let id = if as_emitted { emitted } else { template.id };
            format!("{id}\t{}\n", printable(&template.text))
        }
        None => format!("{emitted}\t{UNKNOWN}\n"),
    }
}

fn print_templates(args: &TemplatesArgs, templates: &Templates) -> Result<(), CliError> {
    let all = templates.all().iter();
    let mut templates: Vec<Template<'_>> =
        all.map(|t| Template { template_id: t.id.to_string(), template: &t.text, count: t.count }).collect();
    templates.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.template.cmp(b.template)));
    let all = templates.len();
    templates.truncate(args.top.unwrap_or(usize::MAX));
    if args.format == OutputFormat::Json {
        return output::print_json(&templates);
    }
    let mut out = Output::stdout();
    for template in &templates {
        writeln!(out.buffer(), "{:>12}  {}  {}", grouped(template.count), template.template_id, cut(template.template))
            .map_err(CliError::stdout)?;
        out.appended()?;
    }
    out.flush()?;
    if all > templates.len() {
        output::note(&format!("{} (--top shows more)\n", more_templates(all - templates.len())));
    }
    Ok(())
}
