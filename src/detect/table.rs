//! Decayed counts by hashed key in a fixed space: nothing is allocated after the start, and a full bucket gives up its smallest.

use super::{StateError, StateReader};

/// Cells a bucket has: half a cache line.
const WAYS: usize = 4;

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    key: u32,
    count: f32,
}

/// Counts by key. Two keys are mixed up when they share bucket and 32 bits of hash.
#[derive(Debug, Clone)]
pub(super) struct Table {
    buckets: Box<[[Cell; WAYS]]>,
    shift: u32,
}

/// Where a key's count is, if anywhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    bucket: usize,
    key: u32,
}

impl Table {
    /// Room for `2^bits` keys.
    pub(super) fn new(bits: u32) -> Self {
        let buckets = 1usize << (bits.max(2) - 2);
        Self { buckets: vec![[Cell::default(); WAYS]; buckets].into(), shift: 64 - buckets.trailing_zeros() }
    }

    /// The place of a hash, all of whose bits are good.
    #[inline]
    pub(super) fn key(&self, hash: u64) -> Key {
        Key { bucket: hash.checked_shr(self.shift).unwrap_or(0) as usize, key: hash as u32 | 1 }
    }

    /// The count of a key, 0 when it is not here.
    #[inline]
    pub(super) fn get(&self, at: Key) -> f32 {
        let cells = self.buckets.get(at.bucket).copied().unwrap_or_default();
        cells.iter().fold(0.0, |found, cell| if cell.key == at.key { cell.count } else { found })
    }

    /// Adds to the count of a key, in the place of the smallest when it is not here; returns what it was.
    #[inline]
    pub(super) fn add(&mut self, at: Key, amount: f32) -> f32 {
        let Some(cells) = self.buckets.get_mut(at.bucket) else { return 0.0 };
        if let Some(cell) = cells.iter_mut().find(|cell| cell.key == at.key) {
            let before = cell.count;
            cell.count += amount;
            return before;
        }
        let mut smallest = 0;
        for way in 1..WAYS {
            if cells[way].count < cells[smallest].count {
                smallest = way;
            }
        }
        cells[smallest] = Cell { key: at.key, count: amount };
        0.0
    }

    /// Multiplies all counts.
    pub(super) fn scale(&mut self, by: f32) {
        self.buckets.iter_mut().flatten().for_each(|cell| cell.count *= by);
    }

    /// Appends what is not empty, with its place.
    pub(super) fn checkpoint(&self, out: &mut Vec<u8>) {
        let used = self.buckets.iter().flatten().enumerate().filter(|(_, cell)| cell.key != 0);
        out.extend_from_slice(&(used.clone().count() as u32).to_le_bytes());
        for (place, cell) in used {
            out.extend_from_slice(&(place as u32).to_le_bytes());
            out.extend_from_slice(&cell.key.to_le_bytes());
            out.extend_from_slice(&cell.count.to_le_bytes());
        }
    }

    /// Takes in what [`Self::checkpoint`] of a table of this size wrote.
    pub(super) fn restore(&mut self, from: &mut StateReader<'_>, what: &'static str) -> Result<(), StateError> {
        self.buckets.fill([Cell::default(); WAYS]);
        let cells = self.buckets.len() * WAYS;
        for _ in 0..from.length(what, cells, 12)? {
            let place = from.index(what, cells)?;
            let cell = Cell { key: from.u32(what)?, count: from.f32(what)? };
            if let Some(entry) = self.buckets.get_mut(place / WAYS).and_then(|bucket| bucket.get_mut(place % WAYS)) {
                *entry = cell;
            }
        }
        Ok(())
    }
}

/// One hash of a few numbers; every bit depends on every input.
#[inline]
pub(super) fn hash(kind: u64, a: u64, b: u64) -> u64 {
    let fold = |x: u64, y: u64| {
        let product = u128::from(x) * u128::from(y);
        (product as u64) ^ (product >> 64) as u64
    };
    fold(fold(a ^ 0x9e37_79b9_7f4a_7c15, kind ^ 0xa076_1d64_78bd_642f) ^ b, 0xe703_7ed1_a0b4_28db)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_added_and_a_flood_of_keys_keeps_the_frequent_ones() {
        let mut table = Table::new(10);
        for _ in 0..100 {
            (0..50).for_each(|n| _ = table.add(table.key(hash(1, n, 0)), 1.0));
        }
        (0..100_000).for_each(|n| _ = table.add(table.key(hash(2, n, 7)), 1.0));
        let kept = (0..50).filter(|n| table.get(table.key(hash(1, *n, 0))) == 100.0).count();
        assert!(kept >= 45, "{kept}");
        assert_eq!(table.get(table.key(hash(3, 1, 1))), 0.0);
    }

    #[test]
    fn a_restored_table_is_the_same() {
        let mut table = Table::new(8);
        (0..300).for_each(|n| _ = table.add(table.key(hash(1, n, n)), n as f32));
        let (mut bytes, mut again) = (Vec::new(), Vec::new());
        table.checkpoint(&mut bytes);
        let mut other = Table::new(8);
        other.restore(&mut StateReader::new(&bytes), "table").unwrap();
        other.checkpoint(&mut again);
        assert_eq!(bytes, again);
    }
}
