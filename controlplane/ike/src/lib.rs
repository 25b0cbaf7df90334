//! Crate `ike`.
