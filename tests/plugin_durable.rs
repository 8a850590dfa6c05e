//! What an adapter that answers for its events is told: only what was taken is called durable.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;

use std::borrow::Cow;
use std::sync::Arc;

use engine_support::{Bed, SECOND};
use oddline::event::Timestamp;
use oddline::plugin::{Component, ComponentError, Enrichment, Event, Input, Scalar, Written};
use oddline::storage::DataDirLock;
use oddline::storage::mem_fs::Faults;
use oddline::{Engine, Environment};

/// An event that is only learned from; without a text, reading it panics.
struct Line(Option<&'static str>);

impl Event for Line {
    fn read(&self, input: Input) -> Option<Scalar<'_>> {
        match input {
            Input::Message => Some(Scalar::Text(Cow::Borrowed(self.0.expect("a poisoned event").as_bytes()))),
            _ => None,
        }
    }

    fn write(&mut self, _: &Enrichment<'_>) -> Written {
        Written::Fields
    }
}

fn component(bed: &Bed) -> Component {
    Component::new(bed.config.clone(), bed.environment()).unwrap()
}

fn learn(component: &mut Component, events: usize) {
    for _ in 0..events {
        component.process(&mut Line(Some("user 17 logged in")));
    }
}

/// What a power cut would leave at this moment.
fn events_on_disk(bed: &Bed, component: Component) -> u64 {
    let disk = bed.fs.durable_copy();
    component.shutdown().unwrap();
    let environment = Environment { fs: Arc::new(disk), ..bed.environment() };
    Engine::open(&bed.config, environment).unwrap().stats().events_total
}

fn is_incomplete(result: Result<(), ComponentError>) -> bool {
    matches!(result, Err(ComponentError::Incomplete))
}

#[test]
fn what_came_while_another_held_the_data_dir_is_not_called_durable() {
    let bed = Bed::new();
    let held = DataDirLock::acquire(bed.dir(), bed.now()).unwrap();
    let mut component = component(&bed);
    learn(&mut component, 3);
    drop(held);
    assert!(is_incomplete(component.sync()));
    assert!(is_incomplete(component.sync()), "asking again makes it no truer");
    component.ready().unwrap();
    learn(&mut component, 3);
    component.sync().unwrap();
    assert_eq!(events_on_disk(&bed, component), 3);
}

#[test]
fn an_adapter_learns_before_anything_is_handed_over_that_the_data_dir_is_held() {
    let bed = Bed::new();
    let held = DataDirLock::acquire(bed.dir(), bed.now()).unwrap();
    let mut component = component(&bed);
    for attempts in 1..3 {
        assert!(matches!(component.ready(), Err(ComponentError::Engine(_))));
        let stats = component.stats();
        assert_eq!(stats.counts.open_failures_total, attempts);
        assert!(stats.last_error.is_some());
    }
    drop(held);
    component.ready().unwrap();
    learn(&mut component, 3);
    component.sync().unwrap();
    let stats = component.stats();
    assert_eq!((stats.counts.events_unscored_total, stats.last_error), (0, None));
}

#[test]
fn a_panic_in_the_middle_is_told_and_what_is_handed_over_again_is_durable() {
    let bed = Bed::new();
    let mut component = component(&bed);
    component.ready().unwrap();
    learn(&mut component, 2);
    component.process(&mut Line(None));
    learn(&mut component, 2);
    assert!(is_incomplete(component.sync()));
    component.ready().unwrap();
    learn(&mut component, 5);
    component.sync().unwrap();
    assert_eq!(component.counts().panics_total, 1);
    assert_eq!(events_on_disk(&bed, component), 7, "two of them twice, and none in vain");
}

#[test]
fn an_event_without_a_message_has_nothing_to_take() {
    struct Nothing;
    impl Event for Nothing {
        fn read(&self, _: Input) -> Option<Scalar<'_>> {
            None
        }
        fn write(&mut self, _: &Enrichment<'_>) -> Written {
            Written::Fields
        }
    }
    let mut component = component(&Bed::new());
    component.ready().unwrap();
    component.process(&mut Nothing);
    component.sync().unwrap();
}

#[test]
fn while_what_was_learned_cannot_be_written_nothing_more_is_asked_for() {
    let bed = Bed::new();
    let mut component = component(&bed);
    component.ready().unwrap();
    learn(&mut component, 3);
    bed.fs.set_faults(Faults { sync: true, ..Faults::default() });
    assert!(component.sync().is_err());
    assert!(component.ready().is_err());
    bed.fs.set_faults(Faults::default());
    bed.clock.set(Timestamp(bed.now().0 + 60 * SECOND));
    let mut attempts = 0;
    while component.ready().is_err() {
        attempts += 1;
        assert!(attempts < 10, "the disk works again");
        component.tick(component.now());
    }
    component.sync().unwrap();
    assert_eq!(events_on_disk(&bed, component), 3);
}
