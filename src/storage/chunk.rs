//! A sealed window as columns.
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
//! Limits: 64 MiB a column before compression. One checksum covers the file: a chunk is whole or damaged. A chunk is immutable, and written as
//! [`chunk_dir`](super::chunk_dir) says. `text` is empty for a template the caller knew no text for.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::Path;

use super::bytes::ByteReader;
use super::error::StorageError;
use super::varint;
use super::wal::WalEvent;
use crate::event::{StreamKey, TemplateId, Timestamp};

/// First bytes of a chunk.
pub const MAGIC: [u8; 8] = *b"ODLNCHK1";
/// Last bytes of a chunk.
pub const END_MAGIC: [u8; 8] = *b"ODLNCHKE";
/// The version written.
pub const VERSION: u32 = 1;
/// Largest column before compression.
pub const MAX_COLUMN_BYTES: usize = 64 << 20;
const HEADER_BYTES: usize = 36;
const FOOTER_BYTES: usize = 44;
const COMPRESSION_LEVEL: i32 = 3;

/// Which chunk it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId {
    /// The lane.
    pub lane: u8,
    /// Its number in the lane.
    pub sequence: u64,
    /// How often the data dir had been opened.
    pub run: u32,
    /// Number of the first event in lane and run.
    pub first_event: u64,
}

/// A template in a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkTemplate {
    /// Its id.
    pub id: TemplateId,
    /// Events of it in the chunk.
    pub events: u64,
    /// Its text, as the caller gave it.
    pub text: Vec<u8>,
}

/// A chunk that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Which one.
    pub id: ChunkId,
    /// Earliest time of an event.
    pub min_time: Timestamp,
    /// Latest time of an event.
    pub max_time: Timestamp,
    /// Its templates in the order they first appear.
    pub templates: Vec<ChunkTemplate>,
    /// Its events in the order they were observed.
    pub events: Vec<WalEvent>,
}

/// Numbers values in the order they first appear.
#[derive(Debug)]
struct Dictionary<K> {
    keys: Vec<K>,
    numbers: HashMap<K, usize>,
}

impl<K: Copy + Eq + Hash> Dictionary<K> {
    fn new() -> Self {
        Self { keys: Vec::new(), numbers: HashMap::new() }
    }

    fn number(&mut self, key: K) -> usize {
        let next = self.keys.len();
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.keys.push(key);
        }
        number
    }
}

/// The bytes of a chunk. `text` is asked for each template once. Fails beyond the limits of the format.
pub fn encode(
    id: ChunkId,
    events: &[WalEvent],
    text: &mut dyn FnMut(TemplateId) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, StorageError> {
    let mut out = Vec::with_capacity(HEADER_BYTES + FOOTER_BYTES + events.len() * 4);
    put_header(&mut out, id);
    let (templates, numbers) = template_columns(events, text);
    for column in [templates, times(events), numbers, statistics(events), streams(events), meta(events)] {
        put_column(&mut out, &column)?;
    }
    put_footer(&mut out, events);
    Ok(out)
}

fn put_header(out: &mut Vec<u8>, id: ChunkId) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[id.lane, 0, 0, 0]);
    out.extend_from_slice(&id.sequence.to_le_bytes());
    out.extend_from_slice(&id.run.to_le_bytes());
    out.extend_from_slice(&id.first_event.to_le_bytes());
}

fn put_column(out: &mut Vec<u8>, raw: &[u8]) -> Result<(), StorageError> {
    if raw.len() > MAX_COLUMN_BYTES {
        return Err(StorageError::TooLarge {
            what: "a column",
            bytes: raw.len() as u64,
            limit: MAX_COLUMN_BYTES as u64,
        });
    }
    let stored =
        zstd::bulk::compress(raw, COMPRESSION_LEVEL).map_err(StorageError::io("compress", Path::new("a column")))?;
    out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    out.extend_from_slice(&(stored.len() as u32).to_le_bytes());
    out.extend_from_slice(&stored);
    Ok(())
}

fn put_footer(out: &mut Vec<u8>, events: &[WalEvent]) {
    let (min, max) = time_span(events);
    out.extend_from_slice(&(events.len() as u64).to_le_bytes());
    out.extend_from_slice(&min.0.to_le_bytes());
    out.extend_from_slice(&max.0.to_le_bytes());
    let total = (out.len() + FOOTER_BYTES - 24) as u64;
    out.extend_from_slice(&total.to_le_bytes());
    let crc = crc32c::crc32c(out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&END_MAGIC);
}

fn time_span(events: &[WalEvent]) -> (Timestamp, Timestamp) {
    let times = || events.iter().map(|event| event.timestamp);
    (times().min().unwrap_or_default(), times().max().unwrap_or_default())
}

fn template_columns(events: &[WalEvent], text: &mut dyn FnMut(TemplateId) -> Option<Vec<u8>>) -> (Vec<u8>, Vec<u8>) {
    let mut dictionary = Dictionary::new();
    let mut counts: HashMap<TemplateId, u64> = HashMap::new();
    let mut numbers = Vec::with_capacity(events.len());
    for event in events {
        varint::put(&mut numbers, dictionary.number(event.template) as u64);
        *counts.entry(event.template).or_default() += 1;
    }
    let mut templates = Vec::new();
    varint::put(&mut templates, dictionary.keys.len() as u64);
    for id in dictionary.keys {
        let text = text(id).unwrap_or_default();
        templates.extend_from_slice(&id.0.to_le_bytes());
        varint::put(&mut templates, counts.get(&id).copied().unwrap_or_default());
        varint::put(&mut templates, text.len() as u64);
        templates.extend_from_slice(&text);
    }
    (templates, numbers)
}

fn times(events: &[WalEvent]) -> Vec<u8> {
    let mut out = Vec::with_capacity(events.len() * 3);
    let mut before = 0i64;
    for event in events {
        varint::put_signed(&mut out, event.timestamp.0.wrapping_sub(before));
        before = event.timestamp.0;
    }
    out
}

fn statistics(events: &[WalEvent]) -> Vec<u8> {
    let plane = |shift: u32| events.iter().map(move |event| (event.statistic.to_bits() >> shift) as u8);
    [0, 8, 16, 24].into_iter().flat_map(plane).collect()
}

fn streams(events: &[WalEvent]) -> Vec<u8> {
    let mut dictionary = Dictionary::new();
    let mut numbers = Vec::with_capacity(events.len());
    events.iter().for_each(|event| varint::put(&mut numbers, dictionary.number(event.stream) as u64));
    let mut out = Vec::new();
    varint::put(&mut out, dictionary.keys.len() as u64);
    dictionary.keys.iter().for_each(|key| out.extend_from_slice(&key.0.to_le_bytes()));
    out.extend_from_slice(&numbers);
    out
}

fn meta(events: &[WalEvent]) -> Vec<u8> {
    let severities = events.iter().map(|event| event.severity);
    severities.chain(events.iter().map(|event| event.flags)).collect()
}

/// Reads the bytes of a chunk; `path` is for the error. All or nothing.
pub fn decode(path: &Path, bytes: &[u8]) -> Result<Chunk, StorageError> {
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

fn parse_header(reader: &mut ByteReader<'_>) -> Option<(u32, ChunkId)> {
    let magic = reader.array::<8>()?;
    let version = reader.u32()?;
    let [lane, ..] = reader.array::<4>()?;
    let id = ChunkId { lane, sequence: reader.u64()?, run: reader.u32()?, first_event: reader.u64()? };
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
