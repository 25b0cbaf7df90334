//! What a neighbour sends.

use super::{Peer, Stop, Up, Which};
use crate::fsm::{self, State};
use crate::message::{Family, Message, Notification, Open, RouteRefresh, Update};
use crate::session::Session;
use crate::session::collision::{Identity, Keep, resolve};
use crate::session::limit::{MaxPrefix, Verdict};
use crate::session::open::{self, Agreed};
use crate::speaker::ConnId;
use crate::speaker::env::Env;
use crate::speaker::event::{DownReason, Warning};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long routes may be stale between BoRR and EoRR.
const REFRESH_LIMIT: Duration = Duration::from_secs(360);

impl Peer {
    /// Octets have come on a connection.
    pub fn received(&mut self, conn: ConnId, octets: &[u8], env: &mut Env<'_>) {
        if let Some(session) = self.which(conn).and_then(|which| self.session_mut(which)) {
            session.push(octets);
        }
        // The session may end with a message, or change places with the other one.
        while let Some(which) = self.which(conn) {
            match self.session_mut(which).map(Session::next_message) {
                Some(Ok(Some(message))) => {
                    self.tally.received.count(message.kind());
                    self.message(which, message, env);
                    self.settle(env);
                }
                Some(Err(notification)) => {
                    let event = match notification.code {
                        1 => fsm::Event::BgpHeaderErr,
                        2 => fsm::Event::BgpOpenMsgErr,
                        _ => fsm::Event::UpdateMsgErr,
                    };
                    self.step(which, event, Some(&notification), env);
                    return self.settle(env);
                }
                Some(Ok(None)) | None => return,
            }
        }
    }

    fn message(&mut self, which: Which, message: Message, env: &mut Env<'_>) {
        let established = self.session(which).map(Session::state) == Some(State::Established);
        match message {
            Message::Open(open) => self.open(which, &open, env),
            Message::KeepAlive => self.step(which, fsm::Event::KeepAliveMsg, None, env),
            Message::Notification(n) if (n.code, n.subcode) == (2, 1) => {
                self.step(which, fsm::Event::NotifMsgVerErr, Some(&n), env);
            }
            Message::Notification(n) => self.step(which, fsm::Event::NotifMsg, Some(&n), env),
            Message::Update(update) => {
                self.step(which, fsm::Event::UpdateMsg, None, env);
                if established {
                    self.update(update, env);
                }
            }
            Message::RouteRefresh(refresh) if established => self.refreshed(which, refresh, env),
            Message::Ignored if established => {}
            Message::RouteRefresh(_) | Message::Ignored => self.step(which, fsm::Event::UpdateMsg, None, env),
        }
    }

    fn open(&mut self, which: Which, theirs: &Open, env: &mut Env<'_>) {
        if self.session(which).is_some_and(|session| !session.awaits_open()) {
            return self.step(which, fsm::Event::BgpOpen, None, env);
        }
        let Some(ours) = self.with(which, env, |session, cx| session.ours(cx)) else { return };
        let agreed = match open::check(&ours, theirs, &self.config) {
            Ok(agreed) => agreed,
            Err(why) => return self.step(which, fsm::Event::BgpOpenMsgErr, Some(&why), env),
        };
        if self.survives_collision(which, &agreed, env) {
            let event = match self.session_mut(which) {
                Some(session) => {
                    session.agree(agreed);
                    if session.delays_open() { fsm::Event::BgpOpenDelayed } else { fsm::Event::BgpOpen }
                }
                None => return,
            };
            self.step(which, event, None, env);
        }
    }

    /// Collision detection (RFC 4271, section 6.8): whether the session that an OPEN has come for goes on.
    fn survives_collision(&mut self, which: Which, agreed: &Agreed, env: &mut Env<'_>) -> bool {
        let (Some(new), Some(rival)) = (self.session(which), self.session(which.other())) else { return true };
        let local = Identity { router_id: env.config.router_id, asn: env.config.asn };
        let peer = Identity { router_id: agreed.router_id, asn: agreed.negotiated.peer_as };
        let decided = resolve(local, peer, new.direction(), rival.direction());
        let restarting = |agreed: &Agreed| agreed.restart.as_ref().map(|restart| restart.restarting);
        let restarted =
            restarting(agreed) == Some(true) && self.up.as_ref().and_then(|up| restarting(&up.agreed)) == Some(false);
        let keep = match rival.state() {
            State::Idle | State::Connect | State::Active => return true,
            State::OpenSent | State::OpenConfirm => decided,
            // A peer that has restarted since has no other session: the old one is dead (RFC 4724, section 4.2).
            State::Established if restarted => {
                self.with(which.other(), env, |session, cx| session.replaced(cx));
                self.ended(Some(State::Established), which.other(), DownReason::Replaced, env);
                return true;
            }
            State::Established if self.config.collision_in_established => decided,
            State::Established => Keep::Old,
        };
        let loser = if keep == Keep::New { which.other() } else { which };
        let why = Notification::connection_collision();
        self.step(loser, fsm::Event::OpenCollisionDump, Some(&why), env);
        keep == Keep::New
    }

    fn update(&mut self, update: Update, env: &mut Env<'_>) {
        if !update.faults.is_empty() {
            env.warn(self.id, Warning::Update(update.faults.clone()));
        }
        let announced = update.announced.iter().flat_map(|announcement| &announcement.prefixes);
        let families: BTreeSet<_> = announced.map(Family::of).collect();
        env.rib.update(self.id, &update);
        if let Some(family) = update.end_of_rib {
            self.refresh.end_of_rib(family);
            if self.helper.end_of_rib(family) {
                env.rib.sweep_stale(self.id, family);
            }
            env.settle_deferral(self.id, family);
        }
        families.into_iter().for_each(|family| self.count_prefixes(family, env));
    }

    fn count_prefixes(&mut self, family: Family, env: &mut Env<'_>) {
        let Some(max) = self.config.families.get(&family).and_then(|config| config.max_prefix) else { return };
        let Some(watch) = self.watches.get_mut(&family) else { return };
        let count = env.rib.counts(self.id, family).received;
        match watch.count(&max, count) {
            Verdict::Fine => {}
            Verdict::Near | Verdict::Beyond => {
                env.warn(self.id, Warning::Prefixes { family, count, limit: max.limit });
            }
            Verdict::TearDown => self.too_many(family, &max, env),
        }
    }

    fn too_many(&mut self, family: Family, max: &MaxPrefix, env: &mut Env<'_>) {
        if self.up.is_some() {
            self.stop = Some(Stop::MaxPrefix(family));
            let why = self.hard(Notification::maximum_prefixes(family, max.limit));
            self.step(Which::Main, fsm::Event::AutomaticStop, Some(&why), env);
        }
    }

    fn refreshed(&mut self, which: Which, refresh: RouteRefresh, env: &mut Env<'_>) {
        let Some(Up { agreed, .. }) = &self.up else { return };
        let family = refresh.family;
        if !agreed.negotiated.families.contains(&family) {
            return;
        }
        let enhanced = agreed.negotiated.enhanced_route_refresh;
        match refresh.subtype {
            RouteRefresh::REQUEST => {
                let borr = self.refresh.requested(family, enhanced);
                env.rib.refresh(self.id, family);
                if let (Some(borr), Some(session)) = (borr, self.session_mut(which)) {
                    session.send(Message::RouteRefresh(borr));
                }
            }
            RouteRefresh::BORR if enhanced && self.refresh.begins(env.now, family, REFRESH_LIMIT) => {
                env.rib.mark_stale(self.id, family);
            }
            RouteRefresh::EORR if enhanced && self.refresh.ends(family) => env.rib.sweep_stale(self.id, family),
            _ => {}
        }
    }
}
