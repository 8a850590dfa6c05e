//! An event of the log is learned again, as [`Lane::observe`](super::lane::Lane::observe) learned it.

use super::lane::{FLAG_ANOMALY, FLAG_LIKE_INCIDENT, FLAG_MUTED, oddness_of};
use super::learned::Learned;
use super::picture::FoldedEvents;
use crate::detect::severity::Severity;
use crate::detect::value::Values;
use crate::detect::{Input, Scored};
use crate::event::TemplateId;
use crate::storage::wal::WalEvent;
use crate::template::{Slot, TemplateStore};

/// Templates that are remembered.
const KNOWN: usize = 1_024;

/// Where templates are that were met already, so that nothing of the store changes when they are met again. To be forgotten before the store learns.
#[derive(Debug)]
pub(super) struct Known(Box<[Option<(TemplateId, Slot)>]>);

impl Default for Known {
    fn default() -> Self {
        Self(vec![None; KNOWN].into())
    }
}

impl Known {
    /// Looks everything up anew.
    pub(super) fn forget(&mut self) {
        self.0.fill(None);
    }

    /// The slot of a template, or of the one it was merged into, which was met.
    #[inline]
    fn meet(&mut self, id: TemplateId, store: &mut TemplateStore, learned: &mut Learned) -> Option<Slot> {
        let place = self.0.get_mut(id.0 as usize % KNOWN)?;
        if let Some((known, slot)) = place
            && *known == id
        {
            return Some(*slot);
        }
        let (slot, own) = store.by_id(id).map(|template| (template.slot, template.id))?;
        let is_met = store.meet(slot);
        learned.note_slot(slot, own);
        if is_met {
            *place = Some((id, slot));
        }
        Some(slot)
    }
}

/// Learns an event, and what its lane scored it with when it learned it alone; `None` when its template is gone: then it only counts.
pub(super) fn event(
    store: &mut TemplateStore,
    known: &mut Known,
    learned: &mut Learned,
    event: &WalEvent,
    events: &mut FoldedEvents,
) -> Option<Scored> {
    events.events += 1;
    events.incidents += u64::from(event.flags & FLAG_ANOMALY != 0);
    events.newest = events.newest.max(event.timestamp);
    let slot = known.meet(event.template, store, learned)?;
    Some(learned.observe(&Input {
        slot: slot.index(),
        timestamp: event.timestamp,
        stream: event.stream,
        severity: Severity::from_code(event.severity),
        values: Values::from_bytes(event.values),
        is_muted: event.flags & FLAG_MUTED != 0,
        is_like_incident: event.flags & FLAG_LIKE_INCIDENT != 0,
        oddness: oddness_of(event.flags),
        ..Input::default()
    }))
}
