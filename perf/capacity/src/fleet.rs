//! The subscribers of a profile: who each of them is, and what the gateway has to know of them.

mod document;
mod pki;

pub use document::document;
pub use pki::{KeyKind, make as make_pki};

use crate::profile::{Extent, Family, Ike, Profile};
use anyhow::Context;
use ike::auth::{IdMatch, Identity, LocalAuth, RemoteAuth};
use ipnet::IpNet;
use pki::Authority;
use std::net::IpAddr;
use std::sync::Arc;

/// MRU that fits any tunnel over Ethernet, with ESP in UDP: IPv4 outside, IPv6 outside.
const MRU: [u16; 2] = [1410, 1390];

/// All subscribers of one packet core.
pub struct Fleet {
    profile: Arc<Profile>,
    authority: Option<Authority>,
    first: u32,
    outer: IpNet,
    /// How many there are.
    pub count: u32,
}

impl Fleet {
    /// Those of packet core `core`.
    pub fn new(profile: &Arc<Profile>, core: usize) -> anyhow::Result<Self> {
        let (first, count) = profile.part(core);
        let certificates = profile.subscribers.ike.as_ref().and_then(|i| i.certificates.as_ref());
        let authority = certificates.map(Authority::load).transpose()?;
        let outer = profile.generator.cores.get(core).context("no such core")?.access.outer;
        let fleet = Self { profile: Arc::clone(profile), authority, first, outer, count };
        // What is wrong with one is wrong with all.
        fleet.pad(0)?;
        Ok(fleet)
    }

    /// The outer address of subscriber `i`, counted from 0 on this core.
    pub fn outer(&self, i: u32) -> IpAddr {
        match self.outer.network() {
            IpAddr::V4(a) => IpAddr::V4((u32::from(a).wrapping_add(i + 1)).into()),
            IpAddr::V6(a) => IpAddr::V6((u128::from(a).wrapping_add(u128::from(i) + 1)).into()),
        }
    }

    /// Whose outer address it is.
    pub fn who(&self, outer: IpAddr) -> Option<u32> {
        let at = match (outer, self.outer.network()) {
            (IpAddr::V4(a), IpAddr::V4(base)) => u32::from(a).wrapping_sub(u32::from(base)).wrapping_sub(1),
            (IpAddr::V6(a), IpAddr::V6(base)) => {
                u32::try_from(u128::from(a).wrapping_sub(u128::from(base)).wrapping_sub(1)).ok()?
            }
            _ => return None,
        };
        (at < self.count).then_some(at)
    }

    /// Who subscriber `i` is to IKE, or `None` where there is no IKE. With certificates it is dear.
    pub fn pad(&self, i: u32) -> anyhow::Result<Option<Arc<ike::PadEntry>>> {
        let ike = self.profile.subscribers.ike.as_ref();
        ike.map(|ike| self.entry(ike, self.first + i).map(Arc::new)).transpose()
    }

    /// What a softwire of subscriber `i` begins with; `ike` is what [`Self::pad`] gave.
    pub fn config(&self, i: u32, ike: Option<Arc<ike::PadEntry>>, extent: Extent) -> softwire_initiator::Config {
        let s = &self.profile.subscribers;
        let n = self.first + i;
        let gateway = self.profile.gateway.address;
        let user = named(&s.ppp.user, n);
        let credentials = ppp::Credentials {
            name: user.clone().into_bytes(),
            secret: ppp::Secret::new(named(&s.ppp.secret, n).into_bytes()),
            methods: vec![ppp::AuthMethod::ChapMd5],
        };
        softwire_initiator::Config {
            local: self.outer(i),
            gateway,
            ike,
            eap: None,
            l2tp: l2tp::Config { host_name: user.clone(), ..l2tp::Config::default() },
            ppp: ppp::Config {
                mru: MRU[usize::from(gateway.is_ipv6())],
                our_name: user.into_bytes(),
                credentials: Some(credentials),
                ..ppp::Config::default()
            },
            ipv4: s.inner.contains(&Family::Ipv4),
            ipv6: s.inner.contains(&Family::Ipv6),
            delegation: false,
            ike_only: extent == Extent::Ike,
        }
    }

    fn entry(&self, settings: &Ike, n: u32) -> anyhow::Result<ike::PadEntry> {
        let identity = |text: &str| text.parse::<Identity>().with_context(|| format!("ike: {text}"));
        let id = named(&settings.identity, n);
        let (local_auth, remote_auth) = match (&settings.psk, &self.authority) {
            (Some(psk), _) => {
                let key = named(psk, n);
                (LocalAuth::psk(key.as_bytes()), RemoteAuth::psk(key.as_bytes()))
            }
            (None, Some(authority)) => authority.subscriber(&id)?,
            (None, None) => anyhow::bail!("ike: neither psk nor certificates"),
        };
        let mut child = ike::ChildPolicy::l2tp(false);
        child.rekey_after = None;
        if !settings.esp_proposals.is_empty() {
            child.esp_proposals = parsed(&settings.esp_proposals)?;
        }
        let defaults = ike::IkeProposal::defaults();
        Ok(ike::PadEntry {
            name: "gateway".into(),
            remote: IdMatch::Exact(identity(&self.profile.gateway.identity)?),
            remote_auth,
            local_id: identity(&id)?,
            local_auth,
            ike_proposals: if settings.proposals.is_empty() { defaults } else { parsed(&settings.proposals)? },
            child,
            // The gateway rekeys when it wants to.
            ike_rekey_after: None,
            dpd_delay: settings.dpd,
            mlkem: settings.mlkem,
            force_encap: settings.force_encap,
            mobike: false,
            return_routability: false,
        })
    }
}

/// `{n}` is the subscriber's number.
fn named(text: &str, n: u32) -> String {
    text.replace("{n}", &n.to_string())
}

fn parsed<T: std::str::FromStr>(texts: &[String]) -> anyhow::Result<Vec<T>>
where
    T::Err: std::fmt::Display,
{
    texts.iter().map(|t| t.parse().map_err(|e| anyhow::anyhow!("ike: proposal {t}: {e}"))).collect()
}
