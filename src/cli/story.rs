//! Ten minutes of a small web shop, the same every time: what `oddline demo` replays.
//!
//! nginx, the application, postgres, cron and sshd, about twenty events a second. In the seventh minute a
//! report that cron never started before takes all database connections; checkout fails, nginx times
//! out, somebody logs in and ends the report, and the shop recovers. Nothing in it is read from anywhere:
//! names and addresses are those reserved for documentation (RFC 2606, RFC 5737).

use crate::cli::random::Random;

/// When the story starts: 2025-03-14 10:00:00 UTC, in milliseconds since the Unix epoch.
pub(crate) const START_MILLIS: i64 = 1_741_946_400_000;
/// How long it lasts.
pub(crate) const SECONDS: i64 = 600;
/// When the first odd event comes, in seconds from the start.
pub(crate) const INCIDENT_SECOND: i64 = 372;
/// Events per second of each routine.
const NGINX_PER_SECOND: u64 = 10;
const SHOP_PER_SECOND: u64 = 8;
/// Shops that share the machine; cron cleans up for each, every minute.
const TENANTS: u64 = 16;

/// One event of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoryEvent {
    /// Milliseconds since the Unix epoch.
    pub(crate) millis: i64,
    /// The host it comes from.
    pub(crate) host: &'static str,
    /// The program that wrote it.
    pub(crate) service: &'static str,
    /// Its message.
    pub(crate) message: String,
}

impl StoryEvent {
    /// The event as an agent would hold it: one JSON object.
    pub(crate) fn to_json(&self) -> String {
        let (time, host, service) = (clock(self.millis, Style::Iso), self.host, self.service);
        let message = serde_json::Value::from(self.message.as_str());
        format!(r#"{{"timestamp":"{time}","host":"{host}","service":"{service}","message":{message}}}"#)
    }
}

/// The whole story, in order of time.
pub(crate) fn story() -> Vec<StoryEvent> {
    let mut teller = Teller { random: Random::new(0x0dd_11e), events: Vec::new() };
    for second in 0..SECONDS {
        teller.routine(second);
        teller.incident(second);
    }
    teller.events.sort_by_key(|event| event.millis);
    teller.events
}

struct Teller {
    random: Random,
    events: Vec<StoryEvent>,
}

impl Teller {
    fn tell(
        &mut self,
        second: i64,
        host: &'static str,
        service: &'static str,
        text: impl FnOnce(&mut Random, i64) -> String,
    ) {
        let millis = START_MILLIS + second * 1000 + self.random.below(1000) as i64;
        let message = text(&mut self.random, millis);
        self.events.push(StoryEvent { millis, host, service, message });
    }

    fn routine(&mut self, second: i64) {
        let failing = is_failing(second);
        for _ in 0..self.random.around(NGINX_PER_SECOND) {
            self.tell(second, "web-1", "nginx", |random, millis| nginx_access(random, millis, failing));
        }
        let busy = if failing { SHOP_PER_SECOND / 2 } else { SHOP_PER_SECOND };
        for _ in 0..self.random.around(busy) {
            self.tell(second, "app-1", "shop", |random, _| shop(random));
        }
        if !failing {
            self.tell(second, "db-1", "postgres", |random, _| postgres(random));
        }
        self.tell(second, "web-1", "sshd", |random, _| sshd(random));
        if second % 60 == 1 {
            for tenant in 1..=TENANTS {
                self.tell(second, "app-1", "cron", |_, _| {
                    format!("(shop) CMD (/opt/shop/bin/expire-carts --tenant {tenant})")
                });
            }
        }
    }

    /// The cause first, then what it does to the others, then the way out.
    fn incident(&mut self, second: i64) {
        match second {
            INCIDENT_SECOND => self.tell(second, "app-1", "cron", |_, _| {
                "(shop) CMD (/opt/shop/bin/sales-report --all-years --parallel 80)".into()
            }),
            466 => self.tell(second, "db-1", "sshd", |random, _| {
                format!("Accepted publickey for oncall from 198.51.100.23 port {} ssh2", random.between(30_000, 60_000))
            }),
            478 => self.tell(second, "db-1", "postgres", |random, _| {
                format!(
                    "LOG:  terminated 80 backends of application \"sales-report\" on request of process {}",
                    random.between(4000, 9000)
                )
            }),
            482 => self.tell(second, "app-1", "shop", |_, _| {
                "WARN pool: circuit breaker postgres closed, serving again".into()
            }),
            398 => self.tell(second, "app-1", "shop", |_, _| {
                "ERROR pool: circuit breaker postgres opened after 20 failures".into()
            }),
            _ => {}
        }
        if !is_failing(second) {
            return;
        }
        if second % 3 == 0 {
            self.tell(second, "db-1", "postgres", |_, _| {
                "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute".into()
            });
        }
        if second % 2 == 0 {
            self.tell(second, "app-1", "shop", |random, _| {
                let (waited, order) = (random.between(5000, 5200), random.between(70_000, 80_000));
                format!("ERROR checkout: no database connection after {waited} ms, pool exhausted (50 of 50 in use), order {order} lost")
            });
        }
        if second % 4 == 0 {
            self.tell(second, "web-1", "nginx", |random, millis| {
                let (at, request) = (clock(millis, Style::NginxError), random.between(40_000, 90_000));
                format!("{at} [error] 812#812: *{request} upstream timed out (110: Connection timed out) while reading response header from upstream")
            });
        }
    }
}

fn is_failing(second: i64) -> bool {
    (INCIDENT_SECOND + 8..480).contains(&second)
}

fn nginx_access(random: &mut Random, millis: i64, failing: bool) -> String {
    let address = format!("203.0.113.{}", random.between(1, 255));
    let at = clock(millis, Style::NginxAccess);
    let path = match random.below(6) {
        0 => "/".to_owned(),
        1 => format!("/category/{}", random.pick(&["shoes", "coats", "hats", "bags"])),
        2 => format!("/product/{}", random.between(100, 4000)),
        3 => "/cart".to_owned(),
        4 => format!("/static/app.{}.js", random.between(10, 20)),
        _ => format!("/search?q={}", random.pick(&["boots", "scarf", "rain", "wool"])),
    };
    let status =
        if failing && random.below(3) == 0 { "504" } else { random.pick(&["200", "200", "200", "200", "304", "302"]) };
    let agent =
        random.pick(&["Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (iPhone)", "Mozilla/5.0 (Windows NT 10.0)"]);
    format!("{address} - - [{at}] \"GET {path} HTTP/1.1\" {status} {} \"-\" \"{agent}\"", random.between(300, 90_000))
}

fn shop(random: &mut Random) -> String {
    let (user, product) = (random.between(1000, 9000), random.between(100, 4000));
    let (order, millis) = (random.between(70_000, 80_000), random.between(1, 40));
    match random.below(12) {
        0 => format!("INFO session: user {user} signed in from 203.0.113.{}", random.between(1, 255)),
        1 => format!("INFO checkout: order {order} placed by user {user}, total {}.90 EUR", random.between(9, 300)),
        2 => format!("INFO mail: queued receipt for order {order}"),
        3 | 4 => format!("INFO cart: user {user} added product {product}"),
        5 => format!("INFO cart: user {user} removed product {product}"),
        6 => format!("WARN payment: provider answered after {} ms", random.between(1000, 1900)),
        7 | 8 => format!("INFO catalog: listed {} products in {millis} ms", random.between(4, 48)),
        _ => format!("INFO catalog: product {product} shown to user {user} in {millis} ms"),
    }
}

fn postgres(random: &mut Random) -> String {
    let millis = random.between(100, 400);
    match random.below(3) {
        0 => format!("LOG:  automatic analyze of table \"shop.public.carts\", elapsed {millis} ms"),
        _ => format!("LOG:  duration: {millis}.{:03} ms  execute fetch_product: SELECT", random.below(1000)),
    }
}

fn sshd(random: &mut Random) -> String {
    let (address, port) = (format!("192.0.2.{}", random.between(1, 255)), random.between(30_000, 60_000));
    match random.below(3) {
        0 => format!("Accepted publickey for monitor from 198.51.100.7 port {port} ssh2"),
        1 => format!("Connection closed by authenticating user root {address} port {port} [preauth]"),
        _ => format!("Failed password for invalid user admin from {address} port {port} ssh2"),
    }
}

#[derive(Clone, Copy)]
enum Style {
    Iso,
    NginxAccess,
    NginxError,
}

/// Time of day of the story's one day in the style of a program.
fn clock(millis: i64, style: Style) -> String {
    let of_day = millis.rem_euclid(86_400_000);
    let (hour, minute, second, milli) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60, of_day % 1000);
    match style {
        Style::Iso => format!("2025-03-14T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"),
        Style::NginxAccess => format!("14/Mar/2025:{hour:02}:{minute:02}:{second:02} +0000"),
        Style::NginxError => format!("2025/03/14 {hour:02}:{minute:02}:{second:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_every_time_and_in_order() {
        let events = story();
        assert_eq!(events, story());
        assert!(events.is_sorted_by_key(|e| e.millis));
        assert!((8_000..20_000).contains(&events.len()), "{}", events.len());
    }

    #[test]
    fn lasts_ten_minutes_from_its_start() {
        let events = story();
        assert!(events.first().unwrap().millis - START_MILLIS < 1000);
        assert!(START_MILLIS + SECONDS * 1000 - events.last().unwrap().millis < 1000);
        assert_eq!(clock(START_MILLIS, Style::Iso), "2025-03-14T10:00:00.000Z");
    }

    #[test]
    fn no_failure_is_told_before_the_incident() {
        let bad = |e: &&StoryEvent| {
            e.message.contains("ERROR") || e.message.contains("FATAL") || e.message.contains("[error]")
        };
        let first = story().iter().find(bad).unwrap().millis;
        assert!(first >= START_MILLIS + INCIDENT_SECOND * 1000);
    }
}
