//! Any bytes as a checkpoint and a segment of the log: an error or what was written, never a panic.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oddline::storage::mem_fs::MemFs;
use oddline::storage::{checkpoint, wal};

fuzz_target!(|data: &[u8]| {
    let path = Path::new("/fuzz");
    drop(checkpoint::decode(path, data));
    let fs = MemFs::default();
    fs.put(Path::new("/data/wal/00/0000000000000000.wal"), data);
    drop(wal::recover_lane(&fs, Path::new("/data/wal"), 0, wal::Position::default(), &mut |_, _| {}));
});
