//! Checkpoints: format, atomic replace, fallback to the one before.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use oddline::event::Timestamp;
use oddline::storage::checkpoint::{self, Checkpoint, read_newest};
use oddline::storage::error::StorageError;
use oddline::storage::mem_fs::{Faults, MemFs};
use oddline::storage::{FileSystem, disk_usage};
use proptest::prelude::*;

const CREATED: Timestamp = Timestamp(1_764_000_000_000_000);

fn dir() -> &'static Path {
    Path::new("/data/state")
}

fn path_of(sequence: u64) -> PathBuf {
    dir().join(format!("{sequence:016x}.checkpoint"))
}

fn write(fs: &MemFs, sequence: u64, content: &[u8]) -> Result<u64, StorageError> {
    checkpoint::write(fs, dir(), sequence, CREATED, &[("templates", content), ("empty", b"")])
}

fn newest(fs: &MemFs) -> Option<u64> {
    read_newest(fs, dir()).unwrap().checkpoint.map(|checkpoint| checkpoint.sequence)
}

fn decode(bytes: &[u8]) -> Result<Checkpoint, StorageError> {
    checkpoint::decode(Path::new("test.checkpoint"), bytes)
}

#[test]
fn golden_bytes() {
    let bytes = checkpoint::encode(7, CREATED, &[("ab", b"c")]).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = [
        "4f444c4e434b5031 01000000 01000000 0700000000000000 0040624159440600 f147d394",
        "0200 0100000000000000 0a00000000000000 51b1c183 6162",
        "28b52ffd200109000063",
    ];
    assert_eq!(hex, expected.concat().replace(' ', ""));
}

#[test]
fn what_is_written_is_read_back() {
    let fs = MemFs::new();
    let content: Vec<u8> = (0..100_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    let bytes = write(&fs, 4, &content).unwrap();
    assert_eq!(bytes, fs.len(&path_of(4)).unwrap());
    let restored = read_newest(&fs, dir()).unwrap();
    let checkpoint = restored.checkpoint.unwrap();
    assert_eq!((checkpoint.sequence, checkpoint.created), (4, CREATED));
    assert_eq!(checkpoint.section("templates"), Some(&content[..]));
    assert_eq!(checkpoint.section("empty"), Some(&b""[..]));
    assert_eq!(checkpoint.section("missing"), None);
    assert_eq!((restored.damage.len(), restored.next_sequence), (0, 5));
}

#[test]
fn a_missing_directory_holds_no_checkpoint() {
    assert_eq!(read_newest(&MemFs::new(), dir()).unwrap(), checkpoint::Restored::default());
}

#[test]
fn the_newest_two_are_kept_and_leftovers_of_a_crash_removed() {
    let fs = MemFs::new();
    fs.put(&dir().join("0000000000000009.checkpoint.tmp"), b"half");
    (1..=4).for_each(|sequence| assert!(write(&fs, sequence, b"x").is_ok()));
    let names: Vec<String> = fs.list(dir()).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["0000000000000003.checkpoint", "0000000000000004.checkpoint"]);
    assert_eq!(disk_usage(&fs, Path::new("/data")).unwrap(), fs.used_bytes());
}

#[test]
fn what_cannot_be_removed_is_no_failure_and_goes_with_a_later_one() {
    let fs = MemFs::new();
    fs.put(&dir().join("a directory.tmp/inside"), b"somebody's");
    (0..3).for_each(|sequence| _ = write(&fs, sequence, b"x").unwrap());
    fs.set_faults(Faults { remove: true, ..Faults::default() });
    write(&fs, 3, b"x").unwrap();
    assert_eq!((newest(&fs), checkpoint::list(&fs, dir()).unwrap().len()), (Some(3), 3));
    fs.set_faults(Faults::default());
    write(&fs, 4, b"x").unwrap();
    assert_eq!(checkpoint::list(&fs, dir()).unwrap(), [3, 4]);
    assert_eq!(fs.read(&dir().join("a directory.tmp/inside")).unwrap(), b"somebody's");
}

#[test]
fn a_flip_of_any_byte_and_a_cut_at_any_length_is_damage() {
    let good = checkpoint::encode(7, CREATED, &[("first", b"some bytes, some bytes"), ("second", b"")]).unwrap();
    assert!(decode(&good).is_ok());
    for (offset, mask) in (0..good.len()).flat_map(|offset| [(offset, 0x01), (offset, 0x10), (offset, 0xff)]) {
        let mut bad = good.clone();
        bad[offset] ^= mask;
        assert!(matches!(decode(&bad), Err(StorageError::Damaged { .. })), "byte {offset}");
    }
    for length in 0..good.len() {
        assert!(matches!(decode(&good[..length]), Err(StorageError::Damaged { .. })), "length {length}");
    }
    assert!(matches!(decode(&[&good[..], &[0]].concat()), Err(StorageError::Damaged { .. })));
}

#[test]
fn a_damaged_newest_falls_back_to_the_one_before_and_says_so() {
    let fs = MemFs::new();
    write(&fs, 1, b"old").unwrap();
    write(&fs, 2, b"new").unwrap();
    let mut bad = fs.read(&path_of(2)).unwrap();
    *bad.last_mut().unwrap() ^= 1;
    fs.put(&path_of(2), &bad);
    let restored = read_newest(&fs, dir()).unwrap();
    assert_eq!(restored.checkpoint.unwrap().section("templates"), Some(&b"old"[..]));
    assert_eq!(restored.damage[0].path, path_of(2));
    assert_eq!(restored.damage[0].reason, "a section's checksum does not match");
    assert_eq!(restored.next_sequence, 3);
}

#[test]
fn when_all_are_damaged_there_is_none_and_each_is_named() {
    let fs = MemFs::new();
    fs.put(&path_of(1), b"");
    fs.put(&path_of(2), b"ODLNCKP1");
    let restored = read_newest(&fs, dir()).unwrap();
    assert_eq!((restored.checkpoint, restored.damage.len(), restored.next_sequence), (None, 2, 3));
}

#[test]
fn a_copy_under_another_name_is_not_taken_for_a_newer_one() {
    let fs = MemFs::new();
    write(&fs, 1, b"old").unwrap();
    fs.put(&path_of(5), &fs.read(&path_of(1)).unwrap());
    let restored = read_newest(&fs, dir()).unwrap();
    assert_eq!((restored.checkpoint.unwrap().sequence, restored.damage.len()), (1, 1));
}

#[test]
fn a_newer_version_is_refused_with_both_versions() {
    let fs = MemFs::new();
    let mut bytes = checkpoint::encode(3, CREATED, &[]).unwrap();
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..32]);
    bytes[32..36].copy_from_slice(&crc.to_le_bytes());
    fs.put(&path_of(3), &bytes);
    let error = read_newest(&fs, dir()).unwrap_err();
    assert!(matches!(error, StorageError::NewerVersion { found: 2, supported: 1, .. }), "{error}");
}

#[test]
fn a_write_that_fails_anywhere_leaves_the_one_before_and_no_debris() {
    let full = Faults { capacity_bytes: Some(150), ..Faults::default() };
    let faults = [full, Faults { sync: true, ..Faults::default() }, Faults { rename: true, ..Faults::default() }];
    for fault in faults {
        let fs = MemFs::new();
        write(&fs, 1, b"old").unwrap();
        fs.set_faults(fault);
        let error = write(&fs, 2, b"new").unwrap_err();
        assert_eq!(error.is_disk_full(), fault == full, "{error}");
        fs.set_faults(Faults::default());
        assert_eq!(newest(&fs), Some(1));
        assert_eq!(fs.list(dir()).unwrap().len(), 1, "{fault:?}");
        write(&fs, 2, b"new").unwrap();
        assert_eq!(newest(&fs), Some(2));
    }
}

#[test]
fn a_crash_right_after_a_write_keeps_it_and_removes_nothing_it_needs() {
    let fs = MemFs::new();
    for sequence in 1..=5 {
        write(&fs, sequence, b"x").unwrap();
        fs.crash();
        assert_eq!(newest(&fs), Some(sequence));
    }
}

#[test]
fn a_section_beyond_the_limits_of_the_format_is_refused() {
    let long = "n".repeat(256);
    let error = checkpoint::encode(1, CREATED, &[(&long, b"")]).unwrap_err();
    assert_eq!(error.to_string(), "the name of a section of 256 bytes is larger than the limit of 255 bytes");
}

proptest! {
    #[test]
    fn any_sections_round_trip(contents in prop::collection::vec(any::<Vec<u8>>(), 0..5), sequence: u64, created: i64) {
        let names: Vec<String> = (0..contents.len()).map(|n| format!("section {n}")).collect();
        let sections: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(contents.iter().map(Vec::as_slice)).collect();
        let read = decode(&checkpoint::encode(sequence, Timestamp(created), &sections).unwrap()).unwrap();
        prop_assert_eq!((read.sequence, read.created), (sequence, Timestamp(created)));
        prop_assert_eq!(read.sections, names.iter().cloned().zip(contents.iter().cloned()).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>) {
        prop_assert!(decode(&bytes).is_err());
    }
}
