//! UDP (RFC 768).

use crate::checksum::{self, Sum};
use crate::{Error, be16, ip};
use std::net::IpAddr;

/// Length of the header.
pub const HEADER: usize = 8;

/// A view of a datagram whose length field is consistent with the data.
#[derive(Clone, Copy, Debug)]
pub struct Udp<'a>(&'a [u8]);

impl<'a> Udp<'a> {
    /// Checks the length field; the datagram may be shorter than the data.
    #[inline]
    pub fn parse(data: &'a [u8]) -> Result<Self, Error> {
        if data.len() < HEADER {
            return Err(Error::Truncated);
        }
        let len = usize::from(be16(data, 4));
        if len < HEADER {
            return Err(Error::Malformed);
        }
        data.get(..len).map(Self).ok_or(Error::Truncated)
    }

    /// Source port.
    #[inline]
    pub fn src_port(&self) -> u16 {
        be16(self.0, 0)
    }

    /// Destination port.
    #[inline]
    pub fn dst_port(&self) -> u16 {
        be16(self.0, 2)
    }

    /// What the datagram carries.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.0.get(HEADER..).unwrap_or_default()
    }

    /// Whether the checksum is right, or absent where it may be: with IPv4.
    #[inline]
    pub fn checksum_ok(&self, src: IpAddr, dst: IpAddr) -> bool {
        if be16(self.0, 6) == 0 {
            return src.is_ipv4();
        }
        checksum::transport(src, dst, ip::UDP, self.0) == 0
    }
}

/// Writes a header without checksum; says whether it fitted. `len` counts the header.
#[inline]
pub fn emit(out: &mut [u8], src_port: u16, dst_port: u16, len: u16) -> bool {
    let Some(h) = out.first_chunk_mut::<HEADER>() else { return false };
    h[0..2].copy_from_slice(&src_port.to_be_bytes());
    h[2..4].copy_from_slice(&dst_port.to_be_bytes());
    h[4..6].copy_from_slice(&len.to_be_bytes());
    h[6..8].fill(0);
    true
}

/// Octets at the beginning of a datagram that have perhaps just been written: UDP's header and those of L2TP and PPP. Even.
const FRESH: usize = 18;

/// Fills in the checksum of a whole datagram whose checksum field is 0.
#[inline]
pub fn fill_checksum(datagram: &mut [u8], src: IpAddr, dst: IpAddr) {
    if datagram.len() < HEADER {
        return;
    }
    let (headers, rest) = datagram.split_at_checked(FRESH).unwrap_or((&[], datagram));
    let sum = Sum::default().pseudo(src, dst, ip::UDP, datagram.len() as u32).fresh(headers).octets(rest);
    let sum = match sum.finish() {
        0 => 0xffff, // RFC 768: 0 means no checksum
        s => s,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
}

/// Fills in the folded sum of the pseudo-header, to which a NIC adds that of the datagram.
#[inline]
pub fn fill_pseudo_sum(datagram: &mut [u8], src: IpAddr, dst: IpAddr) {
    let len = datagram.len() as u32;
    if let Some(field) = datagram.get_mut(6..HEADER) {
        field.copy_from_slice(&Sum::default().pseudo(src, dst, ip::UDP, len).fold().to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(src: u16, dst: u16, payload in proptest::collection::vec(any::<u8>(), 0..100), v6: bool) {
            let (a, b): (IpAddr, IpAddr) = if v6 {
                ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap())
            } else {
                ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap())
            };
            let mut d = vec![0xa5; HEADER];
            let len = (HEADER + payload.len()) as u16;
            prop_assert!(emit(&mut d, src, dst, len));
            d.extend_from_slice(&payload);
            fill_checksum(&mut d, a, b);
            let u = Udp::parse(&d).unwrap();
            prop_assert!(u.checksum_ok(a, b));
            prop_assert_eq!((u.src_port(), u.dst_port(), u.payload()), (src, dst, &payload[..]));
            // What a NIC does: it sums the datagram with what is in the checksum field.
            let filled = be16(&d, 6);
            fill_pseudo_sum(&mut d, a, b);
            let sum = match checksum::of(&d) { 0 => 0xffff, s => s };
            prop_assert_eq!(sum, filled);
        }

        #[test]
        fn garbage(data in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(u) = Udp::parse(&data) {
                let _ = u.payload();
            }
        }
    }
}
