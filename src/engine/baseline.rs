//! Baselines: what was learned, made portable.
//!
//! A baseline is exported from a data dir, merged with those of other hosts, and loaded by a host that has learned nothing yet. Its file
//! ([`storage::baseline`](crate::storage::baseline)) has these sections, in this order:
//!
//! | section | bytes |
//! |---|---|
//! | `manifest` | [`Manifest`] as JSON |
//! | `templates` | see [`TemplateStore::portable`] |
//! | `counts` | count `u32`, then of each template, by id: id `u64`, count `u64`, first and last seen `i64` |
//! | `model` | one lane's [`Model::checkpoint`](crate::detect::Model::checkpoint), by the slots of `templates` |
//! | `feedback` | what users said of templates, see [`feedback`]; only when there is any |
//!
//! # What is kept, what is not
//! Templates with ids and aliases, events by template, what the detectors learned ([`joining`](crate::detect::joining)), the calibrations, the hours
//! at which what is usual, what users said (a flag on one host goes over an acceptance on another). Left out is what is of one host or moment:
//! silences, alerts held, streams, history, incidents. Several lanes of one engine become one. What was usual at an hour of the week is so
//! on the host that starts from it, however old the file is.
//!
//! # Guarantees
//! - The same state gives the same bytes: there is no clock in it. Merging gives the same bytes whatever the order of the parts.
//! - A baseline is taken whole or refused: damage, a newer version and another tokeniser (other masks, other limits of a line) are errors, and
//!   nothing is changed by them.
//! - Merging is for hosts that did not see the same events: what two baselines share counts twice. Their origins are named in the manifest, so that it can be
//!   seen ([`Manifest::shared_origins`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::core::model_options;
use super::counts::{self, TemplateCount};
use super::error::EngineError;
use super::feedback::{self, Feedback, FeedbackError};
use super::learned::Learned;
use super::open::{Engine, Environment, template_options};
use super::picture::{LaneState, Picture};
use super::sections;
use super::source::{self, Source};
use crate::config::Config;
use crate::detect::categorical::Worded;
use crate::detect::joining::{Moved, Moves, Scope};
use crate::detect::{Model, StateError, StateReader};
use crate::event::{State, TemplateId, Timestamp};
use crate::storage::wal::{Position, SegmentSequence};
use crate::storage::{FileSystem, StorageError, atomic, baseline as file, checkpoint};
use crate::template::unify::{self, Counts, Part, Unified};
use crate::template::{ImageError, Slot, TemplateOptions, TemplateStore};

const MANIFEST: &str = "manifest";
const TEMPLATES: &str = "templates";
const COUNTS: &str = "counts";
const MODEL: &str = "model";
const FEEDBACK: &str = feedback::SECTION;

/// Origins a baseline names at the most.
const MOST_ORIGINS: usize = 100_000;

/// A host whose events are in a baseline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// Its name, as given when it was exported.
    pub host: String,
    /// Events it had scored.
    pub events: u64,
    /// Anomalies among them.
    pub incidents: u64,
    /// Templates it knew.
    pub templates: u64,
    /// Time of the first event of a template it knew, microseconds since the Unix epoch; none without events.
    pub first_seen_us: Option<i64>,
    /// Time of the last.
    pub last_seen_us: Option<i64>,
}

/// What a baseline is and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of oddline that wrote it.
    pub oddline: String,
    /// How lines become templates: 16 hex digits, equal where masks and limits are.
    pub tokeniser: String,
    /// Templates.
    pub templates: u64,
    /// Events of all origins.
    pub events: u64,
    /// Whether a host that starts from it is ready at once.
    pub is_ready: bool,
    /// The hosts it comes from, by name.
    pub origins: Vec<Origin>,
    /// Templates that users accepted or flagged.
    #[serde(default)]
    pub feedback: u64,
}

impl Manifest {
    /// Origins that are in `other`, too: the same host with the same number of events.
    pub fn shared_origins(&self, other: &Self) -> Vec<String> {
        let theirs: BTreeSet<&Origin> = other.origins.iter().collect();
        self.origins.iter().filter(|origin| theirs.contains(origin)).map(|origin| origin.host.clone()).collect()
    }
}

/// A baseline cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// The file cannot be read or written, is damaged, or of a newer version.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The data dir it is to be made of cannot be opened, or a mask does not compile.
    #[error(transparent)]
    Engine(#[from] Box<EngineError>),
    /// What users said in the data dir cannot be read.
    #[error(transparent)]
    Feedback(#[from] Box<FeedbackError>),
    /// The file is whole and yet lacks a section.
    #[error("baseline {}: section {section} is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The section.
        section: &'static str,
    },
    /// The manifest, or what users said, is not what it should be.
    #[error("baseline {}: section {section}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The section.
        section: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The templates are not what they should be.
    #[error("baseline {}: section templates: {source}", path.display())]
    Templates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ImageError,
    },
    /// What the detectors learned, or the counts, are not what they should be; or another version of oddline wrote them.
    #[error("baseline {}, written by oddline {oddline}: section {section}: {source}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Who wrote it.
        oddline: String,
        /// The section.
        section: &'static str,
        /// What is wrong.
        source: Box<StateError>,
    },
    /// Its templates are of lines read otherwise.
    #[error(
        "{what} reads lines otherwise (tokeniser {found}) than {than} (tokeniser {expected}): masks, disabled_masks, max_line_tokens and \
         max_token_bytes must be the same, and the version of oddline one that masks alike"
    )]
    OtherTokeniser {
        /// What was given.
        what: String,
        /// What it does not go with.
        than: String,
        /// The fingerprint wanted.
        expected: String,
        /// The one found.
        found: String,
    },
    /// This oddline was built without what reads such a URL.
    #[error("baseline {} needs an oddline built with the feature `{feature}`", path.display())]
    NotBuilt {
        /// The URL.
        path: PathBuf,
        /// The feature.
        feature: &'static str,
    },
    /// A URL of no kind that is known.
    #[error("baseline {}: expected a path, file://, s3://, gs://, az://, https:// or http://", path.display())]
    Scheme {
        /// What was given.
        path: PathBuf,
    },
    /// The data dir holds no checkpoint to export.
    #[error("{} holds nothing learned yet: no checkpoint", path.display())]
    NothingLearned {
        /// The data dir.
        path: PathBuf,
    },
    /// The data dir has learned already.
    #[error(
        "{} has learned already: a baseline is for a data dir that is new. Export it, merge both, and import the result into a new one",
        path.display()
    )]
    NotNew {
        /// The data dir.
        path: PathBuf,
    },
}

/// Everything that is portable of what was learned.
#[derive(Debug)]
pub struct Baseline {
    manifest: Manifest,
    store: TemplateStore,
    counts: BTreeMap<TemplateId, TemplateCount>,
    model: Model,
    feedback: Feedback,
}

/// One template of a baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BaselineTemplate {
    /// Its id.
    pub template_id: String,
    /// Its text.
    pub template: String,
    /// Ids that lead to it, too.
    pub aliases: Vec<String>,
    /// Events of it.
    pub count: u64,
    /// The share of all events of templates in the baseline.
    pub share: f64,
}

/// What a host that starts from a baseline starts with.
pub(super) struct Start {
    pub(super) store: TemplateStore,
    pub(super) picture: Picture,
    pub(super) lane: LaneState,
    pub(super) feedback: Feedback,
}

impl Counts for BTreeMap<TemplateId, TemplateCount> {
    fn count(&self, id: TemplateId) -> u64 {
        self.get(&id).map_or(0, |count| count.count)
    }
}

/// How lines become templates under `options`, as the manifest names it.
fn tokeniser(options: &TemplateOptions) -> String {
    format!("{:016x}", unify::fingerprint(&options.masking))
}

/// No template is left out of a baseline for want of room.
fn unbounded(options: TemplateOptions) -> TemplateOptions {
    TemplateOptions { max_bytes: usize::MAX, max_templates: 1_000_000, ..options }
}

fn engine_error(error: EngineError) -> BaselineError {
    BaselineError::Engine(Box::new(error))
}

impl Baseline {
    /// Of what an engine learned, as its lanes last published it; `host` names where that was.
    ///
    /// # Errors
    /// When a mask of its configuration does not compile.
    pub fn of_engine(engine: &Engine, host: &str) -> Result<Self, BaselineError> {
        let core = engine.core();
        let store = core.store();
        let mut picture = core.picture();
        picture.tidy(&store);
        let lanes = picture.compose(&store).0;
        Self::of_parts(&core.config, host, &store, &picture, &lanes, &core.feedback())
    }

    /// Of the newest checkpoint of a data dir that an engine may be running on.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn of_checkpoint(fs: &dyn FileSystem, config: &Config, dir: &Path, host: &str) -> Result<Self, BaselineError> {
        let options = template_options(config).map_err(engine_error)?;
        let newest = checkpoint::read_newest(fs, &dir.join("state"))?.checkpoint;
        let newest = newest.ok_or_else(|| BaselineError::NothingLearned { path: dir.to_owned() })?;
        let restored = sections::restore(&newest, config, options).map_err(|error| {
            let (path, reason) = (dir.join("state"), "the newest checkpoint does not fit the configuration");
            tracing::warn!(%error, "checkpoint");
            error.refused(&path).err().unwrap_or(StorageError::Damaged { path, offset: 0, reason })
        })?;
        let lanes: Vec<Arc<LaneState>> = restored.lanes.into_iter().map(Arc::new).collect();
        let said = feedback::of_file(fs, dir, restored.feedback).map_err(Box::new)?;
        Self::of_parts(config, host, &restored.store, &restored.picture, &lanes, &said)
    }

    fn of_parts(
        config: &Config,
        host: &str,
        store: &TemplateStore,
        picture: &Picture,
        lanes: &[Arc<LaneState>],
        feedback: &Feedback,
    ) -> Result<Self, BaselineError> {
        let options = template_options(config).map_err(engine_error)?;
        let counts: BTreeMap<TemplateId, TemplateCount> =
            picture.templates.iter().map(|(id, count)| (*id, *count)).collect();
        let tokeniser = tokeniser(&options);
        let (unified, places) = unify::unify(unbounded(options), &[Part { store, counts: &counts }]);
        let joined = Joined::new(store, &unified, places.first().map(Vec::as_slice).unwrap_or_default());
        let model = model_of_lanes(config, lanes, &joined, unified.slots());
        let origin = Origin {
            host: host.to_owned(),
            events: picture.events_total,
            incidents: picture.incidents_total,
            templates: unified.len() as u64,
            first_seen_us: counts.values().map(|count| count.first_seen.0).min(),
            last_seen_us: counts.values().map(|count| count.last_seen.0).max(),
        };
        let feedback = Feedback::united(std::iter::once(feedback), &unified);
        Ok(Self::new(unified, counts, model, feedback, tokeniser, vec![origin]))
    }

    fn new(
        store: TemplateStore,
        counts: BTreeMap<TemplateId, TemplateCount>,
        model: Model,
        feedback: Feedback,
        tokeniser: String,
        origins: Vec<Origin>,
    ) -> Self {
        let manifest = Manifest {
            oddline: env!("CARGO_PKG_VERSION").to_owned(),
            tokeniser,
            templates: store.len() as u64,
            events: origins.iter().fold(0, |sum, origin| sum.saturating_add(origin.events)),
            is_ready: model.state() == State::Ready,
            origins,
            feedback: feedback.said().len() as u64,
        };
        Self { manifest, store, counts, model, feedback }
    }

    /// What all of `parts` learned; the order does not matter. `config` says how templates merge and models forget.
    ///
    /// # Errors
    /// When they do not read lines alike. Each is named by the text with it.
    pub fn merge(config: &Config, mut parts: Vec<(String, Self)>) -> Result<Self, BaselineError> {
        let options = template_options(config).map_err(engine_error)?;
        let expected = parts.first().map(|(name, part)| (name.clone(), part.manifest.tokeniser.clone()));
        let (than, expected) = expected.unwrap_or_else(|| (String::new(), tokeniser(&options)));
        for (name, part) in &parts {
            if part.manifest.tokeniser != expected {
                let (what, found) = (name.clone(), part.manifest.tokeniser.clone());
                return Err(BaselineError::OtherTokeniser { what, than, expected, found });
            }
        }
        // Sums round by their order: it is that of the parts' content.
        parts.sort_by_cached_key(|(_, part)| part.order_key());
        let sources: Vec<Part<'_>> =
            parts.iter().map(|(_, part)| Part { store: &part.store, counts: &part.counts }).collect();
        let (store, places) = unify::unify(unbounded(options), &sources);
        let mut model = Model::new(model_options(config));
        let mut counts = BTreeMap::new();
        let mut origins = Vec::new();
        for ((_, part), places) in parts.iter().zip(&places) {
            Joined::new(&part.store, &store, places).join(&mut model, &part.model, Scope::Host);
            add_counts(&mut counts, &part.counts, &store);
            origins.extend(part.manifest.origins.iter().cloned());
        }
        model.settle(store.slots());
        origins.sort();
        let feedback = Feedback::united(parts.iter().map(|(_, part)| &part.feedback), &store);
        Ok(Self::new(store, counts, model, feedback, expected, origins))
    }

    /// Equal only for equal content.
    fn order_key(&self) -> (Vec<Origin>, Vec<u8>) {
        let mut bytes = Vec::new();
        counts::write(self.counts.iter(), &mut bytes);
        self.store.portable(&mut bytes);
        self.model.checkpoint(&mut bytes);
        bytes.extend(self.feedback.to_bytes());
        (self.manifest.origins.clone(), bytes)
    }

    /// What it is and where it comes from.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its templates, the most frequent first.
    pub fn templates(&self) -> Vec<BaselineTemplate> {
        let count = |id: &TemplateId| self.counts.count(*id);
        let all = self.store.templates().map(|template| count(&template.id)).fold(0, u64::saturating_add).max(1);
        let mut templates: Vec<BaselineTemplate> = self
            .store
            .templates()
            .map(|template| BaselineTemplate {
                template_id: template.id.to_string(),
                template: String::from_utf8_lossy(&template.text).into_owned(),
                aliases: template.aliases.iter().map(TemplateId::to_string).collect(),
                count: count(&template.id),
                share: count(&template.id) as f64 / all as f64,
            })
            .collect();
        templates.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.template.cmp(&b.template)));
        templates
    }

    /// The bytes of its file.
    ///
    /// # Errors
    /// When it is larger than the format takes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BaselineError> {
        // Texts, numbers and lists of them cannot fail to be written.
        let manifest = serde_json::to_vec(&self.manifest).unwrap_or_default();
        let (mut templates, mut model) = (Vec::new(), Vec::new());
        self.store.portable(&mut templates);
        self.model.checkpoint(&mut model);
        let mut counts = Vec::new();
        counts::write(self.counts.iter(), &mut counts);
        let said = self.feedback.to_bytes();
        let mut sections: Vec<(&str, &[u8])> =
            vec![(MANIFEST, &manifest), (TEMPLATES, &templates), (COUNTS, &counts), (MODEL, &model)];
        if !self.feedback.is_empty() {
            sections.push((FEEDBACK, &said));
        }
        Ok(file::encode(&sections)?)
    }

    /// Writes its file, replacing what is there; durable when it returns.
    ///
    /// # Errors
    /// When it cannot be written; what was there is unchanged then.
    pub fn write(&self, fs: &dyn FileSystem, path: &Path) -> Result<(), BaselineError> {
        let bytes = self.to_bytes()?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        atomic::write(fs, dir, &name, &bytes)?;
        Ok(())
    }

    /// Reads the bytes of a file; `path` is for errors, `config` says how models score.
    ///
    /// # Errors
    /// When they are no baseline, damaged, of a newer version, or contradict themselves.
    pub fn from_bytes(config: &Config, path: &Path, bytes: &[u8]) -> Result<Self, BaselineError> {
        let sections = file::decode(path, bytes)?;
        let section = |name: &'static str| {
            let found = sections.iter().find(|(own, _)| own == name).map(|(_, bytes)| bytes.as_slice());
            found.ok_or_else(|| BaselineError::Missing { path: path.to_owned(), section: name })
        };
        let json = |section: &'static str| move |source| BaselineError::Json { path: path.to_owned(), section, source };
        let manifest: Manifest = serde_json::from_slice(section(MANIFEST)?).map_err(json(MANIFEST))?;
        // Absent where nothing was said, and from baselines of before it was kept.
        let said = sections.iter().find(|(own, _)| own == FEEDBACK).map_or(b"[]".as_slice(), |(_, bytes)| bytes);
        let feedback = Feedback::from_bytes(said).map_err(json(FEEDBACK))?;
        let state = |section: &'static str| {
            let (path, oddline) = (path.to_owned(), manifest.oddline.clone());
            move |source| BaselineError::State { path, oddline, section, source: Box::new(source) }
        };
        let options = unbounded(template_options(config).map_err(engine_error)?);
        let store = TemplateStore::of_portable(options, section(TEMPLATES)?)
            .map_err(|source| BaselineError::Templates { path: path.to_owned(), source })?;
        let counts = counts::read(&mut StateReader::new(section(COUNTS)?)).map_err(state(COUNTS))?;
        let mut model = Model::new(model_options(config));
        model.restore(section(MODEL)?).map_err(state(MODEL))?;
        if manifest.origins.len() > MOST_ORIGINS {
            let (expected, found) = (format!("at most {MOST_ORIGINS}"), manifest.origins.len().to_string());
            return Err(state(MANIFEST)(StateError::Impossible { what: "origins", expected, found }));
        }
        Ok(Self { manifest, store, counts, model, feedback })
    }

    /// Reads a file, or what a URL names (`source`).
    ///
    /// # Errors
    /// As [`Self::from_bytes`], when it cannot be read, and when this build does not read such a URL.
    pub fn read(fs: &dyn FileSystem, config: &Config, path: &Path) -> Result<Self, BaselineError> {
        let bytes = Source::of(path)?.read(fs)?;
        Self::from_bytes(config, &source::shown(path), &bytes)
    }

    fn read_fitting(fs: &dyn FileSystem, config: &Config, path: &Path) -> Result<Self, BaselineError> {
        let baseline = Self::read(fs, config, path)?;
        baseline.fits(config, &source::shown(path))?;
        Ok(baseline)
    }

    /// Whether a host with this configuration can start from it; `path` is for the error.
    ///
    /// # Errors
    /// When it reads lines otherwise.
    pub fn fits(&self, config: &Config, path: &Path) -> Result<(), BaselineError> {
        let expected = tokeniser(&template_options(config).map_err(engine_error)?);
        if self.manifest.tokeniser == expected {
            return Ok(());
        }
        Err(BaselineError::OtherTokeniser {
            what: format!("baseline {}", path.display()),
            than: "this configuration".to_owned(),
            expected,
            found: self.manifest.tokeniser.clone(),
        })
    }

    /// What a host starts with: as many templates as its configuration has room for, those met least left out.
    pub(super) fn start(&self, config: &Config, options: TemplateOptions, now: Timestamp) -> Start {
        let part = Part { store: &self.store, counts: &self.counts };
        let (store, places) = unify::unify(options, &[part]);
        let joined = Joined::new(&self.store, &store, places.first().map(Vec::as_slice).unwrap_or_default());
        let mut learned = Learned::new(model_options(config), &store);
        joined.join(&mut learned.model, &self.model, Scope::Host);
        learned.model.settle(store.slots());
        let last_seen = self.manifest.origins.iter().filter_map(|origin| origin.last_seen_us).max();
        last_seen.into_iter().for_each(|last| learned.model.move_seasons_on(Timestamp(last), now));
        learned.adopt_slots(&store);
        let mut counts = BTreeMap::new();
        add_counts(&mut counts, &self.counts, &store);
        let mut picture = Picture::default();
        picture.templates.extend(counts);
        picture.events_total = self.manifest.events;
        picture.incidents_total = self.manifest.origins.iter().map(|origin| origin.incidents).sum();
        picture.state = learned.model.state();
        let (position, next_segment) = (Position::default(), SegmentSequence::default());
        let lane = LaneState { number: 0, learned, position, next_segment, deltas_seen: 0 };
        let feedback = Feedback::united(std::iter::once(&self.feedback), &store);
        Start { store, picture, lane, feedback }
    }
}

/// What a data dir starts from besides itself.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) baseline: Option<Baseline>,
    /// Why there is none though one is configured.
    pub(super) failure: Option<String>,
    /// When.
    pub(super) now: Timestamp,
}

/// The baseline a data dir is to start from: that of the configuration, when no checkpoint was ever written there. What the log holds comes after it.
///
/// # Errors
/// When it cannot be had, unless it is elsewhere: see [`source`](super::source).
pub(super) fn for_new(environment: &Environment, config: &Config) -> Result<Given, EngineError> {
    let (fs, now) = (&*environment.fs, environment.clock.now());
    let Some(path) = &config.baseline else { return Ok(Given::default()) };
    let is_elsewhere = Source::of(path)?.is_elsewhere();
    if has_checkpoint(fs, config)? {
        return Ok(Given::default());
    }
    match Baseline::read_fitting(fs, config, path) {
        Ok(baseline) => Ok(Given { baseline: Some(baseline), failure: None, now }),
        Err(error) if is_elsewhere => {
            let failure = format!("{}: {error}", source::shown(path).display());
            tracing::warn!(failure, "there is no baseline to start from: learning begins with nothing");
            Ok(Given { baseline: None, failure: Some(failure), now })
        }
        Err(error) => Err(error.into()),
    }
}

fn has_checkpoint(fs: &dyn FileSystem, config: &Config) -> Result<bool, StorageError> {
    let Some(dir) = &config.data_dir else { return Ok(false) };
    Ok(!checkpoint::list(fs, &dir.join("state"))?.is_empty())
}

/// What the baseline of a configuration is, as a start now would use it; `None` when none is configured, or the data dir has a checkpoint.
///
/// # Errors
/// When it cannot be had or does not fit, wherever it is.
pub fn planned(fs: &dyn FileSystem, config: &Config) -> Result<Option<Manifest>, BaselineError> {
    let Some(path) = &config.baseline else { return Ok(None) };
    if has_checkpoint(fs, config)? {
        return Ok(None);
    }
    Ok(Some(Baseline::read_fitting(fs, config, path)?.manifest))
}

/// Makes a new data dir, `config.data_dir`, of the baseline at `path`, which may be a URL.
///
/// # Errors
/// When the baseline is not accepted, or the data dir has learned already; neither is changed then.
pub fn import(config: &Config, environment: Environment, path: &Path) -> Result<Manifest, BaselineError> {
    let baseline = Baseline::read_fitting(&*environment.fs, config, path)?;
    if let Some(dir) = &config.data_dir
        && !is_new(&*environment.fs, dir)?
    {
        return Err(BaselineError::NotNew { path: dir.clone() });
    }
    let manifest = baseline.manifest.clone();
    let given = Given { baseline: Some(baseline), failure: None, now: environment.clock.now() };
    let engine = Engine::open_given(config, environment, None, given).map_err(engine_error)?;
    engine.close().map_err(engine_error)?;
    Ok(manifest)
}

/// Whether a data dir holds neither a checkpoint nor a log.
fn is_new(fs: &dyn FileSystem, dir: &Path) -> Result<bool, StorageError> {
    let checkpoints = checkpoint::list(fs, &dir.join("state"))?;
    let lanes = crate::storage::wal::lanes(fs, &dir.join("wal"))?;
    Ok(checkpoints.is_empty() && lanes.is_empty())
}

/// What becomes of a store's templates in one of several.
struct Joined {
    moves: Moves,
    /// Their words that are values there, by their own slots.
    worded: Vec<Worded>,
}

impl Joined {
    fn new(store: &TemplateStore, whole: &TemplateStore, places: &[Option<Unified>]) -> Self {
        let moved = |place: &Option<Unified>| {
            place.map(|Unified { slot, keeps_wildcards }| Moved { slot: slot.index(), keeps_wildcards })
        };
        let kept = (0..).map(Slot).zip(places).filter_map(|(slot, place)| Some((slot, (*place)?)));
        let worded = kept.filter(|(_, place)| place.keeps_wildcards).flat_map(|(slot, place)| {
            let index = slot.index();
            let words = store.words_in(slot, whole, place.slot);
            words.map(move |(place, word)| Worded { slot: index, into: index, place: usize::from(place), word })
        });
        Self { worded: worded.collect(), moves: Moves::new(places.iter().map(moved).collect()) }
    }

    fn join(&self, model: &mut Model, theirs: &Model, scope: Scope) {
        if self.worded.is_empty() {
            return model.join(theirs, &self.moves, scope);
        }
        let mut theirs = theirs.clone();
        self.worded.iter().for_each(|worded| theirs.worded(*worded));
        model.join(&theirs, &self.moves, scope);
    }
}

/// The lane that has seen most, and of the others what lanes do not exchange.
fn model_of_lanes(config: &Config, lanes: &[Arc<LaneState>], joined: &Joined, slots: usize) -> Model {
    let mut model = Model::new(model_options(config));
    let most = lanes.iter().max_by_key(|lane| (lane.learned.model.events(), std::cmp::Reverse(lane.number)));
    if let Some(most) = most {
        joined.join(&mut model, &most.learned.model, Scope::Host);
        for lane in lanes.iter().filter(|lane| lane.number != most.number) {
            joined.join(&mut model, &lane.learned.model, Scope::Lane);
        }
    }
    model.settle(slots);
    model
}

/// Adds counts, those of templates that are one now together.
fn add_counts(
    to: &mut BTreeMap<TemplateId, TemplateCount>,
    from: &BTreeMap<TemplateId, TemplateCount>,
    store: &TemplateStore,
) {
    for (id, count) in from {
        let Some(template) = store.by_id(*id) else { continue };
        to.entry(template.id).or_insert(TemplateCount { count: 0, ..*count }).add(count);
    }
}

/// What two baselines have and have not in common.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Templates of the first alone, the most frequent first.
    pub only_in_first: Vec<BaselineTemplate>,
    /// Templates of the second alone.
    pub only_in_second: Vec<BaselineTemplate>,
    /// Templates of both, by how much their shares differ.
    pub in_both: Vec<SharedTemplate>,
}

/// A template of two baselines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SharedTemplate {
    /// Its id in the two together.
    pub template_id: String,
    /// Its text in the two together.
    pub template: String,
    /// Events in the first.
    pub first_count: u64,
    /// Events in the second.
    pub second_count: u64,
    /// Share of the first's events.
    pub first_share: f64,
    /// Share of the second's events.
    pub second_share: f64,
}

impl SharedTemplate {
    /// How many times as frequent it is in the second; at least one event is taken as seen in each.
    pub fn ratio(&self) -> f64 {
        let share = |share: f64, count: u64| if count == 0 { f64::MIN_POSITIVE } else { share };
        share(self.second_share, self.second_count) / share(self.first_share, self.first_count)
    }

    fn distance(&self) -> f64 {
        self.ratio().ln().abs()
    }
}

/// What `first` and `second` have and have not in common: templates compared by structure, as merging would unify them.
///
/// # Errors
/// When they do not read lines alike.
pub fn diff(config: &Config, first: &Baseline, second: &Baseline) -> Result<Difference, BaselineError> {
    if first.manifest.tokeniser != second.manifest.tokeniser {
        return Err(BaselineError::OtherTokeniser {
            what: "the second baseline".to_owned(),
            than: "the first".to_owned(),
            expected: first.manifest.tokeniser.clone(),
            found: second.manifest.tokeniser.clone(),
        });
    }
    let options = unbounded(template_options(config).map_err(engine_error)?);
    let parts = [first, second].map(|part| Part { store: &part.store, counts: &part.counts });
    let (store, _) = unify::unify(options, &parts);
    let sides = [first, second].map(|part| side(part, &store));
    let shown = |id: &TemplateId| {
        let text = store.by_id(*id).map(|template| String::from_utf8_lossy(&template.text).into_owned());
        (id.to_string(), text.unwrap_or_default())
    };
    let mut in_both: Vec<SharedTemplate> = Vec::new();
    let [(a, a_total), (b, b_total)] = &sides;
    for (id, first_count) in a {
        let Some(second_count) = b.get(id) else { continue };
        let (template_id, template) = shown(id);
        let (first_share, second_share) = (share(*first_count, *a_total), share(*second_count, *b_total));
        let (first_count, second_count) = (*first_count, *second_count);
        in_both.push(SharedTemplate { template_id, template, first_count, second_count, first_share, second_share });
    }
    in_both.sort_by(|a, b| b.distance().total_cmp(&a.distance()).then_with(|| a.template.cmp(&b.template)));
    let only = |own: &BTreeMap<TemplateId, u64>, other: &BTreeMap<TemplateId, u64>, total: u64| {
        let mut only: Vec<BaselineTemplate> = Vec::new();
        for (id, count) in own.iter().filter(|(id, _)| !other.contains_key(id)) {
            let (template_id, template) = shown(id);
            let (aliases, share) = (Vec::new(), share(*count, total));
            only.push(BaselineTemplate { template_id, template, aliases, count: *count, share });
        }
        only.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.template.cmp(&b.template)));
        only
    };
    Ok(Difference { only_in_first: only(a, b, *a_total), only_in_second: only(b, a, *b_total), in_both })
}

/// Events of a part by the templates of `store`, and all of them.
fn side(part: &Baseline, store: &TemplateStore) -> (BTreeMap<TemplateId, u64>, u64) {
    let mut counts: BTreeMap<TemplateId, u64> = BTreeMap::new();
    for template in part.store.templates() {
        let Some(now) = store.by_id(template.id) else { continue };
        *counts.entry(now.id).or_default() += part.counts.count(template.id);
    }
    let total = counts.values().sum();
    (counts, total)
}

fn share(count: u64, total: u64) -> f64 {
    count as f64 / total.max(1) as f64
}
