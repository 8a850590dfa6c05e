//! A look at the history and the log of a data dir that an agent is writing to meanwhile.
//!
//! A segment of the log becomes a file of the history and goes. Who looked at the files before and at the log after has met it nowhere: the look is
//! taken again. It needs no lock, and costs a listing of the log.

use std::collections::BTreeSet;
use std::path::Path;

use crate::storage::{FileSystem, StorageError, wal};

/// How often is looked in all.
const LOOKS: usize = 4;

/// Segments of the log, by lane and sequence.
pub(super) type Segments = BTreeSet<(u8, u64)>;

/// What `look` finds when it meets, in files or in the log, every segment that the log had before; after [`LOOKS`] times what it found last. It returns
/// what it met, too.
pub(super) fn whole<T, E: From<StorageError>>(
    fs: &dyn FileSystem,
    data_dir: &Path,
    mut look: impl FnMut() -> Result<(T, Segments), E>,
) -> Result<T, E> {
    for _ in 1..LOOKS {
        let before = in_the_log(fs, data_dir)?;
        let (found, met) = look()?;
        if before.is_subset(&met) {
            return Ok(found);
        }
    }
    Ok(look()?.0)
}

fn in_the_log(fs: &dyn FileSystem, data_dir: &Path) -> Result<Segments, StorageError> {
    let dir = data_dir.join("wal");
    let mut found = Segments::new();
    for lane in wal::lanes(fs, &dir)? {
        found.extend(wal::segments(fs, &dir, lane)?.into_iter().map(|sequence| (lane, sequence.0)));
    }
    Ok(found)
}
