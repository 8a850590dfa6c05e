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

/// Of two hosts by turns, a backup of the second failing every 250 s: times end now, so that `7d` reaches them and `1s` does not.
fn alerting(data: &str) {
    let now = jiff::Timestamp::now().as_second();
    let line = |n: i64| {
        let (host, message) = match n {
            n if n % 250 == 249 => ("db2", format!("FATAL backup of volume {n} failed: disk full")),
            n if n % 2 == 0 => ("db1", format!("GET /items/{n} took {} ms", n % 50)),
            n => ("db2", format!("session {n} closed")),
        };
        format!("{{\"timestamp\":{},\"host\":\"{host}\",\"message\":\"{message}\"}}\n", now - 3_000 + n)
    };
    let (first, second): (String, String) = ((0..1_500).map(line).collect(), (1_500..2_900).map(line).collect());
    let args = ["score", "--input", "json", "--data-dir", data, "--time", "event"];
    for part in [first, second] {
        ok(&run(&args, part));
    }
}

#[test]
fn time_is_said_as_how_long_ago_and_streams_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = path(&data);
    alerting(data);
    assert_eq!(history(data, &["--since", "7d"])["events"], 2_900);
    assert_eq!(history(data, &["--since", "1s"])["events"], 0);
    assert_eq!(history(data, &["--until", "7d"])["events"], 0);
    let of = |stream: &str| history(data, &["--stream", stream, "--since", "1d"])["events"].as_u64().unwrap();
    assert_eq!((of("host=db1"), of("host=db2"), of("host=db3")), (1_450, 1_450, 0));
    let newest = history(data, &["--stream", "host=db1", "--events", "5"]);
    assert_eq!(newest.as_array().unwrap().len(), 5);
}

#[test]
fn a_reason_counts_the_alerts_that_gave_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = path(&data);
    alerting(data);
    let incidents = |more: &[&str]| {
        let args = [&["incidents", "--data-dir", data, "--top", "0", "--format", "json"], more].concat();
        json(ok(&run(&args, ""))).as_array().unwrap().clone()
    };
    let all = incidents(&[]);
    let with = |reason: &str| {
        let gives = |row: &&Value| row["reasons"].as_array().unwrap().contains(&Value::from(reason));
        all.iter().filter(gives).count()
    };
    assert!(with("severity") > 0, "a fatal failure must have alerted: {all:?}");
    for reason in ["severity", "rare_template", "new_template", "silence"] {
        let found = history(data, &["--reason", reason, "--since", "7d"]);
        assert_eq!(found["events"], with(reason), "{reason}: {found}");
        assert_eq!(incidents(&["--reason", reason]).len(), with(reason));
    }
    let severe = history(data, &["--reason", "severity"]);
    let template = &severe["templates"][0];
    assert_eq!(template["template"], "FATAL backup of volume <*> failed: disk full");
    let id = template["template_id"].as_str().unwrap();
    assert_eq!(history(data, &["--reason", "severity", "--template", id])["events"], template["events"]);
    assert_eq!(history(data, &["--reason", "severity", "--stream", "host=db2"])["events"], severe["events"]);
    assert_eq!(history(data, &["--reason", "severity", "--stream", "host=db1"])["events"], 0);
    assert_eq!(history(data, &["--reason", "severity", "--since", "1s"])["events"], 0);
    failed(&run(&["history", "--data-dir", data, "--reason", "severity", "--events", "5"], ""), 2);
}

#[test]
fn what_is_asked_wrongly_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(dir.path());
    for (args, said) in [
        (["--since", "yesterday"], "how long ago"),
        (["--stream", "db1"], "host=VALUE"),
        (["--reason", "odd"], "expected one of new_template, rare_template"),
        (["--last", "7 weeks"], "as in 90m"),
        (["--template", "xyz"], "16 hex digits"),
    ] {
        let args = [&["history", "--data-dir", data], &args[..]].concat();
        assert!(failed(&run(&args, ""), 2).contains(said), "{args:?}");
    }
    failed(&run(&["history", "--data-dir", "/does/not/exist"], ""), 1);
    assert!(ok(&run(&["history", "--data-dir", data], "")).contains("0 events"));
}
