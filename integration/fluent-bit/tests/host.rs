//! The library in a host that behaves as Fluent Bit does: loaded with `dlopen`, called on the stacks Fluent Bit calls from, reloaded.
//!
//! Without a C compiler these tests say that they did not run; under CI (`CI=true`) that is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

#[path = "../../test-support/library.rs"]
mod library;

use oddline::engine::Environment;
use oddline::plugin::Component;
use oddline::plugin::conformance::{self, Adapter};
use serde_json::{Value, json};

const HERE: &str = env!("CARGO_MANIFEST_DIR");
const TMP: &str = env!("CARGO_TARGET_TMPDIR");

/// The library to test.
fn plugin() -> &'static Path {
    static PLUGIN: OnceLock<PathBuf> = OnceLock::new();
    PLUGIN.get_or_init(|| {
        library::library("ODDLINE_FLUENT_BIT_PLUGIN", "liboddline_fluent_bit.so", env!("CARGO_PKG_NAME"), &[])
    })
}

/// The host, built once; nothing without a C compiler.
fn host() -> Option<&'static Path> {
    static HOST: OnceLock<Option<PathBuf>> = OnceLock::new();
    HOST.get_or_init(|| {
        if Command::new("cc").arg("--version").output().is_err() {
            library::skipped("no C compiler is installed (apt-get install gcc libc6-dev)");
            return None;
        }
        let new = Path::new(TMP).join(format!("fluent-bit-host-{}", std::process::id()));
        let built = Command::new("cc")
            // Its own `malloc` is no builtin: nothing is to be taken for granted of what it gives.
            .args(["-std=gnu11", "-O1", "-fno-builtin", "-g", "-Wall", "-Werror", "-rdynamic", "-pthread", "-o"])
            .arg(&new)
            .arg(format!("{HERE}/tests/host.c"))
            .arg("-ldl")
            .status();
        assert!(built.unwrap().success(), "the host does not build");
        Some(new)
    })
    .as_deref()
}

/// One run of the host.
#[derive(Default)]
struct Run<'r> {
    options: &'r [&'r str],
    data_dir: Option<&'r Path>,
    properties: Vec<(String, String)>,
}

/// What a chunk became: the host's letter, and the bytes.
type Answer = (char, Vec<u8>);

impl<'r> Run<'r> {
    fn with(options: &'r [&'r str]) -> Self {
        Self { options, ..Self::default() }
    }

    fn in_dir(self, dir: &'r Path) -> Self {
        Self { data_dir: Some(dir), ..self }
    }

    fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The answers to `chunks` and what was logged, or only that when the host failed.
    fn run(&self, chunks: &[Vec<u8>]) -> Result<(Vec<Answer>, String), String> {
        self.run_with(chunks, |_| ())
    }

    /// The same; `before` is called with the number of each chunk before it is sent.
    fn run_with(&self, chunks: &[Vec<u8>], before: impl Fn(usize)) -> Result<(Vec<Answer>, String), String> {
        let own_dir = tempfile::tempdir().unwrap();
        let dir = self.data_dir.unwrap_or(own_dir.path());
        let mut host = Command::new(host().expect("the caller asked for the host"))
            .args(self.options)
            .arg(plugin())
            .arg(format!("data_dir={}", dir.display()))
            .args(self.properties.iter().map(|(key, value)| format!("{key}={value}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut stdin, mut stdout) = (host.stdin.take().unwrap(), host.stdout.take().unwrap());
        // Read meanwhile: a host whose answers nobody takes reads no chunks.
        let answered = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).map(|_| bytes)
        });
        for (number, chunk) in chunks.iter().enumerate() {
            before(number);
            // A host that refused its configuration reads on, too.
            stdin.write_all(&u32::try_from(chunk.len()).unwrap().to_be_bytes()).unwrap();
            stdin.write_all(chunk).unwrap();
        }
        drop(stdin);
        let output = host.wait_with_output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let answered = answered.join().unwrap().unwrap();
        if output.status.success() { Ok((answers(&answered), log)) } else { Err(log) }
    }

    #[track_caller]
    fn passes(&self, chunks: &[Vec<u8>]) -> Vec<Answer> {
        let (answers, _) = self.run(chunks).unwrap_or_else(|log| panic!("{log}"));
        assert_eq!(answers.len(), chunks.len());
        answers
    }
}

fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut found = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<5>() {
        let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        found.push((char::from(head[0]), rest[..len].to_vec()));
        bytes = &rest[len..];
    }
    assert!(bytes.is_empty());
    found
}

/// Seconds of every record that has no time of its own.
const SECONDS: u32 = 1_700_000_000;

fn event_time(seconds: u32) -> Vec<u8> {
    [&[0xd7, 0x00][..], &seconds.to_be_bytes(), &[0; 4]].concat()
}

/// `[[time, metadata], body]`, by a MessagePack that is not ours.
fn v2(metadata: &Value, body: &Value) -> Vec<u8> {
    [&[0x92, 0x92][..], &event_time(SECONDS), &packed(metadata), &packed(body)].concat()
}

fn v1(body: &Value) -> Vec<u8> {
    [&[0x92][..], &event_time(SECONDS), &packed(body)].concat()
}

fn packed(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec(value).unwrap()
}

/// The values one behind another in `bytes`, times as numbers.
fn unpacked(bytes: &[u8]) -> Vec<Value> {
    let mut cursor = std::io::Cursor::new(bytes);
    let mut found = Vec::new();
    while (cursor.position() as usize) < bytes.len() {
        found.push(json_of(rmpv::decode::read_value(&mut cursor).unwrap()));
    }
    found
}

fn json_of(value: rmpv::Value) -> Value {
    match value {
        rmpv::Value::Nil => Value::Null,
        rmpv::Value::Boolean(flag) => json!(flag),
        rmpv::Value::Integer(number) => number.as_i64().map_or_else(|| json!(number.as_u64()), |number| json!(number)),
        rmpv::Value::F32(number) => json!(number),
        rmpv::Value::F64(number) => json!(number),
        rmpv::Value::String(text) => json!(String::from_utf8_lossy(text.as_bytes())),
        rmpv::Value::Binary(bytes) => json!(bytes),
        rmpv::Value::Array(items) => items.into_iter().map(json_of).collect(),
        rmpv::Value::Map(entries) => {
            let entry = |(key, value)| (json_of(key).as_str().unwrap_or("?").to_owned(), json_of(value));
            Value::Object(entries.into_iter().map(entry).collect())
        }
        rmpv::Value::Ext(_, bytes) => json!(u32::from_be_bytes(bytes[..4].try_into().unwrap())),
    }
}

fn bodies(chunk: &[u8]) -> Vec<Value> {
    unpacked(chunk).into_iter().map(|record| record[1].clone()).collect()
}

struct Records(&'static [&'static str]);

impl Adapter for Records {
    fn run(&mut self, config: &Value, events: &[Value]) -> Result<Vec<Value>, String> {
        let mut run = Run::with(self.0);
        for (key, value) in config.as_object().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            run = run.property(key, &text);
        }
        let chunk = events.iter().flat_map(|event| v2(&json!({}), event)).collect();
        let (answers, _) = run.run(&[chunk])?;
        Ok(bodies(&answers[0].1))
    }
}

#[test]
fn records_conform_to_what_every_adapter_must_do() {
    if host().is_some() {
        assert_eq!(conformance::check(&mut Records(&[])), Vec::<String>::new());
    }
}

#[test]
fn records_conform_on_a_coroutine_too() {
    if host().is_some() {
        assert_eq!(conformance::check(&mut Records(&["--coroutine"])), Vec::<String>::new());
    }
}

/// Without an allocator of our own the first aligned load from a small hash table ends it with SIGSEGV, in a debug build with a panic.
#[test]
fn records_conform_where_memory_is_aligned_to_8_only() {
    if host().is_none() {
        return;
    }
    assert_eq!(conformance::check(&mut Records(&["--malloc-of-8"])), Vec::<String>::new());
    let chunks: Vec<_> = (0..20).map(|n| lines(n * 200, 200)).collect();
    for options in [
        &["--malloc-of-8", "--coroutine", "--reload", "5"][..],
        &["--malloc-of-8", "--threads", "4"],
        &["--malloc-of-8", "--output", "--coroutine"],
    ] {
        let (answers, log) = Run::with(options).run(&chunks).unwrap_or_else(|log| panic!("{log}"));
        assert_eq!(answers.len(), chunks.len());
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[test]
fn all_but_the_fields_stays_byte_for_byte() {
    if host().is_none() {
        return;
    }
    // Keys of other types and twice, extensions, a float of 32 bits, a wide map header, long forms of short lengths.
    let body = b"\xde\x00\x08\xa7message\xd9\x05hello\x05\xa4five\xa1a\x01\xa1a\x02\xc7\x02\x07xy\xc0\xa1f\xca\x3f\x80\x00\x00\xc4\x01b\xd4\x09z\xa1l\xdc\x00\x01\xc3";
    let head = [&b"\x92\x92"[..], &event_time(5), b"\x81\xa4meta\xc4\x02\x00\xff"].concat();
    let plain = [&head[..], body].concat();
    let found = Run::default().passes(&[plain])[0].1.clone();
    let (entries, fields) = found.strip_prefix(&head[..]).unwrap().split_at(body.len());
    assert_eq!(entries[..3], *b"\xde\x00\x09");
    assert_eq!(entries[3..], body[3..]);
    let (name, fields) = fields.split_at(8);
    assert_eq!(name, b"\xa7anomaly");
    assert_eq!(unpacked(fields)[0]["state"], "learning");
}

#[test]
fn both_formats_and_groups_stay_what_they_are() {
    if host().is_none() {
        return;
    }
    let start = [&b"\x92\x92"[..], &event_time(u32::MAX), b"\x81\xa6schema\xa4otlp\x81\xa8resource\x80"].concat();
    let end = [&b"\x92\x92"[..], &event_time(u32::MAX - 1), b"\x80\x80"].concat();
    let one = json!({"message": "user 1 logged in"});
    let chunk =
        [v1(&one), start.clone(), v2(&json!({"m": 1}), &one), end.clone(), b"\x92\x05\x81\xa7message\xa1x".to_vec()]
            .concat();
    let found = Run::default().passes(&[chunk])[0].1.clone();
    let records = unpacked(&found);
    assert_eq!(records.len(), 5);
    assert_eq!(records[0][0], json!(SECONDS));
    assert_eq!(records[2][0], json!([SECONDS, {"m": 1}]));
    assert_eq!(records[4][0], json!(5));
    for index in [0, 2, 4] {
        assert!(records[index][1]["anomaly"]["template_id"].is_string(), "{}", records[index]);
    }
    let at = |part: &[u8]| found.windows(part.len()).any(|window| window == part);
    assert!(at(&start) && at(&end), "marks of groups have changed");
}

#[test]
fn bad_chunks_pass_as_they_came_and_what_is_good_in_them_is_scored() {
    if host().is_none() {
        return;
    }
    let good = || v2(&json!({}), &json!({"message": "user 1 logged in"}));
    let deep = |depth: usize| {
        let nested = [vec![0x91; depth], vec![0xc0]].concat();
        [&b"\x92\x92"[..], &event_time(5), b"\x80\x82\xa7message\xa1x\xa1d", &nested].concat()
    };
    let huge = v2(&json!({}), &json!({"message": "x y ".repeat(10 << 18)}));
    let untouched: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"\xc1".to_vec(),
        b"garbage that is none".to_vec(),
        good()[..good().len() - 1].to_vec(),
        b"\x92\x92\xd7\x00".to_vec(),
        // A body that is no map.
        [&b"\x92\x92"[..], &event_time(5), b"\x80\xa4text"].concat(),
        [&b"\x92\x92"[..], &event_time(5), b"\x80\x91\x01"].concat(),
        b"\x92\x92\x05\x80\xdf\xff\xff\xff\xff".to_vec(),
        b"\xdd\xff\xff\xff\xff".to_vec(),
        vec![0x91; 100_000],
    ];
    for options in [&[][..], &["--coroutine"]] {
        let run = Run::with(options);
        for (chunk, (letter, found)) in untouched.iter().zip(run.passes(&untouched)) {
            assert_eq!((letter, &found), ('n', chunk), "{chunk:x?}");
        }
        let scored = [deep(1_000), deep(1_000_000), huge.clone()];
        for (chunk, (letter, found)) in scored.iter().zip(run.passes(&scored)) {
            assert_eq!(letter, 'm');
            assert!(found.len() > chunk.len() + 20);
            assert!(found.windows(8).any(|window| window == b"\xa7anomaly"));
        }
        // The good record before the bad bytes is scored, and those are still there.
        let cut = [good(), b"\x92\x92\xd7\x00\x01".to_vec()].concat();
        let found = run.passes(std::slice::from_ref(&cut))[0].1.clone();
        assert!(found.ends_with(b"\x92\x92\xd7\x00\x01") && found.len() > cut.len(), "{found:x?}");
        assert_eq!(bodies(&found[..found.len() - 5])[0]["anomaly"]["state"], "learning");
    }
}

#[test]
fn a_map_that_fills_its_header_gets_a_wider_one() {
    if host().is_none() {
        return;
    }
    for len in [14_usize, 15, 16, 300, 65_534, 65_535] {
        let mut body: serde_json::Map<_, _> = (1..len).map(|n| (format!("k{n}"), json!(n))).collect();
        body.insert("message".to_owned(), json!("hello"));
        let found = Run::default().passes(&[v2(&json!({}), &Value::Object(body.clone()))])[0].1.clone();
        let mut found = bodies(&found).remove(0);
        assert!(found.as_object_mut().unwrap().remove("anomaly").is_some());
        assert_eq!(found, Value::Object(body), "{len}");
    }
}

#[test]
fn the_records_time_counts_unless_the_body_has_one() {
    if host().is_none() {
        return;
    }
    let at = |seconds: u32, body: Value| [&[0x92, 0x92][..], &event_time(seconds), b"\x80", &packed(&body)].concat();
    let chunk = [
        at(SECONDS, json!({"message": "first"})),
        at(SECONDS, json!({"message": "second", "when": "2001-02-03T04:05:06Z"})),
        at(SECONDS, json!({"message": "third", "when": "no time"})),
    ];
    let run = Run::default().property("time", "event").property("timestamp_field", "when").property("fields", "full");
    let scored = bodies(&run.passes(&[chunk.concat()])[0].1);
    // The id of an event begins with its time in milliseconds, in hex digits.
    let millis = |body: &Value| u64::from_str_radix(&body["anomaly"]["event_id"].as_str().unwrap()[..12], 16).unwrap();
    let expected = [u64::from(SECONDS) * 1_000, 981_173_106_000, u64::from(SECONDS) * 1_000];
    assert_eq!(scored.iter().map(millis).collect::<Vec<_>>(), expected);
}

#[test]
fn a_silence_goes_with_the_next_chunk_in_its_format_and_in_no_group() {
    if host().is_none() {
        return;
    }
    let at = |second: u32, message: &str| {
        [&[0x92, 0x92][..], &event_time(SECONDS + second), b"\x80", &packed(&json!({"log": {"text": message}}))]
            .concat()
    };
    let mut stream = Vec::new();
    for second in 0..1_400 {
        stream.extend(at(second, &format!("request {second} served")));
        if second % 5 == 0 && second < 1_300 {
            stream.extend(at(second, "still here"));
        }
    }
    let open_group = [&b"\x92\x92"[..], &event_time(u32::MAX), b"\x80\x80", &at(1_401, "request 1 served")].concat();
    let cut = [at(1_402, "request 2 served"), vec![0x92]].concat();
    let last =
        [&b"\x92"[..], &event_time(SECONDS + 1_403), &packed(&json!({"log": {"text": "request 3 served"}}))].concat();
    // The pause is for a tick, which comes ten times a second.
    let run = Run::with(&["--pause", "1000"]).property("time", "event").property("message_field", "log.text");
    let answers = run.passes(&[stream, open_group, cut, last]);
    let synthetic = |chunk: &[u8]| bodies(chunk).iter().filter(|body| body["anomaly"]["synthetic"] == true).count();
    assert_eq!(
        synthetic(&answers[0].1) + synthetic(&answers[1].1) + synthetic(&answers[2].1[..answers[2].1.len() - 1]),
        0
    );
    let records = unpacked(&answers[3].1);
    assert_eq!(records.len(), 2, "{records:?}");
    assert!(records[1][0].is_u64(), "as the record before it: {}", records[1]);
    assert_eq!(records[1][1]["log"]["text"], "oddline: expected and not seen: still here");
    assert_eq!(records[1][1]["anomaly"]["reasons"], json!(["silence"]));
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_one() {
    if host().is_none() {
        return;
    }
    for (key, value, expected) in [
        ("alert_buget", "0.1", "alert_budget"),
        ("fields", "most", "minimal"),
        ("target", "message", "message_field"),
        ("sampling.keep_per_minut", "1", "keep_per_minute"),
    ] {
        for options in [&[][..], &["--output"]] {
            let log = Run::with(options).property(key, value).run(&[]).unwrap_err();
            assert!(log.contains(key.trim_start_matches("sampling.")) && log.contains(expected), "{log}");
        }
    }
    let log = Run::default().property("partition_by", "host").property("partition_by", "service").run(&[]);
    assert!(log.is_ok(), "{log:?}");
}

#[test]
fn a_plugin_without_a_data_dir_does_not_start() {
    let Some(host) = host() else { return };
    for options in [&[][..], &["--output"]] {
        let output = Command::new(host).args(options).arg(plugin()).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(log.contains("data_dir"), "{log}");
    }
}

fn lines(first: usize, count: usize) -> Vec<u8> {
    (first..first + count)
        .flat_map(|n| v2(&json!({}), &json!({"n": n, "message": format!("request {n} took {} ms", n % 97)})))
        .collect()
}

#[test]
fn figures_stand_in_a_file_as_prometheus_reads_them() {
    if host().is_none() {
        return;
    }
    for options in [&[][..], &["--output"]] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("oddline.prom");
        Run::with(options)
            .property("Metrics_File", file.to_str().unwrap())
            .run(&[lines(0, 100), lines(100, 20)])
            .unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("# TYPE oddline_events_total counter\noddline_events_total 120\n"), "{text}");
        assert!(text.contains("oddline_state{state=\"learning\"} 1\n"), "{text}");
        assert!(text.contains("oddline_templates 1\n"), "{text}");
        let log = Run::with(options).property("metrics_file", "/").run(&[lines(0, 1)]).unwrap().1;
        assert_eq!(log.matches("metrics_file /").count(), 1, "{log}");
        let twice =
            Run::with(options).property("metrics_file", "a").property("metrics_file", "b").run(&[]).unwrap_err();
        assert!(twice.contains("metrics_file: expected one value"), "{twice}");
    }
}

#[test]
fn what_was_learned_is_there_after_a_reload() {
    if host().is_none() {
        return;
    }
    let chunks: Vec<_> = (0..20).map(|chunk| lines(chunk * 100, 100)).collect();
    for options in [&["--reload", "1"][..], &["--coroutine", "--reload", "3"]] {
        let answers = Run::with(options).property("learning_events", "1000").passes(&chunks);
        let all: Vec<Value> = answers.iter().flat_map(|(_, chunk)| bodies(chunk)).collect();
        assert_eq!(
            all.iter().map(|body| body["n"].as_u64().unwrap()).collect::<Vec<_>>(),
            (0..2_000).collect::<Vec<_>>()
        );
        assert_eq!(all[0]["anomaly"]["state"], "learning");
        assert_eq!(all[1_999]["anomaly"]["state"], "ready");
        let ids: std::collections::BTreeSet<_> =
            all[1_500..].iter().map(|body| body["anomaly"]["template_id"].to_string()).collect();
        assert_eq!(ids.len(), 1);
    }
}

#[test]
fn instances_on_several_threads_share_one_engine() {
    if host().is_none() {
        return;
    }
    let chunks: Vec<_> = (0..50).map(|chunk| lines(chunk * 100, 100)).collect();
    for options in [&["--threads", "4"][..], &["--threads", "4", "--coroutine"], &["--threads", "3", "--reload", "7"]] {
        let dir = tempfile::tempdir().unwrap();
        let (answers, log) = Run::with(options).in_dir(dir.path()).run(&chunks).unwrap_or_else(|log| panic!("{log}"));
        let all: Vec<Value> = answers.iter().flat_map(|(_, chunk)| bodies(chunk)).collect();
        assert_eq!(all.len(), 5_000);
        assert!(all.iter().all(|body| body["anomaly"]["state"] != "degraded"), "{log}");
        assert!(!log.contains("events pass without scores"), "{log}");
    }
}

#[test]
fn a_data_dir_that_cannot_be_opened_stops_no_record() {
    if host().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let chunks = [lines(0, 10)];
    for options in [&[][..], &["--coroutine"]] {
        let answers = Run::with(options).in_dir(&file).passes(&chunks);
        let bodies = bodies(&answers[0].1);
        assert_eq!(bodies.len(), 10);
        assert!(bodies.iter().all(|body| body["anomaly"]["state"] == "degraded"), "{}", bodies[0]);
    }
    let answers = Run::with(&["--output"]).in_dir(&file).passes(&chunks);
    assert_eq!(answers[0].0, 'r');
}

/// Whether a file of the log has something in it.
fn has_logged(dir: &Path) -> bool {
    let entries = std::fs::read_dir(dir.join("wal")).into_iter().flatten().flatten();
    let mut files = entries.filter_map(|lane| std::fs::read_dir(lane.path()).ok()).flatten().flatten();
    files.any(|file| file.metadata().is_ok_and(|metadata| metadata.len() > 1_000))
}

/// Removes the data dir `dir` once there is something in it, at one moment, whatever is made there meanwhile.
fn vanish(dir: &Path) {
    while !has_logged(dir) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let gone = dir.with_extension("gone");
    std::fs::rename(dir, &gone).unwrap();
    std::fs::remove_dir_all(&gone).unwrap();
}

/// Events that are in the data dir `dir`.
fn kept(dir: &Path) -> u64 {
    let config = oddline::config::Config { data_dir: Some(dir.to_owned()), ..Default::default() };
    let mut component = Component::new(config, Environment::system()).unwrap();
    component.open().unwrap();
    component.stats().engine.unwrap().events_total
}

#[test]
fn a_data_dir_that_vanishes_while_it_runs_stops_no_record() {
    if host().is_none() {
        return;
    }
    let chunks: Vec<_> = (0..40).map(|n| lines(n * 1_000, 1_000)).collect();
    for options in [&["--stream"][..], &["--stream", "--coroutine"]] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let at_ten = |number| {
            if number == 10 {
                vanish(&data)
            }
        };
        let (answers, log) = Run::with(options).in_dir(&data).run_with(&chunks, at_ten).unwrap();
        assert_eq!(answers.len(), chunks.len(), "{log}");
        for (number, (letter, found)) in answers.iter().enumerate() {
            let found = bodies(found);
            assert_eq!((*letter, found.len()), ('m', 1_000), "{number}: {log}");
            assert!(found.iter().enumerate().all(|(n, body)| body["n"] == number * 1_000 + n), "{number}: {log}");
            assert!(found.iter().all(|body| body["anomaly"]["score"].is_number()), "{number}: {log}");
        }
        assert_eq!(kept(&data), 40_000, "what was learned is in a new one: {log}");
    }
}

#[test]
fn the_output_sends_again_what_went_to_a_data_dir_that_vanished() {
    if host().is_none() {
        return;
    }
    let chunks: Vec<_> = (0..26).map(|n| lines(n * 100, 100)).collect();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let at_four = |number| {
        if number == 4 {
            vanish(&data)
        }
    };
    let run = Run::with(&["--stream", "--output", "--pause", "400"]).in_dir(&data);
    let (answers, log) = run.run_with(&chunks, at_four).unwrap_or_else(|log| panic!("{log}"));
    let letters: String = answers.iter().map(|(letter, _)| *letter).collect();
    assert!(letters.starts_with('o') && letters.contains('r') && letters.ends_with('o'), "{letters}: {log}");
    let taken = letters.chars().filter(|letter| *letter == 'o').count() as u64;
    // That of the chunk in which it vanished, too.
    assert_eq!(kept(&data), (taken + 1) * 100, "{letters}: {log}");
}

#[test]
fn the_output_answers_when_everything_is_on_disk() {
    if host().is_none() {
        return;
    }
    let chunks: Vec<_> = (0..10).map(|chunk| lines(chunk * 50, 50)).collect();
    for options in [&["--output"][..], &["--output", "--coroutine"], &["--output", "--coroutine", "--reload", "3"]] {
        let dir = tempfile::tempdir().unwrap();
        let run = Run::with(options).in_dir(dir.path());
        let (answers, log) = run.run(&chunks).unwrap_or_else(|log| panic!("{log}"));
        assert!(answers.iter().all(|(letter, _)| *letter == 'o'), "{log}");
        assert!(log.contains("events_total"), "{log}");
        assert!(std::fs::read_dir(dir.path().join("state")).unwrap().count() > 0);
    }
}

#[test]
fn the_output_takes_bad_chunks_too() {
    if host().is_none() {
        return;
    }
    let chunks = vec![b"\xc1".to_vec(), Vec::new(), vec![0x91; 100_000], [lines(0, 1), b"\x92".to_vec()].concat()];
    let answers = Run::with(&["--output", "--coroutine"]).passes(&chunks);
    assert!(answers.iter().all(|(letter, _)| *letter == 'o'), "{answers:?}");
}

#[test]
fn the_library_stays_loaded_and_exports_only_what_a_host_looks_for() {
    let output = Command::new("objdump").arg("-p").arg(plugin()).output();
    let Ok(output) = output else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "objdump is not installed");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.lines()
            .any(|line| line.contains("FLAGS_1") && line.trim_end().ends_with(|c: char| "89abcdef".contains(c))),
        "{text}"
    );
    let exported = Command::new("objdump").arg("-T").arg(plugin()).output().unwrap();
    let exported = String::from_utf8_lossy(&exported.stdout).into_owned();
    let mut names: Vec<&str> = exported
        .lines()
        .filter(|line| line.contains("g    D") && !line.contains("*UND*"))
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["FLBPluginExitCtx", "FLBPluginFlushCtx", "FLBPluginInit", "FLBPluginRegister", "filter_oddline_plugin"]
    );
}
