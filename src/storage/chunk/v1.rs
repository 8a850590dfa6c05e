//! Version 1 of the L1 format, read and no longer written: one closed segment of the log as columns.
//!
//! ```text
//! offset size
//!      0    8  magic      "ODLNCHK1"
//!      8    4  version    1
//!     12    1  lane
//!     13    3  zero
//!     16    8  sequence
//!     24    4  run
//!     28    8  first_event  number of the first event in lane and run; the others follow, without a
//!                         gap unless the segment was damaged
//!     36       column × 6, each: raw_len u32 | stored_len u32 | stored, zstd of raw_len bytes
//!    end-44 8  events
//!    end-36 8  min_time   µs since the Unix epoch; of an empty chunk 0
//!    end-28 8  max_time
//!    end-20 8  total_len  bytes of the file
//!    end-12 4  crc        crc32c(everything before)
//!    end-8  8  end magic  "ODLNCHKE"
//!
//! columns, in this order, n = events:
//!   templates   count varint | (id u64 | events varint | text_len varint | text) × count; ids as first seen in the chunk
//!   times       zigzag varint × n, each the wrapping difference to the one before, the first to 0
//!   template    varint × n, number in `templates`
//!   statistic   n × 4 bytes: the lowest byte of all, then the second …, of the f32's bits
//!   stream      count varint | key u64 × count | varint × n, number among the keys
//!   meta        severity u8 × n | flags u8 × n
//! ```
//!
//! Limits: 64 MiB a column before compression. One checksum covers the file: a chunk is whole or damaged. `text` is empty for a template the caller knew no text for.

use std::path::Path;

use super::GroupId;
use crate::event::{StreamKey, TemplateId, Timestamp};
use crate::storage::bytes::ByteReader;
use crate::storage::error::StorageError;
use crate::storage::wal::WalEvent;

/// First bytes.
pub(super) const MAGIC: [u8; 8] = *b"ODLNCHK1";
/// Last bytes.
const END_MAGIC: [u8; 8] = *b"ODLNCHKE";
/// The version.
const VERSION: u32 = 1;
/// Largest column before compression.
const MAX_COLUMN_BYTES: usize = 64 << 20;
const HEADER_BYTES: usize = 36;
const FOOTER_BYTES: usize = 44;

/// A template in a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChunkTemplate {
    /// Its id.
    pub(super) id: TemplateId,
    /// Events of it in the chunk.
    pub(super) events: u64,
    /// Its text, as the caller gave it.
    pub(super) text: Vec<u8>,
}

/// A chunk that was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chunk {
    /// Which one.
    pub(super) id: GroupId,
    /// Earliest time of an event.
    pub(super) min_time: Timestamp,
    /// Latest time of an event.
    pub(super) max_time: Timestamp,
    /// Its templates in the order they first appear.
    pub(super) templates: Vec<ChunkTemplate>,
    /// Its events in the order they were observed.
    pub(super) events: Vec<WalEvent>,
}

/// Reads the bytes of a chunk; `path` is for the error. All or nothing.
pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Chunk, StorageError> {
    let damaged =
        |offset: usize, reason| StorageError::Damaged { path: path.to_owned(), offset: offset as u64, reason };
    let end = bytes.len().saturating_sub(FOOTER_BYTES);
    let footer = Footer::parse(bytes).map_err(|reason| damaged(end, reason))?;
    let mut reader = ByteReader::new(bytes.get(..end).unwrap_or_default());
    let (version, id) = parse_header(&mut reader).ok_or_else(|| damaged(0, "expected the header of a chunk"))?;
    if version > VERSION {
        return Err(StorageError::NewerVersion {
            what: "a chunk",
            path: path.to_owned(),
            found: version,
            supported: VERSION,
        });
    }
    let columns = Columns::parse(&mut reader).map_err(|reason| damaged(HEADER_BYTES, reason))?;
    let (templates, events) =
        columns.rows(footer.events).ok_or_else(|| damaged(HEADER_BYTES, "columns that do not fit together"))?;
    Ok(Chunk { id, min_time: footer.min_time, max_time: footer.max_time, templates, events })
}

#[derive(Debug)]
struct Footer {
    events: usize,
    min_time: Timestamp,
    max_time: Timestamp,
}

impl Footer {
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        const SHORT: &str = "the file is too short for a chunk";
        if bytes.len() < HEADER_BYTES + FOOTER_BYTES {
            return Err(SHORT);
        }
        let (rest, end_magic) = bytes.split_last_chunk::<8>().ok_or(SHORT)?;
        let (checked, crc) = rest.split_last_chunk::<4>().ok_or(SHORT)?;
        if *end_magic != END_MAGIC {
            return Err("expected the end magic ODLNCHKE");
        }
        if crc32c::crc32c(checked) != u32::from_le_bytes(*crc) {
            return Err("the checksum does not match");
        }
        Self::fields(checked, bytes.len()).ok_or("a footer that does not fit the file")
    }

    fn fields(checked: &[u8], total: usize) -> Option<Self> {
        let (_, footer) = checked.split_last_chunk::<32>()?;
        let mut reader = ByteReader::new(footer);
        let events = usize::try_from(reader.u64()?).ok()?;
        let (min_time, max_time) = (Timestamp(reader.i64()?), Timestamp(reader.i64()?));
        (reader.u64()? == total as u64).then_some(Self { events, min_time, max_time })
    }
}

fn parse_header(reader: &mut ByteReader<'_>) -> Option<(u32, GroupId)> {
    let magic = reader.array::<8>()?;
    let version = reader.u32()?;
    let [lane, ..] = reader.array::<4>()?;
    let id = GroupId { lane, sequence: reader.u64()?, run: reader.u32()?, first_event: reader.u64()? };
    (magic == MAGIC && version > 0).then_some((version, id))
}

#[derive(Debug)]
struct Columns {
    templates: Vec<u8>,
    times: Vec<u8>,
    numbers: Vec<u8>,
    statistics: Vec<u8>,
    streams: Vec<u8>,
    meta: Vec<u8>,
}

impl Columns {
    fn parse(reader: &mut ByteReader<'_>) -> Result<Self, &'static str> {
        let columns = Self {
            templates: column(reader)?,
            times: column(reader)?,
            numbers: column(reader)?,
            statistics: column(reader)?,
            streams: column(reader)?,
            meta: column(reader)?,
        };
        if reader.is_empty() { Ok(columns) } else { Err("bytes follow the last column") }
    }

    /// The rows, when every column holds exactly `count` of them.
    fn rows(&self, count: usize) -> Option<(Vec<ChunkTemplate>, Vec<WalEvent>)> {
        if self.statistics.len() != count.checked_mul(4)? || self.meta.len() != count.checked_mul(2)? {
            return None;
        }
        let templates = parse_templates(&self.templates)?;
        let mut streams = ByteReader::new(&self.streams);
        let keys = parse_keys(&mut streams)?;
        let (mut times, mut numbers) = (ByteReader::new(&self.times), ByteReader::new(&self.numbers));
        let mut time = 0i64;
        let mut events = Vec::with_capacity(count);
        for row in 0..count {
            time = time.wrapping_add(times.signed()?);
            events.push(WalEvent {
                timestamp: Timestamp(time),
                template: templates.get(numbers.size()?)?.id,
                statistic: self.statistic(row, count)?,
                stream: *keys.get(streams.size()?)?,
                severity: *self.meta.get(row)?,
                flags: *self.meta.get(row + count)?,
                ..WalEvent::default()
            });
        }
        (times.is_empty() && numbers.is_empty() && streams.is_empty()).then_some((templates, events))
    }

    fn statistic(&self, row: usize, count: usize) -> Option<f32> {
        let byte = |plane: usize| self.statistics.get(row + plane * count).copied();
        Some(f32::from_bits(u32::from_le_bytes([byte(0)?, byte(1)?, byte(2)?, byte(3)?])))
    }
}

fn column(reader: &mut ByteReader<'_>) -> Result<Vec<u8>, &'static str> {
    const SHORT: &str = "the file ends within a column";
    let (raw_len, stored_len) = (reader.u32().ok_or(SHORT)? as usize, reader.u32().ok_or(SHORT)? as usize);
    let stored = reader.take(stored_len).ok_or(SHORT)?;
    if raw_len > MAX_COLUMN_BYTES {
        return Err("a column exceeds 64 MiB");
    }
    let raw = zstd::bulk::decompress(stored, raw_len).map_err(|_| "a column does not decompress")?;
    if raw.len() == raw_len { Ok(raw) } else { Err("a column decompresses to another length") }
}

fn parse_templates(column: &[u8]) -> Option<Vec<ChunkTemplate>> {
    let mut reader = ByteReader::new(column);
    let count = reader.size()?;
    let template = |_| {
        let (id, events, text_len) = (TemplateId(reader.u64()?), reader.varint()?, reader.size()?);
        Some(ChunkTemplate { id, events, text: reader.take(text_len)?.to_vec() })
    };
    let templates = (0..count).map(template).collect::<Option<Vec<_>>>()?;
    reader.is_empty().then_some(templates)
}

fn parse_keys(reader: &mut ByteReader<'_>) -> Option<Vec<StreamKey>> {
    (0..reader.size()?).map(|_| reader.u64().map(StreamKey)).collect()
}
