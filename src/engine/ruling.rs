//! Which templates are never or always an anomaly: the template rules of the configuration.
//!
//! Asked once for each template: lanes keep the answer with the slot until the template is another. A pattern is looked for in the
//! template's text with `<*>` for every variable, whatever `wildcards` says.

use std::collections::HashMap;

use regex::bytes::Regex;

use super::error::EngineError;
use crate::config::{Config, RuleAction, RuleMatch};
use crate::event::{Ruling, TemplateId};
use crate::template::StoredTemplate;

/// The rules of a configuration that look at templates alone.
#[derive(Debug, Default)]
pub(super) struct TemplateRules {
    ids: HashMap<TemplateId, Ruling>,
    patterns: Vec<(Regex, Ruling)>,
    /// What each rule does, those of fields too.
    rulings: Vec<Ruling>,
}

impl TemplateRules {
    /// The rules of `config`.
    ///
    /// # Errors
    /// When a pattern does not compile.
    pub(super) fn new(config: &Config) -> Result<Self, EngineError> {
        let mut rules = Self::default();
        for (rule, index) in config.rules.iter().zip(0..) {
            let ruling = Ruling::rule(index, rule.action == RuleAction::Always);
            rules.rulings.push(ruling);
            match &rule.matches {
                RuleMatch::Template { template } => {
                    if let Ok(id) = u64::from_str_radix(template, 16) {
                        rules.ids.entry(TemplateId(id)).or_insert(ruling);
                    }
                }
                RuleMatch::Regex { regex } => {
                    let pattern = Regex::new(regex)
                        .map_err(|source| EngineError::Rule { name: rule.name.clone(), source: Box::new(source) })?;
                    rules.patterns.push((pattern, ruling));
                }
                RuleMatch::Field { .. } => {}
            }
        }
        Ok(rules)
    }

    /// Whether any rule looks at templates.
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.patterns.is_empty()
    }

    /// What rule number `index` says, if there is one.
    pub(super) fn ruling(&self, index: u16) -> Option<Ruling> {
        self.rulings.get(usize::from(index)).copied()
    }

    /// What the first rule that is about the template says.
    pub(super) fn of(&self, template: &StoredTemplate) -> Option<Ruling> {
        let ids = std::iter::once(&template.id).chain(&template.aliases);
        let by_id = ids.filter_map(|id| self.ids.get(id));
        let by_text = self.patterns.iter().filter(|(pattern, _)| pattern.is_match(&template.text));
        by_id.chain(by_text.map(|(_, ruling)| ruling)).min_by_key(|ruling| ruling.order()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EventRule;
    use crate::template::{TemplateOptions, TemplateStore};

    fn rules(matches: Vec<(RuleMatch, RuleAction)>) -> TemplateRules {
        let rule = |(n, (matches, action))| EventRule { name: format!("r{n}"), matches, action };
        let rules = matches.into_iter().enumerate().map(rule).collect();
        TemplateRules::new(&Config { rules, ..Config::default() }).unwrap()
    }

    fn regex(regex: &str) -> RuleMatch {
        RuleMatch::Regex { regex: regex.to_owned() }
    }

    #[test]
    fn the_first_rule_that_is_about_a_template_decides() {
        let mut store = TemplateStore::new(TemplateOptions::default());
        let id = store.learn_text(b"disk <*> failed").id;
        let of_id = RuleMatch::Template { template: id.to_string() };
        let (never, always) = (RuleAction::Never, RuleAction::Always);
        let template = store.by_id(id).unwrap();
        for (given, expected) in [
            (vec![(regex(r"^disk <\*> failed$"), never), (of_id.clone(), always)], Some(Ruling::rule(0, false))),
            (vec![(of_id.clone(), always), (regex("disk"), never)], Some(Ruling::rule(0, true))),
            (vec![(regex("fan"), never), (regex("disk"), always)], Some(Ruling::rule(1, true))),
            (vec![(regex("17"), never)], None),
            (vec![], None),
        ] {
            assert_eq!(rules(given.clone()).of(template), expected, "{given:?}");
        }
    }

    #[test]
    fn a_rule_of_a_field_has_a_ruling_and_asks_no_template() {
        let field = RuleMatch::Field { field: "host".to_owned(), value: "a".to_owned() };
        let rules = rules(vec![(field, RuleAction::Always)]);
        assert!(rules.is_empty());
        assert_eq!((rules.ruling(0), rules.ruling(1)), (Some(Ruling::rule(0, true)), None));
    }
}
