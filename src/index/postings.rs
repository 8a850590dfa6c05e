//! For each dimension the rows whose number in it is not zero. Of hashed texts most numbers are zero, so that what a query has in common with all rows is
//! added up in a tenth of the steps that looking at each takes, and a tenth of the memory is read (Bayardo, Ma and Srikant, "Scaling Up All Pairs Similarity Search",
//! WWW 2007).
//!
//! Rows stand in the lists under a number of their own, which none has had before: that of one that was replaced or removed is crossed out, and when most
//! are, the lists are made anew of the table.

use super::table::Table;

/// Numbers crossed out beyond as many as there are rows, until the lists are made anew.
const MOST_GONE: usize = 64;
/// A number that is crossed out.
const GONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Posting {
    number: u32,
    cell: f32,
}

/// Lists by dimension.
#[derive(Debug, Clone)]
pub(super) struct Postings {
    lists: Vec<Vec<Posting>>,
    /// By number.
    rows: Vec<u32>,
    /// By row.
    numbers: Vec<u32>,
}

impl Postings {
    /// Of all rows of a table.
    pub(super) fn of(table: &Table) -> Self {
        let mut postings = Self {
            lists: vec![Vec::new(); table.dimensions()],
            rows: Vec::new(),
            numbers: Vec::with_capacity(table.len()),
        };
        (0..table.len()).filter_map(|row| table.row(row)).for_each(|vector| postings.push(vector));
        postings
    }

    /// Numbers given since the lists were made, those crossed out among them.
    #[cfg(test)]
    pub(super) fn numbers(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let cells: usize = self.lists.iter().map(Vec::capacity).sum();
        cells * size_of::<Posting>()
            + self.lists.capacity() * size_of::<Vec<Posting>>()
            + (self.rows.capacity() + self.numbers.capacity()) * size_of::<u32>()
    }

    /// The next row.
    pub(super) fn push(&mut self, vector: &[f32]) {
        let row = self.numbers.len() as u32;
        let number = self.list(row, vector);
        self.numbers.push(number);
    }

    /// Another vector in a row's place.
    pub(super) fn replace(&mut self, row: usize, vector: &[f32]) {
        let number = self.list(row as u32, vector);
        if let Some(former) = self.numbers.get_mut(row).map(|place| std::mem::replace(place, number)) {
            self.set_row(former, GONE);
        }
    }

    /// Puts the last row in place of this one.
    pub(super) fn swap_remove(&mut self, row: usize) {
        if row < self.numbers.len() {
            let gone = self.numbers.swap_remove(row);
            self.set_row(gone, GONE);
        }
        if let Some(moved) = self.numbers.get(row).copied() {
            self.set_row(moved, row as u32);
        }
    }

    fn list(&mut self, row: u32, vector: &[f32]) -> u32 {
        let number = self.rows.len() as u32;
        self.rows.push(row);
        for (list, cell) in self.lists.iter_mut().zip(vector).filter(|(_, cell)| **cell != 0.0) {
            list.push(Posting { number, cell: *cell });
        }
        number
    }

    fn set_row(&mut self, number: u32, row: u32) {
        if let Some(place) = self.rows.get_mut(number as usize) {
            *place = row;
        }
    }

    /// Makes the lists anew when most of what they hold is crossed out.
    pub(super) fn tidy(&mut self, table: &Table) {
        if self.rows.len() > 2 * self.numbers.len() + MOST_GONE {
            *self = Self::of(table);
        }
    }

    /// The rows whose product with `query` is at least so much, in no order, and some that are just below.
    pub(super) fn at_least(&self, least: f32, query: &[f32]) -> Vec<usize> {
        let mut sums = vec![0.0f32; self.rows.len()];
        for (list, asked) in self.lists.iter().zip(query).filter(|(_, asked)| **asked != 0.0) {
            for Posting { number, cell } in list {
                if let Some(sum) = sums.get_mut(*number as usize) {
                    *sum += cell * asked;
                }
            }
        }
        // Sums are those of the table but for rounding: of each product of two unit vectors, and of each sum.
        let least = least - 2.0 * query.len() as f32 * f32::EPSILON;
        let found = self.rows.iter().zip(sums).filter(|(row, sum)| **row != GONE && *sum >= least);
        found.map(|(row, _)| *row as usize).collect()
    }
}
