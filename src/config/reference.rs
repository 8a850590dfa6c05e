//! The configuration explained: the commented example and the Markdown reference.

use std::fmt::Write;

use super::load::Format;
use super::table::{Config, FIELDS, Field};
use super::value::{Entry, Value};

/// Width of a comment in the example, in characters.
const COMMENT_WIDTH: usize = 100;

impl Field {
    /// The default as YAML; empty when it is nothing.
    pub fn default_text(&self) -> String {
        Config::default()
            .values()
            .into_iter()
            .find(|(field, _)| field.key == self.key)
            .map_or_else(String::new, |(_, value)| literal(&value, Format::Yaml))
    }
}

/// Every key with its meaning and its default, as YAML; loads to [`Config::default`].
pub fn example() -> String {
    example_in(Format::Yaml)
}

/// [`example`] in any format; JSON has no comments, and so only keys and defaults.
pub fn example_in(format: Format) -> String {
    if format == Format::Json {
        return json_object();
    }
    let mut text = String::from("# oddline: every key with its default. Leave out what you do not change.\n");
    for ((field, default), (_, sample)) in Config::default().values().into_iter().zip(Config::sample().values()) {
        text.push('\n');
        comment(&mut text, field.description);
        comment(&mut text, &format!("Accepted: {}.", field.accepted()));
        // A key that is unset has no value to write (TOML has no null), and an empty one says little: it is shown with a sample, commented out.
        let says_nothing = ["", "[]", "{}"].contains(&field.default_text().as_str());
        let (shown, value) = if says_nothing && default != sample { ("# ", &sample) } else { ("", &default) };
        let separator = separator(format);
        let _infallible = writeln!(text, "{shown}{}{separator}{}", field.key, literal(value, format));
    }
    text
}

/// A Markdown table of every key: type and bounds, default, meaning.
pub fn reference_markdown() -> String {
    let mut text = String::from("| key | accepted | default | meaning |\n|---|---|---|---|\n");
    for field in FIELDS {
        let default = field.default_text();
        let default = if default.is_empty() { "unset".to_owned() } else { format!("`{default}`") };
        let cells = [format!("`{}`", field.key), field.accepted(), default, field.description.to_owned()];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        let _infallible = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

fn comment(text: &mut String, words: &str) {
    let mut width = COMMENT_WIDTH;
    for word in words.split_whitespace() {
        width += 1 + word.chars().count();
        if width > COMMENT_WIDTH {
            text.push_str(if text.ends_with('\n') { "#" } else { "\n#" });
            width = 2 + word.chars().count();
        }
        text.push(' ');
        text.push_str(word);
    }
    text.push('\n');
}

const fn separator(format: Format) -> &'static str {
    match format {
        Format::Toml => " = ",
        Format::Yaml | Format::Json => ": ",
    }
}

/// A value on one line. A quoted text is the same in all three formats.
fn literal(value: &Value, format: Format) -> String {
    match value {
        Value::Null | Value::Other(_) => if format == Format::Json { "null" } else { "" }.to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => format!("{number:?}"),
        Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(|item| literal(&item.value, format)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) => {
            let key = |entry: &Entry| match format {
                Format::Json => serde_json::Value::from(entry.key.as_str()).to_string(),
                Format::Yaml | Format::Toml => entry.key.clone(),
            };
            let entry =
                |entry: &Entry| format!("{}{}{}", key(entry), separator(format), literal(&entry.node.value, format));
            let entries: Vec<_> = entries.iter().map(entry).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// The defaults as a JSON object, one key a line.
fn json_object() -> String {
    let line = |(field, value): (&Field, Value)| format!("  \"{}\": {}", field.key, literal(&value, Format::Json));
    let lines: Vec<_> = Config::default().values().into_iter().map(line).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}
