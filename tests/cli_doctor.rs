//! `oddline doctor --repair`: what is damaged goes to the quarantine, what is whole stays.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cli_support;
mod files_support;

use std::path::{Path, PathBuf};

use cli_support::{a_log, failed, json, ok, path, run};
use files_support::files;
use oddline::event::Timestamp;
use oddline::storage::{DataDirLock, checkpoint};
use serde_json::Value;

/// Four runs: two checkpoints, segments, and chunks.
fn a_data_dir(data: &Path) {
    for _ in 0..4 {
        ok(&run(&["score", "--data-dir", path(data), "--time", "event"], a_log(300)));
    }
}

fn doctor(data: &Path, more: &[&str]) -> std::process::Output {
    run(&[&["doctor", "--data-dir", path(data)], more].concat(), "")
}

fn events(data: &Path) -> Value {
    json(ok(&run(&["stats", "--data-dir", path(data), "--format", "json"], "")))["events_total"].clone()
}

/// Damages the file at `at` bytes, and repairs.
fn repaired(file: impl Fn(&Path) -> PathBuf, at: usize) -> (tempfile::TempDir, Value) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    a_data_dir(&data);
    let file = file(&data);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[at] ^= 0x40;
    std::fs::write(&file, &bytes).unwrap();
    failed(&doctor(&data, &[]), 1);
    let report = doctor(&data, &["--repair", "--format", "json"]);
    let report = json(ok(&report));
    let fixed = report["repaired"].as_array().unwrap();
    assert_eq!(fixed.len(), 1, "{report}");
    assert_eq!(fixed[0]["path"], path(&file));
    assert_eq!(std::fs::read(fixed[0]["quarantined"].as_str().unwrap()).unwrap(), bytes);
    assert!(ok(&doctor(&data, &[])).contains("a crash now: would lose nothing"), "sound afterwards");
    (dir, fixed[0].clone())
}

#[test]
fn a_damaged_checkpoint_is_replaced_and_nothing_learned_is_missing() {
    let (dir, _) = repaired(|data| files(data, ".checkpoint").pop().unwrap(), 2_000);
    assert_eq!(events(&dir.path().join("data")), 1_200);
}

#[test]
fn a_damaged_segment_goes_and_its_whole_records_stay_learned() {
    // Large enough for several frames: the last one alone would look torn, not damaged.
    let several_frames = |data: &Path| {
        ok(&run(&["score", "--data-dir", path(data), "--time", "event"], a_log(30_000)));
        files(data, ".wal").pop().unwrap()
    };
    let (dir, _) = repaired(several_frames, 600);
    assert_eq!(events(&dir.path().join("data")), 31_200, "a checkpoint covers it");
}

#[test]
fn a_damaged_file_of_the_history_keeps_its_counts_and_what_is_whole() {
    // The summary is damaged, the group is whole.
    let (dir, fixed) = repaired(|data| files(data, ".chunk").remove(0), at_summary());
    assert_eq!(fixed["events_kept"], 300, "{fixed}");
    let data = dir.path().join("data");
    let found = json(ok(&run(&["history", "--data-dir", path(&data), "--format", "json"], "")));
    assert_eq!(found["events"], 1_200);
}

/// A byte of the summary of the first chunk of [`a_data_dir`], counted from its footer.
fn at_summary() -> usize {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    a_data_dir(&data);
    let bytes = std::fs::read(files(&data, ".chunk").remove(0)).unwrap();
    let footer = &bytes[bytes.len() - 28..];
    u64::from_le_bytes(*footer.first_chunk().unwrap()) as usize + 20
}

#[test]
fn a_data_dir_without_damage_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    a_data_dir(&data);
    let state =
        || files(&data, "").into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect::<Vec<_>>();
    let without_lock = |files: Vec<(PathBuf, Vec<u8>)>| -> Vec<_> {
        files.into_iter().filter(|(path, _)| !path.ends_with("LOCK")).collect()
    };
    let before = without_lock(state());
    assert!(ok(&doctor(&data, &["--repair"])).contains("all whole"));
    assert_eq!(without_lock(state()), before);
    failed(&doctor(&dir.path().join("nowhere"), &["--repair"]), 1);
}

/// A data dir that saw a year ago what its files say.
fn of_a_year_ago(data: &Path) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/data-dir-2");
    for file in files(&golden, "") {
        let target = data.join(file.strip_prefix(&golden).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(file, target).unwrap();
    }
}

fn chunks(data: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(&data.join("chunks"), "").into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

#[test]
fn a_repair_without_a_configuration_keeps_history_that_is_older_than_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    of_a_year_ago(&data);
    let before = chunks(&data);
    let newest = files(&data, ".checkpoint").pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[5_000] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let said = doctor(&data, &["--repair"]);
    assert!(ok(&said).contains("2 chunks, all whole"), "{}", ok(&said));
    assert_eq!(chunks(&data), before);
    // And when the history itself is what is damaged.
    let (chunk, mut bytes) = chunks(&data).remove(0);
    bytes[60] ^= 1;
    std::fs::write(&chunk, bytes).unwrap();
    let said = doctor(&data, &["--repair"]);
    assert!(ok(&said).contains("0 events of it kept, 200 counted"), "{}", ok(&said));
    assert_eq!(chunks(&data).len(), 2);
}

#[test]
fn two_repairs_of_one_name_keep_both_originals() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    a_data_dir(&data);
    let chunk = files(&data, ".chunk").remove(0);
    for _ in 0..2 {
        let mut bytes = std::fs::read(&chunk).unwrap();
        let footer_at = bytes.len() - 5;
        bytes[footer_at] ^= 1;
        std::fs::write(&chunk, bytes).unwrap();
        ok(&doctor(&data, &["--repair"]));
    }
    assert_eq!(files(&data.join("quarantine"), "").len(), 2);
}

/// Writes vectors of two templates, each of the numbers given, as a model's thread does.
fn write_vectors(data: &Path, cells: [f32; 3]) -> PathBuf {
    let entry = |text: u64| text.to_le_bytes().into_iter().chain(cells.iter().flat_map(|cell| cell.to_le_bytes()));
    let vectors: Vec<u8> = 3u32.to_le_bytes().into_iter().chain(entry(1)).chain(entry(2)).collect();
    let sections = [("model", &b"onnx-1-some"[..]), ("vectors", &vectors)];
    std::fs::create_dir_all(data.join("vectors")).unwrap();
    let file = data.join("vectors/vectors");
    std::fs::write(&file, checkpoint::encode(0, Timestamp(0), &sections).unwrap()).unwrap();
    file
}

#[test]
fn vectors_are_told_with_their_model_and_damaged_ones_go_to_the_quarantine() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    a_data_dir(&data);
    assert!(!ok(&doctor(&data, &[])).contains("ok     vectors"), "there are none");
    let file = write_vectors(&data, [1.0, 0.0, 0.0]);
    let told = ok(&doctor(&data, &[])).to_owned();
    assert!(told.contains("vectors: 2 of 3 numbers by onnx-1-some: not used"), "{told}");
    let whole = std::fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x10;
    write_vectors(&data, [f32::NAN, 0.0, 0.0]);
    let no_numbers = std::fs::read(&file).unwrap();
    for damaged in [flipped, whole[..40].to_vec(), Vec::new(), no_numbers] {
        std::fs::write(&file, &damaged).unwrap();
        let found = doctor(&data, &[]);
        assert!(found.status.code() == Some(1) && String::from_utf8_lossy(&found.stdout).contains("WRONG  vectors"));
        let report = json(ok(&doctor(&data, &["--repair", "--format", "json"])));
        let fixed = report["repaired"].as_array().unwrap();
        assert!(fixed.len() == 1 && fixed[0]["path"] == path(&file), "{report}");
        assert_eq!(std::fs::read(fixed[0]["quarantined"].as_str().unwrap()).unwrap(), damaged);
        assert!(!file.exists() && !ok(&doctor(&data, &[])).contains("WRONG"));
    }
    assert_eq!(events(&data), 1_200);
}

#[test]
fn vectors_that_somebody_is_writing_are_left_to_them() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    a_data_dir(&data);
    let file = write_vectors(&data, [1.0, 0.0, 0.0]);
    std::fs::write(&file, "damaged").unwrap();
    let writer = DataDirLock::acquire(&data.join("vectors"), Timestamp(0)).unwrap();
    assert!(failed(&doctor(&data, &["--repair"]), 1).contains("in use by another process"));
    assert!(file.exists());
    drop(writer);
    ok(&doctor(&data, &["--repair"]));
    assert!(!file.exists());
}
