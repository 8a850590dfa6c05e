//! Texts of templates a lane was asked for.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::event::TemplateId;

/// Bytes of all texts together; beyond that all go.
const MOST_BYTES: usize = 1 << 20;

/// Texts by id, within a bound.
#[derive(Debug, Default)]
pub(super) struct Texts {
    texts: HashMap<TemplateId, Arc<str>>,
    bytes: usize,
}

impl Texts {
    pub(super) fn get(&self, id: TemplateId) -> Option<Arc<str>> {
        self.texts.get(&id).cloned()
    }

    /// Forgets a text that is no longer so.
    pub(super) fn remove(&mut self, id: TemplateId) {
        self.bytes -= self.texts.remove(&id).map_or(0, |text| text.len());
    }

    pub(super) fn insert(&mut self, id: TemplateId, text: Arc<str>) {
        self.bytes += text.len();
        if self.bytes > MOST_BYTES {
            self.texts.clear();
            self.bytes = text.len();
        }
        self.bytes -= self.texts.insert(id, text).map_or(0, |old| old.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_within_its_bound_however_long_the_texts() {
        let mut texts = Texts::default();
        for n in 0..1_000 {
            texts.insert(TemplateId(n), "x".repeat(200_000).into());
            assert!(texts.get(TemplateId(n)).is_some());
            assert!(texts.texts.len() <= 6);
        }
        texts.insert(TemplateId(5_000), "short".into());
        assert_eq!(texts.get(TemplateId(5_000)).as_deref(), Some("short"));
    }
}
