//! Words at a place that templates merged at are values: the odd one is told, names are not.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use oddline::clock::ManualClock;
use oddline::config::Config;
use oddline::engine::{Engine, Environment, Lane};
use oddline::event::{Observation, Reason, State, Timestamp, Verdict};
use oddline::storage::RealFs;

const PROGRAMS: [&str; 8] =
    ["chrome.exe", "word.exe", "excel.exe", "outlook.exe", "teams.exe", "explorer.exe", "svchost.exe", "notepad.exe"];

const STATES: [&str; 7] = ["idle", "busy", "ready", "closed", "waiting", "starting", "stopping"];

fn open(config: &Config) -> Engine {
    let environment = Environment { clock: Arc::new(ManualClock::new(Timestamp(0))), fs: Arc::new(RealFs) };
    Engine::open(config, environment).unwrap()
}

fn config() -> Config {
    Config { learning_events: 1_000, ..Config::default() }
}

fn observe(lane: &mut Lane, line: &str, n: usize) -> Verdict {
    lane.observe(&Observation::new(line.as_bytes(), Timestamp(n as i64 * 100_000)))
}

/// In no order, the same each time.
fn shuffled(n: usize) -> usize {
    let mixed = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) as usize >> 40
}

fn started(program: &str) -> String {
    format!("process {program} started by svc")
}

fn see_programs(lane: &mut Lane, events: std::ops::Range<usize>) {
    for n in events {
        let program = PROGRAMS[shuffled(n) % PROGRAMS.len()];
        let verdict = observe(lane, &started(program), n);
        assert!(n < 1_000 || !verdict.is_anomaly, "{program} at {n}");
    }
}

fn is_told(verdict: &Verdict, reason: Reason) -> bool {
    verdict.state == State::Ready && verdict.is_anomaly && verdict.reasons().next() == Some(reason)
}

#[test]
fn a_program_never_seen_is_odd_where_templates_of_few_programs_merged() {
    let engine = open(&config());
    let mut lane = engine.lane().unwrap();
    see_programs(&mut lane, 0..5_000);
    let odd = observe(&mut lane, &started("mimikatz.exe"), 5_000);
    assert!(is_told(&odd, Reason::NewValue), "{odd:?}");
    assert_eq!(lane.template_text(odd.template).as_deref(), Some("process <*> started by svc"));
    assert!(!observe(&mut lane, &started("chrome.exe"), 5_001).is_anomaly);
}

#[test]
fn so_it_is_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().to_owned()), ..config() };
    let engine = open(&config);
    let mut lane = engine.lane().unwrap();
    see_programs(&mut lane, 0..5_000);
    lane.close().unwrap();
    engine.close().unwrap();
    let engine = open(&config);
    let odd = observe(&mut engine.lane().unwrap(), &started("mimikatz.exe"), 5_000);
    assert!(is_told(&odd, Reason::NewValue), "{odd:?}");
}

#[test]
fn the_second_program_ever_is_odd_though_it_is_what_makes_the_place_a_variable() {
    let engine = open(&config());
    let mut lane = engine.lane().unwrap();
    (0..5_000).for_each(|n| _ = observe(&mut lane, &started("chrome.exe"), n));
    let odd = observe(&mut lane, &started("mimikatz.exe"), 5_000);
    assert!(odd.is_anomaly, "{odd:?}");
}

#[test]
fn so_is_the_eighth_word_that_merges_seven_known_since_long() {
    let engine = open(&config());
    let mut lane = engine.lane().unwrap();
    for n in 0..6_000 {
        observe(&mut lane, &format!("worker is {} again", STATES[shuffled(n) % STATES.len()]), n);
    }
    let odd = observe(&mut lane, "worker is hijacked again", 6_000);
    assert_eq!(lane.template_text(odd.template).as_deref(), Some("worker is <*> again"));
    assert!(is_told(&odd, Reason::NewValue), "{odd:?}");
}

/// Letters for a number: no mask takes it for one.
fn name(mut number: usize) -> String {
    let mut name = String::from("n");
    loop {
        name.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
        if number == 0 {
            return name;
        }
    }
}

/// Alerts of 30,000 logins, each of a name that `who` gives.
fn alerts(who: impl Fn(usize) -> usize) -> usize {
    let engine = open(&config());
    let mut lane = engine.lane().unwrap();
    let mut alerts = 0;
    for n in 0..60_000 {
        let line = match n % 2 {
            0 => format!("session opened for {} by root", name(who(n / 2))),
            _ => format!("request {n} served"),
        };
        alerts += usize::from(observe(&mut lane, &line, n).is_anomaly);
    }
    alerts
}

#[test]
fn names_that_grow_for_ever_stay_within_the_budget() {
    let budget = (60_000.0 * 0.001) as usize;
    for (kind, found) in [
        ("a new one now and then", alerts(|n| shuffled(n) % (1 + n / 500))),
        ("ever fewer new ones", alerts(|n| shuffled(n) % (1 + n.isqrt() / 3))),
        ("a new one each time", alerts(|n| n)),
        ("few usual ones, many others", alerts(|n| if n % 10 == 0 { n } else { shuffled(n) % 5 })),
    ] {
        assert!(found <= budget, "{kind}: {found} alerts, {budget} allowed");
    }
}
