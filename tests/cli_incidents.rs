//! The journal by the command: incidents listed, one told in full, objects compacted.

#![expect(clippy::unwrap_used, reason = "tests")]

mod cli_support;

use std::path::Path;
use std::sync::Arc;

use cli_support::{failed, json, json_lines, ok, path, run};
use oddline::engine::story::MOST_LOOKED_AT;
use oddline::event::Timestamp;
use oddline::storage::RealFs;
use oddline::storage::journal::{Format, Incident, LocalStore, ObjectStore, Partition, encode, object_key, time_text};
use serde_json::{Value, json};

/// NDJSON of a host: routine, and at the end a number far off, a user never seen, an error never seen.
fn events(host: &str, count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        let message = match n {
            n if n == count - 30 => "query of table orders took 91000 ms".to_owned(),
            n if n == count - 20 => "kernel panic: fatal error, cannot mount root".to_owned(),
            n if n % 3 == 0 => format!("query of table orders took {} ms", 10 + n % 30),
            n if n % 3 == 1 => format!("request {} served", n * 13),
            n => format!("cache hit for key {n}"),
        };
        let time = 1_741_946_400.0 + n as f64 * 0.5;
        text += &format!("{}\n", json!({"timestamp": time, "host": host, "message": message}));
    }
    text
}

fn config(dir: &Path, more: &str) -> String {
    let file = dir.join("oddline.yaml");
    let data = dir.join("data");
    let text = format!("data_dir: {}\ntime: event\nlearning_events: 2000\n{more}\n", data.display());
    std::fs::write(&file, text).unwrap();
    path(&file).to_owned()
}

fn score(config: &str, events: &str) -> Vec<Value> {
    json_lines(ok(&run(&["score", "--input", "json", "--config", config], events)))
}

fn alerts(scored: &[Value]) -> Vec<&Value> {
    scored.iter().filter(|event| event["anomaly"]["is_anomaly"] == true).collect()
}

#[test]
fn every_alert_is_in_the_journal_with_what_score_said_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "journal: {host: test-host}");
    let scored = score(&config, &events("web1", 6_000));
    let alerts = alerts(&scored);
    assert!(alerts.len() >= 2, "{alerts:?}");
    let listed = json(ok(&run(&["incidents", "--config", &config, "--top", "0", "--format", "json"], "")));
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), alerts.len());
    for (row, alert) in listed.iter().zip(&alerts) {
        let anomaly = &alert["anomaly"];
        for (column, field) in [
            ("event_id", "event_id"),
            ("reasons", "reasons"),
            ("template_id", "template_id"),
            ("template", "template"),
            ("score", "score"),
        ] {
            assert_eq!(row[column], anomaly[field], "{column}: {row}");
        }
        assert_eq!((&row["message"], &row["stream"]), (&alert["message"], &json!("web1")));
        assert_eq!(
            (&row["host"], row["detectors"].as_object().unwrap().len()),
            (&json!("test-host"), oddline::event::DETECTORS)
        );
    }
    let text = run(&["incidents", "--config", &config, "--stream", "host=web1"], "");
    assert!(ok(&text).contains("kernel panic"));
    let none = run(&["incidents", "--config", &config, "--stream", "host=web2"], "");
    assert_eq!(ok(&none), "no incidents\n");
    assert!(failed(&run(&["incidents", "--config", &config, "--stream", "web1"], ""), 2).contains("host=VALUE"));
    let late = run(&["incidents", "--config", &config, "--since", "2025-03-15T00:00:00Z"], "");
    assert_eq!(ok(&late), "no incidents\n");
}

#[test]
fn a_silence_is_found_by_the_stream_it_is_of() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "");
    let event = |host: &str, second: usize, message: String| {
        format!("{}\n", json!({"timestamp": 1_741_946_400 + second, "host": host, "message": message}))
    };
    let mut log = String::new();
    for n in 0..8_000 {
        if n < 4_000 {
            log += &event("web1", n * 10, format!("heartbeat of unit {}", n % 7));
        }
        log += &event("web2", n * 10 + 5, format!("heartbeat of unit {}", n % 7));
    }
    score(&config, &log);
    let of =
        |stream: &str| json(ok(&run(&["incidents", "--config", &config, "--stream", stream, "--format", "json"], "")));
    let silent = of("host=web1");
    assert!(silent.as_array().unwrap().iter().any(|incident| incident["synthetic"] == true), "{silent}");
    assert!(of("host=web2").as_array().unwrap().iter().all(|incident| incident["synthetic"] == false));
}

#[test]
fn a_stream_is_called_by_the_values_it_is_told_apart_by() {
    for (partition, more, stream) in [
        ("[host, service]", json!({"host": "web1", "service": "shop"}), "web1/shop"),
        ("[host, service]", json!({"host": "web1"}), "web1/-"),
        ("[host, service]", json!({}), ""),
        ("[]", json!({"host": "web1"}), ""),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), &format!("partition_by: {partition}"));
        let with = |line: &str| {
            let mut event: Value = serde_json::from_str(line).unwrap();
            event.as_object_mut().unwrap().remove("host");
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            format!("{event}\n")
        };
        score(&config, &events("", 4_000).lines().map(with).collect::<String>());
        let listed = json(ok(&run(&["incidents", "--config", &config, "--format", "json"], "")));
        let last = listed.as_array().unwrap().last().unwrap();
        assert_eq!(last["stream"], stream, "{partition} {more}");
    }
}

#[test]
fn show_tells_the_line_the_odd_parameter_the_history_the_neighbours_and_what_was_like_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "");
    let first = events("web1", 6_000);
    score(&config, &first);
    // The same a day later: past incidents are like those to come.
    let later = first.replace("\"timestamp\":17419", "\"timestamp\":17420");
    let scored = score(&config, &later);
    let odd = alerts(&scored).into_iter().find(|event| event["message"].as_str().unwrap().contains("91000")).unwrap();
    let id = odd["anomaly"]["event_id"].as_str().unwrap();
    let text = ok(&run(&["show", id, "--config", &config], "")).to_owned();
    for expected in [
        "query of table orders took 91000 ms",
        "query of table orders took »91000« ms",
        "numeric_outlier",
        "a number far from those that stood in its place before",
        "evidence in nats: ",
        "observed 91000",
        "^ here",
        "around it on the same stream",
        "request <*> served",
        "past incidents like it",
        "same template",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
    let story = json(ok(&run(&["show", id, "--config", &config, "--format", "json"], "")));
    assert_eq!(story["incident"]["odd_parameter"], "91000");
    assert_eq!(story["incident"]["expected"], odd["anomaly"]["expected"]);
    let around = story["around"].as_array().unwrap();
    assert!(around.iter().any(|event| event["is_this"] == true) && around.len() >= 9, "{around:?}");
    assert!(
        story["history"]["counts"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum::<u64>() > 1_000
    );
    assert_eq!(story["similar"][0]["alike_in"], "template");
}

#[test]
fn of_a_big_journal_the_newest_incidents_alone_are_looked_at_for_what_is_alike_and_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "");
    let scored = score(&config, &events("web1", 6_000));
    let alert = alerts(&scored).pop().unwrap()["anomaly"].clone();
    let told =
        || json(ok(&run(&["show", alert["event_id"].as_str().unwrap(), "--config", &config, "--format", "json"], "")));
    let before = told();
    assert_eq!(before["looked_at_since"], Value::Null, "all of them");
    let store = LocalStore::new(Arc::new(RealFs), dir.path().join("data/journal"));
    // Another host's: 24 hours of 500, the last of which ends before the alert; in the first hour its like.
    for hour in 1..=24 {
        let begin = Timestamp(1_741_946_400_000_000 - hour * 3_600_000_000);
        let row = |n: i64| Incident {
            event_id: format!("{:012x}-00000000-{n:010x}", begin.0 / 1_000 + n),
            time: time_text(Timestamp(begin.0 + n * 1_000)),
            template_id: "00000000000000ab".to_owned(),
            template: if hour == 24 { alert["template"].as_str().unwrap() } else { "disk <*> failed" }.to_owned(),
            ..Incident::default()
        };
        let rows: Vec<Incident> = (0..500).map(row).collect();
        let bytes = encode(Format::Ndjson, &rows).unwrap();
        let key = object_key(&Partition::new("other", begin), &rows[0].event_id, &bytes, Format::Ndjson.extension());
        store.put_new(&key, &bytes).unwrap();
    }
    let after = told();
    assert_eq!(after["looked_at"], MOST_LOOKED_AT);
    assert!(after["looked_at_since"].as_str().unwrap() > "2025-03-13", "{}", after["looked_at_since"]);
    assert_eq!(after["similar"], before["similar"], "what is older than that is not looked at");
    let text = run(&["show", alert["event_id"].as_str().unwrap(), "--config", &config], "");
    assert!(
        ok(&text).contains(" of the last 10,000, from 2025-03-1") || ok(&text).contains("among the last 10,000"),
        "{}",
        ok(&text)
    );
}

#[test]
fn around_an_event_stand_those_of_its_stream_alone_and_its_history_is_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "");
    let beacon = |line: &str| {
        let time = serde_json::from_str::<Value>(line).unwrap()["timestamp"].clone();
        json!({"timestamp": time, "host": "db1", "message": "beacon of another host"})
    };
    let both: String = events("web1", 6_000).lines().map(|line| format!("{line}\n{}\n", beacon(line))).collect();
    let scored = score(&config, &both);
    let odd = alerts(&scored).into_iter().find(|event| event["message"].as_str().unwrap().contains("91000")).unwrap();
    let text = ok(&run(&["show", odd["anomaly"]["event_id"].as_str().unwrap(), "--config", &config], "")).to_owned();
    assert!(text.contains("cache hit for key <*>") && !text.contains("beacon"), "{text}");
    assert!(text.lines().any(|line| line.chars().filter(|c| ('▁'..='█').contains(c)).count() >= 3), "{text}");
}

#[test]
fn an_event_that_was_no_anomaly_is_told_of_from_the_history_and_one_that_never_was_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "fields: full");
    let scored = score(&config, &events("web1", 3_000));
    let id = scored[100]["anomaly"]["event_id"].as_str().unwrap();
    let text = ok(&run(&["show", id, "--config", &config], "")).to_owned();
    assert!(text.contains("request <*> served") && text.contains("the line is not kept"), "{text}");
    let unknown = run(&["show", "019aa3c0f1e2-00000103-0000000a3f", "--config", &config], "");
    assert!(failed(&unknown, 1).contains("neither in the journal nor in the history"));
    for bad in ["", "6336270e787cf47f", "x"] {
        assert!(failed(&run(&["show", bad, "--config", &config], ""), 2).contains("is no event id"), "{bad}");
    }
}

#[test]
fn a_value_never_seen_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "");
    let line = |n: usize, user: &str| {
        format!(
            "{}\n",
            json!({"timestamp": 1_741_946_400 + n, "host": "web1", "message": format!("root shell for user {user} opened")})
        )
    };
    let text: String =
        (0..5_000).map(|n| line(n, ["ann", "bob", "cid"][n % 3])).chain([line(5_000, "mallory")]).collect();
    let scored = score(&config, &text);
    let last = scored.last().unwrap();
    assert_eq!(last["anomaly"]["is_anomaly"], true, "{last}");
    let told = run(&["show", last["anomaly"]["event_id"].as_str().unwrap(), "--config", &config], "");
    assert!(ok(&told).contains("root shell for user »mallory« opened"), "{}", ok(&told));
}

#[test]
fn of_messages_is_kept_what_was_chosen() {
    for (choice, message, hash) in [("template", false, false), ("hash", false, true), ("full", true, false)] {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), &format!("journal_message: {choice}"));
        score(&config, &events("web1", 5_000));
        let listed = json(ok(&run(&["incidents", "--config", &config, "--format", "json"], "")));
        let row = listed.as_array().unwrap().last().unwrap();
        assert_eq!((row["message"].is_string(), row["message_hash"].is_string()), (message, hash), "{choice}: {row}");
        assert!(!row["template"].as_str().unwrap().is_empty());
        let stored = std::fs::read_dir(dir.path().join("data/journal")).unwrap().count();
        assert_eq!(stored, 1);
        let told = run(&["show", row["event_id"].as_str().unwrap(), "--config", &config], "");
        assert!(ok(&told).contains("around it"));
    }
}

#[test]
fn a_journal_switched_off_keeps_nothing_and_compacting_makes_few_objects_of_many() {
    let dir = tempfile::tempdir().unwrap();
    let off = config(dir.path(), "journal: {enabled: false}");
    score(&off, &events("web1", 5_000));
    assert!(!dir.path().join("data/journal").exists());
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "journal: {batch_incidents: 1}");
    score(&config, &events("web1", 6_000));
    let before = json(ok(&run(&["incidents", "--config", &config, "--format", "json"], "")));
    let report = json(ok(&run(&["journal", "compact", "--config", &config, "--format", "json"], "")));
    assert!(report["deleted"].as_u64() >= report["written"].as_u64(), "{report}");
    let after = json(ok(&run(&["incidents", "--config", &config, "--format", "json"], "")));
    assert_eq!(after, before);
}

#[test]
fn a_damaged_line_of_the_journal_is_told_and_the_others_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "");
    score(&config, &events("web1", 6_000));
    let count = || {
        let output = run(&["incidents", "--config", &config, "--format", "json"], "");
        (json(ok(&output)).as_array().unwrap().len(), cli_support::stderr(&output).to_owned())
    };
    let (before, _) = count();
    let mut found = vec![dir.path().join("data/journal")];
    let object = loop {
        let next = found.pop().unwrap();
        if next.is_file() {
            break next;
        }
        found.extend(std::fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()));
    };
    let mut bytes = std::fs::read(&object).unwrap();
    bytes[50] ^= 1;
    std::fs::write(&object, &bytes).unwrap();
    let (after, said) = count();
    assert_eq!(after, before - 1);
    assert!(said.contains("1 damaged places"), "{said}");
}

#[test]
fn what_this_build_cannot_keep_is_said_before_anything_is_made() {
    if cfg!(feature = "object-store") || cfg!(feature = "parquet") {
        eprintln!("SKIPPED: this build can");
        return;
    }
    for (more, said) in [
        ("journal: {url: \"s3://bucket/x\"}", "feature `object-store`"),
        ("journal: {format: parquet}", "feature `parquet`"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), more);
        let output = run(&["score", "--config", &config], "a line\n");
        assert!(failed(&output, 1).contains(said));
        assert!(!dir.path().join("data").exists());
    }
    let dir = tempfile::tempdir().unwrap();
    for bad in ["journal: {url: \"ftp://x\"}", "journal: {urll: x}", "journal: {interval_secs: 0}", "journal: 7"] {
        let output = run(&["config", "check", &config(dir.path(), bad)], "");
        assert!(failed(&output, 1).contains("journal") || failed(&output, 1).contains("urll"), "{bad}");
    }
}
