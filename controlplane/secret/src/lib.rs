//! A secret: cleared from memory when dropped, never printed.
#![forbid(unsafe_code)]

use std::fmt;
use zeroize::Zeroizing;

/// A shared secret, a password or a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of the octets.
    pub fn new(octets: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(octets.into()))
    }

    /// The octets.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shown() {
        let s = Secret::new("wonderland");
        assert_eq!((format!("{s:?}").as_str(), s.expose()), ("Secret(..)", &b"wonderland"[..]));
    }
}
