//! Templates of several stores as one store.
//!
//! **What is one template.** In order: templates with the same tokens; templates that share a skeleton, an id or an alias, and have as many tokens
//! (one host generalised what another has not, or at another place: where they differ is a variable, or the word of a key); templates that a generalised one agrees with.
//! Then families that only all of them together complete merge, as they would have in one store.
//!
//! **Ids.** Every id and alias of every store leads to its template, and each to one only. Of the ids of those that are one, that which most stores have
//! goes on, of equals the lowest; the others are its aliases. (One skeleton can found two templates of different lengths only where two
//! hashes collide: then the id stays with the first by text.)
//!
//! **Order.** The result depends on what is in the stores, not on their order: slots go by text. What goes first at a cap is what was met least.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::image::{EntryImage, ImageError, StoreImage};
use super::keyed::{self, Tokens};
use super::kind::Kind;
use super::places;
use super::store::{Entry, TemplateOptions, TemplateStore, free_id};
use super::tokenise::{self, Masking, Skeleton, WILDCARD};
use super::tree::Tree;
use super::{Match, Slot};
use crate::event::TemplateId;

/// A store and how often each of its templates was met, by id.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The store.
    pub store: &'a TemplateStore,
    /// Events by id.
    pub counts: &'a dyn Counts,
}

/// Tells how often a template was met.
pub trait Counts: std::fmt::Debug {
    /// Events of the template with this id.
    fn count(&self, id: TemplateId) -> u64;
}

/// Where a template of a part is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unified {
    /// Its slot in the one store.
    pub slot: Slot,
    /// Its values have the same places there; of its words [`TemplateStore::words_in`] tells those that it has no places for.
    pub keeps_wildcards: bool,
}

/// The one store, and for each part by slot where its templates are; `None` for a free slot and for what the cap left no room for.
pub fn unify(options: TemplateOptions, parts: &[Part<'_>]) -> (TemplateStore, Vec<Vec<Option<Unified>>>) {
    let mut nodes = Vec::new();
    for (part, of) in parts.iter().enumerate() {
        nodes.extend(of.store.entries.iter().flatten().map(|entry| Node { part, entry, tokens: tokens(entry) }));
    }
    let mut classes = Classes::new(nodes.len());
    join_same(&nodes, &mut classes);
    join_accepted(&nodes, &mut classes);
    let (images, order) = images(&nodes, &mut classes, parts);
    let mut store = TemplateStore::of_images(options, images, &order);
    store.merge_families();
    store.settle_cap();
    let places = parts.iter().enumerate().map(|(part, of)| places(&store, &nodes, part, of.store.slots())).collect();
    (store, places)
}

/// A template of a part.
struct Node<'a> {
    part: usize,
    entry: &'a Entry,
    tokens: Vec<&'a [u8]>,
}

fn tokens(entry: &Entry) -> Vec<&[u8]> {
    entry.template.text.split(|byte| *byte == b' ').filter(|token| !token.is_empty()).collect()
}

/// Which nodes are one: each points at another of its class, the lowest at itself.
struct Classes(Vec<usize>);

impl Classes {
    fn new(nodes: usize) -> Self {
        Self((0..nodes).collect())
    }

    fn root(&self, mut node: usize) -> usize {
        while let Some(above) = self.0.get(node).copied().filter(|above| *above != node) {
            node = above;
        }
        node
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if let Some(place) = self.0.get_mut(a.max(b)) {
            *place = a.min(b);
        }
    }

    /// Members of each class.
    fn all(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut classes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        (0..self.0.len()).for_each(|node| classes.entry(self.root(node)).or_default().push(node));
        classes
    }
}

/// Joins what has the same tokens, a skeleton, an id or an alias in common.
fn join_same(nodes: &[Node<'_>], classes: &mut Classes) {
    let mut by_skeleton: HashMap<(u64, usize), usize> = HashMap::new();
    let mut by_id: HashMap<(TemplateId, usize), usize> = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        let (entry, length) = (node.entry, node.tokens.len());
        let own = tokenise::skeleton_hash(entry.tokens.iter().copied());
        for hash in entry.skeletons.iter().copied().chain([own]) {
            let first = *by_skeleton.entry((hash, length)).or_insert(at);
            classes.join(first, at);
        }
        for id in entry.template.aliases.iter().copied().chain([entry.template.id]) {
            let first = *by_id.entry((id, length)).or_insert(at);
            classes.join(first, at);
        }
    }
}

/// The text of a class: a wildcard wherever its members differ.
fn text_of(nodes: &[Node<'_>], members: &[usize]) -> (Vec<u8>, bool) {
    let mut members = members.iter().filter_map(|at| nodes.get(*at));
    let Some(first) = members.next() else { return (Vec::new(), false) };
    let mut text: Vec<Cow<'_, [u8]>> = first.tokens.iter().map(|token| Cow::Borrowed(*token)).collect();
    let mut generalised = first.entry.generalised;
    for member in members {
        generalised |= member.entry.generalised;
        for (token, other) in text.iter_mut().zip(&member.tokens) {
            if **token != **other {
                *token = Cow::Owned(keyed::common(token, other).unwrap_or_else(|| WILDCARD.into()));
                generalised = true;
            }
        }
    }
    (text.join(&b' '), generalised)
}

/// Joins what a generalised class agrees with.
fn join_accepted(nodes: &[Node<'_>], classes: &mut Classes) {
    let mut tree = Tree::default();
    let all = classes.all();
    let texts: Vec<(usize, Tokens, bool)> = all
        .iter()
        .map(|(root, members)| {
            let (text, generalised) = text_of(nodes, members);
            (*root, Tokens::of_text(&text), generalised)
        })
        .collect();
    for (root, tokens, _) in texts.iter().filter(|(_, _, generalised)| *generalised) {
        // The slot stands for the class; the id settles ties as in a store.
        let id = nodes.get(*root).map(|node| node.entry.template.id).unwrap_or_default();
        tree.insert(Match { slot: Slot(*root as u32), id, generation: 0 }, tokens.hashes());
    }
    for (root, tokens, _) in texts.iter().filter(|(_, _, generalised)| !generalised) {
        if let Some(found) = tree.find(tokens) {
            classes.join(found.slot.index(), *root);
        }
    }
}

/// One entry a class, by text, and their slots, those met least first.
fn images(nodes: &[Node<'_>], classes: &mut Classes, parts: &[Part<'_>]) -> (Vec<EntryImage>, Vec<Slot>) {
    let mut classes: Vec<_> = classes
        .all()
        .into_values()
        .map(|members| {
            let (text, generalised) = text_of(nodes, &members);
            (text, generalised, members)
        })
        .collect();
    // Members of one text are one class already.
    classes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut taken = BTreeSet::new();
    let mut images: Vec<EntryImage> = Vec::new();
    let mut met: Vec<(u64, Slot)> = Vec::new();
    for (text, generalised, members) in classes {
        let slot = Slot(images.len() as u32);
        let members: Vec<&Node<'_>> = members.iter().filter_map(|at| nodes.get(*at)).collect();
        let count = |node: &&Node<'_>| parts.get(node.part).map_or(0, |part| part.counts.count(node.entry.template.id));
        met.push((members.iter().map(count).fold(0, u64::saturating_add), slot));
        images.push(image(slot, text, generalised, &members, &mut taken));
    }
    met.sort_unstable();
    (images, met.into_iter().map(|(_, slot)| slot).collect())
}

fn image(slot: Slot, text: Vec<u8>, generalised: bool, members: &[&Node<'_>], taken: &mut BTreeSet<u64>) -> EntryImage {
    let tokens = tokenise::hashes_of_text(&text);
    let generalised = generalised && keyed::has_open_wildcard(&text);
    let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
    members.iter().for_each(|node| *votes.entry(node.entry.template.id.0).or_default() += 1);
    let aliases = members.iter().flat_map(|node| &node.entry.template.aliases).map(|alias| alias.0);
    let mut ids: BTreeSet<u64> = votes.keys().copied().chain(aliases).collect();
    ids.retain(|id| taken.insert(*id));
    let most = |id: &&u64| (votes.get(*id).copied().unwrap_or(0), std::cmp::Reverse(**id));
    let id = ids.iter().max_by_key(most).copied().unwrap_or_else(|| {
        let own = tokenise::skeleton_hash(tokens.iter().copied());
        let id = free_id(own, |id| taken.contains(&id.0)).0;
        taken.insert(id);
        id
    });
    ids.remove(&id);
    let own = tokenise::skeleton_hash(tokens);
    let skeletons: BTreeSet<u64> =
        members.iter().flat_map(|node| &node.entry.skeletons).copied().chain([own]).collect();
    let wildcards = count_wildcards(&text);
    EntryImage {
        slot,
        generalised,
        met: false,
        founded: true,
        words: words(members, &text),
        id,
        kinds: kinds(members, wildcards),
        text,
        aliases: ids.into_iter().collect(),
        skeletons: skeletons.into_iter().collect(),
    }
}

/// Tokens in which words differed, in a store or between them.
fn words(members: &[&Node<'_>], text: &[u8]) -> u64 {
    let differs = |node: &Node<'_>| {
        let tokens = text.split(|byte| *byte == b' ').zip(&node.tokens).enumerate();
        tokens.filter(|(_, (own, other))| own != *other).fold(0, |words, (number, _)| words | places::bit(number))
    };
    members.iter().fold(0, |words, node| words | node.entry.words | differs(node))
}

/// What was met at each wildcard, where all members have the same ones.
fn kinds(members: &[&Node<'_>], wildcards: usize) -> Vec<u8> {
    if members.iter().any(|node| count_wildcards(&node.entry.template.text) != wildcards) {
        return Vec::new();
    }
    let mut kinds: Vec<Kind> = Vec::new();
    for of in members.iter().map(|node| &node.entry.template.kinds) {
        kinds.resize(kinds.len().max(of.len()), Kind::default());
        kinds.iter_mut().zip(of).for_each(|(kind, other)| *kind = kind.join(*other));
    }
    kinds.into_iter().map(Kind::to_byte).collect()
}

fn count_wildcards(text: &[u8]) -> usize {
    memchr::memmem::find_iter(text, WILDCARD).count()
}

fn places(store: &TemplateStore, nodes: &[Node<'_>], part: usize, slots: usize) -> Vec<Option<Unified>> {
    let mut places = vec![None; slots];
    for node in nodes.iter().filter(|node| node.part == part) {
        let template = &node.entry.template;
        let now = store.by_id(template.id).or_else(|| template.aliases.iter().find_map(|alias| store.by_id(*alias)));
        if let (Some(now), Some(place)) = (now, places.get_mut(template.slot.index())) {
            let layout = |entry: &Entry| places::layout(&entry.template.text, entry.words);
            let keeps_wildcards = store.entry(now.slot).map(layout) == Some(layout(node.entry));
            *place = Some(Unified { slot: now.slot, keeps_wildcards });
        }
    }
    places
}

impl TemplateStore {
    fn of_images(options: TemplateOptions, images: Vec<EntryImage>, order: &[Slot]) -> Self {
        let slots = images.len().max(options.max_templates.max(1));
        let mut store = Self::with_slots(options, slots);
        let used = images.len() as u32;
        store.free.retain(|slot| slot.0 >= used);
        images.into_iter().for_each(|image| store.place_entry(image));
        store.queue.restore(Vec::new(), order.to_vec());
        store
    }

    /// Enters every template into the table of similar ones, merges what families that completes, and takes in what is covered then.
    fn merge_families(&mut self) {
        for slot in (0..self.entries.len() as u32).map(Slot) {
            if self.entry(slot).is_some() {
                self.generalise(slot);
            }
        }
        self.take_in_all();
    }

    fn settle_cap(&mut self) {
        self.shrink(self.options.max_templates.max(1));
        self.publish_tree();
    }

    /// As [`Self::checkpoint`], without what is of one store only: free slots.
    pub fn portable(&self, out: &mut Vec<u8>) {
        let [small, main] = self.queue.slots();
        let mut entries: Vec<EntryImage> = self.entries.iter().flatten().map(|entry| self.image_of(entry)).collect();
        entries.sort_unstable_by_key(|entry| entry.slot);
        StoreImage { entries, small: small.collect(), main: main.collect(), ..StoreImage::default() }.write(out);
    }

    /// A store as [`Self::portable`] wrote it, every template of it whatever the cap is. It takes no more memory than the bytes account for: slots
    /// are those of the templates there were before some merged, whose ids are kept.
    ///
    /// # Errors
    /// As [`Self::restore`].
    pub fn of_portable(options: TemplateOptions, bytes: &[u8]) -> Result<Self, ImageError> {
        let image = StoreImage::read(bytes, super::persist::MOST_SLOTS)?;
        let slots = image.slots();
        if slots > image.ids() {
            return Err(ImageError { offset: 0, expected: "no slot beyond the number of ids" });
        }
        let max_templates = options.max_templates.max(super::persist::MOST_SLOTS);
        let options = TemplateOptions { max_templates, max_bytes: usize::MAX, ..options };
        Ok(Self::of_image(options, image, slots))
    }
}

/// What becomes of lines under a masking: equal where the same lines give the same skeletons.
///
/// It is the skeletons of some lines that have what every rule looks for, and the masking itself.
pub fn fingerprint(masking: &Masking) -> u64 {
    let mut skeleton = Skeleton::new();
    let mut hashes = Vec::new();
    for line in PROBES {
        skeleton.scan(line.as_bytes(), masking);
        hashes.push(skeleton.hash());
    }
    let options = format!("{:?} {:?} {} {}", masking.user, masking.rules, masking.max_tokens, masking.max_token_bytes);
    hashes.extend(tokenise::hashes_of_text(options.replace(' ', "_").as_bytes()));
    tokenise::skeleton_hash(hashes)
}

/// What they make of `user alice` is not looked at: masks of that kind became fewer, and what was learned before can still be used.
const PROBES: [&str; 12] = [
    "user u17 logged in from 10.0.0.17:22 at 2025-03-14T10:00:00.000Z",
    "GET /api/v1/items/42?page=3 HTTP/1.1 200 1532 12ms",
    "Mon Jul  4 14:52:27 2005 kernel: eth0: link up, 1000 Mbps",
    "session=4fe9a1b2c3d4e5f6 state=open retries=3 name=\"a b c\" empty=[]",
    "block blk_-4207516339021487753 of size 67108864 to /mnt/data/part-00017",
    "took 4.2 KB in 17 s (97%) uid=0 euid=0 tty=ssh ruser= rhost=example.com",
    "ids 17, 18, 19 and 0xdeadbeef deadbeefcafe 123e4567-e89b-12d3-a456-426614174000",
    "{\"level\":\"info\",\"msg\":\"done\",\"took\":17,\"path\":\"/x\"}",
    "java.lang.IllegalStateException: at com.example.Foo.bar(Foo.java:17)",
    "https://example.com/a?b=c ann@example.com C:\\Windows\\System32 fe80::1",
    "  leading   and  trailing blanks  ",
    "no variables here at all",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Even;

    impl Counts for Even {
        fn count(&self, _: TemplateId) -> u64 {
            1
        }
    }

    fn store(lines: &[&str]) -> TemplateStore {
        let mut store = TemplateStore::new(TemplateOptions::default());
        let mut skeleton = Skeleton::new();
        for line in lines {
            skeleton.scan(line.as_bytes(), &Masking::default());
            store.learn(&skeleton, line.as_bytes());
        }
        store
    }

    fn unified(stores: &[&TemplateStore]) -> (TemplateStore, Vec<Vec<Option<Unified>>>) {
        let parts: Vec<Part<'_>> = stores.iter().map(|store| Part { store, counts: &Even }).collect();
        unify(TemplateOptions::default(), &parts)
    }

    fn texts(store: &TemplateStore) -> Vec<String> {
        store.templates().map(|template| String::from_utf8_lossy(&template.text).into_owned()).collect()
    }

    fn logins(names: &[&str]) -> TemplateStore {
        let lines: Vec<String> = names.iter().map(|name| format!("session opened for {name} by root")).collect();
        store(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    }

    const NAMES: [&str; 8] = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"];

    #[test]
    fn what_one_host_generalised_takes_in_what_another_has_not_and_all_ids_lead_there() {
        let (general, single) = (logins(&NAMES), logins(&["ann", "zoe"]));
        let (one, places) = unified(&[&general, &single]);
        assert_eq!(texts(&one), ["session opened for <*> by root"]);
        let target = one.templates().next().unwrap();
        for store in [&general, &single] {
            for template in store.templates() {
                for id in template.aliases.iter().chain([&template.id]) {
                    assert_eq!(one.by_id(*id).map(|found| found.slot), Some(target.slot), "{id}");
                }
            }
        }
        let wildcards: Vec<bool> = places.concat().into_iter().flatten().map(|place| place.keeps_wildcards).collect();
        assert_eq!(wildcards, [true, true, true]);
    }

    #[test]
    fn a_family_that_only_all_hosts_complete_merges() {
        let (one, places) = unified(&[&logins(&NAMES[..4]), &logins(&NAMES[4..])]);
        assert_eq!(texts(&one), ["session opened for <*> by root"]);
        assert!(places.concat().into_iter().flatten().all(|place| place.slot == places[0][0].unwrap().slot));
    }

    #[test]
    fn the_key_stays_that_one_host_found_the_word_of_to_be_variable() {
        let line = |name: &&str| format!("login failed user={name}, tty=ssh");
        let general: Vec<String> = NAMES.iter().map(line).collect();
        let general = store(&general.iter().map(String::as_str).collect::<Vec<_>>());
        let single = store(&[&line(&"zoe"), "login failed user=ann, tty=tty"]);
        let (mut one, _) = unified(&[&general, &single]);
        let mut found = texts(&one);
        found.sort();
        assert_eq!(found, ["login failed user=<*>, tty=ssh", "login failed user=ann, tty=tty"]);
        assert!(!one.learn_text(line(&"yan").as_bytes()).is_new);
    }

    #[test]
    fn what_was_generalised_at_two_places_from_one_line_has_two_wildcards() {
        let by_name = logins(&NAMES);
        let lines: Vec<String> = NAMES.iter().map(|name| format!("session opened for ann by {name}")).collect();
        let lines: Vec<&str> =
            ["session opened for ann by root"].into_iter().chain(lines.iter().map(String::as_str)).collect();
        let by_giver = store(&lines);
        assert_eq!(by_giver.len(), 1);
        let (one, _) = unified(&[&by_name, &by_giver]);
        assert_eq!(texts(&one), ["session opened for <*> by <*>"]);
    }

    #[test]
    fn the_order_of_the_parts_does_not_matter_and_each_id_is_of_one_template() {
        let parts = [
            logins(&NAMES),
            logins(&["zoe", "ann"]),
            store(&["disk 17 is full", "fan 3 stopped", "GET /a", "POST /a"]),
        ];
        let bytes = |order: [usize; 3]| {
            let (store, _) = unified(&order.map(|at| &parts[at]));
            let mut bytes = Vec::new();
            store.portable(&mut bytes);
            bytes
        };
        let expected = bytes([0, 1, 2]);
        for order in [[0, 2, 1], [1, 0, 2], [2, 1, 0]] {
            assert_eq!(bytes(order), expected, "{order:?}");
        }
        let again = TemplateStore::of_portable(TemplateOptions::default(), &expected).unwrap();
        let mut ids = BTreeSet::new();
        for template in again.templates() {
            template.aliases.iter().chain([&template.id]).for_each(|id| assert!(ids.insert(*id), "{id} twice"));
        }
        assert_eq!(again.len(), 5);
    }

    #[test]
    fn a_portable_store_takes_the_room_of_its_templates_and_no_more_than_its_bytes_account_for() {
        let (one, _) = unified(&[&logins(&NAMES[..4]), &logins(&NAMES[4..]), &store(&["quite another line"])]);
        let mut bytes = Vec::new();
        one.portable(&mut bytes);
        let again = TemplateStore::of_portable(TemplateOptions::default(), &bytes).unwrap();
        assert_eq!(again.len(), 2);
        assert!(again.slots() <= 9, "eight lines merged, and another one: {} slots", again.slots());
        let entry = |slot| EntryImage {
            slot: Slot(slot),
            ..image(Slot(0), b"a line".to_vec(), false, &[], &mut BTreeSet::new())
        };
        for (slot, is_read) in [(0, true), (1, false), (999_999, false), (u32::MAX, false)] {
            let mut hostile = Vec::new();
            StoreImage { entries: vec![entry(slot)], main: vec![Slot(slot)], ..StoreImage::default() }
                .write(&mut hostile);
            assert_eq!(TemplateStore::of_portable(TemplateOptions::default(), &hostile).is_ok(), is_read, "{slot}");
        }
    }

    #[test]
    fn beyond_the_cap_what_was_met_least_goes() {
        #[derive(Debug)]
        struct OnlyDisk(TemplateId);
        impl Counts for OnlyDisk {
            fn count(&self, id: TemplateId) -> u64 {
                u64::from(id == self.0)
            }
        }
        let store = store(&["disk is full", "fan has stopped", "all is well"]);
        let disk = store.templates().find(|template| template.text.starts_with(b"disk")).unwrap().id;
        let options = TemplateOptions { max_templates: 1, ..TemplateOptions::default() };
        let (one, places) = unify(options, &[Part { store: &store, counts: &OnlyDisk(disk) }]);
        assert_eq!(texts(&one), ["disk is full"]);
        assert_eq!(places.concat().into_iter().flatten().count(), 1);
    }

    #[test]
    fn a_fingerprint_tells_masks_apart() {
        let usual = fingerprint(&Masking::default());
        assert_eq!(usual, fingerprint(&Masking::default()));
        let masks = super::super::UserMasks::new([("order", "ORD-[0-9]+")]).unwrap();
        assert_ne!(usual, fingerprint(&Masking { user: masks, ..Masking::default() }));
        assert_ne!(usual, fingerprint(&Masking { max_tokens: 64, ..Masking::default() }));
    }
}
