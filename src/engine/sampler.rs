//! How much of a template is worth keeping: everything that is odd, new or rare, and of the routine about so many events a minute.
//!
//! The ratio of an event is 1 when it is an anomaly, when its template is new or rare (it and all rarer ones together are less than one
//! event in a thousand), and for 60 s after an alert on its stream; what came *before* the alert was answered already and cannot be kept.
//! Else it is `keep_per_minute` over the template's count in the last minute, the event included: the minute that runs, and of the one
//! before it the part not yet slid out. The first events of a minute of a template that was away are thus all kept; when as many were kept as
//! should be, it is `minimum_ratio` until the minute is over.
//!
//! What is kept around alerts is bounded too, or a busy stream would be kept whole by an alert a minute: [`AROUND_SAVED`] events, of which each
//! event of the lane gives [`AROUND_SHARE`] back.
//!
//! A lane counts its own events, and counts anew after a restart. Nothing that was learned depends on it.

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

/// Streams with an alert that are remembered; beyond that those of alerts past go, then all.
const MOST_STREAMS: usize = 4_096;

const MINUTE_MICROS: i64 = 60_000_000;

/// Events no more minutes late than this count as of now.
const LATEST_MINUTES: i64 = -5;

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
    /// Counts an event; about how many there were in the last minute.
    fn count(&mut self, at: Timestamp) -> f64 {
        let number = at.0.div_euclid(MINUTE_MICROS);
        match number.saturating_sub(self.number) {
            LATEST_MINUTES..=0 => {}
            passed => {
                self.before = if passed == 1 { self.running } else { 0 };
                self.running = 0;
                self.kept = 0.0;
                self.number = number;
            }
        }
        self.running = self.running.saturating_add(1);
        let share =
            if number == self.number { at.0.rem_euclid(MINUTE_MICROS) as f64 / MINUTE_MICROS as f64 } else { 0.0 };
        f64::from(self.running) + f64::from(self.before) * (1.0 - share)
    }
}

/// Gives events their ratio.
#[derive(Debug)]
pub(super) struct Sampler {
    keep: f64,
    least: f64,
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
        Self { keep: keep_per_minute as f64, least: minimum_ratio, templates, alerts, saved: AROUND_SAVED }
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

    /// The ratio of an event of the template in `slot`; `is_notable` when it is worth keeping for itself.
    pub(super) fn ratio(&mut self, slot: usize, stream: StreamKey, at: Timestamp, is_notable: bool) -> f64 {
        if slot >= self.templates.len() {
            self.templates.resize(slot + 1, Minute::default());
        }
        self.saved = (self.saved + AROUND_SHARE).min(AROUND_SAVED);
        let is_around = !is_notable && self.is_around_an_alert(stream, at);
        let (keep, least) = (self.keep, self.least);
        let Some(minute) = self.templates.get_mut(slot) else { return 1.0 };
        let count = minute.count(at);
        let is_enough = f64::from(minute.kept) >= keep;
        let ratio = if is_enough { least } else { (keep / count).clamp(least, 1.0) };
        let ratio = if is_notable {
            1.0
        } else if is_around && ratio < 1.0 && self.saved >= 1.0 {
            self.saved -= 1.0;
            1.0
        } else {
            ratio
        };
        minute.kept += ratio as f32;
        ratio
    }

    fn is_around_an_alert(&self, stream: StreamKey, at: Timestamp) -> bool {
        self.alerts.get(&stream).is_some_and(|last| at.seconds_since(*last).abs() < AROUND_SECS)
    }
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
        let kept: f64 = (0..60_000).map(|n| sampler.ratio(0, STREAM, at(n * 10), false)).sum();
        // Ten minutes; of what is beyond the first sixty of the first one a hundredth.
        assert!((600.0..750.0).contains(&kept), "{kept}");
        let later: f64 = (60_000..120_000).map(|n| sampler.ratio(0, STREAM, at(n * 10), false)).sum();
        assert!((550.0..660.0).contains(&later), "{later}");
        assert!((0..100).all(|n| sampler.ratio(1, STREAM, at(n * 2_000), false) == 1.0));
    }

    #[test]
    fn never_less_than_the_least_and_all_around_an_alert_on_its_stream() {
        let mut sampler = Sampler::new(Sampling { keep_per_minute: 1, minimum_ratio: 0.25 });
        (0..1_000).for_each(|n| _ = sampler.ratio(0, STREAM, at(n), false));
        assert_eq!(sampler.ratio(0, STREAM, at(1_000), false), 0.25);
        assert_eq!(sampler.ratio(0, STREAM, at(1_000), true), 1.0);
        sampler.alert(STREAM, at(1_000));
        assert_eq!(sampler.ratio(0, STREAM, at(60_900), false), 1.0);
        assert_eq!(sampler.ratio(0, StreamKey(2), at(60_900), false), 0.25);
        assert_eq!(sampler.ratio(0, STREAM, at(61_100), false), 0.25);
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
                    sampler.ratio(0, STREAM, at(*n), false) == 1.0
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
            let ratio = sampler.ratio(0, STREAM, Timestamp(time), false);
            assert!((0.01..=1.0).contains(&ratio), "{time}: {ratio}");
        }
        (0..10_000).for_each(|n| sampler.alert(StreamKey(n), at(0)));
        assert!(sampler.alerts.len() <= MOST_STREAMS);
    }
}
