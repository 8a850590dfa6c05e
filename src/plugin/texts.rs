//! Texts of one event, kept in room that serves event after event.

use std::borrow::Cow;

use smallvec::SmallVec;

/// Bytes of room kept from event to event.
const MOST_BYTES_KEPT: usize = 64 << 10;

/// Of most events there are no more texts than this: they take no room of their own.
pub(super) type Shown<'t> = SmallVec<[Cow<'t, str>; 16]>;

/// Texts, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Texts {
    text: String,
    ends: Vec<usize>,
}

impl Texts {
    /// Replaces all of them.
    pub(super) fn set<'t>(&mut self, texts: impl Iterator<Item = Cow<'t, str>>) {
        self.text.clear();
        self.text.shrink_to(MOST_BYTES_KEPT);
        self.ends.clear();
        self.ends.shrink_to(MOST_BYTES_KEPT / size_of::<usize>());
        for text in texts {
            self.text.push_str(&text);
            self.ends.push(self.text.len());
        }
    }

    /// All of them, in order.
    pub(super) fn shown(&self) -> Shown<'_> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| Cow::Borrowed(self.text.get(start..*end).unwrap_or_default()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_was_set_last_and_keeps_bounded_room() {
        let mut texts = Texts::default();
        assert!(texts.shown().is_empty());
        texts.set(["a", "", "b\u{fffd}"].map(Cow::Borrowed).into_iter());
        assert_eq!(texts.shown().as_slice(), ["a", "", "b\u{fffd}"]);
        texts.set([Cow::Owned("x".repeat(1 << 20))].into_iter());
        texts.set(["c"].map(Cow::Borrowed).into_iter());
        assert_eq!(texts.shown().as_slice(), ["c"]);
        assert!(texts.text.capacity() <= MOST_BYTES_KEPT);
    }
}
