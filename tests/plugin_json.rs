//! JSON and text lines through the component.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use oddline::clock::ManualClock;
use oddline::config::{Config, Fields, OnExisting};
use oddline::engine::Environment;
use oddline::event::Timestamp;
use oddline::plugin::conformance::{self, Adapter};
use oddline::plugin::fields::{FIELDS, FieldId};
use oddline::plugin::{Component, Counts, LineScorer, Written};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn scorer(config: Config) -> LineScorer {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
    LineScorer::new(Component::new(config, Environment { clock, ..Environment::system() }).unwrap())
}

fn score(scorer: &mut LineScorer, line: impl AsRef<[u8]>) -> String {
    let mut out = Vec::new();
    scorer.json(line.as_ref(), &mut out);
    String::from_utf8(out).unwrap()
}

fn score_minimal(line: &str) -> String {
    score(&mut scorer(Config { fields: Fields::Minimal, ..Config::default() }), line)
}

fn counts(scorer: &mut LineScorer) -> Counts {
    scorer.component().stats().counts
}

/// The output without the fields: what must be the input, byte for byte.
fn without_fields(out: &str) -> String {
    let at = out.rfind("\"anomaly\":{").unwrap();
    let end = at + out[at..].find('}').unwrap() + 1;
    format!("{}{}", out[..at].trim_end_matches(','), &out[end..])
}

struct Lines;

impl Adapter for Lines {
    fn run(&mut self, config: &Value, events: &[Value]) -> Result<Vec<Value>, String> {
        let config: Config = serde_json::from_value(config.clone()).map_err(|error| error.to_string())?;
        let mut scorer = scorer(config);
        events
            .iter()
            .map(|event| {
                let out = score(&mut scorer, event.to_string());
                serde_json::from_str(&out).map_err(|error| format!("{error} in {out}"))
            })
            .collect()
    }
}

#[test]
fn json_lines_conform_to_what_every_adapter_must_do() {
    assert_eq!(conformance::check(&mut Lines), Vec::<String>::new());
}

#[test]
fn an_object_keeps_every_byte_and_gets_the_fields_before_its_last_brace() {
    for line in [
        r#"{"message":"a"}"#,
        r#"{}"#,
        r#"  { "message" : "a" , "n" : 1.0e+10 , "big": 123456789012345678901234567890.10 }  "#,
        r#"{"message":"a","x":1,"x":2,"\u006d":"\/\ud83e\udd80\ud800"}"#,
        "{\"message\":\"a\",\"z\":[[],{},[{\"message\":\"inner\"}]]}\r",
    ] {
        let out = score_minimal(line);
        assert!(serde_json::from_str::<Value>(&out.replace("\\ud800", "")).is_ok(), "{out}");
        assert_eq!(without_fields(&out), line, "{out}");
    }
    assert!(score_minimal("{}").starts_with(r#"{"anomaly":{"score":0.0,"is_anomaly":false,"reasons":[]}}"#));
    assert!(score_minimal(r#"{"a":1}"#).starts_with(r#"{"a":1,"anomaly":{"#));
}

#[test]
fn fields_stand_in_the_order_of_the_table() {
    let out = score(
        &mut scorer(Config { fields: Fields::Full, parameters: true, ..Config::default() }),
        r#"{"message":"a 1"}"#,
    );
    // The others are told of some events only.
    let always = FIELDS.iter().filter(|field| field.condition.is_empty() || field.id == FieldId::Parameters);
    let names: Vec<_> = always.map(|field| out.find(&format!("\"{}\":", field.name))).collect();
    assert!(names.iter().all(Option::is_some), "{out}");
    assert!(names.is_sorted(), "{out}");
}

#[test]
fn a_line_that_is_no_object_becomes_a_message() {
    for line in [
        "plain text",
        "[1,2]",
        "3",
        "\"text\"",
        "null",
        "",
        " ",
        "{",
        "{}x",
        "{\"a\":1}{\"b\":2}",
        "{\"a\":01}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{\"a\":-}",
        "{\"a\":tru}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":[1,]}",
        "{\"a\":[1}",
        "{\"a\":{]}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\u12",
        "{\"a\":\"open",
        "{\"a\":\"tab\there\"}",
        "{'a':1}",
        "{\"message\":\"a\"",
        "{\"message\":nul}",
        "{\"a\":+1}",
        "{\"a\":NaN}",
        "{a:1}",
        "\u{feff}{}",
    ] {
        assert!(serde_json::from_str::<Map<String, Value>>(line).is_err(), "{line}");
        let out: Value = serde_json::from_str(&score_minimal(line)).unwrap();
        assert_eq!(out["message"], line);
        assert_eq!(out["anomaly"]["is_anomaly"], false);
    }
}

#[test]
fn control_bytes_are_escaped_and_bytes_that_are_not_utf8_are_replaced_and_counted() {
    let mut scorer = scorer(Config::default());
    let mut out = Vec::new();
    scorer.text(b"a\0b\x1b\xff\xfe\"\\\n", &mut out);
    assert!(out.starts_with("{\"message\":\"a\\u0000b\\u001b\u{fffd}\u{fffd}\\\"\\\\\\n\",".as_bytes()), "{out:?}");
    let out = score(&mut scorer, b"{\"message\":\"caf\xe9\",\"n\":1}");
    assert!(out.starts_with("{\"message\":\"caf\u{fffd}\",\"n\":1,"), "{out}");
    assert_eq!(counts(&mut scorer).invalid_utf8_total, 2);
}

#[test]
fn nesting_of_a_hundred_thousand_passes_and_more_is_taken_as_text() {
    for (depth, is_object) in [(1_000, true), (99_999, true), (100_000, false), (1_000_000, false)] {
        let line = format!("{{\"message\":\"m\",\"deep\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let out = score_minimal(&line);
        assert_eq!(without_fields(&out) == line, is_object, "{depth}");
        let objects = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(score_minimal(&objects).ends_with("]}}"));
    }
}

#[test]
fn a_line_of_ten_megabytes_passes() {
    let line = format!("{{\"message\":\"{}\"}}", "word 17 ".repeat(1_250_000));
    let out = score_minimal(&line);
    assert_eq!(without_fields(&out), line);
}

#[test]
fn of_two_members_of_a_name_the_last_counts() {
    let mut scorer = scorer(Config { parameters: true, ..Config::default() });
    let out: Value = serde_json::from_str(&score(&mut scorer, r#"{"message":"first","message":"second 2"}"#)).unwrap();
    assert_eq!(out["anomaly"]["parameters"], json!(["2"]));
    score(&mut scorer, r#"{"message":"first","message":{}}"#);
    score(&mut scorer, r#"{"message":"first","\u006dessage":null}"#);
    assert_eq!(counts(&mut scorer).events_without_message_total, 2);
}

#[test]
fn every_old_member_at_the_target_is_cut_out_wherever_it_stands() {
    for (line, rest) in [
        (r#"{"anomaly":1}"#, r#"{}"#),
        (r#"{"anomaly":1,"anomaly":{"a":[1,"}"]}}"#, r#"{}"#),
        (r#"{"anomaly":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"a":2,"anomaly":1}"#, r#"{"a":2}"#),
        (r#"{"a":2,"anomaly":1,"b":3}"#, r#"{"a":2,"b":3}"#),
        (r#"{"anomaly":1,"anomaly":2,"b":3}"#, r#"{"b":3}"#),
        (r#"{"anomaly":1,"b":3,"anomaly":2}"#, r#"{"b":3}"#),
        (r#"{"a":2,"anom\u0061ly":1,"anomaly":true,"c":"}"}"#, r#"{"a":2,"c":"}"}"#),
        (r#"{ "anomaly" : null , "a" : 2 }"#, r#"{ "a" : 2 }"#),
    ] {
        let out = score_minimal(line);
        assert!(serde_json::from_str::<Value>(&out).is_ok(), "{line}: {out}");
        assert_eq!(without_fields(&out).replace(",}", "}"), rest, "{line}: {out}");
        assert_eq!(out.matches("\"anomaly\":").count(), 1, "{out}");
    }
}

#[test]
fn an_object_that_keeps_its_field_passes_byte_for_byte() {
    let mut scorer = scorer(Config { on_existing: OnExisting::Keep, ..Config::default() });
    let line = r#"{ "anomaly":7, "message":"a" } "#;
    let mut out = b"before\n".to_vec();
    assert_eq!(scorer.json(line.as_bytes(), &mut out).written, Written::Kept);
    assert_eq!(out, format!("before\n{line}").into_bytes());
    assert_eq!(counts(&mut scorer).events_kept_total, 1);
}

#[test]
fn a_data_dir_that_cannot_be_opened_leaves_events_unscored_and_lost_none() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut scorer = scorer(Config { data_dir: Some(file.path().to_owned()), ..Config::default() });
    for _ in 0..3 {
        let out: Value = serde_json::from_str(&score(&mut scorer, r#"{"message":"a"}"#)).unwrap();
        assert_eq!(out["anomaly"], json!({"score": 0.0, "is_anomaly": false, "reasons": [], "state": "degraded"}));
    }
    let stats = scorer.component().stats();
    assert_eq!((stats.counts.events_unscored_total, stats.counts.open_failures_total), (3, 1));
    assert!(stats.last_error.is_some());
    assert!(scorer.component().open().is_err());
}

#[test]
fn a_component_that_is_only_built_touches_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("state");
    let component =
        Component::new(Config { data_dir: Some(data_dir.clone()), ..Config::default() }, Environment::system());
    component.unwrap().shutdown().unwrap();
    assert!(!data_dir.exists());
}

#[test]
fn clones_share_counts_and_learning() {
    let mut first = scorer(Config::default());
    score(&mut first, r#"{"message":"a 1"}"#);
    let mut second = LineScorer::new(first.component().clone());
    score(&mut second, r#"{"message":"a 2"}"#);
    second.component().flush().unwrap();
    assert_eq!(counts(&mut first).events_total, 2);
    second.into_component().shutdown().unwrap();
    first.into_component().shutdown().unwrap();
}

/// JSON of any shape; members called like those that are read and written come up often.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z \"\\\\\n]{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any_name(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![Just("message".to_owned()), Just("log".to_owned()), Just("log.message".to_owned()), any::<String>()]
}

fn any_object() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec((any_name(), any_json()), 0..8)
        .prop_map(|members| members.into_iter().filter(|(name, _)| name != "anomaly").collect())
}

/// The message as a reader of the parsed line would take it.
fn message(event: &Map<String, Value>, path: &str) -> Option<String> {
    let by_key = event.get(path);
    let nested = || {
        let (first, rest) = path.split_once('.')?;
        event.get(first)?.get(rest)
    };
    match by_key.or_else(nested)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

proptest! {
    #[test]
    fn any_object_keeps_its_text_and_is_read_as_serde_json_reads_it(event in any_object(), pretty in any::<bool>(), path in prop_oneof![Just("message"), Just("log.message")]) {
        let line = if pretty { serde_json::to_string_pretty(&event).unwrap() } else { serde_json::to_string(&event).unwrap() };
        let config = Config { message_field: path.to_owned(), fields: Fields::Minimal, ..Config::default() };
        let mut scorer = scorer(config);
        let out = score(&mut scorer, &line);
        let mut parsed: Map<String, Value> = serde_json::from_str(&out).unwrap();
        prop_assert!(parsed.remove("anomaly").is_some());
        prop_assert_eq!(&parsed, &serde_json::from_str::<Map<String, Value>>(&line).unwrap());
        prop_assert_eq!(without_fields(&out), line);
        prop_assert_eq!(counts(&mut scorer).events_without_message_total, u64::from(message(&event, path).is_none()));
    }

    #[test]
    fn any_bytes_become_one_object(line in prop::collection::vec(any::<u8>(), 0..200)) {
        let out = score(&mut scorer(Config::default()), &line);
        prop_assert!(serde_json::from_str::<Map<String, Value>>(&out).is_ok(), "{}", out);
        prop_assert!(!out.contains('\n'));
    }

    #[test]
    fn a_damaged_line_is_an_object_exactly_when_serde_json_takes_it_for_one(event in any_object(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut line = serde_json::to_vec(&event).unwrap();
        let at = at.index(line.len());
        if cut { line.truncate(at) } else { line[at] = byte & 0x7f }
        let Ok(text) = String::from_utf8(line) else { return Ok(()) };
        let out = score_minimal(&text);
        match serde_json::from_str::<Map<String, Value>>(&text) {
            Ok(original) if !original.contains_key("anomaly") => {
                let mut parsed: Map<String, Value> = serde_json::from_str(&out).unwrap();
                parsed.remove("anomaly");
                prop_assert_eq!(parsed, original);
            }
            Ok(_) => {}
            // serde_json also refuses numbers beyond f64 and halves of surrogate pairs, which RFC 8259 allows.
            Err(error) if ["number out of range", "surrogate", "unexpected end of hex escape"].iter().any(|kind| error.to_string().contains(kind)) => {}
            Err(_) => {
                let parsed: Map<String, Value> = serde_json::from_str(&out).unwrap();
                prop_assert_eq!(parsed["message"].as_str(), Some(text.as_str()));
            }
        }
    }

    #[test]
    fn a_message_is_scored_unescaped(text in any::<String>()) {
        let line = json!({"message": text, "other": 1}).to_string();
        let config = Config { fields: Fields::Full, ..Config::default() };
        let (mut by_line, mut by_text) = (scorer(config.clone()), scorer(config));
        let from_json: Value = serde_json::from_str(&score(&mut by_line, line)).unwrap();
        let mut out = Vec::new();
        by_text.text(text.as_bytes(), &mut out);
        let from_text: Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(&from_json["anomaly"], &from_text["anomaly"]);
    }
}
