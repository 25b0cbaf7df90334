//! Crate `softwire-initiator`.
