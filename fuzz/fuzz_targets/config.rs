//! Any text as a configuration in each format: an error or a valid configuration.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oddline::config::{Config, Format};

fuzz_target!(|text: &str| {
    for format in [Format::Yaml, Format::Toml, Format::Json] {
        match Config::from_str(text, format, "fuzz") {
            Ok(config) => assert!(config.validate().is_ok()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
