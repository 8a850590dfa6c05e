//! What the tests of the command share.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

pub(crate) fn oddline(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oddline"));
    command.args(args).env_remove("ODDLINE_LOG").env("NO_COLOR", "1");
    command
}

/// Runs the command on `stdin`.
pub(crate) fn run(args: &[&str], stdin: impl AsRef<[u8]>) -> Output {
    let mut child = start(args);
    let mut pipe = child.stdin.take().unwrap();
    let bytes = stdin.as_ref().to_vec();
    // A command that fails early closes the pipe.
    let writer = std::thread::spawn(move || pipe.write_all(&bytes).unwrap_or_default());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Starts the command with all three streams piped.
pub(crate) fn start(args: &[&str]) -> Child {
    oddline(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What a command that succeeded printed.
pub(crate) fn ok(output: &Output) -> &str {
    assert!(output.status.success(), "{:?}\n{}", output.status, stderr(output));
    std::str::from_utf8(&output.stdout).unwrap()
}

/// What a command that failed with `code` said.
pub(crate) fn failed(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
    let said = stderr(output);
    assert!(!said.contains("panicked"), "{said}");
    said
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Each line as JSON.
pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:.200}"))).collect()
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `count` routine lines with a time of their own, and one odd line at three quarters.
pub(crate) fn a_log(count: usize) -> String {
    let mut log = String::new();
    for n in 0..count {
        let (hour, minute, second) = (n / 3600, n / 60 % 60, n % 60);
        let text = match n {
            n if n == count * 3 / 4 => "kernel panic: fatal error, cannot mount root".to_owned(),
            n if n % 3 == 0 => format!("user {} logged in from 10.0.0.{}", n * 7, n % 250),
            n if n % 3 == 1 => format!("request {} served in {} ms", n * 13, n % 90),
            n => format!("cache hit for key {n}"),
        };
        log += &format!("2025-03-14T{hour:02}:{minute:02}:{second:02}Z {text}\n");
    }
    log
}
