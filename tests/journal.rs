//! The journal of incidents: what is stored, what is read, what a failure leaves.

#![expect(clippy::unwrap_used, reason = "tests")]

#[cfg(feature = "object-store")]
mod http_support;

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use oddline::event::Timestamp;
use oddline::storage::fs::{DirEntry, FileSystem, OpenMode, WriteFile};
use oddline::storage::journal::{
    self, Format, Found, Incident, Journal, LocalStore, ObjectMeta, ObjectStore, Options, Partition, Put, Reading,
    compact, decode, encode, expire, object_key, time_text,
};
use oddline::storage::mem_fs::Faults;
use oddline::storage::{MemFs, RealFs, StorageError};

const HOUR: i64 = 3_600_000_000;
const START: i64 = 500_000 * HOUR;

fn incident(number: u64, time: i64) -> Incident {
    Incident {
        event_id: format!("{:012x}-00000000-{number:010x}", time / 1_000),
        time: time_text(Timestamp(time)),
        stream: "web1".to_owned(),
        score: 0.75,
        reasons: vec!["new_template".to_owned(), "severity".to_owned()],
        template_id: "00000000000000ab".to_owned(),
        template: "disk <*> failed".to_owned(),
        message: Some(format!("disk {number} failed \"badly\" ⚠")),
        parameters: vec![number.to_string()],
        observed: Some(212.0),
        expected: Some("≤ 14 per 10 s".to_owned()),
        ..Incident::default()
    }
}

fn options() -> Options {
    Options {
        host: "h1".to_owned(),
        format: Format::Ndjson,
        batch_incidents: 1_000,
        interval: Duration::from_secs(3_600),
        spool_dir: PathBuf::from("/spool"),
        spool_bytes: 1 << 20,
        most_bytes: None,
    }
}

fn local(fs: &MemFs) -> Arc<dyn ObjectStore> {
    Arc::new(LocalStore::new(Arc::new(fs.clone()), PathBuf::from("/journal")))
}

fn start(store: &Arc<dyn ObjectStore>, fs: &MemFs, options: Options) -> Journal {
    Journal::start(Arc::clone(store), Arc::new(fs.clone()), options).unwrap()
}

fn read_all(store: &dyn ObjectStore, fs: &MemFs, journal: Option<&Journal>) -> Found {
    let fs: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let pending = journal.map(Journal::pending).unwrap_or_default();
    let spool = (&fs, Path::new("/spool"));
    let found = journal::read(store, spool, ("h1", &pending), &Reading::default()).unwrap();
    if pending.is_empty() {
        // Who only looks whether all of it reads finds the same.
        let checked = journal::check(store, spool).unwrap();
        assert_eq!(checked.incidents, found.incidents.len() as u64);
        assert_eq!(
            (checked.damaged_lines, checked.damaged_objects),
            (found.damaged_lines, found.damaged_objects.len() as u64)
        );
        assert!(checked.told.iter().all(|told| found.damaged_objects.contains(told)));
    }
    found
}

fn ids(found: &Found) -> Vec<String> {
    found.incidents.iter().map(|(_, incident)| incident.event_id.clone()).collect()
}

/// A store that is away while told so, and counts what it is asked.
#[derive(Debug)]
struct Flaky {
    inner: Arc<dyn ObjectStore>,
    is_away: AtomicBool,
    deletes_left: AtomicUsize,
    gets: AtomicUsize,
}

impl Flaky {
    fn over(inner: &Arc<dyn ObjectStore>) -> Arc<Self> {
        let (is_away, deletes_left) = (AtomicBool::new(false), AtomicUsize::new(usize::MAX));
        Arc::new(Self { inner: Arc::clone(inner), is_away, deletes_left, gets: AtomicUsize::new(0) })
    }

    fn there(&self, what: &str) -> Result<(), StorageError> {
        if !self.is_away.load(Ordering::SeqCst) {
            return Ok(());
        }
        let source = std::io::Error::new(std::io::ErrorKind::TimedOut, format!("{what}: the store is away"));
        Err(StorageError::Io { operation: "reach", path: PathBuf::from("store"), source })
    }
}

impl ObjectStore for Flaky {
    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put, StorageError> {
        self.there("put")?;
        self.inner.put_new(key, bytes)
    }

    fn get(&self, key: &str) -> Result<Vec<u8>, StorageError> {
        self.there("get")?;
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.inner.get(key)
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StorageError> {
        self.there("list")?;
        self.inner.list(prefix)
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.there("delete")?;
        let left = self.deletes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            let source = std::io::Error::other("the process died");
            return Err(StorageError::Io { operation: "delete", path: PathBuf::from(key), source });
        }
        self.inner.delete(key)
    }
}

/// What every store does.
fn conforms(store: &dyn ObjectStore) {
    let keys = [
        "host=a/date=2025-03-14/hour=10/1-00000000.ndjson",
        "host=a/date=2025-03-14/hour=11/0-00000000.ndjson",
        "host=b/date=2025-03-13/hour=10/1-00000000.ndjson",
    ];
    assert_eq!(store.list("").unwrap(), []);
    assert!(store.get(keys[0]).is_err());
    store.delete(keys[0]).unwrap();
    for key in keys.iter().rev() {
        assert_eq!(store.put_new(key, key.as_bytes()).unwrap(), Put::Stored);
        assert_eq!(store.put_new(key, b"other").unwrap(), Put::AlreadyThere, "an object is never written again");
    }
    let listed = store.list("").unwrap();
    assert_eq!(listed.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), keys, "sorted");
    assert!(listed.iter().all(|object| object.bytes == object.key.len() as u64));
    assert_eq!(store.list("host=a/date=2025-03-14/hour=11/").unwrap().len(), 1);
    assert_eq!(store.get(keys[1]).unwrap(), keys[1].as_bytes());
    store.delete(keys[1]).unwrap();
    assert_eq!(store.list("").unwrap().len(), 2);
}

#[test]
fn every_store_conforms() {
    conforms(&*local(&MemFs::new()));
    let dir = tempfile::tempdir().unwrap();
    conforms(&LocalStore::new(Arc::new(RealFs), dir.path().join("journal")));
    #[cfg(feature = "object-store")]
    {
        use object_store::path::Path;
        use oddline::storage::journal::RemoteStore;
        conforms(&RemoteStore::over(Arc::new(object_store::memory::InMemory::new()), Path::from("a/prefix")).unwrap());
        conforms(&RemoteStore::over(Arc::new(object_store::memory::InMemory::new()), Path::default()).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let files = object_store::local::LocalFileSystem::new_with_prefix(dir.path()).unwrap();
        conforms(&RemoteStore::over(Arc::new(files), Path::default()).unwrap());
        for bad in ["s3://", "ftp://x/y", "not a url", "http://127.0.0.1:1/x"] {
            assert!(RemoteStore::open(bad).is_err(), "{bad}");
        }
    }
}

#[test]
fn incidents_are_readable_at_once_and_become_one_object_for_each_hour_on_close() {
    let fs = MemFs::new();
    let store = local(&fs);
    let mut journal = start(&store, &fs, options());
    let rows: Vec<Incident> = (0..10).map(|n| incident(n, START + n as i64 * HOUR / 5)).collect();
    rows.iter().for_each(|row| assert!(journal.push(row.clone())));
    let found = read_all(&*store, &fs, Some(&journal));
    assert_eq!(found.incidents.iter().map(|(_, row)| row.clone()).collect::<Vec<_>>(), rows);
    journal.close();
    let objects = store.list("").unwrap();
    assert_eq!(objects.len(), 2, "{objects:?}");
    assert!(objects[0].key.starts_with("host=h1/date=2027-01-15/hour=08/"), "{}", objects[0].key);
    let stored = read_all(&*store, &fs, None);
    assert_eq!(stored.incidents, found.incidents);
    assert_eq!((stored.damaged_lines, stored.damaged_objects.len()), (0, 0));
}

#[test]
fn a_batch_is_written_when_it_is_full_or_its_interval_has_passed() {
    let fs = MemFs::new();
    let store = local(&fs);
    let wait_for = |objects: usize| {
        let patience = std::time::Instant::now() + Duration::from_secs(30);
        while store.list("").unwrap().len() < objects {
            assert!(std::time::Instant::now() < patience, "it is never written");
            std::thread::yield_now();
        }
    };
    let full = start(&store, &fs, Options { batch_incidents: 3, ..options() });
    (0..3).for_each(|n| assert!(full.push(incident(n, START))));
    wait_for(1);
    drop(full);
    let timed = start(&store, &fs, Options { interval: Duration::from_millis(5), ..options() });
    assert!(timed.push(incident(9, START)));
    wait_for(2);
}

#[test]
fn what_the_queue_has_no_room_for_is_counted_and_nobody_waits() {
    let fs = MemFs::new();
    let store = local(&fs);
    let flaky = Flaky::over(&store);
    flaky.is_away.store(true, Ordering::SeqCst);
    let away: Arc<dyn ObjectStore> = flaky.clone();
    let journal = start(&away, &fs, Options { spool_bytes: 0, ..options() });
    let taken = (0..12_000).filter(|n| journal.push(incident(*n, START))).count();
    journal.flush();
    let status = journal.status();
    assert_eq!((taken as u64 + status.dropped_total, status.queued), (12_000, taken as u64));
    assert!(status.dropped_total > 0 && status.failure.is_some(), "{status:?}");
    flaky.is_away.store(false, Ordering::SeqCst);
    drop(journal);
    // Still within the pause after the failure, and without a spool: what could not be written is lost with the process, and was said so.
    assert!(read_all(&*store, &fs, None).incidents.len() <= taken);
}

/// A disk that refuses everything, and counts how often it is asked to write.
#[derive(Debug, Default)]
struct Refusing(AtomicUsize);

impl Refusing {
    fn no<T>() -> io::Result<T> {
        Err(ErrorKind::NotFound.into())
    }
}

impl FileSystem for Refusing {
    fn open(&self, _: &Path, _: OpenMode) -> io::Result<Box<dyn WriteFile>> {
        Self::no()
    }

    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Self::no()
    }

    fn len(&self, _: &Path) -> io::Result<u64> {
        Self::no()
    }

    fn list(&self, _: &Path) -> io::Result<Vec<DirEntry>> {
        Self::no()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Self::no()
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Self::no()
    }

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        Self::no()
    }

    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        Self::no()
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(ErrorKind::StorageFull.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Self::no()
    }
}

#[test]
fn what_store_and_spool_refuse_is_not_tried_again_at_once_however_much_it_is() {
    let disk = Arc::new(Refusing::default());
    let store = Arc::new(LocalStore::new(disk.clone(), PathBuf::from("/journal")));
    // With a long interval it is the store's pause that is waited for, of a second, then two.
    for interval in [1, 3_600] {
        let options = Options { batch_incidents: 1, interval: Duration::from_secs(interval), ..options() };
        let journal = Journal::start(store.clone(), disk.clone(), options).unwrap();
        (0..100).for_each(|n| assert!(journal.push(incident(n, START))));
        journal.flush();
        disk.0.store(0, Ordering::SeqCst);
        // Not an order of things: the time in which a thread that spins would ask thousands of times.
        std::thread::sleep(Duration::from_millis(300));
        let asked = disk.0.load(Ordering::SeqCst);
        assert!(asked < 10, "asked {asked} times in 0.3 s");
        let patience = Instant::now() + Duration::from_secs(30);
        while disk.0.load(Ordering::SeqCst) == asked {
            assert!(Instant::now() < patience, "it is never tried again");
            std::thread::yield_now();
        }
    }
}

#[test]
fn what_nobody_takes_by_the_end_is_counted_as_dropped_and_so_is_what_comes_later() {
    let fs = MemFs::new();
    let store = local(&fs);
    let mut journal = start(&store, &fs, options());
    fs.set_faults(Faults { read_only: true, ..Faults::default() });
    (0..20).for_each(|n| assert!(journal.push(incident(n, START))));
    journal.close();
    assert_eq!((journal.status().queued, journal.dropped()), (0, 20));
    assert!(!journal.push(incident(20, START)));
    assert_eq!((journal.status().queued, journal.dropped()), (0, 21));
}

/// A spool with an object of each of five hours, of a store that was away.
fn spooled() -> (MemFs, MemFs, Vec<PathBuf>) {
    let (fs, stored) = (MemFs::new(), MemFs::new());
    let store = local(&stored);
    let flaky = Flaky::over(&store);
    flaky.is_away.store(true, Ordering::SeqCst);
    let away: Arc<dyn ObjectStore> = flaky;
    let journal = start(&away, &fs, options());
    (0..5).for_each(|n| assert!(journal.push(incident(n, START + n as i64 * HOUR))));
    journal.flush();
    let files: Vec<PathBuf> =
        fs.list(Path::new("/spool")).unwrap().iter().map(|entry| Path::new("/spool").join(&entry.name)).collect();
    assert_eq!(files.len(), 5);
    (fs, stored, files)
}

#[test]
fn what_is_damaged_in_the_spool_stays_there_and_holds_up_nothing() {
    let (fs, stored, files) = spooled();
    let mut bytes = fs.read(&files[1]).unwrap();
    bytes[30] ^= 1;
    fs.put(&files[1], &bytes);
    let store = local(&stored);
    let journal = start(&store, &fs, options());
    assert!(journal.push(incident(9, START + 9 * HOUR)));
    journal.flush();
    assert_eq!(store.list("").unwrap().len(), 5, "the four that are whole, and the new one");
    assert_eq!(fs.list(Path::new("/spool")).unwrap().len(), 1);
    let status = journal.status();
    assert_eq!((status.failure, status.stored_total, status.queued), (None, 5, 0));
    assert!(status.spool_failure.unwrap().contains("it is damaged"));
    let found = read_all(&*store, &fs, Some(&journal));
    assert_eq!((found.incidents.len(), found.damaged_lines), (5, 1), "told by who reads, too");
}

#[test]
fn an_object_that_was_damaged_in_the_store_is_not_taken_for_what_the_spool_has() {
    let (fs, stored, files) = spooled();
    let key = files[1].file_name().unwrap().to_str().unwrap().replace('+', "/");
    let mut bytes = fs.read(&files[1]).unwrap();
    bytes[30] ^= 1;
    stored.put(&Path::new("/journal").join(&key), &bytes);
    let store = local(&stored);
    let journal = start(&store, &fs, options());
    journal.flush();
    assert_eq!(fs.list(Path::new("/spool")).unwrap().len(), 1);
    assert_eq!(read_all(&*store, &fs, Some(&journal)).incidents.len(), 5);
}

#[test]
fn a_spool_that_cannot_be_read_is_not_the_stores_failure() {
    let (fs, stored, _) = spooled();
    fs.set_faults(Faults { read: true, ..Faults::default() });
    let store = local(&stored);
    let journal = start(&store, &fs, options());
    assert!(journal.push(incident(9, START + 9 * HOUR)));
    journal.flush();
    let status = journal.status();
    assert_eq!((status.failure, status.stored_total), (None, 1), "what is new is stored");
    assert!(status.spool_failure.is_some());
    fs.set_faults(Faults::default());
    let patience = Instant::now() + Duration::from_secs(30);
    while journal.status().spool_failure.is_some() {
        assert!(Instant::now() < patience, "it is never tried again");
        std::thread::yield_now();
    }
    assert_eq!((store.list("").unwrap().len(), fs.list(Path::new("/spool")).unwrap().len()), (6, 0));
}

#[test]
fn an_object_whose_directory_was_not_synced_is_not_durable_because_it_is_there() {
    let (fs, stored) = (MemFs::new(), MemFs::new());
    let store = local(&stored);
    let journal = start(&store, &fs, options());
    assert!(journal.push(incident(1, START)));
    journal.flush();
    stored.set_faults(Faults { sync_dir: true, ..Faults::default() });
    assert!(journal.push(incident(2, START + 1)));
    drop(journal);
    assert_eq!((store.list("").unwrap().len(), fs.list(Path::new("/spool")).unwrap().len()), (2, 1));
    stored.set_faults(Faults::default());
    drop(start(&store, &fs, options()));
    assert_eq!(fs.list(Path::new("/spool")).unwrap(), []);
    stored.crash();
    assert_eq!(read_all(&*store, &fs, None).incidents.len(), 2);
}

#[test]
fn of_hours_that_are_gone_and_processes_that_died_nothing_is_left() {
    let fs = MemFs::new();
    let store = local(&fs);
    let tmp = |host: &str, hour: i64| {
        let partition = Partition::new(host, Timestamp(START + hour * HOUR));
        PathBuf::from(format!("/journal/{}/0-00000000.ndjson.tmp", partition.prefix()))
    };
    // Two of this host's, one in an hour where nothing else came; one that another host may be writing just now; one of the spool.
    let spooled = PathBuf::from("/spool/host=h1+date=2027-01-15+hour=08+0-00000000.ndjson.tmp");
    let kept = tmp("h2", 0);
    [&tmp("h1", 0), &tmp("h1", -100), &kept, &spooled].into_iter().for_each(|path| fs.put(path, b"{"));
    let journal = start(&store, &fs, Options { most_bytes: Some(5_000), ..options() });
    for n in 0..100 {
        assert!(journal.push(incident(n, START + n as i64 * HOUR)));
        journal.flush();
    }
    let mut pending = vec![PathBuf::from("/journal"), PathBuf::from("/spool")];
    let (mut hours, mut unfinished) = (0, Vec::new());
    while let Some(dir) = pending.pop() {
        let entries = fs.list(&dir).unwrap();
        assert!(!entries.is_empty() || dir.parent() == Some(Path::new("/")), "{} is empty", dir.display());
        for entry in entries {
            let path = dir.join(&entry.name);
            hours += usize::from(entry.name.starts_with("hour=") && path.starts_with("/journal/host=h1"));
            if entry.is_dir {
                pending.push(path)
            } else if entry.name.ends_with(".tmp") {
                unfinished.push(path)
            }
        }
    }
    assert_eq!((hours, unfinished), (store.list("").unwrap().len(), vec![kept]));
}

/// A store that answers when it is let.
#[derive(Debug, Default)]
struct Stuck(std::sync::Mutex<()>);

impl ObjectStore for Stuck {
    fn put_new(&self, _: &str, _: &[u8]) -> Result<Put, StorageError> {
        drop(self.0.lock().unwrap());
        Ok(Put::Stored)
    }

    fn get(&self, _: &str) -> Result<Vec<u8>, StorageError> {
        Ok(Vec::new())
    }

    fn list(&self, _: &str) -> Result<Vec<ObjectMeta>, StorageError> {
        Ok(Vec::new())
    }

    fn delete(&self, _: &str) -> Result<(), StorageError> {
        Ok(())
    }
}

#[test]
fn while_a_store_does_not_answer_incidents_are_taken_and_read_without_waiting() {
    let fs = MemFs::new();
    let stuck = Arc::new(Stuck::default());
    let held = stuck.0.lock().unwrap();
    let store: Arc<dyn ObjectStore> = stuck.clone();
    let journal = start(&store, &fs, Options { batch_incidents: 10, ..options() });
    // Were a push to wait for the store, this would never end.
    (0..500).for_each(|n| assert!(journal.push(incident(n, START))));
    assert_eq!(journal.pending().len(), 500);
    drop(held);
    journal.flush();
    assert_eq!(journal.status().queued, 0);
}

#[test]
fn a_store_that_is_away_has_everything_once_it_is_back() {
    let fs = MemFs::new();
    let store = local(&fs);
    let flaky = Flaky::over(&store);
    flaky.is_away.store(true, Ordering::SeqCst);
    let away: Arc<dyn ObjectStore> = flaky.clone();
    let journal = start(&away, &fs, options());
    for n in 0..5 {
        assert!(journal.push(incident(n, START + n as i64 * HOUR)));
        journal.flush();
    }
    assert_eq!(store.list("").unwrap(), []);
    assert_eq!(read_all(&*store, &fs, Some(&journal)).incidents.len(), 5, "readable from the spool");
    assert_eq!(journal.status().spooled_total, 5);
    drop(journal);
    // Another process finds the spool, and the store is back.
    flaky.is_away.store(false, Ordering::SeqCst);
    let journal = start(&away, &fs, options());
    journal.flush();
    assert_eq!(store.list("").unwrap().len(), 5);
    assert_eq!(fs.list(Path::new("/spool")).unwrap(), []);
    assert_eq!(ids(&read_all(&*store, &fs, Some(&journal))).len(), 5);
}

#[test]
fn the_spool_keeps_to_its_cap_and_what_does_not_fit_stays_in_memory() {
    let fs = MemFs::new();
    let store = local(&fs);
    let flaky = Flaky::over(&store);
    flaky.is_away.store(true, Ordering::SeqCst);
    let away: Arc<dyn ObjectStore> = flaky;
    let journal = start(&away, &fs, Options { spool_bytes: 2_000, ..options() });
    for n in 0..10 {
        journal.push(incident(n, START + n as i64 * HOUR));
        journal.flush();
    }
    let spooled: u64 = fs.list(Path::new("/spool")).unwrap().iter().map(|entry| entry.bytes).sum();
    assert!((1..=2_000).contains(&spooled), "{spooled}");
    assert!(journal.status().queued > 0);
    assert_eq!(read_all(&*store, &fs, Some(&journal)).incidents.len(), 10);
}

#[test]
fn a_full_disk_loses_nothing_that_memory_can_hold() {
    let fs = MemFs::new();
    let store = local(&fs);
    let journal = start(&store, &fs, options());
    fs.set_faults(Faults { capacity_bytes: Some(0), ..Faults::default() });
    (0..20).for_each(|n| assert!(journal.push(incident(n, START))));
    journal.flush();
    assert_eq!(journal.status().queued, 20);
    fs.set_faults(Faults::default());
    while journal.status().queued > 0 {
        journal.flush();
    }
    assert_eq!(read_all(&*store, &fs, None).incidents.len(), 20);
}

#[test]
fn whatever_fails_on_the_way_no_half_object_is_ever_read() {
    for faults in [
        Faults { sync: true, ..Faults::default() },
        Faults { sync_dir: true, ..Faults::default() },
        Faults { rename: true, ..Faults::default() },
        Faults { capacity_bytes: Some(300), ..Faults::default() },
        Faults { read_only: true, ..Faults::default() },
    ] {
        let fs = MemFs::new();
        let store = local(&fs);
        let journal = start(&store, &fs, options());
        fs.set_faults(faults);
        (0..20).for_each(|n| assert!(journal.push(incident(n, START))));
        journal.flush();
        fs.set_faults(Faults::default());
        let found = read_all(&*store, &fs, Some(&journal));
        assert_eq!((found.damaged_lines, found.damaged_objects.len()), (0, 0), "{faults:?}");
        assert_eq!(found.incidents.len(), 20, "{faults:?}");
        fs.crash();
        let found = read_all(&*store, &fs, Some(&journal));
        assert_eq!((found.damaged_lines, found.damaged_objects.len()), (0, 0), "{faults:?} and a power cut");
    }
}

/// Objects of `count` incidents each, all of one hour.
fn objects(store: &dyn ObjectStore, format: Format, count: u64, each: u64) -> Vec<String> {
    let partition = Partition::new("h1", Timestamp(START));
    let put = |object: u64| {
        let rows: Vec<Incident> =
            (0..each).map(|n| incident(object * each + n, START + (object * each + n) as i64)).collect();
        let bytes = encode(format, &rows).unwrap();
        let key = object_key(&partition, &rows[0].event_id, &bytes, format.extension());
        store.put_new(&key, &bytes).unwrap();
        key
    };
    (0..count).map(put).collect()
}

/// Of 20 hours of three objects of ten, no more is asked for than what is wanted takes.
fn reads_no_more_than_is_asked_for(store: &dyn ObjectStore) {
    for hour in 0..20 {
        let partition = Partition::new("h1", Timestamp(START + hour * HOUR));
        for object in 0..3u64 {
            let number = |n: u64| hour as u64 * 100 + object * 10 + n;
            let rows: Vec<_> = (0..10).map(|n| incident(number(n), START + hour * HOUR + number(n) as i64)).collect();
            let bytes = encode(Format::Ndjson, &rows).unwrap();
            let key = object_key(&partition, &rows[0].event_id, &bytes, Format::Ndjson.extension());
            store.put_new(&key, &bytes).unwrap();
        }
    }
    let fs: Arc<dyn FileSystem> = Arc::new(MemFs::new());
    let read = |reading: &Reading| journal::read(store, (&fs, Path::new("/spool")), ("h1", &[]), reading).unwrap();
    let few = read(&Reading { most_objects: Some(4), ..Reading::default() });
    assert_eq!((few.incidents.len(), few.unread_objects), (60, 54), "the two last hours, each to its end");
    let fewer = read(&Reading { most_objects: Some(4), limit: Some(25), ..Reading::default() });
    assert_eq!((fewer.incidents.len(), fewer.unread_objects), (25, 57));
    assert_eq!(fewer.incidents[..], few.incidents[35..], "the newest of them");
    assert_eq!(read(&Reading { most_objects: Some(60), ..Reading::default() }).unread_objects, 0);
}

#[test]
fn of_a_big_journal_no_more_objects_are_opened_than_is_said() {
    reads_no_more_than_is_asked_for(&*local(&MemFs::new()));
}

#[test]
fn compaction_makes_one_object_of_many_and_keeps_every_incident_once() {
    let fs = MemFs::new();
    let store = local(&fs);
    objects(&*store, Format::Ndjson, 20, 5);
    let before = read_all(&*store, &fs, None);
    let report = compact(&*store, Format::Ndjson).unwrap();
    assert_eq!((report.partitions, report.written, report.deleted), (1, 1, 20));
    assert_eq!(store.list("").unwrap().len(), 1);
    assert_eq!(read_all(&*store, &fs, None), before);
    let again = compact(&*store, Format::Ndjson).unwrap();
    assert_eq!((again.partitions, again.deleted), (0, 0), "nothing is left to do");
}

#[test]
fn a_compaction_that_dies_anywhere_leaves_duplicates_and_never_a_hole() {
    for survived in 0..20 {
        let fs = MemFs::new();
        let store = local(&fs);
        objects(&*store, Format::Ndjson, 20, 5);
        let before = read_all(&*store, &fs, None);
        let flaky = Flaky::over(&store);
        flaky.deletes_left.store(survived, Ordering::SeqCst);
        assert!(compact(&*flaky, Format::Ndjson).is_err());
        fs.crash();
        assert_eq!(read_all(&*store, &fs, None), before, "died after {survived} deletions");
        let report = compact(&*store, Format::Ndjson).unwrap();
        assert!(report.duplicates > 0 && store.list("").unwrap().len() == 1);
        assert_eq!(read_all(&*store, &fs, None), before);
    }
}

#[test]
fn a_merged_object_that_was_damaged_before_the_others_went_is_not_taken_for_whole() {
    let fs = MemFs::new();
    let store = local(&fs);
    let keys = objects(&*store, Format::Ndjson, 11, 1);
    let before = ids(&read_all(&*store, &fs, None));
    let flaky = Flaky::over(&store);
    flaky.deletes_left.store(0, Ordering::SeqCst);
    assert!(compact(&*flaky, Format::Ndjson).is_err());
    let merged = store.list("").unwrap().into_iter().map(|object| object.key).find(|key| !keys.contains(key)).unwrap();
    let mut bytes = store.get(&merged).unwrap();
    bytes[30] ^= 1;
    fs.put(&Path::new("/journal").join(&merged), &bytes);
    let report = compact(&*store, Format::Ndjson).unwrap();
    assert_eq!(ids(&read_all(&*store, &fs, None)), before, "{report:?}");
    assert_eq!((report.partitions, report.written, report.deleted), (0, 0, 0));
    assert!(report.left.iter().any(|left| left.contains(&merged)), "{report:?}");
}

/// A store that says in what order it was asked.
#[derive(Debug)]
struct Asked(Arc<dyn ObjectStore>, std::sync::Mutex<String>);

impl Asked {
    fn note(&self, what: char) {
        self.1.lock().unwrap().push(what);
    }
}

impl ObjectStore for Asked {
    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put, StorageError> {
        self.note('p');
        self.0.put_new(key, bytes)
    }

    fn get(&self, key: &str) -> Result<Vec<u8>, StorageError> {
        self.note('g');
        self.0.get(key)
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StorageError> {
        self.0.list(prefix)
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.note('d');
        self.0.delete(key)
    }
}

#[test]
fn a_compaction_holds_no_more_of_an_hour_than_becomes_one_object() {
    let fs = MemFs::new();
    let store = local(&fs);
    let partition = Partition::new("h1", Timestamp(START));
    for n in 0..80 {
        let row = Incident { message: Some("x".repeat(1 << 20)), ..incident(n, START + n as i64) };
        let bytes = encode(Format::Ndjson, std::slice::from_ref(&row)).unwrap();
        store.put_new(&object_key(&partition, &row.event_id, &bytes, "ndjson"), &bytes).unwrap();
    }
    let asked = Asked(Arc::clone(&store), std::sync::Mutex::default());
    let report = compact(&asked, Format::Ndjson).unwrap();
    assert_eq!((report.partitions, report.written, report.deleted), (1, 2, 80));
    let order = asked.1.into_inner().unwrap();
    let read_before_it_is_written: Vec<usize> =
        order.split('p').map(|part| part.matches('g').count()).filter(|gets| *gets > 0).collect();
    assert!(read_before_it_is_written.iter().all(|gets| *gets <= 64), "{order}");
    assert_eq!(read_before_it_is_written.iter().sum::<usize>(), 80);
    assert_eq!(read_all(&*store, &fs, None).incidents.len(), 80);
    assert_eq!(compact(&*store, Format::Ndjson).unwrap().partitions, 0, "nothing is left to do");
}

#[test]
fn a_damaged_object_outlives_a_compaction() {
    let fs = MemFs::new();
    let store = local(&fs);
    let keys = objects(&*store, Format::Ndjson, 3, 2);
    let mut bytes = store.get(&keys[1]).unwrap();
    bytes[30] ^= 1;
    fs.put(&Path::new("/journal").join(&keys[1]), &bytes);
    let before = read_all(&*store, &fs, None);
    assert_eq!((before.incidents.len(), before.damaged_lines), (5, 1));
    let report = compact(&*store, Format::Ndjson).unwrap();
    assert_eq!((report.deleted, report.left.len()), (2, 1));
    assert!(store.get(&keys[1]).is_ok());
    assert_eq!(read_all(&*store, &fs, None), before);
}

#[test]
fn every_flipped_byte_and_every_cut_costs_its_incident_alone_and_none_is_wrong() {
    let rows: Vec<Incident> = (0..3).map(|n| incident(n, START)).collect();
    let bytes = encode(Format::Ndjson, &rows).unwrap();
    let key = object_key(&Partition::new("h1", Timestamp(START)), &rows[0].event_id, &bytes, "ndjson");
    let ends: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
    for offset in 0..bytes.len() {
        for mask in [0x01, 0x20, 0x80, 0xff] {
            let mut bad = bytes.clone();
            bad[offset] ^= mask;
            let (read, damaged) = decode(&key, &bad).unwrap();
            assert!(read.iter().all(|row| rows.contains(row)), "byte {offset}");
            assert!(damaged > 0, "byte {offset}");
            // A newline that is no longer one costs the two lines beside it.
            assert!(read.len() >= if ends.contains(&offset) { 1 } else { 2 }, "byte {offset}");
        }
        let (read, damaged) = decode(&key, &bytes[..offset]).unwrap();
        let whole = ends.iter().filter(|end| **end <= offset).count();
        assert_eq!(read, rows[..whole], "cut at {offset}");
        assert!(damaged > 0, "cut at {offset}");
    }
}

#[cfg(feature = "parquet")]
mod parquet {
    use super::*;

    #[test]
    fn rows_come_back_from_parquet_as_they_were() {
        let mut rows: Vec<Incident> = (0..100).map(|n| incident(n, START + n as i64)).collect();
        rows[1] =
            Incident { reasons: Vec::new(), parameters: Vec::new(), message: None, observed: None, ..rows[1].clone() };
        rows[2].parameters = (0..50).map(|n| format!("p{n}")).collect();
        rows[3].rule = Some("paging".to_owned());
        rows[3].synthetic = true;
        rows[3].detectors.rate = 4.25;
        for rows in [&rows[..], &rows[..1], &[]] {
            let bytes = encode(Format::Parquet, rows).unwrap();
            let key = object_key(&Partition::new("h1", Timestamp(START)), "0", &bytes, "parquet");
            assert_eq!(decode(&key, &bytes).unwrap(), (rows.to_vec(), 0));
        }
    }

    #[test]
    fn every_flipped_byte_and_every_cut_of_a_parquet_object_is_noticed() {
        let bytes = encode(Format::Parquet, &[incident(1, START)]).unwrap();
        let key = object_key(&Partition::new("h1", Timestamp(START)), "0", &bytes, "parquet");
        for offset in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[offset] ^= 0x55;
            assert!(decode(&key, &bad).is_err(), "byte {offset}");
            assert!(decode(&key, &bytes[..offset]).is_err(), "cut at {offset}");
            // With a key that was forged to fit, the decoder is on its own: it may be wrong, and does not panic.
            let forged = object_key(&Partition::new("h1", Timestamp(START)), "0", &bad, "parquet");
            drop(decode(&forged, &bad));
        }
    }

    #[test]
    fn a_compaction_changes_the_format() {
        let fs = MemFs::new();
        let store = local(&fs);
        objects(&*store, Format::Ndjson, 3, 5);
        let before = read_all(&*store, &fs, None);
        let report = compact(&*store, Format::Parquet).unwrap();
        assert_eq!((report.written, report.deleted), (1, 3));
        assert!(store.list("").unwrap()[0].key.ends_with(".parquet"));
        assert_eq!(read_all(&*store, &fs, None), before);
    }
}

#[test]
fn only_what_is_asked_for_is_read() {
    let fs = MemFs::new();
    let store = local(&fs);
    let journal = start(&store, &fs, options());
    (0..48).for_each(|n| assert!(journal.push(incident(n, START + n as i64 * HOUR / 2))));
    journal.flush();
    let files: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let count = |reading: Reading| {
        journal::read(&*store, (&files, Path::new("/spool")), ("h1", &[]), &reading).unwrap().incidents.len()
    };
    let at = |hours: i64| Some(Timestamp(START + hours * HOUR));
    assert_eq!(count(Reading { since: at(20), ..Reading::default() }), 8);
    assert_eq!(count(Reading { since: at(20), until: at(22), ..Reading::default() }), 4);
    assert_eq!(count(Reading { host: Some("h1".to_owned()), ..Reading::default() }), 48);
    assert_eq!(count(Reading { host: Some("h2".to_owned()), ..Reading::default() }), 0);
}

#[test]
fn the_newest_are_had_without_opening_what_is_older() {
    let fs = MemFs::new();
    let store = local(&fs);
    for host in ["h1", "h2"] {
        let journal = start(&store, &fs, Options { host: host.to_owned(), ..options() });
        // A thousand hours, and in each two objects of each host: an incident of its first and of its last second.
        for late in [0, HOUR - 1_000_000] {
            (0..1_000).for_each(|n| assert!(journal.push(incident(n, START + n as i64 * HOUR + late))));
            journal.flush();
        }
    }
    let counted = Flaky::over(&store);
    let files: Arc<dyn FileSystem> = Arc::new(fs.clone());
    // Not written yet, and old: it is not among the newest for being in memory.
    let pending = [Arc::new(incident(77_777, START + HOUR / 2))];
    let read = |reading: &Reading| {
        counted.gets.store(0, Ordering::SeqCst);
        journal::read(&*counted, (&files, Path::new("/spool")), ("h1", &pending), reading).unwrap()
    };
    let all = read(&Reading::default());
    assert_eq!((all.incidents.len(), all.left_out, all.unread_objects), (4_001, 0, 0));
    for (limit, hours) in [(1, 1), (3, 1), (4, 1), (5, 2), (100, 25)] {
        let found = read(&Reading { limit: Some(limit), ..Reading::default() });
        assert_eq!(found.incidents, all.incidents[4_001 - limit..], "the newest {limit}");
        assert_eq!(counted.gets.load(Ordering::SeqCst), hours * 4, "objects opened for {limit}");
        assert_eq!(found.unread_objects, 4_000 - hours as u64 * 4);
    }
    let of_one = read(&Reading { limit: Some(6), host: Some("h2".to_owned()), ..Reading::default() });
    assert_eq!((of_one.incidents.len(), counted.gets.load(Ordering::SeqCst)), (6, 6));
    let everything = read(&Reading { limit: Some(9_999), ..Reading::default() });
    assert_eq!(everything.incidents, all.incidents);
    let nothing = read(&Reading { limit: Some(0), ..Reading::default() });
    assert_eq!((nothing.incidents.len(), counted.gets.load(Ordering::SeqCst)), (0, 0));
    let of_no_stream = read(&Reading { limit: Some(1), streams: vec!["elsewhere".to_owned()], ..Reading::default() });
    assert_eq!((of_no_stream.incidents.len(), of_no_stream.unread_objects), (0, 0));
}

#[test]
fn with_a_limit_what_is_held_is_bounded_in_bytes_too_and_the_newest_of_it_are_told() {
    let fs = MemFs::new();
    let store = local(&fs);
    let files: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let large = |n: u64| {
        let incident = incident(n, START + n as i64 * 1_000_000);
        Arc::new(Incident { message: Some("x".repeat(1 << 20)), ..incident })
    };
    let pending: Vec<Arc<Incident>> = (0..100).map(large).collect();
    let reading = Reading { limit: Some(100), ..Reading::default() };
    let found = journal::read(&*store, (&files, Path::new("/spool")), ("h1", &pending), &reading).unwrap();
    assert!((50..64).contains(&found.incidents.len()), "{}", found.incidents.len());
    assert_eq!(found.incidents.len() as u64 + found.left_out, 100);
    assert_eq!(found.incidents.last().unwrap().1, *pending[99]);
}

#[test]
fn a_journal_keeps_to_its_disk_and_the_newest_hour_stays() {
    let fs = MemFs::new();
    let store = local(&fs);
    let journal = start(&store, &fs, Options { most_bytes: Some(5_000), ..options() });
    for n in 0..100 {
        journal.push(incident(n, START + n as i64 * HOUR));
        journal.flush();
    }
    let bytes: u64 = store.list("").unwrap().iter().map(|object| object.bytes).sum();
    assert!(bytes <= 5_000, "{bytes}");
    let found = read_all(&*store, &fs, None);
    assert!(!found.incidents.is_empty() && found.incidents.last().unwrap().1 == incident(99, START + 99 * HOUR));
    assert_eq!(expire(&*store, 0).unwrap(), store.list("").unwrap()[0].bytes);
}

#[test]
fn two_hosts_with_the_same_event_ids_are_two() {
    let fs = MemFs::new();
    let store = local(&fs);
    for host in ["h1", "h2"] {
        let journal = start(&store, &fs, Options { host: host.to_owned(), ..options() });
        journal.push(incident(1, START));
    }
    let found = read_all(&*store, &fs, None);
    let hosts: BTreeSet<&str> = found.incidents.iter().map(|(host, _)| host.as_str()).collect();
    assert_eq!(hosts.into_iter().collect::<Vec<_>>(), ["h1", "h2"]);
}

#[cfg(feature = "object-store")]
mod bucket {
    use object_store::RetryConfig;
    use object_store::aws::AmazonS3Builder;
    use oddline::storage::journal::RemoteStore;

    use super::http_support::Bucket;
    use super::*;

    /// A client of the bucket below a prefix, which gives up soon.
    fn client(bucket: &Bucket) -> Arc<dyn ObjectStore> {
        // What comes from the environment needs the same TLS, which this puts there.
        drop(RemoteStore::open("s3://fleet"));
        let s3 = AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", bucket.serve()))
            .with_allow_http(true)
            .with_region("here")
            .with_access_key_id("id")
            .with_secret_access_key("secret")
            .with_bucket_name("fleet")
            .with_retry(RetryConfig { max_retries: 1, ..RetryConfig::default() })
            .build()
            .unwrap();
        Arc::new(RemoteStore::over(Arc::new(s3), "oddline".into()).unwrap())
    }

    #[test]
    fn a_bucket_conforms() {
        let bucket = Bucket::default();
        conforms(&*client(&bucket));
        assert!(bucket.objects.lock().unwrap().keys().all(|key| key.starts_with("oddline/host=")));
    }

    #[test]
    fn of_a_big_journal_in_a_bucket_no_more_objects_are_asked_for_than_is_said() {
        reads_no_more_than_is_asked_for(&*client(&Bucket::default()));
    }

    #[test]
    fn a_bucket_that_is_away_for_a_while_has_everything_afterwards_and_is_compacted() {
        let (bucket, fs) = (Bucket::default(), MemFs::new());
        let store = client(&bucket);
        let write = |from: u64| {
            let journal = start(&store, &fs, options());
            for n in from..from + 5 {
                assert!(journal.push(incident(n, START + n as i64)));
                journal.flush();
            }
            journal.status()
        };
        assert_eq!(write(0).stored_total, 5);
        bucket.is_away.store(true, Ordering::SeqCst);
        let away = write(5);
        assert!(away.spooled_total == 5 && away.failure.unwrap().contains("503"));
        assert_eq!(bucket.objects.lock().unwrap().len(), 5);
        bucket.is_away.store(false, Ordering::SeqCst);
        assert_eq!(write(10).stored_total, 10, "its own and what was in the spool");
        assert_eq!(fs.list(Path::new("/spool")).unwrap(), []);
        let before = read_all(&*store, &fs, None);
        assert_eq!(before.incidents.len(), 15);
        let report = compact(&*store, Format::Ndjson).unwrap();
        assert_eq!((report.written, report.deleted, store.list("").unwrap().len()), (1, 15, 1));
        assert_eq!(read_all(&*store, &fs, None), before);
    }
}
