//! A log event as Vector gives it to Lua: a table of fields, timestamps as tables like `os.date("*t")`'s.
//!
//! Tables are read and written without their metamethods. Lua cannot tell an empty list from an empty map, and Vector
//! makes it a map: lists that are empty are left out.

use std::borrow::Cow;

use mlua::{Lua, Result, Table, Value as LuaValue};
use oddline::config::OnExisting;
use oddline::event::Timestamp;
use oddline::plugin::event::renamed;
use oddline::plugin::{Enrichment, Event, Input, Layout, MapEntry, Path, Scalar, Value, Written, timestamp};

/// The `log` of an event.
pub(crate) struct LuaEvent<'a> {
    pub(crate) lua: &'a Lua,
    pub(crate) log: &'a Table,
    pub(crate) layout: &'a Layout,
    /// When it happened, where the agent says so beside the event.
    pub(crate) time: Option<Timestamp>,
}

impl Event for LuaEvent<'_> {
    fn read(&self, input: Input) -> Option<Scalar<'_>> {
        let path = self.layout.path(input)?;
        match find(self.log, path)? {
            LuaValue::String(text) => Some(Scalar::Text(Cow::Owned(text.as_bytes().to_vec()))),
            LuaValue::Integer(number) => Some(Scalar::Number(Cow::Owned(number.to_string()))),
            LuaValue::Number(number) => Some(Scalar::Number(Cow::Owned(format!("{number:?}")))),
            LuaValue::Boolean(flag) => Some(Scalar::Flag(flag)),
            LuaValue::Table(table) => date(&table).map(Scalar::Time),
            _ => None,
        }
    }

    fn time(&self, now: Timestamp) -> Option<Timestamp> {
        let said = match self.read(Input::Timestamp) {
            Some(Scalar::Time(time)) => Some(time),
            Some(Scalar::Text(text)) => timestamp::parse(&text, now),
            Some(Scalar::Number(text)) => timestamp::epoch(text.as_bytes()),
            Some(Scalar::Flag(_)) | None => None,
        };
        said.or(self.time)
    }

    fn write(&mut self, enrichment: &Enrichment<'_>) -> Written {
        self.insert(enrichment).unwrap_or(Written::Failed)
    }
}

/// The value at `path`: of the one key with the dots, or else of the nested tables.
fn find(log: &Table, path: &Path) -> Option<LuaValue> {
    let present = |value: &LuaValue| !value.is_nil();
    let (last, parents) = path.segments().split_last()?;
    if !parents.is_empty()
        && let Some(value) = log.raw_get::<LuaValue>(path.as_str()).ok().filter(present)
    {
        return Some(value);
    }
    let mut table = log.clone();
    for name in parents {
        table = table.raw_get(name.as_str()).ok()?;
    }
    table.raw_get(last.as_str()).ok().filter(present)
}

/// A table like `os.date("!*t")`'s, with Vector's `nanosec`.
fn date(table: &Table) -> Option<Timestamp> {
    let part = |name: &str| table.raw_get::<i64>(name).ok();
    let nanos = table.raw_get::<Option<i64>>("nanosec").ok()?.unwrap_or(0);
    timestamp::from_civil(
        [part("year")?, part("month")?, part("day")?, part("hour")?, part("min")?, part("sec")?],
        nanos,
    )
}

/// The same, the other way round.
pub(crate) fn date_table(lua: &Lua, time: Timestamp) -> Result<Option<Table>> {
    let Some(([year, month, day, hour, min, sec], nanosec)) = timestamp::to_civil(time) else { return Ok(None) };
    let table = lua.create_table_with_capacity(0, 7)?;
    for (name, value) in [
        ("year", year),
        ("month", month),
        ("day", day),
        ("hour", hour),
        ("min", min),
        ("sec", sec),
        ("nanosec", nanosec),
    ] {
        table.raw_set(name, value)?;
    }
    Ok(Some(table))
}

impl LuaEvent<'_> {
    fn insert(&self, enrichment: &Enrichment<'_>) -> Result<Written> {
        let fields = self.fields(enrichment)?;
        let names = self.layout.target.segments();
        let Some((last, parents)) = names.split_last() else { return Ok(Written::Failed) };
        // Everything that can be refused is looked at before anything is changed.
        let mut place = self.log.clone();
        let mut missing = names;
        for name in parents {
            match place.raw_get::<LuaValue>(name.as_str())? {
                LuaValue::Table(table) if table.raw_len() == 0 => place = table,
                _ => break,
            }
            missing = missing.get(1..).unwrap_or_default();
        }
        let Some(first) = missing.first() else { return Ok(Written::Failed) };
        if !self.make_room(&place, first)? {
            return Ok(Written::Kept);
        }
        for name in missing.iter().take(missing.len() - 1) {
            let table = self.lua.create_table_with_capacity(0, 1)?;
            place.raw_set(name.as_str(), &table)?;
            place = table;
        }
        place.raw_set(last.as_str(), fields)?;
        if let (Some(name), Some(template)) = (&self.layout.template_field, enrichment.template())
            && self.make_room(self.log, name)?
        {
            self.log.raw_set(name.as_str(), template)?;
        }
        Ok(Written::Fields)
    }

    /// Does with what is called `name` in `place` what `on_existing` says; false when it is to be kept.
    fn make_room(&self, place: &Table, name: &str) -> Result<bool> {
        let old: LuaValue = place.raw_get(name)?;
        match (old.is_nil(), self.layout.on_existing) {
            (true, _) | (false, OnExisting::Replace) => Ok(true),
            (false, OnExisting::Keep) => Ok(false),
            (false, OnExisting::Rename) => {
                let taken = |name: &str| place.raw_get::<LuaValue>(name).is_ok_and(|value| !value.is_nil());
                place.raw_set(renamed(name, taken), old)?;
                Ok(true)
            }
        }
    }

    fn fields(&self, enrichment: &Enrichment<'_>) -> Result<Table> {
        let table = self.lua.create_table_with_capacity(0, 6)?;
        let mut result = Ok(());
        enrichment.for_each(|name, value| {
            if result.is_ok() {
                result = self.field(&table, name, value);
            }
        });
        result.map(|()| table)
    }

    fn field(&self, table: &Table, name: &str, value: Value<'_>) -> Result<()> {
        match value {
            Value::Flag(flag) => table.raw_set(name, flag),
            Value::Number(number) => table.raw_set(name, number),
            Value::Text(text) => table.raw_set(name, text),
            Value::Texts([]) => Ok(()),
            Value::Texts(texts) => {
                table.raw_set(name, self.lua.create_sequence_from(texts.iter().map(|text| text.as_ref()))?)
            }
            Value::Numbers(numbers) => {
                table.raw_set(name, self.lua.create_table_from(numbers.iter().map(|(name, number)| (*name, *number)))?)
            }
            Value::Maps(maps) => {
                let list = self.lua.create_table_with_capacity(maps.len(), 0)?;
                maps.iter().try_for_each(|map| list.raw_push(self.map(map)?))?;
                table.raw_set(name, list)
            }
        }
    }

    fn map(&self, parts: &[MapEntry<'_>]) -> Result<Table> {
        let map = self.lua.create_table_with_capacity(0, parts.len())?;
        parts.iter().try_for_each(|(name, part)| self.field(&map, name, *part))?;
        Ok(map)
    }
}
