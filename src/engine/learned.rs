//! What one lane learned, apart from the lane: it outlives it, and a replay builds it too.

use std::collections::HashMap;
use std::sync::Arc;

use super::feedback::Feedback;
use super::picture::Delta;
use super::ruling::TemplateRules;
use super::stream_names::StreamNames;
use crate::detect::categorical::Worded;
use crate::detect::semantic::Oddness;
use crate::detect::severity::Severity;
use crate::detect::{Input, Model, ModelOptions, Scored};
use crate::event::{Observation, Ruling, TemplateId};
use crate::template::{Change, Slot, TemplateStore};

/// A lane's model, and what it knows of the slots the model counts by.
#[derive(Debug, Clone)]
pub(super) struct Learned {
    pub(super) model: Model,
    /// Changes of the store that are applied.
    pub(super) changes_seen: u64,
    /// Of streams the model has series of.
    pub(super) streams: StreamNames,
    slots: Vec<SlotInfo>,
}

#[derive(Debug, Clone, Copy, Default)]
struct SlotInfo {
    id: TemplateId,
    looked_at: Option<LookedAt>,
}

/// What a template's text and id say, once somebody looked.
#[derive(Debug, Clone, Copy)]
struct LookedAt {
    severity: Severity,
    ruling: Option<Ruling>,
    is_like_flagged: bool,
    oddness: Oddness,
}

impl Learned {
    /// The same for a lane that goes on from here: the order and regularity of streams were the other lane's.
    pub(super) fn of_another_lane(&self) -> Self {
        let mut learned = self.clone();
        learned.model.leave_streams();
        learned
    }

    pub(super) fn new(options: ModelOptions, store: &TemplateStore) -> Self {
        let changes_seen = store.changes_since(u64::MAX).1;
        Self { model: Model::new(options), changes_seen, streams: StreamNames::default(), slots: Vec::new() }
    }

    /// With the slots' ids as the store has them now: after a restore, when both are of one moment. Counts of templates that went when the
    /// store was restored (under a smaller cap) go, too.
    pub(super) fn adopt_slots(&mut self, store: &TemplateStore) {
        self.changes_seen = store.changes_since(u64::MAX).1;
        for slot in (0..store.slots() as u32).map(Slot) {
            match store.by_slot(slot) {
                Some(template) => self.note_slot(slot, template.id),
                None => self.model.forget(slot.index()),
            }
        }
    }

    /// Applies what happened to the store since the last time.
    pub(super) fn sync(&mut self, store: &TemplateStore) {
        let (changes, seen) = store.changes_since(self.changes_seen);
        if seen == self.changes_seen {
            return;
        }
        match changes {
            Some(changes) => changes.for_each(|change| self.apply(change, store)),
            None => self.resync(store),
        }
        self.changes_seen = seen;
    }

    /// Whether every change of the store is applied.
    pub(super) fn is_in_sync(&self, store: &TemplateStore) -> bool {
        self.changes_seen == store.changes_since(u64::MAX).1
    }

    /// Learns what other lanes counted.
    pub(super) fn absorb(&mut self, deltas: &[Arc<Delta>], store: &TemplateStore) {
        self.sync(store);
        for delta in deltas {
            let mut slots = HashMap::with_capacity(delta.ids.len());
            for (id, (theirs, _)) in delta.ids.iter().zip(&delta.seen.counts) {
                if let Some(template) = store.by_id(*id) {
                    self.note_slot(template.slot, template.id);
                    slots.insert(*theirs, template.slot.index());
                }
            }
            self.model.absorb(&delta.seen, |theirs| slots.get(&theirs).copied(), delta.is_ready);
        }
    }

    fn apply(&mut self, change: Change, store: &TemplateStore) {
        match change {
            Change::Merged { from, into } => {
                self.model.merge(from.index(), into.index());
                self.clear_slot(from);
                // This lane may never have seen a line of it. If the slot is another's by now, a change that follows says so.
                if let Some(template) = store.by_slot(into) {
                    self.note_slot(into, template.id);
                }
                if let Some(info) = self.slots.get_mut(into.index()) {
                    info.looked_at = None;
                }
            }
            Change::Replaced(slot) => self.model.forget_values(slot.index()),
            Change::Worded { slot, into, place, word } => {
                let (slot, into, place) = (slot.index(), into.index(), usize::from(place));
                self.model.worded(Worded { slot, into, place, word });
            }
            Change::Evicted(slot) => {
                self.model.forget(slot.index());
                self.clear_slot(slot);
            }
        }
    }

    /// Too far behind for single changes: what is no longer where it was is forgotten.
    fn resync(&mut self, store: &TemplateStore) {
        for index in 0..self.slots.len() {
            let slot = Slot(index as u32);
            let id = self.slots.get(index).map(|info| info.id).unwrap_or_default();
            if id != TemplateId::default() && store.by_slot(slot).is_none_or(|template| template.id != id) {
                self.model.forget(index);
                self.clear_slot(slot);
            }
        }
    }

    fn clear_slot(&mut self, slot: Slot) {
        if let Some(info) = self.slots.get_mut(slot.index()) {
            *info = SlotInfo::default();
        }
    }

    /// Notes which template a slot holds.
    #[inline]
    pub(super) fn note_slot(&mut self, slot: Slot, id: TemplateId) {
        if slot.index() >= self.slots.len() {
            self.slots.resize(slot.index() + 1, SlotInfo::default());
        }
        if let Some(info) = self.slots.get_mut(slot.index())
            && info.id != id
        {
            *info = SlotInfo { id, looked_at: None };
        }
    }

    /// The severity of a slot's template, when it was looked at already.
    #[inline]
    pub(super) fn severity(&self, slot: Slot) -> Option<Severity> {
        self.slots.get(slot.index()).and_then(|info| info.looked_at).map(|looked| looked.severity)
    }

    /// What is said of a slot's template besides its score, when it was looked at already.
    #[inline]
    pub(super) fn ruling(&self, slot: Slot) -> Option<Ruling> {
        self.slots.get(slot.index()).and_then(|info| info.looked_at).and_then(|looked| looked.ruling)
    }

    /// Whether a slot's template is like one the user flagged, when it was looked at already.
    #[inline]
    pub(super) fn is_like_flagged(&self, slot: Slot) -> bool {
        self.slots.get(slot.index()).and_then(|info| info.looked_at).is_some_and(|looked| looked.is_like_flagged)
    }

    /// How odd the meaning of a slot's template is, when it was looked at already.
    #[inline]
    pub(super) fn oddness(&self, slot: Slot) -> Oddness {
        self.slots.get(slot.index()).and_then(|info| info.looked_at).map_or(Oddness::NONE, |looked| looked.oddness)
    }

    /// Notes what vectors say of a slot's template that was looked at.
    pub(super) fn note_meaning(&mut self, slot: Slot, is_like_flagged: bool, oddness: Oddness) {
        let looked_at = self.slots.get_mut(slot.index()).and_then(|info| info.looked_at.as_mut());
        if let Some(looked_at) = looked_at {
            (looked_at.is_like_flagged, looked_at.oddness) = (is_like_flagged, oddness);
        }
    }

    /// Looks at the slot's template: severity, and ruling; what its words are like comes with [`Self::note_meaning`].
    pub(super) fn look_at(
        &mut self,
        slot: Slot,
        store: &TemplateStore,
        rules: &TemplateRules,
        feedback: &Feedback,
    ) -> Severity {
        let template = store.by_slot(slot);
        let severity = template.map_or(Severity::NONE, |template| Severity::of_template(&template.text));
        let ruling = template.and_then(|template| rules.of(template).or_else(|| feedback.of(template)));
        if let Some(info) = self.slots.get_mut(slot.index()) {
            info.looked_at = Some(LookedAt { severity, ruling, is_like_flagged: false, oddness: Oddness::NONE });
        }
        severity
    }

    /// Has every template looked at again: what is said of them has changed.
    pub(super) fn look_again(&mut self) {
        self.slots.iter_mut().for_each(|info| info.looked_at = None);
    }

    #[inline]
    pub(super) fn observe(&mut self, input: &Input) -> Scored {
        self.model.observe(input)
    }

    /// Notes what the stream of an event is called, when somebody knows and it is not known yet.
    #[cold]
    pub(super) fn note_stream(&mut self, observation: &Observation<'_>) {
        let Some(name) = observation.stream_name else { return };
        if self.streams.get(observation.stream).is_none() {
            let model = &mut self.model;
            self.streams.note(observation.stream, name.values(), || model.streams_alive());
        }
    }

    /// The template a slot's counts are of.
    pub(super) fn id_of(&self, slot: u32) -> Option<TemplateId> {
        self.slots.get(slot as usize).map(|info| info.id).filter(|id| *id != TemplateId::default())
    }
}
