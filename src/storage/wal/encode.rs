//! Records to frames, on the hot path: no I/O, and no allocation once warm.
//!
//! Every payload starts with `first_record varint | first_event varint`: how many records and events of this lane and run come
//! before it. Then, by kind of frame:
//!
//! ```text
//! 1 events     start u8 (1: begins a block, 0: continues it) | event…
//! 2 template   id u64 | first_seen zigzag µs | text
//! 3 decision   kind u8 | payload
//!
//! event: head u8 | time | template | stream | meta | statistic | values
//!   head bits 0–1  statistic: 0 as before, 1 the low two bytes, 2 the high two, 3 all four
//!        bits 2–3  time: 0 as before, 1 zigzag varint µs, 2 zigzag varint ms; 3 is not used
//!        bit  4    stream: 1 given, 0 as before
//!        bit  5    meta: 1 given (severity u8, flags u8), 0 as before; of the flags, bit 7 is the format's own: this and the events after it
//!                  of the template have values
//!        bit  6    template: 1 new (id u64, becomes the next number), 0 known (number varint)
//!        bit  7    stream given is: 1 new (key u64, becomes the next number), 0 known (number varint)
//!   time       difference to the event before, wrapping
//!   statistic  bytes of its bits XOR those before
//!   values     varint with a bit for each of 16 bytes that is not as before, then those bytes; nothing when bit 7 of the flags is 0: all are 0
//! ```
//!
//! "Before" is, for time and stream, the event before, and for meta, statistic and values, the event before *of that template*; at the start of a
//! block all of it is zero and both dictionaries are empty. A block ends after 256 KiB, so that damage costs one block and not the rest of the
//! segment: a decoder that missed a record decodes no events until the next block begins. Templates and decisions stand alone.
//!
//! A record of a template comes before the first event that carries its id when the caller defines it first; nothing here checks that.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::segment::SegmentHeader;
use super::{Position, VALUES, WalEvent};
use crate::event::{StreamKey, TemplateId, Timestamp};
use crate::storage::error::StorageError;
use crate::storage::{frame, varint};

pub(crate) const KIND_EVENTS: u8 = 1;
pub(crate) const KIND_TEMPLATE: u8 = 2;
pub(crate) const KIND_DECISION: u8 = 3;

pub(crate) const BLOCK_STARTS: u8 = 1;
pub(crate) const BLOCK_CONTINUES: u8 = 0;

pub(crate) const STATISTIC_MASK: u8 = 0b11;
pub(crate) const TIME_SHIFT: u8 = 2;
pub(crate) const TIME_MASK: u8 = 0b11 << TIME_SHIFT;
pub(crate) const TIME_SAME: u8 = 0;
pub(crate) const TIME_MICROS: u8 = 1 << TIME_SHIFT;
pub(crate) const TIME_MILLIS: u8 = 2 << TIME_SHIFT;
pub(crate) const STREAM_GIVEN: u8 = 1 << 4;
pub(crate) const META_GIVEN: u8 = 1 << 5;
pub(crate) const TEMPLATE_NEW: u8 = 1 << 6;
pub(crate) const STREAM_NEW: u8 = 1 << 7;

/// Flag of the format: the template's events have values.
pub(crate) const HAS_VALUES: u8 = 1 << 7;

/// Most bytes one event takes.
const MAX_EVENT_BYTES: usize = 1 + varint::MAX_BYTES + 8 + 8 + 2 + 4 + varint::MAX_BYTES + VALUES;
/// Events are encoded so many at a time: one after the other they take half the time that they take between looking up and scoring others.
const MOST_WAITING: usize = 64;
/// A frame of events is closed once it holds this many bytes.
const FRAME_BYTES: usize = 32 << 10;
/// A block is closed once it holds this many bytes.
const BLOCK_BYTES: usize = 256 << 10;
/// Slots beyond are encoded without memory of the event before: correct, only longer.
const MAX_SLOTS: u32 = 1 << 22;
/// Most bytes of a template's text or a decision's payload.
pub const MAX_CONTENT_BYTES: usize = frame::MAX_PAYLOAD_BYTES - 64;

/// What the encoder remembers of a template within a block.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    template: TemplateId,
    /// The block this is of; 0 is none.
    block: u32,
    number: u32,
    statistic: u32,
    meta: [u8; 2],
    values: [u8; VALUES],
}

/// Turns records into frames. One a lane; its output goes to the [`LaneWal`](super::LaneWal) of that lane, in order.
#[derive(Debug)]
pub struct WalEncoder {
    header: SegmentHeader,
    seed: u32,
    /// Events that are not encoded yet, with their slots.
    waiting: Vec<(u32, WalEvent)>,
    buffer: Vec<u8>,
    /// Start of the open frame of events.
    open: Option<usize>,
    next: Position,
    next_event: u64,
    block: u32,
    block_bytes: usize,
    block_is_new: bool,
    slots: Vec<Slot>,
    templates: u32,
    streams: HashMap<StreamKey, u32, FixedState>,
    stream: StreamKey,
    time: i64,
}

impl WalEncoder {
    /// An encoder for the first segment of a run; records count from 0.
    pub fn new(header: SegmentHeader) -> Self {
        Self {
            header,
            seed: header.seed(),
            waiting: Vec::with_capacity(MOST_WAITING),
            buffer: Vec::new(),
            open: None,
            next: Position { run: header.run, record: 0 },
            next_event: 0,
            block: 1,
            block_bytes: 0,
            block_is_new: true,
            slots: Vec::new(),
            templates: 0,
            streams: HashMap::default(),
            stream: StreamKey::default(),
            time: 0,
        }
    }

    /// Everything from here on belongs to the segment `header`, which the writer must rotate to as well; numbers go on.
    ///
    /// Returns what was finished for the segment before: append it before rotating.
    pub fn begin_segment(&mut self, header: SegmentHeader, spare: Vec<u8>) -> Vec<u8> {
        let finished = self.take(spare);
        self.header = header;
        self.seed = header.seed();
        self.begin_block();
        finished
    }

    /// Starts afresh, as needed after frames could not be appended: what follows decodes without them.
    pub fn begin_block(&mut self) {
        self.close_frame();
        self.reset_block();
    }

    fn reset_block(&mut self) {
        self.block_bytes = 0;
        self.block_is_new = true;
        self.templates = 0;
        self.streams.clear();
        self.stream = StreamKey::default();
        self.time = 0;
        self.block = self.block.checked_add(1).unwrap_or_else(|| {
            self.slots.clear();
            1
        });
    }

    /// The segment everything goes to now.
    pub const fn header(&self) -> SegmentHeader {
        self.header
    }

    /// Position of the next record: a checkpoint that holds everything so far keeps it.
    pub const fn position(&self) -> Position {
        Position { run: self.next.run, record: self.next.record + self.waiting.len() as u64 }
    }

    /// Number of the next event in this lane and run.
    pub const fn next_event(&self) -> u64 {
        self.next_event + self.waiting.len() as u64
    }

    /// Bytes waiting for [`Self::take`]; events that are not encoded yet count as one each.
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len() + self.waiting.len()
    }

    /// All frames since the last time. `spare` becomes the next buffer; hand back one that was appended, and nothing is allocated.
    pub fn take(&mut self, mut spare: Vec<u8>) -> Vec<u8> {
        self.close_frame();
        spare.clear();
        std::mem::replace(&mut self.buffer, spare)
    }

    /// Records a template: its text or skeleton, as replay wants it back. Fails, and records nothing, beyond [`MAX_CONTENT_BYTES`].
    pub fn define_template(&mut self, id: TemplateId, text: &[u8], first_seen: Timestamp) -> Result<(), StorageError> {
        check_size("the text of a template", text)?;
        self.close_frame();
        let start = self.begin_frame(KIND_TEMPLATE);
        self.buffer.extend_from_slice(&id.0.to_le_bytes());
        varint::put_signed(&mut self.buffer, first_seen.0);
        self.buffer.extend_from_slice(text);
        self.finish_single(start);
        Ok(())
    }

    /// Records something replay cannot work out again. Fails, and records nothing, beyond [`MAX_CONTENT_BYTES`].
    pub fn decision(&mut self, kind: u8, payload: &[u8]) -> Result<(), StorageError> {
        check_size("a decision", payload)?;
        self.close_frame();
        let start = self.begin_frame(KIND_DECISION);
        self.buffer.push(kind);
        self.buffer.extend_from_slice(payload);
        self.finish_single(start);
        Ok(())
    }

    /// Records an event. `slot` is the caller's small, dense number for the template; it may be given to another template later.
    #[inline]
    pub fn event(&mut self, slot: u32, event: &WalEvent) {
        self.waiting.push((slot, *event));
        if self.waiting.len() == MOST_WAITING {
            self.encode_waiting();
        }
    }

    #[inline(never)]
    fn encode_waiting(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut rest = waiting.as_slice();
        while !rest.is_empty() {
            rest = self.encode(rest);
        }
        waiting.clear();
        self.waiting = waiting;
    }

    /// Encodes events up to the end of a frame; the rest.
    #[inline]
    fn encode<'e>(&mut self, events: &'e [(u32, WalEvent)]) -> &'e [(u32, WalEvent)] {
        let start = self.open.unwrap_or_else(|| self.open_events());
        let before = self.buffer.len();
        let is_full = |encoder: &Self| encoder.buffer.len() - start >= FRAME_BYTES;
        let mut rest = events;
        while let [(slot, event), later @ ..] = rest
            && !is_full(self)
        {
            self.put_event(*slot, event);
            rest = later;
        }
        let encoded = (events.len() - rest.len()) as u64;
        self.next.record += encoded;
        self.next_event += encoded;
        self.block_bytes += self.buffer.len() - before;
        if is_full(self) {
            self.finish_events();
        }
        rest
    }

    fn begin_frame(&mut self, kind: u8) -> usize {
        let start = frame::begin(&mut self.buffer, kind);
        varint::put(&mut self.buffer, self.next.record);
        varint::put(&mut self.buffer, self.next_event);
        start
    }

    fn finish_single(&mut self, start: usize) {
        frame::finish(&mut self.buffer, self.seed, start);
        self.next.record += 1;
    }

    /// Begins a frame of events; where it starts.
    #[cold]
    fn open_events(&mut self) -> usize {
        if self.block_bytes >= BLOCK_BYTES {
            self.reset_block();
        }
        let start = self.begin_frame(KIND_EVENTS);
        self.buffer.push(if self.block_is_new { BLOCK_STARTS } else { BLOCK_CONTINUES });
        self.block_is_new = false;
        *self.open.insert(start)
    }

    /// Encodes what waits, and closes the frame it went to.
    fn close_frame(&mut self) {
        self.encode_waiting();
        self.finish_events();
    }

    fn finish_events(&mut self) {
        if let Some(start) = self.open.take() {
            frame::finish(&mut self.buffer, self.seed, start);
        }
    }

    #[inline]
    fn put_event(&mut self, slot: u32, event: &WalEvent) {
        let (time_head, time) = time_code(event.timestamp.0.wrapping_sub(self.time));
        self.time = event.timestamp.0;
        let (stream_head, stream) = self.stream_code(event.stream);
        let Self { slots, buffer: out, templates, block, .. } = self;
        let mut beyond = Slot::default();
        // What is remembered of the event's template, or the place for it, when it has to be introduced first.
        let (known, stale) = match slots.get_mut(slot as usize) {
            Some(known) if known.block == *block && known.template == event.template => (known, false),
            _ => {
                let known = room_for(slots, slot).unwrap_or(&mut beyond);
                *known = Slot { template: event.template, block: *block, number: *templates, ..Slot::default() };
                *templates += 1;
                (known, true)
            }
        };
        let any_value = u8::from(event.values != [0; VALUES]) * HAS_VALUES;
        let has_values = any_value | known.meta[1] & HAS_VALUES;
        let meta = [event.severity, event.flags & !HAS_VALUES | has_values];
        let xor = event.statistic.to_bits() ^ known.statistic;
        let (statistic_head, statistic, statistic_bytes) = statistic_code(xor);
        let mut head = statistic_head | time_head | stream_head;
        head |= if meta == known.meta { 0 } else { META_GIVEN };
        head |= if stale { TEMPLATE_NEW } else { 0 };

        out.reserve(MAX_EVENT_BYTES);
        if head & !STATISTIC_MASK == 0 && known.number < MOST_USUAL {
            put_usual(out, head, known.number, statistic, statistic_bytes);
        } else {
            out.push(head);
            if time_head != TIME_SAME {
                varint::put(out, time);
            }
            if stale {
                out.extend_from_slice(&event.template.0.to_le_bytes());
            } else {
                varint::put(out, u64::from(known.number));
            }
            if head & STREAM_NEW != 0 {
                out.extend_from_slice(&event.stream.0.to_le_bytes());
            } else if head & STREAM_GIVEN != 0 {
                varint::put(out, u64::from(stream));
            }
            if head & META_GIVEN != 0 {
                out.extend_from_slice(&meta);
            }
            put_first(out, statistic.to_le_bytes(), statistic_bytes);
        }
        if has_values != 0 {
            put_values(out, &known.values, &event.values);
        }
        (known.statistic, known.meta, known.values) = (event.statistic.to_bits(), meta, event.values);
    }

    #[inline]
    fn stream_code(&mut self, stream: StreamKey) -> (u8, u32) {
        if stream == self.stream {
            return (0, 0);
        }
        self.stream = stream;
        let next = self.streams.len() as u32;
        let number = *self.streams.entry(stream).or_insert(next);
        let head = if number == next { STREAM_GIVEN | STREAM_NEW } else { STREAM_GIVEN };
        (head, number)
    }
}

/// The place of a slot; none beyond [`MAX_SLOTS`].
#[cold]
fn room_for(slots: &mut Vec<Slot>, slot: u32) -> Option<&mut Slot> {
    if slot >= MAX_SLOTS {
        return None;
    }
    if slot as usize >= slots.len() {
        slots.resize(slot as usize + 1, Slot::default());
    }
    slots.get_mut(slot as usize)
}

fn check_size(what: &'static str, content: &[u8]) -> Result<(), StorageError> {
    if content.len() <= MAX_CONTENT_BYTES {
        return Ok(());
    }
    Err(StorageError::TooLarge { what, bytes: content.len() as u64, limit: MAX_CONTENT_BYTES as u64 })
}

#[inline]
fn time_code(delta: i64) -> (u8, u64) {
    match delta {
        0 => (TIME_SAME, 0),
        _ if delta % 1_000 == 0 => (TIME_MILLIS, varint::zigzag(delta / 1_000)),
        _ => (TIME_MICROS, varint::zigzag(delta)),
    }
}

/// In the head one bit for the low two bytes and one for the high two; what is given, and how many bytes of it.
#[inline]
fn statistic_code(xor: u32) -> (u8, u32, usize) {
    // Whether it changes is not foreseeable, so that there is no branch; that it has a lower half is, since none comes from a lane.
    let high = u8::from(xor >> 16 != 0);
    if xor & 0xffff == 0 {
        (high << 1, xor >> 16, usize::from(high) * 2)
    } else {
        (1 | high << 1, xor, 2 + usize::from(high) * 2)
    }
}

/// The first four without a branch: how many change is never foreseeable, that they are more is rare.
#[inline]
fn put_values(out: &mut Vec<u8>, before: &[u8; VALUES], values: &[u8; VALUES]) {
    const USUAL: usize = 4;
    let differing = differing_bytes(before, values);
    let (two, three) = (u32::from(differing >= 0x80), u32::from(differing >= 0x4000));
    let code = differing & 0x7f | two << 7 | (differing >> 7 & 0x7f | three << 7) << 8 | differing >> 14 << 16;
    let code_bytes = 1 + (two + three) as usize;
    let changed = differing.count_ones() as usize;
    let mut left = differing;
    let mut next = || {
        let place = left.trailing_zeros() as usize % VALUES;
        left &= left.wrapping_sub(1);
        values.get(place).copied().unwrap_or_default()
    };
    // What is beyond those that change is not kept.
    let usual = u32::from_le_bytes(std::array::from_fn::<u8, USUAL, _>(|_| next()));
    let packed = u64::from(code) | u64::from(usual) << (8 * code_bytes);
    put_first(out, packed.to_le_bytes(), code_bytes + changed.min(USUAL));
    (USUAL..changed).for_each(|_| out.push(next()));
}

/// A bit for each byte that differs, the first the lowest.
#[inline]
fn differing_bytes(before: &[u8; VALUES], values: &[u8; VALUES]) -> u32 {
    const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    // Of a number whose bytes are 0 or 1, the product's upper byte has a bit for each.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let xor = u128::from_le_bytes(*before) ^ u128::from_le_bytes(*values);
    let of = |half: u64| {
        let is_not_zero = ((half & LOW_BITS).wrapping_add(LOW_BITS) | half) >> 7 & (LOW_BITS / 0x7f);
        (is_not_zero.wrapping_mul(GATHER) >> 56) as u32
    };
    of(xor as u64) | of((xor >> 64) as u64) << 8
}

/// Numbers of templates whose varint takes two bytes at the most.
const MOST_USUAL: u32 = 1 << 14;

/// What most events are, all but their values: of a known template, at the time and on the stream of the event before. Seven bytes at the most, in one write.
#[inline]
fn put_usual(out: &mut Vec<u8>, head: u8, number: u32, statistic: u32, statistic_bytes: usize) {
    let is_long = number >= 0x80;
    let (code, code_bytes) = (number & 0x7f | u32::from(is_long) << 7 | number >> 7 << 8, 1 + usize::from(is_long));
    let packed = u64::from(head) | u64::from(code) << 8 | u64::from(statistic) << (8 + 8 * code_bytes);
    put_first(out, packed.to_le_bytes(), 1 + code_bytes + statistic_bytes);
}

/// Appends the first `count` bytes: all are written and the rest taken back, since a copy whose length is known takes an instruction.
#[inline]
fn put_first<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N], count: usize) {
    let length = out.len() + count;
    out.extend_from_slice(&bytes);
    out.truncate(length);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// With a branch for each.
    fn naive_statistic_code(xor: u32) -> (u8, u32, usize) {
        match xor {
            0 => (0, 0, 0),
            1..=0xffff => (1, xor, 2),
            _ if xor & 0xffff == 0 => (2, xor >> 16, 2),
            _ => (3, xor, 4),
        }
    }

    fn check_usual(xor: u32, number: u32) {
        let (head, statistic, bytes) = statistic_code(xor);
        assert_eq!((head, statistic, bytes), naive_statistic_code(xor), "{xor:#x}");
        let (mut wanted, mut put) = (vec![0xee, head], vec![0xee]);
        varint::put(&mut wanted, u64::from(number));
        wanted.extend_from_slice(&statistic.to_le_bytes()[..bytes]);
        put_usual(&mut put, head, number, statistic, bytes);
        assert_eq!(put, wanted, "{xor:#x} {number}");
    }

    #[test]
    fn most_events_are_a_head_a_varint_and_the_half_of_the_statistic_that_changed() {
        for xor in [0, 1, 0xffff, 0x1_0000, 0x1_0001, 0xffff_0000, u32::MAX] {
            [0, 1, 0x7f, 0x80, MOST_USUAL - 1].into_iter().for_each(|number| check_usual(xor, number));
        }
    }

    proptest! {
        #[test]
        fn any_usual_event_is_as_its_parts_one_by_one(xor: u32, number in 0..MOST_USUAL) {
            check_usual(xor, number);
            check_usual(xor & 0xffff_0000, number);
        }
    }

    #[test]
    fn the_bytes_that_differ_are_told_one_by_one_and_in_any_combination() {
        let before: [u8; VALUES] = std::array::from_fn(|place| (place * 37) as u8);
        for bits in 0..=u16::MAX {
            for by in [1, 0x80, 0xff] {
                let values = std::array::from_fn(|place| before[place] ^ if bits >> place & 1 == 1 { by } else { 0 });
                assert_eq!(differing_bytes(&before, &values), u32::from(bits));
            }
        }
    }

    #[test]
    fn values_are_a_varint_of_what_differs_and_those_bytes() {
        let before = [7; VALUES];
        for bits in 0..=u16::MAX {
            let values: [u8; VALUES] =
                std::array::from_fn(|place| if bits >> place & 1 == 1 { 100 + place as u8 } else { 7 });
            let (mut wanted, mut put) = (vec![0xee], vec![0xee]);
            varint::put(&mut wanted, u64::from(bits));
            wanted.extend(values.iter().filter(|value| **value != 7));
            put_values(&mut put, &before, &values);
            assert_eq!(put, wanted);
        }
    }
}
