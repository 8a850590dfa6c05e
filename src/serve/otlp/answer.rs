//! What the next hop says of records it took.
//!
//! ```text
//! ExportLogsServiceResponse { PartialSuccess partial_success = 1 }
//! PartialSuccess            { int64 rejected_log_records = 1; string error_message = 2 }
//! ```

use serde_json::Value as Json;

use super::Encoding;
use crate::serve::wire::{self, Malformed, Wire};

/// How many records were rejected; nothing when `answer` is no `ExportLogsServiceResponse`. In JSON no body is an empty one, too.
pub(crate) fn rejected(encoding: Encoding, answer: &[u8]) -> Option<usize> {
    let count = match encoding {
        _ if answer.is_empty() => 0,
        Encoding::Protobuf => protobuf(answer).ok()?,
        Encoding::Json => json(&serde_json::from_slice(answer).ok()?)?,
    };
    // Below 0 is nonsense.
    Some(usize::try_from(count).unwrap_or(0))
}

fn protobuf(answer: &[u8]) -> Result<i64, Malformed> {
    let mut count = 0;
    for field in wire::fields(answer) {
        let field = field?;
        let (1, Wire::Bytes(partial)) = (field.number, field.value) else { continue };
        for field in wire::fields(partial) {
            let field = field?;
            if let (1, Wire::Varint(bits)) = (field.number, field.value) {
                count = bits as i64;
            }
        }
    }
    Ok(count)
}

fn json(answer: &Json) -> Option<i64> {
    let partial = answer.as_object()?.get("partialSuccess");
    let count = partial.and_then(|partial| partial.get("rejectedLogRecords"));
    Some(match count {
        Some(Json::String(text)) => text.parse().unwrap_or(0),
        Some(number) => number.as_i64().unwrap_or(0),
        None => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_records_are_counted_and_what_is_no_answer_is_told_apart() {
        for (answer, count) in [
            (&b""[..], Some(0)),
            (b"\x0a\x06\x08\x02\x12\x02no", Some(2)),
            (b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Some(0)),
            (b"\x0a\x06\x08\x02", None),
            (b"{}", None),
            (b"OK\n", None),
            (b"<html></html>", None),
        ] {
            assert_eq!(rejected(Encoding::Protobuf, answer), count, "{answer:?}");
        }
        for (answer, count) in [
            ("", Some(0)),
            ("{}", Some(0)),
            (r#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"no"}}"#, Some(2)),
            (r#"{"partialSuccess":{"rejectedLogRecords":3}}"#, Some(3)),
            (r#"{"partialSuccess":null}"#, Some(0)),
            ("[]", None),
            ("OK", None),
        ] {
            assert_eq!(rejected(Encoding::Json, answer.as_bytes()), count, "{answer}");
        }
    }
}
