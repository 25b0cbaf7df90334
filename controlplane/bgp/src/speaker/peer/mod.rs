//! A neighbour as it runs: its sessions, and what outlives them.
//!
//! ```text
//!             ┌─ main: Session ─────┐   the connection that is, or is tried
//!   Peer ─────┤                     │
//!             └─ second: Session ───┘   one that the neighbour opened meanwhile, until one of them goes (RFC 4271, 6.8)
//! ```

mod receive;
mod transmit;

use super::ConnId;
use super::env::Env;
use super::event::{DownReason, Event, Refused, Warning};
use super::view::NeighbourView;
use crate::fsm::{self, State};
use crate::message::{Family, Negotiated, Notification};
use crate::neighbour::{NeighbourConfig, NeighbourId};
use crate::rib;
use crate::session::collision::Direction;
use crate::session::graceful::{Helper, Loss};
use crate::session::limit::Watch;
use crate::session::open::{Agreed, Local};
use crate::session::refresh::Refresh;
use crate::session::tally::Tally;
use crate::session::{Cx, Session};
use crate::timer::jitter;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a neighbour is not started by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is disabled.
    Disabled,
    /// It sent too many prefixes of this family.
    MaxPrefix(Family),
}

/// One of the sessions of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Main,
    Second,
}

impl Which {
    const fn other(self) -> Self {
        match self {
            Self::Main => Self::Second,
            Self::Second => Self::Main,
        }
    }
}

/// An established session.
#[derive(Debug)]
struct Up {
    since: Instant,
    agreed: Agreed,
}

#[derive(Debug)]
pub(crate) struct Peer {
    id: NeighbourId,
    remote: IpAddr,
    config: NeighbourConfig,
    /// The range that it came out of, if it is not configured.
    range: Option<IpNet>,
    main: Session,
    second: Option<Session>,
    tally: Tally,
    up: Option<Up>,
    helper: Helper,
    refresh: Refresh,
    watches: BTreeMap<Family, Watch>,
    stop: Option<Stop>,
    /// How often a session was established.
    established: u64,
    last_down: Option<(Instant, DownReason)>,
    /// Its place in the speaker's timers.
    pub timer: Option<Instant>,
}

impl Peer {
    pub fn new(id: NeighbourId, remote: IpAddr, config: NeighbourConfig, range: Option<IpNet>) -> Self {
        Self {
            id,
            remote,
            config,
            range,
            main: Session::new(Direction::Outgoing),
            second: None,
            tally: Tally::default(),
            up: None,
            helper: Helper::default(),
            refresh: Refresh::default(),
            watches: BTreeMap::new(),
            stop: None,
            established: 0,
            last_down: None,
            timer: None,
        }
    }

    pub const fn remote(&self) -> IpAddr {
        self.remote
    }

    pub const fn config(&self) -> &NeighbourConfig {
        &self.config
    }

    pub const fn range(&self) -> Option<IpNet> {
        self.range
    }

    /// What the established session has agreed on.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.up.as_ref().map(|up| &up.agreed.negotiated)
    }

    /// Families that the session carries, or none.
    fn families(&self) -> BTreeSet<Family> {
        self.negotiated().map(|negotiated| negotiated.families.clone()).unwrap_or_default()
    }

    /// Whether nothing is left of a neighbour that is not configured.
    pub fn is_gone(&self) -> bool {
        let connected = self.main.conn().is_some() || self.second.is_some();
        let idle = !connected && self.up.is_none() && self.helper.stale().is_empty();
        // One that sent too many prefixes is remembered as long as it is not to be tried again.
        self.range.is_some() && idle && self.stop.is_none()
    }

    /// When [`timeout`](Self::timeout) must be called.
    pub fn deadline(&self) -> Option<Instant> {
        let second = self.second.as_ref().and_then(Session::deadline);
        let all = [self.main.deadline(), second, self.helper.deadline(), self.refresh.deadline()];
        all.into_iter().flatten().min()
    }

    /// Starts sessions, unless the neighbour is disabled.
    pub fn start(&mut self, env: &mut Env<'_>) {
        self.stop = (!self.config.enabled).then_some(Stop::Disabled);
        if self.stop.is_none() {
            let event = match self.config.passive {
                true => fsm::Event::AutomaticStartPassive,
                false => fsm::Event::AutomaticStart,
            };
            self.main.hold_idle(None);
            self.step(Which::Main, event, None, env);
        }
    }

    /// Ends all sessions with a NOTIFICATION, as the operator wants it. With `hard` no routes are kept.
    pub fn end(&mut self, why: Notification, hard: bool, env: &mut Env<'_>) {
        let why = if hard { self.hard(why) } else { why };
        self.main.hold_idle(None);
        self.step(Which::Second, fsm::Event::ManualStop, Some(&why), env);
        self.step(Which::Main, fsm::Event::ManualStop, Some(&why), env);
        self.second = None;
    }

    /// Ends the session because of something that the system has found, and tries again later.
    pub fn fail(&mut self, why: Notification, env: &mut Env<'_>) {
        self.step(Which::Main, fsm::Event::AutomaticStop, Some(&why), env);
        self.settle(env);
    }

    /// Takes another configuration; sessions that it would change are reset.
    pub fn configure(&mut self, config: NeighbourConfig, env: &mut Env<'_>) {
        let (new_session, was_enabled) = (self.config.needs_new_session(&config), self.config.enabled);
        let enabled = config.enabled;
        match (was_enabled, enabled) {
            (true, false) => self.end(Notification::administrative_shutdown(""), true, env),
            (true, true) if new_session => self.end(Notification::other_configuration_change(), false, env),
            _ => {}
        }
        self.config = config;
        if was_enabled != enabled || enabled && new_session && self.stop.is_none() {
            self.start(env);
        }
        self.settle(env);
    }

    /// The operator enables or disables the neighbour. `message` is for the peer's operator (RFC 9003).
    pub fn enable(&mut self, enabled: bool, message: &str, env: &mut Env<'_>) {
        if self.config.enabled == enabled {
            return;
        }
        if !enabled {
            self.end(Notification::administrative_shutdown(message), true, env);
        }
        self.config.enabled = enabled;
        self.start(env);
    }

    /// The operator resets the session, and lifts a stop for too many prefixes.
    pub fn clear(&mut self, message: &str, hard: bool, env: &mut Env<'_>) {
        self.end(Notification::administrative_reset(message), hard, env);
        self.start(env);
    }

    /// Every session ends, and no routes are kept: the neighbour is removed.
    pub fn remove(&mut self, env: &mut Env<'_>) {
        self.end(Notification::peer_deconfigured(), true, env);
        self.helper.forget();
    }

    /// The peer has opened a connection.
    pub fn accept(&mut self, local: IpAddr, env: &mut Env<'_>) -> Result<ConnId, Refused> {
        if self.config.local.is_some_and(|wanted| wanted != local) {
            return Err(Refused::LocalAddress);
        }
        let which = match (self.main.state(), self.main.conn(), &self.second) {
            (State::Idle, ..) => return Err(Refused::Idle),
            (State::Active, None, _) => Which::Main,
            (.., Some(second)) if !second.awaits_open() => return Err(Refused::Connections),
            _ => Which::Second,
        };
        let conn = env.conns.open(self.id);
        if which == Which::Second {
            // The peer has given up an earlier one that is still there.
            self.with(Which::Second, env, |session, cx| session.abandon(cx));
            self.second = Some(Session::tracking(Direction::Incoming));
        }
        self.with(which, env, |session, cx| session.accept(conn, local, cx));
        self.settle(env);
        Ok(conn)
    }

    /// A connection that we asked for is open.
    pub fn connected(&mut self, conn: ConnId, local: IpAddr, env: &mut Env<'_>) {
        if let Some(which) = self.which(conn) {
            self.with(which, env, |session, cx| session.connected(conn, local, cx));
            self.settle(env);
        }
    }

    /// A connection is gone.
    pub fn disconnected(&mut self, conn: ConnId, env: &mut Env<'_>) {
        if let Some(which) = self.which(conn) {
            let was = self.session(which).map(Session::state);
            self.with(which, env, |session, cx| session.tcp_failed(cx));
            self.ended(was, which, DownReason::Tcp, env);
            if was == Some(State::Connect) && which == Which::Main && self.stop.is_none() {
                // Two neighbours that fail to connect must not refuse each other's connections in Idle: this one waits
                // for the ConnectRetryTimer in Active.
                self.step(Which::Main, fsm::Event::AutomaticStartDampedPassive, None, env);
            }
            self.settle(env);
        }
    }

    /// Time has passed.
    pub fn timeout(&mut self, env: &mut Env<'_>) {
        for which in [Which::Main, Which::Second] {
            while let Some(event) = self.session_mut(which).and_then(|session| session.expired(env.now)) {
                if event == fsm::Event::IdleHoldTimerExpires {
                    self.stop = None;
                }
                self.step(which, event, None, env);
            }
        }
        for family in self.helper.expired(env.now) {
            env.warn(self.id, Warning::StaleDeleted(family));
            env.rib.sweep_stale(self.id, family);
        }
        while let Some(family) = self.refresh.expired(env.now) {
            env.warn(self.id, Warning::StaleDeleted(family));
            env.rib.sweep_stale(self.id, family);
        }
        self.settle(env);
    }

    /// What operators see of it.
    pub fn view(&self) -> NeighbourView<'_> {
        NeighbourView {
            id: self.id,
            address: self.remote,
            config: &self.config,
            range: self.range,
            state: self.main.state(),
            stop: self.stop,
            since: self.up.as_ref().map(|up| up.since),
            negotiated: self.negotiated(),
            router_id: self.up.as_ref().map(|up| up.agreed.router_id),
            peer_role: self.up.as_ref().and_then(|up| up.agreed.peer_role),
            peer_restart: self.up.as_ref().and_then(|up| up.agreed.restart.as_ref()),
            stale: self.helper.stale(),
            established: self.established,
            retries: self.tally.retries,
            sent: self.tally.sent,
            received: self.tally.received,
            last_down: self.last_down.as_ref().map(|(at, reason)| (*at, reason)),
        }
    }

    fn which(&self, conn: ConnId) -> Option<Which> {
        [Which::Main, Which::Second]
            .into_iter()
            .find(|which| self.session(*which).and_then(Session::conn) == Some(conn))
    }

    fn session(&self, which: Which) -> Option<&Session> {
        match which {
            Which::Main => Some(&self.main),
            Which::Second => self.second.as_ref(),
        }
    }

    fn session_mut(&mut self, which: Which) -> Option<&mut Session> {
        match which {
            Which::Main => Some(&mut self.main),
            Which::Second => self.second.as_mut(),
        }
    }

    /// Does something with a session, if it exists.
    fn with<T>(
        &mut self,
        which: Which,
        env: &mut Env<'_>,
        act: impl FnOnce(&mut Session, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let preserved = env.config.restarted.is_some() || self.established > 0;
        let local = Local {
            asn: env.config.asn,
            router_id: env.config.router_id,
            restarting: env.deferral.active(),
            preserved,
        };
        let session = match which {
            Which::Main => &mut self.main,
            Which::Second => self.second.as_mut()?,
        };
        let mut cx = Cx {
            now: env.now,
            neighbour: self.id,
            remote: self.remote,
            local,
            config: &self.config,
            tally: &mut self.tally,
            rng: env.rng,
            conns: env.conns,
            events: env.events,
        };
        Some(act(session, &mut cx))
    }

    /// An event happens to a session.
    fn step(&mut self, which: Which, event: fsm::Event, given: Option<&Notification>, env: &mut Env<'_>) {
        let Some(was) = self.session(which).map(Session::state) else { return };
        self.with(which, env, |session, cx| session.step(event, given, cx));
        let sent = self.session_mut(which).and_then(Session::take_notification);
        let reason = match event {
            fsm::Event::NotifMsg | fsm::Event::NotifMsgVerErr => given.cloned().map(DownReason::Received),
            _ => sent.map(DownReason::Sent),
        };
        self.ended(Some(was), which, reason.unwrap_or(DownReason::Dropped), env);
        let is = self.session(which).map(Session::state);
        if was != State::Established && is == Some(State::Established) {
            self.established(which, env);
        }
    }

    /// Sees whether a session that was in state `was` has ended.
    fn ended(&mut self, was: Option<State>, which: Which, reason: DownReason, env: &mut Env<'_>) {
        let is = self.session(which).map(Session::state);
        if was == is || was == Some(State::Idle) || !matches!(is, Some(State::Idle | State::Active)) {
            return;
        }
        if was == Some(State::Established) {
            self.lost(reason, env);
        } else {
            if matches!(reason, DownReason::Sent(_) | DownReason::Received(_)) {
                env.warn(self.id, Warning::Failed(reason.clone()));
            }
            self.last_down = Some((env.now, reason));
        }
    }

    fn established(&mut self, which: Which, env: &mut Env<'_>) {
        let Some(agreed) = self.session(which).and_then(Session::agreed).cloned() else { return };
        let families = agreed.negotiated.families.clone();
        self.tally.attempts = 0;
        self.established += 1;
        let stale_time = self.config.graceful_restart.map(|restart| restart.stale_time).unwrap_or_default();
        for family in self.helper.established(env.now, agreed.restart.as_ref(), stale_time) {
            env.rib.sweep_stale(self.id, family);
        }
        let marks = agreed.restart.as_ref().map(|_| families.clone()).unwrap_or_default();
        self.refresh = Refresh::established(marks.clone(), marks);
        self.watches = families.iter().map(|family| (*family, Watch::default())).collect();
        env.rib.up(
            self.id,
            rib::Peer {
                negotiated: Arc::new(agreed.negotiated.clone()),
                router_id: agreed.router_id,
                address: self.remote,
                local: self.session(which).and_then(Session::local).unwrap_or(self.remote),
                link_local: self.config.link_local,
            },
        );
        self.up = Some(Up { since: env.now, agreed });
        env.events.push_back(Event::Up { neighbour: self.id });
        self.settle_deferral(env);
    }

    /// Our own restart does not wait for families that this peer will not send End-of-RIB for: it does not restart
    /// gracefully, or it has restarted itself (RFC 4724, section 4.1).
    fn settle_deferral(&self, env: &mut Env<'_>) {
        let restart = self.up.as_ref().and_then(|up| up.agreed.restart.as_ref());
        for family in Family::ALL {
            let sends = restart.is_some_and(|r| !r.restarting) && self.families().contains(&family);
            if !sends {
                env.settle_deferral(self.id, family);
            }
        }
    }

    /// An established session has ended.
    fn lost(&mut self, reason: DownReason, env: &mut Env<'_>) {
        let Some(up) = self.up.take() else { return };
        let lasted = env.now.saturating_duration_since(up.since);
        if lasted >= self.config.idle_hold.max {
            self.tally.oscillations = 0;
        } else if !matches!(reason, DownReason::Sent(_)) {
            self.tally.oscillations = self.tally.oscillations.saturating_add(1);
        }
        let loss = match &reason {
            DownReason::Sent(n) | DownReason::Received(n) => Loss::Notification { hard: n.is_hard_reset() },
            DownReason::Tcp | DownReason::Replaced | DownReason::Dropped => Loss::Tcp,
        };
        let notification = self.config.graceful_restart.is_some_and(|restart| restart.notification);
        // What the peer had not announced again yet does not outlive a second loss (RFC 4724, section 4.2).
        for family in self.helper.forget() {
            env.rib.sweep_stale(self.id, family);
        }
        let stale = self.helper.lost(env.now, loss, up.agreed.restart.as_ref(), notification);
        self.refresh = Refresh::default();
        env.rib.down(self.id, &stale);
        self.last_down = Some((env.now, reason.clone()));
        env.events.push_back(Event::Down { neighbour: self.id, reason, stale });
    }

    /// A NOTIFICATION after which the peer keeps no routes: wrapped, where both sides agreed that others do not have
    /// that effect (RFC 8538, section 3).
    fn hard(&self, why: Notification) -> Notification {
        let ours = self.config.graceful_restart.is_some_and(|restart| restart.notification);
        let theirs = self.up.as_ref().and_then(|up| up.agreed.restart.as_ref()).is_some_and(|r| r.notification);
        if ours && theirs { Notification::hard_reset(&why) } else { why }
    }

    /// Puts the sessions in order: the second one takes the place of one that is over, and a neighbour in Idle waits
    /// for the next attempt.
    fn settle(&mut self, env: &mut Env<'_>) {
        self.second = self.second.take().filter(|session| session.conn().is_some());
        let promote = self
            .second
            .as_ref()
            .is_some_and(|session| session.state() == State::Established || self.main.conn().is_none());
        if promote {
            self.with(Which::Main, env, |session, cx| session.abandon(cx));
            self.main = self.second.take().unwrap_or_else(|| Session::new(Direction::Outgoing));
        }
        if self.main.state() == State::Idle && self.main.idle_until().is_none() {
            let until = self.idle_hold_time(env).and_then(|time| env.now.checked_add(time));
            self.main.hold_idle(until);
        }
    }

    /// IdleHoldTime.
    fn idle_hold_time(&self, env: &mut Env<'_>) -> Option<Duration> {
        match self.stop {
            Some(Stop::Disabled) => None,
            Some(Stop::MaxPrefix(family)) => self.config.restart_after_max_prefix(family),
            None => Some(jitter(self.config.idle_hold.after(self.tally.oscillations), env.rng)),
        }
    }
}
