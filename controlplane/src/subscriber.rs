//! Where a softwire is born: an L2TP session of an authenticated peer becomes a subscriber.
//!
//! ```text
//!  Tunnel ──ICCN──► Lcp ──LinkUp──► Authorizing ──Accept──► Network ──IPCP/IPV6CP──► Open
//!   │                │  (AuthRequest ► AAA, before LinkUp)     │                       │
//!   └────────────────┴────────────── Down ◄────────────────────┴───────────────────────┘
//! ```
//!
//! The session is in the data plane from its first moment, so that PPP's own packets reach us, but closed: no inner
//! packet passes before AAA has accepted and the network protocol is open (H12). What passes then must come from the
//! subscriber's own addresses (H18).

use crate::aaa::{Accept, Context, Profile, Unhonoured};
use crate::accounting::Cause;
use crate::meter::Meter;
use crate::pool::{self, Allocator, Holder, Refused};
use dataplane_api::{IpPrefix, Session, SessionId, WorkerId};
use ipnet::Ipv6Net;
use radius::Kind;
use radius::attribute::*;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

/// How far a softwire has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The call is accepted, and not connected yet.
    Tunnel,
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
            Self::Tunnel => "tunnel",
            Self::Lcp => "lcp",
            Self::Authorizing => "authorizing",
            Self::Network => "network",
            Self::Open => "open",
            Self::Closing => "closing",
        }
    }
}

/// Inner addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// IPv4 address.
    pub ipv4: Option<IpPrefix>,
    /// /64 of the link.
    pub ipv6: Option<IpPrefix>,
    /// Prefix for DHCPv6.
    pub delegated: Option<IpPrefix>,
    /// Address for DHCPv6.
    pub address: Option<IpPrefix>,
    /// Networks behind the subscriber.
    pub routes: Vec<IpPrefix>,
}

/// Why there are no leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unassigned {
    /// AAA says what cannot be had.
    Unhonoured(Unhonoured),
    /// A session of that number has what AAA says.
    Held(Kind, Holder),
}

impl Leases {
    /// What `user` gets in the session `holder`: what AAA says, else from the pools. A family with neither is not offered.
    /// Nothing is held after an error.
    pub fn assign(profile: &Profile, user: &str, holder: Holder, pools: &mut Allocator) -> Result<Self, Unassigned> {
        let mut leases = Self::default();
        let result = leases.fill(profile, user, holder, pools);
        if result.is_err() {
            leases.release(holder, pools);
        }
        result.map(|()| leases)
    }

    fn fill(&mut self, profile: &Profile, user: &str, holder: Holder, pools: &mut Allocator) -> Result<(), Unassigned> {
        let net = |n: Ipv6Net| IpPrefix::new(n.network().into(), n.prefix_len());
        let fixed = [
            (&mut self.ipv4, FRAMED_IP_ADDRESS, profile.ipv4.map(|a| IpPrefix::host(a.into()))),
            (&mut self.ipv6, FRAMED_IPV6_PREFIX, profile.ipv6_prefix.and_then(net)),
            (&mut self.delegated, DELEGATED_IPV6_PREFIX, profile.delegated.and_then(net)),
            (&mut self.address, FRAMED_IPV6_ADDRESS, profile.ipv6_address.map(|a| IpPrefix::host(a.into()))),
        ];
        for (slot, attribute, prefix) in fixed {
            let Some(prefix) = prefix else { continue };
            // An address of the link's own prefix is the subscriber's already.
            let inside = attribute == FRAMED_IPV6_ADDRESS
                && profile.ipv6_prefix.is_some_and(|n| n.contains(&profile.ipv6_address.unwrap_or(n.addr())));
            if !inside {
                claim(pools, attribute, prefix, holder)?;
            }
            *slot = Some(prefix);
        }
        for prefix in &profile.routes {
            let attribute = if prefix.address().is_ipv4() { FRAMED_ROUTE } else { FRAMED_IPV6_ROUTE };
            if !self.routes.contains(prefix) {
                claim(pools, attribute, *prefix, holder)?;
                self.routes.push(*prefix);
            }
        }
        let pooled = [
            (&mut self.ipv4, pool::Kind::Ipv4, FRAMED_POOL, &profile.ipv4_pool),
            (&mut self.ipv6, pool::Kind::Ipv6, FRAMED_IPV6_POOL, &profile.ipv6_pool),
            (&mut self.delegated, pool::Kind::Delegated, DELEGATED_IPV6_PREFIX_POOL, &profile.delegated_pool),
            (&mut self.address, pool::Kind::Address, STATEFUL_IPV6_ADDRESS_POOL, &profile.address_pool),
        ];
        for (slot, kind, attribute, name) in pooled {
            if slot.is_some() {
                continue;
            }
            match (pools.lease(kind, name.as_deref().unwrap_or_default(), user, holder), name) {
                (Ok(prefix), _) => *slot = Some(prefix),
                (Err(why), Some(name)) => {
                    return Err(Unassigned::Unhonoured(Unhonoured::new(attribute, format!("\"{name}\": {why}"))));
                }
                (Err(Refused::Exhausted), None) => tracing::warn!(user, ?kind, "the address pool is exhausted"),
                (Err(_), None) => {}
            }
        }
        Ok(())
    }

    /// Gives all of it back; what it was is still to be seen, for the last records.
    pub fn release(&self, holder: Holder, pools: &mut Allocator) {
        for prefix in self.prefixes() {
            pools.give_back(prefix, holder);
        }
    }

    /// All of them.
    pub fn prefixes(&self) -> impl Iterator<Item = IpPrefix> {
        let routes = self.routes.clone();
        [self.ipv4, self.ipv6, self.delegated, self.address].into_iter().flatten().chain(routes)
    }
}

fn claim(pools: &mut Allocator, attribute: Kind, prefix: IpPrefix, holder: Holder) -> Result<(), Unassigned> {
    match pools.claim(prefix, holder) {
        Ok(()) => Ok(()),
        Err(Refused::Held(other)) if other == holder => {
            Err(Unassigned::Unhonoured(Unhonoured::new(attribute, format!("{prefix} overlaps with another attribute"))))
        }
        Err(Refused::Held(other)) => Err(Unassigned::Held(attribute, other)),
        Err(why) => Err(Unassigned::Unhonoured(Unhonoured::new(attribute, format!("{prefix}: {why}")))),
    }
}

/// Who answers DHCPv6 on a link.
pub enum Dhcp6 {
    /// We do.
    Server(dhcp6::Server),
    /// A server elsewhere.
    Relay(dhcp6::Relay),
}

impl Dhcp6 {
    /// When a lifetime ends.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Server(server) => server.poll_timeout(),
            Self::Relay(relay) => relay.poll_timeout(),
        }
    }

    /// Lets go of what has expired.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Server(server) => server.handle_timeout(now),
            Self::Relay(relay) => relay.handle_timeout(now),
        }
    }

    /// What was given or has ended.
    pub fn poll_event(&mut self) -> Option<dhcp6::ServerEvent> {
        match self {
            Self::Server(server) => server.poll_event(),
            Self::Relay(relay) => relay.poll_event(),
        }
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
    /// DHCPv6 of this link, once IPv6 is up.
    pub dhcp6: Option<Dhcp6>,
    /// Whom AAA has authenticated; before that, whom the peer says it is. Empty when anonymous or not known yet.
    pub user: String,
    /// The name that the peer gives in PPP.
    pub claimed: String,
    /// Who it must be, because IKE has authenticated it already (H23).
    pub must_be: Option<String>,
    /// What AAA has said of it in IKE, where that is enough.
    pub skip: Option<Box<Accept>>,
    /// The peer's L2TP Host Name (RFC 2661, section 4.4.3).
    pub host_name: String,
    /// Name of the listener.
    pub listener: String,
    /// The listener admits without authentication.
    pub anonymous: bool,
    /// How its records tell of it.
    pub context: Arc<Context>,
    /// What AAA said.
    pub profile: Option<Profile>,
    /// RADIUS said it.
    pub radius: bool,
    /// What runs with its time, once it is accepted.
    pub meter: Option<Meter>,
    /// The servers have heard of its beginning.
    pub accounted: bool,
    /// Inner addresses.
    pub leases: Leases,
    /// Routes that point here.
    pub routes: Vec<IpPrefix>,
    /// Since when.
    pub since: Instant,
    /// Why it ends, once that is known.
    pub ending: Option<(Cause, String)>,
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
        match self.leases.ipv4?.address() {
            IpAddr::V4(a) => Some(a),
            IpAddr::V6(_) => None,
        }
    }

    /// Ends for a reason, unless there is one already.
    pub fn ends(&mut self, cause: Cause, why: impl Into<String>) {
        self.ending.get_or_insert_with(|| (cause, why.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PoolSet, Pools};

    fn pools() -> Allocator {
        let set = PoolSet { ipv4: vec!["10.1.0.0/30".parse().unwrap()], ..PoolSet::default() };
        let pools = Pools {
            ipv4: vec!["10.0.0.0/24".parse().unwrap()],
            ipv6: vec!["2001:db8::/48".parse().unwrap()],
            named: [("small".to_owned(), set)].into(),
            ..Pools::default()
        };
        Allocator::new(&pools, &[], None, 16)
    }

    #[test]
    fn own_addresses_come_before_the_pools() {
        let mut pools = pools();
        let profile = Profile { ipv4: Some(Ipv4Addr::new(10, 9, 9, 9)), ..Profile::default() };
        let a = Leases::assign(&profile, "alice", 1, &mut pools).unwrap();
        assert_eq!(a.ipv4.unwrap().to_string(), "10.9.9.9/32");
        assert!(a.ipv6.is_some() && a.delegated.is_none());
        assert_eq!(Leases::assign(&profile, "mallory", 2, &mut pools), Err(Unassigned::Held(FRAMED_IP_ADDRESS, 1)));
        let before = a.ipv6;
        a.release(1, &mut pools);
        assert_eq!(Leases::assign(&profile, "alice", 3, &mut pools).unwrap().ipv6, before);
    }

    #[test]
    fn a_pool_that_aaa_names_is_there_and_has_room() {
        let mut pools = pools();
        let named = |name: &str| Profile { ipv4_pool: Some(name.into()), ..Profile::default() };
        let refused = |r: Result<Leases, Unassigned>| match r.unwrap_err() {
            Unassigned::Unhonoured(u) => u.to_string(),
            Unassigned::Held(..) => panic!(),
        };
        assert_eq!(
            refused(Leases::assign(&named("none"), "u", 1, &mut pools)),
            "Framed-Pool: \"none\": there is no such pool"
        );
        for i in 1..=2 {
            assert!(Leases::assign(&named("small"), "u", i, &mut pools).unwrap().ipv4.is_some());
        }
        assert_eq!(
            refused(Leases::assign(&named("small"), "u", 3, &mut pools)),
            "Framed-Pool: \"small\": the pool is exhausted"
        );
    }

    #[test]
    fn nothing_is_held_after_an_error() {
        let mut pools = pools();
        let p = |text: &str| {
            let n: ipnet::IpNet = text.parse().unwrap();
            IpPrefix::new(n.network(), n.prefix_len()).unwrap()
        };
        let routes = vec![p("172.16.0.0/16"), p("172.16.1.0/24")];
        let profile = Profile { ipv4: Some(Ipv4Addr::new(10, 9, 9, 9)), routes, ..Profile::default() };
        let Err(Unassigned::Unhonoured(e)) = Leases::assign(&profile, "u", 1, &mut pools) else { panic!() };
        assert_eq!(e.to_string(), "Framed-Route: 172.16.1.0/24 overlaps with another attribute");
        let profile = Profile { routes: vec![p("172.16.0.0/16")], ..profile };
        assert_eq!(Leases::assign(&profile, "v", 2, &mut pools).unwrap().routes.len(), 1);
    }
}
