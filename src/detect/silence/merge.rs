//! Gaps of a template that another one takes in.
//!
//! The events of both are one series from now on. Its gaps are no longer than those of either, for as long as that one goes on: what was
//! learned of the more regular one bounds them, and goes on with the time of the later event.

use super::{Series, Silence, StreamKey, stream_key};

/// A template with fewer gaps has no series on a stream that is worth the search for it.
const LEAST_GAPS: u32 = 10;

impl Series {
    /// Takes in the series of what became a part of this one.
    fn take_in(&mut self, gone: &Self) {
        let is_gone_steadier = gone.steadiness() > self.steadiness();
        let kept = if is_gone_steadier { *gone } else { *self };
        let last = self.last.max(gone.last);
        *self = Self {
            last,
            // The mean gap stays what it was.
            first: kept.first.saturating_add(last.saturating_sub(kept.last)),
            gaps: kept.gaps,
            longest: kept.longest,
            is_told: self.is_told && gone.is_told,
            ..*self
        };
    }

    /// What has stopped and was told says nothing of what goes on; a shorter longest gap says more, and where neither is regular more gaps do.
    fn steadiness(&self) -> (bool, bool, i64) {
        let is_regular = self.is_regular();
        let strength = if is_regular { -(f64::from(self.longest[0]) * 1e6) as i64 } else { i64::from(self.gaps) };
        (self.last != 0 && !self.is_told, is_regular, strength)
    }
}

impl Silence {
    /// What was learned of the template in `from`, as a whole and on each stream, is that of the one in `into`.
    pub(super) fn take_in(&mut self, from: usize, into: usize) {
        let Some(gone) = self.templates.get(from).copied().filter(|gone| gone.last != 0) else { return };
        self.make_room_for(into);
        let generation = self.generations.get(into).copied().unwrap_or_default();
        if let Some(series) = self.templates.get_mut(into) {
            series.begin(into as u32, generation);
            series.take_in(&gone);
        }
        for gone in self.on_streams(&gone) {
            self.series.remove(stream_key(gone.slot, gone.generation, StreamKey(gone.stream)));
            let key = stream_key(into as u32, generation, StreamKey(gone.stream));
            if let Some(series) = self.series.of(key) {
                if series.last == 0 {
                    *series = Series { slot: into as u32, generation, ..Series::default() };
                    (series.of_stream, series.stream) = (true, gone.stream);
                }
                series.take_in(&gone);
            }
        }
    }

    /// Streams on which a slot's template was seen, unless it was seen too seldom for that to matter.
    pub(in crate::detect) fn streams_of(&mut self, slot: usize) -> impl Iterator<Item = StreamKey> + use<> {
        let template = self.templates.get(slot).copied().unwrap_or_default();
        self.on_streams(&template).into_iter().map(|series| StreamKey(series.stream))
    }

    fn on_streams(&mut self, template: &Series) -> Vec<Series> {
        if template.gaps < LEAST_GAPS {
            return Vec::new();
        }
        let is_of = |series: &&mut Series| series.slot == template.slot && series.generation == template.generation;
        self.series.iter_mut().filter(is_of).map(|series| *series).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TICK_SECS, TOLD_AT};
    use super::*;
    use crate::detect::{Detector, Input};
    use crate::event::Timestamp;

    const fn second(s: i64) -> Timestamp {
        Timestamp(s * 1_000_000)
    }

    fn see(silence: &mut Silence, s: i64, slot: usize, stream: u64) {
        silence.observe(&Input { slot, timestamp: second(s), stream: StreamKey(stream), ..Input::default() });
    }

    fn told(silence: &mut Silence, from: i64) -> Vec<(usize, Option<StreamKey>)> {
        let looks = (0..12).filter_map(|n| {
            let now = second(from + n * TICK_SECS);
            if silence.is_due(now) { silence.worst(now, TOLD_AT) } else { None }
        });
        looks.map(|silent| (silent.slot, silent.stream)).collect()
    }

    /// 0 every five seconds, and 1 every now and then.
    fn heartbeat(until: i64) -> Silence {
        let mut silence = Silence::default();
        for s in (5..until).step_by(5) {
            see(&mut silence, s, 0, 7);
            if s % 35 == 0 {
                see(&mut silence, s + 1, 1, 7);
            }
        }
        silence
    }

    #[test]
    fn a_heartbeat_that_became_part_of_a_rarer_template_is_told_when_it_stops() {
        let mut silence = heartbeat(1_000);
        silence.merge(0, 1);
        for s in (1_000..1_100).step_by(5) {
            see(&mut silence, s, 1, 7);
        }
        assert_eq!(told(&mut silence.clone(), 1_100), [(1, None)]);
        // Nothing of it is left with the slot.
        see(&mut silence, 1_100, 0, 7);
        assert!(told(&mut silence, 1_140).iter().all(|(slot, _)| *slot == 1));
    }

    #[test]
    fn so_it_is_on_a_stream_where_it_stops_while_it_goes_on_elsewhere() {
        let mut silence = heartbeat(1_000);
        silence.merge(0, 1);
        (1_000..1_100).step_by(5).for_each(|s| see(&mut silence, s, 1, 7));
        let found = (1_100..1_200).filter_map(|s| {
            see(&mut silence, s, 1, 8);
            if silence.is_due(second(s)) { silence.worst(second(s), TOLD_AT) } else { None }
        });
        assert_eq!(found.map(|silent| silent.stream).collect::<Vec<_>>(), [Some(StreamKey(7))]);
    }

    #[test]
    fn what_takes_in_a_heartbeat_that_goes_on_is_not_told() {
        let mut silence = heartbeat(1_000);
        silence.merge(1, 0);
        for s in (1_000..2_000).step_by(5) {
            see(&mut silence, s, 0, 7);
            assert_eq!(silence.is_due(second(s)).then(|| silence.worst(second(s), TOLD_AT)).flatten(), None, "{s}");
        }
    }

    #[test]
    fn what_had_stopped_and_was_told_makes_no_silence_of_what_takes_it_in() {
        let mut silence = heartbeat(1_000);
        for s in (1_000..1_400).step_by(35) {
            see(&mut silence, s, 1, 7);
            if silence.is_due(second(s)) {
                silence.worst(second(s), TOLD_AT);
            }
        }
        silence.merge(0, 1);
        for s in (1_400..2_400).step_by(35) {
            assert_eq!(told(&mut silence.clone(), s - 5), [], "{s}");
            see(&mut silence, s, 1, 7);
        }
    }

    #[test]
    fn slots_never_seen_and_a_template_seen_a_few_times_are_fine() {
        let mut silence = heartbeat(1_000);
        silence.merge(50, 60);
        (0..3).for_each(|n| see(&mut silence, 1_000 + n, 9, 7));
        silence.merge(9, 0);
        (1_005..1_100).step_by(5).for_each(|s| see(&mut silence, s, 0, 7));
        assert_eq!(told(&mut silence, 1_100).first().map(|(slot, _)| *slot), Some(0));
    }
}
