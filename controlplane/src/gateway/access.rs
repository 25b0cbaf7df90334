//! Who may come in, and with what: questions to AAA and its answers, for PPP and for EAP in IKE.

use super::Gateway;
use crate::aaa::{Accept, Answer, Context, Limits, Proof, Reject, Request, Unhonoured, Who};
use crate::accounting::Cause;
use crate::audit::{Record, Verb};
use crate::config::ike::PppPolicy;
use crate::northbound::Event;
use crate::peer::Admitted;
use crate::subscriber::{Leases, State, Subscriber, Unassigned};
use dataplane_api::filter::FilterId;
use dataplane_api::session::MAX_INNER;
use dataplane_api::{PeerId, Rates, SessionId, TableOp};
use radius::attribute::{FILTER_ID, FRAMED_ROUTE, PORT_LIMIT};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// EAP in IKE, from its beginning until the peer is up.
pub(super) struct IkeEap {
    pad: String,
    context: Arc<Context>,
    /// The name that the peer gives in EAP; before that, its IKE identity.
    identity: String,
    accepted: Option<Box<Accept>>,
}

/// Conversations, and peers that are about to be up.
#[derive(Default)]
pub(super) struct IkeEaps {
    running: HashMap<ike::EapSession, IkeEap>,
    arriving: HashMap<PeerId, Admitted>,
}

impl Gateway {
    /// How AAA is told of something new that comes from `outer`.
    pub(super) fn new_context(&mut self, local: SocketAddr, outer: SocketAddr, ike_id: Option<String>) -> Context {
        self.sessions_made += 1;
        let listener = self.config.listener(local.ip()).map_or_else(String::new, |l| l.name.clone());
        Context {
            session: format!("{:08x}{:08x}", self.boot, self.sessions_made),
            multi: None,
            port: 0,
            listener,
            local,
            outer,
            ike_id,
            ppp: false,
        }
    }

    /// Notes the name that a peer gives in PPP. A session that has been somebody's stays theirs: another name is refused, and
    /// a link that was negotiated anew is admitted anew.
    pub(super) fn may_be(&mut self, now: Instant, id: SessionId, name: String, renewed: bool) -> bool {
        let Some(s) = self.subscribers.get_mut(&id).filter(|s| s.state != State::Closing) else { return false };
        if s.profile.is_some() && s.claimed != name {
            let why = format!("\"{name}\" in a session of \"{}\"", s.claimed);
            self.refuse(now, id, Reject { why, ..Reject::default() });
            return false;
        }
        s.claimed.clone_from(&name);
        if !renewed {
            s.state = State::Lcp;
        }
        if s.profile.is_none() {
            self.name(id, name);
        }
        true
    }

    /// Whose session it is from now on.
    pub(super) fn name(&mut self, id: SessionId, user: String) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        let before = std::mem::replace(&mut s.user, user.clone());
        self.users.remove(&(before, id));
        self.users.insert((user, id));
    }

    /// Sessions of a user, those included that AAA has not admitted yet.
    pub(super) fn of_user(&self, user: &str) -> impl Iterator<Item = &Subscriber> {
        let all = (user.to_owned(), SessionId(0))..=(user.to_owned(), SessionId(u32::MAX));
        self.users.range(all).filter_map(|(_, id)| self.subscribers.get(id))
    }

    /// A question about a session.
    pub(super) fn ask(&mut self, now: Instant, who: Who, id: SessionId, proof: Proof) {
        let Some(s) = self.subscribers.get(&id) else { return };
        let user = if matches!(who, Who::Again(_)) { s.user.clone() } else { s.claimed.clone() };
        self.aaa.request(now, Request { who, user, proof, context: Arc::clone(&s.context) });
    }

    pub(super) fn aaa_answer(&mut self, now: Instant, who: Who, answer: Answer) {
        match who {
            Who::Session(id) => self.session_answer(now, id, answer),
            Who::Again(id) => self.again_answer(now, id, answer),
            Who::Ike(session) => self.ike_answer(now, session, answer),
        }
    }

    fn session_answer(&mut self, now: Instant, id: SessionId, answer: Answer) {
        let Some(s) = self.subscribers.get_mut(&id).filter(|s| s.state != State::Closing) else { return };
        let up = matches!(s.state, State::Network | State::Open);
        let refused = |why| Reject { why, ..Reject::default() };
        match answer {
            Answer::Challenge(packet) => s.link.eap_request(now, &packet),
            Answer::Reject(reject) => self.refuse(now, id, reject),
            Answer::Silence => self.refuse(now, id, refused("no RADIUS server answers".into())),
            Answer::Accept(accept) => {
                // One that is up has authenticated once more: it keeps what it has, within new limits.
                let done = match up {
                    true => self.same(id, &accept).and_then(|()| self.limit(now, id, accept.profile.limits.clone())),
                    false => self.admit(now, id, &accept),
                };
                match done {
                    Ok(()) => self.let_in(now, id, &accept),
                    Err(why) => self.refuse(now, id, refused(why)),
                }
            }
        }
        self.pump_link(now, id);
    }

    /// What a CoA-Request that said Authorize-Only has come to.
    fn again_answer(&mut self, now: Instant, id: SessionId, answer: Answer) {
        let result = match answer {
            Answer::Accept(accept) => self.limit(now, id, accept.profile.limits),
            Answer::Reject(reject) => Err(reject.why),
            Answer::Challenge(_) => Err("challenged, which nobody can answer".into()),
            // The session is as good as before.
            Answer::Silence => return tracing::warn!(session = id.0, "no RADIUS server authorizes the session anew"),
        };
        if let Err(why) = result {
            self.disconnect(now, id, Cause::AdminReset, &format!("AAA: {why}"));
        }
    }

    /// Whom AAA has authenticated: in EAP that may be somebody else than who the peer said it was outside the tunnel.
    fn authenticated(claimed: &str, accept: &Accept) -> String {
        accept.profile.user.as_deref().filter(|_| accept.eap.is_some()).unwrap_or(claimed).to_owned()
    }

    /// A session that is up does not become another user's.
    fn same(&self, id: SessionId, accept: &Accept) -> Result<(), String> {
        let Some(s) = self.subscribers.get(&id) else { return Ok(()) };
        let user = Self::authenticated(&s.claimed, accept);
        if user == s.user { Ok(()) } else { Err(format!("\"{user}\" in a session of \"{}\"", s.user)) }
    }

    /// Tells PPP; an anonymous subscriber waits for its addresses only.
    fn let_in(&mut self, now: Instant, id: SessionId, accept: &Accept) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        if s.anonymous {
            self.start_network(now, id);
        } else {
            let reply = ppp::Reply { text: String::new(), mschap: accept.mschap.clone(), eap: accept.eap.clone() };
            s.link.auth_result(now, ppp::AuthVerdict::Accept(reply));
        }
    }

    pub(super) fn refuse(&mut self, now: Instant, id: SessionId, reject: Reject) {
        self.control.aaa_rejected += 1;
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        s.ends(Cause::UserError, format!("AAA: {}", reject.why));
        tracing::warn!(user = s.user, why = reject.why, "subscriber refused");
        // The peer learns only that it was refused.
        let text = "authentication failed".to_owned();
        s.link.auth_result(now, ppp::AuthVerdict::Reject(ppp::Reply { text, mschap: reject.mschap, eap: reject.eap }));
        if s.anonymous || s.link.phase() == ppp::Phase::Network {
            s.link.close(now);
        }
        if let Some(s) = self.subscribers.get(&id) {
            let record = self.audit_record(s, Verb::Reject, &reject.why, now);
            let event = self.session_event(now, s, Some(&reject.why));
            self.audit.push_back(record);
            self.tell(Event::SessionReject(event));
        }
    }

    /// Assigns what AAA gives. The error names the attribute that cannot be honoured.
    pub(super) fn admit(&mut self, now: Instant, id: SessionId, accept: &Accept) -> Result<(), String> {
        self.strip(id);
        let Some(s) = self.subscribers.get_mut(&id) else { return Ok(()) };
        let profile = &accept.profile;
        let user = Self::authenticated(&s.claimed, accept);
        if let Some(known) = s.must_be.as_ref().filter(|known| **known != user) {
            return Err(format!("IKE has authenticated \"{known}\" (H23)"));
        }
        self.name(id, user.clone());
        let filter = self.filter_of(&profile.limits).map_err(|e| e.to_string())?;
        self.left_behind(id, &user).into_iter().for_each(|old| self.preempt(now, old));
        self.make_room(now, id, &user, profile.port_limit.or(self.config.aaa.sessions_per_user))?;
        let leases = self.assign(now, id, &user, accept)?;
        if leases.prefixes().count() > MAX_INNER {
            leases.release(id.0, &mut self.pools);
            return Err(Unhonoured::new(FRAMED_ROUTE, format!("more than {MAX_INNER} prefixes")).to_string());
        }
        let Some(s) = self.subscribers.get_mut(&id) else { return Ok(()) };
        s.leases = leases;
        s.radius = accept.radius;
        s.session.mtu = profile.mtu.map_or(s.session.mtu, |m| m.min(s.session.mtu));
        s.session.rate = Rates { up: profile.limits.rate_up, down: profile.limits.rate_down };
        s.session.filter = filter;
        s.profile = Some(accept.profile.clone());
        Ok(())
    }

    /// Takes all inner addresses from a session.
    fn strip(&mut self, id: SessionId) {
        let Some(s) = self.subscribers.get_mut(&id) else { return };
        s.leases.release(id.0, &mut self.pools);
        s.session.inner.prefixes = Default::default();
        s.dhcp6 = None;
        let routes = std::mem::take(&mut s.routes);
        self.program.op(s.worker, TableOp::SessionSet(s.session));
        for prefix in routes {
            self.program.withdraw(prefix);
        }
    }

    fn filter_of(&self, limits: &Limits) -> Result<Option<FilterId>, Unhonoured> {
        let Some(name) = &limits.filter else { return Ok(None) };
        let found = self.filters.get(name).filter(|_| self.config.filters.iter().any(|f| f.name == *name));
        let found = found.ok_or_else(|| Unhonoured::new(FILTER_ID, format!("no filter is named \"{name}\"")))?;
        Ok(Some(*found))
    }

    /// What a client of IKEv1 has left behind that has lost its state. It may say so by nothing but a new SA, and is known
    /// by its user, its IKE identity, its outer address and its L2TP Host Name, which two devices of one user behind one NAT do
    /// not share. IKEv2 has INITIAL_CONTACT (RFC 7296, section 2.4): a second
    /// IKE SA without is meant to be one.
    fn left_behind(&self, id: SessionId, user: &str) -> Vec<SessionId> {
        let Some(s) = self.subscribers.get(&id).filter(|_| !user.is_empty()) else { return Vec::new() };
        let v1 = |peer: Option<PeerId>| peer.and_then(|p| self.peers.get(&p)).is_some_and(|p| p.version == 1);
        if !v1(s.session.peer) {
            return Vec::new();
        }
        let same = |o: &&Subscriber| {
            o.session.peer != s.session.peer
                && v1(o.session.peer)
                && o.context.ike_id == s.context.ike_id
                && o.session.outer.remote.ip() == s.session.outer.remote.ip()
                && o.host_name == s.host_name
                && o.state != State::Closing
        };
        self.of_user(user).filter(same).map(|o| o.id).collect()
    }

    /// A user has so many sessions at a time. A session of the same device is taken for one it has left behind, and goes.
    fn make_room(&mut self, now: Instant, id: SessionId, user: &str, limit: Option<u32>) -> Result<(), String> {
        let Some(limit) = limit.filter(|_| !user.is_empty()) else { return Ok(()) };
        let Some(ike_id) = self.subscribers.get(&id).map(|s| s.context.ike_id.clone()) else { return Ok(()) };
        let others = self.of_user(user).filter(|o| o.id != id && o.state != State::Closing);
        let mut others: Vec<_> = others.filter(|o| o.profile.is_some()).collect();
        let over = (others.len() + 1).saturating_sub(limit as usize);
        others.retain(|o| o.context.ike_id == ike_id);
        others.sort_by_key(|o| o.since);
        let stale: Vec<_> = others.iter().take(over).map(|o| o.id).collect();
        if stale.len() < over {
            return Err(Unhonoured::new(PORT_LIMIT, format!("{limit} sessions are up")).to_string());
        }
        stale.into_iter().for_each(|old| self.preempt(now, old));
        Ok(())
    }

    /// Whoever of the same user holds what AAA gives this session gives way: it is the same subscriber, back from elsewhere
    /// (H3).
    fn assign(&mut self, now: Instant, id: SessionId, user: &str, accept: &Accept) -> Result<Leases, String> {
        let mut before = None;
        loop {
            let (attribute, holder) = match Leases::assign(&accept.profile, user, id.0, &mut self.pools) {
                Ok(leases) => return Ok(leases),
                Err(Unassigned::Unhonoured(why)) => return Err(why.to_string()),
                Err(Unassigned::Held(attribute, holder)) => (attribute, SessionId(holder)),
            };
            match self.subscribers.get(&holder).filter(|o| o.user == user && before != Some(holder)) {
                Some(_) => self.preempt(now, holder),
                None => return Err(Unhonoured::new(attribute, "in use by another subscriber").to_string()),
            }
            before = Some(holder);
        }
    }

    fn preempt(&mut self, now: Instant, old: SessionId) {
        self.strip(old);
        self.disconnect(now, old, Cause::PortPreempted, "replaced by a new session of the subscriber");
    }

    /// Other limits for a session that is up. The error names the attribute that cannot be honoured; nothing is changed then.
    pub(super) fn limit(&mut self, now: Instant, id: SessionId, change: Limits) -> Result<(), String> {
        let packets = self.traffic(id).packets();
        let Some(mut limits) = self.subscribers.get(&id).and_then(|s| s.profile.as_ref()).map(|p| p.limits.clone())
        else {
            return Ok(());
        };
        limits.change(change);
        let filter = self.filter_of(&limits).map_err(|e| e.to_string())?;
        let Some(s) = self.subscribers.get_mut(&id) else { return Ok(()) };
        if let Some(meter) = &mut s.meter {
            meter.limit(now, &limits, packets);
        }
        s.session.rate = Rates { up: limits.rate_up, down: limits.rate_down };
        s.session.filter = filter;
        if let Some(profile) = &mut s.profile {
            profile.limits = limits;
        }
        self.program.op(s.worker, TableOp::SessionSet(s.session));
        self.pump_link(now, id);
        Ok(())
    }

    /// Whether limits that AAA wants can be had.
    pub(super) fn can_limit(&self, limits: &Limits) -> Result<(), Unhonoured> {
        self.filter_of(limits).map(drop)
    }

    pub(super) fn eap_start(
        &mut self,
        now: Instant,
        session: ike::EapSession,
        pad: String,
        remote_id: String,
        local: SocketAddr,
        remote: SocketAddr,
    ) {
        let context = Arc::new(self.new_context(local, remote, Some(remote_id.clone())));
        let ask = self.entries.find(&self.config, &pad).is_none_or(|p| p.ask_identity);
        let identity = remote_id.clone();
        self.eaps.running.insert(session, IkeEap { pad, context, identity, accepted: None });
        if ask {
            let request = eap::Packet::Request { id: 1, kind: eap::Type::IDENTITY, data: b"" }.encode();
            self.eap_say(|ike| ike.eap_request(now, session, &request));
        } else {
            let data = remote_id.as_bytes();
            let response = eap::Packet::Response { id: 1, kind: eap::Type::IDENTITY, data }.encode();
            self.eap_response(now, session, response);
        }
    }

    pub(super) fn eap_response(&mut self, now: Instant, session: ike::EapSession, packet: Vec<u8>) {
        let Some(e) = self.eaps.running.get_mut(&session) else { return };
        if let Some(eap::Packet::Response { kind: eap::Type::IDENTITY, data, .. }) = eap::Packet::parse(&packet) {
            e.identity = String::from_utf8_lossy(data).into_owned();
        }
        let (user, context) = (e.identity.clone(), Arc::clone(&e.context));
        self.aaa.request(now, Request { who: Who::Ike(session), user, proof: Proof::Eap(packet), context });
    }

    fn ike_answer(&mut self, now: Instant, session: ike::EapSession, answer: Answer) {
        let Some(e) = self.eaps.running.get_mut(&session) else { return };
        match answer {
            Answer::Challenge(packet) => self.eap_say(|ike| ike.eap_request(now, session, &packet)),
            Answer::Accept(mut accept) => {
                let (Some(packet), msk) = (accept.eap.take(), accept.msk.take()) else {
                    return self.eap_refuse(
                        now,
                        session,
                        Reject { why: "Access-Accept without EAP".into(), ..Reject::default() },
                    );
                };
                // The inner name where a tunnelled method hides it from us, if the server tells.
                let identity = accept.profile.user.clone().unwrap_or_else(|| e.identity.clone());
                e.identity.clone_from(&identity);
                e.accepted = Some(accept);
                // MSK or not, it was the server that decided; methods with a key are mutual (RFC 3748, section 7.10).
                let mutual = msk.is_some();
                let msk = msk.map(|k| Zeroizing::new(k.expose().to_vec()));
                self.eap_say(|ike| ike.eap_success(now, session, &packet, ike::EapSuccess { identity, msk, mutual }));
            }
            Answer::Reject(reject) => self.eap_refuse(now, session, reject),
            Answer::Silence => {
                let why = "no RADIUS server answers".into();
                self.eap_refuse(now, session, Reject { why, ..Reject::default() });
            }
        }
    }

    fn eap_refuse(&mut self, now: Instant, session: ike::EapSession, reject: Reject) {
        let Some(e) = self.eaps.running.get(&session) else { return };
        self.control.aaa_rejected += 1;
        let mut record = Record::new(Verb::Reject, format!("AAA: {}", reject.why));
        (record.user, record.ike_id) = (Some(e.identity.clone()), e.context.ike_id.clone());
        record.outer = Some(e.context.outer);
        self.audit.push_back(record);
        let packet = reject.eap.unwrap_or_else(|| eap::Packet::Failure { id: 1 }.encode());
        self.eap_say(|ike| ike.eap_failure(now, session, &packet));
    }

    /// A conversation that has ended meanwhile needs no more words.
    fn eap_say(&mut self, say: impl FnOnce(&mut ike::Endpoint) -> Result<(), ike::CallError>) {
        if let Err(error) = say(&mut self.ike) {
            tracing::debug!(%error, "EAP in IKE");
        }
    }

    pub(super) fn eap_end(&mut self, session: ike::EapSession, peer: Option<PeerId>) {
        self.aaa.forget(Who::Ike(session));
        let Some(e) = self.eaps.running.remove(&session) else { return };
        if let (Some(peer), Some(accept)) = (peer, e.accepted) {
            tracing::debug!(pad = e.pad, user = e.identity, "EAP in IKE is through");
            self.eaps.arriving.insert(peer, Admitted { user: e.identity, accept });
        }
    }

    /// What EAP has said of a peer that is up.
    pub(super) fn admitted(&mut self, peer: PeerId) -> Option<Admitted> {
        self.eaps.arriving.remove(&peer)
    }

    /// How PPP of a peer's sessions is to go about its user.
    pub(super) fn ppp_policy(&self, peer: Option<PeerId>) -> (PppPolicy, Option<Admitted>) {
        let Some(peer) = peer.and_then(|p| self.peers.get(&p)) else { return (PppPolicy::Demand, None) };
        let policy = self.entries.find(&self.config, &peer.pad).map_or(PppPolicy::Demand, |e| e.ppp);
        (policy, peer.admitted.clone())
    }
}

#[cfg(test)]
mod tests;
