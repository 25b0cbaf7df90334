//! One PPP link through its phases (RFC 1661, section 3.2).
//!
//! The link dispatches frames to LCP, to the authentication exchanges and to the network control protocols, and lets
//! through only what the phase allows:
//!
//! | phase | LCP | PAP, CHAP, EAP | IPCP, IPV6CP | others |
//! |---|---|---|---|---|
//! | Establish | yes | dropped | dropped | dropped |
//! | Authenticate | yes | yes | dropped | dropped |
//! | Network, before `start_network` | yes | yes | the last Configure-Request is kept | dropped |
//! | Network | yes | yes | yes | Protocol-Reject |
//!
//! The one Configure-Request that is kept spares a peer that was faster than our owner's AAA a restart period.

use crate::auth::{Client, Server};
use crate::config::{Config, NetworkConfig};
use crate::cp::{Context, ControlProtocol, Policy, Signal};
use crate::event::{AuthVerdict, DownReason, Event};
use crate::fsm;
use crate::ipcp::Ipcp;
use crate::ipv6cp::Ipv6cp;
use crate::lcp::Lcp;
use crate::message::{Packet, code, protocol, split_frame};
use rand_core::CryptoRng;
use std::collections::VecDeque;
use std::time::Instant;

/// Where the link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not opened, or over.
    Dead,
    /// LCP negotiates.
    Establish,
    /// PAP, CHAP or EAP is under way.
    Authenticate,
    /// Network protocols may be opened.
    Network,
    /// LCP is being closed.
    Terminate,
}

#[derive(Default)]
struct Echo {
    timer: Option<Instant>,
    unanswered: u32,
    id: u8,
}

/// One side of a PPP link. See the [crate's description](crate) for the order of calls.
pub struct Link {
    config: Config,
    rng: Box<dyn CryptoRng + Send>,
    phase: Phase,
    lcp: ControlProtocol<Lcp>,
    ipcp: ControlProtocol<Ipcp>,
    ipv6cp: ControlProtocol<Ipv6cp>,
    network: Option<NetworkConfig>,
    /// Configure-Requests that came before we were ready, at most one a protocol.
    early: Vec<(u16, Vec<u8>)>,
    server: Option<Server>,
    client: Option<Client>,
    /// The peer is still to be authenticated.
    server_pending: bool,
    /// We are.
    client_pending: bool,
    rechallenge: Option<Instant>,
    echo: Echo,
    reason: Option<DownReason>,
    out: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("phase", &self.phase)
            .field("lcp", &self.lcp.state())
            .field("ipcp", &self.ipcp.state())
            .field("ipv6cp", &self.ipv6cp.state())
            .finish_non_exhaustive()
    }
}

/// Splits the borrow: a protocol, and the context for it.
macro_rules! context {
    ($link:ident, $now:expr) => {
        &mut Context { now: $now, rng: &mut *$link.rng, out: &mut $link.out }
    };
}

impl Link {
    /// A link that is not yet open. What arrives before [`Link::open`] is dropped, but for a Configure-Request.
    pub fn new(_now: Instant, config: Config, rng: Box<dyn CryptoRng + Send>) -> Self {
        let timers = config.timers;
        Self {
            lcp: ControlProtocol::new(Lcp::new(&config), timers),
            ipcp: ControlProtocol::new(Ipcp::default(), timers),
            ipv6cp: ControlProtocol::new(Ipv6cp::default(), timers),
            config,
            rng,
            phase: Phase::Dead,
            network: None,
            early: Vec::new(),
            server: None,
            client: None,
            server_pending: false,
            client_pending: false,
            rechallenge: None,
            echo: Echo::default(),
            reason: None,
            out: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The layer below is there: negotiate.
    pub fn open(&mut self, now: Instant) {
        if self.phase != Phase::Dead || self.reason.is_some() {
            return;
        }
        self.phase = Phase::Establish;
        self.lcp.event(context!(self, now), fsm::Event::Open);
        self.lcp.event(context!(self, now), fsm::Event::Up);
        self.replay_early(now, protocol::LCP);
    }

    /// Ends the link in good order: Terminate-Request, then [`Event::Down`].
    pub fn close(&mut self, now: Instant) {
        self.terminate(now, DownReason::Closed);
    }

    /// The phase the link is in.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// An answer to [`Event::EapResponse`]: the AAA's next Request. It is retransmitted until the peer responds; what
    /// is not a Request ends the link.
    pub fn eap_request(&mut self, now: Instant, packet: &[u8]) {
        if !matches!(self.phase, Phase::Authenticate | Phase::Network) {
            return;
        }
        if let Some(Server::Eap(server)) = &mut self.server
            && !server.request(context!(self, now), packet, &self.config.timers)
        {
            self.auth_result(now, AuthVerdict::Reject("the AAA server's request cannot be understood".into()));
        }
    }

    /// The answer to [`Event::AuthRequest`], and the last one to [`Event::EapResponse`].
    pub fn auth_result(&mut self, now: Instant, verdict: AuthVerdict) {
        if !matches!(self.phase, Phase::Authenticate | Phase::Network) {
            return;
        }
        let Some(server) = &mut self.server else { return };
        match server.decide(context!(self, now), verdict) {
            Some(true) => {
                self.server_pending = false;
                if !matches!(server, Server::Pap(_)) {
                    self.rechallenge = self.config.rechallenge.map(|after| now + after);
                }
                self.authentication_progress();
            }
            Some(false) => self.terminate(now, DownReason::AuthRejected),
            None => {}
        }
    }

    /// Authenticates the peer anew while the link is up, other than by PAP: another [`Event::AuthRequest`] or
    /// [`Event::EapResponse`] follows.
    pub fn rechallenge(&mut self, now: Instant) {
        if let (Phase::Network, Some(server)) = (self.phase, &mut self.server)
            && server.challenge(context!(self, now), &self.config.timers)
        {
            self.rechallenge = None;
        }
    }

    /// The answer to [`Event::LinkUp`]: opens the network control protocols. Ignored in any other phase (H12).
    pub fn start_network(&mut self, now: Instant, network: NetworkConfig) {
        if self.phase != Phase::Network || self.network.is_some() {
            return;
        }
        self.ipcp.policy.config = network.ipv4.clone().unwrap_or_default();
        self.ipv6cp.policy.config = network.ipv6.clone().unwrap_or_default();
        if network.ipv4.is_some() {
            self.ipcp.event(context!(self, now), fsm::Event::Open);
            self.ipcp.event(context!(self, now), fsm::Event::Up);
        }
        if network.ipv6.is_some() {
            self.ipv6cp.event(context!(self, now), fsm::Event::Open);
            self.ipv6cp.event(context!(self, now), fsm::Event::Up);
        }
        self.network = Some(network);
        self.replay_early(now, protocol::IPCP);
        self.replay_early(now, protocol::IPV6CP);
        self.check_network(now);
    }

    /// A frame from the peer: protocol number and information.
    pub fn handle_input(&mut self, now: Instant, frame: &[u8]) {
        let Some((number, information)) = split_frame(frame) else { return };
        if matches!(number, protocol::IPCP | protocol::IPV6CP) {
            self.peer_goes_on();
        }
        match number {
            protocol::LCP => {
                if let Some(packet) = Packet::parse(information) {
                    self.lcp_input(now, &packet);
                }
            }
            protocol::PAP | protocol::CHAP | protocol::EAP => self.auth_input(now, number, information),
            _ if self.phase != Phase::Network || !self.lcp.is_opened() => {}
            protocol::IPCP | protocol::IPV6CP => self.network_input(now, number, information),
            // Data, for a protocol that is not open: not the control plane's, and not an unknown protocol either.
            protocol::IPV4 | protocol::IPV6 => {}
            _ if self.network.is_some() => self.protocol_reject(now, number, information),
            _ => {}
        }
    }

    fn lcp_input(&mut self, now: Instant, packet: &Packet<'_>) {
        match self.phase {
            Phase::Dead => {
                self.keep_early(protocol::LCP, packet);
                return;
            }
            Phase::Establish | Phase::Authenticate | Phase::Network | Phase::Terminate => {}
        }
        if self.lcp.is_opened() {
            match packet.code {
                code::PROTOCOL_REJECT => {
                    let [high, low, ..] = packet.data else { return };
                    return self.protocol_rejected(now, u16::from_be_bytes([*high, *low]));
                }
                code::ECHO_REQUEST => {
                    let Some(magic) = magic(packet.data) else { return };
                    if self.lcp.policy.is_own_magic(magic) {
                        return self.terminate(now, DownReason::Loopback);
                    }
                }
                code::ECHO_REPLY => {
                    if magic(packet.data).is_some() {
                        self.echo.unanswered = 0;
                    }
                    return;
                }
                _ => {}
            }
        }
        if packet.code == code::TERMINATE_REQUEST && self.lcp.is_opened() {
            self.reason.get_or_insert(DownReason::PeerTerminated);
        }
        if packet.code == code::CODE_REJECT {
            match packet.data.first() {
                Some(1..=code::CODE_REJECT) => {
                    self.reason.get_or_insert(DownReason::Rejected);
                }
                // A peer without echo is not probed any more.
                Some(&code::ECHO_REQUEST) => self.echo.timer = None,
                _ => {}
            }
        }
        let signal = self.lcp.handle_packet(context!(self, now), packet);
        self.lcp_signal(now, signal);
    }

    fn lcp_signal(&mut self, now: Instant, signal: Option<Signal>) {
        if let Some(failure) = self.lcp.take_failure() {
            self.reason.get_or_insert(failure);
            self.phase = Phase::Terminate;
        }
        match signal {
            Some(Signal::Up) => self.lcp_up(now),
            Some(Signal::Down) => self.lcp_down(now),
            Some(Signal::Finished) => {
                self.phase = Phase::Dead;
                let reason = self.reason.get_or_insert(DownReason::Timeout).clone();
                self.events.push_back(Event::Down(reason));
            }
            Some(Signal::Started) | None => {}
        }
    }

    fn lcp_up(&mut self, now: Instant) {
        self.echo = Echo { timer: self.config.echo_interval.map(|after| now + after), unanswered: 0, id: self.echo.id };
        self.phase = Phase::Authenticate;
        let demanded = self.lcp.policy.demanded();
        self.server = demanded.map(|method| Server::new(context!(self, now), method, &self.config));
        self.client = match (self.lcp.policy.peer.auth, &self.config.credentials) {
            (Some(method), Some(credentials)) => {
                Some(Client::new(context!(self, now), method, credentials, &self.config.timers))
            }
            (None, _) | (_, None) => None,
        };
        self.server_pending = self.server.is_some();
        self.client_pending = self.client.is_some();
        self.authentication_progress();
    }

    /// Both directions done: the network phase.
    fn authentication_progress(&mut self) {
        if self.phase != Phase::Authenticate || self.server_pending || self.client_pending {
            return;
        }
        self.phase = Phase::Network;
        let peer = &self.lcp.policy.peer;
        self.events.push_back(Event::LinkUp {
            peer_mru: peer.mru,
            mtu: peer.mru.min(self.config.mru),
            pfc: peer.pfc,
            acfc: peer.acfc,
            auth: self.lcp.policy.demanded(),
        });
    }

    /// LCP has left Opened: whatever was built on it is void.
    fn lcp_down(&mut self, now: Instant) {
        let signal = self.ipcp.event(context!(self, now), fsm::Event::Down);
        self.ipcp_signal(now, signal);
        let signal = self.ipv6cp.event(context!(self, now), fsm::Event::Down);
        self.ipv6cp_signal(now, signal);
        self.ipcp.event(context!(self, now), fsm::Event::Close);
        self.ipv6cp.event(context!(self, now), fsm::Event::Close);
        (self.server, self.client, self.network) = (None, None, None);
        (self.server_pending, self.client_pending) = (false, false);
        (self.rechallenge, self.echo.timer) = (None, None);
        self.early.clear();
        self.phase = if self.reason.is_some() { Phase::Terminate } else { Phase::Establish };
    }

    fn terminate(&mut self, now: Instant, reason: DownReason) {
        if matches!(self.phase, Phase::Dead | Phase::Terminate) {
            return;
        }
        self.reason.get_or_insert(reason);
        self.phase = Phase::Terminate;
        let signal = self.lcp.event(context!(self, now), fsm::Event::Close);
        self.lcp_signal(now, signal);
    }

    fn auth_input(&mut self, now: Instant, number: u16, information: &[u8]) {
        if !matches!(self.phase, Phase::Authenticate | Phase::Network) || !self.lcp.is_opened() {
            return;
        }
        if !Client::wants(number, information) {
            let server = self.server.as_mut();
            self.events.extend(server.and_then(|s| s.handle_packet(context!(self, now), number, information)));
            return;
        }
        let (Some(client), Some(credentials)) = (&mut self.client, &self.config.credentials) else { return };
        let (timers, own) = (&self.config.timers, self.server.as_ref());
        match client.handle_packet(context!(self, now), number, information, credentials, timers, own) {
            Some(Ok(())) => self.authenticated(),
            Some(Err(message)) => self.terminate(now, DownReason::AuthFailed(message)),
            None => {}
        }
    }

    /// The peer has accepted us.
    fn authenticated(&mut self) {
        self.client_pending = false;
        self.events.push_back(Event::Authenticated);
        self.authentication_progress();
    }

    /// A network control packet of the peer: it is through with authentication.
    fn peer_goes_on(&mut self) {
        if self.phase == Phase::Authenticate && self.client.as_mut().is_some_and(Client::lower_layer_success) {
            self.authenticated();
        }
    }

    fn network_input(&mut self, now: Instant, number: u16, information: &[u8]) {
        let Some(network) = &self.network else {
            if let Some(packet) = Packet::parse(information) {
                self.keep_early(number, &packet);
            }
            return;
        };
        let configured = if number == protocol::IPCP { network.ipv4.is_some() } else { network.ipv6.is_some() };
        if !configured {
            return self.protocol_reject(now, number, information);
        }
        let Some(packet) = Packet::parse(information) else { return };
        if number == protocol::IPCP {
            let signal = self.ipcp.handle_packet(context!(self, now), &packet);
            self.ipcp_signal(now, signal);
        } else {
            let signal = self.ipv6cp.handle_packet(context!(self, now), &packet);
            self.ipv6cp_signal(now, signal);
        }
        self.check_network(now);
    }

    fn ipcp_signal(&mut self, _now: Instant, signal: Option<Signal>) {
        match signal {
            Some(Signal::Up) => {
                let ipcp = &self.ipcp.policy;
                self.events.push_back(Event::Ipv4Up { local: ipcp.local(), peer: ipcp.peer(), dns: ipcp.dns() });
            }
            Some(Signal::Down) => self.events.push_back(Event::Ipv4Down),
            Some(Signal::Started | Signal::Finished) | None => {}
        }
    }

    fn ipv6cp_signal(&mut self, _now: Instant, signal: Option<Signal>) {
        match signal {
            Some(Signal::Up) => {
                if let Some((local_iid, peer_iid)) = self.ipv6cp.policy.ids() {
                    self.events.push_back(Event::Ipv6Up { local_iid, peer_iid });
                }
            }
            Some(Signal::Down) => self.events.push_back(Event::Ipv6Down),
            Some(Signal::Started | Signal::Finished) | None => {}
        }
    }

    /// A link on which no network protocol is open or can become open serves nobody.
    fn check_network(&mut self, now: Instant) {
        let over = |s| matches!(s, fsm::State::Initial | fsm::State::Closed | fsm::State::Stopped);
        if self.phase == Phase::Network
            && self.network.is_some()
            && over(self.ipcp.state())
            && over(self.ipv6cp.state())
        {
            self.terminate(now, DownReason::NoNetwork);
        }
    }

    /// RFC 1661, section 5.7: the peer does not know a protocol that we sent.
    fn protocol_rejected(&mut self, now: Instant, number: u16) {
        match number {
            protocol::IPCP | protocol::IPV4 => {
                let signal = self.ipcp.event(context!(self, now), fsm::Event::RejectFatal);
                self.ipcp_signal(now, signal);
            }
            protocol::IPV6CP | protocol::IPV6 => {
                let signal = self.ipv6cp.event(context!(self, now), fsm::Event::RejectFatal);
                self.ipv6cp_signal(now, signal);
            }
            protocol::LCP | protocol::PAP | protocol::CHAP | protocol::EAP => {
                return self.terminate(now, DownReason::Rejected);
            }
            _ => {}
        }
        self.check_network(now);
    }

    fn protocol_reject(&mut self, now: Instant, number: u16, information: &[u8]) {
        // The rejected information is cut to the peer's MRU (RFC 1661, section 5.7): code, id, length and protocol
        // take six octets.
        let room = self.lcp.policy.peer_mru().saturating_sub(6);
        let mut data = number.to_be_bytes().to_vec();
        data.extend_from_slice(information.get(..room).unwrap_or(information));
        let id = self.lcp.next_id();
        self.lcp.send(context!(self, now), code::PROTOCOL_REJECT, id, &data);
    }

    fn keep_early(&mut self, number: u16, packet: &Packet<'_>) {
        if packet.code == code::CONFIGURE_REQUEST && self.reason.is_none() {
            self.early.retain(|(kept, _)| *kept != number);
            self.early.push((number, packet.frame(number)));
        }
    }

    fn replay_early(&mut self, now: Instant, number: u16) {
        if let Some(index) = self.early.iter().position(|(kept, _)| *kept == number) {
            let (_, frame) = self.early.swap_remove(index);
            self.handle_input(now, &frame);
        }
    }

    /// Runs what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let signal = self.lcp.handle_timeout(context!(self, now));
        self.lcp_signal(now, signal);
        let signal = self.ipcp.handle_timeout(context!(self, now));
        self.ipcp_signal(now, signal);
        let signal = self.ipv6cp.handle_timeout(context!(self, now));
        self.ipv6cp_signal(now, signal);
        self.check_network(now);
        self.auth_timeout(now);
        if self.echo.timer.is_some_and(|at| at <= now) {
            self.echo_timeout(now);
        }
    }

    fn auth_timeout(&mut self, now: Instant) {
        if self.rechallenge.is_some_and(|at| at <= now) {
            self.rechallenge(now);
        }
        let timers = &self.config.timers;
        let server_silent = self.server.as_mut().is_some_and(|s| s.handle_timeout(context!(self, now), timers));
        let client = match (&mut self.client, &self.config.credentials) {
            (Some(client), Some(credentials)) => client.handle_timeout(context!(self, now), credentials, timers),
            (None, _) | (_, None) => None,
        };
        match client {
            Some(Ok(())) => self.authenticated(),
            Some(Err(())) => self.terminate(now, DownReason::AuthTimeout),
            None => {}
        }
        if server_silent {
            self.terminate(now, DownReason::AuthTimeout);
        }
    }

    fn echo_timeout(&mut self, now: Instant) {
        if self.echo.unanswered >= self.config.echo_failures {
            return self.terminate(now, DownReason::EchoTimeout);
        }
        self.echo.unanswered += 1;
        self.echo.id = self.echo.id.wrapping_add(1);
        self.echo.timer = self.config.echo_interval.map(|after| now + after);
        let (id, magic) = (self.echo.id, self.lcp.policy.magic());
        self.lcp.send(context!(self, now), code::ECHO_REQUEST, id, &magic.to_be_bytes());
    }

    /// When [`Link::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let server = self.server.as_ref().and_then(Server::poll_timeout);
        let client = self.client.as_ref().and_then(Client::poll_timeout);
        let protocols = [self.lcp.poll_timeout(), self.ipcp.poll_timeout(), self.ipv6cp.poll_timeout()];
        protocols.into_iter().chain([server, client, self.rechallenge, self.echo.timer]).flatten().min()
    }

    /// The next frame to send: protocol number and information.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

fn magic(data: &[u8]) -> Option<u32> {
    data.first_chunk().map(|octets| u32::from_be_bytes(*octets))
}
