//! What SAs with other AFBRs protect: softwires, also several between the same ends, and BGP of the host stack.

use super::esp::{Form, THEIRS, gcm, slot, spi, suite};
use super::mesh::{SIX, back4, from_afbr, mesh, softwire, v4};
use super::packets::*;
use super::*;
use dataplane_api::softwire::{Protection, TooBig};
use dataplane_api::{Cipher, Integrity, Mode, PuntClass, SaIn, SaOut, SaOutId, Softwire, SoftwireId, Spi, WorkerEvent};
use ipsec_mb::Manager;
use wire::{ip as proto, ipv6};

/// The other AFBR's ends of the SAs.
struct Far {
    manager: Manager,
    seal: ::esp::SaOut,
    open: ::esp::SaIn,
}

/// Protects the softwire over IPv6 by SAs of worker `owner`.
fn protect(b: &mut Bench, owner: u8, mode: Mode) -> Far {
    let selector = match mode {
        Mode::Transport => Selector { protocol: proto::IPIP, ..Selector::ANY },
        Mode::Tunnel => {
            Selector { local: Some(prefix("10.1.0.0/16")), remote: Some(prefix("10.2.0.0/16")), ..Selector::ANY }
        }
    };
    let far = associate(b, owner, mode, selector, (peer(), 4));
    let protection = Protection::Esp(Some((peer(), WorkerId(owner))));
    b.publish(&[SnapshotOp::SoftwireSet(Softwire { protection, strict: true, ..softwire(SIX) })]);
    far
}

/// A pair of SAs at `index` with a peer at the other end of the softwire over IPv6.
fn associate(b: &mut Bench, owner: u8, mode: Mode, selector: Selector, (peer, index): (PeerId, u32)) -> Far {
    associate_as(b, gcm(), owner, mode, selector, (peer, index))
}

fn associate_as(
    b: &mut Bench,
    form: Form,
    owner: u8,
    mode: Mode,
    selector: Selector,
    (peer, index): (PeerId, u32),
) -> Far {
    let form = Form { v6: true, ..form };
    let at = |s: Slot| Slot::new(WorkerId(owner), s.index() as u32, 1).unwrap();
    let sa_in = SaIn { mode, selector, spi: Spi::from_slot(at(slot(index))), ..form.sa_in(spi(index), peer) };
    let sa_out = SaOut { mode, selector, ..form.sa_out(SaOutId(at(slot(index))), peer) };
    let manager = Manager::new().unwrap();
    let (local, remote) = (sa_in.remote, sa_in.local);
    let seal =
        SaOut { spi: sa_in.spi.0, key: sa_in.key.clone(), local, remote, selector: Selector::ANY, ..sa_out.clone() };
    let open =
        SaIn { spi: Spi(THEIRS), key: sa_out.key.clone(), local, remote, selector: Selector::ANY, ..sa_in.clone() };
    let seal = ::esp::SaOut::new(&manager, &seal).unwrap();
    let open = ::esp::SaIn::new(&manager, &open).unwrap();
    let n = usize::from(owner);
    b.op(n, TableOp::SaInAdd(sa_in));
    let id = sa_out.id;
    b.op(n, TableOp::SaOutAdd(sa_out));
    b.op(n, TableOp::PeerSelect { peer, sa: Some(id) });
    Far { manager, seal, open }
}

impl Far {
    fn send(&mut self, inner: &[u8]) -> Vec<u8> {
        self.send_as(proto::IPIP, inner)
    }

    fn send_as(&mut self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut data = payload.to_vec();
        ::esp::seal(&mut self.manager, &mut self.seal, protocol, &mut data).unwrap();
        frame(0, &packet("2001:db8:ff::9", "2001:db8:ff::1", proto::ESP, 64, &data))
    }

    fn receive(&mut self, f: &[u8]) -> Vec<u8> {
        self.receive_as(proto::IPIP, f)
    }

    fn receive_as(&mut self, protocol: u8, f: &[u8]) -> Vec<u8> {
        let outer = ipv6::Ipv6::parse(&f[14..]).unwrap();
        assert_eq!((outer.dst().into(), outer.next_header()), (ip("2001:db8:ff::9"), proto::ESP));
        let mut data = outer.payload().to_vec();
        let opened = ::esp::open(&mut self.manager, &mut self.open, &mut data).unwrap();
        assert_eq!(opened.next_header, protocol);
        data
    }
}

#[test]
fn protected_softwires_in_both_modes() {
    for mode in [Mode::Transport, Mode::Tunnel] {
        let mut b = mesh(1);
        let mut far = protect(&mut b, 0, mode);
        let inner = far.receive(&b.one_through(1, &frame(1, &v4(300)), 0));
        assert_eq!((inner[8], &inner[20..]), (63, &v4(300)[20..]), "{mode:?}");
        let f = far.send(&back4());
        assert_eq!(to_core(&b.one_through(0, &f, 1))[20..], back4()[20..], "{mode:?}");
        b.refused(0, &f, DropReason::EspReplay);
        // In the clear, or with a source that is not the other side's.
        b.refused(0, &from_afbr(SIX, &back4()), DropReason::SoftwireClear);
        let spoofed = datagram("10.3.0.1", "10.1.0.1", (1, 2), b"x");
        let reason = if mode == Mode::Tunnel { DropReason::EspSelector } else { DropReason::SoftwireSource };
        b.refused(0, &far.send(&spoofed), reason);
        // Selectors are kept outwards too.
        b.publish(&[SnapshotOp::RouteAdd(prefix("10.9.0.0/16"), vec![NextHop::Softwire(SIX)])]);
        if mode == Mode::Tunnel {
            let outside = datagram("10.1.0.1", "10.9.0.1", (1, 2), b"x");
            b.refused(1, &frame(1, &outside), DropReason::EspSelector);
        }
        // Without SAs nothing leaves, and certainly not in the clear.
        b.op(0, TableOp::PeerSelect { peer: peer(), sa: None });
        b.refused(1, &frame(1, &v4(1)), DropReason::SaMissing);
        let down = Softwire { protection: Protection::Esp(None), ..softwire(SIX) };
        b.publish(&[SnapshotOp::SoftwireSet(down)]);
        b.refused(1, &frame(1, &v4(1)), DropReason::SaMissing);
        b.refused(0, &far.send(&back4()), DropReason::SoftwireClear);
    }
}

// Where every packet fits, `encap` makes frames at once; where some may have to be fragmented, `output` does it. They are the same.
#[test]
fn frames_that_are_made_early_are_those_that_are_made_late() {
    let forms = [
        None,
        Some((suite(Cipher::AesGcm128, Integrity::None), false)),
        Some((suite(Cipher::AesGcm128, Integrity::None), true)),
        Some((suite(Cipher::AesCbc128, Integrity::HmacSha256_128), false)),
        Some((suite(Cipher::Null, Integrity::HmacSha256_128), false)),
    ];
    let via = |hop: &str| NextHop::Via(PortId(0), ip(hop));
    let (one, connected) = (vec![via("2001:db8:ff::7")], vec![NextHop::Connected(PortId(0))]);
    let several = vec![via("2001:db8:ff::7"), via("2001:db8:ff::8")];
    for (form, vlan, tfc) in forms.into_iter().flat_map(|f| [(f, None, false), (f, Some(7), false), (f, None, true)]) {
        let sent = |too_big, hops: &[NextHop]| {
            let mut b = mesh(1);
            let protection = form.map_or(Protection::Clear, |(suite, natt)| {
                let form = Form { suite, natt, v6: true };
                associate_as(&mut b, form, 0, Mode::Transport, Selector::ANY, (peer(), 4));
                Protection::Esp(Some((peer(), WorkerId(0))))
            });
            let addresses = vec![(ip("2001:db8:ff::1"), 64)];
            let (mac, zone) = (MacAddr(PUBLIC_MAC), Zone::Public);
            let neighbour = |a: &str| SnapshotOp::NeighbourAdd(PortId(0), ip(a), MacAddr([2, 0, 0, 0, 0, 7]));
            b.publish(&[
                SnapshotOp::Port(PortConfig { port: PortId(0), mac, mtu: 1500, vlan, zone, addresses }),
                neighbour("2001:db8:ff::7"),
                neighbour("2001:db8:ff::8"),
                neighbour("2001:db8:ff::9"),
                SnapshotOp::RouteAdd(prefix("2001:db8:ff::9/128"), hops.to_vec()),
                SnapshotOp::SoftwireSet(Softwire { mtu: 1300, too_big, protection, tfc, ..softwire(SIX) }),
            ]);
            [0, 1, 100, 1272].map(|len| b.one_through(1, &frame(1, &v4(len)), 0))
        };
        let early = sent(TooBig::Inner, &one);
        assert_eq!((&early[0][..6], early[0][12] == 0x81), (&[2, 0, 0, 0, 0, 7][..], vlan.is_some()), "{form:?}");
        for (too_big, hops) in [(TooBig::Outer, &one), (TooBig::Inner, &several), (TooBig::Inner, &connected)] {
            assert_eq!(early, sent(too_big, hops), "{form:?} {vlan:?} {tfc} {hops:?}");
        }
    }
}

#[test]
fn the_owner_of_the_sa_protects_what_another_worker_encapsulated() {
    let mut b = mesh(2);
    let mut far = protect(&mut b, 1, Mode::Transport);
    let inner = far.receive(&b.one_through(1, &frame(1, &v4(300)), 0));
    assert_eq!(inner[20..], v4(300)[20..]);
    let f = far.send(&back4());
    b.one_through(0, &f, 1);
    assert_eq!(b.handles[0].counters.worker.handed_out.get(), 2);
}

// The address to which a packet came is taken away while it waits for the worker that has its SA.
#[test]
fn what_was_protected_is_not_forwarded_to_an_address_that_is_gone() {
    for (softwire_too, traced) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut b = mesh(2);
        if traced {
            trace::start(&mut b, trace::ALL, 1);
        }
        let mut far = protect(&mut b, 1, Mode::Transport);
        b.push(0, 0, &far.send(&back4()));
        b.workers[0].poll_at(b.now);
        let (mac, addresses) = (MacAddr(PUBLIC_MAC), vec![(ip("192.0.2.1"), 24)]);
        let port = PortConfig { port: PortId(0), mac, mtu: 1500, vlan: None, zone: Zone::Public, addresses };
        let via = vec![NextHop::Via(PortId(1), ip("2001:db8:1::9"))];
        let mut ops = vec![SnapshotOp::Port(port), SnapshotOp::RouteAdd(prefix("2001:db8:ff::1/128"), via)];
        ops.extend(softwire_too.then_some(SnapshotOp::SoftwireDel(SIX)));
        assert!(b.publisher.apply(&ops).unwrap().is_empty());
        b.poll();
        assert_eq!((b.sent(0).len(), b.sent(1).len()), (0, 0));
        assert_eq!(b.handles[1].counters.worker.dropped(DropReason::SaMismatch), 1);
    }
}

fn other_peer() -> PeerId {
    PeerId(std::num::NonZeroU32::new(6).unwrap())
}

// M23: routes to one AFBR under two profiles, and the rest in the clear.
#[test]
fn softwires_between_the_same_ends_are_told_apart_by_their_sas() {
    const SILVER: SoftwireId = SoftwireId(8);
    const CLEAR: SoftwireId = SoftwireId(9);
    let mut b = mesh(1);
    let mut gold = protect(&mut b, 0, Mode::Transport);
    let any = Selector { protocol: proto::IPIP, ..Selector::ANY };
    let mut silver = associate(&mut b, 0, Mode::Transport, any, (other_peer(), 5));
    let esp = Protection::Esp(Some((other_peer(), WorkerId(0))));
    b.publish(&[
        SnapshotOp::SoftwireSet(Softwire { id: SILVER, protection: esp, strict: true, ..softwire(SIX) }),
        SnapshotOp::SoftwireSet(Softwire { id: CLEAR, strict: true, ..softwire(SIX) }),
        SnapshotOp::RouteAdd(prefix("10.3.0.0/16"), vec![NextHop::Softwire(SILVER)]),
        SnapshotOp::RouteAdd(prefix("10.4.0.0/16"), vec![NextHop::Softwire(CLEAR)]),
    ]);
    let to = |net: u8| frame(1, &datagram("10.1.0.1", &format!("10.{net}.0.1"), (1000, 2000), b"x"));
    let back = |net: u8| datagram(&format!("10.{net}.0.1"), "10.1.0.1", (2000, 1000), b"back");
    gold.receive(&b.one_through(1, &to(2), 0));
    silver.receive(&b.one_through(1, &to(3), 0));
    let f = b.one_through(1, &to(4), 0);
    assert_eq!(ipv6::Ipv6::parse(&f[14..]).unwrap().next_header(), proto::IPIP);
    // Either SA may carry what is behind the AFBR; the clear softwire only what is routed into it.
    for net in [2, 3, 4] {
        for far in [&mut gold, &mut silver] {
            let f = far.send(&back(net));
            b.one_through(0, &f, 1);
        }
    }
    b.one_through(0, &from_afbr(SIX, &back(4)), 1);
    b.refused(0, &from_afbr(SIX, &back(2)), DropReason::SoftwireSource);
    b.refused(0, &gold.send(&datagram("10.5.0.1", "10.1.0.1", (1, 2), b"x")), DropReason::SoftwireSource);
    let received = |b: &Bench, id: SoftwireId| b.handles[0].counters.softwires[usize::from(id.0)].received[0].get();
    assert_eq!([SIX, SILVER, CLEAR].map(|id| received(&b, id)), [3, 3, 1]);
    // Without the one in the clear, nothing comes in the clear.
    b.publish(&[SnapshotOp::SoftwireDel(CLEAR)]);
    b.refused(0, &from_afbr(SIX, &back(4)), DropReason::SoftwireClear);
}

#[test]
fn a_packet_for_a_softwire_that_is_down_asks_for_it() {
    let mut b = mesh(1);
    b.publish(&[SnapshotOp::SoftwireSet(Softwire { protection: Protection::Esp(None), ..softwire(SIX) })]);
    b.refused(1, &frame(1, &v4(1)), DropReason::SaMissing);
    assert_eq!(b.handles[0].events.pop(), Ok(WorkerEvent::SoftwireWanted(SIX)));
}

// M9, the last of its threats: the lengths of packets tell nothing.
#[test]
fn packets_are_padded_to_one_length_and_the_padding_goes_no_further() {
    let mut b = mesh(1);
    let mut far = protect(&mut b, 0, Mode::Transport);
    let esp = Protection::Esp(Some((peer(), WorkerId(0))));
    let padded = Softwire { protection: esp, strict: true, tfc: true, mtu: 1426, ..softwire(SIX) };
    b.publish(&[SnapshotOp::SoftwireSet(padded)]);
    let mut lengths = Vec::new();
    for len in [0, 1, 700, 1426 - 28] {
        let f = b.one_through(1, &frame(1, &v4(len)), 0);
        lengths.push(f.len());
        let inner = far.receive(&f);
        assert_eq!((inner.len(), &inner[20..28 + len]), (1426, &v4(len)[20..]));
        assert!(inner[28 + len..].iter().all(|octet| *octet == 0));
    }
    assert!(lengths.iter().all(|l| *l == lengths[0]), "{lengths:?}");
    // Counted is what the island sent.
    assert_eq!(b.handles[0].counters.softwires[usize::from(SIX.0)].sent[1].get(), 4 * 28 + 701 + 1426 - 28);
    let mut long = back4();
    long.resize(1400, 0);
    assert_eq!(to_core(&b.one_through(0, &far.send(&long), 1))[20..], back4()[20..]);
    // In the clear there is nothing to hide.
    b.publish(&[SnapshotOp::SoftwireSet(Softwire { tfc: true, ..softwire(SIX) })]);
    assert_eq!(b.one_through(1, &frame(1, &v4(1)), 0).len(), 14 + 40 + 29);
}

/// A TCP segment from port `from` to port `to`.
fn segment(src: &str, dst: &str, (from, to): (u16, u16)) -> Vec<u8> {
    let mut tcp = vec![0; 20];
    tcp[..2].copy_from_slice(&from.to_be_bytes());
    tcp[2..4].copy_from_slice(&to.to_be_bytes());
    packet(src, dst, proto::TCP, 255, &tcp)
}

fn from_host(p: &[u8]) -> Vec<u8> {
    let mut f = frame(0, p);
    let (a, c) = f.split_at_mut(6);
    a.swap_with_slice(&mut c[..6]);
    f
}

// M17: BGP in ESP, both ways, for the host stack and through the gateway's own SPD.
#[test]
fn bgp_of_the_host_stack_is_carried_in_esp() {
    const US: &str = "2001:db8:ff::1";
    const THEM: &str = "2001:db8:ff::9";
    for owner in [0, 1] {
        let mut b = Bench::with(2, Action::Protect, 64);
        let any = Selector { protocol: 0, ..Selector::ANY };
        let mut far = associate(&mut b, owner, Mode::Transport, any, (peer(), 4));
        let mut stranger = associate(&mut b, owner, Mode::Transport, any, (other_peer(), 5));
        let bgp = Selector { protocol: proto::TCP, remote: Some(prefix("2001:db8:ff::9/128")), ..Selector::ANY };
        let rules = |local_port, remote_port| PolicyRule {
            selector: Selector { local_port, remote_port, ..bgp },
            action: Action::Protect,
        };
        let port = PortRange::one(179);
        let policy = vec![rules(port, PortRange::ANY), rules(PortRange::ANY, port)];
        b.publish(&[SnapshotOp::Policy(policy)]);
        let out = from_host(&segment(US, THEM, (40_000, 179)));
        let inject = |b: &mut Bench, f: &[u8]| {
            b.inject(Inject::Frame(PortId(0)), f);
            b.poll();
            b.sent(0)
        };
        // No SA yet.
        let before = b.drops();
        assert!(inject(&mut b, &out).is_empty());
        b.dropped_since(&before, DropReason::SaMissing);
        b.publish(&[SnapshotOp::HostPeer(ip(THEM), Some((peer(), WorkerId(owner))))]);
        let sent = inject(&mut b, &out);
        assert_eq!(far.receive_as(proto::TCP, &sent[0]), out[54..], "owner {owner}");
        // The answer, in ESP: a frame for the TAP.
        let answer = segment(THEM, US, (179, 40_000));
        b.through(0, &far.send_as(proto::TCP, &answer[40..]));
        let m = b.punts();
        assert_eq!((m.len(), m[0].meta.class, m[0].meta.port), (1, PuntClass::Bgp, PortId(0)));
        assert_eq!((&m[0].data[..6], &m[0].data[54..]), (&PUBLIC_MAC[..], &answer[40..]));
        assert_eq!(m[0].data[14 + 7], 64, "the hop limit of the wire");
        // In the clear, by another peer, to another port, with options or in pieces: no.
        b.refused(0, &frame(0, &answer), DropReason::SpdClear);
        b.refused(0, &stranger.send_as(proto::TCP, &answer[40..]), DropReason::EspSelector);
        b.refused(0, &far.send_as(proto::TCP, &segment(THEM, US, (22, 40_000))[40..]), DropReason::EspSelector);
        let mut extended = segment(US, THEM, (40_000, 179));
        extended.splice(40..40, [6, 0, 1, 4, 0, 0, 0, 0]);
        extended[6] = 60;
        extended[5] += 8;
        let before = b.drops();
        assert!(inject(&mut b, &from_host(&extended)).is_empty());
        b.dropped_since(&before, DropReason::SpdClear);
        b.publish(&[SnapshotOp::HostPeer(ip(THEM), None)]);
        let before = b.drops();
        assert!(inject(&mut b, &out).is_empty());
        b.dropped_since(&before, DropReason::SaMissing);
    }
}
