//! The keys that take one of a few words.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The word is none of those accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}, found {found:?}", accepted.join(", "))]
pub struct UnknownChoice {
    /// The word that was given.
    pub found: String,
    /// The words that would have been accepted.
    pub accepted: &'static [&'static str],
}

macro_rules! choice {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $variant_doc:literal])+ $(#[$default:ident])? $variant:ident = $text:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $name {
            $($(#[doc = $variant_doc])+ $(#[$default])? #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every choice, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The word for each choice, in the order of [`Self::ALL`].
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The word the configuration uses for it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownChoice;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(UnknownChoice { found: text.to_owned(), accepted: Self::NAMES }),
                }
            }
        }
    };
}

choice! {
    /// How many fields are written.
    Fields {
        /// `score`, `is_anomaly` and `reasons`.
        Minimal = "minimal",
        /// Also `template`, `template_id` and `state`, and on anomalies all the rest.
        #[default]
        Standard = "standard",
        /// Everything on every event.
        Full = "full",
    }
}

choice! {
    /// A built-in mask.
    BuiltinMask {
        /// Paths, URLs, request targets.
        #[default]
        Path = "path",
        /// Values of `key=value` that are not letters alone.
        KeyValue = "key_value",
        /// Words with a digit.
        Number = "number",
        /// Eight hex digits or more.
        Hex = "hex",
        /// `Mon Jul  4 14:52:27 2005`.
        CalendarTime = "calendar_time",
        /// A number and the unit of size after it.
        Size = "size",
        /// The protocol version after a path.
        Protocol = "protocol",
        /// Nothing between brackets or quotes.
        EmptyValue = "empty_value",
        /// Quoted values of keys, blanks included.
        QuotedValue = "quoted_value",
        /// The name after the word `user`.
        UserName = "user_name",
        /// Ids of one kind in a row.
        List = "list",
        /// Values in JSON.
        Json = "json",
        /// Variables that are a part of a token.
        Glued = "glued",
        /// A line's first word as a variable.
        FirstToken = "first_token",
    }
}

choice! {
    /// How variables are shown in templates.
    Wildcards {
        /// All as `<*>`.
        #[default]
        Plain = "plain",
        /// By what the values look like: `<ip>`, `<num>`.
        Typed = "typed",
    }
}

choice! {
    /// What objects of the journal are.
    JournalFormat {
        /// Lines of JSON.
        #[default]
        Ndjson = "ndjson",
        /// Apache Parquet, where oddline was built with it.
        Parquet = "parquet",
    }
}

choice! {
    /// What the journal keeps of messages.
    JournalMessage {
        /// The message and its parameters.
        #[default]
        Full = "full",
        /// The template alone.
        Template = "template",
        /// A hash of the message.
        Hash = "hash",
    }
}

choice! {
    /// What makes vectors of templates.
    EmbedderKind {
        /// Hashed words: no files.
        #[default]
        Hashing = "hashing",
        /// A sentence model in ONNX, where oddline was built with it.
        Onnx = "onnx",
    }
}

choice! {
    /// Which time an event is given.
    TimeSource {
        /// When it reached oddline.
        #[default]
        Arrival = "arrival",
        /// What its own timestamp says.
        Event = "event",
    }
}

choice! {
    /// What to do when the event already has something at the target.
    OnExisting {
        /// Leave the event as it is.
        Keep = "keep",
        /// Write over it.
        #[default]
        Replace = "replace",
        /// Keep the old value under another name beside it.
        Rename = "rename",
    }
}

choice! {
    /// When what was learned reaches the disk.
    Durability {
        /// When the system pleases: a crash of the machine may lose what came after the last checkpoint.
        None = "none",
        /// Every `flush_interval_ms`.
        #[default]
        Interval = "interval",
        /// At every commit.
        Always = "always",
    }
}
