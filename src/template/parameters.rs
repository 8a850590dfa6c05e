//! A message taken apart and put together again.
//!
//! A template's text joins tokens with one blank. [`Parts`] keep what that leaves out: the parameters, and the blanks of
//! those places where the message has something else than one space. Text and parts give the message back byte for
//! byte, whatever the template generalised to: [`Taken`] has both.

use std::sync::Arc;

use super::Match;
use super::cache::LaneMatcher;
use super::mask::class;
use super::store::TemplateStore;
use super::tokenise::{Skeleton, WILDCARD, slice};

/// What a template's text lacks to be the message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parts<'m> {
    /// The bytes at each wildcard, in order.
    pub parameters: Vec<&'m [u8]>,
    /// Blanks that are not one space between two tokens, in order.
    pub blanks: Vec<Blanks<'m>>,
}

/// A message and its template, as they were when it was taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken<'m> {
    /// The template's text: tokens joined by one space, every variable as [`WILDCARD`], however wildcards are shown.
    pub template: Arc<[u8]>,
    /// The rest.
    pub parts: Parts<'m>,
}

impl Taken<'_> {
    /// The message, byte for byte.
    pub fn message(&self) -> Vec<u8> {
        // What was taken apart by this template has as many parameters as that has wildcards.
        self.parts.rebuild(&self.template).unwrap_or_default()
    }
}

/// Blanks before a token. Blanks are what ASCII calls white space; a no-break space, or any other beyond ASCII, is a part of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blanks<'m> {
    /// Number of the token after them, from 0; the number of tokens for those at the end.
    pub token: usize,
    /// The bytes.
    pub bytes: &'m [u8],
}

impl Skeleton {
    /// Takes the message apart, given the hashes of its template's tokens. `message` is the one last scanned.
    pub(super) fn parts<'m>(&self, message: &'m [u8], template: &[u64]) -> Parts<'m> {
        let mut parts = Parts::default();
        let mut at = 0;
        for (number, token) in self.tokens().iter().enumerate() {
            parts.add_blanks(number, slice(message, &(at..token.start)), number == 0);
            at = token.end;
        }
        parts.add_blanks(self.tokens().len(), message.get(at as usize..).unwrap_or_default(), true);
        parts.parameters.extend(self.values(message, template).map(|value| value.bytes));
        parts
    }
}

impl LaneMatcher {
    /// The last line taken apart, given what it was found to be, by its template as that is now; by the line's own skeleton when the template is gone
    /// meanwhile.
    pub fn taken<'m>(&self, message: &'m [u8], found: &Match, store: &TemplateStore) -> Taken<'m> {
        let template = store.by_id(found.id);
        let whole = template.map(|template| Taken {
            template: Arc::clone(&template.text),
            parts: self.parts(message, template.slot, store),
        });
        let gives_back = |taken: &Taken<'_>| taken.parts.rebuild(&taken.template).as_deref() == Some(message);
        whole.filter(gives_back).unwrap_or_else(|| Taken {
            template: self.skeleton().text(message).into(),
            parts: self.skeleton().parts(message, &[]),
        })
    }
}

impl<'m> Parts<'m> {
    fn add_blanks(&mut self, token: usize, bytes: &'m [u8], is_edge: bool) {
        let expected: &[u8] = if is_edge { b"" } else { b" " };
        if bytes != expected {
            self.blanks.push(Blanks { token, bytes });
        }
    }

    /// The message whose template has this text. `None` when the text has another number of wildcards.
    pub fn rebuild(&self, template: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(template.len());
        let mut parameters = self.parameters.iter();
        let tokens = template.split(|byte| class::of(*byte) & class::BLANK != 0).filter(|token| !token.is_empty());
        let mut count = 0;
        for (number, token) in tokens.enumerate() {
            out.extend_from_slice(self.blanks_before(number, number == 0));
            fill(token, &mut parameters, &mut out)?;
            count = number + 1;
        }
        out.extend_from_slice(self.blanks_before(count, true));
        parameters.next().is_none().then_some(out)
    }

    fn blanks_before(&self, token: usize, is_edge: bool) -> &[u8] {
        let found = self.blanks.iter().find(|blanks| blanks.token == token).map(|blanks| blanks.bytes);
        found.unwrap_or(if is_edge { b"" } else { b" " })
    }
}

/// Appends `token` with a parameter at each wildcard.
fn fill<'p, 'm: 'p>(
    token: &[u8],
    parameters: &mut impl Iterator<Item = &'p &'m [u8]>,
    out: &mut Vec<u8>,
) -> Option<()> {
    let mut rest = token;
    while let Some(at) = memchr::memmem::find(rest, WILDCARD.as_bytes()) {
        out.extend_from_slice(rest.get(..at)?);
        out.extend_from_slice(parameters.next()?);
        rest = rest.get(at + WILDCARD.len()..)?;
    }
    out.extend_from_slice(rest);
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::template::tokenise::hashes_of_text;
    use crate::template::{LaneMatcher, Masking, TemplateOptions, TemplateStore, UserMasks};

    fn parts_of(message: &[u8]) -> (Vec<u8>, Skeleton) {
        let mut skeleton = Skeleton::new();
        skeleton.scan(message, &Masking::default());
        (skeleton.text(message), skeleton)
    }

    #[test]
    fn parts_keep_parameters_and_odd_blanks() {
        let message = b"  took 15 ms\tat  10.0.0.1:80 ";
        let (text, skeleton) = parts_of(message);
        let parts = skeleton.parts(message, &[]);
        assert_eq!(text, b"took <*> ms at <*>");
        assert_eq!(parts.parameters, [&b"15"[..], b"10.0.0.1:80"]);
        let blanks: Vec<_> = parts.blanks.iter().map(|blanks| (blanks.token, blanks.bytes)).collect();
        assert_eq!(blanks, [(0, &b"  "[..]), (3, b"\t"), (4, b"  "), (5, b" ")]);
        assert_eq!(parts.rebuild(&text).unwrap(), message);
    }

    #[test]
    fn a_text_with_another_number_of_wildcards_gives_nothing() {
        let parts = Parts { parameters: vec![b"1"], blanks: Vec::new() };
        assert_eq!(parts.rebuild(b"a <*>").unwrap(), b"a 1");
        assert_eq!(parts.rebuild(b"a"), None);
        assert_eq!(parts.rebuild(b"<*> <*>"), None);
    }

    /// Every line is its template's text with its own parameters, when it comes and whatever was learned before it.
    fn come_back(store: &mut TemplateStore, lines: &[String]) -> Result<(), TestCaseError> {
        let mut matcher = LaneMatcher::new(store);
        for line in lines {
            let line = line.as_bytes();
            let found = match matcher.find(line) {
                Some(found) => found,
                None => {
                    let learned = store.learn(matcher.skeleton(), line);
                    matcher.remember(learned)
                }
            };
            let text = store.by_id(found.id).unwrap().text.clone();
            prop_assert_eq!(matcher.parts(line, found.slot, store).rebuild(&text).unwrap(), line);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn text_and_parts_give_the_message_back(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (text, skeleton) = parts_of(&message);
            prop_assert_eq!(skeleton.parts(&message, &[]).rebuild(&text).unwrap(), message);
        }

        #[test]
        fn so_they_do_for_what_looks_like_a_log(message in "(([a-z]{1,3}=)?([0-9a-fA-F:./\"()<*>,-]{0,9}|[KMG]B|Mon|Jul|4|14:52:27|HTTP/1.1|/a/b)[ \t]{0,2}){0,12}") {
            let (text, skeleton) = parts_of(message.as_bytes());
            prop_assert_eq!(skeleton.parts(message.as_bytes(), &[]).rebuild(&text).unwrap(), message.into_bytes());
        }

        #[test]
        fn so_they_do_for_json(message in "[{ ](\"(a|msg)\"[ ]?:[ ]?(\"[a-b\\\\ \"0-1]{0,4}\"|[0-9]{1,2}|true|\\[[0-9, \"]{0,4}\\]|\\{)[,}] ?){0,6}[}]?.{0,3}") {
            let (text, skeleton) = parts_of(message.as_bytes());
            prop_assert_eq!(skeleton.parts(message.as_bytes(), &[]).rebuild(&text).unwrap(), message.into_bytes());
        }

        #[test]
        fn so_they_do_with_masks_of_the_user_s(message in "(([a-z]{1,2}=)?\"?(ORD-[0-9]|p [a-z]|cut\" x|[0-9]{1,2}|<\\*>|,|[a-z/]{1,3}){0,3}\"?[ \t]{0,2}|\\{\"(a|msg|p q)\":\"([a-c ,]|p q|ORD-1|cut\"){0,5}\"?[,}]?){0,8}") {
            let user = UserMasks::new([("order", "ORD-[0-9]+"), ("pair", "p [a-z]"), ("cut", "cut\" ?.?"), ("star", "[*1]")]).unwrap();
            let masking = Masking { user, max_tokens: 12, ..Masking::default() };
            let mut skeleton = Skeleton::new();
            skeleton.scan(message.as_bytes(), &masking);
            let text = skeleton.text(message.as_bytes());
            prop_assert_eq!(hashes_of_text(&text), skeleton.token_hashes().collect::<Vec<_>>());
            prop_assert_eq!(skeleton.parts(message.as_bytes(), &[]).rebuild(&text).unwrap(), message.into_bytes());
        }

        #[test]
        fn so_they_do_for_lines_of_seeds(
            seeds in proptest::collection::vec("(a|b|<\\*>|k=<\\*>|x<\\*>s) (a|b|<\\*>) (a|<\\*>) end", 1..4),
            lines in proptest::collection::vec("([ab]|1|k=[ab1]|x1s|a=1,b=2)( |  )([ab]|a:1|2) [a1] end", 1..20),
        ) {
            let store = &mut TemplateStore::new(TemplateOptions { merge_after: 3, ..TemplateOptions::default() });
            seeds.iter().for_each(|seed| _ = store.learn_seed(&mut Skeleton::new(), seed.as_bytes()));
            come_back(store, &lines)?;
        }

        #[test]
        fn and_after_the_templates_generalised(words in proptest::collection::vec("[ab]{1,2}( |  )[a-e](=[a-d])? [a-d] end", 1..60)) {
            let store = &mut TemplateStore::new(TemplateOptions { merge_after: 2, ..TemplateOptions::default() });
            come_back(store, &words)?;
        }
    }
}
