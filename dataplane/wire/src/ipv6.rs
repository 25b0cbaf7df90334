//! IPv6 (RFC 8200) and the walk over its extension headers.
//!
//! The walk is bounded: at most [`MAX_EXTENSIONS`] headers, all of them within the packet. It stops at the upper
//! layer, at ESP (opaque to it), at "no next header", and at a fragment that is not the first.

use crate::{Error, be16, be32, ip};
use std::net::Ipv6Addr;

/// Length of the fixed header.
pub const HEADER: usize = 40;
/// Extension headers we are willing to skip.
pub const MAX_EXTENSIONS: usize = 8;

/// Hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Routing header.
pub const ROUTING: u8 = 43;
/// Fragment header.
pub const FRAGMENT: u8 = 44;
/// Authentication header.
pub const AH: u8 = 51;
/// Destination options.
pub const DST_OPTIONS: u8 = 60;
/// Mobility header.
pub const MOBILITY: u8 = 135;

/// A view of a fixed header whose payload is all there.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a>(&'a [u8]);

impl<'a> Ipv6<'a> {
    /// Checks version and length.
    #[inline]
    pub fn parse(data: &'a [u8]) -> Result<Self, Error> {
        let Some(&first) = data.first() else { return Err(Error::Truncated) };
        if first >> 4 != 6 {
            return Err(Error::Malformed);
        }
        if data.len() < HEADER {
            return Err(Error::Truncated);
        }
        let h = Self(data);
        if h.total_len() > data.len() {
            return Err(Error::Truncated);
        }
        Ok(h)
    }

    /// The whole packet.
    #[inline]
    pub fn total_len(&self) -> usize {
        HEADER + usize::from(be16(self.0, 4))
    }

    /// Traffic class.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (be16(self.0, 0) >> 4) as u8
    }

    /// Flow label.
    #[inline]
    pub fn flow_label(&self) -> u32 {
        be32(self.0, 0) & 0xf_ffff
    }

    /// First next header.
    #[inline]
    pub fn next_header(&self) -> u8 {
        self.0[6]
    }

    /// Hop limit.
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        self.0[7]
    }

    /// Source.
    #[inline]
    pub fn src(&self) -> Ipv6Addr {
        self.0.get(8..24).and_then(|s| <[u8; 16]>::try_from(s).ok()).unwrap_or_default().into()
    }

    /// Destination.
    #[inline]
    pub fn dst(&self) -> Ipv6Addr {
        self.0.get(24..40).and_then(|s| <[u8; 16]>::try_from(s).ok()).unwrap_or_default().into()
    }

    /// What follows the fixed header.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.0.get(HEADER..self.total_len()).unwrap_or_default()
    }
}

/// What nearly every header is: see [`plain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// The whole packet.
    pub len: usize,
    /// Protocol of what follows the header.
    pub protocol: u8,
    /// Source.
    pub src: u128,
    /// Destination.
    pub dst: u128,
}

/// A header without extensions, of a packet that is all there. `None`: something else, for [`Ipv6::parse`] and
/// [`upper_layer`] to tell.
#[inline(always)]
pub fn plain(data: &[u8]) -> Option<Plain> {
    let h: &[u8; HEADER] = data.first_chunk()?;
    let &[version, _, _, _, high, low, protocol, _, ref addresses @ ..] = h;
    let (src, dst) = addresses.split_first_chunk::<16>()?;
    let dst: &[u8; 16] = dst.first_chunk()?;
    let len = HEADER + usize::from(u16::from_be_bytes([high, low]));
    let extended = matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AH | DST_OPTIONS | MOBILITY);
    let plain = version >> 4 == 6 && len <= data.len() && !extended;
    plain.then_some(Plain { len, protocol, src: u128::from_be_bytes(*src), dst: u128::from_be_bytes(*dst) })
}

/// Where the walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upper {
    /// Protocol of what is at `offset`.
    pub protocol: u8,
    /// From the start of the IPv6 header.
    pub offset: usize,
    /// Offset in octets, and whether more follow.
    pub fragment: Option<(u16, bool)>,
    /// Where the fragment header is, if there is one.
    pub fragment_header: Option<usize>,
}

/// Walks from the fixed header to the upper layer. `data` is one whole packet, cut to its length.
#[inline]
pub fn upper_layer(data: &[u8]) -> Result<Upper, Error> {
    if data.len() < HEADER {
        return Err(Error::Truncated);
    }
    let mut upper = Upper { protocol: data[6], offset: HEADER, fragment: None, fragment_header: None };
    for _ in 0..=MAX_EXTENSIONS {
        let len = match upper.protocol {
            HOP_BY_HOP if upper.offset != HEADER => return Err(Error::Malformed),
            HOP_BY_HOP | ROUTING | DST_OPTIONS | MOBILITY => {
                8 + usize::from(*data.get(upper.offset + 1).ok_or(Error::Truncated)?) * 8
            }
            AH => 8 + usize::from(*data.get(upper.offset + 1).ok_or(Error::Truncated)?) * 4,
            FRAGMENT => {
                if upper.fragment.is_some() {
                    return Err(Error::Malformed);
                }
                let word = be16(data, upper.offset + 2);
                upper.fragment = Some((word & 0xfff8, word & 1 != 0));
                upper.fragment_header = Some(upper.offset);
                8
            }
            _ => return Ok(upper),
        };
        let next = *data.get(upper.offset).ok_or(Error::Truncated)?;
        if data.len() < upper.offset + len {
            return Err(Error::Truncated);
        }
        upper.protocol = next;
        upper.offset += len;
        if upper.fragment.is_some_and(|(offset, _)| offset != 0) {
            return Ok(upper);
        }
    }
    Err(Error::Malformed)
}

/// Fields of the fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Octets after the fixed header.
    pub payload_len: u16,
    /// Next header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
}

impl Repr {
    /// Writes the header; says whether it fitted.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> bool {
        let Some(h) = out.first_chunk_mut() else { return false };
        Template::new(self).emit(h, self.traffic_class, self.flow_label, self.payload_len, self.next_header);
        true
    }
}

/// Whether the protocol is one that a firewall of ours treats as having ports.
#[inline]
pub const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, ip::TCP | ip::UDP)
}

/// What many headers of our own have in common, ready to be written: hop limit and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    hop_limit: u8,
    addresses: [u8; 32],
}

impl Template {
    /// Of headers with this hop limit and these addresses; the rest is left out.
    pub fn new(header: &Repr) -> Self {
        let mut addresses = [0; 32];
        addresses[..16].copy_from_slice(&header.src.octets());
        addresses[16..].copy_from_slice(&header.dst.octets());
        Self { hop_limit: header.hop_limit, addresses }
    }

    /// Writes a header.
    #[inline(always)]
    pub fn emit(&self, out: &mut [u8; HEADER], traffic_class: u8, flow_label: u32, payload_len: u16, next_header: u8) {
        let first = (6 << 28) | (u32::from(traffic_class) << 20) | (flow_label & 0xf_ffff);
        let second = u32::from(payload_len) << 16 | u32::from(next_header) << 8 | u32::from(self.hop_limit);
        let (front, addresses) = out.split_at_mut(8);
        front.copy_from_slice(&(u64::from(first) << 32 | u64::from(second)).to_be_bytes());
        addresses.copy_from_slice(&self.addresses);
    }
}

/// A header with another length of what follows it and another next header.
#[inline(always)]
pub fn relabelled(header: &[u8; HEADER], payload_len: u16, next_header: u8) -> [u8; HEADER] {
    let mut out = *header;
    let first = header.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)) & !0xffff_ff00;
    let first = first | u64::from(payload_len) << 16 | u64::from(next_header) << 8;
    out[..8].copy_from_slice(&first.to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut p = vec![0xff; HEADER];
        let repr = Repr {
            traffic_class: 0xb8,
            flow_label: 0x12345,
            payload_len: rest.len() as u16,
            next_header: next,
            hop_limit: 64,
            src: "2001:db8::1".parse().unwrap(),
            dst: "2001:db8::2".parse().unwrap(),
        };
        assert!(repr.emit(&mut p));
        p.extend_from_slice(rest);
        let h = Ipv6::parse(&p).unwrap();
        assert_eq!((h.traffic_class(), h.flow_label(), h.hop_limit()), (0xb8, 0x12345, 64));
        assert_eq!((h.src(), h.dst()), (repr.src, repr.dst));
        p
    }

    #[test]
    fn walks_to_the_upper_layer() {
        // Hop-by-hop (8 octets), destination options (16 octets), UDP.
        let rest = [&[60, 0, 1, 4, 0, 0, 0, 0][..], &[17, 1][..], &[0; 14][..], &[0; 8][..]].concat();
        let p = packet(HOP_BY_HOP, &rest);
        let u = upper_layer(&p).unwrap();
        assert_eq!((u.protocol, u.offset, u.fragment), (17, HEADER + 24, None));
    }

    #[test]
    fn stops_at_a_later_fragment() {
        let p = packet(FRAGMENT, &[HOP_BY_HOP, 0, 0x05, 0xa9, 0, 0, 0, 1, 0xff, 0xff]);
        let u = upper_layer(&p).unwrap();
        assert_eq!((u.fragment, u.offset, u.fragment_header), (Some((0x5a8, true)), HEADER + 8, Some(HEADER)));
    }

    #[test]
    fn limits() {
        let chain: Vec<u8> = std::iter::repeat_n([60, 0, 1, 4, 0, 0, 0, 0], 20).flatten().collect();
        assert_eq!(upper_layer(&packet(60, &chain)), Err(Error::Malformed));
        assert_eq!(upper_layer(&packet(60, &[17, 1, 0, 0, 0, 0, 0, 0])), Err(Error::Truncated));
        let hop = [60, 0, 1, 4, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0];
        assert_eq!(upper_layer(&packet(60, &hop)), Err(Error::Malformed));
    }

    proptest! {
        #[test]
        fn another_label_is_as_if_it_had_been_written_so(
            (traffic_class, hop_limit, next_header, other) in any::<(u8, u8, u8, u8)>(), flow_label in 0u32..1 << 20,
            (src, dst) in any::<(u128, u128)>(), lens in any::<(u16, u16)>(),
        ) {
            let (src, dst) = (Ipv6Addr::from_bits(src), Ipv6Addr::from_bits(dst));
            let before = Repr { traffic_class, flow_label, payload_len: lens.0, next_header, hop_limit, src, dst };
            let (mut old, mut new) = ([0; HEADER], [0; HEADER]);
            before.emit(&mut old);
            Repr { payload_len: lens.1, next_header: other, ..before }.emit(&mut new);
            prop_assert_eq!(relabelled(&old, lens.1, other), new);
        }

        #[test]
        fn garbage(next: u8, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let p = packet(next, &rest);
            let upper = upper_layer(&p);
            if let Ok(u) = upper {
                prop_assert!(u.offset <= p.len());
            }
            let h = Ipv6::parse(&p).unwrap();
            let want = upper.ok().filter(|u| u.offset == HEADER).map(|u| Plain {
                len: p.len(), protocol: u.protocol, src: h.src().to_bits(), dst: h.dst().to_bits(),
            });
            prop_assert_eq!(plain(&p), want);
            prop_assert_eq!(plain(&p[..p.len() - 1]), None);
        }
    }
}
