//! The command and a data dir that is damaged, full, read-only, newer, in use, or none at all.

#![allow(clippy::unwrap_used, clippy::panic)]

mod cli_support;
mod files_support;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use cli_support::{a_log, failed, json, json_lines, oddline, ok, path, run, start, stderr};
use files_support::files;

/// The user and group `nobody`, by number, as it is on every Linux.
const NOBODY: u32 = 65_534;

/// A data dir with a checkpoint, a chunk and a log, left behind by a run that was killed after 200 answers.
fn killed_run(data: &Path) {
    let config = data.with_extension("yaml");
    std::fs::write(&config, "durability: always\n").unwrap();
    ok(&run(&["score", "--data-dir", path(data)], a_log(300)));
    let mut child = start(&["score", "--config", path(&config), "--data-dir", path(data)]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(a_log(200).as_bytes()).unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    (0..200).for_each(|_| assert!(!read_line(&mut answers).is_empty()));
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    drop(stdin);
}

#[test]
fn what_was_answered_survives_a_kill_when_durability_is_always() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    killed_run(&data);
    let stats = run(&["stats", "--data-dir", path(&data), "--format", "json"], "");
    assert_eq!(json(ok(&stats))["events_total"], 500);
}

/// Runs the command under an umask that takes nothing away.
fn run_open(args: &[&str], stdin: &str) -> Output {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "umask 000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_oddline")]).args(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let stdin = stdin.to_owned();
    let writer = std::thread::spawn(move || pipe.write_all(stdin.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// Everything below `dir` that others than its user may do something with.
fn open_to_others(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            let below = if path.is_dir() { open_to_others(&path) } else { Vec::new() };
            below.into_iter().chain((mode(&path) & 0o077 != 0).then_some(path))
        })
        .collect()
}

#[test]
fn what_is_learned_is_for_its_user_alone_whatever_the_umask_is() {
    let dir = tempfile::tempdir().unwrap();
    let (data, journal, config) = (dir.path().join("new/data"), dir.path().join("journal"), dir.path().join("c.yaml"));
    for url in ["", &format!("journal: {{url: 'file://{}'}}\n", journal.display())] {
        std::fs::write(&config, format!("durability: always\n{url}")).unwrap();
        ok(&run_open(&["score", "--config", path(&config), "--data-dir", path(&data)], &a_log(20_000)));
    }
    assert!(!files(&journal, "").is_empty() && files(&data, "").len() >= 4, "{:?}", files(&data, ""));
    assert_eq!((mode(&data), mode(&journal)), (0o700, 0o700));
    assert_eq!((open_to_others(&data), open_to_others(&journal)), (Vec::new(), Vec::new()));
}

#[test]
fn a_data_dir_that_is_there_keeps_the_mode_its_owner_gave_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o2750)).unwrap();
    ok(&run_open(&["score", "--data-dir", path(&data)], &a_log(10)));
    assert_eq!(mode(&data), 0o750);
    assert_eq!(open_to_others(&data), Vec::<PathBuf>::new());
}

#[test]
fn a_data_dir_with_any_file_damaged_answers_every_line() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    killed_run(&whole);
    let files = files(&whole, "");
    assert!(files.len() >= 3, "{files:?}");
    for (number, file) in files.iter().enumerate() {
        let data = dir.path().join(number.to_string());
        copy_dir(&whole, &data);
        let damaged = data.join(file.strip_prefix(&whole).unwrap());
        let mut bytes = std::fs::read(&damaged).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        std::fs::write(&damaged, bytes).unwrap();
        let output = run(&["score", "--data-dir", path(&data)], "one\ntwo\n");
        assert_eq!(ok(&output).lines().count(), 2, "{}", damaged.display());
        assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    }
}

#[test]
fn a_data_dir_in_use_is_an_error_that_names_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut holder = start(&["score", "--data-dir", path(&data)]);
    let mut stdin = holder.stdin.take().unwrap();
    writeln!(stdin, "hello").unwrap();
    read_line(&mut BufReader::new(holder.stdout.take().unwrap()));
    let second = run(&["score", "--data-dir", path(&data)], "hello\n");
    assert!(failed(&second, 1).contains(&holder.id().to_string()), "{}", stderr(&second));
    assert!(second.stdout.is_empty());
    drop(stdin);
    assert!(holder.wait().unwrap().success());
}

#[test]
fn a_data_dir_that_cannot_be_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for bad in [path(file.path()), "/proc/oddline"] {
        let output = run(&["score", "--data-dir", bad], "hello\n");
        assert!(failed(&output, 1).contains(bad), "{}", stderr(&output));
    }
}

fn read_line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    line
}

fn copy_dir(from: &Path, to: &Path) {
    for file in files(from, "") {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(file, target).unwrap();
    }
}

fn flip_a_byte(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn damage_of_what_was_learned_is_told_by_the_run_and_by_doctor() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    killed_run(&data);
    files(&data, ".checkpoint").iter().for_each(|file| flip_a_byte(file));
    let output = run(&["doctor", "--data-dir", path(&data)], "");
    failed(&output, 1);
    assert!(String::from_utf8_lossy(&output.stdout).contains("WRONG  restore: damaged"), "{}", stderr(&output));

    let data = dir.path().join("again");
    killed_run(&data);
    files(&data, ".checkpoint").iter().for_each(|file| flip_a_byte(file));
    let output = run(&["score", "--data-dir", path(&data)], "one\n");
    assert_eq!(ok(&output).lines().count(), 1);
    assert!(stderr(&output).contains("the data dir is damaged") && stderr(&output).contains(".checkpoint"));
}

#[test]
fn doctor_reads_the_history_and_names_a_damaged_chunk() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    // The second run makes a chunk of what the first one left in its log.
    ok(&run(&["score", "--data-dir", path(&data), "--time", "event"], a_log(300)));
    ok(&run(&["score", "--data-dir", path(&data), "--time", "event"], a_log(300)));
    let sound = run(&["doctor", "--data-dir", path(&data)], "");
    assert!(ok(&sound).contains("history:") && ok(&sound).contains("all whole"), "{}", ok(&sound));
    let chunk = files(&data, ".chunk").pop().unwrap();
    flip_a_byte(&chunk);
    let output = run(&["doctor", "--data-dir", path(&data)], "");
    failed(&output, 1);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("WRONG  history: 1 of") && said.contains(path(&chunk)), "{said}");
}

#[test]
fn a_data_dir_of_a_newer_version_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    ok(&run(&["score", "--data-dir", path(&data)], a_log(300)));
    let checkpoint = files(&data.join("state"), ".checkpoint").into_iter().max().unwrap();
    let mut bytes = std::fs::read(&checkpoint).unwrap();
    bytes[8] = 99;
    let crc = crc32c::crc32c(&bytes[..32]);
    bytes[32..36].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&checkpoint, &bytes).unwrap();
    for command in ["score", "stats", "doctor"] {
        let output = run(&[command, "--data-dir", path(&data)], "one\n");
        let said = failed(&output, 1).to_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("99") && said.contains(path(&checkpoint)), "{command}: {said}");
    }
    assert!(std::fs::read(&checkpoint).unwrap() == bytes);
}

/// Runs the command as a user who may not write; as root, as `nobody`.
fn run_unprivileged(args: &[&str], stdin: &str) -> Output {
    let mut command = oddline(args);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap_or_default();
    child.wait_with_output().unwrap()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Whether the program can be run by a user without privileges: it may lie below a directory closed to others.
fn unprivileged_users_can_run_it() -> bool {
    let mut command = oddline(&["--version"]);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
fn a_read_only_data_dir_is_refused_and_a_directory_in_it_degrades_the_run() {
    if !unprivileged_users_can_run_it() {
        eprintln!("SKIPPED: privileges cannot be dropped here, or the program is out of reach without them");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    chmod(dir.path(), 0o755);
    let data = dir.path().join("data");
    ok(&run(&["score", "--data-dir", path(&data)], a_log(300)));
    if is_root() {
        for entry in files(&data, "").iter().flat_map(|file| file.ancestors()).filter(|path| path.starts_with(&data)) {
            std::os::unix::fs::chown(entry, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    chmod(&data.join("wal").join("00"), 0o555);
    chmod(&data.join("state"), 0o555);
    let degraded = run_unprivileged(&["score", "--data-dir", path(&data)], "one\ntwo\n");
    assert!(failed(&degraded, 1).contains("Permission denied"), "{}", stderr(&degraded));
    let answers = json_lines(std::str::from_utf8(&degraded.stdout).unwrap());
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|event| event["anomaly"]["score"].is_number()));
    chmod(&data.join("LOCK"), 0o444);
    chmod(&data, 0o555);
    for command in ["score", "stats", "doctor"] {
        let output = run_unprivileged(&[command, "--data-dir", path(&data)], "one\n");
        let said = failed(&output, 1).to_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(path(&data)) && said.contains("Permission denied"), "{command}: {said}");
    }
    chmod(&data, 0o755);
    chmod(&data.join("state"), 0o755);
    chmod(&data.join("wal").join("00"), 0o755);
}

/// A file system of `kib` KiB at `at`, in a mount namespace of `script`'s own; `None` where that is not permitted.
fn on_a_small_disk(at: &Path, kib: u32, script: &str, stdin: &str) -> Option<Output> {
    let mount = format!("mount -t tmpfs -o size={kib}k none '{0}' && echo mounted >&2 && cd '{0}' &&", at.display());
    let mut command = std::process::Command::new("unshare");
    command.args([
        "--mount",
        "--map-root-user",
        "sh",
        "-c",
        &format!("{mount} {script}"),
        env!("CARGO_BIN_EXE_oddline"),
    ]);
    command.env_remove("ODDLINE_LOG").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap_or_default();
    let output = child.wait_with_output().unwrap();
    stderr(&output).contains("mounted").then_some(output)
}

#[test]
fn on_a_full_disk_every_line_is_answered_and_room_brings_persistence_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = a_log(2000);
    // Room for the data dir of a first run; then none; then again.
    let script = "\"$0\" score --data-dir data >/dev/null </dev/null && \
        { dd if=/dev/zero of=fill bs=4k 2>/dev/null; \"$0\" score --data-dir data; echo \"exit $?\" >&2; } && \
        rm fill && echo after | \"$0\" score --data-dir data && \"$0\" doctor --data-dir data >&2";
    let Some(output) = on_a_small_disk(dir.path(), 1024, script, &log) else {
        eprintln!("SKIPPED: no file system can be mounted here (unshare --mount --map-root-user)");
        return;
    };
    let events = json_lines(ok(&output));
    assert_eq!(events.len(), 2001, "{}", stderr(&output));
    assert_eq!(events[1999]["anomaly"]["state"], "degraded");
    assert_ne!(events[2000]["anomaly"]["state"], "degraded");
    let said = stderr(&output);
    assert!(
        said.contains("No space left on device") && said.contains("exit 1") && !said.contains("panicked"),
        "{said}"
    );
}
