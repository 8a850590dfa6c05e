//! Lua 5.4 module.
