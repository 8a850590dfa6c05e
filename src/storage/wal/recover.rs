//! Reading a lane's log back after whatever happened to it.
//!
//! Segments are read in order. In each, every frame that checks out is decoded; a record is handed out when its number says that it is neither covered
//! by the checkpoint nor seen before. Then, before anything is appended:
//!
//! * the torn tail of the **last** segment is cut off, and the file synced: a crash leaves one, it is no damage;
//! * a segment shorter than its header is removed: frames are only written after the header was synced, so it never held one;
//! * everything else that does not check out is **damage**: reported with its place, skipped, left in the file.
//!
//! Events are decoded only with everything they build on (see [`encode`](super::encode)): a wrong record is never handed out, an unreadable
//! one is counted in [`RecoveryReport::records_lost`] as far as the numbers of later records tell.

use std::io;
use std::path::{Path, PathBuf};

use super::decode::{self, EventDecoder, Numbers, Undecoded};
use super::encode::{KIND_DECISION, KIND_EVENTS, KIND_TEMPLATE};
use super::segment::{self, HeaderFault, SegmentHeader, SegmentSequence};
use super::{Position, Record, WalEvent, writer};
use crate::event::Timestamp;
use crate::storage::bytes::ByteReader;
use crate::storage::error::StorageError;
use crate::storage::frame::{Frame, Frames, Step};
use crate::storage::fs::{FileSystem, OpenMode};

/// Places of damage kept in a report; [`RecoveryReport::damage_total`] counts on.
pub const MAX_DAMAGE_LISTED: usize = 64;

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordAt {
    /// The lane.
    pub lane: u8,
    /// Its position.
    pub position: Position,
    /// For an event its number in lane and run (as in its id), for other records that of the next event.
    pub event_number: u64,
}

impl RecordAt {
    /// Where the event stands that comes so many events after this one, with nothing but events between them.
    pub(super) fn later(self, events: u64) -> Self {
        let position = Position { record: self.position.record.saturating_add(events), ..self.position };
        Self { position, event_number: self.event_number.saturating_add(events), ..self }
    }
}

/// Bytes that are no record.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct WalDamage {
    /// The segment.
    pub path: PathBuf,
    /// Where it starts.
    pub offset: u64,
    /// Where reading went on.
    pub skipped_to: u64,
    /// What was wrong.
    pub reason: &'static str,
    /// Nothing whole follows in the segment: a crash may have left it.
    pub is_tail: bool,
}

/// A tail that was cut off.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TornTail {
    /// The segment.
    pub path: PathBuf,
    /// Its length now.
    pub offset: u64,
    /// Bytes cut off.
    pub bytes: u64,
}

/// What recovery of one lane found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RecoveryReport {
    /// The lane.
    pub lane: u8,
    /// Segments read.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records handed out, of all kinds.
    pub records: u64,
    /// Events among them.
    pub events: u64,
    /// Templates among them.
    pub templates: u64,
    /// Decisions among them.
    pub decisions: u64,
    /// Records the checkpoint covers.
    pub records_covered: u64,
    /// Frames dropped because their records had been seen.
    pub duplicate_frames: u64,
    /// Records whose numbers are missing between others.
    pub records_lost: u64,
    /// Tails cut off.
    pub torn_tails: Vec<TornTail>,
    /// Damage found, as far as listed.
    pub damage: Vec<WalDamage>,
    /// Damage found, all of it.
    pub damage_total: u64,
    /// When the first segment was begun; `None` without a segment whose header is whole.
    #[serde(skip)]
    pub begun: Option<Timestamp>,
    /// Highest run seen; `None` without segments.
    pub last_run: Option<u32>,
    /// The sequence the next segment takes.
    pub next_sequence: SegmentSequence,
}

/// Lanes that have a log.
pub fn lanes(fs: &dyn FileSystem, wal_dir: &Path) -> Result<Vec<u8>, StorageError> {
    let entries = match fs.list(wal_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(StorageError::io("list", wal_dir))?,
    };
    let lane = |name: &str| u8::from_str_radix(name, 16).ok().filter(|lane| format!("{lane:02x}") == name);
    Ok(entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| lane(&entry.name)).collect())
}

/// Who takes what is read, in order.
pub(super) trait Sink {
    /// Whether events are wanted; where not, they are checked but neither decoded nor counted.
    fn wants_events(&self) -> bool {
        true
    }
    /// Events that follow one another; `first` is where the first stands.
    fn events(&mut self, first: RecordAt, events: &[WalEvent]);
    /// A record that is no event.
    fn other(&mut self, at: RecordAt, record: Record<'_>);
}

/// Takes records one by one.
struct Each<'v>(&'v mut dyn FnMut(RecordAt, Record<'_>));

impl Sink for Each<'_> {
    fn events(&mut self, first: RecordAt, events: &[WalEvent]) {
        (0..).zip(events).for_each(|(index, event)| (self.0)(first.later(index), Record::Event(*event)));
    }

    fn other(&mut self, at: RecordAt, record: Record<'_>) {
        (self.0)(at, record);
    }
}

/// Takes events, as many at a time as there are.
struct Events<'v>(&'v mut dyn FnMut(RecordAt, &[WalEvent]));

impl Sink for Events<'_> {
    fn events(&mut self, first: RecordAt, events: &[WalEvent]) {
        (self.0)(first, events);
    }

    fn other(&mut self, _: RecordAt, _: Record<'_>) {}
}

/// Takes the texts of templates.
struct Texts<'v>(&'v mut dyn FnMut(&[u8]));

impl Sink for Texts<'_> {
    fn wants_events(&self) -> bool {
        false
    }

    fn events(&mut self, _: RecordAt, _: &[WalEvent]) {}

    fn other(&mut self, _: RecordAt, record: Record<'_>) {
        if let Record::Template { text, .. } = record {
            (self.0)(text);
        }
    }
}

/// Hands out the records of `lane` from `from` on, in order, and repairs its log.
///
/// Fails on a segment of a newer version, and on files that cannot be read or repaired; the log is then as it was but for tails cut off.
pub fn recover_lane(
    fs: &dyn FileSystem,
    wal_dir: &Path,
    lane: u8,
    from: Position,
    visitor: &mut dyn FnMut(RecordAt, Record<'_>),
) -> Result<RecoveryReport, StorageError> {
    recover_into(fs, wal_dir, lane, from, &mut Each(visitor))
}

/// Hands out the texts of the templates of `lane` from `from` on, in order, and cuts off torn tails, which it returns. Fails as [`recover_lane`].
pub fn recover_templates(
    fs: &dyn FileSystem,
    wal_dir: &Path,
    lane: u8,
    from: Position,
    visitor: &mut dyn FnMut(&[u8]),
) -> Result<Vec<TornTail>, StorageError> {
    Ok(recover_into(fs, wal_dir, lane, from, &mut Texts(visitor))?.torn_tails)
}

pub(super) fn recover_into(
    fs: &dyn FileSystem,
    wal_dir: &Path,
    lane: u8,
    from: Position,
    sink: &mut dyn Sink,
) -> Result<RecoveryReport, StorageError> {
    let dir = segment::lane_dir(wal_dir, lane);
    let segments = writer::list(fs, &dir)?;
    let last = segments.last_key_value().map(|(&sequence, _)| sequence);
    let mut recovery = Recovery::new(lane, from, sink);
    recovery.report.next_sequence = last.map_or(SegmentSequence::default(), SegmentSequence::next);
    for &sequence in segments.keys() {
        recovery.segment(fs, &dir, sequence, last == Some(sequence))?;
    }
    Ok(recovery.report)
}

/// Hands out all records of one segment, which may be written to just now; changes nothing.
///
/// Fails when it is of a newer version or cannot be read.
pub fn read_segment(
    fs: &dyn FileSystem,
    wal_dir: &Path,
    lane: u8,
    sequence: SegmentSequence,
    visitor: &mut dyn FnMut(RecordAt, Record<'_>),
) -> Result<RecoveryReport, StorageError> {
    read_into(fs, wal_dir, lane, sequence, &mut Each(visitor))
}

/// The same of its events alone, those of a frame at once; where the first of them stands comes with them.
pub fn read_events(
    fs: &dyn FileSystem,
    wal_dir: &Path,
    lane: u8,
    sequence: SegmentSequence,
    visitor: &mut dyn FnMut(RecordAt, &[WalEvent]),
) -> Result<RecoveryReport, StorageError> {
    read_into(fs, wal_dir, lane, sequence, &mut Events(visitor))
}

fn read_into(
    fs: &dyn FileSystem,
    wal_dir: &Path,
    lane: u8,
    sequence: SegmentSequence,
    sink: &mut dyn Sink,
) -> Result<RecoveryReport, StorageError> {
    let mut recovery = Recovery { repairs: false, ..Recovery::new(lane, Position::default(), sink) };
    recovery.segment(fs, &segment::lane_dir(wal_dir, lane), sequence, false)?;
    Ok(recovery.report)
}

/// When a segment was begun; `None` when its header is damaged. Fails as [`read_segment`].
pub fn segment_begun(
    fs: &dyn FileSystem,
    wal_dir: &Path,
    lane: u8,
    sequence: SegmentSequence,
) -> Result<Option<Timestamp>, StorageError> {
    let path = segment::lane_dir(wal_dir, lane).join(segment::file_name(sequence));
    let header = fs.read_range(&path, 0, segment::HEADER_BYTES).map_err(StorageError::io("read", &path))?;
    Ok(SegmentHeader::parse(&header).ok().map(|header| header.created))
}

/// Segments of a lane, ascending.
pub fn segments(fs: &dyn FileSystem, wal_dir: &Path, lane: u8) -> Result<Vec<SegmentSequence>, StorageError> {
    Ok(writer::list(fs, &segment::lane_dir(wal_dir, lane))?.into_keys().collect())
}

/// Removes a segment of a lane that has no writer; one that is gone already is fine. Only what a durable checkpoint covers may go.
pub fn remove_segment(
    fs: &dyn FileSystem,
    wal_dir: &Path,
    lane: u8,
    sequence: SegmentSequence,
) -> Result<(), StorageError> {
    writer::remove(fs, &segment::lane_dir(wal_dir, lane), sequence)
}

struct Recovery<'v> {
    from: Position,
    report: RecoveryReport,
    /// Position of the record to come; `None` before the first.
    next: Option<Position>,
    decoder: EventDecoder,
    events: Vec<WalEvent>,
    sink: &'v mut dyn Sink,
    /// Whether files are changed.
    repairs: bool,
}

impl<'v> Recovery<'v> {
    fn new(lane: u8, from: Position, sink: &'v mut dyn Sink) -> Self {
        let report = RecoveryReport { lane, ..RecoveryReport::default() };
        Self { from, report, next: None, decoder: EventDecoder::default(), events: Vec::new(), sink, repairs: true }
    }

    fn segment(
        &mut self,
        fs: &dyn FileSystem,
        dir: &Path,
        sequence: SegmentSequence,
        is_last: bool,
    ) -> Result<(), StorageError> {
        let path = dir.join(segment::file_name(sequence));
        let bytes = fs.read(&path).map_err(StorageError::io("read", &path))?;
        self.report.segments += 1;
        self.report.bytes += bytes.len() as u64;
        match SegmentHeader::parse(&bytes) {
            Ok(header) if (header.lane, header.sequence) != (self.report.lane, sequence) => {
                self.damage(&path, 0, bytes.len(), "the header names another lane or segment than the file's name");
                Ok(())
            }
            Ok(header) => self.frames(fs, &path, &bytes, header, is_last),
            Err(HeaderFault::TooShort) => self.remove_stub(fs, &path, bytes.len()),
            Err(HeaderFault::Damaged(reason)) => {
                self.damage(&path, 0, bytes.len(), reason);
                Ok(())
            }
            Err(HeaderFault::Newer(found)) => {
                Err(StorageError::NewerVersion { what: "a WAL segment", path, found, supported: segment::VERSION })
            }
        }
    }

    fn frames(
        &mut self,
        fs: &dyn FileSystem,
        path: &Path,
        bytes: &[u8],
        header: SegmentHeader,
        is_last: bool,
    ) -> Result<(), StorageError> {
        self.report.begun.get_or_insert(header.created);
        self.report.last_run = self.report.last_run.max(Some(header.run));
        self.decoder.leave_block();
        for step in Frames::new(bytes, header.seed(), segment::HEADER_BYTES) {
            match step {
                Step::Frame(frame) => {
                    if let Err(reason) = self.frame(header.run, &frame) {
                        self.damage(
                            path,
                            frame.offset,
                            frame.offset + crate::storage::frame::HEADER_BYTES + frame.payload.len(),
                            reason,
                        );
                    }
                }
                Step::Damaged { offset, skipped_to } => self.damage(path, offset, skipped_to, "no valid frame"),
                Step::TornTail { offset } if is_last => self.cut(fs, path, offset, bytes.len())?,
                Step::TornTail { offset } => {
                    let reason = "no valid frame up to the end, with later segments after it";
                    self.damage_of(path, offset, bytes.len(), reason, true)
                }
            }
        }
        Ok(())
    }

    fn frame(&mut self, run: u32, frame: &Frame<'_>) -> Result<(), &'static str> {
        let mut reader = ByteReader::new(frame.payload);
        let numbers = Numbers::read(&mut reader).ok_or("a record without numbers")?;
        if !self.is_new(Position { run, record: numbers.first_record }) {
            self.report.duplicate_frames += 1;
            return Ok(());
        }
        match frame.kind {
            KIND_EVENTS if !self.sink.wants_events() => Ok(()),
            KIND_EVENTS => self.decode_events(run, numbers, &mut reader),
            KIND_TEMPLATE => {
                let (id, first_seen, text) =
                    decode::template(&mut reader).ok_or("a template record that ends too early")?;
                self.deliver(run, numbers, Record::Template { id, first_seen, text });
                Ok(())
            }
            KIND_DECISION => {
                let kind = reader.u8().ok_or("a decision without its kind")?;
                self.deliver(run, numbers, Record::Decision { kind, payload: reader.rest() });
                Ok(())
            }
            _ => Err("a record of a kind this version does not know"),
        }
    }

    /// Whether the record at `position` is still to come. Counts what is missing before it.
    fn is_new(&mut self, position: Position) -> bool {
        let expected = match self.next {
            // What the checkpoint covers may be gone.
            None => position.min(Position { run: position.run, record: self.first_wanted(position.run) }),
            Some(next) if position.run > next.run => Position { run: position.run, record: 0 },
            Some(next) => next,
        };
        if position < expected {
            return false;
        }
        if position > expected {
            let uncovered = position.record.saturating_sub(expected.record.max(self.first_wanted(position.run)));
            self.report.records_lost = self.report.records_lost.saturating_add(uncovered);
            self.decoder.leave_block();
        }
        self.next = Some(position);
        true
    }

    /// First record of `run` that the checkpoint does not cover.
    fn first_wanted(&self, run: u32) -> u64 {
        match run.cmp(&self.from.run) {
            std::cmp::Ordering::Less => u64::MAX,
            std::cmp::Ordering::Equal => self.from.record,
            std::cmp::Ordering::Greater => 0,
        }
    }

    fn decode_events(&mut self, run: u32, numbers: Numbers, reader: &mut ByteReader<'_>) -> Result<(), &'static str> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let decoded = self.decoder.decode(reader, &mut events);
        self.deliver_events(run, numbers, &events);
        self.events = events;
        match decoded {
            Err(Undecoded::Malformed) => Err("events that no encoder writes"),
            // The damage that took the context is reported already.
            Err(Undecoded::MissingContext) | Ok(()) => Ok(()),
        }
    }

    fn deliver(&mut self, run: u32, numbers: Numbers, record: Record<'_>) {
        let at = self.pass(run, numbers, 1);
        if at.position < self.from {
            self.report.records_covered += 1;
            return;
        }
        self.report.records += 1;
        match record {
            Record::Event(_) => self.report.events += 1,
            Record::Template { .. } => self.report.templates += 1,
            Record::Decision { .. } => self.report.decisions += 1,
        }
        self.sink.other(at, record);
    }

    fn deliver_events(&mut self, run: u32, numbers: Numbers, events: &[WalEvent]) {
        let first = self.pass(run, numbers, events.len() as u64);
        // Of a frame that the checkpoint covers in part, the rest.
        let covered = if run < self.from.run {
            events.len()
        } else if run > self.from.run {
            0
        } else {
            let records = self.from.record.saturating_sub(first.position.record);
            usize::try_from(records).unwrap_or(usize::MAX).min(events.len())
        };
        let (_, wanted) = events.split_at(covered);
        self.report.records_covered += covered as u64;
        self.report.records += wanted.len() as u64;
        self.report.events += wanted.len() as u64;
        if !wanted.is_empty() {
            self.sink.events(first.later(covered as u64), wanted);
        }
    }

    /// Notes that the next `records` of a frame were read; where the first of them stands.
    fn pass(&mut self, run: u32, numbers: Numbers, records: u64) -> RecordAt {
        let position = Position { run, record: numbers.first_record };
        if records > 0 {
            self.next = Some(Position { record: position.record.saturating_add(records), ..position });
        }
        RecordAt { lane: self.report.lane, position, event_number: numbers.first_event }
    }

    fn damage(&mut self, path: &Path, offset: usize, skipped_to: usize, reason: &'static str) {
        self.damage_of(path, offset, skipped_to, reason, false);
    }

    fn damage_of(&mut self, path: &Path, offset: usize, skipped_to: usize, reason: &'static str, is_tail: bool) {
        self.report.damage_total += 1;
        if self.report.damage.len() < MAX_DAMAGE_LISTED {
            let (offset, skipped_to) = (offset as u64, skipped_to as u64);
            self.report.damage.push(WalDamage { path: path.to_owned(), offset, skipped_to, reason, is_tail });
        }
    }

    fn cut(&mut self, fs: &dyn FileSystem, path: &Path, offset: usize, length: usize) -> Result<(), StorageError> {
        let cut = fs.open(path, OpenMode::Append).and_then(|mut file| {
            file.truncate(offset as u64)?;
            file.sync()
        });
        cut.map_err(StorageError::io("truncate", path))?;
        self.torn(path, offset, length);
        Ok(())
    }

    fn remove_stub(&mut self, fs: &dyn FileSystem, path: &Path, length: usize) -> Result<(), StorageError> {
        if self.repairs {
            fs.remove(path).map_err(StorageError::io("remove", path))?;
        }
        self.torn(path, 0, length);
        Ok(())
    }

    fn torn(&mut self, path: &Path, offset: usize, length: usize) {
        self.report.torn_tails.push(TornTail {
            path: path.to_owned(),
            offset: offset as u64,
            bytes: (length - offset) as u64,
        });
    }
}
