//! Cuts blocks of bytes into lines.
//!
//! A byte order mark at the beginning of an input is no part of its text. A line ends at `\n`; one `\r` before it belongs to the line end. The last line needs no `\n`. Lines
//! that lie within one block are handed out without copying. A line longer than [`MAX_LINE_BYTES`] is cut
//! there and counted: it stays one line, and memory stays bounded.

use std::ops::Range;

use memchr::memchr;

/// Longest line kept whole.
pub(crate) const MAX_LINE_BYTES: usize = 64 << 20;

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Capacity kept for the next line that crosses a block's end.
const KEPT_CAPACITY: usize = 1 << 20;

/// Cuts blocks into lines; carries the unfinished line from block to block.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    carry: Vec<u8>,
    is_begun: bool,
    cut: bool,
    cut_total: u64,
}

impl LineSplitter {
    /// Hands every line that ends in `block` to `each`, in order.
    pub(crate) fn push<E>(&mut self, block: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut rest = block;
        while let Some(end) = memchr(b'\n', rest) {
            if !self.is_begun {
                // Only a whole first line shows whether it begins with the mark.
                self.extend(&rest[..end]);
                self.hand_out(&mut each)?;
                rest = &rest[end + 1..];
                continue;
            }
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            if self.carry.is_empty() && line.len() <= MAX_LINE_BYTES {
                each(without_carriage_return(line))?;
            } else {
                self.extend(line);
                self.hand_out(&mut each)?;
            }
            rest = after;
        }
        self.extend(rest);
        Ok(())
    }

    /// Ends the input: hands out its last line if it had no `\n`.
    pub(crate) fn finish<E>(&mut self, mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let given = if self.carry.is_empty() { Ok(()) } else { self.hand_out(&mut each) };
        self.is_begun = false;
        given
    }

    /// Lines that were cut at [`MAX_LINE_BYTES`].
    pub(crate) fn cut_total(&self) -> u64 {
        self.cut_total
    }

    fn extend(&mut self, part: &[u8]) {
        let room = MAX_LINE_BYTES.saturating_sub(self.carry.len());
        self.cut |= part.len() > room;
        self.carry.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn hand_out<E>(&mut self, each: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.cut_total += u64::from(std::mem::take(&mut self.cut));
        let begun = std::mem::replace(&mut self.is_begun, true);
        let line = without_carriage_return(&self.carry);
        let given = each(if begun { line } else { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) });
        self.carry.clear();
        self.carry.shrink_to(KEPT_CAPACITY);
        given
    }
}

/// Lines kept in memory, one after another.
#[derive(Debug, Default)]
pub(crate) struct LineStore {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl LineStore {
    /// Keeps one more.
    pub(crate) fn push(&mut self, line: &[u8]) {
        self.text.extend_from_slice(line);
        self.ends.push(self.text.len());
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.range(0..self.len())
    }

    /// Those with these numbers, from 0.
    pub(crate) fn range(&self, numbers: Range<usize>) -> impl Iterator<Item = &[u8]> {
        numbers.filter_map(|number| self.get(number))
    }

    fn get(&self, number: usize) -> Option<&[u8]> {
        let start = number.checked_sub(1).map_or(Some(0), |above| self.ends.get(above).copied())?;
        self.text.get(start..*self.ends.get(number)?)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all of them together.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }
}

fn without_carriage_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn split(blocks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let mut splitter = LineSplitter::default();
        let mut keep = |line: &[u8]| -> Result<(), Infallible> {
            lines.push(line.to_vec());
            Ok(())
        };
        for block in blocks {
            splitter.push(block, &mut keep).unwrap();
        }
        splitter.finish(&mut keep).unwrap();
        lines
    }

    #[test]
    fn keeps_empty_lines_and_the_last_line_without_a_newline() {
        assert_eq!(split(&[b"a\n\nb"]), [b"a".to_vec(), b"".to_vec(), b"b".to_vec()]);
        assert_eq!(split(&[b"a\n"]), [b"a".to_vec()]);
        assert!(split(&[b""]).is_empty());
    }

    #[test]
    fn takes_a_carriage_return_for_part_of_the_line_end_only() {
        assert_eq!(split(&[b"a\r\nb\rc\r", b"\n\r\n"]), [b"a".to_vec(), b"b\rc".to_vec(), b"".to_vec()]);
    }

    #[test]
    fn a_byte_order_mark_is_taken_off_the_beginning_of_each_input_only() {
        assert_eq!(split(&[b"\xef", b"\xbb\xbfa\n\xef\xbb\xbfb"]), [b"a".to_vec(), b"\xef\xbb\xbfb".to_vec()]);
        assert_eq!(split(&[b"\xef\xbb\xbfa"]), [b"a".to_vec()]);
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for block in [&b"one"[..], b"\xef\xbb\xbftwo"] {
            let mut keep = |line: &[u8]| -> Result<(), Infallible> {
                lines.push(line.to_vec());
                Ok(())
            };
            splitter.push(block, &mut keep).unwrap();
            splitter.finish(&mut keep).unwrap();
        }
        assert_eq!(lines, [b"one".to_vec(), b"two".to_vec()]);
    }

    #[test]
    fn cuts_a_line_beyond_the_limit_and_counts_it() {
        let mut splitter = LineSplitter::default();
        let mut lengths = Vec::new();
        let mut keep = |line: &[u8]| -> Result<(), Infallible> {
            lengths.push(line.len());
            Ok(())
        };
        let block = vec![b'x'; MAX_LINE_BYTES / 2 + 1];
        splitter.push(&block, &mut keep).unwrap();
        splitter.push(&block, &mut keep).unwrap();
        splitter.push(b"x\nshort\n", &mut keep).unwrap();
        assert_eq!(lengths, [MAX_LINE_BYTES, 5]);
        assert_eq!(splitter.cut_total(), 1);
    }

    #[test]
    fn a_store_gives_its_lines_back_empty_ones_too() {
        let mut store = LineStore::default();
        for line in [&b"a"[..], b"", b"bc"] {
            store.push(line);
        }
        assert_eq!(store.iter().collect::<Vec<_>>(), [&b"a"[..], b"", b"bc"]);
        assert_eq!(store.range(1..9).collect::<Vec<_>>(), [&b""[..], b"bc"]);
        assert_eq!((store.len(), store.bytes()), (3, 3));
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_where_blocks_end(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), Just(0u8)], 0..64),
            cuts in proptest::collection::vec(0usize..64, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.sort_unstable();
            let mut blocks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                blocks.push(&text[from..cut]);
                from = cut;
            }
            blocks.push(&text[from..]);
            let mut naive: Vec<Vec<u8>> = text.split(|b| *b == b'\n')
                .map(|l| l.strip_suffix(b"\r").unwrap_or(l).to_vec()).collect();
            if text.is_empty() || text.ends_with(b"\n") { naive.pop(); }
            prop_assert_eq!(split(&blocks), naive);
        }
    }
}
