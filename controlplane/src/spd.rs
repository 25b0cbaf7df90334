//! The SPD (RFC 4301, section 4.4.1) that a gateway's listeners imply, as the seed document's section 3.5.5
//! prints it: BYPASS for ESP and IKE, PROTECT for L2TP, DISCARD for everything else.
//!
//! ```text
//!  local           remote  protocol        action
//!  SC              *       ESP             BYPASS
//!  SC              *       IKE             BYPASS     UDP 500, 4500
//!  SC:1701         *:*     UDP             PROTECT    ESP in transport mode (BYPASS: clear listeners, H29)
//!  SC              *       ICMP            BYPASS     path MTU discovery and echo
//!  *               *       *               DISCARD
//! ```
//!
//! On the outer IPv6 side neighbour discovery is ICMPv6 too; ARP is not IP and not subject to the SPD.

use crate::config::{Config, Listener, Protection};
use crate::liveness;
use crate::routing;
use dataplane_api::{Action, IpPrefix, PolicyRule, PortRange, Selector, Softwire, softwire};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A rule with the name under which it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What it is for.
    pub name: &'static str,
    /// The rule itself.
    pub rule: PolicyRule,
}

/// IP protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
const ESP: u8 = 50;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const L2TP_PORT: u16 = 1701;
const BGP_PORT: u16 = 179;

/// The ordered SPD of `config`.
pub fn build(config: &Config) -> Vec<Named> {
    with_listeners(config, config.listeners.iter())
}

/// The same, with other listeners than those of `config`.
pub fn with_listeners<'a>(config: &Config, listeners: impl Iterator<Item = &'a Listener>) -> Vec<Named> {
    let mut spd = Vec::new();
    mesh(config, &mut spd);
    bgp(config, &mut spd);
    bfd(config, &mut spd);
    for l in listeners {
        let here = |protocol, port| Selector {
            protocol,
            local: Some(IpPrefix::host(l.address)),
            local_port: port,
            ..Selector::ANY
        };
        let l2tp = match l.protection {
            Protection::Ipsec => Action::Protect,
            Protection::None => Action::Bypass,
        };
        if l.protection == Protection::Ipsec {
            spd.push(named("esp", here(ESP, PortRange::ANY), Action::Bypass));
            spd.push(named("ike", here(UDP, PortRange::one(500)), Action::Bypass));
            spd.push(named("ike-natt", here(UDP, PortRange::one(4500)), Action::Bypass));
        }
        spd.push(named("l2tp", here(UDP, PortRange::one(L2TP_PORT)), l2tp));
        let icmp = if l.address.is_ipv4() { ICMP } else { ICMPV6 };
        spd.push(named("icmp", here(icmp, PortRange::ANY), Action::Bypass));
    }
    if config.ports.iter().flat_map(|p| &p.addresses).any(|a| matches!(a.addr(), IpAddr::V6(_))) {
        // Neighbour discovery uses link-local and solicited-node addresses too.
        spd.push(named("nd", Selector { protocol: ICMPV6, ..Selector::ANY }, Action::Bypass));
    }
    spd.push(named("default", Selector::ANY, Action::Discard));
    spd
}

// M26: IP in IP is decided by the softwire it belongs to, see `softwires`; here stands what brings softwires and protected
// BGP sessions up.
fn mesh(config: &Config, spd: &mut Vec<Named>) {
    let bgp = config.bgp.iter().flat_map(|b| &b.neighbours).filter(|n| config.carrier(n.address).is_some());
    let ends: BTreeSet<IpAddr> =
        config.mesh.local.iter().copied().chain(bgp.filter_map(|n| routing::local(config, n.address))).collect();
    for address in ends.into_iter().filter(|a| config.listener(*a).is_none()) {
        let here = |protocol, port| Selector {
            protocol,
            local: Some(IpPrefix::host(address)),
            local_port: port,
            ..Selector::ANY
        };
        if config.ike.peers.iter().any(|p| p.address.is_some()) {
            spd.push(named("esp", here(ESP, PortRange::ANY), Action::Bypass));
            spd.push(named("ike", here(UDP, PortRange::one(500)), Action::Bypass));
            spd.push(named("ike-natt", here(UDP, PortRange::one(4500)), Action::Bypass));
        }
        let icmp = if address.is_ipv4() { ICMP } else { ICMPV6 };
        spd.push(named("icmp", here(icmp, PortRange::ANY), Action::Bypass));
    }
}

// BGP's TCP connections, opened by either side, inside ESP where a peer's SA carries them (M17), and those to RPKI caches.
fn bgp(config: &Config, spd: &mut Vec<Named>) {
    for n in config.bgp.iter().flat_map(|b| &b.neighbours) {
        let remote = Some(IpPrefix::host(n.address));
        let local = n.local.map(IpPrefix::host);
        let action = if config.carrier(n.address).is_some() { Action::Protect } else { Action::Bypass };
        // What is to be PROTECTed is so whatever its TTL; the socket looks at that of what came in ESP.
        let hops = n.ttl_security.filter(|_| action == Action::Bypass);
        let min_ttl = least_ttl(hops);
        let rule =
            |local_port, remote_port| Selector { protocol: TCP, local, remote, local_port, remote_port, min_ttl };
        let port = PortRange::one(BGP_PORT);
        spd.push(named("bgp", rule(port, PortRange::ANY), action));
        spd.push(named("bgp", rule(PortRange::ANY, port), action));
    }
    // Dynamic neighbours are those who connect.
    for d in config.bgp.iter().flat_map(|b| &b.dynamic_neighbours) {
        let remote = IpPrefix::new(d.range.network(), d.range.prefix_len());
        let local = d.neighbour.local.map(IpPrefix::host);
        let local_port = PortRange::one(BGP_PORT);
        let min_ttl = least_ttl(d.neighbour.ttl_security);
        let rule = Selector { protocol: TCP, local, remote, local_port, min_ttl, ..Selector::ANY };
        spd.push(named("bgp", rule, Action::Bypass));
    }
    // An RPKI cache is reached over a port of ours only from an address of ours.
    for c in config.bgp.iter().flat_map(|b| &b.rtr) {
        let Some(local) = c.local.filter(|a| config.port_of(*a).is_some()).map(IpPrefix::host) else { continue };
        let remote_port = PortRange::one(c.remote().port());
        let (local, remote) = (Some(local), Some(IpPrefix::host(c.address)));
        spd.push(named("rtr", Selector { protocol: TCP, local, remote, remote_port, ..Selector::ANY }, Action::Bypass));
    }
}

/// RFC 5082, section 3: what 255 has become after so many hops; without a limit, anything.
pub(crate) fn least_ttl(hops: Option<u8>) -> u8 {
    hops.map_or(0, |hops| u8::MAX - hops.saturating_sub(1))
}

// BFD from neighbours whose paths are watched. Ours to them needs no rule: only sessions make it.
fn bfd(config: &Config, spd: &mut Vec<Named>) {
    for n in config.bgp.iter().flat_map(|b| &b.neighbours).filter(|n| n.bfd.is_some()) {
        let Some(path) = liveness::path(config, n) else { continue };
        let port = if path.multihop { bfd::MULTIHOP_PORT } else { bfd::SINGLE_HOP_PORT };
        spd.push(session(path.local, path.remote, port));
    }
}

fn session(local: IpAddr, remote: IpAddr, port: u16) -> Named {
    let (local, remote) = (Some(IpPrefix::host(local)), Some(IpPrefix::host(remote)));
    let local_port = PortRange::one(port);
    named("bfd", Selector { protocol: UDP, local, remote, local_port, ..Selector::ANY }, Action::Bypass)
}

/// The rules that softwires stand for: both encapsulations, protected where the softwire is, and BFD between its ends.
pub fn softwires<'a>(softwires: impl Iterator<Item = &'a Softwire> + 'a) -> impl Iterator<Item = Named> + 'a {
    softwires.flat_map(|s| {
        let action = if s.protection == softwire::Protection::Clear { Action::Bypass } else { Action::Protect };
        let (local, remote) = (Some(IpPrefix::host(s.local)), Some(IpPrefix::host(s.remote)));
        let bfd = s.bfd.then(|| session(s.local, s.remote, bfd::MULTIHOP_PORT));
        [("ipv4-in-ip", 4), ("ipv6-in-ip", 41)]
            .map(|(name, protocol)| named(name, Selector { protocol, local, remote, ..Selector::ANY }, action))
            .into_iter()
            .chain(bfd)
    })
}

fn named(name: &'static str, selector: Selector, action: Action) -> Named {
    Named { name, rule: PolicyRule { selector, action } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(address: &str, protection: &str) -> Vec<(String, Action, u8, u16)> {
        let yaml = format!(
            "ports: [{{ name: a, device: d, zone: public, addresses: [{address}/24] }}]\n\
             listeners: [{{ name: l, address: \"{address}\", {protection} }}]\n\
             ike: {{ identity: gw, peers: [{{ name: p, id: p, auth: psk, psk: k }}] }}\n"
        );
        let config = Config::from_yaml("t", &yaml).unwrap_or_else(|e| panic!("{e}"));
        build(&config)
            .into_iter()
            .map(|n| (n.name.to_owned(), n.rule.action, n.rule.selector.protocol, n.rule.selector.local_port.first))
            .collect()
    }

    // Seed, section 3.5.5.1 (H52): the SC's table for IPv6 over IPv4.
    #[test]
    fn v4_outer_is_the_seeds_table() {
        assert_eq!(
            rows("192.0.2.1", "protection: ipsec"),
            [
                ("esp".into(), Action::Bypass, 50, 0),
                ("ike".into(), Action::Bypass, 17, 500),
                ("ike-natt".into(), Action::Bypass, 17, 4500),
                ("l2tp".into(), Action::Protect, 17, 1701),
                ("icmp".into(), Action::Bypass, 1, 0),
                ("default".into(), Action::Discard, 0, 0),
            ]
        );
    }

    // Seed, section 3.5.5.2 (H53): the same for IPv4 over IPv6, with neighbour discovery.
    #[test]
    fn v6_outer_is_the_seeds_table() {
        let names: Vec<_> = rows("2001:db8::1", "protection: ipsec").into_iter().map(|r| (r.0, r.1)).collect();
        assert!(names.contains(&("l2tp".into(), Action::Protect)) && names.contains(&("nd".into(), Action::Bypass)));
        assert_eq!(names.last(), Some(&("default".into(), Action::Discard)));
    }

    // M14.
    #[test]
    fn only_neighbours_near_enough_reach_bgp() {
        let yaml = "{ ports: [{ name: a, device: d, zone: public, addresses: [192.0.2.1/24] }], \
                    mesh: { local: [192.0.2.1] }, \
                    bgp: { asn: 1, router_id: 1.1.1.1, neighbours: [{ address: 192.0.2.9, asn: 1, ttl_security: 2 }, \
                    { address: 192.0.2.10, asn: 1 }] } }";
        let spd = build(&Config::from_yaml("t", yaml).unwrap_or_else(|e| panic!("{e}")));
        let tcp = spd.iter().map(|n| n.rule.selector).filter(|s| s.protocol == TCP);
        let rows: Vec<_> = tcp.map(|s| (s.remote, s.local_port.first, s.remote_port.first, s.min_ttl)).collect();
        let host = |a: &str| Some(IpPrefix::host(a.parse().unwrap()));
        let (near, any) = (host("192.0.2.9"), host("192.0.2.10"));
        assert_eq!(rows, [(near, 179, 0, 254), (near, 0, 179, 254), (any, 179, 0, 0), (any, 0, 179, 0)]);
    }

    #[test]
    fn ttls_of_hops() {
        assert_eq!([None, Some(1), Some(2), Some(254)].map(least_ttl), [0, 255, 254, 2]);
    }

    #[test]
    fn a_clear_listener_offers_no_ike() {
        let rows = rows("192.0.2.1", "protection: none, anonymous: true");
        assert_eq!(rows[0], ("l2tp".into(), Action::Bypass, 17, 1701));
        assert!(rows.iter().all(|r| r.2 != 50));
    }

    #[test]
    fn ranges_of_neighbours_may_connect_and_caches_be_reached_from_a_port() {
        let yaml = "ports: [{ name: a, device: d, zone: public, addresses: [192.0.2.1/24] }]\n\
             mesh: { local: [192.0.2.1] }\n\
             bgp:\n  asn: 1\n  router_id: 1.1.1.1\n\
             \x20 dynamic_neighbours: [{ range: 198.51.100.0/24, neighbour: { asn: external } }]\n\
             \x20 rtr: [{ name: port, address: 203.0.113.1, local: 192.0.2.1 }, { name: host, address: 203.0.113.2 }]\n";
        let config = Config::from_yaml("t", yaml).unwrap_or_else(|e| panic!("{e}"));
        let spd = build(&config);
        let rules = |name: &str| spd.iter().filter(|n| n.name == name).map(|n| n.rule.selector).collect::<Vec<_>>();
        let range = IpPrefix::new("198.51.100.0".parse().unwrap(), 24);
        let (bgp, rtr) = (PortRange::one(179), PortRange::one(323));
        let local = Some(IpPrefix::host("192.0.2.1".parse().unwrap()));
        let cache = Some(IpPrefix::host("203.0.113.1".parse().unwrap()));
        assert_eq!(rules("bgp"), [Selector { protocol: TCP, remote: range, local_port: bgp, ..Selector::ANY }]);
        // The other one is the host's business.
        let from_port = Selector { protocol: TCP, local, remote: cache, remote_port: rtr, ..Selector::ANY };
        assert_eq!(rules("rtr"), [from_port]);
    }
}
