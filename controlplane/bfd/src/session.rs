//! One session: what a packet, the time and the operator do to it, and what it sends (RFC 5880, sections 6.8.1, 6.8.6
//! and 6.8.7).

use crate::auth::Authenticator;
use crate::config::SessionConfig;
use crate::endpoint::{SessionId, SessionInfo, Transmit};
use crate::error::Discard;
use crate::fsm::{Event, State};
use crate::negotiation::{Intervals, Negotiation};
use crate::packet::{Diag, Packet, Received};
use crate::{MULTIHOP_PORT, SINGLE_HOP_PORT};
use rand_core::Rng;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a session that is taken away tells its peer so, at most.
const MAX_FAREWELL: Duration = Duration::from_secs(60);

/// Which session packets between two addresses belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path {
    pub local: IpAddr,
    pub remote: IpAddr,
    pub multihop: bool,
}

/// What a session needs of its endpoint.
pub(crate) struct Context<'a> {
    pub now: Instant,
    pub rng: &'a mut dyn Rng,
    pub out: &'a mut VecDeque<Transmit>,
}

/// What the peer's last packet said.
#[derive(Clone, Copy, Debug)]
struct Remote {
    state: State,
    diag: Diag,
    /// bfd.RemoteDiscr: 0 when the peer is not known, or has been silent for a Detection Time.
    discriminator: u32,
    demand: bool,
}

pub(crate) struct Session {
    id: SessionId,
    pub path: Path,
    pub source_port: u16,
    pub state: State,
    pub diag: Diag,
    remote: Remote,
    timing: Negotiation,
    auth: Option<Authenticator>,
    last_rx: Option<Instant>,
    last_tx: Instant,
    /// When the next packet is due, drawn for the interval in `pace`.
    next_tx: Option<Instant>,
    pace: Option<Duration>,
    /// What we last said, P and F apart.
    said: Option<Packet>,
    /// Taken away: exists until then to tell the peer.
    farewell: Option<Instant>,
    since: Instant,
    received: u64,
    sent: u64,
    downs: u64,
    /// Its place in the set of deadlines.
    pub timer: Option<Instant>,
}

impl Session {
    pub fn new(
        id: SessionId,
        source_port: u16,
        config: SessionConfig,
        intervals: Intervals,
        cx: &mut Context<'_>,
    ) -> Self {
        let timing = Negotiation::new(intervals, config.detect_mult);
        Self {
            id,
            path: Path { local: config.local, remote: config.remote, multihop: config.multihop },
            source_port,
            state: State::Down,
            diag: Diag::None,
            remote: Remote { state: State::Down, diag: Diag::None, discriminator: 0, demand: false },
            auth: config.auth.map(|auth| Authenticator::new(auth, cx.rng)),
            last_rx: None,
            last_tx: cx.now,
            next_tx: Some(cx.now),
            pace: timing.tx_interval(),
            timing,
            said: None,
            farewell: None,
            since: cx.now,
            received: 0,
            sent: 0,
            downs: 0,
            timer: None,
        }
    }

    /// A packet that names this session, or comes from its peer (RFC 5880, section 6.8.6).
    pub fn receive(&mut self, received: &Received<'_>, cx: &mut Context<'_>) -> Result<(), Discard> {
        self.authenticate(received, cx.now)?;
        let packet = &received.packet;
        self.remote = Remote {
            state: packet.state,
            diag: packet.diag,
            discriminator: packet.my_discriminator,
            demand: packet.demand,
        };
        self.timing.heard(packet);
        self.last_rx = Some(cx.now);
        self.received += 1;
        if self.state == State::AdminDown {
            self.finish(cx);
            return Err(Discard::AdminDown);
        }
        self.apply(Event::Received(packet.state), cx.now);
        if packet.poll {
            self.timing.settle(self.state == State::Up, true);
            self.send(true, cx);
        }
        self.finish(cx);
        Ok(())
    }

    fn authenticate(&mut self, received: &Received<'_>, now: Instant) -> Result<(), Discard> {
        match (&mut self.auth, received.auth) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(Discard::AuthUnexpected),
            (Some(_), None) => Err(Discard::AuthMissing),
            (Some(auth), Some(section)) => {
                // RFC 5880, section 6.8.1, bfd.AuthSeqKnown.
                if self.last_rx.is_some_and(|at| now >= at + 2 * self.timing.detection_time()) {
                    auth.forget();
                }
                auth.verify(received, section)
            }
        }
    }

    /// The time has come to a deadline. Gives whether the session is over.
    pub fn tick(&mut self, cx: &mut Context<'_>) -> bool {
        if self.farewell.is_some_and(|at| at <= cx.now) {
            return true;
        }
        if self.detection().is_some_and(|at| at <= cx.now) {
            self.remote = Remote { state: State::Down, discriminator: 0, demand: false, ..self.remote };
            self.timing.forget_peer();
            self.apply(Event::DetectionTimeExpired, cx.now);
            self.finish(cx);
        }
        if self.transmission().is_some_and(|at| at <= cx.now) {
            self.send(false, cx);
        }
        false
    }

    /// The operator lets the session come up, or takes it down (RFC 5880, section 6.8.16).
    pub fn enable(&mut self, enable: bool, cx: &mut Context<'_>) {
        self.apply(if enable { Event::Enable } else { Event::Disable }, cx.now);
        self.finish(cx);
    }

    /// The operator wants other intervals.
    pub fn configure(&mut self, intervals: Intervals, detect_mult: u8, cx: &mut Context<'_>) {
        self.timing.configure(intervals, detect_mult);
        self.finish(cx);
    }

    /// Takes the session away; AdminDown is said for the peer's Detection Time. Gives whether it is over already,
    /// because there is no peer to tell.
    pub fn leave(&mut self, cx: &mut Context<'_>) -> bool {
        self.enable(false, cx);
        self.farewell = Some(cx.now + self.timing.remote_detection_time().min(MAX_FAREWELL));
        self.remote.discriminator == 0
    }

    /// Whether it only exists to tell the peer that it does not.
    pub fn is_leaving(&self) -> bool {
        self.farewell.is_some()
    }

    /// Whether the peer says that its operator took the session down.
    pub fn remote_admin_down(&self) -> bool {
        self.remote.state == State::AdminDown
    }

    /// When [`tick`](Self::tick) is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.transmission().into_iter().chain(self.detection()).chain(self.farewell).min()
    }

    pub fn info(&self) -> SessionInfo {
        SessionInfo {
            id: self.id,
            local: self.path.local,
            remote: self.path.remote,
            multihop: self.path.multihop,
            source_port: self.source_port,
            state: self.state,
            diag: self.diag,
            remote_state: self.remote.state,
            remote_diag: self.remote.diag,
            remote_discriminator: self.remote.discriminator,
            detect_mult: self.timing.detect_mult(),
            tx_interval: self.timing.tx_interval(),
            detection_time: (self.remote.discriminator != 0).then(|| self.timing.detection_time()),
            polling: self.timing.polling(),
            authenticated: self.auth.is_some(),
            since: self.since,
            last_received: self.last_rx,
            received: self.received,
            sent: self.sent,
            downs: self.downs,
        }
    }

    fn apply(&mut self, event: Event, now: Instant) {
        let (state, diag) = self.state.next(event);
        self.diag = diag.unwrap_or(self.diag);
        if state != self.state {
            self.downs += u64::from(self.state == State::Up);
            (self.state, self.since) = (state, now);
        }
    }

    /// After an event: intervals follow the state, what has changed is said at once, and the next packet comes when
    /// the interval wants it, if that has changed.
    fn finish(&mut self, cx: &mut Context<'_>) {
        self.timing.settle(self.state == State::Up, self.remote.discriminator != 0);
        if self.said.is_some_and(|said| said != self.content()) {
            self.send(false, cx);
        }
        let interval = self.timing.tx_interval();
        if interval != self.pace {
            self.schedule(self.last_tx, cx.rng);
        }
    }

    /// Sends a packet: a Final, which leaves the schedule alone, or any other.
    fn send(&mut self, final_: bool, cx: &mut Context<'_>) {
        let content = self.content();
        let packet = Packet { poll: !final_ && self.timing.polling(), final_, ..content };
        let octets = match &mut self.auth {
            Some(auth) => auth.sign(&packet),
            None => packet.encode(&[]),
        };
        cx.out.push_back(Transmit {
            local: self.path.local,
            remote: self.path.remote,
            source_port: self.source_port,
            port: if self.path.multihop { MULTIHOP_PORT } else { SINGLE_HOP_PORT },
            ttl: u8::MAX,
            bytes: octets,
        });
        self.sent += 1;
        self.said = Some(content);
        if !final_ {
            self.last_tx = cx.now;
            self.schedule(cx.now, cx.rng);
        }
    }

    fn schedule(&mut self, last: Instant, rng: &mut dyn Rng) {
        self.pace = self.timing.tx_interval();
        self.next_tx = self.pace.map(|interval| last + self.timing.jittered(interval, rng));
    }

    fn content(&self) -> Packet {
        let Intervals { desired_min_tx, required_min_rx } = self.timing.advertised();
        Packet {
            diag: self.diag,
            state: self.state,
            poll: false,
            final_: false,
            control_plane_independent: false,
            demand: false,
            detect_mult: self.timing.detect_mult(),
            my_discriminator: self.id.discriminator(),
            your_discriminator: self.remote.discriminator,
            desired_min_tx,
            required_min_rx,
            required_min_echo_rx: 0,
        }
    }

    /// When the next packet is due. None is where the peer is in demand mode and we do not poll it.
    fn transmission(&self) -> Option<Instant> {
        let demand = self.remote.demand && self.state == State::Up && self.remote.state == State::Up;
        self.next_tx.filter(|_| !demand || self.timing.polling())
    }

    /// When the peer will have been silent for a Detection Time.
    fn detection(&self) -> Option<Instant> {
        self.last_rx.filter(|_| self.remote.discriminator != 0).map(|at| at + self.timing.detection_time())
    }
}
