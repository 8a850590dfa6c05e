//! What the user says of templates reaches a running engine, survives, and can be taken back.

#![allow(clippy::unwrap_used)]

mod engine_support;

use std::sync::Arc;

use engine_support::Bed;
use oddline::Lane;
use oddline::clock::Clock;
use oddline::config::{Config, EventRule, RuleAction, RuleMatch};
use oddline::engine::feedback::{FeedbackError, FeedbackFile, Opinion, Said, template_named, template_of};
use oddline::event::{EventId, Observation, Reason, Ruling, TemplateId, Timestamp, Verdict};
use oddline::storage::FileSystem;

fn say(bed: &Bed, id: TemplateId, opinion: Opinion) {
    let said =
        Said { template_id: id.to_string(), opinion, template: None, event_id: None, said_at_ms: 0, silence: None };
    edit(bed, |feedback| feedback.say(said)).unwrap();
}

fn edit<T>(
    bed: &Bed,
    change: impl FnOnce(&mut oddline::engine::feedback::Feedback) -> Result<T, FeedbackError>,
) -> Result<T, FeedbackError> {
    FeedbackFile::edit(Arc::new(bed.fs.clone()), bed.dir(), bed.clock.now(), change)
}

fn observe(lane: &mut Lane, n: i64, text: &str) -> Verdict {
    lane.observe(&Observation::new(text.as_bytes(), Timestamp(1_000_000_000 + n * 1_000_000)))
}

fn routine(lane: &mut Lane, from: i64, count: i64) -> Vec<Verdict> {
    (from..from + count).map(|n| observe(lane, n, &format!("request {n} served in {} ms", n % 40))).collect()
}

#[test]
fn an_engine_that_runs_takes_up_what_is_said_and_what_is_taken_back() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    let id = routine(&mut lane, 0, 500)[0].template;
    say(&bed, id, Opinion::Flag);
    // The writer reads the file before it writes a checkpoint; the lane heeds it at its next fold.
    engine.checkpoint().unwrap();
    bed.advance(2, &mut lane);
    let flagged = &routine(&mut lane, 500, 3)[2];
    assert!(flagged.is_anomaly && flagged.ruling == Some(Ruling::feedback(true)));
    assert_eq!(flagged.reasons().next(), Some(Reason::Rule));
    assert!(edit(&bed, |feedback| Ok(feedback.remove(&id.to_string()))).unwrap());
    engine.checkpoint().unwrap();
    bed.advance(2, &mut lane);
    assert!(routine(&mut lane, 503, 3).iter().all(|verdict| !verdict.is_anomaly && verdict.ruling.is_none()));
}

#[test]
fn what_is_said_while_no_engine_runs_counts_from_its_first_event_on() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    routine(&mut lane, 0, 1_500);
    let odd = observe(&mut lane, 1_500, "disk sda failed");
    assert!(odd.is_anomaly);
    lane.close().unwrap();
    engine.close().unwrap();
    say(&bed, odd.template, Opinion::Accept);
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    let again = observe(&mut lane, 5_000, "disk sda failed");
    assert!(!again.is_anomaly && !again.suppressed && again.ruling == Some(Ruling::feedback(false)), "{again:?}");
}

#[test]
fn what_is_like_a_flagged_template_is_told_as_a_similar_incident() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    routine(&mut lane, 0, 1_500);
    let odd = observe(&mut lane, 1_500, "controller: disk sda failed after 17 retries");
    let template = Some("controller: disk <*> failed after <*> retries".to_owned());
    let (template_id, opinion) = (odd.template.to_string(), Opinion::Flag);
    let said = Said { template_id, opinion, template, event_id: None, said_at_ms: 0, silence: None };
    edit(&bed, |feedback| feedback.say(said)).unwrap();
    engine.checkpoint().unwrap();
    bed.advance(2, &mut lane);
    routine(&mut lane, 1_501, 200);
    let like = observe(&mut lane, 1_800, "controller: tape st0 failed after 3 retries");
    assert!(like.is_anomaly && like.reasons().any(|reason| reason == Reason::SimilarIncident), "{like:?}");
    let unlike = observe(&mut lane, 1_801, "user bob logged in");
    assert!(unlike.reasons().all(|reason| reason != Reason::SimilarIncident), "{unlike:?}");
}

#[test]
fn a_checkpoint_keeps_a_copy_for_when_the_file_is_lost_or_damaged() {
    let bed = Bed::new();
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    let id = routine(&mut lane, 0, 200)[0].template;
    say(&bed, id, Opinion::Flag);
    engine.checkpoint().unwrap();
    engine.checkpoint().unwrap();
    let file = bed.dir().join("feedback/feedback");
    let lost = bed.killed();
    lost.fs.remove(&lost.dir().join("feedback/feedback")).unwrap();
    let damaged = bed.killed();
    damaged.damage(&damaged.dir().join("feedback/feedback"), -20);
    assert!(bed.fs.read(&file).is_ok());
    for (bed, is_damaged) in [(&lost, false), (&damaged, true)] {
        let engine = bed.open();
        assert_eq!(engine.recovery().is_damaged(), is_damaged, "{:?}", engine.recovery());
        assert!(routine(&mut engine.lane().unwrap(), 300, 1)[0].is_anomaly);
    }
    let read = FeedbackFile::read(Arc::new(lost.fs.clone()), lost.dir()).unwrap();
    assert_eq!(read.feedback().said()[0].template_id, id.to_string());
    let error = FeedbackFile::read(Arc::new(damaged.fs.clone()), damaged.dir()).unwrap_err();
    assert!(error.to_string().contains("feedback"), "{error}");
}

#[test]
fn a_rule_goes_over_what_was_said() {
    let matches = RuleMatch::Regex { regex: "^request".to_owned() };
    let rules = vec![EventRule { name: "mine".to_owned(), matches, action: RuleAction::Never }];
    let bed = Bed::with(Config { rules, ..Config::default() });
    let id = {
        let engine = bed.open();
        let mut lane = engine.lane().unwrap();
        routine(&mut lane, 0, 10)[0].template
    };
    say(&bed, id, Opinion::Flag);
    let engine = bed.open();
    let verdict = routine(&mut engine.lane().unwrap(), 20, 1)[0];
    assert_eq!((verdict.is_anomaly, verdict.ruling), (false, Some(Ruling::rule(0, false))));
}

#[test]
fn an_event_leads_to_its_template_through_the_log_and_through_chunks() {
    let bed = Bed::with(Config { wal_segment_bytes: 64 << 10, ..Config::default() });
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    let first = observe(&mut lane, 0, "service started");
    routine(&mut lane, 1, 30_000);
    bed.checkpoint(&engine, &mut lane);
    routine(&mut lane, 40_000, 30_000);
    bed.checkpoint(&engine, &mut lane);
    bed.checkpoint(&engine, &mut lane);
    let last = observe(&mut lane, 80_000, "service stopped");
    lane.commit().unwrap();
    assert!(bed.chunks().iter().any(|chunk| chunk.id.first_event == 0), "the first event is in a chunk");
    let find = |id: EventId| template_of(&bed.fs, bed.dir(), id).unwrap();
    assert_eq!(find(first.event_id), Some(first.template));
    assert_eq!(find(last.event_id), Some(last.template));
    assert_eq!(find(EventId { number: 1 << 38, ..last.event_id }), None);
    assert_eq!(find(EventId { lane: 9, ..last.event_id }), None);
    assert_eq!(find(EventId { run: 77, ..last.event_id }), None);
    // Once the log before it is gone, only the chunk knows.
    for segment in bed.segments(0) {
        bed.fs.remove(&segment).unwrap();
    }
    assert_eq!(find(first.event_id), Some(first.template));
    let named = |id| template_named(&bed.fs, bed.dir(), &bed.config, id).unwrap();
    let known = named(first.template).unwrap();
    assert_eq!((known.ids, known.text.as_str()), (vec![first.template], "service started"));
    assert_eq!(named(TemplateId(5)), None);
}

#[test]
fn one_at_a_time_may_say_something() {
    let bed = Bed::new();
    let inner = edit(&bed, |_| Ok(edit(&bed, |_| Ok(())).map_err(|error| error.to_string()))).unwrap();
    assert!(inner.is_err(), "the directory is locked meanwhile");
    edit(&bed, |_| Ok(())).unwrap();
}
