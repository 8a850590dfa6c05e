//! What can be set, besides the configuration all ways in have in common.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ServeError;
use super::http::timed::Pace;
use super::listen::Address;
use super::places::Places;
use super::pulse::Limits;
use super::stats::Stats;

/// Options of the sidecar: the file of `oddline serve --serve-config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Threads that score, 1 to 64. One is exactly reproducible and enough for about a million events a second.
    pub lanes: usize,
    /// Seconds that connections and requests are still taken after a stop while `/ready` and the health check of gRPC say no, 0 to 300: as long as a
    /// load balancer needs to find out and to send its last ones. Without one, 0.
    pub drain_secs: u64,
    /// Seconds that requests under way get to finish after that, 0 to 55.
    pub shutdown_secs: u64,
    /// Events from Vector and on to Vector; unset: none.
    pub vector: Option<VectorOptions>,
    /// Scoring over HTTP, health and metrics; unset: none.
    pub http: Option<HttpOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Self { lanes: 1, drain_secs: 0, shutdown_secs: 50, vector: None, http: Some(HttpOptions::default()) }
    }
}

/// Events from Vector's `vector` sink and on to a `vector` source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VectorOptions {
    /// Where the `vector` sink connects to: `host:port`, `unix:PATH`, or `fd:N` for the Nth socket systemd hands over.
    pub listen: String,
    /// The `vector` source events go on to: `http://host:port`, or `https://host:port` with TLS (`forward_tls` says how).
    pub forward: String,
    /// Compression of what goes on; what comes may be compressed in any of these ways.
    pub compression: Compression,
    /// Bytes of a request, as sent and decompressed, 1024 to 1073741824.
    pub max_message_bytes: usize,
    /// Events of a request, 1 to 100000000.
    pub max_events: usize,
    /// Bytes of a request's events with our fields, 1024 to 2147483648.
    pub max_scored_bytes: usize,
    /// Requests under way at a time, 1 to 1024.
    pub concurrency: usize,
    /// Connections at a time, 1 to 65536. When all are taken, one on which nothing is under way is closed for the next.
    pub max_connections: usize,
    /// Connections at a time of one address elsewhere, 1 to 65536 (IPv6: of a network of 64 bits); unset: as many as there may be. Never asked
    /// of those over loopback or a unix socket. Behind one address there may be many agents.
    pub max_connections_per_peer: Option<usize>,
    /// Seconds that a connection may be open with no request under way, 1 to 3600. Longer than clients keep theirs, or a request may meet the end.
    pub idle_timeout_secs: u64,
    /// Seconds that the head of a request may take to come in, that it may wait for its turn, and that the rest, and the taking of the answer,
    /// may take then, 1 to 3600.
    pub receive_timeout_secs: u64,
    /// Bytes a second that a request must come in with, on average and from its 6th second on, 0 (no such limit) to 1073741824.
    pub min_receive_bytes_per_sec: u64,
    /// Seconds until a request that cannot be passed on is answered with a failure, 1 to 3600. Vector's sink waits 60.
    pub request_timeout_secs: u64,
    /// TLS towards whoever connects to `listen`.
    pub tls: Option<Tls>,
    /// TLS towards `forward`.
    pub forward_tls: Option<Tls>,
    /// Listen on an address that others reach, without client certificates: whoever reaches it can send events.
    pub allow_remote: bool,
}

impl Default for VectorOptions {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:6100".to_owned(),
            forward: "http://127.0.0.1:6101".to_owned(),
            compression: Compression::None,
            max_message_bytes: 32 << 20,
            max_events: 200_000,
            max_scored_bytes: 128 << 20,
            concurrency: 8,
            max_connections: 256,
            max_connections_per_peer: None,
            idle_timeout_secs: 120,
            receive_timeout_secs: 30,
            min_receive_bytes_per_sec: 1_000,
            request_timeout_secs: 50,
            tls: None,
            forward_tls: None,
            allow_remote: false,
        }
    }
}

/// Scoring over HTTP, health and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpOptions {
    /// Where to listen: `host:port`, `unix:PATH` or `fd:N`.
    pub listen: String,
    /// Where scored events are posted, `http://…` or `https://…` (`forward_tls` says how); unset: they are the answer.
    pub forward: Option<String>,
    /// Where OpenTelemetry's logs (OTLP, `POST /v1/logs`) go on to once scored, such as `http://127.0.0.1:4318/v1/logs`; unset: they are not taken.
    pub otlp_forward: Option<String>,
    /// Compression of what goes on (`Content-Encoding`); what comes may be compressed in any of these ways. OTLP's receivers take gzip.
    pub compression: Compression,
    /// Bytes of a request, as sent and decompressed, 1024 to 1073741824.
    pub max_message_bytes: usize,
    /// Events of a request, 1 to 100000000.
    pub max_events: usize,
    /// Bytes of a request's events with our fields, 1024 to 2147483648.
    pub max_scored_bytes: usize,
    /// Requests that are scored at a time, 1 to 1024.
    pub concurrency: usize,
    /// Connections at a time, 1 to 65536. When all are taken, one on which nothing is under way is closed for the next.
    pub max_connections: usize,
    /// Connections at a time of one address elsewhere, 1 to 65536 (IPv6: of a network of 64 bits); unset: as many as there may be. Never asked
    /// of those over loopback or a unix socket. Behind one address there may be many agents.
    pub max_connections_per_peer: Option<usize>,
    /// Seconds that a connection may be open with no request under way, 1 to 3600. Longer than clients keep theirs, or a request may meet the end.
    pub idle_timeout_secs: u64,
    /// Seconds that the head of a request may take to come in, that it may wait for its turn, and that the rest, and the taking of the answer,
    /// may take then, 1 to 3600.
    pub receive_timeout_secs: u64,
    /// Bytes a second that a request must come in with, on average and from its 6th second on, 0 (no such limit) to 1073741824.
    pub min_receive_bytes_per_sec: u64,
    /// Seconds until a request that cannot be passed on is answered with a failure, 1 to 3600.
    pub request_timeout_secs: u64,
    /// File with the token that requests must bring (`Authorization: Bearer …`), white space around it left out.
    pub token_file: Option<PathBuf>,
    /// Environment variable with that token.
    pub token_env: Option<String>,
    /// Host names, without ports, that requests may come to and pages that send some may be of, besides those of loopback; only looked at
    /// where neither a token nor a client certificate is asked for.
    pub allowed_hosts: Vec<String>,
    /// TLS towards whoever connects to `listen`.
    pub tls: Option<Tls>,
    /// TLS towards `forward` and `otlp_forward`.
    pub forward_tls: Option<Tls>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:6180".to_owned(),
            forward: None,
            otlp_forward: None,
            compression: Compression::None,
            max_message_bytes: 32 << 20,
            max_events: 200_000,
            max_scored_bytes: 128 << 20,
            concurrency: 8,
            max_connections: 256,
            max_connections_per_peer: None,
            idle_timeout_secs: 120,
            receive_timeout_secs: 30,
            min_receive_bytes_per_sec: 1_000,
            request_timeout_secs: 50,
            token_file: None,
            token_env: None,
            allowed_hosts: Vec::new(),
            tls: None,
            forward_tls: None,
        }
    }
}

/// TLS, with the names Vector's `tls` options have. Files are PEM or DER; the PEM itself may stand in a file's place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Whether TLS is used; set when anything else here is, as in Vector's sinks.
    pub enabled: Option<bool>,
    /// The authorities the other side's certificate must come from. Towards `forward`, unset: those the system believes.
    #[serde(alias = "ca_path")]
    pub ca_file: Option<PathBuf>,
    /// Our certificate, with those between it and an authority.
    #[serde(alias = "crt_path")]
    pub crt_file: Option<PathBuf>,
    /// Its key.
    #[serde(alias = "key_path")]
    pub key_file: Option<PathBuf>,
    /// What opens the key, when it is encrypted (PKCS#8).
    pub key_pass: Option<String>,
    /// At `listen`: whether clients need a certificate (default false). Towards `forward`: whether the certificate is looked at
    /// at all (default true); off, anybody in between can read and change what goes on.
    pub verify_certificate: Option<bool>,
    /// Towards `forward`: whether the certificate must be of the name that is connected to (default true).
    pub verify_hostname: Option<bool>,
    /// The name the certificate of `forward` must have, when it is not the host of its address.
    pub server_name: Option<String>,
    /// Protocols offered in the handshake; unset: `h2` for gRPC, `h2` and `http/1.1` at `http.listen`, `http/1.1` towards `http.forward`.
    pub alpn_protocols: Option<Vec<String>>,
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Tls {
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }

    /// Whether only clients with a certificate of ours get in.
    fn verifies_clients(&self) -> bool {
        self.is_enabled() && self.verify_certificate == Some(true) && self.ca_file.is_some()
    }
}

fn within<T: PartialOrd + ToString + Copy>(key: &'static str, value: T, low: T, high: T) -> Result<(), ServeError> {
    if value >= low && value <= high {
        return Ok(());
    }
    let expected = format!("a whole number from {} to {}", low.to_string(), high.to_string());
    Err(ServeError::Option { key, expected, found: value.to_string() })
}

const MIN_MESSAGE_BYTES: usize = 1 << 10;
const MAX_MESSAGE_BYTES: usize = 1 << 30;
const MAX_EVENTS: usize = 100_000_000;
const MAX_SCORED_BYTES: usize = 2 << 30;
const MAX_CONCURRENCY: usize = 1 << 10;
const MAX_CONNECTIONS: usize = 1 << 16;
const MAX_SECS: u64 = 3_600;

impl Options {
    /// Checks everything that can be checked without touching a file or a socket.
    ///
    /// # Errors
    /// The first option that is not accepted, with what would be.
    pub fn validate(&self) -> Result<(), ServeError> {
        within("lanes", self.lanes, 1, 64)?;
        within("drain_secs", self.drain_secs, 0, 300)?;
        within("shutdown_secs", self.shutdown_secs, 0, 55)?;
        self.vector.as_ref().map_or(Ok(()), VectorOptions::validate)?;
        self.http.as_ref().map_or(Ok(()), HttpOptions::validate)?;
        if self.vector.is_none() && self.http.is_none() {
            let expected = "at least one of vector and http".to_owned();
            return Err(ServeError::Option { key: "vector", expected, found: "neither".to_owned() });
        }
        Ok(())
    }

    /// How long requests under way get after a stop.
    pub(super) fn shutdown(&self) -> Duration {
        Duration::from_secs(self.shutdown_secs)
    }
}

/// The limits of connections: a request lasts for as long as it may wait, come in, go on, and its answer be taken.
macro_rules! limits {
    ($options:ty) => {
        impl $options {
            pub(super) fn pace(&self) -> Pace {
                let timeout = Duration::from_secs(self.receive_timeout_secs);
                Pace { timeout, bytes_per_sec: self.min_receive_bytes_per_sec }
            }

            pub(super) fn places(&self, stats: &Arc<Stats>) -> Places {
                let (head, idle) =
                    (Duration::from_secs(self.receive_timeout_secs), Duration::from_secs(self.idle_timeout_secs));
                let request = head * 3 + Duration::from_secs(self.request_timeout_secs);
                Places::new(self.max_connections, self.max_connections_per_peer, Limits { head, idle, request }, stats)
            }
        }
    };
}

limits!(VectorOptions);
limits!(HttpOptions);

impl VectorOptions {
    fn validate(&self) -> Result<(), ServeError> {
        within("vector.max_message_bytes", self.max_message_bytes, MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES)?;
        within("vector.max_events", self.max_events, 1, MAX_EVENTS)?;
        within("vector.max_scored_bytes", self.max_scored_bytes, MIN_MESSAGE_BYTES, MAX_SCORED_BYTES)?;
        within("vector.concurrency", self.concurrency, 1, MAX_CONCURRENCY)?;
        within("vector.max_connections", self.max_connections, 1, MAX_CONNECTIONS)?;
        within("vector.max_connections_per_peer", self.max_connections_per_peer.unwrap_or(1), 1, MAX_CONNECTIONS)?;
        within("vector.idle_timeout_secs", self.idle_timeout_secs, 1, MAX_SECS)?;
        within("vector.min_receive_bytes_per_sec", self.min_receive_bytes_per_sec, 0, MAX_MESSAGE_BYTES as u64)?;
        within("vector.receive_timeout_secs", self.receive_timeout_secs, 1, MAX_SECS)?;
        within("vector.request_timeout_secs", self.request_timeout_secs, 1, MAX_SECS)?;
        let address = Address::parse("vector.listen", &self.listen)?;
        let is_safe = self.allow_remote || self.tls.as_ref().is_some_and(Tls::verifies_clients);
        if address.is_remote() && !is_safe {
            let expected = "a loopback address or a unix socket, or else tls.verify_certificate with tls.ca_file, or \
                            allow_remote: true"
                .to_owned();
            return Err(ServeError::Option { key: "vector.listen", expected, found: self.listen.clone() });
        }
        Ok(())
    }
}

impl HttpOptions {
    /// Whether whoever comes must show a token or a certificate.
    pub(super) fn is_authenticated(&self) -> bool {
        let has_token = self.token_file.is_some() || self.token_env.is_some();
        has_token || self.tls.as_ref().is_some_and(Tls::verifies_clients)
    }

    fn validate(&self) -> Result<(), ServeError> {
        within("http.max_message_bytes", self.max_message_bytes, MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES)?;
        within("http.max_events", self.max_events, 1, MAX_EVENTS)?;
        within("http.max_scored_bytes", self.max_scored_bytes, MIN_MESSAGE_BYTES, MAX_SCORED_BYTES)?;
        within("http.concurrency", self.concurrency, 1, MAX_CONCURRENCY)?;
        within("http.max_connections", self.max_connections, 1, MAX_CONNECTIONS)?;
        within("http.max_connections_per_peer", self.max_connections_per_peer.unwrap_or(1), 1, MAX_CONNECTIONS)?;
        within("http.idle_timeout_secs", self.idle_timeout_secs, 1, MAX_SECS)?;
        within("http.min_receive_bytes_per_sec", self.min_receive_bytes_per_sec, 0, MAX_MESSAGE_BYTES as u64)?;
        within("http.receive_timeout_secs", self.receive_timeout_secs, 1, MAX_SECS)?;
        within("http.request_timeout_secs", self.request_timeout_secs, 1, MAX_SECS)?;
        let address = Address::parse("http.listen", &self.listen)?;
        if address.is_remote() && !self.is_authenticated() {
            let expected =
                "a loopback address or a unix socket, or else token_file, token_env or tls.verify_certificate \
                            with tls.ca_file"
                    .to_owned();
            return Err(ServeError::Option { key: "http.listen", expected, found: self.listen.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: &Options) -> String {
        options.validate().unwrap_err().to_string()
    }

    #[test]
    fn what_others_reach_needs_a_token_or_certificates() {
        let http = |listen: &str| HttpOptions { listen: listen.to_owned(), ..HttpOptions::default() };
        for safe in ["127.0.0.1:0", "[::1]:0", "localhost:80", "unix:/run/oddline.sock"] {
            Options { http: Some(http(safe)), ..Options::default() }.validate().unwrap();
        }
        for remote in ["0.0.0.0:1", "192.0.2.1:1", "[::]:1", "example.test:1", "fd:0"] {
            let open = Options { http: Some(http(remote)), ..Options::default() };
            assert!(refused(&open).contains("token_file"), "{remote}");
            let tls = Tls { verify_certificate: Some(true), ca_file: Some("ca.pem".into()), ..Tls::default() };
            for closed in [
                HttpOptions { token_env: Some("T".to_owned()), ..http(remote) },
                HttpOptions { tls: Some(tls), ..http(remote) },
            ] {
                Options { http: Some(closed), ..Options::default() }.validate().unwrap();
            }
            let vector = VectorOptions { listen: remote.to_owned(), ..VectorOptions::default() };
            let open = Options { vector: Some(vector.clone()), ..Options::default() };
            assert!(refused(&open).contains("verify_certificate"), "{remote}");
            let tls = Tls { verify_certificate: Some(true), ca_file: Some("ca.pem".into()), ..Tls::default() };
            for safe in [
                VectorOptions { allow_remote: true, ..vector.clone() },
                VectorOptions { tls: Some(tls), ..vector.clone() },
            ] {
                Options { vector: Some(safe), ..Options::default() }.validate().unwrap();
            }
        }
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_its_range() {
        let error = refused(&Options { lanes: 0, ..Options::default() });
        assert_eq!(error, "lanes: expected a whole number from 1 to 64, found \"0\"");
        assert!(refused(&Options { http: None, ..Options::default() }).contains("at least one of"));
        let vector = VectorOptions { max_message_bytes: 1, ..VectorOptions::default() };
        assert!(refused(&Options { vector: Some(vector), ..Options::default() }).contains("vector.max_message_bytes"));
    }
}
