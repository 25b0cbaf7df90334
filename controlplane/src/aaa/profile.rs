//! What a subscriber is given.

use dataplane_api::{IpPrefix, Rate};
use ipnet::Ipv6Net;
use radius::attribute::*;
use radius::{Attribute, Attributes, Kind, vendor};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// What an accepted subscriber is given. Absent addresses come from the pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Fixed IPv4 address (Framed-IP-Address).
    pub ipv4: Option<Ipv4Addr>,
    /// Pool for it (Framed-Pool).
    pub ipv4_pool: Option<String>,
    /// Fixed /64 (Framed-IPv6-Prefix).
    pub ipv6_prefix: Option<Ipv6Net>,
    /// Pool for it (Framed-IPv6-Pool).
    pub ipv6_pool: Option<String>,
    /// Fixed address for DHCPv6 (Framed-IPv6-Address, RFC 6911).
    pub ipv6_address: Option<Ipv6Addr>,
    /// Pool for it (Stateful-IPv6-Address-Pool).
    pub address_pool: Option<String>,
    /// Fixed delegated prefix (Delegated-IPv6-Prefix, RFC 4818).
    pub delegated: Option<Ipv6Net>,
    /// Pool for it (Delegated-IPv6-Prefix-Pool).
    pub delegated_pool: Option<String>,
    /// The subscriber's interface identifier (Framed-Interface-Id).
    pub interface_id: Option<[u8; 8]>,
    /// Networks behind the subscriber (Framed-Route, Framed-IPv6-Route).
    pub routes: Vec<IpPrefix>,
    /// DNS servers instead of the configured ones.
    pub dns4: Vec<Ipv4Addr>,
    /// Likewise (DNS-Server-IPv6-Address).
    pub dns6: Vec<Ipv6Addr>,
    /// Largest inner packet (Framed-MTU).
    pub mtu: Option<u16>,
    /// What may change while the session is up.
    pub limits: Limits,
    /// Sessions that the user may have at a time (Port-Limit).
    pub port_limit: Option<u32>,
    /// Goes into accounting as it came (Class).
    pub class: Vec<Vec<u8>>,
    /// How the user is called in records and in CoA-Requests (User-Name); after EAP, whom the server has authenticated.
    pub user: Option<String>,
    /// Chargeable-User-Identity (RFC 4372).
    pub cui: Option<Vec<u8>>,
}

/// What AAA may change while a session is up (CoA).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// From the beginning of the session (Session-Timeout).
    pub session_timeout: Option<Duration>,
    /// Without a packet in either direction (Idle-Timeout).
    pub idle_timeout: Option<Duration>,
    /// Name of an access list (Filter-Id).
    pub filter: Option<String>,
    /// Between interim accounting records (Acct-Interim-Interval).
    pub interim: Option<Duration>,
    /// From the subscriber.
    pub rate_up: Option<Rate>,
    /// To the subscriber.
    pub rate_down: Option<Rate>,
}

impl Limits {
    /// What `change` names takes the place of what was.
    pub fn change(&mut self, change: Self) {
        let Self { session_timeout, idle_timeout, filter, interim, rate_up, rate_down } = change;
        self.session_timeout = session_timeout.or(self.session_timeout);
        self.idle_timeout = idle_timeout.or(self.idle_timeout);
        self.filter = filter.or_else(|| self.filter.take());
        self.interim = interim.or(self.interim);
        self.rate_up = rate_up.or(self.rate_up);
        self.rate_down = rate_down.or(self.rate_down);
    }
}

/// An attribute of an Access-Accept that we cannot honour.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unhonoured {
    /// It cannot be read.
    #[error("{0}")]
    Invalid(#[from] radius::Invalid),
    /// It reads well.
    #[error("{kind}: {why}")]
    Value {
        /// Which attribute.
        kind: Kind,
        /// Why not.
        why: String,
    },
}

impl Unhonoured {
    /// What `kind` says cannot be had.
    pub fn new(kind: Kind, why: impl ToString) -> Self {
        Self::Value { kind, why: why.to_string() }
    }
}

impl Profile {
    /// From an Access-Accept. What we do not know is ignored (RFC 2865, section 5); what we know and cannot do is an error.
    pub fn from_accept(a: Attributes<'_>) -> Result<Self, Unhonoured> {
        let text = |kind| Ok::<_, Unhonoured>(a.text(kind)?.map(str::to_owned));
        // All ones: the user's choice; all ones but the last: ours (RFC 2865, section 5.8). Both come from the pool.
        let ipv4 = a.ipv4(FRAMED_IP_ADDRESS)?.filter(|a| a.to_bits() < 0xffff_fffe);
        let mut routes = Vec::new();
        for attribute in a.all(FRAMED_ROUTE).chain(a.all(FRAMED_IPV6_ROUTE)) {
            routes.push(route(attribute)?);
        }
        let mut dns4 = Vec::new();
        for kind in [vendor::MS_PRIMARY_DNS_SERVER, vendor::MS_SECONDARY_DNS_SERVER] {
            dns4.extend(a.ipv4(kind)?);
        }
        let dns6 = a.all(DNS_SERVER_IPV6_ADDRESS).map(|d| d.ipv6()).collect::<Result<_, _>>()?;
        let mtu = match a.u32(FRAMED_MTU)? {
            None => None,
            Some(n @ 64..=65535) => Some(n as u16),
            Some(n) => return Err(Unhonoured::new(FRAMED_MTU, format!("{n} is outside 64..65535"))),
        };
        Ok(Self {
            ipv4,
            ipv4_pool: text(FRAMED_POOL)?,
            ipv6_prefix: prefix(a, FRAMED_IPV6_PREFIX, |len| len == 64, "the prefix of a link is a /64")?,
            ipv6_pool: text(FRAMED_IPV6_POOL)?,
            ipv6_address: a.ipv6(FRAMED_IPV6_ADDRESS)?,
            address_pool: text(STATEFUL_IPV6_ADDRESS_POOL)?,
            delegated: prefix(a, DELEGATED_IPV6_PREFIX, |len| (16..=64).contains(&len), "between /16 and /64")?,
            delegated_pool: text(DELEGATED_IPV6_PREFIX_POOL)?,
            interface_id: a.interface_id(FRAMED_INTERFACE_ID)?.filter(|id| *id != [0; 8]),
            routes,
            dns4,
            dns6,
            mtu,
            limits: Limits::from_attributes(a)?,
            port_limit: a.u32(PORT_LIMIT)?.filter(|n| *n > 0),
            class: a.all(CLASS).map(|c| c.value.to_vec()).collect(),
            user: text(USER_NAME)?,
            cui: a.octets(CHARGEABLE_USER_IDENTITY).map(<[u8]>::to_vec),
        })
    }
}

fn route(attribute: Attribute<'_>) -> Result<IpPrefix, Unhonoured> {
    let r = attribute.route()?;
    let v6 = attribute.kind == FRAMED_IPV6_ROUTE;
    let prefix = IpPrefix::new(r.prefix, r.length).filter(|p| p.address().is_ipv6() == v6 && p.len() > 0);
    prefix.ok_or_else(|| Unhonoured::new(attribute.kind, "not a prefix of that family, or a default route"))
}

fn prefix(
    a: Attributes<'_>,
    kind: Kind,
    fits: fn(u8) -> bool,
    why: &'static str,
) -> Result<Option<Ipv6Net>, Unhonoured> {
    let Some((address, len)) = a.ipv6_prefix(kind)? else { return Ok(None) };
    let net = Ipv6Net::new(address, len).ok().filter(|_| fits(len));
    net.map(Some).ok_or_else(|| Unhonoured::new(kind, format!("{address}/{len}: {why}")))
}

impl Limits {
    /// Those that an Access-Accept or a CoA-Request names.
    pub fn from_attributes(a: Attributes<'_>) -> Result<Self, Unhonoured> {
        let seconds = |kind| {
            let n = a.u32(kind)?.filter(|n| *n > 0);
            Ok::<_, Unhonoured>(n.map(|n| Duration::from_secs(n.into())))
        };
        Ok(Self {
            session_timeout: seconds(SESSION_TIMEOUT)?,
            idle_timeout: seconds(IDLE_TIMEOUT)?,
            filter: a.text(FILTER_ID)?.map(str::to_owned),
            // RFC 2869, section 5.16: not less than 60 seconds.
            interim: seconds(ACCT_INTERIM_INTERVAL)?.map(|d| d.max(Duration::from_secs(60))),
            rate_up: rate(a, vendor::RATE_UP, vendor::BURST_UP, vendor::WISPR_BANDWIDTH_MAX_UP)?,
            rate_down: rate(a, vendor::RATE_DOWN, vendor::BURST_DOWN, vendor::WISPR_BANDWIDTH_MAX_DOWN)?,
        })
    }
}

/// Ours in kbit/s, else WISPr's in bit/s. Without a burst, what passes in a tenth of a second, and ten full packets at
/// least.
fn rate(a: Attributes<'_>, ours: Kind, burst: Kind, wispr: Kind) -> Result<Option<Rate>, Unhonoured> {
    let ours = a.u32(ours)?.map(|kbits| u64::from(kbits) * 1000);
    let Some(bits_per_second) = ours.or(a.u32(wispr)?.map(u64::from)).filter(|n| *n > 0) else { return Ok(None) };
    let default = (bits_per_second / 80).clamp(15_000, u64::from(u32::MAX)) as u32;
    Ok(Some(Rate { bits_per_second, burst: a.u32(burst)?.unwrap_or(default).max(2_000) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use radius::AttributeList;

    fn profile(fill: impl Fn(&mut AttributeList)) -> Result<Profile, String> {
        let mut list = AttributeList::new();
        fill(&mut list);
        Profile::from_accept(list.as_attributes()).map_err(|e| e.to_string())
    }

    #[test]
    fn all_that_an_accept_can_say() {
        let p = profile(|l| {
            l.ipv4(FRAMED_IP_ADDRESS, Ipv4Addr::new(10, 9, 9, 9))
                .text(FRAMED_POOL, "main")
                .ipv6_prefix(FRAMED_IPV6_PREFIX, "2001:db8:99:50::".parse().unwrap(), 64)
                .ipv6_prefix(DELEGATED_IPV6_PREFIX, "2001:db8:f50::".parse().unwrap(), 56)
                .ipv6(FRAMED_IPV6_ADDRESS, "2001:db8:99:50::5".parse().unwrap())
                .interface_id(FRAMED_INTERFACE_ID, [0, 0, 0, 0, 0, 0, 0, 0x50])
                .text(FRAMED_ROUTE, "172.20.0.0/16 10.9.9.9 1")
                .text(FRAMED_IPV6_ROUTE, "2001:db8:aaaa::/48 :: 1")
                .ipv4(vendor::MS_PRIMARY_DNS_SERVER, Ipv4Addr::new(10, 0, 0, 53))
                .ipv6(DNS_SERVER_IPV6_ADDRESS, "2001:db8::53".parse().unwrap())
                .u32(FRAMED_MTU, 1400)
                .u32(SESSION_TIMEOUT, 3600)
                .u32(IDLE_TIMEOUT, 600)
                .u32(ACCT_INTERIM_INTERVAL, 5)
                .u32(PORT_LIMIT, 2)
                .octets(CLASS, b"a")
                .octets(CLASS, b"b")
                .text(FILTER_ID, "web")
                .u32(vendor::RATE_UP, 8_000)
                .u32(vendor::WISPR_BANDWIDTH_MAX_DOWN, 16_000_000)
                .u32(vendor::BURST_DOWN, 99_000)
                .text(USER_NAME, "alice");
        })
        .unwrap();
        assert_eq!(p.ipv4, Some(Ipv4Addr::new(10, 9, 9, 9)));
        assert_eq!(p.ipv6_prefix.unwrap().to_string(), "2001:db8:99:50::/64");
        assert_eq!(p.delegated.unwrap().to_string(), "2001:db8:f50::/56");
        assert_eq!(
            p.routes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["172.20.0.0/16", "2001:db8:aaaa::/48"]
        );
        assert_eq!((p.mtu, p.port_limit, p.class.len()), (Some(1400), Some(2), 2));
        assert_eq!((p.dns4.len(), p.dns6.len(), p.interface_id.unwrap()[7]), (1, 1, 0x50));
        assert_eq!(p.limits.interim, Some(Duration::from_secs(60)));
        assert_eq!(p.limits.rate_up, Some(Rate { bits_per_second: 8_000_000, burst: 100_000 }));
        assert_eq!(p.limits.rate_down, Some(Rate { bits_per_second: 16_000_000, burst: 99_000 }));
        assert_eq!((p.limits.filter.as_deref(), p.user.as_deref()), (Some("web"), Some("alice")));
    }

    #[test]
    fn the_pool_where_the_address_says_so() {
        for choice in [0xffff_ffffu32, 0xffff_fffe] {
            assert_eq!(profile(|l| _ = l.ipv4(FRAMED_IP_ADDRESS, choice.into())).unwrap().ipv4, None);
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        let net = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        for (bad, name) in [
            (profile(|l| _ = l.ipv6_prefix(FRAMED_IPV6_PREFIX, net("2001:db8::"), 48)), "Framed-IPv6-Prefix"),
            (profile(|l| _ = l.octets(FRAMED_IP_ADDRESS, &[1, 2, 3])), "Framed-IP-Address"),
            (profile(|l| _ = l.ipv6_prefix(DELEGATED_IPV6_PREFIX, net("2001:db8::"), 72)), "Delegated-IPv6-Prefix"),
            (profile(|l| _ = l.octets(DELEGATED_IPV6_PREFIX, &[0, 129])), "Delegated-IPv6-Prefix"),
            (profile(|l| _ = l.text(FRAMED_ROUTE, "anywhere")), "Framed-Route"),
            (profile(|l| _ = l.text(FRAMED_ROUTE, "2001:db8::/48 ::")), "Framed-Route"),
            (profile(|l| _ = l.text(FRAMED_IPV6_ROUTE, "::/0 ::")), "Framed-IPv6-Route"),
            (profile(|l| _ = l.u32(FRAMED_MTU, 10)), "Framed-MTU"),
            (profile(|l| _ = l.octets(SESSION_TIMEOUT, &[1])), "Session-Timeout"),
            (profile(|l| _ = l.octets(FRAMED_POOL, &[0xff])), "Framed-Pool"),
        ] {
            let e = bad.unwrap_err();
            assert!(e.starts_with(name), "{name}: {e}");
        }
    }

    #[test]
    fn a_change_leaves_the_rest() {
        let before =
            Limits { idle_timeout: Some(Duration::from_secs(5)), filter: Some("a".into()), ..Limits::default() };
        let mut l = before.clone();
        l.change(Limits { session_timeout: Some(Duration::from_secs(9)), ..Limits::default() });
        assert_eq!(l, Limits { session_timeout: Some(Duration::from_secs(9)), ..before });
    }
}
