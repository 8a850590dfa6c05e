//! The values of a line belong to places of its template, whatever the words between them look like.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use oddline::clock::ManualClock;
use oddline::config::{Config, EventRule, RuleAction, RuleMatch};
use oddline::engine::{Engine, Environment, Lane};
use oddline::event::{Measure, Observation, Reason, Timestamp, Verdict};
use oddline::storage::RealFs;

const NAMES: [&str; 12] = ["ann", "bob", "cy", "dot", "eve", "fay", "gus", "hal", "ida", "joe", "kim", "lea"];

fn open(config: &Config) -> Engine {
    let environment = Environment { clock: Arc::new(ManualClock::new(Timestamp(0))), fs: Arc::new(RealFs) };
    Engine::open(config, environment).unwrap()
}

fn observe(lane: &mut Lane, line: &str, n: usize) -> Verdict {
    lane.observe(&Observation::new(line.as_bytes(), Timestamp(n as i64 * 1_000)))
}

fn logins(lane: &mut Lane) {
    for n in 0..14_000 {
        observe(lane, &format!("login of {} took {} ms", NAMES[n % 12], 4 + n % 6), n);
    }
}

fn is_outlier(verdict: &Verdict) -> bool {
    verdict.reasons().any(|reason| reason == Reason::NumericOutlier)
}

fn tells_a_name_from_a_duration(lane: &mut Lane) {
    let name = observe(lane, "login of 98765432 took 5 ms", 14_001);
    assert!(!is_outlier(&name), "a name of digits is no duration: {}", name.score);
    let odd = observe(lane, "login of 17 took 98765432 ms", 14_002);
    assert!(is_outlier(&odd) && odd.score > 0.9, "{}", odd.score);
    let Some(Measure::Amount { observed, unit, .. }) = odd.measure else { panic!("{:?}", odd.measure) };
    assert_eq!((observed, unit), (98_765_432.0, "ms"));
}

#[test]
fn a_name_that_a_mask_finds_does_not_shift_the_values_behind_it() {
    let engine = open(&Config::default());
    let mut lane = engine.lane().unwrap();
    logins(&mut lane);
    tells_a_name_from_a_duration(&mut lane);
}

#[test]
fn what_a_rule_tells_always_or_never_has_its_measure_too() {
    for action in [RuleAction::Always, RuleAction::Never] {
        let matches = RuleMatch::Regex { regex: "^login of".to_owned() };
        let rules = vec![EventRule { name: "logins".to_owned(), matches, action }];
        let engine = open(&Config { rules, ..Config::default() });
        let mut lane = engine.lane().unwrap();
        logins(&mut lane);
        let usual = observe(&mut lane, "login of ann took 5 ms", 14_000);
        assert_eq!((usual.is_anomaly, usual.measure), (action == RuleAction::Always, None));
        tells_a_name_from_a_duration(&mut lane);
    }
}

#[test]
fn nor_does_it_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().to_owned()), ..Config::default() };
    let engine = open(&config);
    let mut lane = engine.lane().unwrap();
    logins(&mut lane);
    lane.close().unwrap();
    engine.close().unwrap();
    let engine = open(&config);
    tells_a_name_from_a_duration(&mut engine.lane().unwrap());
}

#[test]
fn a_word_in_place_of_a_seed_s_wildcard_does_not_shift_the_values_behind_it() {
    let engine = open(&Config { seed_templates: vec!["login of <*> took <*> ms".to_owned()], ..Config::default() });
    let mut lane = engine.lane().unwrap();
    logins(&mut lane);
    let odd = observe(&mut lane, "login of zoe took 98765432 ms", 14_001);
    assert!(is_outlier(&odd), "{}", odd.score);
    for n in 0..2_000 {
        observe(&mut lane, &format!("login of {} took 5 ms", 4 + n % 6), 14_002 + n);
    }
    assert!(!is_outlier(&observe(&mut lane, "login of zoe took 5 ms", 17_000)));
    assert!(is_outlier(&observe(&mut lane, "login of 98765432 took 5 ms", 17_001)), "a seed's place has values too");
}

#[test]
fn what_was_learned_of_a_value_that_became_a_word_is_forgotten() {
    let engine = open(&Config::default());
    let mut lane = engine.lane().unwrap();
    let line = |n: usize| format!("copied x:{} in {} ms", 50_000_000 + n, 4 + n % 6);
    (0..14_000).for_each(|n| _ = observe(&mut lane, &line(n), n));
    for (n, name) in NAMES.iter().enumerate() {
        observe(&mut lane, &format!("copied {name} in 5 ms"), 14_000 + n);
    }
    assert!(!is_outlier(&observe(&mut lane, "copied x:50000000 in 7 ms", 14_020)));
    assert!(!is_outlier(&observe(&mut lane, "copied zoe in 7 ms", 14_021)));
}
