//! What a lane knows of the tokens of templates, so that it can name a line's parameters without asking the store.

use hashbrown::HashMap;

use super::store::TemplateStore;
use super::{Match, Slot};

/// Bytes of all tokens together; beyond that all go, and are asked for again.
const MOST_BYTES: usize = 4 << 20;

/// Hashes of tokens by slot, within a bound.
#[derive(Debug, Default)]
pub(super) struct KnownTokens {
    known: HashMap<Slot, (u32, Box<[u64]>)>,
    bytes: usize,
}

impl KnownTokens {
    /// Those of the template a line was found to be of, unless it is another by now, or was never asked for.
    pub(super) fn get(&self, found: &Match) -> Option<&[u64]> {
        self.known
            .get(&found.slot)
            .filter(|(generation, _)| *generation == found.generation)
            .map(|(_, tokens)| &**tokens)
    }

    /// Copies them from the store; those the template has now, when it was merged into another meanwhile, and none when it is gone.
    pub(super) fn learn(&mut self, found: &Match, store: &TemplateStore) -> &[u64] {
        let now = store.by_id(found.id).map(|template| template.slot);
        let tokens: Box<[u64]> = now.map(|slot| store.tokens(slot)).unwrap_or_default().into();
        self.bytes += size_of_val(&*tokens);
        if self.bytes > MOST_BYTES {
            self.known.clear();
            self.bytes = size_of_val(&*tokens);
        }
        if let Some((_, old)) = self.known.remove(&found.slot) {
            self.bytes -= size_of_val(&*old);
        }
        &self.known.entry(found.slot).or_insert((found.generation, tokens)).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{LaneMatcher, TemplateOptions};

    #[test]
    fn remembers_within_its_bound_however_many_tokens() {
        let mut store = TemplateStore::new(TemplateOptions { merge_after: 1_000, ..TemplateOptions::default() });
        let mut matcher = LaneMatcher::new(&store);
        let mut known = KnownTokens::default();
        let word =
            |n: usize| format!("{}{}", char::from(b'a' + (n / 26 % 26) as u8), char::from(b'a' + (n % 26) as u8));
        for n in 0..26 * 26 {
            let line = format!("{} {}", word(n), "w ".repeat(120));
            assert!(matcher.find(line.as_bytes()).is_none());
            let learned = store.learn(matcher.skeleton(), line.as_bytes());
            let found = matcher.remember(learned);
            for _ in 0..10 {
                assert_eq!(known.learn(&found, &store).len(), 121);
            }
            assert_eq!(known.get(&found).map(<[u64]>::len), Some(121));
            let held: usize = known.known.values().map(|(_, tokens)| size_of_val(&**tokens)).sum();
            assert_eq!(held, known.bytes);
            assert!(known.bytes <= MOST_BYTES);
        }
    }
}
