//! Crate `mgmt-api`.
