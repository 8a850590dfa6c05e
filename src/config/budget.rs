//! `alert_budget`: a share of events, or alerts in time.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::value::{Setting, Value};

/// How much may be called an anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub enum AlertBudget {
    /// A share of events.
    Share(f64),
    /// So many alerts in a stretch of time.
    Rate {
        /// Alerts.
        alerts: u32,
        /// In this time.
        per: Per,
    },
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Per {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
}

/// The text is no budget.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {}", AlertBudget::accepted())]
pub struct ParseBudgetError;

/// As files have it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Text(String),
}

impl Per {
    const ALL: [(Self, &'static str); 3] = [(Self::Minute, "minute"), (Self::Hour, "hour"), (Self::Day, "day")];

    /// How many of it an hour has.
    const fn in_an_hour(self) -> f64 {
        match self {
            Self::Minute => 60.0,
            Self::Hour => 1.0,
            Self::Day => 1.0 / 24.0,
        }
    }
}

impl AlertBudget {
    /// Bounds of a share.
    pub(super) const SHARE_BOUNDS: (f64, f64) = (1e-6, 0.1);
    /// The most alerts of a rate; the least is 1.
    const MOST_ALERTS: u32 = 999_999;
    /// What the text of a rate matches.
    const PATTERN: &'static str = "^[1-9][0-9]{0,5}/(minute|hour|day)$";

    /// What is accepted, in words.
    pub(super) fn accepted() -> String {
        let ((least, most), alerts) = (Self::SHARE_BOUNDS, Self::MOST_ALERTS);
        format!(
            "a number from {least} to {most} (share of events), or 1 to {alerts} alerts per minute, hour or day, written as in \"5/hour\""
        )
    }

    /// Within the bounds.
    pub(super) fn is_accepted(self) -> bool {
        let (least, most) = Self::SHARE_BOUNDS;
        match self {
            Self::Share(share) => (least..=most).contains(&share),
            Self::Rate { alerts, .. } => (1..=Self::MOST_ALERTS).contains(&alerts),
        }
    }

    /// Alerts an hour, unless it is a share.
    pub fn alerts_per_hour(self) -> Option<f64> {
        match self {
            Self::Share(_) => None,
            Self::Rate { alerts, per } => Some(f64::from(alerts) * per.in_an_hour()),
        }
    }
}

impl From<f64> for AlertBudget {
    fn from(share: f64) -> Self {
        Self::Share(share)
    }
}

impl fmt::Display for AlertBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => share.fmt(f),
            Self::Rate { alerts, per } => {
                let name = Per::ALL.iter().find(|(known, _)| known == per).map_or("", |(_, name)| name);
                write!(f, "{alerts}/{name}")
            }
        }
    }
}

impl FromStr for AlertBudget {
    type Err = ParseBudgetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((alerts, per)) = text.split_once('/') else {
            return text.parse().map(Self::Share).map_err(|_| ParseBudgetError);
        };
        let is_whole = !alerts.starts_with('0') && alerts.bytes().all(|byte| byte.is_ascii_digit());
        let alerts = alerts.parse().ok().filter(|alerts| is_whole && (1..=Self::MOST_ALERTS).contains(alerts));
        let per = Per::ALL.iter().find(|(_, name)| *name == per).map(|(per, _)| *per);
        Ok(Self::Rate { alerts: alerts.ok_or(ParseBudgetError)?, per: per.ok_or(ParseBudgetError)? })
    }
}

impl From<AlertBudget> for Written {
    fn from(budget: AlertBudget) -> Self {
        match budget {
            AlertBudget::Share(share) => Self::Number(share),
            AlertBudget::Rate { .. } => Self::Text(budget.to_string()),
        }
    }
}

impl TryFrom<Written> for AlertBudget {
    type Error = ParseBudgetError;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Number(share) => Ok(Self::Share(share)),
            Written::Text(text) => Self::of_text(&text).ok_or(ParseBudgetError),
        }
    }
}

impl AlertBudget {
    /// In a file a share is a number and a rate a text.
    fn of_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|budget| matches!(budget, Self::Rate { .. }))
    }
}

impl JsonSchema for AlertBudget {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AlertBudget".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let (least, most) = Self::SHARE_BOUNDS;
        let mut schema = Schema::default();
        let share = json!({ "type": "number", "minimum": least, "maximum": most });
        schema.insert("anyOf".to_owned(), json!([share, { "type": "string", "pattern": Self::PATTERN }]));
        schema
    }
}

impl Setting for AlertBudget {
    fn to_value(&self) -> Value {
        match self {
            Self::Share(share) => Value::Number(*share),
            Self::Rate { .. } => Value::Text(self.to_string()),
        }
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Self::of_text(text),
            _ => f64::from_value(value).map(Self::Share),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_read_is_what_is_written_and_what_the_pattern_allows() {
        let pattern = regex::Regex::new(AlertBudget::PATTERN).unwrap();
        for text in
            ["5/hour", "1/minute", "999999/day", "0/hour", "05/hour", "1000000/day", "5/week", "/hour", "+5/day"]
        {
            let read = AlertBudget::of_text(text);
            assert_eq!(
                read.map(|budget| budget.to_string()),
                pattern.is_match(text).then(|| text.to_owned()),
                "{text}"
            );
        }
        assert_eq!("0.002".parse(), Ok(AlertBudget::Share(0.002)));
        assert_eq!(AlertBudget::of_text("0.002"), None, "a file has it as a number");
    }

    #[test]
    fn rates_of_any_time_are_known_by_the_hour() {
        for (text, per_hour) in [("2/minute", 120.0), ("5/hour", 5.0), ("12/day", 0.5)] {
            assert_eq!(text.parse::<AlertBudget>().unwrap().alerts_per_hour(), Some(per_hour));
        }
        assert_eq!(AlertBudget::Share(0.1).alerts_per_hour(), None);
    }
}
