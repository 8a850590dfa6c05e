//! A sidecar with a sentence model: models and runtime as in `embed_onnx.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod serve_support;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oddline::config::{Config, EmbedderKind};
use oddline::embed::onnx::find;
use oddline::serve::Options;
use serde_json::Value as Json;
use serve_support::{Sidecar, http_options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The directory of the small model. Without one a test says that it is skipped, and fails in CI.
fn model() -> Option<PathBuf> {
    let model = std::env::var_os("ODDLINE_ONNX_MODELS").map(|models| Path::new(&models).join("int8"));
    let here = model.filter(|model| model.join("model.onnx").exists() && find(None).is_ok());
    if here.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI builds the models: see .ci/run");
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: ODDLINE_ONNX_MODELS and ORT_DYLIB_PATH name no model and no runtime").unwrap();
    }
    here
}

async fn start(dir: &Path, model: &Path) -> Sidecar {
    let config = Config {
        data_dir: Some(dir.to_owned()),
        embedder: EmbedderKind::Onnx,
        embedder_model: Some(model.to_owned()),
        ..Config::default()
    };
    Sidecar::start(config, Options { http: Some(http_options()), ..Options::default() }).await
}

/// Status and body.
async fn ask(address: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request =
        format!("{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all((request + body).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

async fn get(sidecar: &Sidecar, path: &str) -> Json {
    let (status, body) = ask(sidecar.http.unwrap(), &format!("GET {path}"), "").await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// What comes of asking again and again, once it is as it should be.
async fn until(sidecar: &Sidecar, path: &str, is_so: impl Fn(&Json) -> bool) -> Json {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let answer = get(sidecar, path).await;
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "{path}: {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A word of each number, without digits.
fn word(number: usize) -> String {
    (0..4).map(|place| char::from(b'a' + (number / 26usize.pow(place) % 26) as u8)).collect()
}

/// More templates than a search makes vectors of, and one that is asked for.
async fn score(sidecar: &Sidecar, from: usize, line: &str) {
    let many = (from..from + 250).map(|n| format!("{} of {} bloomed", word(n), word(n * 7 + 1)));
    let event = |message: String| serde_json::json!({ "message": message }).to_string() + "\n";
    let body: String = many.chain([line.to_owned()]).map(event).collect();
    let (status, answer) = ask(sidecar.http.unwrap(), "POST /v1/score", &body).await;
    assert_eq!((status, answer.lines().count()), (200, 251));
}

const ASKED: &str = "/v1/search?q=cannot%20connect%20to%20the%20database%20server&since=1h&k=3";

fn is_found(answer: &Json, word: &str) -> bool {
    answer["templates"][0]["template"].as_str().is_some_and(|template| template.contains(word))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_searches_by_its_model_what_came_before_and_after_it_was_quiet() {
    let Some(model) = model() else { return };
    let dir = tempfile::tempdir().unwrap();
    let sidecar = start(dir.path(), &model).await;
    score(&sidecar, 0, "could not reach postgres: connection refused").await;
    let found = until(&sidecar, ASKED, |answer| answer["fallback"].is_null() && is_found(answer, "postgres")).await;
    assert!(found["model"].as_str().unwrap().starts_with("onnx-"), "{found}");
    let all_have_vectors = |stats: &Json| {
        let embedder = &stats["embedder"];
        embedder["state"] == "ready" && embedder["waiting"] == 0 && embedder["vectors"] == stats["templates"]
    };
    until(&sidecar, "/v1/stats", |stats| all_have_vectors(&stats["component"]["engine"])).await;
    // More new ones than a search would make: they are found in the same way.
    score(&sidecar, 250, "replication of mysql is broken").await;
    let are_more = |stats: &Json| stats["component"]["engine"]["templates"].as_u64() > Some(400);
    until(&sidecar, "/v1/stats", |stats| are_more(stats) && all_have_vectors(&stats["component"]["engine"])).await;
    let found = until(&sidecar, "/v1/search?q=the%20database%20does%20not%20replicate%20to%20mysql", |answer| {
        is_found(answer, "mysql")
    })
    .await;
    assert_eq!(found["fallback"], Json::Null);
    for words in
        ["%E7%A3%81%E7%9B%98%E5%B7%B2%E6%BB%A1", "%D0%B4%D0%B8%D1%81%D0%BA", "%F0%9F%94%A5%20x", &"x%20".repeat(15_000)]
    {
        assert_eq!(get(&sidecar, &format!("/v1/search?q={words}")).await["fallback"], Json::Null);
    }
    sidecar.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_whose_model_cannot_be_used_scores_searches_by_words_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let sidecar = start(&dir.path().join("data"), &dir.path().join("no-model")).await;
    score(&sidecar, 0, "could not reach postgres: connection refused").await;
    let found = until(&sidecar, "/v1/search?q=postgres%20connections", |answer| is_found(answer, "postgres")).await;
    assert!(found["fallback"].as_str().unwrap().contains("model.onnx"), "{found}");
    assert!(found["model"].as_str().unwrap().starts_with("hashing-"));
    let embedder = get(&sidecar, "/v1/stats").await["component"]["engine"]["embedder"].clone();
    assert_eq!(embedder["state"], "failed");
    assert!(embedder["failure"].as_str().unwrap().contains("model.onnx"), "{embedder}");
    sidecar.end().await;
}
