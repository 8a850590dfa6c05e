//! Threads that score, and the queue before them.
//!
//! The queue is short: those who wait in it hold permits, and their number is bounded by those. A thread ends when it
//! is told to, behind everything that is in the queue by then; then it saves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::error::ServeError;
use super::http::body::{Body, Part};
use super::otlp::{OtlpError, Payload};
use super::vector::batch::{self, BatchError, Enriched};
use crate::config::{Config, Durability};
use crate::engine::{Engine, Environment, Synthetic};
use crate::plugin::{Component, ComponentStats, Layout, LineScorer, guard};

/// Jobs that wait.
const QUEUE: usize = 16;

/// When a request that goes on must be scored: half of its time is the next hop's, so that what was learned is also sent.
pub(super) fn scoring_ends(request_timeout: Duration) -> Instant {
    Instant::now() + request_timeout / 2
}

enum Job {
    Request(Bytes, oneshot::Sender<Result<Enriched, BatchError>>),
    Body(Part, oneshot::Sender<Vec<u8>>),
    Otlp(Payload, usize, oneshot::Sender<Result<Payload, OtlpError>>),
    Tick(Own),
    Stop,
}

/// Where events of oddline's own go, if anywhere.
#[derive(Clone, Default)]
pub(super) struct Own {
    pub(super) vector: Option<mpsc::Sender<Enriched>>,
    pub(super) http: Option<mpsc::Sender<Body>>,
    pub(super) otlp: Option<mpsc::Sender<Payload>>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lost {
    /// The sidecar is ending.
    #[error("the sidecar is ending")]
    Ending,
    /// A lane failed in the middle of it; a bug.
    #[error("no lane answered")]
    Lane,
    /// Others came first.
    #[error("no lane came to it in time (request_timeout_secs): come again")]
    Late,
}

/// Hands work to the threads.
#[derive(Clone)]
pub(crate) struct Lanes {
    jobs: mpsc::Sender<Job>,
    count: usize,
    /// How often lanes learn that time passed.
    tick_every: Duration,
    is_ending: Arc<AtomicBool>,
    /// Scores nothing; for figures. Nothing once the threads were told to end.
    component: Arc<std::sync::Mutex<Option<Component>>>,
}

/// The threads.
pub(super) struct Threads(Vec<JoinHandle<Result<(), ServeError>>>);

/// Opens the engine and starts the threads.
pub(super) fn start(config: Config, environment: Environment, count: usize) -> Result<(Lanes, Threads), ServeError> {
    let waits = config.durability == Durability::Always;
    let tick_every = config.tick_interval();
    let first = Component::new(config, environment)?;
    let (jobs, queue) = mpsc::channel(QUEUE);
    let queue = Arc::new(Mutex::new(queue));
    let mut threads = Vec::with_capacity(count);
    for index in 0..count {
        let mut component = first.clone();
        component.open()?;
        let mut lane = Lane { scorer: LineScorer::new(component), waits };
        let queue = Arc::clone(&queue);
        let thread = Builder::new().name(format!("oddline-lane-{index}")).spawn(move || {
            lane.work(&queue);
            lane.scorer.into_component().shutdown().map_err(ServeError::from)
        });
        threads.push(thread.map_err(ServeError::Thread)?);
    }
    let component = Arc::new(std::sync::Mutex::new(Some(first)));
    Ok((Lanes { jobs, count, tick_every, is_ending: Arc::default(), component }, Threads(threads)))
}

impl Threads {
    /// Waits until every thread has saved.
    fn join(self) -> Result<(), ServeError> {
        let mut result = Ok(());
        for thread in self.0 {
            let ended = thread.join().unwrap_or_else(|_| {
                Err(ServeError::Ended { what: "a lane", message: "a panic, please report it".to_owned() })
            });
            result = result.and(ended);
        }
        result
    }
}

impl Lanes {
    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job, until: Instant) -> Result<T, Lost> {
        let (answer, answered) = oneshot::channel();
        let lost = |_| if self.is_ending.load(Ordering::Acquire) { Lost::Ending } else { Lost::Lane };
        let asked = async {
            self.jobs.send(job(answer)).await.map_err(|_| lost(()))?;
            answered.await.map_err(|_| lost(()))
        };
        timeout_at(until, asked).await.unwrap_or(Err(Lost::Late))
    }

    /// Scores the events of a part of a request. What no lane came to `until` then teaches nothing, here and below.
    pub(super) async fn enrich(&self, part: Bytes, until: Instant) -> Result<Result<Enriched, BatchError>, Lost> {
        self.ask(|answer| Job::Request(part, answer), until).await
    }

    /// Scores the events of a part of an HTTP body.
    pub(super) async fn score(&self, part: Part, until: Instant) -> Result<Vec<u8>, Lost> {
        self.ask(|answer| Job::Body(part, answer), until).await
    }

    /// Scores the records of OpenTelemetry.
    pub(super) async fn otlp(
        &self,
        payload: Payload,
        max_records: usize,
        until: Instant,
    ) -> Result<Result<Payload, OtlpError>, Lost> {
        self.ask(|answer| Job::Otlp(payload, max_records, answer), until).await
    }

    /// Which fields are read and written; nothing when the sidecar is ending.
    pub(super) fn layout(&self) -> Option<Arc<Layout>> {
        self.component.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Component::layout)
    }

    /// Ticks for good; events of oddline's own go to `own`.
    pub(super) async fn tick(self, own: Own) {
        let mut every = tokio::time::interval(self.tick_every);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            every.tick().await;
            // The queue is taken from in turns: each lane gets one.
            for _ in 0..self.count {
                if self.jobs.send(Job::Tick(own.clone())).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Figures of component and engine; nothing when the sidecar is ending.
    pub(super) fn stats(&self) -> Option<ComponentStats> {
        self.component.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(Component::stats)
    }

    /// The engine, once it is open.
    pub(super) fn engine(&self) -> Option<Engine> {
        self.component.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Component::engine)
    }

    /// Ends the threads once everything before is done, and saves. What oddline has to say by then goes to `own`.
    pub(super) async fn close(self, threads: Threads, own: Own) -> Result<(), ServeError> {
        self.is_ending.store(true, Ordering::Release);
        let last = (0..self.count).map(|_| Job::Tick(own.clone())).chain((0..self.count).map(|_| Job::Stop));
        for job in last {
            // An error: the threads have ended already.
            let _ = self.jobs.send(job).await;
        }
        drop(own);
        let last = self.component.lock().unwrap_or_else(PoisonError::into_inner).take();
        let joined = tokio::task::spawn_blocking(move || {
            let joined = threads.join();
            let saved = last.map_or(Ok(()), |component| component.shutdown().map_err(ServeError::from));
            joined.and(saved)
        });
        joined.await.unwrap_or_else(|error| Err(ServeError::Ended { what: "saving", message: error.to_string() }))
    }
}

struct Lane {
    scorer: LineScorer,
    /// Whether what was learned must be on disk before events go on.
    waits: bool,
}

impl Lane {
    fn work(&mut self, queue: &Mutex<mpsc::Receiver<Job>>) {
        loop {
            // Released before the work, so that the other threads take the next jobs.
            let job = queue.blocking_lock().blocking_recv();
            match job {
                None | Some(Job::Stop) => return,
                // The component contains its own panics; one in the code around it drops the job's answer, and the
                // request goes on as it came.
                Some(job) => {
                    if let Err(panic) = guard(|| self.job(job)) {
                        tracing::error!(%panic, "a request was not scored");
                    }
                }
            }
        }
    }

    /// Answers are for whoever asked. Who has gone by now sends it again, so that it must not be learned here.
    fn job(&mut self, job: Job) {
        match job {
            Job::Request(_, answer) if answer.is_closed() => {}
            Job::Body(_, answer) if answer.is_closed() => {}
            Job::Otlp(_, _, answer) if answer.is_closed() => {}
            Job::Request(request, answer) => {
                let enriched = batch::enrich(&request, self.scorer.component());
                self.commit();
                let _ = answer.send(enriched);
            }
            Job::Body(part, answer) => {
                let scored = part.score(&mut self.scorer);
                self.commit();
                let _ = answer.send(scored);
            }
            Job::Otlp(payload, max_records, answer) => {
                let scored = payload.score(max_records, self.scorer.component());
                self.commit();
                let _ = answer.send(scored);
            }
            Job::Tick(own) => self.tick(&own),
            Job::Stop => {}
        }
    }

    fn tick(&mut self, own: &Own) {
        let component = self.scorer.component();
        let now = component.now();
        let events = component.tick(now);
        if !events.is_empty() && !self.report(&events, own) {
            tracing::warn!(events = events.len(), "reports of silence were dropped: no next hop takes them");
        }
    }

    /// Whether anybody took the events.
    fn report(&mut self, events: &[Synthetic], own: &Own) -> bool {
        if let Some(vector) = &own.vector {
            return vector.try_send(batch::synthetic(events, self.scorer.component())).is_ok();
        }
        if let Some(http) = &own.http {
            return http.try_send(Body::synthetic(events, &self.scorer)).is_ok();
        }
        let otlp = own.otlp.as_ref();
        otlp.is_some_and(|otlp| otlp.try_send(Payload::synthetic(events, self.scorer.component())).is_ok())
    }

    fn commit(&mut self) {
        if self.waits
            && let Err(error) = self.scorer.component().flush()
        {
            tracing::warn!(%error, "what was learned could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_a_queue_nobody_works_on_is_told_whether_that_is_the_end() {
        let (jobs, queue) = mpsc::channel(QUEUE);
        drop(queue);
        let lanes = Lanes {
            jobs,
            count: 1,
            tick_every: Duration::from_secs(1),
            is_ending: Arc::default(),
            component: Arc::default(),
        };
        let until = Instant::now() + Duration::from_secs(60);
        assert_eq!(lanes.enrich(Bytes::new(), until).await.unwrap_err(), Lost::Lane);
        lanes.is_ending.store(true, Ordering::Release);
        assert_eq!(lanes.enrich(Bytes::new(), until).await.unwrap_err(), Lost::Ending);
        assert!(lanes.stats().is_none());
    }

    #[tokio::test]
    async fn nobody_waits_any_more_for_what_no_lane_came_to_in_time() {
        let (jobs, mut queue) = mpsc::channel(QUEUE);
        let lanes = Lanes {
            jobs,
            count: 1,
            tick_every: Duration::from_secs(1),
            is_ending: Arc::default(),
            component: Arc::default(),
        };
        let until = Instant::now() + Duration::from_millis(10);
        assert_eq!(lanes.enrich(Bytes::new(), until).await.unwrap_err(), Lost::Late);
        assert!(matches!(queue.try_recv().unwrap(), Job::Request(_, answer) if answer.is_closed()));
    }
}
