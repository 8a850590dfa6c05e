//! The options of both components. All but the data dir and what belongs to sinks come from oddline's own table of keys, by
//! way of `build.rs`, which writes both structs, and are read by oddline's own loader, which checks bounds and words the errors.

use std::path::{Path, PathBuf};

use oddline::config::{Config, ConfigError};
use oddline::plugin::Layout;
use serde::Serialize;
use vector::sinks::util::{BatchConfig, RealtimeEventBasedDefaultBatchSettings};
use vector_lib::config::AcknowledgementsConfig;
use vector_lib::configurable::configurable_component;

include!(concat!(env!("OUT_DIR"), "/options.rs"));

/// Keys that are not oddline's: Vector's, and the data dir, which is resolved apart.
const NOT_OURS: [&str; 3] = ["data_dir", "batch", "acknowledgements"];

/// oddline's configuration, checked. Without a data dir what is learned stays in memory.
pub(crate) fn checked(options: &impl Serialize, data_dir: Option<&Path>) -> Result<Config, ConfigError> {
    let mut value = serde_json::to_value(options).unwrap_or_default();
    if let Some(keys) = value.as_object_mut() {
        NOT_OURS.iter().for_each(|key| drop(keys.remove(*key)));
    }
    let config = Config::from_value(&value, "options")?;
    Ok(Config { data_dir: data_dir.map(Path::to_owned), ..config })
}

/// What is wrong with the options, if anything.
pub(crate) fn validate(options: &impl Serialize) -> Result<(), Vec<String>> {
    let config = checked(options, None).map_err(|error| vec![error.to_string()])?;
    Layout::new(&config).map(drop).map_err(|error| vec![error.to_string()])
}

/// The options as a configuration without any would have them.
pub(crate) fn example<T: serde::de::DeserializeOwned + Serialize>(given: serde_json::Value) -> toml::Value {
    let options: Option<T> = serde_json::from_value(given).ok();
    let table = options.and_then(|options| toml::Value::try_from(options).ok());
    table.unwrap_or_else(|| toml::Value::Table(toml::Table::new()))
}
