//! What the user said of templates: "this is normal" and "tell me every time".
//!
//! `<data dir>/feedback/feedback` is a file of the checkpoints' container ([`checkpoint`]) with one section, `feedback`: a JSON list of
//! [`Said`]. It is replaced as a whole ([`atomic`]) by who holds the lock of its directory, which is not that of the data dir: an engine may
//! be running. An engine reads it when it opens, and again every ten seconds and at each checkpoint, and keeps a copy in its checkpoints,
//! which counts when the file is not there.
//!
//! Limits: 10,000 templates. Rules of the configuration go over feedback.
//!
//! What is said of a silence is said of the template's silences alone, on the stream it was on; of a silence that was on no stream apart, of those
//! everywhere. Of a silence it goes over what is said of the template. A baseline leaves it out: what streams there are is a host's own.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::EngineError;
use super::incidents::{self, Incident, JournalError, Reading};
use super::likeness::Flagged;
use super::open::template_options;
use super::sections;
use crate::config::Config;
use crate::event::{EventId, Ruling, TemplateId, Timestamp};
use crate::storage::chunk::Group;
use crate::storage::chunk::summary::GroupPlace;
use crate::storage::wal::{self, Record};
use crate::storage::{DataDirLock, FileSystem, StorageError, atomic, checkpoint, chunk_dir};
use crate::template::{StoredTemplate, TemplateStore};

/// Templates at most.
pub const MOST: usize = 10_000;

const DIR: &str = "feedback";
const FILE: &str = "feedback";

/// Name of the section that holds it, in its own file and in checkpoints.
pub(super) const SECTION: &str = "feedback";

/// Bits of an event id's run.
const RUN_BITS: u32 = 0xff_ffff;

/// What to do with a template's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Opinion {
    /// This is normal: never an anomaly.
    Accept,
    /// Tell every time: always an anomaly.
    Flag,
}

/// What was said of one template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The template's id, 16 hex digits.
    pub template_id: String,
    /// What was said.
    pub opinion: Opinion,
    /// Its text when it was said, if it was known.
    pub template: Option<String>,
    /// The event it was said of, if it was said of one.
    pub event_id: Option<String>,
    /// When, milliseconds since the Unix epoch.
    pub said_at_ms: i64,
    /// It is said of the template's silences and not of its events: what the journal calls the stream, empty for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<String>,
}

impl Said {
    /// Of two the one that counts is the greater.
    fn weight(&self) -> (bool, i64, Option<&str>, &str) {
        (self.opinion == Opinion::Flag, self.said_at_ms, self.template.as_deref(), &self.template_id)
    }
}

/// Everything said, in the order it was said; of a template the last counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    said: Vec<Said>,
    /// With the place of what was said in `said`.
    rulings: HashMap<TemplateId, (usize, Ruling)>,
    /// The same of what was said of silences, by stream, too.
    silences: HashMap<(TemplateId, String), (usize, Ruling)>,
    flagged: Flagged,
}

/// Feedback cannot be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedbackError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The engine's own state cannot be read, or the directory is locked.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The file is whole and yet not what it should be.
    #[error("feedback in {}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// As many as can be kept.
    #[error("feedback on {MOST} templates is kept already: remove some (oddline feedback remove)")]
    Full,
}

impl Feedback {
    fn of_said(said: Vec<Said>) -> Self {
        let (mut rulings, mut silences) = (HashMap::new(), HashMap::new());
        for (place, said) in said.iter().enumerate() {
            let Ok(id) = u64::from_str_radix(&said.template_id, 16).map(TemplateId) else { continue };
            let ruling = (place, Ruling::feedback(said.opinion == Opinion::Flag));
            match &said.silence {
                None => _ = rulings.insert(id, ruling),
                Some(stream) => _ = silences.insert((id, stream.clone()), ruling),
            }
        }
        Self { flagged: Flagged::new(&said), said, rulings, silences }
    }

    /// Reads the bytes of a section.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes).map(Self::of_said)
    }

    /// The bytes of a section.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Texts, numbers and lists of them cannot fail to be written.
        serde_json::to_vec(&self.said).unwrap_or_default()
    }

    /// What was said on several hosts, of the templates of `store`, which has all of theirs. Of a template that was accepted on one host and flagged on
    /// another the flag counts: what somebody wants to be told of is told. Of the same opinions the last one stays. Events are left out: they are
    /// a host's own. Beyond [`MOST`] the oldest that were accepted go first. The order of the parts does not matter.
    pub(super) fn united<'f>(parts: impl Iterator<Item = &'f Self>, store: &TemplateStore) -> Self {
        let mut by_template: BTreeMap<String, Said> = BTreeMap::new();
        for said in parts.flat_map(|part| &part.said).filter(|said| said.silence.is_none()) {
            let id = u64::from_str_radix(&said.template_id, 16).ok().and_then(|id| store.by_id(TemplateId(id)));
            let template_id = id.map_or_else(|| said.template_id.clone(), |template| template.id.to_string());
            let said = Said { template_id: template_id.clone(), event_id: None, ..said.clone() };
            match by_template.entry(template_id) {
                Entry::Vacant(free) => _ = free.insert(said),
                Entry::Occupied(mut known) if said.weight() > known.get().weight() => _ = known.insert(said),
                Entry::Occupied(_) => {}
            }
        }
        let mut all: Vec<Said> = by_template.into_values().collect();
        all.sort_by(|a, b| b.weight().cmp(&a.weight()));
        all.truncate(MOST);
        all.sort_by(|a, b| (a.said_at_ms, &a.template_id).cmp(&(b.said_at_ms, &b.template_id)));
        Self::of_said(all)
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// What was said, in order.
    pub fn said(&self) -> &[Said] {
        &self.said
    }

    /// What was said last of the template, under its id or that of one that was merged into it.
    pub(super) fn of(&self, template: &StoredTemplate) -> Option<Ruling> {
        let ids = std::iter::once(&template.id).chain(&template.aliases);
        let (_, ruling) = ids.filter_map(|id| self.rulings.get(id)).max_by_key(|(place, _)| place)?;
        Some(*ruling)
    }

    /// What was said last of the template's silences on a stream that goes by any of these names, or on all.
    pub(super) fn of_silence(&self, template: &StoredTemplate, streams: &[String]) -> Option<Ruling> {
        if self.silences.is_empty() {
            return None;
        }
        let ids = std::iter::once(&template.id).chain(&template.aliases);
        let streams = || streams.iter().map(String::as_str).chain([""]);
        let pairs = ids.flat_map(|id| streams().map(|stream| (*id, stream.to_owned())));
        let (_, ruling) = pairs.filter_map(|pair| self.silences.get(&pair)).max_by_key(|(place, _)| place)?;
        Some(*ruling)
    }

    /// Whether a template of this text is like one that was flagged.
    pub(super) fn is_like_flagged(&self, text: &[u8]) -> bool {
        self.flagged.is_like(text)
    }

    /// Notes what was said, in place of what was said of the same before.
    ///
    /// # Errors
    /// When [`MOST`] templates are known.
    pub fn say(&mut self, said: Said) -> Result<(), FeedbackError> {
        self.say_of(&[], said)
    }

    /// The same of a template that goes by other ids, too.
    ///
    /// # Errors
    /// As [`Self::say`].
    pub fn say_of(&mut self, template_ids: &[TemplateId], said: Said) -> Result<(), FeedbackError> {
        let ids: Vec<String> =
            template_ids.iter().map(TemplateId::to_string).chain([said.template_id.clone()]).collect();
        self.retain(|known| !(ids.contains(&known.template_id) && known.silence == said.silence));
        if self.said.len() >= MOST {
            return Err(FeedbackError::Full);
        }
        let mut all = std::mem::take(&mut self.said);
        all.push(said);
        *self = Self::of_said(all);
        Ok(())
    }

    /// Takes back what was said of a template and of its silences; false when nothing was.
    pub fn remove(&mut self, template_id: &str) -> bool {
        self.retain(|said| said.template_id != template_id)
    }

    /// Takes back what was said of a template and of its silences under any of its ids; false when nothing was.
    pub fn remove_any(&mut self, template_ids: &[TemplateId]) -> bool {
        let ids: Vec<String> = template_ids.iter().map(TemplateId::to_string).collect();
        self.retain(|said| !ids.contains(&said.template_id))
    }

    fn retain(&mut self, is_kept: impl Fn(&Said) -> bool) -> bool {
        let before = self.said.len();
        let mut all = std::mem::take(&mut self.said);
        all.retain(is_kept);
        *self = Self::of_said(all);
        self.said.len() < before
    }
}

/// Where the file is.
pub(super) fn file_path(data_dir: &Path) -> PathBuf {
    data_dir.join(DIR).join(FILE)
}

/// The bytes of the file; `None` when there is none.
pub(super) fn read_file(fs: &dyn FileSystem, data_dir: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    let path = file_path(data_dir);
    fs.read_if_there(&path).map_err(StorageError::io("read", &path))
}

/// What the bytes of the file say.
pub(super) fn decode_file(data_dir: &Path, bytes: &[u8]) -> Result<Feedback, FeedbackError> {
    let path = file_path(data_dir);
    let file = checkpoint::decode(&path, bytes)?;
    let section = file.section(SECTION).unwrap_or(b"[]");
    Feedback::from_bytes(section).map_err(|source| FeedbackError::Content { path, source })
}

/// What the file says, or `otherwise` where there is none.
pub(super) fn of_file(fs: &dyn FileSystem, data_dir: &Path, otherwise: Feedback) -> Result<Feedback, FeedbackError> {
    match read_file(fs, data_dir)? {
        Some(bytes) => decode_file(data_dir, &bytes),
        None => Ok(otherwise),
    }
}

/// The feedback of a data dir, for a command beside the engine that may be running on it.
#[derive(Debug)]
pub struct FeedbackFile {
    fs: Arc<dyn FileSystem>,
    feedback: Feedback,
}

impl FeedbackFile {
    /// Reads the file, or where there is none the newest checkpoint.
    ///
    /// # Errors
    /// When neither can be read.
    pub fn read(fs: Arc<dyn FileSystem>, data_dir: &Path) -> Result<Self, FeedbackError> {
        let feedback = match read_file(&*fs, data_dir)? {
            Some(bytes) => decode_file(data_dir, &bytes)?,
            None => Self::of_checkpoint(&*fs, data_dir)?,
        };
        Ok(Self { fs, feedback })
    }

    fn of_checkpoint(fs: &dyn FileSystem, data_dir: &Path) -> Result<Feedback, FeedbackError> {
        let newest = checkpoint::read_newest(fs, &data_dir.join("state"))?.checkpoint;
        let section = newest.as_ref().and_then(|checkpoint| checkpoint.section(SECTION)).unwrap_or(b"[]");
        let path = data_dir.join("state");
        Feedback::from_bytes(section).map_err(|source| FeedbackError::Content { path, source })
    }

    /// What was said.
    pub fn feedback(&self) -> &Feedback {
        &self.feedback
    }

    /// Reads, lets `edit` change what was said, and writes it; durable when it returns. One at a time: the directory is locked meanwhile.
    ///
    /// # Errors
    /// When it is locked, cannot be read or written, or `edit` fails.
    pub fn edit<T, E: From<FeedbackError>>(
        fs: Arc<dyn FileSystem>,
        data_dir: &Path,
        now: Timestamp,
        edit: impl FnOnce(&mut Feedback) -> Result<T, E>,
    ) -> Result<T, E> {
        let dir = data_dir.join(DIR);
        let lock = DataDirLock::acquire(&dir, now).map_err(|error| FeedbackError::from(EngineError::from(error)))?;
        let mut file = Self::read(fs, data_dir)?;
        let result = edit(&mut file.feedback)?;
        file.write(&dir, now)?;
        drop(lock);
        Ok(result)
    }

    fn write(&self, dir: &Path, now: Timestamp) -> Result<(), FeedbackError> {
        let bytes = checkpoint::encode(0, now, &[(SECTION, &self.feedback.to_bytes())])?;
        self.fs.create_dir_all(dir).map_err(StorageError::io("create directory", dir))?;
        atomic::write(&*self.fs, dir, FILE, &bytes)?;
        Ok(())
    }
}

/// A template that goes by an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its own id, then those of the templates that were merged into it.
    pub ids: Vec<TemplateId>,
    /// Its text.
    pub text: String,
}

/// The template that has this id, or took in the one that had it, as of the newest checkpoint; `None` when it holds no such template.
///
/// # Errors
/// When the checkpoint cannot be read.
pub fn template_named(
    fs: &dyn FileSystem,
    data_dir: &Path,
    config: &Config,
    id: TemplateId,
) -> Result<Option<Named>, FeedbackError> {
    let store = read_templates(fs, data_dir, config)?;
    let named = |template: &StoredTemplate| Named {
        ids: std::iter::once(&template.id).chain(&template.aliases).copied().collect(),
        text: String::from_utf8_lossy(&template.text).into_owned(),
    };
    Ok(store.and_then(|store| store.by_id(id).map(named)))
}

fn read_templates(
    fs: &dyn FileSystem,
    data_dir: &Path,
    config: &Config,
) -> Result<Option<TemplateStore>, FeedbackError> {
    let Some(newest) = checkpoint::read_newest(fs, &data_dir.join("state")).map_err(FeedbackError::from)?.checkpoint
    else {
        return Ok(None);
    };
    let Some(section) = newest.section(sections::TEMPLATES) else { return Ok(None) };
    Ok(TemplateStore::restore(template_options(config)?, section).ok())
}

/// The templates of the newest checkpoint, for texts; `None` when they cannot be had.
pub(super) fn newest_templates(fs: &dyn FileSystem, data_dir: &Path, config: &Config) -> Option<TemplateStore> {
    read_templates(fs, data_dir, config).inspect_err(|error| tracing::warn!(%error, "texts of templates")).ok()?
}

/// The template of an event in the write-ahead log or the chunks; `None` when neither has it: it is older than what is kept, or not written yet.
/// What is damaged is passed over.
///
/// # Errors
/// When the directories cannot be read.
pub fn template_of(fs: &dyn FileSystem, data_dir: &Path, event: EventId) -> Result<Option<TemplateId>, FeedbackError> {
    let found = match in_log(fs, &data_dir.join("wal"), event)? {
        None => in_chunks(fs, &data_dir.join("chunks"), event)?,
        found => found,
    };
    Ok(found)
}

/// A silence, which is an event of no history: its template, and what the journal calls its stream. `None` when the journal has no such event.
///
/// # Errors
/// When the journal cannot be read.
pub fn silence_of(
    config: &Config,
    fs: &Arc<dyn FileSystem>,
    event: EventId,
) -> Result<Option<(TemplateId, String)>, JournalError> {
    if !config.journal.enabled {
        return Ok(None);
    }
    // An id is of a millisecond, and the bounds of a reading are of whole objects.
    let around = |millis: i64| i64::try_from(event.millis).ok()?.checked_add(millis).map(Timestamp::from_millis);
    let host = Some(incidents::host_of(config));
    let reading = Reading { since: around(-1_000), until: around(1_000), host, ..Reading::default() };
    let id = event.to_string();
    let found = incidents::read(config, fs, &reading)?.incidents;
    let row = found.into_iter().map(|(_, row)| row).find(|row| row.synthetic && row.event_id == id);
    let template = |row: Incident| Some((u64::from_str_radix(&row.template_id, 16).ok().map(TemplateId)?, row.stream));
    Ok(row.and_then(template))
}

fn in_log(fs: &dyn FileSystem, wal_dir: &Path, event: EventId) -> Result<Option<TemplateId>, StorageError> {
    if !wal::lanes(fs, wal_dir)?.contains(&event.lane) {
        return Ok(None);
    }
    let mut found = None;
    for sequence in wal::segments(fs, wal_dir, event.lane)? {
        let read = wal::read_segment(fs, wal_dir, event.lane, sequence, &mut |at, record| {
            if let Record::Event(logged) = record
                && at.event_number == event.number
                && at.position.run & RUN_BITS == event.run
            {
                found = Some(logged.template);
            }
        });
        match read {
            Err(StorageError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "a segment is passed over"),
            Ok(_) => {}
        }
        if found.is_some() {
            break;
        }
    }
    Ok(found)
}

fn in_chunks(fs: &dyn FileSystem, chunks_dir: &Path, event: EventId) -> Result<Option<TemplateId>, StorageError> {
    for hour in chunk_dir::hours(fs, chunks_dir)?.into_iter().rev() {
        let files = chunk_dir::open_hour(fs, chunks_dir, hour)?;
        files.damaged.iter().for_each(|error| tracing::warn!(%error, "a file of the history is passed over"));
        for reader in &files.readers {
            for place in reader.summary().groups.iter().filter(|place| may_hold(place, event)) {
                match reader.group(fs, place) {
                    Ok(group) => match in_group(&group, event) {
                        None => {}
                        found => return Ok(found),
                    },
                    Err(error) => tracing::warn!(%error, "a part of the history is passed over"),
                }
            }
        }
    }
    Ok(None)
}

fn may_hold(place: &GroupPlace, event: EventId) -> bool {
    let numbers = place.id.first_event..place.id.first_event.saturating_add(place.events);
    place.id.lane == event.lane && place.id.run & RUN_BITS == event.run && numbers.contains(&event.number)
}

fn in_group(group: &Group, event: EventId) -> Option<TemplateId> {
    let place = event.number.checked_sub(group.id.first_event).and_then(|place| usize::try_from(place).ok())?;
    let found = group.events.get(place)?;
    (found.timestamp.unsigned_millis() == event.millis).then_some(found.template)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(id: u64, opinion: Opinion) -> Said {
        let template_id = TemplateId(id).to_string();
        Said { template_id, opinion, template: None, event_id: None, said_at_ms: 7, silence: None }
    }

    #[test]
    fn what_is_said_of_a_silence_is_of_its_stream_alone_and_of_no_event() {
        let mut store = TemplateStore::new(crate::template::TemplateOptions::default());
        let id = store.learn_text(b"pulse of the database").id;
        let template = store.by_id(id).unwrap();
        let of = |stream: &str, opinion| Said { silence: Some(stream.to_owned()), ..said(id.0, opinion) };
        let mut feedback = Feedback::default();
        feedback.say(of("db1", Opinion::Accept)).unwrap();
        let ruling = |feedback: &Feedback, stream: &str| feedback.of_silence(template, &[stream.to_owned()]);
        let (accepted, flagged) = (Some(Ruling::feedback(false)), Some(Ruling::feedback(true)));
        assert_eq!((ruling(&feedback, "db1"), ruling(&feedback, "db2"), feedback.of(template)), (accepted, None, None));
        feedback.say(of("", Opinion::Flag)).unwrap();
        assert_eq!((ruling(&feedback, "db1"), ruling(&feedback, "db2")), (flagged, flagged), "of all, and later");
        feedback.say(of("db1", Opinion::Accept)).unwrap();
        feedback.say(said(id.0, Opinion::Flag)).unwrap();
        assert_eq!((ruling(&feedback, "db1"), feedback.of(template), feedback.said().len()), (accepted, flagged, 3));
        let again = Feedback::from_bytes(&feedback.to_bytes()).unwrap();
        assert_eq!(again, feedback);
        assert_eq!(Feedback::united([&feedback].into_iter(), &store).said().len(), 1, "a baseline has the template's");
        assert!(feedback.remove_any(&[id]) && feedback.is_empty());
    }

    #[test]
    fn the_last_word_on_a_template_counts_and_can_be_taken_back() {
        let mut feedback = Feedback::default();
        feedback.say(said(1, Opinion::Accept)).unwrap();
        feedback.say(said(2, Opinion::Accept)).unwrap();
        feedback.say(said(1, Opinion::Flag)).unwrap();
        assert_eq!(feedback.said(), [said(2, Opinion::Accept), said(1, Opinion::Flag)]);
        assert_eq!(feedback.rulings.get(&TemplateId(1)), Some(&(1, Ruling::feedback(true))));
        assert_eq!(Feedback::from_bytes(&feedback.to_bytes()).unwrap(), feedback);
        assert!(feedback.remove(&TemplateId(1).to_string()) && !feedback.remove(&TemplateId(1).to_string()));
        assert_eq!(feedback.rulings.len(), 1);
    }

    #[test]
    fn of_a_template_that_took_others_in_the_last_word_counts_whatever_id_it_was_said_of() {
        let mut store = TemplateStore::new(crate::template::TemplateOptions { merge_after: 3, ..Default::default() });
        let old = store.learn_text(b"session of alpha opened").id;
        let gone = store.learn_text(b"session of bravo opened").id;
        let third = store.learn_text(b"session of delta opened").id;
        let template = store.by_id(gone).unwrap();
        assert!(template.id == old && third == old && template.aliases.contains(&gone), "{template:?}");
        let of = |opinions: &[(TemplateId, Opinion)]| {
            let mut feedback = Feedback::default();
            opinions.iter().for_each(|(id, opinion)| feedback.say(said(id.0, *opinion)).unwrap());
            feedback
        };
        let (accepted, flagged) = (Some(Ruling::feedback(false)), Some(Ruling::feedback(true)));
        assert_eq!(of(&[(old, Opinion::Flag), (gone, Opinion::Accept)]).of(template), accepted);
        assert_eq!(of(&[(gone, Opinion::Accept), (old, Opinion::Flag)]).of(template), flagged);
        assert_eq!(of(&[(old, Opinion::Accept), (gone, Opinion::Flag), (old, Opinion::Accept)]).of(template), accepted);
        let mut feedback = of(&[(old, Opinion::Flag), (TemplateId(5), Opinion::Flag), (gone, Opinion::Accept)]);
        assert!(feedback.remove_any(&[old, gone]) && !feedback.remove_any(&[old, gone]));
        assert_eq!((feedback.of(template), feedback.said().len()), (None, 1));
    }

    #[test]
    fn the_section_is_json_that_others_can_read() {
        let feedback = Feedback::of_said(vec![said(0xab, Opinion::Flag)]);
        let expected =
            r#"[{"template_id":"00000000000000ab","opinion":"flag","template":null,"event_id":null,"said_at_ms":7}]"#;
        assert_eq!(String::from_utf8(feedback.to_bytes()).unwrap(), expected);
    }

    #[test]
    fn more_than_can_be_kept_is_refused_and_what_is_kept_stays() {
        let mut feedback = Feedback::of_said((0..MOST as u64).map(|n| said(n, Opinion::Accept)).collect());
        assert!(matches!(feedback.say(said(u64::MAX, Opinion::Flag)), Err(FeedbackError::Full)));
        feedback.say(said(5, Opinion::Flag)).unwrap();
        assert_eq!(feedback.said().len(), MOST);
    }
}
