//! Who has to go when the configuration has changed, and the listeners that stay until they have.

use super::Gateway;
use crate::accounting::Cause;
use crate::config::mesh::Mode;
use crate::config::{self, Config, Listener, PeerAuth, Protection};
use crate::mesh;
use crate::peer::Peer;
use crate::subscriber::{State, Subscriber};
use dataplane_api::PeerId;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Time between looks at listeners that are leaving.
const LOOK: Duration = Duration::from_secs(1);

/// What of an entry of the PAD the SAs that are up depend on.
#[derive(PartialEq)]
struct Entry<'a> {
    id: &'a str,
    proof: [PeerAuth; 2],
    ends: Option<(IpAddr, Option<IpAddr>)>,
    softwire: Option<(&'a str, Option<Mode>)>,
    bgp: bool,
}

impl<'a> Entry<'a> {
    fn new(config: &'a Config, p: &'a config::Peer) -> Self {
        Self {
            id: &p.id,
            proof: [p.auth, p.proves_us()],
            ends: p.address.map(|remote| (remote, mesh::end(config, p))),
            softwire: p.softwire.as_deref().map(|name| (name, config.mesh.profile(name).map(|f| f.mode))),
            bgp: p.bgp,
        }
    }
}

fn pad(config: &Config) -> HashMap<&str, Entry<'_>> {
    config.ike.peers.iter().map(|p| (p.name.as_str(), Entry::new(config, p))).collect()
}

/// Names by which a peer may come up: entries of the PAD, each with its place there, and shared secrets of listeners.
pub(super) struct Entries(HashMap<String, Option<usize>>);

impl Entries {
    pub fn of(config: &Config) -> Self {
        let shared = config.listeners.iter().filter(|l| has_secret(l)).map(Listener::shared_secret_entry);
        let places = config.ike.peers.iter().enumerate().map(|(i, p)| (p.name.clone(), Some(i)));
        Self(shared.map(|name| (name, None)).chain(places).collect())
    }

    /// The entry of the PAD with this name, in the configuration that these are of.
    pub fn find<'a>(&self, config: &'a Config, name: &str) -> Option<&'a config::Peer> {
        config.ike.peers.get((*self.0.get(name)?)?)
    }
}

fn has_secret(l: &Listener) -> bool {
    l.ikev1.as_ref().is_some_and(|v1| v1.shared_secret.is_some())
}

impl Gateway {
    /// Peers that could not be up as the configuration is now.
    pub(super) fn ended_peers(&self, old: &Config) -> HashSet<PeerId> {
        let (was, is) = (pad(old), pad(&self.config));
        let stays = |p: &Peer| {
            let entry = is.get(p.pad.as_str());
            let known =
                entry.is_some() && entry == was.get(p.pad.as_str()) || p.shared_secret && self.has_secret(&p.pad);
            let served = |l: &Listener| l.protection == Protection::Ipsec && (p.version != 1 || l.ikev1.is_some());
            let here = p.local.ip();
            let at = match self.config.listener(here) {
                _ if entry.is_some_and(|e| e.ends.is_some()) => true,
                Some(listener) => served(listener),
                None => old.listener(here).is_none(),
            };
            known && at
        };
        self.peers.iter().filter(|(_, p)| !stays(p)).map(|(id, _)| *id).collect()
    }

    /// A listener's shared secret is the entry.
    fn has_secret(&self, entry: &str) -> bool {
        self.config.listeners.iter().filter(|l| has_secret(l)).any(|l| l.shared_secret_entry() == entry)
    }

    /// Whether who has come up by this entry, at this address of ours, may stay: the configuration may have changed since
    /// he began. An AFBR is served at our end of the mesh or of BGP, whatever listener there was at the same address.
    pub(super) fn admits(&self, entry: &str, here: IpAddr, afbr: bool) -> bool {
        self.entries.0.contains_key(entry) && (afbr || !self.leaving.iter().any(|l| l.address == here))
    }

    /// Ends them and the sessions that hang on them, those of listeners that have changed, and those of subscribers who
    /// are gone: PPP, L2TP, then the IKE SA (H47), unless somebody else's session needs it.
    pub(super) fn end_sessions(&mut self, now: Instant, old: &Config, ended: &HashSet<PeerId>) {
        let config = std::sync::Arc::clone(&self.config);
        let users = |c: &Config| c.subscribers.iter().map(|s| s.user.clone()).collect::<HashSet<_>>();
        let same = old.subscribers == config.subscribers;
        let gone = if same { HashSet::new() } else { &users(old) - &users(&config) };
        let why = |s: &Subscriber| match config.listener(s.session.outer.local.ip()) {
            None => Some("its listener is gone"),
            Some(l) if (l.protection == Protection::Ipsec) != s.session.peer.is_some() => {
                Some("its listener is protected otherwise now")
            }
            Some(l) if s.anonymous && !l.anonymous => Some("its listener admits nobody without authentication now"),
            _ if s.session.peer.is_some_and(|p| ended.contains(&p)) => Some("its IKE peer may not connect any more"),
            _ if !s.radius && s.profile.is_some() && gone.contains(&s.user) => Some("there is no such subscriber now"),
            _ => None,
        };
        let up = || self.subscribers.values().filter(|s| s.state != State::Closing);
        let ending: Vec<_> = up().filter_map(|s| Some((s.id, s.session.peer, why(s)?))).collect();
        let stay: HashSet<PeerId> = up().filter(|s| why(s).is_none()).filter_map(|s| s.session.peer).collect();
        for (id, peer, why) in ending {
            self.disconnect(now, id, Cause::AdminReset, why);
            match peer {
                Some(peer) if ended.contains(&peer) => drop(self.close_after.insert(id, peer)),
                Some(peer) if stay.contains(&peer) => drop(self.close_after.remove(&id)),
                _ => {}
            }
        }
        for peer in ended {
            // An entry that is gone is no AFBR's: he is waited for like everybody else.
            if let Some(p) = self.peers.get_mut(peer) {
                p.afbr &= self.mesh.guards(&p.pad);
            }
        }
        let waited_for: HashSet<PeerId> = self.close_after.values().copied().collect();
        ended.difference(&waited_for).for_each(|peer| self.close_peer(now, *peer));
        let other = |l: &Listener| config.listener(l.address).is_none_or(|new| new.protection != l.protection);
        self.leaving.retain(other);
        let mut leaving: Vec<_> = old.listeners.iter().filter(|l| other(l)).cloned().collect();
        leaving.retain(|l| self.leaving.iter().all(|known| known.address != l.address));
        self.leaving.append(&mut leaving);
        self.leave(now);
    }

    /// Listeners where nobody is left are gone.
    pub(super) fn leave(&mut self, now: Instant) {
        let mut leaving = std::mem::take(&mut self.leaving);
        leaving.retain(|l| self.serves(l.address));
        self.leave_at = (!leaving.is_empty()).then(|| now + LOOK);
        self.leaving = leaving;
        self.publish_policy();
    }

    /// Whether anybody but AFBRs is there.
    fn serves(&self, here: IpAddr) -> bool {
        let peer = |p: &Peer| !p.afbr && p.local.ip() == here;
        let session = |s: &Subscriber| s.session.outer.local.ip() == here;
        let tunnel = |t: l2tp::TunnelInfo| t.local.ip() == here && t.state != l2tp::fsm::tunnel::State::Stopped;
        self.peers.values().any(peer) || self.subscribers.values().any(session) || self.l2tp.tunnels().any(tunnel)
    }
}
