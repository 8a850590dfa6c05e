//! A baseline's file: named sections, whole or refused.
//!
//! ```text
//! offset size
//!      0    8  magic     "ODLNBSL1"
//!      8    4  version   1
//!     12    4  sections
//!     16    4  crc       crc32c(bytes 0..16)
//!     20       section…, nothing after the last
//!
//! section: name_len u16 | raw_len u64 | stored_len u64 | crc u32 | name | stored
//!          crc = crc32c(name_len ‖ raw_len ‖ stored_len ‖ name ‖ stored); stored is zstd of raw_len bytes
//! ```
//!
//! Little endian. The same sections give the same bytes, with the same build of oddline: there is no time in the file. The crc of the head is checked before the
//! version is believed. What the sections hold is the engine's business. Limits: 64 sections, names of 1 to 255 bytes, 1 GiB of all sections before
//! compression. All or nothing: a file that is damaged anywhere is refused as a whole, since half a baseline would be one nobody made.

use std::path::Path;

use super::bytes::ByteReader;
use super::error::StorageError;

/// First bytes of a baseline.
pub const MAGIC: [u8; 8] = *b"ODLNBSL1";
/// The version written.
pub const VERSION: u32 = 1;
const HEAD_BYTES: usize = 20;
const MOST_SECTIONS: usize = 64;
const MOST_NAME_BYTES: usize = 255;
const MOST_RAW_BYTES: usize = 1 << 30;
const COMPRESSION_LEVEL: i32 = 9;

/// Sections by name, in order.
pub type Sections = Vec<(String, Vec<u8>)>;

/// The bytes of a baseline.
///
/// # Errors
/// Beyond the limits of the format.
pub fn encode(sections: &[(&str, &[u8])]) -> Result<Vec<u8>, StorageError> {
    check("the number of sections", sections.len(), MOST_SECTIONS)?;
    check("all sections", sections.iter().map(|(_, raw)| raw.len()).sum(), MOST_RAW_BYTES)?;
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    sections.iter().try_for_each(|(name, raw)| put(&mut out, name, raw))?;
    Ok(out)
}

fn check(what: &'static str, found: usize, limit: usize) -> Result<(), StorageError> {
    if found <= limit { Ok(()) } else { Err(StorageError::TooLarge { what, bytes: found as u64, limit: limit as u64 }) }
}

fn put(out: &mut Vec<u8>, name: &str, raw: &[u8]) -> Result<(), StorageError> {
    check("the name of a section", name.len(), MOST_NAME_BYTES)?;
    let compress = StorageError::io("compress section", Path::new(name));
    let stored = zstd::bulk::compress(raw, COMPRESSION_LEVEL).map_err(compress)?;
    let mut lengths = (name.len() as u16).to_le_bytes().to_vec();
    lengths.extend_from_slice(&(raw.len() as u64).to_le_bytes());
    lengths.extend_from_slice(&(stored.len() as u64).to_le_bytes());
    let crc = section_crc(&lengths, name.as_bytes(), &stored);
    out.extend_from_slice(&lengths);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&stored);
    Ok(())
}

fn section_crc(lengths: &[u8], name: &[u8], stored: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(lengths), name), stored)
}

/// Reads the bytes of a baseline; `path` is for the error.
///
/// # Errors
/// When they are no baseline, damaged, or of a newer version.
pub fn decode(path: &Path, bytes: &[u8]) -> Result<Sections, StorageError> {
    let damaged =
        |offset: usize, reason| StorageError::Damaged { path: path.to_owned(), offset: offset as u64, reason };
    let mut reader = ByteReader::new(bytes);
    let (version, count) = head(&mut reader).map_err(|reason| damaged(0, reason))?;
    if version > VERSION {
        let (what, path) = ("a baseline", path.to_owned());
        return Err(StorageError::NewerVersion { what, path, found: version, supported: VERSION });
    }
    let mut sections = Sections::new();
    let mut room = MOST_RAW_BYTES;
    for _ in 0..count {
        let offset = bytes.len() - reader.rest().len();
        let section = section(&mut reader, room).map_err(|reason| damaged(offset, reason))?;
        room -= section.1.len();
        sections.push(section);
    }
    if !reader.is_empty() {
        return Err(damaged(bytes.len() - reader.rest().len(), "bytes follow the last section"));
    }
    Ok(sections)
}

fn head(reader: &mut ByteReader<'_>) -> Result<(u32, u32), &'static str> {
    const SHORT: &str = "the file ends within its head: it is no baseline, or cut";
    let mut whole = *reader;
    if reader.take(MAGIC.len()).ok_or(SHORT)? != MAGIC {
        return Err("expected the magic ODLNBSL1: this is no baseline");
    }
    let (version, count) = (reader.u32().ok_or(SHORT)?, reader.u32().ok_or(SHORT)?);
    let crc = reader.u32().ok_or(SHORT)?;
    let checked = whole.take(HEAD_BYTES - 4).ok_or(SHORT)?;
    if crc32c::crc32c(checked) != crc {
        return Err("the head's checksum does not match");
    }
    Ok((version, count))
}

/// `room` is for its bytes before compression.
fn section(reader: &mut ByteReader<'_>, room: usize) -> Result<(String, Vec<u8>), &'static str> {
    const SHORT: &str = "the file ends within a section";
    let lengths = reader.take(18).ok_or(SHORT)?;
    let mut fields = ByteReader::new(lengths);
    let name_len = usize::from(fields.u16().ok_or(SHORT)?);
    let mut length = || fields.u64().and_then(|length| usize::try_from(length).ok()).ok_or(SHORT);
    let (raw_len, stored_len) = (length()?, length()?);
    let crc = reader.u32().ok_or(SHORT)?;
    let name = reader.take(name_len).ok_or(SHORT)?;
    let stored = reader.take(stored_len).ok_or(SHORT)?;
    if section_crc(lengths, name, stored) != crc {
        return Err("a section's checksum does not match");
    }
    if raw_len > room {
        return Err("the sections exceed 1 GiB");
    }
    let raw = zstd::bulk::decompress(stored, raw_len).map_err(|_| "a section does not decompress")?;
    let name = std::str::from_utf8(name).map_err(|_| "a section's name is not UTF-8")?;
    if raw.len() == raw_len { Ok((name.to_owned(), raw)) } else { Err("a section decompresses to another length") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let bytes = encode(&[("a", b"xyz")]).unwrap();
        assert_eq!(bytes[..16], *b"ODLNBSL1\x01\0\0\0\x01\0\0\0");
        assert_eq!(bytes[16..20], crc32c::crc32c(&bytes[..16]).to_le_bytes());
        let stored = zstd::bulk::compress(b"xyz", COMPRESSION_LEVEL).unwrap();
        assert_eq!(bytes[20..30], [1, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[30..38], (stored.len() as u64).to_le_bytes());
        assert_eq!(bytes[42..], [b"a", stored.as_slice()].concat());
        assert_eq!(decode(Path::new("b"), &bytes).unwrap(), [("a".to_owned(), b"xyz".to_vec())]);
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_refused() {
        let bytes = encode(&[("first", b"some bytes some bytes"), ("second", b"")]).unwrap();
        for offset in 0..bytes.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[offset] ^= mask;
                assert!(decode(Path::new("b"), &bad).is_err(), "byte {offset}");
            }
            assert!(decode(Path::new("b"), &bytes[..offset]).is_err(), "cut at {offset}");
        }
        assert!(decode(Path::new("b"), &[bytes.as_slice(), b"x"].concat()).is_err());
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let mut bytes = encode(&[]).unwrap();
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..16]);
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
        let error = decode(Path::new("b"), &bytes).unwrap_err();
        assert!(matches!(error, StorageError::NewerVersion { found: 9, .. }), "{error}");
    }
}
