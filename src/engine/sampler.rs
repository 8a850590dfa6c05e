//! How much of a template is worth keeping: everything that is odd, new or rare, and of the routine about so many events a minute.
//!
//! The ratio of an event is 1 when it is an anomaly, when it is odder than one event in a thousand though it raises no alert, when its template is new or rare (it and
//! all rarer ones together are less than one event in a thousand), and for 60 s after an alert on its stream; what came *before* the alert was answered already
//! and cannot be kept. What is nearly as odd is kept the more often the odder it is ([`worth`]). Else the ratio is `keep_per_minute` over the template's count in the last minute, the event included: the minute that runs, and of the one
//! before it the part not yet slid out. The first events of a template that was away for a minute are thus all kept. When more were kept in a minute
//! than should be, the ratio falls with the fourth power of by how much, down to `minimum_ratio`, until the minute is over.
//!
//! A lane that has not yet watched for a minute takes what it has not seen to have been as what it has: it counts what comes in the time it has
//! watched, at least [`LEAST_WATCHED`] of a minute, and keeps that part of `keep_per_minute`, at least one event. A file read within seconds is thus thinned as
//! the same lines are on the hundredth minute, and not kept whole until sixty of each template are.
//!
//! What is kept around alerts is bounded too, or a busy stream would be kept whole by an alert a minute: [`AROUND_SAVED`] events, of which each
//! event of the lane gives [`AROUND_SHARE`] back.
//!
//! The ratio of an event depends on what came before it and on the event, not on what was kept, so that kept events weighed by 1/ratio add up to
//! all events on average (Horvitz and Thompson, 1952). A lane counts its own events, and counts anew after a restart. Nothing that was
//! learned depends on it.

use hashbrown::HashMap;

use crate::config::Sampling;
use crate::event::{StreamKey, Timestamp};

/// Everything on a stream is kept this long after an alert, seconds.
const AROUND_SECS: f64 = 60.0;

/// Events that can be kept around alerts at once, for no other reason.
const AROUND_SAVED: f64 = 5_000.0;

/// Of all events, what can be kept around alerts for long.
const AROUND_SHARE: f64 = 0.005;

/// Evidence of rarity from which on a template is rare, nats: one event in a thousand. What comes less than `keep_per_minute` is kept anyway.
pub(super) const RARE_NATS: f32 = 6.9;

/// What is odder than this share of all events is kept whether it alerts or not: repeats that are held, and what the threshold just missed.
const ODD_SHARE: f64 = 1e-3;

/// Streams with an alert that are remembered; beyond that those of alerts past go, then all.
const MOST_STREAMS: usize = 4_096;

const MINUTE_MICROS: i64 = 60_000_000;

/// Events no more minutes late than this count as of now.
const LATEST_MINUTES: i64 = -5;

/// A lane that has watched for less of a minute knows no rates: ten seconds, the window of the rates that are learned.
const LEAST_WATCHED: f64 = 1.0 / 6.0;

/// Counts of one template.
#[derive(Debug, Clone, Copy, Default)]
struct Minute {
    number: i64,
    running: u32,
    before: u32,
    /// Of those that run, how many were kept, about.
    kept: f32,
}

impl Minute {
    /// Counts an event; about how many there were in the last minute, as far as it was watched.
    fn count(&mut self, now: Moment) -> f64 {
        match now.minute.saturating_sub(self.number) {
            LATEST_MINUTES..=0 => {}
            passed => {
                self.before = if passed == 1 { self.running } else { 0 };
                self.running = 0;
                self.kept = 0.0;
                self.number = now.minute;
            }
        }
        self.running = self.running.saturating_add(1);
        let share = if now.minute == self.number { now.share } else { 0.0 };
        f64::from(self.running) + f64::from(self.before) * (1.0 - share)
    }
}

/// When an event was, by minutes since the lane's first event.
#[derive(Debug, Clone, Copy)]
struct Moment {
    minute: i64,
    /// How much of the minute is over, 0 to 1.
    share: f64,
}

impl Moment {
    fn new(since: Timestamp, at: Timestamp) -> Self {
        let passed = at.0.saturating_sub(since.0);
        let share = passed.rem_euclid(MINUTE_MICROS) as f64 / MINUTE_MICROS as f64;
        Self { minute: passed.div_euclid(MINUTE_MICROS), share }
    }

    /// How much of the last minute the lane has watched.
    fn watched(self) -> f64 {
        if self.minute == 0 { self.share.max(LEAST_WATCHED) } else { 1.0 }
    }
}

/// Gives events their ratio.
#[derive(Debug)]
pub(super) struct Sampler {
    keep: f64,
    least: f64,
    /// The lane's first event.
    since: Option<Timestamp>,
    templates: Vec<Minute>,
    alerts: HashMap<StreamKey, Timestamp>,
    /// Events that may be kept around alerts now.
    saved: f64,
}

impl Sampler {
    /// As the configuration says.
    pub(super) fn new(sampling: Sampling) -> Self {
        let Sampling { keep_per_minute, minimum_ratio } = sampling;
        let (templates, alerts) = (Vec::new(), HashMap::new());
        let keep = keep_per_minute as f64;
        Self { keep, least: minimum_ratio, since: None, templates, alerts, saved: AROUND_SAVED }
    }

    /// Notes an alert.
    pub(super) fn alert(&mut self, stream: StreamKey, at: Timestamp) {
        if self.alerts.len() >= MOST_STREAMS {
            self.alerts.retain(|_, last| at.seconds_since(*last).abs() < AROUND_SECS);
            if self.alerts.len() >= MOST_STREAMS {
                self.alerts.clear();
            }
        }
        self.alerts.insert(stream, at);
    }

    /// The ratio of an event of the template in `slot` that is worth keeping for itself with a ratio of `worth`, of any size.
    pub(super) fn ratio(&mut self, slot: usize, stream: StreamKey, at: Timestamp, worth: f64) -> f64 {
        if slot >= self.templates.len() {
            self.templates.resize(slot + 1, Minute::default());
        }
        self.saved = (self.saved + AROUND_SHARE).min(AROUND_SAVED);
        let is_around = worth < 1.0 && self.is_around_an_alert(stream, at);
        let now = Moment::new(*self.since.get_or_insert(at), at);
        let (keep, least) = ((self.keep * now.watched()).max(1.0), self.least);
        let Some(minute) = self.templates.get_mut(slot) else { return 1.0 };
        let routine = keep / minute.count(now) * caution(keep, minute.kept);
        let mut ratio = routine.max(worth).clamp(least, 1.0);
        if is_around && ratio < 1.0 && self.saved >= 1.0 {
            self.saved -= 1.0;
            ratio = 1.0;
        }
        minute.kept += ratio as f32;
        ratio
    }

    fn is_around_an_alert(&self, stream: StreamKey, at: Timestamp) -> bool {
        self.alerts.get(&stream).is_some_and(|last| at.seconds_since(*last).abs() < AROUND_SECS)
    }
}

/// The ratio with which an event is worth keeping for how odd it is: 1 when one in a thousand is, a quarter when one in five hundred is.
///
/// With the square, events whose p is uniform are worth two in a thousand together. With the ratio itself it would be nearly eight, and measured
/// kept 2.3 % more of a mix for no incident more.
pub(super) fn worth(p_value: f64) -> f64 {
    (ODD_SHARE / p_value).powi(2)
}

/// How much less is kept since so many were: 1 up to `keep`, a sixteenth at twice as many.
fn caution(keep: f64, kept: f32) -> f64 {
    (keep / f64::from(kept).max(keep)).powi(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: StreamKey = StreamKey(1);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn keeps_about_so_many_a_minute_and_all_of_what_is_seldom() {
        let mut sampler = Sampler::new(Sampling::default());
        let kept: f64 = (0..60_000).map(|n| sampler.ratio(0, STREAM, at(n * 10), 0.0)).sum();
        assert!((570.0..700.0).contains(&kept), "ten minutes: {kept}");
        let later: f64 = (60_000..120_000).map(|n| sampler.ratio(0, STREAM, at(n * 10), 0.0)).sum();
        assert!((550.0..660.0).contains(&later), "{later}");
        assert!((0..100).all(|n| sampler.ratio(1, STREAM, at(n * 2_000), 0.0) == 1.0));
    }

    #[test]
    fn a_lane_that_just_began_keeps_no_more_than_its_part_of_the_first_minute() {
        for (secs, most) in [(1, 25.0), (5, 25.0), (10, 25.0), (30, 35.0), (60, 65.0)] {
            let mut sampler = Sampler::new(Sampling { keep_per_minute: 60, minimum_ratio: 1e-6 });
            let kept: f64 = (0..5_000).map(|n| sampler.ratio(0, STREAM, at(n * secs / 5), 0.0)).sum();
            assert!((10.0..most).contains(&kept), "{secs} s: {kept}");
        }
    }

    #[test]
    fn a_burst_in_a_lane_that_runs_is_thinned_from_its_sixtieth_event_on_and_not_at_once_to_nothing() {
        let mut sampler = Sampler::new(Sampling { keep_per_minute: 60, minimum_ratio: 1e-6 });
        sampler.ratio(1, STREAM, at(0), 0.0);
        let ratios: Vec<f64> = (0..5_000).map(|n| sampler.ratio(0, STREAM, at(300_000 + n), 0.0)).collect();
        assert!(ratios[..60].iter().all(|ratio| *ratio == 1.0));
        assert!(ratios.windows(2).all(|pair| pair[1] <= pair[0] && pair[1] >= pair[0] * 0.9));
        let kept: f64 = ratios.iter().sum();
        assert!((60.0..120.0).contains(&kept), "{kept}");
    }

    #[test]
    fn what_is_odd_is_kept_the_more_often_the_odder_it_is() {
        let mut sampler = Sampler::new(Sampling { keep_per_minute: 1, minimum_ratio: 1e-3 });
        let mut ratio = |p_value: f64| sampler.ratio(0, STREAM, at(300_000), worth(p_value));
        (0..1_000).for_each(|_| _ = ratio(1.0));
        let found = [1e-6, 1e-3, 2e-3, 1e-2, 1.0].map(&mut ratio);
        assert!(found[..2] == [1.0, 1.0] && found[4] == 1e-3);
        assert!((found[2] - 0.25).abs() < 1e-12 && (found[3] - 0.01).abs() < 1e-12, "{found:?}");
        let odd = [f64::NAN, 0.0, -1.0, f64::INFINITY].map(ratio);
        assert!(odd.iter().all(|ratio| (1e-3..=1.0).contains(ratio)), "{odd:?}");
    }

    #[test]
    fn never_less_than_the_least_and_all_around_an_alert_on_its_stream() {
        let mut sampler = Sampler::new(Sampling { keep_per_minute: 1, minimum_ratio: 0.25 });
        (0..1_000).for_each(|n| _ = sampler.ratio(0, STREAM, at(n), 0.0));
        assert_eq!(sampler.ratio(0, STREAM, at(1_000), 0.0), 0.25);
        assert_eq!(sampler.ratio(0, STREAM, at(1_000), 1.0), 1.0);
        sampler.alert(STREAM, at(1_000));
        assert_eq!(sampler.ratio(0, STREAM, at(60_900), 0.0), 1.0);
        assert_eq!(sampler.ratio(0, StreamKey(2), at(60_900), 0.0), 0.25);
        assert_eq!(sampler.ratio(0, STREAM, at(61_100), 0.0), 0.25);
    }

    #[test]
    fn what_is_kept_around_alerts_has_an_end_on_a_busy_stream_and_comes_back() {
        let mut sampler = Sampler::new(Sampling { keep_per_minute: 1, minimum_ratio: 0.01 });
        let kept = |sampler: &mut Sampler, from: i64| {
            (from..from + 100_000)
                .filter(|n| {
                    if n % 10_000 == 0 {
                        sampler.alert(STREAM, at(*n));
                    }
                    sampler.ratio(0, STREAM, at(*n), 0.0) == 1.0
                })
                .count() as f64
        };
        let first = kept(&mut sampler, 0);
        assert!((first - AROUND_SAVED).abs() < 600.0, "{first}");
        let later = kept(&mut sampler, 100_000);
        assert!((400.0..600.0).contains(&later), "{later}");
    }

    #[test]
    fn clocks_that_jump_give_a_ratio_and_memory_is_bounded() {
        let mut sampler = Sampler::new(Sampling::default());
        for time in [0, i64::MAX, i64::MIN, -1, 5_000_000, i64::MAX] {
            let ratio = sampler.ratio(0, STREAM, Timestamp(time), 0.0);
            assert!((0.01..=1.0).contains(&ratio), "{time}: {ratio}");
        }
        (0..10_000).for_each(|n| sampler.alert(StreamKey(n), at(0)));
        assert!(sampler.alerts.len() <= MOST_STREAMS);
    }
}
