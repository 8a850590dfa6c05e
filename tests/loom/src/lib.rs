//! Every interleaving of the atomics that are made by hand: the engine's memory budget. (Snapshots are swapped by `arc-swap`, all else is behind
//! locks and channels.)
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --manifest-path tests/loom/Cargo.toml`

#[cfg_attr(not(loom), allow(dead_code))]
#[path = "../../../src/engine/budget.rs"]
mod budget;

#[cfg(all(test, loom))]
mod tests {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicU64, Ordering};
    use loom::thread;

    use crate::budget::Budget;

    #[test]
    fn no_more_is_out_than_there_is_and_all_of_it_comes_back() {
        let mut every = loom::model::Builder::new();
        every.preemption_bound = Some(3);
        every.check(|| {
            let budget = Arc::new(Budget::new(3));
            // What is held, by a count of its own.
            let held = Arc::new(AtomicU64::new(0));
            let work = |bytes: u64| {
                let (budget, held) = (Arc::clone(&budget), Arc::clone(&held));
                move || {
                    if budget.claim(bytes) {
                        assert!(held.fetch_add(bytes, Ordering::SeqCst) + bytes <= 3);
                        held.fetch_sub(bytes, Ordering::SeqCst);
                        budget.give_back(bytes);
                    }
                }
            };
            let other = thread::spawn(work(2));
            work(2)();
            other.join().unwrap();
            assert_eq!(budget.used(), 0);
            assert!(budget.claim(budget.most()) && !budget.claim(1));
        });
    }
}
