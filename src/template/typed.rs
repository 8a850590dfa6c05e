//! Templates that show what their wildcards met: `took <num> ms`.
//!
//! A lane keeps a copy of what is known of each template's wildcards and asks the store only when a value of another
//! kind comes: as often as kinds can widen, a handful of times a wildcard. Without [`TemplateOptions::typed`] none of
//! this runs.
//!
//! [`TemplateOptions::typed`]: super::TemplateOptions::typed

use hashbrown::HashMap;

use super::kind::Kind;
use super::mask::UserMasks;
use super::rule::Rule;
use super::store::{StoredTemplate, TemplateStore};
use super::tokenise::{Skeleton, WILDCARD};
use super::{Match, Slot};

/// A lane's copy.
#[derive(Debug, Default)]
pub(super) struct TypedView {
    known: HashMap<Slot, Known>,
}

#[derive(Debug)]
struct Known {
    generation: u32,
    template: Box<[u64]>,
    kinds: Vec<Kind>,
}

impl TypedView {
    /// Whether the line has a value of a kind that its template's wildcard has not met.
    pub(super) fn is_new(&self, skeleton: &Skeleton, message: &[u8], masks: &UserMasks, found: &Match) -> bool {
        let Some(known) = self.known.get(&found.slot).filter(|known| known.generation == found.generation) else {
            return true;
        };
        let mut kinds = known.kinds.iter();
        kinds_of(skeleton, message, masks, &known.template)
            .any(|kind| kinds.next().is_none_or(|old| old.join(kind) != *old))
    }

    /// Tells the store, and copies what it knows.
    pub(super) fn learn(&mut self, skeleton: &Skeleton, message: &[u8], found: &Match, store: &mut TemplateStore) {
        let template: Box<[u64]> = store.tokens(found.slot).into();
        let options = store.options().clone();
        let kinds: Vec<Kind> = kinds_of(skeleton, message, &options.masking.user, &template).collect();
        let kinds = store.widen(found.slot, &kinds);
        self.known.insert(found.slot, Known { generation: found.generation, template, kinds });
    }
}

fn kinds_of<'a>(
    skeleton: &'a Skeleton,
    message: &'a [u8],
    masks: &'a UserMasks,
    template: &'a [u64],
) -> impl Iterator<Item = Kind> + 'a {
    skeleton.values(message, template).map(|value| match value.rule {
        Some(Rule::UserMask) => masks.kind_of(value.bytes),
        _ => Kind::of(value.bytes),
    })
}

impl TemplateStore {
    /// Joins `kinds` to those of the slot's template; returns what they are now.
    fn widen(&mut self, slot: Slot, kinds: &[Kind]) -> Vec<Kind> {
        let Some(Some(entry)) = self.entries.get_mut(slot.index()) else { return Vec::new() };
        let known = &mut entry.template.kinds;
        known.resize(kinds.len(), Kind::Unseen);
        known.iter_mut().zip(kinds).for_each(|(old, new)| *old = old.join(*new));
        known.clone()
    }

    /// The template as it is shown: bytes that are not UTF-8 replaced, wildcards typed when the options ask for it.
    pub fn shown(&self, template: &StoredTemplate) -> String {
        let text = String::from_utf8_lossy(&template.text);
        if !self.options.typed {
            return text.into_owned();
        }
        let names = self.options.masking.user.names();
        let mut pieces = text.split(WILDCARD);
        let mut out = pieces.next().unwrap_or_default().to_owned();
        for (number, piece) in pieces.enumerate() {
            match template.kinds.get(number).and_then(|kind| kind.name(names)) {
                Some(name) => out.extend(["<", name, ">"]),
                None => out.push_str(WILDCARD),
            }
            out.push_str(piece);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use crate::template::{LaneMatcher, Masking, TemplateOptions, TemplateStore, UserMasks};

    struct Typed(TemplateStore, LaneMatcher);

    impl Typed {
        fn new(merge_after: usize) -> Self {
            let user = UserMasks::new([("order", "ORD-[0-9]+")]).unwrap();
            let masking = Masking { user, ..Masking::default() };
            let store = TemplateStore::new(TemplateOptions { typed: true, merge_after, masking, ..Default::default() });
            let matcher = LaneMatcher::new(&store);
            Self(store, matcher)
        }

        fn line(&mut self, line: &str) -> String {
            let Self(store, matcher) = self;
            let message = line.as_bytes();
            let found = matcher.find(message).unwrap_or_else(|| {
                let learned = store.learn(matcher.skeleton(), message);
                matcher.remember(learned)
            });
            if matcher.is_kind_new(message, &found) {
                matcher.learn_kinds(message, &found, store);
                assert!(!matcher.is_kind_new(message, &found), "{line}");
            }
            store.shown(store.by_id(found.id).unwrap())
        }
    }

    #[test]
    fn wildcards_show_what_they_met_and_widen() {
        let mut typed = Typed::new(8);
        assert_eq!(typed.line("ORD-17 took 15 from 10.0.0.1"), "<order> took <num> from <ip>");
        assert_eq!(typed.line("ORD-18 took 1.5 from fe80::1"), "<order> took <num> from <ip>");
        assert_eq!(typed.line("ORD-18 took 12ms from node-17"), "<order> took <*> from <*>");
        assert_eq!(typed.line("ORD-18 took 12 from 10.0.0.1"), "<order> took <*> from <*>", "never narrows");
    }

    #[test]
    fn a_word_that_became_a_wildcard_is_plain_and_the_others_are_learned_again() {
        let mut typed = Typed::new(3);
        assert_eq!(typed.line("name ann id 1"), "name ann id <num>");
        typed.line("name bob id 2");
        assert_eq!(typed.line("name cy id 3"), "name <*> id <num>");
    }

    #[test]
    fn a_mask_named_as_a_built_in_kind_adds_to_that() {
        let user = UserMasks::new([("ip", "host-[a-z]+"), ("own", "own-[a-z]+")]).unwrap();
        let masking = Masking { user, ..Masking::default() };
        let store = TemplateStore::new(TemplateOptions { typed: true, masking, ..Default::default() });
        let mut typed = Typed(TemplateStore::new((**store.options()).clone()), LaneMatcher::new(&store));
        typed.1 = LaneMatcher::new(&typed.0);
        assert_eq!(typed.line("from 10.0.0.1 by own-x"), "from <ip> by <own>");
        assert_eq!(typed.line("from host-a by own-y"), "from <ip> by <own>");
        assert_eq!(typed.line("from 17 by own-y"), "from <*> by <own>");
    }

    #[test]
    fn kinds_survive_a_checkpoint() {
        let mut typed = Typed::new(8);
        typed.line("took 15 ms");
        let mut bytes = Vec::new();
        typed.0.checkpoint(&mut bytes);
        let again = TemplateStore::restore((**typed.0.options()).clone(), &bytes).unwrap();
        assert_eq!(again.shown(again.templates().next().unwrap()), "took <num> ms");
    }
}
