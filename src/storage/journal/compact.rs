//! Many small objects of an hour into one.
//!
//! Of each host and hour: objects are read one after another, as many as make one of at most [`MOST_ROWS`] incidents and [`MOST_BYTES`] of texts. Of
//! these duplicates go, the rest is sorted by time and stored as one object; only then the others are deleted. That is all that is held at a time, and the
//! keys of the journal. An object with damage in it is left as it is, beside the merged one; so are all of an hour when what is stored under the name of the merged one is something else (what an earlier
//! compaction wrote, and damaged since).

use std::collections::BTreeMap;
use std::mem;

use serde::Serialize;

use super::format::{Format, FormatError, decode, encode};
use super::incident::Incident;
use super::key::{Partition, object_key};
use super::log::text_bytes;
use super::store::{ObjectMeta, ObjectStore, put_sure};
use crate::storage::error::StorageError;

/// Incidents of a merged object at the most.
const MOST_ROWS: usize = 50_000;

/// Bytes of their texts at the most.
const MOST_BYTES: usize = 64 << 20;

/// What a compaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CompactReport {
    /// Hours (of hosts) that were compacted.
    pub partitions: u64,
    /// Objects read and deleted.
    pub deleted: u64,
    /// Objects written.
    pub written: u64,
    /// Incidents that were there twice, among those merged into one object.
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
    let mut compaction = Compaction { store, format, report: CompactReport::default() };
    for (partition, objects) in partitions {
        compaction.partition(&partition, objects)?;
    }
    Ok(compaction.report)
}

/// Objects of an hour that become one.
#[derive(Default)]
struct Merged {
    incidents: BTreeMap<(String, String), Incident>,
    /// Of their texts.
    bytes: usize,
    /// Keys of the objects it is from.
    from: Vec<String>,
    duplicates: u64,
}

impl Merged {
    fn has_room_for(&self, incidents: &[Incident]) -> bool {
        let bytes: usize = incidents.iter().map(text_bytes).sum();
        self.incidents.len() + incidents.len() <= MOST_ROWS && self.bytes + bytes <= MOST_BYTES
    }

    fn add(&mut self, key: String, incidents: Vec<Incident>) {
        self.from.push(key);
        for incident in incidents {
            let bytes = text_bytes(&incident);
            let key = (incident.time.clone(), incident.event_id.clone());
            match self.incidents.insert(key, incident) {
                Some(_) => self.duplicates += 1,
                None => self.bytes += bytes,
            }
        }
    }

    /// It is one object already.
    fn is_done(&self, format: Format) -> bool {
        let needed = usize::from(!self.incidents.is_empty());
        self.from.len() <= needed && self.from.iter().all(|key| Format::of_key(key) == Some(format))
    }
}

struct Compaction<'a> {
    store: &'a dyn ObjectStore,
    format: Format,
    report: CompactReport,
}

impl Compaction<'_> {
    fn partition(&mut self, partition: &Partition, objects: Vec<ObjectMeta>) -> Result<(), CompactError> {
        let mut merged = Merged::default();
        let mut is_changed = false;
        for ObjectMeta { key, .. } in objects {
            let Some(incidents) = self.read(&key)? else { continue };
            if !merged.has_room_for(&incidents) {
                is_changed |= self.replace(partition, mem::take(&mut merged))?;
            }
            merged.add(key, incidents);
        }
        is_changed |= self.replace(partition, merged)?;
        self.report.partitions += u64::from(is_changed);
        Ok(())
    }

    /// The incidents of an object without damage.
    fn read(&mut self, key: &str) -> Result<Option<Vec<Incident>>, StorageError> {
        if Format::of_key(key).is_none() {
            return Ok(None);
        }
        match decode(key, &self.store.get(key)?) {
            Ok((incidents, 0)) => return Ok(Some(incidents)),
            Ok((_, damaged)) => self.report.left.push(format!("{key}: damaged in {damaged} places")),
            Err(error) => self.report.left.push(format!("{key}: {error}")),
        }
        Ok(None)
    }

    /// Stores the merged object, then deletes what it is from; false when nothing was changed.
    fn replace(&mut self, partition: &Partition, merged: Merged) -> Result<bool, CompactError> {
        if merged.is_done(self.format) {
            return Ok(false);
        }
        let Merged { incidents, from, duplicates, .. } = merged;
        let rows: Vec<Incident> = incidents.into_values().collect();
        let written = if rows.is_empty() { None } else { Some(self.store(partition, &rows)?) };
        if let Some((key, false)) = written {
            let left =
                format!("{key}: other bytes than those expected: the {} objects it was made of stay", from.len());
            self.report.left.push(left);
            return Ok(false);
        }
        let written = written.map(|(key, _)| key);
        // Only now: what was merged is stored.
        for key in from.iter().filter(|key| written.as_ref() != Some(*key)) {
            self.store.delete(key)?;
            self.report.deleted += 1;
        }
        self.report.written += u64::from(written.is_some());
        self.report.duplicates += duplicates;
        Ok(true)
    }

    /// The key of an object of these rows, and whether it is stored as it should be.
    fn store(&self, partition: &Partition, rows: &[Incident]) -> Result<(String, bool), CompactError> {
        let bytes = encode(self.format, rows)?;
        let first = rows.first().map(|row| row.event_id.as_str()).unwrap_or_default();
        let key = object_key(partition, first, &bytes, self.format.extension());
        let is_stored = put_sure(self.store, &key, &bytes)?;
        Ok((key, is_stored))
    }
}
