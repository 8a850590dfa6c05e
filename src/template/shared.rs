//! What lanes read without a lock: whether a slot still holds what it held, and the tree.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::Slot;
use super::tree::Tree;

/// What lanes read without a lock.
#[derive(Debug)]
pub(super) struct SharedSlots {
    /// By slot: generation × 2, plus 1 when met since the evictor last looked.
    generations: Box<[AtomicU32]>,
    pub(super) tree: ArcSwap<Tree>,
    /// Number of trees published.
    pub(super) tree_version: AtomicU64,
    /// Number of changes told.
    pub(super) change_count: AtomicU64,
}

impl SharedSlots {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            generations: (0..capacity).map(|_| AtomicU32::new(2)).collect(),
            tree: ArcSwap::default(),
            tree_version: AtomicU64::new(0),
            change_count: AtomicU64::new(0),
        }
    }

    /// Whether `slot` still holds what it held at `generation`; marks it as met.
    #[inline(always)]
    pub(super) fn is_current(&self, slot: Slot, generation: u32) -> bool {
        let Some(cell) = self.generations.get(slot.index()) else { return false };
        let seen = cell.load(Ordering::Relaxed);
        if seen >> 1 != generation {
            return false;
        }
        if seen & 1 == 0 {
            // A lost race marks nothing or a slot just re-used; either only shifts an eviction.
            cell.fetch_or(1, Ordering::Relaxed);
        }
        true
    }

    pub(super) fn generation(&self, slot: Slot) -> u32 {
        self.generations.get(slot.index()).map_or(0, |cell| cell.load(Ordering::Relaxed) >> 1)
    }

    pub(super) fn renew(&self, slot: Slot) {
        if let Some(cell) = self.generations.get(slot.index()) {
            cell.store((self.generation(slot).wrapping_add(1)) << 1, Ordering::Relaxed);
        }
    }

    pub(super) fn is_met(&self, slot: Slot) -> bool {
        self.generations.get(slot.index()).is_some_and(|cell| cell.load(Ordering::Relaxed) & 1 == 1)
    }

    pub(super) fn take_met(&self, slot: Slot) -> bool {
        self.generations.get(slot.index()).is_some_and(|cell| cell.fetch_and(!1, Ordering::Relaxed) & 1 == 1)
    }
}
