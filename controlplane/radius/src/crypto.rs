//! What a shared secret does: authenticators and hidden values, all of MD5.
//!
//! ```text
//!   Response Authenticator = MD5(Code, Id, Length, Request Authenticator, attributes, secret)   RFC 2865, section 3
//!   Request Authenticator  = MD5(Code, Id, Length, 16 zeroes, attributes, secret)               accounting, CoA
//!                          = random                                                             Access-Request
//!   Message-Authenticator  = HMAC-MD5(secret; the packet with the request's random authenticator, or zeroes,
//!                            in the header, and 16 zeroes here)                                 RFC 3579, section 3.2
//!   hidden value           = cᵢ = pᵢ xor MD5(secret, cᵢ₋₁), 16 octets each, c₀ = Request Authenticator [, salt]
//! ```

use crate::attribute::MESSAGE_AUTHENTICATOR;
use crate::packet::{HEADER, Packet};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use secret::Secret;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const BLOCK: usize = 16;
/// The longest password (RFC 2865, section 5.2).
const MAX_PASSWORD: usize = 128;
/// The longest value hidden with a salt: 15 blocks, less the length octet.
#[cfg(test)]
const MAX_SALTED: usize = 15 * BLOCK - 1;

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    parts.iter().fold(Md5::new(), |hash, part| hash.chain_update(part)).finalize().into()
}

pub(crate) fn hmac_md5(secret: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    // HMAC takes a key of any length.
    let Ok(mac) = Hmac::<Md5>::new_from_slice(secret) else { return [0; 16] };
    parts.iter().fold(mac, |mac, part| mac.chain_update(part)).finalize().into_bytes().into()
}

/// Puts the hash of the packet and the secret where the authenticator is that it was computed with.
pub(crate) fn seal(mut octets: Vec<u8>, secret: &[u8]) -> Vec<u8> {
    let hash = md5(&[&octets, secret]);
    octets.splice(4..HEADER, hash);
    octets
}

/// Whether the authenticator of `packet` is the hash that its kind asks for: of a reply to the request that had
/// `request_authenticator`, or, where that is zeroes, of an accounting or CoA request. In constant time.
pub fn authentic(packet: &Packet<'_>, request_authenticator: &[u8; 16], secret: &[u8]) -> bool {
    let (head, attributes) = (packet.octets().get(..4), packet.octets().get(HEADER..));
    let parts = [head.unwrap_or_default(), request_authenticator, attributes.unwrap_or_default(), secret];
    md5(&parts).ct_eq(&packet.authenticator).into()
}

/// What a packet's Message-Authenticator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageAuthenticator {
    /// There is none.
    Absent,
    /// There is one, and it is right.
    Valid,
    /// It is wrong, or there are two.
    Invalid,
}

/// Checks the Message-Authenticator of a packet, computed with `authenticator` in the header: the request's own in an
/// Access-Request, the request's in replies, zeroes in accounting and CoA requests. In constant time.
pub fn message_authenticator(packet: &Packet<'_>, authenticator: &[u8; 16], secret: &[u8]) -> MessageAuthenticator {
    let octets = packet.octets();
    let (mut at, mut found) = (HEADER, None);
    while let Some(&[kind, length]) = octets.get(at..).and_then(|rest| rest.first_chunk()) {
        if kind == MESSAGE_AUTHENTICATOR.number {
            if length != 18 || found.is_some() {
                return MessageAuthenticator::Invalid;
            }
            found = Some(at + 2);
        }
        at += usize::from(length).max(2);
    }
    let Some(at) = found else { return MessageAuthenticator::Absent };
    let (Some(head), Some(before)) = (octets.get(..4), octets.get(HEADER..at)) else {
        return MessageAuthenticator::Invalid;
    };
    let (value, after) = octets.get(at..).unwrap_or_default().split_at_checked(16).unwrap_or_default();
    let mac = hmac_md5(secret, &[head, authenticator, before, &[0; 16], after]);
    if bool::from(mac.as_slice().ct_eq(value)) { MessageAuthenticator::Valid } else { MessageAuthenticator::Invalid }
}

/// Hides (`true`) or reveals whole blocks in place; `first` is what the first key is made of.
fn chain(secret: &[u8], first: &[&[u8]], data: &mut [u8], hide: bool) {
    let mut key = Zeroizing::new(md5(&[&[secret], first].concat()));
    let (blocks, _) = data.as_chunks_mut::<BLOCK>();
    for block in blocks {
        let before = *block;
        block.iter_mut().zip(key.iter()).for_each(|(octet, k)| *octet ^= k);
        *key = md5(&[secret, if hide { block.as_slice() } else { &before }]);
    }
}

/// Hides a User-Password (RFC 2865, section 5.2): padded with zeroes to whole blocks, one at least. Nothing when it is
/// longer than 128 octets.
pub fn hide_password(secret: &[u8], authenticator: &[u8; 16], password: &[u8]) -> Option<Vec<u8>> {
    if password.len() > MAX_PASSWORD {
        return None;
    }
    // As long as it gets, so that no copy in the clear is left behind when it grows.
    let mut data = Vec::with_capacity(MAX_PASSWORD);
    data.extend_from_slice(password);
    data.resize(password.len().next_multiple_of(BLOCK).max(BLOCK), 0);
    chain(secret, &[authenticator], &mut data, true);
    Some(data)
}

/// Reveals a User-Password, without its padding. Nothing when it is not 1 to 8 blocks.
pub fn reveal_password(secret: &[u8], authenticator: &[u8; 16], hidden: &[u8]) -> Option<Secret> {
    if hidden.is_empty() || hidden.len() > MAX_PASSWORD || !hidden.len().is_multiple_of(BLOCK) {
        return None;
    }
    let mut data = Zeroizing::new(hidden.to_vec());
    chain(secret, &[authenticator], &mut data, false);
    let length = data.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
    data.get(..length).map(Secret::new)
}

/// Hides a Tunnel-Password (RFC 2868, section 3.5) or MS-MPPE key (RFC 2548, section 2.4.2): the salt, then blocks of
/// the value with its length before it. The top bit of the salt is set. Nothing when it is longer than 239 octets.
/// Servers do it.
#[cfg(test)]
pub(crate) fn hide_salted(secret: &[u8], authenticator: &[u8; 16], salt: [u8; 2], value: &[u8]) -> Option<Vec<u8>> {
    let length = u8::try_from(value.len()).ok().filter(|n| usize::from(*n) <= MAX_SALTED)?;
    let salt = [salt[0] | 0x80, salt[1]];
    let mut data = Zeroizing::new([&[length], value].concat());
    let padded = data.len().next_multiple_of(BLOCK);
    data.resize(padded, 0);
    chain(secret, &[authenticator, &salt], &mut data, true);
    Some([&salt, data.as_slice()].concat())
}

/// Reveals a value hidden with a salt. Nothing when its length is impossible, which a wrong secret shows as.
pub fn reveal_salted(secret: &[u8], authenticator: &[u8; 16], hidden: &[u8]) -> Option<Secret> {
    let (salt, blocks) = hidden.split_first_chunk::<2>()?;
    if blocks.is_empty() || !blocks.len().is_multiple_of(BLOCK) {
        return None;
    }
    let mut data = Zeroizing::new(blocks.to_vec());
    chain(secret, &[authenticator, salt], &mut data, false);
    let (length, value) = data.split_first()?;
    value.get(..usize::from(*length)).map(Secret::new)
}

#[cfg(test)]
mod tests;
