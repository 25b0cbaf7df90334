//! A gateway's tables for one path, the frames that come in, and the peers' ends of its SAs.
//!
//! ```text
//!   TRUSTED port: hosts, routes inside       PUBLIC port: one router, behind it all peers
//!   mesh:      172.16.0.2 ── gateway 192.0.2.1, 2001:db8:ff::1 ══ peer i: 160.0.0.1 + i ── a /24 of its own
//!   sessions:  172.16.0.2, 2001:db8:c::2 ── gateway 192.0.2.1 ══ peer i ── 40.0.0.1 + i, 2001:db9:0:0:i::1
//!   over IPv6: 172.16.0.2 ── gateway 2001:db8:ff::1 ══ peer i: 2001:db8:f2::1 + i ── 40.0.0.1 + i
//! ```
//!
//! ESP is AES-GCM-128 with extended sequence numbers, the SPD discards whatever is not protected.

use crate::frame::{FAR, NEAR, datagram, framed, packet};
use crate::path::{Kind, Path};
use anyhow::Context;
use dataplane_api::softwire::{Protection, TooBig};
use dataplane_api::{
    Action, Cipher, EspKey, EspSuite, InnerAddresses, Integrity, IpPrefix, Lifetime, MacAddr, Mode, NextHop, OuterPath,
    PeerId, PolicyRule, PortConfig, PortId, PortRange, Rates, SaIn, SaOut, SaOutId, Selector, Session, SessionId, Slot,
    SnapshotOp, Softwire, SoftwireId, Spi, TableOp, UdpEncap, WorkerId, Zone,
};
use ipsec_mb::Manager;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use wire::{ip, l2tp, ppp, udp};

/// The port where peers are.
pub const PUBLIC: PortId = PortId(0);
/// The port where hosts are.
pub const TRUSTED: PortId = PortId(1);

/// SPI of a peer's first inbound SA.
const THEIRS: u32 = 0x1000;
/// Octets of UDP, L2TP and PPP in front of a subscriber's packet.
pub const SESSION_HEADERS: usize = udp::HEADER + l2tp::data_len(false) + ppp::emit_len(PPP_IPV4, false, false);
/// The port of ESP in UDP (RFC 3948), here on both sides.
pub const NATT: u16 = 4500;
/// PPP's number of IPv4.
pub const PPP_IPV4: u16 = 0x0021;
/// PPP's number of IPv6.
pub const PPP_IPV6: u16 = 0x0057;

/// See the module.
pub struct World {
    /// What is measured.
    pub path: Path,
    /// Tables that workers share.
    pub shared: Vec<SnapshotOp>,
    /// What room there is to be for routes.
    pub routes: u32,
    /// Workers, to whom the pairs of SAs belong in turn.
    pub workers: usize,
    // Made when they are first needed.
    far: HashMap<usize, Far>,
    manager: Manager,
    replay_window: u16,
}

/// A peer's ends of a pair of SAs.
pub struct Far {
    /// What the peer seals with.
    pub seal: esp::SaOut,
    /// What it opens with.
    pub open: esp::SaIn,
}

impl Far {
    /// The other ends of the gateway's.
    pub fn of(manager: &Manager, sa_in: SaIn, sa_out: SaOut) -> anyhow::Result<Self> {
        let (local, remote, selector) = (sa_in.remote, sa_in.local, Selector::ANY);
        let seal = SaOut { spi: sa_in.spi.0, key: sa_in.key.clone(), local, remote, selector, ..sa_out.clone() };
        let (spi, key, replay_window) = (Spi(sa_out.spi), sa_out.key, 64);
        let open = SaIn { spi, key, local, remote, selector, replay_window, ..sa_in };
        let seal = esp::SaOut::new(manager, &seal).context("SA")?;
        Ok(Self { seal, open: esp::SaIn::new(manager, &open).context("SA")? })
    }
}

/// A packet in PPP, L2TP and UDP, as a subscriber puts it into ESP; `id` has the gateway's ids.
pub fn tunnelled(id: SessionId, inner: &[u8]) -> anyhow::Result<Vec<u8>> {
    let protocol = if inner[0] >> 4 == 6 { PPP_IPV6 } else { PPP_IPV4 };
    let mut data = vec![0; SESSION_HEADERS];
    let written = l2tp::emit_data(&mut data[udp::HEADER..], id.tunnel(), id.session(), None)
        && ppp::emit(&mut data[udp::HEADER + l2tp::data_len(false)..], protocol, false, false);
    data.extend_from_slice(inner);
    let len = data.len() as u16;
    anyhow::ensure!(written && udp::emit(&mut data, l2tp::PORT, l2tp::PORT, len), "headers");
    Ok(data)
}

impl World {
    /// For `path`. The gateway's inbound SAs have this replay window; 0: none.
    pub fn new(path: Path, replay_window: u16) -> anyhow::Result<Self> {
        Self::over(path, replay_window, 1)
    }

    /// The same over several workers.
    pub fn over(path: Path, replay_window: u16, workers: usize) -> anyhow::Result<Self> {
        let manager = Manager::new().map_err(|e| anyhow::anyhow!("{e}"))?;
        let (shared, far) = (Vec::new(), HashMap::new());
        let mut world = Self { path, shared, routes: 4096, workers, far, manager, replay_window };
        world.shared = world.tables()?;
        world.routes = world.routes.max(2 * world.shared.len() as u32);
        Ok(world)
    }

    /// Where frames come in.
    pub fn from(&self) -> PortId {
        if self.path.kind.is_outbound() { TRUSTED } else { PUBLIC }
    }

    /// Where they go out.
    pub fn to(&self) -> PortId {
        if self.path.kind.is_outbound() { PUBLIC } else { TRUSTED }
    }

    /// The `n`-th packet that is inside.
    pub fn inner(&self, i: usize, n: usize) -> Vec<u8> {
        let six = matches!(self.path.kind, Kind::Softwire6Out | Kind::Softwire6In);
        let there4 = self.there(self.peer_of(i));
        let (here, there) = if six { (HERE6.into(), there6(i).into()) } else { (HERE.into(), there4.into()) };
        let (src, dst) = if self.path.kind.is_outbound() { (here, there) } else { (there, here) };
        datagram(src, dst, n as u16, self.path.octets)
    }

    /// The `n`-th frame for the gateway, of peer `i`, or of the `i`-th pair of SAs.
    pub fn frame(&mut self, i: usize, n: usize) -> anyhow::Result<Vec<u8>> {
        let inner = self.inner(i, n);
        Ok(framed(&match self.path.kind {
            kind if kind.is_outbound() => inner,
            Kind::Decap => packet(peer6(i).into(), GATEWAY6.into(), ip::IPIP, &inner),
            Kind::EspIn => self.sealed(i, ip::IPIP, inner)?,
            _ => {
                let data = tunnelled(SessionId::from_slot(self.slot(i)?), &inner)?;
                self.sealed(i, ip::UDP, data)?
            }
        }))
    }

    /// Opens an ESP packet for peer `i`: what it carries, and its protocol.
    pub fn opened(&mut self, i: usize, packet: &[u8]) -> anyhow::Result<(u8, Vec<u8>)> {
        let (manager, far) = self.far(i)?;
        let mut data = packet.to_vec();
        let opened = esp::open(manager, &mut far.open, &mut data).map_err(|r| anyhow::anyhow!("{}", r.name()))?;
        Ok((opened.next_header, data))
    }

    /// An ESP packet around `data`, as peer `i` makes it.
    fn sealed(&mut self, i: usize, next: u8, mut data: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let (manager, far) = self.far(i)?;
        esp::seal(manager, &mut far.seal, next, &mut data).map_err(|r| anyhow::anyhow!("{}", r.name()))?;
        let (dst, src) = self.ends(i);
        if !self.path.kind.is_behind_nat() {
            return Ok(packet(src, dst, ip::ESP, &data));
        }
        let mut around = [&[0; udp::HEADER][..], &data].concat();
        let len = around.len() as u16;
        anyhow::ensure!(udp::emit(&mut around, NATT, NATT, len), "headers");
        Ok(packet(src, dst, ip::UDP, &around))
    }

    /// The gateway's and the peer's end of the `i`-th pair of SAs.
    pub fn ends(&self, i: usize) -> (IpAddr, IpAddr) {
        let peer = self.peer_of(i);
        if self.path.kind.is_over_ipv6() {
            (GATEWAY6.into(), peer6(peer).into())
        } else {
            (GATEWAY.into(), peer4(peer).into())
        }
    }

    /// Frees the peers' ends of SAs; they would begin anew.
    pub fn forget_far(&mut self) {
        self.far = HashMap::new();
    }

    /// The `i`-th pair of SAs, for the tables of the worker that owns it; none where nothing is protected.
    pub fn own_sas(&self, i: usize) -> anyhow::Result<Vec<TableOp>> {
        if !self.path.kind.is_protected() {
            return Ok(Vec::new());
        }
        let (sa_in, sa_out) = self.sas(i)?;
        let select = TableOp::PeerSelect { peer: peer(self.peer_of(i))?, sa: Some(sa_out.id) };
        Ok(vec![TableOp::SaInAdd(sa_in), TableOp::SaOutAdd(sa_out), select])
    }

    /// The session of peer `i`, if it has one.
    pub fn own_session(&self, i: usize) -> anyhow::Result<Vec<TableOp>> {
        let session = self.path.kind.is_session().then(|| self.session(i)).transpose()?;
        Ok(session.into_iter().map(TableOp::SessionAdd).collect())
    }

    /// Takes peer `i` away again.
    pub fn disown(&self, i: usize) -> anyhow::Result<Vec<TableOp>> {
        let slot = self.slot(i)?;
        let mut ops = Vec::new();
        if self.path.kind.is_session() {
            ops.push(TableOp::SessionDel(SessionId::from_slot(slot)));
        }
        if self.path.kind.is_protected() {
            ops.push(TableOp::PeerSelect { peer: peer(self.peer_of(i))?, sa: None });
            ops.extend([TableOp::SaInDel(Spi::from_slot(slot)), TableOp::SaOutDel(SaOutId(slot))]);
        }
        Ok(ops)
    }

    /// The route to what is behind peer `i`.
    pub fn route(&self, i: usize) -> anyhow::Result<SnapshotOp> {
        let kind = self.path.kind;
        if kind == Kind::Forward {
            route(self.there(i).into(), 24, NextHop::Via(PUBLIC, ROUTER.into()))
        } else if kind.is_session() {
            route(self.there(i).into(), 32, NextHop::Session(SessionId::from_slot(self.slot(i)?)))
        } else {
            route(self.there(i).into(), 24, NextHop::Softwire(SoftwireId(u16::try_from(i)?)))
        }
    }

    /// The host behind peer `i`: that of a subscriber is next to another's, others are in a /24 of their own, all over
    /// 16.0.0.0 to 79.255.255.0.
    fn there(&self, i: usize) -> Ipv4Addr {
        let i = i as u32;
        if self.path.kind.is_session() {
            return Ipv4Addr::from_bits(0x2800_0001 + i);
        }
        Ipv4Addr::from_bits(0x1000_0001 + ((i.wrapping_mul(0x9e37_79b1) & 0x3f_ffff) << 8))
    }

    /// Pairs of SAs: one of each peer, or one peer's with each worker (RFC 9611).
    pub fn pairs(&self) -> usize {
        self.path.peers.max(self.workers)
    }

    /// Whose the `i`-th pair of SAs is. What comes and goes beyond those has a peer of its own.
    fn peer_of(&self, i: usize) -> usize {
        if i < self.pairs() { i % self.path.peers } else { i }
    }

    fn slot(&self, i: usize) -> anyhow::Result<Slot> {
        Slot::new(WorkerId((i % self.workers) as u8), (i / self.workers) as u32, 1).context("slot")
    }

    fn sas(&self, i: usize) -> anyhow::Result<(SaIn, SaOut)> {
        let suite = EspSuite::new(Cipher::AesGcm128, Integrity::None).context("suite")?;
        let key = |direction: u8| {
            let mut octets = [direction; 20];
            octets[..4].copy_from_slice(&(i as u32).to_be_bytes());
            EspKey::new(suite, &octets).context("key")
        };
        let (mode, selector) = if self.path.kind.is_session() {
            let selector = Selector { protocol: ip::UDP, local_port: PortRange::one(l2tp::PORT), ..Selector::ANY };
            (Mode::Transport, selector)
        } else {
            (Mode::Tunnel, Selector::ANY)
        };
        let (peer, id) = (peer(self.peer_of(i))?, SaOutId(self.slot(i)?));
        let (local, remote) = self.ends(i);
        let ports = UdpEncap { local_port: NATT, remote_port: NATT };
        let encap = self.path.kind.is_behind_nat().then_some(ports);
        let (esn, lifetime) = (true, Lifetime::default());
        let (spi, replay_window) = (Spi::from_slot(self.slot(i)?), self.replay_window);
        let key_in = key(1)?;
        let sa_in =
            SaIn { spi, peer, suite, key: key_in, esn, replay_window, mode, local, remote, encap, selector, lifetime };
        let (spi, key) = (THEIRS + i as u32, key(2)?);
        Ok((sa_in, SaOut { id, spi, peer, suite, key, esn, mode, local, remote, encap, selector, lifetime }))
    }

    fn far(&mut self, i: usize) -> anyhow::Result<(&mut Manager, &mut Far)> {
        if !self.far.contains_key(&i) {
            let (sa_in, sa_out) = self.sas(i)?;
            self.far.insert(i, Far::of(&self.manager, sa_in, sa_out)?);
        }
        Ok((&mut self.manager, self.far.get_mut(&i).context("no such peer")?))
    }

    fn softwire(&self, i: usize) -> anyhow::Result<Softwire> {
        let (protection, local, remote) = if self.path.kind.is_protected() {
            (Protection::Esp(Some((peer(i)?, self.slot(i)?.worker()))), GATEWAY.into(), peer4(i).into())
        } else {
            (Protection::Clear, GATEWAY6.into(), peer6(i).into())
        };
        Ok(Softwire {
            id: SoftwireId(u16::try_from(i)?),
            local,
            remote,
            mtu: 1420,
            path_mtu: 1500,
            hop_limit: 64,
            dscp: None,
            too_big: TooBig::Inner,
            protection,
            bfd: false,
            dead: false,
            tfc: false,
            strict: true,
        })
    }

    fn session(&self, i: usize) -> anyhow::Result<Session> {
        let mut inner = InnerAddresses { ipv4: true, ipv6: true, ..InnerAddresses::default() };
        inner.prefixes[0] = Some(IpPrefix::host(self.there(i).into()));
        inner.prefixes[1] = IpPrefix::new(there6(i).into(), 64);
        let (local, remote) = self.ends(i);
        let at = |a: IpAddr| SocketAddr::new(a, l2tp::PORT);
        Ok(Session {
            id: SessionId::from_slot(self.slot(i)?),
            peer_tunnel: 1,
            peer_session: 1,
            outer: OuterPath { local: at(local), remote: at(remote) },
            peer: Some(peer(self.peer_of(i))?),
            sequencing: false,
            pfc: false,
            acfc: false,
            mtu: 1426,
            clamp_mss: true,
            inner,
            rate: Rates::default(),
            filter: None,
        })
    }

    fn tables(&self) -> anyhow::Result<Vec<SnapshotOp>> {
        let kind = self.path.kind;
        let public = if kind == Kind::Forward { Zone::Trusted } else { Zone::Public };
        let mut ops = vec![
            port(PUBLIC, public, &[(GATEWAY.into(), 24), (GATEWAY6.into(), 64)]),
            port(TRUSTED, Zone::Trusted, &[(HERE_PORT.into(), 24), (HERE6_PORT.into(), 64)]),
            route(GATEWAY.into(), 24, NextHop::Connected(PUBLIC))?,
            route(GATEWAY6.into(), 64, NextHop::Connected(PUBLIC))?,
            route(HERE_PORT.into(), 24, NextHop::Connected(TRUSTED))?,
            route(HERE6_PORT.into(), 64, NextHop::Connected(TRUSTED))?,
            route(peer4(0).into(), 8, NextHop::Via(PUBLIC, ROUTER.into()))?,
            route(peer6(0).into(), 48, NextHop::Via(PUBLIC, ROUTER6.into()))?,
            SnapshotOp::NeighbourAdd(PUBLIC, ROUTER.into(), MacAddr(FAR)),
            SnapshotOp::NeighbourAdd(PUBLIC, ROUTER6.into(), MacAddr(FAR)),
            SnapshotOp::NeighbourAdd(TRUSTED, HERE.into(), MacAddr(FAR)),
            SnapshotOp::NeighbourAdd(TRUSTED, HERE6.into(), MacAddr(FAR)),
            SnapshotOp::Policy(vec![PolicyRule { selector: Selector::ANY, action: Action::Discard }]),
        ];
        for i in 0..self.path.peers {
            ops.push(self.route(i)?);
            if matches!(kind, Kind::Softwire6Out | Kind::Softwire6In) {
                ops.push(route(there6(i).into(), 64, NextHop::Session(SessionId::from_slot(self.slot(i)?)))?);
            } else if !kind.is_session() && kind != Kind::Forward {
                ops.push(SnapshotOp::SoftwireSet(self.softwire(i)?));
            }
        }
        Ok(ops)
    }
}

/// A host of ours.
pub const HERE: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);
/// Our end of ESP.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Our end of what goes over IPv6.
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1);
/// The router before the peers.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 9);
const HERE_PORT: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);
const HERE6_PORT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 1);
/// The same host.
pub const HERE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);

/// Peer `i`'s end of ESP.
pub fn peer4(i: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xa000_0001 + i as u32)
}

/// Peer `i`'s end of what goes over IPv6.
pub fn peer6(i: usize) -> Ipv6Addr {
    Ipv6Addr::from_bits((0x2001_0db8_00f2_u128 << 80) + 1 + i as u128)
}

fn there6(i: usize) -> Ipv6Addr {
    Ipv6Addr::from_bits((0x2001_0db9_u128 << 96) | (i as u128) << 64 | 1)
}

fn peer(i: usize) -> anyhow::Result<PeerId> {
    Ok(PeerId(NonZeroU32::new(i as u32 + 1).context("peer")?))
}

fn port(port: PortId, zone: Zone, addresses: &[(IpAddr, u8)]) -> SnapshotOp {
    SnapshotOp::Port(PortConfig {
        port,
        mac: MacAddr(NEAR),
        mtu: 1500,
        vlan: None,
        zone,
        addresses: addresses.to_vec(),
    })
}

fn route(address: IpAddr, len: u8, hop: NextHop) -> anyhow::Result<SnapshotOp> {
    Ok(SnapshotOp::RouteAdd(IpPrefix::new(address, len).context("prefix")?, vec![hop]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_sas_and_their_peers() -> anyhow::Result<()> {
        let whose = |peers: usize, workers: usize, i: usize| -> anyhow::Result<(u32, u8)> {
            let path = Path::named(&format!("esp-out-64-{peers}")).context("path")?;
            let world = World::over(path, 0, workers)?;
            let (sa_in, sa_out) = world.sas(i)?;
            anyhow::ensure!(sa_in.peer == sa_out.peer && world.disown(i)?.len() == 3);
            Ok((sa_in.peer.0.get(), sa_out.id.0.worker().0))
        };
        assert_eq!([whose(1, 2, 0)?, whose(1, 2, 1)?], [(1, 0), (1, 1)], "one peer, two workers");
        assert_eq!([whose(3, 2, 1)?, whose(3, 2, 2)?], [(2, 1), (3, 0)], "a worker each");
        assert_eq!([whose(3, 1, 3)?, whose(1, 2, 2)?], [(4, 0), (3, 0)], "others, who come and go");
        Ok(())
    }
}
