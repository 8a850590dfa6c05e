//! What all lanes counted together, and what each of them last published.
//!
//! A lane folds and publishes in one step, under one lock: what the picture holds of a lane is what the lane's published state holds,
//! and ends at its position. So a checkpoint composed at any time counts no event twice and misses none that the log does not have.
//!
//! What a lane counted is kept as a [`Delta`] until every lane that is held by a thread has published with it, up to a bound. A lane that
//! comes later than that (it was parked, or idle) takes over the model of one that missed nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::counts::TemplateCount;
use super::learned::Learned;
use crate::detect::Outbox;
use crate::event::{State, TemplateId, Timestamp};
use crate::storage::wal::{Position, SegmentSequence};
use crate::template::TemplateStore;

/// Counts in all deltas kept: 16 bytes each.
const COUNTS_KEPT: usize = 1 << 18;

/// What one lane counted between two folds.
#[derive(Debug)]
pub(super) struct Delta {
    pub(super) lane: u8,
    /// Of each count in `seen` the template, which the lane's slots may hold no longer; the default where it is not known.
    pub(super) ids: Vec<TemplateId>,
    pub(super) seen: Outbox,
    pub(super) is_ready: bool,
}

impl Delta {
    /// What `learned`, which must be in sync with the store, saw since the last time.
    pub(super) fn of(lane: u8, learned: &mut Learned) -> Self {
        let seen = learned.model.take_outbox();
        let ids = seen.counts.iter().map(|(slot, _)| learned.id_of(*slot).unwrap_or_default()).collect();
        Self { lane, ids, seen, is_ready: learned.model.state() == State::Ready }
    }

    fn len(&self) -> usize {
        self.seen.counts.len()
            + self.seen.bins.len()
            + self.seen.share_bins.len()
            + self.seen.ranges.iter().map(Vec::len).sum::<usize>()
    }
}

/// What a lane adds to the picture besides its delta.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FoldedEvents {
    pub(super) events: u64,
    pub(super) incidents: u64,
    pub(super) newest: Timestamp,
}

/// What a lane learned up to a place in its log.
#[derive(Debug, Clone)]
pub(super) struct LaneState {
    pub(super) number: u8,
    pub(super) learned: Learned,
    /// The log holds nothing of `learned` that comes from here on.
    pub(super) position: Position,
    /// The segment that comes after all that this lane ever began.
    pub(super) next_segment: SegmentSequence,
    /// Deltas of other lanes that `learned` holds.
    pub(super) deltas_seen: u64,
}

/// The picture folded from all lanes.
#[derive(Debug, Default)]
pub(super) struct Picture {
    pub(super) templates: HashMap<TemplateId, TemplateCount>,
    pub(super) events_total: u64,
    pub(super) incidents_total: u64,
    pub(super) state: State,
    published: BTreeMap<u8, Arc<LaneState>>,
    /// Lanes that no thread holds: no delta is kept for them.
    parked: BTreeSet<u8>,
    deltas: VecDeque<Arc<Delta>>,
    deltas_total: u64,
    counts_kept: usize,
    composed: u64,
}

/// What a lane has to take in after a fold.
pub(super) enum Unseen {
    /// These, in order.
    Deltas(Vec<Arc<Delta>>),
    /// More than is kept: ask for [`Picture::current`].
    Missed,
}

impl Picture {
    /// Takes in what a lane counted, and its state with it; returns what it has not seen, and how far it has seen with that.
    pub(super) fn fold(&mut self, mut state: LaneState, delta: Delta, events: FoldedEvents) -> (Unseen, u64) {
        self.count(&delta, events);
        let (number, seen) = (state.number, state.deltas_seen);
        if delta.len() > 0 {
            if seen == self.deltas_total {
                state.deltas_seen += 1;
            }
            self.keep(delta);
        }
        self.publish(Arc::new(state));
        let unseen = self.unseen(number, seen);
        self.drop_seen();
        (unseen, self.deltas_total)
    }

    /// Adds what a lane counted to the totals.
    pub(super) fn count(&mut self, delta: &Delta, events: FoldedEvents) {
        self.events_total += events.events;
        self.incidents_total += events.incidents;
        if delta.is_ready {
            self.state = State::Ready;
        }
        let known = delta.ids.iter().zip(&delta.seen.counts).filter(|(id, _)| **id != TemplateId::default());
        for (id, (_, count)) in known {
            let new = TemplateCount { first_seen: events.newest, last_seen: events.newest, count: 0 };
            let entry = self.templates.entry(*id).or_insert(new);
            entry.count += u64::from(*count);
            entry.last_seen = entry.last_seen.max(events.newest);
        }
    }

    /// Deltas ever folded.
    pub(super) fn deltas_total(&self) -> u64 {
        self.deltas_total
    }

    fn keep(&mut self, delta: Delta) {
        self.counts_kept += delta.len();
        self.deltas.push_back(Arc::new(delta));
        self.deltas_total += 1;
    }

    fn kept_from(&self) -> u64 {
        self.deltas_total - self.deltas.len() as u64
    }

    fn drop_seen(&mut self) {
        let held = self.published.values().filter(|state| !self.parked.contains(&state.number));
        let needed_from = held.map(|state| state.deltas_seen).min().unwrap_or(self.deltas_total);
        while self.kept_from() < needed_from || self.counts_kept > COUNTS_KEPT {
            let Some(delta) = self.deltas.pop_front() else { return };
            self.counts_kept -= delta.len();
        }
    }

    /// What a lane that holds the first `seen` deltas has to take in.
    pub(super) fn unseen(&self, number: u8, seen: u64) -> Unseen {
        if seen < self.kept_from() {
            return Unseen::Missed;
        }
        let from = usize::try_from(seen - self.kept_from()).unwrap_or(usize::MAX);
        Unseen::Deltas(self.deltas.iter().skip(from).filter(|delta| delta.lane != number).cloned().collect())
    }

    /// Makes `state` what checkpoints hold of its lane.
    pub(super) fn publish(&mut self, state: Arc<LaneState>) {
        self.published.insert(state.number, state);
    }

    /// What a lane has published, brought up to the store and to what all lanes folded.
    pub(super) fn current(&self, number: u8, store: &TemplateStore) -> Option<Arc<LaneState>> {
        let own = self.published.get(&number)?;
        let (source, deltas) = match (self.unseen(number, own.deltas_seen), self.freshest()) {
            (Unseen::Deltas(deltas), _) => (own, deltas),
            (Unseen::Missed, Some((fresh, deltas))) => (fresh, deltas),
            (Unseen::Missed, None) => (own, self.deltas.iter().filter(|delta| delta.lane != number).cloned().collect()),
        };
        if Arc::ptr_eq(source, own) && deltas.is_empty() && own.learned.is_in_sync(store) {
            return Some(Arc::clone(own));
        }
        let is_own = Arc::ptr_eq(source, own);
        let mut learned = if is_own { source.learned.clone() } else { source.learned.of_another_lane() };
        learned.absorb(&deltas, store);
        Some(Arc::new(LaneState { learned, deltas_seen: self.deltas_total, ..LaneState::clone(own) }))
    }

    /// The state that has seen most, and what it has not seen.
    fn freshest(&self) -> Option<(&Arc<LaneState>, Vec<Arc<Delta>>)> {
        let state = self.published.values().max_by_key(|state| state.deltas_seen)?;
        match self.unseen(state.number, state.deltas_seen) {
            Unseen::Deltas(deltas) => Some((state, deltas)),
            Unseen::Missed => None,
        }
    }

    /// The state a thread that takes lane `fresh.number` goes on from: its own, or for a new lane what the others know, or else `fresh`.
    pub(super) fn take(&mut self, fresh: LaneState, store: &TemplateStore) -> LaneState {
        let number = fresh.number;
        let state = self.current(number, store).unwrap_or_else(|| {
            let known = self.published.keys().next().and_then(|first| self.current(*first, store));
            let learned = known.map_or_else(|| fresh.learned.clone(), |state| state.learned.of_another_lane());
            Arc::new(LaneState { learned, deltas_seen: self.deltas_total, ..fresh })
        });
        self.parked.remove(&number);
        self.publish(Arc::clone(&state));
        LaneState::clone(&state)
    }

    /// Notes that no thread holds the lane any more.
    pub(super) fn park(&mut self, number: u8) {
        self.parked.insert(number);
    }

    /// Of every lane what a checkpoint holds, and the number of this composition: of two, the higher one is the newer.
    pub(super) fn compose(&mut self, store: &TemplateStore) -> (Vec<Arc<LaneState>>, u64) {
        self.composed += 1;
        (self.published.keys().filter_map(|number| self.current(*number, store)).collect(), self.composed)
    }

    /// Whether [`Self::tidy`] is worth its while.
    pub(super) fn is_untidy(&self, max_templates: usize) -> bool {
        self.templates.len() > max_templates.saturating_mul(2)
    }

    /// Drops counts of templates the store no longer has; counts of merged ones move.
    pub(super) fn tidy(&mut self, store: &TemplateStore) {
        let gone: Vec<TemplateId> =
            self.templates.keys().filter(|id| store.by_id(**id).is_none_or(|t| t.id != **id)).copied().collect();
        for id in gone {
            let Some(old) = self.templates.remove(&id) else { continue };
            if let Some(template) = store.by_id(id) {
                self.templates.entry(template.id).or_insert(TemplateCount { count: 0, ..old }).add(&old);
            }
        }
    }

    /// Bytes held besides the lanes' states, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.templates.capacity() * (size_of::<(TemplateId, TemplateCount)>() + 1) + self.counts_kept * 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::engine::core::model_options;
    use crate::template::TemplateOptions;

    fn state(number: u8, learned: Learned, deltas_seen: u64) -> LaneState {
        let (position, next_segment) = (Position::default(), SegmentSequence::default());
        LaneState { number, learned, position, next_segment, deltas_seen }
    }

    fn delta(lane: u8, counts: Vec<(TemplateId, u32)>) -> Delta {
        let seen = Outbox {
            counts: counts.iter().enumerate().map(|(slot, (_, count))| (slot as u32, *count)).collect(),
            weights: vec![1.0; counts.len()],
            ranges: vec![Vec::new(); counts.len()],
            bins: vec![(0, 1)],
            share_bins: vec![(0, 1)],
            newest: Timestamp::default(),
        };
        Delta { lane, ids: counts.into_iter().map(|(id, _)| id).collect(), seen, is_ready: false }
    }

    #[test]
    fn deltas_are_bounded_and_who_missed_some_takes_over_from_who_did_not() {
        let mut store = TemplateStore::new(TemplateOptions::default());
        let id = store.learn_text(b"alpha one").id;
        let learned = Learned::new(model_options(&Config::default()), &store);
        let mut picture = Picture::default();
        let mut idle = picture.take(state(0, learned.clone(), 0), &store);
        let mut busy = picture.take(state(1, learned, 0), &store);
        let unknown: Vec<_> = (0..COUNTS_KEPT as u64 / 2).map(|n| (TemplateId(n), 1)).collect();
        for _ in 0..5 {
            let counts = [&[(id, 7)], unknown.as_slice()].concat();
            busy.learned.absorb(&[Arc::new(delta(9, vec![(id, 7)]))], &store);
            busy.deltas_seen = picture.fold(busy.clone(), delta(1, counts), FoldedEvents::default()).1;
            assert!(picture.counts_kept <= COUNTS_KEPT);
        }
        assert!(matches!(picture.unseen(0, idle.deltas_seen), Unseen::Missed));
        let caught_up = picture.current(0, &store).unwrap();
        let slot = store.by_id(id).unwrap().slot.index();
        assert!((caught_up.learned.model.decayed_count(slot) - 35.0).abs() < 0.01);
        assert_eq!((caught_up.number, caught_up.deltas_seen), (0, 5));
        // Once it has folded, nothing needs to be kept for anyone.
        idle.deltas_seen = 5;
        picture.fold(idle, delta(0, Vec::new()), FoldedEvents::default());
        picture.fold(busy.clone(), delta(1, Vec::new()), FoldedEvents::default());
        assert!(picture.deltas.len() <= 2, "{}", picture.deltas.len());
    }

    #[test]
    fn one_lane_alone_keeps_no_deltas() {
        let store = TemplateStore::new(TemplateOptions::default());
        let learned = Learned::new(model_options(&Config::default()), &store);
        let mut picture = Picture::default();
        let mut lane = picture.take(state(0, learned, 0), &store);
        for _ in 0..10 {
            let (unseen, seen) = picture.fold(lane.clone(), delta(0, Vec::new()), FoldedEvents::default());
            assert!(matches!(unseen, Unseen::Deltas(deltas) if deltas.is_empty()));
            lane.deltas_seen = seen;
        }
        assert_eq!((picture.deltas.len(), picture.deltas_total), (0, 10));
    }
}
