//! Two endpoints, a virtual clock, and a link that loses, delays, reorders and repeats datagrams, with a NAT in front of
//! the initiator if wanted.
//!
//! Each side keeps what a data plane would: installed child SAs and the one it sends on. After every step the harness
//! checks that what one side sends on is installed, with the same keys, on the other: rekeying may never lose a packet.
//!
//! EAP is scripted ([`Script`]): the owner of B asks so many times, the owner of A answers with what it was asked.

use ike::auth::{IdMatch, Identity, LocalAuth, RemoteAuth};
use ike::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const A: usize = 0;
pub const B: usize = 1;
const GRACE: Duration = Duration::from_secs(5);

/// The inbound SPIs of one side: every one that is drawn comes back once.
#[derive(Default)]
pub struct Spis {
    pub drawn: u32,
    /// Drawn and not back.
    pub out: HashSet<u32>,
    /// There are no more than this.
    pub limit: Option<usize>,
}

#[derive(Default)]
pub struct Side {
    pub events: Vec<Event>,
    pub spis: Arc<Mutex<Spis>>,
    pub children: HashMap<u32, Child>,
    pub owner: HashMap<u32, PeerHandle>,
    pub grace: HashMap<u32, (Child, Instant)>,
    pub seen: HashSet<u32>,
    /// What it sends on, by resource.
    pub selected: HashMap<(PeerHandle, Option<u32>), u32>,
    pub peers: HashMap<PeerHandle, Identity>,
}

impl Side {
    pub fn downs(&self) -> Vec<DownReason> {
        let down = |e: &Event| match e {
            Event::PeerDown { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        self.events.iter().filter_map(down).collect()
    }

    pub fn auth_failures(&self) -> Vec<Failure> {
        let failed = |e: &Event| match e {
            Event::AuthFailed { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        self.events.iter().filter_map(failed).collect()
    }

    pub fn peer(&self) -> PeerHandle {
        assert_eq!(self.peers.len(), 1, "{:?}", self.events);
        *self.peers.keys().next().unwrap()
    }

    /// Where the peer and its child SAs were moved to, one after another.
    pub fn moves(&self) -> Vec<(SocketAddr, bool)> {
        let moved = |e: &Event| match e {
            Event::PeerMoved { remote, encap, .. } => Some((*remote, *encap)),
            _ => None,
        };
        self.events.iter().filter_map(moved).collect()
    }

    pub fn child(&self) -> Child {
        assert_eq!(self.children.len(), 1, "{:?}", self.children.keys());
        self.children.values().next().unwrap().clone()
    }

    fn give_back(&self, spi_in: u32) {
        assert!(self.spis.lock().unwrap().out.remove(&spi_in), "{spi_in:x} came back twice");
    }

    /// SPIs that are drawn: those of the child SAs, and nothing else.
    pub fn no_spi_is_lost(&self) {
        let spis = self.spis.lock().unwrap();
        assert_eq!(spis.out, self.children.keys().copied().collect(), "of {} drawn", spis.drawn);
    }

    pub fn peer_up(&self) -> (bool, String) {
        let up = |e: &Event| match e {
            Event::PeerUp { natt, suite, .. } => Some((*natt, suite.clone())),
            _ => None,
        };
        self.events.iter().find_map(up).unwrap()
    }
}

/// A NAT in front of A: source (ip, port) becomes (public, port + shift).
#[derive(Clone, Copy)]
pub struct Nat {
    pub public: IpAddr,
    pub shift: u16,
}

/// What the owners do about EAP.
pub struct Script {
    /// EAP requests before the end.
    pub rounds: u8,
    /// Octets of each EAP packet.
    pub size: usize,
    /// The key of each side, made of the user's name.
    pub msk: [Msk; 2],
    pub mutual: bool,
    pub accept: bool,
    /// How long each side's owner thinks.
    pub delay: [Duration; 2],
    /// After so many packets an owner says nothing any more.
    pub stalls: [u8; 2],
}

/// The key of a user's EAP method.
pub type Msk = fn(&str) -> Option<Vec<u8>>;

pub fn msk(user: &str) -> Option<Vec<u8>> {
    Some(user.bytes().cycle().take(64).collect())
}

/// An EAP packet of `size` octets or more.
pub fn eap(code: u8, id: u8, data: &str, size: usize) -> Vec<u8> {
    let mut packet = [&[code, id, 0, 0][..], data.as_bytes()].concat();
    packet.resize(size.max(packet.len()), b'.');
    let length = packet.len() as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet
}

pub struct Net {
    pub ends: [Endpoint; 2],
    pub sides: [Side; 2],
    pub start: Instant,
    pub now: Instant,
    queue: BTreeMap<(Instant, u64), (usize, Meta, Vec<u8>)>,
    sequence: u64,
    rng: StdRng,
    /// Probability in percent.
    pub loss: u32,
    pub duplicate: u32,
    /// Delay is 10 ms and up to this more.
    pub jitter: Duration,
    pub nat: Option<Nat>,
    /// A static NAT in front of B: its address to the others.
    pub front: Option<IpAddr>,
    /// The only address that A has, and under which anything reaches it.
    pub at: Option<IpAddr>,
    /// Somebody on the way changes the source address of what A sends.
    pub forge: Option<IpAddr>,
    pub cut: bool,
    /// Says of a datagram and its sender that it gets lost.
    pub lose: fn(usize, &[u8]) -> bool,
    /// Octets of the largest protected message.
    pub largest: usize,
    /// Everything sent: (from, datagram).
    pub log: Vec<(usize, Vec<u8>)>,
    /// Sent by each side.
    pub keepalives: [usize; 2],
    pub check: bool,
    pub script: Script,
    /// EAP events that an owner thinks about.
    thinking: BTreeMap<(Instant, u64), (usize, Event)>,
    /// The user of each EAP conversation, and how often it was asked.
    pub users: HashMap<EapSession, (String, u8)>,
}

pub fn addr(side: usize) -> IpAddr {
    if side == A { Ipv4Addr::new(10, 0, 0, 2).into() } else { Ipv4Addr::new(198, 51, 100, 1).into() }
}

pub fn id(side: usize) -> Identity {
    if side == A { "client.example.net" } else { "gateway.example.net" }.parse().unwrap()
}

pub fn entry(side: usize) -> PadEntry {
    PadEntry {
        name: "peer".to_owned(),
        remote: IdMatch::Exact(id(1 - side)),
        remote_auth: RemoteAuth::psk(b"a shared secret of some length"),
        local_id: id(side),
        local_auth: LocalAuth::psk(b"a shared secret of some length"),
        ike_proposals: IkeProposal::defaults(),
        child: ChildPolicy { rekey_after: None, ..ChildPolicy::l2tp(side == B) },
        ike_rekey_after: None,
        dpd_delay: None,
        mlkem: false,
        force_encap: false,
        mobike: false,
        return_routability: true,
    }
}

pub fn config(entry: PadEntry) -> Config {
    let config = Config { pad: vec![Arc::new(entry)], ..Config::default() };
    config.validate().unwrap();
    config
}

/// The resource that a child SA is bound to.
pub fn bound(child: &Child) -> Option<u32> {
    child.resource.as_ref().map(|r| r.id)
}

fn endpoint(config: Config, seed: u64, side: &Side) -> Endpoint {
    let spis = Arc::clone(&side.spis);
    let source = move |_, _| {
        let mut spis = spis.lock().unwrap();
        if spis.limit.is_some_and(|limit| spis.out.len() >= limit) {
            return None;
        }
        spis.drawn += 1;
        let spi = 0x1000_0000 * (seed as u32 % 8 + 1) + spis.drawn;
        spis.out.insert(spi);
        Some(spi)
    };
    Endpoint::new(Arc::new(config), Box::new(StdRng::seed_from_u64(seed)), Box::new(source))
}

impl Net {
    pub fn new(a: Config, b: Config, seed: u64) -> Self {
        let start = Instant::now();
        let sides: [Side; 2] = Default::default();
        Self {
            ends: [endpoint(a, seed * 2, &sides[A]), endpoint(b, seed * 2 + 1, &sides[B])],
            sides,
            start,
            now: start,
            queue: BTreeMap::new(),
            sequence: 0,
            rng: StdRng::seed_from_u64(seed ^ 0xfeed),
            loss: 0,
            duplicate: 0,
            jitter: Duration::ZERO,
            nat: None,
            front: None,
            at: None,
            forge: None,
            cut: false,
            lose: |_, _| false,
            largest: 0,
            log: Vec::new(),
            keepalives: [0; 2],
            check: true,
            script: Script {
                rounds: 3,
                size: 40,
                msk: [msk; 2],
                mutual: true,
                accept: true,
                delay: [Duration::ZERO; 2],
                stalls: [u8::MAX; 2],
            },
            thinking: BTreeMap::new(),
            users: HashMap::new(),
        }
    }

    /// Default ends, over a perfect link.
    pub fn plain(seed: u64) -> Self {
        Self::new(config(entry(A)), config(entry(B)), seed)
    }

    /// One side crashes and starts anew.
    pub fn restart(&mut self, side: usize, config: Config, seed: u64) {
        self.sides[side] = Side::default();
        self.ends[side] = endpoint(config, seed, &self.sides[side]);
    }

    /// A gets another address, and tells its endpoint.
    pub fn move_to(&mut self, ip: impl Into<IpAddr>) {
        let (ip, peer) = (ip.into(), self.sides[A].peer());
        self.at = Some(ip);
        let (local, remote) = (SocketAddr::new(ip, 4500), SocketAddr::new(addr(B), 4500));
        self.ends[A].move_local(self.now, peer, local, remote).unwrap();
        self.flush();
    }

    pub fn bad_link(&mut self) {
        (self.loss, self.duplicate, self.jitter) = (20, 20, Duration::from_millis(400));
    }

    pub fn connect(&mut self) -> PeerHandle {
        self.connect_to("peer")
    }

    pub fn connect_to(&mut self, pad: &str) -> PeerHandle {
        let (local, remote) = (SocketAddr::new(addr(A), 500), SocketAddr::new(self.front.unwrap_or(addr(B)), 500));
        let peer = self.ends[A].initiate(self.now, pad, local, remote).unwrap();
        self.flush();
        peer
    }

    /// Connects over whatever link there is.
    pub fn up(mut self) -> Self {
        self.connect();
        self.run(60);
        assert_eq!(self.sides[A].peers.len(), 1, "{:?}", self.sides[A].events);
        assert_eq!(self.sides[B].peers.len(), 1, "{:?}", self.sides[B].events);
        self.settled();
        self
    }

    /// Exactly one child SA at both ends, and both send on it.
    pub fn settled(&self) {
        let (a, b) = (self.sides[A].child(), self.sides[B].child());
        assert_eq!((a.spi_in, a.spi_out), (b.spi_out, b.spi_in));
        assert_eq!(self.sides[A].selected.values().collect::<Vec<_>>(), [&a.spi_in]);
        assert_eq!(self.sides[B].selected.values().collect::<Vec<_>>(), [&b.spi_in]);
        for end in &self.ends {
            let info: Vec<_> = end.sas().collect();
            assert_eq!(info.len(), 1);
            assert_eq!(info[0].state, "established");
            assert_eq!(info[0].children.len(), 1);
        }
        self.sides.iter().for_each(Side::no_spi_is_lost);
        let (a, b) = (self.ends[A].sas().next().unwrap(), self.ends[B].sas().next().unwrap());
        assert_eq!((a.spi_i, a.spi_r), (b.spi_i, b.spi_r));
    }

    fn drain(&mut self, side: usize) {
        while let Some(event) = self.ends[side].poll_event() {
            let s = &mut self.sides[side];
            match &event {
                Event::PeerUp { peer, remote_id, .. } => {
                    assert!(s.peers.insert(*peer, remote_id.clone()).is_none());
                }
                Event::ChildUp { peer, child, select } => {
                    assert!(s.peers.contains_key(peer));
                    s.seen.insert(child.spi_in);
                    s.owner.insert(child.spi_in, *peer);
                    assert!(s.spis.lock().unwrap().out.contains(&child.spi_in));
                    assert!(s.children.insert(child.spi_in, Child::clone(child)).is_none());
                    if *select {
                        s.selected.insert((*peer, bound(child)), child.spi_in);
                    }
                }
                Event::ChildSelect { peer, spi_in } => {
                    s.selected.insert((*peer, bound(&s.children[spi_in])), *spi_in);
                }
                Event::ChildDown { spi_in, reason: ChildDownReason::Refused(_), .. } => assert_eq!(*spi_in, 0),
                Event::ChildDown { peer, spi_in, reason } => {
                    s.give_back(*spi_in);
                    let child = s.children.remove(spi_in);
                    assert_eq!(child.is_none(), *reason == ChildDownReason::Unused);
                    if let Some(child) = child {
                        s.grace.insert(*spi_in, (child, self.now + GRACE));
                        s.selected.retain(|(p, _), spi| p != peer || spi != spi_in);
                    }
                }
                Event::PeerDown { peer, .. } => {
                    s.peers.remove(peer);
                    s.selected.retain(|(p, _), _| p != peer);
                    let own: Vec<u32> = s.children.keys().copied().filter(|spi| s.owner[spi] == *peer).collect();
                    for spi_in in own {
                        s.give_back(spi_in);
                        s.children.remove(&spi_in);
                    }
                }
                Event::EapStart { .. } | Event::EapResponse { .. } | Event::EapRequest { .. } => {
                    self.sequence += 1;
                    let at = self.now + self.script.delay[side];
                    self.thinking.insert((at, self.sequence), (side, event.clone()));
                }
                Event::PeerMoved { peer, local, remote, encap } => {
                    let own = s.children.iter_mut().filter(|(spi, _)| s.owner[spi] == *peer);
                    own.for_each(|(_, c)| (c.local, c.remote, c.encap) = (*local, *remote, *encap));
                }
                Event::AuthFailed { .. } | Event::EapEnd { .. } => {}
            }
            s.events.push(event);
        }
    }

    /// What an owner does about an EAP event.
    fn think(&mut self, side: usize, event: Event) {
        let (end, script, now) = (&mut self.ends[side], &self.script, self.now);
        match event {
            Event::EapStart { session, .. } => {
                self.users.insert(session, (String::new(), 1));
                if script.stalls[B] > 0 {
                    end.eap_request(now, session, &eap(1, 0, "\x01", 0)).unwrap();
                }
            }
            Event::EapResponse { session, packet } => {
                let (user, asked) = self.users.get_mut(&session).unwrap();
                if *asked == 1 {
                    *user = String::from_utf8(packet[5..].to_vec()).unwrap().trim_end_matches('.').to_owned();
                } else {
                    assert_eq!(packet, eap(2, *asked - 1, "\x63what", script.size));
                }
                let id = *asked;
                *asked += 1;
                if id >= script.stalls[B] {
                } else if id < script.rounds {
                    end.eap_request(now, session, &eap(1, id, "\x63what", script.size)).unwrap();
                } else if script.accept {
                    let (identity, msk) = (user.clone(), (script.msk[B])(user).map(Into::into));
                    let success = EapSuccess { identity, msk, mutual: script.mutual };
                    end.eap_success(now, session, &eap(3, id, "", 0), success).unwrap();
                } else {
                    end.eap_failure(now, session, &eap(4, id, "", 0)).unwrap();
                }
            }
            Event::EapRequest { peer, packet } => {
                let user = format!("user{}@example.net", peer.0);
                if packet[1] >= script.stalls[A] {
                } else if packet[0] == 3 {
                    end.eap_key(now, peer, (script.msk[A])(&user).map(Into::into)).unwrap();
                } else if packet[4] == 1 {
                    let answer = eap(2, 0, &format!("\x01{user}"), script.size);
                    end.eap_response(now, peer, &answer).unwrap();
                } else {
                    let answer = [&[2], &packet[1..]].concat();
                    end.eap_response(now, peer, &answer).unwrap();
                }
            }
            _ => {}
        }
    }

    pub fn flush(&mut self) {
        for side in [A, B] {
            self.drain(side);
            while let Some(t) = self.ends[side].poll_transmit() {
                if t.keepalive {
                    self.keepalives[side] += 1;
                    continue;
                }
                self.log.push((side, t.data.clone()));
                // IKE_SA_INIT cannot be fragmented.
                if t.data[18] != 34 {
                    self.largest = self.largest.max(t.data.len());
                }
                self.send(side, t);
            }
        }
        self.invariant();
    }

    fn send(&mut self, side: usize, t: Transmit) {
        if self.cut || (self.lose)(side, &t.data) {
            return;
        }
        let own = if side == A { t.local } else { t.remote };
        if self.nat.is_none() && self.at.is_some_and(|at| at != own.ip()) {
            return;
        }
        let copies = 1 + u32::from(self.rng.random_range(0..100) < self.duplicate);
        let (mut src, mut dst) = (t.local, t.remote);
        if let Some(front) = self.front {
            match side {
                A if dst.ip() == front => dst.set_ip(addr(B)),
                A => return,
                _ => src.set_ip(front),
            }
        }
        if let Some(nat) = self.nat {
            if side == A {
                src = SocketAddr::new(nat.public, src.port() + nat.shift);
            } else if dst.ip() == nat.public {
                // A stale binding leads nowhere.
                match dst.port().checked_sub(nat.shift) {
                    Some(port @ (500 | 4500)) => dst = SocketAddr::new(addr(A), port),
                    _ => return,
                }
            } else {
                return;
            }
        }
        if let (A, Some(forged)) = (side, self.forge) {
            src.set_ip(forged);
        }
        for _ in 0..copies {
            if self.rng.random_range(0..100) < self.loss {
                continue;
            }
            let jitter = self.rng.random_range(0..=self.jitter.as_millis() as u64);
            let at = self.now + Duration::from_millis(10 + jitter);
            self.sequence += 1;
            self.queue.insert((at, self.sequence), (1 - side, Meta { local: dst, remote: src }, t.data.clone()));
        }
    }

    fn invariant(&self) {
        if !self.check {
            return;
        }
        for side in [A, B] {
            let (own, other) = (&self.sides[side], &self.sides[1 - side]);
            for spi in own.selected.values() {
                let child = &own.children[spi];
                let live = other.children.get(&child.spi_out);
                let dying = other.grace.get(&child.spi_out).filter(|(_, until)| *until >= self.now).map(|(c, _)| c);
                // The responder of IKE_AUTH is up before its answer arrives; nobody sends anything yet.
                if child.replaces.is_none() && !other.seen.contains(&child.spi_out) {
                    continue;
                }
                let there = live.or(dying).unwrap_or_else(|| panic!("{side} sends on {spi:x} into the void"));
                assert_eq!(there.spi_out, child.spi_in);
                assert_eq!(*there.inbound.encr, *child.outbound.encr);
                assert_eq!(*there.inbound.integ, *child.outbound.integ);
                assert_eq!(*there.outbound.encr, *child.inbound.encr);
                assert_ne!(*there.outbound.encr, *there.inbound.encr);
            }
        }
    }

    /// Runs for some virtual seconds.
    pub fn run(&mut self, seconds: u64) {
        self.run_ms(seconds * 1000);
    }

    pub fn run_ms(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        self.flush();
        loop {
            let arrival = self.queue.keys().next().map(|k| k.0);
            let thought = self.thinking.keys().next().map(|k| k.0);
            let timeouts = [self.ends[A].poll_timeout(), self.ends[B].poll_timeout(), thought];
            let next = arrival.into_iter().chain(timeouts.into_iter().flatten()).min();
            let Some(next) = next.filter(|at| *at <= until) else { break };
            self.now = self.now.max(next);
            if thought == Some(next) {
                let (_, (side, event)) = self.thinking.pop_first().unwrap();
                self.think(side, event);
            } else if arrival == Some(next) {
                let (_, (to, meta, data)) = self.queue.pop_first().unwrap();
                self.ends[to].handle_input(self.now, meta, &data);
            } else {
                for end in &mut self.ends {
                    if end.poll_timeout().is_some_and(|at| at <= self.now) {
                        end.handle_timeout(self.now);
                    }
                }
            }
            self.flush();
        }
        self.now = until;
    }

    /// Delivers a datagram at once.
    pub fn inject(&mut self, to: usize, meta: Meta, data: &[u8]) {
        self.ends[to].handle_input(self.now, meta, data);
        self.flush();
    }
}

/// Rekeys a side's child SA.
pub fn rekey_child(net: &mut Net, side: usize) {
    let spi = *net.sides[side].selected.values().next().unwrap();
    net.ends[side].rekey_child(net.now, spi).unwrap();
}

/// Rekeys the IKE SA from a side.
pub fn rekey_ike(net: &mut Net, side: usize) {
    let peer = net.sides[side].peer();
    net.ends[side].rekey_ike(net.now, peer).unwrap();
}

/// Rekeys of both kinds from both sides, again and again, over a bad link.
pub fn rekey_everything(net: &mut Net, seed: u64) {
    net.bad_link();
    for round in 0..6 {
        for side in [A, B] {
            match (seed >> (round % 6) ^ side as u64) % 3 {
                0 => rekey_child(net, side),
                1 => rekey_ike(net, side),
                _ => {
                    rekey_ike(net, side);
                    rekey_child(net, side);
                }
            }
        }
        net.run_ms(100 + seed * 37 % 3000);
    }
    net.run(1000);
    (net.loss, net.duplicate) = (0, 0);
}
