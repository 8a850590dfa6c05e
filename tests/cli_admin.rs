//! `oddline config`, `stats`, `doctor`, `completions`, `man` and help.

mod cli_support;

use cli_support::{failed, json, json_lines, ok, path, run, stderr};

#[test]
fn the_example_configuration_passes_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("oddline.yaml");
    std::fs::write(&file, ok(&run(&["config", "example"], ""))).unwrap();
    assert!(ok(&run(&["config", "check", path(&file)], "")).contains("ok"));
}

#[test]
fn the_example_configuration_comes_in_every_language_and_means_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    for format in ["yaml", "toml", "json"] {
        let file = dir.path().join(format!("oddline.{format}"));
        std::fs::write(&file, ok(&run(&["config", "example", "--format", format], ""))).unwrap();
        let checked = json(ok(&run(&["config", "check", "--format", "json", path(&file)], "")));
        let empty = dir.path().join(format!("empty.{format}"));
        std::fs::write(&empty, "").unwrap();
        let usual = json(ok(&run(&["config", "check", "--format", "json", path(&empty)], "")));
        assert_eq!(checked[0]["config"], usual[0]["config"], "{format}");
    }
    failed(&run(&["config", "example", "--format", "ini"], ""), 2);
}

#[test]
fn manifest_check_accepts_what_is_shipped_and_names_file_key_and_accepted_values_otherwise() {
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("plugin-manifests/vector-lua.yaml");
    assert!(ok(&run(&["manifest", "check", path(&shipped)], "")).contains("ok"));
    let good = std::fs::read_to_string(&shipped).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vector-lua.yaml");
    for (from, to, key, accepted) in [
        ("schema: 1", "schema: 2", "schema", "expected 1"),
        ("kind: lua_module", "kind: spell", "kind", "shared_library"),
        ("limits:", "limit:", "limit", "limits"),
        ("oddline_panics_total", "oddline_wonders_total", "metrics", "oddline_panics_total"),
    ] {
        std::fs::write(&file, good.replace(from, to)).unwrap();
        let output = run(&["manifest", "check", path(&shipped), path(&file)], "");
        let said = failed(&output, 1);
        assert!(said.contains(path(&file)) && said.contains(key) && said.contains(accepted), "{said}");
        assert_eq!(std::str::from_utf8(&output.stdout).unwrap(), format!("{}: ok\n", path(&shipped)));
        let output = run(&["manifest", "check", "--format", "json", path(&file)], "");
        failed(&output, 1);
        assert_eq!(json(std::str::from_utf8(&output.stdout).unwrap())[0]["ok"], false);
    }
    std::fs::write(dir.path().join("x.json"), "{}").unwrap();
    for bad in [path(dir.path()), path(&dir.path().join("x.json")), "/no/such.yaml"] {
        assert!(failed(&run(&["manifest", "check", bad], ""), 1).contains(bad));
    }
    failed(&run(&["manifest", "check"], ""), 2);
}

#[test]
fn config_check_names_file_line_key_range_and_the_nearest_key() {
    let dir = tempfile::tempdir().unwrap();
    let bad = [
        ("unknown.yaml", "half_life_event: 5\n", "half_life_events"),
        ("range.toml", "alert_budget = 0.5\n", "0.1"),
        ("type.json", "{\n\"learning_events\": \"many\"}\n", "learning_events"),
    ];
    for (name, text, said) in bad {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        let output = run(&["config", "check", path(&file)], "");
        let error = failed(&output, 1);
        assert!(error.contains(name) && error.contains(said), "{error}");
        let output = run(&["config", "check", "--format", "json", path(&file)], "");
        failed(&output, 1);
        let result = &json(std::str::from_utf8(&output.stdout).unwrap())[0];
        assert_eq!(result["ok"], false);
        assert!(result["line"].is_number() && result["key"].is_string(), "{result}");
    }
}

#[test]
fn the_schema_is_json_and_knows_the_keys() {
    let schema = json(ok(&run(&["config", "schema"], "")));
    assert!(schema["properties"]["alert_budget"].is_object());
}

#[test]
fn stats_has_the_promised_keys() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    ok(&run(&["score", "--data-dir", path(&data)], "one 1\none 2\ntwo\n"));
    let stats = json(ok(&run(&["stats", "--data-dir", path(&data), "--format", "json"], "")));
    for key in ["events_total", "templates", "incidents_total", "wal_bytes", "disk_bytes", "memory_bytes"] {
        assert!(stats[key].is_number(), "{key}: {stats}");
    }
    assert_eq!(stats["state"], "learning");
    assert_eq!((&stats["events_total"], &stats["templates"]), (&3.into(), &2.into()));
    assert!(ok(&run(&["stats", "--data-dir", path(&data)], "")).contains("events_total"));
}

#[test]
fn stats_makes_no_data_dir_and_wants_one_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    failed(&run(&["stats", "--data-dir", path(&missing)], ""), 1);
    assert!(!missing.exists());
    failed(&run(&["stats"], ""), 2);
}

#[test]
fn doctor_finds_nothing_wrong_with_a_used_and_a_missing_data_dir() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    assert!(ok(&run(&["doctor", "--data-dir", path(&data)], "")).contains("would be made"));
    assert!(!data.exists());
    ok(&run(&["score", "--data-dir", path(&data)], "one 1\none 2\n"));
    let findings = json(ok(&run(&["doctor", "--data-dir", path(&data), "--format", "json"], "")));
    assert_eq!(findings["ok"], true);
    assert_eq!(findings["stats"]["events_total"], 2);
    assert!(findings["recovery"].is_object());
}

#[test]
fn doctor_fails_when_the_data_dir_cannot_be_used() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for bad in [path(file.path()), "/proc/oddline"] {
        let output = run(&["doctor", "--data-dir", bad], "");
        failed(&output, 1);
        assert!(String::from_utf8_lossy(&output.stdout).contains("WRONG"), "{}", stderr(&output));
    }
    failed(&run(&["doctor"], ""), 2);
}

#[test]
fn doctor_names_the_process_that_uses_the_data_dir() {
    use std::io::{BufRead, BufReader, Write};
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut holder = cli_support::start(&["score", "--data-dir", path(&data)]);
    let mut stdin = holder.stdin.take().unwrap();
    writeln!(stdin, "hello").unwrap();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let output = run(&["doctor", "--data-dir", path(&data)], "");
    failed(&output, 1);
    assert!(String::from_utf8_lossy(&output.stdout).contains(&holder.id().to_string()));
    drop(stdin);
    assert!(holder.wait().unwrap().success());
}

#[test]
fn completions_and_man_pages_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell], "");
        assert!(ok(&script).contains("oddline") && ok(&script).contains("manifest"));
    }
    assert!(ok(&run(&["man"], "")).contains(".TH"));
    let dir = tempfile::tempdir().unwrap();
    ok(&run(&["man", "--out-dir", path(dir.path())], ""));
    assert!(dir.path().join("oddline-score.1").exists());
}

#[test]
fn help_goes_to_stdout_with_examples_and_wrong_usage_to_stderr() {
    for command in ["score", "scan", "templates", "stats", "doctor", "demo"] {
        assert!(ok(&run(&[command, "--help"], "")).contains("Examples:"), "{command}");
    }
    let output = run(&[], "");
    assert!(failed(&output, 2).contains("Usage") && output.stdout.is_empty());
}

#[test]
fn templates_are_accepted_and_flagged_by_template_and_by_event_and_that_is_listed_and_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let config = dir.path().join("oddline.yaml");
    std::fs::write(&config, "learning_events: 100\nfields: full\nalert_budget: 0.01\n").unwrap();
    let score = |log: &str| json_lines(ok(&run(&["score", "--config", path(&config), "--data-dir", path(&data)], log)));
    let log: String = (0..2_000).map(|n| format!("request {n} served\n")).collect();
    let answers = score(&(log + "kernel panic\n"));
    let (routine, odd) = (&answers[0]["anomaly"], &answers[2_000]["anomaly"]);
    assert_eq!(odd["is_anomaly"], true);
    let (template, event) = (routine["template_id"].as_str().unwrap(), odd["event_id"].as_str().unwrap());
    let said = run(&["accept", event, "--data-dir", path(&data)], "");
    assert!(ok(&said).contains("kernel panic"), "{}", ok(&said));
    ok(&run(&["flag", template, "--data-dir", path(&data)], ""));
    let list = || json(ok(&run(&["feedback", "list", "--data-dir", path(&data), "--format", "json"], "")));
    assert_eq!(list()[0]["opinion"], "accept");
    assert_eq!((list()[0]["event_id"].as_str(), list()[1]["template_id"].as_str()), (Some(event), Some(template)));
    let answers = score("kernel panic\nrequest 7 served\n");
    assert_eq!(answers[0]["anomaly"]["is_anomaly"], false);
    assert_eq!(answers[0]["anomaly"]["rule"], "feedback:accept");
    assert_eq!(answers[1]["anomaly"]["rule"], "feedback:flag");
    assert_eq!(answers[1]["anomaly"]["reasons"][0], "rule");
    ok(&run(&["feedback", "remove", template, "--data-dir", path(&data)], ""));
    assert_eq!(list().as_array().unwrap().len(), 1);
    assert_eq!(score("request 8 served\n")[0]["anomaly"]["is_anomaly"], false);
    for (args, code, what) in [
        (["feedback", "remove", template], 1, "nothing was said"),
        (["accept", "kernel", "--data-dir"], 2, "is no id"),
        (["flag", "019aa3c0f1e2-00000103-0000000a3f", "--data-dir"], 1, "not in the history"),
    ] {
        let mut args: Vec<&str> = args.to_vec();
        if args.last() != Some(&"--data-dir") {
            args.push("--data-dir");
        }
        args.push(path(&data));
        let output = run(&args, "");
        assert!(failed(&output, code).contains(what), "{args:?} {}", stderr(&output));
    }
}

#[test]
fn what_is_said_and_taken_back_under_the_id_of_a_template_that_was_merged_is_of_what_it_became() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let config = dir.path().join("oddline.yaml");
    std::fs::write(&config, "learning_events: 100\nfields: full\nmerge_after: 3\n").unwrap();
    let score = |log: &str| json_lines(ok(&run(&["score", "--config", path(&config), "--data-dir", path(&data)], log)));
    let answers = score("session of alpha opened\nsession of bravo opened\nsession of delta opened\n");
    let id = |n: usize| answers[n]["anomaly"]["template_id"].as_str().unwrap();
    let (survivor, gone) = (id(0), id(1));
    assert!(survivor != gone && id(2) == survivor, "the third made them one");
    let say = |args: &[&str]| run(&[args, &["--data-dir", path(&data)]].concat(), "");
    let rule = || score("session of echo opened\n")[0]["anomaly"]["rule"].clone();
    let said = say(&["flag", gone]);
    assert!(ok(&said).contains(survivor) && ok(&said).contains("session of <*> opened"), "{}", ok(&said));
    assert_eq!(rule(), "feedback:flag");
    ok(&say(&["accept", survivor]));
    assert_eq!(rule(), "feedback:accept");
    ok(&say(&["flag", gone]));
    let list = || json(ok(&say(&["feedback", "list", "--format", "json"])));
    assert_eq!(list().as_array().unwrap().len(), 1, "{}", list());
    ok(&say(&["feedback", "remove", &gone.to_uppercase()]));
    assert_eq!((rule(), list().as_array().unwrap().len()), (serde_json::Value::Null, 0));
    assert!(failed(&say(&["feedback", "remove", gone]), 1).contains("nothing was said"));
}

#[test]
fn recalibrate_fits_what_is_known_now_says_what_changed_and_refuses_what_has_learned_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let lines: String = (0..600).map(|n| format!("request {n} of kind {} served\n", ["a", "b", "c"][n % 3])).collect();
    ok(&run(&["score", "--data-dir", path(&data)], lines));
    let first = run(&["recalibrate", "--data-dir", path(&data), "--format", "json"], "");
    assert!(
        stderr(&first).contains("semantic_weight is 0") && stderr(&first).contains("no score changes"),
        "{}",
        stderr(&first)
    );
    let first = json(ok(&first));
    assert_eq!((&first["before"], &first["semantic_weight"]), (&serde_json::Value::Null, &serde_json::json!(0.0)));
    ok(&run(&["score", "--data-dir", path(&data)], "user 7 logged in\nuser 9 logged out\ndisk 3 full\n"));
    let config = dir.path().join("oddline.yaml");
    std::fs::write(&config, format!("data_dir: {}\nsemantic_weight: 1\n", data.display())).unwrap();
    let second = run(&["recalibrate", "--config", path(&config), "--format", "json"], "");
    assert_eq!(stderr(&second), "");
    let second = json(ok(&second));
    assert_eq!((&second["before"], &second["semantic_weight"]), (&first["after"], &serde_json::json!(1.0)));
    assert!(second["after"]["templates"].as_u64() > first["after"]["templates"].as_u64(), "{second}");
    let told = run(&["recalibrate", "--config", path(&config)], "");
    assert!(ok(&told).contains("before") && ok(&told).contains("centroids of"), "{}", ok(&told));
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(failed(&run(&["recalibrate", "--data-dir", path(&empty)], ""), 1).contains("nothing to calibrate by"));
    failed(&run(&["recalibrate"], ""), 2);
}
