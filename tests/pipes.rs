//! `oddline score` in the pipes of other daemons: the protocol of replies, and the commands of `config-examples/pipes`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cli_support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cli_support::{a_log, failed, json, json_lines, ok, path, run, start};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config-examples/pipes")
}

#[test]
fn rsyslog_gets_one_reply_a_line_whatever_the_line_is() {
    let lines = [
        r#"{"msg":" user 17 logged in","hostname":"web-1","$!":{"a":1}}"#,
        "",
        "no JSON at all",
        r#"{"msg":"cut off"#,
        r#"{"msg":null}"#,
        r#"{"other":1}"#,
        "[]",
        "{\"msg\":\"caf\u{e9} \\u0000 \\n\"}",
    ];
    let output =
        run(&["score", "--reply", "rsyslog", "--input", "json", "--message-field", "msg"], lines.join("\n") + "\n");
    let replies = json_lines(ok(&output));
    assert_eq!(replies.len(), lines.len());
    for reply in &replies {
        assert_eq!(reply.as_object().unwrap().len(), 1, "{reply}");
        assert!(reply["$!"]["anomaly"]["score"].is_number(), "{reply}");
    }
    assert_eq!(replies[0]["$!"]["anomaly"]["template"], "user <*> logged in");
}

#[test]
fn a_reply_comes_before_the_next_line_is_sent() {
    let mut child = start(&["score", "--reply", "rsyslog", "--input", "lines"]);
    let mut stdin = child.stdin.take().unwrap();
    let mut replies = BufReader::new(child.stdout.take().unwrap());
    for n in 0..100 {
        writeln!(stdin, "job {n} done").unwrap();
        let mut reply = String::new();
        replies.read_line(&mut reply).unwrap();
        assert!(reply.ends_with("}}\n") && json(&reply)["$!"]["anomaly"].is_object(), "{reply}");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

/// A heartbeat, and then none for an hour.
fn a_silence() -> String {
    let mut log = String::new();
    for n in 0..12_000 {
        let (day, second) = (1 + n / 8_640, n % 8_640 * 10);
        let (hour, minute) = (second / 3600, second / 60 % 60);
        log += &format!("2025-03-{day:02}T{hour:02}:{minute:02}:{:02}Z heartbeat of unit {}\n", second % 60, n % 7);
    }
    for n in 0..600 {
        log += &format!("2025-03-02T{:02}:{:02}:{:02}Z request {n} served\n", 10 + n / 360, n / 6 % 60, n % 6 * 10);
    }
    log
}

#[test]
fn a_silence_is_no_reply() {
    let log = a_silence();
    let lines = log.lines().count();
    let events = json_lines(ok(&run(&["score", "--input", "lines", "--time", "event"], &log))).len();
    assert!(events > lines, "the log has no silence to tell: {events} events for {lines} lines");
    let replies =
        ok(&run(&["score", "--reply", "rsyslog", "--input", "lines", "--time", "event"], &log)).lines().count();
    assert_eq!(replies, lines);
}

#[test]
fn a_reply_for_each_line_excludes_leaving_lines_out() {
    for other in ["--only-anomalies", "--sample"] {
        failed(&run(&["score", "--reply", "rsyslog", other], ""), 2);
    }
    failed(&run(&["score", "--reply", "nagios"], ""), 2);
}

/// The arguments of each `oddline score` in the examples.
fn commands() -> Vec<(String, Vec<String>)> {
    let mut commands = Vec::new();
    for file in std::fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "README.md" {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            // Telegraf has a list of words.
            let line = line.replace("\", \"", " ");
            let Some((_, arguments)) = line.split_once("oddline score ") else { continue };
            let end = arguments.find(['>', '\'', '|']).unwrap_or(arguments.len());
            let words =
                arguments[..end].split_whitespace().map(|word| word.trim_matches(|c| "\"],".contains(c)).to_owned());
            commands.push((name.clone(), words.filter(|word| !word.is_empty()).collect()));
        }
    }
    commands
}

#[test]
fn every_command_of_the_examples_is_right_and_answers() {
    let commands = commands();
    assert!(commands.len() >= 7, "{commands:?}");
    for (name, mut arguments) in commands {
        let dir = tempfile::tempdir().unwrap();
        let at =
            arguments.iter().position(|word| word == "--data-dir").unwrap_or_else(|| panic!("{name}: no data dir"));
        arguments[at + 1] = path(&dir.path().join("data")).to_owned();
        let arguments: Vec<&str> = ["score"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let field =
            arguments.iter().position(|word| *word == "--message-field").map_or("message", |at| arguments[at + 1]);
        let input = match arguments.contains(&"json") {
            true => format!("{{\"{field}\":\"request 1 served\"}}\n"),
            false => "request 1 served\n".to_owned(),
        };
        let output = run(&arguments, input);
        let answered = ok(&output).lines().count();
        assert_eq!(answered, usize::from(!arguments.contains(&"--only-anomalies")), "{name}: {arguments:?}");
        let stats = run(&["stats", "--data-dir", path(&dir.path().join("data")), "--format", "json"], "");
        assert_eq!(json(ok(&stats))["events_total"], 1, "{name}");
    }
}

#[test]
fn journal_entries_are_scored_by_unit_also_binary_ones() {
    let entry = |n: usize| {
        format!(
            r#"{{"__CURSOR":"c{n}","__REALTIME_TIMESTAMP":"17000000{n:02}000000","_SYSTEMD_UNIT":"app.service","PRIORITY":"6","MESSAGE":"job {n} done"}}"#
        )
    };
    // As the journal has colours and what is not UTF-8.
    let binary = r#"{"__CURSOR":"b","MESSAGE":[106,111,98,32,55,32,100,111,110,101,32,255],"PRIORITY":"3"}"#;
    let lines = [entry(1), binary.to_owned(), entry(2)].join("\n");
    let (_, arguments) = commands().into_iter().find(|(name, _)| name == "oddline-journal.service").unwrap();
    let kept = arguments.iter().take_while(|word| *word != "--data-dir").filter(|word| *word != "--only-anomalies");
    let arguments: Vec<&str> = ["score"].into_iter().chain(kept.map(String::as_str)).collect();
    let events = json_lines(ok(&run(&arguments, lines)));
    assert_eq!(events.len(), 3);
    assert_eq!(events[2]["anomaly"]["template"], "job <*> done");
    assert_eq!((&events[1]["MESSAGE"][0], &events[1]["MESSAGE"][11]), (&106.into(), &255.into()), "as it came");
    assert_eq!(events[1]["anomaly"]["template"], "job <*> done \u{fffd}");
}

/// As Docker's json-file driver and as containerd and CRI-O keep logs on disk: each line with its time and stream around it.
fn kept_by_runtime(message: &str, docker: bool) -> String {
    let time = "2026-03-01T10:00:00.123456789Z";
    match docker {
        true => serde_json::json!({"log": format!("{message}\n"), "stream": "stdout", "time": time}).to_string(),
        false => format!("{time} stdout F {message}"),
    }
}

#[test]
fn log_files_of_container_runtimes_are_read_as_they_are() {
    let lines =
        |docker| (0..50).map(|n| kept_by_runtime(&format!("user {n} logged in"), docker) + "\n").collect::<String>();
    let events = json_lines(ok(&run(&["score", "--message-field", "log", "--timestamp-field", "time"], lines(true))));
    assert_eq!(events[49]["anomaly"]["template"], "user <*> logged in");
    assert_eq!(events[49]["stream"], "stdout");
    let events = json_lines(ok(&run(&["score"], lines(false))));
    assert!(
        events[49]["anomaly"]["template"].as_str().unwrap().ends_with("stdout F user <*> logged in"),
        "{}",
        events[49]
    );
}

/// `docker logs --timestamps`, and `kubectl logs --timestamps` with and without `--prefix`.
#[test]
fn times_and_names_that_tools_put_before_lines_are_no_part_of_what_is_learned() {
    for before in ["", "[pod/web-6d4cf56db6-x2x9q/app] "] {
        let line = |n: usize| {
            format!("{before}2026-03-01T10:{:02}:{:02}.{:09}Z user {n} logged in\n", n / 60, n % 60, n * 7_919_993)
        };
        let events = json_lines(ok(&run(&["score"], (0..120).map(line).collect::<String>())));
        let templates: std::collections::BTreeSet<_> =
            events.iter().skip(20).map(|event| event["anomaly"]["template_id"].to_string()).collect();
        assert_eq!((events.len(), templates.len()), (120, 1), "{:?}", events[119]);
        let template = events[119]["anomaly"]["template"].as_str().unwrap();
        assert!(template.ends_with("user <*> logged in") && !template.contains("10:01"), "{template}");
    }
}

#[test]
fn an_event_without_a_message_is_told_of_at_once_and_once_with_the_names_it_has() {
    let mut child = start(&["score"]);
    let mut stdin = child.stdin.take().unwrap();
    let mut warnings = BufReader::new(child.stderr.take().unwrap());
    stdin
        .write_all((kept_by_runtime("hello", true) + "\n" + &kept_by_runtime("again", true) + "\n").as_bytes())
        .unwrap();
    let mut warning = String::new();
    warnings.read_line(&mut warning).unwrap();
    assert!(warning.contains("\"message\"") && warning.contains("it has log, stream, time"), "{warning}");
    drop(stdin);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut warnings, &mut rest).unwrap();
    assert!(!rest.contains("it has") && rest.contains("not scored (see --message-field): 2"), "{rest}");
    assert!(child.wait().unwrap().success());
}

/// A stand-in that prints what the tool prints when it is asked as the script asks it: lines of the container's standard output, those of its
/// standard error where the tool keeps them apart, and a line longer than the 16 KiB that runtimes keep in one piece, as one.
fn stand_in(bin: &Path, tool: &str, asked: &str, prefix: &str, log: &Path) {
    let long = log.with_extension("long");
    std::fs::write(&long, format!("request body {}\n", "x".repeat(40 << 10))).unwrap();
    let script = format!(
        "#!/bin/sh\n[ \"$*\" = '{asked}' ] || exit 64\nsed 's|^|{prefix}|' {log} {long}\necho '{prefix}stderr of the container' >&2\n",
        log = path(log),
        long = path(&long)
    );
    std::fs::write(bin.join(tool), script).unwrap();
    assert!(Command::new("chmod").args(["+x", path(&bin.join(tool))]).status().unwrap().success());
}

#[test]
fn logs_of_containers_go_through_the_script() {
    let dir = tempfile::tempdir().unwrap();
    let (bin, log) = (dir.path().join("bin"), dir.path().join("log"));
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(&log, a_log(16_000)).unwrap();
    stand_in(&bin, "docker", "logs -f --tail 0 web", "", &log);
    let kubectl = "logs -f --tail 0 --prefix --max-log-requests 20 -l web";
    stand_in(&bin, "kubectl", kubectl, "[pod/web-6d4cf56db6-x2x9q/app] ", &log);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_oddline"), bin.join("oddline")).unwrap();
    let script = |what: &str| {
        let path_variable = format!("{}:{}", path(&bin), std::env::var("PATH").unwrap());
        let mut command = Command::new(examples().join("containers.sh"));
        command.args([what, "web"]).env("PATH", path_variable).env("ODDLINE_DATA", dir.path().join("data"));
        command.stdin(Stdio::null()).output().unwrap()
    };
    for (what, pod) in [("docker", ""), ("kubernetes", "[pod/web-6d4cf56db6-x2x9q/app] ")] {
        let output = script(what);
        let odd = json_lines(ok(&output));
        let messages: Vec<_> = odd.iter().map(|event| event["message"].as_str().unwrap()).collect();
        assert!(messages.iter().any(|message| message.contains("kernel panic")), "{what}: {messages:?}");
        let long = messages.iter().find(|message| message.starts_with(&format!("{pod}request body xxx")));
        assert_eq!(long.map(|message| message.len()), Some(pod.len() + 13 + (40 << 10)), "{what}");
        let of_stderr = messages.iter().any(|message| message.ends_with("stderr of the container"));
        assert_eq!(of_stderr, what == "docker", "kubectl brings both streams in one; its own words are no log");
    }
    failed(&script("podman"), 2);
}
