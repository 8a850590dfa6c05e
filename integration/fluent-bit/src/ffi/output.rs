//! What Fluent Bit calls in a plugin it takes for one in Go: `out_oddline.so`.

use std::ffi::{c_char, c_int, c_void};

use oddline::plugin::guard;

use super::host::{self, GetProperty, LogPrint};
use super::properties::Instance;
use crate::output::{Answer, ORIGIN, Output};
use crate::trouble::Level;

const OUTPUT_PLUGIN: c_int = 2;
const GO: c_int = 11;

/// The start of `struct flb_plugin_proxy_def`. What later versions have behind it they clear themselves.
#[repr(C)]
pub(super) struct Definition {
    kind: c_int,
    proxy: c_int,
    flags: c_int,
    name: *mut c_char,
    description: *mut c_char,
}

/// The start of `struct flbgo_output_plugin`.
#[repr(C)]
pub(super) struct OutputPlugin {
    name: *mut c_char,
    api: *const Api,
    instance: *mut c_void,
    context: *mut ProxyContext,
}

/// The start of `struct flb_api`.
#[repr(C)]
struct Api {
    output_get_property: Option<GetProperty>,
    input_get_property: Option<GetProperty>,
    output_get_cmt_instance: *const c_void,
    input_get_cmt_instance: *const c_void,
    log_print: Option<LogPrint>,
}

/// The start of `struct flb_plugin_proxy_context`.
#[repr(C)]
struct ProxyContext {
    remote_context: *mut c_void,
}

struct Context {
    output: Output,
    print: Option<LogPrint>,
}

/// Says what this is.
///
/// # Safety
/// `definition` is the host's, to be filled.
// SAFETY: the name is the one the host's loader looks for in the library it just opened, and in no other.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn FLBPluginRegister(definition: *mut Definition) -> c_int {
    if definition.is_null() {
        return -1;
    }
    // SAFETY: the host's structure is ours to fill; the host gives the texts back with `free`, so they are of `malloc`.
    unsafe {
        let (name, description) = (
            libc::strdup(c"oddline".as_ptr()),
            libc::strdup(c"oddline: learns from log events and keeps their history".as_ptr()),
        );
        if name.is_null() || description.is_null() {
            return -1;
        }
        (*definition).kind = OUTPUT_PLUGIN;
        (*definition).proxy = GO;
        (*definition).flags = 0;
        (*definition).name = name;
        (*definition).description = description;
    }
    0
}

/// Makes the context of an instance; greater than 0 when there is one.
///
/// # Safety
/// `plugin` is the host's, with an instance and its context.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn FLBPluginInit(plugin: *mut OutputPlugin) -> c_int {
    // SAFETY: the host's structure, read only.
    let Some(plugin) = (unsafe { plugin.as_ref() }) else { return Answer::Error as c_int };
    // SAFETY: as above.
    let (Some(api), false) = ((unsafe { plugin.api.as_ref() }), plugin.context.is_null()) else {
        return Answer::Error as c_int;
    };
    let print = api.log_print;
    let made = guard(|| {
        let Some(get) = api.output_get_property else {
            return Err((Level::Error, "expected a Fluent Bit that gives its plugins output_get_property".to_owned()));
        };
        let (properties, told) = Instance { address: plugin.instance, get }.properties();
        host::log(print, ORIGIN, told);
        let output = Output::new(&properties).map_err(|error| (Level::Error, error.to_string()))?;
        let context = Box::into_raw(Box::new(Context { output, print }));
        // SAFETY: the place is there for this; the host gives the pointer back with each flush and once at the end.
        unsafe { (*plugin.context).remote_context = context.cast() };
        Ok(())
    });
    match made {
        Ok(Ok(())) => Answer::Ok as c_int,
        Ok(Err(message)) => {
            host::log(print, ORIGIN, [message]);
            Answer::Error as c_int
        }
        Err(panic) => {
            host::log(print, ORIGIN, [(Level::Error, panic.to_string())]);
            Answer::Error as c_int
        }
    }
}

/// Takes a chunk. Its frame is small: it is on a coroutine's stack. With several workers it is entered at once by several threads.
///
/// # Safety
/// `context` is what `FLBPluginInit` made, `data` has `size` bytes.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn FLBPluginFlushCtx(
    context: *mut c_void,
    data: *const c_void,
    size: usize,
    _tag: *const c_char,
) -> c_int {
    if context.is_null() || data.is_null() {
        return Answer::Error as c_int;
    }
    // SAFETY: the context is the one `FLBPluginInit` made; only shared references to it are made.
    let context = unsafe { &*context.cast::<Context>() };
    // SAFETY: the host gives `size` bytes that stay as they are during this call.
    let chunk = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), size) };
    let answer = guard(|| {
        let answer = context.output.flush(chunk);
        host::log(context.print, ORIGIN, context.output.messages());
        answer
    });
    answer.unwrap_or(Answer::Retry) as c_int
}

/// Ends an instance.
///
/// # Safety
/// `context` is what `FLBPluginInit` made; it is called once.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn FLBPluginExitCtx(context: *mut c_void) -> c_int {
    if context.is_null() {
        return Answer::Ok as c_int;
    }
    // SAFETY: the host calls this once, after the last flush, with what `FLBPluginInit` made.
    let context = unsafe { Box::from_raw(context.cast::<Context>()) };
    let print = context.print;
    let closed = guard(|| context.output.close());
    host::log(print, ORIGIN, closed.unwrap_or_else(|panic| vec![(Level::Error, panic.to_string())]));
    Answer::Ok as c_int
}
