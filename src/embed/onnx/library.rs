//! Asks a library for the version of the ONNX Runtime it is. All the unsafe code there is, since whatever a library is, loading it runs it.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};
use std::path::Path;

use libloading::{Library, Symbol};

/// `OrtApiBase` of `onnxruntime_c_api.h`: the first thing a runtime hands out, the same in every version.
#[repr(C)]
struct ApiBase {
    get_api: extern "C" fn(u32) -> *const c_void,
    get_version_string: extern "C" fn() -> *const c_char,
}

type GetApiBase = unsafe extern "C" fn() -> *const ApiBase;

const ENTRY: &CStr = c"OrtGetApiBase";

/// What the library says its version is. It stays loaded: a runtime that was unloaded cannot be loaded again.
///
/// # Errors
/// When it cannot be loaded, or is no ONNX Runtime.
pub(super) fn version(path: &Path) -> Result<String, String> {
    // SAFETY: the user named this file, or it lies where the system's libraries are; its constructors run with our rights, as those of every
    // library do. Its header was looked at before.
    let library = unsafe { Library::new(path) }.map_err(|error| error.to_string())?;
    // Kept for good, also when it turns out to be something else: unloading runs its destructors.
    let library: &'static Library = Box::leak(Box::new(library));
    // SAFETY: in every ONNX Runtime this symbol has this type; no other library is known to export the name.
    let entry: Symbol<'_, GetApiBase> =
        unsafe { library.get(ENTRY.to_bytes_with_nul()) }.map_err(|_| format!("it does not export {ENTRY:?}"))?;
    // SAFETY: the function takes nothing and returns a pointer to constant data of the library, or null.
    let base = unsafe { entry().as_ref() }.ok_or("it has no interface")?;
    let version = (base.get_version_string)();
    if version.is_null() {
        return Err("it has no version".to_owned());
    }
    // SAFETY: a text that ends with NUL and belongs to the library, which stays loaded.
    Ok(unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned())
}
