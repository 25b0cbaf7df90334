//! The keys of BGP's sessions as time passes: which key of a chain is in use, and what RFC 3562 has to say about it.
//! Sans-IO: the time of day comes in, changes come out, and the driver sets keys on sockets.

use crate::config::Bgp;
use crate::config::bgp::Neighbour;
use crate::config::key_chain::{Key, KeyChain};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, SystemTime};

/// Shortest key (RFC 3562, section 3).
const MIN_LENGTH: usize = 12;
/// Oldest key (RFC 3562, section 3).
const MAX_AGE: Duration = Duration::from_secs(90 * 24 * 3600);

/// Why a neighbour's key is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// This key has fewer octets than it should.
    Short(u8),
    /// This key is in use for too long.
    Old(u8),
    /// This key has passed its end, and no other has started.
    Ended(u8),
    /// This key protects sessions with other neighbours, too.
    Shared(u8),
    /// No key has started.
    None,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short(id) => write!(f, "key {id} has fewer than {MIN_LENGTH} octets (RFC 3562)"),
            Self::Old(id) => write!(f, "key {id} is in use for more than 90 days (RFC 3562)"),
            Self::Ended(id) => write!(f, "key {id} has passed its end and stays in use: no other has started"),
            Self::Shared(id) => write!(f, "key {id} is used with other neighbours, too (RFC 3562)"),
            Self::None => f.write_str("no key of the chain has started"),
        }
    }
}

/// What a chain says at a time, by key id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Current {
    /// Sent.
    active: Option<u8>,
    /// Accepted.
    accepted: Vec<u8>,
}

/// A neighbour or a range of them.
#[derive(Debug)]
struct User {
    peers: IpNet,
    chain: String,
    /// Sessions that there may be.
    most: usize,
}

/// All chains and their users.
#[derive(Debug, Default)]
pub struct KeyRing {
    chains: BTreeMap<String, (KeyChain, Current)>,
    users: Vec<User>,
    /// From when on keys without a start are known to be in use.
    since: Option<SystemTime>,
    /// All chains are to be told of, because nobody has set their keys yet.
    untold: bool,
    warnings: BTreeMap<IpNet, BTreeSet<Warning>>,
}

impl KeyRing {
    /// As configured; nothing is current before [`Self::advance`].
    pub fn new(bgp: &Bgp) -> Self {
        let chains = bgp.key_chains.iter().map(|c| (c.name.clone(), (c.clone(), Current::default()))).collect();
        let one_by_one = bgp.neighbours.iter().map(|n| (IpNet::from(n.address), n, 1));
        let ranges = bgp.dynamic_neighbours.iter().map(|d| (d.range, &d.neighbour, d.max));
        let user = |(peers, n, most): (_, &Neighbour, _)| Some(User { peers, chain: n.key_chain()?.to_owned(), most });
        Self { chains, users: one_by_one.chain(ranges).filter_map(user).collect(), untold: true, ..Self::default() }
    }

    /// Another configuration. Keys that stay are as old as they were.
    pub fn configure(&mut self, bgp: &Bgp) {
        *self = Self { since: self.since, ..Self::new(bgp) };
    }

    /// There are sockets that have no keys yet.
    pub fn tell_again(&mut self) {
        self.untold = true;
    }

    /// It is `now`. Gives the chains whose keys have changed; all of them the first time, and where that was asked for. A
    /// warning is logged when it begins.
    pub fn advance(&mut self, now: SystemTime) -> Vec<String> {
        let first = std::mem::take(&mut self.untold);
        let since = *self.since.get_or_insert(now);
        let mut changed = Vec::new();
        for (name, (chain, current)) in &mut self.chains {
            let active = chain.active(now).map(|k| k.id);
            let next = Current { active, accepted: chain.accepted(now).map(|k| k.id).collect() };
            if first || *current != next {
                *current = next;
                changed.push(name.clone());
            }
        }
        let warnings = self.judge(now, since);
        for (peers, all) in &warnings {
            for warning in all.difference(self.warnings.get(peers).unwrap_or(&BTreeSet::new())) {
                tracing::warn!(neighbours = %peers, %warning, "BGP key");
            }
        }
        self.warnings = warnings;
        changed
    }

    fn judge(&self, now: SystemTime, since: SystemTime) -> BTreeMap<IpNet, BTreeSet<Warning>> {
        let mut sessions: HashMap<&[u8], usize> = HashMap::new();
        for (user, key) in self.users.iter().filter_map(|user| Some((user, self.active(&user.chain)?))) {
            let most = sessions.entry(key.secret.bytes()).or_default();
            *most = most.saturating_add(user.most);
        }
        let judge = |user: &User| {
            let Some(key) = self.active(&user.chain) else { return (user.peers, BTreeSet::from([Warning::None])) };
            let age = now.duration_since(key.start.unwrap_or(since)).unwrap_or_default();
            let found = [
                (key.secret.bytes().len() < MIN_LENGTH, Warning::Short(key.id)),
                (age > MAX_AGE, Warning::Old(key.id)),
                (key.has_ended(now), Warning::Ended(key.id)),
                (sessions.get(key.secret.bytes()).is_some_and(|n| *n > 1), Warning::Shared(key.id)),
            ];
            (user.peers, found.into_iter().filter(|(is, _)| *is).map(|(_, warning)| warning).collect())
        };
        self.users.iter().map(judge).collect()
    }

    /// The key of a chain to sign with.
    pub fn active(&self, chain: &str) -> Option<&Key> {
        let (chain, current) = self.chains.get(chain)?;
        chain.keys.iter().find(|k| Some(k.id) == current.active)
    }

    /// The keys of a chain that may be received.
    pub fn accepted(&self, chain: &str) -> impl Iterator<Item = &Key> {
        let found = self.chains.get(chain);
        found.into_iter().flat_map(|(chain, current)| chain.keys.iter().filter(|k| current.accepted.contains(&k.id)))
    }

    /// The keys of a chain that must not be received: past their end, or not started.
    pub fn not_accepted(&self, chain: &str) -> impl Iterator<Item = &Key> {
        let found = self.chains.get(chain);
        found.into_iter().flat_map(|(chain, current)| chain.keys.iter().filter(|k| !current.accepted.contains(&k.id)))
    }

    /// What is wrong with the key of a neighbour, or of a range of them.
    pub fn warnings(&self, peers: IpNet) -> impl Iterator<Item = &Warning> {
        self.warnings.get(&peers).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn ring(chains: &str, neighbours: &str) -> KeyRing {
        let yaml = format!("{{ asn: 1, router_id: 1.1.1.1, key_chains: [{chains}], {neighbours} }}");
        KeyRing::new(&serde_saphyr::from_str(&yaml).unwrap_or_else(|e| panic!("{e}")))
    }

    fn day(n: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(n * 24 * 3600)
    }

    fn warnings(ring: &KeyRing, neighbour: &str) -> Vec<Warning> {
        let peers = neighbour.parse::<IpNet>().or_else(|_| neighbour.parse::<IpAddr>().map(IpNet::from));
        ring.warnings(peers.unwrap()).cloned().collect()
    }

    #[test]
    fn keys_follow_each_other() {
        let chain = "{ name: a, keys: [{ id: 1, secret: first-of-all-1, end: 1970-01-12T00:00:00Z }, \
                     { id: 2, secret: second-of-all, start: 1970-01-11T00:00:00Z }] }";
        let mut r = ring(chain, "neighbours: [{ address: 192.0.2.1, asn: 1, md5: a }]");
        assert!(r.active("a").is_none());
        let all = |r: &KeyRing| {
            let [accepted, not] = [r.accepted("a").collect::<Vec<_>>(), r.not_accepted("a").collect()];
            [accepted, not].map(|keys| keys.iter().map(|k| k.id).collect::<Vec<_>>())
        };
        assert_eq!(all(&r), [vec![], vec![1, 2]]);
        assert_eq!(r.advance(day(0)), ["a"]);
        assert_eq!(r.active("a").map(|k| k.id), Some(1));
        assert!(r.advance(day(9)).is_empty());
        assert_eq!(all(&r), [vec![1], vec![2]]);
        assert_eq!(r.advance(day(10)), ["a"]);
        assert_eq!(r.active("a").map(|k| k.secret.bytes()), Some(&b"second-of-all"[..]));
        assert_eq!(all(&r), [vec![1, 2], vec![]]);
        assert_eq!(r.advance(day(11)), ["a"]);
        assert_eq!(all(&r), [vec![2], vec![1]]);
        assert!(warnings(&r, "192.0.2.1").is_empty());
    }

    // RFC 3562, section 3.
    #[test]
    fn weak_keys_are_warned_of() {
        let chains = "{ name: short, keys: [{ id: 1, secret: elevenbytes }] }, \
                      { name: good, keys: [{ id: 2, secret: twelve-bytes, start: 1970-01-01T00:00:00Z }] }, \
                      { name: same, keys: [{ id: 3, secret: twelve-bytes, end: 1970-01-03T00:00:00Z }] }, \
                      { name: late, keys: [{ id: 4, secret: twelve-octets, start: 1971-01-01T00:00:00Z }] }";
        let neighbours = "neighbours: [{ address: 192.0.2.1, asn: 1, md5: short }, { address: 192.0.2.2, asn: 1, md5: good }, \
                          { address: 192.0.2.3, asn: 1, tcp_ao: same }, { address: 192.0.2.4, asn: 1, md5: late }, \
                          { address: 192.0.2.5, asn: 1 }]";
        let mut r = ring(chains, neighbours);
        r.advance(day(1));
        assert_eq!(warnings(&r, "192.0.2.1"), [Warning::Short(1)]);
        assert_eq!(warnings(&r, "192.0.2.2"), [Warning::Shared(2)]);
        assert_eq!(warnings(&r, "192.0.2.3"), [Warning::Shared(3)]);
        assert_eq!(warnings(&r, "192.0.2.4"), [Warning::None]);
        assert!(warnings(&r, "192.0.2.5").is_empty());
        r.advance(day(91));
        assert_eq!(warnings(&r, "192.0.2.2"), [Warning::Old(2), Warning::Shared(2)]);
        assert_eq!(warnings(&r, "192.0.2.3"), [Warning::Ended(3), Warning::Shared(3)]);
        // A key without a start is as old as its use here.
        assert_eq!(warnings(&r, "192.0.2.1"), [Warning::Short(1)]);
        r.advance(day(92));
        assert_eq!(warnings(&r, "192.0.2.1"), [Warning::Short(1), Warning::Old(1)]);
        let shown: String = warnings(&r, "192.0.2.2").iter().map(ToString::to_string).collect();
        assert!(!shown.contains("twelve"), "{shown}");
    }
    #[test]
    fn keys_of_ranges_are_judged_too() {
        let chains = "{ name: a, keys: [{ id: 1, secret: elevenbytes }] }, { name: b, keys: [{ id: 2, secret: twelve-bytes }] }, \
                      { name: late, keys: [{ id: 3, secret: twelve-octets, start: 1971-01-01T00:00:00Z }] }";
        let range = |range, chain, max| format!("{{ range: {range}, max: {max}, neighbour: {{ asn: 1, {chain} }} }}");
        let ranges = [
            range("198.51.100.0/24", "tcp_ao: a", 100),
            range("\"2001:db8::/32\"", "md5: b", 1),
            range("203.0.113.0/24", "md5: late", 100),
            range("192.0.2.0/24", "passive: true", 100),
        ];
        let mut r = ring(chains, &format!("dynamic_neighbours: [{}]", ranges.join(", ")));
        r.advance(day(1));
        assert_eq!(warnings(&r, "198.51.100.0/24"), [Warning::Short(1), Warning::Shared(1)]);
        assert!(warnings(&r, "2001:db8::/32").is_empty());
        assert_eq!(warnings(&r, "203.0.113.0/24"), [Warning::None]);
        assert!(warnings(&r, "192.0.2.0/24").is_empty());
        r.advance(day(92));
        assert_eq!(warnings(&r, "2001:db8::/32"), [Warning::Old(2)]);
    }
}
