//! oddline as a filter and an output of stock Fluent Bit, one shared library under two names.
//!
//! | file | Fluent Bit loads it as | entry |
//! |---|---|---|
//! | `flb-filter_oddline.so` | filter `oddline`, also a processor | the structure `filter_oddline_plugin` |
//! | `out_oddline.so` | output `oddline`, through the interface for Go plugins | `FLBPluginRegister`, `FLBPluginInit`, `FLBPluginFlushCtx`, `FLBPluginExitCtx` |
//!
//! Fluent Bit takes a file whose name starts with `flb-` for a plugin in C and any other for one in Go. As the same file (a link) both are one library, and a
//! filter and an output on the same data dir share its engine.
//!
//! No Fluent Bit header is needed to build it: what is used of the interface is declared in `ffi`, the only place with unsafe code.

mod alloc;
mod chunk;
mod config;
mod event;
mod ffi;
mod filter;
mod metrics_file;
mod msgpack;
mod output;
mod record;
mod trouble;

#[global_allocator]
static ALLOCATOR: alloc::HostAllocator = alloc::HostAllocator;
