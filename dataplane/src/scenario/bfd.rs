//! BFD: punted with its TTL in a class of its own, from sessions only; and softwires that it has found dead.

use super::packets::*;
use super::*;
use dataplane_api::softwire::Protection;
use dataplane_api::{PuntClass, Softwire, SoftwireId};
use wire::{ip as proto, ipv4, ipv6};

const CONTROL: &[u8] = b"a BFD control packet, if one believes it";

/// A datagram with this TTL or hop limit.
fn bfd(src: &str, dst: &str, port: u16, ttl: u8) -> Vec<u8> {
    let mut p = datagram(src, dst, (49_152, port), CONTROL);
    if ip(src).is_ipv6() {
        p[7] = ttl;
    } else {
        p[8] = ttl;
        p[10..12].fill(0);
        let sum = wire::checksum::of(&p[..20]);
        p[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    frame(0, &p)
}

fn softwire(id: u16, remote: &str, dead: bool) -> SnapshotOp {
    let (id, remote) = (SoftwireId(id), ip(remote));
    SnapshotOp::SoftwireSet(Softwire { id, remote, bfd: true, dead, ..mesh::softwire(mesh::SIX) })
}

/// Neighbours 192.0.2.9 over one hop and 192.0.2.8 over several, a softwire to 2001:db8:ff::9.
fn bench(rates: Option<Rates>) -> Bench {
    let mut b = Bench::with_rates(1, Action::Bypass, 64, rates.unwrap_or(DEFAULT_RATES));
    let session = |remote: &str, port| PolicyRule {
        selector: Selector {
            protocol: proto::UDP,
            local: Some(IpPrefix::host(ip("192.0.2.1"))),
            remote: Some(IpPrefix::host(ip(remote))),
            local_port: PortRange::one(port),
            ..Selector::ANY
        },
        action: Action::Bypass,
    };
    let discard = PolicyRule { selector: Selector::ANY, action: Action::Discard };
    b.publish(&[
        softwire(1, "2001:db8:ff::9", false),
        SnapshotOp::Policy(vec![session("192.0.2.9", 3784), session("192.0.2.8", 4784), discard]),
    ]);
    b
}

#[test]
fn sessions_are_punted_with_their_ttl_and_nobody_else_is() {
    let mut b = bench(None);
    for (src, dst, port, ttl) in [
        ("192.0.2.9", "192.0.2.1", 3784, 255),
        ("192.0.2.8", "192.0.2.1", 4784, 251),
        ("2001:db8:ff::9", "2001:db8:ff::1", 4784, 63),
    ] {
        b.through(0, &bfd(src, dst, port, ttl));
        let m = b.punts();
        assert_eq!((m.len(), m[0].meta.class, m[0].data.as_slice()), (1, PuntClass::Bfd, CONTROL));
        assert_eq!((m[0].meta.src.ip(), m[0].meta.dst.port(), m[0].meta.ttl), (ip(src), port, ttl));
    }
    // From beyond the link, from strangers, and from a session to the other port.
    b.refused(0, &bfd("192.0.2.9", "192.0.2.1", 3784, 254), DropReason::BfdTtl);
    b.refused(0, &bfd("192.0.2.7", "192.0.2.1", 3784, 255), DropReason::SpdDiscard);
    b.refused(0, &bfd("192.0.2.9", "192.0.2.1", 4784, 255), DropReason::SpdDiscard);
    b.refused(0, &bfd("2001:db8:ff::8", "2001:db8:ff::1", 4784, 255), DropReason::SpdDiscard);
    b.refused(0, &bfd("2001:db8:ff::9", "2001:db8:ff::1", 3784, 255), DropReason::SpdDiscard);
    let mut wrong = bfd("192.0.2.9", "192.0.2.1", 3784, 255);
    wrong[50] ^= 1;
    b.refused(0, &wrong, DropReason::Malformed);
    // BFD goes beside ESP, not inside: the SA may be what is yet to come.
    let SnapshotOp::SoftwireSet(s) = softwire(1, "2001:db8:ff::9", false) else { panic!("no softwire") };
    b.publish(&[SnapshotOp::SoftwireSet(Softwire { protection: Protection::Esp(None), ..s })]);
    b.through(0, &bfd("2001:db8:ff::9", "2001:db8:ff::1", 4784, 63));
    assert_eq!(b.punts().len(), 1);
    b.publish(&[SnapshotOp::SoftwireSet(Softwire { bfd: false, ..s })]);
    b.refused(0, &bfd("2001:db8:ff::9", "2001:db8:ff::1", 4784, 63), DropReason::SpdDiscard);
    b.publish(&[SnapshotOp::SoftwireSet(s)]);
    // The softwire goes, and with it the leave to speak.
    b.publish(&[SnapshotOp::SoftwireDel(SoftwireId(1))]);
    b.refused(0, &bfd("2001:db8:ff::9", "2001:db8:ff::1", 4784, 63), DropReason::SpdDiscard);
}

#[test]
fn a_flood_of_ike_leaves_bfd_its_tokens() {
    let mut rates = DEFAULT_RATES;
    rates[PuntClass::Ike as usize] = (1, 8);
    rates[PuntClass::Bfd as usize] = (1, 2);
    let mut b = bench(Some(rates));
    let everyone = PolicyRule { selector: Selector::ANY, action: Action::Bypass };
    b.publish(&[SnapshotOp::Policy(vec![everyone])]);
    for _ in 0..20 {
        b.through(0, &frame(0, &datagram("192.0.2.9", "192.0.2.1", (500, 500), b"flood")));
        // What has been routed takes no token.
        b.through(0, &bfd("192.0.2.7", "192.0.2.1", 3784, 64));
    }
    b.punts();
    for _ in 0..3 {
        b.through(0, &bfd("192.0.2.9", "192.0.2.1", 3784, 255));
    }
    assert_eq!(b.punts().iter().filter(|m| m.meta.class == PuntClass::Bfd).count(), 2);
    assert_eq!(b.drops(), [(DropReason::BfdTtl, 20), (DropReason::PuntPoliced, 13)]);
}

#[test]
fn injected_bfd_has_the_ttl_it_is_given_and_needs_no_rule() {
    let mut b = bench(None);
    b.publish(&[SnapshotOp::Policy(vec![PolicyRule { selector: Selector::ANY, action: Action::Discard }])]);
    for (src, dst) in [("192.0.2.1:49152", "192.0.2.9:3784"), ("[2001:db8:ff::1]:49153", "[2001:db8:ff::9]:4784")] {
        let how = Inject::Udp { peer: None, src: src.parse().unwrap(), dst: dst.parse().unwrap(), raw: true, ttl: 255 };
        b.inject(how, CONTROL);
        b.poll();
        let out = b.sent(0);
        let h = proto::Ip::parse(&out[0][14..]).unwrap();
        assert_eq!((h.ttl, out.len()), (255, 1));
        assert_eq!(wire::udp::Udp::parse(&out[0][14 + h.header_len..]).unwrap().payload(), CONTROL);
    }
    // The host stack does not speak for it.
    let mut from_us = bfd("192.0.2.1", "192.0.2.9", 3784, 255);
    from_us[..12].copy_from_slice(&[SUBSCRIBER_MAC, PUBLIC_MAC].concat());
    b.publish(&[SnapshotOp::Policy(vec![PolicyRule { selector: Selector::ANY, action: Action::Bypass }])]);
    let before = b.drops();
    b.inject(Inject::Frame(PortId(0)), &from_us);
    b.poll();
    b.dropped_since(&before, DropReason::SpdDiscard);
}

#[test]
fn a_dead_softwire_is_left_out_of_every_route_by_one_change() {
    let mut b = bench(None);
    let (one, two) = (NextHop::Softwire(SoftwireId(1)), NextHop::Softwire(SoftwireId(2)));
    b.publish(&[
        softwire(2, "2001:db8:ff::8", false),
        SnapshotOp::NeighbourAdd(PortId(0), ip("2001:db8:ff::8"), MacAddr(SUBSCRIBER_MAC)),
        SnapshotOp::RouteAdd(prefix("10.2.0.0/16"), vec![one, two]),
        SnapshotOp::RouteAdd(prefix("10.3.0.0/16"), vec![one]),
    ]);
    let send = |b: &mut Bench, to: &str| {
        let mut seen: Vec<IpAddr> = Vec::new();
        for port in 0..32 {
            let out = b.through(1, &frame(1, &datagram("10.1.0.1", to, (port, 9), b"x")));
            seen.extend(out[0].iter().map(|f| IpAddr::from(ipv6::Ipv6::parse(&f[14..]).unwrap().dst())));
        }
        seen.sort_unstable();
        seen.dedup();
        seen
    };
    assert_eq!(send(&mut b, "10.2.0.1"), [ip("2001:db8:ff::8"), ip("2001:db8:ff::9")]);
    b.publish(&[softwire(1, "2001:db8:ff::9", true)]);
    assert_eq!(send(&mut b, "10.2.0.1"), [ip("2001:db8:ff::8")]);
    // Nothing else leads there: the source is told, and nothing goes into the hole.
    let out = b.through(1, &frame(1, &datagram("10.1.0.1", "10.3.0.1", (1, 9), b"x")));
    let icmp = ipv4::Ipv4::parse(&to_core(&out[1][0])).map(|h| (h.protocol(), h.payload().first().copied()));
    assert_eq!((out[0].len(), icmp), (0, Ok((proto::ICMP, Some(3)))));
    b.publish(&[softwire(1, "2001:db8:ff::9", false)]);
    assert_eq!(send(&mut b, "10.3.0.1"), [ip("2001:db8:ff::9")]);
    assert_eq!(send(&mut b, "10.2.0.1").len(), 2);
}
