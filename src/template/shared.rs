//! What lanes read without a lock: whether a slot still holds what it held, and the tree.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::Slot;
use super::places::Places;
use super::tree::{Published, Skeletons, TREE_VERSIONS, Tree, TreeVersions};

/// Even, as of every template without [`Places`].
const FIRST_GENERATION: u32 = 2;

/// What lanes read without a lock.
#[derive(Debug)]
pub(super) struct SharedSlots {
    /// By slot: generation × 2, plus 1 when met since the evictor last looked. An odd generation is that of a template
    /// which has [`Places`].
    generations: Box<[AtomicU32]>,
    /// By slot, [`Places::words`] and [`Places::single`].
    places: Box<[[AtomicU64; 2]]>,
    published: ArcSwap<Published>,
    /// How often the tree was changed, by number of tokens.
    tree_versions: TreeVersions<AtomicU32>,
    /// Number of changes told.
    pub(super) change_count: AtomicU64,
}

impl SharedSlots {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            generations: (0..capacity).map(|_| AtomicU32::new(FIRST_GENERATION << 1)).collect(),
            places: (0..capacity).map(|_| [const { AtomicU64::new(0) }; 2]).collect(),
            published: ArcSwap::default(),
            tree_versions: [const { AtomicU32::new(0) }; TREE_VERSIONS],
            change_count: AtomicU64::new(0),
        }
    }

    /// Changes with each change to the templates of so many tokens in the tree.
    #[inline(always)]
    pub(super) fn tree_version(&self, tokens: usize) -> u32 {
        self.tree_versions.get(tokens % TREE_VERSIONS).map_or(0, |version| version.load(Ordering::Acquire))
    }

    /// What was published last.
    pub(super) fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// The writer's: its templates of so many tokens are others now.
    pub(super) fn change_tree(&self, tokens: usize) {
        if let Some(version) = self.tree_versions.get(tokens % TREE_VERSIONS) {
            version.fetch_add(1, Ordering::Release);
        }
    }

    /// The writer's: lets lanes have the tree as it is.
    pub(super) fn publish(&self, tree: Tree, exact: Skeletons) {
        let versions = std::array::from_fn(|tokens| self.tree_version(tokens));
        self.published.store(Arc::new(Published { versions, tree, exact }));
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

    /// The writer's: what the slot holds is another now, and has no places.
    pub(super) fn renew(&self, slot: Slot) {
        if let Some(cell) = self.generations.get(slot.index()) {
            cell.store((self.generation(slot) | 1).wrapping_add(1) << 1, Ordering::Relaxed);
        }
    }

    /// The writer's: the template in `slot` has places.
    pub(super) fn set_places(&self, slot: Slot, places: Places) {
        if let (Some([words, single]), Some(cell)) = (self.places.get(slot.index()), self.generations.get(slot.index()))
        {
            words.store(places.words, Ordering::Relaxed);
            single.store(places.single, Ordering::Relaxed);
            cell.fetch_or(2, Ordering::Relaxed);
        }
    }

    /// The places of what `slot` holds; of a template that has them.
    pub(super) fn places(&self, slot: Slot) -> Places {
        let load = |[words, single]: &[AtomicU64; 2]| Places {
            words: words.load(Ordering::Relaxed),
            single: single.load(Ordering::Relaxed),
        };
        self.places.get(slot.index()).map(load).unwrap_or_default()
    }

    pub(super) fn is_met(&self, slot: Slot) -> bool {
        self.generations.get(slot.index()).is_some_and(|cell| cell.load(Ordering::Relaxed) & 1 == 1)
    }

    pub(super) fn take_met(&self, slot: Slot) -> bool {
        self.generations.get(slot.index()).is_some_and(|cell| cell.fetch_and(!1, Ordering::Relaxed) & 1 == 1)
    }
}
