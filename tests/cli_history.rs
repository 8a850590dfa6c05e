//! `oddline history`: what was seen when.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cli_support;

use std::io::{BufRead, BufReader, Write};

use cli_support::{failed, json, ok, path, run, start};
use serde_json::Value;

/// One event a second from 2026-01-31 07:00:00 on; every tenth is of another template.
fn a_log(events: std::ops::Range<i64>) -> String {
    let line = |n: i64| {
        let message =
            if n % 10 == 0 { format!("backup of {n} finished") } else { format!("GET /items/{n} took {} ms", n % 50) };
        format!("{{\"timestamp\":{},\"message\":\"{message}\"}}\n", 1_769_842_800 + n)
    };
    events.map(line).collect()
}

fn history(data: &str, more: &[&str]) -> Value {
    let args = [&["history", "--data-dir", data, "--format", "json"], more].concat();
    json(ok(&run(&args, "")))
}

#[test]
fn counts_are_those_of_the_log_whether_they_come_from_the_log_or_from_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = path(&data);
    for part in 0..3 {
        ok(&run(&["score", "--data-dir", data, "--time", "event"], a_log(part * 600..(part + 1) * 600)));
        let found = history(data, &[]);
        assert_eq!(found["events"], (part + 1) * 600, "{found}");
    }
    let found = history(data, &[]);
    assert_eq!((&found["from"], &found["until"]), (&"2026-01-31T07:00:00Z".into(), &"2026-01-31T07:30:00Z".into()));
    let [get, backup] = found["templates"].as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!((&get["events"], &get["template"]), (&1_620.into(), &"GET <*> took <*> ms".into()));
    assert_eq!((&backup["events"], &backup["template"]), (&180.into(), &"backup of <*> finished".into()));
    assert_eq!(backup["counts"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum::<u64>(), 180);
    let of_one = history(data, &["--template", backup["template_id"].as_str().unwrap()]);
    assert_eq!((&of_one["events"], &of_one["templates_total"]), (&180.into(), &1.into()));
    let an_hour = ["--since", "2026-01-31T07:10:00Z", "--until", "2026-01-31T07:20:00Z"];
    assert_eq!(history(data, &an_hour)["events"], 600);
    assert_eq!(history(data, &["--last", "1s"])["events"], 0);
}

#[test]
fn the_newest_events_come_latest_first_and_their_ids_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = path(&data);
    let scored = run(&["score", "--data-dir", data, "--time", "event", "--fields", "full"], a_log(0..600));
    let last_id = json(ok(&scored).lines().last().unwrap())["anomaly"]["event_id"].clone();
    ok(&run(&["score", "--data-dir", data, "--time", "event"], a_log(600..900)));
    let events = history(data, &["--events", "310"]);
    let events = events.as_array().unwrap();
    assert_eq!(events.len(), 310);
    assert!(events.is_sorted_by_key(|event| -event["time"].as_i64().unwrap()));
    assert_eq!(events[300]["event_id"], last_id);
    assert_eq!(history(data, &["--events", "0"]), Value::Array(Vec::new()));
    ok(&run(&["accept", "--data-dir", data, last_id.as_str().unwrap()], ""));
}

#[test]
fn it_reads_beside_a_run_that_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let config = dir.path().join("oddline.yaml");
    std::fs::write(&config, "durability: always\ntime: event\n").unwrap();
    let mut child = start(&["score", "--data-dir", path(&data), "--config", path(&config)]);
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    child.stdin.as_ref().unwrap().write_all(a_log(0..50).as_bytes()).unwrap();
    for _ in 0..50 {
        answers.read_line(&mut String::new()).unwrap();
    }
    assert_eq!(history(path(&data), &[])["events"], 50);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_is_asked_wrongly_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(dir.path());
    for (args, said) in [
        (["--since", "yesterday"], "--since"),
        (["--last", "7 weeks"], "as in 90m"),
        (["--template", "xyz"], "16 hex digits"),
    ] {
        let args = [&["history", "--data-dir", data], &args[..]].concat();
        assert!(failed(&run(&args, ""), 2).contains(said), "{args:?}");
    }
    failed(&run(&["history", "--data-dir", "/does/not/exist"], ""), 1);
    assert!(ok(&run(&["history", "--data-dir", data], "")).contains("0 events"));
}
