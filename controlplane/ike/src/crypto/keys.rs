//! The key schedule (RFC 7296, sections 2.14, 2.17 and 2.18; RFC 9370, sections 2.2.2 and 2.2.4).
//!
//! ```text
//!   SKEYSEED = prf(Ni | Nr, g^ir)                          a new IKE SA
//!            = prf(SK_d (old), SK(0) | Ni | Nr | SK(1) | ...)  a rekeyed one, SK(1) of its additional key exchange
//!            = prf(SK_d, SK(n) | Ni | Nr)                  after additional key exchange n
//!   {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr)
//! ```

use super::{Prf, Secret, SkSuite};

/// The keys of an IKE SA.
#[derive(Clone)]
pub struct IkeKeys {
    sk_d: Secret,
    sk_ai: Secret,
    sk_ar: Secret,
    sk_ei: Secret,
    sk_er: Secret,
    sk_pi: Secret,
    sk_pr: Secret,
}

impl std::fmt::Debug for IkeKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IkeKeys(..)")
    }
}

impl IkeKeys {
    /// Of a new IKE SA.
    pub fn derive(prf: Prf, suite: SkSuite, shared: &[u8], ni: &[u8], nr: &[u8], spi_i: u64, spi_r: u64) -> Self {
        let seed = prf.mac(&[ni, nr].concat(), &[shared]);
        Self::expand(prf, suite, &seed, (ni, nr), (spi_i, spi_r))
    }

    /// Of the IKE SA that replaces this one, whose PRF was `old`: `shared` are the shared secrets of its key exchanges,
    /// in order (RFC 7296, section 2.18; RFC 9370, section 2.2.4: prf(SK_d, SK(0) | Ni | Nr | SK(1) | ...)).
    pub fn rekey(
        &self,
        old: Prf,
        (prf, suite): (Prf, SkSuite),
        shared: &[&[u8]],
        (ni, nr): (&[u8], &[u8]),
        spis: (u64, u64),
    ) -> Self {
        let seed = old.mac(&self.sk_d, &rekey_seed(shared, ni, nr));
        Self::expand(prf, suite, &seed, (ni, nr), spis)
    }

    /// After an additional key exchange of the initial exchanges (RFC 9370, section 2.2.2).
    #[allow(clippy::too_many_arguments)] // the RFC's own list
    pub fn advance(
        &self,
        prf: Prf,
        suite: SkSuite,
        shared: &[u8],
        ni: &[u8],
        nr: &[u8],
        spi_i: u64,
        spi_r: u64,
    ) -> Self {
        let seed = prf.mac(&self.sk_d, &[shared, ni, nr]);
        Self::expand(prf, suite, &seed, (ni, nr), (spi_i, spi_r))
    }

    /// SK_d, from which the keys of child SAs come.
    pub fn derivation(&self) -> &[u8] {
        &self.sk_d
    }

    fn expand(prf: Prf, suite: SkSuite, seed: &[u8], (ni, nr): (&[u8], &[u8]), (spi_i, spi_r): (u64, u64)) -> Self {
        let (a, e, p) = (suite.integ_key_len(), suite.encr_key_len(), prf.len());
        let parts: [&[u8]; 4] = [ni, nr, &spi_i.to_be_bytes(), &spi_r.to_be_bytes()];
        let all = prf.plus(seed, &parts, p + 2 * a + 2 * e + 2 * p);
        let mut at = 0;
        let mut take = |n: usize| {
            let key = Secret::new(all.get(at..at + n).unwrap_or_default().to_vec());
            at += n;
            key
        };
        Self {
            sk_d: take(p),
            sk_ai: take(a),
            sk_ar: take(a),
            sk_ei: take(e),
            sk_er: take(e),
            sk_pi: take(p),
            sk_pr: take(p),
        }
    }

    /// SK_e and SK_a that protect messages of the original initiator, or of the responder.
    pub fn protect(&self, initiator: bool) -> (&[u8], &[u8]) {
        if initiator { (&self.sk_ei, &self.sk_ai) } else { (&self.sk_er, &self.sk_ar) }
    }

    /// SK_p with which the original initiator, or the responder, authenticates itself.
    pub fn authentication(&self, initiator: bool) -> &[u8] {
        if initiator { &self.sk_pi } else { &self.sk_pr }
    }
}

/// SK(0) | Ni | Nr | SK(1) | ...: of what a rekey derives from (RFC 9370, section 2.2.4).
fn rekey_seed<'a>(shared: &[&'a [u8]], ni: &'a [u8], nr: &'a [u8]) -> Vec<&'a [u8]> {
    let (first, more) = shared.split_first().map_or((&[][..], &[][..]), |(f, m)| (*f, m));
    [first, ni, nr].into_iter().chain(more.iter().copied()).collect()
}

/// `len` octets of KEYMAT for a child SA: prf+(SK_d, SK(0) | Ni | Nr | SK(1) | ...) (RFC 7296, section 2.17; RFC 9370,
/// section 2.2.4). `shared` are the shared secrets of its own key exchanges, in order; empty without.
pub fn child_keymat(prf: Prf, sk_d: &[u8], shared: &[&[u8]], ni: &[u8], nr: &[u8], len: usize) -> Secret {
    prf.plus(sk_d, &rekey_seed(shared, ni, nr), len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    const SPI_I: u64 = 0x0102_0304_0506_0708;
    const SPI_R: u64 = 0x1112_1314_1516_1718;

    // Expected values by python's hmac, from the formulas above.
    #[test]
    fn schedule_against_another_implementation() {
        let suite = SkSuite::from_ids(20, 128, 0).unwrap();
        let keys = IkeKeys::derive(Prf::HmacSha256, suite, &[0x42; 32], &[b'N'; 16], &[b'R'; 16], SPI_I, SPI_R);
        assert_eq!(keys.derivation(), hex!("d04981b0e40a848f305531a0f2a55a1b6ec8190476df195800c10869a120108c"));
        assert_eq!(keys.protect(true).0, hex!("e2b26ca51804cc818f1751da32cb7b914d9d5b89"));
        assert_eq!(
            keys.authentication(false),
            hex!("0216b7681598edf095ece2732440885e0cd997febceb2ac030fe0dce4d042781")
        );
        assert!(keys.protect(true).1.is_empty());
    }

    // The same, of rekeys with an additional key exchange.
    #[test]
    fn rekeys_of_rfc_9370_against_another_implementation() {
        let suite = SkSuite::from_ids(20, 128, 0).unwrap();
        let old = IkeKeys::derive(Prf::HmacSha256, suite, &[0x42; 32], &[b'N'; 16], &[b'R'; 16], SPI_I, SPI_R);
        let shared: [&[u8]; 2] = [&[0x43; 32], &[0x44; 32]];
        let (ni, nr) = (&[b'n'; 16][..], &[b'r'; 16][..]);
        let new = old.rekey(Prf::HmacSha256, (Prf::HmacSha256, suite), &shared, (ni, nr), (SPI_I, SPI_R));
        assert_eq!(new.derivation(), hex!("b1d37b043f6193559d1c08741c84d15fb4af48c1f1faed462747ec77db0232ff"));
        assert_eq!(new.protect(true).0, hex!("d558f8e2c3e136fd2018cd9d34a616946922e7bd"));
        let keymat = |shared: &[&[u8]]| child_keymat(Prf::HmacSha256, old.derivation(), shared, ni, nr, 40);
        assert_eq!(
            keymat(&shared)[..],
            hex!("86fc8d2935ffdcc07b5c85d718bf504940d0b1f83014e92266a7c6fa898e4157f3cd82855a1277f4")
        );
        assert_eq!(
            keymat(&[])[..],
            hex!("dcd6f49e16848ef805b8dde658ab18d2c870e39f95b4ab0d8bd8ba3d27ca29284f0bbc51032cdfd4")
        );
    }

    #[test]
    fn directions_and_generations_differ() {
        let suite = SkSuite::from_ids(12, 256, 12).unwrap();
        let (ni, nr) = (&[1; 32][..], &[2; 32][..]);
        let first = IkeKeys::derive(Prf::HmacSha384, suite, &[3; 32], ni, nr, SPI_I, SPI_R);
        assert_ne!(first.protect(true), first.protect(false));
        assert_ne!(first.authentication(true), first.authentication(false));
        let next = first.advance(Prf::HmacSha384, suite, &[4; 32], ni, nr, SPI_I, SPI_R);
        let rekeyed = first.rekey(Prf::HmacSha384, (Prf::HmacSha256, suite), &[&[4; 32]], (ni, nr), (SPI_I, SPI_R));
        assert_ne!(next.derivation(), first.derivation());
        assert_eq!(rekeyed.derivation().len(), 32);
        let child = child_keymat(Prf::HmacSha384, first.derivation(), &[], ni, nr, 72);
        assert_eq!(child.len(), 72);
        assert_ne!(child, child_keymat(Prf::HmacSha384, first.derivation(), &[&[5; 32]], ni, nr, 72));
    }
}
