//! Many small objects of an hour into one.
//!
//! Of each host and hour: every object is read, duplicates go, the rest is sorted by time and stored as one object (or several, of
//! [`MOST_ROWS`] incidents each); only then the others are deleted. An object with damage in it is left as it is, beside the merged one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::format::{Format, FormatError, decode, encode};
use super::incident::Incident;
use super::key::{Partition, object_key};
use super::store::{ObjectMeta, ObjectStore};
use crate::storage::error::StorageError;

/// Incidents of an object at the most.
const MOST_ROWS: usize = 50_000;

/// What a compaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CompactReport {
    /// Hours (of hosts) that were compacted.
    pub partitions: u64,
    /// Objects read and deleted.
    pub deleted: u64,
    /// Objects written.
    pub written: u64,
    /// Incidents that were there twice.
    pub duplicates: u64,
    /// Objects left as they are, each with the reason.
    pub left: Vec<String>,
}

/// A journal cannot be compacted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompactError {
    /// The store failed. What was merged by then is stored, nothing is lost.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The format wanted was not built in.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// Compacts every hour that has more objects than it needs, or objects of another format.
///
/// # Errors
/// When the store fails on the way.
pub fn compact(store: &dyn ObjectStore, format: Format) -> Result<CompactReport, CompactError> {
    let mut partitions: BTreeMap<Partition, Vec<ObjectMeta>> = BTreeMap::new();
    for object in store.list("")? {
        if let Some(partition) = Partition::of_key(&object.key) {
            partitions.entry(partition).or_default().push(object);
        }
    }
    let mut report = CompactReport::default();
    for (partition, objects) in partitions {
        compact_partition(store, format, &partition, &objects, &mut report)?;
    }
    Ok(report)
}

/// What is in the objects of an hour.
#[derive(Default)]
struct Merged {
    incidents: BTreeMap<(String, String), Incident>,
    /// Keys of the objects it is from.
    from: Vec<String>,
    duplicates: u64,
}

fn compact_partition(
    store: &dyn ObjectStore,
    format: Format,
    partition: &Partition,
    objects: &[ObjectMeta],
    report: &mut CompactReport,
) -> Result<(), CompactError> {
    let merged = read_all(store, objects, report)?;
    let needed = merged.incidents.len().div_ceil(MOST_ROWS);
    let is_of_format = merged.from.iter().all(|key| Format::of_key(key) == Some(format));
    if merged.from.len() <= needed && is_of_format {
        return Ok(());
    }
    let rows: Vec<Incident> = merged.incidents.into_values().collect();
    let mut written = BTreeSet::new();
    for rows in rows.chunks(MOST_ROWS) {
        let bytes = encode(format, rows)?;
        let first = rows.first().map(|row| row.event_id.as_str()).unwrap_or_default();
        let key = object_key(partition, first, &bytes, format.extension());
        store.put_new(&key, &bytes)?;
        written.insert(key);
    }
    // Only now: what was merged is stored.
    for key in merged.from.iter().filter(|key| !written.contains(*key)) {
        store.delete(key)?;
        report.deleted += 1;
    }
    report.partitions += 1;
    report.written += written.len() as u64;
    report.duplicates += merged.duplicates;
    Ok(())
}

fn read_all(
    store: &dyn ObjectStore,
    objects: &[ObjectMeta],
    report: &mut CompactReport,
) -> Result<Merged, StorageError> {
    let mut merged = Merged::default();
    for object in objects {
        if Format::of_key(&object.key).is_none() {
            continue;
        }
        match decode(&object.key, &store.get(&object.key)?) {
            Ok((incidents, 0)) => {
                merged.from.push(object.key.clone());
                for incident in incidents {
                    let key = (incident.time.clone(), incident.event_id.clone());
                    merged.duplicates += u64::from(merged.incidents.insert(key, incident).is_some());
                }
            }
            Ok((_, damaged)) => report.left.push(format!("{}: damaged in {damaged} places", object.key)),
            Err(error) => report.left.push(format!("{}: {error}", object.key)),
        }
    }
    Ok(merged)
}
