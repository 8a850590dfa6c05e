//! Templates that are known from the start.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use oddline::clock::ManualClock;
use oddline::config::Config;
use oddline::engine::{Engine, Environment, Lane};
use oddline::event::{Observation, Reason, Timestamp, Verdict};
use oddline::storage::RealFs;

fn environment() -> Environment {
    Environment { clock: Arc::new(ManualClock::new(Timestamp(0))), fs: Arc::new(RealFs) }
}

fn config() -> Config {
    Config {
        seed_templates: vec!["session  opened for <*> uid=<*>".to_owned(), "took 12 ms".to_owned()],
        seed_logs: vec!["disk 17 is 97% full".to_owned()],
        learning_events: 100,
        ..Config::default()
    }
}

fn observe(lane: &mut Lane, line: &str, n: i64) -> Verdict {
    lane.observe(&Observation::new(line.as_bytes(), Timestamp(n * 1_000)))
}

fn is_new(verdict: &Verdict) -> bool {
    verdict.reasons().any(|reason| reason == Reason::NewTemplate)
}

#[test]
fn the_first_line_of_a_seed_is_not_new_and_has_its_template() {
    let engine = Engine::open(&config(), environment()).unwrap();
    let mut lane = engine.lane().unwrap();
    for (line, text) in [
        ("session opened for ann uid=17", "session opened for <*> uid=<*>"),
        ("session opened for bob uid=", "session opened for bob uid="),
        ("took 99 ms", "took <*> ms"),
        ("disk 23 is 3% full", "disk <*> is <*> full"),
    ] {
        let verdict = observe(&mut lane, line, 0);
        assert_eq!(is_new(&verdict), text.ends_with("uid="), "{line}");
        assert_eq!(&*lane.template_text(verdict.template).unwrap(), text);
    }
    assert!(is_new(&observe(&mut lane, "never heard of it", 1)));
}

#[test]
fn a_seed_in_its_natural_notation_is_met_by_the_lines_it_is_of() {
    let seeds = ["took <*>ms", "got blk_<*> at <*>:<*>", "<*>% of <*> KB", "GET <*> HTTP/1.1"];
    let seed_templates = seeds.map(str::to_owned).to_vec();
    let engine =
        Engine::open(&Config { seed_templates, learning_events: 100, ..Config::default() }, environment()).unwrap();
    let mut lane = engine.lane().unwrap();
    for line in ["took 12ms", "got blk_-42 at 10.0.0.1:80", "97% of 4.0 KB", "GET /a/b HTTP/1.1"] {
        assert!(!is_new(&observe(&mut lane, line, 0)), "{line}");
    }
    assert_eq!(engine.templates().len(), seeds.len());
}

#[test]
fn seeds_are_planted_once_and_keep_their_ids_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().join("data")), ..config() };
    let mut ids = Vec::new();
    for run in 0..3 {
        let engine = Engine::open(&config, environment()).unwrap();
        let mut lane = engine.lane().unwrap();
        let verdict = observe(&mut lane, &format!("session opened for user{run} uid=17"), run);
        assert!(!is_new(&verdict));
        ids.push(verdict.template);
        lane.close().unwrap();
        assert_eq!(engine.templates().len(), 3, "run {run}");
        engine.close().unwrap();
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn a_crash_before_the_first_checkpoint_leaves_events_of_seeds_resolvable() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        Config { data_dir: Some(dir.path().join("data")), durability: oddline::config::Durability::Always, ..config() };
    let engine = Engine::open(&config, environment()).unwrap();
    let mut lane = engine.lane().unwrap();
    let before = observe(&mut lane, "session opened for ann uid=1", 0);
    lane.commit().unwrap();
    let crashed = dir.path().join("crashed");
    copy(&dir.path().join("data"), &crashed);
    assert!(!crashed.join("state").read_dir().is_ok_and(|mut files| files.next().is_some()), "no checkpoint yet");
    let engine = Engine::open(&Config { data_dir: Some(crashed), ..config.clone() }, environment()).unwrap();
    assert_eq!((engine.recovery().events_replayed, engine.recovery().events_unresolved), (1, 0));
    let after = observe(&mut engine.lane().unwrap(), "session opened for bob uid=1", 1);
    assert_eq!(after.template, before.template);
    assert!(!is_new(&after));
}

#[test]
fn more_seeds_than_templates_fit_are_as_harmless_as_any_other_storm() {
    let config = Config { max_templates: 1, ..config() };
    let engine = Engine::open(&config, environment()).unwrap();
    let mut lane = engine.lane().unwrap();
    observe(&mut lane, "session opened for ann uid=17", 0);
    assert_eq!(engine.templates().len(), 1);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
