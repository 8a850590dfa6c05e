//! What every adapter must do, as a suite that adapters run in their tests.
//!
//! Events go in and come out as JSON values; an adapter under test makes them what its agent has, lets its code
//! handle them, and makes them JSON again. Cases stay within what every agent can hold: no nulls, no empty lists.

use serde_json::{Map, Value as Json, json};

use super::fields::{FIELDS, Field, FieldId, Kind, Part};
use crate::config::Fields;
use crate::event::Reason;

/// An adapter under test.
pub trait Adapter {
    /// Scores `events` with a component for `config` (keys of [`crate::config::Config`]); one result for each, in order.
    fn run(&mut self, config: &Json, events: &[Json]) -> Result<Vec<Json>, String>;

    /// Whether it writes lists that are empty. Where an agent would take them for maps, an adapter leaves them out.
    fn writes_empty_lists(&self) -> bool {
        true
    }
}

/// One case: a configuration, an event, and what becomes of it besides the fields.
struct Case {
    name: &'static str,
    config: Json,
    event: Json,
    /// The event without the fields.
    rest: Json,
    /// Where the fields are, as a JSON pointer; nothing when none are written.
    target: Option<&'static str>,
    /// Whether the event has a template.
    scored: bool,
}

fn case(name: &'static str, config: Json, event: Json) -> Case {
    Case { name, config, rest: event.clone(), event, target: Some("/anomaly"), scored: true }
}

fn ruled(field: &str, value: &str, action: &str) -> Json {
    json!({"rules": [{"name": "mine", "match": {"field": field, "value": value}, "do": action}]})
}

fn cases() -> Vec<Case> {
    let plain = || json!({"message": "user 17 logged in from 10.0.0.1", "host": "web-1", "size": 12, "ok": true, "tags": ["a", "b"], "nested": {"deep": {"er": 1.5}}});
    let with = |mut event: Json, key: &str, value: Json| {
        event[key] = value;
        event
    };
    let mut cases = vec![
        case("defaults", json!({}), plain()),
        case("minimal fields", json!({"fields": "minimal"}), plain()),
        case("full fields", json!({"fields": "full"}), plain()),
        case("full fields with parameters", json!({"fields": "full", "parameters": true}), plain()),
        case("standard fields with parameters", json!({"parameters": true}), plain()),
        case("sampling", json!({"sampling": {"keep_per_minute": 1}}), plain()),
        case("sampling with minimal fields", json!({"sampling": {}, "fields": "minimal"}), plain()),
        case("a rule about a text", ruled("host", "web-1", "always"), plain()),
        case("a rule about a number by path", ruled("nested.deep.er", "1.5", "always"), plain()),
        case("a rule about a flag", ruled("ok", "true", "always"), plain()),
        case("an empty message", json!({}), json!({"message": ""})),
        case(
            "a message of control characters",
            json!({}),
            json!({"message": "a\u{0}b\tc\nd\u{1b}[0m \"q\" \\ é 漢 🦀"}),
        ),
        case("a message of 1 MiB", json!({}), json!({"message": "x y ".repeat(1 << 18)})),
        case("a number for a message", json!({}), json!({"message": 42})),
        case("a flag for a message", json!({}), json!({"message": true})),
        case(
            "a message by path",
            json!({"message_field": "log.message"}),
            json!({"log": {"message": "disk 3 failed"}}),
        ),
        case(
            "a message by one key with dots",
            json!({"message_field": "log.message"}),
            json!({"log.message": "disk 3 failed"}),
        ),
        case(
            "a timestamp of its own",
            json!({"time": "event"}),
            with(plain(), "timestamp", json!("2024-05-06T07:08:09.123Z")),
        ),
        case("a timestamp that is none", json!({"time": "event"}), with(plain(), "timestamp", json!("yesterday"))),
        case("no timestamp", json!({"time": "event"}), plain()),
        case("partitions, one of them missing", json!({"partition_by": ["host", "nested.deep.er", "none"]}), plain()),
        case("a level", json!({"level_field": "level"}), with(plain(), "level", json!("ERROR"))),
        case("a number for a level", json!({"level_field": "level"}), with(plain(), "level", json!(3))),
        Case { scored: false, ..case("no message", json!({}), json!({"text": "hello"})) },
        Case { scored: false, ..case("no message, full fields", json!({"fields": "full"}), json!({"text": "hello"})) },
        Case { scored: false, ..case("a map for a message", json!({}), json!({"message": {"text": "hello"}})) },
        Case { scored: false, ..case("a list for a message", json!({}), json!({"message": ["hello"]})) },
        Case { scored: false, ..case("a path through a text", json!({"message_field": "a.b"}), json!({"a": "hello"})) },
        Case {
            target: Some("/oddline/found"),
            ..case("a target by path", json!({"target": "oddline.found"}), plain())
        },
        Case {
            target: Some("/oddline/found"),
            ..case(
                "a target in an object that is there",
                json!({"target": "oddline.found"}),
                with(plain(), "oddline", json!({"version": "1"})),
            )
        },
    ];
    for old in [json!("mine"), json!(7), json!({"score": 0.25, "other": "x"}), json!(["x"])] {
        let there = with(plain(), "anomaly", old.clone());
        cases.push(Case { rest: plain(), ..case("something at the target, replaced", json!({}), there.clone()) });
        cases.push(Case {
            target: None,
            ..case("something at the target, kept", json!({"on_existing": "keep"}), there.clone())
        });
        cases.push(Case {
            rest: with(plain(), "anomaly_original", old.clone()),
            ..case("something at the target, renamed", json!({"on_existing": "rename"}), there.clone())
        });
        let taken = with(plain(), "anomaly_original", json!("taken"));
        cases.push(Case {
            rest: with(taken.clone(), "anomaly_original_2", old.clone()),
            ..case("renamed when the name is taken", json!({"on_existing": "rename"}), with(taken, "anomaly", old))
        });
    }
    let blocked = with(plain(), "oddline", json!("text"));
    cases.extend([
        Case {
            rest: plain(),
            target: Some("/oddline/found"),
            ..case("a text in the target's way, replaced", json!({"target": "oddline.found"}), blocked.clone())
        },
        Case {
            rest: with(plain(), "oddline_original", json!("text")),
            target: Some("/oddline/found"),
            ..case(
                "a text in the target's way, renamed",
                json!({"target": "oddline.found", "on_existing": "rename"}),
                blocked.clone(),
            )
        },
        Case {
            target: None,
            ..case(
                "a text in the target's way, kept",
                json!({"target": "oddline.found", "on_existing": "keep"}),
                blocked,
            )
        },
    ]);
    cases
}

/// Runs the suite; each text says what an adapter did wrong. None: it conforms.
pub fn check(adapter: &mut dyn Adapter) -> Vec<String> {
    let mut failures = Vec::new();
    for case in cases() {
        if let Err(failure) = check_case(adapter, &case) {
            failures.push(format!("{}: {failure}", case.name));
        }
    }
    for (name, check) in [
        ("events keep their number and order", order as fn(&mut dyn Adapter) -> Result<(), String>),
        ("a template field", template_field),
        ("a template that is known", known_template),
        ("past incidents", past_incidents),
    ] {
        if let Err(failure) = check(adapter) {
            failures.push(format!("{name}: {failure}"));
        }
    }
    failures
}

fn one(adapter: &mut dyn Adapter, config: &Json, event: &Json) -> Result<Json, String> {
    let mut out = adapter.run(config, std::slice::from_ref(event))?;
    match (out.pop(), out.len()) {
        (Some(event), 0) => Ok(event),
        (_, more) => Err(format!("expected one event for one, found {} more", more as i64 - 1)),
    }
}

fn check_case(adapter: &mut dyn Adapter, case: &Case) -> Result<(), String> {
    let out = one(adapter, &case.config, &case.event)?;
    let Some(target) = case.target else {
        return same("the event", &out, &case.rest);
    };
    let Some(fields) = out.pointer(target).cloned() else {
        return Err(format!("expected fields at {target}, found {}", shown(&out)));
    };
    let mut rest = out;
    remove(&mut rest, target, &case.rest);
    same("the event without its fields", &rest, &case.rest)?;
    check_fields(&fields, case, adapter.writes_empty_lists())
}

/// Takes the fields out again, with the objects made to hold them, unless `kept` has those.
fn remove(event: &mut Json, target: &str, kept: &Json) {
    let Some((parent, name)) = target.rsplit_once('/') else { return };
    if let Some(Json::Object(map)) = event.pointer_mut(parent) {
        map.remove(name);
        if map.is_empty() && kept.pointer(parent).is_none() {
            remove(event, parent, kept);
        }
    }
}

fn same(what: &str, found: &Json, expected: &Json) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: expected {}, found {}", shown(expected), shown(found)))
    }
}

fn shown(value: &Json) -> String {
    let text = value.to_string();
    if text.len() > 600 { format!("{}…", text.chars().take(600).collect::<String>()) } else { text }
}

fn check_fields(fields: &Json, case: &Case, writes_empty_lists: bool) -> Result<(), String> {
    let Json::Object(fields) = fields else { return Err(format!("expected an object of fields, found {fields}")) };
    let detail = match case.config["fields"].as_str() {
        Some("minimal") => Fields::Minimal,
        Some("full") => Fields::Full,
        _ => Fields::Standard,
    };
    let flag = |name: &str| fields.get(name) == Some(&Json::Bool(true));
    let notable = flag("is_anomaly") || flag("suppressed");
    let measured = [Reason::RateSpike, Reason::RateDrop, Reason::NumericOutlier, Reason::Silence].map(Reason::as_str);
    let is_measured = |reasons: &Vec<Json>| reasons.iter().any(|reason| measured.iter().any(|name| reason == name));
    let is_measured = fields.get("reasons").and_then(Json::as_array).is_some_and(is_measured);
    for field in &FIELDS {
        let applies = match field.id {
            FieldId::Expected | FieldId::Observed => is_measured,
            _ => applies(field, case),
        };
        let due = field.when.applies(detail, notable) && applies;
        match fields.get(field.name) {
            Some(value) if due => typed(field, value)?,
            Some(value) => return Err(format!("{}: expected nothing, found {value}", field.name)),
            None if due && (writes_empty_lists || field.kind != Kind::Texts) => {
                return Err(format!("{}: expected a value, found none in {fields:?}", field.name));
            }
            None => {}
        }
    }
    known_names(fields)
}

fn applies(field: &Field, case: &Case) -> bool {
    match field.id {
        FieldId::Template | FieldId::TemplateId | FieldId::EventId => case.scored,
        FieldId::SampleRatio => !case.config["sampling"].is_null(),
        // The rules of cases are met.
        FieldId::Rule => case.scored && !case.config["rules"].is_null(),
        // No case has a past.
        FieldId::Similar => false,
        FieldId::Parameters => case.scored && case.config["parameters"] == json!(true),
        _ => true,
    }
}

fn typed(field: &Field, value: &Json) -> Result<(), String> {
    let fits = match field.kind {
        Kind::Share => {
            value.is_f64() && value.as_f64().is_some_and(|number| number.is_sign_positive() && number <= 1.0)
        }
        Kind::Number => value.is_f64(),
        Kind::Flag => value.is_boolean(),
        Kind::Text => value.is_string(),
        Kind::Texts => value.as_array().is_some_and(|texts| texts.iter().all(Json::is_string)),
        Kind::Maps(parts) => {
            value.as_array().is_some_and(|maps| !maps.is_empty() && maps.iter().all(|map| has(map, parts)))
        }
        Kind::Numbers => value.as_object().is_some_and(|map| !map.is_empty() && map.values().all(Json::is_f64)),
    };
    if fits { Ok(()) } else { Err(format!("{}: expected {:?}, found {value}", field.name, field.kind)) }
}

/// An alert like the one before it names it.
fn past_incidents(adapter: &mut dyn Adapter) -> Result<(), String> {
    let event = |n: u32| json!({"message": format!("disk {n} failed"), "host": "web-1"});
    let out = adapter.run(&ruled("host", "web-1", "always"), &[event(1), event(2)])?;
    let at = |n: usize, path: &str| out.get(n).and_then(|event| event.pointer(path)).unwrap_or(&Json::Null);
    same("similar of the first", at(0, "/anomaly/similar"), &Json::Null)?;
    let similar = FIELDS.iter().find(|field| field.id == FieldId::Similar).ok_or("no such field")?;
    typed(similar, at(1, "/anomaly/similar"))?;
    same("event_id", at(1, "/anomaly/similar/0/event_id"), at(0, "/anomaly/event_id"))?;
    same("score", at(1, "/anomaly/similar/0/score"), at(0, "/anomaly/score"))?;
    same("distance", at(1, "/anomaly/similar/0/distance"), &json!(0.0))
}

fn has(map: &Json, parts: &[Part]) -> bool {
    let fits = |part: &Part| match (map.get(part.name), part.kind) {
        (None, _) => !part.is_required,
        (Some(value), Kind::Share) => value.is_f64(),
        (Some(value), _) => value.is_string(),
    };
    map.as_object().is_some_and(|map| map.keys().all(|name| parts.iter().any(|part| part.name == name)))
        && parts.iter().all(fits)
}

fn known_names(fields: &Map<String, Json>) -> Result<(), String> {
    match fields.keys().find(|name| !FIELDS.iter().any(|field| field.name == *name)) {
        Some(name) => Err(format!("{name}: not in the field table")),
        None => Ok(()),
    }
}

fn order(adapter: &mut dyn Adapter) -> Result<(), String> {
    let events: Vec<_> =
        (0..500).map(|n| json!({"message": format!("request {n} took {} ms", n * 7), "n": n})).collect();
    let out = adapter.run(&json!({}), &events)?;
    let numbers: Vec<_> = out.iter().map(|event| event["n"].clone()).collect();
    same("the events' numbers", &Json::Array(numbers), &(0..500).collect())
}

fn template_field(adapter: &mut dyn Adapter) -> Result<(), String> {
    let config = json!({"template_field": "log.record.template"});
    let out = one(adapter, &config, &json!({"message": "user 17 logged in"}))?;
    same("log.record.template", &out["log.record.template"], &out["anomaly"]["template"])?;
    let there = json!({"message": "user 17 logged in", "log.record.template": "mine"});
    let out = one(adapter, &config, &there)?;
    same("log.record.template, replaced", &out["log.record.template"], &out["anomaly"]["template"])?;
    let out = one(adapter, &json!({"template_field": "log.record.template", "on_existing": "keep"}), &there)?;
    same("log.record.template, kept", &out["log.record.template"], &json!("mine"))?;
    out.pointer("/anomaly/score")
        .map(|_| ())
        .ok_or_else(|| "expected fields beside a template field that is kept".to_owned())?;
    let out = one(adapter, &json!({"template_field": "log.record.template", "on_existing": "rename"}), &there)?;
    same("log.record.template, renamed", &out["log.record.template_original"], &json!("mine"))
}

fn known_template(adapter: &mut dyn Adapter) -> Result<(), String> {
    let events: Vec<_> = (0..50).map(|n| json!({"message": format!("connection {n} closed")})).collect();
    let out = adapter.run(&json!({"parameters": true}), &events)?;
    let Some(last) = out.last() else { return Err("expected events, found none".to_owned()) };
    same("parameters", &last["anomaly"]["parameters"], &json!(["49"]))?;
    same("state", &last["anomaly"]["state"], &json!("learning"))?;
    let before = out.get(48).map(|event| event["anomaly"]["template_id"].clone()).unwrap_or_default();
    same("template_id of two events of one template", &last["anomaly"]["template_id"], &before)
}
