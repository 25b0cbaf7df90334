//! Crate `l2tp`.
