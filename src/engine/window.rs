//! L0: the newest events of each lane, in memory.
//!
//! A lane appends to its open window, which is its own. Every `window_secs`, at a tick, the window is sealed: the lane goes on with an empty
//! buffer, and the full one joins the sealed windows of all lanes, newest last. Who reads takes the list of sealed windows as it is at that
//! moment (`Windows::snapshot`, one atomic load) and waits for nobody; who seals replaces the list as a whole.
//!
//! **Memory.** An eighth of `memory_limit_bytes`: three fifths for open windows, two for sealed ones. An open window that cannot grow drops events until there is
//! room again; a sealed one makes room by letting the oldest go, and goes itself when it does not fit alone. What is dropped is counted, is
//! on disk all the same (the log and the history do not depend on L0), and no event waits for any of it.
//!
//! **Promises none:** L0 is gone with the process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::budget::Budget;
use super::timer::Every;
use crate::event::{StreamKey, TemplateId, Timestamp};

/// Part of the memory limit that windows may take.
const WINDOWS_PART: u64 = 8;

/// What an open window begins with; it doubles as it needs to.
const FIRST_EVENTS: usize = 4_096;

/// An open window that was refused room drops so many events before it asks again.
const RETRY_EVENTS: u64 = 1_024;

/// Bytes of an event in a window.
const EVENT_BYTES: u64 = size_of::<WindowEvent>() as u64;

/// An event in a window: 32 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WindowEvent {
    /// When it happened.
    pub timestamp: Timestamp,
    /// Its template.
    pub template: TemplateId,
    /// Its stream.
    pub stream: StreamKey,
    /// Its number in lane and run, the low half.
    pub number: u32,
    /// The upper half of the statistic's bits, as the log has it.
    pub statistic: u16,
    /// Severity class.
    pub severity: u8,
    /// Flags as in the log.
    pub flags: u8,
}

/// A window that takes no more events.
#[derive(Debug)]
pub struct SealedWindow {
    /// Its lane.
    pub lane: u8,
    /// When it was sealed, by the clock of the ticks.
    pub sealed_at: Timestamp,
    /// Its events in the order they were observed.
    pub events: Vec<WindowEvent>,
    /// Events that it had no room for.
    pub dropped: u64,
}

impl SealedWindow {
    fn bytes(&self) -> u64 {
        self.events.capacity() as u64 * EVENT_BYTES
    }
}

/// The sealed windows of all lanes, and what all windows may take.
#[derive(Debug)]
pub(super) struct Windows {
    open: Budget,
    sealed: Budget,
    list: ArcSwap<Vec<Arc<SealedWindow>>>,
    /// Held while the list is replaced.
    sealing: Mutex<()>,
    dropped_total: AtomicU64,
    sealed_total: AtomicU64,
}

/// What windows hold and held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WindowFigures {
    pub(super) bytes: u64,
    pub(super) sealed_total: u64,
    pub(super) dropped_total: u64,
}

impl Windows {
    pub(super) fn new(memory_limit_bytes: u64) -> Self {
        let most = memory_limit_bytes / WINDOWS_PART;
        Self {
            open: Budget::new(most / 5 * 3),
            sealed: Budget::new(most / 5 * 2),
            list: ArcSwap::default(),
            sealing: Mutex::default(),
            dropped_total: AtomicU64::new(0),
            sealed_total: AtomicU64::new(0),
        }
    }

    /// The sealed windows as they are now, oldest first.
    pub(super) fn snapshot(&self) -> Arc<Vec<Arc<SealedWindow>>> {
        self.list.load_full()
    }

    pub(super) fn figures(&self) -> WindowFigures {
        WindowFigures {
            bytes: self.open.used() + self.sealed.used(),
            sealed_total: self.sealed_total.load(Ordering::Relaxed),
            dropped_total: self.dropped_total.load(Ordering::Relaxed),
        }
    }

    fn count_dropped(&self, events: u64) {
        if events > 0 {
            self.dropped_total.fetch_add(events, Ordering::Relaxed);
            metrics::counter!("oddline_window_dropped_events_total").increment(events);
        }
    }

    fn publish(&self, mut window: SealedWindow) {
        // Two lanes seal one after the other; readers do not come here.
        let _sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        self.sealed_total.fetch_add(1, Ordering::Relaxed);
        let mut list = Vec::clone(&self.list.load());
        let mut kept = list.iter();
        if window.bytes() > self.sealed.most() {
            self.drop_events(&mut window);
        }
        while !self.sealed.claim(window.bytes()) {
            match kept.next() {
                Some(oldest) => self.sealed.give_back(oldest.bytes()),
                None => self.drop_events(&mut window),
            }
        }
        let gone = list.len() - kept.len();
        list.drain(..gone);
        list.push(Arc::new(window));
        self.list.store(Arc::new(list));
    }

    fn drop_events(&self, window: &mut SealedWindow) {
        let events = std::mem::take(&mut window.events).len() as u64;
        window.dropped += events;
        self.count_dropped(events);
    }
}

/// A lane's open window.
#[derive(Debug)]
pub(super) struct OpenWindow {
    windows: Arc<Windows>,
    lane: u8,
    events: Vec<WindowEvent>,
    dropped: u64,
    /// How many may be dropped before there is another try for room.
    retry_at: u64,
    seals: Every,
}

impl OpenWindow {
    pub(super) fn new(windows: Arc<Windows>, lane: u8) -> Self {
        Self { windows, lane, events: Vec::new(), dropped: 0, retry_at: 0, seals: Every::default() }
    }

    /// Takes an event in, or counts it as dropped.
    #[inline]
    pub(super) fn push(&mut self, event: WindowEvent) {
        if self.events.len() == self.events.capacity() && (self.dropped < self.retry_at || !self.grow()) {
            self.dropped += 1;
            return;
        }
        self.events.push(event);
    }

    #[cold]
    fn grow(&mut self) -> bool {
        let more = self.events.capacity().max(FIRST_EVENTS);
        let may = self.windows.open.claim(more as u64 * EVENT_BYTES);
        if may {
            let before = self.events.capacity();
            self.events.reserve_exact(more);
            // The allocator may give more than was asked for: what is counted is what there is.
            let extra = (self.events.capacity() - before).saturating_sub(more) as u64 * EVENT_BYTES;
            if extra > 0 && !self.windows.open.claim(extra) {
                self.events.shrink_to(before + more);
            }
        } else {
            self.retry_at = self.dropped + RETRY_EVENTS;
        }
        may
    }

    /// Seals the window when `window_secs` have passed since the last one was; an empty one stays open.
    pub(super) fn tick(&mut self, now: Timestamp, window_secs: i64) {
        if self.seals.is_due(now, window_secs) {
            self.seal(now);
        }
    }

    fn seal(&mut self, now: Timestamp) {
        if self.events.is_empty() && self.dropped == 0 {
            return;
        }
        let mut events = std::mem::take(&mut self.events);
        self.windows.open.give_back(events.capacity() as u64 * EVENT_BYTES);
        events.shrink_to_fit();
        self.retry_at = 0;
        let dropped = std::mem::take(&mut self.dropped);
        self.windows.count_dropped(dropped);
        self.windows.publish(SealedWindow { lane: self.lane, sealed_at: now, events, dropped });
    }
}

impl Drop for OpenWindow {
    /// A lane that is given back takes its open window with it: what it held is in the log.
    fn drop(&mut self) {
        self.windows.open.give_back(self.events.capacity() as u64 * EVENT_BYTES);
        self.windows.count_dropped(self.dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn windows(budget: u64) -> Arc<Windows> {
        Arc::new(Windows::new(budget * WINDOWS_PART))
    }

    fn fill(window: &mut OpenWindow, events: u32) {
        (0..events).for_each(|number| window.push(WindowEvent { number, ..WindowEvent::default() }));
    }

    const fn second(s: i64) -> Timestamp {
        Timestamp(s * 1_000_000)
    }

    fn held(windows: &Windows) -> Vec<(usize, u64)> {
        windows.snapshot().iter().map(|window| (window.events.len(), window.dropped)).collect()
    }

    #[test]
    fn an_event_is_32_bytes() {
        assert_eq!(EVENT_BYTES, 32);
    }

    #[test]
    fn a_window_is_sealed_when_its_time_has_passed_and_readers_keep_what_they_took() {
        let windows = windows(MIB);
        let mut open = OpenWindow::new(Arc::clone(&windows), 3);
        open.tick(second(0), 10);
        fill(&mut open, 100);
        open.tick(second(9), 10);
        assert_eq!(held(&windows), []);
        open.tick(second(10), 10);
        let taken = windows.snapshot();
        fill(&mut open, 50);
        open.tick(second(15), 10);
        open.tick(second(20), 10);
        open.tick(second(30), 10);
        assert_eq!(held(&windows), [(100, 0), (50, 0)], "an empty window is not sealed");
        assert_eq!((taken.len(), taken[0].events[99].number, taken[0].lane), (1, 99, 3));
    }

    #[test]
    fn at_the_budget_detail_is_dropped_and_counted_and_afterwards_all_is_as_before() {
        let windows = windows(MIB);
        let mut left = OpenWindow::new(Arc::clone(&windows), 0);
        let mut right = OpenWindow::new(Arc::clone(&windows), 1);
        [&mut left, &mut right].into_iter().for_each(|window| window.tick(second(0), 10));
        fill(&mut left, 100_000);
        fill(&mut right, 10_000);
        assert!(windows.figures().bytes <= MIB);
        let kept = left.events.len() as u64;
        assert!(kept > 10_000 && kept + left.dropped == 100_000);
        left.tick(second(10), 10);
        right.tick(second(10), 10);
        assert_eq!(windows.figures().dropped_total + held(&windows).iter().map(|w| w.0 as u64).sum::<u64>(), 110_000);
        fill(&mut right, 5_000);
        right.tick(second(20), 10);
        assert_eq!(held(&windows).last(), Some(&(5_000, 0)), "the pressure is over");
        assert!(windows.figures().bytes <= MIB);
    }

    #[test]
    fn sealed_windows_make_room_by_letting_the_oldest_go() {
        let windows = windows(MIB);
        let mut open = OpenWindow::new(Arc::clone(&windows), 0);
        open.tick(second(0), 10);
        for round in 1..100 {
            fill(&mut open, 4_000);
            open.tick(second(round * 10), 10);
            assert!(windows.figures().bytes <= MIB);
        }
        let held = windows.snapshot();
        assert_eq!(held.len(), 3, "two fifths of the budget hold three windows of 128,000 bytes");
        assert_eq!(held.last().map(|window| window.sealed_at), Some(second(990)));
        assert_eq!(windows.figures().sealed_total, 99);
    }

    #[test]
    fn with_no_budget_at_all_every_event_is_counted_as_dropped() {
        let windows = windows(0);
        let mut open = OpenWindow::new(Arc::clone(&windows), 0);
        open.tick(second(0), 10);
        fill(&mut open, 1_000);
        open.tick(second(10), 10);
        assert_eq!((held(&windows), windows.figures().dropped_total), (vec![(0, 1_000)], 1_000));
    }

    #[test]
    fn everything_claimed_is_given_back() {
        let windows = windows(MIB);
        for lane in 0..20 {
            let mut open = OpenWindow::new(Arc::clone(&windows), lane);
            fill(&mut open, 6_000);
        }
        assert_eq!(windows.figures().bytes, 0);
    }
}
