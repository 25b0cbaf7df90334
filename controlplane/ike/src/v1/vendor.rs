//! Vendor ids: what a peer can do beyond RFC 2409, each a hash of the text that describes it.
//!
//! Whatever both sides announce is used. Of NAT traversal it is the newest both know: RFC 3947, or one of the drafts,
//! which differ from it in payload numbers and encapsulation modes.

use super::proposal::Encap;
use crate::config::Mode;

/// MD5("RFC 3947").
pub const NATT_RFC: [u8; 16] = *b"\x4a\x13\x1c\x81\x07\x03\x58\x45\x5c\x57\x28\xf2\x0e\x95\x45\x2f";
/// MD5("draft-ietf-ipsec-nat-t-ike-03").
pub const NATT_DRAFT_03: [u8; 16] = *b"\x7d\x94\x19\xa6\x53\x10\xca\x6f\x2c\x17\x9d\x92\x15\x52\x9d\x56";
/// MD5("draft-ietf-ipsec-nat-t-ike-02\n"), as Windows has it, and so everybody.
pub const NATT_DRAFT_02_N: [u8; 16] = *b"\x90\xcb\x80\x91\x3e\xbb\x69\x6e\x08\x63\x81\xb5\xec\x42\x7b\x1f";
/// MD5("draft-ietf-ipsec-nat-t-ike-02").
pub const NATT_DRAFT_02: [u8; 16] = *b"\xcd\x60\x46\x43\x35\xdf\x21\xf8\x7c\xfd\xb2\xfc\x68\xb6\xa4\x48";
/// Dead peer detection, version 1.0 (RFC 3706, section 5.1).
pub const DPD: [u8; 16] = *b"\xaf\xca\xd7\x13\x68\xa1\xf1\xc9\x6b\x86\x96\xfc\x77\x57\x01\x00";
/// MD5("FRAGMENTATION"). Cisco and others append which exchanges it is for, in four octets.
pub const FRAGMENTATION: [u8; 16] = *b"\x40\x48\xb7\xd5\x6e\xbc\xe8\x85\x25\xe7\xde\x7f\x00\xd6\xc2\xd3";

/// NAT traversal, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NatT {
    /// draft-ietf-ipsec-nat-t-ike-02.
    Draft02,
    /// draft-ietf-ipsec-nat-t-ike-03.
    Draft03,
    /// RFC 3947.
    Rfc,
}

impl NatT {
    /// The encapsulation mode with UDP, by the number that this version has for it.
    pub fn encap(self, mode: Mode) -> Encap {
        match (self, mode) {
            (Self::Rfc, Mode::Tunnel) => Encap::UdpTunnel,
            (Self::Rfc, Mode::Transport) => Encap::UdpTransport,
            (Self::Draft02 | Self::Draft03, Mode::Tunnel) => Encap::UdpTunnelDraft,
            (Self::Draft02 | Self::Draft03, Mode::Transport) => Encap::UdpTransportDraft,
        }
    }
}

/// What a peer can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The newest NAT traversal it knows.
    pub natt: Option<NatT>,
    /// Dead peer detection.
    pub dpd: bool,
    /// Fragments.
    pub fragmentation: bool,
}

impl Features {
    /// From the bodies of its vendor id payloads.
    pub fn of(vendors: &[&[u8]]) -> Self {
        let mut features = Self::default();
        for vendor in vendors {
            let natt = match *vendor {
                v if v == NATT_RFC => Some(NatT::Rfc),
                v if v == NATT_DRAFT_03 => Some(NatT::Draft03),
                v if v == NATT_DRAFT_02_N || v == NATT_DRAFT_02 => Some(NatT::Draft02),
                _ => None,
            };
            features.natt = features.natt.max(natt);
            features.dpd |= *vendor == DPD;
            features.fragmentation |= vendor.starts_with(&FRAGMENTATION);
        }
        features
    }
}

/// Ours. With FRAGMENTATION goes which exchanges it is for: the highest bit is main mode.
pub fn ours() -> Vec<Vec<u8>> {
    let fragmentation = [&FRAGMENTATION[..], &0x8000_0000u32.to_be_bytes()].concat();
    let mut all: Vec<Vec<u8>> =
        [NATT_RFC, NATT_DRAFT_03, NATT_DRAFT_02_N, NATT_DRAFT_02, DPD].iter().map(|v| v.to_vec()).collect();
    all.push(fragmentation);
    all
}

#[cfg(test)]
#[path = "vendor_tests.rs"]
mod tests;
