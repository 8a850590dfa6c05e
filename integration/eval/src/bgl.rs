//! The one labelled line stream of loghub's samples: BGL_2k.

use std::fs;
use std::io;
use std::path::Path;

use crate::csv::fields;
use crate::truth::{Record, Stream};

/// Lines before any counts.
const WARM_UP: usize = 200;

/// The lines as an agent forwards them after taking time and node off.
pub(crate) fn stream(loghub: &Path) -> io::Result<Stream> {
    let text = fs::read_to_string(loghub.join("BGL/BGL_2k.log_structured.csv"))?;
    let mut lines = text.lines().map(fields);
    let header = lines.next().unwrap_or_default();
    let column = |name: &str| {
        let missing = || io::Error::other(format!("BGL_2k.log_structured.csv has no column {name}"));
        header.iter().position(|column| column == name).ok_or_else(missing)
    };
    let (label, time, node) = (column("Label")?, column("Timestamp")?, column("Node")?);
    let message = [column("Type")?, column("Component")?, column("Level")?, column("Content")?];
    let record = |(number, fields): (usize, Vec<String>)| {
        let field = |at: usize| fields.get(at).map_or("", String::as_str);
        Record {
            // From the first line's, so that it is near the start of the streams.
            ts: field(time).parse::<f64>().unwrap_or(0.0) - 1_117_838_570.0,
            host: field(node).to_owned(),
            message: message.map(field).join(" "),
            label: u8::from(field(label) != "-"),
            kind: "line".to_owned(),
            incident: number as u32,
            warm: u8::from(number < WARM_UP),
        }
    };
    Ok(Stream { system: "BGL_2k".to_owned(), seed: 0, records: lines.enumerate().map(record).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_fields_hold_commas_and_quotes() {
        assert_eq!(fields(r#"1,"a, ""b""",,c"#), ["1", r#"a, "b""#, "", "c"]);
    }
}
