//! `oddline scan`, `templates` and `demo`: what a log looked like.

mod cli_support;

use cli_support::{a_log, failed, json, ok, path, run, stderr};

#[test]
fn scan_shows_the_odd_line_with_its_neighbours() {
    let output = run(&["scan"], a_log(4000));
    let text = ok(&output);
    assert!(text.contains("4,000"), "{text}");
    let odd = text.lines().position(|l| l.trim_start().starts_with("> ") && l.contains("kernel panic")).expect(text);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[odd - 1].contains(" 3000 ") && lines[odd - 2].contains(" 2999 "), "{text}");
    assert!(lines[odd + 1].contains(" 3002 ") && lines[odd + 2].contains(" 3003 "), "{text}");
    assert!(text.contains("new_template"), "{text}");
}

#[test]
fn scan_as_json_holds_what_the_text_says() {
    let report = json(ok(&run(&["scan", "--format", "json"], a_log(4000))));
    assert_eq!((&report["lines"], &report["learning_lines"]), (&4000.into(), &400.into()));
    assert_eq!(report["first_timestamp"], "2025-03-14T00:00:00Z");
    assert_eq!(report["last_timestamp"], "2025-03-14T01:06:39Z");
    let group = &report["groups"][0];
    assert!(group["example"]["line"]["text"].as_str().unwrap().contains("kernel panic"));
    assert_eq!(group["example"]["line"]["number"], 3001);
    assert_eq!(group["example"]["before"].as_array().unwrap().len(), 2);
    assert_eq!(group["example"]["after"].as_array().unwrap().len(), 2);
    assert_eq!(group["occurrences"], 1);
    assert_eq!(report["alert_rate"]["over"], "time");
    let alerts: u64 = report["alert_rate"]["counts"].as_array().unwrap().iter().map(|c| c.as_u64().unwrap()).sum();
    assert_eq!(report["anomalies"], alerts);
}

#[test]
fn scan_takes_json_and_directories() {
    let dir = tempfile::tempdir().unwrap();
    let events: String =
        a_log(3000).lines().map(|l| format!("{{\"timestamp\":{:?},\"message\":{:?}}}\n", &l[..20], &l[21..])).collect();
    std::fs::write(dir.path().join("events.ndjson"), events).unwrap();
    let report = json(ok(&run(&["scan", "--format", "json", path(dir.path())], "")));
    assert_eq!(report["lines"], 3000);
    assert_eq!(report["first_timestamp"], "2025-03-14T00:00:00Z");
    assert!(report["groups"][0]["example"]["line"]["text"].as_str().unwrap().contains("kernel panic"));
}

#[test]
fn scan_never_tells_a_template_both_as_an_alert_and_as_none() {
    let report = json(ok(&run(&["scan", "--format", "json"], a_log(4000))));
    let ids = |key: &str| -> Vec<String> {
        report[key].as_array().unwrap().iter().map(|group| group["template_id"].to_string()).collect()
    };
    assert!(!ids("groups").is_empty());
    assert!(ids("groups").len() + ids("oddest_without_alert").len() <= 10, "--top is for both");
    assert!(ids("groups").iter().all(|id| !ids("oddest_without_alert").contains(id)));
}

#[test]
fn scan_of_nothing_and_of_next_to_nothing_says_so() {
    assert!(ok(&run(&["scan"], "")).contains("Nothing was read"));
    assert_eq!(json(ok(&run(&["scan", "--format", "json"], "one line")))["lines"], 1);
}

#[test]
fn scan_bears_binary_garbage_and_long_lines() {
    let mut input = vec![0u8, 0xff, b'\n', b'\r', b'\n'];
    input.extend(vec![b'x'; 10 << 20]);
    input.extend(b"\n{\"message\":");
    let report = json(ok(&run(&["scan", "--format", "json"], input)));
    assert_eq!(report["lines"], 4);
    assert_eq!(report["invalid_utf8_lines"], 1);
}

#[test]
fn scan_reports_what_could_be_read_and_fails_for_the_rest() {
    failed(&run(&["scan", "/no/such/file"], ""), 1);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cut.zst");
    let whole = zstd::encode_all(a_log(50_000).as_bytes(), 1).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let output = run(&["scan", path(&file)], "");
    assert!(failed(&output, 1).contains("cut.zst"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("templates"), "{}", stderr(&output));
}

#[test]
fn templates_counts_the_most_frequent_first() {
    let output = run(&["templates", "--format", "json"], "user 1 in\nuser 2 in\nuser 3 in\ndisk full\n");
    let templates = json(ok(&output));
    assert_eq!(templates[0]["template"], "user <*> in");
    assert_eq!((&templates[0]["count"], &templates[1]["count"]), (&3.into(), &1.into()));
    let text = run(&["templates", "--top", "1"], "user 1 in\nuser 2 in\ndisk full\n");
    assert!(ok(&text).contains("user <*> in") && !ok(&text).contains("disk"));
}

#[test]
fn templates_per_line_gives_one_line_each_with_the_final_text() {
    let log: String = a_log(300) + "\nend without newline";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.log");
    std::fs::write(&file, &log).unwrap();
    let from_file = run(&["templates", "--per-line", path(&file)], "");
    let from_stdin = run(&["templates", "--per-line"], &log);
    let lines: Vec<_> = ok(&from_file).lines().map(|l| l.split_once('\t').unwrap()).collect();
    assert_eq!(lines.len(), log.lines().count());
    assert!(lines.iter().all(|(id, _)| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    for (id, text) in &lines {
        assert!(lines.iter().all(|(other, same)| other != id || same == text), "{id} has two texts");
    }
    assert_eq!(lines[0].0, lines[3].0, "the same kind of line has one id");
    let texts = |out: &str| out.lines().map(|l| l.split_once('\t').unwrap().1.to_owned()).collect::<Vec<_>>();
    assert_eq!(texts(ok(&from_file)), texts(ok(&from_stdin)));
}

#[test]
fn templates_per_line_reads_a_pipe_given_as_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = pipe.clone();
    let writer = std::thread::spawn(move || std::fs::write(writer, "user 1 in\nuser 2 in\n").unwrap());
    let output = run(&["templates", "--per-line", path(&pipe)], "");
    writer.join().unwrap();
    let texts: Vec<_> = ok(&output).lines().map(|line| line.split_once('\t').unwrap().1).collect();
    assert_eq!(texts, ["user <*> in"; 2]);
}

#[test]
fn templates_per_line_interrupted_answers_what_was_read_while_the_input_stays_open() {
    use std::io::{BufRead, BufReader, Write};
    let mut child = cli_support::oddline(&["templates", "--per-line"])
        .env("ODDLINE_LOG", "debug")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    stdin.write_all(b"user 1 in\nuser 2 in\n").unwrap();
    let mut line = String::new();
    // It says so once the bytes are where the end cannot lose them.
    while !line.contains("spooled") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0);
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(ok(&output).lines().count(), 2);
}

#[test]
fn demo_tells_the_same_story_every_time() {
    let first = run(&["demo"], "");
    let text = ok(&first);
    assert_eq!(text, ok(&run(&["demo"], "")));
    for part in ["WHAT IT ADDS TO AN EVENT", "\"anomaly\":{", "sales-report", "alerts "] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(json(ok(&run(&["demo", "--format", "json"], "")))["report"]["anomalies"].as_u64().unwrap() > 0);
}

#[test]
fn demo_events_can_be_scanned() {
    let events = run(&["demo", "--events"], "");
    let report = json(ok(&run(&["scan", "--format", "json"], ok(&events))));
    assert_eq!(report["lines"].as_u64().unwrap() as usize, ok(&events).lines().count());
    assert_eq!(report["lines_without_timestamp"], 0);
}

#[test]
fn bench_prints_the_promised_shape() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.log");
    std::fs::write(&file, a_log(1000)).unwrap();
    for threads in ["1", "3"] {
        let measured = json(ok(&run(&["bench", path(&file), "--threads", threads, "--format", "json"], "")));
        assert_eq!(measured["lines"], 1000);
        assert_eq!(measured["bytes"], a_log(1000).len() - 1000);
        for stage in ["tokenise", "template", "score", "log", "whole_path"] {
            let speed = &measured[stage];
            assert!(speed["lines_per_second"].as_f64().unwrap() > 0.0, "{stage}");
            assert!(speed["megabytes_per_second"].is_number(), "{stage}");
        }
    }
    std::fs::write(dir.path().join("empty.log"), "").unwrap();
    assert!(failed(&run(&["bench", path(&dir.path().join("empty.log"))], ""), 1).contains("no lines"));
    failed(&run(&["bench"], ""), 2);
    failed(&run(&["bench", path(&file), "--threads", "0"], ""), 2);
    failed(&run(&["bench", "/no/such/file"], ""), 1);
}

#[test]
fn bench_interrupted_leaves_no_directory_behind() {
    let dir = tempfile::tempdir().unwrap();
    let scratch = dir.path().join("tmp");
    std::fs::create_dir(&scratch).unwrap();
    let file = dir.path().join("a.log");
    std::fs::write(&file, a_log(40_000).repeat(5)).unwrap();
    let mut command = cli_support::oddline(&["bench", "--warm", path(&file)]);
    let streams = command.env("TMPDIR", &scratch).stdout(std::process::Stdio::piped());
    let mut child = streams.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let entries = || std::fs::read_dir(&scratch).unwrap().count();
    while entries() == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be interrupted");
        std::thread::yield_now();
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(failed(&output, 130).contains("interrupted"));
    assert_eq!(entries(), 0);
}
