//! The interface to Fluent Bit; the only place with unsafe code.
//!
//! Declared by hand after `include/fluent-bit/flb_filter.h`, `flb_plugin_proxy.h`, `flb_api.h`, `flb_kv.h` and `src/proxy/go/go.h`. They were compared
//! in Fluent Bit 3.2.10, 4.0.0, 4.0.8, 4.1.0, 4.2.0, 5.0.0 and 5.1.1: what is declared here is the same in all of them. Up to 3.1, `struct
//! flb_filter_plugin` ends before `cb_notification`, and copying less of ours would do; that was not tried.
//!
//! Symbols of the host are looked up when they are needed, so that the library loads, and its tests link, without one.

#![allow(unsafe_code)]

mod filter;
mod host;
mod output;
mod properties;
mod stack;
