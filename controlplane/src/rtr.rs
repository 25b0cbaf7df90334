//! What RPKI caches say (RFC 8210), and to which of them the speaker listens.
//!
//! ```text
//!  cache "one"  preference 10    up       ◄── listened to: the most preferred of those that are up
//!  cache "two"  preference 20    up           kept ready
//!  cache "three"                 down         its data count until they expire, if no other cache is up
//! ```
//!
//! Whenever the cache that is listened to changes its data, or another one takes its place, the difference goes to the
//! speaker. Data are dropped when they expire (section 6), with the routes that were judged by them judged again.

use crate::config::rtr::RtrCache;
use crate::northbound::RtrCacheInfo;
use bgp::rib::Vrp;
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

/// VRPs that a cache may have; more is not what the Internet has, but what a liar does.
pub const MOST: usize = 4_000_000;

/// Timers of a cache, within the bounds of RFC 8210, section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Time after which it is asked for news.
    pub refresh: Duration,
    /// Time between attempts to reach it.
    pub retry: Duration,
    /// Time after which its data are of no use without news.
    pub expire: Duration,
}

impl Timers {
    /// From seconds as they were received.
    pub fn new(refresh: u32, retry: u32, expire: u32) -> Self {
        let seconds = |n: u32, least, most| Duration::from_secs(n.clamp(least, most).into());
        let (refresh, retry) = (seconds(refresh, 1, 86_400), seconds(retry, 1, 7_200));
        // Expire must be longer than both others.
        let expire = seconds(expire, 600, 172_800).max(refresh + Duration::from_secs(1)).max(retry);
        Self { refresh, retry, expire }
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self::new(3_600, 600, 7_200)
    }
}

/// One answer of a cache, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// It is all that the cache has, not what has changed.
    pub reset: bool,
    /// VRPs, announced (`true`) or withdrawn.
    pub changes: Vec<(bool, Vrp)>,
    /// Session ID.
    pub session: u16,
    /// Serial number of the data after it.
    pub serial: u32,
    /// Timers.
    pub timers: Timers,
}

/// Why an answer is refused (RFC 8210, section 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A VRP is announced twice.
    #[error("a record is announced twice")]
    Duplicate,
    /// A VRP is withdrawn that is not there.
    #[error("a record is withdrawn that is not there")]
    Unknown,
    /// More than [`MOST`].
    #[error("too many records")]
    TooMany,
}

/// What is to be told to the speaker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// New VRPs.
    pub added: Vec<Vrp>,
    /// VRPs that are no more.
    pub removed: Vec<Vrp>,
}

struct Cache {
    config: RtrCache,
    /// Connected, and its data are complete.
    up: bool,
    connected: bool,
    vrps: HashSet<Vrp>,
    data: Option<Data>,
    synchronized: u64,
    last_error: Option<String>,
}

/// Where the data of a cache come from.
struct Data {
    session: u16,
    serial: u32,
    timers: Timers,
    at: Instant,
}

/// All caches.
#[derive(Default)]
pub struct Caches {
    // By number; each has one of its own for as long as it is configured as it is.
    caches: BTreeMap<usize, Cache>,
    next: usize,
    used: Option<usize>,
}

impl Caches {
    /// Other caches; one that is configured as before goes on. New ones have not said anything yet.
    pub fn configure(&mut self, wanted: &[RtrCache]) -> Change {
        let gone: Vec<usize> =
            self.caches.iter().filter(|(_, c)| !wanted.contains(&c.config)).map(|(i, _)| *i).collect();
        for (_, cache) in self.caches.iter_mut().filter(|(i, _)| gone.contains(i)) {
            (cache.up, cache.data) = (false, None);
        }
        let change = self.choose();
        self.caches.retain(|i, _| !gone.contains(i));
        for config in wanted {
            if self.caches.values().any(|c| c.config == *config) {
                continue;
            }
            let cache = Cache {
                config: config.clone(),
                up: false,
                connected: false,
                vrps: HashSet::new(),
                data: None,
                synchronized: 0,
                last_error: None,
            };
            self.caches.insert(self.next, cache);
            self.next += 1;
        }
        change
    }

    /// All of them, by number.
    pub fn configured(&self) -> impl Iterator<Item = (usize, &RtrCache)> {
        self.caches.iter().map(|(i, c)| (*i, &c.config))
    }

    /// A cache is connected; it has yet to say what it has.
    pub fn connected(&mut self, cache: usize) {
        if let Some(c) = self.caches.get_mut(&cache) {
            c.connected = true;
        }
    }

    /// A cache has given all it has, or what has changed. On a fault nothing is changed, and the connection is to be
    /// closed.
    pub fn updated(&mut self, now: Instant, cache: usize, update: Update) -> Result<Change, Fault> {
        let Some(c) = self.caches.get_mut(&cache) else { return Ok(Change::default()) };
        let change = if update.reset { c.replace(&update.changes)? } else { c.apply(&update.changes)? };
        let Update { session, serial, timers, .. } = update;
        c.data = Some(Data { session, serial, timers, at: now });
        (c.up, c.connected, c.synchronized) = (true, true, c.synchronized + 1);
        // The cache that is listened to goes on being so: what it has changed is the change. Another one may take over.
        if self.used == Some(cache) { Ok(change) } else { Ok(self.choose()) }
    }

    /// The connection to a cache is down, or cannot be opened.
    pub fn failed(&mut self, cache: usize, error: String) -> Change {
        if let Some(c) = self.caches.get_mut(&cache) {
            (c.up, c.connected, c.last_error) = (false, false, Some(error));
        }
        self.choose()
    }

    /// Time has passed: data may have expired.
    pub fn handle_timeout(&mut self, now: Instant) -> Change {
        let expired = |c: &Cache| c.expires().is_some_and(|at| at <= now);
        for c in self.caches.values_mut().filter(|c| expired(c)) {
            (c.up, c.data) = (false, None);
            c.last_error = Some("its data have expired".to_owned());
        }
        let change = self.choose();
        self.caches.values_mut().filter(|c| c.data.is_none()).for_each(|c| c.vrps = HashSet::new());
        change
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.caches.values().filter_map(Cache::expires).min()
    }

    /// For the management plane.
    pub fn info(&self, now: Instant) -> Vec<RtrCacheInfo> {
        self.caches.iter().map(|(i, c)| c.info(now, self.used == Some(*i))).collect()
    }

    /// Listens to the cache that is best now.
    fn choose(&mut self) -> Change {
        let with_data = self.caches.iter().filter(|(_, c)| c.data.is_some());
        let best = with_data.min_by_key(|(i, c)| (!c.up, c.config.preference, **i)).map(|(i, _)| *i);
        let before = std::mem::replace(&mut self.used, best);
        if before == best {
            return Change::default();
        }
        let none = HashSet::new();
        let vrps = |cache: Option<usize>| cache.and_then(|i| self.caches.get(&i)).map_or(&none, |c| &c.vrps);
        difference(vrps(before), vrps(best))
    }
}

impl Cache {
    fn replace(&mut self, changes: &[(bool, Vrp)]) -> Result<Change, Fault> {
        let mut new = HashSet::with_capacity(changes.len().min(MOST));
        for (announced, vrp) in changes {
            match (*announced, new.len() < MOST) {
                (false, _) => return Err(Fault::Unknown),
                (true, false) => return Err(Fault::TooMany),
                (true, true) if !new.insert(*vrp) => return Err(Fault::Duplicate),
                (true, true) => {}
            }
        }
        let change = difference(&self.vrps, &new);
        self.vrps = new;
        Ok(change)
    }

    fn apply(&mut self, changes: &[(bool, Vrp)]) -> Result<Change, Fault> {
        for (done, (announced, vrp)) in changes.iter().enumerate() {
            let fault = match announced {
                true if self.vrps.len() >= MOST => Some(Fault::TooMany),
                true => (!self.vrps.insert(*vrp)).then_some(Fault::Duplicate),
                false => (!self.vrps.remove(vrp)).then_some(Fault::Unknown),
            };
            if let Some(fault) = fault {
                self.undo(changes.get(..done).unwrap_or_default());
                return Err(fault);
            }
        }
        let of = |wanted: bool| changes.iter().filter(move |(a, _)| *a == wanted).map(|(_, vrp)| *vrp);
        // What came and went within the same answer is told by how it ended.
        let added = of(true).filter(|vrp| self.vrps.contains(vrp)).collect();
        let removed = of(false).filter(|vrp| !self.vrps.contains(vrp)).collect();
        Ok(Change { added, removed })
    }

    fn undo(&mut self, done: &[(bool, Vrp)]) {
        for (announced, vrp) in done.iter().rev() {
            if *announced {
                self.vrps.remove(vrp);
            } else {
                self.vrps.insert(*vrp);
            }
        }
    }

    fn expires(&self) -> Option<Instant> {
        self.data.as_ref().and_then(|data| data.at.checked_add(data.timers.expire))
    }

    fn info(&self, now: Instant, used: bool) -> RtrCacheInfo {
        let ipv4 = self.vrps.iter().filter(|vrp| vrp.prefix.addr().is_ipv4()).count();
        let data = self.data.as_ref();
        RtrCacheInfo {
            name: self.config.name.clone(),
            address: self.config.remote(),
            tls: self.config.tls.is_some(),
            preference: self.config.preference,
            state: match (self.up, self.connected, data) {
                (true, ..) => "up",
                (false, true, _) => "synchronizing",
                (false, false, Some(_)) => "down, data kept",
                (false, false, None) => "down",
            },
            used,
            session: data.map(|d| d.session),
            serial: data.map(|d| d.serial),
            ipv4,
            ipv6: self.vrps.len() - ipv4,
            synchronized: self.synchronized,
            seconds: data.map(|d| now.saturating_duration_since(d.at).as_secs()),
            refresh: data.map(|d| d.timers.refresh.as_secs()),
            retry: data.map(|d| d.timers.retry.as_secs()),
            expire: data.map(|d| d.timers.expire.as_secs()),
            last_error: self.last_error.clone(),
        }
    }
}

fn difference(before: &HashSet<Vrp>, after: &HashSet<Vrp>) -> Change {
    Change { added: after.difference(before).copied().collect(), removed: before.difference(after).copied().collect() }
}

#[cfg(test)]
mod tests;
