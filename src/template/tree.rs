//! The templates that have a wildcard in place of whole tokens, found by the tokens that are constant.
//!
//! Two levels: number of tokens, then one of the constant tokens; a template list under each. That is the first constant,
//! unless many templates have the same one: of those, each goes by the constant that the fewest others go by. The store changes its
//! own tree at each merge; lanes read a copy ([`Published`]).

use hashbrown::HashMap;

use super::keyed::Tokens;
use super::tokenise::WILDCARD_TOKEN;
use super::{Match, Slot};

#[derive(Debug, Clone)]
struct Generalised {
    found: Match,
    tokens: Box<[u64]>,
    constants: usize,
}

/// Templates under one constant; of more, one that can goes by another constant of its own.
const MOST_UNDER_ONE: usize = 8;

/// Templates with wildcards.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    /// By number of tokens, then position and hash of a constant token.
    branches: HashMap<usize, Vec<Branch>, foldhash::fast::FixedState>,
    len: usize,
}

#[derive(Debug, Clone)]
struct Branch {
    position: usize,
    by_token: HashMap<u64, Vec<Generalised>, foldhash::fast::FixedState>,
}

/// Versions of the tree, each for the templates whose number of tokens leaves it when divided by as many: a merge does
/// not make all that lanes know of the tree old.
pub(super) const TREE_VERSIONS: usize = 64;

/// By number of tokens.
pub(super) type TreeVersions<T> = [T; TREE_VERSIONS];

/// Slots by the hash of a skeleton.
pub(super) type Skeletons = HashMap<u64, Slot, foldhash::fast::FixedState>;

/// What lanes have of the tree.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) versions: TreeVersions<u32>,
    pub(super) tree: Tree,
    /// The skeletons the store knew then: such a line's template is not the tree's to tell. A skeleton learned since is
    /// none that a tree of its version accepts.
    pub(super) exact: Skeletons,
}

impl Default for Published {
    fn default() -> Self {
        Self { versions: [0; TREE_VERSIONS], tree: Tree::default(), exact: Skeletons::default() }
    }
}

impl Tree {
    /// Templates in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether any of them may have so many tokens.
    pub(super) fn has(&self, tokens: usize) -> bool {
        self.branches.contains_key(&tokens)
    }

    pub(super) fn insert(&mut self, found: Match, tokens: &[u64]) {
        let constants = constants(tokens).count();
        let branches = self.branches.entry(tokens.len()).or_default();
        let Some((position, constant)) = key(branches, tokens) else { return };
        let at = branches.iter().position(|branch| branch.position == position).unwrap_or_else(|| {
            branches.push(Branch { position, by_token: HashMap::default() });
            branches.len() - 1
        });
        if let Some(branch) = branches.get_mut(at) {
            let entry = Generalised { found, tokens: tokens.into(), constants };
            branch.by_token.entry(constant).or_default().push(entry);
            self.len += 1;
        }
    }

    /// Takes out the template in `slot`, which has these tokens.
    pub(super) fn remove(&mut self, slot: Slot, tokens: &[u64]) {
        let Some(branches) = self.branches.get_mut(&tokens.len()) else { return };
        for branch in branches {
            let Some(constant) = tokens.get(branch.position) else { continue };
            let Some(templates) = branch.by_token.get_mut(constant) else { continue };
            let before = templates.len();
            templates.retain(|template| template.found.slot != slot);
            self.len -= before - templates.len();
            if templates.is_empty() {
                branch.by_token.remove(constant);
            }
        }
    }

    /// The template with the most constants, of equals the one with the smallest id, that agrees with `tokens` at each
    /// constant.
    pub(super) fn find(&self, tokens: &Tokens) -> Option<Match> {
        let found = self.find_but(tokens, Slot(u32::MAX));
        #[cfg(fuzzing)]
        assert_eq!(found, self.naive_find(tokens));
        found
    }

    /// The same, of all but that in slot `but`.
    pub(super) fn find_but(&self, tokens: &Tokens, but: Slot) -> Option<Match> {
        let mut best: Option<&Generalised> = None;
        for branch in self.branches.get(&tokens.hashes().len())? {
            let firsts = tokens.ways(branch.position);
            for template in firsts.flat_map(|first| branch.by_token.get(&first).into_iter().flatten()) {
                let may_be = best.is_none_or(|best| template.is_better(best)) && template.found.slot != but;
                if may_be && tokens.agree_with(&template.tokens) {
                    best = Some(template);
                }
            }
        }
        best.map(|template| template.found)
    }

    /// The twin of [`Self::find`]: every template there is.
    #[cfg(any(test, fuzzing))]
    fn naive_find(&self, tokens: &Tokens) -> Option<Match> {
        let branches = self.branches.values().flatten();
        let all = branches.flat_map(|branch| branch.by_token.values().flatten());
        let agreeing = all.filter(|own| own.tokens.len() == tokens.hashes().len() && tokens.agree_with(&own.tokens));
        let best = agreeing.max_by_key(|own| (own.constants, std::cmp::Reverse(own.found.id)))?;
        Some(best.found)
    }
}

fn constants(tokens: &[u64]) -> impl Iterator<Item = (usize, u64)> {
    tokens.iter().copied().enumerate().filter(|(_, token)| *token != WILDCARD_TOKEN)
}

/// The constant that a template goes by.
fn key(branches: &[Branch], tokens: &[u64]) -> Option<(usize, u64)> {
    let under = |(position, constant): &(usize, u64)| {
        let branch = branches.iter().find(|branch| branch.position == *position);
        branch.and_then(|branch| branch.by_token.get(constant)).map_or(0, Vec::len)
    };
    let first = constants(tokens).next()?;
    if under(&first) < MOST_UNDER_ONE { Some(first) } else { constants(tokens).min_by_key(under) }
}

impl Generalised {
    fn is_better(&self, other: &Self) -> bool {
        (self.constants, other.found.id) > (other.constants, self.found.id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::TemplateId;

    const WILD: u64 = WILDCARD_TOKEN;

    fn found(slot: u32) -> Match {
        Match { slot: Slot(slot), id: TemplateId(u64::from(slot)), generation: 1 }
    }

    #[test]
    fn finds_the_most_specific_template_that_agrees() {
        let mut tree = Tree::default();
        let templates: [(Match, &[u64]); 3] =
            [(found(0), &[1, WILD, WILD]), (found(1), &[1, 2, WILD]), (found(2), &[WILD, 7, 8])];
        templates.into_iter().for_each(|(found, tokens)| tree.insert(found, tokens));
        let find = |tree: &Tree, hashes: &[u64]| tree.find(&Tokens::of_hashes(hashes, &[]));
        assert_eq!(find(&tree, &[1, 2, 3]), Some(found(1)));
        assert_eq!(find(&tree, &[1, 5, 3]), Some(found(0)));
        assert_eq!(find(&tree, &[9, 7, 8]), Some(found(2)));
        assert_eq!(find(&tree, &[9, 7, 9]), None);
        assert_eq!(find(&tree, &[1, 2]), None);
        assert_eq!(find(&tree, &[]), None);
        assert_eq!(tree.find(&Tokens::of_hashes(&[9, 5, 3], &[(0, 1)])), Some(found(0)), "by a second hash");
        tree.remove(Slot(1), &[1, 2, WILD]);
        assert_eq!((find(&tree, &[1, 2, 3]), tree.len()), (Some(found(0)), 2));
    }

    #[test]
    fn templates_that_begin_alike_are_told_apart_by_other_constants() {
        let mut tree = Tree::default();
        let tokens = |n: u32| [1, 1_000 + u64::from(n % 95), 2_000 + u64::from(n / 95), WILD, 3];
        (0..9_000).for_each(|n| tree.insert(found(n), &tokens(n)));
        let most = tree.branches[&5].iter().flat_map(|branch| branch.by_token.values()).map(Vec::len).max();
        assert!(most.is_some_and(|most| most < 100), "{most:?}");
        let line = |n: u32| tokens(n).map(|token| if token == WILD { 7 } else { token });
        for n in 0..9_000 {
            assert_eq!(tree.find(&Tokens::of_hashes(&line(n), &[])), Some(found(n)));
        }
        (0..9_000).for_each(|n| tree.remove(Slot(n), &tokens(n)));
        assert_eq!((tree.len(), tree.find(&Tokens::of_hashes(&line(5), &[]))), (0, None));
        assert!(tree.branches[&5].iter().all(|branch| branch.by_token.is_empty()));
    }

    fn token() -> impl Strategy<Value = u64> {
        prop_oneof![3 => 1..4u64, 1 => Just(WILD)]
    }

    proptest! {
        #[test]
        fn by_its_constants_a_line_finds_what_looking_at_all_templates_finds(
            templates in proptest::collection::vec(proptest::collection::vec(token(), 1..5), 0..40),
            gone in proptest::collection::vec(0..40usize, 0..10),
            lines in proptest::collection::vec((proptest::collection::vec(1..5u64, 1..5), any::<bool>()), 1..20),
        ) {
            let mut tree = Tree::default();
            (0..).zip(&templates).for_each(|(slot, tokens)| tree.insert(found(slot), tokens));
            for slot in gone {
                if let Some(tokens) = templates.get(slot) {
                    tree.remove(Slot(slot as u32), tokens);
                }
            }
            for (line, has_key) in lines {
                let keyed = if has_key { vec![(0, 2)] } else { Vec::new() };
                let tokens = Tokens::of_hashes(&line, &keyed);
                prop_assert_eq!(tree.find(&tokens), tree.naive_find(&tokens));
            }
        }
    }

    #[test]
    fn of_equals_the_smallest_id_is_found_whatever_the_order() {
        for order in [[4, 5], [5, 4]] {
            let mut tree = Tree::default();
            for slot in order {
                tree.insert(found(slot), if slot == 4 { &[1, WILD, 3] } else { &[1, 2, WILD] });
            }
            assert_eq!(tree.find(&Tokens::of_hashes(&[1, 2, 3], &[])), Some(found(4)));
        }
    }
}
