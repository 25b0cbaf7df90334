//! What a neighbour is sent. UPDATEs are made when the driver has room for them, out of what the neighbour was not told
//! yet: a neighbour that takes its time gets the latest state of each prefix, and nothing piles up.

use super::{Peer, Which};
use crate::fsm::State;
use crate::message::{Family, Message, RouteRefresh, Update};
use crate::session::Session;
use crate::session::refresh::Mark;
use crate::speaker::ConnId;
use crate::speaker::env::Env;
use crate::speaker::event::Event;

/// Prefixes that are looked at for one UPDATE. With attributes of their own they come to about 64 KiB.
const PREFIXES: usize = 512;

impl Peer {
    /// Whole messages to send on a connection, at most what one UPDATE comes to.
    pub fn transmit(&mut self, conn: ConnId, env: &mut Env<'_>) -> Option<Vec<u8>> {
        let which = self.which(conn)?;
        let octets = self.session_mut(which)?.next_control().or_else(|| self.next_routes(which, env));
        self.with(which, env, |session, cx| match &octets {
            Some(octets) => session.sent(octets, cx),
            None => session.drained(),
        });
        octets
    }

    /// Tells the driver of connections that have something to send.
    pub fn announce(&mut self, env: &mut Env<'_>) {
        let routes = self.up.is_some() && self.has_routes(env);
        for which in [Which::Main, Which::Second] {
            let Some(session) = self.session_mut(which) else { continue };
            let pending = session.has_control() || routes && session.state() == State::Established;
            let conn = session.announce(pending);
            env.events.extend(conn.map(|conn| Event::Transmit { conn }));
        }
    }

    /// The operator wants the neighbour's routes again. Whether it can be asked for them.
    pub fn soft_in(&mut self, family: Family) -> bool {
        let able = self.negotiated().is_some_and(|n| n.route_refresh && n.families.contains(&family));
        if able {
            let request = RouteRefresh { family, subtype: RouteRefresh::REQUEST };
            self.main.send_once(Message::RouteRefresh(request));
        }
        able
    }

    /// The operator wants the neighbour told all routes of a family again.
    pub fn soft_out(&mut self, family: Family, env: &mut Env<'_>) {
        if self.families().contains(&family) {
            env.rib.refresh(self.id, family);
        }
    }

    fn has_routes(&self, env: &Env<'_>) -> bool {
        let pending = |family: Family| env.rib.is_pending(self.id, family) || self.refresh.owes(family);
        self.negotiated().is_some_and(|negotiated| {
            negotiated.families.iter().any(|family| !env.deferral.defers(*family) && pending(*family))
        })
    }

    fn next_routes(&mut self, which: Which, env: &mut Env<'_>) -> Option<Vec<u8>> {
        let established = self.session(which).map(Session::state) == Some(State::Established);
        let negotiated = self.negotiated().filter(|_| established)?.clone();
        for family in negotiated.families.iter().copied().filter(|family| !env.deferral.defers(*family)) {
            let message = match env.rib.poll_update(self.id, family, PREFIXES) {
                Some(update) => Message::Update(update),
                None => match self.refresh.sent_all(family) {
                    Some(Mark::EndOfRib) => Message::Update(Update { end_of_rib: Some(family), ..Update::default() }),
                    Some(Mark::EndOfRefresh) => {
                        Message::RouteRefresh(RouteRefresh { family, subtype: RouteRefresh::EORR })
                    }
                    None => continue,
                },
            };
            let mut octets = Vec::new();
            message.encode(&negotiated, &mut octets);
            return Some(octets);
        }
        None
    }
}
