//! IKE settings: our identity, the peers (the PAD, RFC 4301, section 4.4.3), lifetimes, algorithms.

use super::{Secret, span};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// IKE and child SAs.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ike {
    /// Our IKE identity: a DNS name, `user@domain`, an address, or a distinguished name as RFC 4514 writes it, which is
    /// last component first: `CN=gw, O=Example`.
    pub identity: Option<String>,
    /// Our certificate, for peers that authenticate us by one.
    pub certificate: Option<Certificate>,
    /// The PAD: who may connect, and how it proves who it is.
    pub peers: Vec<Peer>,
    /// IKE proposals in order of preference; the built-in list where empty.
    pub proposals: Vec<String>,
    /// ESP proposals in order of preference; the built-in list where empty.
    pub esp_proposals: Vec<String>,
    /// IKE SAs are rekeyed after this time.
    #[serde(with = "span")]
    pub rekey: Duration,
    /// Child SAs are rekeyed after this time.
    #[serde(with = "span")]
    pub child_rekey: Duration,
    /// A child SA is rekeyed after this many packets; 0 for no limit.
    pub child_rekey_packets: u64,
    /// A child SA is rekeyed after this many octets; 0 for no limit.
    pub child_rekey_octets: u64,
    /// Silence after which a peer is asked whether it is alive.
    #[serde(with = "span")]
    pub dpd: Duration,
    /// A request that is not answered for this long ends the IKE SA.
    #[serde(with = "span")]
    pub dead_after: Duration,
    /// Replay window in packets, 64 to 4096 (H21).
    pub replay_window: u16,
    /// Half-open IKE SAs from which on cookies are demanded (RFC 7296, section 2.6).
    pub cookie_threshold: usize,
    /// Offer ML-KEM-768 as an additional key exchange (RFC 9370).
    pub mlkem: bool,
    /// How long the inbound half of a replaced or deleted child SA still receives.
    #[serde(with = "span")]
    pub grace: Duration,
}

impl Default for Ike {
    fn default() -> Self {
        Self {
            identity: None,
            certificate: None,
            peers: Vec::new(),
            proposals: Vec::new(),
            esp_proposals: Vec::new(),
            rekey: Duration::from_secs(4 * 3600),
            child_rekey: Duration::from_secs(3600),
            child_rekey_packets: 0,
            child_rekey_octets: 0,
            dpd: Duration::from_secs(30),
            dead_after: Duration::from_secs(60),
            replay_window: 1024,
            cookie_threshold: 100,
            mlkem: true,
            grace: Duration::from_secs(3),
        }
    }
}

/// A certificate chain and its key, PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Our certificate first, then intermediates.
    pub chain: String,
    /// Private key.
    pub key: String,
}

/// A PAD entry.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Name in logs and status.
    pub name: String,
    /// IKE identity, in the same forms; `*@domain`, `*.domain` or `*` only with certificates.
    pub id: String,
    /// How the peer proves it.
    pub auth: PeerAuth,
    /// Its pre-shared key, with `auth: psk`.
    #[serde(default)]
    pub psk: Option<Secret>,
    /// Trust anchors (PEM file), with `auth: certificate`.
    #[serde(default)]
    pub ca: Option<String>,
    /// Certificate revocation lists (PEM files).
    #[serde(default)]
    pub crl: Vec<String>,
    /// A certificate is refused when no list of its issuer is there. What a list revokes is refused in any case, and so is
    /// everybody under a list that is out of date.
    #[serde(default)]
    pub strict_crl: bool,
    /// We prove ourselves by our certificate to a peer that uses a PSK, or by the PSK as well; with `eap` by EAP alone
    /// (RFC 5998).
    #[serde(default)]
    pub local_auth: Option<PeerAuth>,
    /// It is an AFBR: the profile in `mesh.profiles` that protects the softwire to it.
    #[serde(default)]
    pub softwire: Option<String>,
    /// The AFBR's end of the softwire, and of the BGP session.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// The profile is for routes that ask for this color (RFC 9012, section 4.3) only.
    #[serde(default)]
    pub color: Option<u32>,
    /// The profile is for routes within these prefixes only; for all where empty. Of several entries with the same
    /// `address`, the first that fits a route protects it.
    #[serde(default)]
    pub prefixes: Vec<IpNet>,
    /// The BGP session with `address` is carried in ESP, too.
    #[serde(default)]
    pub bgp: bool,
    /// With `auth: eap`, whether PPP authenticates the user again.
    #[serde(default)]
    pub ppp: PppPolicy,
    /// With `auth: eap`, the peer is asked for its EAP identity; without, the IKE identity is taken for it.
    #[serde(default = "yes")]
    pub ask_identity: bool,
    /// The peer may move to another address (MOBIKE, RFC 4555).
    #[serde(default = "yes")]
    pub mobike: bool,
}

impl Peer {
    /// How we prove ourselves to it.
    pub fn proves_us(&self) -> PeerAuth {
        // EAP proves us only where the operator says that it is enough (RFC 5998).
        let own = if self.auth == PeerAuth::Eap { PeerAuth::Certificate } else { self.auth };
        self.local_auth.unwrap_or(own)
    }
}

fn yes() -> bool {
    true
}

/// What PPP demands of a user whom EAP in IKE has authenticated (H23).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PppPolicy {
    /// To authenticate, as whomever.
    #[default]
    Demand,
    /// To authenticate under the same name.
    SameUser,
    /// Nothing: it is the user that IKE has authenticated.
    Skip,
}

/// Authentication in IKE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerAuth {
    /// Pre-shared key.
    Psk,
    /// Certificate and digital signature.
    Certificate,
    /// EAP with a RADIUS server; we prove ourselves by our certificate, unless `local_auth` says something else.
    Eap,
}
