//! Any bytes as objects of the journal, and any text as a key: what was written or damage, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oddline::event::Timestamp;
use oddline::storage::journal::{Format, Incident, Partition, decode, encode, host_part, object_key};

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let partition = Partition::new(&text, Timestamp(data.len() as i64));
    assert_eq!(partition.host, host_part(&text));
    for extension in ["ndjson", "parquet"] {
        let key = object_key(&partition, &text, data, extension);
        assert_eq!(Partition::of_key(&key), Some(partition.clone()));
        drop(decode(&key, data));
    }
    drop(Partition::of_key(&text));
    let row = Incident { event_id: "0-0-0".to_owned(), message: Some(text.into_owned()), ..Incident::default() };
    if let Ok(bytes) = encode(Format::Ndjson, std::slice::from_ref(&row)) {
        let key = object_key(&partition, "0-0-0", &bytes, "ndjson");
        assert_eq!(decode(&key, &bytes).ok(), Some((vec![row], 0)));
    }
});
