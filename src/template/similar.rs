//! Finds templates that differ in one token: each is entered under the signature of all its tokens but one, for each
//! token in turn.
//!
//! A signature is the sum of `mix(token, position)` over the tokens, so that all `n` leave-one-out signatures cost
//! `O(n)`. A template leaves the table when it leaves the store: the table is a function of the templates there are
//! and of the order they were entered in, so that a restored store merges as the one it was saved from would have.
//!
//! A new template costs a look-up a token, and so does the one that goes for it: in a storm of lines that never repeat nothing else costs as much, and
//! most of it is waiting for memory. A cell therefore has eight bytes: half of the signature, and the one template that has it; only where several have it
//! there is a list. Half a signature may be another's: who agrees is asked of the tokens anyway.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::hash::combine;
use super::{Slot, tokenise::WILDCARD_TOKEN};

/// Longer lines are left alone: a new one costs a look-up a token, `places` has a bit for each of so many, and of ten systems' lines .04 % are longer, for
/// whose templates it makes no difference (`docs/templates.md`).
const MAX_TOKENS: usize = 64;

/// Templates that agree in all tokens but the one at `position`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) position: usize,
    pub(super) members: Vec<Slot>,
}

/// Bytes of one signature of one template, about: its cell with a byte of the table's own, in a table half full, and its place in a list.
pub(super) const SIGNATURE_BYTES: usize = 2 * (size_of::<Cell>() + 1) + size_of::<Slot>();

/// Who has a signature.
#[derive(Debug, Clone, Copy)]
struct Cell {
    /// Half of the signature.
    mark: u32,
    /// The slot of its one template, or with [`LIST`] the number of a list of several.
    holder: u32,
}

/// The bit of [`Cell::holder`] that no slot has.
const LIST: u32 = 1 << 31;

impl Cell {
    fn list(self) -> Option<usize> {
        (self.holder & LIST != 0).then_some((self.holder & !LIST) as usize)
    }
}

fn mark(signature: u64) -> u32 {
    (signature >> 32) as u32
}

/// Where a mark is: the table takes the place from the low bits, and tells neighbours apart by the high ones.
fn place(mark: u32) -> u64 {
    u64::from(mark).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[derive(Debug, Default)]
pub(super) struct SimilarTable {
    cells: HashTable<Cell>,
    /// Two slots or more each, in the order they were entered; those that are free are empty.
    lists: Vec<Vec<Slot>>,
    free: Vec<u32>,
}

impl SimilarTable {
    /// Enters a template. Returns the largest family that `is_enough`, ties to the leftmost position. `is_member` tells
    /// whether a slot with the same signature agrees in all tokens but that one.
    pub(super) fn enter(
        &mut self,
        slot: Slot,
        tokens: &[u64],
        is_member: impl Fn(Slot, usize) -> bool,
        is_enough: impl Fn(&[Slot], usize) -> bool,
    ) -> Option<Family> {
        let mut best: Option<Family> = None;
        for (position, signature) in signatures(tokens) {
            let others = self.add(mark(signature), slot);
            if others.len() <= best.as_ref().map_or(1, |family| family.members.len()) {
                continue;
            }
            let is_family = |other: &Slot| *other == slot || is_member(*other, position);
            let members: Vec<Slot> = others.iter().copied().filter(is_family).collect();
            if members.len() > best.as_ref().map_or(1, |family| family.members.len()) && is_enough(&members, position) {
                best = Some(Family { position, members });
            }
        }
        best
    }

    /// Takes out what [`Self::enter`] entered.
    pub(super) fn leave(&mut self, slot: Slot, tokens: &[u64]) {
        signatures(tokens).for_each(|(_, signature)| self.remove(mark(signature), slot));
    }

    /// Adds a slot to those of a mark, once; returns all of them when there are others.
    fn add(&mut self, mark: u32, slot: Slot) -> &[Slot] {
        let mut known = match self.cells.entry(place(mark), |cell| cell.mark == mark, |cell| place(cell.mark)) {
            Entry::Vacant(free) => {
                free.insert(Cell { mark, holder: slot.0 & !LIST });
                return &[];
            }
            Entry::Occupied(known) => known,
        };
        let cell = known.get_mut();
        let number = match cell.list() {
            Some(number) => number,
            None if cell.holder == slot.0 => return &[],
            None => {
                let number = new_list(&mut self.lists, &mut self.free, Slot(cell.holder));
                cell.holder = LIST | number;
                number as usize
            }
        };
        let Some(slots) = self.lists.get_mut(number) else { return &[] };
        if slots.last() != Some(&slot) {
            slots.push(slot);
        }
        slots
    }

    fn remove(&mut self, mark: u32, slot: Slot) {
        let Ok(mut known) = self.cells.find_entry(place(mark), |cell| cell.mark == mark) else { return };
        let cell = known.get_mut();
        let Some(number) = cell.list() else {
            if cell.holder == slot.0 {
                known.remove();
            }
            return;
        };
        let Some(slots) = self.lists.get_mut(number) else { return };
        slots.retain(|other| *other != slot);
        if let [last] = slots[..] {
            cell.holder = last.0;
            *slots = Vec::new();
            self.free.push(number as u32);
        }
    }
}

/// A list that begins with `first`; its number.
fn new_list(lists: &mut Vec<Vec<Slot>>, free: &mut Vec<u32>, first: Slot) -> u32 {
    let number = free.pop().unwrap_or_else(|| {
        lists.push(Vec::new());
        lists.len() as u32 - 1
    });
    if let Some(list) = lists.get_mut(number as usize) {
        list.push(first);
    }
    number
}

/// Whether templates of such tokens are entered at all: one of a few tokens, with something beside the one that varies. A template without a constant would
/// take in all lines of its length that come first.
pub(super) fn may_vary(tokens: &[u64]) -> bool {
    tokens.len() <= MAX_TOKENS && tokens.iter().filter(|token| **token != WILDCARD_TOKEN).nth(1).is_some()
}

/// The positions whose token may vary, each with the signature of all other tokens.
fn signatures(tokens: &[u64]) -> impl Iterator<Item = (usize, u64)> + '_ {
    let tokens = if may_vary(tokens) { tokens } else { &[] };
    let whole = tokens.iter().enumerate().fold(tokens.len() as u64, |sum, (at, t)| sum.wrapping_add(mix(*t, at)));
    let constants = tokens.iter().enumerate().filter(|(_, token)| **token != WILDCARD_TOKEN);
    constants.map(move |(position, token)| {
        (position, whole.wrapping_sub(mix(*token, position)).wrapping_add(mix(WILDCARD_TOKEN, position)))
    })
}

/// Whether a token looks like the name of a file, a class or a host: a `.`, `/`, `\` or `@` between letters. Two such
/// names in one place are enough to tell that any may stand there; of plain words it takes more. What ends in
/// `Exception` or `Error` is not a name but the news itself.
pub(super) fn is_name(token: &[u8]) -> bool {
    let joins = |around: &[u8]| match around {
        [before, b'.' | b'/' | b'\\' | b'@', after] => {
            before.is_ascii_alphanumeric()
                && after.is_ascii_alphanumeric()
                && (before.is_ascii_lowercase() || after.is_ascii_lowercase())
        }
        _ => false,
    };
    let letters = token.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |last| last + 1);
    let word = token.get(..letters).unwrap_or_default();
    token.windows(3).any(joins) && !word.ends_with(b"Exception") && !word.ends_with(b"Error")
}

#[inline]
fn mix(token: u64, position: usize) -> u64 {
    combine(token, position as u64 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reports_a_family_once_enough_members_differ_in_one_token() {
        let mut table = SimilarTable::default();
        let three = |members: &[Slot], _| members.len() >= 3;
        assert_eq!(table.enter(Slot(0), &[1, 10, 3], |_, _| true, three), None);
        assert_eq!(table.enter(Slot(1), &[1, 11, 3], |_, _| true, three), None);
        assert_eq!(table.enter(Slot(2), &[9, 11, 4], |_, _| true, three), None);
        let family = table.enter(Slot(3), &[1, 12, 3], |_, _| true, three);
        assert_eq!(family, Some(Family { position: 1, members: vec![Slot(0), Slot(1), Slot(3)] }));
    }

    #[test]
    fn names_have_a_joiner_between_letters() {
        for name in ["a.b", "(com.example.Main)", "ann@example", "x/y,", "D\\file"] {
            assert!(is_name(name.as_bytes()), "{name}");
        }
        for other in ["GET", "up", "java.io.IOException:", "module.LoadError", "e.", "...", "A.B", "and", ""] {
            assert!(!is_name(other.as_bytes()), "{other}");
        }
    }

    /// What [`SimilarTable`] stands for: all templates, each compared with all others.
    #[derive(Default)]
    struct Naive(Vec<(Slot, Vec<u64>)>);

    fn differ_only_at(own: &[u64], other: &[u64], position: usize) -> bool {
        own.len() == other.len() && (0..own.len()).all(|at| (at == position) != (own[at] == other[at]))
    }

    impl Naive {
        fn enter(&mut self, slot: Slot, tokens: &[u64], is_enough: impl Fn(&[Slot], usize) -> bool) -> Option<Family> {
            self.0.push((slot, tokens.to_vec()));
            let mut best: Option<Family> = None;
            for position in (0..tokens.len()).filter(|at| may_vary(tokens) && tokens[*at] != WILDCARD_TOKEN) {
                let is_member = |(other, theirs): &&(Slot, Vec<u64>)| {
                    let may = may_vary(theirs) && theirs.get(position) != Some(&WILDCARD_TOKEN);
                    *other == slot || may && differ_only_at(tokens, theirs, position)
                };
                let members: Vec<Slot> = self.0.iter().filter(is_member).map(|(other, _)| *other).collect();
                let most = best.as_ref().map_or(1, |family| family.members.len());
                if members.len() > most && is_enough(&members, position) {
                    best = Some(Family { position, members });
                }
            }
            best
        }
    }

    /// A few words, so that templates often differ in one only, and now and then a wildcard.
    fn token() -> impl Strategy<Value = u64> {
        prop_oneof![5 => 1..5u64, 1 => Just(WILDCARD_TOKEN)]
    }

    proptest! {
        #[test]
        fn finds_the_families_that_comparing_all_with_all_finds(
            steps in proptest::collection::vec((0..40u32, proptest::collection::vec(token(), 1..6)), 1..120),
            enough in 2..4usize,
        ) {
            let (mut table, mut naive) = (SimilarTable::default(), Naive::default());
            let is_enough = |members: &[Slot], _| members.len() >= enough;
            for (slot, tokens) in steps {
                let slot = Slot(slot);
                // A slot that is taken is left first, whoever has it.
                if let Some(at) = naive.0.iter().position(|(other, _)| *other == slot) {
                    let (_, before) = naive.0.remove(at);
                    table.leave(slot, &before);
                }
                let known = naive.0.clone();
                let is_member = |other: Slot, position| {
                    known.iter().any(|(slot, theirs)| *slot == other && differ_only_at(&tokens, theirs, position))
                };
                let found = table.enter(slot, &tokens, is_member, is_enough);
                prop_assert_eq!(found, naive.enter(slot, &tokens, is_enough));
            }
            naive.0.iter().for_each(|(slot, tokens)| table.leave(*slot, tokens));
            prop_assert!(table.cells.is_empty() && table.lists.iter().all(Vec::is_empty));
        }

        #[test]
        fn marks_that_are_mixed_up_make_no_family_of_one_and_leave_nothing_behind(
            steps in proptest::collection::vec((any::<bool>(), 0..3u32, 0..6u32), 1..80),
        ) {
            let mut table = SimilarTable::default();
            let mut held: Vec<(u32, u32)> = Vec::new();
            for (leaves, mark, slot) in steps {
                if leaves {
                    table.remove(mark, Slot(slot));
                    held.retain(|known| *known != (mark, slot));
                } else if !held.contains(&(mark, slot)) || held.last() == Some(&(mark, slot)) {
                    held.retain(|known| *known != (mark, slot));
                    held.push((mark, slot));
                    let all: Vec<Slot> = held.iter().filter(|known| known.0 == mark).map(|known| Slot(known.1)).collect();
                    let expected = if all.len() > 1 { &all[..] } else { &[] };
                    prop_assert_eq!(table.add(mark, Slot(slot)), expected);
                }
            }
            held.iter().for_each(|(mark, slot)| table.remove(*mark, Slot(*slot)));
            prop_assert!(table.cells.is_empty() && table.lists.iter().all(Vec::is_empty));
        }
    }

    #[test]
    fn who_left_is_in_no_family_and_leaves_nothing_behind() {
        let mut table = SimilarTable::default();
        let two = |members: &[Slot], _| members.len() >= 2;
        assert_eq!(table.enter(Slot(0), &[1, 10], |_, _| true, two), None);
        table.leave(Slot(0), &[1, 10]);
        assert_eq!(table.enter(Slot(1), &[1, 11], |_, _| true, two), None);
        assert_eq!(table.enter(Slot(2), &[1, 12], |_, _| false, two), None, "the signature alone is not enough");
        for (slot, token) in [(1, 11), (2, 12)] {
            table.leave(Slot(slot), &[1, token]);
        }
        assert!(table.cells.is_empty() && table.lists.iter().all(Vec::is_empty));
    }
}
