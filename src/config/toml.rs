//! TOML, through the `toml` crate, whose parser keeps positions and limits nesting.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::load::{Lines, Refused};
use super::value::{Entry, Node, Value};

pub(super) fn parse(text: &str) -> Result<Node, Refused> {
    let lines = Lines::of(text);
    let table = DeTable::parse(text).map_err(|error| Refused {
        line: error.span().map(|span| lines.at(span.start)),
        message: error.message().to_owned(),
    })?;
    Ok(Node { line: Some(1), value: map(table.get_ref(), &lines) })
}

fn map(table: &DeTable<'_>, lines: &Lines) -> Value {
    let mut entries: Vec<_> = table.iter().collect();
    // The parser sorts by key; faults are reported in the order of the file.
    entries.sort_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let key: &Spanned<std::borrow::Cow<'_, str>> = key;
        Entry { key: key.get_ref().to_string(), line: Some(lines.at(key.span().start)), node: node(value, lines) }
    };
    Value::Map(entries.into_iter().map(entry).collect())
}

fn node(value: &Spanned<DeValue<'_>>, lines: &Lines) -> Node {
    let line = Some(lines.at(value.span().start));
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a number of more than 127 bits"), Value::Integer),
        DeValue::Float(number) => number.as_str().parse().map_or(Value::Other("a float"), Value::Number),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(item, lines)).collect()),
        DeValue::Table(table) => map(table, lines),
    };
    Node { line, value }
}
