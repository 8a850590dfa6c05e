//! What objects are called; see the [module](super) for the layout.

use super::incident::{Incident, bounded, parse_time};
use crate::event::Timestamp;

/// Longest host part of a key, in bytes.
const MOST_HOST_BYTES: usize = 128;

/// Where objects of one host and hour are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The host, as [`host_part`] writes it.
    pub host: String,
    /// `YYYY-MM-DD`.
    pub date: String,
    /// `HH`.
    pub hour: String,
}

impl Partition {
    /// Where an incident of this time belongs.
    pub fn new(host: &str, time: Timestamp) -> Self {
        let time = jiff::Timestamp::from_microsecond(bounded(time).0).unwrap_or_default().to_string();
        let part = |range: std::ops::Range<usize>| time.get(range).unwrap_or("00").to_owned();
        Self { host: host_part(host), date: part(0..10), hour: part(11..13) }
    }

    /// Where an incident belongs; one whose time does not read belongs to 1970.
    pub fn of(host: &str, incident: &Incident) -> Self {
        Self::new(host, parse_time(&incident.time).unwrap_or_default())
    }

    /// The directory, without a slash at its end.
    pub fn prefix(&self) -> String {
        format!("host={}/date={}/hour={}", self.host, self.date, self.hour)
    }

    /// The partition of a key; `None` for what is no object of a journal.
    pub fn of_key(key: &str) -> Option<Self> {
        let mut parts = key.split('/');
        let mut part = |name: &str| parts.next()?.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        let partition = Self { host: part("host")?, date: part("date")?, hour: part("hour")? };
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let is_sound = partition.date.len() == 10 && partition.hour.len() == 2;
        let is_sound = is_sound && is_digits(&partition.date) && is_digits(&partition.hour);
        (is_sound && parts.next().is_some_and(|name| !name.is_empty()) && parts.next().is_none()).then_some(partition)
    }
}

/// A host's name as it stands in keys; two names give two texts, but for a collision of 32 bits.
pub fn host_part(host: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !host.is_empty() && host.len() <= MOST_HOST_BYTES && host.chars().all(is_plain) && !host.starts_with('.') {
        return host.to_owned();
    }
    let plain: String = host.chars().take(64).map(|c| if is_plain(c) && c != '.' { c } else { '_' }).collect();
    format!("{plain}-{:08x}", crc32c::crc32c(host.as_bytes()))
}

/// The key of an object with these bytes.
pub fn object_key(partition: &Partition, first_event_id: &str, bytes: &[u8], extension: &str) -> String {
    let id: String = first_event_id.chars().filter(|c| c.is_ascii_hexdigit() || *c == '-').take(64).collect();
    format!("{}/{id}-{:08x}.{extension}", partition.prefix(), crc32c::crc32c(bytes))
}

/// CRC-32C of the bytes of the object with this key.
pub(super) fn checksum_of_key(key: &str) -> Option<u32> {
    let (name, _) = key.rsplit_once('.')?;
    u32::from_str_radix(name.rsplit_once('-')?.1, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_a_hive_table_and_are_read_back() {
        let partition = Partition::new("web-1", Timestamp(1_741_946_400_000_000));
        let key = object_key(&partition, "019594aa5a00-00000100-0000000a3f", b"xyz", "ndjson");
        assert_eq!(
            key,
            "host=web-1/date=2025-03-14/hour=10/019594aa5a00-00000100-0000000a3f-87ae6b5a.ndjson"
                .replace("87ae6b5a", &format!("{:08x}", crc32c::crc32c(b"xyz")))
        );
        assert_eq!(Partition::of_key(&key), Some(partition));
        for bad in [
            "",
            "host=a/date=2025-03-14/hour=10",
            "host=a/date=x/hour=10/b",
            "a/b/c/d",
            "host=a/date=2025-03-14/hour=10/b/c",
        ] {
            assert_eq!(Partition::of_key(bad), None, "{bad}");
        }
    }

    #[test]
    fn hosts_cannot_leave_their_directory_and_stay_apart() {
        let odd = ["", "..", "../../etc", "a/b", "a_b", "a b", "äö", "a=b", &"x".repeat(1_000), ".hidden"];
        let parts: std::collections::BTreeSet<String> = odd.iter().map(|host| host_part(host)).collect();
        assert_eq!(parts.len(), odd.len());
        for part in &parts {
            assert!(part.len() < 140 && !part.contains(['/', '=', '+', '%', ' ']) && !part.starts_with('.'), "{part}");
        }
        assert_eq!(host_part("web-1.example.com"), "web-1.example.com");
    }

    #[test]
    fn times_far_off_have_a_partition_too() {
        for time in [i64::MIN, -1, i64::MAX] {
            let partition = Partition::new("h", Timestamp(time));
            assert_eq!(Partition::of_key(&format!("{}/x", partition.prefix())), Some(partition), "{time}");
        }
    }
}
