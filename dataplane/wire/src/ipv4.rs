//! IPv4 (RFC 791).

use crate::{Error, be16, checksum};
use std::net::Ipv4Addr;

/// Length of the header without options.
pub const HEADER: usize = 20;
/// Don't Fragment, in the flags and offset word.
pub const DF: u16 = 0x4000;
/// More Fragments.
pub const MF: u16 = 0x2000;

/// A view of a header whose lengths were checked: at least 20 octets and the header length are there, and the total
/// length covers the header and does not exceed the data.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a>(&'a [u8]);

impl<'a> Ipv4<'a> {
    /// Checks version and lengths, not the checksum.
    #[inline]
    pub fn parse(data: &'a [u8]) -> Result<Self, Error> {
        let Some(&first) = data.first() else { return Err(Error::Truncated) };
        if first >> 4 != 4 {
            return Err(Error::Malformed);
        }
        if data.len() < HEADER {
            return Err(Error::Truncated);
        }
        let h = Self(data);
        if h.header_len() < HEADER || h.total_len() < h.header_len() {
            return Err(Error::Malformed);
        }
        if h.total_len() > data.len() {
            return Err(Error::Truncated);
        }
        Ok(h)
    }

    /// Header with options, in octets.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.0[0] & 15) * 4
    }

    /// The whole packet, in octets.
    #[inline]
    pub fn total_len(&self) -> usize {
        usize::from(be16(self.0, 2))
    }

    /// DSCP and ECN.
    #[inline]
    pub fn tos(&self) -> u8 {
        self.0[1]
    }

    /// Identification.
    #[inline]
    pub fn id(&self) -> u16 {
        be16(self.0, 4)
    }

    /// Don't Fragment.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        be16(self.0, 6) & DF != 0
    }

    /// More Fragments.
    #[inline]
    pub fn more_fragments(&self) -> bool {
        be16(self.0, 6) & MF != 0
    }

    /// Offset of this fragment, in octets.
    #[inline]
    pub fn fragment_offset(&self) -> u16 {
        (be16(self.0, 6) & 0x1fff) << 3
    }

    /// Whether this is part of a fragmented packet.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        be16(self.0, 6) & 0x3fff != 0
    }

    /// Time to live.
    #[inline]
    pub fn ttl(&self) -> u8 {
        self.0[8]
    }

    /// Protocol.
    #[inline]
    pub fn protocol(&self) -> u8 {
        self.0[9]
    }

    /// Source.
    #[inline]
    pub fn src(&self) -> Ipv4Addr {
        Ipv4Addr::new(self.0[12], self.0[13], self.0[14], self.0[15])
    }

    /// Destination.
    #[inline]
    pub fn dst(&self) -> Ipv4Addr {
        Ipv4Addr::new(self.0[16], self.0[17], self.0[18], self.0[19])
    }

    /// Whether the header checksum is right.
    #[inline]
    pub fn checksum_ok(&self) -> bool {
        self.0.get(..self.header_len()).is_some_and(|h| checksum::of(h) == 0)
    }

    /// What the header carries.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.0.get(self.header_len()..self.total_len()).unwrap_or_default()
    }
}

/// What nearly every header is: see [`plain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// The whole packet.
    pub len: u16,
    /// Protocol.
    pub protocol: u8,
    /// Source.
    pub src: u32,
    /// Destination.
    pub dst: u32,
}

/// Of 0xffff modulo 2^64: what it makes of a multiple is the quotient, and of anything else more than any quotient.
const INVERSE: u64 = 0xfffe_fffe_fffe_ffff;
const _: () = assert!(INVERSE.wrapping_mul(0xffff) == 1);

/// A header without options, of a packet that is no fragment, with lengths and a checksum that are right. `None`: something
/// else, for [`Ipv4::parse`] to tell.
#[inline(always)]
pub fn plain(data: &[u8]) -> Option<Plain> {
    let h: &[u8; HEADER] = data.first_chunk()?;
    let word = |at: usize| u32::from_le_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]);
    let (first, second, third) = (word(0), word(4), word(8));
    let (src, dst) = (word(12), word(16));
    // Words of 16 bits add up to a multiple of 0xffff that is not 0, in every order of octets (RFC 1071, section 2).
    let sum: u64 = [first, second, third, src, dst].into_iter().map(u64::from).sum();
    let right = sum.wrapping_mul(INVERSE) <= u64::MAX / 0xffff;
    let len = ((first >> 16) as u16).swap_bytes();
    let plain = right
        && first as u8 == 0x45
        && (second >> 16) as u16 & 0x3fffu16.swap_bytes() == 0
        && usize::from(len) <= data.len()
        && usize::from(len) >= HEADER;
    plain.then_some(Plain { len, protocol: (third >> 8) as u8, src: src.swap_bytes(), dst: dst.swap_bytes() })
}

/// Fields of a header without options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// DSCP and ECN.
    pub tos: u8,
    /// The whole packet.
    pub total_len: u16,
    /// Identification.
    pub id: u16,
    /// Flags and fragment offset word.
    pub flags: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub protocol: u8,
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
}

impl Repr {
    /// Writes the header with its checksum; says whether it fitted.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> bool {
        let Some(out) = out.first_chunk_mut() else { return false };
        Template::new(self).emit(out, self.tos, self.total_len, self.id, self.protocol);
        true
    }
}

/// What many headers of our own have in common, ready to be written: everything but DSCP and ECN, length, identification and
/// protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    // Octets 0 to 7, 8 to 15, 16 to 19, as they are in memory.
    first: u64,
    second: u64,
    third: u32,
    /// Of their 16-bit words.
    sum: u32,
}

impl Template {
    /// Of headers with these flags, TTL and addresses; the rest is left out.
    #[inline(always)]
    pub fn new(header: &Repr) -> Self {
        let address = |a: Ipv4Addr| u32::from_le_bytes(a.octets());
        let (src, dst) = (address(header.src), address(header.dst));
        let (version, flags, ttl) = (0x45, u32::from(header.flags.swap_bytes()), u32::from(header.ttl));
        let words = |pair: u32| (pair & 0xffff) + (pair >> 16);
        Self {
            first: u64::from(flags) << 48 | version,
            second: u64::from(src) << 32 | u64::from(ttl),
            third: dst,
            sum: version as u32 + flags + ttl + words(src) + words(dst),
        }
    }

    /// Writes a header.
    #[inline(always)]
    pub fn emit(&self, out: &mut [u8; HEADER], tos: u8, total_len: u16, id: u16, protocol: u8) {
        // Sums of 16-bit words are the same in every order of octets (RFC 1071, section 2).
        let (tos, len, id) = (u32::from(tos) << 8, u32::from(total_len.swap_bytes()), u32::from(id.swap_bytes()));
        let protocol = u32::from(protocol) << 8;
        let sum = complement(self.sum + tos + len + id + protocol);
        let first = self.first | u64::from(tos) | u64::from(len) << 16 | u64::from(id) << 32;
        let second = self.second | u64::from(protocol) | u64::from(sum) << 16;
        put(out, (first, second, self.third));
    }
}

/// The checksum of what 16-bit words add up to.
#[inline(always)]
fn complement(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// A header without options with another length of the packet and another protocol. The checksum is brought up to date
/// (RFC 1624, equation 3), so that it is right if it was.
#[inline(always)]
pub fn relabelled(header: &[u8; HEADER], total_len: u16, protocol: u8) -> [u8; HEADER] {
    // Sums of 16-bit words are the same in every order of octets (RFC 1071, section 2), so nothing is swapped but the length.
    let (first, second, third) = words(header);
    let (len, which, sum) = ((first >> 16) as u16, second as u16, (second >> 16) as u16);
    let (new_len, new_which) = (total_len.swap_bytes(), which & 0xff | u16::from(protocol) << 8);
    let sum = complement([!sum, !len, new_len, !which, new_which].into_iter().map(u32::from).sum());
    let first = first & !0xffff_0000 | u64::from(new_len) << 16;
    let second = second & !0xffff_ffff | u64::from(new_which) | u64::from(sum) << 16;
    let mut out = [0; HEADER];
    put(&mut out, (first, second, third));
    out
}

/// Octets 0 to 7, 8 to 15, 16 to 19, as they are in memory; each is one load.
#[inline(always)]
fn words(header: &[u8; HEADER]) -> (u64, u64, u32) {
    let (first, rest) = header.split_at(8);
    let (second, third) = rest.split_at(8);
    let long = |octets: &[u8]| octets.first_chunk().map_or(0, |o| u64::from_le_bytes(*o));
    (long(first), long(second), third.first_chunk().map_or(0, |o| u32::from_le_bytes(*o)))
}

/// The inverse of [`words`].
#[inline(always)]
fn put(out: &mut [u8; HEADER], (first, second, third): (u64, u64, u32)) {
    let (a, rest) = out.split_at_mut(8);
    let (b, c) = rest.split_at_mut(8);
    a.copy_from_slice(&first.to_le_bytes());
    b.copy_from_slice(&second.to_le_bytes());
    c.copy_from_slice(&third.to_le_bytes());
}

/// Replaces one 16-bit word of the header at even offset `at` and updates the checksum (RFC 1624).
#[inline]
pub fn set_word(header: &mut [u8], at: usize, new: u16) {
    if header.len() < HEADER || at + 2 > HEADER {
        return;
    }
    let sum = checksum::update(be16(header, 10), be16(header, at), new);
    header[at..at + 2].copy_from_slice(&new.to_be_bytes());
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Lowers the TTL by one and updates the checksum; the caller has checked that it is above 1.
#[inline]
pub fn decrement_ttl(header: &mut [u8]) {
    let Some(h) = header.first_chunk_mut::<HEADER>() else { return };
    h[8] = h[8].wrapping_sub(1);
    // RFC 1624, equation 3, for a word that is one less than before: its low octet, read like this, is the TTL. Sums are
    // the same in every order of octets (RFC 1071, section 2).
    let sum = u16::from_le_bytes([h[10], h[11]]);
    [h[10], h[11]] = sum.wrapping_add(1 + u16::from(sum >= 0xfffe)).to_le_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;
    use proptest::prelude::*;

    // The header of Wikipedia's "IPv4 header checksum" example: checksum b861.
    const GOLDEN: [u8; 20] = hex!("45000073 00004000 4011b861 c0a80001 c0a800c7");

    #[test]
    fn golden() {
        let mut data = [0; 0x73];
        data[..20].copy_from_slice(&GOLDEN);
        let h = Ipv4::parse(&data).unwrap();
        assert!(h.checksum_ok() && h.dont_fragment() && !h.is_fragment());
        assert_eq!((h.total_len(), h.ttl(), h.protocol()), (0x73, 64, 17));
        let mut out = [0xff; 20];
        let repr =
            Repr { tos: 0, total_len: 0x73, id: 0, flags: DF, ttl: 64, protocol: 17, src: h.src(), dst: h.dst() };
        assert!(repr.emit(&mut out));
        assert_eq!(out, GOLDEN);
        decrement_ttl(&mut data);
        assert!(Ipv4::parse(&data).unwrap().checksum_ok());
        assert_eq!(Ipv4::parse(&data).unwrap().ttl(), 63);
    }

    #[test]
    fn lengths_are_checked() {
        assert_eq!(Ipv4::parse(&GOLDEN).unwrap_err(), Error::Truncated);
        assert_eq!(Ipv4::parse(&GOLDEN[..19]).unwrap_err(), Error::Truncated);
        let mut short = GOLDEN;
        short[0] = 0x44;
        assert_eq!(Ipv4::parse(&short).unwrap_err(), Error::Malformed);
        let mut total = GOLDEN;
        total[2..4].copy_from_slice(&[0, 19]);
        assert_eq!(Ipv4::parse(&total).unwrap_err(), Error::Malformed);
        let mut options = GOLDEN;
        options[0] = 0x46;
        options[2..4].copy_from_slice(&[0, 20]);
        assert_eq!(Ipv4::parse(&options).unwrap_err(), Error::Malformed);
    }

    proptest! {
        #[test]
        fn plain_is_what_the_view_says(
            (tos, id, flags) in any::<(u8, u16, u16)>(), (ttl, protocol) in any::<(u8, u8)>(),
            (src, dst) in any::<(u32, u32)>(), more in 0usize..9, less in 0u16..3,
            harm in proptest::option::of((0usize..20, 1u8..)),
        ) {
            let mut data = vec![0; HEADER + more];
            let total_len = (HEADER + more) as u16 - less;
            let flags = flags & (DF | MF | 1);
            let (from, to) = (Ipv4Addr::from_bits(src), Ipv4Addr::from_bits(dst));
            Repr { tos, total_len, id, flags, ttl, protocol, src: from, dst: to }.emit(&mut data);
            if let Some((at, bits)) = harm {
                data[at] ^= bits;
            }
            let want = Ipv4::parse(&data).ok().filter(|h| h.checksum_ok() && !h.is_fragment() && h.header_len() == HEADER);
            let want = want.map(|h| Plain {
                len: h.total_len() as u16, protocol: h.protocol(), src: h.src().to_bits(), dst: h.dst().to_bits(),
            });
            prop_assert_eq!(plain(&data), want);
        }

        #[test]
        fn what_is_written_is_read_back(
            (tos, id, flags) in any::<(u8, u16, u16)>(), (ttl, protocol) in any::<(u8, u8)>(),
            (src, dst) in any::<(u32, u32)>(), total_len in 20u16..200,
        ) {
            let (src, dst) = (Ipv4Addr::from_bits(src), Ipv4Addr::from_bits(dst));
            let mut data = [0xff; 200];
            Template::new(&Repr { tos: !tos, total_len: 0, id: !id, flags, ttl, protocol: !protocol, src, dst })
                .emit(data.first_chunk_mut().unwrap(), tos, total_len, id, protocol);
            let h = Ipv4::parse(&data).unwrap();
            prop_assert!(h.checksum_ok() && h.header_len() == HEADER);
            prop_assert_eq!((h.tos(), h.total_len(), h.id(), be16(&data, 6)), (tos, total_len.into(), id, flags));
            prop_assert_eq!((h.ttl(), h.protocol(), h.src(), h.dst()), (ttl, protocol, src, dst));
            let mut whole = [0; HEADER];
            let written = Repr { tos, total_len, id, flags, ttl, protocol, src, dst }.emit(&mut whole);
            prop_assert!(written);
            prop_assert_eq!(&whole[..], &data[..HEADER]);
        }

        #[test]
        fn another_label_is_as_if_it_had_been_written_so(
            (tos, id, flags) in any::<(u8, u16, u16)>(), (ttl, protocol) in any::<(u8, u8)>(),
            (src, dst) in any::<(u32, u32)>(), lens in any::<(u16, u16)>(), other in any::<u8>(),
        ) {
            let (src, dst) = (Ipv4Addr::from_bits(src), Ipv4Addr::from_bits(dst));
            let before = Repr { tos, total_len: lens.0, id, flags, ttl, protocol, src, dst };
            let (mut old, mut new) = ([0; HEADER], [0; HEADER]);
            before.emit(&mut old);
            Repr { total_len: lens.1, protocol: other, ..before }.emit(&mut new);
            prop_assert_eq!(relabelled(&old, lens.1, other), new);
        }

        #[test]
        fn one_hop_less_keeps_the_checksum(mut data in any::<[u8; HEADER]>(), ttl in 2u8..) {
            data[0] = 0x45;
            data[8] = ttl;
            data[10..12].fill(0);
            let sum = checksum::of(&data);
            data[10..12].copy_from_slice(&sum.to_be_bytes());
            let mut other = data;
            decrement_ttl(&mut data);
            set_word(&mut other, 8, u16::from_be_bytes([ttl - 1, data[9]]));
            prop_assert_eq!(data, other);
            prop_assert_eq!(checksum::of(&data), 0);
        }

        #[test]
        fn garbage(data in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = plain(&data);
            if let Ok(h) = Ipv4::parse(&data) {
                let _ = (h.checksum_ok(), h.payload(), h.src(), h.dst());
            }
        }
    }
}
