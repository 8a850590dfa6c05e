//! A log is read and checked on one thread while another takes in what it holds.
//!
//! A replay learns record by record, in order, on the thread that calls. What comes before (files, checksums, decoding) needs nothing of what is
//! learned, and runs ahead of it by `PARTS_AHEAD` parts at the most: of `PART_EVENTS` events, which is some two megabytes, or of one template or decision, each as large
//! as its record ([`MAX_PAYLOAD_BYTES`](crate::storage::frame::MAX_PAYLOAD_BYTES) at the most; a template's text is seldom a kilobyte). What is handed out,
//! its order and the report are those of [`recover_lane`].

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::recover::{self, RecordAt, RecoveryReport, Sink, recover_lane};
use super::{Position, Record, WalEvent};
use crate::event::{TemplateId, Timestamp};
use crate::storage::error::StorageError;
use crate::storage::fs::FileSystem;

/// Parts that wait to be taken in.
const PARTS_AHEAD: usize = 32;

/// Events of a part: few enough for their memory to be used again rather than given back to the system.
const PART_EVENTS: usize = 1_024;

/// What goes from the one thread to the other.
enum Part {
    Events(RecordAt, Vec<WalEvent>),
    Template { at: RecordAt, id: TemplateId, first_seen: Timestamp, text: Vec<u8> },
    Decision { at: RecordAt, kind: u8, payload: Vec<u8> },
}

impl Part {
    fn deliver(self, visitor: &mut dyn FnMut(RecordAt, Record<'_>)) {
        match self {
            Self::Events(first, events) => {
                (0..).zip(events).for_each(|(index, event)| visitor(first.later(index), Record::Event(event)));
            }
            Self::Template { at, id, first_seen, text } => {
                visitor(at, Record::Template { id, first_seen, text: &text });
            }
            Self::Decision { at, kind, payload } => visitor(at, Record::Decision { kind, payload: &payload }),
        }
    }
}

/// Sends parts. When nobody takes them any more, the one who did is unwinding.
struct Ahead(SyncSender<Part>);

impl Ahead {
    fn send(&self, part: Part) {
        drop(self.0.send(part));
    }
}

impl Sink for Ahead {
    fn events(&mut self, first: RecordAt, events: &[WalEvent]) {
        for (part, start) in events.chunks(PART_EVENTS).zip((0..).step_by(PART_EVENTS)) {
            self.send(Part::Events(first.later(start), part.to_vec()));
        }
    }

    fn other(&mut self, at: RecordAt, record: Record<'_>) {
        self.send(match record {
            Record::Event(event) => Part::Events(at, vec![event]),
            Record::Template { id, first_seen, text } => Part::Template { at, id, first_seen, text: text.to_vec() },
            Record::Decision { kind, payload } => Part::Decision { at, kind, payload: payload.to_vec() },
        });
    }
}

/// As [`recover_lane`], with a thread of its own for what comes before `visitor`; on the same thread when none can be had.
///
/// # Errors
/// As [`recover_lane`].
///
/// # Panics
/// When `visitor` does.
pub fn recover_lane_ahead(
    fs: &dyn FileSystem,
    wal_dir: &Path,
    lane: u8,
    from: Position,
    visitor: &mut dyn FnMut(RecordAt, Record<'_>),
) -> Result<RecoveryReport, StorageError> {
    let (sender, parts) = sync_channel(PARTS_AHEAD);
    // The receiver goes into the closure: were `visitor` to panic, the reader would wait for it no longer.
    thread::scope(move |scope| {
        let read = move || recover::recover_into(fs, wal_dir, lane, from, &mut Ahead(sender));
        let Ok(reader) = thread::Builder::new().name("oddline-replay".to_owned()).spawn_scoped(scope, read) else {
            return recover_lane(fs, wal_dir, lane, from, visitor);
        };
        parts.iter().for_each(|part| part.deliver(visitor));
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
