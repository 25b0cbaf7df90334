//! The audit log: one structured line for each subscriber accepted, rejected or torn down (H31), joining IKE
//! identity, PPP user, outer address, inner addresses and octets (H23), for each IKE peer that is up by weak means, and
//! for each thing that the operator does through the API. Target `audit`, so that an operator can send it where the law wants it.

use dataplane_api::IpPrefix;
use std::net::SocketAddr;
use std::time::Duration;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Authenticated and admitted.
    Accept,
    /// Refused.
    Reject,
    /// A softwire ended.
    Teardown,
    /// An IKE peer is up by means that are weak: old algorithms, a shared secret (H46).
    Weak,
    /// The operator has done something.
    Operate,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Record {
    /// What happened.
    pub verb: Verb,
    /// Why.
    pub reason: String,
    /// PPP user, where it got that far.
    pub user: Option<String>,
    /// Authenticated IKE identity.
    pub ike_id: Option<String>,
    /// Listener's name.
    pub listener: Option<String>,
    /// Subscriber's outer address and port.
    pub outer: Option<SocketAddr>,
    /// Inner addresses and prefixes.
    pub inner: Vec<IpPrefix>,
    /// L2TP tunnel and session.
    pub session: Option<(u16, u16)>,
    /// Octets from and to the subscriber.
    pub octets: (u64, u64),
    /// How long the softwire stood.
    pub lasted: Option<Duration>,
}

impl Record {
    /// A record with a reason and nothing else.
    pub fn new(verb: Verb, reason: impl Into<String>) -> Self {
        Self {
            verb,
            reason: reason.into(),
            user: None,
            ike_id: None,
            listener: None,
            outer: None,
            inner: Vec::new(),
            session: None,
            octets: (0, 0),
            lasted: None,
        }
    }

    /// Writes the line.
    pub fn log(&self) {
        let verb = match self.verb {
            Verb::Accept => "accept",
            Verb::Reject => "reject",
            Verb::Teardown => "teardown",
            Verb::Weak => "weak",
            Verb::Operate => "operate",
        };
        let inner = self.inner.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        tracing::info!(
            target: "audit",
            verb,
            reason = %self.reason,
            user = self.user.as_deref().unwrap_or("-"),
            ike_id = self.ike_id.as_deref().unwrap_or("-"),
            listener = self.listener.as_deref().unwrap_or("-"),
            outer = %self.outer.map_or_else(|| "-".to_owned(), |a| a.to_string()),
            inner = %inner,
            tunnel = self.session.map_or(0, |s| s.0),
            session = self.session.map_or(0, |s| s.1),
            octets_in = self.octets.0,
            octets_out = self.octets.1,
            seconds = self.lasted.map_or(0, |d| d.as_secs()),
        );
    }
}
