//! A checkpoint's sections as bytes. Little endian; the file around them ([`checkpoint`](crate::storage::checkpoint)) has the checksums.
//!
//! | section | bytes |
//! |---|---|
//! | `engine` | run `u32`, ready `u8` |
//! | `templates` | see [`TemplateStore::checkpoint`] |
//! | `picture` | events `u64`, incidents `u64`, then `counts` |
//! | `feedback` | what the user said, see [`feedback`](super::feedback); only when there is any |
//! | `recall` | past incidents, see [`recall`](super::recall); only when there are any |
//! | `meaning` | what `semantic` measures by, see [`meaning`](super::meaning); only when it was fitted |
//! | `streams` | what streams are called, see [`stream_names`](super::stream_names); only when any has a name |
//! | `lane-<hex>` | position (12 bytes), next segment `u64`, then [`Model::checkpoint`](crate::detect::Model::checkpoint) |

use std::path::Path;
use std::sync::Arc;

use super::core::Core;
use super::counts;
use super::feedback::{self, Feedback};
use super::learned::Learned;
use super::meaning::{self, Meaning};
use super::picture::{LaneState, Picture};
use super::recall::{self, Recall};
use super::stream_names::StreamNames;
use crate::config::Config;
use crate::detect::{StateError, StateReader};
use crate::event::State;
use crate::storage::StorageError;
use crate::storage::checkpoint::Checkpoint;
use crate::storage::wal::{Position, SegmentSequence};
use crate::template::{ImageError, TemplateOptions, TemplateStore};

const ENGINE: &str = "engine";
pub(super) const TEMPLATES: &str = "templates";
const PICTURE: &str = "picture";
const STREAMS: &str = "streams";
const LANE: &str = "lane-";

/// A checkpoint whose checksums match but whose sections do not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum SectionError {
    #[error("section {0} is missing")]
    Missing(&'static str),
    #[error("section {name}: {source}")]
    State { name: String, source: StateError },
    #[error("section {TEMPLATES}: {0}")]
    Templates(#[from] ImageError),
    #[error("section feedback: {0}")]
    Feedback(serde_json::Error),
    #[error("section recall: {0}")]
    Recall(serde_json::Error),
}

impl SectionError {
    /// Of a checkpoint that a newer oddline wrote the refusal: it is no damage, and nothing to pass over.
    pub(super) fn refused(self, path: &Path) -> Result<(), StorageError> {
        match self {
            Self::State { source: StateError::Newer { found, supported, .. }, .. } => {
                let (what, path) = ("a checkpoint with learned state", path.to_owned());
                Err(StorageError::NewerVersion { what, path, found, supported })
            }
            _ => Ok(()),
        }
    }
}

/// A checkpoint to be written: sections, and the positions it covers.
#[derive(Debug)]
pub(super) struct Sections {
    named: Vec<(String, Vec<u8>)>,
    /// Most of the bytes, and not bytes yet: who composes a checkpoint is a lane, and its events wait.
    lanes: Vec<Arc<LaneState>>,
    pub(super) positions: Vec<(u8, Position)>,
    /// Of two of one run, the higher one is the newer.
    pub(super) order: u64,
    /// Tells, while it is there, that these bytes are held: see [`Core::composed`].
    pub(super) _ticket: Arc<()>,
}

/// What a checkpoint held.
pub(super) struct Restored {
    pub(super) run: u32,
    pub(super) store: TemplateStore,
    pub(super) picture: Picture,
    pub(super) lanes: Vec<LaneState>,
    pub(super) feedback: Feedback,
    pub(super) recall: Recall,
    pub(super) meaning: Option<Arc<Meaning>>,
}

/// Everything of `core` as it is now; of the lanes, what they last published.
pub(super) fn compose(core: &Core) -> Sections {
    let mut named = Vec::new();
    let (lanes, order) = {
        let store = core.store();
        let mut picture = core.picture();
        picture.tidy(&store);
        let mut engine = core.run.to_le_bytes().to_vec();
        engine.push(u8::from(picture.state == State::Ready));
        named.push((ENGINE.to_owned(), engine));
        let mut templates = Vec::new();
        store.checkpoint(&mut templates);
        named.push((TEMPLATES.to_owned(), templates));
        named.push((PICTURE.to_owned(), picture_bytes(&picture)));
        picture.compose(&store)
    };
    let said = core.feedback();
    if !said.is_empty() {
        named.push((feedback::SECTION.to_owned(), said.to_bytes()));
    }
    if let Some(recall) = core.recall().to_bytes() {
        named.push((recall::SECTION.to_owned(), recall));
    }
    if let Some(meaning) = core.meanings.get() {
        named.push((meaning::SECTION.to_owned(), meaning.to_bytes()));
    }
    if let Some(streams) = StreamNames::to_bytes(lanes.iter().map(|lane| &lane.learned.streams)) {
        named.push((STREAMS.to_owned(), streams));
    }
    let positions = lanes.iter().map(|lane| (lane.number, lane.position)).collect();
    Sections { named, lanes, positions, order, _ticket: Arc::clone(&core.composed) }
}

impl Sections {
    /// Those that were bytes from the start.
    pub(super) fn named(&self) -> &[(String, Vec<u8>)] {
        &self.named
    }

    /// Those of lanes, made now.
    pub(super) fn of_lanes(&self) -> Vec<(String, Vec<u8>)> {
        self.lanes.iter().map(|lane| (format!("{LANE}{:02x}", lane.number), lane_bytes(lane))).collect()
    }
}

fn lane_bytes(lane: &LaneState) -> Vec<u8> {
    let mut bytes = lane.position.to_bytes().to_vec();
    bytes.extend_from_slice(&lane.next_segment.0.to_le_bytes());
    lane.learned.model.checkpoint(&mut bytes);
    bytes
}

fn picture_bytes(picture: &Picture) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&picture.events_total.to_le_bytes());
    out.extend_from_slice(&picture.incidents_total.to_le_bytes());
    let mut templates: Vec<_> = picture.templates.iter().collect();
    templates.sort_unstable_by_key(|(id, _)| **id);
    counts::write(templates.into_iter(), &mut out);
    out
}

/// Reads a checkpoint's sections back.
pub(super) fn restore(
    checkpoint: &Checkpoint,
    config: &Config,
    options: TemplateOptions,
) -> Result<Restored, SectionError> {
    let section = |name: &'static str| checkpoint.section(name).ok_or(SectionError::Missing(name));
    let state = |name: &str| {
        let name = name.to_owned();
        move |source| SectionError::State { name, source }
    };
    let engine = section(ENGINE)?;
    let run = StateReader::new(engine).u32("run").map_err(state(ENGINE))?;
    let store = TemplateStore::restore(options, section(TEMPLATES)?)?;
    let mut picture = read_picture(section(PICTURE)?).map_err(state(PICTURE))?;
    picture.state = if engine.get(4) == Some(&1) { State::Ready } else { State::Learning };
    let streams = stream_names(checkpoint).map_err(state(STREAMS))?;
    let mut lanes = Vec::new();
    for (name, bytes) in &checkpoint.sections {
        let number = name.strip_prefix(LANE).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(number) = number {
            let mut lane = read_lane(number, bytes, config, &store).map_err(state(name))?;
            lane.learned.streams = streams.clone();
            lanes.push(lane);
        }
    }
    let feedback = checkpoint.section(feedback::SECTION).map(Feedback::from_bytes).transpose();
    let recall = checkpoint.section(recall::SECTION).map(Recall::from_bytes).transpose();
    let feedback = feedback.map_err(SectionError::Feedback)?.unwrap_or_default();
    let recall = recall.map_err(SectionError::Recall)?.unwrap_or_default();
    let meaning = checkpoint.section(meaning::SECTION).map(Meaning::from_bytes).transpose();
    let meaning = meaning.map_err(state(meaning::SECTION))?.map(Arc::new);
    Ok(Restored { run, store, picture, lanes, feedback, recall, meaning })
}

/// What streams are called.
pub(super) fn stream_names(checkpoint: &Checkpoint) -> Result<StreamNames, StateError> {
    Ok(checkpoint.section(STREAMS).map(StreamNames::from_bytes).transpose()?.unwrap_or_default())
}

fn read_lane(number: u8, bytes: &[u8], config: &Config, store: &TemplateStore) -> Result<LaneState, StateError> {
    let short = |rest: &[u8]| StateError::Short {
        what: "position and next segment",
        expected: Position::BYTES + 8,
        found: rest.len(),
    };
    let (position, rest) = bytes.split_first_chunk().ok_or_else(|| short(bytes))?;
    let (next_segment, model) = rest.split_first_chunk().ok_or_else(|| short(bytes))?;
    let mut learned = Learned::new(super::core::model_options(config), store);
    learned.model.restore(model)?;
    learned.adopt_slots(store);
    Ok(LaneState {
        number,
        learned,
        position: Position::from_bytes(*position),
        next_segment: SegmentSequence(u64::from_le_bytes(*next_segment)),
        deltas_seen: 0,
    })
}

fn read_picture(bytes: &[u8]) -> Result<Picture, StateError> {
    let mut from = StateReader::new(bytes);
    let mut picture = Picture::default();
    picture.events_total = from.u64("events")?;
    picture.incidents_total = from.u64("incidents")?;
    picture.templates = counts::read(&mut from)?;
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::counts::TemplateCount;
    use crate::event::{TemplateId, Timestamp};
    use crate::storage::wal::SegmentSequence;

    #[test]
    fn golden_bytes() {
        let mut picture = Picture::default();
        (picture.events_total, picture.incidents_total) = (258, 3);
        let count = TemplateCount { count: 5, first_seen: Timestamp(-1), last_seen: Timestamp(7) };
        picture.templates.insert(TemplateId(0x0a0b), count);
        let mut expected = vec![2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
        expected.extend([0x0b, 0x0a, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0xff; 8]);
        expected.extend([7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(picture_bytes(&picture), expected);
        let read = read_picture(&expected).unwrap();
        assert_eq!((read.events_total, read.incidents_total, read.templates), (258, 3, picture.templates));

        let store = TemplateStore::new(TemplateOptions::default());
        let config = Config::default();
        let lane = LaneState {
            number: 4,
            learned: Learned::new(super::super::core::model_options(&config), &store),
            position: Position { run: 2, record: 260 },
            next_segment: SegmentSequence(9),
            deltas_seen: 0,
        };
        let bytes = lane_bytes(&lane);
        assert_eq!(bytes[..20], [2, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        let read = read_lane(4, &bytes, &config, &store).unwrap();
        assert_eq!((read.position, read.next_segment), (lane.position, lane.next_segment));
        for cut in 0..40 {
            assert!(read_lane(4, &bytes[..cut], &config, &store).is_err(), "cut at {cut}");
        }
    }
}
