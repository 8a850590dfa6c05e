//! Any bytes as a file of the history, and as the payload of its last frame: an error or what was written, never a panic, and salvaging it too.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oddline::event::Timestamp;
use oddline::storage::chunk::{self, ChunkOptions, ChunkReader, Level};
use oddline::storage::mem_fs::MemFs;
use oddline::storage::frame;

fn read(bytes: &[u8]) {
    let fs = MemFs::default();
    let path = Path::new("/d/file");
    fs.put(path, bytes);
    if let Ok(reader) = ChunkReader::open(&fs, path) {
        drop(reader.verify(&fs));
    }
    let options =
        ChunkOptions { level: Level::L2, created: Timestamp(0), window_secs: 10, marked_flag: 1, keeps_events: true };
    drop(chunk::salvage(&fs, path, Path::new("/d"), "saved", options));
}

/// Header, one frame, footer, all with checksums that hold.
fn sealed(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"ODLNCHK2\x02\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let seed = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&seed.to_le_bytes());
    let mut places = (bytes.len() as u64).to_le_bytes().to_vec();
    frame::put(&mut bytes, seed, kind, payload);
    places.extend_from_slice(&(bytes.len() as u64 + 28).to_le_bytes());
    let crc = crc32c::crc32c_append(seed, &places);
    bytes.extend_from_slice(&places);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(b"ODLNCHKE");
    bytes
}

fuzz_target!(|data: &[u8]| {
    read(data);
    read(&sealed(1, data));
    read(&sealed(2, data));
});
