//! The transform `score_anomalies`: log events get their fields in place, metrics and traces pass untouched, in order.
//!
//! A task of its own: one scoring thread, so that verdicts are reproducible, and a clock that also ticks behind a quiet
//! upstream (silences are reported, buffers written). The engine is opened when the first event comes, on the pool for
//! blocking work, since Vector builds a changed transform while the old one still runs; at the end of the stream
//! everything is saved and the engine closed, or left to whoever shares it.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use async_stream::stream;
use futures::{Stream, StreamExt};
use oddline::config::Config;
use oddline::engine::{Environment, Synthetic};
use oddline::plugin::component::synthetic_message;
use oddline::plugin::{Component, ComponentError, Event as _, guard};
use tokio::time::MissedTickBehavior;
use vector::config::{DataType, GenerateConfig, Input, OutputId, TransformConfig, TransformContext, TransformOutput};
use vector::schema::Definition;
use vector_lib::config::LogNamespace;
use vector_lib::event::{EventArray, LogEvent, Value};
use vector_lib::transform::{TaskTransform, Transform};

use crate::config::{ScoreAnomaliesConfig, checked, example, validate};
use crate::event::{Map, Scored};
use crate::telemetry::{Telemetry, not_saved};
use crate::{is_live, schema};

/// How often the component learns that time passed.
const TICK: Duration = Duration::from_secs(1);

/// What Vector's metadata calls the source of events of oddline's own.
const SOURCE_TYPE: &str = "oddline";

impl GenerateConfig for ScoreAnomaliesConfig {
    fn generate_config() -> toml::Value {
        example::<Self>(serde_json::json!({}))
    }
}

impl ScoreAnomaliesConfig {
    /// Where what is learned is kept. Nothing is created or opened here.
    fn resolved_data_dir(&self, context: &TransformContext) -> vector::Result<PathBuf> {
        if let Some(dir) = &self.data_dir {
            return Ok(dir.clone());
        }
        let key = context.key.as_ref().ok_or("`data_dir` is required for a transform without an id")?;
        Ok(context.globals.resolve_and_validate_data_dir(None)?.join(key.id()))
    }
}

#[async_trait::async_trait]
#[typetag::serde(name = "score_anomalies")]
impl TransformConfig for ScoreAnomaliesConfig {
    async fn build(&self, context: &TransformContext) -> vector::Result<Transform> {
        let data_dir = is_live(&context.extra_context).then(|| self.resolved_data_dir(context)).transpose()?;
        let config = checked(self, data_dir.as_deref())?;
        let component = Component::new(config, Environment::system())?;
        let is_legacy = context.merged_schema_definition.log_namespaces().contains(&LogNamespace::Legacy);
        let namespace = if is_legacy { LogNamespace::Legacy } else { LogNamespace::Vector };
        Ok(Transform::task(ScoreAnomalies::new(component, namespace)))
    }

    fn input(&self) -> Input {
        Input::all()
    }

    fn outputs(&self, _: &TransformContext, inputs: &[(OutputId, Definition)]) -> Vec<TransformOutput> {
        // What is wrong with the options is for `validate` to say.
        let config = checked(self, None).unwrap_or_default();
        let with_fields = |(output, definition): &(OutputId, Definition)| {
            (output.clone(), schema::with_fields(definition.clone(), &config))
        };
        vec![TransformOutput::new(DataType::all_bits(), inputs.iter().map(with_fields).collect())]
    }

    fn validate(&self, _: &TransformContext) -> Result<(), Vec<String>> {
        validate(self)
    }
}

/// The running transform.
struct ScoreAnomalies {
    /// Nothing while it is being opened, after the end, or when a thread was lost while it held the component; the next events get a new one.
    component: Option<Component>,
    config: Config,
    map: Map,
    namespace: LogNamespace,
    is_opened: bool,
}

impl ScoreAnomalies {
    fn new(component: Component, namespace: LogNamespace) -> Self {
        let config = component.config().clone();
        let map = Map::new(&config, component.layout());
        Self { component: Some(component), config, map, namespace, is_opened: false }
    }

    fn ensure_component(&mut self) {
        if self.component.is_some() {
            return;
        }
        self.is_opened = false;
        match Component::new(self.config.clone(), Environment::system()) {
            Ok(component) => self.component = Some(component),
            Err(error) => tracing::warn!(message = "Events pass without scores for now.", %error),
        }
    }

    /// Opens the engine, once, where waiting for a disk holds nobody up. Failures are counted and tried again by the component.
    async fn open(&mut self) {
        self.open_with(Component::open).await;
    }

    /// The same by `open`, which may panic, and then takes the component with it.
    async fn open_with(&mut self, open: fn(&mut Component) -> Result<(), ComponentError>) {
        self.ensure_component();
        if std::mem::replace(&mut self.is_opened, true) {
            return;
        }
        let Some(mut component) = self.component.take() else { return };
        let opening = tokio::task::spawn_blocking(move || {
            if let Err(error) = open(&mut component) {
                tracing::warn!(message = "Events pass without scores for now.", %error);
            }
            component
        });
        match opening.await {
            Ok(component) => self.component = Some(component),
            Err(error) => {
                tracing::error!(message = "Events pass without scores, and the next are opened for anew.", %error)
            }
        }
    }

    async fn score(&mut self, events: &mut EventArray) {
        let EventArray::Logs(logs) = events else { return };
        self.open().await;
        let Some(component) = &mut self.component else { return };
        for log in logs {
            component.process(&mut Scored { log, map: &self.map });
        }
    }

    /// Does what time asks for; events of oddline's own, if any.
    fn tick(&mut self, telemetry: &mut Telemetry) -> Option<EventArray> {
        let component = self.component.as_mut()?;
        let own = component.tick(component.now());
        telemetry.update(&component.stats());
        self.own(&own)
    }

    fn own(&self, own: &[Synthetic]) -> Option<EventArray> {
        let component = self.component.as_ref()?;
        let events = own.iter().filter_map(|synthetic| guard(|| self.own_event(component, synthetic)).ok());
        Some(EventArray::Logs(events.collect())).filter(|_| !own.is_empty())
    }

    fn own_event(&self, component: &Component, synthetic: &Synthetic) -> LogEvent {
        let time = chrono::DateTime::from_timestamp_micros(synthetic.timestamp.0).unwrap_or_default();
        let message = Value::from(synthetic_message(synthetic));
        let mut log = match self.namespace {
            LogNamespace::Vector => LogEvent::from(message),
            LogNamespace::Legacy => {
                let mut log = LogEvent::default();
                self.map.set_message(&mut log, message);
                log
            }
        };
        self.namespace.insert_standard_vector_source_metadata(&mut log, SOURCE_TYPE, time);
        self.map.set_stream(&mut log, synthetic);
        Scored { log: &mut log, map: &self.map }.write(&component.describe(synthetic));
        log
    }

    /// Saves everything.
    async fn end(&mut self) {
        let Some(component) = self.component.take() else { return };
        match tokio::task::spawn_blocking(move || component.shutdown()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => not_saved(&error),
            Err(error) => not_saved(&error),
        }
    }
}

impl TaskTransform<EventArray> for ScoreAnomalies {
    fn transform(
        mut self: Box<Self>,
        mut input: Pin<Box<dyn Stream<Item = EventArray> + Send>>,
    ) -> Pin<Box<dyn Stream<Item = EventArray> + Send>> {
        Box::pin(stream! {
            let mut telemetry = Telemetry::new();
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    events = input.next() => {
                        let Some(mut events) = events else { break };
                        self.score(&mut events).await;
                        yield events;
                    }
                    _ = ticks.tick() => {
                        if let Some(own) = self.tick(&mut telemetry) {
                            yield own;
                        }
                    }
                }
            }
            if let Some(own) = self.tick(&mut telemetry) {
                yield own;
            }
            self.end().await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transform() -> ScoreAnomalies {
        ScoreAnomalies::new(Component::new(Config::default(), Environment::system()).unwrap(), LogNamespace::Vector)
    }

    fn events() -> EventArray {
        let log = LogEvent::try_from(serde_json::json!({"message": "user 17 logged in"})).unwrap();
        EventArray::Logs(vec![log])
    }

    fn is_scored(events: &EventArray) -> bool {
        let EventArray::Logs(logs) = events else { return false };
        let score = |log: &LogEvent| log.as_map()?.get("anomaly")?.as_object()?.get("score").cloned();
        logs.iter().all(|log| score(log).is_some())
    }

    #[tokio::test]
    async fn events_after_a_lost_thread_are_scored() {
        let mut transform = transform();
        transform.open_with(|_| panic!("the thread is lost")).await;
        assert!(transform.component.is_none());
        for _ in 0..2 {
            let mut events = events();
            transform.score(&mut events).await;
            assert!(is_scored(&events));
        }
        assert_eq!(transform.component.unwrap().counts().events_total, 2, "one component, made once");
    }
}
