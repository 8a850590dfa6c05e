//! The promised alert rate where the order of lines says nothing: each is drawn by itself, on many hosts.

mod detect_support;

use detect_support::OPTIONS;
use oddline::detect::{Input, Model};
use oddline::event::{StreamKey, Timestamp};

/// That of [`OPTIONS`].
const BUDGET: f64 = 0.001;

/// Splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// 0 to 1, neither included.
    fn part(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}

/// Alerts after the learning, over the budget: ten events a second, each of a template by its weight and of any host.
fn alerts_of_budget(weights: &[f64], hosts: u64, seed: u64) -> f64 {
    const EVENTS: u64 = 80_000;
    let total: f64 = weights.iter().sum();
    let mut sum = 0.0;
    let up_to: Vec<f64> = weights.iter().map(|weight| (sum += weight / total, sum).1).collect();
    let (mut model, mut random) = (Model::new(OPTIONS), Random(seed));
    let (mut seconds, mut alerts) = (0.0, 0);
    for n in 0..EVENTS {
        seconds -= random.part().ln() / 10.0;
        let part = random.part();
        let slot = up_to.partition_point(|up_to| *up_to < part).min(weights.len() - 1);
        let timestamp = Timestamp(1_767_225_600_000_000 + (seconds * 1e6) as i64);
        let stream = StreamKey(random.next() % hosts + 1);
        let scored = model.observe(&Input { slot, stream, timestamp, ..Input::default() });
        alerts += u64::from(n >= OPTIONS.learning_events && scored.is_anomaly);
    }
    alerts as f64 / (EVENTS - OPTIONS.learning_events) as f64 / BUDGET
}

#[test]
fn lines_without_order_on_many_hosts_alert_as_often_as_the_budget_says() {
    let an_application = vec![30.0, 20.0, 10.0, 8.0, 8.0, 12.0, 6.0, 6.0];
    let evenly = vec![1.0; 100];
    let heavy_tailed = (1..=100).map(|rank| 1.0 / f64::from(rank)).collect();
    for (name, weights) in [("application", an_application), ("evenly", evenly), ("heavy-tailed", heavy_tailed)] {
        for hosts in [4, 20, 100] {
            let found: f64 = [1, 2].map(|seed| alerts_of_budget(&weights, hosts, seed)).iter().sum::<f64>() / 2.0;
            assert!((0.3..1.3).contains(&found), "{name}, {hosts} hosts: {found:.2} times the budget");
        }
    }
}
