//! A few cells for each template: as many as were asked for at once, [`SLOTS`] at most.

use super::value::SLOTS;
use super::{StateError, StateReader};

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    start: u32,
    length: u8,
}

/// Cells by template slot and wildcard; freed runs are used again.
#[derive(Debug, Clone)]
pub(super) struct Runs<T> {
    places: Vec<Place>,
    cells: Vec<T>,
    free: [Vec<u32>; SLOTS + 1],
}

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self { places: Vec::new(), cells: Vec::new(), free: Default::default() }
    }
}

impl<T: Copy + Default> Runs<T> {
    /// The cells of a slot, `length` of them at least.
    #[inline]
    pub(super) fn of(&mut self, slot: usize, length: usize) -> &mut [T] {
        let place = match self.places.get(slot) {
            Some(place) if usize::from(place.length) >= length => *place,
            _ => self.allocate(slot, length),
        };
        self.cells.get_mut(place.start as usize..place.start as usize + usize::from(place.length)).unwrap_or_default()
    }

    /// The cells of a slot, none when it has none yet.
    #[inline]
    pub(super) fn get(&self, slot: usize) -> &[T] {
        let place = self.places.get(slot).copied().unwrap_or_default();
        self.cells.get(place.start as usize..place.start as usize + usize::from(place.length)).unwrap_or_default()
    }

    /// One more than the highest slot that has cells, or more.
    pub(super) fn slots(&self) -> usize {
        self.places.len()
    }

    #[cold]
    fn allocate(&mut self, slot: usize, length: usize) -> Place {
        let length = length.min(SLOTS);
        let before = self.places.get(slot).copied().unwrap_or_default();
        if usize::from(before.length) >= length && slot < self.places.len() {
            return before;
        }
        if slot >= self.places.len() {
            self.places.resize(slot + 1, Place::default());
        }
        let start = match self.free.get_mut(length).and_then(Vec::pop) {
            Some(start) => start,
            None => {
                self.cells.resize(self.cells.len() + length, T::default());
                (self.cells.len() - length) as u32
            }
        };
        let place = Place { start, length: length as u8 };
        // What was known moves along.
        let old = before.start as usize..before.start as usize + usize::from(before.length);
        self.cells.copy_within(old.clone(), start as usize);
        self.cells.get_mut(old).unwrap_or_default().fill(T::default());
        if let Some(free) = self.free.get_mut(usize::from(before.length)).filter(|_| before.length > 0) {
            free.push(before.start);
        }
        if let Some(entry) = self.places.get_mut(slot) {
            *entry = place;
        }
        place
    }

    /// The slot has no cells any more.
    pub(super) fn forget(&mut self, slot: usize) {
        self.of(slot, 0).fill(T::default());
        if let Some(place) = self.places.get_mut(slot).map(std::mem::take)
            && let Some(free) = self.free.get_mut(usize::from(place.length)).filter(|_| place.length > 0)
        {
            free.push(place.start);
        }
    }

    /// Appends all cells, by slot.
    pub(super) fn checkpoint(&self, out: &mut Vec<u8>, put: impl Fn(&T, &mut Vec<u8>)) {
        let used = self.places.iter().enumerate().filter(|(_, place)| place.length > 0);
        out.extend_from_slice(&(used.clone().count() as u32).to_le_bytes());
        for (slot, place) in used {
            out.extend_from_slice(&(slot as u32).to_le_bytes());
            out.extend_from_slice(&u32::from(place.length).to_le_bytes());
            self.get(slot).iter().for_each(|cell| put(cell, out));
        }
    }

    /// Takes in what [`Self::checkpoint`] wrote; `size` is how many bytes a cell takes at least.
    pub(super) fn restore(
        from: &mut StateReader<'_>,
        what: &'static str,
        size: usize,
        read: impl Fn(&mut StateReader<'_>) -> Result<T, StateError>,
    ) -> Result<Self, StateError> {
        let mut runs = Self::default();
        for _ in 0..from.length(what, super::MOST_TEMPLATES, 8 + size)? {
            let slot = from.index(what, super::MOST_TEMPLATES)?;
            let length = from.length(what, SLOTS, size)?;
            for place in 0..length {
                let cell = read(from)?;
                if let Some(entry) = runs.of(slot, length).get_mut(place) {
                    *entry = cell;
                }
            }
        }
        Ok(runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_grow_with_what_is_known_and_freed_ones_are_used_again() {
        let mut runs = Runs::<u32>::default();
        runs.of(5, 3).fill(7);
        assert_eq!(runs.of(5, 2).len(), 3);
        assert_eq!(runs.get(4).len(), 0);
        assert_eq!(runs.of(5, 5), [7, 7, 7, 0, 0]);
        assert_eq!(runs.of(6, 3), [0, 0, 0], "where it was is empty");
        runs.forget(6);
        assert_eq!(runs.of(9, 3), [0, 0, 0]);
        runs.forget(5);
        assert_eq!(runs.of(8, 5), [0; 5]);
        assert_eq!(runs.cells.len(), 8);
        assert_eq!(runs.of(1, 100).len(), SLOTS);
    }
}
