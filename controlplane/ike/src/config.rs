//! Configuration: the PAD (RFC 4301, section 4.4.3) and what goes with it.
//!
//! A [`PadEntry`] joins who the peer may be, how it proves it, how we prove ourselves to it, and which child SA it may
//! have. A responder with many entries chooses by the identity the peer claims (IDi), and by the one it expects (IDr)
//! when it sends it; the entry's credential then has to hold for exactly that identity.

use crate::auth::{IdMatch, Identity, LocalAuth, RemoteAuth};
use crate::error::ConfigError;
use crate::payload::ts::TrafficSelector;
use crate::proposal::{EspProposal, IkeProposal, IkeSuite, ke};
use crate::sa::resource::MAX_RESOURCES;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// ESP mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Transport mode (RFC 4301, section 4.1).
    Transport,
    /// Tunnel mode.
    Tunnel,
}

/// Addresses of a selector pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsAddress {
    /// The outer address of that side, as the IKE SA uses it.
    Endpoint,
    /// Any address.
    Any,
    /// A range, both ends included.
    Range(IpAddr, IpAddr),
}

/// What a child SA may carry on one side. The peer's proposal is narrowed to it, so a port range open here takes the
/// value the peer names ("populate from packet", RFC 4301, section 4.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TsPattern {
    /// IP protocol, 0 for any.
    pub protocol: u8,
    /// Ports, both ends included.
    pub ports: (u16, u16),
    /// Addresses.
    pub addresses: TsAddress,
}

impl TsPattern {
    /// The pattern made concrete for an endpoint with address `outer`.
    pub fn resolve(&self, outer: IpAddr) -> Vec<TrafficSelector> {
        let with = |addresses| TrafficSelector { protocol: self.protocol, ports: self.ports, addresses };
        match self.addresses {
            TsAddress::Endpoint => vec![with((outer, outer))],
            TsAddress::Range(first, last) => vec![with((first, last))],
            TsAddress::Any => [false, true].map(|v6| with(TrafficSelector::any(v6).addresses)).to_vec(),
        }
    }
}

/// The child SA of a peer.
#[derive(Clone, Debug)]
pub struct ChildPolicy {
    /// Mode.
    pub mode: Mode,
    /// Algorithms in order of preference.
    pub esp_proposals: Vec<EspProposal>,
    /// Our side.
    pub local_ts: Vec<TsPattern>,
    /// The peer's side.
    pub remote_ts: Vec<TsPattern>,
    /// Rekey after this time, less up to a tenth of it at random. `None`: only when asked to.
    pub rekey_after: Option<Duration>,
    /// Resources of ours, each of which is to have a child SA of its own besides the first one, where the peer takes that
    /// (RFC 9611). At most [`MAX_RESOURCES`]; 0: the first child SA carries all.
    pub resources: u32,
}

impl ChildPolicy {
    /// The SPD entry of a softwire (RFC 5571, section 5.1; requirement H52): UDP 1701 in transport mode. The
    /// concentrator (`responder`) accepts any port of the peer.
    pub fn l2tp(responder: bool) -> Self {
        let pattern = |ports| vec![TsPattern { protocol: 17, ports, addresses: TsAddress::Endpoint }];
        let (own, any) = ((1701, 1701), (0, u16::MAX));
        Self {
            mode: Mode::Transport,
            esp_proposals: EspProposal::defaults(),
            local_ts: pattern(own),
            remote_ts: pattern(if responder { any } else { own }),
            rekey_after: Some(Duration::from_secs(3600)),
            resources: 0,
        }
    }
}

/// One peer, or one class of peers that prove themselves by certificate.
#[derive(Clone, Debug)]
pub struct PadEntry {
    /// Name.
    pub name: String,
    /// Who the peer may be.
    pub remote: IdMatch,
    /// How it proves that.
    pub remote_auth: RemoteAuth,
    /// Who we are to it.
    pub local_id: Identity,
    /// How we prove that.
    pub local_auth: LocalAuth,
    /// IKE algorithms in order of preference.
    pub ike_proposals: Vec<IkeProposal>,
    /// What it may carry.
    pub child: ChildPolicy,
    /// Rekey the IKE SA after this time, less up to a tenth of it at random.
    pub ike_rekey_after: Option<Duration>,
    /// Ask a silent peer for a sign of life after this time (RFC 7296, section 2.4). `None`: never.
    pub dpd_delay: Option<Duration>,
    /// Add ML-KEM-768 to each proposal, where the peer has it too (RFC 9370). In rekeys of the child SA it goes with a
    /// key exchange, so it is offered only where [`EspProposal::ke`] puts one first.
    pub mlkem: bool,
    /// Claim to be behind a NAT when we initiate, so that ESP is always carried in UDP.
    pub force_encap: bool,
    /// Offer MOBIKE, and take it (RFC 4555): the initiator may change its address.
    pub mobike: bool,
    /// Before anything is sent to an initiator's new address, ask it there (RFC 4555, section 3.7).
    pub return_routability: bool,
}

impl PadEntry {
    /// The IKE proposals with the hybrid variants first.
    pub fn proposals(&self) -> Vec<IkeProposal> {
        let plain = self.ike_proposals.iter().cloned();
        if !self.mlkem {
            return plain.collect();
        }
        let hybrid = |p: IkeProposal| IkeProposal { addke1: vec![ke::ML_KEM_768], ..p };
        plain.clone().filter(|p| p.addke1.is_empty()).map(hybrid).chain(plain).collect()
    }

    /// The ESP proposals of a rekey, with the hybrid variants of those that can have a key exchange first.
    pub fn rekey_esp_proposals(&self) -> Vec<EspProposal> {
        let plain = self.child.esp_proposals.iter().cloned();
        if !self.mlkem {
            return plain.collect();
        }
        let hybrid = |mut p: EspProposal| {
            p.ke.retain(|&id| id != ke::NONE);
            EspProposal { addke1: vec![ke::ML_KEM_768], ..p }
        };
        let suited = plain.clone().filter(|p| p.addke1.is_empty()).map(hybrid).filter(|p| !p.ke.is_empty());
        suited.chain(plain).collect()
    }

    /// Whether a suite falls within the entry's proposals.
    pub fn allows(&self, suite: &IkeSuite) -> bool {
        self.proposals().iter().any(|p| p.allows(suite))
    }
}

/// Growth of the interval between retransmissions.
pub(crate) const BACKOFF: f64 = 1.8;
/// Share of the interval that is added at random, at most.
pub(crate) const JITTER: f64 = 0.2;

/// Retransmission and lifetimes.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// First retransmission; later ones back off by 1.8 each, with up to a fifth of jitter.
    pub retransmit: Duration,
    /// Transmissions of a request before the peer is given up.
    pub tries: u32,
    /// A responder's IKE SA that is not authenticated by then is forgotten.
    pub half_open: Duration,
    /// So is an IKE SA whose EAP conversation makes no progress for this time, at either end.
    pub eap: Duration,
    /// NAT keepalive interval (RFC 3948, section 4).
    pub keepalive: Duration,
    /// How long a deleted IKE SA still answers retransmissions.
    pub linger: Duration,
    /// Pause after TEMPORARY_FAILURE.
    pub retry: Duration,
}

impl Timers {
    /// How long a request is retransmitted before the peer is given up, at most. An IKE SA that has been replaced lasts
    /// as long: until then a peer whose timers are like ours may still ask for the answer that made its successor.
    pub(crate) fn patience(&self) -> Duration {
        let backoff = f64::powi(BACKOFF, i32::try_from(self.tries.min(20)).unwrap_or(20));
        let total = self.retransmit.mul_f64((backoff - 1.0) / (BACKOFF - 1.0) * (1.0 + JITTER));
        total.max(self.half_open * 2)
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            retransmit: Duration::from_secs(2),
            tries: 6,
            half_open: Duration::from_secs(30),
            eap: Duration::from_secs(60),
            keepalive: Duration::from_secs(20),
            linger: Duration::from_secs(10),
            retry: Duration::from_secs(10),
        }
    }
}

/// Bounds on what unauthenticated peers can make us hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Half-open IKE SAs from which on a cookie is demanded (RFC 7296, section 2.6).
    pub cookie_threshold: usize,
    /// Half-open IKE SAs from which on IKE_SA_INIT requests are dropped.
    pub max_half_open: usize,
    /// IKE SAs per second that strangers can make us begin: the rest of their requests is dropped, to be repeated. Each costs a
    /// key exchange, while asking for a cookie costs next to nothing.
    pub new_per_second: u32,
    /// INVALID_IKE_SPI answers per second to requests for IKE SAs that do not exist (section 2.21.4). 0: none.
    pub invalid_spi_per_second: u32,
    /// Pre-shared keys of the PAD that are tried on messages of IKEv1 per second. Message 5 of main mode does not say in
    /// the clear whose it is.
    pub v1_secrets_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cookie_threshold: 512,
            max_half_open: 65_536,
            new_per_second: 5_000,
            invalid_spi_per_second: 100,
            v1_secrets_per_second: 50_000,
        }
    }
}

/// Configuration of an endpoint.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The PAD.
    pub pad: Vec<Arc<PadEntry>>,
    /// Where IKEv1 is spoken; nowhere where empty.
    pub v1: Vec<crate::v1::Listener>,
    /// Timers.
    pub timers: Timers,
    /// Limits.
    pub limits: Limits,
    /// Largest IP packet that carries a protected message over IPv4, IPv6; 0 takes 576 and 1280 (RFC 7383, section 2.5.1).
    pub fragment_size: (usize, usize),
}

impl Config {
    /// Room for a UDP payload with the remote address.
    pub(crate) fn datagram_room(&self, remote: IpAddr) -> usize {
        // IP and UDP headers, and the non-ESP marker.
        match remote {
            IpAddr::V4(_) => (if self.fragment_size.0 == 0 { 576 } else { self.fragment_size.0 }).saturating_sub(32),
            IpAddr::V6(_) => (if self.fragment_size.1 == 0 { 1280 } else { self.fragment_size.1 }).saturating_sub(52),
        }
    }

    /// Refuses what must not be run.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut names = HashMap::new();
        for entry in &self.pad {
            let refuse = |reason: &str| ConfigError { entry: entry.name.clone(), reason: reason.to_owned() };
            if names.insert(entry.name.as_str(), ()).is_some() {
                return Err(refuse("the name is used twice"));
            }
            if matches!(entry.remote_auth, RemoteAuth::Psk(_)) && !matches!(entry.remote, IdMatch::Exact(_)) {
                return Err(refuse("H46: a pre-shared key needs an exact remote identity, group keys are refused"));
            }
            // Whoever has the key could pose as us to the others.
            let shared = matches!((&entry.remote_auth, &entry.local_auth), (RemoteAuth::Eap, LocalAuth::Psk(_)));
            if shared && !matches!(entry.remote, IdMatch::Exact(_)) {
                return Err(refuse("H46: users of EAP that are not one identity need a gateway with a certificate"));
            }
            if entry.ike_proposals.is_empty() || entry.child.esp_proposals.is_empty() {
                return Err(refuse("no proposals"));
            }
            entry.ike_proposals.iter().try_for_each(IkeProposal::check).map_err(refuse)?;
            entry.child.esp_proposals.iter().try_for_each(EspProposal::check).map_err(refuse)?;
            if entry.child.local_ts.is_empty() || entry.child.remote_ts.is_empty() {
                return Err(refuse("no traffic selectors"));
            }
            if entry.child.resources as usize > MAX_RESOURCES {
                return Err(refuse("too many resources"));
            }
        }
        Ok(())
    }
}

/// A configuration with the look-ups an endpoint needs.
#[derive(Debug)]
pub(crate) struct Policy {
    pub config: Arc<Config>,
    by_name: HashMap<String, usize>,
    exact: HashMap<Identity, Vec<usize>>,
    patterns: Vec<usize>,
    /// What a responder accepts before it knows who asks: all entries' proposals. The entry's own are checked later.
    pub proposals: Vec<IkeProposal>,
    /// Body of the CERTREQ payload, when some entry takes certificates.
    pub authorities: Option<Vec<u8>>,
    /// Names of the trust anchors, which IKEv1 asks for.
    pub authority_names: Vec<Vec<u8>>,
    /// What of the PAD is of use with IKEv1.
    pub v1: crate::v1::Usable,
}

impl Policy {
    pub fn new(config: Arc<Config>) -> Self {
        let mut policy = Self {
            by_name: HashMap::with_capacity(config.pad.len()),
            exact: HashMap::new(),
            patterns: Vec::new(),
            proposals: Vec::new(),
            authorities: crate::sa::initial::authorities(&config.pad),
            authority_names: Vec::new(),
            v1: crate::v1::Usable::of(&config.pad),
            config: Arc::clone(&config),
        };
        let mut seen = std::collections::HashSet::new();
        for (index, entry) in config.pad.iter().enumerate() {
            policy.by_name.insert(entry.name.clone(), index);
            if let RemoteAuth::Certificate(trust) = &entry.remote_auth {
                for name in trust.authority_names() {
                    if !policy.authority_names.contains(&name) {
                        policy.authority_names.push(name);
                    }
                }
            }
            match &entry.remote {
                IdMatch::Exact(id) => policy.exact.entry(id.clone()).or_default().push(index),
                _ => policy.patterns.push(index),
            }
            for proposal in entry.proposals() {
                if seen.insert(proposal.clone()) {
                    policy.proposals.push(proposal);
                }
            }
        }
        policy
    }

    pub fn named(&self, name: &str) -> Option<&Arc<PadEntry>> {
        self.config.pad.get(*self.by_name.get(name)?)
    }

    /// IKEv1 at an address of ours, where it is spoken.
    pub fn v1(&self, local: IpAddr) -> Option<&crate::v1::Listener> {
        self.config.v1.iter().find(|listener| listener.local == local)
    }

    /// The entries for a peer that claims `remote` and, when it says so, expects us to be `local`: exact identities
    /// before patterns, each in the order of the configuration.
    pub fn lookup<'a>(
        &'a self,
        remote: &'a Identity,
        local: Option<&'a Identity>,
    ) -> impl Iterator<Item = &'a Arc<PadEntry>> + 'a {
        let exact = self.exact.get(remote).map_or(&[][..], |v| &v[..]);
        exact
            .iter()
            .chain(&self.patterns)
            .filter_map(|&index| self.config.pad.get(index))
            .filter(move |entry| entry.remote.matches(remote) && local.is_none_or(|id| *id == entry.local_id))
    }
}
