//! What is read is what a plain reading of the whole tree gives.

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

/// Keys and scalars, of maps the keys inside, joined by dots.
type Pairs = Vec<(String, Scalar<'static>)>;

#[derive(Default)]
struct Naive {
    body: Option<Scalar<'static>>,
    fields: Pairs,
    attributes: Pairs,
    texts: [Option<String>; 2],
    numbers: [u64; 3],
    keys: Vec<String>,
}

/// The attributes of each resource, and all records: the naive twin of what is read.
fn naive(text: &str) -> (Vec<Pairs>, Vec<Naive>) {
    let request: Json = serde_json::from_str(text).unwrap();
    let (mut resources, mut records) = (Vec::new(), Vec::new());
    for resource_logs in items(request.get("resourceLogs")) {
        let mut pairs = Pairs::new();
        let list = resource_logs.get("resource").and_then(|resource| resource.get("attributes"));
        attributes_into(&mut pairs, None, list, 0);
        resources.push(pairs);
        let scopes = items(resource_logs.get("scopeLogs"));
        records.extend(scopes.flat_map(|scope| items(scope.get("logRecords"))).map(record));
    }
    (resources, records)
}

fn items(list: Option<&Json>) -> impl Iterator<Item = &Json> {
    list.and_then(Json::as_array).into_iter().flatten()
}

fn key(entry: &Json) -> String {
    entry.get("key").and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn attributes_into(pairs: &mut Pairs, prefix: Option<&str>, list: Option<&Json>, depth: usize) {
    for entry in items(list) {
        let key = prefix.map_or_else(|| key(entry), |prefix| format!("{prefix}.{}", key(entry)));
        let value = entry.get("value").unwrap_or(&Json::Null);
        match (scalar(value), map(value)) {
            (Some(scalar), _) => pairs.push((key, scalar)),
            (None, Some(map)) if depth < MAX_DEPTH => attributes_into(pairs, Some(&key), Some(map), depth + 1),
            _ => {}
        }
    }
}

fn map(value: &Json) -> Option<&Json> {
    value.get("kvlistValue")?.get("values")
}

fn scalar(value: &Json) -> Option<Scalar<'static>> {
    let (kind, value) = value.as_object()?.iter().next()?;
    let owned = |text: String| Cow::Owned(text);
    match (kind.as_str(), value) {
        ("stringValue", Json::String(text)) => Some(Scalar::Text(Cow::Owned(text.clone().into_bytes()))),
        ("bytesValue", Json::String(text)) => Some(Scalar::Text(Cow::Owned(base64::decode(text.as_bytes())?))),
        ("boolValue", Json::Bool(flag)) => Some(Scalar::Flag(*flag)),
        ("intValue" | "doubleValue", Json::String(text)) => Some(Scalar::Number(owned(text.clone()))),
        ("intValue" | "doubleValue", Json::Number(number)) => Some(Scalar::Number(owned(number.to_string()))),
        _ => None,
    }
}

fn record(json: &Json) -> Naive {
    let number = |name: &str| match json.get(name) {
        Some(Json::String(text)) => text.parse().unwrap_or(0),
        Some(Json::Number(number)) => number.as_u64().unwrap_or(0),
        _ => 0,
    };
    let text = |name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
    let mut naive = Naive {
        texts: [text("severityText"), text("eventName").filter(|name| !name.is_empty())],
        numbers: ["timeUnixNano", "observedTimeUnixNano", "severityNumber"].map(number),
        ..Naive::default()
    };
    if let Some(body) = json.get("body") {
        naive.body = scalar(body);
        attributes_into(&mut naive.fields, None, map(body), 1);
    }
    let attributes = json.get("attributes");
    attributes_into(&mut naive.attributes, None, attributes, 0);
    naive.keys = items(attributes).map(key).collect();
    naive
}

/// Whether every key of `all` has in `flat` what `pairs` says last.
fn same(flat: &Flat<'_, '_>, pairs: &Pairs, all: &[&str]) -> bool {
    all.iter().all(|path| flat.get(path) == pairs.iter().rev().find(|(key, _)| key == path).map(|(_, value)| value))
}

fn is_read(read: &Record<'_, '_>, naive: &Naive, all: &[&str]) -> bool {
    let texts = [&read.severity_text, &read.event_name].map(|text| text.as_deref().map(str::to_owned));
    let numbers = [read.time_unix_nano, read.observed_time_unix_nano, read.severity_number];
    read.body == naive.body
        && same(&read.fields, &naive.fields, all)
        && same(&read.attributes, &naive.attributes, all)
        && (texts, numbers) == (naive.texts.clone(), naive.numbers)
        && read.keys == naive.keys
        && read.has_attributes != naive.keys.is_empty()
}

/// The texts of a request's records.
fn texts_of(request: &str) -> Vec<&str> {
    plan(request.as_bytes(), usize::MAX).unwrap().places().into_iter().map(|at| &request[at]).collect()
}

/// JSON texts of strings, some with escapes that need not be.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>().prop_map(|text| Json::from(text).to_string()),
        prop::sample::select(vec![r#""a""#, r#""host.name""#, r#""\u00e9\/\ud83d\ude00""#, r#""""#])
            .prop_map(str::to_owned),
    ]
}

/// JSON texts that OTLP does not have where they stand.
fn odd() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["null", "true", "-5", "\"x\"", "[]", "[1, {}]", "{ }", r#"{"a":[{"b":null}]}"#])
        .prop_map(str::to_owned)
}

/// Objects of those of `members` that are drawn, with white space.
fn object(members: Vec<(&'static str, BoxedStrategy<String>)>) -> BoxedStrategy<String> {
    let members: Vec<_> = members
        .into_iter()
        .map(|(name, value)| prop::option::of(value.prop_map(move |value| format!("\"{name}\" : {value}"))))
        .collect();
    (members, any::<bool>())
        .prop_map(|(members, is_reversed)| {
            let mut members: Vec<_> = members.into_iter().flatten().collect();
            if is_reversed {
                members.reverse();
            }
            format!("{{ {}}}", members.join(" ,\n"))
        })
        .boxed()
}

fn list(item: BoxedStrategy<String>) -> BoxedStrategy<String> {
    prop::collection::vec(item, 0..4).prop_map(|items| format!("[{} ]", items.join(", "))).boxed()
}

fn entry(value: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let key = prop_oneof![9 => text().boxed(), 1 => odd().boxed()].boxed();
    object(vec![("key", key), ("future", odd().boxed()), ("value", value)])
}

/// `AnyValue`s, of one member each.
fn any_values() -> BoxedStrategy<String> {
    let of = |kind: &'static str, value: BoxedStrategy<String>| {
        value.prop_map(move |value| format!("{{\"{kind}\":{value}}}"))
    };
    let integer = prop_oneof![any::<i64>().prop_map(|n| n.to_string()), any::<i64>().prop_map(|n| format!("\"{n}\""))];
    let leaf = prop_oneof![
        of("stringValue", text().boxed()),
        of("bytesValue", text().boxed()),
        of(
            "bytesValue",
            prop::sample::select(vec![r#""ZGlzayBmYWlsZWQ=""#, r#""_-8\u003d""#]).prop_map(str::to_owned).boxed()
        ),
        of("intValue", integer.boxed()),
        of("doubleValue", Just("\"NaN\"".to_owned()).boxed()),
        of("boolValue", any::<bool>().prop_map(|flag| flag.to_string()).boxed()),
        of("arrayValue", odd().boxed()),
        of("stringValue", odd().boxed()),
        odd(),
    ];
    leaf.prop_recursive(4, 24, 3, move |inner| {
        let values = list(prop_oneof![9 => entry(inner.boxed()), 1 => odd().boxed()].boxed());
        let map = object(vec![("values", prop_oneof![9 => values, 1 => odd().boxed()].boxed())]);
        map.prop_map(|map| format!("{{\"kvlistValue\":{map}}}"))
    })
    .boxed()
}

fn request() -> BoxedStrategy<String> {
    let attributes = || list(entry(any_values()));
    let nanos =
        prop_oneof![any::<u64>().prop_map(|n| format!("\"{n}\"")), any::<u32>().prop_map(|n| n.to_string()), odd()];
    let record = object(vec![
        ("timeUnixNano", nanos.boxed()),
        ("severityNumber", prop_oneof![(0..30_u32).prop_map(|n| n.to_string()).boxed(), odd().boxed()].boxed()),
        ("eventName", prop_oneof![text().boxed(), odd().boxed()].boxed()),
        ("severityText", prop_oneof![text().boxed(), odd().boxed()].boxed()),
        ("body", any_values()),
        ("attributes", prop_oneof![9 => attributes(), 1 => Just("null".to_owned()).boxed()].boxed()),
        ("flags", odd().boxed()),
    ]);
    let resource = object(vec![("attributes", prop_oneof![9 => attributes(), 1 => odd().boxed()].boxed())]);
    let scope = object(vec![("scope", odd().boxed()), ("logRecords", list(record))]);
    let logs = object(vec![("resource", prop_oneof![resource, odd().boxed()].boxed()), ("scopeLogs", list(scope))]);
    object(vec![("resourceLogs", list(logs)), ("future", odd().boxed())])
}

proptest! {
    #[test]
    fn what_is_read_is_what_the_whole_tree_says(text in request()) {
        let (resources, records) = naive(&text);
        let pairs = resources.iter().chain(records.iter().flat_map(|record| [&record.fields, &record.attributes]));
        let all: Vec<&str> = pairs.flatten().map(|(key, _)| key.as_str()).collect();
        let wanted = Wanted::these(&all);
        let planned = plan(text.as_bytes(), usize::MAX).unwrap();
        let (places, of_resources) = (planned.places(), planned.resources());
        prop_assert_eq!((places.len(), of_resources.len()), (records.len(), resources.len()));
        for (at, pairs) in of_resources.iter().zip(&resources) {
            let mut flat = Flat::new(&wanted);
            resource(text[at.clone()].as_bytes(), &mut flat).unwrap();
            prop_assert!(same(&flat, pairs, &all), "{:?} {:?}", flat, pairs);
        }
        for (at, naive) in places.into_iter().zip(&records) {
            let text = &text[at];
            let read = LogObject::read(text, &wanted).unwrap();
            prop_assert!(is_read(&read.record, naive, &all), "{}: {:?}", text, read.record);
            let place: Json = serde_json::from_str(text).unwrap();
            prop_assert_eq!((read.is_empty, read.end), (place.as_object().unwrap().is_empty(), text.len()));
            let attributes = read.attributes.map(|place| serde_json::from_str::<Json>(&text[place]).unwrap());
            prop_assert_eq!(attributes.as_ref(), place.get("attributes"));
        }
    }

    #[test]
    fn a_request_that_is_cut_is_refused(text in request(), part in 0.0..1.0_f64) {
        let kept = (text.chars().count() as f64 * part) as usize;
        let cut: String = text.chars().take(kept).collect();
        prop_assert!(plan(cut.as_bytes(), usize::MAX).is_err(), "{}", cut);
    }

    #[test]
    fn what_is_put_for_records_stands_in_their_places_and_the_rest_stays(text in request()) {
        let places: Vec<_> = plan(text.as_bytes(), usize::MAX).unwrap().places();
        let same = with_records(text.as_bytes(), places.iter().map(|at| (at.clone(), text[at.clone()].as_bytes())), 0);
        prop_assert_eq!(String::from_utf8(same).unwrap(), &text[..]);
        let empty = with_records(text.as_bytes(), places.iter().map(|at| (at.clone(), &b"{}"[..])), 0);
        let empty: Json = serde_json::from_slice(&empty).unwrap();
        prop_assert_eq!(naive(&empty.to_string()).1.len(), places.len());
    }
}

#[test]
fn of_a_member_that_is_there_twice_the_last_counts() {
    let record = |text: &str| format!(r#"{{"body":{{"stringValue":"{text}"}}}}"#);
    let logs = |text: &str| format!(r#"[{{"scopeLogs":[{{"logRecords":[{}]}}]}}]"#, record(text));
    let wanted = Wanted::these(&["a", "b", "c"]);
    let bodies = |text: &str| -> Vec<String> {
        let text_of = |text| match LogObject::read(text, &wanted).unwrap().record.body {
            Some(Scalar::Text(text)) => String::from_utf8(text.into_owned()).unwrap(),
            other => panic!("{other:?}"),
        };
        texts_of(text).into_iter().map(text_of).collect()
    };
    let (a, b) = (record("a"), record("b"));
    for twice in [
        format!(r#"{{"resourceLogs":{},"resourceLogs":{}}}"#, logs("a"), logs("b")),
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{a}]}}],"scopeLogs":[{{"logRecords":[{b}]}}]}}]}}"#),
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{a}],"logRecords":[{b}]}}]}}]}}"#),
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"},"body":{"stringValue":"b"}}]}]}]}"#.to_owned(),
    ] {
        assert_eq!(bodies(&twice), ["b"], "{twice}");
    }
    let twice = r#"{"attributes":[{"key":"a"}],"attributes":[{"key":"b","key":"c"}]}"#;
    let read = LogObject::read(twice, &wanted).unwrap();
    assert_eq!(read.record.keys, ["c"]);
    assert_eq!(&twice[read.attributes.unwrap()], r#"[{"key":"b","key":"c"}]"#);
}

#[test]
fn maps_within_maps_are_looked_into_down_to_a_depth_and_passed_over_below() {
    let nested = |depth: usize| {
        let value = (0..depth).fold(r#"{"stringValue":"x"}"#.to_owned(), |inner, _| {
            format!(r#"{{"kvlistValue":{{"values":[{{"key":"k","value":{inner}}}]}}}}"#)
        });
        format!(r#"{{"attributes":[{{"key":"a","value":{value}}}]}}"#)
    };
    for (depth, is_found) in [(0, true), (1, true), (MAX_DEPTH, true), (MAX_DEPTH + 1, false), (10_000, false)] {
        let (text, path) = (nested(depth), format!("a{}", ".k".repeat(depth)));
        let wanted = Wanted::these(&[&path]);
        let read = LogObject::read(&text, &wanted).unwrap();
        assert_eq!(read.record.attributes.get(&path).is_some(), is_found, "{depth}");
    }
}
