//! `oddline search`: the history of a data dir, asked in words.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cli_support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use cli_support::{failed, json_lines, ok, path, run, start, stderr};
use serde_json::{Value, json};

const ROUTINE: [&str; 6] = [
    "request N served in N ms",
    "session N opened for customer N",
    "cache hit for key N",
    "backup of volume N finished",
    "payment N accepted after N attempts",
    "replica N is N bytes behind",
];

const POOL: &str = "connection pool exhausted: waited N ms for a connection to orders";

/// One event a second from 2026-01-31 07:00:00 on, by turns of two hosts.
fn a_log(events: std::ops::Range<usize>) -> String {
    let line = |n: usize| {
        let text = if n % 300 == 299 { POOL } else { ROUTINE[n % ROUTINE.len()] };
        let host = if n.is_multiple_of(2) { "db1" } else { "db2" };
        let message = text.replace('N', &(n * 7 % 1_000).to_string());
        format!("{}\n", json!({"timestamp": 1_769_842_800 + n, "host": host, "message": message}))
    };
    events.map(line).collect()
}

fn config(dir: &Path) -> String {
    let file = dir.join("oddline.yaml");
    let data = dir.join("data");
    std::fs::write(
        &file,
        format!("data_dir: {}\ntime: event\nlearning_events: 1000\ndurability: always\n", data.display()),
    )
    .unwrap();
    path(&file).to_owned()
}

fn score(config: &str, events: &str) {
    ok(&run(&["score", "--input", "json", "--config", config], events));
}

fn search(config: &str, words: &str, more: &[&str]) -> Vec<Value> {
    let args = [&["search", words, "--config", config, "--format", "json"], more].concat();
    json_lines(ok(&run(&args, "")))
}

#[test]
fn templates_come_nearest_first_with_counts_times_and_an_example() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    // Two runs: what the first one saw is in the history, what the second one saw in the log.
    score(&config, &a_log(0..1_800));
    score(&config, &a_log(1_800..3_000));
    let found = search(&config, "exhausted connections", &[]);
    let pool = &found[0];
    assert_eq!(pool["template"], "connection pool exhausted: waited <*> ms for a connection to orders");
    assert_eq!(pool["events"], 10);
    assert_eq!(pool["first_seen"], "2026-01-31T07:04:59.000000Z", "the event's own time, not that of its window");
    assert_eq!(pool["last_seen"], "2026-01-31T07:49:59.000000Z");
    assert_eq!((&pool["first_within_secs"], &pool["last_within_secs"]), (&json!(0), &json!(0)));
    assert!(pool["model"].as_str().unwrap().starts_with("hashing-") && pool["fallback"].is_null(), "{pool}");
    assert!(pool.as_object().unwrap().contains_key("fallback"));
    assert!(
        pool["similarity"].as_f64().unwrap() > 0.25
            && found.is_sorted_by(|a, b| a["similarity"].as_f64() >= b["similarity"].as_f64())
    );
    let alerts = pool["anomalies"].as_u64().unwrap();
    assert!(alerts > 0, "rare as it is it must have alerted: {pool}");
    assert!(pool["example"].as_str().unwrap().starts_with("connection pool exhausted: waited "), "{pool}");
    let text = run(&["search", "pool of connections", "--config", &config], "");
    assert!(ok(&text).contains(" templates, by hashing-") && !ok(&text).contains("within"), "{}", ok(&text));
    let cut = ["--since", "2026-01-31T07:05:03Z", "--until", "2026-01-31T07:25:03Z"];
    let pool = &search(&config, "exhausted connections", &cut)[0];
    assert_eq!((&pool["first_seen"], &pool["first_within_secs"]), (&json!("2026-01-31T07:09:50.000000Z"), &json!(10)));
    assert_eq!((&pool["last_seen"], &pool["last_within_secs"]), (&json!("2026-01-31T07:24:50.000000Z"), &json!(10)));
    let cut = run(&[&["search", "pool of connections", "--config", &config][..], &cut].concat(), "");
    assert!(ok(&cut).contains("07:24:50.000000Z (each within 10 s from there on)"), "{}", ok(&cut));
    assert!(ok(&text).contains("10 events") && ok(&text).contains("as in: connection pool"), "{}", ok(&text));
    assert!(
        ok(&run(&["search", "backups", "of", "volumes", "--config", &config], "")).contains("backup of volume <*>")
    );
    for unlike in ["磁盘已经满了", "диск переполнен", "xxxxxxxxxxxxxxxx"] {
        let told = run(&["search", unlike, "--config", &config], "");
        assert!(ok(&told).starts_with("nothing like it among "), "{unlike}: {}", ok(&told));
    }
    let later = run(&["search", "backups", "--config", &config, "--since", "2030-01-01T00:00:00Z"], "");
    assert!(ok(&later).starts_with("no template was seen in the time"), "{}", ok(&later));
    assert_eq!(search(&config, "backups", &[])[0]["template"], "backup of volume <*> finished");
    assert_eq!(search(&config, "backups of a volume", &["--k", "1"]).len(), 1);
    let none = run(&["search", "backups", "--config", &config, "--k", "0"], "");
    assert!(failed(&none, 2).contains("expected a whole number from 1 on"));
}

#[test]
fn only_the_time_and_the_stream_asked_for_count() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    score(&config, &a_log(0..1_800));
    score(&config, &a_log(1_800..3_000));
    let events = |more: &[&str]| {
        search(&config, "request served", more).first().map_or(Value::Null, |hit| hit["events"].clone())
    };
    let all = search(&config, "request served", &[])[0]["events"].as_u64().unwrap();
    assert_eq!(events(&["--since", "2026-01-31T07:10:00Z", "--until", "2026-01-31T07:20:00Z"]), 100);
    assert_eq!(events(&["--until", "2026-01-31T07:00:00Z"]), Value::Null);
    assert_eq!(events(&["--since", "1s"]), Value::Null);
    // `ROUTINE` has it at even numbers, which are db1's.
    assert_eq!(events(&["--stream", "host=db1"]), all);
    assert_eq!(events(&["--stream", "host=db2"]), Value::Null);
    assert_eq!(
        search(&config, "session opened", &["--stream", "host=db2", "--since", "2026-01-31T07:30:00Z"])[0]["events"],
        200
    );
}

#[test]
fn the_events_of_what_was_found_are_listed_latest_first() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    score(&config, &a_log(0..1_800));
    score(&config, &a_log(1_800..3_000));
    let pool = &search(&config, "connection pool exhausted", &["--k", "1"])[0];
    let events = search(&config, "connection pool exhausted", &["--k", "1", "--events"]);
    assert_eq!(events.len(), 10);
    assert!(events.iter().all(|event| event["template_id"] == pool["template_id"]));
    assert!(events.is_sorted_by_key(|event| -event["time"].as_i64().unwrap()));
    let few = search(&config, "connection pool exhausted", &["--k", "1", "--events=3", "--stream", "host=db2"]);
    assert_eq!(few, events[..3]);
    let text = run(&["search", "zyzzyva", "--config", &config, "--events"], "");
    assert_eq!(ok(&text), "no events\n");
}

#[test]
fn time_and_stream_narrow_the_events_of_files_and_of_the_log_alike() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    score(&config, &a_log(0..1_800));
    score(&config, &a_log(1_800..3_000));
    // Its events are db2's, at 7:04:59 and every five minutes from there; those of before 7:30 are in a file, the others in the log.
    let times = |more: &[&str]| -> Vec<i64> {
        let asked = [&["--k", "1", "--events"], more].concat();
        let events = search(&config, "connection pool exhausted", &asked);
        events.iter().map(|event| event["time"].as_i64().unwrap() / 1_000_000 - 1_769_842_800).collect()
    };
    let span = ["--since", "2026-01-31T07:19:59Z", "--until", "2026-01-31T07:44:59Z"];
    assert_eq!(times(&span), [2_399, 2_099, 1_799, 1_499, 1_199]);
    let of = |host: &'static str| [&span[..], &["--stream", host]].concat();
    assert_eq!(times(&of("host=db2")), [2_399, 2_099, 1_799, 1_499, 1_199]);
    assert_eq!(times(&of("host=db1")), [] as [i64; 0]);
    assert_eq!(times(&["--since", "2026-01-31T07:50:00Z"]), [] as [i64; 0]);
    assert_eq!(times(&["--until", "2026-01-31T07:10:00Z"]), [599, 299]);
}

/// Routine, and after it a rare line of each host named, with a number of its own.
fn a_log_with(odd: &[(&str, usize)]) -> String {
    let routine = a_log(0..3_000);
    let routine = routine.lines().filter(|line| !line.contains("exhausted")).map(|line| format!("{line}\n"));
    let odd = odd.iter().map(|(host, number)| {
        let message = POOL.replace('N', &number.to_string());
        format!("{}\n", json!({"timestamp": 1_769_845_800 + number, "host": host, "message": message}))
    });
    routine.chain(odd).collect()
}

#[test]
fn an_example_is_of_the_host_that_is_searched_and_of_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let of_host = |name: &str| {
        let file = dir.path().join(format!("{name}.yaml"));
        let (data, journal) = (dir.path().join(name), dir.path().join("journal"));
        let text = format!(
            "data_dir: {}\ntime: event\nlearning_events: 1000\nhold_secs: 0\njournal:\n  url: file://{}\n  host: {name}\n",
            data.display(),
            journal.display()
        );
        std::fs::write(&file, text).unwrap();
        path(&file).to_owned()
    };
    let (own, other) = (of_host("own"), of_host("other"));
    score(&own, &a_log_with(&[("db1", 41), ("db2", 42)]));
    score(&other, &a_log_with(&[("db2", 77)]));
    let example = |more: &[&str]| search(&own, "connection pool exhausted", more)[0]["example"].clone();
    assert_eq!(example(&[]), POOL.replace('N', "42"), "not that of the other host, though it came later");
    assert_eq!(example(&["--stream", "host=db1"]), POOL.replace('N', "41"));
}

#[test]
fn it_reads_beside_a_run_that_goes_on_templates_of_this_second_among_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut child = start(&["score", "--input", "json", "--config", &config]);
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    child.stdin.as_ref().unwrap().write_all(a_log(250..300).as_bytes()).unwrap();
    for _ in 0..50 {
        answers.read_line(&mut String::new()).unwrap();
    }
    let found = search(&config, "connection pool exhausted", &[]);
    assert_eq!((&found[0]["events"], &found[0]["template"]), (&json!(1), &json!(POOL.replace('N', "<*>"))));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_is_asked_wrongly_is_said_and_long_and_foreign_words_are_searched() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    score(&config, &a_log(0..400));
    let ask = |words: &str, more: &[&str]| run(&[&["search", words, "--config", &config], more].concat(), "");
    for words in ["", "  ", "17 :: <*> -- 404"] {
        assert!(failed(&ask(words, &[]), 2).contains("expected words to search for"), "{words:?}");
    }
    assert!(failed(&ask("disk", &["--stream", "db1"]), 2).contains("host=VALUE"));
    assert!(failed(&ask("disk", &["--since", "yesterday"]), 2).contains("how long ago"));
    assert!(failed(&ask("disk", &["--k", "many"]), 2).contains("--k"));
    failed(&run(&["search", "disk", "--data-dir", "/does/not/exist"], ""), 1);
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(ok(&run(&["search", "disk", "--data-dir", path(&empty)], "")).contains("no template was seen in the time"));
    for words in ["磁盘已满", "диск переполнен", "القرص ممتلئ", "🔥 x"] {
        assert!(ok(&ask(words, &[])).contains("templates"), "{words}");
    }
    let long = format!("backup volume {}", "finished ".repeat(11_000));
    assert!(ok(&ask(&long, &[])).contains("backup of volume <*> finished"));
}

#[test]
fn a_damaged_file_of_the_history_is_told_and_the_rest_is_searched() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    score(&config, &a_log(0..600));
    score(&config, &a_log(600..1_200));
    let hour = std::fs::read_dir(dir.path().join("data/chunks")).unwrap().next().unwrap().unwrap().path();
    let chunk = std::fs::read_dir(hour).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&chunk).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::write(&chunk, bytes).unwrap();
    let found = run(&["search", "backup finished", "--config", &config], "");
    assert!(stderr(&found).contains("passed over: "), "{}", stderr(&found));
    ok(&found);
}

#[test]
#[cfg(not(feature = "onnx"))]
fn without_the_feature_a_model_is_refused_by_name_before_the_first_event() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}embedder: onnx\nembedder_model: /models/some\n")).unwrap();
    for command in [["score", "--config"], ["config", "check"]] {
        let said = failed(&run(&[&command[..], &[&config]].concat(), "a line\n"), 1).to_owned();
        assert!(said.contains("feature `onnx`"), "{command:?}: {said}");
    }
    assert!(!dir.path().join("data").exists(), "nothing was made");
}

#[test]
fn with_hashing_there_is_nothing_to_reembed() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    score(&config, &a_log(0..1_800));
    assert!(failed(&run(&["reembed", "--config", &config], ""), 1).contains("nothing to convert"));
}

#[test]
fn a_model_without_a_directory_is_a_fault_of_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}embedder: onnx\n")).unwrap();
    let said = failed(&run(&["config", "check", &config], ""), 1).to_owned();
    assert!(said.contains("embedder_model") && said.contains(":5: "), "{said}");
}
