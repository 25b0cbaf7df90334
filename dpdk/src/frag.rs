//! Reassembly of IP fragments (RFC 791, RFC 8200 section 4.5) over DPDK's rte_ip_frag.
//!
//! Fragments wait in a table of fixed size, by (source, destination, identification), until the datagram is complete
//! or its time is over; at most [`MAX_FRAGMENTS`] make a datagram. rte_ip_frag trusts the lengths in the headers, so
//! they are checked here first. It keeps no overlapping data: a set of fragments that does not tile the datagram
//! exactly is discarded whole (RFC 8200 section 4.5, RFC 5722), an exact duplicate included.
//!
//! Time is the caller's, in cycles of [`crate::lcore::tsc`].

use crate::error::{Errno, Error, Result};
use crate::mbuf::Mbuf;
use dpdk_sys::{rte_ip_frag_death_row, rte_ip_frag_tbl};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Most fragments of one datagram.
pub const MAX_FRAGMENTS: usize = dpdk_sys::RTE_LIBRTE_IP_FRAG_MAX_FRAG as usize;

/// Largest offset of the IP header in the packet (DPDK keeps it in 7 bits).
pub const MAX_L3_OFFSET: usize = 127;

/// IPv6 header, fragment header, and the number of the latter.
const IPV6: usize = 40;
const IPV6_FRAGMENT: usize = 8;
const NEXT_HEADER_FRAGMENT: u8 = 44;

/// Associativity of the table.
const WAYS: u32 = 4;

/// What became of a packet.
#[derive(Debug)]
pub enum Reassembly {
    /// A whole datagram, in as many segments as it had fragments (a packet that is no fragment: as it was). What
    /// precedes its IP header is that of the first fragment.
    Complete(Mbuf),
    /// Kept, or discarded with the rest of its datagram: see [`Reassembler::take_discarded`].
    Pending,
    /// Not a fragment that can be right; the packet is handed back.
    Malformed(Mbuf),
}

/// The table of one worker.
#[derive(Debug)]
pub struct Reassembler {
    table: NonNull<rte_ip_frag_tbl>,
    /// Fragments that rte_ip_frag wants to be freed.
    death_row: Box<rte_ip_frag_death_row>,
    discarded: u64,
}

// SAFETY: table and death row are memory without ties to a thread, used through `&mut` only.
unsafe impl Send for Reassembler {}

/// What the checks find out about a fragment.
struct Fragment {
    /// IP header with options, or IPv6 header and fragment header.
    header: usize,
    /// Octets of the packet from the IP header on.
    total: usize,
    offset: usize,
    more: bool,
}

impl Reassembler {
    /// A table for `datagrams` incomplete datagrams, each of which has `lifetime` cycles to become complete.
    pub fn new(datagrams: u32, lifetime: u64, socket: Option<u32>) -> Result<Self> {
        crate::eal::require()?;
        let buckets = datagrams.div_ceil(WAYS).max(1);
        let socket = socket.and_then(|s| i32::try_from(s).ok()).unwrap_or(-1);
        // SAFETY: the EAL runs.
        let table = unsafe {
            dpdk_sys::rte_ip_frag_table_create(buckets, WAYS, buckets.saturating_mul(WAYS), lifetime, socket)
        };
        let table = NonNull::new(table).ok_or_else(|| Error::create("reassembly table", "", Errno::last()))?;
        // SAFETY: a count and pointers that are not looked at beyond the count: zeroes are a valid value.
        let death_row = unsafe { Box::<MaybeUninit<rte_ip_frag_death_row>>::new(MaybeUninit::zeroed()).assume_init() };
        Ok(Self { table, death_row, discarded: 0 })
    }

    /// Takes a packet whose IPv4 header begins at `l3`.
    pub fn process_v4(&mut self, mut mbuf: Mbuf, l3: usize, now: u64) -> Reassembly {
        let Some(fragment) = ipv4(&mbuf, l3) else { return Reassembly::Malformed(mbuf) };
        if fragment.offset == 0 && !fragment.more {
            return Reassembly::Complete(mbuf);
        }
        if !fragment.prepare(&mut mbuf, l3) {
            return Reassembly::Malformed(mbuf);
        }
        let header = mbuf.data_mut()[l3..].as_mut_ptr();
        let raw = mbuf.into_raw();
        // SAFETY: table and death row are ours; the packet is given away, its header lengths are set, and `header`
        // points to an IPv4 header in its first segment whose lengths were checked.
        let whole = unsafe {
            dpdk_sys::rte_ipv4_frag_reassemble_packet(
                self.table.as_ptr(),
                &mut *self.death_row,
                raw.as_ptr(),
                now,
                header.cast(),
            )
        };
        match self.finish(whole) {
            Reassembly::Complete(mut mbuf) => {
                // rte_ip_frag leaves the checksum zero
                ipv4_checksum(mbuf.data_mut(), l3);
                Reassembly::Complete(mbuf)
            }
            other => other,
        }
    }

    /// Takes a packet whose IPv6 header begins at `l3`. Only a fragment header directly behind it is seen; a packet
    /// without one is complete as it is. One that is the whole datagram (an atomic fragment) only loses its fragment
    /// header, whatever else is in the table (RFC 6946).
    pub fn process_v6(&mut self, mut mbuf: Mbuf, l3: usize, now: u64) -> Reassembly {
        match mbuf.data().get(l3..l3.saturating_add(IPV6)) {
            Some(h) if h[0] >> 4 == 6 && h[6] != NEXT_HEADER_FRAGMENT => return Reassembly::Complete(mbuf),
            _ => {}
        }
        let Some(fragment) = ipv6(&mbuf, l3) else { return Reassembly::Malformed(mbuf) };
        if !fragment.prepare(&mut mbuf, l3) {
            return Reassembly::Malformed(mbuf);
        }
        if fragment.offset == 0 && !fragment.more {
            return if strip_fragment_header(&mut mbuf, l3) {
                Reassembly::Complete(mbuf)
            } else {
                Reassembly::Malformed(mbuf)
            };
        }
        let header = mbuf.data_mut()[l3..].as_mut_ptr();
        let raw = mbuf.into_raw();
        // SAFETY: as in `process_v4`; the fragment header follows the IPv6 header in the first segment.
        let whole = unsafe {
            dpdk_sys::rte_ipv6_frag_reassemble_packet(
                self.table.as_ptr(),
                &mut *self.death_row,
                raw.as_ptr(),
                now,
                header.cast(),
                header.add(IPV6).cast(),
            )
        };
        self.finish(whole)
    }

    /// Discards what is older than the lifetime. Call it now and then: without, old fragments stay until their place is
    /// needed.
    pub fn expire(&mut self, now: u64) {
        // SAFETY: table and death row are ours.
        unsafe {
            dpdk_sys::rte_ip_frag_table_del_expired_entries(self.table.as_ptr(), &mut *self.death_row, now);
        }
        self.bury();
    }

    /// Fragments discarded since the last call: too late, too many, not fitting together, or no place in the table.
    pub fn take_discarded(&mut self) -> u64 {
        std::mem::take(&mut self.discarded)
    }

    fn finish(&mut self, whole: *mut dpdk_sys::rte_mbuf) -> Reassembly {
        self.bury();
        match NonNull::new(whole) {
            // SAFETY: a chain of what was given away, which left the table.
            Some(raw) => Reassembly::Complete(unsafe { Mbuf::from_raw(raw) }),
            None => Reassembly::Pending,
        }
    }

    fn bury(&mut self) {
        if self.death_row.cnt > 0 {
            self.discarded += u64::from(self.death_row.cnt);
            // SAFETY: the row holds `cnt` packets that are out of the table.
            unsafe { dpdk_sys::rte_ip_frag_free_death_row(&mut *self.death_row, 3) }
        }
    }
}

impl Drop for Reassembler {
    fn drop(&mut self) {
        // SAFETY: ours, and not used again; frees the fragments in it.
        unsafe { dpdk_sys::rte_ip_frag_table_destroy(self.table.as_ptr()) }
    }
}

impl Fragment {
    /// The rules that both versions share: some payload, whole units of 8 octets unless it is the last, and not
    /// beyond the largest datagram. `fixed` is what a datagram's length field counts besides the payload.
    fn check(self, fixed: usize) -> Option<Self> {
        let payload = self.total.checked_sub(self.header).filter(|&p| p > 0)?;
        let whole_units = !self.more || payload % 8 == 0;
        (whole_units && self.offset + payload + fixed <= usize::from(u16::MAX)).then_some(self)
    }

    /// Cuts off padding of the link layer and notes the header lengths; `false` when the packet's form forbids it.
    fn prepare(&self, mbuf: &mut Mbuf, l3: usize) -> bool {
        // `total` and `header` were checked against the packet, `header` is at most 60
        if l3 > MAX_L3_OFFSET || !mbuf.trim(mbuf.pkt_len() - l3 - self.total) {
            return false;
        }
        mbuf.set_header_lengths(l3 as u8, self.header as u16, 0);
        // trimming may have eaten into the headers of a chain with an odd shape
        mbuf.len() >= l3 + self.header
    }
}

fn ipv4(mbuf: &Mbuf, l3: usize) -> Option<Fragment> {
    let h = mbuf.data().get(l3..)?;
    let (fixed, _) = h.split_first_chunk::<20>()?;
    let header = usize::from(fixed[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    let word = u16::from_be_bytes([fixed[6], fixed[7]]);
    if fixed[0] >> 4 != 4 || header < 20 || header > h.len() || total < header || l3 + total > mbuf.pkt_len() {
        return None;
    }
    let fragment = Fragment { header, total, offset: usize::from(word & 0x1fff) * 8, more: word & 0x2000 != 0 };
    if fragment.offset == 0 && !fragment.more { Some(fragment) } else { fragment.check(header) }
}

fn ipv6(mbuf: &Mbuf, l3: usize) -> Option<Fragment> {
    const HEADER: usize = IPV6 + IPV6_FRAGMENT;
    let (h, _) = mbuf.data().get(l3..)?.split_first_chunk::<HEADER>()?;
    let total = IPV6 + usize::from(u16::from_be_bytes([h[4], h[5]]));
    let word = u16::from_be_bytes([h[42], h[43]]);
    if h[0] >> 4 != 6 || h[6] != NEXT_HEADER_FRAGMENT || total < HEADER || l3 + total > mbuf.pkt_len() {
        return None;
    }
    Fragment { header: HEADER, total, offset: usize::from(word & !7), more: word & 1 != 0 }.check(0)
}

/// Removes the fragment header of an atomic fragment, moving what precedes it.
fn strip_fragment_header(mbuf: &mut Mbuf, l3: usize) -> bool {
    let Some(data) = mbuf.data_mut().get_mut(..l3 + IPV6 + IPV6_FRAGMENT) else { return false };
    let payload = u16::from_be_bytes([data[l3 + 4], data[l3 + 5]]).saturating_sub(IPV6_FRAGMENT as u16);
    data[l3 + 4..l3 + 6].copy_from_slice(&payload.to_be_bytes());
    data[l3 + 6] = data[l3 + IPV6];
    data.copy_within(..l3 + IPV6, IPV6_FRAGMENT);
    mbuf.adj(IPV6_FRAGMENT)
}

/// Computes the header checksum (RFC 791 section 3.1).
fn ipv4_checksum(data: &mut [u8], l3: usize) {
    let Some(first) = data.get(l3) else { return };
    let Some(header) = data.get_mut(l3..l3 + usize::from(first & 15) * 4).filter(|h| h.len() >= 20) else { return };
    header[10..12].fill(0);
    let sum: u32 = header.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    header[10..12].copy_from_slice(&(!folded as u16).to_be_bytes());
}

#[cfg(test)]
#[path = "frag_tests.rs"]
mod tests;
