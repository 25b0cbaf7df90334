//! Where a softwire is born: an L2TP session of an authenticated peer becomes a subscriber.
//!
//! ```text
//!  Lcp ──LinkUp──► Authorizing ──Accept──► Network ──IPCP/IPV6CP──► Open
//!   │  (AuthRequest ► AAA, before LinkUp)     │                       │
//!   └─────────────── Down ◄───────────────────┴───────────────────────┘
//! ```
//!
//! The session is in the data plane from its first moment, so that PPP's own packets reach us, but closed: no inner
//! packet passes before AAA has accepted and the network protocol is open (H12). What passes then must come from the
//! subscriber's own addresses (H18).

use crate::aaa::Profile;
use crate::pool::{Allocator, Kind};
use dataplane_api::{IpPrefix, Session, SessionId, WorkerId};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

/// How far a softwire has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// LCP and authentication.
    Lcp,
    /// The link is up, AAA is asked (anonymous), or addresses are being assigned.
    Authorizing,
    /// IPCP, IPV6CP.
    Network,
    /// Traffic passes.
    Open,
    /// On its way down.
    Closing,
}

impl State {
    /// As status shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lcp => "lcp",
            Self::Authorizing => "authorizing",
            Self::Network => "network",
            Self::Open => "open",
            Self::Closing => "closing",
        }
    }
}

/// An address or prefix that a subscriber holds, and where it goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What.
    pub prefix: IpPrefix,
    /// From the pool, or the subscriber's own.
    pub pooled: bool,
}

/// Inner addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// IPv4 address.
    pub ipv4: Option<Lease>,
    /// /64 of the link.
    pub ipv6: Option<Lease>,
    /// Prefix for DHCPv6.
    pub delegated: Option<Lease>,
}

impl Leases {
    /// What `user` gets: its own addresses first, else from the pools. A family with neither is not offered.
    pub fn assign(profile: &Profile, user: &str, pools: &mut Allocator) -> Self {
        let own = |address: IpAddr, len| IpPrefix::new(address, len).map(|prefix| Lease { prefix, pooled: false });
        let mut pool = |kind| pools.lease(kind, user).map(|prefix| Lease { prefix, pooled: true });
        Self {
            ipv4: profile.ipv4.and_then(|a| own(a.into(), 32)).or_else(|| pool(Kind::Ipv4)),
            ipv6: profile.ipv6_prefix.and_then(|n| own(n.network().into(), 64)).or_else(|| pool(Kind::Ipv6)),
            delegated: profile
                .delegated
                .and_then(|n| own(n.network().into(), n.prefix_len()))
                .or_else(|| pool(Kind::Delegated)),
        }
    }

    /// Gives back what came from the pools.
    pub fn release(&mut self, user: &str, pools: &mut Allocator) {
        let Self { ipv4, ipv6, delegated } = std::mem::take(self);
        for (lease, kind) in [(ipv4, Kind::Ipv4), (ipv6, Kind::Ipv6), (delegated, Kind::Delegated)] {
            if let Some(Lease { prefix, pooled: true }) = lease {
                pools.give_back(kind, prefix, user);
            }
        }
    }

    /// All of them.
    pub fn prefixes(&self) -> impl Iterator<Item = IpPrefix> {
        [self.ipv4, self.ipv6, self.delegated].into_iter().flatten().map(|l| l.prefix)
    }

    /// Whether two subscribers would share an address.
    pub fn clash(&self, other: &Self) -> bool {
        self.prefixes().any(|a| other.prefixes().any(|b| a.contains(b.address()) || b.contains(a.address())))
    }
}

/// A subscriber's record: it joins IKE identity, L2TP ids, PPP user, outer and inner addresses (H23).
pub struct Subscriber {
    /// Our L2TP ids.
    pub id: SessionId,
    /// Its worker.
    pub worker: WorkerId,
    /// As programmed.
    pub session: Session,
    /// State.
    pub state: State,
    /// PPP.
    pub link: ppp::Link,
    /// DHCPv6 server of this link, once IPv6 is up.
    pub dhcp6: Option<dhcp6::Server>,
    /// PPP user name; empty when anonymous or not known yet.
    pub user: String,
    /// Identity authenticated by IKE.
    pub ike_id: Option<String>,
    /// Name of the listener.
    pub listener: String,
    /// The listener admits without authentication.
    pub anonymous: bool,
    /// What AAA said.
    pub profile: Option<Profile>,
    /// Inner addresses.
    pub leases: Leases,
    /// Routes that point here.
    pub routes: Vec<IpPrefix>,
    /// Since when.
    pub since: Instant,
    /// Why it ends, once that is known.
    pub ending: Option<String>,
    /// When the next unsolicited router advertisement is due, and how many of the first ones are left.
    pub advertise: Option<(Instant, u8)>,
    /// The earliest of the timers, as queued.
    pub wakes: Option<Instant>,
}

impl Subscriber {
    /// Adds a prefix to what the subscriber may use; false when all places are taken.
    pub fn admit(&mut self, prefix: IpPrefix) -> bool {
        let places = &mut self.session.inner.prefixes;
        if places.contains(&Some(prefix)) {
            return true;
        }
        match places.iter_mut().find(|p| p.is_none()) {
            Some(place) => {
                *place = Some(prefix);
                true
            }
            None => false,
        }
    }

    /// Takes a prefix away again.
    pub fn withdraw(&mut self, prefix: IpPrefix) {
        let places = &mut self.session.inner.prefixes;
        let mut left = places.iter().flatten().copied().filter(|p| *p != prefix).collect::<Vec<_>>().into_iter();
        places.fill_with(|| left.next());
    }

    /// The subscriber's IPv4 address.
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        match self.leases.ipv4?.prefix.address() {
            IpAddr::V4(a) => Some(a),
            IpAddr::V6(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Pools;

    #[test]
    fn own_addresses_come_before_the_pools() {
        let pools = Pools {
            ipv4: vec!["10.0.0.0/24".parse().unwrap()],
            ipv6: vec!["2001:db8::/48".parse().unwrap()],
            ..Pools::default()
        };
        let mut pools = Allocator::new(&pools, &[], None);
        let profile = Profile { ipv4: Some(Ipv4Addr::new(10, 9, 9, 9)), ..Profile::default() };
        let mut a = Leases::assign(&profile, "alice", &mut pools);
        assert_eq!(a.ipv4.unwrap().prefix.to_string(), "10.9.9.9/32");
        assert!(!a.ipv4.unwrap().pooled && a.ipv6.unwrap().pooled && a.delegated.is_none());
        let b = Leases::assign(&profile, "mallory", &mut pools);
        assert!(a.clash(&b));
        let before = a.ipv6;
        a.release("alice", &mut pools);
        assert_eq!(Leases::assign(&profile, "alice", &mut pools).ipv6, before);
    }
}
