//! What past incidents were like: for each alert the nearest of those before it.
//!
//! Of each template that alerted the last incident is remembered, or the last one that has a [note](super::notes), with the template's vector. An alert asks, and
//! is remembered, in the lane that raised it, under a lock: some microseconds for one event in a thousand, some tens when its template never alerted before (and what it takes when the
//! index makes its lists anew, at one such template in a thousand), and nothing for the rest. Order of
//! events alone decides what is found, so that a single lane stays reproducible.
//!
//! Silences ask and are remembered, too, at the tick that tells them.
//!
//! Incidents are kept in checkpoints (section `recall`, a JSON list of [`Remembered`]), and a replay of the log remembers those it meets; silences are in no log, so that a crash forgets those since the last checkpoint. Vectors are kept
//! nowhere: a thousand are made anew in milliseconds. All words weigh the same: weights that grow with the templates would have an answer depend on when they were
//! last learned, and a restart give another one.
//!
//! Why not by the vectors of a sentence model, where one is configured: an alert is told when it is raised, and that is often the first event of its template, of which a model has no
//! vector for milliseconds to minutes; what is told would depend on how far its thread was, differ after a replay, and change with the model. And there is little to add: of
//! templates worded a little otherwise hashing vectors know 1.00, .99, 1.00, 1.00 and .70 again at [`FARTHEST`] (the table in [`likeness`](super::likeness)). Who wants a model's answer asks
//! `oddline search` for the words of the alert.
//!
//! Limits: [`MOST`] templates, of which the one that alerted longest ago goes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::notes::Note;
use crate::embed::{Embedder, HashingEmbedder};
use crate::event::{EventId, TemplateId, Timestamp};
use crate::index::{Hit, VectorIndex};
use crate::storage::journal::time_text;
use crate::template::StoredTemplate;

/// Name of the section of checkpoints.
pub(super) const SECTION: &str = "recall";

/// Templates remembered.
const MOST: usize = 1_000;

/// Past incidents told of an alert.
const MOST_SIMILAR: usize = 3;

/// One less the cosine: what is farther is not alike.
pub(super) const FARTHEST: f32 = 0.4;

/// A past incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Remembered {
    pub(super) event_id: String,
    /// RFC 3339, UTC, microseconds.
    pub(super) time: String,
    /// 16 hex digits.
    pub(super) template_id: String,
    /// Its text, variables `<*>`.
    pub(super) template: String,
    /// Its score; unknown in what was written before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) score: Option<f64>,
}

impl Remembered {
    /// An event of a template.
    pub(super) fn new(id: EventId, time: Timestamp, template: &StoredTemplate, score: f64) -> Self {
        Self {
            event_id: id.to_string(),
            time: time_text(time),
            template_id: template.id.to_string(),
            template: String::from_utf8_lossy(&template.text).into_owned(),
            score: Some(score),
        }
    }
}

/// A past incident that is like an alert.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SimilarIncident {
    /// Its id.
    pub event_id: String,
    /// When it happened: RFC 3339, UTC, microseconds.
    pub time: String,
    /// Its score; unknown of one that was remembered before scores were.
    pub score: Option<f64>,
    /// 0 is the same template, or the same words; 1 is nothing in common.
    pub distance: f32,
    /// What was said of it.
    pub note: Option<String>,
}

/// A note, and the vector of its template: made before a lock is taken that an alert may wait for.
#[derive(Debug)]
pub(super) struct Noted {
    note: Note,
    vector: Vec<f32>,
}

impl Noted {
    pub(super) fn of(notes: Vec<Note>) -> Vec<Self> {
        let embedder = HashingEmbedder::default();
        let one = |note: Note| Self { vector: embedder.vector(&note.template).unwrap_or_default(), note };
        notes.into_iter().map(one).collect()
    }
}

/// Past incidents by template.
#[derive(Debug)]
pub(super) struct Recall {
    embedder: HashingEmbedder,
    index: VectorIndex,
    past: HashMap<u64, Remembered>,
    /// When the incident of each of them was, and which template it is.
    by_age: BTreeSet<(String, u64)>,
    noted: HashMap<u64, Note>,
    /// The text each vector is of.
    texts: HashMap<u64, String>,
    /// What was found last for a template of such a text; empty once any vector is another.
    found: HashMap<u64, (String, Arc<[Hit]>)>,
}

impl Default for Recall {
    fn default() -> Self {
        let embedder = HashingEmbedder::default();
        let index = VectorIndex::new(embedder.dimensions());
        let (past, by_age, noted, texts, found) = Default::default();
        Self { embedder, index, past, by_age, noted, texts, found }
    }
}

fn template_of(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

impl Recall {
    /// Of the bytes of a section.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut recall = Self::default();
        serde_json::from_slice::<Vec<Remembered>>(bytes)?.into_iter().for_each(|past| recall.remember(past));
        Ok(recall)
    }

    /// The bytes of a section; `None` when nothing is remembered.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut all: Vec<&Remembered> = self.past.values().collect();
        all.sort_by(|a, b| (&a.time, &a.event_id).cmp(&(&b.time, &b.event_id)));
        // Texts, numbers and lists of them cannot fail to be written.
        (!all.is_empty()).then(|| serde_json::to_vec(&all).unwrap_or_default())
    }

    /// Bytes held, about.
    pub(super) fn memory_bytes(&self) -> usize {
        // With its place by age, which has the time once more.
        let by_age = |past: &Remembered| past.time.len() + size_of::<(String, u64)>();
        let kept = |past: &Remembered| past.template.len() + size_of::<Remembered>() + 80 + by_age(past);
        let past: usize = self.past.values().map(kept).sum();
        let said = |note: &Note| note.note.len() + note.template.len() + size_of::<Note>() + 80;
        let noted: usize = self.noted.values().map(said).sum();
        let texts: usize = self.texts.values().map(|text| text.len() + size_of::<String>() + 16).sum();
        let of = |(text, hits): &(String, Arc<[Hit]>)| text.len() + size_of_val(&**hits) + size_of::<String>() + 40;
        self.index.memory_bytes() + past + noted + texts + self.found.values().map(of).sum::<usize>()
    }

    fn enter(&mut self, template: u64, text: &str) {
        if !self.has(template, text) {
            let vector = self.embedder.vector(text).unwrap_or_default();
            self.take(template, text, &vector);
        }
    }

    fn has(&self, template: u64, text: &str) -> bool {
        self.texts.get(&template).is_some_and(|known| known == text)
    }

    fn take(&mut self, template: u64, text: &str, vector: &[f32]) {
        self.found.clear();
        self.texts.insert(template, text.to_owned());
        // Of its own length and finite, as every embedder's are.
        if let Err(error) = self.index.insert(template, vector) {
            tracing::error!(%error, "a template's vector is not kept");
        }
    }

    fn leave(&mut self, template: u64) {
        self.found.clear();
        self.texts.remove(&template);
        self.index.remove(template);
    }

    /// Takes an incident in, in place of the last one of its template; one that is older than that is passed over.
    pub(super) fn remember(&mut self, incident: Remembered) {
        let Some(template) = template_of(&incident.template_id) else { return };
        let age = |incident: &Remembered| (incident.time.clone(), incident.event_id.clone());
        if self.past.get(&template).is_some_and(|last| age(last) > age(&incident)) {
            return;
        }
        if self.past.len() >= MOST && !self.past.contains_key(&template) {
            self.forget_oldest();
        }
        self.enter(template, &incident.template);
        let age = (incident.time.clone(), template);
        if let Some(last) = self.past.insert(template, incident) {
            self.by_age.remove(&(last.time, template));
        }
        self.by_age.insert(age);
    }

    fn forget_oldest(&mut self) {
        let Some((_, template)) = self.by_age.pop_first() else { return };
        self.past.remove(&template);
        if !self.noted.contains_key(&template) {
            self.leave(template);
        }
    }

    /// What was said of incidents; of each template the last word. Where the template alerted since, its text is the newer one.
    pub(super) fn set_notes(&mut self, notes: Vec<Noted>) {
        for template in std::mem::take(&mut self.noted).into_keys() {
            if !self.past.contains_key(&template) {
                self.leave(template);
            }
        }
        for Noted { note, vector } in notes {
            let Some(template) = template_of(&note.template_id) else { continue };
            if !self.past.contains_key(&template) && !self.has(template, &note.template) {
                self.take(template, &note.template, &vector);
            }
            self.noted.insert(template, note);
        }
    }

    /// Past incidents like an event of this template, noted ones first, then the nearest.
    pub(super) fn similar(&mut self, template: TemplateId, text: &str) -> Vec<SimilarIncident> {
        let found = self.nearest(template, text);
        let distance =
            |id: u64, similarity: f32| if id == template.0 { 0.0 } else { (1.0 - similarity).clamp(0.0, 2.0) };
        let mut near: Vec<SimilarIncident> =
            found.iter().filter_map(|hit| self.told(hit.id, distance(hit.id, hit.similarity))).collect();
        // A text without words has no vector.
        if !self.index.get(template.0).is_some_and(|vector| vector.iter().any(|cell| *cell != 0.0)) {
            near.extend(self.told(template.0, 0.0));
        }
        near.sort_by(|a, b| a.note.is_none().cmp(&b.note.is_none()).then(a.distance.total_cmp(&b.distance)));
        near.truncate(MOST_SIMILAR);
        near
    }

    /// The nearest vectors to that of a template's text. Most alerts are of a template that alerted before, as did all the others: they are found without a search.
    fn nearest(&mut self, template: TemplateId, text: &str) -> Arc<[Hit]> {
        if let Some((_, found)) = self.found.get(&template.0).filter(|(asked, _)| asked == text) {
            return Arc::clone(found);
        }
        let query = self.embedder.vector(text).unwrap_or_default();
        let found: Arc<[Hit]> = self.index.search_within(&query, MOST_SIMILAR * 4, FARTHEST).unwrap_or_default().into();
        if self.found.len() >= MOST {
            self.found.clear();
        }
        self.found.insert(template.0, (text.to_owned(), Arc::clone(&found)));
        found
    }

    fn told(&self, template: u64, distance: f32) -> Option<SimilarIncident> {
        if let Some(Note { event_id, time, score, note, .. }) = self.noted.get(&template).cloned() {
            return Some(SimilarIncident { event_id, time, score: Some(score), distance, note: Some(note) });
        }
        let Remembered { event_id, time, score, .. } = self.past.get(&template).cloned()?;
        Some(SimilarIncident { event_id, time, score, distance, note: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arithmetic::next_random;

    fn past(template: u64, text: &str, minute: u32) -> Remembered {
        Remembered {
            event_id: format!("event-{minute}"),
            time: format!("2025-03-14T10:{minute:02}:00.000000Z"),
            template_id: TemplateId(template).to_string(),
            template: text.to_owned(),
            score: Some(f64::from(minute) / 60.0),
        }
    }

    fn note(past: &Remembered, note: &str) -> Note {
        Note {
            event_id: past.event_id.clone(),
            note: note.to_owned(),
            time: past.time.clone(),
            template_id: past.template_id.clone(),
            template: past.template.clone(),
            ..Note::default()
        }
    }

    fn ids(similar: &[SimilarIncident]) -> Vec<&str> {
        similar.iter().map(|incident| incident.event_id.as_str()).collect()
    }

    const POOL: &str = "connection pool exhausted after <*> ms";

    fn recall() -> Recall {
        let mut recall = Recall::default();
        recall.remember(past(1, POOL, 1));
        recall.remember(past(2, "user <*> logged in from <*>", 2));
        recall.remember(past(3, "ERROR connection pool exhausted: <*>", 3));
        recall.remember(past(1, POOL, 4));
        recall
    }

    #[test]
    fn the_last_incident_of_each_template_that_is_alike_is_told_nearest_first() {
        let found = recall().similar(TemplateId(1), POOL);
        assert_eq!(ids(&found), ["event-4", "event-3"]);
        assert!(found[0].distance == 0.0 && found[1].distance > 0.0 && found[1].distance <= FARTHEST, "{found:?}");
        assert_eq!(
            found[0],
            SimilarIncident {
                event_id: "event-4".to_owned(),
                time: "2025-03-14T10:04:00.000000Z".to_owned(),
                score: Some(4.0 / 60.0),
                distance: 0.0,
                note: None,
            }
        );
        assert_eq!(ids(&recall().similar(TemplateId(9), "connection pool exhausted")), ["event-3", "event-4"]);
        assert!(recall().similar(TemplateId(9), "kernel panic").is_empty());
        assert!(recall().similar(TemplateId(9), "<*>").is_empty());
    }

    #[test]
    fn what_was_noted_comes_first_and_stays_when_newer_ones_come() {
        let mut recall = recall();
        recall
            .set_notes(Noted::of(vec![note(&past(3, "ERROR connection pool exhausted: <*>", 3), "root cause: leak")]));
        recall.remember(past(3, "ERROR connection pool exhausted: <*>", 5));
        let found = recall.similar(TemplateId(1), POOL);
        assert_eq!(ids(&found), ["event-3", "event-4"]);
        assert_eq!(found[0].note.as_deref(), Some("root cause: leak"));
        recall.set_notes(Vec::new());
        assert_eq!(ids(&recall.similar(TemplateId(1), POOL)), ["event-4", "event-5"]);
    }

    #[test]
    fn a_note_without_its_incident_is_told_too() {
        let mut recall = Recall::default();
        recall.set_notes(Noted::of(vec![note(&past(1, POOL, 1), "leak")]));
        assert_eq!(ids(&recall.similar(TemplateId(1), POOL)), ["event-1"]);
        recall.set_notes(Vec::new());
        assert!(recall.similar(TemplateId(1), POOL).is_empty() && recall.to_bytes().is_none());
    }

    #[test]
    fn what_a_template_was_called_when_it_was_noted_does_not_count_once_it_alerted_by_another_name() {
        let noted = || Noted::of(vec![note(&past(1, "worker seven gave up", 1), "leak")]);
        let mut running = Recall::default();
        running.set_notes(noted());
        assert_eq!(ids(&running.similar(TemplateId(9), "worker seven gave up")), ["event-1"]);
        running.remember(past(1, POOL, 2));
        let mut restarted = Recall::from_bytes(&running.to_bytes().unwrap()).unwrap();
        restarted.set_notes(noted());
        for text in [POOL, "worker seven gave up"] {
            assert_eq!(restarted.similar(TemplateId(9), text), running.similar(TemplateId(9), text), "{text}");
        }
        assert_eq!(ids(&running.similar(TemplateId(9), POOL)), ["event-1"]);
    }

    #[test]
    fn it_comes_back_from_its_bytes_and_what_is_older_changes_nothing() {
        let mut restored = Recall::from_bytes(&recall().to_bytes().unwrap()).unwrap();
        assert_eq!(restored.similar(TemplateId(1), POOL), recall().similar(TemplateId(1), POOL));
        restored.remember(past(1, POOL, 2));
        assert_eq!(restored.similar(TemplateId(1), POOL), recall().similar(TemplateId(1), POOL));
        let before_scores = br#"[{"event_id":"e","time":"2025-03-14T10:00:00.000000Z","template_id":"0000000000000001","template":"disk full"}]"#;
        assert_eq!(Recall::from_bytes(before_scores).unwrap().similar(TemplateId(1), "disk full")[0].score, None);
        assert!(Recall::from_bytes(b"{").is_err() && Recall::from_bytes(b"[{}]").is_err());
    }

    #[test]
    fn no_more_than_so_many_templates_are_remembered_and_the_oldest_goes() {
        let mut recall = Recall::default();
        for n in 0..MOST as u64 + 5 {
            let time = format!("2025-03-14T10:00:00.{n:06}Z");
            recall.remember(Remembered { time, ..past(n, &format!("kind {}", "x".repeat(n as usize % 40)), 1) });
        }
        assert_eq!((recall.past.len(), recall.index.len()), (MOST, MOST));
        assert!(!recall.past.contains_key(&4) && recall.past.contains_key(&5));
    }

    #[test]
    fn the_oldest_goes_however_often_templates_alerted() {
        let mut recall = Recall::default();
        let mut twin: HashMap<u64, String> = HashMap::new();
        let mut state = 5u64;
        for _ in 0..6_000 {
            let (template, minute) = (next_random(&mut state) % 1_300, next_random(&mut state) % 60);
            let time = format!("2025-03-14T10:{minute:02}:00.000000Z");
            let incident = Remembered {
                time: time.clone(),
                event_id: String::new(),
                ..past(template, &format!("kind {template}"), 1)
            };
            if twin.get(&template).is_none_or(|last| *last <= time) {
                if twin.len() >= MOST && !twin.contains_key(&template) {
                    let oldest =
                        twin.iter().min_by_key(|(template, time)| (*time, *template)).map(|(id, _)| *id).unwrap();
                    twin.remove(&oldest);
                }
                twin.insert(template, time);
            }
            recall.remember(incident);
            assert_eq!(recall.by_age.len(), recall.past.len());
        }
        assert_eq!(recall.past.len(), MOST);
        assert!(recall.past.iter().all(|(template, past)| twin.get(template) == Some(&past.time)));
        let restored = Recall::from_bytes(&recall.to_bytes().unwrap()).unwrap();
        assert_eq!(restored.by_age, recall.by_age);
    }

    #[test]
    fn a_template_without_words_is_known_again_by_its_id() {
        let mut recall = Recall::default();
        recall.remember(past(7, "<*>", 1));
        assert_eq!(ids(&recall.similar(TemplateId(7), "<*>")), ["event-1"]);
    }
}
