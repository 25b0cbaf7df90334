//! Who has which Ethernet address on a link: ARP (RFC 826) and neighbour discovery (RFC 4861).
//!
//! The generator answers for its own addresses and asks for the gateway's, again and again until it is answered, and
//! every [`REFRESH`] afterwards. Everybody else on the link is nobody's concern.

use crate::link::{Link, ethertype, ip_header};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};
use wire::{checksum, ethernet, ip, ipv6};

const AGAIN: Duration = Duration::from_millis(500);
const REFRESH: Duration = Duration::from_secs(20);
const BROADCAST: [u8; 6] = [0xff; 6];

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Solicited, and override (RFC 4861, section 4.4).
const SOLICITED_OVERRIDE: u8 = 0x60;

/// The neighbours of one port.
pub struct Neighbours {
    link: Link,
    own: Vec<IpAddr>,
    routers: Vec<Router>,
}

struct Router {
    address: IpAddr,
    mac: Option<[u8; 6]>,
    ask: Instant,
}

impl Neighbours {
    /// `own` are our addresses, `routers` those that are asked for.
    pub fn new(now: Instant, link: Link, own: &[IpAddr], routers: &[IpAddr]) -> Self {
        let routers = routers.iter().map(|&address| Router { address, mac: None, ask: now });
        Self { link, own: own.to_vec(), routers: routers.collect() }
    }

    /// Whether an address is ours.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.own.contains(&address)
    }

    /// Our address of a family.
    pub fn own(&self, v6: bool) -> Option<IpAddr> {
        self.own.iter().copied().find(|a| a.is_ipv6() == v6)
    }

    /// The gateway's Ethernet address for packets of a family.
    pub fn router(&self, v6: bool) -> Option<[u8; 6]> {
        self.routers.iter().find(|r| r.address.is_ipv6() == v6).and_then(|r| r.mac)
    }

    /// Addresses that have not answered.
    pub fn silent(&self) -> Vec<IpAddr> {
        self.routers.iter().filter(|r| r.mac.is_none()).map(|r| r.address).collect()
    }

    /// When there is something to be asked.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.routers.iter().map(|r| r.ask).min()
    }

    /// The next question that is due.
    pub fn poll_question(&mut self, now: Instant) -> Option<Vec<u8>> {
        let due = self.routers.iter_mut().find(|r| r.ask <= now)?;
        due.ask = now + if due.mac.is_some() { REFRESH } else { AGAIN };
        let target = due.address;
        match (target, self.own(target.is_ipv6())) {
            (IpAddr::V4(target), Some(IpAddr::V4(own))) => Some(self.arp(1, own, target, BROADCAST)),
            (IpAddr::V6(target), Some(IpAddr::V6(own))) => {
                let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
                group[13..].copy_from_slice(&target.octets()[13..]);
                let to = [0x33, 0x33, 0xff, group[13], group[14], group[15]];
                Some(self.discovery(SOLICITATION, 0, target, own, group.into(), to))
            }
            _ => None,
        }
    }

    /// Takes an ARP packet, and answers a question.
    pub fn handle_arp(&mut self, now: Instant, packet: &[u8]) -> Option<Vec<u8>> {
        let p: &[u8; 28] = packet.first_chunk()?;
        if p[..6] != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        let at = |i: usize| Ipv4Addr::new(p[i], p[i + 1], p[i + 2], p[i + 3]);
        let (mac, sender, target) = ([p[8], p[9], p[10], p[11], p[12], p[13]], at(14), at(24));
        self.learn(now, sender.into(), mac);
        (p[6..8] == [0, 1] && self.owns(target.into())).then(|| self.arp(2, target, sender, mac))
    }

    /// Takes an ICMPv6 packet, and answers a question. `message` begins behind the IPv6 headers.
    pub fn handle_discovery(&mut self, now: Instant, src: IpAddr, message: &[u8]) -> Option<Vec<u8>> {
        let (IpAddr::V6(src), Some(m)) = (src, message.first_chunk::<24>()) else { return None };
        let target = Ipv6Addr::from(<[u8; 16]>::try_from(&m[8..]).ok()?);
        let mac = link_layer_address(&message[24..], if m[0] == SOLICITATION { 1 } else { 2 });
        match m[0] {
            SOLICITATION if self.owns(target.into()) && !src.is_unspecified() => {
                let mac = mac?;
                self.learn(now, src.into(), mac);
                Some(self.discovery(ADVERTISEMENT, SOLICITED_OVERRIDE, target, target, src, mac))
            }
            ADVERTISEMENT => {
                self.learn(now, target.into(), mac?);
                None
            }
            _ => None,
        }
    }

    fn learn(&mut self, now: Instant, address: IpAddr, mac: [u8; 6]) {
        if let Some(r) = self.routers.iter_mut().find(|r| r.address == address) {
            r.mac = Some(mac);
            r.ask = now + REFRESH;
        }
    }

    fn arp(&self, operation: u8, own: Ipv4Addr, target: Ipv4Addr, to: [u8; 6]) -> Vec<u8> {
        let at = self.link.header_len();
        let mut frame = vec![0; at + 28];
        let asked = if operation == 1 { [0; 6] } else { to };
        self.link.write(&mut frame, to, ethernet::ARP);
        let body =
            [&[0, 1, 8, 0, 6, 4, 0, operation][..], &self.link.mac, &own.octets(), &asked, &target.octets()].concat();
        frame[at..].copy_from_slice(&body);
        frame
    }

    fn discovery(&self, kind: u8, flags: u8, target: Ipv6Addr, src: Ipv6Addr, dst: Ipv6Addr, to: [u8; 6]) -> Vec<u8> {
        let option = if kind == SOLICITATION { 1 } else { 2 };
        let mut message =
            [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &target.octets(), &[option, 1], &self.link.mac].concat();
        let sum = checksum::transport6(src, dst, ip::ICMPV6, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let at = self.link.header_len();
        let mut frame = vec![0; at + ipv6::HEADER];
        frame.extend_from_slice(&message);
        // With another hop limit it is refused (RFC 4861, section 7.1).
        ip_header(&mut frame[at..], (src.into(), dst.into()), ip::ICMPV6, 255, (0, 0));
        self.link.write(&mut frame, to, ethertype(src.into()));
        frame
    }
}

/// The source (1) or target (2) link-layer address option (RFC 4861, section 4.6.1).
fn link_layer_address(mut options: &[u8], kind: u8) -> Option<[u8; 6]> {
    while let [this, units, rest @ ..] = options {
        let len = usize::from(*units) * 8;
        let body = rest.get(..len.checked_sub(2)?)?;
        if *this == kind {
            return body.first_chunk().copied();
        }
        options = options.get(len..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(addresses: [&str; 2]) -> [Neighbours; 2] {
        let [a, b]: [IpAddr; 2] = addresses.map(|a| a.parse().unwrap());
        let link = |n| Link { mac: [2, 0, 0, 0, 0, n], vlan: None };
        let now = Instant::now();
        [Neighbours::new(now, link(1), &[a], &[b]), Neighbours::new(now, link(2), &[b], &[a])]
    }

    fn deliver(to: &mut Neighbours, now: Instant, frame: &[u8]) -> Option<Vec<u8>> {
        let (kind, packet) = Link { mac: to.link.mac, ..to.link }.read(frame).unwrap();
        if kind == ethernet::ARP {
            return to.handle_arp(now, packet);
        }
        let head = ip::Ip::parse(packet).unwrap();
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (head.src, head.dst) else { unreachable!() };
        assert_eq!((head.protocol, head.ttl), (ip::ICMPV6, 255));
        let message = &packet[head.header_len..];
        let mut zeroed = message.to_vec();
        zeroed[2..4].fill(0);
        assert_eq!(message[2..4], checksum::transport6(src, dst, ip::ICMPV6, &zeroed).to_be_bytes());
        to.handle_discovery(now, head.src, message)
    }

    #[test]
    fn both_sides_learn_of_each_other() {
        for addresses in [["192.0.2.1", "192.0.2.2"], ["2001:db8::1", "2001:db8::2:3:4"]] {
            let [mut a, mut b] = two(addresses);
            let (now, v6) = (Instant::now(), addresses[0].contains(':'));
            let question = a.poll_question(now).unwrap();
            assert!(a.poll_question(now).is_none() && a.poll_question(now + AGAIN).is_some());
            let answer = deliver(&mut b, now, &question).unwrap();
            assert_eq!((b.router(v6), a.silent().len()), (Some([2, 0, 0, 0, 0, 1]), 1));
            assert!(deliver(&mut a, now, &answer).is_none());
            assert_eq!((a.router(v6), a.silent().len()), (Some([2, 0, 0, 0, 0, 2]), 0));
            assert!(a.poll_question(now + AGAIN).is_none() && a.poll_question(now + REFRESH).is_some());
        }
    }

    #[test]
    fn strangers_are_not_answered() {
        let [mut a, _] = two(["192.0.2.1", "192.0.2.2"]);
        let [mut c, _] = two(["192.0.2.2", "192.0.2.9"]);
        let now = Instant::now();
        let question = c.poll_question(now).unwrap();
        assert!(deliver(&mut a, now, &question).is_none());
        for garbage in [&[][..], &[0; 27], &[0xff; 40]] {
            assert!(a.handle_arp(now, garbage).is_none());
            assert!(a.handle_discovery(now, "fe80::1".parse().unwrap(), garbage).is_none());
        }
        assert!(link_layer_address(&[1, 0, 0], 1).is_none(), "an option of no length");
    }
}
