//! Routes of a user, as text: Framed-Route (RFC 2865, section 5.22) and Framed-IPv6-Route (RFC 3162, section 2.5).
//!
//! ```text
//!   192.168.1.0/24 192.168.1.1 1        prefix, gateway, metrics
//!   10.0.0.0                            the length of its class, through the user
//!   2001:db8:7::/48 :: 1                a gateway of zeroes is the user
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A route toward a user, of the family of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The prefix, its bits beyond the length clear.
    pub prefix: IpAddr,
    /// Its length in bits.
    pub length: u8,
    /// The gateway, of the same family; nothing: the user.
    pub gateway: Option<IpAddr>,
    /// The first metric.
    pub metric: Option<u32>,
}

/// Not a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a route: prefix[/length] [gateway [metric...]] of one family")]
pub struct NotARoute;

/// The length of a prefix without one: that of its class, or of a host.
fn class(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        192..224 => 24,
        _ => 32,
    }
}

fn masked(address: IpAddr, length: u8) -> Option<IpAddr> {
    let unused = |width: u8| width.checked_sub(length).map(u32::from);
    Some(match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(unused(32)?).unwrap_or(0);
            Ipv4Addr::from_bits(a.to_bits() & mask).into()
        }
        IpAddr::V6(a) => mask_ipv6(a, unused(128)?).into(),
    })
}

pub(crate) fn mask_ipv6(address: Ipv6Addr, unused: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(unused).unwrap_or(0))
}

impl FromStr for Route {
    type Err = NotARoute;

    /// Reads one. Words after the first metric have to be metrics too, and are not kept; of these, RFC 2865's own
    /// example has a negative one.
    fn from_str(text: &str) -> Result<Self, NotARoute> {
        let mut words = text.trim_end_matches('\0').split_ascii_whitespace();
        let prefix = words.next().ok_or(NotARoute)?;
        let (address, length) = match prefix.split_once('/') {
            Some((address, length)) => (address, Some(length.parse().map_err(|_| NotARoute)?)),
            None => (prefix, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotARoute)?;
        let length = length.unwrap_or(match address {
            IpAddr::V4(a) => class(a),
            IpAddr::V6(_) => 128,
        });
        let gateway: Option<IpAddr> = words.next().map(|w| w.parse().map_err(|_| NotARoute)).transpose()?;
        if gateway.is_some_and(|g| g.is_ipv4() != address.is_ipv4()) {
            return Err(NotARoute);
        }
        let metrics = words.map(|w| w.parse::<i64>().map_err(|_| NotARoute)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            prefix: masked(address, length).ok_or(NotARoute)?,
            length,
            gateway: gateway.filter(|g| !g.is_unspecified()),
            metric: metrics.first().map(|m| u32::try_from(*m).map_err(|_| NotARoute)).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(prefix: &str, length: u8, gateway: Option<&str>, metric: Option<u32>) -> Result<Route, NotARoute> {
        Ok(Route { prefix: prefix.parse().unwrap(), length, gateway: gateway.map(|g| g.parse().unwrap()), metric })
    }

    #[test]
    fn routes_are_read_as_servers_write_them() {
        for (text, expected) in [
            ("192.168.1.0/24 192.168.1.1 1 2 -1 3 400", route("192.168.1.0", 24, Some("192.168.1.1"), Some(1))),
            ("192.168.1.0 192.168.1.1 1", route("192.168.1.0", 24, Some("192.168.1.1"), Some(1))),
            ("10.1.2.3 0.0.0.0 5", route("10.0.0.0", 8, None, Some(5))),
            ("172.16.0.0", route("172.16.0.0", 16, None, None)),
            ("225.0.0.1", route("225.0.0.1", 32, None, None)),
            ("0.0.0.0/0 192.0.2.1", route("0.0.0.0", 0, Some("192.0.2.1"), None)),
            ("2000:0:0:106::/64 2000::106:a00:20ff:fe99:a998 1", {
                route("2000:0:0:106::", 64, Some("2000::106:a00:20ff:fe99:a998"), Some(1))
            }),
            ("2001:db8:7:8::1/48 ::", route("2001:db8:7::", 48, None, None)),
            ("2001:db8::1", route("2001:db8::1", 128, None, None)),
            ("::/0", route("::", 0, None, None)),
            ("198.51.100.0/24 0.0.0.0 1\0", route("198.51.100.0", 24, None, Some(1))),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_route_is_refused() {
        for text in [
            "",
            " ",
            "default",
            "192.0.2.0/33",
            "192.0.2.0/",
            "192.0.2.0/-1",
            "192.0.2/24",
            "2001:db8::/129",
            "192.0.2.0/24 2001:db8::1",
            "2001:db8::/32 192.0.2.1 1",
            "192.0.2.0/24 gateway",
            "192.0.2.0/24 0.0.0.0 x",
            "192.0.2.0/24 0.0.0.0 -1",
            "192.0.2.0/24 0.0.0.0 4294967296",
            "192.0.2.0/24/24",
        ] {
            assert_eq!(text.parse::<Route>(), Err(NotARoute), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "[0-9a-f:./ -]{0,40}") {
            if let Ok(route) = text.parse::<Route>() {
                let again = format!("{}/{}", route.prefix, route.length).parse::<Route>().unwrap();
                assert_eq!((again.prefix, again.length), (route.prefix, route.length));
            }
        }
    }
}
