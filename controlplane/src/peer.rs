//! IKE peers and their child SAs: from IKE's events to entries of the workers' SADs.
//!
//! Order matters (design: "the inbound SA is installed before the IKE reply that makes the peer use it"): events
//! are turned into table changes before IKE's packets are taken, and a packet never overtakes a change.
//! An inbound SA that was replaced still receives for the grace time, so that a rekey loses nothing.

use crate::aaa::Accept;
use crate::config::{self, Config};
use crate::program::Program;
use dataplane_api::id::Slot;
use dataplane_api::{
    EspKey, EspSuite, IpPrefix, Lifetime, Limits, Mode, PeerId, PortRange, SaIn, SaOut, SaOutId, Selector, Spi,
    TableOp, UdpEncap, WorkerId,
};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// A pair of child SAs as programmed.
#[derive(Debug)]
pub struct Child {
    /// Inbound SPI.
    pub spi_in: Spi,
    /// The peer's SPI.
    pub spi_out: u32,
    /// Outbound slot.
    pub out: SaOutId,
    /// Algorithms.
    pub suite: EspSuite,
    /// Extended sequence numbers.
    pub esn: bool,
    /// Mode.
    pub mode: Mode,
    /// UDP encapsulation.
    pub encap: bool,
    /// The peer takes TFC padding.
    pub tfc: bool,
    /// What of the algorithms is weak.
    pub weak: Vec<&'static str>,
    /// What it carries.
    pub selector: Selector,
    /// Since when.
    pub since: Instant,
    /// What it is bound to at each end; ours is its worker.
    pub resource: Option<ike::Resource>,
}

impl Child {
    /// Whose tables it is in.
    pub fn worker(&self) -> WorkerId {
        self.out.0.worker()
    }
}

/// What AAA has said of a peer that it authenticated by EAP.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The user's name.
    pub user: String,
    /// What it is given.
    pub accept: Box<Accept>,
}

/// An authenticated IKE peer.
#[derive(Debug)]
pub struct Peer {
    /// PAD entry.
    pub pad: String,
    /// It is an AFBR, and no subscriber.
    pub afbr: bool,
    /// Version of IKE, 1 or 2.
    pub version: u8,
    /// Identity it proved.
    pub remote_id: String,
    /// It proved it by the shared secret of a listener: the identity is no more than a claim (H46).
    pub shared_secret: bool,
    /// The user, if EAP authenticated one.
    pub admitted: Option<Admitted>,
    /// Our address.
    pub local: SocketAddr,
    /// Its address and port as we see them.
    pub remote: SocketAddr,
    /// UDP encapsulation.
    pub natt: bool,
    /// The worker of what is not bound to another.
    pub worker: WorkerId,
    /// Child SAs by inbound SPI.
    pub children: HashMap<u32, Child>,
    /// Inbound SPIs of the children whose outbound halves are in use, by worker.
    pub selected: BTreeMap<WorkerId, u32>,
}

/// Largest PPP payload (inner IP packet) on a link of `link` octets: link less outer IP, UDP encapsulation, ESP,
/// UDP, L2TP (8 octets) and PPP (4 octets) (RFC 3193, section 3.2; RFC 5571, section 5.1.3; H48).
pub fn ppp_mtu(link: u16, v6: bool, natt: bool, esp: Option<EspSuite>) -> u16 {
    payload_mtu(link, v6, natt, esp).saturating_sub(8 + 8 + 4)
}

/// Largest payload of an outer IP packet of `link` octets, inside UDP encapsulation and ESP: an inner packet of IP in IP.
pub fn payload_mtu(link: u16, v6: bool, natt: bool, esp: Option<EspSuite>) -> u16 {
    let ip = if v6 { 40 } else { 20 };
    let mut room = usize::from(link).saturating_sub(ip);
    if let Some(s) = esp {
        let fixed = 8 + s.cipher().iv_len() + s.icv_len() + if natt { 8 } else { 0 };
        // What is encrypted is a multiple of the block and ends in pad length and next header.
        let block = s.cipher().block_len();
        room = (room.saturating_sub(fixed) / block * block).saturating_sub(2);
    }
    u16::try_from(room).unwrap_or(u16::MAX)
}

/// The data plane's selector of a child SA. In transport mode the addresses are the outer ones, whatever a NAT made of
/// them (RFC 7296, section 2.23.1); a tunnel's are checked by the session or softwire it carries.
fn selector(child: &ike::Child) -> Selector {
    let one = |ts: &[ike::TrafficSelector], outer: IpAddr| {
        let net = matches!(child.mode, ike::Mode::Transport).then(|| IpPrefix::host(outer));
        match ts {
            [t] => (t.protocol, net, PortRange { first: t.ports.0, last: t.ports.1 }),
            // IPv4 and IPv6 in IP, BGP: `decap` knows the softwires, and the host stack gets what the SPD PROTECTs.
            _ => (0, net, PortRange::ANY),
        }
    };
    let (protocol, local, local_port) = one(&child.local_ts, child.local.ip());
    let (_, remote, remote_port) = one(&child.remote_ts, child.remote.ip());
    Selector { protocol, local, remote, local_port, remote_port, ..Selector::ANY }
}

impl Peer {
    /// Installs a child SA; `entry` is that of the PAD, where there is one. `Err` says why it cannot be.
    pub fn child_up(
        &mut self,
        now: Instant,
        id: PeerId,
        child: &ike::Child,
        config: &Config,
        entry: Option<&config::Peer>,
        program: &mut Program,
    ) -> Result<(), &'static str> {
        let esn = child.suite.esn;
        let suite =
            EspSuite::from_transforms(child.suite.encr, child.suite.integ).ok_or("child SA with unknown algorithms")?;
        let key = |key: &ike::ChildKey| EspKey::of(suite, &key.encr, &key.integ);
        let key_in = key(&child.inbound).ok_or("inbound key of the wrong length")?;
        let key_out = key(&child.outbound).ok_or("outbound key of the wrong length")?;
        let worker = self.worker_of(child.spi_in);
        let out = program.allocation().sa_out(worker).ok_or("table of outbound SAs is full")?;
        let encap = child.encap.then(|| UdpEncap { local_port: child.local.port(), remote_port: child.remote.port() });
        let mode = match child.mode {
            ike::Mode::Transport => Mode::Transport,
            ike::Mode::Tunnel => Mode::Tunnel,
        };
        let selector = selector(child);
        let profile = entry.and_then(|p| config.mesh.profile(p.softwire.as_deref()?));
        let soft = Limits {
            packets: profile.and_then(|f| f.rekey_packets).unwrap_or(config.ike.child_rekey_packets),
            octets: profile.and_then(|f| f.rekey_octets).unwrap_or(config.ike.child_rekey_octets),
        };
        let hard = Limits { packets: soft.packets * 2, octets: soft.octets * 2 };
        let lifetime = Lifetime { soft, hard };
        let (local, remote) = (child.local.ip(), child.remote.ip());
        let spi_in = Spi(child.spi_in);
        let sa_in = SaIn {
            spi: spi_in,
            peer: id,
            suite,
            key: key_in,
            esn,
            replay_window: profile.and_then(|f| f.replay_window).unwrap_or(config.ike.replay_window),
            mode,
            local,
            remote,
            encap,
            selector,
            lifetime,
        };
        let sa_out = SaOut {
            id: out,
            spi: child.spi_out,
            peer: id,
            suite,
            key: key_out,
            esn,
            mode,
            local,
            remote,
            encap,
            selector,
            lifetime,
        };
        program.op(worker, TableOp::SaInAdd(sa_in));
        program.op(worker, TableOp::SaOutAdd(sa_out));
        let record = Child {
            spi_in,
            spi_out: child.spi_out,
            out,
            suite,
            esn,
            mode,
            encap: child.encap,
            tfc: child.tfc,
            weak: child.suite.weak(),
            selector,
            since: now,
            resource: child.resource.clone(),
        };
        self.children.insert(child.spi_in, record);
        Ok(())
    }

    /// The worker that an inbound SPI names.
    pub fn worker_of(&self, spi_in: u32) -> WorkerId {
        Spi(spi_in).slot().map_or(self.worker, Slot::worker)
    }

    /// From now on outbound traffic of its worker uses this child, unless the worker has one that is bound to it and this one
    /// is not.
    pub fn select(&mut self, id: PeerId, spi_in: u32, program: &mut Program) {
        let Some(c) = self.children.get(&spi_in) else { return };
        let worker = c.worker();
        let before = self.selected.get(&worker).and_then(|spi| self.children.get(spi));
        if c.resource.is_none() && before.is_some_and(|before| before.resource.is_some()) {
            return;
        }
        program.op(worker, TableOp::PeerSelect { peer: id, sa: Some(c.out) });
        self.selected.insert(worker, spi_in);
    }

    /// Stops using a child. Its outbound half goes at once; the inbound half is returned, to go after the grace time.
    pub fn child_down(&mut self, id: PeerId, spi_in: u32, program: &mut Program) -> Option<Spi> {
        let child = self.children.remove(&spi_in)?;
        let worker = child.worker();
        if self.selected.get(&worker) == Some(&spi_in) {
            self.selected.remove(&worker);
            let others = self.children.values().filter(|c| c.worker() == worker);
            match others.max_by_key(|c| (c.resource.is_some(), c.since)).map(|c| c.spi_in.0) {
                Some(other) => self.select(id, other, program),
                None => drop(program.op(worker, TableOp::PeerSelect { peer: id, sa: None })),
            }
        }
        program.op(worker, TableOp::SaOutDel(child.out));
        program.allocation().free_sa_out(child.out);
        Some(child.spi_in)
    }

    /// The child in use on the peer's worker, to which those that have none of their own hand packets; another worker's if
    /// there is none.
    pub fn common(&self) -> Option<&Child> {
        let spi = self.selected.get(&self.worker).or_else(|| self.selected.values().next());
        spi.and_then(|spi| self.children.get(spi))
    }

    /// The suite in use, for MTU arithmetic. All are of one.
    pub fn current_suite(&self) -> Option<EspSuite> {
        self.common().map(|c| c.suite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane_api::{Cipher, Integrity};

    // requirements.md B2: AES-GCM-16, transport mode, link of 1500 octets.
    #[test]
    fn mtu_table() {
        let gcm = EspSuite::new(Cipher::AesGcm128, Integrity::None);
        assert_eq!(ppp_mtu(1500, false, false, gcm), 1426);
        assert_eq!(ppp_mtu(1500, false, true, gcm), 1418);
        assert_eq!(ppp_mtu(1500, true, false, gcm), 1406);
        assert_eq!(ppp_mtu(1500, true, true, gcm), 1398);
        // RFC 5571, section 5.1.3: 1460 without IPsec.
        assert_eq!(ppp_mtu(1500, false, false, None), 1460);
        let cbc = EspSuite::new(Cipher::AesCbc128, Integrity::HmacSha1_96);
        assert_eq!(ppp_mtu(1500, false, false, cbc), 1418);
        // What clients of IKEv1 may have. An IV of 8 octets and blocks of 8 leave more room than AES-CBC's of 16.
        let android = EspSuite::new(Cipher::AesCbc256, Integrity::HmacSha256_96);
        assert_eq!(ppp_mtu(1500, false, false, android), 1418);
        assert_eq!(ppp_mtu(1500, false, true, android), 1402);
        let sha256 = EspSuite::new(Cipher::AesCbc256, Integrity::HmacSha256_128);
        assert_eq!(ppp_mtu(1500, false, true, sha256), 1402);
        let old = EspSuite::new(Cipher::TripleDesCbc, Integrity::HmacSha1_96);
        assert_eq!(ppp_mtu(1500, false, false, old), 1426);
        assert_eq!(ppp_mtu(1500, false, true, old), 1418);
    }

    fn child(worker: u8, bound: bool, n: u64, start: Instant) -> Child {
        let slot = Slot::new(WorkerId(worker), n as u32, 1).unwrap();
        Child {
            spi_in: Spi::from_slot(slot),
            spi_out: 256,
            out: SaOutId(slot),
            suite: EspSuite::new(Cipher::AesGcm128, Integrity::None).unwrap(),
            esn: false,
            mode: Mode::Transport,
            encap: false,
            tfc: false,
            weak: Vec::new(),
            selector: Selector::ANY,
            since: start + std::time::Duration::from_secs(n),
            resource: bound.then(|| ike::Resource { id: worker.into(), peer: Box::default() }),
        }
    }

    // RFC 9611: each worker sends by its own, and by the one for all without.
    #[test]
    fn a_worker_uses_what_is_bound_to_it() {
        let (mut program, address, start) = (Program::new(2, 16), ([192, 0, 2, 1], 500).into(), Instant::now());
        let mut p = Peer {
            pad: "far".into(),
            afbr: true,
            version: 2,
            remote_id: "far".into(),
            shared_secret: false,
            admitted: None,
            local: address,
            remote: address,
            natt: false,
            worker: WorkerId(1),
            children: HashMap::new(),
            selected: BTreeMap::new(),
        };
        let id = PeerId(std::num::NonZeroU32::MIN);
        let all =
            [(1, false, 0), (0, true, 1), (1, true, 2), (1, false, 3)].map(|(w, bound, n)| child(w, bound, n, start));
        let spis = all.each_ref().map(|c| c.spi_in.0);
        let mut told = |p: &mut Peer, act: &mut dyn FnMut(&mut Peer, &mut Program)| {
            act(p, &mut program);
            let select = |o| match o {
                crate::program::Output::Op(worker, _, TableOp::PeerSelect { sa, .. }) => {
                    Some((worker.0, sa.map(|s| s.0.index())))
                }
                _ => None,
            };
            std::iter::from_fn(|| program.poll()).filter_map(select).collect::<Vec<_>>()
        };
        for (child, expected) in all.into_iter().zip([&[(1, Some(0))][..], &[(0, Some(1))], &[(1, Some(2))], &[]]) {
            let spi = child.spi_in.0;
            p.children.insert(spi, child);
            assert_eq!(told(&mut p, &mut |p, program| p.select(id, spi, program)), expected);
        }
        assert_eq!(p.common().map(Child::worker), Some(WorkerId(1)));
        // A rekeyed one for all goes; nothing changes. Those that are bound go: what is left serves its own worker alone.
        let mut gone = |spi| told(&mut p, &mut |p, program| _ = p.child_down(id, spi, program));
        assert_eq!(gone(spis[0]), []);
        assert_eq!(gone(spis[2]), [(1, Some(3))]);
        assert_eq!(gone(spis[3]), [(1, None)]);
        assert_eq!(gone(spis[1]), [(0, None)]);
        assert!(p.common().is_none());
    }
}
