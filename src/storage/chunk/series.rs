//! Counts of templates by window, within bounds: beyond them the series counted least recently go.

use std::ops::Range;

use super::dictionary::Dictionary;
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
    /// The window of the event counted last, and its number.
    window: (Range<i64>, i64),
    /// Whose entry is where.
    places: Dictionary<TemplateId>,
    entries: Vec<Entry>,
    points: usize,
    /// Grows by one with each count.
    now: u64,
    unlisted_events: u64,
    evicted: u64,
}

#[derive(Debug)]
struct Entry {
    events: u64,
    marked: u64,
    first: i64,
    last: i64,
    /// A window may be there twice until they are put in order.
    points: Vec<WindowCount>,
    touched: u64,
}

impl Default for Entry {
    /// Of no event yet: any time widens it.
    fn default() -> Self {
        Self { events: 0, marked: 0, first: i64::MAX, last: i64::MIN, points: Vec::new(), touched: 0 }
    }
}

impl Entry {
    fn widen(&mut self, first: i64, last: i64) {
        (self.first, self.last) = (self.first.min(first), self.last.max(last));
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
            window: (0..0, 0),
            places: Dictionary::default(),
            entries: Vec::new(),
            points: 0,
            now: 0,
            unlisted_events: 0,
            evicted: 0,
        }
    }

    /// Counts one event.
    #[inline]
    pub(super) fn count(&mut self, template: TemplateId, time: Timestamp, is_marked: bool) {
        if !self.window.0.contains(&time.0) {
            self.enter_window(time);
        }
        let window = self.window.1;
        self.now += 1;
        let now = self.now;
        let Some(entry) = self.entry(template) else {
            self.unlisted_events = self.unlisted_events.saturating_add(1);
            return;
        };
        entry.touched = now;
        entry.events += 1;
        entry.marked += u64::from(is_marked);
        entry.widen(time.0, time.0);
        if entry.add(WindowCount { window, events: 1, marked: u64::from(is_marked) }) {
            self.points += 1;
            self.make_room();
        }
    }

    #[cold]
    fn enter_window(&mut self, time: Timestamp) {
        let window = time.0.div_euclid(self.window_micros);
        // At the ends of time a window is cut off.
        let start = i128::from(window) * i128::from(self.window_micros);
        let end = start + i128::from(self.window_micros);
        let within = |bound: i128| i64::try_from(bound).unwrap_or(if bound < 0 { i64::MIN } else { i64::MAX });
        self.window = (within(start)..within(end), window);
    }

    /// The entry of a template, a new one where there is none.
    #[inline]
    fn entry(&mut self, template: TemplateId) -> Option<&mut Entry> {
        let place = self.places.number(template) as usize;
        if place >= self.entries.len() {
            self.entries.resize_with(place + 1, Entry::default);
        }
        self.entries.get_mut(place)
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
            let (now, window_micros) = (self.now, self.window_micros);
            let Some(entry) = self.entry(counts.id) else { continue };
            entry.touched = now;
            entry.events = entry.events.saturating_add(counts.events);
            entry.marked = entry.marked.saturating_add(counts.marked);
            entry.widen(counts.first.0, counts.last.0);
            let before = entry.points.len();
            for point in summary.points(counts) {
                let window = point.start.0.div_euclid(window_micros);
                entry.add(WindowCount { window, events: point.events, marked: point.marked });
            }
            let added = entry.points.len() - before;
            self.points += added;
            self.make_room();
        }
    }

    fn make_room(&mut self) {
        if self.entries.len() <= MOST_SERIES && self.points <= MOST_POINTS {
            return;
        }
        self.points -= self.entries.iter_mut().map(Entry::settle).sum::<usize>();
        while self.entries.len() > MOST_SERIES || self.points > MOST_POINTS {
            self.evict();
        }
    }

    fn evict(&mut self) {
        let mut by_age: Vec<u64> = self.entries.iter().map(|entry| entry.touched).collect();
        let gone = by_age.len().div_ceil(EVICTED_PART);
        by_age.sort_unstable();
        // No two were touched at once.
        let oldest_kept = by_age.get(gone).copied().unwrap_or(u64::MAX);
        let all = std::mem::take(&mut self.places).values().to_vec();
        let (kept, evicted): (Vec<_>, Vec<_>) =
            all.into_iter().zip(self.entries.drain(..)).partition(|(_, entry)| entry.touched >= oldest_kept);
        self.places = kept.iter().map(|(template, _)| *template).collect();
        self.entries.extend(kept.into_iter().map(|(_, entry)| entry));
        for (_, entry) in evicted {
            self.points -= entry.points.len();
            self.unlisted_events = self.unlisted_events.saturating_add(entry.events);
            self.evicted = self.evicted.saturating_add(1);
        }
    }

    /// Everything counted, by template id; texts are the caller's.
    pub(super) fn into_summary(self) -> Summary {
        let of = self.places.values().iter().zip(self.entries);
        let mut templates: Vec<TemplateCounts> = of.map(|(id, entry)| counts_of(*id, entry)).collect();
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
    TemplateCounts {
        id,
        events: entry.events,
        marked: entry.marked,
        first: Timestamp(entry.first),
        last: Timestamp(entry.last),
        text: Vec::new(),
        points: entry.points,
    }
}
