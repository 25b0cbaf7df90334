//! Which paths are alive: BFD's sessions, and who depends on them (RFC 5882).
//!
//! ```text
//!   bgp.neighbours with bfd ──┐                        ┌─► neighbour: its BGP session ends
//!                             ├─► session per path ────┤
//!   softwires with mesh.bfd ──┘   up ──► failed        └─► softwire: routes use other egresses
//! ```
//!
//! Both share a session where they share a path (RFC 5882, section 2); it then has the neighbour's profile. A path has
//! *failed* when its session was up and is not: one that never came up belongs to a peer without BFD, and one that the
//! peer's operator took down says nothing about the path (RFC 5882, section 3.2). Neither holds anything down.

use crate::config::bfd::Profile;
use crate::config::{Config, bgp::Neighbour};
use crate::northbound::BfdInfo;
use crate::routing;
use bfd::{
    Auth, AuthType, Diag, Discard, Endpoint, Event, Key, Meta, SessionConfig, SessionId, State, Timing, Transmit,
};
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

/// What a session watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// Our address.
    pub local: IpAddr,
    /// The peer's.
    pub remote: IpAddr,
    /// There may be routers between them.
    pub multihop: bool,
}

/// A path has failed, or works again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its other end.
    pub remote: IpAddr,
    /// It works.
    pub usable: bool,
    /// A BGP neighbour depends on it.
    pub neighbour: bool,
    /// A softwire depends on it.
    pub softwire: bool,
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    profile: Profile,
    neighbour: bool,
    softwire: bool,
    failed: bool,
    ups: u64,
}

/// See the module.
pub struct Liveness {
    endpoint: Endpoint,
    /// The softwires'.
    profile: Option<Profile>,
    sessions: BTreeMap<Path, Session>,
    paths: HashMap<SessionId, Path>,
    verdicts: VecDeque<Verdict>,
}

impl Liveness {
    /// With the neighbours' sessions.
    pub fn new(now: Instant, config: &Config, rng: StdRng) -> Self {
        let mut liveness = Self {
            endpoint: Endpoint::new(bfd::Config::default(), Box::new(rng)),
            profile: None,
            sessions: BTreeMap::new(),
            paths: HashMap::new(),
            verdicts: VecDeque::new(),
        };
        liveness.configure(now, config);
        liveness
    }

    /// Other neighbours and profiles. Sessions get other intervals without an interruption; with other keys they are new
    /// ones. Whatever nobody watches any more holds nothing down.
    pub fn configure(&mut self, now: Instant, config: &Config) {
        self.profile = config.mesh.bfd.as_ref().and_then(|name| config.bfd.profile(name)).cloned();
        let of_neighbour = |n: &Neighbour| {
            let profile = n.bfd.as_ref().and_then(|name| config.bfd.profile(name))?;
            Some((path(config, n)?, profile))
        };
        let wanted: BTreeMap<Path, &Profile> =
            config.bgp.iter().flat_map(|b| &b.neighbours).filter_map(of_neighbour).collect();
        let old: Vec<Path> = self.sessions.keys().copied().collect();
        for path in old {
            let neighbour = wanted.get(&path).copied();
            let of_mesh = self.profile.clone();
            let Some(session) = self.sessions.get_mut(&path) else { continue };
            let softwire = session.softwire && of_mesh.is_some();
            let Some(profile) = neighbour.or(of_mesh.as_ref().filter(|_| softwire)) else {
                self.end(now, path);
                continue;
            };
            if session.failed && (session.neighbour && neighbour.is_none() || session.softwire && !softwire) {
                let (neighbour, softwire) = (neighbour.is_none(), !softwire);
                self.verdicts.push_back(Verdict { remote: path.remote, usable: true, neighbour, softwire });
            }
            (session.neighbour, session.softwire) = (neighbour.is_some(), softwire);
            if session.profile.keys != profile.keys {
                self.end(now, path);
                if let Some(session) = self.add(now, path, profile) {
                    (session.neighbour, session.softwire) = (neighbour.is_some(), softwire);
                }
            } else if session.profile != *profile {
                session.profile = profile.clone();
                let timing = Timing {
                    desired_min_tx: profile.transmit_interval,
                    required_min_rx: profile.receive_interval,
                    detect_mult: profile.detect_multiplier,
                };
                // There is one, and validation has found them acceptable.
                let _ = self.endpoint.set_timing(now, session.id, timing);
            }
        }
        for (path, profile) in wanted {
            if !self.sessions.contains_key(&path)
                && let Some(session) = self.add(now, path, profile)
            {
                session.neighbour = true;
            }
        }
    }

    /// The peer is told that the session ends; what it held down is free.
    fn end(&mut self, now: Instant, path: Path) {
        let Some(session) = self.sessions.remove(&path) else { return };
        self.paths.remove(&session.id);
        // It exists.
        let _ = self.endpoint.remove(now, session.id);
        if session.failed {
            let Session { neighbour, softwire, .. } = session;
            self.verdicts.push_back(Verdict { remote: path.remote, usable: true, neighbour, softwire });
        }
    }

    fn add(&mut self, now: Instant, path: Path, profile: &Profile) -> Option<&mut Session> {
        match self.endpoint.add(now, session(path, profile)) {
            Ok(id) => {
                self.paths.insert(id, path);
                let profile = profile.clone();
                let fresh = Session { id, profile, neighbour: false, softwire: false, failed: false, ups: 0 };
                Some(self.sessions.entry(path).insert_entry(fresh).into_mut())
            }
            Err(error) => {
                tracing::warn!(remote = %path.remote, %error, "no BFD session");
                None
            }
        }
    }

    /// The softwires that there are now, by their ends.
    pub fn watch(&mut self, now: Instant, softwires: impl Iterator<Item = (IpAddr, IpAddr)>) {
        let Some(profile) = self.profile.clone() else { return };
        let wanted: BTreeSet<Path> = softwires.map(|(local, remote)| Path { local, remote, multihop: true }).collect();
        let gone: Vec<Path> =
            self.sessions.iter().filter(|(p, s)| s.softwire && !wanted.contains(p)).map(|(p, _)| *p).collect();
        for path in gone {
            let Some(session) = self.sessions.get_mut(&path) else { continue };
            session.softwire = false;
            if !session.neighbour {
                self.end(now, path);
            }
        }
        for path in wanted {
            let session = match self.sessions.contains_key(&path) {
                true => self.sessions.get_mut(&path),
                false => self.add(now, path, &profile),
            };
            let Some(session) = session.filter(|s| !s.softwire) else { continue };
            session.softwire = true;
            if session.failed {
                let remote = path.remote;
                self.verdicts.push_back(Verdict { remote, usable: false, neighbour: false, softwire: true });
            }
        }
    }

    /// A datagram that came to one of BFD's ports.
    pub fn handle_input(&mut self, now: Instant, meta: Meta, data: &[u8]) {
        self.endpoint.handle_input(now, meta, data);
        self.follow();
        // A peer whose operator takes the session down after it has failed is there again.
        let path = Path { local: meta.local, remote: meta.remote, multihop: meta.port == bfd::MULTIHOP_PORT };
        if let Some(id) = self.sessions.get(&path).filter(|s| s.failed).map(|s| s.id)
            && self.endpoint.session(id).is_some_and(|i| i.remote_state == State::AdminDown)
        {
            self.judge(path, true);
        }
    }

    /// Time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.follow();
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout()
    }

    /// What to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.endpoint.poll_transmit()
    }

    /// What follows for others.
    pub fn poll_verdict(&mut self) -> Option<Verdict> {
        self.verdicts.pop_front()
    }

    /// Tells all peers that their sessions are taken down, which is no failure of a path.
    pub fn shut_down(&mut self, now: Instant) {
        for id in self.paths.keys() {
            let _ = self.endpoint.set_enabled(now, *id, false);
        }
    }

    fn follow(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            let (Event::Up(id) | Event::Down { id, .. }) = event;
            let Some(&path) = self.paths.get(&id) else { continue };
            match event {
                Event::Up(_) => {
                    tracing::info!(remote = %path.remote, multihop = path.multihop, "BFD session up");
                    if let Some(session) = self.sessions.get_mut(&path) {
                        session.ups += 1;
                    }
                    self.judge(path, true);
                }
                Event::Down { diag, remote_admin, .. } => {
                    let (why, ours) = (diag.name(), diag == Diag::AdministrativelyDown);
                    tracing::info!(remote = %path.remote, multihop = path.multihop, why, remote_admin, "BFD session down");
                    self.judge(path, remote_admin || ours);
                }
            }
        }
    }

    fn judge(&mut self, path: Path, usable: bool) {
        let Some(session) = self.sessions.get_mut(&path).filter(|s| s.failed == usable) else { return };
        session.failed = !usable;
        let (neighbour, softwire) = (session.neighbour, session.softwire);
        self.verdicts.push_back(Verdict { remote: path.remote, usable, neighbour, softwire });
    }

    /// The state of the session of a softwire.
    pub fn softwire(&self, local: IpAddr, remote: IpAddr) -> Option<&'static str> {
        let session = self.sessions.get(&Path { local, remote, multihop: true }).filter(|s| s.softwire)?;
        self.endpoint.session(session.id).map(|i| i.state.name())
    }

    /// All sessions, for the management plane.
    pub fn info(&self, now: Instant) -> Vec<BfdInfo> {
        let row = |s: &Session| {
            let i = self.endpoint.session(s.id)?;
            Some(BfdInfo {
                local: i.local,
                remote: i.remote,
                multihop: i.multihop,
                neighbour: s.neighbour,
                softwire: s.softwire,
                state: i.state.name(),
                diagnostic: i.diag.name(),
                remote_state: i.remote_state.name(),
                remote_diagnostic: i.remote_diag.name(),
                failed: s.failed,
                seconds: now.saturating_duration_since(i.since).as_secs(),
                transmit_interval_ms: i.tx_interval.map(|d| d.as_millis() as u64),
                detection_time_ms: i.detection_time.map(|d| d.as_millis() as u64),
                detect_multiplier: i.detect_mult,
                authenticated: i.authenticated,
                packets_in: i.received,
                packets_out: i.sent,
                ups: s.ups,
                downs: i.downs,
            })
        };
        self.sessions.values().filter_map(row).collect()
    }

    /// Counters by name.
    pub fn counters(&self) -> Vec<(String, u64)> {
        let stats = self.endpoint.stats();
        let plain = [("ups", stats.ups), ("downs", stats.downs), ("in", stats.received), ("out", stats.sent)];
        let discarded = Discard::ALL.iter().map(|d| (d.name(), stats.discarded(*d)));
        plain.into_iter().chain(discarded).map(|(name, n)| (format!("bfd.{name}"), n)).collect()
    }
}

/// The path to a neighbour: over a single hop if it is on a network of a port's, and our address on that network is
/// our end. `None`: nothing of ours leads there.
pub fn path(config: &Config, neighbour: &Neighbour) -> Option<Path> {
    let remote = neighbour.address;
    let mut on_link = config.ports.iter().flat_map(|p| &p.addresses).filter(|a| a.contains(&remote));
    let direct = on_link.find(|a| neighbour.local.is_none_or(|local| local == a.addr())).map(|a| a.addr());
    let local = direct.or(neighbour.local).or_else(|| routing::local(config, remote))?;
    Some(Path { local, remote, multihop: direct.is_none() })
}

fn session(path: Path, profile: &Profile) -> SessionConfig {
    let keys: Vec<Key> = profile.keys.iter().map(|k| Key::new(k.id, k.secret.bytes())).collect();
    SessionConfig {
        multihop: path.multihop,
        desired_min_tx: profile.transmit_interval,
        required_min_rx: profile.receive_interval,
        detect_mult: profile.detect_multiplier,
        auth: (!keys.is_empty()).then_some(Auth { auth_type: AuthType::MeticulousKeyedSha1, keys }),
        ..SessionConfig::new(path.local, path.remote)
    }
}

#[cfg(test)]
mod tests;
