//! Softwires inside ESP: the subscriber's side is played by the `esp` crate, one packet at a time.

use super::packets::*;
use super::*;
use dataplane_api::{
    Cipher, EspKey, EspSuite, Integrity, Lifetime, Limits, Mode, PuntClass, SaIn, SaOut, SaOutId, Spi, UdpEncap,
    WorkerEvent,
};
use ipsec_mb::Manager;
use wire::{ethernet, ip as proto, ipv4, l2tp, udp};

/// The peer's SPI.
pub const THEIRS: u32 = 0xc0ff_ee01;

/// How a case is protected.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub suite: EspSuite,
    pub natt: bool,
    pub v6: bool,
}

pub fn suite(cipher: Cipher, integrity: Integrity) -> EspSuite {
    EspSuite::new(cipher, integrity).unwrap()
}

pub fn gcm() -> Form {
    Form { suite: suite(Cipher::AesGcm128, Integrity::None), natt: false, v6: false }
}

impl Form {
    /// (ours, the subscriber's)
    fn outer(&self) -> (&'static str, &'static str) {
        if self.v6 { ("2001:db8:ff::1", "2001:db8:ff::9") } else { ("192.0.2.1", "192.0.2.9") }
    }

    fn encap(&self, local_port: u16, remote_port: u16) -> Option<UdpEncap> {
        self.natt.then_some(UdpEncap { local_port, remote_port })
    }

    fn key(&self, direction: u8) -> EspKey {
        let material: Vec<u8> = (0..self.suite.key_len()).map(|i| i as u8 ^ direction).collect();
        EspKey::new(self.suite, &material).unwrap()
    }

    pub fn sa_in(&self, spi: Spi, peer: PeerId) -> SaIn {
        let (local, remote) = self.outer();
        SaIn {
            spi,
            peer,
            suite: self.suite,
            key: self.key(0x11),
            esn: true,
            replay_window: 64,
            mode: Mode::Transport,
            local: ip(local),
            remote: ip(remote),
            encap: self.encap(4500, 61_000),
            selector: Selector { protocol: proto::UDP, local_port: PortRange::one(1701), ..Selector::ANY },
            lifetime: Lifetime::default(),
        }
    }

    pub fn sa_out(&self, id: SaOutId, peer: PeerId) -> SaOut {
        let (local, remote) = self.outer();
        SaOut {
            id,
            spi: THEIRS,
            peer,
            suite: self.suite,
            key: self.key(0x22),
            esn: true,
            mode: Mode::Transport,
            local: ip(local),
            remote: ip(remote),
            encap: self.encap(4500, 61_000),
            selector: Selector { protocol: proto::UDP, local_port: PortRange::one(1701), ..Selector::ANY },
            lifetime: Lifetime::default(),
        }
    }
}

/// The subscriber's end of a pair of SAs.
pub struct Subscriber {
    form: Form,
    manager: Manager,
    seal: ::esp::SaOut,
    open: ::esp::SaIn,
}

pub fn slot(index: u32) -> Slot {
    Slot::new(WorkerId(0), index, 1).unwrap()
}

pub fn spi(index: u32) -> Spi {
    Spi::from_slot(slot(index))
}

/// A secure listener with the session and a pair of SAs.
pub fn secure(form: Form) -> (Bench, Subscriber) {
    let mut b = Bench::with(1, Action::Protect, 64);
    let (local, remote) = form.outer();
    let socket = |a: &str| std::net::SocketAddr::new(ip(a), 1701);
    let outer = OuterPath { local: socket(local), remote: socket(remote) };
    b.op(0, TableOp::SessionAdd(Session { peer: Some(peer()), outer, ..session() }));
    let far = add(&mut b, form, 2, peer());
    (b, far)
}

/// Adds a pair of SAs at `index` and selects it.
fn add(b: &mut Bench, form: Form, index: u32, peer: PeerId) -> Subscriber {
    let (sa_in, sa_out) = (form.sa_in(spi(index), peer), form.sa_out(SaOutId(slot(index)), peer));
    let manager = Manager::new().unwrap();
    let (local, remote) = form.outer();
    let encap = form.encap(61_000, 4500);
    let seal = SaOut {
        id: sa_out.id,
        spi: sa_in.spi.0,
        key: sa_in.key.clone(),
        local: ip(remote),
        remote: ip(local),
        encap,
        selector: Selector::ANY,
        ..sa_out.clone()
    };
    let open = SaIn {
        spi: Spi(THEIRS),
        key: sa_out.key.clone(),
        local: ip(remote),
        remote: ip(local),
        encap,
        selector: Selector::ANY,
        ..sa_in.clone()
    };
    let seal = ::esp::SaOut::new(&manager, &seal).unwrap();
    let open = ::esp::SaIn::new(&manager, &open).unwrap();
    b.op(0, TableOp::SaInAdd(sa_in));
    b.op(0, TableOp::SaOutAdd(sa_out));
    b.op(0, TableOp::PeerSelect { peer, sa: Some(SaOutId(slot(index))) });
    Subscriber { form, manager, seal, open }
}

impl Subscriber {
    /// An ESP packet around a transport payload, as a frame from `src` (the subscriber's address unless it has moved).
    fn esp_from(&mut self, src: &str, port: u16, next: u8, payload: &[u8]) -> Vec<u8> {
        let mut data = payload.to_vec();
        assert_eq!(::esp::seal(&mut self.manager, &mut self.seal, next, &mut data), Ok(false));
        let (local, _) = self.form.outer();
        if !self.form.natt {
            return frame(0, &packet(src, local, proto::ESP, 64, &data));
        }
        let mut d = vec![0; udp::HEADER];
        assert!(udp::emit(&mut d, port, 4500, (udp::HEADER + data.len()) as u16));
        d.extend_from_slice(&data);
        frame(0, &packet(src, local, proto::UDP, 64, &d))
    }

    /// A UDP datagram to port 1701 inside ESP.
    fn l2tp(&mut self, message: &[u8]) -> Vec<u8> {
        let (local, remote) = self.form.outer();
        let whole = datagram(remote, local, (1701, 1701), message);
        let header = if self.form.v6 { 40 } else { 20 };
        self.esp_from(remote, 61_000, proto::UDP, &whole[header..])
    }

    /// An inner packet in PPP, L2TP, UDP and ESP.
    pub fn data(&mut self, inner: &[u8]) -> Vec<u8> {
        let mut m = vec![0; l2tp::data_len(false)];
        assert!(l2tp::emit_data(&mut m, session_id(0).tunnel(), session_id(0).session(), None));
        m.extend_from_slice(&ppp(inner));
        self.l2tp(&m)
    }

    /// Checks the outer headers, opens ESP, and gives the UDP payload.
    fn open(&mut self, f: &[u8]) -> Vec<u8> {
        let e = ethernet::Ethernet::parse(f).unwrap();
        assert_eq!(e.dst, SUBSCRIBER_MAC);
        let h = proto::Ip::parse(&f[e.len..]).unwrap();
        let (local, remote) = self.form.outer();
        assert_eq!((h.src, h.dst, h.len), (ip(local), ip(remote), f.len() - e.len));
        if !self.form.v6 {
            assert!(ipv4::Ipv4::parse(&f[e.len..]).unwrap().checksum_ok());
        }
        let mut esp_packet = f[e.len + h.header_len..].to_vec();
        if self.form.natt {
            assert_eq!(h.protocol, proto::UDP);
            let u = udp::Udp::parse(&esp_packet).unwrap();
            assert_eq!((u.src_port(), u.dst_port()), (4500, 61_000));
            // RFC 3948: none over IPv4; over IPv6 there must be one.
            assert_eq!(esp_packet[6..8] == [0, 0], !self.form.v6);
            assert!(u.checksum_ok(h.src, h.dst));
            esp_packet = u.payload().to_vec();
        } else {
            assert_eq!(h.protocol, proto::ESP);
        }
        let opened = ::esp::open(&mut self.manager, &mut self.open, &mut esp_packet).unwrap();
        assert_eq!(opened.next_header, proto::UDP);
        let u = udp::Udp::parse(&esp_packet).unwrap();
        assert_eq!((u.src_port(), u.dst_port()), (1701, 1701));
        u.payload().to_vec()
    }
}

pub fn inner_up() -> Vec<u8> {
    datagram("2001:db8:7::1", "2001:db8:aaaa::1", (1000, 2000), b"up the softwire")
}

pub fn inner_down(len: usize) -> Vec<u8> {
    datagram("2001:db8:aaaa::1", "2001:db8:7::1", (2000, 1000), &vec![0x66; len])
}

#[test]
fn both_directions_in_every_form() {
    let suites = [
        suite(Cipher::AesGcm128, Integrity::None),
        suite(Cipher::AesGcm256, Integrity::None),
        suite(Cipher::AesCbc128, Integrity::HmacSha256_128),
        suite(Cipher::AesCbc256, Integrity::HmacSha1_96),
        suite(Cipher::ChaCha20Poly1305, Integrity::None),
        suite(Cipher::Null, Integrity::HmacSha256_128),
        suite(Cipher::AesGmac128, Integrity::None),
        suite(Cipher::AesCbc256, Integrity::HmacSha256_96),
        suite(Cipher::TripleDesCbc, Integrity::HmacSha1_96),
    ];
    for (n, suite) in suites.into_iter().enumerate() {
        // Every pair of the two switches with the first suite; the others with and without UDP, over one family.
        let forms = if n == 0 { vec![0, 1, 2, 3] } else { vec![n % 4, (n % 4) ^ 1] };
        for bits in forms {
            let form = Form { suite, natt: bits & 1 != 0, v6: bits & 2 != 0 };
            let (mut b, mut far) = secure(form);
            for len in [0, 1, 15, 16, 1300] {
                let f = far.data(&inner_up());
                let out = to_core(&b.one_through(0, &f, 1));
                assert_eq!(out[8..], inner_up()[8..], "{form:?}");
                let down = inner_down(len);
                let f = b.one_through(1, &frame(1, &down), 0);
                let message = far.open(&f);
                assert_eq!(message[..6], [0, 2, 0x11, 0x11, 0x22, 0x22], "{form:?}");
                assert_eq!(message[6 + 4 + 8..], down[8..], "{form:?}");
            }
            assert_eq!(b.handles[0].events.pop(), Ok(WorkerEvent::SaInUsed(spi(2), peer())));
            assert!(b.handles[0].events.pop().is_err());
        }
    }
}

#[test]
fn of_many_sas_each_notes_the_session_it_brought() {
    let (mut b, mut far) = secure(gcm());
    let noted = |b: &Bench| b.workers[0].sad.inbound[2].hot.session();
    let f = far.data(&inner_up());
    b.one_through(0, &f, 1);
    assert_eq!(noted(&b), SessionId(0), "few need no note");
    for index in 3..SAS as u32 {
        b.op(0, TableOp::SaInAdd(gcm().sa_in(spi(index), peer())));
    }
    let mut f = far.data(&inner_up());
    *f.last_mut().unwrap() ^= 1;
    b.refused(0, &f, DropReason::EspIntegrity);
    assert_eq!(noted(&b), SessionId(0), "a forged packet notes nothing");
    *f.last_mut().unwrap() ^= 1;
    b.one_through(0, &f, 1);
    assert_eq!(noted(&b), session_id(0));
}

#[test]
fn control_messages_carry_their_peer_both_ways() {
    let (mut b, mut far) = secure(gcm());
    let hello = [0xc8, 0x02, 0, 20, 0x12, 0x34, 0, 0, 0, 1, 0, 2, 0x80, 8, 0, 0, 0, 0, 0, 6];
    let f = far.l2tp(&hello);
    b.through(0, &f);
    let p = b.punts();
    assert_eq!((p.len(), p[0].meta.class, p[0].data.as_slice()), (1, PuntClass::L2tpControl, &hello[..]));
    assert_eq!((p[0].meta.peer, p[0].meta.spi), (Some(peer()), Some(spi(2))));
    assert_eq!(p[0].meta.src, "192.0.2.9:1701".parse().unwrap());
    let (src, dst) = ("192.0.2.1:1701".parse().unwrap(), "192.0.2.9:1701".parse().unwrap());
    b.inject(Inject::Udp { peer: Some(peer()), src, dst, raw: false, ttl: 64 }, &hello);
    b.inject(Inject::Ppp(session_id(0)), &[0xc0, 0x21, 9, 1]);
    b.poll();
    let out = b.sent(0);
    assert_eq!(far.open(&out[0]), hello);
    assert_eq!(far.open(&out[1])[6..], [0xff, 3, 0xc0, 0x21, 9, 1]);
}

#[test]
fn replayed_forged_and_foreign() {
    let (mut b, mut far) = secure(gcm());
    let f = far.data(&inner_up());
    b.one_through(0, &f, 1);
    b.refused(0, &f, DropReason::EspReplay);
    // The same packet twice in one burst: the window is looked at again after decryption.
    let f = far.data(&inner_up());
    let before = b.drops();
    b.push(0, 0, &f);
    let out = b.through(0, &f);
    assert_eq!(out[1].len(), 1);
    let of = |d: &[(DropReason, u64)], r| d.iter().find(|d| d.0 == r).map_or(0, |d| d.1);
    assert_eq!(of(&b.drops(), DropReason::EspReplay), of(&before, DropReason::EspReplay) + 1);

    let mut forged = far.data(&inner_up());
    let last = forged.len() - 1;
    forged[last] ^= 1;
    b.refused(0, &forged, DropReason::EspIntegrity);
    // The forged one did not move the window.
    forged[last] ^= 1;
    b.one_through(0, &forged, 1);

    // In the clear, with the right ids and addresses.
    b.refused(0, &subscriber(&inner_up()), DropReason::SpdClear);
    // Another SPI, and the SA of somebody else with this session's ids.
    let mut unknown = far.data(&inner_up());
    unknown[34..38].copy_from_slice(&spi(7).0.to_be_bytes());
    b.refused(0, &unknown, DropReason::SaUnknown);
    let other = PeerId(std::num::NonZeroU32::new(6).unwrap());
    let mut stranger = add(&mut b, gcm(), 4, other);
    let f = stranger.data(&inner_up());
    b.refused(0, &f, DropReason::SessionBinding);
    // Right SA, wrong selector: not the L2TP port.
    let whole = datagram("192.0.2.9", "192.0.2.1", (1701, 53), b"x");
    let f = far.esp_from("192.0.2.9", 0, proto::UDP, &whole[20..]);
    b.refused(0, &f, DropReason::EspSelector);
}

#[test]
fn packets_of_several_sas_in_one_burst() {
    let (mut b, mut gcm_far) = secure(gcm());
    let cbc = Form { suite: suite(Cipher::AesCbc128, Integrity::HmacSha256_128), ..gcm() };
    let mut cbc_far = add(&mut b, cbc, 3, peer());
    let mut natt_far = add(&mut b, Form { natt: true, ..gcm() }, 4, peer());
    let of_gcm: Vec<_> = (0..4).map(|_| gcm_far.data(&inner_up())).collect();
    let of_cbc: Vec<_> = (0..3).map(|_| cbc_far.data(&inner_up())).collect();
    let (mut forged, mut other_generation) = (of_gcm[1].clone(), of_gcm[1].clone());
    *forged.last_mut().unwrap() ^= 1;
    let other = Spi::from_slot(Slot::new(WorkerId(0), 2, 2).unwrap());
    other_generation[34..38].copy_from_slice(&other.0.to_be_bytes());
    let burst = [
        of_gcm[0].clone(),
        of_cbc[0].clone(),
        of_gcm[3].clone(),
        other_generation,
        forged,
        of_gcm[1].clone(),
        of_cbc[1].clone(),
        of_cbc[1].clone(),
        natt_far.data(&inner_up()),
        of_gcm[0].clone(),
        of_gcm[2].clone(),
        of_cbc[2].clone(),
        natt_far.data(&inner_up()),
    ];
    for f in &burst {
        b.push(0, 0, f);
    }
    b.poll();
    b.balance();
    assert_eq!(b.sent(1).len(), 9);
    let drops = [(DropReason::SaUnknown, 1), (DropReason::EspReplay, 2), (DropReason::EspIntegrity, 1)];
    assert_eq!(b.drops(), drops);
    for (index, packets, replayed, forged) in [(2, 4, 1, 1), (3, 3, 1, 0), (4, 2, 0, 0)] {
        let c = &b.handles[0].counters.sa_in[index];
        assert_eq!((c.packets.get(), c.replayed.get(), c.integrity.get()), (packets, replayed, forged), "{index}");
        let octets = packets * (inner_up().len() + 4 + l2tp::data_len(false) + udp::HEADER) as u64;
        assert_eq!(c.octets.get(), octets, "{index}");
    }
}

#[test]
fn nothing_is_sent_in_the_clear_without_an_sa() {
    let (mut b, mut far) = secure(gcm());
    b.op(0, TableOp::PeerSelect { peer: peer(), sa: None });
    b.refused(1, &frame(1, &inner_down(5)), DropReason::SaMissing);
    b.op(0, TableOp::PeerSelect { peer: peer(), sa: Some(SaOutId(slot(2))) });
    let f = b.one_through(1, &frame(1, &inner_down(5)), 0);
    far.open(&f);
    b.op(0, TableOp::SaOutDel(SaOutId(slot(2))));
    b.refused(1, &frame(1, &inner_down(5)), DropReason::SaMissing);
    b.op(0, TableOp::SaInDel(spi(2)));
    let f = far.data(&inner_up());
    b.refused(0, &f, DropReason::SaUnknown);
}

#[test]
fn rekeying_loses_nothing() {
    let (mut b, mut old) = secure(gcm());
    let f = b.one_through(1, &frame(1, &inner_down(9)), 0);
    old.open(&f);
    // The new pair is there and selected; the old inbound SA still accepts what is on its way.
    let mut new = add(&mut b, gcm(), 5, peer());
    let late = old.data(&inner_up());
    b.one_through(0, &late, 1);
    let f = new.data(&inner_up());
    b.one_through(0, &f, 1);
    let f = b.one_through(1, &frame(1, &inner_down(9)), 0);
    new.open(&f);
    b.op(0, TableOp::SaInDel(spi(2)));
    let f = new.data(&inner_up());
    b.one_through(0, &f, 1);
}

#[test]
fn lifetimes_are_reported_and_enforced() {
    let mut b = Bench::with(1, Action::Protect, 64);
    b.op(0, TableOp::SessionAdd(Session { peer: Some(peer()), ..session() }));
    let lifetime = Lifetime { soft: Limits { packets: 2, octets: 0 }, hard: Limits { packets: 3, octets: 0 } };
    let id = SaOutId(slot(1));
    b.op(0, TableOp::SaOutAdd(SaOut { lifetime, ..gcm().sa_out(id, peer()) }));
    b.op(0, TableOp::PeerSelect { peer: peer(), sa: Some(id) });
    let f = frame(1, &inner_down(3));
    for _ in 0..3 {
        b.one_through(1, &f, 0);
    }
    b.refused(1, &f, DropReason::SaExpired);
    assert_eq!(b.handles[0].events.pop(), Ok(WorkerEvent::SaOutSoft(id, peer())));
    assert_eq!(b.handles[0].events.pop(), Ok(WorkerEvent::SaOutHard(id, peer())));
}

#[test]
fn a_nat_that_forgets_moves_the_peer() {
    let (mut b, mut far) = secure(Form { natt: true, ..gcm() });
    b.publish(&[SnapshotOp::NeighbourAdd(PortId(0), ip("192.0.2.77"), MacAddr(SUBSCRIBER_MAC))]);
    while b.handles[0].events.pop().is_ok() {}
    let whole = datagram("192.0.2.9", "192.0.2.1", (1701, 1701), &{
        let mut m = vec![0; 6];
        assert!(l2tp::emit_data(&mut m, session_id(0).tunnel(), session_id(0).session(), None));
        m.extend_from_slice(&ppp(&inner_up()));
        m
    });
    let f = far.esp_from("192.0.2.77", 7777, proto::UDP, &whole[20..]);
    b.through(0, &f);
    let to = "192.0.2.77:7777".parse().unwrap();
    let mut events = Vec::new();
    while let Ok(e) = b.handles[0].events.pop() {
        events.push(e);
    }
    assert!(events.contains(&WorkerEvent::PeerMoved(peer(), to)), "{events:?}");
    let local = "192.0.2.1:4500".parse().unwrap();
    b.op(0, TableOp::PeerMoved { peer: peer(), local, remote: to, encap: true });
    let f = far.esp_from("192.0.2.77", 7777, proto::UDP, &whole[20..]);
    b.one_through(0, &f, 1);
    let f = b.one_through(1, &frame(1, &inner_down(3)), 0);
    assert_eq!(f[30..34], [192, 0, 2, 77]);
    assert_eq!(f[36..38], 7777u16.to_be_bytes());
    // MOBIKE: on to a network without a NAT (RFC 4555, section 3.5). UDP goes with it.
    b.op(0, TableOp::PeerMoved { peer: peer(), local, remote: "192.0.2.77:4500".parse().unwrap(), encap: false });
    let f = b.one_through(1, &frame(1, &inner_down(3)), 0);
    assert_eq!((f[23], &f[26..34]), (proto::ESP, &[192, 0, 2, 1, 192, 0, 2, 77][..]));
    let f = far.esp_from("192.0.2.77", 4500, proto::UDP, &whole[20..]);
    b.refused(0, &f, DropReason::SaMismatch);
}

#[test]
fn esp_in_fragments() {
    let (mut b, mut far) = secure(gcm());
    let inner = datagram("2001:db8:7::1", "2001:db8:aaaa::1", (1, 2), &[7; 900]);
    let f = far.data(&inner);
    let (head, body) = (&f[14..34], &f[34..]);
    let piece = |from: usize, to: usize, more: bool| {
        let mut p = [head, &body[from..to]].concat();
        ipv4::set_word(&mut p, 2, (20 + to - from) as u16);
        ipv4::set_word(&mut p, 6, (from / 8) as u16 | if more { ipv4::MF } else { 0 });
        frame(0, &p)
    };
    let (first, second) = (piece(0, 504, true), piece(504, body.len(), false));
    b.through(0, &second);
    let out = to_core(&b.one_through(0, &first, 1));
    assert_eq!(out[8..], inner[8..]);
    // What we send beyond the port's MTU leaves in fragments after encryption (RFC 4303, section 3.3.4).
    b.op(0, TableOp::SessionSet(Session { mtu: 1480, peer: Some(peer()), ..session() }));
    let out = b.through(1, &frame(1, &inner_down(1420)));
    assert_eq!(out[0].len(), 2);
    let mut whole = out[0][0].clone();
    whole.extend_from_slice(&out[0][1][34..]);
    let total = (whole.len() - 14) as u16;
    ipv4::set_word(&mut whole[14..], 2, total);
    ipv4::set_word(&mut whole[14..], 6, 0);
    assert_eq!(far.open(&whole)[18..], inner_down(1420)[8..]);
}

#[test]
fn dummies_other_senders_and_stumps_are_dropped() {
    let (mut b, mut far) = secure(gcm());
    let f = far.esp_from("192.0.2.9", 0, proto::NONE, &[0; 80]);
    b.refused(0, &f, DropReason::EspDummy);
    // A good packet under the SA, but from an address that the SA does not name.
    let whole = datagram("192.0.2.9", "192.0.2.1", (1701, 1701), b"control");
    let f = far.esp_from("192.0.2.77", 0, proto::UDP, &whole[20..]);
    b.refused(0, &f, DropReason::SaMismatch);
    // The SPI is known, but there is no room for IV and ICV.
    let stump = [&spi(2).0.to_be_bytes()[..], &[0, 0, 0, 9, 1, 2, 3]].concat();
    b.refused(0, &frame(0, &packet("192.0.2.9", "192.0.2.1", proto::ESP, 64, &stump)), DropReason::EspMalformed);
    // Nothing of this moved the window.
    let f = far.data(&inner_up());
    b.one_through(0, &f, 1);
}
