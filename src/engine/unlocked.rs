//! A known template waits for no other thread: tests that hold every lock the lanes share while one of them scores.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Engine;
use super::lane::Lane;
use super::open::Environment;
use crate::config::{Config, Mask, Wildcards};
use crate::event::{Observation, Timestamp};

/// Far longer than it takes; a lane that waits for a lock waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

const LINES: usize = 2_000;

fn observe(lane: &mut Lane, first: usize) {
    for n in first..first + LINES {
        let line = match n % 3 {
            0 => format!("Received block blk_{n} of size {} from /10.0.0.{}", n * 31, n % 250),
            1 => format!("login of {} took {n} ms", ["ann", "bob", "cy"][n / 3 % 3]),
            _ => format!("session opened for user u{n} by (uid=0)"),
        };
        let verdict = lane.observe(&Observation::new(line.as_bytes(), Timestamp(n as i64 * 1_000)));
        assert!(lane.template_text(verdict.template).is_some());
        assert!(lane.parameters(line.as_bytes()).count() > 0);
    }
}

#[test]
fn known_templates_are_scored_and_told_while_another_thread_holds_every_lock_of_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        data_dir: Some(dir.path().to_owned()),
        merge_after: 3,
        wildcards: Wildcards::Typed,
        masks: vec![Mask { name: "block".to_owned(), regex: "blk_[0-9]+".to_owned() }],
        ..Config::default()
    };
    let engine = Engine::open(&config, Environment::system()).unwrap();
    let mut lane = engine.lane().unwrap();
    observe(&mut lane, 0);
    let held = engine.hold_every_lock();
    let (done, is_done) = mpsc::channel();
    let scoring = thread::spawn(move || {
        observe(&mut lane, LINES);
        done.send(()).unwrap();
        lane
    });
    let answer = is_done.recv_timeout(PATIENCE);
    drop(held);
    scoring.join().unwrap().close().unwrap();
    assert!(answer.is_ok(), "a known template waited for a lock");
}
