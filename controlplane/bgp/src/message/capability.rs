//! Capabilities (RFC 5492): what a speaker says in its OPEN that it can do.
//!
//! ```text
//! | Code (1) | Length (1) |  Value ...  |
//! ```

use super::family::Family;
use super::reader::Reader;

mod code {
    pub(super) const MULTI_PROTOCOL: u8 = 1;
    pub(super) const ROUTE_REFRESH: u8 = 2;
    pub(super) const EXTENDED_NEXT_HOP: u8 = 5;
    pub(super) const EXTENDED_MESSAGE: u8 = 6;
    pub(super) const ROLE: u8 = 9;
    pub(super) const GRACEFUL_RESTART: u8 = 64;
    pub(super) const FOUR_OCTET_AS: u8 = 65;
    pub(super) const ENHANCED_ROUTE_REFRESH: u8 = 70;
}

const RESTART_STATE: u16 = 0x8000;
const RESTART_NOTIFICATION: u16 = 0x4000;
const RESTART_TIME: u16 = 0x0fff;
const FORWARDING_STATE: u8 = 0x80;

/// A capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Routes of a family (RFC 4760).
    MultiProtocol(Family),
    /// ROUTE-REFRESH is understood (RFC 2918).
    RouteRefresh,
    /// A refresh is bracketed by BoRR and EoRR (RFC 7313).
    EnhancedRouteRefresh,
    /// Routes of a family may have next hops of this AFI (RFC 8950).
    ExtendedNextHop(Vec<(Family, u16)>),
    /// Messages of up to 65,535 octets are understood (RFC 8654).
    ExtendedMessage,
    /// What the sender is to the receiver (RFC 9234).
    Role(Role),
    /// Graceful restart (RFC 4724).
    GracefulRestart {
        /// The sender has restarted and holds back until End-of-RIB.
        restarting: bool,
        /// A NOTIFICATION does not end graceful restart (RFC 8538).
        notification: bool,
        /// Seconds within which the sender will be back, 12 bits.
        time: u16,
        /// Families, and whether their forwarding state was kept through the restart.
        families: Vec<(Family, bool)>,
    },
    /// AS numbers of four octets, and the sender's own (RFC 6793).
    FourOctetAs(u32),
    /// Anything else.
    Unknown {
        /// Capability code.
        code: u8,
        /// Capability value, at most 255 octets.
        value: Vec<u8>,
    },
}

/// What a speaker is to its eBGP neighbour (RFC 9234, section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Gives transit.
    Provider,
    /// Route server.
    RouteServer,
    /// Client of a route server.
    RouteServerClient,
    /// Takes transit.
    Customer,
    /// Lateral peer.
    Peer,
    /// Not assigned.
    Unassigned(u8),
}

impl Role {
    const fn from_number(n: u8) -> Self {
        match n {
            0 => Self::Provider,
            1 => Self::RouteServer,
            2 => Self::RouteServerClient,
            3 => Self::Customer,
            4 => Self::Peer,
            n => Self::Unassigned(n),
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Provider => 0,
            Self::RouteServer => 1,
            Self::RouteServerClient => 2,
            Self::Customer => 3,
            Self::Peer => 4,
            Self::Unassigned(n) => n,
        }
    }

    /// What the other side of such a session must be (RFC 9234, table 2); `None` for a role that is not assigned.
    pub const fn counterpart(self) -> Option<Self> {
        match self {
            Self::Provider => Some(Self::Customer),
            Self::RouteServer => Some(Self::RouteServerClient),
            Self::RouteServerClient => Some(Self::RouteServer),
            Self::Customer => Some(Self::Provider),
            Self::Peer => Some(Self::Peer),
            Self::Unassigned(_) => None,
        }
    }
}

impl Capability {
    /// Reads one capability off the front. `None` when its length runs over the end or does not fit its code.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let code = reader.u8()?;
        let length = usize::from(reader.u8()?);
        let value = reader.take(length)?;
        Self::decode_value(code, value)
    }

    fn decode_value(code: u8, value: &[u8]) -> Option<Self> {
        let mut r = Reader(value);
        let capability = match code {
            code::MULTI_PROTOCOL => {
                let (afi, _reserved, safi) = (r.u16()?, r.u8()?, r.u8()?);
                match Family::from_numbers(afi, safi) {
                    Some(family) => Self::MultiProtocol(family),
                    None => Self::Unknown { code, value: value.to_vec() },
                }
            }
            code::ROUTE_REFRESH => Self::RouteRefresh,
            code::ENHANCED_ROUTE_REFRESH => Self::EnhancedRouteRefresh,
            code::EXTENDED_NEXT_HOP => {
                let mut pairs = Vec::new();
                while !r.is_empty() {
                    let (afi, safi, next_hop) = (r.u16()?, r.u16()?, r.u16()?);
                    let family = u8::try_from(safi).ok().and_then(|safi| Family::from_numbers(afi, safi));
                    pairs.extend(family.map(|family| (family, next_hop)));
                }
                Self::ExtendedNextHop(pairs)
            }
            code::EXTENDED_MESSAGE => Self::ExtendedMessage,
            code::ROLE => Self::Role(Role::from_number(r.u8()?)),
            code::GRACEFUL_RESTART => {
                let head = r.u16()?;
                let mut families = Vec::new();
                while !r.is_empty() {
                    let (afi, safi, flags) = (r.u16()?, r.u8()?, r.u8()?);
                    let kept = flags & FORWARDING_STATE != 0;
                    families.extend(Family::from_numbers(afi, safi).map(|family| (family, kept)));
                }
                Self::GracefulRestart {
                    restarting: head & RESTART_STATE != 0,
                    notification: head & RESTART_NOTIFICATION != 0,
                    time: head & RESTART_TIME,
                    families,
                }
            }
            code::FOUR_OCTET_AS => Self::FourOctetAs(r.u32()?),
            code => Self::Unknown { code, value: r.rest().to_vec() },
        };
        (r.is_empty() || matches!(capability, Self::Unknown { .. })).then_some(capability)
    }

    /// Writes the capability; a value beyond 255 octets is cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut value = Vec::new();
        let code = self.encode_value(&mut value);
        value.truncate(255);
        out.extend_from_slice(&[code, value.len() as u8]);
        out.extend_from_slice(&value);
    }

    fn encode_value(&self, value: &mut Vec<u8>) -> u8 {
        match self {
            Self::MultiProtocol(family) => {
                value.extend_from_slice(&family.afi().to_be_bytes());
                value.extend_from_slice(&[0, family.safi()]);
                code::MULTI_PROTOCOL
            }
            Self::RouteRefresh => code::ROUTE_REFRESH,
            Self::EnhancedRouteRefresh => code::ENHANCED_ROUTE_REFRESH,
            Self::ExtendedNextHop(pairs) => {
                for (family, next_hop) in pairs {
                    for word in [family.afi(), u16::from(family.safi()), *next_hop] {
                        value.extend_from_slice(&word.to_be_bytes());
                    }
                }
                code::EXTENDED_NEXT_HOP
            }
            Self::ExtendedMessage => code::EXTENDED_MESSAGE,
            Self::Role(role) => {
                value.push(role.number());
                code::ROLE
            }
            Self::GracefulRestart { restarting, notification, time, families } => {
                let mut head = time & RESTART_TIME;
                head |= if *restarting { RESTART_STATE } else { 0 };
                head |= if *notification { RESTART_NOTIFICATION } else { 0 };
                value.extend_from_slice(&head.to_be_bytes());
                for (family, kept) in families {
                    value.extend_from_slice(&family.afi().to_be_bytes());
                    value.extend_from_slice(&[family.safi(), if *kept { FORWARDING_STATE } else { 0 }]);
                }
                code::GRACEFUL_RESTART
            }
            Self::FourOctetAs(asn) => {
                value.extend_from_slice(&asn.to_be_bytes());
                code::FOUR_OCTET_AS
            }
            Self::Unknown { code, value: bytes } => {
                value.extend_from_slice(bytes);
                *code
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    #[test]
    fn every_capability_has_its_bytes() {
        let cases: [(Capability, &[u8]); 10] = [
            (Capability::MultiProtocol(Family::Ipv6Unicast), &hex!("01 04 0002 00 01")),
            (Capability::RouteRefresh, &hex!("02 00")),
            (Capability::ExtendedNextHop(vec![(Family::Ipv4Unicast, 2)]), &hex!("05 06 0001 0001 0002")),
            (Capability::ExtendedMessage, &hex!("06 00")),
            (Capability::Role(Role::Customer), &hex!("09 01 03")),
            (
                Capability::GracefulRestart {
                    restarting: true,
                    notification: true,
                    time: 120,
                    families: vec![(Family::Ipv4Unicast, true), (Family::Ipv6Unicast, false)],
                },
                &hex!("40 0a c078 0001 01 80 0002 01 00"),
            ),
            (Capability::FourOctetAs(4_200_000_000), &hex!("41 04 fa56ea00")),
            (Capability::EnhancedRouteRefresh, &hex!("46 00")),
            (Capability::Unknown { code: 73, value: b"\x01a\x00".to_vec() }, &hex!("49 03 016100")),
            (Capability::Unknown { code: 1, value: hex!("0019 00 46").to_vec() }, &hex!("01 04 0019 00 46")),
        ];
        for (capability, bytes) in cases {
            let mut out = Vec::new();
            capability.encode(&mut out);
            assert_eq!(out, bytes);
            assert_eq!(Capability::decode(&mut Reader(bytes)), Some(capability));
        }
    }

    #[test]
    fn families_not_spoken_are_passed_over_in_lists() {
        let bytes = hex!("05 0c 0001 0080 0002 0001 0001 0002");
        let read = Capability::decode(&mut Reader(&bytes));
        assert_eq!(read, Some(Capability::ExtendedNextHop(vec![(Family::Ipv4Unicast, 2)])));
        let bytes = hex!("40 06 0078 0019 46 80");
        let Some(Capability::GracefulRestart { families, .. }) = Capability::decode(&mut Reader(&bytes)) else {
            panic!("not read");
        };
        assert!(families.is_empty());
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        for bytes in [&hex!("01 03 000200")[..], &hex!("41 02 0001"), &hex!("06 01 00"), &hex!("09 00"), &hex!("02 01")]
        {
            assert_eq!(Capability::decode(&mut Reader(bytes)), None, "{bytes:02x?}");
        }
    }

    #[test]
    fn roles_correspond() {
        for role in [Role::Provider, Role::RouteServer, Role::RouteServerClient, Role::Customer, Role::Peer] {
            assert_eq!(role.counterpart().and_then(Role::counterpart), Some(role));
        }
        assert_eq!(Role::Provider.counterpart(), Some(Role::Customer));
        assert_eq!(Role::from_number(9).counterpart(), None);
    }
}
