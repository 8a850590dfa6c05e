//! Data goes to standard output in big writes, everything else to standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal, StdoutLock, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::error::CliError;
use super::report_text::printable;

/// Bytes collected before they are written even if nobody asks.
const WRITE_BYTES: usize = 256 << 10;

/// How to print what a command found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document.
    Json,
}

/// Standard output with a buffer that its user fills directly.
pub(crate) struct Output {
    stdout: StdoutLock<'static>,
    buffer: Vec<u8>,
}

impl Output {
    /// Takes standard output.
    pub(crate) fn stdout() -> Self {
        Self { stdout: io::stdout().lock(), buffer: Vec::with_capacity(2 * WRITE_BYTES) }
    }

    /// Where to append; call [`Output::appended`] after each record.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Enough has come together to be written.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= WRITE_BYTES
    }

    /// Writes if enough has come together.
    pub(crate) fn appended(&mut self) -> Result<(), CliError> {
        if self.is_full() { self.flush() } else { Ok(()) }
    }

    /// Writes all there is.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.stdout.write_all(&self.buffer).and_then(|()| self.stdout.flush());
        self.buffer.clear();
        self.buffer.shrink_to(4 * WRITE_BYTES);
        written.map_err(CliError::stdout)
    }
}

/// Prints a text and a newline if it lacks one.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut out = Output::stdout();
    out.buffer().extend_from_slice(text.as_bytes());
    if !text.ends_with('\n') {
        out.buffer().push(b'\n');
    }
    out.flush()
}

/// Prints a value as indented JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::Output { what: "JSON".into(), source: io::Error::other(error) })?;
    print(&text)
}

/// Says what failed.
pub(crate) fn error(message: impl Display) {
    tell("error", message);
}

/// Says what the user should know.
pub(crate) fn warn(message: impl Display) {
    tell("warning", message);
}

/// Says what goes on.
#[cfg(feature = "serve")]
pub(crate) fn announce(message: impl Display) {
    tell("oddline", message);
}

/// Says what is no data and no complaint.
pub(crate) fn note(text: &str) {
    // As in [`tell`].
    io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
}

fn tell(kind: &str, message: impl Display) {
    // What is told may have names of an event's fields in it.
    let message: String = message.to_string().split_inclusive('\n').map(unobeyed).collect();
    // Standard error may be closed; there is nowhere left to complain.
    writeln!(io::stderr().lock(), "{kind}: {message}").unwrap_or_default();
}

/// A line with its end, and without what a terminal would obey.
fn unobeyed(line: &str) -> String {
    match line.strip_suffix('\n') {
        Some(line) => printable(line) + "\n",
        None => printable(line),
    }
}

/// Whether to use colours: standard output is a terminal and NO_COLOR is not set.
pub(crate) fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
