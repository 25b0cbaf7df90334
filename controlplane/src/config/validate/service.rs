//! What is wrong with the service to subscribers: L2TP, PPP, pools, and the subscribers of the embedded file.

use super::super::{Config, PoolSet, Subscriber};
use super::Problems;
use std::collections::HashSet;
use std::net::IpAddr;

/// L2TP, PPP and the pools.
pub(super) fn service(c: &Config, p: &mut Problems) {
    if c.l2tp.challenge && c.l2tp.secret.is_none() {
        p.add("l2tp.secret", "challenge: true needs the tunnel secret");
    }
    if c.ppp.authenticate.is_empty() && c.listeners.iter().any(|l| !l.anonymous) {
        p.add("ppp.authenticate", "only anonymous listeners do without authentication (H33)");
    }
    if c.pools.sets().any(|(_, set)| !set.ipv4.is_empty()) && c.ppp.local_ipv4.is_none() {
        p.add("ppp.local_ipv4", "IPv4 subscribers need our IPv4 address of the link");
    }
    for (name, set) in c.pools.sets() {
        let path = if name.is_empty() { "pools".to_owned() } else { format!("pools.named.{name}") };
        pool(&set, &path, p);
    }
}

fn pool(set: &PoolSet, path: &str, p: &mut Problems) {
    for (i, n) in set.ipv6.iter().enumerate() {
        if n.prefix_len() > 64 {
            p.add(format!("{path}.ipv6[{i}]"), format!("{n} holds no /64"));
        }
    }
    let len = set.delegated_len.unwrap_or(56);
    if !(32..=64).contains(&len) {
        p.add(format!("{path}.delegated_len"), "between 32 and 64");
    }
    for (i, n) in set.delegated.iter().enumerate() {
        if n.prefix_len() > len {
            p.add(format!("{path}.delegated[{i}]"), format!("{n} holds no /{len}"));
        }
    }
}

/// `$5$[rounds=N$]SALT$HASH`, or `$6$`: HASH is 32 or 64 octets in crypt's base 64.
fn is_crypt(text: &[u8]) -> bool {
    let fields: Vec<&[u8]> = text.split(|c| *c == b'$').collect();
    let (id, salt, hash) = match fields[..] {
        [b"", id, salt, hash] => (id, salt, hash),
        [b"", id, rounds, salt, hash] if rounds.starts_with(b"rounds=") => (id, salt, hash),
        _ => return false,
    };
    let digits = |s: &[u8]| s.iter().all(|c| c.is_ascii_alphanumeric() || b"./".contains(c));
    let len = match id {
        b"5" => 43,
        b"6" => 86,
        _ => return false,
    };
    !salt.is_empty() && salt.iter().all(u8::is_ascii_graphic) && hash.len() == len && digits(hash)
}

/// The embedded subscriber file.
pub(super) fn subscribers(c: &Config, p: &mut Problems) {
    let mut users = HashSet::new();
    let mut taken: HashSet<(IpAddr, u8)> = HashSet::new();
    for (i, s) in c.subscribers.iter().enumerate() {
        let path = format!("subscribers[{i}]");
        if s.user.is_empty() || !users.insert(&s.user) {
            p.add(format!("{path}.user"), format!("\"{}\" is empty or stands twice", s.user));
        }
        if s.secret.is_some() == s.hash.is_some() {
            p.add(format!("{path}.secret"), "exactly one of secret (in the clear, for CHAP) and hash (for PAP)");
        }
        if s.hash.as_ref().is_some_and(|hash| !is_crypt(hash.bytes())) {
            p.add(format!("{path}.hash"), "not a $5$ or $6$ hash of crypt(3)");
        }
        for (key, prefix) in fixed(s) {
            if !taken.insert(prefix) {
                p.add(format!("{path}.{key}"), format!("{}/{} belongs to another subscriber", prefix.0, prefix.1));
            }
        }
        if s.ipv6_prefix.is_some_and(|n| n.prefix_len() != 64) {
            p.add(format!("{path}.ipv6_prefix"), "the prefix of a link is a /64");
        }
        if s.ipv4.is_some() && c.ppp.local_ipv4.is_none() {
            p.add("ppp.local_ipv4", "IPv4 subscribers need our IPv4 address of the link");
        }
    }
}

fn fixed(s: &Subscriber) -> impl Iterator<Item = (&'static str, (IpAddr, u8))> {
    let v4 = s.ipv4.map(|a| ("ipv4", (IpAddr::V4(a), 32)));
    let link = s.ipv6_prefix.map(|n| ("ipv6_prefix", (IpAddr::V6(n.network()), n.prefix_len())));
    let delegated = s.delegated.map(|n| ("delegated", (IpAddr::V6(n.network()), n.prefix_len())));
    [v4, link, delegated].into_iter().flatten()
}
