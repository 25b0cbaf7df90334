//! Tunnel authentication (RFC 2661, sections 4.2 and 5.1.1): CHAP over the tunnel secret, each way on its own. The
//! response to a Challenge is MD5 of one octet, the number of the message that carries the response, then the secret,
//! then the challenge.

use crate::message::MessageType;
use md5::{Digest, Md5};
use secret::Secret;
use subtle::ConstantTimeEq;

/// The response that goes into an SCCRP or SCCCN.
pub fn response(carrier: MessageType, secret: &Secret, challenge: &[u8]) -> [u8; 16] {
    let id = carrier.number().to_be_bytes()[1];
    Md5::new().chain_update([id]).chain_update(secret.expose()).chain_update(challenge).finalize().into()
}

/// Whether the peer knows the secret.
pub fn verify(carrier: MessageType, secret: &Secret, challenge: &[u8], got: &[u8; 16]) -> bool {
    response(carrier, secret, challenge).ct_eq(got).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    // python3: hashlib.md5(bytes([n]) + b"tunnel-secret" + bytes(range(16))).hexdigest()
    #[test]
    fn response_matches_an_independent_md5() {
        let challenge: Vec<u8> = (0..16).collect();
        let secret = Secret::new("tunnel-secret");
        let two = hex!("6c0da2faf7a397aa3f88f55061ea9134");
        assert_eq!(response(MessageType::Sccrp, &secret, &challenge), two);
        assert_eq!(response(MessageType::Scccn, &secret, &challenge), hex!("6a59c670d486acf7f96271695c6874f8"));
        assert!(verify(MessageType::Sccrp, &secret, &challenge, &two));
        assert!(!verify(MessageType::Scccn, &secret, &challenge, &two));
        assert!(!verify(MessageType::Sccrp, &Secret::new("other"), &challenge, &two));
    }
}
