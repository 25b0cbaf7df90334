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
pub(crate) fn value(value: &[u8], name: &[u8]) -> Vec<u8> {
    [&[value.len() as u8], value, name].concat()
}

/// Value and name; `None`: the value is empty or not all there.
pub(crate) fn parse_value(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = data.split_first()?;
    rest.split_at_checked(usize::from(*size)).filter(|(value, _)| !value.is_empty())
}

/// The response of MD5-Challenge: MD5(identifier of the Request, password, challenge).
pub fn md5_response(id: u8, password: &[u8], challenge: &[u8]) -> [u8; 16] {
    Md5::new().chain_update([id]).chain_update(password).chain_update(challenge).finalize().into()
}

/// Checks such a response, in constant time.
pub(crate) fn md5_verify(id: u8, password: &[u8], challenge: &[u8], found: &[u8]) -> bool {
    md5_response(id, password, challenge).as_slice().ct_eq(found).into()
}
