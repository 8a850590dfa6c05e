//! The path of a known template allocates nothing.

#![allow(unsafe_code, clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use oddline::config::{Config, Fields, Mask, Wildcards};
use oddline::event::{Observation, StreamKey, Timestamp};
use oddline::plugin::{Component, Enrichment, Event, Input, Scalar, Written};
use oddline::{Engine, Environment};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: hands every call to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more, and is not the one measured.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn lines(from: usize) -> Vec<String> {
    (from..from + 5_000)
        .map(|n| match n % 3 {
            0 => format!("INFO dfs.DataNode: Received block blk_{n} of size {} from /10.0.0.{}", n * 31, n % 250),
            1 => format!("session opened for user u{}x by (uid=0)", (b'a' + (n % 26) as u8) as char),
            _ => format!("at Mon Jul {} 14:52:27 2005 key={n} took 4.0 KB", n % 28 + 1),
        })
        .collect()
}

const HOSTS: [&str; 3] = ["db1", "db2", "web7"];

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn allocations_on_known_templates(config: &Config) -> u64 {
    allocations_on_streams(config, &[])
}

fn allocations_on_streams(config: &Config, hosts: &[&str]) -> u64 {
    let engine = Engine::open(config, Environment::system()).unwrap();
    let mut lane = engine.lane().unwrap();
    let mut observe = |n: usize, line: &String| {
        let host = hosts.get(n % hosts.len().max(1));
        let stream = host.map_or_else(StreamKey::default, |host| StreamKey::of_values([Some(host)].into_iter()));
        let observation = Observation { stream, ..Observation::new(line.as_bytes(), Timestamp(n as i64 * 1_000)) };
        let verdict = lane.observe(&observation);
        if config.parameters {
            let has_text = lane.template_text(verdict.template).is_some();
            assert!(has_text && lane.parameters(line.as_bytes()).count() > 0);
        }
    };
    lines(0).iter().enumerate().for_each(|(n, line)| observe(n, line));
    let fresh = lines(5_000);
    allocations_of(|| fresh.iter().enumerate().for_each(|(n, line)| observe(5_000 + n, line)))
}

/// As an agent holds it: fields that can be lent, and a place for what is written.
struct AgentEvent<'a> {
    message: &'a str,
    host: &'a str,
    level: &'a str,
    fields: usize,
}

impl Event for AgentEvent<'_> {
    fn read(&self, input: Input) -> Option<Scalar<'_>> {
        let text = match input {
            Input::Message => self.message,
            Input::Partition(0) => self.host,
            Input::Level => self.level,
            _ => return None,
        };
        Some(Scalar::Text(text.as_bytes().into()))
    }

    fn write(&mut self, enrichment: &Enrichment<'_>) -> Written {
        enrichment.for_each(|_, value| {
            std::hint::black_box(value);
            self.fields += 1;
        });
        Written::Fields
    }
}

fn allocations_of_a_component(config: Config) -> u64 {
    let mut component = Component::new(config, Environment::system()).unwrap();
    let mut process = |n: usize, message: &str| {
        let mut event = AgentEvent { message, host: HOSTS[n % 3], level: "info", fields: 0 };
        let outcome = component.process(&mut event);
        assert!(outcome.verdict.is_some() && event.fields > 3);
    };
    lines(0).iter().enumerate().for_each(|(n, line)| process(n, line));
    let fresh = lines(5_000);
    allocations_of(|| fresh.iter().enumerate().for_each(|(n, line)| process(5_000 + n, line)))
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

#[test]
fn five_thousand_fresh_lines_of_known_templates_allocate_nothing_in_memory() {
    assert_eq!(allocations_on_known_templates(&Config::default()), 0);
}

#[test]
fn nor_do_they_with_masks_of_the_user_s_and_templates_that_words_made() {
    let masks = vec![Mask { name: "block".to_owned(), regex: "blk_[0-9]+".to_owned() }];
    let seed_templates = vec!["session opened for <*> <*> by (uid=<*>)".to_owned()];
    assert_eq!(allocations_on_known_templates(&Config { masks, seed_templates, ..Config::default() }), 0);
}

#[test]
fn nor_when_wildcards_show_what_they_met() {
    let masks = vec![Mask { name: "block".to_owned(), regex: "blk_[0-9]+".to_owned() }];
    assert_eq!(allocations_on_known_templates(&Config { wildcards: Wildcards::Typed, masks, ..Config::default() }), 0);
}

#[test]
fn nor_when_parameters_are_asked_for() {
    let config = Config { parameters: true, ..Config::default() };
    assert_eq!(allocations_on_known_templates(&config), 0);
    let typed = Config { wildcards: Wildcards::Typed, ..config };
    assert_eq!(allocations_on_known_templates(&typed), 0);
}

#[test]
fn nor_on_several_streams() {
    assert_eq!(allocations_on_streams(&Config::default(), &HOSTS), 0);
}

#[test]
fn nor_does_all_that_is_between_an_agent_s_event_and_its_fields() {
    for parameters in [false, true] {
        let config = Config {
            partition_by: vec!["host".to_owned()],
            level_field: Some("level".to_owned()),
            wildcards: Wildcards::Typed,
            fields: Fields::Standard,
            parameters,
            ..Config::default()
        };
        assert_eq!(allocations_of_a_component(config), 0, "parameters: {parameters}");
    }
}

#[test]
fn with_a_log_only_its_buffer_grows() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().to_owned()), ..Config::default() };
    let allocations = allocations_on_known_templates(&config);
    assert!(allocations <= 2, "{allocations} allocations: at most the buffer may double, once or twice");
}
