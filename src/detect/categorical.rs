//! A value never seen in a place that held few.
//!
//! A wildcard starts out closed; after [`MOST_WORDS`] different values it is open for good. In a closed one that has been seen often
//! and has not grown lately, the evidence of a new value is −ln of the share of events that brought one. What decides is the wildcard's own
//! history: a set that just grew says little about whether it is complete.
//!
//! Values are known by eight bits of hash: of a set of four, one new value in 64 goes unnoticed.
//!
//! Where templates merge since words differ, the words are the values of a place of their own, and each template tells of one word how often it was seen and since
//! when ([`Worded`]).

mod join;
mod words;

use super::logarithm::ln;
use super::runs::Runs;
use super::value::{self, SLOTS};
use super::{Detector, Input, StateError, StateReader};
use crate::event::DetectorKind;

/// Values a closed wildcard has at the most: more than the templates that merge, whose words are where a wildcard of words begins.
pub const MOST_WORDS: usize = 16;

/// The same before words had places.
const FORMER_MOST_WORDS: usize = 8;

/// Events of a wildcard before it can be called closed.
const LEAST_EVENTS: u32 = 50;

/// The part of its events since the last new value, for it to be called closed.
const QUIET_PART: f32 = 0.3;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Wildcard {
    events: u32,
    /// Of the last new value.
    grew_at: u32,
    words: [u8; MOST_WORDS],
    length: u8,
    is_open: bool,
}

/// Small sets of every template's wildcards.
#[derive(Debug, Clone, Default)]
pub struct Categorical {
    wildcards: Runs<Wildcard>,
    place: Option<usize>,
    /// Events of the model until the first of each slot, that included; 0: not known.
    founded: Vec<u32>,
    /// By slot, [worked out](Self::note_wanted) anew whenever one of its wildcards may have been opened, or has moved.
    wanted: Vec<u8>,
}

/// A word that a template had in every line is a value from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worded {
    /// The template's slot.
    pub slot: usize,
    /// Where its values belong to from now on, or the same.
    pub into: usize,
    /// The place it has there, which is a new one of `slot`.
    pub place: usize,
    /// The code of the word, 0 when there was not one alone.
    pub word: u8,
}

impl Wildcard {
    /// Takes in an event with this word; the evidence of one that is new.
    #[inline]
    fn observe(&mut self, word: u8) -> Option<f32> {
        self.events = self.events.saturating_add(1);
        if self.is_open || self.knows(word) { None } else { Some(self.grow(word)) }
    }

    #[cold]
    fn grow(&mut self, word: u8) -> f32 {
        let evidence = self.surprise();
        self.grew_at = self.events;
        self.take(word);
        evidence
    }

    /// Whether a word, which is not 0, is in the set: all places are compared at once, and 0 is in those that are free.
    #[inline]
    fn knows(&self, word: u8) -> bool {
        self.words.iter().fold(false, |found, known| found | (*known == word))
    }

    fn take(&mut self, word: u8) {
        match self.words.get_mut(usize::from(self.length)) {
            Some(place) => {
                *place = word;
                self.length += 1;
            }
            None => self.is_open = true,
        }
    }

    fn surprise(&self) -> f32 {
        let events = self.events as f32;
        let quiet = (self.events - self.grew_at.min(self.events)) as f32;
        if self.events < LEAST_EVENTS || self.length == 0 || quiet < QUIET_PART * events {
            return 0.0;
        }
        ln(events / (f32::from(self.length) + 1.0)).max(0.0)
    }
}

impl Categorical {
    /// The values of the slot's template are at other places from now on.
    pub(super) fn forget_values(&mut self, slot: usize) {
        self.wildcards.forget(slot);
        self.note_wanted(slot);
    }

    /// The wildcard whose value the last event's evidence rests on, if it gave any.
    pub fn place(&self) -> Option<usize> {
        self.place
    }

    /// A bit for each wildcard of a slot whose words matter still.
    #[inline]
    pub fn wanted(&self, slot: usize) -> u8 {
        let wanted = self.wanted.get(slot).copied().unwrap_or(u8::MAX);
        debug_assert_eq!(wanted, self.wanted_of(slot), "of slot {slot}");
        wanted
    }

    fn wanted_of(&self, slot: usize) -> u8 {
        let cells = self.wildcards.get(slot);
        // A wildcard that came later is known by no cell yet.
        let beyond = u8::MAX.checked_shl(cells.len() as u32).unwrap_or(0);
        cells.iter().enumerate().fold(beyond, |bits, (place, cell)| bits | u8::from(!cell.is_open) << place)
    }

    /// Of an event whose first `length` wildcards have the words.
    fn observe_words(&mut self, input: &Input, length: usize) -> f32 {
        let words = &input.values.words;
        let (mut strongest, mut has_grown) = (0.0, false);
        let wildcards = self.wildcards.of(input.slot, length).iter_mut().zip(words).enumerate();
        for (place, (wildcard, word)) in wildcards.filter(|(_, (_, word))| **word > 0) {
            let Some(evidence) = wildcard.observe(*word) else { continue };
            has_grown = true;
            if evidence > strongest {
                strongest = evidence;
                self.place = Some(place);
            }
        }
        if has_grown {
            self.note_wanted(input.slot);
        }
        strongest
    }

    #[cold]
    fn note_wanted(&mut self, slot: usize) {
        let wanted = self.wanted_of(slot);
        if slot >= self.wanted.len() {
            self.wanted.resize(slot + 1, u8::MAX);
        }
        if let Some(place) = self.wanted.get_mut(slot) {
            *place = wanted;
        }
    }
}

impl Detector for Categorical {
    const KIND: DetectorKind = DetectorKind::Categorical;

    #[inline]
    fn observe(&mut self, input: &Input) -> f32 {
        self.place = None;
        match value::length(&input.values.words) {
            0 => 0.0,
            length => self.observe_words(input, length),
        }
    }

    fn merge(&mut self, from: usize, into: usize) {
        let gone: Vec<Wildcard> = self.wildcards.get(from).to_vec();
        self.wildcards.forget(from);
        // Where values moved nothing is known of them.
        let kept = self.wildcards.of(into, gone.len());
        kept.iter_mut().zip(&gone).for_each(|(wildcard, gone)| wildcard.unite(gone));
        [from, into].into_iter().for_each(|slot| self.note_wanted(slot));
        self.found_earlier(from, into);
    }

    fn forget(&mut self, slot: usize) {
        self.forget_values(slot);
        self.found(slot, 0);
    }

    fn checkpoint(&self, out: &mut Vec<u8>) {
        self.wildcards.checkpoint(out, |wildcard, out| {
            out.extend_from_slice(&wildcard.events.to_le_bytes());
            out.extend_from_slice(&wildcard.grew_at.to_le_bytes());
            out.extend_from_slice(&wildcard.words);
            out.extend_from_slice(&(u32::from(wildcard.length) << 1 | u32::from(wildcard.is_open)).to_le_bytes());
        });
        out.extend_from_slice(&(self.founded.len() as u32).to_le_bytes());
        self.founded.iter().for_each(|events| out.extend_from_slice(&events.to_le_bytes()));
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let what = "templates' first events";
        let mut restored = Self::sets(from, MOST_WORDS)?;
        let slots = from.length(what, super::MOST_TEMPLATES, 4)?;
        restored.founded = (0..slots).map(|_| from.u32(what)).collect::<Result<_, _>>()?;
        *self = restored;
        Ok(())
    }
}

impl Categorical {
    /// Takes in what [`Self::checkpoint`] wrote before words had places.
    ///
    /// # Errors
    /// As [`Detector::restore`].
    pub(super) fn restore_former(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        *self = Self::sets(from, FORMER_MOST_WORDS)?;
        Ok(())
    }

    /// Sets of so many words.
    fn sets(from: &mut StateReader<'_>, most: usize) -> Result<Self, StateError> {
        let what = "categorical sets";
        let wildcards = Runs::restore(from, what, 12 + most, |from| {
            let (events, grew_at) = (from.u32(what)?, from.u32(what)?);
            let mut words = [0; MOST_WORDS];
            words.iter_mut().zip(from.bytes(what, most)?).for_each(|(word, kept)| *word = *kept);
            let rest = from.u32(what)?;
            let length = ((rest >> 1) as usize).min(most) as u8;
            Ok(Wildcard { events, grew_at, words, length, is_open: rest & 1 != 0 })
        })?;
        let mut sets = Self { wildcards, ..Self::default() };
        (0..sets.wildcards.slots()).for_each(|slot| sets.note_wanted(slot));
        Ok(sets)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detect::joining::{Moved, Moves};
    use crate::detect::value::Values;

    /// What a checkpoint of this detector was before words had places.
    pub(in crate::detect) fn former(bytes: &[u8]) -> Vec<u8> {
        let from = &mut StateReader::new(bytes);
        let mut out = Vec::new();
        let slots = from.u32("").unwrap();
        out.extend(slots.to_le_bytes());
        for _ in 0..slots {
            out.extend(from.bytes("", 4).unwrap());
            let length = from.u32("").unwrap();
            out.extend(length.to_le_bytes());
            for _ in 0..length {
                out.extend(from.bytes("", 8 + FORMER_MOST_WORDS).unwrap());
                from.bytes("", MOST_WORDS - FORMER_MOST_WORDS).unwrap();
                out.extend(from.bytes("", 4).unwrap());
            }
        }
        out
    }

    /// Something that changes what is known of slots 0 to 3.
    #[derive(Debug, Clone)]
    enum Step {
        /// Events with a word at each place, 0 for none, counted up from event to event.
        See(usize, [u8; 4], u8),
        Merge(usize, usize),
        Join,
        Worded(Worded),
        Forget(usize),
        ForgetValues(usize),
        Restore,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let slot = || 0..4usize;
        let worded = (slot(), slot(), 0..SLOTS + 1, 0..3u8);
        let step = prop_oneof![
            6 => (slot(), any::<[u8; 4]>(), 1..40u8).prop_map(|(slot, words, events)| Step::See(slot, words, events)),
            1 => (slot(), slot()).prop_map(|(from, into)| Step::Merge(from, into)),
            1 => Just(Step::Join),
            1 => worded.prop_map(|(slot, into, place, word)| Step::Worded(Worded { slot, into, place, word })),
            1 => slot().prop_map(Step::Forget),
            1 => slot().prop_map(Step::ForgetValues),
            1 => Just(Step::Restore),
        ];
        prop::collection::vec(step, 1..40)
    }

    impl Categorical {
        fn take_step(&mut self, step: &Step) {
            match *step {
                Step::See(slot, words, events) => {
                    for event in 0..events {
                        let mut values = Values::default();
                        let with_event = |word: u8| if word & 1 == 0 { 0 } else { word.wrapping_add(2 * event) };
                        values.words.iter_mut().zip(words).for_each(|(place, word)| *place = with_event(word));
                        self.observe(&Input { slot, values, ..Input::default() });
                    }
                }
                Step::Merge(from, into) if from != into => Detector::merge(self, from, into),
                Step::Merge(..) => {}
                Step::Join => {
                    let moved = |slot: usize| Some(Moved { slot: 3 - slot, keeps_wildcards: slot != 2 });
                    self.join(&self.clone(), &Moves::new((0..4).map(moved).collect()));
                }
                Step::Worded(worded) => self.worded(worded, 5, 1_000),
                Step::Forget(slot) => Detector::forget(self, slot),
                Step::ForgetValues(slot) => self.forget_values(slot),
                Step::Restore => {
                    let mut bytes = Vec::new();
                    self.checkpoint(&mut bytes);
                    self.restore(&mut StateReader::new(&bytes)).unwrap();
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_words_wanted_are_those_of_the_wildcards_that_are_not_open_whatever_happens(steps in steps()) {
            let mut categorical = Categorical::default();
            for step in &steps {
                categorical.take_step(step);
                for slot in 0..5 {
                    prop_assert_eq!(categorical.wanted(slot), categorical.wanted_of(slot), "slot {} after {:?}", slot, step);
                }
            }
        }
    }

    #[test]
    fn words_of_open_wildcards_are_not_wanted() {
        let mut categorical = Categorical::default();
        categorical.take_step(&Step::See(1, [1, 0, 0, 0], 40));
        assert_eq!((categorical.wanted(1), categorical.wanted(0)), (!1, u8::MAX));
    }

    #[test]
    fn sets_of_an_earlier_format_are_read_and_go_on() {
        let mut categorical = Categorical::default();
        (0..1_000).for_each(|n| _ = see(&mut categorical, ["root", "cron", "www"][n % 3]));
        let mut bytes = Vec::new();
        categorical.checkpoint(&mut bytes);
        let mut again = Categorical::default();
        again.restore_former(&mut StateReader::new(&former(&bytes))).unwrap();
        assert_eq!(see(&mut again, "cron"), 0.0);
        assert!(see(&mut again, "eve") > 5.0);
    }

    fn see(categorical: &mut Categorical, text: &str) -> f32 {
        let values = Values::of([text.as_bytes()].into_iter(), categorical.wanted(0));
        categorical.observe(&Input { values, ..Input::default() })
    }

    #[test]
    fn a_new_user_after_a_thousand_known_ones_is_told_once() {
        let mut categorical = Categorical::default();
        assert!((0..1_000).all(|n| see(&mut categorical, ["root", "cron", "www"][n % 3]) == 0.0));
        assert!(see(&mut categorical, "eve") > 5.0);
        assert_eq!(see(&mut categorical, "eve"), 0.0);
    }

    #[test]
    fn a_place_with_ever_new_values_is_open_and_its_words_are_not_asked_for() {
        let mut categorical = Categorical::default();
        assert_eq!(categorical.wanted(0), u8::MAX);
        assert!((0..1_000).all(|n| see(&mut categorical, &format!("blk_{n}")) == 0.0));
        assert_eq!(categorical.wanted(0), 0b1111_1110, "of what may come behind it nothing is known");
    }

    #[test]
    fn what_two_templates_held_in_a_place_the_merged_one_holds() {
        let mut categorical = Categorical::default();
        let see = |categorical: &mut Categorical, slot: usize, text: &str| {
            let values = Values::of([text.as_bytes()].into_iter(), categorical.wanted(slot));
            categorical.observe(&Input { slot, values, ..Input::default() })
        };
        (0..400).for_each(|n| _ = see(&mut categorical, n % 2, ["root", "root", "cron"][n % 3]));
        categorical.merge(1, 0);
        assert_eq!(see(&mut categorical, 0, "cron"), 0.0);
        assert!(see(&mut categorical.clone(), 0, "eve") > 4.0, "both knew the same: the set is as complete as it was");
        (0..400).for_each(|n| _ = see(&mut categorical, 2, ["www", "mail"][n % 2]));
        categorical.merge(2, 0);
        assert_eq!(see(&mut categorical, 0, "www"), 0.0);
        assert_eq!(see(&mut categorical, 0, "mallory"), 0.0, "it just grew");
        assert_eq!(categorical.wanted(2), u8::MAX);
        categorical.merge(5, 6);
    }

    #[test]
    fn a_wildcard_that_comes_later_is_learned_too() {
        let mut categorical = Categorical::default();
        (0..100).for_each(|_| _ = see(&mut categorical, "root"));
        let mut both = |second: &str| {
            let values = Values::of([b"root", second.as_bytes()].into_iter(), categorical.wanted(0));
            categorical.observe(&Input { values, ..Input::default() })
        };
        assert!((0..1_000).all(|n| both(["cron", "www"][n % 2]) == 0.0));
        assert!(both("eve") > 5.0);
        assert_eq!(both("cron"), 0.0, "and the first is known still");
    }
}
