//! Threads that score, and the queue before them.
//!
//! The queue is short: those who wait in it hold permits, and their number is bounded by those. That time passed each thread
//! is told on its own, not through the queue, where an idle one would take what is meant for a busy one. A thread ends when it
//! is told to, behind everything that is in the queue by then; then it saves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::error::ServeError;
use super::http::body::{Body, Part};
use super::otlp::{self, Payload, ScoredPart};
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
    Otlp(otlp::Part, oneshot::Sender<ScoredPart>),
    Tick(Own),
    /// The last tick, and the end.
    Stop(Own),
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
    /// Of each lane; one tick waits at a time.
    ticks: Arc<[mpsc::Sender<Own>]>,
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
    let (mut threads, mut ticks) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for index in 0..count {
        let mut component = first.clone();
        component.open()?;
        let (tick, lane_ticks) = mpsc::channel(1);
        ticks.push(tick);
        let mut lane = Lane { scorer: LineScorer::new(component), ticks: lane_ticks, waits };
        let queue = Arc::clone(&queue);
        // For waiting alone, so that it needs neither timers nor sockets.
        let waiting = runtime::Builder::new_current_thread().build().map_err(ServeError::Thread)?;
        let thread = Builder::new().name(format!("oddline-lane-{index}")).spawn(move || {
            lane.work(|lane| waiting.block_on(lane.next_job(&queue)));
            lane.scorer.into_component().shutdown().map_err(ServeError::from)
        });
        threads.push(thread.map_err(ServeError::Thread)?);
    }
    let component = Arc::new(std::sync::Mutex::new(Some(first)));
    Ok((Lanes { jobs, ticks: ticks.into(), tick_every, is_ending: Arc::default(), component }, Threads(threads)))
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

    /// Scores records of OpenTelemetry.
    pub(super) async fn otlp(&self, part: otlp::Part, until: Instant) -> Result<ScoredPart, Lost> {
        self.ask(|answer| Job::Otlp(part, answer), until).await
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
            if self.jobs.is_closed() {
                return;
            }
            for tick in &*self.ticks {
                // One that is full has a tick before it still.
                let _ = tick.try_send(own.clone());
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
        for _ in &*self.ticks {
            // Each takes one. An error: the threads have ended already.
            let _ = self.jobs.send(Job::Stop(own.clone())).await;
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
    ticks: mpsc::Receiver<Own>,
    /// Whether what was learned must be on disk before events go on.
    waits: bool,
}

impl Lane {
    /// Does what `next` finds until that is the end.
    fn work(&mut self, next: impl Fn(&mut Self) -> Option<Job>) {
        while let Some(job) = next(self) {
            let is_last = matches!(job, Job::Stop(_));
            // The component contains its own panics; one in the code around it drops the job's answer, and the request
            // goes on as it came.
            if let Err(panic) = guard(|| self.job(job)) {
                tracing::error!(%panic, "a request was not scored");
            }
            if is_last {
                return;
            }
        }
    }

    /// Its tick, when it is time, or else what is next in the queue. Waiting for either takes nothing from the other.
    async fn next_job(&mut self, queue: &Mutex<mpsc::Receiver<Job>>) -> Option<Job> {
        tokio::select! {
            biased;
            Some(own) = self.ticks.recv() => Some(Job::Tick(own)),
            // Released before the work, so that the other threads take the next jobs.
            job = async { queue.lock().await.recv().await } => job,
        }
    }

    /// Answers are for whoever asked. Who has gone by now sends it again, so that it must not be learned here.
    fn job(&mut self, job: Job) {
        match job {
            Job::Request(_, answer) if answer.is_closed() => {}
            Job::Body(_, answer) if answer.is_closed() => {}
            Job::Otlp(_, answer) if answer.is_closed() => {}
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
            Job::Otlp(part, answer) => {
                let scored = part.score(self.scorer.component());
                self.commit();
                let _ = answer.send(scored);
            }
            Job::Tick(own) | Job::Stop(own) => self.tick(&own),
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
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::event::Timestamp;

    /// Tells which lane looks at it, and waits for its leave.
    #[derive(Debug)]
    struct Watched {
        looks: Sender<(String, Sender<()>)>,
    }

    impl Clock for Watched {
        fn now(&self) -> Timestamp {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            let (leave, waits) = channel();
            if thread.starts_with("oddline-lane-") && self.looks.send((thread, leave)).is_ok() {
                // Gone: nobody watches any more.
                let _ = waits.recv();
            }
            SystemClock.now()
        }
    }

    /// Waits until the lane looks at the clock; others that do get leave.
    fn until(looks: &Receiver<(String, Sender<()>)>, is_meant: impl Fn(&str) -> bool) -> (String, Sender<()>) {
        loop {
            let look = looks.recv_timeout(Duration::from_secs(20)).expect("a lane that looks at the clock");
            if is_meant(&look.0) {
                return look;
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_busy_lane_gets_its_tick_however_many_an_idle_one_takes_meanwhile() {
        let (sender, looks) = channel();
        let environment = Environment { clock: Arc::new(Watched { looks: sender }), ..Environment::system() };
        let config = Config { flush_interval_ms: 10, ..Config::default() };
        let (lanes, threads) = start(config, environment, 2).unwrap();
        let ask = |lanes: Lanes| async move {
            let part = Body::new(None, Bytes::from_static(b"hello")).parts(1).unwrap().remove(0);
            lanes.score(part, Instant::now() + Duration::from_secs(60)).await
        };
        let asked = tokio::spawn(ask(lanes.clone()));
        let (busy, leave) = until(&looks, |_| true);
        let ticking = tokio::spawn(lanes.clone().tick(Own::default()));
        for _ in 0..5 {
            until(&looks, |lane| lane != busy);
        }
        ticking.abort();
        assert!(ticking.await.unwrap_err().is_cancelled());
        // Through the queue, behind whatever else is in it.
        let idle = tokio::spawn(ask(lanes.clone()));
        while !idle.is_finished() {
            let _ = looks.recv_timeout(Duration::from_millis(10));
        }
        drop(leave);
        asked.await.unwrap().unwrap();
        until(&looks, |lane| lane == busy);
        drop(looks);
        lanes.close(threads, Own::default()).await.unwrap();
    }

    /// Lanes of which only the queue is there.
    fn without_threads(jobs: mpsc::Sender<Job>) -> Lanes {
        Lanes {
            jobs,
            ticks: Arc::default(),
            tick_every: Duration::from_secs(1),
            is_ending: Arc::default(),
            component: Arc::default(),
        }
    }

    #[tokio::test]
    async fn who_asks_a_queue_nobody_works_on_is_told_whether_that_is_the_end() {
        let (jobs, queue) = mpsc::channel(QUEUE);
        drop(queue);
        let lanes = without_threads(jobs);
        let until = Instant::now() + Duration::from_secs(60);
        assert_eq!(lanes.enrich(Bytes::new(), until).await.unwrap_err(), Lost::Lane);
        lanes.is_ending.store(true, Ordering::Release);
        assert_eq!(lanes.enrich(Bytes::new(), until).await.unwrap_err(), Lost::Ending);
        assert!(lanes.stats().is_none());
    }

    #[tokio::test]
    async fn nobody_waits_any_more_for_what_no_lane_came_to_in_time() {
        let (jobs, mut queue) = mpsc::channel(QUEUE);
        let lanes = without_threads(jobs);
        let until = Instant::now() + Duration::from_millis(10);
        assert_eq!(lanes.enrich(Bytes::new(), until).await.unwrap_err(), Lost::Late);
        assert!(matches!(queue.try_recv().unwrap(), Job::Request(_, answer) if answer.is_closed()));
    }
}
