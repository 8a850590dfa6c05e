//! Keeping a journal within its disk: whole hours go, oldest first, never the newest.

use std::collections::BTreeMap;

use super::key::Partition;
use super::store::{ObjectMeta, ObjectStore};
use crate::storage::error::StorageError;

/// Deletes the oldest hours until the store holds no more than `most_bytes`; returns what it holds then.
///
/// # Errors
/// When the store fails; what was deleted by then is gone.
pub fn expire(store: &dyn ObjectStore, most_bytes: u64) -> Result<u64, StorageError> {
    let objects = store.list("")?;
    let mut bytes: u64 = objects.iter().map(|object| object.bytes).sum();
    let mut hours: BTreeMap<(String, String), Vec<ObjectMeta>> = BTreeMap::new();
    for object in objects {
        // What is no object of a journal is nobody's to delete.
        let Some(partition) = Partition::of_key(&object.key) else { continue };
        hours.entry((partition.date, partition.hour)).or_default().push(object);
    }
    hours.pop_last();
    for hour in hours.into_values() {
        if bytes <= most_bytes {
            break;
        }
        for object in hour {
            store.delete(&object.key)?;
            bytes = bytes.saturating_sub(object.bytes);
        }
    }
    Ok(bytes)
}
