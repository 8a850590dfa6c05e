//! A data dir that accidents happened to: what is whole is used, what is not is told, and nothing panics.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::path::{Path, PathBuf};

use engine_support::{Bed, say};
use oddline::config::Config;
use oddline::engine::RecoveryReport;
use oddline::event::Timestamp;
use oddline::storage::FileSystem;
use oddline::storage::fs::DirEntry;
use oddline::{Engine, Lane};

/// Two checkpoints (after 300 and 600 events), 100 more in the log, and chunks.
fn used() -> Bed {
    let bed = Bed::new();
    for _ in 0..2 {
        let engine = bed.open();
        let mut lane = engine.lane().unwrap();
        (0..300).for_each(|_| _ = say(&mut lane, "routine work done"));
        lane.close().unwrap();
        engine.close().unwrap();
    }
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    (0..100).for_each(|_| _ = say(&mut lane, "routine work done"));
    lane.commit().unwrap();
    let killed = bed.killed();
    assert!(!killed.chunks().is_empty());
    killed
}

/// Opens, goes on, and closes; what the data dir holds afterwards restores.
fn goes_on(bed: &Bed) -> (RecoveryReport, u64) {
    let engine = bed.open();
    let (report, restored) = (engine.recovery().clone(), engine.stats().events_total);
    let mut lane: Lane = engine.lane().unwrap();
    (0..50).for_each(|_| _ = say(&mut lane, "routine work done"));
    lane.close().unwrap();
    engine.close().unwrap();
    let again = bed.open();
    assert_eq!(again.stats().events_total, restored + 50);
    assert_eq!(again.recovery().events_replayed, 0);
    (report, restored)
}

fn refusal(bed: &Bed) -> String {
    Engine::open(&bed.config, bed.environment()).unwrap_err().to_string()
}

fn newest(paths: Vec<PathBuf>) -> PathBuf {
    paths.last().unwrap().clone()
}

/// Ways to ruin a file.
fn ruins(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut flipped = bytes.to_vec();
    flipped[bytes.len() * 2 / 3] ^= 0x10;
    let mut header = bytes.to_vec();
    header[20] ^= 0x01;
    vec![
        ("empty", Vec::new()),
        ("cut within the header", bytes[..20].to_vec()),
        ("cut in the middle", bytes[..bytes.len() * 2 / 3].to_vec()),
        ("a bit of the header", header),
        ("a bit in the middle", flipped),
        ("zeros", vec![0; bytes.len()]),
        ("another file", b"-----BEGIN CERTIFICATE-----\n".repeat(40)),
    ]
}

#[test]
fn a_ruined_newest_checkpoint_costs_nothing() {
    let bytes = |bed: &Bed| bed.fs.read(&newest(bed.checkpoints())).unwrap();
    for (what, ruin) in ruins(&bytes(&used())) {
        let bed = used();
        bed.fs.put(&newest(bed.checkpoints()), &ruin);
        let (report, restored) = goes_on(&bed);
        assert_eq!(restored, 700, "{what}: {report:?}");
        assert_eq!(report.damaged_checkpoints.len(), 1, "{what}");
        assert!(report.is_damaged());
    }
}

#[test]
fn with_both_checkpoints_ruined_the_log_is_what_is_left() {
    let bytes = |bed: &Bed| bed.fs.read(&newest(bed.checkpoints())).unwrap();
    for (what, ruin) in ruins(&bytes(&used())) {
        let bed = used();
        bed.checkpoints().iter().for_each(|path| bed.fs.put(path, &ruin));
        let (report, restored) = goes_on(&bed);
        assert_eq!(report.damaged_checkpoints.len(), 2, "{what}");
        assert_eq!(restored, report.events_replayed, "{what}");
        assert!(restored >= 100, "{what}: {restored}");
    }
}

#[test]
fn a_ruined_last_segment_costs_what_it_held_at_most() {
    let bytes = |bed: &Bed| bed.fs.read(&newest(bed.segments(0))).unwrap();
    for (what, ruin) in ruins(&bytes(&used())) {
        let bed = used();
        bed.fs.put(&newest(bed.segments(0)), &ruin);
        let (report, restored) = goes_on(&bed);
        assert!((600..=700).contains(&restored), "{what}: {restored}");
        let told = report.is_damaged() || report.lanes.iter().any(|lane| !lane.torn_tails.is_empty());
        assert!(told, "{what}: {report:?}");
    }
}

#[test]
fn a_ruined_segment_that_the_checkpoint_covers_costs_nothing_learned() {
    let bytes = |bed: &Bed| bed.fs.read(&bed.segments(0)[0]).unwrap();
    for (what, ruin) in ruins(&bytes(&used())) {
        let bed = used();
        assert!(bed.segments(0).len() > 1);
        bed.fs.put(&bed.segments(0)[0], &ruin);
        assert_eq!(goes_on(&bed).1, 700, "{what}");
    }
}

#[test]
fn a_ruined_chunk_costs_its_history_alone_and_expires_like_any_other() {
    let bed = used();
    let dir = bed.dir().join("chunks");
    let hour = dir.join(&bed.fs.list(&dir).unwrap()[0].name);
    let chunk = hour.join(&bed.fs.list(&hour).unwrap()[0].name);
    let bytes = bed.fs.read(&chunk).unwrap();
    for (what, ruin) in ruins(&bytes) {
        let bed = used();
        bed.fs.put(&bed.dir().join(chunk.strip_prefix(used_dir(&dir)).unwrap()), &ruin);
        let (report, restored) = goes_on(&bed);
        assert_eq!((restored, report.is_damaged()), (700, false), "{what}");
    }
}

fn used_dir(chunks: &Path) -> &Path {
    chunks.parent().unwrap()
}

#[test]
fn a_lock_file_that_says_anything_else_blocks_nobody() {
    for text in [&b""[..], b"pid\n", b"pid 4294967296\nsince never\n", b"\xff\xfe\0\0", &[b'x'; 100_000]] {
        let bed = used();
        std::fs::write(bed.dir().join("LOCK"), text).unwrap();
        assert_eq!(goes_on(&bed).1, 700);
    }
}

#[test]
fn a_directory_where_the_lock_file_goes_is_told() {
    let bed = Bed::new();
    std::fs::create_dir(bed.dir().join("LOCK")).unwrap();
    let error = refusal(&bed);
    assert!(error.contains("cannot lock data dir") && error.contains(&bed.dir().display().to_string()), "{error}");
}

#[test]
fn files_of_a_newer_version_are_refused_by_name_and_left_alone() {
    let with_version = |mut bytes: Vec<u8>, crc_at: usize| {
        bytes[8] = 99;
        let crc = crc32c::crc32c(&bytes[..crc_at]);
        bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    };
    let bed = used();
    for (path, crc_at) in [(newest(bed.checkpoints()), 32), (newest(bed.segments(0)), 36)] {
        let before = bed.fs.read(&path).unwrap();
        let newer = with_version(before.clone(), crc_at);
        bed.fs.put(&path, &newer);
        let error = refusal(&bed);
        assert!(error.contains("version 99") && error.contains("up to version 1"), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert_eq!(bed.fs.read(&path).unwrap(), newer);
        bed.fs.put(&path, &before);
    }
    assert_eq!(goes_on(&bed).1, 700);
}

#[test]
fn files_where_directories_belong_are_told_by_name() {
    for name in ["state", "wal", "chunks", "wal/00"] {
        let bed = Bed::new();
        bed.fs.put(&bed.dir().join(name), b"not a directory");
        match Engine::open(&bed.config, bed.environment()) {
            Err(error) => assert!(error.to_string().contains(&bed.dir().display().to_string()), "{name}: {error}"),
            Ok(engine) => {
                let mut lane = engine.lane().unwrap();
                (0..50).for_each(|_| _ = say(&mut lane, "routine work done"));
                drop(lane.close());
                drop(engine.close());
            }
        }
    }
}

#[test]
fn strangers_in_the_data_dir_are_left_alone() {
    let bed = used();
    let strangers = ["notes.txt", "state/old.checkpoint", "wal/xyz/a.wal", "wal/00/readme", "chunks/today/a.chunk"];
    strangers.iter().for_each(|name| bed.fs.put(&bed.dir().join(name), b"mine"));
    assert_eq!(goes_on(&bed).1, 700);
    for name in strangers {
        assert_eq!(bed.fs.read(&bed.dir().join(name)).unwrap(), b"mine", "{name}");
    }
}

#[test]
fn fewer_templates_than_the_checkpoint_has_are_no_damage() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    for word in ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"] {
        (0..50).for_each(|_| _ = say(&mut lane, &format!("{word} {word}ed")));
    }
    lane.close().unwrap();
    engine.close().unwrap();
    let smaller = Config { max_templates: 3, ..bed.config.clone() };
    let engine = Engine::open(&smaller, bed.environment()).unwrap();
    assert!(!engine.recovery().is_damaged(), "{:?}", engine.recovery());
    assert_eq!(engine.stats().events_total, 300);
    assert!(engine.stats().templates <= 3);
}

#[test]
fn looking_at_a_data_dir_changes_nothing_in_it_whatever_the_options_say() {
    let bed = used();
    let mut torn = bed.fs.read(&newest(bed.segments(0))).unwrap();
    torn.extend_from_slice(b"torn");
    bed.fs.put(&newest(bed.segments(0)), &torn);
    // Everything in it is long too old.
    bed.clock.set(Timestamp(2_000_000_000_000_000));
    let other = Config { max_templates: 1, retention_hours: 1, ..bed.config.clone() };
    let before = files(&bed, bed.dir());
    let engine = Engine::inspect(&other, bed.environment()).unwrap();
    assert_eq!(engine.stats().events_total, 700);
    assert_eq!(engine.recovery().lanes[0].torn_tails.len(), 1);
    engine.close().unwrap();
    assert_eq!(files(&bed, bed.dir()), before);
    assert_eq!(goes_on(&bed).1, 700);
}

fn files(bed: &Bed, dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = bed.fs.list(dir).unwrap();
    let of = |entry: &DirEntry| {
        let path = dir.join(&entry.name);
        if entry.is_dir { files(bed, &path) } else { vec![(path.clone(), bed.fs.read(&path).unwrap())] }
    };
    entries.iter().flat_map(of).collect()
}
