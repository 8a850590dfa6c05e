//! Events of a stream out of their order.
//!
//! **Foretelling.** The chance of the next template is learned from the last two of its stream (counts of triples, resting on counts of pairs,
//! resting on the templates' shares; interpolation after Jelinek and Mercer, 1980), in decayed counts. The shorter context weighs the more the more
//! templates may come next (after Witten and Bell, IEEE Trans. Inf. Theory 37, 1991; how many that are tells the mean surprisal, of which it is the exponential): where
//! everything may follow, one that did not follow yet is no surprise. Two repairs keep one disturbance from being
//! counted again at its neighbours: a template also is foretold when it would follow were the last event not there (something slipped in), and
//! when it is wont to come after next (something fell out).
//!
//! **Evidence.** Summed with a decay over the stream, less one nat of slack, is the larger of two: the surprisal of an event beyond what events in
//! this context have on average, and how much likelier it would be were there no order (the log-likelihood ratio against the templates' shares, whose
//! sum finds the loss of order soonest; Page, Biometrika 41, 1954). To that a part is added of what the order usually tells in this context: the sum of what
//! never had an order stays at nothing. Only an event that itself surprises alerts. A single odd transition adds four nats
//! at most: it takes several.
//!
//! Contexts seen less than [`LEAST_CONTEXT`] times, and the first [`LEAST_EVENTS`] events, give no evidence. Counts live in a fixed table
//! (`table`), streams in another (`streams`): what has not been seen for long makes room.

mod join;
mod merge;

use super::extremes::{larger, smaller};
use super::logarithm::ln;
use super::streams::{Place, Streams};
use super::table::{Key, Table, begin_hash, end_hash, hash};
use super::{Detector, Input, StateError, StateReader};
use crate::event::DetectorKind;

/// Events of a context before what follows it can surprise.
pub const LEAST_CONTEXT: f32 = 5.0;

/// Events before anything can surprise.
pub const LEAST_EVENTS: u64 = 2_000;

/// log2 of the counts kept: 512 KiB.
const TABLE_BITS: u32 = 16;

/// log2 of the streams kept: 384 KiB, and as much again as a third of it for their keys.
const STREAM_BITS: u32 = 13;

/// What the shorter context's estimate weighs, in events …
const BACKING: f32 = 2.0;

/// … and for each template that may come next.
const BACKING_EACH: f32 = 0.3;

/// What the average over all contexts weighs in one context's, in events.
const CONTEXT_BACKING: f32 = 10.0;

/// A context not yet known is expected to surprise this much more than the average.
const UNKNOWN_CONTEXT: f32 = 1.5;

/// Surprisal beyond this does not raise the average, nats.
const MOST_SURPRISAL: f32 = 8.0;

const CONTEXT_KEPT: f32 = 0.999;
const ALL_KEPT: f32 = 0.9998;

/// Of the sum, with each event of the stream.
const SUM_KEPT: f32 = 0.9;
/// Taken off surprisal beyond the average; and what a template by chance, where the order says nothing, adds: no more than this part of what the order tells
/// there as a rule, so that the sum falls as long as there is order.
const EVENT_SLACK: f32 = 0.5;
const CHANCE: f32 = 0.3;
const CHANCE_PART: f32 = 0.5;
/// More does not raise what the order is held to tell, nats.
const MOST_TOLD: f32 = 3.0;
/// An event that surprises less alerts no one, whatever came before it.
const LEAST_SURPRISE: f32 = 0.05;
const SUM_SLACK: f32 = 1.0;
const LEAST_STEP: f32 = -1.5;
const MOST_STEP: f32 = 4.0;

/// The weight of an event at which all counts are scaled back by it.
const RESCALE_AT: f64 = 1e12;

const WHAT: &str = "sequence of templates";

/// A template in a context's key: none before a stream's first event.
const NOBODY: u64 = u64::MAX;

/// The slot of a template that is no more: beyond all of them.
const NO_SLOT: usize = usize::MAX;

/// A stream's last events.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stream {
    last: u64,
    before: u64,
    sum: f32,
    /// Count of `last` coming after `before`, without the last time.
    context: f32,
    contexts: Contexts,
}

/// Hashes of an event after the last of its stream, after the one before it, and after both, [begun](begin_hash) without the event. They follow from `last` and `before`, and are
/// kept since the event would wait for them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Contexts {
    last: u64,
    before: u64,
    both: u64,
}

impl Contexts {
    fn new(last: u64, before: u64) -> Self {
        let both = begin_hash(TRIPLE, hash(PAIR, before, last));
        Self { last: begin_hash(PAIR, last), before: begin_hash(PAIR, before), both }
    }

    /// Of `name` after the last, after the one before it, and after both.
    #[inline]
    fn hashes(self, name: u64) -> [u64; 3] {
        [self.last, self.before, self.both].map(|begun| end_hash(begun, name))
    }
}

impl Stream {
    fn new(last: u64, before: u64, sum: f32, context: f32) -> Self {
        Self { last, before, sum, context, contexts: Contexts::new(last, before) }
    }

    /// After an event of `name` more, whose hash after the last one was `after_last`.
    #[inline]
    fn followed_by(&self, name: u64, after_last: u64, sum: f32, context: f32) -> Self {
        let contexts =
            Contexts { last: begin_hash(PAIR, name), before: self.contexts.last, both: begin_hash(TRIPLE, after_last) };
        Self { last: name, before: self.last, sum, context, contexts }
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new(NOBODY, NOBODY, 0.0, 0.0)
    }
}

/// An event before it is taken in: what it is called, its stream, where its counts are, and what is known before they are read. Nothing may be merged or
/// forgotten until it is taken in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coming {
    name: u64,
    place: Place,
    stream: Stream,
    /// Hash of the event after the last.
    after_last: u64,
    /// Where the counts are of the event after the last, after the one before it, and after both.
    keys: [Key; 3],
    /// The last template's slot, or [`NO_SLOT`].
    last_slot: usize,
    /// The surprisal to be expected after the last template.
    expected: f32,
    /// What the shorter context's estimate weighs.
    backing: f32,
    /// Events after the last template.
    followed: f32,
}

/// What the order said of an event.
#[derive(Debug, Clone, Copy)]
struct Foretold {
    chance: f32,
    /// Of the template among all events.
    share: f32,
    /// How often it came after the last.
    context: f32,
}

/// e^x, up to 6 % more, for x from 0 to [`MOST_SURPRISAL`]: linear between powers of two, which is what a number's bits are.
#[inline]
fn roughly_exp(x: f32) -> f32 {
    const ONE: f32 = (1 << 23) as f32;
    // Within these bounds the cast to a signed number is one instruction.
    let bits = (larger(smaller(x, MOST_SURPRISAL), 0.0) * std::f32::consts::LOG2_E + 127.0) * ONE;
    f32::from_bits((bits as i32).cast_unsigned())
}

/// What the order told of an event, nats: how much likelier it made it than its share does. A bound from below where neither is near to mattering: the share is
/// below a tenth then, and was taken for one.
#[inline]
fn told(surprisal: f32, expected: f32, share: f32) -> f32 {
    if share < 0.1 && expected < 1.5 { std::f32::consts::LN_10 - surprisal } else { -ln(share) - surprisal }
}

/// A mean with decaying weights.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Mean {
    sum: f32,
    weight: f32,
}

impl Mean {
    fn with_backing(self, mean: f32, weight: f32) -> f32 {
        (self.sum + mean * weight) / (self.weight + weight)
    }

    fn learn(&mut self, value: f32, kept: f32) {
        self.sum = self.sum * kept + value;
        self.weight = self.weight * kept + 1.0;
    }

    fn checkpoint(self, out: &mut Vec<u8>) {
        [self.sum, self.weight].iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    }

    fn restore(from: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok(Self { sum: from.f32(WHAT)?, weight: from.f32(WHAT)? })
    }

    /// That of what may be below zero.
    fn restore_signed(from: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok(Self { sum: from.finite(WHAT)?, weight: from.f32(WHAT)? })
    }
}

/// What is known of a template by itself.
#[derive(Debug, Clone, Copy, Default)]
struct Template {
    /// Grows when the slot is given to another template, so that what was counted for this one is not found any more.
    generation: u32,
    surprisal: Mean,
    /// What the order told of what came after it.
    told: Mean,
    /// Decayed events, and events after it.
    events: f64,
    followed: f64,
}

/// Order of the templates of each stream.
#[derive(Debug, Clone)]
pub struct Sequence {
    growth: f64,
    weight: f64,
    total: f64,
    events: u64,
    surprisal: Mean,
    templates: Vec<Template>,
    counts: Table,
    streams: Streams<Stream>,
    excess: f32,
}

const PAIR: u64 = 1;
const TRIPLE: u64 = 2;

impl Sequence {
    /// Nothing seen yet.
    pub fn new(half_life_events: u64) -> Self {
        Self {
            growth: (1.0 / half_life_events.max(1) as f64).exp2(),
            weight: 1.0,
            total: 0.0,
            events: 0,
            surprisal: Mean::default(),
            templates: Vec::new(),
            counts: Table::new(TABLE_BITS),
            streams: Streams::new(STREAM_BITS),
            excess: 0.0,
        }
    }

    /// How much the last event surprised in its context, 0 to 1, whether that is evidence or not.
    pub fn surprise(&self) -> f32 {
        (self.excess / MOST_STEP).clamp(0.0, 1.0)
    }

    /// What comes from here on is another part of the input: each stream begins anew.
    pub(super) fn leave_streams(&mut self) {
        self.streams.clear();
    }

    /// None of one that is no more: its slot is another's. [`NOBODY`] is beyond all of them.
    #[inline]
    fn template(&self, name: u64) -> Option<&Template> {
        self.templates.get(name as u32 as usize).filter(|template| template.generation == (name >> 32) as u32)
    }

    fn template_mut(&mut self, name: u64) -> Option<&mut Template> {
        self.templates.get_mut(name as u32 as usize).filter(|template| template.generation == (name >> 32) as u32)
    }

    /// What a slot's template is called in keys.
    fn name(&mut self, slot: usize) -> u64 {
        if slot >= self.templates.len() {
            self.templates.resize(slot + 1, Template::default());
        }
        let generation = self.templates.get(slot).map_or(0, |template| template.generation);
        u64::from(generation) << 32 | u64::from(slot as u32)
    }

    /// Looks up where an event belongs. Its counts are far away in memory: they are on their way while other detectors work.
    #[inline]
    pub(super) fn expect(&mut self, input: &Input) -> Option<Coming> {
        let name = self.name(input.slot);
        let place = self.streams.place(hash(0, input.stream.0, 0));
        let stream = self.streams.get_mut(place).copied()?;
        let hashes = stream.contexts.hashes(name);
        let keys = hashes.map(|hash| self.counts.key(hash));
        self.counts.touch(&keys);
        let (last_slot, expected, followed) = self.expected(stream.last);
        let followers = roughly_exp(expected);
        let backing = (BACKING + BACKING_EACH * followers) * self.weight as f32;
        Some(Coming { name, place, stream, after_last: hashes[0], keys, last_slot, expected, backing, followed })
    }

    /// Evidence of the event last expected; takes it in.
    pub(super) fn take(&mut self, coming: &Coming) -> f32 {
        let Coming { name, place, stream, after_last, expected, .. } = *coming;
        let is_old = self.events > LEAST_EVENTS;
        let least = LEAST_CONTEXT * self.weight as f32;
        let Foretold { chance, share, context } = self.follow(coming);
        let surprisal = -ln(chance);
        let told = told(surprisal, expected, share);
        let by_chance = self.learn(coming.last_slot, surprisal, told);
        self.excess = surprisal - expected;
        let excess = self.excess - EVENT_SLACK;
        let is_surprise = larger(excess, -told) > LEAST_SURPRISE;
        let step = smaller(larger(larger(excess, by_chance - told), LEAST_STEP), MOST_STEP);
        let sum = larger(stream.sum * SUM_KEPT + step, 0.0);
        if let Some(entry) = self.streams.get_mut(place) {
            *entry = stream.followed_by(name, after_last, sum, context);
        }
        // One event in two is a surprise, and which one is not foreseeable: no branch.
        let says = is_old & (coming.followed > least) & is_surprise;
        larger(sum - SUM_SLACK, 0.0) * f32::from(u8::from(says))
    }

    /// The slot of a template, the surprisal to be expected after it, and how many events came after it.
    #[inline]
    fn expected(&self, last: u64) -> (usize, f32, f32) {
        let unknown = self.surprisal.with_backing(2.0, 1.0) * UNKNOWN_CONTEXT;
        let Some(template) = self.template(last) else { return (NO_SLOT, unknown, 0.0) };
        let expected = template.surprisal.with_backing(unknown, CONTEXT_BACKING);
        (last as u32 as usize, expected, template.followed as f32)
    }

    /// How well an event was foretold as the stream's next; learns that it came.
    #[inline]
    fn follow(&mut self, coming: &Coming) -> Foretold {
        let Coming { name, stream, keys: [after_last, after_before, triple], backing, followed, .. } = *coming;
        let (whole_weight, weight) = (self.weight, self.weight as f32);
        let counts = &mut self.counts;
        // Read before anything is added: two of the keys may be one.
        let skipped = counts.get(after_last.beside());
        let slipped = counts.get(after_before);
        let pair = counts.add(after_last, weight, self.events);
        counts.add(after_before.beside(), weight, self.events);
        let triple = counts.add(triple, weight, self.events);
        let before_followed = self.template(stream.before).map_or(0.0, |template| template.followed as f32);
        let mut events = 0.0;
        if let Some(template) = self.templates.get_mut(name as u32 as usize) {
            events = template.events as f32;
            template.events += whole_weight;
        }
        let followed_backed = followed + backing;
        let share = (events + 0.5 * weight) / (self.total as f32 + weight);
        let by_one = (pair + backing * share) / followed_backed;
        let by_two = (triple + backing * by_one) / (stream.context + backing);
        let without_last = slipped / (before_followed + backing);
        let with_a_gap = skipped / followed_backed;
        // Evicted counts can leave a share above one.
        let strongest = larger(by_two, larger(without_last, with_a_gap));
        let chance = smaller(larger(strongest, f32::MIN_POSITIVE), 1.0);
        Foretold { chance, share: larger(share, f32::MIN_POSITIVE), context: pair }
    }

    /// Learns the surprisal after the template of the slot, and what the order told; what chance adds there.
    #[inline]
    fn learn(&mut self, last_slot: usize, surprisal: f32, told: f32) -> f32 {
        let weight = self.weight;
        let capped = smaller(surprisal, MOST_SURPRISAL);
        self.surprisal.learn(capped, ALL_KEPT);
        let mut by_chance = 0.0;
        if let Some(template) = self.templates.get_mut(last_slot) {
            by_chance = smaller(larger(template.told.with_backing(0.0, CONTEXT_BACKING) * CHANCE_PART, 0.0), CHANCE);
            template.surprisal.learn(capped, CONTEXT_KEPT);
            template.told.learn(smaller(told, MOST_TOLD), CONTEXT_KEPT);
            template.followed += weight;
        }
        self.total += weight;
        self.events += 1;
        self.weight *= self.growth;
        if self.weight >= RESCALE_AT {
            self.rescale();
        }
        by_chance
    }

    /// As [`restore`](Detector::restore), of what was written when weights were of single precision.
    pub(super) fn restore_single(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.restore_weights(from, |from| from.f32(WHAT).map(f64::from), 20, |_| Ok(Mean::default()))
    }

    /// A template takes `template_bytes`, the number of events of one or of all what `weight` reads, and what the order told after one what `told` reads.
    fn restore_weights(
        &mut self,
        from: &mut StateReader<'_>,
        weight: impl Fn(&mut StateReader<'_>) -> Result<f64, StateError>,
        template_bytes: usize,
        told: impl Fn(&mut StateReader<'_>) -> Result<Mean, StateError>,
    ) -> Result<(), StateError> {
        let mut restored = Self { growth: self.growth, ..Self::new(1) };
        restored.weight = weight(from)?.max(f64::MIN_POSITIVE);
        restored.total = weight(from)?;
        restored.surprisal = Mean::restore(from)?;
        restored.events = from.u64(WHAT)?;
        for _ in 0..from.length(WHAT, super::MOST_TEMPLATES, template_bytes)? {
            let (generation, events, followed) = (from.u32(WHAT)?, weight(from)?, weight(from)?);
            let surprisal = Mean::restore(from)?;
            restored.templates.push(Template { generation, surprisal, told: told(from)?, events, followed });
        }
        restored.counts.restore(from, "counts of transitions")?;
        let what = "streams";
        restored.streams.restore(from, what, 24, |from| {
            let (last, before) = (from.u64(what)?, from.u64(what)?);
            Ok(Stream::new(last, before, from.f32(what)?, from.f32(what)?))
        })?;
        *self = restored;
        Ok(())
    }

    #[cold]
    fn rescale(&mut self) {
        let by = 1.0 / self.weight;
        self.weight = 1.0;
        self.total *= by;
        for template in &mut self.templates {
            template.events *= by;
            template.followed *= by;
        }
        let by = by as f32;
        self.counts.scale(by);
        self.streams.iter_mut().for_each(|stream| stream.context *= by);
    }
}

impl Detector for Sequence {
    const KIND: DetectorKind = DetectorKind::Sequence;

    fn observe(&mut self, input: &Input) -> f32 {
        self.expect(input).map_or(0.0, |coming| self.take(&coming))
    }

    fn merge(&mut self, from: usize, into: usize) {
        self.take_in(from, into);
        self.forget(from);
    }

    fn forget(&mut self, slot: usize) {
        if let Some(template) = self.templates.get_mut(slot) {
            self.total = (self.total - template.events).max(0.0);
            *template = Template { generation: template.generation.wrapping_add(1), ..Template::default() };
        }
    }

    fn checkpoint(&self, out: &mut Vec<u8>) {
        [self.weight, self.total].iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        self.surprisal.checkpoint(out);
        out.extend_from_slice(&self.events.to_le_bytes());
        out.extend_from_slice(&(self.templates.len() as u32).to_le_bytes());
        for template in &self.templates {
            out.extend_from_slice(&template.generation.to_le_bytes());
            out.extend_from_slice(&template.events.to_le_bytes());
            out.extend_from_slice(&template.followed.to_le_bytes());
            template.surprisal.checkpoint(out);
            template.told.checkpoint(out);
        }
        self.counts.checkpoint(out);
        self.streams.checkpoint(out, |stream, out| {
            out.extend_from_slice(&stream.last.to_le_bytes());
            out.extend_from_slice(&stream.before.to_le_bytes());
            out.extend_from_slice(&stream.sum.to_le_bytes());
            out.extend_from_slice(&stream.context.to_le_bytes());
        });
    }

    fn restore(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.restore_weights(from, |from| from.amount(WHAT), 36, Mean::restore_signed)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::arithmetic::next_random;
    use crate::event::StreamKey;

    /// State bytes as they were when weights were of single precision.
    pub(in crate::detect) fn in_single(bytes: &[u8]) -> Vec<u8> {
        let single = |at: usize| (f64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as f32).to_le_bytes();
        let mut former = [single(0), single(8)].concat();
        former.extend_from_slice(&bytes[16..36]);
        let templates = u32::from_le_bytes(bytes[32..36].try_into().unwrap()) as usize;
        for at in (0..templates).map(|n| 36 + n * 36) {
            former.extend_from_slice(&bytes[at..at + 4]);
            former.extend([single(at + 4), single(at + 12)].concat());
            former.extend_from_slice(&bytes[at + 20..at + 28]);
        }
        former.extend_from_slice(&bytes[36 + templates * 36..]);
        former
    }

    #[test]
    fn hashes_begun_before_an_event_are_those_of_its_keys() {
        let mut sequence = Sequence::new(1_000);
        let mut state = 1;
        for n in 1..=2_000 {
            let (stream, slot) = (next_random(&mut state) % 3, next_random(&mut state) % 5);
            see(&mut sequence, stream, slot as usize);
            match n % 250 {
                50 => sequence.merge(4, 0),
                100 => sequence.forget(3),
                150 => sequence.leave_streams(),
                200 => {
                    let mut bytes = Vec::new();
                    sequence.checkpoint(&mut bytes);
                    sequence.restore(&mut StateReader::new(&bytes)).unwrap();
                }
                _ => {}
            }
            for Stream { last, before, contexts, .. } in sequence.streams.iter_mut() {
                assert_eq!(*contexts, Contexts::new(*last, *before));
                let both = hash(PAIR, *before, *last);
                let hashes = [hash(PAIR, *last, 7), hash(PAIR, *before, 7), hash(TRIPLE, both, 7)];
                assert_eq!(contexts.hashes(7), hashes);
            }
        }
        assert_eq!(sequence.streams.iter_mut().count(), 3);
    }

    fn see(sequence: &mut Sequence, stream: u64, slot: usize) -> f32 {
        sequence.observe(&Input { slot, stream: StreamKey(stream), ..Input::default() })
    }

    /// `rounds` times 0, 1 … 9 on two streams.
    fn learned(rounds: usize) -> Sequence {
        let mut sequence = Sequence::new(50_000);
        for _ in 0..rounds {
            for slot in 0..10 {
                see(&mut sequence, 1, slot);
                see(&mut sequence, 2, slot);
            }
        }
        sequence
    }

    #[test]
    fn events_in_reverse_order_add_up_and_the_usual_order_gives_nothing() {
        let mut sequence = learned(300);
        assert!((0..10).all(|slot| see(&mut sequence, 1, slot) == 0.0));
        assert_eq!(sequence.surprise(), 0.0);
        let strongest = (0..10).rev().map(|slot| see(&mut sequence, 2, slot)).fold(0.0, f32::max);
        assert!(strongest > 8.0, "{strongest}");
    }

    #[test]
    fn after_something_slipped_in_or_fell_out_the_next_event_is_no_surprise() {
        let mut sequence = learned(300);
        (0..5).for_each(|slot| _ = see(&mut sequence, 1, slot));
        assert!(see(&mut sequence, 1, 9) > 0.0, "it slips in");
        assert_eq!(see(&mut sequence, 1, 5), 0.0);
        assert_eq!(see(&mut sequence, 1, 6), 0.0);
        assert_eq!(see(&mut sequence, 1, 8), 0.0, "the 7 fell out");
    }

    #[test]
    fn after_a_disturbance_the_one_template_of_a_stream_is_no_surprise() {
        let mut sequence = Sequence::new(50_000);
        (0..3_000).for_each(|_| _ = see(&mut sequence, 1, 0));
        see(&mut sequence, 1, 1);
        assert_eq!((0..5).map(|_| see(&mut sequence, 1, 0)).fold(0.0, f32::max), 0.0);
    }

    #[test]
    fn a_million_streams_and_a_slot_given_to_another_template_are_fine() {
        let mut sequence = learned(300);
        (0..1_000_000).for_each(|stream| assert!(see(&mut sequence, stream, (stream % 10) as usize).is_finite()));
        sequence.forget(3);
        see(&mut sequence, 1, 2);
        see(&mut sequence, 1, 3);
        assert!(sequence.surprise() > 0.5, "what followed was another template");
    }

    /// Parts of a thousand events, of the last of five times as many, that say more than a nat where each of so many templates comes by chance.
    fn odd_by_chance(templates: u64, streams: u64) -> usize {
        let mut sequence = Sequence::new(50_000);
        let mut state = 7u64;
        let mut chance = |of: u64| next_random(&mut state) % of;
        let said: Vec<f32> =
            (0..100_000).map(|_| see(&mut sequence, chance(streams), chance(templates) as usize)).collect();
        said[80_000..].iter().filter(|nats| **nats > 1.0).count() / 20
    }

    #[test]
    fn what_an_order_that_misleads_has_told_is_below_nothing_and_is_read() {
        let mut sequence = learned(300);
        sequence.templates.iter_mut().for_each(|template| template.told.sum = -1.0);
        let (mut bytes, mut again) = (Vec::new(), Sequence::new(50_000));
        sequence.checkpoint(&mut bytes);
        again.restore(&mut StateReader::new(&bytes)).unwrap();
        assert!(again.templates.iter().all(|template| template.told.sum == -1.0));
    }

    #[test]
    fn a_rough_exponential_is_rough_and_no_more() {
        for x in (0..=1_000).map(|n| n as f32 * 0.001 * MOST_SURPRISAL) {
            let part = f64::from(roughly_exp(x)) / f64::from(x).exp();
            assert!((0.999..1.062).contains(&part), "{x}: {part}");
        }
        let most = roughly_exp(MOST_SURPRISAL);
        assert_eq!([-1.0, 9.0, f32::INFINITY, f32::NAN].map(roughly_exp), [1.0, most, most, most]);
    }

    #[test]
    fn where_there_never_was_an_order_it_is_not_lost() {
        for (templates, streams, most) in [(8, 4, 1), (8, 100, 1), (100, 1, 20), (100, 100, 20)] {
            let found = odd_by_chance(templates, streams);
            assert!(found <= most, "{templates} templates on {streams} streams: {found} of 1,000");
        }
    }

    #[test]
    fn what_was_counted_in_single_precision_is_read() {
        let sequence = learned(300);
        let mut bytes = Vec::new();
        sequence.checkpoint(&mut bytes);
        let mut former = Sequence::new(50_000);
        former.restore_single(&mut StateReader::new(&in_single(&bytes))).unwrap();
        assert_eq!((0..10).map(|slot| see(&mut former, 1, slot)).fold(0.0, f32::max), 0.0);
        assert!(see(&mut former, 1, 5) > 0.0);
    }

    #[test]
    fn the_longest_half_life_decays() {
        for half_life in [1_000, 20_000_000, 1_000_000_000] {
            let mut sequence = Sequence::new(half_life);
            let one = sequence.weight;
            // Enough to see the decay of; that of all of it follows.
            let events = half_life.min(200_000);
            (0..events).for_each(|n| _ = see(&mut sequence, 1, (n % 10) as usize));
            let decayed = one / sequence.weight;
            let expected = (-(events as f64) / half_life as f64).exp2();
            assert!((decayed / expected - 1.0).abs() < 1e-6 && decayed < 1.0, "{half_life}: {decayed}, not {expected}");
            let total = sequence.total / sequence.weight;
            let steady = (1.0 - expected) / (1.0 - (-1.0 / half_life as f64).exp2());
            assert!((total / steady - 1.0).abs() < 1e-3, "{half_life}: {total}, not {steady}");
        }
    }

    #[test]
    fn what_followed_a_template_that_is_no_more_says_nothing_of_the_next_in_its_slot() {
        let mut sequence = learned(300);
        see(&mut sequence, 1, 3);
        sequence.forget(3);
        see(&mut sequence, 1, 4);
        assert_eq!(sequence.templates[3].followed, 0.0, "4 came after the one that is no more");
    }

    #[test]
    fn scaling_back_changes_nothing_to_speak_of() {
        let mut sequence = Sequence::new(100);
        for round in 0..20_000 {
            see(&mut sequence, 1, round % 10);
        }
        assert!(sequence.weight < RESCALE_AT && sequence.surprise() < 0.1);
    }
}
