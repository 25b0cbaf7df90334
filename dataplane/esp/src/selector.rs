//! Whether a packet belongs to an SA's traffic selectors (RFC 4301, section 4.4.1.1 and step 4 of section 5.2).

use dataplane_api::{IpPrefix, Mode, PortRange, Selector};
use std::net::IpAddr;
use zerocopy::FromZeros;

/// A selector as plain memory.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub struct Flat {
    local: Side,
    remote: Side,
    protocol: u8,
    unused: u8,
}

#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
struct Side {
    address: [u8; 16],
    // 0: any address; otherwise 4 or 16 octets.
    address_len: u8,
    prefix_len: u8,
    first: u16,
    last: u16,
}

/// What a selector looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow<'a> {
    /// Our side's address, 4 or 16 octets.
    pub local: &'a [u8],
    /// The peer's side's address.
    pub remote: &'a [u8],
    /// IP protocol, or the last next header.
    pub protocol: u8,
    /// (local, remote) ports; `None` for protocols without, and for fragments that do not show them.
    pub ports: Option<(u16, u16)>,
}

impl Side {
    fn new(prefix: Option<IpPrefix>, first: u16, last: u16) -> Self {
        let mut side = Self { address: [0; 16], address_len: 0, prefix_len: 0, first, last };
        let Some(prefix) = prefix else { return side };
        side.prefix_len = prefix.len();
        match prefix.address() {
            IpAddr::V4(a) => {
                side.address_len = 4;
                side.address[..4].copy_from_slice(&a.octets());
            }
            IpAddr::V6(a) => {
                side.address_len = 16;
                side.address = a.octets();
            }
        }
        side
    }

    #[inline(always)]
    fn permits(&self, address: &[u8], port: Option<u16>) -> bool {
        self.permits_port(port) && self.contains(address)
    }

    #[inline(always)]
    fn permits_port(&self, port: Option<u16>) -> bool {
        let any_port = self.first == 0 && self.last == u16::MAX;
        any_port || port.is_some_and(|p| self.first <= p && p <= self.last)
    }

    fn contains(&self, address: &[u8]) -> bool {
        if self.address_len == 0 {
            return true;
        }
        if address.len() != usize::from(self.address_len) {
            return false;
        }
        let (whole, bits) = (usize::from(self.prefix_len / 8), self.prefix_len % 8);
        if address.get(..whole) != self.address.get(..whole) {
            return false;
        }
        // A whole prefix of octets may end where the address does.
        match (address.get(whole), self.address.get(whole)) {
            (Some(a), Some(b)) if bits != 0 => (a ^ b) >> (8 - bits) == 0,
            _ => true,
        }
    }
}

impl Flat {
    /// From the SA's selector.
    pub fn new(s: &Selector) -> Self {
        Self {
            local: Side::new(s.local, s.local_port.first, s.local_port.last),
            remote: Side::new(s.remote, s.remote_port.first, s.remote_port.last),
            protocol: s.protocol,
            unused: 0,
        }
    }

    /// Whether the flow lies within the selector.
    pub fn permits(&self, flow: &Flow<'_>) -> bool {
        (self.protocol == 0 || self.protocol == flow.protocol)
            && self.local.permits(flow.local, flow.ports.map(|p| p.0))
            && self.remote.permits(flow.remote, flow.ports.map(|p| p.1))
    }

    /// The same without the addresses: in transport mode they are the SA's own.
    #[inline(always)]
    pub fn permits_transport(&self, protocol: u8, ports: Option<(u16, u16)>) -> bool {
        (self.protocol == 0 || self.protocol == protocol)
            && self.local.permits_port(ports.map(|p| p.0))
            && self.remote.permits_port(ports.map(|p| p.1))
    }
}

/// What fits beside the hot state of an SA: a selector that asks for a protocol and single ports at most, in transport mode,
/// where the addresses are the SA's own; in tunnel mode, one that permits everything. Of all others nothing is known.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub(crate) struct Narrow {
    // 0: any; 255, which no packet has (RFC 5237): not narrow.
    protocol: u8,
    // (local, remote), octets so that an SA has no gap; 0: any.
    ports: [[u8; 2]; 2],
}

const NOT_NARROW: u8 = 255;

impl Narrow {
    pub(crate) fn new(s: &Selector, mode: Mode) -> Self {
        let one = |p: PortRange| (p.first == p.last && p.first != 0).then_some(p.first);
        let narrow = |p: PortRange| if p == PortRange::ANY { Some(0) } else { one(p) };
        let anybody = s.local.is_none() && s.remote.is_none() && s.protocol == 0;
        match (narrow(s.local_port), narrow(s.remote_port)) {
            (Some(local), Some(remote)) if mode == Mode::Transport || anybody && local == 0 && remote == 0 => {
                Self { protocol: s.protocol, ports: [local.to_ne_bytes(), remote.to_ne_bytes()] }
            }
            _ => Self { protocol: NOT_NARROW, ports: [[0; 2]; 2] },
        }
    }

    /// Everything is permitted.
    #[inline(always)]
    pub(crate) const fn is_any(&self) -> bool {
        matches!(self, Self { protocol: 0, ports: [[0, 0], [0, 0]] })
    }

    /// Whether a packet of transport mode is permitted, by its protocol and (local, remote) ports. `None`: the whole selector
    /// must say.
    #[inline(always)]
    pub(crate) fn permits(&self, protocol: u8, ports: impl FnOnce() -> Option<(u16, u16)>) -> Option<bool> {
        if self.protocol == NOT_NARROW {
            return None;
        }
        let same = |want: [u8; 2], is: u16| want == [0; 2] || want == is.to_ne_bytes();
        let protocol = self.protocol == 0 || self.protocol == protocol;
        let free = self.ports == [[0; 2]; 2];
        Some(protocol && (free || ports().is_some_and(|(l, r)| same(self.ports[0], l) && same(self.ports[1], r))))
    }
}

/// Whether the protocol's header starts with source and destination port (TCP, UDP, DCCP, SCTP, UDP-Lite).
#[inline(always)]
pub const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 33 | 132 | 136)
}

/// (source, destination) ports of a transport header.
#[inline(always)]
pub fn ports(protocol: u8, header: &[u8]) -> Option<(u16, u16)> {
    if !has_ports(protocol) {
        return None;
    }
    let &[a, b, c, d] = header.first_chunk::<4>()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// Most IPv6 extension headers that are looked through.
const MAX_EXTENSIONS: usize = 8;

/// The flow of an IP packet as its sender sees it ("local" is the source). `None`: not a well-formed IP packet.
pub fn sent_flow(packet: &[u8]) -> Option<Flow<'_>> {
    match packet.first()? >> 4 {
        4 => {
            let header = packet.get(..20)?;
            let len = usize::from(header[0] & 15) * 4;
            let payload = packet.get(len.max(20)..)?;
            let later_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
            let protocol = header[9];
            let ports = if later_fragment { None } else { ports(protocol, payload) };
            Some(Flow { local: &header[12..16], remote: &header[16..20], protocol, ports })
        }
        6 => {
            let header = packet.get(..40)?;
            let (mut next, mut payload) = (header[6], &packet[40..]);
            let mut later_fragment = false;
            for _ in 0..MAX_EXTENSIONS {
                let len = match next {
                    0 | 43 | 60 => 8 * (usize::from(*payload.get(1)?) + 1),
                    44 => {
                        later_fragment |= u16::from_be_bytes([*payload.get(2)?, *payload.get(3)?]) >> 3 != 0;
                        8
                    }
                    _ => break,
                };
                next = payload[0];
                payload = payload.get(len..)?;
                if later_fragment {
                    break;
                }
            }
            let ports = if later_fragment { None } else { ports(next, payload) };
            Some(Flow { local: &header[8..24], remote: &header[24..40], protocol: next, ports })
        }
        _ => None,
    }
}

/// The flow of an IP packet as its receiver sees it ("local" is the destination).
pub fn received_flow(packet: &[u8]) -> Option<Flow<'_>> {
    let f = sent_flow(packet)?;
    Some(Flow { local: f.remote, remote: f.local, ports: f.ports.map(|(s, d)| (d, s)), ..f })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;
    use proptest::prelude::*;

    const V4: [u8; 28] = hex!("4500001c000000004011 0000 c0000201 c6336407 06a5 1234 00080000");
    const V6: [u8; 56] = hex!(
        "6000000000103c40 20010db8000000000000000000000001 20010db8000000000000000000000002"
        "1100010400000000 1234 06a5 00080000"
    );

    #[test]
    fn flows() {
        let f = sent_flow(&V4).unwrap();
        assert_eq!((f.local, f.remote, f.protocol, f.ports), (&V4[12..16], &V4[16..20], 17, Some((1701, 0x1234))));
        let f = received_flow(&V6).unwrap();
        assert_eq!((f.local, f.remote, f.protocol, f.ports), (&V6[24..40], &V6[8..24], 17, Some((1701, 0x1234))));
        let mut fragment = V4;
        fragment[7] = 1;
        assert_eq!(sent_flow(&fragment).unwrap().ports, None);
        for p in [&V4[..], &V6[..]] {
            (0..p.len() - 8).for_each(|n| assert!(sent_flow(&p[..n]).is_none(), "{n}"));
        }
    }

    fn some_ports() -> impl Strategy<Value = PortRange> {
        let range = |(first, last)| PortRange { first, last };
        let few = prop_oneof![Just(PortRange::ANY), (0u16..4).prop_map(PortRange::one)];
        prop_oneof![few, (0u16..4, 2u16..5).prop_map(range)]
    }

    proptest! {
        #[test]
        fn what_is_narrow_says_what_the_whole_selector_says(
            (local_port, remote_port) in (some_ports(), some_ports()), protocol in prop_oneof![Just(0u8), Just(17), Just(50)],
            sent in prop_oneof![Just(17u8), Just(50)], ports in any::<(u16, u16)>(), host in any::<bool>(), small in any::<bool>(),
        ) {
            let ports = if small { (ports.0 % 5, ports.1 % 5) } else { ports };
            let ports = has_ports(sent).then_some(ports);
            let local = host.then(|| IpPrefix::host("192.0.2.1".parse().unwrap()));
            let s = Selector { local, local_port, remote_port, protocol, ..Selector::ANY };
            let whole = Flat::new(&s);
            let narrow = Narrow::new(&s, Mode::Transport);
            if let Some(said) = narrow.permits(sent, || ports) {
                prop_assert_eq!(said, whole.permits_transport(sent, ports));
            }
            let wide = [s.local_port, s.remote_port].iter().any(|p| *p != PortRange::ANY && (p.first != p.last || p.first == 0));
            prop_assert_eq!(narrow.permits(sent, || ports).is_none(), wide);
            let flow = Flow { local: &[198, 51, 100, 1], remote: &[192, 0, 2, 9], protocol: sent, ports };
            prop_assert!(!Narrow::new(&s, Mode::Tunnel).is_any() || whole.permits(&flow));
        }
    }

    #[test]
    fn selector_table() {
        let prefix = |s: &str, n| IpPrefix::new(s.parse().unwrap(), n);
        let any = Selector::ANY;
        let flow = sent_flow(&V4).unwrap();
        for (selector, expected) in [
            (any, true),
            (Selector { protocol: 17, ..any }, true),
            (Selector { protocol: 6, ..any }, false),
            (Selector { local: prefix("192.0.2.1", 32), ..any }, true),
            (Selector { local: prefix("192.0.2.2", 32), ..any }, false),
            (Selector { local: prefix("192.0.2.2", 30), ..any }, true),
            (Selector { local: prefix("192.0.2.4", 30), ..any }, false),
            (Selector { remote: prefix("0.0.0.0", 0), ..any }, true),
            (Selector { remote: prefix("::", 0), ..any }, false),
            (Selector { local_port: PortRange::one(1701), ..any }, true),
            (Selector { local_port: PortRange::one(1702), ..any }, false),
            (Selector { remote_port: PortRange { first: 0x1200, last: 0x1234 }, ..any }, true),
            (Selector { remote_port: PortRange { first: 0x1200, last: 0x1233 }, ..any }, false),
        ] {
            assert_eq!(Flat::new(&selector).permits(&flow), expected, "{selector:?}");
        }
        let ports = Flat::new(&Selector { local_port: PortRange::one(1701), ..any });
        assert!(!ports.permits(&Flow { ports: None, ..flow }));
        assert!(Flat::new(&any).permits(&Flow { ports: None, ..flow }));
        let host = Flat::new(&Selector { local: prefix("10.0.0.1", 32), protocol: 17, ..any });
        assert!(host.permits_transport(17, None) && !host.permits_transport(6, None));
    }

    proptest! {
        #[test]
        fn garbage_does_not_panic(p in prop::collection::vec(any::<u8>(), 0..120), version in prop::sample::select(vec![4u8, 6])) {
            let mut p = p;
            if let Some(first) = p.first_mut() {
                *first = version << 4 | *first & 15;
            }
            if let Some(f) = received_flow(&p) {
                Flat::new(&Selector::ANY).permits(&f);
            }
        }
    }
}
