//! The template store as bytes, for a checkpoint.
//!
//! Little endian. `text` is the bytes of the template, `hash` the skeletons that lead to it:
//!
//! ```text
//! entries: u32 | entry*       by age, oldest first
//! entry:   slot u32 | flags u8 (1 generalised, 2 met, 4 founded, 8 words) | id u64
//!          | text: u32 length, bytes | kinds: u32 count, u8* | aliases: u32 count, u64* | hashes: u32 count, u64*
//!          | words: u64, with flag 8: a bit for each token that a merge made a wildcard of
//! free:    u32 count | slot u32*
//! queues:  u32 count | slot u32* (small) | u32 count | slot u32* (main)
//! totals:  merged u64 | evicted u64
//! ```
//!
//! The table of similar templates is not kept: it is entered anew, in order of age.

use super::Slot;

/// A store's bytes cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template image at byte {offset}: expected {expected}")]
pub struct ImageError {
    pub(super) offset: usize,
    pub(super) expected: &'static str,
}

/// One template, as kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryImage {
    pub(super) slot: Slot,
    pub(super) generalised: bool,
    pub(super) met: bool,
    pub(super) founded: bool,
    /// 0 when not kept.
    pub(super) words: u64,
    pub(super) id: u64,
    pub(super) text: Vec<u8>,
    /// [`Kind::to_byte`](super::Kind) of each wildcard, as far as known.
    pub(super) kinds: Vec<u8>,
    pub(super) aliases: Vec<u64>,
    pub(super) skeletons: Vec<u64>,
}

/// A whole store, as kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StoreImage {
    pub(super) entries: Vec<EntryImage>,
    pub(super) free: Vec<Slot>,
    pub(super) small: Vec<Slot>,
    pub(super) main: Vec<Slot>,
    pub(super) merged: u64,
    pub(super) evicted: u64,
}

impl StoreImage {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_u32(out, self.entries.len());
        self.entries.iter().for_each(|entry| entry.write(out));
        self.write_rest(out);
    }

    /// As [`Self::write`], with entries that are made one after the other in place of the image's own: a store has no need of a second one of all its
    /// texts.
    pub(super) fn write_with(&self, entries: impl ExactSizeIterator<Item = EntryImage>, out: &mut Vec<u8>) {
        put_u32(out, entries.len());
        entries.for_each(|entry| entry.write(out));
        self.write_rest(out);
    }

    fn write_rest(&self, out: &mut Vec<u8>) {
        for slots in [&self.free, &self.small, &self.main] {
            put_u32(out, slots.len());
            slots.iter().for_each(|slot| out.extend_from_slice(&slot.0.to_le_bytes()));
        }
        out.extend_from_slice(&self.merged.to_le_bytes());
        out.extend_from_slice(&self.evicted.to_le_bytes());
    }

    /// Checks lengths, and that each slot is below `capacity` and named once.
    pub(super) fn read(bytes: &[u8], capacity: usize) -> Result<Self, ImageError> {
        let mut from = Reader { bytes, at: 0, capacity };
        let count = from.count(29, "the number of templates")?;
        let entries = (0..count).map(|_| from.entry()).collect::<Result<Vec<_>, _>>()?;
        let image = Self {
            entries,
            free: from.slots()?,
            small: from.slots()?,
            main: from.slots()?,
            merged: from.u64()?,
            evicted: from.u64()?,
        };
        image.check().map_err(|expected| ImageError { offset: from.at, expected })?;
        Ok(image)
    }

    /// Slots named: one more than the highest.
    pub(super) fn slots(&self) -> usize {
        let named = self.entries.iter().map(|entry| entry.slot).chain(self.free.iter().copied());
        named.map(|slot| slot.index() + 1).max().unwrap_or(0)
    }

    /// Ids that lead to a template.
    pub(super) fn ids(&self) -> usize {
        self.entries.iter().map(|entry| 1 + entry.aliases.len()).sum()
    }

    fn check(&self) -> Result<(), &'static str> {
        let capacity = self.slots();
        let mut in_use = vec![false; capacity];
        let mut take = |slot: Slot| in_use.get_mut(slot.index()).is_some_and(|used| !std::mem::replace(used, true));
        if !self.entries.iter().map(|entry| entry.slot).chain(self.free.iter().copied()).all(&mut take) {
            return Err("each slot once");
        }
        let mut queued = vec![false; capacity];
        let mut enqueue = |slot: Slot| queued.get_mut(slot.index()).is_some_and(|seen| !std::mem::replace(seen, true));
        if !self.small.iter().chain(&self.main).copied().all(&mut enqueue) {
            return Err("each slot in one queue");
        }
        let live = self.entries.iter().all(|entry| queued.get(entry.slot.index()).copied().unwrap_or(false));
        if live && self.small.len() + self.main.len() == self.entries.len() {
            Ok(())
        } else {
            Err("each template, and nothing else, in a queue")
        }
    }
}

impl EntryImage {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.slot.0.to_le_bytes());
        let flags = [self.generalised, self.met, self.founded, self.words != 0];
        out.push(flags.iter().rev().fold(0, |byte, flag| byte << 1 | u8::from(*flag)));
        out.extend_from_slice(&self.id.to_le_bytes());
        for bytes in [&self.text, &self.kinds] {
            put_u32(out, bytes.len());
            out.extend_from_slice(bytes);
        }
        for values in [&self.aliases, &self.skeletons] {
            put_u32(out, values.len());
            values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        }
        if self.words != 0 {
            out.extend_from_slice(&self.words.to_le_bytes());
        }
    }
}

fn put_u32(out: &mut Vec<u8>, value: usize) {
    out.extend_from_slice(&(value as u32).to_le_bytes());
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    capacity: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize, expected: &'static str) -> Result<&[u8], ImageError> {
        let error = ImageError { offset: self.at, expected };
        let end = self.at.checked_add(count).ok_or(error.clone())?;
        let found = self.bytes.get(self.at..end).ok_or(error)?;
        self.at = end;
        Ok(found)
    }

    fn u32(&mut self) -> Result<u32, ImageError> {
        Ok(self.take(4, "four more bytes")?.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)))
    }

    fn u64(&mut self) -> Result<u64, ImageError> {
        Ok(self.take(8, "eight more bytes")?.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    /// A count of things of `size` bytes or more each, which must fit into what is left.
    fn count(&mut self, size: usize, expected: &'static str) -> Result<usize, ImageError> {
        let offset = self.at;
        let count = self.u32()? as usize;
        let left = self.bytes.len() - self.at;
        if count.saturating_mul(size) <= left { Ok(count) } else { Err(ImageError { offset, expected }) }
    }

    fn slot(&mut self) -> Result<Slot, ImageError> {
        let offset = self.at;
        let slot = Slot(self.u32()?);
        if slot.index() < self.capacity {
            Ok(slot)
        } else {
            Err(ImageError { offset, expected: "a slot below max_templates" })
        }
    }

    fn slots(&mut self) -> Result<Vec<Slot>, ImageError> {
        let count = self.count(4, "a list of slots")?;
        (0..count).map(|_| self.slot()).collect()
    }

    fn u64s(&mut self) -> Result<Vec<u64>, ImageError> {
        let count = self.count(8, "a list of numbers")?;
        (0..count).map(|_| self.u64()).collect()
    }

    fn bytes(&mut self, expected: &'static str) -> Result<Vec<u8>, ImageError> {
        let length = self.count(1, expected)?;
        Ok(self.take(length, expected)?.to_vec())
    }

    fn entry(&mut self) -> Result<EntryImage, ImageError> {
        let slot = self.slot()?;
        let flags = self.take(1, "flags")?.first().copied().unwrap_or(0);
        let id = self.u64()?;
        let text = self.bytes("a text")?;
        let kinds = self.bytes("kinds of wildcards")?;
        let aliases = self.u64s()?;
        let skeletons = self.u64s()?;
        let words = if flags & 8 != 0 { self.u64()? } else { 0 };
        Ok(EntryImage {
            slot,
            generalised: flags & 1 != 0,
            met: flags & 2 != 0,
            founded: flags & 4 != 0,
            words,
            id,
            text,
            kinds,
            aliases,
            skeletons,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> StoreImage {
        let entry = |slot, id| EntryImage {
            slot: Slot(slot),
            generalised: slot == 0,
            met: true,
            founded: true,
            words: if slot == 0 { 2 } else { 0 },
            id,
            text: b"took <*> ms".to_vec(),
            kinds: vec![1],
            aliases: vec![7, 8],
            skeletons: vec![id],
        };
        StoreImage {
            entries: vec![entry(0, 1), entry(2, 2)],
            free: vec![Slot(1)],
            small: vec![Slot(2)],
            main: vec![Slot(0)],
            merged: 5,
            evicted: 6,
        }
    }

    #[test]
    fn bytes_are_as_the_head_comment_says() {
        let mut out = Vec::new();
        StoreImage { entries: image().entries[..1].to_vec(), ..StoreImage::default() }.write(&mut out);
        let expected: &[&[u8]] = &[
            &[1, 0, 0, 0],
            &[0, 0, 0, 0, 15],
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &[11, 0, 0, 0],
            b"took <*> ms",
            &[1, 0, 0, 0, 1],
            &[2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0, 0, 0, 0, 0, 0],
            &[0; 12],
            &[0; 16],
        ];
        assert_eq!(out, expected.concat());
    }

    #[test]
    fn reads_back_what_it_wrote_and_refuses_every_cut_and_every_wrong_slot() {
        let mut out = Vec::new();
        image().write(&mut out);
        assert_eq!(StoreImage::read(&out, 3), Ok(image()));
        for cut in 0..out.len() {
            assert!(StoreImage::read(&out[..cut], 3).is_err(), "cut at {cut}");
        }
        assert!(StoreImage::read(&out, 2).is_err(), "a slot beyond the capacity");
        let mut twice = image();
        twice.free = vec![Slot(2)];
        let mut out = Vec::new();
        twice.write(&mut out);
        assert_eq!(StoreImage::read(&out, 3).unwrap_err().expected, "each slot once");
    }
}
