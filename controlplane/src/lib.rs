//! Crate `controlplane`.
