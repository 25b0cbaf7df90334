//! IKE settings: our identity, the peers (the PAD, RFC 4301, section 4.4.3), lifetimes, algorithms.

use super::Secret;
use super::values::{EspAlgorithms, IkeAlgorithms, Prefix, Time};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// IKE and child SAs.
///
/// ```yaml
/// ike:
///   identity: gw.example.net
///   certificate: { chain: /etc/softwire-gateway/gw.pem, key: /etc/softwire-gateway/gw.key }
///   peers:
///     - { name: alice, id: alice@example.net, auth: psk, psk: a-key-of-her-own }
///     - { name: staff, id: "*@example.net", auth: certificate, ca: /etc/softwire-gateway/ca.pem }
///     - { name: east, id: east.example.net, auth: psk, psk: a-key-of-the-east, softwire: gold, address: 203.0.113.2, bgp: true }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ike {
    /// Our IKE identity: a DNS name, `user@domain`, an address, or a distinguished name as RFC 4514 writes it, which is
    /// last component first: `CN=gw, O=Example`. Needed where there are peers.
    pub identity: Option<String>,
    /// Our certificate, for peers that authenticate us by one.
    pub certificate: Option<Certificate>,
    /// The peer authorization database (PAD): who may connect, and how it proves who it is.
    pub peers: Vec<Peer>,
    /// IKE proposals in order of preference; where empty, AES-GCM, then AES-CBC with HMAC-SHA-2.
    #[schemars(with = "Vec<IkeAlgorithms>")]
    pub proposals: Vec<String>,
    /// ESP proposals in order of preference; where empty, AES-GCM, then AES-CBC with HMAC-SHA-2.
    #[schemars(with = "Vec<EspAlgorithms>")]
    pub esp_proposals: Vec<String>,
    /// IKE SAs are rekeyed after this time.
    #[serde(with = "Time")]
    pub rekey: Duration,
    /// Child SAs are rekeyed after this time.
    #[serde(with = "Time")]
    pub child_rekey: Duration,
    /// A child SA is rekeyed after this many packets; 0 for no limit.
    pub child_rekey_packets: u64,
    /// A child SA is rekeyed after this many octets; 0 for no limit.
    pub child_rekey_octets: u64,
    /// Silence after which a peer is asked whether it is alive.
    #[serde(with = "Time")]
    pub dpd: Duration,
    /// A request that is not answered for this long ends the IKE SA.
    #[serde(with = "Time")]
    pub dead_after: Duration,
    /// Replay window in packets: 64, 128, 256, 512, 1024, 2048 or 4096 (H21).
    #[schemars(range(min = 64, max = 4096))]
    pub replay_window: u16,
    /// Half-open IKE SAs from which on cookies are demanded (RFC 7296, section 2.6).
    pub cookie_threshold: usize,
    /// Offer ML-KEM-768 as an additional key exchange (RFC 9370).
    pub mlkem: bool,
    /// How long the inbound half of a replaced or deleted child SA still receives.
    #[serde(with = "Time")]
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

/// A certificate and its key, in PEM files that the user `softwire` can read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// File with our certificate first, then those between it and its CA.
    pub chain: String,
    /// File with the private key.
    pub key: String,
}

/// An entry of the PAD (RFC 4301, section 4.4.3).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Name in logs and status.
    pub name: String,
    /// IKE identity, in the same forms as `ike.identity`. `*@domain`, `*.domain` and `*` stand for many, and take certificates
    /// or EAP: one key for many is forbidden (H46).
    pub id: String,
    /// How the peer proves who it is.
    pub auth: PeerAuth,
    /// Its pre-shared key, with `auth: psk`. No two peers have the same (H46).
    #[serde(default)]
    pub psk: Option<Secret>,
    /// PEM file with the CAs of its certificate, with `auth: certificate`.
    #[serde(default)]
    pub ca: Option<String>,
    /// PEM files with certificate revocation lists.
    #[serde(default)]
    pub crl: Vec<String>,
    /// A certificate is refused when no list of its issuer is there. What a list revokes is refused in any case, and so is
    /// everybody under a list that is out of date.
    #[serde(default)]
    pub strict_crl: bool,
    /// How we prove ourselves. Where absent: as the peer does, and to one with EAP by our certificate. `eap` here is EAP alone
    /// (RFC 5998).
    #[serde(default)]
    pub local_auth: Option<PeerAuth>,
    /// It is an AFBR: name of the profile in `mesh.profiles` that protects the softwire to it.
    #[serde(default)]
    pub softwire: Option<String>,
    /// The AFBR's end of the softwire, and of the BGP session. Goes with `softwire` or `bgp`.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// The profile is only for routes that ask for this color (RFC 9012, section 4.3).
    #[serde(default)]
    pub color: Option<u32>,
    /// The profile is only for routes within these prefixes; for all where empty. Of several entries with the same `address`,
    /// the first that fits a route protects it.
    #[serde(default)]
    #[schemars(with = "Vec<Prefix>")]
    pub prefixes: Vec<IpNet>,
    /// The BGP session with `address` is carried in ESP, too.
    #[serde(default)]
    pub bgp: bool,
    /// With `auth: eap`, what PPP demands of the user afterwards.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeerAuth {
    /// A pre-shared key.
    Psk,
    /// A certificate and a signature.
    Certificate,
    /// EAP, passed through to a RADIUS server.
    Eap,
}
