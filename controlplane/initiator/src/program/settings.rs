//! The program's configuration file.
//!
//! ```yaml
//! local: 198.51.100.2
//! gateway: 192.0.2.1
//! ike: { id: alice@example.net, gateway_id: gw.example.net, psk: correct-horse }
//! ppp: { user: alice, secret: wonderland }
//! delegation: true
//! routes: ["::/0"]
//! ```

use anyhow::Context;
use ike::auth::{IdMatch, Identity, LocalAuth, RemoteAuth};
use ipnet::IpNet;
use serde::Deserialize;
use softwire_initiator::Config;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    local: IpAddr,
    gateway: IpAddr,
    #[serde(default = "tun")]
    pub(super) tun: String,
    /// Absent: L2TP in the clear, for trusted networks.
    ike: Option<Ike>,
    ppp: Ppp,
    #[serde(default)]
    tunnel_secret: Option<String>,
    #[serde(default)]
    ipv4: Option<bool>,
    #[serde(default)]
    ipv6: Option<bool>,
    #[serde(default)]
    delegation: bool,
    /// Routed into the softwire.
    #[serde(default)]
    pub(super) routes: Vec<IpNet>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ike {
    id: String,
    gateway_id: String,
    psk: Option<String>,
    chain: Option<String>,
    key: Option<String>,
    ca: Option<String>,
    #[serde(default)]
    esp_proposals: Vec<String>,
    #[serde(default)]
    proposals: Vec<String>,
    #[serde(default)]
    force_encap: bool,
    #[serde(default)]
    mlkem: bool,
    /// Password for EAP, by which we prove ourselves; the gateway does by its certificate (`ca`).
    eap: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ppp {
    user: String,
    secret: String,
    /// Authenticate the gateway too (mutual CHAP).
    #[serde(default)]
    mutual: bool,
    /// Use PAP when the gateway asks for it.
    #[serde(default)]
    pap: bool,
    /// What to use, best first, instead of CHAP: `mschapv2`, `eap`, `chap`, `pap`.
    #[serde(default)]
    methods: Vec<Method>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Method {
    Chap,
    Pap,
    Mschapv2,
    Eap,
}

impl From<Method> for ppp::AuthMethod {
    fn from(method: Method) -> Self {
        match method {
            Method::Chap => Self::ChapMd5,
            Method::Pap => Self::Pap,
            Method::Mschapv2 => Self::MsChapV2,
            Method::Eap => Self::Eap,
        }
    }
}

fn tun() -> String {
    "sw0".into()
}

impl Settings {
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_saphyr::from_str(&text).map_err(|e| anyhow::anyhow!("{}: {}", path.display(), e.without_snippet()))
    }

    pub(super) fn initiator(&self) -> anyhow::Result<Config> {
        let mut methods: Vec<ppp::AuthMethod> = self.ppp.methods.iter().copied().map(Into::into).collect();
        if methods.is_empty() {
            methods.push(ppp::AuthMethod::ChapMd5);
        }
        if self.ppp.pap {
            methods.push(ppp::AuthMethod::Pap);
        }
        let credentials = ppp::Credentials {
            name: self.ppp.user.clone().into_bytes(),
            secret: ppp::Secret::new(self.ppp.secret.as_bytes()),
            methods,
        };
        let demand = if self.ppp.mutual { vec![ppp::AuthMethod::ChapMd5] } else { Vec::new() };
        // IP, UDP, L2TP and PPP headers, and ESP where there is ESP; the gateway's own arithmetic has the last word.
        let mru = if self.gateway.is_ipv6() { 1398 } else { 1418 };
        // The family of the transport does not enter the softwire unless it is asked for (RFC 5571, section 3).
        let (v4, v6) = (self.gateway.is_ipv6(), self.gateway.is_ipv4());
        Ok(Config {
            local: self.local,
            gateway: self.gateway,
            ike: self.ike.as_ref().map(Ike::pad).transpose()?.map(Arc::new),
            eap: self.ike.as_ref().and_then(Ike::eap),
            l2tp: l2tp::Config {
                host_name: self.ppp.user.clone(),
                secret: self.tunnel_secret.as_ref().map(|s| l2tp::Secret::new(s.as_bytes())),
                challenge: self.tunnel_secret.is_some(),
                ..l2tp::Config::default()
            },
            ppp: ppp::Config {
                mru,
                demand,
                our_name: self.ppp.user.clone().into_bytes(),
                credentials: Some(credentials),
                ..ppp::Config::default()
            },
            ipv4: self.ipv4.unwrap_or(v4),
            ipv6: self.ipv6.unwrap_or(v6),
            delegation: self.delegation,
            ike_only: false,
        })
    }
}

impl Ike {
    /// Our IKE identity is our name in EAP, too.
    fn eap(&self) -> Option<(Vec<u8>, ppp::Secret)> {
        let password = self.eap.as_ref()?;
        Some((self.id.clone().into_bytes(), ppp::Secret::new(password.as_bytes())))
    }

    fn pad(&self) -> anyhow::Result<ike::PadEntry> {
        let identity = |text: &str| text.parse::<Identity>().map_err(|e| anyhow::anyhow!("ike: {text}: {e}"));
        let read = |file: &str| std::fs::read(file).with_context(|| format!("ike: {file}"));
        let (local_auth, remote_auth) = match (&self.psk, &self.chain, &self.key, &self.ca) {
            (Some(psk), None, None, None) => (LocalAuth::psk(psk.as_bytes()), RemoteAuth::psk(psk.as_bytes())),
            (None, Some(chain), Some(key), Some(ca)) => (
                LocalAuth::certificate(&read(chain)?, &read(key)?).map_err(|e| anyhow::anyhow!("ike: {chain}: {e}"))?,
                RemoteAuth::certificate(&read(ca)?, &[]).map_err(|e| anyhow::anyhow!("ike: {ca}: {e}"))?,
            ),
            (None, None, None, Some(ca)) if self.eap.is_some() => {
                let gateway = RemoteAuth::certificate(&read(ca)?, &[]);
                (LocalAuth::Eap, gateway.map_err(|e| anyhow::anyhow!("ike: {ca}: {e}"))?)
            }
            _ => anyhow::bail!("ike: give either psk; or chain, key and ca; or eap and ca"),
        };
        let mut child = ike::ChildPolicy::l2tp(false);
        if !self.esp_proposals.is_empty() {
            child.esp_proposals = ike_list(&self.esp_proposals)?;
        }
        let defaults = ike::IkeProposal::defaults();
        Ok(ike::PadEntry {
            name: "gateway".into(),
            remote: IdMatch::Exact(identity(&self.gateway_id)?),
            remote_auth,
            local_id: identity(&self.id)?,
            local_auth,
            ike_proposals: if self.proposals.is_empty() { defaults } else { ike_list(&self.proposals)? },
            child,
            ike_rekey_after: Some(std::time::Duration::from_secs(4 * 3600)),
            dpd_delay: Some(std::time::Duration::from_secs(30)),
            mlkem: self.mlkem,
            force_encap: self.force_encap,
            mobike: true,
            return_routability: true,
        })
    }
}

fn ike_list<T: std::str::FromStr>(texts: &[String]) -> anyhow::Result<Vec<T>>
where
    T::Err: std::fmt::Display,
{
    texts.iter().map(|t| t.parse().map_err(|e| anyhow::anyhow!("proposal {t}: {e}"))).collect()
}
