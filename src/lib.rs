//! oddline finds the odd line in a log stream.
//!
//! Imports point down only: `cli`, `plugin` → `engine` → {`template`, `detect`, `storage`} → {`event`, `clock`, `config`}.

pub mod clock;
pub mod config;
pub mod detect;
pub mod engine;
pub mod event;
pub mod plugin;
pub mod storage;
pub mod template;
