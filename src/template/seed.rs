//! Templates as people write them.
//!
//! A mask takes a whole word: `took 12ms` is `took <*>`, and no line is `took <*>ms`. So a seed is read as a line is, with a value in
//! place of each wildcard:
//!
//! | seed | template |
//! |---|---|
//! | `took <*>ms`, `<*>%`, `<*>:<*>`, `blk_<*>` | `took <*>`, `<*>`, `<*>`, `<*>` |
//! | `got <*> KB` | `got <*>` |
//! | `GET <*> HTTP/1.1` | `GET <*>` |
//! | `user <*> left`, `uid=<*>` | itself |
//! | `took <num> ms from <ip>`: as templates are shown with `wildcards: typed` | `took <*> ms from <*>` |
//!
//! Where that leaves the value in the text (its mask is turned off, or it is the key of an object) the seed is taken as it stands.

use std::ops::Range;

use super::keyed;
use super::kind::Kind;
use super::store::{Learned, TemplateStore};
use super::tokenise::{Skeleton, WILDCARD};

/// In place of a wildcard. A number of three digits is part of no name.
const NUMBER: &[u8] = b"100";

/// In place of a wildcard before the version of a protocol.
const PATH: &[u8] = b"/1/0";

/// What became of a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeded {
    /// Its template.
    pub learned: Learned,
    /// No line can have it: a wildcard is only a part of a word there, and the masks always take more or less.
    pub is_unreachable: bool,
}

impl TemplateStore {
    /// The template of a seed, learned when it is not known. A wildcard in place of a whole word or after `key=` stands for any.
    pub fn learn_seed(&mut self, skeleton: &mut Skeleton, template: &[u8]) -> Seeded {
        let masking = self.options().masking.clone();
        let template = &*plain(template, masking.user.names());
        let (line, values) = fill(template);
        skeleton.scan(&line, &masking);
        if values.iter().all(|value| skeleton.is_variable(value)) {
            return Seeded { learned: self.learn_open(skeleton, &line), is_unreachable: false };
        }
        skeleton.scan(template, &masking);
        let text = skeleton.text(template);
        let is_mixed =
            |token: &[u8]| memchr::memmem::find(token, WILDCARD.as_bytes()).is_some() && !keyed::is_open(token);
        let is_unreachable = text.split(|byte| *byte == b' ').any(is_mixed);
        Seeded { learned: self.learn_open(skeleton, template), is_unreachable }
    }
}

/// The seed with [`WILDCARD`] in place of the name of a kind, built in or of a mask: `<num>`, `<order>`.
fn plain(template: &[u8], masks: &[String]) -> Vec<u8> {
    let is_kind = |name: &[u8]| Kind::named(name).is_some() || masks.iter().any(|mask| mask.as_bytes() == name);
    let mut plain = Vec::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = memchr::memchr(b'<', rest) {
        let (before, from) = rest.split_at(at);
        plain.extend_from_slice(before);
        let name =
            from.get(1..).and_then(|after| after.get(..memchr::memchr(b'>', after)?)).filter(|name| is_kind(name));
        let length = name.map_or(1, |name| name.len() + 2);
        plain.extend_from_slice(if name.is_some() { WILDCARD.as_bytes() } else { b"<" });
        rest = from.get(length..).unwrap_or_default();
    }
    plain.extend_from_slice(rest);
    plain
}

/// The seed with a value in place of each wildcard, and where the values are.
fn fill(template: &[u8]) -> (Vec<u8>, Vec<Range<usize>>) {
    let (mut line, mut values) = (Vec::with_capacity(template.len()), Vec::new());
    let mut rest = template;
    while let Some(at) = memchr::memmem::find(rest, WILDCARD.as_bytes()) {
        let (before, after) = rest.split_at(at);
        rest = after.get(WILDCARD.len()..).unwrap_or_default();
        line.extend_from_slice(before);
        let start = line.len();
        line.extend_from_slice(if rest.starts_with(b" HTTP/") { PATH } else { NUMBER });
        values.push(start..line.len());
    }
    line.extend_from_slice(rest);
    (line, values)
}

impl Skeleton {
    fn is_variable(&self, stretch: &Range<usize>) -> bool {
        let covers =
            |variable: Range<u32>| variable.start as usize <= stretch.start && stretch.end <= variable.end as usize;
        self.variable_parts().iter().any(|variable| covers(variable.range()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Masking, Rule, RuleSet, TemplateOptions, UserMasks};

    fn seed(masking: Masking, template: &str) -> (String, bool) {
        let mut store = TemplateStore::new(TemplateOptions { masking, ..TemplateOptions::default() });
        let seeded = store.learn_seed(&mut Skeleton::new(), template.as_bytes());
        let text = &store.by_id(seeded.learned.id).unwrap().text;
        (String::from_utf8_lossy(text).into_owned(), seeded.is_unreachable)
    }

    #[test]
    fn a_seed_is_read_as_a_line_with_values_is() {
        for (template, expected) in [
            ("took <*>ms", "took <*>"),
            ("job_<*> at <*>:<*>, <*>% done", "<*> at <*>, <*> done"),
            ("dev<*> x<*>_open (<*>/<*>)", "<*> <*> (<*>)"),
            ("got <*> KB", "got <*>"),
            ("\"GET <*> HTTP/1.1\" <*> /items/<*>", "\"GET <*>\" <*> <*>"),
            ("user <*> left uid=<*>, for <*>", "user <*> left uid=<*>, for <*>"),
            (r#"{"n":<*>,"user":"<*>","msg":"took <*>s"}"#, r#"{"n":<*>,"user":"<*>","msg":"took <*>"}"#),
            ("no wildcard", "no wildcard"),
        ] {
            assert_eq!(seed(Masking::default(), template), (expected.to_owned(), false), "{template}");
        }
        let user = UserMasks::new([("order", "ORD[0-9]{3,}")]).unwrap();
        assert_eq!(seed(Masking { user, ..Masking::default() }, "(ORD<*>)").0, "(<*>)");
    }

    #[test]
    fn a_seed_may_be_written_as_typed_templates_are_shown() {
        for (template, expected) in [
            ("user <id> logged in", "user <*> logged in"),
            ("took <num>ms from <ip>:<num>", "took <*> from <*>"),
            ("<order> of <<num>>, <path>", "<*> of <<*>>, <*>"),
            ("<b> and <, <num", "<b> and <, <num"),
            ("to <other>", "to <other>"),
        ] {
            let user = UserMasks::new([("order", "ORD[0-9]+")]).unwrap();
            assert_eq!(
                seed(Masking { user, ..Masking::default() }, template),
                (expected.to_owned(), false),
                "{template}"
            );
        }
    }

    #[test]
    fn a_seed_that_no_line_can_have_is_told() {
        let off = || Masking { rules: RuleSet::ALL.without(Rule::Number), ..Masking::default() };
        assert_eq!(seed(off(), "took <*>ms"), ("took <*>ms".to_owned(), true));
        assert_eq!(seed(off(), "took <*> by=<*>"), ("took <*> by=<*>".to_owned(), false));
        assert!(seed(Masking::default(), r#"{"<*>":"x"}"#).1);
    }
}
