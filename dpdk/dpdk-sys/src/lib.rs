//! Crate `dpdk-sys`.
