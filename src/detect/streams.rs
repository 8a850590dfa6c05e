//! State by a 64-bit key in a bounded space, which is there from the first key on: a newcomer to a full bucket takes the place of the one unseen
//! for longest.

use super::{StateError, StateReader};
use crate::event::StreamKey;

const WAYS: usize = 4;

/// Keys are apart from what they stand for, a bucket's in one cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Bucket {
    /// 0: empty.
    keys: [u64; WAYS],
    /// The number of the asking when each was last asked for; to ask again for the key just asked for has none.
    asked: [u64; WAYS],
}

/// Where a key's state is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    state: usize,
}

/// State by key.
#[derive(Debug, Clone)]
pub(super) struct Streams<T> {
    buckets: Box<[Bucket]>,
    states: Box<[T]>,
    /// The key last asked for and where its state is; 0: none.
    latest: (u64, usize),
    /// log2 of the keys there is room for.
    bits: u32,
    asked: u64,
    /// Keys that had to go for others.
    evicted: u64,
}

/// Whether events come of one stream: then what is kept of templates is kept of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sources {
    first: Option<StreamKey>,
    are_many: bool,
}

impl Sources {
    /// As it was before it was known.
    pub(super) const fn unknown(are_many: bool) -> Self {
        Self { first: None, are_many }
    }

    /// More than one.
    #[inline]
    pub(super) const fn are_many(self) -> bool {
        self.are_many
    }

    /// The only one so far, while there are no others.
    pub(super) fn only(self) -> Option<StreamKey> {
        self.first.filter(|_| !self.are_many)
    }

    /// Notes where an event comes from; the only stream so far when it is not the only one any more.
    #[inline]
    pub(super) fn see(&mut self, stream: StreamKey) -> Option<StreamKey> {
        if self.are_many || self.first == Some(stream) { None } else { self.see_another(stream) }
    }

    /// There are others elsewhere; the only stream so far, if there was one.
    #[cold]
    pub(super) fn become_many(&mut self) -> Option<StreamKey> {
        self.are_many = true;
        self.first.take()
    }

    #[cold]
    fn see_another(&mut self, stream: StreamKey) -> Option<StreamKey> {
        if self.first.is_some() {
            return self.become_many();
        }
        self.first = Some(stream);
        None
    }

    pub(super) fn checkpoint(self, out: &mut Vec<u8>) {
        out.push(u8::from(self.are_many) | u8::from(self.first.is_some()) << 1);
        out.extend_from_slice(&self.first.unwrap_or_default().0.to_le_bytes());
    }

    pub(super) fn restore(from: &mut StateReader<'_>) -> Result<Self, StateError> {
        let (flags, first) = (from.u8("whether there are streams")?, from.u64("the only stream")?);
        Ok(Self { first: (flags & 2 != 0).then_some(StreamKey(first)), are_many: flags & 1 != 0 })
    }
}

impl<T: Copy + Default> Streams<T> {
    /// Room for `2^bits` keys.
    pub(super) fn new(bits: u32) -> Self {
        let (buckets, states) = (Box::default(), Box::default());
        Self { buckets, states, latest: (0, 0), bits: bits.max(2), asked: 0, evicted: 0 }
    }

    /// No key is here any more; what went before is still counted.
    pub(super) fn clear(&mut self) {
        *self = Self { evicted: self.evicted, ..Self::new(self.bits) };
    }

    /// How many keys had to go for others, since there was this state in memory.
    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// No key was asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    #[cold]
    fn make_room(&mut self) {
        let keys = 1usize << self.bits;
        self.buckets = vec![Bucket::default(); keys / WAYS].into();
        self.states = vec![T::default(); keys].into();
    }

    /// The bucket of a key.
    #[inline]
    fn bucket_of(&self, key: u64) -> usize {
        key as usize & ((1 << (self.bits - 2)) - 1)
    }

    /// The state of a key, which must be a good hash; a new one when it is not here.
    #[inline]
    pub(super) fn of(&mut self, key: u64) -> Option<&mut T> {
        let place = self.place(key);
        self.get_mut(place)
    }

    /// The state of a key, if it is here; asking so does not count.
    pub(super) fn peek(&self, key: u64) -> Option<&T> {
        let key = key.max(1);
        let at = self.bucket_of(key);
        let way = self.buckets.get(at)?.keys.iter().position(|known| *known == key)?;
        self.states.get(at * WAYS + way)
    }

    /// Where the state of a key is until the next key is asked for.
    #[inline]
    pub(super) fn place(&mut self, key: u64) -> Place {
        let key = key.max(1);
        // Many an input has one stream only, and no other is asked for in between.
        let (latest, state) = self.latest;
        if key == latest { Place { state } } else { self.place_of_another(key) }
    }

    #[inline]
    fn place_of_another(&mut self, key: u64) -> Place {
        self.asked += 1;
        if self.buckets.is_empty() {
            self.make_room();
        }
        let at = self.bucket_of(key);
        let Some(bucket) = self.buckets.get_mut(at) else { return Place { state: 0 } };
        let way = match bucket.keys.iter().position(|known| *known == key) {
            Some(way) => way,
            None => Self::take_place(bucket, &mut self.states, &mut self.evicted, at, key),
        };
        bucket.asked[way % WAYS] = self.asked;
        let state = at * WAYS + way;
        self.latest = (key, state);
        Place { state }
    }

    #[cold]
    fn take_place(bucket: &mut Bucket, states: &mut [T], evicted: &mut u64, at: usize, key: u64) -> usize {
        let oldest = (0..WAYS).min_by_key(|way| bucket.asked[*way]).unwrap_or(0);
        *evicted += u64::from(bucket.keys[oldest] != 0);
        bucket.keys[oldest] = key;
        if let Some(state) = states.get_mut(at * WAYS + oldest) {
            *state = T::default();
        }
        oldest
    }

    /// The key is not here any more.
    pub(super) fn remove(&mut self, key: u64) {
        let key = key.max(1);
        let at = self.bucket_of(key);
        if key == self.latest.0 {
            self.latest = (0, 0);
        }
        let Some(bucket) = self.buckets.get_mut(at) else { return };
        if let Some(way) = bucket.keys.iter().position(|known| *known == key) {
            (bucket.keys[way], bucket.asked[way]) = (0, 0);
        }
    }

    /// The state at a place.
    #[inline]
    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.states.get_mut(place.state)
    }

    /// Every state that is here.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let keys = self.buckets.iter().flat_map(|bucket| &bucket.keys);
        keys.zip(&mut self.states).filter(|(key, _)| **key != 0).map(|(_, state)| state)
    }

    /// Appends what is here, with its place.
    pub(super) fn checkpoint(&self, out: &mut Vec<u8>, put: impl Fn(&T, &mut Vec<u8>)) {
        out.extend_from_slice(&self.asked.to_le_bytes());
        let cells = self.buckets.iter().flat_map(|bucket| bucket.keys.iter().zip(&bucket.asked)).zip(&self.states);
        let used = cells.enumerate().filter(|(_, ((key, _), _))| **key != 0);
        out.extend_from_slice(&(used.clone().count() as u32).to_le_bytes());
        for (place, ((key, asked), state)) in used {
            out.extend_from_slice(&(place as u32).to_le_bytes());
            out.extend_from_slice(&key.to_le_bytes());
            out.extend_from_slice(&asked.to_le_bytes());
            put(state, out);
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
        self.clear();
        self.asked = from.u64(what)?;
        let cells = 1 << self.bits;
        let length = from.length(what, cells, 20 + size)?;
        if length > 0 {
            self.make_room();
        }
        for _ in 0..length {
            let place = from.index(what, cells)?;
            let (key, asked, read) = (from.u64(what)?, from.u64(what)?, read(from)?);
            let bucket = self.buckets.get_mut(place / WAYS);
            if let (Some(bucket), Some(state)) = (bucket, self.states.get_mut(place)) {
                bucket.keys[place % WAYS] = key;
                bucket.asked[place % WAYS] = asked;
                *state = read;
                // So that what is written from here on is what would have been without a stop.
                if asked == self.asked {
                    self.latest = (key, place);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::hash;
    use super::*;
    use crate::arithmetic::next_random;

    #[test]
    fn a_million_keys_fit_and_those_in_use_stay() {
        let mut streams = Streams::<u32>::new(10);
        for n in 0..1_000_000 {
            *streams.of(hash(0, n, 1)).unwrap() += 1;
            *streams.of(hash(0, 7_000_000, 1)).unwrap() += 1;
        }
        assert_eq!(*streams.of(hash(0, 7_000_000, 1)).unwrap(), 1_000_000);
        let kept = streams.iter_mut().count() as u64;
        assert!(kept <= 1 << 10);
        assert_eq!(streams.evicted(), 1_000_001 - kept, "what is not there any more is counted");
        streams.remove(hash(0, 7_000_000, 1));
        streams.of(hash(0, 7_000_000, 1));
        assert_eq!(streams.evicted(), 1_000_001 - kept, "what was removed made room");
    }

    /// One bucket: key, when it was last asked for, and its state; each asking counts.
    #[derive(Default)]
    struct Naive {
        cells: Vec<(u64, u32, u32)>,
        evicted: u64,
    }

    impl Naive {
        fn of(&mut self, key: u64, now: u32) -> &mut u32 {
            let known = self.cells.iter().position(|cell| cell.0 == key);
            let at = known.unwrap_or_else(|| {
                if self.cells.len() == WAYS {
                    let oldest = (0..WAYS).min_by_key(|at| self.cells[*at].1).unwrap();
                    self.cells.remove(oldest);
                    self.evicted += 1;
                }
                self.cells.push((key, now, 0));
                self.cells.len() - 1
            });
            self.cells[at].1 = now;
            &mut self.cells[at].2
        }
    }

    fn bytes_of(streams: &Streams<u32>) -> Vec<u8> {
        let mut bytes = Vec::new();
        streams.checkpoint(&mut bytes, |state, out| out.extend_from_slice(&state.to_le_bytes()));
        bytes
    }

    #[test]
    fn whoever_was_asked_for_last_each_key_has_its_own_state_and_the_oldest_goes() {
        let (mut streams, mut naive, mut state) = (Streams::<u32>::new(2), Naive::default(), 5u64);
        // Another one that is written and read again and again.
        let mut stopped = Streams::<u32>::new(2);
        for now in 1..50_000u32 {
            let random = next_random(&mut state);
            let key = 1 + (random >> 8) % if random & 0x300 == 0 { 2 } else { 7 };
            match random & 0xff {
                0 => {
                    streams.clear();
                    stopped.clear();
                    naive.cells.clear();
                }
                1..20 => {
                    streams.remove(key);
                    stopped.remove(key);
                    naive.cells.retain(|cell| cell.0 != key);
                }
                _ => {
                    let expected = std::mem::replace(naive.of(key, now), now);
                    assert_eq!(std::mem::replace(streams.of(key).unwrap(), now), expected, "{key} at {now}");
                    *stopped.of(key).unwrap() = now;
                }
            }
            let known = |key| naive.cells.iter().find(|cell| cell.0 == key).map(|cell| &cell.2);
            assert!((1..8).all(|key| streams.peek(key) == known(key)));
            assert_eq!(streams.evicted(), naive.evicted);
            let bytes = bytes_of(&stopped);
            assert_eq!(bytes, bytes_of(&streams));
            if random & 0x7000 == 0 {
                stopped = Streams::new(2);
                stopped.restore(&mut StateReader::new(&bytes), "", 4, |from| from.u32("")).unwrap();
            }
        }
    }
}
