//! JSON, through `serde_json`; raw values are slices of the text and so tell where they stand.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::load::{Lines, MAX_DEPTH, Refused};
use super::value::{Entry, Node, Value};

const TOO_DEEP: Value = Value::Other("a value nested too deep for any key");

pub(super) fn parse(text: &str) -> Result<Node, Refused> {
    let lines = Lines::of(text);
    let root = serde_json::from_str(text).map_err(|error| refused(&error, 0))?;
    Reader { text, lines }.node(root, MAX_DEPTH)
}

/// `error` of a value that begins `line` lines below the first.
fn refused(error: &serde_json::Error, line: usize) -> Refused {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(&place).map_or(message.clone(), str::to_owned);
    Refused { line: Some(line + error.line().max(1)), message }
}

struct Reader<'t> {
    text: &'t str,
    lines: Lines,
}

impl<'t> Reader<'t> {
    fn line(&self, raw: &'t RawValue) -> usize {
        self.lines.at((raw.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize))
    }

    fn node(&self, raw: &'t RawValue, depth: usize) -> Result<Node, Refused> {
        let line = self.line(raw);
        let value = self.value(raw.get(), depth, line - 1)?;
        Ok(Node { line: Some(line), value })
    }

    fn value(&self, text: &'t str, depth: usize, lines_before: usize) -> Result<Value, Refused> {
        let refused = |error| refused(&error, lines_before);
        match text.as_bytes().first() {
            Some(b'{' | b'[') if depth == 0 => Ok(TOO_DEEP),
            Some(b'{') => {
                let Entries(entries) = serde_json::from_str(text).map_err(refused)?;
                let entry = |(key, raw): (String, &'t RawValue)| {
                    let node = self.node(raw, depth - 1)?;
                    // The key is taken to stand where its value begins: serde_json tells no more.
                    Ok(Entry { key, line: node.line, node })
                };
                entries.into_iter().map(entry).collect::<Result<_, _>>().map(Value::Map)
            }
            Some(b'[') => {
                let Items(items) = serde_json::from_str(text).map_err(refused)?;
                items.into_iter().map(|raw| self.node(raw, depth - 1)).collect::<Result<_, _>>().map(Value::List)
            }
            Some(b'"') => serde_json::from_str(text).map(Value::Text).map_err(refused),
            Some(b't') => Ok(Value::Bool(true)),
            Some(b'f') => Ok(Value::Bool(false)),
            Some(b'n') => Ok(Value::Null),
            _ => Ok(number(text)),
        }
    }
}

fn number(text: &str) -> Value {
    let float = || text.parse().map_or(Value::Other("a number"), Value::Number);
    text.parse().map_or_else(|_| float(), Value::Integer)
}

/// A value that someone else parsed.
pub(super) fn from_value(value: &serde_json::Value, depth: usize) -> Node {
    use serde_json::Value as Json;
    let value = match value {
        Json::Array(_) | Json::Object(_) if depth == 0 => TOO_DEEP,
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(text) => number(&text.to_string()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(|item| from_value(item, depth - 1)).collect()),
        Json::Object(entries) => {
            let entry = |(key, value): (&String, &Json)| Entry {
                key: key.clone(),
                line: None,
                node: from_value(value, depth - 1),
            };
            Value::Map(entries.iter().map(entry).collect())
        }
    };
    value.unplaced()
}

/// The entries of an object in order, duplicates kept.
struct Entries<'t>(Vec<(String, &'t RawValue)>);

impl<'t> Deserialize<'t> for Entries<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'t> Visitor<'t> for EntriesVisitor {
    type Value = Entries<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            kept.push(entry);
        }
        Ok(Entries(kept))
    }
}

/// The items of an array.
struct Items<'t>(Vec<&'t RawValue>);

impl<'t> Deserialize<'t> for Items<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'t> Visitor<'t> for ItemsVisitor {
    type Value = Items<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while let Some(item) = items.next_element()? {
            kept.push(item);
        }
        Ok(Items(kept))
    }
}
