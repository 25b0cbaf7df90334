//! The protected channel of an IKE SA: its keys, and the Encrypted payload in both forms (RFC 7296, section 3.14;
//! RFC 7383 for fragments).
//!
//! ```text
//!   | IKE header | SK: next, length | IV | ciphertext | ICV |
//!   | IKE header | SKF: next, length | number | total | IV | ciphertext | ICV |
//! ```
//!
//! What stands before the IV is authenticated too. The direction's keys follow from who is the *original* initiator.

use super::mobike::Role;
use super::nat::Nat;
use crate::crypto::{IkeKeys, SkSuite};
use crate::fragment::{Collector, Fragment, split};
use crate::message::{HEADER_LEN, Header};
use crate::payload::{Builder, Chain, GENERIC_HEADER, PayloadType};
use crate::proposal::IkeSuite;
use rand_core::CryptoRng;

/// Keys and transport properties of an IKE SA.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Algorithms.
    pub suite: IkeSuite,
    sk: SkSuite,
    /// All the SK_* keys.
    pub keys: IkeKeys,
    /// A responder's keys before an additional key exchange, which protect repetitions of its request.
    previous: Option<IkeKeys>,
    /// We are the original initiator.
    pub initiator: bool,
    /// Both ends fragment.
    pub fragmentation: bool,
    /// NATs between the ends.
    pub nat: Nat,
    /// The peer found us, so that a NAT in front of us, if there is one, is static.
    pub found: bool,
    /// MOBIKE is agreed on.
    pub mobike: Option<Role>,
    collector: Option<Box<Collector>>,
    counter: u64,
}

/// A message that passed the integrity check.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Type of the first inner payload.
    pub first: PayloadType,
    /// The inner payloads.
    pub plain: Vec<u8>,
    /// Header and SK header as if there were no IV, padding and ICV, which is what IKE_INTERMEDIATE authenticates
    /// (RFC 9242, section 3.3.2).
    pub envelope: Vec<u8>,
}

/// What opening a datagram gives.
#[derive(Debug)]
pub(crate) enum Open {
    /// A whole message.
    Message(Opened),
    /// A fragment; others are missing. Its number.
    Fragment(u16),
}

/// Header and SK header over `plain_len` octets of payloads, as RFC 9242 authenticates them.
pub(crate) fn envelope(mut header: Header, first: PayloadType, plain_len: usize) -> Vec<u8> {
    header.next = PayloadType::SK;
    let mut out = Vec::with_capacity(HEADER_LEN + GENERIC_HEADER);
    header.emit(HEADER_LEN + GENERIC_HEADER + plain_len, &mut out);
    out.extend_from_slice(&[first.0, 0]);
    out.extend_from_slice(&u16::try_from(GENERIC_HEADER + plain_len).unwrap_or(u16::MAX).to_be_bytes());
    out
}

impl Channel {
    /// A channel with keys just derived.
    pub fn new(suite: IkeSuite, sk: SkSuite, keys: IkeKeys, initiator: bool, fragmentation: bool, nat: Nat) -> Self {
        Self {
            suite,
            sk,
            keys,
            previous: None,
            initiator,
            fragmentation,
            nat,
            found: !initiator,
            mobike: None,
            collector: None,
            counter: 0,
        }
    }

    /// The suite that protects messages.
    pub fn sk(&self) -> SkSuite {
        self.sk
    }

    /// New keys after an additional key exchange (RFC 9370, section 2.2.2). Only the responder may see its request
    /// again. An IV counter never restarts under one key; with new keys it could, but need not.
    pub fn rekeyed(&mut self, keys: IkeKeys) {
        let previous = std::mem::replace(&mut self.keys, keys);
        self.previous = (!self.initiator).then_some(previous);
    }

    /// The exchange after the one that changed the keys is there: nothing under the old ones comes any more.
    pub fn forget_previous(&mut self) {
        self.previous = None;
    }

    /// Protects a chain of payloads: one datagram, or several when it is longer than `room` and the peer takes fragments.
    /// None at all when cryptography fails: the exchange then times out, and nothing leaves in the clear.
    pub fn seal(&mut self, header: Header, chain: &Builder, room: usize, rng: &mut dyn CryptoRng) -> Vec<Vec<u8>> {
        let plain = chain.bytes();
        let whole = HEADER_LEN + GENERIC_HEADER + self.sk.sealed_len(plain.len());
        if whole <= room || !self.fragmentation {
            return self.seal_one(header, chain.first(), None, plain, rng).into_iter().collect();
        }
        let overhead = HEADER_LEN + GENERIC_HEADER + 4 + self.sk.sealed_len(0) + 16;
        let pieces = split(plain, room.saturating_sub(overhead).max(64));
        let total = u16::try_from(pieces.len()).unwrap_or(u16::MAX);
        let mut datagrams = Vec::with_capacity(pieces.len());
        for (number, piece) in (1..=total).zip(pieces) {
            // RFC 7383, section 2.5: only the first fragment names the first inner payload.
            let first = if number == 1 { chain.first() } else { PayloadType::NONE };
            match self.seal_one(header, first, Some((number, total)), piece, rng) {
                Some(datagram) => datagrams.push(datagram),
                None => return Vec::new(),
            }
        }
        datagrams
    }

    fn seal_one(
        &mut self,
        mut header: Header,
        first: PayloadType,
        fragment: Option<(u16, u16)>,
        plain: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Option<Vec<u8>> {
        let payload = GENERIC_HEADER + fragment.map_or(0, |_| 4) + self.sk.sealed_len(plain.len());
        let mut out = Vec::with_capacity(HEADER_LEN + payload);
        header.next = if fragment.is_some() { PayloadType::SKF } else { PayloadType::SK };
        header.emit(HEADER_LEN + payload, &mut out);
        out.extend_from_slice(&[first.0, 0]);
        out.extend_from_slice(&u16::try_from(payload).unwrap_or(u16::MAX).to_be_bytes());
        if let Some((number, total)) = fragment {
            out.extend_from_slice(&number.to_be_bytes());
            out.extend_from_slice(&total.to_be_bytes());
        }
        let mut iv = [0u8; 16];
        if self.sk.is_aead() {
            // RFC 5282, section 3.1: the IV must be unique under the key; a counter is.
            self.counter += 1;
            iv[..8].copy_from_slice(&self.counter.to_be_bytes());
        } else {
            // A CBC IV must be unpredictable (RFC 3602, section 3).
            rng.fill_bytes(&mut iv);
        }
        let (encr, integ) = self.keys.protect(self.initiator);
        self.sk.seal(encr, integ, &iv, &mut out, plain).then_some(out)
    }

    /// Opens a datagram. `None`: it is not authentic, not protected or nonsense, and nothing has changed. A `repeated`
    /// request is authenticated with the keys that protected it first, and its fragments are not collected again.
    pub fn open(&mut self, header: &Header, message: &[u8], repeated: bool) -> Option<Open> {
        let mut before = HEADER_LEN;
        for payload in Chain::new(header.next, message.get(HEADER_LEN..)?) {
            let payload = payload.ok()?;
            let fragmented = match payload.kind {
                PayloadType::SK => false,
                PayloadType::SKF if self.fragmentation => true,
                // Payloads outside the protection are skipped (section 3.14 allows them, nobody sends them).
                _ => {
                    before += GENERIC_HEADER + payload.body.len();
                    continue;
                }
            };
            let at = before + GENERIC_HEADER + if fragmented { 4 } else { 0 };
            let (aad, sealed) = message.split_at_checked(at)?;
            let keys = self.previous.as_ref().filter(|_| repeated).unwrap_or(&self.keys);
            let (encr, integ) = keys.protect(!self.initiator);
            let plain = self.sk.open(encr, integ, aad, sealed)?;
            if !fragmented {
                return Some(Open::Message(self.opened(*header, payload.next, plain)));
            }
            let [a, b, c, d, ..] = *payload.body else { return None };
            let (number, total) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            if repeated {
                return Some(Open::Fragment(number));
            }
            let fragment = Fragment { number, total, next: payload.next, data: plain };
            let whole = Collector::add(&mut self.collector, header.message_id, header.response, fragment);
            return Some(match whole {
                Some((first, plain)) => Open::Message(self.opened(*header, first, plain)),
                None => Open::Fragment(number),
            });
        }
        None
    }

    fn opened(&self, header: Header, first: PayloadType, plain: Vec<u8>) -> Opened {
        Opened { first, envelope: envelope(header, first, plain.len()), plain }
    }
}
