//! IKE's events: authenticated peers, child SAs, lifetimes, moves.

use super::Gateway;
use super::news::{child_event, ike_event, stranger};
use crate::accounting::Cause;
use crate::audit::{Record, Verb};
use crate::northbound::Event;
use crate::peer::{Child, Peer};
use dataplane_api::{PeerId, SessionId, Spi, TableOp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

impl Gateway {
    pub(super) fn ike_event(&mut self, now: Instant, event: ike::Event) {
        use ike::Event::*;
        match event {
            PeerUp { peer, pad, remote_id, local, remote, natt, suite, version, weak, .. } => {
                tracing::info!(
                    peer = peer.0.get(),
                    pad,
                    id = %remote_id,
                    %remote,
                    natt,
                    version,
                    suite,
                    "IKE SA established"
                );
                let worker = self.program.allocation().worker(peer.0.get());
                let listener = self.config.listener(local.ip());
                let shared_secret = listener.is_some_and(|l| l.ikev1.is_some() && l.shared_secret_entry() == pad);
                // Whoever has a shared secret may claim to be anybody, so it is not shown as that one.
                let remote_id = if shared_secret { format!("{pad}: {remote_id}") } else { remote_id.to_string() };
                let (children, admitted) = (HashMap::new(), self.admitted(PeerId(peer.0)));
                let record = Peer {
                    afbr: self.mesh.guards(&pad),
                    pad,
                    version,
                    remote_id,
                    shared_secret,
                    admitted,
                    local,
                    remote,
                    natt,
                    worker,
                    children,
                    selected: BTreeMap::new(),
                };
                let means = weak.into_iter().chain(shared_secret.then_some("shared_secret"));
                self.audit.extend(weak_means("IKE SA", PeerId(peer.0), &record, means.collect()));
                self.tell(Event::IkeUp(ike_event(PeerId(peer.0), &record, None)));
                let late = self.is_draining() && !record.afbr;
                self.control.drain_ike += u64::from(late);
                let admitted = self.admits(&record.pad, local.ip(), record.afbr);
                self.peers.insert(PeerId(peer.0), record);
                if late || !admitted {
                    self.close_peer(now, PeerId(peer.0));
                }
            }
            ChildUp { peer, child, select } => {
                let id = PeerId(peer.0);
                let Some(p) = self.peers.get_mut(&id) else { return };
                let entry = self.entries.find(&self.config, &p.pad);
                match p.child_up(now, id, &child, &self.config, entry, &mut self.program) {
                    Ok(()) => {
                        tracing::info!(
                            peer = peer.0.get(),
                            spi_in = format_args!("{:08x}", child.spi_in),
                            spi_out = format_args!("{:08x}", child.spi_out),
                            rekeyed = child.replaces.is_some(),
                            "child SA installed"
                        );
                        self.children += 1;
                        let event = child_event(id, child.spi_in, child.replaces, None);
                        let rekeyed = child.replaces.is_some();
                        self.events.push_back(if rekeyed { Event::ChildRekeyed(event) } else { Event::ChildUp(event) });
                        if child.replaces.is_none() {
                            self.audit.extend(weak_means("child SA", id, p, child.suite.weak()));
                        }
                        // Where there is no other, whoever uses it first is answered by it: a client may send L2TP
                        // before, or right behind, the last message of IKEv1's quick mode.
                        if select || !p.selected.contains_key(&p.worker_of(child.spi_in)) {
                            p.select(id, child.spi_in, &mut self.program);
                            self.mesh_selected(id);
                        }
                    }
                    Err(why) => {
                        self.control.child_refused += 1;
                        self.program.allocation().free_spi(Spi(child.spi_in));
                        tracing::warn!(peer = peer.0.get(), why, "child SA refused");
                        self.close_peer(now, id);
                    }
                }
            }
            ChildSelect { peer, spi_in } => {
                let id = PeerId(peer.0);
                if let Some(p) = self.peers.get_mut(&id) {
                    p.select(id, spi_in, &mut self.program);
                }
                self.mesh_selected(id);
            }
            ChildDown { spi_in, reason: ike::ChildDownReason::Unused, .. } => {
                self.program.allocation().free_spi(Spi(spi_in));
            }
            ChildDown { peer, spi_in, reason } => {
                let id = PeerId(peer.0);
                let Some(p) = self.peers.get_mut(&id) else { return };
                if let ike::ChildDownReason::Refused(why) = &reason {
                    self.control.child_refused += 1;
                    tracing::warn!(peer = peer.0.get(), id = p.remote_id, %why, "no child SA");
                }
                let common = p.common().map(Child::worker);
                if let Some(spi) = p.child_down(id, spi_in, &mut self.program) {
                    let moved = common != p.common().map(Child::worker);
                    let worker = p.worker_of(spi_in);
                    self.children -= 1;
                    if reason != ike::ChildDownReason::Rekeyed {
                        self.tell(Event::ChildDown(child_event(id, spi_in, None, Some(format!("{reason:?}")))));
                    }
                    self.defer(now + self.config.ike.grace, worker, spi);
                    if moved {
                        self.mesh_selected(id);
                    }
                }
                if self.peers.get(&id).is_some_and(|p| p.children.is_empty()) {
                    self.mesh_lost(now, id);
                }
            }
            EapStart { session, pad, remote_id, local, remote } => {
                self.eap_start(now, session, pad, remote_id.to_string(), local, remote);
            }
            EapResponse { session, packet } => self.eap_response(now, session, packet),
            EapEnd { session, peer } => self.eap_end(session, peer.map(|p| PeerId(p.0))),
            // We are never the one that EAP authenticates.
            EapRequest { .. } => {}
            PeerMoved { peer, local, remote, encap } => {
                let id = PeerId(peer.0);
                if let Some(p) = self.peers.get_mut(&id) {
                    tracing::info!(peer = peer.0.get(), from = %p.remote, to = %remote, "peer moved");
                    (p.local, p.remote, p.natt) = (local, remote, encap);
                    let workers: BTreeSet<_> = p.children.values().map(Child::worker).chain([p.worker]).collect();
                    for worker in workers {
                        self.program.op(worker, TableOp::PeerMoved { peer: id, local, remote, encap });
                    }
                    self.l2tp.move_binding(now, peer.0, local.ip(), remote.ip());
                    for session in self.l2tp.of_binding(peer.0) {
                        if let Some(s) = self.subscribers.get_mut(&SessionId(session)) {
                            s.session.outer.local.set_ip(local.ip());
                            s.session.outer.remote.set_ip(remote.ip());
                        }
                    }
                }
            }
            PeerDown { peer, reason, remote_id } => {
                let id = PeerId(peer.0);
                tracing::info!(peer = peer.0.get(), ?reason, "IKE SA down");
                self.mesh_lost(now, id);
                for session in self.l2tp.of_binding(peer.0).into_iter().map(SessionId) {
                    self.close_after.remove(&session);
                    if let Some(s) = self.subscribers.get_mut(&session) {
                        s.ends(cause(&reason), format!("IKE: {reason:?}"));
                    }
                }
                // H47: L2TP is told; without SAs nothing can be said to the peer any more.
                self.l2tp.close_binding(now, peer.0);
                while let Some(event) = self.l2tp.poll_event() {
                    self.l2tp_event(now, event);
                }
                match self.peers.remove(&id) {
                    Some(mut p) => {
                        let spis: Vec<u32> = p.children.keys().copied().collect();
                        for spi in spis {
                            let worker = p.worker_of(spi);
                            if let Some(spi) = p.child_down(id, spi, &mut self.program) {
                                self.children -= 1;
                                self.tell(Event::ChildDown(child_event(
                                    id,
                                    spi.0,
                                    None,
                                    Some(format!("IKE: {reason:?}")),
                                )));
                                self.defer(now, worker, spi);
                            }
                        }
                        self.tell(Event::IkeDown(ike_event(id, &p, Some(format!("{reason:?}")))));
                    }
                    None => {
                        let mut r = Record::new(Verb::Reject, format!("IKE: {reason:?}"));
                        r.ike_id = remote_id.map(|i| i.to_string());
                        self.tell(stranger(r.ike_id.clone(), None, format!("{reason:?}")));
                        self.audit.push_back(r);
                    }
                }
            }
            AuthFailed { remote, id, reason } => {
                self.control.ike_auth_failed += 1;
                let mut r = Record::new(Verb::Reject, format!("IKE: {reason}"));
                r.ike_id = id.map(|i| i.to_string());
                r.outer = Some(remote);
                self.tell(stranger(r.ike_id.clone(), Some(remote), reason.to_string()));
                self.audit.push_back(r);
            }
        }
    }
}

/// Says which means of a peer are weak, in the log and by a record for the audit log (H46).
fn weak_means(what: &str, id: PeerId, p: &Peer, means: Vec<&'static str>) -> Option<Record> {
    if means.is_empty() {
        return None;
    }
    let weak = means.join(",");
    tracing::warn!(peer = id.0.get(), pad = p.pad, id = p.remote_id, remote = %p.remote, weak, "weak {what}");
    let mut r = Record::new(Verb::Weak, format!("{what}: {weak}"));
    (r.ike_id, r.outer) = (Some(p.remote_id.clone()), Some(p.remote));
    Some(r)
}

fn cause(reason: &ike::DownReason) -> Cause {
    use ike::DownReason::*;
    match reason {
        Deleted => Cause::UserRequest,
        Closed => Cause::NasRequest,
        Dead => Cause::LostCarrier,
        Revoked => Cause::AdminReset,
        Replaced(_) => Cause::PortPreempted,
        Expired | Failed(_) => Cause::NasError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::program::Output;
    use dataplane_api::{Counters, Inject, MacAddr, OuterPath, PortId, PuntClass, PuntMeta, WorkerId};
    use std::net::SocketAddr;
    use std::num::NonZeroU32;
    use std::sync::Arc;
    use std::time::Duration;

    /// A gateway whose worker has room for one SA, and a peer that is up.
    fn gateway() -> (Gateway, ike::PeerHandle) {
        let mut g = room_for(1);
        let peer = up(&mut g, 9);
        (g, peer)
    }

    fn room_for(n: usize) -> Gateway {
        let text = format!(
            "dataplane: {{ max_sessions: {n} }}\n\
             ports: [{{ name: a, device: d, zone: public, addresses: [192.0.2.1/24] }}]\n\
             listeners: [{{ name: l, address: 192.0.2.1 }}]\n\
             ike: {{ identity: gw.example.net, peers: [{{ name: p, id: p@example.net, auth: psk, psk: k }}] }}\n"
        );
        let config = Arc::new(Config::from_yaml("t", &text).unwrap());
        let counters = vec![Arc::new(Counters::new(n, n))];
        Gateway::new(config, Instant::now(), &[MacAddr([2; 6])], counters, [7; 32]).unwrap()
    }

    /// The peer with this number, in its address as well, is up.
    fn up(g: &mut Gateway, n: u8) -> ike::PeerHandle {
        let peer = ike::PeerHandle(NonZeroU32::new(n.into()).unwrap());
        let address = ([192, 0, 2, n], 500).into();
        let id: ike::auth::Identity = "p@example.net".parse().unwrap();
        let up = ike::Event::PeerUp {
            peer,
            pad: "p".into(),
            local_id: id.clone(),
            remote_id: id,
            local: address,
            remote: address,
            natt: false,
            initiator: false,
            suite: String::new(),
            eap_identity: None,
            version: 2,
            weak: Vec::new(),
        };
        g.ike_event(Instant::now(), up);
        peer
    }

    /// L2TP inside the peer's SAs, up to a session.
    fn session(g: &mut Gateway, now: Instant, peer: ike::PeerHandle) -> SessionId {
        let from: SocketAddr = (g.peers[&PeerId(peer.0)].remote.ip(), 1701).into();
        let to: SocketAddr = "192.0.2.1:1701".parse().unwrap();
        let rng: rand::rngs::StdRng = rand::SeedableRng::from_seed([5; 32]);
        let config = l2tp::Config { accept: false, ..l2tp::Config::default() };
        let mut client = l2tp::Endpoint::new(Arc::new(config), Box::new(rng), Box::new(|_| Some(0x0001_0001)));
        client.connect(now, from, to, None, None).unwrap();
        while let Some(message) = client.poll_transmit() {
            let meta = PuntMeta {
                class: PuntClass::L2tpControl,
                port: PortId(0),
                spi: None,
                src: from,
                dst: to,
                peer: Some(PeerId(peer.0)),
                session: None,
                ttl: 64,
            };
            g.handle_punt(now, &meta, &message.data);
            while let Some(output) = g.poll_output() {
                if let Output::Inject(_, m) = output
                    && matches!(m.how, Inject::Udp { peer: Some(p), .. } if p.0 == peer.0)
                {
                    client.handle_input(now, l2tp::Meta { local: from, remote: to, binding: None }, &m.data);
                }
            }
            while client.poll_event().is_some() {}
        }
        let own = |s: &&crate::subscriber::Subscriber| s.session.peer == Some(PeerId(peer.0));
        g.subscribers.values().find(own).unwrap().id
    }

    // Whose sessions they are, L2TP knows by the peer: none of them is forgotten, and no other is touched.
    #[test]
    fn sessions_move_and_end_with_their_peer() {
        let (now, mut g) = (Instant::now(), room_for(8));
        let peers = [1, 2, 3].map(|n| up(&mut g, n));
        let sessions = peers.map(|peer| session(&mut g, now, peer));
        let ends = |g: &Gateway, i: usize| g.subscribers.get(&sessions[i]).map(|s| s.session.outer);
        let before = [0, 1, 2].map(|i| ends(&g, i));
        let (local, remote) = ("192.0.2.7:500".parse().unwrap(), "198.51.100.2:500".parse().unwrap());
        g.ike_event(now, ike::Event::PeerMoved { peer: peers[1], local, remote, encap: false });
        let moved = OuterPath { local: (local.ip(), 1701).into(), remote: (remote.ip(), 1701).into() };
        assert_eq!([0, 1, 2].map(|i| ends(&g, i)), [before[0], Some(moved), before[2]]);

        // The second is about to end in order when its IKE SA goes.
        g.disconnect(now, sessions[1], Cause::AdminReset, "test");
        for (reason, (last, left)) in [(ike::DownReason::Deleted, (1, 2)), (ike::DownReason::Dead, (0, 1))] {
            g.ike_event(now, ike::Event::PeerDown { peer: peers[last], reason, remote_id: None });
            g.pump(now);
            assert_eq!((g.subscribers.len(), ends(&g, last), g.close_after.len()), (left, None, 0));
        }
        assert_eq!(ends(&g, 2), before[2]);
    }

    fn draw(g: &Gateway) -> Option<u32> {
        g.program.allocation().spi(WorkerId(0)).map(|spi| spi.0)
    }

    fn child(spi_in: u32, key: usize) -> Box<ike::Child> {
        let key = || ike::ChildKey { encr: vec![0; key].into(), integ: Vec::new().into() };
        let address = ([192, 0, 2, 9], 500).into();
        Box::new(ike::Child {
            spi_in,
            spi_out: 256,
            suite: ike::EspSuite { encr: (20, 128), integ: 0, esn: false, ke: None, addke1: None },
            mode: ike::Mode::Transport,
            tfc: true,
            inbound: key(),
            outbound: key(),
            local_ts: Vec::new(),
            remote_ts: Vec::new(),
            encap: false,
            local: address,
            remote: address,
            replaces: None,
            resource: None,
        })
    }

    fn down(peer: ike::PeerHandle, spi_in: u32, reason: ike::ChildDownReason) -> ike::Event {
        ike::Event::ChildDown { peer, spi_in, reason }
    }

    #[test]
    fn weak_means_are_told_once_for_each_sa() {
        let text = "ports: [{ name: a, device: d, zone: public, addresses: [192.0.2.1/24] }]\n\
                    listeners: [{ name: l, address: 192.0.2.1, ikev1: { weak: [sha1, modp1024], shared_secret: { secret: k } } }]\n";
        let config = Arc::new(Config::from_yaml("t", text).unwrap_or_else(|e| panic!("{e}")));
        let counters = vec![Arc::new(Counters::new(4, 4))];
        let now = Instant::now();
        let mut g = Gateway::new(config, now, &[MacAddr([2; 6])], counters, [7; 32]).unwrap();
        let peer = ike::PeerHandle(std::num::NonZeroU32::MIN);
        let up = ike::Event::PeerUp {
            peer,
            pad: "l/shared-secret".into(),
            local_id: "192.0.2.1".parse().unwrap(),
            remote_id: "alice@example.net".parse().unwrap(),
            local: "192.0.2.1:4500".parse().unwrap(),
            remote: "198.51.100.7:4500".parse().unwrap(),
            natt: true,
            initiator: false,
            suite: "aes256-sha1-modp1024".into(),
            eap_identity: None,
            version: 1,
            weak: vec!["sha1", "modp1024"],
        };
        g.ike_event(now, up);
        let told = |g: &mut Gateway| {
            let all = std::iter::from_fn(|| g.poll_audit());
            all.map(|r| format!("{:?} {} {}", r.verb, r.reason, r.ike_id.unwrap_or_default())).collect::<Vec<_>>()
        };
        // A shared secret proves nothing about whose identity is claimed.
        let who = "l/shared-secret: alice@example.net";
        assert_eq!(told(&mut g), [format!("Weak IKE SA: sha1,modp1024,shared_secret {who}")]);
        let mut old = child(draw(&g).unwrap(), 16);
        old.suite = ike::EspSuite { encr: (12, 128), integ: 2, esn: false, ke: None, addke1: None };
        for key in [&mut old.inbound, &mut old.outbound] {
            key.integ = vec![0; 20].into();
        }
        let mut new = old.clone();
        (new.spi_in, new.replaces) = (draw(&g).unwrap(), Some(old.spi_in));
        g.ike_event(now, ike::Event::ChildUp { peer, child: old, select: true });
        assert_eq!(told(&mut g), [format!("Weak child SA: sha1 {who}")]);
        g.ike_event(now, ike::Event::ChildUp { peer, child: new, select: true });
        assert!(told(&mut g).is_empty(), "a rekey is no news");
        let (to, answer) = tokio::sync::oneshot::channel();
        let all = crate::northbound::Select { filter: None, after: None, limit: 100 };
        g.handle_query(now, crate::northbound::Query::ChildSas(all, to));
        let children = answer.blocking_recv().unwrap().items;
        assert_eq!((children.len(), &children[0].weak[..]), (2, &["sha1"][..]));
        assert_eq!(g.control.child_refused, 0);
    }

    #[test]
    fn an_unused_spi_is_free_whether_its_peer_is_up_or_not() {
        let (mut g, peer) = gateway();
        let other = ike::PeerHandle(std::num::NonZeroU32::MAX);
        for peer in [peer, other] {
            let spi = draw(&g).unwrap();
            assert_eq!(draw(&g), None);
            g.ike_event(Instant::now(), down(peer, spi, ike::ChildDownReason::Unused));
        }
        assert!(draw(&g).is_some() && draw(&g).is_none());
    }

    #[test]
    fn a_child_that_goes_gives_its_spi_back_after_the_grace_time() {
        let (mut g, peer) = gateway();
        let spi = draw(&g).unwrap();
        let now = Instant::now();
        g.ike_event(now, ike::Event::ChildUp { peer, child: child(spi, 20), select: true });
        g.ike_event(now, down(peer, spi, ike::ChildDownReason::Deleted));
        assert_eq!(draw(&g), None);
        g.handle_timeout(now + Duration::from_secs(60));
        assert!(draw(&g).is_some() && draw(&g).is_none());
    }

    #[test]
    fn a_child_that_cannot_be_installed_gives_its_spi_back_once() {
        let (mut g, peer) = gateway();
        let spi = draw(&g).unwrap();
        g.ike_event(Instant::now(), ike::Event::ChildUp { peer, child: child(spi, 3), select: true });
        assert_eq!(g.control.child_refused, 1);
        g.ike_event(Instant::now(), down(peer, spi, ike::ChildDownReason::Deleted));
        let reason = ike::DownReason::Closed;
        g.ike_event(Instant::now(), ike::Event::PeerDown { peer, reason, remote_id: None });
        g.handle_timeout(Instant::now() + Duration::from_secs(60));
        assert!(draw(&g).is_some() && draw(&g).is_none());
    }
}
