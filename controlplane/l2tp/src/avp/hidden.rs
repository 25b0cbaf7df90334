//! Hidden values (RFC 2661, section 4.3): the value, its length in front and padding behind, exclusive-ored with a
//! chain of MD5 digests that starts from the tunnel secret and the Random Vector AVP of the message.
//!
//! ```text
//! b1 = MD5(attribute + secret + vector)      c1 = p1 xor b1
//! bi = MD5(secret + c(i-1))                  ci = pi xor bi
//! ```
//!
//! It hides, and does not protect: RFC 5571 has ESP for that and advises against hiding. We read, and do not write it.

use md5::{Digest, Md5};
use secret::Secret;
use zeroize::Zeroizing;

const BLOCK: usize = 16;

/// The value of a hidden AVP; `None` when the secret is not the one it was hidden with, as far as can be told.
pub fn uncover(attribute: u16, secret: &Secret, vector: &[u8], cipher: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(cipher.len()));
    let first = Md5::new().chain_update(attribute.to_be_bytes()).chain_update(secret.expose()).chain_update(vector);
    let mut mask = first.finalize();
    for block in cipher.chunks(BLOCK) {
        plain.extend(block.iter().zip(mask.iter()).map(|(c, b)| c ^ b));
        mask = Md5::new().chain_update(secret.expose()).chain_update(block).finalize();
    }
    let (length, _) = plain.split_first_chunk()?;
    let end = 2 + usize::from(u16::from_be_bytes(*length));
    Some(Zeroizing::new(plain.get(2..end)?.to_vec()))
}
