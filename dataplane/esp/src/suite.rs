//! Which of the library's algorithms a negotiated suite is.

use dataplane_api::{Cipher, EspSuite, Integrity};
use ipsec_mb::Algorithm;

/// The algorithm of a suite.
pub const fn algorithm(suite: EspSuite) -> Algorithm {
    match (suite.cipher(), suite.integrity()) {
        (Cipher::AesGcm128, _) => Algorithm::AesGcm128,
        (Cipher::AesGcm256, _) => Algorithm::AesGcm256,
        (Cipher::AesGmac128, _) => Algorithm::AesGmac128,
        (Cipher::AesGmac256, _) => Algorithm::AesGmac256,
        (Cipher::ChaCha20Poly1305, _) => Algorithm::ChaCha20Poly1305,
        (Cipher::AesCbc128, Integrity::HmacSha1_96) => Algorithm::AesCbc128Sha1,
        (Cipher::AesCbc256, Integrity::HmacSha1_96) => Algorithm::AesCbc256Sha1,
        (Cipher::Null, Integrity::HmacSha1_96) => Algorithm::NullSha1,
        (Cipher::AesCbc128, Integrity::HmacSha256_96) => Algorithm::AesCbc128Sha256T96,
        (Cipher::AesCbc256, Integrity::HmacSha256_96) => Algorithm::AesCbc256Sha256T96,
        (Cipher::Null, Integrity::HmacSha256_96) => Algorithm::NullSha256T96,
        (Cipher::TripleDesCbc, Integrity::HmacSha1_96) => Algorithm::TripleDesSha1,
        (Cipher::TripleDesCbc, Integrity::HmacSha256_96) => Algorithm::TripleDesSha256T96,
        // `EspSuite` allows these ciphers with an HMAC only.
        (Cipher::AesCbc128, _) => Algorithm::AesCbc128Sha256,
        (Cipher::AesCbc256, _) => Algorithm::AesCbc256Sha256,
        (Cipher::Null, _) => Algorithm::NullSha256,
        (Cipher::TripleDesCbc, _) => Algorithm::TripleDesSha256,
    }
}

#[cfg(test)]
pub(crate) fn all() -> Vec<EspSuite> {
    use Cipher::*;
    let ciphers =
        [AesGcm128, AesGcm256, AesCbc128, AesCbc256, ChaCha20Poly1305, Null, AesGmac128, AesGmac256, TripleDesCbc];
    let integrity = [Integrity::None, Integrity::HmacSha1_96, Integrity::HmacSha256_128, Integrity::HmacSha256_96];
    ciphers.into_iter().flat_map(|c| integrity.into_iter().filter_map(move |i| EspSuite::new(c, i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_agree_and_every_algorithm_is_reached() {
        let mut seen = Vec::new();
        for suite in all() {
            let a = algorithm(suite);
            assert_eq!(a.cipher_key_len() + a.auth_key_len() + suite.cipher().salt_len(), suite.key_len());
            assert_eq!(a.iv_len(), suite.cipher().iv_len());
            assert_eq!(a.icv_len(), suite.icv_len());
            assert_eq!(a.block_len(), suite.cipher().block_len());
            assert_eq!(a.is_aead(), suite.cipher().is_aead());
            seen.push(a as u8);
        }
        seen.sort_unstable();
        assert_eq!(seen, (1..=17).collect::<Vec<_>>());
    }
}
