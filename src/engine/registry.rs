//! Engines of this process, by data dir: agents build a new component while the old one still runs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{LazyLock, Mutex, PoisonError, Weak};

use super::EngineError;
use super::open::{Engine, Environment, Inner};
use crate::config::Config;

static ENGINES: LazyLock<Mutex<HashMap<PathBuf, Registered>>> = LazyLock::new(Mutex::default);

/// Dropped by an engine that has released its data dir; until then whoever opens it again waits.
#[derive(Debug)]
pub(super) struct Closing(#[expect(dead_code, reason = "dropping it is the message")] SyncSender<()>);

struct Registered {
    engine: Weak<Inner>,
    closed: Receiver<()>,
}

impl Registered {
    /// The engine, when it is open; else returns once its data dir is released.
    fn engine_or_closed(&self) -> Option<Engine> {
        if let Some(inner) = self.engine.upgrade() {
            return Some(Engine::from_inner(inner));
        }
        // Nobody ever sends: this ends, with an error, when the engine is closed.
        self.closed.recv().err()?;
        None
    }
}

/// The engine on `config.data_dir`, opened unless this process has it open. Without a data dir each call opens an engine of its own.
///
/// A running engine keeps the options it was opened with.
pub(super) fn shared(config: &Config, environment: Environment) -> Result<Engine, EngineError> {
    let Some(dir) = &config.data_dir else { return Engine::open(config, environment) };
    // Held while opening, so that two threads cannot open one directory.
    let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    let canonical = |dir: &PathBuf| std::path::absolute(dir).map(|path| path.canonicalize().unwrap_or(path));
    let before = canonical(dir).unwrap_or_else(|_| dir.clone());
    if let Some(engine) = engines.get(&before).and_then(Registered::engine_or_closed) {
        return Ok(engine);
    }
    engines.retain(|_, registered| registered.engine.strong_count() > 0);
    let (closing, closed) = sync_channel(0);
    let engine = Engine::open_announced(config, environment, Some(Closing(closing)))?;
    // The directory exists now, and with it links in its path.
    let after = canonical(dir).unwrap_or(before);
    engines.insert(after, Registered { engine: engine.downgrade(), closed });
    Ok(engine)
}
