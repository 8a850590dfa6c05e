//! Vector's messages as Vector reads them, and JSON made into them and back.

use std::collections::BTreeMap;

use prost::Message;
use serde_json::{Map, Value as Json};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PushEventsRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) events: Vec<EventWrapper>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct EventWrapper {
    #[prost(oneof = "Event", tags = "1, 2, 3")]
    pub(crate) event: Option<Event>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Event {
    #[prost(message, tag = "1")]
    Log(Log),
    #[prost(message, tag = "2")]
    Metric(Metric),
    #[prost(message, tag = "3")]
    Trace(Trace),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Log {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) fields: BTreeMap<String, Value>,
    #[prost(message, optional, tag = "2")]
    pub(crate) value: Option<Value>,
    #[prost(message, optional, tag = "3")]
    pub(crate) metadata: Option<Value>,
    #[prost(message, optional, tag = "4")]
    pub(crate) metadata_full: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metadata {
    #[prost(message, optional, tag = "1")]
    pub(crate) value: Option<Value>,
    #[prost(string, optional, tag = "3")]
    pub(crate) source_id: Option<String>,
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) source_event_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metric {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int32, tag = "4")]
    pub(crate) kind: i32,
    #[prost(message, optional, tag = "5")]
    pub(crate) counter: Option<Counter>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Counter {
    #[prost(double, tag = "1")]
    pub(crate) value: f64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Trace {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) fields: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueMap {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) fields: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueArray {
    #[prost(message, repeated, tag = "1")]
    pub(crate) items: Vec<Value>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 4, 5, 6, 7, 8, 9")]
    pub(crate) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Kind {
    #[prost(bytes = "vec", tag = "1")]
    RawBytes(Vec<u8>),
    #[prost(message, tag = "2")]
    Timestamp(Timestamp),
    #[prost(int64, tag = "4")]
    Integer(i64),
    #[prost(double, tag = "5")]
    Float(f64),
    #[prost(bool, tag = "6")]
    Boolean(bool),
    #[prost(message, tag = "7")]
    Map(ValueMap),
    #[prost(message, tag = "8")]
    Array(ValueArray),
    #[prost(int32, tag = "9")]
    Null(i32),
}

pub(crate) fn value(json: &Json) -> Value {
    Value {
        kind: Some(match json {
            Json::Null => Kind::Null(0),
            Json::Bool(flag) => Kind::Boolean(*flag),
            Json::Number(number) if number.is_f64() => Kind::Float(number.as_f64().unwrap()),
            Json::Number(number) => Kind::Integer(number.as_i64().unwrap()),
            Json::String(text) => Kind::RawBytes(text.clone().into_bytes()),
            Json::Array(items) => Kind::Array(ValueArray { items: items.iter().map(value).collect() }),
            Json::Object(map) => Kind::Map(ValueMap { fields: values(map) }),
        }),
    }
}

pub(crate) fn values(map: &Map<String, Json>) -> BTreeMap<String, Value> {
    map.iter().map(|(name, json)| (name.clone(), value(json))).collect()
}

pub(crate) fn json(value: &Value) -> Json {
    match value.kind.as_ref().expect("a value of a kind") {
        Kind::RawBytes(text) => Json::String(String::from_utf8_lossy(text).into_owned()),
        Kind::Timestamp(time) => Json::String(format!("{}.{:09}", time.seconds, time.nanos)),
        Kind::Integer(number) => Json::from(*number),
        Kind::Float(number) => Json::from(*number),
        Kind::Boolean(flag) => Json::Bool(*flag),
        Kind::Map(map) => object(&map.fields),
        Kind::Array(array) => Json::Array(array.items.iter().map(json).collect()),
        Kind::Null(_) => Json::Null,
    }
}

pub(crate) fn object(fields: &BTreeMap<String, Value>) -> Json {
    Json::Object(fields.iter().map(|(name, value)| (name.clone(), json(value))).collect())
}

/// A log event as Vector's sink encodes one that is a map.
pub(crate) fn log(json: &Json) -> EventWrapper {
    let log = Log { fields: values(json.as_object().unwrap()), ..Log::default() };
    EventWrapper { event: Some(Event::Log(log)) }
}

/// The fields of a log event as Vector's source reads them: `value`, where it is there, stands for all.
pub(crate) fn fields(event: &EventWrapper) -> Json {
    let Some(Event::Log(log)) = &event.event else { panic!("no log event: {event:?}") };
    match &log.value {
        Some(value) => json(value),
        None => object(&log.fields),
    }
}
