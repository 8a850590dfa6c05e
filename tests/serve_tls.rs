//! TLS of the sidecar, between two of them: one posts or pushes on what the other takes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod serve_support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oddline::config::Config;
use oddline::serve::Options;
use oddline::serve::options::{HttpOptions, Tls, VectorOptions};
use serve_support::{Client, NextHop, Reaction, Sidecar, tls_file};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

fn own(name: &str) -> Tls {
    let file = |end: &str| Some(tls_file(&format!("{name}.{end}")));
    Tls { crt_file: file("pem"), key_file: file("key"), ..Tls::default() }
}

fn trusting(tls: Tls) -> Tls {
    Tls { ca_file: Some(tls_file("ca.pem")), ..tls }
}

fn inline(name: &str) -> Option<PathBuf> {
    Some(std::fs::read_to_string(tls_file(name)).unwrap().into())
}

async fn http(options: HttpOptions) -> Sidecar {
    let listen = "127.0.0.1:0".to_owned();
    let http = HttpOptions { listen, ..options };
    Sidecar::start(Config::default(), Options { http: Some(http), ..Options::default() }).await
}

async fn far_side(tls: Tls) -> Sidecar {
    http(HttpOptions { tls: Some(tls), ..HttpOptions::default() }).await
}

/// The status line a sidecar with `forward_tls` answers with when `far` is its next hop.
async fn posted_on(far: &Sidecar, forward_tls: Option<Tls>) -> String {
    posted_within(far, forward_tls, 1).await
}

async fn posted_within(far: &Sidecar, forward_tls: Option<Tls>, request_timeout_secs: u64) -> String {
    let forward = Some(format!("https://{}/v1/score", far.http.unwrap()));
    let near = http(HttpOptions { forward, forward_tls, request_timeout_secs, ..HttpOptions::default() }).await;
    let address = near.http.unwrap();
    let status = tokio::task::spawn_blocking(move || post(address)).await.unwrap();
    assert!(near.end().await.drained);
    status
}

fn post(address: SocketAddr) -> String {
    let body = "{\"message\":\"request 1 took 2 ms\"}\n";
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "POST /v1/score HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-ndjson";
    write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap().split(' ').nth(1).unwrap().to_owned()
}

const TAKEN: &str = "204";
const NOT_REACHED: &str = "503";

#[tokio::test(flavor = "multi_thread")]
async fn the_next_hop_is_who_its_certificate_says_unless_the_user_looks_away() {
    let far = far_side(own("server")).await;
    let stranger = Tls { ca_file: Some(tls_file("stranger.pem")), ..Tls::default() };
    let elsewhere = || Tls { server_name: Some("elsewhere.test".to_owned()), ..trusting(Tls::default()) };
    for (what, tls, expected) in [
        ("the authority is believed", trusting(Tls::default()), TAKEN),
        ("another authority is", stranger.clone(), NOT_REACHED),
        ("nobody looks", Tls { verify_certificate: Some(false), ..stranger }, TAKEN),
        ("another name is expected", elsewhere(), NOT_REACHED),
        ("the name does not count", Tls { verify_hostname: Some(false), ..elsewhere() }, TAKEN),
        ("the authority is given inline", Tls { ca_file: inline("ca.pem"), ..Tls::default() }, TAKEN),
    ] {
        assert_eq!(posted_on(&far, Some(tls)).await, expected, "{what}");
    }
    assert!(far.end().await.drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_too_only_clients_with_a_certificate_get_in_when_they_are_asked_for_one() {
    let far = far_side(Tls { verify_certificate: Some(true), ..trusting(own("server")) }).await;
    assert_eq!(posted_on(&far, Some(trusting(own("client")))).await, TAKEN);
    assert_eq!(posted_on(&far, Some(trusting(Tls::default()))).await, NOT_REACHED);
    assert_eq!(posted_on(&far, Some(trusting(own("stranger")))).await, NOT_REACHED);
    assert!(far.end().await.drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_may_be_encrypted_inline_or_in_der() {
    let encrypted = |pass: Option<&str>| Tls {
        key_file: Some(tls_file("server.encrypted.key")),
        key_pass: pass.map(str::to_owned),
        ..own("server")
    };
    let dir = tempfile::tempdir().unwrap();
    let der =
        Tls { crt_file: Some(der(&dir, "server.pem")), key_file: Some(der(&dir, "server.key")), ..Tls::default() };
    let text = Tls { crt_file: inline("server.pem"), key_file: inline("server.key"), ..Tls::default() };
    for tls in [encrypted(Some("opensesame")), der, text] {
        let far = far_side(tls).await;
        assert_eq!(posted_on(&far, Some(trusting(Tls::default()))).await, TAKEN);
        assert!(far.end().await.drained);
    }
    for (tls, expected) in [
        (encrypted(None), "key_pass for an encrypted key"),
        (encrypted(Some("wrong")), "a key that key_pass opens"),
        (Tls { key_file: Some(tls_file("server.pem")), ..own("server") }, "a key in PEM or DER"),
        (Tls { crt_file: Some(tls_file("server.key")), ..own("server") }, "certificates in PEM or DER"),
        (Tls { key_file: None, ..own("server") }, "key_file beside crt_file"),
        (Tls { verify_certificate: Some(true), ..own("server") }, "ca_file for verify_certificate"),
        (Tls { key_file: Some(tls_file("client.key")), ..own("server") }, "http.tls"),
    ] {
        let http = HttpOptions { listen: "127.0.0.1:0".to_owned(), tls: Some(tls), ..HttpOptions::default() };
        let options = Options { http: Some(http), ..Options::default() };
        let refused = Sidecar::refused(Config::default(), options).await;
        assert!(refused.contains(expected), "expected {expected:?}, found {refused:?}");
    }
}

/// The first PEM block of a file as DER.
fn der(dir: &tempfile::TempDir, name: &str) -> PathBuf {
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    let path = dir.path().join(name);
    let bytes = match name.ends_with(".key") {
        true => PrivateKeyDer::from_pem_file(tls_file(name)).unwrap().secret_der().to_vec(),
        false => CertificateDer::from_pem_file(tls_file(name)).unwrap().to_vec(),
    };
    std::fs::write(&path, bytes).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_does_not_finish_the_handshake_keeps_nobody_out() {
    let far = far_side(own("server")).await;
    let silent: Vec<_> = (0..50).map(|_| TcpStream::connect(far.http.unwrap()).unwrap()).collect();
    let mut garbage = TcpStream::connect(far.http.unwrap()).unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(posted_on(&far, Some(trusting(Tls::default()))).await, TAKEN);
    drop(silent);
    assert!(far.end().await.drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_take_every_place_for_handshakes_keep_nobody_out_for_long() {
    let far = far_side(own("server")).await;
    // As many as there are places; each would be held for 10 seconds.
    let silent: Vec<_> = (0..256).map(|_| TcpStream::connect(far.http.unwrap()).unwrap()).collect();
    let under_way = || async { figure(&far, &trusting(Tls::default()), "oddline_serve_handshakes").await };
    assert!(under_way().await > 200, "they are under way");
    let begun = Instant::now();
    assert_eq!(posted_within(&far, Some(trusting(Tls::default())), 9).await, TAKEN);
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    drop(silent);
    assert!(far.end().await.drained);
}

/// A figure of `far`, asked over TLS.
async fn figure(far: &Sidecar, tls: &Tls, name: &str) -> u64 {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(tls.ca_file.as_ref().unwrap()).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let address = far.http.unwrap();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let name_of_far = ServerName::from(address.ip());
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name_of_far, stream).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // A peer that closes without a word to say so is an error here, and what it sent is there all the same.
    drop(stream.read_to_end(&mut answer).await);
    let text = String::from_utf8(answer).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_so_far_works_for_grpc_as_well() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pem = |name: &str| std::fs::read(tls_file(name)).unwrap();
    let identity = tonic::transport::Identity::from_pem(pem("server.pem"), pem("server.key"));
    let secured = tonic::transport::ServerTlsConfig::new().identity(identity);
    let hop = NextHop::on(listener, Arc::new(|_| Reaction::Take), Some(secured));
    let elsewhere = || Some("elsewhere.test".to_owned());
    for (what, tls, is_taken) in [
        ("by its address", trusting(Tls::default()), true),
        ("by another name", Tls { server_name: elsewhere(), ..trusting(Tls::default()) }, false),
        (
            "by any name",
            Tls { server_name: elsewhere(), verify_hostname: Some(false), ..trusting(Tls::default()) },
            true,
        ),
        ("whoever it is", Tls { verify_certificate: Some(false), ..Tls::default() }, true),
    ] {
        let vector = VectorOptions {
            listen: "127.0.0.1:0".to_owned(),
            forward: format!("https://{}", hop.address),
            request_timeout_secs: 1,
            forward_tls: Some(tls),
            ..VectorOptions::default()
        };
        let sidecar =
            Sidecar::start(Config::default(), Options { vector: Some(vector), http: None, ..Options::default() }).await;
        let event = serve_support::proto::log(&serde_json::json!({"message": "request 1 took 2 ms"}));
        let pushed = Client::connect(sidecar.vector.unwrap()).await.push(vec![event]).await;
        assert_eq!(pushed.is_ok(), is_taken, "{what}: {pushed:?}");
    }
}
