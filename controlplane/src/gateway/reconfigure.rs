//! Another configuration while all of it runs.
//!
//! A document is first made into a [`Plan`]: it is checked like one at the start, and again as far as it can take effect
//! now. What is wrong is told, and nothing has changed. [`Gateway::apply`] then changes, at once, the parts that differ:
//!
//! | section | what a change does |
//! |---|---|
//! | `dataplane`, `ports`, `api` | nothing before the next start |
//! | `routes` | routes come and go; next hops of BGP are looked up again |
//! | `listeners` | new ones serve. Sessions of one that is gone, or protected otherwise, end in order; its lines stay in the SPD until the last of them has |
//! | `ike` | counts for the next IKE SA. Peers end whose entry is gone, or is of another identity, proof, address or softwire; certificates of the others are judged by the CRLs as they are now (H24) |
//! | `mesh` | softwires keep numbers and SAs where their entry does; routes move between them |
//! | `bgp` | a neighbour's session is reset only where the change needs a new one, else routes are judged again. `asn`, `router_id`, `cluster_id`, `max_paths`: the next start |
//! | `bfd` | intervals by a Poll Sequence; other keys make another session |
//! | `l2tp`, `ppp`, `dhcp6` | count for the next tunnel or link. `l2tp.host_name`: the next start |
//! | `aaa` | servers that stay as they are keep their links; requests to others are asked elsewhere. `nas_identifier`, `nas_address`, `accounting.journal`: the next start |
//! | `filters` | hold at once; sessions with one that is gone pass nothing |
//! | `pools` | blocks in use are so until released |
//! | `subscribers` | count for the next login; sessions of one who is gone end |
//!
//! Where what could change now needs what cannot (a listener at an address of a new port), all of it waits for the start.

use super::{Gateway, leave, servers, softwire};
use crate::config::{Config, Listener, Problem};
use crate::ike_config;
use crate::northbound::Applied;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::Instant;

/// A document that can be taken.
#[derive(Debug)]
pub struct Plan {
    document: Arc<Config>,
    /// What of it is in force then.
    pub config: Arc<Config>,
    /// Where IKE has another one.
    ike: Option<Ike>,
    restart: Vec<String>,
}

/// Another configuration of IKE.
#[derive(Debug)]
struct Ike {
    config: Arc<ike::Config>,
    /// The number of the files that it was made of, where they are others: only then certificates have to be judged again.
    files: Option<u64>,
}

impl Plan {
    /// All of the document.
    pub fn document(&self) -> &Config {
        &self.document
    }

    /// What is told of it.
    pub fn applied(&self) -> Applied {
        Applied { restart: self.restart.clone() }
    }
}

impl Gateway {
    /// What is in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }

    /// Plans, and unless it is a `dry` run applies.
    pub fn configure(&mut self, now: Instant, document: Config, dry: bool) -> Result<Applied, Vec<Problem>> {
        let plan = self.plan(document)?;
        let applied = plan.applied();
        if !dry {
            self.apply(now, plan);
        }
        Ok(applied)
    }

    /// Checks a document, with the files that IKE needs. Nothing changes.
    pub fn plan(&self, document: Config) -> Result<Plan, Vec<Problem>> {
        let mut problems = document.problems();
        problems.extend(self.conflicts(&document));
        if !problems.is_empty() {
            return Err(problems);
        }
        let (config, mut restart) = in_force(&self.config, &document);
        let (mut ike, document) = (self.plan_ike(&document)?, Arc::new(document));
        let whole = restart.is_empty() && config.bgp.is_some() == document.bgp.is_some();
        let mut config = if whole { Arc::clone(&document) } else { Arc::new(config) };
        if !restart.is_empty() {
            match self.plan_ike(&config) {
                Ok(now) if config.problems().is_empty() => ike = now,
                _ => {
                    restart = differing(&self.config, &document).into_iter().map(str::to_owned).collect();
                    (config, ike) = (Arc::clone(&self.config), None);
                }
            }
        }
        Ok(Plan { document, config, ike, restart })
    }

    fn plan_ike(&self, config: &Config) -> Result<Option<Ike>, Vec<Problem>> {
        let (files, old) = (ike_config::files(config), &self.config);
        let same = files == self.ike_files && old.ike == config.ike && old.mesh.profiles == config.mesh.profiles;
        if same && old.listeners == config.listeners {
            return Ok(None);
        }
        let ike = ike_config::build(config).map_err(|e| vec![Problem::from(e)])?;
        Ok(Some(Ike { config: Arc::new(ike), files: Some(files).filter(|f| *f != self.ike_files) }))
    }

    /// What is wrong with a document after the one that runs.
    fn conflicts(&self, document: &Config) -> Vec<Problem> {
        let mut problems = Vec::new();
        let new = document.filters.iter().filter(|f| !self.filters.contains_key(&f.name)).count();
        if self.filters.len() + new > usize::from(u16::MAX) {
            problems.push(Problem::new("filters", "there have been 65535 names: others are to be had after a restart"));
        }
        let (Some(old), Some(bgp)) = (&self.config.bgp, &document.bgp) else { return problems };
        for (i, chain) in bgp.key_chains.iter().enumerate() {
            let ao = bgp.neighbours.iter().chain(bgp.dynamic_neighbours.iter().map(|d| &d.neighbour));
            let before = old.key_chains.iter().find(|c| c.name == chain.name);
            let Some(before) = before.filter(|_| ao.clone().any(|n| n.tcp_ao.as_ref() == Some(&chain.name))) else {
                continue;
            };
            for (j, key) in chain.keys.iter().enumerate() {
                if before.keys.iter().any(|k| k.id == key.id && k.secret != key.secret) {
                    let path = format!("bgp.key_chains[{i}].keys[{j}].id");
                    problems.push(Problem::new(path, "TCP-AO knows a key by its id: another secret needs another id"));
                }
            }
        }
        problems
    }

    /// Takes what was planned. Nothing can fail any more.
    pub fn apply(&mut self, now: Instant, plan: Plan) {
        let changed = differing(&self.config, &plan.config);
        let (old, new) = (std::mem::replace(&mut self.config, Arc::clone(&plan.config)), plan.config);
        self.document = plan.document;
        tracing::info!(changed = changed.join(","), restart = plan.restart.join(","), "configuration taken");
        new.listeners.iter().filter(|l| !old.listeners.contains(l)).for_each(Listener::warn);
        let has = |sections: &[&str]| sections.iter().any(|s| changed.contains(s));
        if let Some(ike) = plan.ike {
            self.ike.set_config(ike.config);
            self.entries = leave::Entries::of(&new);
            if let Some(files) = ike.files {
                self.ike_files = files;
                self.ike.recheck(now);
            }
        }
        if has(&["/l2tp"]) {
            self.l2tp.set_config(Arc::new(softwire::l2tp_config(&new)));
        }
        if has(&["/aaa", "/subscribers"]) {
            self.aaa.configure(now, &new, servers::client(&new, false));
            self.accounting.configure(now, &new, servers::client(&new, true));
        }
        if old.aaa.dynamic != new.aaa.dynamic {
            self.dynamic.set_config(now, servers::dynamic(&new));
        }
        if has(&["/pools", "/subscribers", "/ppp"]) {
            self.pools.configure(&new.pools, &new.subscribers, new.ppp.local_ipv4);
        }
        if has(&["/filters"]) {
            self.publish_filters(&old.filters);
        }
        let ended = self.ended_peers(&old);
        if has(&["/mesh", "/ike", "/bgp", "/routes"]) {
            let moved = self.mesh.configure(now, &new, &ended, &mut self.program);
            self.configure_bgp(now, &old, moved);
        }
        if has(&["/routes", "/pools", "/ppp"]) {
            self.publish_routes();
        }
        if has(&["/bfd", "/bgp", "/mesh", "/routes"]) {
            self.liveness.configure(now, &new);
        }
        self.end_sessions(now, &old, &ended);
        self.pump(now);
    }

    fn configure_bgp(&mut self, now: Instant, old: &Config, moved: bool) {
        let new = Arc::clone(&self.config);
        let Some(bgp) = &new.bgp else { return };
        let rng = StdRng::from_rng(&mut self.rng);
        match &mut self.routing {
            Some(routing) => routing.configure(now, Some(old), &new, bgp),
            None => self.routing = Some(crate::routing::Routing::new(now, &new, bgp, rng)),
        }
        if let Some(routing) = self.routing.as_mut().filter(|_| moved) {
            routing.route_again();
        }
    }
}

/// What of a document can be in force while `running` is, and where the rest is.
fn in_force(running: &Config, document: &Config) -> (Config, Vec<String>) {
    fn keep<T: Clone + PartialEq>(restart: &mut Vec<String>, path: &str, now: &T, then: &mut T) {
        if now != then {
            restart.push(path.to_owned());
            then.clone_from(now);
        }
    }
    let (mut c, mut r) = (document.clone(), Vec::new());
    keep(&mut r, "/dataplane", &running.dataplane, &mut c.dataplane);
    keep(&mut r, "/ports", &running.ports, &mut c.ports);
    keep(&mut r, "/api", &running.api, &mut c.api);
    keep(&mut r, "/l2tp/host_name", &running.l2tp.host_name, &mut c.l2tp.host_name);
    keep(&mut r, "/aaa/nas_identifier", &running.aaa.nas_identifier, &mut c.aaa.nas_identifier);
    keep(&mut r, "/aaa/nas_address", &running.aaa.nas_address, &mut c.aaa.nas_address);
    keep(&mut r, "/aaa/accounting/journal", &running.aaa.accounting.journal, &mut c.aaa.accounting.journal);
    match (&running.bgp, &mut c.bgp) {
        (Some(now), Some(then)) => {
            keep(&mut r, "/bgp/asn", &now.asn, &mut then.asn);
            keep(&mut r, "/bgp/router_id", &now.router_id, &mut then.router_id);
            keep(&mut r, "/bgp/cluster_id", &now.cluster_id, &mut then.cluster_id);
            keep(&mut r, "/bgp/max_paths", &now.max_paths, &mut then.max_paths);
        }
        // The speaker stays, and says nothing.
        (Some(now), none) => *none = Some(now.silent()),
        (None, _) => {}
    }
    (c, r)
}

/// Sections that differ, as JSON pointers.
fn differing(a: &Config, b: &Config) -> Vec<&'static str> {
    let sections = [
        ("/dataplane", a.dataplane != b.dataplane),
        ("/ports", a.ports != b.ports),
        ("/routes", a.routes != b.routes),
        ("/listeners", a.listeners != b.listeners),
        ("/ike", a.ike != b.ike),
        ("/mesh", a.mesh != b.mesh),
        ("/bgp", a.bgp != b.bgp),
        ("/bfd", a.bfd != b.bfd),
        ("/l2tp", a.l2tp != b.l2tp),
        ("/ppp", a.ppp != b.ppp),
        ("/aaa", a.aaa != b.aaa),
        ("/dhcp6", a.dhcp6 != b.dhcp6),
        ("/filters", a.filters != b.filters),
        ("/pools", a.pools != b.pools),
        ("/subscribers", a.subscribers != b.subscribers),
        ("/api", a.api != b.api),
    ];
    sections.into_iter().filter(|(_, differ)| *differ).map(|(path, _)| path).collect()
}

#[cfg(test)]
mod tests;
