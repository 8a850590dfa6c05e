//! The journal of incidents: a write-once, batched append log on an object store.
//!
//! ```text
//! <store>/host=<name>/date=<YYYY-MM-DD>/hour=<HH>/<event id>-<crc>.ndjson       or .parquet
//!         the hour, UTC, of the events         first event of the object, CRC-32C of its bytes
//! <data dir>/journal-spool/<key, "/" as "+">   what the store has not taken yet
//! ```
//!
//! The store is `<data dir>/journal` or, with `journal.url`, a bucket. Keys are those of a Hive-partitioned table: `host`, `date` and `hour` are columns
//! that stand in the path alone, the others are those of [`Incident`]. Below a host keys sort by time. A host's name is kept to letters, digits, `.`, `_`
//! and `-`; what is replaced for that is told apart by a checksum at the end.
//!
//! | part | file |
//! |---|---|
//! | what is kept of an incident | `incident` |
//! | where objects are called what | `key` |
//! | where objects are: a directory, or a bucket (feature `object-store`) | `store`, `remote` |
//! | an object's bytes: lines of JSON, or Parquet (feature `parquet`) | `ndjson`, `parquet`, `format` |
//! | gathering, writing, catching up | `log`, `spool`, `pause` |
//! | reading, duplicates removed | `read` |
//! | whether everything reads | `check` |
//! | many small objects into few, and old ones out | `compact`, `expire` |
//!
//! # Order and guarantees
//! - **Gathered in memory**, in a queue with a bound; whoever scores never waits, and what the queue has no room for is counted ([`Journal::dropped`]). What is in
//!   memory can be read at once by the same process. A crash loses what was not written yet: [`Options::interval`] at the most.
//! - **One object for a batch** (and hour), at a number of incidents, after an interval, or on close. An object is never written again; one that is there
//!   already under its key, which names its bytes, is as good as written when its bytes are these.
//! - **Store unreachable**: the object goes to the spool, up to a cap; from there it is tried again with growing pauses, oldest first. When the spool is full or cannot be
//!   written, incidents stay in the queue, and are tried again with the store or after an interval; what is left at the end is lost, and counted.
//! - **A spool that cannot be read** costs the store nothing: what can be read goes on, the rest is tried again with pauses of its own. What does not match its checksum stays
//!   in the spool and is told ([`Status::spool_failure`]).
//! - **Compaction**: the merged object is stored, then the others are deleted, and only when it is stored with these very bytes. A failure between leaves incidents twice, never a hole; who reads
//!   removes duplicates by host and event id.
//! - **In a directory** the last object of an hour takes its directories with it. What a process that died had begun to write of this host's is
//!   removed when the next begins.
//! - A damaged line costs that line, a damaged Parquet object itself. Neither is deleted by a compaction.

mod check;
mod compact;
mod expire;
mod format;
mod incident;
mod key;
mod log;
mod ndjson;
#[cfg(feature = "parquet")]
mod parquet;
mod pause;
mod read;
#[cfg(feature = "object-store")]
mod remote;
mod spool;
mod store;

pub use check::{Checked, check};
pub use compact::{CompactError, CompactReport, compact};
pub use expire::expire;
pub use format::{Format, FormatError, decode, encode};
pub use incident::{Detectors, Incident, MessageMode, MessagePart, message_hash, parse_time, time_text};
pub use key::{Partition, host_part, object_key};
pub use log::{Journal, Options, Status};
pub use read::{Found, Reading, read};
#[cfg(feature = "object-store")]
pub use remote::RemoteStore;
pub use store::{LocalStore, ObjectMeta, ObjectStore, Put};

/// Directory of the journal in a data dir.
pub const DIR: &str = "journal";
/// Directory of what a store has not taken yet.
pub const SPOOL_DIR: &str = "journal-spool";
