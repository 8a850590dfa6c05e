//! State by a 64-bit key in a fixed space: a newcomer to a full bucket takes the place of the one unseen for longest.

use super::{StateError, StateReader};

const WAYS: usize = 4;

#[derive(Debug, Clone, Copy, Default)]
struct Cell<T> {
    key: u64,
    /// When it was last asked for, in askings; 0: never.
    asked: u64,
    state: T,
}

/// Where a key's state is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    bucket: usize,
    way: usize,
}

/// State by key.
#[derive(Debug, Clone)]
pub(super) struct Streams<T> {
    buckets: Box<[[Cell<T>; WAYS]]>,
    asked: u64,
}

impl<T: Copy + Default> Streams<T> {
    /// Room for `2^bits` keys.
    pub(super) fn new(bits: u32) -> Self {
        Self { buckets: vec![[Cell::default(); WAYS]; 1 << (bits.max(2) - 2)].into(), asked: 0 }
    }

    /// The state of a key, which must be a good hash; a new one when it is not here.
    #[inline]
    pub(super) fn of(&mut self, key: u64) -> Option<&mut T> {
        let place = self.place(key);
        self.get_mut(place)
    }

    /// Where the state of a key is until the next key is asked for.
    #[inline]
    pub(super) fn place(&mut self, key: u64) -> Place {
        self.asked += 1;
        let at = key as usize & (self.buckets.len() - 1);
        let Some(bucket) = self.buckets.get_mut(at) else { return Place { bucket: 0, way: 0 } };
        let found = bucket.iter().position(|cell| cell.key == key && cell.asked > 0);
        let way = found.unwrap_or_else(|| {
            let oldest = (0..WAYS).min_by_key(|way| bucket[*way].asked).unwrap_or(0);
            bucket[oldest] = Cell { key, ..Cell::default() };
            oldest
        });
        bucket[way % WAYS].asked = self.asked;
        Place { bucket: at, way }
    }

    /// The state at a place.
    #[inline]
    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.buckets.get_mut(place.bucket)?.get_mut(place.way).map(|cell| &mut cell.state)
    }

    /// Every state that is here.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.buckets.iter_mut().flatten().filter(|cell| cell.asked > 0).map(|cell| &mut cell.state)
    }

    /// Appends what is here, with its place.
    pub(super) fn checkpoint(&self, out: &mut Vec<u8>, put: impl Fn(&T, &mut Vec<u8>)) {
        out.extend_from_slice(&self.asked.to_le_bytes());
        let used = self.buckets.iter().flatten().enumerate().filter(|(_, cell)| cell.asked > 0);
        out.extend_from_slice(&(used.clone().count() as u32).to_le_bytes());
        for (place, cell) in used {
            out.extend_from_slice(&(place as u32).to_le_bytes());
            out.extend_from_slice(&cell.key.to_le_bytes());
            out.extend_from_slice(&cell.asked.to_le_bytes());
            put(&cell.state, out);
        }
    }

    /// Takes in what [`Self::checkpoint`] of the same size wrote; `size` is how many bytes a state takes at least.
    pub(super) fn restore(
        &mut self,
        from: &mut StateReader<'_>,
        what: &'static str,
        size: usize,
        read: impl Fn(&mut StateReader<'_>) -> Result<T, StateError>,
    ) -> Result<(), StateError> {
        self.buckets.fill([Cell::default(); WAYS]);
        self.asked = from.u64(what)?;
        let cells = self.buckets.len() * WAYS;
        for _ in 0..from.length(what, cells, 20 + size)? {
            let place = from.index(what, cells)?;
            let cell = Cell { key: from.u64(what)?, asked: from.u64(what)?, state: read(from)? };
            if let Some(entry) = self.buckets.get_mut(place / WAYS).and_then(|bucket| bucket.get_mut(place % WAYS)) {
                *entry = cell;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::hash;
    use super::*;

    #[test]
    fn a_million_keys_fit_and_those_in_use_stay() {
        let mut streams = Streams::<u32>::new(10);
        for n in 0..1_000_000 {
            *streams.of(hash(0, n, 1)).unwrap() += 1;
            *streams.of(hash(0, 7_000_000, 1)).unwrap() += 1;
        }
        assert_eq!(*streams.of(hash(0, 7_000_000, 1)).unwrap(), 1_000_000);
        assert!(streams.iter_mut().count() <= 1 << 10);
    }
}
