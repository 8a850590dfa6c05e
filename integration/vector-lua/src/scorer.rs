//! The scorer: a component as a Lua value.

use std::sync::Arc;

use mlua::{Error, Lua, Result, Table, UserData, UserDataMethods, Value};
use oddline::engine::{Environment, Synthetic};
use oddline::event::Timestamp;
use oddline::plugin::component::{synthetic_message, synthetic_values};
use oddline::plugin::{Component, Event as _, Layout, guard};

use crate::config;
use crate::event::{LuaEvent, date_table};

/// A component with its lane; belongs to one Lua state, which may move between threads.
pub(crate) struct Scorer {
    layout: Arc<Layout>,
    /// Nothing once it is closed.
    component: Option<Component>,
}

impl Scorer {
    pub(crate) fn new(value: &Value) -> Result<Self> {
        let config = config::read(value)?;
        let component = guarded(|| Component::new(config, Environment::system()).map_err(Error::runtime))?;
        Ok(Self { layout: component.layout(), component: Some(component) })
    }

    fn process(&mut self, lua: &Lua, log: &Table, time: Option<Timestamp>) -> Option<bool> {
        let component = self.component.as_mut()?;
        if component.is_due() {
            on_own_stack(|| component.prepare());
        }
        let outcome = component.process(&mut LuaEvent { lua, log, layout: &self.layout, time });
        outcome.verdict.map(|verdict| verdict.is_anomaly)
    }

    fn tick(&mut self, lua: &Lua) -> Result<Vec<Table>> {
        let Some(component) = self.component.as_mut() else { return Ok(Vec::new()) };
        let now = component.now();
        let synthetic = on_own_stack(|| component.tick(now)).unwrap_or_default();
        synthetic.iter().map(|synthetic| synthetic_event(lua, component, &self.layout, synthetic)).collect()
    }
}

/// Bytes of stack for what is rare and deep: opening, and what time asks for.
const STACK_BYTES: usize = 2 << 20;

/// Runs `work` on a thread of its own and waits for it. Fluent Bit calls Lua filters also from coroutines with 64 KiB of stack, of which scoring an
/// event takes up to 32 and opening a data dir up to 96. Nothing when the system gives no thread, or `work` panics.
fn on_own_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).ok()?;
        thread.join().ok()
    })
}

fn synthetic_event(lua: &Lua, component: &Component, layout: &Layout, synthetic: &Synthetic) -> Result<Table> {
    let log = lua.create_table()?;
    log.raw_set("timestamp", date_table(lua, synthetic.timestamp)?)?;
    put(lua, &log, layout.message.segments(), synthetic_message(synthetic))?;
    for (path, value) in synthetic_values(synthetic, layout) {
        put(lua, &log, path.segments(), value.to_owned())?;
    }
    LuaEvent { lua, log: &log, layout, time: None }.write(&component.describe(synthetic));
    Ok(log)
}

/// Sets `names[0].names[1]…` of `table`.
fn put(lua: &Lua, table: &Table, names: &[String], text: String) -> Result<()> {
    match names {
        [] => Ok(()),
        [name] => table.raw_set(name.as_str(), text),
        [name, rest @ ..] => {
            match table.raw_get::<Value>(name.as_str())? {
                Value::Nil => {
                    let inner = lua.create_table()?;
                    put(lua, &inner, rest, text)?;
                    table.raw_set(name.as_str(), inner)
                }
                Value::Table(inner) => put(lua, &inner, rest, text),
                // What stands there comes first.
                _ => Ok(()),
            }
        }
    }
}

/// Runs `work`; a panic becomes a Lua error.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    guard(work).unwrap_or_else(|panic| Err(Error::runtime(panic)))
}

impl UserData for Scorer {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method_mut("open", |_, this, ()| {
            guarded(|| {
                let Some(component) = this.component.as_mut() else { return Ok(()) };
                on_own_stack(|| component.open()).map_or(Ok(()), |opened| opened.map_err(Error::runtime))
            })
        });
        methods.add_method_mut("process", |lua, this, (log, seconds): (Table, Option<f64>)| {
            let time = seconds.filter(|seconds| seconds.abs() < 9e12).map(|seconds| Timestamp((seconds * 1e6) as i64));
            guarded(|| Ok(this.process(lua, &log, time)))
        });
        methods.add_method_mut("tick", |lua, this, ()| guarded(|| this.tick(lua)));
        methods.add_method_mut("counts", |lua, this, ()| {
            guarded(|| {
                let counts = this.component.as_mut().map(|component| component.stats().counts).unwrap_or_default();
                lua.create_table_from(counts.iter())
            })
        });
        methods.add_method_mut("last_error", |_, this, ()| {
            guarded(|| Ok(this.component.as_mut().and_then(|component| component.stats().last_error)))
        });
        methods.add_method_mut("flush", |_, this, ()| {
            guarded(|| this.component.as_mut().map_or(Ok(()), |component| component.flush().map_err(Error::runtime)))
        });
        methods.add_method_mut("close", |_, this, ()| {
            guarded(|| this.component.take().map_or(Ok(()), |component| component.shutdown().map_err(Error::runtime)))
        });
    }
}

impl Drop for Scorer {
    /// A state that is closed without its shutdown hook still gives its lane back; no panic leaves the finaliser.
    fn drop(&mut self) {
        if let Some(component) = self.component.take() {
            // Nobody is left to tell; what was not saved is in the write-ahead log.
            let _ = guard(|| component.shutdown());
        }
    }
}
