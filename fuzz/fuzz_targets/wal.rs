//! Any bytes as a segment of the log, as what follows its header, and as the payload of a whole frame: never a panic.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oddline::event::Timestamp;
use oddline::storage::mem_fs::MemFs;
use oddline::storage::wal::{Position, SegmentHeader, SegmentSequence, recover_lane};
use oddline::storage::frame;

fn read(segment: &[u8]) {
    let fs = MemFs::default();
    fs.put(Path::new("/wal/00/0000000000000000.wal"), segment);
    drop(recover_lane(&fs, Path::new("/wal"), 0, Position::default(), &mut |_, _| {}));
}

fuzz_target!(|data: &[u8]| {
    read(data);
    let header = SegmentHeader { lane: 0, sequence: SegmentSequence(0), run: 0, created: Timestamp(0) };
    read(&[&header.to_bytes(), data].concat());
    if let Some((kind, payload)) = data.split_first() {
        let mut segment = header.to_bytes();
        frame::put(&mut segment, header.seed(), kind % 4, payload);
        read(&segment);
    }
});
