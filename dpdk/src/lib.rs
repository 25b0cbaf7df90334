//! Crate `dpdk`.
