//! The write-ahead log: what a lane saw since the last checkpoint, so that learned state can be rebuilt bit for bit.
//!
//! One log a lane, cut into segments `wal/<lane:02x>/<sequence:016x>.wal`: a header ([`segment`]), then frames
//! ([`frame`](super::frame)) whose payloads [`encode`] describes. [`encode`] and [`decode`] are pure; [`writer`] and
//! [`recover`] do the I/O, [`ahead`] on a thread of its own.
//!
//! **Order.** Records of a lane are numbered within a run ([`Position`]). A checkpoint keeps the position up to which it holds everything;
//! recovery hands out what comes after. A number seen twice is dropped, a number missing is counted as lost.
//!
//! **Segments are never continued** by a later run: each run starts a new one. Segments are removed once a checkpoint covers them. Keep what the
//! *older* of the two checkpoints kept does not cover, so that falling back to it loses nothing.
//!
//! **Group commit.** Lanes that wait for durability together write what they appended to one file more ([`group`]), whose fsync serves all of them.
//!
//! **Durability.** What [`writer::LaneWal::sync`] returned for survives power loss; what was appended survives the process.

pub mod ahead;
pub mod decode;
pub mod encode;
pub mod group;
pub mod recover;
pub mod segment;
pub mod writer;

pub use ahead::recover_lane_ahead;
pub use encode::WalEncoder;
pub use group::GroupLog;
pub use recover::{
    RecordAt, RecoveryReport, TornTail, lanes, read_events, read_segment, recover_lane, recover_templates,
    remove_segment, segment_begun, segments,
};
pub use segment::{SegmentHeader, SegmentSequence};
pub use writer::LaneWal;

use crate::event::{StreamKey, TemplateId, Timestamp};

/// Number of a record within its lane: the run, and the records of that run before it. Ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Position {
    /// How often the data dir had been opened.
    pub run: u32,
    /// Records (events, templates, decisions) of this lane and run that come before.
    pub record: u64,
}

impl Position {
    /// Bytes of [`Self::to_bytes`].
    pub const BYTES: usize = 12;

    /// `run: u32 | record: u64`, little endian.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        let (run, record) = out.split_at_mut(4);
        run.copy_from_slice(&self.run.to_le_bytes());
        record.copy_from_slice(&self.record.to_le_bytes());
        out
    }

    /// The inverse of [`Self::to_bytes`].
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [r0, r1, r2, r3, record @ ..] = bytes;
        Self { run: u32::from_le_bytes([r0, r1, r2, r3]), record: u64::from_le_bytes(record) }
    }
}

/// Bytes an event carries for the caller.
pub const VALUES: usize = 16;

/// What is kept of one event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WalEvent {
    /// When it happened.
    pub timestamp: Timestamp,
    /// Its template.
    pub template: TemplateId,
    /// What the detectors made of it; kept bit for bit, NaN included.
    pub statistic: f32,
    /// Its stream.
    pub stream: StreamKey,
    /// Severity class, the caller's.
    pub severity: u8,
    /// Flags, the caller's but for bit 7, which is the format's.
    pub flags: u8,
    /// What was at its wildcards, the caller's.
    pub values: [u8; VALUES],
}

impl WalEvent {
    /// Equal in every bit, where `==` says that NaN differs from itself.
    pub fn same_bits(&self, other: &Self) -> bool {
        let rest =
            |event: &Self| (event.timestamp, event.template, event.stream, event.severity, event.flags, event.values);
        self.statistic.to_bits() == other.statistic.to_bits() && rest(self) == rest(other)
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Record<'a> {
    /// A template was found, or its text changed.
    Template {
        /// Its id.
        id: TemplateId,
        /// When it was first seen.
        first_seen: Timestamp,
        /// Its text or skeleton, as the caller gave it.
        text: &'a [u8],
    },
    /// An event was scored.
    Event(WalEvent),
    /// Something the engine decided and replay cannot work out again.
    Decision {
        /// The engine's.
        kind: u8,
        /// The engine's.
        payload: &'a [u8],
    },
}
