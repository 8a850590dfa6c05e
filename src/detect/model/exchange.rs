//! What one lane tells the others: events by template and by bin of the calibration since it was last asked.

use crate::detect::calibration::BINS;
use crate::event::Timestamp;

/// What a lane saw since it was last asked, for the other lanes.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Outbox {
    /// Events by template slot.
    pub counts: Vec<(u32, u32)>,
    /// What they count together in windows, in the order of `counts`.
    pub weights: Vec<f32>,
    /// Of each wildcard of the slot, lowest and highest number known, in the order of `counts`.
    pub ranges: Vec<Vec<(f32, f32)>>,
    /// Events by bin of the calibration.
    pub bins: Vec<(u16, u32)>,
    /// The same of all events, repeats too.
    pub share_bins: Vec<(u16, u32)>,
    /// Time of the last.
    pub newest: Timestamp,
}

/// What was seen of a template since the lanes last exchanged it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub events: u32,
    /// What they count together in windows.
    pub weight: f32,
}

/// That of every template, emptied as a whole without touching what is zero.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    seen: Vec<Seen>,
    touched: Vec<u32>,
}

impl Tally {
    #[inline]
    pub(super) fn add(&mut self, index: usize, more: Seen) {
        if index >= self.seen.len() {
            self.seen.resize(index + 1, Seen::default());
        }
        if let Some(seen) = self.seen.get_mut(index) {
            if seen.events == 0 {
                self.touched.push(index as u32);
            }
            seen.events = seen.events.saturating_add(more.events);
            seen.weight += more.weight;
        }
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = (u32, Seen)> + '_ {
        let all = &mut self.seen;
        self.touched.drain(..).filter_map(|index| {
            let seen = std::mem::take(all.get_mut(index as usize)?);
            (seen.events > 0).then_some((index, seen))
        })
    }

    pub(super) fn merge(&mut self, from: usize, into: usize) {
        let moved = self.seen.get(from).copied().unwrap_or_default();
        if moved.events > 0 {
            self.clear(from);
            self.add(into, moved);
        }
    }

    pub(super) fn clear(&mut self, index: usize) {
        if let Some(seen) = self.seen.get_mut(index) {
            *seen = Seen::default();
        }
    }
}

/// Events by bin since the lanes last exchanged them.
#[derive(Debug, Clone)]
pub(super) struct SeenBins(Box<[u32]>);

impl SeenBins {
    pub(super) fn new() -> Self {
        Self(vec![0; BINS].into())
    }

    #[inline]
    pub(super) fn add(&mut self, bin: usize) {
        if let Some(events) = self.0.get_mut(bin) {
            *events = events.saturating_add(1);
        }
    }

    pub(super) fn take(&mut self) -> Vec<(u16, u32)> {
        let bins = self.0.iter_mut().zip(0u16..).map(|(events, bin)| (bin, std::mem::take(events)));
        bins.filter(|(_, events)| *events > 0).collect()
    }
}
