//! Reading a journal: what is stored, what waits in the spool, what is in memory; each incident once.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::format::decode;
use super::incident::{Incident, parse_time};
use super::key::{Partition, host_part};
use super::spool::Spool;
use super::store::ObjectStore;
use crate::event::Timestamp;
use crate::storage::error::StorageError;
use crate::storage::fs::FileSystem;

/// A compaction deletes what was just listed; then everything is listed anew, this often.
const ATTEMPTS: usize = 5;

const HOUR_MICROS: i64 = 3_600_000_000;

/// Which incidents are wanted.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// None before this time.
    pub since: Option<Timestamp>,
    /// None at or after this time.
    pub until: Option<Timestamp>,
    /// Of this host alone.
    pub host: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Host and incident, by time.
    pub incidents: Vec<(String, Incident)>,
    /// Lines that are damaged.
    pub damaged_lines: u64,
    /// Objects of which nothing reads, each with the reason.
    pub damaged_objects: Vec<String>,
}

impl Reading {
    fn wants_partition(&self, partition: &Partition) -> bool {
        let start = parse_time(&format!("{}T{}:00:00Z", partition.date, partition.hour)).unwrap_or_default();
        let is_late = self.since.is_none_or(|since| start.0.saturating_add(HOUR_MICROS) > since.0);
        // An event of before 1970 is in its first hour.
        let is_early = self.until.is_none_or(|until| start < until) || start.0 == 0;
        is_late && is_early && self.host.as_ref().is_none_or(|host| host_part(host) == partition.host)
    }

    fn wants(&self, incident: &Incident) -> bool {
        let Some(time) = parse_time(&incident.time) else { return self.since.is_none() && self.until.is_none() };
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }
}

/// Incidents by time, host and id: each once.
#[derive(Default)]
struct Gathered {
    incidents: BTreeMap<(String, String, String), Incident>,
    damaged_lines: u64,
    damaged_objects: Vec<String>,
}

impl Gathered {
    fn add(&mut self, host: &str, incident: Incident, reading: &Reading) {
        if reading.wants(&incident) {
            let key = (incident.time.clone(), host.to_owned(), incident.event_id.clone());
            self.incidents.entry(key).or_insert(incident);
        }
    }

    fn add_object(&mut self, key: &str, host: &str, bytes: &[u8], reading: &Reading) {
        match decode(key, bytes) {
            Ok((incidents, damaged)) => {
                self.damaged_lines += damaged;
                incidents.into_iter().for_each(|incident| self.add(host, incident, reading));
            }
            Err(error) => self.damaged_objects.push(format!("{key}: {error}")),
        }
    }

    fn add_store(&mut self, store: &dyn ObjectStore, reading: &Reading) -> Result<(), StorageError> {
        for object in store.list("")? {
            let Some(partition) = Partition::of_key(&object.key).filter(|found| reading.wants_partition(found)) else {
                continue;
            };
            let bytes = store.get(&object.key)?;
            self.add_object(&object.key, &partition.host, &bytes, reading);
        }
        Ok(())
    }

    fn add_spool(&mut self, fs: Arc<dyn FileSystem>, dir: &Path, reading: &Reading) -> Result<(), StorageError> {
        let mut spool = Spool::new(fs, dir.to_owned(), 0);
        for key in spool.keys()? {
            let Some(partition) = Partition::of_key(&key).filter(|found| reading.wants_partition(found)) else {
                continue;
            };
            match spool.get(&key) {
                Ok(bytes) => self.add_object(&key, &partition.host, &bytes, reading),
                // The store has it by now.
                Err(error) if is_gone(&error) => return Err(error),
                Err(error) => self.damaged_objects.push(format!("{key}: {error}")),
            }
        }
        Ok(())
    }
}

fn is_gone(error: &StorageError) -> bool {
    matches!(error, StorageError::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

/// Reads a store, the spool in front of it, and what is pending of `host`.
///
/// # Errors
/// When the store cannot be listed or an object not be had.
pub fn read(
    store: &dyn ObjectStore,
    spool: (&Arc<dyn FileSystem>, &Path),
    pending: (&str, &[Arc<Incident>]),
    reading: &Reading,
) -> Result<Found, StorageError> {
    let mut attempt = 1;
    loop {
        let mut gathered = Gathered::default();
        let stored =
            gathered.add_spool(Arc::clone(spool.0), spool.1, reading).and_then(|()| gathered.add_store(store, reading));
        match stored {
            Err(error) if is_gone(&error) && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
            Ok(()) => {
                let host = host_part(pending.0);
                if reading.host.as_ref().is_none_or(|wanted| host_part(wanted) == host) {
                    pending.1.iter().for_each(|row| gathered.add(&host, Incident::clone(row), reading));
                }
                let Gathered { incidents, damaged_lines, damaged_objects } = gathered;
                let incidents = incidents.into_iter().map(|((_, host, _), incident)| (host, incident)).collect();
                return Ok(Found { incidents, damaged_lines, damaged_objects });
            }
        }
    }
}
