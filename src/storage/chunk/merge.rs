//! Many files into one: an hour's L1 into L2, and what is whole of a damaged file into a new one.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::group::{Group, GroupId};
use super::reader::{Found, scan};
use super::writer::{ChunkOptions, ChunkWriter, EventAt, Written};
use super::{ChunkReader, Summary};
use crate::event::TemplateId;
use crate::storage::{FileSystem, StorageError};

/// What [`merge`] did.
#[derive(Debug, Default)]
pub struct Merged {
    /// The file it wrote; `None` when no input was whole.
    pub written: Option<Written>,
    /// Inputs that the file stands for: they can go.
    pub merged: Vec<PathBuf>,
    /// Inputs that are damaged: they stay as they are.
    pub damaged: Vec<StorageError>,
}

/// Writes `dir/name` with the content of `inputs`, in this order; durable when it returns. An input may be the file that is replaced.
///
/// An input that is damaged in any place is left out. Fails when something cannot be read or written; then nothing has changed.
pub fn merge(
    fs: &dyn FileSystem,
    dir: &Path,
    name: &str,
    options: ChunkOptions,
    inputs: &[PathBuf],
) -> Result<Merged, StorageError> {
    let mut result = Merged::default();
    for path in inputs {
        // A group that is damaged must be noticed before the file it is in is replaced.
        match ChunkReader::open(fs, path).and_then(|reader| reader.verify(fs)) {
            Ok(_) => result.merged.push(path.clone()),
            Err(error @ StorageError::Damaged { .. }) => result.damaged.push(error),
            Err(error) => return Err(error),
        }
    }
    if result.merged.is_empty() {
        return Ok(result);
    }
    let mut writer = ChunkWriter::create(fs, dir, name, options)?;
    let mut texts = Texts::default();
    for path in &result.merged {
        let reader = ChunkReader::open(fs, path)?;
        writer.absorb(reader.summary());
        for place in &reader.summary().groups {
            let group = reader.group(fs, place)?;
            writer.keep(first_of(&group), &group.events)?;
        }
        texts.take(reader.into_summary());
    }
    result.written = Some(writer.finish(&mut |id| texts.0.remove(&id))?);
    Ok(result)
}

/// Where the first event of a group is.
fn first_of(group: &Group) -> EventAt {
    let GroupId { lane, sequence, run, first_event: number } = group.id;
    EventAt { lane, run, sequence, number }
}

/// The newest text of each template, with several the last one given.
#[derive(Debug, Default)]
struct Texts(HashMap<TemplateId, Vec<u8>>);

impl Texts {
    fn take(&mut self, summary: Summary) {
        let given = summary.templates.into_iter().filter(|counts| !counts.text.is_empty());
        self.0.extend(given.map(|counts| (counts.id, counts.text)));
    }
}

/// Writes what is whole of the damaged file `from` to `dir/name`; durable when it returns. `None` when nothing is.
///
/// Where the summary reads, counts, windows and the segments of the log the file stands for are its own, and events that are in no group any more are counted as
/// dropped. Where it does not, they are those of the groups: a segment counts when an event of it begins a group, or all of it is between two that do
/// with no event missing.
pub fn salvage(
    fs: &dyn FileSystem,
    from: &Path,
    dir: &Path,
    name: &str,
    options: ChunkOptions,
) -> Result<Option<Written>, StorageError> {
    let bytes = fs.read(from).map_err(StorageError::io("read", from))?;
    let (mut summary, mut events) = (None, 0u64);
    let scanned = scan(from, &bytes, &mut |found| {
        match found {
            Found::Group(group) => events += group.events.len() as u64,
            Found::Summary(found) => summary = Some(found),
        }
        Ok(())
    });
    match scanned {
        Ok(_) if events > 0 || summary.is_some() => {}
        Ok(_) | Err(StorageError::Damaged { .. }) => return Ok(None),
        Err(error) => return Err(error),
    }
    let window_secs = summary.as_ref().and_then(|summary| u32::try_from(summary.window_micros / 1_000_000).ok());
    let options = ChunkOptions { window_secs: window_secs.unwrap_or(options.window_secs), ..options };
    let mut writer = ChunkWriter::create(fs, dir, name, options)?;
    if let Some(summary) = &summary {
        writer.absorb(summary);
        let listed = summary.groups.iter().fold(0u64, |sum, place| sum.saturating_add(place.events));
        writer.note_dropped(listed.saturating_sub(events));
    }
    let mut before = None;
    scan(from, &bytes, &mut |found| {
        let Found::Group(group) = found else { return Ok(()) };
        if summary.is_some() {
            return writer.keep(first_of(&group), &group.events);
        }
        sources(before, &group).for_each(|sequence| writer.add_source(group.id.lane, sequence));
        before = Some((group.id, group.events.len() as u64));
        writer.extend(first_of(&group), &group.events)
    })?;
    let mut texts = Texts::default();
    summary.into_iter().for_each(|summary| texts.take(summary));
    writer.finish(&mut |id| texts.0.remove(&id)).map(Some)
}

/// Segments that a group stands for, after the one `before` with so many events: that of its first event, and those between when no event is missing.
fn sources(before: Option<(GroupId, u64)>, group: &Group) -> RangeInclusive<u64> {
    let id = group.id;
    let follows = |(before, events): &(GroupId, u64)| {
        (before.lane, before.run) == (id.lane, id.run)
            && before.first_event.checked_add(*events) == Some(id.first_event)
            // Each has an event at least.
            && id.sequence.checked_sub(before.sequence).is_some_and(|segments| segments <= *events)
    };
    before.filter(follows).map_or(id.sequence, |(before, _)| before.sequence)..=id.sequence
}
