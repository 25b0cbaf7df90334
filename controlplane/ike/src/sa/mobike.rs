//! MOBIKE (RFC 4555): the outer addresses of an IKE SA and its child SAs change, and nothing else does.
//!
//! ```text
//!   initiator, at its new address                        responder
//!   HDR, SK { N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_*) }  -->
//!                            <--  HDR, SK { N(NAT_DETECTION_*) }        the initiator's child SAs move
//!                            <--  HDR, SK { N(COOKIE2) }
//!   HDR, SK { N(COOKIE2) }  -->                                         the responder's child SAs move
//! ```
//!
//! Whoever set up the first IKE SA decides, over all rekeys. Requests follow to the new address at once; the child SAs
//! stay behind ([`Check::home`]) until the responder has answered, or the initiator has shown, by COOKIE2, that it
//! receives there (section 3.7): a datagram whose source somebody has changed sends nobody a flood. When COOKIE2 is
//! not answered for a while we ask at both places. An answer from the old one says that nobody has moved; one from the
//! new one proves nothing then, and we ask again.
//!
//! RFC 4555 speaks of tunnel mode. In transport mode the selectors name the outer addresses, and follow them
//! ([`super::child::follow`]), as they do with other implementations.

use super::established::{Established, Request, Task};
use super::nat::Nat;
use super::{Base, Ctx, Received, child};
use crate::error::{CallError, Failure};
use crate::event::{DownReason, Event, Meta};
use crate::message::{Body, ExchangeType};
use crate::payload::Builder;
use crate::payload::notify::NotifyType;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// For how long COOKIE2 is asked at the new address only.
const PROBE: Duration = Duration::from_secs(8);

/// Who we are to MOBIKE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The original initiator, which may move.
    Initiator,
    /// The original responder.
    Responder,
}

/// The IKE SA has moved and its child SAs have not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    /// Where they are.
    pub home: Meta,
    /// NATs on the new path.
    nat: Nat,
    /// The new address alone is asked until then.
    until: Instant,
}

/// COOKIE2 is out.
#[derive(Debug)]
pub(crate) struct Probe {
    cookie: [u8; 16],
    path: Meta,
}

#[cfg(test)]
impl Probe {
    /// As if something else had been asked.
    pub fn spoil(&mut self) {
        self.cookie[0] ^= 1;
    }
}

/// NO_NATS_ALLOWED (section 3.9): source and destination address, then the ports.
fn no_nats(path: Meta) -> Vec<u8> {
    let octets = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (from, to) = (path.remote, path.local);
    [octets(from), octets(to), from.port().to_be_bytes().to_vec(), to.port().to_be_bytes().to_vec()].concat()
}

impl Established {
    /// Where the child SAs are.
    pub fn home(&self, base: &Base) -> Meta {
        self.check.map_or(base.path(), |check| check.home)
    }

    /// Where else a request is repeated.
    pub fn elsewhere(&self, now: Instant) -> Option<Meta> {
        let asked = self.channel.mobike == Some(Role::Responder);
        self.check.filter(|check| asked && now >= check.until).map(|check| check.home)
    }

    /// The child SAs go from where they are to where the IKE SA is, with the NATs that are on that path.
    pub fn relocate(&mut self, base: &Base, ctx: &mut Ctx<'_>, from: Meta, nat: Nat) {
        let (to, encap) = (base.path(), nat.any());
        let changed = from != to || encap != self.channel.nat.any();
        self.check = None;
        self.behind(ctx, nat);
        let pad = Arc::clone(&self.pad);
        for child in &mut self.children {
            child::follow(&pad.child, &mut child.local_ts, &mut child.remote_ts, from, to);
        }
        for agreement in self.agreements() {
            agreement.follow(&pad.child, from, to);
        }
        if let (true, Some(peer)) = (changed && !self.superseded, base.peer) {
            ctx.events.push_back(Event::PeerMoved { peer, local: to.local, remote: to.remote, encap });
        }
    }

    /// A NAT in front of the peer has given it another binding. Behind a NAT ourselves we follow only who has found us:
    /// the peer's address may be all that keeps ours open (RFC 7296, section 2.23; RFC 3947, section 6).
    pub fn rebound(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, path: Meta) {
        let nat = self.channel.nat;
        if nat.remote && (!nat.local || self.channel.found) && path.remote != base.remote && self.check.is_none() {
            let from = base.path();
            (base.local, base.remote) = (path.local, path.remote);
            self.relocate(base, ctx, from, nat);
        }
    }

    // --- the initiator ---

    /// We are at `path` now.
    pub fn move_local(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, path: Meta) -> Result<(), CallError> {
        if self.channel.mobike != Some(Role::Initiator) || self.closing.is_some() {
            return Err(CallError::NoMobike);
        }
        let (home, nat) = (self.home(base), self.channel.nat);
        self.check = Some(Check { home, nat, until: ctx.now });
        self.speak_from(base, ctx, path);
        Ok(())
    }

    /// Sends from `path` from now on. An IKE SA that we have replaced on the peer's request is to the peer the current
    /// one until it has our answer, so that it has to hear of a move as well.
    pub fn speak_from(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, path: Meta) {
        (base.local, base.remote) = (path.local, path.remote);
        base.window.hurry(ctx.now, ctx.policy.config.timers.retransmit);
        if self.closing.is_none() {
            self.queue_first(Task::Update);
            self.pump(base, ctx);
        }
    }

    /// Sends UPDATE_SA_ADDRESSES.
    pub fn start_update(&mut self, base: &mut Base, ctx: &mut Ctx<'_>) {
        let mut chain = Builder::new();
        chain.notify(NotifyType::UPDATE_SA_ADDRESSES, &[]);
        self.announce(base, base.path(), &mut chain);
        base.request(ctx, &mut self.channel, ExchangeType::INFORMATIONAL, &chain);
        self.request = Request::Update(base.path());
    }

    /// Handles the answer to UPDATE_SA_ADDRESSES from `path`.
    pub fn finish_update(&mut self, base: &Base, ctx: &mut Ctx<'_>, path: Meta, received: &Received<'_>) {
        // Section 3.5: after another move this answer means nothing; one about that is to come.
        if path != base.path() || self.superseded {
            return;
        }
        if let Some(error) = received.body.error() {
            // Refused here, and who knows whether there still is a way back: the owner has to begin anew.
            return self.queue_close(DownReason::Failed(Failure::Notified(error.kind)));
        }
        let nat = self.detected(base, received).unwrap_or(self.channel.nat);
        self.seen_as = seen_as(&received.body);
        if nat != self.channel.nat {
            // Of several copies of our request the responder has answered the first one, which may have come another way
            // than the others. Asking once more has both ends believe in the same NATs.
            self.queue_first(Task::Update);
        }
        self.relocate(base, ctx, self.home(base), nat);
    }

    /// Section 3.8: behind a NAT we ask how we are seen together with the sign of life.
    pub fn ask_how_seen(&self, base: &Base, chain: &mut Builder) {
        if self.channel.mobike == Some(Role::Initiator) && self.channel.nat.local {
            self.announce(base, base.path(), chain);
        }
    }

    /// When the NAT has given us another binding, the responder is told so.
    pub fn hear_how_seen(&mut self, body: &Body<'_>) {
        let now = seen_as(body);
        if self.channel.mobike == Some(Role::Initiator) && now.is_some() {
            let before = std::mem::replace(&mut self.seen_as, now);
            if before.is_some() && before != self.seen_as {
                self.queue_first(Task::Update);
            }
        }
    }

    fn announce(&self, base: &Base, path: Meta, chain: &mut Builder) {
        let (spi_i, spi_r) = base.spis();
        let pretend = self.pad.force_encap && self.channel.mobike == Some(Role::Initiator);
        Nat::announce(chain, spi_i, spi_r, path.local, path.remote, pretend);
    }

    /// NATs that a message shows, if it speaks of them.
    fn detected(&self, base: &Base, received: &Received<'_>) -> Option<Nat> {
        if !received.body.has(NotifyType::NAT_DETECTION_SOURCE_IP) {
            return None;
        }
        let ((spi_i, spi_r), Meta { local, remote }) = (base.spis(), received.meta);
        let mut nat = Nat::detect(&received.body, spi_i, spi_r, local, remote);
        nat.local |= self.pad.force_encap && self.channel.mobike == Some(Role::Initiator);
        Some(nat)
    }

    // --- the responder ---

    /// Answers what an INFORMATIONAL request says about addresses. ADDITIONAL_*_ADDRESS is of no use to us: we do not
    /// begin to use another path by ourselves.
    pub fn answer_mobike(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, received: &Received<'_>, chain: &mut Builder) {
        let body = &received.body;
        if self.channel.mobike.is_none() {
            return;
        }
        if let Some(cookie) = body.notify(NotifyType::COOKIE2).filter(|n| (8..=64).contains(&n.data.len())) {
            chain.notify(NotifyType::COOKIE2, cookie.data);
        }
        let asked = self.channel.mobike == Some(Role::Responder) && body.has(NotifyType::UPDATE_SA_ADDRESSES);
        if asked && let Err(kind) = acceptable(base, received) {
            chain.notify(kind, &[]);
            return;
        }
        if body.has(NotifyType::NAT_DETECTION_SOURCE_IP) {
            self.announce(base, received.meta, chain);
        }
        if asked && !self.superseded && self.closing.is_none() {
            self.peer_says_moved(base, ctx, received);
        }
    }

    fn peer_says_moved(&mut self, base: &mut Base, ctx: &mut Ctx<'_>, received: &Received<'_>) {
        let (home, nat) = (self.home(base), self.detected(base, received).unwrap_or(self.channel.nat));
        let moves = received.meta != base.path();
        (base.local, base.remote) = (received.meta.local, received.meta.remote);
        self.tasks.retain(|t| *t != Task::Probe);
        if home == base.path() || !self.pad.return_routability {
            self.relocate(base, ctx, home, nat);
        } else {
            self.check = Some(Check { home, nat, until: ctx.now + PROBE });
            self.queue_first(Task::Probe);
        }
        if moves {
            base.window.hurry(ctx.now, ctx.policy.config.timers.retransmit);
        }
    }

    /// Sends COOKIE2 to where the peer says it is.
    pub fn start_probe(&mut self, base: &mut Base, ctx: &mut Ctx<'_>) {
        let Some(check) = &mut self.check else { return };
        check.until = ctx.now + PROBE;
        let mut cookie = [0; 16];
        ctx.rng.fill_bytes(&mut cookie);
        let mut chain = Builder::new();
        chain.notify(NotifyType::COOKIE2, &cookie);
        base.request(ctx, &mut self.channel, ExchangeType::INFORMATIONAL, &chain);
        self.request = Request::Probe(Probe { cookie, path: base.path() });
    }

    /// Handles the answer to COOKIE2.
    pub fn finish_probe(&mut self, base: &Base, ctx: &mut Ctx<'_>, probe: &Probe, body: &Body<'_>) {
        let cookie = body.notify(NotifyType::COOKIE2);
        if !cookie.is_some_and(|n| bool::from(n.data.ct_eq(&probe.cookie))) {
            return self.queue_close(DownReason::Failed(Failure::Protocol("COOKIE2 does not match")));
        }
        let Some(check) = self.check.filter(|_| !self.superseded) else { return };
        if probe.path == base.path() && ctx.now < check.until {
            self.relocate(base, ctx, check.home, check.nat);
        } else {
            // It may have been received elsewhere.
            self.queue_first(Task::Probe);
        }
    }

    /// An answer from where the child SAs are, after nobody has answered at the new address: nobody has moved.
    pub fn stays(&mut self, base: &mut Base, now: Instant, seen: Meta) {
        if let Some(home) = self.elsewhere(now).filter(|home| seen.remote == home.remote && seen.remote != base.remote)
        {
            (base.local, base.remote) = (home.local, home.remote);
            self.check = None;
            self.tasks.retain(|t| *t != Task::Probe);
        }
    }
}

/// The hash of the address by which the peer sees us.
fn seen_as(body: &Body<'_>) -> Option<Vec<u8>> {
    body.notify(NotifyType::NAT_DETECTION_DESTINATION_IP).map(|n| n.data.to_vec())
}

/// Whether the peer may be where its request comes from.
fn acceptable(base: &Base, received: &Received<'_>) -> Result<(), NotifyType> {
    let Meta { remote, .. } = received.meta;
    let forbidden = received.body.notify(NotifyType::NO_NATS_ALLOWED);
    if forbidden.is_some_and(|n| n.data != no_nats(received.meta)) {
        return Err(NotifyType::UNEXPECTED_NAT_DETECTED);
    }
    let nowhere = remote.ip().is_unspecified() || remote.ip().is_multicast() || remote.port() == 0;
    // The selectors of transport mode, and what the SAs carry, are of one family.
    if nowhere || remote.is_ipv4() != base.remote.is_ipv4() {
        return Err(NotifyType::UNACCEPTABLE_ADDRESSES);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    #[test]
    fn no_nats_allowed_golden() {
        let path = |local: &str, remote: &str| Meta { local: local.parse().unwrap(), remote: remote.parse().unwrap() };
        assert_eq!(no_nats(path("198.51.100.1:4500", "192.0.2.7:4501")), hex!("c0000207 c6336401 1195 1194"));
        assert_eq!(
            no_nats(path("[2001:db8::1]:500", "[2001:db8::2]:4500")),
            hex!("20010db8000000000000000000000002 20010db8000000000000000000000001 1194 01f4")
        );
    }
}
