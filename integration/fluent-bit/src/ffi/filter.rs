//! `filter_oddline_plugin`, which Fluent Bit's loader looks for in `flb-filter_oddline.so`.

use std::ffi::{c_char, c_int, c_void};

use oddline::plugin::guard;

use super::host::{self, LogPrint};
use super::properties::Instance;
use super::stack;
use crate::filter::{Filter, ORIGIN};
use crate::trouble::Level;

const LOGS: c_int = 1;
const MODIFIED: c_int = 1;
const NOT_TOUCHED: c_int = 2;

/// `struct mk_list`; the host links its copy.
#[repr(C)]
struct List {
    prev: *mut c_void,
    next: *mut c_void,
}

/// `struct flb_filter_plugin`.
#[repr(C)]
pub(super) struct FilterPlugin {
    event_type: c_int,
    flags: c_int,
    name: *const c_char,
    description: *const c_char,
    /// Null: the host checks no keys, since its table of them differs between versions; we do.
    config_map: *const c_void,
    cb_pre_run: Option<Init>,
    cb_init: Option<Init>,
    cb_filter: Option<FilterChunk>,
    cb_exit: Option<Exit>,
    cb_notification: Option<Init>,
    head: List,
}

type Init = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void) -> c_int;
type Exit = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
type FilterChunk = unsafe extern "C" fn(
    *const c_void,
    usize,
    *const c_char,
    c_int,
    *mut *mut c_void,
    *mut usize,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *mut c_void,
) -> c_int;

// SAFETY: the pointers in it are to texts that never change, or null; the host copies the structure before it writes.
unsafe impl Sync for FilterPlugin {}

/// What the loader copies.
// SAFETY: the name is that of this plugin alone, as the host's loader wants it.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the host's loader looks for this name")]
pub(super) static filter_oddline_plugin: FilterPlugin = FilterPlugin {
    event_type: LOGS,
    flags: 0,
    name: c"oddline".as_ptr(),
    description: c"oddline: anomaly scores for log events".as_ptr(),
    config_map: std::ptr::null(),
    cb_pre_run: None,
    cb_init: Some(init),
    cb_filter: Some(filter),
    cb_exit: Some(exit),
    cb_notification: None,
    head: List { prev: std::ptr::null_mut(), next: std::ptr::null_mut() },
};

/// The context of an instance.
struct Context {
    filter: Filter,
    print: Option<LogPrint>,
}

/// Makes the context of an instance; 0 when there is one.
unsafe extern "C" fn init(instance: *mut c_void, _config: *mut c_void, _data: *mut c_void) -> c_int {
    let print = host::log_print();
    let made = guard(|| {
        let (Some(get), Some(set)) = (host::get_property(), host::set_context()) else {
            return Err((
                Level::Error,
                "expected a Fluent Bit that exports flb_filter_get_property and flb_filter_set_context".to_owned(),
            ));
        };
        let (properties, told) = Instance { address: instance, get }.properties();
        host::log(print, ORIGIN, told);
        let filter = Filter::new(&properties).map_err(|error| (Level::Error, error.to_string()))?;
        let context = Box::into_raw(Box::new(Context { filter, print }));
        // SAFETY: the instance is the one the host called us with; it keeps the pointer until it calls `exit` with it.
        unsafe { set(instance, context.cast()) };
        Ok(())
    });
    match made {
        Ok(Ok(())) => 0,
        Ok(Err(message)) => {
            host::log(print, ORIGIN, [message]);
            -1
        }
        Err(panic) => {
            host::log(print, ORIGIN, [(Level::Error, panic.to_string())]);
            -1
        }
    }
}

/// Scores a chunk. Its frame is small: it may be on a coroutine's stack.
unsafe extern "C" fn filter(
    data: *const c_void,
    bytes: usize,
    _tag: *const c_char,
    _tag_len: c_int,
    out_data: *mut *mut c_void,
    out_bytes: *mut usize,
    _instance: *mut c_void,
    _input: *mut c_void,
    context: *mut c_void,
    _config: *mut c_void,
) -> c_int {
    if data.is_null() || context.is_null() {
        return NOT_TOUCHED;
    }
    // SAFETY: the context is the one `init` made, which the host gives back until `exit`; only shared references to it are made.
    let context = unsafe { &*context.cast::<Context>() };
    // SAFETY: the host gives `bytes` bytes that stay as they are during this call.
    let chunk = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), bytes) };
    let modified = guard(|| {
        let modified = context.filter.filter(chunk, stack::is_small(), allocated).flatten();
        host::log(context.print, ORIGIN, context.filter.messages());
        modified
    });
    match modified {
        Ok(Some((buffer, len))) => {
            // SAFETY: both are places of the host's for just this.
            unsafe {
                *out_data = buffer;
                *out_bytes = len;
            }
            MODIFIED
        }
        Ok(None) | Err(_) => NOT_TOUCHED,
    }
}

/// A copy in memory that the host can give back with `free`; nothing when there is no memory, and never for nothing: an empty chunk means to the host
/// that all records are dropped.
fn allocated(bytes: &[u8]) -> Option<(*mut c_void, usize)> {
    if bytes.is_empty() {
        return None;
    }
    // SAFETY: `malloc` is asked for as many bytes as are copied, and only what it gave is written to.
    unsafe {
        let buffer = libc::malloc(bytes.len());
        if buffer.is_null() {
            return None;
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.cast::<u8>(), bytes.len());
        Some((buffer, bytes.len()))
    }
}

unsafe extern "C" fn exit(context: *mut c_void, _config: *mut c_void) -> c_int {
    if context.is_null() {
        return 0;
    }
    // SAFETY: the host calls this once, after the last chunk, with what `init` made.
    let context = unsafe { Box::from_raw(context.cast::<Context>()) };
    let print = context.print;
    // A panic here has nobody to tell but the log.
    let closed = guard(|| context.filter.close());
    host::log(print, ORIGIN, closed.unwrap_or_else(|panic| vec![(Level::Error, panic.to_string())]));
    0
}

const _: () = {
    // As the host has it on every 64-bit system.
    assert!(size_of::<FilterPlugin>() == 88);
    assert!(std::mem::offset_of!(FilterPlugin, cb_filter) == 48);
};
