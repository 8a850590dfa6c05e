//! The history of events on disk: L1, one closed segment of the log, and L2, all of an hour.
//!
//! Both are one format, version 2: the first that was released. All of it but header and footer is [`frame`](super::frame)s:
//!
//! ```text
//! offset size
//!      0    8  magic    "ODLNCHK2"
//!      8    4  version  2
//!     12    1  level    1 or 2
//!     13    3  zero
//!     16    8  created  µs since the Unix epoch
//!     24    4  crc      crc32c(bytes 0..24); the seed of every frame that follows
//!     28       frame, kind 1 …: a group, at most 65,536 events of one lane and run, numbered without a gap ([`group`])
//!              frame, kind 2: the summary ([`summary`]), the last frame
//!    end-28 8  summary_offset
//!    end-20 8  total_len  bytes of the file
//!    end-12 4  crc      crc32c(seed, the 16 bytes before)
//!    end-8  8  end magic "ODLNCHKE"
//! ```
//!
//! **What is where.** A group holds events as columns: time (delta), template and stream (dictionaries), statistic, meta; zstd each. The summary
//! holds what is asked for without reading events: per template its text, its events, how many of them are marked and a series of counts
//! by window; where the groups are; which segments of the log the file stands for. A file without groups is whole, too: when the disk is at its
//! cap, detail is dropped (and counted) and the counts stay. What templates mean (their vectors, what was learned of them) is with the
//! template store, not here.
//!
//! **Reading.** Header, footer and summary are three small reads, however large the file. A damaged group costs itself: it is an error of
//! [`ChunkReader::group`], the others are read. With a damaged header, footer or summary the file is damaged, and [`salvage`] still finds its
//! groups (with a damaged header nothing: the seed is gone).
//!
//! **Commit order.** Files appear whole ([`atomic`](super::atomic)) and are immutable. L2 is written, durable, and only then the L1 files it
//! stands for go; between the two a reader ([`chunk_dir`](super::chunk_dir)) sees that L2 names their segments and passes them over.
//!
//! **Limits.** 16,384 series and 524,288 points of them a file: beyond, the series counted least recently go, and their events are counted as
//! unlisted. 4 MiB of texts; templates beyond stand without. 32 MiB of summary before compression.

mod dictionary;
pub mod group;
mod merge;
mod reader;
mod series;
pub mod summary;
mod writer;

pub use group::{Group, GroupId};
pub use merge::{Merged, merge, salvage};
pub use reader::ChunkReader;
pub use series::{MOST_POINTS, MOST_SERIES};
pub use summary::{Point, Summary, TemplateCounts};
pub use writer::{ChunkOptions, ChunkWriter, EventAt, Level, Written};

/// First bytes.
pub const MAGIC: [u8; 8] = *b"ODLNCHK2";
/// Last bytes.
pub const END_MAGIC: [u8; 8] = *b"ODLNCHKE";
/// The version written.
pub const VERSION: u32 = 2;

const HEADER_BYTES: usize = 28;
const FOOTER_BYTES: usize = 28;
const KIND_GROUP: u8 = 1;
const KIND_SUMMARY: u8 = 2;

/// Largest column or summary before compression.
const MAX_RAW_BYTES: usize = 32 << 20;

/// Appends `raw` as `raw_len varint | stored_len varint | stored`, stored as zstd of it.
fn put_compressed(out: &mut Vec<u8>, raw: &[u8], level: i32) -> Result<(), super::StorageError> {
    use std::path::Path;
    let compressed = zstd::bulk::compress(raw, level);
    let stored = compressed.map_err(super::StorageError::io("compress", Path::new("a part of a chunk")))?;
    super::varint::put(out, raw.len() as u64);
    super::varint::put(out, stored.len() as u64);
    out.extend_from_slice(&stored);
    Ok(())
}

/// The inverse of [`put_compressed`].
fn compressed(reader: &mut super::bytes::ByteReader<'_>) -> Result<Vec<u8>, &'static str> {
    const SHORT: &str = "a compressed part ends too early";
    let (raw_len, stored_len) = (reader.size().ok_or(SHORT)?, reader.size().ok_or(SHORT)?);
    let stored = reader.take(stored_len).ok_or(SHORT)?;
    if raw_len > MAX_RAW_BYTES {
        return Err("a compressed part exceeds 32 MiB");
    }
    let raw = zstd::bulk::decompress(stored, raw_len).map_err(|_| "a part does not decompress")?;
    if raw.len() == raw_len { Ok(raw) } else { Err("a part decompresses to another length") }
}
