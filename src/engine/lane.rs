//! One thread's way into the engine.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use super::core::{ParkedLane, model_options};
use super::error::EngineError;
use super::incidents::{self, Circumstances, Reporter};
use super::learned::Learned;
use super::log::Log;
use super::meaning::Meaning;
use super::open::Inner;
use super::picture::{Delta, FoldedEvents, LaneState, Unseen};
use super::recall::{Remembered, SimilarIncident};
use super::sampler::{RARE_NATS, Sampler, worth};
use super::sections;
use super::texts::Texts;
use super::timer::Every;
use super::window::{OpenWindow, WindowEvent};
use super::writer::{Command, Writer};
use crate::config::{Durability, TimeSource};
use crate::detect::rate::Excess;
use crate::detect::semantic::Oddness;
use crate::detect::severity::Severity;
use crate::detect::silence::{Silent, TICK_SECS};
use crate::detect::value::Values;
use crate::detect::{Evicted, Grounds, Input, Scored};
use crate::event::{
    DetectorKind, EventId, Measure, Observation, REASONS, Reason, Ruling, State, StreamKey, TemplateId, Timestamp,
    Verdict,
};
use crate::quantity::{Quantity, Unit};
use crate::storage::hour::Hour;
use crate::storage::journal::MessagePart;
use crate::storage::wal::{Position, SegmentHeader, SegmentSequence, WalEncoder, WalEvent};
use crate::template::explain::Explanation;
use crate::template::{LaneMatcher, Match, Slot, Taken};

/// Events after which a lane folds without waiting for a tick. Folding copies the lane's model.
pub const FOLD_EVENTS: u64 = 524_288;

/// Between two folds at ticks.
const FOLD_SECS: i64 = 1;

/// Seconds from a failure to the first attempt to write again; each time in vain doubles them.
pub const REOPEN_SECS: i64 = 5;

/// Seconds between two such attempts at most.
pub const MOST_REOPEN_SECS: i64 = 30;

/// Checkpoints in memory at a time: one that is being written, and the next.
const MOST_CHECKPOINTS_WAITING: usize = 2;

/// Bytes after which a lane's buffer goes to the writer without waiting for a tick.
const BUFFER_BYTES: usize = 64 << 10;

/// A segment is closed after this long, so that its events become a chunk.
pub(super) const SEGMENT_SECS: i64 = 300;

/// Events of its own a lane keeps for the next tick.
const MOST_SYNTHETIC: usize = 1_024;

/// Silences a look passes over, since the user wants none of them told.
const MOST_MUTED_SILENCES: usize = 64;

/// In the number of an event of oddline's own: no event of the input gets as far.
const SYNTHETIC_NUMBER: u64 = 1 << 39;

/// Events no older than this when a tick first finds them are news: after them time passes among the events as it does here.
const LIVE_SECS: f64 = 900.0;

/// Flag in the log: the event was an anomaly.
pub(super) const FLAG_ANOMALY: u8 = 1;

/// Flag in the log: the user wants no alert of it.
pub(super) const FLAG_MUTED: u8 = 2;

/// Flag in the log: its template was like one the user flagged.
pub(super) const FLAG_LIKE_INCIDENT: u8 = 4;

/// From this bit of the flags on: how odd its template's meaning was. The bit after it is the log's own.
const ODDNESS_AT: u32 = 3;
const _: () = assert!(ODDNESS_AT + Oddness::BITS <= 7);

/// An event of oddline's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Synthetic {
    /// What it says.
    pub verdict: Verdict,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The stream it is about; the default for a template that is silent on all of several.
    pub stream: StreamKey,
    /// What tells that stream apart: fields of `partition_by` and their values, those that it has and as far as they are known.
    pub stream_values: Vec<(String, String)>,
    /// The template it is about.
    pub template_text: Arc<str>,
    /// Past incidents like it: noted ones first.
    pub similar: Vec<SimilarIncident>,
}

/// Since when no event came.
#[derive(Debug, Clone, Copy, Default)]
struct Quiet {
    /// Events until then.
    events: u64,
    /// The tick that found the last of them, by the host's clock.
    since: Timestamp,
    is_live: bool,
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
    texts: Texts,
    /// Changes of templates that `texts` knows of.
    texts_seen: u64,
    /// The picture holds nothing older of this lane than `learned`.
    is_published: bool,
    folds: Every,
    checkpoints: Every,
    checkpointed_events: u64,
    /// The time that counts is the events' own.
    looks_at_event_time: bool,
    /// By the lane's clock.
    next_look: Timestamp,
    quiet: Quiet,
    synthetic: Vec<Synthetic>,
    /// The newest events, when there is a data dir.
    window: Option<OpenWindow>,
    /// Some templates are never or always an anomaly.
    has_rules: bool,
    sampler: Option<Sampler>,
    /// Changes of the feedback that this lane heeds.
    feedback_heeded: u64,
    /// What `semantic` measures by, with a weight above 0; and which of its changes that is.
    meaning: (Option<Arc<Meaning>>, u64),
    /// Past incidents like the last alert.
    similar: (EventId, Vec<SimilarIncident>),
    /// What had gone of the model's tables when it was last counted.
    evicted: Evicted,
}

impl Lane {
    pub(super) fn new(inner: Arc<Inner>, parked: ParkedLane) -> Self {
        let (state, matcher) = Self::take_state(&inner, parked.number);
        let log = inner.writer.as_ref().map(|writer| Self::take_log(&inner, writer, &state, parked.log));
        let mut lane = Self {
            number: parked.number,
            matcher,
            next_event: log.as_ref().map_or(parked.next_event, |log| log.encoder.next_event()),
            log,
            deltas_seen: state.deltas_seen,
            checkpointed_events: state.learned.model.events(),
            learned: state.learned,
            unfolded: FoldedEvents::default(),
            last: None,
            texts: Texts::default(),
            texts_seen: 0,
            is_published: true,
            folds: Every::since(inner.core.environment.clock.now()),
            checkpoints: Every::default(),
            looks_at_event_time: inner.core.config.time == TimeSource::Event,
            next_look: Timestamp::default(),
            quiet: Quiet::default(),
            synthetic: Vec::new(),
            window: inner.writer.is_some().then(|| OpenWindow::new(Arc::clone(&inner.core.windows), parked.number)),
            sampler: inner.core.config.sampling.map(Sampler::new),
            has_rules: false,
            feedback_heeded: 0,
            meaning: (None, 0),
            similar: (EventId::default(), Vec::new()),
            evicted: Evicted::default(),
            inner,
        };
        lane.heed();
        lane.learned.model.resume();
        lane.evicted = lane.learned.model.evicted();
        // Nobody held it for a while.
        lane.age_segment(lane.inner.core.environment.clock.now());
        lane
    }

    /// Looks at every template again, by the rules, by what the user has said by now, and by what was fitted.
    fn heed(&mut self) {
        let core = &self.inner.core;
        self.feedback_heeded = core.feedback_changes();
        self.has_rules = !core.rules.is_empty() || !core.feedback().is_empty();
        let changes = core.meanings.changes();
        self.meaning = (core.meanings.get().filter(|_| core.config.semantic_weight > 0.0), changes);
        self.learned.look_again();
    }

    fn take_state(inner: &Inner, number: u8) -> (LaneState, LaneMatcher) {
        let core = &inner.core;
        let store = core.store();
        let fresh = LaneState {
            number,
            learned: Learned::new(model_options(&core.config), &store),
            position: Position { run: core.run, record: 0 },
            next_segment: SegmentSequence::default(),
            deltas_seen: 0,
        };
        let state = core.picture().take(fresh, &store);
        (state, LaneMatcher::new(&store))
    }

    fn take_log(inner: &Inner, writer: &Writer, state: &LaneState, parked: Option<Log>) -> Log {
        if let Some(log) = parked {
            writer.send(Command::Take(state.number));
            return log;
        }
        let (run, created) = (inner.core.run, inner.core.environment.clock.now());
        let header = SegmentHeader { lane: state.number, sequence: state.next_segment, run, created };
        writer.send(Command::Open { header, end: state.position });
        Log::new(WalEncoder::new(header))
    }

    /// As [`Self::observe`], for an event that meets rule number `rule` of the configuration by its fields.
    ///
    /// The first of all rules that an event meets decides; rules about templates are known here.
    pub fn observe_ruled(&mut self, observation: &Observation<'_>, rule: Option<u16>) -> Verdict {
        self.score(observation, rule)
    }

    /// Scores an event, then learns it. Never fails, never waits for another thread when the template is known.
    pub fn observe(&mut self, observation: &Observation<'_>) -> Verdict {
        self.score(observation, None)
    }

    fn score(&mut self, observation: &Observation<'_>, field_rule: Option<u16>) -> Verdict {
        let mut found = self.find(observation);
        if self.matcher.is_kind_new(observation.message, &found) {
            self.learn_kinds(observation.message, &found);
        }
        let severity = match self.learned.severity(found.slot) {
            Some(severity) => severity,
            None => self.look_at_found(observation, &mut found),
        };
        let severity = observation.level.map_or(severity, |level| severity.with_level(level));
        let ruling = self.ruling(found.slot, field_rule);
        let input = self.input(observation, &found, severity, ruling);
        let mut scored = self.learned.observe(&input);
        // Before a ruling takes the weakest reason's place, and before anything else is learned.
        let has_more = scored.has_measure || ruling.map_or(scored.is_anomaly, Ruling::is_always);
        let grounds = has_more.then(|| self.learned.model.grounds(&scored));
        if self.learned.model.asks_for_stream() {
            self.learned.note_stream(observation);
        }
        if let Some(ruling) = ruling {
            overrule(&mut scored, ruling);
        }
        self.last = Some(found);
        let event_id = self.event_id(observation.timestamp);
        self.record(observation, &found, &scored, &input);
        if self.looks_at_event_time {
            self.look_at_event_time();
        }
        let sample_ratio = self.sampler.as_mut().map(|sampler| sample(sampler, &input, &scored));
        if let Some(grounds) = &grounds {
            let mut verdict = self.verdict(&scored, ruling, sample_ratio, found.id, event_id);
            self.measure_and_report(&mut verdict, observation, &scored, grounds);
            return verdict;
        }
        // Made where the caller wants it: what changes it afterwards would have it made elsewhere and copied.
        self.verdict(&scored, ruling, sample_ratio, found.id, event_id)
    }

    /// Of an event that has a measure, or is an anomaly.
    #[cold]
    fn measure_and_report(
        &mut self,
        verdict: &mut Verdict,
        observation: &Observation<'_>,
        scored: &Scored,
        grounds: &Grounds,
    ) {
        verdict.measure = self.measure(observation.message, scored, grounds);
        if scored.is_anomaly {
            self.report_anomaly(observation, verdict, grounds);
        }
    }

    /// Looks for past incidents that were like this one, and remembers it. One that has a note is a reason.
    fn recall(&self, verdict: &mut Verdict, time: Timestamp) -> Vec<SimilarIncident> {
        let core = &self.inner.core;
        let incident = {
            let store = core.store();
            let template = store.by_id(verdict.template);
            template.map(|template| Remembered::new(verdict.event_id, time, template, verdict.score))
        };
        let Some(incident) = incident else { return Vec::new() };
        let mut recall = core.recall();
        let similar = recall.similar(verdict.template, &incident.template);
        recall.remember(incident);
        drop(recall);
        if similar.iter().any(|incident| incident.note.is_some()) {
            add_reason(&mut verdict.reasons, Reason::SimilarIncident);
        }
        similar
    }

    /// Past incidents like the last alert, noted ones first; none for another event.
    pub fn similar(&self, event: EventId) -> &[SimilarIncident] {
        if self.similar.0 == event { &self.similar.1 } else { &[] }
    }

    /// Looks what an incident is like, and tells the journal of it.
    fn report_anomaly(&mut self, observation: &Observation<'_>, verdict: &mut Verdict, grounds: &Grounds) {
        self.similar = (verdict.event_id, self.recall(verdict, observation.timestamp));
        let inner = Arc::clone(&self.inner);
        if let Some(reporter) = &inner.reporter {
            self.report(reporter, observation, verdict, grounds);
        }
    }

    fn report(&mut self, reporter: &Reporter, observation: &Observation<'_>, verdict: &Verdict, grounds: &Grounds) {
        let message = observation.message;
        let odd = grounds.outlier.map(|outlier| outlier.place).or(grounds.new_value);
        let odd = odd.and_then(|place| self.matcher.value_at(message, &self.last?, place));
        let parameters = || self.parameters(message).map(Cow::into_owned).collect();
        let circumstances = Circumstances {
            time: observation.timestamp,
            stream: incidents::stream_text(observation),
            message: MessagePart::new(reporter.mode(), message, parameters, odd),
            template: self.template_text(verdict.template).map(|text| text.to_string()).unwrap_or_default(),
            rule: incidents::rule_text(&self.inner.core.config, verdict.ruling),
            synthetic: false,
        };
        reporter.report(incidents::incident(verdict, circumstances));
    }

    /// What overrides the score of an event of the slot's template, which was looked at, and which meets a rule by its fields.
    #[inline]
    fn ruling(&self, slot: Slot, field_rule: Option<u16>) -> Option<Ruling> {
        if !self.has_rules && field_rule.is_none() {
            return None;
        }
        let by_field = field_rule.and_then(|rule| self.inner.core.rules.ruling(rule));
        by_field.into_iter().chain(self.learned.ruling(slot)).min_by_key(|ruling| ruling.order())
    }

    /// What the detectors see of an event. The words asked for depend on what was learned, and a replay has them from the log.
    fn input(&self, observation: &Observation<'_>, found: &Match, severity: Severity, ruling: Option<Ruling>) -> Input {
        let slot = found.slot.index();
        let values = self.values(observation.message, found);
        let (timestamp, stream) = (observation.timestamp, observation.stream);
        let is_muted = ruling.is_some_and(|ruling| !ruling.is_always());
        let is_like_incident = self.has_rules && self.learned.is_like_flagged(found.slot);
        let oddness = if self.meaning.0.is_some() { self.learned.oddness(found.slot) } else { Oddness::NONE };
        Input { slot, timestamp, stream, severity, values, is_muted, is_like_incident, oddness, ..Input::default() }
    }

    #[inline]
    fn values(&self, message: &[u8], found: &Match) -> Values {
        let wanted = self.learned.model.wanted_words(found.slot.index());
        if found.is_generalised() {
            Values::of_places(self.matcher.values(message, found), self.matcher.words(message, found), wanted)
        } else {
            let skeleton = self.matcher.skeleton();
            let (count, range) = skeleton.variable_ranges();
            Values::of_known(message, count, range, skeleton.forms(), wanted)
        }
    }

    /// What a rate or numeric reason rests on, in the line's own units; the stronger one.
    fn measure(&self, message: &[u8], scored: &Scored, grounds: &Grounds) -> Option<Measure> {
        let amount = || {
            let outlier = grounds.outlier?;
            let text = self.matcher.values(message, &self.last?).nth(outlier.place)??;
            let quantity = Quantity::parse(text)?;
            let unit = if quantity.unit.name.is_empty() { unit_after(message, text) } else { quantity.unit.name };
            Some(Measure::Amount {
                observed: quantity.number,
                low: quantity.amount_of(outlier.low),
                high: quantity.amount_of(outlier.high + 1.0),
                unit,
            })
        };
        let rate = || {
            let Excess { observed, expected, window_secs, is_drop, of_stream, .. } = grounds.excess?;
            let (observed, expected) = (f64::from(observed).round(), f64::from(expected));
            Some(Measure::Rate { observed, expected, window_secs, is_drop, of_stream })
        };
        let of = |kind: DetectorKind| scored.evidence.get(kind as usize).copied().unwrap_or(0.0);
        if of(DetectorKind::Numeric) > of(DetectorKind::Rate) { amount().or_else(rate) } else { rate().or_else(amount) }
    }

    #[inline]
    fn look_at_event_time(&mut self) {
        let now = self.learned.model.now();
        if now >= self.next_look {
            self.look(now);
        }
    }

    /// Looks for templates that fell silent, `now` by the lane's clock; what is found waits for the next tick.
    #[cold]
    fn look(&mut self, now: Timestamp) {
        self.next_look = Timestamp(now.0.saturating_add(TICK_SECS * 1_000_000));
        if !self.learned.model.is_look_due(now) {
            return;
        }
        // What the user does not want to hear of hides nothing else.
        for _ in 0..MOST_MUTED_SILENCES {
            let Some((silent, mut scored)) = self.learned.model.worst_silence(now) else { return };
            let stream = silent.stream.or_else(|| self.only_stream()).unwrap_or_default();
            let said = self.said_of_silence(Slot(silent.slot as u32), stream);
            if let Some(ruling) = said.filter(|ruling| ruling.is_always()) {
                overrule(&mut scored, ruling);
            }
            if scored.suppressed {
                return;
            }
            let is_muted = said.map_or_else(|| self.is_muted(Slot(silent.slot as u32)), |said| !said.is_always());
            if !is_muted {
                return self.tell_silence(silent, stream, said, &scored);
            }
        }
    }

    fn tell_silence(&mut self, silent: Silent, stream: StreamKey, ruling: Option<Ruling>, scored: &Scored) {
        let now = self.learned.model.told(scored.at);
        let Some(template) = self.learned.id_of(silent.slot as u32) else { return };
        let Some(template_text) = self.template_text(template) else { return };
        let event_id = self.event_id_beside(now);
        let measure =
            Measure::Gap { observed_secs: in_millis(silent.elapsed), expected_secs: in_millis(silent.longest) };
        self.unfolded.incidents += 1;
        if self.synthetic.len() < MOST_SYNTHETIC {
            let sample_ratio = self.sampler.as_ref().map(|_| 1.0);
            let mut verdict = self.verdict(scored, ruling, sample_ratio, template, event_id);
            verdict.measure = Some(measure);
            let similar = self.recall(&mut verdict, now);
            if let Some(sampler) = &mut self.sampler {
                sampler.alert(stream, scored.at);
            }
            self.synthetic.push(Synthetic {
                verdict,
                timestamp: now,
                stream,
                stream_values: self.stream_values(stream),
                template_text: Arc::clone(&template_text),
                similar,
            });
            self.report_silence(now, stream, &verdict, &template_text);
        }
    }

    /// Tells the journal of a silence.
    fn report_silence(&self, now: Timestamp, stream: StreamKey, verdict: &Verdict, template: &str) {
        let Some(reporter) = &self.inner.reporter else { return };
        let circumstances = Circumstances {
            time: now,
            stream: self.stream_text(stream),
            template: template.to_owned(),
            message: MessagePart::default(),
            rule: incidents::rule_text(&self.inner.core.config, verdict.ruling),
            synthetic: true,
        };
        reporter.report(incidents::incident(verdict, circumstances));
    }

    /// The stream of all events, when there is only one and it has a name.
    fn only_stream(&self) -> Option<StreamKey> {
        self.learned.model.only_stream().filter(|stream| self.learned.streams.get(*stream).is_some())
    }

    /// What a stream is called in the journal; its key where the name is not known.
    fn stream_text(&self, stream: StreamKey) -> String {
        let name = self.learned.streams.get(stream).map(|values| StreamKey::name_of(values));
        name.unwrap_or_else(|| incidents::key_text(stream))
    }

    fn stream_values(&self, stream: StreamKey) -> Vec<(String, String)> {
        let fields = self.inner.core.config.partition_by.iter();
        let values = self.learned.streams.get(stream).map(AsRef::as_ref).unwrap_or_default();
        let of = |(field, value): (&String, &Option<Box<str>>)| Some((field.clone(), value.as_deref()?.to_owned()));
        fields.zip(values).filter_map(of).collect()
    }

    /// What the user said of the silences of the slot's template on a stream; nothing where a rule of the configuration decides.
    fn said_of_silence(&self, slot: Slot, stream: StreamKey) -> Option<Ruling> {
        if !self.has_rules {
            return None;
        }
        let core = &self.inner.core;
        let names = [self.stream_text(stream), incidents::key_text(stream)];
        let feedback = core.feedback();
        let store = core.store();
        let template = store.by_slot(slot)?;
        if core.rules.of(template).is_some() { None } else { feedback.of_silence(template, &names) }
    }

    /// Whether the user wants no alert of the slot's template.
    fn is_muted(&mut self, slot: Slot) -> bool {
        if self.has_rules && self.learned.severity(slot).is_none() {
            self.look_at(slot);
        }
        self.ruling(slot, None).is_some_and(|ruling| !ruling.is_always())
    }

    /// The id of an event of oddline's own: that of the event before it, a moment later.
    fn event_id_beside(&self, now: Timestamp) -> EventId {
        EventId {
            millis: now.unsigned_millis(),
            run: self.inner.core.run,
            lane: self.number,
            number: self.next_event | SYNTHETIC_NUMBER,
        }
    }

    /// Without a measure, which most have none of.
    #[inline]
    fn verdict(
        &self,
        scored: &Scored,
        ruling: Option<Ruling>,
        sample_ratio: Option<f64>,
        template: TemplateId,
        event_id: EventId,
    ) -> Verdict {
        let state = if self.inner.core.is_degraded() { State::Degraded } else { scored.state };
        Verdict {
            score: scored.score(),
            p_value: scored.p_value,
            is_anomaly: scored.is_anomaly,
            suppressed: scored.suppressed,
            state,
            evidence: scored.evidence,
            reasons: scored.reasons,
            measure: None,
            ruling,
            sample_ratio,
            template,
            event_id,
        }
    }

    fn event_id(&mut self, timestamp: Timestamp) -> EventId {
        let number = self.next_event;
        self.next_event += 1;
        EventId { millis: timestamp.unsigned_millis(), run: self.inner.core.run, lane: self.number, number }
    }

    #[inline]
    fn find(&mut self, observation: &Observation<'_>) -> Match {
        match self.matcher.find(observation.message) {
            Some(found) => found,
            None => self.find_or_learn(observation),
        }
    }

    /// The way of a line whose skeleton is not in the lane's cache.
    fn find_or_learn(&mut self, observation: &Observation<'_>) -> Match {
        match self.matcher.find_in_tree(observation.message, self.learned.changes_seen) {
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
            self.matcher.skeleton().write_text(observation.message, &mut log.text);
            if let Err(error) = log.encoder.define_template(learned.id, &log.text, observation.timestamp) {
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
        self.texts.remove(found.id);
    }

    /// Looks at the template that was found for an event. To look is to learn what other lanes did meanwhile: where one made it part of another template, the event is of
    /// that one, since what is counted of a slot that holds none any more is lost.
    #[cold]
    fn look_at_found(&mut self, observation: &Observation<'_>, found: &mut Match) -> Severity {
        loop {
            let severity = self.look_at(found.slot);
            if self.matcher.is_current(found) {
                return severity;
            }
            *found = self.find(observation);
            if let Some(severity) = self.learned.severity(found.slot) {
                return severity;
            }
        }
    }

    #[cold]
    fn look_at(&mut self, slot: Slot) -> Severity {
        let inner = Arc::clone(&self.inner);
        let feedback = inner.core.feedback();
        let store = inner.core.store();
        self.learned.sync(&store);
        let severity = self.learned.look_at(slot, &store, &inner.core.rules, &feedback);
        let text = store.by_slot(slot).map(|template| Arc::clone(&template.text));
        // Nobody waits while vectors are made.
        drop(store);
        if let Some(text) = text {
            let is_like_flagged = self.learned.ruling(slot).is_none() && feedback.is_like_flagged(&text);
            let oddness = self.meaning.0.as_ref().map_or(Oddness::NONE, |meaning| meaning.oddness(&text));
            self.learned.note_meaning(slot, is_like_flagged, oddness);
        }
        severity
    }

    fn record(&mut self, observation: &Observation<'_>, found: &Match, scored: &Scored, input: &Input) {
        self.unfolded.events += 1;
        self.unfolded.incidents += u64::from(scored.is_anomaly);
        self.unfolded.newest = self.unfolded.newest.max(observation.timestamp);
        if let Some(window) = &mut self.window {
            window.push(WindowEvent {
                timestamp: observation.timestamp,
                template: found.id,
                stream: observation.stream,
                // The event's own number: the next one is given already.
                number: self.next_event.wrapping_sub(1) as u32,
                statistic: (scored.statistic.to_bits() >> 16) as u16,
                severity: input.severity.code(),
                flags: flags(scored, input),
            });
        }
        if let Some(log) = &mut self.log {
            let event = WalEvent {
                timestamp: observation.timestamp,
                template: found.id,
                // Its upper half is enough for a history, and half as long.
                statistic: f32::from_bits(scored.statistic.to_bits() & 0xffff_0000),
                stream: observation.stream,
                severity: input.severity.code(),
                flags: flags(scored, input),
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
        if !writer.is_alive() && !core.is_degraded() {
            core.degrade("the storage thread is gone: restart to make what is learned durable again".to_owned());
        }
        if log.broken.is_some() || core.is_degraded() {
            self.hand_over_degraded();
            return;
        }
        log.attempts = 0;
        if log.encoder.pending_bytes() > 0 {
            let bytes = log.encoder.take(core.spare_buffer());
            log.segment_bytes += bytes.len() as u64;
            log.enqueue(Command::Append(self.number, bytes, Instant::now()));
        }
        log.offer(writer);
        if log.is_overflowing() {
            core.count_dropped(log.discard());
            core.degrade("the disk is too slow: bytes of the write-ahead log were dropped".to_owned());
        } else if log.is_full(core.config.wal_segment_bytes) {
            self.rotate();
            self.request_checkpoint();
        }
    }

    /// While persistence fails: drops what was encoded, and now and then starts a new segment.
    fn hand_over_degraded(&mut self) {
        let (Some(log), Some(writer)) = (&mut self.log, &self.inner.writer) else { return };
        let core = &self.inner.core;
        let now = core.environment.clock.now();
        core.count_dropped(log.discard());
        let wait_secs = (REOPEN_SECS << log.attempts.min(8)).min(MOST_REOPEN_SECS);
        let is_due = log.broken.get_or_insert_default().is_due(now, wait_secs);
        if !is_due && core.is_degraded() {
            return;
        }
        let (header, _, end) = log.begin_segment(now);
        if writer.offer(Command::Open { header, end }).is_ok() {
            log.broken = None;
            log.attempts += 1;
            self.request_checkpoint();
        }
    }

    fn rotate(&mut self) {
        let (Some(log), Some(writer)) = (&mut self.log, &self.inner.writer) else { return };
        let (next, rest, end) = log.begin_segment(self.inner.core.environment.clock.now());
        if !rest.is_empty() {
            log.enqueue(Command::Append(self.number, rest, Instant::now()));
        }
        log.enqueue(Command::Rotate { next, end });
        log.offer(writer);
    }

    /// Exchanges what was counted with the other lanes, and publishes what this one learned.
    fn fold(&mut self) {
        let inner = Arc::clone(&self.inner);
        let core = &inner.core;
        if self.feedback_heeded != core.feedback_changes() || self.meaning.1 != core.meanings.changes() {
            self.heed();
        }
        if core.config.semantic_weight > 0.0 && self.meaning.0.is_none() && self.learned.model.state() == State::Ready {
            core.meanings.begin(core);
        }
        self.learned.sync(&core.store());
        let evicted = self.learned.model.evicted();
        core.gauges.add_evicted(evicted.since(std::mem::replace(&mut self.evicted, evicted)));
        let (unseen, seen) = if self.is_published && self.unfolded.events == 0 {
            let picture = core.picture();
            (picture.unseen(self.number, self.deltas_seen), picture.deltas_total())
        } else {
            let delta = Delta::of(self.number, &mut self.learned);
            let events = std::mem::take(&mut self.unfolded);
            let state = self.state();
            self.is_published = true;
            core.picture().fold(state, delta, events)
        };
        self.deltas_seen = seen;
        self.take_in(&unseen);
    }

    fn take_in(&mut self, unseen: &Unseen) {
        let inner = Arc::clone(&self.inner);
        let store = inner.core.store();
        match unseen {
            Unseen::Deltas(deltas) if deltas.is_empty() => {}
            Unseen::Deltas(deltas) => {
                self.learned.absorb(deltas, &store);
                self.is_published = false;
            }
            Unseen::Missed => {
                if let Some(state) = inner.core.picture().current(self.number, &store) {
                    self.learned = state.learned.clone();
                    self.learned.look_again();
                    self.evicted = self.learned.model.evicted();
                    self.deltas_seen = state.deltas_seen;
                    self.is_published = false;
                }
            }
        }
        let mut picture = inner.core.picture();
        if picture.is_untidy(store.options().max_templates) {
            picture.tidy(&store);
        }
    }

    /// What time asks for; call it every [`Config::tick_interval`](crate::config::Config::tick_interval). Returns events of oddline's own.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Synthetic> {
        self.hand_over();
        if self.folds.is_due(now, FOLD_SECS) {
            self.fold();
        }
        let config = &self.inner.core.config;
        if let Some(window) = &mut self.window {
            window.tick(now, i64::try_from(config.window_secs).unwrap_or(i64::MAX));
        }
        let interval = i64::try_from(config.checkpoint_interval_secs).unwrap_or(i64::MAX);
        if self.checkpoints.is_due(now, interval) {
            let is_aged = self.age_segment(now);
            if is_aged || self.checkpointed_events != self.learned.model.events() {
                self.request_checkpoint();
            }
        }
        if let Some(now) = self.time_at_tick(now)
            && now >= self.next_look
        {
            self.look(now);
        }
        self.take_synthetic()
    }

    /// Where the lane's clock is when the host's tells `now`. Of old events a tick cannot tell how much time has passed among them; of new ones as
    /// much as since the tick that first found them.
    fn time_at_tick(&mut self, now: Timestamp) -> Option<Timestamp> {
        let model = &self.learned.model;
        if !self.looks_at_event_time {
            return Some(model.at(now));
        }
        if self.quiet.events != self.next_event {
            let age = now.seconds_since(model.told(model.latest()));
            self.quiet = Quiet { events: self.next_event, since: now, is_live: age.abs() <= LIVE_SECS };
        }
        let passed = now.0.saturating_sub(self.quiet.since.0).max(0);
        let last = if passed >= TICK_SECS * 1_000_000 { model.latest() } else { model.now() };
        self.quiet.is_live.then(|| Timestamp(last.0.saturating_add(passed)))
    }

    /// Events of oddline's own that wait for the next tick: for who cannot wait, such as at the end of the input.
    pub fn take_synthetic(&mut self) -> Vec<Synthetic> {
        std::mem::take(&mut self.synthetic)
    }

    /// Leaves a segment that is old; one without events when its hour is over, since that is where its events would be filed. Whether it did.
    fn age_segment(&mut self, now: Timestamp) -> bool {
        let is_old = |log: &Log| {
            let begun = log.encoder.header().created;
            if log.segment_bytes > 0 {
                Every::since(begun).has_passed(now, SEGMENT_SECS)
            } else {
                Hour::of(begun) != Hour::of(now)
            }
        };
        let is_aged = self.log.as_ref().is_some_and(is_old);
        if is_aged {
            self.rotate();
        }
        is_aged
    }

    /// A request the writer has no room for is made again with the next segment or interval, as is one while others wait for a slow disk: each is
    /// megabytes. One that is to end a degraded state is not put off, since those before it may be of before the new segment.
    fn request_checkpoint(&mut self) {
        self.fold();
        let core = &self.inner.core;
        let (Some(log), Some(writer)) = (&mut self.log, &self.inner.writer) else { return };
        let ends_a_failure = core.is_degraded() || log.has_lost;
        let is_due = ends_a_failure || core.checkpoints_waiting() < MOST_CHECKPOINTS_WAITING;
        if is_due && log.is_flowing() {
            self.checkpointed_events = self.learned.model.events();
            log.has_lost = false;
            log.enqueue(Command::Checkpoint(sections::compose(&self.inner.core)));
            log.offer(writer);
        }
    }

    fn state(&self) -> LaneState {
        let log = self.log.as_ref();
        LaneState {
            number: self.number,
            learned: self.learned.clone(),
            position: log.map_or(Position::default(), |log| log.encoder.position()),
            next_segment: log.map_or(SegmentSequence::default(), |log| log.encoder.header().sequence.next()),
            deltas_seen: self.deltas_seen,
        }
    }

    /// Returns when all observed so far is as durable as `durability` says.
    ///
    /// # Errors
    /// With `always` when it cannot be made durable.
    pub fn commit(&mut self) -> Result<(), EngineError> {
        if self.inner.core.config.durability == Durability::Always {
            return self.sync();
        }
        self.hand_over();
        Ok(())
    }

    /// Returns when all observed so far is on disk, whatever `durability` says: for those who promise it to others. Events that were dropped while
    /// writing failed are then in a checkpoint: what was learned of them is there, and the history lacks them.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn sync(&mut self) -> Result<(), EngineError> {
        self.hand_over();
        if !self.inner.core.is_degraded() && self.log.as_ref().is_some_and(|log| log.has_lost) {
            self.request_checkpoint();
        }
        let (Some(log), Some(writer)) = (&mut self.log, &self.inner.writer) else { return Ok(()) };
        let degraded = |reason| EngineError::Degraded { reason, retry_secs: MOST_REOPEN_SECS };
        log.send(writer);
        writer.sync().map_err(degraded)?;
        // Another lane's checkpoint may have ended the failure that this one lost events in.
        if log.has_lost {
            Err(degraded("events were dropped and no checkpoint has them yet".to_owned()))
        } else {
            Ok(())
        }
    }

    /// A template's text, variables as `<*>`.
    pub fn template_text(&mut self, id: TemplateId) -> Option<Arc<str>> {
        // A template that generalised has another text by now.
        if std::mem::replace(&mut self.texts_seen, self.learned.changes_seen) != self.learned.changes_seen {
            self.texts = Texts::default();
        }
        if let Some(text) = self.texts.get(id)
            && self.last.is_some_and(|last| last.id == id && self.matcher.is_current(&last))
        {
            return Some(text);
        }
        let text: Arc<str> = {
            let store = self.inner.core.store();
            store.shown(store.by_id(id)?).into()
        };
        self.texts.insert(id, Arc::clone(&text));
        Some(text)
    }

    /// How a message would be read and which template it would meet; learns nothing.
    pub fn explain(&mut self, message: &[u8]) -> Explanation {
        self.last = None;
        let store = self.inner.core.store();
        self.matcher.explain(message, &store)
    }

    /// The parameters of the last observed message, which must be given again; what is not UTF-8 is shown as U+FFFD. Of a template that was asked
    /// about before and has not changed since, this waits for nobody and allocates nothing.
    pub fn parameters<'m>(&'m mut self, message: &'m [u8]) -> impl Iterator<Item = Cow<'m, str>> {
        // Of a template that is another by now they are those of the text it has now.
        if let Some(last) = self.last
            && !(self.matcher.is_current(&last) && self.matcher.parameters(message, last).is_some())
        {
            self.matcher.learn_tokens(&last, &self.inner.core.store());
        }
        let parameters = self.last.and_then(|last| self.matcher.parameters(message, last));
        parameters.into_iter().flatten().map(String::from_utf8_lossy)
    }

    /// The last observed message, which must be given again, taken apart: [`Taken::message`] has it byte for byte, what is not UTF-8 and every blank
    /// included. [`Self::template_text`] and [`Self::parameters`] are for people: they join words by one space, and show what is not UTF-8 as U+FFFD.
    /// `None` before the first event.
    pub fn taken_apart<'m>(&mut self, message: &'m [u8]) -> Option<Taken<'m>> {
        Some(self.matcher.taken(message, &self.last?, &self.inner.core.store()))
    }

    /// Gives the lane back.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn close(mut self) -> Result<(), EngineError> {
        self.commit()
    }
}

/// The unit that follows a number in its message as a word of its own, empty when none does.
fn unit_after(message: &[u8], number: &[u8]) -> &'static str {
    // A number is a part of its message: where it ends is where its rest begins.
    let start = (number.as_ptr() as usize).checked_sub(message.as_ptr() as usize);
    let rest = start.and_then(|start| message.get(start.saturating_add(number.len())..));
    rest.and_then(Unit::next_word).map_or("", |unit| unit.name)
}

/// Adds a reason as the weakest one; where there is no room it takes the weakest one's place.
fn add_reason(reasons: &mut [Option<Reason>; REASONS], reason: Reason) {
    if !reasons.contains(&Some(reason)) {
        let place = reasons.iter().position(Option::is_none).unwrap_or(REASONS - 1);
        reasons.get_mut(place).into_iter().for_each(|place| *place = Some(reason));
    }
}

/// Puts what the user said over what the score says.
#[cold]
fn overrule(scored: &mut Scored, ruling: Ruling) {
    scored.suppressed = false;
    scored.is_anomaly = ruling.is_always();
    if ruling.is_always() {
        let before = scored.reasons;
        let weaker = |place: usize| place.checked_sub(1).and_then(|place| before.get(place).copied().flatten());
        scored.reasons =
            std::array::from_fn::<_, REASONS, _>(|place| if place == 0 { Some(Reason::Rule) } else { weaker(place) });
    }
}

fn sample(sampler: &mut Sampler, input: &Input, scored: &Scored) -> f64 {
    if scored.is_anomaly {
        sampler.alert(input.stream, scored.at);
    }
    let rarity = scored.evidence.get(DetectorKind::Rarity as usize).copied().unwrap_or(0.0);
    let worth = if scored.is_anomaly || rarity >= RARE_NATS { 1.0 } else { worth(scored.p_value) };
    sampler.ratio(input.slot, input.stream, scored.at, worth)
}

/// Seconds as far as they are known: a single's digits beyond that are none.
fn in_millis(seconds: f32) -> f64 {
    (f64::from(seconds) * 1e3).round() / 1e3
}

fn flags(scored: &Scored, input: &Input) -> u8 {
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    flag(scored.is_anomaly, FLAG_ANOMALY)
        | flag(input.is_muted, FLAG_MUTED)
        | flag(input.is_like_incident, FLAG_LIKE_INCIDENT)
        | input.oddness.code() << ODDNESS_AT
}

/// What the flags of an event say of its template's meaning.
pub(super) fn oddness_of(flags: u8) -> Oddness {
    Oddness::from_code(flags >> ODDNESS_AT)
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.hand_over();
        if let (Some(log), Some(writer)) = (&mut self.log, &self.inner.writer) {
            log.send(writer);
        }
        self.fold();
        if let (Some(log), Some(writer)) = (&self.log, &self.inner.writer) {
            writer.send(Command::Park(self.number, log.encoder.position()));
        }
        self.inner.core.picture().park(self.number);
        let parked = ParkedLane { number: self.number, next_event: self.next_event, log: self.log.take() };
        self.inner.core.lanes().parked.push(parked);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::engine::{Engine, Environment};
    use crate::event::{Observation, Timestamp};

    #[test]
    fn an_event_whose_template_another_lane_takes_in_before_it_is_looked_at_is_of_what_took_it_in() {
        let config = Config { merge_after: 3, ..Config::default() };
        let engine = Engine::open(&config, Environment::system()).unwrap();
        let (mut lane, mut other) = (engine.lane().unwrap(), engine.lane().unwrap());
        let observation = |message| Observation::new(message, Timestamp(1_800_000_000_000_000));
        let kept = other.observe(&observation(b"open ann 17")).template;
        let line = observation(b"open bob 18");
        let mut found = lane.find(&line);
        assert_ne!(found.id, kept);
        let messages: [&[u8]; 3] = [b"open cy 19", b"open dot 20", b"open eve 21"];
        messages.iter().for_each(|message| _ = other.observe(&observation(message)));
        lane.look_at_found(&line, &mut found);
        assert_eq!((found.id, lane.learned.id_of(found.slot.0)), (kept, Some(kept)));
        assert!(lane.matcher.is_current(&found));
    }
}
