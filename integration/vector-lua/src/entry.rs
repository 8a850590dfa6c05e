//! What Lua calls when the module is required; the only place with unsafe code, and it is generated.

// SAFETY: `lua_module` makes the exported `luaopen_oddline_native`, which Lua calls with its state, as `require`
// does for every C module; the macro's code enters mlua with it and turns errors and panics into Lua errors.
#![allow(unsafe_code)]

use std::time::Instant;

use mlua::{Function, Lua, Result, Table, Value};

use crate::config;
use crate::report::Reporter;
use crate::scorer::Scorer;

#[mlua::lua_module]
fn oddline_native(lua: &Lua) -> Result<Table> {
    let module = lua.create_table()?;
    module.set("version", env!("CARGO_PKG_VERSION"))?;
    module.set("check", lua.create_function(|_, value: Value| config::read(&value).map(drop))?)?;
    module.set("reporter", lua.create_function(|lua, ()| reporter(lua))?)?;
    module.set("new", lua.create_function(|_, value: Value| Scorer::new(&value))?)?;
    Ok(module)
}

fn reporter(lua: &Lua) -> Result<Function> {
    let mut reporter = Reporter::default();
    lua.create_function_mut(move |_, (what, message): (String, Value)| {
        // What cannot be shown must not become an error: Vector would drop the event that this is about.
        let message = message.to_string().unwrap_or_else(|error| error.to_string());
        reporter.tell(&what, &message, Instant::now());
        Ok(())
    })
}
