//! Reads a file of the history: its summary at once, its groups when asked for.

use std::path::{Path, PathBuf};

use super::group::{self, Group};
use super::summary::{GroupPlace, Summary};
use super::writer::{parse_footer, parse_header};
use super::{FOOTER_BYTES, HEADER_BYTES, KIND_GROUP, KIND_SUMMARY};
use crate::storage::frame::{self, Frames, Step};
use crate::storage::{FileSystem, StorageError};

/// A file that was opened.
#[derive(Clone, Debug)]
pub struct ChunkReader {
    path: PathBuf,
    summary: Summary,
    /// What its frames are checked from.
    seed: u32,
}

impl ChunkReader {
    /// Reads header, footer and summary. Fails when one of them is damaged, and on a newer version.
    pub fn open(fs: &dyn FileSystem, path: &Path) -> Result<Self, StorageError> {
        let failed = |error| StorageError::io("read", path)(error);
        let head = fs.read_range(path, 0, HEADER_BYTES).map_err(failed)?;
        let seed = parse_header(path, &head)?;
        let total = fs.len(path).map_err(failed)?;
        let footer_at = total.saturating_sub(FOOTER_BYTES as u64);
        let footer = fs.read_range(path, footer_at, FOOTER_BYTES).map_err(failed)?;
        let damaged = |offset| move |reason| StorageError::Damaged { path: path.to_owned(), offset, reason };
        let offset = parse_footer(seed, &footer, total).map_err(damaged(footer_at))?;
        let length = usize::try_from(footer_at.saturating_sub(offset)).unwrap_or(usize::MAX);
        let most = frame::MAX_PAYLOAD_BYTES + frame::HEADER_BYTES;
        let bytes = fs.read_range(path, offset, length.min(most)).map_err(failed)?;
        let summary = match frame::parse(&bytes, seed) {
            Some((KIND_SUMMARY, payload)) if payload.len() + frame::HEADER_BYTES == length => Summary::decode(payload),
            _ => Err("expected the frame of the summary"),
        };
        let summary = summary.map_err(damaged(offset))?;
        Ok(Self { path: path.to_owned(), summary, seed })
    }

    /// What was counted.
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The same for who wants groups alone: what was counted of templates, up to megabytes a file, is left out.
    #[must_use]
    pub fn without_counts(&self) -> Self {
        let Summary { window_micros, unlisted_events, evicted_series, dropped_events, .. } = self.summary;
        let (sources, groups) = (self.summary.sources.clone(), self.summary.groups.clone());
        let summary = Summary {
            window_micros,
            unlisted_events,
            evicted_series,
            dropped_events,
            sources,
            groups,
            templates: Vec::new(),
        };
        Self { path: self.path.clone(), summary, seed: self.seed }
    }

    pub(super) fn into_summary(self) -> Summary {
        self.summary
    }

    /// Reads a group of [`Summary::groups`]. Fails when it is damaged; the others are not affected.
    pub fn group(&self, fs: &dyn FileSystem, place: &GroupPlace) -> Result<Group, StorageError> {
        let length = usize::try_from(place.length).unwrap_or(usize::MAX);
        let most = frame::MAX_PAYLOAD_BYTES + frame::HEADER_BYTES;
        let bytes = fs.read_range(&self.path, place.offset, length.min(most));
        let bytes = bytes.map_err(StorageError::io("read", &self.path))?;
        let group = match frame::parse(&bytes, self.seed) {
            Some((KIND_GROUP, payload)) => group::decode(payload),
            _ => Err("expected the frame of a group"),
        };
        let fits = |group: &Group| group.id == place.id && group.events.len() as u64 == place.events;
        match group {
            Ok(group) if fits(&group) => Ok(group),
            Ok(_) => Err(self.damaged(place.offset, "another group than the summary says")),
            Err(reason) => Err(self.damaged(place.offset, reason)),
        }
    }

    fn damaged(&self, offset: u64, reason: &'static str) -> StorageError {
        StorageError::Damaged { path: self.path.clone(), offset, reason }
    }

    /// Reads every group; returns how many events they hold. Fails at the first that is damaged.
    pub fn verify(&self, fs: &dyn FileSystem) -> Result<u64, StorageError> {
        let mut events = 0;
        for place in &self.summary.groups {
            events += self.group(fs, place)?.events.len() as u64;
        }
        Ok(events)
    }
}

/// Hands out the groups of a file that check out, and the summary if it does; returns the places that do not.
pub(super) fn scan(
    path: &Path,
    bytes: &[u8],
    visitor: &mut dyn FnMut(Found) -> Result<(), StorageError>,
) -> Result<u64, StorageError> {
    let seed = parse_header(path, bytes)?;
    let mut damaged = 0;
    for step in Frames::new(bytes, seed, HEADER_BYTES) {
        let Step::Frame(frame) = step else {
            // The footer is no frame.
            let is_footer = matches!(step, Step::TornTail { offset } if bytes.len() - offset == FOOTER_BYTES);
            damaged += u64::from(!is_footer);
            continue;
        };
        let found = match frame.kind {
            KIND_GROUP => group::decode(frame.payload).map(Found::Group),
            KIND_SUMMARY => Summary::decode(frame.payload).map(Found::Summary),
            _ => Err("a frame of a kind this version does not know"),
        };
        match found {
            Ok(found) => visitor(found)?,
            Err(_) => damaged += 1,
        }
    }
    Ok(damaged)
}

/// Something whole in a file that may not be.
#[derive(Debug)]
pub(super) enum Found {
    Group(Group),
    Summary(Summary),
}
