//! Cryptography of IKE: key exchange methods, PRFs, the protection of messages, and the key schedule.
//!
//! ```text
//!   KeyExchange / respond ──► shared secret ──► IkeKeys (SK_d, SK_ai, SK_ar, SK_ei, SK_er, SK_pi, SK_pr)
//!                                                 ├─ SkSuite::seal / open   messages
//!                                                 ├─ Prf over SK_p          AUTH
//!                                                 └─ child_keymat           ESP keys
//! ```
//!
//! Primitives are aws-lc's; MODP groups, which its safe interface lacks, are computed in constant time by crypto-bigint.

mod ke;
mod keys;
mod modp;
mod prf;
mod sk;

pub use ke::{KeMethod, KeyExchange, respond};
pub use keys::{IkeKeys, child_keymat};
pub use prf::Prf;
pub(crate) use prf::tag;
pub use sk::{SkCipher, SkIntegrity, SkSuite};

use zeroize::Zeroizing;

/// Secret octets, erased on drop.
pub type Secret = Zeroizing<Vec<u8>>;

/// Why a computation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The peer's public value is not one of this group.
    #[error("invalid public value")]
    PublicValue,
    /// The library failed, for want of random numbers or memory.
    #[error("cryptographic library failed")]
    Library,
}

impl From<aws_lc_rs::error::Unspecified> for CryptoError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Library
    }
}
