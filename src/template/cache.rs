//! What a lane knows of the templates without asking anyone.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Slot;
use super::parameters::Parts;
use super::shared::SharedSlots;
use super::store::{Learned, TemplateOptions, TemplateStore};
use super::tokenise::Skeleton;
use super::tree::Tree;
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

#[derive(Debug, Clone, Copy)]
struct Known {
    skeleton: u64,
    found: Match,
}

const EMPTY: Known = Known { skeleton: 0, found: Match { slot: Slot(u32::MAX), id: TemplateId(0), generation: 0 } };

/// One lane's way to the templates: scratch space, cache, and a copy of the tree.
#[derive(Debug)]
pub struct LaneMatcher {
    shared: Arc<SharedSlots>,
    options: Arc<TemplateOptions>,
    skeleton: Skeleton,
    cache: Box<[[Known; WAYS]]>,
    tree: Arc<Tree>,
    tree_version: u64,
    tokens: Vec<u64>,
    typed: Option<TypedView>,
}

impl LaneMatcher {
    /// A matcher that knows nothing yet.
    pub fn new(store: &TemplateStore) -> Self {
        let shared = store.shared();
        let buckets = store.options().max_templates.clamp(64, MAX_BUCKETS).next_power_of_two();
        Self {
            options: Arc::clone(store.options()),
            skeleton: Skeleton::new(),
            cache: vec![[EMPTY; WAYS]; buckets.min(MAX_BUCKETS)].into(),
            tree: shared.tree.load_full(),
            tree_version: shared.tree_version.load(Ordering::Acquire),
            tokens: Vec::new(),
            typed: store.options().typed.then(TypedView::default),
            shared,
        }
    }

    /// The skeleton of the last line.
    pub fn skeleton(&self) -> &Skeleton {
        &self.skeleton
    }

    /// Takes in a line. `None`: the store must be asked ([`TemplateStore::learn`]) and its answer
    /// [remembered](Self::remember).
    pub fn find(&mut self, message: &[u8]) -> Option<Match> {
        self.skeleton.scan(message, &self.options.masking);
        let hash = self.skeleton.hash();
        let at = self.index(hash);
        let bucket = self.cache.get_mut(at)?;
        if bucket[1].skeleton == hash && bucket[0].skeleton != hash {
            bucket.swap(0, 1);
        }
        let [proven, _] = bucket;
        let is_found = proven.skeleton == hash && self.shared.is_current(proven.found.slot, proven.found.generation);
        is_found.then_some(proven.found)
    }

    /// The template of a line that differs from it only where it has wildcards; after [`Self::find`] found nothing.
    ///
    /// `changes_seen` is how many [changes](TemplateStore::changes_since) the caller has applied; when there are newer ones
    /// the store must be asked, since the slot's counts may still be those of another template.
    pub fn find_in_tree(&mut self, changes_seen: u64) -> Option<Match> {
        if self.shared.change_count.load(Ordering::Acquire) != changes_seen {
            return None;
        }
        let version = self.shared.tree_version.load(Ordering::Acquire);
        if version != self.tree_version {
            self.tree = self.shared.tree.load_full();
            self.tree_version = version;
        }
        self.tokens.clear();
        self.tokens.extend(self.skeleton.token_hashes());
        let found = self.tree.find(&self.tokens)?;
        self.shared.is_current(found.slot, found.generation).then(|| self.keep(found))
    }

    /// Keeps the store's answer for the last line.
    pub fn remember(&mut self, learned: Learned) -> Match {
        self.keep(Match { slot: learned.slot, id: learned.id, generation: learned.generation })
    }

    fn keep(&mut self, found: Match) -> Match {
        let hash = self.skeleton.hash();
        let at = self.index(hash);
        if let Some([proven, tried]) = self.cache.get_mut(at) {
            let known = Known { skeleton: hash, found };
            let is_free = proven.found.slot == EMPTY.found.slot || proven.skeleton == hash;
            *if is_free { proven } else { tried } = known;
        }
        found
    }

    /// Whether the last line has a value of a kind that its template's wildcard has not met; always false unless
    /// [`TemplateOptions::typed`].
    #[inline(always)]
    pub fn is_kind_new(&self, message: &[u8], found: &Match) -> bool {
        let is_new = |typed: &TypedView| typed.is_new(&self.skeleton, message, &self.options.masking.user, found);
        self.typed.as_ref().is_some_and(is_new)
    }

    /// Tells the store what the last line has at the wildcards of its template.
    pub fn learn_kinds(&mut self, message: &[u8], found: &Match, store: &mut TemplateStore) {
        if let Some(typed) = &mut self.typed {
            typed.learn(&self.skeleton, message, found, store);
        }
    }

    /// Whether a match still stands.
    pub fn is_current(&self, found: &Match) -> bool {
        self.shared.is_current(found.slot, found.generation)
    }

    /// The last line taken apart, given the template it has.
    pub fn parts<'m>(&self, message: &'m [u8], slot: Slot, store: &TemplateStore) -> Parts<'m> {
        let whole = store.whole_wildcards(slot);
        self.skeleton.parts(message, |token| whole.get(token).copied().unwrap_or(false))
    }

    /// The parameters of the last line, given the template it has.
    pub fn parameters<'m>(&self, message: &'m [u8], slot: Slot, store: &TemplateStore) -> Vec<Cow<'m, str>> {
        self.parts(message, slot, store).parameters.into_iter().map(String::from_utf8_lossy).collect()
    }

    fn index(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.cache.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

        fn text(&self, found: Match) -> String {
            String::from_utf8_lossy(&self.store.by_id(found.id).unwrap().text).into_owned()
        }
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
        assert_eq!(miner.matcher.parameters(last.as_bytes(), found.slot, &miner.store), ["zoe"]);
        let seen = miner.store.changes_since(0).1;
        assert_eq!(miner.matcher.find(b"session opened for yan by root"), None);
        assert_eq!(miner.matcher.find_in_tree(seen), Some(found), "without the store");
        assert_eq!(miner.matcher.find_in_tree(seen - 1), None, "a caller behind must ask the store");
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
