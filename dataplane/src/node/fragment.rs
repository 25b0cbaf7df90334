//! Fragmentation: of IPv4 packets that allow it (RFC 791, section 2.3), and of packets whose source we are, which
//! includes IPv6 (RFC 8200, section 4.5).
//!
//! The first fragment keeps the buffer; the others are copies into buffers of our own. IPv4 options go into later
//! fragments only if they have the copied flag (RFC 791, section 3.1).

use crate::lane::{Ctx, Origin, Packet};
use crate::node::output;
use dataplane_api::DropReason;
use dpdk::mbuf::Mbuf;
use wire::ipv4::{self, Ipv4};
use wire::ipv6;

/// Length of the IPv6 fragment header.
const FRAGMENT_HEADER: usize = 8;

/// Whether a packet may be fragmented here.
pub fn may(packet: &Packet) -> bool {
    if packet.is_v6() {
        return packet.origin == Origin::Local;
    }
    Ipv4::parse(packet.ip()).is_ok_and(|h| !h.dont_fragment())
}

/// Splits a packet into fragments of at most `mtu` octets, the first of which reuses its buffer. All or nothing: when
/// buffers run out, or `mtu` is too small to carry anything, the packet is dropped.
pub fn split(ctx: &mut Ctx, mut packet: Packet, mtu: u16, mut each: impl FnMut(&mut Ctx, Packet)) {
    output::sum(&mut packet);
    // What is in front of the IP header is not part of any fragment.
    if !packet.mbuf.adj(usize::from(packet.l3)) {
        return ctx.drop(packet, DropReason::Truncated);
    }
    packet.l4 = packet.l4.saturating_sub(packet.l3);
    packet.l3 = 0;
    let plan = if packet.is_v6() { Plan::v6(ctx, &packet, mtu) } else { Plan::v4(&packet, mtu) };
    let Some(plan) = plan else { return ctx.drop(packet, DropReason::TooBig) };
    // A fragment has no ports.
    packet.proto = 0;
    let mut offset = plan.unit;
    let mut pieces = Pieces::default();
    while offset < plan.payload {
        let made = ctx.pool.alloc().and_then(|mbuf| plan.piece(&packet, mbuf, offset));
        let Some(mbuf) = made.filter(|_| pieces.count < pieces.mbufs.len()) else {
            return ctx.drop(packet, DropReason::NoBuffer);
        };
        pieces.mbufs[pieces.count] = Some(mbuf);
        pieces.count += 1;
        offset += plan.unit;
    }
    let meta = *packet;
    if !plan.shorten(&mut packet) {
        return ctx.drop(packet, DropReason::NoBuffer);
    }
    each(ctx, packet);
    for mbuf in pieces.mbufs.into_iter().flatten() {
        ctx.counters.worker.generated.add(1);
        each(ctx, Packet::new(mbuf, meta));
    }
}

/// Fragments beyond the first.
#[derive(Default)]
struct Pieces {
    mbufs: [Option<Mbuf>; 32],
    count: usize,
}

struct Plan {
    v6: bool,
    /// Octets of the headers that every fragment begins with (the IPv6 fragment header not counted).
    header: usize,
    /// Payload to be distributed.
    payload: usize,
    /// Payload of every fragment but the last.
    unit: usize,
    /// Offset of this payload in the original datagram, in octets (a fragment may be fragmented again).
    base: usize,
    /// More fragments follow the whole of this packet.
    more: bool,
    id: u32,
}

impl Plan {
    fn v4(packet: &Packet, mtu: u16) -> Option<Self> {
        let h = Ipv4::parse(packet.ip()).ok()?;
        let header = h.header_len();
        let unit = usize::from(mtu).checked_sub(header)? & !7;
        (unit > 0).then(|| Self {
            v6: false,
            header,
            payload: h.total_len() - header,
            unit,
            base: usize::from(h.fragment_offset()),
            more: h.more_fragments(),
            id: u32::from(h.id()),
        })
    }

    fn v6(ctx: &mut Ctx, packet: &Packet, mtu: u16) -> Option<Self> {
        // Packets of our own carry no extension headers before the payload.
        let header = ipv6::HEADER;
        let unit = usize::from(mtu).checked_sub(header + FRAGMENT_HEADER)? & !7;
        let id = u32::from(ctx.next_ip_id()) | u32::from(ctx.next_ip_id()) << 16;
        let payload = packet.ip().len().checked_sub(header)?;
        (unit > 0).then_some(Self { v6: true, header, payload, unit, base: 0, more: false, id })
    }

    /// A later fragment, from `offset` of the payload on.
    fn piece(&self, packet: &Packet, mut mbuf: Mbuf, offset: usize) -> Option<Mbuf> {
        let ip = packet.ip();
        let end = (offset + self.unit).min(self.payload);
        let part = ip.get(self.header + offset..self.header + end)?;
        let more = self.more || end < self.payload;
        if self.v6 {
            let out = mbuf.append(self.header + FRAGMENT_HEADER + part.len())?;
            let (head, rest) = out.split_at_mut_checked(self.header)?;
            head.copy_from_slice(ip.get(..self.header)?);
            self.finish_v6(head, rest, offset, more, part.len());
            rest.get_mut(FRAGMENT_HEADER..)?.copy_from_slice(part);
        } else {
            let mut options = [0; 40];
            let n = copied_options(ip.get(ipv4::HEADER..self.header)?, &mut options);
            let out = mbuf.append(ipv4::HEADER + n + part.len())?;
            out.get_mut(..ipv4::HEADER)?.copy_from_slice(ip.get(..ipv4::HEADER)?);
            out.get_mut(ipv4::HEADER..ipv4::HEADER + n)?.copy_from_slice(options.get(..n)?);
            out.get_mut(ipv4::HEADER + n..)?.copy_from_slice(part);
            self.finish_v4(out, ipv4::HEADER + n, offset, more);
        }
        Some(mbuf)
    }

    /// Makes the first fragment of the packet itself.
    fn shorten(&self, packet: &mut Packet) -> bool {
        let cut = self.payload.saturating_sub(self.unit);
        if !packet.mbuf.trim(cut) {
            return false;
        }
        if !self.v6 {
            self.finish_v4(packet.mbuf.data_mut(), self.header, 0, true);
            return true;
        }
        if packet.mbuf.prepend(FRAGMENT_HEADER).is_none() {
            return false;
        }
        let data = packet.mbuf.data_mut();
        if data.len() < self.header + FRAGMENT_HEADER {
            return false;
        }
        data.copy_within(FRAGMENT_HEADER..FRAGMENT_HEADER + self.header, 0);
        let (head, rest) = data.split_at_mut(self.header);
        self.finish_v6(head, rest, 0, true, self.unit.min(self.payload));
        true
    }

    fn finish_v4(&self, out: &mut [u8], header: usize, offset: usize, more: bool) {
        let total = out.len() as u16;
        let word = ((self.base + offset) >> 3) as u16 | if more { ipv4::MF } else { 0 };
        let Some(h) = out.get_mut(..header) else { return };
        h[0] = 0x40 | (header / 4) as u8;
        h[2..4].copy_from_slice(&total.to_be_bytes());
        h[6..8].copy_from_slice(&word.to_be_bytes());
        h[10..12].fill(0);
        let sum = wire::checksum::of(h);
        h[10..12].copy_from_slice(&sum.to_be_bytes());
    }

    /// `head` is a fixed header that still names the payload's protocol; the fragment header goes in front of `rest`.
    /// The packet itself is done last: the others copy its header.
    fn finish_v6(&self, head: &mut [u8], rest: &mut [u8], offset: usize, more: bool, part: usize) {
        let (Some(head), Some(rest)) =
            (head.first_chunk_mut::<{ ipv6::HEADER }>(), rest.first_chunk_mut::<FRAGMENT_HEADER>())
        else {
            return;
        };
        let next = head[6];
        head[4..6].copy_from_slice(&((FRAGMENT_HEADER + part) as u16).to_be_bytes());
        head[6] = ipv6::FRAGMENT;
        rest[0] = next;
        rest[1] = 0;
        rest[2..4].copy_from_slice(&(offset as u16 | u16::from(more)).to_be_bytes());
        rest[4..8].copy_from_slice(&self.id.to_be_bytes());
    }
}

/// Copies the options with the copied flag, padded to whole words; gives their length.
fn copied_options(options: &[u8], out: &mut [u8; 40]) -> usize {
    let (mut at, mut n) = (0, 0);
    while let Some(&kind) = options.get(at) {
        let len = match kind {
            0 => break,
            1 => 1,
            _ => match options.get(at + 1) {
                Some(&len) if len >= 2 && at + usize::from(len) <= options.len() => usize::from(len),
                _ => break,
            },
        };
        if kind & 0x80 != 0
            && let (Some(from), Some(to)) = (options.get(at..at + len), out.get_mut(n..n + len))
        {
            to.copy_from_slice(from);
            n += len;
        }
        at += len;
    }
    n.next_multiple_of(4).min(out.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_with_the_copied_flag() {
        let mut out = [0; 40];
        // NOP, loose source route (copied, 7 octets), record route (not copied, 4 octets).
        let n = copied_options(&[1, 0x83, 7, 4, 192, 0, 2, 1, 7, 4, 4, 0], &mut out);
        assert_eq!(n, 8);
        assert_eq!(out[..8], [0x83, 7, 4, 192, 0, 2, 1, 0]);
        assert_eq!(copied_options(&[0x83, 200], &mut out), 0);
        assert_eq!(copied_options(&[], &mut out), 0);
    }
}
