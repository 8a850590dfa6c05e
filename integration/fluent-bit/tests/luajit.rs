//! The Lua module for Fluent Bit's filter `lua` under the real `luajit`.
//!
//! Without `luajit` these tests say that they did not run; under CI (`CI=true`) that is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

#[path = "../../test-support/library.rs"]
mod library;
#[path = "../../test-support/lua.rs"]
mod support;

use oddline::plugin::conformance::{self, Adapter};
use oddline::plugin::fields::{FIELDS, Kind};
use serde_json::{Value, json};
use support::literal;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn luajit_is_missing() -> bool {
    support::is_missing("luajit")
}

/// The directory with the module under the name Lua looks for.
fn module_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let features = ["--no-default-features", "--features", "luajit"];
        let module = library::library("ODDLINE_LUAJIT_MODULE", "liboddline_native.so", "oddline-vector-lua", &features);
        support::module_dir("luajit", &module)
    })
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
    support::printed(&Command::new("luajit").arg(file.path()).output().unwrap()).map(|(out, _)| out)
}

#[track_caller]
fn passes(script: &str) -> String {
    lua(script).unwrap_or_else(|error| panic!("{error}"))
}

/// LuaJIT has one type of number: what our fields say are numbers with a point come out without one when they are whole.
fn with_points(value: &mut Value) {
    let Value::Object(map) = value else { return };
    for (name, value) in map {
        let point = |value: &mut Value| *value = value.as_f64().map_or(Value::Null, Value::from);
        match FIELDS.iter().find(|field| field.name == name).map(|field| field.kind) {
            Some(Kind::Share | Kind::Number) if value.is_number() => point(value),
            Some(Kind::Maps(_)) => {
                let maps = value.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut);
                maps.flat_map(|map| map.values_mut()).filter(|part| part.is_number()).for_each(point);
            }
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
