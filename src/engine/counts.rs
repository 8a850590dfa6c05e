//! How often each template was seen, and the bytes of that in checkpoints and baselines.
//!
//! Little endian: `count u32 | (template id u64 | events u64 | first seen i64 | last seen i64)*`, ascending by id.

use crate::detect::{StateError, StateReader};
use crate::event::{TemplateId, Timestamp};

/// Bytes of one template's count.
const BYTES: usize = 32;

/// Counts of one template over all lanes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TemplateCount {
    pub(super) count: u64,
    pub(super) first_seen: Timestamp,
    pub(super) last_seen: Timestamp,
}

impl TemplateCount {
    /// Adds what was counted of a template that is the same one now.
    pub(super) fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
    }
}

/// Appends counts, which come ascending by id.
pub(super) fn write<'a>(counts: impl ExactSizeIterator<Item = (&'a TemplateId, &'a TemplateCount)>, out: &mut Vec<u8>) {
    out.extend_from_slice(&(counts.len() as u32).to_le_bytes());
    for (id, count) in counts {
        out.extend_from_slice(&id.0.to_le_bytes());
        out.extend_from_slice(&count.count.to_le_bytes());
        out.extend_from_slice(&count.first_seen.0.to_le_bytes());
        out.extend_from_slice(&count.last_seen.0.to_le_bytes());
    }
}

/// Takes in what [`write`](fn@write) wrote.
pub(super) fn read<C: Default + Extend<(TemplateId, TemplateCount)>>(
    from: &mut StateReader<'_>,
) -> Result<C, StateError> {
    let mut counts = C::default();
    for _ in 0..from.length("templates counted", u32::MAX as usize, BYTES)? {
        let id = TemplateId(from.u64("template id")?);
        let count = TemplateCount {
            count: from.u64("template count")?,
            first_seen: Timestamp(from.i64("first seen")?),
            last_seen: Timestamp(from.i64("last seen")?),
        };
        counts.extend([(id, count)]);
    }
    Ok(counts)
}
