//! A history by reason: how often each template alerted, and why.
//!
//! Chunks and the log know that an event was an anomaly, and not why: that stands in the journal, which has silences, too, that are no events at all. So what is
//! counted is incidents, as far back as the journal goes, and those of this data dir's host alone where one journal has several.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::EngineError;
use super::history::{self, Detail, History, Names, Query, Span, TemplateHistory};
use super::incidents::{self, Incident, JournalError, Reading};
use crate::config::Config;
use crate::event::{Reason, TemplateId};
use crate::storage::FileSystem;
use crate::storage::journal::parse_time;

/// Which incidents are counted.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When, and of which templates and stream.
    pub query: Query,
    /// What the journal may call the stream; none: all streams.
    pub streams: Vec<String>,
    /// One of the reasons that were given.
    pub reason: Reason,
}

/// How often each template alerted for a reason.
///
/// # Errors
/// When there is no data dir, or it or its journal cannot be read.
pub fn read(config: &Config, fs: &Arc<dyn FileSystem>, asked: &Asked) -> Result<History, EngineError> {
    let dir = config.data_dir.as_deref().ok_or(JournalError::NoDataDir)?;
    let names = Names::read(&**fs, dir, config)?;
    let wanted = names.all_current(&asked.query.templates);
    let reading = Reading {
        since: Some(asked.query.from),
        until: Some(asked.query.until),
        host: Some(incidents::host_of(config)),
        streams: asked.streams.clone(),
        reason: Some(asked.reason),
        ..Reading::default()
    };
    let found = incidents::read(config, fs, &reading)?;
    let mut by_id = HashMap::new();
    for (_, incident) in &found.incidents {
        let Some(id) = template_of(incident, &names) else { continue };
        if wanted.is_empty() || wanted.contains(&id) {
            count(&mut by_id, id, incident, config);
        }
    }
    let places = (found.damaged_lines > 0).then(|| format!("{} damaged places of the journal", found.damaged_lines));
    let damaged = found.damaged_objects.into_iter().chain(places).collect();
    Ok(History { templates: sorted(by_id, &names), damaged, ..History::default() })
}

fn template_of(incident: &Incident, names: &Names) -> Option<TemplateId> {
    u64::from_str_radix(&incident.template_id, 16).ok().map(|id| names.current(TemplateId(id)))
}

fn count(by_id: &mut HashMap<TemplateId, TemplateHistory>, id: TemplateId, incident: &Incident, config: &Config) {
    let Some(time) = parse_time(&incident.time) else { return };
    history::add(by_id, id, std::iter::once(history::point(time, config, true)), Span::at(time), Detail::Windows);
    if let Some(template) = by_id.get_mut(&id) {
        template.text.clone_from(&incident.template);
    }
}

/// Those that alerted most first, called what they are called now.
fn sorted(by_id: HashMap<TemplateId, TemplateHistory>, names: &Names) -> Vec<TemplateHistory> {
    let mut templates: Vec<TemplateHistory> = by_id.into_values().collect();
    for template in &mut templates {
        if let Some(text) = names.text(template.id) {
            template.text = text;
        }
    }
    templates.sort_unstable_by_key(|template| (Reverse(template.events), template.id));
    templates
}
