//! Vectors by id, and the nearest to one.
//!
//! | part | file |
//! |---|---|
//! | [`VectorIndex`]: insert, remove, search | here |
//! | all vectors side by side, and the exact scan | `table` |
//! | all that are near, and no others: [`VectorIndex::search_within`] | `postings` |
//! | candidates for a scan that need not be of all | `sketch`; with the feature `turbovec`, `turbo` |
//!
//! Below [`CROSSOVER`] vectors [`VectorIndex::search`] looks at all of them. Above, at as many candidates as [`CANDIDATES`] says, taken by a coarse
//! look, and with the vectors themselves: `benches/index.rs` holds the figures. Nothing here touches a file, or starts a thread but for what `turbo` says.
//!
//! # Who uses it
//! `engine::recall`, for each alert: a thousand past incidents and a thousand notes at most, of which it wants those that are near, and misses none
//! ([`VectorIndex::search_within`]). A scan of them all reads 1.5 MB, which takes its time and the lane's own tables out of the caches: with an alert in a few thousand events that was a
//! twentieth of what an event costs. Nothing in the product asks for the coarse look, or `turbovec` where that is built in: they are the library's, for whoever holds more, and are measured at 50,000. A search in words (`engine::search`) does without: measured (`cargo bench --bench index`, printed first) a search of a data dir of 10,000 templates takes 35 ms, of which reading the
//! history 24, making the vectors anew 11, and looking at all of them .3. An index of live templates would save that last one, or with its vectors a third, and
//! would cost, for as long as the agent runs and nobody searches, 1.5 kB a template: 15 MB of a `memory_limit_bytes` of 64. So, of what such an index could have:
//!
//! | | |
//! |---|---|
//! | windows in memory that an index is asked about (`ring_windows`) | the history on disk and the log are asked, which hold what windows in memory do, and a week |
//! | an allow-list: what was there then | [`VectorIndex::search_where`]; a search makes vectors of what was seen in the time asked for alone |
//! | two indices, one written and one read | the one there is lives behind the lock that alerts alone take, for microseconds |
//! | a file of its own beside the checkpoint | nothing to save: incidents are in the checkpoint as texts, their vectors are made anew in a millisecond or two |
//! | guards against vectors of another length, or that are no numbers | [`IndexError`], before anything is touched |

mod postings;
mod sketch;
mod table;
#[cfg(feature = "turbovec")]
mod turbo;

use hashbrown::HashMap;

use self::postings::Postings;
use self::sketch::Sketches;
use self::table::Table;

/// From so many vectors on a coarse look comes first.
pub const CROSSOVER: usize = 2_000;

/// Candidates of a coarse look, and for each one wanted.
pub const CANDIDATES: (usize, usize) = (400, 40);

/// The same of `turbovec`, whose look is less coarse: for each one wanted.
#[cfg(feature = "turbovec")]
const TURBO_CANDIDATES: usize = 4;

/// One that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Whose vector it is.
    pub id: u64,
    /// Cosine, −1 to 1: 1 is the same.
    pub similarity: f32,
}

/// A vector is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Of another length.
    #[error("expected a vector of {expected} numbers, found {found}")]
    Length {
        /// Of every vector of the index.
        expected: usize,
        /// Of this one.
        found: usize,
    },
    /// One of its numbers is none.
    #[error("expected finite numbers, found another at place {place} of a vector")]
    NotFinite {
        /// Where.
        place: usize,
    },
}

/// Vectors of unit length by id; a zero vector is near to nothing and is never found.
#[derive(Debug, Clone)]
pub struct VectorIndex {
    table: Table,
    sketches: Sketches,
    /// Since they were first asked for.
    postings: Option<Postings>,
    #[cfg(feature = "turbovec")]
    turbo: turbo::Turbo,
    rows: HashMap<u64, u32, foldhash::fast::FixedState>,
}

impl VectorIndex {
    /// For vectors of a length.
    pub fn new(dimensions: usize) -> Self {
        Self {
            table: Table::new(dimensions),
            sketches: Sketches::new(dimensions),
            postings: None,
            #[cfg(feature = "turbovec")]
            turbo: turbo::Turbo::default(),
            rows: HashMap::default(),
        }
    }

    /// Length of a vector.
    pub fn dimensions(&self) -> usize {
        self.table.dimensions()
    }

    /// Vectors there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes held, about.
    pub fn memory_bytes(&self) -> usize {
        let postings = self.postings.as_ref().map_or(0, Postings::memory_bytes);
        self.table.memory_bytes() + self.sketches.memory_bytes() + postings + self.rows.capacity() * 13
    }

    fn check(&self, vector: &[f32]) -> Result<(), IndexError> {
        let (expected, found) = (self.dimensions(), vector.len());
        if expected != found {
            return Err(IndexError::Length { expected, found });
        }
        vector.iter().position(|cell| !cell.is_finite()).map_or(Ok(()), |place| Err(IndexError::NotFinite { place }))
    }

    /// Keeps the vector of `id`, in place of one it had. It is taken to be of unit length, or zero.
    ///
    /// # Errors
    /// When it is of another length or holds what is no number; the index is then as it was.
    pub fn insert(&mut self, id: u64, vector: &[f32]) -> Result<(), IndexError> {
        self.check(vector)?;
        #[cfg(feature = "turbovec")]
        self.turbo.insert(id, vector, self.rows.contains_key(&id));
        match self.rows.get(&id) {
            Some(row) => {
                self.table.replace(*row as usize, vector);
                self.sketches.replace(*row as usize, vector);
                self.postings.iter_mut().for_each(|postings| postings.replace(*row as usize, vector));
            }
            None => {
                self.rows.insert(id, self.table.len() as u32);
                self.table.push(id, vector);
                self.sketches.push(vector);
                self.postings.iter_mut().for_each(|postings| postings.push(vector));
            }
        }
        self.postings.iter_mut().for_each(|postings| postings.tidy(&self.table));
        Ok(())
    }

    /// Forgets the vector of `id`; false when there is none.
    pub fn remove(&mut self, id: u64) -> bool {
        let Some(row) = self.rows.remove(&id) else { return false };
        #[cfg(feature = "turbovec")]
        self.turbo.remove(id);
        self.sketches.swap_remove(row as usize);
        self.postings.iter_mut().for_each(|postings| postings.swap_remove(row as usize));
        if let Some(moved) = self.table.swap_remove(row as usize) {
            self.rows.insert(moved, row);
        }
        self.postings.iter_mut().for_each(|postings| postings.tidy(&self.table));
        true
    }

    /// The vector of `id`.
    pub fn get(&self, id: u64) -> Option<&[f32]> {
        self.rows.get(&id).and_then(|row| self.table.row(*row as usize))
    }

    /// The `most` nearest to `query`, the nearest first, those of one similarity by id.
    ///
    /// # Errors
    /// When the query is of another length or holds what is no number.
    pub fn search(&self, query: &[f32], most: usize) -> Result<Vec<Hit>, IndexError> {
        if self.len() < CROSSOVER {
            return self.search_where(query, most, &|_| true);
        }
        self.check(query)?;
        Ok(self.table.scan(self.candidates(query, most), query, most, &|_| true))
    }

    /// The `most` nearest to `query`, of unit length, that are no farther than `farthest`, one less the cosine; the nearest first, those of one
    /// similarity by id. None is missed. For vectors most of whose numbers are zero much the fastest: the first search makes the lists that it takes.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub fn search_within(&mut self, query: &[f32], most: usize, farthest: f32) -> Result<Vec<Hit>, IndexError> {
        self.check(query)?;
        let postings = self.postings.get_or_insert_with(|| Postings::of(&self.table));
        let candidates = postings.at_least(1.0 - farthest, query);
        let mut found = self.table.scan(candidates, query, most, &|_| true);
        found.retain(|hit| 1.0 - hit.similarity <= farthest);
        Ok(found)
    }

    /// Rows worth a look.
    fn candidates(&self, query: &[f32], most: usize) -> Vec<usize> {
        #[cfg(feature = "turbovec")]
        if let Some(ids) =
            self.turbo.nearest(&self.table, query, most.saturating_mul(TURBO_CANDIDATES).max(TURBO_CANDIDATES))
        {
            return ids.iter().filter_map(|id| self.rows.get(id)).map(|row| *row as usize).collect();
        }
        let (least, times) = CANDIDATES;
        self.sketches.nearest(query, least.max(most.saturating_mul(times)))
    }

    /// The same among those that `is_wanted`. All are looked at, however many there are: what the rest is measured by.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub fn search_where(
        &self,
        query: &[f32],
        most: usize,
        is_wanted: &dyn Fn(u64) -> bool,
    ) -> Result<Vec<Hit>, IndexError> {
        self.check(query)?;
        Ok(self.table.scan(0..self.table.len(), query, most, is_wanted))
    }
}

#[cfg(test)]
mod tests;
