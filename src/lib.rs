//! oddline finds the odd line in a log stream.
//!
//! Imports point down only: `cli`, `plugin` → `engine` → {`template`, `detect`, `storage`} → {`event`, `clock`, `config`}.

pub mod clock;
pub mod config;
pub mod event;
