//! The sidecar's HTTP side, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod serve_support;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use oddline::config::{Config, Durability, EventRule, Format, RuleAction, RuleMatch};
use oddline::plugin::conformance::{self, Adapter};
use oddline::plugin::{Component, ComponentStats};
use oddline::serve::Options;
use oddline::serve::options::{Compression, HttpOptions};
use oddline::storage::mem_fs::{Faults, MemFs};
use serde_json::{Value as Json, json};
use serve_support::{Sidecar, http_options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio::time::Instant;

const NDJSON: &str = "application/x-ndjson";

async fn start(http: HttpOptions) -> Sidecar {
    Sidecar::start(Config::default(), Options { http: Some(http), ..Options::default() }).await
}

struct Answer {
    status: StatusCode,
    content_type: String,
    body: String,
}

async fn request(
    address: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let content_type = headers.get("content-type").map_or("", |value| value.to_str().unwrap()).to_owned();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    Answer { status, content_type, body: String::from_utf8(body.to_vec()).unwrap() }
}

async fn score(sidecar: &Sidecar, content_type: &str, body: impl Into<Bytes>) -> Answer {
    let headers = [("content-type", content_type)];
    request(sidecar.http.unwrap(), Method::POST, "/v1/score", &headers, body).await
}

async fn get(sidecar: &Sidecar, path: &str) -> Answer {
    request(sidecar.http.unwrap(), Method::GET, path, &[], Bytes::new()).await
}

fn lines(n: usize) -> String {
    (0..n).map(|n| format!("{{\"n\":{n},\"message\":\"request {n} took {} ms\"}}\n", n % 97)).collect()
}

fn parsed(ndjson: &str) -> Vec<Json> {
    ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

struct OverHttp(Runtime);

impl Adapter for OverHttp {
    fn run(&mut self, config: &Json, events: &[Json]) -> Result<Vec<Json>, String> {
        let config = Config::from_str(&config.to_string(), Format::Json, "test").map_err(|error| error.to_string())?;
        self.0.block_on(async {
            let options = Options { http: Some(http_options()), ..Options::default() };
            let sidecar = Sidecar::start(config, options).await;
            let answer = score(&sidecar, "application/json", Json::from(events).to_string()).await;
            sidecar.end().await;
            serde_json::from_str(&answer.body).map_err(|error| format!("{error}: {}", answer.body))
        })
    }
}

#[test]
fn events_over_http_conform_to_what_every_adapter_must_do() {
    assert_eq!(conformance::check(&mut OverHttp(Runtime::new().unwrap())), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_body_is_answered_in_kind_and_in_order() {
    let sidecar = start(http_options()).await;
    let ndjson = score(&sidecar, NDJSON, lines(500)).await;
    assert_eq!((ndjson.status, ndjson.content_type.as_str()), (StatusCode::OK, NDJSON));
    let events = parsed(&ndjson.body);
    assert!(events.iter().enumerate().all(|(n, event)| event["n"] == n && event["anomaly"]["score"].is_f64()));
    assert_eq!(events.len(), 500);

    let list = score(&sidecar, "application/json", r#"[ {"message":"a 1"} , {"message":"b 2"} ]"#).await;
    let list: Vec<Json> = serde_json::from_str(&list.body).unwrap();
    assert_eq!((&list[0]["message"], &list[1]["message"], list.len()), (&json!("a 1"), &json!("b 2"), 2));

    let one = score(&sidecar, "application/json; charset=utf-8", "{\"message\":\n \"a 1\"}\n").await;
    assert_eq!(one.content_type, "application/json");
    assert!(serde_json::from_str::<Json>(&one.body).unwrap()["anomaly"].is_object());

    let text = score(&sidecar, "text/plain", "{not json\r\n\nsecond line\n").await;
    let text = parsed(&text.body);
    assert_eq!((&text[0]["message"], &text[1]["message"], text.len()), (&json!("{not json"), &json!("second line"), 2));

    let empty = score(&sidecar, "application/json", "[]").await;
    assert_eq!((empty.status, empty.body.as_str()), (StatusCode::OK, "[]"));
    let nothing = score(&sidecar, NDJSON, "").await;
    assert_eq!((nothing.status, nothing.body.as_str()), (StatusCode::OK, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_with_the_reason() {
    let limit = HttpOptions { max_message_bytes: 1 << 20, ..http_options() };
    let sidecar = start(limit).await;
    let send = async |encoding: &str, body: Vec<u8>| {
        let headers = [("content-type", NDJSON), ("content-encoding", encoding)];
        request(sidecar.http.unwrap(), Method::POST, "/v1/score", &headers, body).await
    };
    let bomb = zstd::encode_all(&vec![b'\n'; 100 << 20][..], 1).unwrap();
    for (answer, status, expected) in [
        (score(&sidecar, "application/json", "[{]").await, StatusCode::BAD_REQUEST, "expected a JSON list"),
        (score(&sidecar, "application/json", "[{}").await, StatusCode::BAD_REQUEST, "expected a JSON list"),
        (score(&sidecar, NDJSON, vec![b'x'; 2 << 20]).await, StatusCode::PAYLOAD_TOO_LARGE, "max_message_bytes"),
        (send("zstd", bomb).await, StatusCode::PAYLOAD_TOO_LARGE, "1048576 bytes"),
        (send("gzip", b"no gzip".to_vec()).await, StatusCode::BAD_REQUEST, "cannot unpack"),
        (send("br", b"x".to_vec()).await, StatusCode::UNSUPPORTED_MEDIA_TYPE, "gzip or zstd"),
        (get(&sidecar, "/nowhere").await, StatusCode::NOT_FOUND, "no such path"),
    ] {
        assert_eq!(answer.status, status, "{}", answer.body);
        let error = serde_json::from_str::<Json>(&answer.body).unwrap();
        assert!(error["error"].as_str().unwrap().contains(expected), "{error}");
    }
    assert_eq!(get(&sidecar, "/v1/score").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(score(&sidecar, NDJSON, lines(1)).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_bodies_are_unpacked() {
    let sidecar = start(http_options()).await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(lines(50).as_bytes()).unwrap();
    for (encoding, body) in
        [("gzip", gzip.finish().unwrap()), ("zstd", zstd::encode_all(lines(50).as_bytes(), 1).unwrap())]
    {
        let headers = [("content-type", NDJSON), ("content-encoding", encoding)];
        let answer = request(sidecar.http.unwrap(), Method::POST, "/v1/score", &headers, body).await;
        assert_eq!(parsed(&answer.body).len(), 50, "{encoding}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_headers_are_taken_in_any_case() {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "S3cret").unwrap();
    let sidecar = start(HttpOptions { token_file: Some(token.path().to_owned()), ..http_options() }).await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(br#"{"message":"a 1"}"#).unwrap();
    let packed = gzip.finish().unwrap();
    for (authorization, kind, status) in [
        ("bearer S3cret", "Application/JSON", StatusCode::OK),
        ("BEARER S3cret", "APPLICATION/X-NDJSON; charset=utf-8", StatusCode::OK),
        ("bearer s3cret", "application/json", StatusCode::UNAUTHORIZED),
    ] {
        let headers = [("authorization", authorization), ("content-type", kind), ("content-encoding", "GZIP")];
        let answer = request(sidecar.http.unwrap(), Method::POST, "/v1/score", &headers, packed.clone()).await;
        assert_eq!(answer.status, status, "{kind}: {}", answer.body);
        if status == StatusCode::OK {
            let essence = kind.split(';').next().unwrap();
            assert!(answer.content_type.eq_ignore_ascii_case(essence), "{kind}: {}", answer.content_type);
        }
    }
    // Without `http.otlp_forward` the path is not there, which is told of what is known for logs alone.
    let headers = [("authorization", "bearer S3cret"), ("content-type", "Application/X-Protobuf")];
    let answer = request(sidecar.http.unwrap(), Method::POST, "/v1/logs", &headers, Bytes::new()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_elsewhere_are_refused_where_no_token_is_asked_for() {
    let open = start(HttpOptions { allowed_hosts: vec!["logs.example".to_owned()], ..http_options() }).await;
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "t").unwrap();
    let closed = start(HttpOptions { token_file: Some(token.path().to_owned()), ..http_options() }).await;
    let ask = async |sidecar: &Sidecar, path: &str, headers: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
        raw(TcpStream::connect(sidecar.http.unwrap()).await.unwrap(), &head).await
    };
    for own in [
        "host: 127.0.0.1:6180\r\n",
        "host: LocalHost\r\norigin: http://localhost:3000\r\n",
        "host: [::1]:6180\r\n",
        "host: Logs.example:80\r\norigin: https://logs.example\r\n",
    ] {
        let answer = ask(&open, "/v1/incidents", own).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{own}: {answer}");
    }
    for (foreign, named) in [
        ("host: evil.example\r\n", "Host"),
        ("host: evil.example\r\norigin: http://evil.example\r\n", "Host"),
        ("host: 127.0.0.1.evil.example:6180\r\n", "Host"),
        ("host: 192.0.2.1\r\n", "Host"),
        ("host: localhost@evil.example\r\n", "Host"),
        ("host: \r\n", "Host"),
        ("host: 127.0.0.1\r\norigin: http://evil.example\r\n", "Origin"),
        ("host: 127.0.0.1\r\norigin: null\r\n", "Origin"),
    ] {
        for path in ["/v1/incidents", "/v1/stats", "/metrics", "/v1/search?q=disk"] {
            let answer = ask(&open, path, foreign).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{foreign}: {answer}");
            assert!(answer.contains(&format!("{named}: expected localhost")), "{foreign}: {answer}");
        }
        let answer = ask(&closed, "/v1/incidents", &format!("{foreign}authorization: Bearer t\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{foreign}: {answer}");
    }
    assert!(ask(&open, "/health", "host: evil.example\r\n").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_where_there_is_one_and_health_needs_none() {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "s3cret\n").unwrap();
    let sidecar = start(HttpOptions { token_file: Some(token.path().to_owned()), ..http_options() }).await;
    let address = sidecar.http.unwrap();
    for given in [
        None,
        Some("Bearer wrong!"),
        Some("Bearer s3cre"),
        Some("Bearer s3cret "),
        Some("Basic s3cret"),
        Some("s3cret"),
    ] {
        let headers: Vec<_> = given.map(|given| ("authorization", given)).into_iter().collect();
        for (method, path) in [
            (Method::POST, "/v1/score"),
            (Method::GET, "/metrics"),
            (Method::GET, "/v1/stats"),
            (Method::GET, "/v1/incidents"),
            (Method::GET, "/v1/search?q=disk"),
        ] {
            let answer = request(address, method, path, &headers, lines(1)).await;
            // Spaces around a header's value are no part of it.
            let expected = match given {
                Some("Bearer s3cret ") if path.starts_with("/v1/search") => StatusCode::NOT_FOUND,
                Some("Bearer s3cret ") => StatusCode::OK,
                _ => StatusCode::UNAUTHORIZED,
            };
            assert_eq!(answer.status, expected, "{given:?} {path}");
        }
    }
    let answer = request(address, Method::GET, "/metrics", &[("authorization", "Bearer s3cret")], Bytes::new()).await;
    assert!(answer.body.contains("oddline_serve_requests_unauthorized_total 25\n"), "{}", answer.body);
    assert_eq!(get(&sidecar, "/health").await.status, StatusCode::OK);
    assert_eq!(get(&sidecar, "/ready").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_stats_hold_what_the_component_counts() {
    let sidecar = start(http_options()).await;
    score(&sidecar, NDJSON, lines(3) + "{\"other\":1}\n").await;
    // Counts are folded in at a tick.
    let metrics = loop {
        let metrics = get(&sidecar, "/metrics").await;
        if metrics.body.contains("oddline_events_total 4\n") {
            break metrics;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(metrics.content_type.starts_with("text/plain; version=0.0.4"));
    let mut component = Component::new(Config::default(), oddline::Environment::system()).unwrap();
    let ComponentStats { counts, .. } = component.stats();
    for (name, _) in counts.iter() {
        assert!(metrics.body.contains(&format!("# TYPE oddline_{name} counter\noddline_{name} ")), "{name}");
    }
    assert!(metrics.body.contains("oddline_events_without_message_total 1\n"));
    assert!(metrics.body.contains("oddline_serve_events_sent_total 4\n"));
    assert!(metrics.body.contains("oddline_state{state=\"learning\"} 1\n"));
    let stats: Json = serde_json::from_str(&get(&sidecar, "/v1/stats").await.body).unwrap();
    assert_eq!((&stats["component"]["events_total"], &stats["serve"]["requests_total"]), (&json!(4), &json!(1)));
    assert_eq!(stats["component"]["engine"]["state"], "learning");
}

#[tokio::test(flavor = "multi_thread")]
async fn incidents_are_told_from_the_journal_and_wrong_questions_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let matches = RuleMatch::Regex { regex: "^disk".to_owned() };
    let rules = vec![EventRule { name: "disk".to_owned(), matches, action: RuleAction::Always }];
    let config = Config { data_dir: Some(dir.path().join("data")), rules, ..Config::default() };
    let sidecar = Sidecar::start(config, Options { http: Some(http_options()), ..Options::default() }).await;
    let none: Json = serde_json::from_str(&get(&sidecar, "/v1/incidents").await.body).unwrap();
    assert_eq!(none["incidents"], json!([]));
    score(&sidecar, NDJSON, lines(3) + "{\"message\":\"disk 1 failed\"}\n{\"message\":\"disk 2 failed\"}\n").await;
    let told = loop {
        let told: Json = serde_json::from_str(&get(&sidecar, "/v1/incidents?since=1h&limit=1").await.body).unwrap();
        if told["left_out"] == 1 {
            break told;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(told["incidents"][0]["message"], "disk 2 failed");
    assert_eq!(told["incidents"][0]["template"], "disk <*> failed");
    assert!(told["incidents"][0]["host"].is_string());
    for nothing in ["host=elsewhere", "stream=host%3Delsewhere", "until=1h", "since=2999-01-01T00:00:00Z"] {
        let told: Json = serde_json::from_str(&get(&sidecar, &format!("/v1/incidents?{nothing}")).await.body).unwrap();
        assert_eq!(told["incidents"], json!([]), "{nothing}");
    }
    for (wrong, what) in [
        ("since=yesterday", "since"),
        ("stream=web1", "host=VALUE"),
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("colour=red", "colour"),
    ] {
        let answer = get(&sidecar, &format!("/v1/incidents?{wrong}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
        assert!(answer.body.contains(what) && answer.body.starts_with("{\"error\":"), "{}", answer.body);
    }
}

/// A next hop over HTTP that answers with one status after another, the last one for good.
async fn hop(statuses: Vec<u16>) -> (String, Arc<Mutex<Vec<(String, String)>>>) {
    type Taken = Arc<Mutex<Vec<(String, String)>>>;
    let taken = Taken::default();
    let statuses = Arc::new(Mutex::new(statuses));
    let handler =
        async |State((taken, statuses)): State<(Taken, Arc<Mutex<Vec<u16>>>)>, headers: HeaderMap, body: String| {
            let mut statuses = statuses.lock().unwrap();
            let status = if statuses.len() > 1 { statuses.remove(0) } else { statuses[0] };
            if status == 200 {
                taken.lock().unwrap().push((headers["content-type"].to_str().unwrap().to_owned(), body));
            }
            StatusCode::from_u16(status).unwrap()
        };
    let router = Router::new().route("/in", post(handler)).with_state((Arc::clone(&taken), statuses));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/in", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    (uri, taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_next_hop_events_go_on_and_the_answer_comes_after_it_has_them() {
    let (uri, taken) = hop(vec![503, 429, 200]).await;
    let sidecar = start(HttpOptions { forward: Some(uri), ..http_options() }).await;
    let answer = score(&sidecar, NDJSON, lines(100)).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NO_CONTENT, ""));
    let taken = taken.lock().unwrap();
    assert_eq!((taken[0].0.as_str(), taken.len()), (NDJSON, 1));
    assert!(parsed(&taken[0].1).iter().enumerate().all(|(n, event)| event["n"] == n));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_next_hop_says_decides_the_answer() {
    let (uri, _) = hop(vec![422]).await;
    let sidecar = start(HttpOptions { forward: Some(uri), ..http_options() }).await;
    assert_eq!(score(&sidecar, NDJSON, lines(1)).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let (uri, _) = hop(vec![500]).await;
    let sidecar = start(HttpOptions { forward: Some(uri), request_timeout_secs: 1, ..http_options() }).await;
    let answer = score(&sidecar, NDJSON, lines(1)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.body.contains("500 Internal Server Error"), "{}", answer.body);
}

async fn raw(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A peer that closes on garbage may reset.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_serves_too_and_one_left_over_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("oddline.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let sidecar = start(HttpOptions { listen: format!("unix:{}", path.display()), ..http_options() }).await;
    let stream = UnixStream::connect(&path).await.unwrap();
    let answer = raw(stream, "GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok\n"), "{answer}");
    let second = HttpOptions { listen: format!("unix:{}", path.display()), ..http_options() };
    let options = Options { http: Some(second), ..Options::default() };
    let bound = oddline::serve::Server::bind(Config::default(), &options, oddline::Environment::system()).await;
    assert!(bound.unwrap_err().to_string().contains("cannot listen on"));
    assert!(sidecar.end().await.drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_socket_is_not_replaced_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("precious"), dir.path().join("link"));
    std::fs::write(&file, "what nobody wants to lose").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for path in [&file, &link, &dir.path().to_owned()] {
        let listen = format!("unix:{}", path.display());
        let options = Options { http: Some(HttpOptions { listen, ..http_options() }), ..Options::default() };
        let told = Sidecar::refused(Config::default(), options).await;
        assert!(told.contains(&format!("a unix socket at {}", path.display())), "{told}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "what nobody wants to lose");
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_senders_that_stop_sending_harm_nobody() {
    let sidecar = start(HttpOptions { receive_timeout_secs: 1, concurrency: 1, ..http_options() }).await;
    let connect = async || TcpStream::connect(sidecar.http.unwrap()).await.unwrap();
    let answer = raw(connect().await, "\u{1}\u{2} garbage\r\n\r\n").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    let stopped = "POST /v1/score HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{";
    let answer = raw(connect().await, stopped).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("receive_timeout_secs"), "{answer}");
    assert_eq!(score(&sidecar, NDJSON, lines(1)).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_of_a_byte_now_and_then_is_given_up_and_others_are_told_to_come_again() {
    let sidecar = start(HttpOptions { receive_timeout_secs: 1, concurrency: 1, ..http_options() }).await;
    let mut slow = TcpStream::connect(sidecar.http.unwrap()).await.unwrap();
    slow.write_all(b"POST /v1/score HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n").await.unwrap();
    let dripping = tokio::spawn(async move {
        let mut answer = [0; 12];
        for _ in 0..150 {
            let _ = slow.write_all(b" ").await;
            if tokio::time::timeout(Duration::from_millis(100), slow.read_exact(&mut answer)).await.is_ok() {
                break;
            }
        }
        String::from_utf8(answer.to_vec()).unwrap()
    });
    assert_eq!(dripping.await.unwrap(), "HTTP/1.1 408");
    assert_eq!(score(&sidecar, NDJSON, lines(1)).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_no_turn_in_time_is_told_to_come_again() {
    let (uri, _) = hop(vec![500]).await;
    let sidecar =
        start(HttpOptions { forward: Some(uri), receive_timeout_secs: 1, concurrency: 1, ..http_options() }).await;
    let address = sidecar.http.unwrap();
    // The next hop takes nothing: whoever has the turn tries for 50 s.
    let body = lines(1);
    let head = format!("POST /v1/score HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(head.as_bytes()).await.unwrap();
    while !get(&sidecar, "/metrics").await.body.contains("oddline_serve_requests_total 1\n") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let head = head.replace("host:", "connection: close\r\nhost:");
    let answer = raw(TcpStream::connect(address).await.unwrap(), &head).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1\r\n"), "{answer}");
    assert!(answer.contains("concurrency"), "{answer}");
    let metrics = get(&sidecar, "/metrics").await.body;
    for figure in ["requests_turned_away_total 1", "requests_under_way 1", "requests_waiting 0", "stopping 0"] {
        assert!(metrics.contains(&format!("\noddline_serve_{figure}\n")), "{figure}: {metrics}");
    }
    assert!(metrics.contains("# TYPE oddline_serve_connections gauge\noddline_serve_connections "), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_in_figures_and_in_events_and_everything_goes_on() {
    let (dir, files) = (tempfile::tempdir().unwrap(), MemFs::new());
    let config = Config { data_dir: Some(dir.path().to_owned()), durability: Durability::Always, ..Config::default() };
    let environment = oddline::Environment { fs: Arc::new(files.clone()), ..oddline::Environment::system() };
    let options = Options { http: Some(http_options()), ..Options::default() };
    let sidecar = Sidecar::on(config, options, environment).await;
    let state = async || -> (String, String) {
        let scored = score(&sidecar, NDJSON, lines(3)).await;
        assert_eq!(scored.status, StatusCode::OK);
        for probe in ["/health", "/ready"] {
            assert_eq!(get(&sidecar, probe).await.status, StatusCode::OK, "{probe}");
        }
        let state = parsed(&scored.body)[2]["anomaly"]["state"].as_str().unwrap().to_owned();
        (state, get(&sidecar, "/metrics").await.body)
    };
    let (before, metrics) = state().await;
    assert!(before == "learning" && metrics.contains("oddline_storage_errors_total 0\n"), "{before} {metrics}");
    files.set_faults(Faults { capacity_bytes: Some(0), ..Faults::default() });
    let metrics = loop {
        let (state, metrics) = state().await;
        if state == "degraded" && metrics.contains("oddline_state{state=\"degraded\"} 1\n") {
            break metrics;
        }
    };
    assert!(!metrics.contains("oddline_storage_errors_total 0\n"), "{metrics}");
    files.set_faults(Faults::default());
    while state().await.0 == "degraded" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_whole_head_is_closed_after_a_while() {
    let hop = serve_support::NextHop::start().await;
    let mut options = serve_support::vector_options(hop.uri());
    options.vector.as_mut().unwrap().receive_timeout_secs = 1;
    options.http = Some(HttpOptions { receive_timeout_secs: 1, idle_timeout_secs: 1, ..http_options() });
    let sidecar = Sidecar::start(Config::default(), options).await;
    for (address, begun) in [
        (sidecar.http, ""),
        (sidecar.http, "GE"),
        (sidecar.http, "PRI * HT"),
        (sidecar.http, "GET /health HTTP/1.1\r\nhost: localhost\r\nx-y: "),
        (sidecar.http, "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\nGET /hea"),
        (sidecar.vector, ""),
        (sidecar.vector, "PRI * HT"),
    ] {
        let stream = TcpStream::connect(address.unwrap()).await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(20), raw(stream, begun)).await;
        assert!(closed.is_ok(), "{begun:?}");
    }
    assert_eq!(score(&sidecar, NDJSON, lines(1)).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_is_told_before_anybody_is_refused() {
    let hop = serve_support::NextHop::start().await;
    let options = Options { http: Some(http_options()), drain_secs: 3, ..serve_support::vector_options(hop.uri()) };
    let sidecar = Sidecar::start(Config::default(), options).await;
    assert_eq!(get(&sidecar, "/ready").await.status, StatusCode::OK);
    let ((http, vector), begun) = ((sidecar.http.unwrap(), sidecar.vector.unwrap()), Instant::now());
    let ending = sidecar.stop();
    let ask = |method, path, body: String| async move { request(http, method, path, &[], body).await.status };
    while ask(Method::GET, "/ready", String::new()).await == StatusCode::OK {
        tokio::task::yield_now().await;
    }
    // New connections and requests, all the same.
    assert_eq!(ask(Method::POST, "/v1/score", lines(1)).await, StatusCode::OK);
    serve_support::Client::connect(vector)
        .await
        .push(vec![serve_support::proto::log(&json!({"message": "a"}))])
        .await
        .unwrap();
    assert!(!ending.is_finished());
    assert!(ending.await.unwrap().unwrap().drained);
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    TcpStream::connect(http).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_is_packed_as_asked_for() {
    for (compression, encoding) in
        [(Compression::None, None), (Compression::Gzip, Some("gzip")), (Compression::Zstd, Some("zstd"))]
    {
        let (got, router) = (Arc::new(Mutex::new(Vec::new())), Router::new());
        let handler = async |State(got): State<Arc<Mutex<Vec<_>>>>, headers: HeaderMap, body: Bytes| {
            let encoding = headers.get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
            let mut got = got.lock().unwrap();
            got.push((encoding, body));
            // Tried again, it is the same.
            if got.len() == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
        };
        let router = router.route("/in", post(handler)).with_state(Arc::clone(&got));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let forward = Some(format!("http://{}/in", listener.local_addr().unwrap()));
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        let sidecar = start(HttpOptions { forward, compression, ..http_options() }).await;
        assert_eq!(score(&sidecar, NDJSON, lines(100)).await.status, StatusCode::NO_CONTENT);
        let got = got.lock().unwrap();
        assert_eq!(got.len(), 2);
        assert_eq!(got[0], got[1]);
        let (said, body) = &got[1];
        assert_eq!(said.as_deref(), encoding);
        let plain = match compression {
            Compression::None => body.to_vec(),
            Compression::Gzip => std::io::read_to_string(flate2::read::GzDecoder::new(&**body)).unwrap().into_bytes(),
            Compression::Zstd => zstd::decode_all(&**body).unwrap(),
        };
        let events = parsed(std::str::from_utf8(&plain).unwrap());
        assert!(events.len() == 100 && events.iter().enumerate().all(|(n, event)| event["n"] == n));
        assert!(encoding.is_none() || body.len() < plain.len() / 3, "{} of {}", body.len(), plain.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_connections_without_a_request() {
    let hop = serve_support::NextHop::start().await;
    let options = Options { http: Some(http_options()), ..serve_support::vector_options(hop.uri()) };
    let sidecar = Sidecar::start(Config::default(), options).await;
    let mut open = Vec::new();
    for (address, begun) in [
        (sidecar.http, ""),
        (sidecar.http, "GET /hea"),
        (sidecar.http, "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\nGET /hea"),
        (sidecar.vector, ""),
        (sidecar.vector, "PRI * HT"),
        (sidecar.vector, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        let mut stream = TcpStream::connect(address.unwrap()).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        open.push(stream);
    }
    assert_eq!(get(&sidecar, "/health").await.status, StatusCode::OK);
    let stopping = tokio::time::timeout(Duration::from_secs(20), sidecar.end());
    assert!(stopping.await.expect("it waits for them").drained);
}

/// What HTTP/2 begins with, and settings of none.
const HTTP2: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_request_is_closed_when_it_was_idle_for_long_and_one_with_a_request_is_not() {
    let hop =
        serve_support::NextHop::behaving(Arc::new(|_| serve_support::Reaction::Slow(Duration::from_secs(4)))).await;
    let mut options = serve_support::vector_options(hop.uri());
    options.vector.as_mut().unwrap().idle_timeout_secs = 1;
    options.http = Some(HttpOptions { idle_timeout_secs: 1, ..http_options() });
    let sidecar = Sidecar::start(Config::default(), options).await;
    let client = sidecar.client().await;
    let slow = tokio::spawn(async move { client.push(Vec::new()).await });
    for (address, begun) in [
        (sidecar.http, "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        (sidecar.http, HTTP2),
        (sidecar.vector, HTTP2),
    ] {
        let stream = TcpStream::connect(address.unwrap()).await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(15), raw(stream, begun)).await;
        assert!(closed.is_ok(), "{begun:?}");
    }
    slow.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_make_room_and_one_with_a_request_under_way_is_kept() {
    let sidecar = start(HttpOptions { max_connections: 8, ..http_options() }).await;
    let mut works = TcpStream::connect(sidecar.http.unwrap()).await.unwrap();
    let head = "POST /v1/score HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 4\r\n\r\n";
    works.write_all(head.as_bytes()).await.unwrap();
    let mut idle = Vec::new();
    for begun in ["", "GET /hea", HTTP2, HTTP2, HTTP2, HTTP2, HTTP2] {
        let mut stream = TcpStream::connect(sidecar.http.unwrap()).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        idle.push(stream);
    }
    for _ in 0..3 {
        let asked = tokio::time::timeout(Duration::from_secs(20), get(&sidecar, "/health")).await;
        assert_eq!(asked.expect("it waits for those that are idle").status, StatusCode::OK);
    }
    let answer = raw(works, "a 1\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"a 1\""), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_take_an_answer_is_given_up_and_his_turn_is_the_next_ones() {
    let sidecar = start(HttpOptions { receive_timeout_secs: 2, concurrency: 1, ..http_options() }).await;
    let mut lazy = TcpStream::connect(sidecar.http.unwrap()).await.unwrap();
    let body = "a line of some length that grows when it is scored\n".repeat(60_000);
    let head = format!("POST /v1/score HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
    lazy.write_all((head + &body).as_bytes()).await.unwrap();
    let mut told = [0; 1];
    lazy.peek(&mut told).await.unwrap();
    let (begun, mut waited) = (Instant::now(), 0);
    while score(&sidecar, NDJSON, lines(1)).await.status != StatusCode::OK {
        waited += 1;
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    assert!(waited > 0 || begun.elapsed() > Duration::from_secs(1), "the answer went off at once: nothing was shown");
    let taken = raw(lazy, "").await;
    let announced = taken.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert!(taken.len() < announced.parse::<usize>().unwrap(), "all of it came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_too_many_or_too_large_events_is_refused_with_the_limit() {
    let limits = HttpOptions { max_events: 2_500, max_scored_bytes: 600_000, ..http_options() };
    let sidecar = start(limits).await;
    let list = |n| format!("[{}]", vec!["1"; n].join(","));
    for (kind, body) in [
        (NDJSON, "{}\n".repeat(2_501)),
        ("text/plain", "a\n".repeat(1 << 20)),
        ("application/json", list(2_501)),
        ("application/json", list(1 << 20)),
    ] {
        let answer = score(&sidecar, kind, body).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", answer.body);
        assert!(answer.body.contains("at most 2500 events (max_events)"), "{}", answer.body);
        assert!(answer.body.contains("several requests"), "{}", answer.body);
    }
    let stats: Json = serde_json::from_str(&get(&sidecar, "/v1/stats").await.body).unwrap();
    assert_eq!(stats["component"]["events_total"], 0, "what is refused for its number teaches nothing");
    for (kind, body) in [(NDJSON, lines(2_500)), ("application/json", list(2_500)), ("text/plain", "a\n".repeat(2_500))]
    {
        let answer = score(&sidecar, kind, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    let answer = score(&sidecar, "text/plain", "\u{1}".repeat(200_000)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", answer.body.len());
    assert!(answer.body.contains("max_scored_bytes"), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_request_does_not_wait_for_all_of_a_large_one() {
    let sidecar = start(http_options()).await;
    let address = sidecar.http.unwrap();
    let large = tokio::spawn(async move {
        let headers = [("content-type", NDJSON)];
        request(address, Method::POST, "/v1/score", &headers, lines(100_000)).await
    });
    while !get(&sidecar, "/metrics").await.body.contains("oddline_serve_requests_total 1\n") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    while !large.is_finished() {
        let asked = Instant::now();
        assert_eq!(score(&sidecar, NDJSON, lines(1)).await.status, StatusCode::OK);
        longest = longest.max(asked.elapsed());
    }
    let all = begun.elapsed();
    assert!(longest * 4 < all, "a small one waited {longest:?} of the {all:?} of a large one");
    let events = parsed(&large.await.unwrap().body);
    assert!(events.len() == 100_000 && events.iter().enumerate().all(|(n, event)| event["n"] == n));
}

/// A reader of a pipe waits until somebody writes.
fn a_pipe_in_the_journal(data: &std::path::Path) -> std::path::PathBuf {
    let hour = data.join("journal/host=h1/date=2026-11-21/hour=12");
    std::fs::create_dir_all(&hour).unwrap();
    let pipe = hour.join("0-00000000.ndjson");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    pipe
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_two_requests_read_the_journal_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let pipe = a_pipe_in_the_journal(&data);
    let config = Config { data_dir: Some(data), ..Config::default() };
    let sidecar = Sidecar::start(config, Options { http: Some(http_options()), ..Options::default() }).await;
    let address = sidecar.http.unwrap();
    let ask = move || request(address, Method::GET, "/v1/incidents", &[], Bytes::new());
    // One that waits for the pipe has its place, also when nobody waits for its answer any more.
    let mut waiting = 0;
    let refused = loop {
        match tokio::time::timeout(Duration::from_secs(2), ask()).await {
            Ok(answer) => break answer,
            Err(_) => waiting += 1,
        }
        assert!(waiting <= 2, "a third one reads");
    };
    assert_eq!((waiting, refused.status), (2, StatusCode::SERVICE_UNAVAILABLE), "{}", refused.body);
    let health = get(&sidecar, "/health").await;
    assert_eq!(health.status, StatusCode::OK, "others are answered");
    // Who comes later does not see the pipe; who reads it finds its end, and makes room.
    let aside = dir.path().join("pipe");
    std::fs::rename(&pipe, &aside).unwrap();
    let answered = loop {
        drop(std::fs::OpenOptions::new().read(true).write(true).open(&aside).unwrap());
        let answer = ask().await;
        if answer.status != StatusCode::SERVICE_UNAVAILABLE {
            break answer;
        }
    };
    assert_eq!(answered.status, StatusCode::OK, "{}", answered.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_searched_in_words_and_wrong_questions_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().to_owned()), ..Config::default() };
    let sidecar = Sidecar::start(config, Options { http: Some(http_options()), ..Options::default() }).await;
    let odd = "{\"host\":\"db1\",\"message\":\"connection pool exhausted after 12 ms\"}\n";
    score(&sidecar, NDJSON, lines(200) + odd).await;
    // The log is handed over at a tick.
    let found = loop {
        let answer = get(&sidecar, "/v1/search?q=exhausted%20connections&since=1h&k=3").await;
        assert_eq!(
            (answer.status, answer.content_type.as_str()),
            (StatusCode::OK, "application/json"),
            "{}",
            answer.body
        );
        let found: Json = serde_json::from_str(&answer.body).unwrap();
        if found["templates"][0].is_object() {
            break found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let first = &found["templates"][0];
    assert_eq!((&first["template"], &first["events"]), (&json!("connection pool exhausted after <*> ms"), &json!(1)));
    assert_eq!(found["templates_searched"], 2);
    let of_stream = get(&sidecar, "/v1/search?q=exhausted%20connections&stream=host%3Ddb2").await;
    assert_eq!(serde_json::from_str::<Json>(&of_stream.body).unwrap()["templates"], json!([]));
    for (wrong, said) in [
        ("", "q"),
        ("?q=", "words"),
        ("?q=17", "words"),
        ("?q=disk&k=0", "1 to 1000"),
        ("?q=disk&k=x", "k"),
        ("?q=disk&since=yesterday", "how long ago"),
        ("?q=disk&stream=db1", "host=VALUE"),
        ("?q=disk&limit=3", "limit"),
    ] {
        let answer = get(&sidecar, &format!("/v1/search{wrong}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
        assert!(answer.body.contains(said), "{wrong}: {}", answer.body);
    }
    // Words of 60 KB and of other scripts are searched; what no request line may be is refused.
    for words in
        ["%E7%A3%81%E7%9B%98%E5%B7%B2%E6%BB%A1", "%D0%B4%D0%B8%D1%81%D0%BA", "%FF%FEx", &"exhausted%20".repeat(5_000)]
    {
        let answer = get(&sidecar, &format!("/v1/search?q={words}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    let endless =
        format!("GET /v1/search?q={} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", "x".repeat(100 << 10));
    let endless = raw(TcpStream::connect(sidecar.http.unwrap()).await.unwrap(), &endless).await;
    assert!(endless.starts_with("HTTP/1.1 414"), "{endless}");
    let many = searches_at_once(&sidecar, 40).await;
    assert!(many.iter().all(|status| [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(status)), "{many:?}");
    assert!(many.contains(&StatusCode::OK));
    let in_memory = start(http_options()).await;
    let answer = get(&in_memory, "/v1/search?q=disk").await;
    assert!(answer.status == StatusCode::NOT_FOUND && answer.body.contains("data dir"), "{}", answer.body);
}

/// So many searches at once.
async fn searches_at_once(sidecar: &Sidecar, searches: usize) -> Vec<StatusCode> {
    let address = sidecar.http.unwrap();
    let one = || tokio::spawn(request(address, Method::GET, "/v1/search?q=request%20took", &[], Bytes::new()));
    let tasks: Vec<_> = (0..searches).map(|_| one()).collect();
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.unwrap().status);
    }
    statuses
}
