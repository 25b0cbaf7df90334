//! OPEN (RFC 4271, section 4.2).
//!
//! ```text
//! | Version = 4 (1) | My AS (2) | Hold Time (2) | BGP Identifier (4) | Opt Parm Len (1) | Optional Parameters |
//! ```
//!
//! The parameters hold capabilities. When they need more than 255 octets, length and first type are 255 and a length
//! of two octets follows (RFC 9072). An AS above 65,535 is [`AS_TRANS`] in the old field.

use super::capability::Capability;
use super::notification::Notification;
use super::reader::Reader;
use std::net::Ipv4Addr;

/// Stands for an AS number that two octets cannot hold (RFC 6793).
pub const AS_TRANS: u32 = 23456;

const VERSION: u8 = 4;
const PARAMETER_CAPABILITIES: u8 = 2;
const PARAMETER_EXTENDED: u8 = 255;

/// An OPEN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The sender's AS: that of the four-octet AS capability if there is one.
    pub asn: u32,
    /// Proposed hold time in seconds: 0 is none, 1 and 2 do not occur.
    pub hold_time: u16,
    /// BGP identifier, never 0.
    pub router_id: Ipv4Addr,
    /// Capabilities, in order.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// Reads the body and checks what can be checked without knowing the neighbour (RFC 4271, section 6.2).
    pub(super) fn decode(body: &[u8]) -> Result<Self, Notification> {
        let mut reader = Reader(body);
        let malformed = Notification::malformed_open;
        if reader.u8().ok_or_else(malformed)? != VERSION {
            return Err(Notification::unsupported_version());
        }
        let my_as = reader.u16().ok_or_else(malformed)?;
        let hold_time = reader.u16().ok_or_else(malformed)?;
        let router_id = reader.ipv4().ok_or_else(malformed)?;
        let capabilities = decode_parameters(reader.rest())?;
        let four_octet = capabilities.iter().find_map(|c| match c {
            Capability::FourOctetAs(asn) => Some(*asn),
            _ => None,
        });
        let asn = four_octet.unwrap_or_else(|| u32::from(my_as));
        if my_as == 0 || asn == 0 {
            return Err(Notification::bad_peer_as());
        }
        if matches!(hold_time, 1 | 2) {
            return Err(Notification::unacceptable_hold_time());
        }
        if router_id.is_unspecified() {
            return Err(Notification::bad_bgp_identifier());
        }
        Ok(Self { asn, hold_time, router_id, capabilities })
    }

    /// Writes the body.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&u16::try_from(self.asn).unwrap_or(AS_TRANS as u16).to_be_bytes());
        out.extend_from_slice(&self.hold_time.to_be_bytes());
        out.extend_from_slice(&self.router_id.octets());
        let mut capabilities = Vec::new();
        self.capabilities.iter().for_each(|c| c.encode(&mut capabilities));
        match u8::try_from(capabilities.len()) {
            Ok(0) => out.push(0),
            Ok(length @ ..=253) => out.extend_from_slice(&[length + 2, PARAMETER_CAPABILITIES, length]),
            _ => {
                let length = capabilities.len() as u16;
                out.extend_from_slice(&[255, PARAMETER_EXTENDED]);
                out.extend_from_slice(&(length + 3).to_be_bytes());
                out.push(PARAMETER_CAPABILITIES);
                out.extend_from_slice(&length.to_be_bytes());
            }
        }
        out.extend_from_slice(&capabilities);
    }
}

fn decode_parameters(bytes: &[u8]) -> Result<Vec<Capability>, Notification> {
    let malformed = Notification::malformed_open;
    let mut reader = Reader(bytes);
    let mut length = usize::from(reader.u8().ok_or_else(malformed)?);
    let extended = length != 0 && reader.0.first() == Some(&PARAMETER_EXTENDED);
    if extended {
        reader.u8();
        length = usize::from(reader.u16().ok_or_else(malformed)?);
    }
    if reader.len() != length {
        return Err(malformed());
    }
    let mut capabilities = Vec::new();
    while let Some(parameter) = reader.u8() {
        let length = if extended { reader.u16() } else { reader.u8().map(u16::from) };
        let value = length.and_then(|n| reader.take(usize::from(n))).ok_or_else(malformed)?;
        if parameter != PARAMETER_CAPABILITIES {
            return Err(Notification::unsupported_optional_parameter());
        }
        let mut value = Reader(value);
        while !value.is_empty() {
            capabilities.push(Capability::decode(&mut value).ok_or_else(malformed)?);
        }
    }
    Ok(capabilities)
}

#[cfg(test)]
mod tests {
    use super::super::family::Family;
    use super::*;
    use hex_literal::hex;

    const BODY: [u8; 28] = hex!("04 5ba0 00b4 c0000201 12 02 10 01 04 0002 00 01 02 00 41 04 00010000 46 00");

    #[test]
    fn an_open_round_trips() {
        let open = Open::decode(&BODY).unwrap();
        assert_eq!((open.asn, open.hold_time, open.router_id), (65536, 180, Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(open.capabilities[0], Capability::MultiProtocol(Family::Ipv6Unicast));
        assert_eq!(open.capabilities.len(), 4);
        let mut out = Vec::new();
        open.encode(&mut out);
        assert_eq!(out, BODY);
    }

    #[test]
    fn no_parameters() {
        let body = hex!("04 fde8 0000 0a000001 00");
        let open = Open::decode(&body).unwrap();
        assert_eq!((open.asn, open.hold_time, open.capabilities.len()), (65000, 0, 0));
        let mut out = Vec::new();
        open.encode(&mut out);
        assert_eq!(out, body);
    }

    #[test]
    fn many_parameters_take_the_extended_form() {
        let unknown = |code| Capability::Unknown { code, value: vec![code; 100] };
        let open = Open {
            asn: 65000,
            hold_time: 90,
            router_id: Ipv4Addr::new(10, 0, 0, 1),
            capabilities: [200, 201, 202].map(unknown).to_vec(),
        };
        let mut out = Vec::new();
        open.encode(&mut out);
        assert_eq!(out[9..16], hex!("ff ff 0135 02 0132"));
        assert_eq!(Open::decode(&out), Ok(open));
    }

    #[test]
    fn each_field_is_checked() {
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut body = BODY.to_vec();
            change(&mut body);
            Open::decode(&body).unwrap_err()
        };
        assert_eq!(with(&|b| b[0] = 3), Notification::unsupported_version());
        assert_eq!(with(&|b| b[1..3].fill(0)), Notification::bad_peer_as());
        assert_eq!(with(&|b| b[22..26].fill(0)), Notification::bad_peer_as());
        assert_eq!(with(&|b| b[4] = 2), Notification::unacceptable_hold_time());
        assert_eq!(with(&|b| b[5..9].fill(0)), Notification::bad_bgp_identifier());
        assert_eq!(with(&|b| b[10] = 1), Notification::unsupported_optional_parameter());
        assert_eq!(with(&|b| b[11] = 0x11), Notification::malformed_open());
        assert_eq!(with(&|b| b[13] = 0x20), Notification::malformed_open());
        assert_eq!(with(&|b| b.push(0)), Notification::malformed_open());
        assert_eq!(with(&|b| b.truncate(9)), Notification::malformed_open());
    }
}
