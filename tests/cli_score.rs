//! `oddline score`: one line out for each line in, whatever the lines are and however it ends.

#![allow(clippy::unwrap_used)]

mod cli_support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use cli_support::{a_log, failed, json, json_lines, oddline, ok, path, run, start, stderr};

fn scored_messages(input: &[u8]) -> Vec<String> {
    let output = run(&["score", "--input", "lines"], input);
    json_lines(ok(&output))
        .into_iter()
        .map(|event| {
            assert!(event["anomaly"]["score"].is_number(), "{event}");
            event["message"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn empty_input_gives_no_output() {
    assert_eq!(ok(&run(&["score"], "")), "");
}

#[test]
fn every_line_comes_out_in_order_empty_ones_too() {
    assert_eq!(scored_messages(b"one\n\n\ntwo\n"), ["one", "", "", "two"]);
    assert_eq!(scored_messages(b"no newline at the end"), ["no newline at the end"]);
    assert_eq!(scored_messages(b"\n"), [""]);
}

#[test]
fn a_carriage_return_before_the_newline_is_part_of_the_line_end() {
    assert_eq!(scored_messages(b"one\r\ntwo\rthree\r\n"), ["one", "two\rthree"]);
}

#[test]
fn nul_bytes_and_control_characters_are_kept() {
    assert_eq!(scored_messages(b"a\0b\x1b[31m\"\\\n"), ["a\0b\u{1b}[31m\"\\"]);
}

#[test]
fn bytes_that_are_not_utf8_are_replaced_and_counted() {
    let output = run(&["score"], b"caf\xe9 open\nfine\n");
    let events = json_lines(ok(&output));
    assert_eq!(events[0]["message"], "caf\u{fffd} open");
    assert_eq!(events.len(), 2);
    assert!(stderr(&output).contains("not UTF-8, which stand as U+FFFD in the output: 1"), "{}", stderr(&output));
}

#[test]
fn a_line_of_10_mb_comes_out_whole() {
    let long = "word 12345 ".repeat(1_000_000);
    let messages = scored_messages(format!("before\n{long}\nafter\n").as_bytes());
    assert_eq!(messages.len(), 3);
    assert!(messages[1] == long, "the long line was changed");
}

#[test]
fn json_keeps_every_byte_of_the_event() {
    let events = [
        r#"{"b": 1, "a":  12345678901234567890123, "message":"x \u00e9 \/","a":2}"#,
        r#"  {"message":"indented", "nested":{"deep":[1,2,{"x":null}]}} "#,
    ];
    let output = run(&["score"], events.join("\n"));
    for (before, after) in events.iter().zip(ok(&output).lines()) {
        let kept = before.trim_end().strip_suffix('}').unwrap();
        assert!(after.starts_with(kept), "{after}");
        assert!(json(after)["anomaly"]["score"].is_number());
    }
}

#[test]
fn json_that_is_no_event_passes() {
    let deep = format!("{{\"message\":\"deep\",\"x\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    let lines = [
        r#"{"message":"first"}"#,
        "[1,2]",
        "plain text",
        "{\"message\":\"broken",
        "",
        "42",
        r#"{"other":"no message"}"#,
        r#"{"message":17}"#,
        r#"{"message":null}"#,
        r#"{"message":{"an":"object"}}"#,
        "{}",
        &deep,
        r#"{"message":"last"}"#,
    ];
    let output = run(&["score"], lines.join("\n"));
    let out: Vec<&str> = ok(&output).lines().collect();
    assert_eq!(out.len(), lines.len());
    assert!(out[1].contains(r#""message":"[1,2]""#) && out[2].contains(r#""message":"plain text""#), "{out:?}");
    assert!(out[6].starts_with(r#"{"other":"no message","#), "{}", out[6]);
    assert!(out[7].starts_with(r#"{"message":17,"#) && json(out[7])["anomaly"]["score"].is_number(), "{}", out[7]);
    assert!(out[11].starts_with(deep.strip_suffix('}').unwrap()), "the deep event was changed");
    assert!(out[12].starts_with(r#"{"message":"last","#), "{}", out[12]);
    assert!(stderr(&output).contains("without a message"), "{}", stderr(&output));
}

#[test]
fn input_can_be_forced_and_fields_named() {
    let forced = run(&["score", "--input", "lines"], r#"{"message":"x"}"#);
    assert_eq!(json_lines(ok(&forced))[0]["message"], r#"{"message":"x"}"#);
    let args = ["score", "--message-field", "log.text", "--partition-by", "host,service", "--level-field", "lvl"];
    let named = run(&args, r#"{"log":{"text":"hello 12"},"host":"a","lvl":"warn"}"#);
    let event = &json_lines(ok(&named))[0];
    assert_eq!(event["anomaly"]["template"], "hello <*>");
}

#[test]
fn fields_minimal_writes_less_than_full() {
    let keys = |detail: &str| {
        let output = run(&["score", "--fields", detail], "hello 12\n");
        json_lines(ok(&output))[0]["anomaly"].as_object().unwrap().len()
    };
    assert!(keys("minimal") < keys("standard") && keys("standard") < keys("full"));
}

#[test]
fn times_that_are_missing_in_the_future_or_going_back_lose_no_event() {
    let times = [
        "\"2025-03-14T10:00:00Z\"",
        "\"2999-01-01T00:00:00Z\"",
        "\"1970-01-01T00:00:00Z\"",
        "\"soon\"",
        "null",
        "-5",
        "1e300",
    ];
    let mut input: String = times.iter().map(|t| format!("{{\"message\":\"tick\",\"timestamp\":{t}}}\n")).collect();
    input += "{\"message\":\"tick\"}\n";
    let output = run(&["score", "--time", "event"], input);
    assert_eq!(json_lines(ok(&output)).len(), times.len() + 1);
    assert!(stderr(&output).contains("without a timestamp"), "{}", stderr(&output));
}

#[test]
fn finds_the_odd_line_and_prints_only_it_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("quick.yaml");
    std::fs::write(&config, "learning_events: 500\n").unwrap();
    let args = ["score", "--only-anomalies", "--time", "event", "--config", path(&config)];
    let output = run(&args, a_log(4000));
    let events = json_lines(ok(&output));
    assert!(events.iter().any(|e| e["message"].as_str().unwrap().contains("kernel panic")), "{events:?}");
    assert!(events.iter().all(|e| e["anomaly"]["is_anomaly"] == true) && events.len() < 10, "{events:?}");
}

#[test]
fn reads_files_compressed_ones_and_directories_in_order() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.log"), "newest").unwrap();
    std::fs::write(dir.path().join("a.log.1.zst"), zstd::encode_all(&b"middle\n"[..], 1).unwrap()).unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(b"oldest\n").unwrap();
    std::fs::write(dir.path().join("a.log.2.gz"), gz.finish().unwrap()).unwrap();
    let output = run(&["score", path(dir.path()), "-"], "from stdin\n");
    let messages: Vec<_> = json_lines(ok(&output)).iter().map(|e| e["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(messages, ["oldest", "middle", "newest", "from stdin"]);
}

#[test]
fn a_damaged_archive_gives_its_good_part_and_fails() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cut.gz");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(a_log(20_000).as_bytes()).unwrap();
    let bytes = gz.finish().unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let output = run(&["score", path(&file)], "");
    assert!(failed(&output, 1).contains("cut.gz"));
    assert!(output.stdout.iter().filter(|b| **b == b'\n').count() > 1000);
}

#[test]
fn answers_each_line_while_the_input_stays_open() {
    let mut child = start(&["score"]);
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    for n in 0..3 {
        writeln!(stdin, "line {n}").unwrap();
        assert!(read_line(&mut answers).contains(&format!("line {n}")));
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn sigint_sigterm_and_sighup_answer_what_was_read_save_it_and_exit_0() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let mut child = start(&["score", "--data-dir", path(&data)]);
        let mut stdin = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        stdin.write_all(b"first\nsecond\nthe rest without a newline").unwrap();
        assert!(read_line(&mut answers).contains("first") && read_line(&mut answers).contains("second"));
        kill(&child, signal);
        let mut rest = String::new();
        answers.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("the rest without a newline"), "{rest}");
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let stats = run(&["stats", "--data-dir", path(&data), "--format", "json"], "");
        assert_eq!(json(ok(&stats))["events_total"], 3);
    }
}

#[test]
fn a_closed_pipe_ends_it_silently() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("big.log");
    std::fs::write(&file, a_log(50_000)).unwrap();
    let mut child = start(&["score", path(&file)]);
    drop(child.stdin.take());
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    read_line(&mut answers);
    drop(answers);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut child = oddline(&["score"]).stdin(Stdio::piped()).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a line\n").unwrap();
    assert!(failed(&child.wait_with_output().unwrap(), 1).contains("standard output"));
}

#[test]
fn a_restart_goes_on_with_what_was_learned() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let score = |input: &str| run(&["score", "--data-dir", path(&data)], input);
    let first = json_lines(ok(&score("user 1 logged in\nuser 2 logged in\n")));
    let second = json_lines(ok(&score("user 3 logged in\n")));
    assert_eq!(first[1]["anomaly"]["template_id"], second[0]["anomaly"]["template_id"]);
    let stats = run(&["stats", "--data-dir", path(&data), "--format", "json"], "");
    assert_eq!(json(ok(&stats))["events_total"], 3);
}

#[test]
fn wrong_usage_is_exit_2_and_a_missing_file_exit_1() {
    failed(&run(&["score", "--no-such-flag"], ""), 2);
    failed(&run(&["score", "--time", "yesterday"], ""), 2);
    assert!(failed(&run(&["score", "--alert-budget", "7"], ""), 2).contains("alert_budget"));
    assert!(failed(&run(&["score", "--alert-budget", "-1"], ""), 2).contains("alert_budget"));
    assert!(failed(&run(&["score", "/no/such/file"], ""), 1).contains("/no/such/file"));
    failed(&run(&["score", "--config", "/no/such.yaml"], ""), 1);
}

#[test]
fn a_bad_config_is_an_error_that_says_what_is_wrong_where() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("oddline.yaml");
    std::fs::write(&file, "message_field: msg\nalert_buget: 0.01\n").unwrap();
    let output = run(&["score", "--config", path(&file)], "");
    let said = failed(&output, 1);
    assert!(
        said.contains("oddline.yaml:2") && said.contains("alert_buget") && said.contains("\"alert_budget\""),
        "{said}"
    );
}

#[test]
fn a_run_started_with_nohup_outlives_its_terminal() {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" score", env!("CARGO_BIN_EXE_oddline")]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    writeln!(stdin, "before").unwrap();
    assert!(read_line(&mut answers).contains("before"));
    kill(&child, "-HUP");
    writeln!(stdin, "after").unwrap();
    assert!(read_line(&mut answers).contains("after"));
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_byte_order_mark_does_not_hide_json() {
    let output = run(&["score"], b"\xef\xbb\xbf{\"message\":\"one\"}\r\n{\"message\":\"two\"}\r\n");
    let out: Vec<&str> = ok(&output).lines().collect();
    assert!(out[0].starts_with(r#"{"message":"one","#) && out[1].starts_with(r#"{"message":"two","#), "{out:?}");
}

#[test]
fn flags_about_fields_are_wrong_usage_for_text_and_told_of_when_the_input_turns_out_to_be_text() {
    for (command, flag) in [
        ("score", "--partition-by"),
        ("score", "--level-field"),
        ("score", "--timestamp-field"),
        ("scan", "--partition-by"),
        ("templates", "--message-field"),
    ] {
        let forced = run(&[command, "--input", "lines", flag, "host"], "x\n");
        assert!(failed(&forced, 2).contains(flag), "{command} {}", stderr(&forced));
    }
    for command in ["score", "scan"] {
        let found = run(&[command, "--partition-by", "service"], "\nplain text\n");
        assert!(ok(&found).contains("plain text") || command == "scan");
        assert!(stderr(&found).contains("no fields; not used: partition_by"), "{}", stderr(&found));
        assert_eq!(stderr(&run(&[command, "--partition-by", "service"], "{\"message\":\"x\"}\n")), "");
        assert_eq!(stderr(&run(&[command], "plain text\n")), "");
    }
}

#[test]
fn a_config_made_for_json_warns_on_text_and_scores_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.yaml");
    std::fs::write(&config, "level_field: lvl\nmessage_field: msg\n").unwrap();
    let output = run(&["score", "--input", "lines", "--config", path(&config)], "plain\n");
    assert_eq!(ok(&output).lines().count(), 1);
    assert!(stderr(&output).contains("message_field, level_field"), "{}", stderr(&output));
}

#[test]
fn what_is_logged_can_be_set_and_a_wrong_setting_is_told() {
    let mut command = oddline(&["score", "/dev/null"]);
    let output = command.env("ODDLINE_LOG", "[[").output().unwrap();
    assert!(ok(&output).is_empty() && stderr(&output).contains("ODDLINE_LOG"), "{}", stderr(&output));
}

fn read_line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    line
}

fn kill(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_heartbeat_that_stops_comes_out_as_an_event_of_its_own_even_when_the_input_ends_soon_after() {
    let event = |second: u64, message: &str| {
        let time = format!("2026-01-01T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60);
        format!("{{\"log\":{{\"time\":\"{time}\",\"text\":\"{message}\"}},\"host\":\"a\"}}\n")
    };
    let mut input = String::new();
    for second in 0..1_400 {
        input += &event(second, &format!("request {second} served"));
        if second % 5 == 0 && second < 1_300 {
            input += &event(second, "still here");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("oddline.toml");
    let names = "message_field = \"log.text\"\ntimestamp_field = \"log.time\"\ntarget = \"log.anomaly\"\n";
    std::fs::write(&config, names).unwrap();
    let output = run(&["score", "--input", "json", "--time", "event", "--config", path(&config)], input.as_bytes());
    let silent: Vec<_> =
        json_lines(ok(&output)).into_iter().filter(|event| event["log"]["anomaly"]["synthetic"] == true).collect();
    assert_eq!(silent.len(), 1, "{silent:?}");
    assert_eq!(silent[0]["log"]["anomaly"]["template"], "still here");
    assert_eq!(silent[0]["host"], "a");
    assert_eq!(silent[0]["log"]["anomaly"]["reasons"], serde_json::json!(["silence"]));
    assert_eq!(silent[0]["log"]["anomaly"]["expected"], "≤ 5 s between events");
    assert_eq!(silent[0]["log"]["text"], "oddline: expected and not seen on host=a: still here");
    assert!(silent[0]["log"]["time"].as_str().unwrap().starts_with("2026-01-01T00:2"), "{silent:?}");
}

#[test]
fn rules_decide_by_template_and_by_field_and_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("oddline.yaml");
    let rules = "learning_events: 100\nfields: full\nrules:\n  - {name: canary, match: {field: meta.host, value: canary}, do: never}\n  \
                 - {name: page, match: {regex: '^page <\\*> was'}, do: always}\n  - {name: code, match: {field: code, value: '7'}, do: always}\n";
    std::fs::write(&config, rules).unwrap();
    let mut input: String = (0..500).map(|n| format!("{{\"message\": \"request {n} served\"}}\n")).collect();
    input += r#"{"message": "kernel panic", "meta": {"host": "canary"}}
{"message": "page 7 was lost", "code": "8"}
{"message": "page 8 was lost", "meta.host": "canary"}
{"message": "request 7 served", "code": 7}
{"message": "kernel panic again"}
"#;
    let lines = json_lines(ok(&run(&["score", "--input", "json", "--config", path(&config)], input)));
    let told: Vec<_> = lines[500..]
        .iter()
        .map(|line| (line["anomaly"]["is_anomaly"].as_bool().unwrap(), line["anomaly"]["rule"].as_str()))
        .collect();
    let expected =
        [(false, Some("canary")), (true, Some("page")), (false, Some("canary")), (true, Some("code")), (true, None)];
    assert_eq!(told, expected);
    assert_eq!(lines[501]["anomaly"]["reasons"][0], "rule");
    assert!(lines[..500].iter().all(|line| line["anomaly"]["rule"].is_null()));
    let text = run(&["score", "--config", path(&config)], "a line\n");
    assert!(stderr(&text).contains("not used: rules about fields"), "{}", stderr(&text));
}

#[test]
fn a_sampled_run_with_ever_new_templates_forgets_those_that_are_no_more_and_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("oddline.yaml");
    std::fs::write(&config, "max_templates: 50\nlearning_events: 100\n").unwrap();
    // Each of the other templates has tokens of its own, and 30 lines.
    let name = |n: usize| -> String { [n / 26, n % 26].map(|letter| char::from(b'a' + letter as u8)).iter().collect() };
    let lines = |n: usize| {
        let name = name(n);
        format!("request {n} served\n") + &format!("un{name} du{name} tri{name} {n}\n").repeat(30)
    };
    let input: String = (0..400).map(lines).collect();
    let args = ["score", "--sample", "--sample-report", "json", "--config", path(&config)];
    let output = run(&args, input.clone());
    let kept = json_lines(ok(&output)).len() as u64;
    let documents = json_lines(stderr(&output));
    assert!(documents.len() > 2, "told on the way: {}", documents.len());
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    let sum = |of: &str| documents.iter().map(|document| number(&document[of])).sum::<u64>();
    assert_eq!((sum("kept"), sum("kept") + sum("dropped")), (kept, 400 * 31));
    let all: Vec<_> = documents.iter().flat_map(|document| document["templates"].as_array().unwrap()).collect();
    assert_eq!(all.iter().map(|told| number(&told["kept"]) + number(&told["dropped"])).sum::<u64>(), 400 * 31);
    assert!(documents.iter().all(|document| document["templates"].as_array().unwrap().len() <= 101));
    let text = run(&["score", "--sample", "--config", path(&config)], input);
    assert_eq!(json_lines(ok(&text)).len() as u64, kept, "what is kept depends on no report");
    assert!(stderr(&text).contains(&format!("{kept} of 12400 events kept")), "{}", stderr(&text));
    assert!(stderr(&text).contains("templates that are no more"), "{}", stderr(&text));
}

#[test]
fn a_sampled_run_tells_what_it_dropped_so_that_totals_can_be_restored() {
    let mut input: String = (0..5_000).map(|n| format!("request {n} served\n")).collect();
    input += "kernel panic\n";
    let args = ["score", "--sample", "--sample-report", "json"];
    let output = run(&args, input.clone());
    let kept = json_lines(ok(&output));
    let report = json(stderr(&output));
    assert!(kept.len() < 1_000 && kept.iter().all(|line| line["anomaly"]["sample_ratio"].as_f64().unwrap() > 0.0));
    assert_eq!(report["kept"].as_u64().unwrap(), kept.len() as u64);
    assert_eq!(report["kept"].as_u64().unwrap() + report["dropped"].as_u64().unwrap(), 5_001);
    let template = &report["templates"][0];
    assert_eq!(template["template"], "request <*> served");
    assert_eq!(template["kept"].as_u64().unwrap() + template["dropped"].as_u64().unwrap(), 5_000);
    assert_eq!(kept.last().unwrap()["message"], "kernel panic");
    let text = run(&["score", "--sample"], input);
    assert!(stderr(&text).contains("of 5001 events kept") && stderr(&text).contains("request <*> served"));
    failed(&run(&["score", "--sample", "--only-anomalies"], ""), 2);
    failed(&run(&["score", "--sample-report", "json"], ""), 2);
}
