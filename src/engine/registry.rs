//! Engines of this process, by data dir: agents build a new component while the old one still runs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError, Weak};

use super::EngineError;
use super::open::{Engine, Environment, Inner};
use crate::config::Config;

static ENGINES: LazyLock<Mutex<HashMap<PathBuf, Weak<Inner>>>> = LazyLock::new(Mutex::default);

/// The engine on `config.data_dir`, opened unless this process has it open. Without a data dir each call opens an engine of its own.
///
/// A running engine keeps the options it was opened with.
pub(super) fn shared(config: &Config, environment: Environment) -> Result<Engine, EngineError> {
    let Some(dir) = &config.data_dir else { return Engine::open(config, environment) };
    // Held while opening, so that two threads cannot open one directory.
    let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    engines.retain(|_, engine| engine.strong_count() > 0);
    let canonical = |dir: &PathBuf| std::path::absolute(dir).map(|path| path.canonicalize().unwrap_or(path));
    let before = canonical(dir).unwrap_or_else(|_| dir.clone());
    if let Some(inner) = engines.get(&before).and_then(Weak::upgrade) {
        return Ok(Engine::from_inner(inner));
    }
    let engine = Engine::open(config, environment)?;
    // The directory exists now, and with it links in its path.
    let after = canonical(dir).unwrap_or(before);
    engines.insert(after, engine.downgrade());
    Ok(engine)
}
