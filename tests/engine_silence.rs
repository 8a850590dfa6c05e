//! Silences across restarts.

#![allow(clippy::unwrap_used)]

mod engine_support;

use engine_support::{Bed, SECOND};
use oddline::Lane;
use oddline::config::{Config, TimeSource};
use oddline::engine::Synthetic;
use oddline::engine::incidents::Reading;
use oddline::event::{Observation, StreamKey, StreamName, Timestamp};

#[derive(Debug)]
struct Named(&'static str);

impl StreamName for Named {
    fn values(&self) -> Vec<Option<String>> {
        vec![Some(self.0.to_owned())]
    }
}

fn key_of(host: &str) -> StreamKey {
    StreamKey::of_values([Some(host)].into_iter())
}

/// A heartbeat on each host every five seconds; what is told of silences.
fn beat(lane: &mut Lane, seconds: std::ops::Range<i64>, hosts: &[&'static str], are_named: bool) -> Vec<Synthetic> {
    let mut told = Vec::new();
    for second in seconds.step_by(5) {
        for host in hosts {
            let name = Named(host);
            let observation = Observation {
                stream: key_of(host),
                stream_name: are_named.then_some(&name),
                ..Observation::new(b"pulse of the database", Timestamp(second * SECOND))
            };
            lane.observe(&observation);
        }
        told.extend(lane.take_synthetic());
    }
    told
}

fn of_db1(told: &[Synthetic]) -> (StreamKey, Vec<(String, String)>) {
    assert_eq!(told.len(), 1, "{told:?}");
    (told[0].stream, told[0].stream_values.clone())
}

#[test]
fn a_silence_on_one_of_two_hosts_names_it_also_when_it_was_last_seen_before_a_restart() {
    let named = (key_of("db1"), vec![("host".to_owned(), "db1".to_owned())]);
    for is_restarted in [false, true] {
        let bed = Bed::with(Config { time: TimeSource::Event, ..Config::default() });
        let mut engine = bed.open();
        let mut lane = engine.lane().unwrap();
        assert!(beat(&mut lane, 1_000..3_000, &["db1", "db2"], true).is_empty());
        if is_restarted {
            lane.close().unwrap();
            engine.close().unwrap();
            engine = bed.open();
            lane = engine.lane().unwrap();
        }
        let told = beat(&mut lane, 3_000..3_200, &["db2"], true);
        assert_eq!(of_db1(&told), named, "{is_restarted}");
        let journal = engine.incidents(&Reading::default()).unwrap().incidents;
        let silence = journal.iter().map(|(_, row)| row).find(|row| row.synthetic).unwrap();
        assert_eq!((silence.stream.as_str(), silence.event_id.clone()), ("db1", told[0].verdict.event_id.to_string()));
    }
}

#[test]
fn a_crash_before_the_first_checkpoint_loses_a_name_until_its_stream_comes_again() {
    let bed = Bed::with(Config { time: TimeSource::Event, ..Config::default() });
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    beat(&mut lane, 1_000..3_000, &["db1", "db2"], true);
    lane.commit().unwrap();
    let killed = bed.killed();
    for (hosts, named) in [(&["db2"][..], false), (&["db1", "db2"], true)] {
        let copy = killed.killed();
        let engine = copy.open();
        let mut lane = engine.lane().unwrap();
        // An odd gap, or one in 256, asks for the name again.
        beat(&mut lane, 3_000..5_000, hosts, true);
        let told = if named { beat(&mut lane, 5_000..5_200, &["db2"], true) } else { Vec::new() };
        let journal = engine.incidents(&Reading::default()).unwrap().incidents;
        let stream = journal.iter().map(|(_, row)| row).find(|row| row.synthetic).unwrap().stream.clone();
        let expected = if named { "db1".to_owned() } else { format!("{:016x}", key_of("db1").0) };
        assert_eq!((stream, told.len()), (expected, usize::from(named)));
    }
}

#[test]
fn where_nobody_names_streams_a_silence_tells_the_key() {
    let bed = Bed::with(Config { time: TimeSource::Event, ..Config::default() });
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    beat(&mut lane, 1_000..3_000, &["db1", "db2"], false);
    assert_eq!(of_db1(&beat(&mut lane, 3_000..3_200, &["db2"], false)), (key_of("db1"), Vec::new()));
}

#[test]
fn what_has_to_go_from_the_tables_by_stream_is_counted() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    let evicted = |engine: &oddline::Engine| {
        let stats = engine.stats();
        [stats.rate_series_evicted_total, stats.silence_series_evicted_total, stats.stream_orders_evicted_total]
    };
    for n in 0..20_000u64 {
        let stream = StreamKey::of_values([Some(format!("host-{n}"))].into_iter());
        lane.observe(&Observation { stream, ..Observation::new(b"pulse of the database", bed.now()) });
        if n == 1_000 {
            bed.advance(2, &mut lane);
            assert_eq!(evicted(&engine), [0; 3], "there is room");
        }
    }
    bed.advance(2, &mut lane);
    let gone = evicted(&engine);
    assert!(gone.iter().all(|gone| (11_800..20_000).contains(gone)), "8,192 of 20,000 stay at the most: {gone:?}");
    bed.advance(2, &mut lane);
    assert_eq!(evicted(&engine), gone, "each is counted once");
}

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
