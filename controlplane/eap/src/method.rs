//! What the data of the two methods looks like.
//!
//! ```text
//!  MD5-Challenge (RFC 3748, section 5.4), both ways:  | size (1) | value | name |
//!  MSCHAPv2 (draft-kamath-pppext-eap-mschapv2-02):    | op (1) | id (1) | length (2, of all this) | body |
//!      body of Challenge (op 1), Response (2):        | size (1) | value | name |
//!      body of Success (3), Failure (4):              a text; their answers are the op alone
//! ```

use crate::packet::Type;
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// An authentication method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// RFC 3748, section 5.4: the peer alone is authenticated, and no key comes of it.
    Md5Challenge,
    /// Mutual, and gives an MSK.
    MsChapV2,
}

impl Method {
    /// Its type.
    pub fn kind(self) -> Type {
        match self {
            Self::Md5Challenge => Type::MD5_CHALLENGE,
            Self::MsChapV2 => Type::MSCHAPV2,
        }
    }
}

/// Operations of MSCHAPv2.
pub(crate) mod op {
    pub const CHALLENGE: u8 = 1;
    pub const RESPONSE: u8 = 2;
    pub const SUCCESS: u8 = 3;
    pub const FAILURE: u8 = 4;
}

/// Data of an MSCHAPv2 packet with a header.
pub(crate) fn operation(op: u8, id: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = ((body.len() + 4) as u16).to_be_bytes();
    [&[op, id, high, low], body].concat()
}

/// Operation, identifier and body. The inner length says nothing that EAP's does not.
pub(crate) fn parse_operation(data: &[u8]) -> Option<(u8, u8, &[u8])> {
    let [op, id, _, _, body @ ..] = data else { return None };
    Some((*op, *id, body))
}

/// A value with its size before it, and a name.
pub fn value(value: &[u8], name: &[u8]) -> Vec<u8> {
    [&[value.len() as u8], value, name].concat()
}

/// Value and name; `None`: the value is empty or not all there.
pub fn parse_value(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = data.split_first()?;
    rest.split_at_checked(usize::from(*size)).filter(|(value, _)| !value.is_empty())
}

/// The response to a challenge of MD5-Challenge, which is CHAP's (RFC 1994, section 4.1): MD5(identifier, secret,
/// challenge).
pub fn md5_response(secret: &[u8], id: u8, challenge: &[u8]) -> [u8; 16] {
    Md5::new().chain_update([id]).chain_update(secret).chain_update(challenge).finalize().into()
}

/// Checks such a response, in constant time.
pub fn md5_verify(secret: &[u8], id: u8, challenge: &[u8], found: &[u8]) -> bool {
    md5_response(secret, id, challenge).as_slice().ct_eq(found).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    /// The expected octets come from Python's hashlib.
    #[test]
    fn response_agrees_with_another_md5() {
        let challenge = hex!("000102030405060708090a0b0c0d0e0f");
        let expected = hex!("740e86463bda3a4d7017d6e0fba0699d");
        assert!(md5_verify(b"secret", 1, &challenge, &expected));
        assert!(!md5_verify(b"Secret", 1, &challenge, &expected));
        assert!(!md5_verify(b"secret", 1, &challenge, &expected[..15]));
        assert!(!md5_verify(b"secret", 2, &challenge, &expected));
    }

    #[test]
    fn values_are_bounded() {
        assert_eq!(parse_value(&hex!("02aabb6161")), Some((&hex!("aabb")[..], &b"aa"[..])));
        assert_eq!(parse_value(&hex!("03aabb")), None);
        assert_eq!(parse_value(&hex!("00aabb")), None);
        assert_eq!(parse_value(&[]), None);
    }
}
