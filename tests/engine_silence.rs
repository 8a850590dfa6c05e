//! Silences across restarts.

#![allow(clippy::unwrap_used)]

mod engine_support;

use engine_support::{Bed, SECOND};
use oddline::Lane;
use oddline::config::{Config, TimeSource};
use oddline::event::{Observation, Timestamp};

#[test]
fn an_hour_in_which_the_process_was_away_is_no_silence_and_what_does_not_come_back_is_told() {
    let bed = Bed::with(Config { time: TimeSource::Event, ..Config::default() });
    let say_at = |lane: &mut Lane, secs: i64, line: &str| {
        lane.observe(&Observation::new(line.as_bytes(), Timestamp(secs * SECOND)));
        lane.take_synthetic().len()
    };
    let beats = ["pulse of the database", "queue is empty", "watchdog fed"];
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    let told: usize =
        (1..600).map(|n| beats.map(|beat| say_at(&mut lane, n * 5, beat)).into_iter().sum::<usize>()).sum();
    assert_eq!(told, 0);
    lane.close().unwrap();
    engine.close().unwrap();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    let back = |n: i64| 3_000 + 3_600 + n * 5;
    // One comes back after the others, and one never.
    let first: usize = (0..3).map(|n| say_at(&mut lane, back(n), beats[0])).sum();
    assert_eq!(first, 0, "the others may come yet");
    let told: usize =
        (3..60).map(|n| say_at(&mut lane, back(n), beats[0]) + say_at(&mut lane, back(n), beats[1])).sum();
    assert_eq!(told, 1);
}
