//! An object as lines of JSON: one incident a line, each ended by a newline, keys in the order of [`Incident`], and last of all
//! `"check":"<crc>"`: CRC-32C, 8 hex digits, of the line's bytes before the comma.
//!
//! A line that does not check out is damage, counted; the others are taken. Keys that are not known are passed over, so that an older oddline reads
//! what a newer one wrote.

use super::incident::Incident;

/// Bytes of `,"check":"01234567"}`.
const CHECK_BYTES: usize = 20;

/// The bytes of an object.
pub(super) fn encode(incidents: &[Incident]) -> Vec<u8> {
    let mut out = Vec::new();
    for incident in incidents {
        // Texts, numbers and lists of them cannot fail to be written.
        let mut line = serde_json::to_vec(incident).unwrap_or_default();
        line.pop();
        let check = check(&line);
        out.append(&mut line);
        out.extend_from_slice(&check);
        out.push(b'\n');
    }
    out
}

fn check(line: &[u8]) -> Vec<u8> {
    format!(",\"check\":\"{:08x}\"}}", crc32c::crc32c(line)).into_bytes()
}

/// The incidents in an object, and how many lines are damaged.
pub(super) fn decode(bytes: &[u8]) -> (Vec<Incident>, u64) {
    let mut damaged = 0;
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let incidents = lines.filter_map(|line| {
        let read = decode_line(line);
        damaged += u64::from(read.is_none());
        read
    });
    (incidents.collect(), damaged)
}

fn decode_line(line: &[u8]) -> Option<Incident> {
    let (checked, found) = line.split_at_checked(line.len().checked_sub(CHECK_BYTES)?)?;
    if found != check(checked) {
        return None;
    }
    serde_json::from_slice::<Incident>(line).ok().filter(|incident| !incident.event_id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let incident = Incident { event_id: "01-02-03".to_owned(), ..Incident::default() };
        let text = String::from_utf8(encode(std::slice::from_ref(&incident))).unwrap();
        let expected = concat!(
            r#"{"event_id":"01-02-03","time":"","stream":"","score":0.0,"p_value":0.0,"reasons":[],"#,
            r#""detectors":{"rarity":0.0,"rate":0.0,"numeric":0.0,"categorical":0.0,"sequence":0.0,"severity":0.0,"silence":0.0,"similar_incident":0.0,"semantic":0.0},"#,
            r#""template_id":"","template":"","message":null,"message_hash":null,"parameters":[],"odd_parameter":null,"#,
            r#""expected":null,"observed":null,"rule":null,"synthetic":false"#
        );
        let check = crc32c::crc32c(expected.as_bytes());
        assert_eq!(text, format!("{expected},\"check\":\"{check:08x}\"}}\n"));
        assert_eq!(decode(text.as_bytes()), (vec![incident], 0));
    }

    #[test]
    fn a_line_of_before_there_were_more_columns_is_read() {
        let line = |columns: &str| [columns.as_bytes(), &check(columns.as_bytes()), b"\n"].concat();
        let old =
            line(r#"{"event_id":"01-02-03","time":"2025-03-14T10:00:00.000001Z","score":0.5,"a_column_of_later":[1]"#);
        let time = "2025-03-14T10:00:00.000001Z".to_owned();
        let expected = Incident { event_id: "01-02-03".to_owned(), time, score: 0.5, ..Incident::default() };
        assert_eq!(decode(&old), (vec![expected], 0));
        assert_eq!(decode(&line(r#"{"score":0.5"#)), (Vec::new(), 1), "but not one that says of no event");
    }
}
