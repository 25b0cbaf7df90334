//! Crate `dhcp6`.
