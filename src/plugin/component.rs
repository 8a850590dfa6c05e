//! The component: what every agent adapter calls.
//!
//! [`Component::new`] reads the configuration and touches nothing else, since agents build components only to check
//! a configuration, and build a new one while the old still runs. The engine is opened at the first event, through
//! the process-wide registry, so that two components on one data dir share it. A data dir that cannot be opened
//! (another process holds it, the disk is full) does not stop events: they pass with `state: degraded`, and opening
//! is tried again every [`RETRY_SECS`] seconds.
//!
//! An adapter that answers for its events calls [`Component::ready`] before it hands them over and [`Component::sync`] before it
//! answers: between the two, what passed without a score is told of.
//!
//! Nothing here fails for an event and no panic leaves [`Component::process`], [`Component::tick`] or
//! [`Component::flush`].

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::enrichment::Enrichment;
use super::event::{Event, Input, Layout, LayoutError, Written};
use super::path::Path;
use super::ruled::FieldRules;
use super::texts::Texts;
use crate::config::{Config, ConfigError, Fields, TimeSource};
use crate::engine::{Engine, EngineError, Environment, Explanation, Lane, SimilarIncident, Stats, Synthetic};
use crate::event::{Observation, Ruling, State, StreamKey, StreamName, Timestamp, Verdict};

/// Seconds between two attempts to open a data dir that could not be opened.
pub const RETRY_SECS: i64 = 10;

const NEVER: i64 = i64::MIN;

/// Why a component cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComponentError {
    /// The configuration is not accepted.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its paths cannot be used together.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The engine cannot be opened, or refuses.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Something panicked; a bug.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// Not every event was taken that was handed over: see [`Component::ready`].
    #[error("not every event was taken, since the engine was not to be had or failed: hand them over again")]
    Incomplete,
}

/// A panic that was caught at the boundary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("internal error, please report it: {0}")]
pub struct Panicked(String);

/// Runs `work` and turns a panic into an error: for the boundary to an agent, which a panic would take down.
pub fn guard<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Panicked(text.unwrap_or_else(|| "a panic without a message".to_owned()))
    })
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The verdict; none when the event has no message or the engine is not to be had.
    pub verdict: Option<Verdict>,
    /// The time the event was scored with, when it was: its own or that of arrival.
    pub timestamp: Option<Timestamp>,
    /// The stream it belongs to, when it was scored.
    pub stream: StreamKey,
    /// Whether the fields were written.
    pub written: Written,
}

impl Outcome {
    /// Whether the event is an anomaly.
    pub fn is_anomaly(&self) -> bool {
        self.verdict.is_some_and(|verdict| verdict.is_anomaly)
    }
}

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What the component counted, over all its clones; each only grows.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        /// The counts of all clones, each folded in now and then: clones on several threads share no cache line per event.
        #[derive(Debug, Default)]
        struct SharedCounts {
            $($name: AtomicU64,)+
        }

        impl SharedCounts {
            fn fold(&self, counts: &mut Counts) {
                $(self.$name.fetch_add(std::mem::take(&mut counts.$name), Ordering::Relaxed);)+
            }

            fn load(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }

        impl Counts {
            /// Names and values, for metrics.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }
    };
}

counts! {
    /// Events that came.
    events_total,
    /// Events called anomalies.
    anomalies_total,
    /// Events without a message that is text, a number or a flag: passed on with score 0.
    events_without_message_total,
    /// Lines with bytes that are not UTF-8.
    invalid_utf8_total,
    /// With `time: event`: events whose timestamp is missing or not understood, and which got the time of arrival.
    timestamps_missing_total,
    /// Events that had something at the target and kept it.
    events_kept_total,
    /// Events passed on without a score, since the engine was not to be had.
    events_unscored_total,
    /// Attempts to open the engine that failed.
    open_failures_total,
    /// Events that could not be written to, passed on as they were.
    write_failures_total,
    /// Panics caught.
    panics_total,
}

/// What [`Component::stats`] tells.
#[derive(Debug, Serialize)]
pub struct ComponentStats {
    /// What the component counted.
    #[serde(flatten)]
    pub counts: Counts,
    /// The engine's own figures, once it is open.
    pub engine: Option<Stats>,
    /// Why the engine could not be opened the last time, when it could not.
    pub last_error: Option<String>,
}

impl ComponentStats {
    /// Names of what goes up and down.
    pub const GAUGES: [&'static str; 4] = ["templates", "memory_bytes", "disk_bytes", "wal_bytes"];

    /// Names and values of what goes up and down, for metrics; none before the engine is open.
    pub fn gauges(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let values = |engine: &Stats| [engine.templates, engine.memory_bytes, engine.disk_bytes, engine.wal_bytes];
        self.engine.as_ref().into_iter().flat_map(move |engine| Self::GAUGES.into_iter().zip(values(engine)))
    }
}

struct Shared {
    config: Config,
    layout: Arc<Layout>,
    rules: FieldRules,
    environment: Environment,
    engine: Mutex<Option<Engine>>,
    last_error: Mutex<Option<String>>,
    /// When opening failed the last time, microseconds; [`NEVER`] when it did not.
    failed_at: AtomicI64,
    counts: SharedCounts,
}

/// Scores the events of one thread; a clone is for another thread and shares engine and counts.
pub struct Component {
    shared: Arc<Shared>,
    lane: Option<Lane>,
    counts: Counts,
    /// Of the last event.
    parameters: Texts,
    /// Since the last [`Component::ready`] an event was not taken, or may have gone with a lane that panicked.
    is_incomplete: bool,
    /// The last [`Component::sync`] failed.
    is_behind: bool,
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_open = self.lane.is_some();
        f.debug_struct("Component")
            .field("config", &self.shared.config)
            .field("is_open", &is_open)
            .finish_non_exhaustive()
    }
}

impl Clone for Component {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.shared))
    }
}

/// What scoring gave, before it is written.
struct Scored {
    verdict: Verdict,
    timestamp: Timestamp,
    stream: StreamKey,
    template: Option<Arc<str>>,
    similar: Vec<SimilarIncident>,
    /// Whether the parameters were taken.
    has_parameters: bool,
}

impl Component {
    /// A component for `config`. Touches no file.
    pub fn new(config: Config, environment: Environment) -> Result<Self, ComponentError> {
        config.validate()?;
        let shared = Shared {
            layout: Arc::new(Layout::new(&config)?),
            rules: FieldRules::new(&config),
            config,
            environment,
            engine: Mutex::default(),
            last_error: Mutex::default(),
            failed_at: AtomicI64::new(NEVER),
            counts: SharedCounts::default(),
        };
        Ok(Self::of(Arc::new(shared)))
    }

    fn of(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            lane: None,
            counts: Counts::default(),
            parameters: Texts::default(),
            is_incomplete: false,
            is_behind: false,
        }
    }

    /// Opens the engine now, for those who want to know whether it can be: without it the first event does.
    pub fn open(&mut self) -> Result<(), ComponentError> {
        if self.lane.is_none() {
            self.lane = Some(guard(|| self.shared.lane())??);
        }
        Ok(())
    }

    /// Whether the next event will open the engine, for adapters that are called where there is little stack: they call
    /// [`Component::prepare`] where there is more.
    pub fn is_due(&self) -> bool {
        self.lane.is_none() && self.shared.may_open(self.shared.environment.clock.now())
    }

    /// Opens the engine as the next event would; what fails is told by [`Component::stats`].
    pub fn prepare(&mut self) {
        let now = self.shared.environment.clock.now();
        if guard(|| self.ready_lane(now)).is_err() {
            self.panicked();
        }
    }

    /// Which fields are read and written, for adapters.
    pub fn layout(&self) -> Arc<Layout> {
        Arc::clone(&self.shared.layout)
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The engine, once it is open.
    pub fn engine(&self) -> Option<Engine> {
        self.shared.engine.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How a message would be read and which template it would meet; learns nothing.
    ///
    /// # Errors
    /// When the engine is not open and cannot be opened.
    pub fn explain(&mut self, message: &[u8]) -> Result<Explanation, ComponentError> {
        let lane = match &mut self.lane {
            Some(lane) => lane,
            none => none.insert(guard(|| self.shared.lane())??),
        };
        Ok(guard(|| lane.explain(message))?)
    }

    /// Scores `event` and writes the fields to it.
    pub fn process(&mut self, event: &mut impl Event) -> Outcome {
        self.counts.events_total += 1;
        // Filled in place: a verdict is large, and is not moved on its way to the event.
        let mut scored = None;
        if guard(|| self.score(event, &mut scored)).is_err() {
            self.panicked();
            scored = None;
        }
        let outcome = guard(|| self.write(event, scored.as_ref())).unwrap_or_else(|_| {
            self.counts.panics_total += 1;
            Outcome { verdict: None, timestamp: None, stream: StreamKey::default(), written: Written::Failed }
        });
        self.counts.anomalies_total += u64::from(outcome.is_anomaly());
        self.counts.events_kept_total += u64::from(outcome.written == Written::Kept);
        self.counts.write_failures_total += u64::from(outcome.written == Written::Failed);
        outcome
    }

    fn score(&mut self, event: &impl Event, scored: &mut Option<Scored>) {
        let now = self.shared.environment.clock.now();
        self.ready_lane(now);
        let Some(message) = event.read(Input::Message) else {
            self.counts.events_without_message_total += 1;
            return;
        };
        let message = message.into_text();
        let Some(lane) = self.lane.as_mut() else {
            self.counts.events_unscored_total += 1;
            self.is_incomplete = true;
            return;
        };
        let layout = &*self.shared.layout;
        let timestamp = match layout.time {
            TimeSource::Arrival => now,
            TimeSource::Event => event.time(now).unwrap_or_else(|| {
                self.counts.timestamps_missing_total += 1;
                now
            }),
        };
        let level = if layout.level.is_some() { event.read(Input::Level) } else { event.own_level() };
        let level = level.map(super::Scalar::into_text);
        let named = Named { event, partitions: layout.partition.len() };
        let observation = Observation {
            message: &message,
            timestamp,
            stream: stream(event, layout.partition.len()),
            level: level.as_deref().and_then(|level| std::str::from_utf8(level).ok()),
            stream_name: (named.partitions > 0).then_some(&named),
        };
        let Scored { verdict, template, similar, has_parameters, .. } = scored.insert(Scored {
            verdict: lane.observe_ruled(&observation, self.shared.rules.first_met(event)),
            timestamp,
            stream: observation.stream,
            template: None,
            similar: Vec::new(),
            has_parameters: false,
        });
        let wants_template = layout.detail != Fields::Minimal || layout.template_field.is_some();
        let wants_parameters = layout.parameters && layout.detail != Fields::Minimal;
        if wants_template {
            *template = lane.template_text(verdict.template);
        }
        if wants_parameters {
            self.parameters.set(lane.parameters(&message));
            *has_parameters = true;
        }
        if verdict.is_anomaly {
            *similar = lane.similar(verdict.event_id).to_vec();
        }
    }

    fn write(&self, event: &mut impl Event, scored: Option<&Scored>) -> Outcome {
        let detail = self.shared.layout.detail;
        let Some(scored) = scored else {
            let enrichment = Enrichment::unscored(detail, self.state());
            let is_sampled = self.shared.config.sampling.is_some();
            let written = event.write(&if is_sampled { enrichment.kept() } else { enrichment });
            return Outcome { verdict: None, timestamp: None, stream: StreamKey::default(), written };
        };
        let parameters = scored.has_parameters.then(|| self.parameters.shown());
        let enrichment = Enrichment::new(detail, &scored.verdict, scored.template.as_deref())
            .with_parameters(parameters.as_deref())
            .with_similar(&scored.similar)
            .with_rule(scored.verdict.ruling.and_then(|ruling| self.shared.ruled_by(ruling)));
        let (verdict, timestamp) = (Some(scored.verdict), Some(scored.timestamp));
        Outcome { verdict, timestamp, stream: scored.stream, written: event.write(&enrichment) }
    }

    /// The state of an event that was not scored.
    fn state(&self) -> State {
        if self.lane.is_some() { State::Learning } else { State::Degraded }
    }

    fn ready_lane(&mut self, now: Timestamp) {
        if self.lane.is_some() || !self.shared.may_open(now) {
            return;
        }
        match self.shared.lane() {
            Ok(lane) => self.lane = Some(lane),
            Err(error) => self.not_opened(now, &error),
        }
    }

    fn not_opened(&mut self, now: Timestamp, error: &dyn std::error::Error) {
        self.counts.open_failures_total += 1;
        self.shared.fail(now, error.to_string());
    }

    /// After a panic the lane may be in any state: it goes, and a new one is not taken at once.
    fn panicked(&mut self) {
        self.counts.panics_total += 1;
        self.is_incomplete = true;
        let lane = self.lane.take();
        if guard(|| drop(lane)).is_err() {
            self.counts.panics_total += 1;
        }
        let now = self.shared.environment.clock.now();
        self.shared.fail(now, "a panic while scoring".to_owned());
    }

    /// Does what time asks for; call it every [`Config::tick_interval`]. Returns events of oddline's own (see [`Component::describe`]).
    pub fn tick(&mut self, now: Timestamp) -> Vec<Synthetic> {
        let synthetic = guard(|| self.lane.as_mut().map(|lane| lane.tick(now))).unwrap_or_else(|_| {
            self.panicked();
            None
        });
        self.shared.counts.fold(&mut self.counts);
        synthetic.unwrap_or_default()
    }

    /// Events of oddline's own that wait for the next tick, as at the end of the input.
    pub fn take_synthetic(&mut self) -> Vec<Synthetic> {
        self.lane.as_mut().map(Lane::take_synthetic).unwrap_or_default()
    }

    /// The time on the component's clock, for [`Component::tick`].
    pub fn now(&self) -> Timestamp {
        self.shared.environment.clock.now()
    }

    /// The fields of an event of oddline's own.
    pub fn describe<'s>(&'s self, synthetic: &'s Synthetic) -> Enrichment<'s> {
        let detail = self.shared.layout.detail;
        let enrichment = Enrichment::new(detail, &synthetic.verdict, Some(&synthetic.template_text));
        let rule = synthetic.verdict.ruling.and_then(|ruling| self.shared.ruled_by(ruling));
        enrichment.with_similar(&synthetic.similar).with_rule(rule).synthetic()
    }

    /// Returns when everything scored so far is as durable as `durability` says.
    pub fn flush(&mut self) -> Result<(), ComponentError> {
        self.shared.counts.fold(&mut self.counts);
        match self.lane.as_mut() {
            Some(lane) => Ok(guard(|| lane.commit())??),
            None => Ok(()),
        }
    }

    /// For an adapter that answers for what it hands over, before it does: opens the engine, and makes durable what the last
    /// [`Self::sync`] could not. From here on the next one tells of what is not taken.
    ///
    /// # Errors
    /// When the engine cannot be opened, or cannot write: what is handed over now would have to be handed over again.
    pub fn ready(&mut self) -> Result<(), ComponentError> {
        self.is_incomplete = false;
        if let Err(error) = self.open() {
            self.not_opened(self.now(), &error);
            return Err(error);
        }
        if self.is_behind { self.sync() } else { Ok(()) }
    }

    /// Returns when everything handed over since [`Self::ready`] is on disk, whatever `durability` says.
    ///
    /// # Errors
    /// When it cannot be made durable; tried again, it may. [`ComponentError::Incomplete`] when something was not taken: it
    /// stays so until the next [`Self::ready`], after which all of it has to be handed over again.
    pub fn sync(&mut self) -> Result<(), ComponentError> {
        self.shared.counts.fold(&mut self.counts);
        if self.is_incomplete {
            return Err(ComponentError::Incomplete);
        }
        self.is_behind = true;
        self.open()?;
        if let Some(lane) = self.lane.as_mut() {
            guard(|| lane.sync())??;
        }
        self.is_behind = false;
        Ok(())
    }

    /// Gives the lane back and, with the last clone, saves everything and closes the engine.
    pub fn shutdown(mut self) -> Result<(), ComponentError> {
        self.shared.counts.fold(&mut self.counts);
        if let Some(lane) = self.lane.take() {
            guard(|| lane.close())??;
        }
        if Arc::strong_count(&self.shared) > 1 {
            return Ok(());
        }
        let engine = self.shared.engine.lock().unwrap_or_else(PoisonError::into_inner).take();
        match engine {
            Some(engine) => Ok(guard(|| engine.close())??),
            None => Ok(()),
        }
    }

    /// Counts of all clones, as of their last tick or flush and of this one as of now. Waits for nothing.
    pub fn counts(&mut self) -> Counts {
        self.shared.counts.fold(&mut self.counts);
        self.shared.counts.load()
    }

    /// [`Self::counts`], and the engine's figures.
    pub fn stats(&mut self) -> ComponentStats {
        ComponentStats {
            counts: self.counts(),
            engine: self.engine().map(|engine| engine.stats()),
            last_error: self.shared.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    pub(super) fn count_invalid_utf8(&mut self) {
        self.counts.invalid_utf8_total += 1;
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        self.shared.counts.fold(&mut self.counts);
    }
}

impl Shared {
    fn lane(&self) -> Result<Lane, EngineError> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match engine.as_ref() {
            Some(open) => open,
            None => engine.insert(Engine::shared(&self.config, self.environment.clone())?),
        };
        let lane = open.lane()?;
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(lane)
    }

    /// The name of who overrode a score.
    fn ruled_by(&self, ruling: Ruling) -> Option<&str> {
        match ruling.number() {
            Some(number) => self.config.rules.get(usize::from(number)).map(|rule| rule.name.as_str()),
            None if ruling.is_always() => Some("feedback:flag"),
            None => Some("feedback:accept"),
        }
    }

    /// A clock that was set back since does not delay the next attempt.
    fn may_open(&self, now: Timestamp) -> bool {
        let failed_at = self.failed_at.load(Ordering::Relaxed);
        failed_at == NEVER || now.0.abs_diff(failed_at) >= RETRY_SECS.unsigned_abs() * 1_000_000
    }

    fn fail(&self, now: Timestamp, error: String) {
        self.failed_at.store(now.0, Ordering::Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// The stream of an event.
fn stream(event: &impl Event, partitions: usize) -> StreamKey {
    StreamKey::of_values((0..partitions).map(|index| event.read(Input::Partition(index)).map(super::Scalar::into_text)))
}

/// The stream of an event by the values it is told apart by.
struct Named<'e, E> {
    event: &'e E,
    partitions: usize,
}

impl<E> fmt::Debug for Named<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

impl<E: Event> StreamName for Named<'_, E> {
    fn values(&self) -> Vec<Option<String>> {
        let value = |index| {
            let value = self.event.read(Input::Partition(index)).map(super::Scalar::into_text);
            value.map(|value| String::from_utf8_lossy(&value).into_owned())
        };
        (0..self.partitions).map(value).collect()
    }
}

/// The message of an event of oddline's own: with the stream it is about, as `--stream` of the commands takes it, when it is about one.
pub fn synthetic_message(synthetic: &Synthetic) -> String {
    let Synthetic { template_text, stream_values, stream, .. } = synthetic;
    if stream_values.is_empty() && *stream == StreamKey::default() {
        return format!("oddline: expected and not seen: {template_text}");
    }
    let on = if stream_values.is_empty() {
        format!("stream {:016x}", stream.0)
    } else {
        stream_values.iter().map(|(field, value)| format!("{field}={value}")).collect::<Vec<_>>().join(",")
    };
    format!("oddline: expected and not seen on {on}: {template_text}")
}

/// Where an event of oddline's own has the values of the stream it is about: where the stream's events have them.
pub fn synthetic_values<'a>(synthetic: &'a Synthetic, layout: &'a Layout) -> impl Iterator<Item = (&'a Path, &'a str)> {
    let of = |(field, value): &'a (String, String)| {
        let name = field.strip_prefix('.').unwrap_or(field);
        Some((layout.partition.iter().find(|path| path.as_str() == name)?, value.as_str()))
    };
    synthetic.stream_values.iter().filter_map(of)
}

/// The message and what [`synthetic_values`] gives, for who writes each under a name of its own: of those below one name the first.
pub fn synthetic_texts<'a>(synthetic: &'a Synthetic, message: &'a str, layout: &'a Layout) -> Vec<(&'a Path, &'a str)> {
    let mut texts: Vec<(&Path, &str)> = vec![(&layout.message, message)];
    for (path, value) in synthetic_values(synthetic, layout) {
        if texts.iter().all(|(known, _)| known.segments().first() != path.segments().first()) {
            texts.push((path, value));
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::super::{Scalar, Value};
    use std::borrow::Cow;

    use super::*;

    struct Partitions(Vec<Option<&'static str>>);

    impl Event for Partitions {
        fn read(&self, input: Input) -> Option<Scalar<'_>> {
            match input {
                Input::Partition(index) => self.0[index].map(|text| Scalar::Text(Cow::Borrowed(text.as_bytes()))),
                _ => None,
            }
        }

        fn write(&mut self, enrichment: &Enrichment<'_>) -> Written {
            enrichment.for_each(|_, _: Value<'_>| {});
            Written::Fields
        }
    }

    #[test]
    fn streams_differ_by_every_value_and_by_what_is_missing() {
        let key = |values: &[Option<&'static str>]| stream(&Partitions(values.to_vec()), values.len());
        let keys = [
            key(&[Some("a"), Some("b")]),
            key(&[Some("b"), Some("a")]),
            key(&[Some("ab"), Some("")]),
            key(&[Some("ab"), None]),
            key(&[None, Some("ab")]),
            key(&[None, None]),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{index}");
        }
        assert_eq!(key(&[]), StreamKey::default());
        assert_eq!(key(&[Some("host-1")]), StreamKey(0x534b_55d8_ee35_0c2e), "stored keys must not change");
    }

    #[test]
    fn a_panic_becomes_an_error_with_its_text() {
        assert_eq!(guard(|| 1), Ok(1));
        assert!(guard(|| panic!("slot {}", 3)).unwrap_err().to_string().ends_with("slot 3"));
    }
}
