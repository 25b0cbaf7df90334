//! Vendors' attributes (RFC 2865, section 5.26): Microsoft's (RFC 2548), WISPr's bandwidths, and our own.
//!
//! Ours are described to FreeRADIUS by `dictionary.softwire` beside this crate's Cargo.toml. Their vendor number is a
//! placeholder until one is assigned to us.

use crate::attribute::{Attributes, Invalid, Kind};
use crate::crypto;
use secret::Secret;

/// Microsoft.
pub const MICROSOFT: u32 = 311;
/// The Wi-Fi Alliance's, of whose attributes bandwidths are used by all.
pub const WISPR: u32 = 14122;
/// Ours, a placeholder.
pub const OURS: u32 = 64999;

mod microsoft {
    use super::{Kind, MICROSOFT};
    crate::attribute::kinds! { MICROSOFT;
        MS_CHAP_ERROR = 2 "MS-CHAP-Error", "CHAP identifier and text, RFC 2548.";
        MS_CHAP_CHALLENGE = 11 "MS-CHAP-Challenge", "octets, RFC 2548.";
        MS_MPPE_SEND_KEY = 16 "MS-MPPE-Send-Key", "hidden with a salt, RFC 2548: [`crate::Reply::mppe_keys`].";
        MS_MPPE_RECV_KEY = 17 "MS-MPPE-Recv-Key", "hidden with a salt, RFC 2548: [`crate::Reply::mppe_keys`].";
        MS_CHAP2_RESPONSE = 25 "MS-CHAP2-Response", "identifier, flags, 16 octets of challenge, 8 zeroes, 24 of response, RFC 2548.";
        MS_CHAP2_SUCCESS = 26 "MS-CHAP2-Success", "CHAP identifier and 42 octets `S=...`, RFC 2548.";
        MS_PRIMARY_DNS_SERVER = 28 "MS-Primary-DNS-Server", "IPv4 address, RFC 2548.";
        MS_SECONDARY_DNS_SERVER = 29 "MS-Secondary-DNS-Server", "IPv4 address, RFC 2548.";
    }
}

mod wispr {
    use super::{Kind, WISPR};
    crate::attribute::kinds! { WISPR;
        WISPR_BANDWIDTH_MAX_UP = 7 "WISPr-Bandwidth-Max-Up", "integer, bits per second.";
        WISPR_BANDWIDTH_MAX_DOWN = 8 "WISPr-Bandwidth-Max-Down", "integer, bits per second.";
    }
}

pub(crate) mod ours {
    use super::{Kind, OURS};
    crate::attribute::kinds! { OURS;
        INPUT_OCTETS_IPV4 = 1 "Softwire-Input-Octets-IPv4", "64-bit integer, octets of IPv4 from the user.";
        OUTPUT_OCTETS_IPV4 = 2 "Softwire-Output-Octets-IPv4", "64-bit integer, octets of IPv4 to the user.";
        INPUT_OCTETS_IPV6 = 3 "Softwire-Input-Octets-IPv6", "64-bit integer, octets of IPv6 from the user.";
        OUTPUT_OCTETS_IPV6 = 4 "Softwire-Output-Octets-IPv6", "64-bit integer, octets of IPv6 to the user.";
        INPUT_PACKETS_IPV4 = 5 "Softwire-Input-Packets-IPv4", "64-bit integer, IPv4 packets from the user.";
        OUTPUT_PACKETS_IPV4 = 6 "Softwire-Output-Packets-IPv4", "64-bit integer, IPv4 packets to the user.";
        INPUT_PACKETS_IPV6 = 7 "Softwire-Input-Packets-IPv6", "64-bit integer, IPv6 packets from the user.";
        OUTPUT_PACKETS_IPV6 = 8 "Softwire-Output-Packets-IPv6", "64-bit integer, IPv6 packets to the user.";
        RATE_UP = 9 "Softwire-Rate-Up", "integer, kbit/s from the user.";
        RATE_DOWN = 10 "Softwire-Rate-Down", "integer, kbit/s to the user.";
        BURST_UP = 11 "Softwire-Burst-Up", "integer, octets from the user.";
        BURST_DOWN = 12 "Softwire-Burst-Down", "integer, octets to the user.";
        IKE_IDENTITY = 13 "Softwire-IKE-Identity", "text, the identity that IKE authenticated.";
        SOFTWIRE_TYPE = 14 "Softwire-Type", "integer, [`SoftwireType`](crate::vendor::SoftwireType).";
        OUTER_ADDRESS = 15 "Softwire-Outer-Address", "text, the user's address outside the tunnel.";
    }
}

pub use microsoft::{
    MS_CHAP_CHALLENGE, MS_CHAP_ERROR, MS_CHAP2_RESPONSE, MS_CHAP2_SUCCESS, MS_MPPE_RECV_KEY, MS_MPPE_SEND_KEY,
    MS_PRIMARY_DNS_SERVER, MS_SECONDARY_DNS_SERVER,
};
pub use ours::{
    BURST_DOWN, BURST_UP, IKE_IDENTITY, INPUT_OCTETS_IPV4, INPUT_OCTETS_IPV6, INPUT_PACKETS_IPV4, INPUT_PACKETS_IPV6,
    OUTER_ADDRESS, OUTPUT_OCTETS_IPV4, OUTPUT_OCTETS_IPV6, OUTPUT_PACKETS_IPV4, OUTPUT_PACKETS_IPV6, RATE_DOWN,
    RATE_UP, SOFTWIRE_TYPE,
};
pub use wispr::{WISPR_BANDWIDTH_MAX_DOWN, WISPR_BANDWIDTH_MAX_UP};

/// Octets of a Master Session Key, at least.
const MSK: usize = 64;

/// Names of all of them.
pub(crate) fn names() -> impl Iterator<Item = &'static (Kind, &'static str)> {
    [microsoft::NAMES, wispr::NAMES, ours::NAMES].into_iter().flatten()
}

/// Values of [`SOFTWIRE_TYPE`]: what is carried over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SoftwireType {
    /// IPv6 over IPv4.
    Ipv6OverIpv4 = 1,
    /// IPv4 over IPv6.
    Ipv4OverIpv6 = 2,
    /// IPv4 over IPv4.
    Ipv4OverIpv4 = 3,
    /// IPv6 over IPv6.
    Ipv6OverIpv6 = 4,
    /// Both over IPv4.
    DualOverIpv4 = 5,
    /// Both over IPv6.
    DualOverIpv6 = 6,
}

/// The keys that EAP gave the server (RFC 2548, sections 2.4.2 and 2.4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MppeKeys {
    /// MS-MPPE-Recv-Key: of what the authenticator receives, the first half of the MSK (RFC 5216, section 2.3).
    pub recv: Secret,
    /// MS-MPPE-Send-Key: the second half.
    pub send: Secret,
}

impl MppeKeys {
    /// The Master Session Key of EAP: both, and zeroes up to the 64 octets that it has at least (RFC 3748, section
    /// 7.10), as the shorter keys of MSCHAPv2 need.
    pub fn msk(&self) -> Secret {
        let mut msk = Vec::with_capacity(self.recv.expose().len() + self.send.expose().len() + MSK);
        msk.extend_from_slice(self.recv.expose());
        msk.extend_from_slice(self.send.expose());
        msk.resize(msk.len().max(MSK), 0);
        Secret::new(msk)
    }

    /// Reveals both; nothing where either is missing.
    ///
    /// # Errors
    /// One cannot be revealed.
    pub(crate) fn reveal(
        attributes: Attributes<'_>,
        authenticator: &[u8; 16],
        secret: &[u8],
    ) -> Result<Option<Self>, Invalid> {
        let key = |kind| {
            let Some(attribute) = attributes.first(kind) else { return Ok(None) };
            let revealed = crypto::reveal_salted(secret, authenticator, attribute.value);
            revealed.map(Some).ok_or(Invalid { kind, expected: "a hidden key", length: attribute.value.len() })
        };
        let (recv, send) = (key(MS_MPPE_RECV_KEY)?, key(MS_MPPE_SEND_KEY)?);
        Ok(recv.zip(send).map(|(recv, send)| Self { recv, send }))
    }
}

#[cfg(test)]
mod tests;
