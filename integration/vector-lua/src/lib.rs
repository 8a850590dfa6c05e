//! oddline as a Lua module: the native half of `oddline.lua` for Vector (Lua 5.4) and, with the feature `luajit` in place of `lua54`, of
//! `../fluent-bit/oddline_fluent_bit.lua` for Fluent Bit.
//!
//! | function | gives |
//! |---|---|
//! | `check(config)` | nothing; an error when the configuration is not accepted. Touches no file |
//! | `reporter()` | a function of a kind of trouble and an error, which tells of it on standard error, at most once a minute each |
//! | `new(config)` | a scorer; touches no file either |
//! | `scorer:open()` | nothing; an error when the data dir cannot be opened (events pass unscored, and it is tried again) |
//! | `scorer:process(log, seconds)` | whether the event is an anomaly, nothing when it has no score; writes the fields into `log`. `seconds` since 1970 is when it happened, if `log` does not say |
//! | `scorer:tick()` | a list of events of oddline's own, mostly empty |
//! | `scorer:counts()` | counters by name |
//! | `scorer:last_error()` | why the data dir could not be opened, or nothing |
//! | `scorer:flush()` | nothing; an error when what was learned could not be made durable |
//! | `scorer:close()` | nothing; saves what was learned. A closed scorer leaves events as they are |
//!
//! `config` is a table of oddline's keys, or the path of a configuration file. States of one process share the engine
//! of a data dir. No panic crosses into Lua.

#[path = "../../fluent-bit/src/alloc.rs"]
mod alloc;
mod config;
mod entry;
mod event;
mod report;
mod scorer;

#[global_allocator]
static ALLOCATOR: alloc::HostAllocator = alloc::HostAllocator;
