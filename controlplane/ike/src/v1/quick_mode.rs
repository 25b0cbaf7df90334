//! Quick mode (RFC 2409, section 5.5): a pair of ESP SAs.
//!
//! ```text
//!   1  HDR*, HASH(1), SA, Ni [, KE] [, IDci, IDcr] [, NAT-OAi, NAT-OAr]   ─►
//!                            ◄─  HDR*, HASH(2), SA, Nr [, KE] [, IDci, IDcr] [, NAT-OAi, NAT-OAr]   2
//!   3  HDR*, HASH(3)                                                      ─►
//! ```
//!
//! The identities are selectors, and are not narrowed: the answer repeats them, and we carry the part of them that the
//! policy allows. In transport mode through a NAT they name addresses that the other end does not see; what the messages
//! show takes their place (RFC 3947, section 5.2), and the inner checksums are of no account, since the ICV covers them.
//! The inbound half is in place before message 2 leaves; we send once message 3, or a packet, shows that the peer has
//! the other. The initiator does not hear when the responder has taken message 3: a pair that takes the place of another
//! is sent on when a packet has come on it, or some time has gone by, or the other is gone.

mod exchange;

use super::config::Listener;
use super::crypto::Keys;
use super::isakmp::{Isakmp, digest};
use super::main_mode::MIN_LIFETIME;
use super::message::{Exchange, Header};
use super::payload::{self, Body, Delete, kind, notify};
use super::peer::{Child as Kept, Peer};
use super::proposal::{Encap, Phase2Choice, choose_phase2, offer_phase2, offered_group};
use super::{nat, sa_payload};
use crate::config::{Mode, TsPattern};
use crate::crypto::{KeMethod, KeyExchange, Secret, respond};
use crate::error::Failure;
use crate::event::{Child, ChildDownReason, ChildKey, Event, Meta, PeerHandle};
use crate::payload::Builder;
use crate::payload::ts::TrafficSelector;
use crate::sa::Ctx;
use crate::sa::child::{follow, shorten};
use crate::sa::window::Unanswered;
pub(super) use exchange::{Lost, Quick, TimedOut};
use exchange::{Offer, Stage, lifetime};
use std::net::IpAddr;
use std::slice;
use std::time::Duration;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Type of an identity that is a host name (RFC 2407, section 4.6.2.3).
const ID_FQDN: u8 = 2;
/// Exchanges of one ISAKMP SA at a time.
const MAX_EXCHANGES: usize = 16;
/// Pairs of one peer; the oldest gives way.
const MAX_CHILDREN: usize = 16;
/// How much longer than its lifetime a pair lasts.
const GRACE: Duration = Duration::from_secs(60);
/// How long after message 3 we send on the old pair, when no packet comes on the new one.
const SETTLE: Duration = Duration::from_secs(5);
/// The lifetime that we offer where the policy names none.
const LIFETIME: Duration = Duration::from_secs(3600);

/// Why an offer is refused: the notification, and what the log says.
struct Refusal(u16, Failure);

/// What both have agreed on.
struct Agreement<'a> {
    choice: &'a Phase2Choice,
    spi_in: u32,
    local_ts: TrafficSelector,
    remote_ts: TrafficSelector,
    ni: &'a [u8],
    nr: &'a [u8],
    shared: Option<&'a Secret>,
    replaces: Option<u32>,
    /// We initiated the exchange.
    initiator: bool,
}

/// A selector as we see it: an address that a NAT hides is what the messages show. Old Windows names itself by its host
/// name.
fn seen(id: Option<&&[u8]>, hidden: bool, outer: IpAddr) -> Option<TrafficSelector> {
    let Some(id) = id else { return Some(TrafficSelector::host(0, (0, u16::MAX), outer)) };
    match **id {
        [ID_FQDN, protocol, hi, lo, ..] => {
            let port = u16::from_be_bytes([hi, lo]);
            let ports = if port == 0 { (0, u16::MAX) } else { (port, port) };
            Some(TrafficSelector::host(protocol, ports, outer))
        }
        _ => {
            let ts = payload::parse_phase2_id(id).ok()?;
            let addresses = if hidden && ts.is_host() { (outer, outer) } else { ts.addresses };
            Some(TrafficSelector { addresses, ..ts })
        }
    }
}

/// The part of a selector that the policy allows.
fn allowed(ts: &TrafficSelector, patterns: &[TsPattern], outer: IpAddr) -> Option<TrafficSelector> {
    patterns.iter().flat_map(|p| p.resolve(outer)).find_map(|pattern| ts.intersect(&pattern))
}

impl Isakmp {
    /// Takes a message of quick mode. False: it was not authentic, or not for us.
    pub(super) fn quick_mode(
        &mut self,
        ctx: &mut Ctx<'_>,
        listener: &Listener,
        (handle, peer): (PeerHandle, &mut Peer),
        meta: Meta,
        header: &Header,
        message: &[u8],
    ) -> bool {
        let Some(up) = self.up().filter(|_| header.encrypted && header.message_id != 0) else { return false };
        let at = self.quick.iter().position(|q| q.message_id == header.message_id);
        let known = digest(message);
        if let Some(q) = at.and_then(|at| self.quick.get(at)).filter(|q| q.last.0 == known) {
            for data in &q.last.1 {
                ctx.send(meta.local, meta.remote, data.clone());
            }
            return true;
        }
        let keys = up.keys.clone();
        let mut iv = match at.and_then(|at| self.quick.get(at)) {
            Some(q) => q.iv.clone(),
            None => keys.later_iv(&up.last_block, header.message_id),
        };
        let Some(plain) = keys.open(message, &mut iv) else { return false };
        let Some(body) = Body::parse(header.next, &plain, true).ok().filter(|b| b.hash_first) else { return false };
        let Some(at) = at else {
            let right = is(&body, &keys.hash1(header.message_id, body.after_hash));
            if !right || self.quick.len() >= MAX_EXCHANGES || !self.remember(header.message_id) {
                return false;
            }
            peer.heard(ctx.now);
            peer.moves(ctx, handle, meta);
            self.respond(ctx, listener, (handle, peer), meta, header.message_id, iv, known, &keys, &body);
            return true;
        };
        let mut q = self.quick.swap_remove(at);
        let taken = match std::mem::replace(&mut q.stage, Stage::Over) {
            Stage::Replied { spi_in, ni, nr } if is(&body, &keys.hash3(header.message_id, &ni, &nr)) => {
                q.unanswered = None;
                q.last = (known, Vec::new());
                peer.select(ctx, handle, spi_in);
                true
            }
            Stage::Offered(offer) if is(&body, &keys.hash2(header.message_id, &offer.ni, body.after_hash)) => {
                (q.iv, q.unanswered) = (iv, None);
                let (spi_in, replaces) = (offer.spi_in, offer.replaces);
                match self.conclude(ctx, listener, (handle, &mut *peer), &keys, &body, &offer) {
                    Some(nr) => {
                        let hash = |keys: &Keys, _: &[u8]| keys.hash3(header.message_id, &offer.ni, &nr);
                        let id = header.message_id;
                        if let Ok(third) = self.seal(Exchange::QUICK, id, &mut q.iv, &Builder::new(), hash) {
                            ctx.send(meta.local, meta.remote, third.clone());
                            q.last = (known, vec![third]);
                        }
                        // Message 3 may get lost: the peer sends on the old pair until it has come.
                        if let Some(old) = replaces.and_then(|old| peer.child_mut(old)) {
                            let over = ctx.now + ctx.policy.config.timers.patience();
                            old.expires_at = old.expires_at.min(over);
                            old.rekey_at = None;
                        }
                    }
                    None => {
                        // The peer has it already.
                        self.delete(ctx, peer.path, &Delete::Esp(vec![spi_in]));
                        let reason = ChildDownReason::Unused;
                        ctx.events.push_back(Event::ChildDown { peer: handle, spi_in, reason });
                    }
                }
                true
            }
            stage => {
                q.stage = stage;
                false
            }
        };
        if taken {
            q.until = ctx.now + ctx.policy.config.timers.patience();
            peer.heard(ctx.now);
            peer.moves(ctx, handle, meta);
        }
        self.quick.push(q);
        taken
    }

    /// Message 1 at the responder.
    #[allow(clippy::too_many_arguments)] // one exchange's worth of context
    fn respond(
        &mut self,
        ctx: &mut Ctx<'_>,
        listener: &Listener,
        (handle, peer): (PeerHandle, &mut Peer),
        meta: Meta,
        message_id: u32,
        mut iv: Vec<u8>,
        known: Vec<u8>,
        keys: &Keys,
        body: &Body<'_>,
    ) {
        let until = ctx.now + ctx.policy.config.timers.patience();
        let made = self.accept(ctx, listener, (handle, &mut *peer), keys, body);
        let (mut stage, mut reply, mut unanswered) = (Stage::Over, Vec::new(), None);
        match made {
            Ok((rest, spi_in, ni, nr)) => {
                let hash = |keys: &Keys, rest: &[u8]| keys.hash2(message_id, &ni, rest);
                if let Ok(second) = self.seal(Exchange::QUICK, message_id, &mut iv, &rest, hash) {
                    reply = self.datagrams(ctx, Exchange::QUICK, second);
                    stage = Stage::Replied { spi_in, ni, nr };
                    unanswered = Some(Unanswered::send(ctx, meta, reply.clone()));
                }
            }
            Err(Refusal(kind, failure)) => {
                reply = self.notify(ctx, meta, kind, &[]);
                crate::sa::child::refused(ctx, handle, failure);
            }
        }
        self.quick.push(Quick { message_id, since: ctx.now, iv, stage, unanswered, last: (known, reply), until });
    }

    /// Judges an offer and installs what comes of it. Gives the answer without its HASH, our SPI, and the nonces.
    fn accept(
        &mut self,
        ctx: &mut Ctx<'_>,
        listener: &Listener,
        (handle, peer): (PeerHandle, &mut Peer),
        keys: &Keys,
        body: &Body<'_>,
    ) -> Result<(Builder, u32, Vec<u8>, Vec<u8>), Refusal> {
        let malformed = |what| Refusal(notify::PAYLOAD_MALFORMED, Failure::Protocol(what));
        let (Some(sa), Some(ni)) = (body.sa, body.nonce) else { return Err(malformed("incomplete quick mode")) };
        let offered = sa_payload::parse(sa).map_err(|e| malformed(e.0))?;
        let policy = &peer.pad.child;
        let choice = choose_phase2(&listener.esp, &offered, policy.mode, peer.nat.any(), listener.sha256_96)
            .ok_or(Refusal(notify::NO_PROPOSAL_CHOSEN, Failure::NoProposal))?;
        let path = peer.path;
        let transport = choice.mode == Mode::Transport;
        let side = |id: Option<&&[u8]>, hidden: bool, outer: IpAddr, patterns: &[TsPattern]| {
            let ts = seen(id, transport && hidden, outer).and_then(|ts| allowed(&ts, patterns, outer));
            ts.ok_or(Refusal(notify::INVALID_ID_INFORMATION, Failure::TrafficSelectors))
        };
        let remote_ts = side(body.ids.first(), peer.nat.remote, path.remote.ip(), &policy.remote_ts)?;
        let local_ts = side(body.ids.get(1), peer.nat.local, path.local.ip(), &policy.local_ts)?;
        let (public, shared) = match (choice.suite.ke.and_then(KeMethod::from_id), body.ke) {
            (Some(group), Some(ke)) => {
                let made = respond(group, ke);
                let (public, shared) =
                    made.map_err(|_| Refusal(notify::INVALID_KEY_INFORMATION, Failure::Crypto("key exchange")))?;
                (Some(public), Some(shared))
            }
            (None, None) => (None, None),
            _ => return Err(malformed("group and key exchange do not go together")),
        };
        let spi_in =
            (ctx.spis)(handle, None).ok_or(Refusal(notify::NO_PROPOSAL_CHOSEN, Failure::Resources("inbound SPIs")))?;
        let nr = ctx.nonce();
        let mut rest = Builder::new();
        let reply = sa_payload::Proposal { spi: spi_in.to_be_bytes().to_vec(), ..choice.reply.clone() };
        rest.push(kind::SA, |out| sa_payload::emit(std::slice::from_ref(&reply), out));
        rest.raw(kind::NONCE, &nr);
        if let Some(public) = &public {
            rest.raw(kind::KE, public);
        }
        for id in &body.ids {
            rest.raw(kind::ID, id);
        }
        self.original_addresses(&mut rest, peer, (path.remote.ip(), path.local.ip()), transport);
        let replaces = peer.current(&local_ts, &remote_ts);
        let shared = shared.as_ref();
        let agreement =
            Agreement { choice: &choice, spi_in, local_ts, remote_ts, ni, nr: &nr, shared, replaces, initiator: false };
        self.install(ctx, (handle, peer), keys, agreement);
        Ok((rest, spi_in, ni.to_vec(), nr))
    }

    /// NAT-OA: the initiator's address and the responder's, as we see them.
    fn original_addresses(&self, chain: &mut Builder, peer: &Peer, (i, r): (IpAddr, IpAddr), transport: bool) {
        if let Some(natt) = self.features.natt.filter(|_| transport && peer.nat.any()) {
            for address in [i, r] {
                chain.raw(nat::nat_oa(natt), &payload::emit_nat_oa(address));
            }
        }
    }

    /// Offers a pair of child SAs, in the place of `replaces` unless one is being made.
    pub(super) fn offer_child(
        &mut self,
        ctx: &mut Ctx<'_>,
        listener: &Listener,
        (handle, peer): (PeerHandle, &mut Peer),
        replaces: Option<u32>,
    ) {
        let Some(keys) = self.up().map(|up| (up.keys.clone(), up.last_block.clone())) else { return };
        if replaces.is_some_and(|old| self.quick.iter().any(|q| q.is_to_replace(old))) {
            return;
        }
        let policy = &peer.pad.child;
        let old = replaces.and_then(|spi| peer.children.iter().find(|c| c.spi_in == spi));
        let first = |patterns: &[TsPattern], outer: IpAddr| patterns.iter().flat_map(|p| p.resolve(outer)).next();
        let ids = match old {
            Some(old) => Some([old.local_ts, old.remote_ts]),
            None => first(&policy.local_ts, peer.path.local.ip())
                .zip(first(&policy.remote_ts, peer.path.remote.ip()))
                .map(|(local, remote)| [local, remote]),
        };
        let Some(ids) = ids else { return };
        let Some(spi_in) = (ctx.spis)(handle, None) else { return };
        let unused = |ctx: &mut Ctx<'_>| {
            let reason = ChildDownReason::Unused;
            ctx.events.push_back(Event::ChildDown { peer: handle, spi_in, reason });
        };
        let group = offered_group(&listener.esp).and_then(KeMethod::from_id);
        let Ok(exchange) = group.map(KeyExchange::initiate).transpose() else { return unused(ctx) };
        let encap = match (peer.nat.any(), self.features.natt, policy.mode) {
            (true, Some(natt), mode) => natt.encap(mode),
            (_, _, Mode::Transport) => Encap::Transport,
            (_, _, Mode::Tunnel) => Encap::Tunnel,
        };
        let message_id = self.message_id(ctx);
        let mut iv = keys.0.later_iv(&keys.1, message_id);
        let ni = ctx.nonce();
        let mut rest = Builder::new();
        let offers = offer_phase2(&listener.esp, spi_in, encap, policy.rekey_after.unwrap_or(LIFETIME) + GRACE);
        rest.push(kind::SA, |out| sa_payload::emit(&offers, out));
        rest.raw(kind::NONCE, &ni);
        let (exchange, public) = exchange.unzip();
        if let Some(public) = public {
            rest.raw(kind::KE, &public);
        }
        for id in &ids {
            rest.raw(kind::ID, &payload::emit_phase2_id(id));
        }
        let addresses = (peer.path.local.ip(), peer.path.remote.ip());
        self.original_addresses(&mut rest, peer, addresses, policy.mode == Mode::Transport);
        let Ok(message) = self.seal(Exchange::QUICK, message_id, &mut iv, &rest, |k, r| k.hash1(message_id, r)) else {
            return unused(ctx);
        };
        let until = ctx.now + ctx.policy.config.timers.patience();
        let datagrams = self.datagrams(ctx, Exchange::QUICK, message);
        let unanswered = Some(Unanswered::send(ctx, peer.path, datagrams));
        let exchange = group.map(KeMethod::id).zip(exchange);
        let stage = Stage::Offered(Offer { spi_in, exchange, ni, ids, path: peer.path, replaces });
        let last = (Vec::new(), Vec::new());
        self.quick.push(Quick { message_id, since: ctx.now, iv, stage, unanswered, last, until });
    }

    /// Message 2 at the initiator: installs the pair and gives the responder's nonce.
    fn conclude(
        &mut self,
        ctx: &mut Ctx<'_>,
        listener: &Listener,
        (handle, peer): (PeerHandle, &mut Peer),
        keys: &Keys,
        body: &Body<'_>,
        offer: &Offer,
    ) -> Option<Vec<u8>> {
        let chosen = sa_payload::parse(body.sa?).ok()?;
        let choice = choose_phase2(&listener.esp, &chosen, peer.pad.child.mode, peer.nat.any(), listener.sha256_96)?;
        let shared = offer.agree(&choice, body.ke)?;
        let nr = body.nonce?;
        let [mut local_ts, mut remote_ts] = offer.ids;
        // The peer may have moved since.
        let (ours, peers) = (slice::from_mut(&mut local_ts), slice::from_mut(&mut remote_ts));
        follow(&peer.pad.child, ours, peers, offer.path, peer.path);
        let Offer { spi_in, ref ni, replaces, .. } = *offer;
        let shared = shared.as_ref();
        let agreement =
            Agreement { choice: &choice, spi_in, local_ts, remote_ts, ni, nr, shared, replaces, initiator: true };
        self.install(ctx, (handle, peer), keys, agreement);
        Some(nr.to_vec())
    }

    /// Derives the keys, tells the owner and keeps what is needed later.
    fn install(
        &mut self,
        ctx: &mut Ctx<'_>,
        (handle, peer): (PeerHandle, &mut Peer),
        keys: &Keys,
        agreement: Agreement<'_>,
    ) {
        let Agreement { choice, spi_in, local_ts, remote_ts, ni, nr, shared, replaces, initiator } = agreement;
        let (encr, integ) = choice.suite.key_lengths();
        let key = |spi: u32| {
            let all = keys.keymat(shared.map(|s| &s[..]), spi, ni, nr, encr + integ);
            let (encr, integ) = all.split_at(encr);
            ChildKey { encr: Zeroizing::new(encr.to_vec()), integ: Zeroizing::new(integ.to_vec()) }
        };
        let after = lifetime(peer.pad.child.rekey_after, choice.lifetime);
        let Meta { local, remote } = peer.path;
        let child = Child {
            spi_in,
            spi_out: choice.spi_out,
            suite: choice.suite,
            mode: choice.mode,
            tfc: false,
            inbound: key(spi_in),
            outbound: key(choice.spi_out),
            local_ts: vec![local_ts],
            remote_ts: vec![remote_ts],
            encap: peer.nat.any(),
            local,
            remote,
            replaces,
            resource: None,
        };
        let waits = initiator && replaces.is_some_and(|old| peer.child_mut(old).is_some());
        let select = initiator && !waits;
        ctx.events.push_back(Event::ChildUp { peer: handle, child: Box::new(child), select });
        let settle = SETTLE.min(ctx.policy.config.timers.patience() / 2);
        let rekey_at = Some(ctx.now + shorten(ctx, after));
        peer.children.push(Kept {
            spi_in,
            spi_out: choice.spi_out,
            local_ts,
            remote_ts,
            since: ctx.now,
            selected: select,
            unconfirmed: !select,
            select_at: waits.then(|| ctx.now + settle),
            rekey_at,
            expires_at: ctx.now + after + GRACE,
        });
        if peer.children.len() > MAX_CHILDREN
            && let Some(oldest) = peer.children.first().map(|c| c.spi_in)
        {
            self.remove_child(ctx, (handle, peer), oldest, ChildDownReason::Closed);
        }
    }

    /// Ends a pair, and tells the peer.
    pub(super) fn remove_child(
        &mut self,
        ctx: &mut Ctx<'_>,
        (handle, peer): (PeerHandle, &mut Peer),
        spi_in: u32,
        reason: ChildDownReason,
    ) {
        self.delete(ctx, peer.path, &Delete::Esp(vec![spi_in]));
        peer.end(ctx, handle, spi_in, reason);
    }
}

fn is(body: &Body<'_>, hash: &Secret) -> bool {
    body.hash.is_some_and(|found| bool::from(hash[..].ct_eq(found)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ChildPolicy;
    use hex_literal::hex;

    const OUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));

    // What clients say of themselves: one port, any port, all of the host, a host name (old Windows), nothing.
    #[test]
    fn selectors_of_clients() {
        let policy = ChildPolicy::l2tp(true);
        let judge = |id: Option<&[u8]>, hidden| {
            let ts = seen(id.as_ref(), hidden, OUTER)?;
            allowed(&ts, &policy.remote_ts, OUTER)
        };
        let udp = |ports| Some(TrafficSelector::host(17, ports, OUTER));
        let any = (0, u16::MAX);
        assert_eq!(judge(Some(&hex!("01 11 06a5 c0a80105")), true), udp((1701, 1701)));
        assert_eq!(judge(Some(&hex!("01 11 0000 c0a80105")), true), udp(any));
        assert_eq!(judge(Some(&hex!("01 00 0000 c0a80105")), true), udp(any));
        assert_eq!(judge(Some(&hex!("02 11 06a5 6c6170746f70")), true), udp((1701, 1701)));
        assert_eq!(judge(None, true), udp(any));
        assert_eq!(judge(Some(&hex!("01 11 06a5 cb007109")), false), udp((1701, 1701)));
        // Without a NAT an address is what it says, and another one is nobody's.
        assert_eq!(judge(Some(&hex!("01 11 06a5 c0a80105")), false), None);
        // TCP; a network; nonsense.
        assert_eq!(judge(Some(&hex!("01 06 06a5 cb007109")), false), None);
        assert_eq!(judge(Some(&hex!("04 00 0000 c0a80100 ffffff00")), true), None);
        assert_eq!(judge(Some(&hex!("01 11 06a5 cb0071")), false), None);
    }
}
