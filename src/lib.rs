//! oddline finds the odd line in a log stream.
//!
//! An [`Engine`] learns what the lines of a host look like: each thread that has lines takes a [`Lane`] of it, and each
//! line gets a [`Verdict`](event::Verdict), how odd it is and why. With a data dir, what was learned survives restarts.
//!
//! ```
//! use oddline::config::Config;
//! use oddline::event::{Observation, Reason, Timestamp};
//! use oddline::{Engine, Environment};
//!
//! // Without `data_dir` everything stays in memory.
//! let config = Config { learning_events: 1_000, ..Config::default() };
//! let engine = Engine::open(&config, Environment::system())?;
//! let mut lane = engine.lane()?;
//! for second in 0..5_000 {
//!     let line = format!("request {second} served in {} ms", second % 40);
//!     lane.observe(&Observation::new(line.as_bytes(), Timestamp(second * 1_000_000)));
//! }
//! let now = Timestamp(5_000_000_000);
//! let odd = lane.observe(&Observation::new(b"ERROR disk sda failed after 17 retries", now));
//! assert!(odd.is_anomaly);
//! assert_eq!(odd.reasons().next(), Some(Reason::NewTemplate));
//! assert_eq!(lane.template_text(odd.template).as_deref(), Some("ERROR disk sda failed after <*> retries"));
//! assert!(lane.parameters(b"ERROR disk sda failed after 17 retries").eq(["17"]));
//! // Template and parts give any message back byte for byte, with every tab and blank.
//! lane.observe(&Observation::new(b"request\t7  served in 17 ms ", now));
//! let taken = lane.taken_apart(b"request\t7  served in 17 ms ");
//! assert_eq!(taken.map(|taken| taken.message()).as_deref(), Some(&b"request\t7  served in 17 ms "[..]));
//! lane.tick(now);
//! lane.close()?;
//! engine.close()?;
//! # Ok::<(), oddline::engine::EngineError>(())
//! ```
//!
//! # Map
//! Imports point down only: `cli` → `serve` → [`plugin`] → [`engine`] → {[`template`], [`embed`], [`index`], [`detect`], [`storage`]} →
//! {[`event`], [`clock`], [`config`], `quantity`, `arithmetic`}.
//!
//! | module | is |
//! |---|---|
//! | `serve` | the sidecar (feature `serve`): gRPC and HTTP in and out |
//! | [`plugin`] | what agent adapters call: component, event trait, field table |
//! | [`engine`] | open and recover, lanes, checkpoints: the wiring |
//! | [`template`] | message → template and parameters |
//! | [`detect`] | template → how odd: arithmetic only |
//! | [`embed`] | text → vector: arithmetic, and with the feature `onnx` a sentence model |
//! | [`index`] | vectors, and the nearest to one |
//! | [`storage`] | the only place that touches files of the data dir |
//! | [`config`] | keys, defaults, bounds, schema |
//! | [`event`], [`clock`] | observations and verdicts; time |
//! | `quantity` | numbers with a unit, as they stand in lines |
//! | `arithmetic` | what gives the same bits on every machine |

mod arithmetic;
pub mod clock;
pub mod config;
pub mod detect;
pub mod embed;
pub mod engine;
pub mod event;
pub mod index;
pub mod plugin;
mod quantity;
#[cfg(feature = "serve")]
pub mod serve;
pub mod storage;
pub mod template;

pub use engine::{Engine, Environment, Lane};
