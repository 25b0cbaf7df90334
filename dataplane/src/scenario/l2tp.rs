//! Softwires in the clear: both directions, all forms of headers, and everything a packet can be refused for.

use super::packets::*;
use super::*;
use dataplane_api::PuntClass;
use wire::{icmp as icmp_wire, ip as proto, l2tp};

const V6: (&str, &str) = ("2001:db8:7::1", "2001:db8:aaaa::1");

#[test]
fn a_packet_from_the_subscriber_reaches_the_core() {
    let mut b = Bench::new();
    for (src, dst) in [V6, ("203.0.113.7", "8.8.8.8")] {
        let inner = datagram(src, dst, (1000, 2000), b"hello");
        let out = to_core(&b.one_through(0, &subscriber(&inner), 1));
        let hop = if inner[0] >> 4 == 6 { 7 } else { 8 };
        assert_eq!(out[hop], 63);
        assert_eq!(out[out.len() - 5..], *b"hello");
    }
    let c = &b.handles[0].counters.sessions[3];
    assert_eq!((c.in_v6[0].get(), c.in_v6[1].get(), c.in_v4[0].get(), c.in_v4[1].get()), (1, 53, 1, 33));
}

#[test]
fn a_packet_to_the_subscriber_is_encapsulated() {
    let mut b = Bench::new();
    let inner = datagram("2001:db8:aaaa::1", "2001:db8:7::1", (1, 2), &[0x55; 1000]);
    let ppp = from_session(&b.one_through(1, &frame(1, &inner), 0));
    assert_eq!(ppp[..4], [0xff, 3, 0, 0x57]);
    assert_eq!(ppp[4 + 7], 63);
    assert_eq!(ppp[4 + 8..], inner[8..]);
    let c = &b.handles[0].counters.sessions[3];
    assert_eq!((c.out_v6[0].get(), c.out_v6[1].get()), (1, 1048));
}

#[test]
fn header_forms_follow_the_session() {
    let mut b = Bench::new();
    b.op(0, TableOp::SessionSet(Session { pfc: true, acfc: true, sequencing: true, ..session() }));
    let inner = datagram("8.8.8.8", "203.0.113.7", (1, 2), b"x");
    for ns in 0..3u8 {
        let out = b.one_through(1, &frame(1, &inner), 0);
        let l2tp = &out[14 + 20 + 8..];
        assert_eq!(l2tp[..10], [0x08, 0x02, 0x11, 0x11, 0x22, 0x22, 0, ns, 0, 0]);
        assert_eq!(from_session(&out)[..2], [0x21, 0x45]);
    }
    // And what comes in may be compressed, sequenced, offset and padded.
    let inner = datagram("203.0.113.7", "8.8.8.8", (1, 2), b"x");
    let id = session_id(0);
    let mut m = vec![0x4a, 0x02, 0, 0];
    m.extend_from_slice(&id.0.to_be_bytes());
    m.extend_from_slice(&[0, 9, 0, 0, 0, 3, 1, 2, 3, 0x21]);
    m.extend_from_slice(&inner);
    let len = (m.len() as u16).to_be_bytes();
    m[2..4].copy_from_slice(&len);
    m.extend_from_slice(&[0xee; 7]);
    let f = frame(0, &datagram("192.0.2.9", "192.0.2.1", (1701, 1701), &m));
    assert_eq!(to_core(&b.one_through(0, &f, 1)).len(), inner.len());
}

#[test]
fn mss_is_clamped_both_ways() {
    let mut b = Bench::new();
    let mss = |p: &[u8], header: usize| u16::from_be_bytes([p[header + 22], p[header + 23]]);
    let out = to_core(&b.one_through(0, &subscriber(&syn("2001:db8:7::1", "2001:db8:aaaa::1", 1460)), 1));
    assert_eq!(mss(&out, 40), MTU - 60);
    assert_eq!(wire::checksum::transport(ip("2001:db8:7::1"), ip("2001:db8:aaaa::1"), proto::TCP, &out[40..]), 0);
    let out = from_session(&b.one_through(1, &frame(1, &syn("8.8.8.8", "203.0.113.7", 1460)), 0));
    assert_eq!(mss(&out[4..], 20), MTU - 40);
    assert_eq!(wire::checksum::transport(ip("8.8.8.8"), ip("203.0.113.7"), proto::TCP, &out[24..]), 0);
}

#[test]
fn from_subscriber_to_subscriber() {
    let mut b = Bench::new();
    let other = SessionId::from_slot(Slot::new(WorkerId(0), 4, 1).unwrap());
    let mut s = Session { id: other, ..session() };
    s.inner.prefixes[0] = Some(prefix("203.0.113.8/32"));
    b.op(0, TableOp::SessionAdd(s));
    b.publish(&[SnapshotOp::RouteAdd(prefix("203.0.113.8/32"), vec![NextHop::Session(other)])]);
    let f = subscriber(&datagram("203.0.113.7", "203.0.113.8", (1, 2), b"hi"));
    let ppp = from_session(&b.one_through(0, &f, 0));
    assert_eq!(ppp[ppp.len() - 2..], *b"hi");
}

#[test]
fn control_and_ppp_control_are_punted_with_their_context() {
    let mut b = Bench::new();
    let hello = [0xc8, 0x02, 0, 20, 0x12, 0x34, 0, 0, 0, 1, 0, 2, 0x80, 8, 0, 0, 0, 0, 0, 6];
    b.through(0, &frame(0, &datagram("192.0.2.9", "192.0.2.1", (1701, 1701), &hello)));
    let p = b.punts();
    assert_eq!((p.len(), p[0].meta.class, p[0].meta.session), (1, PuntClass::L2tpControl, None));
    assert_eq!((p[0].meta.src, p[0].meta.dst), ("192.0.2.9:1701".parse().unwrap(), "192.0.2.1:1701".parse().unwrap()));
    assert_eq!(p[0].data, hello);

    b.through(0, &l2tp_frame(&[0xff, 3, 0xc0, 0x21, 9, 1, 0, 8, 0, 0, 0, 0]));
    let p = b.punts();
    assert_eq!((p.len(), p[0].meta.class, p[0].meta.session), (1, PuntClass::PppControl, Some(session_id(0))));
    assert_eq!(p[0].data, [0xc0, 0x21, 9, 1, 0, 8, 0, 0, 0, 0]);
    assert_eq!(p[0].meta.src, "192.0.2.9:1701".parse().unwrap());

    let rs = icmp("fe80::7", "ff02::2", 255, icmp_wire::ROUTER_SOLICITATION, &[0; 4]);
    b.through(0, &subscriber(&rs));
    let p = b.punts();
    assert_eq!((p.len(), p[0].meta.class, p[0].meta.session), (1, PuntClass::SessionHost, Some(session_id(0))));
    assert_eq!(p[0].data, [&[0, 0x57][..], &rs].concat());
}

#[test]
fn the_binding_holds_both_ways() {
    let mut b = Bench::new();
    let good = subscriber(&datagram(V6.0, V6.1, (1, 2), b"x"));
    b.op(0, TableOp::SessionSet(Session { peer: Some(peer()), ..session() }));
    b.refused(0, &good, DropReason::SessionBinding);
    b.op(0, TableOp::SessionSet(session()));
    b.one_through(0, &good, 1);
}

#[test]
fn refused_headers() {
    let mut b = Bench::new();
    let (t, s) = (session_id(0).tunnel(), session_id(0).session());
    let inner = ppp(&datagram(V6.0, V6.1, (1, 2), b"x"));
    b.refused(0, &l2tp_from("192.0.2.9", (1701, 1701), t, s ^ 1, &inner), DropReason::SessionUnknown);
    b.refused(0, &l2tp_from("192.0.2.9", (1701, 1701), 0, 0, &inner), DropReason::SessionUnknown);
    b.refused(0, &l2tp_from("192.0.2.9", (1701, 1701), t ^ 0x3000, s, &inner), DropReason::SessionUnknown);
    // Another worker that does not exist.
    b.refused(0, &l2tp_from("192.0.2.9", (1701, 1701), t | 0x0f00, s, &inner), DropReason::SessionUnknown);
    b.refused(0, &l2tp_from("192.0.2.8", (1701, 1701), t, s, &inner), DropReason::SessionAddress);
    b.refused(0, &l2tp_from("192.0.2.9", (1702, 1701), t, s, &inner), DropReason::SessionAddress);
    b.refused(0, &l2tp_frame(&[]), DropReason::PppMalformed);
    b.refused(0, &l2tp_frame(&[0xff, 3, 0xc0]), DropReason::PppMalformed);
    b.refused(0, &l2tp_frame(&[0xff, 3, 0, 0x57, 0x60]), DropReason::InnerMalformed);
    let mut wrong = datagram("203.0.113.7", "8.8.8.8", (1, 2), b"x");
    wrong[10] ^= 1;
    b.refused(0, &subscriber(&wrong), DropReason::InnerMalformed);
    b.refused(
        0,
        &l2tp_frame(&[&[0, 0x57][..], &datagram("203.0.113.7", "8.8.8.8", (1, 2), b"x")].concat()),
        DropReason::InnerMalformed,
    );
    let version3 = [0, 3, 0, 0, 0, 0, 0, 0];
    let f = frame(0, &datagram("192.0.2.9", "192.0.2.1", (1701, 1701), &version3));
    b.refused(0, &f, DropReason::L2tpMalformed);
}

#[test]
fn inner_sources_are_filtered() {
    let mut b = Bench::new();
    b.refused(0, &subscriber(&datagram("2001:db8:8::1", V6.1, (1, 2), b"x")), DropReason::InnerSource);
    b.refused(0, &subscriber(&datagram("203.0.113.8", "8.8.8.8", (1, 2), b"x")), DropReason::InnerSource);
    b.refused(0, &subscriber(&icmp("fe80::7", "fe80::1", 64, 128, &[0; 4])), DropReason::InnerSource);
    b.refused(0, &subscriber(&datagram(V6.0, "ff0e::1", (1, 2), b"x")), DropReason::NoRoute);
}

#[test]
fn nothing_passes_before_the_network_layer_is_open() {
    let mut b = Bench::new();
    let mut s = session();
    s.inner.ipv6 = false;
    b.op(0, TableOp::SessionSet(s));
    b.refused(0, &subscriber(&datagram(V6.0, V6.1, (1, 2), b"x")), DropReason::SessionClosed);
    b.refused(1, &frame(1, &datagram(V6.1, V6.0, (1, 2), b"x")), DropReason::SessionClosed);
    b.one_through(0, &subscriber(&datagram("203.0.113.7", "8.8.8.8", (1, 2), b"x")), 1);
    // A route that outlived its session does not reach the next owner of the slot.
    b.op(0, TableOp::SessionDel(session_id(0)));
    let next = SessionId::from_slot(Slot::new(WorkerId(0), 3, 2).unwrap());
    b.op(0, TableOp::SessionAdd(Session { id: next, ..session() }));
    b.refused(1, &frame(1, &datagram(V6.1, V6.0, (1, 2), b"x")), DropReason::SessionUnknown);
}

#[test]
fn clear_l2tp_to_a_secure_listener_is_dropped() {
    let mut b = Bench::with(1, Action::Protect, 64);
    b.op(0, TableOp::SessionAdd(session()));
    b.refused(0, &subscriber(&datagram(V6.0, V6.1, (1, 2), b"x")), DropReason::SpdClear);
    // And nothing leaves in the clear either.
    b.refused(1, &frame(1, &datagram(V6.1, V6.0, (1, 2), b"x")), DropReason::SpdClear);
}

#[test]
fn over_ipv6() {
    let mut b = Bench::new();
    let outer =
        OuterPath { local: "[2001:db8:ff::1]:1701".parse().unwrap(), remote: "[2001:db8:ff::9]:1701".parse().unwrap() };
    b.op(0, TableOp::SessionSet(Session { outer, ..session() }));
    let out = b.one_through(1, &frame(1, &datagram("8.8.8.8", "203.0.113.7", (1, 2), b"x")), 0);
    let u = wire::udp::Udp::parse(&out[54..]).unwrap();
    assert!(u.checksum_ok(ip("2001:db8:ff::1"), ip("2001:db8:ff::9")));
    assert_eq!(u.payload()[6..10], [0xff, 3, 0, 0x21]);
    let mut m = vec![0; 6];
    assert!(l2tp::emit_data(&mut m, session_id(0).tunnel(), session_id(0).session(), None));
    m.extend_from_slice(&ppp(&datagram("203.0.113.7", "8.8.8.8", (1, 2), b"x")));
    let f = frame(0, &datagram("2001:db8:ff::9", "2001:db8:ff::1", (1701, 1701), &m));
    assert_eq!(to_core(&b.one_through(0, &f, 1))[20..24], [0, 1, 0, 2]);
    // The same ids over the other family.
    b.refused(0, &subscriber(&datagram("203.0.113.7", "8.8.8.8", (1, 2), b"x")), DropReason::SessionAddress);
}
