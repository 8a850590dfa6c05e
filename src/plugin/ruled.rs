//! Rules about the fields of an event.

use super::event::{Event, Input, ruled_fields};
use crate::config::{Config, RuleMatch};

/// One rule: which of the fields it looks at, and what must be there.
#[derive(Debug)]
struct FieldRule {
    number: u16,
    field: usize,
    value: Box<[u8]>,
}

/// The rules of a configuration that look at fields, in their order.
#[derive(Debug, Default)]
pub(super) struct FieldRules(Vec<FieldRule>);

impl FieldRules {
    /// The rules of `config`.
    pub(super) fn new(config: &Config) -> Self {
        let fields = ruled_fields(config);
        let rule = |(rule, number): (&crate::config::EventRule, u16)| match &rule.matches {
            RuleMatch::Field { field, value } => {
                let field = fields.iter().position(|known| known == field)?;
                Some(FieldRule { number, field, value: value.as_bytes().into() })
            }
            _ => None,
        };
        Self(config.rules.iter().zip(0..).filter_map(rule).collect())
    }

    /// The number among `rules` of the first rule about a field that `event` meets.
    #[inline]
    pub(super) fn first_met(&self, event: &impl Event) -> Option<u16> {
        if self.0.is_empty() {
            return None;
        }
        let is_met = |rule: &&FieldRule| {
            event.read(Input::Ruled(rule.field)).is_some_and(|value| *value.into_text() == *rule.value)
        };
        self.0.iter().find(is_met).map(|rule| rule.number)
    }
}
