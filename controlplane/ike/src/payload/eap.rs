//! EAP payloads (RFC 7296, section 3.16): an EAP packet (RFC 3748, section 4), which is carried and not interpreted.
//!
//! ```text
//!   | code (1) | identifier (1) | length (2) | type (1), data: in requests and responses only |
//! ```

use crate::error::Malformed;

/// Longer packets are refused. One that RADIUS carries has less than 4,096 octets.
const MAX_LEN: usize = 8192;

/// What an EAP packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// From the authenticator: 1.
    Request,
    /// From who is authenticated: 2.
    Response,
    /// The end: 3.
    Success,
    /// The end: 4.
    Failure,
}

/// The code of a packet, whose length field must tell its length.
pub fn code(packet: &[u8]) -> Result<Code, Malformed> {
    let [code, _, hi, lo, ref rest @ ..] = *packet else { return Err(Malformed("truncated EAP packet")) };
    if packet.len() > MAX_LEN || usize::from(u16::from_be_bytes([hi, lo])) != packet.len() {
        return Err(Malformed("EAP length"));
    }
    match (code, rest.is_empty()) {
        (1, false) => Ok(Code::Request),
        (2, false) => Ok(Code::Response),
        (3, true) => Ok(Code::Success),
        (4, true) => Ok(Code::Failure),
        _ => Err(Malformed("EAP code")),
    }
}
