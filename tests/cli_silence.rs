//! A silence on one host of several: what the user sees of it, and may say of it.

#![expect(clippy::unwrap_used, reason = "tests")]

mod cli_support;

use std::path::Path;

use cli_support::{json, json_lines, ok, path, run};
use serde_json::{Value, json};

const START: i64 = 1_741_946_400;

fn config(dir: &Path) -> String {
    let file = dir.join("oddline.yaml");
    let data = dir.join("data");
    let text = format!("data_dir: {}\ntime: event\nlearning_events: 1000\njournal: {{host: h1}}\n", data.display());
    std::fs::write(&file, text).unwrap();
    path(&file).to_owned()
}

/// From `start` on db1 says that it lives, until `stop`; db2 does until 200 s later, and more besides.
fn events(start: i64, stop: i64) -> String {
    let mut text = String::new();
    let mut say = |second: i64, host: &str, message: &str| {
        text += &format!("{}\n", json!({"timestamp": START + second, "host": host, "message": message}));
    };
    for second in (start..stop + 200).step_by(5) {
        if second < stop {
            say(second, "db1", "pulse of the database");
        }
        say(second, "db2", "pulse of the database");
        say(second, "db2", "cache is warm");
    }
    text
}

fn silences(config: &str, events: &str) -> Vec<Value> {
    let scored = json_lines(ok(&run(&["score", "--input", "json", "--config", config], events)));
    scored.into_iter().filter(|event| event["anomaly"]["synthetic"] == true).collect()
}

#[test]
fn a_silence_names_its_host_wherever_it_is_told_and_can_be_accepted_and_flagged() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let told = silences(&config, &events(0, 3_000));
    assert_eq!(told.len(), 1, "{told:?}");
    let silence = &told[0];
    assert_eq!(silence["host"], "db1");
    assert_eq!(silence["message"], "oddline: expected and not seen on host=db1: pulse of the database");
    let id = silence["anomaly"]["event_id"].as_str().unwrap();

    let listed = ok(&run(&["incidents", "--config", &config, "--stream", "host=db1"], "")).to_owned();
    assert!(listed.contains("db1") && listed.contains("silence"), "{listed}");

    let shown = ok(&run(&["show", id, "--config", &config], "")).to_owned();
    for part in
        ["stream db1", "its template on this stream, 600 events", "around it on the same stream", "did not come:"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let story = json(ok(&run(&["show", id, "--config", &config, "--format", "json"], "")));
    let around = story["around"].as_array().unwrap();
    assert_eq!((around.len(), around[8]["is_this"].as_bool()), (9, Some(true)), "{around:?}");
    assert!(around.iter().all(|event| event["template"] == "pulse of the database"), "of db1 alone: {around:?}");

    let accepted = ok(&run(&["accept", id, "--config", &config], "")).to_owned();
    assert!(accepted.contains("its silence on db1: pulse of the database"), "{accepted}");
    assert_eq!(silences(&config, &events(4_000, 4_600)), Vec::<Value>::new(), "it is normal");

    ok(&run(&["flag", id, "--config", &config], ""));
    let flagged = silences(&config, &events(6_000, 6_600));
    assert_eq!(flagged.len(), 1, "{flagged:?}");
    let anomaly = &flagged[0]["anomaly"];
    assert_eq!((&anomaly["reasons"][0], &anomaly["rule"]), (&json!("rule"), &json!("feedback:flag")), "{anomaly}");

    ok(&run(&["feedback", "remove", anomaly["template_id"].as_str().unwrap(), "--config", &config], ""));
    let as_before = silences(&config, &events(8_000, 8_600));
    assert_eq!(as_before[0]["anomaly"]["reasons"], json!(["silence"]));
}

#[test]
fn accepting_one_host_s_silence_leaves_the_others_and_the_template_s_events_alone() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let told = silences(&config, &events(0, 3_000));
    ok(&run(&["accept", told[0]["anomaly"]["event_id"].as_str().unwrap(), "--config", &config], ""));
    let other = events(4_000, 4_600).replace("db1", "db3").replace("db2", "db1").replace("db3", "db2");
    let told = silences(&config, &other);
    let pulses = told.iter().filter(|silence| silence["anomaly"]["template"] == "pulse of the database");
    assert_eq!(pulses.map(|silence| &silence["host"]).collect::<Vec<_>>(), [&json!("db2")], "{told:?}");
}

#[test]
fn scan_tells_a_regular_line_that_did_not_come_and_on_which_host() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events.json");
    std::fs::write(&file, events(0, 3_000)).unwrap();
    let report = json(ok(&run(&["scan", "--format", "json", path(&file)], "")));
    let groups = report["groups"].as_array().unwrap();
    let silence = groups.iter().find(|group| group["reasons"] == json!(["silence"])).unwrap();
    let text = silence["example"]["line"]["text"].as_str().unwrap();
    assert_eq!(text, "oddline: expected and not seen on host=db1: pulse of the database");
}
