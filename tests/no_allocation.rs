//! The path of a known template allocates nothing.

#![allow(unsafe_code, clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use oddline::config::{Config, Mask};
use oddline::event::{Observation, Timestamp};
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

fn allocations_on_known_templates(config: &Config) -> u64 {
    let engine = Engine::open(config, Environment::system()).unwrap();
    let mut lane = engine.lane().unwrap();
    let time = |n: usize| Timestamp(n as i64 * 1_000);
    for (n, line) in lines(0).iter().enumerate() {
        lane.observe(&Observation::new(line.as_bytes(), time(n)));
    }
    let fresh = lines(5_000);
    let before = ALLOCATIONS.get();
    for (n, line) in fresh.iter().enumerate() {
        lane.observe(&Observation::new(line.as_bytes(), time(5_000 + n)));
    }
    ALLOCATIONS.get() - before
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
fn with_a_log_only_its_buffer_grows() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(dir.path().to_owned()), ..Config::default() };
    let allocations = allocations_on_known_templates(&config);
    assert!(allocations <= 2, "{allocations} allocations: at most the buffer may double, once or twice");
}
