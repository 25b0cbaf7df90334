//! Many clients of IKEv1 behind one NAT (H40): the same private address, the same ports, the same identity.

use super::net::{A, B, Nat, Net, addr, config, entry};
use super::v1::{up, v1};
use ike::auth::{IdMatch, Identity};
use ike::v1::Listener;
use ike::v1::proposal::{Phase1, esp_defaults};
use ike::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PUBLIC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));

fn listener(side: usize) -> Listener {
    let (proposals, esp) = (Phase1::defaults(&[]), esp_defaults(&[]));
    Listener { local: addr(side), proposals, esp, sha256_96: false, legacy: None }
}

fn endpoint(config: Config, seed: u64) -> Endpoint {
    let mut next = 0x1000 * seed as u32;
    let spis = move |_, _| {
        next += 1;
        Some(next)
    };
    Endpoint::new(Arc::new(config), Box::new(StdRng::seed_from_u64(seed)), Box::new(spis))
}

struct Lab {
    clients: Vec<Endpoint>,
    gateway: Endpoint,
    now: Instant,
    /// Of the gateway, by peer: its address, and its child SAs.
    peers: BTreeMap<PeerHandle, (SocketAddr, HashMap<u32, Child>)>,
    /// What it sends on.
    selected: BTreeMap<PeerHandle, u32>,
    downs: Vec<DownReason>,
}

impl Lab {
    fn new(clients: usize) -> Self {
        let shared = PadEntry { name: "shared".into(), remote: IdMatch::Any, ..entry(B) };
        let mut b = Config { v1: vec![listener(B)], ..config(entry(B)) };
        (b.v1[0].legacy, b.pad) = (Some(Arc::new(shared)), Vec::new());
        // What Windows says of itself: its address, which is the same for all here.
        let id = Identity::Address(addr(A));
        let a = |_| Config { v1: vec![listener(A)], ..config(PadEntry { local_id: id.clone(), ..entry(A) }) };
        Self {
            clients: (0..clients).map(|n| endpoint(a(n), n as u64 + 1)).collect(),
            gateway: endpoint(b, 100),
            now: Instant::now(),
            peers: BTreeMap::new(),
            selected: BTreeMap::new(),
            downs: Vec::new(),
        }
    }

    fn connect(&mut self, n: usize) {
        let (local, remote) = (SocketAddr::new(addr(A), 500), SocketAddr::new(addr(B), 500));
        self.clients[n].initiate_v1(self.now, "peer", local, remote).unwrap();
    }

    fn events(&mut self) {
        while let Some(event) = self.gateway.poll_event() {
            match event {
                Event::PeerUp { peer, remote, .. } => drop(self.peers.insert(peer, (remote, HashMap::new()))),
                Event::ChildUp { peer, child, .. } => {
                    assert_eq!(child.remote, self.peers[&peer].0, "replies go where the SA came from");
                    self.peers.get_mut(&peer).unwrap().1.insert(child.spi_in, *child);
                }
                Event::ChildSelect { peer, spi_in } => drop(self.selected.insert(peer, spi_in)),
                Event::ChildDown { peer, spi_in, .. } => drop(self.peers.get_mut(&peer).unwrap().1.remove(&spi_in)),
                Event::PeerDown { peer, reason, .. } => {
                    self.peers.remove(&peer);
                    self.selected.remove(&peer);
                    self.downs.push(reason);
                }
                _ => {}
            }
        }
    }

    /// Carries datagrams until there are none. Client `n` has the ports of its own plus 1,000 times `n` + 1.
    fn run(&mut self) {
        let shift = |n: usize| 1000 * (n as u16 + 1);
        loop {
            let mut quiet = true;
            for n in 0..self.clients.len() {
                while self.clients[n].poll_event().is_some() {}
                while let Some(t) = self.clients[n].poll_transmit() {
                    quiet = false;
                    let remote = SocketAddr::new(PUBLIC, t.local.port() + shift(n));
                    self.gateway.handle_input(self.now, Meta { local: t.remote, remote }, &t.data);
                }
            }
            self.events();
            while let Some(t) = self.gateway.poll_transmit() {
                quiet = false;
                assert_eq!(t.remote.ip(), PUBLIC);
                let n = (0..self.clients.len()).find(|n| matches!(t.remote.port() - shift(*n), 500 | 4500));
                let n = n.filter(|n| t.remote.port() >= shift(*n)).unwrap();
                let local = SocketAddr::new(addr(A), t.remote.port() - shift(n));
                self.clients[n].handle_input(self.now, Meta { local, remote: t.local }, &t.data);
            }
            if quiet {
                return;
            }
        }
    }
}

#[test]
fn each_has_its_own() {
    let mut lab = Lab::new(4);
    // All at once, message by message.
    (0..4).for_each(|n| lab.connect(n));
    lab.run();
    assert_eq!(lab.peers.len(), 4);
    let outer: Vec<u16> = lab.peers.values().map(|(remote, _)| remote.port()).collect();
    assert_eq!(outer, [5500, 6500, 7500, 8500]);
    for (_, children) in lab.peers.values() {
        assert_eq!(children.len(), 1);
        let child = children.values().next().unwrap();
        assert!(child.encap);
        assert_eq!(child.remote_ts, [TrafficSelector::host(17, (1701, 1701), PUBLIC)]);
    }
    // Rekeys of both phases, from both sides.
    for (n, outer) in outer.into_iter().enumerate() {
        let IkeSaInfo { peer, spi_i, ref children, .. } = lab.clients[n].sas().next().unwrap();
        let before = lab.selected.clone();
        lab.clients[n].rekey_ike(lab.now, peer).unwrap();
        lab.run();
        lab.clients[n].rekey_child(lab.now, children[0]).unwrap();
        lab.run();
        assert_ne!(lab.clients[n].sas().next().unwrap().spi_i, spi_i);
        let changed: Vec<_> = before.iter().filter(|(peer, spi)| lab.selected[peer] != **spi).collect();
        let [(peer, old)] = changed[..] else { panic!("{changed:?}") };
        let (remote, children) = &lab.peers[peer];
        assert_eq!(remote.port(), outer);
        assert_eq!(children[&lab.selected[peer]].replaces, Some(*old));
    }
    for (peer, old) in lab.selected.clone() {
        let before = lab.peers[&peer].1.len();
        lab.gateway.rekey_child(lab.now, old).unwrap();
        lab.run();
        let children = &lab.peers[&peer].1;
        assert_eq!(children.len(), before + 1);
        assert_eq!(children.values().filter(|child| child.replaces == Some(old)).count(), 1);
    }
    assert_eq!((lab.peers.len(), lab.downs.len()), (4, 0));
    // One leaves, the others stay; and it comes back.
    let peer = lab.clients[2].sas().next().unwrap().peer;
    lab.clients[2].close(lab.now, peer).unwrap();
    lab.run();
    assert_eq!((lab.peers.len(), &lab.downs[..]), (3, &[DownReason::Deleted][..]));
    lab.connect(2);
    lab.run();
    assert_eq!((lab.peers.len(), lab.downs.len()), (4, 1));
}

/// Whoever is behind a NAT keeps its binding, as long as there is anything that needs it.
#[test]
fn keepalives_of_either_end() {
    for (nat, front) in [(false, false), (true, false), (false, true), (true, true)] {
        let short = |side| v1(side, PadEntry { ike_rekey_after: Some(Duration::from_secs(600)), ..entry(side) });
        let mut net = Net::new(short(A), short(B), 30);
        net.nat = nat.then_some(Nat { public: PUBLIC, shift: 20_000 });
        net.front = front.then_some([198, 51, 100, 99].into());
        let mut net = up(net);
        // One every 20 s.
        let counted = |net: &mut Net, seconds: u64| {
            let before = net.keepalives;
            net.run(seconds);
            let sent = [A, B].map(|side| net.keepalives[side] - before[side]);
            for (sent, behind) in sent.into_iter().zip([nat, front]) {
                let expected = if behind { seconds as usize / 20 } else { 0 };
                assert!(sent.abs_diff(expected) <= 1, "{nat} {front}: {sent} in {seconds} s");
            }
        };
        counted(&mut net, 100);
        // No new ISAKMP SA comes about, and the old one goes: child SAs are left.
        net.lose = |_, data| data[18] == 2;
        counted(&mut net, 1000);
        assert_eq!(net.ends.each_ref().map(|end| end.sas().next().unwrap().state), ["children-only"; 2]);
        counted(&mut net, 200);
    }
}
