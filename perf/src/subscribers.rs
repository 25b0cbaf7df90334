//! Subscribers and the gateway they come to, without sockets, ports or ESP: what the control plane costs.
//!
//! | module | |
//! |---|---|
//! | [`client`] | a subscriber's end: IKE, L2TP, PPP, router advertisements, DHCPv6 |
//! | [`servers`] | a RADIUS server that accepts everybody |
//! | [`network`] | all of them and the gateway on one clock, which its work moves on |

pub mod client;
pub mod network;
pub mod servers;

use controlplane::config::Config;
use fastpath::world::{GATEWAY, ROUTER};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What RADIUS and we share.
pub const SECRET: &[u8] = b"radius-secret";

/// Who says whether a subscriber may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The embedded subscriber file.
    Local,
    /// A RADIUS server, which takes accounting records too.
    Radius,
}

/// A gateway for `n` subscribers, each with a key of its own, and room for as many that they have left behind; child SAs are
/// rekeyed after a time.
pub fn config(n: usize, source: Source, rekey: &str) -> anyhow::Result<Config> {
    let line = |i| format!("    - {{ name: p{i}, id: u{i}@example.net, auth: psk, psk: key-{i} }}\n");
    let peers: String = (0..n).map(line).collect();
    let users: String = (0..n).map(|i| format!("  - {{ user: u{i}, secret: secret-{i} }}\n")).collect();
    let aaa = match source {
        Source::Local => format!("subscribers:\n{users}"),
        Source::Radius => "aaa: { servers: [{ name: a, address: 127.0.0.1, secret: radius-secret }] }\n".to_owned(),
    };
    let yaml = format!(
        "dataplane: {{ max_sessions: {} }}\n\
         ports:\n  - {{ name: access, device: none, zone: public, addresses: [{GATEWAY}/24] }}\n\
         \x20 - {{ name: core, device: none, zone: trusted, addresses: [\"2001:db8:c::1/64\"] }}\n\
         routes:\n  - {{ to: 0.0.0.0/0, port: access, via: [{ROUTER}] }}\n\
         listeners:\n  - {{ name: secure, address: {GATEWAY} }}\n\
         ike:\n  identity: gw.example.net\n  child_rekey: {rekey}\n  peers:\n{peers}\
         ppp: {{ local_ipv4: 10.0.0.1 }}\n\
         pools: {{ ipv4: [10.64.0.0/10], ipv6: [\"2001:db8:100::/40\"], delegated: [\"2001:db8:f000::/36\"] }}\n\
         {aaa}",
        slots(n),
    );
    Ok(Config::from_yaml("bench", &yaml)?)
}

/// Sessions that there is room for.
pub fn slots(n: usize) -> usize {
    (2 * n + 1024).min(1 << 20)
}

/// The outer address of the i-th subscriber.
pub fn address(i: u32) -> IpAddr {
    Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + i).into()
}

/// Which subscriber has it.
pub fn index(address: IpAddr) -> Option<u32> {
    match address {
        IpAddr::V4(a) => a.to_bits().checked_sub(Ipv4Addr::new(198, 18, 0, 0).to_bits()),
        IpAddr::V6(_) => None,
    }
}

fn gateway(port: u16) -> SocketAddr {
    (GATEWAY, port).into()
}
