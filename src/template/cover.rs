//! Templates that a more general one covers: whose every line it accepts, too.
//!
//! A line goes to the most specific template that accepts it, so that what came before a generalisation would stay a template beside it, and what comes
//! after would not: how many templates there are would depend on the order of arrival. Therefore a generalised template takes in what it covers:
//!
//! | when | looked at |
//! |---|---|
//! | templates merge | the first [`AT_ONCE`] slots: as good as all templates, unless there are very many |
//! | a template is new | two slots, in turn |
//!
//! So the work of an event is bounded, and what is looked at depends on the skeletons learned alone: a replay takes in the same.

use super::keyed::{self, Tokens};
use super::store::{Change, Entry, TemplateStore};
use super::tokenise::WILDCARD_TOKEN;
use super::{Slot, places};

/// Slots looked at when templates merge. Free ones are used again first, so that templates are in the first ones.
const AT_ONCE: usize = 1_024;

/// Odd, so that its multiples are all numbers below a power of two: neighbours, which came together, are not looked at together.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;

impl TemplateStore {
    /// Takes in what the template in `into` covers, as far as it is in the first slots.
    pub(super) fn take_in_covered(&mut self, into: Slot) {
        let Some(own) = self.entry(into) else { return };
        let keys = own.open_keys();
        let is_covered = |entry: &&Entry| entry.template.slot != into && own.covers(keys, entry);
        let first = self.entries.iter().take(AT_ONCE).flatten();
        let covered: Vec<Slot> = first.filter(is_covered).map(|entry| entry.template.slot).collect();
        covered.into_iter().for_each(|slot| _ = self.take_in(slot, into));
    }

    /// Looks whether the templates in two slots are covered by another; not that in `but`. Which slots is a function of how many templates there ever
    /// were: in the time that many come again, each slot has its turn.
    pub(super) fn look_round(&mut self, but: Slot) {
        let ever = self.queue.len() as u64 + self.merged_total + self.evicted_total;
        let slots = (ever.min(self.entries.len() as u64) + 1).next_power_of_two();
        for turn in [2 * ever, 2 * ever + 1] {
            let slot = Slot((turn.wrapping_mul(SCATTER) % slots) as u32);
            if slot != but
                && let Some(above) = self.covering(slot)
            {
                self.take_in(slot, above);
            }
        }
    }

    /// Takes in whatever is covered, in all slots.
    pub(super) fn take_in_all(&mut self) {
        for slot in (0..self.entries.len() as u32).map(Slot) {
            if let Some(above) = self.covering(slot) {
                self.take_in(slot, above);
            }
        }
    }

    /// Another template that covers the one in a slot, the most specific.
    pub(super) fn covering(&self, slot: Slot) -> Option<Slot> {
        let entry = self.entry(slot).filter(|entry| self.tree.has(entry.tokens.len()))?;
        let found = self.tree.find_but(&Tokens::of_text(&entry.template.text), slot)?;
        Some(found.slot)
    }

    /// Makes the template in `from` part of the one in `into`, which covers it.
    pub(super) fn take_in(&mut self, from: Slot, into: Slot) -> Slot {
        let (Some(gone), Some(kept)) = (self.entry(from), self.entry(into)) else { return from };
        let words = kept.words;
        let layout = |entry: &Entry| places::layout(&entry.template.text, entry.words);
        if layout(gone) != layout(kept) || gone.words & !words != 0 {
            self.tell(Change::Replaced(from));
        }
        self.tell_words(from, into, words);
        self.absorb(from, into);
        into
    }
}

impl Entry {
    /// A bit for each token that is the key of a wildcard.
    fn open_keys(&self) -> u64 {
        let tokens = self.template.text.split(|byte| *byte == b' ').enumerate();
        let keys = tokens.filter(|(_, token)| token.contains(&b'=') && keyed::is_open(token));
        keys.fold(0, |keys, (token, _)| keys | places::bit(token))
    }

    /// Whether every line of `other` is one of this template, which has these [`Self::open_keys`].
    fn covers(&self, keys: u64, other: &Self) -> bool {
        if self.tokens.len() != other.tokens.len() {
            return false;
        }
        let both = self.tokens.iter().zip(&other.tokens);
        let first = both.enumerate().find(|(_, (own, other))| **own != WILDCARD_TOKEN && own != other);
        let Some((token, _)) = first else { return true };
        // To take a text apart takes longer than all else, and of most templates the first token tells.
        keys & places::bit(token) != 0 && Tokens::of_text(&other.template.text).agree_with(&self.tokens)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::TemplateId;
    use crate::template::{Masking, Skeleton, TemplateOptions};

    fn learn(store: &mut TemplateStore, line: &str) -> TemplateId {
        let mut skeleton = Skeleton::new();
        skeleton.scan(line.as_bytes(), &Masking::default());
        store.learn(&skeleton, line.as_bytes()).id
    }

    fn texts(store: &TemplateStore) -> Vec<String> {
        store.templates().map(|template| String::from_utf8_lossy(&template.text).into_owned()).collect()
    }

    const USERS: [&str; 8] = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"];
    const HOSTS: [&str; 8] = ["lab", "web", "mail", "dns", "git", "ftp", "log", "ldap"];

    fn connected(user: &str, host: &str) -> String {
        format!("{user} connected from {host}")
    }

    /// Each user from each host.
    fn all_pairs() -> Vec<String> {
        USERS.iter().flat_map(|user| HOSTS.map(|host| connected(user, host))).collect()
    }

    #[test]
    fn how_many_templates_there_are_does_not_depend_on_the_order_of_arrival_and_every_id_leads_to_its_template() {
        let few: Vec<String> = ["kim", "lea", "max"].iter().map(|user| connected(user, "vpn")).collect();
        let pairs = all_pairs();
        let mut by_host = pairs.clone();
        by_host.sort_by_key(|line| line.rsplit(' ').next().map(str::to_owned));
        let one_first: Vec<String> = HOSTS.iter().map(|host| connected("bob", host)).collect();
        for order in [[&few[..], &pairs, &[]], [&few, &by_host, &[]], [&one_first, &few, &by_host], [&pairs, &few, &[]]]
        {
            let mut store = TemplateStore::new(TemplateOptions::default());
            let ids: Vec<TemplateId> = order.concat().iter().map(|line| learn(&mut store, line)).collect();
            assert_eq!(texts(&store), ["<*> connected from <*>"]);
            let one = store.templates().next().unwrap().id;
            assert!(ids.iter().all(|id| store.by_id(*id).map(|template| template.id) == Some(one)));
            assert!(order.concat().iter().all(|line| learn(&mut store, line) == one));
        }
    }

    #[test]
    fn the_word_of_a_key_is_covered_by_its_wildcard_and_another_key_is_not() {
        let mut store = TemplateStore::new(TemplateOptions::default());
        let line = |user: &str, host: &str| format!("login user={user}; at {host} failed");
        for line in [line("zoe", "vpn"), "login name=zoe; at vpn failed".to_owned()] {
            learn(&mut store, &line);
        }
        USERS.iter().flat_map(|user| HOSTS.map(|host| line(user, host))).for_each(|line| _ = learn(&mut store, &line));
        let mut found = texts(&store);
        found.sort();
        assert_eq!(found, ["login name=zoe; at vpn failed", "login user=<*>; at <*> failed"]);
    }

    #[test]
    fn what_is_beyond_the_slots_looked_at_when_templates_merge_goes_as_new_ones_come() {
        let mut store = TemplateStore::new(TemplateOptions::default());
        let letters = |n: usize| n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect::<String>();
        let filler = |n: usize| format!("{} is filler {}", letters(n), letters(7 * n));
        (0..1_500).for_each(|n| _ = learn(&mut store, &filler(n)));
        assert!(store.len() > AT_ONCE);
        let names = ["kim", "lea", "max", "ned", "oda", "pia", "ron"];
        let late: Vec<TemplateId> = names.iter().map(|name| learn(&mut store, &connected(name, name))).collect();
        all_pairs().iter().for_each(|line| _ = learn(&mut store, line));
        let general = learn(&mut store, "yan connected from dmz");
        let is_one = |store: &TemplateStore, id: &TemplateId| store.by_id(*id).map(|found| found.id) == Some(general);
        assert!(!late.iter().all(|id| is_one(&store, id)), "only so many slots were looked at");
        (1_500..4_200).for_each(|n| _ = learn(&mut store, &filler(n)));
        assert!(late.iter().all(|id| is_one(&store, id)));
    }

    proptest! {
        #[test]
        fn no_template_is_covered_by_another_and_what_covers_is_what_accepts_the_text(
            lines in proptest::collection::vec("[a-d] (k=)?[a-d] [a-d]( [ab])?", 1..150),
        ) {
            let mut store = TemplateStore::new(TemplateOptions { merge_after: 3, ..TemplateOptions::default() });
            for line in &lines {
                let id = learn(&mut store, line);
                prop_assert!(store.by_id(id).is_some());
            }
            for entry in store.entries.iter().flatten() {
                prop_assert_eq!(store.covering(entry.template.slot), None, "{:?}", texts(&store));
            }
            for (a, b) in store.entries.iter().flatten().flat_map(|a| store.entries.iter().flatten().map(move |b| (a, b))) {
                let accepts = a.tokens.len() == b.tokens.len() && Tokens::of_text(&b.template.text).agree_with(&a.tokens);
                prop_assert_eq!(a.covers(a.open_keys(), b), accepts);
            }
        }
    }
}
