//! What a lane knows of the templates without asking anyone.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Slot;
use super::keyed::{self, Tokens};
use super::known_tokens::KnownTokens;
use super::memo::Tokeniser;
use super::parameters::Parts;
use super::places::Places;
use super::shared::SharedSlots;
use super::store::{Learned, TemplateStore};
use super::tokenise::Skeleton;
use super::tree::{Published, TREE_VERSIONS};
use super::typed::TypedView;
use crate::event::TemplateId;

/// Entries a bucket holds: one that proved itself, and one on trial. What comes takes the second; only when it is met
/// again the two change places, so that lines that never repeat do not push out those that do.
const WAYS: usize = 2;

/// Buckets at the most: 768 KiB.
const MAX_BUCKETS: usize = 1 << 14;

/// The template of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// Where its counts are.
    pub slot: Slot,
    /// Its id.
    pub id: TemplateId,
    pub(super) generation: u32,
}

impl Match {
    /// Its template accepts words where it has wildcards: the line's variables are not its values.
    #[inline(always)]
    pub fn is_generalised(&self) -> bool {
        self.generation & 1 == 1
    }
}

/// An answer, and whose it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    template: Match,
    /// Version of the tree that gave it; [`EXACT`] when the store knows the very skeleton.
    tree: u32,
}

/// Not from a tree.
const EXACT: u32 = u32::MAX;

impl Default for Found {
    /// Of no slot there is.
    fn default() -> Self {
        Self { template: Match { slot: Slot(u32::MAX), id: TemplateId(0), generation: 0 }, tree: EXACT }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    skeleton: u64,
    found: Found,
}

impl Known {
    fn is_free(&self) -> bool {
        self.found.template.slot == Slot(u32::MAX)
    }
}

/// One lane's way to the templates: scratch space, cache, and a copy of the tree.
#[derive(Debug)]
pub struct LaneMatcher {
    shared: Arc<SharedSlots>,
    /// With masks of its own: threads that search by one regex share its scratch space, which is behind a lock.
    tokeniser: Tokeniser,
    cache: Box<[[Known; WAYS]]>,
    published: Arc<Published>,
    tokens: Tokens,
    known_tokens: KnownTokens,
    typed: Option<TypedView>,
}

impl LaneMatcher {
    /// A matcher that knows nothing yet.
    pub fn new(store: &TemplateStore) -> Self {
        let shared = store.shared();
        let buckets = store.options().max_templates.clamp(64, MAX_BUCKETS).next_power_of_two();
        Self {
            tokeniser: Tokeniser::new(&store.options().masking),
            cache: vec![[Known::default(); WAYS]; buckets.min(MAX_BUCKETS)].into(),
            published: shared.published(),
            tokens: Tokens::default(),
            known_tokens: KnownTokens::default(),
            typed: store.options().typed.then(TypedView::default),
            shared,
        }
    }

    /// The skeleton of the last line.
    #[inline]
    pub fn skeleton(&self) -> &Skeleton {
        self.tokeniser.skeleton()
    }

    /// Takes in a line. `None`: the store must be asked ([`TemplateStore::learn`]) and its answer
    /// [remembered](Self::remember).
    #[inline]
    pub fn find(&mut self, message: &[u8]) -> Option<Match> {
        self.tokeniser.scan(message);
        if let Some(found) = self.tokeniser.found().copied().filter(|found| self.stands(found)) {
            return Some(found.template);
        }
        let found = self.find_by_hash().filter(|found| self.stands(found))?;
        self.tokeniser.note(found);
        Some(found.template)
    }

    /// What the cache has for the last line's skeleton.
    #[inline]
    fn find_by_hash(&mut self) -> Option<Found> {
        let hash = self.skeleton().hash();
        let at = self.index(hash);
        let bucket = self.cache.get_mut(at)?;
        if bucket[1].skeleton == hash && bucket[0].skeleton != hash {
            bucket.swap(0, 1);
        }
        let Known { skeleton, found } = bucket[0];
        (skeleton == hash).then_some(found)
    }

    /// Whether an answer for the last line is what it would be today; if so its template is met.
    #[inline]
    fn stands(&self, found: &Found) -> bool {
        let Found { template, tree } = *found;
        (tree == EXACT || tree == self.shared.tree_version(self.skeleton().len()))
            && self.shared.is_current(template.slot, template.generation)
    }

    /// The template of a line that differs from it only where it has wildcards; after [`Self::find`] found nothing.
    ///
    /// `changes_seen` is how many [changes](TemplateStore::changes_since) the caller has applied; when there are newer ones
    /// the store must be asked, since the slot's counts may still be those of another template.
    pub fn find_in_tree(&mut self, message: &[u8], changes_seen: u64) -> Option<Match> {
        if self.shared.change_count.load(Ordering::Acquire) != changes_seen {
            return None;
        }
        let tokens = self.skeleton().len();
        let version = self.shared.tree_version(tokens);
        let published = |this: &Self| this.published.versions.get(tokens % TREE_VERSIONS) == Some(&version);
        if !published(self) {
            self.published = self.shared.published();
        }
        let may_be = published(self) && self.published.tree.has(tokens);
        if !may_be || self.published.exact.contains_key(&self.skeleton().hash()) {
            return None;
        }
        self.tokens.set(self.tokeniser.skeleton(), message);
        let found = self.published.tree.find(&self.tokens)?;
        self.shared.is_current(found.slot, found.generation).then(|| self.keep(found, version))
    }

    /// Keeps the store's answer for the last line.
    pub fn remember(&mut self, learned: Learned) -> Match {
        let found = Match { slot: learned.slot, id: learned.id, generation: learned.generation };
        self.keep(found, learned.by_tree.unwrap_or(EXACT))
    }

    fn keep(&mut self, found: Match, tree: u32) -> Match {
        let hash = self.skeleton().hash();
        let at = self.index(hash);
        if let Some([proven, tried]) = self.cache.get_mut(at) {
            let known = Known { skeleton: hash, found: Found { template: found, tree } };
            *if proven.is_free() || proven.skeleton == hash { proven } else { tried } = known;
        }
        found
    }

    /// The values of the last line at the places of its template, in order: a line's variables, but where words differed;
    /// `None` where it has a word in place of a value. What is at one place stays at it, whatever a line has elsewhere.
    #[inline]
    pub fn values<'m>(&self, message: &'m [u8], found: &Match) -> impl Iterator<Item = Option<&'m [u8]>> {
        self.skeleton().placed(message, self.places(found))
    }

    /// The tokens of the last line where words differed, in order: their places come after those of [`Self::values`].
    #[inline]
    pub fn words<'m>(&self, message: &'m [u8], found: &Match) -> impl Iterator<Item = &'m [u8]> {
        self.skeleton().words(message, self.places(found).words)
    }

    /// What the last line has at one place, of those of values and then of those of words: of `key=word` the word.
    pub fn value_at<'m>(&self, message: &'m [u8], found: &Match, place: usize) -> Option<&'m [u8]> {
        let word = |token: &'m [u8]| keyed::value(token).and_then(|value| token.get(value)).or(Some(token));
        self.values(message, found).chain(self.words(message, found).map(word)).nth(place)?
    }

    #[inline]
    fn places(&self, found: &Match) -> Places {
        if found.is_generalised() { self.shared.places(found.slot) } else { Places::default() }
    }

    /// Whether the last line has a value of a kind that its template's wildcard has not met; always false unless
    /// [`TemplateOptions::typed`](super::TemplateOptions::typed).
    #[inline(always)]
    pub fn is_kind_new(&self, message: &[u8], found: &Match) -> bool {
        let is_new = |typed: &TypedView| typed.is_new(self.skeleton(), message, &self.tokeniser.masking().user, found);
        self.typed.as_ref().is_some_and(is_new)
    }

    /// Tells the store what the last line has at the wildcards of its template.
    pub fn learn_kinds(&mut self, message: &[u8], found: &Match, store: &mut TemplateStore) {
        if let Some(typed) = &mut self.typed {
            typed.learn(self.tokeniser.skeleton(), message, found, store);
        }
    }

    /// Whether a match still stands. To ask is not to meet it: what is evicted next must not depend on who asks.
    pub fn is_current(&self, found: &Match) -> bool {
        self.shared.generation(found.slot) == found.generation
    }

    /// The last line taken apart, given the template it has.
    pub fn parts<'m>(&self, message: &'m [u8], slot: Slot, store: &TemplateStore) -> Parts<'m> {
        self.skeleton().parts(message, store.tokens(slot))
    }

    /// The parameters of the last line, given what it was found to be: what stands at each wildcard of its template, in order. `None` when the
    /// template's wildcards are not known to the lane ([`Self::learn_tokens`]).
    pub fn parameters<'m>(&'m self, message: &'m [u8], found: Match) -> Option<impl Iterator<Item = &'m [u8]>> {
        let template = self.known_tokens.get(&found)?;
        Some(self.skeleton().values(message, template).map(|value| value.bytes))
    }

    /// Takes in where the template of a line has wildcards: once for a template, until it generalises.
    pub fn learn_tokens(&mut self, found: &Match, store: &TemplateStore) {
        self.known_tokens.learn(found, store);
    }

    fn index(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.cache.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::template::{Change, Masking, Rule, RuleSet, TemplateOptions};

    struct Miner {
        store: TemplateStore,
        matcher: LaneMatcher,
    }

    impl Miner {
        fn new(options: TemplateOptions) -> Self {
            let store = TemplateStore::new(options);
            Self { matcher: LaneMatcher::new(&store), store }
        }

        fn line(&mut self, line: &str) -> Match {
            self.matcher.find(line.as_bytes()).unwrap_or_else(|| {
                let learned = self.store.learn(self.matcher.skeleton(), line.as_bytes());
                self.matcher.remember(learned)
            })
        }

        fn parameters<'m>(&'m mut self, line: &'m str, found: &Match) -> Vec<&'m [u8]> {
            self.matcher.learn_tokens(found, &self.store);
            self.matcher.parameters(line.as_bytes(), *found).unwrap().collect()
        }

        fn text(&self, found: Match) -> String {
            String::from_utf8_lossy(&self.store.by_id(found.id).unwrap().text).into_owned()
        }
    }

    proptest! {
        /// Evictions, merges and a second lane all the while; what a lane knows by itself is what the store would say.
        #[test]
        fn what_a_lane_finds_alone_is_what_the_store_finds(
            lines in proptest::collection::vec((any::<bool>(), "[ab] (k=)?[a-f] ([a-c]|[0-9])( end)?"), 1..200),
            most in 2..40usize,
        ) {
            let mut store = TemplateStore::new(TemplateOptions { max_templates: most, merge_after: 3, ..TemplateOptions::default() });
            let mut lanes = [LaneMatcher::new(&store), LaneMatcher::new(&store)];
            for (lane, line) in lines {
                let (lane, line) = (&mut lanes[usize::from(lane)], line.as_bytes());
                let seen = store.changes_since(u64::MAX).1;
                let alone = lane.find(line).or_else(|| lane.find_in_tree(line, seen));
                let hash = lane.skeleton().hash();
                let asked = store.find_skeleton(hash).or_else(|| store.find_generalised(lane.skeleton(), line));
                match alone {
                    Some(alone) => prop_assert_eq!(Some(alone), asked),
                    None => {
                        let learned = store.learn(lane.skeleton(), line);
                        let found = lane.remember(learned);
                        prop_assert_eq!(lane.find(line), Some(found));
                    }
                }
            }
        }
    }

    #[test]
    fn to_ask_about_a_template_is_not_to_meet_it() {
        let mut miner = Miner::new(TemplateOptions::default());
        let first = miner.line("took 15 ms");
        assert!(miner.matcher.is_current(&first) && miner.parameters("took 15 ms", &first) == [b"15"]);
        assert!(!miner.store.shared().is_met(first.slot));
        miner.line("took 16 ms");
        assert!(miner.store.shared().is_met(first.slot));
    }

    #[test]
    fn parameters_are_told_without_the_store_until_the_template_is_another() {
        let mut miner = Miner::new(TemplateOptions { merge_after: 3, ..TemplateOptions::default() });
        let first = miner.line("open ann 17");
        assert!(miner.matcher.parameters(b"open ann 17", first).is_none(), "never asked for");
        assert_eq!(miner.parameters("open ann 17", &first), [b"17"]);
        miner.line("open bob 18");
        assert!(miner.line("open ann 18") == first && miner.matcher.parameters(b"open ann 18", first).is_some());
        miner.line("open cy 19");
        let general = miner.line("open dot 20");
        assert!(general.id == first.id && miner.matcher.parameters(b"open dot 20", general).is_none());
        assert_eq!(miner.parameters("open dot 20", &general), [&b"dot"[..], b"20"]);
        assert_eq!(miner.parameters("open dot 20", &first), [&b"dot"[..], b"20"], "by its template as that is now");
    }

    const NAMES: [&str; 10] = ["ann", "bob", "cy", "dot", "eve", "fay", "gus", "hal", "ida", "joe"];

    #[test]
    fn a_known_line_is_found_without_the_store() {
        let mut miner = Miner::new(TemplateOptions::default());
        let first = miner.line("took 15 ms");
        assert_eq!(miner.matcher.find(b"took 27 ms"), Some(first));
        assert_eq!(miner.text(first), "took <*> ms");
    }

    #[test]
    fn names_become_a_wildcard_after_enough_of_them_and_the_first_id_stays() {
        let mut miner = Miner::new(TemplateOptions::default());
        let ids: Vec<_> = NAMES.iter().map(|name| miner.line(&format!("session opened for {name} by root"))).collect();
        assert_eq!(miner.text(ids[0]), "session opened for <*> by root");
        assert_eq!(miner.store.len(), 1);
        assert_eq!(ids[9].id, ids[0].id);
        assert_eq!(miner.store.by_id(ids[3].id).unwrap().id, ids[0].id, "an id merged away still resolves");
        let last = "session opened for zoe by root";
        let found = miner.line(last);
        assert_eq!(miner.parameters(last, &found), [b"zoe"]);
        let seen = miner.store.changes_since(0).1;
        let other = b"session opened for yan by root";
        assert_eq!(miner.matcher.find(other), None);
        assert_eq!(miner.matcher.find_in_tree(other, seen), Some(found), "without the store");
        assert_eq!(miner.matcher.find_in_tree(other, seen - 1), None, "a caller behind must ask the store");
    }

    #[test]
    fn the_key_of_a_word_that_is_variable_stays_in_the_template() {
        let mut miner = Miner::new(TemplateOptions::default());
        let line = |name: &str| format!("login failed; tty=ssh user={name}, rhost=lab");
        let first = NAMES.map(|name| miner.line(&line(name)))[0];
        assert_eq!(miner.text(first), "login failed; tty=ssh user=<*>, rhost=lab");
        assert_eq!(miner.store.len(), 1);
        for name in ["zoe", "17"] {
            let found = miner.line(&line(name));
            assert_eq!(found.id, first.id);
            assert_eq!(miner.parameters(&line(name), &found), [name.as_bytes()]);
        }
        assert_ne!(miner.line("login failed; tty=ssh ruser=ann, rhost=lab").id, first.id);
        let mut bytes = Vec::new();
        miner.store.checkpoint(&mut bytes);
        let mut again = TemplateStore::restore(TemplateOptions::default(), &bytes).unwrap();
        assert_eq!(again.learn_text(line("yan").as_bytes()).id, first.id, "after a restart");
    }

    #[test]
    fn words_of_different_keys_in_one_place_make_a_wildcard_of_the_whole() {
        let mut miner = Miner::new(TemplateOptions { merge_after: 3, ..TemplateOptions::default() });
        let found = ["a=x", "b=y", "c=z"].map(|word| miner.line(&format!("set {word} now")));
        assert_eq!(miner.text(found[2]), "set <*> now");
        assert_eq!(miner.line("set d=w now").id, found[0].id);
    }

    #[test]
    fn values_keep_their_places_whatever_stands_where_words_differed() {
        let mut miner = Miner::new(TemplateOptions::default());
        let values = |miner: &mut Miner, line: &str| {
            let found = miner.line(line);
            let values: Vec<_> = miner.matcher.values(line.as_bytes(), &found).collect();
            values.into_iter().map(|value| value.map(|value| String::from_utf8_lossy(value).into_owned())).collect()
        };
        let one = |value: &str| vec![Some(value.to_owned())];
        for line in NAMES.iter().flat_map(|name| [format!("login of {name} took 4 ms"), format!("by={name} took 4 ms")])
        {
            let values: Vec<_> = values(&mut miner, &line);
            assert_eq!(values, one("4"), "{line}");
        }
        assert_eq!(miner.store.len(), 2);
        for line in
            ["login of 17 took 5 ms", "login of a:1,b took 5 ms", "login of a=1,b=2 took 5 ms", "by=17 took 5 ms"]
        {
            let values: Vec<_> = values(&mut miner, line);
            assert_eq!(values, one("5"), "{line}");
        }
        assert_eq!(miner.store.len(), 2);
        let none: Vec<_> = values(&mut miner, "login of zoe took long ms");
        assert_eq!((none, miner.store.len()), (vec![None], 2));
    }

    #[test]
    fn words_have_places_behind_the_values_and_a_merge_tells_which() {
        let mut miner = Miner::new(TemplateOptions { merge_after: 3, ..TemplateOptions::default() });
        let line = |who: &str, what: &str| format!("at 17 {who} has user={what}, in 4 ms");
        let told = |miner: &Miner, since: u64| {
            let (changes, seen) = miner.store.changes_since(since);
            let places = changes.unwrap().filter_map(|change| match change {
                Change::Worded { slot, into, place, word } => Some((slot.0, into.0, place, word)),
                _ => None,
            });
            (places.collect::<Vec<_>>(), seen)
        };
        let code = crate::arithmetic::word_code;
        ["x", "y", "z"].iter().for_each(|what| _ = miner.line(&line("ann", what)));
        let (words, seen) = told(&miner, 0);
        let expected = [(0, "user=x,"), (1, "user=y,"), (2, "user=z,")];
        assert_eq!(words, expected.map(|(slot, word)| (slot, 0, 2, code(word.as_bytes()))));
        ["bob", "cy"].iter().for_each(|who| _ = miner.line(&line(who, "x")));
        // A line of the merged template, so that three are alike but for who.
        ["bob", "cy"].iter().for_each(|who| ["y", "z"].iter().for_each(|what| _ = miner.line(&line(who, what))));
        let found = miner.line(&line("dot", "w"));
        assert_eq!(miner.text(found), "at <*> <*> has user=<*>, in <*> ms");
        let (words, _) = told(&miner, seen);
        assert!(
            words.iter().any(|(slot, into, place, word)| slot == into && *place == 2 && *word == code(b"ann")),
            "{words:?}"
        );
        let message = line("dot", "w").into_bytes();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(
            miner.matcher.values(&message, &found).map(|value| value.map(text)).collect::<Vec<_>>(),
            [Some("17".to_owned()), Some("4".to_owned())]
        );
        assert_eq!(miner.matcher.words(&message, &found).map(text).collect::<Vec<_>>(), ["dot", "user=w,"]);
        let at = |place| miner.matcher.value_at(&message, &found, place).map(text);
        assert_eq!(
            [0, 1, 2, 3, 4].map(at),
            [Some("17"), Some("4"), Some("dot"), Some("w"), None].map(|text| text.map(str::to_owned))
        );
    }

    #[test]
    fn a_blank_line_has_a_template_with_an_id() {
        let mut miner = Miner::new(TemplateOptions::default());
        let found = miner.line("");
        assert_ne!(found.id, TemplateId::default());
        assert_eq!((miner.line(" \t "), miner.text(found)), (found, String::new()));
    }

    #[test]
    fn a_first_word_becomes_a_wildcard_as_any_other_unless_the_rule_is_off() {
        for (rules, expected) in
            [(RuleSet::ALL, "<*> logged in"), (RuleSet::ALL.without(Rule::FirstToken), "joe logged in")]
        {
            let masking = Masking { rules, ..Masking::default() };
            let mut miner = Miner::new(TemplateOptions { masking, ..TemplateOptions::default() });
            let all = NAMES.map(|name| miner.line(&format!("{name} logged in")));
            assert_eq!(miner.text(all[9]), expected);
        }
    }

    #[test]
    fn few_values_stay_apart() {
        let mut miner = Miner::new(TemplateOptions::default());
        for method in ["GET", "POST", "PUT", "DELETE"] {
            miner.line(&format!("{method} it now"));
        }
        assert_eq!(miner.store.len(), 4);
    }

    #[test]
    fn two_variables_generalise_one_after_the_other() {
        let mut miner = Miner::new(TemplateOptions { merge_after: 3, ..TemplateOptions::default() });
        for host in &NAMES[..4] {
            for user in &NAMES[4..8] {
                miner.line(&format!("login of {user} at {host} ok"));
            }
        }
        assert_eq!(miner.store.len(), 1);
        let found = miner.line("login of new at newer ok");
        assert_eq!(miner.text(found), "login of <*> at <*> ok");
    }

    #[test]
    fn a_replay_of_the_texts_rebuilds_the_same_templates() {
        let mut miner = Miner::new(TemplateOptions { max_templates: 6, merge_after: 3, ..TemplateOptions::default() });
        let mut texts = Vec::new();
        for n in 0..200 {
            let line = format!("{} {} {} end {n}", NAMES[n % 3], NAMES[n * 7 % 10], NAMES[n * n % 10]);
            if miner.matcher.find(line.as_bytes()).is_none() {
                let learned = miner.store.learn(miner.matcher.skeleton(), line.as_bytes());
                miner.matcher.remember(learned);
                texts.push(miner.matcher.skeleton().text(line.as_bytes()));
            }
        }
        let mut again = TemplateStore::new((**miner.store.options()).clone());
        for text in &texts {
            again.learn_text(text);
        }
        assert_eq!(again.len(), miner.store.len());
        assert!(again.len() <= 6);
    }

    #[test]
    fn a_restored_store_holds_the_same_and_goes_on_the_same() {
        let options = TemplateOptions { max_templates: 12, merge_after: 4, ..TemplateOptions::default() };
        let mut miner = Miner::new(options.clone());
        let line = |n: usize| format!("{} {} {} end {n}", NAMES[n % 3], NAMES[n * 7 % 10], NAMES[n * n % 10]);
        for n in 0..150 {
            miner.line(&line(n));
        }
        let mut bytes = Vec::new();
        miner.store.checkpoint(&mut bytes);
        let store = TemplateStore::restore(options, &bytes).unwrap();
        let mut again = Miner { matcher: LaneMatcher::new(&store), store };
        for n in 150..400 {
            let (left, right) = (miner.line(&line(n)), again.line(&line(n)));
            assert_eq!((left.id, left.slot), (right.id, right.slot), "line {n}");
        }
        let all = |miner: &Miner| miner.store.templates().cloned().collect::<Vec<_>>();
        assert_eq!(all(&miner), all(&again));
    }

    #[test]
    fn texts_stay_within_their_bytes_through_a_storm_of_long_lines_and_known_templates_stay() {
        let mut miner = Miner::new(TemplateOptions { max_bytes: 1 << 20, ..TemplateOptions::default() });
        let known = miner.line("took 15 ms");
        for n in 0..3_000_u32 {
            let letter = |shift: u32| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> shift) as u8 % 26);
            let word: String = (0..12).map(|at| letter(at * 2)).collect();
            miner.line(&format!("{} end", format!("{word} ").repeat(40 + n as usize % 60)));
            assert_eq!(miner.line("took 27 ms"), known, "line {n}");
            assert!(miner.store.memory_bytes() < 8 << 20, "line {n}");
        }
        let texts: usize = miner.store.templates().map(|template| template.text.len()).sum();
        assert!(texts < 1 << 20 && miner.store.len() > 100, "{texts} bytes of {}", miner.store.len());
        assert!(miner.store.totals().1 > 1_000);
    }

    #[test]
    fn one_line_larger_than_all_templates_may_be_is_still_a_template() {
        let mut miner = Miner::new(TemplateOptions { max_bytes: 16, ..TemplateOptions::default() });
        miner.line("a template of some length");
        let second = miner.line("another template of some length");
        assert_eq!((miner.store.len(), miner.store.totals().1), (1, 1));
        assert_eq!(miner.text(second), "another template of some length");
    }

    #[test]
    fn one_huge_line_with_a_match_of_the_user_s_evicts_no_known_template() {
        let user = crate::template::UserMasks::new([("order", "ORD-[0-9]+")]).unwrap();
        let masking = Masking { user, ..Masking::default() };
        let mut miner = Miner::new(TemplateOptions { masking, merge_after: 1_000, ..TemplateOptions::default() });
        for first in 'a'..='j' {
            ('a'..='t').for_each(|second| _ = miner.line(&format!("known {first} {second}")));
        }
        miner.line(&format!("ORD-17 {}", "zx".repeat(8_500_000)));
        miner.line(&format!("ORD-17 {}", "z x-y=\"\" {\"a\":1,".repeat(1_000_000)));
        assert_eq!((miner.store.len(), miner.store.totals().1), (202, 0));
    }

    #[test]
    fn a_mask_that_matches_everything_makes_every_line_one_template() {
        let user = crate::template::UserMasks::new([("all", ".+")]).unwrap();
        let masking = Masking { user, ..Masking::default() };
        let mut miner = Miner::new(TemplateOptions { masking, ..TemplateOptions::default() });
        let all: Vec<_> = ["a", "b c", " d ", "e\u{301} \u{2028}", "{\"f\":1}"].map(|line| miner.line(line)).into();
        assert!(all.iter().all(|found| *found == all[0]));
        assert_eq!(miner.text(all[0]), "<*>");
    }

    #[test]
    fn a_cap_of_one_works_and_an_evicted_template_is_no_longer_found() {
        let mut miner = Miner::new(TemplateOptions { max_templates: 1, ..TemplateOptions::default() });
        let first = miner.line("alpha one");
        let second = miner.line("beta two");
        assert_ne!(first.id, second.id);
        assert_eq!(miner.store.len(), 1);
        assert!(!miner.matcher.is_current(&first));
        assert_eq!(miner.matcher.find(b"alpha one"), None);
        assert_eq!(miner.store.totals(), (0, 1));
    }
}
