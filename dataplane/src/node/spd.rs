//! The SPD (RFC 4301, section 4.4.1) for packets in the clear from and to the gateway on ports of the public zone.
//!
//! ESP itself does not come here: an SA that accepts a packet is the proof that the policy allows it.

use crate::lane::Packet;
use dataplane_api::{Action, DropReason, PolicyRule};
use std::net::SocketAddr;

/// First match decides; nothing matches: discard (RFC 4301, section 4.4.1.1).
pub fn action(policy: &[PolicyRule], protocol: u8, local: SocketAddr, remote: SocketAddr, ttl: u8) -> Action {
    policy
        .iter()
        .find(|rule| {
            let s = &rule.selector;
            (s.protocol == 0 || s.protocol == protocol)
                && s.local.is_none_or(|p| p.contains(local.ip()))
                && s.remote.is_none_or(|p| p.contains(remote.ip()))
                && s.local_port.contains(local.port())
                && s.remote_port.contains(remote.port())
                && s.min_ttl <= ttl
        })
        .map_or(Action::Discard, |rule| rule.action)
}

/// Whether a packet that came in the clear may be processed.
pub fn inbound(policy: &[PolicyRule], packet: &Packet) -> Result<(), DropReason> {
    let (remote, local) = packet.sockets();
    verdict(action(policy, packet.proto, local, remote, packet.ttl()))
}

/// Whether a packet of ours may leave in the clear.
pub fn outbound(policy: &[PolicyRule], packet: &Packet) -> Result<(), DropReason> {
    let (local, remote) = packet.sockets();
    verdict(action(policy, packet.proto, local, remote, u8::MAX))
}

fn verdict(action: Action) -> Result<(), DropReason> {
    match action {
        Action::Bypass => Ok(()),
        Action::Protect => Err(DropReason::SpdClear),
        Action::Discard => Err(DropReason::SpdDiscard),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane_api::{IpPrefix, PortRange, Selector};

    #[test]
    fn first_match_decides_and_nothing_is_discard() {
        let here = IpPrefix::host("192.0.2.1".parse().unwrap());
        let rule = |protocol, port, action| PolicyRule {
            selector: Selector { protocol, local: Some(here), local_port: port, ..Selector::ANY },
            action,
        };
        let policy = [
            rule(17, PortRange::one(500), Action::Bypass),
            rule(17, PortRange::one(1701), Action::Protect),
            rule(17, PortRange::ANY, Action::Discard),
            rule(1, PortRange::ANY, Action::Bypass),
        ];
        let local = |port| SocketAddr::new("192.0.2.1".parse().unwrap(), port);
        let remote = "198.51.100.7:4242".parse().unwrap();
        let action = |protocol, local| action(&policy, protocol, local, remote, 64);
        assert_eq!(action(17, local(500)), Action::Bypass);
        assert_eq!(action(17, local(1701)), Action::Protect);
        assert_eq!(action(17, local(53)), Action::Discard);
        assert_eq!(action(1, local(0)), Action::Bypass);
        assert_eq!(action(6, local(22)), Action::Discard);
        assert_eq!(action(17, "192.0.2.2:500".parse().unwrap()), Action::Discard);
    }
}
