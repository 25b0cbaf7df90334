//! MS-CHAPv2 (RFC 2759) and the keys that come of it (RFC 3079), as PPP (CHAP algorithm 0x81) and EAP (type 26) use it.
//!
//! Both sides prove that they know the password. Each picks a challenge of 16 octets; the peer answers both at once,
//! and the authenticator's answer to that comes with the success message:
//!
//! ```text
//!  authenticator -- challenge ---------------------------------------------> peer
//!  authenticator <- peer challenge (16) | 0 (8) | NT-Response (24) | 0 (1) -- peer
//!  authenticator -- "S=<40 hex digits> M=<text>" or "E=691 R=0 C=... ..." --> peer
//!
//!  NT hash     = MD4(password in UTF-16LE)
//!  challenge   = SHA1(peer challenge | authenticator challenge | user name without domain)[..8]
//!  NT-Response = DES(NT hash[0..7], challenge) | DES(NT hash[7..14], challenge) | DES(NT hash[14..16] | 0..., challenge)
//! ```
//!
//! MD4, DES and SHA-1 protect a password badly against who sees the exchange: this is for links inside ESP and for
//! methods inside IKEv2, whose server has shown a certificate (H36).

use aws_lc_rs::digest;
use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use md4::{Digest, Md4};
use rand_core::CryptoRng;
use std::fmt::{self, Write};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Octets of either challenge.
pub const CHALLENGE_LEN: usize = 16;
/// Octets of a Response's value.
pub const RESPONSE_LEN: usize = 49;

/// Error code of a failure: the password is wrong (RFC 2759, section 6).
pub const ERROR_AUTHENTICATION_FAILURE: u32 = 691;

/// The value of a Response: what the peer chose and computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// The peer's challenge to the authenticator.
    pub peer_challenge: [u8; CHALLENGE_LEN],
    /// The answer to both challenges.
    pub nt_response: [u8; 24],
}

impl Response {
    /// The peer's answer to `challenge`, with a challenge of its own.
    pub fn new<R: CryptoRng + ?Sized>(
        password: &[u8],
        name: &[u8],
        challenge: &[u8; CHALLENGE_LEN],
        rng: &mut R,
    ) -> Self {
        let mut peer_challenge = [0; CHALLENGE_LEN];
        rng.fill_bytes(&mut peer_challenge);
        let nt_response = nt_response(&nt_hash(password), &challenge_hash(&peer_challenge, challenge, name));
        Self { peer_challenge, nt_response }
    }

    /// The 49 octets: peer challenge, eight zeros, NT-Response, flags.
    pub fn encode(&self) -> [u8; RESPONSE_LEN] {
        let mut octets = [0; RESPONSE_LEN];
        octets[..16].copy_from_slice(&self.peer_challenge);
        octets[24..48].copy_from_slice(&self.nt_response);
        octets
    }

    /// Of the 49 octets; what is reserved is not looked at.
    pub fn parse(octets: &[u8; RESPONSE_LEN]) -> Self {
        let (mut peer_challenge, mut nt_response) = ([0; CHALLENGE_LEN], [0; 24]);
        peer_challenge.copy_from_slice(&octets[..16]);
        nt_response.copy_from_slice(&octets[24..48]);
        Self { peer_challenge, nt_response }
    }

    /// Whether it answers `challenge` for this password and name; in constant time.
    pub fn verify(&self, password: &[u8], name: &[u8], challenge: &[u8; CHALLENGE_LEN]) -> bool {
        let expected = nt_response(&nt_hash(password), &challenge_hash(&self.peer_challenge, challenge, name));
        expected.ct_eq(&self.nt_response).into()
    }

    /// The authenticator's proof in return (RFC 2759, section 8.7).
    pub fn authenticator_response(&self, password: &[u8], name: &[u8], challenge: &[u8; CHALLENGE_LEN]) -> [u8; 20] {
        let inner = sha1(&[&*hash_hash(password), &self.nt_response, b"Magic server to client signing constant"]);
        let hash = challenge_hash(&self.peer_challenge, challenge, name);
        sha1(&[&inner, &hash, b"Pad to make it do more than one iteration"])
    }

    /// The session key of EAP-MSCHAPv2: the authenticator's MasterReceiveKey (16 octets), its MasterSendKey (16)
    /// and zeros (RFC 3079, section 3; RADIUS carries the two as MS-MPPE-Recv-Key and MS-MPPE-Send-Key).
    pub fn msk(&self, password: &[u8]) -> Zeroizing<[u8; 64]> {
        let master = Zeroizing::new(sha1(&[&*hash_hash(password), &self.nt_response, b"This is the MPPE Master Key"]));
        let start_key = |magic: &[u8]| Zeroizing::new(sha1(&[&master[..16], &[0; 40], magic, &[0xf2; 40]]));
        let mut msk = Zeroizing::new([0; 64]);
        msk[..16].copy_from_slice(&start_key(CLIENT_SENDS)[..16]);
        msk[16..32].copy_from_slice(&start_key(SERVER_SENDS)[..16]);
        msk
    }
}

/// RFC 3079, section 3.4: the constants of the two directions.
const CLIENT_SENDS: &[u8] = b"On the client side, this is the send key; on the server side, it is the receive key.";
const SERVER_SENDS: &[u8] = b"On the client side, this is the receive key; on the server side, it is the send key.";

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; 20];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// MD4 of the password in UTF-16LE (RFC 2759, section 8.3). One that is no UTF-8 is taken as Latin-1.
fn nt_hash(password: &[u8]) -> Zeroizing<[u8; 16]> {
    let mut wide = Zeroizing::new(Vec::with_capacity(2 * password.len()));
    match std::str::from_utf8(password) {
        Ok(text) => text.encode_utf16().for_each(|unit| wide.extend_from_slice(&unit.to_le_bytes())),
        Err(_) => password.iter().for_each(|octet| wide.extend_from_slice(&[*octet, 0])),
    }
    Zeroizing::new(Md4::digest(&*wide).into())
}

/// Section 8.4: only the hash of the NT hash goes into what the authenticator sends.
fn hash_hash(password: &[u8]) -> Zeroizing<[u8; 16]> {
    Zeroizing::new(Md4::digest(*nt_hash(password)).into())
}

/// The user name without a Windows domain ("DOMAIN\user"), as it goes into the challenge.
fn user_name(name: &[u8]) -> &[u8] {
    match name.iter().position(|octet| *octet == b'\\') {
        Some(at) => name.get(at + 1..).unwrap_or_default(),
        None => name,
    }
}

fn challenge_hash(peer: &[u8; CHALLENGE_LEN], authenticator: &[u8; CHALLENGE_LEN], name: &[u8]) -> [u8; 8] {
    let [hash @ .., _, _, _, _, _, _, _, _, _, _, _, _] = sha1(&[peer, authenticator, user_name(name)]);
    hash
}

/// Section 8.5. DES is told seven octets of key at a time, each bit group shifted past the parity bit.
fn nt_response(hash: &[u8; 16], challenge: &[u8; 8]) -> [u8; 24] {
    let mut padded = Zeroizing::new([0u8; 21]);
    padded[..16].copy_from_slice(hash);
    let mut out = [0; 24];
    for (part, out) in padded.as_chunks::<7>().0.iter().zip(out.as_chunks_mut::<8>().0) {
        let bits = part.iter().fold(0u64, |bits, octet| bits << 8 | u64::from(*octet));
        let mut key = Zeroizing::new([0u8; 8]);
        for (i, octet) in key.iter_mut().enumerate() {
            *octet = ((bits >> (49 - 7 * i)) << 1) as u8 & 0xfe;
        }
        let mut block = (*challenge).into();
        Des::new(&(*key).into()).encrypt_block(&mut block);
        *out = block.into();
    }
    out
}

/// The message of a Success packet (RFC 2759, section 5): "S=" and 40 digits, " M=" and the text.
pub fn success_message(authenticator_response: &[u8; 20], text: &str) -> String {
    let mut out = String::from("S=");
    push_hex(&mut out, authenticator_response);
    out.push_str(" M=");
    out.push_str(text);
    out
}

/// Whether a Success message holds the authenticator response that is expected; in constant time.
pub fn verify_success(message: &[u8], expected: &[u8; 20]) -> bool {
    let digits = message.strip_prefix(b"S=").and_then(|rest| rest.get(..40));
    digits.and_then(parse_hex::<20>).is_some_and(|found| found.ct_eq(expected).into())
}

/// The message of a Failure packet (RFC 2759, section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Decimal; [`ERROR_AUTHENTICATION_FAILURE`] for a wrong password.
    pub error: u32,
    /// The peer may try again.
    pub retry: bool,
    /// The challenge for that.
    pub challenge: Option<[u8; CHALLENGE_LEN]>,
    /// Of the change password protocol; 3.
    pub version: Option<u32>,
    /// For people.
    pub text: String,
}

impl Failure {
    /// A wrong password, and no second try. The challenge is there because peers demand it.
    pub fn rejected<R: CryptoRng + ?Sized>(text: &str, rng: &mut R) -> Self {
        let mut challenge = [0; CHALLENGE_LEN];
        rng.fill_bytes(&mut challenge);
        let error = ERROR_AUTHENTICATION_FAILURE;
        Self { error, retry: false, challenge: Some(challenge), version: Some(3), text: text.to_owned() }
    }

    /// "E=691 R=0 C=<32 hex digits> V=3 M=<text>".
    pub fn format(&self) -> String {
        let mut out = format!("E={} R={}", self.error, u8::from(self.retry));
        if let Some(challenge) = &self.challenge {
            out.push_str(" C=");
            push_hex(&mut out, challenge);
        }
        if let Some(version) = self.version {
            // Writing to a String does not fail.
            let _ = write!(out, " V={version}");
        }
        out.push_str(" M=");
        out.push_str(&self.text);
        out
    }

    /// Parses a message; the fields are told by their letters, the text is last. `None`: there is no error code.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let message = String::from_utf8_lossy(message);
        let (fields, text) = match message.split_once("M=") {
            Some((fields, text)) => (fields, text),
            None => (&*message, ""),
        };
        let field = |letter: &str| fields.split(' ').find_map(|f| f.strip_prefix(letter)?.strip_prefix('='));
        Some(Self {
            error: field("E")?.parse().ok()?,
            retry: field("R") == Some("1"),
            challenge: field("C").and_then(|digits| parse_hex(digits.as_bytes())),
            version: field("V").and_then(|v| v.parse().ok()),
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Failure {
    /// For people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (error {})", self.text, self.error)
    }
}

fn push_hex(out: &mut String, octets: &[u8]) {
    for octet in octets {
        let _ = write!(out, "{octet:02X}");
    }
}

fn parse_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut out = [0; N];
    for (octet, [high, low]) in out.iter_mut().zip(pairs) {
        let digit = |d: &u8| char::from(*d).to_digit(16);
        *octet = (digit(high)? * 16 + digit(low)?) as u8;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const NAME: &[u8] = b"User";
    const PASSWORD: &[u8] = b"clientPass";
    const AUTHENTICATOR: [u8; 16] = hex!("5B5D7C7D7B3F2F3E3C2C602132262628");
    const RESPONSE: Response = Response {
        peer_challenge: hex!("21402324255E262A28295F2B3A337C7E"),
        nt_response: hex!("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF"),
    };

    #[test]
    fn the_example_of_rfc_2759_section_9_2() {
        let hash = challenge_hash(&RESPONSE.peer_challenge, &AUTHENTICATOR, NAME);
        assert_eq!(hash, hex!("D02E4386BCE91226"));
        assert_eq!(*nt_hash(PASSWORD), hex!("44EBBA8D5312B8D611474411F56989AE"));
        assert_eq!(nt_response(&nt_hash(PASSWORD), &hash), RESPONSE.nt_response);
        assert_eq!(*hash_hash(PASSWORD), hex!("41C00C584BD2D91C4017A2A12FA59F3F"));
        let proof = RESPONSE.authenticator_response(PASSWORD, NAME, &AUTHENTICATOR);
        let message = success_message(&proof, "hi");
        assert_eq!(message, "S=407A5589115FD0D6209F510FE9C04566932CDA56 M=hi");
        assert!(verify_success(message.as_bytes(), &proof));
        assert!(verify_success(message.to_lowercase().replace("s=", "S=").as_bytes(), &proof));
        assert!(!verify_success(b"S=407A5589115FD0D6209F510FE9C04566932CDA57", &proof));
        assert!(!verify_success(&message.as_bytes()[..41], &proof));
        assert!(!verify_success(b"M=hi", &proof));
    }

    #[test]
    fn responses_are_verified() {
        assert!(RESPONSE.verify(PASSWORD, NAME, &AUTHENTICATOR));
        assert!(RESPONSE.verify(PASSWORD, b"DOMAIN\\User", &AUTHENTICATOR));
        assert!(!RESPONSE.verify(PASSWORD, b"user", &AUTHENTICATOR));
        assert!(!RESPONSE.verify(b"ClientPass", NAME, &AUTHENTICATOR));
        assert!(!RESPONSE.verify(PASSWORD, NAME, &[0; 16]));
        assert_eq!(Response::parse(&RESPONSE.encode()), RESPONSE);
    }

    /// RFC 3079, section 3.5.3, has the server's send key; the other half comes from Python's hashlib.
    #[test]
    fn the_example_of_rfc_3079() {
        let msk = RESPONSE.msk(PASSWORD);
        assert_eq!(msk[16..32], hex!("8B7CDC149B993A1BA118CB153F56DCCB"));
        assert_eq!(msk[..16], hex!("D5F0E9521E3EA9589645E86051C82226"));
        assert_eq!(msk[32..], [0; 32]);
    }

    #[test]
    fn passwords_are_utf_16() {
        // From another MD4, over UTF-16LE and over Latin-1.
        assert_eq!(*nt_hash("пароль".as_bytes()), hex!("507e3ee80df7db7c1fdd8d50ae8db606"));
        assert_eq!(*nt_hash(&[0xff]), hex!("da8b893873fb6b73f8e7a8894c471620"));
    }

    #[test]
    fn failures() {
        let rejected = Failure::rejected("no", &mut StdRng::seed_from_u64(1));
        let failure = Failure { challenge: Some(AUTHENTICATOR), ..rejected };
        assert_eq!(failure.to_string(), "no (error 691)");
        assert_eq!(failure.format(), "E=691 R=0 C=5B5D7C7D7B3F2F3E3C2C602132262628 V=3 M=no");
        assert_eq!(Failure::parse(failure.format().as_bytes()), Some(failure));
        // FreeRADIUS, and Windows without a text.
        let other = Failure::parse(b"E=691 R=1 C=1d2c V=3 M=Authentication failed E=1").unwrap();
        assert_eq!((other.error, other.retry, other.challenge), (691, true, None));
        assert_eq!(other.text, "Authentication failed E=1");
        assert_eq!(Failure::parse(b"E=648 R=0 V=3").unwrap().error, 648);
        assert_eq!(Failure::parse(b"R=1"), None);
        assert_eq!(Failure::parse(b"E=x"), None);
    }

    proptest! {
        #[test]
        fn garbage(message: Vec<u8>, text: String) {
            let _ = Failure::parse(&message);
            let _ = Failure::parse(text.as_bytes());
            prop_assert!(!verify_success(&message, &[7; 20]));
        }

        #[test]
        fn failures_round_trip(error: u32, retry: bool, challenge: Option<[u8; 16]>, version: Option<u32>, text: String) {
            let failure = Failure { error, retry, challenge, version, text };
            prop_assert_eq!(Failure::parse(failure.format().as_bytes()), Some(failure));
        }
    }
}
