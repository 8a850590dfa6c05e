//! OpenTelemetry's logs through the sidecar: OTLP/HTTP in and out, in protobuf and JSON, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod serve_support;

use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse as _;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use oddline::config::{Config, EventRule, Fields, Format, OnExisting, RuleAction, RuleMatch};
use oddline::serve::Options;
use oddline::serve::options::{Compression, HttpOptions};
use prost::Message as _;
use serde_json::{Value as Json, json};
use serve_support::otlp::{
    Any, AnyValue, ExportRequest, KeyValue, LogRecord, Map, Resource, ResourceLogs, ScopeLogs, attribute, text,
};
use serve_support::{Sidecar, http_options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn record(n: usize) -> LogRecord {
    LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000 + n as u64,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: text(&format!("request {n} took {} ms", n % 97)),
        attributes: vec![attribute("http.route", "/pay")],
        flags: 1,
        trace_id: vec![7; 16],
        future: "kept".to_owned(),
    }
}

fn export(records: Vec<LogRecord>) -> ExportRequest {
    let scope = ScopeLogs { log_records: records, schema_url: "s".to_owned(), future: "kept".to_owned() };
    let resource =
        Resource { attributes: vec![attribute("service.name", "checkout"), attribute("host.name", "web-1")] };
    let logs = ResourceLogs {
        resource: Some(resource),
        scope_logs: vec![scope.clone(), ScopeLogs::default()],
        schema_url: "r".to_owned(),
        future: "kept".to_owned(),
    };
    ExportRequest { resource_logs: vec![logs], future: "kept".to_owned() }
}

fn records(request: &ExportRequest) -> Vec<&LogRecord> {
    request.resource_logs.iter().flat_map(|logs| &logs.scope_logs).flat_map(|scope| &scope.log_records).collect()
}

fn value<'r>(record: &'r LogRecord, key: &str) -> Option<&'r Any> {
    let mut found = record.attributes.iter().filter(|attribute| attribute.key == key);
    let first = found.next()?;
    assert!(found.next().is_none(), "{key} is there twice");
    first.value.as_ref()?.value.as_ref()
}

/// What the next hop says.
type Said = (StatusCode, &'static [u8]);

/// The next hop: what it got, and what it answers by turns.
#[derive(Clone, Default)]
struct Hop {
    got: Arc<Mutex<Vec<(String, Bytes)>>>,
    answers: Arc<Mutex<Vec<Said>>>,
}

impl Hop {
    async fn start(answers: &[Said]) -> (Self, String) {
        let hop = Self { answers: Arc::new(Mutex::new(answers.to_vec())), ..Self::default() };
        let take = |State(hop): State<Self>, headers: HeaderMap, body: Bytes| async move {
            hop.got.lock().unwrap().push((headers["content-type"].to_str().unwrap().to_owned(), body));
            let mut answers = hop.answers.lock().unwrap();
            let (status, said) = if answers.is_empty() { (StatusCode::OK, &b""[..]) } else { answers.remove(0) };
            let mut answer = (status, said).into_response();
            if status == StatusCode::TOO_MANY_REQUESTS {
                answer.headers_mut().insert("retry-after", 60.into());
            }
            answer
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/v1/logs", listener.local_addr().unwrap());
        let router =
            Router::new().route("/v1/logs", post(take)).layer(DefaultBodyLimit::disable()).with_state(hop.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (hop, uri)
    }

    fn count(&self) -> usize {
        self.got.lock().unwrap().len()
    }

    fn last(&self) -> Bytes {
        self.got.lock().unwrap().last().unwrap().1.clone()
    }
}

async fn sidecar(config: Config, forward: Option<String>) -> Sidecar {
    with(config, HttpOptions { otlp_forward: forward, request_timeout_secs: 1, ..http_options() }).await
}

async fn with(config: Config, http: HttpOptions) -> Sidecar {
    Sidecar::start(config, Options { http: Some(http), ..Options::default() }).await
}

async fn send(sidecar: &Sidecar, headers: &[(&str, &str)], body: impl Into<Bytes>) -> (StatusCode, String, Bytes) {
    let answer = ask(sidecar, headers, body).await;
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (answer.status(), content_type, answer.into_body())
}

async fn ask(sidecar: &Sidecar, headers: &[(&str, &str)], body: impl Into<Bytes>) -> http::Response<Bytes> {
    let mut request = Request::post(format!("http://{}/v1/logs", sidecar.http.unwrap()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
    let (parts, body) = answer.into_parts();
    http::Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

async fn figure(sidecar: &Sidecar, name: &str) -> u64 {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("http://{}/metrics", sidecar.http.unwrap())).body(Full::default()).unwrap();
    let text = client.request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(text.to_vec()).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()).expect(name)
}

async fn ok(sidecar: &Sidecar, content_type: &str, body: impl Into<Bytes>) -> Bytes {
    let (status, answered, body) = send(sidecar, &[("content-type", content_type)], body).await;
    assert_eq!((status, answered.as_str()), (StatusCode::OK, content_type), "{body:?}");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn records_get_attributes_and_keep_everything_else() {
    let (hop, uri) = Hop::start(&[]).await;
    let sidecar = sidecar(Config::default(), Some(uri)).await;
    let sent = export((0..20).map(record).collect());
    assert_eq!(ok(&sidecar, PROTOBUF, sent.encode_to_vec()).await, Bytes::new());
    let got = ExportRequest::decode(hop.last()).unwrap();
    for scored in records(&got) {
        assert!(matches!(value(scored, "anomaly.score"), Some(Any::Double(score)) if (0.0..=1.0).contains(score)));
        assert_eq!(value(scored, "anomaly.is_anomaly"), Some(&Any::Bool(false)));
        assert!(matches!(value(scored, "anomaly.reasons"), Some(Any::Array(_))));
        assert_eq!(value(scored, "anomaly.state"), Some(&Any::String("learning".to_owned())));
        let Some(Any::String(template)) = value(scored, "log.record.template") else { panic!("{scored:?}") };
        assert_eq!(template, "request <*> took <*> ms");
    }
    let mut without = got;
    for logs in &mut without.resource_logs {
        for record in logs.scope_logs.iter_mut().flat_map(|scope| &mut scope.log_records) {
            record.attributes.truncate(1);
        }
    }
    assert_eq!(without, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odd_record_is_found_by_severity_and_stream() {
    let (hop, uri) = Hop::start(&[]).await;
    let config = Config {
        level_field: Some("severity_text".to_owned()),
        partition_by: vec!["service".to_owned(), "http.route".to_owned()],
        ..Config::default()
    };
    let sidecar = sidecar(config, Some(uri)).await;
    for batch in 0..12 {
        ok(&sidecar, PROTOBUF, export((batch * 1_000..(batch + 1) * 1_000).map(record).collect()).encode_to_vec())
            .await;
    }
    let odd = LogRecord {
        severity_text: "FATAL".to_owned(),
        body: text("no database connection, pool exhausted"),
        ..record(1)
    };
    ok(&sidecar, PROTOBUF, export(vec![odd]).encode_to_vec()).await;
    let got = ExportRequest::decode(hop.last()).unwrap();
    let scored = records(&got)[0];
    assert_eq!(value(scored, "anomaly.is_anomaly"), Some(&Any::Bool(true)), "{scored:?}");
    assert!(
        matches!(value(scored, "anomaly.detectors.severity"), Some(Any::Double(nats)) if *nats > 0.0),
        "{scored:?}"
    );
}

/// A rule makes each an alert, so that the second is like the first.
#[tokio::test(flavor = "multi_thread")]
async fn past_incidents_are_a_list_of_maps_in_protobuf_and_json() {
    let rule = EventRule {
        name: "all".to_owned(),
        matches: RuleMatch::Regex { regex: "^request".to_owned() },
        action: RuleAction::Always,
    };
    let (hop, uri) = Hop::start(&[]).await;
    let sidecar = sidecar(Config { rules: vec![rule], ..Config::default() }, Some(uri)).await;
    ok(&sidecar, PROTOBUF, export(vec![record(1), record(2)]).encode_to_vec()).await;
    let got = ExportRequest::decode(hop.last()).unwrap();
    let [first, second] = records(&got)[..] else { panic!("{got:?}") };
    assert_eq!(value(first, "anomaly.similar"), None);
    let Some(Any::Array(similar)) = value(second, "anomaly.similar") else { panic!("{second:?}") };
    let [AnyValue { value: Some(Any::Map(past)) }] = &similar.values[..] else { panic!("{similar:?}") };
    let part = |name: &str| past.values.iter().find(|part| part.key == name)?.value.as_ref()?.value.as_ref();
    assert_eq!(part("event_id"), value(first, "anomaly.event_id"));
    assert_eq!(part("score"), value(first, "anomaly.score"));
    assert_eq!((part("distance"), part("note")), (Some(&Any::Double(0.0)), None));
    let line = |n: usize| json!({"timeUnixNano": "1700000000000000000", "body": {"stringValue": format!("request {n} took 5 ms")}});
    let sent = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [line(3)]}]}]});
    ok(&sidecar, JSON, sent.to_string()).await;
    let got: Json = serde_json::from_slice(&hop.last()).unwrap();
    let attributes = got["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["attributes"].as_array().unwrap();
    let similar = &attributes.iter().find(|attribute| attribute["key"] == "anomaly.similar").unwrap()["value"];
    let past = similar["arrayValue"]["values"][0]["kvlistValue"]["values"].as_array().unwrap();
    let part = |name: &str| past.iter().find(|part| part["key"] == name).map(|part| part["value"].clone());
    let Some(Any::String(id)) = value(second, "anomaly.event_id") else { panic!("{second:?}") };
    assert_eq!(part("event_id"), Some(json!({"stringValue": id})));
    assert_eq!(part("distance"), Some(json!({"doubleValue": 0.0})));
    assert!(part("time").is_some_and(|time| time["stringValue"].is_string()));
}

/// What JSON looks like with one of our attributes taken out again.
fn without_ours(json: &Json) -> Json {
    let mut json = json.clone();
    for record in json["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array_mut().unwrap() {
        let Some(list) = record.get_mut("attributes").and_then(Json::as_array_mut) else { continue };
        list.retain(|entry| {
            let key = entry["key"].as_str().unwrap_or_default();
            !key.starts_with("anomaly.") && key != "log.record.template"
        });
    }
    json
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_spliced_into_and_keeps_every_other_byte() {
    let (hop, uri) = Hop::start(&[]).await;
    let sidecar = sidecar(Config::default(), Some(uri)).await;
    let body = r#" {"resourceLogs" : [ {"resource":{"attributes":[{"key":"host.name","value":{"stringValue":"web-1"}}]},"scopeLogs":[{"logRecords":[
        {"timeUnixNano":"1700000000000000001","body":{"stringValue":"login \u00e9 17"},"attributes":[ {"key":"a","value":{"intValue":"9223372036854775807"}} ],"x":1e3},
        {"body":{"kvlistValue":{"values":[{"key":"message","value":{"stringValue":"login x 18"}}]}}},
        {"body":{"stringValue":"login y 19"},"attributes":[]},
        {"body":{"stringValue":"login z 20"},"attributes":null},
        {}
    ]}]}],"future":12345678901234567890123} "#;
    let answer = ok(&sidecar, JSON, body).await;
    assert_eq!(answer, "{}");
    let got = String::from_utf8(hop.last().to_vec()).unwrap();
    for kept in [
        r#""stringValue":"login \u00e9 17""#,
        "9223372036854775807",
        "12345678901234567890123",
        r#" {"resourceLogs" : [ "#,
    ] {
        assert!(got.contains(kept.trim_start()), "{kept}: {got}");
    }
    let parsed: Json = serde_json::from_str(&got).unwrap();
    let scored = parsed["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap();
    let key = |record: &Json, key: &str| {
        let list = record["attributes"].as_array().unwrap();
        list.iter().find(|entry| entry["key"] == key).map(|entry| entry["value"].clone())
    };
    for record in &scored[..4] {
        assert!(key(record, "anomaly.score").unwrap()["doubleValue"].is_number(), "{record}");
        let template = key(record, "log.record.template").unwrap();
        assert!(template["stringValue"].as_str().unwrap().starts_with("login"), "{template}");
    }
    assert_eq!(key(&scored[4], "anomaly.score").unwrap(), json!({"doubleValue": 0.0}), "a record without a body");
    let mut before: Json = serde_json::from_str(body).unwrap();
    for index in [1, 3, 4] {
        before["resourceLogs"][0]["scopeLogs"][0]["logRecords"][index]["attributes"] = json!([]);
    }
    assert_eq!(without_ours(&parsed), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_in_json_are_what_they_are_in_protobuf() {
    let (hop, uri) = Hop::start(&[]).await;
    let sidecar = sidecar(Config::default(), Some(uri)).await;
    // "disk 17 failed"
    let body = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"bytesValue":"ZGlzayAxNyBmYWlsZWQ="}}]}]}]}"#;
    ok(&sidecar, JSON, body).await;
    let got = String::from_utf8(hop.last().to_vec()).unwrap();
    assert!(got.contains(r#"{"stringValue":"disk <*> failed"}"#), "{got}");
    assert!(got.contains("ZGlzayAxNyBmYWlsZWQ="), "it goes on as it came: {got}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_to_a_collector_may_be_packed() {
    let (hop, uri) = Hop::start(&[]).await;
    let options = HttpOptions { otlp_forward: Some(uri), compression: Compression::Gzip, ..http_options() };
    let sidecar = with(Config::default(), options).await;
    ok(&sidecar, PROTOBUF, export((0..50).map(record).collect()).encode_to_vec()).await;
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&*hop.last()).read_to_end(&mut plain).unwrap();
    assert_eq!(records(&ExportRequest::decode(&*plain).unwrap()).len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_of_our_names_are_replaced_kept_or_renamed() {
    let old = || LogRecord {
        attributes: vec![attribute("anomaly.score", "old"), attribute("a", "b"), attribute("log.record.template", "t")],
        ..record(1)
    };
    let old_json = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "a b"}, "attributes": [
        {"key": "anomaly.score", "value": {"stringValue": "old"}}, {"key": "a", "value": {"stringValue": "b"}}]}]}]}]});
    for on_existing in [OnExisting::Replace, OnExisting::Keep, OnExisting::Rename] {
        let (hop, uri) = Hop::start(&[]).await;
        let sidecar = sidecar(Config { on_existing, ..Config::default() }, Some(uri)).await;
        ok(&sidecar, PROTOBUF, export(vec![old()]).encode_to_vec()).await;
        let got = ExportRequest::decode(hop.last()).unwrap();
        let got = records(&got)[0];
        ok(&sidecar, JSON, old_json.to_string()).await;
        let json: Json = serde_json::from_slice(&hop.last()).unwrap();
        let list = json["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["attributes"].as_array().unwrap();
        let scores: Vec<_> = list.iter().filter(|entry| entry["key"] == "anomaly.score").collect();
        assert_eq!((value(got, "a").is_some(), scores.len()), (true, 1), "{on_existing:?}");
        let is_ours = matches!(value(got, "anomaly.score"), Some(Any::Double(_)));
        assert_eq!(is_ours, on_existing != OnExisting::Keep);
        assert_eq!(scores[0]["value"]["doubleValue"].is_number(), is_ours);
        let moved = value(got, "anomaly.score_original");
        assert_eq!(moved.is_some(), on_existing == OnExisting::Rename, "{got:?}");
        assert_eq!(list.iter().any(|entry| entry["key"] == "anomaly.score_original"), moved.is_some());
    }
}

/// What a small service says in a second: a heartbeat, as long as it has one, and a query.
fn second(s: u64, has_heartbeat: bool) -> Vec<LogRecord> {
    let at = |text_of: String, nanos| LogRecord {
        time_unix_nano: (1_700_000_000 + s) * 1_000_000_000 + nanos,
        body: text(&text_of),
        attributes: vec![attribute("host", "a")],
        ..LogRecord::default()
    };
    let heartbeat = has_heartbeat.then(|| at(format!("heartbeat {s} ok"), 0));
    heartbeat.into_iter().chain([at(format!("query took {}ms", 10 + s * 7 % 20), 300_000_000)]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fell_silent_goes_on_as_a_record_of_oddlines_own() {
    let (hop, uri) = Hop::start(&[]).await;
    let config = Config::from_str(r#"{"time": "event", "learning_events": 4000}"#, Format::Json, "test").unwrap();
    let sidecar = sidecar(config, Some(uri)).await;
    let seconds: Vec<_> = (0..5_100).map(|s| second(s, s < 5_000)).collect();
    for batch in seconds.chunks(500) {
        ok(&sidecar, PROTOBUF, export(batch.concat()).encode_to_vec()).await;
    }
    assert!(sidecar.end().await.drained);
    let got = hop.got.lock().unwrap();
    let requests: Vec<_> = got.iter().map(|(_, body)| ExportRequest::decode(body.clone()).unwrap()).collect();
    let all: Vec<_> = requests.iter().flat_map(records).collect();
    let own: Vec<_> =
        all.iter().filter(|record| value(record, "anomaly.synthetic") == Some(&Any::Bool(true))).collect();
    assert_eq!((own.len(), all.len()), (1, seconds.iter().map(Vec::len).sum::<usize>() + 1));
    assert_eq!(own[0].body, text("oddline: expected and not seen on host=a: heartbeat <*> ok"));
    assert!(own[0].attributes.contains(&attribute("host", "a")), "{own:?}");
    assert!(own[0].time_unix_nano / 1_000_000_000 >= 1_700_005_000, "{own:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_with_a_status_and_teach_nothing() {
    let (hop, uri) = Hop::start(&[]).await;
    let sidecar = sidecar(Config::default(), Some(uri)).await;
    let whole = export((0..3).map(record).collect()).encode_to_vec();
    let deep = format!(r#"{{"resourceLogs":{}{}}}"#, "[".repeat(1_000), "]".repeat(1_000));
    for (content_type, body) in [
        (PROTOBUF, Bytes::from_static(b"\xff\xff\xff\xff")),
        (PROTOBUF, Bytes::from(whole[..whole.len() - 3].to_vec())),
        (JSON, Bytes::from_static(b"")),
        (JSON, Bytes::from_static(b"[1]")),
        (JSON, Bytes::from_static(br#"{"resourceLogs":{}}"#)),
        (JSON, Bytes::from_static(br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"}},{"attributes":[1]}]}]}]}"#)),
        (JSON, Bytes::from_static(b"{\"resourceLogs\":[\xff]}")),
        (JSON, Bytes::from(deep)),
    ] {
        let (status, answered, said) = send(&sidecar, &[("content-type", content_type)], body).await;
        assert_eq!((status, answered.as_str()), (StatusCode::BAD_REQUEST, content_type), "{said:?}");
        assert!(String::from_utf8_lossy(&said).contains("expected an ExportLogsServiceRequest"), "{said:?}");
    }
    let (status, ..) = send(&sidecar, &[("content-type", "text/plain")], "x").await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(hop.count(), 0);
    ok(&sidecar, PROTOBUF, export(vec![record(1)]).encode_to_vec()).await;
    let got = ExportRequest::decode(hop.last()).unwrap();
    let Some(Any::Array(reasons)) = value(records(&got)[0], "anomaly.reasons") else { panic!("no reasons") };
    assert_eq!(reasons.values[0].value, Some(Any::String("new_template".to_owned())), "what was refused was learned");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cut_of_a_request_is_refused_or_goes_on_and_the_sidecar_stays() {
    let (_hop, uri) = Hop::start(&[]).await;
    let sidecar = sidecar(Config::default(), Some(uri)).await;
    let whole = export(vec![record(1)]).encode_to_vec();
    for cut in 0..whole.len() {
        let (status, ..) = send(&sidecar, &[("content-type", PROTOBUF)], whole[..cut].to_vec()).await;
        assert!(status == StatusCode::OK || status == StatusCode::BAD_REQUEST, "{cut}: {status}");
    }
    ok(&sidecar, PROTOBUF, whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_requests_are_unpacked_and_packed_nonsense_is_refused() {
    let (hop, uri) = Hop::start(&[]).await;
    let sidecar = sidecar(Config::default(), Some(uri)).await;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&export(vec![record(1)]).encode_to_vec()).unwrap();
    let headers = [("content-type", PROTOBUF), ("content-encoding", "gzip")];
    assert_eq!(send(&sidecar, &headers, packed.finish().unwrap()).await.0, StatusCode::OK);
    assert_eq!(records(&ExportRequest::decode(hop.last()).unwrap()).len(), 1);
    assert_eq!(send(&sidecar, &headers, "no gzip").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_the_next_hops_and_comes_after_it() {
    // partial_success { rejected_log_records: 1, error_message: "no" }
    let partial = b"\x0a\x06\x08\x01\x12\x02no";
    let answers: [Said; 4] = [
        (StatusCode::SERVICE_UNAVAILABLE, b""),
        (StatusCode::OK, partial),
        (StatusCode::BAD_REQUEST, b""),
        (StatusCode::OK, b"OK\n"),
    ];
    let (hop, uri) = Hop::start(&answers).await;
    let first = sidecar(Config::default(), Some(uri)).await;
    let body = export(vec![record(1)]).encode_to_vec();
    assert_eq!(ok(&first, PROTOBUF, body.clone()).await, &partial[..]);
    assert_eq!(hop.count(), 2, "what was refused for now was tried again");
    assert_eq!(send(&first, &[("content-type", PROTOBUF)], body.clone()).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(hop.count(), 3, "what is refused for good is not tried again");
    assert_eq!(ok(&first, PROTOBUF, body.clone()).await, Bytes::new(), "no protobuf is passed for one");
    assert_eq!(figure(&first, "oddline_serve_events_rejected_total").await, 1);
    // Nobody is there: the sender is told to come again.
    let nobody = sidecar(Config::default(), Some("http://127.0.0.1:1/v1/logs".to_owned())).await;
    let (status, _, said) = send(&nobody, &[("content-type", JSON)], r#"{"resourceLogs":[]}"#).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(serde_json::from_slice::<Json>(&said).unwrap()["code"], 14);
    // Nowhere to go.
    let without = sidecar(Config::default(), None).await;
    assert_eq!(send(&without, &[("content-type", JSON)], "{}").await.0, StatusCode::NOT_FOUND);
    let wrong = HttpOptions { otlp_forward: Some("127.0.0.1:4318".to_owned()), ..http_options() };
    let refused = Sidecar::refused(Config::default(), Options { http: Some(wrong), ..Options::default() }).await;
    assert!(refused.contains("http.otlp_forward: expected http://host:port/path"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_grow_too_large_are_refused_with_the_limit_and_go_nowhere() {
    let (hop, uri) = Hop::start(&[]).await;
    let limit = HttpOptions { otlp_forward: Some(uri), max_scored_bytes: 600_000, ..http_options() };
    let sidecar = with(Config::default(), limit).await;
    let json = |records: usize| {
        let records = vec![json!({"body": {"stringValue": "a b"}}); records];
        json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string()
    };
    let protobuf = |n| Bytes::from(export((0..n).map(record).collect()).encode_to_vec());
    for (content_type, body) in [(PROTOBUF, protobuf(2_500)), (JSON, json(4_000).into())] {
        assert!(body.len() < 600_000);
        let (status, answered, said) = send(&sidecar, &[("content-type", content_type)], body).await;
        assert_eq!((status, answered.as_str()), (StatusCode::PAYLOAD_TOO_LARGE, content_type));
        assert!(String::from_utf8_lossy(&said).contains("max_scored_bytes"), "{said:?}");
    }
    assert_eq!((hop.count(), figure(&sidecar, "oddline_serve_requests_refused_total").await), (0, 2));
    ok(&sidecar, PROTOBUF, protobuf(700)).await;
    assert!(hop.last().len() <= 600_000);
    ok(&sidecar, JSON, json(500)).await;
    assert!(hop.last().len() <= 600_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_several_parts_and_resources_come_back_in_their_places() {
    let (hop, uri) = Hop::start(&[]).await;
    let http = HttpOptions { otlp_forward: Some(uri), ..http_options() };
    let sidecar = with(Config { partition_by: vec!["service".to_owned()], ..Config::default() }, http).await;
    let logs = |service: usize| {
        let mut logs = export((service * 700..(service + 1) * 700).map(record).collect()).resource_logs.remove(0);
        logs.resource = Some(Resource { attributes: vec![attribute("service.name", &format!("s{service}"))] });
        logs
    };
    let sent = ExportRequest { resource_logs: (0..5).map(logs).collect(), future: "kept".to_owned() };
    ok(&sidecar, PROTOBUF, sent.encode_to_vec()).await;
    let mut got = ExportRequest::decode(hop.last()).unwrap();
    assert!(records(&got).iter().all(|record| value(record, "anomaly.score").is_some()));
    for scope in got.resource_logs.iter_mut().flat_map(|logs| &mut logs.scope_logs) {
        scope.log_records.iter_mut().for_each(|record| record.attributes.truncate(1));
    }
    assert_eq!(got, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_request_of_records_does_not_wait_for_all_of_a_large_one() {
    let (_hop, uri) = Hop::start(&[]).await;
    let sidecar = with(Config::default(), HttpOptions { otlp_forward: Some(uri), ..http_options() }).await;
    let large = export((0..60_000).map(record).collect()).encode_to_vec();
    let (one, address) = (export(vec![record(1)]).encode_to_vec(), sidecar.http.unwrap());
    let large = tokio::spawn(async move {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let request = Request::post(format!("http://{address}/v1/logs")).header("content-type", PROTOBUF);
        client.request(request.body(Full::new(large.into())).unwrap()).await.unwrap().status()
    });
    while figure(&sidecar, "oddline_serve_requests_total").await == 0 {
        tokio::task::yield_now().await;
    }
    let (begun, mut longest) = (std::time::Instant::now(), std::time::Duration::ZERO);
    while !large.is_finished() {
        let asked = std::time::Instant::now();
        ok(&sidecar, PROTOBUF, one.clone()).await;
        longest = longest.max(asked.elapsed());
    }
    let all = begun.elapsed();
    assert!(longest * 3 < all, "a small one waited {longest:?} of the {all:?} of a large one");
    assert_eq!(large.await.unwrap(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn severity_is_the_number_or_else_the_text_and_a_field_where_one_is_named() {
    let severe = |scored: &LogRecord| matches!(value(scored, "anomaly.detectors.severity"), Some(Any::Double(nats)) if *nats > 0.0);
    for (level_field, cases) in [
        (None, [(21, "INFO", true), (9, "FATAL", false), (0, "FATAL", true), (13, "", true)]),
        (Some("severity_text"), [(21, "INFO", false), (9, "FATAL", true), (21, " ", true), (0, "", false)]),
        (Some("severity_number"), [(21, "INFO", true), (9, "FATAL", false), (99, "ERROR", true), (0, "", false)]),
    ] {
        let (hop, uri) = Hop::start(&[]).await;
        let config = Config { level_field: level_field.map(str::to_owned), fields: Fields::Full, ..Config::default() };
        let sidecar = sidecar(config, Some(uri)).await;
        for (number, text_of, expected) in cases {
            let body = text("quite a plain line");
            let one = LogRecord { severity_number: number, severity_text: text_of.to_owned(), body, ..record(1) };
            ok(&sidecar, PROTOBUF, export(vec![one]).encode_to_vec()).await;
            let got = ExportRequest::decode(hop.last()).unwrap();
            assert_eq!(severe(records(&got)[0]), expected, "{level_field:?} {number} {text_of:?}: {got:?}");
            let json = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
                {"severityNumber": number, "severityText": text_of, "body": {"stringValue": "quite a plain line"}}]}]}]});
            ok(&sidecar, JSON, json.to_string()).await;
            let got = String::from_utf8(hop.last().to_vec()).unwrap();
            let is_severe = got.contains(r#""anomaly.detectors.severity","value":{"doubleValue":"#)
                && !got.contains(r#""anomaly.detectors.severity","value":{"doubleValue":0.0}"#);
            assert_eq!(is_severe, expected, "{level_field:?} {number} {text_of:?}: {got}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_a_body_is_known_by_its_event_name() {
    let (hop, uri) = Hop::start(&[]).await;
    let sidecar = sidecar(Config::default(), Some(uri)).await;
    let body =
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"eventName":"checkout.abandoned"},{"eventName":""}]}]}]}"#;
    ok(&sidecar, JSON, body).await;
    let got: Json = serde_json::from_slice(&hop.last()).unwrap();
    let records = got["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap();
    let templates: Vec<_> = records
        .iter()
        .map(|record| {
            record["attributes"].as_array().unwrap().iter().find(|entry| entry["key"] == "log.record.template")
        })
        .collect();
    assert_eq!(templates[0].unwrap()["value"]["stringValue"], "checkout.abandoned");
    assert!(templates[1].is_none(), "{templates:?}");
    let one = [&[0x62, 18][..], b"checkout.abandoned"].concat();
    ok(&sidecar, PROTOBUF, nested(&[1, 2, 2], &one)).await;
    assert!(contains(&hop.last(), b"log.record.template"));
}

/// `bytes` as a message within messages of these numbers, the outermost first.
fn nested(numbers: &[u8], bytes: &[u8]) -> Vec<u8> {
    numbers.iter().rev().fold(bytes.to_vec(), |inner, number| {
        let mut out = vec![number << 3 | 2];
        prost::encode_length_delimiter(inner.len(), &mut out).unwrap();
        [out, inner].concat()
    })
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_of_a_record_stays_in_its_order_also_of_what_nobody_knows() {
    let (hop, uri) = Hop::start(&[]).await;
    let sidecar = sidecar(Config::default(), Some(uri)).await;
    let mut one = record(1).encode_to_vec();
    // A span id, a number that is written longer than need be, a group, and text that is no UTF-8 in an attribute.
    one.extend([0x52, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    one.extend([0x10, 0x91, 0x80, 0x00]);
    one.extend([0x9b, 0x06, 0x08, 0x01, 0x9c, 0x06]);
    one.extend(nested(&[6], &[0x0a, 1, b'k', 0x12, 3, 0x0a, 1, 0xff]));
    ok(&sidecar, PROTOBUF, nested(&[1, 2, 2], &one)).await;
    assert!(contains(&hop.last(), &one), "{:?}", hop.last());
    assert!(contains(&hop.last(), b"anomaly.score"));
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_requests_go_on_and_are_a_success() {
    let (hop, uri) = Hop::start(&[]).await;
    let sidecar = sidecar(Config::default(), Some(uri)).await;
    for (content_type, body, answer) in
        [(PROTOBUF, "", ""), (PROTOBUF, "\n\0", ""), (JSON, "{}", "{}"), (JSON, r#"{"resourceLogs":[{}]}"#, "{}")]
    {
        assert_eq!(ok(&sidecar, content_type, body).await, answer);
        assert_eq!(hop.last(), body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_key_above_many_and_maps_nested_deep_cost_neither_memory_nor_stack() {
    let (hop, uri) = Hop::start(&[]).await;
    let http = HttpOptions { otlp_forward: Some(uri), ..http_options() };
    let sidecar = with(Config::default(), http).await;
    let map = |values| Some(AnyValue { value: Some(Any::Map(Map { values })) });
    let leaf = || KeyValue { key: "k".to_owned(), value: text("v") };
    let wide = LogRecord {
        body: map(vec![KeyValue { key: "k".repeat(1 << 20), value: map((0..100_000).map(|_| leaf()).collect()) }]),
        attributes: vec![KeyValue { key: "k".repeat(1 << 20), value: map((0..100_000).map(|_| leaf()).collect()) }],
        ..record(1)
    };
    ok(&sidecar, PROTOBUF, export(vec![wide]).encode_to_vec()).await;
    assert!(contains(&hop.last(), b"anomaly.score"));
    let leaves = vec![r#"{"key":"k","value":{"stringValue":"v"}}"#; 100_000].join(",");
    let map = format!(
        r#"{{"kvlistValue":{{"values":[{{"key":"{}","value":{{"kvlistValue":{{"values":[{leaves}]}}}}}}]}}}}"#,
        "k".repeat(1 << 20)
    );
    let wide = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{map}}}]}}]}}]}}"#);
    ok(&sidecar, JSON, wide).await;
    // What goes inside under names that are looked for, as deep as it may be.
    let deep = (0..5_000).fold(vec![0x0a, 1, b'v'], |inner, _| {
        nested(&[6, 1], &[&[0x0a, 7][..], b"message", &nested(&[2], &inner)].concat())
    });
    ok(&sidecar, PROTOBUF, nested(&[1, 2, 2, 5], &deep)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_to_come_again_is_told_when_the_next_hop_wants_it() {
    let (hop, uri) = Hop::start(&[(StatusCode::TOO_MANY_REQUESTS, b"")]).await;
    let first = sidecar(Config::default(), Some(uri)).await;
    let answer = ask(&first, &[("content-type", PROTOBUF)], "").await;
    assert_eq!(
        (answer.status(), answer.headers()["retry-after"].to_str().unwrap()),
        (StatusCode::SERVICE_UNAVAILABLE, "60")
    );
    assert_eq!(hop.count(), 1, "it was asked sooner than it wants");
    let nobody = sidecar(Config::default(), Some("http://127.0.0.1:1/v1/logs".to_owned())).await;
    let answer = ask(&nobody, &[("content-type", PROTOBUF)], "").await;
    assert_eq!(
        (answer.status(), answer.headers()["retry-after"].to_str().unwrap()),
        (StatusCode::SERVICE_UNAVAILABLE, "1")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_too_slow_may_send_it_again() {
    let (_hop, uri) = Hop::start(&[]).await;
    let http = HttpOptions { otlp_forward: Some(uri), receive_timeout_secs: 1, ..http_options() };
    let sidecar = with(Config::default(), http).await;
    let mut slow = TcpStream::connect(sidecar.http.unwrap()).await.unwrap();
    let head =
        format!("POST /v1/logs HTTP/1.1\r\nhost: localhost\r\ncontent-type: {PROTOBUF}\r\ncontent-length: 9\r\n\r\n");
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(std::str::from_utf8(&answer).unwrap(), "HTTP/1.1 503");
}
