//! Packet traces: the nodes that a packet meets, in order, and which packets they are kept of.

use super::esp::{gcm, inner_down, inner_up, secure, spi};
use super::packets::*;
use super::*;
use dataplane_api::trace::{TRACE_BUFFERS, TRACE_OCTETS};
use dataplane_api::{PuntClass, TraceEnd, TraceFilter, TraceHop, TraceSpec};
use std::num::NonZeroU32;
use wire::{ip as proto, ipv4};

pub(super) const ALL: TraceFilter = TraceFilter {
    source: None,
    destination: None,
    protocol: None,
    port: None,
    session: None,
    ingress: None,
    dropped: false,
};

pub(super) fn start(b: &mut Bench, filter: TraceFilter, sample: u32) {
    for worker in 0..b.workers.len() {
        let spec = TraceSpec { trace: 9, filter, sample: NonZeroU32::new(sample).unwrap() };
        b.op(worker, TableOp::Trace(Some(spec)));
    }
}

fn nodes(p: &TracePacket) -> Vec<&'static str> {
    p.hops().iter().map(|h| h.node.name()).collect()
}

fn at<'a>(p: &'a TracePacket, node: &str) -> &'a TraceHop {
    p.hops().iter().find(|h| h.node.name() == node).unwrap()
}

/// The only packet that was traced.
fn one(b: &mut Bench) -> TracePacket {
    let mut all = b.traced();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn lost(b: &Bench) -> u64 {
    b.handles.iter().map(|h| h.counters.worker.trace_lost.get()).sum()
}

#[test]
fn from_the_subscriber_node_by_node() {
    let (mut b, mut far) = secure(gcm());
    start(&mut b, TraceFilter { source: Some(prefix("2001:db8:7::/64")), port: Some(2000), ..ALL }, 1);
    let f = far.data(&inner_up());
    let out = b.one_through(0, &f, 1);
    let p = one(&mut b);
    assert_eq!(nodes(&p), ["rx", "classify", "esp-in", "decrypted", "l2tp-in", "forward", "tx"]);
    assert_eq!((p.trace, p.worker, p.port, p.end), (9, WorkerId(0), PortId(0), TraceEnd::Sent(PortId(1))));
    // The frame, the packet that ESP carried, the subscriber's packet, and the frame that left.
    assert_eq!((at(&p, "rx").octets(), usize::from(at(&p, "rx").len)), (&f[..], f.len()));
    let h = proto::Ip::parse(at(&p, "decrypted").octets()).unwrap();
    assert_eq!((h.protocol, h.src, at(&p, "decrypted").spi), (proto::UDP, ip("192.0.2.9"), Some(spi(2))));
    assert_eq!((at(&p, "decrypted").peer, at(&p, "decrypted").session), (Some(peer()), None));
    assert_eq!((at(&p, "forward").octets(), at(&p, "forward").session), (&inner_up()[..], Some(session_id(0))));
    assert_eq!(at(&p, "tx").octets(), &out[..]);
    // Another source of the same subscriber, outside the filter.
    let mut other = inner_up();
    other[23] ^= 1;
    b.one_through(1, &frame(1, &inner_down(5)), 0);
    let f = far.data(&datagram("203.0.113.7", "8.8.8.8", (1000, 2000), b"x"));
    b.one_through(0, &f, 1);
    assert_eq!(b.traced().len(), 0);
}

#[test]
fn to_the_subscriber_node_by_node() {
    let (mut b, _) = secure(gcm());
    start(&mut b, TraceFilter { session: Some(session_id(0)), ..ALL }, 1);
    let f = frame(1, &inner_down(1000));
    let out = b.one_through(1, &f, 0);
    let p = one(&mut b);
    assert_eq!(nodes(&p), ["rx", "classify", "forward", "l2tp-out", "esp-out", "output", "tx"]);
    assert_eq!((at(&p, "rx").len, at(&p, "rx").octets()), (f.len() as u16, &f[..TRACE_OCTETS]));
    let before = at(&p, "esp-out");
    assert_eq!((before.peer, before.session), (Some(peer()), Some(session_id(0))));
    assert!(before.octets()[20 + 8 + 6 + 4 + 8..].starts_with(&inner_down(1000)[8..100]), "in the clear");
    assert_eq!(at(&p, "tx").octets(), &out[..TRACE_OCTETS]);
    // Not into this session.
    b.through(1, &frame(1, &datagram("8.8.8.8", "198.51.100.9", (1, 2), b"x")));
    assert_eq!(b.traced().len(), 0);
}

#[test]
fn a_dropped_packet_says_where_and_why() {
    let (mut b, mut far) = secure(gcm());
    start(&mut b, TraceFilter { dropped: true, ..ALL }, 1);
    let f = far.data(&inner_up());
    b.one_through(0, &f, 1);
    assert_eq!(b.traced().len(), 0, "was not dropped");
    b.refused(0, &f, DropReason::EspReplay);
    let p = one(&mut b);
    assert_eq!(nodes(&p), ["rx", "classify", "esp-in", "drop"]);
    assert_eq!(p.end, TraceEnd::Dropped(DropReason::EspReplay));
    // What is inside is seen although the node that looks inside drops it.
    start(&mut b, TraceFilter { source: Some(prefix("203.0.113.66/32")), ..ALL }, 1);
    let f = far.data(&datagram("203.0.113.66", "8.8.8.8", (1, 2), b"not my address"));
    b.refused(0, &f, DropReason::InnerSource);
    let p = one(&mut b);
    assert_eq!(nodes(&p), ["rx", "classify", "esp-in", "decrypted", "l2tp-in", "drop"]);
    assert_eq!(p.end, TraceEnd::Dropped(DropReason::InnerSource));
    // And so is whose session it would be.
    start(&mut b, TraceFilter { session: Some(session_id(0)), dropped: true, ..ALL }, 1);
    b.op(0, TableOp::SessionSet(Session { peer: None, ..session() }));
    let f = far.data(&inner_up());
    b.refused(0, &f, DropReason::SessionBinding);
    assert_eq!(one(&mut b).end, TraceEnd::Dropped(DropReason::SessionBinding));
    b.refused(1, &frame(1, &inner_down(1)), DropReason::SpdClear);
    assert_eq!(nodes(&one(&mut b)), ["rx", "classify", "forward", "l2tp-out", "output", "drop"]);
}

#[test]
fn what_is_punted_and_what_is_answered() {
    let mut b = Bench::new();
    start(&mut b, ALL, 1);
    b.through(0, &frame(0, &datagram("192.0.2.9", "192.0.2.1", (500, 500), &[0; 32])));
    let p = one(&mut b);
    assert_eq!((nodes(&p), p.end), (vec!["rx", "classify", "punt"], TraceEnd::Punted(PuntClass::Ike)));
    b.punts();
    let echo = icmp("203.0.113.7", "203.0.113.1", 9, 8, &[0; 20]);
    b.one_through(0, &subscriber(&echo), 0);
    let p = one(&mut b);
    let path = ["rx", "classify", "l2tp-in", "forward", "forward", "l2tp-out", "output", "tx"];
    assert_eq!((nodes(&p), p.end), (path.to_vec(), TraceEnd::Sent(PortId(0))));
    // ARP has no IP header, and is traced where none is asked for.
    let arp = [&PUBLIC_MAC[..], &SUBSCRIBER_MAC, &[8, 6], &[0; 46]].concat();
    b.through(0, &arp);
    let p = one(&mut b);
    assert_eq!((p.end, at(&p, "rx").octets()), (TraceEnd::Punted(PuntClass::Neighbour), &arp[..]));
    b.punts();
    start(&mut b, TraceFilter { ingress: Some(PortId(1)), ..ALL }, 1);
    b.through(0, &arp);
    b.punts();
    assert_eq!(b.traced().len(), 0);
}

#[test]
fn one_in_so_many() {
    let mut b = Bench::new();
    start(&mut b, TraceFilter { protocol: Some(proto::UDP), destination: Some(prefix("8.8.8.8/32")), ..ALL }, 3);
    let (f, other) = (datagram("203.0.113.7", "8.8.8.8", (1, 2), b"x"), syn("203.0.113.7", "8.8.8.8", 1000));
    for n in 1..=10 {
        b.one_through(0, &subscriber(&f), 1);
        b.one_through(0, &subscriber(&other), 1);
        assert_eq!(b.traced().len(), usize::from(n % 3 == 0), "{n}");
    }
}

#[test]
fn what_has_no_buffer_is_counted_and_goes_its_way() {
    let mut b = Bench::new();
    let f = subscriber(&datagram("203.0.113.7", "8.8.8.8", (1, 2), b"x"));
    // Those that do not match use the same buffers again and again.
    start(&mut b, TraceFilter { dropped: true, ..ALL }, 1);
    for _ in 0..TRACE_BUFFERS + 20 {
        b.one_through(0, &f, 1);
    }
    assert_eq!((b.traced().len(), lost(&b)), (0, 0));
    // Nobody collects those that do.
    start(&mut b, ALL, 1);
    for _ in 0..TRACE_BUFFERS + 20 {
        b.one_through(0, &f, 1);
    }
    assert_eq!(lost(&b), 20);
    assert_eq!(b.traced().len(), TRACE_BUFFERS);
    b.one_through(0, &f, 1);
    assert_eq!((b.traced().len(), lost(&b)), (1, 20));
    b.op(0, TableOp::Trace(None));
    b.one_through(0, &f, 1);
    assert_eq!((b.traced().len(), lost(&b)), (0, 20));
}

#[test]
fn two_workers_leave_two_parts_with_one_number() {
    let mut b = Bench::with(2, Action::Bypass, 8);
    let id = session_id(1);
    b.op(1, TableOp::SessionAdd(Session { id, ..session() }));
    start(&mut b, TraceFilter { source: Some(prefix("203.0.113.7/32")), session: Some(id), ..ALL }, 1);
    let inner = datagram("203.0.113.7", "8.8.8.8", (1, 2), b"up");
    let up = l2tp_from("192.0.2.9", (1701, 1701), id.tunnel(), id.session(), &ppp(&inner));
    b.one_through(0, &up, 1);
    let parts = b.traced();
    assert_eq!((parts.len(), parts[0].id), (2, parts[1].id));
    assert_eq!(
        (nodes(&parts[0]), parts[0].end),
        (vec!["rx", "classify", "l2tp-in", "hand-off"], TraceEnd::HandedOff(WorkerId(1)))
    );
    assert_eq!((nodes(&parts[1]), parts[1].end), (vec!["l2tp-in", "forward", "tx"], TraceEnd::Sent(PortId(1))));
    assert_eq!((parts[0].continued, parts[1].continued, parts[1].worker), (false, true, WorkerId(1)));
    assert!(parts[0].headers && parts[1].session);
    // A full ring: the drop is this worker's.
    for _ in 0..9 {
        b.push(0, 0, &up);
        b.workers[0].poll();
    }
    let ends: Vec<_> = b.traced().iter().map(|p| p.end).collect();
    assert_eq!(ends[8], TraceEnd::Dropped(DropReason::HandoffFull), "{ends:?}");
}

#[test]
fn fragments_are_joined_and_what_they_make_goes_on() {
    let mut b = Bench::new();
    start(&mut b, TraceFilter { source: Some(prefix("203.0.113.7/32")), ..ALL }, 1);
    let whole = subscriber(&datagram("203.0.113.7", "8.8.8.8", (1, 2), &[7; 600]));
    let piece = |from: usize, to: usize, more: bool| {
        let mut p = [&whole[14..34], &whole[34 + from..34 + to]].concat();
        ipv4::set_word(&mut p, 2, (20 + to - from) as u16);
        ipv4::set_word(&mut p, 6, (from / 8) as u16 | if more { ipv4::MF } else { 0 });
        frame(0, &p)
    };
    b.through(0, &piece(0, 304, true));
    b.one_through(0, &piece(304, whole.len() - 34, false), 1);
    // The first one is only known by what became of it.
    let p = one(&mut b);
    assert_eq!((nodes(&p), p.end), (vec!["rx", "classify", "l2tp-in", "forward", "tx"], TraceEnd::Sent(PortId(1))));
    start(&mut b, ALL, 1);
    b.through(0, &piece(0, 304, true));
    let p = one(&mut b);
    assert_eq!((nodes(&p), p.end), (vec!["rx", "classify", "joined"], TraceEnd::Joined));
    b.one_through(0, &piece(304, whole.len() - 34, false), 1);
}

#[test]
fn what_a_port_does_not_take_was_not_sent() {
    let mut b = Bench::new();
    start(&mut b, ALL, 1);
    let f = subscriber(&datagram("203.0.113.7", "8.8.8.8", (1, 2), b"x"));
    // The ring behind the port holds 127.
    for _ in 0..70 {
        b.push(0, 0, &f);
    }
    b.poll();
    for _ in 0..70 {
        b.push(0, 0, &f);
    }
    b.poll();
    let full = b.handles[0].counters.worker.dropped(DropReason::TxFull);
    let ends: Vec<_> = b.traced().iter().map(|p| (p.end, p.hops().len())).collect();
    let of = |end| ends.iter().filter(|e| e.0 == end).count() as u64;
    assert!(full > 0);
    assert_eq!((of(TraceEnd::Dropped(DropReason::TxFull)), of(TraceEnd::Sent(PortId(1)))), (full, 140 - full));
    assert!(ends.iter().all(|e| e.1 == if e.0 == TraceEnd::Sent(PortId(1)) { 5 } else { 6 }), "{ends:?}");
}

#[test]
fn encapsulated_packets_are_looked_into() {
    let mut b = Bench::new();
    start(&mut b, TraceFilter { destination: Some(prefix("8.8.8.8/32")), protocol: Some(proto::TCP), ..ALL }, 1);
    let inner = syn("203.0.113.7", "8.8.8.8", 1000);
    let nested = packet("203.0.113.7", "8.8.4.4", proto::IPIP, 9, &inner);
    b.one_through(0, &subscriber(&nested), 1);
    assert_eq!(b.traced().len(), 1);
    // Address and protocol are of two headers.
    b.one_through(
        0,
        &subscriber(&packet("203.0.113.7", "8.8.8.8", proto::IPIP, 9, &syn("10.0.0.1", "10.0.0.2", 9))),
        1,
    );
    assert_eq!(b.traced().len(), 0);
}
