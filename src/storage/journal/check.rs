//! Whether everything that is stored reads: each object is opened, one at a time.
//!
//! Held in memory: one object, the keys, 8 bytes for each incident of the hour that is looked at (one that is stored twice counts once), and the first
//! [`MOST_TOLD`] objects of which nothing reads.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use super::format::decode;
use super::incident::{Incident, parse_time};
use super::read::{ATTEMPTS, From, Object, Reading, is_gone};
use super::store::ObjectStore;
use crate::storage::error::StorageError;
use crate::storage::fs::FileSystem;

/// Damaged objects that are told one by one.
const MOST_TOLD: usize = 64;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Objects opened.
    pub objects: u64,
    /// Incidents in them, each once.
    pub incidents: u64,
    /// Lines that are damaged.
    pub damaged_lines: u64,
    /// Objects of which nothing reads.
    pub damaged_objects: u64,
    /// The first of them, each with the reason.
    pub told: Vec<String>,
}

impl Checked {
    /// Nothing is damaged.
    pub fn is_whole(&self) -> bool {
        self.damaged_lines == 0 && self.damaged_objects == 0
    }

    fn object(&mut self, object: &Object, from: &From<'_>, seen: &mut HashSet<u64>) -> Result<(), StorageError> {
        let bytes = match from.bytes(object) {
            Err(error) if object.is_stored() || is_gone(&error) => return Err(error),
            bytes => bytes.map_err(|error| error.to_string()),
        };
        self.objects += 1;
        match bytes.and_then(|bytes| decode(&object.key, &bytes).map_err(|error| error.to_string())) {
            Ok((incidents, damaged)) => {
                self.damaged_lines += damaged;
                let new = incidents.iter().filter(|incident| seen.insert(identity(&object.host, incident)));
                self.incidents += new.count() as u64;
            }
            Err(reason) => self.damaged(&object.key, &reason),
        }
        Ok(())
    }

    fn damaged(&mut self, key: &str, reason: &str) {
        self.damaged_objects += 1;
        if self.told.len() < MOST_TOLD {
            self.told.push(format!("{key}: {reason}"));
        }
    }
}

/// What makes an incident one: its host, time and id.
fn identity(host: &str, incident: &Incident) -> u64 {
    let mut hasher = DefaultHasher::new();
    (host, parse_time(&incident.time).unwrap_or_default(), &incident.event_id).hash(&mut hasher);
    hasher.finish()
}

/// Opens every object of a store and of the spool in front of it.
///
/// # Errors
/// When the store cannot be listed or an object not be had.
pub fn check(store: &dyn ObjectStore, spool: (&Arc<dyn FileSystem>, &Path)) -> Result<Checked, StorageError> {
    let mut attempt = 1;
    loop {
        match check_once(&mut From::new(store, spool)) {
            // It went on to the store, or into a merged object.
            Err(error) if is_gone(&error) && attempt < ATTEMPTS => attempt += 1,
            checked => return checked,
        }
    }
}

fn check_once(from: &mut From<'_>) -> Result<Checked, StorageError> {
    let mut checked = Checked::default();
    for objects in from.hours(&Reading::default())?.into_values() {
        // One that is stored twice is of one hour.
        let mut seen = HashSet::new();
        objects.iter().try_for_each(|object| checked.object(object, from, &mut seen))?;
    }
    Ok(checked)
}
