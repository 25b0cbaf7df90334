//! What the operator decides about sessions.

use crate::auth::Auth;
use crate::error::SessionError;
use crate::negotiation::Intervals;
use std::net::IpAddr;
use std::time::Duration;

/// Configuration of an [`Endpoint`](crate::Endpoint).
#[derive(Clone, Debug)]
pub struct Config {
    /// Sessions at most; never more than 16384, so that each has a source port to itself (RFC 5881, section 4).
    pub max_sessions: usize,
    /// The shortest interval that a session may be given.
    pub min_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_sessions: 16_384, min_interval: Duration::from_millis(10) }
    }
}

/// Configuration of a session.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Our address.
    pub local: IpAddr,
    /// The peer's.
    pub remote: IpAddr,
    /// RFC 5883 (port 4784, any TTL) rather than RFC 5881 (port 3784, TTL 255).
    pub multihop: bool,
    /// How often we would like to send; while the session is not up, never more than once a second.
    pub desired_min_tx: Duration,
    /// How often we can receive.
    pub required_min_rx: Duration,
    /// Packets of ours that the peer must miss to find the session down.
    pub detect_mult: u8,
    /// Authentication of the packets of both.
    pub auth: Option<Auth>,
}

impl SessionConfig {
    /// A single-hop session at 300 ms, down after three packets missed.
    pub fn new(local: IpAddr, remote: IpAddr) -> Self {
        let interval = Duration::from_millis(300);
        let (desired_min_tx, required_min_rx) = (interval, interval);
        Self { local, remote, multihop: false, desired_min_tx, required_min_rx, detect_mult: 3, auth: None }
    }

    /// Its intervals and multiplier.
    pub fn timing(&self) -> Timing {
        let Self { desired_min_tx, required_min_rx, detect_mult, .. } = *self;
        Timing { desired_min_tx, required_min_rx, detect_mult }
    }

    pub(crate) fn check(&self, config: &Config) -> Result<(), SessionError> {
        let host = |a: IpAddr| !a.is_unspecified() && !a.is_multicast() && a != IpAddr::from([255; 4]);
        if self.local.is_ipv4() != self.remote.is_ipv4() || !host(self.local) || !host(self.remote) {
            return Err(SessionError::Addresses);
        }
        if self.auth.as_ref().is_some_and(|auth| !auth.is_valid()) {
            return Err(SessionError::Keys);
        }
        self.timing().intervals(config).map(drop)
    }
}

/// What of a session can be changed while it is up (RFC 5880, sections 6.8.3 and 6.8.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// See [`SessionConfig::desired_min_tx`].
    pub desired_min_tx: Duration,
    /// See [`SessionConfig::required_min_rx`].
    pub required_min_rx: Duration,
    /// See [`SessionConfig::detect_mult`].
    pub detect_mult: u8,
}

impl Timing {
    pub(crate) fn intervals(self, config: &Config) -> Result<Intervals, SessionError> {
        if self.detect_mult == 0 {
            return Err(SessionError::DetectMult);
        }
        let micros = |interval: Duration| match u32::try_from(interval.as_micros()) {
            Ok(n) if n > 0 && interval >= config.min_interval => Ok(n),
            Ok(_) | Err(_) => Err(SessionError::Interval),
        };
        Ok(Intervals { desired_min_tx: micros(self.desired_min_tx)?, required_min_rx: micros(self.required_min_rx)? })
    }
}
