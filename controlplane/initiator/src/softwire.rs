//! The composition: IKE, then L2TP inside ESP, then PPP, then addresses.
//!
//! What is common to many softwires, the cryptographic library's manager, is the caller's and comes with each call.

mod keys;

use crate::data;
use crate::network::Network;
use dataplane_api::DropReason;
use ipsec_mb::Manager;
use rand_core::CryptoRng;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::ip;
use wire::l2tp::PORT as L2TP;
use wire::ppp::{IPV4, IPV6};

/// UDP port of IKE, without NAT.
pub(crate) const IKE: u16 = 500;
/// UDP port of IKE and ESP behind NAT.
pub(crate) const NATT: u16 = 4500;
/// How long a replaced inbound SA still receives.
const GRACE: Duration = Duration::from_secs(5);

/// What an initiator needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our outer address.
    pub local: IpAddr,
    /// The concentrator's.
    pub gateway: IpAddr,
    /// How to authenticate in IKE; `None` runs L2TP in the clear (trusted networks only).
    pub ike: Option<Arc<ike::PadEntry>>,
    /// Name and password for EAP in IKE, where `ike` says that we authenticate so.
    pub eap: Option<(Vec<u8>, ppp::Secret)>,
    /// L2TP's side: host name, tunnel secret, timers.
    pub l2tp: l2tp::Config,
    /// PPP's side: credentials, MRU, whether the concentrator must prove itself too.
    pub ppp: ppp::Config,
    /// Ask for IPv4.
    pub ipv4: bool,
    /// Ask for IPv6.
    pub ipv6: bool,
    /// Ask for a delegated prefix by DHCPv6.
    pub delegation: bool,
    /// Stop when the child SA is up: no L2TP follows.
    pub ike_only: bool,
}

/// Why a softwire cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Outer addresses of two families.
    #[error("local address {0} and gateway {1} are of different families")]
    Family(IpAddr, IpAddr),
    /// The cryptographic library.
    #[error("IPsec-MB: {0}")]
    Crypto(#[from] ipsec_mb::Error),
    /// IKE refuses the configuration.
    #[error("IKE: {0}")]
    Ike(String),
}

/// A packet for the outer network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// From our UDP port to the gateway's.
    Udp {
        /// Source port.
        from: u16,
        /// Destination port.
        to: u16,
        /// Payload.
        data: Vec<u8>,
    },
    /// ESP directly over IP (protocol 50).
    Esp(Vec<u8>),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The concentrator is authenticated: its identity, algorithms, whether there is a NAT.
    IkeUp(String, String, bool),
    /// Child SA: inbound and outbound SPI, algorithms.
    ChildUp(u32, u32, String),
    /// L2TP session: our ids, the peer's ids.
    SessionUp(u16, u16, u16, u16),
    /// IPv4 address of ours, the gateway's, DNS servers.
    Ipv4(Ipv4Addr, Ipv4Addr, Vec<Ipv4Addr>),
    /// IPV6CP is open: our link-local address.
    Ipv6LinkLocal(std::net::Ipv6Addr),
    /// A router advertisement gave our address on the link and the prefix length; gateway's link-local address, MTU.
    Ipv6(std::net::Ipv6Addr, u8, std::net::Ipv6Addr),
    /// DHCPv6 delegated a prefix.
    Delegated(std::net::Ipv6Addr, u8),
    /// Largest inner packet.
    Mtu(u16),
    /// The softwire is down for this reason, or never came up.
    Down(String),
}

/// What seals the packets of an open session: for callers that move many and do the cryptography in batches.
pub struct Outbound<'a> {
    /// The SA in use.
    pub sa: &'a mut esp::SaOut,
    /// Our port and the gateway's where ESP is carried in UDP.
    pub encap: Option<(u16, u16)>,
    /// The gateway's L2TP tunnel id.
    pub tunnel: u16,
    /// The gateway's L2TP session id.
    pub session: u16,
}

/// A subscriber's softwire.
pub struct Softwire {
    config: Config,
    ike: Option<ike::Endpoint>,
    peer: Option<ike::PeerHandle>,
    eap: Option<eap::Peer>,
    // Two of each at most for longer than a moment: a list is the fastest table. By the inbound SPI.
    inbound: Vec<(u32, esp::SaIn)>,
    outbound: Vec<Sender>,
    selected: Option<u32>,
    grace: BTreeMap<(Instant, u32), ()>,
    l2tp: l2tp::Endpoint,
    session: Option<Session>,
    network: Network,
    seeds: Box<dyn FnMut() -> Box<dyn CryptoRng + Send> + Send>,
    datagrams: VecDeque<Datagram>,
    inner: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    /// Packets dropped, by reason.
    pub drops: HashMap<DropReason, u64>,
    remote_port: u16,
    closing: bool,
}

struct Sender {
    spi_in: u32,
    sa: esp::SaOut,
    encap: bool,
}

struct Session {
    id: u32,
    peer_tunnel: u16,
    peer_session: u16,
    link: ppp::Link,
}

impl Softwire {
    /// Starts to connect at once. `seeds` makes independent random generators.
    pub fn new(
        now: Instant,
        manager: &mut Manager,
        config: Config,
        mut seeds: Box<dyn FnMut() -> Box<dyn CryptoRng + Send> + Send>,
    ) -> Result<Self, StartError> {
        if config.local.is_ipv4() != config.gateway.is_ipv4() {
            return Err(StartError::Family(config.local, config.gateway));
        }
        let mut spi = 0x0100_0000_u32;
        let spi_source = Box::new(move |_, _| {
            spi = spi.checked_add(1)?;
            Some(spi)
        });
        let ike = config.ike.as_ref().map(|pad| {
            let settings = ike::Config { pad: vec![Arc::clone(pad)], ..ike::Config::default() };
            ike::Endpoint::new(Arc::new(settings), seeds(), spi_source)
        });
        let mut next = 0x0001_0000_u32;
        let id_source = Box::new(move |_| {
            next = next.checked_add(0x0001_0001)?;
            Some(next)
        });
        let l2tp_config = l2tp::Config { accept: false, ..config.l2tp.clone() };
        let l2tp = l2tp::Endpoint::new(Arc::new(l2tp_config), seeds(), id_source);
        let mut me = Self {
            network: Network::new(config.delegation),
            config,
            ike,
            peer: None,
            eap: None,
            inbound: Vec::new(),
            outbound: Vec::new(),
            selected: None,
            grace: BTreeMap::new(),
            l2tp,
            session: None,
            seeds,
            datagrams: VecDeque::new(),
            inner: VecDeque::new(),
            events: VecDeque::new(),
            drops: HashMap::new(),
            remote_port: NATT,
            closing: false,
        };
        me.start(now, manager)?;
        Ok(me)
    }

    fn start(&mut self, now: Instant, manager: &mut Manager) -> Result<(), StartError> {
        let (local, gateway) = (self.config.local, self.config.gateway);
        match (&mut self.ike, &self.config.ike) {
            (Some(ike), Some(pad)) => {
                let at = |a| SocketAddr::new(a, IKE);
                let peer =
                    ike.initiate(now, &pad.name, at(local), at(gateway)).map_err(|e| StartError::Ike(e.to_string()))?;
                self.peer = Some(peer);
            }
            _ => self.connect(now, None),
        }
        self.pump(now, manager);
        Ok(())
    }

    fn connect(&mut self, now: Instant, binding: Option<NonZeroU32>) {
        let at = |a| SocketAddr::new(a, L2TP);
        let (local, gateway) = (at(self.config.local), at(self.config.gateway));
        if let Err(e) = self.l2tp.connect(now, local, gateway, binding, self.config.l2tp.secret.clone()) {
            self.events.push_back(Event::Down(format!("L2TP: {e}")));
        }
    }

    /// Tells the time of day, by which the gateway's certificate is judged.
    pub fn set_clock(&mut self, now: Instant, since_epoch: Duration) {
        if let Some(ike) = &mut self.ike {
            ike.set_clock(now, since_epoch);
        }
    }

    /// A UDP datagram from the gateway to our `port`.
    pub fn handle_udp(&mut self, now: Instant, manager: &mut Manager, port: u16, from: SocketAddr, data: &[u8]) {
        if from.ip() != self.config.gateway {
            return;
        }
        match (port, data) {
            (IKE, _) => self.handle_ike(now, port, from, data),
            (NATT, [0, 0, 0, 0, message @ ..]) => self.handle_ike(now, port, from, message),
            (NATT, [0xff]) => {}
            (NATT, _) => self.handle_esp(now, manager, data),
            (L2TP, _) if self.ike.is_none() => self.handle_l2tp(now, data),
            _ => self.drop(DropReason::SpdClear),
        }
        self.pump(now, manager);
    }

    fn handle_ike(&mut self, now: Instant, port: u16, from: SocketAddr, message: &[u8]) {
        if let Some(ike) = &mut self.ike {
            let local = SocketAddr::new(self.config.local, port);
            ike.handle_input(now, ike::Meta { local, remote: from }, message);
        }
    }

    /// An ESP packet, from its SPI on.
    pub fn handle_esp(&mut self, now: Instant, manager: &mut Manager, packet: &[u8]) {
        let spi = packet.first_chunk().map(|b| u32::from_be_bytes(*b)).unwrap_or_default();
        let Some(sa) = self.inbound_mut(spi) else { return self.drop(DropReason::SaUnknown) };
        let mut data = packet.to_vec();
        match esp::open(manager, sa, &mut data) {
            Ok(opened) => self.handle_opened(now, manager, spi, opened.next_header, &data),
            Err(reason) => self.drop(reason),
        }
    }

    /// What came out of a packet of the inbound SA `spi`: a UDP datagram, if all is well.
    pub fn handle_opened(&mut self, now: Instant, manager: &mut Manager, spi: u32, next_header: u8, data: &[u8]) {
        match data::read_udp(data).filter(|_| next_header == ip::UDP) {
            Some(message) => {
                if let Some(ike) = &mut self.ike {
                    ike.child_used(now, spi);
                }
                self.handle_l2tp(now, message);
            }
            None => self.drop(DropReason::EspSelector),
        }
        self.pump(now, manager);
    }

    /// The inbound SA of this SPI.
    pub fn inbound(&self, spi: u32) -> Option<&esp::SaIn> {
        self.inbound.iter().find(|(s, _)| *s == spi).map(|(_, sa)| sa)
    }

    /// As [`Self::inbound`], to change it.
    pub fn inbound_mut(&mut self, spi: u32) -> Option<&mut esp::SaIn> {
        self.inbound.iter_mut().find(|(s, _)| *s == spi).map(|(_, sa)| sa)
    }

    /// How packets of the session are sent; `None` while there is no session or nothing to seal them with.
    pub fn outbound(&mut self) -> Option<Outbound<'_>> {
        let (session, selected, remote_port) = (self.session.as_ref()?, self.selected?, self.remote_port);
        let sender = self.outbound.iter_mut().find(|s| s.spi_in == selected)?;
        Some(Outbound {
            sa: &mut sender.sa,
            encap: sender.encap.then_some((NATT, remote_port)),
            tunnel: session.peer_tunnel,
            session: session.peer_session,
        })
    }

    /// The SA that [`Self::outbound`] gives.
    pub fn sealing(&self) -> Option<&esp::SaOut> {
        self.outbound.iter().find(|s| Some(s.spi_in) == self.selected).map(|s| &s.sa)
    }

    /// Our L2TP ids of the session, `tunnel << 16 | session`.
    pub fn session(&self) -> Option<u32> {
        self.session.as_ref().map(|s| s.id)
    }

    fn handle_l2tp(&mut self, now: Instant, message: &[u8]) {
        if message.first().is_some_and(|b| b & 0x80 != 0) {
            let at = |a| SocketAddr::new(a, L2TP);
            let meta = l2tp::Meta {
                local: at(self.config.local),
                remote: at(self.config.gateway),
                binding: self.peer.map(|p| p.0),
            };
            self.l2tp.handle_input(now, meta, message);
            return;
        }
        let Some(frame) = data::read_frame(message) else { return self.drop(DropReason::L2tpMalformed) };
        let Some(session) = self.session.as_mut().filter(|s| s.id == frame.id) else {
            return self.drop(DropReason::SessionUnknown);
        };
        let information = frame.information;
        match frame.protocol {
            IPV4 if self.network.ipv4_open => self.inner.push_back(information.to_vec()),
            IPV6 if self.network.ipv6_open => {
                if !self.network.handle_packet(now, information) {
                    self.inner.push_back(information.to_vec());
                }
            }
            IPV4 | IPV6 => self.drop(DropReason::SessionClosed),
            other => session.link.handle_input(now, &[&other.to_be_bytes(), information].concat()),
        }
    }

    /// An inner IP packet for the softwire.
    pub fn handle_inner(&mut self, manager: &mut Manager, packet: &[u8]) {
        let protocol = match packet.first().map(|b| b >> 4) {
            Some(4) if self.network.ipv4_open => IPV4,
            Some(6) if self.network.ipv6_open => IPV6,
            Some(4 | 6) => return self.drop(DropReason::SessionClosed),
            _ => return self.drop(DropReason::InnerMalformed),
        };
        self.send_ppp(manager, protocol, packet);
    }

    fn send_ppp(&mut self, manager: &mut Manager, protocol: u16, information: &[u8]) {
        let Some(s) = &self.session else { return self.drop(DropReason::SessionUnknown) };
        self.send_l2tp(manager, data::message((s.peer_tunnel, s.peer_session), protocol, information));
    }

    // L2TP goes inside ESP, and with IKE configured never in the clear (H1).
    fn send_l2tp(&mut self, manager: &mut Manager, message: Vec<u8>) {
        if self.ike.is_none() {
            self.datagrams.push_back(Datagram::Udp { from: L2TP, to: L2TP, data: message });
            return;
        }
        let selected = self.selected;
        let Some(sender) = self.outbound.iter_mut().find(|s| Some(s.spi_in) == selected) else {
            return self.drop(DropReason::SaMissing);
        };
        let mut packet = data::datagram((self.config.local, self.config.gateway), &message);
        match esp::seal(manager, &mut sender.sa, ip::UDP, &mut packet) {
            Ok(_) if sender.encap => {
                self.datagrams.push_back(Datagram::Udp { from: NATT, to: self.remote_port, data: packet });
            }
            Ok(_) => self.datagrams.push_back(Datagram::Esp(packet)),
            Err(reason) => self.drop(reason),
        }
    }

    fn drop(&mut self, reason: DropReason) {
        *self.drops.entry(reason).or_default() += 1;
    }

    /// Time has come.
    pub fn handle_timeout(&mut self, now: Instant, manager: &mut Manager) {
        if let Some(ike) = &mut self.ike
            && ike.poll_timeout().is_some_and(|t| t <= now)
        {
            ike.handle_timeout(now);
        }
        if self.l2tp.poll_timeout().is_some_and(|t| t <= now) {
            self.l2tp.handle_timeout(now);
        }
        if let Some(s) = self.session.as_mut().filter(|s| s.link.poll_timeout().is_some_and(|t| t <= now)) {
            s.link.handle_timeout(now);
        }
        if self.network.poll_timeout().is_some_and(|t| t <= now) {
            self.network.handle_timeout(now);
        }
        while let Some((&(t, spi), ())) = self.grace.first_key_value()
            && t <= now
        {
            self.grace.pop_first();
            self.inbound.retain(|(s, _)| *s != spi);
        }
        self.pump(now, manager);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.ike.as_ref().and_then(ike::Endpoint::poll_timeout),
            self.l2tp.poll_timeout(),
            self.session.as_ref().and_then(|s| s.link.poll_timeout()),
            self.network.poll_timeout(),
            self.grace.first_key_value().map(|(k, ())| k.0),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Next packet for the outer network.
    pub fn poll_datagram(&mut self) -> Option<Datagram> {
        self.datagrams.pop_front()
    }

    /// Next inner packet from the softwire.
    pub fn poll_inner(&mut self) -> Option<Vec<u8>> {
        self.inner.pop_front()
    }

    /// Next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Begins an orderly end: PPP, L2TP, then IKE. [`Event::Down`] follows.
    pub fn close(&mut self, now: Instant, manager: &mut Manager) {
        self.closing = true;
        match &mut self.session {
            Some(s) => s.link.close(now),
            None => self.close_ike(now),
        }
        self.pump(now, manager);
    }

    fn close_ike(&mut self, now: Instant) {
        let closing = self.ike.as_mut().zip(self.peer).is_some_and(|(ike, peer)| ike.close(now, peer).is_ok());
        if !closing {
            self.events.push_back(Event::Down("closed".into()));
        }
    }

    /// Rekeys the child SA in use.
    pub fn rekey_child(&mut self, now: Instant, manager: &mut Manager) {
        if let (Some(ike), Some(spi)) = (&mut self.ike, self.selected) {
            // A child SA that went away meanwhile needs no rekey.
            let _ = ike.rekey_child(now, spi);
        }
        self.pump(now, manager);
    }

    // Carries events upward until nothing moves, then takes the packets.
    fn pump(&mut self, now: Instant, manager: &mut Manager) {
        loop {
            if let Some(e) = self.ike.as_mut().and_then(|i| i.poll_event()) {
                self.ike_event(now, manager, e);
            } else if let Some(e) = self.l2tp.poll_event() {
                self.l2tp_event(now, e);
            } else if let Some(e) = self.session.as_mut().and_then(|s| s.link.poll_event()) {
                self.ppp_event(now, e);
            } else if let Some(e) = self.network.poll_event() {
                self.events.push_back(e);
            } else {
                break;
            }
        }
        while let Some(t) = self.ike.as_mut().and_then(|i| i.poll_transmit()) {
            let (from, to) = (t.local.port(), t.remote.port());
            self.remote_port = if from == NATT { to } else { self.remote_port };
            let marker: &[u8] = if from == NATT && !t.keepalive { &[0; 4] } else { &[] };
            self.datagrams.push_back(Datagram::Udp { from, to, data: [marker, &t.data].concat() });
        }
        while let Some(t) = self.l2tp.poll_transmit() {
            self.send_l2tp(manager, t.data);
        }
        while let Some(frame) = self.session.as_mut().and_then(|s| s.link.poll_transmit()) {
            if let Some((protocol, information)) = frame.split_first_chunk() {
                self.send_ppp(manager, u16::from_be_bytes(*protocol), information);
            }
        }
        while let Some(packet) = self.network.poll_packet() {
            self.send_ppp(manager, IPV6, &packet);
        }
    }

    fn l2tp_event(&mut self, now: Instant, event: l2tp::Event) {
        match event {
            l2tp::Event::SessionUp(up) => {
                let (tunnel, session) = ((up.id >> 16) as u16, up.id as u16);
                self.events.push_back(Event::SessionUp(tunnel, session, up.peer_tunnel, up.peer_session));
                let mut link = ppp::Link::new(now, self.config.ppp.clone(), (self.seeds)());
                link.open(now);
                self.session =
                    Some(Session { id: up.id, peer_tunnel: up.peer_tunnel, peer_session: up.peer_session, link });
            }
            // We take no calls.
            l2tp::Event::SessionOffered(_) | l2tp::Event::Moved { .. } => {}
            l2tp::Event::SessionDown { .. } => {
                self.session = None;
                self.network.down();
            }
            l2tp::Event::Down { reason, .. } => {
                if self.closing {
                    self.close_ike(now);
                } else {
                    self.events.push_back(Event::Down(format!("L2TP: {reason}")));
                }
            }
        }
    }

    fn ppp_event(&mut self, now: Instant, event: ppp::Event) {
        let Some(s) = &mut self.session else { return };
        match event {
            // Mutual authentication: the secret that we prove ourselves with is the concentrator's too.
            ppp::Event::AuthRequest(r) => {
                let secret = self.config.ppp.credentials.as_ref().map(|c| c.secret.clone());
                let good = match (&r.proof, secret) {
                    (ppp::Proof::ChapMd5 { id, challenge, response }, Some(secret)) => {
                        ppp::chap::verify(secret.expose(), *id, challenge, response)
                    }
                    _ => false,
                };
                let verdict = if good { ppp::AuthVerdict::Accept } else { ppp::AuthVerdict::Reject };
                s.link.auth_result(now, verdict(ppp::Reply::default()));
            }
            // We check CHAP only.
            ppp::Event::EapResponse(_) => s.link.auth_result(now, ppp::AuthVerdict::Reject("".into())),
            ppp::Event::Authenticated => {}
            ppp::Event::LinkUp { mtu, .. } => {
                self.events.push_back(Event::Mtu(mtu));
                let ipv4 = self.config.ipv4.then(|| ppp::IpcpConfig { request_dns: true, ..Default::default() });
                let ipv6 = self.config.ipv6.then(ppp::Ipv6cpConfig::default);
                s.link.start_network(now, ppp::NetworkConfig { ipv4, ipv6 });
            }
            ppp::Event::Ipv4Up { local, peer, dns } => {
                self.network.ipv4_open = true;
                self.events.push_back(Event::Ipv4(local, peer.unwrap_or(Ipv4Addr::UNSPECIFIED), dns));
            }
            ppp::Event::Ipv6Up { local_iid, .. } => {
                self.network.ipv6_up(now, local_iid, (self.seeds)());
                self.events.push_back(Event::Ipv6LinkLocal(local_iid.link_local()));
            }
            ppp::Event::Ipv4Down => self.network.ipv4_open = false,
            ppp::Event::Ipv6Down => self.network.ipv6_open = false,
            ppp::Event::Down(reason) => {
                // An end that we asked for goes on with L2TP and IKE before it is told.
                if !self.closing {
                    self.events.push_back(Event::Down(format!("PPP: {reason}")));
                }
                let id = s.id;
                self.l2tp.close(now, id, l2tp::DownReason::local(1, "the PPP link is down"));
            }
        }
    }
}
