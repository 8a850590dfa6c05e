//! The configuration of a run: the file of `--config`, then the flags over it.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use oddline::clock::moment;
use oddline::config::{AlertBudget, Config, Fields, RuleMatch, TimeSource};
use oddline::engine::stream::Stream;
use oddline::event::Timestamp;

use super::error::CliError;
use super::reader::LineFormat;

/// From when to when.
#[derive(Debug, Args)]
pub(crate) struct PeriodArgs {
    /// Only what happened at this time or later: a time (RFC 3339) or how long ago (90s, 15m, 2h, 7d).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what happened before this: as --since.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl PeriodArgs {
    /// From when to when, as seen `now`.
    pub(crate) fn read(&self, now: Timestamp) -> Result<(Option<Timestamp>, Option<Timestamp>), CliError> {
        let time = |text: &Option<String>| {
            text.as_deref()
                .map(|text| moment(text, now).ok_or_else(|| CliError::NotATime { text: text.to_owned() }))
                .transpose()
        };
        Ok((time(&self.since)?, time(&self.until)?))
    }
}

/// Which stream.
#[derive(Debug, Args)]
pub(crate) struct StreamArgs {
    /// Only this stream: values of partition_by, as host=db1 or host=db1,service=shop.
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
}

impl StreamArgs {
    /// The stream, if one is asked for.
    pub(crate) fn read(&self, config: &Config) -> Result<Option<Stream>, CliError> {
        Ok(self.stream.as_deref().map(|text| Stream::parse(config, text)).transpose()?)
    }
}

/// Flags about what is learned where.
#[derive(Debug, Default, Args)]
pub(crate) struct EngineArgs {
    /// Configuration file: YAML, TOML or JSON (see `oddline config example`); flags go over it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Directory that keeps what was learned; without one it is forgotten at the end.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Flags about how events are read and judged.
#[derive(Debug, Default, Args)]
pub(crate) struct EventArgs {
    /// Field of a JSON event that holds the message; dots go into objects.
    #[arg(long, value_name = "PATH")]
    message_field: Option<String>,
    /// Field of a JSON event that holds its time.
    #[arg(long, value_name = "PATH")]
    timestamp_field: Option<String>,
    /// Field of a JSON event that holds its level ("error", "warn", …); of lines of text only the words tell.
    #[arg(long, value_name = "PATH")]
    level_field: Option<String>,
    /// Fields of a JSON event that tell streams apart, such as host,service; lines of text are one stream.
    #[arg(long, value_name = "PATHS", value_delimiter = ',')]
    partition_by: Option<Vec<String>>,
    /// What may be called an anomaly: a share of events (0.001 is one in a thousand) or alerts in time (5/hour).
    #[arg(long, value_name = "BUDGET", allow_negative_numbers = true)]
    alert_budget: Option<AlertBudget>,
}

/// Flags about what is written.
#[derive(Debug, Default, Args)]
pub(crate) struct FieldArgs {
    /// Which time an event is given.
    #[arg(long, value_parser = PossibleValuesParser::new(TimeSource::NAMES).try_map(|word| word.parse::<TimeSource>()))]
    time: Option<TimeSource>,
    /// How many fields are written under `anomaly`.
    #[arg(long, value_parser = PossibleValuesParser::new(Fields::NAMES).try_map(|word| word.parse::<Fields>()))]
    fields: Option<Fields>,
}

/// Loads the file, if one is named; defaults otherwise.
pub(crate) fn from_file(path: Option<&Path>) -> Result<Config, CliError> {
    Ok(path.map(Config::from_path).transpose()?.unwrap_or_default())
}

/// The data dir of a command that makes none.
pub(crate) fn existing_data_dir(config: &Config) -> Result<&Path, CliError> {
    let dir = config
        .data_dir
        .as_deref()
        .ok_or(CliError::Usage("name the data dir: --data-dir DIR, or a --config FILE with data_dir"))?;
    match dir.metadata() {
        Ok(_) => Ok(dir),
        Err(source) => Err(CliError::Input { path: dir.to_owned(), source }),
    }
}

/// Loads the file and puts `--data-dir` over it.
pub(crate) fn load(args: &EngineArgs) -> Result<Config, CliError> {
    let mut config = from_file(args.config.as_deref())?;
    if let Some(dir) = &args.data_dir {
        config.data_dir = Some(dir.clone());
    }
    Ok(config)
}

/// Checks what the flags made of the configuration: what is wrong now is wrong usage.
pub(crate) fn checked(config: Config) -> Result<Config, CliError> {
    config.validate().map_err(CliError::Flags)?;
    Ok(config)
}

impl EventArgs {
    /// Puts the flags over `config`.
    pub(crate) fn apply(&self, config: &mut Config) {
        set(&mut config.message_field, &self.message_field);
        set(&mut config.timestamp_field, &self.timestamp_field);
        if self.level_field.is_some() {
            config.level_field.clone_from(&self.level_field);
        }
        set(&mut config.partition_by, &self.partition_by);
        set(&mut config.alert_budget, &self.alert_budget);
    }

    /// Fails for flags about fields when the input is to be taken as text, which has none.
    pub(crate) fn fit(&self, input: Option<LineFormat>) -> Result<(), CliError> {
        let flags = [
            ("--message-field", self.message_field.is_some()),
            ("--timestamp-field", self.timestamp_field.is_some()),
            ("--level-field", self.level_field.is_some()),
            ("--partition-by", self.partition_by.is_some()),
        ];
        let given: Vec<_> = flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect();
        if input == Some(LineFormat::Lines) && !given.is_empty() {
            return Err(CliError::NeedsFields { flags: given.join(", ") });
        }
        Ok(())
    }
}

impl FieldArgs {
    /// Puts the flags over `config`.
    pub(crate) fn apply(&self, config: &mut Config) {
        set(&mut config.time, &self.time);
        set(&mut config.fields, &self.fields);
    }
}

/// Says, once the input turns out to be text, which keys of `config` have no effect on it.
pub(crate) fn warn_of_unused(config: &Config, input: LineFormat) {
    let usual = Config::default();
    let keys = [
        ("message_field", config.message_field != usual.message_field),
        ("timestamp_field", config.timestamp_field != usual.timestamp_field),
        ("level_field", config.level_field.is_some()),
        ("partition_by", config.partition_by != usual.partition_by),
        ("rules about fields", config.rules.iter().any(|rule| matches!(rule.matches, RuleMatch::Field { .. }))),
    ];
    let unused: Vec<_> = keys.into_iter().filter(|(_, set)| *set).map(|(key, _)| key).collect();
    if input == LineFormat::Lines && !unused.is_empty() {
        let unused = unused.join(", ");
        super::output::warn(format_args!("the input is lines of text, which have no fields; not used: {unused}"));
    }
}

fn set<T: Clone>(value: &mut T, flag: &Option<T>) {
    if let Some(flag) = flag {
        value.clone_from(flag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("oddline.yaml");
        std::fs::write(&path, "message_field: msg\nalert_budget: 0.01\n").unwrap();
        let mut config = load(&EngineArgs { config: Some(path), data_dir: Some("d".into()) }).unwrap();
        EventArgs { alert_budget: Some(AlertBudget::Share(0.002)), ..EventArgs::default() }.apply(&mut config);
        assert_eq!((config.message_field.as_str(), config.alert_budget), ("msg", AlertBudget::Share(0.002)));
        assert_eq!(config.data_dir, Some("d".into()));
    }

    #[test]
    fn a_flag_out_of_range_is_wrong_usage() {
        let mut config = Config::default();
        EventArgs { alert_budget: Some(AlertBudget::Share(7.0)), ..EventArgs::default() }.apply(&mut config);
        let error = checked(config).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("alert_budget"), "{error}");
    }
}
