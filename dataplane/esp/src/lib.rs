//! Crate `esp`.
