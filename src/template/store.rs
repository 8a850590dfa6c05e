//! Every template that is known: the one writer behind all lanes.
//!
//! A skeleton that no lane knows comes here ([`TemplateStore::learn`]). In order: it may be known after all (exactly,
//! or to the tree); else it becomes a template, at a cap another goes for it; else it completes a family of templates
//! that differ in one token, and they merge. Each step is told to the lanes as a [`Change`], in one sequence for all.
//!
//! Learning is a function of the order of skeletons alone: replaying the texts of new templates in order
//! ([`TemplateStore::learn_text`]) rebuilds the same templates, ids, merges and slots.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashMap;
use smallvec::{SmallVec, smallvec};

use super::hash;
use super::keyed::{self, Tokens};
use super::kind::Kind;
use super::places::{self, Places};
use super::queue::EvictionQueue;
use super::rule::Rule;
use super::shared::SharedSlots;
use super::similar::{self, Family, SimilarTable};
use super::tokenise::{self, Masking, Skeleton, WILDCARD};
use super::tree::Tree;
use super::{Match, Slot};
use crate::arithmetic::{set_bits, word_code};
use crate::event::TemplateId;

/// Changes kept for lanes that have not asked lately; one that asks later reloads everything.
const CHANGES_KEPT: usize = 8_192;

/// A tree is published once one in so many of all skeletons was asked for.
const ASKED_PART: usize = 16;

/// How templates are mined.
#[derive(Debug, Clone)]
pub struct TemplateOptions {
    /// Templates kept; at least 1.
    pub max_templates: usize,
    /// Bytes of their texts, tokens and ids; beyond that templates go as they do beyond `max_templates`.
    pub max_bytes: usize,
    /// Templates that must differ in one token before that token is a variable; at least 2.
    pub merge_after: usize,
    /// The same when all of them have a name there: with a dot, a slash or an `@` inside; at least 2.
    pub merge_names_after: usize,
    /// What in a line is a variable at first sight.
    pub masking: Masking,
    /// Wildcards show what they met.
    pub typed: bool,
}

impl Default for TemplateOptions {
    fn default() -> Self {
        Self {
            max_templates: 10_000,
            max_bytes: 16 << 20,
            merge_after: 8,
            merge_names_after: 2,
            masking: Masking::default(),
            typed: false,
        }
    }
}

/// What happened to a slot; lanes apply these in order before they use a slot they do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The template in `from` became part of the one in `into`; `from` is free.
    Merged {
        /// The slot that is free now.
        from: Slot,
        /// The slot of the template that goes on.
        into: Slot,
    },
    /// The template in the slot has its values at other places now, or is about to be merged into one that has.
    Replaced(Slot),
    /// The template in `slot` is about to be merged into the one in `into`, or is that, which tells words apart at a place that `slot` has not: the places
    /// behind it move on.
    Worded {
        /// The template.
        slot: Slot,
        /// What it becomes part of, or itself.
        into: Slot,
        /// The new place.
        place: u8,
        /// Code of the word it has there in every line; 0: not one word.
        word: u8,
    },
    /// The template was evicted; the slot is free.
    Evicted(Slot),
}

/// One template as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTemplate {
    /// Stable id.
    pub id: TemplateId,
    /// Where its counts are.
    pub slot: Slot,
    /// Text with [`WILDCARD`]s, the message's own bytes.
    pub text: Arc<[u8]>,
    /// Ids of templates merged into this one.
    pub aliases: Vec<TemplateId>,
    /// What was met at each wildcard, as far as it was looked at.
    pub kinds: Vec<Kind>,
}

/// One of most templates: no room of its own for that.
pub(super) type Hashes = SmallVec<[u64; 2]>;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) template: StoredTemplate,
    pub(super) tokens: Box<[u64]>,
    /// Hashes of skeletons that lead here.
    pub(super) skeletons: Hashes,
    /// Number of the entry into the table of similar templates: its age.
    pub(super) entered: u64,
    /// Came out of a merge: has a wildcard in place of a whole token.
    pub(super) generalised: bool,
    /// Tokens that a merge made a wildcard of: [`Places::words`].
    pub(super) words: u64,
    /// An event of it was seen, and not only its text in a log: the first event founds it, the next one meets it.
    pub(super) founded: bool,
}

impl Entry {
    /// Bytes it holds beyond itself, about.
    pub(super) fn bytes(&self) -> usize {
        let ids = self.tokens.len() + self.skeletons.len() + self.template.aliases.len();
        self.template.text.len() + ids * size_of::<u64>() + self.tokens.len() * similar::SIGNATURE_BYTES
    }

    /// The text of a token.
    pub(super) fn token(&self, position: usize) -> Option<&[u8]> {
        self.template.text.split(|byte| *byte == b' ').nth(position)
    }

    fn has_wildcard_in(&self, position: usize) -> bool {
        self.token(position).is_some_and(|token| memchr::memmem::find(token, WILDCARD.as_bytes()).is_some())
    }

    /// Where a template of that text, in which `words` differ, tells words apart and this one does not: the place, and as in [`Change::Worded`] the word.
    fn words_apart(&self, text: &[u8], words: u64) -> SmallVec<[(u8, u8); 2]> {
        let place = |token| u8::try_from(Places::of_word(text, words, token)).unwrap_or(u8::MAX);
        let word = |token| self.token(token).filter(|_| !self.has_wildcard_in(token)).map_or(0, word_code);
        set_bits(words & !self.words).map(|token| (place(token), word(token))).collect()
    }

    /// Puts `wildcard` in place of a token; returns the hash of its skeleton then.
    fn generalise_at(&mut self, position: usize, wildcard: &[u8]) -> u64 {
        let tokens = self.template.text.split(|byte| *byte == b' ').enumerate();
        let tokens: Vec<&[u8]> = tokens.map(|(at, token)| if at == position { wildcard } else { token }).collect();
        self.template.text = tokens.join(&b' ').into();
        // The wildcards are others now.
        self.template.kinds.clear();
        self.tokens = tokenise::hashes_of_text(&self.template.text).into();
        self.generalised = true;
        self.words |= places::bit(position);
        let hash = tokenise::skeleton_hash(self.tokens.iter().copied());
        if !self.skeletons.contains(&hash) {
            self.skeletons.push(hash);
        }
        hash
    }
}

/// Stands for the hash of a line without a word, which is 0: that is the id of no template.
const HASH_OF_NOTHING: u64 = hash::combine(0, 0);

/// The id of a skeleton with this hash, or the next that is not taken.
pub(super) fn free_id(hash: u64, is_taken: impl Fn(TemplateId) -> bool) -> TemplateId {
    let mut id = TemplateId(if hash == 0 { HASH_OF_NOTHING } else { hash });
    while id == TemplateId::default() || is_taken(id) {
        id = TemplateId(id.0.wrapping_add(1));
    }
    id
}

/// The answer to [`TemplateStore::learn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learned {
    /// Where the template is.
    pub slot: Slot,
    /// Generation of the slot.
    pub(super) generation: u32,
    /// Its id.
    pub id: TemplateId,
    /// No template was known for the skeleton before.
    pub is_new: bool,
    /// The skeleton agrees with the template but for its wildcards, and a template that agrees better may come: the version
    /// of the tree that knew of none.
    pub(super) by_tree: Option<u32>,
}

/// All templates; the one writer.
#[derive(Debug)]
pub struct TemplateStore {
    pub(super) options: Arc<TemplateOptions>,
    pub(super) entries: Vec<Option<Entry>>,
    pub(super) free: Vec<Slot>,
    pub(super) by_skeleton: HashMap<u64, Slot, foldhash::fast::FixedState>,
    pub(super) by_id: HashMap<TemplateId, Slot, foldhash::fast::FixedState>,
    similar: SimilarTable,
    pub(super) queue: EvictionQueue,
    pub(super) shared: Arc<SharedSlots>,
    changes: VecDeque<Change>,
    /// Number of changes ever made.
    change_count: u64,
    pub(super) merged_total: u64,
    pub(super) evicted_total: u64,
    entered_total: u64,
    /// Sum of [`Entry::bytes`].
    pub(super) entry_bytes: usize,
    pub(super) tree: Tree,
    /// Lines that were found in the tree here since it was published.
    asked: usize,
    /// Of the line that is learned; kept for their room.
    scratch: (Tokens, Vec<u8>),
}

impl TemplateStore {
    /// An empty store.
    pub fn new(options: TemplateOptions) -> Self {
        let slots = options.max_templates.max(1);
        Self::with_slots(options, slots)
    }

    pub(super) fn with_slots(options: TemplateOptions, slots: usize) -> Self {
        Self {
            entries: (0..slots).map(|_| None).collect(),
            free: (0..slots as u32).rev().map(Slot).collect(),
            by_skeleton: HashMap::default(),
            by_id: HashMap::default(),
            similar: SimilarTable::default(),
            queue: EvictionQueue::default(),
            shared: Arc::new(SharedSlots::new(slots)),
            changes: VecDeque::new(),
            change_count: 0,
            merged_total: 0,
            evicted_total: 0,
            entered_total: 0,
            entry_bytes: 0,
            tree: Tree::default(),
            asked: 0,
            scratch: Default::default(),
            options: Arc::new(options),
        }
    }

    /// The options it was made with.
    pub fn options(&self) -> &Arc<TemplateOptions> {
        &self.options
    }

    pub(super) fn shared(&self) -> Arc<SharedSlots> {
        Arc::clone(&self.shared)
    }

    /// Slots there are: one more than the highest.
    pub fn slots(&self) -> usize {
        self.entries.len()
    }

    /// Templates known.
    pub fn len(&self) -> usize {
        self.by_id_live().count()
    }

    /// No template is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Templates merged into others, and templates evicted, ever.
    pub fn totals(&self) -> (u64, u64) {
        (self.merged_total, self.evicted_total)
    }

    /// Bytes held, about.
    pub fn memory_bytes(&self) -> usize {
        self.entry_bytes
            + self.entries.capacity() * (size_of::<Option<Entry>>() + size_of::<AtomicU32>() + size_of::<Slot>() * 2)
            + (self.by_skeleton.capacity() + self.by_id.capacity()) * 13
    }

    /// Every template, by slot.
    pub fn templates(&self) -> impl Iterator<Item = &StoredTemplate> {
        self.by_id_live().map(|entry| &entry.template)
    }

    fn by_id_live(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }

    /// The template with that id, or the one it was merged into.
    pub fn by_id(&self, id: TemplateId) -> Option<&StoredTemplate> {
        self.entry(*self.by_id.get(&id)?).map(|entry| &entry.template)
    }

    /// The template in a slot.
    pub fn by_slot(&self, slot: Slot) -> Option<&StoredTemplate> {
        self.entry(slot).map(|entry| &entry.template)
    }

    /// The template that a skeleton leads to.
    pub(super) fn find_skeleton(&self, hash: u64) -> Option<Match> {
        let slot = *self.by_skeleton.get(&hash)?;
        let id = self.entry(slot)?.template.id;
        Some(Match { slot, id, generation: self.shared.generation(slot) })
    }

    /// The template that a skeleton agrees with but for wildcards.
    pub(super) fn find_generalised(&self, skeleton: &Skeleton, message: &[u8]) -> Option<Match> {
        self.tree.find(&Tokens::of(skeleton, message))
    }

    /// Where the template in `slot`, which is now that in `into` of `whole` and keeps its wildcards, has words that are values there: as in [`Change::Worded`]
    /// the place and the word.
    pub fn words_in(&self, slot: Slot, whole: &Self, into: Slot) -> impl Iterator<Item = (u8, u8)> {
        let both = self.entry(slot).zip(whole.entry(into));
        both.into_iter().flat_map(|(own, whole)| own.words_apart(&whole.template.text, whole.words))
    }

    /// Whether the template in `slot` has the very tokens of `skeleton`.
    pub(super) fn is_own_skeleton(&self, slot: Slot, skeleton: &Skeleton) -> bool {
        self.entry(slot).is_some_and(|entry| entry.tokens.iter().copied().eq(skeleton.token_hashes()))
    }

    /// The hashes of the template's tokens.
    pub(super) fn tokens(&self, slot: Slot) -> &[u64] {
        self.entry(slot).map(|entry| &*entry.tokens).unwrap_or_default()
    }

    pub(super) fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(slot.index())?.as_ref()
    }

    /// Changes after the first `seen`, and the number of all; `None` when some of them are no longer kept.
    pub fn changes_since(&self, seen: u64) -> (Option<impl Iterator<Item = Change> + '_>, u64) {
        let kept_from = self.change_count - self.changes.len() as u64;
        let tail = (seen >= kept_from).then(|| self.changes.iter().skip((seen - kept_from) as usize).copied());
        (tail, self.change_count)
    }

    /// The template of a skeleton, learned when it is not known.
    pub fn learn(&mut self, skeleton: &Skeleton, message: &[u8]) -> Learned {
        let (mut tokens, mut text) = std::mem::take(&mut self.scratch);
        tokens.set(skeleton, message);
        let write = || {
            skeleton.write_text(message, &mut text);
            text.as_slice().into()
        };
        let learned = self.learn_tokens(skeleton.hash(), &tokens, write);
        self.scratch = (tokens, text);
        self.meet(learned.slot);
        learned
    }

    /// The same from a template's text, as a replay has it; its event comes after it ([`Self::meet`]).
    pub fn learn_text(&mut self, text: &[u8]) -> Learned {
        let tokens = Tokens::of_text(text);
        self.learn_tokens(tokenise::skeleton_hash(tokens.hashes().iter().copied()), &tokens, || text.into())
    }

    /// As [`Self::learn`], of a seed: a wildcard in place of a whole token or after `key=` stands for any word.
    pub(super) fn learn_open(&mut self, skeleton: &Skeleton, message: &[u8]) -> Learned {
        let learned = self.learn(skeleton, message);
        let Some(Some(entry)) = self.entries.get_mut(learned.slot.index()) else { return learned };
        if !entry.generalised && keyed::has_open_wildcard(&entry.template.text) {
            entry.generalised = true;
            self.enter_tree(learned.slot);
            self.take_in_covered(learned.slot);
        }
        Learned { is_new: learned.is_new, ..self.learned(learned.slot) }
    }

    fn learn_tokens(&mut self, hash: u64, tokens: &Tokens, text: impl FnOnce() -> Arc<[u8]>) -> Learned {
        if let Some(slot) = self.by_skeleton.get(&hash).copied() {
            return self.learned(slot);
        }
        if let Some(found) = self.tree.find(tokens) {
            self.publish_when_due();
            let version = self.shared.tree_version(tokens.hashes().len());
            return Learned { by_tree: Some(version), ..self.learned(found.slot) };
        }
        let id = self.unused_id(hash);
        let slot = self.insert(id, tokens.hashes().into(), text(), hash);
        let slot = self.generalise(slot);
        self.look_round(slot);
        Learned { is_new: true, ..self.learned(slot) }
    }

    /// Takes note of an event of the template in `slot`: a new template proves itself by being met again. True when to meet it once more
    /// changes nothing, until something is learned.
    pub fn meet(&mut self, slot: Slot) -> bool {
        match self.entries.get_mut(slot.index()) {
            Some(Some(entry)) if !entry.founded => {
                entry.founded = true;
                false
            }
            _ => self.shared.is_current(slot, self.shared.generation(slot)),
        }
    }

    fn learned(&self, slot: Slot) -> Learned {
        let generation = self.shared.generation(slot);
        let id = self.entry(slot).map_or(TemplateId::default(), |entry| entry.template.id);
        Learned { slot, generation, id, is_new: false, by_tree: None }
    }

    /// The skeleton's hash; after a merge freed that skeleton from under its id, the next free number.
    fn unused_id(&self, hash: u64) -> TemplateId {
        free_id(hash, |id| self.by_id.contains_key(&id))
    }

    fn insert(&mut self, id: TemplateId, tokens: Box<[u64]>, text: Arc<[u8]>, hash: u64) -> Slot {
        let template = StoredTemplate { id, slot: Slot(0), text, aliases: Vec::new(), kinds: Vec::new() };
        let skeletons = smallvec![hash];
        let mut entry = Entry { template, tokens, skeletons, entered: 0, generalised: false, words: 0, founded: false };
        let bytes = entry.bytes();
        while self.entry_bytes + bytes > self.options.max_bytes
            && let Some(slot) = self.evict()
        {
            self.free.push(slot);
        }
        let slot = self.free_slot();
        entry.template.slot = slot;
        self.shared.renew(slot);
        self.by_skeleton.insert(hash, slot);
        self.by_id.insert(id, slot);
        self.entry_bytes += bytes;
        if let Some(place) = self.entries.get_mut(slot.index()) {
            *place = Some(entry);
        }
        self.queue.push(slot);
        slot
    }

    fn free_slot(&mut self) -> Slot {
        self.free.pop().or_else(|| self.evict()).unwrap_or(Slot(0))
    }

    /// Takes out the template that is next to go; its slot is in no list afterwards. `None` when there is none.
    fn evict(&mut self) -> Option<Slot> {
        let shared = Arc::clone(&self.shared);
        let slot = self.queue.evict(|slot| shared.take_met(slot))?;
        self.forget(slot);
        self.evicted_total += 1;
        self.tell(Change::Evicted(slot));
        Some(slot)
    }

    /// Takes an entry out of every table but the queue and the free list.
    pub(super) fn forget(&mut self, slot: Slot) -> Option<Entry> {
        let entry = self.entries.get_mut(slot.index())?.take()?;
        for hash in &entry.skeletons {
            self.by_skeleton.remove(hash);
        }
        for id in entry.template.aliases.iter().chain([&entry.template.id]) {
            self.by_id.remove(id);
        }
        self.shared.renew(slot);
        self.leave_tables(&entry);
        Some(entry)
    }

    /// Merges the family that `slot` completes, and whatever family the merged template then completes.
    pub(super) fn generalise(&mut self, mut slot: Slot) -> Slot {
        while let Some(family) = self.family_of(slot) {
            let merged = self.merge(&family);
            slot = self.covering(merged).map_or(merged, |above| self.take_in(merged, above));
            if slot != merged {
                break;
            }
        }
        slot
    }

    pub(super) fn family_of(&mut self, slot: Slot) -> Option<Family> {
        self.entered_total += 1;
        let own = self.entries.get_mut(slot.index())?.as_mut()?;
        own.entered = self.entered_total;
        // Nobody asks whether a template is like itself.
        let tokens = std::mem::take(&mut own.tokens);
        let entry = |slot: Slot| self.entries.get(slot.index()).and_then(Option::as_ref);
        let differs_only_at = |entry: &Entry, position| {
            entry.tokens.len() == tokens.len()
                && entry.tokens.iter().zip(&*tokens).enumerate().all(|(at, (a, b))| (at == position) != (a == b))
        };
        let is_name =
            |slot: &Slot, position| entry(*slot).and_then(|entry| entry.token(position)).is_some_and(similar::is_name);
        let TemplateOptions { merge_after, merge_names_after, .. } = *self.options;
        let first = if self.options.masking.rules.contains(Rule::FirstToken) { 0 } else { 1 };
        let is_enough = |members: &[Slot], position| {
            let are_names = || members.iter().all(|slot| is_name(slot, position));
            let most = members.len();
            position >= first && (most >= merge_after || (most >= merge_names_after && are_names()))
        };
        let is_member = |other, position| entry(other).is_some_and(|entry| differs_only_at(entry, position));
        let family = self.similar.enter(slot, &tokens, is_member, is_enough);
        if let Some(Some(own)) = self.entries.get_mut(slot.index()) {
            own.tokens = tokens;
        }
        family
    }

    /// The oldest member goes on with a wildcard at the family's position; the others become aliases of it.
    fn merge(&mut self, family: &Family) -> Slot {
        let into = family.members.first().copied().unwrap_or(Slot(0));
        let wildcard = self.common_key(family).unwrap_or_else(|| WILDCARD.into());
        self.tell_replaced(family, into);
        let words = self.entry(into).map_or(0, |entry| entry.words) | places::bit(family.position);
        for member in family.members.iter().copied() {
            self.tell_words(member, into, words);
        }
        for from in family.members.iter().skip(1).copied() {
            self.absorb(from, into);
        }
        self.generalise_at(into, family.position, &wildcard);
        self.take_in_covered(into);
        into
    }

    /// Tells of the words that a template has where the one in `into` will have words that differ.
    pub(super) fn tell_words(&mut self, slot: Slot, into: Slot, words: u64) {
        let (Some(entry), Some(whole)) = (self.entry(slot), self.entry(into)) else { return };
        let apart = entry.words_apart(&whole.template.text, words);
        apart.into_iter().for_each(|(place, word)| self.tell(Change::Worded { slot, into, place, word }));
    }

    /// Tells of the members whose values are at other places than those of the merged template will be.
    fn tell_replaced(&mut self, family: &Family, into: Slot) {
        let words = self.entry(into).map_or(0, |entry| entry.words);
        let moves = |slot: &Slot| {
            self.entry(*slot).is_some_and(|entry| entry.words != words || entry.has_wildcard_in(family.position))
        };
        let moved: Vec<Slot> = family.members.iter().copied().filter(moves).collect();
        moved.into_iter().for_each(|slot| self.tell(Change::Replaced(slot)));
    }

    /// `key=<*>`, when that is what all members of a family have in common where they differ.
    fn common_key(&self, family: &Family) -> Option<Vec<u8>> {
        let mut tokens = family.members.iter().map(|slot| self.entry(*slot)?.token(family.position));
        let first = keyed::generalised(tokens.next()??)?;
        tokens.try_fold(first, |common, token| keyed::common(&common, token?))
    }

    /// Takes `from` into `into`; the slot of `from` is free afterwards.
    pub(super) fn absorb(&mut self, from: Slot, into: Slot) {
        let Some(gone) = self.forget(from) else { return };
        self.queue.remove(from);
        self.free.push(from);
        self.merged_total += 1;
        self.adopt(into, gone);
        self.tell(Change::Merged { from, into });
    }

    fn adopt(&mut self, into: Slot, gone: Entry) {
        for hash in &gone.skeletons {
            self.by_skeleton.insert(*hash, into);
        }
        let ids: Vec<_> = gone.template.aliases.iter().copied().chain([gone.template.id]).collect();
        for id in &ids {
            self.by_id.insert(*id, into);
        }
        if let Some(Some(entry)) = self.entries.get_mut(into.index()) {
            self.entry_bytes -= entry.bytes();
            entry.template.aliases.extend(ids);
            entry.skeletons.extend(gone.skeletons);
            self.entry_bytes += entry.bytes();
        }
    }

    fn generalise_at(&mut self, slot: Slot, position: usize, wildcard: &[u8]) {
        self.shared.renew(slot);
        let Some(mut entry) = self.entries.get_mut(slot.index()).and_then(Option::take) else { return };
        self.leave_tables(&entry);
        let hash = entry.generalise_at(position, wildcard);
        self.entry_bytes += entry.bytes();
        if let Some(place) = self.entries.get_mut(slot.index()) {
            *place = Some(entry);
        }
        // Two orders of merging can lead to one text.
        if let Some(twin) = self.by_skeleton.insert(hash, slot)
            && twin != slot
        {
            let words = self.entry(slot).map_or(0, |entry| entry.words);
            if self.entry(twin).map(|entry| entry.words) != Some(words) {
                self.tell(Change::Replaced(twin));
            }
            self.tell_words(twin, slot, words);
            self.absorb(twin, slot);
            self.by_skeleton.insert(hash, slot);
        }
        self.enter_tree(slot);
    }

    pub(super) fn enter_tree(&mut self, slot: Slot) {
        let Some(Some(entry)) = self.entries.get(slot.index()) else { return };
        self.shared.set_places(slot, Places::of(&entry.template.text, entry.words));
        let found = Match { slot, id: entry.template.id, generation: self.shared.generation(slot) };
        self.tree.insert(found, &entry.tokens);
        self.shared.change_tree(entry.tokens.len());
    }

    /// Takes an entry out of the tables that know its tokens.
    fn leave_tables(&mut self, entry: &Entry) {
        self.entry_bytes -= entry.bytes();
        self.similar.leave(entry.template.slot, &entry.tokens);
        if entry.generalised {
            self.tree.remove(entry.template.slot, &entry.tokens);
            self.shared.change_tree(entry.tokens.len());
        }
    }

    /// Lets lanes have the tree once they have asked often enough, here, for what is in it: a copy costs as much as the
    /// store is large, and a storm of merges must not pay for one each.
    fn publish_when_due(&mut self) {
        self.asked += 1;
        if self.asked * ASKED_PART >= self.tree.len() + self.by_skeleton.len() {
            self.publish_tree();
        }
    }

    pub(super) fn publish_tree(&mut self) {
        self.asked = 0;
        self.shared.publish(self.tree.clone(), self.by_skeleton.clone());
    }

    pub(super) fn tell(&mut self, change: Change) {
        if self.changes.len() == CHANGES_KEPT {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
        self.change_count += 1;
        self.shared.change_count.store(self.change_count, Ordering::Release);
    }
}
