//! Counts of templates by window, within bounds: beyond them the series counted least recently go.

use std::collections::HashMap;

use super::summary::{Summary, TemplateCounts, WindowCount};
use crate::event::{TemplateId, Timestamp};

/// Most series of a file.
pub const MOST_SERIES: usize = 16_384;
/// Most points of all its series.
pub const MOST_POINTS: usize = 1 << 19;
/// At a bound this part of the series goes at once, so that room is not made for each event.
const EVICTED_PART: usize = 8;

/// The series of a file that is being written.
#[derive(Debug)]
pub(super) struct SeriesTable {
    window_micros: i64,
    entries: HashMap<TemplateId, Entry, foldhash::fast::FixedState>,
    points: usize,
    /// Grows by one with each count.
    now: u64,
    unlisted_events: u64,
    evicted: u64,
}

#[derive(Debug, Default)]
struct Entry {
    events: u64,
    marked: u64,
    span: Option<(i64, i64)>,
    /// A window may be there twice until they are put in order.
    points: Vec<WindowCount>,
    touched: u64,
}

impl Entry {
    fn widen(&mut self, first: i64, last: i64) {
        let (min, max) = self.span.unwrap_or((first, last));
        self.span = Some((min.min(first), max.max(last)));
    }

    /// Adds to a window; true when that is a new point.
    fn add(&mut self, point: WindowCount) -> bool {
        match self.points.last_mut() {
            Some(last) if last.window == point.window => {
                last.add(point);
                false
            }
            _ => {
                self.points.push(point);
                true
            }
        }
    }

    /// Puts the points in order, each window once; returns how many fewer there are.
    fn settle(&mut self) -> usize {
        let before = self.points.len();
        self.points.sort_unstable_by_key(|point| point.window);
        self.points.dedup_by(|later, earlier| {
            let same = later.window == earlier.window;
            if same {
                earlier.add(*later);
            }
            same
        });
        before - self.points.len()
    }
}

impl WindowCount {
    fn add(&mut self, other: Self) {
        self.events = self.events.saturating_add(other.events);
        self.marked = self.marked.saturating_add(other.marked);
    }
}

impl SeriesTable {
    pub(super) fn new(window_secs: u32) -> Self {
        Self {
            window_micros: i64::from(window_secs.max(1)) * 1_000_000,
            entries: HashMap::default(),
            points: 0,
            now: 0,
            unlisted_events: 0,
            evicted: 0,
        }
    }

    /// Counts one event.
    pub(super) fn count(&mut self, template: TemplateId, time: Timestamp, is_marked: bool) {
        self.now += 1;
        let entry = self.entries.entry(template).or_default();
        entry.touched = self.now;
        entry.events += 1;
        entry.marked += u64::from(is_marked);
        entry.widen(time.0, time.0);
        let window = time.0.div_euclid(self.window_micros);
        self.points += usize::from(entry.add(WindowCount { window, events: 1, marked: u64::from(is_marked) }));
        self.make_room();
    }

    /// Counts what another file counted.
    pub(super) fn absorb(&mut self, summary: &Summary) {
        self.unlisted_events = self.unlisted_events.saturating_add(summary.unlisted_events);
        self.evicted = self.evicted.saturating_add(summary.evicted_series);
        // A file lists them by id; touched they were in the order of their last events.
        let mut by_last: Vec<&TemplateCounts> = summary.templates.iter().collect();
        by_last.sort_by_key(|counts| counts.last);
        for counts in by_last {
            self.now += 1;
            let entry = self.entries.entry(counts.id).or_default();
            entry.touched = self.now;
            entry.events = entry.events.saturating_add(counts.events);
            entry.marked = entry.marked.saturating_add(counts.marked);
            entry.widen(counts.first.0, counts.last.0);
            let before = entry.points.len();
            for point in summary.points(counts) {
                let window = point.start.0.div_euclid(self.window_micros);
                entry.add(WindowCount { window, events: point.events, marked: point.marked });
            }
            self.points += entry.points.len() - before;
            self.make_room();
        }
    }

    fn make_room(&mut self) {
        if self.entries.len() <= MOST_SERIES && self.points <= MOST_POINTS {
            return;
        }
        self.points -= self.entries.values_mut().map(Entry::settle).sum::<usize>();
        while self.entries.len() > MOST_SERIES || self.points > MOST_POINTS {
            self.evict();
        }
    }

    fn evict(&mut self) {
        let mut by_age: Vec<(u64, TemplateId)> = self.entries.iter().map(|(id, entry)| (entry.touched, *id)).collect();
        let gone = by_age.len().div_ceil(EVICTED_PART);
        by_age.sort_unstable();
        for (_, id) in by_age.into_iter().take(gone) {
            if let Some(entry) = self.entries.remove(&id) {
                self.points -= entry.points.len();
                self.unlisted_events = self.unlisted_events.saturating_add(entry.events);
                self.evicted = self.evicted.saturating_add(1);
            }
        }
    }

    /// Everything counted, by template id; texts are the caller's.
    pub(super) fn into_summary(mut self) -> Summary {
        let mut templates: Vec<TemplateCounts> = self.entries.drain().map(|(id, entry)| counts_of(id, entry)).collect();
        templates.sort_unstable_by_key(|counts| counts.id);
        Summary {
            window_micros: self.window_micros,
            unlisted_events: self.unlisted_events,
            evicted_series: self.evicted,
            templates,
            ..Summary::default()
        }
    }
}

fn counts_of(id: TemplateId, mut entry: Entry) -> TemplateCounts {
    entry.settle();
    let (first, last) = entry.span.unwrap_or_default();
    TemplateCounts {
        id,
        events: entry.events,
        marked: entry.marked,
        first: Timestamp(first),
        last: Timestamp(last),
        text: Vec::new(),
        points: entry.points,
    }
}
