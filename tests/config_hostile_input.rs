//! Configurations that were never meant to be one: an error, soon, and no panic.

#![allow(clippy::unwrap_used, clippy::panic)]

use oddline::config::{Config, ConfigError, FIELDS, Format, example_in};
use proptest::prelude::*;

const FORMATS: [Format; 3] = [Format::Yaml, Format::Toml, Format::Json];

fn load(text: &str, format: Format) -> Result<Config, ConfigError> {
    Config::from_str(text, format, "test")
}

fn load_bytes(bytes: &[u8], ending: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("oddline.{ending}"));
    std::fs::write(&path, bytes).unwrap();
    Config::from_path(&path)
}

#[test]
fn a_truncated_file_is_refused_or_is_a_shorter_configuration() {
    for format in FORMATS {
        let text = example_in(format);
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            if let Ok(config) = load(&text[..end], format) {
                config.validate().unwrap_or_else(|error| panic!("{format:?} cut at {end}: {error}"));
            }
        }
    }
    let json = example_in(Format::Json);
    let error = load(&json[..json.len() / 2], Format::Json).unwrap_err();
    assert!(matches!(error, ConfigError::Syntax { .. }) && error.line() > Some(10), "{error}");
    assert!(matches!(load("partition_by: [host", Format::Yaml), Err(ConfigError::Syntax { .. })));
    assert!(matches!(load("partition_by = ['host'", Format::Toml), Err(ConfigError::Syntax { .. })));
}

#[test]
fn ten_megabytes_are_refused_unread() {
    for ending in ["yaml", "toml", "json"] {
        let error = load_bytes(&vec![b' '; 10 << 20], ending).unwrap_err();
        assert!(matches!(error, ConfigError::TooLarge { .. }), "{error}");
    }
    for format in FORMATS {
        let error = load(&"a".repeat(10 << 20), format).unwrap_err();
        assert!(matches!(error, ConfigError::TooLarge { .. }), "{error}");
    }
}

#[test]
fn almost_a_megabyte_of_anything_is_answered() {
    let much = |unit: &str| unit.repeat(1_000_000 / unit.len());
    let units = ["a", "a: ", "{", "[", "\"", "- ", "a\n", "hold_secs: 1\n", "hold_secs = 1\n", "[[a]]\n", "? ", "&a "];
    for format in FORMATS {
        for unit in units {
            assert!(load(&much(unit), format).is_err(), "{format:?} {unit:?}");
        }
        assert!(load(&much("\n"), format).is_ok(), "{format:?}");
    }
    let list = format!("[{}1]", much("1,"));
    for text in [list.clone(), format!("{{\"partition_by\": {list}}}")] {
        assert!(load(&text, Format::Json).is_err());
        assert!(load(&text, Format::Yaml).is_err());
    }
    assert!(load(&format!("partition_by = {list}"), Format::Toml).is_err());
    assert!(load(&format!("message_field = \"{}\"", "é".repeat(500_000)), Format::Toml).is_err());
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_line() {
    let binary: Vec<u8> = (0..=255).cycle().take(4096).collect();
    for ending in ["yaml", "toml", "json"] {
        let error = load_bytes(b"\n\n\xff\xfe\x00\x80", ending).unwrap_err();
        assert!(matches!(error, ConfigError::NotText { .. }), "{error}");
        assert_eq!(error.line(), Some(3));
        for bytes in [b"\xff\xfeh\0o\0l\0d\0", binary.as_slice(), &[0; 4096], b"\x7fELF\x02\x01\x01\0\0\0"] {
            assert!(load_bytes(bytes, ending).is_err(), "{ending} {bytes:?}");
        }
    }
}

/// Values `depth` deep that no key takes.
fn nested(depth: usize) -> [(Format, String); 8] {
    let lists = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let maps = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let tables = format!("{}1{}", "{a=".repeat(depth), "}".repeat(depth));
    let mut block = String::from("masks:\n");
    for indent in 1..=depth.min(1_400) {
        block.push_str(&" ".repeat(indent));
        block.push_str("a:\n");
    }
    [
        (Format::Json, format!("{{\"masks\": {lists}}}")),
        (Format::Json, format!("{{\"masks\": {maps}}}")),
        (Format::Yaml, format!("masks: {lists}")),
        (Format::Yaml, format!("masks: {maps}")),
        (Format::Yaml, block),
        (Format::Yaml, format!("masks:\n  {}a", "- ".repeat(depth))),
        (Format::Toml, format!("masks = {lists}")),
        (Format::Toml, format!("masks = {tables}")),
    ]
}

fn refuse_deep_nesting() {
    for depth in [20, 200, 1_000, 5_000, 100_000] {
        for (format, text) in nested(depth) {
            let error = load(&text, format).unwrap_err();
            assert!(error.line().is_some(), "{format:?} {depth} {error}");
        }
    }
    let dotted = "a.".repeat(100_000);
    for text in [format!("{dotted}a = 1"), format!("[{dotted}a]"), format!("[[{dotted}a]]")] {
        assert!(load(&text, Format::Toml).is_err());
    }
    // Open brackets alone, never closed.
    for format in FORMATS {
        assert!(load(&"[".repeat(1_000_000), format).is_err());
        assert!(load(&"{\"a\":".repeat(200_000), format).is_err());
    }
}

#[test]
fn deep_nesting_is_refused_on_a_small_stack() {
    std::thread::Builder::new().stack_size(512 << 10).spawn(refuse_deep_nesting).unwrap().join().unwrap();
}

#[test]
fn a_value_nested_by_someone_else_is_refused_too() {
    let mut value = serde_json::json!(1);
    for _ in 0..100 {
        value = serde_json::json!([value]);
    }
    let error = Config::from_value(&serde_json::json!({ "masks": value }), "a stanza").unwrap_err();
    assert!(error.to_string().starts_with("a stanza: masks[0]"), "{error}");
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..=9 {
        let row = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{row}]\n"));
    }
    let error = load(&laughs, Format::Yaml).unwrap_err();
    assert!(error.line().is_some(), "{error}");
    for text in
        ["masks: &a [*a]", "&a masks: *a", "masks: *nowhere", "partition_by: &a\n  - *a\n", "<<: {hold_secs: 1}"]
    {
        assert!(load(text, Format::Yaml).is_err(), "{text}");
    }
}

#[test]
fn an_honest_alias_works() {
    let config = load("message_field: &field log\ntimestamp_field: *field\n", Format::Yaml).unwrap();
    assert_eq!(config.timestamp_field, "log");
}

#[test]
fn what_is_no_map_of_keys_is_refused() {
    for format in [Format::Yaml, Format::Json] {
        for text in ["[]", "7", "\"text\"", "true", "[{\"hold_secs\": 1}]"] {
            let error = load(text, format).unwrap_err();
            assert!(error.to_string().contains("expected a map of keys to values"), "{error}");
        }
    }
    for text in
        ["hold_secs: 1\n---\nhold_secs: 2\n", "? [a]\n: 1\n", "? {a: b}\n: 1\n", "!!binary x: 1", "1: 2", "!x {}"]
    {
        assert!(load(text, Format::Yaml).is_err(), "{text}");
    }
    for text in ["{\"hold_secs\": 1} x", "{\"hold_secs\": 1}{}", "{hold_secs: 1}", "{\"hold_secs\": 1,}", "// x\n{}"] {
        assert!(matches!(load(text, Format::Json), Err(ConfigError::Syntax { .. })), "{text}");
    }
    for text in ["hold_secs = 1979-05-27", "[hold_secs]\na = 1", "[[hold_secs]]", "hold_secs.a = 1", "a = "] {
        assert!(load(text, Format::Toml).is_err(), "{text}");
    }
    assert!(matches!(load(r#"{"target": "\ud800"}"#, Format::Json), Err(ConfigError::Syntax { .. })));
}

#[test]
fn an_error_stays_readable_whatever_was_found() {
    let (key, value) = ("k".repeat(500_000), "x".repeat(500_000));
    let pattern = format!("({}", "y".repeat(500_000));
    for (format, text) in [
        (Format::Json, format!("{{\"{key}\": 1}}")),
        (Format::Json, format!("{{\"target\": \"{value}\"}}")),
        (Format::Json, format!("{{\"masks\": [{{\"name\": \"a\", \"regex\": \"{pattern}\"}}]}}")),
        (Format::Yaml, format!("{key}: 1\n")),
        (Format::Yaml, format!("? {key}\n: 1\n")),
        (Format::Yaml, format!("target: {value}\n")),
        (Format::Toml, format!("{key} = 1\n")),
        (Format::Toml, format!("target = {value}\n")),
    ] {
        let shown = load(&text, format).unwrap_err().to_string();
        assert!(shown.len() < 2_000, "{format:?} {} bytes: {}", shown.len(), &shown[..300]);
    }
}

#[test]
fn terminal_escapes_are_not_passed_on() {
    for text in ["\"\\e[31mred\": 1\n", "target: \"\\e[31mred\"\n", "masks: [{name: a, regex: \"(\\e[31mred\"}]\n"] {
        let error = load(text, Format::Yaml).unwrap_err().to_string();
        assert!(!error.contains('\u{1b}'), "{error:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        for format in FORMATS {
            let _whatever = load(&text, format);
        }
    }

    #[test]
    fn no_value_of_a_known_key_panics(
        field in prop::sample::select(FIELDS),
        value in "[-+.0-9eE_\\[\\]{}\"':,&*!#|>%@~a-z\n ]{0,60}",
    ) {
        let _whatever = load(&format!("{}: {value}", field.key), Format::Yaml);
        let _whatever = load(&format!("{} = {value}", field.key), Format::Toml);
        let _whatever = load(&format!("{{\"{}\": {value}}}", field.key), Format::Json);
    }
}
