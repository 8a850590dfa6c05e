//! What the values at a wildcard look like, for templates that show it: `<ip>`, `<num>`.
//!
//! A kind is for the eye: neither ids nor grouping depend on it. Kinds form a lattice: [`Kind::Unseen`] below all,
//! [`Kind::Any`] above all; a wildcard that met values of two kinds is [`Kind::Any`], but for numbers
//! among hex, and for both and UUIDs among ids, which are ids together.

/// What some value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Kind {
    /// No value was looked at yet; shown `<*>`.
    #[default]
    Unseen,
    /// `-12`, `0.5`, `1e9`, `99%`.
    Number,
    /// `0x1f`, `deadbeef`.
    Hex,
    /// IPv4 or IPv6, a port after it or not.
    Ip,
    /// `00:1a:2b:3c:4d:5e`.
    Mac,
    /// 8-4-4-4-12 hex digits.
    Uuid,
    /// `12ms`, `4.2s`.
    Duration,
    /// `3KiB`, `14.2 MB`.
    Size,
    /// A date, a time of day, or both.
    Time,
    /// `scheme://…`.
    Url,
    /// Something with `/` or `\`.
    Path,
    /// Another word with a digit.
    Id,
    /// What a mask of the user's matched, by its number.
    User(u8),
    /// Values of several kinds; shown `<*>`.
    Any,
}

impl Kind {
    /// Those with a name of their own.
    const NAMED: [Self; 11] = [
        Self::Number,
        Self::Hex,
        Self::Ip,
        Self::Mac,
        Self::Uuid,
        Self::Duration,
        Self::Size,
        Self::Time,
        Self::Url,
        Self::Path,
        Self::Id,
    ];

    /// The kind shown by this name, but for masks of the user's.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::NAMED.into_iter().find(|kind| kind.name(&[]).is_some_and(|own| own.as_bytes() == name))
    }

    /// The kind of one value.
    pub fn of(value: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(value) else { return Self::Any };
        match text {
            _ if is_number(text) => Self::Number,
            _ if is_ip(text) => Self::Ip,
            _ if is_mac(text) => Self::Mac,
            _ if is_uuid(text) => Self::Uuid,
            _ if is_hex(text) => Self::Hex,
            _ if has_unit(text, &DURATIONS) => Self::Duration,
            _ if has_unit(text, &SIZES) => Self::Size,
            _ if is_time(text) => Self::Time,
            _ if is_url(text) => Self::Url,
            _ if text.contains(['/', '\\']) => Self::Path,
            _ if is_id(text) => Self::Id,
            _ => Self::Any,
        }
    }

    /// The kind of a wildcard that met values of both.
    pub fn join(self, other: Self) -> Self {
        use Kind::{Any, Hex, Id, Number, Unseen, Uuid};
        match (self, other) {
            (a, b) if a == b => a,
            (Unseen, kind) | (kind, Unseen) => kind,
            (Hex, Number) | (Number, Hex) => Hex,
            (Id | Uuid, Number | Hex | Id | Uuid) | (Number | Hex, Id | Uuid) => Id,
            _ => Any,
        }
    }

    /// The name between the angle brackets; `None` for `<*>`.
    pub fn name(self, user_masks: &[String]) -> Option<&str> {
        Some(match self {
            Self::Number => "num",
            Self::Hex => "hex",
            Self::Ip => "ip",
            Self::Mac => "mac",
            Self::Uuid => "uuid",
            Self::Duration => "duration",
            Self::Size => "size",
            Self::Time => "time",
            Self::Url => "url",
            Self::Path => "path",
            Self::Id => "id",
            Self::User(number) => user_masks.get(usize::from(number))?,
            Self::Unseen | Self::Any => return None,
        })
    }

    /// As kept in a checkpoint; a user's mask is not, since its number may mean another one later.
    pub(super) const fn to_byte(self) -> u8 {
        match self {
            Self::Unseen | Self::User(_) => 0,
            Self::Number => 1,
            Self::Hex => 2,
            Self::Ip => 3,
            Self::Mac => 4,
            Self::Uuid => 5,
            Self::Duration => 6,
            Self::Size => 7,
            Self::Time => 8,
            Self::Url => 9,
            Self::Path => 10,
            Self::Id => 11,
            Self::Any => 12,
        }
    }

    /// The inverse of [`Self::to_byte`]; what is not known is unseen.
    pub(super) fn from_byte(byte: u8) -> Self {
        let kinds = Self::NAMED.iter().chain([&Self::Any]);
        usize::from(byte).checked_sub(1).and_then(|at| kinds.copied().nth(at)).unwrap_or_default()
    }
}

const SIZES: [&str; 13] = ["B", "KB", "kB", "MB", "GB", "TB", "PB", "KiB", "MiB", "GiB", "TiB", "PiB", "bytes"];

const DURATIONS: [&str; 11] = ["ns", "us", "µs", "ms", "msec", "s", "sec", "m", "min", "h", "d"];

fn is_url(text: &str) -> bool {
    let is_scheme = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    };
    text.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme))
}

fn is_id(text: &str) -> bool {
    !text.contains(char::is_whitespace) && text.contains(|c: char| c.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    let number = text.strip_suffix('%').unwrap_or(text);
    number.contains(|c: char| c.is_ascii_digit()) && number.parse::<f64>().is_ok()
}

fn is_ip(text: &str) -> bool {
    let text = text.strip_prefix('/').unwrap_or(text);
    text.parse::<std::net::IpAddr>().is_ok() || text.parse::<std::net::SocketAddr>().is_ok()
}

fn is_mac(text: &str) -> bool {
    let parts = |by: char| text.split(by).filter(|part| part.len() == 2 && is_hex_digits(part)).count();
    text.len() == 17 && (parts(':') == 6 || parts('-') == 6)
}

fn is_uuid(text: &str) -> bool {
    let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.split('-').all(is_hex_digits)
}

fn is_hex(text: &str) -> bool {
    text.strip_prefix("0x").or(text.strip_prefix("0X")).map_or(text.len() >= 8 && is_hex_digits(text), is_hex_digits)
}

fn is_hex_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn has_unit(text: &str, units: &[&str]) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+'));
    let number = text.strip_suffix(unit).unwrap_or_default();
    units.contains(&unit.trim_start()) && number.parse::<f64>().is_ok()
}

/// Digits parted by `:` or by `-`/`/`, or the words of a calendar.
fn is_time(text: &str) -> bool {
    let both = text.split_once(['T', '_', ' ']).is_some_and(|(day, time)| is_date(day) && is_clock(without_zone(time)));
    let calendar = text.split_whitespace().count() >= 3 && text.split_whitespace().any(is_clock);
    is_clock(text) || is_date(text) || both || calendar
}

fn is_clock(text: &str) -> bool {
    let parts = text.split([':', '.', ',']);
    text.contains(':') && matches!(parts.clone().count(), 2..=4) && parts.clone().all(is_digits)
}

fn is_date(text: &str) -> bool {
    let parts = text.split(['-', '/', '.']);
    text.len() >= 8 && parts.clone().count() == 3 && parts.clone().all(is_digits)
}

fn without_zone(time: &str) -> &str {
    time.trim_end_matches('Z').split('+').next().unwrap_or_default()
}

fn is_digits(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_of_the_kind_they_look_like() {
        for (value, expected) in [
            ("15", "num"),
            ("-0.5e3", "num"),
            ("99%", "num"),
            ("0x1f", "hex"),
            ("deadbeef", "hex"),
            ("10.0.0.1", "ip"),
            ("/10.0.0.1:50010", "ip"),
            ("[::1]:80", "ip"),
            ("fe80::1", "ip"),
            ("00:1a:2b:3c:4d:5e", "mac"),
            ("123e4567-e89b-12d3-a456-426614174000", "uuid"),
            ("12ms", "duration"),
            ("4.2s", "duration"),
            ("3KiB", "size"),
            ("14.2 MB", "size"),
            ("14:52:27", "time"),
            ("2005-06-03-15.42.50", "id"),
            ("2005-06-03", "time"),
            ("2005-06-03T15:42:50.675Z", "time"),
            ("Mon Jul  4 14:52:27 2005", "time"),
            ("hdfs://nn:9000/x", "url"),
            ("C:\\a\\b.dll", "path"),
            ("/etc/passwd", "path"),
            ("job_-420751", "id"),
        ] {
            assert_eq!(Kind::of(value.as_bytes()).name(&[]), Some(expected), "{value}");
        }
        for value in ["root", "", "a b", "nan", "inf", "\u{fffd}"] {
            assert_eq!(Kind::of(value.as_bytes()), Kind::Any, "{value}");
        }
        assert_eq!(Kind::of(b"\xff1"), Kind::Any);
    }

    #[test]
    fn joining_is_commutative_and_associative_and_only_goes_up() {
        let all: Vec<Kind> = (0..=12).map(Kind::from_byte).chain([Kind::User(1), Kind::User(2)]).collect();
        for a in &all {
            assert_eq!(a.join(*a), *a);
            assert_eq!(a.join(Kind::Any), Kind::Any);
            for b in &all {
                let joined = a.join(*b);
                assert_eq!(joined, b.join(*a));
                assert_eq!(joined.join(*a), joined, "{a:?} {b:?}");
                for c in &all {
                    assert_eq!(joined.join(*c), a.join(b.join(*c)), "{a:?} {b:?} {c:?}");
                }
            }
        }
    }

    #[test]
    fn names_and_kinds_agree() {
        for kind in Kind::NAMED {
            assert_eq!(Kind::named(kind.name(&[]).unwrap().as_bytes()), Some(kind));
        }
        assert_eq!(Kind::named(b"*"), None);
    }

    #[test]
    fn bytes_and_kinds_agree() {
        for byte in 0..=12 {
            assert_eq!(Kind::from_byte(byte).to_byte(), byte);
        }
        assert_eq!(Kind::from_byte(200), Kind::Unseen);
        assert_eq!(Kind::User(3).to_byte(), 0);
    }
}
