//! Memory that is as aligned as Rust wants it, whatever the host's `malloc` gives.
//!
//! On x86-64 and aarch64 Rust takes it that `malloc` aligns to 16 bytes, as their ABIs have it. Fluent Bit has jemalloc in place of the system's where it is built
//! with `FLB_JEMALLOC`, as its packages and images are, and configures it with `--with-lg-quantum=3` (its `CMakeLists.txt`, since 2016; checked in 1.8 to 5.1.1).
//! jemalloc then has sizes of 24, 40 and 56 bytes that are aligned to 8, and the first aligned load from a small hash table ends the process: seen with 5.1.1 on
//! x86-64. So whoever wants more than 8 asks for 32, which the standard library leaves to `posix_memalign`.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};

/// What every `malloc` aligns to.
const GIVEN: usize = 8;

/// More than the standard library leaves to `malloc`.
const ASKED: usize = 32;

/// The host's allocator.
pub(crate) struct HostAllocator;

fn asked(layout: Layout) -> Layout {
    if layout.align() <= GIVEN {
        return layout;
    }
    layout.align_to(ASKED).unwrap_or(layout)
}

// SAFETY: all goes to `System`, each time with the same layout for the same memory, which is at least as aligned as what was asked for.
unsafe impl GlobalAlloc for HostAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(asked(layout)) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as promised by the caller.
        unsafe { System.alloc_zeroed(asked(layout)) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(memory, asked(layout)) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(memory, asked(layout), size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [usize; 12] = [1, 7, 8, 9, 16, 24, 40, 56, 100, 4_096, 5_000, 100_000];

    fn layouts() -> impl Iterator<Item = Layout> {
        let aligns = (0..=12).map(|power| 1 << power);
        aligns.flat_map(|align| SIZES.map(|size| Layout::from_size_align(size, align).unwrap()))
    }

    fn is_aligned(memory: *mut u8, layout: Layout) -> bool {
        !memory.is_null() && memory.addr().is_multiple_of(layout.align())
    }

    /// Memory of `layout` that holds the low bytes of 0, 1, 2 …
    fn filled(layout: Layout) -> *mut u8 {
        // SAFETY: no layout here is empty; what is written is within it.
        unsafe {
            let memory = HostAllocator.alloc(layout);
            assert!(is_aligned(memory, layout), "{layout:?}");
            (0..layout.size()).for_each(|at| memory.add(at).write(at as u8));
            memory
        }
    }

    fn holds(memory: *mut u8, len: usize) -> bool {
        // SAFETY: the caller has so many bytes there, which were written.
        (0..len).all(|at| unsafe { memory.add(at).read() } == at as u8)
    }

    #[test]
    fn what_is_allocated_is_aligned_and_keeps_what_is_written_to_it() {
        let all: Vec<_> = layouts().map(|layout| (layout, filled(layout))).collect();
        for (layout, memory) in all {
            assert!(holds(memory, layout.size()), "{layout:?}");
            // SAFETY: allocated above with this layout.
            unsafe { HostAllocator.dealloc(memory, layout) };
        }
    }

    #[test]
    fn what_is_asked_for_empty_is_aligned_and_empty() {
        for layout in layouts() {
            // Used memory first, so that zeros are no accident.
            let used = filled(layout);
            // SAFETY: no layout here is empty; what is read is within it.
            unsafe {
                HostAllocator.dealloc(used, layout);
                let memory = HostAllocator.alloc_zeroed(layout);
                assert!(is_aligned(memory, layout), "{layout:?}");
                assert!((0..layout.size()).all(|at| memory.add(at).read() == 0), "{layout:?}");
                HostAllocator.dealloc(memory, layout);
            }
        }
    }

    #[test]
    fn what_grows_or_shrinks_stays_aligned_and_keeps_its_contents() {
        for (layout, size) in layouts().flat_map(|layout| SIZES.map(|size| (layout, size))) {
            // SAFETY: from the layout it has to another of the same alignment.
            unsafe {
                let memory = HostAllocator.realloc(filled(layout), layout, size);
                let new = Layout::from_size_align(size, layout.align()).unwrap();
                assert!(is_aligned(memory, new), "{layout:?} to {size}");
                assert!(holds(memory, layout.size().min(size)), "{layout:?} to {size}");
                HostAllocator.dealloc(memory, new);
            }
        }
    }

    #[test]
    fn only_what_every_malloc_aligns_to_is_left_to_it() {
        for layout in layouts() {
            let asked = asked(layout);
            assert_eq!(asked.size(), layout.size());
            assert!(asked.align() >= layout.align());
            assert!(
                asked.align() == layout.align() || (layout.align() > GIVEN && asked.align() == ASKED),
                "{layout:?}"
            );
            assert!(layout.align() <= GIVEN || asked.align() >= ASKED, "{layout:?}");
        }
    }
}
