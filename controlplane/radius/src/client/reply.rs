//! What a server said, with what it hid revealed.

use crate::attribute::{Attributes, Invalid, TUNNEL_PASSWORD};
use crate::crypto;
use crate::packet::{Code, Packet};
use crate::vendor::MppeKeys;
use secret::Secret;

/// A reply that is authentic.
#[derive(Clone)]
pub struct Reply {
    code: Code,
    octets: Vec<u8>,
    mppe_keys: Result<Option<MppeKeys>, Invalid>,
    tunnel_password: Result<Option<(u8, Secret)>, Invalid>,
}

impl Reply {
    pub(super) fn new(packet: &Packet<'_>, request_authenticator: &[u8; 16], secret: &Secret) -> Self {
        let attributes = packet.attributes();
        Self {
            code: packet.code,
            octets: packet.octets().to_vec(),
            mppe_keys: MppeKeys::reveal(attributes, request_authenticator, secret.expose()),
            tunnel_password: tunnel_password(attributes, request_authenticator, secret.expose()),
        }
    }

    /// Access-Accept, Access-Reject, Access-Challenge or Accounting-Response.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Its attributes.
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes::of_packet(&self.octets)
    }

    /// The keys of EAP.
    ///
    /// # Errors
    /// One cannot be revealed.
    pub fn mppe_keys(&self) -> Result<Option<MppeKeys>, Invalid> {
        self.mppe_keys.clone()
    }

    /// The first Tunnel-Password and its tag (RFC 2868, section 3.5).
    ///
    /// # Errors
    /// It cannot be revealed.
    pub fn tunnel_password(&self) -> Result<Option<(u8, Secret)>, Invalid> {
        self.tunnel_password.clone()
    }
}

impl std::fmt::Debug for Reply {
    /// Its attributes without their values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.code.name(), self.attributes())
    }
}

fn tunnel_password(
    attributes: Attributes<'_>,
    authenticator: &[u8; 16],
    secret: &[u8],
) -> Result<Option<(u8, Secret)>, Invalid> {
    let Some(attribute) = attributes.first(TUNNEL_PASSWORD) else { return Ok(None) };
    let reveal = |(tag, hidden): (&u8, &[u8])| Some((*tag, crypto::reveal_salted(secret, authenticator, hidden)?));
    attribute.value.split_first().and_then(reveal).map(Some).ok_or(Invalid {
        kind: TUNNEL_PASSWORD,
        expected: "a hidden password",
        length: attribute.value.len(),
    })
}
