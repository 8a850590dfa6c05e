//! Which template goes when there are too many: S3-FIFO (Yang et al., "FIFO queues are all you need for cache
//! eviction", SOSP 2023), without its ghost queue.
//!
//! A new template enters the small queue, a tenth of the whole. Met again before it reaches the small queue's end it
//! moves to the main queue, else it is evicted. In the main queue a template met since its last turn gets another one.
//!
//! A slot taken out from the middle leaves its item behind, which is skipped when its turn comes: each item carries the
//! ticket its slot had, and a slot's ticket changes when it is pushed or removed. Items left behind are swept
//! out once they are as many as the others, so that a removal costs O(1) in the long run.

use std::collections::VecDeque;

use super::Slot;

#[derive(Debug, Default)]
pub(super) struct EvictionQueue {
    small: VecDeque<Item>,
    main: VecDeque<Item>,
    /// By slot.
    places: Vec<Place>,
    /// Slots in the small queue and in the main one.
    live: [usize; 2],
}

#[derive(Debug, Clone, Copy)]
struct Item {
    slot: Slot,
    ticket: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    ticket: u32,
    queue: Option<Queue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    Small = 0,
    Main = 1,
}

impl EvictionQueue {
    pub(super) fn push(&mut self, slot: Slot) {
        self.push_to(Queue::Small, slot);
    }

    fn push_to(&mut self, queue: Queue, slot: Slot) {
        if slot.index() >= self.places.len() {
            self.places.resize(slot.index() + 1, Place::default());
        }
        let Some(place) = self.places.get_mut(slot.index()) else { return };
        *place = Place { ticket: place.ticket.wrapping_add(1), queue: Some(queue) };
        let item = Item { slot, ticket: place.ticket };
        self.items(queue).push_back(item);
        self.live[queue as usize] += 1;
    }

    fn items(&mut self, queue: Queue) -> &mut VecDeque<Item> {
        match queue {
            Queue::Small => &mut self.small,
            Queue::Main => &mut self.main,
        }
    }

    /// Slots in both queues.
    pub(super) fn len(&self) -> usize {
        self.live.iter().sum()
    }

    /// The small queue and the main one, next to go first.
    pub(super) fn slots(&self) -> [impl Iterator<Item = Slot> + '_; 2] {
        let live = |items: &'_ VecDeque<Item>| {
            items.iter().filter(|item| is_live(&self.places, item)).map(|item| item.slot).collect::<Vec<_>>()
        };
        [live(&self.small).into_iter(), live(&self.main).into_iter()]
    }

    /// Takes in what [`Self::slots`] gave.
    pub(super) fn restore(&mut self, small: Vec<Slot>, main: Vec<Slot>) {
        *self = Self::default();
        small.into_iter().for_each(|slot| self.push_to(Queue::Small, slot));
        main.into_iter().for_each(|slot| self.push_to(Queue::Main, slot));
    }

    /// Takes a slot out, wherever it is.
    pub(super) fn remove(&mut self, slot: Slot) {
        self.leave(slot);
        let [small, main] = self.live;
        if self.small.len() + self.main.len() > 2 * (small + main) + 64 {
            let places = &self.places;
            self.small.retain(|item| is_live(places, item));
            self.main.retain(|item| is_live(places, item));
        }
    }

    fn leave(&mut self, slot: Slot) {
        if let Some(place) = self.places.get_mut(slot.index())
            && let Some(queue) = place.queue.take()
        {
            self.live[queue as usize] -= 1;
        }
    }

    fn pop(&mut self, queue: Queue) -> Option<Slot> {
        loop {
            let item = self.items(queue).pop_front()?;
            if is_live(&self.places, &item) {
                self.leave(item.slot);
                return Some(item.slot);
            }
        }
    }

    /// Takes out the slot to evict. `met` tells whether a slot was met since it was last asked, and forgets it.
    pub(super) fn evict(&mut self, mut met: impl FnMut(Slot) -> bool) -> Option<Slot> {
        let tenth = ((self.live[0] + self.live[1]) / 10).max(1);
        while self.live[0] >= tenth || self.live[1] == 0 {
            let slot = self.pop(Queue::Small)?;
            if !met(slot) {
                return Some(slot);
            }
            self.push_to(Queue::Main, slot);
        }
        // Each slot can be spared once; after a whole turn what is left of the small queue is asked, then the first goes.
        for _ in 0..self.live[1] {
            let slot = self.pop(Queue::Main)?;
            if !met(slot) {
                return Some(slot);
            }
            self.push_to(Queue::Main, slot);
        }
        while let Some(slot) = self.pop(Queue::Small) {
            if !met(slot) {
                return Some(slot);
            }
            self.push_to(Queue::Main, slot);
        }
        self.pop(Queue::Main)
    }
}

fn is_live(places: &[Place], item: &Item) -> bool {
    places.get(item.slot.index()).is_some_and(|place| place.queue.is_some() && place.ticket == item.ticket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_slots_met_once_does_not_evict_those_met_again() {
        let mut queue = EvictionQueue::default();
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
        let mut queue = EvictionQueue::default();
        (0..3).for_each(|n| queue.push(Slot(n)));
        assert_eq!(queue.evict(|_| true), Some(Slot(0)));
        queue.remove(Slot(1));
        assert_eq!(queue.evict(|_| true), Some(Slot(2)));
        assert_eq!(queue.evict(|_| true), None);
    }

    #[test]
    fn a_slot_removed_and_pushed_again_has_its_new_turn_and_what_is_left_behind_is_bounded() {
        let mut queue = EvictionQueue::default();
        (0..3).for_each(|n| queue.push(Slot(n)));
        queue.remove(Slot(0));
        queue.push(Slot(0));
        assert_eq!(queue.slots().map(Iterator::collect::<Vec<_>>), [vec![Slot(1), Slot(2), Slot(0)], vec![]]);
        for _ in 0..10_000 {
            queue.remove(Slot(2));
            queue.push(Slot(2));
        }
        assert!(queue.small.len() <= 2 * 3 + 65);
        assert_eq!(queue.evict(|_| false), Some(Slot(1)));
    }
}
