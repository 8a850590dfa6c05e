//! The sink `oddline`: learns from log events and keeps their history, and changes nothing.
//!
//! A batch is acknowledged when everything learned from it is on disk, whatever `durability` says. Nothing is learned from it
//! before the data dir is open. While that cannot be opened or written, it is tried again for [`GIVE_UP`]; then the batch is
//! answered as failed, so that a source which can will send it again. A batch in which something panicked is answered so at
//! once: learned from again, it would panic again.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use oddline::config::Config;
use oddline::engine::Environment;
use oddline::plugin::{Component, ComponentError};
use tokio::time::MissedTickBehavior;
use vector::config::{AcknowledgementsConfig, GenerateConfig, Input, SinkConfig, SinkContext};
use vector::sinks::util::SinkBuilderExt;
use vector::sinks::{Healthcheck, VectorSink};
use vector_lib::event::{Event, EventArray, EventStatus, Finalizable, into_event_stream};
use vector_lib::internal_event::{
    ByteSize, BytesSent, CountByteSize, EventsSent, InternalEventHandle, Output, Protocol,
};
use vector_lib::sink::StreamSink;
use vector_lib::stream::BatcherSettings;
use vector_lib::{ByteSizeOf, EstimatedJsonEncodedSizeOf, register};

use crate::config::{OddlineConfig, checked, example};
use crate::event::{Learned, Map};
use crate::is_live;
use crate::telemetry::{Telemetry, not_saved};

/// How often the component learns that time passed.
const TICK: Duration = Duration::from_secs(1);

/// Between two attempts to open or write.
const RETRY: Duration = Duration::from_secs(1);

/// How long a batch waits until it is on disk.
const GIVE_UP: Duration = Duration::from_secs(30);

impl GenerateConfig for OddlineConfig {
    fn generate_config() -> toml::Value {
        example::<Self>(serde_json::json!({"data_dir": "/var/lib/vector/oddline"}))
    }
}

#[async_trait::async_trait]
#[typetag::serde(name = "oddline")]
impl SinkConfig for OddlineConfig {
    async fn build(&self, context: SinkContext) -> vector::Result<(VectorSink, Healthcheck)> {
        let data_dir = is_live(&context.extra_context).then_some(&*self.data_dir);
        let component = Component::new(checked(self, data_dir)?, Environment::system())?;
        let sink = OddlineSink::new(component, self.batch.into_batcher_settings()?);
        Ok((VectorSink::Stream(Box::new(sink)), futures::future::ok(()).boxed()))
    }

    fn input(&self) -> Input {
        Input::log()
    }

    fn acknowledgements(&self) -> &AcknowledgementsConfig {
        &self.acknowledgements
    }
}

type Step = fn(&mut Component) -> Result<(), ComponentError>;

struct OddlineSink {
    /// Nothing when a thread was lost while it held the component; the next batch gets a new one.
    component: Option<Component>,
    config: Config,
    map: Map,
    batch: BatcherSettings,
}

impl OddlineSink {
    fn new(component: Component, batch: BatcherSettings) -> Self {
        let config = component.config().clone();
        Self { map: Map::new(&config, component.layout()), component: Some(component), config, batch }
    }

    fn ensure_component(&mut self) -> Result<(), ComponentError> {
        if self.component.is_none() {
            self.component = Some(Component::new(self.config.clone(), Environment::system())?);
        }
        Ok(())
    }

    /// Learns from a batch and makes it durable.
    async fn keep(&mut self, events: Vec<Event>) -> (Vec<Event>, EventStatus) {
        let until = Instant::now() + GIVE_UP;
        if let Err(error) = self.ensure_component() {
            not_saved(&error);
        }
        if !self.succeeds(Component::ready, until).await {
            return (events, EventStatus::Errored);
        }
        self.learn(&events);
        let is_durable = self.succeeds(Component::sync, until).await;
        (events, if is_durable { EventStatus::Delivered } else { EventStatus::Errored })
    }

    fn learn(&mut self, events: &[Event]) {
        let Some(component) = &mut self.component else { return };
        for event in events {
            if let Event::Log(log) = event {
                component.process(&mut Learned { log, map: &self.map });
            }
        }
    }

    /// Does `step` until it succeeds; false when that takes too long, or cannot be.
    async fn succeeds(&mut self, step: Step, until: Instant) -> bool {
        loop {
            match self.on_pool(step).await {
                Some(Ok(())) => return true,
                Some(Err(error)) => {
                    not_saved(&error);
                    if matches!(error, ComponentError::Incomplete) {
                        return false;
                    }
                }
                None => return false,
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(RETRY).await;
            self.tick();
        }
    }

    /// Does `step` on the pool for blocking work; nothing when its thread is lost.
    async fn on_pool(&mut self, step: Step) -> Option<Result<(), ComponentError>> {
        let mut component = self.component.take()?;
        let (component, result) = tokio::task::spawn_blocking(move || {
            let result = step(&mut component);
            (component, result)
        })
        .await
        .ok()?;
        self.component = Some(component);
        Some(result)
    }

    fn tick(&mut self) {
        if let Some(component) = &mut self.component {
            // Silences have nowhere to go; they are in the engine's own history.
            component.tick(component.now());
        }
    }

    async fn end(&mut self) {
        let Some(component) = self.component.take() else { return };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || component.shutdown()).await {
            not_saved(&error);
        }
    }
}

#[async_trait::async_trait]
impl StreamSink<EventArray> for OddlineSink {
    async fn run(mut self: Box<Self>, input: BoxStream<'_, EventArray>) -> Result<(), ()> {
        let events_sent = register!(EventsSent::from(Output(None)));
        let bytes_sent = register!(BytesSent::from(Protocol("file".into())));
        let mut telemetry = Telemetry::new();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batches = pin!(input.flat_map(into_event_stream).batched(self.batch.as_byte_size_config()));
        loop {
            tokio::select! {
                batch = batches.next() => {
                    let Some(batch) = batch else { break };
                    let (mut events, status) = self.keep(batch).await;
                    if status == EventStatus::Delivered {
                        let json = events.iter().map(EstimatedJsonEncodedSizeOf::estimated_json_encoded_size_of).sum();
                        events_sent.emit(CountByteSize(events.len(), json));
                        bytes_sent.emit(ByteSize(events.iter().map(ByteSizeOf::size_of).sum()));
                    }
                    events.iter_mut().for_each(|event| event.take_finalizers().update_status(status));
                }
                _ = ticks.tick() => {
                    self.tick();
                    if let Some(component) = &mut self.component {
                        telemetry.update(&component.stats());
                    }
                }
            }
        }
        self.end().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use vector_lib::event::LogEvent;

    use super::*;

    #[tokio::test]
    async fn a_batch_after_a_lost_thread_is_kept() {
        let component = Component::new(Config::default(), Environment::system()).unwrap();
        let mut sink = OddlineSink::new(component, BatcherSettings::new(TICK, NonZeroUsize::MAX, NonZeroUsize::MAX));
        sink.component = None;
        let log = LogEvent::try_from(serde_json::json!({"message": "user 17 logged in"})).unwrap();
        let (events, status) = sink.keep(vec![Event::Log(log)]).await;
        assert_eq!((events.len(), status), (1, EventStatus::Delivered));
        assert_eq!(sink.component.unwrap().counts().events_total, 1);
    }
}
