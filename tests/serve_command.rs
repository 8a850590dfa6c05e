//! `oddline serve` as a process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use oddline::config::Config;
use oddline::serve::Options;
use oddline::serve::options::VectorOptions;
use serde_json::Value as Json;

const ODDLINE: &str = env!("CARGO_BIN_EXE_oddline");

struct Running {
    child: Child,
    address: String,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut told = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "ended: {told}");
            if let Some(address) = line.trim_end().strip_prefix("oddline: listening for HTTP on ") {
                break address.to_owned();
            }
            told.push_str(&line);
        };
        Self { child, address, stderr }
    }

    fn post(&self, body: &str) -> String {
        let head = format!(
            "POST /v1/score HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Posts while the process may end at any time; whether all of the answer came.
    fn try_post(address: &str, body: &str) -> bool {
        let exchange = || -> std::io::Result<String> {
            let head = format!(
                "POST /v1/score HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let mut stream = TcpStream::connect(address)?;
            stream.write_all((head + body).as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        exchange().is_ok_and(|answer| answer.matches("\"anomaly\"").count() == body.lines().count())
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status().unwrap();
        assert!(sent.success());
    }

    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

fn oddline(args: &[&str]) -> Command {
    let mut command = Command::new(ODDLINE);
    command.arg("serve").args(args);
    command
}

fn output(args: &[&str]) -> Output {
    oddline(args).output().unwrap()
}

#[test]
fn a_signal_ends_it_cleanly_and_what_was_learned_is_there_the_next_time() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let args = ["--http", "127.0.0.1:0", "--fields", "full", "--data-dir", state.to_str().unwrap()];
    for (signal, new) in [("TERM", true), ("INT", false)] {
        let running = Running::start(&mut oddline(&args));
        let event: Json = serde_json::from_str(&running.post("{\"message\":\"user 17 logged in\"}\n")).unwrap();
        let reasons = event["anomaly"]["reasons"].as_array().unwrap();
        assert_eq!(reasons.contains(&Json::from("new_template")), new, "{event}");
        running.signal(signal);
        assert_eq!(running.end(), (Some(0), String::new()));
    }
}

#[test]
fn with_durability_always_what_was_answered_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let config = dir.path().join("oddline.toml");
    std::fs::write(&config, "durability = \"always\"\n").unwrap();
    let args = ["--http", "127.0.0.1:0", "--data-dir", state.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let mut answered = 0;
    for _ in 0..3 {
        let running = Running::start(&mut oddline(&args));
        for n in 0..20 {
            assert!(running.post(&format!("{{\"message\":\"request {n} failed\"}}\n")).contains("anomaly"));
            answered += 1;
        }
        running.signal("KILL");
        assert_eq!(running.end().0, None);
        let config = Config { data_dir: Some(state.clone()), ..Config::default() };
        let engine = oddline::Engine::open(&config, oddline::Environment::system()).unwrap();
        assert_eq!(engine.stats().events_total, answered);
    }
}

#[test]
fn a_kill_while_many_wait_for_one_sync_loses_nothing_that_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let config = dir.path().join("oddline.toml");
    std::fs::write(&config, "durability = \"always\"\n").unwrap();
    let serve_config = dir.path().join("serve.toml");
    std::fs::write(&serve_config, "lanes = 8\n").unwrap();
    let [state_arg, config, serve_config] = [&state, &config, &serve_config].map(|path| path.to_str().unwrap());
    let args = ["--http", "127.0.0.1:0", "--data-dir", state_arg, "--config", config, "--serve-config", serve_config];
    let (mut before, mut answered_in_all, mut common_logs) = (0, 0, 0);
    for round in 0..6u64 {
        let running = Running::start(&mut oddline(&args));
        let (sent, answered, is_killed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for client in 0..8u64 {
                let (sent, answered, is_killed) = (&sent, &answered, &is_killed);
                let address = &running.address;
                scope.spawn(move || {
                    let line = |n| format!("{{\"message\":\"request {n} of client {client} failed\"}}\n");
                    let body: String = (0..=client * 3).map(line).collect();
                    while !is_killed.load(Ordering::SeqCst) {
                        let lines = body.lines().count() as u64;
                        sent.fetch_add(lines, Ordering::SeqCst);
                        if Running::try_post(address, &body) {
                            answered.fetch_add(lines, Ordering::SeqCst);
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(100 + round * 53));
            running.signal("KILL");
            is_killed.store(true, Ordering::SeqCst);
        });
        assert_eq!(running.end().0, None);
        common_logs += std::fs::read_dir(state.join("wal/group")).map_or(0, Iterator::count);
        let config = Config { data_dir: Some(state.clone()), ..Config::default() };
        let engine = oddline::Engine::open(&config, oddline::Environment::system()).unwrap();
        let restored = engine.stats().events_total;
        let (sent, answered) = (sent.into_inner(), answered.into_inner());
        let expected = before + answered..=before + sent;
        assert!(expected.contains(&restored), "round {round}: {restored} restored, expected {expected:?}");
        before = restored;
        answered_in_all += answered;
    }
    assert!(answered_in_all > 100 && common_logs > 0, "{answered_in_all} answers, {common_logs} logs in common");
}

#[test]
fn a_data_dir_in_use_ends_it_before_it_listens() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let args = ["--http", "127.0.0.1:0", "--data-dir", state.to_str().unwrap()];
    let running = Running::start(&mut oddline(&args));
    let second = output(&args);
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8(second.stderr).unwrap();
    assert!(told.contains(&running.child.id().to_string()) && !told.contains("listening"), "{told}");
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn wrong_options_are_told_with_file_key_and_what_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    for (args, code, expected) in [
        (vec!["--http".to_owned(), "0.0.0.0:1".to_owned()], 1, "token_file, token_env or tls"),
        (vec!["--http".to_owned(), "nonsense".to_owned()], 1, "host:port, unix:PATH or fd:N"),
        (vec!["--listen".to_owned(), "127.0.0.1:1".to_owned()], 2, "--forward"),
        (vec!["--serve-config".to_owned(), write("a.toml", "lane = 1\n")], 1, "lane"),
        (vec!["--serve-config".to_owned(), write("b.yaml", "vector: {tls: {key_word: x}}\n")], 1, "key_word"),
        (vec!["--serve-config".to_owned(), write("c.toml", "lanes = 100\n")], 1, "from 1 to 64"),
        (vec!["--serve-config".to_owned(), write("d.txt", "")], 1, "yaml, yml, toml, json"),
        (vec!["--serve-config".to_owned(), "/nowhere.toml".to_owned()], 1, "/nowhere.toml"),
        (vec!["--forward".to_owned(), "ftp://127.0.0.1:1".to_owned()], 1, "http://host:port or https://host:port"),
        (vec!["--alert-budget".to_owned(), "7".to_owned()], 2, "alert_budget"),
    ] {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let output = output(&args);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        assert!(told.contains(expected), "{args:?}: {told}");
    }
}

#[test]
fn options_can_be_checked_without_listening() {
    let checked = output(&["--check", "--forward", "http://127.0.0.1:1"]);
    assert!(checked.status.success());
    assert_eq!(String::from_utf8(checked.stdout).unwrap(), "the options are right\n");
    assert!(!output(&["--check", "--http", "0.0.0.0:1"]).status.success());
}

#[test]
fn systemd_is_told_when_it_is_ready_and_when_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let told = || {
        let mut text = [0; 256];
        let len = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..len]).trim_end().to_owned()
    };
    let running = Running::start(oddline(&["--http", "127.0.0.1:0"]).env("NOTIFY_SOCKET", &path));
    assert_eq!(told(), "READY=1");
    running.signal("TERM");
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn however_many_processors_there_are_a_few_threads_wait_for_sockets() {
    // What tokio takes for the number of processors unless it is told.
    let running = Running::start(oddline(&["--http", "127.0.0.1:0"]).env("TOKIO_WORKER_THREADS", "40"));
    let threads = std::fs::read_dir(format!("/proc/{}/task", running.child.id())).unwrap().count();
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
    // Four, the main one, one that waited for files, and those of the engine.
    assert!(threads <= 12, "{threads}");
}

#[test]
fn a_socket_that_systemd_hands_over_is_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = dir.path().join("serve.toml");
    std::fs::write(&options, "[http]\nlisten = \"fd:0\"\ntoken_env = \"TOKEN\"\n").unwrap();
    // systemd's protocol: sockets from 3 on, and the process they are for.
    let script =
        format!("exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec {ODDLINE} serve --serve-config \"$1\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(&options).env("TOKEN", "t").stdin(std::os::fd::OwnedFd::from(listener));
    let running = Running::start(&mut command);
    assert_eq!(running.address, address.to_string());
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn the_example_of_the_options_holds_every_one_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config-examples/vector/sidecar-serve.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let options: Options = toml::from_str(&text).unwrap();
    assert_eq!(options, Options { vector: Some(VectorOptions::default()), ..Options::default() });
    options.validate().unwrap();
    // Keys without a default stand there as comments.
    let uncommented: String = text
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| rest.contains(" = ") || rest.starts_with('['))
                .unwrap_or(line)
                .to_owned()
                + "\n"
        })
        .collect();
    let written = serde_json::to_value(toml::from_str::<Options>(&uncommented).unwrap()).unwrap();
    // These belong to one direction.
    let of_the_other = [
        ".http.tls.server_name",
        ".http.tls.verify_hostname",
        ".vector.tls.server_name",
        ".vector.tls.verify_hostname",
    ];
    assert_eq!(missing(&written, String::new()), of_the_other);
}

/// Keys that are null.
fn missing(value: &Json, path: String) -> Vec<String> {
    match value {
        Json::Null => vec![path],
        Json::Object(map) => map.iter().flat_map(|(key, value)| missing(value, format!("{path}.{key}"))).collect(),
        _ => Vec::new(),
    }
}

/// The values for Vector's chart: the chart itself is not here, what oddline is started with is.
#[test]
fn the_values_for_helm_start_it_with_arguments_that_it_takes_and_volumes_that_are_there() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config-examples/fleet/helm/values.yaml");
    let values: Json = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let list = |value: &Json| value.as_array().cloned().unwrap();
    let name = |value: &Json| value["name"].as_str().unwrap().to_owned();
    let volumes: Vec<_> = list(&values["extraVolumes"]).iter().map(name).collect();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("oddline.yaml"), "partition_by: [kubernetes.pod_namespace]\n").unwrap();
    let here = dir.path().to_str().unwrap();
    let mut started = Vec::new();
    for container in [list(&values["initContainers"]), list(&values["extraContainers"])].concat() {
        for mount in list(&container["volumeMounts"]) {
            assert!(volumes.contains(&name(&mount)), "{mount}: {volumes:?}");
        }
        let Some(args) = container["args"].as_array() else { continue };
        let args = args.iter().map(|arg| arg.as_str().unwrap().replace("/etc/oddline/", &format!("{here}/")));
        let args: Vec<_> = args.map(|arg| arg.replace("/var/lib/oddline", &format!("{here}/data"))).collect();
        let is_server = args[0] == "serve";
        let args = args.iter().map(String::as_str).chain(is_server.then_some("--check")).collect::<Vec<_>>();
        let ended = Command::new(ODDLINE).args(&args).output().unwrap();
        assert!(ended.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
        started.push(args[0].to_owned());
    }
    assert_eq!(started, ["doctor", "serve"]);
    let vector = &values["customConfig"];
    assert_eq!(vector["sinks"]["to_oddline"]["address"], "127.0.0.1:6100");
    assert_eq!(vector["sources"]["oddline"]["address"], "127.0.0.1:6101");
}
