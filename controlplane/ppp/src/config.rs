//! What a link is told: before it starts ([`Config`]), and once the subscriber is known ([`NetworkConfig`]).

use crate::{InterfaceId, Secret};
use std::net::Ipv4Addr;
use std::time::Duration;

/// An authentication protocol that LCP can agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// RFC 1334: name and password in clear.
    Pap,
    /// RFC 1994: challenge and MD5 response.
    ChapMd5,
    /// RFC 2759: challenge and response both ways; the authenticator proves itself too.
    MsChapV2,
    /// RFC 3748: whatever the peer and the AAA agree on. As a client we do MSCHAPv2, and MD5-Challenge if
    /// [`Credentials::methods`] has [`AuthMethod::ChapMd5`] too.
    Eap,
}

/// Who we are when the peer demands authentication of us.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The name we give.
    pub name: Vec<u8>,
    /// Password or CHAP secret; for MS-CHAPv2 in UTF-8.
    pub secret: Secret,
    /// What we are ready to use, best first. Whatever else the peer demands is Nak'ed with the first of these, so
    /// leaving PAP out means that no peer can talk us down to it.
    pub methods: Vec<AuthMethod>,
}

/// Timers and counters of RFC 1661, section 4.6.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// Between retransmissions.
    pub restart: Duration,
    /// Configure-Requests (and challenges, and authentication requests) before we give up.
    pub max_configure: u32,
    /// Terminate-Requests before we give up.
    pub max_terminate: u32,
    /// Configure-Naks before what is Nak'ed is rejected, and Naks received before we give in.
    pub max_failure: u32,
}

impl Timers {
    /// How long the peer may say nothing when it is its turn.
    pub(crate) fn patience(&self) -> Duration {
        self.restart * self.max_configure
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self { restart: Duration::from_secs(3), max_configure: 10, max_terminate: 2, max_failure: 5 }
    }
}

/// A link before its subscriber is known.
#[derive(Clone, Debug)]
pub struct Config {
    /// The largest information field that the layer below can carry, in both directions: link MTU less all overhead
    /// (RFC 3193, section 3.2; H48). Requested as the MRU.
    pub mru: u16,
    /// Negotiate protocol field compression, both directions.
    pub pfc: bool,
    /// Negotiate address and control field compression, both directions.
    pub acfc: bool,
    /// Demand authentication of the peer by one of these, best first. Empty: none is demanded. The peer may choose
    /// among them by Configure-Nak; it cannot get anything else, and a refusal ends the link.
    pub demand: Vec<AuthMethod>,
    /// What we give if the peer demands authentication. `None`: the demand is rejected.
    pub credentials: Option<Credentials>,
    /// The name in our CHAP challenges.
    pub our_name: Vec<u8>,
    /// Time between LCP Echo-Requests; `None`: none are sent (they are always answered).
    pub echo_interval: Option<Duration>,
    /// Unanswered Echo-Requests before the link is declared dead.
    pub echo_failures: u32,
    /// Time between challenges (CHAP, MS-CHAPv2, EAP) while the link is up; `None`: once only.
    pub rechallenge: Option<Duration>,
    /// RFC 1661's timers.
    pub timers: Timers,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mru: 1500,
            pfc: true,
            acfc: true,
            demand: Vec::new(),
            credentials: None,
            our_name: b"softwire".to_vec(),
            echo_interval: Some(Duration::from_secs(30)),
            echo_failures: 3,
            rechallenge: None,
            timers: Timers::default(),
        }
    }
}

/// The network protocols of an authenticated subscriber. A protocol that is `None` is answered by Protocol-Reject.
#[derive(Clone, Debug, Default)]
pub struct NetworkConfig {
    /// IPv4.
    pub ipv4: Option<IpcpConfig>,
    /// IPv6.
    pub ipv6: Option<Ipv6cpConfig>,
}

/// IPCP (RFC 1332).
#[derive(Clone, Debug, Default)]
pub struct IpcpConfig {
    /// Our address; `None`: ask the peer for one (by requesting 0.0.0.0).
    pub local: Option<Ipv4Addr>,
    /// The peer's address: assigned by Configure-Nak, and IPCP does not open with any other. `None`: whatever
    /// address the peer has, or none.
    pub peer: Option<Ipv4Addr>,
    /// DNS servers for the peer (RFC 1877); the first two are used.
    pub dns: Vec<Ipv4Addr>,
    /// Ask the peer for DNS servers.
    pub request_dns: bool,
}

/// IPV6CP (RFC 5072).
#[derive(Clone, Debug, Default)]
pub struct Ipv6cpConfig {
    /// Our interface identifier; `None`: a random one. Given up for another if it collides with the peer's.
    pub local_iid: Option<InterfaceId>,
    /// The peer's: assigned by Configure-Nak, and IPV6CP does not open with any other. `None`: whatever it has,
    /// if unique and not zero.
    pub peer_iid: Option<InterfaceId>,
}
