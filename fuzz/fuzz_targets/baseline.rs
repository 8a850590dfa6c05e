//! Any bytes as a baseline: as its file, and each as one of its sections inside a file whose checksums hold. An error or a baseline, never a panic.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oddline::config::Config;
use oddline::engine::baseline::Baseline;
use oddline::storage::baseline;

const MANIFEST: &[u8] =
    br#"{"oddline":"0","tokeniser":"0","templates":0,"events":0,"is_ready":true,"origins":[]}"#;

fuzz_target!(|data: &[u8]| {
    let (config, path) = (Config::default(), Path::new("fuzz"));
    drop(Baseline::from_bytes(&config, path, data));
    for name in ["manifest", "templates", "counts", "model", "feedback"] {
        let part = |own: &str, usual: &'static [u8]| if own == name { data.to_vec() } else { usual.to_vec() };
        let sections = [
            ("manifest", part("manifest", MANIFEST)),
            ("templates", part("templates", &[0; 32])),
            ("counts", part("counts", &[0; 4])),
            ("model", part("model", &[])),
            ("feedback", part("feedback", b"[]")),
        ];
        let sections = sections.each_ref().map(|(name, bytes)| (*name, bytes.as_slice()));
        let Ok(bytes) = baseline::encode(&sections) else { continue };
        if let Ok(read) = Baseline::from_bytes(&config, path, &bytes) {
            drop(read.to_bytes());
        }
    }
});
