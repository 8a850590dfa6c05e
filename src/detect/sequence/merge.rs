//! Transitions of a template that another one takes in.
//!
//! The table of counts is found by hashes, from which the templates cannot be read back, so that every template which can have been next to the one that goes is
//! asked for: two looks for each, and for the triples three times the product of its neighbours, of which the [`MOST_NEIGHBOURS`] most frequent on each side count. That
//! is about a millisecond with ten thousand templates at the worst. What a template that was seen less than [`LEAST_CONTEXT`] times would bring is lost: it is no evidence
//! yet, and a storm of new templates must cost no more than they do.

use super::{LEAST_CONTEXT, NOBODY, PAIR, Sequence, Stream, TRIPLE};
use crate::detect::table::hash;

/// Templates before or after another whose triples are moved.
const MOST_NEIGHBOURS: usize = 128;

/// The template that goes, and the one that takes it in.
#[derive(Clone, Copy)]
struct Renaming {
    from: u64,
    into: u64,
}

impl Renaming {
    fn of(self, name: u64) -> u64 {
        if name == self.from { self.into } else { name }
    }
}

/// A template, and how often it was there.
type Neighbour = (u64, f32);

/// Who was next to a template, and who was one further.
#[derive(Default)]
struct Neighbours {
    after: Vec<Neighbour>,
    before: Vec<Neighbour>,
    second_after: Vec<Neighbour>,
    second_before: Vec<Neighbour>,
}

impl Neighbours {
    /// The most frequent ones.
    fn bounded(mut self) -> Self {
        let Self { after, before, second_after, second_before } = &mut self;
        for found in [after, before, second_after, second_before] {
            found.sort_by(|(a, times), (b, often)| often.total_cmp(times).then(a.cmp(b)));
            found.truncate(MOST_NEIGHBOURS);
        }
        self
    }
}

impl Sequence {
    /// What was learned of the template in `from` is that of the one in `into`, as far as is said above; the slot is free.
    pub(super) fn take_in(&mut self, from: usize, into: usize) {
        let renaming = Renaming { from: self.name(from), into: self.name(into) };
        let Some(gone) = self.template(renaming.from).copied() else { return };
        if gone.events < f64::from(LEAST_CONTEXT) * self.weight {
            return;
        }
        self.move_counts(renaming);
        if let Some(template) = self.template_mut(renaming.into) {
            template.events += gone.events;
            template.followed += gone.followed;
            template.surprisal.sum += gone.surprisal.sum;
            template.surprisal.weight += gone.surprisal.weight;
            template.told.sum += gone.told.sum;
            template.told.weight += gone.told.weight;
        }
        // They are not gone with it.
        if let Some(template) = self.template_mut(renaming.from) {
            template.events = 0.0;
        }
        for stream in self.streams.iter_mut() {
            let (last, before) = (renaming.of(stream.last), renaming.of(stream.before));
            *stream = Stream::new(last, before, stream.sum, stream.context);
        }
    }

    fn move_counts(&mut self, renaming: Renaming) {
        let found = self.move_pairs(renaming).bounded();
        let from = [(renaming.from, 0.0)];
        self.move_triples(renaming, &from, &found.after, &found.second_after);
        self.move_triples(renaming, &found.before, &from, &found.after);
        self.move_triples(renaming, &found.second_before, &found.before, &from);
    }

    fn move_pairs(&mut self, renaming: Renaming) -> Neighbours {
        let mut found = Neighbours::default();
        for other in self.frequent_names() {
            let (next, second) = self.move_pair(renaming, renaming.from, other);
            found.after.extend((next > 0.0).then_some((other, next)));
            found.second_after.extend((second > 0.0).then_some((other, second)));
            if other == renaming.from {
                found.before.extend((next > 0.0).then_some((other, next)));
                found.second_before.extend((second > 0.0).then_some((other, second)));
                continue;
            }
            let (next, second) = self.move_pair(renaming, other, renaming.from);
            found.before.extend((next > 0.0).then_some((other, next)));
            found.second_before.extend((second > 0.0).then_some((other, second)));
        }
        found
    }

    /// Who can be in a context that says something.
    fn frequent_names(&self) -> Vec<u64> {
        let least = f64::from(LEAST_CONTEXT) * self.weight;
        let names = self.templates.iter().enumerate().filter(|(_, template)| template.events >= least);
        let name = |slot: usize, generation: u32| u64::from(generation) << 32 | u64::from(slot as u32);
        std::iter::once(NOBODY).chain(names.map(|(slot, template)| name(slot, template.generation))).collect()
    }

    /// How often `second` came after `first`, and how often with one between them.
    fn move_pair(&mut self, renaming: Renaming, first: u64, second: u64) -> (f32, f32) {
        let old = self.counts.key(hash(PAIR, first, second));
        let (next, with_a_gap) = (self.counts.take(old), self.counts.take(old.beside()));
        if next > 0.0 || with_a_gap > 0.0 {
            let new = self.counts.key(hash(PAIR, renaming.of(first), renaming.of(second)));
            self.add_moved(new, next);
            self.add_moved(new.beside(), with_a_gap);
        }
        (next, with_a_gap)
    }

    fn move_triples(&mut self, renaming: Renaming, first: &[Neighbour], second: &[Neighbour], third: &[Neighbour]) {
        for (first, _) in first {
            for (second, _) in second {
                let context = hash(PAIR, *first, *second);
                let new_context = hash(PAIR, renaming.of(*first), renaming.of(*second));
                for (third, _) in third {
                    let count = self.counts.take(self.counts.key(hash(TRIPLE, context, *third)));
                    self.add_moved(self.counts.key(hash(TRIPLE, new_context, renaming.of(*third))), count);
                }
            }
        }
    }

    fn add_moved(&mut self, to: crate::detect::table::Key, count: f32) {
        if count > 0.0 {
            self.counts.add(to, count, self.events);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Detector, Input};
    use crate::event::StreamKey;

    fn see(sequence: &mut Sequence, stream: u64, slot: usize) -> f32 {
        sequence.observe(&Input { slot, stream: StreamKey(stream), ..Input::default() })
    }

    /// `rounds` times 0, 1 … 9 on two streams, of which every other round has 20 in the place of 4 and 21 in that of 5.
    fn learned(rounds: usize) -> Sequence {
        let mut sequence = Sequence::new(50_000);
        for round in 0..rounds {
            for slot in 0..10 {
                let slot = if round % 2 == 1 && (4..6).contains(&slot) { slot + 16 } else { slot };
                see(&mut sequence, 1, slot);
                see(&mut sequence, 2, slot);
            }
        }
        sequence
    }

    #[test]
    fn an_order_stays_what_it_was_when_templates_in_it_become_one() {
        for (from, into) in [(20, 4), (4, 20)] {
            let mut sequence = learned(300);
            sequence.merge(from, into);
            sequence.merge(from + 1, into + 1);
            let now = |slot: usize| if (4..6).contains(&slot) { into + slot - 4 } else { slot };
            let total = sequence.total / sequence.weight;
            assert!((total - 5_800.0).abs() < 300.0, "{total}: nothing of it is gone");
            let strongest = (0..20).map(|n| see(&mut sequence, 1, now(n % 10))).fold(0.0, f32::max);
            assert_eq!(strongest, 0.0, "{from} into {into}");
            assert!(sequence.surprise() < 0.05);
            let odd = (0..10).rev().map(|slot| see(&mut sequence, 2, now(slot))).fold(0.0, f32::max);
            assert!(odd > 8.0, "{odd}: another order is one still");
        }
    }

    #[test]
    fn the_stream_that_saw_a_template_last_goes_on_from_what_it_became() {
        let mut sequence = learned(300);
        (0..10).chain([0, 1, 2, 3, 20]).for_each(|slot| _ = see(&mut sequence, 1, slot));
        sequence.merge(20, 4);
        see(&mut sequence, 1, 21);
        assert!(sequence.surprise() < 0.05, "{}", sequence.surprise());
    }

    #[test]
    fn repeats_of_the_merged_template_are_counted_once() {
        let mut sequence = Sequence::new(1_000_000);
        (0..1_000).for_each(|_| _ = see(&mut sequence, 1, 3));
        sequence.merge(3, 5);
        let name = sequence.name(5);
        let pair = sequence.counts.get(sequence.counts.key(hash(PAIR, name, name)));
        assert!((pair - 999.0).abs() < 2.0, "{pair}");
        let triple = hash(TRIPLE, hash(PAIR, name, name), name);
        let triple = sequence.counts.get(sequence.counts.key(triple));
        assert!((triple - 998.0).abs() < 2.0, "{triple}");
    }

    #[test]
    fn what_was_seen_a_few_times_is_lost_and_costs_no_look() {
        let mut sequence = learned(300);
        (0..3).for_each(|_| _ = see(&mut sequence, 3, 40));
        let before = sequence.total;
        sequence.merge(40, 4);
        let gone = (before - sequence.total) / sequence.weight;
        assert!((gone - 3.0).abs() < 0.1, "{gone}");
        // Slots that were never seen.
        sequence.merge(1_000, 2_000);
        assert_eq!((0..10).map(|slot| see(&mut sequence, 1, slot)).fold(0.0, f32::max), 0.0);
    }
}
