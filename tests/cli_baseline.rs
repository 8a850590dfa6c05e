//! Baselines by the command: exported, merged, compared, imported.

mod cli_support;

use std::path::Path;

use cli_support::{a_log, failed, json, ok, path, run, start};

/// A data dir that has learned, and its baseline.
fn host(dir: &Path, name: &str, own: &str) -> String {
    let data = dir.join(name);
    let log = a_log(12_000) + &own.repeat(50);
    ok(&run(&["score", "--data-dir", path(&data)], log));
    let file = path(&dir.join(format!("{name}.baseline"))).to_owned();
    ok(&run(&["baseline", "export", &file, "--data-dir", path(&data), "--host", name], ""));
    file
}

#[test]
fn hosts_are_exported_merged_shown_compared_and_a_new_one_starts_ready() {
    let dir = tempfile::tempdir().unwrap();
    let files = ["h1", "h2", "h3"].map(|name| host(dir.path(), name, &format!("only on {name}\n")));
    let fleet = path(&dir.path().join("fleet.baseline")).to_owned();
    let [one, two, three] = &files;
    let said = run(&["baseline", "merge", one, two, three, "-o", &fleet], "");
    assert!(ok(&said).contains("h1, h2, h3; ready"), "{}", ok(&said));
    let shown = json(ok(&run(&["baseline", "show", &fleet, "--format", "json"], "")));
    assert_eq!((shown["events"].as_u64(), shown["origins"].as_array().unwrap().len()), (Some(36_150), 3));
    let templates = shown["all_templates"].as_array().unwrap();
    let cache =
        templates.iter().find(|template| template["template"].as_str().unwrap().contains("cache hit for key")).unwrap();
    assert_eq!(cache["count"], 12_000);
    assert!(ok(&run(&["baseline", "show", &fleet], "")).contains("h2: 12,050 events"));
    let difference = json(ok(&run(&["baseline", "diff", one, two, "--format", "json"], "")));
    assert!(difference["only_in_first"].to_string().contains("only on h1"), "{difference}");
    assert!(ok(&run(&["baseline", "diff", one, two], "")).contains("only on h2"));
    let new = dir.path().join("h4");
    ok(&run(&["baseline", "import", &fleet, "--data-dir", path(&new)], ""));
    let stats = json(ok(&run(&["stats", "--data-dir", path(&new), "--format", "json"], "")));
    assert_eq!(stats["state"], "ready");
    let again = run(&["baseline", "import", &fleet, "--data-dir", path(&new)], "");
    assert!(failed(&again, 1).contains("has learned already"));
}

#[test]
fn the_same_state_gives_the_same_file_and_the_order_of_files_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (host(dir.path(), "h1", ""), host(dir.path(), "h2", "something else\n"));
    let again = path(&dir.path().join("again.baseline")).to_owned();
    ok(&run(&["baseline", "export", &again, "--data-dir", path(&dir.path().join("h1")), "--host", "h1"], ""));
    assert!(std::fs::read(&one).unwrap() == std::fs::read(&again).unwrap());
    let merge = |name: &str, first: &str, second: &str| {
        let file = path(&dir.path().join(name)).to_owned();
        ok(&run(&["baseline", "merge", first, second, "-o", &file], ""));
        std::fs::read(file).unwrap()
    };
    assert!(merge("a", &one, &two) == merge("b", &two, &one));
    let said = run(&["baseline", "merge", &one, &again, "-o", path(&dir.path().join("c"))], "");
    ok(&said);
    assert!(cli_support::stderr(&said).contains("both come from h1"));
}

#[test]
fn a_running_process_is_exported_from_its_newest_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    host(dir.path(), "h1", "");
    let data = path(&dir.path().join("h1")).to_owned();
    let mut child = start(&["score", "--data-dir", &data]);
    // It has the lock once it answers.
    use std::io::{BufRead, BufReader, Write};
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"a line\n").unwrap();
    let mut answer = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut answer).unwrap();
    let file = path(&dir.path().join("running.baseline")).to_owned();
    let said = run(&["baseline", "export", &file, "--data-dir", &data], "");
    assert!(ok(&said).contains("12,000 events"), "{}", ok(&said));
    assert!(cli_support::stderr(&said).contains("newest checkpoint"));
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn bad_files_and_data_dirs_are_told_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(&dir.path().join("out")).to_owned();
    let text = path(&dir.path().join("text")).to_owned();
    std::fs::write(&text, "this is no baseline, whatever it is").unwrap();
    let missing = path(&dir.path().join("missing")).to_owned();
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    for (args, said) in [
        (vec!["baseline", "merge", &text, "-o", &out], "this is no baseline"),
        (vec!["baseline", "show", &missing], "cannot read baseline"),
        (vec!["baseline", "import", &text, "--data-dir", &out], "this is no baseline"),
        (vec!["baseline", "export", &out, "--data-dir", &missing], "cannot read"),
        (vec!["baseline", "export", &out, "--data-dir", path(&empty)], "nothing learned yet"),
    ] {
        let output = run(&args, "");
        assert!(failed(&output, 1).contains(said), "{args:?}: {}", cli_support::stderr(&output));
        assert!(!Path::new(&out).exists(), "{args:?}");
    }
    failed(&run(&["baseline", "merge", "-o", &out], ""), 2);
    failed(&run(&["baseline", "import", &text], ""), 2);
}
