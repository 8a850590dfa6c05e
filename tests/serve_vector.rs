//! The sidecar between a `vector` sink and a `vector` source, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod serve_support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oddline::config::{Config, Format};
use oddline::plugin::conformance::{self, Adapter};
use oddline::serve::Options;
use oddline::serve::options::{Compression, Tls, VectorOptions};
use oddline::serve::vector::proto::{HealthCheckResponse, ServingStatus};
use prost::Message as _;
use serde_json::{Value as Json, json};
use serve_support::proto::{
    self, Counter, Event, EventWrapper, Kind, Log, Metadata, Metric, PushEventsRequest, Trace, Value,
};
use serve_support::{Client, NextHop, Reaction, Sidecar, tls_file, vector_options};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tonic::Code;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, ServerTlsConfig};

/// Events through a sidecar, encoded as `encode` says.
struct Through {
    runtime: Runtime,
    encode: fn(&Json) -> EventWrapper,
}

impl Adapter for Through {
    fn run(&mut self, config: &Json, events: &[Json]) -> Result<Vec<Json>, String> {
        let config = Config::from_str(&config.to_string(), Format::Json, "test").map_err(|error| error.to_string())?;
        self.runtime.block_on(async {
            let hop = NextHop::start().await;
            let sidecar = Sidecar::start(config, vector_options(hop.uri())).await;
            let client = sidecar.client().await;
            client.push(events.iter().map(self.encode).collect()).await.map_err(|status| status.to_string())?;
            drop(client);
            sidecar.end().await;
            Ok(hop.taken.events().iter().map(proto::fields).collect())
        })
    }
}

fn in_value(json: &Json) -> EventWrapper {
    // As Vector does: a dummy beside `value`, which must not count.
    let fields = BTreeMap::from([(".".to_owned(), Value { kind: Some(Kind::Null(0)) })]);
    let log = Log { fields, value: Some(proto::value(json)), ..Log::default() };
    EventWrapper { event: Some(Event::Log(log)) }
}

#[test]
fn protobuf_events_conform_to_what_every_adapter_must_do() {
    let mut adapter = Through { runtime: Runtime::new().unwrap(), encode: proto::log };
    assert_eq!(conformance::check(&mut adapter), Vec::<String>::new());
}

#[test]
fn events_whose_fields_are_in_value_conform_too() {
    let mut adapter = Through { runtime: Runtime::new().unwrap(), encode: in_value };
    assert_eq!(conformance::check(&mut adapter), Vec::<String>::new());
}

fn line(n: usize) -> EventWrapper {
    proto::log(&json!({"message": format!("request {n} took {} ms", n % 97), "n": n}))
}

fn numbers(events: &[EventWrapper]) -> Vec<i64> {
    events.iter().map(|event| proto::fields(event)["n"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_sent_one_after_another_come_out_complete_and_in_order() {
    let hop = NextHop::start().await;
    let sidecar = Sidecar::vector(hop.uri()).await;
    let client = sidecar.client().await;
    for first in (0..5_000).step_by(100) {
        client.push((first..first + 100).map(line).collect()).await.unwrap();
        assert_eq!(hop.taken.events().len(), first + 100, "answered before the next hop had it");
    }
    drop(client);
    assert!(sidecar.end().await.drained);
    assert_eq!(numbers(&hop.taken.events()), (0..5_000).collect::<Vec<_>>());
    assert!(hop.taken.events().iter().all(|event| proto::fields(event)["anomaly"]["score"].is_f64()));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_unknown_fields_metrics_and_traces_pass_as_they_are() {
    let hop = NextHop::start().await;
    let sidecar = Sidecar::vector(hop.uri()).await;
    let text = |text: &str| Value { kind: Some(Kind::RawBytes(text.as_bytes().to_vec())) };
    let metadata = Metadata { value: Some(text("m")), source_id: Some("s".to_owned()), source_event_id: vec![7; 16] };
    let fields =
        BTreeMap::from([("message".to_owned(), Value { kind: Some(Kind::RawBytes(b"caf\xe9 \xff 1".to_vec())) })]);
    let log = Log { fields, metadata: Some(text("old")), metadata_full: Some(metadata), value: None };
    let metric = Metric { name: "m".to_owned(), kind: 1, counter: Some(Counter { value: 1.5 }) };
    let events = [
        EventWrapper { event: Some(Event::Log(log.clone())) },
        EventWrapper { event: Some(Event::Metric(metric)) },
        EventWrapper { event: Some(Event::Trace(Trace { fields: log.fields.clone() })) },
        EventWrapper { event: None },
    ];
    let mut request = PushEventsRequest { events: events.to_vec() }.encode_to_vec();
    // Field 1000, a text, that no version we know has.
    request.extend_from_slice(&[0xc2, 0x3e, 3, b'n', b'e', b'w']);
    sidecar.client().await.raw(request).await.unwrap();
    let got = hop.taken.events();
    assert_eq!(got[1..], events[1..]);
    let Some(Event::Log(mut got)) = got[0].event.clone() else { panic!("{got:?}") };
    assert!(matches!(got.fields.remove("anomaly").unwrap().kind, Some(Kind::Map(_))));
    assert_eq!(got, log);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_no_map_passes_as_it_is() {
    let hop = NextHop::start().await;
    let sidecar = Sidecar::vector(hop.uri()).await;
    let event = in_value(&json!("just text"));
    sidecar.client().await.push(vec![event.clone()]).await.unwrap();
    assert_eq!(hop.taken.events(), [event]);
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_timestamps_are_read() {
    let hop = NextHop::start().await;
    let config = Config::from_str("{\"time\":\"event\",\"fields\":\"full\"}", Format::Json, "test").unwrap();
    let sidecar = Sidecar::start(config, vector_options(hop.uri())).await;
    let mut fields = proto::values(json!({"message": "a"}).as_object().unwrap());
    let time = proto::Timestamp { seconds: 1_714_979_289, nanos: 123_456_789 };
    fields.insert("timestamp".to_owned(), Value { kind: Some(Kind::Timestamp(time)) });
    let log = Log { fields, ..Log::default() };
    sidecar.client().await.push(vec![EventWrapper { event: Some(Event::Log(log)) }]).await.unwrap();
    let event = proto::fields(&hop.taken.events()[0]);
    assert_eq!(&event["anomaly"]["event_id"].as_str().unwrap()[..12], format!("{:012x}", 1_714_979_289_123_u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_and_what_goes_may_be_compressed() {
    let mut sizes = Vec::new();
    for (compression, encoding) in [
        (Compression::None, None),
        (Compression::Gzip, Some(CompressionEncoding::Gzip)),
        (Compression::Zstd, Some(CompressionEncoding::Zstd)),
    ] {
        let hop = NextHop::start().await;
        let mut options = vector_options(hop.uri());
        options.vector.as_mut().unwrap().compression = compression;
        let sidecar = Sidecar::start(Config::default(), options).await;
        let mut client = sidecar.client().await;
        if let Some(encoding) = encoding {
            client.0 = client.0.send_compressed(encoding);
        }
        client.push((0..1_000).map(line).collect()).await.unwrap();
        assert_eq!(numbers(&hop.taken.events()), (0..1_000).collect::<Vec<_>>());
        sizes.push(hop.taken.bytes.load(Ordering::SeqCst));
    }
    assert_eq!(sizes[0], sizes[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_checks_are_answered_and_unknown_calls_refused() {
    let hop = NextHop::start().await;
    let sidecar = Sidecar::vector(hop.uri()).await;
    let client = sidecar.client().await;
    let answer = client.call("/vector.Vector/HealthCheck", Bytes::new()).await.unwrap();
    assert_eq!(HealthCheckResponse::decode(answer).unwrap().status, ServingStatus::Serving as i32);
    let refused = client.call("/vector.Vector/Other", Bytes::new()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_hop_that_fails_for_a_while_gets_everything_once_and_in_order() {
    let hop = NextHop::behaving(Arc::new(|number| match number {
        3..6 => Reaction::Refuse(Code::Unavailable),
        _ => Reaction::Take,
    }))
    .await;
    let sidecar = Sidecar::vector(hop.uri()).await;
    let client = sidecar.client().await;
    for n in 0..20 {
        client.push(vec![line(n)]).await.unwrap();
    }
    assert_eq!(numbers(&hop.taken.events()), (0..20).collect::<Vec<_>>());
    assert_eq!(hop.taken.attempts.load(Ordering::SeqCst), 23);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_hop_that_comes_up_late_gets_what_waited() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let sidecar = Sidecar::vector(format!("http://{address}")).await;
    let client = sidecar.client().await;
    let waiting = tokio::spawn(async move { client.push(vec![line(1)]).await });
    // Long enough for an attempt to fail; the push waits however long it is.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    let hop = NextHop::on(TcpListener::bind(address).await.unwrap(), Arc::new(|_| Reaction::Take), None);
    waiting.await.unwrap().unwrap();
    assert_eq!(numbers(&hop.taken.events()), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_next_hop_refuses_for_good_is_answered_so_at_once() {
    let hop = NextHop::behaving(Arc::new(|_| Reaction::Refuse(Code::DataLoss))).await;
    let sidecar = Sidecar::vector(hop.uri()).await;
    let refused = sidecar.client().await.push(vec![line(1)]).await.unwrap_err();
    assert_eq!(refused.code(), Code::DataLoss);
    assert!(refused.message().contains("next hop") && refused.message().contains("as the test says"), "{refused}");
    assert_eq!(hop.taken.attempts.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_hop_that_never_answers_ends_in_unavailable() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = vector_options(format!("http://{}", silent.local_addr().unwrap()));
    options.vector.as_mut().unwrap().request_timeout_secs = 1;
    let sidecar = Sidecar::start(Config::default(), options).await;
    let begun = Instant::now();
    let refused = sidecar.client().await.push(vec![line(1)]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_hop_that_answers_garbage_ends_in_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n\xff\xff\xff garbage").await;
        }
    });
    let mut options = vector_options(format!("http://{address}"));
    options.vector.as_mut().unwrap().request_timeout_secs = 1;
    let sidecar = Sidecar::start(Config::default(), options).await;
    let refused = sidecar.client().await.push(vec![line(1)]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_refused_with_its_place_and_the_sidecar_goes_on() {
    let hop = NextHop::start().await;
    let sidecar = Sidecar::vector(hop.uri()).await;
    let client = sidecar.client().await;
    for (garbage, expected) in [
        (&b"\x0a\xff\xff\xff\xff\x0f"[..], "request: no protobuf message"),
        (b"\x0a\x02\x0a\x05", "event 0 of the request"),
        (b"\x0a\x00\x0a\x04\x0a\x02\x0a\x09", "event 1 of the request"),
        (b"\x0b", "request: no protobuf message"),
    ] {
        let refused = client.raw(garbage).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(expected), "{refused}");
    }
    let mut stream = TcpStream::connect(sidecar.vector.unwrap()).await.unwrap();
    stream.write_all(&[0xff; 4096]).await.unwrap();
    client.push(vec![line(1)]).await.unwrap();
    assert_eq!(numbers(&hop.taken.events()), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_large_is_refused_with_the_limits_name() {
    let hop = NextHop::start().await;
    let mut options = vector_options(hop.uri());
    options.vector.as_mut().unwrap().max_message_bytes = 1 << 20;
    let sidecar = Sidecar::start(Config::default(), options).await;
    let plain = sidecar.client().await;
    let packed = Client(plain.0.clone().send_compressed(CompressionEncoding::Zstd));
    let big = proto::log(&json!({"message": "x".repeat(100 << 20)}));
    for client in [&plain, &packed] {
        let refused = client.push(vec![big.clone()]).await.unwrap_err();
        // Vector's sink does not send again what was refused with this code.
        assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
        assert!(
            refused.message().contains("1048576 bytes") && refused.message().contains("max_message_bytes"),
            "{refused}"
        );
    }
    plain.push(vec![line(1)]).await.unwrap();
    assert_eq!(numbers(&hop.taken.events()), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_request_is_scored_in_parts_and_one_with_too_many_events_is_refused() {
    let hop = NextHop::start().await;
    let mut options = vector_options(hop.uri());
    let vector = options.vector.as_mut().unwrap();
    (vector.max_events, vector.max_scored_bytes) = (3_500, 2 << 20);
    let sidecar = Sidecar::start(Config::default(), options).await;
    let client = sidecar.client().await;
    let refused = client.push((0..3_501).map(line).collect()).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    assert!(refused.message().contains("at most 3500 events (max_events), found 3501"), "{refused}");
    client.push((0..3_500).map(line).collect()).await.unwrap();
    assert_eq!(numbers(&hop.taken.events()), (0..3_500).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_are_under_way_than_permits_and_none_is_lost() {
    let hop = NextHop::behaving(Arc::new(|_| Reaction::Slow(Duration::from_millis(5)))).await;
    let mut options = vector_options(hop.uri());
    options.vector.as_mut().unwrap().concurrency = 3;
    let sidecar = Sidecar::start(Config::default(), options).await;
    let client = sidecar.client().await;
    let pushes: Vec<_> = (0..200)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.push(vec![line(n)]).await })
        })
        .collect();
    for push in pushes {
        push.await.unwrap().unwrap();
    }
    let mut got = numbers(&hop.taken.events());
    got.sort_unstable();
    assert_eq!(got, (0..200).collect::<Vec<_>>());
    let most = hop.taken.most_under_way.load(Ordering::SeqCst);
    assert!((2..=3).contains(&most), "{most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_stops_sending_gives_its_permit_back() {
    let hop = NextHop::start().await;
    let mut options = vector_options(hop.uri());
    let vector = options.vector.as_mut().unwrap();
    (vector.concurrency, vector.receive_timeout_secs) = (1, 1);
    let sidecar = Sidecar::start(Config::default(), options).await;
    // A request whose body never ends: preface, settings, and headers without the end of the stream.
    let mut slow = TcpStream::connect(sidecar.vector.unwrap()).await.unwrap();
    let mut frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00".to_vec();
    let path = b"/vector.Vector/PushEvents";
    let mut block = vec![0x83, 0x86, 0x41, 1, b'x', 0x04, path.len() as u8];
    block.extend_from_slice(path);
    block.extend_from_slice(b"\x0f\x10\x10application/grpc");
    frames.extend_from_slice(&[0, 0, block.len() as u8, 1, 4, 0, 0, 0, 1]);
    frames.extend_from_slice(&block);
    slow.write_all(&frames).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    sidecar.client().await.push(vec![line(1)]).await.unwrap();
    assert!(begun.elapsed() > Duration::from_millis(200), "the slow one held no permit: {:?}", begun.elapsed());
    assert_eq!(numbers(&hop.taken.events()), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_resets_in_mid_request_disturbs_nobody() {
    let gate = Arc::new(Notify::new());
    let waits = Arc::clone(&gate);
    let hop =
        NextHop::behaving(Arc::new(
            move |number| {
                if number == 0 { Reaction::Wait(Arc::clone(&waits)) } else { Reaction::Take }
            },
        ))
        .await;
    let mut options = vector_options(hop.uri());
    options.vector.as_mut().unwrap().concurrency = 1;
    let sidecar = Sidecar::start(Config::default(), options).await;
    let gone = sidecar.client().await;
    let reset = tokio::spawn(async move { gone.push(vec![line(0)]).await });
    while hop.taken.attempts.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    reset.abort();
    sidecar.client().await.push(vec![line(1)]).await.unwrap();
    assert_eq!(numbers(&hop.taken.events()), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_requests_under_way_and_saves_what_was_learned() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().join("state")), ..Config::default() };
    let gate = Arc::new(Notify::new());
    let waits = Arc::clone(&gate);
    let hop = NextHop::behaving(Arc::new(move |_| Reaction::Wait(Arc::clone(&waits)))).await;
    let sidecar = Sidecar::start(config.clone(), vector_options(hop.uri())).await;
    let client = sidecar.client().await;
    let address = sidecar.vector.unwrap();
    let push = tokio::spawn(async move { client.push((0..100).map(line).collect()).await });
    while hop.taken.attempts.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let ending = sidecar.stop();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!ending.is_finished() && !push.is_finished());
    gate.notify_one();
    push.await.unwrap().unwrap();
    assert!(ending.await.unwrap().unwrap().drained);
    assert_eq!(hop.taken.events().len(), 100);

    let engine = oddline::Engine::open(&config, oddline::Environment::system()).unwrap();
    assert_eq!(engine.stats().events_total, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_in_time_whatever_the_next_hop_does() {
    let hop = NextHop::behaving(Arc::new(|_| Reaction::Slow(Duration::from_secs(600)))).await;
    let sidecar = Sidecar::start(Config::default(), Options { shutdown_secs: 1, ..vector_options(hop.uri()) }).await;
    let client = sidecar.client().await;
    let push = tokio::spawn(async move { client.push(vec![line(1)]).await });
    while hop.taken.attempts.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    assert!(!sidecar.end().await.drained);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    push.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_delay_a_stop() {
    let hop = NextHop::start().await;
    let sidecar = Sidecar::vector(hop.uri()).await;
    let idle = sidecar.client().await;
    idle.push(vec![line(1)]).await.unwrap();
    let begun = Instant::now();
    assert!(sidecar.end().await.drained);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(idle.push(vec![line(2)]).await.is_err());
}

/// What a small service says in a second: a heartbeat, as long as it has one, and a query.
fn second(s: i64, has_heartbeat: bool) -> Vec<EventWrapper> {
    let event = |message: String, nanos| {
        let mut fields = proto::values(json!({"host": "a", "log": {"text": message}}).as_object().unwrap());
        let time = proto::Timestamp { seconds: 1_700_000_000 + s, nanos };
        fields.insert("timestamp".to_owned(), Value { kind: Some(Kind::Timestamp(time)) });
        EventWrapper { event: Some(Event::Log(Log { fields, ..Log::default() })) }
    };
    let heartbeat = has_heartbeat.then(|| event(format!("heartbeat {s} ok"), 0));
    heartbeat.into_iter().chain([event(format!("query took {}ms", 10 + s * 7 % 20), 300_000_000)]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fell_silent_goes_on_as_an_event_of_oddlines_own_before_the_end() {
    let hop = NextHop::start().await;
    let config = r#"{"time": "event", "learning_events": 4000, "message_field": "log.text"}"#;
    let config = Config::from_str(config, Format::Json, "test").unwrap();
    let sidecar = Sidecar::start(config, vector_options(hop.uri())).await;
    let client = sidecar.client().await;
    let seconds: Vec<_> = (0..5_000).map(|s| second(s, true)).chain((5_000..5_100).map(|s| second(s, false))).collect();
    for request in seconds.chunks(500) {
        client.push(request.concat()).await.unwrap();
    }
    drop(client);
    assert!(sidecar.end().await.drained);
    let events = hop.taken.events();
    let own: Vec<_> =
        events.iter().map(proto::fields).filter(|event| event["anomaly"]["synthetic"] == json!(true)).collect();
    assert_eq!(events.len(), seconds.iter().map(Vec::len).sum::<usize>() + own.len());
    assert_eq!(own.len(), 1, "{own:?}");
    assert_eq!(own[0]["log"]["text"], "oddline: expected and not seen on host=a: heartbeat <*> ok");
    assert_eq!(own[0]["host"], "a");
    assert_eq!(own[0]["anomaly"]["reasons"], json!(["silence"]));
    assert!(own[0]["timestamp"].as_str().unwrap().starts_with("17000050"), "{own:?}");
}

fn tls(name: &str) -> Tls {
    let file = |end: &str| Some(tls_file(&format!("{name}.{end}")));
    Tls { ca_file: Some(tls_file("ca.pem")), crt_file: file("pem"), key_file: file("key"), ..Tls::default() }
}

fn pem(name: &str) -> Vec<u8> {
    std::fs::read(tls_file(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_only_clients_of_the_authority_get_in_and_the_next_hop_is_checked() {
    let identity = |name: &str| Identity::from_pem(pem(&format!("{name}.pem")), pem(&format!("{name}.key")));
    let ca = || Certificate::from_pem(pem("ca.pem"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let secured = ServerTlsConfig::new().identity(identity("server")).client_ca_root(ca());
    let hop = NextHop::on(listener, Arc::new(|_| Reaction::Take), Some(secured));
    let vector = VectorOptions {
        listen: "127.0.0.1:0".to_owned(),
        forward: format!("https://{}", hop.address),
        request_timeout_secs: 2,
        tls: Some(Tls { verify_certificate: Some(true), ..tls("server") }),
        forward_tls: Some(Tls { server_name: Some("localhost".to_owned()), ..tls("client") }),
        ..VectorOptions::default()
    };
    let sidecar =
        Sidecar::start(Config::default(), Options { vector: Some(vector), http: None, ..Options::default() }).await;
    let connect = async |tls: ClientTlsConfig| {
        let endpoint = Endpoint::from_shared(format!("https://{}", sidecar.vector.unwrap())).unwrap();
        let channel =
            endpoint.tls_config(tls.domain_name("localhost")).unwrap().connect().await.map_err(|e| e.to_string())?;
        Client(Grpc::new(channel)).push(vec![line(1)]).await.map_err(|status| status.to_string())
    };
    connect(ClientTlsConfig::new().ca_certificate(ca()).identity(identity("client"))).await.unwrap();
    connect(ClientTlsConfig::new().ca_certificate(ca())).await.unwrap_err();
    connect(ClientTlsConfig::new().ca_certificate(ca()).identity(identity("stranger"))).await.unwrap_err();
    assert_eq!(numbers(&hop.taken.events()), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_lanes_lose_nothing() {
    let hop = NextHop::start().await;
    let sidecar = Sidecar::start(Config::default(), Options { lanes: 3, ..vector_options(hop.uri()) }).await;
    let pushes: Vec<_> = (0..60)
        .map(|n| {
            let address = sidecar.vector.unwrap();
            tokio::spawn(
                async move { Client::connect(address).await.push((n * 50..n * 50 + 50).map(line).collect()).await },
            )
        })
        .collect();
    for push in pushes {
        push.await.unwrap().unwrap();
    }
    let mut got = numbers(&hop.taken.events());
    got.sort_unstable();
    assert_eq!(got, (0..3_000).collect::<Vec<_>>());
    assert!(sidecar.end().await.drained);
}
