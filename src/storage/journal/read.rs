//! Reading a journal: what is stored, what waits in the spool, what is in memory; each incident once.
//!
//! # The newest first
//! An object holds incidents of the hour its key names and of no other, so hours are read from the newest back, all hosts of an hour together. When a
//! [limit](Reading::limit) is asked for, that many are had, and an hour has been read to its end, no older object can hold a newer one: the
//! others are not opened, but counted ([`Found::unread_objects`]).
//!
//! # Memory
//! With a limit no more is held than that many incidents, of at most [`MOST_HELD_BYTES`], and the object that is being read. Without one everything
//! found is. Keys are listed all at once in either case, some 100 bytes each.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::format::decode;
use super::incident::{Incident, parse_time};
use super::key::{Partition, host_part};
use super::log::text_bytes;
use super::spool::Spool;
use super::store::ObjectStore;
use crate::event::{Reason, Timestamp};
use crate::storage::error::StorageError;
use crate::storage::fs::FileSystem;

/// Bytes of texts of incidents that are held when a limit is asked for; beyond it the oldest go, as those beyond the limit do.
const MOST_HELD_BYTES: usize = 64 << 20;

/// A compaction deletes what was just listed; then everything is listed anew, this often.
pub(super) const ATTEMPTS: usize = 5;

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
    /// Of a stream that is called one of these alone; none: of all.
    pub streams: Vec<String>,
    /// With this among their reasons.
    pub reason: Option<Reason>,
    /// The newest so many; none: all.
    pub limit: Option<usize>,
    /// Objects that are opened at most, and those of an hour that was begun, the newest hours first; none: all. Each is a request where the store is a bucket.
    pub most_objects: Option<u64>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Host and incident, by time.
    pub incidents: Vec<(String, Incident)>,
    /// Older ones that were read and are beyond the limit; one that is stored twice may count twice.
    pub left_out: u64,
    /// Objects that were not opened, since all they can hold is older than the limit's last, or beyond [`Reading::most_objects`].
    pub unread_objects: u64,
    /// Lines that are damaged.
    pub damaged_lines: u64,
    /// Objects of which nothing reads, each with the reason.
    pub damaged_objects: Vec<String>,
}

fn hour_start(date: &str, hour: &str) -> Timestamp {
    parse_time(&format!("{date}T{hour}:00:00Z")).unwrap_or_default()
}

impl Reading {
    fn wants_partition(&self, partition: &Partition) -> bool {
        let start = hour_start(&partition.date, &partition.hour);
        let is_late = self.since.is_none_or(|since| start.0.saturating_add(HOUR_MICROS) > since.0);
        // An event of before 1970 is in its first hour.
        let is_early = self.until.is_none_or(|until| start < until) || start.0 == 0;
        is_late && is_early && self.host.as_ref().is_none_or(|host| host_part(host) == partition.host)
    }

    fn wants(&self, incident: &Incident) -> bool {
        if !self.streams.is_empty() && !self.streams.contains(&incident.stream) {
            return false;
        }
        if self.reason.is_some_and(|reason| !incident.reasons.iter().any(|given| given == reason.as_str())) {
            return false;
        }
        let Some(time) = parse_time(&incident.time) else { return self.since.is_none() && self.until.is_none() };
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }
}

/// Time, host and id of an incident; one whose time does not read is of 1970, as its object is.
type Key = (Timestamp, String, String);

/// Incidents by time, host and id: each once.
#[derive(Default)]
struct Gathered {
    incidents: BTreeMap<Key, Incident>,
    bytes: usize,
    /// The newest that had no place: nor has what is older.
    beyond: Option<Key>,
    is_full: bool,
    found: Found,
}

impl Gathered {
    fn add(&mut self, host: &str, incident: Incident, reading: &Reading) {
        if !reading.wants(&incident) {
            return;
        }
        let time = parse_time(&incident.time).unwrap_or_default();
        let key = (time, host.to_owned(), incident.event_id.clone());
        if self.beyond.as_ref().is_some_and(|beyond| key <= *beyond) {
            self.found.left_out += 1;
            return;
        }
        if !self.incidents.contains_key(&key) {
            self.bytes += text_bytes(&incident);
            self.incidents.insert(key, incident);
        }
        if let Some(limit) = reading.limit {
            self.keep_to(limit);
        }
    }

    fn keep_to(&mut self, limit: usize) {
        while self.incidents.len() > limit || self.bytes > MOST_HELD_BYTES {
            let Some((key, oldest)) = self.incidents.pop_first() else { return };
            self.bytes -= text_bytes(&oldest);
            self.found.left_out += 1;
            self.beyond = self.beyond.take().max(Some(key));
        }
        self.is_full = self.beyond.is_some() || self.incidents.len() == limit;
    }

    /// Nothing of before this time has a place.
    fn is_sure_from(&self, time: Timestamp) -> bool {
        self.is_full && self.incidents.first_key_value().is_none_or(|((oldest, ..), _)| *oldest >= time)
    }

    fn add_object(&mut self, key: &str, host: &str, bytes: &[u8], reading: &Reading) {
        match decode(key, bytes) {
            Ok((incidents, damaged)) => {
                self.found.damaged_lines += damaged;
                incidents.into_iter().for_each(|incident| self.add(host, incident, reading));
            }
            Err(error) => self.found.damaged_objects.push(format!("{key}: {error}")),
        }
    }

    fn add_stored(&mut self, object: &Object, from: &From<'_>, reading: &Reading) -> Result<(), StorageError> {
        let Object { key, host, place } = object;
        match (place, from.bytes(object)) {
            (_, Ok(bytes)) => self.add_object(key, host, &bytes, reading),
            // It went on to the store, or into a merged object.
            (_, Err(error)) if is_gone(&error) => return Err(error),
            (Place::Spool, Err(error)) => self.found.damaged_objects.push(format!("{key}: {error}")),
            (Place::Store, Err(error)) => return Err(error),
        }
        Ok(())
    }

    fn into_found(self) -> Found {
        let incidents = self.incidents.into_iter().map(|((_, host, _), incident)| (host, incident)).collect();
        Found { incidents, ..self.found }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Store,
    Spool,
}

/// An object that may hold what is wanted.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) host: String,
    place: Place,
}

impl Object {
    /// In the store, and not in the spool in front of it.
    pub(super) fn is_stored(&self) -> bool {
        self.place == Place::Store
    }
}

/// By date and hour.
pub(super) type Hours = BTreeMap<(String, String), Vec<Object>>;

/// Where objects are.
pub(super) struct From<'a> {
    store: &'a dyn ObjectStore,
    spool: Spool,
}

impl<'a> From<'a> {
    pub(super) fn new(store: &'a dyn ObjectStore, spool: (&Arc<dyn FileSystem>, &Path)) -> Self {
        Self { store, spool: Spool::new(Arc::clone(spool.0), spool.1.to_owned(), 0) }
    }

    /// The spool is listed first: what leaves it meanwhile is in the store by then.
    pub(super) fn hours(&mut self, reading: &Reading) -> Result<Hours, StorageError> {
        let spooled = self.spool.keys()?.into_iter().map(|key| (key, Place::Spool));
        let stored = self.store.list("")?.into_iter().map(|object| (object.key, Place::Store));
        let mut hours = Hours::new();
        for (key, place) in spooled.chain(stored) {
            let Some(partition) = Partition::of_key(&key).filter(|found| reading.wants_partition(found)) else {
                continue;
            };
            let Partition { host, date, hour } = partition;
            hours.entry((date, hour)).or_default().push(Object { key, host, place });
        }
        Ok(hours)
    }

    pub(super) fn bytes(&self, object: &Object) -> Result<Vec<u8>, StorageError> {
        match object.place {
            Place::Store => self.store.get(&object.key),
            Place::Spool => self.spool.get(&object.key),
        }
    }

    fn gather(&mut self, mut gathered: Gathered, reading: &Reading) -> Result<Gathered, StorageError> {
        let hours = self.hours(reading)?;
        let mut opened = 0;
        for ((date, hour), objects) in hours.iter().rev() {
            let end = hour_start(date, hour).0.saturating_add(HOUR_MICROS);
            let is_enough = reading.most_objects.is_some_and(|most| opened >= most);
            if is_enough || gathered.is_sure_from(Timestamp(end)) {
                gathered.found.unread_objects += objects.len() as u64;
                continue;
            }
            opened += objects.len() as u64;
            objects.iter().try_for_each(|object| gathered.add_stored(object, self, reading))?;
        }
        Ok(gathered)
    }
}

pub(super) fn is_gone(error: &StorageError) -> bool {
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
        let mut from = From::new(store, spool);
        let is_full = reading.limit == Some(0);
        let mut gathered = Gathered { is_full, ..Gathered::default() };
        let host = host_part(pending.0);
        if reading.host.as_ref().is_none_or(|wanted| host_part(wanted) == host) {
            pending.1.iter().for_each(|row| gathered.add(&host, Incident::clone(row), reading));
        }
        match from.gather(gathered, reading) {
            Err(error) if is_gone(&error) && attempt < ATTEMPTS => attempt += 1,
            gathered => return Ok(gathered?.into_found()),
        }
    }
}
