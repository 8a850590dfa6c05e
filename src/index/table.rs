//! Vectors side by side, and the scan over them.

use super::Hit;
use crate::arithmetic::dot;

/// Rows of one length, each with an id.
#[derive(Debug, Clone)]
pub(super) struct Table {
    dimensions: usize,
    cells: Vec<f32>,
    ids: Vec<u64>,
}

impl Table {
    pub(super) const fn new(dimensions: usize) -> Self {
        Self { dimensions, cells: Vec::new(), ids: Vec::new() }
    }

    pub(super) const fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.cells.capacity() * size_of::<f32>() + self.ids.capacity() * size_of::<u64>()
    }

    /// Ids and vectors.
    #[cfg(feature = "turbovec")]
    pub(super) fn rows(&self) -> impl Iterator<Item = (u64, &[f32])> {
        self.ids.iter().copied().zip(self.cells.chunks_exact(self.dimensions.max(1)))
    }

    pub(super) fn row(&self, row: usize) -> Option<&[f32]> {
        self.cells.get(row * self.dimensions..(row + 1) * self.dimensions)
    }

    pub(super) fn push(&mut self, id: u64, vector: &[f32]) {
        self.ids.push(id);
        self.cells.extend_from_slice(vector);
    }

    pub(super) fn replace(&mut self, row: usize, vector: &[f32]) {
        let cells = self.cells.get_mut(row * self.dimensions..(row + 1) * self.dimensions);
        cells.into_iter().flatten().zip(vector).for_each(|(cell, new)| *cell = *new);
    }

    /// Puts the last row in place of this one; its id, when there was another.
    pub(super) fn swap_remove(&mut self, row: usize) -> Option<u64> {
        let last = self.len().checked_sub(1)?;
        if row > last {
            return None;
        }
        self.cells.copy_within(last * self.dimensions.., row * self.dimensions);
        self.cells.truncate(last * self.dimensions);
        self.ids.swap_remove(row);
        self.ids.get(row).copied()
    }

    /// The `most` of `rows` that are nearest to `query`, those of one similarity by id; what is near to nothing is left out.
    pub(super) fn scan(
        &self,
        rows: impl IntoIterator<Item = usize>,
        query: &[f32],
        most: usize,
        is_wanted: &dyn Fn(u64) -> bool,
    ) -> Vec<Hit> {
        let hit = |row: usize| {
            let id = *self.ids.get(row)?;
            is_wanted(id).then(|| Hit { id, similarity: dot(query, self.row(row).unwrap_or_default()) })
        };
        let mut found: Vec<Hit> = rows.into_iter().filter_map(hit).filter(|hit| hit.similarity != 0.0).collect();
        let nearest = |a: &Hit, b: &Hit| b.similarity.total_cmp(&a.similarity).then(a.id.cmp(&b.id));
        if found.len() > most {
            found.select_nth_unstable_by(most, nearest);
            found.truncate(most);
        }
        found.sort_unstable_by(nearest);
        found
    }
}
