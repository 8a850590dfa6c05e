//! A lane's side of its log: what is encoded and waits for the writer.

use std::collections::VecDeque;

use super::timer::Every;
use super::writer::{Command, Writer};
use crate::event::Timestamp;
use crate::storage::wal::{Position, SegmentHeader, WalEncoder};

/// Bytes a lane keeps while the writer is behind; beyond that they are dropped, and counted.
const MOST_BYTES: usize = 8 << 20;

/// A segment is closed after this many events, so that its chunk's columns stay within their limit.
const SEGMENT_EVENTS: u64 = 8 << 20;

/// A lane's side of its log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) encoder: WalEncoder,
    /// Text of a template that is logged; kept for its room.
    pub(super) text: Vec<u8>,
    pub(super) segment_bytes: u64,
    /// Number of the segment's first event.
    segment_event: u64,
    /// Since bytes were dropped: what comes next needs a new segment.
    pub(super) broken: Option<Every>,
    /// Bytes were dropped that no checkpoint stands in for yet.
    pub(super) has_lost: bool,
    /// New segments that were begun in vain since it worked last.
    pub(super) attempts: u32,
    /// What the writer had no room for, in order.
    waiting: VecDeque<Command>,
    waiting_bytes: usize,
}

impl Log {
    pub(super) fn new(encoder: WalEncoder) -> Self {
        Self {
            encoder,
            text: Vec::new(),
            segment_bytes: 0,
            segment_event: 0,
            broken: None,
            has_lost: false,
            attempts: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
        }
    }

    /// The writer has been behind for so long that no more is kept for it.
    pub(super) fn is_overflowing(&self) -> bool {
        self.waiting_bytes > MOST_BYTES
    }

    /// Nothing waits for the writer to have room.
    pub(super) fn is_flowing(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn is_full(&self, most_bytes: u64) -> bool {
        self.segment_bytes >= most_bytes || self.encoder.next_event() - self.segment_event >= SEGMENT_EVENTS
    }

    /// Everything from here on belongs to the next segment. Returns its header, what is left of the one before, and where that ends.
    pub(super) fn begin_segment(&mut self, now: Timestamp) -> (SegmentHeader, Vec<u8>, Position) {
        let next = self.encoder.header().next(now);
        let rest = self.encoder.begin_segment(next, Vec::new());
        self.segment_bytes = 0;
        self.segment_event = self.encoder.next_event();
        (next, rest, self.encoder.position())
    }

    pub(super) fn enqueue(&mut self, command: Command) {
        self.waiting_bytes += command.bytes();
        self.waiting.push_back(command);
    }

    /// Offers the writer what waits, without waiting for it.
    pub(super) fn offer(&mut self, writer: &Writer) {
        while let Some(command) = self.waiting.pop_front() {
            let bytes = command.bytes();
            if let Err(command) = writer.offer(command) {
                self.waiting.push_front(command);
                return;
            }
            self.waiting_bytes -= bytes;
        }
    }

    /// Hands the writer what waits, waiting for room.
    pub(super) fn send(&mut self, writer: &Writer) {
        self.waiting_bytes = 0;
        self.waiting.drain(..).for_each(|command| writer.send(command));
    }

    /// Forgets what waits and what is encoded; returns the bytes of it. Nothing is encoded for the open segment any more.
    pub(super) fn discard(&mut self) -> u64 {
        self.broken.get_or_insert_default();
        // The writer may have dropped what was handed over before, too.
        self.has_lost = true;
        self.waiting.clear();
        let waiting = std::mem::take(&mut self.waiting_bytes);
        (waiting + self.encoder.take(Vec::new()).len()) as u64
    }
}
