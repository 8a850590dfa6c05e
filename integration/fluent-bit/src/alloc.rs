//! Memory that is as aligned as Rust wants it, whatever the host's `malloc` gives.
//!
//! On x86-64 Rust takes it that `malloc` aligns to 16 bytes, as the ABI has it. Fluent Bit builds jemalloc with `--with-lg-quantum=3`: what has 24, 40 or 56 bytes
//! is aligned to 8 there, and the first aligned load from a small hash table ends the process. So whoever wants more than 8 asks for 32, which goes by `posix_memalign`.

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
