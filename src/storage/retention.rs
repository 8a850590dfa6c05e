//! What goes when time or space runs out: whole hours of chunks, oldest first.
//!
//! An hour goes once all of it is older than `retention_hours`, or while the chunks hold more than `max_disk_bytes`. The current hour, and any later
//! one, never goes. A removal cut short by a crash leaves an hour with fewer chunks; the next call removes the rest. An hour that will not go keeps no
//! other from going.

use std::path::Path;

use super::chunk_dir;
use super::error::StorageError;
use super::fs::FileSystem;
use super::hour::Hour;
use super::usage::disk_usage;
use crate::event::Timestamp;

/// Why an hour went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiryReason {
    /// Older than `retention_hours`.
    Age,
    /// The oldest while there was more than `max_disk_bytes`.
    Space,
}

/// An hour that went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ExpiredHour {
    /// Which.
    pub hour: Hour,
    /// What it held.
    pub bytes: u64,
    /// Why.
    pub reason: ExpiryReason,
}

/// What [`expire`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Expired {
    /// Hours removed, oldest first.
    pub hours: Vec<ExpiredHour>,
    /// Hours that are to go and do not, with what the file system says.
    pub failed: Vec<String>,
    /// Bytes of chunks that are left; may exceed the limit by what the current hour holds.
    pub kept_bytes: u64,
}

/// Removes what is too old or too much. `max_disk_bytes` is what the chunks alone may hold: take off what the rest of the data dir needs.
pub fn expire(
    fs: &dyn FileSystem,
    chunks_dir: &Path,
    now: Timestamp,
    retention_hours: u64,
    max_disk_bytes: u64,
) -> Result<Expired, StorageError> {
    let current = Hour::of(now);
    let mut expired = Expired { kept_bytes: disk_usage(fs, chunks_dir)?, ..Expired::default() };
    for hour in chunk_dir::hours(fs, chunks_dir)?.into_iter().take_while(|hour| *hour < current) {
        let is_old = current.hours_since(hour).unsigned_abs() > retention_hours;
        let reason = match is_old {
            true => ExpiryReason::Age,
            false if expired.kept_bytes > max_disk_bytes => ExpiryReason::Space,
            false => break,
        };
        let dir = chunks_dir.join(hour.to_string());
        let removed = disk_usage(fs, &dir)
            .and_then(|bytes| fs.remove_dir_all(&dir).map(|()| bytes).map_err(StorageError::io("remove", &dir)));
        let bytes = match removed {
            Ok(bytes) => bytes,
            Err(error) => {
                expired.failed.push(error.to_string());
                continue;
            }
        };
        expired.kept_bytes = expired.kept_bytes.saturating_sub(bytes);
        expired.hours.push(ExpiredHour { hour, bytes, reason });
    }
    Ok(expired)
}
