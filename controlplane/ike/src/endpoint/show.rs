//! What the API shows of peers: one after the other, each described when it is asked for.

use super::Endpoint;
use crate::auth::Identity;
use crate::event::PeerHandle;
use crate::info::IkeSaInfo;
use crate::sa::State;
use std::net::SocketAddr;
use std::ops::Bound;

impl Endpoint {
    /// The current IKE SA of each peer.
    pub fn sas(&self) -> impl Iterator<Item = IkeSaInfo> + '_ {
        self.peers_after(None).filter_map(|peer| self.sa(peer))
    }

    /// Peers, up or on their way, in the order of their handles, from the one after this one on.
    pub fn peers_after(&self, after: Option<PeerHandle>) -> impl Iterator<Item = PeerHandle> + '_ {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut v2 = self.peers.range((from, Bound::Unbounded)).map(|(peer, _)| *peer).peekable();
        let mut v1 = self.v1.peers_from(from).peekable();
        std::iter::from_fn(move || match (v2.peek(), v1.peek()) {
            (Some(two), Some(one)) if one < two => v1.next(),
            (Some(_), _) => v2.next(),
            (None, _) => v1.next(),
        })
    }

    /// How many these are.
    pub fn peer_count(&self) -> usize {
        self.peers.len() + self.v1.peer_count()
    }

    /// Where a peer is, and who, if it has proved that.
    pub fn whom(&self, peer: PeerHandle) -> Option<(SocketAddr, Option<&Identity>)> {
        let Some(record) = self.peers.get(&peer) else { return self.v1.whom(peer) };
        let sa = self.sas.get(&record.spi)?;
        let id = if let State::Established(s) = &sa.state { Some(&*s.remote.id) } else { None };
        Some((sa.base.remote, id))
    }

    /// The current IKE SA of a peer.
    pub fn sa(&self, peer: PeerHandle) -> Option<IkeSaInfo> {
        let Some(record) = self.peers.get(&peer) else { return self.v1.sa(peer) };
        let sa = self.sas.get(&record.spi)?;
        let (spi_i, spi_r) = sa.base.spis();
        let mut info = IkeSaInfo {
            peer,
            pad: None,
            spi_i,
            spi_r,
            state: sa.state.name(),
            local_id: None,
            remote_id: None,
            eap_identity: None,
            local: sa.base.local,
            remote: sa.base.remote,
            suite: None,
            natt: false,
            mobike: false,
            since: sa.base.created,
            children: Vec::new(),
            version: 2,
            weak: Vec::new(),
        };
        if let State::Established(s) = &sa.state {
            info.pad = Some(s.pad.name.clone());
            info.local_id = Some(s.pad.local_id.clone());
            info.remote_id = Some(Identity::clone(&s.remote.id));
            info.eap_identity = s.remote.eap.as_deref().map(str::to_owned);
            info.suite = Some(s.channel.suite.to_string());
            info.natt = s.channel.nat.any();
            info.mobike = s.channel.mobike.is_some();
            info.children = s.children.iter().map(|c| c.spi_in).collect();
        }
        Some(info)
    }
}
