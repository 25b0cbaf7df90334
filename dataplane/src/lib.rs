//! Crate `dataplane`.
