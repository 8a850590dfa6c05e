//! Reading the history of a data dir: how often each template was seen over time, and the newest events.
//!
//! It is read from files alone, beside an engine that may be running on them: L2, L1, and the segments of the log that are not L1 yet. What an engine has
//! not handed to its storage thread yet is not there. Counts come from summaries, so that a gigabyte of history is answered by reading a few
//! hundred kilobytes; events are decoded only when asked for, newest first.
//!
//! Templates that were merged into others since are shown as those, as far as the newest checkpoint knows them. What is damaged is passed over and told
//! in [`History::damaged`].

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::Path;

use serde::Serialize;

use super::lane::FLAG_ANOMALY;
use super::open::template_options;
use super::whole::{Segments, whole};
use super::{EngineError, sections};
use crate::config::Config;
use crate::event::{EventId, StreamKey, TemplateId, Timestamp};
use crate::storage::chunk::summary::{GroupPlace, Summary, TemplateCounts};
use crate::storage::chunk::{ChunkReader, Point};
use crate::storage::wal::{self, Record, WalEvent};
use crate::storage::{FileSystem, StorageError, checkpoint, chunk_dir};
use crate::template::{StoredTemplate, TemplateStore};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Query {
    /// Events at this time or later.
    pub from: Timestamp,
    /// Events before this time.
    pub until: Timestamp,
    /// Of these templates alone; of all when there is none.
    pub templates: Vec<TemplateId>,
    /// Of this stream alone. Then every event is looked at: summaries tell no streams apart, and events dropped at `max_disk_bytes` are not counted.
    pub stream: Option<StreamKey>,
}

impl Query {
    /// Everything there is.
    pub const ALL: Self =
        Self { from: Timestamp(i64::MIN), until: Timestamp(i64::MAX), templates: Vec::new(), stream: None };

    fn takes(&self, time: Timestamp) -> bool {
        self.from <= time && time < self.until
    }

    fn takes_event(&self, event: &WalEvent) -> bool {
        self.takes(event.timestamp) && self.stream.is_none_or(|stream| stream == event.stream)
    }

    fn takes_place(&self, place: &GroupPlace) -> bool {
        place.max_time >= self.from && place.min_time < self.until
    }
}

/// One template's part of a [`History`].
#[derive(Clone, Debug, Default)]
pub struct TemplateHistory {
    /// The template.
    pub id: TemplateId,
    /// Its text, variables as `<*>`; empty where nothing knows it any more.
    pub text: String,
    /// Its events.
    pub events: u64,
    /// Of these, anomalies.
    pub anomalies: u64,
    /// Its first event; where [`first_is_window`](Self::first_is_window), the start of the window that it is in.
    pub first_seen: Timestamp,
    /// The same for the last.
    pub last_seen: Timestamp,
    /// A file of the history holds events of before [`Query::from`], too, and knows its first and its windows alone.
    pub first_is_window: bool,
    /// The same for [`Query::until`].
    pub last_is_window: bool,
    /// Counts by window, ascending; windows it was not seen in are left out. Empty where only totals were asked for.
    pub points: Vec<(Timestamp, u64)>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Templates, those with the most events first.
    pub templates: Vec<TemplateHistory>,
    /// Events of templates that are not listed, since there were too many in an hour; of all times.
    pub unlisted_events: u64,
    /// Files and segments read.
    pub files: u64,
    /// What was passed over.
    pub damaged: Vec<String>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistoryEvent {
    /// Its id, as its verdict had it.
    pub event_id: String,
    /// When it happened, microseconds since the Unix epoch.
    pub time: i64,
    /// Its template, 16 hex digits.
    pub template_id: String,
    /// What the detectors made of it, in nats.
    pub statistic: f32,
    /// It was an anomaly.
    pub is_anomaly: bool,
    /// Its stream's key.
    pub stream: u64,
}

/// How often each template was seen.
///
/// # Errors
/// When the data dir cannot be read, and on files of a newer version.
pub fn read(fs: &dyn FileSystem, data_dir: &Path, config: &Config, query: &Query) -> Result<History, EngineError> {
    Ok(whole(fs, data_dir, || look(fs, data_dir, config, query, Detail::Windows))?.0)
}

/// The same without counts by window, and what templates are called: of a busy host a week of windows is a gigabyte, and of totals kilobytes.
pub(super) fn totals(
    fs: &dyn FileSystem,
    data_dir: &Path,
    config: &Config,
    query: &Query,
) -> Result<(History, Names), EngineError> {
    whole(fs, data_dir, || look(fs, data_dir, config, query, Detail::Totals))
}

/// What of the counts is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Those by window, too.
    Windows,
    /// Totals and times.
    Totals,
}

fn look(
    fs: &dyn FileSystem,
    data_dir: &Path,
    config: &Config,
    query: &Query,
    detail: Detail,
) -> Result<((History, Names), Segments), EngineError> {
    let names = Names::read(fs, data_dir, config)?;
    let wanted = names.all_current(&query.templates);
    let mut found = Found { names, wanted, query, config, detail, history: History::default(), by_id: HashMap::new() };
    let mut damaged = Vec::new();
    let sealed = visit_files(fs, data_dir, &mut damaged, &mut |reader| {
        found.file(fs, reader);
        Ok(())
    })?;
    found.history.damaged.extend(damaged);
    let met = visit_log_records(fs, data_dir, sealed, &mut |record| match record {
        Logged::Event(_, event) => found.event(&event),
        Logged::Template(id, text) => found.names.note(id, text),
    })?;
    Ok((found.finish(), met))
}

/// The newest events, latest first, at most `most`.
///
/// # Errors
/// As [`read`].
pub fn newest_events(
    fs: &dyn FileSystem,
    data_dir: &Path,
    config: &Config,
    query: &Query,
    most: usize,
) -> Result<Vec<HistoryEvent>, EngineError> {
    whole(fs, data_dir, || look_at_events(fs, data_dir, config, query, most))
}

fn look_at_events(
    fs: &dyn FileSystem,
    data_dir: &Path,
    config: &Config,
    query: &Query,
    most: usize,
) -> Result<(Vec<HistoryEvent>, Segments), EngineError> {
    let names = Names::read(fs, data_dir, config)?;
    let wanted = names.all_current(&query.templates);
    let is_wanted = |id: TemplateId| wanted.is_empty() || wanted.contains(&names.current(id));
    let mut newest = Newest { most, heap: BinaryHeap::new() };
    let mut take = |id: EventId, event: &WalEvent| {
        if query.takes_event(event) && is_wanted(event.template) {
            newest.offer(id, event);
        }
        newest.oldest()
    };
    let mut damaged = Vec::new();
    let mut readers = Vec::new();
    let sealed = visit_files(fs, data_dir, &mut damaged, &mut |reader| {
        let is_thin = reader.summary().unlisted_events > 0;
        if is_thin || reader.summary().templates.iter().any(|counts| is_wanted(counts.id)) {
            readers.push(reader.without_counts());
        }
        Ok(())
    })?;
    let mut oldest = None;
    let met = visit_log(fs, data_dir, sealed, &mut |id, event| oldest = take(id, &event))?;
    let mut places: Vec<(&ChunkReader, &GroupPlace)> = readers
        .iter()
        .flat_map(|reader| reader.summary().groups.iter().map(move |place| (reader, place)))
        .filter(|(_, place)| query.takes_place(place))
        .collect();
    places.sort_unstable_by_key(|(_, place)| Reverse(place.max_time));
    for (reader, place) in places {
        // The next places are older still.
        if oldest.is_some_and(|oldest| place.max_time < oldest) {
            break;
        }
        let Ok(group) = reader.group(fs, place) else { continue };
        for (number, event) in (group.id.first_event..).zip(&group.events) {
            oldest = take(id_of(group.id.lane, group.id.run, number, event.timestamp), event);
        }
    }
    Ok((newest.sorted(&names), met))
}

fn id_of(lane: u8, run: u32, number: u64, time: Timestamp) -> EventId {
    EventId { millis: time.unsigned_millis(), run, lane, number }
}

/// Shows every file of the history; returns the segments of the log they stand for.
pub(super) fn visit_files(
    fs: &dyn FileSystem,
    data_dir: &Path,
    damaged: &mut Vec<String>,
    visitor: &mut dyn FnMut(&ChunkReader) -> Result<(), StorageError>,
) -> Result<Segments, StorageError> {
    let chunks = data_dir.join("chunks");
    let mut sealed = Segments::new();
    for hour in chunk_dir::hours(fs, &chunks)? {
        let files = chunk_dir::open_hour(fs, &chunks, hour)?;
        damaged.extend(files.damaged.iter().map(ToString::to_string));
        for reader in &files.readers {
            sealed.extend(reader.summary().sources.iter().copied());
            visitor(reader)?;
        }
    }
    Ok(sealed)
}

/// What the log has that matters to the history.
pub(super) enum Logged<'a> {
    /// A template was found.
    Template(TemplateId, &'a [u8]),
    /// An event happened.
    Event(EventId, WalEvent),
}

/// Shows every event of the log that is not in a file of the history; returns the segments that were met, here or there.
pub(super) fn visit_log(
    fs: &dyn FileSystem,
    data_dir: &Path,
    sealed: Segments,
    visitor: &mut dyn FnMut(EventId, WalEvent),
) -> Result<Segments, StorageError> {
    visit_log_records(fs, data_dir, sealed, &mut |record| {
        if let Logged::Event(id, event) = record {
            visitor(id, event);
        }
    })
}

/// The same, templates among them.
fn visit_log_records(
    fs: &dyn FileSystem,
    data_dir: &Path,
    sealed: Segments,
    visitor: &mut dyn FnMut(Logged<'_>),
) -> Result<Segments, StorageError> {
    let mut met = sealed;
    let wal_dir = data_dir.join("wal");
    for lane in wal::lanes(fs, &wal_dir)? {
        for sequence in wal::segments(fs, &wal_dir, lane)? {
            if met.contains(&(lane, sequence.0)) {
                continue;
            }
            let read = wal::read_segment(fs, &wal_dir, lane, sequence, &mut |at, record| match record {
                Record::Event(event) => {
                    let id = id_of(lane, at.position.run, at.event_number, event.timestamp);
                    visitor(Logged::Event(id, event));
                }
                Record::Template { id, text, .. } => visitor(Logged::Template(id, text)),
                Record::Decision { .. } => {}
            });
            match read {
                // It became history meanwhile, or went.
                Err(StorageError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                read => {
                    read?;
                    met.insert((lane, sequence.0));
                }
            }
        }
    }
    Ok(met)
}

/// What templates are called: in the newest checkpoint, and in the log since.
pub(super) struct Names {
    store: Option<TemplateStore>,
    logged: HashMap<TemplateId, Vec<u8>>,
}

impl Names {
    pub(super) fn read(fs: &dyn FileSystem, data_dir: &Path, config: &Config) -> Result<Self, EngineError> {
        let newest = checkpoint::read_newest(fs, &data_dir.join("state"))?.checkpoint;
        let options = template_options(config)?;
        let section = newest.as_ref().and_then(|newest| newest.section(sections::TEMPLATES));
        let store = section.and_then(|section| TemplateStore::restore(options, section).ok());
        Ok(Self { store, logged: HashMap::new() })
    }

    fn template(&self, id: TemplateId) -> Option<&StoredTemplate> {
        self.store.as_ref()?.by_id(id)
    }

    pub(super) fn current(&self, id: TemplateId) -> TemplateId {
        self.template(id).map_or(id, |template| template.id)
    }

    pub(super) fn all_current(&self, ids: &[TemplateId]) -> Vec<TemplateId> {
        ids.iter().map(|id| self.current(*id)).collect()
    }

    /// The checkpoint may have made a template more general since.
    fn note(&mut self, id: TemplateId, text: &[u8]) {
        if self.template(id).is_none() {
            self.logged.insert(id, text.to_vec());
        }
    }

    /// The text as it is shown.
    pub(super) fn text(&self, id: TemplateId) -> Option<String> {
        match (self.store.as_ref(), self.template(id)) {
            (Some(store), Some(template)) => Some(store.shown(template)),
            _ => self.plain(id),
        }
    }

    /// The text with every variable `<*>`.
    pub(super) fn plain(&self, id: TemplateId) -> Option<String> {
        let bytes = self.template(id).map(|template| &*template.text).or(self.logged.get(&id).map(Vec::as_slice));
        bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The same of a template of the history, as it was there when nobody knows it any more.
    pub(super) fn plain_of(&self, template: &TemplateHistory) -> String {
        self.plain(template.id).unwrap_or_else(|| template.text.clone())
    }

    /// The texts of all templates of the checkpoint, every variable `<*>`.
    pub(super) fn all(&self) -> impl Iterator<Item = (TemplateId, String)> + '_ {
        let templates = self.store.iter().flat_map(TemplateStore::templates);
        templates.map(|template| (template.id, String::from_utf8_lossy(&template.text).into_owned()))
    }
}

struct Found<'q> {
    names: Names,
    /// Templates that are wanted, as they are called by now.
    wanted: Vec<TemplateId>,
    query: &'q Query,
    config: &'q Config,
    detail: Detail,
    history: History,
    by_id: HashMap<TemplateId, TemplateHistory>,
}

/// When a template was first and last seen, and whether these are but starts of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    first: (Timestamp, bool),
    last: (Timestamp, bool),
}

impl Span {
    /// Of one event.
    pub(super) const fn at(time: Timestamp) -> Self {
        Self { first: (time, false), last: (time, false) }
    }

    /// Of what is asked for of a template's counts; `None` when that is nothing.
    fn of(summary: &Summary, counts: &TemplateCounts, query: &Query) -> Option<Self> {
        let starts = || summary.points(counts).map(|point| point.start);
        let (first, last) = (starts().next()?, starts().next_back()?);
        let first_taken = starts().find(|start| query.takes(*start))?;
        let last_taken = starts().rfind(|start| query.takes(*start))?;
        let or_window = |is_there, exact, window| if is_there { (exact, false) } else { (window, true) };
        Some(Self {
            first: or_window(first == first_taken, counts.first, first_taken),
            // The last window may go on beyond the time asked for.
            last: or_window(last == last_taken && counts.last < query.until, counts.last, last_taken),
        })
    }
}

/// Microseconds of a window.
fn window(config: &Config) -> i64 {
    i64::try_from(config.window_secs).unwrap_or(i64::MAX).saturating_mul(1_000_000).max(1)
}

/// One event.
pub(super) fn point(time: Timestamp, config: &Config, is_anomaly: bool) -> Point {
    let window = window(config);
    let start = time.0.div_euclid(window).saturating_mul(window);
    Point { start: Timestamp(start), events: 1, marked: u64::from(is_anomaly) }
}

pub(super) fn add(
    by_id: &mut HashMap<TemplateId, TemplateHistory>,
    id: TemplateId,
    points: impl Iterator<Item = Point>,
    Span { first, last }: Span,
    detail: Detail,
) {
    let new = || TemplateHistory { id, first_seen: first.0, last_seen: last.0, ..Default::default() };
    let entry = by_id.entry(id).or_insert_with(new);
    entry.first_seen = entry.first_seen.min(first.0);
    entry.last_seen = entry.last_seen.max(last.0);
    entry.first_is_window |= first.1;
    entry.last_is_window |= last.1;
    for point in points {
        entry.events += point.events;
        entry.anomalies += point.marked;
        if detail == Detail::Totals {
            continue;
        }
        match entry.points.last_mut() {
            Some((start, events)) if *start == point.start => *events += point.events,
            _ => entry.points.push((point.start, point.events)),
        }
    }
}

fn note_text(by_id: &mut HashMap<TemplateId, TemplateHistory>, id: TemplateId, text: &[u8]) {
    if let Some(entry) = by_id.get_mut(&id)
        && !text.is_empty()
    {
        entry.text = String::from_utf8_lossy(text).into_owned();
    }
}

impl Found<'_> {
    fn is_wanted(&self, id: TemplateId) -> bool {
        self.wanted.is_empty() || self.wanted.contains(&id)
    }

    fn file(&mut self, fs: &dyn FileSystem, reader: &ChunkReader) {
        let summary = reader.summary();
        self.history.files += 1;
        self.history.unlisted_events += summary.unlisted_events;
        self.by_id.reserve(summary.templates.len());
        if self.query.stream.is_some() {
            self.events_of_file(fs, reader);
        }
        for counts in &summary.templates {
            let id = self.names.current(counts.id);
            if self.is_wanted(id) {
                if self.query.stream.is_none()
                    && let Some(span) = Span::of(summary, counts, self.query)
                {
                    let points = summary.points(counts).filter(|point| self.query.takes(point.start));
                    add(&mut self.by_id, id, points, span, self.detail);
                }
                note_text(&mut self.by_id, id, &counts.text);
            }
        }
    }

    fn events_of_file(&mut self, fs: &dyn FileSystem, reader: &ChunkReader) {
        for place in reader.summary().groups.iter().filter(|place| self.query.takes_place(place)) {
            match reader.group(fs, place) {
                Ok(group) => group.events.iter().for_each(|event| self.event(event)),
                Err(error) => self.history.damaged.push(error.to_string()),
            }
        }
    }

    fn event(&mut self, event: &WalEvent) {
        let id = self.names.current(event.template);
        if self.is_wanted(id) && self.query.takes_event(event) {
            let point = point(event.timestamp, self.config, event.flags & FLAG_ANOMALY != 0);
            add(&mut self.by_id, id, std::iter::once(point), Span::at(event.timestamp), self.detail);
        }
    }

    fn finish(mut self) -> (History, Names) {
        let mut templates: Vec<TemplateHistory> = self.by_id.into_values().collect();
        for template in &mut templates {
            template.points.sort_unstable();
            if let Some(text) = self.names.text(template.id) {
                template.text = text;
            }
        }
        templates.sort_unstable_by_key(|template| (Reverse(template.events), template.id));
        self.history.templates = templates;
        (self.history, self.names)
    }
}

/// The latest of the events offered.
struct Newest {
    most: usize,
    heap: BinaryHeap<Reverse<Kept>>,
}

#[derive(Clone, Copy)]
struct Kept {
    id: EventId,
    event: WalEvent,
}

impl Kept {
    const fn key(&self) -> (Timestamp, u32, u8, u64) {
        (self.event.timestamp, self.id.run, self.id.lane, self.id.number)
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Kept {}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Newest {
    fn offer(&mut self, id: EventId, event: &WalEvent) {
        if self.oldest().is_some_and(|oldest| event.timestamp < oldest) {
            return;
        }
        self.heap.push(Reverse(Kept { id, event: *event }));
        if self.heap.len() > self.most {
            self.heap.pop();
        }
    }

    /// Time before which no event is taken; `None` while there is room.
    fn oldest(&self) -> Option<Timestamp> {
        if self.heap.len() < self.most {
            return None;
        }
        Some(self.heap.peek().map_or(Timestamp(i64::MAX), |Reverse(kept)| kept.event.timestamp))
    }

    fn sorted(self, names: &Names) -> Vec<HistoryEvent> {
        let shown = |Reverse(Kept { id, event }): Reverse<Kept>| HistoryEvent {
            event_id: id.to_string(),
            time: event.timestamp.0,
            template_id: names.current(event.template).to_string(),
            statistic: event.statistic,
            is_anomaly: event.flags & FLAG_ANOMALY != 0,
            stream: event.stream.0,
        };
        self.heap.into_sorted_vec().into_iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Environment};
    use crate::event::Observation;

    #[test]
    fn totals_are_those_of_the_windows_and_hold_none() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: Some(dir.path().to_owned()), ..Config::default() };
        for run in 0..2 {
            // What the first run saw is in a file of the history, what the second saw in the log.
            let engine = Engine::open(&config, Environment::system()).unwrap();
            let mut lane = engine.lane().unwrap();
            for n in 0..400 {
                let text = ["disk full", "link of port seven down"][n as usize % 2];
                let time = Timestamp(1_767_225_600_000_000 + (run * 400 + n) * 7_000_000);
                lane.observe(&Observation::new(text.as_bytes(), time));
            }
            lane.close().unwrap();
            engine.close().unwrap();
        }
        let fs = crate::storage::RealFs;
        let by_window = read(&fs, dir.path(), &config, &Query::ALL).unwrap();
        let (totals, _) = totals(&fs, dir.path(), &config, &Query::ALL).unwrap();
        assert!(by_window.files > 0 && by_window.templates.iter().all(|template| template.points.len() > 300));
        let figures = |history: &History| -> Vec<_> {
            let of = |found: &TemplateHistory| {
                (found.id, found.text.clone(), found.events, found.anomalies, found.first_seen, found.last_seen)
            };
            history.templates.iter().map(of).collect()
        };
        assert_eq!(figures(&totals), figures(&by_window));
        let begun = Timestamp(1_767_225_600_000_000);
        let times = |found: &History| -> Vec<_> {
            let of = |found: &TemplateHistory| {
                let offset = |time: Timestamp| (time.0 - begun.0) / 1_000_000;
                ((offset(found.first_seen), found.first_is_window), (offset(found.last_seen), found.last_is_window))
            };
            let mut times: Vec<_> = found.templates.iter().map(of).collect();
            times.sort_unstable();
            times
        };
        let whole = [((0, false), (798 * 7, false)), ((7, false), (799 * 7, false))];
        assert_eq!(times(&by_window), whole, "to the event, in files and in the log");
        // Of one template there are events at 700, 714 … 1,400, of the other at 707, 721 … 1,407.
        let cut =
            Query { from: Timestamp(begun.0 + 703_000_000), until: Timestamp(begun.0 + 1_405_000_000), ..Query::ALL };
        let cut = read(&fs, dir.path(), &config, &cut).unwrap();
        let windows = [((710, true), (1_400, true)), ((720, true), (1_400, true))];
        assert_eq!(times(&cut), windows, "a file that is cut knows its windows alone");
        assert!(totals.templates.iter().all(|template| template.points.capacity() == 0));
    }
}
