//! What the known templates mean, frozen: what the detector [`semantic`](crate::detect::semantic) measures by.
//!
//! Fitted once, in a thread of its own, when a lane that folds has ended learning, `semantic_weight` is above 0 and nothing is fitted yet; frozen in the checkpoint
//! from then on, and fitted again by [`Engine::recalibrate`] alone. Vectors are those of the hashing embedder, whatever else makes vectors for a search: scoring never depends on
//! a model's files. How seldom a word is (inverse document frequency) is learned of the same templates and frozen with them: weights that went on learning would
//! have the same text at another distance each day.
//!
//! With a weight of 0 no vector is made. With more, one for each template and lane that meets it, when the template is first looked at; its events
//! carry what came of it in the log, so that a replay makes none. A lane heeds a new fit at its next fold, and looks at its templates again.
//!
//! A baseline does not carry it: what is far on one host need not be on another, and a host that starts from a baseline fits its own of the baseline's templates at once.
//!
//! # Bytes
//! ```text
//! version u32 | fitted at, µs since the epoch, i64 | length u32, then [`Frequencies::write`] | [`Frozen::checkpoint`]
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use serde::Serialize;

use super::core::Core;
use super::error::EngineError;
use super::open::Engine;
use crate::detect::semantic::{Frozen, Oddness};
use crate::detect::{StateError, StateReader};
use crate::embed::frequency::Frequencies;
use crate::embed::{Embedder, HashingEmbedder, hashing};
use crate::event::{TemplateId, Timestamp};
use crate::storage::journal::time_text;
use crate::template::{Slot, TemplateStore};

/// Name of the section of checkpoints.
pub(super) const SECTION: &str = "meaning";

const VERSION: u32 = 1;

// Centroids are of its vectors: with others, those on disk are of another version. (2 changed those of long texts without spaces alone, so that what was fitted before stays as it is.)
const _: () = assert!(hashing::VERSION == 2, "texts have other vectors: count VERSION up here, too");

/// Templates that are clustered: of more, as many at equal steps by id, which is as good as by chance.
const MOST_TEMPLATES: usize = 4_096;

/// What was fitted, and what makes vectors for it.
#[derive(Debug, PartialEq)]
pub(super) struct Meaning {
    embedder: HashingEmbedder,
    frozen: Frozen,
    fitted_at: Timestamp,
}

/// What was fitted, in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibrated {
    /// When: RFC 3339, UTC, microseconds.
    pub fitted_at: String,
    /// Templates it was fitted to.
    pub templates: u32,
    /// Centroids.
    pub clusters: usize,
    /// How far a template in the middle is from its centroid: one less the cosine.
    pub median: f32,
    /// What is farther is odd.
    pub threshold: f32,
}

/// What a recalibration changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recalibration {
    /// What was there; none when nothing was fitted.
    pub before: Option<Calibrated>,
    /// What is there now.
    pub after: Calibrated,
}

impl Meaning {
    /// Of the texts of templates; `None` when none has a word.
    fn fit<'t>(texts: impl Iterator<Item = &'t str> + Clone, now: Timestamp) -> Option<Self> {
        let embedder = HashingEmbedder::fit(texts.clone());
        let vectors: Vec<Vec<f32>> = texts.filter_map(|text| embedder.vector(text).ok()).collect();
        Some(Self { frozen: Frozen::fit(&vectors)?, embedder, fitted_at: now })
    }

    /// Of all templates that are known; the lock is held while they are listed, and no longer.
    fn of_store(core: &Core) -> Option<Self> {
        let all = all(&core.store());
        let texts = texts(all);
        Self::fit(texts.iter().map(String::as_str), core.environment.clock.now())
    }

    /// How odd a template of this text is.
    pub(super) fn oddness(&self, text: &[u8]) -> Oddness {
        let mut vector = [0.0; hashing::DIMENSIONS];
        let made = self.embedder.embed(&String::from_utf8_lossy(text), &mut vector);
        made.map_or(Oddness::NONE, |()| self.frozen.oddness(&vector))
    }

    fn figures(&self) -> Calibrated {
        Calibrated {
            fitted_at: time_text(self.fitted_at),
            templates: self.frozen.templates(),
            clusters: self.frozen.clusters(),
            median: self.frozen.median(),
            threshold: self.frozen.threshold(),
        }
    }

    /// The bytes of a section.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut frequencies = Vec::new();
        self.embedder.frequencies().write(&mut frequencies);
        let mut out = VERSION.to_le_bytes().to_vec();
        out.extend_from_slice(&self.fitted_at.0.to_le_bytes());
        out.extend_from_slice(&(frequencies.len() as u32).to_le_bytes());
        out.extend_from_slice(&frequencies);
        self.frozen.checkpoint(&mut out);
        out
    }

    /// Of the bytes of a section.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let what = "meaning of templates";
        let impossible = |expected: String, found: String| StateError::Impossible { what, expected, found };
        let from = &mut StateReader::new(bytes);
        let version = from.u32(what)?;
        if version > VERSION {
            return Err(StateError::Newer { what, found: version, supported: VERSION });
        }
        if version != VERSION {
            return Err(impossible(format!("version {VERSION}"), version.to_string()));
        }
        let fitted_at = Timestamp(from.i64(what)?);
        let length = from.length(what, usize::MAX, 1)?;
        let frequencies = Frequencies::read(from.bytes(what, length)?)
            .map_err(|error| impossible("word frequencies".to_owned(), error.to_string()))?;
        let frozen = Frozen::restore(from)?;
        if !from.is_empty() {
            return Err(impossible("no more bytes".to_owned(), "some".to_owned()));
        }
        Ok(Self { embedder: HashingEmbedder::with(frequencies), frozen, fitted_at })
    }
}

/// A template's text.
type Named = (TemplateId, Arc<[u8]>);

fn all(store: &TemplateStore) -> Vec<Named> {
    let slots = (0..store.slots() as u32).map(Slot);
    slots.filter_map(|slot| store.by_slot(slot)).map(|found| (found.id, Arc::clone(&found.text))).collect()
}

/// In the order of their ids, so that the order in which they came does not matter.
fn texts(mut all: Vec<Named>) -> Vec<String> {
    all.sort_unstable_by_key(|(id, _)| *id);
    let step = all.len().div_ceil(MOST_TEMPLATES).max(1);
    all.iter().step_by(step).map(|(_, text)| String::from_utf8_lossy(text).into_owned()).collect()
}

/// The fit of an engine, for all its lanes.
#[derive(Debug, Default)]
pub(super) struct Meanings {
    fitted: Mutex<Option<Arc<Meaning>>>,
    changes: AtomicU64,
    is_begun: AtomicBool,
    worker: Mutex<Option<JoinHandle<()>>>,
}

impl Meanings {
    /// What was fitted last.
    pub(super) fn get(&self) -> Option<Arc<Meaning>> {
        self.fitted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often that has changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, meaning: Arc<Meaning>) {
        self.is_begun.store(true, Ordering::Relaxed);
        *self.fitted.lock().unwrap_or_else(PoisonError::into_inner) = Some(meaning);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Fits in a thread of its own, once; what cannot be begun is tried again at the next call.
    pub(super) fn begin(&self, core: &Arc<Core>) {
        if self.is_begun.swap(true, Ordering::Relaxed) {
            return;
        }
        let shared = Arc::clone(core);
        let work = move || match Meaning::of_store(&shared) {
            Some(meaning) => _ = shared.take_meaning(meaning),
            None => shared.meanings.is_begun.store(false, Ordering::Relaxed),
        };
        match Builder::new().name("oddline-meaning".into()).spawn(work) {
            Ok(worker) => *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker),
            Err(error) => {
                self.is_begun.store(false, Ordering::Relaxed);
                tracing::warn!(%error, "the meaning of templates is not fitted yet");
            }
        }
    }

    /// Waits for a fit that was begun.
    pub(super) fn settle(&self) {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if worker.is_some_and(|worker| worker.join().is_err()) {
            tracing::error!("fitting the meaning of templates panicked");
        }
    }
}

impl Core {
    /// Takes up a fit; tells what changed.
    fn take_meaning(&self, meaning: Meaning) -> Recalibration {
        let before = self.meanings.get().map(|meaning| meaning.figures());
        let after = meaning.figures();
        let Calibrated { templates, clusters, threshold, .. } = after;
        let (clusters_before, threshold_before) =
            before.as_ref().map_or((0, 0.0), |before| (before.clusters, before.threshold));
        tracing::info!(
            templates,
            clusters,
            threshold,
            clusters_before,
            threshold_before,
            "the meaning of templates is fitted"
        );
        self.meanings.set(Arc::new(meaning));
        Recalibration { before, after }
    }
}

impl Engine {
    /// Fits what the detector `semantic` measures by anew, to the templates that are known now; lanes heed it at their next fold, and the next checkpoint holds it.
    ///
    /// # Errors
    /// When no template that is known has a word.
    pub fn recalibrate(&self) -> Result<Recalibration, EngineError> {
        let core = self.core();
        core.meanings.settle();
        let meaning = Meaning::of_store(core).ok_or(EngineError::NothingToCalibrate)?;
        Ok(core.take_meaning(meaning))
    }

    /// What the detector `semantic` measures by, when it is fitted; waits for a fit that was begun.
    pub fn calibrated(&self) -> Option<Calibrated> {
        self.core().meanings.settle();
        self.core().meanings.get().map(|meaning| meaning.figures())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Vec<String> {
        let of = |noun| {
            ["opened", "closed", "served", "queued"].map(|verb| format!("INFO storage: {noun} {verb} in <*> ms"))
        };
        ["request", "session", "block", "lease", "order", "socket"].into_iter().flat_map(of).collect()
    }

    fn fitted() -> Meaning {
        Meaning::fit(texts().iter().map(String::as_str), Timestamp(1_767_225_600_000_000)).unwrap()
    }

    #[test]
    fn what_has_other_words_is_odd_and_what_is_known_is_not() {
        let meaning = fitted();
        let odd = texts().iter().filter(|text| !meaning.oddness(text.as_bytes()).is_none()).count();
        assert!(odd <= 1, "{odd} of what is known");
        assert!(!meaning.oddness(b"kernel panic: interrupt handler corrupt").is_none());
        assert!(meaning.oddness(b"<*> 17 \xff").is_none(), "without a word");
        assert!(Meaning::fit(["<*>"].into_iter(), Timestamp(0)).is_none());
    }

    #[test]
    fn bytes_come_back_and_those_of_another_version_or_cut_are_refused() {
        let bytes = fitted().to_bytes();
        assert_eq!(Meaning::from_bytes(&bytes).unwrap(), fitted());
        assert_eq!(bytes[..12], [1, 0, 0, 0, 0, 64, 32, 70, 72, 71, 6, 0]);
        for cut in (0..bytes.len()).step_by(11) {
            assert!(Meaning::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut newer = bytes.clone();
        newer[0] = 2;
        let refused = Meaning::from_bytes(&newer).unwrap_err();
        assert!(matches!(refused, StateError::Newer { found: 2, supported: VERSION, .. }), "{refused}");
        assert!(Meaning::from_bytes(&[bytes, vec![0]].concat()).is_err());
    }
}
