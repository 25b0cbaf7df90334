//! The octets around the payload of an ESP packet (RFC 4303, section 2).

use dataplane_api::DropReason;
use ipsec_mb::Algorithm;

/// SPI and sequence number.
pub const HEADER: usize = 8;
/// Pad length and next header.
pub const TRAILER: usize = 2;
/// "No next header": a dummy packet that hides traffic (RFC 4303, section 2.6).
pub const NEXT_DUMMY: u8 = 59;
/// IPv4 in tunnel mode.
pub const NEXT_IPV4: u8 = 4;
/// IPv6 in tunnel mode.
pub const NEXT_IPV6: u8 = 41;
/// IP protocol number of ESP.
pub const PROTOCOL: u8 = 50;

/// Octets in front of the payload.
#[inline(always)]
pub const fn head_len(algorithm: Algorithm) -> usize {
    HEADER + algorithm.iv_len()
}

/// Octets of a payload with padding and trailer (RFC 4303, section 2.4).
#[inline(always)]
pub const fn text_len(algorithm: Algorithm, payload: usize) -> usize {
    // Block lengths are powers of two.
    let mask = algorithm.block_len() - 1;
    (payload + TRAILER + mask) & !mask
}

/// Octets of padding after a payload.
#[inline(always)]
pub const fn pad_len(algorithm: Algorithm, payload: usize) -> usize {
    text_len(algorithm, payload) - payload - TRAILER
}

/// Octets after the payload: padding, trailer, ICV.
#[inline(always)]
pub const fn tail_len(algorithm: Algorithm, payload: usize) -> usize {
    text_len(algorithm, payload) - payload + algorithm.icv_len()
}

/// Most octets that ESP adds to a payload.
pub const fn max_overhead(algorithm: Algorithm) -> usize {
    head_len(algorithm) + algorithm.block_len() - 1 + TRAILER + algorithm.icv_len()
}

/// Writes SPI, sequence number and IV into the first [`head_len`] octets of `packet`. The IV of an AEAD is the sequence
/// number, which never repeats (RFC 4106, section 3.1; RFC 7634, section 2); for CBC the field holds a block that
/// never repeats, from which the cipher makes the IV. `false`: no room.
#[inline(always)]
#[must_use]
pub fn write_head(packet: &mut [u8], algorithm: Algorithm, spi: u32, seq: u64) -> bool {
    let Some(head) = packet.get_mut(..head_len(algorithm)) else { return false };
    if let Ok(head) = <&mut [u8; HEADER + 8]>::try_from(&mut *head) {
        let numbers = u64::from(spi) << 32 | seq & 0xffff_ffff;
        *head = (u128::from(numbers) << 64 | u128::from(seq)).to_be_bytes();
        return true;
    }
    head[..4].copy_from_slice(&spi.to_be_bytes());
    head[4..8].copy_from_slice(&(seq as u32).to_be_bytes());
    if algorithm.iv_len() == 16 {
        head[8..16].fill(0);
        head[16..24].copy_from_slice(&seq.to_be_bytes());
    }
    true
}

/// Padding of up to three octets, and its length behind it.
static SHORT: [u64; 4] = [0x00, 0x01_01, 0x02_02_01, 0x03_03_02_01];

/// Writes padding, pad length and next header into the first octets of `tail`, which follows the payload and has room for the
/// ICV too, where anything may be written. `false`: no room.
#[inline(always)]
#[must_use]
pub fn write_trailer(tail: &mut [u8], pad: usize, next_header: u8) -> bool {
    if let (0..4, Some(eight)) = (pad, tail.first_chunk_mut::<8>()) {
        // What is overwritten behind the trailer is the ICV's place.
        let short = SHORT[pad] | u64::from(next_header) << (8 * (pad + 1));
        *eight = short.to_le_bytes();
        return true;
    }
    let Some(tail) = tail.get_mut(..pad + TRAILER) else { return false };
    // RFC 4303, section 2.4: 1, 2, 3 ...
    for (i, octet) in tail[..pad].iter_mut().enumerate() {
        *octet = i as u8 + 1;
    }
    tail[pad] = pad as u8;
    tail[pad + 1] = next_header;
    true
}

/// SPI and low half of the sequence number.
#[inline(always)]
pub fn read_head(packet: &[u8]) -> Option<(u32, u32)> {
    let numbers = u64::from_be_bytes(*packet.first_chunk::<HEADER>()?);
    Some(((numbers >> 32) as u32, numbers as u32))
}

/// Takes the trailer off a decrypted text (what lies between IV and ICV): length of the payload, and next header.
/// RFC 4303, section 2.4: the padding is inspected.
#[inline(always)]
pub fn read_trailer(text: &[u8]) -> Result<(usize, u8), DropReason> {
    let (rest, &[pad, next_header]) = text.split_last_chunk::<TRAILER>().ok_or(DropReason::EspMalformed)?;
    let payload = rest.len().checked_sub(usize::from(pad)).ok_or(DropReason::EspMalformed)?;
    let right = match (pad, text.last_chunk::<8>()) {
        // Without next header and payload, padding and its length are what is left.
        (0..4, Some(eight)) => u64::from_le_bytes(*eight) << 8 >> (8 * (7 - pad)) == SHORT[usize::from(pad)],
        _ => rest[payload..].iter().zip(1u8..=255).fold(0, |wrong, (&octet, right)| wrong | (octet ^ right)) == 0,
    };
    if right { Ok((payload, next_header)) } else { Err(DropReason::EspMalformed) }
}

/// Length of the IP packet that tunnel mode carried; what follows it is TFC padding (RFC 4303, section 2.7). The next
/// header must agree with the version.
#[inline(always)]
pub fn inner_len(next_header: u8, payload: &[u8]) -> Result<usize, DropReason> {
    let malformed = DropReason::EspMalformed;
    let len = match (next_header, payload.first().ok_or(malformed)? >> 4) {
        (NEXT_IPV4, 4) if payload.len() >= 20 => {
            let len = usize::from(u16::from_be_bytes([payload[2], payload[3]]));
            let header = usize::from(payload[0] & 15) * 4;
            if header < 20 || len < header {
                return Err(malformed);
            }
            len
        }
        (NEXT_IPV6, 6) if payload.len() >= 40 => 40 + usize::from(u16::from_be_bytes([payload[4], payload[5]])),
        _ => return Err(malformed),
    };
    if len > payload.len() { Err(malformed) } else { Ok(len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_fills_the_block_and_reads_back() {
        for a in Algorithm::ALL {
            for n in 0..70 {
                let pad = pad_len(a, n);
                assert_eq!((n + pad + TRAILER) % a.block_len(), 0);
                assert!(pad < a.block_len());
                let mut text = vec![0xee; n + pad + TRAILER];
                assert!(write_trailer(&mut text[n..], pad, 17));
                assert_eq!(read_trailer(&text), Ok((n, 17)));
                for i in n..n + pad + 1 {
                    let mut bad = text.clone();
                    bad[i] ^= 0x80;
                    assert_eq!(read_trailer(&bad), Err(DropReason::EspMalformed), "octet {i}");
                }
            }
        }
        assert!(!write_trailer(&mut [0; 4], 3, 17));
        assert_eq!(read_trailer(&[]), Err(DropReason::EspMalformed));
        assert_eq!(read_trailer(&[4]), Err(DropReason::EspMalformed));
        assert_eq!(read_trailer(&[1, 4]), Err(DropReason::EspMalformed));
        assert_eq!(read_trailer(&[0, 4]), Ok((0, 4)));
        assert_eq!(read_trailer(&[1, 1, 4]), Ok((0, 4)));
        // The longest padding there is.
        let mut text: Vec<u8> = (1..=255).collect();
        text.extend([255, 17]);
        assert_eq!(read_trailer(&text), Ok((0, 17)));
    }

    #[test]
    fn inner_length_table() {
        let v4 = |len: u16, ihl: u8, size: usize| {
            let mut p = vec![0; size];
            p[0] = 0x40 | ihl;
            p[2..4].copy_from_slice(&len.to_be_bytes());
            p
        };
        let v6 = |len: u16, size: usize| {
            let mut p = vec![0; size];
            p[0] = 0x60;
            p[4..6].copy_from_slice(&len.to_be_bytes());
            p
        };
        let bad = Err(DropReason::EspMalformed);
        assert_eq!(inner_len(4, &v4(28, 5, 28)), Ok(28));
        assert_eq!(inner_len(4, &v4(28, 5, 99)), Ok(28));
        assert_eq!(inner_len(4, &v4(28, 5, 27)), bad);
        assert_eq!(inner_len(4, &v4(19, 5, 40)), bad);
        assert_eq!(inner_len(4, &v4(20, 4, 40)), bad);
        assert_eq!(inner_len(4, &v4(20, 6, 40)), bad);
        assert_eq!(inner_len(41, &v4(28, 5, 28)), bad);
        assert_eq!(inner_len(41, &v6(8, 48)), Ok(48));
        assert_eq!(inner_len(41, &v6(8, 47)), bad);
        assert_eq!(inner_len(41, &v6(0, 39)), bad);
        assert_eq!(inner_len(4, &v6(8, 48)), bad);
        assert_eq!(inner_len(17, &v6(8, 48)), bad);
        assert_eq!(inner_len(4, &[]), bad);
    }
}
