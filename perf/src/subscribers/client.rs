//! A subscriber's end of a softwire, from IKE to the delegated prefix. What would go inside ESP names the SA it would be in.

use super::{address, gateway};
use dataplane_api::SessionId;
use dhcp6::packet::{CLIENT_PORT, Udp, to_servers};
use dhcp6::ra::{self, RouterAdvertisement};
use ike::auth::{IdMatch, LocalAuth, RemoteAuth};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::VecDeque;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

const IKE: u16 = 500;
const L2TP: u16 = 1701;
const PPP_IPV6: [u8; 2] = [0x00, 0x57];

/// On its way to the gateway.
#[derive(Debug)]
pub enum Up {
    /// A message of IKE.
    Ike(Vec<u8>),
    /// A control message of L2TP, in the SA with this SPI.
    L2tp(u32, Vec<u8>),
    /// A PPP frame (protocol field of 2 octets, information) with the gateway's ids, likewise.
    Ppp(u32, SessionId, Vec<u8>),
}

/// On its way to a subscriber.
#[derive(Debug)]
pub enum Down {
    /// A message of IKE.
    Ike(Vec<u8>),
    /// A control message of L2TP.
    L2tp(Vec<u8>),
    /// A PPP frame.
    Ppp(Vec<u8>),
}

/// What a subscriber has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Has {
    ipv4: bool,
    ipv6: bool,
    delegated: bool,
}

impl Has {
    /// All that it asks for.
    pub const ALL: Self = Self { ipv4: true, ipv6: true, delegated: true };
}

struct Session {
    gateway: SessionId,
    link: ppp::Link,
    dhcp6: Option<dhcp6::Client>,
    link_local: Ipv6Addr,
}

/// See the module.
pub struct Client {
    index: u32,
    ike: ike::Endpoint,
    l2tp: l2tp::Endpoint,
    rng: StdRng,
    // Our inbound SPI and the gateway's, of the SA in use and of all; the one that was replaced last.
    sa: Option<(u32, u32)>,
    children: Vec<(u32, u32)>,
    last: Option<u32>,
    session: Option<Session>,
    out: VecDeque<Up>,
    prefix: Option<Ipv6Addr>,
    /// What it has.
    pub has: Has,
    /// Why it gave up, or was turned away.
    pub down: Option<String>,
}

impl Client {
    /// The i-th subscriber begins. `seed` is another one for each of its lives.
    pub fn new(now: Instant, i: u32, seed: u64) -> anyhow::Result<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut spi = 0x0100_0000_u32;
        let spis = Box::new(move |_, _| {
            spi = spi.checked_add(1)?;
            Some(spi)
        });
        let config = Arc::new(ike::Config { pad: vec![Arc::new(pad(i)?)], ..ike::Config::default() });
        let mut ids = 0x0001_0000_u32;
        let ids = Box::new(move |_| {
            ids = ids.checked_add(0x0001_0001)?;
            Some(ids)
        });
        let l2tp = Arc::new(l2tp::Config { accept: false, host_name: format!("u{i}"), ..l2tp::Config::default() });
        let mut client = Self {
            index: i,
            ike: ike::Endpoint::new(config, Box::new(StdRng::from_rng(&mut rng)), spis),
            l2tp: l2tp::Endpoint::new(l2tp, Box::new(StdRng::from_rng(&mut rng)), ids),
            rng,
            sa: None,
            children: Vec::new(),
            last: None,
            session: None,
            out: VecDeque::new(),
            prefix: None,
            has: Has::default(),
            down: None,
        };
        client.ike.initiate(now, "gateway", client.at(IKE), gateway(IKE))?;
        client.pump(now);
        Ok(client)
    }

    /// The SA that it sends in, the ids of its session at the gateway, and its address.
    pub fn path(&self) -> Option<(u32, SessionId, Ipv6Addr)> {
        let address = Ipv6Addr::from_bits(self.prefix?.to_bits() | 1);
        Some((self.sa?.1, self.session.as_ref()?.gateway, address))
    }

    /// Whether it takes what comes in an SA.
    pub fn takes(&self, spi: u32) -> bool {
        self.last == Some(spi) || self.children.iter().any(|c| c.0 == spi)
    }

    fn at(&self, port: u16) -> SocketAddr {
        (address(self.index), port).into()
    }

    /// A packet has come.
    pub fn handle_input(&mut self, now: Instant, packet: &Down) {
        match packet {
            Down::Ike(message) => {
                let meta = ike::Meta { local: self.at(IKE), remote: gateway(IKE) };
                self.ike.handle_input(now, meta, message);
            }
            Down::L2tp(message) => {
                let meta = l2tp::Meta { local: self.at(L2TP), remote: gateway(L2TP), binding: Some(BINDING) };
                self.l2tp.handle_input(now, meta, message);
            }
            Down::Ppp(frame) => self.frame(now, frame),
        }
        if let Some((spi, _)) = self.sa.filter(|_| !matches!(packet, Down::Ike(_))) {
            self.ike.child_used(now, spi);
        }
        self.pump(now);
    }

    fn frame(&mut self, now: Instant, frame: &[u8]) {
        let Some(session) = &mut self.session else { return };
        let Some(packet) = frame.strip_prefix(&PPP_IPV6) else { return session.link.handle_input(now, frame) };
        if let Some((_, advertisement)) = RouterAdvertisement::parse_packet(packet) {
            self.prefix = advertisement.prefixes.iter().find(|p| p.autonomous).map(|p| p.prefix.address());
            self.has.ipv6 |= self.prefix.is_some();
        } else if let Some(udp) = Udp::parse(packet).filter(|u| u.destination_port == CLIENT_PORT)
            && let Some(dhcp6) = &mut session.dhcp6
        {
            dhcp6.handle_input(now, udp.payload);
        }
    }

    /// Time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.ike.handle_timeout(now);
        self.l2tp.handle_timeout(now);
        if let Some(s) = &mut self.session {
            s.link.handle_timeout(now);
            if let Some(dhcp6) = s.dhcp6.as_mut().filter(|c| c.poll_timeout().is_some_and(|t| t <= now)) {
                dhcp6.handle_timeout(now);
            }
        }
        self.pump(now);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let link = self.session.as_ref().and_then(|s| s.link.poll_timeout());
        let dhcp6 = self.session.as_ref().and_then(|s| s.dhcp6.as_ref()?.poll_timeout());
        [self.ike.poll_timeout(), self.l2tp.poll_timeout(), link, dhcp6].into_iter().flatten().min()
    }

    /// The next packet for the gateway.
    pub fn poll_transmit(&mut self) -> Option<Up> {
        self.out.pop_front()
    }

    fn pump(&mut self, now: Instant) {
        loop {
            if let Some(event) = self.ike.poll_event() {
                self.ike_event(now, event);
            } else if let Some(event) = self.l2tp.poll_event() {
                self.l2tp_event(now, event);
            } else if let Some(event) = self.session.as_mut().and_then(|s| s.link.poll_event()) {
                self.ppp_event(now, event);
            } else {
                break;
            }
        }
        self.out.extend(std::iter::from_fn(|| self.ike.poll_transmit()).map(|t| Up::Ike(t.data)));
        let Some((_, spi)) = self.sa else { return };
        self.out.extend(std::iter::from_fn(|| self.l2tp.poll_transmit()).map(|t| Up::L2tp(spi, t.data)));
        let Some(s) = &mut self.session else { return };
        let link_local = s.link_local;
        let frames = std::iter::from_fn(|| s.link.poll_transmit());
        self.out.extend(frames.map(|frame| Up::Ppp(spi, s.gateway, frame)));
        let Some(dhcp6) = &mut s.dhcp6 else { return };
        let messages = std::iter::from_fn(|| dhcp6.poll_transmit()).filter_map(|m| to_servers(link_local, &m));
        self.out.extend(messages.map(|packet| Up::Ppp(spi, s.gateway, [&PPP_IPV6[..], &packet].concat())));
        self.has.delegated |= std::iter::from_fn(|| dhcp6.poll_event())
            .any(|e| matches!(e, dhcp6::ClientEvent::Bound { lease: dhcp6::Lease::Prefix(_), .. }));
    }

    fn ike_event(&mut self, now: Instant, event: ike::Event) {
        match event {
            ike::Event::ChildUp { child, select, .. } => {
                self.children.push((child.spi_in, child.spi_out));
                if select {
                    self.sa = Some((child.spi_in, child.spi_out));
                }
                if child.replaces.is_none() {
                    let connected = self.l2tp.connect(now, self.at(L2TP), gateway(L2TP), Some(BINDING), None);
                    self.down = connected.err().map(|e| format!("L2TP: {e}"));
                }
            }
            ike::Event::ChildSelect { spi_in, .. } => {
                self.sa = self.children.iter().find(|c| c.0 == spi_in).copied().or(self.sa);
            }
            // What is on its way in the old one is still taken.
            ike::Event::ChildDown { spi_in, .. } => {
                self.children.retain(|c| c.0 != spi_in);
                self.last = Some(spi_in);
                if self.sa.is_some_and(|sa| sa.0 == spi_in) {
                    self.sa = self.children.last().copied();
                }
            }
            ike::Event::PeerDown { reason, .. } => self.down = Some(format!("IKE: {reason:?}")),
            ike::Event::AuthFailed { reason, .. } => self.down = Some(format!("IKE: {reason}")),
            _ => {}
        }
    }

    fn l2tp_event(&mut self, now: Instant, event: l2tp::Event) {
        match event {
            l2tp::Event::SessionUp(up) => {
                let i = self.index;
                let config = ppp::Config {
                    mru: 1418,
                    credentials: Some(ppp::Credentials {
                        name: format!("u{i}").into_bytes(),
                        secret: ppp::Secret::new(format!("secret-{i}").into_bytes()),
                        methods: vec![ppp::AuthMethod::ChapMd5],
                    }),
                    ..ppp::Config::default()
                };
                let mut link = ppp::Link::new(now, config, Box::new(StdRng::from_rng(&mut self.rng)));
                link.open(now);
                let gateway = SessionId(u32::from(up.peer_tunnel) << 16 | u32::from(up.peer_session));
                self.session = Some(Session { gateway, link, dhcp6: None, link_local: Ipv6Addr::UNSPECIFIED });
            }
            l2tp::Event::SessionDown { reason, .. } | l2tp::Event::Down { reason, .. } => {
                self.down.get_or_insert(format!("L2TP: {reason}"));
            }
            l2tp::Event::SessionOffered(_) | l2tp::Event::Moved { .. } => {}
        }
    }

    fn ppp_event(&mut self, now: Instant, event: ppp::Event) {
        let (Some(s), Some((_, spi))) = (&mut self.session, self.sa) else { return };
        match event {
            ppp::Event::LinkUp { .. } => {
                let ipv4 = Some(ppp::IpcpConfig { request_dns: true, ..ppp::IpcpConfig::default() });
                s.link.start_network(now, ppp::NetworkConfig { ipv4, ipv6: Some(ppp::Ipv6cpConfig::default()) });
            }
            ppp::Event::Ipv4Up { .. } => self.has.ipv4 = true,
            ppp::Event::Ipv6Up { local_iid, .. } => {
                s.link_local = local_iid.link_local();
                let solicitation = ra::solicitation(s.link_local).into_iter();
                let frame = |packet: Vec<u8>| Up::Ppp(spi, s.gateway, [&PPP_IPV6[..], &packet].concat());
                self.out.extend(solicitation.map(frame));
                let duid = dhcp6::Duid::uuid(u128::from(self.index).to_be_bytes());
                let config = dhcp6::ClientConfig { duid, iaid: 1, address: false, length: None, rapid_commit: true };
                let mut client = dhcp6::Client::new(config, Box::new(StdRng::from_rng(&mut self.rng)));
                client.start(now);
                s.dhcp6 = Some(client);
            }
            ppp::Event::Down(reason) => {
                self.down.get_or_insert(format!("PPP: {reason}"));
            }
            _ => {}
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let link = self.session.as_ref().map(|s| &s.link);
        f.debug_struct("Client")
            .field("sa", &self.sa)
            .field("has", &self.has)
            .field("link", &link)
            .finish_non_exhaustive()
    }
}

/// There is one peer only: L2TP need not tell several apart.
const BINDING: std::num::NonZeroU32 = std::num::NonZeroU32::MIN;

fn pad(i: u32) -> anyhow::Result<ike::PadEntry> {
    let identity = |text: &str| text.parse().map_err(|_| anyhow::anyhow!("no identity: {text}"));
    let psk = format!("key-{i}");
    Ok(ike::PadEntry {
        name: "gateway".into(),
        remote: IdMatch::Exact(identity("gw.example.net")?),
        remote_auth: RemoteAuth::psk(psk.as_bytes()),
        local_id: identity(&format!("u{i}@example.net"))?,
        local_auth: LocalAuth::psk(psk.as_bytes()),
        ike_proposals: ike::IkeProposal::defaults(),
        child: ike::ChildPolicy::l2tp(false),
        ike_rekey_after: None,
        dpd_delay: Some(Duration::from_secs(30)),
        mlkem: false,
        force_encap: false,
        mobike: false,
        return_routability: false,
    })
}
