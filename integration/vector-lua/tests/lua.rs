//! The module under the real `lua5.4` interpreter, with a host that behaves as Vector's.
//!
//! Without `lua5.4` (or, for several states, a C compiler and `liblua5.4-dev`) these tests say that they did not run;
//! under CI (`CI=true`) that is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

#[path = "../../test-support/library.rs"]
mod library;
#[path = "../../test-support/lua.rs"]
mod support;

use library::skipped;
use oddline::plugin::conformance::{self, Adapter};
use serde_json::{Value, json};
use support::literal;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn lua_is_missing() -> bool {
    support::is_missing("lua5.4")
}

/// The module to test.
fn module() -> PathBuf {
    library::library("ODDLINE_LUA_MODULE", "liboddline_native.so", env!("CARGO_PKG_NAME"), &[])
}

/// The directory with the module under the name Lua looks for.
fn module_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| support::module_dir("vector-lua", &module()))
}

/// `script`, with what finds the module and the host before it.
fn script_file(script: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let setup = format!(
        "package.cpath = '{}/?.so'\npackage.path = '{HERE}/?.lua;{HERE}/tests/?.lua'\nhost = require('host')\n",
        module_dir().display()
    );
    std::fs::write(file.path(), setup + script).unwrap();
    file
}

/// Runs `script` and returns what it printed, and what it reported.
fn lua(script: &str) -> Result<(String, String), String> {
    let file = script_file(script);
    support::printed(&Command::new("lua5.4").arg(file.path()).output().unwrap())
}

/// Runs `script`, which holds its own assertions; also what it reported.
#[track_caller]
fn passes(script: &str) -> String {
    lua(script).unwrap_or_else(|error| panic!("{error}")).1
}

struct LuaTables;

impl Adapter for LuaTables {
    fn run(&mut self, config: &Value, events: &[Value]) -> Result<Vec<Value>, String> {
        let mut script = format!("local transform = host.oddline([==[{}]==])\n", literal(config));
        for event in events {
            let _ = writeln!(script, "transform:send({{log = {}}})", literal(event));
        }
        script.push_str(
            "transform:stop()
            assert(#transform.errors == 0, transform.errors[1])
            for _, event in ipairs(transform.out) do print(host.json(event.log)) end",
        );
        let (out, _) = lua(&script)?;
        out.lines().map(|line| serde_json::from_str(line).map_err(|error| format!("{error} in {line}"))).collect()
    }

    fn writes_empty_lists(&self) -> bool {
        false
    }
}

#[test]
fn lua_tables_conform_to_what_every_adapter_must_do() {
    if lua_is_missing() {
        return;
    }
    assert_eq!(conformance::check(&mut LuaTables), Vec::<String>::new());
}

#[test]
fn every_event_is_emitted_once_and_in_order_whatever_it_is() {
    if lua_is_missing() {
        return;
    }
    passes(
        r#"
        local transform = host.oddline()
        local strange = setmetatable({}, { __index = function() error("touched") end })
        local events = {
            { log = { message = "user 1 logged in", timestamp = os.date("!*t") } },
            { metric = { name = "m", kind = "absolute", counter = { value = 1 } } },
            { log = {} },
            { log = { message = "\0\255\254 not utf-8" } },
            { log = { message = function() end } },
            { log = { message = { deep = { "x" } }, timestamp = { year = "no" } } },
            { log = { message = string.rep("long ", 1 << 18) } },
            { log = strange },
            { log = { message = 1 / 0, anomaly = "mine" } },
        }
        for _, event in ipairs(events) do transform:send(event) end
        transform:tick()
        transform:stop()
        assert(#transform.errors == 0, transform.errors[1])
        assert(#transform.out == #events, #transform.out)
        for index, event in ipairs(events) do
            assert(transform.out[index] == event, index)
            assert(not event.log or type(event.log.anomaly) == "table", index)
        end
        assert(events[1].log.anomaly.template_id:match("^%x+$"))
        assert(events[1].log.anomaly.state == "learning")
        assert(math.type(events[1].log.anomaly.score) == "float")
        "#,
    );
}

#[test]
fn events_that_are_no_tables_pass_too() {
    if lua_is_missing() {
        return;
    }
    let reported = passes(
        r#"
        local oddline = require("oddline").new({})
        local out = {}
        for _, log in ipairs({ "text", 7, true }) do
            oddline.process({ log = log }, function(event) out[#out + 1] = event.log end)
        end
        assert(#out == 3)
        "#,
    );
    assert_eq!(reported.lines().filter(|line| line.contains("passed without a score")).count(), 1, "{reported}");
}

#[test]
fn events_before_init_and_after_shutdown_are_emitted() {
    if lua_is_missing() {
        return;
    }
    passes(
        r#"
        local oddline = require("oddline").new({})
        local out = {}
        local function emit(event) out[#out + 1] = event end
        oddline.timer(emit)
        oddline.process({ log = { message = "early" } }, emit)
        oddline.init(emit)
        oddline.process({ log = { message = "later" } }, emit)
        assert(oddline.counts().events_total == 2)
        oddline.shutdown(emit)
        oddline.shutdown(emit)
        oddline.timer(emit)
        oddline.process({ log = { message = "late" } }, emit)
        assert(#out == 3)
        assert(out[1].log.anomaly and out[2].log.anomaly and not out[3].log.anomaly)
        "#,
    );
}

#[test]
fn a_wrong_configuration_is_refused_where_vector_validates_it() {
    if lua_is_missing() {
        return;
    }
    for (config, expected) in [
        ("{ alert_buget = 0.1 }", "alert_budget"),
        ("{ alert_budget = 7 }", "alert_budget"),
        ("{ alert_budget = 'much' }", "alert_budget"),
        ("{ target = 'message' }", "message_field"),
        ("{ [1] = 'x' }", "expected texts for keys"),
        ("{ masks = function() end }", "expected a flag, number, text or table"),
        ("7", "expected a table of keys or the path of a file"),
        ("'/nowhere/oddline.yaml'", "/nowhere/oddline.yaml"),
        ("(function() local t = {} t.t = t return t end)()", "nested"),
    ] {
        let error = lua(&format!("host.oddline([==[{config}]==])")).unwrap_err();
        assert!(error.contains(expected), "{config}: {error}");
    }
}

#[test]
fn validating_touches_no_file() {
    if lua_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("state");
    passes(&format!("host.oddline([==[{{ data_dir = '{}' }}]==]):tick()", data_dir.display()));
    assert!(!data_dir.exists());
}

#[test]
fn what_was_learned_is_there_after_a_restart_also_without_shutdown() {
    if lua_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = |expected: &str, stop: &str| {
        format!(
            r#"
            local transform = host.oddline([==[{{ data_dir = "{}", fields = "full" }}]==])
            transform:send({{ log = {{ message = "user 1 logged in" }} }})
            local anomaly = transform.out[1].log.anomaly
            local new = anomaly.reasons and anomaly.reasons[1] == "new_template" or false
            assert(new == {expected}, host.json(anomaly))
            assert(anomaly.state == "learning", host.json(anomaly))
            {stop}
            "#,
            dir.path().join("state").display()
        )
    };
    passes(&script("true", "transform:stop()"));
    passes(&script("false", ""));
    passes(&script("false", "transform:tick() os.exit(0, true)"));
    passes(&script("false", "transform:stop()"));
}

#[test]
fn two_transforms_on_one_data_dir_share_what_they_learn() {
    if lua_is_missing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    passes(&format!(
        r#"
        local config = [==[{{ data_dir = "{}" }}]==]
        local old = host.oddline(config)
        old:send({{ log = {{ message = "user 1 logged in" }} }})
        local new = host.oddline(config)
        new:send({{ log = {{ message = "user 2 logged in" }} }})
        assert(old.out[1].log.anomaly.template_id == new.out[1].log.anomaly.template_id)
        assert(new.out[1].log.anomaly.state == "learning")
        old:stop()
        new:send({{ log = {{ message = "user 3 logged in" }} }})
        assert(new.out[2].log.anomaly.state == "learning")
        new:stop()
        "#,
        dir.path().join("state").display()
    ));
}

#[test]
fn states_move_between_threads_and_are_closed_while_others_are_busy() {
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().join("states");
    // The interpreter's library must be shared and its names visible to the module, as Vector's are.
    let built = Command::new("cc")
        .args(["-rdynamic", "-pthread", "-o"])
        .arg(&host)
        .arg(Path::new(HERE).join("tests/states.c"))
        .arg("-llua5.4")
        .output();
    if !built.is_ok_and(|built| built.status.success()) {
        skipped("no C compiler or no Lua library (apt-get install gcc libc6-dev liblua5.4-dev)");
        return;
    }
    let script = script_file(&format!(
        r#"
        local transform = host.oddline([==[{{ data_dir = "{}" }}]==])
        out = 0
        function send(n)
            transform:send({{ log = {{ message = "user " .. n .. " logged in" }} }})
            if n % 50 == 0 then transform:tick() end
            local log = transform.out[#transform.out].log
            assert(log.anomaly.state ~= "degraded", host.json(log))
            assert(#transform.errors == 0, transform.errors[1])
            out = #transform.out
        end
        function stop() transform:stop() end
        "#,
        dir.path().join("state").display()
    ));
    let output = Command::new(&host).arg(script.path()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{} {}", output.status, text(&output.stderr));
    assert_eq!(text(&output.stdout).trim(), "12000 of 12000\nthe module is still mapped");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_data_dir_that_cannot_be_opened_is_reported_once_and_stops_no_event() {
    if lua_is_missing() {
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let reported = passes(&format!(
        r#"
        local transform = host.oddline([==[{{ data_dir = "{}" }}]==])
        for n = 1, 50 do transform:send({{ log = {{ message = "user " .. n .. " logged in" }} }}) end
        transform:tick()
        transform:stop()
        assert(#transform.out == 50 and #transform.errors == 0)
        assert(transform.out[50].log.anomaly.state == "degraded")
        "#,
        file.path().display()
    ));
    assert_eq!(reported.lines().filter(|line| line.starts_with("oddline:")).count(), 1, "{reported}");
}

#[test]
fn vectors_timestamps_are_read_and_left_as_they_are() {
    if lua_is_missing() {
        return;
    }
    passes(
        r#"
        local transform = host.oddline("{ time = 'event', fields = 'full' }")
        local stamp = { year = 2024, month = 5, day = 6, hour = 7, min = 8, sec = 9, nanosec = 123456789, yday = 127, wday = 2, isdst = false }
        transform:send({ log = { message = "a", timestamp = stamp } })
        local log = transform.out[1].log
        assert(log.timestamp == stamp and stamp.nanosec == 123456789)
        assert(log.anomaly.event_id:sub(1, 12) == string.format("%012x", 1714979289123), log.anomaly.event_id)
        "#,
    );
}

#[test]
fn counters_are_emitted_as_metrics_when_asked_for() {
    if lua_is_missing() {
        return;
    }
    passes(
        r#"
        local oddline = require("oddline").new({}, { metrics = true })
        local out = {}
        local function emit(event) out[#out + 1] = event.metric end
        for n = 1, 3 do oddline.process({ log = { message = "a " .. n } }, emit) end
        oddline.timer(emit)
        oddline.timer(emit)
        oddline.process({ log = { other = 1 } }, emit)
        oddline.shutdown(emit)
        local total = {}
        for _, metric in ipairs(out) do
            assert(metric.namespace == "oddline" and metric.kind == "incremental" and metric.timestamp.year)
            total[metric.name] = (total[metric.name] or 0) + metric.counter.value
        end
        assert(total.events_total == 4 and total.events_without_message_total == 1, host.json(total))
        "#,
    );
}

#[test]
fn timer_ticks_emit_what_was_counted_since_as_metric_events_vector_takes() {
    if lua_is_missing() {
        return;
    }
    passes(
        r#"
        local transform = host.oddline("{}", "{ metrics = true }")
        local function metrics(from)
            local found = {}
            for index = from, #transform.out do
                local metric = transform.out[index].metric
                assert(metric and metric.kind == "incremental" and metric.namespace == "oddline", host.json(metric))
                assert(not found[metric.name], "twice in a tick")
                found[metric.name] = metric.counter.value
            end
            return found
        end
        transform:tick()
        assert(#transform.out == 0, "nothing was counted before the first event")
        for n = 1, 20 do transform:send({ log = { message = "user " .. n .. " logged in" } }) end
        transform:tick()
        local first = metrics(21)
        assert(first.events_total == 20, host.json(first))
        transform:send({ metric = { name = "m", kind = "absolute", gauge = { value = 1 } } })
        transform:send({ log = { other = 1 } })
        local before = #transform.out
        transform:tick()
        local second = metrics(before + 1)
        assert(second.events_total == 1 and second.events_without_message_total == 1, host.json(second))
        before = #transform.out
        transform:tick()
        assert(#transform.out == before, "a counter that stands still is not emitted")
        transform:stop()
        assert(#transform.errors == 0, transform.errors[1])
        "#,
    );
    let refused = r#"for _, metric in ipairs({
            { name = "x" }, { name = "x", kind = "sum", counter = { value = 1 } }, { name = "x", kind = "absolute" },
            { name = "x", kind = "absolute", counter = { value = "1" } }, { kind = "absolute", counter = { value = 1 } },
        }) do assert(not pcall(host.check_metric, metric), host.json(metric)) end"#;
    passes(refused);
}

#[test]
fn the_readmes_and_the_examples_hooks_are_those_of_the_wrapper() {
    let hooks = ["oddline.init", "oddline.process", "oddline.shutdown", "oddline.timer"];
    let examples = Path::new(HERE).join("../../config-examples/vector");
    for file in
        [Path::new(HERE).join("README.md"), examples.join("lua-minimal.yaml"), examples.join("lua-minimal.toml")]
    {
        let text = std::fs::read_to_string(&file).unwrap();
        for hook in hooks {
            assert!(text.contains(hook), "{}: {hook}", file.display());
        }
    }
    let wrapper = std::fs::read_to_string(Path::new(HERE).join("oddline.lua")).unwrap();
    for hook in hooks {
        let name = hook.trim_start_matches("oddline.");
        assert!(wrapper.contains(&format!("function hooks.{name}(")), "{name}");
    }
}

/// The Lua in an example, with its data dir replaced, has to load and score.
#[test]
fn the_source_of_the_example_loads_and_scores() {
    if lua_is_missing() {
        return;
    }
    let text = std::fs::read_to_string(Path::new(HERE).join("../../config-examples/vector/lua-minimal.toml")).unwrap();
    let source = text.split("'''").nth(1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().join("state").display().to_string();
    let source = source.replace("/var/lib/vector/oddline", &here);
    assert!(source.contains(&here));
    passes(&format!(
        r#"
        local transform = host.transform({{
            source = [==[{source}]==],
            hooks = {{ init = "oddline.init", process = "oddline.process", shutdown = "oddline.shutdown" }},
            timer = "oddline.timer",
        }})
        transform:send({{ log = {{ message = "user 1 logged in", host = "web-1" }} }})
        transform:stop()
        assert(transform.out[1].log.anomaly.state == "learning")
        "#
    ));
}

#[test]
fn a_literal_is_read_back_as_itself() {
    if lua_is_missing() {
        return;
    }
    let value = json!({"a": [1, 2.5, "q\"\\\n\u{0}é"], "b": {"c": true}});
    let (out, _) = lua(&format!("print(host.json({}))", literal(&value))).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), value);
}
