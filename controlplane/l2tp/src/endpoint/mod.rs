//! All tunnels behind one UDP port, LNS and LAC alike. No socket, no clock: the caller brings both.
//!
//! The order of calls: after each [`handle_input`](Endpoint::handle_input), [`handle_timeout`](Endpoint::handle_timeout)
//! or request, drain [`poll_event`](Endpoint::poll_event), then [`poll_transmit`](Endpoint::poll_transmit), until both
//! are empty; then wait for [`poll_timeout`](Endpoint::poll_timeout). A tunnel that the peer closes is reported down
//! only once our acknowledgement has been taken for sending (H47).
//!
//! Tunnel ids are ours and of local significance, and double as table positions, so that several tunnels may share
//! one: a tunnel is found by its id *and* the peer that the message came from. The peer is the IKE peer whose SA
//! carried it, or address and port in the clear. A message can therefore never reach another peer's tunnel (H23, H49).

mod event;
mod tunnel;

pub use event::{Event, Meta, SessionUp, Stats, Transmit, TunnelInfo};

use crate::avp::{Avps, ResultCode};
use crate::config::{Config, PortChange};
use crate::error::{Cause, ConnectError, DownReason, Refused, code};
use crate::fsm::tunnel::State;
use crate::message::{Header, Kind, Message, MessageType, parse_body};
use crate::reliable::{Arrival, retransmission_time};
use rand_core::CryptoRng;
use secret::Secret;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};
use timers::Timers;
use tunnel::{Context, Tunnel};

/// Gives tunnel and session ids, tunnel in the upper half, neither half 0, for a tunnel of a binding.
pub type IdSource = Box<dyn FnMut(Option<NonZeroU32>) -> Option<u32> + Send>;

/// Attempts to get ids whose tunnel id the peer does not use yet.
const ID_ATTEMPTS: usize = 4;

/// Who sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    Binding(NonZeroU32),
    Address(SocketAddr),
}

impl Peer {
    fn of(binding: Option<NonZeroU32>, remote: SocketAddr) -> Self {
        binding.map_or(Self::Address(remote), Self::Binding)
    }
}

struct Outgoing {
    transmit: Transmit,
    /// What becomes known when it has been taken.
    then: Option<Event>,
}

/// An L2TP endpoint.
pub struct Endpoint {
    config: Arc<Config>,
    rng: Box<dyn CryptoRng + Send>,
    ids: IdSource,
    tunnels: BTreeMap<u32, Tunnel>,
    peers: BTreeMap<(Peer, u16), u32>,
    timers: Timers<u32>,
    half_open: usize,
    draining: bool,
    events: VecDeque<Event>,
    out: VecDeque<Outgoing>,
    stats: Stats,
    now: Option<Instant>,
}

impl Endpoint {
    /// A new endpoint. Ids that `ids` gives are free again with their [`Event::Down`].
    pub fn new(config: Arc<Config>, rng: Box<dyn CryptoRng + Send>, ids: IdSource) -> Self {
        Self {
            config,
            rng,
            ids,
            tunnels: BTreeMap::new(),
            peers: BTreeMap::new(),
            timers: Timers::default(),
            half_open: 0,
            draining: false,
            events: VecDeque::new(),
            out: VecDeque::new(),
            stats: Stats::default(),
            now: None,
        }
    }

    /// A new configuration; tunnels that exist keep what they have negotiated.
    pub fn set_config(&mut self, config: Arc<Config>) {
        self.config = config;
    }

    /// Opens a tunnel and places a call in it (the LAC side). Without a `secret`, none of the configuration's is used.
    pub fn connect(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        binding: Option<NonZeroU32>,
        secret: Option<Secret>,
    ) -> Result<u32, ConnectError> {
        let peer = Peer::of(binding, remote);
        let id = self.allocate(now, peer, binding).ok_or(ConnectError::NoIds)?;
        let tunnel = Tunnel::new(now, id, (local, remote, binding), true, secret, &self.config);
        self.insert(peer, tunnel);
        self.with(now, id, Tunnel::open);
        Ok(id)
    }

    /// Whether tunnels that peers want to open are refused from now on; the peer is told to try another LNS.
    pub fn refuse_new(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// Closes a tunnel with StopCCN; `Down` follows when the peer has acknowledged it, or does not answer.
    pub fn close(&mut self, now: Instant, id: u32, reason: DownReason) {
        self.with(now, id, |tunnel, cx| tunnel.close(reason, cx));
    }

    /// The SAs of this IKE peer are gone, and nothing can be sent: its tunnels are down.
    pub fn close_binding(&mut self, now: Instant, binding: NonZeroU32) {
        for id in self.of_peer(Peer::Binding(binding)) {
            let reason = DownReason::new(Cause::BindingGone, "the security association is gone");
            self.with(now, id, |tunnel, cx| tunnel.drop_silently(reason, cx));
        }
    }

    /// Ids of the tunnels of an IKE peer.
    pub fn of_binding(&self, binding: NonZeroU32) -> Vec<u32> {
        self.of_peer(Peer::Binding(binding))
    }

    /// The IKE peer has another address, or speaks with another one of ours (NAT rebinding, MOBIKE): its tunnels go there,
    /// ports stay.
    pub fn move_binding(&mut self, now: Instant, binding: NonZeroU32, local: IpAddr, remote: IpAddr) {
        for id in self.of_peer(Peer::Binding(binding)) {
            self.with(now, id, |tunnel, cx| {
                let local = SocketAddr::new(local, tunnel.local.port());
                let remote = SocketAddr::new(remote, tunnel.remote.port());
                if (tunnel.local, tunnel.remote) != (local, remote) {
                    (tunnel.local, tunnel.remote) = (local, remote);
                    (cx.events)(Event::Moved { id, remote });
                }
            });
        }
    }

    /// A control message came in; `message` is the UDP payload.
    pub fn handle_input(&mut self, now: Instant, meta: Meta, message: &[u8]) {
        self.now = Some(now);
        if let Err(reason) = self.input(now, meta, message) {
            self.stats.refuse(reason);
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = Some(now);
        while let Some(id) = self.timers.expired(now) {
            self.with(now, id, Tunnel::tick);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        // An event that became ready with the last transmission must not wait.
        self.now.filter(|_| !self.events.is_empty()).or_else(|| self.timers.next())
    }

    /// What to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let out = self.out.pop_front()?;
        self.events.extend(out.then);
        Some(out.transmit)
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Tunnels that exist, those included that only acknowledge repeats of a StopCCN.
    pub fn tunnels(&self) -> impl Iterator<Item = TunnelInfo> + '_ {
        self.tunnels.values().map(info)
    }

    /// One tunnel.
    pub fn tunnel(&self, id: u32) -> Option<TunnelInfo> {
        self.tunnels.get(&id).map(info)
    }

    /// Tunnels that peers opened and that have no session yet.
    pub fn half_open(&self) -> usize {
        self.half_open
    }

    fn input(&mut self, now: Instant, meta: Meta, message: &[u8]) -> Result<(), Refused> {
        let (header, body) = Header::parse(message).map_err(|_| Refused::Header)?;
        let peer = Peer::of(meta.binding, meta.remote);
        let id = match header.tunnel {
            0 => match self.unaddressed(now, meta, peer, &header, body)? {
                Some(id) => id,
                None => return Ok(()),
            },
            n => match self.peers.get(&(peer, n)) {
                Some(id) => *id,
                None => return Err(self.not_found(n, meta)),
            },
        };
        self.accept(now, meta, id, &header, body)
    }

    /// Why there is no tunnel `n` for whoever sent the message.
    fn not_found(&self, n: u16, meta: Meta) -> Refused {
        let range = u32::from(n) << 16..=u32::from(n) << 16 | 0xffff;
        let mut same_id = self.tunnels.range(range).map(|(_, tunnel)| tunnel).peekable();
        if same_id.peek().is_none() {
            Refused::UnknownTunnel
        } else if meta.binding.is_none() && same_id.any(|t| t.binding.is_none() && t.remote.ip() == meta.remote.ip()) {
            Refused::Address
        } else {
            Refused::Binding
        }
    }

    /// Hands a message to its tunnel.
    fn accept(&mut self, now: Instant, meta: Meta, id: u32, header: &Header, body: &[u8]) -> Result<(), Refused> {
        let tunnel = self.tunnels.get_mut(&id).ok_or(Refused::UnknownTunnel)?;
        // RFC 3193, section 3.3 (H49): addresses and ports must be the tunnel's. With Follow the port may change.
        let same_host = tunnel.remote.ip() == meta.remote.ip() && tunnel.local == meta.local;
        let moved = tunnel.remote.port() != meta.remote.port();
        if !same_host || moved && self.config.port_change == PortChange::Refuse {
            return Err(Refused::Address);
        }
        let arrival = tunnel.reliable.receive(header.ns, header.session, body);
        match arrival {
            Arrival::Window => return Err(Refused::Window),
            Arrival::Duplicate => self.stats.duplicates += 1,
            Arrival::Ack | Arrival::New => {}
        }
        let (nr, remote) = (header.nr, meta.remote);
        self.with(now, id, |tunnel, cx| {
            tunnel.last_heard = now;
            if moved {
                tunnel.remote = remote;
                (cx.events)(Event::Moved { id, remote });
            }
            tunnel.reliable.acknowledge(now, nr);
            tunnel.flushed(cx);
            while let Some((session, body)) = tunnel.reliable.deliver() {
                tunnel.message(session, &body, cx);
            }
        });
        Ok(())
    }

    /// A message that names no tunnel of ours: SCCRQ, or StopCCN of a peer that has not heard our id. Gives the
    /// tunnel that it belongs to, a new one perhaps; `None` when it has been answered.
    fn unaddressed(
        &mut self,
        now: Instant,
        meta: Meta,
        peer: Peer,
        header: &Header,
        body: &[u8],
    ) -> Result<Option<u32>, Refused> {
        let received = parse_body(body, self.config.secret.as_ref());
        let assigned = received.avps.assigned_tunnel;
        match received.kind {
            Kind::Known(MessageType::Sccrq) => {}
            Kind::Known(MessageType::StopCcn) => {
                let assigned = assigned.ok_or(Refused::NoAssignedTunnel)?;
                return self.named_by_peer(peer, meta, assigned).map(Some).ok_or(Refused::UnknownTunnel);
            }
            Kind::Known(_) | Kind::Ignore(_) | Kind::Fatal(_) | Kind::Missing => return Err(Refused::NoTunnel),
        }
        if !self.config.accept {
            return Err(Refused::NotAccepting);
        }
        let assigned = assigned.ok_or(Refused::NoAssignedTunnel)?;
        if header.ns != 0 {
            return Err(Refused::Window);
        }
        if let Some(id) = self.named_by_peer(peer, meta, assigned) {
            if !self.is_restart(now, id) {
                return Ok(Some(id));
            }
            // The peer lost its state and happened on the same tunnel id.
            self.replace(now, id, false);
        }
        if self.draining {
            self.stats.refuse(Refused::Draining);
            self.answer(meta, assigned, code::ERROR_TRY_ANOTHER, "draining");
            return Ok(None);
        }
        if self.half_open >= self.config.max_half_open {
            return Err(Refused::HalfOpen);
        }
        let open = |id: &u32| self.tunnels.get(id).is_some_and(|t| !t.initiator && !t.is_over());
        if self.of_peer(peer).iter().filter(|id| open(id)).count() >= self.config.max_per_peer {
            return Err(Refused::PerPeer);
        }
        let Some(id) = self.allocate(now, peer, meta.binding) else {
            self.stats.refuse(Refused::NoIds);
            self.answer(meta, assigned, code::ERROR_RESOURCES, "no free tunnel");
            return Ok(None);
        };
        // H51: the answer goes from where the request came to.
        let path = (meta.local, meta.remote, meta.binding);
        let tunnel = Tunnel::new(now, id, path, false, self.config.secret.clone(), &self.config);
        self.insert(peer, tunnel);
        Ok(Some(id))
    }

    /// The tunnel of this peer to which it gave this id.
    fn named_by_peer(&self, peer: Peer, meta: Meta, assigned: u16) -> Option<u32> {
        self.of_peer(peer).into_iter().find(|id| {
            self.tunnels
                .get(id)
                .is_some_and(|t| !t.initiator && t.peer_tunnel == assigned && t.remote.ip() == meta.remote.ip())
        })
    }

    /// Whether a SCCRQ with a known id is no repeat: its tunnel is over, or too old for one.
    fn is_restart(&self, now: Instant, id: u32) -> bool {
        self.tunnels.get(&id).is_some_and(|t| match t.state {
            State::Stopped => true,
            State::Established => t.since + retransmission_time(self.config.max_retransmits) < now,
            State::Idle | State::WaitReply | State::WaitConnected | State::Closing => false,
        })
    }

    /// Refuses a tunnel.
    fn answer(&mut self, meta: Meta, peer_tunnel: u16, error: u16, message: &str) {
        let result = ResultCode { result: code::GENERAL_ERROR, error: Some(error), message: message.into() };
        // There is no tunnel of ours to name; any id will do, and the AVP must be there.
        let assigned_tunnel = Some((self.rng.next_u32() as u16).max(1));
        let avps = Avps { result: Some(result), assigned_tunnel, ..Avps::default() };
        let body = Message { kind: MessageType::StopCcn, avps }.emit();
        let data = Header { tunnel: peer_tunnel, session: 0, ns: 0, nr: 1 }.emit(&body);
        let transmit = Transmit { local: meta.local, remote: meta.remote, binding: meta.binding, data };
        self.out.push_back(Outgoing { transmit, then: None });
    }

    fn of_peer(&self, peer: Peer) -> Vec<u32> {
        self.peers.range((peer, 0)..=(peer, u16::MAX)).map(|(_, id)| *id).collect()
    }

    /// Ids whose tunnel id this peer's tunnels do not use. Where the source has no such, the tunnel in the way gives
    /// way: a peer that opens a tunnel while its old one stands has lost it.
    fn allocate(&mut self, now: Instant, peer: Peer, binding: Option<NonZeroU32>) -> Option<u32> {
        for attempt in 1..=ID_ATTEMPTS {
            let id = (self.ids)(binding)?;
            let unused = Event::Down { id, reason: DownReason::new(Cause::Unused, "not used") };
            if id >> 16 == 0 || id & 0xffff == 0 {
                self.events.push_back(unused);
                continue;
            }
            if self.tunnels.get(&id).is_some_and(|t| !t.down) {
                // Not free: a fault of the source, and no id to give back.
                continue;
            }
            self.remove(id);
            let taken = self.peers.get(&(peer, (id >> 16) as u16)).copied();
            match taken {
                Some(old) if self.tunnels.get(&old).is_some_and(|t| t.down) => self.remove(old),
                Some(_) if attempt < ID_ATTEMPTS => {
                    self.events.push_back(unused);
                    continue;
                }
                Some(old) => self.replace(now, old, true),
                None => {}
            }
            return Some(id);
        }
        None
    }

    /// The peer has a new tunnel in place of this one. It may still know the old one: a last StopCCN tells it, and
    /// nobody waits for the acknowledgement.
    fn replace(&mut self, now: Instant, id: u32, tell: bool) {
        let reason = DownReason::new(Cause::Replaced, "the peer opened a new tunnel");
        self.with(now, id, |tunnel, cx| {
            if tell && !tunnel.is_over() {
                tunnel.close(reason.clone(), cx);
            }
        });
        self.with(now, id, |tunnel, cx| tunnel.drop_silently(reason, cx));
    }

    fn insert(&mut self, peer: Peer, tunnel: Tunnel) {
        self.half_open += usize::from(tunnel.is_half_open());
        self.peers.insert((peer, tunnel.our_tunnel()), tunnel.id);
        self.tunnels.insert(tunnel.id, tunnel);
    }

    fn remove(&mut self, id: u32) {
        let Some(mut tunnel) = self.tunnels.remove(&id) else { return };
        self.half_open -= usize::from(tunnel.is_half_open());
        self.timers.set(id, &mut tunnel.timer, None);
        self.peers.remove(&(Peer::of(tunnel.binding, tunnel.remote), tunnel.our_tunnel()));
    }

    /// Runs `change` on a tunnel; then sends what it wants sent, moves its deadline, and sees what became of it.
    fn with(&mut self, now: Instant, id: u32, change: impl FnOnce(&mut Tunnel, &mut Context<'_>)) {
        self.now = Some(now);
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        let (half_open, established) = (tunnel.is_half_open(), tunnel.state == State::Established);
        let events = &mut self.events;
        let config = self.config.clone();
        let mut cx = Context {
            now,
            config: &config,
            rng: &mut *self.rng,
            events: &mut |event| events.push_back(event),
            stats: &mut self.stats,
        };
        change(tunnel, &mut cx);

        while !tunnel.gone
            && let Some(frame) = tunnel.reliable.poll(now)
        {
            let header = Header { tunnel: tunnel.peer_tunnel, session: frame.session, ns: frame.ns, nr: frame.nr };
            let data = header.emit(frame.body);
            let transmit = Transmit { local: tunnel.local, remote: tunnel.remote, binding: tunnel.binding, data };
            self.out.push_back(Outgoing { transmit, then: None });
        }
        if let Some(reason) = tunnel.down_after_ack.take()
            && !std::mem::replace(&mut tunnel.down, true)
        {
            let down = Event::Down { id, reason };
            match self.out.back_mut() {
                Some(last) => last.then = Some(down),
                None => self.events.push_back(down),
            }
        }
        self.half_open -= usize::from(half_open);
        self.half_open += usize::from(tunnel.is_half_open());
        // Never in the past, so that time goes on.
        let deadline = tunnel.deadline(&config).map(|at| at.max(now + Duration::from_millis(1)));
        self.timers.set(id, &mut tunnel.timer, deadline);

        let came_up = !established && tunnel.state == State::Established && !tunnel.initiator;
        let peer = Peer::of(tunnel.binding, tunnel.remote);
        if tunnel.gone {
            self.remove(id);
        } else if came_up {
            for old in self.of_peer(peer) {
                if old != id && self.tunnels.get(&old).is_some_and(|t| !t.initiator && !t.down) {
                    self.replace(now, old, true);
                }
            }
        }
    }
}

fn info(t: &Tunnel) -> TunnelInfo {
    TunnelInfo {
        id: t.id,
        peer_tunnel: t.peer_tunnel,
        peer_session: t.peer_session,
        peer_host_name: t.peer_host_name.clone(),
        local: t.local,
        remote: t.remote,
        binding: t.binding,
        initiator: t.initiator,
        state: t.state,
        session: t.session,
        since: t.since,
    }
}

#[cfg(test)]
mod tests;
