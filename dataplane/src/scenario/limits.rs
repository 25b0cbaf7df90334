//! What sessions are confined to: rates, to the octet and the nanosecond, and filters.

use super::packets::*;
use super::*;
use dataplane_api::filter::MAX_RULES;
use dataplane_api::{FilterAction, FilterDirection, FilterId, FilterRule, Rate, Rates, SessionCounters};
use std::time::Duration;
use wire::{icmp as icmp_wire, ip as proto, ipv4, ipv6};

const FILTER: FilterId = FilterId(7);

/// A datagram of so many octets, from the subscriber or to it.
fn sized(v6: bool, up: bool, len: usize) -> Vec<u8> {
    let (host, far) = if v6 { ("2001:db8:7::1", "2001:db8:aaaa::1") } else { ("203.0.113.7", "8.8.8.8") };
    let (src, dst) = if up { (host, far) } else { (far, host) };
    let inner = datagram(src, dst, (1000, 2000), &vec![0x55; len - if v6 { 48 } else { 28 }]);
    assert_eq!(inner.len(), len);
    inner
}

fn up(v6: bool, len: usize) -> Vec<u8> {
    subscriber(&sized(v6, true, len))
}

fn down(v6: bool, len: usize) -> Vec<u8> {
    frame(1, &sized(v6, false, len))
}

fn rate(octets_per_second: u64, burst: u32) -> Option<Rate> {
    Some(Rate { bits_per_second: 8 * octets_per_second, burst })
}

fn limited(up: Option<Rate>, down: Option<Rate>) -> Session {
    Session { rate: Rates { up, down }, ..session() }
}

impl Bench {
    fn with_session(s: Session) -> Self {
        let mut b = Self::with(1, Action::Bypass, 64);
        b.op(0, TableOp::SessionAdd(s));
        b
    }

    fn set(&mut self, s: Session) {
        self.op(0, TableOp::SessionSet(s));
    }

    fn pass(&mut self, frame: &[u8], times: usize) {
        let from = usize::from(frame[..6] == TRUSTED_MAC);
        for _ in 0..times {
            self.one_through(from, frame, 1 - from);
        }
    }

    fn session_counters(&self) -> &SessionCounters {
        &self.handles[0].counters.sessions[3]
    }

    /// Packets dropped by rate up, rate down, filter.
    fn confined(&self) -> [u64; 3] {
        let c = self.session_counters();
        [&c.rate_up, &c.rate_down, &c.filtered].map(|c| c.get())
    }
}

#[test]
fn a_rate_is_exact_in_both_directions() {
    for (frame, from, reason) in
        [(&up as &dyn Fn(bool, usize) -> Vec<u8>, 0, DropReason::RateUp), (&down, 1, DropReason::RateDown)]
    {
        let mut b = Bench::with_session(match from {
            0 => limited(rate(1000, 3000), None),
            _ => limited(None, rate(1000, 3000)),
        });
        // Both families take from one bucket; inner octets count, and only those.
        b.pass(&frame(false, 500), 3);
        b.pass(&frame(true, 500), 3);
        b.refused(from, &frame(false, 28), reason);
        b.now += Duration::from_micros(499_999);
        b.refused(from, &frame(true, 500), reason);
        b.now += Duration::from_micros(1);
        b.pass(&frame(true, 500), 1);
        b.refused(from, &frame(true, 48), reason);
        // No more than the burst, however long it was quiet.
        b.now += Duration::from_secs(3600);
        b.pass(&frame(false, 1000), 3);
        b.refused(from, &frame(false, 28), reason);
        // The other direction has no limit.
        let other: Vec<u8> = if from == 0 { down(false, 1400) } else { up(false, 1400) };
        b.pass(&other, 20);
        let c = b.session_counters();
        let (v4, v6) = if from == 0 { (&c.in_v4, &c.in_v6) } else { (&c.out_v4, &c.out_v6) };
        assert_eq!([v4, v6].map(|c| (c[0].get(), c[1].get())), [(6, 4500), (4, 2000)]);
        assert_eq!(b.confined(), if from == 0 { [4, 0, 0] } else { [0, 4, 0] });
        let want = b.confined()[usize::from(from == 1)];
        assert_eq!(b.drops(), [(reason, want)]);
    }
}

#[test]
fn under_overload_exactly_the_rate_passes() {
    // 1 Mbit/s, offered ten times as much in steps of less than a packet's time.
    let mut b = Bench::with_session(limited(rate(125_000, 1250), rate(125_000, 1250)));
    let (up, down) = (up(false, 125), down(true, 125));
    for _ in 0..2_000 {
        b.now += Duration::from_micros(100);
        b.push(0, 0, &up);
        b.push(0, 1, &down);
        b.poll();
        b.sent(0);
        b.sent(1);
    }
    b.balance();
    let c = b.session_counters();
    // The burst, and what 0.2 s give less the first step, when the bucket was full: 199.9 packets' worth.
    let passed = 10 + 199;
    assert_eq!([&c.in_v4, &c.out_v6].map(|c| (c[0].get(), c[1].get())), [(passed, 125 * passed); 2]);
    assert_eq!(b.confined(), [2_000 - passed, 2_000 - passed, 0]);
}

#[test]
fn a_change_of_rate_keeps_tokens_and_counters() {
    let mut b = Bench::with_session(limited(rate(1000, 2000), rate(1000, 2000)));
    b.pass(&up(false, 1000), 2);
    // Something else changes: no new tokens.
    b.set(Session { mtu: 1300, ..limited(rate(1000, 2000), rate(1000, 2000)) });
    b.refused(0, &up(false, 28), DropReason::RateUp);
    // Another rate: at once, and with what had gathered at the old one.
    b.now += Duration::from_millis(100);
    b.set(limited(rate(5000, 500), rate(1000, 2000)));
    b.pass(&up(false, 100), 1);
    b.refused(0, &up(false, 28), DropReason::RateUp);
    b.now += Duration::from_millis(100);
    b.pass(&up(false, 500), 1);
    b.refused(0, &up(false, 28), DropReason::RateUp);
    // The other direction still has its burst.
    b.pass(&down(false, 1000), 2);
    b.refused(1, &down(false, 28), DropReason::RateDown);
    // A smaller burst cuts what there is.
    b.now += Duration::from_secs(10);
    b.set(limited(rate(5000, 300), rate(1000, 2000)));
    b.pass(&up(false, 300), 1);
    b.refused(0, &up(false, 28), DropReason::RateUp);
    // Without a limit everything passes; with one again, the bucket is full.
    b.set(session());
    b.pass(&up(false, 1000), 10);
    b.set(limited(rate(0, 1000), None));
    b.pass(&up(false, 1000), 1);
    b.now += Duration::from_secs(1000);
    b.refused(0, &up(false, 28), DropReason::RateUp);
    let c = b.session_counters();
    assert_eq!((c.in_v4[0].get(), c.in_v4[1].get()), (16, 13_900));
    assert_eq!(b.confined(), [5, 1, 0]);
}

#[test]
fn only_what_is_sent_takes_tokens() {
    let mut b = Bench::with_session(limited(rate(1, 1500), rate(1, 1500)));
    let (host, far) = ("203.0.113.7", "8.8.8.8");
    // Too big and not to be fragmented: the sender is told instead, at no cost to the subscriber.
    let mut big = sized(false, false, 1500);
    set_df(&mut big);
    let before = b.drops();
    assert_eq!(b.through(1, &frame(1, &big)).map(|f| f.len()), [0, 1]);
    b.dropped_since(&before, DropReason::TooBig);
    // A packet that is refused for its source takes none either.
    b.refused(0, &subscriber(&datagram("203.0.113.8", far, (1, 2), &[0; 1000])), DropReason::InnerSource);
    b.pass(&up(false, 1400), 1);
    b.refused(0, &up(false, 101), DropReason::RateUp);
    b.pass(&up(false, 100), 1);
    // Fragments of one packet cost what it costs.
    assert_eq!(b.through(1, &down(false, 1500)).map(|f| f.len()), [2, 0]);
    b.refused(1, &down(false, 28), DropReason::RateDown);
    // What we say ourselves costs as well: the answer to an echo of 58 octets.
    b.now += Duration::from_secs(60);
    let echo = subscriber(&icmp(host, "203.0.113.1", 64, icmp_wire::ECHO_REQUEST, &[0; 34]));
    assert_eq!(b.through(0, &echo).map(|f| f.len()), [1, 0]);
    b.now += Duration::from_secs(100);
    b.refused(1, &down(false, 60 - 58 + 100 + 1), DropReason::RateDown);
    b.pass(&down(false, 60 - 58 + 100), 1);
    // PPP control is not limited: the link would go down.
    b.refused(0, &up(false, 1000), DropReason::RateUp);
    b.through(0, &l2tp_frame(&[0xff, 3, 0xc0, 0x21, 9, 1, 0, 8, 0, 0, 0, 0]));
    assert_eq!(b.punts().len(), 1);
    b.inject(Inject::Ppp(session_id(0)), &[0xc0, 0x21, 10, 1, 0, 8, 0, 0, 0, 0]);
    b.poll();
    assert_eq!(b.sent(0).len(), 1);
}

#[test]
fn counters_outlive_their_session_until_the_slot_is_used_again() {
    let mut b = Bench::with_session(Session { filter: Some(FILTER), ..limited(rate(1, 1000), rate(1, 1000)) });
    b.refused(0, &up(false, 100), DropReason::Filtered);
    b.publish(&[SnapshotOp::Filter(FILTER, vec![FilterRule::any(FilterAction::Permit)])]);
    b.pass(&up(false, 1000), 1);
    b.pass(&down(true, 700), 1);
    b.refused(0, &up(false, 100), DropReason::RateUp);
    b.refused(1, &down(true, 400), DropReason::RateDown);
    let all = |b: &Bench| {
        let c = b.session_counters();
        let passed = [&c.in_v4, &c.out_v4, &c.in_v6, &c.out_v6].map(|c| [c[0].get(), c[1].get()]);
        (passed, b.confined())
    };
    let last = ([[1, 1000], [0, 0], [0, 0], [1, 700]], [1, 1, 1]);
    assert_eq!(all(&b), last);
    // In the same poll as the delete, and after it: too late to be counted. `op` checks `applied`.
    b.push(0, 0, &up(false, 28));
    b.push(0, 1, &down(false, 28));
    b.op(0, TableOp::SessionDel(session_id(0)));
    b.refused(1, &down(false, 28), DropReason::SessionUnknown);
    assert_eq!(all(&b), last);
    // The next owner of the slot begins at nothing, and with full buckets.
    let next = SessionId::from_slot(Slot::new(WorkerId(0), 3, 2).unwrap());
    let s = limited(rate(1, 1000), rate(1, 1000));
    b.op(0, TableOp::SessionAdd(Session { id: next, ..s }));
    assert_eq!(all(&b), ([[0, 0]; 4], [0; 3]));
    let inner = sized(false, true, 1000);
    b.pass(&l2tp_from("192.0.2.9", (1701, 1701), next.tunnel(), next.session(), &ppp(&inner)), 1);
    assert_eq!(all(&b).0[0], [1, 1000]);
}

#[test]
fn a_filter_decides_by_its_first_match() {
    let mut b = Bench::with_session(Session { filter: Some(FILTER), ..session() });
    let permit = FilterRule::any(FilterAction::Permit);
    let deny = FilterRule::any(FilterAction::Deny);
    let to = |p: &str| Some(prefix(p));
    b.publish(&[SnapshotOp::Filter(
        FILTER,
        vec![
            FilterRule { destination: to("198.18.0.0/25"), ..deny },
            FilterRule { direction: FilterDirection::Up, destination: to("198.18.0.0/24"), ..permit },
            FilterRule { protocol: Some(17), ports: Some(PortRange { first: 53, last: 54 }), ..permit },
            FilterRule { direction: FilterDirection::Down, protocol: Some(6), source: to("2001:db8:a::/48"), ..permit },
            FilterRule { direction: FilterDirection::Down, source: to("8.8.8.8/32"), ..permit },
        ],
    )]);
    let (h4, h6) = ("203.0.113.7", "2001:db8:7::1");
    let udp = |src, dst, port| datagram(src, dst, (53, port), b"x");
    let tcp = |src, dst| packet(src, dst, proto::TCP, 64, &[0; 20]);
    for (n, (passes, inner)) in [
        (false, udp(h4, "198.18.0.5", 53)),
        (true, udp(h4, "198.18.0.200", 9)),
        (true, tcp(h4, "198.18.0.200")),
        (true, udp(h4, "8.8.8.8", 53)),
        (true, udp(h6, "2001:db8:b::1", 54)),
        (false, udp(h6, "2001:db8:b::1", 55)),
        (false, tcp(h4, "8.8.8.8")),
        (false, tcp(h6, "2001:db8:a::1")),
        (true, tcp("2001:db8:a::1", h6)),
        (false, tcp("2001:db8:b::1", h6)),
        (true, tcp("8.8.8.8", h4)),
        (true, packet("8.8.8.8", h4, 47, 64, &[0; 2])),
        (false, tcp("198.18.0.200", h4)),
        (true, udp("198.18.0.200", h4, 53)),
        // A port of another protocol is no port.
        (false, packet(h4, "8.8.4.4", 132, 64, &[0, 53, 0, 53])),
    ]
    .into_iter()
    .enumerate()
    {
        let from_host = [h4, h6].iter().any(|h| source(&inner) == ip(h));
        let f = if from_host { subscriber(&inner) } else { frame(1, &inner) };
        let from = usize::from(!from_host);
        println!("case {n}");
        match passes {
            true => drop(b.one_through(from, &f, 1 - from)),
            false => b.refused(from, &f, DropReason::Filtered),
        }
    }
    assert_eq!(b.confined(), [0, 0, 7]);
    assert_eq!(b.drops(), [(DropReason::Filtered, 7)]);
}

fn source(packet: &[u8]) -> IpAddr {
    wire::ip::Ip::parse(packet).unwrap().src
}

#[test]
fn what_is_not_there_fails_closed() {
    let mut b = Bench::with_session(Session { filter: Some(FILTER), ..session() });
    let (u, d) = (up(true, 100), down(false, 100));
    let permit = FilterRule::any(FilterAction::Permit);
    let closed = |b: &mut Bench| {
        b.refused(0, &u, DropReason::Filtered);
        b.refused(1, &d, DropReason::Filtered);
    };
    closed(&mut b);
    // A filter of another name is no help.
    b.publish(&[SnapshotOp::Filter(FilterId(8), vec![permit])]);
    closed(&mut b);
    b.publish(&[SnapshotOp::Filter(FILTER, vec![permit])]);
    b.pass(&u, 1);
    b.pass(&d, 1);
    // One with too many rules is refused as a whole.
    assert!(b.publisher.quiescent());
    let long = vec![FilterRule::any(FilterAction::Deny); MAX_RULES + 1];
    let errors = b.publisher.apply(&[SnapshotOp::Filter(FILTER, long)]).unwrap();
    assert_eq!(errors[0].to_string(), "filter 7 has more than 256 rules");
    b.poll();
    b.pass(&u, 1);
    // The last of as many as there may be.
    let mut long = vec![FilterRule { protocol: Some(1), ..FilterRule::any(FilterAction::Deny) }; MAX_RULES];
    long[MAX_RULES - 1] = permit;
    b.publish(&[SnapshotOp::Filter(FILTER, long)]);
    b.pass(&u, 1);
    b.publish(&[SnapshotOp::Filter(FILTER, vec![FilterRule::any(FilterAction::Deny)])]);
    closed(&mut b);
    b.publish(&[SnapshotOp::Filter(FILTER, vec![permit]), SnapshotOp::Filter(FILTER, Vec::new())]);
    closed(&mut b);
    // The source is looked at first, and a session without a filter does not care.
    b.refused(0, &subscriber(&datagram("203.0.113.8", "8.8.8.8", (1, 2), b"x")), DropReason::InnerSource);
    b.set(session());
    b.pass(&u, 1);
    assert_eq!(b.confined(), [0, 0, 8]);
}

#[test]
fn fragments_are_matched_by_addresses_and_protocol() {
    let mut b = Bench::with_session(Session { filter: Some(FILTER), ..session() });
    let udp = FilterRule { protocol: Some(17), ..FilterRule::any(FilterAction::Permit) };
    let port = FilterRule { ports: Some(PortRange::one(2000)), ..udp };
    for v6 in [false, true] {
        for out in [true, false] {
            let f = |n| if out { subscriber(&fragment(v6, n, true)) } else { frame(1, &fragment(v6, n, false)) };
            let (first, later) = (f(0), f(1));
            // A rule with ports knows the first fragment only, even if it is for all ports.
            for ports in [PortRange::one(2000), PortRange::ANY] {
                b.publish(&[SnapshotOp::Filter(FILTER, vec![FilterRule { ports: Some(ports), ..udp }])]);
                b.pass(&first, 1);
                b.refused(usize::from(!out), &later, DropReason::Filtered);
            }
            b.publish(&[SnapshotOp::Filter(FILTER, vec![FilterRule { action: FilterAction::Deny, ..port }, udp])]);
            b.refused(usize::from(!out), &first, DropReason::Filtered);
            b.pass(&later, 1);
            b.publish(&[SnapshotOp::Filter(FILTER, vec![FilterRule { protocol: Some(6), ..udp }])]);
            b.refused(usize::from(!out), &later, DropReason::Filtered);
        }
    }
}

/// The first or second fragment of a datagram to port 2000. The second one's octets would be port 2000 as well.
fn fragment(v6: bool, n: u16, up: bool) -> Vec<u8> {
    let mut whole = sized(v6, up, 100);
    if !v6 {
        let mut f = whole.split_off(ipv4::HEADER);
        f = if n == 0 { f[..40].to_vec() } else { vec![7, 0xd0, 7, 0xd0, 0, 0, 0, 0] };
        let len = (ipv4::HEADER + f.len()) as u16;
        ipv4::set_word(&mut whole, 2, len);
        ipv4::set_word(&mut whole, 6, if n == 0 { ipv4::MF } else { 5 });
        return [whole, f].concat();
    }
    let mut f = whole.split_off(ipv6::HEADER);
    f = if n == 0 { f[..40].to_vec() } else { vec![7, 0xd0, 7, 0xd0, 0, 0, 0, 0] };
    whole[4..6].copy_from_slice(&(8 + f.len() as u16).to_be_bytes());
    whole[6] = ipv6::FRAGMENT;
    let word = (n * 40) | u16::from(n == 0);
    [&whole[..], &[proto::UDP, 0], &word.to_be_bytes(), &[0, 0, 0, 9], &f].concat()
}

#[test]
fn a_filter_leaves_the_link_alone() {
    let mut b = Bench::with_session(Session { filter: Some(FILTER), ..session() });
    b.through(0, &l2tp_frame(&[0xff, 3, 0xc0, 0x21, 9, 1, 0, 8, 0, 0, 0, 0]));
    b.through(0, &subscriber(&icmp("fe80::7", "ff02::2", 255, icmp_wire::ROUTER_SOLICITATION, &[0; 4])));
    assert_eq!(b.punts().len(), 2);
    // Our own answers and errors reach the subscriber, if its question got here.
    let up_only = FilterRule { direction: FilterDirection::Up, ..FilterRule::any(FilterAction::Permit) };
    b.publish(&[SnapshotOp::Filter(FILTER, vec![up_only])]);
    let echo = subscriber(&icmp("203.0.113.7", "203.0.113.1", 64, icmp_wire::ECHO_REQUEST, &[0; 8]));
    assert_eq!(b.through(0, &echo).map(|f| f.len()), [1, 0]);
    let lost = subscriber(&datagram("203.0.113.7", "10.67.0.1", (1, 2), b"x"));
    assert_eq!(b.through(0, &lost).map(|f| f.len()), [1, 0]);
    b.refused(1, &down(false, 100), DropReason::Filtered);
    b.publish(&[SnapshotOp::Filter(FILTER, Vec::new())]);
    b.refused(0, &echo, DropReason::Filtered);
    // A packet that is filtered is not reported, however big.
    let mut big = sized(false, false, 1500);
    set_df(&mut big);
    b.refused(1, &frame(1, &big), DropReason::Filtered);
}

#[test]
fn the_owner_of_the_session_confines_it() {
    let mut b = Bench::with(2, Action::Bypass, 8);
    let id = session_id(1);
    let s = Session { id, filter: Some(FILTER), ..limited(rate(1, 1000), rate(1, 1000)) };
    b.op(1, TableOp::SessionAdd(s));
    b.publish(&[
        SnapshotOp::RouteAdd(prefix("203.0.113.7/32"), vec![NextHop::Session(id)]),
        SnapshotOp::Filter(FILTER, vec![FilterRule { protocol: Some(17), ..FilterRule::any(FilterAction::Permit) }]),
    ]);
    // Both directions arrive at worker 0.
    let up = |inner: &[u8]| l2tp_from("192.0.2.9", (1701, 1701), id.tunnel(), id.session(), &ppp(inner));
    b.one_through(0, &up(&sized(false, true, 1000)), 1);
    b.refused(0, &up(&sized(false, true, 28)), DropReason::RateUp);
    b.refused(0, &up(&packet("203.0.113.7", "8.8.8.8", proto::TCP, 64, &[0; 20])), DropReason::Filtered);
    b.one_through(1, &down(false, 1000), 0);
    b.refused(1, &down(false, 28), DropReason::RateDown);
    b.refused(1, &frame(1, &packet("8.8.8.8", "203.0.113.7", proto::TCP, 64, &[0; 20])), DropReason::Filtered);
    let c = &b.handles[1].counters.sessions[3];
    assert_eq!([&c.rate_up, &c.rate_down, &c.filtered].map(|c| c.get()), [1, 1, 2]);
}

#[test]
fn routes_behind_the_subscriber_are_its_own() {
    let mut b = Bench::new();
    let mut s = session();
    for (n, p) in s.inner.prefixes.iter_mut().enumerate().skip(2) {
        *p = Some(prefix(&format!("10.1.{n}.0/24")));
    }
    b.op(0, TableOp::SessionSet(s));
    let last = dataplane_api::session::MAX_INNER - 1;
    assert_eq!(last, 15);
    b.publish(&[SnapshotOp::RouteAdd(prefix("10.1.15.0/24"), vec![NextHop::Session(session_id(0))])]);
    b.pass(&subscriber(&datagram("10.1.15.9", "8.8.8.8", (1, 2), b"x")), 1);
    b.pass(&frame(1, &datagram("8.8.8.8", "10.1.15.9", (1, 2), b"x")), 1);
    b.refused(0, &subscriber(&datagram("10.1.16.9", "8.8.8.8", (1, 2), b"x")), DropReason::InnerSource);
}
