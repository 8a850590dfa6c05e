//! Everything learned, in one file: named sections of bytes.
//!
//! ```text
//! state/<sequence:016x>.checkpoint
//! offset size
//!      0    8  magic     "ODLNCKP1"
//!      8    4  version   1
//!     12    4  sections
//!     16    8  sequence  ascending
//!     24    8  created   µs since the Unix epoch
//!     32    4  crc       crc32c(bytes 0..32)
//!     36       section…, nothing after the last
//!
//! section: name_len u16 | raw_len u64 | stored_len u64 | crc u32 | name | stored
//!          crc = crc32c(name_len ‖ raw_len ‖ stored_len ‖ name ‖ stored); stored is zstd of raw_len bytes
//! ```
//!
//! Every version keeps the first 36 bytes; the crc is checked before the version is believed.
//! Limits: names of 1 to 255 bytes, each used once; 1 GiB a section before compression; 4,096 sections.
//!
//! **Commit order** ([`atomic`]): tmp, fsync, rename, fsync of the directory; only then all but it and the newest whole one before are removed, and
//! tmp files left by a crash. What cannot be removed is warned of and tried again with the next one: this one is durable. A checkpoint is whole or
//! damaged: a damaged one is passed over for the one before, and said so. Segments of the WAL that only the older of the two needs must be kept for that
//! to lose nothing. Sections have formats of their own, which only who reads them knows: [`read_before`] is for who finds one that does not read.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::atomic;
use super::bytes::ByteReader;
use super::error::StorageError;
use super::fs::FileSystem;
use crate::event::Timestamp;

/// First bytes of a checkpoint.
pub const MAGIC: [u8; 8] = *b"ODLNCKP1";
/// The version written.
pub const VERSION: u32 = 1;
/// Checkpoints kept.
pub const KEPT: usize = 2;
/// Largest section before compression.
pub const MAX_SECTION_BYTES: usize = 1 << 30;
const MAX_SECTIONS: usize = 4_096;
const MAX_NAME_BYTES: usize = 255;
const HEADER_BYTES: usize = 36;
const SUFFIX: &str = ".checkpoint";
const COMPRESSION_LEVEL: i32 = 1;

/// A checkpoint that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its number.
    pub sequence: u64,
    /// When it was written.
    pub created: Timestamp,
    /// Its sections in the order they were given.
    pub sections: Vec<(String, Vec<u8>)>,
}

impl Checkpoint {
    /// The bytes of a section.
    pub fn section(&self, name: &str) -> Option<&[u8]> {
        self.sections.iter().find(|(own, _)| own == name).map(|(_, bytes)| bytes.as_slice())
    }
}

/// A checkpoint that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where it was noticed.
    pub offset: u64,
    /// What was wrong.
    pub reason: &'static str,
}

/// What [`read_newest`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The newest checkpoint that is whole; `None` when there is none.
    pub checkpoint: Option<Checkpoint>,
    /// Newer ones that are not.
    pub damage: Vec<Damage>,
    /// The sequence the next checkpoint takes.
    pub next_sequence: u64,
}

/// Writes checkpoint `sequence`; durable when it returns. Returns its size in bytes.
///
/// Fails without a trace when it cannot be written. That old ones cannot be removed is no failure: it is warned of, and the next one tries again.
pub fn write(
    fs: &dyn FileSystem,
    dir: &Path,
    sequence: u64,
    created: Timestamp,
    sections: &[(&str, &[u8])],
) -> Result<u64, StorageError> {
    let bytes = encode(sequence, created, sections)?;
    fs.create_dir_all(dir).map_err(StorageError::io("create directory", dir))?;
    atomic::write(fs, dir, &file_name(sequence), &bytes)?;
    if let Err(error) = prune(fs, dir, sequence) {
        tracing::warn!(%error, "an old checkpoint stays for now");
    }
    Ok(bytes.len() as u64)
}

/// Reads the newest checkpoint that is whole. A missing directory holds none.
///
/// Fails on one of a newer version, and when a file cannot be read.
pub fn read_newest(fs: &dyn FileSystem, dir: &Path) -> Result<Restored, StorageError> {
    read_before(fs, dir, u64::MAX)
}

/// As [`read_newest`], of those of a lower sequence than `before`.
pub fn read_before(fs: &dyn FileSystem, dir: &Path, before: u64) -> Result<Restored, StorageError> {
    let sequences = list(fs, dir)?;
    let next_sequence = sequences.last().map_or(0, |last| last.saturating_add(1));
    let mut restored = Restored { next_sequence, ..Restored::default() };
    for sequence in sequences.into_iter().rev().filter(|sequence| *sequence < before) {
        let path = dir.join(file_name(sequence));
        let bytes = fs.read(&path).map_err(StorageError::io("read", &path))?;
        match decode(&path, &bytes) {
            Ok(checkpoint) if checkpoint.sequence == sequence => {
                restored.checkpoint = Some(checkpoint);
                return Ok(restored);
            }
            Ok(_) => restored.damage.push(Damage {
                path,
                offset: 16,
                reason: "the header names another sequence than the file's name",
            }),
            Err(StorageError::Damaged { path, offset, reason }) => {
                restored.damage.push(Damage { path, offset, reason })
            }
            Err(error) => return Err(error),
        }
    }
    Ok(restored)
}

/// Sequences of the checkpoints in `dir`, ascending.
pub fn list(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<u64>, StorageError> {
    let entries = match fs.list(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(StorageError::io("list", dir))?,
    };
    let mut sequences: Vec<u64> =
        entries.iter().filter(|e| !e.is_dir).filter_map(|e| parse_file_name(&e.name)).collect();
    sequences.sort_unstable();
    Ok(sequences)
}

/// The bytes of a checkpoint. Fails beyond the limits of the format.
pub fn encode(sequence: u64, created: Timestamp, sections: &[(&str, &[u8])]) -> Result<Vec<u8>, StorageError> {
    check("the number of sections", sections.len(), MAX_SECTIONS)?;
    let mut out = Vec::new();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&created.0.to_le_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    for (name, raw) in sections {
        put_section(&mut out, name, raw)?;
    }
    Ok(out)
}

fn put_section(out: &mut Vec<u8>, name: &str, raw: &[u8]) -> Result<(), StorageError> {
    check("the name of a section", name.len(), MAX_NAME_BYTES)?;
    check("a section", raw.len(), MAX_SECTION_BYTES)?;
    let path = Path::new(name);
    let stored = zstd::bulk::compress(raw, COMPRESSION_LEVEL).map_err(StorageError::io("compress section", path))?;
    let start = out.len();
    out.extend_from_slice(&(name.len() as u16).to_le_bytes());
    out.extend_from_slice(&(raw.len() as u64).to_le_bytes());
    out.extend_from_slice(&(stored.len() as u64).to_le_bytes());
    let lengths_crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&section_crc(lengths_crc, name.as_bytes(), &stored).to_le_bytes());
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&stored);
    Ok(())
}

fn section_crc(lengths_crc: u32, name: &[u8], stored: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(lengths_crc, name), stored)
}

fn check(what: &'static str, found: usize, limit: usize) -> Result<(), StorageError> {
    if found <= limit { Ok(()) } else { Err(StorageError::TooLarge { what, bytes: found as u64, limit: limit as u64 }) }
}

/// Reads the bytes of a checkpoint; `path` is for the error. All or nothing.
pub fn decode(path: &Path, bytes: &[u8]) -> Result<Checkpoint, StorageError> {
    let damaged =
        |offset: usize, reason| StorageError::Damaged { path: path.to_owned(), offset: offset as u64, reason };
    let mut reader = ByteReader::new(bytes);
    let header = reader.take(HEADER_BYTES).ok_or_else(|| damaged(bytes.len(), "the file ends within its header"))?;
    let (version, count, mut checkpoint) = parse_header(header).map_err(|reason| damaged(0, reason))?;
    if version > VERSION {
        return Err(StorageError::NewerVersion {
            what: "a checkpoint",
            path: path.to_owned(),
            found: version,
            supported: VERSION,
        });
    }
    for _ in 0..count {
        let offset = bytes.len() - reader.rest().len();
        let section = parse_section(&mut reader).map_err(|reason| damaged(offset, reason))?;
        checkpoint.sections.push(section);
    }
    if !reader.is_empty() {
        return Err(damaged(bytes.len() - reader.rest().len(), "bytes follow the last section"));
    }
    Ok(checkpoint)
}

fn parse_header(header: &[u8]) -> Result<(u32, u32, Checkpoint), &'static str> {
    const SHORT: &str = "the file ends within its header";
    if !header.starts_with(&MAGIC) {
        return Err("expected the magic ODLNCKP1");
    }
    let (checked, crc) = header.split_last_chunk::<4>().ok_or(SHORT)?;
    if crc32c::crc32c(checked) != u32::from_le_bytes(*crc) {
        return Err("the header's checksum does not match");
    }
    let mut reader = ByteReader::new(checked);
    reader.take(MAGIC.len()).ok_or(SHORT)?;
    let (version, count) = (reader.u32().ok_or(SHORT)?, reader.u32().ok_or(SHORT)?);
    let (sequence, created) = (reader.u64().ok_or(SHORT)?, reader.i64().ok_or(SHORT)?);
    Ok((version, count, Checkpoint { sequence, created: Timestamp(created), sections: Vec::new() }))
}

fn parse_section(reader: &mut ByteReader<'_>) -> Result<(String, Vec<u8>), &'static str> {
    const SHORT: &str = "the file ends within a section";
    let mut lengths = ByteReader::new(reader.take(18).ok_or(SHORT)?);
    let lengths_crc = crc32c::crc32c(lengths.rest());
    let name_len = usize::from(lengths.u16().ok_or(SHORT)?);
    let (raw_len, stored_len) = (lengths.u64().ok_or(SHORT)?, lengths.u64().ok_or(SHORT)?);
    let crc = reader.u32().ok_or(SHORT)?;
    let name = reader.take(name_len).ok_or(SHORT)?;
    let stored = usize::try_from(stored_len).ok().and_then(|len| reader.take(len)).ok_or(SHORT)?;
    if section_crc(lengths_crc, name, stored) != crc {
        return Err("a section's checksum does not match");
    }
    let raw_len =
        usize::try_from(raw_len).ok().filter(|&len| len <= MAX_SECTION_BYTES).ok_or("a section exceeds 1 GiB")?;
    let raw = zstd::bulk::decompress(stored, raw_len).map_err(|_| "a section does not decompress")?;
    let name = std::str::from_utf8(name).map_err(|_| "a section's name is not UTF-8")?;
    if raw.len() == raw_len { Ok((name.to_owned(), raw)) } else { Err("a section decompresses to another length") }
}

/// Keeps checkpoint `newest`, just written, and the newest whole one before: a damaged one is nothing to fall back to. Removes what it can; fails with
/// the first that it cannot.
fn prune(fs: &dyn FileSystem, dir: &Path, newest: u64) -> Result<(), StorageError> {
    let mut kept = 1;
    let mut gone = Vec::new();
    for sequence in list(fs, dir)?.into_iter().rev().filter(|sequence| *sequence != newest) {
        if kept < KEPT && is_whole(fs, &dir.join(file_name(sequence))) {
            kept += 1;
        } else {
            gone.push(file_name(sequence));
        }
    }
    let entries = fs.list(dir).map_err(StorageError::io("list", dir))?;
    let leftover = entries.into_iter().filter(|entry| !entry.is_dir && entry.name.ends_with(atomic::TMP_SUFFIX));
    gone.extend(leftover.map(|entry| entry.name));
    let mut removed = Ok(());
    for path in gone.iter().map(|name| dir.join(name)) {
        removed = removed.and(fs.remove(&path).map_err(StorageError::io("remove", &path)));
    }
    // Else every power cut in a row would bring one more back.
    if !gone.is_empty() {
        removed = removed.and(fs.sync_dir(dir).map_err(StorageError::io("sync directory", dir)));
    }
    removed
}

/// Whether a checkpoint could be restored, by this version or by the newer one that wrote it.
fn is_whole(fs: &dyn FileSystem, path: &Path) -> bool {
    fs.read(path).is_ok_and(|bytes| !matches!(decode(path, &bytes), Err(StorageError::Damaged { .. })))
}

pub(crate) fn file_name(sequence: u64) -> String {
    format!("{sequence:016x}{SUFFIX}")
}

fn parse_file_name(name: &str) -> Option<u64> {
    let sequence = u64::from_str_radix(name.strip_suffix(SUFFIX)?, 16).ok()?;
    (file_name(sequence) == name).then_some(sequence)
}
