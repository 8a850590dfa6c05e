//! Loading a configuration: formats, and faults that are named with key, line and accepted range.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use oddline::config::{
    AlertBudget, BuiltinMask, Config, ConfigError, Durability, EmbedderKind, EventRule, FIELDS, Field, Fields, Format,
    Journal, JournalMessage, Kind, Mask, OnExisting, Per, RuleAction, RuleMatch, Sampling, TimeSource, Wildcards,
};

const FORMATS: [Format; 3] = [Format::Yaml, Format::Toml, Format::Json];

fn yaml(text: &str) -> Result<Config, ConfigError> {
    Config::from_str(text, Format::Yaml, "oddline.yaml")
}

fn message(text: &str) -> String {
    yaml(text).unwrap_err().to_string()
}

/// `key: value` in `format`, with a value that is written the same in all three.
fn one_key(format: Format, key: &str, value: &str) -> String {
    match format {
        Format::Yaml => format!("{key}: {value}\n"),
        Format::Toml => format!("{key} = {value}\n"),
        Format::Json => format!("{{\"{key}\": {value}}}\n"),
        _ => unreachable!("{format:?}"),
    }
}

fn everything() -> Config {
    Config {
        baseline: Some("/fleet.baseline".into()),
        journal: Journal { url: Some("s3://logs/oddline".to_owned()), interval_secs: 60, ..Journal::default() },
        journal_message: JournalMessage::Hash,
        data_dir: Some(PathBuf::from("/var/lib/oddline")),
        alert_budget: AlertBudget::Rate { alerts: 5, per: Per::Hour },
        learning_events: 1,
        learning_secs: 2,
        hold_secs: 3,
        half_life_events: 400,
        calibration_half_life_events: 500,
        severity_weight: 6.0,
        rarity_weight: 0.5,
        rate_weight: 0.25,
        numeric_weight: 2.0,
        categorical_weight: 3.0,
        sequence_weight: 0.75,
        silence_weight: 1.5,
        similar_incident_weight: 1.25,
        semantic_weight: 0.125,
        window_secs: 7,
        message_field: "log".to_owned(),
        timestamp_field: "time \"when\" 🕐".to_owned(),
        level_field: Some("log.level".to_owned()),
        partition_by: vec!["host".to_owned(), "kubernetes.pod\\name".to_owned()],
        time: TimeSource::Event,
        target: "oddline.anomaly".to_owned(),
        fields: Fields::Full,
        parameters: true,
        template_field: Some("log.record.template".to_owned()),
        on_existing: OnExisting::Rename,
        max_templates: 8,
        memory_limit_bytes: 1 << 30,
        durability: Durability::Always,
        flush_interval_ms: 90,
        checkpoint_interval_secs: 10,
        wal_segment_bytes: 1 << 17,
        retention_hours: 12,
        max_disk_bytes: 1 << 25,
        embedder: EmbedderKind::Onnx,
        embedder_model: Some("/models/minilm".into()),
        embedder_runtime: Some("/opt/libonnxruntime.so".into()),
        embedders: 2,
        masks: vec![
            Mask { name: "order".to_owned(), regex: r#"\bORD-\d+"?\b"#.to_owned() },
            Mask { name: "iban".to_owned(), regex: "[A-Z]{2}[0-9]{20}".to_owned() },
        ],
        disabled_masks: vec![BuiltinMask::Hex, BuiltinMask::Number],
        merge_after: 13,
        merge_names_after: 12,
        max_line_tokens: 14,
        max_token_bytes: 15,
        seed_templates: vec!["user <*> \"in\"".to_owned()],
        seed_logs: vec!["user: ann #1".to_owned(), "  x".to_owned()],
        rules: vec![
            EventRule {
                name: "one".to_owned(),
                matches: RuleMatch::Template { template: "0123456789abcdef".to_owned() },
                action: RuleAction::Never,
            },
            EventRule {
                name: "two".to_owned(),
                matches: RuleMatch::Regex { regex: r#"^disk "<\*>""#.to_owned() },
                action: RuleAction::Always,
            },
            EventRule {
                name: "three".to_owned(),
                matches: RuleMatch::Field { field: "log.level".to_owned(), value: String::new() },
                action: RuleAction::Never,
            },
        ],
        sampling: Some(Sampling { keep_per_minute: 7, minimum_ratio: 0.5 }),
        wildcards: Wildcards::Typed,
    }
}

#[test]
fn all_three_formats_say_the_same() {
    let config = everything();
    config.validate().unwrap();
    let json = serde_json::to_string_pretty(&config).unwrap();
    let toml = toml::to_string(&config).unwrap();
    let yaml = serde_saphyr::to_string(&config).unwrap();
    for (format, text) in [(Format::Json, json), (Format::Toml, toml), (Format::Yaml, yaml)] {
        assert_eq!(Config::from_str(&text, format, "test").unwrap(), config, "{text}");
    }
    assert_eq!(Config::from_value(&serde_json::to_value(&config).unwrap(), "test").unwrap(), config);
}

#[test]
fn an_empty_text_gives_the_defaults() {
    for format in FORMATS {
        for text in ["", "\n \t\r\n", "\u{feff}", "\u{feff}\n"] {
            assert_eq!(Config::from_str(text, format, "test").unwrap(), Config::default(), "{format:?} {text:?}");
        }
    }
    for text in ["# only a comment\n", "---\n", "---\n...\n", "{}", "null", "~"] {
        assert_eq!(yaml(text).unwrap(), Config::default(), "{text:?}");
    }
    assert_eq!(Config::from_str("# only\n", Format::Toml, "test").unwrap(), Config::default());
    assert_eq!(Config::from_str("{}", Format::Json, "test").unwrap(), Config::default());
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_key() {
    for format in FORMATS {
        let text = format!("\u{feff}{}", one_key(format, "hold_secs", "7"));
        assert_eq!(Config::from_str(&text, format, "test").unwrap().hold_secs, 7, "{format:?}");
    }
}

#[test]
fn line_ends_of_other_systems_are_accepted_and_counted() {
    assert_eq!(yaml("hold_secs: 7\r\ncheckpoint_interval_secs: 8\r\n").unwrap().checkpoint_interval_secs, 8);
    assert_eq!(yaml("hold_secs: 7\r\n\r\ncheckpoint_interval_secs: 0\r\n").unwrap_err().line(), Some(3));
}

#[test]
fn the_ending_of_the_name_tells_the_format() {
    let dir = tempfile::tempdir().unwrap();
    let files = [("a.yaml", Format::Yaml), ("a.yml", Format::Yaml), ("a.TOML", Format::Toml), ("a.json", Format::Json)];
    for (name, format) in files {
        let path = dir.path().join(name);
        std::fs::write(&path, one_key(format, "hold_secs", "7")).unwrap();
        assert_eq!(Config::from_path(&path).unwrap().hold_secs, 7, "{name}");
    }
    for name in ["oddline", "oddline.conf", ".yaml"] {
        let error = Config::from_path(Path::new(name)).unwrap_err();
        assert!(matches!(error, ConfigError::UnknownFormat { .. }), "{error}");
        assert!(error.to_string().contains("yaml, yml, toml, json"), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("directory.yaml");
    std::fs::create_dir(&directory).unwrap();
    for path in [dir.path().join("missing.yaml"), directory] {
        let error = Config::from_path(&path).unwrap_err();
        assert!(matches!(error, ConfigError::Read { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn an_unknown_key_names_its_line_and_the_nearest_known_key() {
    assert_eq!(
        message("# a comment\nhold_secs: 7\nalert_buget: 0.01\n"),
        "oddline.yaml:3: unknown key \"alert_buget\"; did you mean \"alert_budget\"?"
    );
    let far = message("colour: red\n");
    assert!(
        far.starts_with("oddline.yaml:1: unknown key \"colour\"; known keys: data_dir, baseline, alert_budget, "),
        "{far}"
    );
    for format in FORMATS {
        let error = Config::from_str(&one_key(format, "retention_hour", "1"), format, "test").unwrap_err();
        let ConfigError::UnknownKey { key, nearest, .. } = &error else { panic!("{error}") };
        assert_eq!((key.as_str(), *nearest, error.line()), ("retention_hour", Some("retention_hours"), Some(1)));
    }
}

#[test]
fn a_value_out_of_range_names_key_line_value_and_range() {
    assert_eq!(
        message("hold_secs: 7\n\nalert_budget: 0.5\n"),
        "oddline.yaml:3: alert_budget: 0.5 is out of range: expected a number from 0.000001 to 0.1 (share of events), or 1 to 999999 alerts per minute, hour or day, written as in \"5/hour\""
    );
    assert!(message("alert_budget: 5/week").starts_with(
        "oddline.yaml:1: alert_budget: expected a number from 0.000001 to 0.1 (share of events), or 1 to "
    ));
    assert_eq!(
        message("checkpoint_interval_secs: 0"),
        "oddline.yaml:1: checkpoint_interval_secs: 0 is out of range: expected a whole number from 1 to 86400 (seconds)"
    );
    assert_eq!(
        message("fields: ful"),
        "oddline.yaml:1: fields: \"ful\" is out of range: expected one of minimal, standard, full"
    );
}

#[test]
fn lines_are_right_in_every_format() {
    let texts = [
        (Format::Yaml, "# one\nhold_secs: 1\npartition_by:\n  - host\n  - ''\n"),
        (Format::Toml, "# one\nhold_secs = 1\npartition_by = [\n  'host',\n  '',\n]\n"),
        (Format::Json, "{\n  \"hold_secs\": 1,\n  \"partition_by\": [\n    \"host\",\n    \"\"\n  ]\n}\n"),
    ];
    for (format, text) in texts {
        let error = Config::from_str(text, format, "test").unwrap_err();
        assert_eq!((error.key(), error.line()), (Some("partition_by[1]"), Some(5)), "{format:?} {error}");
    }
}

#[test]
fn faults_are_reported_in_the_order_of_the_file() {
    for (format, text) in [
        (Format::Toml, "checkpoint_interval_secs = 0\nalert_budget = 7\n"),
        (Format::Yaml, "checkpoint_interval_secs: 0\nalert_budget: 7\n"),
        (Format::Json, "{\"checkpoint_interval_secs\": 0,\n\"alert_budget\": 7}"),
    ] {
        assert_eq!(
            Config::from_str(text, format, "test").unwrap_err().key(),
            Some("checkpoint_interval_secs"),
            "{format:?}"
        );
    }
}

/// Values of every type; each is of the wrong type for most kinds.
const VALUES: [&str; 7] = ["true", "7", "7.5", "\"text\"", "[\"a\"]", "[7]", "\"\""];

fn is_of_type(kind: Kind, value: &str) -> bool {
    match kind {
        Kind::Flag => value == "true",
        Kind::Integer { .. } => value == "7",
        Kind::Number { .. } | Kind::Budget => value == "7" || value == "7.5",
        Kind::Choice(_) | Kind::Text(_) | Kind::OptionalText(_) => value.starts_with('"'),
        Kind::Sampling => value.starts_with('{'),
        Kind::Texts { .. } | Kind::Choices(_) => value == "[\"a\"]",
        _ => false,
    }
}

#[test]
fn the_wrong_type_is_refused_for_each_key_in_each_format() {
    for format in FORMATS {
        for field in FIELDS {
            for value in VALUES {
                let text = one_key(format, field.key, value);
                let result = Config::from_str(&text, format, "test");
                let wrong = matches!(&result, Err(ConfigError::WrongType { .. }));
                assert_eq!(wrong, !is_of_type(field.kind, value), "{text} {result:?}");
                if let Err(error) = result {
                    assert!(error.key().unwrap().starts_with(field.key), "{error}");
                    assert_eq!(error.line(), Some(1), "{error}");
                }
            }
        }
    }
}

#[test]
fn nothing_is_a_value_only_for_keys_that_can_be_unset() {
    for field in FIELDS {
        let optional = matches!(field.kind, Kind::OptionalText(_) | Kind::Sampling);
        for (format, value) in [(Format::Json, "null"), (Format::Yaml, "null"), (Format::Yaml, "")] {
            let result = Config::from_str(&one_key(format, field.key, value), format, "test");
            assert_eq!(result.is_ok(), optional, "{} {result:?}", field.key);
        }
    }
}

/// The least, the greatest, and what lies just outside.
fn edges(field: &Field) -> Option<([String; 2], [String; 2])> {
    match field.kind {
        Kind::Integer { min, max } => {
            let (below, above) = (i128::from(min) - 1, i128::from(max) + 1);
            Some(([min.to_string(), max.to_string()], [below.to_string(), above.to_string()]))
        }
        Kind::Number { min, max } => {
            let (below, above) = (min.next_down(), max.next_up());
            Some(([format!("{min:?}"), format!("{max:?}")], [format!("{below:?}"), format!("{above:?}")]))
        }
        Kind::Budget => Some((["1e-6", "\"999999/day\""].map(str::to_owned), ["9e-7", "0.11"].map(str::to_owned))),
        _ => None,
    }
}

#[test]
fn bounds_are_accepted_and_what_lies_outside_is_not() {
    for format in FORMATS {
        for field in FIELDS {
            let Some((inside, outside)) = edges(field) else { continue };
            for value in inside {
                let text = one_key(format, field.key, &value);
                Config::from_str(&text, format, "test").unwrap_or_else(|error| panic!("{error}"));
            }
            for value in outside {
                let text = one_key(format, field.key, &value);
                let error = Config::from_str(&text, format, "test").unwrap_err();
                assert!(matches!(error, ConfigError::OutOfRange { .. }), "{error}");
                assert!(error.to_string().contains(&field.accepted()), "{error}");
            }
        }
    }
}

/// Makes one key wrong.
type Change = fn(&mut Config);

#[test]
fn a_struct_is_checked_as_a_file_is() {
    let wrong: [(&str, Change); 9] = [
        ("alert_budget", |config| config.alert_budget = f64::NAN.into()),
        ("alert_budget", |config| config.alert_budget = (-0.1).into()),
        ("severity_weight", |config| config.severity_weight = f64::INFINITY),
        ("message_field", |config| config.message_field.clear()),
        ("data_dir", |config| config.data_dir = Some(PathBuf::new())),
        ("partition_by[0]", |config| config.partition_by = vec![String::new()]),
        ("partition_by", |config| config.partition_by = (0..17).map(|i| format!("f{i}")).collect()),
        ("wal_segment_bytes", |config| {
            config.max_disk_bytes = 16 << 20;
            config.wal_segment_bytes = 17 << 20;
        }),
        ("max_templates", |config| config.max_templates = 0),
    ];
    for (key, change) in wrong {
        let mut config = Config::default();
        change(&mut config);
        let error = config.validate().unwrap_err();
        assert!(matches!(error, ConfigError::OutOfRange { .. }), "{error}");
        assert_eq!((error.key(), error.line()), (Some(key), None));
        assert!(error.to_string().starts_with(key), "{error}");
    }
}

#[test]
fn two_keys_that_do_not_go_together_are_reported_with_both() {
    let error = yaml("max_disk_bytes: 16777216\nwal_segment_bytes: 33554432\n").unwrap_err();
    assert_eq!(error.line(), Some(2));
    assert!(error.to_string().contains("at most max_disk_bytes, which is 16777216"), "{error}");
    let error = yaml("wal_segment_bytes: 1073741824\nmax_disk_bytes: 16777216\n").unwrap_err();
    assert_eq!(error.line(), Some(1));
}

#[test]
fn more_seeds_than_templates_are_an_error_that_names_both() {
    let seeds = "seed_templates: [a <*>, b <*>]\nseed_logs: [c]\n";
    let error = yaml(&format!("{seeds}max_templates: 2\n")).unwrap_err();
    assert_eq!((error.key(), error.line()), (Some("max_templates"), Some(3)));
    let expected = "2 is out of range: expected at least as many as seed_templates and seed_logs have together, 3";
    assert!(error.to_string().contains(expected), "{error}");
    yaml(&format!("{seeds}max_templates: 3\n")).unwrap();
}

#[test]
fn numbers_that_are_whole_may_be_written_with_an_exponent() {
    for format in FORMATS {
        let config = Config::from_str(&one_key(format, "learning_events", "1e6"), format, "test").unwrap();
        assert_eq!(config.learning_events, 1_000_000, "{format:?}");
    }
}

#[test]
fn numbers_that_are_none_are_refused() {
    for key in ["alert_budget", "hold_secs"] {
        for (format, value) in [
            (Format::Yaml, ".nan"),
            (Format::Yaml, ".inf"),
            (Format::Yaml, "-.inf"),
            (Format::Toml, "nan"),
            (Format::Toml, "inf"),
            (Format::Toml, "-inf"),
            (Format::Json, "1e999"),
            (Format::Json, "NaN"),
            (Format::Json, "340282366920938463463374607431768211456"),
            (Format::Yaml, "-1"),
            (Format::Toml, "-1"),
            (Format::Json, "-1"),
            (Format::Yaml, "99999999999999999999999999999999999999999999999"),
            (Format::Yaml, "1e999"),
        ] {
            let error = Config::from_str(&one_key(format, key, value), format, "test").unwrap_err();
            assert_eq!(error.line(), Some(1), "{key} {value} {error}");
        }
    }
}

#[test]
fn what_looks_like_a_number_is_no_text_unless_quoted() {
    assert!(matches!(yaml("message_field: 7"), Err(ConfigError::WrongType { .. })));
    assert!(matches!(yaml("parameters: yes"), Err(ConfigError::WrongType { .. })));
    assert_eq!(yaml("message_field: '7'").unwrap().message_field, "7");
    assert_eq!(yaml("message_field: yes").unwrap().message_field, "yes");
}

#[test]
fn the_target_is_a_dotted_path_of_identifiers() {
    for target in ["anomaly", "_a", "log.record.anomaly", "a1.b2"] {
        assert_eq!(yaml(&format!("target: {target}")).unwrap().target, target);
    }
    for target in ["", ".", "a.", ".a", "a..b", "1a", "a-b", "a b", "ä", "a\\n", "a[0]"] {
        let error = yaml(&format!("target: \"{target}\"")).unwrap_err();
        assert!(matches!(error, ConfigError::OutOfRange { .. }), "{target} {error}");
    }
}

#[test]
fn sampling_has_defaults_and_names_its_fault() {
    assert_eq!(yaml("sampling: {}").unwrap().sampling, Some(Sampling::default()));
    assert_eq!(yaml("sampling: []").unwrap().sampling, Some(Sampling::default()), "as from Lua");
    assert_eq!(yaml("sampling: null").unwrap().sampling, None);
    let few = Sampling { keep_per_minute: 6, ..Sampling::default() };
    assert_eq!(yaml("sampling: {keep_per_minute: 6}").unwrap().sampling, Some(few));
    for (text, key, what) in [
        ("sampling: 7", "sampling", "a map of keep_per_minute"),
        ("sampling: {keep_per_minute: 0}", "sampling.keep_per_minute", "from 1 to"),
        ("sampling: {keep_per_minute: 1.5}", "sampling.keep_per_minute", "a whole number"),
        ("sampling: {keep_per_minute: all}", "sampling.keep_per_minute", "found \"all\""),
        ("sampling: {minimum_ratio: 0}", "sampling.minimum_ratio", "from 0.000001 to 1"),
        ("sampling: {minimum_ratio: .nan}", "sampling.minimum_ratio", "from 0.000001 to 1"),
        ("sampling: {minimum_ration: 1}", "minimum_ration", "did you mean \"minimum_ratio\"?"),
    ] {
        let error = yaml(text).unwrap_err().to_string();
        assert!(
            error.starts_with("oddline.yaml:1: ") && error.contains(key) && error.contains(what),
            "{text}: {error}"
        );
    }
}

#[test]
fn rules_name_their_fault() {
    let rules = |text: &str| yaml(&format!("rules:\n{text}")).unwrap_err();
    let whole = |part: &str| format!("  - {{name: a, match: {part}, do: never}}");
    for (text, key, line, what) in [
        ("  - {name: A, match: {regex: a}, do: never}".to_owned(), "rules[0].name", 2, "lower-case"),
        ("  - {match: {regex: a}, do: never}".to_owned(), "rules[0].name", 2, "missing"),
        ("  - {name: a, do: never}".to_owned(), "rules[0].match", 2, "missing"),
        ("  - {name: a, match: {regex: a}}".to_owned(), "rules[0].do", 2, "one of never, always"),
        ("  - {name: a, match: {regex: a}, do: maybe}".to_owned(), "rules[0].do", 2, "one of never, always"),
        ("  - text".to_owned(), "rules[0]", 2, "a map of name, match, do"),
        (whole("{}"), "rules[0].match", 2, "template, of regex, or of field and value"),
        (whole("a"), "rules[0].match", 2, "template, of regex, or of field and value"),
        (whole("{field: host}"), "rules[0].match", 2, "field and value"),
        (whole("{template: 0123456789abcdef, regex: a}"), "rules[0].match", 2, "template, of regex"),
        (whole("{template: 123}"), "rules[0].match.template", 2, "16 hex digits"),
        (whole("{template: 0123456789ABCDEF}"), "rules[0].match.template", 2, "16 hex digits"),
        (whole("{field: host, value: 7}"), "rules[0].match.value", 2, "found 7"),
        (whole("\n      {regex: '('}"), "rules[0].match.regex", 3, "not a valid pattern"),
        (whole("{regx: a}"), "regx", 2, "did you mean \"regex\"?"),
        (
            "  - {name: a, match: {regex: a}, do: never}\n  - {name: a, match: {regex: b}, do: never}".to_owned(),
            "rules[1].name",
            3,
            "each name once",
        ),
    ] {
        let error = rules(&text).to_string();
        assert!(error.starts_with(&format!("oddline.yaml:{line}: ")), "{text}: {error}");
        assert!(error.contains(key) && error.contains(what), "{text}: {error}");
    }
    let of_field = |n: usize| format!("  - {{name: r{n}, match: {{field: f{n}, value: x}}, do: never}}\n");
    assert!(yaml(&format!("rules:\n{}", (0..8).map(of_field).collect::<String>())).is_ok());
    let error = rules(&(0..9).map(of_field).collect::<String>()).to_string();
    assert!(error.contains("rules[8].match") && error.contains("at most 8 different fields"), "{error}");
}

#[test]
fn masks_name_their_fault() {
    let masks = |masks: &str| yaml(&format!("masks:\n{masks}")).unwrap_err();
    for (text, key, line, words) in [
        ("  - {name: Order, regex: a}", "masks[0].name", 2, "lower-case"),
        ("  - {name: '', regex: a}", "masks[0].name", 2, "lower-case"),
        ("  - {name: 7, regex: a}", "masks[0].name", 2, "found 7"),
        ("  - {name: a, regex: 'x'}\n  - {name: a, regex: 'y'}", "masks[1].name", 3, "each name once"),
        ("  - {name: a, regex: 'x*'}", "masks[0].regex", 2, "empty text"),
        ("  - {name: a, regex: ''}", "masks[0].regex", 2, "empty text"),
        ("  - {name: a, regex: 7}", "masks[0].regex", 2, "found 7"),
        ("  - name: a", "masks[0].regex", 2, "missing"),
        ("  - regex: a", "masks[0].name", 2, "missing"),
        ("  - name: a\n    regexp: a", "regexp", 3, "did you mean \"regex\"?"),
        ("  - text", "masks[0]", 2, "a map of name and regex"),
        ("  - name: a\n    regex: 'a{99999}{99999}'", "masks[0].regex", 3, "not a valid pattern"),
        ("  - name: a\n    regex: 'id(?-u)[^;]'", "masks[0].regex", 3, "can match invalid UTF-8"),
    ] {
        let error = masks(text);
        assert_eq!((error.key(), error.line()), (Some(key), Some(line)), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let error = masks("  - name: order\n    regex: 'ORD-('\n").to_string();
    assert!(error.starts_with("oddline.yaml:3: masks[0].regex: not a valid pattern"), "{error}");
    assert!(error.contains('^'), "shows where: {error}");
    let bytes = masks("  - {name: order, regex: 'ORD-(?-u:\\xff)'}\n").to_string();
    let shown = "    ORD-(?-u:\\xff)\n             ^^^^\nerror: pattern can match invalid UTF-8";
    assert!(bytes.contains(shown), "shows where and why: {bytes}");
    let ascii = Config::from_str("masks: [{name: a, regex: '(?-u:[0-9a-f]+)'}]", Format::Yaml, "test");
    assert!(ascii.is_ok(), "what matches whole characters only is taken: {ascii:?}");
}

#[test]
fn a_key_twice_is_refused_with_both_lines() {
    for (format, text) in [
        (Format::Yaml, "hold_secs: 1\ncheckpoint_interval_secs: 2\nhold_secs: 1\n"),
        (Format::Json, "{\"hold_secs\": 1,\n\"checkpoint_interval_secs\": 2,\n\"hold_secs\": 1}"),
    ] {
        let error = Config::from_str(text, format, "test").unwrap_err();
        assert_eq!(error.to_string(), "test:3: key \"hold_secs\" is set twice, first on line 1");
    }
    let error = Config::from_str("hold_secs = 1\n\nhold_secs = 1\n", Format::Toml, "test").unwrap_err();
    assert_eq!(error.line(), Some(3), "{error}");
    let error = yaml("masks:\n - name: a\n   name: b\n   regex: c\n").unwrap_err();
    assert!(matches!(error, ConfigError::DuplicateKey { .. }), "{error}");
}
