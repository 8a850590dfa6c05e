//! The Lua module for Fluent Bit's filter `lua` under the real `luajit`.
//!
//! Without `luajit` these tests say that they did not run; under CI (`CI=true`) that is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use oddline::plugin::conformance::{self, Adapter};
use oddline::plugin::fields::{FIELDS, Kind};
use serde_json::{Value, json};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn luajit_is_missing() -> bool {
    if Command::new("luajit").arg("-v").output().is_ok() {
        return false;
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "luajit is not installed");
    eprintln!("SKIPPED: luajit is not installed (apt-get install luajit)");
    true
}

/// The directory with the module under the name Lua looks for: the file `ODDLINE_LUAJIT_MODULE` names, or one that is built.
fn module_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("luajit");
        std::fs::create_dir_all(&dir).unwrap();
        let module = std::env::var_os("ODDLINE_LUAJIT_MODULE").map_or_else(built_module, PathBuf::from);
        // Renamed into place: an interpreter of another run may have the old one mapped.
        let new = dir.join(format!("new-{}", std::process::id()));
        std::fs::copy(module, &new).unwrap();
        std::fs::rename(new, dir.join("oddline_native.so")).unwrap();
        dir
    })
}

fn built_module() -> PathBuf {
    // <target dir>/<profile dir>/deps/<this test>
    let test = std::env::current_exe().unwrap();
    let profile_dir = test.ancestors().nth(2).unwrap();
    let profile = match profile_dir.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "oddline-vector-lua", "--no-default-features", "--features", "luajit"])
        .args(["--profile", profile, "--target-dir"])
        .arg(profile_dir.parent().unwrap())
        .current_dir(HERE)
        .status();
    assert!(built.unwrap().success(), "the module does not build");
    profile_dir.join("liboddline_native.so")
}

/// Runs `script` in a state like Fluent Bit's and returns what it printed.
fn lua(script: &str) -> Result<String, String> {
    const JSON: &str = r#"
        local function quoted(text)
          return '"' .. text:gsub('[%z\1-\31\127"\\]', function(c) return string.format("\\u%04x", c:byte()) end) .. '"'
        end
        function tojson(value)
          if type(value) == "string" then return quoted(value) end
          if type(value) == "number" then return value == math.floor(value) and string.format("%d", value) or string.format("%.17g", value) end
          if type(value) ~= "table" then return tostring(value) end
          local parts = {}
          if #value > 0 then
            for index, item in ipairs(value) do parts[index] = tojson(item) end
            return "[" .. table.concat(parts, ",") .. "]"
          end
          for key, item in pairs(value) do parts[#parts + 1] = quoted(tostring(key)) .. ":" .. tojson(item) end
          return "{" .. table.concat(parts, ",") .. "}"
        end
    "#;
    let file = tempfile::NamedTempFile::new().unwrap();
    let setup = format!("package.cpath = '{}/?.so'\npackage.path = '{HERE}/?.lua'\n{JSON}", module_dir().display());
    std::fs::write(file.path(), setup + script).unwrap();
    let output = Command::new("luajit").arg(file.path()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[track_caller]
fn passes(script: &str) -> String {
    lua(script).unwrap_or_else(|error| panic!("{error}"))
}

/// `value` as Lua text.
fn literal(value: &Value) -> String {
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

/// LuaJIT has one type of number: what our fields say are numbers with a point come out without one when they are whole.
fn with_points(value: &mut Value) {
    let Value::Object(map) = value else { return };
    for (name, value) in map {
        let point = |value: &mut Value| *value = value.as_f64().map_or(Value::Null, Value::from);
        match FIELDS.iter().find(|field| field.name == name).map(|field| field.kind) {
            Some(Kind::Share | Kind::Number) if value.is_number() => point(value),
            Some(Kind::Numbers) => value.as_object_mut().into_iter().flat_map(|map| map.values_mut()).for_each(point),
            _ => with_points(value),
        }
    }
}

struct LuaRecords;

impl Adapter for LuaRecords {
    fn run(&mut self, config: &Value, events: &[Value]) -> Result<Vec<Value>, String> {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config.clone();
        config["data_dir"] = json!(dir.path());
        let mut script = format!("local cb_filter = require('oddline_fluent_bit').new({})\n", literal(&config));
        for event in events {
            let _ = writeln!(
                script,
                "do local code, _, record = cb_filter('tag', 1700000000.25, {}) assert(code == 2) print(tojson(record)) end",
                literal(event)
            );
        }
        let read = |line: &str| {
            let mut event: Value = serde_json::from_str(line).map_err(|error| format!("{error} in {line}"))?;
            with_points(&mut event);
            Ok(event)
        };
        lua(&script)?.lines().map(read).collect()
    }

    fn writes_empty_lists(&self) -> bool {
        false
    }
}

#[test]
fn lua_records_conform_to_what_every_adapter_must_do() {
    if !luajit_is_missing() {
        assert_eq!(conformance::check(&mut LuaRecords), Vec::<String>::new());
    }
}

#[test]
fn every_record_goes_on_whatever_it_is() {
    if luajit_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    passes(&format!(
        r#"
        local cb_filter = require("oddline_fluent_bit").new {{ data_dir = "{}" }}
        local strange = setmetatable({{}}, {{ __index = function() error("touched") end }})
        local records = {{
            {{ message = "user 1 logged in" }}, {{}}, {{ message = "\0\255\254 not utf-8" }}, {{ message = function() end }},
            {{ message = {{ deep = {{ "x" }} }} }}, {{ message = string.rep("long ", 1048576) }}, strange, {{ message = 1 / 0, anomaly = "mine" }},
        }}
        for index, record in ipairs(records) do
            local code, timestamp, out = cb_filter("tag", 17.5, record)
            assert(code == 2 and timestamp == 17.5 and out == record, index)
            assert(type(rawget(record, "anomaly")) == "table", index)
        end
        for _, other in ipairs({{ "text", 7, true }}) do
            local code, _, out = cb_filter("tag", 17.5, other)
            assert(code == 0 and out == other)
        end
        assert(cb_filter("tag", {{ sec = 1, nsec = 2 }}, {{ message = "a time table" }}) == 2)
        "#,
        dir.path().display()
    ));
}

#[test]
fn a_wrong_configuration_is_refused_as_text_and_opens_nothing() {
    if luajit_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("state");
    for (config, expected) in [
        (format!("{{ data_dir = '{}', alert_buget = 1 }}", data_dir.display()), "alert_budget"),
        (format!("{{ data_dir = '{}', target = 'message' }}", data_dir.display()), "message_field"),
        ("{}".to_owned(), "data_dir"),
        ("7".to_owned(), "expected a table of keys"),
        ("'/nowhere/oddline.yaml'".to_owned(), "/nowhere/oddline.yaml"),
    ] {
        let told = passes(&format!(
            "local ok, err = pcall(require('oddline_fluent_bit').new, {config})
            assert(not ok and type(err) == 'string')
            print(err)"
        ));
        assert!(told.contains(expected), "{config}: {told}");
    }
    assert!(!data_dir.exists());
}

#[test]
fn what_was_learned_is_there_in_the_next_state() {
    if luajit_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = |expected: &str| {
        format!(
            "local cb_filter = require('oddline_fluent_bit').new {{ data_dir = '{}', learning_events = 500 }}
            local record
            for n = 1, 600 do record = {{ message = 'request ' .. n .. ' took 5 ms' }} cb_filter('tag', n, record) if n == 1 then print(record.anomaly.state) end end
            assert(record.anomaly.state == '{expected}', record.anomaly.state)",
            dir.path().display()
        )
    };
    assert_eq!(passes(&script("ready")).trim(), "learning");
    assert_eq!(passes(&script("ready")).trim(), "ready");
}

#[test]
fn the_records_time_counts_unless_it_has_one_itself() {
    if luajit_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let told = passes(&format!(
        "local cb_filter = require('oddline_fluent_bit').new {{ data_dir = '{}', time = 'event', fields = 'full' }}
        for _, record in ipairs {{ {{ message = 'a' }}, {{ message = 'b', timestamp = '2001-02-03T04:05:06Z' }} }} do
            cb_filter('tag', 1700000000.25, record)
            print(tonumber(record.anomaly.event_id:sub(1, 12), 16))
        end",
        dir.path().display()
    ));
    let millis: Vec<f64> = told.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(millis, [1_700_000_000_250.0, 981_173_106_000.0]);
}
