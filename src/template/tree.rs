//! The templates that have a wildcard in place of whole tokens, found by the tokens that are constant.
//!
//! Two levels: number of tokens, then the constant token with the lowest position; a template list under each. Built
//! anew at each merge (rare) and handed to the lanes as an immutable whole.

use hashbrown::HashMap;

use super::Match;
use super::tokenise::WILDCARD_TOKEN;

#[derive(Debug, Clone)]
struct Generalised {
    found: Match,
    tokens: Box<[u64]>,
    constants: usize,
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    /// By number of tokens, then position and hash of the first constant token.
    branches: HashMap<usize, Vec<Branch>, foldhash::fast::FixedState>,
}

#[derive(Debug)]
struct Branch {
    position: usize,
    by_token: HashMap<u64, Vec<Generalised>, foldhash::fast::FixedState>,
}

impl Tree {
    pub(super) fn build<'t>(templates: impl Iterator<Item = (Match, &'t [u64])>) -> Self {
        let mut tree = Self::default();
        for (found, tokens) in templates {
            tree.insert(found, tokens);
        }
        tree
    }

    fn insert(&mut self, found: Match, tokens: &[u64]) {
        let Some(position) = tokens.iter().position(|token| *token != WILDCARD_TOKEN) else { return };
        let Some(first) = tokens.get(position) else { return };
        let constants = tokens.iter().filter(|token| **token != WILDCARD_TOKEN).count();
        let branches = self.branches.entry(tokens.len()).or_default();
        let at = branches.iter().position(|branch| branch.position == position).unwrap_or_else(|| {
            branches.push(Branch { position, by_token: HashMap::default() });
            branches.len() - 1
        });
        if let Some(branch) = branches.get_mut(at) {
            let entry = Generalised { found, tokens: tokens.into(), constants };
            branch.by_token.entry(*first).or_default().push(entry);
        }
    }

    /// The template with the most constants, the oldest of equals, that agrees with `tokens` at each constant.
    pub(super) fn find(&self, tokens: &[u64]) -> Option<Match> {
        let mut best: Option<&Generalised> = None;
        for branch in self.branches.get(&tokens.len())? {
            let first = tokens.get(branch.position)?;
            for template in branch.by_token.get(first).into_iter().flatten() {
                if best.is_none_or(|best| template.constants > best.constants) && template.accepts(tokens) {
                    best = Some(template);
                }
            }
        }
        best.map(|template| template.found)
    }
}

impl Generalised {
    fn accepts(&self, tokens: &[u64]) -> bool {
        self.tokens.iter().zip(tokens).all(|(own, other)| *own == WILDCARD_TOKEN || own == other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TemplateId;
    use crate::template::Slot;

    #[test]
    fn finds_the_most_specific_template_that_agrees() {
        let wild = WILDCARD_TOKEN;
        let found = |slot| Match { slot: Slot(slot), id: TemplateId(u64::from(slot)), generation: 1 };
        let templates: [(Match, &[u64]); 3] =
            [(found(0), &[1, wild, wild]), (found(1), &[1, 2, wild]), (found(2), &[wild, 7, 8])];
        let tree = Tree::build(templates.into_iter());
        assert_eq!(tree.find(&[1, 2, 3]), Some(found(1)));
        assert_eq!(tree.find(&[1, 5, 3]), Some(found(0)));
        assert_eq!(tree.find(&[9, 7, 8]), Some(found(2)));
        assert_eq!(tree.find(&[9, 7, 9]), None);
        assert_eq!(tree.find(&[1, 2]), None);
        assert_eq!(tree.find(&[]), None);
    }
}
