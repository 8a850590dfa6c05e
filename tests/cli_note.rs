//! `oddline note`, and what alerts and `oddline show` tell of past incidents.
#![expect(clippy::unwrap_used, reason = "tests")]

mod cli_support;
mod files_support;

use std::path::Path;

use cli_support::{failed, json, json_lines, ok, path, run};
use files_support::files;
use serde_json::{Value, json};

const START: i64 = 1_741_946_400;

/// Routine, and `odd` as the last line but twenty.
fn events(from: i64, count: i64, odd: &str) -> String {
    let mut text = String::new();
    for n in 0..count {
        let message = match n {
            n if n == count - 20 => odd.to_owned(),
            n if n % 2 == 0 => format!("query of table orders took {} ms", 10 + n % 30),
            n => format!("request {} served", n * 13),
        };
        text += &format!("{}\n", json!({"timestamp": from + n, "host": "web1", "message": message}));
    }
    text
}

fn config(dir: &Path) -> String {
    let file = dir.join("oddline.yaml");
    let data = dir.join("data");
    std::fs::write(&file, format!("data_dir: {}\ntime: event\nlearning_events: 500\n", data.display())).unwrap();
    path(&file).to_owned()
}

/// The alert of the one line that is odd.
fn alert(config: &str, day: i64, odd: &str) -> Value {
    let lines = events(START + day * 86_400, 2_000, odd);
    let scored = json_lines(ok(&run(&["score", "--input", "json", "--config", config], lines)));
    let alert = scored.into_iter().find(|event| event["message"] == odd).unwrap();
    assert_eq!(alert["anomaly"]["is_anomaly"], true, "{alert}");
    alert["anomaly"].clone()
}

const POOL: &str = "FATAL connection pool exhausted: no connection to orders after 5000 ms";
const NEAR: &str = "FATAL connection pool exhausted: no connection to stock after 5000 ms while waiting";

fn id(alert: &Value) -> &str {
    alert["event_id"].as_str().unwrap()
}

#[test]
fn an_alert_names_the_past_incidents_it_is_like_and_what_was_said_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let first = alert(&config, 0, POOL);
    assert_eq!(first["similar"], Value::Null, "the first of its kind");

    let second = alert(&config, 1, NEAR);
    let told = &second["similar"][0];
    assert_eq!((&told["event_id"], &told["score"]), (&first["event_id"], &first["score"]));
    assert_eq!((&told["time"], &told["note"]), (&json!("2025-03-14T10:33:00.000000Z"), &Value::Null));
    assert!(told["distance"].as_f64().is_some_and(|distance| distance > 0.0 && distance < 0.4), "{told}");
    assert!(!second["reasons"].as_array().unwrap().contains(&json!("similar_incident")), "nothing was said of it");

    let noted = run(&["note", id(&first), " root cause: leak in orders 4.2\n", "--config", &config], "");
    assert!(ok(&noted).contains("note: root cause: leak in orders 4.2"));
    let third = alert(&config, 2, &NEAR.replace("stock", "carts"));
    let told = &third["similar"][0];
    assert_eq!((&told["event_id"], &told["score"]), (&first["event_id"], &first["score"]));
    assert_eq!(told["note"], "root cause: leak in orders 4.2");
    assert!(third["reasons"].as_array().unwrap().contains(&json!("similar_incident")), "{third}");
    assert_eq!(alert(&config, 3, "kernel: out of memory, killed process 17")["similar"], Value::Null);

    let story = json(ok(&run(&["show", id(&third), "--config", &config, "--format", "json"], "")));
    assert_eq!(story["similar"][0]["event_id"], id(&first));
    assert_eq!(story["similar"][0]["note"], "root cause: leak in orders 4.2");
    assert_eq!(story["incident"]["reasons"], third["reasons"]);
    let distance = story["similar"][0]["distance"].as_f64().unwrap();
    assert!(distance > 0.0 && distance < 0.4, "{distance}");
    let of_noted = run(&["show", id(&first), "--config", &config], "");
    assert!(ok(&of_noted).contains("note: root cause: leak in orders 4.2"));
    let of_third = run(&["show", id(&third), "--config", &config], "");
    assert!(ok(&of_third).contains("    note: root cause: leak"), "{}", ok(&of_third));

    ok(&run(&["note", id(&first), "--remove", "--config", &config], ""));
    assert!(!ok(&run(&["show", id(&third), "--config", &config], "")).contains("note:"));
}

#[test]
fn a_note_outlives_the_journal_and_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let first = alert(&config, 0, POOL);
    ok(&run(&["note", id(&first), "leak", "--config", &config], ""));
    for gone in ["journal", "state", "wal"] {
        std::fs::remove_dir_all(dir.path().join("data").join(gone)).unwrap();
    }
    let again = alert(&config, 1, POOL);
    assert_eq!((&again["similar"][0]["distance"], &again["similar"][0]["note"]), (&json!(0.0), &json!("leak")));
    let story = json(ok(&run(&["show", id(&again), "--config", &config, "--format", "json"], "")));
    assert_eq!((&story["similar"][0]["note"], &story["similar"][0]["alike_in"]), (&json!("leak"), &json!("template")));
}

#[test]
fn a_silence_is_like_the_one_before_it_and_brings_its_note_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    // A job that beats every five seconds and stops, among routine that does not.
    let silence = |day: i64| {
        let line = |n: i64, message: &str| {
            let time = START + day * 86_400 + n;
            format!("{}\n", json!({"timestamp": time, "host": "web1", "message": message}))
        };
        let routine = |n: i64| line(n, &format!("request {} served", n * 13));
        let beat = |n: i64| if n % 5 == 0 && n < 3_000 { line(n, "backup job is alive") } else { String::new() };
        let log: String = (0..4_000).map(|n| routine(n) + &beat(n)).collect();
        let scored = json_lines(ok(&run(&["score", "--input", "json", "--config", &config], log)));
        scored.into_iter().find(|event| event["anomaly"]["synthetic"] == true).unwrap()["anomaly"].clone()
    };
    let first = silence(0);
    assert_eq!(first["similar"], Value::Null, "the first of its kind: {first}");
    let second = silence(1);
    let told = &second["similar"][0];
    assert_eq!((&told["distance"], &told["note"]), (&json!(0.0), &Value::Null), "the template's last incident");
    assert!(!second["reasons"].as_array().unwrap().contains(&json!("similar_incident")), "nothing was said of it");
    ok(&run(&["note", id(&first), "the backup's token had expired", "--config", &config], ""));
    let third = silence(2);
    let told = &third["similar"][0];
    assert_eq!((&told["event_id"], &told["note"]), (&first["event_id"], &json!("the backup's token had expired")));
    assert_eq!(third["reasons"], json!(["silence", "similar_incident"]));
}

#[test]
fn of_one_journal_for_many_hosts_no_more_is_read_than_the_hosts_own() {
    let dir = tempfile::tempdir().unwrap();
    let of_host = |name: &str| {
        let config = config(dir.path());
        let text = std::fs::read_to_string(&config).unwrap().replace("/data", &format!("/{name}"));
        let journal = dir.path().join("journal");
        let file = dir.path().join(format!("{name}.yaml"));
        std::fs::write(&file, format!("{text}journal:\n  url: file://{}\n  host: {name}\n", journal.display()))
            .unwrap();
        path(&file).to_owned()
    };
    let (own, other) = (of_host("own"), of_host("other"));
    let (first, its) = (alert(&own, 0, POOL), alert(&other, 0, POOL));
    // What cannot be read of another host is none of this one's business.
    let objects = files(&dir.path().join("journal"), "");
    let of_other = objects.iter().find(|file| path(file).contains("other")).unwrap();
    let aside = dir.path().join("aside");
    std::fs::rename(of_other, &aside).unwrap();
    std::fs::create_dir(of_other).unwrap();
    ok(&run(&["note", id(&first), "leak", "--config", &own], ""));
    std::fs::remove_dir(of_other).unwrap();
    std::fs::rename(&aside, of_other).unwrap();
    ok(&run(&["note", id(&its), "seen on another host", "--config", &own], ""));
}

#[test]
fn what_cannot_be_noted_is_said_and_nothing_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let first = alert(&config, 0, POOL);
    let note = |args: &[&str]| run(&[&["note", "--config", &config], args].concat(), "");
    assert!(failed(&note(&["xyz", "leak"]), 2).contains("no event id"));
    assert!(failed(&note(&[id(&first)]), 2).contains("TEXT"));
    assert!(failed(&note(&[id(&first), " \n "]), 2).contains("1 to 4096 bytes, found 0"));
    assert!(failed(&note(&[id(&first), &"x".repeat(4_097)]), 2).contains("found 4097"));
    let unknown = "019aa3c0f1e2-00000103-0000000a3f";
    assert!(failed(&note(&[unknown, "leak"]), 1).contains("not in the journal"));
    assert!(failed(&note(&[id(&first), "--remove"]), 1).contains("no note on event"));
    failed(&note(&[id(&first), "leak", "--remove"]), 2);
    ok(&note(&[id(&first), "größer als gedacht 磁盘"]));
    let story = |id: &str| json(ok(&run(&["show", id, "--config", &config, "--format", "json"], "")));
    assert_eq!(story(id(&first))["note"], "größer als gedacht 磁盘");

    let file = dir.path().join("data/notes/notes");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(story(id(&first))["note"], Value::Null, "a damaged file is told on standard error");
    failed(&note(&[id(&first), "leak"]), 1);
    assert_eq!(alert(&config, 1, POOL)["is_anomaly"], true, "and scoring goes on");
}
