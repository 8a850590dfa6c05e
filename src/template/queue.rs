//! Which template goes when there are too many: S3-FIFO (Yang et al., "FIFO queues are all you need for cache
//! eviction", SOSP 2023), without its ghost queue.
//!
//! A new template enters the small queue, a tenth of the whole. Met again before it reaches the small queue's end it
//! moves to the main queue, else it is evicted. In the main queue a template met since its last turn gets another one.

use std::collections::VecDeque;

use super::Slot;

#[derive(Debug)]
pub(super) struct EvictionQueue {
    small: VecDeque<Slot>,
    main: VecDeque<Slot>,
    small_target: usize,
}

impl EvictionQueue {
    pub(super) fn new(capacity: usize) -> Self {
        Self { small: VecDeque::new(), main: VecDeque::new(), small_target: (capacity / 10).max(1) }
    }

    pub(super) fn push(&mut self, slot: Slot) {
        self.small.push_back(slot);
    }

    /// The small queue and the main one, next to go first.
    pub(super) fn slots(&self) -> [impl ExactSizeIterator<Item = Slot> + '_; 2] {
        [self.small.iter().copied(), self.main.iter().copied()]
    }

    /// Takes in what [`Self::slots`] gave.
    pub(super) fn restore(&mut self, small: Vec<Slot>, main: Vec<Slot>) {
        self.small = small.into();
        self.main = main.into();
    }

    /// Drops the slots that are not live.
    pub(super) fn retain(&mut self, is_live: impl Fn(Slot) -> bool) {
        self.small.retain(|slot| is_live(*slot));
        self.main.retain(|slot| is_live(*slot));
    }

    /// Takes out the slot to evict. `met` tells whether a slot was met since it was last asked, and forgets it.
    pub(super) fn evict(&mut self, mut met: impl FnMut(Slot) -> bool) -> Option<Slot> {
        while self.small.len() >= self.small_target || self.main.is_empty() {
            let slot = self.small.pop_front()?;
            if !met(slot) {
                return Some(slot);
            }
            self.main.push_back(slot);
        }
        // Each slot can be spared once; after a whole turn what is left of the small queue is asked, then the first goes.
        for _ in 0..self.main.len() {
            let slot = self.main.pop_front()?;
            if !met(slot) {
                return Some(slot);
            }
            self.main.push_back(slot);
        }
        while let Some(slot) = self.small.pop_front() {
            if !met(slot) {
                return Some(slot);
            }
            self.main.push_back(slot);
        }
        self.main.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_slots_met_once_does_not_evict_those_met_again() {
        let mut queue = EvictionQueue::new(100);
        let mut known: Vec<Slot> = (0..80).map(Slot).collect();
        known.iter().for_each(|slot| queue.push(*slot));
        (80..100).for_each(|n| queue.push(Slot(n)));
        for next in 100..10_100 {
            let out = queue.evict(|slot| slot.0 < 80).unwrap();
            if out.0 < 80 {
                known.retain(|slot| *slot != out);
            }
            queue.push(Slot(next));
        }
        assert_eq!(known.len(), 80);
    }

    #[test]
    fn evicts_even_when_every_slot_was_met() {
        let mut queue = EvictionQueue::new(3);
        (0..3).for_each(|n| queue.push(Slot(n)));
        assert_eq!(queue.evict(|_| true), Some(Slot(0)));
        queue.retain(|slot| slot != Slot(1));
        assert_eq!(queue.evict(|_| true), Some(Slot(2)));
        assert_eq!(queue.evict(|_| true), None);
    }
}
