//! Templates known from the start: `seed_templates` and `seed_logs`.
//!
//! They are planted before the log is replayed. A seed whose template is known already (restored from a checkpoint)
//! changes nothing; a new one counts as met once by every lane, so that its first line is not a new template.

use super::learned::Learned;
use crate::config::Config;
use crate::template::{Learned as Planted, Skeleton, TemplateStore};

/// Learns the seeds; returns those whose templates are new.
pub(super) fn plant(config: &Config, store: &mut TemplateStore) -> Vec<Planted> {
    let masking = store.options().masking.clone();
    let mut skeleton = Skeleton::new();
    let mut planted = Vec::new();
    for log in &config.seed_logs {
        skeleton.scan(log.as_bytes(), &masking);
        planted.push(store.learn(&skeleton, log.as_bytes()));
    }
    for template in &config.seed_templates {
        let seeded = store.learn_seed(&mut skeleton, template.as_bytes());
        if seeded.is_unreachable {
            tracing::warn!(
                seed = template,
                "no line has this template: what a wildcard in it is a part of, masks take as a whole or not"
            );
        }
        planted.push(seeded.learned);
    }
    // A later seed may have merged an earlier one away or, at the cap, evicted it.
    planted.retain(|seed| seed.is_new && store.by_slot(seed.slot).is_some_and(|template| template.id == seed.id));
    planted
}

/// Counts what was planted as met once.
pub(super) fn count(planted: &[Planted], learned: &mut Learned, store: &TemplateStore) {
    learned.sync(store);
    planted.iter().for_each(|seed| learned.note_slot(seed.slot, seed.id));
    planted.iter().for_each(|seed| learned.model.acquaint(seed.slot.index()));
}
