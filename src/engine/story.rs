//! The whole story of one event: why it stood out, what its template did before, what came around it, and what was like it.
//!
//! Put together from the journal (the line, reasons, evidence), the history of events (template and stream around it; templates, not lines: the
//! history holds no messages) and the newest checkpoint (texts). Each can be missing: an event that was no incident is in the history alone, one older than
//! the history in the journal alone. Nothing needs a lock: it works beside a process that runs, for what that has written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::feedback::newest_templates;
use super::incidents::{self, JournalError};
use super::notes::{self, Note};
use super::past::{self, PastEvent, Seen};
use super::recall::FARTHEST;
use super::stream;
use crate::config::Config;
use crate::embed::{Embedder, HashingEmbedder};
use crate::event::{EventId, StreamKey, TemplateId, Timestamp};
use crate::storage::FileSystem;
use crate::storage::journal::{Incident, Reading, parse_time, time_text};
use crate::template::TemplateStore;

/// Parts a template's history is told in.
const BUCKETS: i64 = 60;

/// The longest history told, microseconds: a day before the event.
const MOST_BEFORE: i64 = 24 * 3_600_000_000;

/// And an hour after it.
const MOST_AFTER: i64 = 3_600_000_000;

/// Events of the stream told on each side.
const AROUND: usize = 8;

/// No further away than this, microseconds.
const MOST_AROUND: i64 = 600_000_000;

/// Past incidents are looked for this far back, microseconds: 30 days.
const MOST_PAST: i64 = 30 * 24 * 3_600_000_000;

/// Of these the newest so many are looked at, of all hosts.
pub const MOST_LOOKED_AT: usize = 10_000;

/// And the newest so many objects of the journal are opened.
const MOST_OBJECTS: u64 = 1_000;

/// An id has the millisecond of its event: its row is looked for this far around it, microseconds.
const NEAR: i64 = 1_000_000;

/// Past incidents told.
const MOST_SIMILAR: usize = 5;

/// Everything known of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Story {
    /// The event's id.
    pub event_id: String,
    /// The host whose journal has it; none when it is not in the journal.
    pub host: Option<String>,
    /// What the journal has of it; none when it was no incident, or is not written yet.
    pub incident: Option<Incident>,
    /// When it happened.
    pub time: String,
    /// Its template.
    pub template_id: String,
    /// What was said of it.
    pub note: Option<String>,
    /// The template's text: when it happened, or else as it is now.
    pub template: Option<String>,
    /// What its template did before and after.
    pub history: Option<TemplateHistory>,
    /// What came around it on its stream, by time.
    pub around: Vec<Neighbour>,
    /// Past incidents that are like it, the likest first.
    pub similar: Vec<Similar>,
    /// Past incidents that were looked at for these: of all hosts, of the 30 days before it.
    pub looked_at: usize,
    /// When there are more than are looked at, the time of the first that was; what was noted is looked at, however old.
    pub looked_at_since: Option<String>,
}

/// How often a template was seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TemplateHistory {
    /// On the stream that fell silent alone, and not on all.
    pub of_stream: bool,
    /// Begin of the first part.
    pub from: String,
    /// End of the last part.
    pub to: String,
    /// Seconds of a part.
    pub part_secs: f64,
    /// Events in each part.
    pub counts: Vec<u64>,
    /// The part the event is in.
    pub event_part: usize,
}

/// An event beside the one that is told of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Neighbour {
    /// Its id.
    pub event_id: String,
    /// When it happened.
    pub time: String,
    /// Its template.
    pub template_id: String,
    /// The template's text, when the newest checkpoint has it.
    pub template: Option<String>,
    /// It was an anomaly.
    pub is_anomaly: bool,
    /// It is the event itself.
    pub is_this: bool,
}

/// A past incident that is like the one that is told of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Similar {
    /// `template`: of the same template; `meaning`: of one that is near in meaning; `reasons`: odd for the same reasons.
    pub alike_in: &'static str,
    /// How far apart the templates are in meaning: 0 is the same, 1 is nothing in common.
    pub distance: f32,
    /// What was said of it.
    pub note: Option<String>,
    /// Its host.
    pub host: String,
    /// Its id.
    pub event_id: String,
    /// When it happened.
    pub time: String,
    /// Its score.
    pub score: f64,
    /// Its reasons.
    pub reasons: Vec<String>,
    /// Its template.
    pub template: String,
    /// Its message, where that is kept.
    pub message: Option<String>,
}

/// Tells of the event with this id; `None` when neither the journal nor the history has it.
///
/// # Errors
/// When the journal or the history cannot be read.
pub fn tell(config: &Config, fs: &Arc<dyn FileSystem>, event: EventId) -> Result<Option<Story>, JournalError> {
    let dir = config.data_dir.as_deref().ok_or(JournalError::NoDataDir)?;
    let id = event.to_string();
    let near = Timestamp(i64::try_from(event.millis).unwrap_or(i64::MAX).saturating_mul(1_000));
    let found = row(config, fs, &id, near)?;
    let store = newest_templates(&**fs, dir, config);
    let near = found.as_ref().and_then(|(_, incident)| parse_time(&incident.time)).unwrap_or(near);
    let known = found.as_ref().and_then(|(_, incident)| u64::from_str_radix(&incident.template_id, 16).ok());
    let mut past = Past::gather(&**fs, dir, event, near, known.map(TemplateId), store.as_ref())?;
    if let Some((_, incident)) = found.as_ref().filter(|(_, incident)| incident.synthetic) {
        past.gather_silence(&**fs, dir, (event, near), &Silence::of(&**fs, dir, config, incident), store.as_ref())?;
    }
    if found.is_none() && past.event.is_none() {
        return Ok(None);
    }
    let notes = notes::read(&**fs, dir).unwrap_or_else(|error| {
        tracing::warn!(%error, "notes");
        Vec::new()
    });
    let before = match &found {
        Some(_) => incidents_before(config, fs, near)?,
        None => incidents::Found::default(),
    };
    let others = Others { found: &before, notes: &notes, store: store.as_ref() };
    Ok(Some(past.story(id, near, found, &others)))
}

/// The row of an event: of this data dir's host where one journal has many, and an id may be there twice.
fn row(
    config: &Config,
    fs: &Arc<dyn FileSystem>,
    id: &str,
    near: Timestamp,
) -> Result<Option<(String, Incident)>, JournalError> {
    if !config.journal.enabled {
        return Ok(None);
    }
    let (since, until) = (near.0.saturating_sub(NEAR), near.0.saturating_add(NEAR));
    let reading = Reading { since: Some(Timestamp(since)), until: Some(Timestamp(until)), ..Reading::default() };
    let mut rows = incidents::read(config, fs, &reading)?.incidents;
    rows.retain(|(_, row)| row.event_id == id);
    let own = crate::storage::journal::host_part(&incidents::host_of(config));
    let at = rows.iter().position(|(host, _)| *host == own).unwrap_or(0);
    Ok((at < rows.len()).then(|| rows.swap_remove(at)))
}

/// What an incident of this time may be like; what is of the same time among it.
fn incidents_before(
    config: &Config,
    fs: &Arc<dyn FileSystem>,
    time: Timestamp,
) -> Result<incidents::Found, JournalError> {
    let reading = Reading {
        since: Some(Timestamp(time.0.saturating_sub(MOST_PAST))),
        until: Some(Timestamp(time.0.saturating_add(1))),
        limit: Some(MOST_LOOKED_AT),
        most_objects: Some(MOST_OBJECTS),
        ..Reading::default()
    };
    incidents::read(config, fs, &reading)
}

/// The template an id leads to by now.
fn current(store: Option<&TemplateStore>, id: TemplateId) -> TemplateId {
    store.and_then(|store| store.by_id(id)).map_or(id, |template| template.id)
}

fn text(store: Option<&TemplateStore>, id: TemplateId) -> Option<String> {
    store.and_then(|store| store.by_id(id)).map(|template| String::from_utf8_lossy(&template.text).into_owned())
}

/// Where something did not come that is told of.
enum Silence {
    /// On no stream.
    Everywhere,
    On(StreamKey),
    /// On a stream, which cannot be told any more.
    Unknown,
}

impl Silence {
    fn of(fs: &dyn FileSystem, dir: &Path, config: &Config, incident: &Incident) -> Self {
        if incident.stream.is_empty() {
            return Self::Everywhere;
        }
        stream::named(fs, dir, config, &incident.stream).map_or(Self::Unknown, Self::On)
    }
}

/// What the history has around an event.
#[derive(Default)]
struct Past {
    /// What is around it may be of any stream.
    is_of_all_streams: bool,
    /// `seen` is of one stream alone.
    is_seen_of_stream: bool,
    /// The event itself.
    event: Option<PastEvent>,
    template: TemplateId,
    /// Of its template.
    seen: Seen,
    /// Of its stream, by time and id.
    around: BTreeMap<(Timestamp, EventId), PastEvent>,
}

impl Past {
    fn gather(
        fs: &dyn FileSystem,
        dir: &Path,
        event: EventId,
        near: Timestamp,
        template: Option<TemplateId>,
        store: Option<&TemplateStore>,
    ) -> Result<Self, JournalError> {
        let mut past = Self::default();
        past::visit(fs, dir, near, 0, &mut |found| {
            if found.id == event {
                past.event = Some(found);
            }
        })?;
        let Some(template) = template.or(past.event.map(|found| found.template)) else { return Ok(past) };
        past.template = current(store, template);
        let bounds = (Timestamp(near.0.saturating_sub(MOST_BEFORE)), Timestamp(near.0.saturating_add(MOST_AFTER)));
        past.seen = past::seen(fs, dir, bounds, &|id| current(store, id) == past.template)?;
        past::visit(fs, dir, near, MOST_AROUND, &mut |found| past.add(&found, near))?;
        Ok(past)
    }

    /// A silence is no event of the history: what came around it is found by its stream and its time. So is what its template did on that stream, as
    /// far back as the events near it that are read go.
    fn gather_silence(
        &mut self,
        fs: &dyn FileSystem,
        dir: &Path,
        (id, time): (EventId, Timestamp),
        silence: &Silence,
        store: Option<&TemplateStore>,
    ) -> Result<(), JournalError> {
        let stream = match silence {
            Silence::Unknown => return Ok(()),
            Silence::Everywhere => None,
            Silence::On(stream) => Some(*stream),
        };
        let event =
            PastEvent { id, time, template: self.template, stream: stream.unwrap_or_default(), is_anomaly: true };
        self.event = Some(event);
        self.is_of_all_streams = stream.is_none();
        self.around.insert((time, id), event);
        let Some(stream) = stream else {
            return Ok(past::visit(fs, dir, time, MOST_AROUND, &mut |found| self.add(&found, time))?);
        };
        let mut seen = Seen::default();
        past::visit(fs, dir, time, MOST_BEFORE, &mut |found| {
            self.add(&found, time);
            if (-MOST_BEFORE..=MOST_AFTER).contains(&found.time.0.saturating_sub(time.0)) {
                seen.reach(found.time, found.time);
                if found.stream == stream && current(store, found.template) == self.template {
                    seen.points.push((found.time, 1));
                }
            }
        })?;
        (self.seen, self.is_seen_of_stream) = (seen, true);
        Ok(())
    }

    fn add(&mut self, found: &PastEvent, near: Timestamp) {
        let away = found.time.0.saturating_sub(near.0);
        let is_beside = self.event.is_some_and(|event| self.is_of_all_streams || event.stream == found.stream);
        if is_beside && away.abs() <= MOST_AROUND {
            self.around.insert((found.time, found.id), *found);
            self.trim();
        }
    }

    /// No more of the stream than is told.
    fn trim(&mut self) {
        let Some(event) = self.event.filter(|_| self.around.len() > 4 * AROUND) else { return };
        let place = (event.time, event.id);
        let before = self.around.range(..place).count();
        let after = self.around.len() - before;
        (AROUND..before).for_each(|_| _ = self.around.pop_first());
        (AROUND + 1..after).for_each(|_| _ = self.around.pop_last());
    }

    fn history(&self, near: Timestamp) -> Option<TemplateHistory> {
        let (from, to) = self.seen.span?;
        // A window may begin before its first event.
        let first = self.seen.points.iter().map(|(time, _)| time.0).min().unwrap_or(near.0);
        let (from, to) = (from.0.min(near.0).min(first), to.0.max(near.0));
        let part = ((to - from) / BUCKETS + 1).max(1);
        let place = |time: i64| usize::try_from((time - from) / part).unwrap_or(0);
        let mut counts = vec![0u64; place(to) + 1];
        for (time, events) in &self.seen.points {
            if let Some(count) = counts.get_mut(place(time.0)) {
                *count += events;
            }
        }
        Some(TemplateHistory {
            of_stream: self.is_seen_of_stream,
            from: time_text(Timestamp(from)),
            to: time_text(Timestamp(from.saturating_add(part.saturating_mul(counts.len() as i64)))),
            part_secs: part as f64 / 1e6,
            counts,
            event_part: place(near.0),
        })
    }

    fn neighbours(&self, store: Option<&TemplateStore>) -> Vec<Neighbour> {
        let Some(event) = self.event else { return Vec::new() };
        let place = (event.time, event.id);
        let before = self.around.range(..place).rev().take(AROUND);
        let after = self.around.range(place..).take(AROUND + 1);
        let mut all: Vec<&PastEvent> = before.chain(after).map(|(_, found)| found).collect();
        all.sort_by_key(|found| (found.time, found.id));
        let neighbour = |found: &PastEvent| Neighbour {
            event_id: found.id.to_string(),
            time: time_text(found.time),
            template_id: current(store, found.template).to_string(),
            template: text(store, found.template),
            is_anomaly: found.is_anomaly,
            is_this: found.id == event.id,
        };
        all.into_iter().map(neighbour).collect()
    }

    fn story(
        &self,
        event_id: String,
        near: Timestamp,
        found: Option<(String, Incident)>,
        others: &Others<'_>,
    ) -> Story {
        let store = others.store;
        let (host, incident) = found.map_or((None, None), |(host, incident)| (Some(host), Some(incident)));
        let then = incident.as_ref().map(|incident| incident.template.clone()).filter(|text| !text.is_empty());
        let similar = incident.as_ref().map(|incident| others.similar(incident)).unwrap_or_default();
        Story {
            note: others.note(&event_id),
            event_id,
            host,
            time: incident.as_ref().map_or_else(|| time_text(near), |incident| incident.time.clone()),
            template_id: self.template.to_string(),
            template: then.or_else(|| text(store, self.template)),
            history: self.history(near),
            around: self.neighbours(store),
            similar,
            looked_at: others.found.incidents.len(),
            looked_at_since: others.since(),
            incident,
        }
    }
}

/// What an incident may be like.
struct Others<'o> {
    found: &'o incidents::Found,
    notes: &'o [Note],
    store: Option<&'o TemplateStore>,
}

impl Others<'_> {
    /// From when on, when there are more.
    fn since(&self) -> Option<String> {
        let has_more = self.found.left_out + self.found.unread_objects > 0;
        let (_, oldest) = self.found.incidents.first().filter(|_| has_more)?;
        Some(oldest.time.clone())
    }

    fn note(&self, event_id: &str) -> Option<String> {
        self.notes.iter().find(|note| note.event_id == event_id).map(|note| note.note.clone())
    }

    fn template(&self, row: &Incident) -> Option<TemplateId> {
        u64::from_str_radix(&row.template_id, 16).ok().map(|id| current(self.store, TemplateId(id)))
    }

    /// Noted incidents first; then those of the same template, those near in meaning, the nearest first, and those with the same reasons in the same order. Of
    /// each kind the last first.
    fn similar(&self, incident: &Incident) -> Vec<Similar> {
        let mut nearness = Nearness::new(&incident.template);
        let own = self.template(incident);
        let is_before = |row: &Incident| (&row.time, &row.event_id) < (&incident.time, &incident.event_id);
        let noted = self.noted_alone();
        let past = self.found.incidents.iter().chain(&noted).filter(|(_, row)| is_before(row));
        let mut found: Vec<Similar> = Vec::new();
        for (host, row) in past {
            let is_same = own.is_some() && self.template(row) == own;
            let distance = if is_same { 0.0 } else { nearness.distance(&row.template) };
            let alike_in = match () {
                () if is_same => "template",
                () if distance <= FARTHEST => "meaning",
                () if !row.reasons.is_empty() && row.reasons == incident.reasons => "reasons",
                () => continue,
            };
            found.push(Similar {
                alike_in,
                distance,
                note: self.note(&row.event_id),
                host: host.clone(),
                event_id: row.event_id.clone(),
                time: row.time.clone(),
                score: row.score,
                reasons: row.reasons.clone(),
                template: row.template.clone(),
                message: row.message.clone(),
            });
        }
        let kind =
            |similar: &Similar| ["template", "meaning", "reasons"].iter().position(|kind| *kind == similar.alike_in);
        // What has only its reasons in common is no nearer for its words.
        let distance = |similar: &Similar| if similar.alike_in == "reasons" { 0.0 } else { similar.distance };
        found.sort_by(|a, b| {
            let nearer = a.note.is_none().cmp(&b.note.is_none()).then(kind(a).cmp(&kind(b)));
            nearer.then(distance(a).total_cmp(&distance(b))).then(b.time.cmp(&a.time))
        });
        found.truncate(MOST_SIMILAR);
        found
    }

    /// Incidents that only their notes know of by now.
    fn noted_alone(&self) -> Vec<(String, Incident)> {
        let known: HashSet<&str> = self.found.incidents.iter().map(|(_, row)| row.event_id.as_str()).collect();
        let alone = self.notes.iter().filter(|note| !known.contains(note.event_id.as_str()));
        let row = |note: &Note| Incident {
            event_id: note.event_id.clone(),
            time: note.time.clone(),
            score: note.score,
            template_id: note.template_id.clone(),
            template: note.template.clone(),
            ..Incident::default()
        };
        alone.map(|note| (String::new(), row(note))).collect()
    }
}

/// How far templates are from one; each text is looked at once.
struct Nearness {
    embedder: HashingEmbedder,
    own: Vec<f32>,
    known: HashMap<String, f32>,
}

impl Nearness {
    /// Weighted as alerts are when they look for what they are like.
    fn new(own: &str) -> Self {
        let embedder = HashingEmbedder::default();
        Self { own: embedder.vector(own).unwrap_or_default(), embedder, known: HashMap::new() }
    }

    fn distance(&mut self, text: &str) -> f32 {
        if let Some(distance) = self.known.get(text) {
            return *distance;
        }
        let other = self.embedder.vector(text).unwrap_or_default();
        let likeness: f32 = self.own.iter().zip(&other).map(|(a, b)| a * b).sum();
        let distance = (1.0 - likeness).clamp(0.0, 2.0);
        self.known.insert(text.to_owned(), distance);
        distance
    }
}
