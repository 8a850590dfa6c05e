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

#[test]
fn a_single_slow_source_that_stops_is_told_while_its_events_are_news_though_its_clock_is_off() {
    for (skew_secs, told) in [(0, 1), (-300, 1), (300, 1), (-86_400, 0)] {
        let bed = Bed::with(Config { time: TimeSource::Event, ..Config::default() });
        let engine = bed.open();
        let mut lane = engine.lane().unwrap();
        let mut found = Vec::new();
        for second in 0..60_000 {
            let now = 1_800_000_000 + second;
            if second % 240 == 0 && second < 48_000 {
                let written = Timestamp((now + skew_secs) * SECOND);
                lane.observe(&Observation::new(b"backup of the catalogue is whole", written));
            }
            found.extend(lane.tick(Timestamp(now * SECOND)).into_iter().map(|silence| (second, silence.timestamp)));
        }
        assert_eq!(found.len(), told, "{skew_secs}: {found:?}");
        if let Some((second, time)) = found.first() {
            assert!((48_000..50_000).contains(second), "{skew_secs}: told after {second}");
            let of_host = Timestamp((1_800_000_000 + second + skew_secs) * SECOND);
            assert!(time.seconds_since(of_host).abs() < 2.0, "by the host's clock");
        }
    }
}
