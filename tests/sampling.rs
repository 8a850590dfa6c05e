//! Sampling drops the routine, keeps every incident, and totals can be restored.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use oddline::config::{Config, Sampling, TimeSource};
use oddline::event::{Observation, StreamKey, TemplateId, Timestamp};
use oddline::plugin::sample::Choice;
use oddline::{Engine, Environment, Lane};
use serde_json::Value;

/// A line, when and where, and the incident it is of.
struct Line {
    micros: i64,
    stream: u64,
    text: String,
    incident: Option<u64>,
}

#[derive(Default)]
struct Tally {
    lines: u64,
    kept: u64,
    incidents: BTreeSet<u64>,
    incidents_kept: BTreeSet<u64>,
    totals: HashMap<TemplateId, Total>,
}

/// Of one template.
struct Total {
    choice: Choice,
    lines: u64,
    /// What the lines kept stand for.
    restored: f64,
    kept: u64,
}

fn lane(alert_budget: f64, sampling: Sampling) -> Lane {
    let config = Config {
        alert_budget: alert_budget.into(),
        sampling: Some(sampling),
        time: TimeSource::Event,
        ..Config::default()
    };
    Engine::open(&config, Environment::system()).unwrap().lane().unwrap()
}

fn tally(lane: &mut Lane, lines: impl Iterator<Item = Line>) -> Tally {
    let mut tally = Tally::default();
    for line in lines {
        let observation = Observation {
            stream: StreamKey(line.stream),
            ..Observation::new(line.text.as_bytes(), Timestamp(line.micros))
        };
        let verdict = lane.observe(&observation);
        let ratio = verdict.sample_ratio.unwrap();
        assert!(ratio > 0.0 && ratio <= 1.0 && (!verdict.is_anomaly || ratio == 1.0));
        tally.lines += 1;
        let fresh = || Total { choice: Choice::new(verdict.template), lines: 0, restored: 0.0, kept: 0 };
        let total = tally.totals.entry(verdict.template).or_insert_with(fresh);
        total.lines += 1;
        tally.incidents.extend(line.incident);
        if total.choice.is_kept(ratio) {
            tally.kept += 1;
            total.kept += 1;
            total.restored += 1.0 / ratio;
            tally.incidents_kept.extend(line.incident);
        }
    }
    tally
}

impl Tally {
    fn dropped_share(&self) -> f64 {
        1.0 - self.kept as f64 / self.lines as f64
    }

    /// What all kept lines stand for, over all lines.
    fn restored(&self) -> f64 {
        self.totals.values().map(|total| total.restored).sum::<f64>() / self.lines as f64
    }

    /// The share of templates whose total is restored within 5 %, and of the lines that are of them.
    fn restored_within_five_percent(&self) -> (f64, f64) {
        let within = |total: &&Total| (total.restored / total.lines as f64 - 1.0).abs() <= 0.05;
        let right = self.totals.values().filter(within);
        let lines: u64 = right.clone().map(|total| total.lines).sum();
        (right.count() as f64 / self.totals.len() as f64, lines as f64 / self.lines as f64)
    }
}

#[test]
fn a_busy_log_shrinks_to_a_twentieth_with_its_incident_whole_and_totals_restored() {
    let second = 1_000_000;
    let routine = (0..300_000_i64).map(|n| Line {
        micros: 1_000_000_000 + n * second / 500,
        stream: (n % 7) as u64,
        text: format!("service {} of kind{} took {} ms", n * 31, ["a", "b", "c", "d"][n as usize % 4], n % 90),
        incident: None,
    });
    let mut lines: Vec<Line> = routine.collect();
    for n in 0..5 {
        let micros = 1_000_000_000 + 400 * second + n * second / 10;
        lines.push(Line { micros, stream: 3, text: format!("FATAL out of memory in worker {n}"), incident: Some(1) });
    }
    lines.sort_by_key(|line| line.micros);
    let mut lane = lane(1e-3, Sampling::default());
    let tally = tally(&mut lane, lines.into_iter());
    assert!(tally.dropped_share() >= 0.95, "{}", tally.dropped_share());
    assert_eq!(tally.incidents_kept, tally.incidents);
    assert!((tally.restored() - 1.0).abs() < 0.05, "{}", tally.restored());
    for total in tally.totals.values() {
        let restored = total.restored / total.lines as f64;
        assert!((restored - 1.0).abs() < 0.05, "{restored} of {}", total.lines);
    }
}

#[test]
fn the_same_log_keeps_the_same_lines() {
    let kept = || {
        let mut lane = lane(0.001, Sampling { keep_per_minute: 5, minimum_ratio: 0.01 });
        let lines = (0..20_000_i64).map(|n| Line {
            micros: 1_000_000_000 + n * 10_000,
            stream: 0,
            text: format!("request {n} served"),
            incident: None,
        });
        let mut choices = HashMap::new();
        let kept = lines.map(|line| {
            let verdict = lane.observe(&Observation::new(line.text.as_bytes(), Timestamp(line.micros)));
            let choice = choices.entry(verdict.template).or_insert_with(|| Choice::new(verdict.template));
            choice.is_kept(verdict.sample_ratio.unwrap())
        });
        kept.collect::<Vec<_>>()
    };
    assert_eq!(kept(), kept());
}

/// Where the logs and tools to measure with are; nothing when they are not there.
fn shared() -> Option<PathBuf> {
    let named = std::env::var_os("ODDLINE_SHARED").map(PathBuf::from);
    let dir = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    dir.join("eval/make_mix.py").exists().then_some(dir)
}

fn made(script: &Path, args: &[&str]) -> String {
    let output = Command::new("python3").arg(script).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Ten minutes of a million mixed lines from 1,000 hosts, and among them a stream with incidents of each kind.
fn mix(shared: &Path) -> Vec<Line> {
    let data = shared.join("data/loghub");
    let data = data.to_str().unwrap();
    let mixed = made(&shared.join("eval/make_mix.py"), &["--lines", "1000000", "--seed", "1", "--data", data]);
    let incidents = made(&shared.join("eval/make_incidents.py"), &["--system", "BGL", "--seed", "1", "--loghub", data]);
    let start = 1_000_000_000_000_i64;
    // Blocks of 50 lines are of one system and thus of one host.
    let routine = mixed.lines().zip(0..).map(|(text, n)| Line {
        micros: start + n * 600,
        stream: 100 + (n / 50 % 1_000) as u64,
        text: text.to_owned(),
        incident: None,
    });
    let mut lines: Vec<Line> = routine.collect();
    let mut hosts = BTreeMap::new();
    for record in incidents.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let kind = record["kind"].as_str().unwrap();
        if kind == "tick" || kind == "silence" {
            continue;
        }
        let next = hosts.len() as u64;
        lines.push(Line {
            micros: start + (record["ts"].as_f64().unwrap() * 200_000.0) as i64,
            stream: *hosts.entry(record["host"].as_str().unwrap().to_owned()).or_insert(next),
            text: record["message"].as_str().unwrap().to_owned(),
            incident: (record["label"] == 1).then(|| record["incident"].as_u64().unwrap()),
        });
    }
    lines.sort_by_key(|line| line.micros);
    lines
}

#[test]
fn on_a_mix_with_incidents_most_is_dropped_and_no_incident_is_lost() {
    let Some(shared) = shared() else {
        eprintln!(
            "NOT RUN: no logs to mix (set ODDLINE_SHARED to the directory with eval/make_mix.py and data/loghub)"
        );
        return;
    };
    let lines = mix(&shared);
    // As they come within ten minutes, and as when a file is read: within a minute.
    for (faster, sampling, least_dropped, most_lost) in
        [(1, Sampling { keep_per_minute: 1, minimum_ratio: 0.01 }, 0.95, 0), (20, Sampling::default(), 0.95, 0)]
    {
        let mut lane = lane(1e-3, sampling);
        let squeezed = lines.iter().map(|line| Line { micros: line.micros / faster, text: line.text.clone(), ..*line });
        let tally = tally(&mut lane, squeezed);
        let within = tally.restored_within_five_percent();
        let lost: Vec<_> = tally.incidents.difference(&tally.incidents_kept).collect();
        eprintln!(
            "{} lines, {sampling:?}: {:.2} % dropped, {} of {} incidents kept, totals restored to {:.4}, {} templates, {:.1} % of them within 5 % ({:.1} % of lines)",
            tally.lines,
            tally.dropped_share() * 100.0,
            tally.incidents_kept.len(),
            tally.incidents.len(),
            tally.restored(),
            tally.totals.len(),
            within.0 * 100.0,
            within.1 * 100.0
        );
        assert!(tally.incidents.len() >= 15 && lost.len() <= most_lost, "lost: {lost:?}");
        assert!(tally.dropped_share() >= least_dropped, "{}", tally.dropped_share());
        assert!((tally.restored() - 1.0).abs() < 0.05, "{}", tally.restored());
    }
}
