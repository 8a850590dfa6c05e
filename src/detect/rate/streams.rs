//! What is kept of a template on one stream: a burst of one host that is none of a hundred hosts.

use super::{Counts, Rate, StateError, StateReader, WHAT, WINDOWS, Window};

/// log2 of the templates on a stream that are kept.
pub(super) const PAIR_BITS: u32 = 13;

impl Rate {
    /// Until now there was one stream: what was seen of templates was seen on it. `key_of` names a slot's template on it.
    pub(in crate::detect) fn split(&mut self, key_of: impl Fn(usize) -> u64) {
        for (slot, counts) in self.templates.iter().enumerate().filter(|(_, counts)| counts.number != 0) {
            if let Some(pair) = self.pairs.of(key_of(slot)) {
                *pair = *counts;
            }
        }
    }

    /// What was counted under one name is counted under the other, too.
    pub(in crate::detect) fn take_in_pair(&mut self, from: u64, into: u64) {
        let Some(gone) = self.pairs.peek(from).copied() else { return };
        self.pairs.remove(from);
        let decays = self.decays;
        if let Some(pair) = self.pairs.of(into) {
            pair.take_in(gone, decays);
        }
    }

    /// Templates on a stream whose counts had to go for others'.
    pub(in crate::detect) const fn evicted(&self) -> u64 {
        self.pairs.evicted()
    }

    /// What comes from here on is of other streams.
    pub(in crate::detect) fn leave_streams(&mut self) {
        self.pairs.clear();
    }

    pub(in crate::detect) fn checkpoint_streams(&self, out: &mut Vec<u8>) {
        self.pairs.checkpoint(out, Counts::checkpoint);
    }

    pub(in crate::detect) fn restore_streams(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.pairs.restore(from, WHAT, 16 + WINDOWS * Window::BYTES, |from| Counts::restore(from, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::table::hash;
    use crate::event::Timestamp;

    #[test]
    fn of_a_million_streams_no_more_series_are_kept_than_there_is_room_for_and_the_one_in_use_stays() {
        const SERIES_BYTES: usize = 20 + 16 + WINDOWS * Window::BYTES;
        let mut rate = Rate::default();
        let in_use = hash(1, 7, 7);
        for n in 0..1_000_000i64 {
            let at = Timestamp(1_000_000_000 + n * 1_000);
            rate.see(0, Some(hash(0, n as u64, 1)), at, 1.0);
            rate.see(0, Some(in_use), at, 1.0);
        }
        let mut bytes = Vec::new();
        rate.checkpoint_streams(&mut bytes);
        let kept = (bytes.len() - 12) / SERIES_BYTES;
        assert!(kept <= 1 << PAIR_BITS, "{kept}");
        // Of each the key and when it was last asked for, too.
        assert!((size_of::<Counts>() + 16) << PAIR_BITS < 1 << 20);
        assert_eq!(rate.evicted(), 1_000_001 - kept as u64);
        let events = rate.pairs.peek(in_use).unwrap().windows[1].events;
        assert!(events > 1_000.0, "{events}");
    }
}
