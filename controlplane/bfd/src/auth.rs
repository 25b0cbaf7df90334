//! Keyed SHA1 and meticulous keyed SHA1 (RFC 5880, sections 4.4 and 6.7.4).
//!
//! ```text
//!  ┌───────────────┬───────────────┬───────────────┬───────────────┐
//!  │ Auth Type 4,5 │  Auth Len 28  │  Auth Key ID  │   Reserved    │
//!  ├───────────────┴───────────────┴───────────────┴───────────────┤
//!  │                        Sequence Number                        │
//!  │                   Auth Key/Hash, 20 octets                    │
//!  └───────────────────────────────────────────────────────────────┘
//!   hash = SHA1(the packet with the key, padded with zeros, in place of the hash)
//! ```
//!
//! Sequence numbers go up by one with every packet we send, of either type. A receiver of the meticulous type wants
//! just that, one of the other type also believes a number again. Simple passwords and MD5 are refused.

use crate::error::Discard;
use crate::packet::{AuthSection, MANDATORY, Packet, Received};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use rand_core::Rng;
use std::fmt;
use zeroize::Zeroizing;

const AUTH_LEN: u8 = 28;
const HASH: usize = 20;

/// How the packets of a session are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthType {
    /// 4: a packet can be replayed until the next one is received.
    KeyedSha1,
    /// 5: no packet can be replayed.
    MeticulousKeyedSha1,
}

impl AuthType {
    const fn number(self) -> u8 {
        match self {
            Self::KeyedSha1 => 4,
            Self::MeticulousKeyedSha1 => 5,
        }
    }
}

/// A key. Its secret is wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: u8,
    secret: Zeroizing<Vec<u8>>,
}

impl Key {
    /// A secret of 1 to 20 octets and the Auth Key ID by which both ends know it.
    pub fn new(id: u8, secret: impl Into<Vec<u8>>) -> Self {
        Self { id, secret: Zeroizing::new(secret.into()) }
    }

    /// Auth Key ID.
    pub fn id(&self) -> u8 {
        self.id
    }

    /// The hash of a packet: `before` is what of it comes before the hash, `after` what comes after.
    fn hash(&self, before: &[u8], after: &[u8]) -> digest::Digest {
        let mut padded = Zeroizing::new([0; HASH]);
        padded.iter_mut().zip(self.secret.iter()).for_each(|(to, from)| *to = *from);
        let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        [before, &*padded, after].into_iter().for_each(|part| context.update(part));
        context.finish()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, ..)", self.id)
    }
}

/// Authentication of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Both ends have the same.
    pub auth_type: AuthType,
    /// Keys that are believed; the first one signs. Two of them let a key be changed one end after the other.
    pub keys: Vec<Key>,
}

impl Auth {
    pub(crate) fn is_valid(&self) -> bool {
        let fits = |key: &Key| (1..=HASH).contains(&key.secret.len());
        let unique = |(n, key): (usize, &Key)| self.keys.iter().take(n).all(|other| other.id != key.id);
        !self.keys.is_empty() && self.keys.iter().all(fits) && self.keys.iter().enumerate().all(unique)
    }
}

/// Signs the packets of a session and verifies those of its peer.
#[derive(Debug)]
pub(crate) struct Authenticator {
    auth: Auth,
    /// bfd.XmitAuthSeq.
    xmit: u32,
    /// bfd.RcvAuthSeq, if bfd.AuthSeqKnown.
    received: Option<u32>,
}

impl Authenticator {
    pub fn new(auth: Auth, rng: &mut dyn Rng) -> Self {
        Self { auth, xmit: rng.next_u32(), received: None }
    }

    /// The octets of a packet of ours.
    pub fn sign(&mut self, packet: &Packet) -> Vec<u8> {
        let Some(key) = self.auth.keys.first() else { return packet.encode(&[]) };
        let mut section = [0; AUTH_LEN as usize];
        let [auth_type, auth_len, id, _, sequence @ ..] = &mut section;
        (*auth_type, *auth_len, *id) = (self.auth.auth_type.number(), AUTH_LEN, key.id);
        sequence.iter_mut().zip(self.xmit.to_be_bytes()).for_each(|(to, from)| *to = from);
        self.xmit = self.xmit.wrapping_add(1);
        let mut octets = packet.encode(&section);
        octets.truncate(octets.len().saturating_sub(HASH));
        let hash = key.hash(&octets, &[]);
        octets.extend_from_slice(hash.as_ref());
        octets
    }

    /// Whether the peer sent this packet, and now. The number is remembered only of a packet whose hash is right.
    pub fn verify(&mut self, received: &Received<'_>, section: AuthSection<'_>) -> Result<(), Discard> {
        if section.auth_type != self.auth.auth_type.number() {
            return Err(Discard::AuthType);
        }
        let data = <&[u8; AUTH_LEN as usize - 2]>::try_from(section.data).map_err(|_| Discard::AuthLength)?;
        let [id, _, s0, s1, s2, s3, hash @ ..] = data;
        let key = self.auth.keys.iter().find(|key| key.id == *id).ok_or(Discard::AuthKey)?;
        let sequence = u32::from_be_bytes([*s0, *s1, *s2, *s3]);
        if let Some(last) = self.received {
            let ahead = sequence.wrapping_sub(last);
            let first = match self.auth.auth_type {
                AuthType::KeyedSha1 => 0,
                AuthType::MeticulousKeyedSha1 => 1,
            };
            if !(first..=3 * u32::from(received.packet.detect_mult)).contains(&ahead) {
                return Err(Discard::AuthSequence);
            }
        }
        let at = MANDATORY + AUTH_LEN as usize - HASH;
        let before = received.octets.get(..at).ok_or(Discard::AuthLength)?;
        let after = received.octets.get(at + HASH..).ok_or(Discard::AuthLength)?;
        verify_slices_are_equal(key.hash(before, after).as_ref(), hash).map_err(|_| Discard::AuthHash)?;
        self.received = Some(sequence);
        Ok(())
    }

    /// bfd.AuthSeqKnown is 0 again: the peer has been silent for so long that it may count anew.
    pub fn forget(&mut self) {
        self.received = None;
    }
}

#[cfg(test)]
mod tests;
