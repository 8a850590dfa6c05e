//! What an engine tells its journal, and what can be read of it.

#![expect(clippy::unwrap_used, reason = "tests")]

mod engine_support;

use engine_support::{Bed, SECOND};
use oddline::config::{Config, Journal, JournalMessage, TimeSource};
use oddline::engine::notes;
use oddline::event::{Observation, Reason, StreamKey, StreamName, Timestamp};
use oddline::storage::journal::{Incident, Reading};
use oddline::storage::mem_fs::Faults;
use oddline::{Engine, Lane};

const START: i64 = 1_741_946_400 * SECOND;

fn bed() -> Bed {
    let journal = Journal { host: Some("h1".to_owned()), ..Journal::default() };
    Bed::with(Config { journal, time: TimeSource::Event, ..Config::default() })
}

#[derive(Debug)]
struct Named(&'static str);

impl StreamName for Named {
    fn values(&self) -> Vec<Option<String>> {
        vec![Some(self.0.to_owned())]
    }
}

/// A thousand ordinary lines, then one that is not; the id of that.
fn live(lane: &mut Lane) -> String {
    for n in 0..1_000 {
        let line = format!("request {n} served in {} ms", n % 30);
        lane.observe(&Observation::new(line.as_bytes(), Timestamp(START + n * SECOND / 10)));
    }
    let (stream, stream_name) = (StreamKey(7), Some(&Named("web1") as &dyn StreamName));
    let odd = Observation {
        stream,
        stream_name,
        ..Observation::new(b"FATAL disk sda is on fire", Timestamp(START + 100 * SECOND))
    };
    let verdict = lane.observe(&odd);
    assert!(verdict.is_anomaly);
    verdict.event_id.to_string()
}

fn incidents(engine: &Engine) -> Vec<Incident> {
    engine.incidents(&Reading::default()).unwrap().incidents.into_iter().map(|(_, incident)| incident).collect()
}

#[test]
fn an_anomaly_is_readable_at_once_and_after_a_restart() {
    let bed = bed();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    let id = live(&mut lane);
    let now = incidents(&engine);
    let last = now.iter().find(|incident| incident.event_id == id).unwrap();
    assert_eq!((last.stream.as_str(), last.message.as_deref()), ("web1", Some("FATAL disk sda is on fire")));
    assert_eq!((last.time.as_str(), last.synthetic), ("2025-03-14T10:01:40.000000Z", false));
    assert!(last.reasons.contains(&"new_template".to_owned()) && last.detectors.rarity > 0.0);
    lane.close().unwrap();
    engine.close().unwrap();
    assert_eq!(incidents(&bed.open()), now);
    assert_eq!(incidents(&bed.powerless().open()), now, "what was closed is durable");
}

#[test]
fn a_full_disk_changes_no_verdict_and_the_journal_has_all_once_there_is_room() {
    let (bed, twin) = (bed(), bed());
    let (engine, other) = (bed.open(), twin.open());
    bed.fs.set_faults(Faults { capacity_bytes: Some(0), ..Faults::default() });
    let (mut lane, mut beside) = (engine.lane().unwrap(), other.lane().unwrap());
    assert_eq!(live(&mut lane), live(&mut beside));
    bed.fs.set_faults(Faults::default());
    drop(lane);
    drop(beside);
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while engine.stats().journal.unwrap().queued > 0 {
        assert!(std::time::Instant::now() < patience);
        // Closing a clone of the handle asks for a write.
        drop(engine.clone().close());
    }
    assert_eq!(incidents(&engine), incidents(&other));
}

#[test]
fn a_silence_is_an_incident_of_its_own() {
    let bed = Bed::with(Config { time: TimeSource::Event, ..Config::default() });
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    let mut told = 0;
    for second in 0..2_000i64 {
        let now = Timestamp(START + second * SECOND);
        lane.observe(&Observation::new(format!("request {second} served").as_bytes(), now));
        if second % 5 == 0 && second < 1_500 {
            lane.observe(&Observation::new(b"heartbeat of the backup job", now));
        }
        told += lane.take_synthetic().len();
    }
    assert_eq!(told, 1);
    let found = incidents(&engine);
    let silence = found.iter().find(|incident| incident.synthetic).unwrap();
    assert_eq!(silence.reasons, ["silence"]);
    assert_eq!(silence.template, "heartbeat of the backup job");
    assert!(silence.message.is_none() && silence.expected.is_some());
}

#[test]
fn engines_in_memory_and_those_that_only_look_keep_no_journal() {
    let memory = Config { learning_events: 100, ..Config::default() };
    let engine = Engine::open(&memory, oddline::Environment::system()).unwrap();
    live(&mut engine.lane().unwrap());
    assert_eq!((incidents(&engine), engine.stats().journal), (Vec::new(), None));
    let bed = bed();
    bed.open().close().unwrap();
    let before = bed.fs.used_bytes();
    let engine = Engine::inspect(&bed.config, bed.environment()).unwrap();
    live(&mut engine.lane().unwrap());
    drop(engine);
    assert_eq!(bed.fs.used_bytes(), before);
}

#[test]
fn what_is_kept_of_a_message_is_chosen_before_it_reaches_any_disk() {
    let bed = Bed::with(Config { journal_message: JournalMessage::Template, ..bed().config });
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    live(&mut lane);
    assert!(incidents(&engine).iter().all(|incident| incident.message.is_none() && incident.parameters.is_empty()));
}

#[test]
fn a_running_engine_tells_what_was_noted_meanwhile_with_the_next_alert_that_is_like_it() {
    let bed = Bed::with(Config { hold_secs: 0, ..bed().config });
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    let id = live(&mut lane);
    // What is in memory alone is not in the journal that a command reads.
    engine.clone().close().unwrap();
    let fs: std::sync::Arc<dyn oddline::storage::FileSystem> = std::sync::Arc::new(bed.fs.clone());
    notes::note(&bed.config, &fs, id.parse().unwrap(), "root cause: a fan", bed.now()).unwrap();
    bed.checkpoint(&engine, &mut lane);
    let again = lane.observe(&Observation::new(b"FATAL disk sdb is on fire", Timestamp(START + 300 * SECOND)));
    assert!(again.is_anomaly);
    let similar = lane.similar(again.event_id);
    assert_eq!((similar[0].event_id.as_str(), similar[0].note.as_deref()), (id.as_str(), Some("root cause: a fan")));
    assert!(again.reasons().any(|reason| reason == Reason::SimilarIncident), "{again:?}");
}
