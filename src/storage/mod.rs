//! Everything oddline keeps on disk, and the only place that touches files.
//!
//! ```text
//! <data dir>/
//!   LOCK                                   lock.rs        one process at a time
//!   state/<sequence:016x>.checkpoint       checkpoint.rs  everything learned, newest two
//!   journal/                               journal/       incidents; journal-spool/ what a bucket has not taken yet
//!   feedback/                              what the user said, with a LOCK of its own; see engine::feedback
//!   wal/<lane:02x>/<sequence:016x>.wal     wal/           what happened since the checkpoint
//!   wal/group/<sequence:016x>.wal          wal/group.rs   what of it several lanes made durable together
//!   chunks/<YYYYMMDDTHH>/                  chunk/, chunk_dir.rs, retention.rs: the history of events
//!     <lane:02x>-<sequence:016x>.chunk     L1: a closed segment of the log
//!     hour.l2                              L2: what the hour's L1 files held
//!   quarantine/                            quarantine.rs  damaged files, by where they were
//! ```
//!
//! All integers are little endian; varints are LEB128 ([`varint`]); checksums are CRC-32C (Castagnoli).
//! Checksums find accidents, they do not authenticate: who can write the data dir can forge it.
//!
//! Files are reached through [`fs::FileSystem`] alone (but for the lock, which is the operating system's). Times are
//! handed in.

pub mod atomic;
pub mod baseline;
#[cfg(feature = "object-store")]
mod bucket;
pub mod bytes;
pub mod checkpoint;
pub mod chunk;
pub mod chunk_dir;
pub mod error;
#[cfg(feature = "object-store")]
pub mod fetch;
pub mod frame;
pub mod fs;
mod host;
pub mod hour;
pub mod journal;
pub mod lock;
pub mod mem_fs;
pub mod quarantine;
pub mod retention;
mod shown_url;
pub mod untouched;
pub mod usage;
pub mod varint;
pub mod wal;

pub use error::StorageError;
pub use fs::{FileSystem, RealFs};
pub use host::host_name;
pub use lock::{DataDirLock, LockError};
pub use mem_fs::MemFs;
pub use shown_url::shown_url;
pub use untouched::Untouched;
pub use usage::disk_usage;
