//! Transitions of several hosts added.
//!
//! The table of counts is found by hashes, from which the templates cannot be read back: every pair of templates is asked for, and a triple
//! where both its pairs are. With `n` templates that is `n²` looks into half a megabyte; a pair that was never counted is taken for one that was
//! in two of a thousand million cases.

use super::{NOBODY, PAIR, Sequence, TRIPLE};
use crate::detect::joining::Moves;
use crate::detect::table::hash;

/// What a template is called in one model and in the other.
#[derive(Clone, Copy)]
struct Names {
    theirs: u64,
    own: u64,
}

impl Sequence {
    /// Streams whose place in their order had to go for others'.
    pub(in crate::detect) const fn evicted(&self) -> u64 {
        self.streams.evicted()
    }

    /// As if what `other` saw had been seen, too; streams begin anew.
    pub(in crate::detect) fn join(&mut self, other: &Self, moves: &Moves) {
        let scale = self.weight / other.weight;
        let mut names = vec![Names { theirs: NOBODY, own: NOBODY }];
        for (slot, moved) in moves.iter().filter(|(slot, _)| *slot < other.templates.len()) {
            let own = self.name(moved.slot);
            let generation = other.templates.get(slot).map_or(0, |template| template.generation);
            names.push(Names { theirs: u64::from(generation) << 32 | slot as u64, own });
            self.join_template(own, other, slot, scale);
        }
        self.join_counts(other, &names, scale as f32);
        self.events += other.events;
        self.surprisal.sum += other.surprisal.sum;
        self.surprisal.weight += other.surprisal.weight;
    }

    fn join_template(&mut self, own: u64, other: &Self, slot: usize, scale: f64) {
        let Some(theirs) = other.templates.get(slot) else { return };
        self.total += theirs.events * scale;
        if let Some(template) = self.template_mut(own) {
            template.events += theirs.events * scale;
            template.followed += theirs.followed * scale;
            template.surprisal.sum += theirs.surprisal.sum;
            template.surprisal.weight += theirs.surprisal.weight;
            template.told.sum += theirs.told.sum;
            template.told.weight += theirs.told.weight;
        }
    }

    fn join_counts(&mut self, other: &Self, names: &[Names], scale: f32) {
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); names.len()];
        for (before, found) in names.iter().zip(&mut followers) {
            for (at, after) in names.iter().enumerate().skip(1) {
                let pair = other.counts.key(hash(PAIR, before.theirs, after.theirs));
                let (next, with_a_gap) = (other.counts.get(pair), other.counts.get(pair.beside()));
                let own = self.counts.key(hash(PAIR, before.own, after.own));
                if next > 0.0 {
                    found.push(at);
                    self.counts.add(own, next * scale, 0);
                }
                if with_a_gap > 0.0 {
                    self.counts.add(own.beside(), with_a_gap * scale, 0);
                }
            }
        }
        self.join_triples(other, names, &followers, scale);
    }

    fn join_triples(&mut self, other: &Self, names: &[Names], followers: &[Vec<usize>], scale: f32) {
        let after =
            |at: usize| followers.get(at).into_iter().flatten().filter_map(|next| Some((*next, names.get(*next)?)));
        for (at, first) in names.iter().enumerate() {
            for (second_at, second) in after(at) {
                let context = hash(PAIR, first.theirs, second.theirs);
                let own_context = hash(PAIR, first.own, second.own);
                for (_, third) in after(second_at) {
                    let count = other.counts.get(other.counts.key(hash(TRIPLE, context, third.theirs)));
                    if count > 0.0 {
                        let own = self.counts.key(hash(TRIPLE, own_context, third.own));
                        self.counts.add(own, count * scale, 0);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::joining::Moved;
    use crate::detect::{Detector, Input};
    use crate::event::StreamKey;

    fn see(sequence: &mut Sequence, stream: u64, slot: usize) -> f32 {
        sequence.observe(&Input { slot, stream: StreamKey(stream), ..Input::default() })
    }

    fn learned(slots: impl Iterator<Item = usize> + Clone, rounds: usize) -> Sequence {
        let mut sequence = Sequence::new(50_000);
        (0..rounds).for_each(|_| slots.clone().for_each(|slot| _ = see(&mut sequence, 1, slot)));
        sequence
    }

    #[test]
    fn orders_learned_apart_are_both_usual_together_and_others_are_not() {
        let moved = |slot| Some(Moved { slot, keeps_wildcards: true });
        let mut both = Sequence::new(50_000);
        // Slots 0 to 9 of one host are 20 to 11 here, those of the other 30 to 39.
        both.join(&learned(0..10, 300), &Moves::new((0..10).map(|slot| moved(20 - slot)).collect()));
        both.join(&learned((0..10).rev(), 300), &Moves::new((0..10).map(|slot| moved(30 + slot)).collect()));
        assert!((0..10).all(|slot| see(&mut both, 1, 20 - slot) == 0.0));
        assert!((0..10).rev().all(|slot| see(&mut both, 2, 30 + slot) == 0.0));
        let strongest = (0..10).map(|slot| see(&mut both, 2, 30 + slot)).fold(0.0, f32::max);
        assert!(strongest > 8.0, "{strongest}");
    }
}
