//! What hosts learned, exported, merged, and where another host starts from.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use oddline::clock::ManualClock;
use oddline::config::{Config, Mask};
use oddline::engine::baseline::{self, Baseline, BaselineError};
use oddline::engine::feedback::{FeedbackFile, Opinion, Said};
use oddline::engine::{Engine, EngineError, Environment};
use oddline::event::{Observation, StreamKey, Timestamp};
use oddline::storage::{FileSystem, MemFs, StorageError};

/// `alert_budget` by default.
const BUDGET: f64 = 0.001;

const SECOND: i64 = 1_000_000;
const START: i64 = 1_800_000_000 * SECOND;

fn environment(fs: &MemFs) -> Environment {
    Environment { clock: Arc::new(ManualClock::new(Timestamp(START))), fs: Arc::new(fs.clone()) }
}

/// An event of a host: its time, stream and message.
struct Event {
    micros: i64,
    stream: u64,
    message: String,
}

/// A host's ordinary life, about ten events a second: requests in bursts of a shop, a cron job, logins of a few users, a line of its own.
fn routine(host: u64, events: usize) -> Vec<Event> {
    let mut state = host.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let mut micros = START;
    let mut life = Vec::with_capacity(events);
    let mut steps = 0;
    while life.len() < events {
        let stream = random(3);
        let user = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal", "ida", "joe"][random(10) as usize];
        let request = random(1_000_000);
        let lines = match random(40) {
            0 => vec![
                format!("session opened for {user} by sshd"),
                format!("command started for {user}"),
                format!("session closed for {user}"),
            ],
            1 => vec![format!("cron job {} started", random(5)), format!("cron job done after {} ms", 40 + random(20))],
            2 => vec![format!("host{host} rotated its log"), "log is empty".to_owned()],
            n if n < 20 => vec![
                format!("request {request} received"),
                format!("cache miss for key {}", random(5_000)),
                format!("query took {} ms", 5 + random(20)),
                format!("request {request} served with status 200"),
            ],
            _ => vec![format!("request {request} received"), format!("request {request} served with status 304")],
        };
        for message in lines {
            steps += 1;
            micros += 20_000 + random(160_000) as i64;
            life.push(Event { micros, stream, message });
        }
    }
    assert!(steps >= events);
    life.truncate(events);
    life
}

/// Lets an engine score events; how many of them alerted.
fn live(engine: &Engine, life: &[Event]) -> usize {
    let mut lane = engine.lane().unwrap();
    let mut alerts = 0;
    for event in life {
        let stream = StreamKey(event.stream + 1);
        let observation = Observation { stream, ..Observation::new(event.message.as_bytes(), Timestamp(event.micros)) };
        alerts += usize::from(lane.observe(&observation).is_anomaly);
    }
    lane.close().unwrap();
    alerts
}

/// What a host learned from its life.
fn learned(config: &Config, host: &str, life: &[Event]) -> Baseline {
    let engine = Engine::open(config, environment(&MemFs::new())).unwrap();
    live(&engine, life);
    Baseline::of_engine(&engine, host).unwrap()
}

fn merged(config: &Config, parts: Vec<(&str, Baseline)>) -> Baseline {
    Baseline::merge(config, parts.into_iter().map(|(name, part)| (name.to_owned(), part)).collect()).unwrap()
}

fn put(fs: &MemFs, name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new("/baselines").join(name);
    fs.put(&path, bytes);
    path
}

fn three_hosts(config: &Config) -> Baseline {
    let parts = [1, 2, 3].map(|host| {
        (["one", "two", "three"][host - 1], learned(config, &format!("h{host}"), &routine(host as u64, 15_000)))
    });
    merged(config, parts.into())
}

#[test]
fn a_host_that_starts_from_three_others_is_ready_at_once_and_keeps_to_twice_the_budget() {
    let config = Config::default();
    let fs = MemFs::new();
    let path = put(&fs, "fleet", &three_hosts(&config).to_bytes().unwrap());
    let engine = Engine::open(&Config { baseline: Some(path), ..config.clone() }, environment(&fs)).unwrap();
    assert_eq!(engine.stats().state, "ready");
    let life = routine(4, 20_000);
    let alerts = live(&engine, &life);
    let most = (2.0 * BUDGET * life.len() as f64) as usize;
    assert!(alerts <= most, "{alerts} alerts of {} events, at most {most} are promised", life.len());
    let mut lane = engine.lane().unwrap();
    let last = life.last().unwrap().micros;
    let odd = lane.observe(&Observation::new(b"kernel panic: fatal error, cannot mount root", Timestamp(last)));
    assert!(odd.is_anomaly, "and it still tells what is odd: {odd:?}");
}

#[test]
fn counts_are_added_templates_are_one_and_every_id_of_every_host_is_known() {
    let config = Config::default();
    let parts = [1, 2, 3].map(|host| learned(&config, &format!("h{host}"), &routine(host, 12_000)));
    let ids: Vec<String> =
        parts.iter().flat_map(Baseline::templates).flat_map(|t| [vec![t.template_id], t.aliases].concat()).collect();
    let all: u64 = parts.iter().flat_map(Baseline::templates).map(|template| template.count).sum();
    let [one, two, three] = parts;
    let fleet = merged(&config, vec![("one", one), ("two", two), ("three", three)]);
    let templates = fleet.templates();
    assert_eq!(templates.iter().map(|template| template.count).sum::<u64>(), all);
    let mut known: Vec<String> =
        templates.iter().flat_map(|t| [vec![t.template_id.clone()], t.aliases.clone()].concat()).collect();
    known.sort();
    let unique = known.len();
    known.dedup();
    assert_eq!(known.len(), unique, "no id is of two templates");
    assert!(ids.iter().all(|id| known.binary_search(id).is_ok()));
    let texts: Vec<&str> = templates.iter().map(|template| template.template.as_str()).collect();
    assert!(texts.contains(&"request <*> served with status <*>"), "{texts:?}");
    let manifest = fleet.manifest();
    assert_eq!((manifest.events, manifest.origins.len(), manifest.is_ready), (36_000, 3, true));
    assert_eq!(manifest.origins.iter().map(|origin| origin.host.as_str()).collect::<Vec<_>>(), ["h1", "h2", "h3"]);
}

#[test]
fn bytes_are_the_same_for_the_same_state_and_whatever_the_order_of_the_parts() {
    let config = Config::default();
    let life = |host: u64| routine(host, 6_000);
    let part = |host: u64| learned(&config, &format!("h{host}"), &life(host));
    assert_eq!(part(1).to_bytes().unwrap(), part(1).to_bytes().unwrap());
    let forwards = merged(&config, vec![("a", part(1)), ("b", part(2)), ("c", part(3))]).to_bytes().unwrap();
    let backwards = merged(&config, vec![("c", part(3)), ("b", part(2)), ("a", part(1))]).to_bytes().unwrap();
    assert!(forwards == backwards);
    let read = Baseline::from_bytes(&config, Path::new("fleet"), &forwards).unwrap();
    assert!(read.to_bytes().unwrap() == forwards, "read and written again");
}

#[test]
fn a_baseline_of_several_lanes_counts_no_event_twice() {
    let config = Config::default();
    let engine = Engine::open(&config, environment(&MemFs::new())).unwrap();
    std::thread::scope(|scope| {
        for host in 1..=3 {
            let engine = engine.clone();
            scope.spawn(move || live(&engine, &routine(host, 5_000)));
        }
    });
    let baseline = Baseline::of_engine(&engine, "h").unwrap();
    assert_eq!(baseline.manifest().events, 15_000);
    assert_eq!(baseline.templates().iter().map(|template| template.count).sum::<u64>(), 15_000);
}

#[test]
fn a_data_dir_that_is_new_starts_from_the_baseline_also_after_a_crash_and_one_that_is_not_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let fs = MemFs::new();
    let path = put(&fs, "fleet", &three_hosts(&Config::default()).to_bytes().unwrap());
    let config = Config { baseline: Some(path.clone()), data_dir: Some(dir.path().to_owned()), ..Config::default() };
    let engine = Engine::open(&config, environment(&fs)).unwrap();
    assert_eq!(engine.recovery().baseline.as_ref().map(|manifest| manifest.origins.len()), Some(3));
    let templates = engine.stats().templates;
    live(&engine, &routine(4, 1_000));
    engine.checkpoint().unwrap();
    // What a power cut leaves: the same, without the baseline's file.
    let survived = fs.durable_copy();
    survived.remove(&path).unwrap();
    engine.close().unwrap();
    let again = Engine::open(&config, environment(&survived)).unwrap();
    assert_eq!(again.recovery().baseline, None);
    assert_eq!(again.stats().state, "ready");
    assert!(again.stats().templates >= templates);
}

#[test]
fn without_a_checkpoint_the_log_is_replayed_over_the_baseline() {
    let dir = tempfile::tempdir().unwrap();
    let fs = MemFs::new();
    let path = put(&fs, "fleet", &three_hosts(&Config::default()).to_bytes().unwrap());
    let config = Config { baseline: Some(path), data_dir: Some(dir.path().to_owned()), ..Config::default() };
    let engine = Engine::open(&config, environment(&fs)).unwrap();
    let events = engine.stats().events_total;
    live(&engine, &routine(4, 1_000));
    engine.close().unwrap();
    for entry in fs.list(&dir.path().join("state")).unwrap() {
        fs.remove(&dir.path().join("state").join(entry.name)).unwrap();
    }
    let again = Engine::open(&config, environment(&fs)).unwrap();
    assert_eq!(again.recovery().events_replayed, 1_000);
    assert_eq!((again.stats().events_total, again.stats().state), (events + 1_000, "ready"));
}

#[test]
fn import_makes_a_new_data_dir_and_refuses_one_that_has_learned() {
    let dir = tempfile::tempdir().unwrap();
    let fs = MemFs::new();
    let path = put(&fs, "fleet", &learned(&Config::default(), "h1", &routine(1, 12_000)).to_bytes().unwrap());
    let config = Config { data_dir: Some(dir.path().to_owned()), ..Config::default() };
    assert_eq!(baseline::import(&config, environment(&fs), &path).unwrap().events, 12_000);
    assert_eq!(Engine::open(&config, environment(&fs)).unwrap().stats().state, "ready");
    let before = fs.used_bytes();
    let error = baseline::import(&config, environment(&fs), &path).unwrap_err();
    assert!(matches!(error, BaselineError::NotNew { .. }), "{error}");
    assert_eq!(fs.used_bytes(), before);
}

#[test]
fn bad_baselines_of_all_kinds_are_told_apart_and_change_nothing() {
    let config = Config::default();
    let good = learned(&config, "h1", &routine(1, 3_000)).to_bytes().unwrap();
    let newer = {
        let mut bytes = good.clone();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..16]);
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
        bytes
    };
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let masks = vec![Mask { name: "order".to_owned(), regex: "ORD-[0-9]+".to_owned() }];
    let other = learned(&Config { masks, ..Config::default() }, "h1", &routine(1, 3_000)).to_bytes().unwrap();
    for (name, bytes, said) in [
        ("cut", good[..good.len() - 7].to_vec(), "ends within a section"),
        ("flipped", flipped, "checksum does not match"),
        ("newer", newer, "version 2, this oddline reads up to version 1"),
        ("other", other, "masks, disabled_masks, max_line_tokens and max_token_bytes must be the same"),
        ("text", b"hello, this is no baseline at all".to_vec(), "this is no baseline"),
        ("empty", Vec::new(), "ends within its head"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let fs = MemFs::new();
        let path = put(&fs, name, &bytes);
        let before = fs.used_bytes();
        let config = Config { baseline: Some(path), data_dir: Some(data_dir.clone()), ..Config::default() };
        let error = Engine::open(&config, environment(&fs)).unwrap_err();
        assert!(matches!(error, EngineError::Baseline(_)), "{name}: {error}");
        assert!(error.to_string().contains(said), "{name}: {error}");
        assert!(!data_dir.exists() && fs.used_bytes() == before, "{name}: nothing was made");
    }
    let missing = Config { baseline: Some("/baselines/none".into()), ..Config::default() };
    let error = Engine::open(&missing, environment(&MemFs::new())).unwrap_err();
    assert!(error.to_string().contains("/baselines/none"), "{error}");
}

#[test]
fn every_flipped_byte_and_every_cut_of_a_baseline_is_refused() {
    let config = Config::default();
    let good = learned(&config, "h1", &routine(1, 300)).to_bytes().unwrap();
    let path = Path::new("b");
    assert!(Baseline::from_bytes(&config, path, &good).is_ok());
    for offset in 0..good.len() {
        let mut bad = good.clone();
        bad[offset] ^= 0xff;
        assert!(Baseline::from_bytes(&config, path, &bad).is_err(), "byte {offset} of {}", good.len());
        assert!(Baseline::from_bytes(&config, path, &good[..offset]).is_err(), "cut at {offset}");
    }
}

#[test]
fn a_file_whose_checksums_hold_and_whose_content_does_not_is_an_error_and_no_panic() {
    let config = Config::default();
    let good = learned(&config, "h1", &routine(1, 300)).to_bytes().unwrap();
    let sections = oddline::storage::baseline::decode(Path::new("b"), &good).unwrap();
    for (at, (name, bytes)) in sections.iter().enumerate() {
        for cut in (0..bytes.len()).step_by(bytes.len() / 12 + 1) {
            let mut forged = sections.clone();
            forged[at].1.truncate(cut);
            let forged: Vec<(&str, &[u8])> =
                forged.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
            let bytes = oddline::storage::baseline::encode(&forged).unwrap();
            let read = Baseline::from_bytes(&config, Path::new("b"), &bytes);
            assert!(read.is_err(), "section {name} cut at {cut}");
        }
    }
    let without = oddline::storage::baseline::encode(&[("manifest", b"{}")]).unwrap();
    assert!(Baseline::from_bytes(&config, Path::new("b"), &without).is_err());
}

#[test]
fn a_failed_write_leaves_the_baseline_that_was_there() {
    let config = Config::default();
    let fs = MemFs::new();
    let path = put(&fs, "fleet", b"old");
    let baseline = learned(&config, "h1", &routine(1, 300));
    fs.set_faults(oddline::storage::mem_fs::Faults { rename: true, ..Default::default() });
    let error = baseline.write(&fs, &path).unwrap_err();
    assert!(matches!(error, BaselineError::Storage(StorageError::Io { .. })), "{error}");
    assert_eq!(fs.read(&path).unwrap(), b"old");
    fs.set_faults(Default::default());
    baseline.write(&fs, &path).unwrap();
    assert!(Baseline::read(&fs, &config, &path).is_ok());
}

#[test]
fn a_difference_names_what_one_has_alone_and_whose_share_changed() {
    let config = Config::default();
    let (one, two) = (learned(&config, "h1", &routine(1, 6_000)), learned(&config, "h2", &routine(2, 6_000)));
    let difference = baseline::diff(&config, &one, &two).unwrap();
    let texts = |only: &[baseline::BaselineTemplate]| only.iter().map(|t| t.template.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&difference.only_in_first), ["host1 rotated its log"]);
    assert_eq!(texts(&difference.only_in_second), ["host2 rotated its log"]);
    assert!(difference.in_both.len() > 8);
    let nothing = learned(&config, "h3", &routine(3, 60)[..1]);
    let difference = baseline::diff(&config, &one, &nothing).unwrap();
    assert!(difference.only_in_first.len() > 5 && difference.only_in_second.is_empty());
}

#[test]
fn a_file_url_is_a_path_and_a_url_of_no_known_kind_is_an_error() {
    let fs = MemFs::new();
    let path = put(&fs, "fleet", &learned(&Config::default(), "h1", &routine(1, 12_000)).to_bytes().unwrap());
    let url = PathBuf::from(format!("file://{}", path.display()));
    let engine = Engine::open(&Config { baseline: Some(url), ..Config::default() }, environment(&fs)).unwrap();
    assert_eq!((engine.stats().state, engine.stats().baseline_failure), ("ready", None));
    for url in ["ftp://fleet/web", "file:///baselines/none"] {
        let config = Config { baseline: Some(url.into()), ..Config::default() };
        let error = Engine::open(&config, environment(&fs)).unwrap_err();
        assert!(matches!(error, EngineError::Baseline(_)), "{error}");
    }
}

#[cfg(not(feature = "object-store"))]
#[test]
fn a_url_of_a_bucket_names_the_feature_it_needs() {
    for url in ["s3://fleet/web", "gs://fleet/web", "az://fleet/web", "https://fleet.example/web"] {
        let config = Config { baseline: Some(url.into()), ..Config::default() };
        let error = Engine::open(&config, environment(&MemFs::new())).unwrap_err().to_string();
        assert!(error.contains(url) && error.contains("`object-store`"), "{error}");
    }
}

/// What a host learned on which users said something of the templates of these lines.
fn told(host: &str, said: &[(&str, Opinion)]) -> Baseline {
    let dir = tempfile::tempdir().unwrap();
    let fs = MemFs::new();
    let config = Config { data_dir: Some(dir.path().to_owned()), ..Config::default() };
    let engine = Engine::open(&config, environment(&fs)).unwrap();
    live(&engine, &routine(1, 12_000));
    for (at, (text, opinion)) in said.iter().enumerate() {
        let template = engine.templates().into_iter().find(|template| template.text == *text).unwrap();
        let (template_id, event_id) = (template.id.to_string(), Some("an-event-of-its-own".to_owned()));
        let template = Some(template.text);
        let said = Said { template_id, opinion: *opinion, template, event_id, said_at_ms: at as i64, silence: None };
        FeedbackFile::edit(Arc::new(fs.clone()), dir.path(), Timestamp(START), |feedback| feedback.say(said)).unwrap();
    }
    engine.checkpoint().unwrap();
    Baseline::of_engine(&engine, host).unwrap()
}

#[test]
fn what_users_said_goes_along_and_a_flag_goes_over_an_acceptance() {
    let config = Config::default();
    let (empty, cache) = ("log is empty", "cache miss for key <*>");
    let one = told("one", &[(empty, Opinion::Accept), (cache, Opinion::Accept)]);
    let two = told("two", &[(empty, Opinion::Flag)]);
    assert_eq!((one.manifest().feedback, two.manifest().feedback), (2, 1));
    let bytes = |parts| merged(&config, parts).to_bytes().unwrap();
    let again =
        || (told("one", &[(empty, Opinion::Accept), (cache, Opinion::Accept)]), told("two", &[(empty, Opinion::Flag)]));
    let backwards = again();
    let fleet = bytes(vec![("one", one), ("two", two)]);
    assert!(fleet == bytes(vec![("two", backwards.1), ("one", backwards.0)]), "whatever the order");
    let fs = MemFs::new();
    let path = put(&fs, "fleet", &fleet);
    let dir = tempfile::tempdir().unwrap();
    let config = Config { baseline: Some(path), data_dir: Some(dir.path().to_owned()), ..config };
    for start in ["new", "again, from its checkpoint"] {
        let engine = Engine::open(&config, environment(&fs)).unwrap();
        let mut lane = engine.lane().unwrap();
        let ruling = |lane: &mut oddline::Lane, text: &str| {
            lane.observe(&Observation::new(text.as_bytes(), Timestamp(START))).ruling.map(|ruling| ruling.is_always())
        };
        assert_eq!(ruling(&mut lane, "log is empty"), Some(true), "{start}");
        assert_eq!(ruling(&mut lane, "cache miss for key 7"), Some(false), "{start}");
        lane.close().unwrap();
        engine.close().unwrap();
    }
    let read = FeedbackFile::read(Arc::new(fs.clone()), dir.path()).unwrap();
    assert!(read.feedback().said().iter().all(|said| said.event_id.is_none()), "events are a host's own");
}

#[test]
fn a_baseline_of_before_it_carried_feedback_reads_and_one_without_any_has_the_same_sections() {
    let bytes = learned(&Config::default(), "h1", &routine(1, 300)).to_bytes().unwrap();
    let sections = oddline::storage::baseline::decode(Path::new("b"), &bytes).unwrap();
    let names: Vec<&str> = sections.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["manifest", "templates", "counts", "model"]);
    let mut manifest: serde_json::Value = serde_json::from_slice(&sections[0].1).unwrap();
    manifest.as_object_mut().unwrap().remove("feedback");
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let mut old: Vec<(&str, &[u8])> = sections.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    old[0].1 = &manifest;
    let old = oddline::storage::baseline::encode(&old).unwrap();
    assert_eq!(Baseline::from_bytes(&Config::default(), Path::new("old"), &old).unwrap().manifest().feedback, 0);
}

/// Where the streams of the shared evaluation are made, if they can be here.
fn evaluation() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/eval/make_incidents.py");
    let here = std::env::var_os("ODDLINE_SHARED").map(|dir| Path::new(&dir).join("eval/make_incidents.py"));
    [here, Some(script)].into_iter().flatten().find(|script| script.exists())
}

fn stream_of(script: &Path, system: &str, seed: u32) -> Vec<Event> {
    let args = ["--no-incidents", "--duration", "2000", "--system", system, "--seed", &seed.to_string()];
    let output = Command::new("python3").arg(script).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let event = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let message = event["message"].as_str().unwrap().to_owned();
        let stream = event["host"].as_str().unwrap_or_default().bytes().fold(7, |sum, byte| sum * 31 + u64::from(byte));
        let micros = START + (event["ts"].as_f64().unwrap() * 1e6) as i64;
        (event["kind"] != "tick").then_some(Event { micros, stream, message })
    };
    text.lines().filter_map(event).collect()
}

#[test]
fn on_real_logs_a_host_that_starts_from_three_others_keeps_to_twice_the_budget() {
    let Some(script) = evaluation() else {
        eprintln!("SKIPPED: ../shared/eval/make_incidents.py is not here");
        return;
    };
    let systems = std::env::var("ODDLINE_SYSTEMS").unwrap_or_else(|_| "BGL".to_owned());
    for system in systems.split(',') {
        let config = Config::default();
        let life = stream_of(&script, system, 4);
        let others: Vec<_> = (1..=3)
            .map(|seed| (format!("h{seed}"), learned(&config, &format!("h{seed}"), &stream_of(&script, system, seed))))
            .collect();
        let fleet = Baseline::merge(&config, others).unwrap();
        let fs = MemFs::new();
        let path = put(&fs, "fleet", &fleet.to_bytes().unwrap());
        let engine = Engine::open(&Config { baseline: Some(path), ..config.clone() }, environment(&fs)).unwrap();
        assert_eq!(engine.stats().state, "ready", "{system}");
        let alerts = live(&engine, &life);
        let rate = alerts as f64 / life.len() as f64;
        eprintln!("{system}: {alerts} alerts of {} events, {:.2} times the budget", life.len(), rate / BUDGET);
        assert!(rate <= 2.0 * BUDGET, "{system}: {alerts} alerts of {} events", life.len());
    }
}
