//! The outer addresses of an SA, and the UDP ports when ESP is encapsulated (RFC 3948).

use dataplane_api::UdpEncap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use zerocopy::FromZeros;

/// Addresses and ports; IPv4 addresses are in the first four octets.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub struct Path {
    local: [u8; 16],
    remote: [u8; 16],
    // 0 without UDP encapsulation.
    local_port: u16,
    remote_port: u16,
    v6: u8,
    /// Flags of the SA, which fill the gap.
    pub(crate) flags: u8,
}

/// How an inbound packet's outer header compares with its SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathCheck {
    /// As expected.
    Same,
    /// The peer's address or port differs in an SA with UDP encapsulation: its NAT may have a new mapping, if the
    /// packet turns out to be authentic (RFC 7296, section 2.23).
    Moved,
    /// Another address or form of encapsulation: not this SA's.
    Wrong,
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(a) => {
            let mut all = [0; 16];
            all[..4].copy_from_slice(&a.octets());
            all
        }
        IpAddr::V6(a) => a.octets(),
    }
}

impl Path {
    /// `None`: the addresses are of two families.
    pub fn new(local: IpAddr, remote: IpAddr, encap: Option<UdpEncap>) -> Option<Self> {
        if local.is_ipv4() != remote.is_ipv4() {
            return None;
        }
        let (local_port, remote_port) = encap.map_or((0, 0), |e| (e.local_port, e.remote_port));
        let (local, remote, v6) = (octets(local), octets(remote), u8::from(local.is_ipv6()));
        Some(Self { local, remote, local_port, remote_port, v6, flags: 0 })
    }

    /// The ends are somewhere else now, with UDP encapsulation or without. `false`, and nothing changes, when the family
    /// differs.
    pub fn move_to(&mut self, local: SocketAddr, remote: SocketAddr, encap: bool) -> bool {
        let encap = encap.then_some(UdpEncap { local_port: local.port(), remote_port: remote.port() });
        match Self::new(local.ip(), remote.ip(), encap).filter(|new| new.v6 == self.v6) {
            Some(new) => {
                *self = Self { flags: self.flags, ..new };
                true
            }
            None => false,
        }
    }

    /// Compares with the outer header of a received packet: `ports` are those of the UDP encapsulation.
    #[inline(always)]
    pub fn check(&self, src: &[u8], dst: &[u8], ports: Option<(u16, u16)>) -> PathCheck {
        let n = self.address_len();
        // RFC 3948, section 3.3 forbids to mix forms: a packet in the other one is not for this SA.
        let (src_port, dst_port) = match ports {
            None => (0, 0),
            Some(ports) if self.is_encapsulated() => ports,
            Some(_) => return PathCheck::Wrong,
        };
        if dst != &self.local[..n] || dst_port != self.local_port || src.len() != n {
            return PathCheck::Wrong;
        }
        match src == &self.remote[..n] && src_port == self.remote_port {
            true => PathCheck::Same,
            false if self.is_encapsulated() => PathCheck::Moved,
            false => PathCheck::Wrong,
        }
    }

    /// Whether addresses of an IPv4 packet of ours, as they follow each other in its header, are these.
    #[inline(always)]
    pub fn sends_v4(&self, addresses: &[u8; 8]) -> bool {
        self.v6 == 0 && addresses[..4] == self.local[..4] && addresses[4..] == self.remote[..4]
    }

    /// The same for IPv6.
    #[inline(always)]
    pub fn sends_v6(&self, addresses: &[u8; 32]) -> bool {
        self.v6 != 0 && addresses[..16] == self.local && addresses[16..] == self.remote
    }

    /// Whether the addresses of a received IPv4 packet, as they follow each other in its header, are these, and the ports of UDP,
    /// the source's first; 0 where ESP comes without UDP.
    #[inline(always)]
    pub fn receives_v4(&self, addresses: &[u8; 8], ports: (u16, u16)) -> bool {
        self.v6 == 0
            && (self.remote_port, self.local_port) == ports
            && addresses[..4] == self.remote[..4]
            && addresses[4..] == self.local[..4]
    }

    /// The same for IPv6.
    #[inline(always)]
    pub fn receives_v6(&self, addresses: &[u8; 32], ports: (u16, u16)) -> bool {
        self.v6 != 0
            && (self.remote_port, self.local_port) == ports
            && addresses[..16] == self.remote
            && addresses[16..] == self.local
    }

    /// 4 or 16.
    #[inline(always)]
    pub const fn address_len(&self) -> usize {
        if self.v6 != 0 { 16 } else { 4 }
    }

    /// Our address.
    #[inline(always)]
    pub fn local(&self) -> &[u8] {
        &self.local[..self.address_len()]
    }

    /// The peer's address.
    #[inline(always)]
    pub fn remote(&self) -> &[u8] {
        &self.remote[..self.address_len()]
    }

    /// (ours, the peer's) address as such.
    pub fn ends(&self) -> (IpAddr, IpAddr) {
        let ip = |address: [u8; 16]| match address {
            a if self.v6 != 0 => Ipv6Addr::from(a).into(),
            [a, b, c, d, ..] => Ipv4Addr::new(a, b, c, d).into(),
        };
        (ip(self.local), ip(self.remote))
    }

    /// Addresses are IPv6.
    #[inline(always)]
    pub const fn is_v6(&self) -> bool {
        self.v6 != 0
    }

    /// ESP travels in UDP.
    #[inline(always)]
    pub const fn is_encapsulated(&self) -> bool {
        self.local_port != 0
    }

    /// (ours, the peer's).
    #[inline(always)]
    pub const fn ports(&self) -> (u16, u16) {
        (self.local_port, self.remote_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_table() {
        use PathCheck::*;
        let (l, r, x) = ([192, 0, 2, 1], [198, 51, 100, 7], [203, 0, 113, 9]);
        let plain = Path::new(l.into(), r.into(), None).unwrap();
        let encap = UdpEncap { local_port: 4500, remote_port: 1024 };
        let udp = Path::new(l.into(), r.into(), Some(encap)).unwrap();
        for (path, src, dst, ports, expected) in [
            (&plain, r, l, None, Same),
            (&plain, x, l, None, Wrong),
            (&plain, r, x, None, Wrong),
            (&plain, r, l, Some((1024, 4500)), Wrong),
            (&plain, r, l, Some((0, 0)), Wrong),
            (&udp, r, l, Some((1024, 4500)), Same),
            (&udp, r, l, Some((1025, 4500)), Moved),
            (&udp, x, l, Some((1024, 4500)), Moved),
            (&udp, r, l, Some((1024, 4501)), Wrong),
            (&udp, r, x, Some((1024, 4500)), Wrong),
            (&udp, r, l, None, Wrong),
        ] {
            assert_eq!(path.check(&src, &dst, ports), expected, "{src:?} {dst:?} {ports:?}");
        }
        assert_eq!(plain.check(&[0; 16], &l, None), Wrong);
        assert!(Path::new(l.into(), IpAddr::V6(Ipv6Addr::LOCALHOST), None).is_none());
    }

    #[test]
    fn moving_keeps_the_family() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let encap = UdpEncap { local_port: 4500, remote_port: 1024 };
        let mut path = Path::new([192, 0, 2, 1].into(), [198, 51, 100, 7].into(), Some(encap)).unwrap();
        path.flags = 5;
        assert!(path.move_to(at("192.0.2.2:4500"), at("203.0.113.9:2048"), true));
        assert_eq!((path.ports(), path.local()), ((4500, 2048), &[192, 0, 2, 2][..]));
        assert_eq!(path.ends(), ([192, 0, 2, 2].into(), [203, 0, 113, 9].into()));
        assert!(!path.move_to(at("[2001:db8::2]:4500"), at("[2001:db8::1]:2048"), true));
        assert!(!path.move_to(at("192.0.2.2:4500"), at("[2001:db8::1]:2048"), true));
        // Out of the NAT.
        assert!(path.move_to(at("192.0.2.2:4500"), at("203.0.113.9:4500"), false));
        assert_eq!((path.ports(), path.is_encapsulated(), path.flags), ((0, 0), false, 5));
    }
}
