//! Words that become values, since templates merge that differ in them.
//!
//! A set that is made of templates' words has their history: as many events, and it grew last when the newest of the templates was founded. When that
//! was among the events of these templates is taken to be when it was among all events of the model. Of a template whose first event is not known, such as
//! one of another host, the word counts as just come.

use super::{Categorical, SLOTS, Wildcard, Worded};

impl Wildcard {
    /// Adds `events` of one word, `quiet` of all that are there then being of after the last new one.
    fn add(&mut self, word: u8, events: u32, quiet: f64) {
        self.events = self.events.saturating_add(events);
        if word > 0 && !self.knows(word) {
            self.take(word);
        }
        self.grew_at = self.events.saturating_sub((f64::from(self.events) * quiet) as u32);
    }

    fn quiet_part(&self) -> f64 {
        f64::from(self.events - self.grew_at.min(self.events)) / f64::from(self.events.max(1))
    }
}

impl Categorical {
    /// Notes after how many events of the model, itself included, the first of a slot came.
    #[cold]
    pub(in crate::detect) fn found(&mut self, slot: usize, events: u32) {
        if slot >= self.founded.len() {
            if events == 0 {
                return;
            }
            self.founded.resize(slot + 1, 0);
        }
        if let Some(founded) = self.founded.get_mut(slot) {
            *founded = events;
        }
    }

    fn founded(&self, slot: usize) -> Option<u32> {
        self.founded.get(slot).copied().filter(|events| *events > 0)
    }

    /// `from` has become part of `into`: it is as old as the older one.
    pub(super) fn found_earlier(&mut self, from: usize, into: usize) {
        if let (Some(gone), Some(kept)) = (self.founded(from), self.founded(into)) {
            self.found(into, gone.min(kept));
        }
        self.found(from, 0);
    }

    /// A word of a template that had `events`, none when it was never met, is a value when the model has seen `now`.
    pub(in crate::detect) fn worded(&mut self, worded: Worded, events: u32, now: u32) {
        let Worded { slot, into, place, word } = worded;
        if place >= SLOTS {
            return;
        }
        self.insert(slot, place);
        if events == 0 {
            return;
        }
        let (own, kept) = (self.founded(slot), self.founded(into));
        let Some(cell) = self.wildcards.of(into, place + 1).get_mut(place) else { return };
        let quiet = match (own, kept) {
            (Some(own), Some(_)) if cell.events == 0 => f64::from(u8::from(own < now)),
            _ if word > 0 && cell.knows(word) => cell.quiet_part(),
            (Some(own), Some(kept)) if word > 0 => {
                let span = |since: u32| f64::from(now.saturating_sub(since));
                let last = span(own).min(cell.quiet_part() * span(kept));
                if own.min(kept) < now { last / span(own.min(kept)) } else { 0.0 }
            }
            _ => 0.0,
        };
        cell.add(word, events, quiet);
        self.note_wanted(into);
        if let (Some(own), Some(kept)) = (own, kept) {
            self.found(into, own.min(kept));
        }
    }

    /// Moves what is known of a slot's places on by one, from `place` on.
    fn insert(&mut self, slot: usize, place: usize) {
        let length = self.wildcards.get(slot).len();
        if place < length {
            let cells = self.wildcards.of(slot, length + 1);
            if let Some(behind) = cells.get_mut(place..) {
                behind.rotate_right(1);
            }
            if let Some(cell) = cells.get_mut(place) {
                *cell = Wildcard::default();
            }
            self.note_wanted(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::value::Values;
    use crate::detect::{Detector, Input, StateReader};

    const WORDED: Worded = Worded { slot: 0, into: 0, place: 0, word: 1 };

    /// What a word says at the places of slot 0, the last of `words` at the last.
    fn see(categorical: &mut Categorical, words: &[u8]) -> f32 {
        let mut values = Values::default();
        values.words.iter_mut().zip(words).for_each(|(place, word)| *place = *word);
        categorical.observe(&Input { values, ..Input::default() })
    }

    /// Three templates of a thousand events each, the last founded at event `last` of three thousand.
    fn merged(last: u32) -> Categorical {
        let mut categorical = Categorical::default();
        for (slot, founded) in [(0, 1), (1, 2), (2, last)] {
            categorical.found(slot, founded);
            categorical.worded(Worded { slot, word: slot as u8 + 1, ..WORDED }, 1_000, 3_000);
        }
        (1..3).for_each(|slot| categorical.merge(slot, 0));
        categorical
    }

    #[test]
    fn words_of_templates_that_were_all_founded_long_ago_are_a_closed_set_at_once() {
        assert_eq!(see(&mut merged(3), &[2]), 0.0);
        assert!(see(&mut merged(3), &[9]) > 6.0);
        assert_eq!(see(&mut merged(2_900), &[9]), 0.0, "one of them just came");
    }

    #[test]
    fn the_word_of_a_template_whose_beginning_is_not_known_counts_as_just_come() {
        let mut categorical = merged(3);
        categorical.worded(Worded { slot: 5, word: 5, ..WORDED }, 10, 3_000);
        assert_eq!((see(&mut categorical, &[5]), see(&mut categorical, &[9])), (0.0, 0.0));
    }

    #[test]
    fn a_template_that_was_never_met_has_no_word_yet() {
        let mut categorical = merged(3);
        categorical.worded(Worded { slot: 5, word: 5, ..WORDED }, 0, 3_000);
        assert!(see(&mut categorical, &[5]) > 6.0);
    }

    #[test]
    fn a_new_place_before_others_moves_what_is_known_of_them() {
        let mut categorical = merged(3);
        categorical.worded(Worded { place: 0, word: 7, ..WORDED }, 3_000, 3_000);
        assert_eq!(see(&mut categorical, &[7, 2]), 0.0);
        assert!(see(&mut categorical.clone(), &[7, 9]) > 6.0 && see(&mut categorical, &[9, 2]) > 6.0);
        for place in [SLOTS - 1, SLOTS, 255] {
            categorical.worded(Worded { place, ..WORDED }, 10, 3_000);
        }
        assert!(categorical.wildcards.get(0).len() <= SLOTS);
    }

    #[test]
    fn when_templates_were_founded_survives_a_checkpoint_and_is_forgotten_with_them() {
        let mut categorical = merged(3);
        let mut bytes = Vec::new();
        categorical.checkpoint(&mut bytes);
        let mut again = Categorical::default();
        again.restore(&mut StateReader::new(&bytes)).unwrap();
        assert_eq!((again.founded(0), again.founded(1)), (Some(1), None));
        categorical.forget(0);
        assert_eq!(categorical.founded(0), None);
    }
}
