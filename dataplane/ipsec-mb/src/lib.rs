//! Crate `ipsec-mb`.
