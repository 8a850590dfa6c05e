//! The places of a listener's connections, and who gives one up when all are taken.
//!
//! When all are taken, one on which nothing has been under way for [`SPARED`] is closed for the one that comes: of the peer that has the most
//! connections, the one that has been idle for longest. So nobody keeps others out with connections alone. A peer is an address, in IPv6 a
//! network of 64 bits; all who come over loopback or a unix socket are one. Only where it is set has a peer a number of connections it may not
//! exceed, and never on this machine: behind one address there may be many agents.
//!
//! Handshakes of TLS have places of their own, under the same rules: who begins many and finishes none keeps nobody out for longer than it takes to
//! close one of his.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::pulse::{Limits, Pulse};
use super::stats::{Levels, Raised, Stats, add};

/// Idle for less than this, a connection is not closed for another.
const SPARED: Duration = Duration::from_secs(1);
/// Handshakes under way at a time.
const HANDSHAKES: usize = 256;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often it is looked for one that can be closed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where connections come from.
pub(super) trait Peer {
    /// Nothing for this machine.
    fn peer(&self) -> Option<IpAddr>;
}

impl Peer for SocketAddr {
    fn peer(&self) -> Option<IpAddr> {
        match self.ip().to_canonical() {
            own if own.is_loopback() => None,
            IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()),
            address => Some(address),
        }
    }
}

impl Peer for tokio::net::unix::SocketAddr {
    fn peer(&self) -> Option<IpAddr> {
        None
    }
}

/// The places.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    permits: Arc<Semaphore>,
    most_of_a_peer: Option<usize>,
    limits: Limits,
    stats: Arc<Stats>,
    level: fn(&Levels) -> &AtomicU64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, (Option<IpAddr>, Arc<Pulse>)>,
}

impl Open {
    fn of(&self, peer: Option<IpAddr>) -> usize {
        self.connections.values().filter(|(other, _)| *other == peer).count()
    }

    /// Which one is closed for another.
    fn spare(&self, now: Instant) -> Option<&Pulse> {
        let mut counts = HashMap::<_, usize>::new();
        for (peer, _) in self.connections.values() {
            *counts.entry(peer).or_default() += 1;
        }
        let idle = self.connections.values().filter_map(|(peer, pulse)| {
            let idle = pulse.idle_since().map(|since| now.saturating_duration_since(since))?;
            (idle >= SPARED).then(|| (counts.get(peer).copied().unwrap_or(0), idle, pulse))
        });
        idle.max_by_key(|(count, idle, _)| (*count, *idle)).map(|(.., pulse)| &**pulse)
    }
}

impl Places {
    /// `most` in all, and of one peer elsewhere `most_of_a_peer`.
    pub(super) fn new(most: usize, most_of_a_peer: Option<usize>, limits: Limits, stats: &Arc<Stats>) -> Self {
        Self::of(most, most_of_a_peer, limits, stats, |levels| &levels.connections)
    }

    /// Those of handshakes.
    pub(super) fn of_handshakes(most_of_a_peer: Option<usize>, stats: &Arc<Stats>) -> Self {
        let limits = Limits { head: HANDSHAKE, idle: HANDSHAKE, request: HANDSHAKE };
        Self::of(HANDSHAKES, most_of_a_peer, limits, stats, |levels| &levels.handshakes)
    }

    fn of(
        most: usize,
        most_of_a_peer: Option<usize>,
        limits: Limits,
        stats: &Arc<Stats>,
        level: fn(&Levels) -> &AtomicU64,
    ) -> Self {
        let (permits, stats, open) = (Arc::new(Semaphore::new(most)), Arc::clone(stats), Mutex::default());
        Self(Arc::new(Shared { permits, most_of_a_peer, limits, stats, level, open }))
    }

    /// A place for a connection of `peer`, as soon as there is one; nothing when that peer has as many as it may.
    pub(super) async fn take(&self, peer: Option<IpAddr>) -> Option<Place> {
        let shared = &self.0;
        if peer.is_some() && shared.most_of_a_peer.is_some_and(|most| shared.open().of(peer) >= most) {
            add(&shared.stats.connections_refused_total, 1);
            return None;
        }
        let permit = loop {
            let permit = Arc::clone(&shared.permits).acquire_owned();
            if shared.permits.available_permits() == 0
                && let Some(spare) = shared.open().spare(Instant::now())
            {
                spare.want();
            }
            match timeout(LOOK_EVERY, permit).await {
                Ok(permit) => break permit.ok()?,
                Err(_) => continue,
            }
        };
        let pulse = Arc::new(Pulse::new(shared.limits));
        let mut open = shared.open();
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, (peer, Arc::clone(&pulse)));
        drop(open);
        Some(Place {
            shared: Arc::clone(shared),
            number,
            pulse,
            _permit: permit,
            _open: Raised::new(&shared.stats, shared.level),
        })
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    number: u64,
    pub(super) pulse: Arc<Pulse>,
    _permit: OwnedSemaphorePermit,
    _open: Raised,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.open().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { head: Duration::from_secs(30), idle: Duration::from_secs(120), request: Duration::from_secs(140) };

    fn peer(text: &str) -> Option<IpAddr> {
        format!("{text}:1").parse::<SocketAddr>().unwrap().peer()
    }

    #[test]
    fn this_machine_is_no_peer_and_a_network_of_ipv6_is_one() {
        assert_eq!(peer("127.0.0.9"), None);
        assert_eq!(peer("[::1]"), None);
        assert_eq!(peer("[::ffff:127.0.0.1]"), None);
        assert_eq!(peer("192.0.2.1"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(peer("[::ffff:192.0.2.1]"), peer("192.0.2.1"));
        assert_eq!(peer("[2001:db8::1]"), peer("[2001:db8::ffff:ffff:ffff:ffff]"));
        assert_ne!(peer("[2001:db8:0:1::1]"), peer("[2001:db8::1]"));
    }

    async fn after(secs: u64) {
        tokio::time::sleep(Duration::from_secs(secs)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_most_gives_up_what_was_idle_for_longest_and_what_works_is_kept() {
        let places = Places::new(4, None, LIMITS, &Arc::default());
        let few = places.take(peer("192.0.2.1")).await.unwrap();
        after(1).await;
        let works = places.take(peer("192.0.2.2")).await.unwrap();
        let _request = works.pulse.begin();
        let (longest, last) =
            (places.take(peer("192.0.2.2")).await.unwrap(), places.take(peer("192.0.2.2")).await.unwrap());
        after(1).await;
        drop(last.pulse.begin());
        let (begun, next) = (
            Instant::now(),
            tokio::spawn({
                let places = places.clone();
                async move { places.take(peer("192.0.2.3")).await.unwrap() }
            }),
        );
        longest.pulse.ended().await;
        assert!(begun.elapsed() < SPARED);
        drop(longest);
        let next = next.await.unwrap();
        assert_eq!(places.0.open().connections.len(), 4);
        for kept in [&few, &works, &last, &next] {
            assert!(timeout(Duration::ZERO, kept.pulse.ended()).await.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_work_the_next_one_waits() {
        let places = Places::new(1, None, LIMITS, &Arc::default());
        let first = places.take(None).await.unwrap();
        let request = first.pulse.begin();
        assert!(timeout(Duration::from_secs(20), places.take(None)).await.is_err());
        drop(request);
        let (next, ()) = tokio::join!(places.take(None), async {
            first.pulse.ended().await;
            drop(first);
        });
        assert!(next.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_elsewhere_has_no_more_than_it_may() {
        let stats = Arc::new(Stats::default());
        let places = Places::new(9, Some(2), LIMITS, &stats);
        let mut kept = Vec::new();
        for (from, gets) in [("192.0.2.1", true), ("192.0.2.1", true), ("192.0.2.1", false), ("192.0.2.2", true)] {
            let place = places.take(peer(from)).await;
            assert_eq!(place.is_some(), gets, "{from}");
            kept.push(place);
        }
        for _ in 0..3 {
            kept.push(Some(places.take(None).await.unwrap()));
        }
        let counted = |stats: &Stats| stats.levels.connections.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(
            (
                counted(&stats),
                stats.counted().iter().find(|(name, ..)| *name == "connections_refused_total").unwrap().1
            ),
            (6, 1)
        );
        drop(kept);
        assert_eq!((places.0.open().connections.len(), counted(&stats)), (0, 0));
    }
}
