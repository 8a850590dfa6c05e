//! `oddline templates`: which templates a log consists of, and which one each line belongs to.
//!
//! `--per-line` reads the input twice: a template goes on generalising while lines are learned, and the early lines
//! should get the ids that the finished templates give. Ids are kept (8 bytes a line), texts are printed at the end.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use oddline::config::Config;
use oddline::event::TemplateId;
use serde::Serialize;

use super::error::CliError;
use super::feed::{self, Ended, Work};
use super::input::{self, Source};
use super::output::{self, Output, OutputFormat};
use super::progress::Progress;
use super::reader::{LineFormat, Reader, Timing};
use super::report::Templates;
use super::report_text::{cut, grouped};
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
  oddline templates --per-line app.log | paste - app.log";

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
    let config = Config { data_dir: None, ..settings::checked(config)? };
    let mut notes = Vec::new();
    let mut sources = input::sources(&args.files, &mut notes)?;
    notes.iter().for_each(output::warn);
    let stop = Stop::on_signals()?;
    if args.per_line {
        input::spool(&mut sources, &stop)?;
    }
    // What was copied before the end was asked for is still to be answered.
    let first_stop = if stop.is_set() { Stop::default() } else { stop.clone() };
    let mut learning = Learning::new(Reader::new(config, args.input, Timing::None)?);
    let ended = learning.pass(&sources, &first_stop)?;
    if args.per_line {
        learning.ids = Some(Vec::new());
        let all_read = learning.all_read.clone();
        learning.pass(&sources, &all_read)?;
    }
    if stop.is_set() {
        output::warn("interrupted: this is what was read so far");
    }
    let templates = learning.reader.finish()?.templates;
    match &learning.ids {
        Some(ids) => print_per_line(ids, &templates)?,
        None => print_templates(args, &templates)?,
    }
    ended.report()
}

struct Learning {
    reader: Reader,
    progress: Option<Progress>,
    /// Lines of the first pass: the second reads no more of them, though the file may have grown.
    lines: usize,
    ids: Option<Vec<Option<TemplateId>>>,
    all_read: Stop,
}

impl Learning {
    fn new(reader: Reader) -> Self {
        Self { reader, progress: None, lines: 0, ids: None, all_read: Stop::default() }
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
        if ids.len() < self.lines {
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

fn print_per_line(ids: &[Option<TemplateId>], templates: &Templates) -> Result<(), CliError> {
    let mut prepared: HashMap<Option<TemplateId>, String> = HashMap::new();
    let mut out = Output::stdout();
    for id in ids {
        let line = prepared.entry(*id).or_insert_with(|| line_of(*id, templates));
        out.buffer().extend_from_slice(line.as_bytes());
        out.appended()?;
    }
    out.flush()
}

fn line_of(id: Option<TemplateId>, templates: &Templates) -> String {
    match id.and_then(|id| templates.get(id)) {
        Some(template) => format!("{}\t{}\n", template.id, one_line(&template.text)),
        None => format!("{}\t{UNKNOWN}\n", id.unwrap_or_default()),
    }
}

/// A template holds whatever the line held but for line ends; a lone carriage return would break the table.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

fn print_templates(args: &TemplatesArgs, templates: &Templates) -> Result<(), CliError> {
    let all = templates.all().iter();
    let mut templates: Vec<Template<'_>> =
        all.map(|t| Template { template_id: t.id.to_string(), template: &t.text, count: t.count }).collect();
    templates.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.template.cmp(b.template)));
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
    out.flush()
}
