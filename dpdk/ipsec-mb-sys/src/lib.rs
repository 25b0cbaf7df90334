//! Crate `ipsec-mb-sys`.
