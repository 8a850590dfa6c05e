//! One thread's way into the engine.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::HashMap;

use super::core::{Delta, FoldedEvents, LaneState, ParkedLane};
use super::error::EngineError;
use super::learned::Learned;
use super::open::Inner;
use super::sections;
use super::writer::{Command, Writer};
use crate::config::{Durability, TimeSource};
use crate::detect::rate::Excess;
use crate::detect::severity::Severity;
use crate::detect::silence::TICK_SECS;
use crate::detect::value::{Quantity, Values};
use crate::detect::{Input, Scored};
use crate::event::{DetectorKind, EventId, Measure, Observation, State, StreamKey, TemplateId, Timestamp, Verdict};
use crate::storage::wal::{Position, SegmentHeader, SegmentSequence, WalEncoder, WalEvent};
use crate::template::explain::Explanation;
use crate::template::{LaneMatcher, Match, Slot};

/// Events after which a lane folds without waiting for a tick.
pub const FOLD_EVENTS: u64 = 65_536;

/// Seconds between two attempts to write again after a failure.
pub const REOPEN_SECS: i64 = 5;

/// Bytes after which a lane's buffer goes to the writer without waiting for a tick.
const BUFFER_BYTES: usize = 64 << 10;

/// Bytes a lane keeps while the writer is behind; beyond that they are dropped, and counted.
const MOST_BYTES: usize = 8 << 20;

/// A segment is closed after this long, so that its events become a chunk.
const SEGMENT_SECS: f64 = 300.0;

/// Texts of templates a lane remembers.
const MOST_TEXTS: usize = 4_096;

/// Events of its own a lane keeps for the next tick.
const MOST_SYNTHETIC: usize = 1_024;

/// In the number of an event of oddline's own: no event of the input gets as far.
const SYNTHETIC_NUMBER: u64 = 1 << 39;

/// While events are no older than this, a tick tells what time it is among them.
const LIVE_SECS: f64 = 120.0;

/// −ln of one in a million: a score of 1.
const NATS_OF_A_MILLION: f64 = 6.0 * std::f64::consts::LN_10;

/// Flag in the log: the event was an anomaly.
pub(super) const FLAG_ANOMALY: u8 = 1;

/// An event of oddline's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Synthetic {
    /// What it says.
    pub verdict: Verdict,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The stream it is about.
    pub stream: StreamKey,
    /// The template it is about.
    pub template_text: Arc<str>,
}

/// Scores the events of one thread. Dropping it gives its knowledge back to the engine.
#[derive(Debug)]
pub struct Lane {
    inner: Arc<Inner>,
    number: u8,
    learned: Learned,
    matcher: LaneMatcher,
    log: Option<Log>,
    next_event: u64,
    deltas_seen: u64,
    unfolded: FoldedEvents,
    last: Option<Match>,
    texts: HashMap<TemplateId, Arc<str>>,
    last_fold: Timestamp,
    next_checkpoint: Option<Timestamp>,
    checkpointed_events: u64,
    /// The time that counts is the events' own.
    looks_at_event_time: bool,
    next_look: Timestamp,
    newest: Timestamp,
    synthetic: Vec<Synthetic>,
}

/// A lane's side of its log.
#[derive(Debug)]
struct Log {
    encoder: WalEncoder,
    segment_bytes: u64,
    retry_at: Option<Timestamp>,
    /// What the writer had no room for, in order.
    waiting: VecDeque<Command>,
    waiting_bytes: usize,
}

impl Log {
    fn new(encoder: WalEncoder) -> Self {
        Self { encoder, segment_bytes: 0, retry_at: None, waiting: VecDeque::new(), waiting_bytes: 0 }
    }

    fn enqueue(&mut self, command: Command) {
        self.waiting_bytes += command.bytes();
        self.waiting.push_back(command);
    }

    /// Offers the writer what waits, without waiting for it.
    fn offer(&mut self, writer: &Writer) {
        while let Some(command) = self.waiting.pop_front() {
            let bytes = command.bytes();
            if let Err(command) = writer.offer(command) {
                self.waiting.push_front(command);
                return;
            }
            self.waiting_bytes -= bytes;
        }
    }

    /// Hands the writer what waits, waiting for room.
    fn send(&mut self, writer: &Writer) {
        self.waiting_bytes = 0;
        self.waiting.drain(..).for_each(|command| writer.send(command));
    }

    /// Forgets what waits and what is encoded; returns the bytes of it.
    fn discard(&mut self) -> u64 {
        self.waiting.clear();
        let waiting = std::mem::take(&mut self.waiting_bytes);
        (waiting + self.encoder.take(Vec::new()).len()) as u64
    }
}

impl Lane {
    pub(super) fn new(inner: Arc<Inner>, parked: ParkedLane) -> Self {
        let core = &inner.core;
        let number = parked.state.number;
        let now = core.environment.clock.now();
        let encoder = inner.writer.as_ref().map(|writer| {
            parked.encoder.unwrap_or_else(|| {
                let header = SegmentHeader { lane: number, sequence: parked.next_segment, run: core.run, created: now };
                writer.send(Command::Open(header));
                WalEncoder::new(header)
            })
        });
        let mut learned = parked.state.learned;
        let matcher = {
            let store = core.store();
            learned.sync(&store);
            LaneMatcher::new(&store)
        };
        Self {
            number,
            learned,
            matcher,
            next_event: encoder.as_ref().map_or(0, WalEncoder::next_event),
            log: encoder.map(Log::new),
            deltas_seen: parked.state.deltas_seen,
            unfolded: FoldedEvents::default(),
            last: None,
            texts: HashMap::new(),
            last_fold: now,
            next_checkpoint: None,
            checkpointed_events: 0,
            looks_at_event_time: inner.core.config.time == TimeSource::Event,
            next_look: Timestamp::default(),
            newest: Timestamp(i64::MIN),
            synthetic: Vec::new(),
            inner,
        }
    }

    /// Scores an event, then learns it. Never fails, never waits for another thread when the template is known.
    pub fn observe(&mut self, observation: &Observation<'_>) -> Verdict {
        let found = match self.matcher.find(observation.message) {
            Some(found) => found,
            None => self.find_or_learn(observation),
        };
        if self.matcher.is_kind_new(observation.message, &found) {
            self.learn_kinds(observation.message, &found);
        }
        let severity = self.learned.severity(found.slot).unwrap_or_else(|| self.look_at(found.slot));
        let severity = observation.level.map_or(severity, |level| severity.with_level(level));
        let input = self.input(observation, &found, severity);
        let scored = self.learned.observe(&input);
        self.last = Some(found);
        let event_id = self.event_id(observation.timestamp);
        self.record(observation, &found, &scored, &input);
        if self.looks_at_event_time && observation.timestamp >= self.next_look {
            self.look(observation.timestamp);
        }
        let measure = self.measure(observation.message, &scored);
        Verdict { measure, ..self.verdict(&scored, found.id, event_id) }
    }

    /// What the detectors see of an event. The words asked for depend on what was learned, and a replay has them from the log.
    fn input(&self, observation: &Observation<'_>, found: &Match, severity: Severity) -> Input {
        let slot = found.slot.index();
        let texts = self.matcher.skeleton().variables(observation.message);
        let values = Values::of(texts, self.learned.model.wanted_words(slot));
        let (timestamp, stream) = (observation.timestamp, observation.stream);
        Input { slot, timestamp, stream, severity, values, ..Input::default() }
    }

    /// What a rate or numeric reason rests on, in the line's own units; the stronger one.
    fn measure(&self, message: &[u8], scored: &Scored) -> Option<Measure> {
        let amount = || {
            let outlier = scored.outlier?;
            let text = self.matcher.skeleton().variables(message).nth(outlier.place)?;
            let quantity = Quantity::parse(text)?;
            Some(Measure::Amount {
                observed: quantity.number,
                low: quantity.amount_of(outlier.low),
                high: quantity.amount_of(outlier.high + 1.0),
                unit: quantity.unit.name,
            })
        };
        let rate = || {
            let Excess { observed, expected, window_secs } = scored.excess?;
            Some(Measure::Rate { observed: f64::from(observed).round(), expected: f64::from(expected), window_secs })
        };
        let of = |kind: DetectorKind| scored.evidence.get(kind as usize).copied().unwrap_or(0.0);
        if of(DetectorKind::Numeric) > of(DetectorKind::Rate) { amount().or_else(rate) } else { rate().or_else(amount) }
    }

    /// Looks for templates that fell silent; what is found waits for the next tick.
    #[cold]
    fn look(&mut self, now: Timestamp) {
        self.next_look = Timestamp(now.0.saturating_add(TICK_SECS * 1_000_000));
        let Some((silent, scored)) = self.learned.model.tick(now) else { return };
        let Some(template) = self.learned.id_of(silent.slot as u32) else { return };
        let Some(template_text) = self.template_text(template) else { return };
        let event_id = self.event_id_beside(now);
        let measure =
            Measure::Gap { observed_secs: f64::from(silent.elapsed), expected_secs: f64::from(silent.longest) };
        self.unfolded.incidents += 1;
        if self.synthetic.len() < MOST_SYNTHETIC {
            let verdict = Verdict { measure: Some(measure), ..self.verdict(&scored, template, event_id) };
            let stream = silent.stream.unwrap_or_default();
            self.synthetic.push(Synthetic { verdict, timestamp: now, stream, template_text });
        }
    }

    /// The id of an event of oddline's own: that of the event before it, a moment later.
    fn event_id_beside(&self, now: Timestamp) -> EventId {
        EventId {
            millis: u64::try_from(now.as_millis()).unwrap_or(0),
            run: self.inner.core.run,
            lane: self.number,
            number: self.next_event | SYNTHETIC_NUMBER,
        }
    }

    fn verdict(&self, scored: &Scored, template: TemplateId, event_id: EventId) -> Verdict {
        let state = if self.inner.core.is_degraded() { State::Degraded } else { scored.state };
        Verdict {
            // Adding zero takes the sign from the minus zero of p = 1.
            score: (f64::from(scored.nats) / NATS_OF_A_MILLION).clamp(0.0, 1.0) + 0.0,
            p_value: scored.p_value,
            is_anomaly: scored.is_anomaly,
            suppressed: scored.suppressed,
            state,
            evidence: scored.evidence,
            reasons: scored.reasons,
            measure: None,
            template,
            event_id,
        }
    }

    fn event_id(&mut self, timestamp: Timestamp) -> EventId {
        let number = self.next_event;
        self.next_event += 1;
        EventId {
            millis: u64::try_from(timestamp.as_millis()).unwrap_or(0),
            run: self.inner.core.run,
            lane: self.number,
            number,
        }
    }

    /// The way of a line whose skeleton is not in the lane's cache.
    fn find_or_learn(&mut self, observation: &Observation<'_>) -> Match {
        match self.matcher.find_in_tree(self.learned.changes_seen) {
            Some(found) => {
                self.learned.note_slot(found.slot, found.id);
                found
            }
            None => self.learn_template(observation),
        }
    }

    /// The way of a line that no template this lane knows of accepts.
    #[cold]
    fn learn_template(&mut self, observation: &Observation<'_>) -> Match {
        let inner = Arc::clone(&self.inner);
        let mut store = inner.core.store();
        let learned = store.learn(self.matcher.skeleton(), observation.message);
        self.learned.sync(&store);
        self.learned.note_slot(learned.slot, learned.id);
        drop(store);
        if learned.is_new
            && let Some(log) = &mut self.log
        {
            let text = self.matcher.skeleton().text(observation.message);
            if let Err(error) = log.encoder.define_template(learned.id, &text, observation.timestamp) {
                tracing::warn!(%error, "a template is not logged");
            }
        }
        self.matcher.remember(learned)
    }

    /// A wildcard met a value of another kind, and kinds are shown.
    #[cold]
    fn learn_kinds(&mut self, message: &[u8], found: &Match) {
        let inner = Arc::clone(&self.inner);
        self.matcher.learn_kinds(message, found, &mut inner.core.store());
        self.texts.remove(&found.id);
    }

    #[cold]
    fn look_at(&mut self, slot: Slot) -> crate::detect::severity::Severity {
        let inner = Arc::clone(&self.inner);
        let store = inner.core.store();
        self.learned.sync(&store);
        self.learned.learn_severity(slot, &store)
    }

    fn record(&mut self, observation: &Observation<'_>, found: &Match, scored: &Scored, input: &Input) {
        self.unfolded.events += 1;
        self.unfolded.incidents += u64::from(scored.is_anomaly);
        self.unfolded.newest = self.unfolded.newest.max(observation.timestamp);
        self.newest = self.newest.max(observation.timestamp);
        if let Some(log) = &mut self.log {
            let event = WalEvent {
                timestamp: observation.timestamp,
                template: found.id,
                // Its upper half is enough for a history, and half as long.
                statistic: f32::from_bits(scored.statistic.to_bits() & 0xffff_0000),
                stream: observation.stream,
                severity: input.severity.code(),
                flags: if scored.is_anomaly { FLAG_ANOMALY } else { 0 },
                values: input.values.to_bytes(),
            };
            log.encoder.event(found.slot.0, &event);
            if log.encoder.pending_bytes() >= BUFFER_BYTES {
                self.hand_over();
            }
        }
        if self.unfolded.events >= FOLD_EVENTS {
            self.fold();
        }
    }

    /// Gives the writer what was encoded. Without room at the writer it stays here, up to a bound.
    fn hand_over(&mut self) {
        let (Some(log), Some(writer)) = (&mut self.log, &self.inner.writer) else { return };
        let core = &self.inner.core;
        if log.retry_at.is_some() || core.is_degraded() {
            self.hand_over_degraded();
            return;
        }
        if log.encoder.pending_bytes() > 0 {
            let bytes = log.encoder.take(core.spare_buffer());
            log.segment_bytes += bytes.len() as u64;
            log.enqueue(Command::Append(self.number, bytes));
        }
        log.offer(writer);
        if log.waiting_bytes > MOST_BYTES {
            let dropped = log.discard();
            core.gauges.wal_dropped_bytes_total.fetch_add(dropped, Ordering::Relaxed);
            core.degrade("the disk is too slow: bytes of the write-ahead log were dropped".to_owned());
        } else if log.segment_bytes >= core.config.wal_segment_bytes {
            self.rotate();
            self.request_checkpoint();
        }
    }

    /// While persistence fails: drops what was encoded, and now and then starts a new segment.
    fn hand_over_degraded(&mut self) {
        let (Some(log), Some(writer)) = (&mut self.log, &self.inner.writer) else { return };
        let core = &self.inner.core;
        let now = core.environment.clock.now();
        let dropped = log.discard();
        core.gauges.wal_dropped_bytes_total.fetch_add(dropped, Ordering::Relaxed);
        let retry_at = *log.retry_at.get_or_insert(Timestamp(now.0.saturating_add(REOPEN_SECS * 1_000_000)));
        log.encoder.begin_block();
        if now < retry_at && core.is_degraded() {
            return;
        }
        log.retry_at = None;
        let next = log.encoder.header().next(now);
        log.encoder.begin_segment(next, Vec::new());
        log.segment_bytes = 0;
        if writer.offer(Command::Open(next)).is_ok() {
            self.request_checkpoint();
        }
    }

    fn rotate(&mut self) {
        let (Some(log), Some(writer)) = (&mut self.log, &self.inner.writer) else { return };
        let now = self.inner.core.environment.clock.now();
        let next = log.encoder.header().next(now);
        let rest = log.encoder.begin_segment(next, Vec::new());
        let end = log.encoder.position();
        if !rest.is_empty() {
            log.enqueue(Command::Append(self.number, rest));
        }
        log.enqueue(Command::Rotate { next, end });
        log.offer(writer);
        log.segment_bytes = 0;
    }

    /// Exchanges what was counted with the other lanes.
    fn fold(&mut self) {
        let inner = Arc::clone(&self.inner);
        {
            let store = inner.core.store();
            self.learned.sync(&store);
        }
        let delta = Delta::of(self.number, &mut self.learned);
        let events = std::mem::take(&mut self.unfolded);
        let (others, seen) = inner.core.picture().fold(self.number, delta, events, self.deltas_seen);
        self.deltas_seen = seen;
        if others.is_empty() {
            return;
        }
        let store = inner.core.store();
        for delta in others {
            for id in &delta.ids {
                if let Some(template) = store.by_id(*id) {
                    self.learned.note_slot(template.slot, template.id);
                }
            }
            // The slots of the delta are the other lane's: its ids, in the same order, tell ours.
            let known: HashMap<u32, usize> = delta
                .seen
                .counts
                .iter()
                .zip(&delta.ids)
                .filter_map(|((slot, _), id)| Some((*slot, store.by_id(*id)?.slot.index())))
                .collect();
            self.learned.model.absorb(&delta.seen, |slot| known.get(&slot).copied(), delta.is_ready);
        }
    }

    /// What time asks for; call it about once a second. Returns events of oddline's own.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Synthetic> {
        self.hand_over();
        if now.seconds_since(self.last_fold).abs() >= 1.0 {
            self.last_fold = now;
            self.fold();
        }
        let interval = i64::try_from(self.inner.core.config.checkpoint_interval_secs).unwrap_or(i64::MAX);
        let due =
            *self.next_checkpoint.get_or_insert(Timestamp(now.0.saturating_add(interval.saturating_mul(1_000_000))));
        if now >= due {
            self.next_checkpoint = None;
            self.age_segment(now);
            if self.checkpointed_events != self.learned.model.events() {
                self.request_checkpoint();
            }
        }
        // Of old events a tick cannot tell how much time has passed among them.
        let is_live = !self.looks_at_event_time || now.seconds_since(self.newest).abs() <= LIVE_SECS;
        if is_live && now >= self.next_look {
            self.look(now);
        }
        self.take_synthetic()
    }

    /// Events of oddline's own that wait for the next tick: for who cannot wait, such as at the end of the input.
    pub fn take_synthetic(&mut self) -> Vec<Synthetic> {
        std::mem::take(&mut self.synthetic)
    }

    fn age_segment(&mut self, now: Timestamp) {
        let is_old =
            |log: &Log| log.segment_bytes > 0 && now.seconds_since(log.encoder.header().created).abs() >= SEGMENT_SECS;
        if self.log.as_ref().is_some_and(is_old) {
            self.rotate();
        }
    }

    fn request_checkpoint(&mut self) {
        self.fold();
        self.publish();
        if let (Some(log), Some(writer)) = (&mut self.log, &self.inner.writer)
            && log.waiting.is_empty()
        {
            log.enqueue(Command::Checkpoint(sections::compose(&self.inner.core)));
            log.offer(writer);
        }
    }

    /// Lets checkpoints hold what this lane has learned by now.
    fn publish(&mut self) {
        self.checkpointed_events = self.learned.model.events();
        let state = self.state();
        self.inner.core.lanes().latest.insert(self.number, state);
    }

    fn state(&self) -> LaneState {
        LaneState {
            number: self.number,
            learned: self.learned.clone(),
            position: self.log.as_ref().map_or(Position::default(), |log| log.encoder.position()),
            deltas_seen: self.deltas_seen,
        }
    }

    /// Returns when all observed so far is as durable as `durability` says.
    ///
    /// # Errors
    /// With `always` when it cannot be made durable.
    pub fn commit(&mut self) -> Result<(), EngineError> {
        self.hand_over();
        match (&mut self.log, &self.inner.writer) {
            (Some(log), Some(writer)) if self.inner.core.config.durability == Durability::Always => {
                log.send(writer);
                writer.sync().map_err(|reason| EngineError::Degraded { reason, retry_secs: REOPEN_SECS })
            }
            _ => Ok(()),
        }
    }

    /// A template's text, variables as `<*>`.
    pub fn template_text(&mut self, id: TemplateId) -> Option<Arc<str>> {
        if let Some(text) = self.texts.get(&id)
            && self.last.is_some_and(|last| last.id == id && self.matcher.is_current(&last))
        {
            return Some(Arc::clone(text));
        }
        let text: Arc<str> = {
            let store = self.inner.core.store();
            store.shown(store.by_id(id)?).into()
        };
        if self.texts.len() >= MOST_TEXTS {
            self.texts.clear();
        }
        self.texts.insert(id, Arc::clone(&text));
        Some(text)
    }

    /// How a message would be read and which template it would meet; learns nothing.
    pub fn explain(&mut self, message: &[u8]) -> Explanation {
        self.last = None;
        let store = self.inner.core.store();
        self.matcher.explain(message, store.changes_since(u64::MAX).1, &store)
    }

    /// The parameters of the last observed message, which must be given again.
    pub fn parameters<'m>(&mut self, message: &'m [u8]) -> Vec<Cow<'m, str>> {
        let Some(last) = self.last else { return Vec::new() };
        self.matcher.parameters(message, last.slot, &self.inner.core.store())
    }

    /// Gives the lane back.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn close(mut self) -> Result<(), EngineError> {
        self.commit()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.hand_over();
        if let (Some(log), Some(writer)) = (&mut self.log, &self.inner.writer) {
            log.send(writer);
        }
        self.fold();
        self.publish();
        let state = self.state();
        let log = self.log.take();
        let next_segment = SegmentSequence::default();
        let parked = ParkedLane { state, next_segment, encoder: log.map(|log| log.encoder) };
        self.inner.core.lanes().parked.push(parked);
    }
}
