//! Room for ESP in packets of our own that are to be protected.
//!
//! ```text
//!   IP (protocol 50, length with ESP) | room | UDP | L2TP ...          `enclosed`, `l4` at UDP
//! ```
//!
//! Nearly every SA is one of AES-GCM without UDP around ESP. Whoever makes a packet for an SA leaves as many octets behind the IP
//! header as ESP has there then, and lets that header say what it will have to, so that `esp_out` neither moves nor changes it.
//! For any other SA it moves the header. To be looked at, and where ESP takes less room, the packet is [`open`]ed: then it is as if
//! there had never been room in it.

use crate::lane::Packet;
use dataplane_api::DropReason;
use esp::framing;
use ipsec_mb::Algorithm;
use wire::{ip, ipv4, ipv6};

/// The sizes are the same for keys of every length.
pub const SUITE: Algorithm = Algorithm::AesGcm128;
/// SPI, sequence number, IV.
pub const ROOM: usize = framing::head_len(SUITE);

/// Octets between the IP header and its payload.
#[inline(always)]
pub const fn behind_ip(protected: bool) -> usize {
    if protected { ROOM } else { 0 }
}

/// What the IP header says of a payload of so many octets: protocol and octets.
#[inline(always)]
pub const fn announced(protected: bool, protocol: u8, payload: usize) -> (u8, usize) {
    match protected {
        true => (ip::ESP, ROOM + framing::text_len(SUITE, payload) + SUITE.icv_len()),
        false => (protocol, payload),
    }
}

/// Makes a packet without room of one with room. Its start moves, not its end.
#[inline(never)]
pub fn open(packet: &mut Packet) -> Result<(), DropReason> {
    let (l3, l4, proto) = (usize::from(packet.l3), usize::from(packet.l4), packet.proto);
    let malformed = DropReason::EspMalformed;
    let data = packet.mbuf.data_mut().get_mut(l3..).ok_or(malformed)?;
    let total = data.len().checked_sub(ROOM).and_then(|n| u16::try_from(n).ok()).ok_or(malformed)?;
    let header = l4.wrapping_sub(l3 + ROOM);
    match (header, data.first().map(|b| b >> 4)) {
        (ipv6::HEADER, Some(6)) => {
            let old = data.first_chunk().ok_or(malformed)?;
            let new = ipv6::relabelled(old, total.saturating_sub(ipv6::HEADER as u16), proto);
            data.get_mut(ROOM..).and_then(|d| d.first_chunk_mut()).map(|h| *h = new).ok_or(malformed)?;
        }
        (ipv4::HEADER, Some(4)) => {
            let new = ipv4::relabelled(data.first_chunk().ok_or(malformed)?, total, proto);
            data.get_mut(ROOM..).and_then(|d| d.first_chunk_mut()).map(|h| *h = new).ok_or(malformed)?;
        }
        _ => return Err(malformed),
    }
    packet.l3 += ROOM as u16;
    packet.enclosed = false;
    Ok(())
}
