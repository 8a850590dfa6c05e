//! The lock of a data dir: one process at a time, and clear words when it cannot be had.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use oddline::event::Timestamp;
use oddline::storage::lock::{DataDirLock, LOCK_FILE, LockError};

const NOW: Timestamp = Timestamp(1_764_000_000_000_000);
const DIR: &str = "ODDLINE_TEST_LOCK_DIR";

/// The other process: this test binary, running `another_process_holds_the_lock` alone.
struct Holder(Child);

impl Holder {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "another_process_holds_the_lock", "--ignored", "--nocapture"])
            .env(DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("holding")), "the other process did not get the lock");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
#[ignore = "started by the tests that need another process"]
fn another_process_holds_the_lock() {
    let dir = std::env::var_os(DIR).expect("only run by the other tests");
    let _lock = DataDirLock::acquire(Path::new(&dir), NOW).unwrap();
    println!("holding");
    // Until the parent kills this process or goes away itself.
    std::io::stdin().lines().for_each(drop);
}

#[test]
fn a_lock_held_by_another_process_names_its_pid_and_is_free_once_it_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let holder = Holder::start(dir.path());
    let error = DataDirLock::acquire(dir.path(), NOW).unwrap_err();
    assert!(matches!(error, LockError::HeldByProcess { pid: Some(pid), .. } if pid == holder.0.id()), "{error}");
    assert!(error.to_string().contains(&format!("in use by another process (pid {})", holder.0.id())), "{error}");
    drop(holder);
    DataDirLock::acquire(dir.path(), NOW).unwrap();
}

#[test]
fn a_lock_held_by_this_process_says_so_and_is_free_once_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let lock = DataDirLock::acquire(dir.path(), NOW).unwrap();
    assert_eq!(lock.dir(), dir.path());
    assert!(matches!(DataDirLock::acquire(dir.path(), NOW), Err(LockError::HeldHere { .. })));
    drop(lock);
    DataDirLock::acquire(dir.path(), NOW).unwrap();
}

#[test]
fn golden_bytes_and_the_lock_of_a_dead_process_blocks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(LOCK_FILE);
    fs::write(&path, "pid 1\nsince 5\nand more text than there will be afterwards\n").unwrap();
    let _lock = DataDirLock::acquire(dir.path(), NOW).unwrap();
    let expected = format!("pid {}\nsince 1764000000000000\n", std::process::id());
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn a_missing_data_dir_is_created_with_its_parents() {
    let dir = tempfile::tempdir().unwrap();
    let nested = dir.path().join("a/b/c");
    DataDirLock::acquire(&nested, NOW).unwrap();
    assert!(nested.join(LOCK_FILE).is_file());
}

#[test]
fn a_data_dir_that_is_a_file_or_below_one_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "precious").unwrap();
    let error = DataDirLock::acquire(&file, NOW).unwrap_err();
    assert!(matches!(error, LockError::NotADirectory { .. }), "{error}");
    let error = DataDirLock::acquire(&file.join("below"), NOW).unwrap_err();
    assert!(matches!(error, LockError::NotCreatable { .. }), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
#[cfg(target_os = "linux")]
fn a_data_dir_that_cannot_be_written_or_created_is_refused_in_words() {
    // Both refuse files even to root, who may write into a directory whatever its mode says.
    let error = DataDirLock::acquire(Path::new("/proc/oddline"), NOW).unwrap_err();
    assert!(matches!(error, LockError::NotCreatable { .. }), "{error}");
    let error = DataDirLock::acquire(Path::new("/sys"), NOW).unwrap_err();
    assert!(matches!(error, LockError::NotWritable { .. }), "{error}");
    assert!(error.to_string().starts_with("data dir /sys is not writable"), "{error}");
}

#[test]
fn a_lock_whose_file_was_removed_is_noticed_and_taken_anew() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let lock = DataDirLock::acquire(&data, NOW).unwrap();
    assert!(!lock.hold(NOW).unwrap(), "it is there");
    let removals: [fn(&Path); 3] = [
        |data| fs::remove_file(data.join(LOCK_FILE)).unwrap(),
        |data| fs::remove_dir_all(data).unwrap(),
        |data| {
            fs::rename(data, data.with_extension("old")).unwrap();
            fs::create_dir(data).unwrap();
            fs::write(data.join(LOCK_FILE), "another file").unwrap();
        },
    ];
    for remove in removals {
        remove(&data);
        assert!(lock.hold(NOW).unwrap());
        assert!(matches!(DataDirLock::acquire(&data, NOW), Err(LockError::HeldHere { .. })));
        assert!(!lock.hold(NOW).unwrap());
    }
    drop(lock);
    DataDirLock::acquire(&data, NOW).unwrap();
}

#[test]
fn a_data_dir_that_was_made_anew_and_taken_by_another_process_is_that_ones_until_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let lock = DataDirLock::acquire(dir.path(), NOW).unwrap();
    fs::remove_file(dir.path().join(LOCK_FILE)).unwrap();
    let holder = Holder::start(dir.path());
    for _ in 0..2 {
        let error = lock.hold(NOW).unwrap_err();
        assert!(matches!(error, LockError::HeldByProcess { pid: Some(pid), .. } if pid == holder.0.id()), "{error}");
    }
    drop(holder);
    assert!(lock.hold(NOW).unwrap());
    assert!(matches!(DataDirLock::acquire(dir.path(), NOW), Err(LockError::HeldHere { .. })));
}
