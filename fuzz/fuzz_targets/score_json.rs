//! Any bytes as lines of NDJSON: one line out for each, valid JSON when what came in was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oddline::Environment;
use oddline::config::{Config, Fields};
use oddline::plugin::{Component, LineScorer};

fuzz_target!(|data: &[u8]| {
    let config = Config { fields: Fields::Full, parameters: true, ..Config::default() };
    let Ok(component) = Component::new(config, Environment::system()) else { return };
    let mut scorer = LineScorer::new(component);
    for line in data.split(|byte| *byte == b'\n') {
        let mut out = Vec::new();
        scorer.json(line, &mut out);
        assert!(!out.contains(&b'\n'));
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&out).is_ok(), "{}", String::from_utf8_lossy(&out));
    }
});
