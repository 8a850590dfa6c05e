//! Repair keeps house for nobody: what is damaged goes to the quarantine, and nothing else goes.
#![allow(clippy::unwrap_used)]

mod engine_support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_support::{Bed, SECOND, say};
use oddline::config::{Config, EventRule, RuleAction, RuleMatch};
use oddline::engine::incidents;
use oddline::engine::repair::{DamagedFile, Part, damaged_files, repair};
use oddline::event::Timestamp;
use oddline::storage::journal::Reading;
use oddline::storage::mem_fs::Faults;
use oddline::storage::{FileSystem, chunk_dir};
use oddline::{Engine, Lane};

fn work(lane: &mut Lane, events: usize) {
    (0..events).for_each(|_| _ = say(lane, "routine work done"));
}

/// Two checkpoints and two chunks; the log of the second run is not covered by the older checkpoint.
fn used() -> Bed {
    let bed = Bed::new();
    for _ in 0..2 {
        let engine = bed.open();
        let mut lane = engine.lane().unwrap();
        work(&mut lane, 300);
        lane.close().unwrap();
        engine.close().unwrap();
    }
    bed
}

/// The same killed in a third run, and bytes that are no record behind the last but one segment, which costs nothing.
fn torn() -> (Bed, PathBuf) {
    let bed = used();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    work(&mut lane, 100);
    lane.commit().unwrap();
    let killed = bed.killed();
    let segments = killed.segments(0);
    let path = segments[segments.len() - 2].clone();
    tear(&killed, &path);
    (killed, path)
}

fn tear(bed: &Bed, path: &Path) {
    let mut torn = bed.fs.read(path).unwrap();
    torn.extend_from_slice(b"torn");
    bed.fs.put(path, &torn);
}

/// What the command has when no configuration is named but the data dir.
fn repaired(bed: &Bed) -> Vec<DamagedFile> {
    let config = Config { data_dir: bed.config.data_dir.clone(), ..Config::default() };
    let fixed = repair(&config, bed.environment()).unwrap();
    let fs: Arc<dyn FileSystem> = Arc::new(bed.fs.clone());
    assert_eq!(damaged_files(&config, &fs).unwrap(), [], "nothing is damaged any more");
    fixed
}

fn chunk_files(bed: &Bed) -> Vec<(PathBuf, Vec<u8>)> {
    let chunks = bed.dir().join("chunks");
    let mut found = Vec::new();
    for hour in chunk_dir::hours(&bed.fs, &chunks).unwrap() {
        let dir = chunks.join(hour.to_string());
        let files = bed.fs.list(&dir).unwrap();
        // What was being written at a kill is no file of the history.
        let whole =
            files.into_iter().map(|file| dir.join(file.name)).filter(|path| path.extension() != Some("tmp".as_ref()));
        found.extend(whole.map(|path| (path.clone(), bed.fs.read(&path).unwrap())));
    }
    found
}

fn quarantined(bed: &Bed, file: &DamagedFile) -> Vec<u8> {
    let place = file.quarantined.as_ref().unwrap();
    assert!(place.starts_with(bed.dir().join("quarantine")));
    bed.fs.read(place).unwrap()
}

#[test]
fn history_of_a_year_ago_stays_whatever_is_damaged() {
    for what in [Part::Checkpoint, Part::Log] {
        let (bed, path) = match what {
            Part::Log => torn(),
            _ => {
                let bed = used();
                let newest = bed.checkpoints().pop().unwrap();
                bed.damage(&newest, 44);
                (bed, newest)
            }
        };
        let before = chunk_files(&bed);
        assert!(!before.is_empty());
        bed.clock.set(Timestamp(bed.now().0 + 365 * 86_400 * SECOND));
        let bytes = bed.fs.read(&path).unwrap();
        let fixed = repaired(&bed);
        assert_eq!(fixed.iter().map(|file| (&file.path, file.part)).collect::<Vec<_>>(), [(&path, what)]);
        assert_eq!(quarantined(&bed, &fixed[0]), bytes);
        let after = chunk_files(&bed);
        assert!(before.iter().all(|file| after.contains(file)), "{what:?}");
    }
}

#[test]
fn a_damaged_chunk_of_a_year_ago_keeps_its_counts() {
    let bed = used();
    bed.clock.set(Timestamp(bed.now().0 + 365 * 86_400 * SECOND));
    let checkpoints = bed.checkpoints();
    let (path, _) = chunk_files(&bed).remove(0);
    // Its only group.
    bed.damage(&path, 60);
    let fixed = repaired(&bed);
    assert_eq!((fixed[0].part, fixed[0].events_kept, fixed[0].events_counted), (Part::History, Some(0), Some(300)));
    assert!(bed.fs.read(&path).is_ok());
    assert_eq!(bed.checkpoints(), checkpoints, "what was learned is not touched");
}

#[test]
fn more_templates_than_the_configuration_allows_stay_and_so_does_the_newest_sound_checkpoint() {
    let bed = Bed::new();
    for _ in 0..2 {
        let engine = bed.open();
        let mut lane = engine.lane().unwrap();
        for n in 0..40u8 {
            let word = format!("{}{}", char::from(b'a' + n % 26), char::from(b'a' + n / 26));
            (0..5).for_each(|_| _ = say(&mut lane, &format!("{word}{word} {word}ing {word}er")));
        }
        lane.close().unwrap();
        engine.close().unwrap();
    }
    let templates = bed.killed().open().stats().templates;
    assert!(templates > 30);
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    work(&mut lane, 10);
    lane.commit().unwrap();
    let bed = bed.killed();
    let segments = bed.segments(0);
    tear(&bed, &segments[segments.len() - 2]);
    let before = bed.checkpoints();
    let newest = before.last().unwrap();
    let bytes = bed.fs.read(newest).unwrap();
    let small = Config { max_templates: 3, ..bed.config.clone() };
    assert_eq!(repair(&small, bed.environment()).unwrap().len(), 1);
    assert_eq!(bed.fs.read(newest).unwrap(), bytes);
    let after = bed.checkpoints();
    assert!(after.len() == 2 && after[0] == *newest, "one was written: {after:?}");
    assert_eq!(bed.open().stats().templates, templates + 1, "and that of the log");
}

#[test]
fn a_torn_tail_before_another_segment_is_repaired_for_good() {
    let (bed, path) = torn();
    assert!(bed.killed().open().recovery().is_damaged());
    let fixed = repaired(&bed);
    assert_eq!(fixed.iter().map(|file| &file.path).collect::<Vec<_>>(), [&path]);
    let again = bed.open();
    assert!(!again.recovery().is_damaged(), "{:?}", again.recovery());
    assert_eq!(again.stats().events_total, 700);
}

#[test]
fn a_damaged_log_in_common_is_told_and_kept_and_looking_sees_what_it_restores() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lanes: Vec<Lane> = (0..2).map(|_| engine.lane().unwrap()).collect();
    // Two lanes that wait at the same time use it.
    let group = bed.dir().join("wal/group");
    let records = |bed: &Bed| bed.fs.list(&group).unwrap_or_default().iter().map(|file| file.bytes).sum::<u64>();
    for _ in 0..500 {
        std::thread::scope(|scope| {
            for lane in &mut lanes {
                scope.spawn(|| {
                    work(lane, 10);
                    lane.commit().unwrap();
                });
            }
        });
        if records(&bed) > 400 {
            break;
        }
    }
    let powerless = bed.powerless();
    let answered = engine.stats().events_total;
    assert!(records(&bed) > 400, "the log in common was used");
    let looked = Engine::inspect(&powerless.config, powerless.environment()).unwrap();
    assert!(looked.recovery().group.records > 1 && looked.stats().events_total >= answered);
    let real = powerless.killed().open();
    assert_eq!(looked.stats().events_total, real.stats().events_total, "looking sees what opening restores");
    looked.close().unwrap();
    let file =
        powerless.dir().join("wal/group").join(&powerless.fs.list(&powerless.dir().join("wal/group")).unwrap()[0].name);
    powerless.damage(&file, 45);
    let told = powerless.killed().open().recovery().clone();
    assert!(told.is_damaged());
    assert_eq!((told.group.damage[0].offset, told.group.damage_total, told.group.quarantined.len()), (40, 1, 1));
    let bytes = powerless.fs.read(&file).unwrap();
    let fixed = repaired(&powerless);
    let in_common = fixed.iter().find(|file| file.part == Part::LogInCommon).unwrap();
    assert_eq!(quarantined(&powerless, in_common), bytes);
}

#[test]
fn torn_tails_are_listed_once_with_several_lanes() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lanes: Vec<Lane> = (0..2).map(|_| engine.lane().unwrap()).collect();
    lanes.iter_mut().for_each(|lane| {
        work(lane, 10);
        lane.commit().unwrap();
    });
    let killed = bed.killed();
    let path = killed.segments(0).pop().unwrap();
    let mut torn = killed.fs.read(&path).unwrap();
    torn.extend_from_slice(b"torn");
    killed.fs.put(&path, &torn);
    let looked = Engine::inspect(&killed.config, killed.environment()).unwrap();
    assert_eq!(looked.recovery().lanes[0].torn_tails.len(), 1, "{:?}", looked.recovery());
}

#[test]
fn a_damaged_object_of_the_journal_keeps_its_whole_lines() {
    let matches = RuleMatch::Regex { regex: "panic".to_owned() };
    let always = EventRule { name: "panic".to_owned(), matches, action: RuleAction::Always };
    let bed = Bed::with(Config { rules: vec![always], ..Config::default() });
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    work(&mut lane, 200);
    (0..3).for_each(|n| _ = say(&mut lane, &format!("kernel panic number {n}: cannot mount root, giving up")));
    lane.close().unwrap();
    engine.close().unwrap();
    let fs: Arc<dyn FileSystem> = Arc::new(bed.fs.clone());
    let read = || incidents::read(&bed.config, &fs, &Reading::default()).unwrap();
    let before = read().incidents.len();
    assert_eq!(before, 3);
    let object = files(&bed, &bed.dir().join("journal")).remove(0);
    bed.damage(&object, 30);
    assert_eq!(read().damaged_lines, 1);
    let fixed = repaired(&bed);
    assert_eq!((fixed[0].part, fixed[0].events_kept), (Part::Journal, Some(before as u64 - 1)));
    assert_eq!((read().incidents.len(), read().damaged_lines), (before - 1, 0));
    assert!(incidents::verify(&bed.config, &fs).unwrap().is_whole());
}

fn files(bed: &Bed, dir: &Path) -> Vec<PathBuf> {
    let entries = bed.fs.list(dir).unwrap().into_iter();
    entries
        .flat_map(|entry| if entry.is_dir { files(bed, &dir.join(entry.name)) } else { vec![dir.join(entry.name)] })
        .collect()
}

#[test]
fn a_repair_that_is_cut_short_anywhere_is_completed_by_the_next() {
    let (damaged, _) = torn();
    let (path, _) = chunk_files(&damaged).remove(0);
    // Its footer: every event is whole.
    damaged.damage(&path, -3);
    damaged.damage(damaged.checkpoints().last().unwrap(), 50);
    let mut cut_short = 0;
    for operation in (0..).step_by(2) {
        let bed = damaged.killed();
        bed.fs.set_faults(Faults { one_after: Some(operation), ..Faults::default() });
        let was_cut = repair(&bed.config, bed.environment()).is_err();
        cut_short += u64::from(was_cut);
        // And the power goes.
        let bed = bed.powerless();
        repaired(&bed);
        let events: usize = bed.chunks().iter().map(|group| group.events.len()).sum();
        assert_eq!(events, 700, "operation {operation}: no event of the history is missing, none is there twice");
        assert_eq!(bed.open().stats().events_total, 700, "operation {operation}");
        // Some that fail are tried again, or are not needed.
        if !was_cut && operation > 60 {
            break;
        }
    }
    assert!(cut_short > 10, "{cut_short}");
}

#[test]
fn checkpoints_and_other_files_are_set_aside_on_a_full_disk() {
    let bed = used();
    let newest = bed.checkpoints().pop().unwrap();
    bed.damage(&newest, 50);
    bed.fs.set_faults(Faults { capacity_bytes: Some(0), ..Faults::default() });
    assert_eq!(repaired(&bed).len(), 1);
    bed.fs.set_faults(Faults::default());
    assert_eq!(bed.open().stats().events_total, 600);
}
