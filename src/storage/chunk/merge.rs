//! Many files into one: an hour's L1 into L2, and what is whole of a damaged file into a new one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::group::Group;
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
            keep(&mut writer, &reader.group(fs, place)?)?;
        }
        texts.take(reader.into_summary());
    }
    result.written = Some(writer.finish(&mut |id| texts.0.remove(&id))?);
    Ok(result)
}

fn keep(writer: &mut ChunkWriter<'_>, group: &Group) -> Result<(), StorageError> {
    for (number, event) in (group.id.first_event..).zip(&group.events) {
        writer.keep(at(group, number), event)?;
    }
    Ok(())
}

fn at(group: &Group, number: u64) -> EventAt {
    EventAt { lane: group.id.lane, run: group.id.run, sequence: group.id.sequence, number }
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
/// Counts are those of the events that are left. Which segments of the log the file stood for is taken from the summary, or where that is
/// damaged from the groups.
pub fn salvage(
    fs: &dyn FileSystem,
    from: &Path,
    dir: &Path,
    name: &str,
    options: ChunkOptions,
) -> Result<Option<Written>, StorageError> {
    let bytes = fs.read(from).map_err(StorageError::io("read", from))?;
    let mut writer = ChunkWriter::create(fs, dir, name, options)?;
    let mut texts = Texts::default();
    let mut events = 0;
    let scanned = scan(from, &bytes, &mut |found| match found {
        Found::Group(group) => {
            events += group.events.len();
            writer.add_source(group.id.lane, group.id.sequence);
            let numbered = (group.id.first_event..).zip(&group.events);
            numbered.into_iter().try_for_each(|(number, event)| writer.push(at(&group, number), event))
        }
        Found::Summary(summary) => {
            summary.sources.iter().for_each(|(lane, sequence)| writer.add_source(*lane, *sequence));
            texts.take(summary);
            Ok(())
        }
    });
    match scanned {
        Ok(_) if events > 0 => writer.finish(&mut |id| texts.0.remove(&id)).map(Some),
        Ok(_) | Err(StorageError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
