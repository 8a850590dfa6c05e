//! How many events a second go through the sidecar: `cargo bench --features serve --bench serve`.
//!
//! A client sends requests of 1,000 events over loopback, the sidecar scores them and sends them on to a next hop that
//! only takes them. All three share the machine and this process; what is printed is for all of them together. By way: the
//! protocol of Vector, JSON over HTTP, and OTLP over HTTP as protobuf and as JSON, each in and out.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/serve_support/mod.rs"]
mod serve_support;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use oddline::config::Config;
use oddline::serve::Options;
use oddline::serve::options::HttpOptions;
use prost::Message as _;
use serde_json::json;
use serve_support::otlp::{ExportRequest, LogRecord, Resource, ResourceLogs, ScopeLogs, attribute, text};
use serve_support::proto::{self, EventWrapper, PushEventsRequest};
use serve_support::{NextHop, Sidecar, http_options, vector_options};
use tokio::net::TcpListener;

const EVENTS: usize = 1_000;
/// Different requests; they come again and again.
const REQUESTS: usize = 64;
const SECONDS: u64 = 5;

/// What is sent.
#[derive(Clone, Copy, Debug)]
enum Way {
    Vector,
    Ndjson,
    OtlpProtobuf,
    OtlpJson,
}

impl Way {
    fn request(self, number: usize) -> Bytes {
        let events = number * EVENTS..(number + 1) * EVENTS;
        match self {
            Self::Vector => PushEventsRequest { events: events.map(event).collect() }.encode_to_vec().into(),
            Self::Ndjson => events.map(|n| format!("{}\n", fields(n))).collect::<String>().into(),
            Self::OtlpProtobuf => export(events.map(record).collect()).encode_to_vec().into(),
            Self::OtlpJson => {
                let records: Vec<_> = events.map(record_json).collect();
                let resource = json!({"attributes": [attribute_json("host.name", "web-1.example")]});
                json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]})
                    .to_string()
                    .into()
            }
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Vector => "application/grpc",
            Self::Ndjson => "application/x-ndjson",
            Self::OtlpProtobuf => "application/x-protobuf",
            Self::OtlpJson => "application/json",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Vector | Self::Ndjson => "/v1/score",
            Self::OtlpProtobuf | Self::OtlpJson => "/v1/logs",
        }
    }
}

fn line(n: usize) -> String {
    match n % 8 {
        0 => format!("10.0.{}.{} - - \"GET /api/v1/items/{n} HTTP/1.1\" 200 {}", n % 200, n % 250, n * 7 % 9_000),
        1 => format!("user {n} logged in from 192.168.{}.{}", n % 200, n % 250),
        2 => format!("connection {n} to db-{} closed after {} ms", n % 9, n % 997),
        3 => format!("cache miss for key session:{n:08x}, loading from store"),
        4 => format!("worker-{} finished job {n} in {}.{} s", n % 16, n % 60, n % 10),
        5 => format!("WARN retry {} of request {n}: upstream answered 503", n % 3),
        6 => format!("blk_{n} replicated to 10.251.{}.{}:50010", n % 200, n % 250),
        _ => format!("gc pause {} ms, heap {} MB of 4096 MB", n % 90, n % 4_096),
    }
}

/// As Vector's file source makes them.
fn event(n: usize) -> EventWrapper {
    proto::log(&fields(n))
}

/// The same as JSON.
fn fields(n: usize) -> serde_json::Value {
    json!({
        "message": line(n), "host": "web-1.example", "file": "/var/log/app/current.log", "source_type": "file",
        "timestamp": "2026-01-02T03:04:05.678901Z",
    })
}

const NANOS: u64 = 1_767_323_045_678_901_000;

/// As a Collector's filelog receiver makes them.
fn record(n: usize) -> LogRecord {
    let attributes = vec![attribute("log.file.path", "/var/log/app/current.log")];
    LogRecord { time_unix_nano: NANOS, body: text(&line(n)), attributes, ..LogRecord::default() }
}

fn export(log_records: Vec<LogRecord>) -> ExportRequest {
    let resource = Some(Resource { attributes: vec![attribute("host.name", "web-1.example")] });
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportRequest {
        resource_logs: vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }],
        ..ExportRequest::default()
    }
}

fn record_json(n: usize) -> serde_json::Value {
    let attributes = [attribute_json("log.file.path", "/var/log/app/current.log")];
    json!({"timeUnixNano": NANOS.to_string(), "body": {"stringValue": line(n)}, "attributes": attributes})
}

fn attribute_json(key: &str, value: &str) -> serde_json::Value {
    json!({"key": key, "value": {"stringValue": value}})
}

type Sent = Pin<Box<dyn Future<Output = ()> + Send>>;
/// Sends a request and waits for its answer.
type Sender = Arc<dyn Fn(Bytes) -> Sent + Send + Sync>;

async fn send_all(send: Sender, requests: Arc<Vec<Bytes>>, next: Arc<AtomicUsize>, end: Instant) {
    while Instant::now() < end {
        let number = next.fetch_add(1, Ordering::Relaxed);
        send(requests[number % requests.len()].clone()).await;
    }
}

/// An HTTP server that takes whatever is posted; where it listens.
async fn taking_http() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(|body: Bytes| async move { drop(body) });
    tokio::spawn(async move { axum::serve(listener, router.layer(axum::extract::DefaultBodyLimit::disable())).await });
    uri
}

async fn http(way: Way, config: Config, lanes: usize) -> (Sidecar, Sender) {
    let forward = format!("{}{}", taking_http().await, way.path());
    let otlp = matches!(way, Way::OtlpProtobuf | Way::OtlpJson);
    let (forward, otlp_forward) = if otlp { (None, Some(forward)) } else { (Some(forward), None) };
    let options = HttpOptions { forward, otlp_forward, ..http_options() };
    let sidecar = Sidecar::start(config, Options { lanes, http: Some(options), ..Options::default() }).await;
    let uri = format!("http://{}{}", sidecar.http.unwrap(), way.path());
    let client: HttpClient<_, Full<Bytes>> = HttpClient::builder(TokioExecutor::new()).build_http();
    let send = move |body: Bytes| -> Sent {
        let request = Request::post(&uri).header("content-type", way.content_type()).body(Full::new(body)).unwrap();
        let client = client.clone();
        Box::pin(async move {
            let answer = client.request(request).await.unwrap();
            assert!(answer.status().is_success(), "{}", answer.status());
            answer.into_body().collect().await.unwrap();
        })
    };
    (sidecar, Arc::new(send))
}

/// Also the next hop, which goes when it is dropped.
async fn vector(config: Config, lanes: usize) -> (NextHop, Sidecar, Sender) {
    let hop = NextHop::taking().await;
    let sidecar = Sidecar::start(config, Options { lanes, ..vector_options(hop.uri()) }).await;
    let client = sidecar.client().await;
    let send = move |body: Bytes| -> Sent {
        let client = client.clone();
        Box::pin(async move { client.raw(body).await.unwrap() })
    };
    (hop, sidecar, Arc::new(send))
}

/// Processor time of this process so far, in seconds (proc_pid_stat(5), fields 14 and 15, in hundredths).
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = stat.rsplit_once(") ").unwrap().1;
    let ticks: f64 = behind_name.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

async fn measure(way: Way, requests: &Arc<Vec<Bytes>>, senders: usize, lanes: usize, data_dir: bool) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: data_dir.then(|| dir.path().join("state")), ..Config::default() };
    let (_hop, sidecar, send) = match way {
        Way::Vector => {
            let (hop, sidecar, send) = vector(config, lanes).await;
            (Some(hop), sidecar, send)
        }
        _ => {
            let (sidecar, send) = http(way, config, lanes).await;
            (None, sidecar, send)
        }
    };
    let next = Arc::new(AtomicUsize::new(0));
    let (begun, cpu) = (Instant::now(), cpu_secs());
    let end = begun + Duration::from_secs(SECONDS);
    let sending: Vec<_> = (0..senders)
        .map(|_| tokio::spawn(send_all(Arc::clone(&send), Arc::clone(requests), Arc::clone(&next), end)))
        .collect();
    for sender in sending {
        sender.await.unwrap();
    }
    let events = (next.load(Ordering::Relaxed) * EVENTS) as f64;
    let (rate, cpu_micros) = (events / begun.elapsed().as_secs_f64(), (cpu_secs() - cpu) * 1e6 / events);
    let kept = if data_dir { "data dir" } else { "memory" };
    println!(
        "{way:?}, {senders} requests under way, {lanes} lane, {kept}: {rate:.0} events/s, {cpu_micros:.2} µs of CPU an event"
    );
    drop(send);
    sidecar.end().await;
}

#[tokio::main]
async fn main() {
    for way in [Way::Vector, Way::Ndjson, Way::OtlpProtobuf, Way::OtlpJson] {
        let requests = Arc::new((0..REQUESTS).map(|number| way.request(number)).collect::<Vec<_>>());
        let bytes: usize = requests.iter().map(Bytes::len).sum();
        println!("{way:?}: {} bytes an event", bytes / REQUESTS / EVENTS);
        let more: &[_] = if matches!(way, Way::Vector) { &[(8, 1, true), (4, 2, true), (4, 1, false)] } else { &[] };
        for (senders, lanes, data_dir) in [(1, 1, true), (4, 1, true)].iter().chain(more) {
            measure(way, &requests, *senders, *lanes, *data_dir).await;
        }
    }
}
