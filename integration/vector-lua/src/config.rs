//! The configuration from what Lua hands over: a table of keys, or the path of a file.

use std::path::Path;

use mlua::{Error, Result, Table, Value};
use oddline::config::{Config, Format};
use oddline::plugin::Layout;
use serde_json::{Map, Number, Value as Json};

/// The deepest nesting of tables; `masks` needs three.
const MAX_DEPTH: usize = 8;
/// What errors call a configuration that came as a table.
const ORIGIN: &str = "oddline.new";

/// Reads and checks a configuration.
pub(crate) fn read(value: &Value) -> Result<Config> {
    let config = match value {
        Value::Nil => Config::default(),
        Value::String(path) => Config::from_path(Path::new(&*path.to_str()?)).map_err(Error::runtime)?,
        Value::Table(table) => {
            let text = Json::Object(object(table, 0)?).to_string();
            Config::from_str(&text, Format::Json, ORIGIN).map_err(Error::runtime)?
        }
        other => return Err(refused("a table of keys or the path of a file", other)),
    };
    Layout::new(&config).map_err(Error::runtime)?;
    Ok(config)
}

fn refused(expected: &str, found: &Value) -> Error {
    Error::runtime(format!("{ORIGIN}: expected {expected}, found a {}", found.type_name()))
}

fn object(table: &Table, depth: usize) -> Result<Map<String, Json>> {
    let mut map = Map::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let Value::String(key) = key else { return Err(refused("texts for keys", &key)) };
        map.insert(key.to_str()?.to_owned(), json(&value, depth + 1)?);
    }
    Ok(map)
}

fn json(value: &Value, depth: usize) -> Result<Json> {
    if depth > MAX_DEPTH {
        return Err(Error::runtime(format!("{ORIGIN}: expected tables nested at most {MAX_DEPTH} deep")));
    }
    match value {
        Value::Boolean(flag) => Ok(Json::Bool(*flag)),
        Value::Integer(number) => Ok(Json::from(*number)),
        // 1e4 is a float in Lua, and a fine value for a key that takes whole numbers.
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => Ok(Json::from(*number as i64)),
        Value::Number(number) => {
            Number::from_f64(*number).map(Json::Number).ok_or_else(|| refused("a finite number", value))
        }
        Value::String(text) => Ok(Json::String(text.to_str()?.to_owned())),
        // An empty table is a list: a key that takes an empty map takes an empty list for it.
        Value::Table(table) if table.raw_len() > 0 || table.is_empty() => {
            let items = table.sequence_values::<Value>().map(|item| json(&item?, depth + 1));
            Ok(Json::Array(items.collect::<Result<_>>()?))
        }
        Value::Table(table) => object(table, depth).map(Json::Object),
        other => Err(refused("a flag, number, text or table", other)),
    }
}
