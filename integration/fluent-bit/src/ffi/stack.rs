//! Whose stack this is.

use std::cell::Cell;

/// A thread's stack with less than this left is treated as a coroutine's.
const ENOUGH: usize = 512 << 10;

thread_local! {
    /// Lowest and first address behind the stack of this thread, once asked for.
    static BOUNDS: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}

/// Whether the stack this runs on is not the thread's own, or too little of it is left.
#[inline(never)]
pub(super) fn is_small() -> bool {
    let here = 0_u8;
    let here = &raw const here as usize;
    let (low, high) = BOUNDS.get().unwrap_or_else(|| {
        let bounds = bounds().unwrap_or((0, 0));
        BOUNDS.set(Some(bounds));
        bounds
    });
    here < low.saturating_add(ENOUGH) || here >= high
}

fn bounds() -> Option<(usize, usize)> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    let mut base = std::ptr::null_mut();
    let mut size = 0;
    // SAFETY: the first call fills the attributes of this very thread, and only when it succeeds they are read and then given back.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let found = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut base, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        (found == 0).then(|| (base as usize, (base as usize).saturating_add(size)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_own_stack_is_told_by_what_is_left_of_it() {
        let asked =
            |bytes: usize| std::thread::Builder::new().stack_size(bytes).spawn(is_small).unwrap().join().unwrap();
        assert!(!asked(2 << 20));
        assert!(asked(128 << 10));
    }
}
