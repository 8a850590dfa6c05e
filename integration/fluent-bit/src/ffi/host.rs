//! What the host exports.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use crate::trouble::Message;

/// `flb_filter_get_property` and its like: the value of a key, or null. The text is the host's and stays as long as the instance does.
pub(super) type GetProperty = unsafe extern "C" fn(*const c_char, *mut c_void) -> *const c_char;

/// `flb_filter_set_context`.
pub(super) type SetContext = unsafe extern "C" fn(*mut c_void, *mut c_void);

/// `flb_log_print`: level, file, line, format and what it takes.
pub(super) type LogPrint = unsafe extern "C" fn(c_int, *const c_char, c_int, *const c_char, ...);

/// The address of a symbol of the host, null when it has none.
fn symbol(name: &CStr) -> *mut c_void {
    // SAFETY: `name` ends with NUL; the call looks a name up and does nothing else.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
}

pub(super) fn get_property() -> Option<GetProperty> {
    let address = symbol(c"flb_filter_get_property");
    // SAFETY: a null pointer becomes none; the function has had this signature since Fluent Bit 0.11.
    unsafe { std::mem::transmute::<*mut c_void, Option<GetProperty>>(address) }
}

pub(super) fn set_context() -> Option<SetContext> {
    let address = symbol(c"flb_filter_set_context");
    // SAFETY: as above.
    unsafe { std::mem::transmute::<*mut c_void, Option<SetContext>>(address) }
}

pub(super) fn log_print() -> Option<LogPrint> {
    let address = symbol(c"flb_log_print");
    // SAFETY: as above; since Fluent Bit 1.0.
    unsafe { std::mem::transmute::<*mut c_void, Option<LogPrint>>(address) }
}

/// Puts messages into the host's log, or on standard error when it has none. Only from the host's own threads.
pub(super) fn log(print: Option<LogPrint>, origin: &str, messages: impl IntoIterator<Item = Message>) {
    for (level, text) in messages {
        let line = format!("[{}] {text}", origin.replace(' ', ":"));
        match (print, CString::new(line.replace('\0', "?"))) {
            (Some(print), Ok(line)) => {
                // SAFETY: the format takes one text, and gets one that ends with NUL; the host copies it.
                unsafe { print(level as c_int, std::ptr::null(), 0, c"%s".as_ptr(), line.as_ptr()) }
            }
            _ => eprintln!("{line}"),
        }
    }
}
