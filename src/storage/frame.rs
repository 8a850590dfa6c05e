//! Records in a file: each checked by itself, each findable after damage.
//!
//! ```text
//! offset size
//!      0    2  marker  F5 0D (F5 occurs in no UTF-8 text)
//!      2    2  check   low half of crc32c(seed, bytes 4..13)
//!      4    4  len     bytes of payload, at most 16 MiB
//!      8    4  crc     crc32c(seed, kind ‖ payload)
//!     12    1  kind
//!     13  len  payload
//! ```
//!
//! `crc32c(seed, x)` continues a checksum from `seed`. The seed belongs to the file (for a WAL segment the checksum of its header),
//! so a frame copied from elsewhere, or spelt out in the text of a log message, is not one here.
//!
//! **Damage.** Where a frame does not check out, the decoder looks for the next marker whose check and crc both hold. When there is
//! one, the bytes between are [`Step::Damaged`]; when there is none, what remains is a [`Step::TornTail`], as a crash in the middle of a
//! write leaves it. A damaged last frame looks like a torn one: both are lost. The check keeps the search linear: a payload
//! made of markers costs two checksums of 9 bytes a marker, not one of a payload.
//!
//! **Not protected:** whole frames missing at the end; frames missing between two valid ones. Payloads that must notice carry numbers.

use memchr::memmem;

use super::bytes::ByteReader;

/// First bytes of every frame.
pub const MARKER: [u8; 2] = [0xf5, 0x0d];
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 13;
/// Largest payload.
pub const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: u8,
    /// The content.
    pub payload: &'a [u8],
    /// Where the frame starts.
    pub offset: usize,
}

/// What the decoder found next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A frame that checks out.
    Frame(Frame<'a>),
    /// Bytes from `offset` that are no frame; the next one starts at `skipped_to`.
    Damaged {
        /// Where the damage starts.
        offset: usize,
        /// Where the next valid frame starts.
        skipped_to: usize,
    },
    /// No valid frame starts at or after `offset`, though bytes are left. Always the last step.
    TornTail {
        /// Where the valid part ends.
        offset: usize,
    },
}

/// Appends one frame. The payload must not exceed [`MAX_PAYLOAD_BYTES`]; a longer one would be read as damage.
pub fn put(out: &mut Vec<u8>, seed: u32, kind: u8, payload: &[u8]) {
    let start = begin(out, kind);
    out.extend_from_slice(payload);
    finish(out, seed, start);
}

/// Opens a frame whose payload is pushed onto `out` next; returns where it starts.
pub(crate) fn begin(out: &mut Vec<u8>, kind: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&[0; HEADER_BYTES - 3]);
    out.push(kind);
    start
}

/// Closes the frame opened at `start`: everything pushed since is its payload.
pub(crate) fn finish(out: &mut [u8], seed: u32, start: usize) {
    let frame = out.get_mut(start..).and_then(<[u8]>::split_first_chunk_mut::<HEADER_BYTES>);
    if let Some((header, payload)) = frame {
        let kind = header[HEADER_BYTES - 1];
        header[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        header[8..12].copy_from_slice(&payload_crc(seed, kind, payload).to_le_bytes());
        let check = header_check(seed, header);
        header[2..4].copy_from_slice(&check.to_le_bytes());
    }
}

fn payload_crc(seed: u32, kind: u8, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &[kind]), payload)
}

fn header_check(seed: u32, header: &[u8; HEADER_BYTES]) -> u16 {
    let [_, _, _, _, checked @ ..] = header;
    crc32c::crc32c_append(seed, checked) as u16
}

/// The frame at the start of `bytes`, when there is a valid one.
pub fn parse(bytes: &[u8], seed: u32) -> Option<(u8, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let mut reader = ByteReader::new(header);
    let (marker, check, len) = (reader.array::<2>()?, reader.u16()?, reader.u32()? as usize);
    let (crc, kind) = (reader.u32()?, reader.u8()?);
    if marker != MARKER || len > MAX_PAYLOAD_BYTES || check != header_check(seed, header) {
        return None;
    }
    let payload = rest.get(..len)?;
    (crc == payload_crc(seed, kind, payload)).then_some((kind, payload))
}

/// Steps through the frames of a file.
#[derive(Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    seed: u32,
    offset: usize,
}

impl<'a> Frames<'a> {
    /// Reads `bytes` from `offset` on; offsets reported count from the start of `bytes`.
    pub const fn new(bytes: &'a [u8], seed: u32, offset: usize) -> Self {
        Self { bytes, seed, offset }
    }

    fn frame_at(&self, offset: usize) -> Option<Frame<'a>> {
        let (kind, payload) = parse(self.bytes.get(offset..)?, self.seed)?;
        Some(Frame { kind, payload, offset })
    }

    fn next_valid(&self, after: usize) -> Option<usize> {
        let from = after + 1;
        memmem::find_iter(self.bytes.get(from..)?, &MARKER)
            .map(|found| from + found)
            .find(|&offset| self.frame_at(offset).is_some())
    }

    fn resync(&mut self) -> Step<'a> {
        let offset = self.offset;
        match self.next_valid(offset) {
            Some(skipped_to) => {
                self.offset = skipped_to;
                Step::Damaged { offset, skipped_to }
            }
            None => {
                self.offset = self.bytes.len();
                Step::TornTail { offset }
            }
        }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        if self.offset >= self.bytes.len() {
            return None;
        }
        let Some(frame) = self.frame_at(self.offset) else {
            return Some(self.resync());
        };
        self.offset += HEADER_BYTES + frame.payload.len();
        Some(Step::Frame(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEED: u32 = 0x1234_5678;

    fn three() -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, SEED, 1, b"first");
        put(&mut out, SEED, 2, b"");
        put(&mut out, SEED, 3, b"third");
        out
    }

    fn payloads(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let frame = |step| match step {
            Step::Frame(frame) => Some((frame.kind, frame.payload.to_vec())),
            _ => None,
        };
        Frames::new(bytes, SEED, 0).filter_map(frame).collect()
    }

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        put(&mut out, 0, 7, b"abc");
        assert_eq!(out, [0xf5, 0x0d, 0x8a, 0x58, 3, 0, 0, 0, 0xc0, 0x6f, 0x48, 0x07, 7, b'a', b'b', b'c']);
    }

    #[test]
    fn a_flipped_byte_costs_exactly_its_frame() {
        let good = three();
        let expected = payloads(&good);
        for offset in 0..good.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[offset] ^= mask;
                let hit = [18, 31, 49].iter().position(|&end| offset < end).unwrap();
                let mut kept = expected.clone();
                kept.remove(hit);
                assert_eq!(payloads(&bad), kept, "byte {offset}");
                let steps: Vec<_> = Frames::new(&bad, SEED, 0).collect();
                let torn = matches!(steps.last(), Some(Step::TornTail { offset: 31 }));
                assert_eq!(torn, hit == 2, "{steps:?}");
            }
        }
    }

    #[test]
    fn a_cut_file_keeps_every_full_frame() {
        let good = three();
        for length in 0..=good.len() {
            let steps: Vec<_> = Frames::new(&good[..length], SEED, 0).collect();
            let full = [18, 31, 49].iter().filter(|&&end| end <= length).count();
            let whole = [0, 18, 31, 49].contains(&length);
            assert_eq!(steps.len(), full + usize::from(!whole), "{length}: {steps:?}");
            let frames = steps.iter().filter(|step| matches!(step, Step::Frame(_))).count();
            assert_eq!(frames, full);
        }
    }

    #[test]
    fn a_frame_inside_a_payload_is_not_found_without_the_seed() {
        let mut inner = Vec::new();
        put(&mut inner, 0, 9, b"forged");
        let mut out = Vec::new();
        put(&mut out, SEED, 1, &inner);
        out[4] ^= 1;
        assert_eq!(Frames::new(&out, SEED, 0).collect::<Vec<_>>(), [Step::TornTail { offset: 0 }]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let mut noisy = bytes.clone();
            put(&mut noisy, SEED, 4, &bytes);
            let last = Frames::new(&noisy, SEED, 0).last();
            let expected = Frame { kind: 4, payload: &bytes[..], offset: bytes.len() };
            prop_assert_eq!(last, Some(Step::Frame(expected)));
        }
    }
}
