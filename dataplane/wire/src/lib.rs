//! Headers on the wire: views over received octets, and functions that write whole headers into dirty buffers.
//!
//! A view (`Ipv4`, `Udp`, ...) is made by its `parse`, which checks every length that later accessors rely on, and
//! borrows the packet. An `emit` function fills every octet of its header. Nothing here allocates, and nothing panics
//! on any input.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod checksum;
pub mod esp;
pub mod ethernet;
pub mod icmp;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod l2tp;
pub mod ppp;
pub mod tcp;
pub mod udp;

/// Why octets are not the header they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer octets than the header has, or than a length field says.
    #[error("truncated")]
    Truncated,
    /// A field with a value that no valid header has.
    #[error("malformed")]
    Malformed,
}

/// The two octets at `at`, in network order; 0 beyond the end.
#[inline(always)]
pub(crate) fn be16(b: &[u8], at: usize) -> u16 {
    match b.get(at..at + 2) {
        Some(&[h, l]) => u16::from_be_bytes([h, l]),
        _ => 0,
    }
}

/// The four octets at `at`, in network order; 0 beyond the end.
#[inline(always)]
pub(crate) fn be32(b: &[u8], at: usize) -> u32 {
    match b.get(at..at + 4) {
        Some(&[a, b, c, d]) => u32::from_be_bytes([a, b, c, d]),
        _ => 0,
    }
}
