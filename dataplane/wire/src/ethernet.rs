//! Ethernet II with at most one 802.1Q tag.

use crate::Error;

/// Length of the untagged header.
pub const HEADER: usize = 14;
/// Length of a tag.
pub const TAG: usize = 4;
/// Ethertype of IPv4.
pub const IPV4: u16 = 0x0800;
/// Ethertype of ARP.
pub const ARP: u16 = 0x0806;
/// Ethertype of an 802.1Q tag.
pub const VLAN: u16 = 0x8100;
/// Ethertype of IPv6.
pub const IPV6: u16 = 0x86dd;

/// A parsed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination address.
    pub dst: [u8; 6],
    /// Source address.
    pub src: [u8; 6],
    /// VLAN id, if tagged. Priority tags (id 0) count as untagged (802.1Q, 9.6).
    pub vlan: Option<u16>,
    /// Ethertype behind the tag.
    pub ethertype: u16,
    /// Length of the header with its tag.
    pub len: usize,
}

/// What a header says besides its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels {
    /// VLAN id, or 0: see [`Ethernet::vlan`].
    pub vlan: u16,
    /// See [`Ethernet::ethertype`].
    pub ethertype: u16,
    /// See [`Ethernet::len`].
    pub len: usize,
}

/// Reads the header but for the addresses, and gives what follows it. `None`: it is not all there.
#[inline(always)]
pub fn labels(data: &[u8]) -> Option<(Labels, &[u8])> {
    let ([.., t0, t1], rest) = data.split_first_chunk::<HEADER>()?;
    let ethertype = u16::from_be_bytes([*t0, *t1]);
    if ethertype != VLAN {
        return Some((Labels { vlan: 0, ethertype, len: HEADER }, rest));
    }
    let ([v0, v1, t0, t1], rest) = rest.split_first_chunk::<TAG>()?;
    let vlan = u16::from_be_bytes([*v0, *v1]) & 0xfff;
    Some((Labels { vlan, ethertype: u16::from_be_bytes([*t0, *t1]), len: HEADER + TAG }, rest))
}

impl Ethernet {
    /// Reads the header.
    #[inline]
    pub fn parse(data: &[u8]) -> Result<Self, Error> {
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, ..] =
            *data.first_chunk::<HEADER>().ok_or(Error::Truncated)?;
        let (Labels { vlan, ethertype, len }, _) = labels(data).ok_or(Error::Truncated)?;
        Ok(Self {
            dst: [d0, d1, d2, d3, d4, d5],
            src: [s0, s1, s2, s3, s4, s5],
            vlan: (vlan != 0).then_some(vlan),
            ethertype,
            len,
        })
    }

    /// Whether the group bit of the destination is set (broadcast or multicast).
    #[inline]
    pub fn is_group(&self) -> bool {
        self.dst[0] & 1 != 0
    }
}

/// Length of the header that [`emit`] writes.
#[inline]
pub const fn emit_len(vlan: Option<u16>) -> usize {
    if vlan.is_some() { HEADER + TAG } else { HEADER }
}

/// Writes a header into the front of `out`; says whether it fitted.
#[inline]
pub fn emit(out: &mut [u8], dst: [u8; 6], src: [u8; 6], vlan: Option<u16>, ethertype: u16) -> bool {
    let Some(out) = out.get_mut(..emit_len(vlan)) else { return false };
    out[..6].copy_from_slice(&dst);
    out[6..12].copy_from_slice(&src);
    if let Some(id) = vlan {
        out[12..14].copy_from_slice(&VLAN.to_be_bytes());
        out[14..16].copy_from_slice(&(id & 0xfff).to_be_bytes());
        out[16..18].copy_from_slice(&ethertype.to_be_bytes());
    } else {
        out[12..14].copy_from_slice(&ethertype.to_be_bytes());
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(dst: [u8; 6], src: [u8; 6], vlan in proptest::option::of(1u16..4095), ethertype: u16) {
            prop_assume!(ethertype != VLAN);
            let mut out = [0xa5; 20];
            prop_assert!(emit(&mut out, dst, src, vlan, ethertype));
            let len = emit_len(vlan);
            prop_assert_eq!(Ethernet::parse(&out), Ok(Ethernet { dst, src, vlan, ethertype, len }));
        }

        #[test]
        fn garbage(data in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Ethernet::parse(&data);
        }
    }
}
