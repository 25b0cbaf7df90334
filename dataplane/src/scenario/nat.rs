//! Clients behind one NAT (H40): all have the same private address, all speak L2TP from port 1701, and each has chosen
//! the same ids. Only their SAs tell them apart.
//!
//! ```text
//!   192.168.1.2 ─┐
//!   192.168.1.2 ─┤ NAT 192.0.2.9 ── port 0 │ worker │ port 1 ── core
//!   192.168.1.2 ─┘   UDP 61000 ...         │        │   inside: 203.0.113.10, .11, .12
//! ```

use super::esp::{slot, spi};
use super::packets::*;
use super::*;
use ::esp::{SaIn as Open, SaOut as Seal};
use dataplane_api::{
    Cipher, EspKey, EspSuite, Integrity, Lifetime, Mode, PuntClass, SaIn, SaOut, SaOutId, Spi, UdpEncap, WorkerEvent,
};
use ipsec_mb::Manager;
use wire::{ethernet, ip as proto, l2tp, udp};

/// Outer ports that the NAT gives to its three clients.
const PORTS: [u16; 3] = [61_000, 61_001, 61_002];
/// A NAT that keeps port 4500 for everybody, and tells its clients apart by SPIs.
const SAME: [u16; 3] = [4500; 3];

/// One client, and where its packets seem to come from.
struct Client {
    n: u8,
    v6: bool,
    port: u16,
    manager: Manager,
    seal: Seal,
    open: Open,
}

fn peer_of(n: u8) -> PeerId {
    PeerId(std::num::NonZeroU32::new(u32::from(n) + 1).unwrap())
}

fn id_of(n: u8) -> SessionId {
    SessionId::from_slot(slot(u32::from(n)))
}

fn inside(n: u8) -> String {
    format!("203.0.113.{}", 10 + n)
}

/// (ours, the NAT's, a client's own)
fn outer(v6: bool) -> (&'static str, &'static str, &'static str) {
    if v6 { ("2001:db8:ff::1", "2001:db8:ff::9", "fd00::2") } else { ("192.0.2.1", "192.0.2.9", "192.168.1.2") }
}

impl Client {
    /// With its SAs and its session in the worker.
    fn join(b: &mut Bench, n: u8, v6: bool, port: u16) -> Self {
        let suite = EspSuite::new(Cipher::AesCbc128, Integrity::HmacSha1_96).unwrap();
        let key = |direction: u8| {
            let material: Vec<u8> = (0..suite.key_len()).map(|i| i as u8 ^ direction ^ n << 4).collect();
            EspKey::new(suite, &material).unwrap()
        };
        let (local, remote, _) = outer(v6);
        let (local, remote) = (ip(local), ip(remote));
        let encap = Some(UdpEncap { local_port: 4500, remote_port: port });
        let selector = Selector {
            protocol: proto::UDP,
            local: Some(IpPrefix::host(local)),
            remote: Some(IpPrefix::host(remote)),
            local_port: PortRange::one(1701),
            remote_port: PortRange::one(1701),
            ..Selector::ANY
        };
        let peer = peer_of(n);
        let sa_in = SaIn {
            spi: spi(u32::from(n)),
            peer,
            suite,
            key: key(1),
            esn: false,
            replay_window: 64,
            mode: Mode::Transport,
            local,
            remote,
            encap,
            selector,
            lifetime: Lifetime::default(),
        };
        let id = SaOutId(slot(u32::from(n)));
        let sa_out = SaOut {
            id,
            spi: 0xc0ff_ee00 + u32::from(n),
            peer,
            suite,
            key: key(2),
            esn: false,
            mode: Mode::Transport,
            local,
            remote,
            encap,
            selector,
            lifetime: Lifetime::default(),
        };
        // The client's half: it does not look at addresses, which are not what it thinks they are.
        let manager = Manager::new().unwrap();
        let seal = SaOut { spi: sa_in.spi.0, key: key(1), selector: Selector::ANY, ..sa_out.clone() };
        let open = SaIn { spi: Spi(sa_out.spi), key: key(2), selector: Selector::ANY, ..sa_in.clone() };
        let (seal, open) = (Seal::new(&manager, &seal).unwrap(), Open::new(&manager, &open).unwrap());
        b.op(0, TableOp::SaInAdd(sa_in));
        b.op(0, TableOp::SaOutAdd(sa_out));
        b.op(0, TableOp::PeerSelect { peer, sa: Some(id) });
        let mut prefixes = [None; dataplane_api::session::MAX_INNER];
        prefixes[0] = Some(prefix(&format!("{}/32", inside(n))));
        let socket = |a: IpAddr| std::net::SocketAddr::new(a, 1701);
        b.op(
            0,
            TableOp::SessionAdd(Session {
                id: id_of(n),
                peer_tunnel: 1,
                peer_session: 1,
                outer: OuterPath { local: socket(local), remote: socket(remote) },
                peer: Some(peer),
                inner: InnerAddresses { prefixes, ..session().inner },
                ..session()
            }),
        );
        b.publish(&[SnapshotOp::RouteAdd(prefix(&format!("{}/32", inside(n))), vec![NextHop::Session(id_of(n))])]);
        Self { n, v6, port, manager, seal, open }
    }

    /// A message to port 1701. Its UDP checksum is made of the address that the client has, not of the NAT's.
    fn l2tp(&mut self, message: &[u8]) -> Vec<u8> {
        let (local, nat, own) = outer(self.v6);
        let mut data = datagram(own, local, (1701, 1701), message).split_off(if self.v6 { 40 } else { 20 });
        assert_eq!(::esp::seal(&mut self.manager, &mut self.seal, proto::UDP, &mut data), Ok(false));
        frame(0, &datagram(nat, local, (self.port, 4500), &data))
    }

    /// An inner packet in the session of client `session`.
    fn data_in(&mut self, session: u8, inner: &[u8]) -> Vec<u8> {
        let mut m = vec![0; l2tp::data_len(false)];
        assert!(l2tp::emit_data(&mut m, id_of(session).tunnel(), id_of(session).session(), None));
        m.extend_from_slice(&ppp(inner));
        self.l2tp(&m)
    }

    fn data(&mut self, to: &str) -> Vec<u8> {
        let inner = datagram(&inside(self.n), to, (1000, 2000), &[self.n; 9]);
        self.data_in(self.n, &inner)
    }

    /// The UDP datagram inside a frame, if the frame is for this client.
    fn opened(&mut self, f: &[u8]) -> Option<Vec<u8>> {
        let e = ethernet::Ethernet::parse(f).unwrap();
        let h = proto::Ip::parse(&f[e.len..]).unwrap();
        let (local, nat, _) = outer(self.v6);
        assert_eq!((h.src, h.dst, h.protocol), (ip(local), ip(nat), proto::UDP));
        let u = udp::Udp::parse(&f[e.len + h.header_len..]).unwrap();
        if (u.src_port(), u.dst_port()) != (4500, self.port) {
            return None;
        }
        let mut data = u.payload().to_vec();
        let opened = ::esp::open(&mut self.manager, &mut self.open, &mut data).ok()?;
        assert_eq!(opened.next_header, proto::UDP);
        Some(data)
    }
}

/// The clients that a frame is for.
fn receivers(clients: &mut [Client], f: &[u8]) -> Vec<u8> {
    clients.iter_mut().filter_map(|c| c.opened(f).map(|_| c.n)).collect()
}

fn behind_one_nat(v6: bool, ports: [u16; 3]) -> (Bench, Vec<Client>) {
    let mut b = Bench::with(1, Action::Protect, 64);
    let clients = (0..).zip(ports).map(|(n, port)| Client::join(&mut b, n, v6, port)).collect();
    (b, clients)
}

fn down(n: u8) -> Vec<u8> {
    frame(1, &datagram("8.8.8.8", &inside(n), (2000, 1000), &[n; 9]))
}

#[test]
fn all_at_once_each_in_its_own_session() {
    for (v6, ports) in [(false, PORTS), (false, SAME), (true, PORTS), (true, SAME)] {
        let (mut b, mut clients) = behind_one_nat(v6, ports);
        let hello = [0xc8, 0x02, 0, 20, 0, 1, 0, 0, 0, 1, 0, 2, 0x80, 8, 0, 0, 0, 0, 0, 6];
        for round in 0..3 {
            // All in one burst, the rounds in different orders.
            clients.rotate_left(round);
            for c in &mut clients {
                let f = c.data("8.8.8.8");
                b.push(0, 0, &f);
                let f = c.l2tp(&hello);
                b.push(0, 0, &f);
            }
            b.poll();
            let mut sources: Vec<IpAddr> =
                b.sent(1).iter().map(|f| proto::Ip::parse(&to_core(f)).unwrap().src).collect();
            sources.sort();
            assert_eq!(sources, [0, 1, 2].map(|n| ip(&inside(n))));
            // Control messages are attributed by SA, too: their addresses and ports are all the same.
            let punts = b.punts();
            let seen: Vec<_> = punts.iter().map(|p| (p.meta.peer, p.meta.spi)).collect();
            let want: Vec<_> = clients.iter().map(|c| (Some(peer_of(c.n)), Some(spi(u32::from(c.n))))).collect();
            assert_eq!(seen, want);
            assert!(punts.iter().all(|p| p.meta.src == std::net::SocketAddr::new(ip(outer(v6).1), 1701)));
            assert!(punts.iter().all(|p| p.meta.class == PuntClass::L2tpControl && p.data == hello));
            // And replies leave by the SA of whom they are for.
            for n in 0..3 {
                let f = b.one_through(1, &down(n), 0);
                assert_eq!(receivers(&mut clients, &f), [n], "{ports:?}");
            }
        }
        assert_eq!(b.drops(), []);
    }
}

#[test]
fn answers_of_the_control_plane_leave_by_the_sa_that_the_tunnel_came_in_on() {
    let (mut b, mut clients) = behind_one_nat(false, SAME);
    let (src, dst) = ("192.0.2.1:1701".parse().unwrap(), "192.0.2.9:1701".parse().unwrap());
    for n in [2, 0, 1] {
        b.inject(Inject::Udp { peer: Some(peer_of(n)), src, dst, raw: false, ttl: 64 }, b"sccrp");
        b.inject(Inject::Ppp(id_of(n)), &[0xc0, 0x21, 9, 1]);
        b.poll();
        let out = b.sent(0);
        assert_eq!(out.len(), 2);
        for f in out {
            assert_eq!(receivers(&mut clients, &f), [n]);
        }
    }
}

#[test]
fn nobody_gets_into_a_neighbours_session() {
    for ports in [PORTS, SAME] {
        let (mut b, mut clients) = behind_one_nat(false, ports);
        let inner = datagram(&inside(1), "8.8.8.8", (1, 2), b"x");
        // Its own SA with the neighbour's ids, whichever inner address it has.
        let f = clients[0].data_in(1, &inner);
        b.refused(0, &f, DropReason::SessionBinding);
        // Its own session with the neighbour's inner address.
        let f = clients[0].data_in(0, &inner);
        b.refused(0, &f, DropReason::InnerSource);
        // The neighbour's SPI with its own key.
        let mut f = clients[0].data("8.8.8.8");
        f[42..46].copy_from_slice(&spi(1).0.to_be_bytes());
        b.refused(0, &f, DropReason::EspIntegrity);
    }
}

#[test]
fn one_leaves_and_the_others_stay() {
    let (mut b, mut clients) = behind_one_nat(false, SAME);
    let late = clients[1].data("8.8.8.8");
    b.op(0, TableOp::SessionDel(id_of(1)));
    b.op(0, TableOp::PeerSelect { peer: peer_of(1), sa: None });
    b.op(0, TableOp::SaOutDel(SaOutId(slot(1))));
    b.refused(0, &late, DropReason::SessionUnknown);
    b.op(0, TableOp::SaInDel(spi(1)));
    let late = clients[1].data("8.8.8.8");
    b.refused(0, &late, DropReason::SaUnknown);
    b.refused(1, &down(1), DropReason::SessionUnknown);
    for n in [0, 2] {
        let f = clients[usize::from(n)].data("8.8.8.8");
        b.one_through(0, &f, 1);
        let f = b.one_through(1, &down(n), 0);
        assert_eq!(receivers(&mut clients, &f), [n]);
    }
}

#[test]
fn from_one_to_another_behind_the_same_nat() {
    for (v6, ports) in [(false, PORTS), (false, SAME), (true, SAME)] {
        let (mut b, mut clients) = behind_one_nat(v6, ports);
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            let f = clients[from].data(&inside(to));
            let f = b.one_through(0, &f, 0);
            let mut found: Vec<_> = clients.iter_mut().filter_map(|c| Some((c.n, c.opened(&f)?))).collect();
            let (n, datagram) = found.remove(0);
            assert_eq!((n, found.len()), (to, 0));
            assert_eq!(datagram[datagram.len() - 9..], [from as u8; 9]);
        }
    }
}

/// A NAT that forgets gives one client another port, perhaps one that a neighbour had.
#[test]
fn one_is_rebound_under_traffic() {
    let (mut b, mut clients) = behind_one_nat(false, PORTS);
    while b.handles[0].events.pop().is_ok() {}
    for c in &mut clients {
        let f = c.data("8.8.8.8");
        b.one_through(0, &f, 1);
    }
    while b.handles[0].events.pop().is_ok() {}
    clients[0].port = PORTS[1];
    let f = clients[0].data("8.8.8.8");
    b.one_through(0, &f, 1);
    let remote = std::net::SocketAddr::new(ip("192.0.2.9"), PORTS[1]);
    assert_eq!(b.handles[0].events.pop(), Ok(WorkerEvent::PeerMoved(peer_of(0), remote)));
    assert!(b.handles[0].events.pop().is_err());
    let local = "192.0.2.1:4500".parse().unwrap();
    b.op(0, TableOp::PeerMoved { peer: peer_of(0), local, remote, encap: true });
    for n in 0..3 {
        let f = b.one_through(1, &down(n), 0);
        assert_eq!(receivers(&mut clients, &f), [n]);
        let f = clients[usize::from(n)].data("8.8.8.8");
        b.one_through(0, &f, 1);
    }
    assert!(b.handles[0].events.pop().is_err(), "the neighbour has not moved");
}

/// RFC 3948, section 3.1.2. What comes in was summed with an address that the NAT has replaced; the ICV covers it, so
/// nobody looks. What goes out over IPv4 has no checksum, which suits a client whatever its address. Over IPv6 there
/// must be one (RFC 8200, section 8.1): it is that of the addresses that we know, and the client, who knows its own and
/// has told the other by NAT-OA, is the one to correct it.
#[test]
fn checksums_of_udp() {
    for v6 in [false, true] {
        let (mut b, mut clients) = behind_one_nat(v6, PORTS);
        let f = clients[0].data("8.8.8.8");
        b.one_through(0, &f, 1);
        let f = b.one_through(1, &down(0), 0);
        let datagram = clients[0].opened(&f).unwrap();
        let (local, nat, _) = outer(v6);
        assert_eq!(datagram[6..8] == [0, 0], !v6);
        // That of UDP around ESP is not looked at, its length is.
        let mut wrong = clients[0].data("8.8.8.8");
        let at = 14 + if v6 { 40 } else { 20 };
        for (len, reason) in [(2000_u16, DropReason::Truncated), (7, DropReason::Malformed)] {
            wrong[at + 4..at + 6].copy_from_slice(&len.to_be_bytes());
            b.refused(0, &wrong, reason);
        }
        assert!(udp::Udp::parse(&datagram).unwrap().checksum_ok(ip(local), ip(nat)));
    }
}
