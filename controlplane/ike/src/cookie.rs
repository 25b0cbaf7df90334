//! Cookies against IKE_SA_INIT floods from forged addresses (RFC 7296, section 2.6): under load, a request is answered
//! with a token that only its real sender receives, and nothing is kept until it comes back.
//!
//! `cookie = generation | prf(secret, Ni | IPi | SPIi)`. The secret changes every minute; the one before still counts, so
//! that a cookie under way stays good.

use crate::crypto::Prf;
use rand_core::CryptoRng;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const LIFETIME: Duration = Duration::from_secs(60);

/// The secrets of this minute and the one before.
#[derive(Default)]
pub(crate) struct Cookies {
    secrets: [Option<Zeroizing<[u8; 32]>>; 2],
    generation: u8,
    rotate_at: Option<Instant>,
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookies(..)")
    }
}

fn compute(secret: &[u8; 32], ni: &[u8], ip: IpAddr, spi_i: u64) -> Vec<u8> {
    let spi = spi_i.to_be_bytes();
    let mac = match ip {
        IpAddr::V4(ip) => Prf::HmacSha256.mac(secret, &[ni, &ip.octets(), &spi]),
        IpAddr::V6(ip) => Prf::HmacSha256.mac(secret, &[ni, &ip.octets(), &spi]),
    };
    mac.to_vec()
}

impl Cookies {
    fn rotate(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        if self.rotate_at.is_some_and(|at| now < at) {
            return;
        }
        // After a long pause the last secret is as stale as it gets.
        let stale = self.rotate_at.is_none_or(|at| now >= at + LIFETIME);
        let mut fresh = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut fresh[..]);
        let last = self.secrets[0].replace(fresh);
        self.secrets[1] = last.filter(|_| !stale);
        self.generation = self.generation.wrapping_add(1);
        self.rotate_at = Some(now + LIFETIME);
    }

    /// The cookie for a request.
    pub fn make(&mut self, now: Instant, rng: &mut dyn CryptoRng, ni: &[u8], ip: IpAddr, spi_i: u64) -> Vec<u8> {
        self.rotate(now, rng);
        let mac = self.secrets[0].as_ref().map(|secret| compute(secret, ni, ip, spi_i)).unwrap_or_default();
        [&[self.generation][..], &mac].concat()
    }

    /// Whether a cookie is ours and for this request.
    pub fn check(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        cookie: &[u8],
        (ni, ip, spi_i): (&[u8], IpAddr, u64),
    ) -> bool {
        self.rotate(now, rng);
        let Some((&generation, mac)) = cookie.split_first() else { return false };
        let secret = match self.generation.wrapping_sub(generation) {
            0 => &self.secrets[0],
            1 => &self.secrets[1],
            _ => return false,
        };
        secret.as_ref().is_some_and(|secret| bool::from(compute(secret, ni, ip, spi_i).ct_eq(mac)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn a_cookie_is_bound_to_its_request_and_expires() {
        let (mut rng, mut cookies, start) = (StdRng::seed_from_u64(1), Cookies::default(), Instant::now());
        let ip = IpAddr::from([192, 0, 2, 1]);
        let cookie = cookies.make(start, &mut rng, b"nonce", ip, 7);
        let mut check = |after: u64, cookie: &[u8], ni: &[u8], ip: [u8; 4], spi| {
            cookies.check(start + Duration::from_secs(after), &mut rng, cookie, (ni, ip.into(), spi))
        };
        assert!(check(1, &cookie, b"nonce", [192, 0, 2, 1], 7));
        assert!(!check(1, &cookie, b"Nonce", [192, 0, 2, 1], 7));
        assert!(!check(1, &cookie, b"nonce", [192, 0, 2, 2], 7));
        assert!(!check(1, &cookie, b"nonce", [192, 0, 2, 1], 8));
        assert!(!check(1, &cookie[1..], b"nonce", [192, 0, 2, 1], 7));
        assert!(!check(1, &[], b"nonce", [192, 0, 2, 1], 7));
        assert!(check(61, &cookie, b"nonce", [192, 0, 2, 1], 7));
        assert!(!check(125, &cookie, b"nonce", [192, 0, 2, 1], 7));
    }
}
