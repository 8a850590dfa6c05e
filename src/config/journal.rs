//! `journal`: where incidents are kept, and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::choice::JournalFormat;
use super::table::{Field, Kind, Shape};
use super::value::{Entry, Setting, Value};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

macro_rules! journal {
    ($($(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr, $kind:expr, unit $unit:literal;)+) => {
        /// Where incidents are kept, and how. Without a data dir there is no journal.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct Journal {
            $($(#[doc = $doc])+ pub $key: $type,)+
        }

        impl Default for Journal {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        impl Journal {
            /// Every key of the map.
            pub(super) const FIELDS: &'static [Field] = &[$(Field {
                key: concat!("journal.", stringify!($key)),
                kind: $kind,
                unit: $unit,
                description: concat!($($doc),+).trim_ascii(),
            }),+];
            /// The default of each, as configuration files write it.
            pub(super) fn defaults() -> Vec<String> {
                let usual = Self::default();
                vec![$(usual.$key.to_value().describe()),+]
            }

            /// Their names.
            pub(super) const KEYS: &'static [&'static str] = &[$(stringify!($key)),+];
        }

        impl Setting for Journal {
            /// What is not as by default.
            fn to_value(&self) -> Value {
                let entry = |key: &str, value: Value| Entry { key: key.to_owned(), line: None, node: value.unplaced() };
                let usual = Self::default();
                let entries = [$((self.$key != usual.$key).then(|| entry(stringify!($key), self.$key.to_value()))),+];
                Value::Map(entries.into_iter().flatten().collect())
            }

            fn from_value(value: &Value) -> Option<Self> {
                let entries: &[Entry] = match value {
                    Value::Map(entries) => entries,
                    Value::List(items) if items.is_empty() => &[],
                    _ => return None,
                };
                let mut journal = Self::default();
                for entry in entries {
                    match entry.key.as_str() {
                        $(stringify!($key) => journal.$key = Setting::from_value(&entry.node.value)?,)+
                        _ => return None,
                    }
                }
                Some(journal)
            }
        }
    };
}

journal! {
    /// Whether incidents are kept.
    enabled: bool = true, Kind::Flag, unit "";
    /// A bucket or directory instead of the data dir's.
    url: Option<String> = None, Kind::OptionalText(Shape::StoreUrl), unit "";
    /// What the origin is called; unset: the machine's name.
    host: Option<String> = None, Kind::OptionalText(Shape::FieldPath), unit "";
    /// What objects are.
    format: JournalFormat = JournalFormat::default(), Kind::Choice(JournalFormat::NAMES), unit "";
    /// So many incidents are written at once.
    batch_incidents: u64 = 1_000, Kind::Integer { min: 1, max: 5_000 }, unit "incidents";
    /// The longest an incident waits for others.
    interval_secs: u64 = 10, Kind::Integer { min: 1, max: 3_600 }, unit "seconds";
    /// Disk for what a bucket has not taken yet.
    spool_bytes: u64 = 64 * MIB, Kind::Integer { min: 0, max: TIB }, unit "bytes";
    /// Disk for the journal in the data dir; at the limit the oldest hours go. Of a URL nothing is ever removed.
    max_bytes: u64 = GIB / 4, Kind::Integer { min: MIB, max: TIB }, unit "bytes";
}
