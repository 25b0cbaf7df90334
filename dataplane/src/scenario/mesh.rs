//! Softwires of the mesh: an island behind port 1, the core with the other AFBRs behind port 0.
//!
//! ```text
//!   10.2.0.0/16, 2001:db8:b2::/48 ── AFBR .9 ══ core ══ port 0 │ worker │ port 1 ── 10.1.0.0/16, 2001:db8:b1::/48
//! ```

use super::packets::*;
use super::*;
use dataplane_api::softwire::{Protection, TooBig};
use dataplane_api::{Softwire, SoftwireId, WorkerEvent};
use wire::{ethernet, ip as proto, ipv4, ipv6};

pub const SIX: SoftwireId = SoftwireId(1);
const FOUR: SoftwireId = SoftwireId(2);

/// The softwire over IPv6 or over IPv4.
pub fn softwire(id: SoftwireId) -> Softwire {
    let v6 = id == SIX;
    let (local, remote) = if v6 { ("2001:db8:ff::1", "2001:db8:ff::9") } else { ("192.0.2.1", "192.0.2.9") };
    Softwire {
        id,
        local: ip(local),
        remote: ip(remote),
        mtu: if v6 { 1460 } else { 1480 },
        path_mtu: 1500,
        hop_limit: 77,
        dscp: None,
        too_big: TooBig::Inner,
        protection: Protection::Clear,
        strict: false,
        bfd: false,
        dead: false,
        tfc: false,
    }
}

/// IPv4 islands over the IPv6 softwire, IPv6 islands over the IPv4 one; the SPD says nothing of IP in IP.
pub fn mesh(workers: usize) -> Bench {
    let mut b = Bench::with(workers, Action::Protect, 64);
    let rule = |protocol, action| PolicyRule { selector: Selector { protocol, ..Selector::ANY }, action };
    b.publish(&[
        SnapshotOp::SoftwireSet(softwire(SIX)),
        SnapshotOp::SoftwireSet(softwire(FOUR)),
        SnapshotOp::RouteAdd(prefix("10.2.0.0/16"), vec![NextHop::Softwire(SIX)]),
        SnapshotOp::RouteAdd(prefix("2001:db8:b2::/48"), vec![NextHop::Softwire(FOUR)]),
        SnapshotOp::Policy(vec![rule(1, Action::Bypass), rule(58, Action::Bypass), rule(0, Action::Discard)]),
    ]);
    b
}

pub fn v4(len: usize) -> Vec<u8> {
    datagram("10.1.0.1", "10.2.0.1", (1000, 2000), &vec![7; len])
}

fn v6(len: usize) -> Vec<u8> {
    datagram("2001:db8:b1::1", "2001:db8:b2::1", (1000, 2000), &vec![7; len])
}

/// What the other AFBR sends.
pub fn from_afbr(id: SoftwireId, inner: &[u8]) -> Vec<u8> {
    let s = softwire(id);
    let protocol = if inner[0] >> 4 == 6 { proto::IPV6 } else { proto::IPIP };
    frame(0, &packet(&s.remote.to_string(), &s.local.to_string(), protocol, 64, inner))
}

pub fn back4() -> Vec<u8> {
    datagram("10.2.0.1", "10.1.0.1", (2000, 1000), b"back")
}

fn back6() -> Vec<u8> {
    datagram("2001:db8:b2::1", "2001:db8:b1::1", (2000, 1000), b"back")
}

#[test]
fn ipv4_over_ipv6() {
    let mut b = mesh(1);
    let mut inner = v4(100);
    ipv4::set_word(&mut inner, 0, 0x45b9); // EF, ECT(1)
    let f = b.one_through(1, &frame(1, &inner), 0);
    let e = ethernet::Ethernet::parse(&f).unwrap();
    let outer = ipv6::Ipv6::parse(&f[e.len..]).unwrap();
    assert_eq!((outer.src().into(), outer.dst().into()), (ip("2001:db8:ff::1"), ip("2001:db8:ff::9")));
    assert_eq!((outer.hop_limit(), outer.traffic_class(), outer.next_header()), (77, 0xb9, proto::IPIP));
    assert_ne!(outer.flow_label(), 0);
    let h = ipv4::Ipv4::parse(outer.payload()).unwrap();
    assert!(h.checksum_ok());
    assert_eq!((h.ttl(), h.payload()), (63, &inner[20..]));
    let back = to_core(&b.one_through(0, &from_afbr(SIX, &back4()), 1));
    assert_eq!((back[8], &back[20..]), (63, &back4()[20..]));
    let c = &b.handles[0].counters.softwires[usize::from(SIX.0)];
    let both = |c: &[dataplane_api::counter::Counter; 2]| (c[0].get(), c[1].get());
    assert_eq!((both(&c.sent), both(&c.received)), ((1, 128), (1, 32)));
}

#[test]
fn ipv6_over_ipv4() {
    let mut b = mesh(1);
    let inner = v6(100);
    let f = b.one_through(1, &frame(1, &inner), 0);
    let e = ethernet::Ethernet::parse(&f).unwrap();
    let outer = ipv4::Ipv4::parse(&f[e.len..]).unwrap();
    assert!(outer.checksum_ok() && outer.dont_fragment());
    assert_eq!((outer.src().into(), outer.dst().into()), (ip("192.0.2.1"), ip("192.0.2.9")));
    assert_eq!((outer.ttl(), outer.tos(), outer.protocol()), (77, 0, proto::IPV6));
    let h = ipv6::Ipv6::parse(outer.payload()).unwrap();
    assert_eq!((h.hop_limit(), h.payload()), (63, &inner[40..]));
    let back = to_core(&b.one_through(0, &from_afbr(FOUR, &back6()), 1));
    assert_eq!((back[7], &back[40..]), (63, &back6()[40..]));
}

#[test]
fn dscp_of_the_operators_choice_keeps_ecn() {
    let mut b = mesh(1);
    b.publish(&[SnapshotOp::SoftwireSet(Softwire { dscp: Some(10), ..softwire(SIX) })]);
    let mut inner = v4(10);
    ipv4::set_word(&mut inner, 0, 0x45ba);
    let f = b.one_through(1, &frame(1, &inner), 0);
    assert_eq!(ipv6::Ipv6::parse(&f[14..]).unwrap().traffic_class(), 10 << 2 | 2);
}

#[test]
fn what_does_not_fit_is_told_to_the_source_or_fragmented_inside() {
    let mut b = mesh(1);
    b.one_through(1, &frame(1, &v4(1460 - 28)), 0);
    let mut big = v4(1461 - 28);
    let out = b.through(1, &frame(1, &big));
    assert_eq!(out[0].iter().map(Vec::len).collect::<Vec<_>>(), [14 + 40 + 1460, 14 + 40 + 20 + 1], "{:?}", b.drops());
    set_df(&mut big);
    let message = |b: &mut Bench, packet: &[u8]| {
        b.push(0, 1, &frame(1, packet));
        b.poll();
        let out = b.sent(1);
        assert_eq!((out.len(), b.sent(0).len()), (1, 0));
        to_core(&out[0])
    };
    let m = message(&mut b, &big);
    assert_eq!((m[20..22].to_vec(), u16::from_be_bytes([m[26], m[27]])), (vec![3, 4], 1460));
    let m = message(&mut b, &v6(1481 - 48));
    assert_eq!((m[40], u32::from_be_bytes([m[44], m[45], m[46], m[47]])), (2, 1480));
    assert_eq!(b.drops(), [(DropReason::TooBig, 2)]);
}

#[test]
fn or_fragmented_outside_and_joined_by_the_other_end() {
    let mut b = mesh(1);
    let outer = |id| SnapshotOp::SoftwireSet(Softwire { too_big: TooBig::Outer, ..softwire(id) });
    b.publish(&[outer(SIX), outer(FOUR)]);
    for (id, inner) in [(SIX, v4(1472)), (FOUR, v6(1452))] {
        b.push(0, 1, &frame(1, &inner));
        b.poll();
        let pieces = b.sent(0);
        assert_eq!(pieces.len(), 2);
        assert!(pieces.iter().all(|f| f.len() <= 14 + 1500));
        // The other end is like us: it sends the same back with the addresses exchanged.
        for mut f in pieces {
            let (at, len) = if id == SIX { (8, 16) } else { (12, 4) };
            let addresses = &mut f[14 + at..14 + at + 2 * len];
            addresses.rotate_left(len);
            f[..12].rotate_left(6);
            let (to, from) = (PUBLIC_MAC, SUBSCRIBER_MAC);
            f[..6].copy_from_slice(&to);
            f[6..12].copy_from_slice(&from);
            b.push(0, 0, &f);
        }
        b.poll();
        // Its inner destination is on the far side, so that it goes out again: two more pieces.
        assert_eq!(b.sent(0).len(), 2, "{:?}", b.drops());
    }
    assert_eq!(b.drops(), []);
}

#[test]
fn only_known_afbrs_are_heard() {
    let mut b = mesh(1);
    let stranger = packet("2001:db8:ff::66", "2001:db8:ff::1", proto::IPIP, 64, &back4());
    b.refused(0, &frame(0, &stranger), DropReason::SoftwireUnknown);
    // The inner packet is not of the family that the outer header says, or no packet at all.
    let s = softwire(SIX);
    let wrong =
        |protocol, inner: &[u8]| frame(0, &packet(&s.remote.to_string(), &s.local.to_string(), protocol, 64, inner));
    b.refused(0, &wrong(proto::IPV6, &back4()), DropReason::InnerMalformed);
    b.refused(0, &wrong(proto::IPIP, &back4()[..19]), DropReason::InnerMalformed);
    b.refused(0, &wrong(proto::IPIP, &[]), DropReason::InnerMalformed);
    let mut longer = back4();
    ipv4::set_word(&mut longer, 2, 33);
    b.refused(0, &wrong(proto::IPIP, &longer), DropReason::InnerMalformed);
    let mut damaged = back4();
    damaged[13] ^= 1;
    b.refused(0, &wrong(proto::IPIP, &damaged), DropReason::InnerMalformed);
    let martian = datagram("127.0.0.1", "10.1.0.1", (1, 2), b"x");
    b.refused(0, &wrong(proto::IPIP, &martian), DropReason::InnerMalformed);
    // Congestion outside, no ECN inside.
    let mut marked = packet(&s.remote.to_string(), &s.local.to_string(), proto::IPIP, 64, &back4());
    marked[1] |= 0x30;
    b.refused(0, &frame(0, &marked), DropReason::SoftwireEcn);
    // A deleted softwire is a stranger.
    b.publish(&[SnapshotOp::SoftwireDel(SIX)]);
    b.refused(0, &from_afbr(SIX, &back4()), DropReason::SoftwireUnknown);
    b.refused(1, &frame(1, &v4(1)), DropReason::SoftwireUnknown);
}

// M9: an AFBR speaks for the prefixes that are routed to it.
#[test]
fn strict_softwires_check_inner_sources() {
    let mut b = mesh(1);
    b.publish(&[SnapshotOp::SoftwireSet(Softwire { strict: true, ..softwire(SIX) })]);
    b.one_through(0, &from_afbr(SIX, &back4()), 1);
    let spoofed = datagram("10.3.0.1", "10.1.0.1", (1, 2), b"x");
    b.refused(0, &from_afbr(SIX, &spoofed), DropReason::SoftwireSource);
    // With ECMP either softwire may bring it.
    b.publish(&[SnapshotOp::RouteAdd(prefix("10.3.0.0/16"), vec![NextHop::Softwire(FOUR), NextHop::Softwire(SIX)])]);
    b.one_through(0, &from_afbr(SIX, &spoofed), 1);
}

#[test]
fn flows_spread_over_equal_softwires_and_stay_on_theirs() {
    let mut b = mesh(1);
    b.publish(&[SnapshotOp::RouteAdd(prefix("10.2.0.0/16"), vec![NextHop::Softwire(SIX), NextHop::Softwire(FOUR)])]);
    let mut versions = [0; 2];
    for port in 0..64 {
        let inner = frame(1, &datagram("10.1.0.1", "10.2.0.1", (port, 80), b"x"));
        let version = |b: &mut Bench| usize::from(b.one_through(1, &inner, 0)[14] >> 4 == 4);
        let first = version(&mut b);
        assert_eq!(version(&mut b), first);
        versions[first] += 1;
    }
    assert!(versions.iter().all(|&n| n > 16), "{versions:?}");
}

#[test]
fn a_lower_path_mtu_is_told_once_it_is_news() {
    let mut b = mesh(1);
    let too_big = |mtu: u32, quote: &[u8]| {
        let rest = [&mtu.to_be_bytes()[..], quote].concat();
        icmp("2001:db8:ff::77", "2001:db8:ff::1", 64, 2, &rest)
    };
    let quote = packet("2001:db8:ff::1", "2001:db8:ff::9", proto::IPIP, 64, &v4(100));
    let mut tell = |mtu, quote: &[u8]| {
        b.through(0, &frame(0, &too_big(mtu, quote)));
        b.punts();
        b.handles[0].events.pop().ok()
    };
    assert_eq!(tell(1400, &quote), Some(WorkerEvent::PathMtu(SIX, 1400)));
    assert_eq!(tell(1500, &quote), None, "known");
    assert_eq!(tell(100, &quote), Some(WorkerEvent::PathMtu(SIX, 1280)), "the least there is");
    let other = packet("2001:db8:ff::1", "2001:db8:ff::66", proto::IPIP, 64, &v4(100));
    assert_eq!(tell(1400, &other), None, "not of a softwire");
    assert_eq!(tell(1400, &quote[..20]), None, "cut short");
}
