//! `oddline templates`: what its flags show.

#![allow(clippy::unwrap_used)]

mod cli_support;

use cli_support::{json, ok, path, run, stderr};

const NAMES: [&str; 10] = ["ann", "bob", "cy", "dot", "eve", "fay", "gus", "hal", "ida", "joe"];

fn logins() -> String {
    NAMES.map(|name| format!("login of {name} from 10.0.0.7 took 12 ms\n")).concat()
}

fn explain(args: &[&str], line: &str, log: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), log).unwrap();
    ok(&run(&[&["templates", "--explain", line][..], args, &[path(file.path())]].concat(), "")).to_owned()
}

#[test]
fn explain_says_which_rule_masked_what_and_which_template_was_met() {
    let text = explain(&[], "login of zoe from 10.0.0.9 took 99 ms", &logins());
    for expected in
        ["number \"10.0.0.9\"", "enough templates differed here", "login of <*> from <*> took <*> ms", "agrees"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let explained = json(&explain(&["--format", "json"], "login of zoe from 10.0.0.9 took 99 ms", &logins()));
    assert_eq!(explained["outcome"]["met"], "generalised");
    assert_eq!(explained["tokens"][2]["generalised"], "differed");
    assert_eq!(explained["tokens"][4]["variables"][0][0], "number");
}

#[test]
fn explain_promises_a_merge_only_where_and_when_there_will_be_one() {
    let near = explain(&[], "login of cy", "login of ann\nlogin of bob\n");
    assert!(near.contains("2 known that differ from it in \"cy\" alone; 8 in all"), "{near}");
    let names = explain(&[], "load com.example.B", "load com.example.A\n");
    assert!(names.contains("2 in all make that word a variable"), "{names}");
    let alone = explain(&[], "17 two", "17 one\n");
    assert!(alone.contains("none: the line would found one") && !alone.contains("nearest"), "{alone}");
}

#[test]
fn explain_does_not_say_of_a_seed_s_wildcard_that_templates_differed() {
    let config = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(config.path(), "seed_templates: [\"login of <*>\"]\n").unwrap();
    let text = ok(&run(&["templates", "--explain", "login of ann", "--config", path(config.path())], "")).to_owned();
    assert!(text.contains("of a seed") && !text.contains("differed"), "{text}");
}

#[test]
fn explain_reads_the_line_as_the_files_are_read() {
    let log = logins().lines().map(|line| format!("{{\"text\":\"{line}\"}}\n")).collect::<String>();
    let line = r#"{"text":"login of zoe from 10.0.0.9 took 99 ms","level":"info"}"#;
    let text = explain(&["--message-field", "text"], line, &log);
    assert!(text.contains("skeleton  login of zoe from <*> took <*> ms") && text.contains("agrees"), "{text}");
    let text = explain(&["--input", "lines"], line, &logins());
    assert!(
        text.contains(r#"skeleton  {"text":"login of zoe from <*> took <*> ms","level":"<*>"}"#)
            || text.contains("{\"text\"")
    );
    let message = explain(&["--message-field", "text"], "login of zoe from 10.0.0.9 took 99 ms", &log);
    assert!(message.contains("agrees"), "a line that is no object is a message: {message}");
}

#[test]
fn typed_shows_what_the_wildcards_met() {
    let output = run(&["templates", "--typed"], "login from 10.0.0.7 took 12 ms\nlogin from 10.0.0.8 took 13 ms\n");
    assert!(ok(&output).contains("login from <ip> took <num> ms"), "{}", ok(&output));
}

#[test]
fn as_emitted_prints_the_ids_as_they_were_and_counts_those_merged_away() {
    let ids = |output: &std::process::Output| -> Vec<String> {
        ok(output).lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    };
    let last = run(&["templates", "--per-line"], logins());
    assert!(ids(&last).iter().all(|id| *id == ids(&last)[0]), "{last:?}");
    let emitted = run(&["templates", "--per-line", "--as-emitted"], logins());
    let distinct: std::collections::HashSet<String> = ids(&emitted).into_iter().collect();
    assert_eq!((ids(&emitted).len(), distinct.len()), (10, 7));
    assert_eq!(ids(&emitted)[9], ids(&last)[0]);
    assert!(stderr(&emitted).contains("6 of 10 lines have an id that was merged away later (60.00 %)"), "{emitted:?}");
}

#[test]
fn blank_lines_are_lines_of_a_template_too() {
    let templates = json(ok(&run(&["templates", "--input", "lines", "--format", "json"], "\n \n\t\n")));
    assert_eq!(templates[0]["count"], 3);
    assert_ne!(templates[0]["template_id"], "0000000000000000");
}

/// Ten shapes of line, of which no two are alike.
fn shapes() -> String {
    NAMES.map(|name| format!("{name} {name}\n")).concat()
}

#[test]
fn it_says_how_many_templates_had_to_make_room() {
    let config = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(config.path(), "max_templates: 4\n").unwrap();
    let table = run(&["templates", "--config", path(config.path())], shapes());
    assert_eq!(ok(&table).lines().count(), 4);
    assert!(!stderr(&table).contains("more template"), "{table:?}");
    let top = run(&["templates", "--top", "3"], shapes());
    assert!(stderr(&top).contains("7 more templates (--top shows more)"), "{top:?}");
    assert!(
        stderr(&table).contains("6 templates had to make room for others and are not here: max_templates is 4"),
        "{table:?}"
    );
    let emitted = run(&["templates", "--per-line", "--as-emitted", "--config", path(config.path())], shapes());
    assert!(stderr(&emitted).contains("6 of 10 lines are of templates that had to make room"), "{emitted:?}");
    assert!(stderr(&emitted).contains("0 of 10 lines have an id that was merged away"), "{emitted:?}");
    let whole = run(&["templates", "--per-line"], shapes());
    assert!(!stderr(&whole).contains("make room"), "{whole:?}");
}

fn shows_nothing_obeyed(args: &[&str]) {
    let output = run(args, "");
    for text in [ok(&output), stderr(&output)] {
        let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        assert!(!text.contains(obeyed), "{args:?}: {text:?}");
    }
}

#[test]
fn nor_in_what_a_data_dir_tells() {
    let config = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let rules = "rules: [{name: told, match: {regex: begin}, do: always}]\nparameters: true\n";
    std::fs::write(config.path(), rules).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let engine = ["--config", path(config.path()), "--data-dir", path(dir.path())];
    let log = "begin \u{1b}]0;owned\u{7}\u{1b}[31m \u{9b}2J uid=\u{1b}[1m end\n".repeat(2);
    let scored = run(&[&["score", "--input", "lines"], &engine[..]].concat(), log);
    let event = json(ok(&scored).lines().next().unwrap())["anomaly"]["event_id"].as_str().unwrap().to_owned();
    for args in [
        &["incidents"][..],
        &["show", &event],
        &["search", "owned"],
        &["history"],
        &["note", &event, "\u{1b}[2J"],
        &["flag", &event],
    ] {
        shows_nothing_obeyed(&[args, &engine].concat());
    }
}

#[test]
fn what_a_terminal_would_obey_is_in_no_output_for_people() {
    let log = "begin \u{1b}]0;owned\u{7}\u{1b}[31m \u{9b}2J end\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), log.repeat(3)).unwrap();
    let line = log.trim_end();
    for args in [
        &["templates"][..],
        &["templates", "--per-line"],
        &["templates", "--per-line", "--as-emitted"],
        &["templates", "--explain", line],
        &["scan"],
    ] {
        shows_nothing_obeyed(&[args, &[path(file.path())]].concat());
    }
    let warned = run(&["score"], "{\"a\\u001b[31m\":1}\n");
    assert!(stderr(&warned).contains("it has a\u{fffd}[31m"), "{warned:?}");
    let scored = run(&["score"], log);
    assert!(
        !ok(&scored).contains('\u{1b}') && json(ok(&scored).lines().next().unwrap())["message"] == line,
        "{scored:?}"
    );
}
