//! Decayed counts by hashed key in a fixed space: nothing is allocated after the start, and a full bucket gives up its smallest.

use super::{StateError, StateReader};
use crate::arithmetic::folded_product;

/// Cells a bucket has: half a cache line.
const WAYS: usize = 4;

/// Which cell holds a key is worked out without branches: it is never foreseeable. That a key to be added to is here is, that one only looked at is, is not.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(32))]
struct Bucket {
    /// 0: empty.
    keys: [u32; WAYS],
    counts: [f32; WAYS],
}

impl Bucket {
    /// The cell of a key.
    #[inline]
    fn find(&self, key: u32) -> Option<usize> {
        let bits = self.keys.iter().enumerate().fold(0, |bits, (way, at)| bits | u32::from(*at == key) << way);
        (bits != 0).then(|| bits.trailing_zeros() as usize)
    }

    /// The count of a key, 0 when it is not here.
    #[inline]
    fn get(&self, key: u32) -> f32 {
        let cells = self.keys.iter().zip(&self.counts);
        let bits = cells.map(|(at, count)| if *at == key { count.to_bits() } else { 0 });
        f32::from_bits(bits.fold(0, |all, bits| all | bits))
    }

    /// Adds to the count of a key; returns what it was.
    #[inline]
    fn add(&mut self, key: u32, amount: f32, number: u64) -> f32 {
        if self.keys.iter().fold(true, |is_none, at| is_none & (*at != key)) {
            self.put(key, amount);
            return 0.0;
        }
        let count = self.get(key);
        if count > amount * EXACT_TO {
            self.add_rounded(key, amount, number);
        } else {
            // All at once, nothing to those of other keys: which one it is cannot be foreseen, and is not waited for.
            let amounts = self.keys.map(|at| if at == key { amount } else { 0.0 });
            self.counts = std::array::from_fn(|way| self.counts[way] + amounts[way]);
        }
        count
    }

    #[cold]
    fn add_rounded(&mut self, key: u32, amount: f32, number: u64) {
        if let Some(way) = self.find(key) {
            let count = &mut self.counts[way % WAYS];
            *count = rounded_sum(*count, amount, number);
        }
    }

    /// The count of a key, whose cell is empty afterwards.
    fn take(&mut self, key: u32) -> f32 {
        let Some(way) = self.find(key) else { return 0.0 };
        self.keys[way % WAYS] = 0;
        std::mem::take(&mut self.counts[way % WAYS])
    }

    /// In the place of the smallest.
    #[cold]
    fn put(&mut self, key: u32, count: f32) {
        let way = self.smallest();
        self.keys[way % WAYS] = key;
        self.counts[way % WAYS] = count;
    }

    /// The first of the smallest counts.
    fn smallest(&self) -> usize {
        let [a, b, c, d] = self.counts;
        let (left, right) = (usize::from(b < a), 2 + usize::from(d < c));
        let (low, high) = (if b < a { b } else { a }, if d < c { d } else { c });
        if high < low { right } else { left }
    }
}

/// A count of so many amounts loses part of the next one when it is rounded, and one of 2^25 all of it.
const EXACT_TO: f32 = (1 << 17) as f32;

/// A count and an amount, rounded up or down as often as is right on average: which of them, `number` tells, another one each time.
fn rounded_sum(count: f32, amount: f32, number: u64) -> f32 {
    // −½ … ½, evenly: multiples of the golden ratio.
    let part = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / f64::from(1u32 << 24) - 0.5;
    let step = f64::from(f32::from_bits(count.to_bits() & 0x7f80_0000)) * f64::from(f32::EPSILON);
    (f64::from(count) + f64::from(amount) + part * step) as f32
}

/// Counts by key. Two keys are mixed up when they share bucket and 32 bits of hash.
#[derive(Debug, Clone)]
pub(super) struct Table {
    buckets: Box<[Bucket]>,
    shift: u32,
}

/// Where a key's count is, if anywhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    bucket: usize,
    key: u32,
}

impl Key {
    /// A second count beside a key's own: in the same bucket, so that to look at both is hardly more than to look at one.
    #[inline]
    pub(super) fn beside(self) -> Self {
        Self { key: self.key ^ 2, ..self }
    }
}

impl Table {
    /// Room for `2^bits` keys, eight at least: of one bucket a hash would have no bit to tell it.
    pub(super) fn new(bits: u32) -> Self {
        let buckets = 1usize << (bits.max(3) - 2);
        Self { buckets: vec![Bucket::default(); buckets].into(), shift: 64 - buckets.trailing_zeros() }
    }

    /// The place of a hash, all of whose bits are good.
    #[inline]
    pub(super) fn key(&self, hash: u64) -> Key {
        Key { bucket: hash.wrapping_shr(self.shift) as usize, key: hash as u32 | 1 }
    }

    /// Reads the places of keys, so that they are in the cache when their counts are asked for some hundred instructions later.
    #[inline]
    pub(super) fn touch(&self, keys: &[Key]) {
        let first = |at: &Key| self.buckets.get(at.bucket).map_or(0, |bucket| bucket.keys[0]);
        std::hint::black_box(keys.iter().map(first).fold(0, |all, key| all ^ key));
    }

    /// The count of a key, 0 when it is not here.
    #[inline]
    pub(super) fn get(&self, at: Key) -> f32 {
        self.buckets.get(at.bucket).map_or(0.0, |bucket| bucket.get(at.key))
    }

    /// Adds to the count of a key, in the place of the smallest when it is not here; returns what it was. `number` is another one each time.
    #[inline]
    pub(super) fn add(&mut self, at: Key, amount: f32, number: u64) -> f32 {
        let Some(bucket) = self.buckets.get_mut(at.bucket) else { return 0.0 };
        bucket.add(at.key, amount, number)
    }

    /// The count of a key, which is not here afterwards; 0 when it was not.
    pub(super) fn take(&mut self, at: Key) -> f32 {
        self.buckets.get_mut(at.bucket).map_or(0.0, |bucket| bucket.take(at.key))
    }

    /// Multiplies all counts.
    pub(super) fn scale(&mut self, by: f32) {
        self.buckets.iter_mut().flat_map(|bucket| &mut bucket.counts).for_each(|count| *count *= by);
    }

    /// Appends what is not empty, with its place.
    pub(super) fn checkpoint(&self, out: &mut Vec<u8>) {
        let cells = self.buckets.iter().flat_map(|bucket| bucket.keys.iter().zip(&bucket.counts));
        let used = cells.enumerate().filter(|(_, (key, _))| **key != 0);
        out.extend_from_slice(&(used.clone().count() as u32).to_le_bytes());
        for (place, (key, count)) in used {
            out.extend_from_slice(&(place as u32).to_le_bytes());
            out.extend_from_slice(&key.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
        }
    }

    /// Takes in what [`Self::checkpoint`] of a table of this size wrote.
    pub(super) fn restore(&mut self, from: &mut StateReader<'_>, what: &'static str) -> Result<(), StateError> {
        self.buckets.fill(Bucket::default());
        let cells = self.buckets.len() * WAYS;
        for _ in 0..from.length(what, cells, 12)? {
            let place = from.index(what, cells)?;
            let (key, count) = (from.u32(what)?, from.f32(what)?);
            let Some(bucket) = self.buckets.get_mut(place / WAYS) else { continue };
            if key == 0 || bucket.find(key).is_some() {
                let (expected, found) = ("a key of one cell".to_owned(), format!("{key:#x} in cell {place}, too"));
                return Err(StateError::Impossible { what, expected, found });
            }
            bucket.keys[place % WAYS] = key;
            bucket.counts[place % WAYS] = count;
        }
        Ok(())
    }
}

/// One hash of a few numbers; every bit depends on every input.
#[inline]
pub(super) fn hash(kind: u64, a: u64, b: u64) -> u64 {
    end_hash(begin_hash(kind, a), b)
}

/// The part of a [`hash`] that does not depend on its last number.
#[inline]
pub(super) fn begin_hash(kind: u64, a: u64) -> u64 {
    folded_product(a ^ 0x9e37_79b9_7f4a_7c15, kind ^ 0xa076_1d64_78bd_642f)
}

/// The [`hash`] that was [begun](begin_hash), with its last number.
#[inline]
pub(super) fn end_hash(begun: u64, b: u64) -> u64 {
    folded_product(begun ^ b, 0xe703_7ed1_a0b4_28db)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hashes_are_in_checkpoints_and_never_change() {
        assert_eq!(hash(1, 2, 3), 0x1f25_9732_f3ce_b300);
        assert_eq!(hash(2, u64::MAX, 0), 0xea97_5895_6a57_2ef2);
    }

    /// One cell after the other.
    fn naive_add(bucket: &mut Bucket, key: u32, amount: f32, number: u64) -> f32 {
        let Some(way) = bucket.keys.iter().position(|at| *at == key) else {
            bucket.put(key, amount);
            return 0.0;
        };
        let count = bucket.counts[way];
        let is_large = count > amount * EXACT_TO;
        bucket.counts[way] = if is_large { rounded_sum(count, amount, number) } else { count + amount };
        count
    }

    proptest! {
        #[test]
        fn all_cells_at_once_are_what_one_after_the_other_would_be(
            events in prop::collection::vec((0..6u32, prop_oneof![Just(1.0f32), Just(3.7e4), 1e-3..1e9f32]), 0..60),
        ) {
            let (mut bucket, mut twin) = (Bucket::default(), Bucket::default());
            for (number, (key, amount)) in (0..).zip(events) {
                let key = 2 * key + 1;
                prop_assert_eq!(bucket.get(key), twin.find(key).map_or(0.0, |way| twin.counts[way]));
                prop_assert_eq!(bucket.add(key, amount, number), naive_add(&mut twin, key, amount, number));
                prop_assert_eq!((bucket.keys, bucket.counts.map(f32::to_bits)), (twin.keys, twin.counts.map(f32::to_bits)));
            }
        }
    }

    #[test]
    fn counts_what_is_added_and_a_flood_of_keys_keeps_the_frequent_ones() {
        let mut table = Table::new(10);
        for _ in 0..100 {
            (0..50).for_each(|n| _ = table.add(table.key(hash(1, n, 0)), 1.0, n));
        }
        (0..100_000).for_each(|n| _ = table.add(table.key(hash(2, n, 7)), 1.0, n));
        let kept = (0..50).filter(|n| table.get(table.key(hash(1, *n, 0))) == 100.0).count();
        assert!(kept >= 45, "{kept}");
        assert_eq!(table.get(table.key(hash(3, 1, 1))), 0.0);
    }

    #[test]
    fn what_was_taken_is_not_there_any_more_and_makes_room() {
        let mut table = Table::new(3);
        let keys: Vec<_> =
            (0..).map(|n| table.key(hash(1, n, 0))).filter(|key: &Key| key.bucket == 1).take(5).collect();
        (0..4).for_each(|n| _ = table.add(keys[n], 10.0 + n as f32, 0));
        assert_eq!((table.take(keys[3]), table.take(keys[3]), table.get(keys[3])), (13.0, 0.0, 0.0));
        table.add(keys[4], 1.0, 0);
        let counts: Vec<_> = keys.iter().map(|key| table.get(*key)).collect();
        assert_eq!(counts, [10.0, 11.0, 12.0, 0.0, 1.0]);
    }

    #[test]
    fn a_count_of_many_millions_goes_on_growing_by_one() {
        let mut table = Table::new(8);
        let key = table.key(hash(1, 2, 3));
        for start in [200_000.0f32, 3.3e7, 1e9] {
            let before = table.get(key);
            table.add(key, start - before, 0);
            (0..1_000_000).for_each(|n| _ = table.add(key, 1.0, n));
            let grown = f64::from(table.get(key)) - f64::from(start);
            assert!((grown / 1e6 - 1.0).abs() < 0.01, "{grown} from {start}");
        }
    }

    #[test]
    fn a_table_with_a_key_twice_or_none_is_refused() {
        let mut table = Table::new(8);
        let cell = |place: u32, key: u32| [place.to_le_bytes(), key.to_le_bytes(), 1f32.to_le_bytes()].concat();
        let of = |cells: &[Vec<u8>]| [(cells.len() as u32).to_le_bytes().to_vec(), cells.concat()].concat();
        let mut restore =
            |bytes: &[u8]| table.restore(&mut StateReader::new(bytes), "table").map_err(|e| e.to_string());
        assert_eq!(restore(&of(&[cell(4, 7), cell(5, 9), cell(8, 7)])), Ok(()));
        assert_eq!(
            restore(&of(&[cell(4, 7), cell(6, 7)])),
            Err("table: expected a key of one cell, found 0x7 in cell 6, too".to_owned())
        );
        assert!(restore(&of(&[cell(4, 0)])).is_err());
    }

    #[test]
    fn a_restored_table_is_the_same() {
        let mut table = Table::new(8);
        (0..300).for_each(|n| _ = table.add(table.key(hash(1, n, n)), n as f32, n));
        let (mut bytes, mut again) = (Vec::new(), Vec::new());
        table.checkpoint(&mut bytes);
        let mut other = Table::new(8);
        other.restore(&mut StateReader::new(&bytes), "table").unwrap();
        other.checkpoint(&mut again);
        assert_eq!(bytes, again);
    }
}
