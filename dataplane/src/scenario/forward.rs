//! Routing: hop limits, ICMP errors, MTU and fragmentation, ECMP, our own addresses, neighbours.

use super::packets::*;
use super::*;
use dataplane_api::{PuntClass, WorkerEvent};
use wire::{checksum, icmp as icmp_wire, ip as proto, ipv4};

/// Checks an ICMP error for the subscriber or the core and gives (type, code, second word, quote).
fn error(packet: &[u8]) -> (u8, u8, u32, Vec<u8>) {
    let h = proto::Ip::parse(packet).unwrap();
    let m = &packet[h.header_len..h.len];
    match h.src {
        IpAddr::V4(_) => {
            assert_eq!((h.protocol, checksum::of(m)), (proto::ICMP, 0));
            assert!(h.len <= icmp_wire::MAX_V4);
        }
        IpAddr::V6(_) => {
            assert_eq!((h.protocol, checksum::transport(h.src, h.dst, proto::ICMPV6, m)), (proto::ICMPV6, 0));
            assert!(h.len <= icmp_wire::MAX_V6);
        }
    }
    (m[0], m[1], u32::from_be_bytes([m[4], m[5], m[6], m[7]]), m[8..].to_vec())
}

/// The packet is dropped for `reason`, and an ICMP error goes back the way it came.
fn reported(b: &mut Bench, port: usize, f: &[u8], reason: DropReason) -> Vec<u8> {
    let before = b.drops();
    let mut out = b.through(port, f);
    b.dropped_since(&before, reason);
    assert_eq!((out[port].len(), out[1 - port].len()), (1, 0));
    let back = out[port].remove(0);
    if port == 0 { from_session(&back)[4..].to_vec() } else { to_core(&back) }
}

#[test]
fn hop_limit_runs_out() {
    let mut b = Bench::new();
    let inner = packet("2001:db8:7::1", "2001:db8:aaaa::1", proto::UDP, 1, &[0; 8]);
    let back = reported(&mut b, 0, &subscriber(&inner), DropReason::TtlExceeded);
    assert_eq!(error(&back), (3, 0, 0, inner));
    let inner = packet("203.0.113.7", "8.8.8.8", proto::UDP, 1, &[0; 8]);
    let back = reported(&mut b, 0, &subscriber(&inner), DropReason::TtlExceeded);
    assert_eq!(error(&back), (11, 0, 0, inner));
    // The source is our end of the link.
    assert_eq!(ipv4::Ipv4::parse(&back).unwrap().src().to_string(), "203.0.113.1");
    let transit = packet("8.8.8.8", "203.0.113.7", proto::UDP, 1, &[0; 8]);
    let back = reported(&mut b, 1, &frame(1, &transit), DropReason::TtlExceeded);
    assert_eq!(ipv4::Ipv4::parse(&back).unwrap().src().to_string(), "198.51.100.1");
}

#[test]
fn no_route_unreachable_blackhole() {
    let mut b = Bench::new();
    b.publish(&[SnapshotOp::RouteDel(prefix("::/0"))]);
    let inner = packet("2001:db8:7::1", "2001:db8:aaaa::1", proto::UDP, 9, &[0; 8]);
    let back = reported(&mut b, 0, &subscriber(&inner), DropReason::NoRoute);
    assert_eq!(error(&back), (1, 0, 0, inner));
    let inner = packet("203.0.113.7", "10.67.0.1", proto::UDP, 9, &[0; 8]);
    let back = reported(&mut b, 0, &subscriber(&inner), DropReason::NoRoute);
    assert_eq!(error(&back), (3, 0, 0, inner));
    b.refused(0, &subscriber(&packet("203.0.113.7", "10.66.0.1", proto::UDP, 9, &[])), DropReason::Blackhole);
}

/// Whatever the packet before was: 203.0.113.7 is the beginning of cb00:7107::.
#[test]
fn each_family_has_its_own_routes() {
    let mut b = Bench::new();
    b.publish(&[SnapshotOp::RouteAdd(prefix("cb00:7107::/48"), vec![NextHop::Blackhole])]);
    let before = b.drops();
    let four = frame(1, &packet("8.8.8.8", "203.0.113.7", proto::UDP, 9, &[0; 8]));
    let six = frame(1, &packet("2001:db8::8", "cb00:7107::", proto::UDP, 9, &[0; 8]));
    [&four, &six, &six, &four].into_iter().for_each(|f| b.push(0, 1, f));
    b.poll();
    b.balance();
    assert_eq!((b.sent(0).len(), b.sent(1).len()), (2, 0));
    let of = |drops: &[(DropReason, u64)]| drops.iter().find(|d| d.0 == DropReason::Blackhole).map_or(0, |d| d.1);
    assert_eq!(of(&b.drops()), of(&before) + 2);
}

#[test]
fn errors_are_not_answered_by_errors() {
    let mut b = Bench::new();
    // About an ICMP error, a later fragment, and from a source that is no host.
    b.refused(0, &subscriber(&icmp("203.0.113.7", "8.8.8.8", 1, 3, &[0; 28])), DropReason::TtlExceeded);
    b.refused(0, &subscriber(&icmp("2001:db8:7::1", "2001:db8::1", 1, 1, &[0; 44])), DropReason::TtlExceeded);
    let mut fragment = packet("203.0.113.7", "8.8.8.8", proto::UDP, 1, &[0; 16]);
    ipv4::set_word(&mut fragment, 6, 10);
    b.refused(0, &subscriber(&fragment), DropReason::TtlExceeded);
    b.refused(1, &frame(1, &packet("0.0.0.0", "203.0.113.7", proto::UDP, 1, &[0; 8])), DropReason::TtlExceeded);
}

#[test]
fn errors_are_limited_in_rate() {
    let mut b = Bench::new();
    let f = subscriber(&packet("203.0.113.7", "8.8.8.8", proto::UDP, 1, &[0; 8]));
    for _ in 0..400 {
        b.through(0, &f);
    }
    let drops = b.drops();
    let of = |r| drops.iter().find(|d| d.0 == r).map_or(0, |d| d.1);
    assert_eq!(of(DropReason::TtlExceeded), 400);
    let suppressed = of(DropReason::IcmpSuppressed);
    assert!((1..=200).contains(&suppressed), "{suppressed}");
    let c = &b.handles[0].counters.worker;
    assert_eq!((c.generated.get(), c.sent.get()), (400, 400 - suppressed));
}

#[test]
fn too_big_for_the_session() {
    let mut b = Bench::new();
    let inner = packet("2001:db8:aaaa::1", "2001:db8:7::1", proto::UDP, 9, &[0x5a; 1400]);
    let back = reported(&mut b, 1, &frame(1, &inner), DropReason::TooBig);
    let (kind, code, mtu, quote) = error(&back);
    assert_eq!((kind, code, mtu), (2, 0, u32::from(MTU)));
    assert_eq!((quote.len(), &quote[8..]), (1280 - 48, &inner[8..1280 - 48]));
    let mut inner = packet("8.8.8.8", "203.0.113.7", proto::UDP, 9, &[0x5a; 1400]);
    set_df(&mut inner);
    let back = reported(&mut b, 1, &frame(1, &inner), DropReason::TooBig);
    let (kind, code, mtu, quote) = error(&back);
    assert_eq!((kind, code, mtu, quote.len()), (3, 4, u32::from(MTU), 576 - 28));
    // Exactly as large as allowed.
    let inner = packet("2001:db8:aaaa::1", "2001:db8:7::1", proto::UDP, 9, &vec![0; usize::from(MTU) - 40]);
    b.one_through(1, &frame(1, &inner), 0);
}

/// Puts IPv4 fragments together, checking each.
fn join(packets: &[Vec<u8>], mtu: usize) -> Vec<u8> {
    let mut whole = Vec::new();
    for (i, p) in packets.iter().enumerate() {
        let h = ipv4::Ipv4::parse(p).unwrap();
        assert!(h.checksum_ok() && h.total_len() == p.len() && p.len() <= mtu);
        assert_eq!(usize::from(h.fragment_offset()), whole.len());
        assert_eq!(h.more_fragments(), i + 1 < packets.len());
        whole.extend_from_slice(h.payload());
    }
    whole
}

#[test]
fn ipv4_is_fragmented_where_df_allows() {
    let mut b = Bench::new();
    let payload: Vec<u8> = (0..1480u32).map(|i| i as u8).collect();
    let out = b.through(1, &frame(1, &packet("8.8.8.8", "203.0.113.7", proto::UDP, 9, &payload)));
    let inner: Vec<_> = out[0].iter().map(|f| from_session(f)[4..].to_vec()).collect();
    assert_eq!(inner.len(), 2);
    assert_eq!(join(&inner, usize::from(MTU)), payload);
    assert_eq!(b.handles[0].counters.worker.generated.get(), 1);
    assert_eq!(b.handles[0].counters.sessions[3].out_v4[0].get(), 2);
    // Out of a port with a smaller MTU; three fragments.
    let small = PortConfig {
        port: PortId(1),
        mac: MacAddr(TRUSTED_MAC),
        mtu: 500,
        vlan: Some(7),
        zone: Zone::Trusted,
        addresses: vec![],
    };
    b.publish(&[SnapshotOp::Port(small)]);
    let out = b.through(0, &subscriber(&packet("203.0.113.7", "8.8.8.8", proto::UDP, 9, &payload[..1300])));
    let pieces: Vec<_> = out[1].iter().map(|f| f[18..].to_vec()).collect();
    assert_eq!(out[1][0][12..18], [0x81, 0, 0, 7, 8, 0]);
    assert_eq!((pieces.len(), join(&pieces, 500)), (3, payload[..1300].to_vec()));
    // A frame of another VLAN, and none.
    b.refused(1, &frame(1, &packet("8.8.8.8", "203.0.113.7", proto::UDP, 9, &[])), DropReason::UnknownVlan);
}

#[test]
fn outer_packets_of_ours_are_fragmented() {
    let mut b = Bench::new();
    b.op(0, TableOp::SessionSet(Session { mtu: 1500, ..session() }));
    let payload: Vec<u8> = (0..1480u32).map(|i| i as u8).collect();
    let out = b.through(1, &frame(1, &packet("8.8.8.8", "203.0.113.7", proto::UDP, 9, &payload)));
    let pieces: Vec<_> = out[0].iter().map(|f| f[14..].to_vec()).collect();
    let datagram = join(&pieces, 1500);
    assert_eq!((pieces.len(), &datagram[8 + 6 + 4 + 20..]), (2, &payload[..]));
    let checked = wire::udp::Udp::parse(&datagram).unwrap().checksum_ok(ip("192.0.2.1"), ip("192.0.2.9"));
    assert!(datagram[6..8] != [0, 0] && checked);

    // Over IPv6 with a fragment header, as we are the source; reassembled by ourselves on the way back.
    let outer =
        OuterPath { local: "[2001:db8:ff::1]:1701".parse().unwrap(), remote: "[2001:db8:ff::9]:1701".parse().unwrap() };
    b.op(0, TableOp::SessionSet(Session { mtu: 1500, outer, ..session() }));
    let out = b.through(1, &frame(1, &packet("8.8.8.8", "203.0.113.7", proto::UDP, 9, &payload)));
    assert_eq!(out[0].len(), 2);
    let mut joined = Vec::new();
    for (i, f) in out[0].iter().enumerate() {
        let u = wire::ipv6::upper_layer(&f[14..]).unwrap();
        assert_eq!((u.protocol, u.fragment), (proto::UDP, Some((joined.len() as u16, i == 0))));
        joined.extend_from_slice(&f[14 + u.offset..]);
    }
    assert!(wire::udp::Udp::parse(&joined).unwrap().checksum_ok(ip("2001:db8:ff::1"), ip("2001:db8:ff::9")));
}

#[test]
fn outer_fragments_are_reassembled() {
    let mut b = Bench::new();
    let payload = [0x77; 600];
    let whole = subscriber(&datagram("203.0.113.7", "8.8.8.8", (1, 2), &payload));
    let (head, body) = (&whole[14..34], &whole[34..]);
    let piece = |from: usize, to: usize, more: bool| {
        let mut p = [head, &body[from..to]].concat();
        ipv4::set_word(&mut p, 2, (20 + to - from) as u16);
        ipv4::set_word(&mut p, 6, (from / 8) as u16 | if more { ipv4::MF } else { 0 });
        frame(0, &p)
    };
    b.through(0, &piece(400, body.len(), false));
    assert_eq!(b.handles[0].counters.worker.joined.get(), 1);
    let out = to_core(&b.one_through(0, &piece(0, 400, true), 1));
    assert_eq!(out[28..], payload);
    // Overlap: both are lost.
    let before = b.drops();
    b.through(0, &piece(0, 400, true));
    b.through(0, &piece(392, body.len(), false));
    assert_ne!(b.drops(), before);
    assert_eq!(b.drops().last().map(|d| d.0), Some(DropReason::Reassembly));
}

#[test]
fn echo_to_our_side_of_the_session_is_answered() {
    let mut b = Bench::new();
    let request = icmp("203.0.113.7", "203.0.113.1", 33, icmp_wire::ECHO_REQUEST, b"\0\x01\0\x02ping");
    let reply = from_session(&b.one_through(0, &subscriber(&request), 0))[4..].to_vec();
    let h = ipv4::Ipv4::parse(&reply).unwrap();
    assert!(h.checksum_ok() && checksum::of(h.payload()) == 0);
    assert_eq!((h.src().to_string().as_str(), h.ttl(), h.payload()[0]), ("203.0.113.1", 64, 0));
    assert_eq!(h.payload()[4..], *b"\0\x01\0\x02ping");
    let mut wrong = request;
    wrong[30] ^= 1;
    b.refused(0, &subscriber(&wrong), DropReason::InnerMalformed);
    // IPv6, to an address of a port that has a route to ourselves.
    b.publish(&[SnapshotOp::RouteAdd(prefix("2001:db8:1::1/128"), vec![NextHop::Local])]);
    let request = icmp("2001:db8:7::1", "2001:db8:1::1", 33, icmp_wire::ECHO_REQUEST_V6, b"\0\x01\0\x02ping");
    let reply = from_session(&b.one_through(0, &subscriber(&request), 0))[4..].to_vec();
    let sum = checksum::transport(ip("2001:db8:1::1"), ip("2001:db8:7::1"), proto::ICMPV6, &reply[40..]);
    assert_eq!((reply[40], sum), (icmp_wire::ECHO_REPLY_V6, 0));
    // The rest goes to the control plane with its session.
    let other = datagram("203.0.113.7", "203.0.113.1", (1, 53), b"?");
    b.through(0, &subscriber(&other));
    let p = b.punts();
    assert_eq!((p[0].meta.class, p[0].meta.session), (PuntClass::SessionHost, Some(session_id(0))));
    assert_eq!(p[0].data, [&[0, 0x21][..], &other].concat());
}

#[test]
fn ecmp_keeps_flows_together_and_uses_all_paths() {
    let mut b = Bench::new();
    let hops = vec![NextHop::Via(PortId(1), ip("198.51.100.9")), NextHop::Via(PortId(1), ip("198.51.100.8"))];
    let other = MacAddr([2, 0, 0, 0, 1, 8]);
    b.publish(&[
        SnapshotOp::RouteAdd(prefix("0.0.0.0/0"), hops),
        SnapshotOp::NeighbourAdd(PortId(1), ip("198.51.100.8"), other),
    ]);
    let mut per_path = [0; 2];
    for flow in 0..64u16 {
        let f = subscriber(&datagram("203.0.113.7", "8.8.8.8", (flow, 2), b"x"));
        let first = b.one_through(0, &f, 1);
        assert_eq!(b.one_through(0, &f, 1)[..6], first[..6]);
        per_path[usize::from(first[..6] == other.0)] += 1;
    }
    assert!(per_path[0] > 16 && per_path[1] > 16, "{per_path:?}");
}

/// Whoever the packet before went to, known or not.
#[test]
fn neighbours_take_turns_in_one_burst() {
    let (mut b, other) = (Bench::new(), MacAddr([2, 0, 0, 0, 0, 0x77]));
    for address in ["198.51.100.8", "2001:db8:1::8"] {
        b.publish(&[SnapshotOp::NeighbourAdd(PortId(1), ip(address), other)]);
    }
    let four = |last: u8| subscriber(&packet("203.0.113.7", &format!("198.51.100.{last}"), proto::UDP, 9, &[0; 8]));
    let six = |last: u8| subscriber(&packet("2001:db8:7::1", &format!("2001:db8:1::{last}"), proto::UDP, 9, &[0; 8]));
    let before = b.drops();
    for f in [four(9), four(8), four(8), four(77), six(9), four(9), six(8), six(77), six(8), six(9)] {
        b.push(0, 0, &f);
    }
    b.poll();
    b.balance();
    let to: Vec<_> = b.sent(1).iter().map(|f| (f[5], f[12..14] == [0x08, 0x00])).collect();
    let (known, eight) = (CORE_MAC[5], other.0[5]);
    let want = [(known, true), (eight, true), (eight, true), (known, false), (known, true), (eight, false)];
    assert_eq!(to, [&want[..], &[(eight, false), (known, false)]].concat());
    let of =
        |drops: &[(DropReason, u64)]| drops.iter().find(|d| d.0 == DropReason::NeighbourUnresolved).map_or(0, |d| d.1);
    assert_eq!(of(&b.drops()), of(&before) + 2);
}

#[test]
fn unknown_neighbours_are_asked_for() {
    let mut b = Bench::new();
    let f = subscriber(&datagram("203.0.113.7", "198.51.100.77", (1, 2), b"x"));
    b.refused(0, &f, DropReason::NeighbourUnresolved);
    assert_eq!(b.handles[0].events.pop(), Ok(WorkerEvent::NeighbourMiss(PortId(1), ip("198.51.100.77"))));
    b.publish(&[SnapshotOp::NeighbourAdd(PortId(1), ip("198.51.100.77"), MacAddr(CORE_MAC))]);
    b.one_through(0, &f, 1);
    b.publish(&[SnapshotOp::NeighbourDel(PortId(1), ip("198.51.100.77"))]);
    b.refused(0, &f, DropReason::NeighbourUnresolved);
}

#[test]
fn routes_change_under_traffic() {
    let mut b = Bench::new();
    let f = subscriber(&datagram("203.0.113.7", "10.9.0.1", (1, 2), b"x"));
    // Both pairs of tables see every change, whichever is in use.
    for _ in 0..3 {
        b.one_through(0, &f, 1);
        b.publish(&[SnapshotOp::RouteAdd(prefix("10.9.0.0/16"), vec![NextHop::Blackhole])]);
        b.refused(0, &f, DropReason::Blackhole);
        b.publish(&[SnapshotOp::RouteAdd(prefix("10.99.0.0/16"), vec![NextHop::Unreachable])]);
        b.refused(0, &f, DropReason::Blackhole);
        b.publish(&[SnapshotOp::RouteDel(prefix("10.9.0.0/16")), SnapshotOp::RouteDel(prefix("10.99.0.0/16"))]);
    }
    // While a worker still reads the old snapshot, the tables are not touched.
    let held = b.publisher.shared().load_full();
    b.publish(&[SnapshotOp::NeighbourDel(PortId(1), ip("192.0.2.200"))]);
    assert!(b.publisher.apply(&[SnapshotOp::RouteDel(prefix("10.66.0.0/16"))]).is_some());
    b.poll();
    assert!(!b.publisher.quiescent());
    assert!(b.publisher.apply(&[SnapshotOp::RouteDel(prefix("10.67.0.0/16"))]).is_none());
    drop(held);
    assert!(b.publisher.quiescent());
}
