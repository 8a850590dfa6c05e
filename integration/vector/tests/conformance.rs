//! What every adapter must do, over Vector's log events, through the transform as Vector builds and runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::StreamExt as _;
use oddline::config::{Config, FIELDS, Kind};
use oddline::plugin::conformance::{self, Adapter};
use oddline_vector::ScoreAnomaliesConfig;
use serde_json::Value as Json;
use vector::config::{TransformConfig, TransformContext};
use vector_lib::event::{
    BatchNotifier, BatchStatus, EventArray, EventStatus, Finalizable as _, LogEvent, Metric, MetricKind, MetricValue,
};
use vector_lib::transform::Transform;

struct InVector(tokio::runtime::Runtime);

impl InVector {
    fn new() -> Self {
        Self(tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap())
    }

    fn through(&mut self, config: &Json, events: Vec<EventArray>) -> Result<Vec<EventArray>, String> {
        let config: ScoreAnomaliesConfig = serde_json::from_value(config.clone()).map_err(|error| error.to_string())?;
        self.0.block_on(async {
            let built = config.build(&TransformContext::default()).await.map_err(|error| error.to_string())?;
            let Transform::Task(task) = built else { return Err("expected a task".to_owned()) };
            Ok(task.transform(futures::stream::iter(events).boxed()).collect().await)
        })
    }
}

impl Adapter for InVector {
    fn run(&mut self, config: &Json, events: &[Json]) -> Result<Vec<Json>, String> {
        let logs = events.iter().map(|event| LogEvent::try_from(event.clone()).unwrap()).collect();
        let out = self.through(config, vec![EventArray::Logs(logs)])?;
        let json = |log: LogEvent| -> Json { log.try_into().unwrap() };
        let logs = out.into_iter().flat_map(|events| match events {
            EventArray::Logs(logs) => logs,
            other => panic!("expected logs, found {other:?}"),
        });
        Ok(logs.map(json).collect())
    }
}

#[test]
fn log_events_conform_to_what_every_adapter_must_do() {
    let failures = conformance::check(&mut InVector::new());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn metrics_pass_untouched_and_in_their_place() {
    let metric = Metric::new("answer", MetricKind::Absolute, MetricValue::Counter { value: 42.0 });
    let log = || LogEvent::try_from(serde_json::json!({"message": "user 17 logged in"})).unwrap();
    let events =
        vec![EventArray::Logs(vec![log()]), EventArray::Metrics(vec![metric.clone()]), EventArray::Logs(vec![log()])];
    let out = InVector::new().through(&serde_json::json!({}), events).unwrap();
    assert_eq!(out.len(), 3);
    assert!(matches!(&out[1], EventArray::Metrics(metrics) if *metrics == [metric]));
}

#[test]
fn finalizers_stay_with_their_event() {
    let (batch, mut status) = BatchNotifier::new_with_receiver();
    let log = LogEvent::try_from(serde_json::json!({"message": "user 17 logged in"})).unwrap();
    let events = vec![EventArray::Logs(vec![log.with_batch_notifier(&batch)])];
    drop(batch);
    let mut out = InVector::new().through(&serde_json::json!({}), events).unwrap();
    assert!(status.try_recv().is_err(), "answered before anybody delivered it");
    let finalizers = out[0].take_finalizers();
    assert_eq!(finalizers.len(), 1);
    finalizers.update_status(EventStatus::Delivered);
    drop(finalizers);
    assert_eq!(status.try_recv(), Ok(BatchStatus::Delivered));
}

#[test]
fn options_are_those_of_the_table() {
    let fresh: ScoreAnomaliesConfig = serde_json::from_value(serde_json::json!({})).unwrap();
    let written = serde_json::to_value(fresh).unwrap();
    assert_eq!(Config::from_value(&written, "written").unwrap(), Config::default());
    for field in FIELDS.iter().filter(|field| !matches!(field.kind, Kind::OptionalText(_) | Kind::Sampling)) {
        assert!(written.get(field.key).is_some(), "{}", field.key);
    }
    let unknown = serde_json::from_value::<ScoreAnomaliesConfig>(serde_json::json!({"alert_bugdet": 0.1}));
    assert!(unknown.unwrap_err().to_string().contains("alert_bugdet"));
}
