//! Writes the options of both components from oddline's own JSON Schema, so that keys, types, defaults, bounds and
//! meanings are stated once, in `oddline::config`.

use std::fmt::Write as _;
use std::path::Path;

use oddline::config::{Field, json_schema};
use serde_json::{Map, Value};

/// The largest number Vector's schemas take: beyond it not every whole number is a float.
const MOST: f64 = 9_007_199_254_740_991.0;

/// What the transform has besides.
const TRANSFORM: &str = r#"
/// Configuration for the `score_anomalies` transform.
#[configurable_component(transform("score_anomalies", "Score log events by how odd they are."))]
#[derive(Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ScoreAnomaliesConfig {
    /// Directory for everything learned, so that it survives a restart.
    ///
    /// By default, the directory with the component's id under Vector's `data_dir`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
"#;

/// What the sink has besides.
const SINK: &str = r#"
/// Configuration for the `oddline` sink.
#[configurable_component(sink("oddline", "Learn from log events and keep their history."))]
#[derive(Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct OddlineConfig {
    /// Directory for everything learned and kept. Vector's sinks do not know their id, so it has no default.
    pub data_dir: PathBuf,

    #[allow(missing_docs)]
    #[configurable(derived)]
    #[serde(default)]
    pub batch: BatchConfig<RealtimeEventBasedDefaultBatchSettings>,

    #[allow(missing_docs)]
    #[configurable(derived)]
    #[serde(
        default,
        deserialize_with = "vector::serde::bool_or_struct",
        skip_serializing_if = "vector::serde::is_default"
    )]
    pub acknowledgements: AcknowledgementsConfig,
"#;

/// Stated apart by each component.
const DATA_DIR: &str = "data_dir";

fn main() {
    let schema = json_schema();
    let mut options = Options { schema: &schema, types: String::new(), defaults: String::new() };
    let fields = options.fields("", &schema["properties"]);
    for (name, definition) in object(&schema["$defs"]) {
        options.definition(name, definition);
    }
    let Options { types, defaults, .. } = options;
    let text =
        format!("{TRANSFORM}{fields}}}\n{SINK}{fields}}}\n{types}\nmod defaults {{ use super::*; {defaults} }}\n");
    let out = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&out).join("options.rs"), text).expect("OUT_DIR can be written to");
    println!("cargo::rerun-if-changed=build.rs");
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("an object in the schema")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text in the schema")
}

fn camel(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('_').map(word).collect()
}

/// A field's name in Rust: keys may be words of the language.
fn ident(key: &str) -> String {
    if matches!(key, "match" | "do") { format!("{key}_") } else { key.to_owned() }
}

fn doc(meaning: &Value) -> String {
    format!("#[doc = {:?}]", text(meaning))
}

/// Numbers as floats, without an exponent.
fn range(property: &Value) -> String {
    match (property["minimum"].as_f64(), property["maximum"].as_f64()) {
        (Some(min), Some(max)) => {
            format!("#[configurable(validation(range(min = {min:?}, max = {:?})))]", max.min(MOST))
        }
        _ => String::new(),
    }
}

fn unit(key: &str) -> String {
    match Field::find(key).map(|field| field.unit).filter(|unit| !unit.is_empty()) {
        Some(unit) => format!("#[configurable(metadata(docs::type_unit = {unit:?}))]"),
        None => String::new(),
    }
}

struct Options<'s> {
    schema: &'s Value,
    types: String,
    defaults: String,
}

impl Options<'_> {
    /// The fields of a struct; `owner` is its name, empty for the components themselves.
    fn fields(&mut self, owner: &str, properties: &Value) -> String {
        let mut fields = String::new();
        for (key, property) in object(properties).iter().filter(|(key, _)| *key != DATA_DIR) {
            let (kind, default) = (self.kind(property), self.default_of(owner, key, property));
            let rename = if ident(key) == *key { String::new() } else { format!("#[serde(rename = {key:?})]") };
            let (doc, range, unit) = (doc(&property["description"]), range(property), unit(key));
            let _ = writeln!(fields, "{doc} {rename} {default} {range} {unit} pub {}: {kind},", ident(key));
        }
        fields
    }

    fn kind(&self, property: &Value) -> String {
        if let Some(reference) = property["$ref"].as_str() {
            return reference.rsplit('/').next().unwrap_or_default().to_owned();
        }
        if let Some(kinds) = property["anyOf"].as_array() {
            return format!("Option<{}>", self.kind(&kinds[0]));
        }
        match &property["type"] {
            Value::Array(kinds) => format!("Option<{}>", self.kind(&serde_json::json!({"type": kinds[0]}))),
            Value::String(kind) if kind == "array" => format!("Vec<{}>", self.kind(&property["items"])),
            Value::String(kind) => match kind.as_str() {
                "boolean" => "bool",
                "integer" => "u64",
                "number" => "f64",
                "string" => "String",
                other => panic!("a type this has no rule for: {other}"),
            }
            .to_owned(),
            other => panic!("a type this has no rule for: {other} in {property}"),
        }
    }

    /// The attribute for a key's default, and the function it names.
    fn default_of(&mut self, owner: &str, key: &str, property: &Value) -> String {
        let value = match property.get("default") {
            None => return String::new(),
            Some(Value::Null) => return "#[serde(default, skip_serializing_if = \"Option::is_none\")]".to_owned(),
            Some(Value::Array(items)) if items.is_empty() => return "#[serde(default)]".to_owned(),
            Some(value) => value,
        };
        let (kind, value) = (self.kind(property), self.value(property, value));
        let value = if kind.starts_with("Option<") { format!("Some({value})") } else { value };
        let name = format!("{}{}", owner.to_lowercase(), ident(key));
        let function = format!("pub(super) fn {name}() -> {kind} {{ {value} }}\n");
        self.defaults.push_str(&function);
        format!("#[serde(default = \"defaults::{name}\")]")
    }

    fn value(&self, property: &Value, value: &Value) -> String {
        match value {
            Value::String(word) if property.get("$ref").is_some() => {
                format!("{}::{}", self.kind(property), camel(word))
            }
            Value::String(text) => format!("{text:?}.to_owned()"),
            Value::Object(values) => {
                let kind = self.kind(property);
                let properties = &self.schema["$defs"][&kind]["properties"];
                let field = |(key, value): (&String, &Value)| {
                    format!("{}: {},", ident(key), self.value(&properties[key], value))
                };
                format!("{kind} {{ {} }}", values.iter().map(field).collect::<String>())
            }
            Value::Null => "None".to_owned(),
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| self.value(&property["items"], item)).collect();
                format!("vec![{}]", items.join(", "))
            }
            Value::Number(number) if self.kind(property).contains("f64") => {
                format!("{:?}", number.as_f64().unwrap_or_default())
            }
            other => other.to_string(),
        }
    }

    fn definition(&mut self, name: &str, definition: &Value) {
        let head =
            format!("{} #[configurable_component] #[derive(Clone, Debug, PartialEq)]", doc(&definition["description"]));
        if let Some(words) = definition["oneOf"].as_array() {
            let words: String = words.iter().map(word).collect();
            let _ = writeln!(self.types, "{head} #[derive(Copy, Eq)] pub enum {name} {{ {words} }}");
        } else if let Some(kinds) = definition["anyOf"].as_array() {
            let kinds: String = kinds.iter().map(|kind| self.alternative(kind)).collect();
            let _ =
                writeln!(self.types, "{head} #[serde(untagged, deny_unknown_fields)] pub enum {name} {{ {kinds} }}");
        } else {
            let fields = self.fields(name, &definition["properties"]);
            let _ = writeln!(self.types, "{head} #[serde(deny_unknown_fields)] pub struct {name} {{ {fields} }}");
        }
    }

    /// One form of a value that has several, named by its first key.
    fn alternative(&mut self, kind: &Value) -> String {
        let first = object(&kind["properties"]).keys().next().expect("a key");
        let fields = self.fields("", &kind["properties"]).replace("pub ", "");
        format!("{} {} {{ {fields} }},\n", doc(&kind["description"]), camel(first))
    }
}

fn word(word: &Value) -> String {
    let name = text(&word["const"]);
    format!("{} #[serde(rename = {name:?})] {},\n", doc(&word["description"]), camel(name))
}
