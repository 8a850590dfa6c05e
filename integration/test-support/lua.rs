//! What tests under the two Lua interpreters share.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Whether `interpreter` cannot be run, which is told.
pub(crate) fn is_missing(interpreter: &str) -> bool {
    let missing = Command::new(interpreter).arg("-v").output().is_err();
    if missing {
        super::library::skipped(&format!("{interpreter} is not installed (apt-get install {interpreter})"));
    }
    missing
}

/// A directory called `name` with `module` under the name Lua looks for.
pub(crate) fn module_dir(name: &str, module: &Path) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    // Renamed into place: an interpreter of another run may have the old one mapped.
    let new = dir.join(format!("new-{}", std::process::id()));
    std::fs::copy(module, &new).unwrap();
    std::fs::rename(new, dir.join("oddline_native.so")).unwrap();
    dir
}

/// Standard output and standard error of a script that succeeded; of another its standard error.
pub(crate) fn printed(output: &Output) -> Result<(String, String), String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok((text(&output.stdout), text(&output.stderr))) } else { Err(text(&output.stderr)) }
}

/// `value` as Lua text.
pub(crate) fn literal(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::String(text) => {
            text.bytes().fold(String::from("\""), |mut out, byte| {
                let plain = byte.is_ascii_alphanumeric() || byte == b' ';
                let _ = if plain { write!(out, "{}", char::from(byte)) } else { write!(out, "\\{byte:03}") };
                out
            }) + "\""
        }
        Value::Array(items) => format!("{{{}}}", items.iter().map(literal).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let member = |(name, value): (&String, &Value)| {
                format!("[{}]={}", literal(&Value::String(name.clone())), literal(value))
            };
            format!("{{{}}}", map.iter().map(member).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}
