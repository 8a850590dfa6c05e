//! Finding templates in words: what in the history of a data dir is nearest in meaning to a query, when it was seen and how often.
//!
//! Like [`history`] it reads files alone, beside an engine that may be running on them: every template that was seen in the time
//! asked for, in the chunks on disk and in the log that is not a chunk yet. Hashing vectors are made anew each time: a few microseconds a template, less than reading them
//! back would cost, and never of another model or older than the text. A model's vectors are read from the data dir, and what few are missing is made; where many are, or
//! the model cannot be used, hashing vectors answer and [`Found::fallback`] says why: vectors of two models are never compared. Nothing of it stays in memory.
//!
//! [`search`] loads the model anew each time, as a command does that is asked once; [`Engine::search`] loads none: it borrows what the engine's own threads have loaded, and
//! takes the vectors that are not on disk yet from them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::EngineError;
use super::embedders::Embedders;
use super::embedding;
use super::history::{self, History, HistoryEvent, Names, Query};
use super::incidents::{self, Incident, JournalError, Reading};
use super::open::Engine;
use super::stream::Stream;
use super::vectors::{self, Entries, TextKey};
use crate::config::Config;
use crate::embed::hashing::Parts;
use crate::embed::{EmbedError, Embedder, HashingEmbedder};
use crate::event::{TemplateId, Timestamp};
use crate::storage::FileSystem;
use crate::storage::journal::time_text;

/// Incidents that examples are looked for in: the newest.
const MOST_INCIDENTS: usize = 10_000;

/// What is less like the query was found by chance: two and a half standard deviations of the cosine of two unlike texts.
pub const LEAST_LIKE: f32 = 0.125;

/// The same of sentence models: with all-MiniLM-L6-v2, ten queries and 17 templates, what was not meant had .10 in the mean and .31 at the 95th percentile; what
/// was, in other words, .30 to .68 but for one.
pub const LEAST_LIKE_MODEL: f32 = 0.2;

/// Vectors that a search makes of texts that have none: a second or two of a model's time.
const MOST_MADE: usize = 200;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Search {
    /// In words.
    pub words: String,
    /// Seen at this time or later.
    pub from: Timestamp,
    /// Seen before this time.
    pub until: Timestamp,
    /// On this stream alone.
    pub stream: Option<Stream>,
    /// Templates at most.
    pub most: usize,
}

impl Search {
    fn query(&self, templates: Vec<TemplateId>) -> Query {
        Query { from: self.from, until: self.until, templates, stream: self.stream.as_ref().map(|stream| stream.key) }
    }

    /// Incidents among which examples are: of this data dir's host alone, where one journal has many.
    fn reading(&self, config: &Config) -> Reading {
        Reading {
            since: Some(self.from),
            until: Some(self.until),
            host: Some(incidents::host_of(config)),
            streams: self.stream.as_ref().map(|stream| stream.names.clone()).unwrap_or_default(),
            limit: Some(MOST_INCIDENTS),
            ..Reading::default()
        }
    }
}

/// A template that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hit {
    /// How like it is to the query: 1 is the same words.
    pub similarity: f32,
    /// The template, 16 hex digits.
    pub template_id: String,
    /// Its text.
    pub template: String,
    /// Its events in the time asked for.
    pub events: u64,
    /// Of these, anomalies.
    pub anomalies: u64,
    /// Its first event in that time: RFC 3339, UTC; where `first_within_secs` is above 0, the start of the window that it is in.
    pub first_seen: String,
    /// Seconds of that window; 0 where the time is that of the event.
    pub first_within_secs: u64,
    /// As `first_seen`, of the last event.
    pub last_seen: String,
    /// As `first_within_secs`.
    pub last_within_secs: u64,
    /// A line of it: the message of its last incident in that time, where the journal keeps messages. Other lines are not kept.
    pub example: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Found {
    /// The nearest first.
    pub templates: Vec<Hit>,
    /// Templates seen in the time asked for.
    pub templates_searched: usize,
    /// What made the vectors.
    pub model: String,
    /// Why that is not the model that is configured.
    pub fallback: Option<String>,
    /// Events of templates that are not listed, since there were too many in an hour; of all times.
    pub unlisted_events: u64,
    /// What was passed over.
    pub damaged: Vec<String>,
}

/// A search cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// There is no word in the query.
    #[error("expected words to search for, found {found:?}: digits and signs are not searched")]
    NoWords {
        /// The query, cut.
        found: String,
    },
    /// There is no history to search.
    #[error("there is no history without a data dir")]
    NoDataDir,
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] EngineError),
    /// A vector cannot be made.
    #[error(transparent)]
    Embed(#[from] EmbedError),
}

/// The templates of `config.data_dir` that are nearest to the words of `search`.
///
/// # Errors
/// When there is no word in them, or the history cannot be read. A journal that cannot be read costs the examples alone.
pub fn search(config: &Config, fs: &Arc<dyn FileSystem>, search: &Search) -> Result<Found, SearchError> {
    let read_incidents = &|reading: &Reading| incidents::read(config, fs, reading);
    search_from(&Source { config, fs: &**fs, embedders: None, read_incidents }, search)
}

type ReadIncidents<'s> = dyn Fn(&Reading) -> Result<incidents::Found, JournalError> + 's;

/// What a search looks at.
struct Source<'s> {
    config: &'s Config,
    fs: &'s dyn FileSystem,
    /// Of an engine that runs a model.
    embedders: Option<&'s Embedders>,
    read_incidents: &'s ReadIncidents<'s>,
}

fn search_from(source: &Source<'_>, search: &Search) -> Result<Found, SearchError> {
    let Source { config, fs, .. } = *source;
    if !search.words.chars().any(char::is_alphabetic) {
        return Err(SearchError::NoWords { found: search.words.chars().take(200).collect() });
    }
    let dir = config.data_dir.as_deref().ok_or(SearchError::NoDataDir)?;
    let (history, names) = history::totals(fs, dir, config, &search.query(Vec::new()))?;
    let meant = Meant::new(&history, &names);
    let answer = nearest(source, &meant, search)?;
    let nearest = answer.nearest;
    let mut templates: Vec<Hit> =
        nearest.into_iter().filter_map(|found| hit(&history, config.window_secs, found)).collect();
    if config.journal.enabled && !templates.is_empty() {
        match (source.read_incidents)(&search.reading(config)) {
            Ok(found) => add_examples(&mut templates, &found.incidents, &names),
            Err(error) => tracing::warn!(%error, "a search has no examples"),
        }
    }
    Ok(Found {
        templates,
        templates_searched: history.templates.len(),
        model: answer.model,
        fallback: answer.fallback,
        unlisted_events: history.unlisted_events,
        damaged: history.damaged,
    })
}

/// The newest events of the templates found, latest first, at most `most`.
///
/// # Errors
/// When the history cannot be read.
pub fn newest_events(
    config: &Config,
    fs: &Arc<dyn FileSystem>,
    search: &Search,
    found: &Found,
    most: usize,
) -> Result<Vec<HistoryEvent>, SearchError> {
    let dir = config.data_dir.as_deref().ok_or(SearchError::NoDataDir)?;
    let ids = found.templates.iter().filter_map(|hit| u64::from_str_radix(&hit.template_id, 16).ok());
    let templates: Vec<TemplateId> = ids.map(TemplateId).collect();
    if templates.is_empty() {
        return Ok(Vec::new());
    }
    Ok(history::newest_events(&**fs, dir, config, &search.query(templates), most)?)
}

/// The texts of a history, and what makes vectors of them.
struct Meant {
    embedder: HashingEmbedder,
    /// In the order of the history.
    texts: Vec<String>,
}

impl Meant {
    /// Words weigh what they say among all templates known, seen in the time asked for or not.
    fn new(history: &History, names: &Names) -> Self {
        let texts: Vec<String> = history.templates.iter().map(|template| names.plain_of(template)).collect();
        let mut all: HashMap<TemplateId, String> = names.all().collect();
        history.templates.iter().for_each(|template| _ = all.remove(&template.id));
        let embedder = HashingEmbedder::fit(texts.iter().chain(all.values()).map(String::as_str));
        Self { embedder, texts }
    }

    /// Places in the history and likeness, the nearest first.
    fn nearest(&self, words: &str, most: usize) -> Result<Vec<(usize, f32)>, EmbedError> {
        let query = self.embedder.vector(words)?;
        // Words that are in no template, those of another script say, are near some by chance.
        let parts = Parts::of(words);
        let mut vector = vec![0.0; query.len()];
        let mut found = Vec::new();
        for (place, text) in self.texts.iter().enumerate() {
            self.embedder.embed(text, &mut vector)?;
            let similarity = cosine(&vector, &query);
            if similarity >= LEAST_LIKE && parts.are_in(text) {
                found.push((place, similarity));
            }
        }
        Ok(the_nearest(found, most))
    }
}

/// Places in the history and likeness, the nearest first, and whose vectors said so.
struct Answer {
    nearest: Vec<(usize, f32)>,
    model: String,
    fallback: Option<String>,
}

/// By the model that is configured; by hashing when that cannot be.
fn nearest(source: &Source<'_>, meant: &Meant, search: &Search) -> Result<Answer, EmbedError> {
    let fallback = match by_model(source, &meant.texts, search) {
        Ok(Some(answer)) => return Ok(answer),
        Ok(None) => unused(source),
        Err(reason) => Some(reason),
    };
    let nearest = meant.nearest(&search.words, search.most)?;
    Ok(Answer { nearest, model: meant.embedder.model(), fallback })
}

/// That there are vectors of a model, though none is configured.
fn unused(source: &Source<'_>) -> Option<String> {
    let dir = source.config.data_dir.as_deref()?;
    let kept = vectors::read(source.fs, dir).ok().flatten()?;
    Some(format!(
        "the data dir has vectors of {}, and no model is configured (embedder: onnx, embedder_model)",
        kept.model
    ))
}

/// None where no model is configured.
fn by_model(source: &Source<'_>, texts: &[String], search: &Search) -> Result<Option<Answer>, String> {
    if let Some(embedders) = source.embedders {
        let borrowed = embedders.borrow()?;
        return by(borrowed.model(), &borrowed.fresh(), source, texts, search).map(Some);
    }
    let Some(model) = embedding::open(source.config).map_err(|error| error.to_string())? else { return Ok(None) };
    by(&*model, &Entries::new(), source, texts, search).map(Some)
}

/// By a model and the vectors of it that there are, `fresh` ones among them.
fn by(
    embedder: &dyn Embedder,
    fresh: &Entries,
    source: &Source<'_>,
    texts: &[String],
    search: &Search,
) -> Result<Answer, String> {
    let (model, dir) = (embedder.model(), source.config.data_dir.as_deref().unwrap_or(Path::new("")));
    let kept = vectors::read(source.fs, dir).map_err(|error| error.to_string())?;
    let (kept, other) = match kept {
        Some(kept) if kept.are_of(embedder) => (Some(kept), None),
        other => (None, other),
    };
    let mut kept = kept.as_ref().map(vectors::Vectors::by_text).unwrap_or_default();
    kept.extend(fresh.iter().map(|(text, vector)| (*text, &**vector)));
    let missing = texts.iter().filter(|text| !kept.contains_key(&TextKey::of(text))).count();
    if missing > MOST_MADE {
        let other = other.map(|other| format!(", those on disk are of {}", other.model)).unwrap_or_default();
        return Err(format!(
            "{missing} of {} templates have no vector of {model}{other}: a running engine makes them one after the other, oddline reembed all at once",
            texts.len()
        ));
    }
    let query = embedder.vector(&search.words).map_err(|error| error.to_string())?;
    let similarity = |text: &String| match kept.get(&TextKey::of(text)) {
        Some(kept) => Some(cosine(kept, &query)),
        // A text that the model fails on is like nothing; where it fails on all, it failed on the words.
        None => embedder.vector(text).ok().map(|vector| cosine(&vector, &query)),
    };
    let found = texts.iter().enumerate().filter_map(|(place, text)| Some((place, similarity(text)?)));
    let found = found.filter(|(_, similarity)| *similarity >= LEAST_LIKE_MODEL).collect();
    Ok(Answer { nearest: the_nearest(found, search.most), model, fallback: None })
}

/// Of two vectors of unit length.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn the_nearest(mut found: Vec<(usize, f32)>, most: usize) -> Vec<(usize, f32)> {
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    found.truncate(most);
    found
}

fn hit(history: &History, window_secs: u64, (place, similarity): (usize, f32)) -> Option<Hit> {
    let template = history.templates.get(place)?;
    Some(Hit {
        similarity,
        template_id: template.id.to_string(),
        template: template.text.clone(),
        events: template.events,
        anomalies: template.anomalies,
        first_seen: time_text(template.first_seen),
        first_within_secs: if template.first_is_window { window_secs } else { 0 },
        last_seen: time_text(template.last_seen),
        last_within_secs: if template.last_is_window { window_secs } else { 0 },
        example: None,
    })
}

/// The last message of each template.
fn add_examples(hits: &mut [Hit], incidents: &[(String, Incident)], names: &Names) {
    for (_, incident) in incidents {
        let (Some(message), Ok(id)) = (&incident.message, u64::from_str_radix(&incident.template_id, 16)) else {
            continue;
        };
        let id = names.current(TemplateId(id)).to_string();
        for hit in hits.iter_mut().filter(|hit| hit.template_id == id) {
            hit.example = Some(message.clone());
        }
    }
}

impl Engine {
    /// As [`search`], by a model that is loaded already, and with examples from incidents in memory among them. Who scores never waits for it.
    ///
    /// # Errors
    /// As [`search`].
    pub fn search(&self, search: &Search) -> Result<Found, SearchError> {
        let core = self.core();
        let read_incidents = &|reading: &Reading| self.journal(reading);
        let (config, fs) = (&core.config, &*core.environment.fs);
        search_from(&Source { config, fs, embedders: self.embedders(), read_incidents }, search)
    }
}
