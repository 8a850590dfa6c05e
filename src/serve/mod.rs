//! The sidecar: events over a socket in, the same events with our fields out. Feature `serve`.
//!
//! ```text
//! Vector `vector` sink ─ gRPC PushEvents ─▶ service ─┐                        ┌▶ forward ─ gRPC PushEvents ─▶ Vector `vector` source
//!                                                    ├▶ queue ─▶ lane threads ─┤
//! any HTTP client ────── POST /v1/score ──▶ http ────┤                        ├▶ the answer, or POST to `http.forward`
//! OpenTelemetry ──────── POST /v1/logs ───▶ http ────┘                        └▶ POST to `http.otlp_forward`
//! ```
//!
//! # Connections
//! At most `max_connections` of each listener. One that has not sent the head of a request or begun HTTP/2 within `receive_timeout_secs` is
//! closed, one with no request under way after `idle_timeout_secs` (pings are no requests), and one whose peer does not take an answer. When all
//! are taken, idle ones are closed for those that come, first of the address that has most: connections alone keep nobody out. The same holds of
//! handshakes of TLS, which have places of their own before that. A number for each
//! address (`max_connections_per_peer`) is unset, since there may be many agents behind one, and is not asked of this machine.
//!
//! # Order of one request
//! 1. A permit (`concurrency` of each listener, first come first served). Without one the request's body is not read,
//!    and flow control holds the sender: back-pressure. Who waits for one longer than `receive_timeout_secs` is told to
//!    come again (503, `UNAVAILABLE`).
//! 2. The body, at most `max_message_bytes` (before and after decompression), all of it within `receive_timeout_secs`, and on average
//!    `min_receive_bytes_per_sec` of it in a second, but for the first 5.
//! 3. Scoring on lane threads, through a bounded queue: at most `max_events`, in jobs of about 1,000 events, so that requests
//!    take turns. With `durability: always` what was learned is on disk before the next step. What is not begun in time, which is half of
//!    `request_timeout_secs` when it goes on to a next hop, is answered 503 (`UNAVAILABLE`) and not learned.
//! 4. The push to the next hop, tried again with backoff until `request_timeout_secs` have passed since step 2.
//! 5. The answer: success only after the push succeeded. Scored events that are the answer keep the permit until they are taken.
//!
//! # Guarantees
//! - **At least once.** Whoever sends and keeps an event until we say success loses none, whatever dies in between. A
//!   request that is sent again is scored again and counts twice in what was learned.
//! - **Order.** Within a request always. Between requests when the sender waits for one answer before it sends the next
//!   (Vector's sink: `request.concurrency: 1`); requests that are under way at the same time may overtake one another,
//!   as they may in Vector.
//! - **What is not ours stays.** A Vector event keeps every byte; our fields stand behind them as a second encoding of the
//!   event with those fields alone, and whoever decodes it merges both. Metrics, traces, metadata and fields of
//!   versions we do not know pass untouched.
//! - **Bounded memory**: permits × (`max_message_bytes` before and after decompression + `max_scored_bytes`, also packed where `compression` is set + 64 bytes for each of
//!   `max_events`; of OTLP the scored bytes twice while they are put together), and the windows of open streams. A request whose events grow beyond `max_scored_bytes` is refused when they do; what was scored of it by
//!   then is learned.
//! - **Scoring fails no request.** If a lane is lost in mid-request, the events go on as they came.
//! - **A clean end**: on a stop `/ready` and the health check of gRPC say no, and for `drain_secs` (0) everything else goes on, so that a load
//!   balancer finds out before anybody is refused; then no connection is accepted, those without a request are closed, requests under way are finished for at most
//!   `shutdown_secs`, then what was learned is saved.
//!
//! # Who may connect
//! HTTP: whoever can reach a loopback address or the unix socket, but for pages of elsewhere in a browser; elsewhere a bearer token is required. gRPC: loopback or
//! a unix socket; elsewhere TLS with client certificates, or `allow_remote: true` (Vector's sink can send no token).
//!
//! # Layout
//! | file | role |
//! |---|---|
//! | `options`, `tls`, `files` | what can be set; certificates and tokens |
//! | `listen` | addresses, unix sockets, inherited sockets |
//! | `connections`, `places`, `pulse` | connections: how they end; how many; for how long |
//! | `lanes` | threads that score |
//! | `vector/` | the gRPC protocol: `proto`, `event`, `batch`, `service` (in), `forward` (out) |
//! | `otlp/` | OpenTelemetry's logs, in protobuf and JSON |
//! | `wire` | protobuf, as far as passing events on needs it |
//! | `http/` | scoring over HTTP, its output, health, metrics |
//! | `turn` | permits |
//! | `backoff`, `stats` | pauses between attempts; what is counted |
//! | `server` | the wiring, start and stop |

mod backoff;
mod connections;
mod error;
mod files;
mod http;
mod lanes;
pub mod listen;
pub mod options;
mod otlp;
mod places;
mod pulse;
mod server;
mod stats;
mod tls;
mod turn;
pub mod vector;
mod wire;

pub use error::ServeError;
pub use options::Options;
pub use server::{Ended, Server};
