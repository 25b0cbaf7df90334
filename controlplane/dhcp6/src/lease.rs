//! What an identity association gives: a prefix (IA_PD) or an address (IA_NA).

use crate::option::{DhcpOption, Ia, IaAddress, IaPrefix};
use crate::packet::Prefix;
use crate::server::INFINITY;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

/// When a lifetime in seconds is over; `None`: never.
pub(crate) fn until(now: Instant, seconds: u32) -> Option<Instant> {
    match seconds {
        INFINITY => None,
        seconds => now.checked_add(Duration::from_secs(u64::from(seconds))),
    }
}

/// That many tenths of a preferred lifetime, in seconds: T1 is five, T2 eight (RFC 8415, section 14.2).
pub(crate) fn tenths(preferred: u32, tenths: u64) -> u32 {
    match preferred {
        INFINITY => INFINITY,
        preferred => (u64::from(preferred) * tenths / 10) as u32,
    }
}

/// A prefix or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lease {
    /// Delegated, in an IA_PD.
    Prefix(Prefix),
    /// Assigned, in an IA_NA.
    Address(Ipv6Addr),
}

impl Lease {
    /// What is to be routed: an address is a prefix of length 128.
    pub fn prefix(self) -> Prefix {
        match self {
            Self::Prefix(prefix) => prefix,
            Self::Address(address) => Prefix::host(address),
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Prefix(_) => Kind::Prefix,
            Self::Address(_) => Kind::Address,
        }
    }
}

/// Of which kind an association is: the identifiers of the two are apart from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Prefix,
    Address,
}

impl Kind {
    pub fn option(self, ia: Ia) -> DhcpOption {
        match self {
            Self::Prefix => DhcpOption::IaPd(ia),
            Self::Address => DhcpOption::IaNa(ia),
        }
    }
}

impl Ia {
    /// What is in it, with preferred and valid lifetime in seconds; prefixes without a length are hints and left out.
    pub(crate) fn leases(&self) -> impl Iterator<Item = (Lease, u32, u32)> + '_ {
        let prefix = |p: &IaPrefix| {
            let prefix = Prefix::new(p.prefix, p.length).filter(|_| p.length > 0)?;
            Some((Lease::Prefix(prefix), p.preferred, p.valid))
        };
        let address = |a: &IaAddress| (Lease::Address(a.address), a.preferred, a.valid);
        self.prefixes.iter().filter_map(prefix).chain(self.addresses.iter().map(address))
    }

    pub(crate) fn push(&mut self, lease: Lease, preferred: u32, valid: u32) {
        match lease {
            Lease::Prefix(p) => {
                let (length, prefix) = (p.length(), p.address());
                self.prefixes.push(IaPrefix { preferred, valid, length, prefix, status: None });
            }
            Lease::Address(address) => {
                self.addresses.push(IaAddress { address, preferred, valid, status: None });
            }
        }
    }
}
