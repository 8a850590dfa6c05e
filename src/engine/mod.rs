//! The engine: templates, detectors and storage, wired.
//!
//! # Parts
//! | part | file | threads |
//! |---|---|---|
//! | [`Engine`] | here, `open` | any |
//! | [`Lane`]: observe, tick, commit | `lane`; its log `log`; texts it was asked for `texts` | one thread each |
//! | what lanes share | `core` | behind locks no known template takes |
//! | counts folded from all lanes, and what each lane published | `picture` | one of these locks |
//! | reading the history, beside an engine that runs | `history`; by meaning [`search`]; by the reasons of alerts [`reasons`] | any |
//! | what the user said of templates | `feedback` | read by the writer |
//! | L0: the newest events in memory, within a budget | `window`, `budget` | open ones with their lane, sealed ones for all |
//! | what lanes tell the journal, and reading it | [`incidents`] | its own thread, bounded queue |
//! | what past incidents were like, for each alert; what was said of them | `recall`, [`notes`] | behind a lock that alerts alone take |
//! | a model's vectors of templates: which model [`embedding`], the threads that run it `embedders`, on disk [`vectors`], all at once [`reembed`] | | its own threads, that nobody waits for |
//! | all that is known of one event, and the history around it | [`story`], `past` | |
//! | how much of a template is worth keeping | `sampler` | with its lane |
//! | templates that are never or always an anomaly | `ruling` | asked once a template |
//! | what the known templates mean, for the detector `semantic` | `meaning` | fitted in its own, once |
//! | what a lane learned | `learned` | with its lane, parked between lanes |
//! | WAL, checkpoints | `writer`; what is not durable yet `unsynced` | its own thread, bounded queue |
//! | syncing logs while they grow | `syncer` | its own thread, one batch at a time |
//! | the history: L1 from segments, L2 from hours, retention | `historian`, `sealer` | one for L1, one for the rest |
//! | finding and repairing damage | `repair` | any, with nobody else on the data dir |
//! | checkpoint sections as bytes | `sections`; counts by template `counts` | |
//! | what was learned made portable: exported, merged, loaded | [`baseline`] | |
//! | a baseline's place: a file or a URL | `source` | the one that opens |
//! | engines of this process by data dir | `registry` | |
//!
//! # Way of an event
//! A lane finds the template in its private cache, scores with its own model, and appends a few bytes to its WAL encoder: no lock, no
//! allocation, no system call. Full buffers go to the writer. Every [`FOLD_EVENTS`](lane::FOLD_EVENTS) events or at a tick a lane *folds*: it
//! hands what it counted to the shared picture, publishes its model with it, and takes in what other lanes counted. A single lane takes in
//! nothing, so it is exactly reproducible.
//!
//! # Checkpoint and restart
//! A checkpoint holds the template store, the folded counts and, of each lane, its model as published with the WAL position up to which it
//! and the counts hold everything. A restart restores these and replays the WAL after those positions through the same code. With one lane,
//! when the lane itself asked for the checkpoint (as it does by time and size, and when it is given back): same inputs, same order, same
//! bits. With several lanes, or for [`Engine::checkpoint`] beside a lane that goes on: the same counts, but templates may have been found in
//! another order. Then it writes a checkpoint of its own.
//!
//! # When persistence fails
//! Scoring goes on with state `degraded`. The writer drops what it is given until a lane starts a new segment, after [`REOPEN_SECS`](lane::REOPEN_SECS)
//! seconds and then twice as long each time, up to [`MOST_REOPEN_SECS`](lane::MOST_REOPEN_SECS); once that and a fresh checkpoint are written nothing of what was learned is missing on disk, and the state is as before.

pub mod baseline;
mod budget;
mod core;
mod counts;
mod embedders;
pub mod embedding;
mod error;
pub mod feedback;
mod historian;
pub mod history;
pub mod incidents;
pub mod lane;
mod learned;
mod likeness;
mod log;
mod meaning;
pub mod notes;
mod open;
mod past;
mod picture;
pub mod reasons;
mod recall;
pub mod reembed;
mod registry;
pub mod repair;
mod repair_journal;
mod replay;
mod ruling;
mod sampler;
mod sealer;
pub mod search;
mod sections;
mod seed;
mod source;
mod stats;
pub mod story;
pub mod stream;
mod stream_names;
mod syncer;
mod texts;
mod timer;
#[cfg(test)]
mod unlocked;
mod unsynced;
pub mod vectors;
mod whole;
pub mod window;
mod writer;

pub use embedders::EmbedderStats;
pub use error::EngineError;
pub use lane::{Lane, Synthetic};
pub use meaning::{Calibrated, Recalibration};
pub use open::{Engine, Environment, RecoveryReport, template_options};
pub use recall::SimilarIncident;
pub use stats::{JournalStats, Stats, TemplateSummary};

pub use crate::template::explain::Explanation;
