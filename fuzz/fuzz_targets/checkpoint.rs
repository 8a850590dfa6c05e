//! Any bytes as a checkpoint: an error or what was written, never a panic; and any bytes as a section of a whole one.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oddline::event::Timestamp;
use oddline::storage::checkpoint;

fuzz_target!(|data: &[u8]| {
    let path = Path::new("/fuzz");
    drop(checkpoint::decode(path, data));
    let whole = checkpoint::encode(7, Timestamp(1), &[("a", data), ("b", b"")]).expect("a section of this size");
    let read = checkpoint::decode(path, &whole).expect("what was written");
    assert_eq!((read.sequence, read.section("a")), (7, Some(data)));
});
