//! Which servers there are, and how long to wait for them.

use secret::Secret;
use std::net::SocketAddr;
use std::time::Duration;

/// A server, for as long as it is configured as it is; at first, its place in [`Config::servers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u16);

/// A socket toward a server. No number is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    /// The server.
    pub server: ServerId,
    /// Which of its links.
    pub number: u32,
}

/// What carries the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// UDP (RFC 2865).
    #[default]
    Udp,
    /// TCP (RFC 6613).
    Tcp,
    /// TLS over TCP (RFC 6614); the secret is "radsec" as a rule.
    Tls,
}

impl Transport {
    /// Whether it is a stream: it loses nothing, and says when it is up.
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Its name for people.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
    /// The shared secret.
    pub secret: Secret,
    /// How to reach it.
    pub transport: Transport,
    /// Priority, the lowest first; servers of one group share the load.
    pub group: u8,
    /// Time to the first retransmission, doubled for every further one (RFC 5080, section 2.2.1).
    pub timeout: Duration,
    /// Transmissions of a request before it moves to another server. On a stream there is one, with as much time.
    pub tries: u32,
    /// How long a dead server is left alone when it is not probed.
    pub dead_time: Duration,
    /// Interval of Status-Server to a dead server, which then has to answer (RFC 5997); nothing: not probed.
    pub probe: Option<Duration>,
    /// Whether replies to Access-Requests need a Message-Authenticator; those with EAP always do, others over TLS never.
    /// False is for servers that cannot be told to send it: whoever is on the path can then forge an Access-Accept
    /// (CVE-2024-3596).
    pub require_message_authenticator: bool,
}

impl ServerConfig {
    /// A server over UDP in group 0: three tries from two seconds on, dead for 30 s, not probed.
    pub fn new(name: impl Into<String>, address: SocketAddr, secret: Secret) -> Self {
        Self {
            name: name.into(),
            address,
            secret,
            transport: Transport::Udp,
            group: 0,
            timeout: Duration::from_secs(2),
            tries: 3,
            dead_time: Duration::from_secs(30),
            probe: None,
            require_message_authenticator: true,
        }
    }
}

/// All servers of one purpose.
#[derive(Clone, Debug)]
pub struct Config {
    /// The servers, 65536 at most.
    pub servers: Vec<ServerConfig>,
    /// Requests at a time; more fail at once.
    pub max_in_flight: usize,
    /// NAS-Identifier in Status-Server (RFC 5997, section 4).
    pub nas_identifier: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { servers: Vec::new(), max_in_flight: 10_000, nas_identifier: None }
    }
}
