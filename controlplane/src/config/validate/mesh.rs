//! What is wrong with softwires, their profiles, and the entries of the PAD that are AFBRs.

use super::super::mesh::Mode;
use super::super::{Config, Peer};
use super::{LEAST_REKEY, Problems, WINDOW, is_window};
use std::collections::HashSet;
use std::net::IpAddr;

pub(super) fn mesh(c: &Config, p: &mut Problems) {
    let m = &c.mesh;
    for (i, a) in m.local.iter().enumerate() {
        if c.port_of(*a).is_none() {
            p.add(format!("mesh.local[{i}]"), format!("no port has the address {a}"));
        }
        if m.local[..i].iter().any(|b| b.is_ipv4() == a.is_ipv4()) {
            p.add(format!("mesh.local[{i}]"), "one address of each family");
        }
    }
    if m.hop_limit == 0 {
        p.add("mesh.hop_limit", "between 1 and 255");
    }
    if m.dscp.is_some_and(|d| d > 63) {
        p.add("mesh.dscp", "between 0 and 63");
    }
    let mut names = HashSet::new();
    for (i, f) in m.profiles.iter().enumerate() {
        if !names.insert(&f.name) {
            p.add(format!("mesh.profiles[{i}].name"), format!("\"{}\" is taken by another profile", f.name));
        }
        if f.replay_window.is_some_and(|w| !is_window(w)) {
            p.add(format!("mesh.profiles[{i}].replay_window"), WINDOW);
        }
        if f.rekey.is_some_and(|t| t < LEAST_REKEY) {
            p.add(format!("mesh.profiles[{i}].rekey"), "at least 10 seconds");
        }
    }
    let end = |p: &mut Problems, path: String, address: IpAddr| {
        if m.local_for(address).is_none() {
            p.add(&path, format!("mesh.local has no address of the family of {address}"));
        }
        if m.local.contains(&address) {
            p.add(&path, format!("{address} is ours"));
        }
    };
    let mut seen = HashSet::new();
    for (i, a) in m.afbrs.iter().enumerate() {
        let path = format!("mesh.afbrs[{i}].address");
        if !seen.insert(a.address) {
            p.add(&path, format!("{} belongs to another AFBR", a.address));
        }
        end(p, path.clone(), a.address);
        if m.require_ipsec && !c.ike.peers.iter().any(|q| q.address == Some(a.address)) {
            p.add(path, "mesh.require_ipsec, but no entry of ike.peers has this address (M2)");
        }
    }
    for (i, q) in c.ike.peers.iter().enumerate() {
        afbr(c, &format!("ike.peers[{i}]"), q, &c.ike.peers[..i], p);
        if let Some(address) = q.address.filter(|_| q.softwire.is_some()) {
            end(p, format!("ike.peers[{i}].address"), address);
        }
    }
}

/// An entry of the PAD as an AFBR; `before` are the entries before it.
fn afbr(c: &Config, path: &str, q: &Peer, before: &[Peer], p: &mut Problems) {
    if q.address.is_some() != (q.softwire.is_some() || q.bgp) {
        p.add(format!("{path}.address"), "address and softwire or bgp go together");
    }
    if q.softwire.is_none() && (q.color.is_some() || !q.prefixes.is_empty()) {
        p.add(format!("{path}.softwire"), "color and prefixes say which routes a profile is for, and there is none");
    }
    let profile = q.softwire.as_deref().map(|name| (name, c.mesh.profile(name)));
    if let Some((name, None)) = profile {
        p.add(format!("{path}.softwire"), format!("mesh.profiles has no \"{name}\""));
    }
    if q.bgp && profile.is_some_and(|(_, f)| f.is_some_and(|f| f.mode == Mode::Tunnel)) {
        p.add(format!("{path}.bgp"), "BGP needs a profile in transport mode");
    }
    if q.bgp && !c.bgp.iter().flat_map(|b| &b.neighbours).any(|n| Some(n.address) == q.address) {
        p.add(format!("{path}.bgp"), "no BGP neighbour has this address");
    }
    let same = |other: &&Peer| q.address.is_some() && other.address == q.address;
    if q.bgp && before.iter().filter(same).any(|other| other.bgp) {
        p.add(format!("{path}.bgp"), "another entry carries BGP with this address");
    }
    if q.softwire.is_some() && before.iter().filter(same).any(|o| o.softwire.is_some() && covers_all(o)) {
        p.add(
            format!("{path}.address"),
            "an entry before this one, without color and prefixes, covers all of its routes",
        );
    }
}

fn covers_all(q: &Peer) -> bool {
    q.color.is_none() && q.prefixes.is_empty()
}
