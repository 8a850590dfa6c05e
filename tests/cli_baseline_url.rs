//! Baselines behind URLs: of a bucket (an S3 endpoint on loopback) and of a web server; and what a host does when there is none to be had.

#![allow(clippy::unwrap_used)]

mod cli_support;
mod http_support;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Output;
use std::sync::atomic::Ordering;

use cli_support::{a_log, failed, json, oddline, ok, path, run, stderr};
use http_support::{Reply, serve, status, whole};

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn a_baseline(dir: &Path) -> Vec<u8> {
    let (data, file) = (dir.join("origin"), dir.join("web.baseline"));
    ok(&run(&["score", "--data-dir", path(&data)], a_log(12_000)));
    ok(&run(&["baseline", "export", path(&file), "--data-dir", path(&data), "--host", "h1"], ""));
    std::fs::read(file).unwrap()
}

/// Runs the command as on a machine whose S3 is at `endpoint`.
fn with_bucket(endpoint: SocketAddr, args: &[&str], stdin: &str) -> Output {
    let mut command = oddline(args);
    command.env("AWS_ENDPOINT", format!("http://{endpoint}")).env("AWS_ALLOW_HTTP", "true");
    command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret").env("AWS_REGION", "here");
    let input = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(input.path(), stdin).unwrap();
    command.stdin(input.reopen().unwrap()).output().unwrap()
}

/// A new host that is configured to start from `url` scores a few lines.
fn start(dir: &Path, name: &str, endpoint: SocketAddr, url: &str) -> Output {
    let (config, data) = (dir.join(format!("{name}.yaml")), dir.join(name));
    std::fs::write(&config, format!("baseline: \"{url}\"\nfields: full\n")).unwrap();
    with_bucket(endpoint, &["score", "--config", path(&config), "--data-dir", path(&data)], &a_log(30))
}

fn states(output: &Output) -> Vec<String> {
    let answers = ok(output).lines().map(json);
    answers.map(|event| event["anomaly"]["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_new_host_starts_ready_from_a_bucket_or_a_web_server_that_stumbles() {
    let dir = tempfile::tempdir().unwrap();
    let baseline = a_baseline(dir.path());
    let bytes = baseline.clone();
    let (bucket, _) =
        serve(
            move |request, _| {
                if request.target == "/fleet/hosts/web.baseline" { whole(&bytes) } else { status("404 Not Found") }
            },
        );
    let bytes = baseline.clone();
    let (server, asked) = serve(move |request, number| match number {
        0 => status("503 Service Unavailable"),
        _ if request.target == "/web.baseline?signature=secret" => whole(&bytes),
        _ => status("403 Forbidden"),
    });
    let signed = format!("http://{server}/web.baseline?signature=secret");
    for (name, url) in [("bucket", "s3://fleet/hosts/web.baseline"), ("server", signed.as_str())] {
        let output = start(dir.path(), name, bucket, url);
        assert_eq!(states(&output), ["ready"; 30], "{name}: {}", stderr(&output));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let shown = with_bucket(bucket, &["baseline", "show", "s3://fleet/hosts/web.baseline"], "");
    assert!(ok(&shown).contains("12,000 events of h1"), "{}", ok(&shown));
}

#[test]
fn a_host_whose_baseline_cannot_be_had_starts_and_scores_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut damaged = a_baseline(dir.path());
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let (server, _) = serve(move |request, _| match request.target.rsplit('/').next().unwrap_or_default() {
        "damaged" => whole(&damaged),
        "huge" => Reply { length: 1 << 40, ..whole(b"x") },
        _ => status("404 Not Found"),
    });
    let away = nobody();
    for (name, endpoint, url, said) in [
        ("s3-damaged", server, "s3://fleet/damaged".to_owned(), "checksum does not match"),
        ("s3-huge", server, "s3://fleet/huge".to_owned(), "larger than the limit"),
        ("s3-none", server, "s3://fleet/none".to_owned(), "cannot fetch s3://fleet/none"),
        ("s3-away", away, "s3://fleet/away".to_owned(), "cannot fetch s3://fleet/away"),
        ("http-huge", server, format!("http://{server}/huge"), "larger than the limit"),
        ("http-none", server, format!("http://user:secret@{server}/none?key=secret"), "404"),
        ("http-away", server, format!("http://{away}/away"), "cannot fetch http://"),
    ] {
        let output = start(dir.path(), name, endpoint, &url);
        assert_eq!(states(&output), ["learning"; 30], "{name}");
        let told = stderr(&output);
        assert!(told.contains("no baseline to start from") && told.contains(said), "{name}: {told}");
        assert!(!told.contains("secret"), "{name}: {told}");
    }
}

#[test]
fn doctor_finds_a_baseline_that_cannot_be_had_and_a_command_for_it_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _) = serve(|_, _| status("404 Not Found"));
    let config = dir.path().join("oddline.yaml");
    std::fs::write(&config, format!("baseline: \"http://{server}/none\"\n")).unwrap();
    let data = dir.path().join("new");
    let doctor = run(&["doctor", "--config", path(&config), "--data-dir", path(&data), "--format", "json"], "");
    assert_eq!(doctor.status.code(), Some(1), "{}", stderr(&doctor));
    let found = json(std::str::from_utf8(&doctor.stdout).unwrap());
    let baseline =
        found["checks"].as_array().unwrap().iter().find(|check| check["name"] == "baseline").unwrap().clone();
    assert!(baseline["ok"] == false && baseline["detail"].as_str().unwrap().contains("404"), "{baseline}");
    let url = format!("http://{server}/none");
    failed(&run(&["baseline", "import", &url, "--data-dir", path(&data)], ""), 1);
    assert!(!data.exists(), "nothing is made");
}
