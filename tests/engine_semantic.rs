//! The detector `semantic`: off unless it has a weight, fitted once, frozen, and fitted again when somebody says so.

#![allow(clippy::unwrap_used)]

mod engine_support;

use engine_support::Bed;
use oddline::config::Config;
use oddline::engine::EngineError;
use oddline::event::{DetectorKind, Observation, Reason, Timestamp, Verdict};
use oddline::{Engine, Lane};

const ODD: &str = "kernel panic: interrupt handler corrupt";
const OTHER: &str = "licence of vendor expires tomorrow";

fn bed(semantic_weight: f64) -> Bed {
    Bed::with(Config { semantic_weight, ..Config::default() })
}

fn observe(lane: &mut Lane, n: i64, text: &str) -> Verdict {
    lane.observe(&Observation::new(text.as_bytes(), Timestamp(1_000_000_000 + n * 1_000_000)))
}

/// A few templates: what differs in one place alone becomes one.
fn routine(lane: &mut Lane, from: i64, count: i64) -> Vec<Verdict> {
    const NOUNS: [&str; 10] =
        ["block", "session", "request", "order", "socket", "lease", "chunk", "page", "task", "volume"];
    const VERBS: [&str; 4] = ["opened", "closed", "served", "queued"];
    let text = |n: i64| {
        format!("INFO storage: {} {} in {} ms", NOUNS[n as usize % 10], VERBS[n as usize / 10 % 4], 10 + n % 7)
    };
    (from..from + count).map(|n| observe(lane, n, &text(n))).collect()
}

fn said(verdict: &Verdict) -> f32 {
    verdict.evidence[DetectorKind::Semantic as usize]
}

/// Learns, and waits for what is fitted then.
fn learned(bed: &Bed) -> (Engine, Lane) {
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    routine(&mut lane, 0, 400);
    bed.advance(2, &mut lane);
    engine.calibrated();
    bed.advance(2, &mut lane);
    (engine, lane)
}

#[test]
fn with_a_weight_what_means_something_else_is_told_and_less_the_more_of_it_there_was() {
    let bed = bed(1.0);
    let (engine, mut lane) = learned(&bed);
    let fitted = engine.calibrated().unwrap();
    assert!(fitted.templates >= 4 && fitted.clusters >= 1 && fitted.threshold >= 0.3, "{fitted:?}");
    let odd = observe(&mut lane, 400, ODD);
    assert!(said(&odd) > 6.0 && odd.is_anomaly, "{odd:?}");
    assert!(odd.reasons().any(|reason| reason == Reason::Semantic), "{odd:?}");
    assert!(routine(&mut lane, 402, 80).iter().all(|verdict| said(verdict) == 0.0));
    let later: Vec<f32> = (0..50).map(|n| said(&observe(&mut lane, 500 + n, ODD))).collect();
    assert!(later.windows(2).all(|two| two[1] < two[0]), "{later:?}");
}

#[test]
fn without_a_weight_nothing_is_fitted_and_verdicts_are_as_if_it_were_not_there() {
    let bed = bed(0.0);
    let (engine, mut lane) = learned(&bed);
    assert_eq!(engine.calibrated(), None);
    assert_eq!(said(&observe(&mut lane, 400, ODD)), 0.0);
    // What was fitted by hand is kept, and still not looked at.
    engine.recalibrate().unwrap();
    bed.advance(2, &mut lane);
    assert_eq!(said(&observe(&mut lane, 401, OTHER)), 0.0);
}

#[test]
fn it_is_frozen_until_somebody_has_it_fitted_again() {
    let bed = bed(1.0);
    let (engine, mut lane) = learned(&bed);
    let first = engine.calibrated().unwrap();
    for n in 0..30 {
        observe(
            &mut lane,
            400 + n,
            &format!("licence server: {} of vendor expires", ["seat", "lease", "token"][n as usize % 3]),
        );
        bed.advance(2, &mut lane);
    }
    assert_eq!(engine.calibrated().unwrap(), first);
    let changed = engine.recalibrate().unwrap();
    assert!(changed.after.templates > first.templates, "{changed:?}");
    assert_eq!(changed.before, Some(first));
    bed.checkpoint(&engine, &mut lane);
    lane.close().unwrap();
    engine.close().unwrap();
    let engine = bed.open();
    assert_eq!(engine.calibrated().unwrap(), changed.after, "it comes back with the checkpoint");
}

#[test]
fn a_restart_in_the_middle_changes_no_verdict() {
    let (whole, cut) = (bed(1.0), bed(1.0));
    let tail = |lane: &mut Lane, part: i64| -> Vec<Verdict> {
        let mut verdicts = routine(lane, 400 + part * 50, 40);
        verdicts.push(observe(lane, 445 + part * 50, ODD));
        verdicts.push(observe(lane, 446 + part * 50, OTHER));
        verdicts
    };
    let (_engine, mut lane) = learned(&whole);
    let expected: Vec<Verdict> = (0..4).flat_map(|part| tail(&mut lane, part)).collect();
    let (engine, mut lane) = learned(&cut);
    // The fit is durable; what follows is in the log alone.
    cut.checkpoint(&engine, &mut lane);
    let mut verdicts: Vec<Verdict> = (0..2).flat_map(|part| tail(&mut lane, part)).collect();
    lane.commit().unwrap();
    let killed = cut.killed();
    let engine = killed.open();
    assert!(engine.recovery().events_replayed > 0);
    let mut lane = engine.lane().unwrap();
    verdicts.extend((2..4).flat_map(|part| tail(&mut lane, part)));
    let of = |verdicts: &[Verdict]| -> Vec<_> {
        verdicts.iter().map(|verdict| (verdict.score, verdict.evidence, verdict.is_anomaly)).collect()
    };
    assert!(verdicts.iter().filter(|verdict| said(verdict) > 0.0).count() >= 6);
    assert_eq!(of(&verdicts), of(&expected));
}

#[test]
fn without_a_word_there_is_nothing_to_calibrate_by() {
    let bed = bed(1.0);
    let engine = bed.open();
    assert!(matches!(engine.recalibrate(), Err(EngineError::NothingToCalibrate)));
    let mut lane = engine.lane().unwrap();
    for n in 0..200 {
        observe(&mut lane, n, &n.to_string());
        bed.advance(2, &mut lane);
    }
    assert_eq!(engine.calibrated(), None, "it is begun again and again, and never there");
}
