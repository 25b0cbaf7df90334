//! Calls of the owner, and what the API shows.

use super::{Key, Table};
use crate::auth::{Identity, RemoteAuth};
use crate::error::CallError;
use crate::event::{DownReason, Event, Meta, PeerHandle};
use crate::info::IkeSaInfo;
use crate::sa::Ctx;
use crate::v1::main_mode;
use crate::v1::payload::Delete;
use crate::v1::peer::Peer;
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::Arc;

impl Table {
    /// Starts to connect.
    pub fn initiate(&mut self, ctx: &mut Ctx<'_>, pad: &str, path: Meta) -> Result<PeerHandle, CallError> {
        let pad = Arc::clone(ctx.policy.named(pad).ok_or(CallError::UnknownPad)?);
        let listener = ctx.policy.v1(path.local.ip()).ok_or(CallError::UnknownPad)?;
        let peer = ctx.handles.take().ok_or(CallError::Resources)?;
        match main_mode::initiate(ctx, &listener.proposals, Arc::clone(&pad), path) {
            Ok(mut sa) => {
                sa.peer = Some(peer);
                self.peers.insert(peer, Box::new(Peer::new(ctx.now, pad, path, sa.cookie)));
                self.put(ctx, Box::new(sa));
                Ok(peer)
            }
            Err(error) => {
                ctx.handles.release(peer);
                Err(error)
            }
        }
    }

    /// Makes a new ISAKMP SA for a peer, unless one is being made.
    pub fn rekey_ike(&mut self, ctx: &mut Ctx<'_>, handle: PeerHandle) -> Result<(), CallError> {
        let peer = self.peers.get_mut(&handle).filter(|p| p.id.is_some()).ok_or(CallError::UnknownPeer)?;
        let listener = ctx.policy.v1(peer.path.local.ip()).ok_or(CallError::UnknownPad)?;
        if peer.sas.iter().any(|cookie| self.sas.get(cookie).is_some_and(|sa| sa.up().is_none())) {
            return Ok(());
        }
        let mut sa = main_mode::initiate(ctx, &listener.proposals, Arc::clone(&peer.pad), peer.path)?;
        (sa.peer, sa.joins) = (Some(handle), true);
        peer.sas.push(sa.cookie);
        self.put(ctx, Box::new(sa));
        Ok(())
    }

    /// Makes a new pair in the place of this one; under a new ISAKMP SA, where there is none any more.
    pub fn rekey_child(&mut self, ctx: &mut Ctx<'_>, spi_in: u32) -> Result<(), CallError> {
        let handle = self.owner(spi_in).ok_or(CallError::UnknownChild)?;
        if !self.has_up(handle) {
            self.rekey_ike(ctx, handle)?;
        }
        if let Some(child) = self.peers.get_mut(&handle).and_then(|peer| peer.child_mut(spi_in)) {
            child.rekey_at = Some(ctx.now);
        }
        self.peer_timeout(ctx, handle);
        Ok(())
    }

    /// A packet came in on a child SA: the peer lives, and has the other half.
    pub fn child_used(&mut self, ctx: &mut Ctx<'_>, spi_in: u32) {
        let Some((handle, peer)) = self.owner(spi_in).and_then(|h| self.peers.get_mut(&h).map(|p| (h, p))) else {
            return;
        };
        peer.heard(ctx.now);
        if peer.children.iter().any(|c| c.spi_in == spi_in && c.unconfirmed) {
            peer.select(ctx, handle, spi_in);
            for cookie in peer.sas.clone() {
                if let Some(mut sa) = self.take(cookie) {
                    sa.quick.iter_mut().for_each(|q| q.settle(spi_in));
                    self.put(ctx, sa);
                }
            }
        }
    }

    /// An authentic ESP packet came from another address or port.
    pub fn peer_moved(&mut self, ctx: &mut Ctx<'_>, handle: PeerHandle, remote: SocketAddr) {
        if let Some(peer) = self.peers.get_mut(&handle) {
            let path = Meta { local: peer.path.local, remote };
            peer.moves(ctx, handle, path);
        }
    }

    /// Judges the peers' certificates anew (H24).
    pub fn recheck(&mut self, ctx: &mut Ctx<'_>) {
        let revoked = |peer: &Peer| {
            let pad = ctx.policy.named(&peer.pad.name).unwrap_or(&peer.pad);
            let (RemoteAuth::Certificate(trust), Some(now)) = (&pad.remote_auth, ctx.unix) else { return false };
            !peer.chain.is_empty() && trust.revokes(&peer.chain, now)
        };
        let gone: Vec<PeerHandle> = self.peers.iter().filter(|(_, p)| revoked(p)).map(|(h, _)| *h).collect();
        for handle in gone {
            self.down(ctx, handle, DownReason::Revoked);
        }
    }

    /// Ends a peer: deletes all that it has, which nobody answers, and reports it.
    pub fn down(&mut self, ctx: &mut Ctx<'_>, handle: PeerHandle, reason: DownReason) {
        let Some(peer) = self.peers.get(&handle) else { return };
        let (path, cookies) = (peer.path, peer.sas.clone());
        let mut spis: Vec<u32> = peer.children.iter().map(|c| c.spi_in).collect();
        for cookie in cookies.into_iter().rev() {
            let Some(mut sa) = self.take(cookie) else { continue };
            if sa.up().is_some() && !spis.is_empty() {
                sa.delete(ctx, path, &Delete::Esp(std::mem::take(&mut spis)));
            }
            let cookies = sa.cookies();
            sa.delete(ctx, path, &Delete::Isakmp(vec![cookies]));
            self.put(ctx, sa);
        }
        self.forget(ctx, handle, reason);
    }

    /// Forgets a peer and its SAs, and reports it.
    pub(super) fn forget(&mut self, ctx: &mut Ctx<'_>, handle: PeerHandle, reason: DownReason) {
        let Some(mut peer) = self.peers.remove(&handle) else { return };
        for cookie in &peer.sas {
            if let Some(mut sa) = self.take(*cookie) {
                self.ended(ctx, &mut sa, DownReason::Closed);
                self.put(ctx, sa);
            }
        }
        for child in &peer.children {
            self.children.remove(&child.spi_in);
        }
        if let Some(id) = &peer.id
            && let Some(same) = self.identities.get_mut(id)
        {
            same.retain(|other| *other != handle);
            if same.is_empty() {
                self.identities.remove(id);
            }
        }
        self.timers.set(Key::Peer(handle), &mut peer.deadline, None);
        ctx.handles.release(handle);
        ctx.events.push_back(Event::PeerDown { peer: handle, reason, remote_id: peer.id });
    }

    #[cfg(test)]
    pub fn isakmp_sas(&self) -> usize {
        self.sas.len()
    }

    /// Identities of peers.
    #[cfg(test)]
    pub fn known(&self) -> usize {
        self.identities.len()
    }

    /// What the inbound key of a pair that waits for message 3 would be, had there been no key exchange.
    #[cfg(test)]
    pub fn keys_without_key_exchange(&self, spi_in: u32) -> crate::crypto::Secret {
        let find = |sa: &crate::v1::isakmp::Isakmp| {
            let keys = sa.up()?.keys.clone();
            let (ni, nr) = sa.quick.iter().find_map(|q| q.nonces(spi_in))?;
            Some(keys.keymat(None, spi_in, ni, nr, 36))
        };
        self.sas.values().find_map(|sa| find(sa)).unwrap()
    }

    /// Tells a peer something under its newest ISAKMP SA.
    #[cfg(test)]
    pub fn say(&mut self, ctx: &mut Ctx<'_>, handle: PeerHandle, write: impl FnOnce(&mut crate::payload::Builder)) {
        let mut sa = self.current(handle).unwrap();
        let path = sa.path;
        sa.inform(ctx, path, write);
        self.put(ctx, sa);
    }

    /// Peers in the order of their handles.
    pub fn peers_from(&self, from: Bound<PeerHandle>) -> impl Iterator<Item = PeerHandle> + '_ {
        self.peers.range((from, Bound::Unbounded)).map(|(peer, _)| *peer)
    }

    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Where a peer is, and who, if it has proved that.
    pub fn whom(&self, handle: PeerHandle) -> Option<(SocketAddr, Option<&Identity>)> {
        self.peers.get(&handle).map(|peer| (peer.path.remote, peer.id.as_ref()))
    }

    /// What the API shows of a peer.
    pub fn sa(&self, handle: PeerHandle) -> Option<IkeSaInfo> {
        let peer = self.peers.get(&handle)?;
        let sa = peer.sas.last().and_then(|cookie| self.sas.get(cookie));
        let suite = sa.and_then(|sa| sa.up()).map(|up| up.keys.suite());
        let weak: Vec<&'static str> = suite.map(|s| s.weak()).unwrap_or_default().iter().map(|w| w.name()).collect();
        let (spi_i, spi_r) = sa.map_or((0, 0), |sa| sa.cookies());
        let state = match (peer.id.is_some(), sa) {
            (false, _) => "main-mode",
            (true, Some(_)) => "established",
            (true, None) => "children-only",
        };
        Some(IkeSaInfo {
            peer: handle,
            version: 1,
            weak,
            pad: peer.id.is_some().then(|| peer.pad.name.clone()),
            spi_i,
            spi_r,
            state,
            local_id: peer.id.is_some().then(|| peer.pad.local_id.clone()),
            remote_id: peer.id.clone(),
            eap_identity: None,
            local: peer.path.local,
            remote: peer.path.remote,
            suite: suite.map(|s| s.to_string()),
            natt: peer.nat.any(),
            mobike: false,
            since: sa.map_or(peer.since, |sa| sa.created),
            children: peer.children.iter().map(|c| c.spi_in).collect(),
        })
    }
}
