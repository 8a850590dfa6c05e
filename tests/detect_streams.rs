//! Detection on whole streams: incidents, lasting changes, and input that is not as it should be.

#![expect(clippy::unwrap_used, reason = "tests")]

mod detect_support;

use detect_support::OPTIONS;
use oddline::config::{Config, ConfigError, Format, TimeSource};
use oddline::detect::{Input, Model, ModelOptions, Scored};
use oddline::event::{DetectorKind, Measure, Observation, Reason, StreamKey, Timestamp, Verdict};
use oddline::{Engine, Environment, Lane};

/// Ten events a second.
fn at(n: u64) -> Timestamp {
    Timestamp(1_767_225_600_000_000 + n as i64 * 100_000)
}

/// A log with a loose order: rows of five templates out of `first..first + 30`, the row by chance.
fn routine(n: u64, first: usize) -> Input {
    let row = (n / 5).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let slot = first + (row % 6 * 5 + n % 5) as usize;
    Input { slot, timestamp: at(n), stream: StreamKey(1), ..Input::default() }
}

fn observe(model: &mut Model, events: std::ops::Range<u64>, input: impl Fn(u64) -> Input) -> Vec<Scored> {
    events.map(|n| model.observe(&input(n))).collect()
}

fn alerts(scored: &[Scored]) -> usize {
    scored.iter().filter(|scored| scored.is_anomaly).count()
}

#[test]
fn a_long_incident_does_not_raise_the_threshold_for_the_next_one() {
    let mut model = Model::new(OPTIONS);
    observe(&mut model, 0..30_000, |n| routine(n, 0));
    // A quarter of the calibration's half-life, half of its events odd: a flood of two new templates.
    let incident = |n: u64| {
        if n.is_multiple_of(2) { Input { slot: 90 + (n % 4) as usize, ..routine(n, 0) } } else { routine(n, 0) }
    };
    let flood = observe(&mut model, 30_000..35_000, incident);
    assert!((1..200).contains(&alerts(&flood)), "{} alerts", alerts(&flood));
    let next = model.observe(&Input { slot: 95, ..routine(35_000, 0) });
    assert!(next.is_anomaly, "{next:?}");
}

#[test]
fn after_a_lasting_change_the_alert_rate_settles_within_the_half_life() {
    let mut model = Model::new(OPTIONS);
    observe(&mut model, 0..30_000, |n| routine(n, 0));
    let change = observe(&mut model, 30_000..50_000, |n| routine(n, 50));
    assert!(alerts(&change[..1_000]) > 0, "it is noticed");
    let settled = alerts(&observe(&mut model, 50_000..70_000, |n| routine(n, 50)));
    assert!(settled <= 40, "{settled} alerts in 20,000 events with a budget of 20");
}

/// A log of an event every five seconds, and a job of 120 lines within 12 s, at `is_due` hours since the epoch; alerts of the job's lines by hour.
fn with_job(
    hours: std::ops::Range<i64>,
    is_due: impl Fn(i64) -> bool,
    lines: impl Fn(i64) -> i64,
) -> Vec<(i64, usize)> {
    let mut model = Model::new(ModelOptions { half_life_events: 2_000, learning_events: 5_000, ..OPTIONS });
    let mut alerted = Vec::new();
    let hour_micros = 3_600_000_000;
    for hour in hours {
        let mut alerts = 0;
        for n in 0..720 {
            let time = Timestamp(hour * hour_micros + n * 5_000_000);
            model.observe(&Input { timestamp: time, ..routine((hour * 720 + n) as u64, 0) });
            let here = if n == 12 && is_due(hour) { lines(hour) } else { 0 };
            for line in 0..here {
                let timestamp = Timestamp(time.0 + line * 100_000);
                let input = Input { slot: 90, timestamp, stream: StreamKey(2), ..Input::default() };
                alerts += usize::from(model.observe(&input).is_anomaly);
            }
        }
        if is_due(hour) {
            alerted.push((hour, alerts));
        }
    }
    alerted
}

/// A Thursday since the epoch, at midnight.
const MIDNIGHT: i64 = 24 * 7 * 2_920;

#[test]
fn the_nightly_job_alerts_at_first_and_then_no_more_but_at_noon_or_tenfold_it_does() {
    let is_due = |hour: i64| hour % 24 == 3 || hour == MIDNIGHT + 24 * 9 + 12;
    let lines = |hour: i64| if hour == MIDNIGHT + 24 * 8 + 3 { 1_200 } else { 120 };
    let alerts = with_job(MIDNIGHT..MIDNIGHT + 24 * 11, is_due, lines);
    let of = |day: i64, hour: i64| {
        alerts.iter().find(|(at, _)| *at == MIDNIGHT + day * 24 + hour).map_or(0, |(_, alerts)| *alerts)
    };
    assert!(of(0, 3) + of(1, 3) > 0, "{alerts:?}");
    let quiet: usize = [3, 4, 5, 6, 7, 9, 10].map(|day| of(day, 3)).iter().sum();
    assert!(quiet <= 1, "{alerts:?}");
    assert!(of(8, 3) > 0, "ten times as much: {alerts:?}");
    assert!(of(9, 12) > 0, "at noon: {alerts:?}");
}

#[test]
fn the_weekly_job_alerts_at_first_and_from_the_fourth_week_on_no_more() {
    let is_due = |hour: i64| (hour - MIDNIGHT) % (24 * 7) == 76;
    let alerts = with_job(MIDNIGHT..MIDNIGHT + 24 * 7 * 5, is_due, |_| 120);
    let by_week: Vec<usize> = alerts.iter().map(|(_, alerts)| *alerts).collect();
    assert!(by_week[0] > 0 && by_week[1] > 0, "{by_week:?}");
    // The first week there was nothing to call it many by: how many are usual is known after two more.
    assert_eq!(by_week[3..], [0, 0], "{by_week:?}");
}

#[test]
fn input_that_is_not_as_it_should_be_gives_finite_answers() {
    let day = 86_400_000_000;
    type Clock = fn(u64) -> Timestamp;
    let times: [(&str, Clock); 6] = [
        ("backwards", |n| at(100_000 - n)),
        ("in one second", |_| at(0)),
        ("one an hour", |n| Timestamp(at(0).0 + n as i64 * 3_600_000_000)),
        ("before the epoch", |n| Timestamp(-(n as i64) * 1_000_000)),
        ("at the ends of time", |n| Timestamp(if n.is_multiple_of(2) { i64::MIN } else { i64::MAX })),
        ("shuffled", |n| at(n.wrapping_mul(7_919) % 50_000)),
    ];
    for (name, time) in times {
        let mut model = Model::new(OPTIONS);
        let scored = observe(&mut model, 0..15_000, |n| Input { timestamp: time(n), ..routine(n, 0) });
        for scored in scored {
            let sound = scored.p_value > 0.0 && scored.p_value <= 1.0 && scored.statistic.is_finite();
            assert!(sound && scored.evidence.iter().all(|nats| nats.is_finite() && *nats >= 0.0), "{name}: {scored:?}");
        }
    }
    let mut model = Model::new(OPTIONS);
    observe(&mut model, 0..20_000, |n| routine(n, 0));
    let jumped =
        observe(&mut model, 20_000..25_000, |n| Input { timestamp: Timestamp(at(n).0 + day), ..routine(n, 0) });
    assert!(alerts(&jumped) <= 15, "a clock that jumps a day: {}", alerts(&jumped));
}

#[test]
fn a_million_streams_stay_within_the_memory_of_a_few_thousand() {
    let mut model = Model::new(OPTIONS);
    let size = |model: &Model| {
        let mut bytes = Vec::new();
        model.checkpoint(&mut bytes);
        bytes.len()
    };
    let input = |n: u64| Input { stream: StreamKey(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)), ..routine(n, 0) };
    observe(&mut model, 0..100_000, input);
    let before = size(&model);
    observe(&mut model, 100_000..1_000_000, input);
    assert!(size(&model) < before + before / 4, "{before} bytes became {}", size(&model));
}

#[test]
fn budgets_and_half_lives_without_a_meaning_are_refused_and_a_model_survives_them() {
    for (text, range) in [
        ("alert_budget: 0\n", "from 0.000001 to 0.1"),
        ("alert_budget: 1\n", "from 0.000001 to 0.1"),
        ("half_life_events: 0\n", "from 100 to"),
        ("calibration_half_life_events: 0\n", "from 100 to"),
        ("rate_weight: -1\n", "from 0 to 10"),
    ] {
        let error: ConfigError = Config::from_str(text, Format::Yaml, "test").unwrap_err();
        assert!(error.to_string().contains(range), "{text}: {error}");
    }
    for budget in [0.0, 1.0, f64::NAN] {
        let odd = ModelOptions {
            alert_budget: budget.into(),
            half_life_events: 0,
            calibration_half_life_events: 0,
            ..OPTIONS
        };
        let scored = observe(&mut Model::new(odd), 0..20_000, |n| routine(n, 0));
        assert!(scored.iter().all(|scored| scored.p_value > 0.0), "{budget}");
    }
}

fn lane(config: Config) -> Lane {
    let config = Config { time: TimeSource::Event, learning_events: 4_000, ..config };
    Engine::open(&config, Environment::system()).unwrap().lane().unwrap()
}

fn say(lane: &mut Lane, n: u64, line: &str) -> Verdict {
    let mut observation = Observation::new(line.as_bytes(), at(n));
    observation.stream = StreamKey(1);
    lane.observe(&observation)
}

/// A second of a small service: a heartbeat, a query, and a status every ten seconds.
fn second(lane: &mut Lane, s: u64) {
    say(lane, s * 10, &format!("heartbeat {s} ok"));
    say(lane, s * 10 + 3, &format!("query took {}ms", 10 + s * 7 % 20));
    say(lane, s * 10 + 6, ["user root logged in", "user cron logged in"][s as usize % 2]);
    if s.is_multiple_of(10) {
        say(lane, s * 10 + 8, &format!("status of pool {s}: fine"));
    }
}

fn learned() -> Lane {
    let mut lane = lane(Config::default());
    (0..5_000).for_each(|s| second(&mut lane, s));
    lane
}

#[test]
fn a_number_far_from_its_like_is_told_in_its_own_unit() {
    let mut lane = learned();
    let verdict = say(&mut lane, 50_003, "query took 25000ms");
    assert!(verdict.is_anomaly, "{verdict:?}");
    assert_eq!(verdict.reasons().next(), Some(Reason::NumericOutlier));
    let Some(Measure::Amount { observed, low, high, unit }) = verdict.measure else { panic!("{verdict:?}") };
    assert_eq!((observed, unit), (25_000.0, "ms"));
    assert!(low <= 10.0 && (29.0..100.0).contains(&high), "{low} {high}");
}

#[test]
fn a_unit_that_is_a_word_of_its_own_is_the_numbers_too() {
    for (rest, unit) in [("ms in the queue", "ms"), ("seconds, then left", "seconds"), ("widgets", "")] {
        let mut lane = lane(Config::default());
        for s in 0..5_000 {
            say(&mut lane, s * 10, &format!("job waited for {} {rest}", 10 + s * 7 % 20));
            say(&mut lane, s * 10 + 5, &format!("heartbeat {s} ok"));
        }
        let verdict = say(&mut lane, 50_003, &format!("job waited for 25000 {rest}"));
        let Some(Measure::Amount { observed, unit: found, high, .. }) = verdict.measure else { panic!("{verdict:?}") };
        assert_eq!((observed, found), (25_000.0, unit));
        assert!((29.0..100.0).contains(&high), "{high}");
    }
}

#[test]
fn a_burst_is_told_with_what_was_expected() {
    let mut lane = learned();
    let burst: Vec<_> = (0..150).map(|n| say(&mut lane, 50_000 + n, "status of pool 7: fine")).collect();
    let first = burst.iter().find(|verdict| verdict.reasons().any(|reason| reason == Reason::RateSpike)).unwrap();
    let Some(Measure::Rate { observed, expected, is_drop: false, .. }) = first.measure else { panic!("{first:?}") };
    assert!(observed > expected && observed <= 156.0, "{observed} {expected}");
    assert!(burst.iter().filter(|verdict| verdict.is_anomaly).count() <= 12, "repeats are held");
}

#[test]
fn a_template_that_fell_silent_is_an_event_of_its_own_and_told_once() {
    let mut lane = learned();
    assert_eq!(lane.tick(Timestamp(0)), [], "all is well so far");
    for s in 5_000..5_100 {
        say(&mut lane, s * 10 + 3, &format!("query took {}ms", 10 + s * 7 % 20));
    }
    let told = lane.tick(Timestamp(0));
    let heartbeats: Vec<_> = told.iter().filter(|silent| &*silent.template_text == "heartbeat <*> ok").collect();
    assert_eq!(heartbeats.len(), 1, "{told:?}");
    let verdict = heartbeats[0].verdict;
    assert!(verdict.is_anomaly && verdict.reasons().eq([Reason::Silence]));
    assert!(matches!(verdict.measure, Some(Measure::Gap { observed_secs, .. }) if observed_secs < 40.0), "{verdict:?}");
    assert_eq!(lane.tick(Timestamp(0)), []);
}

#[test]
fn a_value_never_seen_where_there_are_few_is_told() {
    let mut lane = lane(Config::default());
    for n in 0..20_000u64 {
        say(&mut lane, n, &format!("reply with code={} sent", [200, 201, 404][n as usize % 3]));
    }
    let verdict = say(&mut lane, 20_000, "reply with code=403 sent");
    assert!(verdict.reasons().any(|reason| reason == Reason::NewValue), "{verdict:?}");
}

#[test]
fn an_events_own_level_counts_as_words_in_its_message_do() {
    let mut lane = learned();
    let mut severity = |level: Option<&str>| {
        let observation = Observation { level, ..Observation::new(b"status of pool 7: fine", at(50_000)) };
        lane.observe(&observation).evidence[DetectorKind::Severity as usize]
    };
    let [none, info, fatal] = [None, Some("info"), Some("FATAL")].map(&mut severity);
    assert_eq!((none, info), (0.0, 0.0));
    assert!(fatal >= 3.0, "{fatal}");
}

#[test]
fn a_weight_of_zero_leaves_a_detector_out() {
    let mut lane = lane(Config { silence_weight: 0.0, numeric_weight: 0.0, ..Config::default() });
    (0..5_000).for_each(|s| second(&mut lane, s));
    let verdict = say(&mut lane, 50_003, "query took 25000ms");
    assert!(!verdict.reasons().any(|reason| reason == Reason::NumericOutlier));
    (5_000..5_100).for_each(|s| _ = say(&mut lane, s * 10 + 3, "query took 11ms"));
    assert_eq!(lane.tick(Timestamp(0)), []);
}

/// Events of two hosts in turn, ten a second of each, of five templates; the clock of the second is `skew_secs` off.
fn of_two_hosts(n: u64, skew_secs: i64) -> Input {
    let host = n % 2;
    let time = at(n / 2).0 + if host == 1 { skew_secs * 1_000_000 } else { 0 };
    Input { slot: (n / 2 % 5) as usize, timestamp: Timestamp(time), stream: StreamKey(host + 1), ..Input::default() }
}

#[test]
fn a_host_whose_clock_is_minutes_off_makes_no_silence_and_hides_no_burst() {
    for skew_secs in [-300, -45, 45, 300, 7_200] {
        let mut model = Model::new(OPTIONS);
        let (mut alerts, mut silences) = (0, 0);
        for n in 0..60_000 {
            alerts += u32::from(model.observe(&of_two_hosts(n, skew_secs)).is_anomaly);
            let now = model.now();
            silences += u32::from(model.is_look_due(now) && model.tick(now).is_some());
        }
        assert!(alerts <= 60 && silences == 0, "{skew_secs}: {alerts} alerts, {silences} silences");
        let burst = (0..400).map(|n| Input { slot: 3, ..of_two_hosts(60_000 + n / 20, skew_secs) });
        let told = burst
            .map(|input| model.observe(&input))
            .filter(|scored| scored.is_anomaly && scored.reasons.contains(&Some(Reason::RateSpike)));
        assert!(told.count() > 0, "{skew_secs}: a burst of both within two seconds");
        let stopped = (0..3_000).filter(|n| n / 2 % 5 != 4).any(|n| {
            model.observe(&of_two_hosts(60_020 + n, skew_secs));
            let now = model.now();
            model.is_look_due(now) && model.tick(now).is_some_and(|(silent, _)| silent.slot == 4)
        });
        assert!(stopped, "{skew_secs}: a template that stops on both");
    }
}

#[test]
fn a_host_that_goes_while_the_clocks_differ_makes_no_burst_of_what_stays() {
    for skew_secs in [-300, 300] {
        let mut model = Model::new(OPTIONS);
        (0..60_000).for_each(|n| _ = model.observe(&of_two_hosts(n, skew_secs)));
        let staying = (60_000..72_000).filter(|n| n % 2 == 1);
        let spikes = staying
            .map(|n| model.observe(&of_two_hosts(n, skew_secs)))
            .filter(|scored| scored.is_anomaly && scored.reasons.contains(&Some(Reason::RateSpike)));
        assert_eq!(spikes.count(), 0, "{skew_secs}");
    }
}

/// Events of a hundred hosts, each of which says one of five things a second.
fn of_a_hundred_hosts(n: u64) -> Input {
    let (second, host) = (n / 100, n % 100);
    let slot = (second.wrapping_mul(31) + host * 7) as usize % 5;
    let timestamp = Timestamp(at(0).0 + second as i64 * 1_000_000 + host as i64 * 10_000);
    Input { slot, timestamp, stream: StreamKey(host + 1), ..Input::default() }
}

#[test]
fn a_burst_of_one_host_that_is_none_of_a_hundred_is_told_with_what_is_usual_of_it() {
    let mut model = Model::new(OPTIONS);
    let quiet = (0..200_000).filter(|n| model.observe(&of_a_hundred_hosts(*n)).is_anomaly).count();
    assert!(quiet <= 200, "{quiet} of 200,000 within the budget");
    let quiet_without_measure =
        (200_000..200_100).filter(|n| !model.clone().observe(&of_a_hundred_hosts(*n)).has_measure).count();
    // One host says one thing sixty times within three seconds: a third more of it than all hosts say.
    let burst = (200_000..200_300u64).flat_map(|n| std::iter::repeat_n(n, if n % 100 == 7 { 20 } else { 1 }));
    let told: Vec<_> = burst
        .map(|n| (n, if n % 100 == 7 { Input { slot: 3, ..of_a_hundred_hosts(n) } } else { of_a_hundred_hosts(n) }))
        .filter_map(|(n, input)| {
            let scored = model.observe(&input);
            let grounds = model.grounds(&scored);
            assert_eq!(scored.has_measure, grounds.excess.is_some() || grounds.outlier.is_some());
            let is_told = scored.is_anomaly && scored.reasons.contains(&Some(Reason::RateSpike));
            is_told.then_some((n, scored, grounds))
        })
        .collect();
    let (n, scored, grounds) = told.first().expect("a burst of a host");
    let excess = grounds.excess.unwrap();
    assert!(scored.has_measure && quiet_without_measure > 0, "{quiet_without_measure}");
    assert!(n % 100 == 7 && excess.of_stream && excess.expected < 10.0 && excess.observed > 10.0, "{excess:?}");
}

#[test]
fn streams_are_told_apart_from_the_second_on_with_what_the_first_had_taught() {
    let heartbeat = |n: i64, host: u64| Input {
        slot: 1,
        timestamp: Timestamp(at(0).0 + n * 5_000_000),
        stream: StreamKey(host),
        ..Input::default()
    };
    let mut model = Model::new(ModelOptions { learning_events: 100, ..OPTIONS });
    (0..400).for_each(|n| _ = model.observe(&heartbeat(n, 1)));
    // From here on the second says it, too, and soon it alone.
    (400..402).for_each(|n| {
        model.observe(&heartbeat(n, 1));
        model.observe(&heartbeat(n, 2));
    });
    let told = (402..440).find_map(|n| {
        model.observe(&heartbeat(n, 2));
        let now = model.now();
        if model.is_look_due(now) { model.tick(now) } else { None }
    });
    assert_eq!(told.expect("the first is silent").0.stream, Some(StreamKey(1)));
}

#[test]
fn a_timestamp_from_ahead_does_not_hide_the_silence_that_comes_later() {
    for ahead_secs in [45, 300, 3_600, 86_400 * 365] {
        let mut model = Model::new(ModelOptions { learning_events: 1_000, ..OPTIONS });
        let mut told = Vec::new();
        for second in 0..6_000i64 {
            let time = Timestamp(at(0).0 + second * 1_000_000);
            let wrong = if second == 3_000 { ahead_secs * 1_000_000 } else { 0 };
            if second % 5 == 0 && second < 4_500 {
                model.observe(&Input { slot: 1, timestamp: Timestamp(time.0 + wrong), ..Input::default() });
            }
            model.observe(&Input { slot: 2 + (second % 3) as usize, timestamp: time, ..Input::default() });
            let now = model.now();
            if model.is_look_due(now) {
                told.extend(model.tick(now).map(|(silent, _)| (second, silent.slot)));
            }
        }
        let [(second, 1)] = told[..] else { panic!("{ahead_secs}: {told:?}") };
        assert!((4_500..4_700).contains(&second), "{ahead_secs}: after {second}");
    }
}
