//! Classification, the SPD, punting and injecting.

use super::packets::*;
use super::*;
use dataplane_api::PuntClass;
use std::net::SocketAddr;
use wire::{ethernet, icmp as icmp_wire, ip as proto, ipv4};

const IKE: &[u8] = b"an IKE message, if one believes it";

#[test]
fn frames_that_are_not_for_us() {
    let mut b = Bench::new();
    let good = datagram("192.0.2.9", "192.0.2.1", (500, 500), IKE);
    b.refused(0, &[0; 13], DropReason::Truncated);
    b.refused(0, &frame(0, &good)[..30], DropReason::Truncated);
    let mut f = frame(0, &good);
    f[5] ^= 1;
    b.refused(0, &f, DropReason::NotOurMac);
    let mut f = frame(0, &good);
    f[12..14].copy_from_slice(&[0x88, 0x63]);
    b.refused(0, &f, DropReason::UnknownEthertype);
    let mut f = vec![0; 18];
    assert!(ethernet::emit(&mut f, PUBLIC_MAC, SUBSCRIBER_MAC, Some(9), ethernet::IPV4));
    b.refused(0, &[&f[..], &good].concat(), DropReason::UnknownVlan);
    for (at, octet) in [(0, 0x55), (0, 0x44), (10, 0xff), (12, 224)] {
        let mut p = good.clone();
        p[at] = octet;
        if at == 12 {
            ipv4::set_word(&mut p, 10, 0);
            p[10..12].fill(0);
            let sum = wire::checksum::of(&p[..20]);
            p[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        b.refused(0, &frame(0, &p), DropReason::Malformed);
    }
    b.refused(0, &frame(0, &datagram("192.0.2.9", "203.0.113.7", (1, 2), b"x")), DropReason::SpdTransit);
    b.refused(0, &frame(0, &packet("192.0.2.9", "192.0.2.1", proto::TCP, 64, &[0; 20])), DropReason::SpdDiscard);
    b.refused(0, &frame(0, &datagram("192.0.2.9", "192.0.2.1", (1, 53), b"x")), DropReason::SpdDiscard);
    b.refused(1, &frame(1, &packet("8.8.8.8", "198.51.100.1", 115, 64, &[0; 20])), DropReason::NoListener);
    b.refused(0, &frame(0, &packet("192.0.2.9", "192.0.2.1", proto::ESP, 64, &[0; 7])), DropReason::Truncated);
    b.refused(0, &frame(0, &packet("192.0.2.9", "192.0.2.1", proto::ESP, 64, &[0; 40])), DropReason::SaUnknown);
    b.refused(0, &frame(0, &datagram("192.0.2.9", "192.0.2.1", (4500, 4500), &[0xff])), DropReason::Consumed);
}

#[test]
fn ike_is_punted_without_its_marker() {
    let mut b = Bench::new();
    for (port, data) in [(500, IKE.to_vec()), (4500, [&[0; 4][..], IKE].concat())] {
        // Options, and padding of the link.
        let mut p = datagram("192.0.2.9", "192.0.2.1", (1234, port), &data);
        p.splice(20..20, [1, 1, 1, 1]);
        p[0] = 0x46;
        let len = p.len() as u16;
        p[2..4].copy_from_slice(&len.to_be_bytes());
        p[10..12].fill(0);
        let sum = wire::checksum::of(&p[..24]);
        p[10..12].copy_from_slice(&sum.to_be_bytes());
        p.extend_from_slice(&[0xaa; 10]);
        b.through(0, &frame(0, &p));
        let m = b.punts();
        assert_eq!((m.len(), m[0].meta.class, m[0].data.as_slice()), (1, PuntClass::Ike, IKE));
        assert_eq!(m[0].meta.src, "192.0.2.9:1234".parse().unwrap());
        assert_eq!(m[0].meta.dst, SocketAddr::new(ip("192.0.2.1"), port));
    }
    // Neither: the marker alone tells it from ESP.
    b.through(0, &frame(0, &datagram("192.0.2.9", "192.0.2.1", (61_000, 4500), &[&[0; 4][..], IKE].concat())));
    let m = b.punts();
    assert_eq!((m.len(), m[0].meta.class, m[0].data.as_slice()), (1, PuntClass::Ike, IKE));
    let mut wrong = datagram("192.0.2.9", "192.0.2.1", (500, 500), IKE);
    wrong[30] ^= 1;
    b.refused(0, &frame(0, &wrong), DropReason::Malformed);
    // Over IPv6 with a destination options header.
    let mut p = datagram("2001:db8:ff::9", "2001:db8:ff::1", (500, 500), IKE);
    p.splice(40..40, [17, 0, 1, 4, 0, 0, 0, 0]);
    p[6] = 60;
    let len = (p.len() - 40) as u16;
    p[4..6].copy_from_slice(&len.to_be_bytes());
    b.through(0, &frame(0, &p));
    assert_eq!(b.punts()[0].data, IKE);
}

#[test]
fn the_host_stack_gets_whole_frames() {
    let mut b = Bench::new();
    let mut arp = vec![0; 14];
    assert!(ethernet::emit(&mut arp, [0xff; 6], SUBSCRIBER_MAC, None, ethernet::ARP));
    arp.extend_from_slice(&[0; 28]);
    let ns = icmp("fe80::9", "ff02::1:ff00:1", 255, icmp_wire::NEIGHBOUR_SOLICITATION, &[0; 20]);
    let mut ns = frame(0, &ns);
    ns[..6].copy_from_slice(&[0x33, 0x33, 0xff, 0, 0, 1]);
    let ping = frame(0, &icmp("192.0.2.9", "192.0.2.1", 64, icmp_wire::ECHO_REQUEST, &[0; 8]));
    for (f, class) in [(arp, PuntClass::Neighbour), (ns, PuntClass::Neighbour), (ping, PuntClass::Host)] {
        b.through(0, &f);
        let m = b.punts();
        assert_eq!((m.len(), m[0].meta.class, m[0].meta.port, &m[0].data), (1, class, PortId(0), &f));
    }
    let bgp = frame(1, &packet("198.51.100.9", "198.51.100.1", proto::TCP, 64, &[0; 20]));
    b.through(1, &bgp);
    assert_eq!(b.punts()[0].data, bgp);
}

#[test]
fn a_flood_of_one_class_is_policed_and_starves_no_other() {
    let mut b = Bench::with(1, Action::Bypass, 64);
    let f = frame(0, &icmp("192.0.2.9", "192.0.2.1", 64, icmp_wire::ECHO_REQUEST, &[0; 8]));
    for _ in 0..40 {
        b.through(0, &f);
    }
    assert_eq!(b.punts().len(), 16);
    assert_eq!(b.drops(), [(DropReason::PuntPoliced, 24)]);
    b.through(0, &frame(0, &datagram("192.0.2.9", "192.0.2.1", (500, 500), IKE)));
    assert_eq!(b.punts().len(), 1);
}

// M14: strangers do not come near port 179, nor does somebody with a neighbour's address from further away (GTSM, RFC
// 5082); a flood that the SPD lets pass has a bucket of its own.
#[test]
fn floods_leave_bgp_and_its_neighbours_alone() {
    let mut b = Bench::with(1, Action::Bypass, 64);
    let (remote, port) = (Some(prefix("192.0.2.9/32")), PortRange::one(179));
    let any = Selector::ANY;
    let rule = |selector, action| PolicyRule { selector, action };
    b.publish(&[SnapshotOp::Policy(vec![
        rule(Selector { protocol: 6, remote, local_port: port, min_ttl: 255, ..any }, Action::Bypass),
        rule(Selector { protocol: 6, remote, remote_port: port, min_ttl: 255, ..any }, Action::Bypass),
        rule(Selector { protocol: 1, ..any }, Action::Bypass),
        rule(any, Action::Discard),
    ])]);
    let tcp = |src, ttl, ports: (u16, u16)| {
        let (from, to) = (ports.0.to_be_bytes(), ports.1.to_be_bytes());
        frame(0, &packet(src, "192.0.2.1", proto::TCP, ttl, &[&from[..], &to, &[0; 16]].concat()))
    };
    let ping = frame(0, &icmp("192.0.2.9", "192.0.2.1", 64, icmp_wire::ECHO_REQUEST, &[0; 8]));
    let mut arp = vec![0; 42];
    assert!(ethernet::emit(&mut arp, [0xff; 6], SUBSCRIBER_MAC, None, ethernet::ARP));
    for _ in 0..100 {
        b.through(0, &tcp("192.0.2.8", 255, (4000, 179)));
        b.through(0, &tcp("192.0.2.9", 254, (4000, 179)));
        b.through(0, &tcp("192.0.2.9", 255, (4000, 22)));
        b.through(0, &ping);
    }
    assert_eq!(b.punts().len(), 16);
    let drops: std::collections::HashMap<_, _> = b.drops().into_iter().collect();
    assert_eq!((drops[&DropReason::SpdDiscard], drops[&DropReason::PuntPoliced]), (300, 84));
    for (f, class) in [
        (tcp("192.0.2.9", 255, (4000, 179)), PuntClass::Bgp),
        (tcp("192.0.2.9", 255, (179, 4000)), PuntClass::Bgp),
        (arp, PuntClass::Neighbour),
    ] {
        b.through(0, &f);
        assert_eq!(b.punts().iter().map(|m| m.meta.class).collect::<Vec<_>>(), [class]);
    }
}

#[test]
fn a_full_punt_ring_drops() {
    let mut b = Bench::with(1, Action::Bypass, 8);
    let f = frame(0, &datagram("192.0.2.9", "192.0.2.1", (500, 500), IKE));
    for _ in 0..8 {
        b.through(0, &f);
    }
    let before = b.drops();
    b.through(0, &f);
    b.dropped_since(&before, DropReason::PuntFull);
    assert_eq!(b.punts().len(), 8);
    b.through(0, &f);
    assert_eq!(b.punts().len(), 1);
}

#[test]
fn injected_ike_has_its_marker_on_4500_only() {
    let mut b = Bench::new();
    let udp = |src: &str, dst: &str, raw| Inject::Udp {
        peer: None,
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        raw,
        ttl: 64,
    };
    for (how, want) in [
        (udp("192.0.2.1:500", "192.0.2.9:500", false), IKE.to_vec()),
        (udp("192.0.2.1:4500", "192.0.2.9:61000", false), [&[0; 4][..], IKE].concat()),
        (udp("192.0.2.1:4500", "192.0.2.9:61000", true), IKE.to_vec()),
        (udp("[2001:db8:ff::1]:500", "[2001:db8:ff::9]:500", false), IKE.to_vec()),
    ] {
        b.inject(how, IKE);
        b.poll();
        let out = b.sent(0);
        let h = proto::Ip::parse(&out[0][14..]).unwrap();
        let u = wire::udp::Udp::parse(&out[0][14 + h.header_len..]).unwrap();
        assert!(out[0][14 + h.header_len + 6..][..2] != [0, 0] && u.checksum_ok(h.src, h.dst));
        assert_eq!(u.payload(), want);
        assert!(b.handles[0].inject_free.pop().unwrap().is_empty());
    }
    // A long one is fragmented: it does not fit an ordinary buffer.
    b.inject(udp("192.0.2.1:500", "192.0.2.9:500", false), &[0x33; 5000]);
    b.poll();
    assert_eq!(b.sent(0).len(), 4);
    // What is longer than any buffer, and what mixes families.
    let before = b.drops();
    b.inject(udp("192.0.2.1:500", "192.0.2.9:500", false), &[0; 40_000]);
    b.poll();
    b.dropped_since(&before, DropReason::NoBuffer);
    let before = b.drops();
    b.inject(udp("192.0.2.1:500", "[2001:db8:ff::9]:500", false), IKE);
    b.poll();
    b.dropped_since(&before, DropReason::Malformed);
}

#[test]
fn injected_ppp_goes_into_its_session() {
    let mut b = Bench::new();
    b.op(0, TableOp::SessionSet(Session { pfc: true, acfc: true, ..session() }));
    for (data, want) in [
        (&[0xc0, 0x21, 9, 9][..], &[0xff, 3, 0xc0, 0x21, 9, 9][..]),
        (&[0x80, 0x57, 1], &[0x80, 0x57, 1]),
        (&[0x00, 0x57, 0x60], &[0x57, 0x60]),
    ] {
        b.inject(Inject::Ppp(session_id(0)), data);
        b.poll();
        assert_eq!(from_session(&b.sent(0)[0]), want);
    }
    let before = b.drops();
    b.inject(Inject::Ppp(session_id(1)), &[0xc0, 0x21]);
    b.poll();
    b.dropped_since(&before, DropReason::SessionUnknown);
    let before = b.drops();
    b.inject(Inject::Ppp(session_id(0)), &[0xc0]);
    b.poll();
    b.dropped_since(&before, DropReason::PppMalformed);
}

#[test]
fn frames_of_the_host_stack_obey_the_spd() {
    let mut b = Bench::new();
    let from_us = |port: usize, p: &[u8]| {
        let mut f = frame(port, p);
        let (a, c) = f.split_at_mut(6);
        a.swap_with_slice(&mut c[..6]);
        f
    };
    let reply = from_us(0, &icmp("192.0.2.1", "192.0.2.9", 64, icmp_wire::ECHO_REPLY, &[0; 8]));
    let bgp = from_us(1, &packet("198.51.100.1", "198.51.100.9", proto::TCP, 64, &[0; 20]));
    let mut arp = reply.clone();
    arp[12..14].copy_from_slice(&ethernet::ARP.to_be_bytes());
    for (port, f) in [(0, &reply), (1, &bgp), (0, &arp)] {
        b.inject(Inject::Frame(PortId(port)), f);
        b.poll();
        assert_eq!(b.sent(usize::from(port)), std::slice::from_ref(f));
    }
    for (f, reason) in [
        (from_us(0, &packet("192.0.2.1", "192.0.2.9", proto::TCP, 64, &[0; 20])), DropReason::SpdDiscard),
        (from_us(0, &datagram("192.0.2.1", "192.0.2.9", (500, 500), b"x")), DropReason::SpdDiscard),
        (from_us(0, &[0x45; 10]), DropReason::Malformed),
        (vec![0; 5], DropReason::Truncated),
    ] {
        let before = b.drops();
        b.inject(Inject::Frame(PortId(0)), &f);
        b.poll();
        b.dropped_since(&before, reason);
    }
    let before = b.drops();
    b.inject(Inject::Frame(PortId(9)), &arp);
    b.poll();
    b.dropped_since(&before, DropReason::NoRoute);
}

#[test]
fn injected_packets_wait_for_their_table_ops() {
    let mut b = Bench::with(1, Action::Bypass, 64);
    let msg = InjectMsg { after: 1, how: Inject::Ppp(session_id(0)), data: vec![0xc0, 0x21, 1] };
    b.handles[0].inject.push(msg).unwrap();
    b.poll();
    assert_eq!((b.sent(0).len(), b.drops().len()), (0, 0));
    b.op(0, TableOp::SessionAdd(session()));
    assert_eq!(b.sent(0).len(), 1);
}

#[test]
fn a_port_that_takes_no_more() {
    let mut b = Bench::new();
    let f = frame(1, &datagram("8.8.8.8", "203.0.113.7", (1, 2), b"x"));
    // The ring of the port holds 127.
    for _ in 0..130 {
        b.push(0, 1, &f);
        b.poll();
    }
    assert_eq!(b.drops(), [(DropReason::TxFull, 3)]);
    b.balance();
    assert_eq!(b.sent(0).len(), 127);
}

#[test]
fn ops_on_taken_or_unknown_slots_are_refused_and_counted() {
    let mut b = Bench::new();
    let ops = [
        TableOp::SessionAdd(session()),
        TableOp::SessionDel(SessionId::from_slot(Slot::new(WorkerId(0), 3, 9).unwrap())),
        TableOp::SessionSet(Session { id: session_id(1), ..session() }),
        TableOp::SessionAdd(Session { id: SessionId::from_slot(Slot::new(WorkerId(0), 16, 1).unwrap()), ..session() }),
    ];
    for (n, op) in ops.into_iter().enumerate() {
        b.handles[0].ops.push((100 + n as u64, op)).unwrap();
    }
    b.poll();
    assert_eq!(b.handles[0].counters.worker.ops_refused.get(), 4);
}
