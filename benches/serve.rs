//! How many events a second go through the sidecar: `cargo bench --features serve --bench serve`.
//!
//! A client pushes requests of 1,000 events over loopback, the sidecar scores them and pushes them on to a next hop that
//! only takes them. All three share the machine and this process; what is printed is for all of them together.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/serve_support/mod.rs"]
mod serve_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use oddline::config::Config;
use oddline::serve::Options;
use prost::Message as _;
use serde_json::json;
use serve_support::proto::{self, EventWrapper, PushEventsRequest};
use serve_support::{Client, NextHop, Sidecar, vector_options};

const EVENTS: usize = 1_000;
/// Different requests; they come again and again.
const REQUESTS: usize = 64;
const SECONDS: u64 = 5;

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
    proto::log(&json!({
        "message": line(n), "host": "web-1.example", "file": "/var/log/app/current.log", "source_type": "file",
        "timestamp": "2026-01-02T03:04:05.678901Z",
    }))
}

fn request(number: usize) -> Bytes {
    let events = (number * EVENTS..(number + 1) * EVENTS).map(event).collect();
    PushEventsRequest { events }.encode_to_vec().into()
}

async fn push(client: Client, requests: Arc<Vec<Bytes>>, next: Arc<AtomicUsize>, end: Instant) {
    while Instant::now() < end {
        let number = next.fetch_add(1, Ordering::Relaxed);
        client.raw(requests[number % requests.len()].clone()).await.unwrap();
    }
}

/// Processor time of this process so far, in seconds (proc_pid_stat(5), fields 14 and 15, in hundredths).
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = stat.rsplit_once(") ").unwrap().1;
    let ticks: f64 = behind_name.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

async fn measure(requests: &Arc<Vec<Bytes>>, senders: usize, lanes: usize, data_dir: bool) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: data_dir.then(|| dir.path().join("state")), ..Config::default() };
    let hop = NextHop::taking().await;
    let sidecar = Sidecar::start(config, Options { lanes, ..vector_options(hop.uri()) }).await;
    let next = Arc::new(AtomicUsize::new(0));
    let (begun, cpu) = (Instant::now(), cpu_secs());
    let end = begun + Duration::from_secs(SECONDS);
    let pushes: Vec<_> = {
        let client = sidecar.client().await;
        (0..senders).map(|_| tokio::spawn(push(client.clone(), Arc::clone(requests), Arc::clone(&next), end))).collect()
    };
    for push in pushes {
        push.await.unwrap();
    }
    let events = (next.load(Ordering::Relaxed) * EVENTS) as f64;
    let (rate, cpu_micros) = (events / begun.elapsed().as_secs_f64(), (cpu_secs() - cpu) * 1e6 / events);
    let kept = if data_dir { "data dir" } else { "memory" };
    println!(
        "{senders} requests under way, {lanes} lane, {kept}: {rate:.0} events/s, {cpu_micros:.2} µs of CPU an event"
    );
    sidecar.end().await;
}

#[tokio::main]
async fn main() {
    let requests = Arc::new((0..REQUESTS).map(request).collect::<Vec<_>>());
    let bytes: usize = requests.iter().map(Bytes::len).sum();
    println!("{} bytes an event", bytes / REQUESTS / EVENTS);
    for (senders, lanes, data_dir) in [(1, 1, true), (4, 1, true), (8, 1, true), (4, 2, true), (4, 1, false)] {
        measure(&requests, senders, lanes, data_dir).await;
    }
}
