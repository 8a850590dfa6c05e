//! A bit a dimension: whether its number is above zero. Of two vectors that are near, most bits are the same (Charikar, "Similarity Estimation Techniques from
//! Rounding Algorithms", STOC 2002, with the axes themselves for directions: hashed vectors are spread over them at random).
//!
//! Numbers of hashed vectors are mostly zero, so how many bits a vector has differs; what is counted is therefore bits both have, by the root of how many the
//! kept one has: a cosine of bits.

/// One bit a dimension for each row.
#[derive(Debug, Clone)]
pub(super) struct Sketches {
    words: usize,
    bits: Vec<u64>,
    /// One over the root of how many bits of a row are set.
    scales: Vec<f32>,
}

impl Sketches {
    pub(super) const fn new(dimensions: usize) -> Self {
        Self { words: dimensions.div_ceil(64), bits: Vec::new(), scales: Vec::new() }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bits.capacity() * size_of::<u64>() + self.scales.capacity() * size_of::<f32>()
    }

    fn of(vector: &[f32]) -> impl Iterator<Item = u64> + '_ {
        vector.chunks(64).map(|part| part.iter().rev().fold(0, |word, cell| word << 1 | u64::from(*cell > 0.0)))
    }

    fn scale(vector: &[f32]) -> f32 {
        let set = vector.iter().filter(|cell| **cell > 0.0).count();
        1.0 / (set.max(1) as f32).sqrt()
    }

    pub(super) fn push(&mut self, vector: &[f32]) {
        self.bits.extend(Self::of(vector));
        self.scales.push(Self::scale(vector));
    }

    pub(super) fn replace(&mut self, row: usize, vector: &[f32]) {
        let bits = self.bits.get_mut(row * self.words..(row + 1) * self.words);
        bits.into_iter().flatten().zip(Self::of(vector)).for_each(|(bits, new)| *bits = new);
        self.scales.get_mut(row).into_iter().for_each(|scale| *scale = Self::scale(vector));
    }

    /// Puts the last row in place of this one.
    pub(super) fn swap_remove(&mut self, row: usize) {
        let Some(last) = self.scales.len().checked_sub(1).filter(|last| row <= *last) else { return };
        self.bits.copy_within(last * self.words.., row * self.words);
        self.bits.truncate(last * self.words);
        self.scales.swap_remove(row);
    }

    /// The rows that agree best with `query`, `most` of them, in no order.
    pub(super) fn nearest(&self, query: &[f32], most: usize) -> Vec<usize> {
        let wanted: Vec<u64> = Self::of(query).collect();
        let both = |row: &[u64]| row.iter().zip(&wanted).map(|(a, b)| (a & b).count_ones()).sum::<u32>();
        let rows = self.bits.chunks_exact(self.words.max(1)).zip(&self.scales);
        // Agreement above, row below: one number that sorts by agreement.
        let agreement = |((row, scale), at): ((&[u64], &f32), u64)| {
            let agreement = (both(row) as f32 * scale * 1e6) as u64;
            agreement << 32 | at
        };
        let mut all: Vec<u64> = rows.zip(0u64..).map(agreement).collect();
        if all.len() > most {
            let cut = all.len() - most;
            all.select_nth_unstable(cut);
            all.drain(..cut);
        }
        all.into_iter().map(|agreement| (agreement & u64::from(u32::MAX)) as usize).collect()
    }
}
