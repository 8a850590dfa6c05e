//! The coarse look by the `turbovec` crate: vectors of four bits a number. The only place that names it.
//!
//! Guarded: it is given one finite vector of its length at a time (a search of twice the length would be two, and what is no number panics there), panics
//! are caught, and after one the index is made anew by the next search. It adds and searches on a pool of one thread, which is started by the first search that needs it
//! and by nothing else. Nothing is saved: its files hold no checksums, and making one anew of ten thousand vectors takes less than a second.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};
use turbovec::IdMapIndex;

use super::table::Table;

/// Bits a number is kept in.
const BITS: usize = 4;

/// Vectors added at a time when all are.
const BATCH: usize = 4_096;

/// Made by the first search; none before it, and after a failure.
#[derive(Debug, Default)]
pub(super) struct Turbo(Mutex<Option<Built>>);

#[derive(Debug)]
struct Built {
    pool: ThreadPool,
    index: IdMapIndex,
}

impl Clone for Turbo {
    /// The first search of the copy makes its own.
    fn clone(&self) -> Self {
        Self::default()
    }
}

fn is_zero(vector: &[f32]) -> bool {
    vector.iter().all(|cell| *cell == 0.0)
}

impl Built {
    fn of(table: &Table) -> Option<Self> {
        let pool = ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "oddline-search".into()).build().ok()?;
        let mut built = Self { pool, index: IdMapIndex::new(table.dimensions(), BITS).ok()? };
        let (mut ids, mut cells) = (Vec::new(), Vec::new());
        for (id, vector) in table.rows().filter(|(_, vector)| !is_zero(vector)) {
            ids.push(id);
            cells.extend_from_slice(vector);
            if ids.len() == BATCH {
                built.add(&ids, &cells)?;
                ids.clear();
                cells.clear();
            }
        }
        if !ids.is_empty() {
            built.add(&ids, &cells)?;
        }
        Some(built)
    }

    fn add(&mut self, ids: &[u64], cells: &[f32]) -> Option<()> {
        let Self { pool, index } = self;
        guarded(|| pool.install(|| index.add_with_ids(cells, ids)).ok())
    }

    fn nearest(&self, query: &[f32], most: usize) -> Option<Vec<u64>> {
        guarded(|| {
            let found = self.pool.install(|| self.index.try_search(query, most.min(self.index.len()))).ok()?;
            Some(found.ids_for_query(0).to_vec())
        })
    }
}

/// What a panic leaves behind is thrown away by who asked.
fn guarded<T>(work: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        tracing::error!("the index of vectors panicked; it is made anew");
        None
    })
}

impl Turbo {
    /// Takes note of a vector, in place of one of its id; `had_one` says whether there was one.
    pub(super) fn insert(&mut self, id: u64, vector: &[f32], had_one: bool) {
        if had_one {
            self.remove(id);
        }
        let place = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !is_zero(vector)
            && let Some(built) = place
            && built.add(&[id], vector).is_none()
        {
            *place = None;
        }
    }

    /// Forgets a vector; one that is not there is none.
    pub(super) fn remove(&mut self, id: u64) {
        let place = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(Built { index, .. }) = place
            && guarded(|| Some(index.remove(id))).is_none()
        {
            *place = None;
        }
    }

    /// Ids of about the nearest, in no order; `None` when it fails. The query is of the table's length and finite.
    pub(super) fn nearest(&self, table: &Table, query: &[f32], most: usize) -> Option<Vec<u64>> {
        if is_zero(query) {
            return Some(Vec::new());
        }
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_none() {
            *place = Built::of(table);
        }
        let found = place.as_ref().and_then(|built| built.nearest(query, most));
        if found.is_none() {
            *place = None;
        }
        found
    }

    /// Whether its thread runs.
    #[cfg(test)]
    pub(super) fn is_built(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}
