//! Why a line has the template it has, for people: not a hot path.

use serde::Serialize;

use super::rule::Rule;
use super::store::{Entry, TemplateOptions, TemplateStore};
use super::tokenise::{Piece, Skeleton, WILDCARD, WILDCARD_TOKEN, slice};
use super::{LaneMatcher, Match, places, similar};

/// How a line was read, and what that led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The tokens, in order.
    pub tokens: Vec<ExplainedToken>,
    /// The line's skeleton: tokens joined by one blank, variables as [`WILDCARD`].
    pub skeleton: String,
    /// The template it met.
    pub outcome: Outcome,
}

/// One token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedToken {
    /// As the line has it.
    pub text: String,
    /// With its variables as [`WILDCARD`].
    pub masked: String,
    /// Its variables, each with the rule that found it.
    pub variables: Vec<(Rule, String)>,
    /// The template has a wildcard here that the line's masks did not put there, and why.
    pub generalised: Option<Cause>,
}

/// Why a template has a wildcard where a line has a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// Enough templates differed in this token.
    Differed,
    /// A seed says so, or a mask found a value here in the line that founded it.
    Founded,
}

/// What a skeleton led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "met", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// A template whose skeleton is the line's.
    SameSkeleton(Met),
    /// A template that agrees with the line but for its wildcards.
    Generalised(Met),
    /// None: the line would found a template of its own.
    Nothing {
        /// Templates that differ from the line in one token, in the place where they are the most, and how many must
        /// there be, the line's own included, for that token to become a variable.
        nearest: Option<Nearest>,
    },
}

/// A template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Met {
    /// Its id, 16 hex digits.
    pub template_id: String,
    /// Its text.
    pub template: String,
}

/// Templates one token away from a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nearest {
    /// Number of the token, from 0.
    pub token: usize,
    /// Some of the templates, oldest first, at most [`Nearest::SHOWN`].
    pub templates: Vec<Met>,
    /// How many there are.
    pub count: usize,
    /// How many make the token a variable, the line's own template included: fewer when all of them have a name there.
    pub merge_after: usize,
}

impl Nearest {
    /// Templates named.
    pub const SHOWN: usize = 3;
}

impl LaneMatcher {
    /// Explains a line, learning nothing of it.
    pub fn explain(&mut self, message: &[u8], store: &TemplateStore) -> Explanation {
        self.find(message);
        let by_skeleton = store.find_skeleton(self.skeleton().hash());
        let met = |found: Match| {
            let template = store.by_id(found.id);
            Met {
                template_id: found.id.to_string(),
                template: template.map(|template| store.shown(template)).unwrap_or_default(),
            }
        };
        let by_tree = if by_skeleton.is_none() { store.find_generalised(self.skeleton(), message) } else { None };
        let outcome = match (by_skeleton, by_tree) {
            (Some(found), _) if store.is_own_skeleton(found.slot, self.skeleton()) => Outcome::SameSkeleton(met(found)),
            (Some(found), _) | (None, Some(found)) => Outcome::Generalised(met(found)),
            (None, None) => Outcome::Nothing { nearest: store.nearest(self.skeleton(), message) },
        };
        let template = by_skeleton.or(by_tree).and_then(|found| store.entry(found.slot));
        let skeleton = self.skeleton();
        Explanation {
            tokens: skeleton.explain(message, template),
            skeleton: String::from_utf8_lossy(&skeleton.text(message)).into_owned(),
            outcome,
        }
    }
}

impl Skeleton {
    fn explain(&self, message: &[u8], template: Option<&Entry>) -> Vec<ExplainedToken> {
        let cause = |number, hash| {
            let template = template.filter(|template| template.tokens.get(number).is_some_and(|own| *own != hash))?;
            Some(if template.words & places::bit(number) != 0 { Cause::Differed } else { Cause::Founded })
        };
        let text = |range: &std::ops::Range<u32>| String::from_utf8_lossy(slice(message, range)).into_owned();
        let tokens = self.tokens().iter().enumerate().map(|(number, token)| {
            let masked: String = self
                .pieces(token)
                .map(|piece| match piece {
                    Piece::Constant(range) => text(&range),
                    Piece::Variable => WILDCARD.to_owned(),
                })
                .collect();
            let variables = self.variables_of(token).iter();
            ExplainedToken {
                text: text(&(token.start..token.end)),
                variables: variables.map(|variable| (variable.rule, text(&variable.range()))).collect(),
                generalised: cause(number, token.hash),
                masked,
            }
        });
        tokens.collect()
    }
}

impl TemplateStore {
    /// Templates that differ from a skeleton in one constant token, at the token where they are the most; none where no number
    /// of them would merge.
    fn nearest(&self, skeleton: &Skeleton, message: &[u8]) -> Option<Nearest> {
        let tokens: Vec<u64> = skeleton.token_hashes().collect();
        if !similar::may_vary(&tokens) {
            return None;
        }
        let mut by_token: Vec<Vec<&Entry>> = vec![Vec::new(); tokens.len()];
        for entry in self.entries.iter().flatten().filter(|entry| entry.tokens.len() == tokens.len()) {
            let mut differing = entry.tokens.iter().zip(&tokens).enumerate().filter(|(_, (a, b))| a != b);
            if let (Some((at, (own, other))), None) = (differing.next(), differing.next())
                && ![*own, *other].contains(&WILDCARD_TOKEN)
                && let Some(entries) = by_token.get_mut(at)
            {
                entries.push(entry);
            }
        }
        let (token, mut entries) =
            by_token.into_iter().enumerate().max_by_key(|(at, list)| (list.len(), usize::MAX - at))?;
        entries.sort_unstable_by_key(|entry| entry.entered);
        let text = skeleton.text(message);
        let own = text.split(|byte| *byte == b' ').nth(token);
        let are_names = entries
            .iter()
            .map(|entry| entry.token(token))
            .chain([own])
            .all(|token| token.is_some_and(similar::is_name));
        let TemplateOptions { merge_after, merge_names_after, .. } = *self.options;
        let met =
            |entry: &&Entry| Met { template_id: entry.template.id.to_string(), template: self.shown(&entry.template) };
        (!entries.is_empty()).then(|| Nearest {
            token,
            templates: entries.iter().take(Nearest::SHOWN).map(met).collect(),
            count: entries.len(),
            merge_after: if are_names { merge_after.min(merge_names_after) } else { merge_after },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Masking, TemplateOptions};

    #[test]
    fn says_which_rule_masked_what_and_which_template_was_met_how() {
        let mut store = TemplateStore::new(TemplateOptions { merge_after: 3, ..TemplateOptions::default() });
        let mut matcher = LaneMatcher::new(&store);
        let mut learn = |store: &mut TemplateStore, line: &str| {
            if matcher.find(line.as_bytes()).is_none() {
                let learned = store.learn(matcher.skeleton(), line.as_bytes());
                matcher.remember(learned);
            }
        };
        learn(&mut store, "name ann uid=17, /etc/a/b");
        learn(&mut store, "name bob uid=18, /etc/a/b");
        let explain = |store: &TemplateStore, line: &str| LaneMatcher::new(store).explain(line.as_bytes(), store);
        let known = explain(&store, "name ann uid=99, /x/y/z");
        assert!(matches!(&known.outcome, Outcome::SameSkeleton(met) if met.template == "name ann uid=<*>, <*>"));
        assert_eq!(known.tokens[2].variables, [(Rule::Number, "99".to_owned())]);
        assert_eq!(known.tokens[2].masked, "uid=<*>,");
        assert_eq!(known.tokens[3].variables, [(Rule::Path, "/x/y/z".to_owned())]);

        let unknown = explain(&store, "name cy uid=1, /x/y/z");
        let Outcome::Nothing { nearest: Some(nearest) } = unknown.outcome else { panic!("{unknown:?}") };
        assert_eq!((nearest.token, nearest.count, nearest.merge_after), (1, 2, 3));
        assert_eq!(store.len(), 2, "explaining learns nothing");

        learn(&mut store, "name cy uid=17, /etc/a/b");
        for line in ["name dot uid=1, /x/y/z", "name ann uid=1, /x/y/z"] {
            let generalised = explain(&store, line);
            assert!(
                matches!(&generalised.outcome, Outcome::Generalised(met) if met.template == "name <*> uid=<*>, <*>")
            );
            assert_eq!([1, 2].map(|token| generalised.tokens[token].generalised), [Some(Cause::Differed), None]);
        }
        assert_eq!(explain(&store, "").outcome, Outcome::Nothing { nearest: None });
    }

    #[test]
    fn promises_a_merge_only_where_and_when_there_will_be_one() {
        let mut store = TemplateStore::new(TemplateOptions::default());
        let mut skeleton = Skeleton::new();
        let long = |word: &str| format!("{word} {}", "w ".repeat(70));
        for line in ["one", "17 two", &long("x"), "open com.example.A", "load ann", "move a.b"] {
            skeleton.scan(line.as_bytes(), &Masking::default());
            store.learn(&skeleton, line.as_bytes());
        }
        let nearest = |line: &str| match LaneMatcher::new(&store).explain(line.as_bytes(), &store).outcome {
            Outcome::Nothing { nearest } => nearest.map(|nearest| nearest.merge_after),
            outcome => panic!("{line}: {outcome:?}"),
        };
        for line in ["two", "18 three", &long("y")] {
            assert_eq!(nearest(line), None, "nothing else is constant, or the line is too long: {line}");
        }
        assert_eq!(nearest("open com.example.B"), Some(2), "names");
        assert_eq!(nearest("move com"), Some(8), "not all are names");
        assert_eq!(nearest("load bob"), Some(8));
    }

    #[test]
    fn a_wildcard_of_a_seed_is_none_that_words_made() {
        let mut store = TemplateStore::new(TemplateOptions::default());
        store.learn_seed(&mut Skeleton::new(), b"login of <*>");
        let explained = LaneMatcher::new(&store).explain(b"login of ann", &store);
        assert_eq!(explained.tokens[2].generalised, Some(Cause::Founded));
    }
}
